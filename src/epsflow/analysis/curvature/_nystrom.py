"""Randomised Nyström approximation of the curvature, and the damped solve with it."""

from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
import scipy.linalg
from jaxtyping import Float, Key

from ..._core import RESULTS, Array, InputError
from ._base import AbstractCurvatureSolver, AnyCurvature, CurvatureSolve, judge, one_ridge, products, relative_residuals
from ._linear import LinearCurvature


@dataclass(frozen=True, eq=False)
class Approximation:
    """UΛUᵀ + ridge·I in place of a curvature."""

    curvature: AnyCurvature
    vectors: Float[np.ndarray, "d r"]
    values: Float[np.ndarray, " r"]
    ridge: float


@dataclass(frozen=True, repr=False)
class Nystrom(AbstractCurvatureSolver):
    """Randomised Nyström approximation of the curvature's data part, and the exact solve with that.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> import jax
        >>> solver = ef.Nystrom(rank=5, key=jax.random.key(0))
        >>> ef.influence(problem, damping=0.1, solver=solver, throw=False).change.shape
        (10,)

    C₀ = C − λI ≈ (C₀Ω)(ΩᵀC₀Ω)†(C₀Ω)ᵀ = UΛUᵀ of the given rank, then h = U(Λ + μ)⁻¹Uᵀv + (v − UUᵀv)/μ, μ = λ + λ_d.

    Ω has orthonormal random columns and U is orthonormalised again, so that rank = d is well defined and exact (the
    second term, zero then, is left out, and μ may be 0). Needs `rank` products with the matrix. A successful result
    says that the factorisation succeeded; how far it is from the exact solve is in the residuals, unless `rtol` makes
    that the criterion.

    Source: Frangella, Tropp, Udell, "Randomized Nyström preconditioning", 2023, algorithm 2.1.

    Attributes:
        rank: number of columns, at most d; None for min(d, 50). Four times as many vectors of parameters are held.
        key: seed of Ω.
        rtol: residual above which the approximation counts as failed; None to accept any.
    """

    rank: int | None = None
    key: Key[Array, ""] = field(default_factory=lambda: jax.random.key(0))
    rtol: float | None = None

    def __post_init__(self) -> None:
        if self.rank is not None and self.rank < 1:
            raise InputError(f"Nystrom: rank is {self.rank}; at least 1 is needed.")
        if self.rtol is not None and not self.rtol > 0.0:
            raise InputError(f"Nystrom: rtol is {self.rtol}; a positive number or None is needed.")

    def init(self, curvature: AnyCurvature) -> Approximation:
        """Sketch and factor; `InputError` for a rank above d, one below without a ridge, and an indefinite matrix."""
        d, ridge = curvature.dim, one_ridge(curvature, "Nystrom")
        rank = min(d, 50) if self.rank is None else self.rank
        if rank > d:
            raise InputError(f"Nystrom: rank {rank} exceeds the number of parameters, {d}; rank={d} is exact.")
        if rank < d and ridge <= 0.0:
            raise InputError(
                f"Nystrom of rank {rank} < d = {d} divides by λ + λ_d, which is 0 here: the approximation is singular. "
                "Give a damping > 0, or the full rank."
            )
        _check_memory(curvature, rank)
        approximation = _sketch(curvature, _orthonormal(self.key, curvature, rank), ridge)
        if approximation is None or (rank == d and not (approximation.values + ridge > 0.0).all()):
            least = np.linalg.eigvalsh(_core(curvature, self.key, rank, ridge))[0]
            raise InputError(
                f"Nyström needs C − λI positive semidefinite, and the full rank or a ridge to be invertible; for the "
                f"{curvature.kind} matrix its least eigenvalue on the random subspace of rank {rank} is "
                f'{least:.3g}. Use curvature="ggn", or cholesky or cg, which need only C + λ_d I positive.'
            )
        return approximation

    def compute(self, state: Any, rhs: Float[np.ndarray, "q d"]) -> CurvatureSolve:
        """U(Λ + μ)⁻¹Uᵀv and what U does not span."""
        rank, d = state.values.size, state.curvature.dim
        coordinates = rhs @ state.vectors
        solution = (coordinates / (state.values + state.ridge)) @ state.vectors.T
        if rank < d:
            outside = rhs - coordinates @ state.vectors.T
            solution = solution + (outside - (outside @ state.vectors) @ state.vectors.T) / state.ridge
        residual = relative_residuals(products(state.curvature, solution), rhs)
        note = (
            f"rank {rank} of {d}, eigenvalues from {state.values[0]:.3g} down to {state.values[-1]:.3g} beside a ridge "
            f"of {state.ridge:.3g}; a higher rank or more damping lowers the residual"
        )
        return CurvatureSolve(
            solution=solution,
            residual=residual,
            result=judge(residual, np.inf if self.rtol is None else self.rtol, RESULTS.breakdown),
            steps=np.zeros(len(rhs), np.int64),
            solver="nystrom",
            note=note,
        )


