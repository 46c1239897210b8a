"""The certified optimum of many linear regressions: the common cases for the whole stack, the rest one by one.

With one deleted point and a residual e = xᵀδ − r that keeps its sign under every schedule, the problem is convex, and
Pontryagin's conditions suffice. Most optima have no switch or one. For these the sign of e is tested under ε ≡ 1 (which
decides it for all schedules), the backward path of the candidate's own π = δ(T) is followed through its one change of
xᵀp, and D(π) is the bound: everything in `docs/theory-control.md`, for a stack at a time. What is left goes on to
`_rest.py`.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from ..linear._exponentials import NOISE
from ..terms._kinds import EXACT_FRACTION, GLOBAL_GAP, Scope, Status
from ._families import BatchBest, best_late_steps, best_steps, single_switch_ends
from ._rest import Answer, Candidates, answer_rest
from ._stack import LinearBatch, Many, low_arc

GRID, BISECTIONS = 97, 60
"""Points of a graded grid, and halvings of a bracket: to the last digit of a double."""


class BatchOptimum(NamedTuple):
    """The best schedule found for each problem, and what is proved about it.

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


def certified_optima(
    batch: LinearBatch, *, nodes: int = 400, steps: BatchBest | None = None, stacked: bool = True
) -> BatchOptimum:
    """min 𝓔 over E_s for every problem, with a lower bound.

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
    certified, bounds, settled = (
        np.zeros(len(costs), dtype=bool),
        np.zeros(len(costs)),
        np.zeros(len(costs), dtype=bool),
    )
    ends, one_point = single_switch_ends(batch, times - batch.s, late), batch.rows.shape[1] == 1
    if stacked and one_point:
        certified, bounds, settled = _certify_single_switch(batch, times, late, costs, ends)
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


def _certify_single_switch(
    batch: LinearBatch, times: Many, late: Bool[np.ndarray, " b"], costs: Many, ends: Float[np.ndarray, "b d"]
) -> tuple[Bool[np.ndarray, " b"], Many, Bool[np.ndarray, " b"]]:
    """Which single switches are proved optimal, D(π) less its rounding, and which residuals keep their signs."""
    sign, settled = _residual_signs(batch)
    row, p = batch.rows[:, 0], ends
    side = np.where((row * p).sum(axis=1) < 0.0, -1.0, 1.0)
    first = sign * side > 0.0
    crossing, clear = _first_change(batch, p, first, side, batch.length)
    p, collected, _ = _backward(batch, p, first, crossing)
    rest = batch.length - crossing
    again, clear_again = _first_change(batch, p, ~first, -side, rest)
    p, more, _ = _backward(batch, p, ~first, rest)
    square = np.square(ends).sum(axis=1)
    value = -0.5 * square + (p * batch.start).sum(axis=1) + collected + more
    sizes = np.maximum(np.linalg.norm(batch.start, axis=1), np.linalg.norm(ends, axis=1))
    eps = ends.shape[1] * np.finfo(np.float64).eps
    bounds = value - eps * (1.0 + batch.high_rates[:, -1] * batch.T) * np.sqrt(square) * sizes
    initial = 0.5 * np.square(batch.start).sum(axis=1)
    proved = settled & clear & clear_again & (again >= rest) & (bounds > 0.0) & (costs > EXACT_FRACTION * initial)
    return proved & (costs - bounds <= GLOBAL_GAP * costs), bounds, settled


def _backward(
    batch: LinearBatch, p: np.ndarray, high: Bool[np.ndarray, " b"], elapsed: Many
) -> tuple[Float[np.ndarray, "b d"], Many, Float[np.ndarray, "b d"]]:
    """p after an arc of the backward path, the ∫ α r xᵀp that it collects, and the costate where it began."""
    costate = (p[:, None, :] @ batch.high_vectors)[:, 0]
    low = low_arc(batch, p, elapsed)
    moved = (batch.high_vectors @ (np.exp(-batch.high_rates * elapsed[:, None]) * costate)[:, :, None])[:, :, 0]
    integral = -np.expm1(-batch.high_rates * elapsed[:, None]) / batch.high_rates
    gathered = (costate * batch.high_drift * integral).sum(axis=1)
    return np.where(high[:, None], moved, low), np.where(high, gathered, 0.0), costate


def _residual_signs(batch: LinearBatch) -> tuple[Many, Bool[np.ndarray, " b"]]:
    """The sign of e(s), and whether e keeps it under ε ≡ 1, hence under every schedule."""
    start = (batch.start[:, None, :] @ batch.high_vectors)[:, 0]
    row = (batch.rows[:, 0][:, None, :] @ batch.high_vectors)[:, 0]
    shift = batch.high_drift / batch.high_rates
    # e(t) = Σ x_i (z_i − f_i/μ_i) e^{−μ_i t} + (Σ x_i f_i/μ_i − r): one more exponential, of rate 0.
    constant = (row * shift).sum(axis=1) - batch.residuals[:, 0]
    coefficients = np.column_stack([row * (start - shift), constant])
    rates = np.column_stack([batch.high_rates, np.zeros(len(constant))])
    side = np.where(coefficients.sum(axis=1) < 0.0, -1.0, 1.0)
    zero, clear = first_zero(coefficients, rates, side, batch.length)
    return side, clear & (zero >= batch.length)


def _first_change(
    batch: LinearBatch, p: np.ndarray, high: Bool[np.ndarray, " b"], side: Many, length: Many
) -> tuple[Many, Bool[np.ndarray, " b"]]:
    """When xᵀp first leaves its side on the backward path at one level, and whether the grid could tell."""
    row, choice = batch.rows[:, 0], high[:, None]
    turned = (row[:, None, :] @ batch.high_vectors)[:, 0] * (p[:, None, :] @ batch.high_vectors)[:, 0]
    coefficients = np.where(choice, turned, row * p)
    return first_zero(coefficients, np.where(choice, batch.high_rates, batch.rates), side, length)


def first_zero(
    coefficients: Float[np.ndarray, "b d"], rates: Float[np.ndarray, "b d"], side: Many, length: Many
) -> tuple[Many, Bool[np.ndarray, " b"]]:
    """The first t in [0, length] at which Σ c_i e^{−μ_i t} leaves its side; `length` where there is none.

    As `ExponentialSum.sign_changes`: a sign change between two points of a graded grid is bracketed, and so is an
    extremum that turns towards zero between two of them. What rounding leaves undecided is reported.

    Args:
        coefficients, rates: c and μ ≥ 0.
        side: the sign just after 0, ±1. The sum may begin at a zero.
        length: of the interval, ≥ 0.

    Returns:
        The times, and whether nothing could have been missed.
    """
    kappa = np.log1p(rates.max(axis=1) * length)[:, None]
    x = np.linspace(0.0, 1.0, GRID)
    scaled = np.where(kappa > 1e-3, np.expm1(kappa * x) / np.expm1(np.maximum(kappa, 1e-3)), x)
    grid = length[:, None] * scaled
    terms = np.exp(-rates[:, None, :] * grid[:, :, None]) * coefficients[:, None, :]
    values, noise = side[:, None] * terms.sum(axis=2), NOISE * np.abs(terms).sum(axis=2)
    slopes = -side[:, None] * (terms * rates[:, None, :]).sum(axis=2)
    crossed = values < -noise
    index = np.where(crossed[:, 1:].any(axis=1), 1 + np.argmax(crossed[:, 1:], axis=1), GRID)
    before = np.arange(GRID)[None, :] < index[:, None]
    # At 0 the sum may be zero itself: the second arc begins where the first one ended. Elsewhere noise has no sign.
    clear = ~((np.abs(values) <= noise)[:, 1:] & before[:, 1:]).any(axis=1)
    everyone, last = np.arange(len(index)), np.minimum(index, GRID - 1)
    found, left, right = index < GRID, grid[everyone, last - 1], grid[everyone, last]
    dips = (slopes[:, :-1] < 0.0) & (slopes[:, 1:] > 0.0) & before[:, 1:]
    # Latest first, so that the first of an item's dips is the one that counts.
    which, cells = (part[::-1] for part in np.nonzero(dips))
    c, mu, sign = coefficients[which], rates[which], side[which]
    turns = _halve(c * mu, mu, sign, grid[which, cells], grid[which, cells + 1])
    reached = np.exp(-mu * turns[:, None]) * c
    depths, rounding = sign * reached.sum(axis=1), NOISE * np.abs(reached).sum(axis=1)
    clear[which[np.abs(depths) <= rounding]] = False
    through = depths < -rounding
    found[which[through]] = True
    left[which[through]], right[which[through]] = grid[which, cells][through], turns[through]
    zeros = np.where(found, 0.0, length)
    zeros[found] = _halve(coefficients[found], rates[found], side[found], left[found], right[found])
    return zeros, clear


def _halve(
    coefficients: Float[np.ndarray, "b d"], rates: Float[np.ndarray, "b d"], side: Many, left: Many, right: Many
) -> Many:
    """Where Σ c_i e^{−μ_i t} leaves its side between two times."""
    for _ in range(BISECTIONS if len(left) else 0):
        middle = 0.5 * (left + right)
        inside = side * (np.exp(-rates * middle[:, None]) * coefficients).sum(axis=1) > 0.0
        left, right = np.where(inside, middle, left), np.where(inside, right, middle)
    return 0.5 * (left + right)
