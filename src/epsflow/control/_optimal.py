"""`optimal_schedule`: transcribe, solve from several starts, simulate every proposal, keep the best, say what it is."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from .._core import ConvergenceError, InputError
from ..problem import Problem, Quadratic
from ..schedules import AbstractPiecewiseConstant, AbstractSchedule, PiecewiseConstant, Step
from ._arc_polish import SecondOrder
from ._budget import polish_within
from ._certify import judge
from ._conic import solve_conic
from ._cost import AbstractCost
from ._deadline import Deadline
from ._effort import SPENT
from ._exponential import Interval, exponential_program
from ._families import baseline, search_family
from ._general import Setting, choose_method, polish_mesh, search_by_adjoint, search_by_program
from ._linear_optimum import linear_optimum
from ._polish import polish
from ._program import Candidate, solve_program
from ._propagators import arcs_of
from ._solution import ScheduleSolution, Scope, describe_arcs, is_singular
from ._structure import derivatives
from ._system import system_of
from ._task import ControlTask, control_of, effort_of, least_effort, make_task, simulate
from ._window import Window

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
    task = make_task(problem, theta0, s, T, bounds, target, cost, budget, price)
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
        bang = _without_mesh(task, knots, starts, columns)
        if bang.scope is Scope.GLOBAL or (task.priced and bang.pmp_gap <= SETTLED * bang.objective):
            return bang
    unit = max(baseline(task).cost, np.finfo(np.float64).tiny)
    window = Window(task.T - task.s, task.bounds, unit, task.price, task.budget)
    setting = Setting(system_of(task, not per_point), task.theta_s, task.s, window, deadline)
    chosen = _method(setting, method, intervals)
    if bang is not None and task.priced:
        starts = (bang.schedule,)
    else:
        bang = None
    guesses = _guesses(task, knots, starts, columns, deadline if chosen != "adjoint" and bang is None else None)
    guesses = {name: window.affordable(values) for name, values in guesses.items()}
    found = _on_mesh(task, setting, chosen, knots, guesses)
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
    task: ControlTask, knots: np.ndarray, starts: Sequence[AbstractSchedule], columns: int
) -> ScheduleSolution:
    """Polish the best single switches: where the outcome is certified as the global optimum, no program is needed.

    With a price or a budget, the starts that were given are polished as well; smooth ones by their means on the mesh.
    """
    given = []
    for start in starts if task.priced else ():
        constant = isinstance(start, AbstractPiecewiseConstant)
        given.append(start if constant else PiecewiseConstant(knots, _column(_sample(start, knots, columns))))
    optimum = linear_optimum(task, tuple(given), shared=columns == 1)
    # A budget has a multiplier, at which the extremal is another.
    known = None if task.budget < np.inf else optimum.extremal
    return judge(task, optimum.schedule, method="polish", lower_bound=optimum.lower_bound, extremal=known)


def _cheapest(task: ControlTask, columns: int) -> AbstractPiecewiseConstant:
    """The schedule with the least ∫|ε| dt."""
    level = np.full((1, columns), np.clip(0.0, *task.bounds))
    return PiecewiseConstant(np.array([task.s, task.T]), _column(level))


def _column(values: Float[np.ndarray, "N controls"]) -> Float[np.ndarray, "N *m"]:
    """A single column as a vector."""
    return values[:, 0] if values.shape[1] == 1 else values


class Found(NamedTuple):
    """What a search came up with.

    Attributes:
        schedule: in E_s and within the budget.
        objective: what it costs, price included.
        method: how it was found.
        mesh: length of an interval, if it lives on a mesh; else 0.
        candidates: the solver's runs.
        second_order: the derivatives by its switch times, if they were free.
    """

    schedule: AbstractSchedule
    objective: float
    method: str
    mesh: float
    candidates: tuple[Candidate, ...]
    second_order: SecondOrder | None


def _on_mesh(
    task: ControlTask, setting: Setting, method: str, knots: np.ndarray, guesses: dict[str, np.ndarray]
) -> Found:
    """Solve on a mesh from every guess, simulate all proposals, keep the best, and free it of the mesh."""
    candidates = _run(task, setting, method, guesses)
    proposals = _proposals(setting.window, candidates, guesses, interrupted=setting.deadline.passed)
    schedules = [PiecewiseConstant(knots, option) for option in proposals]
    costs = [_objective(task, schedule) for schedule in schedules]
    best = int(np.argmin(costs))
    mesh = setting.window.length / (len(knots) - 1)
    found = Found(schedules[best], costs[best], method, mesh, tuple(candidates), None)
    freed = _freed_of_mesh(task, setting, knots, proposals[best])
    if freed is None or (cost := _objective(task, freed.schedule)) > found.objective:
        return found
    return found._replace(
        schedule=freed.schedule, objective=cost, method=f"{method} + polish", mesh=0.0, second_order=freed.second_order
    )


def _objective(task: ControlTask, schedule: AbstractSchedule) -> float:
    return simulate(task, schedule).cost + task.price * effort_of(task, schedule)


class Freed(NamedTuple):
    """A schedule with continuous switch times.

    Attributes:
        schedule: the schedule.
        second_order: the derivatives by its switch times.
    """

    schedule: AbstractPiecewiseConstant
    second_order: SecondOrder


def _freed_of_mesh(task: ControlTask, setting: Setting, knots: np.ndarray, values: np.ndarray) -> Freed | None:
    """The extremal next to a proposal, off the mesh; None where there is none, or no time."""
    if isinstance(task.problem.risk, Quadratic):
        return _freed_bangs(task, PiecewiseConstant(knots, values))
    if setting.deadline.passed:
        return None
    polished = polish_mesh(setting, values.reshape(len(values), -1))
    if polished is None:
        return None
    return Freed(polished.arcs.schedule(setting.system.shared), polished.second_order)


def _freed_bangs(task: ControlTask, schedule: PiecewiseConstant) -> Freed | None:
    """The bang-bang extremal next to a proposal of linear regression; None where it has a singular arc to keep."""
    knots, levels = arcs_of(schedule, task.s, task.T)
    mesh = (task.T - task.s) / len(levels)
    if task.priced and any(is_singular(arc, mesh, 1.0) for arc in describe_arcs(knots, levels, task.bounds)):
        return None
    if task.budget == np.inf:
        better = polish(task, schedule)
        return Freed(better.schedule, SecondOrder(better.switch_ts, better.gradient, better.hessian))
    control = control_of(task)
    better = polish_within(control, knots, levels, task.budget)
    held = derivatives(control, better.structure, levels.ndim == 1).prices
    spent = effort_of(task, better.schedule) >= (1.0 - SPENT) * task.budget
    return Freed(
        better.schedule, SecondOrder(better.switch_ts, better.gradient, better.hessian, held if spent else None)
    )


def _proposals(
    window: Window, candidates: list[Candidate], guesses: dict[str, np.ndarray], *, interrupted: bool
) -> list[np.ndarray]:
    """What is worth simulating: every run, also with what is near a bound moved onto it, and the starts of cut runs.

    An interior-point method stops short of the bounds. L-BFGS-B ends on them, and never above its start.
    """
    near = [window.onto_options(run.values, 1e-3) for run in candidates]
    options = [option for run, moved in zip(candidates, near, strict=True) for option in (run.values, moved)]
    if interrupted:
        options += [_column(values) for values in guesses.values()]
    return [u for i, u in enumerate(options) if not any(np.array_equal(u, earlier) for earlier in options[:i])]


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


def _method(setting: Setting, method: str, intervals: int) -> str:
    if method != "auto":
        return method
    return "exponential" if isinstance(setting.risk, Quadratic) else choose_method(setting, intervals)


def _guesses(
    task: ControlTask,
    knots: Float[np.ndarray, " knots"],
    extra: Sequence[AbstractSchedule],
    columns: int,
    step_until: Deadline | None,
) -> dict[str, Float[np.ndarray, "N controls"]]:
    """Named starting values of ε: the corners, the middle, the best step, and what the caller gave.

    The best step is searched by hundreds of flows, and only while there is time: `step_until`, or None for not at all.
    """
    (low, high), count = task.bounds, len(knots) - 1
    guesses = {
        "high": np.full((count, columns), high),
        "low": np.full((count, columns), low),
        "half way": np.full((count, columns), 0.5 * (low + high)),
    }
    if low <= 0.0 and high >= 1.0 and step_until is not None and not step_until.passed:
        guesses["best step"] = _sample(search_family(Step, task).schedule, knots, columns)
    for i, schedule in enumerate(extra):
        guesses[f"given {i + 1}: {type(schedule).__name__}"] = np.clip(_sample(schedule, knots, columns), low, high)
    return guesses


def _sample(
    schedule: AbstractSchedule, knots: Float[np.ndarray, " knots"], columns: int
) -> Float[np.ndarray, "N controls"]:
    """Averages over each interval, so that a switch inside one leaves its mark."""
    inside = knots[:-1, None] + np.diff(knots)[:, None] * (np.arange(16) + 0.5) / 16
    values = np.asarray(schedule(inside)).reshape(*inside.shape, -1).mean(axis=1)
    return np.broadcast_to(values, (len(values), columns)).copy()


def _run(task: ControlTask, setting: Setting, method: str, guesses: dict[str, np.ndarray]) -> list[Candidate]:
    """One run of a solver from every guess; a QP solver needs none."""
    intervals = len(next(iter(guesses.values())))
    if method == "qp":
        return [solve_conic(control_of(task), intervals).candidate]
    if method == "adjoint":
        return search_by_adjoint(setting, guesses)
    if method != "exponential":
        return search_by_program(setting, guesses, method)
    control, shared, window = control_of(task), setting.system.shared, setting.window
    factor = control.form.factor
    program = exponential_program(len(control.rates), control.points, shared, intervals, factor.shape, window.effort)
    interval = Interval(control, window.length / intervals)
    parameters = [control.start, *interval.parameters, factor]
    runs: list[Candidate] = []
    for name, values in guesses.items():
        if runs and setting.deadline.passed:
            break
        guess = interval.roll_out(control.start, values, control.points)
        runs.append(solve_program(program, name, guess, window, parameters, setting.deadline))
    return runs
