"""A price or a budget for ∫|ε| dt without propagators: against SLSQP in NumPy, and every route against the others."""

import numpy as np
import pytest
from scipy.optimize import LinearConstraint, minimize

import epsflow as ef
import reference_models
from epsflow.control.terms._window import MeshWindow

S, T, N = 0.0, 1.5, 10
L2, DELETED, START = 0.3, [0, 3], np.array([1.0, 2.0])


@pytest.fixture(scope="module")
def problem():
    """Logistic regression with two parameters: twelve points, two of them deleted, one with a wrong label."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((12, 2))
    y = (x @ np.array([1.5, -1.0]) + 0.5 * rng.standard_normal(12) > 0.0).astype(float)
    y[0] = 1.0 - y[0]
    return ef.Problem(ef.LinearModel(2), ef.LogisticLoss(), ef.Dataset(x, y), DELETED, l2=L2)


def solve(problem, method="adjoint", **options):
    return ef.optimal_schedule(problem, START, s=S, T=T, intervals=N, method=method, **options)


def on_coarse_mesh(problem, *, bounds=(0.0, 1.0), price=0.0, budget=np.inf):
    """min cost + ρ∫|ε| dt over N levels by SLSQP with differences of a flow in NumPy, 20 classical steps an interval.

    ε = z₁ − z₂ with z ≥ 0. The steps are exact to 1e-9, differences know the gradient to 1e-8.
    """
    x, y = (np.asarray(a) for a in (problem.data.x, problem.data.y))
    kept = reference_models.logistic_optimum(x, y, weights_at(0.0), L2)
    h, split = T / N / 20, bounds[0] < 0.0

    def levels(z):
        return z[:N] - z[N:] if split else z

    def objective(z):
        theta = START
        for u in levels(z):
            for _ in range(20):
                k1 = slope(theta, u)
                k2 = slope(theta + 0.5 * h * k1, u)
                k3 = slope(theta + 0.5 * h * k2, u)
                theta = theta + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + slope(theta + h * k3, u))
        return 0.5 * float(np.sum((theta - kept) ** 2)) + price * T / N * z.sum()

    def slope(theta, u):
        return -reference_models.logistic_gradient(theta, x, y, weights_at(u), L2)

    limits = [(0.0, bounds[1])] * N + ([(0.0, -bounds[0])] * N if split else [])
    row = np.full((1, len(limits)), T / N)
    constraints = [LinearConstraint(row, -np.inf, budget)] if budget < np.inf else []
    options = {"ftol": 1e-15, "maxiter": 300}
    start = np.full(len(limits), 0.1)
    best = minimize(objective, start, method="SLSQP", bounds=limits, constraints=constraints, options=options)
    return best.fun, levels(best.x)


def weights_at(eps):
    weights = np.ones(12)
    weights[DELETED] = eps
    return weights


SIGNED = {"bounds": (-1.0, 1.0), "budget": 0.5}
OTHERS = [
    {"budget": 0.3},
    {"price": 0.01},
    {"bounds": (-1.0, 1.0), "price": 0.05},
    {"bounds": (-1.0, 0.0), "budget": 0.04},
]


CASES = [(options, method) for options in (*OTHERS, SIGNED) for method in ("adjoint", "collocation")]


@pytest.mark.parametrize(
    ("options", "method"), [CASES[0], *(pytest.param(*case, marks=pytest.mark.slow) for case in CASES[1:])], ids=str
)
def test_levels_on_a_mesh_are_those_of_slsqp_in_numpy(problem, options, method):
    """A program and the adjoint route, before the polish; that can only lower the cost."""
    expected, levels = on_coarse_mesh(problem, **options)
    found = solve(problem, method, **options)
    assert any(np.abs(run.values - levels).max() < 1e-3 for run in found.candidates)
    assert all(run.success for run in found.candidates)
    assert found.objective <= expected * (1.0 + 1e-8)
    assert found.effort <= options.get("budget", np.inf) * (1.0 + 1e-9)
    assert (found.status, found.scope) == (ef.Status.BANG_BANG, ef.Scope.LOCAL)
    assert found.pmp_gap <= 1e-12 * found.objective


@pytest.mark.slow  # a program for shooting takes seconds to build and to compile
@pytest.mark.parametrize("options", [SIGNED, *OTHERS, {**SIGNED, "per_point": True}], ids=str)
def test_all_routes_end_in_the_same_switches(problem, options):
    runs = [solve(problem, method, **options) for method in ("shooting", "collocation", "adjoint")]
    for run in runs[1:]:
        assert run.objective == pytest.approx(runs[0].objective, rel=1e-9)
        assert run.multiplier == pytest.approx(runs[0].multiplier, rel=1e-6)
        np.testing.assert_allclose([arc.end for arc in run.arcs], [arc.end for arc in runs[0].arcs], atol=1e-6)
        assert [arc.level for arc in run.arcs] == [arc.level for arc in runs[0].arcs]


def test_the_multiplier_is_what_the_budget_is_worth(problem):
    """d cost/dB = −ρ by central differences, (ΔB)² = 1e-6 of third derivatives; and as a price it gives the same ε."""
    less, here, more = (solve(problem, budget=budget) for budget in (0.299, 0.3, 0.301))
    assert here.multiplier == pytest.approx((less.cost - more.cost) / 0.002, rel=1e-4)
    assert here.effort == pytest.approx(0.3, rel=1e-9)
    assert here.second_order.least_curvature > 0.0
    np.testing.assert_allclose(here.second_order.gradient, 0.0, atol=1e-12)
    # S = −ρ at every switch.
    np.testing.assert_allclose(here.switching(here.second_order.switch_ts), -here.multiplier, rtol=1e-6)


@pytest.mark.slow
def test_a_budget_that_suffices_gives_the_optimum_without_one(problem):
    free, loose = solve(problem), solve(problem, budget=T)
    assert loose.cost == pytest.approx(free.cost, rel=1e-10)
    assert loose.multiplier == 0.0
    assert solve(problem, budget=0.0).effort == 0.0


def test_a_price_makes_the_schedule_pause(problem):
    paused = solve(problem, **SIGNED)
    assert [arc.kind for arc in paused.arcs] == ["off", "high", "off", "low"]
    rho = paused.multiplier
    np.testing.assert_allclose(paused.switching(paused.second_order.switch_ts), [-rho, -rho, rho], rtol=1e-6)


def test_one_weight_each_needs_a_budget_for_each(problem):
    with pytest.raises(ef.InputError, match=r"one weight per point meets the budget 1: .* is at least 1.5"):
        solve(problem, bounds=(0.5, 1.0), budget=1.0, per_point=True)


# ---- levels on a mesh ---------------------------------------------------------------------------------------------


def test_what_is_too_dear_is_moved_towards_the_cheapest_level():
    window = MeshWindow(1.0, (-1.0, 1.0), 1.0, budget=0.5)
    values = np.array([1.0, -1.0, 0.5, 0.0])
    assert window.spent(values) == 0.625
    # Levels on the bounds stay as long as the others can pay.
    np.testing.assert_allclose(window.affordable(values), [1.0, -1.0, 0.0, 0.0], atol=1e-11)
    np.testing.assert_allclose(window._replace(budget=0.25).affordable(values), [0.5, -0.5, 0.0, 0.0], atol=1e-11)
    np.testing.assert_array_equal(window._replace(budget=0.7).affordable(values), values)


def test_a_shift_onto_the_bounds_is_paid_by_the_rest():
    window = MeshWindow(1.0, (0.0, 1.0), 1.0, budget=0.4)
    moved = window.onto_options(np.array([0.9995, 0.0005, 0.3, 0.3]), 1e-3)
    np.testing.assert_allclose(moved, [1.0, 0.0, 0.3, 0.3], atol=1e-11)
    moved = window.onto_options(np.array([0.9992, 0.0, 0.3004, 0.3004]), 1e-3)
    np.testing.assert_allclose(moved, [1.0, 0.0, 0.3, 0.3], atol=1e-11)
    assert moved[0] == 1.0


def test_the_best_affordable_switch_is_no_dearer_than_the_budget():
    window = MeshWindow(2.0, (0.5, 1.0), 1.0, budget=1.2)
    np.testing.assert_allclose(window.affordable(np.ones(4)), np.full(4, 0.6), rtol=1e-11)
    assert window.cheapest == 0.5
    assert MeshWindow(2.0, (-1.0, -0.5), 1.0, price=1.0).cheapest == -0.5
