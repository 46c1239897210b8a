"""Switch times and singular levels of any system as continuous unknowns: the mesh is left behind.

On given arcs the unknowns are the switch times τ and the levels of singular arcs. One sweep (`systems._rollout`) gives
the exact gradient of the computed cost by all of them; by τ it is the jump of the Hamiltonian. SLSQP keeps τ in order;
arcs whose ends meet are deleted; where the switching function has the wrong sign on a bang, an arc is inserted. A few
Newton steps with the Hessian by central differences of the gradient give the last digits, and the second-order
condition.

A price ρ adds ρ(|u₋| − |u₊|) to the derivative by τ. A budget for ∫|u| dt is one more constraint for SLSQP; its
multiplier, by least squares from the gradient, then takes the place of ρ in all that follows.
"""

import itertools
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import LinearConstraint, minimize

from ..terms._arcs import Arcs
from ..terms._levels import best_level
from ..terms._runs import SecondOrder, least_curvature
from ._roller import Gradient, Roller, spending

SHORTEST = 1e-7
"""Length of an arc, relative to T − s, below which it is deleted: SLSQP's own accuracy in the switch times."""

SETTLED = 1e-9
"""Gap of the switching function's sign, in units of the cost, at which no arc is inserted any more."""

INSERTIONS = 12
"""Times that arcs may be inserted."""

DIFFERENCE = 1e-4
"""Step of the central differences, relative to T − s: their error is its square, 1e-8 of the third derivative."""

NEWTON_STEPS = 4
SPENT = 1e-4
"""A budget may bind where less than this fraction of it is left; whether it does, the sign of the multiplier says."""


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


def polish_arcs(roller: Roller, arcs: Arcs) -> PolishedArcs:
    """The stationary arcs that given ones descend to. The cost, as `roller` computes it, never rises.

    Args:
        roller: the system, and what effort costs or may be.
        arcs: where to start.
    """
    best, least, rounds, sweeps = arcs, np.inf, 0, 0
    while rounds <= INSERTIONS and not (rounds and roller.deadline.passed):
        arcs, rounds = descend_arcs(roller, arcs), rounds + 1
        tidy = arcs.tidied(SHORTEST * (arcs.T - arcs.s))
        if len(tidy.levels) != len(arcs.levels):
            arcs = tidy
            continue
        if roller.keeps(arcs) and (cost := roller.cost(arcs)) < least:
            best, least = arcs, cost
        valued = roller.priced(multiplier(roller, arcs))
        revised = _insert(valued, arcs)
        sweeps += valued.sweeps
        if revised is None:
            break
        arcs = revised
    arcs = best
    valued = roller.priced(multiplier(roller, arcs))
    hessian, order, held = _hessian(valued, arcs), len(arcs.switch_ts), None
    if valued.price > roller.price:
        held = _spending(arcs, arcs.share_out(roller.count))
    if hessian.size and least_curvature(hessian, held) > 0.0:
        arcs = _last_digits(valued, arcs, hessian, roller.budget if held is not None else None)
    valued = roller.priced(multiplier(roller, arcs))
    found = valued.gradient(arcs)
    by_times = hessian[:order, :order] * roller.unit / (arcs.T - arcs.s) ** 2
    spends = None if held is None else held[:order] / (arcs.T - arcs.s)
    second = SecondOrder(arcs.switch_ts, found.switch_ts * roller.unit, by_times, spends)
    cost = (found.cost * roller.unit) - (valued.price - roller.price) * arcs.effort
    return PolishedArcs(arcs, cost, second, roller.sweeps + sweeps + valued.sweeps, rounds)


def multiplier(roller: Roller, arcs: Arcs) -> float:
    """What a unit of ∫|u| dt is worth: the price, or where a budget is spent the least-squares ρ of g + ρc = 0.

    g and c: the derivatives of φ and of ∫|u| dt by switch times and free levels.
    """
    if arcs.effort < (1.0 - SPENT) * roller.budget:
        return roller.price
    each = arcs.share_out(roller.count)
    g, c = _slope(roller, arcs, _unknowns(arcs), each)[1], _spending(arcs, each)
    return roller.price + max(0.0, -float(g @ c) / float(c @ c)) * roller.unit if c.any() else roller.price


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


def _spending(arcs: Arcs, each: np.ndarray) -> np.ndarray:
    """∂(∫|u| dt)/∂(unknowns)."""
    by_times, by_free = spending(arcs, arcs.pieces(int(each @ arcs.parts), each))
    return np.concatenate([by_times * (arcs.T - arcs.s), by_free])


def _constraints(roller: Roller, arcs: Arcs, each: np.ndarray) -> list[Any]:
    """The switch times ascend, and the budget is kept."""
    count, size = len(arcs.switch_ts), len(_unknowns(arcs))
    rows = np.eye(size)[1:count] - np.eye(size)[: max(count - 1, 0)]
    order = [LinearConstraint(rows, 0.0, np.inf)] if count > 1 else []
    if roller.budget == np.inf:
        return order

    def left(unknowns: np.ndarray) -> float:
        return roller.budget - _at(arcs, unknowns).effort

    def slope(unknowns: np.ndarray) -> np.ndarray:
        return -_spending(_at(arcs, unknowns), each)

    return [*order, {"type": "ineq", "fun": left, "jac": slope}]


