"""What is said of a schedule: how it was found, its arcs, its status, and among which schedules it is the best."""

import enum
import itertools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ._extremal import Extremal


class SearchMethod(enum.Enum):
    """How a schedule was found.

    Example:
        >>> [method.value for method in ef.SearchMethod][:2]
        ['given', 'the only schedule within the budget']
    """

    GIVEN = "given"
    ONLY = "the only schedule within the budget"
    POLISH = "polish"
    EXPONENTIAL = "exponential"
    SHOOTING = "shooting"
    COLLOCATION = "collocation"
    ADJOINT = "adjoint"
    QP = "qp"
    STEPS = "the weights of the steps"


class Status(enum.Enum):
    """What kind of schedule was found. EXACT: it arrives at the target in finite time, which is certified.

    Example:
        >>> ef.Status.BANG_BANG.value
        'bang-bang'
    """

    BANG_BANG = "bang-bang"
    BANG_SINGULAR = "bang-singular"
    EXACT = "exact unlearning"
    CHATTERING_SUSPECTED = "chattering suspected"
    UNVERIFIED = "unverified"


class Scope(enum.Enum):
    """Among which schedules it is claimed to be the best.

    Example:
        >>> ef.Scope.GLOBAL.value
        'global (certified)'

    LOCAL: to first order, no admissible ε on its mesh costs less by more than 2 % of the objective.
    WITHIN_ERROR: no schedule costs less by more than the error of this one's cost, which is then too large, beside the
    cost, for a claim about the schedule itself.
    """

    GLOBAL = "global (certified)"
    WITHIN_ERROR = "global up to the error of its cost"
    LOCAL = "local"
    NONE = "none"


class Arc(NamedTuple):
    """A stretch of time with one level of ε.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> ef.optimal_schedule(line, np.zeros(1), s=0.1, T=1.0).arcs[0].kind
        'high'

    Attributes:
        start, end: from when to when.
        kind: "high" or "low" (on a bound), "off" (at 0, between them), or "interior".
        level: ε there; of an interior arc made of several intervals, its mean.
        point: which deleted point, by its position in `problem.delete`; None where one ε serves all.
    """

    start: float
    end: float
    kind: str
    level: float
    point: int | None = None


SPENT = 1e-5
"""A budget counts as spent when less than this fraction is left: what SLSQP leaves where effort is worth little."""

EXACT_FRACTION = 1e-12
"""𝓔 below this fraction of ½‖δ(s)‖² makes it worth asking whether the target can be reached. It is no proof: a long
flow can make the cost as small as one likes without arriving."""

SINGULAR, SAMPLES = 0.01, 200
"""Mean of |S + ρ sign ε| over an interior arc, relative to its maximum over (s, T), up to which the arc counts as
singular: on a mesh of N intervals it is of the order 1/N², some 1e-4 at 25 intervals. Samples of each."""

MANY_ARCS = 20
"""Arcs of one schedule, free of a mesh, beyond which they look like an approximation of a singular arc."""


def classify(exact: bool, extremal: Extremal, arcs: tuple[Arc, ...], mesh: float, multiplier: float = 0.0) -> Status:
    """The kind of a schedule.

    On a mesh, one or two intervals between the bounds are a switch that falls inside it; more in a row are a singular
    arc. Switches in more than a quarter of the intervals, or more than 20 free of a mesh, suggest an optimum with
    infinitely many, or one with a singular arc that they imitate.

    Args:
        exact: whether it is certified to arrive at the target.
        extremal: the schedule's Pontryagin figures.
        arcs: its arcs.
        mesh: length of an interval; 0 for a schedule that is not bound to a mesh.
        multiplier: ρ; where it is positive, ε = 0 is a level of its own, like the bounds.
    """
    if exact:
        return Status.EXACT
    most = max(8.0, 0.25 * (extremal.T - extremal.s) / mesh) if mesh > 0.0 else MANY_ARCS
    if len(arcs) > most:
        return Status.CHATTERING_SUSPECTED
    singular = any(is_singular(arc, mesh, multiplier) for arc in arcs)
    return Status.BANG_SINGULAR if singular else Status.BANG_BANG


