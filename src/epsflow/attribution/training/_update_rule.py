"""The steps of an optimiser under ε(t) that are differentiated; their batches and the optimiser's state."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from ..._core import Array, InputError, as_array, as_count, brief
from ...flow import Batch, Carry, Recipe, epoch_batches
from ...problem import EmpiricalRisk, Problem
from ...schedules import AbstractSchedule


class Repeated(eqx.Module):
    """What is repeated: one step of an optimiser under ε(t).

    Attributes:
        risk: the data, each point with c = 1.
        schedule: ε(t).
        recipe: what a step does with its batch; its share holds c, or (n/b)c.
        eta: time per step.
        batches: the points of every step, shape (N, b); None for all points.
    """

    risk: EmpiricalRisk
    schedule: AbstractSchedule
    recipe: Recipe
    eta: Float[Array, ""]
    batches: Int[Array, "steps b"] | None

    def points(self, k: Array) -> Int[Array, " b"] | None:
        """The batch of step k; None for all points."""
        return None if self.batches is None else self.batches[k]

    def batch(self, k: Array) -> Batch:
        """What the gradient of step k sums over."""
        weights, points = self.risk.weights(self.schedule(self.eta * (k + 0.5))), self.points(k)
        if points is None:
            return Batch(self.risk.x, self.risk.y, weights)
        return Batch(self.risk.x[points], self.risk.y[points], weights[points])

    def gradient(self, k: Array, theta: Array) -> Float[Array, " d"]:
        """G_k(θ)."""
        return jax.grad(self.recipe.value)(theta, self.batch(k))

    def step(self, k: Array, carry: Carry) -> Carry:
        """(θ, z) after step k."""
        return self.recipe.moved(carry, self.gradient(k, carry.theta))


def repeated(
    problem: Problem, schedule: AbstractSchedule, optimiser: Any, eta: float, batches: Int[Array, "steps b"] | None
) -> Repeated:
    """The training of a problem in the steps of `train_with`, its batches known."""
    risk = problem.empirical()
    share = risk.scale if batches is None else risk.scale * (risk.x.shape[0] / batches.shape[1])
    recipe = Recipe(risk.model, risk.loss, risk.l2, jnp.asarray(share), optimiser)
    each = eqx.tree_at(lambda held: held.scale, risk, jnp.ones_like(risk.scale))
    return Repeated(each, schedule, recipe, jnp.asarray(eta), batches)


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
