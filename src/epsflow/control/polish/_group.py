"""The best single ε for several deleted points of linear regression, and a bound on what it may lack."""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..bounds._quadratic import QuadraticBound, quadratic_bound
from ..linear._path import LinearPath
from ..linear._pencil import advance
from ..linear._task import LinearTask
from ..terms._deadline import Deadline
from ..terms._levels import levels_of
from ._exact import Polished, polish_linear

PAIRS = 17
"""Times at which each of two switches is tried."""

MOST_PAIRS = 2
"""Patterns of levels with two switches of which the best are polished."""

Start = tuple[np.ndarray, np.ndarray]
"""Knots, and levels between them."""


class GroupRun(NamedTuple):
    """What the search came to.

    Attributes:
        best: the cheapest arcs.
        lower_bound: no ε has a smaller cost, up to what its price adds beyond that of `best`; −∞ where none was found.
    """

    best: Polished
    lower_bound: float


def search_group(task: LinearTask, starts: Sequence[Start], budget: float, deadline: Deadline) -> GroupRun:
    """Polish all starts and the best pairs of switches, and bound what any ε costs by a quadratic form around the best.

    Args:
        task: the problem, whose rows may be those of `LinearTask.grouped`.
        starts: where to begin.
        budget: the most that ∫|u| dt may be.
        deadline: when to stop; the first start is polished in any case.
    """
    best = None
    pairs = _pairs(task, priced=task.price > 0.0 or budget < np.inf)
    for start in itertools.chain(starts, itertools.islice(pairs, MOST_PAIRS)):
        if best is not None and deadline.passed:
            break
        run = polish_linear(task, *start, budget=budget, deadline=deadline)
        best = run if best is None or run.objective < best.objective else best
    assert best is not None  # there is a first start
    lower = -np.inf if best.exact or deadline.passed else _bound(best, budget, deadline)
    return GroupRun(best, lower)


def _bound(run: Polished, budget: float, deadline: Deadline) -> float:
    """On the objective of any ε, by the control of a run.

    Within a budget B the extremal has a price ρ, at which no ε costs less than V: cost ≥ V − ρ∫|u| dt ≥ V − ρB.
    """
    path = run.extremal.path
    assert isinstance(path, LinearPath)
    found: QuadraticBound = quadratic_bound(path, deadline)
    given_up = path.task.price * budget if budget < np.inf else 0.0
    return found.value - given_up - run.extremal.cost_error


def _pairs(task: LinearTask, *, priced: bool) -> Iterator[Start]:
    """The best controls with two switches on a grid, one for each pattern of levels, cheapest first."""
    grid, found = task.length * np.linspace(0.0, 1.0, PAIRS + 2)[1:-1], []
    first, second = np.triu_indices(PAIRS, 1)
    for pattern in itertools.product(levels_of(task.bounds, float(priced)), repeat=3):
        if pattern[0] == pattern[1] or pattern[1] == pattern[2]:
            continue
        ends, times = task.start, np.stack([grid[first], grid[second], np.full(len(first), task.length)])
        durations = np.diff(times, axis=0, prepend=0.0)
        for level, elapsed in zip(pattern, durations, strict=True):
            ends = advance(task.spectrum(level), ends, elapsed)
        costs = task.form.values(ends) + task.price * np.abs(pattern) @ durations
        k = int(np.argmin(costs))
        found.append((float(costs[k]), task.s + np.concatenate([[0.0], times[:2, k]]), np.array(pattern)))
    for _, knots, levels in sorted(found, key=lambda each: each[0]):
        yield np.append(knots, task.T), levels
