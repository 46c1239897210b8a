"""From a schedule that is nearly right to one that satisfies Pontryagin's conditions to rounding (linear regression).

The structure (which arcs, in which order) is read from the zeros of the switching function. Its switch times τ are then
the only unknowns: Newton's method with the exact gradient, ∂𝓔/∂τ = (u₋ − u₊) S(τ), and the exact Hessian. Arcs whose
ends meet are deleted; where S has the wrong sign an arc is inserted. The cost never increases.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..schedules import AbstractPiecewiseConstant, BangBang, PiecewiseConstant
from ._pontryagin import Extremal, LinearPath, linear_extremal, linear_path
from ._propagators import LinearControl, arcs_of, control_of
from ._task import ControlTask

NEWTON_STEPS = 60
PATIENCE, ALMOST_EXACT = 4, 1e-8
"""After four rounds, a schedule whose PMP gap exceeds its cost, itself below 1e-8 of ½‖δ(s)‖², is left to
`_exact_unlearning`: all of its cost can vanish, and S vanishes with it, so that there is nothing to steer by."""

SETTLED = 1e-13
"""PMP gap, relative to the cost, at which no arc is inserted any more: what Newton's last digit leaves."""


class Structure(NamedTuple):
    """A bang-bang control: which level comes first, and when it switches, for each component of ε.

    Attributes:
        first_high: shape (k,); k = 1 where one ε serves all points, else k = m.
        times: ascending switch times in (s, T), one array per component.
    """

    first_high: tuple[bool, ...]
    times: tuple[np.ndarray, ...]

    @property
    def count(self) -> int:
        """Number of switches."""
        return sum(len(times) for times in self.times)


