"""Soft weights: the closed forms where the box is idle, the conditions of optimality elsewhere, exact retraining."""

import re

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import lsq_linear

import epsflow as ef
from epsflow.attribution import soft_weights
from epsflow.attribution._weight_program import WeightProgram, minimise_weights
from epsflow.problem import Dataset, LinearModel, LogisticLoss, Problem, linear_regression


def program(a, b, room, penalty):
    """min −a·w + μ‖w‖² with a·w ≤ room and b·w ≥ 0."""
    return WeightProgram(a, np.stack([a, -b]), np.array([room, 0.0]), penalty)


A = -np.array([1.0, 0.8, 0.6, 0.5])
B = np.array([0.5, 0.1, 0.1, -0.4])
"""Influences on the objective, all harmful, and on a constraint that removal by them alone would raise."""


def test_nothing_active():
    found = minimise_weights(program(A, A, 1e3, 2.0))
    np.testing.assert_allclose(found.w, A / 4.0, rtol=1e-14)
    np.testing.assert_array_equal(found.duals, 0.0)


def test_the_floor_active():
    found = minimise_weights(program(A, A, 0.1, 0.5))
    np.testing.assert_allclose(found.w, 0.1 * A / (A @ A), rtol=1e-11)


def test_the_constraint_active():
    beta = -(A @ B) / (B @ B)
    w = (A + beta * B) / 8.0
    assert -1.0 < w.min() <= w.max() < 0.0  # the box is idle
    found = minimise_weights(program(A, B, 1e3, 4.0))
    np.testing.assert_allclose(found.w, w, rtol=1e-11)
    np.testing.assert_allclose(found.duals, [0.0, beta], rtol=1e-11)


def test_both_active():
    penalty, room = 4.0, 0.05
    den = (A @ A) * (B @ B) - (A @ B) ** 2
    beta1, beta2 = -2.0 * penalty * room * (A @ B) / den, 1.0 - 2.0 * penalty * room * (B @ B) / den
    w = ((1.0 - beta2) * A + beta1 * B) / (2.0 * penalty)
    assert min(beta1, beta2) > 0.0
    assert -1.0 < w.min() <= w.max() < 0.0
    found = minimise_weights(program(A, B, room, penalty))
    np.testing.assert_allclose(found.w, w, rtol=1e-10)
    np.testing.assert_allclose(found.duals, [beta2, beta1], rtol=1e-10)


def test_the_box_alone_is_bounded_least_squares(rng):
    a = rng.normal(size=20)
    found = minimise_weights(WeightProgram(a, np.zeros((0, 20)), np.zeros(0), 0.3))
    # −a·w + μ‖w‖² = ‖√μ w − a/(2√μ)‖² + const.
    expected = lsq_linear(np.sqrt(0.3) * np.eye(20), a / (2.0 * np.sqrt(0.3)), bounds=(-1.0, 0.0), tol=1e-14).x
    np.testing.assert_allclose(found.w, expected, atol=1e-8)


@pytest.mark.parametrize("seed", range(40))
def test_any_program_meets_its_optimality_conditions(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=30), rng.normal(size=(2, 30)) * [[1.0], [1e4]]
    penalty, room = 10.0 ** rng.uniform(-4, 1), 10.0 ** rng.uniform(-2, 1)
    given = WeightProgram(a, np.vstack([a, -b]), np.array([room, 0.0, 0.0]), penalty)
    found = minimise_weights(given)
    assert found.violation <= 1e-9
    assert found.w.min() >= -1.0
    assert found.w.max() <= 0.0
    assert min(found.duals.min(), found.below.min(), found.above.min()) >= 0.0
    stationary = -a + 2.0 * penalty * found.w + given.rows.T @ found.duals - found.below + found.above
    sizes = np.abs(a) + np.abs(given.rows).T @ found.duals
    assert (np.abs(stationary) <= 1e-10 * sizes).all()


