"""Fitted estimators of scikit-learn, against their own predictions, gradients and refits."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

import epsflow as ef
from epsflow import InputError
from epsflow.problem import from_sklearn

RNG = np.random.default_rng(5)
X = RNG.normal(size=(60, 3)) * [1.0, 3.0, 0.5] + [0.0, 1.0, 2.0]
Y = X @ [1.0, -0.5, 2.0] + 4.0 + 0.3 * RNG.normal(size=60)
TWO = np.column_stack([Y, X @ [0.0, 1.0, 1.0] + 0.1 * RNG.normal(size=60)])
BINARY = np.where(X @ [1.0, 0.3, 1.0] + RNG.logistic(size=60) > 2.3, "yes", "no")
THREE = np.array(["a", "b", "c"])[np.argmax(RNG.gumbel(size=(60, 3)) + X, axis=1)]
FINE = {"tol": 1e-10, "max_iter": 10_000}


def outputs(fitted) -> np.ndarray:
    """f(θ; x_i) by our model, point by point."""
    data = fitted.problem.data
    return np.array([np.asarray(fitted.problem.model(fitted.theta, x)) for x in data.x])


REGRESSIONS = {
    "least squares": (LinearRegression(), Y),
    "without intercept": (LinearRegression(fit_intercept=False), Y),
    "two outputs": (LinearRegression(), TWO),
    "ridge": (Ridge(alpha=0.7), Y),
    "ridge without intercept": (Ridge(alpha=0.7, fit_intercept=False), Y),
    "ridge, two penalties": (Ridge(alpha=[0.7, 3.0]), TWO),
}


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("case", REGRESSIONS)
def test_regressions(case: str, reduction: str):
    estimator, y = REGRESSIONS[case]
    fitted = from_sklearn(estimator.fit(X, y), X, y, delete=[3], reduction=reduction)
    np.testing.assert_allclose(outputs(fitted), estimator.predict(X), rtol=1e-12)  # sums of four terms
    # Direct solvers: what is left of a gradient is rounding of sums of 60 terms, times a condition of some tens.
    assert fitted.stationarity < 1e-11
    assert fitted.stationary


CLASSIFICATIONS = {
    "two classes": (LogisticRegression(C=0.5, **FINE), BINARY),
    "no penalty": (LogisticRegression(C=np.inf, **FINE), BINARY),
    "without intercept": (LogisticRegression(C=2.0, fit_intercept=False, **FINE), BINARY),
    "three classes": (LogisticRegression(C=0.5, **FINE), THREE),
}


@pytest.mark.parametrize("case", CLASSIFICATIONS)
def test_classifications(case: str):
    estimator, y = CLASSIFICATIONS[case]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # lbfgs comes to the end of its digits before 1e-10
        estimator.fit(X, y)
    fitted = from_sklearn(estimator, X, y, delete=[3])
    np.testing.assert_allclose(outputs(fitted), estimator.decision_function(X), rtol=1e-12)
    assert fitted.problem.data.classes == tuple(np.unique(y))
    assert fitted.stationarity < 1e-5  # where lbfgs cannot tell values apart: the root of rounding, times some tens


def test_without_a_point_it_is_the_refitted_estimator():
    estimator, y = CLASSIFICATIONS["two classes"]
    fitted = from_sklearn(estimator.fit(X, y), X, y, delete=[3])
    again = LogisticRegression(C=0.5, **FINE).fit(np.delete(X, 3, 0), np.delete(y, 3))
    expected = [*again.coef_[0], again.intercept_[0]]
    np.testing.assert_allclose(ef.retrain(fitted.problem).theta, expected, rtol=1e-4)  # lbfgs's accuracy in θ
    ridge = Ridge(alpha=0.7).fit(X, Y)
    without = Ridge(alpha=0.7).fit(X[1:], Y[1:])
    theta = ef.retrain(from_sklearn(ridge, X, Y, delete=[0], reduction="sum").problem).theta
    np.testing.assert_allclose(theta, [*without.coef_, without.intercept_], rtol=1e-11)


LONG = {"solver": "lbfgs", "random_state": 0, "max_iter": 5_000, "tol": 1e-10}
NETWORKS = {
    "regression": (MLPRegressor(hidden_layer_sizes=(4,), activation="tanh", alpha=0.1, **LONG), Y),
    "two outputs": (MLPRegressor(hidden_layer_sizes=(3,), activation="logistic", alpha=0.1, **LONG), TWO),
    "two classes": (MLPClassifier(hidden_layer_sizes=(3, 2), activation="relu", alpha=1.0, **LONG), BINARY),
    "three classes": (MLPClassifier(hidden_layer_sizes=(3,), activation="identity", alpha=1.0, **LONG), THREE),
}


@pytest.mark.parametrize("case", NETWORKS)
def test_networks(case: str):
    """The risk is the estimator's own loss, and its gradient the one that its training has driven to zero."""
    estimator, y = NETWORKS[case]
    fitted = from_sklearn(estimator.fit(X, y), X, y, reduction="mean")
    f = outputs(fitted)
    if case in ("regression", "two outputs"):
        np.testing.assert_allclose(f, estimator.predict(X), rtol=1e-10)  # sums of some tens of terms
    else:
        p = 1.0 / (1.0 + np.exp(-f)) if f.ndim == 1 else np.exp(f) / np.exp(f).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(p, estimator.predict_proba(X)[:, -1] if f.ndim == 1 else estimator.predict_proba(X))
    copies = 2 if case == "two outputs" else 1
    assert float(fitted.problem.value(fitted.theta)) == pytest.approx(copies * estimator.loss_, rel=1e-6)
    assert_gradient(fitted, estimator, y, copies)


