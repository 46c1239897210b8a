"""Trust-region Newton with conjugate gradients (Steihaug), preconditioned by the Gauss–Newton matrix at θ_s.

optimistix has no truncated Newton method, and its L-BFGS needs hundreds of iterations where this needs ten: near θ_s
the preconditioned Hessian is the identity up to the deleted points. The method: Conn, Gould & Toint, "Trust-Region
Methods" (2000), algorithm 7.5.1 (Steihaug–Toint); rounding in the ratio of reductions as in their section 17.4.2.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from ..._core import RESULTS, SUCCESS, Array
from ._tilted import GaussNewton, TiltedRisk


class Minimum(eqx.Module):
    """Where the minimiser stopped, and what certifies it.

    Attributes:
        shift: θ − θ_s, shape (d,).
        value: Q(θ) − Q(θ_s).
        gradient_norm: ‖∇Q(θ)‖₂.
        tolerance: the norm that was asked for.
        iterations: Newton steps tried; each costs one value and gradient.
        products: Hessian–vector products.
        result: successful; not_stationary; or not_a_minimum (negative curvature met on the last step).
    """

    shift: Float[Array, " d"]
    value: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    tolerance: Float[Array, ""]
    iterations: Int[Array, ""]
    products: Int[Array, ""]
    result: RESULTS


class _State(eqx.Module):
    shift: Float[Array, " d"]
    value: Float[Array, ""]
    gradient: Float[Array, " d"]
    radius: Float[Array, ""]
    iterations: Int[Array, ""]
    products: Int[Array, ""]
    negative: Bool[Array, ""]


def minimise(
    objective: TiltedRisk, curvature: GaussNewton, rho: Array, start: Float[Array, " d"], tol: Array, max_steps: Array
) -> Minimum:
    """A local minimum of Q near θ_s + start, at which ‖∇Q‖ ≤ max(tol·min(1, ‖∇Q(start)‖), rounding). Traceable.

    Args:
        objective: Q.
        curvature: G, whose (G + ρI)^−½ are the coordinates in which steps are measured.
        rho: ρ > 0 of those coordinates (it need not be the objective's own).
        start: θ − θ_s to begin with, shape (d,).
        tol: see above.
        max_steps: Newton steps after which it stops.
    """
    noise, floor = objective.rounding()
    value, gradient = jax.value_and_grad(objective.value)(start)
    first = jnp.linalg.norm(curvature.power(gradient, rho, -0.5))
    tolerance = jnp.maximum(tol * jnp.minimum(1.0, jnp.linalg.norm(gradient)), floor)

    def unfinished(state: _State) -> Bool[Array, ""]:
        norm = jnp.linalg.norm(state.gradient)
        # A radius at which a step no longer changes θ ends the search; a NaN norm ends it too.
        movable = state.radius > jnp.finfo(norm.dtype).eps * first
        return (norm > tolerance) & (state.iterations < max_steps) & movable

    def step(state: _State) -> _State:
        return _newton_step(objective, curvature, rho, state, first, noise)

    zero = jnp.asarray(0)
    begin = _State(start, value, gradient, first, zero, zero, jnp.asarray(False))
    end = jax.lax.while_loop(unfinished, step, begin)
    norm = jnp.linalg.norm(end.gradient)
    saddle = RESULTS.where(end.negative, RESULTS.not_a_minimum, SUCCESS)
    result = RESULTS.where(norm <= tolerance, saddle, RESULTS.not_stationary)
    return Minimum(end.shift, end.value, norm, tolerance, end.iterations, end.products, result)


def pick(result: RESULTS, index: tuple[int, ...]) -> RESULTS:
    """One of several results."""
    return jax.tree.map(lambda codes: codes[index], result)


def _newton_step(
    objective: TiltedRisk, curvature: GaussNewton, rho: Array, state: _State, first: Array, noise: Array
) -> _State:
    """One trial step, kept if Q falls by a hundredth of what the quadratic model promised, up to rounding."""
    gradient = curvature.power(state.gradient, rho, -0.5)
    norm = jnp.linalg.norm(gradient)
    _, hessian = jax.linearize(objective.gradient, state.shift)

    def product(vector: Array) -> Array:
        return curvature.power(hessian(curvature.power(vector, rho, -0.5)), rho, -0.5)

    # A residual of order ‖g‖^{3/2} keeps inexact Newton superlinear (Dembo, Eisenstat & Steihaug 1982).
    accuracy = norm * jnp.minimum(0.1, jnp.sqrt(norm / first))
    move, promised, products, negative = _truncated_cg(product, gradient, state.radius, accuracy)
    shift = state.shift + curvature.power(move, rho, -0.5)
    value, new_gradient = jax.value_and_grad(objective.value)(shift)
    ratio = (state.value - value + noise) / (promised + noise)
    accept = (ratio > 0.01) & jnp.isfinite(value)
    length = jnp.linalg.norm(move)
    grown = jnp.where((ratio > 0.75) & (length > 0.8 * state.radius), 2.5 * state.radius, state.radius)
    kept = jnp.where(ratio < 0.25, 0.5 * length, grown)
    return _State(
        shift=jnp.where(accept, shift, state.shift),
        value=jnp.where(accept, value, state.value),
        gradient=jnp.where(accept, new_gradient, state.gradient),
        radius=jnp.where(accept, kept, 0.25 * length),
        iterations=state.iterations + 1,
        products=state.products + products,
        negative=negative,
    )


def _truncated_cg(product: Any, gradient: Array, radius: Array, accuracy: Array) -> tuple[Array, Array, Array, Array]:
    """Minimise ⟨g, p⟩ + ½⟨p, Hp⟩ over ‖p‖ ≤ radius by conjugate gradients, up to the boundary or negative curvature.

    Returns:
        p, the decrease it promises, the number of products, and whether negative curvature was met.
    """
    limit = 2 * gradient.shape[0]  # CG ends within d steps but for rounding

    def unfinished(carry: tuple[Array, ...]) -> Array:
        _, _, _, done, _, count = carry
        return ~done & (count < limit)

    def step(carry: tuple[Array, ...]) -> tuple[Array, ...]:
        point, residual, direction, _, _, count = carry
        image = product(direction)
        square, bend = residual @ residual, direction @ image
        length = square / bend
        ahead = point + length * direction
        leaves = (bend <= 0.0) | (ahead @ ahead >= radius**2)
        # The positive root of ‖point + τ·direction‖ = radius.
        a, b, c = direction @ direction, point @ direction, point @ point - radius**2
        border = (-b + jnp.sqrt(jnp.maximum(b**2 - a * c, 0.0))) / a
        length = jnp.where(leaves, border, length)
        residual = residual + length * image
        new_square = residual @ residual
        done = leaves | (jnp.sqrt(new_square) <= accuracy)
        return (
            point + length * direction,
            residual,
            -residual + new_square / square * direction,
            done,
            bend <= 0.0,
            count + 1,
        )

    start = (jnp.zeros_like(gradient), gradient, -gradient, jnp.asarray(False), jnp.asarray(False), jnp.asarray(0))
    point, residual, _, _, negative, count = jax.lax.while_loop(unfinished, step, start)
    return point, -0.5 * point @ (gradient + residual), count, negative
