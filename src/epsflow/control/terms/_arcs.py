"""Piecewise-constant controls whose switch times, and levels on singular arcs, may move.

Every component of u has arcs of its own. `Arcs.joint` lays those of all components over each other: durations and
levels, as `systems._rollout` takes them, and `Arcs.chain` turns derivatives by these into those by the unknowns.
Times are never summed up from durations: knots are kept, the first is s, the last is T, and durations are their
differences.
"""

import itertools
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from ...schedules import AbstractPiecewiseConstant, BangBang, PiecewiseConstant
from ._pieces import shares_begun, subdivided

MOST_PARTS = 8
"""Levels on one singular arc."""


class Joint(NamedTuple):
    """The arcs of all components laid over each other: what `systems._rollout` takes.

    Attributes:
        knots: from s to T, shape (K + 1,); two components that switch together have an empty interval between them.
        levels: u on the intervals between them, shape (K, components).
        part: which part of each component's own row an interval lies in, shape (K, components).
        order: which of the knots between s and T, counted from one component to the next, comes when; shape (K − 1,).
        owner: the component of each of these, so counted.
    """

    knots: Float[np.ndarray, " knots"]
    levels: Float[np.ndarray, "K components"]
    part: Int[np.ndarray, "K components"]
    order: Int[np.ndarray, " inner"]
    owner: Int[np.ndarray, " inner"]

    @property
    def durations(self) -> Float[np.ndarray, " K"]:
        """Δ_k."""
        return np.diff(self.knots)


@dataclass(frozen=True, eq=False)
class Component:
    """The arcs of one component of u.

    An arc is a bang (one part; a level on a bound, or 0 where effort has a price) or singular: it has several parts of
    equal length, each with a free level of its own.

    Attributes:
        edges: s, the times at which one arc ends and the next begins, ascending, and T; shape (A + 1,).
        parts: how many parts each arc has, shape (A,).
        levels: of all parts in order, shape (sum of parts,).
        free: which arcs are singular, shape (A,).
    """

    edges: Float[np.ndarray, " edges"]
    parts: Int[np.ndarray, " arcs"]
    levels: Float[np.ndarray, " parts"]
    free: Bool[np.ndarray, " arcs"]

    @cached_property
    def arc_of_part(self) -> Int[np.ndarray, " parts"]:
        """The arc that each part belongs to."""
        return np.repeat(np.arange(len(self.parts)), self.parts)

    @cached_property
    def begun(self) -> Float[np.ndarray, " parts"]:
        """Which fraction of its arc is over when each part begins."""
        return shares_begun(self.parts)

    @cached_property
    def knots(self) -> Float[np.ndarray, " knots"]:
        """The ends of all parts, from s to T."""
        if not self.free.any():
            return self.edges
        return subdivided(self.edges, self.parts)

    @property
    def free_levels(self) -> Bool[np.ndarray, " parts"]:
        """Which levels are free."""
        return self.free[self.arc_of_part]

    def onto_switches(self, by_knots: Float[np.ndarray, " inner"]) -> Float[np.ndarray, " switches"]:
        """Derivatives by the switch times, from those by all knots between s and T."""
        if not self.free.any():
            return by_knots
        starts, count = np.concatenate([[0.0], by_knots]), len(self.edges)
        ending, beginning = self.begun * starts, (1.0 - self.begun) * starts
        by_edges = np.bincount(self.arc_of_part, beginning, count)
        return (by_edges + np.bincount(self.arc_of_part + 1, ending, count))[1:-1]

    def tidied(self, shortest: float, options: tuple[float, ...]) -> "Component":
        """See `Arcs.tidied`."""
        kept = np.diff(self.knots) > shortest
        if kept.all() and not self.free.any():
            return self
        levels = self.levels[kept]
        ends = self.knots[1:][kept]
        ends[-1] = self.edges[-1]
        return assemble(self.edges[0], ends, levels, self.free_levels[kept] & ~np.isin(levels, options))

    def with_bang(self, level: float, begin: float, end: float) -> "Component":
        """See `Arcs.with_bang`."""
        begin, end = np.clip([begin, end], self.edges[0], self.edges[-1])
        knots = np.unique(np.concatenate([self.knots, [begin, end]]))
        # By the start of each interval, which is before T: a middle may round to its end, and lie in no part.
        part = np.searchsorted(self.knots, knots[:-1], side="right") - 1
        here = (knots[:-1] >= begin) & (knots[1:] <= end)
        levels, free = np.where(here, level, self.levels[part]), self.free_levels[part] & ~here
        return assemble(self.edges[0], knots[1:], levels, free)


