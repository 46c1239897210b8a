"""Discrete trainings that differ by their seeds alone: the mean cost of where they end, and its derivatives by ε."""

import abc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from ..._core import InputError
from ...flow import Course, EndSlope, Reached
from ...problem import AbstractRisk
from ..terms._cost import AbstractCost, cost_and_gradient
from ..terms._extremal import Point

SHARED = 2**18
"""Numbers in the states of all seeds up to which a scan keeps one wherever its weights part."""

Weights = Float[np.ndarray, "N columns"]
"""ε of every step from s to T: one for all deleted points, or one for each."""


class Seed(NamedTuple):
    """One of the trainings.

    Attributes:
        course: the training from s on.
        target: where θ(T) should be, shape (d,): what the same seed gives without the deleted points.
    """

    course: Course
    target: Float[np.ndarray, " d"]


class MeanSlopes(NamedTuple):
    """The mean cost of several trainings.

    Attributes:
        costs: of each, shape (k,); ∞ where a training left the finite numbers.
        weights: the derivative of their mean by every weight, shape (N, columns).
        rounding: of the mean, to first order.
    """

    costs: Float[np.ndarray, " k"]
    weights: Weights
    rounding: float

    @property
    def cost(self) -> float:
        """Their mean."""
        return float(self.costs.mean())


class AbstractSteps(abc.ABC):
    """Discrete training from s to T, of one seed or several: what its end costs, and what the weights do to that."""

    @abc.abstractmethod
    def costs(self, weights: Weights) -> Float[np.ndarray, " k"]:
        """The cost of each seed; ∞ where a training left the finite numbers."""

    def scan(self, rows: Float[np.ndarray, "k N columns"]) -> Iterator[tuple[int, float]]:
        """The number and the mean cost of each of many weights, in an order that suits."""
        return ((row, float(self.costs(weights).mean())) for row, weights in enumerate(rows))

    @abc.abstractmethod
    def slopes(self, weights: Weights) -> MeanSlopes:
        """Costs, and the derivative of their mean."""

    @abc.abstractmethod
    def before(self, weights: Weights, asked: tuple[int, ...]) -> Point:
        """θ and the costate before the steps that are asked for, counted from s.

        Raises:
            InputError: several seeds, which have no one θ.
        """


@dataclass(frozen=True, eq=False)
class PricedSteps(AbstractSteps):
    """The same training, with Σ|ε| paid for, and no more of it than a budget.

    Attributes:
        training: it.
        price: ρ.
        budget: the most that Σ|ε| may be; ∞ for none.
    """

    training: AbstractSteps
    price: float
    budget: float

    @staticmethod
    def effort(weights: Weights) -> float:
        """Σ|ε|."""
        return float(np.abs(weights).sum())

    def affords(self, weights: Weights) -> bool:
        """Whether weights keep to the budget, to rounding."""
        return self.effort(weights) <= self.budget * (1.0 + 1e-10)

    def costs(self, weights: Weights) -> Float[np.ndarray, " k"]:
        """Cost and price of each seed; ∞ beyond the budget, too."""
        if not self.affords(weights):
            return np.array([np.inf])
        return self.training.costs(weights) + self.price * self.effort(weights)

    def scan(self, rows: Float[np.ndarray, "k N columns"]) -> Iterator[tuple[int, float]]:
        """See `AbstractSteps`."""
        within = np.array([self.affords(weights) for weights in rows])
        yield from ((int(row), np.inf) for row in np.flatnonzero(~within))
        kept = np.flatnonzero(within)
        for row, cost in self.training.scan(rows[kept]) if len(kept) else ():
            yield int(kept[row]), cost + self.price * self.effort(rows[kept[row]])

    def slopes(self, weights: Weights) -> MeanSlopes:
        """Costs with the price, and the derivative of their mean; whatever the budget."""
        found = self.training.slopes(weights)
        return found._replace(
            costs=found.costs + self.price * self.effort(weights),
            weights=found.weights + self.price * np.sign(weights),
        )

    def before(self, weights: Weights, asked: tuple[int, ...]) -> Point:
        """See `AbstractSteps`."""
        return self.training.before(weights, asked)


@dataclass(frozen=True, eq=False)
class Ensemble(AbstractSteps):
    """Trainings under common weights.

    Attributes:
        risk: R_ε, for costs that need it.
        cost: of where a training ends.
        seeds: the trainings.
    """

    risk: AbstractRisk
    cost: AbstractCost
    seeds: tuple[Seed, ...]

    def costs(self, weights: Weights) -> Float[np.ndarray, " k"]:
        """See `AbstractSteps`."""
        return np.array([self._cost(seed, weights) for seed in self.seeds])

    def scan(self, rows: Float[np.ndarray, "k N columns"]) -> Iterator[tuple[int, float]]:
        """See `AbstractSteps`: steps that several weights share are made once."""
        courses = [seed.course for seed in self.seeds]
        if sum(leaf.size for course in courses for leaf in jax.tree.leaves(course.carry)) > SHARED:
            return super().scan(rows)
        return self._branches(courses, rows, np.arange(len(rows)), 0)

    def _branches(
        self, courses: list[Course], rows: Float[np.ndarray, "k N columns"], which: Int[np.ndarray, " r"], done: int
    ) -> Iterator[tuple[int, float]]:
        """Go on with rows that agree so far, until they do not."""
        left = rows[which, done:]
        parts = (left != left[0]).any(axis=(0, 2))
        agree = int(np.argmax(parts)) if parts.any() else left.shape[1]
        reached = [course.end(left[0, :agree]) for course in courses]
        if agree == left.shape[1]:
            ends = zip(self.seeds, reached, strict=True)
            cost = float(np.mean([self._value(seed, end) for seed, end in ends]))
            yield from ((int(row), cost) for row in which)
            return
        if any(end.bad is not None for end in reached):
            yield from ((int(row), np.inf) for row in which)
            return
        branch = np.unique(left[:, agree], axis=0, return_inverse=True)[1].ravel()
        for k in range(branch.max() + 1):
            yield from self._branches([end.course for end in reached], rows, which[branch == k], done + agree)

    def slopes(self, weights: Weights) -> MeanSlopes:
        """See `AbstractSteps`."""
        each = [seed.course.slopes(weights, self._slope(seed), ()) for seed in self.seeds]
        return MeanSlopes(
            costs=np.array([slopes.value for slopes in each]),
            weights=np.mean([slopes.weights for slopes in each], axis=0),
            rounding=float(np.mean([slopes.rounding for slopes in each])),
        )

    def before(self, weights: Weights, asked: tuple[int, ...]) -> Point:
        """See `AbstractSteps`."""
        first, *others = self.seeds
        if others:
            raise InputError(
                f"θ(t) and the costate are different for each of the {1 + len(others)} seeds; ask with one key."
            )
        path = first.course.slopes(weights, self._slope(first), asked)
        return Point(path.thetas, path.costates)

    def _cost(self, seed: Seed, weights: Weights) -> float:
        return self._value(seed, seed.course.end(weights))

    def _value(self, seed: Seed, reached: Reached) -> float:
        value = np.inf if reached.bad is not None else self._slope(seed)(reached.theta).value
        return value if np.isfinite(value) else np.inf

    def _slope(self, seed: Seed) -> Callable[[Float[np.ndarray, " d"]], EndSlope]:
        return lambda theta: cost_and_gradient(self.cost, self.risk, theta, seed.target)
