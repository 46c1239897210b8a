"""What every schedule is, and what its family says to a search."""

import abc
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Float

from .._core import Array, InputError, Spelled, as_array, namespace, require_x64, spelled


class SearchSpace(NamedTuple):
    """The numbers that pick one member of a family.

    Example:
        >>> ef.Step.search_space(1.0, 3.0).lower
        (1.0,)

    Attributes:
        names: what each number is called in tables.
        lower, upper: its bounds, one each.
        log: whether it is searched on a logarithmic scale.
        build: from an array of the numbers, shape (len(names),), to the schedule; traceable. Make it a
            `jax.tree_util.Partial` of a class method over s and T, so that another s or T compiles nothing. Of an
            `elementwise` family it also builds k members at once, from numbers of shape (k, len(names)): read them as
            `numbers[..., 0]`.
    """

    names: tuple[str, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    log: tuple[bool, ...]
    build: Callable[[Float[Array, "*members parameters"]], "AbstractSchedule"]

    __repr__ = spelled

    def scaled(self, numbers: object) -> Float[np.ndarray, "*k p"]:
        """Numbers on the scale on which they are searched."""
        given = np.asarray(numbers)
        return np.where(self.log, np.log(np.where(self.log, given, 1.0)), given)

    def unscaled(self, scaled: Float[np.ndarray, "*k p"]) -> Float[np.ndarray, "*k p"]:
        """And back."""
        return np.where(self.log, np.exp(np.where(self.log, scaled, 0.0)), scaled)

    def at_bound(self, scaled: Float[np.ndarray, " p"]) -> tuple[str, ...]:
        """The names of those that are at a bound, to 1e-7 of the range."""
        lower, upper = self.scaled(self.lower), self.scaled(self.upper)
        near = 1e-7 * (upper - lower)
        on_bound = (scaled <= lower + near) | (scaled >= upper - near)
        return tuple(name for name, on in zip(self.names, on_bound, strict=True) if on)


class AbstractSchedule(Spelled, eqx.Module):
    """ε(t) = 1 for t ≤ start, `inner(t)` for start < t < end, 0 for t ≥ end.

    Example:
        >>> class Parabola(ef.AbstractSchedule):
        ...     start, end = np.array(1.0), np.array(3.0)
        ...     jump_ts = np.array([1.0, 3.0])
        ...     def inner(self, t):
        ...         return 0.25 * (3.0 - t) ** 2
        >>> Parabola()(np.array([0.5, 2.0, 4.0]))
        array([1.  , 0.25, 0.  ])

    Values are numbers, or vectors of shape (m,) with one weight per deleted point. Fields made from concrete numbers
    are NumPy arrays, and the answers are then NumPy's too, unless the times are JAX's; made from tracers, all is JAX's.

    Attributes:
        elementwise: whether all methods broadcast over fields of shape (k,) and times of shape (..., k): the schedule
            is then a stack of k members of its family, which `build_members` makes and evaluates together. Without it
            members are evaluated one by one.
    """

    elementwise: ClassVar[bool] = False

    @property
    @abc.abstractmethod
    def start(self) -> Float[Array, "*members"]:
        """The last time at which ε is still held at 1; −∞ if it never is."""

    @property
    @abc.abstractmethod
    def end(self) -> Float[Array, "*members"]:
        """The first time from which ε is 0; +∞ if it never is."""

    @abc.abstractmethod
    def inner(self, t: Float[Array, "*shape"]) -> Float[Array, "*values"]:
        """ε(t) for start < t < end, of shape (*t.shape,) or (*t.shape, m); any finite value elsewhere."""

    @property
    @abc.abstractmethod
    def jump_ts(self) -> Float[Array, "*members jumps"]:
        """Times at which ε or its derivative may jump, ascending. Integrators step onto each of them.

        Between them ε is taken to be smooth, but for a power at the later one. What is not declared costs time, and
        shows in the error that a flow reports.
        """

    def __call__(self, t: Float[Array, "*shape"] | float) -> Float[Array, "*values"]:
        """ε at any times: shape (*t.shape,), or (*t.shape, m)."""
        times = namespace(t).asarray(t, dtype=np.float64) if namespace(t) is not np else as_float64(t)
        if isinstance(times, np.ndarray) and np.isnan(times).any():
            raise InputError(f"{type(self).__name__} is asked for its value at the time NaN.")
        values = self.inner(times)
        times = times.reshape(times.shape + (1,) * (values.ndim - times.ndim))
        xp = namespace(times, values, self.start, self.end)
        return xp.where(times <= self.start, 1.0, xp.where(times >= self.end, 0.0, values))

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
    """A schedule that is constant between its jumps: the flow of linear regression under it is exact.

    Example:
        >>> class Half(ef.AbstractPiecewiseConstant):
        ...     start, end = np.array(1.0), np.array(3.0)
        ...     jump_ts = np.array([1.0, 3.0])
        ...     def inner(self, t):
        ...         return np.full(np.shape(t), 0.5)
        ...     def levels(self):
        ...         return np.array([1.0, 0.5, 0.0])
        >>> Half()(np.array([0.5, 2.0, 4.0]))
        array([1. , 0.5, 0. ])
    """

    @abc.abstractmethod
    def levels(self) -> Float[Array, "*shape"]:
        """ε before the first jump, between consecutive jumps, and after the last one: one more row than jumps.

        A stack's levels have shape (k, arcs).
        """


class Stack(np.ndarray):
    """Numbers of k members side by side, shape (k,): the only vector that a field of one number accepts."""


def as_float64(value: object) -> Float[Array, "*shape"]:
    """Field converter: numbers as a float64 array, JAX's where one of them is a tracer, else NumPy's."""
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(value)):
        require_x64()  # NumPy's numbers have 64 bits whatever JAX's have
        return jnp.asarray(value, dtype=jnp.float64)
    try:
        array = as_array(value, "the schedule")
    except InputError as error:
        raise InputError(f"a schedule is made of numbers; got {value!r}.") from error
    if array.dtype.kind not in "fiub":
        raise InputError(f"a schedule is made of numbers; got {value!r}.")
    return array.astype(np.float64, copy=False)


