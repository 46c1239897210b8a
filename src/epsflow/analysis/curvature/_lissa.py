"""LiSSA: the Neumann series of the inverse, with the damping inside the recursion."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Float, Key

from ..._core import RESULTS, Array, InputError
from ._curvature import Curvature
from ._exact_solvers import AbstractCurvatureSolver, CurvatureSolve, judge, relative_residuals

_GROWTH = 10.0
"""Growth of the residual over its least value so far at which a recursion is called divergent."""


class LiSSA(AbstractCurvatureSolver):
    """h ← v + h − (C + λ_d I)h/scale from h = v; the answer is h/scale.

    Its fixed point is (C + λ_d I)⁻¹v whatever the scale. With all points in every step the residual shrinks by
    |1 − eigenvalue/scale| along each eigenvector, so the recursion converges iff scale > (largest eigenvalue)/2, and
    stops by itself when the residual meets `rtol` (converged columns are frozen) or grows. With `batch` points drawn
    per step it runs all its steps and keeps a sampling error: expect `rtol` of a few per cent.

    Source: Agarwal, Bullins, Hazan, "Second-order stochastic optimization for machine learning in linear time", 2017;
    Koh and Liang, "Understanding black-box predictions via influence functions", 2017.

    Attributes:
        scale: divisor; None for the estimated largest eigenvalue (times 1.1).
        steps: at most so many steps.
        rtol: residual at which a right-hand side counts as converged.
        batch: points per step, drawn with replacement; None for all of them.
        key: seed of the batches; needed with `batch`.
    """

    scale: float | None = None
    steps: int = eqx.field(static=True, default=10_000)
    rtol: float = 1e-8
    batch: int | None = eqx.field(static=True, default=None)
    key: Key[Array, ""] | None = None

    def __check_init__(self) -> None:
        if self.scale is not None and not self.scale > 0.0:
            raise InputError(f"LiSSA: scale is {self.scale}; it must be positive.")
        if self.steps < 1 or not 0.0 < self.rtol < 1.0:
            raise InputError(f"LiSSA: needs steps ≥ 1 and rtol in (0, 1); got {self.steps} and {self.rtol}.")
        if self.batch is not None and (self.batch < 1 or self.key is None):
            raise InputError("LiSSA: batch must be at least 1 and needs a key, for instance key=jax.random.key(0).")

    def __call__(self, curvature: Curvature, rhs: Float[Array, "q d"]) -> CurvatureSolve:
        """Solve; a divergent recursion is stopped early and says which scale would work."""
        largest = float(largest_eigenvalue(curvature))
        scale = 1.1 * largest if self.scale is None else float(self.scale)
        rtol = jnp.asarray(self.rtol)
        if self.batch is None:
            solution, residuals, steps, grew = _recursion(curvature, rhs, jnp.asarray(scale), rtol, self.steps)
        else:
            batches = self.batch, self.steps
            solution, residuals, steps, grew = _sampled_recursion(
                curvature, rhs, jnp.asarray(scale), self.key, *batches
            )
        note, otherwise = "", RESULTS.max_steps_reached
        if bool(jnp.any(grew)):
            note, otherwise = self._divergence(curvature, scale, largest), RESULTS.nonlinear_divergence
        elif not bool(jnp.all(residuals <= self.rtol)):
            note = (
                f"{self.steps} steps at scale {scale:.3g} (largest eigenvalue about {largest:.3g}) were not enough; "
                "more steps, more damping, a smaller scale above half that eigenvalue, or a looser rtol help"
            )
        return CurvatureSolve(solution, residuals, judge(residuals, rtol, otherwise), steps, "lissa", note)

    def _divergence(self, curvature: Curvature, scale: float, largest: float) -> str:
        least = float(least_eigenvalue(curvature, jnp.asarray(largest)))
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


@eqx.filter_jit
def largest_eigenvalue(curvature: Curvature) -> Float[Array, ""]:
    """The eigenvalue of largest modulus, by 100 steps of the power method; an estimate from below."""
    return jnp.abs(_power(curvature, jnp.zeros(())))


@eqx.filter_jit
def least_eigenvalue(curvature: Curvature, largest: Float[Array, ""]) -> Float[Array, ""]:
    """The least eigenvalue, by the power method on the matrix minus its largest; an estimate from above."""
    return largest + _power(curvature, largest)


def _power(curvature: Curvature, shift: Array) -> Array:
    def step(_: Array | int, state: tuple[Array, Array]) -> tuple[Array, Array]:
        vector, _ = state
        image = curvature.mv(vector) - shift * vector
        return image / jnp.maximum(jnp.linalg.norm(image), 1e-300), vector @ image

    # A fixed start with no symmetry that data could share.
    start = jnp.cos(jnp.arange(curvature.dim) ** 2 + 1.0)
    return jax.lax.fori_loop(0, 100, step, (start / jnp.linalg.norm(start), jnp.zeros(())))[1]


@eqx.filter_jit
def _recursion(
    curvature: Curvature, rhs: Array, scale: Array, rtol: Array, limit: int
) -> tuple[Array, Array, Array, Array]:
    """All points in every step. The next step minus this one is the residual: no product is spent on checking."""
    size = jnp.linalg.norm(rhs, axis=1)

    def going(state: Any) -> Array:
        _, _, _, _, active, step = state
        return jnp.any(active) & (step < limit)

    def advance(state: Any) -> Any:
        h, best, steps, grew, active, step = state
        residual = rhs - curvature.mm(h) / scale
        norm = jnp.linalg.norm(residual, axis=1)
        grew = grew | (active & ~(norm <= _GROWTH * best))
        active = active & (norm > 0.5 * rtol * size) & ~grew
        h = jnp.where(active[:, None], h + residual, h)
        return h, jnp.minimum(best, norm), steps + active, grew, active, step + 1

    rows = len(rhs)
    start = rhs, jnp.full(rows, jnp.inf), jnp.zeros(rows, int), jnp.zeros(rows, bool), jnp.ones(rows, bool), 0
    h, _, steps, grew, _, _ = jax.lax.while_loop(going, advance, start)
    solution = h / scale
    return solution, relative_residuals(curvature.mm(solution), rhs), steps, grew


@eqx.filter_jit
def _sampled_recursion(
    curvature: Curvature, rhs: Array, scale: Array, key: Any, batch: int, limit: int
) -> tuple[Array, Array, Array, Array]:
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
    solution = mean / scale
    return solution, relative_residuals(curvature.mm(solution), rhs), jnp.full(len(rhs), step), grew
