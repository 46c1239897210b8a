"""The table of answers to one deletion: exact where theory says so, honest where there is no answer."""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

from epsflow._core import ConvergenceError, InputError
from epsflow.analysis._endpoints import RETRAINING, Endpoints, endpoints
from epsflow.analysis._influence import influence
from epsflow.analysis._pbrf import pbrf
from epsflow.analysis.algorithms._unlearn import descend_to_delete, rewind_to_delete
from epsflow.analysis.optima._retrain import retrain
from epsflow.plots import save
from epsflow.plots._analysis import endpoints as draw
from epsflow.problem import MLP, Dataset, LinearModel, LogisticLoss, Problem, SquaredLoss, linear_regression

N, D = 30, 3
DELETE = [2, 5]


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(3).normal(size=(N, D))


@pytest.fixture(scope="module")
def linear(x) -> Problem:
    return linear_regression(Dataset(x, x.sum(axis=1) + np.sin(7.0 * x[:, 0])), DELETE)


@pytest.fixture(scope="module")
def table(linear) -> Endpoints:
    return endpoints(linear, damping=0.0, steps=60, K=20)


@pytest.fixture(scope="module")
def network(x):
    """A network at a random point, where the Hessian is indefinite."""
    problem = Problem(
        MLP((D, 2, 1)), SquaredLoss(), Dataset(x, np.sin(2.0 * x[:, 0])), DELETE, l2=0.05, reduction="mean"
    )
    return problem, problem.model.init(jax.random.key(1))


def row(table: Endpoints, start: str) -> dict:
    return next(row for row in table.rows() if row["method"].startswith(start))


def test_for_least_squares_newton_and_pbrf_are_retraining(table):
    """An identity; 1e-12 relative to the change, which is of order 0.1."""
    assert row(table, "Newton")["relative error"] <= 1e-12
    assert row(table, "PBRF")["relative error"] <= 1e-12
    assert row(table, RETRAINING)["distance"] == 0.0


def test_influence_falls_short_and_the_second_order_repairs_most_of_it(table):
    first, second = row(table, "influence")["relative error"], row(table, "second order")["relative error"]
    assert 0.01 < first < 1.0
    assert second < 0.5 * first
    assert row(table, "damped GGN")["relative error"] == pytest.approx(first, rel=1e-10), "λ_d = 0, linear model"


def test_the_descents_are_those_of_the_unlearning_functions(linear, table):
    theta0, eta = np.zeros(D), float(1.0 / np.linalg.eigvalsh(linear.hessian(jnp.zeros(D)))[-1])
    rewound = rewind_to_delete(linear, theta0, steps=60, K=[20, 60], step_size=eta)
    descended = descend_to_delete(linear, table.theta, steps=[20], step_size=eta)
    by_name = dict(zip(table.methods, table.thetas, strict=True))
    # η is estimated by the power method, here to about 1e-6.
    np.testing.assert_allclose(by_name["R2D, K = 20 of 60"], rewound.thetas[0], atol=1e-5)
    np.testing.assert_allclose(by_name["retraining, 60 steps"], rewound.thetas[1], atol=1e-5)
    np.testing.assert_allclose(by_name["D2D, K = 20"], descended.theta, atol=1e-5)


def test_costs_and_changes(table):
    assert row(table, "D2D")["gradients"] == 20.0
    assert row(table, "retraining, 60")["gradients"] == 60.0
    assert row(table, "Newton")["Hessian products"] == D
    np.testing.assert_allclose(np.linalg.norm(table.change, axis=1), [r["change"] for r in table.rows()])
    assert table.converged.all()


def test_the_functional_is_the_deleted_points_loss(linear, table):
    x, y = linear.data.x[DELETE], linear.data.y[DELETE]

    def loss(theta):
        return 0.5 * ((x @ theta - y) ** 2).sum()

    expected = [loss(theta) - loss(table.theta) for theta in np.asarray(table.thetas)]
    np.testing.assert_allclose(table.functional, expected, rtol=1e-12)
    assert row(table, RETRAINING)["functional"] > 0.0, "without a point its own loss grows"


