"""Figures of unlearning show the numbers they are made of."""

import numpy as np
import pytest

import epsflow as ef

TARGET = {"epsilon_dp": 1.0, "delta_dp": 1e-5}
REWIND = ef.RewindToDelete(steps=20, unlearning_steps=5)


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(6)
    x = rng.normal(size=(12, 2))
    return ef.linear_regression(ef.Dataset(x, x[:, 0] + rng.normal(size=12), name="a_b"), [1], l2=0.1)


def test_a_curve_shows_distances_and_bounds(problem):
    curve = ef.unlearning_curve(problem, REWIND, amounts=[0, 5, 20], scope="per data set", **TARGET)
    ax = ef.plots.unlearning_curve([curve])
    distance, bound = ax.get_lines()
    np.testing.assert_array_equal(distance.get_ydata(), curve.distances[:2])  # at K = T it is zero
    np.testing.assert_array_equal(bound.get_ydata(), curve.bounds[:2])
    sigma = ef.plots.unlearning_curve(curve, sigma=True).get_lines()[0]
    np.testing.assert_array_equal(sigma.get_ydata(), curve.sigmas[:2])
    with pytest.raises(ef.InputError, match="no curve"):
        ef.plots.unlearning_curve([])


def test_a_comparison_shows_every_noise(problem):
    found = ef.guarantees(problem, [ef.Retrain(steps=20), REWIND], draws=2, **TARGET)
    ax = ef.plots.guarantees(found)
    assert ax.get_lines()[0].get_xdata()[0] == found.certificates[1].sigma
    assert any("no noise needed" in text.get_text() for text in ax.texts)
    only = ef.guarantees(problem, [ef.Retrain(steps=20)], draws=2, **TARGET)
    with pytest.raises(ef.InputError, match="positive and finite"):
        ef.plots.guarantees(only)


def test_an_audit_shows_every_gap(problem):
    found = ef.audit(problem, REWIND, models=20, **TARGET)
    ax = ef.plots.audit(found)
    assert [label.get_text() for label in ax.get_yticklabels()] == list(found.gaps)
    assert "R2D" in ax.get_title(loc="left")
