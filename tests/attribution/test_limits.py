"""TracIn, SOURCE, early-stopped and converged influence, each against the influence density where it is exact."""

import numpy as np
import pytest

import epsflow as ef
from epsflow.attribution import converged_influence, early_stopped_influence, source_influence, tracin

START, SCHEDULE = np.array([1.0, -0.5, 2.0]), ef.Step(2.0)
SCORES = {score.__name__: score for score in (tracin, source_influence, early_stopped_influence, converged_influence)}


@pytest.fixture(scope="module")
def losses(regression):
    return ef.Losses(regression.model, regression.loss, regression.data.x[:2] + 1.0, regression.data.y[:2])


@pytest.fixture(scope="module")
def rates(regression):
    return np.linalg.eigvalsh(regression.hessian(START, 1.0))


def exact(problem, schedule, theta0, *, ts, functional):
    return ef.influence_density(problem, schedule, theta0, ts=ts, functional=functional).removal().change


def test_tracin_before_curvature_acts(regression, losses, rates):
    ask = {"ts": np.linspace(0.0, 1e-9 / rates[-1], 5), "functional": losses}
    # Φ = I + O(λT), here 1e-9.
    np.testing.assert_allclose(
        tracin(regression, SCHEDULE, START, **ask).change, exact(regression, SCHEDULE, START, **ask), rtol=1e-8
    )


@pytest.mark.parametrize("score", [source_influence, early_stopped_influence])
def test_constant_curvature_and_gradients(regression, losses, score):
    # Where training rests, both are constant for all times.
    ask = {"ts": np.linspace(0.0, 8.0, 5), "functional": losses}
    theta = np.asarray(ef.train(regression).theta)
    found, expected = (
        score(regression, ef.Constant(1.0), theta, **ask),
        exact(regression, ef.Constant(1.0), theta, **ask),
    )
    np.testing.assert_allclose(found.change, expected, rtol=1e-8, atol=1e-13)


def test_source_tends_to_the_density(regression, losses):
    def miss(count):
        ask = {"ts": np.linspace(0.0, 8.0, count + 1), "functional": losses}
        found = source_influence(regression, SCHEDULE, START, **ask)
        miss = np.abs(found.change - exact(regression, SCHEDULE, START, **ask)).max()
        assert miss < found.error  # joining segments errs four times as much
        return miss

    # The jump at t = 2 lies on both grids: second order.
    assert miss(64) == pytest.approx(0.25 * miss(32), rel=0.02)
    # Richardson's step from both, to fourth order.
    first, second = (
        source_influence(regression, SCHEDULE, START, ts=np.linspace(0.0, 8.0, count), functional=losses).change
        for count in (129, 257)
    )
    expected = exact(regression, SCHEDULE, START, ts=np.array([0.0, 8.0]), functional=losses)
    np.testing.assert_allclose((4.0 * second - first) / 3.0, expected, rtol=0.0, atol=1e-8)


def test_converged_influence_is_where_all_end(regression, losses, rates):
    ask = {"ts": np.array([0.0, 40.0 / rates[0]]), "functional": losses}  # what is left of the start is e^{-40}
    found = converged_influence(regression, ef.Constant(1.0), START, **ask)
    near = {"rtol": 1e-8, "atol": 1e-12}
    np.testing.assert_allclose(found.change, exact(regression, ef.Constant(1.0), START, **ask), **near)
    early = early_stopped_influence(regression, ef.Constant(1.0), START, **ask)
    np.testing.assert_allclose(found.change, early.change, **near)
    np.testing.assert_allclose(found.change, ef.influence(regression, points="all", functional=losses).change, **near)


@pytest.mark.parametrize("name", SCORES)
def test_one_signature(regression, name):
    found = SCORES[name](regression, SCHEDULE, START, ts=np.array([0.0, 1.0, 4.0]), functional=lambda t: t[0])
    assert found.change.shape == (12,)


def test_no_minimum_no_converged_influence():
    flat = ef.linear_regression(ef.Dataset(np.array([[1.0, 0.0], [2.0, 0.0]]), np.array([1.0, 1.0])), delete=[0])
    ask = {"ts": np.array([0.0, 1.0]), "functional": lambda t: t[0]}
    with pytest.raises(ef.InputError, match="not converged to a minimum"):
        converged_influence(flat, ef.Constant(1.0), np.zeros(2), **ask)


def test_one_time_is_no_training(regression):
    with pytest.raises(ef.InputError, match="at least 2"):
        tracin(regression, SCHEDULE, START, ts=np.array([1.0]), functional=lambda t: t[0])
