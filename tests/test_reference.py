"""The independent reference meets closed forms and published values before it judges anything else."""

import numpy as np
import pytest
from scipy.optimize import check_grad

import reference as ref
import reference_models as models
from reference import System

# The reference problem with two parameters, stated by its Hessian without the deleted point.
TWO = System(np.array([[1.0, 0.3], [0.3, 0.4]]), np.array([1.0, -0.5]), np.array([[1.0, -0.8]]), np.array([1.5]))
TWO_COST, TWO_SWITCH, TWO_HAMILTONIAN = 1.06312561447804595, 0.8147809854393819, -0.58706787176856
ROWS = np.array([[1.0], [1.0]])
TARGETS = np.array([2.0, 1.0])
EXACT_TIME = 0.5 * np.log(3.0)
# expm and solve_ivp at rtol 1e-12 on problems of order one over a few units of time: errors stay near 1e-12.
FLOW = 1e-10


def random_system(seed: int, n: int = 8, d: int = 3, deleted: tuple[int, ...] = (0,)) -> System:
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((n, d)) / np.sqrt(n), rng.standard_normal(n)
    return ref.split_system(X, y, deleted)


@pytest.fixture(scope="module")
def two_optimum() -> ref.BangBang:
    return ref.bang_bang_optimum(TWO, np.zeros(2), 0.0, 2.0)


def test_two_parameter_optimum(two_optimum):
    assert two_optimum.levels == (1.0, 0.0)
    # A stationary minimum: the cost is exact to round-off, the switch to the root solve of its derivative.
    assert two_optimum.cost == pytest.approx(TWO_COST, rel=1e-13)
    np.testing.assert_allclose(two_optimum.switch_ts, [TWO_SWITCH], rtol=1e-10)


def test_two_parameter_hamiltonian_is_constant_and_control_minimises(two_optimum):
    ts, levels = np.linspace(0.0, 2.0, 41), []
    ts = np.sort(np.append(ts, two_optimum.switch_ts))
    levels = [1.0 if t < two_optimum.switch_ts[0] else 0.0 for t in ts[:-1]]
    path = ref.propagate(TWO, np.zeros(2), ts, levels)
    p = ref.costate(TWO, path[-1] - TWO.target, ts, levels)
    values = [ref.hamiltonian(TWO, *pair, u) for *pair, u in zip(path, p, [*levels, 0.0], strict=True)]
    np.testing.assert_allclose(values, TWO_HAMILTONIAN, rtol=1e-12)  # 14 digits are given
    S = np.array([ref.switching(TWO, *pair)[0] for pair in zip(path, p, strict=True)])
    away = np.abs(ts - two_optimum.switch_ts[0]) > 1e-6  # S vanishes at the switch
    assert np.all((S < 0.0)[away] == (ts < two_optimum.switch_ts[0])[away])


def test_exact_unlearning():
    system = ref.split_system(ROWS, TARGETS, [0])
    theta = ref.piecewise_flow(ROWS, TARGETS, [0], [EXACT_TIME], [1.0, 0.0], np.zeros(1), 2.0)
    np.testing.assert_allclose(theta, ref.leave_out_optimum(ROWS, TARGETS, [0]), atol=1e-15)  # round-off of order one
    found = ref.bang_bang_optimum(system, np.zeros(1), 0.25, 1.0, max_switches=1)
    # The cost is quadratic at its zero, so the descent leaves a square of its step tolerance. Which schedule attains
    # it is not determined: 1 until ln(3)/2 does, and so does 0 first and 1 later.
    assert found.cost < 1e-15
    step = ref.step_cost(system, np.zeros(1), EXACT_TIME, 1.0)
    assert step < 1e-30
    assert ref.step_cost(system, np.zeros(1), 0.25, 1.0) > 1e-3


@pytest.mark.parametrize("eps", [0.0, 0.3, 1.0])
def test_two_row_closed_form(eps):
    H, b = ref.weighted_system(ROWS, TARGETS, [0], eps)
    expected = ref.exact_two_row_example(0.7, eps, theta0=-0.4)
    np.testing.assert_allclose(ref.linear_flow(H, b, np.array([-0.4]), 0.7), expected, rtol=1e-14)


