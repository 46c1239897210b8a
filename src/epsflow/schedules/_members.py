"""Many schedules of one family, evaluated together in NumPy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float, Int

from .._core import InputError
from ._base import AbstractPiecewiseConstant, AbstractSchedule, SearchSpace, Stack

Each = Float[np.ndarray, " k"]
"""One number for each of the k members."""


@dataclass(frozen=True, eq=False)
class Members:
    """k schedules of one class. What `AbstractSchedule` says of one time, it says of one time for each member.

    Example:
        >>> ef.schedules.Members.of([ef.Step(1.0), ef.Step(2.0)]).end
        array([1., 2.])

    Attributes:
        schedules: one stack of an `elementwise` family, or the k schedules one by one.
        size: k.
    """

    schedules: AbstractSchedule | tuple[AbstractSchedule, ...]
    size: int

    @classmethod
    def of(cls, schedules: Sequence[AbstractSchedule]) -> "Members":
        """Schedules of one class, one by one; of different numbers of jumps none can be asked for."""
        return cls(tuple(schedules), len(schedules))

    @property
    def piecewise_constant(self) -> bool:
        """Whether every member is constant between its jumps."""
        return isinstance(self._first, AbstractPiecewiseConstant)

    @property
    def start(self) -> Each:
        """The last time at which each is still held at 1."""
        return self._each(lambda schedule: schedule.start)

    @property
    def end(self) -> Each:
        """The first time from which each is 0."""
        return self._each(lambda schedule: schedule.end)

    @property
    def jump_ts(self) -> Float[np.ndarray, "k jumps"]:
        """The jumps of each."""
        return self._each(lambda schedule: schedule.jump_ts, 1)

    def levels(self) -> Float[np.ndarray, "k arcs *m"]:
        """The levels of each, of piecewise-constant members."""
        return self._each(lambda schedule: schedule.levels(), 1)

    def __call__(self, t: Float[np.ndarray, "k *n"]) -> Float[np.ndarray, "k *values"]:
        """ε of each member at its own time, shape (k,), or at its own n times, shape (k, n)."""
        if isinstance(self.schedules, tuple):
            return self._each(lambda schedule, times: schedule(times), 0, t)
        return np.moveaxis(np.asarray(self.schedules(np.moveaxis(t, 0, -1))), -1, 0)

    def take(self, index: Int[np.ndarray, " q"]) -> "Members":
        """Some of the members."""
        if isinstance(self.schedules, tuple):
            return Members.of([self.schedules[i] for i in index])
        return Members(jax.tree.map(lambda leaf: leaf[index] if leaf.ndim else leaf, self.schedules), len(index))

    def member(self, i: int) -> AbstractSchedule:
        """The i-th schedule by itself."""
        if isinstance(self.schedules, tuple):
            return self.schedules[i]
        return jax.tree.map(lambda leaf: np.asarray(leaf[i]) if leaf.ndim else leaf, self.schedules)

    @property
    def _first(self) -> AbstractSchedule:
        return self.schedules[0] if isinstance(self.schedules, tuple) else self.schedules

    def _each(self, answer: Callable[..., object], dimensions: int = 0, *arguments: np.ndarray) -> np.ndarray:
        """The answer of each member; a stack's answer of fewer dimensions is common to all."""
        if isinstance(self.schedules, tuple):
            rows = [answer(member, *(a[i] for a in arguments)) for i, member in enumerate(self.schedules)]
            return np.stack([np.asarray(row, dtype=np.float64) for row in rows])
        values = np.asarray(answer(self.schedules, *arguments))
        return values if values.ndim > dimensions else np.broadcast_to(values, (self.size, *values.shape))


def build_members(space: SearchSpace, parameters: Float[np.ndarray, "k p"]) -> Members:
    """The members of a family that rows of numbers pick: at once where the family is `elementwise`, else one by one.

    Example:
        >>> space = ef.LinearDecay.search_space(s=1.0, T=5.0)
        >>> ef.schedules.build_members(space, np.array([[1.0, 3.0], [2.0, 4.0]])).end
        array([1., 2.])

    Raises:
        InputError: a family that says it is elementwise, but whose stack differs from its members.
    """
    first = space.build(parameters[0])
    if not first.elementwise:
        return Members.of([first, *(space.build(row) for row in parameters[1:])])
    members = Members(space.build(parameters.view(Stack)), len(parameters))
    last, alone = jax.tree.leaves(members.member(-1)), jax.tree.leaves(space.build(parameters[-1]))
    if not all(np.array_equal(a, b) for a, b in zip(last, alone, strict=True)):
        raise InputError(
            f"{type(first).__name__} is declared elementwise, but a stack of its members is not its members side by "
            "side. Read the numbers as `numbers[..., 0]` in `search_space`, or leave `elementwise` out."
        )
    return members
