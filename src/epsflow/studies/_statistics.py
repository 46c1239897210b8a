"""Intervals and comparisons in pairs, for rows of which several may belong to one problem."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from .._core import share_bounds

RESAMPLES, LEVEL, SEED = 1_000, 0.95, 0
TIE = 1e-9
"""Costs that differ by less, relative to the larger, are equal: the searches stop at 1e-12, and 𝓔 is flat there."""


class Interval(NamedTuple):
    """An estimate with its 95 % interval; NaN bounds where one unit is all there is.

    Example:
        >>> print(ef.studies.Interval(0.5, 0.4, 0.61))
        0.5 [0.4, 0.61]
    """

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        if not np.isfinite(self.estimate):
            return "–"
        if not np.isfinite(self.low):
            return f"{self.estimate:.4g}"
        return f"{self.estimate:.4g} [{self.low:.4g}, {self.high:.4g}]"


class Share(Interval):
    """A share, or another ratio that is written in per cent.

    Example:
        >>> print(ef.studies.Share(0.5, 0.4, 0.61))
        50.0 [40.0, 61.0] %
    """

    __slots__ = ()

    def __str__(self) -> str:
        if not np.isfinite(self.estimate):
            return "–"
        estimate, low, high = (f"{round(100.0 * part, 1) + 0.0:.1f}" for part in self)  # + 0: never −0.0
        return f"{estimate} [{low}, {high}] %" if np.isfinite(self.low) else f"{estimate} %"


class PValue(float):
    """A probability; the smallest ones underflow."""

    def __str__(self) -> str:
        return "–" if np.isnan(self) else f"{float(self):.2g}" if self > 0.0 else "< 1e-300"


def share(mask: Bool[np.ndarray, " n"], units: Sequence[object] | None = None) -> Share:
    """A share p = k/n and its Clopper–Pearson interval: of all p that an exact binomial test at 2.5 % does not reject.

    Never empty: 0 of n says p ≤ 1 − 0.025^{1/n}. Where a unit has several rows, n is replaced by the effective number
    of independent rows, n_e = p(1 − p)/v with v = Σ_u (k_u − p n_u)²/n² the variance of p over units of n_u rows with
    k_u hits, and k by p·n_e (Korn and Graubard, Survey Methodology 24, 1998); where v says nothing, at p = 0 and
    p = 1, n_e is the number of units. With one row per unit n_e = n.

    Args:
        mask: which rows.
        units: what is independent. Default: each row.
    """
    n = len(mask)
    if n == 0:
        return Share(np.nan, np.nan, np.nan)
    members = _numbers(range(n) if units is None else units)
    sizes = np.bincount(members)
    hits = np.bincount(members, weights=np.asarray(mask, dtype=np.float64))
    p = float(hits.sum() / n)
    spread = float(np.sum(np.square(hits - p * sizes))) / n**2
    if p in (0.0, 1.0):
        effective = float(len(sizes))
    else:
        effective = min(p * (1.0 - p) / spread, float(n)) if spread > 0.0 else float(n)
    k, tail = p * effective, 0.5 * (1.0 - LEVEL)
    low, high = share_bounds(k, effective, tail)
    return Share(p, float(low), float(high))


def bootstrap(
    values: Float[np.ndarray, " n"], statistic: Callable[..., np.ndarray], units: Sequence[object] | None = None
) -> Interval:
    """A median, say, and its bootstrap interval; units are resampled with all their values. For shares see `share`.

    Args:
        values: finite numbers.
        statistic: `np.nanmean` or `np.nanmedian`: units may have different numbers of values.
        units: what is resampled: values of one unit are not independent. Default: each value.
    """
    if not len(values):
        return Interval(np.nan, np.nan, np.nan)
    table = _by_unit(values, range(len(values)) if units is None else units)
    estimate = float(statistic(values))
    if len(table) < 2:
        return Interval(estimate, np.nan, np.nan)

    def resampled(chosen: np.ndarray, axis: int = -1) -> np.ndarray:
        flat = table[np.moveaxis(chosen, axis, -1)]
        return statistic(flat.reshape(*flat.shape[:-2], -1), axis=-1)

    # The percentile method: where many values are equal there is no acceleration to correct for.
    found = stats.bootstrap(
        (np.arange(len(table)),),
        resampled,
        n_resamples=RESAMPLES,
        method="percentile",
        confidence_level=LEVEL,
        rng=np.random.default_rng(SEED),
        batch=max(1, 1_000_000 // table.size),
    )
    low, high = found.confidence_interval
    return Interval(estimate, float(low), float(high))


def student(values: Float[np.ndarray, " n"]) -> Interval:
    """The mean of independent values and Student's interval; NaN bounds for fewer than two."""
    count = len(values)
    if not count:
        return Interval(np.nan, np.nan, np.nan)
    estimate = float(np.mean(values))
    if count < 2:
        return Interval(estimate, np.nan, np.nan)
    half = float(stats.t.ppf(0.5 + 0.5 * LEVEL, count - 1) * np.std(values, ddof=1) / np.sqrt(count))
    return Interval(estimate, estimate - half, estimate + half)


