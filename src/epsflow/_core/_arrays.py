"""NumPy or JAX: which of the two a computation runs in, and arrays of one size for what is compiled."""

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    Array = np.ndarray | jax.Array
else:  # NumPy's scalars act as arrays of no dimension, which its stubs do not say
    Array = np.ndarray | np.floating | jax.Array
"""An array of either world; arithmetic with arrays of no dimension returns scalars in NumPy."""


def namespace(*values: object) -> ModuleType:
    """`jax.numpy` if any of the values is a JAX array (tracers are), else `numpy`.

    The array API standard's `array_namespace` refuses a mixture; here JAX prevails, so that numbers held in NumPy
    travel into `jit`, `vmap` and `grad`, while concrete ones are computed without a compilation.
    """
    return jnp if any(isinstance(value, jax.Array) for value in values) else np


def in_chunks(
    function: Callable[[np.ndarray], Sequence[Array]], values: np.ndarray, size: int
) -> tuple[np.ndarray, ...]:
    """What a compiled function makes of values, `size` in each call: the last is repeated, so that it compiles once."""
    padded = np.append(values, np.full(-len(values) % size, values[-1])).reshape(-1, size)
    parts = zip(*map(function, padded), strict=True)
    return tuple(np.concatenate(part)[: len(values)] for part in parts)
