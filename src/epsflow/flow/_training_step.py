"""One step of discrete training: the gradient of its batch, and what the optimiser makes of it."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Float

from .._core import Array, Spelled, spelled
from ..problem import AbstractLoss, AbstractModel, computed
from ._minibatches import Batch, Source


class Recipe(Spelled, eqx.Module):
    """What a step does.

    Example:
        >>> import jax.numpy as jnp, optax
        >>> recipe = ef.flow.Recipe(ef.LinearModel(1), ef.SquaredLoss(), jnp.array(1.0), jnp.array(1.0), optax.sgd(0.1))
        >>> batch = ef.flow.Batch(jnp.array([[1.0], [2.0]]), jnp.array([1.0, 3.0]), jnp.ones(2))
        >>> float(recipe.value(jnp.zeros(1), batch))
        5.0

    Attributes:
        model, loss: f and ℓ.
        l2: λ ≥ 0, or one for each parameter.
        share: c for all points, (n/b)c for a batch.
        optimiser: an optax transformation.
    """

    model: AbstractModel
    loss: AbstractLoss
    l2: Float[Array, "*each"]
    share: Float[Array, ""]
    optimiser: Any

    def losses(self, theta: Float[Array, " d"], batch: Batch) -> Float[Array, " b"]:
        """ℓ_i(θ) of its points."""
        return jax.vmap(lambda x, y: self.loss(self.model(theta, x), y))(batch.x, batch.y)

    def value(self, theta: Float[Array, " d"], batch: Batch) -> Float[Array, ""]:
        """The batch's estimate of R_ε(θ)."""
        return self.weighed(self.losses(theta, batch), theta, batch)

    def weighed(self, losses: Float[Array, " b"], theta: Float[Array, " d"], batch: Batch) -> Float[Array, ""]:
        """The same, of losses that are known."""
        return (self.share * (batch.weights @ losses) + 0.5 * self.l2 * theta @ theta).astype(theta.dtype)

    def step(self, carry: "Carry", batch: Batch) -> tuple["Carry", Float[Array, ""]]:
        """One step, and the loss before it."""
        value, slope = jax.value_and_grad(self.value)(carry.theta, batch)
        return self.moved(carry, slope), value

    def moved(self, carry: "Carry", slope: Float[Array, " d"]) -> "Carry":
        """What the optimiser makes of a gradient."""
        moves, state = self.optimiser.update(slope, carry.state, carry.theta)
        return Carry((carry.theta + moves).astype(carry.theta.dtype), _kept(state, carry.state))


class Carry(NamedTuple):
    """What goes from step to step: θ and the optimiser's state.

    Example:
        >>> import optax
        >>> ef.flow.Carry(np.ones(1), optax.sgd(0.1).init(np.ones(1))).theta
        array([1.])
    """

    theta: Float[Array, " d"]
    state: Any

    __repr__ = spelled


def _kept(state: Any, before: Any) -> Any:
    """The state in the types that it had: an optimiser's own constants may widen them."""
    return jax.tree.map(lambda new, old: new.astype(old.dtype) if hasattr(old, "dtype") else new, state, before)


def recipe_of(source: Source, optimiser: Any) -> Recipe:
    """What a step of a training does, in the type of its numbers."""
    problem, dtype = source.problem, source.dtype
    share = problem.scale * (1.0 if source.batch is None else problem.data.n / source.batch)
    model, loss = (jax.tree.map(lambda leaf: _narrow(leaf, dtype), part) for part in (problem.model, problem.loss))
    model = computed(model, source.precision)
    return Recipe(model, loss, jnp.asarray(problem.l2, dtype), jnp.asarray(share, dtype), optimiser)


def _narrow(leaf: Any, dtype: Any) -> Any:
    """Floating-point arrays in the type of the training; everything else as it is."""
    return jnp.asarray(leaf, dtype) if eqx.is_inexact_array(leaf) else leaf
