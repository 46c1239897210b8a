"""The flow of a risk that is not convex, followed until it rests."""

from typing import Any

import diffrax
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._core import Array
from ..problem import AbstractRisk
from ..schedules import Constant
from ._descent import LocalMinimum, polish
from ._diffrax import vector_field


def follow(
    risk: AbstractRisk,
    weights: Float[np.ndarray, "*m"],
    start: Float[np.ndarray, " d"],
    target: float,
    *,
    max_time: float,
    max_steps: int,
) -> tuple[LocalMinimum, bool]:
    """The flow until its speed falls to 1e-8 of its first, then Newton from there; and whether Newton left the basin.

    A resting flow is within ‖∇R‖/λ of its limit; a jump beyond a hundredth of the way travelled is another basin.
    """
    end = np.asarray(_flow(risk, jnp.asarray(start), jnp.asarray(weights), jnp.asarray(max_time), max_steps))
    found = polish(risk, weights, end, target)
    travelled = np.linalg.norm(end - start)
    return found, bool(np.linalg.norm(found.theta - end) > 0.01 * travelled + 1e-6)


@eqx.filter_jit
def _flow(
    risk: AbstractRisk, start: Float[Array, " d"], weights: Array, max_time: Array, max_steps: int
) -> Float[Array, " d"]:
    rest = 1e-8 * jnp.maximum(jnp.linalg.norm(risk.gradient(start, weights)), 1e-300)

    def at_rest(t: Any, y: Array, args: Any, **_: Any) -> Array:
        return jnp.linalg.norm(vector_field(t, y, args)) < rest

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(vector_field),
        diffrax.Kvaerno5(),
        t0=0.0,
        t1=max_time,
        dt0=None,
        y0=start,
        args=(risk, Constant(weights), jnp.zeros(())),
        stepsize_controller=diffrax.PIDController(rtol=1e-9, atol=1e-12),
        event=diffrax.Event(at_rest),
        max_steps=max_steps,
        throw=False,
    )
    return jnp.asarray(solution.ys)[-1]
