"""Pontryagin's conditions for any problem under a piecewise-constant schedule, by the steps of `_rollout`.

State and costate are kept at both ends of every step. In between θ is one shorter step from the beginning, and p one
that is pulled back from the end: of the same order as the steps themselves.
"""

from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from ..._core import Array, InputError, in_chunks
from ...flow._diffrax import sizes_of
from ..terms._extremal import AbstractPath, Extremal, Point, Signals, extremal_along
from ..terms._pieces import cut, subdivided
from ._rollout import choose_steps, end_cost, pulled_back, stepped, sweep
from ._system import RiskSystem

PIECES = 128
"""Least number of pieces that the window is cut into."""

AGREEMENT = 1e-10
"""Relative change of the cost on halving the steps with which they are small enough."""

MEMORY = 2**28
"""Numbers that the states and costates of all steps may hold (2 GB)."""

TOGETHER = 2**17
"""Numbers in the states of the times that are computed in one go."""


class Between(NamedTuple):
    """State, costate, S and 𝓗 at several times."""

    theta: Float[Array, "k d"]
    costate: Float[Array, "k d"]
    switching: Float[Array, "k controls"]
    hamiltonian: Float[Array, " k"]


@dataclass(frozen=True, eq=False)
class SweptPath(AbstractPath):
    """θ and p at the ends of all steps, from which they are computed between them.

    Attributes:
        system: f and φ.
        times: the ends of all steps, from s to T, shape (n + 1,).
        levels: ε on each step, shape (n, controls).
        states, costates: θ and p at `times`, shape (n + 1, d).
    """

    system: RiskSystem
    times: Float[np.ndarray, " ends"]
    levels: Float[np.ndarray, "n controls"]
    states: Float[np.ndarray, "ends d"]
    costates: Float[np.ndarray, "ends d"]

    def at(self, ts: Float[np.ndarray, " k"]) -> Point:
        """See `AbstractPath`."""
        found = self._between(ts)
        return Point(found.theta, found.costate)

    def signals(self, ts: Float[np.ndarray, " k"]) -> Signals:
        """See `AbstractPath`."""
        found, eps = self._between(ts), self.levels[self._step(ts)]
        switching, hamiltonian = np.asarray(found.switching), np.asarray(found.hamiltonian)
        if self.system.shared:
            return Signals(switching[:, 0], hamiltonian, eps[:, 0])
        return Signals(switching, hamiltonian, eps)

    def _step(self, ts: np.ndarray) -> np.ndarray:
        return np.clip(np.searchsorted(self.times, ts, side="left") - 1, 0, len(self.levels) - 1)

    def _between(self, ts: np.ndarray) -> Between:
        def chunk(ts: np.ndarray) -> Between:
            k = self._step(ts)
            ends = self.states[k], self.costates[k + 1], self.levels[k], ts - self.times[k], self.times[k + 1] - ts
            return _between(self.system, *ends)

        return Between(*in_chunks(chunk, ts, int(np.clip(TOGETHER // self.states.shape[1], 1, 256))))


@eqx.filter_jit
def _between(
    system: RiskSystem,
    states: Float[Array, "k d"],
    costates: Float[Array, "k d"],
    levels: Float[Array, "k controls"],
    passed: Float[Array, " k"],
    left: Float[Array, " k"],
) -> Between:
    """At times within steps, of which so much is passed and left, from the states before and the costates after."""

    def one(before: Array, after: Array, u: Array, passed: Array, left: Array) -> Between:
        x = stepped(system, before, u, passed)
        p = pulled_back(system, x, u, left, after).state
        velocity, pull = jax.vjp(lambda v: system.field(x, v), u)
        return Between(x, p, pull(p)[0], velocity @ p)

    return jax.vmap(one)(states, costates, levels, passed, left)


def swept_extremal(
    system: RiskSystem,
    knots: Float[np.ndarray, " knots"],
    levels: Float[np.ndarray, "K *m"],
    theta_s: Float[Array, " d"],
    bounds: tuple[float, float],
    price: float,
) -> Extremal:
    """The extremal of a piecewise-constant schedule.

    Raises:
        InputError: the flow is too stiff for explicit steps, or they would not fit into memory.
    """
    rows = np.broadcast_to(levels.reshape(len(levels), -1), (len(levels), system.controls))
    pieces = cut(knots, rows, PIECES * int(np.ceil(2 * len(rows) / PIECES)))
    unit = end_cost(system, theta_s)
    each = choose_steps(system, theta_s, pieces.durations, [pieces.levels], unit, AGREEMENT)
    if 2 * each * len(pieces.levels) * system.dim > MEMORY:
        raise InputError(
            f"{each * len(pieces.levels)} states of {system.dim} parameters, and as many costates, do not fit into "
            f"{8e-9 * MEMORY:.1f} GB. Use a smaller T − s, or features of unit variance."
        )
    times = subdivided(pieces.knots, np.full(len(pieces.levels), each))
    controls = np.repeat(pieces.levels, each, axis=0)
    found = sweep(system, 1, theta_s, np.diff(times), controls)
    path = SweptPath(system, times, controls, found.states, found.costates)
    rate = float(sizes_of(system.risk, found.states[-1]).curvature)
    error = AGREEMENT * max(found.cost, 1e-6 * unit)
    return extremal_along(path, knots, rate, bounds, price, cost=found.cost, error=error, method="adjoint")
