"""The mean-field flow of a two-layer network: its equation, its limits and its time scales."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.special import ndtri

import epsflow as ef
from epsflow.attribution import plateau_flow, plateau_slopes
from epsflow.attribution.plateaus._plateau import _Flow

TARGET, ACTIVATION = np.array([0.3, 1.0, 0.7, 0.5]), np.array([1.0, 0.8, 0.9, 1.1])


def by_kernels(a, s, epsilon):
    """The flow as the paper writes it, by V, U and their derivatives."""
    k, products = np.arange(4), np.outer(s, s)
    v = (TARGET * ACTIVATION) @ s ** k[:, None]
    dv = (k * TARGET * ACTIVATION)[1:] @ s ** (k[1:, None] - 1)
    u = sum(ACTIVATION[d] ** 2 * products**d for d in k)
    du = sum(d * ACTIVATION[d] ** 2 * products ** (d - 1) for d in k[1:])
    return np.concatenate([(v - u @ a / len(a)) / epsilon, a * (1.0 - s**2) * (dv - du @ (a * s) / len(a))])


def test_moments_are_kernels(rng):
    state, flow = rng.uniform(-0.8, 0.8, 10), _Flow(TARGET, ACTIVATION, 1e-2, 5)
    np.testing.assert_allclose(flow.field(0.0, state), by_kernels(state[:5], state[5:], 1e-2), rtol=1e-12)


def test_jacobian_by_differences(rng):
    state, flow, h = rng.uniform(-0.8, 0.8, 10), _Flow(TARGET, ACTIVATION, 1e-2, 5), 1e-5
    steps = h * np.eye(10)
    differences = [(flow.field(0.0, state + e) - flow.field(0.0, state - e)) / (2.0 * h) for e in steps]
    np.testing.assert_allclose(flow.jacobian(0.0, state), np.transpose(differences), atol=1e-8 * 1e2)


def test_against_an_explicit_integrator():
    found = plateau_flow(TARGET, activation=ACTIVATION, time_scale=0.1, T=2.0, neurons=8, grid=5)
    start = np.concatenate([ndtri((np.arange(8) + 0.5) / 8), np.zeros(8)])
    other = solve_ivp(
        lambda _, z: by_kernels(z[:8], z[8:], 0.1), (0.0, 2.0), start, method="DOP853", rtol=1e-11, atol=1e-12
    )
    # Radau's tolerance of 1e-8 a step, over some hundred steps.
    np.testing.assert_allclose(found.weights, other.y[:8, -1], rtol=0.0, atol=1e-6)
    np.testing.assert_allclose(found.overlaps, other.y[8:, -1], rtol=0.0, atol=1e-6)


def test_degree_zero_is_one_exponential():
    # With s = 0: ε d(mean a)/dt = σ(φ − σ mean a), half of which is learned at ε ln 2/σ².
    found = plateau_flow([2.0], activation=[3.0], time_scale=1e-3, neurons=4)
    assert found.times == pytest.approx([1e-3 * np.log(2.0) / 9.0], rel=1e-7)
    assert found.time_errors[0] < 1e-8


def test_degrees_are_learned_one_after_another_and_the_risk_falls():
    found = plateau_flow([0.0, 1.0, 1.0, 1.0], time_scale=1e-5, neurons=24, rtol=1e-6)
    assert np.isnan(found.times[0])
    assert (np.diff(found.times[1:]) > 0.0).all()
    assert (np.diff(found.risk) <= 1e-9).all()  # a gradient flow; the integrator's tolerance
    assert found.learned[-1, 1:] == pytest.approx(1.0, abs=1e-2)


@pytest.mark.parametrize("scale", [1e-6, 1e-8])
def test_degree_one_takes_half_a_root_times_a_logarithm(scale):
    """t = ½√ε ln(4/(q√ε)), q the mean square of the weights: what it leaves out is O(√ε), and measured at 0.05 √ε."""
    found = plateau_flow([0.0, 1.0], time_scale=scale, neurons=16, grid=2)
    weights = ndtri((np.arange(1, 17) - 0.5) / 16)
    root = np.sqrt(scale)
    assert found.times[1] == pytest.approx(0.5 * root * np.log(4.0 / (np.mean(weights**2) * root)), rel=0.2 * root)


@pytest.mark.slow
def test_learning_times_tend_to_powers_of_the_time_scale():
    found = plateau_slopes([0.0, 1.0, 1.0, 1.0], time_scales=10.0 ** -np.arange(10.0, 17.0, 2.0), neurons=24, rtol=1e-6)
    # The limit is 1/(2l); corrections fall with a power of ε^{1/(2l)} and of the weights' growth, and are seen to fall.
    limits = 1.0 / (2.0 * np.arange(1, 4))
    gaps = np.abs(found.local[:, 1:] - limits)
    assert (gaps[-1] < [0.03, 0.01, 0.02]).all()
    assert (gaps[-1] < gaps[0]).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"target": [1.0, 2.0], "activation": [1.0], "time_scale": 0.1}, "as many"),
        ({"target": [1.0, 2.0], "time_scale": 0.0}, "positive one"),
        ({"target": [0.0, 0.0], "time_scale": 0.1}, "nothing to learn"),
        ({"target": [1.0], "time_scale": 0.1, "T": -1.0}, "positive time"),
    ],
)
def test_refusals(arguments, words):
    with pytest.raises(ef.InputError, match=words):
        plateau_flow(**arguments)


def test_a_slope_needs_neighbours():
    with pytest.raises(ef.InputError, match="four or more"):
        plateau_slopes([0.0, 1.0], time_scales=[1e-2, 1e-3])
