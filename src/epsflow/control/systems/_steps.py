"""Gradient descent in the coordinates of the problem, for any model: its iterates, and their cost by the weights.

    v_{k+1} = βv_k − η∇R_{ε_k}(θ_k),    θ_{k+1} = θ_k + v_{k+1}.

Linear regression runs in NumPy; other models compile one scan for each number of steps.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..._core import Array
from ...problem import AbstractRisk, Quadratic
from ..terms._cost import AbstractCost, cost_and_gradient
from ..terms._levels import as_column

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


@dataclass(frozen=True, eq=False)
class HeavyBall:
    """Gradient descent of one problem, with momentum, from one state.

    Attributes:
        risk: R_ε.
        theta, velocity: θ_0 and v_0, shape (d,).
        size, momentum: η and β.
    """

    risk: AbstractRisk
    theta: Float[Array, " d"]
    velocity: Float[Array, " d"]
    size: float
    momentum: float

    def run(self, weights: Float[np.ndarray, "N *columns"]) -> Iterates:
        """The iterates, with one weight for all deleted points or one each."""
        columns = weights if weights.ndim == 1 else as_column(weights)
        if isinstance(self.risk, Quadratic):
            thetas, end = self._path(self.risk, columns)
        else:
            thetas, end = (np.asarray(part) for part in _scanned(*self._compiled, columns))
        amplified = len(weights) / (1.0 - self.momentum)
        return Iterates(thetas, end, UNIT * thetas.shape[1] * (1.0 + amplified) * float(np.abs(thetas).max()))

    def slopes(
        self, cost: AbstractCost, target: Float[Array, " d"], weights: Float[np.ndarray, "N *columns"]
    ) -> Slopes:
        """The cost of θ_N and its derivatives, by reverse mode through the steps."""
        if isinstance(self.risk, Quadratic):
            path = self._path(self.risk, weights)[0]
            value, slope = cost_and_gradient(cost, self.risk, path[-1], target)
            return self._pulled_back(self.risk, path, slope, weights)._replace(cost=value)
        value, (by_weights, bumps) = _slopes(*self._compiled, cost, target, jnp.asarray(weights))
        return Slopes(float(value), np.asarray(by_weights), np.asarray(bumps))

    def costs(
        self, cost: AbstractCost, target: Float[Array, " d"], weights: Float[np.ndarray, "k N columns"]
    ) -> Float[np.ndarray, " k"]:
        """The cost of θ_N under each of k rows of weights; infinite where it is not finite."""
        if isinstance(self.risk, Quadratic):
            theta, velocity = (np.tile(np.asarray(part), (len(weights), 1)) for part in (self.theta, self.velocity))
            ends, _ = deque(self._steps(self.risk, theta, velocity, np.swapaxes(weights, 0, 1)), maxlen=1)[0]
            costs = np.array([float(cost.value(self.risk, end, np.asarray(target))) for end in ends])
        else:
            columns = weights if weights.shape[2] > 1 else weights[:, :, 0]
            costs = np.asarray(_many(*self._compiled, cost, target, columns))
        return np.where(np.isfinite(costs), costs, np.inf)

    @property
    def _compiled(self) -> tuple[AbstractRisk, Array, Array, float, float]:
        """What the compiled functions take."""
        return self.risk, jnp.asarray(self.theta), jnp.asarray(self.velocity), self.size, self.momentum

    # ---- linear regression --------------------------------------------------------------------------------------

    def _steps(
        self, risk: Quadratic, theta: np.ndarray, velocity: np.ndarray, weights: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """θ and v before and after every step; of one start, or of several, each with a row of weights in each step."""
        h, b = self.size * np.asarray(risk.h_retained), self.size * np.asarray(risk.b_retained)
        x, y, scale = np.asarray(risk.x_deleted), np.asarray(risk.y_deleted), self.size * float(risk.scale)
        yield theta, velocity
        for weight in weights:
            pull = (scale * weight * (theta @ x.T - y)) @ x
            velocity = self.momentum * velocity - (theta @ h - b) - pull
            theta = theta + velocity
            yield theta, velocity

    def _path(self, risk: Quadratic, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """θ_0 to θ_N, and v_N."""
        start = np.asarray(self.theta), np.asarray(self.velocity)
        thetas, velocities = zip(*self._steps(risk, *start, weights), strict=True)
        return np.array(thetas), velocities[-1]

    def _pulled_back(self, risk: Quadratic, path: np.ndarray, slope: np.ndarray, weights: np.ndarray) -> Slopes:
        """Backward from p_N = ∇cost: y = p_{k+1} + q_{k+1}, p_k = p_{k+1} − ηH_{ε_k}y, q_k = βy."""
        h, x, scale = self.size * np.asarray(risk.h_retained), np.asarray(risk.x_deleted), self.size * float(risk.scale)
        residuals = path[:-1] @ x.T - np.asarray(risk.y_deleted)
        costates, pulls = np.empty_like(path), np.empty_like(residuals)
        p, q = slope, np.zeros_like(slope)
        costates[-1] = p
        for k in range(len(weights) - 1, -1, -1):
            y = p + q
            pulls[k] = pull = scale * (x @ y)
            p, q = p - h @ y - (weights[k] * pull) @ x, self.momentum * y
            costates[k] = p
        by_point = -pulls * residuals
        return Slopes(0.0, by_point if weights.ndim == 2 else by_point.sum(axis=1), costates)


@eqx.filter_jit
def _scanned(
    risk: AbstractRisk, theta: Array, velocity: Array, size: float, momentum: float, weights: Array
) -> tuple[Array, Array]:
    def step(state: tuple[Array, Array], weight: Array) -> tuple[tuple[Array, Array], Array]:
        theta, velocity = state
        velocity = momentum * velocity - size * risk.gradient(theta, weight)
        theta = theta + velocity
        return (theta, velocity), theta

    (_, end), thetas = jax.lax.scan(step, (theta, velocity), jnp.asarray(weights))
    return jnp.concatenate([theta[None], thetas]), end


@eqx.filter_jit
def _slopes(
    risk: AbstractRisk,
    theta: Array,
    velocity: Array,
    size: float,
    momentum: float,
    cost: AbstractCost,
    target: Array,
    weights: Array,
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


@eqx.filter_jit
def _many(
    risk: AbstractRisk,
    theta: Array,
    velocity: Array,
    size: float,
    momentum: float,
    cost: AbstractCost,
    target: Array,
    weights: Array,
) -> Float[Array, " k"]:
    def one(row: Array) -> Array:
        return cost.value(risk, _scanned(risk, theta, velocity, size, momentum, row)[0][-1], target)

    return jax.vmap(one)(jnp.asarray(weights))
