"""What a single switch does not settle: exact unlearning, more switches, and residuals of mixed sign.

For one deleted point each of these has a way of its own through which all problems of a stack go side by side. What is
then still open, and stacks with several deleted points, are polished and certified by the routes of `polish._exact`,
`polish._reach` and `bounds._branching`.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from ..bounds._ascent import maximising
from ..bounds._branching import GAP, MixedBound, branching
from ..bounds._dual import certify_signs, evaluate_dual
from ..bounds._paths import Paths
from ..bounds._sets import Reach
from ..bounds._together import Search, run, together
from ..linear._path import linear_extremal
from ..linear._pencil import advance, retreat
from ..linear._task import LinearTask
from ..polish._exact import Polished, polish_linear
from ..polish._reach import reach
from ..terms._kinds import VERIFIED_GAP, Scope, Status, negligible, scope_of
from ..terms._levels import arcs_of
from ._stack import LinearBatch, Many, cost_of_ends, rounding

EXTREMAL = 1e-7
"""PMP gap, in units of the cost, below which a candidate is worth proving: much less could not be gained."""

DUAL_GAP, PROVED = 1e-11, 1e-9
"""Gaps to the dual maximum, in units of the cost: where the search for it ends, and what is taken for the optimum."""

SHORT = 1e-5
"""Arcs shorter than this part of T − s are left to the polish, which tells whether they exist."""

GRID, NEWTON_STEPS = 33, 30
MOVED = 1e4
"""Times the cost that rounding leaves, which a pulse that arrives has taken away."""


class Answer(NamedTuple):
    """One problem's part of a `BatchOptimum`."""

    cost: float
    error: float
    lower_bound: float
    switches: int
    status: Status
    scope: Scope
    method: str


class Candidates(NamedTuple):
    """The best single switch of every problem.

    Attributes:
        costs, errors: 𝓔 and its rounding, shape (b,).
        ends: δ(T), shape (b, d).
        times: of the switch, shape (b,).
        late: 0 then 1, instead of 1 then 0; shape (b,).
        settled: whether e keeps its sign under every schedule, shape (b,).
        each: times of the best 1 then 0, and of the best 0 then 1.
    """

    costs: Many
    errors: Many
    ends: Float[np.ndarray, "b d"]
    times: Many
    late: Bool[np.ndarray, " b"]
    settled: Bool[np.ndarray, " b"]
    each: tuple[Many, Many]


class Case(NamedTuple):
    """One problem on its way.

    Attributes:
        task: the problem.
        starts: its single switches, the cheaper one first.
        cost, error, end, switches: of the best schedule so far: 𝓔, its rounding, δ(T), number of switches.
        polished: that schedule, where it is polished.
        bound: what branching has proved for it; None: not tried.
        arrived: whether it reaches the target in finite time.
    """

    task: LinearTask
    starts: list[tuple[np.ndarray, np.ndarray]]
    cost: float
    error: float
    end: Float[np.ndarray, " d"]
    switches: int
    polished: Polished | None = None
    bound: float | None = None
    arrived: bool = False

    def polish(self, start: int) -> "Case":
        """From one of the single switches. What branching has proved holds for the last digits of a cost, too."""
        best, task = polish_linear(self.task, *self.starts[start]), self.task
        end = (np.asarray(best.extremal.theta(task.T)) - task.target) @ task.basis
        bound = self.bound if best.cost >= (1.0 - PROVED) * self.cost else None
        switches = _switches(arcs_of(best.schedule, task.s, task.T)[1])
        error = float(best.extremal.cost_error)
        return self._replace(
            cost=float(best.cost), error=error, end=end, switches=switches, polished=best, bound=bound, arrived=False
        )

    @property
    def initial(self) -> float:
        """𝓔 if training ended at s."""
        return 0.5 * float(np.square(self.task.start).sum())

    def answer(self, lower: float, status: Status, scope: Scope) -> Answer:
        """What is said about it."""
        method = "stack" if self.polished is None else "one by one"
        return Answer(self.cost, self.error, lower, self.switches, status, scope, method)


