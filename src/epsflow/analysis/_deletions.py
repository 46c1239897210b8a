"""Which points are meant: the one parser of every argument `points`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from .._core import InputError, as_index_array
from ..problem import Problem

Points = Sequence[Any] | Int[np.ndarray, "..."] | int | str | None
"""None for the problem's deleted points as one group; "all", a number or numbers for each alone; a list of groups."""

_CHOICES = "pass 'all', a number, a list of numbers, or a list of groups"


@dataclass(frozen=True, eq=False)
class Deletions:
    """Several deletions: of one point each, or of groups.

    Attributes:
        index: the points of all deletions, one after the other, shape (points,).
        starts: where each group begins in `index`, shape (count,); None for one point each.
        count: number of deletions.
        single: whether one deletion was asked for, so that results have no axis for deletions.
    """

    index: Int[np.ndarray, " points"]
    starts: Int[np.ndarray, " count"] | None
    count: int
    single: bool

    def sums(self, values: Float[np.ndarray, "points k"]) -> Float[np.ndarray, "count k"]:
        """Values per point, summed over each deletion."""
        return values if self.starts is None else np.add.reduceat(values, self.starts, axis=0)

    def part(self, start: int, stop: int) -> "Deletions":
        """Some of them, in their order."""
        if self.starts is None:
            index = self.index[start:stop]
            return Deletions(index, None, index.size, False)
        bounds = np.append(self.starts, self.index.size)[start : stop + 1]
        return Deletions(self.index[bounds[0] : bounds[-1]], bounds[:-1] - bounds[0], len(bounds) - 1, False)

    def padded(self) -> tuple[Int[np.ndarray, "count most"], Float[np.ndarray, "count most"]]:
        """Places of each group in `index`, filled up to one length, and 1 for what counts, 0 for what fills."""
        starts = np.arange(self.count) if self.starts is None else self.starts
        sizes = np.diff(np.append(starts, self.index.size))
        steps = np.arange(sizes.max())
        counted = steps < sizes[:, None]
        return np.where(counted, starts[:, None] + steps, 0), counted.astype(np.float64)

    def member(self) -> Int[np.ndarray, " points"]:
        """The deletion that each point belongs to."""
        if self.starts is None:
            return np.arange(self.count)
        return np.repeat(np.arange(self.count), np.diff(np.append(self.starts, self.index.size)))


def as_deletions(problem: Problem, points: Points) -> Deletions:
    """The deletions meant by `points`.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> ef.analysis.as_deletions(line, [[0, 1], [2]]).count
        2

    Args:
        problem: whose points.
        points: None for the problem's deleted points as one group; "all", a number, or a list of numbers for each point
            separately; a list of lists for groups.

    Raises:
        InputError: a point outside the data, an empty list or group, a group with a point twice, something else.
    """
    if isinstance(points, str):
        if points != "all":
            raise InputError(f"points must be 'all' where it is a word; got {points!r}. Else {_CHOICES}.")
        return Deletions(np.arange(problem.data.n), None, problem.data.n, False)
    if points is None:
        if problem.delete.size == 0:
            raise InputError("the problem deletes no points; name some with `points`, or in Problem(..., delete=...).")
        return _grouped([problem.delete], single=True)
    if not _is_list(points):
        return Deletions(_separate(problem, points), None, 1, True)
    listed: Any = points
    if len(listed) and all(_is_list(group) for group in listed):
        groups = [as_index_array(group, f"points[{k}]", problem.data.n) for k, group in enumerate(listed)]
        return _grouped(groups, single=False)
    index = _separate(problem, points)
    return Deletions(index, None, index.size, False)


def deletion_sets(problem: Problem, points: Points = "all") -> Int[np.ndarray, "k q"]:
    """The same deletions as sets of equal size, shape (k, q).

    Raises:
        InputError: no points, sets that are empty or ragged, a point outside the data, or twice in one set.
    """
    if points is None:
        require_deletion(problem)
        return problem.delete[None]
    if isinstance(points, str):
        return as_deletions(problem, points).index[:, None]
    try:
        sets = np.atleast_1d(np.asarray(points))
    except ValueError as error:
        raise InputError("points must be sets of equal size here; call once for each size.") from error
    sets = sets[:, None] if sets.ndim == 1 else sets
    if sets.ndim != 2 or not sets.size:
        raise InputError(f"points has shape {sets.shape}; sets of points, shape (sets, points), are needed.")
    n, suspects = problem.data.n, [0]
    if sets.dtype.kind in "iu" and sets.shape[1] < n:
        ordered = np.sort(sets, axis=1)
        wrong = (ordered[:, 0] < 0) | (ordered[:, -1] >= n) | (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
        suspects = np.flatnonzero(wrong)[:1].tolist()
    for k in suspects:  # says what is wrong with it
        as_index_array(sets[k], f"points[{k}]", n)
    return sets.astype(np.int64)


def require_deletion(problem: Problem) -> None:
    """Refuse a problem without deleted points."""
    if not np.size(problem.delete):
        raise InputError("the problem deletes no point, so nothing changes: make it with delete=[…].")


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) or np.ndim(value) > 0


def _separate(problem: Problem, points: Any) -> Int[np.ndarray, " points"]:
    n, index = problem.data.n, np.atleast_1d(np.asarray(points))
    if index.dtype.kind not in "iu" or index.ndim != 1 or not index.size:
        raise InputError(f"points must be 'all', a number, a list of numbers, or a list of groups; got {points!r}.")
    outside = index[(index < 0) | (index >= n)]
    if outside.size:
        raise InputError(f"points contains {outside[0]}, but the data has {n} points, numbered 0 to {n - 1}.")
    return index


def _grouped(groups: list[np.ndarray], *, single: bool) -> Deletions:
    starts = np.cumsum([0, *(group.size for group in groups[:-1])])
    return Deletions(np.concatenate(groups), starts, len(groups), single)
