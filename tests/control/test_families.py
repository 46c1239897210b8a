"""The best member of each family: closed forms, an independent search, and the promise of a global scan."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

import epsflow as ef
import reference


def random_problem(seed):
    rng = np.random.default_rng(seed)
    x, y, start = rng.standard_normal((6, 2)), 2.0 * rng.standard_normal(6), rng.standard_normal(2)
    return x, y, start, ef.linear_regression(ef.Dataset(x, y), [0])


@pytest.mark.parametrize("seed", range(2))
def test_step_is_the_minimum_of_an_independent_scan(seed):
    x, y, start, problem = random_problem(seed)
    found = ef.best_in_family(problem, ef.Step, start, s=0.1, T=1.1)
    system = reference.split_system(x, y, [0])
    taus = np.linspace(0.1, 1.1, 201)
    costs = [reference.step_cost(system, start, tau, 1.1) for tau in taus]
    # A scan with step h = 0.005 misses a smooth minimum by at most max|𝓔''| h²/8.
    assert found.cost <= min(costs) * (1.0 + 1e-12)
    assert found.cost == pytest.approx(min(costs), rel=1e-3)
    assert found.cost == pytest.approx(reference.step_cost(system, start, found.parameters["τ"], 1.1), rel=1e-12)


@pytest.mark.parametrize("seed", [1, 2])
def test_linear_decay_matches_an_independent_integrator(seed):
    x, y, start, problem = random_problem(seed)
    found = ef.best_in_family(problem, ef.LinearDecay, start, s=0.1, T=1.1)
    system = reference.split_system(x, y, [0])
    expected = reference.linear_decay_cost(system, start, 0.1, found.parameters["t₁"], 1.1)
    assert found.cost == pytest.approx(expected, rel=1e-9)  # the reference integrates at rtol 1e-12
    nearby = [reference.linear_decay_cost(system, start, 0.1, t1, 1.1) for t1 in np.linspace(0.11, 1.1, 12)]
    assert found.cost <= min(nearby) * (1.0 + 1e-9)


def test_identity_example_of_the_notes():
    """X = I, y = 1, θ0 = 0: 𝓔 = ½[(d−1)e^{−2T} + (1−e^{−τ})²] grows with τ, so the best step is τ = s."""
    problem = ef.linear_regression(ef.Dataset(np.eye(3), np.ones(3)), [2])
    found = ef.best_in_family(problem, ef.Step, jnp.zeros(3), s=0.5, T=2.0, target=np.array([1.0, 1.0, 0.0]))
    assert found.parameters["τ"] == 0.5
    assert (found.status, found.at_bound) == (ef.FamilyStatus.AT_BOUND, ("τ",))
    assert found.cost == pytest.approx(reference.identity_step_cost(3, 0.5, 2.0), rel=1e-12)


def test_linear_decay_can_beat_every_step():
    """A counterexample to Figure 4d's reading: integers, found by search, certified optimum 0.0001057."""
    x, y = np.array([[-1.0, -1.0], [-2.0, 1.0], [0.0, -1.0]]), np.array([3.0, 3.0, 0.0])
    problem = ef.linear_regression(ef.Dataset(x, y), [0])
    table = ef.compare_schedules(problem, jnp.zeros(2), s=0.0, T=0.5, families=(ef.Step, ef.LinearDecay))
    step, linear = (result.cost for result in table.families)
    # Independent values; the sixth digit is the reference's optimiser.
    assert step == pytest.approx(0.00241069933, rel=1e-6)
    assert linear == pytest.approx(0.00196897783, rel=1e-6)
    assert table.optimum.cost == pytest.approx(0.000105719190176, rel=1e-9)


def test_wider_families_contain_narrower_ones(row_one, zero):
    table = ef.compare_schedules(row_one, zero, s=0.2, T=2.0)
    costs = {result.family: result.cost for result in table.families}
    assert costs["PolynomialDecay"] <= costs["LinearDecay"] * (1.0 + 1e-9)
    assert table.optimum.cost <= min(costs.values()) * (1.0 + 1e-9)
    rows = table.rows()
    assert rows[0]["family"] == "1_[0,s]"
    assert rows[0]["ratio"] == 1.0
    assert all(row["ratio"] == pytest.approx(row["cost"] / table.baseline.cost) for row in rows)


