"""Pontryagin's conditions for any problem: θ forward and the costate backward, by diffrax."""

from dataclasses import dataclass

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..._core import RESULTS, Array, ConvergenceError, in_chunks, message
from ...flow._costate_diffrax import solve_costate
from ...flow._diffrax import choose_solver, sizes_of, solve_diffrax
from ...problem import AbstractRisk
from ...schedules import AbstractSchedule
from ..terms._cost import AbstractCost, cost_and_gradient
from ..terms._extremal import AbstractPath, Extremal, Point, Signals, extremal_along
from ._system import DENSE_NUMBERS

TOLERANCES = (1e-10, 1e-12)
"""Relative and absolute, the latter in units of what is integrated."""
CHUNK = 256
"""Times at which interpolants are evaluated at once."""


@dataclass(frozen=True, eq=False)
class DiffraxPath(AbstractPath):
    """θ and p from the interpolants of a forward and a backward solve."""

    risk: AbstractRisk
    schedule: AbstractSchedule
    forward: diffrax.Solution
    backward: diffrax.Solution
    window: tuple[float, float]

    def at(self, ts: Float[np.ndarray, " k"]) -> Point:
        """See `AbstractPath`."""
        return _interpolate(self.forward, self.backward, jnp.asarray(ts))

    def signals(self, ts: Float[np.ndarray, " k"]) -> Signals:
        """See `AbstractPath`."""
        # At s itself ε is still 1, at T it is 0; the arcs between them are the ones that count.
        start, end = self.window
        inside = np.clip(ts, start + 1e-14 * (end - start), end - 1e-14 * (end - start))
        given = self.risk, self.schedule, self.forward, self.backward
        return Signals(*in_chunks(lambda chunk: _signals(*given, jnp.asarray(chunk)), inside, CHUNK))


def general_extremal(
    risk: AbstractRisk,
    schedule: AbstractSchedule,
    theta0: Array,
    s: float,
    T: float,
    bounds: tuple[float, float],
    target: Array,
    cost: AbstractCost,
    price: float,
) -> Extremal:
    sizes = sizes_of(risk, theta0)
    solver, length = choose_solver(sizes, T), sizes.length
    steps = int(np.clip(DENSE_NUMBERS // (16 * risk.dim), 512, 8192))
    rtol, atol = TOLERANCES
    tight, loose = ((jnp.asarray(k * rtol), k * atol * length) for k in (1.0, 10.0))
    span, end = jnp.zeros(()), jnp.asarray([T])
    forward = solve_diffrax(risk, schedule, theta0, end, span, tight, solver, steps, True)
    rough = solve_diffrax(risk, schedule, theta0, end, span, loose, solver, steps, True)
    _throw(forward, "θ forward", steps)
    theta, rough_theta = _end(forward), _end(rough)
    value, slope = cost_and_gradient(cost, risk, theta, target)
    window, relative = jnp.asarray([s, T]), (jnp.asarray(rtol), jnp.asarray(atol))
    backward = solve_costate(risk, schedule, forward, jnp.asarray(slope), window, relative, solver, steps, True)
    _throw(backward, "the costate backward", steps)
    path = DiffraxPath(risk, schedule, forward, backward, (s, T))
    jumps = np.asarray(schedule.jump_ts)
    knots = np.unique(np.concatenate([[s, T], jumps[(jumps > s) & (jumps < T)]]))
    rate = float(sizes_of(risk, theta).curvature)
    error = abs(float(value - cost_and_gradient(cost, risk, rough_theta, target)[0]))
    return extremal_along(path, knots, rate, bounds, price, cost=value, error=error, method="diffrax")


def _throw(solution: diffrax.Solution, what: str, steps: int) -> None:
    result = RESULTS.promote(solution.result)
    if not bool(result == RESULTS.successful):
        raise ConvergenceError(
            f"Pontryagin's conditions could not be computed: integrating {what} failed within {steps} steps "
            f"({message(result)}).",
            solution,
        )


def _end(solution: diffrax.Solution) -> Float[Array, " d"]:
    return jnp.asarray(solution.ys)[-1]


@eqx.filter_jit
def _interpolate(forward: diffrax.Solution, backward: diffrax.Solution, ts: Float[Array, " k"]) -> Point:
    return Point(jax.vmap(forward.evaluate)(ts), jax.vmap(backward.evaluate)(ts))


@eqx.filter_jit
def _signals(
    risk: AbstractRisk,
    schedule: AbstractSchedule,
    forward: diffrax.Solution,
    backward: diffrax.Solution,
    ts: Float[Array, " k"],
) -> tuple[Array, Array, Array]:
    def one(t: Array) -> tuple[Array, Array, Array]:
        theta, p, eps = forward.evaluate(t), backward.evaluate(t), schedule(t)
        switching = -risk.deleted_gradients(theta) @ p
        return switching if eps.ndim else jnp.sum(switching), -p @ risk.gradient(theta, eps), eps

    return jax.vmap(one)(ts)
