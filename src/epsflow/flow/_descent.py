"""Minima of risks that are not convex: SciPy descends around one compiled function, Newton takes the last digits."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

from .._core import Array, spelled
from ..problem import AbstractRisk

POLISHING = 256
"""Trial steps of the last digits, each with a dense Hessian."""

UNIT = np.finfo(np.float64).eps


class LocalMinimum(NamedTuple):
    """Where a search ended.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> found = ef.flow.polish(line.risk, np.array(0.0), np.zeros(1), target=1e-12)
        >>> found.theta, found.hessian
        (array([1.6]), array([[5.]]))

    Attributes:
        theta: θ, shape (d,).
        steps: accepted steps.
        gradient: ∇R_ε there, shape (d,).
        hessian: ∇²R_ε there, shape (d, d).
    """

    theta: Float[np.ndarray, " d"]
    steps: int
    gradient: Float[np.ndarray, " d"]
    hessian: Float[np.ndarray, "d d"]

    __repr__ = spelled


def descend(
    risk: AbstractRisk, weights: Float[np.ndarray, "*m"], start: Float[np.ndarray, " d"], target: float, max_steps: int
) -> LocalMinimum:
    """BFGS on R_ε towards a minimum, then `polish`.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> ef.flow.descend(line.risk, np.array(0.0), np.zeros(1), target=1e-12, max_steps=50).theta
        array([1.6])
    """

    def function(theta: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = value_and_gradient(risk, theta, weights)
        return float(value), np.asarray(gradient)

    # A gradient far below the first is Newton's to make smaller.
    options: dict[str, Any] = {"gtol": max(target, 1e-7 * np.abs(function(start)[1]).max()), "maxiter": max_steps}
    rough = minimize(function, start, jac=True, method="BFGS", options=options)
    end = polish(risk, weights, rough.x, target)
    return end._replace(steps=end.steps + int(rough.nit))


def polish(
    risk: AbstractRisk, weights: Float[np.ndarray, "*m"], start: Float[np.ndarray, " d"], target: float
) -> LocalMinimum:
    """Newton's method on ∇R_ε = 0 until ‖∇R_ε‖ ≤ target, kept from saddles by raising a Hessian that is not positive.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> ef.flow.polish(line.risk, np.array(0.0), np.zeros(1), target=1e-12).theta
        array([1.6])

    The last digits of a minimum are in its gradient, not in its value: near it a step counts if it shortens the
    gradient and leaves the value where it is up to rounding.
    """
    theta, shift, steps = start, 0.0, 0
    (value, gradient), hessian = _evaluate(risk, theta, weights), np.asarray(hessian_of(risk, theta, weights))
    for _ in range(POLISHING):
        met = np.linalg.norm(gradient) <= target
        values, axes = np.linalg.eigh(hessian)
        size = np.abs(values).max()
        if size == 0.0 or not np.isfinite(size):
            break
        floor = max(0.0, -1.1 * values[0], shift * size, len(values) * UNIT * size - values[0])
        move = -axes @ ((axes.T @ gradient) / (values + floor))
        trial = theta + move
        new_value, new_gradient = _evaluate(risk, trial, weights)
        noise = 100.0 * UNIT * (abs(value) + abs(new_value))
        shorter = np.linalg.norm(new_gradient) < np.linalg.norm(gradient)
        falls = new_value < value + 0.1 * (gradient @ move) * (1.0 if values[0] >= 0.0 else 0.0)
        if np.isfinite(new_value) and (falls or (new_value <= value + noise and shorter)):
            theta, value, gradient, steps = trial, new_value, new_gradient, steps + 1
            hessian, shift = np.asarray(hessian_of(risk, theta, weights)), 0.1 * shift if shift > 1e-12 else 0.0
        elif met or shift > 1e6:
            break
        else:
            shift = max(10.0 * shift, 1e-6)
        if met:  # this step took what was left of the error
            break
    return LocalMinimum(theta, steps, gradient, hessian)


def gradient_scale(risk: AbstractRisk, theta: Float[np.ndarray, " d"], weights: Float[np.ndarray, "*m"]) -> float:
    """What a gradient of R_ε is small beside: the larger of ‖∇R_ε‖ and ‖∇²R_ε‖‖θ‖ at a point, in their own units."""
    slope = np.asarray(value_and_gradient(risk, theta, weights)[1])
    curvature = float(np.linalg.norm(np.asarray(hessian_of(risk, theta, weights))))
    return max(float(np.linalg.norm(slope)), curvature * float(np.linalg.norm(theta)))


def _evaluate(risk: AbstractRisk, theta: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    value, gradient = value_and_gradient(risk, theta, weights)
    return float(value), np.asarray(gradient)


@eqx.filter_jit
def value_and_gradient(risk: AbstractRisk, theta: Array, weights: Array) -> tuple[Float[Array, ""], Float[Array, " d"]]:
    """R_ε and ∇R_ε.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> ef.flow.value_and_gradient(line.risk, np.zeros(1), np.array(0.0))
        (Array(6.5, dtype=float64), Array([-8.], dtype=float64))
    """
    return jax.value_and_grad(risk.value)(theta, weights)


@eqx.filter_jit
def hessian_of(risk: AbstractRisk, theta: Array, weights: Array) -> Float[Array, "d d"]:
    """∇²R_ε, symmetric to the last digit.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> ef.flow.hessian_of(line.risk, np.zeros(1), np.array(0.0))
        Array([[5.]], dtype=float64)
    """
    matrix = risk.hessian(theta, weights)
    return 0.5 * (matrix + matrix.T)
