"""Removal in a window, for good: the same training again with a point's weight lower by 1 from `start` to `stop`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int, Key

from ..._core import Array, InputError, Shown, as_scalar, namespace
from ...analysis import Functional, as_deletions
from ...flow import as_times, checked_flow, gradient_flow
from ...problem import Problem
from ...schedules import AbstractPiecewiseConstant, AbstractSchedule
from .._evaluate import functional_at
from ._density import influence_density
from ._sweep import end_gradients

if TYPE_CHECKING:
    import optax

STEP = 0.1
"""By how much a weight is changed to see φ bend: φ is smooth in it, and 0.1⁴ of the sixth derivative small."""


@dataclass(frozen=True, eq=False, repr=False)
class WindowedRemoval(Shown):
    """What removing single points in a window does to φ(θ(T)), to first order, to second order, and in truth.

    Example:
        >>> data = ef.Dataset(np.array([[1.0], [1.0], [2.0]]), np.array([1.0, 2.0, 3.0]))
        >>> line = ef.linear_regression(data, [0], l2=1.0)
        >>> training = {"ts": np.linspace(0.0, 5.0, 101), "functional": lambda theta: theta[0]}
        >>> found = ef.windowed_removal(line, ef.Constant(1.0), np.zeros(1), points=[0], **training)
        >>> found.start, found.stop
        (0.0, 5.0)

    Attributes:
        points: which points, shape (p,).
        start, stop: the window.
        change: φ when the point's weight is lower by 1 there − φ, by training again, shape (p,), or (p, q).
        first_order: −∫K_j dt.
        second_order: the same and half the second derivative in what is taken off the weight.
        change_error: of `change`: the two runs' errors times ‖∇φ‖, to first order.
        second_error: of the second derivative's half, by two stencils.
        first_error: of −∫K_j dt.
    """

    points: Int[np.ndarray, " p"]
    start: float
    stop: float
    change: Float[np.ndarray, "p *q"]
    first_order: Float[np.ndarray, "p *q"]
    second_order: Float[np.ndarray, "p *q"]
    change_error: float
    second_error: float
    first_error: float

    def _facts(self) -> dict[str, object]:
        size = np.abs(self.change).max()
        return {
            "points": self.points,
            "largest": size,
            "first_order_miss": np.abs(self.first_order - self.change).max(),
            "second_order_miss": np.abs(self.second_order - self.change).max(),
            "change_error": self.change_error,
        }


class PausedSteps(AbstractPiecewiseConstant):
    """Piecewise-constant weights of the deleted points, one column each: `levels_` on the arcs around `knots`."""

    knots: Float[Array, " knots"]
    values: Float[Array, "arcs m"]

    @property
    def start(self) -> Float[Array, ""]:
        """Never held at 1 by composition."""
        return np.asarray(-np.inf)

    @property
    def end(self) -> Float[Array, ""]:
        """Never 0 by composition."""
        return np.asarray(np.inf)

    def inner(self, t: Float[Array, "*shape"]) -> Float[Array, "*values"]:
        """The value of the arc; at a knot that of the arc it closes."""
        xp = namespace(self.values, t)
        return xp.asarray(self.values)[xp.searchsorted(xp.asarray(self.knots), t, side="left")]

    @property
    def jump_ts(self) -> Float[Array, " jumps"]:
        """The knots."""
        return self.knots

    def levels(self) -> Float[Array, "arcs m"]:
        """The values."""
        return self.values


class Paused(AbstractSchedule):
    """A schedule, with a column for one more point perhaps, less a share of one point's weight inside a window."""

    schedule: AbstractSchedule
    window: Float[Array, "2"]
    share: Float[Array, ""]
    column: Float[Array, " m"]
    """1 for that point, 0 for the others."""
    base: Int[Array, " m"]
    """Which weight of the schedule each point has; −1 for the weight 1."""

    @property
    def start(self) -> Float[Array, ""]:
        """Never held at 1 by composition."""
        return np.asarray(-np.inf)

    @property
    def end(self) -> Float[Array, ""]:
        """Never 0 by composition."""
        return np.asarray(np.inf)

    def inner(self, t: Float[Array, "*shape"]) -> Float[Array, "*values"]:
        """The schedule's weights − share·column inside the window (its beginning excluded, its end included)."""
        given = self.schedule(t)
        xp = namespace(given, t, self.window, self.share)
        shared = given.ndim == t.ndim
        known = given[..., None] if shared else given
        known = xp.concatenate([known, xp.ones((*t.shape, 1))], axis=-1)
        width = known.shape[-1] - 1
        columns = xp.where(xp.asarray(self.base) < 0, width, xp.asarray(self.base) * (0 if shared else 1))
        inside = (t > self.window[0]) & (t <= self.window[1])
        return known[..., columns] - self.share * xp.asarray(self.column) * inside[..., None]

    @property
    def jump_ts(self) -> Float[Array, " jumps"]:
        """Those of the schedule, and the ends of the window."""
        jumps = namespace(self.schedule.jump_ts, self.window).concatenate([self.schedule.jump_ts, self.window])
        return namespace(jumps).sort(jumps)


