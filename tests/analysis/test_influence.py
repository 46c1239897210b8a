"""Influence against exact retraining: closed forms first, then refits and finite differences of them, then itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from epsflow import _core
from epsflow.analysis._functionals import Losses, Predictions
from epsflow.analysis._influence import influence
from epsflow.analysis._self_influence import self_influence
from epsflow.analysis.curvature import CG
from epsflow.problem import (
    MLP,
    Dataset,
    FunctionModel,
    LinearModel,
    LogisticLoss,
    Problem,
    SquaredLoss,
    linear_regression,
    load_dataset,
)
from reference import data_weights, leave_out_optimum
from reference_models import leverage, logistic_hessian, logistic_optimum, mlp_forward, ols, sigmoid


@pytest.fixture(scope="module")
def diabetes() -> Dataset:
    return load_dataset("diabetes")


def logistic_problem(**options) -> Problem:
    """Thirty points, two deleted, strongly enough penalised for the optimum to be found to rounding."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(30, 4))
    y = (rng.random(30) < sigmoid(x @ np.array([1.0, -2.0, 0.5, 0.0]))).astype(float)
    return Problem(LinearModel(4), LogisticLoss(), Dataset(x, y), **{"delete": [3, 11], "l2": 0.5, **options})


def optimum(problem: Problem, eps: float, delete=None) -> np.ndarray:
    """θ(ε) by NumPy's Newton method."""
    delete = problem.delete if delete is None else delete
    weights = data_weights(problem.data.n, delete, eps, problem.reduction)
    return logistic_optimum(problem.data.x, problem.data.y, weights, problem.l2)


# --- closed forms ---


def test_ols_influence_is_short_of_the_truth_by_the_factor_one_minus_leverage(diabetes):
    problem = linear_regression(diabetes)
    found = influence(problem, points="all")
    x, y, theta = diabetes.x, diabetes.y, ols(diabetes.x, diabetes.y)
    projection = leverage(x)
    exact = np.linalg.solve(x.T @ x, (x * ((y - x @ theta) / (1.0 - projection))[:, None]).T).T  # θ* − θ*_{−j}
    # Condition number of XᵀX: about 500; the change is θ(0) − θ(1).
    np.testing.assert_allclose(found.change, -exact * (1.0 - projection)[:, None], atol=1e-12 * np.abs(exact).max())
    refit = leave_out_optimum(x, y, [7]) - theta
    np.testing.assert_allclose(found.change[7] / (1.0 - projection[7]), refit, atol=1e-12 * np.abs(refit).max())
    assert float(found.gradient_norm) < 1e-10


def test_from_the_removed_end_it_overshoots_by_the_factor_one_plus_h(diabetes):
    problem = linear_regression(diabetes, delete=[7])
    back = influence(problem, at="removed")
    x, y = diabetes.x, diabetes.y
    kept = np.delete(x, 7, axis=0)
    h = x[7] @ np.linalg.solve(kept.T @ kept, x[7])
    truth = leave_out_optimum(x, y, [7]) - ols(x, y)
    np.testing.assert_allclose(back.change, (1.0 + h) * truth, atol=1e-12 * np.abs(truth).max())


def test_ols_self_influence_is_not_the_leverage(diabetes):
    residual = diabetes.y - diabetes.x @ ols(diabetes.x, diabetes.y)
    found = self_influence(linear_regression(diabetes))
    np.testing.assert_allclose(found.values, residual**2 * leverage(diabetes.x), rtol=1e-9, atol=1e-13)
    # The mean of the losses has the same optimum, and c∇ℓᵀH⁻¹∇ℓ is a change of the loss: the same number.
    mean = self_influence(linear_regression(diabetes, reduction="mean"))
    np.testing.assert_allclose(mean.values, found.values, rtol=1e-9, atol=1e-13)


# --- exact retraining ---


@pytest.mark.parametrize(("at", "eps"), [("trained", 1.0), ("removed", 0.0)])
def test_derivatives_are_those_of_retraining(at, eps):
    problem = logistic_problem()
    first = influence(problem, at=at, theta=optimum(problem, eps))
    second = influence(problem, at=at, theta=optimum(problem, eps), order=2)
    h = 1e-3
    low, middle, high = (optimum(problem, eps + step) for step in (-h, 0.0, h))
    theta_dot, theta_ddot = (high - low) / (2 * h), (high - 2 * middle + low) / h**2
    # Central differences: h² times a third or fourth derivative of order one, and rounding 1e-15/h², about 1e-9.
    np.testing.assert_allclose(first.theta_dot, theta_dot, atol=1e-6 * np.abs(theta_dot).max())
    np.testing.assert_array_equal(first.change, -first.theta_dot)
    sign = 1.0 if at == "trained" else -1.0
    bend = 2.0 * sign * (np.asarray(second.change) - np.asarray(first.change))
    np.testing.assert_allclose(bend, theta_ddot, atol=1e-5 * np.abs(theta_ddot).max())


