"""LiSSA: the Neumann series of the inverse, with the damping inside the recursion."""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Key

from ..._core import RESULTS, Array, InputError
from ._base import (
    AbstractCurvatureSolver,
    AnyCurvature,
    CurvatureSolve,
    held_by,
    judge,
    products,
    relative_residuals,
    rtol_of,
)
from ._curvature import Curvature
from ._linear import LinearCurvature

_GROWTH = 10.0
"""Growth of the residual over its least value so far at which a recursion is called divergent."""


POWER_STEPS = 100


@dataclass(frozen=True, eq=False)
class Spectrum:
    """A curvature, its estimated largest eigenvalue, and the divisor of the recursion."""

    curvature: AnyCurvature
    largest: float
    scale: float


@dataclass(frozen=True, repr=False)
class LiSSA(AbstractCurvatureSolver):
    """h ← v + h − (C + λ_d I)h/scale from h = v; the answer is h/scale.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.influence(problem, damping=0.1, solver=ef.LiSSA()).change.shape
        (10,)

    Its fixed point is (C + λ_d I)⁻¹v whatever the scale. With all points in every step the residual shrinks by
    |1 − eigenvalue/scale| along each eigenvector, so the recursion converges iff scale > (largest eigenvalue)/2, and
    stops by itself when the residual meets `rtol` (converged columns are frozen) or grows. With `batch` points drawn
    per step it runs all its steps and keeps a sampling error: expect `rtol` of a few per cent.

    Source: Agarwal, Bullins, Hazan, "Second-order stochastic optimization for machine learning in linear time", 2017;
    Koh and Liang, "Understanding black-box predictions via influence functions", 2017.

    Attributes:
        scale: divisor; None for the estimated largest eigenvalue (times 1.1).
        steps: at most so many steps.
        rtol: residual at which a right-hand side counts as converged. Default: 1e-8, in float32 1e-4, in bfloat16 0.05.
            In these two a recursion also ends where its residual is down to the rounding of a product.
        batch: points per step, drawn with replacement; None for all of them.
        key: seed of the batches; needed with `batch`.
    """

    scale: float | None = None
    steps: int = 10_000
    rtol: float | None = None
    batch: int | None = None
    key: Key[Array, ""] | None = None

    def __post_init__(self) -> None:
        if self.scale is not None and not self.scale > 0.0:
            raise InputError(f"LiSSA: scale is {self.scale}; it must be positive.")
        if self.steps < 1 or (self.rtol is not None and not 0.0 < self.rtol < 1.0):
            raise InputError(f"LiSSA: needs steps ≥ 1 and rtol in (0, 1); got {self.steps} and {self.rtol}.")
        if self.batch is not None and (self.batch < 1 or self.key is None):
            raise InputError("LiSSA: batch must be at least 1 and needs a key, for instance key=jax.random.key(0).")

    def init(self, curvature: AnyCurvature) -> Spectrum:
        """The estimated largest eigenvalue, and the scale."""
        largest = largest_eigenvalue(curvature)
        return Spectrum(curvature, largest, 1.1 * largest if self.scale is None else float(self.scale))

    def compute(self, state: Any, rhs: Float[np.ndarray, "q d"]) -> CurvatureSolve:
        """Solve; a divergent recursion is stopped early and says which scale would work."""
        curvature, scale = state.curvature, state.scale
        rtol = rtol_of(curvature, 1e-8) if self.rtol is None else self.rtol
        if self.batch is None:
            solution, steps, grew = _recursion(state, rhs, rtol, self.steps)
        else:
            drawn = curvature.general() if isinstance(curvature, LinearCurvature) else curvature
            sampled = _sampled_recursion(drawn, rhs, np.asarray(scale), self.key, self.batch, self.steps)
            solution, steps, grew = (np.asarray(part) for part in sampled)
        residual = relative_residuals(products(curvature, solution), rhs)
        note, otherwise = "", RESULTS.max_steps_reached
        if grew.any():
            note, otherwise = self._divergence(state), RESULTS.nonlinear_divergence
        elif not (residual <= rtol).all():
            note = held_by(curvature, residual, rtol) + (
                f"{int(steps.max())} steps at scale {scale:.3g} (largest eigenvalue about {state.largest:.3g}) were "
                "not enough; more steps, more damping, a smaller scale above half that eigenvalue, or a looser rtol "
                "help"
            )
        return CurvatureSolve(
            solution=solution,
            residual=residual,
            result=judge(residual, rtol, otherwise),
            steps=steps,
            solver="lissa",
            note=note,
        )

    def _divergence(self, state: Spectrum) -> str:
        curvature, largest, scale = state.curvature, state.largest, state.scale
        least = least_eigenvalue(curvature, largest)
        if least < -1e-12 * largest:
            return (
                f"it diverges, and at every scale: the {curvature.kind} matrix has an eigenvalue of about {least:.3g}. "
                f'Damping above {-least:.3g} or curvature="ggn" makes it positive definite'
            )
        batches = "" if self.batch is None else ", or a larger batch, whose own largest eigenvalue exceeds the mean's"
        return (
            f"it diverges at scale {scale:.3g}: the largest eigenvalue is about {largest:.3g}, and the scale must "
            f"exceed half of it; use scale={1.1 * largest:.3g}{batches}"
        )


