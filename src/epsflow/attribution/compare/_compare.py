"""`compare_attributions`: methods of attribution beside exact retraining."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int, Key

from ..._core import Array, InputError, Tabular, as_count, as_index_array, as_instance, as_share
from ...flow import checked, trained_optimum
from ...problem import Dataset, LogisticLoss, Problem, SoftmaxCrossEntropy
from .._keys import generator
from ..values._utility import ModelUtility
from ._agreement import Agreement, Interval, agreement, area_under_curve, bootstrap, rank_correlation
from ._removal import RemovalCurves, removal_curves
from ._scores import METHODS, Scores, Setting, exact_changes, scores_of

FRACTIONS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class AttributionComparison(Tabular):
    """Scores of points by several methods, and how well they predict exact retraining.

    Example:
        >>> data = ef.Dataset(np.array([[1.0], [1.0], [2.0]]), np.array([1.0, 2.0, 3.0]))
        >>> line = ef.linear_regression(data, [0], l2=1.0)
        >>> found = ef.compare_attributions(line, ["newton"], groups=3, fractions=())
        >>> np.allclose(found.scores["newton"].change, found.exact)  # exact for a quadratic risk
        True

    All are in units of φ, the mean loss at the test points: predicted changes upon removal, positive where a point
    helps.

    Attributes:
        names: of the methods, in the order in which they were asked for.
        scores: of each method, by name.
        exact: φ(θ(0)) − φ(θ(1)) of every point removed alone, by exact retraining, shape (n,). NaN, and left out of
            every comparison, where the retraining of a non-convex risk was not certified.
        groups: points of each group, shape (groups, q).
        group_exact: the same for every group, shape (groups,).
        single: agreement with `exact`, by method.
        grouped: agreement of summed scores with `group_exact`, by method.
        datamodelling: the linear datamodeling score of each method: the rank correlation of summed scores with
            `group_exact` over the groups, with its interval over resampled groups.
        curves: removal curves; None where no shares were asked for.
        detection: area under the curve of finding the mislabelled points as the least valued ones, with its interval
            over resampled points, by method; empty where none were named.
        top: how many points the overlap is of.
        confidence: level of the intervals.
        exact_seconds, exact_gradients: what exact leave-one-out took.
    """

    names: tuple[str, ...]
    scores: Mapping[str, Scores]
    exact: Float[np.ndarray, " n"]
    groups: Int[np.ndarray, "groups q"]
    group_exact: Float[np.ndarray, " groups"]
    single: Mapping[str, Agreement]
    grouped: Mapping[str, Agreement]
    datamodelling: Mapping[str, Interval]
    curves: RemovalCurves | None
    detection: Mapping[str, Interval]
    top: int
    confidence: float
    exact_seconds: float | None
    exact_gradients: int | None

    def _title(self) -> str:
        return "Attributions against exact retraining"

    def _facts(self) -> dict[str, object]:
        best = max(self.names, key=lambda name: np.nan_to_num(self.single[name].spearman, nan=-2.0))
        return {
            "methods": ", ".join(self.names),
            "points": len(self.exact),
            "groups": len(self.groups),
            "closest in order": best,
        }

    def _figures(self) -> dict[str, object]:
        return {
            "points": len(self.exact),
            "groups × points removed": f"{self.groups.shape[0]} × {self.groups.shape[1]}",
            "retrainings not certified": int(np.isnan(self.exact).sum() + np.isnan(self.group_exact).sum()),
            "overlap of the largest": self.top,
            "confidence": self.confidence,
            "exact leave-one-out, seconds": self.exact_seconds,
            "exact leave-one-out, gradients": self.exact_gradients,
        }

    def _rows(self) -> list[dict[str, Any]]:
        return [self._row(name) for name in self.names]

    def _row(self, name: str) -> dict[str, Any]:
        single, grouped, found = self.single[name], self.grouped[name], self.scores[name]
        row = {
            "method": name,
            "slope": single.slope,
            "rel. error": single.relative_error,
            "Spearman": single.spearman,
            f"top {self.top}": single.overlap,
            "group slope": grouped.slope,
            "group error": grouped.relative_error,
            "LDS": self.datamodelling[name].value,
            "LDS low": self.datamodelling[name].low,
            "LDS high": self.datamodelling[name].high,
        }
        if self.detection:
            row["AUC"] = self.detection[name].value
        if self.curves is not None:
            row["least − most"] = float(self.curves.drop[self.curves.names.index(name), 0])
        return {**row, "seconds": found.seconds, "gradients": found.gradients}


@checked
def compare_attributions(
    problem: Problem,
    methods: Sequence[str] | Mapping[str, Any] = ("influence", "newton", "pbrf", "shapley"),
    *,
    test: Dataset | None = None,
    theta: Float[Array, " d"] | Float[np.ndarray, " d"] | None = None,
    groups: int = 100,
    group_size: int | None = None,
    top: int | None = None,
    fractions: Sequence[float] = FRACTIONS,
    mislabelled: Any = None,
    utility: ModelUtility | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    confidence: float = 0.95,
    key: Key[Array, ""] | None = None,
) -> AttributionComparison:
    """Every method's scores against exact leave-one-out and leave-group-out, with what it cost.

    Example:
        >>> data = ef.Dataset(np.array([[1.0], [1.0], [2.0]]), np.array([1.0, 2.0, 3.0]))
        >>> line = ef.linear_regression(data, [0], l2=1.0)
        >>> ef.compare_attributions(line, ["newton"], groups=3, fractions=())
        AttributionComparison(methods=newton, points=3, groups=3, closest in order=newton)

    φ is the mean loss at the test points, and every score a predicted change of φ upon removal: −φ is the utility of
    Shapley and Banzhaf values. Exact values are φ(θ(0)) − φ(θ(1)) by `retrain_all`; random groups of the same size are
    removed together, and the sum of their scores is what a method predicts (the linear datamodeling score is the rank
    correlation over groups). Removal curves retrain without the most, and without the least, valued points.

    Args:
        problem: what is trained; its own `delete` plays no part.
        methods: names ("loo", "influence", "newton", "pbrf", "bif", "shapley", "banzhaf", "knn", "random"), or a
            mapping from names to None or to scores of your own, shape (n,), or `Scores` with what they cost. Shapley
            values are the mean of 200 permutations, Banzhaf values of 4,000 coalitions, unless their options say
            otherwise; their errors are in `scores`.
        test: points at which the model is judged. Default: the training points.
        theta: θ(1), shape (d,). Default: the optimum, for convex problems.
        groups: how many.
        group_size: points in each. Default: 1 % of them, at least 2.
        top: of how many largest changes the overlap is taken, at most all of them. Default: a tenth of the points.
        fractions: shares removed in the removal curves; () for none.
        mislabelled: points known to have wrong labels, whose detection is then measured.
        utility: −φ of coalitions, for non-convex problems (accuracy of removal curves comes from its own metric).
        options: further arguments of a method, by its name.
        confidence: level of the intervals.
        key: of groups, samplers and resampling. Default: jax.random.key(0).

    Raises:
        InputError: an unknown method, scores of another shape, bad options; a non-convex problem without θ.
        ConvergenceError: a method that did not converge, with its name.
    """
    names = _as_names(methods)
    given = dict(methods) if isinstance(methods, Mapping) else dict.fromkeys(names)
    chosen = jax.random.key(0) if key is None else key
    rng = generator(chosen)
    level = as_share(confidence, "confidence")
    data = problem.data
    held = data if test is None else as_instance(test, "test", Dataset, "write Dataset(x, y)")
    trained = trained_optimum(problem, theta)
    if utility is None and problem.convex and np.min(problem.penalty) > 0.0:
        utility = ModelUtility(problem, held, metric="loss")
    at = Setting(problem, trained, held, utility, chosen)
    size = max(2, round(0.01 * data.n)) if group_size is None else as_count(group_size, "group_size", least=1)
    if not size < data.n:
        raise InputError(f"group_size is {size}, and the data have {data.n} points; some must be left.")
    sets = np.stack([rng.choice(data.n, size=size, replace=False) for _ in range(as_count(groups, "groups", least=2))])
    exact, group_exact = exact_changes(at, "all"), exact_changes(at, sets).change
    alone, together = np.isfinite(exact.change), np.isfinite(group_exact)
    asked = options or {}
    unknown = set(asked) - set(names)
    if unknown:
        raise InputError(f"options are given for {sorted(unknown)[0]!r}, which is not among the methods.")
    scores = {name: scores_of(at, name, given[name], asked.get(name, {})) for name in names}
    columns = {name: found.change for name, found in scores.items()}
    most = int(alone.sum())
    count = max(1, most // 10) if top is None else _as_top(top, most)
    tenth = max(1, int(together.sum()) // 10)
    sums = {name: column[sets].sum(axis=1) for name, column in columns.items()}
    return AttributionComparison(
        names=names,
        scores=scores,
        exact=exact.change,
        groups=sets,
        group_exact=group_exact,
        single={name: agreement(column[alone], exact.change[alone], count) for name, column in columns.items()},
        grouped={name: agreement(sums[name][together], group_exact[together], tenth) for name in names},
        datamodelling={name: _lds(sums[name][together], group_exact[together], level, rng) for name in names},
        curves=_curves(at, columns, fractions, level, rng),
        detection=_detection(columns, mislabelled, level, rng, data.n),
        top=count,
        confidence=level,
        exact_seconds=exact.seconds,
        exact_gradients=exact.gradients,
    )


def _as_names(methods: object) -> tuple[str, ...]:
    if isinstance(methods, str) or not isinstance(methods, Sequence | Mapping) or not methods:
        raise InputError(f"methods is {methods!r}; a list of names is needed, for instance {list(METHODS)[:3]}.")
    strange = [name for name in methods if not isinstance(name, str)]
    if strange:
        raise InputError(f"methods lists {strange[0]!r}; names are needed: {', '.join(METHODS)}.")
    return tuple(dict.fromkeys(methods))


def _as_top(value: object, most: int) -> int:
    top = as_count(value, "top")
    if top > most:
        raise InputError(
            f"top is {top}, and {most} points have an exact change; the overlap is that of the largest, so name fewer, "
            f"or leave it out for a tenth of them, {max(1, most // 10)}."
        )
    return top


def _lds(sums: np.ndarray, exact: np.ndarray, level: float, rng: np.random.Generator) -> Interval:
    return bootstrap(lambda rows: rank_correlation(sums[rows], exact[rows]), len(exact), level, rng)


def _detection(
    columns: Mapping[str, np.ndarray], mislabelled: Any, level: float, rng: np.random.Generator, n: int
) -> dict[str, Interval]:
    if mislabelled is None:
        return {}
    wrong = np.zeros(n, bool)
    wrong[as_index_array(mislabelled, "mislabelled", n)] = True
    return {
        name: bootstrap(lambda rows, c=column: area_under_curve(-c[rows], wrong[rows]), n, level, rng)
        for name, column in columns.items()
    }


def _curves(
    at: Setting,
    columns: dict[str, np.ndarray],
    fractions: Sequence[float],
    level: float,
    rng: np.random.Generator,
) -> RemovalCurves | None:
    shares = np.asarray(fractions, dtype=np.float64)
    if not shares.size:
        return None
    if not ((shares >= 0.0) & (shares < 1.0)).all():
        raise InputError(f"fractions is {fractions}; shares of points to remove lie from 0 to below 1.")
    game = at.game()
    classes = isinstance(at.problem.loss, LogisticLoss | SoftmaxCrossEntropy)
    if classes and game.training == "newton":
        game = ModelUtility(at.problem, at.test, metric="accuracy")
    return removal_curves(game, columns, shares, level, rng)