def answer_rest(
    batch: LinearBatch, found: Candidates, members: Int[np.ndarray, " k"], nodes: int, side_by_side: bool
) -> dict[int, Answer]:
    """The certified optimum of some of the problems.

    Args:
        batch: all problems.
        found: of all problems.
        members: which of them are asked for.
        nodes: of branching.
        side_by_side: whether to try the routes for many problems; they are for one deleted point.
    """
    answers = _arrive(batch, members) if side_by_side else {}
    cases = {k: _candidate(batch, found, k) for k in members.tolist() if k not in answers}
    if side_by_side:
        cases = _worth_proving(batch, found, cases)
        tops, bounds = _search(cases, found.settled, nodes)
        attained = {k: _attained(cases[k], mu) for k, mu in tops.items()}
        answers |= {k: answer for k, answer in attained.items() if answer is not None}
        cases |= {k: cases[k]._replace(bound=bound.value) for k, bound in bounds.items()}
        closed = [k for k, bound in bounds.items() if bound.closed and not negligible(cases[k].cost, cases[k].initial)]
        answers |= {k: cases[k].answer(bounds[k].value, Status.BANG_BANG, Scope.GLOBAL) for k in closed}
    return answers | _by_polish({k: case for k, case in cases.items() if k not in answers}, nodes)


def _candidate(batch: LinearBatch, found: Candidates, k: int) -> Case:
    task, levels = batch.task(k), ((1.0, 0.0), (0.0, 1.0))
    starts = [_arcs(task, float(times[k]), pair) for times, pair in zip(found.each, levels, strict=True)]
    ordered = starts[::-1] if found.late[k] else starts
    switches = _switches(ordered[0][1])
    return Case(task, ordered, float(found.costs[k]), float(found.errors[k]), found.ends[k], switches)


def _switches(levels: np.ndarray) -> int:
    return int(np.count_nonzero(np.diff(levels)))


def _arrive(batch: LinearBatch, members: Int[np.ndarray, " k"]) -> dict[int, Answer]:
    """Exact unlearning with up to two parameters: ε = 0 for a while, 1 for a while, and 0 for the rest.

    Newton's method on δ = 0 in the two durations, from the best point of a grid.
    """
    if batch.rates.shape[1] > 2 or not len(members):
        return {}
    some = batch.take(members)
    unit, length = np.linspace(0.0, 1.0, GRID), some.length
    best, least = np.zeros((2, len(members))), np.full(len(members), np.inf)
    for a in unit:
        middle = advance(some.low, some.start, a * length)
        for b in unit[unit <= 1.0 - a]:
            costs = cost_of_ends(advance(some.high, middle, b * length))
            best = np.where(costs < least, np.array([[a], [b]]) * length, best)
            least = np.minimum(costs, least)
    for _ in range(NEWTON_STEPS):
        middle = advance(some.low, some.start, best[0])
        end = advance(some.high, middle, best[1])
        # ∂δ/∂a is carried along the second arc, without its drift.
        carried = retreat(some.high, -some.rates * middle, best[1])
        residual = ((some.rows[:, 0] * end).sum(axis=1) - some.residuals[:, 0])[:, None]
        jacobian = np.stack([carried, -some.rates * end - residual * some.rows[:, 0]], axis=2)
        best = best - (np.linalg.pinv(jacobian, rcond=1e-13) @ end[:, :, None])[:, :, 0].T
        best = np.clip(best, -length, 2.0 * length)
    inside = (best >= 0.0).all(axis=0) & (best.sum(axis=0) <= length)
    best = np.maximum(best, 0.0)
    waited = advance(some.low, some.start, best[0])
    reached = advance(some.high, waited, best[1])
    ends = advance(some.low, reached, length - best.sum(axis=0))
    costs, errors = cost_of_ends(ends), rounding(some, ends, 3)
    # It arrives when the pulse ends: after that anything decays. And the pulse must have brought it there.
    arrived, before = cost_of_ends(reached), cost_of_ends(waited)
    exact = inside & (arrived <= rounding(some, reached, 3)) & (before > MOVED * arrived)
    switches = (best[0] > 0.0).astype(np.int64) + (best.sum(axis=0) < length)
    return {
        int(members[k]): Answer(
            float(costs[k]), float(errors[k]), 0.0, int(switches[k]), Status.EXACT, Scope.GLOBAL, "stack"
        )
        for k in np.flatnonzero(exact)
    }


