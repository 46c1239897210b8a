"""Retraining: the certificate is recomputed by hand, the optimum by independent solvers."""

import jax
import numpy as np
import pytest

import epsflow.analysis.optima._secants as secants
import reference_models as reference
from epsflow._core import RESULTS, ConvergenceError, InputError
from epsflow.analysis import leverage, retrain, retrain_all, train
from epsflow.analysis.optima._refits import secant_update
from epsflow.problem import (
    MLP,
    Dataset,
    LinearModel,
    LogisticLoss,
    Problem,
    PseudoHuberLoss,
    SoftmaxCrossEntropy,
    SquaredLoss,
    linear_regression,
    load_dataset,
)

N, D, WIDTH = 24, 3, 3


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(N, D))


@pytest.fixture(scope="module")
def targets(x) -> np.ndarray:
    return x @ np.array([1.0, -1.0, 0.5]) + np.random.default_rng(2).normal(size=N)


@pytest.fixture(scope="module")
def logistic(x, targets) -> Problem:
    return Problem(LinearModel(D), LogisticLoss(), Dataset(x, targets > 0.0), [0, 5], l2=0.1)


@pytest.fixture(scope="module")
def network(x, targets) -> Problem:
    return Problem(MLP((D, WIDTH, 1)), SquaredLoss(), Dataset(x, np.tanh(targets)), [0, 5], l2=0.1)


@pytest.fixture(scope="module")
def start(network) -> np.ndarray:
    return np.asarray(network.model.init(jax.random.key(0)))


def kept(n: int, delete) -> np.ndarray:
    weights = np.ones(n)
    weights[list(delete)] = 0.0
    return weights


@pytest.mark.parametrize(("l2", "reduction"), [(0.0, "sum"), (0.3, "mean")])
def test_linear_regression_is_solved_in_closed_form(x, targets, l2, reduction):
    end = retrain(linear_regression(Dataset(x, targets), [0, 5], l2=l2, reduction=reduction))
    rows, c = kept(N, [0, 5]).astype(bool), 1.0 if reduction == "sum" else 1.0 / N
    theta = np.linalg.solve(c * x[rows].T @ x[rows] + l2 * np.eye(D), c * x[rows].T @ targets[rows])
    np.testing.assert_allclose(end.theta, theta, rtol=1e-12)  # condition below 10
    assert (end.method, end.unique, int(end.steps)) == ("closed form", True, 0)


def test_logistic_regression_meets_its_certificate(logistic, x):
    end = retrain(logistic)
    y, weights = logistic.data.y, kept(N, [0, 5])
    theta = reference.logistic_optimum(x, y, weights, 0.1)
    slope = reference.logistic_gradient(np.asarray(end.theta), x, y, weights, 0.1)
    assert np.linalg.norm(slope) == pytest.approx(float(end.gradient_norm), abs=1e-14)  # rounding of 24 terms
    assert float(end.gradient_norm) <= 1e-10 * max(
        1.0, np.linalg.norm(reference.logistic_gradient(0 * theta, x, y, weights))
    )
    # The Newton step left is the error to first order, and the error is 1e-10 of θ: they agree to rounding.
    assert np.linalg.norm(end.theta - theta) == pytest.approx(float(end.distance), abs=1e-14)
    assert end.method == "newton"


def test_pseudo_huber_regression_is_stationary_by_hand(x, targets):
    weights = kept(N, [3])
    end = retrain(Problem(LinearModel(D), PseudoHuberLoss(0.5), Dataset(x, targets), 3, l2=0.1))
    residual = x @ np.asarray(end.theta) - targets
    slope = x.T @ (weights * residual / np.sqrt(1.0 + (residual / 0.5) ** 2)) + 0.1 * np.asarray(end.theta)
    assert np.linalg.norm(slope) < 1e-8  # 1e-10 of ‖∇R_0(0)‖, about 10


def test_softmax_regression_is_stationary_by_hand(x, targets):
    weights, classes = kept(N, [3]), np.digitize(targets, [-0.7, 0.7])
    end = retrain(Problem(LinearModel(D, 3), SoftmaxCrossEntropy(), Dataset(x, classes), 3, l2=0.1))
    logits = np.exp(x @ np.asarray(end.theta).reshape(D, 3))
    chance = weights[:, None] * (logits / logits.sum(axis=1, keepdims=True) - np.eye(3)[classes])
    assert np.linalg.norm((x.T @ chance).ravel() + 0.1 * np.asarray(end.theta)) < 1e-8


