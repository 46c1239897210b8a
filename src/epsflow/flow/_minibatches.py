"""The rows of each step of discrete training: shuffled epochs, read from memory or from a file, a few steps at a time.

What a step sees depends on the key and on the number of the step alone, so that training can be taken up anywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from .._core import Array, InputError
from ..problem import Problem
from ..schedules import AbstractSchedule

LEG, NUMBERS = 256, 2**24
"""Steps that run in one compiled call, and numbers (128 MB) that their rows may take."""


class Rows(eqx.Module):
    """What the gradients of a few steps sum over.

    Attributes:
        x, y: of each step, shapes (k, b, p) and (k, b, ...); of all points, without the first axis.
        place: which deleted point a row is, −1 for a retained one, shape (k, b) or (n,).
        eps: ε of the deleted points in each step and, last, 1 for all others, shape (k, m + 1).
    """

    x: Float[Array, "*k b p"]
    y: Float[Array, "*k_b_t"]
    place: Int[Array, "*k b"]
    eps: Float[Array, "k entries"]

    def of(self, step: Array) -> "Batch":
        """The rows of one of the steps."""
        parts = self.x, self.y, self.place
        x, y, place = parts if self.place.ndim == 1 else (part[step] for part in parts)
        return Batch(x, y, self.eps[step][place])


class Batch(NamedTuple):
    """The rows of one step, and how they count: 1 for retained points, ε_j for deleted ones."""

    x: Float[Array, "b p"]
    y: Float[Array, "b *t"]
    weights: Float[Array, " b"]


@dataclass(frozen=True)
class Source:
    """Where the rows of every step come from.

    Attributes:
        problem: the data, and which points are deleted.
        schedule: ε(t).
        step_size: time per step; step k is at t = (k + ½)·step_size.
        batch: b; None for all points.
        words: of the key.
        dtype: of the numbers that the model sees.
        devices: over which the rows of a batch are spread; empty for JAX's own choice.
    """

    problem: Problem
    schedule: AbstractSchedule
    step_size: float
    batch: int | None
    words: tuple[int, ...]
    dtype: Any
    devices: Sequence[Any] = ()

    @property
    def leg(self) -> int:
        """Steps per compiled call."""
        data = self.problem.data
        return int(np.clip(NUMBERS // ((self.batch or 1) * data.x.shape[1]), 1, LEG))

    def rows(self, first: int, count: int) -> Rows:
        """Of `count` steps from `first` on, with room for `leg` of them: one shape for all calls."""
        data, delete = self.problem.data, self.problem.delete
        place = np.full(data.n, -1, np.int32)
        place[delete] = np.arange(len(delete))
        eps = self._weights(first)
        if self.batch is None:
            return self._spread(Rows(*_everything(data.x, data.y, self.dtype), place, eps))
        points = np.zeros((self.leg, self.batch), np.int64)
        points[:count] = self._points(first, count)
        x, y = (np.asarray(part[points.ravel()]) for part in (data.x, data.y))
        check_rows(x, y, first)
        shapes = (self.leg, self.batch)
        return self._spread(
            Rows(
                x.reshape(*shapes, -1).astype(self.dtype),
                y.reshape(*shapes, *y.shape[1:]).astype(self.dtype),
                place[points],
                eps,
            )
        )

    def _weights(self, first: int) -> Float[np.ndarray, "leg entries"]:
        ts = (first + np.arange(self.leg) + 0.5) * self.step_size
        values = np.asarray(self.schedule(ts))
        values = np.broadcast_to(values.reshape(self.leg, -1), (self.leg, len(self.problem.delete)))
        return np.concatenate([values, np.ones((self.leg, 1))], axis=1).astype(self.dtype)

    def _points(self, first: int, count: int) -> Int[np.ndarray, "count b"]:
        assert self.batch is not None  # the caller's business
        return epoch_batches(self.words, self.problem.data.n, self.batch, first + np.arange(count))

    def _spread(self, rows: Rows) -> Rows:
        """The rows on the device, or each batch in equal parts on several."""
        if not self.devices:
            return jax.tree.map(jnp.asarray, rows)
        mesh = jax.sharding.Mesh(np.asarray(self.devices), ("rows",))
        axes = (None, "rows") if rows.place.ndim == 2 else ("rows",)
        by_row = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))
        everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
        put = jax.device_put
        return Rows(put(rows.x, by_row), put(rows.y, by_row), put(rows.place, by_row), put(rows.eps, everywhere))


def epoch_batches(
    words: tuple[int, ...], n: int, size: int, steps: Int[np.ndarray, " count"]
) -> Int[np.ndarray, "count b"]:
    """The points of each step: epoch e is a permutation seeded by the key and e; its last n mod b points rest.

    Example:
        >>> ef.flow.epoch_batches((0,), n=4, size=2, steps=np.arange(4)).shape
        (4, 2)
    """
    epochs, places = np.divmod(steps, n // size)
    return np.stack(
        [
            epoch_order(words, int(epoch), n)[place * size : (place + 1) * size]
            for epoch, place in zip(epochs, places, strict=True)
        ]
    )


@lru_cache(maxsize=4)
def epoch_order(words: tuple[int, ...], epoch: int, n: int) -> Int[np.ndarray, " n"]:
    """The order in which an epoch goes through the points: that of `default_rng([*words, epoch]).permutation(n)`."""
    return np.random.default_rng([*words, epoch]).permutation(n)


def _everything(x: np.ndarray, y: np.ndarray, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(x, dtype), np.asarray(y, dtype)


def check_rows(x: np.ndarray, y: np.ndarray, first: int) -> None:
    """Refuse rows of a memory map that are not finite: they are seen here for the first time."""
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InputError(f"a batch after step {first} holds NaN or infinity. Remove or impute these rows of the file.")
