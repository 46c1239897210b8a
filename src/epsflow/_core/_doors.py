"""What every door of the library checks, by the name of the argument: one table, one decorator."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import ParamSpec, Protocol, TypeVar, runtime_checkable

from ._checks import as_count, as_flag, as_float64, as_scalar, brief
from ._errors import InputError

Given = ParamSpec("Given")
Answer = TypeVar("Answer")
Check = Callable[[object, str], object]
"""Refuses a value, or lets it pass; the name is for the message."""


@runtime_checkable
class Door(Protocol):
    """A decorator that leaves a function's signature as it is."""

    def __call__(self, function: Callable[Given, Answer], /) -> Callable[Given, Answer]:
        """The function, checked."""
        ...


def door(checks: Mapping[str, Check]) -> Door:
    """A decorator that checks those arguments of a function whose names are in a table.

    None passes where it is the default. Values are handed on as they came: what converts them is the function itself.
    """

    def decorate(function: Callable[Given, Answer]) -> Callable[Given, Answer]:
        """The function, which refuses arguments that are not what their names say.

        Example:
            >>> @ef.flow.checked
            ... def largest(theta):
            ...     return max(theta)
            >>> largest("far")
            Traceback (most recent call last):
                ...
            epsflow.InputError: theta holds <U3 values; numbers are needed.
        """
        signature = inspect.signature(function)
        named = {
            name: (checks[name], parameter.default)
            for name, parameter in signature.parameters.items()
            if name in checks
        }
        parameters = signature.parameters.values()
        places = [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
        needed = {each.name for each in parameters if each.default is each.empty and each.kind is not each.VAR_KEYWORD}
        others = any(each.kind is each.VAR_KEYWORD for each in parameters)

        @functools.wraps(function)
        def checked(*args: Given.args, **kwargs: Given.kwargs) -> Answer:
            # As `signature.bind` does, which takes longer than a small answer.
            given = {**dict(zip(places, args, strict=False)), **kwargs}
            known = others or given.keys() <= signature.parameters.keys()
            # An argument is missing, unknown or given twice: the function says so itself, with its name.
            if len(given) < len(args) + len(kwargs) or not (known and needed <= given.keys()):
                return function(*args, **kwargs)
            for name, value in given.items():
                if name in named and not (value is None and named[name][1] is None):
                    named[name][0](value, name)
            return function(*args, **kwargs)

        return checked

    return decorate


def share(value: object, name: str) -> None:
    """A number between 0 and 1, as tolerances are."""
    if not 0.0 < as_scalar(value, name) < 1.0:
        raise InputError(f"{name} is {brief(value)}; a tolerance lies between 0 and 1, for instance 1e-10.")


def positive(value: object, name: str) -> None:
    """A positive number."""
    if as_scalar(value, name) <= 0.0:
        raise InputError(f"{name} is {brief(value)}; a positive number is needed.")


def word(value: object, name: str) -> None:
    """A string; which ones are known is the function's own business."""
    if not isinstance(value, str):
        raise InputError(f"{name} is {brief(value)}; a word is needed.")


def function(value: object, name: str) -> None:
    """Something that can be called."""
    if not callable(value) or isinstance(value, type):
        raise InputError(f"{name} is {brief(value)}; a function of θ is needed.")


def random_key(value: object, name: str) -> None:
    """A key of JAX's random numbers."""
    import jax
    import jax.numpy as jnp

    kind = getattr(value, "dtype", None)
    typed = kind is not None and jnp.issubdtype(kind, jax.dtypes.prng_key)
    if not typed or getattr(value, "shape", None) != ():
        raise InputError(f"{name} is {brief(value)}; write {name}=jax.random.key(0), or another seed.")


def seed(value: object, name: str) -> None:
    """A seed of NumPy's random numbers: a whole number ≥ 0."""
    as_count(value, name, least=0)


COMMON: dict[str, Check] = {
    "throw": as_flag,
    "matrix": as_flag,
    "dense": as_flag,
    "estimate_error": as_flag,
    "delete_bregman": as_flag,
    "standardise": as_flag,
    "max_steps": as_count,
    "seeds": as_count,
    "batch_size": as_count,
    "chunk_rows": as_count,
    "max_bytes": as_count,
    "seed": seed,
    "tol": share,
    "rtol": share,
    "atol": positive,
    "max_time": positive,
    "step_size": positive,
    "damping": as_float64,
    "eps": as_float64,
    "theta": as_float64,
    "theta0": as_float64,
    "target": as_float64,
    "time": as_float64,
    "ts": as_float64,
    "t0": as_scalar,
    "s": as_float64,
    "T": as_float64,
    "method": word,
    "start": word,
    "at": word,
    "curvature": word,
    "checkpoints": word,
    "key": random_key,
    "functional": function,
    "order": as_count,
}
"""Arguments that mean the same wherever they stand."""
