"""Gradient descent in the coordinates of the problem, for any model: its iterates, and their cost by the weights.

    v_{k+1} = βv_k − η∇R_{ε_k}(θ_k),    θ_{k+1} = θ_k + v_{k+1}.

Linear regression runs in NumPy; other models compile one scan for each number of steps.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..._core import Array
from ...problem import AbstractRisk, Quadratic
from ..terms._cost import AbstractCost, cost_and_gradient

UNIT = np.finfo(np.float64).eps


class Iterates(NamedTuple):
    """What gradient descent went through.

    Attributes:
        thetas: θ_0 to θ_N, shape (N+1, d).
        velocity: v_N, shape (d,).
        rounding: estimate of the ‖·‖∞ error of θ_N: every step rounds, and none amplifies.
    """

    thetas: Float[np.ndarray, "iterates d"]
    velocity: Float[np.ndarray, " d"]
    rounding: float


class Slopes(NamedTuple):
    """A cost of θ_N, and its derivatives.

    Attributes:
        cost: of θ_N.
        weights: by ε_k, in the shape of the weights.
        thetas: by θ_0 to θ_N, the costates, shape (N+1, d).
    """

    cost: float
    weights: Float[np.ndarray, "N *columns"]
    thetas: Float[np.ndarray, "iterates d"]


def run_steps(
    risk: AbstractRisk,
    theta: Float[Array, " d"],
    velocity: Float[Array, " d"],
    weights: Float[np.ndarray, "N *columns"],
    size: float,
    momentum: float,
) -> Iterates:
    """The iterates from θ_0 and v_0, with one weight for all deleted points or one each."""
    columns = weights if weights.ndim == 1 or weights.shape[1] > 1 else weights[:, 0]
    if isinstance(risk, Quadratic):
        thetas, end = _quadratic(risk, np.asarray(theta), np.asarray(velocity), columns, size, momentum)
    else:
        thetas, end = (np.asarray(part) for part in _scanned(risk, theta, velocity, columns, size, momentum))
    amplified = len(weights) / (1.0 - momentum)
    return Iterates(thetas, end, UNIT * thetas.shape[1] * (1.0 + amplified) * float(np.abs(thetas).max()))


def _quadratic(
    risk: Quadratic, theta: np.ndarray, velocity: np.ndarray, weights: np.ndarray, size: float, momentum: float
) -> tuple[np.ndarray, np.ndarray]:
    h, b = size * np.asarray(risk.h_retained), size * np.asarray(risk.b_retained)
    x, y = np.asarray(risk.x_deleted), np.asarray(risk.y_deleted)
    thetas, scale = np.empty((len(weights) + 1, len(theta))), size * float(risk.scale)
    thetas[0] = theta
    for k, weight in enumerate(weights):
        pull = (scale * weight * (x @ theta - y)) @ x
        velocity = momentum * velocity - (h @ theta - b) - pull
        theta = theta + velocity
        thetas[k + 1] = theta
    return thetas, velocity


def _quadratic_slopes(
    risk: Quadratic, path: np.ndarray, slope: np.ndarray, weights: np.ndarray, size: float, momentum: float
) -> Slopes:
    """Backward from p_N = ∇cost: y = p_{k+1} + q_{k+1}, p_k = p_{k+1} − ηH_{ε_k}y, q_k = βy."""
    h, x, scale = size * np.asarray(risk.h_retained), np.asarray(risk.x_deleted), size * float(risk.scale)
    residuals = path[:-1] @ x.T - np.asarray(risk.y_deleted)
    costates, pulls = np.empty_like(path), np.empty_like(residuals)
    p, q = slope, np.zeros_like(slope)
    costates[-1] = p
    for k in range(len(weights) - 1, -1, -1):
        y = p + q
        pulls[k] = pull = scale * (x @ y)
        p, q = p - h @ y - (weights[k] * pull) @ x, momentum * y
        costates[k] = p
    by_point = -pulls * residuals
    return Slopes(0.0, by_point if weights.ndim == 2 else by_point.sum(axis=1), costates)


@eqx.filter_jit
def _scanned(
    risk: AbstractRisk, theta: Array, velocity: Array, weights: Array, size: float, momentum: float
) -> tuple[Array, Array]:
    def step(state: tuple[Array, Array], weight: Array) -> tuple[tuple[Array, Array], Array]:
        theta, velocity = state
        velocity = momentum * velocity - size * risk.gradient(theta, weight)
        theta = theta + velocity
        return (theta, velocity), theta

    start = jnp.asarray(theta), jnp.asarray(velocity)
    (_, end), thetas = jax.lax.scan(step, start, jnp.asarray(weights))
    return jnp.concatenate([start[0][None], thetas]), end


def cost_slopes(
    risk: AbstractRisk,
    cost: AbstractCost,
    target: Float[Array, " d"],
    theta: Float[Array, " d"],
    velocity: Float[Array, " d"],
    weights: Float[np.ndarray, "N *columns"],
    size: float,
    momentum: float,
) -> Slopes:
    """The cost of θ_N and its derivatives, by reverse mode through the steps."""
    if isinstance(risk, Quadratic):
        path = _quadratic(risk, np.asarray(theta), np.asarray(velocity), weights, size, momentum)[0]
        value, slope = cost_and_gradient(cost, risk, path[-1], target)
        return _quadratic_slopes(risk, path, slope, weights, size, momentum)._replace(cost=value)
    value, (by_weights, bumps) = _slopes(
        risk, cost, target, jnp.asarray(theta), jnp.asarray(velocity), jnp.asarray(weights), size, momentum
    )
    return Slopes(float(value), np.asarray(by_weights), np.asarray(bumps))


@eqx.filter_jit
def _slopes(
    risk: AbstractRisk,
    cost: AbstractCost,
    target: Array,
    theta: Array,
    velocity: Array,
    weights: Array,
    size: float,
    momentum: float,
) -> tuple[Array, tuple[Array, Array]]:
    def end(weights: Array, bumps: Array) -> Array:
        def step(state: tuple[Array, Array], given: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
            (theta, velocity), (weight, bump) = state, given
            theta = theta + bump
            velocity = momentum * velocity - size * risk.gradient(theta, weight)
            return (theta + velocity, velocity), None

        last = jax.lax.scan(step, (theta, velocity), (weights, bumps[:-1]))[0][0] + bumps[-1]
        return cost.value(risk, last, target)

    bumps = jnp.zeros((weights.shape[0] + 1, theta.shape[0]))
    return jax.value_and_grad(end, argnums=(0, 1))(weights, bumps)


def costs_of_steps(
    risk: AbstractRisk,
    cost: AbstractCost,
    target: Float[Array, " d"],
    theta: Float[Array, " d"],
    velocity: Float[Array, " d"],
    weights: Float[np.ndarray, "k N columns"],
    size: float,
    momentum: float,
) -> Float[np.ndarray, " k"]:
    """The cost of θ_N under each of k rows of weights; infinite where it is not finite."""
    if isinstance(risk, Quadratic):
        ends = _quadratic_ends(risk, np.asarray(theta), np.asarray(velocity), weights, size, momentum)
        costs = np.array([float(cost.value(risk, end, np.asarray(target))) for end in ends])
    else:
        columns = weights if weights.shape[2] > 1 else weights[:, :, 0]
        costs = np.asarray(_many(risk, cost, target, theta, velocity, columns, size, momentum))
    return np.where(np.isfinite(costs), costs, np.inf)


def _quadratic_ends(
    risk: Quadratic, theta: np.ndarray, velocity: np.ndarray, weights: np.ndarray, size: float, momentum: float
) -> Float[np.ndarray, "k d"]:
    h, b = size * np.asarray(risk.h_retained), size * np.asarray(risk.b_retained)
    x, y, scale = np.asarray(risk.x_deleted), np.asarray(risk.y_deleted), size * float(risk.scale)
    thetas, velocities = (np.tile(part, (len(weights), 1)) for part in (theta, velocity))
    for k in range(weights.shape[1]):
        pulls = scale * weights[:, k] * (thetas @ x.T - y)
        velocities = momentum * velocities - (thetas @ h - b) - pulls @ x
        thetas = thetas + velocities
    return thetas


@eqx.filter_jit
def _many(
    risk: AbstractRisk,
    cost: AbstractCost,
    target: Array,
    theta: Array,
    velocity: Array,
    weights: Array,
    size: float,
    momentum: float,
) -> Float[Array, " k"]:
    def one(row: Array) -> Array:
        return cost.value(risk, _scanned(risk, theta, velocity, row, size, momentum)[0][-1], target)

    return jax.vmap(one)(jnp.asarray(weights))
