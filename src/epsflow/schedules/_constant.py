"""Schedules that are constant between jumps."""

from functools import lru_cache
from typing import ClassVar

import equinox as eqx
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Float

from .._core import Array, InputError, as_count, brief, namespace
from ._base import (
    AbstractPiecewiseConstant,
    SearchSpace,
    as_float64,
    as_number,
    check_ascending,
    check_times,
    known,
)


class Constant(AbstractPiecewiseConstant):
    """ε(t) = value for all t: the flow homotopy's schedules. In E_s for no s < T, unless value is 1 before and 0 after.

    Example:
        >>> ef.Constant(1.0)(0.5)
        array(1.)

    Attributes:
        value: one weight, or one per deleted point (m,).
    """

    value: Float[Array, "*m"] = eqx.field(converter=as_float64)

    def __check_init__(self) -> None:
        values = known(self.value)
        if values is not None and not np.isfinite(values[0]).all():
            raise InputError(f"Constant: the weight must be finite; got {values[0].tolist()}.")

    @property
    def start(self) -> Float[Array, ""]:
        """−∞: never held at 1."""
        return np.asarray(-np.inf)

    @property
    def end(self) -> Float[Array, ""]:
        """+∞: never 0 by composition."""
        return np.asarray(np.inf)

    def inner(self, t: Float[Array, "*shape"]) -> Float[Array, "*values"]:
        """The value."""
        return namespace(self.value).broadcast_to(self.value, t.shape + self.value.shape)

    @property
    def jump_ts(self) -> Float[Array, " jumps"]:
        """None."""
        return np.zeros(0)

    def levels(self) -> Float[Array, "arcs *m"]:
        """The value, once."""
        return self.value[None]


class Step(AbstractPiecewiseConstant):
    """ε = 1_[0, τ]: dropped at once at τ. The baseline of the notes is `Step(s)`.

    Example:
        >>> ef.Step(2.0)(np.array([1.0, 3.0]))
        array([1., 0.])

    Attributes:
        tau: τ.
    """

    tau: Float[Array, "*members"] = eqx.field(converter=as_number)
    elementwise: ClassVar[bool] = True

    def __check_init__(self) -> None:
        check_times("Step", self.tau)

    @property
    def start(self) -> Float[Array, "*members"]:
        """τ."""
        return self.tau

    @property
    def end(self) -> Float[Array, "*members"]:
        """τ."""
        return self.tau

    def inner(self, t: Float[Array, "*shape"]) -> Float[Array, "*values"]:
        """Nothing lies between start and end."""
        return namespace(t).zeros_like(t)

    @property
    def jump_ts(self) -> Float[Array, "*members jumps"]:
        """τ."""
        return self.tau[..., None]

    def levels(self) -> Float[Array, "*members arcs"]:
        """1, then 0."""
        return np.broadcast_to(np.array([1.0, 0.0]), (*self.tau.shape, 2))

    @classmethod
    def search_space(cls, s: float, T: float) -> SearchSpace:
        """τ ∈ [s, T]."""
        return SearchSpace(("τ",), (s,), (T,), (False,), Partial(cls._member))

    @classmethod
    def _member(cls, parameters: Array) -> "Step":
        return cls(parameters[..., 0])


class PiecewiseConstant(AbstractPiecewiseConstant):
    """ε = 1 until knots[0] = s, values[k] on (knots[k], knots[k+1]], 0 from knots[-1] = T on.

    Example:
        >>> ef.PiecewiseConstant(np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.2]))(np.array([0.5, 1.5, 2.5]))
        array([1. , 0.5, 0.2])

    Attributes:
        knots: ascending times, shape (K+1,).
        values: shape (K,), or (K, m) with one weight per deleted point.
    """

    knots: Float[Array, " knots"] = eqx.field(converter=as_float64)
    values: Float[Array, "arcs *m"] = eqx.field(converter=as_float64)

    def __check_init__(self) -> None:
        if self.knots.ndim != 1 or self.values.ndim not in (1, 2) or len(self.knots) != len(self.values) + 1:
            raise InputError(
                f"PiecewiseConstant: knots {self.knots.shape}, values {self.values.shape}; K+1 knots enclose K values."
            )
        numbers = known(self.knots, self.values)
        if numbers is None:
            return
        check_ascending("PiecewiseConstant", numbers[0])
        if not np.isfinite(numbers[1]).all():
            raise InputError("PiecewiseConstant: every value must be finite.")

    @property
    def start(self) -> Float[Array, ""]:
        """The first knot."""
        return self.knots[0]

    @property
    def end(self) -> Float[Array, ""]:
        """The last knot."""
        return self.knots[-1]

    def inner(self, t: Float[Array, "*shape"]) -> Float[Array, "*values"]:
        """The value of the interval that t lies in; at a knot, that of the interval it closes."""
        xp = namespace(self.knots, self.values, t)
        interval = xp.searchsorted(self.knots, t, side="left") - 1
        return xp.asarray(self.values)[xp.clip(interval, 0, len(self.values) - 1)]

    @property
    def jump_ts(self) -> Float[Array, " jumps"]:
        """The knots."""
        return self.knots

    def levels(self) -> Float[Array, "arcs *m"]:
        """1, the values, 0."""
        outside = np.ones((1, *self.values.shape[1:]))
        return namespace(self.values).concatenate([outside, self.values, 0.0 * outside])


