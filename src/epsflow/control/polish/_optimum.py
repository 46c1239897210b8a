"""The optimum of linear regression: polish, exact-unlearning test and certificate in one call."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...schedules import AbstractPiecewiseConstant, least_effort
from ..bounds._branching import NODES, MixedBound, branch, prove
from ..bounds._dual import DualBound, SignCertificate, certify_signs, evaluate_dual
from ..bounds._paths import Paths
from ..linear._path import linear_extremal
from ..linear._pencil import SECULAR, advance
from ..linear._task import LinearTask
from ..terms._deadline import UNLIMITED, Deadline
from ..terms._extremal import Extremal
from ..terms._kinds import EXACT_FRACTION, SPENT
from ..terms._levels import arcs_of, effort_between, levels_of
from ._exact import Polished, polish_linear
from ._group import search_group
from ._reach import ExactUnlearning, reach

SWITCHES, SCANS = 33, 4
"""Times at which a single switch is tried, and how often: each scan is sixteen times finer than the one before."""

PROVED = 1e-9
"""Relative gap to the dual bound at which no further start is polished: far below the one that certificates ask for."""

BRIEF = 40
"""Nodes of a first branching, and of one where a price or a spent budget keeps the cost above the bound anyway."""


@dataclass(frozen=True, eq=False)
class LinearOptimum:
    """The best schedule found, and what is proved about it.

    Attributes:
        schedule: in E_s.
        extremal: its costate and its Pontryagin figures; `extremal.cost` is that of θ(T).
        polished: second-order conditions of the bang-bang extremal; of the best one found where `exact` applies.
        exact: the exact-unlearning schedule, if 𝓔 = 0 is reached within T; else None.
        signs: whether the residuals keep their signs, which makes the problem convex; None where nobody asked.
        bound: D at the schedule's own δ(T) where the signs are settled, the bound from branching where they are mixed;
            None where the cost is zero, or where one ε for several points is proved the best by itself.
        lower_bound: no admissible schedule has a smaller cost of θ(T), each point with a weight of its own; of one ε
            for several points, none has a smaller cost + ρ(∫|u| dt − the least that the bounds allow). 0 where nothing
            better is proved.
    """

    schedule: AbstractPiecewiseConstant
    extremal: Extremal
    polished: Polished
    exact: ExactUnlearning | None
    signs: SignCertificate | None
    bound: DualBound | MixedBound | None
    lower_bound: float

    @property
    def gap(self) -> float:
        """𝓔 − lower bound ≥ 0."""
        return self.extremal.cost - self.lower_bound


def linear_optimum(
    task: LinearTask,
    starts: Sequence[tuple[np.ndarray, np.ndarray]] = (),
    *,
    shared: bool = True,
    budget: float = np.inf,
    deadline: Deadline = UNLIMITED,
) -> LinearOptimum:
    """Polish the best single switches and `starts`, keep the best, ask whether 𝓔 = 0 is possible, and certify.

    Args:
        task: the problem.
        starts: knots and levels of further schedules to start from, such as candidates of a transcription.
        shared: one ε for all deleted points, or one each (which keeps the problem convex). The same for one point.
        budget: the most that ∫|u| dt may be, summed over the components of u.
        deadline: when to stop; the first start is polished in any case.
    """
    one_weight = shared or task.points == 1
    if one_weight and task.points > 1:
        return _group_optimum(task.grouped, starts, budget, deadline)
    paths = Paths([task])
    signs = certify_signs(paths)
    switches = _best_switches(task, one_weight, priced=task.price > 0.0 or budget < np.inf)
    best, bound = _search(paths, [*switches, *starts], signs, budget, deadline)
    found = best.extremal
    if (bound is None or not _proves(best, bound)) and not signs.settled and found.cost > found.cost_error:
        nodes = nodes_of_branching(task.price, spent(best.schedule, task), budget)
        mu = task.form.image(best.miss)
        bound = branch(paths, signs, found.cost, mu, max_nodes=nodes, deadline=deadline)
    lower = 0.0 if bound is None else bound.certain
    schedule, arrival = best.schedule, None
    if lower <= max(found.cost_error, EXACT_FRACTION * task.form.value(task.start)) and not deadline.passed:
        arrival = _arrival(task, one_weight, budget, deadline)
    if arrival is not None and arrival.schedule is not None:
        schedule = arrival.schedule
        found = linear_extremal(task, *arcs_of(schedule, task.s, task.T))
    lower = min(max(lower, 0.0), found.cost)
    return LinearOptimum(schedule, found, best, arrival, signs, bound, lower)


def _group_optimum(
    task: LinearTask, starts: Sequence[tuple[np.ndarray, np.ndarray]], budget: float, deadline: Deadline
) -> LinearOptimum:
    """`linear_optimum` for one ε for several points; where no quadratic bound holds, by one weight per row."""
    switches = _best_switches(task, True, priced=task.price > 0.0 or budget < np.inf)
    run = search_group(task, [*switches, *starts], budget, deadline)
    best, found, bound, signs = run.best, run.best.extremal, None, None
    least = task.price * least_effort(task.length, task.bounds)
    lower = run.lower_bound - least
    if lower <= 0.0 and found.cost > found.cost_error and not deadline.passed:
        paths = Paths([task])
        signs = certify_signs(paths)
        bound = prove(paths, signs, found.cost, task.form.image(best.miss), max_nodes=1, deadline=deadline)
        lower = max(lower, bound.certain)
    lower = min(max(lower, 0.0), best.objective - least)
    return LinearOptimum(best.schedule, found, best, None, signs, bound, lower)


def nodes_of_branching(price: float, effort: float, budget: float) -> int:
    """How far to branch over sign changes: briefly where a price or a spent budget keeps the cost above the bound."""
    binds = price > 0.0 or effort >= (1.0 - SPENT) * budget
    return BRIEF if binds else NODES


def spent(schedule: AbstractPiecewiseConstant, task: LinearTask) -> float:
    """∫|u| dt over the window, summed over the components of u."""
    return effort_between(*arcs_of(schedule, task.s, task.T))


def _search(
    paths: Paths,
    starts: Sequence[tuple[np.ndarray, np.ndarray]],
    signs: SignCertificate,
    budget: float,
    deadline: Deadline,
) -> tuple[Polished, DualBound | MixedBound | None]:
    """The cheapest of the polished starts, and its bound: dual where the signs are settled, else by a brief branching.

    The first start that its bound proves the best ends the search.
    """
    task, runs = paths.tasks[0], []
    free, own = task.price == 0.0 and budget == np.inf, task.points == 1 or starts[0][1].ndim > 1
    for start in starts:
        if runs and deadline.passed:
            break
        run = polish_linear(task, *start, budget=budget, deadline=deadline)
        bound, mu = None, task.form.image(run.miss)
        if signs.settled:
            bound = evaluate_dual(paths, mu, signs.signs)
        elif free and own and not runs and run.cost > run.extremal.cost_error:
            bound = branch(paths, signs, run.cost, mu, max_nodes=BRIEF, deadline=deadline)
        runs.append((run, bound))
        if bound is not None and free and _proves(run, bound):
            break
    return min(runs, key=lambda each: each[0].objective)


def _proves(run: Polished, bound: DualBound | MixedBound) -> bool:
    """Whether no further start can do better, up to what certificates leave open."""
    if isinstance(bound, MixedBound):
        return bound.closed
    return bool(run.cost - bound.certain <= PROVED * run.cost)


def _best_switches(task: LinearTask, one_weight: bool, *, priced: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """The best schedules with one switch between any two levels, cheapest first; constants included."""
    found = []
    for first, second in itertools.permutations(levels_of(task.bounds, float(priced))[::-1], 2):
        cost, elapsed = _best_switch(task, first, second)
        knots = np.unique([task.s, task.s + elapsed, task.T])
        levels = np.array([first, second] if len(knots) == 3 else [first if elapsed > 0.0 else second])
        found.append((cost, (knots, levels if one_weight else np.tile(levels[:, None], task.points))))
    return [start for _, start in sorted(found, key=lambda pair: pair[0])]


def _best_switch(task: LinearTask, first: float, second: float) -> tuple[float, float]:
    """The least cost with one switch between two levels, and the time after s.

    On a grid that is finer near s; with few parameters, where a scan costs less than a Newton step, on ever finer ones
    around its best point as well.
    """
    before, after = task.spectrum(first), task.spectrum(second)
    elapsed, k, costs = task.length * np.linspace(0.0, 1.0, SWITCHES) ** 2, 0, np.zeros(1)
    for scan in range(SCANS if len(task.rates) < SECULAR else 1):
        if scan > 0:
            elapsed = np.linspace(elapsed[max(k - 1, 0)], elapsed[min(k + 1, SWITCHES - 1)], SWITCHES)
        ends = advance(after, advance(before, task.start, elapsed), task.length - elapsed)
        effort = abs(first) * elapsed + abs(second) * (task.length - elapsed)
        costs = task.form.values(ends) + task.price * effort
        k = int(np.argmin(costs))
    return float(costs[k]), float(elapsed[k])


def _arrival(task: LinearTask, one_weight: bool, budget: float, deadline: Deadline) -> ExactUnlearning | None:
    """The exact-unlearning schedule with the fewest switches, if it fits in the window and in the budget."""
    low, high = task.bounds
    impossible = task.drift.any() or not low <= 0.0 <= high
    if impossible or task.price > 0.0 or (one_weight and task.points > 1):
        return None
    arrival = reach(task, deadline)
    if arrival.schedule is None or arrival.time > task.T or spent(arrival.schedule, task) > budget:
        return None
    return arrival
