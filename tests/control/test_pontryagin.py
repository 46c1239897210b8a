"""Costate, switching function and Hamiltonian against finite differences, an independent solver and known values."""

import jax.numpy as jnp
import numpy as np
import pytest

import reference
from epsflow import InputError
from epsflow.control._pontryagin import extremal
from epsflow.control.systems._dense_path import general_extremal
from epsflow.control.terms._cost import Distance
from epsflow.problem import Dataset, LinearModel, LogisticLoss, Problem, linear_regression
from epsflow.schedules import BangBang, ExponentialDecay, LinearDecay, PiecewiseConstant, Step

TAU, T = 0.8147809854393819, 2.0  # a known extremal of this problem, to 17 digits


def solve(problem, schedule, theta0, *, s=0.0, T=T, bounds=(0.0, 1.0)):
    zero = jnp.zeros(problem.dim)
    target = jnp.linalg.solve(problem.hessian(zero, 0.0), -problem.gradient(zero, 0.0))
    return extremal(problem, schedule, jnp.asarray(theta0), s=s, T=T, bounds=bounds, target=target)


def random_problem(rng, *, d=4, n=9, delete=(0,), reduction="sum"):
    data = Dataset(rng.standard_normal((n, d)), 2.0 * rng.standard_normal(n))
    return linear_regression(data, delete=list(delete), l2=0.1, reduction=reduction)


def system_of(problem):
    return reference.split_system(problem.data.x, problem.data.y, list(problem.delete), problem.l2, problem.reduction)


def test_reference_extremal(row_one):
    found = solve(row_one, BangBang(0.0, [TAU], T), jnp.zeros(2))
    # The table has 17 digits; the flow rounds a dozen operations on numbers near 1.
    assert found.cost == pytest.approx(1.06312561447804595, rel=1e-14)
    assert float(found.hamiltonian(0.3)) == pytest.approx(-0.58706787176856, rel=1e-13)
    assert found.hamiltonian_drift < 1e-13
    assert found.zeros[0] == pytest.approx([TAU], abs=1e-13)
    # S vanishes to first order at the switch, so an error of 1e-16 in it costs its square.
    assert 0.0 <= found.pmp_gap < 1e-15
    assert found.cost_error < 1e-13


