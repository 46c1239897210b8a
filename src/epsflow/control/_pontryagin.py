"""Pontryagin's conditions along any schedule: costate, switching function, Hamiltonian, and how far they fail.

ṗ = ∇²R_u(θ) p, p(T) = ∇cost(θ(T)), which is θ(T) − target for the distance;  S_j = ∂𝓔/∂u_j(t) = −pᵀg_j(θ);  𝓗 = pᵀθ̇.
An optimal u_j is ε_max where S_j < 0 and ε_min where S_j > 0, and 𝓗 is constant. With a price ρ on ∫|ε| dt, u_j
minimises S_j v + ρ|v|, and 𝓗 + ρ|u| is constant. One sign throughout the room: S < 0 means that a larger ε lowers the
cost. Under a piecewise-constant schedule linear regression is exact (`linear._path`), and other models take explicit
steps (`systems._swept_path`); smooth schedules and stiff flows are two diffrax solves (`systems._dense_path`). Of
gradient descent the costates are those of its steps, and S_k = ∂𝓔/∂ε_k (`systems._step_path`).
"""

from functools import partial

import numpy as np
from jaxtyping import Float

from ..problem import Problem, Quadratic
from ..schedules import AbstractPiecewiseConstant, AbstractSchedule, check_admissible
from ._simulate import training_error
from ._task import ControlTask, linear_of, make_task, mesh_of, training_of
from ._trainings import INTERVALS, recipes_of
from .linear._path import linear_extremal
from .linear._smooth_path import smooth_extremal
from .systems._system import DENSE_NUMBERS, RiskSystem
from .terms._cost import AbstractCost
from .terms._extremal import Extremal
from .terms._levels import arcs_of, in_numbers, step_weights

DENSE_DIM = DENSE_NUMBERS // (16 * 512)
"""Parameters beyond which the interpolants of θ and p over 512 steps take too much memory."""

MIDDLES = 128
"""Intervals at whose middle a smooth schedule is then read."""


def extremal(
    problem: Problem,
    schedule: AbstractSchedule,
    theta0: object,
    *,
    s: float | int,
    T: float | int,
    bounds: tuple[float, float] = (0.0, 1.0),
    target: object | None = None,
    cost: AbstractCost | None = None,
    price: float = 0.0,
    step_size: float | None = None,
    momentum: float = 0.0,
    optimiser: object | None = None,
    batch: int | None = None,
    key: object | None = None,
    held_out: object | None = None,
    dtype: str | None = None,
    intervals: int = INTERVALS,
) -> Extremal:
    """The costate of a schedule and the figures that Pontryagin's principle asks for.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.extremal(problem, ef.Step(2.0), np.zeros(10), s=2.0, T=20.0)
        Extremal(cost=0.1579, pmp_gap=0, hamiltonian_drift=..., zeros=0)

    Args:
        problem: what is trained, and which points are deleted.
        schedule: ε(t), in E_s.
        theta0: θ(0), shape (d,).
        s, T: the window in which ε is free.
        bounds: least and largest ε there.
        target: where θ(T) should be, shape (d,). Default: the leave-out optimum, or with an optimiser the retrained
            θ(T).
        cost: of θ(T), zero at the target. Default: the distance ½‖θ(T) − target‖².
        price: ρ ≥ 0, of ∫|ε| dt.
        step_size, momentum: of gradient descent in place of the flow, as in `optimal_schedule`.
        optimiser, batch, key, held_out, dtype: of training with an optimiser in place of the flow, as in
            `optimal_schedule`.
        intervals: with an optimiser, of the mesh on which Pontryagin's conditions are asked for.

    Raises:
        InputError: a schedule outside E_s, or a question that makes no sense (see `make_task`).
        ConvergenceError: diffrax failed, forward or backward.
    """
    question = {"s": s, "T": T, "bounds": bounds, "target": target, "cost": cost, "price": price}
    recipes = recipes_of(optimiser, batch, key, held_out, dtype, intervals)
    task = make_task(problem, theta0, **question, step_size=step_size, momentum=momentum, recipes=recipes)
    check_admissible(schedule, task.s, task.T, task.bounds)
    return extremal_of(task, schedule, task.price)


def extremal_of(task: ControlTask, schedule: AbstractSchedule, multiplier: float) -> Extremal:
    """The extremal of a schedule at a price of ∫|ε| dt; the eigendecompositions of the task are used again."""
    risk = task.problem.risk
    if task.in_steps:
        return _in_steps(task, schedule, multiplier)
    if isinstance(risk, Quadratic):
        linear = linear_of(task).at_price(multiplier)
        if isinstance(schedule, AbstractPiecewiseConstant):
            return linear_extremal(linear, *arcs_of(schedule, task.s, task.T))
        return smooth_extremal(linear, schedule)
    from ..flow._diffrax import is_stiff, sizes_of  # compiles, as all of the rest does

    constant, large = isinstance(schedule, AbstractPiecewiseConstant), task.problem.dim > DENSE_DIM
    if large or (constant and not is_stiff(sizes_of(risk, task.theta_s), task.T - task.s)):
        from .systems._swept_path import swept_extremal

        knots, levels = in_numbers(schedule, task.s, task.T, MIDDLES)
        system = RiskSystem(risk, task.target, levels.ndim == 1, task.cost)
        return swept_extremal(system, knots, levels, task.theta_s, task.bounds, multiplier)
    from .systems._dense_path import general_extremal

    window = task.s, task.T, task.bounds
    return general_extremal(risk, schedule, task.theta0, *window, task.target, task.cost, multiplier)


def cells_of(task: ControlTask, schedule: AbstractSchedule) -> Float[np.ndarray, " knots"]:
    """The intervals on which a schedule in steps is judged: those of the mesh, cut at the steps in which it jumps."""
    if not isinstance(schedule, AbstractPiecewiseConstant):
        return mesh_of(task)
    jumps = arcs_of(schedule, task.s, task.T)[0]
    return np.unique(np.concatenate([mesh_of(task), np.floor(jumps), np.ceil(jumps)]))


def _in_steps(task: ControlTask, schedule: AbstractSchedule, multiplier: float) -> Extremal:
    from .systems._step_path import step_extremal

    weights, training = step_weights(schedule, task.s, task.T), training_of(task)
    slopes = training.slopes(weights)
    given = slopes.weights, weights, cells_of(task, schedule), task.bounds, partial(training.before, weights)
    return step_extremal(*given, cost=slopes.cost, error=training_error(task, weights, slopes), price=multiplier)
