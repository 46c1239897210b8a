"""Switch times and singular levels of any system as continuous unknowns: the mesh is left behind.

On given arcs the unknowns are the switch times τ and the levels of singular arcs. One sweep (`_rollout`) gives the
exact gradient of the computed cost by all of them; by τ it is the jump of the Hamiltonian. SLSQP keeps τ in order; arcs
whose ends meet are deleted; where the switching function has the wrong sign on a bang, an arc is inserted. A few Newton
steps with the Hessian by central differences of the gradient give the last digits, and the second-order condition.
"""

import itertools
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import LinearConstraint, minimize

from ._arcs import Arcs, Pieces
from ._deadline import Deadline
from ._rollout import roll_out, sweep
from ._system import AbstractSystem

SHORTEST = 1e-7
"""Length of an arc, relative to T − s, below which it is deleted: SLSQP's own accuracy in the switch times."""

SETTLED = 1e-9
"""Gap of the switching function's sign, in units of the cost, at which no arc is inserted any more."""

INSERTIONS = 12
"""Times that arcs may be inserted."""

DIFFERENCE = 1e-4
"""Step of the central differences, relative to T − s: their error is its square, 1e-8 of the third derivative."""

NEWTON_STEPS = 4


class SecondOrder(NamedTuple):
    """Derivatives of the cost by the switch times, at a schedule that has been freed of its mesh.

    Attributes:
        switch_ts: the switch times τ, ascending, shape (k,).
        gradient: ∂𝓔/∂τ, shape (k,): the jump of the Hamiltonian, zero to rounding where converged.
        hessian: ∂²𝓔/∂τ∂τ with all levels held, shape (k, k), by central differences of the gradient.
    """

    switch_ts: Float[np.ndarray, " k"]
    gradient: Float[np.ndarray, " k"]
    hessian: Float[np.ndarray, "k k"]

    @property
    def least_curvature(self) -> float:
        """Least eigenvalue of the Hessian, +∞ without switches; positive at a strict local minimum among these arcs."""
        return float(np.linalg.eigvalsh(self.hessian)[0]) if len(self.switch_ts) else np.inf


@dataclass(frozen=True, eq=False)
class PolishedArcs:
    """Arcs whose switch times and free levels are stationary.

    Attributes:
        arcs: the control.
        cost: φ by Runge–Kutta steps.
        second_order: derivatives by the switch times.
        sweeps: gradients that were computed.
        rounds: how often the arcs were revised.
    """

    arcs: Arcs
    cost: float
    second_order: SecondOrder
    sweeps: int
    rounds: int


class Roller:
    """Costs and gradients of arcs of one system: the same number of pieces throughout, so that nothing compiles twice.

    Attributes:
        sweeps: gradients computed so far.
    """

    def __init__(
        self, system: AbstractSystem, start: Float[Array, " d"], unit: float, count: int, steps: int, deadline: Deadline
    ):
        """Fix the system, the unit of the cost, pieces in all, and Runge–Kutta steps per piece."""
        self.system, self.start, self.unit, self.count = system, start, unit, count
        self.steps, self.deadline, self.sweeps = jnp.asarray(float(steps)), deadline, 0

    def cost(self, arcs: Arcs) -> float:
        """φ in units; +∞ where it overflows."""
        pieces = arcs.pieces(self.count, arcs.share_out(self.count))
        durations, levels = jnp.asarray(pieces.durations), jnp.asarray(pieces.levels)
        value = float(roll_out(self.system, self.steps, self.start, durations, levels)[0]) / self.unit
        return value if np.isfinite(value) else np.inf

    def gradient(self, arcs: Arcs, each: np.ndarray | None = None) -> "Gradient":
        """φ and its derivatives in units. `each`: pieces per part; held while arcs move, so that φ is smooth."""
        pieces = arcs.pieces(self.count, arcs.share_out(self.count) if each is None else each)
        self.sweeps += 1
        durations, levels = jnp.asarray(pieces.durations), jnp.asarray(pieces.levels)
        found = sweep(self.system, self.steps, self.start, durations, levels)
        by_level, by_duration = np.asarray(found.levels) / self.unit, np.asarray(found.durations) / self.unit
        return Gradient(float(found.cost) / self.unit, *arcs.chain(pieces, by_duration, by_level), by_level, pieces)


class Gradient(NamedTuple):
    """φ of arcs, and its derivatives, in units.

    Attributes:
        cost: φ.
        switch_ts: ∂φ/∂τ; free: ∂φ/∂(free levels).
        levels: ∂φ/∂u_k of every piece.
        pieces: the pieces.
    """

    cost: float
    switch_ts: Float[np.ndarray, " switches"]
    free: Float[np.ndarray, " free"]
    levels: Float[np.ndarray, "K controls"]
    pieces: Pieces


