"""Costates of linear regression, ȧ = H_{ε(t)} a backward from a(T): what φ(θ(T)) owes to a push on θ at time t.

In τ = T − t a costate is a flow of the same Hessians without data, a′ = −H_ε a. Under a piecewise-constant schedule it
is exact in the eigenbases that the flow itself has; else it is found by collocation, as the flow is.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from .._core import Array, spelled
from ..problem import Quadratic
from ..schedules import AbstractSchedule
from ._collocation import solve_collocation
from ._exact import ExactFlow


class ExactCostate(NamedTuple):
    """a(t) beside an exact flow, arc by arc.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> flow = ef.flow.exact_flow(line.risk, ef.Constant(0.0), np.zeros(1), 0.0)
        >>> ef.flow.exact_costate(flow, np.eye(1), T=1.0).at(np.array([0.0, 1.0])).ravel()
        array([0.00673795, 1.        ])

    Attributes:
        flow: θ(t), with the eigenbases of the arcs.
        edges: t0, the jumps between it and T, and T: the ends of the arcs that the costate passes, shape (arcs + 1,).
        arcs: which arc of the flow lies between them, shape (arcs,).
        ends: Qᵀa at the later edge of each, shape (arcs, q, d).
    """

    flow: ExactFlow
    edges: Float[np.ndarray, " edges"]
    arcs: np.ndarray
    ends: Float[np.ndarray, "arcs q d"]

    __repr__ = spelled

    def at(self, ts: Float[np.ndarray, " k"]) -> Float[np.ndarray, "k q d"]:
        """a at times between t0 and T."""
        place = np.clip(np.searchsorted(self.edges, ts, side="left") - 1, 0, len(self.arcs) - 1)
        costates = np.empty((len(ts), *self.ends.shape[1:]))
        for arc in np.unique(place):
            here, level = place == arc, self.flow.level[self.arcs[arc]]
            fade = np.exp(-self.flow.bases.values[level] * (self.edges[arc + 1] - ts[here])[:, None])
            costates[here] = (fade[:, None] * self.ends[arc]) @ self.flow.bases.vectors[level].T
        return costates


def exact_costate(flow: ExactFlow, end: Float[np.ndarray, "q d"], T: float) -> ExactCostate:
    """The costates with a(T) = `end` beside an exact flow under one schedule.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> flow = ef.flow.exact_flow(line.risk, ef.Constant(0.0), np.zeros(1), 0.0)
        >>> ef.flow.exact_costate(flow, np.eye(1), T=1.0).at(np.array([0.0])).ravel(), np.exp([-5.0])
        (array([0.00673795]), array([0.00673795]))

    Args:
        flow: θ(t) from t0 < T on.
        end: a(T), one row per functional.
        T: where it is given.
    """
    starts = flow.arc_starts
    arcs = np.flatnonzero((starts < T) & (np.append(starts[1:], np.inf) > starts))
    edges, ends = np.append(starts[arcs], T), []
    costate = end
    for arc, length in zip(arcs[::-1], np.diff(edges)[::-1], strict=True):
        level = flow.level[arc]
        vectors = flow.bases.vectors[level]
        ends.append(costate @ vectors)
        costate = (np.exp(-flow.bases.values[level] * length) * ends[-1]) @ vectors.T
    return ExactCostate(flow, edges, arcs, np.array(ends[::-1]))


class _Reversed(AbstractSchedule):
    """ε(T − τ): a schedule seen from its end."""

    schedule: AbstractSchedule
    T: Float[Array, ""]

    @property
    def start(self) -> Float[Array, ""]:
        """Never held at 1 by composition."""
        return np.asarray(-np.inf)

    @property
    def end(self) -> Float[Array, ""]:
        """Never 0 by composition."""
        return np.asarray(np.inf)

    def inner(self, t: Float[Array, "*shape"]) -> Float[Array, "*values"]:
        """ε(T − τ)."""
        return self.schedule(self.T - t)

    @property
    def jump_ts(self) -> Float[Array, " jumps"]:
        """T − the jumps."""
        return self.T - self.schedule.jump_ts[::-1]


def collocated_costate(
    risk: Quadratic, schedule: AbstractSchedule, end: Float[np.ndarray, "q d"], ts: Float[np.ndarray, " k"]
) -> tuple[Float[np.ndarray, "k q d"], float]:
    """The costates at `ts`, with a(ts[-1]) = `end`, and a bound on their error.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> decay, ts = ef.LinearDecay(0.0, 1.0), np.array([0.0, 1.0])
        >>> costates, error = ef.flow.collocated_costate(line.risk, decay, np.eye(1), ts)
        >>> costates.shape, error < 1e-12
        ((2, 1, 1), True)
    """
    still: Quadratic = dataclasses.replace(
        risk, b_retained=np.zeros_like(risk.b_retained), y_deleted=np.zeros_like(risk.y_deleted)
    )
    back = _Reversed(schedule, np.asarray(ts[-1]))
    found = [solve_collocation(still, back, row, ts[-1] - ts[::-1], 0.0) for row in end]
    return np.stack([thetas[::-1] for thetas, _, _ in found], axis=1), max(error for _, error, _ in found)
