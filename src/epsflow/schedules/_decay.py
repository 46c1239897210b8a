"""Schedules that decay smoothly from 1 to 0."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float

from .._core import InputError
from ._base import AbstractAnalytic, SearchSpace, as_float64, as_number, check_times, known


class LinearDecay(AbstractAnalytic):
    """ε falls on a straight line from 1 at s to 0 at t₁: ε = (t₁ − t)/(t₁ − s). With t₁ = s it is the step at s.

    Attributes:
        s: when the decay begins.
        t1: t₁ of the notes, s ≤ t₁ ≤ T.
    """

    s: Float[Array, ""] = eqx.field(converter=as_number)
    t1: Float[Array, ""] = eqx.field(converter=as_number)

    def __check_init__(self) -> None:
        check_times("LinearDecay", self.s, self.t1)

    @property
    def start(self) -> Float[Array, ""]:
        """s."""
        return self.s

    @property
    def end(self) -> Float[Array, ""]:
        """t₁."""
        return self.t1

    def inner(self, t: Float[Array, "*shape"]) -> Float[Array, "*values"]:
        """The line."""
        return (self.t1 - t) / _width(self.s, self.t1)

    @property
    def jump_ts(self) -> Float[Array, " jumps"]:
        """The two kinks."""
        return jnp.stack([self.s, self.t1])

    def taylor(self, t: Float[Array, ""], order: int, step: Float[Array, ""] | float = 1.0) -> Float[Array, " terms"]:
        """Value and slope·step, then zeros."""
        slope = -1.0 / _width(self.s, self.t1)
        return jnp.zeros(order + 1).at[:2].set(jnp.stack([self.inner(t), slope * step]))

    def taylor_step(self, t: Float[Array, ""]) -> Float[Array, ""]:
        """+∞."""
        return jnp.asarray(jnp.inf)

    @classmethod
    def search_space(cls, s: float, T: float) -> SearchSpace:
        """t₁ ∈ [s, T]."""
        return SearchSpace(("t₁",), (s,), (T,), (False,), Partial(cls._member, as_float64(s)))

    @classmethod
    def _member(cls, s: Array, parameters: Array) -> "LinearDecay":
        return cls(s, parameters[0])


class PolynomialDecay(AbstractAnalytic):
    """ε = ((t₁ − t)/(t₁ − s))^power: convex for power > 1, concave below.

    Attributes:
        s: when the decay begins.
        t1: t₁ ≥ s.
        power: > 0.
    """

    s: Float[Array, ""] = eqx.field(converter=as_number)
    t1: Float[Array, ""] = eqx.field(converter=as_number)
    power: Float[Array, ""] = eqx.field(converter=as_number, default=2.0)

    def __check_init__(self) -> None:
        check_times("PolynomialDecay", self.s, self.t1)
        _check_positive("PolynomialDecay", "power", self.power)

    @property
    def start(self) -> Float[Array, ""]:
        """s."""
        return self.s

    @property
    def end(self) -> Float[Array, ""]:
        """t₁."""
        return self.t1

    def inner(self, t: Float[Array, "*shape"]) -> Float[Array, "*values"]:
        """The power of the line, clipped to [0, 1] first so that it is defined everywhere."""
        return jnp.clip((self.t1 - t) / _width(self.s, self.t1), 0.0, 1.0) ** self.power

    @property
    def jump_ts(self) -> Float[Array, " jumps"]:
        """The two ends."""
        return jnp.stack([self.s, self.t1])

    def taylor(self, t: Float[Array, ""], order: int, step: Float[Array, ""] | float = 1.0) -> Float[Array, " terms"]:
        """Binomial series: c_{k+1} = −c_k (power − k) / ((k+1)(t₁ − t)), times stepᵏ."""
        k = jnp.arange(order)
        ratios = -(self.power - k) / (k + 1) * (step / (self.t1 - t))
        return self.inner(t) * jnp.concatenate([jnp.ones(1), jnp.cumprod(ratios)])

    def taylor_step(self, t: Float[Array, ""]) -> Float[Array, ""]:
        """A quarter of the distance to t₁, where a fractional power is not analytic: 4⁻²⁴ = 4e-15."""
        return (self.t1 - t) / 4.0

    @classmethod
    def search_space(cls, s: float, T: float) -> SearchSpace:
        """t₁ ∈ [s, T], power ∈ [1/8, 8]."""
        return SearchSpace(("t₁", "power"), (s, 0.125), (T, 8.0), (False, True), Partial(cls._member, as_float64(s)))

    @classmethod
    def _member(cls, s: Array, parameters: Array) -> "PolynomialDecay":
        return cls(s, parameters[0], parameters[1])


class ExponentialDecay(AbstractAnalytic):
    """ε = e^{−rate (t − s)}, cut to 0 at T.

    Attributes:
        s: when the decay begins.
        rate: > 0, per unit of time.
        T: when the rest is dropped.
    """

    s: Float[Array, ""] = eqx.field(converter=as_number)
    rate: Float[Array, ""] = eqx.field(converter=as_number)
    T: Float[Array, ""] = eqx.field(converter=as_number)

    def __check_init__(self) -> None:
        check_times("ExponentialDecay", self.s, self.T)
        _check_positive("ExponentialDecay", "rate", self.rate)

    @property
    def start(self) -> Float[Array, ""]:
        """s."""
        return self.s

    @property
    def end(self) -> Float[Array, ""]:
        """T."""
        return self.T

    def inner(self, t: Float[Array, "*shape"]) -> Float[Array, "*values"]:
        """The exponential; 1 before s, so that it never overflows."""
        return jnp.exp(-self.rate * jnp.maximum(t - self.s, 0.0))

    @property
    def jump_ts(self) -> Float[Array, " jumps"]:
        """The kink and the cut."""
        return jnp.stack([self.s, self.T])

    def taylor(self, t: Float[Array, ""], order: int, step: Float[Array, ""] | float = 1.0) -> Float[Array, " terms"]:
        """c_{k+1} = −c_k rate/(k+1), times stepᵏ."""
        return self.inner(t) * jnp.concatenate([jnp.ones(1), jnp.cumprod(-self.rate * step / jnp.arange(1, order + 1))])

    def taylor_step(self, t: Float[Array, ""]) -> Float[Array, ""]:
        """2/rate: 2²⁴/24! = 3e-17."""
        return 2.0 / self.rate

    @classmethod
    def search_space(cls, s: float, T: float) -> SearchSpace:
        """rate·(T − s) ∈ [0.01, 1000]: from hardly any decay to practically a step at s."""
        bounds = (0.01 / (T - s),), (1000.0 / (T - s),)
        return SearchSpace(("rate",), *bounds, (True,), Partial(cls._member, as_float64(s), as_float64(T)))

    @classmethod
    def _member(cls, s: Array, T: Array, parameters: Array) -> "ExponentialDecay":
        return cls(s, parameters[0], T)


def _width(start: Array, end: Array) -> Array:
    # Where end = start nothing lies in between; the divisor only has to be harmless.
    return jnp.where(end > start, end - start, 1.0)


def _check_positive(name: str, what: str, value: Array) -> None:
    values = known(value)
    if values is not None and not (np.isfinite(values).all() and (values > 0.0).all()):
        raise InputError(f"{name}: {what} is {values[0]:g}; a positive finite number is needed.")