def polish_arcs(roller: Roller, arcs: Arcs) -> PolishedArcs:
    """The stationary arcs that given ones descend to. The cost, as `roller` computes it, never rises.

    Args:
        roller: the system.
        arcs: where to start.
    """
    best, least, rounds = arcs, np.inf, 0
    while rounds <= INSERTIONS and not (rounds and roller.deadline.passed):
        arcs, rounds = descend_arcs(roller, arcs), rounds + 1
        tidy = arcs.tidied(SHORTEST * (arcs.T - arcs.s))
        if len(tidy.levels) != len(arcs.levels):
            arcs = tidy
            continue
        if (cost := roller.cost(arcs)) < least:
            best, least = arcs, cost
        revised = _insert(roller, arcs)
        if revised is None:
            break
        arcs = revised
    arcs = best
    hessian, order = _hessian(roller, arcs), len(arcs.switch_ts)
    if hessian.size and np.linalg.eigvalsh(hessian)[0] > 0.0:
        arcs = _last_digits(roller, arcs, hessian)
    found = roller.gradient(arcs)
    by_times = hessian[:order, :order] * roller.unit / (arcs.T - arcs.s) ** 2
    second = SecondOrder(arcs.switch_ts, found.switch_ts * roller.unit, by_times)
    return PolishedArcs(arcs, found.cost * roller.unit, second, roller.sweeps, rounds)


def _unknowns(arcs: Arcs) -> np.ndarray:
    """Switch times as fractions of the window, then free levels."""
    return np.concatenate([(arcs.switch_ts - arcs.s) / (arcs.T - arcs.s), arcs.levels[arcs.free_levels]])


def _at(arcs: Arcs, unknowns: np.ndarray) -> Arcs:
    count = len(arcs.switch_ts)
    return arcs.moved(arcs.s + (arcs.T - arcs.s) * unknowns[:count], unknowns[count:])


def _slope(roller: Roller, arcs: Arcs, unknowns: np.ndarray, each: np.ndarray) -> tuple[float, np.ndarray]:
    """φ and its gradient by the unknowns, in units."""
    found = roller.gradient(_at(arcs, unknowns), each)
    return found.cost, np.concatenate([found.switch_ts * (arcs.T - arcs.s), found.free])


def _in_order(count: int, size: int) -> list[LinearConstraint]:
    """The first `count` of the unknowns ascend."""
    if count < 2:
        return []
    rows = np.eye(size)[1:count] - np.eye(size)[: count - 1]
    return [LinearConstraint(rows, 0.0, np.inf)]


