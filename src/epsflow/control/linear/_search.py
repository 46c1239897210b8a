"""The least value on a box: a scan of all of it, then scans of ever smaller boxes around the best point."""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..terms._deadline import UNLIMITED, Deadline

Costs = Callable[[Float[np.ndarray, "b k p"]], Float[np.ndarray, "b k"]]
"""Of k points of the unit box each, for b problems side by side."""

WIDTH = 1e-7
"""Width of the last box: a smooth cost is flat to a relative 1e-12 there."""


class BoxMinimum(NamedTuple):
    """The best points found in the unit box.

    Attributes:
        points: shape (b, p).
        costs: shape (b,).
        evaluations: of each cost.
        finished: whether the last box was reached before the deadline.
    """

    points: Float[np.ndarray, "b p"]
    costs: Float[np.ndarray, " b"]
    evaluations: int
    finished: bool


def lattice(per_axis: int, numbers: int) -> Float[np.ndarray, "k p"]:
    """All points of an even grid on the unit box, the last number running fastest."""
    return np.array(list(itertools.product(np.linspace(0.0, 1.0, per_axis), repeat=numbers)))


def least_in_box(
    costs: Costs, problems: int, numbers: int, *, grid: int, refine: int, deadline: Deadline = UNLIMITED
) -> BoxMinimum:
    """Scan the unit box, then ever smaller boxes around each problem's best point, down to `WIDTH`.

    Global on the first grid: a minimum narrower than one of its cells can be missed. What is found for a problem does
    not depend on its neighbours.

    Args:
        costs: the function; infinite where it must not be chosen.
        problems, numbers: b and p.
        grid, refine: points per number of the first scan, and of those of smaller boxes.
        deadline: when to scan no further box.
    """
    low, high, points = np.zeros((problems, numbers)), np.ones((problems, numbers)), grid
    best, least, evaluations = 0.5 * (low + high), np.full(problems, np.inf), 0
    everyone, searched = np.arange(problems), np.ones(problems, dtype=bool)
    while True:
        tried = low[:, None, :] + (high - low)[:, None, :] * lattice(points, numbers)
        values = costs(tried)
        evaluations += tried.shape[1]
        index = np.argmin(values, axis=1)
        better = searched & (values[everyone, index] < least)
        best = np.where(better[:, None], tried[everyone, index], best)
        least = np.where(better, values[everyone, index], least)
        searched = (high - low).max(axis=1) > WIDTH
        if not searched.any() or deadline.passed:
            return BoxMinimum(best, least, evaluations, not searched.any())
        # Two cells to each side: a valley that runs across the axes may leave the nearest cell.
        reach = 2.0 * (high - low) / (points - 1)
        low, high, points = np.maximum(0.0, best - reach), np.minimum(1.0, best + reach), refine
