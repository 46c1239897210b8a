"""Sums of exponentials Σ c_i e^{−μ_i t}: their zeros, and the grids that resolve them."""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import root_scalar

NOISE = 1e-13
"""A sum of exponentials below this fraction of its terms' moduli has no sign: two rotations made its coefficients."""

FLAT = 1e-3
"""log(1 + μ·length) up to which an exponential is resolved by times at equal distances."""

LARGE = 64
"""Rows of a matrix from which copies of it, one for each product, cost more than products."""

HALVINGS = 80
ENOUGH = 1e-9
"""Relative step at which a zero is known: Newton's next would be its square."""


class Table(NamedTuple):
    """n sets of rates, each with m sums of exponentials, on a grid.

    Attributes:
        rates: μ, shape (n, d).
        grid: ascending times from 0 that resolve them, shape (n, g). The last may be repeated.
        decays: e^{−μt} there, shape (n, d, g); or of k sets of rates, shape (k, d, g).
        which: the number of each set's decays among those; None where each has its own.
        length: of the interval that is looked at; what the grid has beyond counts as its end; shape (n,).
    """

    rates: Float[np.ndarray, "n d"]
    grid: Float[np.ndarray, "n g"]
    decays: Float[np.ndarray, "_ d g"]
    length: Float[np.ndarray, " n"]
    which: Int[np.ndarray, " n"] | None = None

    @staticmethod
    def of(rates: Float[np.ndarray, "n d"], grid: Float[np.ndarray, "n g"]) -> "Table":
        """Over the whole grid."""
        return Table(rates, grid, np.exp(-rates[:, :, None] * grid[:, None, :]), grid[:, -1])

    def read(
        self, coefficients: Float[np.ndarray, "n m d"]
    ) -> tuple[Float[np.ndarray, "n g"], Float[np.ndarray, "n k g"]]:
        """The times, and there the sums, their slopes, and their rounding, one below the other (k = 3m)."""
        steep = -self.rates[:, None, :] * coefficients
        parts = np.concatenate([coefficients, steep, NOISE * np.abs(coefficients)], axis=1)
        table = parts @ self.decays if self.which is None else products(parts, self.decays, self.which)
        if (self.grid[:, -1] > self.length).any():
            last = (parts * np.exp(-self.rates * self.length[:, None])[:, None, :]).sum(axis=2)
            table = np.where((self.grid < self.length[:, None])[:, None, :], table, last[:, :, None])
        return np.minimum(self.grid, self.length[:, None]), table


def products(
    rows: Float[np.ndarray, "n r d"], matrices: Sequence[np.ndarray] | np.ndarray, which: Int[np.ndarray, " n"]
) -> Float[np.ndarray, "n r e"]:
    """rows_i M, M the matrix of each i's number. Those of one large matrix are one product, which reads it once."""
    if isinstance(matrices, np.ndarray) and rows.shape[2] < LARGE:
        return rows @ matrices[which]
    found = np.empty((*rows.shape[:2], matrices[0].shape[1]))
    for k in set(which.tolist()):
        here = np.flatnonzero(which == k)
        found[here] = (rows[here].reshape(-1, rows.shape[2]) @ matrices[k]).reshape(len(here), *found.shape[1:])
    return found


class Changes(NamedTuple):
    """Where sums of exponentials change their signs.

    Attributes:
        times: ascending, filled up with ∞, shape (n, m, z).
        clear: whether rounding leaves nothing undecided before the first; shape (n, m).
    """

    times: Float[np.ndarray, "n m z"]
    clear: Bool[np.ndarray, "n m"]

    @property
    def first(self) -> Float[np.ndarray, "n m"]:
        """The first; ∞ where there is none."""
        return self.times[:, :, 0]


