"""One ε for several deleted points: fewer rows, and a lower bound by a quadratic function of the state."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import epsflow as ef
from control_tools import converged
from epsflow.control import make_task
from epsflow.control._task import linear_of
from epsflow.control.bounds._inequality import Interval, Weight
from epsflow.control.bounds._quadratic import _Around
from epsflow.control.linear._path import linear_path
from epsflow.control.linear._pencil import advance
from epsflow.control.polish._exact import polish_linear
from epsflow.control.terms._deadline import UNLIMITED
from epsflow.control.terms._kinds import SearchMethod

GAP = 1e-6
"""At which a schedule counts as the global optimum."""


def group(seed, n, d, m, *, s, T, bounds=(0.0, 1.0), price=0.0):
    rng = np.random.default_rng(seed)
    x, w = rng.standard_normal((n, d)), rng.standard_normal(d)
    data = ef.Dataset(x, x @ w + rng.standard_normal(n))
    problem = ef.linear_regression(data, delete=list(range(m)), reduction="mean")
    return make_task(problem, np.zeros(d), s=s, T=T, bounds=bounds, price=price)


def costs_on_a_mesh(linear, levels):
    """The cost and its price of every control that takes one of the levels on each of the intervals, shape (k, N)."""
    h = linear.length / levels.shape[1]
    states = np.tile(linear.start, (len(levels), 1))
    for column in levels.T:
        for level in np.unique(column):
            here = column == level
            states[here] = advance(linear.spectrum(float(level)), states[here], np.full(int(here.sum()), h))
    return linear.form.values(states) + linear.price * h * np.abs(levels).sum(axis=1)


def test_a_group_has_as_many_rows_as_parameters():
    """The flow sees XᵀX and Xᵀr only."""
    linear = linear_of(group(0, 60, 4, 25, s=0.5, T=2.0))
    knots, levels = np.array([0.5, 1.0, 1.6, 2.0]), np.array([1.0, 0.2, 0.7])
    few = linear.grouped
    assert few.points == 4
    assert few.grouped is few
    ts = np.linspace(0.5, 2.0, 9)
    whole, part = (linear_path(task, knots, levels) for task in (linear, few))
    # Two sums of the same numbers in another order.
    np.testing.assert_allclose(part.deltas, whole.deltas, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(part.signals(ts).switching, whole.signals(ts).switching, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize(("seed", "bounds"), [(0, (0.0, 1.0)), (1, (-0.5, 1.0)), (2, (0.2, 1.5)), (3, (0.0, 1.0))])
def test_no_control_on_a_mesh_costs_less_than_the_bound(seed, bounds):
    """All 2^11 that jump between the bounds, and 500 with any levels in between."""
    task = group(seed, 40, 3, 12, s=0.5, T=2.0, bounds=bounds)
    linear, low = linear_of(task), bounds[0]
    found = ef.optimal_schedule(task.problem, task.theta0, s=0.5, T=2.0, bounds=bounds)
    jumping = np.array(list(itertools.product(bounds, repeat=11)))
    between = low + (bounds[1] - low) * np.random.default_rng(seed).random((500, 11))
    least = min(costs_on_a_mesh(linear, np.round(levels, 2)).min() for levels in (jumping, between))
    assert found.scope is ef.Scope.GLOBAL
    # The mesh's best may be this very schedule, and both are known to rounding.
    assert found.lower_bound <= least + found.cost_error
    assert found.cost <= least + found.cost_error


@settings(max_examples=8)
@given(data=st.data())
def test_around_any_control_the_bound_holds(data):
    """It need not be an optimum: what it loses to first order is part of ∫r. Three levels where effort has a price."""
    margin = data.draw(st.sampled_from([1e-3, 0.1, 1.0]))
    bounds, price = data.draw(st.sampled_from([(0.0, 1.0), (-0.5, 1.0)])), data.draw(st.sampled_from([0.0, 0.02]))
    task = group(data.draw(st.integers(0, 50)), 30, 2, 5, s=0.3, T=1.2, bounds=bounds, price=price)
    linear = linear_of(task).grouped
    switch = data.draw(st.floats(0.05, 0.95))
    knots = np.array([0.3, 0.3 + 0.9 * switch, 1.2])
    levels = np.array(data.draw(st.permutations(bounds)))
    path = linear_path(linear, knots, levels)
    cost = linear.form.value(path.deltas[-1]) + price * float(np.diff(knots) @ np.abs(levels))
    bound = _Around.of(path, cost).bound(margin, 100, UNLIMITED)
    options = (bounds[0], 0.0, bounds[1]) if price and bounds[0] < 0.0 else bounds
    least = costs_on_a_mesh(linear, np.array(list(itertools.product(options, repeat=6)))).min()
    assert bound.value <= least + 1e-14


@pytest.mark.parametrize("m", [10, 50, 500])
def test_ten_parameters_are_certified(m):
    """The best single switch is the global optimum, to seven digits; each point by itself could do far better."""
    n = 10 * m if m > 100 else 200
    task = group(0, n, 10, m, s=2.0, T=4.0)
    found = ef.optimal_schedule(task.problem, task.theta0, s=2.0, T=4.0)
    assert found.scope is ef.Scope.GLOBAL
    assert found.method is SearchMethod.POLISH
    assert found.gap <= GAP * found.cost
    assert 1 <= len(found.arcs) <= 2


def test_a_bad_schedule_is_held_against_the_optimum():
    task = group(1, 200, 10, 50, s=2.0, T=4.0)
    window = {"s": 2.0, "T": 4.0}
    best = ef.optimal_schedule(task.problem, task.theta0, **window)
    given_one = ef.certify(task.problem, ef.Step(3.9), task.theta0, **window)
    assert given_one.lower_bound == pytest.approx(best.cost, rel=GAP)
    assert given_one.cost > best.cost
    again = ef.certify(task.problem, best.schedule, task.theta0, **window)
    assert again.scope is ef.Scope.GLOBAL


@pytest.mark.parametrize(("low", "options"), [(-0.5, {"price": 0.01}), (0.0, {"budget": 0.4})], ids=str)
def test_a_price_or_a_budget_is_certified(low, options):
    """Against all controls with the levels that count on seven intervals, those beyond the budget left out."""
    task = group(0, 40, 3, 12, s=0.5, T=2.0, bounds=(low, 1.0), price=options.get("price", 0.0))
    found = ef.optimal_schedule(task.problem, task.theta0, s=0.5, T=2.0, bounds=(low, 1.0), **options)
    levels = np.array(list(itertools.product({low, 0.0, 1.0}, repeat=7)))
    kept = np.abs(levels).sum(axis=1) * 1.5 / 7 <= options.get("budget", np.inf)
    least = costs_on_a_mesh(linear_of(task), levels[kept]).min()
    assert found.scope is ef.Scope.GLOBAL
    assert found.lower_bound <= found.objective <= least


def test_a_budget_is_kept_where_every_point_should_count_all_the_time():
    """ε ≡ 1 is the optimum without it, and has no switch time that could be moved until it is affordable."""
    linear = linear_of(group(1, 40, 3, 12, s=0.5, T=2.0)).grouped
    free = polish_linear(linear, np.array([0.5, 2.0]), np.ones(1))
    found = polish_linear(replace(linear, budget=0.4), np.array([0.5, 2.0]), np.ones(1))
    assert (converged(free), free.arcs.effort) == (True, 1.5)
    assert found.arcs.effort == pytest.approx(0.4, rel=1e-9)
    assert found.cost > free.cost


def test_identical_points_are_one_point_of_more_weight():
    """Four copies of a row with one ε: the row times two. The bound with one weight per point is then tight as well."""
    rng = np.random.default_rng(4)
    x, y, row, value = rng.standard_normal((30, 3)), rng.standard_normal(30), rng.standard_normal(3), 6.0
    copies = ef.linear_regression(ef.Dataset(np.vstack([x, [row] * 4]), np.append(y, [value] * 4)), [30, 31, 32, 33])
    single = ef.linear_regression(ef.Dataset(np.vstack([x, 2.0 * row]), np.append(y, 2.0 * value)), [30])
    window = {"s": 0.02, "T": 0.05}
    many, one = (ef.optimal_schedule(each, np.zeros(3), **window) for each in (copies, single))
    assert many.scope is one.scope is ef.Scope.GLOBAL
    assert many.cost == pytest.approx(one.cost, rel=1e-10)
    assert many.lower_bound == pytest.approx(one.lower_bound, rel=GAP)


def test_the_inequality_holds_between_the_times_where_it_was_looked_at(monkeypatch):
    """The least eigenvalue at forty times inside every interval, of the matrix written out again."""
    linear = linear_of(group(2, 40, 3, 12, s=0.5, T=2.0, bounds=(-0.5, 1.0))).grouped
    solved, kept = Interval.solve, []

    def solve(self, p, weight):
        n = solved(self, p, weight)
        if n is not None:
            kept.append((self, p, n, self._radii(p, weight)))
        return n

    monkeypatch.setattr(Interval, "solve", solve)
    path = linear_path(linear, np.array([0.5, 1.3, 2.0]), np.array([1.0, -0.5]))
    cost = linear.form.value(path.deltas[-1])
    _Around.of(path, cost).bound(0.3, 1000, UNLIMITED)
    assert len(kept) > 10
    for interval, p, n, radii in kept:
        for share in np.linspace(0.0, 1.0, 40):
            assert least_eigenvalue(interval, p, n, radii, share) >= 0.0


def least_eigenvalue(interval, p, n, radii, share):
    """At a part of the interval, from its end backward: P, p and v from their differential equations."""
    elapsed, mu, gram, after = share * interval.length, interval.rates, interval.gram, interval.after
    decay = np.exp(-mu * elapsed)
    sums = mu[:, None] + mu
    here = np.outer(decay, decay) * p + n * np.expm1(-sums * elapsed) / sums
    # δ̇ falls like e^{−μt}: δ at a time, and so v, from both ends.
    before = interval.before
    change = np.linalg.solve(gram, after.pull - before.pull)
    passed = -np.expm1(-mu * (interval.length - elapsed)) / -np.expm1(-mu * interval.length)
    pull, costate = before.pull + gram @ (change * passed), decay * after.costate
    values = []
    for rival, m in zip(interval.rivals, radii, strict=True):
        lead = rival.effort - rival.change * costate @ pull
        matrix = np.empty((len(mu) + 1, len(mu) + 1))
        matrix[0, 0] = 2.0 * (lead + interval.loss) - m * interval.radius**2
        matrix[0, 1:] = matrix[1:, 0] = -rival.change * (gram @ costate + here @ pull)
        matrix[1:, 1:] = n - rival.change * (here @ gram + gram @ here) + m * np.eye(len(mu))
        values.append(np.linalg.eigvalsh(matrix)[0])
    return min(values)


def test_the_least_matrix_above_two():
    """Neither below N nor below K, and no smaller one by the given weight: complementary to what it exceeds."""
    rng = np.random.default_rng(3)
    a, b, y = (rng.standard_normal((5, 5)) for _ in range(3))
    n, k, weight = a + a.T, b + b.T, Weight.of(y @ y.T + 0.1 * np.eye(5))
    found = weight.above(n, k)
    for one in (n, k):
        assert np.linalg.eigvalsh(found - one)[0] >= -1e-12
    # tr((F − N)(F − K)…) = 0 in the coordinates of Y^{½}: positive and negative part of K − N.
    up, down = (weight.root @ (found - one) @ weight.root for one in (n, k))
    np.testing.assert_allclose(up @ down, 0.0, atol=1e-10)
