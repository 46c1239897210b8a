"""What ∫|ε| dt is worth: the multiplier of a budget, and Pontryagin's figures with it."""

import numpy as np
from scipy.optimize import fminbound, root_scalar

from ..problem import Quadratic
from ..schedules import AbstractPiecewiseConstant, AbstractSchedule
from ._extremal import AbstractPath, Extremal, best_level, levels_of
from ._pontryagin import extremal, linear_extremal
from ._propagators import arcs_of
from ._task import ControlTask, control_of

SPENT = 1e-5
"""A budget counts as spent when less than this fraction is left: what SLSQP leaves where effort is worth little."""
SAMPLES = 2_001
BRANCHING, BRIEF = 5.0, 0.5


def seconds_of_branching(task: ControlTask, spent: float) -> float:
    """How long to branch over sign changes: briefly where a price or a spent budget keeps the cost above the bound."""
    binds = task.price > 0.0 or spent >= (1.0 - SPENT) * task.budget
    return BRIEF if binds else BRANCHING


def extremal_of(task: ControlTask, schedule: AbstractSchedule, multiplier: float) -> Extremal:
    """The extremal of a schedule at a price of ∫|ε| dt; the eigendecompositions of the task are used again."""
    window = {"s": task.s, "T": task.T, "bounds": task.bounds, "target": task.target}
    if not (isinstance(task.problem.risk, Quadratic) and isinstance(schedule, AbstractPiecewiseConstant)):
        return extremal(task.problem, schedule, task.theta0, **window, cost=task.cost, price=multiplier)
    control = control_of(task).priced(multiplier)
    return linear_extremal(control, *arcs_of(schedule, task.s, task.T))


def multiplier_of(task: ControlTask, schedule: AbstractSchedule, spent: float) -> float:
    """ρ ≥ 0, for which the schedule comes nearest to Pontryagin's conditions of min cost + ρ∫|ε| dt.

    The price (0 if none was given) where the budget is not spent. Where it is, the switches of a schedule that jumps
    between the bounds and 0 say it (`_at_switches`); any other one is given the ρ with the least PMP gap.
    """
    if task.budget == np.inf or spent < (1.0 - SPENT) * task.budget:
        return task.price
    path = extremal_of(task, schedule, 0.0).path
    if isinstance(schedule, AbstractPiecewiseConstant):
        knots, levels = arcs_of(schedule, task.s, task.T)
        rho = _at_switches(knots, levels, path) if np.isin(levels, levels_of(task.bounds, 1.0)).all() else None
        if rho is not None:
            return max(task.price, rho)
    return max(task.price, _least_gap(task, path))


def _least_gap(task: ControlTask, path: AbstractPath) -> float:
    """The ρ with the least PMP gap, which is convex in ρ: minus a minimum over levels of linear functions.

    The least such ρ where a schedule without effort meets the conditions at every price above it.
    """
    ts = np.linspace(task.s, task.T, SAMPLES)
    signals = path.signals(0.5 * (ts[1:] + ts[:-1]))
    s, eps = (np.reshape(values, -1) for values in (signals.switching, signals.eps))

    def gap(rho: float) -> float:
        best = best_level(s, np.array(levels_of(task.bounds, max(rho, 1e-300))), rho)
        return float(np.mean((eps - best) * s + rho * (np.abs(eps) - np.abs(best))))

    top = float(np.abs(s).max())
    rounding = 1e-12 * top
    if gap(0.0) <= rounding:
        return 0.0
    if gap(top) <= rounding:
        return float(root_scalar(lambda rho: gap(rho) - rounding, bracket=(0.0, top)).root)
    return float(np.asarray(fminbound(gap, 0.0, top, xtol=1e-9 * top)))


def _at_switches(knots: np.ndarray, levels: np.ndarray, path: AbstractPath) -> float | None:
    """Least squares of (u₋ − u₊)S + ρ(|u₋| − |u₊|) = 0 over all switches; None where none changes |ε|."""
    if len(levels) == 1:
        return None
    columns = levels.reshape(len(levels), -1)
    switching = path.signals(knots[1:-1]).switching.reshape(len(knots) - 2, -1)
    fall, saved = columns[:-1] - columns[1:], np.abs(columns[:-1]) - np.abs(columns[1:])
    if not saved.any():
        return None
    return max(0.0, -float(np.sum(saved * fall * switching) / np.sum(saved**2)))
