"""Figures of scores: what is drawn is what the results hold."""

import numpy as np
import pytest

import epsflow as ef
from epsflow import plots
from epsflow.attribution import bayesian_influence, compare_attributions, data_shapley, knn_shapley, soft_weights
from epsflow.problem import Dataset, LinearModel, LogisticLoss, Problem, linear_regression


@pytest.fixture(scope="module")
def compared():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 2))
    data = Dataset(x, (x[:, 0] > 0.0) * 1.0)
    problem = Problem(LinearModel(2), LogisticLoss(), data, l2=1.0)
    return compare_attributions(problem, ("influence", "knn"), groups=3, fractions=(0.0, 0.2))


def test_values_are_drawn_in_their_order_with_intervals():
    found = data_shapley(lambda s: float(np.sqrt(len(s)) + 3.0 * (4 in s)), 30, tolerance=0.2)
    ax = plots.point_values(found, most=6)
    assert ax.get_yticklabels()[0].get_text() == "4"
    segments = ax.collections[0].get_segments()
    np.testing.assert_allclose(segments[0][:, 0], found.interval[4])
    assert len(segments) == 6


def test_nearest_neighbours_and_bayesian_influence_are_drawn_too(rng):
    x = rng.normal(size=(10, 2))
    plots.point_values(knn_shapley(x, np.arange(10) % 2, x, np.arange(10) % 2, k=1))
    problem = linear_regression(Dataset(x, x[:, 0]), l2=0.1)
    one = ef.Predictions(problem.model, x[:1])
    ax = plots.point_values(bayesian_influence(problem, functional=one, sampler="exact"))
    assert "upon removal" in ax.get_xlabel()
    with pytest.raises(ef.InputError, match="the functional has 2 values"):
        plots.point_values(bayesian_influence(problem, sampler="exact"))


def test_predictions_are_drawn_against_exact_changes(compared):
    ax = plots.attributions(compared)
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts[0].startswith("influence (rank correlation")
    drawn = ax.containers[0].lines[0].get_xydata()
    np.testing.assert_array_equal(drawn, np.column_stack([compared.exact, compared.scores["influence"].change]))


def test_removal_curves_are_drawn_with_both_ends(compared):
    ax = plots.removal(compared)
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), compared.curves.most[0])
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), compared.curves.least[0])
    assert plots.removal(compared.curves).get_ylabel() == "accuracy at the test points"


def test_soft_weights_are_drawn_with_what_they_did(rng):
    x = rng.normal(size=(10, 2))
    problem = linear_regression(Dataset(x, x[:, 0] + rng.normal(size=10)), l2=0.1)
    found = soft_weights(problem, objective=lambda theta: theta[1] ** 2)
    ax = plots.soft_weights(found)
    assert f"retrained {float(found.objective.after):.4g}" in ax.get_title(loc="left")
