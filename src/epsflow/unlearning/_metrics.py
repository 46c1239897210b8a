"""Losses, the attack that tells deleted points from others by them, and intervals over models."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .._core import InputError, as_instance
from ..analysis import outputs_of
from ..problem import Dataset, Problem, pointwise
from ._scores import Points


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval.

    Attributes:
        estimate, low, high: numbers.
    """

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.estimate:.4g} [{self.low:.4g}, {self.high:.4g}]"


def losses(problem: Problem, thetas: Float[np.ndarray, "r d"], points: Points) -> Float[np.ndarray, "r q"]:
    """ℓ of every model and point."""
    with np.errstate(over="ignore", invalid="ignore"):  # noise may be as large as it likes
        return np.stack(
            [pointwise(problem.loss, outputs_of(problem.model, theta, points.x), points.y).values for theta in thetas]
        )


def as_points(problem: Problem, data: Dataset) -> Points:
    """The points of another data set.

    Raises:
        InputError: features that the model does not read.
    """
    as_instance(data, "test", Dataset, "write epsflow.Dataset(x, y)")
    if data.x.shape[1] != problem.data.x.shape[1]:
        raise InputError(
            f"{data.name} has {data.x.shape[1]} features, and the problem's data {problem.data.x.shape[1]}; both must "
            "be the same."
        )
    return Points(np.asarray(data.x), np.asarray(data.y))


def attack(deleted: Float[np.ndarray, "r m"], others: Float[np.ndarray, "r q"]) -> Float[np.ndarray, " r"]:
    """AUC of the attack that takes points of small loss for members: P(a deleted point's < another's) + ½ P(equal)."""
    below = (deleted[:, :, None] < others[:, None, :]).mean(axis=(1, 2))
    ties = (deleted[:, :, None] == others[:, None, :]).mean(axis=(1, 2))
    return below + 0.5 * ties


def mean_gap(
    first: Float[np.ndarray, " r"], second: Float[np.ndarray, " q"], confidence: float, *, within_one: bool = False
) -> Interval:
    """Mean of the first minus mean of the second, with Welch's interval.

    Args:
        first, second: independent samples.
        confidence: of the interval.
        within_one: whether values lie in [0, 1], as accuracies do. Then samples without any spread leave an interval as
            well: of what takes one value v in r draws, P(v) ≥ q = α^{1/r}, and the mean is in [qv, qv + 1 − q].
    """
    from scipy.special import stdtrit  # not spent by `import epsflow`

    estimate = float(first.mean() - second.mean())
    parts = [values.var(ddof=1) / values.size if values.size > 1 else 0.0 for values in (first, second)]
    variance = float(sum(parts))
    if not variance > 0.0:
        if not within_one:
            return Interval(estimate, estimate, estimate)
        (low, high), (least, most) = (_of_equals(values, 0.5 + 0.5 * confidence) for values in (first, second))
        return Interval(estimate, low - most, high - least)
    down = sum(p**2 / max(v.size - 1, 1) for p, v in zip(parts, (first, second), strict=True))
    half = float(stdtrit(variance**2 / down, 0.5 + 0.5 * confidence)) * math.sqrt(variance)
    return Interval(estimate, estimate - half, estimate + half)


def mean_interval(values: Float[np.ndarray, " r"], confidence: float, *, within_one: bool = False) -> Interval:
    """A mean with Student's interval; `within_one` as in `mean_gap`."""
    if within_one and not np.ptp(values) > 0.0:
        return Interval(float(values.mean()), *_of_equals(values, confidence))
    return mean_gap(values, np.zeros(1), confidence)


def _of_equals(values: Float[np.ndarray, " r"], confidence: float) -> tuple[float, float]:
    """What the mean may be of numbers in [0, 1] that all came out equal."""
    known = (1.0 - confidence) ** (1.0 / values.size)
    return known * float(values[0]), known * float(values[0]) + 1.0 - known


def size_of(gap: Interval) -> Interval:
    """|gap|, with the interval of what |x| may be."""
    low = 0.0 if gap.low <= 0.0 <= gap.high else min(abs(gap.low), abs(gap.high))
    return Interval(abs(gap.estimate), low, max(abs(gap.low), abs(gap.high)))
