"""Fitted estimators of scikit-learn as problems: model, loss, penalty and θ read off, the scale converted."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from .._core import Array, InputError, Shown, as_choice, brief
from ._columns import is_table
from ._dataset import Dataset
from ._losses import AbstractLoss, LogisticLoss, SoftmaxCrossEntropy, SquaredLoss
from ._models import MLP, AbstractModel, LinearModel
from ._problem import Problem, Which

STATIONARY = 1e-3
"""What may be left of ∇R in an entry, relative to the terms that cancel in it: scikit-learn's solvers stop at about
1e-4 of the gradient by default."""
ROUNDING = 1e-10
"""Share of the terms at θ = 0 below which the terms at a fit are taken for rounding."""

ROWS = 1_024
"""Points whose gradients are held at a time."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Fitted(Shown):
    """A fitted estimator as a problem, with the parameters it was fitted to.

    Example:
        >>> from sklearn.linear_model import Ridge
        >>> X, y = [[0.0], [1.0], [2.0]], [1.0, 2.0, 4.0]
        >>> ef.from_sklearn(Ridge(alpha=0.5).fit(X, y), X, y).stationary
        True

    Attributes:
        problem: what the estimator minimises, times a constant.
        theta: its parameters, in the order of the problem's model, shape (d,).
        objective: scikit-learn's objective, and the constant.
        stationarity: the largest |∇R|_k relative to the terms that cancel in it, λ_k|θ_k| + c Σ_i |∂ℓ_i/∂θ_k|: 0 at a
            stationary point.
        stationary: whether that is below 1e-3.
    """

    problem: Problem
    theta: Float[np.ndarray, " d"]
    objective: str
    stationarity: float
    stationary: bool

    def _facts(self) -> dict[str, object]:
        return {
            "model": type(self.problem.model).__name__,
            "loss": type(self.problem.loss).__name__,
            "parameters": self.problem.dim,
            "stationarity": self.stationarity,
        }

    def _title(self) -> str:
        return f"A fitted estimator on {self.problem.data.name}"

    def _figures(self) -> dict[str, object]:
        return {**self._facts(), "stationary": self.stationary, "objective": self.objective}


class Read(NamedTuple):
    """What is read off an estimator.

    Attributes:
        model, loss: f and ℓ.
        theta: its parameters, shape (d,).
        l2: λ of the summed risk.
        intercept: whether a column of ones belongs to the data.
        spared: whether intercepts are not penalised.
        classes: of a classifier.
        objective: in words.
    """

    model: AbstractModel
    loss: AbstractLoss
    theta: Float[np.ndarray, " d"]
    l2: Any
    intercept: bool
    spared: bool
    classes: tuple[Any, ...]
    objective: str


def from_sklearn(
    estimator: Any, X: Any, y: Any, *, delete: Which = None, reduction: str = "sum", sample_weight: Any = None
) -> Fitted:
    """The problem that a fitted estimator of scikit-learn has solved, and its θ.

    Example:
        >>> from sklearn.linear_model import Ridge
        >>> X, y = [[0.0], [1.0], [2.0]], [1.0, 2.0, 4.0]
        >>> ef.from_sklearn(Ridge(alpha=0.5).fit(X, y), X, y, delete=[2]).problem.penalty
        array([0.5, 0. ])

    LinearRegression, Ridge, LogisticRegression (penalty l2 or none), MLPClassifier, MLPRegressor, or a pipeline that
    ends in one of them: what comes before it is applied, and held fixed when points are deleted. Intercepts are
    parameters like others, and are penalised only where the estimator does so.

    Args:
        estimator: fitted.
        X, y: what it was fitted on: arrays or a table.
        delete: the points to be forgotten, as in `Problem`.
        reduction: "sum" or "mean".
        sample_weight: that it was fitted with, shape (n,). `class_weight` is read off.

    Raises:
        InputError: an estimator that is not known or not fitted, an objective without second derivatives, weights of
            the points of a network, or a θ of a convex objective that is no stationary point of it: other data, or a
            loose tolerance.
    """
    as_choice(reduction, "reduction", ("sum", "mean"))
    last, features, names = _through_pipeline(estimator, X)
    reader = _reader_of(last)
    _check_fitted(last)
    targets = np.asarray(y)
    read = reader(last, features, targets)
    if read.classes:
        targets = _numbered(targets, read.classes)
    data = Dataset(features, targets, name=type(last).__name__, features=names, classes=read.classes)
    data = data.add_intercept() if read.intercept else data
    scale = 1.0 if reduction == "sum" else 1.0 / data.n
    weights = _point_weights(last, y, sample_weight)
    spared = {"penalise_intercept": not read.spared, "sample_weight": weights}
    problem = Problem(read.model, read.loss, data, delete, scale * read.l2, reduction, **spared)
    left = stationarity(problem, read.theta)
    if problem.convex and not left <= STATIONARY:
        raise InputError(
            f"the parameters of this {type(last).__name__} are no stationary point of its objective on these data "
            f"(relative gradient {left:.1g}, where {STATIONARY:g} is allowed): give the X and y that it was fitted on, "
            "with the sample weights; or fit it with a smaller tol and more iterations."
        )
    return Fitted(
        problem=problem, theta=read.theta, objective=read.objective, stationarity=left, stationary=left <= STATIONARY
    )


