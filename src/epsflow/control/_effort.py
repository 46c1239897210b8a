"""What ∫|ε| dt is worth: the multiplier of a budget, and Pontryagin's figures with it."""

import numpy as np
from scipy.optimize import minimize_scalar

from ..problem import Quadratic
from ..schedules import AbstractPiecewiseConstant, AbstractSchedule
from ._extremal import Extremal, best_level, levels_of
from ._pontryagin import extremal, linear_extremal
from ._propagators import arcs_of
from ._task import ControlTask, control_of

SPENT = 1e-6
"""A budget counts as spent when less than this fraction of it is left."""
SAMPLES = 2_001


def weights_of(schedule: AbstractSchedule) -> int:
    """How many components ε has."""
    if isinstance(schedule, AbstractPiecewiseConstant):
        levels = np.asarray(schedule.levels())
        return 1 if levels.ndim == 1 else levels.shape[1]
    return int(np.asarray(schedule(0.0)).size)


def extremal_of(task: ControlTask, schedule: AbstractSchedule, multiplier: float) -> Extremal:
    """The extremal of a schedule at a price of ∫|ε| dt; the eigendecompositions of the task are used again."""
    window = {"s": task.s, "T": task.T, "bounds": task.bounds, "target": task.target}
    if not (isinstance(task.problem.risk, Quadratic) and isinstance(schedule, AbstractPiecewiseConstant)):
        return extremal(task.problem, schedule, task.theta0, **window, cost=task.cost, price=multiplier)
    control = control_of(task).priced(multiplier)
    return linear_extremal(control, *arcs_of(schedule, task.s, task.T))


def multiplier_of(task: ControlTask, schedule: AbstractSchedule, spent: float) -> float:
    """ρ ≥ 0, for which the schedule comes nearest to Pontryagin's conditions of min cost + ρ∫|ε| dt.

    The price where one is given; 0 where the budget is not spent. Where it is, the PMP gap is a convex function of ρ
    (a minimum over levels of linear ones is concave), and its minimum is sought.
    """
    if task.price > 0.0 or not np.isfinite(task.budget) or spent < (1.0 - SPENT) * task.budget:
        return task.price
    ts = np.linspace(task.s, task.T, SAMPLES)
    signals = extremal_of(task, schedule, 0.0).path.signals(0.5 * (ts[1:] + ts[:-1]))
    s, eps = (np.reshape(values, -1) for values in (signals.switching, signals.eps))

    def gap(rho: float) -> float:
        best = best_level(s, np.array(levels_of(task.bounds, max(rho, 1e-300))), rho)
        return float(np.sum((eps - best) * s + rho * (np.abs(eps) - np.abs(best))))

    top = float(np.abs(s).max())
    return float(minimize_scalar(gap, bounds=(0.0, top), method="bounded", options={"xatol": 1e-9 * top}).x)
