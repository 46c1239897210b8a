"""Influence along training: K_j(t) with its stages, windows trained again, posteriors at checkpoints; plateaus."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes

from .._core import InputError, as_count
from ..attribution import (
    BayesianInfluence,
    CheckpointInfluence,
    InfluenceDensity,
    PlateauFlow,
    PlateauSlopes,
    Stages,
    WindowedRemoval,
)
from ._doors import drawn
from ._layout import legend_above
from ._style import BASELINE, BLACK, GREY, LOOKS, MARKERS, given_panels, mark_times, new_figure, panel, stack, styled

Influence = InfluenceDensity | CheckpointInfluence


@drawn
def influence(
    result: Influence,
    *,
    points: Sequence[int] | None = None,
    functional: int = 0,
    most: int = 6,
    stages: Stages | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the influence of single points over training: K_j(t), or influence at checkpoints.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), l2=0.1)
        >>> path = {"ts": np.linspace(0.0, 2.0, 11), "functional": ef.Predictions(line.model, np.ones((1, 1)))}
        >>> density = ef.influence_density(line, ef.Constant(1.0), np.zeros(1), **path)
        >>> ef.plots.influence(density, most=2).get_legend().get_texts()[0].get_text()
        'point 1'

    The points are drawn whose influence is largest somewhere; all others are thin and grey. Sign changes are open
    markers, peaks of the whole influence thin lines.

    Args:
        result: of `influence_density` or `checkpoint_influence`.
        points: which points are drawn in colour. Default: the `most` largest.
        functional: of a vector functional, which value.
        most: how many points are drawn in colour.
        stages: of `epsflow.stages`, for the marks.
        ax: where to draw. Default: a new figure.

    Raises:
        InputError: a point or a value of the functional that is not there.
    """
    values = _of(result, functional)
    chosen = _chosen(values, points, most)
    with styled():
        drawn = panel(ax)
        _lines(drawn, result.ts, values, chosen)
        drawn.set(xlabel="time $t$", ylabel=_unit(result))
        if stages is not None:
            _marks(drawn, stages, chosen, functional)
        legend_above(drawn)
    return drawn


@drawn
def stagewise(
    result: InfluenceDensity,
    *,
    windows: Sequence[WindowedRemoval],
    bayesian: Mapping[float, BayesianInfluence],
    stages: Stages | None = None,
    points: Sequence[int] | None = None,
    functional: int = 0,
    most: int = 4,
    ax: Sequence[Axes] | np.ndarray | None = None,
) -> tuple[Axes, Axes, Axes]:
    """Draw K_j(t), windowed retraining and Bayesian influence at checkpoints, one above the other over one time axis.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), l2=0.1)
        >>> ask = {"ts": np.linspace(0.0, 2.0, 11), "functional": ef.Predictions(line.model, np.ones((1, 1)))}
        >>> density = ef.influence_density(line, ef.Constant(1.0), np.zeros(1), **ask)
        >>> window = ef.windowed_removal(line, ef.Constant(1.0), np.zeros(1), window=(0.0, 1.0), **ask)
        >>> sampled = ef.bayesian_influence(line, functional=ask["functional"], sampler="exact")
        >>> upper, middle, lower = ef.plots.stagewise(density, windows=[window], bayesian={2.0: sampled})
        >>> lower.get_ylabel()
        'Bayesian change'

    The middle panel holds minus the change per time that training again without the point in each window gave, as a
    horizontal bar over the window, and K_j(t) thin behind it: where they part, the first order does. The lower panel
    holds the predicted changes upon removal of a sampled posterior around θ(t), ± two Monte-Carlo errors.

    Args:
        result: of `influence_density`.
        windows: of `windowed_removal`, one per window, each with all the points that are drawn.
        bayesian: of `bayesian_influence` with the same functional, by the time of the checkpoint.
        stages, points, functional, most: as in `influence`.
        ax: three Axes to draw on. Default: a new figure.

    Raises:
        InputError: another number of Axes; no window or checkpoint, or one that lacks a point that is drawn.
    """
    if not windows or not bayesian:
        raise InputError("a stagewise figure needs windows and Bayesian influence at one time at least.")
    values = _of(result, functional)
    chosen = _chosen(values, points, most)
    with styled():
        upper, middle, lower = stack(new_figure(6.4), 3) if ax is None else given_panels(ax, 3)
        _lines(upper, result.ts, values, chosen)
        if stages is not None:
            _marks(upper, stages, chosen, functional)
        for k, point in enumerate(chosen.tolist()):
            look, marker = LOOKS[k % len(LOOKS)], MARKERS[k % len(MARKERS)]
            middle.plot(result.ts, values[:, point], color=look.color, linestyle="-", linewidth=0.7)
            for window in windows:
                change = _entry(window.points, window.change, point, functional, "window")
                height = -change / (window.stop - window.start)
                middle.hlines(height, window.start, window.stop, colors=look.color, linewidth=2.4)
                middle.plot(0.5 * (window.start + window.stop), height, marker, color=look.color, markersize=4.5)
            times = np.array(sorted(bayesian))
            found = [bayesian[t] for t in times]
            centre = np.array([_entry(b.points, b.removal, point, functional, "checkpoint") for b in found])
            error = np.array([_entry(b.points, b.beta * b.error, point, functional, "checkpoint") for b in found])
            dots: dict[str, Any] = {"marker": marker, "markersize": 3.5, "elinewidth": 0.8}
            lower.errorbar(times, centre, yerr=2.0 * error, **dots, **look.line())
        upper.set_ylabel("density $K_j(t)$")
        middle.set_ylabel("by retraining")
        lower.set(xlabel="time $t$", ylabel="Bayesian change")
        legend_above(upper)
    return upper, middle, lower


