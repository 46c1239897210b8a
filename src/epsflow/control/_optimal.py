"""`optimal_schedule`: choose a route, search, simulate what it found, say what it is."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .._core import RESULTS, SUCCESS, ConvergenceError, InputError, as_choice, as_count, as_flag
from ..problem import Problem, Quadratic
from ..schedules import (
    AbstractPiecewiseConstant,
    AbstractSchedule,
    PiecewiseConstant,
    as_schedules,
    least_effort,
)
from ._certify import judge
from ._families import baseline
from ._solution import Found, ScheduleSolution
from ._steps import search_steps
from ._task import ControlTask, linear_of, make_task
from ._trainings import recipes_of
from .bounds._branching import GAP
from .polish._optimum import linear_optimum
from .terms._cost import AbstractCost
from .terms._deadline import UNLIMITED, Deadline
from .terms._kinds import Scope, SearchMethod
from .terms._levels import arcs_of, as_column, sampled
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
    s: float | int,
    T: float | int,
    bounds: tuple[float, float] = (0.0, 1.0),
    intervals: int = 100,
    per_point: bool = False,
    method: str = "auto",
    starts: Sequence[AbstractSchedule] = (),
    target: object | None = None,
    cost: AbstractCost | None = None,
    budget: float | None = None,
    price: float = 0.0,
    step_size: float | None = None,
    momentum: float = 0.0,
    optimiser: object | None = None,
    batch: int | None = None,
    key: object | None = None,
    held_out: object | None = None,
    dtype: str | None = None,
    time_limit: float | None = None,
    throw: bool = True,
) -> ScheduleSolution:
    """min 𝓔(ε) = ½‖θ(T) − θ*_{-D}‖² over ε ∈ E_s: 1 until s, within `bounds` until T, 0 from then on.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.optimal_schedule(problem, np.zeros(10), s=2.0, T=20.0)
        ScheduleSolution(cost=0.1579, gap=..., status=bang-bang, scope=global (certified), arcs=1)

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
            single switches polished, done if a certificate closes, else exponential; for other models shooting
            where the program is small, collocation where stability would need more than four steps per interval, and
            adjoint for the rest; `ScheduleSolution.method` says which.
        starts: further schedules to start from.
        target: where θ(T) should be. Default: the leave-out optimum; with an optimiser, where the same training without
            the points ends, for every seed. A network too large for the former can aim at what retraining gives:
            `gradient_flow(problem, Constant(0.0), theta0, ts=[T]).end`.
        cost: of θ(T), in place of the distance 𝓔: `QuadraticForm`, `PredictionGap`, `RetainedLoss`.
        budget: B, the most that ∫|ε| dt over (s, T) may be, summed over the components of ε; claims are local then.
        price: ρ, what is paid for each unit of ∫|ε| dt; claims are local then. With either, an optimum may have
            singular arcs, on which ε lies between its bounds: for linear regression "auto" looks for them on the mesh
            where the polished bang-bang schedule leaves something to gain.
        step_size: η. θ then moves by gradient descent, θ_{k+1} = θ_k − η∇R_{ε_k}(θ_k), s and T count its steps, and
            the schedule has one ε_k for each, in units of steps (`PiecewiseConstant` with knots s, s + 1, …, T). For
            linear regression the optimum is certified as the flow's is, and tends to it as O(η); for other models, and
            with a budget or a price, it is local. `method="auto"` only.
        momentum: β of the heavy ball, v_{k+1} = βv_k − η∇R, θ_{k+1} = θ_k + v_{k+1}; v = 0 at the start of training.
        optimiser: of optax. θ then moves as `train_with` moves it, s and T count its steps, and ε is constant on each
            of the intervals, which begin and end with whole steps. The gradient by ε is that of this very training, to
            rounding, by checkpointed reverse mode with memory ∝ √(T − s). The optimum is local: Karush–Kuhn–Tucker
            conditions hold on the mesh, at a price and within a budget, too. Where a schedule is not constant, a step
            has the mean of ε(t) over it.
        batch: b, points per step of an optimiser. Default: all.
        key: seed of the batches, or several seeds, over whose trainings the cost is averaged:
            `jax.random.split(jax.random.key(0), 8)`. With a function θ0(key) each seed has a start of its own.
        held_out: further seeds, on which nothing is chosen; `ScheduleSolution.seeds` has their costs.
        dtype: of training with an optimiser, "float64", "float32" or "bfloat16"; default: the problem's. `cost_error`
            contains how far the cost is from that in float64.
        time_limit: seconds after which the search, and the proof, stop between two iterations. What there is by then is
            simulated and returned as UNVERIFIED, unless a certificate stands.
        throw: raise if no run succeeds, or time runs out; otherwise the best proposal is returned as UNVERIFIED.

    Raises:
        InputError: a question that makes no sense (see `make_task`), or a model that cannot be translated.
        ConvergenceError: the solver failed from every start (its own words), time ran out (`.result` holds the best
            schedule so far), or a flow failed.
    """
    deadline = Deadline(time_limit)
    question = {"s": s, "T": T, "bounds": bounds, "target": target, "cost": cost, "budget": budget, "price": price}
    recipes = recipes_of(optimiser, batch, key, held_out, dtype, intervals)
    task = make_task(problem, theta0, **question, step_size=step_size, momentum=momentum, recipes=recipes)
    options = Options(intervals=intervals, per_point=per_point, method=method, starts=starts, throw=throw)
    return solve_task(task, options, deadline)


@dataclass(frozen=True, kw_only=True)
class Options:
    """How the optimum is sought: the arguments of `optimal_schedule` that do not change the question.

    Attributes:
        intervals: N, of a mesh on [s, T].
        per_point: one ε for each deleted point instead of one for all of them.
        method: one of `METHODS`.
        starts: further schedules to start from.
        throw: whether to raise if the search does not end well.
    """

    intervals: int = 100
    per_point: bool = False
    method: str = "auto"
    starts: Sequence[AbstractSchedule] = ()
    throw: bool = True

    def checked(self, task: ControlTask) -> "Options":
        """The same, refused where the task cannot be sought like that.

        Raises:
            InputError: what is wrong.
        """
        options = replace(
            self,
            intervals=as_count(self.intervals, "intervals"),
            per_point=as_flag(self.per_point, "per_point"),
            method=as_choice(self.method, "method", METHODS),
            starts=as_schedules(self.starts, "starts"),
            throw=as_flag(self.throw, "throw"),
        )
        _check_method(task, options)
        least = LEAST_INTERVAL * task.T
        if not task.in_steps and task.T - task.s < options.intervals * least:
            raise InputError(
                f"T − s = {task.T - task.s:g} cannot hold {options.intervals} intervals: times near T = {task.T:g} are "
                f"known to {least:.1g} only. Ask for a later T, or for fewer intervals."
            )
        return options

    def columns(self, task: ControlTask) -> int:
        """Components of ε."""
        return task.problem.delete.size if self.per_point else 1

    def knots(self, task: ControlTask) -> np.ndarray:
        """The mesh."""
        return np.linspace(task.s, task.T, self.intervals + 1)


def solve_task(task: ControlTask, options: Options, deadline: Deadline = UNLIMITED) -> ScheduleSolution:
    """`optimal_schedule` for a task that has been checked.

    Raises:
        InputError, ConvergenceError: as there.
    """
    options = options.checked(task)
    route = choose(task, options, deadline)
    solution = route.solve()
    if options.throw and solution.trouble:
        more = "A larger time_limit" if deadline.passed else "Another method"
        raise ConvergenceError(
            f"{solution.doubt or solution.trouble}; the best proposal, cost {solution.cost:.6g}, is in `.result`. "
            f"{more}, fewer intervals or a start of your own may help.",
            solution,
        )
    return solution


@dataclass(frozen=True)
class AbstractRoute(abc.ABC):
    """One way to the optimum.

    Attributes:
        task: the question.
        options: how it is sought, checked.
        deadline: when to stop.
    """

    task: ControlTask
    options: Options
    deadline: Deadline

    @abc.abstractmethod
    def search(self) -> Found:
        """The best schedule that this route comes to."""

    def solve(self) -> ScheduleSolution:
        """What it found, judged."""
        return judge(self.task, self.search(), self.deadline)


def choose(task: ControlTask, options: Options, deadline: Deadline) -> AbstractRoute:
    """The route for a task: steps, what the budget leaves no choice about, exact switch times, or a mesh."""
    if task.budget <= options.columns(task) * least_effort(task.T - task.s, task.bounds):
        return OnlySchedule(task, options, deadline)
    if task.in_steps:
        return InSteps(task, options, deadline)
    if options.method == "auto" and isinstance(task.problem.risk, Quadratic):
        return ExactSwitches(task, options, deadline)
    return OnMesh(task, options, deadline)


class InSteps(AbstractRoute):
    """ε constant in each step of gradient descent, or on intervals of whole steps of an optimiser."""

    def search(self) -> Found:
        """See `AbstractRoute`."""
        return search_steps(self.task, self.options.starts, self.options.columns(self.task), self.deadline)


class OnlySchedule(AbstractRoute):
    """The budget is the least that the bounds allow: ε is where |ε| is least."""

    def search(self) -> Found:
        """See `AbstractRoute`."""
        level = np.full((1, self.options.columns(self.task)), np.clip(0.0, *self.task.bounds))
        schedule = PiecewiseConstant(np.array([self.task.s, self.task.T]), as_column(level))
        return Found(schedule=schedule, method=SearchMethod.ONLY)


@dataclass(frozen=True)
class OnMesh(AbstractRoute):
    """ε constant on equal intervals, by one of the solvers of `_mesh`, and then freed of them.

    Attributes:
        best_step: whether to begin from the best step, too, which takes hundreds of flows to find.
    """

    best_step: bool = True

    def search(self) -> Found:
        """See `AbstractRoute`."""
        from ._mesh import Setting, guesses_of, method_of, solve_on_mesh, system_of  # diffrax and CasADi

        task, options = self.task, self.options
        unit = max(baseline(task).cost, np.finfo(np.float64).tiny)
        window = MeshWindow(task.T - task.s, task.bounds, unit, task.price, task.budget)
        system = system_of(task, not options.per_point)
        setting = Setting(system, task.theta_s, task.s, window, self.deadline)
        method = method_of(setting, options.method, options.intervals)
        # The adjoint route has a search for it of its own.
        step_until = self.deadline if self.best_step and method is not SearchMethod.ADJOINT else None
        guesses = guesses_of(task, options.knots(task), options.starts, options.columns(task), step_until)
        guesses = {name: window.affordable(values) for name, values in guesses.items()}
        return solve_on_mesh(task, setting, method, options.knots(task), guesses)


class ExactSwitches(AbstractRoute):
    """Linear regression: the best single switches and the given starts, polished; a mesh where that proves nothing.

    With a price or a budget an optimum may have singular arcs, which only a mesh finds.
    """

    def search(self) -> Found:
        """See `AbstractRoute`."""
        task, options, knots = self.task, self.options, self.options.knots(self.task)
        columns, starts = options.columns(task), []
        for start in options.starts:
            # Smooth ones by their means on the mesh.
            constant = isinstance(start, AbstractPiecewiseConstant)
            levels = as_column(sampled(start, knots, columns))
            starts.append(arcs_of(start, task.s, task.T) if constant else (knots, levels))
        optimum = linear_optimum(linear_of(task), starts, shared=columns == 1, deadline=self.deadline)
        return Found(
            schedule=optimum.schedule,
            method=SearchMethod.POLISH,
            polished=True,
            lower_bound=optimum.lower_bound,
            # A budget has a multiplier, at which the extremal is another.
            extremal=None if task.budget < np.inf else optimum.extremal,
            arrived=True if optimum.exact is not None else None,
            result=RESULTS.time_limit_reached if self.deadline.passed else SUCCESS,
        )

    def solve(self) -> ScheduleSolution:
        """What the polish found, where that is certified; else the better one of it and what a mesh finds."""
        first = self.search()
        found = judge(self.task, first, self.deadline)
        group = self.options.columns(self.task) == 1 and self.task.problem.delete.size > 1
        settled = (self.task.priced or group) and found.pmp_gap <= SETTLED * found.objective
        if found.scope in (Scope.GLOBAL, Scope.WITHIN_ERROR) or settled or self.deadline.passed:
            return found
        # With a price or a budget, what was found is the start; the steps are among what it was found from.
        options = replace(self.options, starts=(found.schedule,)) if self.task.priced else self.options
        mesh = OnMesh(self.task, options, self.deadline, best_step=not self.task.priced)
        # What no schedule can beat was asked once; of something cheaper, more can be proved.
        second = replace(mesh.search(), lower_bound=first.lower_bound)
        other = judge(self.task, second, self.deadline)
        if other.objective < (1.0 - GAP) * found.objective:
            other = judge(self.task, replace(second, lower_bound=None), self.deadline)
        return found if found.objective <= other.objective and found.scope is not Scope.NONE else other


def _check_method(task: ControlTask, options: Options) -> None:
    """Refuse a method that the task cannot be solved by."""
    method, points = options.method, task.problem.delete.size
    if task.trainings is not None and method not in ("auto", "adjoint"):
        raise InputError(f'method="{method}" is for the flow; with an optimiser there is method="adjoint".')
    if task.step_size is not None and method != "auto":
        raise InputError(f'method="{method}" is for the flow; with a step_size there is method="auto" only.')
    if method in ("exponential", "qp") and not isinstance(task.problem.risk, Quadratic):
        raise InputError(f'method="{method}" is for linear regression; use "shooting", "collocation" or "adjoint".')
    if method == "qp" and task.priced:
        raise InputError(
            'method="qp" knows no price and no budget: |ε| = |w|/|e| is not convex in w = εe. Use method="auto".'
        )
    if method == "qp" and not options.per_point and points > 1:
        raise InputError('method="qp" needs one weight per deleted point: per_point=True; a shared ε is not convex.')
    if method == "qp" and options.starts:
        raise InputError('method="qp" is a convex program and begins nowhere: leave starts out, or use another method.')
    least = points * least_effort(task.T - task.s, task.bounds)
    if options.per_point and task.budget < least:
        raise InputError(
            f"no schedule with one weight per point meets the budget {task.budget:g}: ∫|ε| dt, summed over the "
            f"{points} points, is at least {least:g}."
        )
