"""The rows of each step of discrete training: shuffled epochs, of data in memory or, a few steps at a time, of a file.

What a step sees depends on the key and on the number of the step alone, so that training can be taken up anywhere.
"""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from .._core import Array, InputError, spelled
from ..problem import Dataset, Problem, stored_in
from ..schedules import AbstractSchedule

LEG, NUMBERS = 4_096, 2**24
"""Steps that run in one compiled call at most, and numbers (128 MB) that what they need may take."""

WORK = 2**36
"""Points times parameters of one compiled call: some seconds, after which progress is told."""

RESIDENT = 2**28
"""Numbers (1 GB in single precision) of data in memory that are brought to the device once, and whole."""


class Rows(eqx.Module):
    """What the gradients of a few steps sum over.

    Attributes:
        x, y: of all points, shapes (n, p) and (n, ...); or of each step's alone, with a first axis more.
        place: which deleted point a row is, −1 for a retained one, shape (n,) or (k, b).
        eps: ε of the deleted points in each step and, last, 1 for all others, shape (k, m + 1).
        points: which of all points each step takes, shape (k, b); None for all of them, or where x holds each step's.
    """

    x: Float[Array, "*rows p"]
    y: Float[Array, "*rows_t"]
    place: Int[Array, "*rows"]
    eps: Float[Array, "k entries"]
    points: Int[Array, "k b"] | None = None

    def of(self, step: Array) -> "Batch":
        """The rows of one of the steps."""
        x, y, place = (self._taken(part, step) for part in (self.x, self.y, self.place))
        return Batch(x, y, self.eps[step][place])

    def places(self, step: Array) -> Int[Array, " b"]:
        """Which entry of `eps[step]` weighs each row of the step."""
        return self._taken(self.place, step)

    def by_eps(self, step: Array, by_weight: Float[Array, " b"]) -> Float[Array, " entries"]:
        """A derivative by the weights of one step's rows, as one by `eps[step]`."""
        return jnp.zeros_like(self.eps[step]).at[self.places(step)].add(by_weight)

    def _taken(self, part: Array, step: Array) -> Array:
        if self.points is not None:
            return part[self.points[step]]
        return part if self.place.ndim == 1 else part[step]


class Batch(NamedTuple):
    """The rows of one step, and how they count: 1 for retained points, ε_j for deleted ones.

    Example:
        >>> ef.flow.Batch(np.ones((2, 1)), np.ones(2), np.array([1.0, 0.5])).weights
        array([1. , 0.5])
    """

    x: Float[Array, "b p"]
    y: Float[Array, "b *t"]
    weights: Float[Array, " b"]

    __repr__ = spelled