@dataclass(frozen=True, eq=False)
class Polished:
    """A bang-bang schedule, its extremal, and the second-order conditions.

    Attributes:
        schedule: a `BangBang`; for several components of ε, a `PiecewiseConstant`.
        extremal: costate, switching function, Hamiltonian, PMP gap, and the cost 𝓔.
        switch_ts: all switch times, ascending, shape (k,).
        components: which component of ε switches there, shape (k,).
        gradient: ∂𝓔/∂τ at each, shape (k,); zero to rounding when converged.
        hessian: ∂²𝓔/∂τ∂τ, shape (k, k); positive definite at a strict local minimum.
        slopes: dS/dt at each switch, shape (k,): nonzero where the switch is transversal, positive where ε falls.
        converged: the PMP gap is rounding, and the Hessian is not indefinite.
        exact: 𝓔 is zero to rounding (exact unlearning); Pontryagin's conditions then say nothing.
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
    converged: bool
    exact: bool
    structure: Structure
    rounds: int

    @property
    def may_vanish(self) -> bool:
        """The PMP gap exceeds the cost, so that 𝓔 = 0 may be within reach: ask `exact_unlearning_time`."""
        return self.extremal.pmp_gap > self.cost

    @property
    def cost(self) -> float:
        """𝓔."""
        return self.extremal.cost

    @property
    def least_curvature(self) -> float:
        """The least eigenvalue of the switch-time Hessian; +∞ without switches."""
        return float(np.linalg.eigvalsh(self.hessian)[0]) if self.switch_ts.size else np.inf


def polish(task: ControlTask, schedule: AbstractPiecewiseConstant, *, max_rounds: int = 40) -> Polished:
    """The bang-bang extremal that a schedule descends to. Switch times to 1e-9, 𝓔 to 1e-11 relative.

    Args:
        task: the question; linear regression.
        schedule: where to start: any piecewise-constant schedule in E_s, bang-bang or not.
        max_rounds: how often arcs may be inserted before giving up (`converged` is then False).

    Raises:
        InputError: the problem is not linear regression.
    """
    return polish_control(control_of(task), *arcs_of(schedule, task.s, task.T), max_rounds=max_rounds)


def polish_control(control: LinearControl, knots: np.ndarray, levels: np.ndarray, *, max_rounds: int = 40) -> Polished:
    """`polish`, from knots and levels."""
    structure, initial = _initial(control, knots, levels), 0.5 * float(control.start @ control.start)
    shared, rounds = levels.ndim == 1, 0
    while True:
        structure = _newton(control, structure, shared)
        found = linear_extremal(control, *structure_arcs(control, structure, shared))
        exact = found.cost <= found.cost_error
        if exact or found.pmp_gap <= SETTLED * found.cost or rounds >= max_rounds:
            break
        if rounds >= PATIENCE and found.pmp_gap > found.cost and found.cost <= ALMOST_EXACT * initial:
            break
        revised = _insert(control, structure, found, shared)
        if revised is None:
            break
        structure, rounds = revised, rounds + 1
    return _report(control, structure, found, shared, exact, rounds)


def _report(
    control: LinearControl, structure: Structure, found: Extremal, shared: bool, exact: bool, rounds: int
) -> Polished:
    gradient, hessian, slopes, *_ = derivatives(control, structure, shared)
    times, components = _sorted(structure)
    least = np.linalg.eigvalsh(hessian)[0] if len(times) else 0.0
    # What is left of a gap when every switch is off by rounding: S' h² summed over the switches.
    settled = found.pmp_gap <= 1e-9 * found.cost + found.cost_error
    curved = least >= -1e-9 * np.abs(hessian).max(initial=0.0)
    schedule = _schedule(control, structure, shared)
    return Polished(
        schedule, found, times, components, gradient, hessian, slopes, exact or bool(settled and curved), exact, structure, rounds
    )


# ---- structures -------------------------------------------------------------------------------------------------


def _initial(control: LinearControl, knots: np.ndarray, levels: np.ndarray) -> Structure:
    """The cheaper of: the levels rounded to their nearer bound; the sign pattern of the switching function."""
    columns = levels.reshape(len(levels), -1).T
    high = columns > 0.5 * sum(control.bounds)
    rounded = Structure(
        tuple(bool(row[0]) for row in high), tuple(knots[1:-1][row[1:] != row[:-1]] for row in high)
    )
    found = linear_extremal(control, knots, levels)
    first = np.atleast_1d(found.path.signals(np.array([control.s])).switching[0])
    from_zeros = Structure(tuple(bool(value < 0.0) for value in first), found.zeros)
    shared = levels.ndim == 1
    return min((rounded, from_zeros), key=lambda candidate: _cost(control, candidate, shared))


def _sorted(structure: Structure) -> tuple[np.ndarray, np.ndarray]:
    """All switch times ascending, and the component of each."""
    times = np.concatenate(structure.times)
    components = np.repeat(np.arange(len(structure.times)), [len(row) for row in structure.times])
    order = np.argsort(times, kind="stable")
    return times[order], components[order]


def _levels(control: LinearControl, structure: Structure) -> np.ndarray:
    """ε on every arc between consecutive switches of any component, shape (arcs, k)."""
    components = _sorted(structure)[1]
    flips = np.zeros((len(components) + 1, len(structure.times)), dtype=int)
    flips[np.arange(1, len(components) + 1), components] = 1
    high = (np.cumsum(flips, axis=0) % 2 == 0) == np.array(structure.first_high)
    low_level, high_level = control.bounds
    return np.where(high, high_level, low_level)


def structure_arcs(control: LinearControl, structure: Structure, shared: bool) -> tuple[np.ndarray, np.ndarray]:
    """Knots from s to T and the levels between them, shape (K,) if one ε serves all points, else (K, m)."""
    knots = np.concatenate([[control.s], _sorted(structure)[0], [control.T]])
    levels = _levels(control, structure)
    return knots, levels[:, 0] if shared else levels


def _cost(control: LinearControl, structure: Structure, shared: bool) -> float:
    miss = linear_path(control, *structure_arcs(control, structure, shared)).deltas[-1]
    return 0.5 * float(miss @ miss)


def _schedule(control: LinearControl, structure: Structure, shared: bool) -> AbstractPiecewiseConstant:
    knots, levels = structure_arcs(control, structure, shared)
    if not shared:
        return PiecewiseConstant(knots, levels)
    low, high = control.bounds
    first = "high" if structure.first_high[0] else "low"
    return BangBang(control.s, structure.times[0], control.T, first, low, high)


# ---- derivatives by the switch times ----------------------------------------------------------------------------


class Derivatives(NamedTuple):
    """What moving the switch times does.

    Attributes:
        gradient, hessian: ∂𝓔/∂τ, shape (k,), and ∂²𝓔/∂τ∂τ, shape (k, k).
        slopes: dS/dt at each switch, shape (k,).
        carried: w_i(T) = ∂δ(T)/∂τ_i, shape (k, d).
        miss, velocity: δ(T) and dδ/dt there, shape (d,).
    """

    gradient: Float[np.ndarray, " k"]
    hessian: Float[np.ndarray, "k k"]
    slopes: Float[np.ndarray, " k"]
    carried: Float[np.ndarray, "k d"]
    miss: Float[np.ndarray, " d"]
    velocity: Float[np.ndarray, " d"]


def derivatives(control: LinearControl, structure: Structure, shared: bool) -> Derivatives:
    """Gradient and Hessian of 𝓔 by the switch times, and dS/dt at each.

    Moving the switch τ_i of component c displaces δ by v_i = −(u₋ − u₊) X_cᵀe_c, which the flow carries to
    w_i(t) = Φ(t, τ_i) v_i. With p(t) = Φ(T, t)ᵀδ(T):

        g_i = p(τ_i)ᵀv_i = (u₋ − u₊) S_c(τ_i)
        G_ij = w_i(T)ᵀw_j(T) − (u₋ − u₊)_j (X_c p)ᵀ(X_c w_i) at τ_j,  i < j
        G_ii = w_i(T)ᵀw_i(T) + (u₋ − u₊)_i dS_c/dt(τ_i), the derivative along p of the later and δ of the earlier arc.
    """
    _, components = _sorted(structure)
    knots, levels = structure_arcs(control, structure, shared)
    path = linear_path(control, knots, levels)
    per_component = levels.reshape(len(levels), -1)
    count = len(components)
    gradient, slopes, hessian = np.zeros(count), np.zeros(count), np.zeros((count, count))
    carried = np.zeros((count, len(control.rates)))  # w_i at the current switch, for the switches passed
    for j, component in enumerate(components):
        rows = control.rows if shared else control.rows[component : component + 1]
        r = control.residuals if shared else control.residuals[component : component + 1]
        fall = per_component[j, component] - per_component[j + 1, component]
        delta, p = path.deltas[j + 1], path.costates[j + 1]
        if j:
            carried[:j] = _carry(path, j, carried[:j])
        e, xp = rows @ delta - r, rows @ p
        gradient[j] = -fall * (xp @ e)
        hessian[:j, j] = hessian[j, :j] = -fall * (carried[:j] @ rows.T) @ xp
        slopes[j] = -(rows @ _adjoint(control, levels[j + 1], p)) @ e - xp @ (rows @ _velocity(control, levels[j], delta))
        hessian[j, j] = fall * slopes[j]
        carried[j] = -fall * e @ rows
    if count:
        carried = _carry(path, count, carried)
        hessian += carried @ carried.T
    velocity = _velocity(control, levels[-1], path.deltas[-1])
    return Derivatives(gradient, hessian, slopes, carried, path.deltas[-1], velocity)


def _carry(path: LinearPath, arc: int, vectors: np.ndarray) -> np.ndarray:
    """Φ over one arc, applied to rows."""
    spectrum, duration = path.spectra[arc], path.knots[arc + 1] - path.knots[arc]
    return (np.exp(-spectrum.rates * duration) * (vectors @ spectrum.vectors)) @ spectrum.vectors.T


def _adjoint(control: LinearControl, level: float | np.ndarray, p: np.ndarray) -> np.ndarray:
    """H_u p."""
    return control.rates * p + (level * (control.rows @ p)) @ control.rows


def _velocity(control: LinearControl, level: float | np.ndarray, delta: np.ndarray) -> np.ndarray:
    """dδ/dt."""
    return control.drift - control.rates * delta - (level * control.residual(delta)) @ control.rows


# ---- Newton's method on a fixed structure -----------------------------------------------------------------------


def _newton(control: LinearControl, structure: Structure, shared: bool) -> Structure:
    """Descend in the switch times; arcs that collapse are deleted on the way."""
    for _ in range(NEWTON_STEPS):
        structure = delete_empty(control, structure)
        if structure.count == 0:
            return structure
        cost = _cost(control, structure, shared)
        slopes = derivatives(control, structure, shared)
        moved = _descend(control, structure, shared, slopes, cost)
        if moved is None:
            return _last_digit(control, structure, shared, slopes)
        structure = moved
    return delete_empty(control, structure)


def _descend(
    control: LinearControl, structure: Structure, shared: bool, slopes: Derivatives, cost: float
) -> Structure | None:
    """A Newton step, halved until the cost falls; None where it falls no further."""
    step = _descent(slopes.gradient, slopes.hessian)
    promised, size = float(slopes.gradient @ step), min(1.0, room_for(control, structure, step))
    if -promised <= 1e-16 * cost:
        return None
    while size > 1e-10:
        trial = moved_by(control, structure, size * step)
        if _cost(control, trial, shared) <= cost + 1e-4 * size * promised:
            return trial
        size *= 0.5
    return None


def _last_digit(control: LinearControl, structure: Structure, shared: bool, slopes: Derivatives) -> Structure:
    """One more Newton step: the cost cannot tell the difference any more, the gradient still can."""
    step = _descent(slopes.gradient, slopes.hessian)
    if room_for(control, structure, step) <= 1.0:
        return structure
    trial = moved_by(control, structure, step)
    smaller = np.abs(derivatives(control, trial, shared).gradient).max() < np.abs(slopes.gradient).max()
    return trial if smaller else structure


def _descent(gradient: np.ndarray, hessian: np.ndarray) -> np.ndarray:
    """Newton's step with the moduli of the curvatures: downhill in every direction."""
    values, vectors = np.linalg.eigh(hessian)
    floor = 1e-13 * np.abs(values).max() + np.finfo(np.float64).tiny
    return -vectors @ ((vectors.T @ gradient) / np.maximum(np.abs(values), floor))


