"""`optimal_schedule`: transcribe, solve from several starts, simulate every proposal, keep the best, say what it is."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .._core import ConvergenceError, InputError
from ..problem import Problem, Quadratic
from ..schedules import AbstractPiecewiseConstant, AbstractSchedule, PiecewiseConstant, least_effort
from ._certify import judge
from ._families import baseline
from ._mesh import Setting, as_column, guesses_of, method_of, sampled, solve_on_mesh, system_of
from ._solution import ScheduleSolution
from ._task import ControlTask, linear_of, make_task
from .polish._optimum import linear_optimum
from .terms._cost import AbstractCost
from .terms._deadline import Deadline
from .terms._kinds import Scope
from .terms._levels import arcs_of
from .terms._window import MeshWindow

METHODS = ("auto", "exponential", "shooting", "collocation", "adjoint", "qp")
LEAST_INTERVAL = 1e-12
"""Least length of an interval relative to T: below it, neighbouring knots differ in their last digits only."""

SETTLED = 1e-8
"""PMP gap, in units of the objective, up to which a bang-bang schedule is not held against one with singular arcs."""


def optimal_schedule(
    problem: Problem,
    theta0: object,
    *,
    s: float,
    T: float,
    bounds: tuple[float, float] = (0.0, 1.0),
    intervals: int = 100,
    per_point: bool = False,
    method: str = "auto",
    starts: Sequence[AbstractSchedule] = (),
    target: object | None = None,
    cost: AbstractCost | None = None,
    budget: float | None = None,
    price: float = 0.0,
    time_limit: float | None = None,
    throw: bool = True,
) -> ScheduleSolution:
    """min 𝓔(ε) = ½‖θ(T) − θ*_{-D}‖² over ε ∈ E_s: 1 until s, within `bounds` until T, 0 from then on.

    ε is constant on each of N equal intervals of [s, T]; the levels are optimised from several starts (all high, all
    low, half way, the best step, and any that are given), and every proposal is simulated by the flow room. The best
    one is then freed of the mesh: its switch times become unknowns of their own, arcs are inserted and deleted, and
    what costs less is kept. For linear regression this is exact to rounding, and a lower bound certifies the schedule
    where the signs of the deleted points' residuals are settled.

    Args:
        problem: what is trained, and which points are deleted.
        theta0: θ(0), shape (d,).
        s, T: when the request arrives, and by when the points must be gone; 0 ≤ s < T.
        bounds: least and largest ε on (s, T).
        intervals: N.
        per_point: one ε for each deleted point instead of one for all of them.
        method: "exponential" (linear regression: exact in all directions but the deleted points'), "shooting"
            (multiple shooting, Runge–Kutta) and "collocation" (Radau IIA) are nonlinear programs for IPOPT. "adjoint"
            builds no program: exact gradients by one forward and one backward solve, and L-BFGS-B (with a budget,
            SLSQP); for networks of any size. "qp" (linear regression with settled residual signs and one weight per
            point) is a convex program, the independent check of the polish. "auto": for linear regression, the best
            single switches polished, done if a certificate closes, else exponential; for other models shooting,
            collocation where stability would need more than four steps per interval, or adjoint where a program would
            be too large.
        starts: further schedules to start from.
        target: where θ(T) should be. Default: the leave-out optimum. A network too large for that can aim at what
            retraining gives: `gradient_flow(problem, Constant(0.0), theta0, ts=[T]).end`.
        cost: of θ(T), in place of the distance 𝓔: `QuadraticForm`, `PredictionGap`, `RetainedLoss`.
        budget: B, the most that ∫|ε| dt over (s, T) may be, summed over the components of ε; claims are local then.
        price: ρ, what is paid for each unit of ∫|ε| dt; claims are local then. With either, an optimum may have
            singular arcs, on which ε lies between its bounds: for linear regression "auto" looks for them on the mesh
            where the polished bang-bang schedule leaves something to gain.
        time_limit: seconds after which the search stops between two iterations; it begins when the target and θ(s) are
            known. What it has by then is simulated and returned as UNVERIFIED, unless a certificate stands.
        throw: raise if no run succeeds, or time runs out; otherwise the best proposal is returned as UNVERIFIED.

    Raises:
        InputError: a question that makes no sense (see `make_task`), or a model that cannot be translated.
        ConvergenceError: the solver failed from every start (its own words), time ran out (`.result` holds the best
            schedule so far), or a flow failed.
    """
    task = make_task(problem, theta0, s=s, T=T, bounds=bounds, target=target, cost=cost, budget=budget, price=price)
    options = {"intervals": intervals, "per_point": per_point, "method": method, "starts": starts}
    return solve_task(task, **options, time_limit=time_limit, throw=throw)


def solve_task(
    task: ControlTask,
    *,
    intervals: int = 100,
    per_point: bool = False,
    method: str = "auto",
    starts: Sequence[AbstractSchedule] = (),
    time_limit: float | None = None,
    throw: bool = True,
) -> ScheduleSolution:
    """`optimal_schedule` for a task that has been checked."""
    deadline = Deadline(time_limit)
    _check(task, method, intervals, per_point)
    columns = task.problem.delete.size if per_point else 1
    knots = np.linspace(task.s, task.T, intervals + 1)
    if task.budget <= columns * least_effort(task.T - task.s, task.bounds):
        return judge(task, _cheapest(task, columns), method="the only schedule within the budget")
    bang = None
    if method == "auto" and isinstance(task.problem.risk, Quadratic):
        bang = _without_mesh(task, knots, starts, columns, deadline)
        if bang.scope is Scope.GLOBAL or (task.priced and bang.pmp_gap <= SETTLED * bang.objective):
            return bang
    unit = max(baseline(task).cost, np.finfo(np.float64).tiny)
    window = MeshWindow(task.T - task.s, task.bounds, unit, task.price, task.budget)
    setting = Setting(system_of(task, not per_point), task.theta_s, task.s, window, deadline)
    chosen = method_of(setting, method, intervals)
    if bang is not None and task.priced:
        starts = (bang.schedule,)
    else:
        bang = None
    guesses = guesses_of(task, knots, starts, columns, deadline if chosen != "adjoint" and bang is None else None)
    guesses = {name: window.affordable(values) for name, values in guesses.items()}
    found = solve_on_mesh(task, setting, chosen, knots, guesses)
    if bang is not None and bang.objective <= found.objective:
        found = found._replace(schedule=bang.schedule, method=bang.method, mesh=0.0, candidates=(), second_order=None)
    solution = judge(
        task,
        found.schedule,
        method=found.method,
        candidates=found.candidates,
        mesh=found.mesh,
        second_order=found.second_order,
        interrupted=deadline.passed,
    )
    solution = replace(solution, trouble=_trouble(solution, interrupted=deadline.passed))
    if throw and solution.trouble:
        more = "A larger time_limit" if deadline.passed else "Another method"
        raise ConvergenceError(
            f"{solution.trouble}; the best proposal, cost {solution.cost:.6g}, is in `.result`. {more}, fewer "
            "intervals or a start of your own may help.",
            solution,
        )
    return solution


def _trouble(solution: ScheduleSolution, *, interrupted: bool) -> str:
    """Why a schedule is not verified: time ran out, or no run of the solver succeeded. Empty where it is."""
    candidates = solution.candidates
    if solution.scope is Scope.GLOBAL:
        return ""
    if interrupted:
        return f"the time limit was reached after {len(candidates)} of the starts"
    if candidates and not any(candidate.success for candidate in candidates):
        words = ", ".join(sorted({candidate.status for candidate in candidates}))
        descent = "L-BFGS-B" if solution.task.budget == np.inf else "SLSQP"
        solver = {"adjoint": descent, "qp": "the QP solver"}.get(solution.method.split(" ")[0], "IPOPT")
        return f"{solver} failed from all {len(candidates)} starts ({words})"
    return ""


def _without_mesh(
    task: ControlTask, knots: np.ndarray, starts: Sequence[AbstractSchedule], columns: int, deadline: Deadline
) -> ScheduleSolution:
    """Polish the best single switches: where the outcome is certified as the global optimum, no program is needed.

    With a price or a budget, the starts that were given are polished as well; smooth ones by their means on the mesh.
    """
    given = []
    for start in starts if task.priced else ():
        constant = isinstance(start, AbstractPiecewiseConstant)
        given.append(arcs_of(start, task.s, task.T) if constant else (knots, as_column(sampled(start, knots, columns))))
    optimum = linear_optimum(linear_of(task), given, shared=columns == 1, budget=task.budget, deadline=deadline)
    # A budget has a multiplier, at which the extremal is another.
    known = None if task.budget < np.inf else optimum.extremal
    return judge(task, optimum.schedule, method="polish", lower_bound=optimum.lower_bound, extremal=known)


def _cheapest(task: ControlTask, columns: int) -> AbstractPiecewiseConstant:
    """The schedule with the least ∫|ε| dt."""
    level = np.full((1, columns), np.clip(0.0, *task.bounds))
    return PiecewiseConstant(np.array([task.s, task.T]), as_column(level))


def _check(task: ControlTask, method: str, intervals: int, per_point: bool) -> None:
    if intervals < 1:
        raise InputError(f"intervals is {intervals}; at least one is needed between s and T.")
    if method not in METHODS:
        raise InputError(f"unknown method {method!r}: choose {', '.join(METHODS[:-1])} or {METHODS[-1]}.")
    if method in ("exponential", "qp") and not isinstance(task.problem.risk, Quadratic):
        raise InputError(f'method="{method}" is for linear regression; use "shooting", "collocation" or "adjoint".')
    if method == "qp" and task.priced:
        raise InputError(
            'method="qp" knows no price and no budget: |ε| = |w|/|e| is not convex in w = εe. Use method="auto".'
        )
    if method == "qp" and not per_point and task.problem.delete.size > 1:
        raise InputError('method="qp" needs one weight per deleted point: per_point=True; a shared ε is not convex.')
    if per_point and task.budget < task.problem.delete.size * least_effort(task.T - task.s, task.bounds):
        raise InputError(
            f"no schedule with one weight per point meets the budget {task.budget:g}: ∫|ε| dt, summed over the "
            f"{task.problem.delete.size} points, is at least "
            f"{task.problem.delete.size * least_effort(task.T - task.s, task.bounds):g}."
        )
    least = LEAST_INTERVAL * task.T
    if task.T - task.s < intervals * least:
        raise InputError(
            f"T − s = {task.T - task.s:g} cannot hold {intervals} intervals: times near T = {task.T:g} are known to "
            f"{least:.1g} only. Ask for a later T, or for fewer intervals."
        )
