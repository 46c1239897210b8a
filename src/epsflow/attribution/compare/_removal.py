"""Removal curves: the quality of a model as points leave in the order of their scores."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..._core import Axed, InputError, Labelled, Spelled, share_bounds
from ..values._utility import ModelUtility
from ._agreement import RESAMPLES, Interval


@dataclass(frozen=True, eq=False, repr=False)
class RemovalCurves(Spelled, Labelled):
    """Quality at the test points after each share of the points was removed, exactly retrained.

    Example:
        >>> data = ef.Dataset(np.array([[1.0], [1.0], [2.0]]), np.array([1.0, 2.0, 3.0]))
        >>> line = ef.linear_regression(data, [0], l2=1.0)
        >>> found = ef.compare_attributions(line, ["newton"], groups=3, fractions=(0.0, 0.4))
        >>> found.curves.fractions
        array([0.        , 0.33333333])

    Attributes:
        fractions: shares removed, shape (f,).
        names: the methods, in the order of the first axis below.
        most: removed from the most valued on, shape (methods, f).
        least: from the least valued on, shape (methods, f).
        most_interval, least_interval: over resampled test points; of accuracies Clopper and Pearson's, shape
            (methods, f, 2).
        drop: mean over the shares of quality lost beyond that of the least valued first: least − most, the area between
            the two curves, with its interval, shape (methods, 3).
        resampled: mean over the shares of `most`, for every resample of the test points, shape (resamples, methods).
        confidence: level of the intervals.
        metric: "accuracy" or "loss" (minus the mean loss).
    """

    fractions: Float[np.ndarray, " f"]
    names: tuple[str, ...]
    most: Float[np.ndarray, "methods f"]
    least: Float[np.ndarray, "methods f"]
    most_interval: Float[np.ndarray, "methods f 2"]
    least_interval: Float[np.ndarray, "methods f 2"]
    drop: Float[np.ndarray, "methods 3"]
    resampled: Float[np.ndarray, "resamples methods"]
    confidence: float
    metric: str

    def _arrays(self) -> dict[str, Axed]:
        return {
            "method": ("method", self.names),
            "fraction": ("fraction", self.fractions),
            "most": ("method fraction", self.most),
            "least": ("method fraction", self.least),
            "end": ("end", ("low", "high")),
            "most_interval": ("method fraction end", self.most_interval),
            "least_interval": ("method fraction end", self.least_interval),
        }

    def advantage(self, one: str, other: str) -> Interval:
        """By how much more quality is lost, in the mean over the shares, without the points that `one` values most.

        The interval is over test points resampled for both methods alike.

        Raises:
            InputError: a method that was not compared.
        """
        for name in (one, other):
            if name not in self.names:
                raise InputError(f"{name!r} was not compared; the methods are {', '.join(self.names)}.")
        first, second = self.names.index(one), self.names.index(other)
        drawn = self.resampled[:, second] - self.resampled[:, first]
        low, high = np.quantile(drawn, _tails(self.confidence))
        value = self.most[second].mean() - self.most[first].mean()
        return Interval(float(value), float(low), float(high))


def removal_curves(
    utility: ModelUtility,
    columns: dict[str, Float[np.ndarray, " n"]],
    fractions: Float[np.ndarray, " f"],
    level: float,
    rng: np.random.Generator,
) -> RemovalCurves:
    """Both curves of every column; a higher score is a more valued point."""
    n, counts = utility.n, np.round(fractions * utility.n).astype(int)
    members = np.ones((len(columns), 2, len(counts), n), bool)
    for m, column in enumerate(columns.values()):
        order = np.argsort(-column, kind="stable")
        for f, count in enumerate(counts):
            members[m, 0, f, order[:count]] = False
            members[m, 1, f, order[n - count :]] = False
    thetas, _ = utility.train(members.reshape(-1, n))
    each = utility.each(thetas)
    quality = each.mean(axis=1).reshape(members.shape[:3])
    tests = each.shape[1]
    # The same resampled test points for every curve, so that differences between curves are resampled as such.
    weights = rng.multinomial(tests, np.full(tests, 1.0 / tests), size=RESAMPLES) / tests
    drawn = (weights @ each.T).reshape(RESAMPLES, *members.shape[:3])
    tails = _tails(level)
    # A share of the test points has an exact interval, which is never of width zero; a mean loss is resampled.
    exact = utility.metric == "accuracy"
    ends = share_bounds(quality * tests, tests, tails[0]) if exact else np.quantile(drawn, tails, axis=0)
    interval = np.stack([ends[0], ends[1]], axis=-1)
    gaps = drawn[:, :, 1].mean(axis=2) - drawn[:, :, 0].mean(axis=2)
    between = quality[:, 1].mean(axis=1) - quality[:, 0].mean(axis=1)
    return RemovalCurves(
        fractions=counts / n,
        names=tuple(columns),
        most=quality[:, 0],
        least=quality[:, 1],
        most_interval=interval[:, 0],
        least_interval=interval[:, 1],
        drop=np.column_stack([between, *np.quantile(gaps, tails, axis=0)]),
        resampled=drawn[:, :, 0].mean(axis=2),
        confidence=level,
        metric=utility.metric,
    )


def _tails(level: float) -> list[float]:
    return [0.5 - 0.5 * level, 0.5 + 0.5 * level]
