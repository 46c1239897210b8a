"""A weight of a point is how often it is there."""

import jax
import numpy as np
import pytest

import epsflow as ef
from epsflow import InputError
from epsflow.problem import MLP, Dataset, LinearModel, LogisticLoss, Problem, SoftmaxCrossEntropy, SquaredLoss

RNG = np.random.default_rng(11)
X = RNG.normal(size=(25, 3))
REPEATS = RNG.integers(0, 4, 25)
REPEATS[7] = 1  # the deleted point
TARGETS = {
    "linear": (LinearModel(3), SquaredLoss(), RNG.normal(size=25)),
    "two outputs": (LinearModel(3, 2), SquaredLoss(), RNG.normal(size=(25, 2))),
    "logistic": (LinearModel(3), LogisticLoss(), RNG.integers(0, 2, 25).astype(float)),
    "softmax": (LinearModel(3, 3), SoftmaxCrossEntropy(), RNG.integers(0, 3, 25).astype(float)),
    "pseudo-Huber": (LinearModel(3), ef.PseudoHuberLoss(0.5), RNG.normal(size=25)),
    "network": (MLP((3, 2, 1)), SquaredLoss(), RNG.normal(size=25)),
}


def both(case: str) -> tuple[Problem, Problem]:
    """With weights, and with every point as often as its weight says."""
    model, loss, y = TARGETS[case]
    rows = np.repeat(np.arange(25), REPEATS)
    one = Problem(model, loss, Dataset(X, y), [7], 0.3, sample_weight=REPEATS.astype(float))
    return one, Problem(model, loss, Dataset(X[rows], y[rows]), np.flatnonzero(rows == 7), 0.3)


@pytest.mark.parametrize("case", TARGETS)
def test_weights_are_repetitions(case: str):
    one, many = both(case)
    theta = np.asarray(one.model.init(jax.random.key(0)))
    # Sums of the same 40 terms in another order, or a root squared.
    np.testing.assert_allclose(one.gradient(theta, 0.4), many.gradient(theta, 0.4), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(one.hessian(theta, 0.4), many.hessian(theta, 0.4), rtol=1e-11, atol=1e-12)
    assert float(one.value(theta)) == pytest.approx(float(many.value(theta)), rel=1e-12)
    assert one.convex == many.convex


@pytest.mark.parametrize("case", ["linear", "logistic", "softmax", "pseudo-Huber"])
def test_answers_of_weighted_problems(case: str):
    """Through the closed forms in NumPy: training, its removal and the estimates of it."""
    one, many = both(case)
    for answer in (
        lambda p: ef.retrain(p).theta,
        lambda p: ef.influence(p).change,
        lambda p: ef.newton_step(p).change,
        lambda p: ef.influence(p, curvature="ggn", damping=0.1).change,
    ):
        expected = np.asarray(answer(many))
        # Newton stops at 1e-12 of the gradient; conditions are below 100.
        np.testing.assert_allclose(answer(one), expected, rtol=1e-8, atol=1e-9 * np.abs(expected).max())


@pytest.mark.usefixtures("as_a_user")
@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(24), "sample_weight has shape"),
        (-np.ones(25), "weights are not negative"),
        (np.zeros(25), "one is above 0"),
        (["a"] * 25, "sample_weight holds"),
    ],
)
def test_weights_refused(weights, message):
    with pytest.raises(InputError, match=message):
        ef.linear_regression(Dataset(X, TARGETS["linear"][2]), sample_weight=weights)