@pytest.fixture(scope="module")
def fairness():
    """Least squares on the diabetes data, and half the squared gap between the mean predictions of two groups."""
    data = ef.load_dataset("diabetes")
    group = data.x[:, 1] > 0.0
    difference = jnp.asarray(data.x[group].mean(axis=0) - data.x[~group].mean(axis=0))
    problem = linear_regression(data, reduction="mean")
    return problem, lambda theta: 0.5 * (difference @ theta) ** 2


def test_a_gap_between_groups_narrows_as_predicted_while_the_loss_does_not_rise(fairness):
    problem, gap = fairness
    x, y = jnp.asarray(problem.data.x), jnp.asarray(problem.data.y)

    def loss(theta):
        return 0.5 * jnp.mean((x @ theta - y) ** 2)

    found = soft_weights(problem, objective=gap)
    assert found.objective.predicted < found.objective.before
    assert found.objective.after < found.objective.before
    # Trained on the mean loss itself, any other weights raise it: with it as a constraint, only first order is held.
    held = soft_weights(problem, objective=gap, constraint=loss)
    assert held.constraint.predicted[0] <= held.constraint.before[0] + 1e-12
    eps = found.eps
    weighted = (np.asarray(x).T * eps) @ np.asarray(x)
    expected = np.linalg.solve(weighted, (np.asarray(x).T * eps) @ np.asarray(y))
    np.testing.assert_allclose(found.retrained.theta, expected, rtol=1e-8, atol=1e-10)
    assert found.objective.after == pytest.approx(float(gap(jnp.asarray(expected))), rel=1e-7)


def test_the_floor_stops_at_zero_and_its_multiplier_is_reported(fairness):
    problem, gap = fairness
    found = soft_weights(problem, objective=gap, penalty=1e-9)
    assert found.objective.predicted == pytest.approx(0.0, abs=1e-12)
    assert found.floor_dual > 0.0
    assert "objective" in str(found.summary())
    assert "SoftWeights(down-weighted=" in repr(found)


def test_weights_may_change_for_every_point(rng):
    x = np.abs(rng.normal(size=(5, 1))) + 0.5
    problem = linear_regression(Dataset(x, x[:, 0]), l2=1.0)
    # Only the penalty keeps θ below 1: every point pulls it up.
    found = soft_weights(problem, objective=lambda theta: theta[0], floor=None)
    assert (found.w < 0.0).all()
    gram = float((found.eps * x[:, 0]) @ x[:, 0])
    expected = float((found.eps * x[:, 0]) @ problem.data.y) / (gram + 1.0)
    assert found.retrained.theta[0] == pytest.approx(expected, rel=1e-12)


def test_a_classifier_is_made_robust_to_a_shift_of_its_test_points():
    data = ef.load_dataset("breast_cancer")
    train, held = Dataset(data.x[:400], data.y[:400]), slice(400, None)
    problem = Problem(LinearModel(30), LogisticLoss(), train, l2=1.0)
    shifted = ef.Losses(problem.model, problem.loss, data.x[held] + 0.3, data.y[held])
    found = soft_weights(problem, objective=lambda theta: jnp.mean(shifted(theta)))
    assert found.objective.after < found.objective.before
    assert found.retrained.gradient_norm < 1e-8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": lambda theta: theta}, "it must be one finite number"),
        ({"objective": lambda theta: float(theta[0])}, "the functional leaves JAX"),
        ({"objective": 3}, "the functional is 3; a function of θ is needed"),
        ({"objective": lambda theta: -1.0 - theta[0] ** 2}, "below its floor"),
        ({"objective": lambda theta: theta[0] ** 2, "penalty": 0.0}, "penalty is 0; it must be positive"),
        ({"objective": lambda theta: 0.0 * theta[0]}, "no point's removal is predicted to lower"),
        ({"objective": lambda theta: theta[0] ** 2, "constraint": lambda t: jnp.log(-jnp.abs(t[0]))}, "not finite"),
    ],
)
def test_bad_input_is_refused(fairness, options, message):
    with pytest.raises(ef.InputError, match=re.escape(message)):
        soft_weights(fairness[0], **options)
