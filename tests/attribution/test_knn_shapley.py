"""Shapley values of nearest neighbours: reference values, enumeration, and the sum they must have."""

import numpy as np
import pytest

import epsflow as ef
from epsflow.attribution import data_shapley, knn_shapley

REFERENCE = [
    (1, [1, 0, 1], [5 / 6, -1 / 6, 1 / 3]),
    (2, [1, 0, 1, 1, 0], [0.25, -0.25, 0.25, 0.25, 0.0]),
    (3, [0, 1, 1, 0, 1, 0], [-0.05, 0.85 / 3, 0.85 / 3, -0.05, 0.2, 0.0]),
]


def votes(x, y, point, label, k):
    """V(S): the share of k votes for the right label."""

    def value(coalition):
        nearest = sorted(coalition, key=lambda i: abs(x[i, 0] - point))[:k]
        return sum(y[i] == label for i in nearest) / k

    return value


@pytest.mark.parametrize(("k", "matches", "expected"), REFERENCE)
def test_reference_values(k, matches, expected):
    x = np.arange(1.0, len(matches) + 1.0)[:, None]
    found = knn_shapley(x, np.array(matches), np.zeros((1, 1)), np.array([1]), k=k)
    np.testing.assert_allclose(found.values, expected, rtol=0.0, atol=1e-15)


@pytest.mark.parametrize("k", [1, 3, 9])  # the last: more neighbours than points
def test_the_closed_form_is_the_enumeration(k, rng):
    x, y = rng.normal(size=(7, 1)), np.array([0, 1, 1, 0, 1, 0, 0])
    tests = [(-0.3, 0), (0.4, 1)]
    found = knn_shapley(x, y, np.array([[point] for point, _ in tests]), np.array([label for _, label in tests]), k=k)
    games = [data_shapley(votes(x, y, point, label, k), 7, method="exact") for point, label in tests]
    np.testing.assert_allclose(found.values, np.mean([game.values for game in games], axis=0), rtol=0.0, atol=1e-14)
    assert found.full == pytest.approx(np.mean([game.full for game in games]), abs=1e-15)


def test_equal_distances_count_in_the_order_of_the_points():
    x = np.zeros((40, 2))
    y = np.arange(40) % 2
    found = knn_shapley(x, y, np.zeros((1, 2)), np.array([1]), k=1)
    shifted = knn_shapley(x + 1e-3 * np.arange(40)[:, None], y, np.zeros((1, 2)), np.array([1]), k=1)
    np.testing.assert_array_equal(found.values, shifted.values)


def test_values_add_up_to_the_accuracy_of_the_votes(rng):
    x, y = rng.normal(size=(500, 4)), rng.integers(3, size=500)
    found = knn_shapley(x, y, rng.normal(size=(30, 4)), rng.integers(3, size=30), k=5)
    assert abs(found.efficiency_gap) <= 1e-14
    np.testing.assert_array_equal(found.change, -found.values)
    assert "KNNShapley(values=array(500,), k=5" in repr(found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": np.ones(3)}, "all 3 training labels are 1"),
        ({"x_test": np.zeros((1, 2))}, "a matrix with 1 columns is needed"),
        ({"y": np.array([0, 1])}, r"y has shape \(2,\)"),
        ({"k": 0}, "k is 0"),
        ({"x": np.array([[0.0], [np.nan], [1.0]])}, r"x\[1, 0\] is nan"),
        ({"x_test": np.zeros((0, 1)), "y_test": np.zeros(0)}, "x_test 0"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    good = {"x": np.arange(3.0)[:, None], "y": np.array([0, 1, 0]), "x_test": np.zeros((1, 1)), "y_test": np.zeros(1)}
    with pytest.raises(ef.InputError, match=message):
        knn_shapley(**{"k": 1, **good, **arguments})
