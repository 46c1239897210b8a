"""The one solver of ∇R_ε = 0 on data as people have them: raw units, nearly dependent columns, no minimum at all."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from epsflow import equilibrium, retrain, train
from epsflow._core import RESULTS, ConvergenceError, InputError
from epsflow.flow._newton import minimise, newton_step, scaled_coordinates
from epsflow.problem import (
    Dataset,
    LinearModel,
    LogisticLoss,
    Problem,
    PseudoHuberLoss,
    SoftmaxCrossEntropy,
    linear_regression,
)

POWERS = [1e-8, 1e-3, 1.0, 1e5, 1e8]


def logistic(x, y, l2=0.0, delete=None, reduction="sum") -> Problem:
    x = np.asarray(x, dtype=float)
    x = x[:, None] if x.ndim == 1 else x
    return Problem(LinearModel(x.shape[1]), LogisticLoss(), Dataset(x, np.asarray(y, float)), delete, l2, reduction)


# --- linear regression: NIST's values ---

WAMPLER_NOISE = [759, -2048, 2048, -2048, 2523, -2048, 2048, -2048, 1838, -2048, 2048]
WAMPLER_NOISE = [*WAMPLER_NOISE, *WAMPLER_NOISE[-2::-1]]


def longley() -> tuple[np.ndarray, np.ndarray]:
    load = pytest.importorskip("statsmodels.datasets").longley.load_pandas
    data = load()
    return np.hstack([np.asarray(data.exog, float), np.ones((16, 1))]), np.asarray(data.endog, float)


def wampler() -> tuple[np.ndarray, np.ndarray]:
    powers = np.arange(21.0)[:, None] ** np.arange(6)
    return powers, powers.sum(axis=1) + np.array(WAMPLER_NOISE)


@pytest.mark.parametrize("solve", [train, lambda p: equilibrium(p)], ids=["train", "equilibrium"])
def test_longley_in_raw_units_has_the_certified_intercept_and_sum_of_squares(solve):
    x, y = longley()
    end = solve(linear_regression(Dataset(x, y)))
    assert end.unique
    # κ of the scaled design is 4e4 and the answer known to 1e-15: some 1e-11 at most.
    assert end.theta[-1] == pytest.approx(-3482258.63459582, rel=1e-10)
    assert np.sum((x @ end.theta - y) ** 2) == pytest.approx(836424.055505915, rel=1e-10)


def test_longley_without_a_row_is_unique():
    x, y = longley()
    end = retrain(linear_regression(Dataset(x, y), 15))
    expected = np.linalg.lstsq(x[:15] / np.abs(x[:15]).max(axis=0), y[:15], rcond=None)[0] / np.abs(x[:15]).max(axis=0)
    np.testing.assert_allclose(end.theta, expected, rtol=1e-8)  # κ² u of either


def test_wampler_3_and_its_leave_out_fit():
    x, y = wampler()
    end = train(linear_regression(Dataset(x, y)))
    np.testing.assert_allclose(end.theta, np.ones(6), rtol=1e-8)  # κ of the scaled design 3e4, residual large: κ²u
    end = retrain(linear_regression(Dataset(x, y), 4))
    certified = [335.354866755259, -804.610681805755, 201.088489345414]
    certified += [-17.6403646831131, 1.74974532644992, 0.989046363577165]
    np.testing.assert_allclose(end.theta, certified, rtol=1e-9)
    assert end.distance < 1e-9 * np.linalg.norm(end.theta)


@pytest.mark.parametrize("power", POWERS)
def test_a_column_in_other_units_scales_its_coefficient(power):
    x = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0], [2.0, 0.0], [0.0, 2.0]])
    y = x @ np.array([3.0, 5.0])
    end = train(linear_regression(Dataset(x * [power, 1.0], y)))
    np.testing.assert_allclose(end.theta, [3.0 / power, 5.0], rtol=1e-14)


def test_an_unpenalised_intercept_by_a_huge_column():
    """Ridge with the column × 1e7: as good as no penalty on it."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((30, 2)), rng.standard_normal(30)
    end = train(linear_regression(Dataset(np.hstack([x, np.full((30, 1), 1e7)]), y), l2=2.0))
    centred, middle = x - x.mean(axis=0), y - y.mean()
    slopes = np.linalg.solve(centred.T @ centred + 2.0 * np.eye(2), centred.T @ middle)
    np.testing.assert_allclose(end.theta[:2], slopes, rtol=1e-12)
    assert 1e7 * end.theta[2] == pytest.approx(y.mean() - x.mean(axis=0) @ slopes, rel=1e-12)


@pytest.mark.filterwarnings("ignore:.*nearly collinear:epsflow.EpsflowWarning")
def test_a_condition_of_a_million_million_is_solved():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((40, 3))
    x[:, 2] = x[:, 1] + 1e-12 * x[:, 2]
    theta = np.array([1.0, 2.0, 3.0])
    end = train(linear_regression(Dataset(x, x @ theta)))
    assert end.unique
    np.testing.assert_allclose(end.theta, theta, rtol=1e-2)  # κ u = 1e-4, with a factor of a hundred


