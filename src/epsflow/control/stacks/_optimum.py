"""The certified optimum of many linear regressions: the common cases for the whole stack, the rest one by one.

With one deleted point and a residual e = xᵀδ − r that keeps its sign under every schedule, the problem is convex, and
Pontryagin's conditions suffice. Most optima have no switch or one. For these the sign of e is tested under ε ≡ 1 (which
decides it for all schedules), the backward path of the candidate's own π = δ(T) is followed, and D(π) is the bound, for
a stack at a time: see `docs/theory-control.md`. Exact unlearning with up to two parameters has a way of its own through
which all problems go side by side. For what is then still open, and for several deleted points, the searches of
`polish._optimum` run side by side: what they ask of `bounds` is computed together.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from ..._core import spelled
from ..bounds._paths import Paths, Request, one_sign
from ..bounds._together import run, together
from ..linear._exponentials import Table, resolving_grids, sign_changes
from ..linear._path import LinearPath
from ..linear._pencil import advance, retreat
from ..linear._task import LinearTask
from ..polish._optimum import LinearOptimum, Start, optimising
from ..terms._kinds import EXACT_FRACTION, GLOBAL_GAP, VERIFIED_GAP, Scope, Status, scope_of
from ._families import BatchBest, best_late_steps, best_steps, single_switch_ends
from ._stack import LinearBatch, Many, cost_of_ends, rounding

TIMES = 97
"""Of a graded grid."""

PULSES, NEWTON_STEPS = 33, 30
"""Beginnings, and lengths, of a pulse that are tried, and steps from the best of them."""

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


class BatchOptimum(NamedTuple):
    """The best schedule found for each problem, and what is proved about it.

    Example:
        >>> hessians, moments = np.array([[[5.0]]]), np.array([[8.0]])
        >>> rows, targets = np.array([[[1.0]]]), np.array([[1.0]])
        >>> start, s, T = np.zeros((1, 1)), np.array([0.1]), np.array([1.0])
        >>> batch = ef.control.linear_batch(hessians, moments, rows, targets, start, s, T)
        >>> ef.control.certified_optima(batch).scopes
        (<Scope.GLOBAL: 'global (certified)'>,)

    Attributes:
        costs: 𝓔, shape (b,).
        errors: bound on the rounding of `costs`, shape (b,).
        lower_bounds: no schedule in E_s costs less; shape (b,).
        switches: number of switches of ε inside (s, T), shape (b,).
        statuses: one `Status` each.
        scopes: one `Scope` each.
        methods: "stack" where the best single switch, or a pulse, was certified with the others; "one by one" where it
            had to be polished.
    """

    costs: Many
    errors: Many
    lower_bounds: Many
    switches: Int[np.ndarray, " b"]
    statuses: tuple[Status, ...]
    scopes: tuple[Scope, ...]
    methods: tuple[str, ...]

    __repr__ = spelled


def certified_optima(batch: LinearBatch, *, nodes: int = 400, steps: BatchBest | None = None) -> BatchOptimum:
    """min 𝓔 over E_s for every problem, with a lower bound.

    Example:
        >>> hessians, moments = np.array([[[5.0]]]), np.array([[8.0]])
        >>> rows, targets = np.array([[[1.0]]]), np.array([[1.0]])
        >>> start, s, T = np.zeros((1, 1)), np.array([0.1]), np.array([1.0])
        >>> batch = ef.control.linear_batch(hessians, moments, rows, targets, start, s, T)
        >>> ef.control.certified_optima(batch).switches
        array([1])

    Args:
        batch: the problems, all of them determined.
        nodes: of branching, where the residual's sign is mixed; 0 leaves such problems without a bound.
        steps: the best steps, if they are known already.
    """
    down, up = best_steps(batch) if steps is None else steps, best_late_steps(batch)
    late = up.costs < down.costs
    costs, errors, times = (
        np.where(late, *pair) for pair in ((up.costs, down.costs), (up.errors, down.errors), (up.times, down.times))
    )
    answers: dict[int, Answer] = {}
    if batch.rows.shape[1] == 1:
        certified, bounds = _certify(batch, costs, single_switch_ends(batch, times - batch.s, late))
        switches = (times > batch.s) & (times < batch.T)
        for k in np.flatnonzero(certified).tolist():
            cost, error, lower = float(costs[k]), float(errors[k]), float(min(bounds[k], costs[k]))
            answers[k] = Answer(cost, error, lower, int(switches[k]), Status.BANG_BANG, Scope.GLOBAL, "stack")
        answers |= _arrive(batch, np.flatnonzero(~certified))
    rest = [k for k in range(len(costs)) if k not in answers]
    answers |= dict(zip(rest, _search(batch, rest, (down.times, up.times), late, nodes), strict=True))
    columns = tuple(zip(*(answers[k] for k in range(len(costs))), strict=True)) if answers else ((),) * 7
    found, error, lower = (np.array(column, dtype=np.float64) for column in columns[:3])
    return BatchOptimum(found, error, lower, np.array(columns[3], dtype=np.int64), *columns[4:])


def _certify(batch: LinearBatch, costs: Many, ends: Float[np.ndarray, "b d"]) -> tuple[Bool[np.ndarray, " b"], Many]:
    """Which schedules are proved optimal, and D(δ(T)) less its rounding."""
    signs, settled = _residual_signs(batch)
    square, bounds = np.square(ends).sum(axis=1), np.zeros(len(costs))
    members = np.flatnonzero(settled)
    if members.size:
        tasks = [batch.task(k) for k in members.tolist()]
        requests = [
            Request(place, ends[k][None], [one_sign(task, signs[k : k + 1])])
            for place, (k, task) in enumerate(zip(members.tolist(), tasks, strict=True))
        ]
        least = np.array([answer.least[0] for answer in Paths(tasks)(requests)])
        bounds[members] = least - 0.5 * square[members]
    sizes = np.maximum(np.linalg.norm(batch.start, axis=1), np.linalg.norm(ends, axis=1))
    eps = ends.shape[1] * np.finfo(np.float64).eps
    bounds -= eps * (1.0 + batch.high.rates[:, -1] * batch.T) * np.sqrt(square) * sizes
    initial = 0.5 * np.square(batch.start).sum(axis=1)
    proved = settled & (bounds > 0.0) & (costs > EXACT_FRACTION * initial)
    return proved & (costs - bounds <= GLOBAL_GAP * costs), bounds


def _residual_signs(batch: LinearBatch) -> tuple[Int[np.ndarray, " b"], Bool[np.ndarray, " b"]]:
    """The sign of e(s), and whether e keeps it under ε ≡ 1, hence under every schedule."""
    high = batch.high
    start, row, shift = high.to_basis(batch.start), high.rows[:, 0], high.drift / high.rates
    # e(t) = Σ x_i (z_i − f_i/μ_i) e^{−μ_i t} + (Σ x_i f_i/μ_i − r): one more exponential, of rate 0.
    constant = (row * shift).sum(axis=1) - batch.residuals[:, 0]
    coefficients = np.column_stack([row * (start - shift), constant])
    rates = np.column_stack([high.rates, np.zeros(len(constant))])
    signs = np.where(coefficients.sum(axis=1) < 0.0, -1, 1)
    table = Table.of(rates, resolving_grids(rates, batch.length, TIMES))
    changes = sign_changes(table, coefficients[:, None, :], signs[:, None], first=True)
    return signs, (changes.clear & np.isinf(changes.first))[:, 0]


def _arrive(batch: LinearBatch, members: Int[np.ndarray, " k"]) -> dict[int, Answer]:
    """Exact unlearning with up to two parameters: ε = 0 for a while, 1 for a while, and 0 for the rest.

    Newton's method on δ = 0 in the two durations, from the best point of a grid.
    """
    if batch.rates.shape[1] > 2 or not len(members):
        return {}
    some = batch.take(members)
    unit, length = np.linspace(0.0, 1.0, PULSES), some.length
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
    batch: LinearBatch, members: Sequence[int], times: tuple[Many, Many], late: Bool[np.ndarray, " b"], nodes: int
) -> list[Answer]:
    """Polished from their best single switches, of which there are two, and searched for a bound side by side."""
    tasks, searches = [batch.task(k).grouped for k in members], []
    for place, (k, task) in enumerate(zip(members, tasks, strict=True)):
        starts = [_switch(task, float(at[k]), pair) for at, pair in zip(times, ((1.0, 0.0), (0.0, 1.0)), strict=True)]
        ordered = starts[::-1] if late[k] else starts
        # By nodes, never by the clock: a slower machine must prove the same.
        searches.append(optimising(Paths([task]), ordered, problem=place, nodes=nodes, brief=nodes))
    return [_answer(found) for found in run(together(searches), Paths(tasks))] if tasks else []


def _switch(task: LinearTask, time: float, levels: tuple[float, float]) -> Start:
    """One level until some time, and then another; without what is empty."""
    knots = np.array([task.s, time, task.T])
    kept = np.diff(knots) > 0.0
    return np.append(knots[:-1][kept], task.T), np.array(levels)[kept]


def _answer(found: LinearOptimum) -> Answer:
    extremal, exact = found.extremal, found.exact is not None
    scope = scope_of(extremal.cost, extremal.cost_error, found.lower_bound, exact=exact)
    if scope is Scope.NONE and extremal.pmp_gap <= VERIFIED_GAP * extremal.cost:
        scope = Scope.LOCAL
    status = Status.EXACT if exact else Status.UNVERIFIED if scope is Scope.NONE else Status.BANG_BANG
    assert isinstance(extremal.path, LinearPath)  # as all of linear regression
    switches = int(np.count_nonzero(np.diff(extremal.path.levels)))
    return Answer(extremal.cost, extremal.cost_error, found.lower_bound, switches, status, scope, "one by one")
