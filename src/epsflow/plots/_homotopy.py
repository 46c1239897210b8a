"""Flows over grids: the homotopy θ(t, ε), and rewinding θ(T, s)."""

from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.ticker import LogLocator, MaxNLocator
from mpl_toolkits.mplot3d.axes3d import Axes3D

from .._core import Array, InputError
from ..flow import HomotopySurface, RewindSurface
from ._doors import drawn
from ._layout import legend_above
from ._paths import distances
from ._style import BLACK, LOOKS, figure_of, new_figure, panel, show_distance, styled

LEVELS = 9
"""Contour lines of a heat map, at most."""

ROOMY = 4.5
"""Width in inches of a panel that has room for so many, with their numbers."""

COLORS = ListedColormap(mpl.colormaps["cividis"](np.linspace(0.35, 1.0, 256)), name="light cividis")
"""Told apart by every kind of colour vision, and light enough for black contour lines."""


@drawn
def homotopy(
    surface: HomotopySurface,
    *,
    target: Float[Array, " d"] | Float[np.ndarray, " d"] | None = None,
    parameter: int | None = None,
    kind: Literal["heat map", "surface"] = "heat map",
    ax: Axes | None = None,
) -> Axes:
    """Draw θ_i(t, ε), or ‖θ(t, ε) − target‖₂, over time and weight, with contour lines.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> grids = {"eps": np.linspace(0.0, 1.0, 5), "ts": np.linspace(0.0, 1.0, 6)}
        >>> ef.plots.homotopy(ef.homotopy(line, theta0=np.zeros(1), **grids)).get_xlim()
        (np.float64(0.0), np.float64(1.0))

    Args:
        surface: of `epsflow.homotopy`, with one weight for all deleted points.
        target: a point, shape (d,): its distance is drawn, on a logarithmic scale.
        parameter: i, the parameter that is drawn instead. Default: the one that ε moves most at the last time.
        kind: "heat map" with contour lines, or a "surface" in three dimensions.
        ax: where to draw (three-dimensional Axes for a surface). Default: a new figure.

    Raises:
        InputError: one weight per point, both `target` and `parameter`, or a parameter outside 0 … d−1.
    """
    eps, ts = np.asarray(surface.eps), np.asarray(surface.ts)
    if eps.ndim == 2 and eps.shape[1] > 1:
        raise InputError(f"the surface has {eps.shape[1]} weights per row; only one weight can be an axis.")
    values, name = _height(surface, target, parameter)
    eps = eps.reshape(-1)
    with styled():
        if kind == "surface":
            drawn = _draw_surface(ts, eps, values, name, ax, log=target is not None)
        elif kind == "heat map":
            drawn = _draw_heat_map(ts, eps, values, name, ax, log=target is not None)
        else:
            raise InputError(f"kind is {kind!r}; choose 'heat map' or 'surface'.")
        drawn.set_xlabel("flow time $t$")
        drawn.set_ylabel(
            "weight of the deleted points $\\varepsilon$" if kind == "heat map" else "weight $\\varepsilon$"
        )
    return drawn


@drawn
def rewind(
    surface: RewindSurface, target: Float[Array, " d"] | Float[np.ndarray, " d"], *, ax: Axes | None = None
) -> Axes:
    """Draw ‖θ(T, s) − target‖₂ against s, when the points are dropped; one line per T, with a dot at its least.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> surface = ef.rewind_surface(line, theta0=np.zeros(1), s=np.linspace(0.0, 1.0, 9), T=1.0)
        >>> ef.plots.rewind(surface, target=ef.retrain(line).theta).get_xlabel()
        'time $s$ at which the points are dropped'

    s = 0 is retraining without the points, s = T is no unlearning at all.

    Args:
        surface: of `epsflow.rewind_surface`.
        target: the point that distances are measured to, usually θ*_{-D}, shape (d,).
        ax: where to draw. Default: a new figure.

    Raises:
        InputError: a target of another length, or all distances zero.
    """
    order = np.argsort(np.asarray(surface.s))
    s, finals = np.asarray(surface.s)[order], np.asarray(surface.T)
    lengths = distances(np.asarray(surface.thetas), _point(target, surface.thetas.shape[-1]))[order]
    with styled():
        drawn = panel(ax)
        for index, final in enumerate(finals):
            # Dropping after the end means nothing: each line ends at s = T.
            inside = s <= final
            look = LOOKS[index % len(LOOKS)]
            drawn.plot(s[inside], lengths[inside, index], label=f"$T={final:g}$", **look.line())
            best = int(np.argmin(np.where(inside, lengths[:, index], np.inf)))
            drawn.plot(s[best], lengths[best, index], marker="o", markersize=5.0, color=look.color, linestyle="none")
        show_distance(drawn, lengths)
        drawn.set_xlabel("time $s$ at which the points are dropped")
        drawn.set_ylabel("$\\|\\theta(T,s)-\\theta^*_{-D}\\|$  (units of $\\theta$)")
        drawn.set_xlim(s[0], s[-1])
        legend_above(drawn, columns=6)
    return drawn


