"""What a control is chosen on: the window, its bounds, and what ∫|u| dt costs or may be."""

import enum
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ._levels import levels_of

SPARE = 1e-12
"""Fraction of the budget by which rounding may exceed it."""


class Window(NamedTuple):
    """When ε may be chosen, and between which bounds.

    Attributes:
        s, T: from when to when.
        low, high: least and largest ε there.
    """

    s: float
    T: float
    low: float
    high: float

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and largest ε."""
        return self.low, self.high

    @property
    def length(self) -> float:
        """T − s."""
        return self.T - self.s


class Effort(enum.Enum):
    """How |u| is written so that it is smooth in the unknowns of a solver."""

    FREE = "∫|u| dt does not matter"
    ONE_SIGN = "u has one sign, so |u| = ±u"
    BOTH_SIGNS = "|u| = u + 2n with n ≥ 0 and n + u ≥ 0"


class MeshWindow(NamedTuple):
    """Controls on intervals from s to T.

    Attributes:
        length: T − s.
        bounds: least and largest u.
        unit: the cost is measured in it, so that a solver's tolerances fit.
        price: ρ, of ∫|u| dt summed over the components of u.
        budget: B, the most that it may be; ∞ for none.
        durations: of the intervals, where they are not alike.
    """

    length: float
    bounds: tuple[float, float]
    unit: float
    price: float = 0.0
    budget: float = np.inf
    durations: Float[np.ndarray, " N"] | None = None

    @property
    def priced(self) -> bool:
        """Whether ∫|u| dt matters."""
        return self.price > 0.0 or self.budget < np.inf

    @property
    def options(self) -> tuple[float, ...]:
        """The levels of arcs that are not singular: the bounds, and 0 between them where ∫|u| dt matters."""
        return levels_of(self.bounds, float(self.priced))

    @property
    def effort(self) -> Effort:
        """How |u| is to be written."""
        if not self.priced:
            return Effort.FREE
        return Effort.BOTH_SIGNS if len(self.options) > 2 else Effort.ONE_SIGN

    @property
    def sign(self) -> float:
        """Of u, where it has one sign; else 1."""
        return -1.0 if self.bounds[1] <= 0.0 and self.bounds[0] < 0.0 else 1.0

    @property
    def cheapest(self) -> float:
        """The level with the least |u|."""
        return float(np.clip(0.0, *self.bounds))

    def spent(self, values: Float[np.ndarray, "N *controls"]) -> float:
        """∫|u| dt."""
        if self.durations is None:
            return float(np.abs(values).sum()) * self.length / len(values)
        return float(self.durations @ np.abs(values).reshape(len(values), -1).sum(axis=1))

    def affordable(self, values: Float[np.ndarray, "N *controls"]) -> Float[np.ndarray, "N *controls"]:
        """The values, moved towards the cheapest level by one factor until the budget is kept.

        Those on one of the options stay there, unless moving the others is not enough.
        """
        return self._spending(values, min(self.budget, self.spent(values)))

    def onto_options(self, values: Float[np.ndarray, "N *controls"], margin: float) -> Float[np.ndarray, "N *controls"]:
        """What is near an option moved onto it (`on_bounds`), and the rest by one factor so that as much is spent."""
        moved = on_bounds(values, self.options, margin)
        return self._spending(moved, min(self.budget, self.spent(values))) if self.priced else moved

    def _spending(self, values: Float[np.ndarray, "N *controls"], wanted: float) -> Float[np.ndarray, "N *controls"]:
        free = ~np.isin(values, self.options)
        for moving in (free, np.ones_like(free)):
            excess = self.spent(values) - wanted
            if abs(excess) <= SPARE * wanted:
                break
            lowered = np.where(moving, self.cheapest, values)
            saved = self.spent(values) - self.spent(lowered)
            if saved > 0.0:
                values = np.clip(values + min(1.0, excess / saved) * (lowered - values), *self.bounds)
        return values


def on_bounds(values: np.ndarray, options: tuple[float, ...], margin: float) -> np.ndarray:
    """Values within the bounds, and moved onto a bound that is closer than a fraction `margin` of their distance.

    `options`: the bounds, and what else attracts (0 between them, with a price).
    """
    low, high = options[0], options[-1]
    values = np.clip(values, low, high)
    for level in options:
        values = np.where(np.abs(values - level) < margin * (high - low), level, values)
    return values
