"""Generalised linear models in NumPy are the empirical risk in JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from epsflow.problem import (
    AbstractLoss,
    Dataset,
    EmpiricalRisk,
    LinearModel,
    LogisticLoss,
    Problem,
    PseudoHuberLoss,
    SoftmaxCrossEntropy,
    SquaredLoss,
)
from epsflow.problem._pointwise import derivatives, losses, pointwise, slope_bends, slopes

N, P, K = 20, 3, 4
DELETE, WEIGHTS = (2, 7), np.array([0.3, -0.2])


class Quartic(AbstractLoss):
    """A loss of one's own, which only JAX can differentiate."""

    convex = True

    def __call__(self, output, target):
        return jnp.sum((output - target) ** 4 + (output - target) ** 2)


CASES = {
    "squared": (SquaredLoss(), None),
    "squared, several outputs": (SquaredLoss(), K),
    "logistic": (LogisticLoss(), None),
    "logistic, several outputs": (LogisticLoss(), K),
    "softmax": (SoftmaxCrossEntropy(), K),
    "pseudo-Huber": (PseudoHuberLoss(0.7), None),
    "a loss of one's own": (Quartic(), None),
    "a loss of one's own, several outputs": (Quartic(), K),
}


@pytest.fixture(scope="module", params=CASES)
def problem(request) -> Problem:
    rng = np.random.default_rng(0)
    loss, outputs = CASES[request.param]
    shape = (N,) if outputs is None else (N, outputs)
    y = rng.standard_normal(shape)
    if isinstance(loss, LogisticLoss):
        y = (y > 0.0).astype(float)
    if isinstance(loss, SoftmaxCrossEntropy):
        y = rng.integers(0, K, N).astype(float)
    return Problem(LinearModel(P, outputs), loss, Dataset(rng.standard_normal((N, P)), y), DELETE, 0.4, "mean")


@pytest.fixture(scope="module")
def theta(problem) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(problem.dim)


@pytest.fixture(scope="module")
def vector(problem) -> np.ndarray:
    return np.random.default_rng(2).standard_normal(problem.dim)


@jax.jit
def measure(risk: EmpiricalRisk, theta: jax.Array, vector: jax.Array) -> dict[str, jax.Array]:
    """All that is compared, in one program for each loss."""
    return {
        "value": risk.value(theta, WEIGHTS),
        "gradient": risk.gradient(theta, WEIGHTS),
        "hessian": risk.hessian(theta, WEIGHTS),
        "product": risk.hvp(theta, vector, WEIGHTS),
        "points": risk.point_gradients(theta, jnp.arange(N)),
        "third": jax.jvp(lambda t: risk.hvp(t, vector, WEIGHTS), (theta,), (vector,))[1],
    }


@pytest.fixture(scope="module")
def theirs(problem, theta, vector) -> dict[str, np.ndarray]:
    return jax.tree.map(np.asarray, measure(problem.empirical(), theta, vector))


def close(ours, theirs) -> None:
    # Sums of twenty terms of order one in both: a few units of rounding.
    np.testing.assert_allclose(ours, theirs, rtol=1e-13, atol=1e-14)


def test_value_gradient_and_hessian_are_those_of_the_empirical_risk(problem, theta, theirs):
    ours = problem.generalised()
    local, weights = ours.at(theta), ours.weights(WEIGHTS)
    close(ours.value(local, weights), theirs["value"])
    close(ours.gradient(local, weights), theirs["gradient"])
    close(ours.hessian(local, weights), theirs["hessian"])


def test_products_and_gradients_of_points_are_those_of_the_empirical_risk(problem, theta, vector, theirs):
    ours = problem.generalised()
    local = ours.at(theta)
    close(ours.hessian_product(local, ours.weights(WEIGHTS), vector), theirs["product"])
    close(ours.point_gradients(local), theirs["points"])
    some = ours.rows(np.array([4, 1]))
    close(some.point_gradients(some.at(theta)), theirs["points"][[4, 1]])


def test_the_third_derivative_is_that_of_the_empirical_risk(problem, theta, vector, theirs):
    ours = problem.generalised()
    close(ours.pull(ours.weights(WEIGHTS), ours.bends(ours.at(theta), vector)), theirs["third"])


