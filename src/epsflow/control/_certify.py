"""How good is a schedule? Its costate, a lower bound where one can be proved, and the words for both."""

import numpy as np

from .._core import InputError
from ..problem import Problem, Quadratic
from ..schedules import AbstractSchedule, check_admissible
from ._arc_polish import SecondOrder
from ._convex import mixed_bound
from ._cost import AbstractCost
from ._dual import certify_signs, dual_bound, maximise_dual
from ._effort import extremal_of, multiplier_of, seconds_of_branching
from ._extremal import Extremal
from ._pontryagin import LinearPath
from ._program import Candidate
from ._solution import ScheduleSolution, Scope, Status, classify, describe_arcs, is_exact, singular_arcs_hold
from ._task import ControlTask, control_of, effort_between, effort_of, in_numbers, least_effort, make_task, simulate

GLOBAL_GAP = 1e-6
"""Gap to the lower bound, in units of the cost, at which a schedule counts as globally optimal."""

SETTLED_GAP = 1e-9
"""Gap at which the bound that a schedule's own costate gives is not maximised further."""

VERIFIED_GAP = 0.02
"""PMP gap, in units of the cost, up to which a schedule on a mesh counts as locally optimal. The intervals that smear
its switches contribute a gap of second order in their length; a wrong arc contributes one of first order."""


def certify(
    problem: Problem,
    theta0: object,
    schedule: AbstractSchedule,
    *,
    s: float,
    T: float,
    bounds: tuple[float, float] = (0.0, 1.0),
    target: object | None = None,
    cost: AbstractCost | None = None,
    budget: float | None = None,
    price: float = 0.0,
) -> ScheduleSolution:
    """Simulate a schedule of any origin and say how far from the global optimum it is.

    For linear regression with settled residual signs the lower bound is the dual maximum, which equals the least cost
    with one weight per point. Where residuals may change their signs it comes from branching on when they do, for some
    seconds. One ε shared by several points can at best do as well: the bound holds for it, without being tight. For
    other models the bound is 0, and only Pontryagin's conditions are reported.

    Args:
        problem: what is trained, and which points are deleted.
        theta0: θ(0), shape (d,).
        schedule: ε(t) in E_s.
        s, T: the window.
        bounds: bounds of ε among which "optimal" is meant.
        target: where θ(T) should be. Default: the leave-out optimum.
        cost: of θ(T): `Distance` (default), `QuadraticForm`, `PredictionGap`, `RetainedLoss`.
        budget, price: as in `optimal_schedule`. The lower bound is that without them, which remains one.

    Raises:
        InputError: a schedule outside E_s or beyond the budget, or a question that makes no sense.
        ConvergenceError: a flow failed.
    """
    task = make_task(problem, theta0, s, T, bounds, target, cost, budget, price)
    check_admissible(schedule, task.s, task.T, task.bounds)
    spent = effort_of(task, schedule)
    if spent > task.budget * (1.0 + 1e-9):
        raise InputError(
            f"the schedule spends ∫|ε| dt = {spent:.6g} between s and T, beyond the budget {task.budget:g}."
        )
    return judge(task, schedule, method="given")


def judge(
    task: ControlTask,
    schedule: AbstractSchedule,
    *,
    method: str,
    candidates: tuple[Candidate, ...] = (),
    mesh: float = 0.0,
    lower_bound: float | None = None,
    extremal: Extremal | None = None,
    second_order: SecondOrder | None = None,
    interrupted: bool = False,
) -> ScheduleSolution:
    """Everything that is said about a schedule.

    Args:
        task: the question.
        schedule: in E_s.
        method: how it was found.
        candidates: the solver's runs behind it.
        mesh: length of an interval, if the schedule lives on a mesh that its optimum need not fit.
        lower_bound: a bound on the cost of θ(T) that is known already; computed if None.
        extremal: the schedule's, at the task's price, if it is known already.
        second_order: derivatives by its switch times, if they were free.
        interrupted: whether time ran out on the search: then only a certificate counts.
    """
    cost, error = simulate(task, schedule)
    if extremal is not None and isinstance(extremal.path, LinearPath):
        knots, levels = extremal.path.knots, extremal.path.levels
    else:
        knots, levels = in_numbers(schedule, task.s, task.T)
    spent, columns = effort_between(knots, levels), 1 if levels.ndim == 1 else levels.shape[1]
    multiplier = multiplier_of(task, schedule, spent)
    path = extremal_of(task, schedule, multiplier) if extremal is None else extremal
    arcs = describe_arcs(knots, levels, task.bounds)
    if lower_bound is None:
        miss = np.asarray(path.theta(np.array([task.T]))[0] - task.target)
        lower_bound = _lower_bound(task, miss, seconds_of_branching(task, spent))
    bound = lower_bound + task.price * columns * least_effort(task.T - task.s, task.bounds)
    objective, exact = cost + task.price * spent, is_exact(cost, task.initial)
    certified = (exact and task.price == 0.0) or (bound > 0.0 and objective - bound <= GLOBAL_GAP * objective)
    verified = path.pmp_gap <= VERIFIED_GAP * objective
    failed = interrupted or (bool(candidates) and not any(candidate.success for candidate in candidates))
    sound = certified or (verified and not failed and singular_arcs_hold(path, arcs, mesh, multiplier))
    status = classify(exact, path, arcs, mesh, multiplier) if sound else Status.UNVERIFIED
    # A certificate stands on its own; a local claim needs a solver that converged, too.
    local = Scope.LOCAL if status is not Status.UNVERIFIED else Scope.NONE
    return ScheduleSolution(
        task=task,
        schedule=schedule,
        cost=cost,
        cost_error=error,
        effort=spent,
        multiplier=multiplier,
        lower_bound=min(bound, objective),
        status=status,
        scope=Scope.GLOBAL if certified else local,
        arcs=arcs,
        extremal=path,
        candidates=candidates,
        method=method,
        second_order=second_order,
    )


def _lower_bound(task: ControlTask, miss: np.ndarray, seconds: float) -> float:
    """The dual maximum less its rounding where residual signs are settled; else what branching on them proves, or 0.

    It is taken over one weight per point, and so holds for a shared one, too.
    """
    if not isinstance(task.problem.risk, Quadratic):
        return 0.0
    control = control_of(task)
    cost = control.form.value(miss @ control.basis)
    if not certify_signs(task).settled:
        return mixed_bound(task, cost, miss, max_seconds=seconds).value
    dual = dual_bound(task, miss)
    if cost - dual.value > SETTLED_GAP * cost:
        dual = maximise_dual(task, miss)
    return max(0.0, dual.value - dual.rounding)
