"""Medians, shares and comparisons in pairs, each with a bootstrap interval."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

RESAMPLES, LEVEL, SEED = 1_000, 0.95, 0
TIE = 1e-9
"""Costs that differ by less, relative to the larger, are equal: the searches stop at 1e-12, and 𝓔 is flat there."""


class Interval(NamedTuple):
    """An estimate with its 95 % bootstrap interval (percentiles); NaN bounds where one unit is all there is."""

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        if not np.isfinite(self.estimate):
            return "–"
        if not np.isfinite(self.low):
            return f"{self.estimate:.4g}"
        return f"{self.estimate:.4g} [{self.low:.4g}, {self.high:.4g}]"


def percent(interval: Interval) -> str:
    """A share in per cent."""
    if not np.isfinite(interval.estimate):
        return "–"
    bounds = "" if not np.isfinite(interval.low) else f" [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
    return f"{100 * interval.estimate:.1f}{bounds} %"


def bootstrap(
    values: Float[np.ndarray, " n"], statistic: Callable[..., np.ndarray], units: Sequence[object] | None = None
) -> Interval:
    """A statistic and its interval; units are resampled with all their values.

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

    # The percentile method: a share of 0 or 1 has no acceleration to correct for.
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


def _by_unit(values: Float[np.ndarray, " n"], units: Sequence[object]) -> Float[np.ndarray, "units most"]:
    """One row per unit, padded with NaN."""
    members: dict[object, list[float]] = {}
    for unit, value in zip(units, values.tolist(), strict=True):
        members.setdefault(unit, []).append(value)
    table = np.full((len(members), max(map(len, members.values()))), np.nan)
    for row, entries in zip(table, members.values(), strict=True):
        row[: len(entries)] = entries
    return table


class Pairs(NamedTuple):
    """Two costs of the same problems, compared.

    Attributes:
        better, equal, worse: shares of the runs in which the first is cheaper, equal within `TIE` and the costs' own
            errors, or dearer.
        ratio: median of second over first.
        p_value: of the two-sided sign test on the runs that are not ties; NaN without any.
        runs: how many.
    """

    better: Interval
    equal: Interval
    worse: Interval
    ratio: Interval
    p_value: float
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
    decided = int(better.sum() + worse.sum())
    p_value = float(stats.binomtest(int(better.sum()), decided).pvalue) if decided else float("nan")
    cheaper, same, dearer = (bootstrap(part.astype(np.float64), np.nanmean, units) for part in (better, equal, worse))
    finite = np.isfinite(ratio)
    kept = [unit for unit, good in zip(units, finite, strict=True) if good]
    return Pairs(cheaper, same, dearer, bootstrap(ratio[finite], np.nanmedian, kept), p_value, len(first))


def tied(
    first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"], errors: Float[np.ndarray, " n"]
) -> Bool[np.ndarray, " n"]:
    """Which pairs are equal as far as the numbers can tell."""
    return np.abs(first - second) <= TIE * np.maximum(first, second) + errors
