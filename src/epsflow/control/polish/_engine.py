"""What the polish asks of a problem: costs, derivatives and wrong levels of arcs."""

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..terms._arcs import Arcs
from ..terms._deadline import Deadline
from ..terms._extremal import Extremal
from ..terms._window import MeshWindow

KEPT = 1e-9
"""Fraction of the budget by which SLSQP may exceed it."""


@dataclass(frozen=True, eq=False)
class Derivatives:
    """The cost of arcs, and its derivatives by `Arcs.unknowns`.

    Attributes:
        cost: φ + ρ∫|u| dt.
        gradient: shape (n,).
        hessian: of φ, shape (n, n); ∫|u| dt is linear in the switch times.
    """

    cost: float
    gradient: Float[np.ndarray, " n"]
    hessian: Float[np.ndarray, "n n"]


class Violation(NamedTuple):
    """A stretch of one arc on which S asks for another level than u has.

    Attributes:
        gain: ∫[S u + ρ|u| − (S v + ρ|v|)] with the best level v: what moving u there promises to first order.
        component: of u.
        level: v, one of the arcs' options.
        start, end: where it is.
        pivot: the time within it around which it may shrink.
    """

    gain: float
    component: int
    level: float
    start: float
    end: float
    pivot: float


class Survey(NamedTuple):
    """What Pontryagin's conditions say of arcs whose unknowns are stationary.

    Attributes:
        cost: φ + ρ∫|u| dt.
        violations: where a further arc may lower it, the most promising first.
        patience: insertions after which no further one is worth its time.
        extremal: the arcs with their costate, where it is known exactly.
    """

    cost: float
    violations: list[Violation]
    patience: float = np.inf
    extremal: Extremal | None = None


class AbstractEngine(abc.ABC):
    """Costs and derivatives of the arcs of one problem.

    Attributes:
        window: its length, the unit of the cost, and the price of ∫|u| dt, part of the cost throughout, or its budget.
        least: length of an arc, relative to that of the window, below which it is deleted.
        most: intervals between knots for which there is room.
        deadline: when to stop.
        exact: whether the Hessian is exact, and hardly dearer than a gradient.
        rounding: relative error of the Hessian, below which a curvature counts as none.
    """

    window: MeshWindow
    least: float
    most: float
    deadline: Deadline
    exact: bool
    rounding: float

    @abc.abstractmethod
    def at_price(self, price: float) -> "AbstractEngine":
        """The same, with a price in place of the budget."""

    @abc.abstractmethod
    def cost(self, arcs: Arcs) -> float:
        """φ + ρ∫|u| dt; +∞ where it overflows."""

    @abc.abstractmethod
    def slope_near(self, arcs: Arcs) -> Callable[[np.ndarray], tuple[float, Float[np.ndarray, " n"]]]:
        """The cost and its gradient as smooth functions of the arcs' unknowns."""

    @abc.abstractmethod
    def derivatives(self, arcs: Arcs) -> Derivatives:
        """The cost, its gradient and its Hessian."""

    @abc.abstractmethod
    def survey(self, arcs: Arcs) -> Survey:
        """Where the arcs have the wrong level."""

    @property
    def shortest(self) -> float:
        """Length of an arc below which it is deleted."""
        return self.least * self.window.length

    def keeps(self, arcs: Arcs) -> bool:
        """Whether arcs are within the budget."""
        return arcs.effort <= self.window.budget * (1.0 + KEPT)
