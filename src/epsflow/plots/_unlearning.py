"""Unlearning: distance and bound over the number of steps, noise against what it costs, and what an audit finds."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from .._core import InputError
from ..unlearning import GuaranteeTable, UnlearningAudit, UnlearningCurve
from ._doors import drawn
from ._layout import legend_above, name_rows
from ._style import BASELINE, BLACK, GREY, LOOKS, panel, styled, verbatim


@drawn
def unlearning_curve(
    result: UnlearningCurve | Sequence[UnlearningCurve], *, sigma: bool = False, ax: Axes | None = None
) -> Axes:
    """Draw the exact distance to retraining (markers) and the bound on it (dashes) against K, for each algorithm.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0], l2=0.1)
        >>> target = {"epsilon_dp": 1.0, "delta_dp": 1e-5}
        >>> curve = ef.unlearning_curve(line, ef.RewindToDelete(steps=200), amounts=[1, 5], **target)
        >>> ef.plots.unlearning_curve(curve).get_yscale()
        'log'

    Both axes are logarithmic; K = 0 stands at the left edge, and a distance of zero is not drawn.

    Args:
        result: of `epsflow.unlearning_curve`, one or several.
        sigma: draw σ instead of both.
        ax: where to draw. Default: a new figure.

    Raises:
        InputError: nothing to draw.
    """
    curves = [result] if isinstance(result, UnlearningCurve) else list(result)
    if not curves:
        raise InputError("there is no curve to draw.")
    with styled():
        drawn = panel(ax)
        for curve, look, marker in zip(curves, [*LOOKS, BASELINE], "osD^vPX", strict=False):
            name, dots = verbatim(curve.algorithm), {"marker": marker, "markersize": 3.5, "color": look.color}
            if sigma:
                _line(drawn, curve.amounts, curve.sigmas, label=name, linestyle="-", **dots)
                continue
            _line(drawn, curve.amounts, curve.distances, label=name, linestyle="-", **dots)
            bound = f"bound, {curve.scope}, {curve.kind}"
            _line(drawn, curve.amounts, curve.bounds, color=look.color, label=bound, linestyle=look.dashes)
        drawn.set_xscale("symlog", linthresh=1.0)
        drawn.set_yscale("log")
        drawn.set_xlim(left=0.0)
        drawn.set_xlabel("steps of unlearning $K$")
        what = "noise $\\sigma$" if sigma else "$\\|\\theta-\\theta_{\\mathrm{retrained}}\\|$"
        drawn.set_ylabel(f"{what}  (units of $\\theta$)")
        legend_above(drawn, columns=2)
    return drawn


@drawn
def guarantees(result: GuaranteeTable, *, ax: Axes | None = None) -> Axes:
    """Draw the noise of each algorithm, with its quality without and with noise beside it.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0], l2=0.1)
        >>> algorithms = [ef.Retrain(steps=20), ef.DescendToDelete(steps=20, unlearning_steps=5)]
        >>> found = ef.guarantees(line, algorithms, draws=2, epsilon_dp=1.0, delta_dp=1e-5)
        >>> ef.plots.guarantees(found).get_xscale()
        'log'

    Open markers rest on estimates. σ of different kinds of noise is not the same thing: the kind is written.

    Args:
        result: of `epsflow.guarantees`.
        ax: where to draw. Default: a new figure.

    Raises:
        InputError: no algorithm needs noise.
    """
    sigmas = np.array([found.sigma for found in result.certificates])
    shown = np.isfinite(sigmas) & (sigmas > 0.0)
    if not shown.any():
        raise InputError("no algorithm of this comparison has a noise that is positive and finite.")
    places = np.arange(len(sigmas) - 1.0, -1.0, -1.0)
    with styled():
        drawn = panel(ax, height=1.0 + 0.29 * len(sigmas))
        drawn.set_xscale("log")
        for place, found, good in zip(places, result.certificates, shown, strict=True):
            if good:
                face = BLACK if found.certified else "white"
                drawn.plot(found.sigma, place, "o", color=BLACK, markerfacecolor=face, markersize=5.0)
            else:
                note = "no noise needed" if found.sigma == 0.0 else "no finite noise"
                where: Any = drawn.get_yaxis_transform()
                drawn.text(0.02, place, note, transform=where, va="center", fontsize=8.0, color="#555555")
        drawn.set_ylim(-0.6, len(sigmas) - 0.4)
        low, high = sigmas[shown].min(), sigmas[shown].max()
        drawn.set_xlim(low / 3.0, high * 3.0)
        drawn.set_xlabel("noise $\\sigma$ for the same $(\\varepsilon_{dp}, \\delta_{dp})$")
        drawn.set_title(verbatim(result.problem), loc="left", pad=16.0)
        beside = [
            f"{quiet:.3f} / {noisy:.3f}" if noisy > -10.0 else f"{quiet:.3f} / < −10"
            for quiet, noisy in zip(result.quality, result.noisy_quality, strict=True)
        ]
        names = [f"{found.algorithm} ({found.noise})" for found in result.certificates]
        name_rows(drawn, places.tolist(), names, beside, f"{result.quality_name} / with noise")
    return drawn


@drawn
def audit(result: UnlearningAudit, *, ax: Axes | None = None) -> Axes:
    """Draw the gaps between unlearned and retrained models with their intervals, in units of their standard errors.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0], l2=0.1)
        >>> again = ef.RewindToDelete(steps=20, unlearning_steps=5)
        >>> ef.plots.audit(ef.audit(line, again, models=20, epsilon_dp=1.0, delta_dp=1e-5)).get_xlabel()
        'unlearned minus retrained, in half-widths of its interval'

    An interval that contains zero sees no difference. ε_audit and the certificate's ε_dp stand in the title.

    Args:
        result: of `epsflow.audit`.
        ax: where to draw. Default: a new figure.
    """
    names = list(result.gaps)
    places = np.arange(len(names) - 1.0, -1.0, -1.0)
    with styled():
        drawn = panel(ax, height=1.1 + 0.32 * len(names))
        drawn.axvline(0.0, color=GREY, linewidth=1.0, linestyle=(0, (4.0, 2.0)), zorder=1.0)
        for place, name in zip(places, names, strict=True):
            gap = result.gaps[name]
            half = 0.5 * (gap.high - gap.low) or 1.0
            drawn.plot([(gap.low) / half, gap.high / half], [place, place], color=BLACK, linestyle="-", linewidth=1.2)
            drawn.plot(gap.estimate / half, place, "o", color=BLACK, markersize=4.0)
            words = f"{gap.estimate:.2g}"
            drawn.text(1.02, place, words, transform=drawn.get_yaxis_transform(), va="center", fontsize=8.0)
        drawn.set_yticks(places, names)
        drawn.tick_params(axis="y", length=0)
        drawn.set_ylim(-0.6, len(names) - 0.4)
        drawn.set_xlabel("unlearned minus retrained, in half-widths of its interval")
        title = (
            f"{result.algorithm}: ε_audit = {result.epsilon_audit:.3g}, certified ε_dp = {result.certificate.epsilon:g}"
        )
        drawn.set_title(title, loc="left")
    return drawn


def _line(ax: Axes, amounts: np.ndarray, values: np.ndarray, **style: Any) -> None:
    """Finite positive values only: zero has no logarithm."""
    good = np.isfinite(values) & (values > 0.0)
    ax.plot(amounts[good], values[good], linewidth=1.4, **style)
