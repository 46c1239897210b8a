"""When can linear regression reach its target exactly, in finite time?

The least such time is that of a time-optimal control. For any π ≠ 0 whose least value of πᵀδ(t) over all admissible
controls, h_t(π), is positive, the target is out of reach at t. So with π = δ*(t) of the best schedule for the horizon
t, the first t' > t with h_t'(π) = 0 is a lower bound on the time, from one path of p; t ← t' converges to it from below
(Eaton's method), quadratically. The last digits are Newton's: δ(t) = 0 in the switch times and t.
At the target ε = 0 keeps it there, because f = 0.
"""

import enum
from dataclasses import dataclass, replace

import numpy as np

from ..._core import InputError, Shown, Stored, read_fields
from ...schedules import AbstractPiecewiseConstant, PiecewiseConstant, Step
from ..bounds._dual import certify_signs, evaluate_dual, least_along
from ..bounds._paths import MAX_ARCS, Paths, Request, one_sign
from ..linear._exponentials import ExponentialSum, resolving_grid
from ..linear._task import LinearTask
from ..terms._arcs import Arcs, bangs
from ..terms._cost import EndForm
from ..terms._deadline import UNLIMITED, Deadline
from ._exact import ExactEngine, polish_linear

EATON_STEPS, NEWTON_STEPS = 60, 30
ROUNDING = 1e-14
"""‖δ(t)‖ in units of ‖δ(0)‖ + ‖θ*‖ that counts as zero."""

ARRIVAL = 1e-4
"""Relative advance of Eaton's method below which Newton's takes over. The advance, not the distance, tells an arrival
from a slow decay: ‖δ‖ becomes small either way."""


class Arrival(enum.Enum):
    """Whether the target can be reached exactly, in finite time.

    Example:
        >>> [arrival.value for arrival in ef.Arrival][:2]
        ['θ(s) is the target', 'reached']
    """

    AT_START = "θ(s) is the target"
    REACHED = "reached"
    NEVER = "out of reach at any time: one direction separates the target from all reachable points"
    NOT_WITHIN = "out of reach up to the horizon: one direction separates the target from all reachable points"
    UNDECIDED = "not decided: rounding hides the rest"
    TIME_LIMIT = "not decided: the time limit was reached"


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class ExactUnlearning(Shown, Stored):
    """Whether and when 𝓔 = 0 is possible.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.exact_unlearning_time(problem, np.zeros(10), s=2.0).certified
        True

    Attributes:
        arrival: the answer.
        time: the least T with 𝓔 = 0; ∞ if there is none up to the horizon; NaN where it is not decided.
        not_before: at no earlier time is 𝓔 = 0 possible, whatever the schedule (certified where `certified`); ∞ where
            it is never possible.
        certified: the signs of the residuals e_j are settled up to `time` (or the horizon), so that the lower bound
            `not_before` holds for all admissible schedules.
        schedule: reaches the target at `time` with the fewest switches and stays there (ε = 0); None if `time` is ∞.
        distance: ‖δ(time)‖ under it: rounding.
    """

    arrival: Arrival
    time: float
    not_before: float
    certified: bool
    schedule: AbstractPiecewiseConstant | None = None
    distance: float = np.nan

    @property
    def reason(self) -> str:
        """The answer in words."""
        if self.schedule is not None and self.arrival is Arrival.REACHED:
            return f"reached at {self.time:.12g} with {len(np.asarray(self.schedule.jump_ts)) - 1} arcs"
        if self.arrival in (Arrival.UNDECIDED, Arrival.TIME_LIMIT):
            return f"{self.arrival.value}; certain is only that the target is out of reach before {self.not_before:g}"
        return self.arrival.value

    @classmethod
    def from_json(cls, text: str) -> "ExactUnlearning":
        """What `to_json` wrote.

        Raises:
            InputError: another document.
        """
        return cls(**read_fields(cls, text, [Arrival, PiecewiseConstant, Step]))

    def _facts(self) -> dict[str, object]:
        return {"time": self.time, "not_before": self.not_before, "certified": self.certified, "reason": self.reason}


def reach(task: LinearTask, deadline: Deadline = UNLIMITED, near: float = 0.0) -> ExactUnlearning:
    """`exact_unlearning_time` in the eigenbasis, up to task.T.

    Args:
        task: the problem.
        deadline: when to stop.
        near: ‖δ(s)‖ up to which θ(s) is the target, if that is known no better.
    """
    require_rest(task)
    task = replace(task.at_price(0.0), form=EndForm(np.ones(len(task.rates))))
    paths = Paths([task])
    signs = certify_signs(paths)
    rounding, away = rounding_of(task), float(np.linalg.norm(task.start))
    if away <= max(rounding, near):
        return ExactUnlearning(
            arrival=Arrival.AT_START,
            time=task.s,
            not_before=task.s,
            certified=True,
            schedule=Step(task.s),
            distance=away,
        )
    elapsed, p, undecided = 0.0, task.start, Arrival.UNDECIDED
    for _ in range(EATON_STEPS):
        if deadline.passed:
            undecided = Arrival.TIME_LIMIT
            break
        later = max(
            _first_zero(paths, p, signs.signs, elapsed),
            elapsed + _forward_zero(task, p, float(p @ p), signs.signs),
        )
        if later >= task.length:
            never = np.isinf(later)
            return ExactUnlearning(
                arrival=Arrival.NEVER if never else Arrival.NOT_WITHIN,
                time=np.inf,
                not_before=np.inf if never else task.T,
                certified=signs.settled,
            )
        window = task.until(task.s + later)
        support = evaluate_dual(Paths([window]), p, signs.signs)
        best = polish_linear(window, support.knots, support.levels[:, 0] if task.points == 1 else support.levels)
        p = best.path.deltas[-1]
        if later - elapsed <= ARRIVAL * later or np.linalg.norm(p) <= rounding:
            arrival = _finish(task, window, best.arcs, later)
            if arrival is not None:
                return arrival
            break
        elapsed = later
    # The last bound holds for as long as the signs do.
    known = min(task.s + elapsed, signs.until)
    return ExactUnlearning(arrival=undecided, time=np.nan, not_before=known, certified=signs.settled)


