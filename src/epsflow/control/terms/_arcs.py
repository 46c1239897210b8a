"""Controls made of arcs with free ends: on a bound, or singular with free levels, for systems of any kind.

`read_arcs` reads the arcs off the values on a mesh. `Arcs.pieces` turns them into the durations and levels that
`systems._rollout` takes, and `Arcs.chain` turns its derivatives into those by the switch times and free levels.
"""

import itertools
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from ...schedules import AbstractPiecewiseConstant, BangBang, PiecewiseConstant

NEAR = 0.01
"""Distance from a bound, relative to b − a, at which a value on a mesh is read as being on it."""

SMEARED = 2
"""Neighbouring intervals between the bounds that are read as a switch inside them; more in a row as a singular arc."""

MOST_PARTS = 8
"""Levels on one singular arc."""


class Pieces(NamedTuple):
    """What `systems._rollout` takes.

    Attributes:
        durations: Δ_k, shape (K,). Those at the end are zero where K is no multiple of what the arcs need.
        levels: u_k, shape (K, controls).
        part: which part of `Arcs` a piece belongs to, shape (K,).
        arc: which arc, shape (K,).
    """

    durations: Float[np.ndarray, " K"]
    levels: Float[np.ndarray, "K controls"]
    part: np.ndarray
    arc: np.ndarray


