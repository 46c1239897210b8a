"""The best of a few numbers that pick the weights of discrete training: two scans, then descent by exact slopes."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

from ..terms._deadline import Deadline
from ._ensemble import Ensemble

FIRST, SECOND = {1: 17, 2: 7}, {1: 9, 2: 5}
"""Points per number of the first scan, over the whole range, and of the second, around the best of the first."""

NUDGE, ITERATIONS = 1e-6, 20
"""Width of the differences of the weights by the numbers, of their range, and the most iterations of L-BFGS-B."""

Point = Float[np.ndarray, " p"]


class Least(NamedTuple):
    """The best numbers found.

    Attributes:
        point: they, on the scale on which they are searched.
        cost: the mean over the seeds; infinite if no training stays finite.
        evaluations: members that were trained.
        finished: whether the search ended before its deadline.
    """

    point: Point
    cost: float
    evaluations: int
    finished: bool


def least_trained(
    ensemble: Ensemble,
    weights_of: Callable[[Float[np.ndarray, "k p"]], Float[np.ndarray, "k N columns"]],
    lower: Point,
    upper: Point,
    grid: int | None,
    deadline: Deadline,
) -> Least:
    """Least mean cost over a box of numbers; a minimum narrower than a cell of the first scan can be missed.

    Args:
        ensemble: the trainings.
        weights_of: the weights of all steps, from rows of numbers.
        lower, upper: the box.
        grid: points per number of the first scan.
        deadline: when to stop; the first scan is then cut short.
    """
    tried: list[tuple[Point, float]] = []

    def scan(low: Point, high: Point, count: int) -> Point:
        axes = [np.linspace(a, b, count) for a, b in zip(low, high, strict=True)]
        for row in itertools.product(*axes):
            if tried and deadline.passed:
                break
            point = np.array(row)
            tried.append((point, float(ensemble.costs(weights_of(point[None])[0]).mean())))
        return min(tried, key=lambda each: each[1])[0]

    count = grid or FIRST.get(len(lower), 4)
    best = scan(lower, upper, count)
    cell = (upper - lower) / (count - 1)
    finer = SECOND.get(len(lower), 3)
    best = scan(np.maximum(lower, best - cell), np.minimum(upper, best + cell), finer)
    cell = 2.0 * cell / (finer - 1)
    box = np.maximum(lower, best - cell), np.minimum(upper, best + cell)
    if not deadline.passed:
        _descend(ensemble, weights_of, best, box, upper - lower, tried, deadline)
    point, cost = min(tried, key=lambda each: each[1])
    return Least(point, cost, len(tried), not deadline.passed)


def _descend(
    ensemble: Ensemble,
    weights_of: Callable[[np.ndarray], np.ndarray],
    start: Point,
    box: tuple[Point, Point],
    span: Point,
    tried: list[tuple[Point, float]],
    deadline: Deadline,
) -> None:
    """L-BFGS-B from the best point of the scans; all that it tries is kept."""
    low, high = box
    unit = max(abs(min(cost for _, cost in tried)), np.finfo(np.float64).tiny)
    moves = NUDGE * np.diag(span)

    def objective(x: Point) -> tuple[float, Point]:
        point = low + x * (high - low)
        found = ensemble.slopes(weights_of(point[None])[0])
        tried.append((point, found.cost if np.isfinite(found.cost) else np.inf))
        if not np.isfinite(found.cost):
            return 10.0, np.zeros(len(x))
        ahead, behind = np.minimum(point + moves, high), np.maximum(point - moves, low)
        change = weights_of(ahead) - weights_of(behind)
        width = np.maximum(np.diag(ahead - behind), np.finfo(np.float64).tiny)
        slope = (change * found.weights).sum(axis=(1, 2)) / width
        return found.cost / unit, slope * (high - low) / unit

    def stop(intermediate_result: Any) -> None:
        del intermediate_result
        if deadline.passed:
            raise StopIteration

    x = (start - low) / np.where(high > low, high - low, 1.0)
    limits = {"maxiter": ITERATIONS, "maxfun": 2 * ITERATIONS, "ftol": 1e-12, "gtol": 0.0}
    bounds = [(0.0, 1.0)] * len(x)
    minimize(objective, x, jac=True, method="L-BFGS-B", bounds=bounds, callback=stop, options=limits)
