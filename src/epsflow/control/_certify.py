"""How good is a schedule? Its costate, a lower bound where one can be proved, and the words for both."""

import numpy as np
from jaxtyping import Float
from scipy.optimize import fminbound, root_scalar

from .._core import SUCCESS, InputError, succeeded
from ..problem import Problem, Quadratic
from ..schedules import AbstractPiecewiseConstant, AbstractSchedule, check_admissible, least_effort
from ._kinks import kink_of
from ._pontryagin import cells_of, extremal_of
from ._simulate import effort_of, seed_costs, simulate
from ._solution import Found, ScheduleSolution
from ._task import ControlTask, linear_of, make_task, steps_of
from ._trainings import INTERVALS, recipes_of
from .bounds._branching import prove
from .bounds._dual import certify_signs
from .bounds._paths import Paths
from .linear._path import LinearPath, linear_path
from .polish._optimum import linear_optimum, nodes_of_branching
from .polish._reach import reach, rounding_of
from .steps._optimum import step_optimum
from .systems._step_path import StepPath, worth_of_a_unit
from .terms._cost import AbstractCost, RetainedLoss
from .terms._deadline import UNLIMITED, Deadline
from .terms._extremal import AbstractPath, Extremal
from .terms._kinds import (
    SPENT,
    VERIFIED_GAP,
    Scope,
    SearchMethod,
    Status,
    classify,
    describe_arcs,
    scope_of,
    singular_arcs_hold,
)
from .terms._levels import (
    arcs_of,
    as_column,
    best_level,
    in_numbers,
    interval_means,
    levels_of,
    step_weights,
)


def certify(
    problem: Problem,
    schedule: AbstractSchedule,
    theta0: object,
    *,
    s: float | int,
    T: float | int,
    bounds: tuple[float, float] = (0.0, 1.0),
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
    intervals: int = INTERVALS,
    time_limit: float | None = None,
) -> ScheduleSolution:
    """Simulate a schedule of any origin and say how far from the global optimum it is.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.certify(problem, ef.Step(2.0), np.zeros(10), s=2.0, T=20.0).scope.value
        'global (certified)'

    For linear regression with settled residual signs the lower bound is the dual maximum, which equals the least cost
    with one weight per point. Where residuals may change their signs it comes from branching on when they do. For one
    ε shared by several points it is a quadratic function of the state, and holds for a shared ε only. For other models
    the bound is 0, and only Pontryagin's conditions are reported.

    Args:
        problem: what is trained, and which points are deleted.
        schedule: ε(t) in E_s.
        theta0: θ(0), shape (d,).
        s, T: the window.
        bounds: bounds of ε among which "optimal" is meant.
        target: where θ(T) should be. Default: the leave-out optimum, or with an optimiser the retrained θ(T).
        cost: of θ(T): `Distance` (default), `QuadraticForm`, `PredictionGap`, `RetainedLoss`.
        budget, price: as in `optimal_schedule`. The lower bound is that without them, which remains one.
        step_size, momentum: of gradient descent in place of the flow, as in `optimal_schedule`; a step has the mean of
            ε(t) over it.
        optimiser, batch, key, held_out, dtype: of training with an optimiser in place of the flow, as in
            `optimal_schedule`.
        intervals: with an optimiser, of the mesh on which Pontryagin's conditions are asked for.
        time_limit: seconds after which branching ends; what is proved by then stands.

    Raises:
        InputError: a schedule outside E_s or beyond the budget, or a question that makes no sense.
        ConvergenceError: a flow failed.
    """
    deadline = Deadline(time_limit)
    question = {"s": s, "T": T, "bounds": bounds, "target": target, "cost": cost, "budget": budget, "price": price}
    recipes = recipes_of(optimiser, batch, key, held_out, dtype, intervals)
    task = make_task(problem, theta0, **question, step_size=step_size, momentum=momentum, recipes=recipes)
    check_admissible(schedule, task.s, task.T, task.bounds)
    spent = effort_of(task, schedule)
    if spent > task.budget * (1.0 + 1e-9):
        raise InputError(
            f"the schedule spends ∫|ε| dt = {spent:.6g} between s and T, beyond the budget {task.budget:g}."
        )
    return judge(task, Found(schedule=schedule, method=SearchMethod.GIVEN), deadline)


