"""Bang-bang structures of linear regression: their arcs, and exact first and second derivatives by the switch times."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..schedules import AbstractPiecewiseConstant, BangBang, PiecewiseConstant
from ._pontryagin import LinearPath, linear_path
from ._propagators import LinearControl


class Structure(NamedTuple):
    """A bang-bang control: which level comes first, and when it switches, for each component of ε.

    Attributes:
        first_high: shape (k,); k = 1 where one ε serves all points, else k = m.
        times: ascending switch times in (s, T), one array per component.
    """

    first_high: tuple[bool, ...]
    times: tuple[np.ndarray, ...]

    @property
    def total(self) -> int:
        """Number of switches."""
        return sum(len(times) for times in self.times)


def in_order(structure: Structure) -> tuple[np.ndarray, np.ndarray]:
    """All switch times ascending, and the component of each."""
    times = np.concatenate(structure.times)
    components = np.repeat(np.arange(len(structure.times)), [len(row) for row in structure.times])
    order = np.argsort(times, kind="stable")
    return times[order], components[order]


def _levels(control: LinearControl, structure: Structure) -> np.ndarray:
    """ε on every arc between consecutive switches of any component, shape (arcs, k)."""
    components = in_order(structure)[1]
    flips = np.zeros((len(components) + 1, len(structure.times)), dtype=int)
    flips[np.arange(1, len(components) + 1), components] = 1
    high = (np.cumsum(flips, axis=0) % 2 == 0) == np.array(structure.first_high)
    low_level, high_level = control.bounds
    return np.where(high, high_level, low_level)


def structure_arcs(control: LinearControl, structure: Structure, shared: bool) -> tuple[np.ndarray, np.ndarray]:
    """Knots from s to T and the levels between them, shape (K,) if one ε serves all points, else (K, m)."""
    knots = np.concatenate([[control.s], in_order(structure)[0], [control.T]])
    levels = _levels(control, structure)
    return knots, levels[:, 0] if shared else levels


def cost_of(control: LinearControl, structure: Structure, shared: bool) -> float:
    miss = linear_path(control, *structure_arcs(control, structure, shared)).deltas[-1]
    return 0.5 * float(miss @ miss)


def schedule_of(control: LinearControl, structure: Structure, shared: bool) -> AbstractPiecewiseConstant:
    knots, levels = structure_arcs(control, structure, shared)
    if not shared:
        return PiecewiseConstant(knots, levels)
    low, high = control.bounds
    first = "high" if structure.first_high[0] else "low"
    return BangBang(control.s, structure.times[0], control.T, first, low, high)


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
    components = in_order(structure)[1]
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
    _, components = in_order(structure)
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
        slopes[j] = -(rows @ _adjoint(control, levels[j + 1], p)) @ e - xp @ (
            rows @ _velocity(control, levels[j], delta)
        )
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
