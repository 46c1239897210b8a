"""`optimal_schedule`: transcribe, solve from several starts, simulate every proposal, keep the best, say what it is."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from .._core import ConvergenceError, InputError
from ..problem import Problem, Quadratic
from ..schedules import AbstractPiecewiseConstant, AbstractSchedule, PiecewiseConstant, Step
from ._arc_polish import SecondOrder
from ._certify import judge
from ._conic import solve_conic
from ._cost import AbstractCost
from ._deadline import Deadline
from ._exponential import Interval, exponential_program
from ._families import baseline, search_family
from ._general import Setting, choose_method, polish_mesh, search_by_adjoint, search_by_program
from ._linear_optimum import linear_optimum
from ._polish import polish
from ._program import Candidate, on_bounds, solve_program
from ._solution import ScheduleSolution, Scope
from ._system import system_of
from ._task import ControlTask, control_of, make_task, simulate
from ._transcription import Window

METHODS = ("auto", "exponential", "shooting", "collocation", "adjoint", "qp")

LEAST_INTERVAL = 1e-12
"""Least length of an interval relative to T: below it, neighbouring knots differ in their last digits only."""


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
            builds no program: exact gradients by one forward and one backward solve, and L-BFGS-B; for networks of any
            size. "qp" (linear regression with settled residual signs and one weight per point) is a convex program, the
            independent check of the polish. "auto": for linear regression, the best single switches polished, done if a
            certificate closes, else exponential; for other models shooting, collocation where stability would need more
            than four steps per interval, or adjoint where a program would be too large.
        starts: further schedules to start from.
        target: where θ(T) should be. Default: the leave-out optimum. A network too large for that can aim at what
            retraining gives: `gradient_flow(problem, Constant(0.0), theta0, ts=[T]).end`.
        cost: of θ(T), in place of the distance 𝓔: `QuadraticForm`, `PredictionGap`, `RetainedLoss`.
        budget: B, the most that ∫|ε| dt over (s, T) may be (linear regression); claims are local then.
        price: ρ, what is paid for each unit of ∫|ε| dt (linear regression); claims are local then.
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
    if task.priced:
        return _priced(task, method, per_point, starts)
    if method == "auto" and isinstance(task.problem.risk, Quadratic):
        certified = _without_mesh(task, per_point)
        if certified is not None:
            return certified
    unit = max(baseline(task).cost, np.finfo(np.float64).tiny)
    setting = Setting(
        system_of(task, not per_point),
        task.theta_s,
        task.s,
        Window(task.T - task.s, task.bounds, unit),
        deadline,
    )
    chosen = _method(setting, method, intervals)
    knots = np.linspace(task.s, task.T, intervals + 1)
    guesses = _guesses(task, knots, starts, per_point, setting.deadline if chosen != "adjoint" else None)
    candidates = _run(task, setting, chosen, guesses)
    proposals = _proposals(task, candidates, guesses, interrupted=setting.deadline.passed)
    costs = [simulate(task, PiecewiseConstant(knots, option)).cost for option in proposals]
    best = int(np.argmin(costs))
    freed = _freed_of_mesh(task, setting, knots, proposals[best], costs[best])
    schedule = PiecewiseConstant(knots, proposals[best]) if freed is None else freed.schedule
    solution = judge(
        task,
        schedule,
        method=chosen if freed is None else f"{chosen} + polish",
        candidates=tuple(candidates),
        mesh=(task.T - task.s) / intervals if freed is None else 0.0,
        second_order=None if freed is None else freed.second_order,
        interrupted=setting.deadline.passed,
    )
    if throw:
        _throw(solution, interrupted=setting.deadline.passed)
    return solution


def _throw(solution: ScheduleSolution, *, interrupted: bool) -> None:
    """Say why a schedule is not verified: time ran out, or no run of the solver succeeded."""
    if solution.scope is Scope.GLOBAL:
        return
    candidates = solution.candidates
    kept = f"the best proposal, cost {solution.cost:.6g}, is in `.result`"
    if interrupted:
        raise ConvergenceError(
            f"the time limit was reached after {len(candidates)} of the starts; {kept}. A larger time_limit, fewer "
            "intervals or a start of your own may help.",
            solution,
        )
    if not any(candidate.success for candidate in candidates):
        words = ", ".join(sorted({candidate.status for candidate in candidates}))
        solver = {"adjoint": "L-BFGS-B", "qp": "the QP solver"}.get(solution.method.split(" ")[0], "IPOPT")
        raise ConvergenceError(
            f"{solver} failed from all {len(candidates)} starts ({words}); {kept}. Fewer intervals, another method or "
            "starts of your own may help.",
            solution,
        )


def _without_mesh(task: ControlTask, per_point: bool) -> ScheduleSolution | None:
    """Polish the best single switches: where the outcome is certified as the global optimum, no program is needed."""
    optimum = linear_optimum(task, shared=not per_point)
    known = {"lower_bound": optimum.lower_bound, "extremal": optimum.extremal}
    solution = judge(task, optimum.schedule, method="polish", **known)
    return solution if solution.scope is Scope.GLOBAL else None


def _priced(task: ControlTask, method: str, per_point: bool, starts: Sequence[AbstractSchedule]) -> ScheduleSolution:
    """With a budget or a price for ∫|ε| dt: by the polish alone, which is exact; what it finds is a local optimum."""
    if method != "auto" or not isinstance(task.problem.risk, Quadratic):
        raise InputError(
            'a budget or a price for ∫|ε| dt is for linear regression with method="auto", which polishes switch times; '
            f"this is {type(task.problem.model).__name__} with {type(task.problem.loss).__name__}, {method=}."
        )
    given = tuple(start for start in starts if isinstance(start, AbstractPiecewiseConstant))
    if len(given) < len(starts):
        raise InputError("with a budget or a price, `starts` must be piecewise constant: their switches are polished.")
    optimum = linear_optimum(task, given, shared=not per_point)
    return judge(task, optimum.schedule, method="polish", lower_bound=optimum.lower_bound)


class Freed(NamedTuple):
    """A schedule with continuous switch times.

    Attributes:
        schedule: the schedule.
        second_order: the derivatives by its switch times.
    """

    schedule: AbstractPiecewiseConstant
    second_order: SecondOrder


def _freed_of_mesh(
    task: ControlTask, setting: Setting, knots: np.ndarray, values: np.ndarray, cost: float
) -> Freed | None:
    """The extremal next to a proposal, off the mesh; None if it costs more, or there is no time."""
    if isinstance(task.problem.risk, Quadratic):
        better = polish(task, PiecewiseConstant(knots, values))
        second = SecondOrder(better.switch_ts, better.gradient, better.hessian)
        return Freed(better.schedule, second) if better.cost <= cost else None
    if setting.deadline.passed:
        return None
    polished = polish_mesh(setting, values.reshape(len(values), -1))
    if polished is None:
        return None
    schedule = polished.arcs.schedule(setting.system.shared)
    return Freed(schedule, polished.second_order) if simulate(task, schedule).cost <= cost else None


def _proposals(
    task: ControlTask, candidates: list[Candidate], guesses: dict[str, np.ndarray], *, interrupted: bool
) -> list[np.ndarray]:
    """What is worth simulating: every run, also with what is near a bound moved onto it, and the starts of cut runs.

    An interior-point method stops short of the bounds. L-BFGS-B ends on them, and never above its start.
    """
    options = [option for run in candidates for option in (run.values, on_bounds(run.values, task.bounds, 1e-3))]
    if interrupted:
        options += [values[:, 0] if values.shape[1] == 1 else values for values in guesses.values()]
    return [u for i, u in enumerate(options) if not any(np.array_equal(u, earlier) for earlier in options[:i])]


def _check(task: ControlTask, method: str, intervals: int, per_point: bool) -> None:
    if intervals < 1:
        raise InputError(f"intervals is {intervals}; at least one is needed between s and T.")
    if method not in METHODS:
        raise InputError(f"unknown method {method!r}: choose {', '.join(METHODS[:-1])} or {METHODS[-1]}.")
    if method in ("exponential", "qp") and not isinstance(task.problem.risk, Quadratic):
        raise InputError(f'method="{method}" is for linear regression; use "shooting", "collocation" or "adjoint".')
    if method == "qp" and not per_point and task.problem.delete.size > 1:
        raise InputError('method="qp" needs one weight per deleted point: per_point=True; a shared ε is not convex.')
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
    per_point: bool,
    step_until: Deadline | None,
) -> dict[str, Float[np.ndarray, "N controls"]]:
    """Named starting values of ε: the corners, the middle, the best step, and what the caller gave.

    The best step is searched by hundreds of flows, and only while there is time: `step_until`, or None for not at all.
    """
    (low, high), count = task.bounds, len(knots) - 1
    columns = task.problem.delete.size if per_point else 1
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
    control, shared = control_of(task), setting.system.shared
    factor = control.form.factor
    program = exponential_program(len(control.rates), control.points, shared, intervals, factor.shape)
    interval = Interval(control, setting.window.length / intervals)
    parameters = [control.start, np.array([setting.window.unit]), *interval.parameters, factor]
    runs: list[Candidate] = []
    for name, values in guesses.items():
        if runs and setting.deadline.passed:
            break
        guess = interval.roll_out(control.start, values, control.points)
        runs.append(solve_program(program, name, guess, task.bounds, parameters, setting.deadline))
    return runs
