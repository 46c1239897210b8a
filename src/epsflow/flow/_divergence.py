"""What is said of a training that left the finite numbers."""

from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np

from .._core import RESULTS, message

if TYPE_CHECKING:
    import optax


def diverged(step: int, optimiser: "optax.GradientTransformation") -> str:
    """Where a training left the finite numbers, with which learning rate, and what to do.

    Example:
        >>> import optax
        >>> ef.flow.diverged(7, optax.adam(0.1)).partition(" (")[0]
        'training left the finite numbers at step 7, with a learning rate of 0.1'

    Args:
        step: the number of the step, from 0.
        optimiser: optax keeps its learning rate to itself; what its first step makes of a gradient of 1 tells it.
    """
    one, zero = jnp.ones(1, jnp.float32), jnp.zeros(1, jnp.float32)
    rate = float(np.abs(np.asarray(optimiser.update(one, optimiser.init(zero), zero)[0]))[0])
    return (
        f"training left the finite numbers at step {step}, with a learning rate of {rate:.3g} (how far its first step "
        f"moves a parameter whose gradient is 1): {message(RESULTS.nonlinear_divergence)} Lower it, or clip the "
        "gradients (optax.clip_by_global_norm)."
    )
