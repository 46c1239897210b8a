"""ε(t) over the switching function that explains it."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from .._core import InputError
from ..control import Arc, ScheduleSolution
from ..schedules import AbstractSchedule
from ._doors import drawn
from ._layout import legend_above
from ._paths import Result, drawn_from, entries, sample
from ._style import BLACK, HEIGHTS, LOOKS, given_panels, handle, mark_times, new_figure, stack, styled

POINTS = 800
ARC_TINTS = {"high": "#DCE9F5", "interior": "#F6E7D3"}
"""Background of the optimum's arcs on which ε is at its upper bound, or between its bounds; none at the lower one."""

MOST_COMPONENTS = 5
"""Components of the costate that are drawn one by one."""

NAME_WIDTH = 0.12
"""Of the window: a switch nearer to s than that has its time written on its right."""

NAMED_SWITCHES = 3
"""So many switches have their time written beside them; more would not be legible."""

THREE = 6.3
"""Height in inches of a figure with three panels."""


@drawn
def schedule(
    result: Result,
    *,
    others: Mapping[str, AbstractSchedule] | None = None,
    conditions: bool = False,
    ax: Axes | Sequence[Axes] | np.ndarray | None = None,
) -> tuple[Axes, ...]:
    """Draw ε(t) of every schedule of a result and, below it, the optimum's switching function S(t) = ∂𝓔/∂ε(t).

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> weights, switching = ef.plots.schedule(ef.optimal_schedule(line, np.zeros(1), s=0.1, T=1.0))
        >>> switching.get_xlabel()
        'flow time $t$'

    Where S < 0 a larger ε lowers the cost, so that the optimum is at its upper bound (shaded); where S > 0 it is at its
    lower bound. Where ∫|ε| dt has a price ρ, or its budget the multiplier ρ, S counts against −ρ and ρ (dashed): ε > 0
    below the former, ε < 0 above the latter, ε = 0 in between. S is defined on [s, T], where ε may be chosen; it has
    one curve per deleted point if weights differ.

    Up to s all schedules agree: the first is drawn from 0, the others from s on.

    Args:
        result: of `epsflow.compare_schedules` or `epsflow.optimal_schedule`.
        others: more schedules to draw, by name.
        conditions: also draw the optimum's costate p(t), its norm where it has more than five components, and its
            Hamiltonian 𝓗(t), which is constant along an extremal (of the flow; steps have none).
        ax: the panels to draw on, one for ε and one for S (the latter only if there is an optimum), two more for the
            `conditions`. Default: a new figure.

    Returns:
        The panel of ε(t) and, where there is an optimum, the panel of S(t); then those of p(t) and 𝓗(t), if asked for.

    Raises:
        InputError: no such result, a wrong number of panels, or conditions of a comparison without an optimum.
    """
    optimum = result if isinstance(result, ScheduleSolution) else result.optimum
    if conditions and optimum is None:
        raise InputError("conditions=True needs an optimum: this comparison was made without one.")
    steps = result.task.in_steps
    # Steps keep no Hamiltonian constant, and none is drawn.
    count = 1 if optimum is None else (3 if steps else 4) if conditions else 2
    given = None if ax is None else given_panels(ax, count)
    with styled():
        axes = given or stack(new_figure(HEIGHTS.get(count, THREE)), count)
        _draw_weights(axes[0], result, others or {}, () if optimum is None else optimum.arcs)
        if optimum is not None:
            _draw_switching(axes[1], optimum)
            if conditions:
                _draw_costate(axes[2], optimum)
                if not steps:
                    _draw_hamiltonian(axes[3], optimum)
            for arc in optimum.arcs:
                for panel in axes if arc.kind in ARC_TINTS and _shared(optimum, arc) else ():
                    panel.axvspan(arc.start, arc.end, color=ARC_TINTS[arc.kind], linewidth=0.0, zorder=0.1)
        mark_times(axes, {"s": result.task.s, "T": result.task.T})
        # A little room after T shows that ε is 0 there.
        axes[0].set_xlim(0.0, 1.03 * result.task.T)
        trained = "training step $k$" if result.task.trainings is not None else "step of gradient descent $k$"
        axes[-1].set_xlabel(trained if steps else "flow time $t$")
    return axes


def _shared(optimum: ScheduleSolution, arc: Arc) -> bool:
    """Whether an arc is one of all deleted points, so that the background can show it."""
    return arc.point is None or optimum.task.problem.delete.size == 1


def _draw_weights(ax: Axes, result: Result, others: Mapping[str, AbstractSchedule], arcs: Sequence[Arc]) -> None:
    task = result.task
    known = entries(result)
    lines = [
        (entry.schedule, entry.look, entry.label, max(0.0, drawn_from(result, i))) for i, entry in enumerate(known)
    ]
    for index, (name, weights) in enumerate(others.items()):
        lines.append((weights, LOOKS[(len(known) + index) % len(LOOKS)], name, 0.0))
    for order, (weights, look, _, start) in enumerate(lines):
        times, values = sample(weights, start, 1.03 * task.T, POINTS)
        ax.plot(times, values, zorder=2.0 + 0.1 * order, **look.line())
    low, high = min(task.bounds[0], 0.0), max(task.bounds[1], 1.0)
    margin = 0.06 * (high - low)
    ax.set_ylim(low - margin, high + margin)
    ax.set_ylabel("weight of the deleted\npoints $\\varepsilon(t)$")
    handles = [handle(look, label) for _, look, label, _ in lines]
    kinds = {arc.kind for arc in arcs}
    names = {"high": "optimum at its upper bound", "interior": "optimum between its bounds"}
    tints = [Patch(color=tint, label=names[kind]) for kind, tint in ARC_TINTS.items() if kind in kinds]
    legend_above(ax, [*handles, *tints], columns=2)


