"""D2D and R2D: endpoints of the flow, gradient descent that approaches them as O(η), and steps taken back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from epsflow._core import RESULTS, ConvergenceError, InputError
from epsflow.analysis.algorithms._descent import gradient_descent, reconstruct
from epsflow.analysis.algorithms._unlearn import descend_to_delete, rewind_to_delete
from epsflow.flow import gradient_flow
from epsflow.problem import MLP, Dataset, Problem, SquaredLoss, linear_regression
from epsflow.schedules import Constant, Step
from reference import data_weights, leave_out_optimum, linear_flow, split_system, weighted_system
from reference_models import mlp_gradient

N, D, T = 20, 3, 12.0
DELETE = [1, 6]
KS = np.array([0.0, 3.0, 8.0, 12.0])


@pytest.fixture(scope="module")
def data() -> Dataset:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(N, D)) * np.array([1.0, 0.6, 0.3])
    return Dataset(x, x @ np.array([1.0, -1.0, 2.0]) + 0.3 * rng.normal(size=N))


@pytest.fixture(scope="module")
def problem(data) -> Problem:
    return linear_regression(data, DELETE, reduction="mean")


@pytest.fixture(scope="module")
def theta0() -> np.ndarray:
    return np.array([0.5, 0.5, -0.5])


@pytest.fixture(scope="module")
def rewound(problem, theta0):
    return rewind_to_delete(problem, theta0, T=T, K=KS)


# --- the flow ---


def test_rewinding_is_training_then_training_without(data, theta0, rewound):
    """By matrix exponentials; K = T is retraining, K = 0 is no unlearning."""
    full, left = (weighted_system(data.x, data.y, DELETE, eps, 0.0, "mean") for eps in (1.0, 0.0))
    retrained = linear_flow(*left, theta0, T)
    for K, theta, distance in zip(KS, rewound.thetas, rewound.distance, strict=True):
        expected = linear_flow(*left, linear_flow(*full, theta0, T - K), K)
        np.testing.assert_allclose(theta, expected, atol=1e-13)
        assert float(distance) == pytest.approx(np.linalg.norm(expected - retrained), abs=1e-13)
    assert float(rewound.distance[-1]) == 0.0
    assert (np.diff(rewound.distance) < 0.0).all(), "the further the rewind, the closer to retraining"


def test_descending_ends_at_the_leave_out_optimum(data, problem, theta0):
    end = descend_to_delete(problem, theta0, time=[1.0, 10.0, 4000.0])
    optimum = leave_out_optimum(data.x, data.y, DELETE, 0.0, "mean")
    np.testing.assert_allclose(end.target, optimum, atol=1e-13)
    np.testing.assert_allclose(end.thetas[-1], optimum, atol=1e-12)
    path = gradient_flow(problem, Constant(0.0), theta0, ts=np.array([1.0, 10.0, 4000.0]))
    np.testing.assert_array_equal(end.thetas, path.thetas)


# --- gradient descent ---


@pytest.mark.parametrize("algorithm", ["D2D", "R2D"])
def test_gradient_descent_approaches_the_flow_linearly_in_the_step_size(problem, theta0, rewound, algorithm):
    """Explicit Euler: halving η halves the distance at equal time ηk, up to O(η) relative."""
    errors = []
    for eta in (0.02, 0.01, 0.005):
        steps = np.round(KS / eta).astype(int)
        if algorithm == "R2D":
            found = rewind_to_delete(problem, theta0, steps=round(T / eta), K=steps, step_size=eta)
            exact = rewound.thetas
        else:
            found = descend_to_delete(problem, theta0, steps=steps[1:], step_size=eta)
            exact = gradient_flow(problem, Constant(0.0), theta0, ts=KS[1:]).thetas
        errors.append(np.linalg.norm(found.thetas - exact, axis=1))
    first, second, third = errors
    np.testing.assert_allclose(first / second, 2.0, rtol=0.02)
    np.testing.assert_allclose(second / third, 2.0, rtol=0.01)


def test_each_step_is_the_one_written_down(data, theta0):
    """A network, by hand, through a schedule that drops the points after three steps of five."""
    problem = Problem(MLP((D, 2, 1)), SquaredLoss(), data, DELETE, l2=0.1, reduction="mean")
    theta = np.asarray(problem.model.init(jax.random.key(0)))
    found = gradient_descent(problem, Step(3 * 0.1), theta, steps=np.arange(6), step_size=0.1)
    for k in range(6):
        np.testing.assert_allclose(found.thetas[k], theta, atol=1e-14)
        weights = data_weights(N, DELETE, 1.0 if k < 3 else 0.0, "mean")
        theta = theta - 0.1 * mlp_gradient(theta, data.x, data.y, weights, 2, 0.1)


def test_descent_contracts_at_the_rate_of_neel_et_al(problem, theta0):
    """‖θ_k − θ*‖ ≤ γ^k ‖θ_0 − θ*‖, γ = (L − μ)/(L + μ), η = 2/(L + μ)."""
    spectrum = np.linalg.eigvalsh(problem.hessian(jnp.zeros(D), 0.0))
    low, high = spectrum[0], spectrum[-1]
    ks = np.arange(0, 60, 10)
    found = descend_to_delete(problem, theta0, steps=ks, step_size=2.0 / (low + high))
    bound = ((high - low) / (high + low)) ** ks * found.distance[0]
    assert (found.distance <= bound * (1.0 + 1e-10)).all()
    np.testing.assert_array_equal(found.gradients, ks)


# --- mini-batches ---


def test_a_batch_of_all_points_is_gradient_descent(problem, theta0, key):
    whole = descend_to_delete(problem, theta0, steps=[5], step_size=0.2)
    batched = descend_to_delete(problem, theta0, steps=[5], step_size=0.2, batch_size=N, key=key)
    np.testing.assert_allclose(batched.thetas[0], whole.thetas, atol=1e-14)


def test_a_batch_gradient_is_unbiased(problem, theta0, key):
    """The mean of 4,000 first steps, within four standard errors of the full step."""
    runs = descend_to_delete(problem, theta0, steps=[1], step_size=1.0, batch_size=4, key=key, seeds=4_000)
    moves = np.asarray(runs.thetas[:, 0] - theta0)
    error = moves.std(axis=0) / np.sqrt(len(moves))
    assert (np.abs(moves.mean(axis=0) + np.asarray(problem.gradient(jnp.asarray(theta0), 0.0))) < 4.0 * error).all()


def test_deleted_points_have_no_say_after_deletion(data, problem, theta0, key):
    """Another label for a deleted point changes no iterate of D2D, with the same batches."""
    y = data.y.copy()
    y[DELETE] += 100.0
    options = {"steps": [3, 9], "step_size": 0.2, "batch_size": 5, "key": key, "seeds": 2, "target": np.zeros(D)}
    other = linear_regression(Dataset(data.x, y), DELETE, reduction="mean")
    first, second = (descend_to_delete(p, theta0, **options) for p in (problem, other))
    np.testing.assert_array_equal(first.thetas, second.thetas)
    assert (first.thetas[0] != first.thetas[1]).any(), "seeds differ"


def test_retraining_shares_the_batches_of_rewinding(problem, theta0, key):
    """K = T is retraining exactly, for every seed; costs count passes over the data."""
    options = {"steps": 40, "K": [0, 10, 40], "step_size": 0.2, "batch_size": 5, "seeds": 3, "key": key}
    found = rewind_to_delete(problem, theta0, **options)
    assert found.distance.shape == (3, 3)
    np.testing.assert_array_equal(found.distance[:, -1], 0.0)
    assert (found.distance[:, 0] > 0.0).all()
    np.testing.assert_allclose(found.gradients, np.array([0, 10, 40]) * 5 / N)


# --- backwards ---


def test_steps_are_taken_back_until_rounding_wins(problem, theta0):
    """Against the kept iterates: the error stays below the reported uncertainty, and far below 1% before breakdown."""
    # One array of marks for both lengths.
    kept = gradient_descent(problem, 1.0, theta0, steps=np.arange(201), step_size=0.4).thetas
    found = reconstruct(problem, kept[-1], steps=200, step_size=0.4)
    error = np.linalg.norm(found.thetas - kept[::-1], axis=1)
    assert 20 < found.breakdown < 200
    assert bool(found.result == RESULTS.nonlinear_divergence)
    known = slice(1, found.breakdown)
    assert (error[known] <= np.maximum(10.0 * found.uncertainty[known], 1e-14)).all()
    assert (error[known] <= 1e-2 * np.linalg.norm(kept[::-1][known] - kept[-1], axis=1)).all()
    assert error[-1] > 1.0, "beyond the breakdown nothing is left of the start"
    # Forward again the path contracts: small even at the last known iterate, which is why it is no certificate.
    assert np.asarray(found.replay_error)[known].max() < 1e-12
    assert np.isnan(found.replay_error[found.breakdown])


def test_rewinding_from_reconstructed_checkpoints(problem, theta0):
    options = {"steps": 200, "K": [0, 10], "step_size": 0.4}
    kept = rewind_to_delete(problem, theta0, **options)
    rebuilt = rewind_to_delete(problem, theta0, **options, checkpoints="reconstructed")
    # Ten steps back amplify rounding by 1/(1 − ηλ)^10, below 1e4 here.
    np.testing.assert_allclose(rebuilt.thetas, kept.thetas, atol=1e-11)
    with pytest.raises(ConvergenceError, match=r"are lost .* steps back, of 200 needed") as caught:
        rewind_to_delete(problem, theta0, steps=200, K=200, step_size=0.4, checkpoints="reconstructed")
    assert caught.value.result.breakdown > 0


def test_a_step_that_forgets_a_direction_cannot_be_taken_back(problem, theta0):
    high = float(np.linalg.eigvalsh(problem.hessian(jnp.zeros(D)))[-1])
    with pytest.raises(InputError, match="step size below"):
        reconstruct(problem, theta0, steps=2, step_size=1.05 / high)


# --- bad input ---


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "`time` .* or `steps`"),
        ({"time": 1.0, "steps": 3}, "one of the two"),
        ({"time": -1.0}, "must be ≥ 0"),
        ({"steps": [3, 1]}, "ascending"),
        ({"steps": 3, "step_size": 0.0}, "positive number"),
        ({"steps": 3, "batch_size": 4}, "pass key"),
        ({"steps": 3, "batch_size": N + 1}, f"number of points, {N}"),
    ],
)
def test_bad_descents(problem, theta0, options, words):
    with pytest.raises(InputError, match=words):
        descend_to_delete(problem, theta0, **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"T": T, "K": 13.0}, "exceeds T"),
        ({"steps": 12, "K": 0.5, "step_size": 0.1}, "whole numbers"),
        ({"T": T, "K": 3.0, "batch_size": 4}, "pass steps, not T"),
        ({"T": T, "K": [3.0, 1.0]}, "ascend"),
        ({"K": 1.0}, "one of the two"),
        ({"T": T, "steps": 12, "K": 1.0}, "one of the two"),
    ],
)
def test_bad_rewinds(problem, theta0, options, words):
    with pytest.raises(InputError, match=words):
        rewind_to_delete(problem, theta0, **options)


def test_nothing_to_delete(data, theta0):
    with pytest.raises(InputError, match="deletes no point"):
        descend_to_delete(linear_regression(data), theta0, time=1.0)


def test_a_descent_that_diverges_is_an_error(problem, theta0):
    with pytest.raises(ConvergenceError, match="smaller step_size") as caught:
        descend_to_delete(problem, theta0, steps=[5_000], step_size=10.0)
    assert not np.isfinite(caught.value.result.thetas).all()


def test_a_non_convex_model_has_no_target_unless_given(data, theta0):
    problem = Problem(MLP((D, 2, 1)), SquaredLoss(), data, DELETE, reduction="mean")
    theta = problem.model.init(jax.random.key(0))
    found = descend_to_delete(problem, theta, steps=[2], step_size=0.1)
    assert np.isnan(found.distance).all()
    assert "pass target" in found.reference
    assert float(descend_to_delete(problem, theta, steps=[0], step_size=0.1, target=theta).distance[0]) == 0.0


def test_the_reference_system_is_the_problem(data, problem):
    """The exact answers above stand on this."""
    system = split_system(data.x, data.y, DELETE, 0.0, "mean")
    np.testing.assert_allclose(problem.risk.h_retained, system[0], atol=1e-15)
