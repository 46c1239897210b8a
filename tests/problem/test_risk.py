"""The contract of the weighted risk, for every model with every loss that fits it."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reference as ref
import reference_models as models
from epsflow.problem import (
    MLP,
    AbstractModel,
    Dataset,
    EmpiricalRisk,
    FunctionModel,
    LinearModel,
    LogisticLoss,
    Problem,
    PseudoHuberLoss,
    SoftmaxCrossEntropy,
    SquaredLoss,
)

N, P, DELETE, EPS = 7, 3, (1, 4), np.array([0.3, 0.8])
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, P))
REAL, TWO, LABEL, CLASS = RNG.standard_normal(N), RNG.standard_normal((N, 2)), 1.0 * (X[:, 0] > 0), np.arange(N) % 3.0
L2 = 0.2


def bilinear(params, x):
    """A user's model: its parameters are a dictionary."""
    return jnp.exp(params["scale"]) * (x @ params["a"]) * (x @ params["b"])


SINGLE = {
    "linear squared": (LinearModel(P), SquaredLoss(), REAL)
}  # its own class of risk: tests/problem/test_problem.py
USERS = FunctionModel(bilinear, {"scale": jnp.zeros(()), "a": jnp.ones(P), "b": jnp.ones(P)})
CASES = {
    "linear squared, two outputs": (LinearModel(P, 2), SquaredLoss(), TWO),
    "linear logistic": (LinearModel(P), LogisticLoss(), LABEL),
    "linear softmax": (LinearModel(P, 3), SoftmaxCrossEntropy(), CLASS),
    "linear pseudo-Huber": (LinearModel(P), PseudoHuberLoss(0.7), REAL),
    "MLP squared": (MLP((P, 2, 1)), SquaredLoss(), REAL),
    "MLP logistic": (MLP((P, 2, 1), "softplus"), LogisticLoss(), LABEL),
    "deep MLP softmax": (MLP((P, 2, 2, 3), "silu"), SoftmaxCrossEntropy(), CLASS),
    "MLP pseudo-Huber, two outputs": (MLP((P, 2, 2), "sigmoid"), PseudoHuberLoss(), TWO),
    "function squared": (USERS, SquaredLoss(), REAL),
    "function logistic": (USERS, LogisticLoss(), LABEL),
}
STEP = 6e-6  # (machine epsilon)^(1/3): truncation h²f'''/6 and rounding u·f/h are both about 1e-10 for f of order ten
DIFFERENCES = 1e-8


def problem(name: str, **options) -> Problem:
    model, loss, y = (CASES | SINGLE)[name]
    return Problem(model, loss, Dataset(X, y), DELETE, l2=L2, **options)


class Measured(NamedTuple):
    """Everything a risk answers at one point, and the differences that check it."""

    value: np.ndarray
    gradient: np.ndarray
    hvp: np.ndarray
    ggn: np.ndarray
    hessian: np.ndarray
    deleted: np.ndarray
    points: np.ndarray
    gradient_by_differences: np.ndarray
    hessian_by_differences: np.ndarray


# A function that runs once need not be optimised.
@partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True})
def measure(risk: EmpiricalRisk, theta: jax.Array, vector: jax.Array, eps: jax.Array) -> Measured:
    steps = STEP * jnp.stack([jnp.eye(risk.dim), -jnp.eye(risk.dim)])

    def difference(f):
        ahead, behind = jax.vmap(jax.vmap(lambda h: f(theta + h, eps)))(steps)
        return (ahead - behind) / (2.0 * STEP)

    return Measured(
        risk.value(theta, eps),
        risk.gradient(theta, eps),
        risk.hvp(theta, vector, eps),
        risk.ggn_product(theta, vector, eps),
        risk.hessian(theta, eps),
        risk.deleted_gradients(theta),
        risk.point_gradients(theta, jnp.arange(N)),
        difference(risk.value),
        difference(risk.gradient),
    )


def point(model: AbstractModel) -> tuple[jax.Array, jax.Array]:
    """θ and a direction v, of order one."""
    rng = np.random.default_rng(1)
    return jnp.asarray(0.7 * rng.standard_normal(model.dim)), jnp.asarray(rng.standard_normal(model.dim))


@pytest.fixture(scope="module", params=CASES)
def case(request) -> tuple[Problem, Measured]:
    made = problem(request.param)
    measured = measure(made.empirical(), *point(made.model), jnp.asarray(EPS))
    return made, Measured(*map(np.asarray, measured))  # what tests do with them compiles nothing


