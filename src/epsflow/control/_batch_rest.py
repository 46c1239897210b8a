"""What a single switch does not settle: exact unlearning, more switches, and residuals of mixed sign.

For one deleted point each of these has a way of its own through which all problems of a stack go side by side. What is
then still open, and stacks with several deleted points, are polished and certified by the routes of `_polish.py`,
`_exact_unlearning.py` and `_convex.py`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from ._batch import LinearBatch, Many, cost_of_ends, high_arc, low_arc, rounding
from ._certify import GLOBAL_GAP, VERIFIED_GAP
from ._convex import branch_all, maximise_all
from ._dual import certify_control, evaluate_dual
from ._exact_unlearning import reach
from ._polish import Polished, polish_control
from ._pontryagin import linear_extremal
from ._propagators import LinearControl, arcs_of
from ._solution import EXACT_FRACTION, Scope, Status, is_exact

BRANCH_GAP, NO_CLOCK = 1e-6, float("inf")
EXTREMAL = 1e-7
"""PMP gap, in units of the cost, below which a candidate is worth proving: much less could not be gained."""
DUAL_GAP, PROVED = 1e-11, 1e-9
"""Gaps to the dual maximum, in units of the cost: where the search for it ends, and what is taken for the optimum."""
SHORT = 1e-5
"""Arcs shorter than this part of T − s are left to the polish, which tells whether they exist."""
GRID, NEWTON_STEPS = 33, 30


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
    answers: dict[int, Answer] = {}
    tried: dict[int, float] = {}
    if side_by_side and len(members):
        answers |= _arrive(batch, members)
        proved, tried = _branch(batch, found, _without(members, answers), nodes)
        answers |= proved
        answers |= _maximise(batch, found, _without(members, answers))
    return answers | _polish(batch, found, _without(members, answers), nodes, tried)


def _without(members: Int[np.ndarray, " k"], answers: dict[int, Answer]) -> Int[np.ndarray, " l"]:
    return np.array([k for k in members.tolist() if k not in answers], dtype=np.int64)


# ---- 𝓔 = 0 ------------------------------------------------------------------------------------------------------


def _arrive(batch: LinearBatch, members: Int[np.ndarray, " k"]) -> dict[int, Answer]:
    """Exact unlearning with up to two parameters: ε = 0 for a while, 1 for a while, and 0 for the rest.

    Newton's method on δ = 0 in the two durations, from the best point of a grid.
    """
    some = batch.take(members)
    if batch.rates.shape[1] > 2:
        return {}
    unit, length = np.linspace(0.0, 1.0, GRID), some.length
    best, least = np.zeros((2, len(members))), np.full(len(members), np.inf)
    for a in unit:
        middle = low_arc(some, some.start, a * length)
        for b in unit[unit <= 1.0 - a]:
            costs = cost_of_ends(high_arc(some, middle, b * length))
            best = np.where(costs < least, np.array([[a], [b]]) * length, best)
            least = np.minimum(costs, least)
    for _ in range(NEWTON_STEPS):
        middle = low_arc(some, some.start, best[0])
        end = high_arc(some, middle, best[1])
        # ∂δ/∂a is carried along the second arc, without its drift.
        still = high_arc(some, np.zeros_like(end), best[1])
        carried = high_arc(some, -some.rates * middle, best[1]) - still
        residual = ((some.rows[:, 0] * end).sum(axis=1) - some.residuals[:, 0])[:, None]
        jacobian = np.stack([carried, -some.rates * end - residual * some.rows[:, 0]], axis=2)
        best = best - (np.linalg.pinv(jacobian, rcond=1e-13) @ end[:, :, None])[:, :, 0].T
        best = np.clip(best, -length, 2.0 * length)
    inside = (best >= 0.0).all(axis=0) & (best.sum(axis=0) <= length)
    best = np.maximum(best, 0.0)
    ends = low_arc(some, high_arc(some, low_arc(some, some.start, best[0]), best[1]), length - best.sum(axis=0))
    costs, errors = cost_of_ends(ends), rounding(some, ends, np.full(len(members), 3))
    exact = inside & (costs <= EXACT_FRACTION * cost_of_ends(some.start))
    switches = (best[0] > 0.0).astype(np.int64) + (best.sum(axis=0) < length)
    return {
        int(members[k]): Answer(
            float(costs[k]), float(errors[k]), 0.0, int(switches[k]), Status.EXACT, Scope.GLOBAL, "stack"
        )
        for k in np.flatnonzero(exact)
    }


# ---- residuals of mixed sign ------------------------------------------------------------------------------------


def _branch(
    batch: LinearBatch, found: Candidates, members: Int[np.ndarray, " k"], nodes: int
) -> tuple[dict[int, Answer], dict[int, float]]:
    """Single switches that satisfy Pontryagin's conditions, proved by branching; the bounds of those that are not."""
    asked = members[~found.settled[members] & (found.costs[members] > found.errors[members])] if nodes else members[:0]
    asked = asked[_wrong(batch.take(asked), found, asked) <= EXTREMAL * found.costs[asked]]
    costs, ends = found.costs[asked].tolist(), list(found.ends[asked])
    # By nodes, never by the clock: a slower machine must prove the same.
    bounds = branch_all([batch.control(k) for k in asked.tolist()], costs, ends, BRANCH_GAP, (nodes, NO_CLOCK))
    switched = (found.times > batch.s) & (found.times < batch.T)
    answers = {
        k: Answer(
            float(found.costs[k]), float(found.errors[k]), bound.value, int(switched[k]), Status.BANG_BANG, Scope.GLOBAL,
            "stack",
        )
        for k, bound in zip(asked.tolist(), bounds, strict=True)
        if bound.closed
    }
    return answers, {k: bound.value for k, bound in zip(asked.tolist(), bounds, strict=True)}


