"""Lower bounds where the residual of the deleted point can change its sign (linear regression, one point).

Time is cut into windows on which e keeps one sign, or is small: |e| ≤ η. On the latter, w = ue is relaxed to the hull of
{w between ae and be, |e| ≤ η}: with m = (a + b)/2 it satisfies |w − me| ≤ κ = (b − a)η/2. Both kinds keep the problem
convex, and its dual in continuous time is that of `_dual` with α = m and a loss κ∫|xᵀp| on the small windows.
Branch and bound on when e changes sign: see `docs/theory-control.md`.
"""

import heapq
import itertools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

from .._core import InputError
from ._dual import ExponentialSum, resolving_grid
from ._propagators import LinearControl, Spectrum, control_of, coordinates, decay_integral, retreat
from ._task import ControlTask

MAX_TRACE = 400
"""Steps in which the tail of a node is searched for the first possible change of sign."""


class Window(NamedTuple):
    """What is assumed about e on (start, end).

    Attributes:
        start, end: times.
        sign: σ with σe ≥ 0, or 0 where only |e| ≤ slack is assumed.
        slack: η.
    """

    start: float
    end: float
    sign: int
    slack: float = 0.0


class Leg(NamedTuple):
    """One arc of a backward path: spectrum, Vᵀp at its (later) end, its duration, and the drift that pairs with p."""

    spectrum: Spectrum
    costate: Float[np.ndarray, " d"]
    duration: float
    drift: Float[np.ndarray, " d"]


class Node(NamedTuple):
    """A set of controls: those whose residual respects the windows, and has `sign` where they end.

    Attributes:
        windows: from s on, without gaps; those of a complete node end at T.
        sign: of e at the end of the last one.
        complete: nothing is left open.
        pi: the best π known for it.
    """

    windows: tuple[Window, ...]
    sign: int
    complete: bool
    pi: Float[np.ndarray, " d"]


@dataclass(frozen=True, eq=False)
class MixedBound:
    """A lower bound on 𝓔 over all admissible schedules, by branching on when e changes its sign.

    Attributes:
        value: no admissible schedule costs less.
        closed: it meets the given cost to the given tolerance.
        nodes: how many sets of controls were bounded.
    """

    value: float
    closed: bool
    nodes: int


def mixed_bound(
    task: ControlTask, cost: float, pi: np.ndarray, *, tolerance: float = 1e-6, max_nodes: int = 400
) -> MixedBound:
    """Prove that no schedule costs less than (1 − tolerance)·cost, or as much of it as `max_nodes` allow.

    Args:
        task: the question; linear regression with one deleted point, whatever its residual does.
        cost: 𝓔 of the best schedule known; only what could be cheaper is examined.
        pi: θ(T) − target of that schedule, shape (d,).
        tolerance: relative gap at which to stop.
        max_nodes: budget.

    Raises:
        InputError: not linear regression, or several deleted points.
    """
    control = control_of(task)
    if control.points != 1:
        raise InputError(
            f"branching on the sign of a residual is for one deleted point; this problem deletes {control.points}. "
            "With settled signs, `dual_bound` serves any number."
        )
    return branch(control, cost, np.asarray(pi) @ control.basis, tolerance, max_nodes)


def branch(control: LinearControl, cost: float, pi: np.ndarray, tolerance: float, max_nodes: int) -> MixedBound:
    """`mixed_bound` in the eigenbasis: best-first search."""
    goal, limits, order = (1.0 - tolerance) * cost, _Limits.of(control), itertools.count()
    residual = float(control.residual(control.start)[0])
    root = Node((), -1 if residual < 0.0 else 1, False, pi)
    queue = [(0.0, next(order), root)]
    nodes = 0
    while queue and queue[0][0] < goal and nodes < max_nodes:
        least, _, node = heapq.heappop(queue)
        for child in _split(node, control) if node.complete else _expand(node, control, limits):
            nodes += 1
            bound, best_pi = _bound(child, control, limits, goal)
            heapq.heappush(queue, (max(bound, least), next(order), child._replace(pi=best_pi)))
    value = min(queue[0][0], cost) if queue else cost
    return MixedBound(value, value >= goal, nodes)


