"""`optimal_schedule`: transcribe, solve from several starts, simulate every proposal, keep the best, say what it is."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from .._core import ConvergenceError, InputError
from ..flow._diffrax import largest_curvature
from ..problem import Problem, Quadratic
from ..schedules import AbstractPiecewiseConstant, AbstractSchedule, PiecewiseConstant, Step
from ._certify import judge
from ._conic import solve_conic
from ._cost import AbstractCost
from ._exponential import Interval, exponential_program
from ._families import baseline, search_family
from ._linear_optimum import linear_optimum
from ._polish import polish
from ._program import Candidate, on_bounds, solve_program
from ._solution import ScheduleSolution, Scope
from ._task import ControlTask, control_of, make_task, simulate
from ._transcription import collocation_program, feasible_point, shooting_program, take_apart

SUBSTEP_LIMIT = 4
"""Runge–Kutta steps per interval beyond which collocation, which has no stability limit, is the cheaper program."""


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
    throw: bool = True,
) -> ScheduleSolution:
    """min 𝓔(ε) = ½‖θ(T) − θ*_{-D}‖² over ε ∈ E_s: 1 until s, within `bounds` until T, 0 from then on.

    ε is constant on each of N equal intervals of [s, T]; IPOPT solves the nonlinear program from several starts (all
    high, all low, half way, the best step, and any that are given), and every proposal is simulated by the flow room.
    For linear regression the best one is then freed of the mesh: its switch times are polished to rounding, and a lower
    bound certifies it where the signs of the deleted points' residuals are settled.

    Args:
        problem: what is trained, and which points are deleted.
        theta0: θ(0), shape (d,).
        s, T: when the request arrives, and by when the points must be gone; 0 ≤ s < T.
        bounds: least and largest ε on (s, T).
        intervals: N.
        per_point: one ε for each deleted point instead of one for all of them.
        method: "exponential" (linear regression: exact in all directions but the deleted points'), "shooting"
            (multiple shooting, Runge–Kutta), "collocation" (Radau IIA), "qp" (linear regression with settled residual
            signs and one weight per point: a convex program, the independent check of the polish), or "auto". For
            linear regression, auto first polishes the best single switches and is done if a certificate closes; else it
            takes exponential. For other models it takes shooting, or collocation where stability would need more than
            four steps per interval.
        starts: further schedules to start from.
        target: where θ(T) should be. Default: the leave-out optimum.
        cost: of θ(T), in place of the distance 𝓔: `QuadraticForm`, `PredictionGap`, `RetainedLoss`.
        budget: B, the most that ∫|ε| dt over (s, T) may be (linear regression); claims are local then.
        price: ρ, what is paid for each unit of ∫|ε| dt (linear regression); claims are local then.
        throw: raise if no run of IPOPT succeeds; otherwise the best proposal is returned as UNVERIFIED.

    Raises:
        InputError: a question that makes no sense (see `make_task`), or a model that cannot be translated.
        ConvergenceError: IPOPT failed from every start (its own words), or a flow did.
    """
    task = make_task(problem, theta0, s, T, bounds, target, cost, budget, price)
    return solve_task(task, intervals=intervals, per_point=per_point, method=method, starts=starts, throw=throw)


def solve_task(
    task: ControlTask,
    *,
    intervals: int = 100,
    per_point: bool = False,
    method: str = "auto",
    starts: Sequence[AbstractSchedule] = (),
    throw: bool = True,
) -> ScheduleSolution:
    """`optimal_schedule` for a task that has been checked."""
    if intervals < 1:
        raise InputError(f"intervals is {intervals}; at least one is needed between s and T.")
    if task.priced:
        return _priced(task, method, per_point, starts)
    if method == "auto" and isinstance(task.problem.risk, Quadratic):
        certified = _without_mesh(task, per_point)
        if certified is not None:
            return certified
    chosen = _method(task, method, intervals)
    knots = np.linspace(task.s, task.T, intervals + 1)
    guesses = _guesses(task, knots, starts, per_point)
    candidates = _run(task, chosen, guesses, intervals, shared=not per_point)
    # An interior-point method stops short of the bounds; what is near one is also proposed on it, and simulated.
    values = [option for run in candidates for option in (run.values, on_bounds(run.values, task.bounds, 1e-3))]
    proposals = [PiecewiseConstant(knots, option) for option in values]
    costs = [simulate(task, proposal) for proposal in proposals]
    best = min(range(len(costs)), key=lambda i: costs[i].cost)
    schedule, mesh = proposals[best], (task.T - task.s) / intervals
    if isinstance(task.problem.risk, Quadratic):
        schedule, chosen, mesh = _polished(task, schedule, costs[best].cost, chosen, mesh)
    solution = judge(task, schedule, method=chosen, candidates=tuple(candidates), mesh=mesh)
    if throw and solution.scope is not Scope.GLOBAL and not any(candidate.success for candidate in candidates):
        solver = "the QP solver" if "qp" in chosen else "IPOPT"
        words = ", ".join(sorted({candidate.status for candidate in candidates}))
        raise ConvergenceError(
            f"{solver} failed from all {len(candidates)} starts ({words}); the best proposal, cost "
            f"{solution.cost:.6g}, is in `.result`. Fewer intervals, another method or starts of your own may help.",
            solution,
        )
    return solution


def _without_mesh(task: ControlTask, per_point: bool) -> ScheduleSolution | None:
    """Polish the best single switches: where the outcome is certified as the global optimum, no program is needed."""
    optimum = linear_optimum(task, shared=not per_point)
    solution = judge(task, optimum.schedule, method="polish", lower_bound=optimum.lower_bound)
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


def _polished(
    task: ControlTask, schedule: AbstractPiecewiseConstant, cost: float, method: str, mesh: float
) -> tuple[AbstractPiecewiseConstant, str, float]:
    """The bang-bang extremal next to a proposal, if it costs less: off the mesh, with switch times to rounding."""
    better = polish(task, schedule)
    return (better.schedule, f"{method} + polish", 0.0) if better.cost <= cost else (schedule, method, mesh)


def _method(task: ControlTask, method: str, intervals: int) -> str:
    linear = isinstance(task.problem.risk, Quadratic)
    if method not in ("auto", "exponential", "shooting", "collocation", "qp"):
        raise InputError(f"unknown method {method!r}: choose auto, exponential, shooting, collocation or qp.")
    if method in ("exponential", "qp") and not linear:
        raise InputError(f'method="{method}" is for linear regression; use "shooting" or "collocation".')
    if method != "auto":
        return method
    if linear:
        return "exponential"
    return "shooting" if _substeps(task, intervals) <= SUBSTEP_LIMIT else "collocation"


def _substeps(task: ControlTask, intervals: int) -> int:
    """Runge–Kutta steps with λ_max h ≤ 1: well inside stability (2.8), and a relative error of 1/120 per step."""
    rate = float(largest_curvature(task.problem.risk, task.theta_s))
    return max(1, math.ceil(rate * (task.T - task.s) / intervals))


def _guesses(
    task: ControlTask, knots: Float[np.ndarray, " knots"], extra: Sequence[AbstractSchedule], per_point: bool
) -> dict[str, Float[np.ndarray, "N controls"]]:
    """Named starting values of ε: the corners, the middle, the best step, and what the caller gave."""
    (low, high), count = task.bounds, len(knots) - 1
    columns = task.problem.delete.size if per_point else 1
    guesses = {
        "high": np.full((count, columns), high),
        "low": np.full((count, columns), low),
        "half way": np.full((count, columns), 0.5 * (low + high)),
    }
    if low <= 0.0 and high >= 1.0:
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


def _run(
    task: ControlTask, method: str, guesses: dict[str, np.ndarray], intervals: int, *, shared: bool
) -> list[Candidate]:
    """One run of IPOPT from every guess, or of a QP solver, which needs none.

    The cost is measured in units of the baseline's, so that tolerances fit it.
    """
    h = (task.T - task.s) / intervals
    unit = np.array([max(baseline(task).cost, np.finfo(np.float64).tiny)])
    if method == "qp":
        if shared and task.problem.delete.size > 1:
            raise InputError(
                'method="qp" needs one weight per deleted point: per_point=True; a shared ε is not convex.'
            )
        return [solve_conic(control_of(task), intervals).candidate]
    if method == "exponential":
        return _run_exponential(task, guesses, h, unit, shared)
    structure, numbers = take_apart(task.problem.risk, shared, task.cost)
    if method == "shooting":
        substeps = _substeps(task, intervals)
        transcribed, step = shooting_program(structure, intervals, substeps), h / substeps
    else:
        transcribed, step = collocation_program(structure, intervals), h
    numbers = [np.array([step]), *numbers]
    first, goal = np.asarray(task.theta_s), np.asarray(task.target)
    runs = []
    for name, values in guesses.items():
        guess = feasible_point(transcribed, first, values, numbers)
        runs.append(solve_program(transcribed.program, name, guess, task.bounds, [first, goal, unit, *numbers]))
    return runs


def _run_exponential(
    task: ControlTask, guesses: dict[str, np.ndarray], h: float, unit: np.ndarray, shared: bool
) -> list[Candidate]:
    control = control_of(task)
    intervals = len(next(iter(guesses.values())))
    factor = control.form.factor
    program = exponential_program(len(control.rates), control.points, shared, intervals, factor.shape)
    interval = Interval(control, h)
    parameters = [control.start, np.zeros_like(control.start), unit, *interval.parameters, factor]
    return [
        solve_program(program, name, interval.roll_out(control.start, values, control.points), task.bounds, parameters)
        for name, values in guesses.items()
    ]