def _wrong(batch: LinearBatch, found: Candidates, asked: Int[np.ndarray, " k"]) -> Many:
    """∫[S u − min_v S v] dt along the candidates, on a grid: how far from Pontryagin's conditions they are."""
    late, first = found.late[asked][:, None], found.times[asked] - batch.s
    rest, row, total = batch.length - first, batch.rows[:, 0], np.zeros(len(asked))

    def after(delta: np.ndarray, elapsed: Many, high: np.ndarray) -> np.ndarray:
        return np.where(high, high_arc(batch, delta, elapsed), low_arc(batch, delta, elapsed))

    def before(p: np.ndarray, elapsed: Many, high: np.ndarray) -> np.ndarray:
        still = high_arc(batch, np.zeros_like(p), elapsed)
        return np.where(high, high_arc(batch, p, elapsed) - still, low_arc(batch, p, elapsed))

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


# ---- several switches, one sign ---------------------------------------------------------------------------------


def _maximise(batch: LinearBatch, found: Candidates, members: Int[np.ndarray, " k"]) -> dict[int, Answer]:
    """Where e keeps its sign, the schedule that attains the dual maximum is the optimum."""
    asked = members[found.settled[members]].tolist()
    controls, answers = [batch.control(k) for k in asked], {}
    for k, control, mu in zip(asked, controls, maximise_all(controls, list(found.ends[asked]), DUAL_GAP), strict=True):
        signs = np.where(control.residual(control.start) < 0.0, -1, 1)
        bound = evaluate_dual(control, mu, signs)
        end = mu + bound.gradient @ control.basis
        cost = 0.5 * float(end @ end)
        lower, clean = bound.value - bound.rounding, np.diff(bound.knots).min() > SHORT * control.length
        if clean and 0.0 < lower and cost - lower <= PROVED * cost and cost > EXACT_FRACTION * _initial(control):
            error = float(rounding(batch.take(np.array([k])), end[None], np.array([len(bound.levels)]))[0])
            switches = len(bound.levels) - 1
            answers[k] = Answer(cost, error, min(lower, cost), switches, Status.BANG_BANG, Scope.GLOBAL, "stack")
    return answers


def _initial(control: LinearControl) -> float:
    return 0.5 * float(np.square(control.start).sum())


# ---- one by one -------------------------------------------------------------------------------------------------


