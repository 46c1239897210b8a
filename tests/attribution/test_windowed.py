"""Removal in a window: the same training again, and how far first and second order are from it."""

import numpy as np
import optax
import pytest

import epsflow as ef
from epsflow.attribution import (
    converged_influence,
    early_stopped_influence,
    source_influence,
    tracin,
    windowed_removal,
)
from reference_windows import linear_end, window_weights

START, SPAN, WINDOW = np.array([1.0, -0.5, 2.0]), np.array([0.0, 6.0]), (0.5, 3.0)


@pytest.fixture(scope="module")
def found(regression):
    return windowed_removal(regression, ef.Step(2.0), START, ts=SPAN, functional=lambda t: t[0] ** 2, window=WINDOW)


def removed(problem, point, share):
    """θ₁(T)² by matrix exponentials when the point's weight is lower by a share in the window."""
    edges = np.array([0.0, 0.5, 2.0, 3.0, 6.0])
    rows = window_weights(12, problem.delete, edges, ef.Step(2.0), problem.scale, point, WINDOW, -share)
    return linear_end(problem.data.x, problem.data.y, rows, problem.l2, START, np.diff(edges))[0] ** 2


def test_truth_by_matrix_exponentials(regression, found):
    expected = [(removed(regression, j, 1.0) - removed(regression, j, 0.0)).real for j in range(12)]
    np.testing.assert_allclose(found.change, expected, rtol=1e-11, atol=1e-13)
    assert np.abs(found.change - expected).max() <= found.change_error


def test_second_order_by_complex_steps(regression, found):
    # Re φ(ih) = φ(0) − h²φ″/2 + h⁴φ⁗/24, two steps of which leave h⁴.
    def half_bend(point):
        first, second = (
            (removed(regression, point, 0.0) - removed(regression, point, 1j * h)).real / h**2 for h in (0.01, 0.02)
        )
        return (4.0 * first - second) / 3.0

    bends = [half_bend(j) for j in range(12)]
    assert np.abs(found.second_order - found.first_order - bends).max() <= found.second_error
    assert np.abs(found.second_order - found.change).max() < 0.3 * np.abs(found.first_order - found.change).max()


def test_smooth_schedules(regression):
    ask = {"ts": SPAN, "functional": lambda t: t[0], "window": WINDOW, "points": [2, 7]}
    found = windowed_removal(regression, ef.LinearDecay(1.0, 4.0), START, **ask)
    knots = np.linspace(1.0, 4.0, 61)
    steps = ef.PiecewiseConstant(knots, ef.LinearDecay(1.0, 4.0)(0.5 * (knots[1:] + knots[:-1])))
    again = windowed_removal(regression, steps, START, **ask)
    np.testing.assert_allclose(found.change, again.change, rtol=2e-3)  # the midpoint rule, 60 steps
    np.testing.assert_allclose(found.second_order, again.second_order, rtol=2e-3)


@pytest.mark.slow
def test_discrete_training(regression):
    # One step removed from plain descent changes θ by η times the point's gradient, and nothing else.
    ask = {"ts": np.array([0.0, 3.0]), "window": (2.0, 3.0), "optimiser": optax.sgd(0.1)}
    found = windowed_removal(regression, ef.Constant(1.0), START, functional=lambda t: t, points=[4], **ask)
    path = ef.gradient_descent(regression, 1.0, START, steps=2, step_size=0.1)
    expected = 0.1 * regression.point_gradients(np.asarray(path.end), [4])
    np.testing.assert_allclose(found.change, expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(found.first_order, expected, rtol=1e-12, atol=1e-15)


def test_groups_and_strange_windows_are_refused(regression):
    ask = lambda **more: windowed_removal(regression, ef.Step(2.0), START, ts=SPAN, functional=lambda t: t[0], **more)  # noqa: E731
    with pytest.raises(ef.InputError, match="one at a time"):
        ask(points=[[1, 2]])
    with pytest.raises(ef.InputError, match="not inside the trajectory"):
        ask(window=(1.0, 7.0))


def test_linear_regression_compiles_nothing(regression, compiled):
    losses = ef.Losses(regression.model, regression.loss, regression.data.x[:2], regression.data.y[:2])
    for schedule in (ef.Step(2.0), ef.LinearDecay(1.0, 3.0)):
        setting, ask = (regression, schedule, START), {"ts": np.linspace(0.0, 6.0, 5), "functional": losses}
        ef.stages(ef.influence_density(*setting, **ask))
        windowed_removal(*setting, **ask, window=WINDOW, points=[1])
        for score in (tracin, source_influence, early_stopped_influence, converged_influence):
            score(*setting, **ask)
    assert not compiled
