"""How models do on deleted, retained and unseen points, by hand."""

import numpy as np
import pytest

import epsflow as ef
from epsflow.unlearning import score_models

# f = θx with θ = 1: residuals 0, −1, −2 on the data, 0 and −3 on the test points.
DATA = ef.Dataset(np.ones((3, 1)), np.array([1.0, 2.0, 3.0]), "line")
TEST = ef.Dataset(np.ones((2, 1)), np.array([1.0, 4.0]), "unseen")
PROBLEM = ef.linear_regression(DATA, delete=[1])
THETAS = np.ones((2, 1))


def test_losses_and_scores_of_each_part():
    found = score_models(PROBLEM, THETAS, test=TEST)
    assert list(found.metrics) == ["forget loss", "retain loss", "retain R²", "test loss", "test R²"]
    assert found.metrics["forget loss"].tolist() == [0.5, 0.5]
    assert found.metrics["retain loss"].tolist() == [1.0, 1.0]  # (0 + 4)/2 · ½
    assert found.metrics["retain R²"] == pytest.approx([-1.0, -1.0])  # 1 − 4/2
    assert found.metrics["test loss"].tolist() == [2.25, 2.25]  # (0 + 9)/2 · ½


@pytest.mark.parametrize(
    ("given", "area"),
    [
        ({}, 0.5),  # against the retained losses 0 and 2: one below, one above
        ({"test": TEST}, 0.5),  # against 0 and 4.5
        ({"test": TEST, "others": ef.Dataset(np.ones((1, 1)), np.array([2.0]))}, 0.5),  # a tie
        ({"others": ef.Dataset(np.ones((2, 1)), np.array([3.0, 4.0]))}, 1.0),
    ],
)
def test_the_attack_compares_with_retained_unseen_or_given_points(given, area: float):
    assert score_models(PROBLEM, THETAS, **given).membership.tolist() == [area, area]
