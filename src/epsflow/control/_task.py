"""The question that the room answers: which ε(t) in E_s ends nearest to the leave-out optimum?"""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._core import InputError
from ..flow import equilibrium, gradient_flow
from ..problem import Problem, Quadratic
from ..problem._problem import DENSE_LIMIT
from ..schedules import AbstractAnalytic, AbstractSchedule, Constant, check_window


@dataclass(frozen=True, eq=False)
class ControlTask:
    """min 𝓔(ε) = ½‖θ(T) − target‖² over ε ∈ E_s: ε = 1 on [0, s], low ≤ ε ≤ high on (s, T), 0 from T on.

    Attributes:
        problem: what is trained and which points are deleted.
        theta0: θ(0), shape (d,).
        s, T: when the request arrives, and by when the points must be gone.
        bounds: (low, high) for ε on (s, T).
        target: θ*_{-D}, or the point that was given instead, shape (d,).
        theta_s: θ(s), where the choice begins, shape (d,).
        theta_s_error: estimate of the ‖·‖∞ error in `theta_s`.
    """

    problem: Problem
    theta0: Float[Array, " d"]
    s: float
    T: float
    bounds: tuple[float, float]
    target: Float[Array, " d"]
    theta_s: Float[Array, " d"]
    theta_s_error: float


def make_task(
    problem: Problem,
    theta0: object,
    s: float,
    T: float,
    bounds: tuple[float, float] = (0.0, 1.0),
    target: object | None = None,
) -> ControlTask:
    """Check the question once, and train up to s.

    Raises:
        InputError: no deleted point; s < 0, T ≤ s or reversed bounds; θ0 of the wrong length; no unique leave-out
            optimum, or one out of reach, and no `target`.
        ConvergenceError: the leave-out optimum or the flow up to s did not converge.
    """
    s, T, bounds = check_window(s, T, bounds)
    if problem.delete.size == 0:
        raise InputError("the problem deletes no point, so there is nothing to unlearn: make it with delete=[index].")
    start = problem.parameters(theta0, "theta0")
    goal = _leave_out_optimum(problem, start) if target is None else problem.parameters(target, "target")
    if s == 0.0:
        return ControlTask(problem, start, s, T, bounds, goal, start, 0.0)
    training = gradient_flow(problem, Constant(1.0), start, ts=np.array([s]))
    return ControlTask(problem, start, s, T, bounds, goal, training.end, float(training.error))


def _leave_out_optimum(problem: Problem, theta0: Array) -> Array:
    free = problem.undetermined_direction()
    if free is not None:
        raise InputError(
            "the leave-out optimum is not unique: the retained points leave the direction "
            f"({free}) undetermined, so 'the distance to it' has no meaning. Give l2 > 0, or the target that you want."
        )
    if problem.dim > DENSE_LIMIT and not isinstance(problem.risk, Quadratic):
        raise InputError(
            f"the leave-out optimum of {problem.dim} parameters is out of reach: certifying it takes a dense Hessian "
            f"(limit {DENSE_LIMIT}). Give a target, for instance what retraining from the same start gives at T: "
            "gradient_flow(problem, Constant(0.0), theta0, ts=[T]).end."
        )
    return equilibrium(problem, eps=0.0, theta0=theta0).theta


class Simulation(NamedTuple):
    """What a schedule really costs, by the flow room.

    Attributes:
        cost: 𝓔 = ½‖θ(T) − target‖².
        error: bound on the error of `cost`, from the flow's own error estimate.
    """

    cost: float
    error: float


def simulate(task: ControlTask, schedule: AbstractSchedule) -> Simulation:
    """𝓔(ε), from θ(s) on: to rounding for linear regression, by diffrax otherwise.

    An error e in every coordinate of θ(T) changes 𝓔 by at most ‖δ‖e√d + ½e²d. The error in θ(s) is added to e as it
    stands: a convex risk contracts it, another one might not.
    """
    series = isinstance(task.problem.risk, Quadratic) and isinstance(schedule, AbstractAnalytic)
    path = gradient_flow(
        task.problem, schedule, task.theta_s, t0=task.s, ts=np.array([task.T]), method="series" if series else "auto"
    )
    miss, error = path.end - task.target, float(path.error) + task.theta_s_error
    bound = float(jnp.linalg.norm(miss)) * error * task.problem.dim**0.5 + 0.5 * error**2 * task.problem.dim
    return Simulation(0.5 * float(miss @ miss), bound)
