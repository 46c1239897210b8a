"""When residuals change their signs: what is certain, and sets of controls by what is assumed of it.

A set says of every step and point: e ≥ 0, e ≤ 0, or not known. Bounds on what is not known are least values of ±e over
the convex set that holds all its controls (`_attainable`); each round of them uses those of the round before, so that
all are valid whenever it ends.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ._attainable import Hull, hull_of, one_sign
from ._task import StepTask

ROUNDS, SETTLING = 12, 0.99
"""Rounds of bounds on the residuals, and the factor by which one must shrink what is not known to be worth another."""

LARGEST_ROUND = 20_000_000
"""Numbers that a round may pass through beyond the first."""


@dataclass(frozen=True, eq=False)
class ControlSet:
    """The controls under which the residuals have given signs.

    Attributes:
        signs: 1, −1, or 0 where nothing is assumed; shape (N, m).
        low, high: bounds on e, shape (N, m).
    """

    signs: Int[np.ndarray, "N m"]
    low: Float[np.ndarray, "N m"]
    high: Float[np.ndarray, "N m"]

    def assuming(self, signs: Int[np.ndarray, "N m"]) -> "ControlSet":
        """The subset with other signs, where these say more."""
        low = np.where(signs > 0, np.maximum(self.low, 0.0), self.low)
        high = np.where(signs < 0, np.minimum(self.high, 0.0), self.high)
        return ControlSet(signs, low, high)

    @property
    def empty(self) -> bool:
        """Whether no control is in it."""
        return bool((self.low > self.high).any())

    def hull(self, task: StepTask) -> Hull:
        """What is known of the forces."""
        return hull_of(task.bounds, self.low, self.high)


def settled_signs(task: StepTask) -> tuple[Int[np.ndarray, " m"], int]:
    """σ_j of e_j(s), and for how many steps every e_j has it under all admissible controls; N + 1 if to the end.

    While the signs hold, the rule for α does not depend on where a path ends: one path backward from σ_jx_j serves all
    steps.
    """
    linear = task.linear
    signs = np.where(linear.residual(linear.start) < 0.0, -1, 1)
    hull = one_sign(task, signs)
    ends, offsets = signs[:, None] * linear.rows, signs * linear.residuals
    p, q, total = ends, np.zeros_like(ends), np.zeros(len(ends))
    rounding = task.rounding(task.radius) * np.linalg.norm(linear.rows, axis=1)
    for k in range(1, task.count):
        p, q, total = _back(task, hull, 0, p, q, total)
        margins = p @ linear.start + q @ task.velocity + total - offsets
        if (margins <= rounding).any():
            return signs, k
    return signs, task.count + 1


def _back(
    task: StepTask, hull: Hull, k: int, p: np.ndarray, q: np.ndarray, total: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Through step k: costates of δ and of v, shape (n, d), and what was collected, shape (n,)."""
    linear, eta = task.linear, task.size
    y = p + q
    g = eta * (y @ linear.rows.T)
    alpha = hull.slopes(k, g) * g
    gained = eta * (y @ linear.drift) + alpha @ linear.residuals - np.abs(g) @ hull.losses[k]
    return p - eta * linear.rates * y - alpha @ linear.rows, task.momentum * y, total + gained


def everything(task: StepTask, signs: Int[np.ndarray, " m"], until: int) -> ControlSet:
    """All controls; the signs are certain for the first steps, and the rest is bounded by norms."""
    linear, count = task.linear, task.count
    size = np.linalg.norm(linear.rows, axis=1)
    most, contracts = max(map(abs, task.bounds)), task.bounds[0] >= 0.0 and task.momentum == 0.0
    push = task.size * (float(np.linalg.norm(linear.drift)) + most * float(size @ np.abs(linear.residuals)))
    rate = task.size * (float(np.abs(linear.rates).max()) + most * float(size @ size))
    steps = np.arange(count)
    start, speed = float(np.linalg.norm(linear.start)), float(np.linalg.norm(task.velocity))
    if contracts and rate <= 2.0:  # ‖I − ηH_u‖ ≤ 1
        radius = start + steps * push
    else:
        radius = np.empty(count)
        for k in range(count):
            radius[k] = start
            speed = task.momentum * speed + rate * start + push
            start = min(start + speed, 1e150)
    bound = radius[:, None] * size + np.abs(linear.residuals)
    known = np.where(steps[:, None] < until, signs, np.zeros_like(signs))
    return ControlSet(known, -bound, bound).assuming(known)