def judge(task: ControlTask, found: Found, deadline: Deadline = UNLIMITED) -> ScheduleSolution:
    """Everything that is said about a schedule: what it costs, how sure that is, and among which it is the best.

    Args:
        task: the question.
        found: a schedule in E_s, and what is known of it. After a search that did not end well only a certificate
            counts.
        deadline: when to stop proving; what is proved by then stands.
    """
    schedule, (knots, levels) = found.schedule, _in_arcs(task, found)
    spent, columns = effort_of(task, schedule), 1 if levels.ndim == 1 else levels.shape[1]
    multiplier = multiplier_of(task, schedule, spent)
    path = extremal_of(task, schedule, multiplier) if found.extremal is None else found.extremal
    # Training with an optimiser has just been simulated; all else is simulated in another way.
    cost, error = simulate(task, schedule) if task.trainings is None else (path.cost, path.cost_error)
    arcs = describe_arcs(knots, levels, task.bounds)
    proved, arrived = _bound(task, found, columns, path, deadline)
    objective = unit = cost + task.price * spent
    bound = min(proved + task.price * columns * least_effort(task.T - task.s, task.bounds), objective)
    exact = bool(cost <= error) and (arrives(task, schedule, deadline) if arrived is None else arrived)
    scope = scope_of(objective, error, bound, exact=exact and task.price == 0.0)
    if task.trainings is not None:
        # The loss of a retrained model may be zero, or below: then a gap counts from the error of the cost on.
        unit = max(abs(unit), error)
    stationary = path.pmp_gap <= VERIFIED_GAP * unit and (
        task.in_steps or singular_arcs_hold(path, arcs, found.mesh, multiplier)
    )
    # After a search that did not end well only a certificate counts.
    if scope is Scope.NONE and stationary and bool(succeeded(found.result)) and np.isfinite([objective, error]).all():
        scope = Scope.LOCAL
    kink = None
    if scope is Scope.NONE and task.trainings is not None and np.isfinite(cost):
        kink = kink_of(task, schedule, path, multiplier)
    # In steps, a weight between the bounds for longer than one is no switch.
    kind = classify(exact, path, arcs, 1.0 if task.in_steps else found.mesh, multiplier)
    return ScheduleSolution(
        task=task,
        schedule=schedule,
        cost=cost,
        cost_error=error,
        effort=spent,
        multiplier=multiplier,
        lower_bound=bound,
        status=Status.UNVERIFIED if scope is Scope.NONE else kind,
        scope=scope,
        arcs=arcs,
        extremal=path,
        candidates=found.candidates,
        method=found.method,
        polished=found.polished,
        second_order=found.second_order,
        seeds=seed_costs(task, schedule),
        kink=kink,
        result=SUCCESS if scope in (Scope.GLOBAL, Scope.WITHIN_ERROR) else found.result,
    )


def _in_arcs(task: ControlTask, found: Found) -> tuple[Float[np.ndarray, " knots"], Float[np.ndarray, "arcs *m"]]:
    """Knots from s to T, and ε between them; in steps, its means."""
    if task.in_steps:
        cells = cells_of(task, found.schedule)
        return cells, as_column(interval_means(step_weights(found.schedule, task.s, task.T), cells))
    if found.extremal is not None and isinstance(found.extremal.path, LinearPath):
        return found.extremal.path.knots, found.extremal.path.levels
    return in_numbers(found.schedule, task.s, task.T)


