"""NumPy's random numbers from JAX's keys, so that every method of the room is seeded alike."""

from typing import Any

import jax
import numpy as np

DEFAULT = (0, 0)
"""The bits of jax.random.key(0)."""


def generator(key: Any) -> np.random.Generator:
    """A generator with the bits of a key as its seed; of jax.random.key(0) for None."""
    return np.random.default_rng(DEFAULT if key is None else np.asarray(jax.random.key_data(key)).tolist())