def sign_changes(
    table: Table, coefficients: Float[np.ndarray, "n m d"], side: Int[np.ndarray, "n m"], *, first: bool = False
) -> Changes:
    """Where Σ_i c_i e^{−μ_i t} changes its sign.

    A change between two times of the grid is bracketed, and so is an extremum between two of them that reaches across
    zero. What is below the rounding of its own terms has no sign and takes that of its neighbour.

    Args:
        table: rates and times.
        coefficients: c.
        side: the sign just after 0, where the sum may itself be zero; 0 to read it off.
        first: look for the first change only.
    """
    (times, read), m = table.read(coefficients), coefficients.shape[1]
    values, slopes, noise = read[:, :m], read[:, m : 2 * m], read[:, 2 * m :]
    signs, silent = _signs(values, noise, side)
    crossed = np.not_equal(signs[:, :, :-1], signs[:, :, 1:])
    before = np.logical_or.accumulate(crossed, axis=2)
    clear = np.logical_not((silent[:, :, 1:] & ~before).any(axis=2))
    dips = _dips(signs, values, slopes, np.diff(times)) & ~(before if first else crossed)
    if not crossed.any() and not dips.any():
        return Changes(np.full((*side.shape, 1), np.inf), clear)
    if first:
        crossed[:, :, 1:] &= ~before[:, :, :-1]
    which, j, cell = np.nonzero(crossed)
    brackets = [(which, j, times[which, cell], times[which, cell + 1], signs[which, j, cell])]
    which, j, cell = np.nonzero(dips)
    if which.size:
        begin, end, sign = times[which, cell], times[which, cell + 1], signs[which, j, cell]
        rates, c = table.rates[which], coefficients[which, j]
        turn = _zero(rates * c, rates, sign, begin, end)
        reached = np.exp(-rates * turn[:, None]) * c
        depth, rounding = sign * reached.sum(axis=1), NOISE * np.abs(reached).sum(axis=1)
        doubtful = np.abs(depth) <= rounding
        clear[which[doubtful], j[doubtful]] = False
        through = depth < -rounding
        which, j, begin, turn, end, sign = (part[through] for part in (which, j, begin, turn, end, sign))
        brackets += [(which, j, begin, turn, sign), (which, j, turn, end, -sign)]
    which, j, begin, end, sign = (np.concatenate(part) for part in zip(*brackets, strict=True))
    if first and which.size > 1:  # only the first bracket of each sum
        order = np.lexsort((begin, which * m + j))
        order = order[np.diff((which * m + j)[order], prepend=-1) != 0]
        which, j, begin, end, sign = (part[order] for part in (which, j, begin, end, sign))
    zeros = _zero(coefficients[which, j], table.rates[which], sign, begin, end)
    return Changes(_in_rows(which * m + j, zeros, values.shape[:2]), clear)


def _signs(
    values: Float[np.ndarray, "n m g"], noise: Float[np.ndarray, "n m g"], side: Int[np.ndarray, "n m"]
) -> tuple[Float[np.ndarray, "n m g"], Bool[np.ndarray, "n m g"]]:
    """The sign at every time, and where it was only that of the neighbour before (or, at the beginning, after)."""
    silent = np.abs(values) <= noise
    signs = np.sign(values)
    signs[:, :, 0] = np.where(side != 0, side, signs[:, :, 0])
    if silent[:, :, 1:].any() or (silent[:, :, 0] & (side == 0)).any():
        known = ~silent
        known[:, :, 0] |= side != 0
        places = np.maximum.accumulate(np.where(known, np.arange(values.shape[2]), 0), axis=2)
        # Before the first that is known, that one.
        places = np.maximum(places, known.argmax(axis=2)[:, :, None])
        signs = np.take_along_axis(signs, places, axis=2)
    return signs, silent


def _dips(
    signs: Float[np.ndarray, "n m g"],
    values: Float[np.ndarray, "n m g"],
    slopes: Float[np.ndarray, "n m g"],
    run: Float[np.ndarray, "n c"],
) -> Bool[np.ndarray, "n m c"]:
    """Between which neighbours a sum turns, towards zero and, as far as its tangents can tell, across it."""
    side, steep = signs[:, :, :-1], signs[:, :, :-1] * slopes[:, :, :-1]
    rising, length = signs[:, :, :-1] * slopes[:, :, 1:], run[:, None, :]
    turning = (steep < 0.0) & (rising > 0.0)
    # Where the two tangents meet well above zero, so does the curve over them.
    lower = np.minimum(side * values[:, :, :-1] + steep * length, side * values[:, :, 1:] - rising * length)
    return turning & (lower < 0.0)