def descend_arcs(roller: Roller, arcs: Arcs) -> Arcs:
    """SLSQP on the unknowns of fixed arcs; the start itself if that is cheaper."""
    first, count = _unknowns(arcs), len(arcs.switch_ts)
    if first.size == 0:
        return arcs
    low, high = np.zeros(first.size), np.ones(first.size)
    low[count:], high[count:] = arcs.bounds
    each = arcs.share_out(roller.count)

    def cost(unknowns: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = _slope(roller, arcs, np.clip(unknowns, low, high), each)
        return (value, slope) if np.isfinite(value) else (1e30, np.zeros_like(unknowns))

    def check_time(intermediate_result: Any) -> None:
        del intermediate_result
        if roller.deadline.passed:
            raise StopIteration

    run = minimize(
        cost,
        first,
        method="SLSQP",
        jac=True,
        bounds=list(zip(low, high, strict=True)),
        constraints=_in_order(count, first.size),
        callback=check_time,
        options={"ftol": 1e-13, "maxiter": 100},
    )
    best = np.clip(run.x, low, high)
    best[:count] = np.maximum.accumulate(best[:count])
    found = _at(arcs, best)
    return found if roller.cost(found) < roller.cost(arcs) else arcs


class Violation(NamedTuple):
    """A stretch of one arc on which S asks for a bound that u is not on.

    Attributes:
        gain: ∫|S (u − bound)|, in units: what moving u there promises, to first order.
        component: of u.
        level: the bound that S asks for.
        start, end: where it is.
        pivot: the time within it around which it may shrink.
    """

    gain: float
    component: int
    level: float
    start: float
    end: float
    pivot: float


def _insert(roller: Roller, arcs: Arcs) -> Arcs | None:
    """A cheaper control with one more arc where S has the wrong sign; None where there is none."""
    found = roller.gradient(arcs)
    for violation in sorted(_violations(arcs, found), reverse=True)[:3]:
        if violation.gain <= SETTLED * abs(found.cost):
            break
        share = 1.0
        for _ in range(20):
            begin, end = (violation.pivot + share * (t - violation.pivot) for t in (violation.start, violation.end))
            trial = arcs.with_bang(violation.component, violation.level, begin, end)
            if trial.parts.sum() <= roller.count and roller.cost(trial) < found.cost:
                return trial
            share *= 0.5
    return None


def _violations(arcs: Arcs, found: Gradient) -> list[Violation]:
    """Runs of pieces of one arc with S of one sign and u not on the bound that it asks for.

    On a singular arc S is zero on the average over each part only, and there the first and the last run count alone:
    they may hide a bang that was too short for the mesh.
    """
    low, high = arcs.bounds
    starts = arcs.s + np.concatenate([[0.0], np.cumsum(found.pieces.durations)])
    result = []
    for component, arc in np.ndindex(arcs.free.shape[1], arcs.free.shape[0]):
        here = np.flatnonzero((found.pieces.arc == arc) & (found.pieces.durations > 0.0))
        if here.size == 0:
            continue
        slope, level = found.levels[here, component], found.pieces.levels[here, component]
        wanted = np.where(slope > 0.0, low, high)
        breaks = np.concatenate([[0], np.flatnonzero(wanted[1:] != wanted[:-1]) + 1, [len(here)]])
        runs = list(itertools.pairwise(breaks))
        singular = bool(arcs.free[arc, component])
        for a, b in dict.fromkeys((runs[0], runs[-1])) if singular else runs:
            gain = float(np.abs(slope[a:b] * (level[a:b] - wanted[a:b])).sum())
            steepest = a + int(np.argmax(np.abs(slope[a:b]) / found.pieces.durations[here[a:b]]))
            start, end = float(starts[here[a]]), float(starts[here[b - 1] + 1])
            edge = start if a == 0 else end
            pivot = edge if singular else 0.5 * float(starts[here[steepest]] + starts[here[steepest] + 1])
            if gain > 0.0:
                result.append(Violation(gain, component, float(wanted[a]), start, end, pivot))
    return result + _tied(arcs, found)


def _tied(arcs: Arcs, found: Gradient) -> list[Violation]:
    """Components that switch at one time together, though S would have one of them switch earlier or later."""
    result = []
    for i, time in enumerate(arcs.switch_ts):
        before, after = (int(np.flatnonzero(found.pieces.arc == i + side)[-1 + side]) for side in (0, 1))
        changing = np.flatnonzero(found.pieces.levels[before] != found.pieces.levels[after])
        for component in changing if len(changing) > 1 else ():
            rates = found.levels[[before, after], component] / found.pieces.durations[[before, after]]
            wanted = arcs.bounds[0] if rates.mean() > 0.0 else arcs.bounds[1]
            early = wanted == found.pieces.levels[after, component]
            width = found.pieces.durations[before if early else after]
            start, end = (time - width, time) if early else (time, time + width)
            gain = 0.5 * abs(float(rates.mean())) * width * (arcs.bounds[1] - arcs.bounds[0])
            result.append(Violation(gain, int(component), wanted, float(start), float(end), float(time)))
    return result


def _hessian(roller: Roller, arcs: Arcs) -> np.ndarray:
    """Central differences of the gradient by all unknowns, symmetrised."""
    first, each = _unknowns(arcs), arcs.share_out(roller.count)
    rows = []
    for step in DIFFERENCE * np.eye(first.size):
        # A piece may shrink below zero here: the flow then runs back over it, as smoothly as forward.
        up, down = (_slope(roller, arcs, first + sign * step, each)[1] for sign in (1.0, -1.0))
        rows.append((up - down) / (2.0 * DIFFERENCE))
    hessian = np.reshape(rows, (first.size, first.size))
    return 0.5 * (hessian + hessian.T)


def _last_digits(roller: Roller, arcs: Arcs, hessian: np.ndarray) -> Arcs:
    """Newton steps while they shrink the gradient: the cost cannot tell the difference any more."""
    each, here = arcs.share_out(roller.count), _unknowns(arcs)
    count = len(arcs.switch_ts)
    slope = _slope(roller, arcs, here, each)[1]
    for _ in range(NEWTON_STEPS):
        trial = here - np.linalg.lstsq(hessian, slope, rcond=1e-10)[0]
        edges = np.concatenate([[0.0], trial[:count], [1.0]])
        levels = trial[count:]
        inside = (np.diff(edges) > 0.0).all() and (levels >= arcs.bounds[0]).all() and (levels <= arcs.bounds[1]).all()
        if not inside or roller.deadline.passed:
            break
        after = _slope(roller, arcs, trial, each)[1]
        if np.abs(after).max() >= 0.5 * np.abs(slope).max():
            break
        here, slope = trial, after
    return _at(arcs, here)
