"""The cost of arcs with free ends, and its gradient, by the sweeps of `systems._rollout`."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..._core import Array
from ..systems._rollout import roll_out, sweep
from ..systems._system import AbstractSystem
from ..terms._arcs import Arcs, Pieces
from ..terms._deadline import Deadline

KEPT = 1e-9
"""Fraction of the budget by which SLSQP may exceed it."""


class Roller:
    """Costs and gradients of arcs of one system: the same number of pieces throughout, so that nothing compiles twice.

    Attributes:
        price: ρ, of ∫|u| dt, part of the cost throughout.
        budget: B, the most that it may be.
        sweeps: gradients computed so far.
    """

    def __init__(
        self,
        system: AbstractSystem,
        start: Float[Array, " d"],
        unit: float,
        count: int,
        steps: int,
        deadline: Deadline,
        price: float = 0.0,
        budget: float = np.inf,
    ):
        """Fix the system, the unit of the cost, pieces in all, and Runge–Kutta steps per piece."""
        self.system, self.start, self.unit, self.count = system, start, unit, count
        self.steps, self.deadline, self.sweeps = jnp.asarray(float(steps)), deadline, 0
        self.price, self.budget = price, budget

    def priced(self, price: float) -> "Roller":
        """The same, with a price in place of the budget; it counts its own sweeps."""
        return Roller(self.system, self.start, self.unit, self.count, int(self.steps), self.deadline, price)

    def keeps(self, arcs: Arcs) -> bool:
        """Whether arcs are within the budget."""
        return arcs.effort <= self.budget * (1.0 + KEPT)

    def cost(self, arcs: Arcs) -> float:
        """φ + ρ∫|u| dt in units; +∞ where it overflows."""
        pieces = arcs.pieces(self.count, arcs.share_out(self.count))
        durations, levels = jnp.asarray(pieces.durations), jnp.asarray(pieces.levels)
        value = float(roll_out(self.system, self.steps, self.start, durations, levels)[0]) + self.price * arcs.effort
        return value / self.unit if np.isfinite(value) else np.inf

    def gradient(self, arcs: Arcs, each: np.ndarray | None = None) -> "Gradient":
        """The cost and its derivatives in units. `each`: pieces per part; held while arcs move, so that φ is smooth."""
        pieces = arcs.pieces(self.count, arcs.share_out(self.count) if each is None else each)
        self.sweeps += 1
        durations, levels = jnp.asarray(pieces.durations), jnp.asarray(pieces.levels)
        found = sweep(self.system, self.steps, self.start, durations, levels)
        by_level, by_duration = np.asarray(found.levels) / self.unit, np.asarray(found.durations) / self.unit
        worth = self.price / self.unit
        spends = spending(arcs, pieces)
        by_times, by_free = arcs.chain(pieces, by_duration, by_level)
        value = float(found.cost) / self.unit + worth * arcs.effort
        return Gradient(value, by_times + worth * spends[0], by_free + worth * spends[1], by_level, pieces)


def spending(arcs: Arcs, pieces: Pieces) -> tuple[Float[np.ndarray, " switches"], Float[np.ndarray, " free"]]:
    """∂(∫|u| dt)/∂τ and ∂(∫|u| dt)/∂(free levels)."""
    by_level = pieces.durations[:, None] * np.sign(pieces.levels)
    return arcs.chain(pieces, np.abs(pieces.levels).sum(axis=1), by_level)


class Gradient(NamedTuple):
    """φ + ρ∫|u| dt of arcs, and its derivatives, in units.

    Attributes:
        cost: the sum.
        switch_ts, free: its derivatives by τ and by the free levels.
        levels: ∂φ/∂u_k of every piece, without ρ.
        pieces: the pieces.
    """

    cost: float
    switch_ts: Float[np.ndarray, " switches"]
    free: Float[np.ndarray, " free"]
    levels: Float[np.ndarray, "K controls"]
    pieces: Pieces
