"""The question that the room answers: which ε(t) in E_s ends nearest to the target, or where another cost is least?"""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._core import Array, InputError, as_scalar
from ..flow import equilibrium, gradient_flow
from ..problem import Problem, Quadratic, minimum
from ..problem._problem import DENSE_LIMIT
from ..schedules import (
    AbstractPiecewiseConstant,
    AbstractSchedule,
    Constant,
    Members,
    check_effort,
    check_window,
)
from .linear._decays import member_ends
from .linear._pencil import SECULAR, advance
from .linear._task import LinearTask, linear_task
from .terms._cost import AbstractCost, Distance, cost_and_gradient
from .terms._levels import arcs_of, efforts
from .terms._window import Window


@dataclass(frozen=True, eq=False)
class ControlTask:
    """min cost(θ(T)) + ρ∫|ε| dt over ε ∈ E_s with ∫|ε| dt ≤ B: ε = 1 on [0, s], low ≤ ε ≤ high on (s, T), then 0.

    Attributes:
        problem: what is trained and which points are deleted.
        theta0: θ(0), shape (d,).
        s, T: when the request arrives, and by when the points must be gone.
        bounds: (low, high) for ε on (s, T).
        target: θ*_{-D}, or the point that was given instead, shape (d,).
        theta_s: θ(s), where the choice begins, shape (d,).
        theta_s_error: estimate of the ‖·‖∞ error in `theta_s`.
        cost: of θ(T); zero at the target.
        budget: B, the most that ∫|ε| dt over (s, T) may be, summed over the points where each has a weight of its own;
            ∞ for none.
        price: ρ.
        linear: the same question in the eigenbasis of H_{-D}, with its eigendecompositions; None where the problem is
            not linear regression.
    """

    problem: Problem
    theta0: Float[Array, " d"]
    s: float
    T: float
    bounds: tuple[float, float]
    target: Float[Array, " d"]
    theta_s: Float[Array, " d"]
    theta_s_error: float
    cost: AbstractCost
    budget: float = np.inf
    price: float = 0.0
    linear: LinearTask | None = None

    @property
    def initial(self) -> float:
        """The cost of θ(s): what doing nothing at all would leave."""
        return float(cost_and_gradient(self.cost, self.problem.risk, self.theta_s, self.target)[0])

    @property
    def priced(self) -> bool:
        """Whether ∫|ε| dt matters."""
        return self.price > 0.0 or self.budget < np.inf


def make_task(
    problem: Problem,
    theta0: object,
    *,
    s: float,
    T: float,
    bounds: tuple[float, float] = (0.0, 1.0),
    target: object | None = None,
    cost: AbstractCost | None = None,
    budget: float | None = None,
    price: float = 0.0,
) -> ControlTask:
    """Check the question once, and train up to s.

    Raises:
        InputError: no deleted point; s < 0, T ≤ s or reversed bounds; θ0 of the wrong length; a cost that does not fit;
            no unique leave-out optimum, or one out of reach, and no `target`; a budget that no admissible ε meets; a
            negative price.
        ConvergenceError: the leave-out optimum or the flow up to s did not converge.
    """
    s, T, bounds = check_window(s, T, bounds)
    if problem.delete.size == 0:
        raise InputError("the problem deletes no point, so there is nothing to unlearn: make it with delete=[index].")
    start, cost = problem.parameters(theta0, "theta0"), cost or Distance()
    given = None if target is None else problem.parameters(target, "target")
    if not isinstance(cost, AbstractCost):
        raise InputError(f"cost is {cost!r}; pass Distance(), QuadraticForm(W), PredictionGap(x) or RetainedLoss().")
    cost.check(problem, given)
    limit, price = check_effort(budget, price, T - s, bounds), as_scalar(price, "price")
    goal = _leave_out_optimum(problem, start, cost) if given is None else given
    window, linear = Window(s, T, *bounds), None
    if isinstance(problem.risk, Quadratic):
        linear = linear_task(problem.risk, start, window=window, target=goal, cost=cost, price=price)
    theta_s, error = (start, 0.0) if s == 0.0 else _trained(problem, start, s, linear)
    return ControlTask(
        problem=problem,
        theta0=start,
        s=s,
        T=T,
        bounds=bounds,
        target=goal,
        theta_s=theta_s,
        theta_s_error=error,
        cost=cost,
        budget=limit,
        price=price,
        linear=linear,
    )


def _trained(
    problem: Problem, theta0: Float[Array, " d"], s: float, linear: LinearTask | None
) -> tuple[Float[Array, " d"], float]:
    """θ(s) and its error."""
    if linear is None:
        training = gradient_flow(problem, Constant(1.0), theta0, ts=np.array([s]))
        return training.end, float(training.error)
    theta_s = linear.theta(linear.start)
    size = float(max(np.abs(theta_s).max(), np.abs(np.asarray(theta0)).max()))
    return theta_s, _rounding(linear, s, size)


def _rounding(linear: LinearTask, time: float, size: float) -> float:
    """First order: eigenvalues carry an error of d·u·μ_max, which acts for a time."""
    rate = float(linear.rates[-1] + max(map(abs, (1.0, *linear.bounds))) * np.sum(linear.rows**2))
    return len(linear.target) * np.finfo(np.float64).eps * (1.0 + rate * time) * float(size)