def room_for(control: LinearControl, structure: Structure, step: np.ndarray) -> float:
    """The largest multiple of the step that keeps each component's times in order."""
    longest = np.inf
    for edges, speed in _per_component(control, structure, step):
        closing = np.diff(speed) < 0.0
        if closing.any():
            longest = min(longest, float((np.diff(edges)[closing] / -np.diff(speed)[closing]).min()))
    return longest


def _per_component(
    control: LinearControl, structure: Structure, step: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Times and their velocities with the fixed ends s and T, for each component."""
    components = _sorted(structure)[1]
    parts = []
    for c, times in enumerate(structure.times):
        edges = np.concatenate([[control.s], times, [control.T]])
        parts.append((edges, np.concatenate([[0.0], step[components == c], [0.0]])))
    return parts


def moved_by(control: LinearControl, structure: Structure, step: np.ndarray) -> Structure:
    times = []
    for edges, move in _per_component(control, structure, step):
        times.append(np.clip(np.maximum.accumulate((edges + move)[1:-1]), control.s, control.T))
    return structure._replace(times=tuple(times))


def delete_empty(control: LinearControl, structure: Structure) -> Structure:
    """Drop arcs shorter than rounding: pairs of switches that have met, and switches that have reached s or T."""
    shortest = 1e-12 * control.length
    first_high, kept = [], []
    for high, times in zip(structure.first_high, structure.times, strict=True):
        left: list[float] = []
        for time in times:
            if time - control.s <= shortest:
                high = not high
            elif left and time - left[-1] <= shortest:
                left.pop()
            elif control.T - time > shortest:
                left.append(float(time))
        first_high.append(high)
        kept.append(np.array(left))
    return Structure(tuple(first_high), tuple(kept))


# ---- insertion --------------------------------------------------------------------------------------------------


def _insert(control: LinearControl, structure: Structure, found: Extremal, shared: bool) -> Structure | None:
    """A cheaper structure with one more arc where S has the wrong sign; None where no width of it lowers the cost."""
    cost = _cost(control, structure, shared)
    for _, component, left, peak, right in _violations(control, structure, found):
        share = 1.0
        for _ in range(40):
            begin, end = peak + share * (left - peak), peak + share * (right - peak)
            trial = _flip(control, structure, component, begin, end)
            if _cost(control, trial, shared) < cost:
                return trial
            share *= 0.5
    return None


def _violations(
    control: LinearControl, structure: Structure, found: Extremal
) -> list[tuple[float, int, float, float, float]]:
    """Intervals on which ε has the wrong level, the worst first: (−∫|S|, component, start, where |S| peaks, end)."""
    result = []
    for component, (high, times) in enumerate(zip(structure.first_high, structure.times, strict=True)):
        edges = np.unique(np.concatenate([[control.s], times, found.zeros[component], [control.T]]))
        for left, right in zip(edges[:-1], edges[1:], strict=True):
            ts = np.linspace(left, right, 33)
            values = found.path.signals(ts).switching.reshape(33, -1)[:, component]
            is_high = bool(np.searchsorted(times, 0.5 * (left + right)) % 2 == 0) == high
            wrong = np.maximum(values if is_high else -values, 0.0)
            if wrong[1:-1].max() > 0.0 and right - left > 1e-9 * control.length:
                result.append((-float(wrong.mean() * (right - left)), component, left, ts[wrong.argmax()], right))
    return sorted(result)


def _flip(control: LinearControl, structure: Structure, component: int, begin: float, end: float) -> Structure:
    """Exchange the two levels of one component between two times."""
    times, high = structure.times[component], structure.first_high[component]
    # Adding both ends as switches flips what lies between; an end that is a switch already cancels it.
    merged = np.sort(np.concatenate([times, [begin, end]]))
    all_times = list(structure.times)
    all_times[component] = merged
    return delete_empty(control, structure._replace(times=tuple(all_times)))