@dataclass(frozen=True, eq=False)
class Arcs:
    """A piecewise-constant control whose switch times may move.

    An arc is a bang (all levels on bounds, or 0 where effort has a price; one part) or singular: some component is
    free, and the arc has several parts of equal length, each with levels of its own.

    Attributes:
        s, T: the window.
        options: the levels of bangs, ascending: the bounds, and 0 between them where effort has a price.
        switch_ts: ascending times between s and T at which one arc ends and the next begins, shape (A − 1,).
        parts: how many parts each arc has, shape (A,).
        levels: of all parts in order, shape (sum of parts, controls).
        free: which arcs' components are free, shape (A, controls).
    """

    s: float
    T: float
    options: tuple[float, ...]
    switch_ts: Float[np.ndarray, " switches"]
    parts: np.ndarray
    levels: Float[np.ndarray, "parts controls"]
    free: Bool[np.ndarray, "arcs controls"]

    @property
    def edges(self) -> Float[np.ndarray, " edges"]:
        """s, the switch times, T."""
        return np.concatenate([[self.s], self.switch_ts, [self.T]])

    @property
    def arc_of_part(self) -> np.ndarray:
        """The arc that each part belongs to."""
        return np.repeat(np.arange(len(self.parts)), self.parts)

    @property
    def free_levels(self) -> Bool[np.ndarray, "parts controls"]:
        """Which levels are free."""
        return self.free[self.arc_of_part]

    @property
    def knots(self) -> Float[np.ndarray, " knots"]:
        """The ends of all parts, from s to T."""
        starts, lengths = self.edges[:-1], np.diff(self.edges)
        grids = [a + b * np.arange(n) / n for a, b, n in zip(starts, lengths, self.parts, strict=True)]
        return np.append(np.concatenate(grids), self.T)

    @property
    def free_ranges(self) -> list[tuple[float, float]]:
        """Between which neighbouring options each free level lies: |u| is smooth there."""
        levels = self.levels[self.free_levels]
        above = np.clip(np.searchsorted(self.options, levels, side="right"), 1, len(self.options) - 1)
        return [(self.options[i - 1], self.options[i]) for i in above]

    @property
    def effort(self) -> float:
        """∫|u| dt, summed over the components."""
        return float(np.diff(self.knots) @ np.abs(self.levels).sum(axis=1))

    def share_out(self, count: int) -> np.ndarray:
        """Pieces per part of each arc, by its length and at least one, so that there are at most `count` in all."""
        length = np.maximum(np.diff(self.edges), 0.0)
        spare = count - int(self.parts.sum())
        return 1 + np.floor(length / length.sum() * spare / self.parts).astype(int)

    def pieces(self, count: int, each: np.ndarray) -> Pieces:
        """`count` pieces: as many in each part as `each` says, and empty ones."""
        per_part, per_arc = np.repeat(each, self.parts), each * self.parts
        durations = np.repeat(np.diff(self.edges) / per_arc, per_arc)
        part, arc = np.repeat(np.arange(len(per_part)), per_part), np.repeat(np.arange(len(per_arc)), per_arc)
        empty = np.full(count - len(part), -1)
        levels = self.levels[np.concatenate([part, empty])]
        durations = np.concatenate([durations, np.zeros(len(empty))])
        return Pieces(durations, levels, np.concatenate([part, empty]), np.concatenate([arc, empty]))

    def chain(
        self, pieces: Pieces, durations: Float[np.ndarray, " K"], levels: Float[np.ndarray, "K controls"]
    ) -> tuple[Float[np.ndarray, " switches"], Float[np.ndarray, " free"]]:
        """∂φ/∂τ and ∂φ/∂(free levels), from the derivatives by every piece.

        Moving τ_i lengthens the pieces of the arc before it and shortens those of the arc after it, so ∂φ/∂τ_i is the
        mean of ∂φ/∂Δ over the former minus that over the latter: the jump of the Hamiltonian.
        """
        inside = pieces.arc >= 0
        arcs, parts = pieces.arc[inside], pieces.part[inside]
        number = len(self.parts)
        hamiltonian = np.bincount(arcs, durations[inside], number) / np.bincount(arcs, minlength=number)
        columns = [np.bincount(parts, column, len(self.levels)) for column in levels[inside].T]
        return hamiltonian[:-1] - hamiltonian[1:], np.stack(columns, axis=1)[self.free_levels]

    def moved(self, switch_ts: Float[np.ndarray, " switches"], free: Float[np.ndarray, " free"]) -> "Arcs":
        """The same arcs with other switch times and free levels."""
        levels = self.levels.copy()
        levels[self.free_levels] = free
        return replace(self, switch_ts=switch_ts, levels=levels)

    def tidied(self, shortest: float) -> "Arcs":
        """Without arcs shorter than `shortest`; parts on a bound made bangs; neighbouring bangs of one level joined."""
        kept = [(k, length) for k, length in enumerate(np.diff(self.knots)) if length > shortest]
        levels = np.array([self.levels[k] for k, _ in kept])
        free = np.array([self.free_levels[k] for k, _ in kept]) & ~np.isin(levels, self.options)
        ends = np.array([self.knots[k + 1] for k, _ in kept])
        ends[-1] = self.T
        return _assemble(self.s, self.T, self.options, ends, levels, free)

    def with_bang(self, component: int, level: float, begin: float, end: float) -> "Arcs":
        """One component set to one of the options between two times, and free there no more."""
        knots = np.unique(np.concatenate([self.knots, [begin, end]]))
        middle = 0.5 * (knots[1:] + knots[:-1])
        part = np.searchsorted(self.knots, middle, side="right") - 1
        levels, free = self.levels[part].copy(), self.free_levels[part]
        here = (middle > begin) & (middle < end)
        levels[here, component], free[here, component] = level, False
        return _assemble(self.s, self.T, self.options, knots[1:], levels, free)

    def schedule(self, shared: bool) -> AbstractPiecewiseConstant:
        """As ε(t)."""
        if not shared:
            return PiecewiseConstant(self.knots, self.levels)
        column = self.levels[:, 0]
        low, high = self.options[0], self.options[-1]
        alternate = bool((column[1:] != column[:-1]).all() and np.isin(column, (low, high)).all())
        if alternate and not self.free.any():
            first = "high" if column[0] == high else "low"
            return BangBang(self.s, self.switch_ts, self.T, first, low, high)
        return PiecewiseConstant(self.knots, column)


