"""Where flows end: Lemma 0.0.1, minimisers found by others, and points that are none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import minimize

import reference as ref
import reference_models as models
from epsflow._core import RESULTS, ConvergenceError, InputError
from epsflow.flow import equilibrium, gradient_flow
from epsflow.problem import (
    MLP,
    Dataset,
    FunctionModel,
    LinearModel,
    LogisticLoss,
    Problem,
    PseudoHuberLoss,
    SquaredLoss,
    linear_regression,
)
from epsflow.schedules import Constant

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((12, 3)), RNG.standard_normal(12)
LABELS = 1.0 * (X[:, 0] + RNG.standard_normal(12) > 0)  # not separable
DELETE = (1, 4)
THETA0 = np.array([0.5, -1.0, 2.0])
WEIGHTS = [1.0, 0.0, 0.3, np.array([0.2, 0.9])]

each_weight = pytest.mark.parametrize("eps", WEIGHTS, ids=str)


def weight(eps):
    return jnp.asarray(eps) if np.ndim(eps) else eps


# --- linear regression ---

THIN = X @ np.array([[1.0, 0.0, 1.0], [0.0, 1.0, -1.0], [1.0, 1.0, 0.0]])


@each_weight
@pytest.mark.parametrize("x", [X, THIN], ids=["full rank", "rank two"])
def test_limit_of_the_linear_flow(x, eps):
    problem = linear_regression(Dataset(x, Y), DELETE)
    end = equilibrium(problem, eps=weight(eps), theta0=THETA0)
    H, b = ref.weighted_system(x, Y, DELETE, eps)
    # pinv's cut and ours agree; rounding times the condition number, some tens.
    np.testing.assert_allclose(end.theta, ref.limit(H, b, THETA0), rtol=0, atol=1e-13)
    assert end.method == "closed form"
    assert end.result == RESULTS.successful
    assert end.unique == (x is X)
    assert float(end.gradient_norm) < 1e-13 * 100  # u·‖H‖‖θ‖
    assert float(end.smallest_curvature) == pytest.approx(max(0.0, np.linalg.eigvalsh(H)[0]), rel=1e-12, abs=1e-13)
    # The slowest rate is above 1, so by t = 100 nothing is left.
    late = gradient_flow(problem, Constant(eps), THETA0, ts=jnp.full(7, 100.0)).end
    np.testing.assert_allclose(end.theta, late, rtol=0, atol=1e-12)


def test_a_direction_known_only_through_the_deleted_point():
    """X = I: after training with the point for ever and dropping it, nothing pulls the coordinate back."""
    problem = linear_regression(Dataset(np.eye(3), np.ones(3)), 2)
    trained = equilibrium(problem, eps=1.0)
    np.testing.assert_allclose(trained.theta, np.ones(3), rtol=1e-15)
    assert trained.unique
    dropped = equilibrium(problem, eps=0.0, theta0=trained.theta)
    np.testing.assert_allclose(dropped.theta, np.ones(3), rtol=1e-15)
    assert not dropped.unique
    assert equilibrium(problem, eps=0.0).theta.tolist() == [1.0, 1.0, 0.0]


def test_leave_out_optimum_with_ridge_and_mean():
    problem = linear_regression(Dataset(X, Y), DELETE, l2=0.3, reduction="mean")
    expected = ref.leave_out_optimum(X, Y, DELETE, 0.3, "mean")
    np.testing.assert_allclose(equilibrium(problem, eps=0.0).theta, expected, rtol=1e-12)  # κ below 100


def test_a_weight_so_negative_that_the_flow_runs_away():
    """H_ε is indefinite: the point where ∇R vanishes is a saddle, and no flow ends there."""
    problem = linear_regression(Dataset(X, Y), DELETE)
    with pytest.raises(ConvergenceError, match="a saddle, not a minimum"):
        equilibrium(problem, eps=-50.0)
    assert equilibrium(problem, eps=-50.0, throw=False).result == RESULTS.not_a_minimum


# --- convex risks ---

LOGISTIC = Problem(LinearModel(3), LogisticLoss(), Dataset(X, LABELS), DELETE, l2=0.1)


@each_weight
def test_logistic_regression(eps):
    end = equilibrium(LOGISTIC, eps=weight(eps))
    expected = models.logistic_optimum(X, LABELS, ref.data_weights(12, DELETE, eps), 0.1)
    assert end.method == "newton"
    assert end.unique
    # tol 1e-10 on the gradient of size one, divided by the least curvature, above 0.1.
    np.testing.assert_allclose(end.theta, expected, rtol=0, atol=1e-9)
    gradient = models.logistic_gradient(np.asarray(end.theta), X, LABELS, ref.data_weights(12, DELETE, eps), 0.1)
    assert np.linalg.norm(gradient) == pytest.approx(float(end.gradient_norm), abs=1e-14)


def test_pseudo_huber():
    """Linear tails, so the Hessian is far from constant; an outlier of a thousand spreads."""
    y = Y.copy()
    y[7] = 1e3
    problem = Problem(LinearModel(3), PseudoHuberLoss(), Dataset(X, y), DELETE)
    end = equilibrium(problem, eps=0.0)
    keep = np.delete(np.arange(12), DELETE)

    def risk(theta):
        r = X[keep] @ theta - y[keep]
        return np.sum(r**2 / (np.sqrt(1.0 + r**2) + 1.0)), X[keep].T @ (r / np.sqrt(1.0 + r**2))

    found = minimize(risk, np.zeros(3), jac=True, method="BFGS", options={"gtol": 1e-9})
    np.testing.assert_allclose(end.theta, found.x, rtol=0, atol=1e-8)  # gtol over the least curvature, some 0.3
    assert np.linalg.norm(risk(np.asarray(end.theta))[1]) < 1e-9


def test_separable_classes_have_no_optimum():
    """Without l2 the risk falls for ever along the separating direction; a small gradient out there is no end."""
    x = np.array([[1.0], [2.0], [-1.0], [-2.0]])
    problem = Problem(LinearModel(1), LogisticLoss(), Dataset(x, 1.0 * (x[:, 0] > 0)), 0)
    with pytest.raises(ConvergenceError, match="no equilibrium"):
        equilibrium(problem, eps=0.0)


# --- non-convex risks ---


def product(params, x):
    return params[0] * params[1] * x[0]


ONE = np.array([[1.0], [2.0], [0.5]])
PRODUCT = Problem(FunctionModel(product, jnp.ones(2)), SquaredLoss(), Dataset(ONE, 1.5 * ONE[:, 0]), 2)


@pytest.mark.parametrize("theta0", [np.array([2.0, 0.1]), np.array([-0.5, 1.0])])
def test_the_flow_picks_one_of_many(theta0):
    """f = abx: every ab = 3/2 is a minimum, and the flow keeps a² − b². Both together give its limit."""
    end = equilibrium(PRODUCT, eps=0.4, theta0=theta0)
    kept = theta0[0] ** 2 - theta0[1] ** 2
    a2 = 0.5 * (kept + np.hypot(kept, 2.0 * 1.5))
    sign = np.sign(theta0.sum())
    assert end.method == "flow"
    assert not end.unique
    # a² − b² is kept up to the integrator's rtol of 1e-9, over some hundred steps.
    np.testing.assert_allclose(end.theta, sign * np.array([np.sqrt(a2), 1.5 / np.sqrt(a2)]), rtol=0, atol=1e-6)
    assert float(end.smallest_curvature) == pytest.approx(0.0, abs=1e-9)


def test_a_saddle_is_no_equilibrium():
    """At a = b = 0 the gradient vanishes and the curvatures are ±c."""
    with pytest.raises(ConvergenceError, match="a saddle, not a minimum") as failure:
        equilibrium(PRODUCT, theta0=np.zeros(2))
    assert float(failure.value.result.smallest_curvature) < -1.0
    assert equilibrium(PRODUCT, theta0=np.zeros(2), throw=False).result == RESULTS.not_a_minimum


def test_too_little_time():
    """Cut off long before rest: whatever comes back, it is not passed off as the flow's limit."""
    end = equilibrium(PRODUCT, theta0=np.array([2.0, 0.1]), max_time=1e-3, throw=False)
    assert end.result in (RESULTS.left_the_basin, RESULTS.not_stationary)


