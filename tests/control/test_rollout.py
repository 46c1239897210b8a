"""Costs and gradients without a matrix, against exact propagators, finite differences and the order of the method."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import epsflow as ef
from epsflow.control import make_task
from epsflow.control._mesh import system_of
from epsflow.control._task import linear_of
from epsflow.control.linear._path import linear_path
from epsflow.control.systems._rollout import choose_steps, roll_out, sweep

DURATIONS = np.array([0.3, 0.5, 0.2, 0.4])


@pytest.fixture(scope="module")
def linear(row_one):
    task = make_task(row_one, jnp.zeros(2), s=0.0, T=DURATIONS.sum())
    return task, system_of(task, shared=True)


def test_gradient_is_that_of_the_computed_cost(linear):
    """Two coarse steps a piece, far from the flow: the derivative of what is computed, all the same."""
    task, system = linear
    levels, h = np.array([[0.2], [0.9], [0.5], [0.7]]), 1e-5

    def cost(durations, levels):
        return roll_out(system, 2, task.theta_s, durations, levels)

    found = sweep(system, 2, task.theta_s, DURATIONS, levels)
    assert found.cost == pytest.approx(cost(DURATIONS, levels), rel=1e-14)
    for k, step in enumerate(h * np.eye(4)):
        by_level = (cost(DURATIONS, levels + step[:, None]) - cost(DURATIONS, levels - step[:, None])) / (2 * h)
        by_duration = (cost(DURATIONS + step, levels) - cost(DURATIONS - step, levels)) / (2 * h)
        # Rounding of the cost, 1e-16/h = 1e-11, and h² = 1e-10 of its third derivative.
        assert by_level == pytest.approx(found.levels[k, 0], abs=1e-9)
        assert by_duration == pytest.approx(found.durations[k], abs=1e-9)


def test_agrees_with_exact_propagators(linear):
    """∂φ/∂u is the integral of S, and ∂φ/∂Δ is 𝓗. Steps of 1/128 leave their fifth power, 3e-11."""
    task, system = linear
    levels, edges = np.array([0.2, 0.9, 0.5, 0.7]), np.concatenate([[0.0], np.cumsum(DURATIONS)])
    path = linear_path(linear_of(task), edges, levels)
    arguments = system, 64, task.theta_s, DURATIONS, levels[:, None]
    found = sweep(*arguments)
    nodes, weights = np.polynomial.legendre.leggauss(12)
    for k, (a, b) in enumerate(itertools.pairwise(edges)):
        ts = 0.5 * (a + b) + 0.5 * (b - a) * nodes
        signals = path.signals(ts)
        assert found.levels[k, 0] == pytest.approx(0.5 * (b - a) * weights @ signals.switching, abs=1e-10)
        assert found.durations[k] == pytest.approx(signals.hamiltonian[0], abs=1e-10)
    exact = path.at(edges)
    np.testing.assert_allclose(found.states, exact.theta, atol=1e-10)
    np.testing.assert_allclose(found.costates, exact.costate, atol=1e-10)


def test_steps_are_of_order_five(linear):
    task, system = linear
    levels = np.array([[1.0], [0.0], [1.0], [0.0]])
    knots = np.concatenate([[0.0], np.cumsum(DURATIONS)])
    exact = ef.gradient_flow(task.problem, ef.PiecewiseConstant(knots, levels[:, 0]), task.theta_s, ts=knots[-1:]).end
    errors = [np.abs(sweep(system, m, task.theta_s, DURATIONS, levels).states[-1] - exact).max() for m in (8, 16)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(5.0, abs=0.5)


def test_pieces_may_take_steps_of_their_own(linear):
    """Three steps on a piece are one step on each of its thirds; derivatives by it are sums and means of theirs."""
    task, system = linear
    levels, each = np.array([[0.2], [0.9], [0.5], [0.7]]), np.array([3, 1, 2, 4])
    whole = sweep(system, each, task.theta_s, DURATIONS, levels)
    parts = sweep(system, 1, task.theta_s, np.repeat(DURATIONS / each, each), np.repeat(levels, each, axis=0))
    first = np.cumsum(each) - each
    assert whole.cost == parts.cost
    np.testing.assert_array_equal(whole.states[:-1], parts.states[first])
    np.testing.assert_array_equal(whole.costates[:-1], parts.costates[first])
    np.testing.assert_allclose(whole.levels, np.add.reduceat(parts.levels, first), rtol=1e-14)
    np.testing.assert_allclose(whole.durations, np.add.reduceat(parts.durations, first) / each, rtol=1e-14)


def test_more_steps_than_one_call_takes_are_chained(linear):
    """150 steps in three calls of the compiled loops. Steps of 1/107 leave their fifth power, 7e-11."""
    task, system = linear
    durations = np.full(50, DURATIONS.sum() / 50)
    levels = np.linspace(1.0, 0.0, 50)[:, None]
    edges = np.concatenate([[0.0], np.cumsum(durations)])
    exact = linear_path(linear_of(task), edges, levels[:, 0]).at(edges)
    found = sweep(system, 3, task.theta_s, durations, levels)
    np.testing.assert_allclose(found.states, exact.theta, atol=1e-10)
    np.testing.assert_allclose(found.costates, exact.costate, atol=1e-10)


def test_other_numbers_other_steps_and_other_pieces_compile_nothing(linear):
    task, system = linear
    events = []
    arguments = task.theta_s, DURATIONS, np.full((4, 1), 0.5)
    sweep(system, 2, *arguments)
    other = system_of(
        make_task(ef.linear_regression(task.problem.data, [2], l2=0.3), jnp.ones(2), s=0.2, T=1.0), shared=True
    )
    start = arguments[0] + 1.0

    def listen(event, duration, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            events.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    sweep(other, 5, start, *arguments[1:])
    sweep(other, 2, start, np.full(30, 0.1), np.full((30, 1), 0.5))
    jax.monitoring.unregister_event_duration_listener(listen)
    assert events == []


def test_steps_are_chosen_by_what_they_change(linear):
    task, system = linear
    half = np.full((4, 1), 0.5)
    coarse = choose_steps(system, task.theta_s, DURATIONS, [half], 1.0)
    fine = choose_steps(system, task.theta_s, DURATIONS, [half], 1.0, agreement=1e-12)
    assert coarse < fine
    costs = [roll_out(system, m, task.theta_s, DURATIONS, half) for m in (coarse, 64)]
    assert costs[0] == pytest.approx(costs[1], rel=1e-6)


def test_a_stiff_flow_is_refused(rng):
    data = ef.Dataset(1e4 * rng.standard_normal((6, 2)), rng.standard_normal(6))
    task = make_task(ef.linear_regression(data, [0]), jnp.zeros(2), s=0.0, T=10.0)
    with pytest.raises(ef.InputError, match=r'more than 200000 explicit steps.*method="collocation"'):
        choose_steps(system_of(task, shared=True), task.theta_s, DURATIONS, [np.ones((4, 1))], 1.0)
