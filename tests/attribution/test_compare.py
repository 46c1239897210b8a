"""Methods of attribution beside exact retraining: what the table says of scores whose truth is known."""

import re

import numpy as np
import pytest

import epsflow as ef
from epsflow.attribution import Scores, compare_attributions, datamodeling_scores
from epsflow.attribution.compare._agreement import agreement, area_under_curve, rank_correlation
from epsflow.problem import MLP, Dataset, LinearModel, LogisticLoss, Problem, SquaredLoss


def classes(n, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    return Dataset(x, (x[:, 0] + 0.2 * rng.normal(size=n) > 0.0) * 1.0)


@pytest.fixture(scope="module")
def flipped():
    """A logistic problem of 60 points, six of them with the wrong label."""
    data, wrong = classes(60, 0), np.arange(0, 60, 10)
    y = data.y.copy()
    y[wrong] = 1.0 - y[wrong]
    return Problem(LinearModel(3), LogisticLoss(), Dataset(data.x, y), l2=1.0), wrong


@pytest.fixture(scope="module")
def compared(flipped):
    problem, wrong = flipped
    methods = ("loo", "influence", "newton", "pbrf", "shapley", "banzhaf", "knn", "random")
    return compare_attributions(problem, methods, test=classes(200, 1), mislabelled=wrong, groups=40)


def test_exact_scores_agree_with_themselves_and_groups_are_nearly_their_sums(compared):
    assert compared.single["loo"].slope == pytest.approx(1.0, abs=1e-14)
    assert compared.single["loo"].relative_error == 0.0
    assert compared.single["loo"].spearman == pytest.approx(1.0, abs=1e-14)
    assert compared.single["loo"].overlap == 1.0
    assert compared.datamodelling["loo"].value > 0.99  # two points of sixty hardly interact


def test_the_exact_column_is_retraining(compared, flipped):
    problem, test = flipped[0], classes(200, 1)
    for j in (0, 17):
        kept = np.delete(np.arange(60), j)
        alone = Problem(problem.model, problem.loss, Dataset(problem.data.x[kept], problem.data.y[kept]), l2=1.0)
        losses = [
            np.mean(np.logaddexp(0.0, test.x @ theta) - test.y * (test.x @ theta))
            for theta in (ef.train(alone).theta, ef.train(problem).theta)
        ]
        assert compared.exact[j] == pytest.approx(losses[0] - losses[1], rel=1e-6)


def test_the_order_of_accuracy_is_that_of_the_theory(compared):
    errors = {name: found.relative_error for name, found in compared.single.items()}
    assert errors["pbrf"] < errors["newton"] < errors["influence"] < errors["shapley"]
    assert compared.single["influence"].slope < 1.0  # influence falls short, as by 1 − P_jj in least squares
    assert abs(compared.single["random"].spearman) < 0.4


def test_wrong_labels_are_found_by_all_but_chance(compared):
    for name in ("loo", "influence", "pbrf", "shapley", "banzhaf"):
        found = compared.detection[name]
        assert found.value > 0.9
        assert found.low <= found.value <= found.high
    assert compared.detection["random"].low < 0.5 < compared.detection["random"].high


def test_removing_the_most_valued_points_hurts_more_than_removing_the_least(compared):
    curves = compared.curves
    names = list(curves.names)
    assert curves.metric == "accuracy"
    np.testing.assert_allclose(curves.most[:, 0], curves.least[:, 0])  # nothing is removed yet
    assert (curves.drop[[names.index(name) for name in ("loo", "influence", "shapley")], 1] > 0.0).all()
    assert ((curves.most_interval[..., 0] <= curves.most) & (curves.most <= curves.most_interval[..., 1])).all()


def test_the_advantage_of_one_order_over_another_is_paired(compared):
    found = compared.curves.advantage("loo", "random")
    assert found.low > 0.0
    assert compared.curves.advantage("random", "loo").value == pytest.approx(-found.value)
    with pytest.raises(ef.InputError, match="'else' was not compared"):
        compared.curves.advantage("loo", "else")


def test_the_table_shows_itself(compared):
    table = compared.to_pandas()
    assert list(table["method"]) == list(compared.names)
    assert {"slope", "rel. error", "Spearman", "LDS", "AUC", "seconds", "gradients"} <= set(table.columns)
    assert "Attributions against exact retraining" in str(compared.summary())
    assert repr(compared).startswith("AttributionComparison(methods=loo, influence")


def test_scores_of_ones_own_stand_beside_them(flipped):
    problem, _ = flipped
    own = np.arange(60.0)
    found = compare_attributions(problem, {"influence": None, "mine": own}, test=classes(50, 1), groups=5, fractions=())
    np.testing.assert_array_equal(found.scores["mine"].change, own)
    assert found.scores["mine"].gradients is None, "what they took is not known"
    assert found.scores["influence"].gradients == 60
    assert found.curves is None
    priced = Scores(own, np.full(60, 0.5), gradients=7, seconds=2.0)
    found = compare_attributions(problem, {"mine": priced}, test=classes(50, 1), groups=5, fractions=())
    assert found.scores["mine"] is priced


@pytest.fixture(scope="module")
def network():
    """A network of two neurons, and where training ends from two starts."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(15, 1))
    problem = Problem(MLP((1, 2, 1)), SquaredLoss(), Dataset(x, np.tanh(x[:, 0]) + 0.1 * rng.normal(size=15)), l2=0.05)
    return problem, np.stack([ef.train(problem, 0.5 * rng.normal(size=problem.dim)).theta for _ in range(2)])


def test_a_network_is_compared_by_its_own_retraining(network):
    problem, thetas = network
    found = compare_attributions(problem, ["influence"], theta=thetas[0], groups=5, fractions=())
    assert found.single["influence"].spearman > 0.8
    with pytest.raises(ef.InputError, match="pass utility=ModelUtility"):
        compare_attributions(problem, ["shapley"], theta=thetas[0], groups=5, fractions=())


@pytest.mark.slow
def test_retrainings_that_are_not_certified_are_left_out_and_counted():
    # With two inputs and three neurons some minima are saddles of the risk without a point.
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 2))
    y = np.tanh(x[:, 0]) + 0.1 * rng.normal(size=30)
    problem = Problem(MLP((2, 3, 1)), SquaredLoss(), Dataset(x, y), l2=0.1)
    theta = ef.train(problem, 0.5 * rng.normal(size=problem.dim)).theta
    found = compare_attributions(problem, ["influence", "pbrf"], theta=theta, groups=5, fractions=())
    missing = np.isnan(found.exact)
    assert 0 < missing.sum() < 30
    assert found.single["pbrf"].spearman > 0.9
    told = int(missing.sum() + np.isnan(found.group_exact).sum())
    assert re.search(rf"retrainings not certified +{told}\n", str(found.summary()))


def test_datamodeling_scores_of_single_trajectories_and_of_their_average(network):
    problem, thetas = network
    found = datamodeling_scores(problem, ["loo", "influence"], thetas, groups=20)
    one = datamodeling_scores(problem, ["influence"], thetas[0], groups=20)
    assert found.exact.shape == (2, 20)
    np.testing.assert_allclose(one.exact[0], found.exact[0], rtol=1e-9)
    assert one.single["influence"].value == pytest.approx(one.averaged["influence"].value)
    assert found.single["loo"].low > 0.5
    assert np.isnan(one.between)
    assert "trajectories" in str(found.summary())


def test_influence_orders_the_removal_of_repeated_directions_backwards():
    # Koh et al. (2019): direction i repeated i + 1 times; without all its copies only the penalty is left, θ_i = 0.
    copies = np.repeat(np.arange(6), np.arange(1, 7))
    data = Dataset(np.eye(6)[copies], np.ones(len(copies)))
    groups = [np.flatnonzero(copies == i) for i in range(6)]
    problems = [Problem(LinearModel(6), LogisticLoss(), data, group, l2=0.02) for group in groups]
    theta = ef.train(problems[0]).theta
    exact = np.log(2.0) - np.log1p(np.exp(-theta))  # change of the loss of a copy
    predicted, stepped = [], []
    for i, problem in enumerate(problems):
        own = ef.Losses(problem.model, problem.loss, data.x[groups[i]], data.y[groups[i]])
        predicted.append(np.mean(ef.influence(problem, theta, functional=own).change))
        stepped.append(ef.newton_step(problem, theta).predicted[i])
    np.testing.assert_allclose(stepped, 0.0, atol=1e-8)  # the risk left is quadratic in θ_i
    assert rank_correlation(np.array(predicted), exact) == pytest.approx(-1.0)


def test_agreement_of_columns():
    exact = np.array([1.0, -2.0, 3.0, -4.0])
    found = agreement(0.5 * exact, exact, 2)
    assert found == (0.5, 0.5, pytest.approx(1.0), 1.0)
    assert rank_correlation(np.ones(4), exact) != rank_correlation(np.ones(4), exact)  # NaN: a constant has no order
    assert area_under_curve(np.array([1.0, 2.0, 2.0, 3.0]), np.array([False, False, True, True])) == 0.875


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"top": 61}, "top is 61, and 60 points have an exact change"),
        ({"methods": ["guess"]}, "unknown method 'guess': choose among loo"),
        ({"methods": "loo"}, "methods is 'loo'; a list of names is needed"),
        ({"methods": {"mine": np.ones(3)}}, "the scores 'mine' have shape (3,)"),
        ({"fractions": [1.0]}, "shares of points to remove lie from 0 to below 1"),
        ({"group_size": 60}, "group_size is 60"),
        ({"options": {"bif": {}}}, "options are given for 'bif'"),
        ({"confidence": 1.5}, "confidence is 1.5; it must lie between 0 and 1"),
        pytest.param(
            {"methods": ["bif"], "options": {"bif": {"sampler": "sgld", "draws": 100, "step": 1e-9}}},
            "method 'bif': the chains are no sample",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_bad_input_is_refused(flipped, arguments, message):
    given = {"methods": ["influence"], "groups": 5, **arguments}
    with pytest.raises(ef.EpsflowError, match=re.escape(message)):
        compare_attributions(flipped[0], given.pop("methods"), **given)