def test_a_functional_bends_with_the_second_order():
    problem = logistic_problem()
    losses = Losses(problem.model, problem.loss, problem.data.x[:5], problem.data.y[:5])
    theta = optimum(problem, 1.0)
    slope = influence(problem, theta=theta, functional=losses).change
    bend = influence(problem, theta=theta, functional=losses, order=2).change - slope

    def remainder(weight: float) -> float:
        truth = losses(jnp.asarray(optimum(problem, 1.0 - weight))) - losses(jnp.asarray(theta))
        return float(jnp.abs(weight * slope + weight**2 * bend - truth).max())

    # Taylor: with a tenth of the weight removed the remainder is a thousandth, up to the next order.
    assert remainder(0.01) < remainder(0.1) / 800.0


def test_breast_cancer_against_refits_of_a_dozen_points():
    data = load_dataset("breast_cancer")
    problem = Problem(LinearModel(30), LogisticLoss(), data, l2=1.0)
    theta = optimum(problem, 1.0, [])
    chosen = np.linspace(0, 568, 12).astype(int)
    truth = np.array([optimum(problem, 0.0, [j]) for j in chosen]) - theta
    first = np.asarray(influence(problem, theta=theta, points=chosen).change)
    second = np.asarray(influence(problem, theta=theta, points=chosen, order=2).change)
    slope = float((first * truth).sum() / (first * first).sum())
    error, error2 = (np.linalg.norm(found - truth) / np.linalg.norm(truth) for found in (first, second))
    # Were the loss quadratic, the truth would be the estimate times 1 + h + h² + …, h the point's weighted leverage:
    # one order leaves a relative error of h, two orders one of h².
    p, x = sigmoid(data.x @ theta), data.x[chosen]
    hessian = logistic_hessian(theta, data.x, np.ones(569), 1.0)
    h = (p * (1 - p))[chosen] * np.einsum("ij,ij->i", x, np.linalg.solve(hessian, x.T).T)
    assert 1.0 < slope < 1.0 / (1.0 - h.max())
    assert error < h.max()
    assert error2 < h.max() ** 2


def test_mean_and_sum_predict_the_same_change_at_the_optimum_found_by_default():
    total, mean = logistic_problem(), logistic_problem(reduction="mean", l2=0.5 / 30)
    expected = influence(total, theta=optimum(total, 1.0)).change
    np.testing.assert_allclose(influence(mean).change, expected, rtol=1e-7)  # the equilibrium's gradient: 1e-10


# --- networks ---


@pytest.mark.parametrize("solver", ["auto", "ekfac"])
def test_damped_gauss_newton_influence_of_a_network(solver, rng):
    x, y = rng.normal(size=(20, 3)), rng.normal(size=20)
    problem = Problem(MLP((3, 4, 1)), SquaredLoss(), Dataset(x, y), delete=[5])
    theta = rng.normal(size=21)
    found = influence(problem, theta=theta, points=[[5, 6], [9]], curvature="ggn", damping=0.5, solver=solver)
    steps = 1e-6 * np.eye(21)
    jacobian = np.stack([(mlp_forward(theta + s, x, 4) - mlp_forward(theta - s, x, 4)) / 2e-6 for s in steps], axis=1)
    slopes = jacobian * (mlp_forward(theta, x, 4) - y)[:, None]
    matrix = jacobian.T @ jacobian + 0.5 * np.eye(21)
    expected = np.linalg.solve(matrix, np.stack([slopes[5] + slopes[6], slopes[9]]).T).T
    gap = np.abs(found.change - expected).max() / np.abs(expected).max()
    if solver == "ekfac":  # the residual says how far it is: error ≤ residual × condition number
        assert 1e-3 < gap < float(found.residual.max()) * np.linalg.cond(matrix)
    else:
        assert gap < 1e-7  # the differences' own error: h² and 1e-16/h
        assert float(found.residual.max()) < 1e-9


# --- against itself ---


def test_functionals_give_what_their_gradients_make_of_the_parameters():
    problem = logistic_problem()
    theta = optimum(problem, 1.0)
    x, y = jnp.asarray(problem.data.x[:3]), jnp.asarray(problem.data.y[:3])
    change = influence(problem, theta=theta, points="all").change
    losses = Losses(problem.model, problem.loss, x, y)
    by_functional = influence(problem, theta=theta, points="all", functional=losses)
    by_point = influence(problem, theta=theta, points=[[1, 2], [7]], functional=losses)
    assert (by_functional.solved_for, by_point.solved_for) == ("functional", "points")
    expected = np.asarray(change @ losses.jacobian(jnp.asarray(theta)).T)
    np.testing.assert_allclose(by_functional.change, expected, atol=1e-14)
    np.testing.assert_allclose(by_functional.theta_dot, -expected, atol=1e-14)
    np.testing.assert_allclose(by_point.change, [expected[1] + expected[2], expected[7]], atol=1e-14)
    np.testing.assert_allclose(losses.jacobian(jnp.asarray(theta)), jax.jacrev(losses)(jnp.asarray(theta)), atol=1e-15)


