"""From values on a mesh to the arcs that they hint at."""

import itertools

import numpy as np
from jaxtyping import Float

from ._arcs import Arcs, Component, assemble

NEAR = 0.01
"""Distance from a bound, relative to b − a, at which a value on a mesh is read as being on it."""

SMEARED = 2
"""Neighbouring intervals between the bounds that are read as a switch inside them; more in a row as a singular arc."""


def read_arcs(options: tuple[float, ...], knots: np.ndarray, values: Float[np.ndarray, "N components"]) -> Arcs:
    """The arcs that values on a mesh hint at. `options`: the levels of bangs, ascending.

    Where a component runs between them for one or two intervals, it switches inside these, at the time that keeps its
    integral. Where it does so for longer, it is singular.
    """
    return Arcs(options, tuple(_read_component(knots, column, np.array(options)) for column in values.T))


def _read_component(knots: np.ndarray, column: np.ndarray, marks: np.ndarray) -> Component:
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
    return assemble(knots[0], np.array(ends), np.array(levels), np.array(free))


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
