"""Stages: sign changes at known times, and every one of a network's confirmed by training again."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import epsflow as ef
from epsflow.attribution import checkpoint_influence, stages


@pytest.mark.parametrize("schedule", [ef.Constant(1.0), ef.LinearDecay(1.5, 3.0)], ids=["exact", "collocation"])
def test_a_point_changes_sign_when_its_residual_vanishes(schedule):
    # θ falls from 2 towards 0.5 at rate 2; the second point is fitted at θ = 1, when e^{-2t} = 1/3.
    problem = ef.linear_regression(ef.Dataset(np.array([[1.0], [1.0]]), np.array([0.0, 1.0])), delete=[0])
    ts = np.array([0.0, 0.3, 1.1, 2.0])
    found = stages(ef.influence_density(problem, schedule, np.array([2.0]), ts=ts, functional=lambda t: t[0]))
    assert found.points.tolist() == [1]
    assert found.rising.tolist() == [True]
    assert abs(found.times[0] - 0.5 * np.log(3.0)) <= found.errors[0] < 1e-12
    assert "plus" in str(found.summary())


def test_discrete_training_knows_between_which_steps(regression):
    problem = ef.linear_regression(ef.Dataset(np.array([[1.0], [1.0]]), np.array([0.0, 1.0])), delete=[0])
    ask = {"ts": np.arange(0.0, 2.05, 0.1), "functional": lambda t: t[0], "optimiser": optax.sgd(0.1), "step_size": 0.1}
    found = stages(ef.influence_density(problem, ef.Constant(1.0), np.array([2.0]), **ask))
    # (1 − 2η)^k = 1/3 between the steps 4 and 5.
    assert 0.4 <= found.times[0] <= 0.5
    assert found.errors[0] <= 0.1


def test_peaks_and_edges():
    sizes = lambda t: np.exp(-((t - 1.0) ** 2) / 0.1) + 0.5 * np.exp(-((t - 3.0) ** 2) / 0.1)  # noqa: E731
    ts = np.linspace(0.0, 4.0, 41)
    found = stages(
        ef.attribution.CheckpointInfluence(ts=ts, values=sizes(ts)[:, None], error=0.0, result=ef.RESULTS.successful)
    )
    assert np.abs(found.peaks - [1.0, 3.0]).max() <= found.peak_errors.max() == pytest.approx(0.1)
    assert abs(found.edges[0] - 2.0) <= found.edge_errors[0]


def test_checkpoints_of_linear_regression_tend_to_the_influence_function(regression):
    losses = ef.Losses(regression.model, regression.loss, regression.data.x[:1] + 1.0, regression.data.y[:1])
    slowest = np.linalg.eigvalsh(regression.hessian(np.zeros(3), 1.0))[0]
    ask = {"ts": np.array([1.0, 40.0 / slowest]), "functional": losses}
    found = checkpoint_influence(regression, ef.Constant(1.0), np.ones(3), **ask)
    influence = ef.influence(regression, points="all", functional=losses)
    np.testing.assert_allclose(found.values[-1], influence.change, rtol=1e-10, atol=1e-12)
    first = ef.influence_density(regression, ef.Constant(1.0), np.ones(3), ts=np.array([0.0, 1.0]), functional=losses)
    np.testing.assert_array_equal(found.values[0], first.removal().change)


def test_refusals(regression):
    setting, ask = (
        (regression, ef.Constant(1.0), np.ones(3)),
        {"ts": np.array([0.0, 1.0]), "functional": lambda t: t[0]},
    )
    with pytest.raises(ef.InputError, match="leave out that time"):
        checkpoint_influence(*setting, **ask)
    with pytest.raises(ef.InputError, match="at least three"):
        stages(ef.influence_density(*setting, **ask))


@pytest.mark.slow
def test_every_sign_change_of_a_network_is_confirmed_by_training_again(network, network_start):
    T, width, h = 40.0, 0.4, 0.05
    losses = ef.Losses(network.model, network.loss, network.data.x[:1] + 0.1, network.data.y[:1])
    density = ef.influence_density(
        network, ef.Constant(1.0), network_start, ts=np.linspace(0.0, T, 81), functional=losses
    )
    found = stages(density)
    assert len(found.times) >= 5

    def end(point, window, change):
        problem = ef.Problem(network.model, network.loss, network.data, [int(point)], network.l2, network.reduction)
        schedule = ef.PiecewiseConstant(np.array([0.0, *window, 2.0 * T]), np.array([1.0, 1.0 + change, 1.0]))
        options = {"rtol": 1e-12, "atol": 1e-14, "estimate_error": False}
        return np.asarray(
            losses(jnp.asarray(ef.gradient_flow(problem, schedule, network_start, ts=np.array([T]), **options).end))
        )[0]

    for point, time, error, rising in zip(found.points, found.times, found.errors, found.rising, strict=True):
        assert error < 1e-3
        slopes = []
        for window in ((max(0.0, time - width), time - error), (time + error, min(T, time + width))):
            slopes.append((end(point, window, h) - end(point, window, -h)) / (2.0 * h))
        assert (slopes[0] < 0.0 < slopes[1]) == rising
        assert (slopes[1] < 0.0 < slopes[0]) == (not rising)