def test_a_network_ends_in_a_certified_minimum_from_either_start(network, start, x):
    for kind in ("cold", "warm"):
        end = retrain(network, theta0=start, start=kind)
        slope = reference.mlp_gradient(np.asarray(end.theta), x, network.data.y, kept(N, [0, 5]), WIDTH, 0.1)
        assert np.linalg.norm(slope) == pytest.approx(float(end.gradient_norm), abs=1e-13)
        assert float(end.gradient_norm) < 1e-8
        assert float(end.smallest_curvature) > 0.0
        assert not end.unique


def test_training_is_retraining_with_every_point(logistic, network, start, x, targets):
    """θ(1) by hand; and R_1 of a problem is R_0 of none deleted."""
    end = train(logistic)
    np.testing.assert_allclose(end.theta, reference.logistic_optimum(x, logistic.data.y, np.ones(N), 0.1), atol=1e-9)
    ols = train(linear_regression(Dataset(x, targets)))
    np.testing.assert_allclose(ols.theta, reference.ols(x, targets), rtol=1e-11)
    assert ols.method == "closed form"
    deep = train(network, theta0=start)
    slope = reference.mlp_gradient(np.asarray(deep.theta), x, network.data.y, np.ones(N), WIDTH, 0.1)
    assert np.linalg.norm(slope) < 1e-8  # 1e-10 of ‖∇R_1‖ at the start, about 10
    with pytest.raises(InputError, match="pass theta0, where training starts"):
        train(network)
    with pytest.raises(ConvergenceError, match="training failed"):
        train(Problem(LinearModel(1), LogisticLoss(), Dataset(np.array([[-1.0], [1.0]]), np.array([0, 1]))))


@pytest.mark.slow
def test_the_flow_from_a_minimum_stays_there(network, start):
    end = retrain(network, theta0=start)
    nudged = np.asarray(end.theta) + 1e-3
    flowed = retrain(network, theta0=nudged, method="flow")
    # Both within ‖∇R_0‖/λ_min of the same minimum: tol 1e-10 of at most order one, over 0.05.
    np.testing.assert_allclose(flowed.theta, end.theta, atol=1e-8)


def test_classes_that_separate_have_no_minimum():
    """∇R_0 vanishes at infinity; a small gradient alone would call that converged."""
    data = Dataset(np.array([[-1.0], [-2.0], [1.0], [2.0], [-0.5]]), np.array([0, 0, 1, 1, 1]))
    problem = Problem(LinearModel(1), LogisticLoss(), data, 4)
    with pytest.raises(ConvergenceError, match="separable classes without l2, at infinity") as caught:
        retrain(problem)
    assert caught.value.result.result == RESULTS.not_stationary
    assert float(retrain(problem, throw=False).distance) == pytest.approx(1.0, rel=1e-3)  # 1 up to θe^{-θ}
    assert retrain(Problem(LinearModel(1), LogisticLoss(), data, 4, l2=1e-3)).result == RESULTS.successful


def test_an_optimum_that_is_not_unique_needs_a_choice(x, targets):
    twice = Dataset(np.hstack([x, x[:, :1]]), targets)
    for problem in (
        linear_regression(twice, 2),
        Problem(LinearModel(D + 1), LogisticLoss(), Dataset(twice.x, targets > 1), 2),
    ):
        with pytest.raises(InputError, match="the leave-out optimum is not unique"):
            retrain(problem)
    with pytest.raises(InputError, match=r"leave (?=.*x0)(?=.*x3).* free"):
        retrain(linear_regression(twice, 2))
    chosen = retrain(linear_regression(twice, 2), theta0=np.array([1.0, 0.0, 0.0, 0.0]))
    assert not chosen.unique
    assert chosen.theta[0] - chosen.theta[3] == pytest.approx(1.0)  # the free direction keeps its start


