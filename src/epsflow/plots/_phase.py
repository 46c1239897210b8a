"""Flows as curves in a plane of parameter space."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from .._core import Array, InputError, brief
from ..control import Comparison, ScheduleSolution
from ..flow import Trajectory, equilibrium
from ..problem import AbstractRisk, LinearModel, Problem
from ._doors import drawn
from ._layout import legend_above
from ._paths import Result, check_trajectories, drawn_from, flows, looks
from ._style import BLACK, BLUE, ORANGE, panel, styled, verbatim

POINTS = 400
ARROWS = 13
FIELD_COLORS = {1.0: BLUE, 0.0: ORANGE}

Plane = Literal["leading", "slowest"] | tuple[int, int]
"""Which two directions span the picture: eigenvectors of the leave-out Hessian, or two parameters by their numbers."""


class _Axis(NamedTuple):
    direction: Float[np.ndarray, " d"]
    label: str


@drawn
def phase_portrait(
    problem: Problem,
    trajectories: Result | Mapping[str, Trajectory],
    *,
    plane: Plane | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw trajectories in a plane of parameter space, with both equilibria and the two extreme flows.

    Example:
        >>> x, y = np.array([[1.0, 0.3], [0.3, 0.4], [1.0, -0.8]]), np.array([1.0, -0.5, 1.5])
        >>> plane = ef.linear_regression(ef.Dataset(x, y), delete=[2])
        >>> path = ef.gradient_flow(plane, ef.Step(0.5), np.zeros(2), ts=np.linspace(0.0, 5.0, 50))
        >>> ef.plots.phase_portrait(plane, {"step": path}).lines[0].get_label()
        'step'

    Coordinates are vᵀθ for two orthonormal directions v. θ* (trained with the deleted points, ε = 1) and θ*_{-D}
    (without them, ε = 0) are marked. Light arrows show the direction of −∇R_ε at points of the plane *through θ*_{-D}*,
    projected onto it: for d = 2 that is the flow itself; for larger d other coordinates also act on the curves drawn.

    Args:
        problem: what is trained.
        trajectories: of `epsflow.gradient_flow` by name, from one start; or a result of `epsflow.compare_schedules` or
            `epsflow.optimal_schedule`, whose flows are then computed here.
        plane: "leading" or "slowest" for the eigenvectors of ∇²R_0(θ*_{-D}) with the two largest or the two smallest
            eigenvalues, or two parameter numbers. Default: (0, 1) for two parameters; "slowest" for more, since that is
            where schedules still differ when the fast directions have settled.
        ax: where to draw. Default: a new figure.

    Raises:
        InputError: one parameter only, parameter numbers outside 0 … d−1, or no trajectories.
        ConvergenceError: an equilibrium or a flow was not found.
    """
    if not isinstance(trajectories, Mapping | ScheduleSolution | Comparison):
        raise InputError(
            f"trajectories is {brief(trajectories)}; flows by name are needed, or a result of optimal_schedule or "
            "compare_schedules."
        )
    paths = trajectories if isinstance(trajectories, Mapping) else flows(trajectories, POINTS)
    check_trajectories(paths, problem.dim)
    start = np.asarray(next(iter(paths.values())).thetas[0])
    ends = {eps: np.asarray(equilibrium(problem, eps=eps, theta0=start).theta) for eps in (1.0, 0.0)}
    axes = _plane_axes(problem, plane, ends[0.0])
    frame = np.stack([axis.direction for axis in axes])
    style = looks(trajectories)
    with styled():
        drawn = panel(ax, height=4.8, width=5.0)
        curves = {name: np.asarray(path.thetas) @ frame.T for name, path in paths.items()}
        for order, (name, curve) in enumerate(curves.items()):
            own = np.asarray(paths[name].ts) >= drawn_from(trajectories, order)
            drawn.plot(*curve[own].T, label=name, zorder=2.0 + 0.1 * order, **style[name].line())
        corners = np.concatenate([*curves.values(), [frame @ end for end in ends.values()]])
        _set_limits(drawn, corners)
        for shift, eps in ((0.0, 1.0), (0.5, 0.0)):
            _draw_field(drawn, problem.risk, eps, ends[0.0], frame, shift)
        _mark(drawn, frame, start, ends)
        drawn.set_xlabel(axes[0].label)
        drawn.set_ylabel(axes[1].label)
        _legend(drawn)
    return drawn