def _search(
    cases: dict[int, Case], settled: Bool[np.ndarray, " b"], nodes: int
) -> tuple[dict[int, np.ndarray], dict[int, MixedBound]]:
    """All searches for a bound together: the dual maximum where the sign is settled, branching where it is mixed."""
    if not cases:
        return {}, {}
    reaches = {k: Reach.of(place, case.task) for place, (k, case) in enumerate(cases.items())}
    one_sign = [k for k in cases if settled[k]]
    mixed = [k for k, case in cases.items() if not settled[k] and nodes > 0 and case.cost > case.error]
    ascents = together([maximising(reaches[k], cases[k].end, DUAL_GAP) for k in one_sign])
    # By nodes, never by the clock: a slower machine must prove the same.
    paths, places = Paths([case.task for case in cases.values()]), dict(zip(cases, range(len(cases)), strict=True))
    branches = together(
        [branching(reaches[k], certify_signs(paths, places[k]), cases[k].cost, cases[k].end, GAP, nodes) for k in mixed]
    )
    both: list[Search[list]] = [ascents, branches]
    tops, bounds = run(together(both), paths)
    return dict(zip(one_sign, tops, strict=True)), dict(zip(mixed, bounds, strict=True))


def _attained(case: Case, mu: np.ndarray) -> Answer | None:
    """Where e keeps its sign, the schedule that attains the dual maximum is the optimum; None if it is not clear."""
    task = case.task
    bound = evaluate_dual(Paths([task]), mu, np.where(task.residual(task.start) < 0.0, -1, 1))
    end = mu + bound.gradient @ task.basis
    cost, lower = 0.5 * float(end @ end), bound.certain
    resolved = np.diff(bound.knots).min() > SHORT * task.length
    if not resolved or lower <= 0.0 or cost - lower > PROVED * cost or negligible(cost, case.initial):
        return None
    # The bound's rounding is that of p and δ over the same arcs, and the cost's is no larger.
    switches = len(bound.levels) - 1
    return Answer(cost, bound.rounding, min(lower, cost), switches, Status.BANG_BANG, Scope.GLOBAL, "stack")


def _worth_proving(batch: LinearBatch, found: Candidates, cases: dict[int, Case]) -> dict[int, Case]:
    """Of mixed sign, only what satisfies Pontryagin's conditions can be proved: other candidates are polished."""
    mixed = np.array([k for k in cases if not found.settled[k]], dtype=np.int64)
    wrong = _wrong(batch.take(mixed), found, mixed) > EXTREMAL * found.costs[mixed]
    return cases | {k: cases[k].polish(0) for k in mixed[wrong].tolist()}


def _wrong(batch: LinearBatch, found: Candidates, asked: Int[np.ndarray, " k"]) -> Many:
    """∫[S u − min_v S v] dt along the candidates, on a grid: how far from Pontryagin's conditions they are."""
    late, first = found.late[asked][:, None], found.times[asked] - batch.s
    rest, row, total = batch.length - first, batch.rows[:, 0], np.zeros(len(asked))

    def after(delta: np.ndarray, elapsed: Many, high: np.ndarray) -> np.ndarray:
        return np.where(high, advance(batch.high, delta, elapsed), advance(batch.low, delta, elapsed))

    def before(p: np.ndarray, elapsed: Many, high: np.ndarray) -> np.ndarray:
        return np.where(high, retreat(batch.high, p, elapsed), retreat(batch.low, p, elapsed))

    p = found.ends[asked]
    switch = before(p, rest, late)
    for high, span, start, end in (
        (~late, first, batch.start, switch),
        (late, rest, after(batch.start, first, ~late), p),
    ):
        for share in np.linspace(0.0, 1.0, GRID):
            residual = (row * after(start, share * span, high)).sum(axis=1) - batch.residuals[:, 0]
            switching = -residual * (row * before(end, (1.0 - share) * span, high)).sum(axis=1)
            total += np.maximum(np.where(high[:, 0], switching, -switching), 0.0) * span / GRID
    return total


