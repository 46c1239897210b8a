"""Where the polish begins: the best schedules with one or two switches on a grid of times."""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..linear._pencil import SECULAR, advance_through
from ..linear._task import LinearTask

Start = tuple[np.ndarray, np.ndarray]
"""Knots, and levels between them."""

SWITCHES, SCANS = 33, 4
"""Times at which a single switch is tried, and how often: each scan is sixteen times finer than the one before."""

PAIRS = 17
"""Times at which each of two switches is tried."""


class Tried(NamedTuple):
    """The cheapest of several schedules with the same levels.

    Attributes:
        cost: with the price of ∫|u| dt.
        place: which of them it is.
    """

    cost: float
    place: int


def best_switches(task: LinearTask, one_weight: bool) -> list[Start]:
    """The best schedules with one switch between any two levels, cheapest first; constants included.

    On a grid that is finer near s; with few parameters, where a scan costs less than a Newton step, on ever finer ones
    around its best point as well.
    """
    found = []
    for levels in itertools.permutations(task.options[::-1], 2):
        elapsed, best = task.length * np.linspace(0.0, 1.0, SWITCHES) ** 2, Tried(np.inf, 0)
        for scan in range(SCANS if len(task.rates) < SECULAR else 1):
            if scan > 0:
                around = elapsed[max(best.place - 1, 0)], elapsed[min(best.place + 1, SWITCHES - 1)]
                elapsed = np.linspace(*around, SWITCHES)
            best = _cheapest(task, levels, elapsed[None])
        knots = np.array([task.s, task.s + elapsed[best.place], task.T])
        kept = np.diff(knots) > 0.0
        row = np.array(levels)[kept]
        start = np.append(knots[:-1][kept], task.T), row if one_weight else np.tile(row[:, None], task.points)
        found.append((best.cost, start))
    return [start for _, start in sorted(found, key=lambda each: each[0])]


def best_pairs(task: LinearTask) -> Iterator[Start]:
    """The best controls with two switches on a grid, one for each pattern of levels, cheapest first."""
    grid, found = task.length * np.linspace(0.0, 1.0, PAIRS + 2)[1:-1], []
    inner = grid[np.stack(np.triu_indices(PAIRS, 1))]
    for levels in itertools.product(task.options, repeat=3):
        if levels[0] != levels[1] != levels[2]:
            best = _cheapest(task, levels, inner)
            found.append((best.cost, np.array([task.s, *(task.s + inner[:, best.place]), task.T]), np.array(levels)))
    for _, knots, levels in sorted(found, key=lambda each: each[0]):
        yield knots, levels


def _cheapest(task: LinearTask, levels: Sequence[float], inner: Float[np.ndarray, "switches k"]) -> Tried:
    """Of k schedules that switch at such times after s."""
    durations = [end - begin for begin, end in itertools.pairwise([0.0, *inner, task.length])]
    ends = advance_through(map(task.spectrum, levels), task.start, durations)
    effort = sum(abs(level) * each for level, each in zip(levels, durations, strict=True))
    costs = task.form.values(ends) + task.price * effort
    place = int(np.argmin(costs))
    return Tried(float(costs[place]), place)
