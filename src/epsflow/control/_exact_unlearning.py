"""When can the target be reached exactly, in finite time? (Linear regression.)

The least such time is that of a time-optimal control. For any π ≠ 0 whose least value of πᵀδ(t) over all admissible
controls, h_t(π), is positive, the target is out of reach at t. Hence, with π = δ*(t) of the best schedule for the horizon
t, the first t' > t with h_t'(π) = 0 is a lower bound on the time, from one backward path; t ← t' converges to it from
below (Eaton's method), quadratically. The last digits are Newton's: δ(t) = 0 in the switch times and t.
At the target ε = 0 keeps it there, because f = 0.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import brentq

from .._core import InputError
from ..problem import Problem
from ..schedules import AbstractPiecewiseConstant, PiecewiseConstant, Step
from ._dual import ExponentialSum, certify_control, evaluate_dual, resolving_grid, sweep
from ._polish import Structure, delete_empty, derivatives, moved_by, polish_control, room_for, structure_arcs
from ._propagators import LinearControl, control_of, decay_integral
from ._task import ControlTask, make_task

EATON_STEPS, NEWTON_STEPS = 60, 30
ARRIVAL = 1e-4
"""Relative advance of Eaton's method below which Newton's takes over. The advance, not the distance, tells an arrival
from a slow decay: ‖δ‖ becomes small either way."""


@dataclass(frozen=True, eq=False)
class ExactUnlearning:
    """Whether and when 𝓔 = 0 is possible.

    Attributes:
        time: the least T with 𝓔 = 0; ∞ if there is none up to `horizon`.
        not_before: at no earlier time is 𝓔 = 0 possible, whatever the schedule (certified where `certified`); ∞ where it
            is never possible.
        certified: the signs of the residuals e_j are settled up to `time` (or the horizon), so that the lower bound
            `not_before` holds for all admissible schedules.
        schedule: reaches the target at `time` with the fewest switches and stays there (ε = 0); None if `time` is ∞.
        distance: ‖δ(time)‖ under it: rounding.
        reason: in words.
    """

    time: float
    not_before: float
    certified: bool
    schedule: AbstractPiecewiseConstant | None
    distance: float
    reason: str


def exact_unlearning_time(
    problem: Problem,
    theta0: object,
    *,
    s: float,
    bounds: tuple[float, float] = (0.0, 1.0),
    horizon: float | None = None,
) -> ExactUnlearning:
    """The least T at which θ(T) = θ*_{-D} exactly for some schedule in E_s; ∞ where it is unreachable.

    Args:
        problem: linear regression, with one weight per deleted point where there are several.
        theta0: θ(0), shape (d,).
        s: when the deletion request arrives.
        bounds: least and largest ε after s; must contain 0, or the target could not be kept.
        horizon: how far ahead to look (a time > s); default s + 40/λ_min(H_{-D}), when e^{−40} of the start is left.

    Raises:
        InputError: not linear regression; rank-deficient H_{-D}; 0 outside the bounds.
    """
    probe = make_task(problem, theta0, s, s + 1.0 if horizon is None else horizon, bounds)
    control = control_of(probe)
    if horizon is None:
        control = replace(control, T=s + 40.0 / float(control.rates[0]))
    return reach(control)


def exact_schedule(task: ControlTask) -> ExactUnlearning:
    """`exact_unlearning_time` within a task: looks no further than its T; the schedule ends there.

    Raises:
        InputError: as `exact_unlearning_time`.
    """
    return reach(control_of(task))


def reach(control: LinearControl) -> ExactUnlearning:
    """`exact_unlearning_time` in the eigenbasis, up to control.T."""
    _require_rest(control)
    signs = certify_control(control).signs
    if not control.start.any():
        return ExactUnlearning(control.s, control.s, True, Step(control.s), 0.0, "θ(s) is the target")
    blocked = _blocked_direction(control, signs)
    if blocked is not None and certify_control(control).settled:
        reason = f"the deleted points can only push the component along eigenvector {blocked} of H_-D away from the target"
        return ExactUnlearning(np.inf, np.inf, True, None, np.nan, reason)
    # From the start itself: π = δ(s).
    shared, elapsed = control.points == 1, 0.0
    direction = control.start / np.linalg.norm(control.start)
    for _ in range(EATON_STEPS):
        later = _first_zero(control, direction, signs, elapsed)
        if later is None:
            certified = certify_control(control).settled
            reason = f"out of reach up to t = {control.T:g}: one direction separates it from all reachable points"
            return ExactUnlearning(np.inf, control.T, certified, None, np.nan, reason)
        window = replace(control, T=control.s + later)
        support = evaluate_dual(window, direction, signs)
        best = polish_control(window, support.knots, support.levels[:, 0] if shared else support.levels)
        miss = best.extremal.path.deltas[-1]
        if later - elapsed <= ARRIVAL * later or not miss.any():
            return _finish(control, window, best.structure, later)
        direction, elapsed = miss / np.linalg.norm(miss), later
    reason = f"not decided: after {EATON_STEPS} steps it is certain only that nothing before {control.s + elapsed:g} will do"
    return ExactUnlearning(np.inf, control.s + elapsed, certify_control(control).settled, None, np.nan, reason)


def _finish(control: LinearControl, window: LinearControl, structure: Structure, not_before: float) -> ExactUnlearning:
    """Newton (least squares) on δ(t) = 0 in the switch times and t."""
    shared = control.points == 1
    best, best_distance = None, np.inf
    for _ in range(NEWTON_STEPS):
        slopes = derivatives(window, structure, shared)
        distance = float(np.linalg.norm(slopes.miss))
        if distance >= 0.5 * best_distance:
            break
        best, best_distance = (window, structure), distance
        jacobian = np.vstack([slopes.carried, slopes.velocity])
        step = np.linalg.lstsq(jacobian.T, -slopes.miss, rcond=1e-13)[0]
        window = replace(window, T=window.T + step[-1])
        structure = delete_empty(window, moved_by(window, structure, min(1.0, room_for(window, structure, step[:-1])) * step[:-1]))
    window, structure = best
    knots, levels = structure_arcs(window, structure, shared)
    certified = certify_control(window).settled
    least = min(control.s + not_before, window.T) if certified else control.s
    reason = f"reached at {window.T:.12g} with {len(knots) - 1} arcs"
    return ExactUnlearning(window.T, least, certified, PiecewiseConstant(knots, levels), best_distance, reason)


def _require_rest(control: LinearControl) -> None:
    low, high = control.bounds
    if control.drift.any() or not low <= 0.0 <= high:
        raise InputError(
            f"exact unlearning needs the leave-out optimum as target and 0 within the bounds (here [{low:g}, {high:g}]): "
            "elsewhere, or with ε kept away from 0, the flow does not stay where it has arrived."
        )


def _blocked_direction(control: LinearControl, signs: np.ndarray) -> int | None:
    """An eigenvector i of H_{-D} along which every σ_j x_ji δ_i(s) ≤ 0 ≠ δ_i(s): no push w_j = u_j e_j ≥ 0 brings it to 0."""
    if control.bounds[0] < 0.0:
        return None
    push = signs[:, None] * control.rows * control.start
    # A component that is rounding of the others is no obstacle to be certain about.
    noise = 64.0 * np.finfo(np.float64).eps
    solid = np.abs(control.start) > noise * np.linalg.norm(control.start)
    against = solid & (push < -noise * np.abs(control.start) * np.linalg.norm(control.rows, axis=1)[:, None]).all(axis=0)
    return int(np.argmax(against)) if against.any() else None


def _first_zero(control: LinearControl, direction: np.ndarray, signs: np.ndarray, after: float) -> float | None:
    """The first elapsed time > `after` at which h_t(π) ≤ 0, within the window."""
    for arc in sweep(control, direction, signs):
        if arc.start + arc.duration <= after:
            continue
        spectrum, start = arc.spectrum, control.start @ arc.spectrum.vectors

        def value(t: float) -> float:
            decayed = np.exp(-spectrum.rates * t) * start + decay_integral(spectrum.rates, np.array(t)) * spectrum.drift
            return float(decayed @ arc.costate) + arc.collected

        slope = ExponentialSum(arc.costate * (spectrum.drift - spectrum.rates * start), spectrum.rates)
        grid = resolving_grid(spectrum.rates, arc.duration)
        ts = np.union1d(grid, slope.sign_changes(grid))
        ts = np.concatenate([[max(after - arc.start, 0.0)], ts[ts > after - arc.start]])
        values = np.array([value(t) for t in ts])
        below = np.flatnonzero(values <= 0.0)
        if below.size:
            k = int(below[0])
            return arc.start + (float(ts[0]) if k == 0 else float(brentq(value, ts[k - 1], ts[k], xtol=1e-15)))
    return None
