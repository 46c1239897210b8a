"""From a schedule that is nearly right to one that satisfies Pontryagin's conditions to rounding (linear regression).

The structure (which arcs, in which order) is read from the zeros of the switching function. Its switch times τ are then
the only unknowns: Newton's method with the exact gradient, ∂𝓔/∂τ = (u₋ − u₊) S(τ), and the exact Hessian. Arcs whose
ends meet are deleted; where S has the wrong sign an arc is inserted. The cost never increases.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ...schedules import AbstractPiecewiseConstant
from ..linear._path import linear_extremal
from ..linear._task import LinearTask
from ..terms._extremal import Extremal
from ..terms._levels import best_level, levels_of
from ._structure import (
    Derivatives,
    Structure,
    cost_of,
    delete_empty,
    derivatives,
    effort,
    moved_by,
    room_for,
    schedule_of,
    structure_arcs,
    with_arc,
)

NEWTON_STEPS = 60
PATIENCE, ALMOST_EXACT = 16, 1e-8
"""After 16 rounds, a schedule whose PMP gap exceeds its cost, itself below 1e-8 of ½‖δ(s)‖², is left to
`_reach`: all of its cost can vanish, and S vanishes with it, so that there is nothing to steer by."""

SETTLED = 1e-13
"""PMP gap, relative to the cost, at which no arc is inserted any more: what Newton's last digit leaves."""


@dataclass(frozen=True, eq=False)
class Polished:
    """A bang-bang schedule, its extremal, and the second-order conditions.

    Attributes:
        schedule: a `BangBang`; for several components of ε, a `PiecewiseConstant`.
        extremal: costate, switching function, Hamiltonian, PMP gap, and the cost.
        switch_ts: all switch times, ascending, shape (k,).
        components: which component of ε switches there, shape (k,).
        gradient: ∂cost/∂τ at each, price included, shape (k,); zero to rounding when converged.
        hessian: ∂²𝓔/∂τ∂τ, shape (k, k); positive definite at a strict local minimum.
        slopes: dS/dt at each switch, shape (k,): nonzero where the switch is transversal, positive where ε falls.
        miss: δ(T) in the eigenbasis of H_{-D}, shape (d,).
        converged: the PMP gap is rounding, and the Hessian is not indefinite.
        exact: 𝓔 is zero to rounding (exact unlearning); Pontryagin's conditions then say nothing.
        objective: the cost and ρ∫|ε| dt.
        structure: the same schedule as levels and switch times.
        rounds: how often the structure was revised.
    """

    schedule: AbstractPiecewiseConstant
    extremal: Extremal
    switch_ts: Float[np.ndarray, " k"]
    components: np.ndarray
    gradient: Float[np.ndarray, " k"]
    hessian: Float[np.ndarray, "k k"]
    slopes: Float[np.ndarray, " k"]
    miss: Float[np.ndarray, " d"]
    converged: bool
    exact: bool
    objective: float
    structure: Structure
    rounds: int

    @property
    def may_vanish(self) -> bool:
        """The PMP gap exceeds the cost, so that 𝓔 = 0 may be within reach: ask `exact_unlearning_time`."""
        return self.extremal.pmp_gap > self.objective

    @property
    def cost(self) -> float:
        """The cost of θ(T)."""
        return self.extremal.cost

    @property
    def least_curvature(self) -> float:
        """The least eigenvalue of the switch-time Hessian; +∞ without switches."""
        return float(np.linalg.eigvalsh(self.hessian)[0]) if self.switch_ts.size else np.inf


def polish_control(task: LinearTask, knots: np.ndarray, levels: np.ndarray, *, max_rounds: int = 40) -> Polished:
    """`polish`, from knots and levels."""
    return polish_structure(task, _initial(task, knots, levels), levels.ndim == 1, max_rounds)


def polish_structure(task: LinearTask, structure: Structure, shared: bool, max_rounds: int = 40) -> Polished:
    """`polish`, from a bang-bang structure."""
    initial, rounds = task.form.value(task.start), 0
    while True:
        structure = _newton(task, structure, shared)
        found = linear_extremal(task, *structure_arcs(task, structure, shared))
        objective = found.cost + task.price * effort(task, structure)
        exact = objective <= found.cost_error
        if exact or found.pmp_gap <= SETTLED * objective or rounds >= max_rounds:
            break
        if rounds >= PATIENCE and found.pmp_gap > objective and objective <= ALMOST_EXACT * initial:
            break
        revised = _insert(task, structure, found, shared)
        if revised is None:
            break
        structure, rounds = revised, rounds + 1
    return _report(task, structure, shared, found, rounds)


def report(task: LinearTask, structure: Structure, shared: bool) -> Polished:
    """A structure as it stands, with its extremal and second-order conditions."""
    found = linear_extremal(task, *structure_arcs(task, structure, shared))
    return _report(task, structure, shared, found, 0)


def _report(task: LinearTask, structure: Structure, shared: bool, found: Extremal, rounds: int) -> Polished:
    objective, gradient, hessian, _, slopes, _, miss, _ = derivatives(task, structure, shared)
    exact = objective <= found.cost_error
    times, components = structure.in_order
    least = np.linalg.eigvalsh(hessian)[0] if len(times) else 0.0
    # What is left of a gap when every switch is off by rounding: S' h² summed over the switches.
    settled = found.pmp_gap <= 1e-9 * objective + found.cost_error
    curved = least >= -1e-9 * np.abs(hessian).max(initial=0.0)
    return Polished(
        schedule=schedule_of(task, structure, shared),
        extremal=found,
        switch_ts=times,
        components=components,
        gradient=gradient,
        hessian=hessian,
        slopes=slopes,
        miss=miss,
        converged=exact or bool(settled and curved),
        exact=exact,
        objective=objective,
        structure=structure,
        rounds=rounds,
    )