@dataclass(frozen=True, eq=False)
class _Question:
    """One point and a window."""

    problem: Problem
    schedule: AbstractSchedule
    point: int
    window: tuple[float, float]

    def asked(self) -> Problem:
        """The same problem, the point among the deleted ones."""
        given = self.problem
        if self.point in given.delete:
            return given
        delete = np.append(given.delete, self.point)
        return Problem(given.model, given.loss, given.data, delete, given.l2, given.reduction, given.chunk_rows)

    def paused(self, share: float) -> AbstractSchedule:
        """ε(t), with the point's weight lower by `share` inside the window."""
        delete = self.problem.delete
        known = self.point in delete
        base = np.arange(len(delete)) if known else np.append(np.arange(len(delete)), -1)
        column = (delete == self.point).astype(float) if known else np.append(np.zeros(len(delete)), 1.0)
        found = Paused(self.schedule, np.array(self.window), np.asarray(share), column, base)
        if not isinstance(self.schedule, AbstractPiecewiseConstant):
            return found
        knots = np.unique(np.asarray(found.jump_ts))
        middles = np.concatenate([[knots[0] - 1.0], 0.5 * (knots[1:] + knots[:-1]), [knots[-1] + 1.0]])
        return PausedSteps(knots, found.inner(middles))


@checked_flow
def windowed_removal(
    problem: Problem,
    schedule: AbstractSchedule,
    theta0: Float[Array, " d"],
    *,
    ts: Float[Array, " k"],
    functional: Functional,
    window: tuple[float, float] | None = None,
    points: Any = "all",
    optimiser: "optax.GradientTransformation | None" = None,
    step_size: float = 1.0,
    batch: int | Int[np.ndarray, "steps b"] | None = None,
    key: Key[Array, ""] | None = None,
) -> WindowedRemoval:
    """φ(θ(T)) when single points do not count from `start` to `stop`, beside what the influence density predicts.

    Example:
        >>> data = ef.Dataset(np.array([[1.0], [1.0], [2.0]]), np.array([1.0, 2.0, 3.0]))
        >>> line = ef.linear_regression(data, [0], l2=1.0)
        >>> path = {"ts": np.linspace(0.0, 5.0, 11), "functional": lambda theta: theta[0]}
        >>> found = ef.windowed_removal(line, ef.Constant(1.0), np.zeros(1), points=[0], **path)
        >>> found.change.round(4), found.first_order.round(4), found.second_order.round(4)  # 8/6 − 9/7
        (array([0.0476]), array([0.0408]), array([0.0466]))

    Each point is removed by training again until T = ts[-1], with its weight lower by s = 1 in the window (0 instead of
    1; of a deleted point ε_j − 1). φ(s) is smooth, φ′(0) = −∫K_j dt, and φ″(0) comes from runs at s = ±0.1 and ±0.2
    (a five-point stencil, its error by the three-point one): the second-order term that says how far the first order
    can be trusted.

    Args:
        problem, schedule, theta0, ts, functional, optimiser, step_size, batch, key: as in `influence_density`.
        window: from when to when. Default: all of training, from ts[0] to ts[-1].
        points: a number, a list of numbers, or "all".

    Raises:
        InputError: groups of points, a window outside of `ts`, and as `influence_density`.
        ConvergenceError: as `influence_density`.
    """
    deletions = as_deletions(problem, points)
    if deletions.starts is not None:
        raise InputError("points are removed one at a time here; for a group, make a Problem that deletes it.")
    times, _ = as_times(ts, float(np.asarray(ts).flat[0]) if np.size(ts) else 0.0)
    if len(times) < 2:
        raise InputError("ts has one time; the beginning and the end of training are needed.")
    begin, end = _window(window, times)
    if not times[0] <= begin <= end <= times[-1]:
        raise InputError(
            f"the window from {begin:g} to {end:g} is not inside the trajectory, which runs from {times[0]:g} to "
            f"{times[-1]:g}."
        )
    grid = np.unique([*times, begin, end])
    settings: dict[str, Any] = {"optimiser": optimiser, "step_size": step_size, "batch": batch, "key": key}
    settings = settings if optimiser is not None else {}
    density = influence_density(
        problem, schedule, theta0, ts=grid, functional=functional, t0=float(times[0]), **settings
    )
    removal = density.removal(begin, end)
    runs = _Runs(theta0, times, settings)
    trained, theta_error = runs.end(problem, schedule)
    base = functional_at(functional, trained[None])
    found = [_bend(runs, _Question(problem, schedule, int(j), (begin, end)), base, functional) for j in deletions.index]
    change, bend, doubt = (np.stack(part) for part in zip(*found, strict=True))
    first = removal.change[deletions.index]
    slopes = np.abs(end_gradients(functional, density.thetas[-1]).rows).sum(axis=1).max()
    return WindowedRemoval(
        points=deletions.index,
        start=begin,
        stop=end,
        change=change,
        first_order=first,
        second_order=first + 0.5 * bend,
        change_error=2.0 * slopes * theta_error,
        second_error=0.5 * float(np.abs(doubt).max()),
        first_error=removal.error,
    )