def _plane_axes(problem: Problem, plane: Plane | None, at: np.ndarray) -> tuple[_Axis, _Axis]:
    d = problem.dim
    if d < 2:
        raise InputError("a phase portrait needs at least two parameters; with one, draw `distance` instead.")
    if plane is None:
        plane = (0, 1) if d == 2 else "slowest"
    if plane in ("leading", "slowest"):
        values, vectors = np.linalg.eigh(np.asarray(problem.hessian(jnp.asarray(at), 0.0)))
        chosen = (d - 1, d - 2) if plane == "leading" else (0, 1)
        first, second = (
            _Axis(
                vectors[:, i],
                f"$\\theta$ along $v_{{{i + 1}}}$, $\\lambda_{{{i + 1}}}={values[i]:.3g}$  (units of $\\theta$)",
            )
            for i in chosen
        )
        return first, second
    if not (isinstance(plane, tuple) and len(plane) == 2 and all(0 <= i < d for i in plane) and plane[0] != plane[1]):
        raise InputError(f"plane is {plane!r}: give 'leading', 'slowest' or two different parameter numbers below {d}.")
    first, second = (_Axis(np.eye(d)[i], _parameter_label(problem, i)) for i in plane)
    return first, second


def _parameter_label(problem: Problem, index: int) -> str:
    named = isinstance(problem.model, LinearModel) and problem.model.outputs is None
    meaning = f"coefficient of {verbatim(problem.data.features[index])}, " if named else ""
    return f"$\\theta_{{{index}}}$  ({meaning}units of $\\theta$)"


def _set_limits(ax: Axes, points: np.ndarray) -> None:
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.12 * np.maximum(high - low, 1e-12 + 0.05 * (high - low).max())
    ax.set_xlim(low[0] - margin[0], high[0] + margin[0])
    ax.set_ylim(low[1] - margin[1], high[1] + margin[1])


@eqx.filter_jit
def _velocities(risk: AbstractRisk, thetas: Float[Array, "k d"], eps: Float[Array, ""]) -> Float[Array, "k d"]:
    return -jax.vmap(lambda theta: risk.gradient(theta, eps))(thetas)


def _draw_field(ax: Axes, risk: AbstractRisk, eps: float, origin: np.ndarray, frame: np.ndarray, shift: float) -> None:
    """Arrows of equal length on screen: the direction of the flow; the other field's arrows stand between them."""
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    steps = (np.arange(ARROWS) + 0.25 + shift) / ARROWS
    x, y = np.meshgrid(x0 + steps * (x1 - x0), y0 + steps * (y1 - y0))
    offsets = np.stack([x.ravel(), y.ravel()], axis=-1) - frame @ origin
    velocity = np.asarray(_velocities(risk, jnp.asarray(origin + offsets @ frame), jnp.asarray(eps))) @ frame.T
    on_screen = velocity / np.array([x1 - x0, y1 - y0])
    direction = on_screen / np.maximum(np.linalg.norm(on_screen, axis=-1, keepdims=True), 1e-300)
    look = {"alpha": 0.5, "width": 0.0028, "headwidth": 4.0, "zorder": 1.0, **_field_look(eps)}
    ax.quiver(x.ravel(), y.ravel(), *direction.T, pivot="mid", scale=30.0, scale_units="width", **look)


def _field_look(eps: float) -> dict[str, Any]:
    """Filled arrows with the points, hollow ones without."""
    color = FIELD_COLORS[eps]
    return {"facecolor": color if eps else "white", "edgecolor": color, "linewidth": 0.5}


def _mark(ax: Axes, frame: np.ndarray, start: np.ndarray, ends: dict[float, np.ndarray]) -> None:
    marks = (
        ("start $\\theta(0)$", start, "o", "white"),
        ("$\\theta^*$ (with the points)", ends[1.0], "s", BLUE),
        ("$\\theta^*_{-D}$ (without)", ends[0.0], "*", ORANGE),
    )
    for name, theta, marker, color in marks:
        size = 12.0 if marker == "*" else 7.0
        style = {"marker": marker, "markersize": size, "markerfacecolor": color, "markeredgecolor": BLACK}
        ax.plot(*(frame @ theta)[:, None], linestyle="none", label=name, zorder=4.0, **style)


def _arrow(eps: float) -> dict[str, Any]:
    """A field's arrow in the legend."""
    look = _field_look(eps)
    face = {"markerfacecolor": look["facecolor"], "markeredgecolor": look["edgecolor"]}
    return {"linestyle": "none", "marker": ">", "markersize": 5.0, **face}


def _legend(ax: Axes) -> None:
    handles = ax.get_legend_handles_labels()[0]
    fields = [Line2D([], [], label=f"flow with $\\varepsilon={eps:g}$", **_arrow(eps)) for eps in FIELD_COLORS]
    legend_above(ax, [*handles, *fields], columns=2)