class Ratio(NamedTuple):
    """Two positive costs of the same units, compared.

    Attributes:
        ratio: geometric mean of first over second, with Student's interval of the mean logarithm.
        p_value: of the paired t-test of the logarithms; NaN where all pairs are equal, or for fewer than two.
    """

    ratio: Interval
    p_value: PValue


def paired_ratio(first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"]) -> Ratio:
    """Of independent units; units in which one of the two is zero or not finite are left out."""
    good = np.isfinite(first) & np.isfinite(second) & (first > 0.0) & (second > 0.0)
    logs = np.log(first[good] / second[good])
    interval = Interval(*(float(np.exp(part)) for part in student(logs)))
    if len(logs) < 2 or not np.ptp(logs) > 0.0:
        return Ratio(interval, PValue(np.nan))
    t = np.mean(logs) / (np.std(logs, ddof=1) / np.sqrt(len(logs)))
    return Ratio(interval, PValue(2.0 * stats.t.sf(abs(t), len(logs) - 1)))


def holm(p_values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Holm's p-values: of n tests at once, those below α are wrong together with probability at most α.

    p'_(i) = max_{j ≤ i} min(1, (n − j + 1) p_(j)) in ascending order; NaN is left out (Holm, Scandinavian Journal of
    Statistics 6, 1979).
    """
    adjusted = np.full(len(p_values), np.nan)
    known = np.flatnonzero(np.isfinite(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * p_values[order]), 1.0)
    return adjusted


def _numbers(units: Sequence[object]) -> np.ndarray:
    """Units by number, in the order in which they come."""
    known: dict[object, int] = {}
    return np.array([known.setdefault(unit, len(known)) for unit in units])


def _by_unit(values: Float[np.ndarray, " n"], units: Sequence[object]) -> Float[np.ndarray, "units most"]:
    """One row per unit, padded with NaN."""
    members: dict[object, list[float]] = {}
    for unit, value in zip(units, values.tolist(), strict=True):
        members.setdefault(unit, []).append(value)
    table = np.full((len(members), max(map(len, members.values()))), np.nan)
    for row, entries in zip(table, members.values(), strict=True):
        row[: len(entries)] = entries
    return table


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Two costs of the same problems, compared.

    Example:
        >>> half, none = ef.studies.Share(0.5, 0.4, 0.6), ef.studies.Share(0.0, 0.0, 0.1)
        >>> ratio = ef.studies.Interval(1.2, 1.1, 1.3)
        >>> ef.studies.Pairs(better=half, equal=half, worse=none, ratio=ratio, p_value=0.01, runs=100).runs
        100

    Attributes:
        better, equal, worse: shares of the runs in which the first is cheaper, equal within `TIE` and the costs' own
            errors, or dearer.
        ratio: median of second over first.
        p_value: of the two-sided sign test on the units in which one of the two is cheaper more often; NaN without any.
        runs: how many.
    """

    better: Share
    equal: Share
    worse: Share
    ratio: Interval
    p_value: PValue
    runs: int


def compare(
    first: Float[np.ndarray, " n"],
    second: Float[np.ndarray, " n"],
    errors: Float[np.ndarray, " n"],
    units: Sequence[object],
) -> Pairs:
    """Costs in pairs; `errors` is the sum of what both may be off by."""
    equal = tied(first, second, errors)
    better, worse = (first < second) & ~equal, (first > second) & ~equal
    ratio = np.divide(second, first, out=np.full(len(first), np.inf), where=first > 0.0)
    finite = np.isfinite(ratio)
    kept = [unit for unit, good in zip(units, finite, strict=True) if good]
    balance = np.bincount(_numbers(units), weights=better.astype(np.float64) - worse)
    won, lost = int((balance > 0.0).sum()), int((balance < 0.0).sum())
    return Pairs(
        better=share(better, units),
        equal=share(equal, units),
        worse=share(worse, units),
        ratio=bootstrap(ratio[finite], np.nanmedian, kept),
        p_value=PValue(stats.binomtest(won, won + lost).pvalue if won + lost else np.nan),
        runs=len(first),
    )


def tied(
    first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"], errors: Float[np.ndarray, " n"]
) -> Bool[np.ndarray, " n"]:
    """Which pairs are equal as far as the numbers can tell."""
    return np.abs(first - second) <= TIE * np.maximum(first, second) + errors