def _as_level(value: object) -> str:
    if not isinstance(value, str) or value not in ("high", "low"):
        raise InputError(f"BangBang: first is {brief(value)}; choose 'high' or 'low'.")
    return value


class BangBang(AbstractPiecewiseConstant):
    """ε alternates between two levels: 1 until s, then arcs that end at the switch times, 0 from T on.

    Example:
        >>> ef.BangBang(1.0, np.array([2.0]), 3.0)(np.array([0.5, 1.5, 2.5]))
        array([1., 1., 0.])

    Attributes:
        s: when the deletion request arrives.
        switch_ts: ascending switch times in [s, T], shape (k,); k switches separate k+1 arcs.
        T: from when on ε must be 0.
        first: "high" or "low": the level of the first arc after s.
        low, high: the two levels, 0 and 1 unless given.
    """

    s: Float[Array, ""] = eqx.field(converter=as_number)
    switch_ts: Float[Array, " k"] = eqx.field(converter=as_float64)
    T: Float[Array, ""] = eqx.field(converter=as_number)
    first: str = eqx.field(static=True, default="high", converter=_as_level)
    low: Float[Array, ""] = eqx.field(converter=as_number, default=0.0)
    high: Float[Array, ""] = eqx.field(converter=as_number, default=1.0)

    def __check_init__(self) -> None:
        if self.switch_ts.ndim != 1:
            raise InputError(f"BangBang: switch_ts has shape {self.switch_ts.shape}; a vector of times is needed.")
        times = known(self.s[None], self.switch_ts, self.T[None])
        if times is not None:
            check_ascending("BangBang", np.concatenate(times))
        bounds = known(self.low, self.high)
        if bounds is not None and not (np.isfinite(bounds).all() and bounds[0] < bounds[1]):
            raise InputError(f"BangBang: low = {bounds[0]:g} must lie below high = {bounds[1]:g}, both finite.")

    @property
    def start(self) -> Float[Array, ""]:
        """s."""
        return self.s

    @property
    def end(self) -> Float[Array, ""]:
        """T."""
        return self.T

    @property
    def arc_values(self) -> Float[Array, " arcs"]:
        """The level of each arc between s and T."""
        is_high = (np.arange(len(self.switch_ts) + 1) % 2 == 0) == (self.first == "high")
        return namespace(self.high, self.low).where(is_high, self.high, self.low)

    def inner(self, t: Float[Array, "*shape"]) -> Float[Array, "*values"]:
        """The level of the arc that t lies in."""
        xp = namespace(self.switch_ts, t)
        arc = xp.searchsorted(self.switch_ts, t, side="left")
        return namespace(arc, self.low, self.high).asarray(self.arc_values)[arc]

    @property
    def jump_ts(self) -> Float[Array, " jumps"]:
        """s, the switches, T."""
        times = self.s[None], self.switch_ts, self.T[None]
        return namespace(*times).concatenate(times)

    def levels(self) -> Float[Array, "arcs *m"]:
        """1, the arcs' levels, 0."""
        inside = self.arc_values
        return namespace(inside).concatenate([np.ones(1), inside, np.zeros(1)])

    @classmethod
    def switching(cls, count: int, *, first: str = "high", low: float = 0.0, high: float = 1.0) -> "type[BangBang]":
        """The family with so many switches, for `best_in_family` and `compare_schedules`.

        Example:
            >>> ef.BangBang.switching(3).search_space(1.0, 5.0).names
            ('τ₁', 'share₂', 'share₃')

        Its numbers are τ₁ ∈ [s, T], and for each further switch the part of the time that is left until T at which it
        lies, τ_k = τ_{k−1} + share_k (T − τ_{k−1}); `schedule.switch_ts` has the times.

        Raises:
            InputError: no whole number of switches, more than nine, or levels that `BangBang` refuses.
        """
        if as_count(count, "count") > len(_INDEX):
            raise InputError(f"count is {count}; families of up to {len(_INDEX)} switches are searched.")
        names = tuple(f"{'share' if k else 'τ'}{_INDEX[k]}" for k in range(count))
        BangBang(0.0, np.ones(1), 2.0, first, low, high)
        return _family(names, first, float(low), float(high))

    @classmethod
    def search_space(cls, s: float, T: float) -> SearchSpace:
        """That of two switches between 1 and 0: ε = 1 until τ₁, and again from τ₂ until T; see `switching`."""
        return cls.switching(2).search_space(s, T)


_INDEX = "₁₂₃₄₅₆₇₈₉"


@lru_cache
def _family(names: tuple[str, ...], first: str, low: float, high: float) -> type[BangBang]:
    """The class of a number of switches, which says how it is searched; its members are plain `BangBang`s."""

    class Switching(BangBang):
        @classmethod
        def search_space(cls, s: float, T: float) -> SearchSpace:
            later = len(names) - 1
            lower, upper = (s, *(0.0,) * later), (T, *(1.0,) * later)
            build = Partial(cls._member, as_float64(s), as_float64(T))
            return SearchSpace(names, lower, upper, (False,) * len(names), build)

        @classmethod
        def _member(cls, s: Array, T: Array, parameters: Array) -> BangBang:
            xp = namespace(parameters)
            times = [parameters[0]]
            for k in range(1, len(names)):
                times.append(xp.clip(times[-1] + parameters[k] * (T - times[-1]), times[-1], T))
            return BangBang(s, xp.stack(times), T, first, low, high)

    Switching.__name__ = f"BangBang, {len(names)} switch{'es' * (len(names) > 1)}, {first} first"
    return Switching