@dataclass(frozen=True, eq=False)
class Arcs:
    """A control with one row of arcs for each component of u: one for all deleted points, or one each.

    The unknowns are the switch times of the first component, of the second, …, and then their free levels.

    Attributes:
        options: the levels of bangs, ascending: the bounds, and 0 between them where effort has a price.
        components: their arcs.
    """

    options: tuple[float, ...]
    components: tuple[Component, ...]

    @property
    def s(self) -> float:
        """When they begin."""
        return float(self.components[0].edges[0])

    @property
    def T(self) -> float:
        """When they end."""
        return float(self.components[0].edges[-1])

    @cached_property
    def times(self) -> Float[np.ndarray, " switches"]:
        """The switch times of one component after the other."""
        return np.concatenate([row.edges[1:-1] for row in self.components])

    @cached_property
    def ascending(self) -> Int[np.ndarray, " switches"]:
        """The order in which `times` ascend."""
        return np.argsort(self.times, kind="stable")

    @property
    def free(self) -> Float[np.ndarray, " free"]:
        """The free levels of one component after the other."""
        return np.concatenate([row.levels[row.free_levels] for row in self.components])

    @property
    def unknowns(self) -> Float[np.ndarray, " n"]:
        """`times`, and `free`."""
        return np.concatenate([self.times, self.free])

    @property
    def scale(self) -> Float[np.ndarray, " n"]:
        """What the unknowns are measured in: T − s, and the distance of the bounds."""
        return np.repeat([self.T - self.s, self.options[-1] - self.options[0]], [len(self.times), len(self.free)])

    @property
    def ranges(self) -> Float[np.ndarray, "n 2"]:
        """Where the unknowns may be: times in the window, levels between neighbouring options, where |u| is smooth."""
        above = np.clip(np.searchsorted(self.options, self.free, side="right"), 1, len(self.options) - 1)
        levels, marks = np.empty((len(above), 2)), np.array(self.options)
        levels[:, 0], levels[:, 1] = marks[above - 1], marks[above]
        return np.concatenate([np.tile([self.s, self.T], (len(self.times), 1)), levels])

    @property
    def order(self) -> Float[np.ndarray, "rows n"]:
        """The rows R for which Rz ≥ 0 says that each component's switch times z ascend."""
        owner = np.repeat(np.arange(len(self.components)), [len(row.edges) - 2 for row in self.components])
        following = np.flatnonzero(owner[1:] == owner[:-1])
        rows = np.eye(len(self.unknowns))
        return rows[following + 1] - rows[following]

    @cached_property
    def joint(self) -> Joint:
        """All arcs over each other."""
        return self.overlay(None)

    def overlay(self, order: Int[np.ndarray, " inner"] | None) -> Joint:
        """`joint`, in an order of the knots in which they may not ascend: some intervals then are less than empty."""
        rows = [row.knots[1:-1] for row in self.components]
        if len(rows) == 1 and order is None:
            (row,), every = self.components, np.arange(len(rows[0]) + 1)
            return Joint(row.knots, row.levels[:, None], every[:, None], every[:-1], np.zeros_like(every[:-1]))
        times, owner = np.concatenate(rows), np.repeat(np.arange(len(rows)), [len(row) for row in rows])
        order = np.argsort(times, kind="stable") if order is None else order
        passed = np.zeros((len(times) + 1, len(rows)), dtype=np.int64)
        passed[np.arange(1, len(times) + 1), owner[order]] = 1
        knots, part = np.concatenate([[self.s], times[order], [self.T]]), np.cumsum(passed, axis=0)
        levels = np.stack([row.levels[part[:, c]] for c, row in enumerate(self.components)], axis=1)
        return Joint(knots, levels, part, order, owner)

    @cached_property
    def knots_and_levels(self) -> tuple[Float[np.ndarray, " knots"], Float[np.ndarray, "K *components"]]:
        """The knots of `joint` and u between them, a vector if there is one component."""
        levels = self.joint.levels
        return self.joint.knots, levels[:, 0] if len(self.components) == 1 else levels

    @property
    def effort(self) -> float:
        """∫|u| dt, summed over the components."""
        return float(sum(np.diff(row.knots) @ np.abs(row.levels) for row in self.components))

    @property
    def spending(self) -> Float[np.ndarray, " n"]:
        """∂(∫|u| dt)/∂(unknowns): |u₋| − |u₊| for a switch between bangs."""
        by_times = [row.onto_switches(-np.diff(np.abs(row.levels))) for row in self.components]
        by_free = [(np.diff(row.knots) * np.sign(row.levels))[row.free_levels] for row in self.components]
        return np.concatenate(by_times + by_free)

    def chain(
        self, durations: Float[np.ndarray, " K"], levels: Float[np.ndarray, "K components"], joint: Joint | None = None
    ) -> Float[np.ndarray, " n"]:
        """∂φ/∂(unknowns), from the derivatives by the durations and levels of `joint`.

        Moving a knot lengthens the interval before it and shortens the one after it, so ∂φ by it is ∂φ/∂Δ of the former
        minus that of the latter: the jump of the Hamiltonian.
        """
        joint = self.joint if joint is None else joint
        by_knots = np.empty(len(joint.order))
        by_knots[joint.order] = -np.diff(durations)
        by_times, by_free = [], []
        for c, row in enumerate(self.components):
            by_times.append(row.onto_switches(by_knots[joint.owner == c]))
            by_free.append(np.bincount(joint.part[:, c], levels[:, c], len(row.levels))[row.free_levels])
        return np.concatenate(by_times + by_free)

    def at(self, unknowns: Float[np.ndarray, " n"]) -> "Arcs":
        """The same arcs with other switch times and free levels."""
        rows, times, free = [], unknowns[: len(self.times)], unknowns[len(self.times) :]
        for row in self.components:
            levels, here = row.levels, row.free_levels
            count, number = len(row.edges) - 2, int(here.sum())
            if number:
                levels = levels.copy()
                levels[here] = free[:number]
            edges = np.concatenate([row.edges[:1], times[:count], row.edges[-1:]])
            rows.append(replace(row, edges=edges, levels=levels))
            times, free = times[count:], free[number:]
        return replace(self, components=tuple(rows))

    def ordered(self, T: float | None = None) -> "Arcs":
        """With times that should ascend and do not moved together, into the window, which may end at another T."""
        s, T = self.s, self.T if T is None else T
        rows = []
        for row in self.components:
            times = np.clip(np.maximum.accumulate(row.edges[1:-1]), s, T)
            rows.append(replace(row, edges=np.concatenate([[s], times, [T]])))
        return replace(self, components=tuple(rows))

    def room(self, step: Float[np.ndarray, " n"]) -> float:
        """The largest multiple of a step that keeps each component's switch times in order; ∞ if all do."""
        longest, n = np.inf, 0
        for row in self.components:
            count = len(row.edges) - 2
            closing = -np.diff(step[n : n + count], prepend=0.0, append=0.0)
            here, n = closing > 0.0, n + count
            if here.any():
                longest = min(longest, float((np.diff(row.edges)[here] / closing[here]).min()))
        return longest

    def tidied(self, shortest: float) -> "Arcs":
        """Without shorter arcs; parts on an option made bangs; neighbouring bangs of one level joined."""
        return replace(self, components=tuple(row.tidied(shortest, self.options) for row in self.components))

    def with_bang(self, component: int, level: float, begin: float, end: float) -> "Arcs":
        """One component set to one of the options between two times, and free there no more."""
        rows = list(self.components)
        rows[component] = rows[component].with_bang(level, begin, end)
        return replace(self, components=tuple(rows))

    def schedule(self) -> AbstractPiecewiseConstant:
        """As ε(t): with one value if there is one component, else with one for each."""
        knots, levels = self.knots_and_levels
        lasting = np.diff(knots) > 0.0
        knots, levels = np.append(knots[:-1][lasting], self.T), levels[lasting]
        low, high = self.options[0], self.options[-1]
        alternate = np.isin(levels, (low, high)).all() and (np.diff(levels, axis=0) != 0.0).all()
        if len(self.components) > 1 or not alternate or self.free.size:
            return PiecewiseConstant(knots, levels)
        return BangBang(self.s, knots[1:-1], self.T, "high" if levels[0] == high else "low", low, high)