def test_gradient_is_the_slope_of_the_value(case):
    _, measured = case
    np.testing.assert_allclose(measured.gradient, measured.gradient_by_differences, rtol=0, atol=DIFFERENCES)


def test_hessian_is_the_slope_of_the_gradient(case):
    _, measured = case
    np.testing.assert_allclose(measured.hessian, measured.hessian_by_differences, rtol=0, atol=DIFFERENCES)


def test_hessian_products(case):
    made, measured = case
    vector = np.asarray(point(made.model)[1])
    scale = np.abs(measured.hessian).max()
    np.testing.assert_allclose(
        measured.hessian, measured.hessian.T, rtol=0, atol=1e-14 * scale
    )  # a sum of seven products
    np.testing.assert_allclose(measured.hvp, measured.hessian @ vector, rtol=0, atol=1e-13 * scale)


def test_ggn(case):
    """∇²R for a linear model; for the others JᵀJ-like, so vᵀGv ≥ λ‖v‖², and another matrix than the Hessian."""
    made, measured = case
    vector = np.asarray(point(made.model)[1])
    if isinstance(made.model, LinearModel):
        np.testing.assert_allclose(measured.ggn, measured.hvp, rtol=1e-12, atol=1e-13)  # the same sums, other order
    else:
        assert vector @ measured.ggn >= L2 * vector @ vector
        assert np.abs(measured.ggn - measured.hvp).max() > 1e-3