def descend_arcs(roller: Roller, arcs: Arcs) -> Arcs:
    """SLSQP on the unknowns of fixed arcs; the start itself if that is cheaper, and within the budget."""
    first, count = _unknowns(arcs), len(arcs.switch_ts)
    if first.size == 0:
        return arcs
    low, high = np.zeros(first.size), np.ones(first.size)
    low[count:], high[count:] = np.reshape(arcs.free_ranges, (-1, 2)).T
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
        constraints=_constraints(roller, arcs, each),
        callback=check_time,
        options={"ftol": 1e-13, "maxiter": 100},
    )
    best = np.clip(run.x, low, high)
    best[:count] = np.maximum.accumulate(best[:count])
    found = _at(arcs, best)
    better = roller.cost(found) < roller.cost(arcs) or not roller.keeps(arcs)
    return found if better and (roller.keeps(found) or not roller.keeps(arcs)) else arcs


class Violation(NamedTuple):
    """A stretch of one arc on which S asks for another level than u has.

    Attributes:
        gain: ∫[S u + ρ|u| − (S v + ρ|v|)] with the best level v, in units: what moving u there promises to first order.
        component: of u.
        level: v, one of the arcs' options.
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
    for violation in sorted(_violations(arcs, found, roller.price / roller.unit), reverse=True)[:3]:
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


def _violations(arcs: Arcs, found: Gradient, price: float) -> list[Violation]:
    """Runs of pieces of one arc on which one level other than u's is the best. `price`: ρ in units.

    On a singular arc S + ρ sign u is zero on the average over each part only, and there the first and the last run
    count alone: they may hide a bang that was too short for the mesh.
    """
    options = np.array(arcs.options)
    starts = arcs.s + np.concatenate([[0.0], np.cumsum(found.pieces.durations)])
    result = []
    for component, arc in np.ndindex(arcs.free.shape[1], arcs.free.shape[0]):
        here = np.flatnonzero((found.pieces.arc == arc) & (found.pieces.durations > 0.0))
        if here.size == 0:
            continue
        durations, level = found.pieces.durations[here], found.pieces.levels[here, component]
        slope = found.levels[here, component] / durations
        wanted = best_level(slope, options, price)
        excess = durations * (slope * (level - wanted) + price * (np.abs(level) - np.abs(wanted)))
        breaks = np.concatenate([[0], np.flatnonzero(wanted[1:] != wanted[:-1]) + 1, [len(here)]])
        runs = list(itertools.pairwise(breaks))
        singular = bool(arcs.free[arc, component])
        for a, b in dict.fromkeys((runs[0], runs[-1])) if singular else runs:
            gain = float(excess[a:b].sum())
            steepest = a + int(np.argmax(excess[a:b] / durations[a:b]))
            start, end = float(starts[here[a]]), float(starts[here[b - 1] + 1])
            edge = start if a == 0 else end
            pivot = edge if singular else 0.5 * float(starts[here[steepest]] + starts[here[steepest] + 1])
            if gain > 0.0:
                result.append(Violation(gain, component, float(wanted[a]), start, end, pivot))
    return result + _tied(arcs, found, price)


def _tied(arcs: Arcs, found: Gradient, price: float) -> list[Violation]:
    """Components that switch at one time together, though S would have one of them switch earlier or later."""
    result = []
    for i, time in enumerate(arcs.switch_ts):
        before, after = (int(np.flatnonzero(found.pieces.arc == i + side)[-1 + side]) for side in (0, 1))
        changing = np.flatnonzero(found.pieces.levels[before] != found.pieces.levels[after])
        for component in changing if len(changing) > 1 else ():
            rate = float((found.levels[[before, after], component] / found.pieces.durations[[before, after]]).mean())
            levels = found.pieces.levels[[before, after], component]
            value = rate * levels + price * np.abs(levels)
            early = bool(value[1] < value[0])
            width = found.pieces.durations[before if early else after]
            start, end = (time - width, time) if early else (time, time + width)
            gain, wanted = 0.5 * abs(float(value[1] - value[0])) * width, float(levels[int(early)])
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


def _last_digits(roller: Roller, arcs: Arcs, hessian: np.ndarray, budget: float | None) -> Arcs:
    """Newton steps while they shrink the gradient: the cost cannot tell the difference any more.

    Within a budget that is spent, on ∇(φ + ρE) = 0 and E = B together; `roller` has the multiplier as its price.
    """
    each, here = arcs.share_out(roller.count), _unknowns(arcs)
    count, ranges = len(arcs.switch_ts), np.reshape(arcs.free_ranges, (-1, 2)).T
    slope, system, left = _newton_system(roller, arcs, here, each, hessian, budget)
    for _ in range(NEWTON_STEPS):
        trial = here - np.linalg.lstsq(system, slope, rcond=1e-10)[0][: len(here)]
        edges, levels = np.concatenate([[0.0], trial[:count], [1.0]]), trial[count:]
        inside = (np.diff(edges) > 0.0).all() and (levels >= ranges[0]).all() and (levels <= ranges[1]).all()
        if not inside or roller.deadline.passed:
            break
        slope, system, after = _newton_system(roller, arcs, trial, each, hessian, budget)
        if after >= 0.5 * left:
            break
        here, left = trial, after
    return _at(arcs, here)


def _newton_system(
    roller: Roller, arcs: Arcs, unknowns: np.ndarray, each: np.ndarray, hessian: np.ndarray, budget: float | None
) -> tuple[np.ndarray, np.ndarray, float]:
    """What must vanish, its derivative by the unknowns (and the multiplier), and how far from zero it is."""
    slope = _slope(roller, arcs, unknowns, each)[1]
    if budget is None:
        return slope, hessian, float(np.abs(slope).max())
    moved = _at(arcs, unknowns)
    c, excess = _spending(moved, each), moved.effort - budget
    free = slope - c * float(slope @ c) / float(c @ c)  # the rest is the multiplier's
    system = np.block([[hessian, c[:, None]], [c[None], np.zeros((1, 1))]])
    return np.append(free, excess), system, float(np.abs(np.append(free, excess)).max())