def assemble(
    s: float,
    ends: Float[np.ndarray, " parts"],
    levels: Float[np.ndarray, " parts"],
    free: Bool[np.ndarray, " parts"],
) -> Component:
    """Arcs from neighbouring parts: bangs of one level join, and free parts make a singular arc."""
    new = (free[1:] != free[:-1]) | (~free[1:] & (levels[1:] != levels[:-1]))
    first = np.concatenate([[0], np.flatnonzero(new) + 1])
    edges = np.concatenate([[s], ends[first[1:] - 1], ends[-1:]])
    if not free.any():
        return Component(edges, np.ones(len(first), dtype=np.int64), levels[first], free[first])
    rows = []
    for (a, b), (begin, end) in zip(itertools.pairwise([*first, len(ends)]), itertools.pairwise(edges), strict=True):
        count = min(b - a, MOST_PARTS) if free[a] else 1
        middle = begin + (end - begin) * (np.arange(count) + 0.5) / count
        rows.append(levels[a + np.minimum(np.searchsorted(ends[a:b], middle), b - a - 1)])
    return Component(edges, np.array([len(row) for row in rows]), np.concatenate(rows), free[first])


def bangs(
    options: tuple[float, ...], knots: Float[np.ndarray, " knots"], levels: Float[np.ndarray, "K *components"]
) -> Arcs:
    """Arcs of given levels, none of them free."""
    columns = levels.reshape(len(levels), -1).T
    rows = (assemble(knots[0], knots[1:], column, np.zeros(len(column), dtype=bool)) for column in columns)
    return Arcs(options, tuple(rows))
