"""Bounds where the residual changes its sign: valid for every control, closed on the reference problem."""

import numpy as np
import pytest

import reference
from control_tools import certify_signs, dual_bound, linear_optimum, mixed_bound, polish
from epsflow.control import linear_batch, make_task
from epsflow.control._task import linear_of
from epsflow.control.bounds import _ascent
from epsflow.control.bounds._dual import evaluate_dual
from epsflow.control.bounds._paths import Paths, Request, stretch
from epsflow.control.bounds._sets import Reach
from epsflow.control.bounds._together import run
from epsflow.problem import Dataset, linear_regression, load_dataset
from epsflow.schedules import Constant, PiecewiseConstant


def one_sign(start, end, sign):
    return stretch(start, end, [0.0 if sign > 0 else -np.inf], [np.inf if sign > 0 else 0.0])


def random_task(seed, bounds=(0.0, 1.0)):
    rng = np.random.default_rng(seed)
    problem = linear_regression(Dataset(rng.standard_normal((5, 2)), 3.0 * rng.standard_normal(5)), delete=[0])
    return make_task(problem, 3.0 * rng.standard_normal(2), s=0.2, T=2.0, bounds=bounds)


MIXED = (6, 20)  # seeds whose residual can change its sign


def best_of(task):
    found = min((polish(task, Constant(level)) for level in task.bounds), key=lambda run: run.cost)
    return found.cost, np.asarray(found.extremal.theta(task.T) - task.target)


def test_reference_problem_is_globally_optimal(row_one, zero):
    found = linear_optimum(make_task(row_one, zero, s=0.0, T=2.0))
    assert not found.signs.settled
    assert found.bound.closed
    assert 0.0 <= found.extremal.cost - found.lower_bound <= 1e-6 * found.extremal.cost
    assert found.lower_bound <= 1.06312561447804595


def test_a_residual_that_nothing_moves_holds_for_ever():
    """Integer data whose margins do not fall at all: no division by their rate."""
    data = Dataset(np.array([[1.0, 2.0], [2.0, -2.0], [2.0, 1.0]]), np.array([1.0, -2.0, 3.0]))
    found = linear_optimum(make_task(linear_regression(data, delete=[0]), np.zeros(2), s=0.0, T=1.0))
    assert 0.0 < found.lower_bound <= found.extremal.cost


def test_a_deleted_row_of_zeros_keeps_its_residual():
    """Nothing moves e = −y, so its sign is known, whatever it is; so there is nothing to branch on."""
    data = Dataset(np.array([[0.0, 0.0], [2.0, -2.0], [2.0, 1.0]]), np.array([0.0, -2.0, 3.0]))
    found = linear_optimum(make_task(linear_regression(data, delete=[0]), np.zeros(2), s=0.0, T=1.0))
    assert found.signs.settled
    assert found.lower_bound == pytest.approx(found.extremal.cost, rel=1e-12)


@pytest.mark.parametrize("seed", [MIXED[0], pytest.param(MIXED[1], marks=pytest.mark.slow)])
def test_bound_is_below_brute_force_and_close(seed):
    task = random_task(seed)
    system = reference.split_system(task.problem.data.x, task.problem.data.y, [0])
    search = {"max_switches": 2, "grid": 8, "starts": 1}
    brute = reference.bang_bang_optimum(system, np.asarray(task.theta0), task.s, task.T, **search).cost
    cost, pi = best_of(task)
    assert not certify_signs(task).settled
    # Where windows are cut finely is no assumption: a wrong time costs nodes only.
    for changes in ((), [[1.4]]):
        bound = mixed_bound(task, cost, pi, changes=changes)
        assert bound.value <= brute * (1 + 1e-9)
        assert bound.closed
    # A schedule that is not the best cannot be certified.
    refuted = mixed_bound(task, 1.3 * cost, pi, changes=[[1.4]], max_nodes=20)
    assert not refuted.closed
    assert refuted.value <= cost * (1 + 1e-9)


