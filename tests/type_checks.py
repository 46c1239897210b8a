"""Annotations are checked once for each kind of call, not in every call.

jaxtyping and beartype take 25 µs and more for a call, and milliseconds for a function that is defined anew: more than
the arithmetic of small problems. What they find follows from types, dtypes and shapes, and from strings (`Literal`), of
what comes in and goes out; no annotation of epsflow says more. What has passed is not looked at again.
"""

import dataclasses
import functools
import inspect
import threading
from collections.abc import Callable, Hashable
from itertools import islice
from types import CodeType, FunctionType
from typing import Any

import jaxtyping
import numpy as np

# A warning of epsflow points at the line of its caller and passes over the frames of jaxtyping: these are such frames.
__name__ = f"jaxtyping.{__name__}"

LOOKED_AT = 8
"""So many items of a container are part of its kind; beartype looks at one."""

_full_check = jaxtyping.jaxtyped
_is_array: dict[type, bool] = {np.ndarray: True}


def once_per_kind(*, typechecker: Callable) -> Callable:
    """In place of `jaxtyping.jaxtyped`, for the functions and classes that jaxtyping's import hook decorates."""

    def decorate(fn: Any) -> Any:
        if not inspect.isclass(fn):
            return _checked(fn, typechecker) if fn.__annotations__ else fn
        if dataclasses.is_dataclass(fn) and getattr(fn.__init__, "__globals__", globals()) is not globals():
            fn.__init__ = _checked(fn.__init__, typechecker)
        return fn

    return decorate


def kind_of(value: Any) -> Hashable:
    """All that an annotation may say of a value."""
    cls = type(value)
    array = _is_array.get(cls)
    if array is None:
        array = _is_array[cls] = hasattr(cls, "shape") and hasattr(cls, "dtype")
    if array:
        return cls, value.dtype, value.shape
    if cls is str or isinstance(value, type):
        return cls, value
    if cls is tuple or cls is list:
        return cls, len(value), *map(kind_of, value[:LOOKED_AT])
    if cls is dict:
        return cls, *((kind_of(key), kind_of(item)) for key, item in islice(value.items(), LOOKED_AT))
    return cls


class _Bodies(threading.local):
    """What checkers, which are made once for each definition, are to run between their two checks."""

    def __init__(self) -> None:
        self.stack: list[Callable] = []


_bodies = _Bodies()


class _Definition:
    """A function as it is written, whatever it closes over: its check, and the kinds of calls that have passed it."""

    def __init__(self, fn: Callable, typechecker: Callable) -> None:
        self.fn, self.typechecker = fn, typechecker
        self.passed: dict[Hashable, set[Hashable]] = {}

    @functools.cached_property
    def checker(self) -> Callable:
        """Made when first needed: most functions are defined by a process that never calls them."""
        bodies = _bodies

        def run(*args: Any, **kwargs: Any) -> Any:
            return bodies.stack.pop()(*args, **kwargs)

        # With the names that annotations are written with.
        stand_in = FunctionType(run.__code__, self.fn.__globals__, closure=run.__closure__)
        return _full_check(functools.wraps(self.fn)(stand_in), typechecker=self.typechecker)

    def check(self, body: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
        __tracebackhide__ = True
        stack = _bodies.stack
        depth = len(stack)
        stack.append(body)
        try:
            return self.checker(*args, **kwargs)
        finally:
            del stack[depth:]


_definitions: dict[tuple[str, str, CodeType], _Definition] = {}


def _checked(fn: Callable, typechecker: Callable) -> Callable:
    key = (fn.__module__, fn.__qualname__, fn.__code__)
    definition = _definitions.get(key)
    if definition is None:
        definition = _definitions[key] = _Definition(fn, typechecker)
    passed = definition.passed

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        if jaxtyping.config.jaxtyping_disable:
            return fn(*args, **kwargs)
        came_in = (*map(kind_of, args), *((name, kind_of(value)) for name, value in kwargs.items()))
        known = passed.get(came_in)
        out = fn(*args, **kwargs) if known else definition.check(fn, args, kwargs)
        went_out = kind_of(out)
        if not known:
            passed[came_in] = {went_out}
        elif went_out not in known:
            definition.check(lambda *_, **__: out, args, kwargs)
            known.add(went_out)
        return out

    return call