def test_chunks_of_rows_do_not_matter(problem, theta, monkeypatch):
    ours = problem.generalised()
    whole = ours.hessian(ours.at(theta), ours.weights(1.0))
    monkeypatch.setattr("epsflow.problem._generalised.CHUNK_NUMBERS", 7 * P)
    close(ours.hessian(ours.at(theta), ours.weights(1.0)), whole)


@pytest.mark.parametrize("output", [-800.0, -40.0, 40.0, 800.0])
def test_the_tails_of_the_logistic_loss_keep_their_digits(output):
    f, y = np.array([output, output]), np.array([0.0, 1.0])
    values, slopes, curvatures = pointwise(LogisticLoss(), f, y)
    tail = np.exp(-abs(output))  # σ(−|f|) to rounding
    np.testing.assert_allclose(slopes, [tail, -1.0] if output < 0 else [1.0, -tail], rtol=1e-15)
    np.testing.assert_allclose(values, [tail, -output] if output < 0 else [output, tail], rtol=1e-15)
    np.testing.assert_allclose(curvatures, [tail, tail], rtol=1e-15)


def test_a_confident_class_keeps_its_digits():
    f = np.array([[40.0, 0.0, 0.0]])
    slopes = pointwise(SoftmaxCrossEntropy(), f, np.array([0.0])).slopes
    np.testing.assert_allclose(slopes[0], np.exp(-40.0) * np.array([-2.0, 1.0, 1.0]), rtol=1e-15)


def test_losses_and_slopes_of_classes_alone_are_those_with_curvatures(rng):
    """Logits up to 100, of which one confident row must keep its digits; sums of three terms, in another order."""
    f, y = np.vstack([30.0 * rng.normal(size=(50, 3)), [[40.0, 0.0, 0.0]]]), np.append(rng.integers(3, size=50), 0.0)
    whole = pointwise(SoftmaxCrossEntropy(), f, y)
    np.testing.assert_allclose(slopes(SoftmaxCrossEntropy(), f, y), whole.slopes, rtol=1e-13)
    # log Σe^f of a confident row is rounded at 1, and the loss with it.
    np.testing.assert_allclose(losses(SoftmaxCrossEntropy(), f, y), whole.values, rtol=1e-14, atol=1e-15)


def test_bends_of_the_squared_loss_vanish(rng):
    f = rng.standard_normal(5)
    assert not slope_bends(SquaredLoss(), f, f, f).any()


class Doubled(SquaredLoss):
    """(f − y)²: a subclass with a formula of its own."""

    def __call__(self, output, target):
        return 2.0 * super().__call__(output, target)


class Renamed(SquaredLoss):
    """½(f − y)² under another name."""


def test_a_subclass_has_the_closed_form_of_its_own_formula(rng):
    outputs, targets = rng.standard_normal((2, 5))
    for loss, factor in ((Renamed(), 1.0), (Doubled(), 2.0)):
        np.testing.assert_allclose(pointwise(loss, outputs, targets).values, factor * 0.5 * (outputs - targets) ** 2)
    data = Dataset(rng.standard_normal((6, 2)), rng.standard_normal(6))
    kinds = {
        loss: type(Problem(LinearModel(2), loss(), data).risk).__name__ for loss in (SquaredLoss, Renamed, Doubled)
    }
    assert kinds == {SquaredLoss: "Quadratic", Renamed: "Quadratic", Doubled: "EmpiricalRisk"}


@pytest.mark.parametrize("loss", [SquaredLoss(), LogisticLoss()], ids=lambda loss: type(loss).__name__)
def test_losses_alone_are_those_with_derivatives(loss, rng):
    f, y = 20.0 * rng.normal(size=200), (rng.random(200) < 0.5) * 1.0
    np.testing.assert_allclose(losses(loss, f, y), pointwise(loss, f, y).values, rtol=1e-14)


@pytest.mark.parametrize("loss", [SquaredLoss(), LogisticLoss()], ids=lambda loss: type(loss).__name__)
def test_derivatives_alone_are_those_with_losses(loss, rng):
    f, y = np.append(20.0 * rng.normal(size=200), [-800.0, 800.0]), np.append((rng.random(200) < 0.5) * 1.0, [0.0, 1.0])
    whole = pointwise(loss, f, y)
    for found, expected in zip(derivatives(loss, f, y), whole[1:], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-15)
