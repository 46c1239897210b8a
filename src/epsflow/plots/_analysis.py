"""What separates retraining from an influence estimate, and how far every answer to a deletion ends from retraining."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text

from .._core import InputError
from ..analysis import Decomposition, Endpoints
from ._doors import drawn
from ._layout import legend_above, name_rows
from ._style import BLACK, BLUE, GREEN, GREY, ORANGE, SKY, VERMILLION, panel, styled, verbatim

GAP_LOOKS = ((BLUE, "////"), (SKY, "...."), (GREEN, "\\\\\\\\"), (ORANGE, ""), (VERMILLION, "xxxx"))
"""Colour and hatch of each gap, in their order; the hatch tells them apart in black-and-white print."""

UNITS = {"outputs": "units of $y$", "losses": "units of the loss", "parameters": "units of $\\theta$"}


@drawn
def decomposition(
    result: Decomposition | Mapping[str, Decomposition],
    *,
    space: Literal["outputs", "losses", "parameters"] = "outputs",
    kind: Literal["sizes", "shares"] = "sizes",
    ax: Axes | None = None,
) -> Axes:
    """Draw the five gaps between cold retraining and the influence estimate, stacked, one bar per data set and model.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> ef.plots.decomposition(ef.decompose(line, ef.train(line).theta, damping=0.1)).get_xlabel()
        'root mean square gap in outputs, stacked  (units of $y$)'

    Sizes are root mean squares over the data points and outputs, averaged over the deletions. A thin line through the
    first gap shows the standard deviation over cold starts, where there are several. Gaps between stages that did not
    all converge are marked by a star. The share of the last two gaps is written beside the bar.

    Source: Figure 1 of the notes (error decomposition).

    Args:
        result: of `epsflow.decompose`, or several by name.
        space: in which the gaps are measured.
        kind: "sizes", or "shares" of their sum in per cent.
        ax: where to draw. Default: a new figure.

    Raises:
        InputError: nothing to draw, or an unknown space or kind.
    """
    results = dict(result) if isinstance(result, Mapping) else {verbatim(result.name): result}
    if not results:
        raise InputError("there is no decomposition to draw.")
    if space not in UNITS:
        raise InputError(f"space is {space!r}; choose one of {', '.join(UNITS)}.")
    if kind not in ("sizes", "shares"):
        raise InputError(f"kind is {kind!r}; choose 'sizes' or 'shares'.")
    sizes = np.array([found.sizes(space).mean(axis=1) for found in results.values()])
    totals = sizes.sum(axis=1, keepdims=True)
    scales = 100.0 / np.where(totals > 0.0, totals, 1.0) if kind == "shares" else np.ones_like(totals)
    with styled():
        drawn = panel(ax, height=1.5 + 0.55 * len(results))
        places = np.arange(len(results) - 1.0, -1.0, -1.0)
        heights = sizes * scales
        for index, (color, hatch) in enumerate(GAP_LOOKS):
            left = heights[:, :index].sum(axis=1)
            style = {"color": color, "hatch": hatch, "edgecolor": "white", "linewidth": 0.3}
            drawn.barh(places, heights[:, index], left=left, height=0.62, **style)
        for place, scale, found, height in zip(places, scales[:, 0], results.values(), heights, strict=True):
            _mark_spread(drawn, place, scale, found, height[0], space)
            _mark_flags(drawn, place, height, found)
        told = [_tell_estimation(drawn, place, height) for place, height in zip(places, heights, strict=True)]
        drawn.set_yticks(places, list(results))
        drawn.tick_params(axis="y", length=0)
        drawn.grid(visible=False, axis="y")
        words = max(text.get_window_extent().width for text in told) / drawn.get_window_extent().width
        drawn.set_xlim(0.0, heights.sum(axis=1).max() / max(0.97 - words, 0.4))
        if kind == "shares":
            drawn.set_xticks(range(0, 101, 20))
        drawn.set_ylim(-0.7, len(results) - 0.3)
        what = f"share of the summed root mean square gaps in {space}  (%)"
        drawn.set_xlabel(what if kind == "shares" else f"root mean square gap in {space}, stacked  ({UNITS[space]})")
        _explain(drawn, spread=space != "losses" and any(len(found.cold_thetas) > 1 for found in results.values()))
    return drawn


def _explain(ax: Axes, *, spread: bool) -> None:
    """The legend, above the panel."""
    handles: list[Patch | Line2D] = [
        Patch(facecolor=color, hatch=hatch, edgecolor="white", label=gap)
        for gap, (color, hatch) in zip(Decomposition.gap_names, GAP_LOOKS, strict=True)
    ]
    if spread:
        handles.append(Line2D([], [], color=BLACK, linewidth=1.0, label="± s.d., cold starts"))
    legend_above(ax, handles, gap=0.4, handlelength=2.0)


def _mark_spread(ax: Axes, place: float, scale: float, found: Decomposition, height: float, space: str) -> None:
    """A whisker of one standard deviation over cold starts, at the end of the first gap."""
    if space == "losses" or len(found.cold_thetas) < 2:
        return
    spread = scale * found.cold_sizes("parameters" if space == "parameters" else "outputs").std(axis=0, ddof=1).mean()
    ax.errorbar(height, place, xerr=spread, color=BLACK, capsize=2.5, linewidth=1.0, zorder=4.0)


def _tell_estimation(ax: Axes, place: float, heights: np.ndarray) -> Text:
    """How much of the bar the last two gaps are: they are often too thin to be seen."""
    total = heights.sum()
    words = f" last two: {100.0 * heights[3:].sum() / total:.2g} %" if total > 0.0 else " no gap"
    return ax.text(total, place, words, va="center", color="#555555", fontsize=8.0)


def _mark_flags(ax: Axes, place: float, heights: np.ndarray, found: Decomposition) -> None:
    """A star over every gap with a stage that did not converge."""
    middles = np.cumsum(heights) - 0.5 * heights
    for index, middle in enumerate(middles):
        if not found.converged[index : index + 2].all():
            ax.text(middle, place + 0.34, "*", ha="center", va="center", fontsize=12.0)


@drawn
def endpoints(result: Endpoints, *, ax: Axes | None = None) -> Axes:
    """Draw how far each method ends from retraining, relative to the way that retraining goes, with its cost beside it.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> ef.plots.endpoints(ef.endpoints(line)).get_xscale()
        'log'

    The vertical line at 1 is doing nothing. Open markers did not converge; a method without an answer says so. Costs
    are gradients of the whole risk and Hessian–vector products.

    Args:
        result: of `epsflow.endpoints`.
        ax: where to draw. Default: a new figure.

    Raises:
        InputError: retraining did not move θ, so that there is nothing to compare.
    """
    errors = np.asarray(result.relative_error)[1:]
    if not np.isfinite(errors).any():
        raise InputError("no method has a finite relative error: retraining did not move θ, or nothing answered.")
    names, places = result.methods[1:], np.arange(len(errors) - 1.0, -1.0, -1.0)
    # More than a decade, or a logarithmic axis labels its minor ticks, which then overlap.
    edge, most = min(0.09, 0.3 * errors[errors > 0.0].min(initial=1.0)), 4.0 * max(1.0, np.nanmax(errors))
    with styled():
        drawn = panel(ax, height=1.0 + 0.29 * len(errors))
        drawn.set_xscale("log")
        drawn.set_xlim(edge, most)
        drawn.axvline(1.0, color=GREY, linewidth=1.0, linestyle=(0, (4.0, 2.0)), zorder=1.0)
        place_label = {"xytext": (0.0, 3.0), "textcoords": "offset points", "color": "#555555", "fontsize": 8.0}
        # On the side of the line where the panel is wider, so that the label meets neither the title nor the costs.
        side = "right" if edge * most < 1.0 else "left"
        drawn.annotate("doing nothing", (1.0, 1.0), xycoords=drawn.get_xaxis_transform(), ha=side, **place_label)
        for place, error, good in zip(places, errors, result.converged[1:], strict=True):
            _draw_end(drawn, place, float(error), bool(good), edge)
        drawn.set_ylim(-0.6, len(errors) - 0.4)
        retrained = "\\theta_{\\mathrm{retrained}}"
        drawn.set_xlabel(f"distance to retraining  $\\|\\theta-{retrained}\\|\\,/\\,\\|{retrained}-\\theta_s\\|$")
        drawn.set_title(verbatim(result.title), loc="left", pad=16.0)
        costs = zip(result.gradients[1:], result.products[1:], strict=True)
        beside = [f"{gradients:,.0f} / {products:,.0f}" for gradients, products in costs]
        shown = [name.replace("λ_d", "$\\lambda_d$") for name in names]
        name_rows(drawn, places.tolist(), shown, beside, "gradients / $Hv$")
    return drawn


def _draw_end(ax: Axes, place: float, error: float, good: bool, edge: float) -> None:
    if not np.isfinite(error):
        blank = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
        words: dict[str, Any] = {"va": "center", "color": "#555555", "fontsize": 8.0, "zorder": 3.0}
        ax.text(1.15 * edge, place, "no answer (see its note)", bbox=blank, **words)
        return
    # An error of zero has no logarithm: it is drawn on the left border.
    shown = {"color": BLUE, "markerfacecolor": BLUE if good else "white", "markersize": 6.0, "clip_on": False}
    ax.plot(max(error, edge), place, "o" if error > 0.0 else "<", zorder=3.0, **shown)
