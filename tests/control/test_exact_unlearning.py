"""Exact unlearning: the closed-form example, least times, and certified impossibility."""

import numpy as np
import pytest

import epsflow as ef
import reference
from control_tools import exact_schedule, linear_optimum, polish
from epsflow.control import make_task
from epsflow.control._exact import exact_unlearning_time
from epsflow.problem import Dataset, linear_regression
from epsflow.schedules import Constant

HALF_LOG_3 = 0.5493061443340548  # a known extremal of this problem, to 17 digits


@pytest.fixture(scope="module")
def planar():
    """Two parameters; a problem whose target can be reached at t = 1.8952825912730…, found by a search over seeds."""
    rng = np.random.default_rng(1)
    for _ in range(53):
        d, extra = int(rng.integers(2, 3)), int(rng.integers(1, 5))
        data = Dataset(rng.standard_normal((d + extra + 1, d)), 3.0 * rng.standard_normal(d + extra + 1))
        theta0, s, _ = 3.0 * rng.standard_normal(d), float(rng.uniform(0, 0.5)), rng.uniform(0.3, 3)
    return linear_regression(data, delete=[0]), theta0, s


@pytest.mark.parametrize("s", [0.0, 0.3, 0.549])
def test_example_of_the_notes(two_rows, s):
    found = exact_unlearning_time(two_rows, [0.0], s=s)
    assert found.time == pytest.approx(HALF_LOG_3, abs=1e-14)
    assert found.not_before == pytest.approx(HALF_LOG_3, abs=1e-14)
    assert found.certified
    assert found.distance < 1e-15
    np.testing.assert_array_equal(found.schedule.values, [1.0])


def test_too_late_is_never(two_rows):
    found = exact_unlearning_time(two_rows, [0.0], s=0.56)
    assert found.time == found.not_before == np.inf
    assert found.certified
    assert found.schedule is None


def test_least_time_in_the_plane(planar):
    problem, theta0, s = planar
    found = exact_unlearning_time(problem, theta0, s=s)
    assert found.time == pytest.approx(1.8952825912730, abs=1e-10)
    assert found.certified
    assert found.time - found.not_before < 1e-8
    # The independent flow arrives, too, and stays.
    system = reference.split_system(problem.data.x, problem.data.y, [0])
    knots = np.r_[0.0, np.asarray(found.schedule.knots), found.time + 3.0]
    path = reference.propagate(system, theta0, knots, [1.0, *np.asarray(found.schedule.values), 0.0])
    np.testing.assert_allclose(path[-2:], np.tile(system.target, (2, 1)), atol=1e-14)
    # A little earlier nothing gets there: brute force over controls of up to three switches.
    early = reference.bang_bang_optimum(system, theta0, s, found.time - 0.02, max_switches=2, grid=8, starts=1)
    assert early.cost > 1e-10


def test_the_optimum_knows_that_it_is_exact(planar):
    problem, theta0, s = planar
    task = make_task(problem, theta0, s=s, T=2.5)
    never = polish(task, Constant(0.0))
    assert never.extremal.pmp_gap > never.objective
    found = linear_optimum(task)
    assert found.exact is not None
    assert found.extremal.cost < 1e-28
    assert 0.0 <= found.lower_bound <= found.extremal.cost
    short = linear_optimum(make_task(problem, theta0, s=s, T=1.5))
    assert short.exact is None
    assert short.extremal.cost - short.lower_bound <= 1e-9 * short.extremal.cost


def test_exact_status_is_asked_for_wherever_no_bound_forbids_it(two_rows):
    """Any horizon beyond ½ ln 3 is exact, with one switch and at the least time; any before it is not."""
    long, short = (ef.optimal_schedule(two_rows, [0.0], s=0.1, T=T) for T in (3.0, HALF_LOG_3 - 1e-3))
    assert long.status is ef.Status.EXACT
    assert [arc.kind for arc in long.arcs] == ["high", "low"]
    assert long.arcs[0].end == pytest.approx(HALF_LOG_3, abs=1e-9)
    assert (short.status, short.scope) == (ef.Status.BANG_BANG, ef.Scope.GLOBAL)
    # So it is for another cost of the same parameter, and within a budget too small for it: wait first, then a pulse.
    assert ef.optimal_schedule(two_rows, [0.0], s=0.1, T=3.0, cost=ef.RetainedLoss()).status is ef.Status.EXACT
    poor = ef.optimal_schedule(two_rows, [0.0], s=0.1, T=3.0, budget=0.2)
    assert poor.status is ef.Status.EXACT
    assert [arc.kind for arc in poor.arcs][:2] == ["low", "high"]
    assert poor.effort <= 0.2 * (1.0 + 1e-9)


def test_from_the_trained_point_it_is_impossible(rng):
    data = Dataset(rng.standard_normal((8, 3)), rng.standard_normal(8))
    problem = linear_regression(data, delete=[2])
    trained = np.linalg.lstsq(data.x, data.y, rcond=None)[0]
    found = exact_unlearning_time(problem, trained, s=0.0)
    # ε ≡ 0 is the best schedule from there, and it arrives only in the limit.
    assert found.time == found.not_before == np.inf
    assert found.certified


def test_a_window_that_is_too_short(two_rows):
    found = exact_schedule(make_task(two_rows, [0.0], s=0.0, T=0.5))
    assert found.time == np.inf
    assert found.not_before == 0.5


def test_refuses_bounds_without_zero(two_rows):
    with pytest.raises(ValueError, match="0 within the bounds"):
        exact_unlearning_time(two_rows, [0.0], s=0.0, bounds=(0.2, 1.0))