def stationarity(problem: Problem, theta: Array) -> float:
    """max_k |∇R|_k / (λ_k|θ_k| + c Σ_i |∂ℓ_i/∂θ_k|), of the risk with all points.

    Where the data are fitted exactly, all of that is rounding, of the same terms at θ = 0.
    """
    left = np.abs(np.asarray(problem.gradient(theta, 1.0)))
    total = np.maximum(_sizes(problem, np.asarray(theta)), ROUNDING * _sizes(problem, np.zeros(problem.dim)))
    return float(np.max(left / np.where(total > 0.0, total, 1.0)))


def _sizes(problem: Problem, theta: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
    """The sum of the sizes of the terms of each component of ∇R."""
    total = np.abs(np.broadcast_to(problem.penalty, problem.dim) * theta)
    for start in range(0, problem.data.n, ROWS):
        rows = np.arange(start, min(start + ROWS, problem.data.n))
        total = total + np.abs(np.asarray(problem.point_gradients(theta, rows))).sum(axis=0)
    return total


def _through_pipeline(estimator: Any, X: Any) -> tuple[Any, np.ndarray, tuple[str, ...]]:
    """The last step of a pipeline, its features, and their names."""
    names = tuple(map(str, X.columns)) if is_table(X) and hasattr(X, "columns") else ()
    fitted, shape = getattr(estimator, "n_features_in_", None), np.shape(X)
    if fitted is not None and len(shape) == 2 and shape[1] != fitted:
        raise InputError(
            f"X has {shape[1]} columns, and this {type(estimator).__name__} was fitted on {fitted}: give the X that it "
            "was fitted on."
        )
    steps = getattr(estimator, "steps", None)
    if steps is not None:
        first = estimator[:-1]
        X = first.transform(X) if len(steps) > 1 else X
        try:
            names = tuple(map(str, first.get_feature_names_out(names or None))) if len(steps) > 1 else names
        except (AttributeError, ValueError, TypeError):  # a step that gives none
            names = ()
        estimator = steps[-1][1]
    if hasattr(X, "toarray"):
        X = X.toarray()  # a transformer's own, of the size that the estimator was fitted on
    features = np.asarray(X, dtype=np.float64)
    return estimator, features, names if len(names) == features.shape[-1] else ()


Reader = Callable[[Any, np.ndarray, np.ndarray], Read]


def _reader_of(estimator: Any) -> Reader:
    try:
        from sklearn import linear_model, neural_network
    except ImportError as error:
        raise InputError("scikit-learn is missing: `pip install scikit-learn`.") from error
    known: list[tuple[type, Reader]] = [
        (linear_model.LogisticRegression, _logistic),
        (linear_model.LinearRegression, _least_squares),
        (linear_model.Ridge, _ridge),
        (neural_network.MLPClassifier, _network),
        (neural_network.MLPRegressor, _network),
    ]
    for kind, reader in known:
        if isinstance(estimator, kind):
            return reader
    if isinstance(estimator, linear_model.ElasticNet | linear_model.MultiTaskElasticNet):  # Lasso is one
        raise InputError(
            f"{type(estimator).__name__} minimises with a penalty ‖θ‖₁, which has no derivative where a coefficient is "
            "0: gradient flow, influence functions and Newton steps are not defined there. Use Ridge."
        )
    names = ", ".join(kind.__name__ for kind, _ in known)
    raise InputError(f"estimator is {brief(estimator)}; known are {names}, and pipelines that end in one of them.")


def _check_fitted(estimator: Any) -> None:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(estimator)
    except NotFittedError as error:
        raise InputError(f"this {type(estimator).__name__} is not fitted: call .fit(X, y) first.") from error
    if getattr(estimator, "positive", False):
        raise InputError("positive=True constrains the coefficients, which no unconstrained problem says.")


def _point_weights(estimator: Any, y: Any, sample_weight: Any) -> Any:
    """The weight of every point: that it was fitted with, times that of its class."""
    if sample_weight is not None and not hasattr(estimator, "coef_"):
        raise InputError("sample_weight: a network divides by their sum, and its penalty by the number of points.")
    balance = getattr(estimator, "class_weight", None)
    if balance is None:
        return sample_weight
    from sklearn.utils.class_weight import compute_class_weight

    classes, labels = np.asarray(estimator.classes_), np.asarray(y)
    each = compute_class_weight(balance, classes=classes, y=labels, sample_weight=sample_weight)
    own = each[np.searchsorted(classes, labels)]
    return own if sample_weight is None else own * np.asarray(sample_weight)


def _numbered(y: np.ndarray, classes: tuple[Any, ...]) -> np.ndarray:
    """The number of each label among the estimator's classes."""
    order = np.asarray(classes)
    if y.ndim != 1 or not np.isin(y, order).all():
        raise InputError(
            f"y holds labels that the estimator has not seen; its classes are {', '.join(map(str, order))}."
        )
    return np.searchsorted(order, y).astype(np.float64)


def _linear(estimator: Any, y: np.ndarray) -> tuple[LinearModel, np.ndarray]:
    """The linear model with its θ: coefficients, then the intercept; several outputs side by side."""
    coefficients = np.atleast_2d(np.asarray(estimator.coef_, dtype=np.float64))  # (outputs, features)
    if estimator.fit_intercept:
        own = np.broadcast_to(np.asarray(estimator.intercept_, dtype=np.float64), len(coefficients))
        coefficients = np.column_stack([coefficients, own])
    outputs, features = coefficients.shape
    several = outputs > 1 or (y.ndim == 2 and y.shape[1] > 1)
    return LinearModel(features, outputs if several else None), coefficients.T.ravel()


def _least_squares(estimator: Any, X: np.ndarray, y: np.ndarray) -> Read:
    model, theta = _linear(estimator, y)
    said = "‖y − Xθ‖²; ours is half of it, c = 1 or 1/n"
    return Read(model, SquaredLoss(), theta, 0.0, bool(estimator.fit_intercept), False, (), said)


def _ridge(estimator: Any, X: np.ndarray, y: np.ndarray) -> Read:
    model, theta = _linear(estimator, y)
    alpha = np.asarray(estimator.alpha, dtype=np.float64)
    l2 = float(alpha) if alpha.ndim == 0 else np.tile(alpha, model.features)
    said = f"‖y − Xw‖² + α‖w‖² with α = {brief(estimator.alpha)}; ours is half of it: λ = α of the sum, α/n of the mean"
    intercept = bool(estimator.fit_intercept)
    return Read(model, SquaredLoss(), theta, l2, intercept, intercept, (), said)


def _logistic(estimator: Any, X: np.ndarray, y: np.ndarray) -> Read:
    penalty, ratio = getattr(estimator, "penalty", "l2"), getattr(estimator, "l1_ratio", None)
    if penalty in ("l1", "elasticnet") or (penalty != "l2" and ratio not in (None, 0, 0.0)):
        raise InputError(
            "this LogisticRegression has a penalty ‖θ‖₁, which has no derivative where a coefficient is 0: gradient "
            "flow, influence functions and Newton steps are not defined there. Fit it with an l2 penalty."
        )
    classes = tuple(np.asarray(estimator.classes_).tolist())
    if estimator.solver == "liblinear" and estimator.fit_intercept:
        raise InputError("solver='liblinear' penalises a scaled intercept; fit it with another solver, such as lbfgs.")
    model, theta = _linear(estimator, y)
    loss = LogisticLoss() if model.outputs is None else SoftmaxCrossEntropy()
    strength = 0.0 if penalty is None else 1.0 / float(estimator.C)  # C = ∞ is no penalty
    said = f"C Σ ℓ_i + ½‖w‖² with C = {estimator.C:g}; ours is it over C: λ = {strength:.6g} of the sum, /n of the mean"
    intercept = bool(estimator.fit_intercept)
    return Read(model, loss, theta, strength, intercept, intercept, classes, said)


def _network(estimator: Any, X: np.ndarray, y: np.ndarray) -> Read:
    """θ stacks W₀ᵀ, b₀, W₁ᵀ, …; only weights are penalised, by α over the points of a step."""
    loss_name = getattr(estimator, "loss", "squared_error")
    if loss_name not in ("squared_error", "log_loss"):
        raise InputError(f"loss={loss_name!r} of this network is not known here; squared_error and log_loss are.")
    if estimator.out_activation_ == "logistic" and estimator.n_outputs_ > 1:
        raise InputError("this network has several labels for each point; one label is needed.")
    weights, biases = estimator.coefs_, estimator.intercepts_
    widths = (weights[0].shape[0], *(bias.shape[0] for bias in biases))
    model = MLP(widths, {"logistic": "sigmoid"}.get(estimator.activation, estimator.activation))
    parts = [part.ravel() for weight, bias in zip(weights, biases, strict=True) for part in (weight.T, bias)]
    theta = np.concatenate(parts).astype(np.float64)
    classes = tuple(np.asarray(estimator.classes_).tolist()) if hasattr(estimator, "classes_") else ()
    loss: AbstractLoss = SquaredLoss()
    if classes:
        loss = LogisticLoss() if widths[-1] == 1 else SoftmaxCrossEntropy()
    batch = estimator.batch_size if estimator.batch_size != "auto" else 200
    step = len(X) if estimator.solver == "lbfgs" else min(int(batch), len(X))
    # A squared error is averaged over the outputs, too.
    copies = 1 if classes else widths[-1]
    l2 = estimator.alpha * copies * len(X) / step
    said = (
        f"mean loss + α/(2·{step})‖W‖² with α = {estimator.alpha:g} and {step} points in a step; ours is it times "
        f"{copies * len(X)} (sum) or {copies} (mean): λ = {l2:.6g} of the sum, /n of the mean"
    )
    return Read(model, loss, theta, l2, False, True, classes, said)
