"""Shapley values of nearest-neighbour classification, in closed form."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial.distance import cdist

from ..._core import InputError, Tabular, as_array, as_count, as_matrix
from ._utility import check_labels

DISTANCES = 4_000_000
"""Distances held at once (32 MB)."""


@dataclass(frozen=True, eq=False, repr=False)
class KNNShapley(Tabular):
    """Shapley values of n training points for a k-nearest-neighbour classifier, exact.

    Example:
        >>> x, y = np.array([[0.0], [1.0], [2.0]]), np.array([1, 0, 1])
        >>> ef.knn_shapley(x, y, np.array([[0.1]]), np.array([1]), k=1).full
        1.0

    Attributes:
        values: φ_i, shape (n,), in units of the share of votes for the right class.
        full: V(D), which they add up to; V(∅) = 0.
        k: number of neighbours that vote.
    """

    values: Float[np.ndarray, " n"]
    full: float
    k: int

    @property
    def change(self) -> Float[np.ndarray, " n"]:
        """−φ_i: the change of V upon removal of the point that the value stands for."""
        return -self.values

    @property
    def efficiency_gap(self) -> float:
        """Σφ_i − V(D), which is rounding."""
        return float(self.values.sum() - self.full)

    def _facts(self) -> dict[str, object]:
        return {"values": self.values, "k": self.k, "V(D)": self.full, "Σφ − V(D)": self.efficiency_gap}

    def _rows(self) -> list[dict[str, Any]]:
        return [{"point": i, "value": value} for i, value in enumerate(self.values)]


def knn_shapley(
    x: Any,
    y: Any,
    x_test: Any,
    y_test: Any,
    *,
    k: int,
) -> KNNShapley:
    """Shapley values of training points for V(S) = mean over test points of (1/k) Σ 1[label right], k nearest in S.

    Example:
        >>> x, y = np.array([[0.0], [1.0], [2.0]]), np.array([1, 0, 1])
        >>> ef.knn_shapley(x, y, np.array([[0.1]]), np.array([1]), k=1).values.round(4)
        array([ 0.8333, -0.1667,  0.3333])

    With the training points in the order of their distance from one test point, and 1_i whether the label of the i-th
    is the right one, s_n = 1_n/max(n, k) and s_i = s_{i+1} + (1_i − 1_{i+1})/max(k, i); the values are the means over
    the test points. Distances are Euclidean; points at the same distance count in the order of x. Coalitions smaller
    than k vote with what they have, of k votes: V(∅) = 0. Takes n log n per test point.

    Source: Jia et al. (arXiv:1908.08619), with max(n, k) where n < k.

    Args:
        x, y: training points, shape (n, p), and labels, shape (n,).
        x_test, y_test: test points, shape (m, p), and labels, shape (m,).
        k: number of neighbours that vote.

    Raises:
        InputError: shapes that do not match, NaN or infinity, no test points, labels of one class.
    """
    count = as_count(k, "k")
    features = np.ndim(x) and np.shape(x)[-1]
    train, tests = as_matrix(x, "x", features), as_matrix(x_test, "x_test", features)
    labels, expected = _labels(y, "y", len(train)), _labels(y_test, "y_test", len(tests))
    if not len(train) or not len(tests):
        raise InputError(f"x has {len(train)} points and x_test {len(tests)}; at least one of each is needed.")
    check_labels(None, labels)
    n, chunk = len(train), max(1, DISTANCES // len(train))
    # Σ_{j ≥ i} of the steps: the last term is 1_n/max(n, k), as if a wrong point followed at place n.
    widths = np.maximum(np.arange(1, n + 1), count).astype(np.float64)
    totals, full = np.zeros(n), 0.0
    for start in range(0, len(tests), chunk):
        rows = slice(start, start + chunk)
        distances = cdist(tests[rows], train, "sqeuclidean")
        for distance, label in zip(distances, expected[rows], strict=True):
            order = _nearest_first(distance)
            right = labels[order] == label
            totals[order] += _from_the_last(right, widths)
            full += float(right[:count].sum()) / count
    return KNNShapley(values=totals / len(tests), full=full / len(tests), k=count)


def _from_the_last(right: Bool[np.ndarray, " n"], widths: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """s_i for points in the order of distance."""
    steps = right.astype(np.float64)
    steps[:-1] -= right[1:]
    steps /= widths
    return np.cumsum(steps[::-1])[::-1]


def _nearest_first(distance: Float[np.ndarray, " n"]) -> np.ndarray:
    """Places in the order of distance; equal ones in their own order."""
    order = np.argsort(distance)  # several times faster than a stable sort, and the same where no two are equal
    ordered = distance[order]
    return np.argsort(distance, kind="stable") if (ordered[1:] == ordered[:-1]).any() else order


def _labels(y: object, name: str, n: int) -> np.ndarray:
    labels = as_array(y, name)
    if labels.shape != (n,):
        raise InputError(f"{name} has shape {labels.shape}; one label for each of {n} points is needed.")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise InputError(f"{name} contains NaN or infinity; every point needs a label.")
    return labels
