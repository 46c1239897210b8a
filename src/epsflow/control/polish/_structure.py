"""Bang-bang structures of linear regression: their arcs, and exact first and second derivatives by the switch times."""

import itertools
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ...schedules import AbstractPiecewiseConstant, BangBang, PiecewiseConstant
from ..linear._path import LinearPath, linear_path
from ..linear._pencil import advance
from ..linear._task import LinearTask


@dataclass(frozen=True, eq=False)
class Structure:
    """A control that jumps between given levels: which, and when, for each component of ε.

    Attributes:
        levels: the level on each arc, one array per component (one component where one ε serves all points, else m).
        times: ascending switch times in (s, T), one array per component, one shorter than its levels.
    """

    levels: tuple[np.ndarray, ...]
    times: tuple[np.ndarray, ...]

    @property
    def total(self) -> int:
        """Number of switches."""
        return sum(len(times) for times in self.times)

    @cached_property
    def in_order(self) -> tuple[np.ndarray, np.ndarray]:
        """All switch times ascending, and the component of each."""
        times = np.concatenate(self.times)
        components = np.repeat(np.arange(len(self.times)), [len(row) for row in self.times])
        order = np.argsort(times, kind="stable")
        return times[order], components[order]

    @cached_property
    def joint_levels(self) -> np.ndarray:
        """ε on every arc between consecutive switches of any component, shape (arcs, k)."""
        components = self.in_order[1]
        passed = np.zeros((len(components) + 1, len(self.times)), dtype=int)
        passed[np.arange(1, len(components) + 1), components] = 1
        passed = np.cumsum(passed, axis=0)
        return np.stack([row[passed[:, c]] for c, row in enumerate(self.levels)], axis=1)


def structure_arcs(task: LinearTask, structure: Structure, shared: bool) -> tuple[np.ndarray, np.ndarray]:
    """Knots from s to T and the levels between them, shape (K,) if one ε serves all points, else (K, m)."""
    knots = np.concatenate([[task.s], structure.in_order[0], [task.T]])
    levels = structure.joint_levels
    return knots, levels[:, 0] if shared else levels


def effort(task: LinearTask, structure: Structure) -> float:
    """∫ Σ|ε| dt: linear in the switch times."""
    ends = (np.concatenate([[task.s], times, [task.T]]) for times in structure.times)
    return float(sum(np.diff(edges) @ np.abs(row) for edges, row in zip(ends, structure.levels, strict=True)))


def cost_of(task: LinearTask, structure: Structure, shared: bool) -> float:
    """The cost of δ(T), and ρ∫|ε| dt."""
    knots, levels = structure_arcs(task, structure, shared)
    delta = task.start
    for level, duration in zip(levels, np.diff(knots), strict=True):
        delta = advance(task.spectrum(level), delta, np.array([duration]))[0]
    return task.form.value(delta) + task.price * effort(task, structure)


def schedule_of(task: LinearTask, structure: Structure, shared: bool) -> AbstractPiecewiseConstant:
    knots, levels = structure_arcs(task, structure, shared)
    low, high = task.bounds
    alternate = (np.isin(levels, task.bounds)).all() and (np.diff(levels, axis=0) != 0.0).all()
    if not shared or not alternate:
        return PiecewiseConstant(knots, levels)
    first = "high" if levels[0] == high else "low"
    return BangBang(task.s, structure.times[0], task.T, first, low, high)


def room_for(task: LinearTask, structure: Structure, step: np.ndarray) -> float:
    """The largest multiple of the step that keeps each component's times in order."""
    longest = np.inf
    for edges, speed in _per_component(task, structure, step):
        closing = np.diff(speed) < 0.0
        if closing.any():
            longest = min(longest, float((np.diff(edges)[closing] / -np.diff(speed)[closing]).min()))
    return longest