def test_shapes_follow_the_question():
    problem = logistic_problem()
    theta = optimum(problem, 1.0)
    predictions = Predictions(problem.model, problem.data.x[:3])
    shapes = [
        (None, None, (4,)),
        (3, None, (4,)),
        ("all", None, (30, 4)),
        ("all", predictions, (30, 3)),
        (None, predictions, (3,)),
        ("all", jnp.sum, (30,)),
        (None, jnp.sum, ()),
    ]
    for points, functional, shape in shapes:
        assert influence(problem, theta=theta, points=points, functional=functional).change.shape == shape
    alone = influence(problem, theta=theta, points=3).change + influence(problem, theta=theta, points=11).change
    np.testing.assert_allclose(influence(problem, theta=theta).change, alone, atol=1e-14)  # a group is a sum


def test_chunks_of_points_do_not_matter():
    theta = optimum(logistic_problem(), 1.0)
    answers = []
    for rows in (30, 7):  # 7 leaves a remainder of 2
        problem = logistic_problem(chunk_rows=rows)
        losses = Losses(problem.model, problem.loss, problem.data.x[:3], problem.data.y[:3])
        answers.append(influence(problem, theta=theta, points="all", functional=losses).change)
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-14)


def test_a_second_call_does_not_trace_again():
    traces = []

    def line(params, x):
        traces.append(1)
        return x @ params

    rng = np.random.default_rng(0)
    model = FunctionModel(line, np.zeros(2))

    def ask(seed: int):
        data = Dataset(rng.normal(size=(8, 2)), rng.normal(size=8))
        problem = Problem(model, SquaredLoss(), data, delete=[seed], l2=1.0 + seed)
        losses = Losses(model, SquaredLoss(), data.x[:3], data.y[:3])
        before = len(traces)
        influence(problem, theta=rng.normal(size=2), points="all", functional=losses, damping=0.1)
        influence(problem, theta=rng.normal(size=2), damping=0.1 * seed, solver=CG())
        return len(traces) - before

    assert ask(1) > 0
    assert ask(2) == 0


# --- bad input ---


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"at": "deleted"}, "choose 'trained'"),
        ({"order": 3}, "order is 3"),
        ({"order": 2, "damping": 0.1}, "needs the undamped Hessian"),
        ({"order": 2, "curvature": "ggn"}, "needs the undamped Hessian"),
        ({"at": "removed", "points": [1]}, "other points have other such optima"),
        ({"points": [4, 30]}, "points contains 30, but the data has 30 points"),
        ({"points": -1}, "points contains -1"),
        ({"points": []}, "points must be 'all'"),
        ({"points": [[1], []]}, r"points\[1\] is empty"),
        ({"points": [[1, 1]]}, "lists point 1 twice"),
        ({"points": "some"}, "points must be 'all'"),
        ({"points": [1.5]}, "points must be"),
        ({"damping": -0.1}, "damping is -0.1"),
        ({"theta": np.full(4, np.nan)}, r"theta\[0\] is nan"),
        ({"theta": np.zeros(3)}, "length 4"),
        ({"functional": lambda theta: jnp.outer(theta, theta)}, r"it returned shape \(4, 4\)"),
        ({"functional": lambda theta: {"loss": theta.sum()}}, "it returned dict"),
        ({"functional": lambda theta: theta.astype(int).sum()}, "dtype int64"),
    ],
)
def test_influence_refuses(options, words):
    with pytest.raises(_core.InputError, match=words):
        influence(logistic_problem(), **{"theta": np.zeros(4), **options})


def test_influence_needs_a_place_and_a_deletion(rng):
    data = Dataset(rng.normal(size=(5, 2)), rng.normal(size=5))
    with pytest.raises(_core.InputError, match="pass theta"):
        influence(Problem(MLP((2, 2, 1)), SquaredLoss(), data), points="all")
    with pytest.raises(_core.InputError, match="deletes no points"):
        influence(linear_regression(data))
    with pytest.raises(_core.InputError, match="do not list the same points"):
        Losses(LinearModel(2), SquaredLoss(), data.x, data.y[:3])


def test_gradients_that_would_not_fit_are_refused():
    model = FunctionModel(lambda params, x: x[0] * params.sum(), np.zeros(70_000))
    wide = Problem(model, SquaredLoss(), Dataset(np.ones((2000, 1)), np.zeros(2000)), l2=1.0)
    with pytest.raises(_core.InputError, match=r"2,000 points for d = 70,000 take 1.1 GB.*functional"):
        influence(wide, points="all", theta=np.zeros(70_000))


def test_an_unconverged_solve_is_an_error_unless_asked_for():
    problem = logistic_problem()
    options = {"theta": np.zeros(4), "points": "all", "solver": CG(max_steps=1)}
    with pytest.raises(_core.ConvergenceError, match=r"cg: 30 of 30 right-hand sides did not converge"):
        influence(problem, **options)
    kept = influence(problem, throw=False, **options)
    gradients = problem.point_gradients(jnp.zeros(4), range(30))
    gaps = np.linalg.norm(kept.change @ problem.hessian(jnp.zeros(4)) - gradients, axis=1)
    np.testing.assert_allclose(kept.residual, gaps / np.linalg.norm(gradients, axis=1), rtol=1e-9)
    assert float(kept.residual.max()) > 1e-3