@pytest.mark.slow
def test_signs_that_may_change_often_are_left_to_a_quadratic_form():
    """Sets of three and four sign changes, of which 1,000 nodes leave 13 %: problem 175 of `bench_sweep.py`."""
    rng = np.random.default_rng(0)
    for _ in range(176):
        x = rng.normal(size=(10, 2)) * [1.0, np.exp(rng.normal())]
        y = x @ rng.normal(size=2) + 0.3 * rng.normal(size=10)
        y[0] += 3.0 * rng.normal()
        s, theta0 = rng.uniform(0.0, 1.0), rng.normal(size=2)
        T = s + rng.uniform(0.5, 4.0)
    problem = linear_regression(Dataset(x, y), delete=[0], reduction="mean")
    found = linear_optimum(make_task(problem, theta0, s=s, T=T))
    assert not found.bound.closed
    assert found.extremal.cost == pytest.approx(0.019487713490798104, rel=1e-12)
    assert 0.0 <= found.extremal.cost - found.lower_bound <= 1e-8 * found.extremal.cost


def test_settled_signs_need_one_node(rng):
    task = next(task for task in map(random_task, range(24)) if certify_signs(task).settled)
    cost, pi = best_of(task)
    bound = mixed_bound(task, cost, pi)
    assert bound.closed
    assert bound.nodes == 1
    # One window with one sign is the dual of the settled case.
    linear, elsewhere = linear_of(task), rng.standard_normal(2)
    sign = int(certify_signs(task).signs[0])
    mu = elsewhere @ linear.basis
    (found,) = Paths([linear])([Request(0, mu[None], [one_sign(task.s, task.T, sign)], forward=True)])
    expected = dual_bound(task, elsewhere)
    assert found.least[0] - 0.5 * mu @ mu == pytest.approx(expected.value, rel=1e-12)
    np.testing.assert_allclose(linear.basis @ (found.deltas[0] - mu), expected.gradient, atol=1e-12)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-0.5, 1.5)])
def test_least_value_holds_for_every_control_that_respects_the_windows(bounds, rng):
    task = random_task(MIXED[0], bounds)
    linear, system = linear_of(task), reference.split_system(task.problem.data.x, task.problem.data.y, [0])
    sign = -1 if linear.residual(linear.start)[0] < 0.0 else 1
    until = certify_signs(task).until
    slack = 1.5 * abs(float(linear.residual(linear.start)[0]))
    # Not the same on both sides, so that the hull of the bow tie is not symmetric.
    low, high = (-1.5 * slack, 0.9 * slack) if sign > 0 else (-0.9 * slack, 1.5 * slack)
    windows = [one_sign(task.s, until, sign), stretch(until, until + 0.1, [low], [high])]
    functional = rng.standard_normal(2)
    (found,) = Paths([linear])([Request(0, functional[None] @ linear.basis, windows)])
    bound = float(found.least[0])
    respected = 0
    for _ in range(60):
        ts = np.unique(np.r_[np.linspace(task.s, until, 4), np.linspace(until, until + 0.1, 3)])
        levels = rng.choice(bounds, len(ts) - 1)
        path = reference.propagate(system, np.asarray(task.theta_s), ts, levels)
        residuals = (path @ system.x[0] - system.y[0])[ts >= until]
        if 0.8 * low < residuals.min() and residuals.max() < 0.8 * high:  # between the knots as well
            respected += 1
            assert functional @ (path[-1] - np.asarray(task.target)) >= bound - 1e-12
    assert respected > 5


def two_points(seed):
    rng = np.random.default_rng(seed)
    data = Dataset(rng.standard_normal((6, 2)), 3.0 * rng.standard_normal(6))
    return make_task(linear_regression(data, delete=[0, 1]), 3.0 * rng.standard_normal(2), s=0.2, T=1.0)


