"""Many small linear regressions at once: the step and linear-decay families, searched for a whole stack of problems.

The questions of `_families.py`, for thousands of problems of one size, in NumPy with the problem as the first axis and
without a compilation. Every problem is in the eigenbasis of its own H_{-D} (see `linear._pencil`, f = 0), bounds are
[0, 1], and one ε serves all deleted points. What a problem's answer is does not depend on its neighbours in the stack.

A step is two matrix exponentials. A linear decay is a Taylor series of order 24 in time, which for many small problems
that are not stiff takes a third of the time of collocation (`flow._decays`); its end point is an entire function of t₁,
so it is computed at Chebyshev nodes only, and the search reads the interpolant.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from ..._core import spelled
from ..linear._interpolant import nodes as chebyshev, polynomials, transform
from ..linear._pencil import Spectrum, advance_through
from ..linear._search import least_in_box
from ._stack import LinearBatch, Many, cost_of_ends, rounding

Ends = Callable[[Float[np.ndarray, "b k"]], Float[np.ndarray, "b k d"]]
"""δ(T) of the members that fractions of the window pick."""

SCAN, REFINE = 201, 17
"""Points of the first scan (that of `best_in_family`), and of each scan of a smaller box."""

ORDER, REACH = 24, 2.0
"""Terms of the Taylor series, and ‖H‖·step: 2²⁴/24! = 3e-17 is what the last term leaves."""

TAIL = 1e-12
"""Size of the last Chebyshev coefficients, relative to the first, at which an interpolant counts as resolved."""


class BatchBest(NamedTuple):
    """The best member of one family, for every problem.

    Example:
        >>> hessians, moments = np.array([[[5.0]]]), np.array([[8.0]])
        >>> rows, targets = np.array([[[1.0]]]), np.array([[1.0]])
        >>> start, s, T = np.zeros((1, 1)), np.array([0.1]), np.array([1.0])
        >>> batch = ef.control.linear_batch(hessians, moments, rows, targets, start, s, T)
        >>> ef.control.best_steps(batch).times.round(6)
        array([0.183102])

    Attributes:
        times: τ, or t₁; shape (b,).
        costs: 𝓔, simulated with that member; shape (b,).
        errors: bound on the rounding of `costs`, shape (b,).
        resolved: whether the search could see the whole family, shape (b,).
    """

    times: Many
    costs: Many
    errors: Many
    resolved: Bool[np.ndarray, " b"]

    __repr__ = spelled


def single_switch_ends(batch: LinearBatch, elapsed: Many, late: Bool[np.ndarray, " b"]) -> Float[np.ndarray, "b d"]:
    """δ(T) under 1 then 0, or (`late`) 0 then 1, with the switch `elapsed` after s."""
    durations = elapsed, batch.length - elapsed
    down, up = (
        advance_through(pair, batch.start, durations) for pair in ((batch.high, batch.low), (batch.low, batch.high))
    )
    return np.where(late[:, None], up, down)


def baseline_costs(batch: LinearBatch) -> Many:
    """𝓔 of the notes' 1_[0,s].

    Example:
        >>> hessians, moments = np.array([[[5.0]]]), np.array([[8.0]])
        >>> rows, targets = np.array([[[1.0]]]), np.array([[1.0]])
        >>> start, s, T = np.zeros((1, 1)), np.array([0.1]), np.array([1.0])
        >>> batch = ef.control.linear_batch(hessians, moments, rows, targets, start, s, T)
        >>> ef.control.baseline_costs(batch)
        array([5.2592968e-05])
    """
    return cost_of_ends(np.exp(-batch.rates * batch.length[:, None]) * batch.start)


def rewound(
    batch: LinearBatch, depths: Float[np.ndarray, " k"]
) -> tuple[Float[np.ndarray, "b k"], Float[np.ndarray, "b k"]]:
    """‖θ − θ*_{-D}‖ of rewind-to-delete, θ(T) under 1_[0, T−K], and of descend-to-delete, θ(T+K) under 1_[0, T].

    Example:
        >>> hessians, moments = np.array([[[5.0]]]), np.array([[8.0]])
        >>> rows, targets = np.array([[[1.0]]]), np.array([[1.0]])
        >>> start, s, T = np.zeros((1, 1)), np.array([0.1]), np.array([1.0])
        >>> batch = ef.control.linear_batch(hessians, moments, rows, targets, start, s, T)
        >>> rewind, descend = ef.control.rewound(batch, np.array([0.0, 0.5]))
        >>> rewind.shape, bool(rewind[0, 0] == descend[0, 0])
        ((1, 2), True)

    Args:
        batch: the problems; their s does not matter.
        depths: K, between 0 and the least T.
    """
    trained = batch.T[:, None] * np.ones_like(depths)
    rest, pair = np.broadcast_to(depths, trained.shape), (batch.high, batch.low)
    ends = (advance_through(pair, batch.origin, (times, rest)) for times in (trained - depths, trained))
    checkpoints, descended = (np.linalg.norm(end, axis=2) for end in ends)
    return checkpoints, descended


def best_steps(batch: LinearBatch) -> BatchBest:
    """The best 1_[0,τ], s ≤ τ ≤ T.

    Example:
        >>> hessians, moments = np.array([[[5.0]]]), np.array([[8.0]])
        >>> rows, targets = np.array([[[1.0]]]), np.array([[1.0]])
        >>> start, s, T = np.zeros((1, 1)), np.array([0.1]), np.array([1.0])
        >>> batch = ef.control.linear_batch(hessians, moments, rows, targets, start, s, T)
        >>> ef.control.best_steps(batch).costs <= ef.control.baseline_costs(batch)
        array([ True])
    """
    return _best_switches(batch, batch.high, batch.low)


def best_late_steps(batch: LinearBatch) -> BatchBest:
    """The best schedule that is 0 from s to τ and 1 from τ to T."""
    return _best_switches(batch, batch.low, batch.high)


def _best_switches(batch: LinearBatch, first: Spectrum, second: Spectrum) -> BatchBest:
    length = batch.length[:, None]

    def ends(fractions: np.ndarray) -> np.ndarray:
        return advance_through((first, second), batch.start, (fractions * length, (1.0 - fractions) * length))

    return _least(batch, ends, ends, 2)


def _least(batch: LinearBatch, ends: Ends, exact: Ends, arcs: int) -> BatchBest:
    """The best fraction of the window for every problem: seen by `ends`, and computed again by as many exact arcs."""
    found = least_in_box(lambda x: cost_of_ends(ends(x[..., 0])), len(batch.rates), 1, grid=SCAN, refine=REFINE)
    fractions = found.points[:, 0]
    final = exact(found.points)[:, 0]
    costs, errors = cost_of_ends(final), rounding(batch, final, arcs)
    times = np.where(fractions >= 1.0, batch.T, batch.s + fractions * batch.length)
    return BatchBest(times, costs, errors, np.abs(costs - found.costs) <= 1e-9 * costs + 1e3 * errors)


def best_linear_decays(batch: LinearBatch) -> BatchBest:
    """The best line from 1 at s to 0 at t₁, s ≤ t₁ ≤ T.

    Example:
        >>> hessians, moments = np.array([[[5.0]]]), np.array([[8.0]])
        >>> rows, targets = np.array([[[1.0]]]), np.array([[1.0]])
        >>> start, s, T = np.zeros((1, 1)), np.array([0.1]), np.array([1.0])
        >>> batch = ef.control.linear_batch(hessians, moments, rows, targets, start, s, T)
        >>> ef.control.best_linear_decays(batch).costs <= ef.control.baseline_costs(batch)
        array([ True])

    Problems that take the same number of steps and nodes are computed together; each number is a function of the
    problem alone, so that the stack does not change the answer.
    """
    steps = np.maximum(1, np.ceil(batch.stiffness / REACH)).astype(np.int64)
    # e^{−Rt} on [0, 1] has Chebyshev coefficients of size e^{−k²/R}: √(37 R) of them reach rounding.
    nodes = (np.ceil((16.0 + np.sqrt(48.0 * batch.stiffness)) / 16.0) * 16.0).astype(np.int64)
    # Steps are rounded up to quarters of an octave, so that few groups are formed.
    octave = 2.0 ** np.floor(np.log2(steps))
    steps = (np.ceil(4.0 * steps / octave) * octave / 4.0).astype(np.int64)
    n = len(steps)
    best = BatchBest(np.empty(n), np.empty(n), np.empty(n), np.empty(n, dtype=bool))
    for count, size in sorted(set(zip(steps.tolist(), nodes.tolist(), strict=True))):
        members = np.flatnonzero((steps == count) & (nodes == size))
        for part, values in zip(best, _decays(batch.take(members), count, size), strict=True):
            part[members] = values
    return best


def _decays(batch: LinearBatch, steps: int, nodes: int) -> BatchBest:
    points = chebyshev(nodes + 1)
    coefficients = transform(nodes + 1) @ decay_ends(
        batch, np.broadcast_to(points, (len(batch.rates), nodes + 1)), steps
    )
    sizes = np.abs(coefficients).max(axis=2)
    resolved = sizes[:, -3:].max(axis=1) <= TAIL * sizes.max(axis=1)

    def ends(fractions: np.ndarray) -> np.ndarray:
        return polynomials(fractions, nodes + 1) @ coefficients

    best = _least(batch, ends, lambda fractions: decay_ends(batch, fractions, steps), steps + 1)
    return best._replace(resolved=best.resolved & resolved)


def decay_ends(batch: LinearBatch, fractions: Float[np.ndarray, "b k"], steps: int) -> Float[np.ndarray, "b k d"]:
    """δ(T) under lines that end at s + fraction·(T − s), by `steps` Taylor steps each."""
    width = fractions * batch.length[:, None]
    h = (width / steps)[:, :, None]
    rates, rows, residuals = batch.rates[:, None, :], batch.rows, batch.residuals[:, None, :]
    columns = rows.transpose(0, 2, 1)
    delta = np.broadcast_to(batch.start[:, None, :], (*fractions.shape, batch.start.shape[1]))
    for step in range(steps):
        level, slope = 1.0 - step / steps, -1.0 / steps
        term, total, before = delta, delta, 0.0
        for k in range(ORDER):
            # Coefficients of e = xᵀδ − r in powers of time over h; r is the constant one.
            now = term @ columns - (residuals if k == 0 else 0.0)
            force = (level * now + slope * before) @ rows
            term = (-h / (k + 1)) * (rates * term + force)
            total, before = total + term, now
        delta = total
    rest = (batch.length[:, None] - width)[:, :, None]
    return np.exp(-rates * rest) * delta