def _point(target: Any, dim: int) -> np.ndarray:
    point = np.asarray(target, dtype=np.float64)
    if point.shape != (dim,):
        raise InputError(f"target has shape {point.shape}; the surface has {dim} parameters, shape ({dim},) is needed.")
    return point


def _height(surface: HomotopySurface, target: Any, parameter: int | None) -> tuple[np.ndarray, str]:
    """What is drawn, shape (e, k), and its label."""
    thetas = np.asarray(surface.thetas)
    if target is not None:
        if parameter is not None:
            raise InputError("give `target` (a distance is drawn) or `parameter` (θ_i is drawn), not both.")
        label = "$\\|\\theta(t,\\varepsilon)-\\theta^*_{-D}\\|$  (units of $\\theta$)"
        return distances(thetas, _point(target, thetas.shape[-1])), label
    if parameter is None:
        parameter = int(np.argmax(np.ptp(thetas[:, -1, :], axis=0)))
    if not 0 <= parameter < thetas.shape[-1]:
        raise InputError(f"parameter {parameter} is outside 0 … {thetas.shape[-1] - 1}.")
    return thetas[..., parameter], f"$\\theta_{{{parameter}}}(t,\\varepsilon)$  (units of $\\theta$)"


def _draw_heat_map(
    ts: np.ndarray, eps: np.ndarray, values: np.ndarray, name: str, ax: Axes | None, *, log: bool
) -> Axes:
    drawn = panel(ax, height=3.6)
    positive = values[values > 0.0]
    scale = LogNorm(positive.min(), positive.max()) if log and positive.size else None
    drawn.grid(visible=False)
    mesh = drawn.pcolormesh(ts, eps, values, norm=scale, cmap=COLORS, shading="gouraud", rasterized=True)
    inches = drawn.get_window_extent().width / figure_of(drawn).figure.dpi
    count = max(4, round(LEVELS * min(1.0, inches / ROOMY)))
    lines = drawn.contour(ts, eps, values, levels=_levels(values, count, log=log), colors=BLACK, linewidths=0.7)
    drawn.clabel(lines, fontsize=7.0, fmt="%g")
    figure_of(drawn).colorbar(mesh, ax=drawn, label=name, pad=0.02)
    return drawn


def _levels(values: np.ndarray, count: int, *, log: bool) -> np.ndarray:
    """Round numbers strictly inside the range of the values."""
    low, high = values.min(), values.max()
    if log and high > 0.0:
        low = values[values > 0.0].min()
        steps = (1.0, 2.0, 5.0) if high < 1e4 * low else (1.0,)
        levels = np.asarray(LogLocator(subs=steps, numticks=count + 2).tick_values(low, high))
    else:
        levels = np.asarray(MaxNLocator(count).tick_values(low, high))
    return levels[(levels > low) & (levels < high)]


def _draw_surface(
    ts: np.ndarray, eps: np.ndarray, values: np.ndarray, name: str, ax: Axes | None, *, log: bool
) -> Axes:
    drawn = new_figure(4.4, 5.6).add_subplot(projection="3d") if ax is None else ax
    if not isinstance(drawn, Axes3D):
        raise InputError("a surface needs three-dimensional Axes: make them with projection='3d'.")
    heights = np.log10(np.maximum(values, np.finfo(np.float64).tiny)) if log else values
    drawn.plot_surface(*np.meshgrid(ts, eps), heights, cmap=COLORS, linewidth=0.0, rcount=80, ccount=80)
    narrow = drawn.get_window_extent().width < 0.8 * ROOMY * figure_of(drawn).figure.dpi
    smaller: dict[str, Any] = {
        "zoom": 0.68 if narrow else 0.85
    }  # room for labels, which constrained layout does not see
    drawn.set_box_aspect(None, **smaller)
    for axis in (drawn.xaxis, drawn.yaxis, drawn.zaxis):
        axis.set_major_locator(MaxNLocator(3 if narrow else 5))
    if narrow:
        drawn.tick_params(labelsize=7.0, pad=-1.0)
    drawn.set_zlabel(f"$\\log_{{10}}$ {name}" if log else name)
    return drawn
