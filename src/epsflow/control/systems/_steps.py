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
from ...flow import StepSlopes
from ...problem import AbstractRisk, Quadratic
from ..terms._cost import AbstractCost, cost_and_gradient
from ..terms._extremal import Point
from ..terms._levels import as_column
from ._ensemble import AbstractSteps, MeanSlopes

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


class HeavyBall(eqx.Module):
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
        columns = _shared(weights)
        if isinstance(self.risk, Quadratic):
            rows = self.steps(self.risk, np.asarray(self.theta), np.asarray(self.velocity), columns)
            each, velocities = zip(*rows, strict=True)
            thetas, end = np.array(each), velocities[-1]
        else:
            thetas, end = (np.asarray(part) for part in _walked(self, columns))
        amplified = len(weights) / (1.0 - self.momentum)
        return Iterates(thetas, end, UNIT * thetas.shape[1] * (1.0 + amplified) * float(np.abs(thetas).max()))

    # ---- linear regression --------------------------------------------------------------------------------------

    def steps(
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

    def pulled_back(
        self, risk: Quadratic, path: np.ndarray, slope: np.ndarray, weights: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """By ε, and costates: from p_N = ∇cost backward, y = p_{k+1} + q_{k+1}, p_k = p_{k+1} − ηH_{ε_k}y, q_k = βy."""
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
        return by_point if weights.ndim == 2 else by_point.sum(axis=1), costates


@dataclass(frozen=True, eq=False)
class GradientSteps(AbstractSteps):
    """Gradient descent as training of one seed.

    Attributes:
        ball: the iteration.
        cost, target: of θ_N.
    """

    ball: HeavyBall
    cost: AbstractCost
    target: Float[Array, " d"]

    def path(self, weights: Float[np.ndarray, "N *columns"]) -> StepSlopes:
        """The cost of θ_N and its derivatives by reverse mode through the steps; with every θ and costate."""
        ball, columns = self.ball, _shared(weights)
        if isinstance(ball.risk, Quadratic):
            thetas = ball.run(columns).thetas
            value, slope = cost_and_gradient(self.cost, ball.risk, thetas[-1], self.target)
            by_weights, costates = ball.pulled_back(ball.risk, thetas, slope, columns)
        else:
            found = _differentiated(ball, self.cost, self.target, columns)
            (value, thetas), (by_weights, costates) = jax.tree.map(np.asarray, found)
        return StepSlopes(
            value=float(value),
            weights=by_weights.reshape(weights.shape),
            rounding=float(UNIT * len(weights) * abs(value)),
            thetas=thetas,
            costates=costates,
        )

    def slopes(self, weights: Float[np.ndarray, "N columns"]) -> MeanSlopes:
        """See `AbstractSteps`."""
        found = self.path(weights)
        return MeanSlopes(np.array([found.value]), found.weights, found.rounding)

    def before(self, weights: Float[np.ndarray, "N columns"], asked: tuple[int, ...]) -> Point:
        """See `AbstractSteps`."""
        found = self.path(weights)
        return Point(found.thetas[list(asked)], found.costates[list(asked)])

    def costs(self, weights: Float[np.ndarray, "N columns"]) -> Float[np.ndarray, " k"]:
        """See `AbstractSteps`."""
        return self.slopes(weights).costs  # what is compiled already

    def many(self, weights: Float[np.ndarray, "k N columns"]) -> Float[np.ndarray, " k"]:
        """The cost under each of k rows of weights; infinite where it is not finite."""
        ball, cost, target = self.ball, self.cost, self.target
        if isinstance(ball.risk, Quadratic):
            theta, velocity = (np.tile(np.asarray(part), (len(weights), 1)) for part in (ball.theta, ball.velocity))
            ends, _ = deque(ball.steps(ball.risk, theta, velocity, np.swapaxes(weights, 0, 1)), maxlen=1)[0]
            costs = np.array([float(cost.value(ball.risk, end, np.asarray(target))) for end in ends])
        else:
            costs = np.asarray(_many(ball, cost, target, weights if weights.shape[2] > 1 else weights[:, :, 0]))
        return np.where(np.isfinite(costs), costs, np.inf)


def _shared(weights: Float[np.ndarray, "N *columns"]) -> Float[np.ndarray, "N *m"]:
    return weights if weights.ndim == 1 else as_column(weights)


# ---- any other model --------------------------------------------------------------------------------------------


def _walk(
    ball: HeavyBall, weights: Array, bumps: Array | float = 0.0
) -> tuple[Float[Array, "iterates d"], Float[Array, " d"]]:
    """θ_0 to θ_N, each moved by its bump as it is reached, and v_N."""

    def step(state: tuple[Array, Array], given: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
        (theta, velocity), (weight, bump) = state, given
        theta = theta + bump
        velocity = ball.momentum * velocity - ball.size * ball.risk.gradient(theta, weight)
        return (theta + velocity, velocity), theta

    start = jnp.asarray(ball.theta), jnp.asarray(ball.velocity)
    moves = jnp.broadcast_to(bumps, (len(weights) + 1, len(start[0])))
    (last, velocity), thetas = jax.lax.scan(step, start, (jnp.asarray(weights), moves[:-1]))
    return jnp.concatenate([thetas, (last + moves[-1])[None]]), velocity


_walked = eqx.filter_jit(_walk)


@eqx.filter_jit
def _differentiated(
    ball: HeavyBall, cost: AbstractCost, target: Array, weights: Array
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """The cost and all θ, and the derivatives of the cost by the weights and by bumps: the costates."""

    def end(weights: Array, bumps: Array) -> tuple[Array, Array]:
        thetas = _walk(ball, weights, bumps)[0]
        return cost.value(ball.risk, thetas[-1], target), thetas

    bumps = jnp.zeros((len(weights) + 1, len(ball.theta)))
    return jax.value_and_grad(end, argnums=(0, 1), has_aux=True)(jnp.asarray(weights), bumps)


@eqx.filter_jit
def _many(ball: HeavyBall, cost: AbstractCost, target: Array, weights: Array) -> Float[Array, " k"]:
    return jax.vmap(lambda row: cost.value(ball.risk, _walk(ball, row)[0][-1], target))(jnp.asarray(weights))