def test_points_sum_to_the_gradient(case):
    made, measured = case
    theta = np.asarray(point(made.model)[0])
    weights = ref.data_weights(N, DELETE, EPS)
    total = weights @ measured.points + L2 * theta
    np.testing.assert_allclose(total, measured.gradient, rtol=1e-12, atol=1e-13)  # seven terms of order one, reordered
    np.testing.assert_allclose(measured.deleted, measured.points[list(DELETE)], rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("name", ["linear squared, two outputs", "MLP logistic"])
@pytest.mark.parametrize("chunk_rows", [1, 3])
def test_chunks_do_not_matter(name, chunk_rows):
    """One by one, and in threes with a remainder of one."""
    whole, chunks = problem(name), problem(name, chunk_rows=chunk_rows)
    theta, vector = point(whole.model)
    eps = jnp.asarray(EPS)
    # Seven terms of order one in another order.
    for method, arguments in (("value", ()), ("gradient", ()), ("ggn_product", (vector,))):
        expected = getattr(whole, method)(theta, *arguments, eps)
        np.testing.assert_allclose(getattr(chunks, method)(theta, *arguments, eps), expected, rtol=1e-12, atol=1e-13)


# --- against NumPy, by hand ---

REDUCTION = pytest.mark.parametrize("reduction", ["sum", "mean"])
WEIGHT = pytest.mark.parametrize("eps", [0.6, EPS], ids=["one weight", "a weight each"])


def by_hand(name: str, theta: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """Value and gradient from tests/reference_models.py, or written out here."""
    match name:
        case "linear logistic":
            return (
                models.logistic_risk(theta, X, LABEL, weights, L2),
                models.logistic_gradient(theta, X, LABEL, weights, L2),
            )
        case "MLP squared":
            return (
                models.mlp_risk(theta, X, REAL, weights, 2, L2),
                models.mlp_gradient(theta, X, REAL, weights, 2, L2),
            )
        case "linear squared":
            e = X @ theta - REAL
            return 0.5 * weights @ e**2 + 0.5 * L2 * theta @ theta, X.T @ (weights * e) + L2 * theta
        case "linear pseudo-Huber":
            e = (X @ theta - REAL) / 0.7
            root = np.sqrt(1.0 + e**2)
            return (
                0.49 * weights @ (root - 1.0) + 0.5 * L2 * theta @ theta,
                X.T @ (weights * 0.7 * e / root) + L2 * theta,
            )
        case "linear softmax":
            logits = X @ theta.reshape(P, 3)
            p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            chosen = np.eye(3)[CLASS.astype(int)]
            value = -weights @ np.log((p * chosen).sum(axis=1)) + 0.5 * L2 * theta @ theta
            return value, (X.T @ (weights[:, None] * (p - chosen))).ravel() + L2 * theta
    raise AssertionError(name)


@REDUCTION
@WEIGHT
@pytest.mark.parametrize(
    "name", ["linear squared", "linear logistic", "linear softmax", "linear pseudo-Huber", "MLP squared"]
)
def test_against_numpy(name, eps, reduction):
    made = problem(name, reduction=reduction)
    theta, _ = point(made.model)
    weights = jnp.asarray(eps)
    value, gradient = by_hand(name, np.asarray(theta), ref.data_weights(N, DELETE, eps, reduction))
    # Seven terms of order one in another order, and other formulas for the same exponentials.
    assert float(made.value(theta, weights)) == pytest.approx(value, rel=1e-13)
    np.testing.assert_allclose(made.gradient(theta, weights), gradient, rtol=1e-12, atol=1e-14)


def test_logistic_hessian_by_hand():
    made = problem("linear logistic")
    theta, vector = point(made.model)
    expected = models.logistic_hessian(np.asarray(theta), X, ref.data_weights(N, DELETE, EPS), L2)
    np.testing.assert_allclose(made.hessian(theta, jnp.asarray(EPS)), expected, rtol=1e-12)
    np.testing.assert_allclose(made.ggn_product(theta, vector, jnp.asarray(EPS)), expected @ vector, rtol=1e-12)


# --- losses and models on their own ---


@pytest.mark.parametrize("loss", [SquaredLoss(), LogisticLoss(), PseudoHuberLoss(), SoftmaxCrossEntropy()], ids=type)
def test_losses_far_out_are_finite(loss):
    """Where e^f overflows, the loss is its linear or quadratic asymptote."""
    value_and_slope = jax.jit(jax.value_and_grad(loss))
    for f in (-1e4, 1e4):
        output = np.array([f, 0.0, 0.0]) if isinstance(loss, SoftmaxCrossEntropy) else f
        value, slope = value_and_slope(output, 0.0)
        assert np.isfinite(value)
        assert float(value) >= 0.0
        assert np.isfinite(slope).all()


def test_the_logistic_loss_has_the_derivatives_of_a_sigmoid():
    """ℓ' = σ − y and ℓ'' = σ(1 − σ) by hand, in both tails too."""
    logits = np.array([-40.0, -3.0, 0.0, 0.5, 40.0])
    loss, target = LogisticLoss(), jnp.asarray(0.0)
    sigma = np.exp(-np.logaddexp(0.0, -logits))
    slope, curvature = (jax.jit(jax.vmap(f))(logits) for f in _derivatives(lambda f: loss(f, target)))
    np.testing.assert_allclose(slope, sigma, rtol=1e-15)
    np.testing.assert_allclose(curvature, sigma * np.exp(-np.logaddexp(0.0, logits)), rtol=1e-14, atol=1e-17)


def _derivatives(f):
    return jax.grad(f), jax.grad(jax.grad(f))


def test_pseudo_huber_keeps_small_residuals():
    """r²/2 at r = 1e-9, which √(1 + r²) − 1 would round to zero."""
    assert float(PseudoHuberLoss()(jnp.asarray(1e-9), jnp.asarray(0.0))) == pytest.approx(0.5e-18, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("tanh", np.tanh),
        ("relu", lambda a: np.maximum(a, 0.0)),
        ("sigmoid", models.sigmoid),
        ("softplus", lambda a: np.logaddexp(0.0, a)),
        ("silu", lambda a: a * models.sigmoid(a)),
    ],
)
def test_activations(name, function):
    model = MLP((P, 2, 1), name)
    theta, _ = point(model)
    W, b, w, c = models.mlp_unpack(np.asarray(theta), 2, P)
    output = jax.jit(lambda t, x: model(t, x))(theta, X[0])
    assert float(output) == pytest.approx(w @ function(W @ X[0] + b) + c, rel=1e-13)


@pytest.mark.parametrize(
    "model", [LinearModel(P), LinearModel(P, 2), MLP((P, 5, 2)), USERS], ids=lambda m: str(type(m))
)
def test_starts_are_seeded_vectors_of_the_right_length(model, key):
    start = model.init(key)
    assert start.shape == (model.dim,)
    np.testing.assert_array_equal(start, model.init(key))
    if not isinstance(model, FunctionModel):
        assert not np.array_equal(start, model.init(jax.random.key(1)))


def test_function_model_flattens_and_unflattens():
    theta = jnp.arange(7.0)
    params = USERS.unflatten(theta)
    assert {name: leaf.shape for name, leaf in params.items()} == {"a": (3,), "b": (3,), "scale": ()}
    np.testing.assert_array_equal(FunctionModel(bilinear, params).start, theta)
    assert float(USERS(theta, jnp.asarray(X[0]))) == float(bilinear(params, jnp.asarray(X[0])))