def test_two_points_with_mixed_signs(rng):
    """With one weight each the bound meets the best schedule; a shared weight cannot do better."""
    task = two_points(7)
    assert not certify_signs(task).settled
    levels = [PiecewiseConstant([task.s, task.T], [[a, b]]) for a in (0.0, 1.0) for b in (0.0, 1.0)]
    found = min((polish(task, start) for start in levels), key=lambda run: run.cost)
    bound = mixed_bound(task, found.cost, np.asarray(found.extremal.theta(task.T) - task.target), max_nodes=20)
    # The hull alone leaves 3 %; twenty nodes leave 1.2 %.
    assert 0.98 * found.cost <= bound.value <= found.cost
    system = reference.split_system(task.problem.data.x, task.problem.data.y, [0, 1])
    for _ in range(100):
        knots = np.sort(np.r_[task.s, rng.uniform(task.s, task.T, 3), task.T])
        end = reference.propagate(system, np.asarray(task.theta_s), knots, rng.choice([0.0, 1.0], (4, 2)))[-1]
        assert reference.cost(end, system.target) >= bound.value


def test_no_control_moves_a_residual_further(rng):
    """|e| and |dδ_k/dt| under random bang-bang controls; with ε ≡ 0 and a monotone e, the first bound is attained."""
    attained = 0
    for seed in range(12):
        task = random_task(seed)
        linear, reach = linear_of(task), Reach.of(0, linear_of(task))
        system = reference.split_system(task.problem.data.x, task.problem.data.y, [0])
        farthest = 0.0
        for trial in range(20):
            ts = np.linspace(task.s, task.T, 25)
            levels = np.zeros(24) if trial == 0 else rng.choice([0.0, 1.0], 6).repeat(4)
            path = reference.propagate(system, np.asarray(task.theta_s), ts, levels)
            e = path @ system.x[0] - system.y[0]
            farthest = max(farthest, float(np.abs(e).max()))
            delta = (path - np.asarray(task.target)) @ linear.basis
            force = np.append(levels, levels[-1]) * e
            speed = linear.rates * delta + np.outer(force, linear.rows[0])
            assert (np.abs(speed) <= reach.speeds * (1.0 + 1e-9)).all()
            if trial == 0 and (np.diff(e) * np.sign(e[0]) > 0.0).all():
                attained += 1
                assert reach.residuals[0] == pytest.approx(abs(e[-1]), rel=1e-9)
        assert farthest <= reach.residuals[0] * (1.0 + 1e-9)
    assert attained > 0


def test_paths_do_not_depend_on_what_is_followed_with_them(rng):
    """Two problems of different time scales, in windows of all kinds."""
    tasks = [random_task(MIXED[0]), random_task(MIXED[1], (-0.5, 1.5))]
    controls = [linear_of(task) for task in tasks]
    requests = []
    for k, sign in ((0, 1), (1, -1), (0, -1)):
        windows = [one_sign(0.2, 0.9, sign), stretch(0.9, 1.3, [-0.4], [1.1]), one_sign(1.3, 2.0, -sign)]
        requests.append(Request(k, rng.standard_normal((3, 2)), windows[: len(requests) + 1], forward=True))
    together = Paths(controls)(requests)
    for request, found in zip(requests, together, strict=True):
        (alone,) = Paths([controls[request.problem]])([request._replace(problem=0)])
        # Tables of other widths are multiplied in another order.
        np.testing.assert_allclose(found.least, alone.least, rtol=1e-12)
        np.testing.assert_allclose(found.deltas, alone.deltas, rtol=1e-12)


def test_a_stiff_problem_with_thirty_parameters():
    """Rates from 1e-4 to 13, and a residual that hardly moves: 1e-3, where norms alone allow for 1."""
    problem = linear_regression(load_dataset("breast_cancer").standardise(), delete=[368], reduction="mean")
    task = make_task(problem, np.zeros(30), s=2.0, T=8.0)
    found = linear_optimum(task)
    assert not found.signs.settled
    assert found.bound.closed
    assert found.bound.nodes <= 30