@dataclass(frozen=True)
class Source:
    """Where the rows of every step come from.

    Attributes:
        problem: the data, and which points are deleted.
        schedule: ε(t).
        step_size: time per step; step k is at t = (k + ½)·step_size.
        batch: b; None for all points.
        words: of the key.
        precision: in which is computed.
        mesh: of the devices over which the rows of a batch are spread; None for JAX's own choice.
        most: steps per compiled call, at most.
    """

    problem: Problem
    schedule: AbstractSchedule
    step_size: float
    batch: int | None
    words: tuple[int, ...]
    precision: str
    mesh: jax.sharding.Mesh | None = None
    most: int = LEG

    @property
    def dtype(self) -> Any:
        """Of the numbers that the model sees."""
        return np.dtype(stored_in(self.precision))

    def reseeded(self, words: tuple[int, ...]) -> "Source":
        """The same for another key; what is on the device serves both."""
        other = replace(self, words=words)
        if not self.streamed:
            other.__dict__["_held"] = self._held
        return other

    @property
    def streamed(self) -> bool:
        """Whether rows are read from the data a few steps at a time, instead of held on the device."""
        x = self.problem.data.x
        return self.batch is not None and (isinstance(x, np.memmap) or x.size > RESIDENT)

    @property
    def leg(self) -> int:
        """Steps per compiled call."""
        data, rows = self.problem.data, self.batch or 1
        each = max(rows * data.x.shape[1] if self.streamed else rows, len(self.problem.delete) + 1)
        return int(np.clip(min(NUMBERS // each, WORK // ((self.batch or data.n) * self.problem.dim)), 1, self.most))

    def rows(self, first: int, count: int) -> Rows:
        """Of `count` steps from `first` on, with room for `leg` of them: one shape for all calls."""
        eps = self._put(self._weights(first))
        if self.batch is None:
            return Rows(*self._held, eps)
        points = np.zeros((self.leg, self.batch), np.int32)
        points[:count] = epoch_batches(self.words, self.problem.data.n, self.batch, range(first, first + count))
        if not self.streamed:
            return Rows(*self._held, eps, self._put(points, None, "rows"))
        x, y = (np.asarray(part[points.ravel()]) for part in (self.problem.data.x, self.problem.data.y))
        check_rows(x, y, self.problem.data, points.ravel(), first)
        parts = [part.reshape(*points.shape, *part.shape[1:]).astype(self.dtype, copy=False) for part in (x, y)]
        x, y, place = (self._put(part, None, "rows") for part in (*parts, self._place[points]))
        return Rows(x, y, place, eps)

    def draws_deleted(self, steps: range) -> bool:
        """Whether a batch of one of these steps contains a deleted point."""
        data, delete = self.problem.data, self.problem.delete
        if self.batch is None:
            return len(steps) > 0
        parts = (steps[first : first + self.leg] for first in range(0, len(steps), self.leg))
        return any(bool(np.isin(epoch_batches(self.words, data.n, self.batch, part), delete).any()) for part in parts)

    @cached_property
    def _held(self) -> tuple[Array, Array, Array]:
        """All points on the device, for as long as this training lasts: in equal parts where a step takes all."""
        axes = ("rows",) if self.batch is None else ()
        if isinstance(self.problem.data.x, np.memmap):
            check_rows(self.problem.data.x, self.problem.data.y, self.problem.data)
        data = (np.asarray(part, self.dtype) for part in (self.problem.data.x, self.problem.data.y))
        x, y, place = (self._put(part, *axes) for part in (*data, self._place))
        return x, y, place

    @cached_property
    def _place(self) -> Int[np.ndarray, " n"]:
        """Which entry of a step's weights belongs to a point: the last is 1."""
        delete = self.problem.delete
        place = np.full(self.problem.data.n, len(delete), np.int32)
        place[delete] = np.arange(len(delete))
        return place

    def _weights(self, first: int) -> Float[np.ndarray, "leg entries"]:
        ts = (first + np.arange(self.leg) + 0.5) * self.step_size
        values = np.asarray(self.schedule(ts))
        values = np.broadcast_to(values.reshape(self.leg, -1), (self.leg, len(self.problem.delete)))
        return np.concatenate([values, np.ones((self.leg, 1))], axis=1).astype(self.dtype)

    def _put(self, part: np.ndarray, *axes: str | None) -> Array:
        """On the device; on several whole, or along one axis in equal parts."""
        if self.mesh is None:
            return jnp.asarray(part)
        return jax.device_put(part, jax.sharding.NamedSharding(self.mesh, jax.sharding.PartitionSpec(*axes)))


def epoch_batches(words: tuple[int, ...], n: int, size: int, steps: range) -> Int[np.ndarray, "count b"]:
    """The points of consecutive steps: epoch e is a permutation seeded by the key and e; its last n mod b points rest.

    Example:
        >>> ef.flow.epoch_batches((0,), n=4, size=2, steps=range(4)).shape
        (4, 2)
    """
    each, found = n // size, np.empty((len(steps), size), np.int32)
    done = 0
    while done < len(steps):
        epoch, place = divmod(steps[done], each)
        count = min(each - place, len(steps) - done)
        order = epoch_order(words, epoch, n)
        found[done : done + count].reshape(-1)[:] = order[place * size : (place + count) * size]
        done += count
    return found


@lru_cache(maxsize=4)
def epoch_order(words: tuple[int, ...], epoch: int, n: int) -> Int[np.ndarray, " n"]:
    """The order in which an epoch goes through the points: that of `default_rng([*words, epoch]).permutation(n)`."""
    return np.random.default_rng([*words, epoch]).permutation(n)


def check_rows(
    x: np.ndarray, y: np.ndarray, data: Dataset, points: Int[np.ndarray, " k"] | None = None, first: int = 0
) -> None:
    """Refuse rows of a memory map that are not finite: they are seen here for the first time.

    Args:
        x, y: the rows.
        data: whose they are.
        points: which; None for all.
        first: the step before those that take them.

    Raises:
        InputError: the first of these points and what it lacks, by name.
    """
    if np.isfinite(x).all() and np.isfinite(y).all():
        return
    wrong = ~np.column_stack([np.isfinite(x), np.isfinite(y).reshape(len(y), -1)])
    rows = np.flatnonzero(wrong.any(axis=1))
    points = np.arange(len(x)) if points is None else points
    row = min(rows, key=lambda place: points[place])
    column = int(np.argmax(wrong[row]))
    what = f"feature {data.features[column]!r}" if column < x.shape[1] else f"target {data.target!r}"
    raise InputError(
        f"{data.name}: {what} is NaN or infinity at point {points[row]} ({len(np.unique(points[rows]))} such points in "
        f"the batches read after step {first}). Remove or impute these rows of the file."
    )