@pytest.mark.parametrize("d", [2, 5])
def test_identity_example(d):
    system = ref.split_system(np.eye(d), np.ones(d), [d - 1])
    costs = []
    for tau in (0.5, 1.0, 1.7):
        costs.append(ref.step_cost(system, np.zeros(d), tau, 3.0))
        assert costs[-1] == pytest.approx(ref.identity_step_cost(d, tau, 3.0), rel=1e-12)
    assert costs == sorted(costs)
    # A singular H keeps what was learned: the deleted coordinate stays at 1 - e^{-s}.
    theta = ref.linear_flow(*system.at(1.0), np.zeros(d), 0.5)
    expected = np.append(np.ones(d - 1), 1.0 - np.exp(-0.5))
    np.testing.assert_allclose(ref.limit(system.H, system.b, theta), expected, atol=1e-14)
    np.testing.assert_allclose(ref.linear_flow(system.H, system.b, theta, 60.0), expected, atol=1e-12)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_systems_and_optimum_agree(reduction):
    rng = np.random.default_rng(3)
    X, y, delete, eps = rng.standard_normal((9, 4)), rng.standard_normal(9), [2, 5], np.array([0.3, 0.8])
    system = ref.split_system(X, y, delete, 0.2, reduction)
    for mine, direct in zip(system.at(eps), ref.weighted_system(X, y, delete, eps, 0.2, reduction), strict=True):
        np.testing.assert_allclose(mine, direct, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(system.target, ref.leave_out_optimum(X, y, delete, 0.2, reduction), rtol=1e-12)
    np.testing.assert_allclose(ref.limit(*system.at(0.0), np.ones(4)), system.target, rtol=1e-12)
    for first, again in zip(ref.split_system(*ref.rows_of(system.H, system.b), []), system, strict=False):
        np.testing.assert_allclose(first, again, rtol=1e-12) if first.size else None


@pytest.mark.parametrize("method", ["DOP853", "Radau"])
def test_ivp_flow_meets_expm_across_jumps(method):
    system = random_system(1, deleted=(0, 4))
    ts, levels = [0.0, 0.4, 1.1, 2.0], [1.0, 0.0, 0.6]

    def eps(t: float) -> float:
        return levels[int(np.searchsorted(ts[1:-1], t))]

    theta0 = np.array([1.0, -1.0, 0.5])
    path = ref.ivp_flow(ref.linear_gradient(system), eps, theta0, [0.0, 1.1, 2.0], jumps=ts[1:-1], method=method)
    exact = ref.propagate(system, theta0, ts, levels)[[0, 2, 3]]
    np.testing.assert_allclose(path, exact, atol=FLOW)


def test_linear_decay_system_meets_direct_integration():
    system = random_system(2)
    s, t1, T = 0.6, 1.9, 2.5
    direct = ref.ivp_flow(
        ref.linear_gradient(system),
        lambda t: float(np.clip(1.0 - (t - s) / (t1 - s), 0.0, 1.0)),
        np.zeros(3),
        [0.0, t1, T],
        jumps=[s],
    )
    theta_s = ref.linear_flow(*system.at(1.0), np.zeros(3), s)
    np.testing.assert_allclose(ref.linear_decay_flow(system, theta_s, s, t1), direct[1], atol=FLOW)
    decay = ref.linear_decay_cost(system, np.zeros(3), s, t1, T)
    assert decay == pytest.approx(ref.cost(direct[2], system.target), abs=FLOW)


@pytest.mark.parametrize("seed", range(3))
def test_step_cost_derivative(seed):
    system, theta0 = random_system(seed, deleted=(0, 3)), np.array([0.5, -1.0, 2.0])
    h, tau = 1e-5, 0.7
    costs = [ref.step_cost(system, theta0, tau + v, 2.0) for v in (h, -h)]
    difference = (costs[0] - costs[1]) / (2.0 * h)
    # Central differences: h^2 times a third derivative plus round-off / h, both near 1e-10.
    assert ref.step_cost_derivative(system, theta0, tau, 2.0) == pytest.approx(difference, abs=1e-8)


def test_switch_time_gradient():
    system, theta_s, levels = random_system(5), np.array([0.5, -1.0, 2.0]), (0.0, 1.0, 0.0, 1.0)

    def value(z):
        return ref.schedule_cost(system, theta_s, [0.0, *z, 2.0], levels)[0]

    def slope(z):
        return ref.schedule_cost(system, theta_s, [0.0, *z, 2.0], levels)[1]

    assert check_grad(value, slope, np.array([0.3, 0.9, 1.4]), seed=0) < 1e-6  # forward differences, step 1.5e-8


def test_two_parameter_switch_is_where_the_residual_vanishes():
    # The sign of e is not settled: e crosses zero under u = 1 at the optimal switch itself, so no dual bound applies.
    assert ref.settled_sign(TWO, np.zeros(2), 2.0) == 0
    assert ref.settled_sign(TWO, np.zeros(2), 0.99 * TWO_SWITCH) == -1
    theta = ref.linear_flow(*TWO.at(1.0), np.zeros(2), TWO_SWITCH)
    np.testing.assert_allclose(TWO.x @ theta - TWO.y, 0.0, atol=1e-14)  # round-off


@pytest.mark.parametrize(("seed", "levels"), [(0, (1.0, 0.0)), (10, (0.0, 1.0)), (22, (1.0, 0.0)), (36, (1.0, 0.0))])
def test_dual_bound_closes_the_brute_force_search(seed, levels):
    system, theta0, s, T = random_system(seed), np.zeros(3), 0.2, 4.0
    theta_s = ref.linear_flow(*system.at(1.0), theta0, s)
    sigma = ref.settled_sign(system, theta_s, T - s)
    assert sigma != 0
    found = ref.bang_bang_optimum(system, theta0, s, T, max_switches=2, grid=12, starts=1)
    assert found.levels == levels
    pi = ref.propagate(system, theta_s, [s, *found.switch_ts, T], found.levels)[-1] - system.target
    # D is concave with its top at delta(T): the error is second order in pi, so round-off of the integration remains.
    assert ref.dual_bound(system, theta_s, T - s, pi, [sigma]) == pytest.approx(found.cost, rel=1e-9)
    for change in np.random.default_rng(seed).standard_normal((5, 3)):
        other = pi + 0.5 * np.linalg.norm(pi) * change
        assert ref.dual_bound(system, theta_s, T - s, other, [sigma]) < found.cost


def test_late_arc_beats_linear_decay_which_beats_every_step():
    # Found by a search over small integers: the optimum is 0 first and 1 later, and the bound certifies it.
    X, y = np.array([[-1.0, -1.0], [-2.0, 1.0], [0.0, -1.0]]), np.array([3.0, 3.0, 0.0])
    system, theta0, T = ref.split_system(X, y, [0]), np.zeros(2), 0.5
    found = ref.bang_bang_optimum(system, theta0, 0.0, T, max_switches=2, grid=12, starts=1)
    assert found.levels == (0.0, 1.0)
    sigma = ref.settled_sign(system, theta0, T)
    pi = ref.propagate(system, theta0, [0.0, *found.switch_ts, T], found.levels)[-1] - system.target
    # The bound errs by 1e-13 of the initial cost, and the cost is 1e-4 of that one.
    assert ref.dual_bound(system, theta0, T, pi, [sigma]) == pytest.approx(found.cost, rel=1e-9)
    decay = ref.linear_decay_cost(system, theta0, 0.0, 0.48230621, T)
    steps = [ref.step_cost(system, theta0, tau, T) for tau in np.linspace(0.0, T, 101)]
    assert 10.0 * found.cost < decay < 0.83 * min(steps)


def test_dual_bound_is_below_every_control_of_two_points():
    rng = np.random.default_rng(11)
    system, theta_s = random_system(11, deleted=(0, 3)), np.zeros(3)
    ts = np.linspace(0.0, 1.0, 6)
    controls = [rng.integers(0, 2, (5, 2)).astype(float) for _ in range(20)]
    paths = [ref.propagate(system, theta_s, ts, levels) for levels in controls]
    sigma = np.sign(system.x @ theta_s - system.y)
    assert all(np.all((path @ system.x.T - system.y) * sigma > 0.0) for path in paths)
    for path in paths:
        bound = ref.dual_bound(system, theta_s, 1.0, path[-1] - system.target, sigma)
        assert all(bound <= ref.cost(other[-1], system.target) + 1e-12 for other in paths)


@pytest.mark.parametrize("seed", range(4))
def test_trained_start_drops_the_point_at_once(seed):
    system = random_system(seed)
    trained = np.linalg.solve(*system.at(1.0))
    found = ref.bang_bang_optimum(system, trained, 0.0, 3.0, max_switches=2, grid=12, starts=1)
    assert found.levels == (0.0,)
    # Beyond the search: the zero schedule attains the lower bound over all controls.
    sigma = ref.settled_sign(system, trained, 3.0)
    end = ref.linear_flow(system.H, system.b, trained, 3.0)
    bound = ref.dual_bound(system, trained, 3.0, end - system.target, [sigma])
    assert bound == pytest.approx(found.cost, rel=1e-10)


@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_logistic_derivatives_and_optimum(l2):
    rng = np.random.default_rng(7)
    X, y, theta = rng.standard_normal((20, 3)), rng.integers(0, 2, 20).astype(float), rng.standard_normal(3)
    w = ref.data_weights(20, [4], 0.25, "mean")
    gradient = models.logistic_gradient(theta, X, y, w, l2)
    # Central differences at 6e-6: h^2 and round-off / h are both near 1e-10.
    difference = models.finite_difference_gradient(lambda v: models.logistic_risk(v, X, y, w, l2), theta)
    np.testing.assert_allclose(gradient, difference, atol=1e-9)
    hessian = models.finite_difference_hessian(lambda v: models.logistic_gradient(v, X, y, w, l2), theta)
    np.testing.assert_allclose(models.logistic_hessian(theta, X, w, l2), hessian, atol=1e-9)
    optimum = models.logistic_optimum(X, y, w, l2, theta)
    np.testing.assert_allclose(models.logistic_gradient(optimum, X, y, w, l2), 0.0, atol=1e-13)


def test_mlp_derivatives():
    rng = np.random.default_rng(8)
    X, y, width = rng.standard_normal((12, 2)), rng.standard_normal(12), 3
    theta = rng.standard_normal(models.mlp_size(width, 2))
    w = ref.data_weights(12, [0, 3], np.array([0.5, 0.0]))
    difference = models.finite_difference_gradient(lambda v: models.mlp_risk(v, X, y, w, width, 0.1), theta)
    gradient = models.mlp_gradient(theta, X, y, w, width, 0.1)
    # The risk is of order 100 (a sum): ten times the error of order-one risks.
    np.testing.assert_allclose(gradient, difference, atol=1e-7)


def test_ols_identities():
    rng = np.random.default_rng(9)
    X, y = rng.standard_normal((15, 3)), rng.standard_normal(15)
    theta, h, e = models.ols(X, y), models.leverage(X), y - X @ models.ols(X, y)
    assert h.sum() == pytest.approx(3.0, rel=1e-12)  # the trace of a projection
    closed = np.linalg.solve(X.T @ X, X.T * (e / (1.0 - h))).T
    np.testing.assert_allclose(theta - models.leave_one_out(X, y), closed, atol=1e-12)
    inner, outer = models.studentised_residuals(X, y)
    np.testing.assert_allclose(models.cooks_distance(X, y), inner**2 * h / (1.0 - h) / 3.0, rtol=1e-11)
    np.testing.assert_allclose(models.dffits(X, y), outer * np.sqrt(h / (1.0 - h)), rtol=1e-9)
