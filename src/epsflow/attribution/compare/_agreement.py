"""How well one column of numbers predicts another: size, order, and the largest; with bootstrap intervals."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import rankdata

RESAMPLES = 1_000


class Agreement(NamedTuple):
    """Of predictions p with exact values e.

    Example:
        >>> found = ef.attribution.agreement(np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 3.0]), 1)
        >>> float(found.spearman), float(found.overlap)
        (1.0, 1.0)

    Attributes:
        slope: Σpe/Σe², the share of the exact change that is predicted; 1 is right.
        relative_error: ‖p − e‖/‖e‖.
        spearman: rank correlation; NaN where a column is constant.
        overlap: share of the `top` largest |e| that are among as many largest |p|.
    """

    slope: float
    relative_error: float
    spearman: float
    overlap: float


class Interval(NamedTuple):
    """A number with a bootstrap interval.

    Example:
        >>> ef.attribution.Interval(0.5, 0.25, 0.75).high
        0.75
    """

    value: float
    low: float
    high: float


def agreement(predicted: Float[np.ndarray, " n"], exact: Float[np.ndarray, " n"], top: int) -> Agreement:
    """Slope, relative error, rank correlation, and overlap of the largest; NaN where the exact values are all zero.

    Example:
        >>> found = ef.attribution.agreement(np.array([1.0, 2.0]), np.array([2.0, 4.0]), 1)
        >>> float(found.slope), float(found.relative_error)
        (0.5, 0.5)

    Args:
        predicted: p.
        exact: e.
        top: of how many of the largest |e| and |p| the overlap is taken.
    """
    size = float(exact @ exact)
    largest = set(np.argsort(-np.abs(exact), kind="stable")[:top])
    guessed = set(np.argsort(-np.abs(predicted), kind="stable")[:top])
    return Agreement(
        slope=float(predicted @ exact) / size if size > 0.0 else float("nan"),
        relative_error=float(np.linalg.norm(predicted - exact)) / np.sqrt(size) if size > 0.0 else float("nan"),
        spearman=rank_correlation(predicted, exact),
        overlap=len(largest & guessed) / top,
    )


def rank_correlation(one: Float[np.ndarray, " n"], other: Float[np.ndarray, " n"]) -> float:
    """Spearman's, ties sharing their mean rank; NaN where a column is constant."""
    ranks = np.stack([rankdata(one), rankdata(other)])
    ranks -= ranks.mean(axis=1, keepdims=True)
    size = np.sqrt((ranks[0] @ ranks[0]) * (ranks[1] @ ranks[1]))
    return float(ranks[0] @ ranks[1] / size) if size > 0.0 else float("nan")


def area_under_curve(scores: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"]) -> float:
    """The chance that a positive point scores higher than another, ties counting half; NaN without both kinds."""
    ranks, count = rankdata(scores), int(positive.sum())
    others = len(scores) - count
    if not count or not others:
        return float("nan")
    return float((ranks[positive].sum() - 0.5 * count * (count + 1)) / (count * others))


def bootstrap(statistic: Callable[[np.ndarray], float], count: int, level: float, rng: np.random.Generator) -> Interval:
    """A statistic of rows (given by their indices) with the percentile interval over resampled rows."""
    drawn = np.array([statistic(rng.integers(count, size=count)) for _ in range(RESAMPLES)])
    value, finite = statistic(np.arange(count)), drawn[np.isfinite(drawn)]
    if not finite.size:  # such as the order of a constant
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(finite, [0.5 - 0.5 * level, 0.5 + 0.5 * level])
    return Interval(value, float(low), float(high))