def _by_polish(cases: dict[int, Case], nodes: int) -> dict[int, Answer]:
    """Polish the single switches, cheaper one first; the other only where the first one's bound does not close."""
    firsts = {k: case if case.polished is not None else case.polish(0) for k, case in cases.items()}
    answers = _settle(firsts, nodes)
    others = {k: firsts[k].polish(1) for k, answer in answers.items() if answer.scope is not Scope.GLOBAL}
    cheaper = {k: other for k, other in others.items() if other.cost < (1.0 - PROVED) * firsts[k].cost}
    return answers | _settle(cheaper, nodes)


def _settle(cases: dict[int, Case], nodes: int) -> dict[int, Answer]:
    """Exact unlearning where it is possible, and the bound: dual where the sign is settled, by branching elsewhere."""
    arrived = {k: _arrived(case) for k, case in cases.items()}
    answers, bounds = {}, _lower_bounds(arrived, nodes)
    for k, case in arrived.items():
        assert case.polished is not None
        lower = min(max(bounds[k], 0.0), case.cost)
        scope = scope_of(case.cost, case.error, lower, exact=case.arrived)
        if scope is Scope.NONE and case.polished.extremal.pmp_gap <= VERIFIED_GAP * case.cost:
            scope = Scope.LOCAL
        status = Status.EXACT if case.arrived else Status.UNVERIFIED if scope is Scope.NONE else Status.BANG_BANG
        answers[k] = case.answer(lower, status, scope)
    return answers


def _arrived(case: Case) -> Case:
    """The schedule that reaches the target, where the cost has all but vanished."""
    task, best = case.task, case.polished
    if best is None or not (best.exact or best.may_vanish) or task.points > 1:
        return case
    arrival = reach(task)
    if arrival.schedule is None or arrival.time > task.T:
        return case
    knots, levels = arcs_of(arrival.schedule, task.s, task.T)
    found = linear_extremal(task, knots, levels)
    polished = replace(best, survey=best.survey._replace(extremal=found))
    return case._replace(
        cost=float(found.cost),
        error=float(found.cost_error),
        switches=_switches(levels),
        polished=polished,
        arrived=True,
    )


def _lower_bounds(cases: dict[int, Case], nodes: int) -> dict[int, float]:
    """D(π) where the sign is settled, what branching proves where it is not; for one point."""
    bounds: dict[int, float] = {}
    for k, case in cases.items():
        paths = Paths([case.task])
        signs = None if case.task.points > 1 else certify_signs(paths)
        if case.bound is not None or signs is None:
            bounds[k] = case.bound or 0.0
        elif signs.settled:
            bounds[k] = evaluate_dual(paths, case.end, signs.signs).certain
    mixed = {k: case for k, case in cases.items() if k not in bounds}
    _, found = _search(mixed, np.zeros(max(cases, default=0) + 1, dtype=bool), nodes)
    return {k: found[k].value if k in found else 0.0 for k in mixed} | bounds


def _arcs(task: LinearTask, time: float, levels: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    if time <= task.s:
        return np.array([task.s, task.T]), np.array(levels[1:])
    if time >= task.T:
        return np.array([task.s, task.T]), np.array(levels[:1])
    return np.array([task.s, time, task.T]), np.array(levels)
