"""Switch times to rounding: reference values, brute force, finite differences, and structures that must change."""

import numpy as np
import pytest

import reference
from control_tools import converged, polish
from epsflow.control import make_task
from epsflow.control._task import linear_of
from epsflow.control.polish._exact import ExactEngine
from epsflow.control.polish._polish import descend
from epsflow.control.terms._arcs import bangs
from epsflow.problem import Dataset, linear_regression
from epsflow.schedules import BangBang, Constant, PiecewiseConstant, Step

TAU, COST = 0.8147809854393819, 1.06312561447804595  # a known extremal of this problem, to 17 digits


def random_task(seed, *, d=3, delete=1, bounds=(0.0, 1.0)):
    rng = np.random.default_rng(seed)
    data = Dataset(rng.standard_normal((d + 3, d)), 3.0 * rng.standard_normal(d + 3))
    problem = linear_regression(data, delete=list(range(delete)))
    return make_task(problem, 3.0 * rng.standard_normal(d), s=0.2, T=2.5, bounds=bounds)


def system_of(task):
    data = task.problem.data
    return reference.split_system(data.x, data.y, list(task.problem.delete))


@pytest.mark.parametrize(
    "start",
    [
        Step(0.0),
        Constant(1.0),
        BangBang(0.0, [0.1, 0.2, 0.3, 1.9], 2.0),
        PiecewiseConstant([0.0, 1.0, 2.0], [0.7, 0.1]),
    ],
    ids=["low", "high", "five arcs", "interior"],
)
def test_reference_switch_from_any_start(row_one, zero, start):
    found = polish(make_task(row_one, zero, s=0.0, T=2.0), start)
    # The issue asks for 1e-9 and 1e-11; Newton leaves rounding.
    np.testing.assert_allclose(found.second_order.switch_ts, [TAU], atol=1e-13)
    assert found.cost == pytest.approx(COST, rel=1e-14)
    assert converged(found)
    assert not found.exact
    assert found.second_order.least_curvature > 0.0
    before, after = found.extremal.switching(np.array([TAU - 1e-6, TAU + 1e-6]))
    assert before < 0.0 < after
    assert isinstance(found.schedule, BangBang)


@pytest.mark.parametrize(("seed", "bounds"), [(0, (0.0, 1.0)), (6, (-1.0, 1.0))])
def test_agrees_with_brute_force(seed, bounds):
    task = random_task(seed, d=2, bounds=bounds)
    found = min((polish(task, Constant(level)) for level in bounds), key=lambda run: run.cost)
    search = {"max_switches": 2, "grid": 8, "starts": 2, "bounds": bounds}
    best = reference.bang_bang_optimum(system_of(task), np.asarray(task.theta0), task.s, task.T, **search)
    assert converged(found)
    # The reference exponentiates matrices and differences small numbers: 1e-10 relative.
    assert found.cost == pytest.approx(best.cost, rel=1e-10)


def test_gradient_and_hessian_against_finite_differences():
    task = random_task(3)
    engine, h = ExactEngine(linear_of(task)), 1e-4
    arcs = bangs((0.0, 1.0), np.array([task.s, 0.5, 0.9, 1.6, task.T]), np.array([1.0, 0.0, 1.0, 0.0]))
    exact = engine.derivatives(arcs)
    for i, step in enumerate(h * np.eye(3)):
        up, down = (engine.cost(arcs.at(arcs.times + sign * step)) for sign in (1, -1))
        assert (up - down) / (2 * h) == pytest.approx(exact.gradient[i], rel=1e-6)  # h² = 1e-8 of the third derivative
        up, down = (engine.derivatives(arcs.at(arcs.times + sign * step)).gradient for sign in (1, -1))
        np.testing.assert_allclose((up - down) / (2 * h), exact.hessian[i], rtol=1e-5, atol=1e-6)


def test_two_weights_that_switch_in_turn_against_finite_differences():
    """The unknowns are those of one weight after the other, whichever of them switches first."""
    task = random_task(8, delete=2)
    engine, h = ExactEngine(linear_of(task).at_price(0.3)), 1e-4
    knots, levels = np.array([task.s, 0.5, 0.9, 1.6, task.T]), np.array([[1, 1], [1, 0], [0, 0], [0, 1]]) * 1.0
    arcs = bangs((0.0, 1.0), knots, levels)
    assert arcs.times.tolist() == [0.9, 0.5, 1.6]
    exact = engine.derivatives(arcs)
    for i, step in enumerate(h * np.eye(3)):
        up, down = (engine.cost(arcs.at(arcs.times + sign * step)) for sign in (1, -1))
        assert (up - down) / (2 * h) == pytest.approx(exact.gradient[i], rel=1e-6)
        up, down = (engine.derivatives(arcs.at(arcs.times + sign * step)).gradient for sign in (1, -1))
        np.testing.assert_allclose((up - down) / (2 * h), exact.hessian[i], rtol=1e-5, atol=1e-6)


def test_one_weight_per_point_is_stationary_in_every_switch():
    task = random_task(8, d=3, delete=2)
    found = polish(task, PiecewiseConstant([task.s, task.T], [[1.0, 0.0]]))
    assert converged(found)
    assert found.extremal.pmp_gap <= 1e-9 * found.cost
    assert isinstance(found.schedule, PiecewiseConstant)
    # From a grid of constant pairs and single switches nothing better is reached.
    engine = ExactEngine(linear_of(task))
    for first in np.linspace(task.s, task.T, 6):
        for second in np.linspace(task.s, task.T, 6):
            knots = np.unique([task.s, first, second, task.T])
            middle = 0.5 * (knots[1:] + knots[:-1])
            levels = np.column_stack([middle < first, middle < second]) * 1.0
            stationary = descend(engine, bangs((0.0, 1.0), knots, levels))
            assert engine.cost(stationary) >= found.cost * (1 - 1e-10)


def test_one_shared_weight_for_two_points():
    task = random_task(9, d=3, delete=2)
    found = polish(task, Constant(0.0))
    best = reference.bang_bang_optimum(
        system_of(task), np.asarray(task.theta0), task.s, task.T, max_switches=2, grid=6, starts=1
    )
    assert found.cost == pytest.approx(best.cost, rel=1e-9)


def test_the_cost_never_rises():
    for seed in range(12):
        task = random_task(seed, d=4)
        start = BangBang(task.s, [0.6, 1.1, 1.9], task.T)
        before = 0.5 * float(np.sum((reference.propagate(
            system_of(task), np.asarray(task.theta_s), [task.s, 0.6, 1.1, 1.9, task.T], [1.0, 0.0, 1.0, 0.0]
        )[-1] - np.asarray(task.target)) ** 2))  # fmt: skip
        assert polish(task, start).cost <= before * (1 + 1e-12)


def test_refuses_other_models(zero):
    from epsflow.problem import LinearModel, LogisticLoss, Problem

    problem = Problem(LinearModel(2), LogisticLoss(), Dataset(np.eye(2), np.array([0.0, 1.0])), delete=[0], l2=1.0)
    with pytest.raises(ValueError, match="not linear regression"):
        polish(make_task(problem, zero, s=0.0, T=1.0), Constant(1.0))
