"""Figures of a study: distributions, shares with intervals, and curves with bands, for any number of groups."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from .._core import InputError, brief
from ._doors import drawn
from ._layout import fit_labels, legend_above, make_room
from ._style import BLACK, GREY, LOOKS, MARKERS, OPTIMUM, Look, stack, styled, unshown_figure, verbatim

COLORS = (*(look.color for look in LOOKS), BLACK)
"""Of series whose estimates share an axis; they repeat after seven."""

TAILS = 0.01
"""Share of the values on either side that may lie outside the axis: one ratio of 1e6 would hide the rest."""


@drawn
def distributions(values: Mapping[str, Float[np.ndarray, " _"]], label: str, *, ax: Axes | None = None) -> Axes:
    """Empirical distribution functions of positive numbers, one line per group, on a logarithmic axis; 1 is marked.

    Example:
        >>> ef.plots.distributions({"all": np.array([0.5, 1.0, 2.0])}, "step over linear decay").get_ylabel()
        'share of runs up to here'

    Args:
        values: numbers by group; the group "all" is drawn in black.
        label: what they are.
        ax: where to draw; default: a new figure.

    Raises:
        InputError: no positive number at all.
    """
    drawn = {name: np.sort(part[part > 0.0]) for name, part in values.items()}
    drawn = {name: part for name, part in drawn.items() if part.size}
    if not drawn:
        raise InputError("there is no positive number to draw the distribution of.")
    with styled():
        ax = _axes(ax, 3.4)
        low, high = np.quantile(np.concatenate(list(drawn.values())), (TAILS, 1.0 - TAILS))
        low, high = min(low, 0.98), max(high, 1.02)
        for k, (name, part) in enumerate(drawn.items()):
            look = OPTIMUM if name == "all" else _look(k)
            shares = np.arange(1, part.size + 1) / part.size
            outer = np.concatenate([[low], part, [high]])
            ax.step(
                np.clip(outer, low, high),
                np.concatenate([[0.0], shares, [1.0]]),
                where="post",
                label=verbatim(name),
                **look.line(),
            )
        ax.axvline(1.0, color=GREY, linewidth=0.8)
        ax.set(xscale="log", xlabel=label, ylabel="share of runs up to here", ylim=(-0.02, 1.02), xlim=(low, high))
        _few_decades(ax)
        _legend(ax, len(drawn))
    return ax


@drawn
def intervals(values: Mapping[str, Sequence[float]], label: str, *, log: bool = False, ax: Axes | None = None) -> Axes:
    """Estimates with their intervals, one line per group.

    Example:
        >>> ef.plots.intervals({"all": (0.5, 0.4, 0.6)}, "share").get_xlabel()
        'share'

    Args:
        values: (estimate, low, high) by group; NaN bounds are left out.
        label: what they are.
        log: a logarithmic axis, without estimates that are not positive; else from 0 to 1.
        ax: where to draw; default: a new figure.

    Raises:
        InputError: nothing to draw.
    """
    drawn = {name: part for name, part in values.items() if np.isfinite(part[0]) and (not log or part[0] > 0.0)}
    if not drawn:
        raise InputError("there is no estimate to draw.")
    with styled():
        ax = _axes(ax, 0.9 + 0.26 * len(drawn))
        for place, (name, (estimate, low, high)) in enumerate(drawn.items()):
            color = BLACK if name == "all" else LOOKS[1].color
            if np.isfinite(low):
                ax.plot([low, high], [place, place], color=color, linestyle="-", linewidth=1.5)
            ax.plot([estimate], [place], marker="D" if name == "all" else "o", markersize=4.5, color=color)
        ax.set_yticks(range(len(drawn)), [verbatim(name) for name in drawn])
        ax.set(xlabel=label, ylim=(len(drawn) - 0.4, -0.6))
        if log:
            ax.set_xscale("log")
        else:
            ax.set_xlim(-0.02, 1.02)
    return ax


@drawn
def grouped_intervals(
    values: Mapping[str, Mapping[str, Sequence[float]]], label: str, *, ax: Axes | None = None
) -> Axes:
    """Positive estimates with their intervals, group by group on a logarithmic axis; 1 is marked.

    Example:
        >>> found = {"optimum": {"digits": (0.8, 0.7, 0.9)}, "R2D": {"digits": (1.0, 1.0, 1.0)}}
        >>> [text.get_text() for text in ef.plots.grouped_intervals(found, "distance").get_yticklabels()]
        ['digits']

    Args:
        values: (estimate, low, high) by series and group; series differ in colour and in the shape of their mark.
        label: what they are.
        ax: where to draw; default: a new figure.

    Raises:
        InputError: no positive estimate.
    """
    groups = list(dict.fromkeys(group for part in values.values() for group in part))
    if not any(part[0] > 0.0 for series in values.values() for part in series.values()):
        raise InputError("there is no positive estimate to draw.")
    with styled():
        ax = _axes(ax, 1.2 + (0.1 + 0.09 * len(values)) * len(groups))
        ax.axvline(1.0, color=GREY, linewidth=0.8)
        for k, (name, series) in enumerate(values.items()):
            color, mark = COLORS[k % len(COLORS)], MARKERS[k % len(MARKERS)]
            offset = (k + 0.5) / len(values) - 0.5
            kept = [(groups.index(group) + 0.8 * offset, *part) for group, part in series.items() if part[0] > 0.0]
            for place, _, low, high in kept:
                ax.plot([low, high], [place, place], color=color, linestyle="-", linewidth=1.2)
            places = [each[0] for each in kept]
            style = {"linestyle": "none", "marker": mark, "color": color, "markersize": 4.5}
            ax.plot([each[1] for each in kept], places, label=verbatim(name), **style)
        for place in range(1, len(groups)):
            ax.axhline(place - 0.5, color=GREY, linewidth=0.4)
        ax.set_yticks(range(len(groups)), [verbatim(group) for group in groups])
        ax.set(xlabel=label, ylim=(len(groups) - 0.5, -0.5), xscale="log")
        ax.grid(visible=False, axis="y")
        _few_decades(ax)
        legend_above(ax, columns=4, gap=0.2, handlelength=1.0)
    return ax


def bands(
    x: Float[np.ndarray, " k"],
    values: Mapping[str, Float[np.ndarray, "3 k"]],
    xlabel: str,
    ylabel: str,
    *,
    ax: Axes | None = None,
) -> Axes:
    """Medians as lines and quartiles as bands, on a logarithmic axis.

    Example:
        >>> quartiles = np.array([[1.0, 1.0], [2.0, 3.0], [4.0, 9.0]])
        >>> ef.plots.bands(np.array([0.0, 1.0]), {"all": quartiles}, "time", "cost").get_ylabel()
        'cost'

    Args:
        x: where, shape (k,).
        values: (lower quartile, median, upper quartile) by group.
        xlabel, ylabel: of the axes.
        ax: where to draw; default: a new figure.

    Raises:
        InputError: nothing to draw.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"values is {brief(values)}; quartiles by the name of their group are needed.")
    if not values:
        raise InputError("there is no curve to draw.")
    with styled():
        own = ax is None
        ax = _axes(ax, 3.8)
        for k, (name, (low, middle, high)) in enumerate(values.items()):
            look = _look(k)
            ax.plot(x, middle, label=verbatim(name), **look.line())
            ax.fill_between(x, low, high, color=look.color, alpha=0.12, linewidth=0.0)
        ax.set(xlabel=xlabel, ylabel=ylabel, yscale="log")
        _legend(ax, len(values))
        fit_labels(ax)  # here, since quartiles come second: the door looks at the first argument
        if own:
            make_room(ax)
    return ax


def _few_decades(ax: Axes) -> None:
    """Marks at 1, 2 and 5 where the axis has less than two decades: powers of ten alone would be too few."""
    low, high = ax.get_xlim()
    if high < 100.0 * low:
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _axes(ax: Axes | None, height: float) -> Axes:
    # A study's figures are written to files, dozens at a time: no window is opened.
    return stack(unshown_figure(height), 1)[0] if ax is None else ax


def _look(k: int) -> Look:
    """The house looks in turn; the second time round they are thin."""
    look = LOOKS[k % len(LOOKS)]
    return look if k < len(LOOKS) else look._replace(width=0.8)


def _legend(ax: Axes, count: int) -> None:
    if count > 1:
        legend_above(ax, columns=2)