# ---- nodes ------------------------------------------------------------------------------------------------------


class _Limits(NamedTuple):
    """What holds for every admissible control: ‖δ‖ ≤ radius, ‖dδ/dt‖ ≤ speed, |e| ≤ residual, |de/dt| ≤ slope."""

    radius: float
    speed: float
    residual: float
    slope: float

    @staticmethod
    def of(control: LinearControl) -> "_Limits":
        low, high = control.bounds
        most, length = max(abs(low), abs(high)), control.length
        x, r, f = (float(np.linalg.norm(v)) for v in (control.rows[0], control.residuals, control.drift))
        start = float(np.linalg.norm(control.start))
        if low >= 0.0:  # d½‖δ‖²/dt ≤ ‖f‖‖δ‖ − u(e² + re) ≤ ‖f‖‖δ‖ + u r²/4
            radius = np.sqrt(start**2 + 0.5 * high * r**2 * length) + f * length
        else:  # Gronwall
            radius = (start + length * (f + most * x * r)) * np.exp(most * x**2 * length)
        residual = x * radius + r
        speed = float(control.rates[-1]) * radius + f + most * x * residual
        return _Limits(float(radius), float(speed), float(residual), float(x * speed))


def _expand(node: Node, control: LinearControl, limits: _Limits) -> list[Node]:
    """Either e keeps its sign from here to T, or it first changes it within one of two windows."""
    start = node.windows[-1].end if node.windows else control.s
    keeps = Window(start, control.T, node.sign)
    children = [Node((*node.windows, keeps), node.sign, True, node.pi)]
    first = _first_change(node, control, limits)
    if first >= control.T:
        return children
    middle = 0.5 * (first + control.T)
    for left, right in ((first, middle), (middle, control.T)):
        children += _changing(node, control, limits, start, left, right)
    return children


def _changing(
    node: Node, control: LinearControl, limits: _Limits, start: float, left: float, right: float
) -> list[Node]:
    """The controls under which e first changes its sign, after `start`, within [left, right]."""
    before = (*node.windows, *([Window(start, left, node.sign)] if left > start else []))
    length = right - left
    slope = _steepest(control, limits, before, length)
    small = Window(left, right, 0, min(length * slope, limits.residual))
    windows = (*before, small)
    # At e = 0 the slope does not depend on u: where it has one sign, e crosses once and in that direction.
    toward = _least(control, -node.sign * control.rates * -control.rows[0], before) + node.sign * -1.0 * float(
        control.rows[0] @ control.drift
    )
    once = toward > length * float(np.linalg.norm(control.rates * control.rows[0])) * limits.speed
    done = right >= control.T
    signs = (-node.sign,) if once or done else (-node.sign, node.sign)
    return [Node(windows, sign, done, node.pi) for sign in signs]


def _split(node: Node, control: LinearControl) -> list[Node]:
    """Halve the longest of the windows on which e is only known to be small; its slack is halved as well."""
    index = max(
        (k for k, window in enumerate(node.windows) if window.sign == 0),
        key=lambda k: node.windows[k].end - node.windows[k].start,
        default=None,
    )
    if index is None:
        return []
    window = node.windows[index]
    middle = 0.5 * (window.start + window.end)
    children = []
    for left, right in ((window.start, middle), (middle, window.end)):
        # Before the half that holds the crossing e has the old sign, after it the new one.
        old = _sign_before(node, index)
        new = _sign_after(node, index)
        pieces = [Window(window.start, left, old)] if left > window.start else []
        pieces.append(Window(left, right, 0, 0.5 * window.slack))
        pieces += [Window(right, window.end, new)] if right < window.end else []
        windows = (*node.windows[:index], *pieces, *node.windows[index + 1 :])
        children.append(Node(windows, node.sign, True, node.pi))
    return children