def rounding_of(task: LinearTask) -> float:
    """The distance from the target that counts as none."""
    return ROUNDING * float(np.linalg.norm(task.origin) + np.linalg.norm(task.target))


def _finish(task: LinearTask, window: LinearTask, arcs: Arcs, not_before: float) -> ExactUnlearning | None:
    """Newton (least squares) on δ(t) = 0 in the switch times and t; None where that is no arrival in finite time."""
    window, arcs = _until_rest(window, arcs)
    best_distance, best = np.inf, (window, arcs)
    for _ in range(NEWTON_STEPS):
        slopes = ExactEngine(window).derivatives(arcs)
        distance = float(np.linalg.norm(slopes.miss))
        if distance >= 0.5 * best_distance:
            break
        best_distance, best = distance, (window, arcs)
        jacobian = np.vstack([slopes.carried, slopes.velocity])
        step = np.linalg.lstsq(jacobian.T, -slopes.miss, rcond=1e-13)[0]
        window = window.until(float(window.T + step[-1]))
        moved = arcs.at(arcs.unknowns + min(1.0, arcs.room(step[:-1])) * step[:-1])
        arcs = moved.ordered(window.T).tidied(ExactEngine(window).shortest)
    window, arcs = best
    knots, levels = arcs.knots_and_levels
    # With ε = 0 the flow approaches the target for ever, but does not arrive.
    if best_distance > rounding_of(task) or not levels[-1].any():
        return None
    signs = certify_signs(Paths([window]))
    least = min(task.s + not_before, float(window.T), signs.until)
    return ExactUnlearning(
        arrival=Arrival.REACHED,
        time=float(window.T),
        not_before=least,
        certified=signs.settled,
        schedule=PiecewiseConstant(knots, levels),
        distance=best_distance,
    )


def _until_rest(window: LinearTask, arcs: Arcs) -> tuple[LinearTask, Arcs]:
    """What comes before the rest at the target: a window that is a rounding too long ends with ε = 0 there."""
    knots, levels = arcs.knots_and_levels
    moving = np.flatnonzero(levels.reshape(len(levels), -1).any(axis=1))
    last = int(moving[-1]) + 1 if moving.size else len(levels)
    if last == len(levels):
        return window, arcs
    return window.until(float(knots[last])), bangs(arcs.options, knots[: last + 1], levels[:last])


def require_rest(task: LinearTask) -> None:
    """Refuse a target that is not at rest under an admissible ε."""
    if not task.at_rest:
        low, high = task.bounds
        raise InputError(
            "exact unlearning needs the leave-out optimum as target and 0 within the bounds "
            f"(here [{low:g}, {high:g}]): elsewhere, or with ε kept from 0, the flow does not stay where it arrives."
        )


def _forward_zero(task: LinearTask, p: np.ndarray, value: float, signs: np.ndarray) -> float:
    """How long after t h(g) stays positive when p runs on *forward* from p(t), where h = `value`; ∞ if for ever.

    Each p(s) = g separates its own future: h changes by dh/dt = Σ_j α_j r_j x_jᵀp. Where ε_min = 0 and every σ_j x_jᵀp
    is negative from some time on, it stays as it is, and the target is never reached. Sums of growing exponentials are
    divided by the fastest, which keeps their signs.
    """
    low, high = task.bounds
    elapsed, sides = 0.0, np.where(task.rows @ p < 0.0, -1, 1)
    for _ in range(MAX_ARCS):
        size = float(np.linalg.norm(p))
        p, value = p / size, value / size
        spectrum = task.spectrum(np.where(signs * sides > 0, high, low))
        fastest, costate = spectrum.rates[-1], spectrum.to_basis(p)
        decay = fastest - spectrum.rates
        grid = resolving_grid(np.sort(decay), 40.0 / float(decay[decay > 1e-6 * fastest].min(initial=fastest)))
        turns = [
            ExponentialSum(row * costate, decay).sign_changes(grid, int(side))
            for row, side in zip(spectrum.rows, sides, strict=True)
        ]
        first = min((float(ts[0]) for ts in turns if ts.size), default=np.inf)
        parts = costate * spectrum.drift / spectrum.rates
        level = ExponentialSum(np.append(parts, value - parts.sum()), np.append(decay, fastest))
        zeros = level.sign_changes(np.union1d(grid, 40.0 / fastest * np.linspace(0.0, 1.0, 65)), 1)
        if zeros.size and zeros[0] <= first:
            return elapsed + float(zeros[0])
        if first == np.inf:
            return np.inf
        value = value + float(parts @ np.expm1(spectrum.rates * first))
        p = spectrum.from_basis(np.exp(spectrum.rates * first) * costate)
        elapsed += first
        sides = np.where([ts.size > 0 and ts[0] == first for ts in turns], -sides, sides)
    return elapsed


def _first_zero(paths: Paths, direction: np.ndarray, signs: np.ndarray, after: float) -> float:
    """The first elapsed time > `after` at which h_t(π) ≤ 0; the length of the window if there is none."""
    task = paths.tasks[0]
    (path,) = paths.trace(Request(0, direction[None], [one_sign(task, signs)]))
    return min(least_along(task, path, after=after)[0], task.length)