def _draw_switching(ax: Axes, optimum: ScheduleSolution) -> None:
    task, steps = optimum.task, optimum.task.in_steps
    times = np.arange(task.s, task.T) + 0.5 if steps else np.linspace(task.s, task.T, POINTS)
    curves = np.asarray(optimum.switching(times)).reshape(len(times), -1)
    ax.axhline(0.0, color=BLACK, linewidth=0.8, zorder=1.5)
    levels = optimum.thresholds
    for level in levels if optimum.multiplier > 0.0 else ():
        ax.axhline(level, color=BLACK, linewidth=0.8, linestyle="--", zorder=1.5)
        sign = "-" if level < 0.0 else ""
        place = {"xytext": (3.0, 0.0), "textcoords": "offset points", "va": "center", "fontsize": 8.0}
        ax.annotate(f"${sign}\\rho$", (1.0, level), xycoords=("axes fraction", "data"), **place)
    if curves.shape[1] == 1:
        ax.plot(times, curves[:, 0], color=BLACK, linestyle="-", zorder=2.5)
        _name_switches(ax, times, curves[:, 0], levels)
    else:
        for index, point in enumerate(np.asarray(task.problem.delete)):
            look = LOOKS[index % len(LOOKS)].line()
            ax.plot(times, curves[:, index], label=f"point {point}", zorder=2.5, **look)
        legend_above(ax, columns=6)
    ax.set_ylabel(f"switching function $S(t)$\n(units of $\\theta^2$ / {'step' if steps else 'time'})")
    ax.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3), useMathText=True)


def _draw_costate(ax: Axes, optimum: ScheduleSolution) -> None:
    times = np.linspace(optimum.task.s, optimum.task.T, POINTS)
    curves = np.asarray(optimum.extremal.costate(times))
    ax.axhline(0.0, color=BLACK, linewidth=0.8, zorder=1.5)
    if curves.shape[1] > MOST_COMPONENTS:
        ax.plot(times, np.linalg.norm(curves, axis=1), color=BLACK, linestyle="-", zorder=2.5)
        ax.set_ylabel("norm of the costate\n$\\|p(t)\\|$  (units of $\\theta$)")
    else:
        for index, curve in enumerate(curves.T):
            ax.plot(times, curve, label=f"$p_{index}$", zorder=2.5, **LOOKS[index % len(LOOKS)].line())
        legend_above(ax, columns=6)
        ax.set_ylabel("costate $p(t)$\n(units of $\\theta$)")
    ax.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3), useMathText=True)


def _draw_hamiltonian(ax: Axes, optimum: ScheduleSolution) -> None:
    times = np.linspace(optimum.task.s, optimum.task.T, POINTS)
    values = np.asarray(optimum.extremal.hamiltonian(times))
    rho = optimum.multiplier
    if rho > 0.0:
        # The value before a jump, as the Hamiltonian has it.
        before = np.append(times[0], np.nextafter(times[1:], -np.inf))
        eps = np.asarray(optimum.schedule(before))
        values = values + rho * np.abs(eps).reshape(len(times), -1).sum(axis=1)
    ax.plot(times, values, color=BLACK, linestyle="-", zorder=2.5)
    # Around a constant the automatic limits would show its rounding.
    room = max(float(np.ptp(values)), 0.1 * float(np.abs(values).max()), np.finfo(np.float64).tiny)
    ax.set_ylim(float(values.min()) - 0.5 * room, float(values.max()) + 0.5 * room)
    name = "$\\mathcal{H}+\\rho|\\varepsilon|$\n" if rho > 0.0 else "\n$\\mathcal{H}(t)$  "
    ax.set_ylabel(f"Hamiltonian {name}(units of $\\theta^2$ / time)")
    ax.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3), useMathText=True)


def _name_switches(ax: Axes, times: np.ndarray, values: np.ndarray, levels: Sequence[float]) -> None:
    """A dot wherever S crosses one of the levels at which ε changes, with its time."""
    found = []
    for level in levels:
        above = values - level
        before = np.flatnonzero(np.sign(above[:-1]) * np.sign(above[1:]) < 0.0)
        share = above[before] / (above[before] - above[before + 1])
        found += [(time, level) for time in times[before] + share * (times[before + 1] - times[before])]
    if len(found) > NAMED_SWITCHES:
        return
    for time, level in found:
        ax.plot([time], [level], marker="o", markersize=4.0, color=BLACK, zorder=3.0)
        side = -1.0 if time > times[0] + NAME_WIDTH * (times[-1] - times[0]) else 1.0
        up = level >= 0.0
        place = {"xytext": (5.0 * side, 4.0 if up else -4.0), "va": "bottom" if up else "top", "fontsize": 8.0}
        place["textcoords"] = "offset points"
        place["ha"] = "right" if side < 0.0 else "left"
        ax.annotate(f"$t={time:.4g}$", (time, level), **place)
