"""Randomised Nyström approximation of the curvature, and the damped solve with it."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Float, Key

from ..._core import RESULTS, Array, InputError
from ._curvature import Curvature
from ._exact_solvers import AbstractCurvatureSolver, CurvatureSolve, judge, relative_residuals


class Nystrom(AbstractCurvatureSolver):
    """Randomised Nyström approximation of the curvature's data part, and the exact solve with that.

    C₀ = C − λI ≈ (C₀Ω)(ΩᵀC₀Ω)†(C₀Ω)ᵀ = UΛUᵀ of the given rank, then h = U(Λ + μ)⁻¹Uᵀv + (v − UUᵀv)/μ, μ = λ + λ_d.

    Ω has orthonormal random columns and U is orthonormalised again, so that rank = d is well defined and exact (the
    second term, zero then, is left out, and μ may be 0). Needs `rank` products with the matrix. A successful result
    says that the factorisation succeeded; how far it is from the exact solve is in the residuals, unless `rtol` makes
    that the criterion.

    Source: Frangella, Tropp, Udell, "Randomized Nyström preconditioning", 2023, algorithm 2.1.

    Attributes:
        rank: number of columns, at most d; None for min(d, 50).
        key: seed of Ω.
        rtol: residual above which the approximation counts as failed; None to accept any.
    """

    rank: int | None = eqx.field(static=True, default=None)
    key: Key[Array, ""] = eqx.field(default_factory=lambda: jax.random.key(0))
    rtol: float | None = None

    def __check_init__(self) -> None:
        if self.rank is not None and self.rank < 1:
            raise InputError(f"Nystrom: rank is {self.rank}; at least 1 is needed.")
        if self.rtol is not None and not self.rtol > 0.0:
            raise InputError(f"Nystrom: rtol is {self.rtol}; a positive number or None is needed.")

    def __call__(self, curvature: Curvature, rhs: Float[Array, "q d"]) -> CurvatureSolve:
        """Solve; `InputError` for a rank above d, for rank < d without a ridge, and for an indefinite matrix."""
        d = curvature.dim
        rank = min(d, 50) if self.rank is None else self.rank
        if rank > d:
            raise InputError(f"Nystrom: rank {rank} exceeds the number of parameters, {d}; rank={d} is exact.")
        if rank < d and float(curvature.ridge) <= 0.0:
            raise InputError(
                f"Nystrom of rank {rank} < d = {d} divides by λ + λ_d, which is 0 here: the approximation is singular. "
                "Give a damping > 0, or the full rank."
            )
        solution, residuals, least, largest, definite = _nystrom(curvature, rhs, self.key, rank)
        if not bool(definite):
            raise InputError(
                f"Nyström needs C − λI positive semidefinite, and the full rank or a ridge to be invertible; for the "
                f"{curvature.kind} matrix its least eigenvalue on the random subspace of rank {rank} is "
                f'{float(least):.3g}. Use curvature="ggn", or cholesky or cg, which need only C + λ_d I positive.'
            )
        limit = jnp.inf if self.rtol is None else self.rtol
        note = (
            f"rank {rank} of {d}, eigenvalues from {float(largest):.3g} down to {float(least):.3g} beside a ridge of "
            f"{float(curvature.ridge):.3g}; a higher rank or more damping lowers the residual"
        )
        result = judge(residuals, jnp.asarray(limit), RESULTS.breakdown)
        return CurvatureSolve(solution, residuals, result, jnp.zeros(len(rhs), int), "nystrom", note)


@eqx.filter_jit
def _nystrom(curvature: Curvature, rhs: Array, key: Array, rank: int) -> tuple[Array, Array, Array, Array, Array]:
    d, ridge = curvature.dim, curvature.ridge
    sketch = jnp.linalg.qr(jax.random.normal(key, (d, rank), dtype=rhs.dtype))[0]
    image = curvature.mm(sketch.T).T - ridge * sketch
    # Shifted by its own rounding, so that a matrix of lower rank than the sketch has a Cholesky factor.
    shift = jnp.finfo(rhs.dtype).eps * jnp.sqrt(d) * jnp.linalg.norm(image)
    image = image + shift * sketch
    core = sketch.T @ image
    factor = jnp.linalg.cholesky(0.5 * (core + core.T))
    root = jax.scipy.linalg.solve_triangular(factor, image.T, lower=True).T
    vectors, singular, _ = jnp.linalg.svd(root, full_matrices=False)
    # Again orthonormal to rounding, whatever the conditioning of the sketch did to it.
    vectors = jnp.linalg.qr(vectors)[0]
    ritz = jnp.linalg.eigvalsh(0.5 * (core + core.T))
    values = jnp.maximum(singular**2 - shift, 0.0)
    coordinates = rhs @ vectors
    solution = (coordinates / (values + ridge)) @ vectors.T
    if rank < d:
        outside = rhs - coordinates @ vectors.T
        solution = solution + (outside - (outside @ vectors) @ vectors.T) / ridge
    definite = jnp.isfinite(factor).all() & jnp.isfinite(solution).all()
    residuals = relative_residuals(curvature.mm(solution), rhs)
    return solution, residuals, ritz[0], singular[0] ** 2, definite