def singular_arcs_hold(extremal: Extremal, arcs: tuple[Arc, ...], mesh: float, multiplier: float) -> bool:
    """Whether S + ρ sign ε is zero on the average over each singular arc, up to `SINGULAR`."""
    return all(_vanishes(extremal, arc, multiplier) for arc in arcs if is_singular(arc, mesh, multiplier))


def _vanishes(extremal: Extremal, arc: Arc, multiplier: float) -> bool:
    everywhere, here = (
        np.linspace(a, b, SAMPLES + 2)[1:-1] for a, b in ((extremal.s, extremal.T), (arc.start, arc.end))
    )
    signals = extremal.path.signals(np.concatenate([everywhere, here]))
    column = 0 if arc.point is None else arc.point
    switching, eps = (np.reshape(each, (2 * SAMPLES, -1))[:, column] for each in (signals.switching, signals.eps))
    values = np.abs(switching + multiplier * np.sign(eps))
    return bool(values[SAMPLES:].mean() <= SINGULAR * values.max())


def is_singular(arc: Arc, mesh: float, multiplier: float) -> bool:
    """Whether ε lies between the levels that S would choose, and for longer than a switch inside two intervals."""
    between = arc.kind == "interior" or (arc.kind == "off" and multiplier == 0.0)
    return between and arc.end - arc.start > 2.5 * mesh


def describe_arcs(
    knots: Float[np.ndarray, " knots"], levels: Float[np.ndarray, "intervals *m"], bounds: tuple[float, float]
) -> tuple[Arc, ...]:
    """Merge neighbouring intervals of one kind into arcs; point by point where ε has several components."""
    columns = levels.reshape(len(levels), -1).T
    shared = levels.ndim == 1
    return tuple(
        arc for j, column in enumerate(columns) for arc in _merge(knots, column, bounds, None if shared else j)
    )


def _merge(knots: np.ndarray, levels: np.ndarray, bounds: tuple[float, float], point: int | None) -> list[Arc]:
    low, high = bounds
    # Outside the bounds only a schedule of other origin can be; it has no kind of its own.
    between = np.where(levels == 0.0, "off", "interior")
    kinds = np.where(levels == high, "high", np.where(levels == low, "low", between))
    breaks = np.concatenate([[0], np.flatnonzero(kinds[1:] != kinds[:-1]) + 1, [len(levels)]])
    arcs = []
    for first, last in itertools.pairwise(breaks):
        level = np.average(levels[first:last], weights=np.diff(knots[first : last + 1]))
        arcs.append(Arc(float(knots[first]), float(knots[last]), str(kinds[first]), float(level), point))
    return arcs


GLOBAL_GAP = 1e-6
"""Gap to the lower bound, in units of the cost, at which a schedule counts as globally optimal."""


def scope_of(objective: float, error: float, bound: float, *, exact: bool) -> Scope:
    """What a lower bound proves about a schedule: GLOBAL, WITHIN_ERROR, or NONE; numbers that are not finite, nothing.

    Args:
        objective: what the schedule costs.
        error: bound on the error of `objective`; the bound suffers from the same.
        bound: no schedule has a smaller objective.
        exact: whether the schedule is certified to cost nothing, which none can undercut.
    """
    gap = objective - bound
    if not np.isfinite([objective, error, bound]).all():
        return Scope.NONE
    if exact or (bound > 0.0 and gap + error <= GLOBAL_GAP * objective):
        return Scope.GLOBAL
    return Scope.WITHIN_ERROR if gap <= error else Scope.NONE


VERIFIED_GAP = 0.02
"""PMP gap, in units of the objective (with an optimiser, or of the cost's error if that is larger), up to which a
schedule on a mesh counts as locally optimal. The intervals that smear its switches contribute a gap of second order in
their length; a wrong arc contributes one of first order."""