def test_blocks_of_rows_do_not_matter(monkeypatch):
    x, y = wampler()
    whole = equilibrium(linear_regression(Dataset(x, y), [3, 8]), eps=0.4).theta
    monkeypatch.setattr("epsflow.problem._quadratic.CHUNK_ROWS", 4)
    found = equilibrium(linear_regression(Dataset(x, y), [3, 8]), eps=0.4).theta
    np.testing.assert_allclose(found, whole, rtol=1e-7)  # κ² u for a large residual


# --- other convex risks ---


@pytest.mark.parametrize("power", POWERS)
def test_separable_classes_are_refused_in_any_unit_and_by_every_route(power):
    x = power * np.array([-4.0, -3.0, -2.0, -1.2, 1.0, 2.2, 3.0, 4.0])
    problem = logistic(x, x > 0.0, delete=0)
    for solve in (train, retrain, equilibrium):
        with pytest.raises(ConvergenceError, match="at infinity"):
            solve(problem)
    assert train(problem, throw=False).result == RESULTS.not_stationary


@pytest.mark.parametrize("start", [0.0, 1e3, -1e3])
def test_incomes_that_separate_have_no_equilibrium_from_any_start(start):
    x = 1e3 * np.array([-27.0, -23.0, -18.0, -14.0, -9.0, 7.0, 13.0, 19.0, 26.0, 45.0])
    with pytest.raises(ConvergenceError, match="at infinity"):
        equilibrium(logistic(x, x > 0.0), np.array([start]))


def test_classes_that_separate_but_for_ties_have_no_minimum():
    x = np.array([[1.0, -2.0], [1.0, -1.0], [1.0, 0.0], [1.0, 0.0], [1.0, 1.0], [1.0, 3.0]])
    with pytest.raises(ConvergenceError, match="at infinity"):
        train(logistic(x * [1.0, 1e6], [0, 0, 0, 1, 1, 1]))


@pytest.mark.parametrize("power", [1e-8, 1.0, 1e6])
def test_a_penalty_is_not_scaled(power):
    """c·θ with λ = 1 and a column × c is θ with λ/c²."""
    x = np.array([-4.0, -3.0, -2.0, -1.2, 1.0, 2.2, 3.0, 4.0])
    end = train(logistic(power * x, x > 0.0, l2=1.0))
    same = train(logistic(x, x > 0.0, l2=power**-2.0))
    assert power * end.theta[0] == pytest.approx(same.theta[0], rel=1e-9)
    if power == 1e6:
        assert end.theta[0] == pytest.approx(2.4443647346748e-05, rel=1e-10)


def incomes() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    income, age = rng.lognormal(10.5, 0.6, 400), rng.uniform(18.0, 80.0, 400)
    chance = 1.0 / (1.0 + np.exp(-(3e-5 * income + 0.02 * age - 2.0)))
    return np.stack([income, age, np.ones(400)], axis=1), (rng.random(400) < chance).astype(float)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_incomes_and_ages_in_raw_units(reduction):
    x, y = incomes()
    end = train(logistic(x, y, reduction=reduction))
    assert end.unique
    widths = np.abs(x).max(axis=0)
    scaled = x / widths

    def risk(z):
        f = scaled @ z
        return np.sum(np.logaddexp(0.0, f) - y * f), scaled.T @ (1.0 / (1.0 + np.exp(-f)) - y)

    other = minimize(risk, np.zeros(3), jac=True, method="BFGS", options={"gtol": 1e-9})
    np.testing.assert_allclose(widths * end.theta, other.x, rtol=1e-7)  # gtol over the least curvature
    by_retraining = retrain(logistic(x, y, delete=[0], reduction=reduction), end.theta)
    assert by_retraining.steps <= 4  # from next door


@pytest.mark.parametrize("power", POWERS)
def test_huber_regression_in_other_units(power):
    rng = np.random.default_rng(4)
    x, noise = rng.standard_normal((30, 3)), rng.standard_t(2.0, 30)
    y = x @ np.array([1.0, -2.0, 0.5]) + noise
    plain = train(Problem(LinearModel(3), PseudoHuberLoss(1.0), Dataset(x, y)))
    scaled = train(Problem(LinearModel(3), PseudoHuberLoss(power), Dataset(x * [1e4, 1.0, 1e-6], power * y)))
    np.testing.assert_allclose(scaled.theta * [1e4, 1.0, 1e-6] / power, plain.theta, rtol=1e-10)


