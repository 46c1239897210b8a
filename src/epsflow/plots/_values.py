"""Scores of points: values with their intervals, predictions against exact retraining, removal curves, soft weights."""

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import SymmetricalLogLocator

from .._core import InputError, as_count
from ..analysis import Influence, Leverage, NewtonStep, RetrainingAll, SelfInfluence
from ..attribution import (
    AttributionComparison,
    BayesianInfluence,
    DataValues,
    KNNShapley,
    RemovalCurves,
    SoftWeights,
    TrainingScores,
    WindowedRemoval,
)
from ._doors import drawn
from ._layout import legend_above
from ._style import BLACK, BLUE, GREY, LOOKS, MARKERS, VERMILLION, panel, styled, verbatim

Scored = (
    DataValues
    | KNNShapley
    | BayesianInfluence
    | SelfInfluence
    | Leverage
    | Influence
    | NewtonStep
    | RetrainingAll
    | TrainingScores
    | WindowedRemoval
)
"""What has a number for each of several points."""


@drawn
def point_values(result: Scored, *, most: int = 20, ax: Axes | None = None) -> Axes:
    """The most and the least valued points, in order, with their intervals.

    Example:
        >>> ef.plots.point_values(ef.knn_shapley([[0.0], [1.0], [2.0]], [0, 0, 1], [[0.1]], [0], k=1)).get_ylabel()
        'point'

    Of Bayesian influence the change upon removal is drawn, ± two Monte-Carlo errors; of values the interval they have;
    of changes of θ their length, of leverage Cook's distance.

    Args:
        result: of `data_shapley`, `data_banzhaf`, `loo_values`, `knn_shapley`, `self_influence`, `leverage`,
            `retrain_all`, `influence` and `newton_step_all` for several points, or, with a functional of one value, of
            `influence` or `bayesian_influence` or what the methods of `attribution` score.
        most: how many points; half of them from each end.
        ax: where to draw. Default: a new figure.

    Raises:
        InputError: a functional of several values, or a result for one point alone.
    """
    labels, values, low, high, unit = _columns(result)
    order = np.argsort(-values, kind="stable")
    count = as_count(most, "most", least=2)
    if order.size > count:
        order = np.concatenate([order[: count // 2], order[-(count // 2) :]])
    with styled():
        drawn = panel(ax, height=1.0 + 0.16 * order.size)
        places = np.arange(order.size)[::-1]
        colors = [BLUE if values[i] >= 0.0 else VERMILLION for i in order]
        drawn.hlines(places, low[order], high[order], colors=colors, linewidth=1.4)
        drawn.scatter(values[order], places, c=colors, s=14, zorder=3.0)
        drawn.axvline(0.0, color=GREY, linewidth=0.8)
        drawn.set_yticks(places, [str(labels[i]) for i in order])
        drawn.tick_params(axis="y", length=0, labelsize=7)
        drawn.grid(visible=False, axis="y")
        drawn.set(xlabel=unit, ylabel="point")
    return drawn


class _Values(NamedTuple):
    """Scores of points.

    Attributes:
        labels: of the points.
        values, low, high: with the ends of their intervals.
        unit: what they are.
    """

    labels: np.ndarray
    values: np.ndarray
    low: np.ndarray
    high: np.ndarray
    unit: str


def _columns(result: Scored) -> _Values:
    """Points, values, ends of their intervals, and what they are."""
    if isinstance(result, DataValues):
        points, interval = np.arange(len(result.values)), result.interval
        return _Values(points, result.values, interval[:, 0], interval[:, 1], f"{result.semivalue} value, units of $V$")
    if isinstance(result, BayesianInfluence):
        values, spread = _single(result.removal), 2.0 * result.beta * _single(result.error)
        return _Values(result.points, values, values - spread, values + spread, r"change of $E[\varphi]$ upon removal")
    values, unit = _sizes(result)
    points = result.points if isinstance(result, WindowedRemoval) else np.arange(len(values))
    return _Values(points, values, values, values, unit)


def _sizes(result: Scored) -> tuple[np.ndarray, str]:
    """Values without intervals, and what they are."""
    if isinstance(result, KNNShapley):
        return result.values, "Shapley value, share of votes"
    if isinstance(result, SelfInfluence):
        return _single(result.values), "change of the point's own loss"
    if isinstance(result, Leverage):
        return result.cooks_distance, "Cook's distance"
    if isinstance(result, TrainingScores | WindowedRemoval):
        return _single(result.change), r"change of $\varphi$ upon removal"
    change = np.asarray(result.change)
    if change.ndim < 2:
        raise InputError("this result is for one point or group; ask for several, for instance with points='all'.")
    return np.linalg.norm(change, axis=1), r"$\|\theta(0)-\theta(1)\|$  (units of $\theta$)"


def _single(values: object) -> np.ndarray:
    """One value per point."""
    array = np.atleast_1d(np.asarray(values))
    if array.size != len(array):
        raise InputError(
            f"the functional has {array[0].size} values; a figure of points needs one value each. Ask for one "
            "functional, for instance a mean loss."
        )
    return array.reshape(-1)


@drawn
def attributions(result: AttributionComparison, *, ax: Axes | None = None) -> Axes:
    """Predicted against exact changes upon removal, one marker per method; the diagonal is right.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(20, 2))
        >>> problem = ef.linear_regression(ef.Dataset(x, x[:, 0] + rng.normal(size=20)), l2=0.1)
        >>> found = ef.compare_attributions(problem, ("influence",), groups=3, fractions=())
        >>> ef.plots.attributions(found).get_ylabel()
        'predicted'

    Axes are symmetric logarithmic, linear below a power of ten near the median size of the exact
    changes, because few points matter much.

    Args:
        result: of `compare_attributions`.
        ax: where to draw. Default: a new figure.

    Raises:
        InputError: every exact change is zero.
    """
    sizes = np.abs(result.exact[np.isfinite(result.exact)])
    if not sizes.max(initial=0.0) > 0.0:
        raise InputError("every exact change is zero: there is nothing to compare with.")
    linear = 10.0 ** float(np.floor(np.log10(np.median(sizes[sizes > 0.0]))))  # a tick of its own
    reach = 2.0 * max(float(sizes.max()), *(float(np.abs(found.change).max()) for found in result.scores.values()))
    with styled():
        drawn = panel(ax, height=4.6, width=5.0)
        drawn.plot([-reach, reach], [-reach, reach], color=GREY, linestyle="-", linewidth=0.8, zorder=1.0)
        for k, name in enumerate(result.names):
            look = LOOKS[k % len(LOOKS)]
            drawn.errorbar(
                result.exact,
                result.scores[name].change,
                yerr=result.scores[name].error,
                linestyle="none",
                marker=MARKERS[k % len(MARKERS)],
                markersize=3.2,
                markerfacecolor="none",
                markeredgewidth=0.7,
                color=look.color,
                elinewidth=0.5,
                label=f"{verbatim(name)} (rank correlation {result.single[name].spearman:.2f})",
            )
        drawn.set_xscale("symlog", linthresh=linear)
        drawn.set_yscale("symlog", linthresh=linear)
        drawn.set_xlim(-1.5 * sizes.max(), 1.5 * sizes.max())
        drawn.xaxis.set_major_locator(_decades(linear))
        drawn.yaxis.set_major_locator(_decades(linear))
        drawn.set(xlabel="exact change of the mean test loss upon removal", ylabel="predicted")
        legend_above(drawn, columns=1)
    return drawn


def _decades(linear: float) -> SymmetricalLogLocator:
    """Ticks at 0 and at few powers of ten from the end of the linear range on."""
    locator = SymmetricalLogLocator(base=10.0, linthresh=linear)
    locator.set_params(numticks=5)
    return locator


@drawn
def removal(result: RemovalCurves | AttributionComparison, *, ax: Axes | None = None) -> Axes:
    """Quality as points are removed: from the most valued on, which should hurt, and from the least, which should not.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(20, 2))
        >>> problem = ef.linear_regression(ef.Dataset(x, x[:, 0] + rng.normal(size=20)), l2=0.1)
        >>> found = ef.compare_attributions(problem, ("influence",), groups=3, fractions=(0.0, 0.2))
        >>> ef.plots.removal(found).get_ylabel()
        'minus the mean test loss'

    Bands are intervals over resampled test points, of the former.

    Args:
        result: of `compare_attributions`, or its `curves`.
        ax: where to draw. Default: a new figure.

    Raises:
        InputError: a comparison without removal curves.
    """
    curves = result.curves if isinstance(result, AttributionComparison) else result
    if curves is None:
        raise InputError("this comparison removed no points; pass fractions to compare_attributions.")
    with styled():
        drawn = panel(ax)
        share = 100.0 * curves.fractions
        for k, name in enumerate(curves.names):
            look, marker = LOOKS[k % len(LOOKS)], MARKERS[k % len(MARKERS)]
            drawn.fill_between(
                share,
                curves.most_interval[k, :, 0],
                curves.most_interval[k, :, 1],
                color=look.color,
                alpha=0.12,
                linewidth=0,
            )
            drawn.plot(share, curves.most[k], marker=marker, markersize=4.0, label=verbatim(name), **look.line())
            drawn.plot(
                share, curves.least[k], marker=marker, markersize=3.0, color=look.color, linestyle="-", linewidth=0.7
            )
        what = "accuracy at the test points" if curves.metric == "accuracy" else "minus the mean test loss"
        drawn.set(xlabel="points removed (%): the most valued first, thick; the least, thin", ylabel=what)
        legend_above(drawn)
    return drawn


@drawn
def soft_weights(result: SoftWeights, *, ax: Axes | None = None) -> Axes:
    """The weights 1 + w in increasing order, with what the objective was, was predicted to be, and is after retraining.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 4.0]), l2=0.1)
        >>> found = ef.soft_weights(line, objective=lambda theta: theta[0] ** 2)
        >>> ef.plots.soft_weights(found).get_xlabel()
        'the 2 points whose weight changes, of 3'

    Args:
        result: of `epsflow.soft_weights`.
        ax: where to draw. Default: a new figure.
    """
    eps = np.sort(result.eps)
    changed = max(1, int((eps < 1.0).sum()))
    stages = result.objective
    with styled():
        drawn = panel(ax)
        edges, heights = np.arange(changed + 1) + 0.5, np.concatenate([eps[:1], eps[:changed]])
        drawn.step(edges, heights, where="pre", color=BLUE, linestyle="-")
        drawn.fill_between(edges, heights, 1.0, step="pre", color=BLUE, alpha=0.15, linewidth=0)
        drawn.axhline(1.0, color=BLACK, linewidth=0.8)
        drawn.set(xlabel=f"the {changed} points whose weight changes, of {eps.size}", ylabel=r"weight $\varepsilon_i$")
        drawn.set_ylim(-0.03, 1.06)
        words = (
            f"objective {float(stages.before):.4g} → predicted {float(stages.predicted):.4g}, "
            f"retrained {float(stages.after):.4g}"
        )
        drawn.set_title(words, fontsize=9, loc="left")
    return drawn
