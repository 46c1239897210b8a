"""What every schedule is, and what its family says to a search."""

import abc
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from .._core import InputError, require_x64


class SearchSpace(NamedTuple):
    """The numbers that pick one member of a family.

    Attributes:
        names: what each number is called in tables.
        lower, upper: its bounds, one each.
        log: whether it is searched on a logarithmic scale.
        build: from an array of the numbers, shape (len(names),), to the schedule; traceable. Make it a
            `jax.tree_util.Partial` of a class method over s and T, so that another s or T compiles nothing.
    """

    names: tuple[str, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    log: tuple[bool, ...]
    build: Callable[[Float[Array, " parameters"]], "AbstractSchedule"]


class AbstractSchedule(eqx.Module):
    """ε(t) = 1 for t ≤ start, `inner(t)` for start < t < end, 0 for t ≥ end.

    Values are numbers, or vectors of shape (m,) with one weight per deleted point.
    """

    @property
    @abc.abstractmethod
    def start(self) -> Float[Array, ""]:
        """The last time at which ε is still held at 1; −∞ if it never is."""

    @property
    @abc.abstractmethod
    def end(self) -> Float[Array, ""]:
        """The first time from which ε is 0; +∞ if it never is."""

    @abc.abstractmethod
    def inner(self, t: Float[Array, "*shape"]) -> Float[Array, "*values"]:
        """ε(t) for start < t < end, of shape (*t.shape,) or (*t.shape, m); any finite value elsewhere."""

    @property
    @abc.abstractmethod
    def jump_ts(self) -> Float[Array, " jumps"]:
        """Times at which ε or its derivative may jump, ascending. Integrators step onto each of them."""

    def __call__(self, t: Float[Array, "*shape"] | Float[np.ndarray, "*shape"] | float) -> Float[Array, "*values"]:
        """ε at any times: shape (*t.shape,), or (*t.shape, m)."""
        times = jnp.asarray(t, dtype=jnp.float64)
        values = self.inner(times)
        times = times.reshape(times.shape + (1,) * (values.ndim - times.ndim))
        return jnp.where(times <= self.start, 1.0, jnp.where(times >= self.end, 0.0, values))

    @classmethod
    def search_space(cls, s: float, T: float) -> SearchSpace:
        """The members of this family that lie in E_s, as a box of numbers.

        Raises:
            InputError: if the class does not describe its family.
        """
        raise InputError(
            f"{cls.__name__} does not say over which numbers it can be searched. Give the class a classmethod "
            "`search_space(cls, s, T)` that returns an `epsflow.SearchSpace`."
        )


class AbstractPiecewiseConstant(AbstractSchedule):
    """A schedule that is constant between its jumps: the flow of linear regression under it is exact."""

    @abc.abstractmethod
    def levels(self) -> Float[Array, "arcs *m"]:
        """ε before the first jump, between consecutive jumps, and after the last one: one more row than jumps."""


class AbstractAnalytic(AbstractSchedule):
    """A schedule with a known Taylor series between `start` and `end`: linear regression then has a series solution."""

    @abc.abstractmethod
    def taylor(self, t: Float[Array, ""], order: int, step: Float[Array, ""] | float = 1.0) -> Float[Array, " terms"]:
        """Coefficients c_k·step^k of inner(t + h) = Σ_k c_k h^k, k = 0 … order, for start ≤ t < end.

        In units of the step, so that c_k of a small radius of convergence does not overflow.
        """

    @abc.abstractmethod
    def taylor_step(self, t: Float[Array, ""]) -> Float[Array, ""]:
        """A step h > 0 within which c_k h^k falls below rounding by k = 24; +∞ for a polynomial."""


def as_float64(value: object) -> Array:
    """Field converter: anything numeric (tracers included) to a float64 JAX array."""
    require_x64()
    try:
        return jnp.asarray(value, dtype=jnp.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"a schedule is made of numbers; got {value!r}.") from error


def as_number(value: object) -> Float[Array, ""]:
    """Field converter: as `as_float64`, for a field that is one number. Several at once: `jax.vmap`."""
    number = as_float64(value)
    if number.ndim != 0:
        raise InputError(
            f"one number is needed where an array of shape {number.shape} was given; for several schedules at once, "
            "map over the numbers: jax.vmap(lambda tau: ... epsflow.Step(tau) ...)(taus)."
        )
    return number


def known(*values: Array) -> np.ndarray | None:
    """The values end to end, or None inside a transformation, where they are not known (and were checked before)."""
    if any(isinstance(value, Tracer) for value in values):
        return None
    return np.concatenate([np.ravel(np.asarray(value)) for value in values])


def check_times(name: str, *times: Array) -> None:
    """Refuse known times that are not finite or that decrease."""
    values = known(*times)
    if values is None:
        return
    if not np.isfinite(values).all():
        raise InputError(f"{name}: every time must be finite; got {values.tolist()}.")
    if (np.diff(values) < 0.0).any():
        raise InputError(f"{name}: times must not decrease; got {values.tolist()}.")