def test_collinear_columns_keep_what_the_rows_do_not_see():
    """The flow moves θ in the span of the rows: θ0's part outside it stays, whatever the units of the search."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((40, 2))
    y = (x[:, 0] + rng.standard_normal(40) > 0.0).astype(float)
    twice = np.hstack([x, 1e3 * x[:, :1]])
    theta0 = np.array([0.3, -0.1, 2e-4])
    end = equilibrium(logistic(twice, y), theta0)
    assert not end.unique
    kernel = np.array([1e3, 0.0, -1.0])
    assert kernel @ end.theta == pytest.approx(kernel @ theta0, rel=1e-12)
    alone = equilibrium(logistic(x, y)).theta
    assert end.theta[0] + 1e3 * end.theta[2] == pytest.approx(alone[0], rel=1e-9)
    with pytest.raises(InputError, match="not unique"):
        retrain(logistic(twice, y, delete=0))


def test_powers_of_one_variable():
    """The scaled design has a condition of 1e7, the Hessian its square: only an orthonormal design solves it."""
    rng = np.random.default_rng(6)
    t = np.linspace(10.0, 12.0, 200)
    y = (rng.random(200) < 1.0 / (1.0 + np.exp(-3.0 * (t - 11.0)))).astype(float)
    end = train(logistic(t[:, None] ** np.arange(4), y))
    assert end.unique
    centred = train(logistic((t - 11.0)[:, None] ** np.arange(4), y))
    outputs = (t - 11.0)[:, None] ** np.arange(4) @ centred.theta
    np.testing.assert_allclose(t[:, None] ** np.arange(4) @ end.theta, outputs, rtol=0, atol=1e-6)  # κ u = 1e-9, θ 1e3


def test_softmax_without_penalty_has_a_direction_that_no_loss_sees():
    """One number added to all classes changes nothing: the minimum is stationary but not unique."""
    rng = np.random.default_rng(7)
    x, y = rng.standard_normal((60, 2)), rng.integers(0, 3, 60).astype(float)
    end = equilibrium(Problem(LinearModel(2, 3), SoftmaxCrossEntropy(), Dataset(x, y)), throw=False)
    assert end.gradient_norm < 1e-9
    assert not end.unique


def test_hundreds_of_thousands_of_rows_meet_what_rounding_allows():
    rng = np.random.default_rng(8)
    cells = rng.integers(0, 3, (616_100, 2))
    x = np.stack([np.ones(616_100), *(cells[:, k] == level for k in (0, 1) for level in (1, 2))], axis=1).astype(float)
    y = (rng.random(616_100) < 0.1 + 0.1 * cells.mean(axis=1)).astype(float)
    end = train(logistic(x, y), tol=1e-13)
    assert end.result == RESULTS.successful


def test_a_start_that_overflows_is_no_minimum():
    x = np.array([-1.0, 1.0, 0.5])
    end = train(logistic(x, [0, 1, 0]), np.array([1e308]), throw=False)
    assert end.result == RESULTS.successful or end.result == RESULTS.not_stationary
    assert np.isfinite(end.gradient_norm) or end.result == RESULTS.not_stationary


def test_a_singular_hessian_has_no_newton_step():
    assert newton_step(np.array([[1.0, 1.0], [1.0, 1.0]]), np.ones(2)) is None
    assert newton_step(np.array([[1.0, 0.0], [0.0, -1.0]]), np.ones(2)) is None
    np.testing.assert_allclose(newton_step(np.diag([1e-200, 1e200]), np.ones(2)), [-1e200, -1e-200], rtol=1e-14)


@pytest.mark.filterwarnings("ignore:.*nearly collinear:epsflow.EpsflowWarning")
def test_coordinates_give_back_their_start():
    rng = np.random.default_rng(9)
    x = rng.standard_normal((20, 3)) * [1e6, 1.0, 1e-6]
    for design in (x, np.hstack([x, x[:, :1] * (1.0 + 1e-6 * x[:, 1:2])]), np.hstack([x, x[:, :1]])):
        model = logistic(design, rng.random(20) < 0.5).generalised()
        theta = rng.standard_normal(design.shape[1])
        coordinates, z = scaled_coordinates(model, model.weights(1.0), theta)
        widths = np.abs(design).max(axis=0)
        np.testing.assert_allclose(widths * coordinates.theta(z), widths * theta, rtol=0, atol=1e-9 * widths.max())
        np.testing.assert_allclose(coordinates.risk.x @ z, design @ theta, rtol=1e-8)


def test_no_steps_leave_the_start():
    x, y = incomes()
    model = logistic(x, y).generalised()
    end = minimise(model, model.weights(1.0), np.zeros(3), tol=1e-10, max_steps=0)
    assert not end.stationary
    assert end.theta.tolist() == [0.0, 0.0, 0.0]


def test_results_are_numpy_whatever_comes_in():
    x, y = incomes()
    end = train(logistic(x, y, l2=1e-3), jnp.zeros(3))
    assert isinstance(end.theta, np.ndarray)
    assert repr(end).startswith("Equilibrium(theta=[")
