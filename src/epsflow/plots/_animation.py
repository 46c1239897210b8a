"""A schedule at work, for talks: ε(t) and the distance to the target while time goes on, as a GIF."""

from pathlib import Path

import numpy as np
from matplotlib.animation import FuncAnimation, PillowWriter

from .._core import InputError, as_count
from ._doors import drawn
from ._layout import legend_above
from ._paths import Result, flows, looks
from ._style import figure_of, handle, mark_times, panels, show_distance, styled

POINTS = 400
"""Times of every line."""


@drawn
def animate(result: Result, path: str | Path, *, frames: int = 90, fps: int = 15) -> Path:
    """Write a GIF in which time runs from 0 to T: above ε(t), below ‖θ(t) − θ*_{-D}‖, one line per schedule.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> best = ef.optimal_schedule(line, np.zeros(1), s=0.1, T=1.0)
        >>> ef.plots.animate(best, "schedule.gif", frames=2).name
        'schedule.gif'

    Args:
        result: of `epsflow.optimal_schedule` or `epsflow.compare_schedules`.
        path: the file, ending in .gif.
        frames: how many pictures; the last one stays for a second.
        fps: pictures per second.

    Returns:
        The path.

    Raises:
        InputError: another ending, a folder that cannot be written to, or counts below 1.
        ConvergenceError: a flow did not reach T.
    """
    target = Path(path)
    if target.suffix.lower() != ".gif":
        raise InputError(f"cannot write {target}: the name of an animation must end in .gif.")
    count, speed = as_count(frames, "frames", least=2), as_count(fps, "fps")
    paths, style = flows(result, POINTS), looks(result)
    with styled():
        weights, distances = panels(2)
        figure, goal, drawn = figure_of(weights), np.asarray(result.task.target), []
        lengths = {name: np.linalg.norm(np.asarray(flow.thetas) - goal, axis=1) for name, flow in paths.items()}
        for name, flow in paths.items():
            eps = np.asarray(flow.eps).reshape(len(flow.ts), -1).mean(axis=1)
            for ax, values in ((weights, eps), (distances, lengths[name])):
                ax.plot(flow.ts, values, alpha=0.25, **style[name].line())
                drawn.append((ax.plot([], [], **style[name].line())[0], np.asarray(flow.ts), values))
        show_distance(distances, np.concatenate(list(lengths.values())))
        distances.set_xlim(0.0, result.task.T)
        distances.set_xlabel("flow time $t$")
        weights.set_ylabel("weight of the deleted\npoints $\\varepsilon(t)$")
        distances.set_ylabel("$\\|\\theta(t)-\\theta^*_{-D}\\|$\n(units of $\\theta$)")
        mark_times([weights, distances], {"s": result.task.s, "T": result.task.T})
        legend_above(weights, [handle(style[name], name) for name in paths])
        times = np.concatenate([np.linspace(0.0, result.task.T, count), np.full(speed, result.task.T)])

        def at(frame: int) -> list[object]:
            for line, ts, values in drawn:
                seen = ts <= times[frame]
                line.set_data(ts[seen], values[seen])
            return [line for line, *_ in drawn]

        moving = FuncAnimation(figure.figure, at, frames=len(times), blit=False)  # pyright: ignore[reportArgumentType]
        try:
            moving.save(target, writer=PillowWriter(fps=speed), dpi=110)
        except OSError as error:
            raise InputError(
                f"cannot write {target}: {error.strerror or error}. Name a folder that exists and can be written to."
            ) from error
    return target
