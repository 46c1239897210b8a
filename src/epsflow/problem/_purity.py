"""Whether a function of the user's depends on its arguments alone, by following it twice."""

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from .._core import InputError

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_ADVICE = (
    "It must depend on the parameters and the point alone: draw random numbers once, outside of it, and let it keep "
    "nothing between two calls."
)


def check_pure(function: Callable[..., Any], *arguments: jax.ShapeDtypeStruct) -> None:
    """Refuse a function that is another one the second time, or that does more than return a value.

    JAX follows it twice, and what it does must be the same: operations, numbers and constants. Nothing is computed.

    Raises:
        InputError: it draws random numbers of NumPy's, counts its calls, keeps a value of an earlier call, or reads or
            writes outside.
    """
    first, second = (_followed(function, arguments) for _ in range(2))
    if any(isinstance(constant, Tracer) for constant in second.consts):
        raise InputError(f"the model is no pure function: it uses a value that an earlier call kept. {_ADVICE}")
    told = sorted({type(effect).__name__ for effect in first.effects if "Debug" not in type(effect).__name__})
    if told:
        raise InputError(
            f"the model is no pure function: it has effects besides its value ({', '.join(told)}). {_ADVICE}"
        )
    same_steps = _ADDRESS.sub("", str(first.jaxpr)) == _ADDRESS.sub("", str(second.jaxpr))
    pairs = zip(first.consts, second.consts, strict=False)
    if not same_steps or not all(a is b or np.array_equal(_plain(a), _plain(b), equal_nan=True) for a, b in pairs):
        raise InputError(f"the model is no pure function: followed twice, it is two different ones. {_ADVICE}")


def _followed(function: Callable[..., Any], arguments: tuple[jax.ShapeDtypeStruct, ...]) -> Any:
    """What it does, by another name each time: JAX remembers functions that it has followed."""
    return jax.make_jaxpr(lambda *given: function(*given))(*arguments)


def _plain(constant: Any) -> np.ndarray:
    keys = isinstance(constant, jax.Array) and jnp.issubdtype(constant.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(constant) if keys else constant)
