"""NumPy or JAX: which of the two a computation runs in."""

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
