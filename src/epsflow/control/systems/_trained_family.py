"""The best of a few numbers that pick the weights of discrete training: two scans, then descent by exact slopes."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

from ..terms._deadline import Deadline
from ..terms._runs import Least
from ._descent import Rule, descend_in_box
from ._ensemble import MeanSlopes, PricedSteps

FIRST, SECOND = {1: 33, 2: 7}, {1: 9, 2: 5}
"""Points per number of the first scan, over the whole range, and of the second, around the best of the first."""


def points_of(numbers: int, steps: float) -> int:
    """Of the first scan: no closer than whole steps, between which the cost of a switch is smooth."""
    return max(5, min(FIRST.get(numbers, 4), round(steps) + 1))


NUDGE = 1e-6
"""Width of the differences of the weights by the numbers, of their range."""

SPARE = 1e-9
"""Part of a budget that a search within it leaves."""

BOXES = 8
"""In which is descended, at most: another one around what lies on an edge of one within the range."""

RULE = Rule(iterations=20, evaluations=40, fall=1e-12)
"""When the descent ends."""

Point = Float[np.ndarray, " p"]
Rows = Float[np.ndarray, "k p"]


def least_trained(
    training: PricedSteps,
    weights_of: Callable[[Rows], Float[np.ndarray, "k N columns"]],
    lower: Point,
    upper: Point,
    count: int,
    deadline: Deadline,
) -> Least:
    """Least mean cost over a box of numbers; a minimum narrower than a cell of the first scan can be missed.

    Args:
        training: from s on, with what ε costs and may cost.
        weights_of: the weights of all steps, from rows of numbers.
        lower, upper: the box.
        count: points per number of the first scan.
        deadline: when to stop; the first scan is then cut short.
    """
    search = _Search(training, weights_of, deadline)
    best = search.scan(lower, upper, count)
    cell = (upper - lower) / (count - 1)
    finer = SECOND.get(len(lower), 3)
    best = search.scan(np.maximum(lower, best - cell), np.minimum(upper, best + cell), finer)
    cell = 2.0 * cell / (finer - 1)
    for _ in range(BOXES):
        low, high = np.maximum(lower, best - cell), np.minimum(upper, best + cell)
        search.descend(best, low, high)
        best, near = search.least.numbers, NUDGE * cell
        if not np.any(((best <= low + near) & (low > lower)) | ((best >= high - near) & (high < upper))):
            break
    return search.least


def nearest_trained(
    training: PricedSteps,
    weights_of: Callable[[Rows], Float[np.ndarray, "k N columns"]],
    start: Point,
    lower: Point,
    upper: Point,
    deadline: Deadline,
) -> Least:
    """Least mean cost that a descent from `start` finds within a box of numbers."""
    search = _Search(training, weights_of, deadline)
    search.descend(start, lower, upper)
    return search.least


class _Search:
    """All numbers that were tried, and what they cost."""

    def __init__(
        self,
        training: PricedSteps,
        weights_of: Callable[[Rows], Float[np.ndarray, "k N columns"]],
        deadline: Deadline,
    ):
        self.training, self.weights_of, self.deadline = training, weights_of, deadline
        self.tried: list[tuple[Point, float]] = []

    @property
    def least(self) -> Least:
        """The best of them."""
        point, cost = min(self.tried, key=lambda each: each[1])
        return Least(point, cost, len(self.tried), not self.deadline.passed)

    def scan(self, low: Point, high: Point, count: int) -> Point:
        """A lattice; the best point so far."""
        axes = [np.linspace(a, b, count) for a, b in zip(low, high, strict=True)]
        points, costs = np.array(list(itertools.product(*axes))), {}
        if not (self.tried and self.deadline.passed):
            for row, cost in self.training.scan(self.weights_of(points)):
                costs[row] = cost
                if self.deadline.passed:
                    break
        self.tried += [(points[row], costs[row]) for row in sorted(costs)]
        return self.least.numbers

    def descend(self, start: Point, low: Point, high: Point) -> None:
        """L-BFGS-B within a box, with the exact slopes by the weights and differences of the weights by the numbers.

        SLSQP where a budget may stop it.
        """
        if self.tried and self.deadline.passed:
            return
        width = np.where(high > low, high - low, 1.0)
        first = self._tried(start)
        unit = max(abs(first.cost) if np.isfinite(first.cost) else 1.0, np.finfo(np.float64).tiny)

        def slope(x: Point, by_weight: Float[np.ndarray, "N columns"]) -> Point:
            """A derivative by the weights, as one by the numbers on [0, 1]."""
            point, moves = low + x * (high - low), NUDGE * np.diag(width)
            ahead, behind = np.minimum(point + moves, high), np.maximum(point - moves, low)
            change = self.weights_of(ahead) - self.weights_of(behind)
            apart = np.maximum(np.diag(ahead - behind), np.finfo(np.float64).tiny)
            return (change * by_weight).sum(axis=(1, 2)) / apart * (high - low)

        def objective(x: Point) -> tuple[float, Point]:
            found = self._tried(low + x * (high - low))
            return found.cost / unit, slope(x, found.weights) / unit

        begin, box, budget = (start - low) / width, [(0.0, 1.0)] * len(start), self.training.budget
        if budget == np.inf:
            descend_in_box(objective, begin, box, RULE, self.deadline)
            return

        def weights(x: Point) -> Float[np.ndarray, "N columns"]:
            return self.weights_of((low + x * (high - low))[None])[0]

        # A hair below the budget, so that what the search ends with is within it.
        held: dict[str, Any] = {
            "type": "ineq",
            "fun": lambda x: ((1.0 - SPARE) * budget - self.training.effort(weights(x))) / len(first.weights),
            "jac": lambda x: -slope(x, np.sign(weights(x))) / len(first.weights),
        }
        limits = {"maxiter": RULE.iterations, "ftol": RULE.fall}
        settings: dict[str, Any] = {"jac": True, "bounds": box, "callback": self.deadline.stop, "options": limits}
        minimize(objective, begin, method="SLSQP", constraints=[held], **settings)

    def _tried(self, point: Point) -> MeanSlopes:
        weights = self.weights_of(point[None])[0]
        found = self.training.slopes(weights)
        known = np.isfinite(found.cost) and self.training.affords(weights)
        self.tried.append((point, found.cost if known else np.inf))
        return found
