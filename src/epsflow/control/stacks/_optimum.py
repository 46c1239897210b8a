"""The certified optimum of many linear regressions: the common cases for the whole stack, the rest one by one.

With one deleted point and a residual e = xᵀδ − r that keeps its sign under every schedule, the problem is convex, and
Pontryagin's conditions suffice. Most optima have no switch or one. For these the sign of e is tested under ε ≡ 1 (which
decides it for all schedules), the backward path of the candidate's own π = δ(T) is followed, and D(π) is the bound, for
a stack at a time: see `docs/theory-control.md`. What is left goes on to `_rest.py`.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from ..._core import spelled
from ..bounds._paths import Paths, Request, one_sign
from ..linear._exponentials import Table, resolving_grids, sign_changes
from ..terms._kinds import EXACT_FRACTION, GLOBAL_GAP, Scope, Status
from ._families import BatchBest, best_late_steps, best_steps, single_switch_ends
from ._rest import Answer, Candidates, answer_rest
from ._stack import LinearBatch, Many

GRID = 97
"""Times of a graded grid."""


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
        methods: "stack" where it was found and certified with the others, "one by one" where it had to be polished.
    """

    costs: Many
    errors: Many
    lower_bounds: Many
    switches: Int[np.ndarray, " b"]
    statuses: tuple[Status, ...]
    scopes: tuple[Scope, ...]
    methods: tuple[str, ...]

    __repr__ = spelled


def certified_optima(
    batch: LinearBatch, *, nodes: int = 400, steps: BatchBest | None = None, stacked: bool = True
) -> BatchOptimum:
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
        stacked: whether to use the batched test at all. Without it every problem is polished.
    """
    down = best_steps(batch) if steps is None else steps
    up = best_late_steps(batch)
    late = up.costs < down.costs
    costs, errors = np.where(late, up.costs, down.costs), np.where(late, up.errors, down.errors)
    times = np.where(late, up.times, down.times)
    certified, settled = np.zeros((2, len(costs)), dtype=bool)
    bounds = np.zeros(len(costs))
    ends, one_point = single_switch_ends(batch, times - batch.s, late), batch.rows.shape[1] == 1
    if stacked and one_point:
        certified, bounds, settled = _certify(batch, costs, ends)
    switches = ((times > batch.s) & (times < batch.T)).astype(np.int64)
    answers = {
        int(k): Answer(
            float(costs[k]),
            float(errors[k]),
            float(min(bounds[k], costs[k])),
            int(switches[k]),
            Status.BANG_BANG,
            Scope.GLOBAL,
            "stack",
        )
        for k in np.flatnonzero(certified)
    }
    candidates = Candidates(costs, errors, ends, times, late, settled, (down.times, up.times))
    answers |= answer_rest(batch, candidates, np.flatnonzero(~certified), nodes, stacked and one_point)
    columns = tuple(zip(*(answers[k] for k in range(len(costs))), strict=True)) if answers else ((),) * 7
    found, error, lower = (np.array(column, dtype=np.float64) for column in columns[:3])
    return BatchOptimum(found, error, lower, np.array(columns[3], dtype=np.int64), *columns[4:])


def _certify(
    batch: LinearBatch, costs: Many, ends: Float[np.ndarray, "b d"]
) -> tuple[Bool[np.ndarray, " b"], Many, Bool[np.ndarray, " b"]]:
    """Which schedules are proved optimal, D(δ(T)) less its rounding, and which residuals keep their signs."""
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
    return proved & (costs - bounds <= GLOBAL_GAP * costs), bounds, settled


def _residual_signs(batch: LinearBatch) -> tuple[Int[np.ndarray, " b"], Bool[np.ndarray, " b"]]:
    """The sign of e(s), and whether e keeps it under ε ≡ 1, hence under every schedule."""
    high = batch.high
    start, row, shift = high.to_basis(batch.start), high.rows[:, 0], high.drift / high.rates
    # e(t) = Σ x_i (z_i − f_i/μ_i) e^{−μ_i t} + (Σ x_i f_i/μ_i − r): one more exponential, of rate 0.
    constant = (row * shift).sum(axis=1) - batch.residuals[:, 0]
    coefficients = np.column_stack([row * (start - shift), constant])
    rates = np.column_stack([high.rates, np.zeros(len(constant))])
    signs = np.where(coefficients.sum(axis=1) < 0.0, -1, 1)
    table = Table.of(rates, resolving_grids(rates, batch.length, GRID))
    changes = sign_changes(table, coefficients[:, None, :], signs[:, None], first=True)
    return signs, (changes.clear & np.isinf(changes.first))[:, 0]