@pytest.mark.slow  # compiles a second table
def test_logistic_regression_is_retrained_to_the_same_point_as_retrain(x):
    problem = Problem(LinearModel(D), LogisticLoss(), Dataset(x, x[:, 0] > 0.3), DELETE, l2=0.2)
    found = endpoints(problem, steps=60, K=20)
    # Both certified to ‖∇‖ ≤ 1e-9, with at least l2 = 0.2 of curvature.
    np.testing.assert_allclose(found.thetas[0], retrain(problem).theta, atol=1e-8)
    # Removing two of thirty points: linear estimates are right to a few per cent.
    assert max(row(found, name)["relative error"] for name in ("Newton", "influence", "second order")) < 0.1


def test_a_minimum_at_infinity_is_no_answer():
    """Without its last point the classes are separable: gradients vanish far out, Newton steps do not."""
    x = np.stack([[-3.0, -2.0, -1.0, 1.0, 2.0, 3.0, 2.5], np.ones(7)], axis=1)
    data = Dataset(x, np.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0]))
    problem = Problem(LinearModel(2), LogisticLoss(), data, [6])
    with pytest.raises(ConvergenceError, match="at infinity without l2") as caught:
        endpoints(problem, damping=1e-3)
    assert not caught.value.result.converged[0]


def test_a_method_without_an_answer_says_why(linear):
    """Two equal columns: H is singular, so influence and Newton refuse; with damping the PBRF answers."""
    x = linear.data.x.copy()
    x[:, 2] = x[:, 1]
    singular = linear_regression(Dataset(x, linear.data.y), DELETE)
    found = endpoints(singular, theta=np.zeros(D), damping=0.1, steps=20, K=5)
    for name in ("influence", "second order", "Newton"):
        missing = row(found, name)
        assert not missing["converged"]
        assert np.isnan(missing["distance"])
        assert "singular" in missing["note"]
    assert row(found, "PBRF")["converged"]
    check_the_figure(found)


@pytest.mark.slow  # compiles a third table
def test_a_network_where_the_hessian_is_indefinite(network):
    problem, theta = network
    found = endpoints(problem, theta=theta, theta0=theta, damping=0.1, steps=20, K=5, solver="ekfac")
    missing = row(found, "influence")
    assert not missing["converged"]
    assert np.isnan(missing["distance"])
    assert "indefinite" in missing["note"]
    assert row(found, "PBRF")["converged"]
    by_name = dict(zip(found.methods, found.thetas, strict=True))
    np.testing.assert_allclose(by_name["PBRF, λ_d = 0.1"], pbrf(problem, theta, damping=0.1).theta, atol=1e-8)
    ekfac = influence(problem, theta, curvature="ggn", damping=0.1, solver="ekfac").change
    np.testing.assert_allclose(by_name["damped GGN influence by ekfac, λ_d = 0.1"], theta + ekfac, atol=1e-12)
    # θ0 = θ_s: both retrainings start at the same point.
    np.testing.assert_allclose(by_name["retraining, cold"], by_name[RETRAINING], atol=1e-7)
    check_the_figure(found)
    with pytest.raises(ConvergenceError, match="retraining, which the others are compared with") as caught:
        endpoints(problem, theta=theta, theta0=theta, damping=0.1, steps=20, K=5, max_steps=1)
    assert not caught.value.result.converged[0]


def check_the_figure(found: Endpoints) -> None:
    axes = draw(found)
    texts = [text.get_text() for text in axes.texts]
    # Beside the panel, or in it where they are long.
    names = [label.get_text() for label in axes.get_yticklabels() if label.get_text()] or texts
    expected = [name.replace("λ_d", "$\\lambda_d$") for name in found.methods[1:]]
    assert [name for name in names if name in expected] == expected
    assert sum("no answer" in text for text in texts) == int(np.isnan(found.distance).sum())
    assert "5 / 0" in texts, "the cost of D2D"
    plt.close("all")


def test_the_figure_of_an_exact_table(table, tmp_path):
    assert save(draw(table), tmp_path / "endpoints.pdf")[0].exists()
    plt.close("all")


# --- bad input ---


def test_bad_input(linear, network, x):
    problem, theta = network
    with pytest.raises(InputError, match="deletes no point"):
        endpoints(linear_regression(linear.data))
    with pytest.raises(InputError, match="pass theta, the trained"):
        endpoints(problem)
    with pytest.raises(InputError, match="pass theta0"):
        endpoints(problem, theta=theta)
    with pytest.raises(InputError, match="0 ≤ K ≤ steps"):
        endpoints(linear, steps=5, K=6)
    with pytest.raises(InputError, match=r"returned shape \(3,\)"):
        endpoints(linear, damping=0.0, steps=60, K=20, functional=lambda t: t)
