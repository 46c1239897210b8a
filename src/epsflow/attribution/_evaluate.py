"""Outputs, losses and functionals at many parameters at once: matrix products for linear models, JAX for others."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._core import Array, InputError, brief
from ..analysis import Losses, Predictions, functional_shape
from ..problem import AbstractLoss, AbstractModel, LinearModel, losses

BATCH = 256
"""Parameters that JAX evaluates together; a smaller batch is filled up, so that no number of them compiles again."""


CACHED = 2**14
"""Outputs whose losses are computed together (128 KB)."""


def outputs_at(
    model: AbstractModel, thetas: Float[np.ndarray, "k d"], x: Float[np.ndarray, "m p"]
) -> Float[np.ndarray, "k m *c"]:
    """f(θ; x_i) of every θ at every row."""
    if not isinstance(model, LinearModel):
        return in_batches(lambda part: _outputs(model, part, jnp.asarray(x, part.dtype)), thetas)
    if model.outputs is None:
        return thetas @ x.T
    return np.matmul(x, thetas.reshape(len(thetas), -1, model.outputs))


def losses_at(
    model: AbstractModel, loss: AbstractLoss, thetas: Float[np.ndarray, "k d"], x: Float[np.ndarray, "m p"], y: Any
) -> Float[np.ndarray, "k m"]:
    """ℓ(f(θ; x_i), y_i) of every θ at every row."""
    targets = np.asarray(y)
    found = np.empty((len(thetas), len(targets)))
    # Parts that stay in the cache: in larger ones fetching memory takes longer than the arithmetic.
    part = max(1, CACHED // max(1, targets.size)) if isinstance(model, LinearModel) else len(thetas)
    repeated = np.broadcast_to(targets, (min(part, len(thetas)), *targets.shape)).reshape(-1, *targets.shape[1:])
    for start in range(0, len(thetas), part):
        outputs = outputs_at(model, thetas[start : start + part], x)
        count = outputs.shape[0] * outputs.shape[1]
        each = losses(loss, outputs.reshape(count, *outputs.shape[2:]), repeated[:count])
        found[start : start + part] = each.reshape(len(outputs), -1)
    return found


def functional_at(functional: Any, thetas: Float[np.ndarray, "k d"]) -> Float[np.ndarray, "k *q"]:
    """φ at every θ; θ itself where φ is None.

    Raises:
        InputError: no function, one that cannot be traced, or a value that is neither a number nor a vector.
    """
    if functional is None:
        return thetas
    if isinstance(functional, Losses):
        found = losses_at(functional.model, functional.loss, thetas, np.asarray(functional.x), functional.y)
    elif isinstance(functional, Predictions):
        found = outputs_at(functional.model, thetas, np.asarray(functional.x)).reshape(len(thetas), -1)
    elif not callable(functional):
        raise InputError(f"the functional is {brief(functional)}; a function of θ is needed.")
    else:
        functional_shape(functional, jnp.asarray(thetas[0]))
        found = in_batches(lambda part: _values(functional, part), thetas)
    return found


def in_batches(function: Any, thetas: Float[np.ndarray, "k d"]) -> np.ndarray:
    """A compiled function of (BATCH, d) at any number of parameters."""
    found = []
    for start in range(0, len(thetas), BATCH):
        part = thetas[start : start + BATCH]
        filled = np.concatenate([part, np.repeat(part[:1], BATCH - len(part), axis=0)])
        found.append(np.asarray(function(filled))[: len(part)])
    return np.concatenate(found)


@eqx.filter_jit
def _outputs(model: AbstractModel, thetas: Float[Array, "k d"], x: Float[Array, "m p"]) -> Array:
    return jax.vmap(lambda theta: jax.vmap(lambda point: model(theta, point))(x))(thetas)


@eqx.filter_jit
def _values(functional: Any, thetas: Float[Array, "k d"]) -> Array:
    return jax.vmap(functional)(thetas)
