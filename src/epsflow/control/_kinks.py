"""Where the cost of discrete training has a kink in ε: there no gradient vanishes, however good a schedule is."""

import numpy as np

from ..schedules import AbstractSchedule
from ._task import ControlTask, training_of
from .systems._ensemble import PricedSteps
from .systems._step_path import StepPath
from .terms._extremal import Extremal
from .terms._levels import best_level, levels_of, step_weights

PARTS = 1e-2, 1e-3
"""Of the way to the level that the slope asks for, at which the cost is looked at, on both sides."""

SMOOTH = 30.0
"""How much more the cost bends over the first of them than over the second, at least, where it is smooth: a second
difference is then of second order, a hundred times as large; across a kink it is of first order, ten times."""

SURE = 4.0
"""How many times its error a difference of costs has to be, to be one."""


def kink_of(
    task: ControlTask, schedule: AbstractSchedule, extremal: Extremal, multiplier: float
) -> tuple[float, float] | None:
    """The interval that adds most to the PMP gap, where the cost has a kink at its ε; None where none shows.

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
    k, j = np.unravel_index(np.argmax(gains), gains.shape)
    first, last = (round(knot - task.s) for knot in path.knots[k : k + 2])
    weights, training = step_weights(schedule, task.s, task.T), PricedSteps(training_of(task), multiplier, np.inf)

    def cost(part: float) -> float:
        moved = np.array(weights, dtype=np.float64)
        moved[first:last, j] += part * (best - eps)[k, j]
        return float(training.costs(moved).mean())

    here = cost(0.0)
    rises = np.array([[cost(part) - here, cost(-part) - here] for part in PARTS])
    bends = rises.sum(axis=1)
    if not (rises > SURE * extremal.cost_error).all() or bends[0] >= SMOOTH * bends[1]:
        return None
    return float(path.knots[k]), float(path.knots[k + 1])
