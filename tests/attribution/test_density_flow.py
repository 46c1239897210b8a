"""The influence density of networks under gradient flow, against runs with another weight."""

import jax.numpy as jnp
import numpy as np
import pytest

import epsflow as ef

SCHEDULE, TS = ef.Step(10.0), np.array([0.0, 2.0, 12.0, 20.0])


@pytest.fixture(scope="module")
def losses(network):
    return ef.Losses(network.model, network.loss, network.data.x[:2] + 0.1, network.data.y[:2])


@pytest.fixture(scope="module")
def density(network, network_start, losses):
    return ef.influence_density(network, SCHEDULE, network_start, ts=TS, functional=losses)


def with_weight(network, start, point, change):
    """θ(20) when the point's weight changes by so much from t = 2 to 12."""
    knots = np.array([0.0, 2.0, 10.0, 12.0, 20.0])
    if point == 3:  # the deleted one, whose weight is 0 from 10 on
        problem, levels = network, np.array([[1.0], [1.0 + change], [change], [0.0]])
    else:
        problem = ef.Problem(network.model, network.loss, network.data, [3, point], network.l2, network.reduction)
        levels = np.array([[1.0, 1.0], [1.0, 1.0 + change], [0.0, 1.0 + change], [0.0, 1.0]])
    schedule = ef.PiecewiseConstant(knots, levels)
    options = {"rtol": 1e-12, "atol": 1e-14, "estimate_error": False}
    return ef.gradient_flow(problem, schedule, start, ts=np.array([20.0 - 1e-12]), **options).end


@pytest.mark.parametrize("point", [3, pytest.param(7, marks=pytest.mark.slow)])
def test_a_window_is_the_derivative_by_finite_differences(network, network_start, density, losses, point):
    def slope(h):
        ends = (losses(jnp.asarray(with_weight(network, network_start, point, c))) for c in (h, -h))
        return np.subtract(*map(np.asarray, ends)) / (2.0 * h)

    change, h = density.removal(2.0, 12.0).change[point], 1e-2
    # Richardson: h⁴ times the fifth derivative, some 1e-8 of the whole.
    np.testing.assert_allclose(-change, (4.0 * slope(h) - slope(2.0 * h)) / 3.0, rtol=1e-7)


def test_error_is_small_and_covers_other_tolerances(network, network_start, density, losses):
    again = ef.influence_density(network, SCHEDULE, network_start, ts=TS, functional=losses, rtol=1e-9, atol=1e-11)
    assert density.method == "diffrax"
    assert np.abs(again.values - density.values).max() <= density.error + again.error < 1e-8


def test_a_second_call_compiles_nothing(network, network_start, density, losses, compiled):
    other = ef.influence_density(network, ef.Step(9.0), network_start + 0.01, ts=TS + 0.5, functional=losses)
    assert other.values.shape == density.values.shape
    assert not compiled


@pytest.mark.slow
def test_a_linear_model_by_diffrax_is_the_exact_one(regression):
    # PseudoHuber with a huge δ is the squared loss up to residual²/δ² = 1e-12.
    problem = ef.Problem(
        regression.model, ef.PseudoHuberLoss(1e6), regression.data, regression.delete, regression.l2, "mean"
    )
    ask = {"ts": np.array([0.0, 1.0, 6.0]), "functional": ef.Predictions(regression.model, regression.data.x[:1])}
    exact = ef.influence_density(regression, ef.Step(2.0), np.ones(3), **ask)
    general = ef.influence_density(problem, ef.Step(2.0), np.ones(3), **ask)
    np.testing.assert_allclose(general.values, exact.values, rtol=1e-8, atol=1e-10)


def test_interpolants_beyond_memory_are_refused(network, network_start):
    with pytest.raises(ef.InputError, match="smaller max_steps"):
        ef.influence_density(network, SCHEDULE, network_start, ts=TS, functional=lambda t: t[0], max_steps=100_000_000)