def _assemble(
    s: float,
    T: float,
    options: tuple[float, ...],
    ends: Float[np.ndarray, " parts"],
    levels: Float[np.ndarray, "parts controls"],
    free: Bool[np.ndarray, "parts controls"],
) -> Arcs:
    """Arcs from neighbouring parts: equal bangs join, and parts with the same free components make a singular arc."""
    first = [0]
    for k in range(1, len(ends)):
        same = np.array_equal(free[k], free[k - 1])
        bound = np.array_equal(levels[k][~free[k]], levels[k - 1][~free[k]])
        if not (same and bound):
            first.append(k)
    starts = np.concatenate([[s], ends[:-1]])
    parts, rows, kinds = [], [], []
    for a, b in itertools.pairwise([*first, len(ends)]):
        singular = bool(free[a].any())
        count = min(b - a, MOST_PARTS) if singular else 1
        grid = np.linspace(starts[a], ends[b - 1], count + 1)
        middle = 0.5 * (grid[1:] + grid[:-1])
        rows.append(levels[a + np.searchsorted(ends[a:b], middle)])
        parts.append(count)
        kinds.append(free[a])
    return Arcs(s, T, options, starts[first[1:]], np.array(parts), np.concatenate(rows), np.array(kinds))


def read_arcs(
    s: float, T: float, options: tuple[float, ...], knots: np.ndarray, values: Float[np.ndarray, "N controls"]
) -> Arcs:
    """The arcs that values on a mesh hint at. `options`: the levels of bangs, ascending.

    Where a component runs between them for one or two intervals, it switches inside these, at the time that keeps its
    integral. Where it does so for longer, it is singular.
    """
    read = [_read_component(knots, column, options) for column in values.T]
    edges = np.unique(np.concatenate([ends for ends, _, _ in read]))
    middle = 0.5 * (np.concatenate([[s], edges[:-1]]) + edges)
    at = [np.searchsorted(ends, middle) for ends, _, _ in read]
    levels = np.stack([column[i] for (_, column, _), i in zip(read, at, strict=True)], axis=1)
    free = np.stack([kind[i] for (_, _, kind), i in zip(read, at, strict=True)], axis=1)
    return _assemble(s, T, options, edges, levels, free)


def _read_component(
    knots: np.ndarray, column: np.ndarray, options: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ends, levels and freedom of the parts of one component."""
    marks = np.array(options)
    distance = np.abs(column[:, None] - marks)
    near = distance.min(axis=1) <= NEAR * (marks[-1] - marks[0])
    kind = np.where(near, distance.argmin(axis=1), -1)
    padded = np.pad(kind, 1, constant_values=-1)
    breaks = np.concatenate([[0], np.flatnonzero(kind[1:] != kind[:-1]) + 1, [len(kind)]])
    ends, levels, free = [], [], []
    for a, b in itertools.pairwise(breaks):
        if kind[a] >= 0:
            new = [knots[b]], [marks[kind[a]]], False
        elif b - a > SMEARED:
            new = list(knots[a + 1 : b + 1]), list(column[a:b]), True
        else:
            mean = float(np.average(column[a:b], weights=np.diff(knots[a : b + 1])))
            before, after = _neighbours(mean, int(padded[a]), int(padded[b + 1]), marks)
            share = min(1.0, max(0.0, (mean - after) / (before - after)))
            new = [knots[a] + share * (knots[b] - knots[a]), knots[b]], [before, after], False
        ends += new[0]
        levels += new[1]
        free += [new[2]] * len(new[0])
    return np.array(ends), np.array(levels), np.array(free)


def _neighbours(mean: float, left: int, right: int, marks: np.ndarray) -> tuple[float, float]:
    """The levels between which a value switches: those of its neighbours (by number; −1 for none that is a bang).

    Where there is only one, or both are the same, the other is the next one in the direction of the value.
    """
    if left < 0 and right < 0:
        above = int(np.clip(np.searchsorted(marks, mean), 1, len(marks) - 1))
        return float(marks[above]), float(marks[above - 1])
    known = left if left >= 0 else right
    other = int(np.clip(known + (1 if mean > marks[known] else -1), 0, len(marks) - 1))
    if left < 0:
        return float(marks[other]), float(marks[known])
    if right < 0 or left == right:
        return float(marks[known]), float(marks[other])
    return float(marks[left]), float(marks[right])
