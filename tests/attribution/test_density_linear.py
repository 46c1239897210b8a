"""The influence density of linear regression: closed forms, complex steps, the influence function as T grows."""

import jax.numpy as jnp
import numpy as np
import pytest

import epsflow as ef
from reference_windows import linear_end, window_weights

START, T = np.array([1.0, -0.5, 2.0]), 6.0
SPAN = np.array([0.0, T])
SCHEDULES = {
    "step": ef.Step(2.0),
    "bang-bang": ef.BangBang(1.0, [2.0, 3.0], 5.0),
    "per point": ef.PiecewiseConstant([1.0, 2.0, 4.0], np.array([[0.2, 0.9], [0.7, 0.1]])),
}


def derivative(problem, schedule, point, window, gradient):
    """∂φ/∂ε_point on the window, by a complex step: exact to rounding."""
    jumps = [t for t in (1.0, 2.0, 3.0, 4.0, 5.0, *window) if 0.0 < t < T]
    edges = np.unique([0.0, *jumps, T])
    x, y, n = problem.data.x, problem.data.y, problem.data.n
    rows = window_weights(n, problem.delete, edges, schedule, problem.scale, point, window, 1e-30j)
    return (gradient @ linear_end(x, y, rows, problem.l2, START, np.diff(edges))).imag / 1e-30


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_windows_are_derivatives(regression, schedule):
    gradient = np.array([0.3, -1.0, 0.7])
    found = ef.influence_density(regression, schedule, START, ts=SPAN, functional=lambda t: gradient @ t)
    for window in ((0.0, T), (0.5, 2.5), (4.5, 4.75)):
        scores = found.removal(*window)
        expected = [derivative(regression, schedule, j, window, gradient) for j in range(12)]
        # Two ways to exponentiate matrices of norm ~10 over the same time; the bound holds it too.
        np.testing.assert_allclose(-scores.change, expected, rtol=1e-11, atol=1e-14)
        assert np.abs(scores.change + expected).max() <= scores.error


def test_one_parameter_in_closed_form():
    # θ' = −h(θ − m): K = −e^{−h(T−t)}·x(xθ(t) − y).
    x, y = np.array([[1.0], [2.0]]), np.array([3.0, -1.0])
    problem, ts = ef.linear_regression(ef.Dataset(x, y), delete=[0]), np.linspace(0.0, 2.0, 9)
    found = ef.influence_density(problem, ef.Constant(1.0), np.array([0.5]), ts=ts, functional=lambda t: t[0])
    theta = 0.2 + 0.3 * np.exp(-5.0 * ts)
    expected = -np.exp(-5.0 * (2.0 - ts))[:, None] * x[:, 0] * (theta[:, None] * x[:, 0] - y)
    np.testing.assert_allclose(found.values, expected, rtol=1e-14, atol=1e-16)  # a few roundings of numbers of size 1
    assert np.abs(found.values - expected).max() <= found.error


@pytest.mark.parametrize(
    "schedule", [ef.LinearDecay(1.0, 4.0), ef.PolynomialDecay(1.0, 5.0, 0.3)], ids=["line", "power"]
)
def test_smooth_schedules_are_the_limit_of_steps(regression, schedule):
    losses = ef.Losses(regression.model, regression.loss, regression.data.x[:2], regression.data.y[:2])
    found = ef.influence_density(regression, schedule, START, ts=np.array([0.0, 2.0, 3.0, T]), functional=losses)

    def by_steps(count):
        knots = np.linspace(float(schedule.start), float(schedule.end), count + 1)
        steps = ef.PiecewiseConstant(knots, schedule(0.5 * (knots[1:] + knots[:-1])))
        return ef.influence_density(regression, steps, START, ts=np.array([0.0, 2.0, 3.0, T]), functional=losses)

    coarse, fine = by_steps(60), by_steps(120)
    assert found.method == "collocation"
    # The midpoint rule errs by O(1/count²), before the power by O(1/count^1.3): half the step, less than 0.45 of it.
    for ask in (lambda d: d.values, lambda d: d.removal(0.5, 4.5).change):
        first, second = np.abs(ask(coarse) - ask(found)).max(), np.abs(ask(fine) - ask(found)).max()
        assert second < 0.45 * first < 1e-2 * np.abs(ask(found)).max()


