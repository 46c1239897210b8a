"""One step of an optimiser under ε(t), in the parts that its derivative needs; its batches and its state."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from ..._core import Array, InputError, as_array, as_count, brief
from ...flow import epoch_batches
from ...problem import EmpiricalRisk, Problem
from ...schedules import AbstractSchedule


class Repeated(eqx.Module):
    """What is repeated: one step of an optimiser under ε(t).

    Attributes:
        risk: the data.
        schedule: ε(t).
        optimiser: an optax transformation.
        eta: time per step.
        batches: the points of every step, shape (N, b); None for all points.
    """

    risk: EmpiricalRisk
    schedule: AbstractSchedule
    optimiser: Any
    eta: Float[Array, ""]
    batches: Int[Array, "steps b"] | None

    def points(self, k: Array) -> Int[Array, " b"] | None:
        """The batch of step k; None for all points."""
        return None if self.batches is None else self.batches[k]

    def rows(self, k: Array) -> "Rows":
        """What the gradient of step k sums over."""
        weights, points = self.risk.weights(self.schedule(self.eta * (k + 0.5))), self.points(k)
        if points is None:
            return Rows(self.risk.x, self.risk.y, weights, self.risk.scale)
        share = self.risk.x.shape[0] / points.shape[0]
        return Rows(self.risk.x[points], self.risk.y[points], share * weights[points], share * self.risk.scale)

    def losses(self, theta: Array, rows: "Rows") -> Float[Array, " b"]:
        """ℓ_i of the rows."""
        return jax.vmap(lambda x, y: self.risk.loss(self.risk.model(theta, x), y))(rows.x, rows.y)

    def gradient(self, theta: Array, rows: "Rows") -> tuple[Float[Array, " d"], Float[Array, " b"]]:
        """G_k(θ), and the losses by which it is found."""

        def weighted(t: Array) -> tuple[Array, Array]:
            losses = self.losses(t, rows)
            return rows.weights @ losses, losses

        gradient, losses = jax.grad(weighted, has_aux=True)(theta)
        return gradient + self.risk.l2 * theta, losses

    def update(self, theta: Array, state: Any, gradient: Array) -> tuple[Array, Any]:
        """U."""
        moves, state = self.optimiser.update(gradient, state, theta)
        return theta + moves, state

    def step(self, k: Array, carry: tuple[Array, Any]) -> tuple[Array, Any]:
        """(θ, z) after step k."""
        theta, state = carry
        return self.update(theta, state, self.gradient(theta, self.rows(k))[0])


class Rows(NamedTuple):
    """The points of one step, how they count, and what a unit of ε_j is worth: (n/b)c."""

    x: Array
    y: Array
    weights: Array
    unit: Array


def batches_of(problem: Problem, batch: Any, key: Any, count: int) -> Int[Array, "steps b"] | None:
    """The points of every step: those that were given, or those that `train_with` draws."""
    n = problem.data.n
    if batch is None:
        return None
    if np.ndim(batch) == 0:
        size = as_count(batch, "batch")
        if size > n:
            raise InputError(f"batch is {size}; there are {n} points.")
        if key is None:
            raise InputError("batches are drawn at random: pass key=jax.random.key(0), or another seed.")
        words = tuple(int(word) for word in np.asarray(jax.random.key_data(key)).ravel())
        return jnp.asarray(epoch_batches(words, n, size, range(count)))
    rows = as_array(batch, "batch")
    if rows.ndim != 2 or rows.dtype.kind not in "iu" or len(rows) < count or not rows.size:
        raise InputError(
            f"batch is {brief(batch)}; the points of each of the {count} steps are needed, integers (steps, b)."
        )
    if rows.min() < 0 or rows.max() >= n:
        raise InputError(f"batch names points from {rows.min()} to {rows.max()}; there are {n}, numbered from 0.")
    return jnp.asarray(rows)


def state_of(optimiser: Any, theta: Array) -> Any:
    """The optimiser's state at θ0.

    Raises:
        InputError: no optax transformation, or a state that is not made of arrays.
    """
    if not (callable(getattr(optimiser, "init", None)) and callable(getattr(optimiser, "update", None))):
        raise InputError(
            f"optimiser is {brief(optimiser)}, whose state is unknown; an optax transformation is needed: "
            "optax.sgd(0.1, momentum=0.9) or optax.adam(1e-2), for instance."
        )
    try:
        state = optimiser.init(theta)
        moves, again = jax.eval_shape(optimiser.update, theta, state, theta)
    except Exception as error:  # it is not our code
        raise InputError(
            f"the optimiser cannot step from θ0: {(str(error) or type(error).__name__).splitlines()[0]}"
        ) from error
    known = all(eqx.is_array(leaf) for leaf in jax.tree.leaves(state))
    if (
        not known
        or jax.tree.structure(again) != jax.tree.structure(state)
        or getattr(moves, "shape", None) != theta.shape
    ):
        raise InputError(
            "the optimiser's state is not a tree of arrays that keeps its shape, so its update cannot be "
            "differentiated over the steps. Compose it of optax transformations."
        )
    return state