def _initial(task: LinearTask, knots: np.ndarray, levels: np.ndarray) -> Structure:
    """The cheaper of: the levels rounded to their nearer bound; the sign pattern of the switching function.

    What is bang-bang already is taken as it is: insertion finds the arcs that it lacks.
    """
    columns = levels.reshape(len(levels), -1).T
    options = np.array(levels_of(task.bounds, task.price))
    nearest = options[np.argmin(np.abs(columns[:, :, None] - options), axis=2)]
    times = tuple(knots[1:-1] for _ in columns)
    rounded = delete_empty(task, Structure(tuple(nearest), times))
    if (nearest == columns).all():
        return rounded
    found = linear_extremal(task, knots, levels)
    best = []
    for component, zeros in enumerate(found.zeros):
        edges = np.concatenate([[task.s], zeros, [task.T]])
        middle = found.path.signals(0.5 * (edges[:-1] + edges[1:])).switching.reshape(len(edges) - 1, -1)[:, component]
        best.append(best_level(middle, options, task.price))
    from_zeros = delete_empty(task, Structure(tuple(best), found.zeros))
    shared = levels.ndim == 1
    return min((rounded, from_zeros), key=lambda candidate: cost_of(task, candidate, shared))


def _newton(task: LinearTask, structure: Structure, shared: bool) -> Structure:
    """Descend in the switch times; arcs that collapse are deleted on the way."""
    for _ in range(NEWTON_STEPS):
        structure = delete_empty(task, structure)
        if structure.total == 0:
            return structure
        slopes = derivatives(task, structure, shared)
        moved = _descend(task, structure, shared, slopes)
        if moved is None:
            return _last_digit(task, structure, shared, slopes)
        structure = moved
    return delete_empty(task, structure)


def _descend(task: LinearTask, structure: Structure, shared: bool, slopes: Derivatives) -> Structure | None:
    """A Newton step, halved until the cost falls; None where it falls no further."""
    step = _descent(slopes.gradient, slopes.hessian)
    promised, size = float(slopes.gradient @ step), min(1.0, room_for(task, structure, step))
    if -promised <= 1e-16 * slopes.cost:
        return None
    while size > 1e-10:
        trial = moved_by(task, structure, size * step)
        if cost_of(task, trial, shared) <= slopes.cost + 1e-4 * size * promised:
            return trial
        size *= 0.5
    return None


def _last_digit(task: LinearTask, structure: Structure, shared: bool, slopes: Derivatives) -> Structure:
    """One more Newton step: the cost cannot tell the difference any more, the gradient still can."""
    step = _descent(slopes.gradient, slopes.hessian)
    if room_for(task, structure, step) <= 1.0:
        return structure
    trial = moved_by(task, structure, step)
    smaller = np.abs(derivatives(task, trial, shared).gradient).max() < np.abs(slopes.gradient).max()
    return trial if smaller else structure


def _descent(gradient: np.ndarray, hessian: np.ndarray) -> np.ndarray:
    """Newton's step with the moduli of the curvatures: downhill in every direction."""
    values, vectors = np.linalg.eigh(hessian)
    floor = 1e-13 * np.abs(values).max() + np.finfo(np.float64).tiny
    return -vectors @ ((vectors.T @ gradient) / np.maximum(np.abs(values), floor))


def _insert(task: LinearTask, structure: Structure, found: Extremal, shared: bool) -> Structure | None:
    """A cheaper structure with one more arc where S has the wrong sign; None where no width of it lowers the cost."""
    cost = found.cost + task.price * effort(task, structure)
    for _, component, level, left, peak, right in _violations(task, structure, found):
        share = 1.0
        for _ in range(40):
            span = peak + share * (left - peak), peak + share * (right - peak)
            trial = with_arc(task, structure, component, span, level)
            if cost_of(task, trial, shared) < cost:
                return trial
            share *= 0.5
    return None


def _violations(
    task: LinearTask, structure: Structure, found: Extremal
) -> list[tuple[float, int, float, float, float, float]]:
    """Intervals on which ε has the wrong level, the worst first.

    Each as (−what it costs to first order, component, the right level, start, where that is largest, end).
    """
    result, options = [], np.array(levels_of(task.bounds, task.price))
    for component, (row, times) in enumerate(zip(structure.levels, structure.times, strict=True)):
        edges = np.unique(np.concatenate([[task.s], times, found.zeros[component], [task.T]]))
        for left, right in itertools.pairwise(edges):
            ts = np.linspace(left, right, 33)
            values = found.path.signals(ts).switching.reshape(33, -1)[:, component]
            level = float(row[np.searchsorted(times, 0.5 * (left + right))])
            best = best_level(values, options, task.price)
            wrong = (level - best) * values + task.price * (abs(level) - np.abs(best))
            if wrong[1:-1].max() > 0.0 and right - left > 1e-9 * task.length:
                peak = int(wrong.argmax())
                loss = float(wrong.mean() * (right - left))
                result.append((-loss, component, float(best[peak]), left, ts[peak], right))
    return sorted(result)