def as_number(value: object) -> Float[Array, "*members"]:
    """Field converter: as `as_float64`, for a field that is one number, or one for each member of a stack."""
    number = as_float64(value)
    if number.ndim != 0 and not isinstance(value, Stack):
        raise InputError(
            f"one number is needed where an array of shape {number.shape} was given; for several schedules at once, "
            "map over the numbers: jax.vmap(lambda tau: ... epsflow.Step(tau) ...)(taus)."
        )
    return number


def known(*values: Array) -> tuple[np.ndarray, ...] | None:
    """The values, or None inside a transformation, where they are not known (and were checked before)."""
    if any(isinstance(value, Tracer) for value in values):
        return None
    return tuple(np.asarray(value) for value in values)


def check_times(name: str, *times: Array) -> None:
    """Refuse known times, each a number or one for each member of a stack, that are not finite or that decrease."""
    values = known(*times)
    if values is not None:
        check_ascending(name, np.stack(np.broadcast_arrays(*values), axis=-1))


def check_ascending(name: str, times: Float[np.ndarray, "*members n"]) -> None:
    """Refuse a row of times that are not finite or that decrease."""
    rows = times.reshape(-1, times.shape[-1])
    infinite = ~np.isfinite(rows).all(axis=1)
    if infinite.any():
        raise InputError(f"{name}: every time must be finite; got {rows[np.argmax(infinite)].tolist()}.")
    decreasing = (np.diff(rows, axis=1) < 0.0).any(axis=1)
    if decreasing.any():
        raise InputError(f"{name}: times must not decrease; got {rows[np.argmax(decreasing)].tolist()}.")