def _polish(
    batch: LinearBatch, found: Candidates, members: Int[np.ndarray, " k"], nodes: int, tried: dict[int, float]
) -> dict[int, Answer]:
    """Polish the single switches, cheaper one first; the other only where the first one's bound does not close."""
    runs: dict[int, tuple[LinearControl, Polished]] = {}
    others: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for k in members.tolist():
        control = batch.control(k)
        levels = ((1.0, 0.0), (0.0, 1.0))
        starts = [_arcs(control, float(times[k]), pair) for times, pair in zip(found.each, levels, strict=True)]
        starts.sort(key=lambda start: float(linear_extremal(control, *start).cost))
        runs[k], others[k] = (control, polish_control(control, *starts[0])), starts[1]
    # What branching has proved for the candidate holds for its last digits, too.
    known = {k: tried[k] for k in runs if k in tried and runs[k][1].cost >= (1.0 - PROVED) * found.costs[k]}
    answers = _settle(runs, nodes, known)
    again = {}
    for k, answer in answers.items():
        if answer.scope is not Scope.GLOBAL:
            control, best = runs[k]
            other = polish_control(control, *others[k])
            if other.cost < (1.0 - PROVED) * best.cost:
                again[k] = control, other
    return answers | _settle(again, nodes, {})


def _settle(
    runs: dict[int, tuple[LinearControl, Polished]], nodes: int, known: dict[int, float]
) -> dict[int, Answer]:
    """Exact unlearning where it is possible, and the bound: dual where the sign is settled, by branching elsewhere."""
    extremals, switches = {}, {}
    for k, (control, best) in runs.items():
        schedule, extremals[k] = best.schedule, best.extremal
        if (best.exact or best.may_vanish) and control.points == 1:
            arrival = reach(control)
            if arrival.schedule is not None and arrival.time <= control.T:
                schedule = arrival.schedule
                extremals[k] = linear_extremal(control, *arcs_of(schedule, control.s, control.T))
        switches[k] = int(np.count_nonzero(np.diff(arcs_of(schedule, control.s, control.T)[1])))
    cases = [(k, control, extremals[k]) for k, (control, _) in runs.items()]
    answers = {}
    for (k, control, best), bound in zip(cases, _lower_bounds(cases, nodes, known), strict=True):
        cost, lower = float(best.cost), min(max(bound, 0.0), float(best.cost))
        exact = is_exact(cost, _initial(control))
        proved = exact or (lower > 0.0 and cost - lower <= GLOBAL_GAP * cost)
        verified = best.pmp_gap <= VERIFIED_GAP * cost
        status = Status.EXACT if exact else Status.BANG_BANG if proved or verified else Status.UNVERIFIED
        scope = Scope.GLOBAL if proved else Scope.LOCAL if verified else Scope.NONE
        answers[k] = Answer(cost, float(best.cost_error), lower, switches[k], status, scope, "one by one")
    return answers


def _lower_bounds(cases: list, nodes: int, known: dict[int, float]) -> list[float]:
    """D(π) where the sign is settled, what branching proves where it is not; for one point."""
    bounds, mixed = {k: known.get(k, 0.0) for k, *_ in cases}, []
    for k, control, best in cases:
        if control.points > 1 or k in known:
            continue
        pi, signs = (np.asarray(best.theta(control.T)) - control.target) @ control.basis, certify_control(control)
        if signs.settled:
            bound = evaluate_dual(control, pi, signs.signs)
            bounds[k] = bound.value - bound.rounding
        elif nodes > 0 and best.cost > best.cost_error:
            mixed.append((k, control, float(best.cost), pi))
    if mixed:
        names, controls, costs, ends = zip(*mixed, strict=True)
        found = branch_all(controls, costs, ends, BRANCH_GAP, (nodes, NO_CLOCK))
        bounds |= {k: bound.value for k, bound in zip(names, found, strict=True)}
    return [bounds[k] for k, *_ in cases]


def _arcs(control: LinearControl, time: float, levels: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    if time <= control.s:
        return np.array([control.s, control.T]), np.array(levels[1:])
    if time >= control.T:
        return np.array([control.s, control.T]), np.array(levels[:1])
    return np.array([control.s, time, control.T]), np.array(levels)
