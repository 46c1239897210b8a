"""Where the cost of discrete training has a kink in ε: there no gradient vanishes, however good a schedule is."""

import numpy as np

from ..schedules import AbstractSchedule
from ._task import ControlTask, training_of
from .systems._ensemble import PricedSteps
from .systems._step_path import StepPath
from .terms._extremal import Extremal
from .terms._levels import best_level, levels_of, step_weights

LOOKED_AT = 3
"""Intervals, those that the gap blames most."""

PARTS = 1e-2, 1e-3
"""Of the way to the level that the slope asks for, at which the cost is looked at, on both sides."""

SMOOTH = 30.0
"""How much more the cost bends over the first of them than over the second, at least, where it is smooth: a second
difference is then of second order, a hundred times as large; across a kink it is of first order, ten times, and across
a jump it is the same."""

SURE = 4.0
"""How many times its error a difference of costs has to be, to be one."""


def kink_of(
    task: ControlTask, schedule: AbstractSchedule, extremal: Extremal, multiplier: float
) -> tuple[float, float] | None:
    """One of the intervals that add most to the PMP gap, if the cost has a kink, or a jump, at its ε; else None.

    Moving ε to either side costs more there, in spite of the slope that one of the sides has.

    Args:
        task: with an optimiser.
        schedule, extremal: what is not verified, and its figures.
        multiplier: ρ, what a unit of effort is worth.
    """
    path = extremal.path
    assert isinstance(path, StepPath)  # as of all training in steps
    switching, eps = (part.reshape(len(path.eps), -1) for part in (path.switching, path.eps))
    options = np.array(levels_of(task.bounds, multiplier))
    best = np.stack([best_level(column, options, multiplier) for column in switching.T], axis=1)
    gains = np.diff(path.knots)[:, None] * (switching * (eps - best) + multiplier * (np.abs(eps) - np.abs(best)))
    weights, training = step_weights(schedule, task.s, task.T), PricedSteps(training_of(task), multiplier, np.inf)
    here = float(training.costs(weights).mean())

    def rise(k: int, j: int, part: float) -> float:
        first, last = (round(knot - task.s) for knot in path.knots[k : k + 2])
        moved = np.array(weights, dtype=np.float64)
        moved[first:last, j] += part * (best - eps)[k, j]
        return float(training.costs(moved).mean()) - here

    for blamed in np.argsort(-gains, axis=None, kind="stable")[:LOOKED_AT]:
        k, j = divmod(int(blamed), gains.shape[1])
        rises = np.array([[rise(k, j, part), rise(k, j, -part)] for part in PARTS])
        bends = rises.sum(axis=1)
        if (rises > SURE * extremal.cost_error).all() and bends[0] < SMOOTH * bends[1]:
            return float(path.knots[k]), float(path.knots[k + 1])
    return None
