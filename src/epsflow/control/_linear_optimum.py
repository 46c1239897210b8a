"""The optimum of linear regression: polish, exact-unlearning test and certificate in one call."""

import itertools
from dataclasses import dataclass

import numpy as np

from ..schedules import AbstractPiecewiseConstant
from ._budget import MOST_SWITCHES, polish_within
from ._convex import MixedBound, branch
from ._dual import DualBound, SignCertificate, certify_control, evaluate_dual
from ._effort import seconds_of_branching
from ._exact_unlearning import ExactUnlearning, reach
from ._extremal import levels_of
from ._polish import Polished, polish_control
from ._pontryagin import Extremal, linear_extremal
from ._propagators import LinearControl, advance, arcs_of
from ._solution import EXACT_FRACTION
from ._task import ControlTask, control_of, effort_of

SWITCHES = 33
"""Times at which a single switch is tried."""
PROVED = 1e-9
"""Relative gap to the dual bound at which no further start is polished: far below the one that certificates ask for."""
GAP, NODES = 1e-6, 400
"""Relative gap and nodes of the branching."""


@dataclass(frozen=True, eq=False)
class LinearOptimum:
    """The best schedule found, and what is proved about it.

    Attributes:
        schedule: in E_s.
        extremal: its costate and its Pontryagin figures; `extremal.cost` is that of θ(T).
        polished: second-order conditions of the bang-bang extremal; of the best one found where `exact` applies.
        exact: the exact-unlearning schedule, if 𝓔 = 0 is reached within T; else None.
        signs: whether the residuals keep their signs, which makes the problem convex.
        bound: D at the schedule's own δ(T) where the signs are settled, the bound from branching where they are mixed;
            None where the cost is zero.
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
    signs = certify_control(control)
    best, bound = _search(task, control, [*_best_switches(task, control, one_weight), *given], signs)
    found = best.extremal
    if bound is None and found.cost > found.cost_error:
        limits = (NODES, seconds_of_branching(task, effort_of(task, best.schedule)))
        bound = branch(control, found.cost, control.form.image(best.miss), GAP, limits)
    lower = 0.0 if bound is None else bound.value - (bound.rounding if isinstance(bound, DualBound) else 0.0)
    schedule, arrival = best.schedule, None
    if lower <= max(found.cost_error, EXACT_FRACTION * control.form.value(control.start)):
        arrival = _arrival(task, control, one_weight)
    if arrival is not None and arrival.schedule is not None:
        schedule = arrival.schedule
        found = linear_extremal(control, *arcs_of(schedule, task.s, task.T))
    lower = min(max(lower, 0.0), found.cost)
    return LinearOptimum(schedule, found, best, arrival, signs, bound, lower)


def _search(
    task: ControlTask, control: LinearControl, starts: list[tuple[np.ndarray, np.ndarray]], signs: SignCertificate
) -> tuple[Polished, DualBound | None]:
    """The cheapest of the polished starts, and its dual bound where the signs are settled.

    The first start that its bound proves the best ends the search.
    """
    runs = []
    for start in starts:
        run = _descend(task, control, *start)
        bound = evaluate_dual(control, control.form.image(run.miss), signs.signs) if signs.settled else None
        runs.append((run, bound))
        if bound is not None and not task.priced and run.cost - bound.value + bound.rounding <= PROVED * run.cost:
            break
    return min(runs, key=lambda each: each[0].objective)


def _descend(task: ControlTask, control: LinearControl, knots: np.ndarray, levels: np.ndarray) -> Polished:
    if task.budget < np.inf:
        return polish_within(control, knots, levels, task.budget)
    # With a price every further arc may be worth a little less: a singular arc is for the mesh to find.
    return polish_control(control, knots, levels, **({"max_rounds": MOST_SWITCHES // 2} if task.priced else {}))


def _best_switches(task: ControlTask, control: LinearControl, one_weight: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """The best schedules with one switch between any two levels, cheapest first; constants included.

    On a grid that is finer near s.
    """
    fractions = np.linspace(0.0, 1.0, SWITCHES) ** 2
    found = []
    for first, second in itertools.permutations(levels_of(control.bounds, float(task.priced))[::-1], 2):
        before, after = control.spectrum(first), control.spectrum(second)
        middle = advance(before, control.start, fractions * control.length)
        rest = (1.0 - fractions) * control.length
        ends = advance(after, middle, rest)
        costs = np.array([control.form.value(end) for end in ends])
        costs += control.price * control.length * (abs(first) * fractions + abs(second) * (1.0 - fractions))
        time = control.s + control.length * fractions[int(np.argmin(costs))]
        knots = np.unique([control.s, time, control.T])
        levels = np.array([first, second] if len(knots) == 3 else [second if time == control.s else first])
        found.append((costs.min(), (knots, levels if one_weight else np.tile(levels[:, None], control.points))))
    return [start for _, start in sorted(found, key=lambda pair: pair[0])]


def _arrival(task: ControlTask, control: LinearControl, one_weight: bool) -> ExactUnlearning | None:
    """The exact-unlearning schedule with the fewest switches, if it fits in the window and in the budget."""
    low, high = control.bounds
    impossible = control.drift.any() or not low <= 0.0 <= high
    if impossible or control.price > 0.0 or (one_weight and control.points > 1):
        return None
    arrival = reach(control)
    if arrival.schedule is None or arrival.time > control.T or effort_of(task, arrival.schedule) > task.budget:
        return None
    return arrival
