"""Checks made where a value enters the library. Each refuses with one message; none changes a value in silence."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Int

from ._errors import InputError

Kind = TypeVar("Kind")

STDIN = "-"
"""The name that stands for what is piped in, wherever a file of data may be named."""


def require_x64() -> None:
    """Refuse to work in single precision.

    Raises:
        InputError: if JAX's 64-bit mode is off. The library never sets this global flag itself.
    """
    import jax  # which takes longer to load than the checks of this file, and most need none of it

    if not jax.config.read("jax_enable_x64"):
        raise InputError(
            "JAX is in 32-bit mode, where a stiff flow loses every digit of a leave-one-out difference. "
            'Run `jax.config.update("jax_enable_x64", True)` before any array is made, or set JAX_ENABLE_X64=1. '
            'A network can do without: Problem(..., dtype="float32").'
        )


def as_float64(value: object, name: str) -> np.ndarray:
    """Numbers of any shape as a float64 array.

    Raises:
        InputError: a floating type narrower than 64 bits, or no numbers at all.
    """
    require_x64()
    return _in_float64(value, name)


def _in_float64(value: object, name: str) -> np.ndarray:
    # Only a *floating* narrow dtype has lost digits already; integers and Python lists convert exactly.
    if isinstance(value, bool):
        raise InputError(f"{name} is {value}; a number is needed.")
    array = as_array(value, name)
    if array.dtype.kind == "f" and array.dtype.itemsize < 8:
        raise InputError(
            f"{name} has dtype {array.dtype}, but float64 is needed: its rounding, about 1e-7, exceeds the effect of a "
            f"single point. Make it in double precision, or convert it by `.astype('float64')` if you accept it."
        )
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name} holds {array.dtype} values; numbers are needed.")
    return array.astype(np.float64, copy=False)


def as_numbers(value: object, name: str) -> np.ndarray:
    """Numbers of any shape and of any floating type, in float64, whatever JAX's mode: for what works in either.

    Raises:
        InputError: no numbers.
    """
    array = as_array(value, name)
    if isinstance(value, bool) or (array.dtype.kind not in "fiub" and array.dtype.name != "bfloat16"):
        raise InputError(f"{name} holds {array.dtype} values; numbers are needed.")
    return array.astype(np.float64, copy=False)


def as_array(value: object, name: str) -> np.ndarray:
    """Anything that NumPy takes for one array, as it is.

    Raises:
        InputError: rows of different lengths; a masked array with masked entries, which would come back as numbers.
    """
    if isinstance(value, np.ma.MaskedArray) and np.ma.getmaskarray(value).any():
        raise InputError(
            f"{name} is a masked array with {int(np.ma.getmaskarray(value).sum())} masked entries. Fill or remove them "
            "first; no entry is imputed in silence."
        )
    try:
        return np.asarray(value)
    except Exception as error:  # what an object of any class answers
        raise InputError(f"{name} is not an array of numbers ({error}). Pass a list or array of floats.") from error


def as_scalar(value: object, name: str) -> float:
    """A finite Python float, or an `InputError` that names it; Python's floats have 64 bits whatever JAX's have."""
    array = _in_float64(value, name)
    if array.ndim != 0:
        raise InputError(f"{name} must be one number; got an array of shape {array.shape}.")
    if not np.isfinite(array):
        raise InputError(f"{name} is {array}; a finite number is needed.")
    return float(array)


def as_share(value: object, name: str) -> float:
    """A number inside (0, 1), such as the level of an interval.

    Raises:
        InputError: anything else.
    """
    level = as_scalar(value, name)
    if not 0.0 < level < 1.0:
        raise InputError(f"{name} is {level:g}; it must lie between 0 and 1, for instance {name}=0.95.")
    return level


def as_vector(value: object, name: str, size: int, *, narrow: bool = False) -> Float[np.ndarray, " size"]:
    """A finite float64 vector of the given length; a copy. `narrow`: made of numbers of any floating type.

    Raises:
        InputError: wrong length, narrow dtype, or NaN/inf (the first such entry is named).
    """
    array = as_numbers(value, name) if narrow else as_float64(value, name)
    if array.shape != (size,):
        raise InputError(
            f"{name} has shape {array.shape}; this problem needs a vector of length {size}, shape ({size},)."
        )
    if not np.isfinite(array).all():
        first = int(np.argmin(np.isfinite(array)))
        raise InputError(f"{name}[{first}] is {array[first]}; every entry must be finite.")
    return array.copy()


def as_matrix(value: object, name: str, columns: int) -> Float[np.ndarray, "rows columns"]:
    """A copy: a finite float64 matrix with the given number of columns, or an `InputError` that names it."""
    array = as_float64(value, name)
    if array.ndim != 2 or array.shape[1] != columns:
        raise InputError(f"{name} has shape {array.shape}; a matrix with {columns} columns is needed.")
    bad = np.argwhere(~np.isfinite(array))
    if bad.size:
        raise InputError(f"{name}{bad[0].tolist()} is {array[tuple(bad[0])]}; every entry must be finite.")
    return array.copy()


def as_index_array(value: object, name: str, n: int) -> Int[np.ndarray, " m"]:
    """Distinct indices into n points, as a NumPy integer vector; a single integer makes a vector of one.

    Raises:
        InputError: not integers, outside 0..n-1, listed twice, none, or all n of them.
    """
    array = np.atleast_1d(as_array(value, name))
    if array.size == 0:
        raise InputError(f"{name} is empty: name at least one of the {n} points, for instance {name}=[0].")
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InputError(f"{name} must be one integer or a list of integers; got {value!r}.")
    outside = array[(array < 0) | (array >= n)]
    if outside.size:
        raise InputError(f"{name} contains {outside[0]}, but the data has {n} points, numbered 0 to {n - 1}.")
    unique, counts = np.unique(array, return_counts=True)
    if unique.size < array.size:
        raise InputError(f"{name} lists point {unique[counts > 1][0]} twice; each point can be deleted once.")
    if unique.size == n:
        raise InputError(f"{name} lists all {n} points: nothing would be left to train on.")
    return array.astype(np.int64)


def as_deleted(value: object, name: str, n: int) -> Int[np.ndarray, " m"]:
    """The points to be deleted, as distinct indices from 0 on.

    As NumPy reads indices: a whole number, several, negative ones from the end (−1 is the last point), or a mask of n
    booleans, true where a point is deleted. A point that is named twice, by whatever numbers, is refused.

    Raises:
        InputError: as `as_index_array`; a mask of another length, or without a point.
    """
    array = np.atleast_1d(as_array(value, name))
    if array.dtype.kind == "b":
        if array.shape != (n,):
            raise InputError(
                f"{name} is a mask of shape {array.shape}; one boolean for each of the {n} points is needed."
            )
        return as_index_array(np.flatnonzero(array), name, n)
    if array.ndim == 1 and array.dtype.kind == "i":
        outside = array[(array < -n) | (array >= n)]
        if outside.size:
            raise InputError(
                f"{name} contains {outside[0]}, but the data has {n} points, numbered 0 to {n - 1} (or -{n} to -1 from "
                "the end)."
            )
        return as_index_array(np.where(array < 0, array + n, array), name, n)
    return as_index_array(value, name, n)


def as_flag(value: object, name: str) -> bool:
    """True or False (NumPy's too), or an `InputError` that names it: "yes", 1 and None are none."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise InputError(f"{name} is {brief(value)}; it is either on or off: write {name}=True or {name}=False.")


def as_count(value: object, name: str, least: int = 1) -> int:
    """A whole number, at least `least`, or an `InputError` that names it: "10", True and 1.5 are none."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        raise InputError(f"{name} is {brief(value)}; a whole number is needed, for instance {name}={max(least, 10)}.")
    if value < least:
        raise InputError(f"{name} is {value}; it must be at least {least}.")
    return int(value)


def as_choice(value: object, name: str, options: Sequence[str]) -> str:
    """One of several words, or an `InputError` that lists them."""
    if not isinstance(value, str):
        raise InputError(f"{name} is {brief(value)}; a word is needed, one of {', '.join(map(repr, options))}.")
    if value not in options:
        raise InputError(f"unknown {name} {value!r}: choose {', '.join(options[:-1])} or {options[-1]}.")
    return value


def as_instance(value: object, name: str, kind: type[Kind], advice: str) -> Kind:
    """An object of a class, or an `InputError` that says what came and what to write.

    Args:
        value: what was given.
        name: of the argument.
        kind: the class.
        advice: what to write instead, from a verb on.
    """
    if isinstance(value, kind):
        return value
    if isinstance(value, type) and issubclass(value, kind):
        raise InputError(f"{name} is the class {value.__name__} itself; an object of it is needed: {advice}.")
    raise InputError(f"{name} is {brief(value)}, where {article(kind.__name__)} is needed: {advice}.")


def check_file(path: str | Path) -> None:
    """Refuse a file that is not there or cannot be read, before anything is loaded that reads it; "-" is always there.

    Raises:
        InputError: in the file system's words.
    """
    if str(path) == STDIN:
        return
    try:
        open(path, "rb").close()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}.") from error


def article(name: str) -> str:
    """A name with its article, without the prefix of an abstract class: "a Schedule", "an array"."""
    word = name.removeprefix("Abstract")
    return f"{'an' if word[:1] in 'AEIOUaeiou' else 'a'} {word}"


def brief(value: object) -> str:
    """What came, in a few words: a short value as it is written, the rest by its type (and shape)."""
    shape = getattr(value, "shape", None)
    if shape:
        return f"an array of shape {tuple(shape)}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if callable(value) and hasattr(value, "__name__"):
        return f"the function {value.__name__}"
    words = repr(value)
    return words if len(words) <= 40 else article(type(value).__name__)