@pytest.mark.slow
def test_a_network(key):
    data = Dataset(X, Y)
    problem = Problem(MLP((3, 2, 1)), SquaredLoss(), data, DELETE, l2=0.1)
    theta0 = problem.model.init(key)
    end = equilibrium(problem, eps=0.3, theta0=theta0)
    gradient = models.mlp_gradient(np.asarray(end.theta), X, Y, ref.data_weights(12, DELETE, 0.3), 2, 0.1)
    assert np.linalg.norm(gradient) < 1e-9  # tol 1e-10 times a first gradient below ten
    assert float(end.smallest_curvature) > 1e-3

    # The same basin as the flow's: after a time of 16/curvature, e^{−16} of the way is left.
    def downhill(theta, eps):
        return models.mlp_gradient(theta, X, Y, ref.data_weights(12, DELETE, eps), 2, 0.1)

    late = ref.ivp_flow(downhill, lambda t: 0.3, np.asarray(theta0), [0.0, 16.0 / float(end.smallest_curvature)])
    np.testing.assert_allclose(late[-1], end.theta, rtol=0, atol=1e-6)


def test_a_flow_through_a_long_valley_is_followed_to_its_rest():
    """Stiffness 1e5, and a rest that is reached after a time of 1e4: against an implicit solver on NumPy gradients."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((30, 2))
    data = Dataset(x, np.tanh(2.0 * x[:, 0]) + 0.1 * rng.standard_normal(30))
    problem = Problem(MLP((2, 5, 1)), SquaredLoss(), data, [3], l2=1e-3)
    theta0 = np.asarray(problem.model.init(jax.random.key(2)))
    end = equilibrium(problem, eps=0.0, theta0=theta0)
    weights = ref.data_weights(30, [3], 0.0)

    def downhill(_, theta):
        return -models.mlp_gradient(theta, x, data.y, weights, 5, 1e-3)

    late = solve_ivp(downhill, (0.0, 3e4), theta0, method="LSODA", rtol=1e-9, atol=1e-12).y[:, -1]
    # e^{−3e4·curvature} = 1e-10 of the way is left, and what the solver adds is damped as it comes.
    assert float(end.smallest_curvature) == pytest.approx(7.6e-4, rel=0.01)
    np.testing.assert_allclose(late, end.theta, rtol=0, atol=1e-7)


@pytest.mark.usefixtures("as_a_user")
@pytest.mark.parametrize(
    ("problem", "options", "message"),
    [
        (PRODUCT, {}, "a non-convex risk has many optima; pass theta0, where the flow starts"),
        (LOGISTIC, {"theta0": np.zeros(2)}, r"theta0 has shape \(2,\); this problem needs a vector of length 3"),
        (LOGISTIC, {"eps": jnp.ones(3)}, "eps must be one finite number or 2 of them"),
        (LOGISTIC, {"eps": np.nan}, "eps must be one finite number"),
    ],
)
def test_refused(problem, options, message):
    with pytest.raises(InputError, match=message):
        equilibrium(problem, **options)


def test_different_numbers_same_answer_as_jit_sees_it():
    """The result is a pytree: it can be carried through transformations."""
    end = equilibrium(LOGISTIC)
    assert jax.tree.structure(jax.tree.map(jnp.asarray, end)) == jax.tree.structure(end)
