"""Linear regression under an analytic schedule: a Taylor series in t, to rounding.

With a_k = θ⁽ᵏ⁾hᵏ/k! and ε̃_k = c_k hᵏ the coefficients of θ and ε over one step h, θ̇ = −∇R_ε(θ) gives

    (k+1) a_{k+1} = h·(b_{-D}[k=0] − H_{-D} a_k − c Σ_j x_j (Σ_{i≤k} ε̃_i x_jᵀa_{k−i} − ε̃_k y_j)).

Terms scale as hᵏ: a step whose last terms are above rounding is shortened, and no term is computed again. For the
linear decay this solves the autonomous polynomial system (0.14) of the notes, corrected, by its own power series.
Computed in the eigenbasis of H_{-D}, where its product is a multiplication.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Float

from .._core import Array
from ..problem import Quadratic
from ..schedules import AbstractAnalytic

ORDER = 24


class _Diagonal(NamedTuple):
    """The flow in the eigenbasis of H_{-D}: rates, b_{-D}, √c x_j and √c y_j there."""

    rates: Float[Array, " d"]
    drift: Float[Array, " d"]
    rows: Float[Array, "m d"]
    targets: Float[Array, " m"]


def _diagonal(risk: Quadratic) -> _Diagonal:
    basis, root = risk.retained, jnp.sqrt(risk.scale)
    rows = root * basis.to_basis(risk.x_deleted)
    return _Diagonal(basis.values, basis.to_basis(risk.b_retained), rows, root * risk.y_deleted)


def _series_step(
    flow: _Diagonal, z: Float[Array, " d"], eps: Float[Array, " terms"], h: Float[Array, ""]
) -> tuple[Float[Array, " d"], Float[Array, ""], Float[Array, ""]]:
    """z(t + fh) from z(t) and the scaled coefficients ε̃ of ε; the size of the last term; and the fraction f ≤ 1 taken.

    f is the largest with |a_23|f²³ and |a_24|f²⁴ below rounding of the largest term.
    """
    terms, products = [z], [flow.rows @ z]
    for k in range(ORDER):
        force = -flow.rates * terms[k] + (flow.drift if k == 0 else 0.0)
        weighted = sum(eps[i] * products[k - i] for i in range(k + 1)) - eps[k] * flow.targets
        terms.append(h * (force - weighted @ flow.rows) / (k + 1))
        products.append(flow.rows @ terms[-1])
    sizes = jnp.max(jnp.abs(jnp.stack(terms)), axis=1)
    orders, rounding = jnp.array([ORDER - 1, ORDER]), jnp.finfo(z.dtype).eps * jnp.max(sizes)
    above = sizes[-2:] > rounding
    fractions = (rounding / jnp.where(above, sizes[-2:], 1.0)) ** (1.0 / orders)
    fraction = jnp.min(jnp.where(above, fractions, 1.0))
    # Smallest terms first, so that they are not lost one by one.
    total = sum((terms[k] * fraction**k for k in reversed(range(ORDER + 1))), jnp.zeros_like(z))
    return total, sizes[-1] * fraction**ORDER, fraction


@eqx.filter_jit
def solve_series(
    risk: Quadratic, schedule: AbstractAnalytic, theta0: Array, ts: Float[Array, " k"], t0: Array | float
) -> tuple[Float[Array, "k d"], Float[Array, ""], Array]:
    """θ at `ts`, a bound on truncation and rounding, and the number of steps."""
    flow = _diagonal(risk)
    norm = jnp.max(flow.rates) + jnp.sum(flow.rows**2)
    # Not below the resolution of t itself: a quarter of a shorter rest would not move t at all.
    resolution = 4.0 * jnp.finfo(ts.dtype).eps * jnp.abs(schedule.end)
    tail = jnp.maximum(1e-14 * (schedule.end - schedule.start), resolution)

    def coefficients(t: Array, h: Array) -> Array:
        flat = jnp.zeros(ORDER + 1).at[0].set(jnp.where(t < schedule.start, 1.0, 0.0))
        inside = (t >= schedule.start) & (t < schedule.end)
        return jnp.where(inside, schedule.taylor(t, ORDER, h), flat)

    def longest_step(t: Array) -> Array:
        inside = (t >= schedule.start) & (t < schedule.end)
        to_border = jnp.where(t < schedule.start, schedule.start, jnp.where(inside, schedule.end, jnp.inf)) - t
        # Next to `end`, where the series of a fractional power has no radius, what is left of ε is below rounding.
        analytic = jnp.where(inside & (to_border > tail), schedule.taylor_step(t), jnp.inf)
        return jnp.minimum(jnp.minimum(2.0 / norm, to_border), analytic)

    def advance(
        carry: tuple[Array, Array, Array, Array], target: Array
    ) -> tuple[tuple[Array, Array, Array, Array], Array]:
        def step(state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
            t, z, truncation, count = state
            remaining = target - t
            h = jnp.minimum(longest_step(t), remaining)
            z, last, fraction = _series_step(flow, z, coefficients(t, h), h)
            h = h * fraction
            # Land exactly on the target and on the borders, so that `inside` never sees a rounded neighbour.
            landed = jnp.where(t < schedule.start, jnp.minimum(t + h, schedule.start), t + h)
            landed = jnp.where(
                (t < schedule.end) & (t + h >= schedule.end - tail), jnp.maximum(landed, schedule.end), landed
            )
            return jnp.where(h >= remaining, target, landed), z, truncation + last, count + 1

        state = jax.lax.while_loop(lambda state: state[0] < target, step, carry)
        return state, state[1]

    start = (t0, risk.retained.to_basis(theta0), jnp.asarray(0.0), jnp.asarray(0))
    (_, _, truncation, count), coordinates = jax.lax.scan(advance, start, ts)
    thetas = risk.retained.from_basis(coordinates)
    size = jnp.maximum(jnp.max(jnp.abs(thetas)), jnp.max(jnp.abs(theta0)))
    rounding = jnp.finfo(thetas.dtype).eps * (count + 1) * size
    return thetas, truncation + rounding, count
