"""Penalties of their own for parameters, and an intercept that has none."""

import jax
import numpy as np
import pytest
import scipy.linalg
import scipy.optimize

import epsflow as ef
from epsflow import InputError
from epsflow.problem import MLP, Dataset, LinearModel, LogisticLoss, Problem, SoftmaxCrossEntropy, linear_regression

RNG = np.random.default_rng(3)
X = RNG.normal(size=(30, 3)) + 1.0
DATA = Dataset(X, X @ [1.0, -2.0, 0.5] + 3.0 + 0.3 * RNG.normal(size=30)).add_intercept()
LABELS = Dataset(DATA.x, RNG.integers(0, 2, 30).astype(float), features=DATA.features)
CLASSES = Dataset(DATA.x, RNG.integers(0, 3, 30).astype(float), features=DATA.features)
ONES = np.ones(4)
NAMELESS = ef.FunctionModel(lambda params, x: x @ params, np.ones(4))
ROUNDING = 1e-10
"""Relative: conditions are below 100, different orders of summation differ by 1e-14, and Newton stops at 1e-12."""


def problems(l2, *, k: int = 1):
    """The same penalty on linear, logistic and softmax regression."""
    many = l2 if np.ndim(l2) == 0 else np.repeat(l2, 3)
    return (
        linear_regression(DATA, [2, 5], l2=l2),
        linear_regression(DATA, [2, 5], l2=l2, reduction="mean"),
        Problem(LinearModel(4), LogisticLoss(), LABELS, [2, 5], l2),
        Problem(LinearModel(4, 3), SoftmaxCrossEntropy(), CLASSES, [2, 5], many),
    )


ANSWERS = {
    "train": lambda p: ef.train(p).theta,
    "retrain": lambda p: ef.retrain(p).theta,
    "influence": lambda p: ef.influence(p).change,
    "influence, CG": lambda p: ef.influence(p, solver=ef.CG()).change,
    "influence of all": lambda p: ef.influence(p, points="all").change,
    "newton_step": lambda p: ef.newton_step(p).change,
    "retrain_all": lambda p: ef.retrain_all(p, points=[1, 7]).thetas,
    "self_influence": lambda p: ef.self_influence(p).values,
    "response_path": lambda p: ef.response_path(p, eps=np.array([1.0, 0.5, 0.0])).thetas,
    "equilibrium": lambda p: ef.equilibrium(p, eps=0.3).theta,
    "hessian": lambda p: p.hessian(np.full(p.dim, 0.1), 0.4),
    "gradient": lambda p: p.gradient(np.full(p.dim, 0.1), 0.4),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_equal_penalties_are_one_penalty(answer: str):
    """Through every computation that takes penalties of their own."""
    for one, each in zip(problems(0.3), problems(0.3 * ONES), strict=True):
        expected, found = np.asarray(ANSWERS[answer](one)), np.asarray(ANSWERS[answer](each))
        np.testing.assert_allclose(found, expected, rtol=ROUNDING, atol=ROUNDING * np.abs(expected).max())


def test_an_intercept_without_penalty():
    """By SciPy's minimiser on the risk as it is written, with penalties that differ by parameter."""
    problem = Problem(LinearModel(4), LogisticLoss(), LABELS, [2, 5], 0.7, penalise_intercept=False)
    assert problem.penalty.tolist() == [0.7, 0.7, 0.7, 0.0]
    x, y = np.delete(DATA.x, [2, 5], 0), np.delete(LABELS.y, [2, 5])

    def risk(theta):
        f = x @ theta
        return np.logaddexp(0.0, f).sum() - y @ f + 0.35 * theta[:3] @ theta[:3]

    # BFGS on a smooth convex function of four variables, by differences: 1e-5 of the solution.
    expected = scipy.optimize.minimize(risk, np.zeros(4), tol=1e-9).x
    np.testing.assert_allclose(ef.retrain(problem).theta, expected, atol=1e-5)


def test_ridge_with_an_intercept_is_ridge_of_centred_data():
    """Hastie, Tibshirani & Friedman, The Elements of Statistical Learning, 3.4.1: then b = ȳ − x̄ᵀθ."""
    problem = linear_regression(DATA, l2=2.0, penalise_intercept=False)
    centred = X - X.mean(axis=0)
    theta = np.linalg.solve(centred.T @ centred + 2.0 * np.eye(3), centred.T @ (DATA.y - DATA.y.mean()))
    expected = [*theta, DATA.y.mean() - X.mean(axis=0) @ theta]
    np.testing.assert_allclose(ef.train(problem).theta, expected, rtol=ROUNDING)


def test_schedules_with_an_intercept_without_penalty():
    """The cost of 1_[0,s] by matrix exponentials of the risk as it is written; the optimum does no worse."""
    problem = linear_regression(DATA, [2], l2=2.0, penalise_intercept=False, reduction="mean")
    found = ef.compare_schedules(problem, np.zeros(4), s=1.0, T=4.0)
    theta, penalty = np.zeros(4), np.diag([2.0, 2.0, 2.0, 0.0])
    for kept, duration in ((np.arange(30), 1.0), (np.delete(np.arange(30), 2), 3.0)):
        x, y = DATA.x[kept], DATA.y[kept]
        h = x.T @ x / 30 + penalty
        end = np.linalg.solve(h, x.T @ y / 30)
        theta = end + scipy.linalg.expm(-h * duration) @ (theta - end)
    assert found.baseline.cost == pytest.approx(0.5 * np.sum((theta - end) ** 2), rel=ROUNDING)
    assert found.optimum.cost <= min(family.cost for family in found.families) * (1.0 + 1e-9)


def test_the_biases_of_a_network():
    model = MLP((4, 2, 1))
    problem = Problem(model, ef.SquaredLoss(), DATA, [1], 0.5, penalise_intercept=False)
    theta = model.init(jax.random.key(0)) + 0.1
    layers = model.layers(np.asarray(theta))
    risk = sum(0.5 * (float(model(theta, x)) - y) ** 2 for x, y in zip(DATA.x, DATA.y, strict=True))
    expected = risk + 0.25 * sum(float((weight**2).sum()) for weight, _ in layers)
    assert float(problem.value(theta)) == pytest.approx(expected, rel=1e-12)  # a sum of 32 terms
    assert problem.penalty.sum() == 0.5 * (8 + 2)


@pytest.mark.parametrize(
    "answer",
    [
        lambda p: ef.leverage(p),
        lambda p: ef.pbrf(p, np.zeros(4), damping=1e-3),
        lambda p: ef.influence(p, curvature="ggn", damping=0.1, solver=ef.Dual()),
    ],
)
def test_what_needs_one_penalty_refuses(answer):
    problem = linear_regression(DATA, [2], l2=2.0, penalise_intercept=False)
    with pytest.raises(InputError, match="needs one penalty for all parameters"):
        answer(problem)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: linear_regression(DATA, l2=np.ones(3)), "l2 has shape"),
        (lambda: linear_regression(DATA, l2=[1.0, 0.0, -1.0, 0.0]), r"l2\[2\] is -1; a negative penalty"),
        (lambda: linear_regression(Dataset(X, DATA.y), penalise_intercept=False), r"no column 'intercept'"),
        (
            lambda: Problem(
                ef.FunctionModel(lambda p, x: x @ p, np.ones(4)),
                ef.SquaredLoss(),
                DATA,
                l2=1.0,
                penalise_intercept=False,
            ),
            "is for a LinearModel and an MLP",
        ),
    ],
)
@pytest.mark.usefixtures("as_a_user")
def test_penalties_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
