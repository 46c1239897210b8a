"""`datamodeling_scores`: how well scores predict the removal of groups, of one trajectory and of several together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int, Key

from ..._core import Array, InputError, Tabular, as_count, as_instance, as_matrix, as_share
from ...flow import checked
from ...problem import Dataset, Problem
from .._keys import generator
from ..values._utility import ModelUtility
from ._agreement import Interval, bootstrap, rank_correlation
from ._scores import Setting, exact_changes, scores_of


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class DatamodelingScores(Tabular):
    """Linear datamodeling scores: rank correlations of summed scores with exact group removal.

    Example:
        >>> data = ef.Dataset(np.array([[1.0], [1.0], [2.0]]), np.array([1.0, 2.0, 3.0]))
        >>> line = ef.linear_regression(data, [0], l2=1.0)
        >>> found = ef.attribution.datamodeling_scores(line, ["newton"], thetas=np.array([9 / 7]), groups=3)
        >>> found.names, found.groups.shape
        (('newton',), (3, 2))

    Attributes:
        names: of the methods.
        single: mean over trajectories of the score of each against its own retraining, with its interval, by method.
        averaged: the score of the mean scores against the mean of all retrainings, with its interval, by method.
        groups: points of each group, shape (groups, q).
        exact: change of the mean test loss when a group is removed, of each trajectory, shape (seeds, groups). NaN, and
            left out, where a retraining was not certified.
        between: mean rank correlation of the exact changes of two trajectories: what no method that looks at one
            trajectory can tell of another. NaN for one trajectory.
        confidence: level of the intervals, over resampled groups.
    """

    names: tuple[str, ...]
    single: Mapping[str, Interval]
    averaged: Mapping[str, Interval]
    groups: Int[np.ndarray, "groups q"]
    exact: Float[np.ndarray, "seeds groups"]
    between: float
    confidence: float

    def _facts(self) -> dict[str, object]:
        return {
            "methods": ", ".join(self.names),
            "trajectories": len(self.exact),
            "groups × points removed": f"{self.groups.shape[0]} × {self.groups.shape[1]}",
            "rank correlation between trajectories": self.between,
            "confidence": self.confidence,
        }

    def _rows(self) -> list[dict[str, Any]]:
        return [
            {
                "method": name,
                "single": self.single[name].value,
                "low": self.single[name].low,
                "high": self.single[name].high,
                "averaged": self.averaged[name].value,
                "averaged low": self.averaged[name].low,
                "averaged high": self.averaged[name].high,
            }
            for name in self.names
        ]


@checked
def datamodeling_scores(
    problem: Problem,
    methods: Sequence[str],
    thetas: Any,
    *,
    test: Dataset | None = None,
    groups: int = 100,
    group_size: int | None = None,
    utility: ModelUtility | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    confidence: float = 0.95,
    key: Key[Array, ""] | None = None,
) -> DatamodelingScores:
    """The linear datamodeling score of each method, per single trajectory and over the average of several.

    Example:
        >>> data = ef.Dataset(np.array([[1.0], [1.0], [2.0]]), np.array([1.0, 2.0, 3.0]))
        >>> line = ef.linear_regression(data, [0], l2=1.0)
        >>> found = ef.attribution.datamodeling_scores(line, ["newton"], thetas=np.array([9 / 7]), groups=3)
        >>> found.exact.shape  # one row per trajectory, one column per group
        (1, 3)

    Every θ is retrained without each of many random groups, warm-started at itself, so that the truth of a trajectory
    is its own. Averages over trajectories say what the data do; single ones what they did to one model.

    Source: Park et al. (arXiv:2303.14186) for the score.

    Args:
        problem: what is trained; its own `delete` plays no part.
        methods: names, as in `compare_attributions`.
        thetas: trained parameters, one row per trajectory, shape (seeds, d); a single θ for one.
        test, groups, group_size, utility, options, confidence, key: as in `compare_attributions`.

    Raises:
        InputError: an unknown method, θ of another size, bad options.
        ConvergenceError: a retraining, or a method, that did not converge.
    """
    rows = as_matrix(np.atleast_2d(np.asarray(thetas)), "thetas", problem.dim)
    chosen = jax.random.key(0) if key is None else key
    rng = generator(chosen)
    level, count = as_share(confidence, "confidence"), as_count(groups, "groups", least=2)
    n = problem.data.n
    size = max(2, round(0.01 * n)) if group_size is None else as_count(group_size, "group_size")
    if not size < n:
        raise InputError(f"group_size is {size}, and the data have {n} points; some must be left.")
    sets = np.stack([rng.choice(n, size=size, replace=False) for _ in range(count)])
    held = problem.data if test is None else as_instance(test, "test", Dataset, "write Dataset(x, y)")
    exact, sums = [], {name: [] for name in methods}
    for theta in rows:
        at = Setting(problem, theta, held, utility, chosen)
        exact.append(exact_changes(at, sets).change)
        for name in methods:
            found = scores_of(at, name, None, (options or {}).get(name, {}))
            sums[name].append(found.change[sets].sum(axis=1))
    truth, predicted = np.array(exact), {name: np.array(each) for name, each in sums.items()}

    def single(name: str) -> Interval:
        def mean(index: np.ndarray) -> float:
            pairs = zip(predicted[name], truth, strict=True)
            return float(np.mean([rank_correlation(p[keep], e[keep]) for p, e in pairs for keep in [_known(e, index)]]))

        return bootstrap(mean, count, level, rng)

    def averaged(name: str) -> Interval:
        one, other = predicted[name].mean(axis=0), truth.mean(axis=0)

        def of_means(index: np.ndarray) -> float:
            keep = _known(other, index)
            return rank_correlation(one[keep], other[keep])

        return bootstrap(of_means, count, level, rng)

    return DatamodelingScores(
        names=tuple(methods),
        single={name: single(name) for name in methods},
        averaged={name: averaged(name) for name in methods},
        groups=sets,
        exact=truth,
        between=_between(truth),
        confidence=level,
    )


def _known(exact: Float[np.ndarray, " groups"], index: np.ndarray) -> np.ndarray:
    """Those of several groups whose retraining was certified."""
    return index[np.isfinite(exact[index])]


def _between(truth: Float[np.ndarray, "seeds groups"]) -> float:
    """Mean rank correlation over pairs of trajectories."""
    known = np.isfinite(truth).all(axis=0)
    pairs = [rank_correlation(truth[i, known], truth[j, known]) for i in range(len(truth)) for j in range(i)]
    return float(np.mean(pairs)) if pairs else float("nan")