def test_converged_density_is_the_influence_function(regression):
    losses = ef.Predictions(regression.model, regression.data.x[:3])
    slowest = np.linalg.eigvalsh(regression.hessian(START, 1.0))[0]
    found = ef.influence_density(
        regression, ef.Constant(1.0), START, ts=np.array([0.0, 40.0 / slowest]), functional=losses
    )
    influence = ef.influence(regression, points="all", functional=losses)
    # What is left of the start is e^{-40}·λT.
    np.testing.assert_allclose(found.removal().change, influence.change, rtol=1e-10, atol=1e-12)


def test_windows_add_up(regression):
    found = ef.influence_density(regression, ef.Step(2.0), START, ts=SPAN, functional=lambda t: t)
    parts = [found.removal(a, b).change for a, b in ((0.0, 1.7), (1.7, 2.0), (2.0, T))]
    assert found.values.shape == (2, 12, 3)
    np.testing.assert_allclose(sum(parts), found.removal().change, rtol=1e-12, atol=1e-15)
    assert not found.removal(1.0, 1.0).change.any()


def test_a_singular_hessian_leaves_the_start(regression):
    x = np.array([[1.0, 0.0], [2.0, 0.0], [1.0, 0.0]])
    problem = ef.linear_regression(ef.Dataset(x, np.array([1.0, 1.0, 3.0])), delete=[0])
    found = ef.influence_density(
        problem, ef.Step(1.0), np.array([0.3, 7.0]), ts=np.array([0.0, 2.0]), functional=lambda t: t[1]
    )
    assert not found.values.any()  # nothing moves the second coordinate


@pytest.mark.parametrize("window", [(-0.1, 1.0), (1.0, T + 0.1), (2.0, 1.0)])
def test_a_window_outside_the_trajectory_is_refused(regression, window):
    found = ef.influence_density(regression, ef.Step(2.0), START, ts=SPAN, functional=lambda t: t[0])
    with pytest.raises(ef.InputError, match="not inside the trajectory"):
        found.removal(*window)


def test_refusals(regression):
    ask = lambda **more: ef.influence_density(regression, ef.Step(2.0), START, **{"ts": SPAN, **more})  # noqa: E731
    with pytest.raises(ef.InputError, match=r"gradient at .* is not finite"):
        ask(functional=lambda t: jnp.sqrt(0.0 * t[0]))
    with pytest.raises(ef.InputError, match=r"value at .* is not finite"):
        ask(functional=lambda t: jnp.log(t[0] - 1e6))  # whose gradient is finite
    with pytest.raises(ef.InputError, match="float scalar or a vector"):
        ask(functional=lambda t: t[:, None] * t)
    with pytest.raises(ef.InputError, match="leaves JAX"):
        ask(functional=lambda t: float(t[0]))
    with pytest.raises(ef.InputError, match=r"cannot be computed at θ.*'str'"):
        ask(functional=lambda t: "a")
    with pytest.raises(ef.InputError, match="ascend"):
        ask(functional=lambda t: t[0], ts=SPAN[::-1])
    with pytest.raises(ef.InputError, match="name an optimiser"):
        ask(functional=lambda t: t[0], batch=3)


def test_more_values_than_memory_are_refused(regression, monkeypatch):
    monkeypatch.setattr("epsflow.attribution.training._pointwise.VALUE_NUMBERS", 20)
    with pytest.raises(ef.InputError, match="fewer times"):
        ef.influence_density(regression, ef.Step(2.0), START, ts=SPAN, functional=lambda t: t[0])


def test_points_are_taken_in_chunks(regression, monkeypatch):
    ask = lambda: ef.influence_density(regression, ef.Step(2.0), START, ts=SPAN, functional=lambda t: t)  # noqa: E731
    whole = ask().values
    monkeypatch.setattr("epsflow.attribution.training._pointwise.CHUNK_NUMBERS", 30)
    np.testing.assert_allclose(ask().values, whole, rtol=1e-14, atol=1e-16)  # BLAS sums in another order
