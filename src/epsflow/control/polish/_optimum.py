"""The optimum of linear regression: polish, exact-unlearning test and certificate in one call."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ...schedules import AbstractPiecewiseConstant, least_effort
from ..bounds._branching import GAP, NODES, MixedBound, branching, prove
from ..bounds._dual import DualBound, SignCertificate, certify_signs, evaluate_dual
from ..bounds._paths import Paths
from ..bounds._quadratic import quadratic_bound
from ..bounds._sets import Reach
from ..bounds._together import Search, run
from ..linear._path import linear_extremal
from ..linear._task import LinearTask
from ..terms._deadline import UNLIMITED, Deadline
from ..terms._extremal import Extremal
from ..terms._kinds import EXACT_FRACTION, SPENT
from ..terms._levels import arcs_of, effort_between
from ._exact import Polished, polish_linear
from ._reach import ExactUnlearning, reach
from ._starts import Start, best_pairs, best_switches

PROVED = 1e-9
"""Relative gap to the dual bound at which no further start is polished: far below the one that certificates ask for."""

MOST_PAIRS = 2
"""Patterns of levels with two switches of which the best are polished for one ε for several points."""

VANISHING = 1e-6
"""Residual, in units of the one at s, at which it is taken to vanish where S does."""

BRIEF = 40
"""Nodes of a first branching, and of one where a price or a spent budget keeps the cost above the bound anyway."""


@dataclass(frozen=True, eq=False)
class LinearOptimum:
    """The best schedule found, and what is proved about it.

    Attributes:
        extremal: costate of `schedule` and its Pontryagin figures; `extremal.cost` is that of θ(T).
        polished: second-order conditions of the bang-bang extremal; of the best one found where `exact` applies.
        exact: the exact-unlearning schedule, if 𝓔 = 0 is reached within T; else None.
        signs: whether the residuals keep their signs, which makes the problem convex; None where nobody asked.
        bound: D at the schedule's own δ(T) where the signs are settled, the bound from branching where they are mixed;
            None where the cost is zero, or where one ε for several points is proved the best by itself. A quadratic
            form may prove more, in `lower_bound`, where branching leaves a gap.
        lower_bound: no admissible schedule has a smaller cost of θ(T), each point with a weight of its own; of one ε
            for several points, none has a smaller cost + ρ(∫|u| dt − the least that the bounds allow). 0 where nothing
            better is proved.
    """

    extremal: Extremal
    polished: Polished
    exact: ExactUnlearning | None
    signs: SignCertificate | None
    bound: DualBound | MixedBound | None
    lower_bound: float

    @property
    def schedule(self) -> AbstractPiecewiseConstant:
        """The best schedule, in E_s."""
        arriving = None if self.exact is None else self.exact.schedule
        return self.polished.schedule if arriving is None else arriving


def linear_optimum(
    task: LinearTask,
    starts: Sequence[Start] = (),
    *,
    shared: bool = True,
    deadline: Deadline = UNLIMITED,
) -> LinearOptimum:
    """Polish the best single switches and `starts`, keep the best, ask whether 𝓔 = 0 is possible, and certify.

    Args:
        task: the problem, and what ∫|u| dt costs or may be.
        starts: knots and levels of further schedules to start from, such as candidates of a transcription.
        shared: one ε for all deleted points, or one each (which keeps the problem convex). The same for one point.
        deadline: when to stop; the first start is polished in any case.
    """
    one_weight = shared or task.points == 1
    task = task.grouped if one_weight else task
    paths = Paths([task])
    return run(optimising(paths, [*best_switches(task, one_weight), *starts], deadline=deadline), paths)


def optimising(
    paths: Paths,
    starts: Sequence[Start],
    *,
    problem: int = 0,
    nodes: int = NODES,
    brief: int = BRIEF,
    deadline: Deadline = UNLIMITED,
) -> Search[LinearOptimum]:
    """`linear_optimum` as one of several searches, from given starts only.

    Args:
        paths: of this problem alone.
        starts: knots and levels; vectors for one ε, matrices for one per point.
        problem: its number among those that are searched together.
        nodes: of branching where a residual's sign is mixed; 0 for no such bound.
        brief: likewise, from the first start, before any other is polished.
        deadline: as there.
    """
    task = paths.tasks[0]
    if task.points > 1 and starts[0][1].ndim == 1:
        return (yield from _of_group(paths, starts, deadline))
    signs = certify_signs(paths)
    brief = min(brief, nodes)
    best, bound = yield from _search(paths, starts, signs, problem, nodes=brief, deadline=deadline)
    found, most = best.extremal, min(nodes, nodes_of_branching(task, best.arcs.effort))
    unproved = bound is None or not (_proves(best, bound) or brief >= most)
    if unproved and not signs.settled and nodes and found.cost > found.cost_error:
        bound = yield from _branched(task, problem, signs, best, most, deadline)
    lower = 0.0 if bound is None else bound.certain
    one = task.points == 1 and best.path.levels.ndim == 1
    if isinstance(bound, MixedBound) and not bound.closed and one and most == NODES and not deadline.passed:
        # Signs that change often are too many sets; a quadratic form around the optimum does not ask for signs.
        lower = max(lower, _quadratic(task, best, deadline))
    arrival = None
    if lower <= max(found.cost_error, EXACT_FRACTION * task.form.value(task.start)) and not deadline.passed:
        arrival = _arrival(task, deadline)
    if arrival is not None and arrival.schedule is not None:
        found = linear_extremal(task, *arcs_of(arrival.schedule, task.s, task.T))
    lower = min(max(lower, 0.0), found.cost)
    return LinearOptimum(found, best, arrival, signs, bound, lower)


def _of_group(paths: Paths, starts: Sequence[Start], deadline: Deadline) -> Search[LinearOptimum]:
    """`optimising` for one ε for several points; where no quadratic bound holds, by one weight per row."""
    task, signs, bound = paths.tasks[0], None, None
    tried = itertools.chain(starts, itertools.islice(best_pairs(task), MOST_PAIRS))
    best, _ = yield from _search(paths, tried, None, deadline=deadline)
    found, least = best.extremal, task.price * least_effort(task.length, task.bounds)
    lower = -np.inf if best.exact or deadline.passed else _quadratic(task, best, deadline) - least
    if lower <= 0.0 and found.cost > found.cost_error and not deadline.passed:
        signs = certify_signs(paths)
        bound = prove(paths, signs, found.cost, best.image, max_nodes=1, deadline=deadline)
        lower = max(lower, bound.certain)
    lower = min(max(lower, 0.0), best.objective - least)
    return LinearOptimum(found, best, None, signs, bound, lower)


def _quadratic(task: LinearTask, found: Polished, deadline: Deadline) -> float:
    """On the objective of any ε, by a quadratic form around the control that was found; −∞ where there is none.

    Within a budget B the extremal has a price ρ, at which no ε costs less than V: cost ≥ V − ρ∫|u| dt ≥ V − ρB.
    """
    given_up = found.path.task.price * task.budget if task.budget < np.inf else 0.0
    return quadratic_bound(found.path, deadline).value - given_up - found.extremal.cost_error


def nodes_of_branching(task: LinearTask, effort: float) -> int:
    """How far to branch over sign changes: briefly where a price or a spent budget keeps the cost above the bound."""
    binds = task.price > 0.0 or effort >= (1.0 - SPENT) * task.budget
    return BRIEF if binds else NODES


def _search(
    paths: Paths,
    starts: Iterable[Start],
    signs: SignCertificate | None,
    problem: int = 0,
    *,
    nodes: int = 0,
    deadline: Deadline,
) -> Search[tuple[Polished, DualBound | MixedBound | None]]:
    """The cheapest of the polished starts, and its bound: dual where the signs are settled, else by a brief branching.

    The first start that its bound proves the best ends the search. Of a group, without `signs`, nothing is proved here.
    """
    task, best, proof = paths.tasks[0], None, None
    for start in starts:
        if best is not None and deadline.passed:
            break
        found, bound = polish_linear(task, *start, deadline), None
        if signs is not None and signs.settled:
            bound = evaluate_dual(paths, found.image, signs.signs)
        elif signs is not None and not task.priced and best is None and not found.exact and nodes:
            bound = yield from _branched(task, problem, signs, found, nodes, deadline)
        if best is None or found.objective < best.objective:
            best, proof = found, bound
        if bound is not None and not task.priced and _proves(found, bound):
            break
    assert best is not None  # there is a first start
    return best, proof


def _branched(
    task: LinearTask, problem: int, signs: SignCertificate, found: Polished, nodes: int, deadline: Deadline
) -> Search[MixedBound]:
    """What branching proves from a schedule on, cutting finely where its residuals change their signs.

    e_j does so at those zeros of S_j = −(x_jᵀp)e_j at which it vanishes.
    """
    changes, zeros = [], found.extremal.zeros
    for j in range(task.points):
        times = zeros[min(j, len(zeros) - 1)]
        deltas = (np.asarray(found.path.at(times).theta) - task.target) @ task.basis
        residuals = np.abs(task.residual(deltas)[:, j])
        changes.append(times[residuals <= VANISHING * abs(task.residual(task.start)[j])].tolist())
    given = found.cost, found.image, GAP, nodes, deadline
    return (yield from branching(Reach.of(problem, task), signs, *given, changes=changes))


def _proves(run: Polished, bound: DualBound | MixedBound) -> bool:
    """Whether no further start can do better, up to what certificates leave open."""
    if isinstance(bound, MixedBound):
        return bound.closed
    return bool(run.cost - bound.certain <= PROVED * run.cost)


def _arrival(task: LinearTask, deadline: Deadline) -> ExactUnlearning | None:
    """The exact-unlearning schedule with the fewest switches, if it fits in the window and in the budget."""
    if not task.at_rest or task.price > 0.0:
        return None
    arrival = reach(task, deadline)
    if arrival.schedule is None or arrival.time > task.T:
        return None
    return arrival if effort_between(*arcs_of(arrival.schedule, task.s, task.T)) <= task.budget else None
