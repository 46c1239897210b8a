"""What a function computes, by its jaxpr; traced once for every function and shapes."""

import functools
from typing import Any

import equinox as eqx
import jax
import numpy as np


def jaxpr_of(function: Any, *arguments: jax.ShapeDtypeStruct) -> Any:
    """The jaxpr of a function, or of a module that can be called, whose own arrays are its first inputs.

    Traced once: functions are known by their identity, modules by their shapes and what is static in them.
    """
    arrays, static = eqx.partition(function, eqx.is_array)
    leaves, structure = jax.tree.flatten(arrays)
    fixed, rest = jax.tree.flatten(static)
    own = tuple(_aval(leaf) for leaf in leaves)
    return _traced((structure, own), (rest, tuple(fixed)), tuple(_aval(given) for given in arguments))


def _aval(array: Any) -> tuple[tuple[int, ...], np.dtype]:
    return tuple(array.shape), np.dtype(array.dtype)


@functools.lru_cache(maxsize=64)
def _traced(own: Any, static: Any, given: Any) -> Any:
    (structure, avals), (rest, fixed) = own, static
    held = jax.tree.unflatten(structure, [jax.ShapeDtypeStruct(*aval) for aval in avals])
    function = jax.tree.unflatten(rest, fixed)
    arguments = [jax.ShapeDtypeStruct(*aval) for aval in given]
    return jax.make_jaxpr(lambda arrays, *args: eqx.combine(arrays, function)(*args))(held, *arguments)
