"""Figures of influence along training: what is drawn is what the results hold."""

import numpy as np
import pytest

import epsflow as ef
from epsflow import plots
from epsflow.attribution import bayesian_influence, plateau_flow, plateau_slopes, stages, windowed_removal

START, TS = np.array([2.0, -1.0]), np.linspace(0.0, 4.0, 9)
WINDOWS = ((0.0, 1.0), (1.0, 3.0))


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(10, 2))
    return ef.linear_regression(
        ef.Dataset(x, x @ [1.0, 1.0] + rng.normal(size=10)), delete=[0], l2=0.1, reduction="mean"
    )


@pytest.fixture(scope="module")
def prediction(problem):
    return ef.Predictions(problem.model, np.array([[1.0, 0.5]]))


@pytest.fixture(scope="module")
def density(problem, prediction):
    return ef.influence_density(problem, ef.Constant(1.0), START, ts=TS, functional=prediction)


@pytest.fixture(scope="module")
def windows(problem, prediction):
    ask = {"ts": TS, "functional": prediction}
    return [windowed_removal(problem, ef.Constant(1.0), START, window=window, **ask) for window in WINDOWS]


@pytest.fixture(scope="module")
def bayesian(problem, prediction, density):
    ask = {"functional": prediction, "sampler": "exact", "gamma": 1.0}
    return {float(t): bayesian_influence(problem, density.thetas[k], **ask) for k, t in enumerate(TS) if k in (2, 6)}


def test_the_largest_points_are_drawn_with_their_sign_changes(density):
    found = stages(density)
    ax = plots.influence(density, most=3, stages=found)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    largest = np.argsort(-np.abs(density.values[:, :, 0]).max(axis=0))[:3]
    assert labels == [f"point {j}" for j in largest]
    marked = [line.get_xdata() for line in ax.lines if line.get_markerfacecolor() == "none"]
    np.testing.assert_array_equal(np.sort(np.concatenate(marked)), np.sort(found.times[np.isin(found.points, largest)]))


def test_three_views_over_one_time_axis(density, windows, bayesian):
    upper, middle, lower = plots.stagewise(density, windows=windows, bayesian=bayesian, points=[4])
    assert upper.get_shared_x_axes().joined(upper, lower)
    bars = [bar.get_segments()[0] for bar in middle.collections]
    for bar, window in zip(bars, windows, strict=True):
        np.testing.assert_allclose(bar[:, 0], [window.start, window.stop])
        np.testing.assert_allclose(bar[:, 1], -window.change[4, 0] / (window.stop - window.start))
    drawn = lower.containers[0].lines[0].get_xydata()
    np.testing.assert_allclose(drawn, [[t, found.removal[4, 0]] for t, found in bayesian.items()])


def test_what_is_missing_is_named(density, windows, bayesian, problem, prediction):
    with pytest.raises(ef.InputError, match="φ has 1 values"):
        plots.influence(density, functional=1)
    with pytest.raises(ef.InputError, match="below 10"):
        plots.influence(density, points=[10])
    with pytest.raises(ef.InputError, match="needs windows"):
        plots.stagewise(density, windows=[], bayesian=bayesian)
    ask = {"ts": TS, "functional": prediction, "points": [1]}
    lone = windowed_removal(problem, ef.Constant(1.0), START, window=(0.0, 1.0), **ask)
    with pytest.raises(ef.InputError, match="lacks point 4"):
        plots.stagewise(density, windows=[lone], bayesian=bayesian, points=[4])


def test_plateaus_and_slopes():
    flow = plateau_flow([0.0, 1.0, 0.5], time_scale=1e-2, neurons=8, grid=30, rtol=1e-5)
    ax = plots.plateaus(flow)
    assert [line.get_label() for line in ax.lines] == ["degree 1", "degree 2", "$R(t)/R(0)$"]
    found = plateau_slopes([0.0, 1.0], time_scales=[1e-2, 1e-3, 1e-4, 1e-5], neurons=8, rtol=1e-5)
    ax = plots.plateau_slopes(found)
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), found.times[:, 1])
    assert f"{found.slopes[1]:.3f}" in ax.lines[0].get_label()
