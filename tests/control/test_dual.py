"""Lower bounds: an independent sweep, brute force over controls, tightness, concavity, and signs."""

import numpy as np
import pytest

import reference
from control_tools import certify_signs, dual_bound, maximise_dual, polish
from epsflow.control import make_task
from epsflow.control.linear._exponentials import ExponentialSum, resolving_grid
from epsflow.problem import Dataset, linear_regression
from epsflow.schedules import Constant, PiecewiseConstant


def random_task(seed, *, d=3, delete=1, bounds=(0.0, 1.0), shift=0.0):
    rng = np.random.default_rng(seed)
    y = 3.0 * rng.standard_normal(d + 4)
    y[:delete] += shift  # an outlier: its residual cannot change sign
    problem = linear_regression(Dataset(rng.standard_normal((d + 4, d)), y), delete=list(range(delete)))
    return make_task(problem, 3.0 * rng.standard_normal(d), s=0.2, T=2.0, bounds=bounds)


def system_of(task):
    data = task.problem.data
    return reference.split_system(data.x, data.y, list(task.problem.delete))


def random_costs(task, number, rng):
    """𝓔 of random bang-bang and interior schedules, one weight per point."""
    system, (low, high), m = system_of(task), task.bounds, task.problem.delete.size
    for _ in range(number):
        knots = np.sort(np.r_[task.s, rng.uniform(task.s, task.T, 3), task.T])
        levels = rng.uniform(low, high, (4, m)) if rng.random() < 0.3 else rng.choice([low, high], (4, m))
        end = reference.propagate(system, np.asarray(task.theta_s), knots, levels)[-1]
        yield reference.cost(end, np.asarray(task.target))


def miss_of(task, found):
    return np.asarray(found.extremal.theta(task.T) - task.target)


@pytest.mark.parametrize(
    ("delete", "bounds"), [(1, (0.0, 1.0)), (1, (-0.2, 1.2)), (2, (0.0, 1.0))], ids=["one", "signed", "two points"]
)
def test_bound_holds_for_all_and_is_tight_at_the_optimum(delete, bounds, rng):
    task = random_task(2, delete=delete, bounds=bounds, shift=30.0)
    signs = certify_signs(task)
    assert signs.settled
    levels = np.full((1, delete), bounds[1])
    found = polish(task, PiecewiseConstant([task.s, task.T], levels))
    bound = dual_bound(task, miss_of(task, found))
    # Equality at π = δ*(T): strong duality, up to rounding.
    assert bound.value == pytest.approx(found.cost, rel=1e-10)
    assert min(random_costs(task, 100, rng)) >= bound.value - bound.rounding
    np.testing.assert_allclose(bound.gradient, 0.0, atol=1e-8 * np.linalg.norm(bound.pi))
    # Any other π is a bound as well, equal to the independent one.
    pi = rng.standard_normal(3)
    elsewhere = dual_bound(task, pi)
    independent = reference.dual_bound(
        system_of(task), np.asarray(task.theta_s), task.T - task.s, pi, signs.signs, bounds
    )
    assert elsewhere.value == pytest.approx(independent, rel=1e-9)  # events of the reference: 1e-12 per step
    assert elsewhere.value <= bound.value


def test_the_reference_problem_switches_where_its_residual_vanishes(row_one, zero):
    signs = certify_signs(make_task(row_one, zero, s=0.0, T=2.0))
    # The known extremal: e changes sign there, so this problem needs the mixed-sign route.
    assert not signs.settled
    assert signs.until == pytest.approx(0.8147809854393819, abs=1e-12)


def test_gradient_of_the_dual(rng):
    task, h = random_task(2, shift=30.0), 1e-5
    pi, direction = rng.standard_normal(3), rng.standard_normal(3)
    up, down = (dual_bound(task, pi + sign * h * direction).value for sign in (1, -1))
    assert (up - down) / (2 * h) == pytest.approx(float(dual_bound(task, pi).gradient @ direction), rel=1e-7)


def test_maximisation_recovers_the_optimum_from_a_poor_start(rng):
    task = random_task(2, shift=30.0)
    best = polish(task, Constant(0.0)).cost
    found = maximise_dual(task, rng.standard_normal(3))
    # L-BFGS on a C¹ concave function: half the digits.
    assert found.value == pytest.approx(best, rel=1e-7)
    assert found.value <= best * (1 + 1e-12)


def test_signs_agree_with_the_flow_under_the_largest_weight():
    settled = 0
    for seed in range(12):
        task = random_task(seed, d=2)
        system = system_of(task)
        expected = reference.settled_sign(system, np.asarray(task.theta_s), task.T - task.s, points=60)
        found = certify_signs(task)
        settled += found.settled
        assert found.settled == (expected != 0)
        if found.settled:
            # e_u = e_b + ∫ k (b − u) e_u with k ≥ 0: u ≡ b attains the least residual. Read on the reference's grid.
            h, b = system.at(1.0)
            ts = np.linspace(0.0, task.T - task.s, 101)
            path = [reference.linear_flow(h, b, np.asarray(task.theta_s), t) for t in ts]
            read = min(float(expected * (system.x @ theta - system.y)[0]) for theta in path)
            assert found.margins[0] <= read + 1e-12
            assert found.margins[0] == pytest.approx(read, rel=1e-2)
    assert 2 < settled < 12  # both answers occur


def test_unsettled_signs_are_refused():
    task = next(task for task in map(random_task, range(30)) if not certify_signs(task).settled)
    signs = certify_signs(task)
    assert task.s < signs.until < task.T
    with pytest.raises(ValueError, match="keep their signs"):
        dual_bound(task, np.ones(3))


def test_zero_bound_at_zero():
    assert dual_bound(random_task(2, shift=30.0), np.zeros(3)).value == 0.0


def test_exponential_sum_finds_a_pair_of_zeros_between_grid_points():
    # (z − a)(z − b) with z = e^{−t}.
    a, b = 0.5, 0.5001
    function = ExponentialSum(np.array([a * b, -(a + b), 1.0]), np.array([0.0, 1.0, 2.0]))
    grid = resolving_grid(function.rates, 5.0)
    zeros = function.sign_changes(grid)
    assert not ((grid > -np.log(b)) & (grid < -np.log(a))).any()
    # The function is 1e-9 between the zeros: its rounding, 1e-16, moves them by 1e-16/1e-4.
    np.testing.assert_allclose(zeros, -np.log([b, a]), atol=1e-11)
