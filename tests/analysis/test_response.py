"""The response θ(ε): derivatives against differences of refits, its end against retraining, and where it ends early."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar

import reference_models as reference
from epsflow._core import RESULTS, ConvergenceError, InputError
from epsflow.analysis import response_jacobian, response_path, retrain
from epsflow.problem import (
    Dataset,
    FunctionModel,
    LinearModel,
    LogisticLoss,
    Problem,
    SquaredLoss,
    linear_regression,
    load_dataset,
)

N, D, DELETE = 24, 3, [0, 5]


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(N, D))


@pytest.fixture(scope="module")
def targets(x) -> np.ndarray:
    return x @ np.array([1.0, -1.0, 0.5]) + np.random.default_rng(2).normal(size=N)


@pytest.fixture(scope="module")
def logistic(x, targets) -> Problem:
    return Problem(LinearModel(D), LogisticLoss(), Dataset(x, targets > 0.0), DELETE, l2=0.1)


@pytest.fixture(scope="module")
def path(logistic):
    return response_path(logistic)


def optimum(problem: Problem, eps, l2: float) -> np.ndarray:
    weights = np.ones(problem.data.n)
    weights[np.asarray(problem.delete)] = eps
    return reference.logistic_optimum(problem.data.x, problem.data.y, weights, l2)


def test_the_path_runs_from_trained_to_retrained(path, logistic):
    assert path.eps.shape == (21,)
    np.testing.assert_allclose(path.thetas[0], optimum(logistic, 1.0, 0.1), atol=1e-9)  # tol·‖Σg_j‖/λ
    np.testing.assert_allclose(path.thetas[-1], optimum(logistic, 0.0, 0.1), atol=1e-9)
    np.testing.assert_allclose(path.thetas[-1], retrain(logistic).theta, atol=1e-8)
    assert path.result == RESULTS.successful
    assert float(path.gradient_norm.max()) < 1e-9
    assert np.isnan(path.breakdown).all()


def test_derivatives_are_those_of_refits(path, logistic):
    # Central differences, error h² = 1e-8 of the third derivative, plus 1e-14/h² = 1e-6 of rounding for the second.
    h = 1e-4
    for k in (4, 16):
        eps = float(path.eps[k])
        low, here, high = (optimum(logistic, e, 0.1) for e in (eps - h, eps, eps + h))
        np.testing.assert_allclose(path.theta_dot[k], (high - low) / (2 * h), atol=1e-7)
        np.testing.assert_allclose(path.theta_ddot[k], (high - 2 * here + low) / h**2, atol=3e-6)


def test_the_response_of_breast_cancer_is_that_of_refits():
    """λ = 1; removing point 213 moves θ more than all but one other does."""
    problem = Problem(LinearModel(30), LogisticLoss(), load_dataset("breast_cancer"), 213, l2=1.0)
    found = response_jacobian(problem)
    h = 1e-4
    difference = (optimum(problem, 1.0 + h, 1.0) - optimum(problem, 1.0 - h, 1.0)) / (2 * h)
    np.testing.assert_allclose(found.jacobian[:, 0], difference, atol=1e-6)


def test_the_notes_bound_on_the_slope(path):
    assert float(path.slope_change) == pytest.approx(float(jnp.linalg.norm(path.theta_dot[0] - path.theta_dot[-1])))
    assert float(path.bound) == pytest.approx(float(jnp.linalg.norm(path.theta_ddot, axis=1).max()))
    assert 0.0 < float(path.slope_change) <= float(path.bound)


def test_linear_regression_in_closed_form(x, targets):
    found = response_path(linear_regression(Dataset(x, targets), 3), eps=np.array([1.0, 0.6, 0.0]))
    outer = np.outer(x[3], x[3])
    for k, eps in enumerate([1.0, 0.6, 0.0]):
        h = x.T @ x - (1.0 - eps) * outer
        theta = np.linalg.solve(h, x.T @ targets - (1.0 - eps) * x[3] * targets[3])
        dot = -np.linalg.solve(h, x[3] * (x[3] @ theta - targets[3]))
        np.testing.assert_allclose(found.thetas[k], theta, rtol=1e-11)
        np.testing.assert_allclose(found.theta_dot[k], dot, rtol=1e-11)
        np.testing.assert_allclose(found.theta_ddot[k], -2.0 * np.linalg.solve(h, outer @ dot), rtol=1e-11)
        assert float(found.smallest_curvature[k]) == pytest.approx(np.linalg.eigvalsh(h)[0])


def test_the_path_may_run_backwards(logistic, path):
    back = response_path(logistic, eps=np.linspace(0.0, 1.0, 21), theta=path.thetas[-1])
    np.testing.assert_allclose(back.thetas[::-1], path.thetas, atol=1e-8)


def test_jacobian_columns_respond_to_their_own_weight(logistic, path):
    weights, h = np.array([0.7, 0.2]), 1e-4
    found = response_jacobian(logistic, optimum(logistic, weights, 0.1), eps=weights)
    assert found.jacobian.shape == (D, 2)
    for j in range(2):
        step = h * np.eye(2)[j]
        difference = (optimum(logistic, weights + step, 0.1) - optimum(logistic, weights - step, 0.1)) / (2 * h)
        np.testing.assert_allclose(found.jacobian[:, j], difference, atol=1e-7)
    assert float(found.residual.max()) < 1e-13
    together = response_jacobian(logistic, path.thetas[0])
    np.testing.assert_allclose(together.jacobian.sum(axis=1), path.theta_dot[0], rtol=1e-10)


def kink(theta, x):
    """x = 1: θ. x = 0: √(2(2 + tanh θ)), whose squared loss at y = 0 is 2 + tanh θ."""
    return x[0] * theta + (1.0 - x[0]) * jnp.sqrt(2.0 * (2.0 + jnp.tanh(theta)))


@pytest.fixture(scope="module")
def fold() -> Problem:
    """R_ε = ε(θ − 3)²/2 + tanh θ + 2: the minimum near 3 vanishes in a fold where ε(3 − θ) touches sech² θ."""
    data = Dataset(np.array([[1.0], [0.0]]), np.array([3.0, 0.0]))
    return Problem(FunctionModel(kink, jnp.asarray(3.0)), SquaredLoss(), data, 0)


def test_a_fold_is_bracketed(fold):
    start = np.array([3.0])
    critical = minimize_scalar(
        lambda t: 1.0 / np.cosh(t) ** 2 / (3.0 - t), bounds=(1.5, 2.9), options={"xatol": 1e-12}
    ).fun
    with pytest.raises(ConvergenceError, match=r"breaks down between ε = 0.05317\d+ and ε = 0.05317") as caught:
        response_path(fold, theta=start)
    broken = caught.value.result
    np.testing.assert_allclose(broken.breakdown, critical, atol=1e-9)  # a grid step halved thirty times
    assert bool(broken.result == response_path(fold, theta=start, throw=False).result)
    assert np.isfinite(broken.thetas[:19]).all()
    assert np.isnan(broken.thetas[19:]).all()


def test_a_direction_that_only_the_deleted_point_saw_breaks_at_zero(x, targets):
    """Point 3 fits its own direction exactly: θ(ε) is constant for every ε > 0, and not unique at ε = 0."""
    lonely = x.copy()
    lonely[:, 2] = np.arange(N) == 3
    path = response_path(linear_regression(Dataset(lonely, targets), 3), eps=np.array([1.0, 0.6, 0.0]), throw=False)
    assert float(path.breakdown[1]) == 0.0
    assert 0.0 < float(path.breakdown[0]) < 1e-9  # 0.6 halved thirty times
    np.testing.assert_allclose(path.thetas[1], path.thetas[0], rtol=1e-12)
    assert np.isnan(path.thetas[2]).all()


def test_bad_input_is_refused(logistic, fold, x, targets):
    with pytest.raises(InputError, match="the problem deletes no point"):
        response_path(linear_regression(Dataset(x, targets)))
    with pytest.raises(InputError, match="strictly monotone"):
        response_path(logistic, eps=np.array([1.0, 0.5, 0.7]))
    with pytest.raises(InputError, match="at least two finite weights"):
        response_path(logistic, eps=np.array([1.0]))
    with pytest.raises(InputError, match="pass theta, the trained parameters"):
        response_path(fold)
    with pytest.raises(InputError, match="eps must be one finite number or 2"):
        response_jacobian(logistic, eps=np.ones(3))
    with pytest.raises(InputError, match="H_ε is not positive definite: its least eigenvalue is -"):
        response_jacobian(fold, np.array([2.0]), eps=0.0)