def test_agrees_with_independent_costate(rng):
    problem, theta0 = random_problem(rng, delete=(0, 1), reduction="mean"), rng.standard_normal(4)
    levels, knots = np.array([[1.0, 0.3], [0.2, 0.9], [0.0, 1.0]]), np.array([0.7, 1.5, 2.0, 6.0])
    found = solve(problem, PiecewiseConstant(knots, levels), theta0, s=0.7, T=6.0)
    system = system_of(problem)
    start = reference.propagate(system, theta0, [0.0, 0.7], [1.0])[-1]
    ts, us = np.array([0.7, 1.0, 1.5, 2.0, 3.0, 6.0]), levels[[0, 0, 1, 2, 2]]
    thetas = reference.propagate(system, start, ts, us)
    costates = reference.costate(system, thetas[-1] - system.target, ts, us)
    # Two ways to exponentiate the same 4×4 matrices.
    np.testing.assert_allclose(found.theta(ts), thetas, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(found.costate(ts), costates, rtol=1e-12, atol=1e-13)
    switching = [reference.switching(system, *pair) for pair in zip(thetas, costates, strict=True)]
    np.testing.assert_allclose(found.switching(ts), switching, rtol=1e-11, atol=1e-13)
    here = reference.hamiltonian(system, thetas[1], costates[1], us[0])
    assert float(found.hamiltonian(1.0)) == pytest.approx(here, rel=1e-12)
    assert found.switching(np.reshape(ts, (2, 3))).shape == (2, 3, 2)


def test_switching_function_is_the_derivative_of_the_cost(rng):
    problem, theta0 = random_problem(rng), rng.standard_normal(4)
    width, at, step = 1e-3, 1.3, 1e-2

    def schedule(u):
        return PiecewiseConstant([0.5, at - width / 2, at + width / 2, 3.0], [0.6, u, 0.6])

    costs = [solve(problem, schedule(0.6 + h), theta0, s=0.5, T=3.0).cost for h in (step, -step)]
    slope = (costs[0] - costs[1]) / (2 * step * width)
    # Central difference in u and midpoint rule in t: both errors are O(1e-6) of the curvature.
    middle = float(solve(problem, schedule(0.6), theta0, s=0.5, T=3.0).switching(at))
    assert slope == pytest.approx(middle, rel=1e-5)


def test_switch_time_derivative_is_the_hamiltonian_jump(rng):
    problem, theta0, h = random_problem(rng), rng.standard_normal(4), 1e-5
    costs = [solve(problem, BangBang(0.5, [1.0 + shift], 3.0), theta0, s=0.5, T=3.0).cost for shift in (h, -h)]
    middle = solve(problem, BangBang(0.5, [1.0], 3.0), theta0, s=0.5, T=3.0)
    jump = float(middle.hamiltonian(1.0) - middle.hamiltonian(np.nextafter(1.0, 2.0)))
    assert (costs[0] - costs[1]) / (2 * h) == pytest.approx(jump, rel=1e-8)  # h² of a smooth function
    assert jump == pytest.approx(float(middle.switching(1.0)), rel=1e-12)  # (u₋ − u₊) S with u from 1 to 0


def test_gap_integrates_across_the_zeros_of_the_switching_function(row_one):
    found = solve(row_one, PiecewiseConstant([0.0, 0.5, 2.0], [0.3, 0.8]), jnp.zeros(2), bounds=(-0.5, 1.0))
    ts = np.linspace(0.0, 2.0, 200_001)
    middle = 0.5 * (ts[1:] + ts[:-1])
    s, u = np.asarray(found.switching(middle)), np.where(middle < 0.5, 0.3, 0.8)
    expected = np.sum(s * u - np.minimum(-0.5 * s, s)) * 1e-5
    assert found.zeros[0].size == 1
    assert found.pmp_gap == pytest.approx(expected, rel=1e-9)  # midpoint rule: h² = 1e-10


def test_one_weight_for_several_points_adds_their_switching_functions(rng):
    problem, theta0 = random_problem(rng, delete=(0, 3)), rng.standard_normal(4)
    shared = solve(problem, PiecewiseConstant([0.0, 1.0, 2.0], [0.5, 0.2]), theta0)
    single = solve(problem, PiecewiseConstant([0.0, 1.0, 2.0], [[0.5, 0.5], [0.2, 0.2]]), theta0)
    ts = np.linspace(0.0, 2.0, 7)
    np.testing.assert_allclose(shared.switching(ts), single.switching(ts).sum(axis=1), rtol=1e-12)
    assert shared.pmp_gap < single.pmp_gap  # fewer alternatives to compare with


def test_outside_the_window_there_is_no_costate(row_one):
    found = solve(row_one, Step(0.5), jnp.zeros(2))
    with pytest.raises(InputError, match=r"t = 2\.5 lies outside \[s, T\] = \[0, 2\]"):
        found.costate(np.array([1.0, 2.5]))


def test_stiff_problem_does_not_overflow():
    x, y = np.diag([1e3, 1.0, 1e-3]), np.ones(3)
    problem = linear_regression(Dataset(np.vstack([x, [1.0, 1.0, 1.0]]), np.append(y, -1.0)), delete=[3])
    found = solve(problem, BangBang(1.0, [5.0], 1000.0), jnp.zeros(3), s=1.0, T=1000.0)
    # λT = 1e9; nothing grows backward, and 𝓗 does not depend on t.
    assert np.isfinite(found.pmp_gap)
    assert np.all(np.isfinite(found.costate(np.linspace(1.0, 1000.0, 11))))


@pytest.mark.parametrize("route", ["adjoint", "diffrax"])
def test_numerical_routes_reproduce_the_exact_path(route, row_one):
    general = Problem(LinearModel(2), _SquaredInDisguise(), row_one.data, delete=[2])
    schedule = BangBang(0.0, [0.6, 1.1], T)
    exact, numerical = (solve(p, schedule, jnp.zeros(2)) for p in (row_one, general))
    if route == "diffrax":  # which smooth schedules take
        target = exact.theta(T) - exact.costate(T)
        fixed = jnp.zeros(2), 0.0, T, (0.0, 1.0), jnp.asarray(target), Distance(), 0.0
        numerical = general_extremal(general.risk, schedule, *fixed)
    assert (exact.method, numerical.method) == ("exact", route)
    # rtol 1e-10 per step, some tens of steps; equal steps whose halving changes the cost by 1e-10.
    assert numerical.cost == pytest.approx(exact.cost, rel=1e-9)
    assert abs(numerical.cost - exact.cost) <= 10 * numerical.cost_error + 1e-12
    ts = np.linspace(0.0, T, 9)
    np.testing.assert_allclose(numerical.switching(ts), exact.switching(ts), atol=1e-8)
    np.testing.assert_allclose(numerical.hamiltonian(ts), exact.hamiltonian(ts), atol=1e-8)
    assert numerical.pmp_gap == pytest.approx(exact.pmp_gap, rel=1e-6)
    np.testing.assert_allclose(numerical.zeros[0], exact.zeros[0], atol=1e-7)


@pytest.mark.parametrize("schedule", [LinearDecay(0.2, 1.1), ExponentialDecay(0.2, 1.5, T)], ids=["jumps", "cut"])
def test_diffrax_reproduces_the_path_of_a_decay(row_one, schedule):
    general = Problem(LinearModel(2), _SquaredInDisguise(), row_one.data, delete=[2])
    proved, numerical = (solve(p, schedule, jnp.zeros(2), s=0.2) for p in (row_one, general))
    assert (proved.method, numerical.method) == ("collocation", "diffrax")
    assert abs(numerical.cost - proved.cost) <= 10 * numerical.cost_error + proved.cost_error
    assert proved.cost_error < 1e-13 * proved.cost  # two parameters, λT of some tens of roundings
    ts = np.linspace(0.2, T, 9)[1:-1]  # inside, where ε has no jump
    for name in ("theta", "costate", "switching", "hamiltonian"):
        np.testing.assert_allclose(getattr(numerical, name)(ts), getattr(proved, name)(ts), atol=1e-8)
    assert numerical.pmp_gap == pytest.approx(proved.pmp_gap, rel=1e-6)
    np.testing.assert_allclose(numerical.zeros[0], proved.zeros[0], atol=1e-7)


class _SquaredInDisguise(LogisticLoss):
    """½(f − y)², but not recognised as linear regression."""

    def __call__(self, output, target):
        return 0.5 * (output - target) ** 2

    def check(self, shape, targets):
        pass


def test_logistic_regression_with_a_smooth_decay(rng):
    x = rng.standard_normal((12, 2))
    problem = Problem(LinearModel(2), LogisticLoss(), Dataset(x, (rng.random(12) < 0.5) * 1.0), delete=[4], l2=0.1)
    theta0, target = jnp.asarray([2.0, -1.0]), jnp.asarray([0.1, 0.2])
    arguments = {"s": 0.5, "T": 2.0, "bounds": (0.0, 1.0), "target": target}
    found = extremal(problem, LinearDecay(0.5, 2.0), theta0, **arguments)
    # A later end adds weight h·(t − s)/(T − s)²: the cost changes by the integral of S against it.
    costs = [extremal(problem, LinearDecay(0.5, 1.5 + h), theta0, **arguments).cost for h in (1e-3, -1e-3)]
    ts = np.linspace(0.5, 1.5, 2001)
    middle = 0.5 * (ts[1:] + ts[:-1])
    base = extremal(problem, LinearDecay(0.5, 1.5), theta0, **arguments)
    expected = np.mean(np.asarray(base.switching(middle)) * (middle - 0.5))
    assert (costs[0] - costs[1]) / 2e-3 == pytest.approx(expected, rel=1e-5)
    assert found.method == "diffrax"
    assert found.pmp_gap > 0.0


@pytest.mark.slow  # an implicit integrator, forward and backward
def test_a_flow_that_is_stiff_takes_implicit_steps(row_one):
    """λT = 3e5: explicit steps would be a hundred thousand."""
    general = Problem(LinearModel(2), _SquaredInDisguise(), row_one.data, delete=[2])
    schedule, late = BangBang(0.0, [0.6], 1e5), {"T": 1e5}
    exact, stiff = (solve(p, schedule, jnp.ones(2), **late) for p in (row_one, general))
    assert stiff.method == "diffrax"
    assert stiff.cost == pytest.approx(exact.cost, abs=1e-9)


def test_a_second_call_does_not_compile(row_one, compiled):
    general = Problem(LinearModel(2), _SquaredInDisguise(), row_one.data, delete=[2])
    solve(general, LinearDecay(0.2, 1.1), jnp.zeros(2), s=0.2)
    compiled.clear()
    solve(general, LinearDecay(0.3, 1.2), jnp.ones(2), s=0.3, T=2.1)
    assert not compiled