def tightened(task: StepTask, given: ControlSet) -> ControlSet:
    """The same controls with better bounds, and signs where these settle them."""
    signs, left = given.signs, np.inf
    for round_ in range(ROUNDS):
        unknown = np.argwhere(given.signs == 0)
        if not unknown.size or given.empty:
            break
        width = float(np.minimum(given.high, -given.low)[given.signs == 0].sum())
        work = 2.0 * len(unknown) * task.count * len(task.linear.rates)
        if width > SETTLING * left or (round_ > 0 and work > LARGEST_ROUND):
            break
        left = width
        low, high = _bounds(task, given, unknown)
        at = tuple(unknown.T)
        lows, highs = given.low.copy(), given.high.copy()
        lows[at], highs[at] = np.maximum(lows[at], low), np.minimum(highs[at], high)
        signs = np.where(lows >= 0.0, 1, np.where(highs <= 0.0, -1, given.signs))
        given = ControlSet(signs, lows, highs)
    return given


def _bounds(task: StepTask, given: ControlSet, unknown: Int[np.ndarray, "n 2"]) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest e_kj that the set allows, for pairs (k, j) in the order of k."""
    linear, hull, steps = task.linear, given.hull(task), unknown[:, 0]
    rows = linear.rows[unknown[:, 1]]
    p = np.concatenate([rows, -rows])
    least = least_values(task, hull, np.concatenate([steps, steps]), p)
    r = linear.residuals[unknown[:, 1]]
    return least[: len(rows)] - r, -least[len(rows) :] - r


def least_values(
    task: StepTask, hull: Hull, steps: Int[np.ndarray, " n"], ends: Float[np.ndarray, "n d"]
) -> Float[np.ndarray, " n"]:
    """Lower bounds on cᵀδ_k for each step k and row c, over all controls that respect the hull."""
    order = np.argsort(-steps, kind="stable")
    p, q, total = ends[order].copy(), np.zeros_like(ends), np.zeros(len(ends))
    begun = np.searchsorted(-steps[order], -np.arange(int(steps.max()) + 1), side="right")
    for k in range(int(steps.max()) - 1, -1, -1):
        here = slice(0, int(begun[k + 1]))
        p[here], q[here], total[here] = _back(task, hull, k, p[here], q[here], total[here])
    values = np.empty(len(ends))
    values[order] = p @ task.linear.start + q @ task.velocity + total
    return values - task.rounding(task.radius) * np.linalg.norm(ends, axis=1)


def stays(task: StepTask, given: ControlSet, first: int, after: int, sign: int) -> bool:
    """Whether e, once it has a sign at one of the steps first … after, keeps it to the end (one point, no momentum).

    e_{k+1} = (1 − ηu‖x‖²)e_k + ηxᵀ(f − Λδ_k): with 0 ≤ ηu‖x‖² ≤ 1 it does where σxᵀ(f − Λδ_k) > 0 from then on,
    which is bounded over the controls whose e has the sign from `after` on.
    """
    linear, (low, high) = task.linear, task.bounds
    if (
        task.points > 1
        or task.momentum > 0.0
        or low < 0.0
        or task.size * high * float(np.square(linear.rows).sum()) > 1
    ):
        return False
    signs = given.signs.copy()
    signs[after:] = sign
    hull = given.assuming(signs).hull(task)
    steps = np.arange(first, task.count - 1)
    if not steps.size:
        return True
    c = -sign * linear.rates * linear.rows[0]
    least = least_values(task, hull, steps, np.tile(c, (len(steps), 1)))
    return bool((least + sign * float(linear.rows[0] @ linear.drift) > 0.0).all())


def parts(task: StepTask, given: ControlSet, step: int, point: int, windows: int) -> list[ControlSet]:
    """Smaller sets that make up the given one, by what e_j does in the block of unknown signs around a step.

    It keeps the sign that it has before the block, or first changes it in one of several windows.
    """
    column = given.signs[:, point]
    first = step
    while first > 0 and column[first - 1] == 0:
        first -= 1
    last = step
    while last < len(column) and column[last] == 0:
        last += 1
    sign = int(column[first - 1]) if first > 0 else 1
    # The first window is a single step, so that every part says more than the whole.
    edges = np.unique([first, *np.linspace(first + 1, last, windows + 1).round().astype(int).tolist()])
    found = [_with(given, point, slice(first, last), sign)]
    for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        part = _with(given, point, slice(first, begin), sign)
        if end - begin == 1:
            part = _with(part, point, slice(begin, end), -sign)
        found.append(_after(task, part, begin, end, last, point, -sign))
    return found


def _with(given: ControlSet, point: int, steps: slice, sign: int) -> ControlSet:
    signs = given.signs.copy()
    signs[steps, point] = sign
    return given.assuming(signs)


def _after(task: StepTask, given: ControlSet, begin: int, end: int, last: int, point: int, sign: int) -> ControlSet:
    """With the new sign for the rest of the block, where it is certain to stay."""
    if end >= last or not stays(task, given, begin, end, sign):
        return given
    return _with(given, point, slice(end, last), sign)