def _leave_out_optimum(problem: Problem, theta0: Array, cost: AbstractCost) -> Array:
    free = problem.undetermined_direction()
    if free is not None and _sees(cost, problem):
        raise InputError(
            "the leave-out optimum is not unique: the retained points leave the direction "
            f"({free}) undetermined, so 'the distance to it' has no meaning. Give l2 > 0, or the target that you want, "
            "or a cost that does not see that direction, such as RetainedLoss()."
        )
    if isinstance(problem.risk, Quadratic):
        return minimum(problem, np.zeros(()), np.asarray(theta0)).theta
    if problem.dim > DENSE_LIMIT:
        raise InputError(
            f"the leave-out optimum of {problem.dim} parameters is out of reach: certifying it takes a dense Hessian "
            f"(limit {DENSE_LIMIT}). Give a target, for instance what retraining from the same start gives at T: "
            "gradient_flow(problem, Constant(0.0), theta0, ts=[T]).end."
        )
    return jnp.asarray(equilibrium(problem, eps=0.0, theta0=theta0).theta)


def _sees(cost: AbstractCost, problem: Problem) -> bool:
    """Whether the cost changes along ker H_{-D}."""
    risk = problem.risk
    assert isinstance(risk, Quadratic)  # only linear regression knows an undetermined direction
    rates, vectors, kernel = (
        np.asarray(a) for a in (risk.retained.values, risk.retained.vectors, risk.retained.kernel)
    )
    along = cost.form(rates[kernel], vectors[:, kernel]).norm
    return along > 1e-10 * cost.form(rates, vectors).norm


def linear_of(task: ControlTask) -> LinearTask:
    """The task in the eigenbasis.

    Raises:
        InputError: the problem is not linear regression.
    """
    if task.linear is None:
        raise InputError(
            f"{type(task.problem.model).__name__} with {type(task.problem.loss).__name__} is not linear regression: "
            "exact propagators, and the certificates that rest on them, exist for linear regression only."
        )
    return task.linear


class Simulation(NamedTuple):
    """What a schedule really costs, by the flow room.

    Attributes:
        cost: of θ(T), without the price of ∫|ε| dt.
        error: bound on the error of `cost`, from the flow's own error estimate.
    """

    cost: float
    error: float


def simulate(task: ControlTask, schedule: AbstractSchedule) -> Simulation:
    """The cost of a schedule: near rounding for linear regression, by diffrax otherwise.

    An error e in every coordinate of θ(T) changes the cost by at most ‖∇cost‖e√d, and ½‖W‖e²d for linear regression
    (where it is quadratic). The error in θ(s) is added to e as it stands: a convex risk contracts it, another one might
    not. Linear regression under a piecewise-constant schedule is simulated from θ(0), so that nothing is used again of
    how the schedule was found. From 64 parameters on it is propagated by rank-one updates of one eigendecomposition
    instead; the flow room would make one per level.
    """
    problem, ts = task.problem, np.array([task.T])
    if task.linear is not None and not isinstance(schedule, AbstractPiecewiseConstant):
        return _decayed(task, task.linear, schedule)
    if task.linear is not None and isinstance(schedule, AbstractPiecewiseConstant):
        if problem.dim < SECULAR:
            path = gradient_flow(problem, schedule, task.theta0, ts=ts)
            end, error = path.end, float(path.error)
        else:
            end, error = _propagate(task, schedule)
    else:
        path = gradient_flow(problem, schedule, task.theta_s, t0=task.s, ts=ts)
        end, error = path.end, float(path.error) + task.theta_s_error
    cost, slope = cost_and_gradient(task.cost, problem.risk, end, task.target)
    curvature = 1.0 if task.linear is None else task.linear.form.norm**2
    bound = float(np.linalg.norm(slope)) * error * problem.dim**0.5 + 0.5 * curvature * error**2 * problem.dim
    return Simulation(float(cost), bound)


def _decayed(task: ControlTask, linear: LinearTask, schedule: AbstractSchedule) -> Simulation:
    """The cost of a decay, by panels in the eigenbasis; its error bounds those of the flow, of θ(s) and of H_{-D}."""
    ends = member_ends(linear, Members.of([schedule]))
    delta, size = ends.states[0], float(ends.sizes[0])
    error = (
        float(ends.errors[0]) + _rounding(linear, task.T - task.s, size) + task.theta_s_error * task.problem.dim**0.5
    )
    slope, curvature = float(np.linalg.norm(linear.form.gradient(delta))), linear.form.norm**2
    return Simulation(linear.form.value(delta), slope * error + 0.5 * curvature * error**2)


def _propagate(task: ControlTask, schedule: AbstractPiecewiseConstant) -> tuple[Array, float]:
    """θ(T) and its error, by the propagators of the linear task."""
    linear = linear_of(task)
    knots, levels = arcs_of(schedule, task.s, task.T)
    delta, largest = linear.start, float(np.abs(linear.start).max())
    for level, duration in zip(levels, np.diff(knots), strict=True):
        delta = advance(linear.spectrum(level), delta, np.array([duration]))[0]
        largest = max(largest, float(np.abs(delta).max()))
    return linear.theta(delta), _rounding(linear, task.T - task.s, largest) + task.theta_s_error


def effort_of(task: ControlTask, schedule: AbstractSchedule) -> float:
    """∫|ε| dt over (s, T), summed over the components of ε; exact for piecewise-constant schedules."""
    return float(efforts(Members.of([schedule]), task.s, task.T)[0])