def _bound(
    task: ControlTask, found: Found, columns: int, path: Extremal, deadline: Deadline
) -> tuple[float, bool | None]:
    """What no schedule costs less than, and whether the target is reached; None where that is still to be asked.

    For linear regression, of the flow the dual maximum less its rounding where residual signs are settled, else what
    branching on them proves: over one weight per point, and so for a shared one, too. Of one ε for several points what
    no other single ε undercuts, by the best one that is found. For other models 0.
    """
    schedule, linear, points = found.schedule, task.linear, task.problem.delete.size
    if task.trainings is not None:
        # What retrained models lose on the retained points is no minimum of that loss.
        return -np.inf if isinstance(task.cost, RetainedLoss) else 0.0, False
    if found.lower_bound is not None:
        return found.lower_bound, found.arrived
    if linear is None:
        return 0.0, False if task.in_steps else None
    if task.in_steps:
        weights = step_weights(schedule, task.s, task.T)
        start = np.broadcast_to(weights, (len(weights), points))
        best = step_optimum(steps_of(task), [start], shared=False, deadline=deadline)
        return best.lower_bound, best.arrives
    if columns < points:
        constant = isinstance(schedule, AbstractPiecewiseConstant)
        starts = [arcs_of(schedule, task.s, task.T)] if constant else []
        return linear_optimum(linear, starts, deadline=deadline).lower_bound, None
    delta = np.asarray(path.theta(np.array([task.T]))[0] - task.target) @ linear.basis
    paths, cost, mu = Paths([linear]), linear.form.value(delta), linear.form.image(delta)
    nodes = nodes_of_branching(linear, effort_of(task, schedule))
    return max(0.0, prove(paths, certify_signs(paths), cost, mu, max_nodes=nodes, deadline=deadline).certain), None


def arrives(task: ControlTask, schedule: AbstractSchedule, deadline: Deadline = UNLIMITED) -> bool:
    """Whether a schedule is certified to reach the target in finite time and to stay there.

    It starts there, or its last arc with ε ≠ 0 passes through the target and ends in it, and the target is one that
    `exact_unlearning_time` says can be reached by then. A flow that decays towards the target comes as near, but does
    not arrive. One ε for several points is not certified: whether it can arrive is not known.
    """
    if not isinstance(task.problem.risk, Quadratic):
        return bool(np.array_equal(np.asarray(task.theta_s), np.asarray(task.target)))
    linear = linear_of(task)
    rounding = rounding_of(linear)
    if float(np.linalg.norm(linear.start)) <= max(rounding, task.target_error):
        return True
    if not (linear.at_rest and isinstance(schedule, AbstractPiecewiseConstant)):
        return False
    knots, levels = arcs_of(schedule, task.s, task.T)
    shared, acting = levels.ndim == 1, np.flatnonzero(levels.reshape(len(levels), -1).any(axis=1))
    if not acting.size or (shared and linear.points > 1):
        return False
    path, last = linear_path(linear, knots, levels), int(acting[-1])
    before, after = np.linalg.norm(path.deltas[last : last + 2], axis=1)
    spectrum = path.spectra[last]
    rate = float(np.abs(spectrum.rates).max())
    near = max(rounding, len(linear.rates) * np.finfo(np.float64).eps * (1.0 + rate * linear.T) * float(before))
    passes = float(np.linalg.norm(spectrum.drift)) * (knots[last + 1] - knots[last]) > PASSING * near
    if not (after <= near and before > PASSING * near and passes):
        return False
    arrival = reach(linear, deadline)
    return arrival.schedule is not None and bool(arrival.time <= knots[last + 1] * (1.0 + 1e-9))


PASSING = 100.0
"""How much farther than rounding a flow has to come from, and would go on, if it passes through the target."""


SAMPLES = 2_001


def multiplier_of(task: ControlTask, schedule: AbstractSchedule, spent: float) -> float:
    """ρ ≥ 0, for which the schedule comes nearest to Pontryagin's conditions of min cost + ρ∫|ε| dt.

    The price (0 if none was given) where the budget is not spent. Where it is, the switches of a schedule that jumps
    between the bounds and 0 say it (`_at_switches`); any other one, and one in steps, is given the ρ with the least PMP
    gap.
    """
    if task.budget == np.inf or spent < (1.0 - SPENT) * task.budget:
        return task.price
    path = extremal_of(task, schedule, 0.0).path
    if isinstance(path, StepPath):
        return max(task.price, worth_of_a_unit(np.diff(path.knots), path.switching, path.eps, task.bounds))
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