def largest_eigenvalue(curvature: AnyCurvature) -> float:
    """The eigenvalue of largest modulus, by 100 steps of the power method; an estimate from below."""
    return abs(_power(curvature, 0.0))


def least_eigenvalue(curvature: AnyCurvature, largest: float) -> float:
    """The least eigenvalue, by the power method on the matrix minus its largest; an estimate from above."""
    return largest + _power(curvature, largest)


def _power(curvature: AnyCurvature, shift: float) -> float:
    # A fixed start with no symmetry that data could share.
    vector = np.cos(np.arange(curvature.dim, dtype=np.float64) ** 2 + 1.0)[None]
    vector, value = (vector / np.linalg.norm(vector)).astype(curvature.theta.dtype), 0.0
    for _ in range(POWER_STEPS):
        image = products(curvature, vector) - shift * vector
        value = float((vector * image).sum())
        vector = image / max(float(np.linalg.norm(image)), 1e-300)
    return value


def _recursion(
    state: Spectrum, rhs: Float[np.ndarray, "q d"], rtol: float, limit: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All points in every step. The next step minus this one is the residual: no product is spent on checking."""
    size, rows = np.linalg.norm(rhs, axis=1), len(rhs)
    h, best, steps = rhs, np.full(rows, np.inf), np.zeros(rows, np.int64)
    grew, active = np.zeros(rows, bool), np.ones(rows, bool)
    floor = 0.5 * state.curvature.unit * state.largest / state.scale  # of a product, per length of h
    narrow = state.curvature.unit > 1e-10
    for _ in range(limit):
        if not active.any():
            break
        residual = rhs - products(state.curvature, h) / state.scale
        norm = np.linalg.norm(residual, axis=1)
        steps = steps + active
        grew = grew | (active & ~(norm <= _GROWTH * best))
        active = active & (norm > 0.5 * rtol * size) & ~grew
        if narrow:
            active = active & (norm > floor * np.linalg.norm(h, axis=1))
        h = np.where(active[:, None], h + residual, h)
        best = np.minimum(best, norm)
    return h / state.scale, steps, grew


@eqx.filter_jit
def _sampled_recursion(
    curvature: Curvature, rhs: Array, scale: Array, key: Any, batch: int, limit: int
) -> tuple[Array, Array, Array]:
    """A fresh batch in every step, shared by the right-hand sides; the mean of the second half of the steps is kept.

    The mean removes most of the sampling noise that the last iterate carries.
    """
    n = curvature.num_points
    bound = 1e3 * jnp.linalg.norm(rhs, axis=1)

    def going(state: Any) -> Array:
        return (state[2] < limit) & ~jnp.any(state[3])

    def advance(state: Any) -> Any:
        h, mean, step, grew = state
        points = jax.random.randint(jax.random.fold_in(key, step), (batch,), 0, n)
        change = rhs - jax.vmap(lambda vector: curvature.sampled_mv(vector, points))(h) / scale
        grew = grew | ~(jnp.linalg.norm(change, axis=1) <= bound)
        h = h + change
        kept = jnp.maximum(step - limit // 2, 0)
        return h, mean + (h - mean) / (kept + 1.0), step + 1, grew

    start = rhs, rhs, 0, jnp.zeros(len(rhs), bool)
    _, mean, step, grew = jax.lax.while_loop(going, advance, start)
    return mean / scale, jnp.full(len(rhs), step), grew
