"""What a schedule really costs, by the flow room or step by step: nothing is used of how it was found."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from ..flow import exact_flow, gradient_flow
from ..problem import Quadratic
from ..schedules import AbstractPiecewiseConstant, AbstractSchedule, Members
from ._descent import from_rest
from ._task import ControlTask, rounding_of
from .linear._decays import member_ends
from .linear._pencil import SECULAR
from .linear._task import LinearTask
from .systems._ensemble import MeanSlopes
from .terms._cost import cost_and_gradient
from .terms._levels import efforts, step_weights, step_weights_of
from .terms._seeds import SeedCosts


class Simulation(NamedTuple):
    """What a schedule really costs, by the flow room.

    Attributes:
        cost: of θ(T), without the price of ∫|ε| dt.
        error: bound on the error of `cost`, from the flow's own error estimate and that of the target.
    """

    cost: float
    error: float


def simulate(task: ControlTask, schedule: AbstractSchedule) -> Simulation:
    """The cost of a schedule: near rounding for linear regression, by diffrax otherwise.

    An error e in every coordinate of θ(T), and one of e' in the target, change the cost by at most ‖∇cost‖(e√d + e'),
    and ½‖W‖(e√d + e')² for linear regression (where it is quadratic). The error in θ(s) is added to e as it stands: a
    convex risk contracts it, another one might not. Linear regression under a piecewise-constant schedule is simulated
    from θ(0), so that nothing is used again of how the schedule was found. From 64 parameters on it is propagated by
    rank-one updates of one eigendecomposition instead; the flow room would make one per level.
    """
    problem, ts = task.problem, np.array([task.T])
    if task.trainings is not None:
        weights = step_weights(schedule, task.s, task.T)
        found = task.trainings.seeds.slopes(weights)
        return Simulation(found.cost, training_error(task, weights, found))
    whole = isinstance(schedule, AbstractPiecewiseConstant) and problem.dim < SECULAR
    if task.linear is not None and task.step_size is None and not whole:
        return _from_s(task, task.linear, schedule)
    if task.step_size is not None:
        weights = step_weights(schedule, task.s, task.T)
        whole = np.concatenate([np.ones((round(task.s), weights.shape[1])), weights])
        path = from_rest(problem, task.theta0, task.step_size, task.momentum).run(whole)
        end, error = path.thetas[-1], path.rounding
    elif isinstance(schedule, AbstractPiecewiseConstant) and isinstance(problem.risk, Quadratic):
        flow = exact_flow(problem.risk, schedule, np.asarray(task.theta0), np.asarray(0.0))
        thetas = flow.at(ts)
        end, error = thetas[-1], float(flow.rounding(ts, thetas))
    else:
        path = gradient_flow(problem, schedule, task.theta_s, t0=task.s, ts=ts)
        end, error = path.end, float(path.error) + task.theta_s_error
    cost, slope = cost_and_gradient(task.cost, problem.risk, end, task.target)
    curvature = 1.0 if task.linear is None else task.linear.form.norm**2
    off = error * problem.dim**0.5 + task.target_error
    return Simulation(float(cost), float(np.linalg.norm(slope) * off + 0.5 * curvature * off**2))


def training_error(task: ControlTask, weights: np.ndarray, found: MeanSlopes) -> float:
    """Of a mean cost: what rounding does to it to first order; in single precision, how far it is from double's too."""
    if task.trainings is None or task.trainings.exact is None:
        return found.rounding
    with jax.enable_x64(True):
        exact = float(task.trainings.exact.costs(weights).mean())
    return found.rounding + abs(found.cost - exact)


def seed_costs(task: ControlTask, schedule: AbstractSchedule) -> SeedCosts | None:
    """The cost of every seed, chosen for and held out; None without an optimiser."""
    if task.trainings is None:
        return None
    weights, held_out = step_weights(schedule, task.s, task.T), task.trainings.held_out
    return SeedCosts(task.trainings.seeds.costs(weights), np.empty(0) if held_out is None else held_out.costs(weights))


def _from_s(task: ControlTask, linear: LinearTask, schedule: AbstractSchedule) -> Simulation:
    """From θ(s) in the eigenbasis, arcs by spectra and decays by panels; with the errors of θ(s) and of H_{-D}."""
    ends = member_ends(linear, Members.of([schedule]))
    delta, size = ends.states[0], float(ends.sizes[0])
    error = (
        float(ends.errors[0]) + rounding_of(linear, task.T - task.s, size) + task.theta_s_error * task.problem.dim**0.5
    )
    slope, curvature = float(np.linalg.norm(linear.form.gradient(delta))), linear.form.norm**2
    error += task.target_error
    return Simulation(linear.form.value(delta), slope * error + 0.5 * curvature * error**2)


def effort_of(task: ControlTask, schedule: AbstractSchedule) -> float:
    """∫|ε| dt over (s, T), summed over the components of ε; exact for piecewise-constant schedules.

    In steps, of which each has the mean of ε, the sum of these.
    """
    return float(efforts_of(task, Members.of([schedule]))[0])


def efforts_of(task: ControlTask, members: Members) -> Float[np.ndarray, " k"]:
    """`effort_of` each member."""
    if task.in_steps:
        return np.abs(step_weights_of(members, task.s, task.T)).sum(axis=(1, 2))
    return efforts(members, task.s, task.T)
