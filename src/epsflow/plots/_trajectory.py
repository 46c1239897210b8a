"""How far the flow is from the leave-out optimum."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from .._core import Array, InputError
from ..flow import Trajectory
from ._doors import drawn
from ._layout import legend_above
from ._paths import Path, Result, check_trajectories, distances, drawn_from, flows, looks, times_of
from ._style import mark_times, panel, show_distance, styled

POINTS = 400


@drawn
def distance(
    result: Result | Mapping[str, Path],
    *,
    target: Float[Array, " d"] | Float[np.ndarray, " d"] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw ‖θ(t) − θ*_{-D}‖₂ on a logarithmic axis, one line per schedule.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> best = ef.optimal_schedule(line, np.zeros(1), s=0.1, T=1.0)
        >>> ef.plots.distance(best).get_yscale()
        'log'

    Args:
        result: of `epsflow.compare_schedules` or `epsflow.optimal_schedule` (the flows are then computed here, at 400
            times from 0 to T, and only the first is drawn before s, where all agree); or trajectories of
            `epsflow.gradient_flow` by name, or runs of `gradient_descent`, `train_with`, `descend_to_delete` or
            `rewind_to_delete`, over the number of their steps.
        target: the point that distances are measured to, shape (d,). Default: the result's own target, θ*_{-D};
            trajectories do not know one, so it must be given with them.
        ax: where to draw. Default: a new figure.

    Raises:
        InputError: trajectories without a target or with another number of parameters; nothing to draw.
        ConvergenceError: a flow did not reach T.
    """
    goal = _goal(result, target)
    paths = result if isinstance(result, Mapping) else flows(result, POINTS)
    check_trajectories(paths, goal.size)
    style = looks(result)
    with styled():
        drawn = panel(ax)
        lengths = [distances(np.asarray(path.thetas), goal) for path in paths.values()]
        for order, ((name, path), values) in enumerate(zip(paths.items(), lengths, strict=True)):
            ts = times_of(path)
            own = ts >= drawn_from(result, order)
            drawn.plot(ts[own], values[own], label=name, zorder=2.0 + 0.1 * order, **style[name].line())
        show_distance(drawn, np.concatenate(lengths))
        ends = np.array([times_of(path)[[0, -1]] for path in paths.values()])
        drawn.set_xlim(ends[:, 0].min(), ends[:, 1].max())
        flowing = all(isinstance(path, Trajectory) for path in paths.values())
        drawn.set_xlabel("flow time $t$" if flowing else "steps, or amount of unlearning")
        drawn.set_ylabel("$\\|\\theta(t)-\\theta^*_{-D}\\|$  (units of $\\theta$)")
        if not isinstance(result, Mapping):
            mark_times([drawn], {"s": result.task.s, "T": result.task.T})
        legend_above(drawn)
    return drawn


def _goal(result: Result | Mapping[str, Path], target: Array | np.ndarray | None) -> np.ndarray:
    if target is not None:
        return np.asarray(target, dtype=np.float64)
    if isinstance(result, Mapping):
        raise InputError(
            "trajectories do not know their target: pass target=epsflow.equilibrium(problem, eps=0.0).theta."
        )
    return np.asarray(result.task.target)