def test_all_leave_outs_of_linear_regression_are_those_of_refitting(x, targets):
    problem = linear_regression(Dataset(x, targets))
    everything = retrain_all(problem)
    np.testing.assert_allclose(everything.thetas, reference.leave_one_out(x, targets), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(everything.change, leverage(problem).change, rtol=1e-11, atol=1e-13)
    sets = [[0, 1, 2], [3, 10, 20]]
    for points, theta in zip(sets, retrain_all(problem, points=sets).thetas, strict=True):
        rows = np.delete(np.arange(N), points)
        np.testing.assert_allclose(theta, reference.ols(x[rows], targets[rows]), rtol=1e-11, atol=1e-12)
    assert float(everything.gradient_norm.max()) < 1e-12


def test_all_leave_outs_of_a_convex_risk(logistic, x, monkeypatch):
    everything = retrain_all(logistic)
    for point in range(0, N, 5):
        theta = reference.logistic_optimum(x, logistic.data.y, kept(N, [point]), 0.1)
        assert np.linalg.norm(everything.thetas[point] - theta) <= float(everything.distance[point]) + 1e-14
    # Pairs, one at a time, as if memory were short.
    monkeypatch.setattr(secants, "NUMBERS", 1)
    pairs = retrain_all(logistic, points=[[0, 5], [1, 2]])
    for points, theta in zip(pairs.points, pairs.thetas, strict=True):
        np.testing.assert_allclose(
            theta, reference.logistic_optimum(x, logistic.data.y, kept(N, points), 0.1), atol=1e-9
        )


def test_a_secant_update_maps_the_change_of_the_gradient_to_the_move(rng):
    """On a quadratic, d updates along conjugate moves give the inverse Hessian itself."""
    root = rng.normal(size=(4, 4))
    hessian = root @ root.T + np.eye(4)
    inverse, moves = np.eye(4), np.linalg.inv(np.linalg.cholesky(hessian))
    for move in moves:
        inverse = secant_update(inverse, move, hessian @ move)
        np.testing.assert_allclose(inverse @ (hessian @ move), move, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(inverse, np.linalg.inv(hessian), rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(secant_update(inverse, move, -move), inverse)  # negative curvature


def test_every_leave_one_out_of_breast_cancer_in_one_call():
    data = load_dataset("breast_cancer")
    everything = retrain_all(Problem(LinearModel(30), LogisticLoss(), data, l2=1.0), tol=1e-11)
    assert everything.thetas.shape == (569, 30)
    assert float(everything.gradient_norm.max()) <= 1e-10
    worst = np.argsort(-np.linalg.norm(everything.change, axis=1))
    for point in (*worst[:3], 0, 100):
        theta = reference.logistic_optimum(data.x, data.y, kept(569, [point]), 1.0)
        np.testing.assert_allclose(everything.thetas[point], theta, atol=1e-10)  # ‖∇R_0‖/λ


def test_all_leave_outs_of_a_network_are_minima_near_the_trained_one(network, start, x):
    near = retrain(network, theta0=start).theta  # already the answer for the problem's own points
    everything = retrain_all(network, near, points=[[0, 5], [0, 6]])
    np.testing.assert_allclose(everything.thetas[0], near, atol=1e-8)
    slope = reference.mlp_gradient(np.asarray(everything.thetas[1]), x, network.data.y, kept(N, [0, 6]), WIDTH, 0.1)
    assert np.linalg.norm(slope) < 1e-9


def test_a_leave_out_that_is_not_determined_is_an_error_unless_asked_for(x, targets):
    lonely = np.hstack([x, np.zeros((N, 1))])
    lonely[7, 3] = 1.0
    problem = linear_regression(Dataset(lonely, targets))
    with pytest.raises(ConvergenceError, match=r"1 of 24 leave-outs failed; the first deletes \[7\]"):
        retrain_all(problem)
    everything = retrain_all(problem, throw=False)
    failed = np.asarray(everything.result != RESULTS.successful)
    assert np.flatnonzero(failed).tolist() == [7]
    assert np.isnan(everything.thetas[7]).all()
    assert np.isfinite(everything.thetas[:7]).all()


def test_bad_input_is_refused(logistic, network, x, targets):
    with pytest.raises(InputError, match="the problem deletes no point"):
        retrain(linear_regression(Dataset(x, targets)))
    with pytest.raises(InputError, match="is for linear regression"):
        retrain(logistic, method="closed form")
    with pytest.raises(InputError, match="pass theta0, where training starts"):
        retrain(network)
    with pytest.raises(InputError, match=r"theta0\[1\] is nan"):
        retrain(logistic, theta0=np.array([0.0, np.nan, 0.0]))
    with pytest.raises(InputError, match="theta0 has shape"):
        retrain(logistic, theta0=np.zeros(2))
    with pytest.raises(InputError, match="pass theta, the trained parameters"):
        retrain_all(network)
    for points, words in [
        ([[0, 24]], "contains 24"),
        ([24], "contains 24"),
        ([-1], "contains -1"),
        ([[1, 1]], "lists point 1 twice"),
        ([], "sets of points"),
        ([[0], [1, 2]], "equal size"),
        ([0.5], "must be one integer"),
    ]:
        with pytest.raises(InputError, match=words):
            retrain_all(logistic, points=points)