def own_objective(estimator, y) -> float:
    """As scikit-learn states it: the mean loss of its own predictions, and α/(2n) times the squares of the weights."""
    penalty = 0.5 * estimator.alpha / len(X) * sum(float((weight**2).sum()) for weight in estimator.coefs_)
    if isinstance(estimator, MLPRegressor):
        return 0.5 * float(np.mean((estimator.predict(X) - y) ** 2)) + penalty
    p = estimator.predict_proba(X)[np.arange(len(X)), np.searchsorted(estimator.classes_, y)]
    return penalty - float(np.mean(np.log(p)))


def assert_gradient(fitted, estimator, y, copies: int) -> None:
    """∇R along a direction, by central differences of the estimator's own objective."""
    point, direction = np.array(fitted.theta), np.random.default_rng(1).normal(size=fitted.problem.dim)
    values = []
    for h in (1e-5, -1e-5):
        layers = fitted.problem.model.layers(point + h * direction)
        estimator.coefs_ = [np.array(weight).T for weight, _ in layers]
        estimator.intercepts_ = [np.array(bias) for _, bias in layers]
        values.append(own_objective(estimator, y))
    estimated = copies * (values[0] - values[1]) / 2e-5
    # Their error: h² times a third derivative of some tens, and rounding of a loss of size one over h.
    assert float(fitted.problem.gradient(point) @ direction) == pytest.approx(estimated, abs=1e-7)


def test_a_batch_is_what_the_penalty_is_divided_by():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        estimator = MLPRegressor(hidden_layer_sizes=(2,), alpha=0.3, batch_size=20, max_iter=3, random_state=0).fit(
            X, Y
        )
    fitted = from_sklearn(estimator, X, Y, reduction="mean")
    assert fitted.problem.penalty.max() == pytest.approx(0.3 / 20)
    assert not fitted.stationary


def test_pipelines_are_applied():
    frame = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "colour": np.where(X[:, 2] > 2.0, "red", "blue")})
    columns = ColumnTransformer([("scaled", StandardScaler(), ["a", "b"]), ("words", OneHotEncoder(), ["colour"])])
    pipeline = make_pipeline(columns, Ridge(alpha=0.5)).fit(frame, Y)
    fitted = from_sklearn(pipeline, frame, Y, delete=[0])
    assert fitted.problem.data.features == (
        *("scaled__a", "scaled__b", "words__colour_blue", "words__colour_red", "intercept"),
    )
    np.testing.assert_allclose(outputs(fitted), pipeline.predict(frame), rtol=1e-12)


def test_it_reads_itself():
    fitted = from_sklearn(Ridge(alpha=0.7).fit(X, Y), X, Y)
    assert repr(fitted).startswith("Fitted(model=LinearModel, loss=SquaredLoss, parameters=4, stationarity=")
    assert "α = 0.7; ours is half of it" in str(fitted.summary())


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (Lasso(), "Lasso minimises with a penalty ‖θ‖₁, which has no derivative"),
        (ElasticNet(), "ElasticNet minimises with a penalty"),
        (SVC(), "estimator is SVC.*; known are LogisticRegression, LinearRegression, Ridge"),
        (LogisticRegression(l1_ratio=0.5, solver="saga"), "has a penalty ‖θ‖₁"),
        (LogisticRegression(solver="liblinear"), "penalises a scaled intercept"),
        (LinearRegression(positive=True), "positive=True constrains"),
    ],
)
def test_estimators_refused(estimator, message):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(X, BINARY if isinstance(estimator, LogisticRegression | SVC) else Y)
    with pytest.raises(InputError, match=message):
        from_sklearn(estimator, X, BINARY if isinstance(estimator, LogisticRegression) else Y)


def test_what_was_not_fitted_on_these_data():
    with pytest.raises(InputError, match=r"is not fitted: call \.fit"):
        from_sklearn(Ridge(), X, Y)
    with pytest.raises(InputError, match="are no stationary point of its objective on these data"):
        from_sklearn(Ridge().fit(X, Y), X, Y[::-1])
    with pytest.raises(InputError, match="labels that the estimator has not seen; its classes are no, yes"):
        from_sklearn(LogisticRegression().fit(X, BINARY), X, THREE)


def test_weights_of_points_and_classes():
    """Of the estimator's own fit: θ is a stationary point of the weighted risk only."""
    v = np.random.default_rng(0).uniform(0.2, 3.0, size=len(X))
    for estimator, y in ((Ridge(alpha=0.7), Y), (LogisticRegression(class_weight="balanced", tol=1e-8), BINARY)):
        estimator.fit(X, y, sample_weight=v)
        assert from_sklearn(estimator, X, y, sample_weight=v).stationarity < 1e-4  # lbfgs stops at 1e-8 of the gradient
        with pytest.raises(InputError, match="are no stationary point"):
            from_sklearn(estimator, X, y)


def test_data_that_are_fitted_exactly_leave_rounding_alone(rng):
    X = rng.normal(size=(40, 2))
    fitted = from_sklearn(LinearRegression().fit(X, X[:, 0]), X, X[:, 0])
    # A gradient of 1e-16 of its terms at θ = 0, in units of the 1e-10 of them that count as rounding; some tens of it.
    assert fitted.stationarity < 1e-4


@pytest.mark.parametrize("scaled", [False, True])
def test_x_of_another_width_is_refused_in_one_line(scaled: bool):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((20, 3)), rng.standard_normal(20)
    model = (make_pipeline(StandardScaler(), Ridge()) if scaled else Ridge()).fit(x, y)
    with pytest.raises(InputError, match=r"X has 2 columns, and this (Ridge|Pipeline) was fitted on 3"):
        from_sklearn(model, x[:, :2], y)
