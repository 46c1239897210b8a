"""From where can the target be reached exactly?"""

from typing import Any

import numpy as np
from jaxtyping import Int
from matplotlib.axes import Axes
from matplotlib.tri import Triangulation

from .._core import InputError
from ..control import ExactStarts
from ..problem import LinearModel, Problem
from ._doors import drawn
from ._layout import legend_above
from ._style import BLACK, GREY, ORANGE, VERMILLION, figure_of, panel, styled, verbatim


@drawn
def exact_starts(
    problem: Problem, starts: ExactStarts, *, theta0: object | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the set of θ(s) from which some schedule reaches the leave-out optimum exactly, for two parameters.

    Example:
        >>> x, y = np.array([[1.0, 0.3], [0.3, 0.4], [1.0, -0.8]]), np.array([1.0, -0.5, 1.5])
        >>> plane = ef.linear_regression(ef.Dataset(x, y), delete=[2])
        >>> len(ef.plots.exact_starts(plane, ef.exact_starts(plane, longest=1.0, grid=3)).lines)
        3

    The set is shaded by how long the quickest way takes. On the line e = 0 the deleted point is fitted exactly and ε
    has no effect; the curves that enter the target are the last arcs, under ε_max and, where it is negative, ε_min.

    Args:
        problem: the one that `epsflow.exact_starts` was asked about.
        starts: its answer.
        theta0: a start of your own to be marked, shape (2,).
        ax: where to draw. Default: a new figure.

    Raises:
        InputError: another number of parameters.
    """
    if problem.dim != 2 or problem.delete.size != 1:
        raise InputError(f"exact starts are drawn for two parameters and one deleted point; here d = {problem.dim}.")
    with styled():
        drawn = panel(ax, height=5.4, width=5.2)
        mesh = Triangulation(*starts.starts.reshape(-1, 2).T, triangles=_triangles(starts))
        times = np.broadcast_to(starts.times, starts.starts.shape[:-1]).ravel()
        shades = drawn.tripcolor(mesh, times, shading="gouraud", cmap="cividis_r", rasterized=True)
        below: dict[str, Any] = {
            "location": "bottom",
            "fraction": 0.06,
            "label": "time to reach the target (units of $t$)",
        }
        bar = figure_of(drawn).colorbar(shades, ax=drawn, **below)
        bar.outline.set_visible(False)
        names = [r"\varepsilon_{\max}", r"\varepsilon_{\min}"]
        for sheet, name, dashes in zip(starts.starts, names, ("-", (0, (1.0, 1.0))), strict=False):
            arc = {"color": VERMILLION, "linewidth": 2.0, "linestyle": dashes}
            drawn.plot(*sheet[:, 0].T, label=rf"last arc, under ${name}$", **arc)
        _residual_line(drawn, problem, starts)
        star = {"marker": "*", "markersize": 13.0, "markerfacecolor": ORANGE, "markeredgecolor": BLACK}
        drawn.plot(*starts.target[:, None], linestyle="none", label=r"target $\theta^*_{-D}$", zorder=4.0, **star)
        if theta0 is not None:
            mark = {"marker": "o", "markersize": 7.0, "markerfacecolor": "white", "markeredgecolor": BLACK}
            own = np.asarray(problem.parameters(theta0, "theta0"))
            drawn.plot(*own[:, None], linestyle="none", label=r"your start", zorder=4.0, **mark)
        names = problem.data.features if isinstance(problem.model, LinearModel) else ("0", "1")
        drawn.set_xlabel(rf"$\theta_0$  (coefficient of {verbatim(names[0])})")
        drawn.set_ylabel(rf"$\theta_1$  (coefficient of {verbatim(names[1])})")
        legend_above(drawn, columns=2)
    return drawn


def _triangles(starts: ExactStarts) -> Int[np.ndarray, "triangles 3"]:
    """Two for each cell of each sheet, the quickest last: where sheets overlap, it covers the others."""
    sheets, rows, columns = starts.starts.shape[:-1]
    corner = np.arange(sheets * rows * columns).reshape(sheets, rows, columns)
    a, b, c, d = corner[:, :-1, :-1], corner[:, 1:, :-1], corner[:, :-1, 1:], corner[:, 1:, 1:]
    both = np.stack([np.stack([a, b, c], axis=-1), np.stack([b, d, c], axis=-1)], axis=-2)
    slowest_first = np.argsort(-starts.times[:-1, :-1], axis=None, kind="stable")
    cells = both.reshape(sheets, -1, 2, 3)[:, slowest_first]
    return np.swapaxes(cells, 0, 1).reshape(-1, 3)


def _residual_line(ax: Axes, problem: Problem, starts: ExactStarts) -> None:
    """The line e = xᵀθ − y = 0 across the picture, which it does not widen."""
    points = starts.starts.reshape(-1, 2)
    (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
    margin = 0.08 * np.array([x1 - x0, y1 - y0])
    row = np.asarray(problem.data.x[problem.delete[0]])
    foot = row * float(problem.data.y[problem.delete[0]]) / float(row @ row)
    along = np.array([-row[1], row[0]]) / np.linalg.norm(row)
    reach = np.linalg.norm([x1 - x0, y1 - y0]) + np.linalg.norm(starts.target - foot)
    ends = foot + np.array([[-reach], [reach]]) * along
    ax.plot(*ends.T, color=GREY, linestyle=(0, (4.0, 2.0)), label="$e = 0$: the deleted point is fitted", zorder=1.5)
    ax.set_xlim(x0 - margin[0], x1 + margin[0])
    ax.set_ylim(y0 - margin[1], y1 + margin[1])
