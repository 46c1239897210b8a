"""Schedules that decay smoothly from 1 to 0."""

from typing import ClassVar

import equinox as eqx
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Float

from .._core import Array, InputError, namespace
from ._base import AbstractSchedule, SearchSpace, as_float64, as_number, check_times, known


class LinearDecay(AbstractSchedule):
    """ε falls on a straight line from 1 at s to 0 at t₁: ε = (t₁ − t)/(t₁ − s). With t₁ = s it is the step at s.

    Example:
        >>> ef.LinearDecay(1.0, 3.0)(np.array([0.5, 2.0, 4.0]))
        array([1. , 0.5, 0. ])

    Attributes:
        s: when the decay begins.
        t1: t₁ of the notes, s ≤ t₁ ≤ T.
    """

    s: Float[Array, "*members"] = eqx.field(converter=as_number)
    t1: Float[Array, "*members"] = eqx.field(converter=as_number)
    elementwise: ClassVar[bool] = True

    def __check_init__(self) -> None:
        check_times("LinearDecay", self.s, self.t1)

    @property
    def start(self) -> Float[Array, "*members"]:
        """s."""
        return self.s

    @property
    def end(self) -> Float[Array, "*members"]:
        """t₁."""
        return self.t1

    def inner(self, t: Float[Array, "*shape"]) -> Float[Array, "*values"]:
        """The line."""
        return (self.t1 - t) / _width(self.s, self.t1)

    @property
    def jump_ts(self) -> Float[Array, "*members jumps"]:
        """The two kinks."""
        return _last_axis(self.s, self.t1)

    @classmethod
    def search_space(cls, s: float, T: float) -> SearchSpace:
        """t₁ ∈ [s, T]."""
        return SearchSpace(("t₁",), (s,), (T,), (False,), Partial(cls._member, as_float64(s)))

    @classmethod
    def _member(cls, s: Array, parameters: Array) -> "LinearDecay":
        return cls(s, parameters[..., 0])


class PolynomialDecay(AbstractSchedule):
    """ε = ((t₁ − t)/(t₁ − s))^power: convex for power > 1, concave below.

    Example:
        >>> ef.PolynomialDecay(1.0, 3.0, 2.0)(np.array([0.5, 2.0, 4.0]))
        array([1.  , 0.25, 0.  ])

    Attributes:
        s: when the decay begins.
        t1: t₁ ≥ s.
        power: > 0.
    """

    s: Float[Array, "*members"] = eqx.field(converter=as_number)
    t1: Float[Array, "*members"] = eqx.field(converter=as_number)
    power: Float[Array, "*members"] = eqx.field(converter=as_number, default=2.0)
    elementwise: ClassVar[bool] = True

    def __check_init__(self) -> None:
        check_times("PolynomialDecay", self.s, self.t1)
        _check_positive("PolynomialDecay", "power", self.power)

    @property
    def start(self) -> Float[Array, "*members"]:
        """s."""
        return self.s

    @property
    def end(self) -> Float[Array, "*members"]:
        """t₁."""
        return self.t1

    def inner(self, t: Float[Array, "*shape"]) -> Float[Array, "*values"]:
        """The power of the line, clipped to [0, 1] first so that it is defined everywhere."""
        line = (self.t1 - t) / _width(self.s, self.t1)
        return namespace(line).clip(line, 0.0, 1.0) ** self.power

    @property
    def jump_ts(self) -> Float[Array, "*members jumps"]:
        """The two ends."""
        return _last_axis(self.s, self.t1)

    @classmethod
    def search_space(cls, s: float, T: float) -> SearchSpace:
        """t₁ ∈ [s, T], power ∈ [1/8, 8]."""
        return SearchSpace(("t₁", "power"), (s, 0.125), (T, 8.0), (False, True), Partial(cls._member, as_float64(s)))

    @classmethod
    def _member(cls, s: Array, parameters: Array) -> "PolynomialDecay":
        return cls(s, parameters[..., 0], parameters[..., 1])


class ExponentialDecay(AbstractSchedule):
    """ε = e^{−rate (t − s)}, cut to 0 at T.

    Example:
        >>> ef.ExponentialDecay(1.0, 2.0, 3.0)(np.array([0.5, 4.0]))
        array([1., 0.])

    Attributes:
        s: when the decay begins.
        rate: > 0, per unit of time.
        T: when the rest is dropped.
    """

    s: Float[Array, "*members"] = eqx.field(converter=as_number)
    rate: Float[Array, "*members"] = eqx.field(converter=as_number)
    T: Float[Array, "*members"] = eqx.field(converter=as_number)
    elementwise: ClassVar[bool] = True

    def __check_init__(self) -> None:
        check_times("ExponentialDecay", self.s, self.T)
        _check_positive("ExponentialDecay", "rate", self.rate)

    @property
    def start(self) -> Float[Array, "*members"]:
        """s."""
        return self.s

    @property
    def end(self) -> Float[Array, "*members"]:
        """T."""
        return self.T

    def inner(self, t: Float[Array, "*shape"]) -> Float[Array, "*values"]:
        """The exponential; 1 before s, so that it never overflows."""
        xp = namespace(self.s, self.rate, t)
        return xp.exp(-self.rate * xp.maximum(t - self.s, 0.0))

    @property
    def jump_ts(self) -> Float[Array, "*members jumps"]:
        """The kink and the cut."""
        return _last_axis(self.s, self.T)

    @classmethod
    def search_space(cls, s: float, T: float) -> SearchSpace:
        """rate·(T − s) ∈ [0.01, 1000]: from hardly any decay to practically a step at s."""
        bounds = (0.01 / (T - s),), (1000.0 / (T - s),)
        return SearchSpace(("rate",), *bounds, (True,), Partial(cls._member, as_float64(s), as_float64(T)))

    @classmethod
    def _member(cls, s: Array, T: Array, parameters: Array) -> "ExponentialDecay":
        return cls(s, parameters[..., 0], T)


def _width(start: Array, end: Array) -> Array:
    # Where end = start nothing lies in between; the divisor only has to be harmless.
    return namespace(start, end).where(end > start, end - start, 1.0)


def _last_axis(first: Array, second: Array) -> Float[Array, "*shape 2"]:
    xp = namespace(first, second)
    return xp.stack(xp.broadcast_arrays(first, second), axis=-1)


def _check_positive(name: str, what: str, value: Array) -> None:
    values = known(value)
    if values is None:
        return
    bad = values[0][~(np.isfinite(values[0]) & (values[0] > 0.0))]
    if bad.size:
        raise InputError(f"{name}: {what} is {bad[0]:g}; a positive finite number is needed.")
