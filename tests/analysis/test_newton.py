"""The Newton step: exact for least squares, against a hand-written one and against refits elsewhere."""

from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import spearmanr

import reference_models as reference
from epsflow._core import EpsflowWarning, InputError
from epsflow.analysis import leverage, newton_step, newton_step_all, retrain_all
from epsflow.problem import Dataset, LinearModel, LogisticLoss, Problem, linear_regression, load_dataset

N, D = 24, 3


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(N, D))


@pytest.fixture(scope="module")
def targets(x) -> np.ndarray:
    return x @ np.array([1.0, -1.0, 0.5]) + np.random.default_rng(2).normal(size=N)


@pytest.fixture(scope="module")
def logistic(x, targets) -> Problem:
    return Problem(LinearModel(D), LogisticLoss(), Dataset(x, targets > 0.0), [0, 5], l2=0.1)


def weights(delete, eps: float) -> np.ndarray:
    return np.where(np.isin(np.arange(N), delete), eps, 1.0)


@pytest.mark.parametrize(("l2", "reduction"), [(0.0, "sum"), (0.2, "mean")])
def test_one_step_is_exact_for_linear_regression(x, targets, l2, reduction):
    problem = linear_regression(Dataset(x, targets), [2, 9, 11], l2=l2, reduction=reduction)
    exact = leverage(problem)
    np.testing.assert_allclose(newton_step(problem).change, exact.joint_change, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(newton_step_all(problem).change, exact.change, rtol=1e-11, atol=1e-13)


def test_the_step_of_a_group_is_newtons(logistic, x):
    y, delete = logistic.data.y, [0, 5]
    theta = reference.logistic_optimum(x, y, weights(delete, 1.0), 0.1)
    slope = reference.logistic_gradient(theta, x, y, weights(delete, 0.0), 0.1)
    delta = -np.linalg.solve(reference.logistic_hessian(theta, x, weights(delete, 0.0), 0.1), slope)
    found = newton_step(logistic)
    np.testing.assert_allclose(found.change, delta, rtol=1e-8)  # θ(1) is good to 1e-10 of θ on either side
    np.testing.assert_allclose(found.predicted, theta + delta, rtol=1e-8)
    assert float(found.residual) < 1e-14
    assert float(found.gradient_norm) < 1e-9
    least = np.linalg.eigvalsh(reference.logistic_hessian(theta, x, weights(delete, 0.0), 0.1))[0]
    assert float(found.smallest_curvature) == pytest.approx(least)


def test_near_collinear_columns_cost_digits_once():
    """Columns 1e-7 apart, exactly in rationals: the Hessian's condition is 1e14, that of its rows 1e7."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(12, 2))
    x[:, 1] = x[:, 0] + 1e-7 * x[:, 1]
    y, theta = (rng.normal(size=12) > 0.0).astype(float), np.array([0.3, -0.2])
    with pytest.warns(EpsflowWarning, match="nearly collinear"):
        problem = Problem(LinearModel(2), LogisticLoss(), Dataset(x, y), [3])
    p = 1.0 / (1.0 + np.exp(-x @ theta))
    kept = [k for k in range(12) if k != 3]
    w = [Fraction(value) * (1 - Fraction(value)) for value in p.tolist()]
    rows = [[Fraction(value) for value in row] for row in x.tolist()]
    a, b, c = (sum(w[k] * rows[k][i] * rows[k][j] for k in kept) for i, j in ((0, 0), (0, 1), (1, 1)))
    u, v = ((Fraction(p[3]) - Fraction(y[3])) * value for value in rows[3])
    exact = [float((c * u - b * v) / (a * c - b * b)), float((a * v - b * u) / (a * c - b * b))]
    # 1e7 roundings of the rows; 1e14 of the Hessian would leave two digits.
    np.testing.assert_allclose(newton_step(problem, theta).change, exact, rtol=1e-7)
    np.testing.assert_allclose(newton_step_all(problem, theta, points=[3]).change[0], exact, rtol=1e-7)


def test_many_sets_at_once_are_the_single_steps(logistic):
    many = newton_step_all(logistic, points=[[0, 5], [3, 4]])
    alone = newton_step(logistic, many.theta)
    np.testing.assert_allclose(many.change[0], alone.change, rtol=1e-12)
    assert many.residual.shape == (2,)
    assert float(many.residual.max()) < 1e-13  # subtracting the points' Hessians costs a digit


def test_damping_enters_the_matrix(logistic, x):
    found = newton_step(logistic, damping=0.5)
    theta, y = np.asarray(found.theta), logistic.data.y
    pull = reference.logistic_gradient(theta, x, y, weights([0, 5], 1.0) - weights([0, 5], 0.0))
    damped = reference.logistic_hessian(theta, x, weights([0, 5], 0.0), 0.1) + 0.5 * np.eye(D)
    np.testing.assert_allclose(found.change, np.linalg.solve(damped, pull), rtol=1e-12)


def test_every_point_of_breast_cancer_against_its_refit():
    problem = Problem(LinearModel(30), LogisticLoss(), load_dataset("breast_cancer"), l2=1.0)
    truth = retrain_all(problem)
    predicted = newton_step_all(problem, theta=truth.theta)
    exact, steps = np.asarray(truth.change), np.asarray(predicted.change)
    # Sign and scale, not rank alone. The step errs in second order: 1e-4 for most points, more for the few that matter.
    slope = (exact * steps).sum() / (exact * exact).sum()
    sizes = np.linalg.norm(exact, axis=1)
    moved = sizes > 1e-12  # a thousand times the rounding of θ
    errors = np.linalg.norm(steps - exact, axis=1)[moved] / sizes[moved]
    rank = spearmanr(np.linalg.norm(exact, axis=1), np.linalg.norm(steps, axis=1)).statistic
    assert slope == pytest.approx(1.0, abs=0.02)
    assert np.median(errors) < 1e-3
    assert rank > 0.9999


def test_curvature_that_is_not_positive_is_refused(x, targets):
    lonely = np.hstack([x, np.zeros((N, 1))])
    lonely[7, 3] = 1.0
    problem = linear_regression(Dataset(lonely, targets), 7)
    with pytest.raises(InputError, match=r"H_0 is singular.*leave [+-]1·x3 free.*damping > "):
        newton_step(problem)
    # The point fits its own direction perfectly, so that a damped step leaves it where it is.
    np.testing.assert_allclose(newton_step(problem, damping=1e-3).change[3], 0.0, atol=1e-10)
    with pytest.raises(InputError, match=r"1 of 24 deletion sets, first \[7\]: H_0 is singular"):
        newton_step_all(problem)


def test_bad_input_is_refused(logistic, x, targets):
    with pytest.raises(InputError, match="the problem deletes no point"):
        newton_step(linear_regression(Dataset(x, targets)))
    with pytest.raises(InputError, match="damping is -1"):
        newton_step(logistic, damping=-1.0)
    with pytest.raises(InputError, match=r"theta\[0\] is nan"):
        newton_step(logistic, np.array([np.nan, 0.0, 0.0]))
    with pytest.raises(InputError, match="theta has shape"):
        newton_step_all(logistic, theta=np.zeros(2))
    with pytest.raises(InputError, match="contains 24"):
        newton_step_all(logistic, points=[24])