def test_costs_below_their_errors_have_no_ratio(zero):
    """At T = 60 all costs are rounding; a schedule that arrives beside one that does not costs 0 within its error."""
    data = ef.Dataset([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [1.0, 2.0, 2.0])
    late = ef.compare_schedules(ef.linear_regression(data, [2]), zero, s=1.0, T=60.0, families=(ef.Step,))
    assert all(np.isnan(row["ratio"]) for row in late.rows())
    assert set(late.ratios_in_words()) == {"within error"}
    assert "within error" in str(late.summary())
    assert not any(late.gains(result) for result in (*late.families, late.optimum))
    assert "within the error of the cost" in str(late.optimum.summary()) or late.optimum.gap == 0.0

    line = ef.Dataset([[1.0], [1.0]], [2.0, 1.0])  # with ε = 1 until ½ln 3, θ is at its target
    early = ef.compare_schedules(ef.linear_regression(line, [0]), np.zeros(1), s=0.1, T=2.0, families=())
    assert early.ratios_in_words()[-1] == "0 within error"
    assert early.gains(early.optimum)


class HalfLife(ef.AbstractSchedule):
    """A family of one's own: 2^{−(t−s)/h}, cut at T."""

    inside: ef.ExponentialDecay

    @property
    def start(self):
        return self.inside.start

    @property
    def end(self):
        return self.inside.end

    @property
    def jump_ts(self):
        return self.inside.jump_ts

    def inner(self, t):
        return self.inside.inner(t)

    @classmethod
    def search_space(cls, s, T):
        build = Partial(cls._member, jnp.asarray(s), jnp.asarray(T))
        return ef.SearchSpace(("half-life",), (1e-3 * (T - s),), (100.0 * (T - s),), (True,), build)

    @classmethod
    def _member(cls, s, T, parameters):
        return cls(ef.ExponentialDecay(s, jnp.log(2.0) / parameters[0], T))


def test_a_family_of_ones_own_is_searched_like_the_others(row_one, zero):
    own = ef.best_in_family(row_one, HalfLife, zero, s=0.2, T=2.0)
    known = ef.best_in_family(row_one, ef.ExponentialDecay, zero, s=0.2, T=2.0)
    assert own.cost == pytest.approx(known.cost, rel=1e-9)
    assert np.log(2.0) / own.parameters["half-life"] == pytest.approx(known.parameters["rate"], rel=1e-4)


def test_a_family_without_a_search_space_is_refused(row_one, zero):
    with pytest.raises(ef.InputError, match="PiecewiseConstant does not say over which numbers"):
        ef.best_in_family(row_one, ef.PiecewiseConstant, zero, s=0.0, T=2.0)


def test_bounds_that_a_family_cannot_respect_are_refused(row_one, zero):
    with pytest.raises(ef.InputError, match="not in E_s"):
        ef.best_in_family(row_one, ef.LinearDecay, zero, s=0.0, T=2.0, bounds=(0.0, 0.4))


def test_what_the_bounds_exclude_is_neither_searched_nor_the_best(row_one, zero):
    """Between ½ and 1 no schedule drops the points at once, though that costs less."""
    table = ef.compare_schedules(row_one, zero, s=0.2, T=2.0, bounds=(0.5, 1.0))
    assert [row["family"] for row in table.rows()] == ["1_[0,s]", "optimum"]
    assert table.rows()[0]["status"] == "baseline, which the bounds exclude"
    assert "best=optimum" in repr(table)
    asked = {"s": 0.2, "T": 2.0, "bounds": (0.5, 1.0), "time_limit": 1e-9}  # refused before any time is spent
    with pytest.raises(ef.InputError, match=r"LinearDecay is not in E_s.*families=\[…\] names the others"):
        ef.compare_schedules(row_one, zero, families=(ef.LinearDecay,), **asked)