@drawn
def plateaus(result: PlateauFlow, *, ax: Axes | None = None) -> Axes:
    """Draw what a two-layer network has learned of each degree, and the risk, over the logarithm of time.

    Example:
        >>> ef.plots.plateaus(ef.plateau_flow([0.0, 1.0], time_scale=0.1, neurons=8)).get_ylabel()
        'learned share'

    Args:
        result: of `plateau_flow`.
        ax: where to draw. Default: a new figure.
    """
    with styled():
        drawn = panel(ax)
        later = result.ts > 0.0
        ts, risk = result.ts[later], result.risk / result.risk[0]
        for degree in np.flatnonzero(~np.isnan(result.learned[-1])):
            look = LOOKS[int(degree) % len(LOOKS)]
            drawn.plot(ts, result.learned[later, degree], label=f"degree {degree}", **look.line())
        drawn.plot(ts, risk[later], label="$R(t)/R(0)$", color=BLACK, linestyle="-")
        drawn.set_xscale("log")
        drawn.set(xlabel=f"time $t$, $\\varepsilon$ = {result.time_scale:g}", ylabel="learned share")
        legend_above(drawn, columns=5)
    return drawn


@drawn
def plateau_slopes(result: PlateauSlopes, *, ax: Axes | None = None) -> Axes:
    """Draw learning times against ε, with the limit ε^{1/(2l)} through the last time of each degree.

    Example:
        >>> scales = [1e-1, 1e-2, 1e-3, 1e-4]
        >>> found = ef.attribution.plateau_slopes([0.0, 1.0], time_scales=scales, neurons=8)
        >>> ef.plots.plateau_slopes(found).get_ylabel()
        'time when half is learned'

    Args:
        result: of `epsflow.attribution.plateau_slopes`.
        ax: where to draw. Default: a new figure.
    """
    with styled():
        drawn = panel(ax)
        scales = result.time_scales
        for degree in np.flatnonzero(~np.isnan(result.times).any(axis=0)):
            look, times = LOOKS[int(degree) % len(LOOKS)], result.times[:, degree]
            label = f"degree {degree}: slope {result.slopes[degree]:.3f} ± {result.slope_errors[degree]:.3f}"
            drawn.plot(scales, times, marker="o", markersize=3.5, label=label, **look.line())
            power = 1.0 / (2.0 * degree) if degree else 1.0
            drawn.plot(scales, times[-1] * (scales / scales[-1]) ** power, **BASELINE.line())
        drawn.set_xscale("log")
        drawn.set_yscale("log")
        drawn.set(xlabel=r"$\varepsilon$", ylabel="time when half is learned")
        legend_above(drawn, columns=1)
    return drawn


def _unit(result: Influence) -> str:
    return "$K_j(t)$" if isinstance(result, InfluenceDensity) else r"change of $\varphi(\theta(t))$"


def _of(result: Influence, functional: int) -> Float[np.ndarray, "k n"]:
    """The influence on one value of φ."""
    values = result.values.reshape(*result.values.shape[:2], -1)
    if not 0 <= functional < values.shape[2]:
        raise InputError(f"functional is {functional}; φ has {values.shape[2]} values, numbered from 0.")
    return values[:, :, functional]


def _chosen(values: Float[np.ndarray, "k n"], points: Sequence[int] | None, most: int) -> Int[np.ndarray, " c"]:
    if points is None:
        return np.argsort(-np.abs(values).max(axis=0), kind="stable")[: as_count(most, "most")]
    chosen = np.asarray(points, int)
    if chosen.ndim != 1 or not chosen.size or chosen.min() < 0 or chosen.max() >= values.shape[1]:
        raise InputError(f"points is {points}; a list of numbers below {values.shape[1]} is needed.")
    return chosen


def _lines(ax: Axes, ts: np.ndarray, values: np.ndarray, chosen: np.ndarray) -> None:
    others = np.setdiff1d(np.arange(values.shape[1]), chosen)
    ax.plot(ts, values[:, others], color=GREY, linestyle="-", linewidth=0.4, alpha=0.4, zorder=1.0)
    ax.axhline(0.0, color=BLACK, linewidth=0.6)
    for k, point in enumerate(chosen.tolist()):
        ax.plot(ts, values[:, point], label=f"point {point}", **LOOKS[k % len(LOOKS)].line())


def _marks(ax: Axes, stages: Stages, chosen: np.ndarray, functional: int) -> None:
    mark_times((ax,), {f"t_{{{k + 1}}}": float(time) for k, time in enumerate(stages.peaks)})
    for k, point in enumerate(chosen.tolist()):
        mine = (stages.points == point) & (stages.functionals == functional)
        times = stages.times[mine]
        look: dict[str, Any] = {"color": LOOKS[k % len(LOOKS)].color, "markerfacecolor": "none", "markersize": 4.5}
        ax.plot(times, np.zeros(times.size), MARKERS[k % len(MARKERS)], **look)


def _entry(points: np.ndarray, values: np.ndarray, point: int, functional: int, what: str) -> float:
    """The value of one point and one functional."""
    place = np.flatnonzero(np.asarray(points) == point)
    if not place.size:
        raise InputError(f"a {what} lacks point {point}, which is drawn; ask for it with points=…")
    return float(np.reshape(values, (len(points), -1))[place[0], functional])