def test_smaller_sets_do_not_begin_where_a_larger_one_ended_in_zero():
    """The first sets contain ends at the target: D is largest at its kink, μ = 0, from where no ascent gets away."""
    rows = np.array([[2.171, -0.376], [-2.196, 0.054], [-1.27, -0.425], [-1.144, -1.616], [0.417, 1.529]])
    more = np.array([[-0.44, -0.999], [-0.691, 2.914], [1.639, 3.588], [-1.72, -1.591], [0.49, -3.316]])
    targets = np.array([-1.945, 2.644, 2.421, 2.186, -0.946, 1.35, -0.084, -3.383, 2.84, 0.433])
    problem = linear_regression(Dataset(np.vstack([rows, more]), targets), delete=[0], reduction="mean")
    found = linear_optimum(make_task(problem, np.array([0.692, -0.53]), s=0.553, T=4.401))
    assert not found.signs.settled
    assert found.bound.closed
    assert found.bound.nodes <= 60  # it had not closed at 2,000
    assert found.extremal.cost - found.lower_bound <= 1e-6 * found.extremal.cost


@pytest.mark.parametrize("scale", [1e-9, 1e3])
def test_an_ascent_does_not_depend_on_the_length_of_its_start(scale):
    task = linear_of(random_task(MIXED[0]))
    reach, mu = Reach.of(0, task), best_of(random_task(MIXED[0]))[1]
    stretches = [one_sign(task.s, task.T, 1)]
    starts = (mu, scale * mu)
    at_once = [run(_ascent.maximise(reach, start, stretches, lambda *_: True), Paths([task])) for start in starts]
    np.testing.assert_allclose(at_once[1][1], at_once[0][1], rtol=1e-11)  # ½‖μ‖² in front of h(μ): scale · eps
    assert at_once[1][0] == pytest.approx(at_once[0][0], rel=1e-11)


@pytest.mark.parametrize("d", [10, 70])
def test_one_sign_throughout_is_the_dual_of_any_size(d, rng):
    """From 64 parameters on, matrices are not stacked. Of two paths, the one with many windows does not want its δ."""
    x, y, theta0 = rng.standard_normal((2 * d, d)), rng.standard_normal(2 * d), rng.standard_normal(d)
    h, b = x[1:].T @ x[1:] / d, x[1:].T @ y[1:] / d
    row, target = x[:1] / np.sqrt(d), y[:1] / np.sqrt(d)
    one = (part[None] for part in (h, b, row, target, theta0))
    linear = linear_batch(*one, np.array([0.1]), np.array([1.0])).task(0)
    sign = -1 if linear.residual(linear.start)[0] < 0.0 else 1
    mu, other = rng.standard_normal((2, d))
    whole = [one_sign(linear.s, linear.T, sign)]
    parts = [one_sign(start, start + 0.09, sign) for start in np.linspace(0.1, 0.91, 10).tolist()]
    requests = [Request(0, other[None], parts), Request(0, mu[None], whole, forward=True)]
    plain, found = Paths([linear])(requests)
    for answer, end in ((plain, other), (found, mu)):
        dual = evaluate_dual(Paths([linear]), end, np.array([sign]))
        assert answer.least[0] - 0.5 * end @ end == pytest.approx(dual.value)
    expected = evaluate_dual(Paths([linear]), mu, np.array([sign])).gradient @ linear.basis
    np.testing.assert_allclose(found.deltas[0] - mu, expected, atol=1e-10)


def test_a_search_that_sees_no_curvature_ends(monkeypatch):
    """Near μ = 0 the term −½‖μ‖² of D is below rounding, and ∇D does not change from step to step."""
    slope = np.array([-0.084, -0.039])

    def straight(reach, mu, stretches):
        yield from ()
        return float(slope @ mu), slope

    monkeypatch.setattr(_ascent, "dual", straight)
    reach = Reach.of(0, linear_of(random_task(MIXED[0])))
    with pytest.raises(StopIteration) as ended:
        next(_ascent.maximise(reach, np.array([8.9e-21, -4.4e-21]), (), lambda *_: False))
    assert ended.value.value[0] == pytest.approx(slope @ [8.9e-21, -4.4e-21], rel=1e-15)