def _window(window: Any, times: np.ndarray) -> tuple[float, float]:
    """Its two ends."""
    if window is None:
        return float(times[0]), float(times[-1])
    if np.shape(window) != (2,):
        raise InputError(f"window is {window!r}; its beginning and its end are needed: window=(2.0, 5.0).")
    return as_scalar(window[0], "the window's beginning"), as_scalar(window[1], "the window's end")


@dataclass(frozen=True, eq=False)
class _Runs:
    """Training from one start to one end, under many schedules."""

    theta0: Array
    times: Float[np.ndarray, " k"]
    settings: dict[str, Any]

    def end(
        self, problem: Problem, schedule: AbstractSchedule, *, check: bool = True
    ) -> tuple[Float[np.ndarray, " d"], float]:
        """θ(T), and its error (NaN where it is not asked for)."""
        first, last = self.times[0], self.times[-1:]
        if self.settings:
            from ._density_steps import trained  # optax and JAX

            theta = trained(problem, schedule, self.theta0, ts=last, **self.settings)
            return theta, float(np.finfo(np.float64).eps * np.abs(theta).max() * last[0] / self.settings["step_size"])
        path = gradient_flow(problem, schedule, self.theta0, ts=last, t0=float(first), estimate_error=check)
        return np.asarray(path.end), float(path.error)


def _bend(
    runs: _Runs, question: _Question, base: Float[np.ndarray, "1 *q"], functional: Functional
) -> tuple[Any, Any, Any]:
    """φ(1) − φ(0), φ″(0), and how far two stencils of it differ."""
    problem, shares = question.asked(), (1.0, STEP, -STEP, 2.0 * STEP, -2.0 * STEP)
    thetas = np.stack([runs.end(problem, question.paused(share), check=False)[0] for share in shares])
    removed, *moved = functional_at(functional, thetas) - base
    near = (moved[0] + moved[1]) / STEP**2
    far = (moved[2] + moved[3]) / (2.0 * STEP) ** 2
    bend = (4.0 * near - far) / 3.0
    return removed, bend, bend - near