def _orthonormal(key: Key[Array, ""], curvature: AnyCurvature, rank: int) -> Float[np.ndarray, "d r"]:
    """Ω with orthonormal columns, in Fortran's order."""
    draws = jax.random.normal(key, (curvature.dim, rank), dtype=curvature.theta.dtype)
    return _factored(np.array(draws, order="F"))[0]


def _factored(columns: Float[np.ndarray, "d r"]) -> tuple[Float[np.ndarray, "d r"], Float[np.ndarray, "r r"]]:
    """Q and R of columns in Fortran's order, in their place."""
    factors: Any = scipy.linalg.qr(columns, mode="economic", overwrite_a=True, check_finite=False)
    return factors


def _sketch(curvature: AnyCurvature, sketch: Float[np.ndarray, "d r"], ridge: float) -> Approximation | None:
    """UΛUᵀ from rank products with the matrix; None where the sketch shows negative curvature."""
    image = _data_image(curvature, sketch, ridge)
    # Shifted by its own rounding, so that a matrix of lower rank than the sketch has a Cholesky factor.
    shift = np.finfo(image.dtype).eps * np.sqrt(curvature.dim) * np.linalg.norm(image)
    _add(image, shift, sketch)
    core = sketch.T @ image
    try:
        triangle = np.linalg.cholesky(0.5 * (core + core.T))
    except np.linalg.LinAlgError:
        return None
    (trsm,) = scipy.linalg.get_blas_funcs(("trsm",), (image,))
    root = trsm(1.0, triangle, image, side=1, lower=1, trans_a=1, overwrite_b=1)  # image·L⁻ᵀ
    if not np.isfinite(root).all():
        return None
    # U is orthonormal to rounding, whatever the conditioning of the sketch did to the root: Q times the small one's.
    basis, small = _factored(root)
    left, singular, _ = np.linalg.svd(small)
    return Approximation(curvature, basis @ left, np.maximum(singular**2 - shift, 0.0), ridge)


def _data_image(curvature: AnyCurvature, sketch: Float[np.ndarray, "d r"], ridge: float) -> Float[np.ndarray, "d r"]:
    """C₀Ω, in Fortran's order."""
    image = np.array(products(curvature, np.ascontiguousarray(sketch.T)).T, order="F")
    _add(image, -ridge, sketch)
    return image


def _add(total: Float[np.ndarray, "d r"], factor: float, columns: Float[np.ndarray, "d r"]) -> None:
    """total += factor·columns, a column at a time: no third array of their size."""
    for k in range(total.shape[1]):
        total[:, k] += total.dtype.type(factor) * columns[:, k]


def _check_memory(curvature: AnyCurvature, rank: int) -> None:
    """Refuse a rank whose vectors exceed the budget."""
    if isinstance(curvature, LinearCurvature) or curvature.chunks is None:
        return
    each, budget = 4 * curvature.theta.dtype.itemsize * curvature.dim, curvature.chunks.max_bytes
    if rank * each > budget:
        raise InputError(
            f"Nystrom of rank {rank} holds {1e-9 * rank * each:.2g} GB of vectors for d = {curvature.dim:,}, and "
            f"max_bytes is {budget:,}; rank={max(1, budget // each)} fits, or give max_bytes={rank * each:,}."
        )


def _core(curvature: AnyCurvature, key: Key[Array, ""], rank: int, ridge: float) -> Float[np.ndarray, "r r"]:
    """ΩᵀC₀Ω."""
    sketch = _orthonormal(key, curvature, rank)
    core = sketch.T @ _data_image(curvature, sketch, ridge)
    return 0.5 * (core + core.T)
