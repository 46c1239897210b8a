"""Gradient descent where a task has a step size: what the size may be, training up to s, and the end of a schedule."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from .._core import Array, InputError, as_scalar
from ..problem import Problem
from .linear._task import LinearTask
from .steps._task import StepTask, check_step, trained
from .systems._steps import HeavyBall


class Descended(NamedTuple):
    """Where gradient descent is when the request arrives.

    Attributes:
        linear: the linear task with δ after s steps for its start; None for other models.
        theta: θ(s), shape (d,).
        velocity: v(s), shape (d,).
        error: estimate of the ‖·‖∞ error of `theta`.
    """

    linear: LinearTask | None
    theta: Float[Array, " d"]
    velocity: Float[Array, " d"]
    error: float


def as_step(step_size: object, momentum: object, s: float, T: float) -> tuple[float | None, float]:
    """η and β, for whole numbers of steps; None for the flow.

    Raises:
        InputError: naming the one that is wrong.
    """
    beta = as_scalar(momentum, "momentum")
    if not 0.0 <= beta < 1.0:
        raise InputError(f"momentum is {beta:g}; it must lie in [0, 1), or the iterates never settle.")
    if step_size is None:
        if beta > 0.0:
            raise InputError(f"momentum = {beta:g} belongs to gradient descent: give its step_size, too.")
        return None, 0.0
    size = as_scalar(step_size, "step_size")
    if size <= 0.0:
        raise InputError(f"step_size is {size:g}; a positive number is needed.")
    for name, value in (("s", s), ("T", T)):
        if value != round(value):
            raise InputError(f"with a step_size, s and T count steps: {name} = {value:g} is no whole number.")
    return size, beta


def descend(
    problem: Problem, theta0: Float[Array, " d"], s: int, linear: LinearTask | None, size: float, momentum: float
) -> Descended:
    """Train up to s with ε = 1.

    Raises:
        InputError: for linear regression, steps beyond the limit of stability.
    """
    if linear is None:
        path = from_rest(problem, theta0, size, momentum).run(np.ones(s))
        return Descended(None, path.thetas[-1], path.velocity, path.rounding if s else 0.0)
    stepped = restarted(linear, size, momentum)
    theta = stepped.linear.theta(stepped.linear.start) if s else theta0
    error = stepped.rounding(float(max(np.abs(theta).max(), np.abs(np.asarray(theta0)).max()))) if s else 0.0
    return Descended(stepped.linear, theta, linear.basis @ stepped.velocity, error)


def restarted(linear: LinearTask, size: float, momentum: float) -> StepTask:
    """The linear task in steps, with δ and v after s of them for its start.

    Raises:
        InputError: steps beyond the limit of stability.
    """
    check_step(linear, size, momentum)
    delta, velocity = trained(linear, size, momentum, round(linear.s))
    return StepTask(replace(linear, start=delta), size, momentum, velocity)


def from_rest(problem: Problem, theta0: Float[Array, " d"], size: float, momentum: float) -> HeavyBall:
    """Gradient descent from θ(0) in the coordinates of the problem, using nothing of how weights were found."""
    return HeavyBall(problem.risk, theta0, np.zeros(problem.dim), size, momentum)
