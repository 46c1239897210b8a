"""The optimum of linear regression: polish, exact-unlearning test and certificate in one call."""

from dataclasses import dataclass

import numpy as np

from ..schedules import AbstractPiecewiseConstant
from ._convex import MixedBound, branch
from ._dual import DualBound, SignCertificate, certify_control, evaluate_dual
from ._exact_unlearning import ExactUnlearning, reach
from ._polish import Polished, polish_control
from ._pontryagin import Extremal, linear_extremal
from ._propagators import LinearControl, advance, arcs_of
from ._task import ControlTask, control_of

SWITCHES = 33
"""Times at which a single switch is tried."""
GAP, BUDGET = 1e-6, (400, 5.0)
"""Relative gap, nodes and seconds of the branching."""


@dataclass(frozen=True, eq=False)
class LinearOptimum:
    """The best schedule found, and what is proved about it.

    Attributes:
        schedule: in E_s.
        extremal: its costate and its Pontryagin figures; `extremal.cost` is 𝓔.
        polished: second-order conditions of the bang-bang extremal; of the best one found where `exact` applies.
        exact: the exact-unlearning schedule, if 𝓔 = 0 is reached within T; else None.
        signs: whether the residuals keep their signs, which makes the problem convex.
        bound: D(π) at the schedule's own π where the signs are settled, the bound from branching where they are mixed
            (one point); else None.
        lower_bound: no admissible schedule (with one weight per point) costs less; 0 where nothing better is proved.
    """

    schedule: AbstractPiecewiseConstant
    extremal: Extremal
    polished: Polished
    exact: ExactUnlearning | None
    signs: SignCertificate
    bound: DualBound | MixedBound | None
    lower_bound: float

    @property
    def gap(self) -> float:
        """𝓔 − lower bound ≥ 0."""
        return self.extremal.cost - self.lower_bound


def linear_optimum(
    task: ControlTask, starts: tuple[AbstractPiecewiseConstant, ...] = (), *, shared: bool = True
) -> LinearOptimum:
    """Polish the best single switches and `starts`, keep the best, ask whether 𝓔 = 0 is possible, and certify.

    Args:
        task: linear regression.
        starts: further schedules to start from, such as candidates of a transcription.
        shared: one ε for all deleted points, or one each (which keeps the problem convex). The same for one point.

    Raises:
        InputError: the problem is not linear regression.
    """
    control = control_of(task)
    one_weight = shared or control.points == 1
    given = [arcs_of(schedule, task.s, task.T) for schedule in starts]
    runs = [polish_control(control, *start) for start in [*_best_switches(control, one_weight), *given]]
    best = min(runs, key=lambda run: run.cost)
    signs, arrival = certify_control(control), _arrival(control, best, one_weight)
    schedule = best.schedule if arrival is None or arrival.schedule is None else arrival.schedule
    found = best.extremal
    if schedule is not best.schedule:
        knots, levels = arcs_of(schedule, task.s, task.T)
        # Where the points have one weight each, the row that T's own 0 adds is one number for all of them.
        found = linear_extremal(control, knots, levels)
    bound, lower = None, 0.0
    mu = control.form.image(np.asarray(found.theta(task.T) - task.target) @ control.basis)
    if signs.settled:
        bound = evaluate_dual(control, mu, signs.signs)
        lower = bound.value - bound.rounding
    elif control.points == 1 and found.cost > found.cost_error:
        bound = branch(control, found.cost, mu, GAP, BUDGET)
        lower = bound.value
    lower = min(max(lower, 0.0), found.cost)
    return LinearOptimum(schedule, found, best, arrival, signs, bound, lower)


def _best_switches(control: LinearControl, one_weight: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """The best schedule with one switch, downwards and upwards, on a grid that is finer near s; constants included."""
    fractions = np.linspace(0.0, 1.0, SWITCHES) ** 2
    found = []
    for first, second in (control.bounds[::-1], control.bounds):
        before, after = control.spectrum(first), control.spectrum(second)
        middle = advance(before, control.start, fractions * control.length)
        rest = (1.0 - fractions) * control.length
        ends = [advance(after, delta, np.array([left]))[0] for delta, left in zip(middle, rest, strict=True)]
        time = control.s + control.length * fractions[int(np.argmin([control.form.value(end) for end in ends]))]
        knots = np.unique([control.s, time, control.T])
        levels = np.array([first, second] if len(knots) == 3 else [second if time == control.s else first])
        found.append((knots, levels if one_weight else np.tile(levels[:, None], control.points)))
    return found


def _arrival(control: LinearControl, best: Polished, one_weight: bool) -> ExactUnlearning | None:
    """The exact-unlearning schedule where the polished one leaves room for it and it fits in the window."""
    low, high = control.bounds
    possible = (best.exact or best.may_vanish) and not control.drift.any() and low <= 0.0 <= high
    if not possible or (one_weight and control.points > 1):
        return None
    arrival = reach(control)
    return arrival if arrival.time <= control.T else None
