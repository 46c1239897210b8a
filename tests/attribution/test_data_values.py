"""Shapley and Banzhaf values: definitions, axioms, sampling errors, and utilities trained in batches."""

import itertools
import math
import re

import jax
import numpy as np
import pytest

import epsflow as ef
from epsflow.attribution import (
    CoalitionFunction,
    ModelUtility,
    data_banzhaf,
    data_shapley,
    loo_values,
)
from epsflow.problem import MLP, Dataset, LinearModel, LogisticLoss, Problem, SoftmaxCrossEntropy, SquaredLoss

UNIT = np.finfo(np.float64).eps


def by_definition(value, n):
    """φ_i by the sum over coalitions, in Python's own loops."""
    found = np.zeros(n)
    for i in range(n):
        others = [j for j in range(n) if j != i]
        for size in range(n):
            for coalition in itertools.combinations(others, size):
                gain = value(sorted((*coalition, i))) - value(list(coalition))
                found[i] += gain / math.comb(n - 1, size) / n
    return found


def classification(n, seed, classes=2):
    """Points in three dimensions whose first coordinates tell their class, with noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    scores = x[:, :classes] + 0.5 * rng.normal(size=(n, classes))
    return Dataset(x, (scores[:, 0] > 0.0) * 1.0 if classes == 2 else np.argmax(scores, axis=1) * 1.0)


@pytest.fixture(scope="module")
def logistic():
    return Problem(LinearModel(3), LogisticLoss(), classification(10, 0), l2=0.5)


@pytest.fixture(scope="module")
def test_points():
    return classification(50, 1)


@pytest.fixture(scope="module")
def exact(logistic, test_points):
    return data_shapley(ModelUtility(logistic, test_points, metric="accuracy"), 10, method="exact")


def test_exact_values_are_the_definition():
    weights = np.random.default_rng(0).normal(size=6)

    def value(coalition):
        return float(np.sin(weights[coalition].sum()) + len(coalition) ** 1.5)

    found = data_shapley(value, 6, method="exact")
    np.testing.assert_allclose(found.values, by_definition(value, 6), rtol=0.0, atol=1e-14 * 60)
    np.testing.assert_array_equal(found.error, 0.0)


def test_banzhaf_values_are_the_mean_of_all_marginals():
    def value(coalition):
        return float(np.prod(1.0 + 0.1 * np.asarray(coalition)))

    gains = [
        [
            value(sorted((*s, i))) - value(list(s))
            for k in range(5)
            for s in itertools.combinations(set(range(5)) - {i}, k)
        ]
        for i in range(5)
    ]
    found = data_banzhaf(value, 5, method="exact")
    np.testing.assert_allclose(found.values, np.mean(gains, axis=1), rtol=1e-13)


def test_additive_utilities_are_their_own_values_by_every_method():
    weights = np.array([1.0, -2.0, 0.5, 3.0])
    utility = CoalitionFunction(lambda members: members @ weights, 4, batched=True)
    for method in ("exact", "permutations", "stratified"):
        # Every marginal is the weight itself, so that sampling has no error but rounding.
        found = data_shapley(utility, 4, method=method, max_permutations=200)
        np.testing.assert_allclose(found.values, weights, rtol=0.0, atol=1e-14)
    np.testing.assert_allclose(loo_values(utility, 4).values, weights, rtol=0.0, atol=1e-14)


@pytest.mark.parametrize("options", [{}, {"truncation": 0.2}, {"method": "stratified"}], ids=str)
def test_sampled_values_lie_within_their_errors_and_are_efficient(logistic, test_points, exact, options):
    utility = ModelUtility(logistic, test_points, metric="accuracy")
    found = data_shapley(utility, 10, tolerance=0.01, key=jax.random.key(1), **options)
    # Ten independent points within four standard errors, which one in 1,600 runs would not be.
    assert (np.abs(found.values - exact.values) <= 4.0 * found.error).all()
    assert found.half_width <= 0.01
    assert abs(found.efficiency_gap) <= 1e-12
    assert found.full - found.empty == exact.full - exact.empty


def test_truncation_values_fewer_coalitions_and_says_what_plain_stopping_would_lose(logistic, test_points, exact):
    utility = ModelUtility(logistic, test_points, metric="accuracy")
    options = {"max_permutations": 2_000, "tolerance": 1e-9, "throw": False, "key": jax.random.key(2)}
    cut = data_shapley(utility, 10, truncation=0.2, **options)
    assert cut.coalitions < 0.8 * data_shapley(utility, 10, **options).coalitions
    stopped = cut.values - cut.truncation_bias  # what plain stopping answers
    assert (np.abs(stopped - exact.values) > 6.0 * cut.error).any()  # a bias, not an error of sampling
    assert (np.abs(cut.values - exact.values) <= 4.0 * cut.error).all()


def test_sampled_banzhaf_values_lie_within_their_errors(logistic, test_points):
    utility = ModelUtility(logistic, test_points, metric="accuracy")
    found = data_banzhaf(utility, 10, tolerance=0.01, key=jax.random.key(3))
    exact = data_banzhaf(utility, 10, method="exact")
    assert (np.abs(found.values - exact.values) <= 4.0 * found.error).all()


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"truncation": 0.2}, {"method": "stratified"}], ids=str)
def test_intervals_cover_the_exact_values_at_their_stated_rate(logistic, test_points, exact, options):
    utility = ModelUtility(logistic, test_points, metric="accuracy")
    covered = [
        (found.interval[:, 0] <= exact.values) & (exact.values <= found.interval[:, 1])
        for found in (
            data_shapley(utility, 10, tolerance=0.02, key=jax.random.key(seed), **options) for seed in range(300)
        )
    ]
    # 3,000 intervals; the points of one run are correlated, so the standard deviation of the rate is taken over runs.
    rates = np.mean(covered, axis=1)
    assert np.mean(rates) >= 0.95 - 3.0 * np.std(rates) / np.sqrt(300)
    assert np.mean(rates) <= 0.99


@pytest.mark.parametrize("classes", [2, 3])
def test_batched_training_ends_where_retraining_does(classes):
    data = classification(12, 5, classes)
    model = LinearModel(3) if classes == 2 else LinearModel(3, 3)
    loss = LogisticLoss() if classes == 2 else SoftmaxCrossEntropy()
    problem = Problem(model, loss, data, l2=0.3, reduction="mean")
    members = np.random.default_rng(0).random((5, 12)) < 0.6
    thetas, gradients = ModelUtility(problem, data).train(members)
    for row, theta in zip(members, thetas, strict=True):
        alone = ef.retrain(Problem(model, loss, data, np.flatnonzero(~row), l2=0.3, reduction="mean"))
        # Both stop at gradients of rounding's size; the least curvature is 0.3.
        np.testing.assert_allclose(theta, alone.theta, rtol=0.0, atol=1e-9)
    assert gradients > members.sum()


def test_least_squares_coalitions_are_their_normal_equations(rng):
    data = Dataset(rng.normal(size=(8, 3)), rng.normal(size=8))
    utility = ModelUtility(Problem(LinearModel(3), SquaredLoss(), data, l2=0.1), data)
    members = np.array([[False] * 8, [True] * 8, [True] * 2 + [False] * 6])
    thetas, _ = utility.train(members)
    for row, theta in zip(members, thetas, strict=True):
        x, y = data.x[row], data.y[row]
        np.testing.assert_allclose(theta, np.linalg.solve(x.T @ x + 0.1 * np.eye(3), x.T @ y), atol=1e-13)
    gaps = data.x @ thetas.T - data.y[:, None]
    np.testing.assert_allclose(utility(members), -0.5 * (gaps**2).mean(axis=0), rtol=1e-12)


def test_the_empty_coalition_guesses_and_one_class_is_answered_as_asked(logistic, test_points):
    nobody, ones = np.zeros((1, 10), bool), logistic.data.y[None] > 0.5
    trained = ModelUtility(logistic, test_points, metric="accuracy")
    constant = ModelUtility(logistic, test_points, metric="accuracy", one_class="constant")
    assert trained(nobody)[0] == constant(nobody)[0] == 0.5
    assert constant(ones)[0] == np.mean(test_points.y == 1.0)
    theta = trained.train(ones)[0][0]
    assert trained(ones)[0] == np.mean((test_points.x @ theta > 0.0) == (test_points.y > 0.5))


def test_a_network_is_valued_by_its_flow_from_a_common_start(test_points):
    problem = Problem(MLP((3, 2, 1)), LogisticLoss(), classification(6, 2), l2=0.01, reduction="mean")
    theta0 = 0.3 * np.random.default_rng(0).normal(size=problem.dim)
    utility = ModelUtility(problem, test_points, theta0=theta0, T=2.0, steps=20)
    members = np.array([[True] * 6, [True, False] * 3])
    thetas, _ = utility.train(members)
    for row, end in zip(members, thetas, strict=True):
        kept = Problem(
            problem.model,
            problem.loss,
            problem.data,
            np.flatnonzero(~row) if not row.all() else None,
            l2=0.01,
            reduction="mean",
        )
        theta = theta0
        for _ in range(20):
            theta = theta - 0.1 * np.asarray(kept.gradient(theta, 0.0 if not row.all() else 1.0))
        np.testing.assert_allclose(end, theta, rtol=0.0, atol=1e-13)
    found = data_shapley(utility, 6, method="exact")
    assert abs(found.efficiency_gap) <= 1e-14


def test_one_point_is_worth_everything():
    assert data_shapley(lambda s: 3.0 * len(s), 1).values.tolist() == [3.0]


def test_results_show_themselves(exact):
    assert repr(exact).startswith("DataValues(semivalue=shapley, values=array(10,), half_width=0, method=exact")
    assert "Σφ − (V(D) − V(∅))" in str(exact.summary())
    assert list(exact.to_pandas()["value"]) == exact.values.tolist()
    np.testing.assert_array_equal(exact.change, -exact.values)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data_shapley(len, 40, method="exact"), "40 points would take .* Use method='permutations'"),
        (lambda: data_shapley(lambda s: np.nan, 3), "is nan; every coalition, the empty one too"),
        (
            lambda: data_shapley(lambda s: [1.0, 2.0], 3),
            "returned an array of shape (2,) for a coalition; one number is needed",
        ),
        (lambda: data_shapley(len, 3, method="random"), "unknown method 'random'"),
        (lambda: data_shapley(len, 3, tolerance=0.0), "tolerance is 0"),
        (lambda: data_shapley(lambda s: 1.0, 3), "V(D) = V(∅)"),
        (lambda: data_shapley(len, 3, truncation=1.0), "truncation is 1"),
        (lambda: data_shapley(len, 3, key=0), "write key=jax.random.key(0)"),
        (lambda: data_shapley(3.0, 3), "utility is 3.0; a function of a coalition"),
        (lambda: data_shapley(lambda flags: flags.sum(), 3), "given the list of the coalition's points"),
        (lambda: ModelUtility(1, 2), "problem is 1, where a Problem is needed"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ef.InputError, match=message if ".*" in message else re.escape(message)):
        call()


def test_utilities_refuse_what_has_no_answer(logistic, test_points):
    data = logistic.data
    with pytest.raises(ef.InputError, match="l2 > 0"):
        ModelUtility(Problem(LinearModel(3), LogisticLoss(), data), test_points)
    with pytest.raises(ef.InputError, match="training labels are 1"):
        ModelUtility(Problem(LinearModel(3), LogisticLoss(), Dataset(data.x, np.ones(10)), l2=1.0), test_points)
    with pytest.raises(ef.InputError, match="knows no classes"):
        ModelUtility(Problem(LinearModel(3), SquaredLoss(), data, l2=1.0), test_points, metric="accuracy")
    with pytest.raises(ef.InputError, match="coalitions of 10 points"):
        data_shapley(ModelUtility(logistic, test_points), 9)


def test_a_utility_that_is_no_function_of_the_set_is_found_out():
    rng = np.random.default_rng(0)
    with pytest.raises(ef.ConvergenceError, match="tolerance"):
        data_shapley(lambda s: rng.normal(), 3, tolerance=1e-3, max_permutations=50)