def _per_component(task: LinearTask, structure: Structure, step: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Times and their velocities with the fixed ends s and T, for each component."""
    components = structure.in_order[1]
    parts = []
    for c, times in enumerate(structure.times):
        edges = np.concatenate([[task.s], times, [task.T]])
        parts.append((edges, np.concatenate([[0.0], step[components == c], [0.0]])))
    return parts


def moved_by(task: LinearTask, structure: Structure, step: np.ndarray) -> Structure:
    times = []
    for edges, move in _per_component(task, structure, step):
        times.append(np.clip(np.maximum.accumulate((edges + move)[1:-1]), task.s, task.T))
    return replace(structure, times=tuple(times))


def delete_empty(task: LinearTask, structure: Structure) -> Structure:
    """Drop arcs shorter than rounding, and the switches between arcs of one level."""
    shortest = 1e-12 * task.length
    levels, kept = [], []
    for row, times in zip(structure.levels, structure.times, strict=True):
        edges = np.concatenate([[task.s], times, [task.T]])
        arcs = [(edge, level) for edge, level, long in zip(edges, row, np.diff(edges) > shortest, strict=False) if long]
        first = [arcs[0][1]] if arcs else [row[-1]]
        changes = [(edge, level) for (_, before), (edge, level) in itertools.pairwise(arcs) if level != before]
        levels.append(np.array([*first, *(level for _, level in changes)]))
        kept.append(np.array([edge for edge, _ in changes]))
    return Structure(tuple(levels), tuple(kept))


def with_arc(
    task: LinearTask, structure: Structure, component: int, span: tuple[float, float], level: float
) -> Structure:
    """One more arc: `component` takes `level` between two times."""
    begin, end = span
    times, row = structure.times[component], structure.levels[component]
    before, after = np.searchsorted(times, begin, side="left"), np.searchsorted(times, end, side="right")
    all_times, all_levels = list(structure.times), list(structure.levels)
    all_times[component] = np.concatenate([times[:before], [begin, end], times[after:]])
    all_levels[component] = np.concatenate([row[: before + 1], [level], row[after:]])
    return delete_empty(task, Structure(tuple(all_levels), tuple(all_times)))


class Derivatives(NamedTuple):
    """What moving the switch times does.

    Attributes:
        cost: 𝓔 + ρ∫|ε| dt.
        gradient, hessian: ∂𝓔/∂τ + ρ(|u₋| − |u₊|), shape (k,), and ∂²𝓔/∂τ∂τ, shape (k, k).
        prices: ∂(∫|ε| dt)/∂τ = |u₋| − |u₊|, shape (k,).
        slopes: dS/dt at each switch, shape (k,).
        carried: w_i(T) = ∂δ(T)/∂τ_i, shape (k, d).
        miss, velocity: δ(T) and dδ/dt there, shape (d,).
    """

    cost: float
    gradient: Float[np.ndarray, " k"]
    hessian: Float[np.ndarray, "k k"]
    prices: Float[np.ndarray, " k"]
    slopes: Float[np.ndarray, " k"]
    carried: Float[np.ndarray, "k d"]
    miss: Float[np.ndarray, " d"]
    velocity: Float[np.ndarray, " d"]


def derivatives(task: LinearTask, structure: Structure, shared: bool) -> Derivatives:
    """Gradient and Hessian of the cost by the switch times, and dS/dt at each.

    Moving the switch τ_i of component c displaces δ by v_i = −(u₋ − u₊) X_cᵀe_c, which the flow carries to
    w_i(t) = Φ(t, τ_i) v_i. With W = LᵀL and p(t) = Φ(T, t)ᵀWδ(T):

        g_i = p(τ_i)ᵀv_i = (u₋ − u₊) S_c(τ_i)
        G_ij = w_i(T)ᵀW w_j(T) − (u₋ − u₊)_j (X_c p)ᵀ(X_c w_i) at τ_j,  i < j
        G_ii = w_i(T)ᵀW w_i(T) + (u₋ − u₊)_i dS_c/dt(τ_i), the derivative along p of the later and δ of the earlier arc.

    A price adds ρ(|u₋| − |u₊|) to g, and nothing to G.
    """
    _, components = structure.in_order
    knots, levels = structure_arcs(task, structure, shared)
    path = linear_path(task, knots, levels)
    per_component = levels.reshape(len(levels), -1)
    count = len(components)
    gradient, slopes, hessian = np.zeros(count), np.zeros(count), np.zeros((count, count))
    prices = np.zeros(count)
    carried = np.zeros((count, len(task.rates)))  # w_i at the current switch, for the switches passed
    for j, component in enumerate(components):
        rows = task.rows if shared else task.rows[component : component + 1]
        r = task.residuals if shared else task.residuals[component : component + 1]
        fall = per_component[j, component] - per_component[j + 1, component]
        delta, p = path.deltas[j + 1], path.costates[j + 1]
        if j:
            carried[:j] = _carry(path, j, carried[:j])
        e, xp = rows @ delta - r, rows @ p
        prices[j] = abs(per_component[j, component]) - abs(per_component[j + 1, component])
        gradient[j] = -fall * (xp @ e) + task.price * prices[j]
        hessian[:j, j] = hessian[j, :j] = -fall * (carried[:j] @ rows.T) @ xp
        slopes[j] = -(rows @ _adjoint(task, levels[j + 1], p)) @ e - xp @ (rows @ _velocity(task, levels[j], delta))
        hessian[j, j] = fall * slopes[j]
        carried[j] = -fall * e @ rows
    if count:
        carried = _carry(path, count, carried)
        images = np.stack([task.form.image(row) for row in carried])
        hessian += images @ images.T
    velocity = _velocity(task, levels[-1], path.deltas[-1])
    cost = task.form.value(path.deltas[-1]) + task.price * effort(task, structure)
    return Derivatives(cost, gradient, hessian, prices, slopes, carried, path.deltas[-1], velocity)


def _carry(path: LinearPath, arc: int, vectors: np.ndarray) -> np.ndarray:
    """Φ over one arc, applied to rows."""
    spectrum, duration = path.spectra[arc], path.knots[arc + 1] - path.knots[arc]
    return spectrum.from_basis(np.exp(-spectrum.rates * duration) * spectrum.to_basis(vectors))


def _adjoint(task: LinearTask, level: float | np.ndarray, p: np.ndarray) -> np.ndarray:
    """H_u p."""
    return task.rates * p + (level * (task.rows @ p)) @ task.rows


def _velocity(task: LinearTask, level: float | np.ndarray, delta: np.ndarray) -> np.ndarray:
    """dδ/dt."""
    return task.drift - task.rates * delta - (level * task.residual(delta)) @ task.rows
