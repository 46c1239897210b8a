"""`optimal_schedule` and `certify` where θ moves by gradient descent: one weight for each step."""

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

from .._core import RESULTS, SUCCESS, InputError
from ..schedules import AbstractSchedule, PiecewiseConstant, least_effort
from ._pontryagin import extremal_of
from ._simulate import simulate
from ._solution import Found, ScheduleSolution, verdict
from ._task import ControlTask, descent_of, steps_of
from .steps._optimum import step_optimum
from .terms._deadline import UNLIMITED, Deadline
from .terms._kinds import VERIFIED_GAP, SearchMethod, describe_arcs
from .terms._levels import as_column, effort_between, step_weights
from .terms._window import on_bounds

ON_BOUND = 1e-3
"""Distance from a bound, in units of their distance, at which a weight that L-BFGS-B found is tried on the bound."""


def search_steps(
    task: ControlTask, starts: tuple[AbstractSchedule, ...], columns: int, deadline: Deadline = UNLIMITED
) -> Found:
    """The best weights: for linear regression with a lower bound on those of all others, else by L-BFGS-B.

    Args:
        task: with a step size, without a price or a budget.
        starts: schedules to start from.
        columns: one weight for all deleted points, or one for each.
        deadline: when to stop.

    Raises:
        InputError: a price or a budget.
    """
    if task.priced:
        raise InputError(
            "with a step_size the optimum knows no price and no budget; leave them out, or ask for the flow's."
        )
    knots = np.arange(task.s, task.T + 1.0)
    given = [np.broadcast_to(step_weights(each, task.s, task.T), (len(knots) - 1, columns)) for each in starts]
    if task.linear is None:
        weights, result = _descended(task, given, columns, deadline)
        schedule = PiecewiseConstant(knots, as_column(weights))
        return Found(schedule=schedule, method=SearchMethod.STEPS, lower_bound=0.0, mesh=1.0, result=result)
    best = step_optimum(steps_of(task), given, shared=columns == 1, deadline=deadline)
    return Found(
        schedule=PiecewiseConstant(knots, best.weights),
        method=SearchMethod.STEPS,
        mesh=1.0,
        lower_bound=best.lower_bound,
        arrived=best.arrives,
        result=RESULTS.time_limit_reached if deadline.passed else SUCCESS,
    )


def judge_steps(task: ControlTask, found: Found, deadline: Deadline = UNLIMITED) -> ScheduleSolution:
    """`judge` for a task in steps."""
    weights, knots = step_weights(found.schedule, task.s, task.T), np.arange(task.s, task.T + 1.0)
    cost, error = simulate(task, found.schedule)
    bound, arrived = found.lower_bound, bool(found.arrived)
    if bound is None:
        bound, arrived = _bound(task, weights, deadline)
    extremal, spent = extremal_of(task, found.schedule, task.price), effort_between(knots, weights)
    return verdict(
        task,
        found,
        extremal,
        describe_arcs(knots, as_column(weights), task.bounds),
        cost=cost,
        error=error,
        effort=spent,
        multiplier=task.price,
        lower_bound=bound + task.price * weights.shape[1] * least_effort(task.T - task.s, task.bounds),
        exact=arrived and bool(cost <= error),
        stationary=bool(extremal.pmp_gap <= VERIFIED_GAP * (cost + task.price * spent)),
        mesh=1.0,
    )


def _bound(task: ControlTask, weights: Float[np.ndarray, "N columns"], deadline: Deadline) -> tuple[float, bool]:
    """What no weights cost less than, and whether the target can be reached; nothing for other models."""
    if task.linear is None:
        return 0.0, False
    columns = task.problem.delete.size
    best = step_optimum(
        steps_of(task), [np.broadcast_to(weights, (len(weights), columns))], shared=False, deadline=deadline
    )
    return best.lower_bound, best.arrives


def _descended(
    task: ControlTask, given: list[np.ndarray], columns: int, deadline: Deadline
) -> tuple[Float[np.ndarray, "N columns"], RESULTS]:
    """L-BFGS-B with the exact gradient, from the bounds, half way, and what is given; onto bounds where that helps."""
    count, (low, high) = round(task.T - task.s), task.bounds
    descent, question = descent_of(task), (task.cost, task.target)
    starts = [np.full((count, columns), level) for level in (low, high, 0.5 * (low + high))] + given
    scale = max(descent.slopes(*question, starts[0]).value, np.finfo(np.float64).tiny)

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        found = descent.slopes(*question, flat.reshape(count, columns))
        return found.value / scale, found.weights.ravel() / scale

    def stop(_: np.ndarray) -> None:
        if deadline.passed:
            raise StopIteration

    best, least = starts[0], np.inf
    for start in starts:
        if least < np.inf and deadline.passed:
            break
        options = {"maxiter": 500, "ftol": 1e-14, "gtol": 1e-10}
        run = minimize(
            objective,
            start.ravel(),
            jac=True,
            method="L-BFGS-B",
            bounds=[(low, high)] * start.size,
            callback=stop,
            options=options,
        )
        free = np.clip(run.x.reshape(count, columns), low, high)
        for weights in (free, on_bounds(free, (low, high), ON_BOUND)):
            cost = objective(weights.ravel())[0]
            if cost < least:
                best, least = weights, cost
    return best, RESULTS.time_limit_reached if deadline.passed else SUCCESS