def _zero(
    coefficients: Float[np.ndarray, "k d"],
    rates: Float[np.ndarray, "k d"],
    side: Float[np.ndarray, " k"],
    left: Float[np.ndarray, " k"],
    right: Float[np.ndarray, " k"],
) -> Float[np.ndarray, " k"]:
    """Where Σ c_i e^{−μ_i t} leaves its side between two times: Newton's method, kept in the bracket by halving."""
    low, high, t = left, right, 0.5 * (left + right)
    moving = np.full(len(t), True)
    for _ in range(HALVINGS):
        if not moving.any():
            break
        terms = np.exp(-rates * t[:, None]) * coefficients
        value = side * terms.sum(axis=1)
        slope = -side * (rates * terms).sum(axis=1)
        low, high = np.where(value > 0.0, t, low), np.where(value > 0.0, high, t)
        newton = t - value / np.where(slope == 0.0, np.nan, slope)
        then = np.where((low <= newton) & (newton <= high), newton, 0.5 * (low + high))
        # What has converged stays, however long the others take.
        t, moving = np.where(moving, then, t), moving & (np.abs(then - t) > ENOUGH * t)
    return t


def _in_rows(rows: Int[np.ndarray, " k"], times: Float[np.ndarray, " k"], shape: tuple[int, ...]) -> np.ndarray:
    """Times of each row ascending, and then ∞."""
    order = np.lexsort((times, rows))
    rows, times = rows[order], times[order]
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)
    table = np.full((int(np.prod(shape)), max(1, place.max(initial=0) + 1)), np.inf)
    table[rows, place] = times
    return table.reshape(*shape, -1)


class ExponentialSum(NamedTuple):
    """F(t) = Σ_i c_i e^{−μ_i t}.

    Attributes:
        coefficients: c, shape (d,).
        rates: μ, shape (d,).
    """

    coefficients: Float[np.ndarray, " d"]
    rates: Float[np.ndarray, " d"]

    def sign_changes(self, grid: Float[np.ndarray, " g"], side: int = 0) -> Float[np.ndarray, " zeros"]:
        """Where F changes its sign on the grid's range, ascending; see `sign_changes`."""
        table = Table.of(self.rates[None], grid[None])
        times = sign_changes(table, self.coefficients[None, None], np.array([[side]])).times[0, 0]
        return times[np.isfinite(times)]


def first_not_positive(
    function: Callable[[np.ndarray], np.ndarray],
    slope: ExponentialSum,
    grid: Float[np.ndarray, " g"],
    after: float = 0.0,
) -> tuple[float, float]:
    """The first time at which a function with this slope is ≤ 0, ∞ if it never is; and its least value.

    Args:
        function: of many times at once.
        slope: its derivative.
        grid: where to look, resolving the slope.
        after: the earliest time that counts.
    """
    ts = np.union1d(grid, slope.sign_changes(grid))
    if after > 0.0:
        ts = np.append(after, ts[ts > after])
    values = function(ts)
    below = np.flatnonzero(values <= 0.0)
    if not below.size:
        return np.inf, float(values.min())
    k = int(below[0])
    first = ts[0] if k == 0 else bracketed_zero(lambda t: float(function(np.array([t]))[0]), ts[k - 1], ts[k])
    return float(first), float(values.min())


def bracketed_zero(function: Callable[[float], float], left: float, right: float) -> float:
    """The zero between two times of opposite sign, to rounding (Brent)."""
    found = root_scalar(function, bracket=(float(left), float(right)), method="brentq", xtol=1e-300, rtol=1e-15)
    return float(found.root)


def resolving_grid(rates: Float[np.ndarray, " d"], length: float) -> Float[np.ndarray, " n"]:
    """A grid on [0, length] that resolves every e^{−μt}: geometric from 1/μ_max on, at both ends if some μ < 0.

    The rates ascend.
    """
    kappa = float(np.log1p(max(-float(rates[0]), float(rates[-1])) * length))
    x = _even(17 + 8 * math.ceil(kappa))
    grid = length * (np.expm1(kappa * x) / np.expm1(kappa) if kappa > FLAT else x)
    return grid if rates[0] >= 0.0 else np.union1d(grid, length - grid)


def resolving_grids(
    rates: Float[np.ndarray, "n d"], lengths: Float[np.ndarray, " n"], count: int
) -> Float[np.ndarray, "n g"]:
    """`resolving_grid` for many sets of rates ≥ 0, with as many times each: 97 are enough for μ_max·length = 2e4."""
    kappa = np.maximum(np.log1p(rates.max(axis=1) * lengths), FLAT)[:, None]
    return lengths[:, None] * (np.expm1(kappa * _even(count)) / np.expm1(kappa))


@lru_cache(maxsize=256)
def _even(count: int) -> Float[np.ndarray, " count"]:
    return np.linspace(0.0, 1.0, count)
