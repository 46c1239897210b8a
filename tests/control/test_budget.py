"""A price or a budget for ∫|ε| dt, and bounds that reach below zero."""

import numpy as np
import pytest

import epsflow as ef
import reference
from epsflow.control import make_task
from epsflow.control._task import linear_of
from epsflow.control.polish._exact import polish_linear

S, T = 0.2, 1.5


@pytest.fixture(scope="module")
def question():
    rng = np.random.default_rng(1)
    x, y, start = rng.standard_normal((8, 3)), 3.0 * rng.standard_normal(8), 2.0 * rng.standard_normal(3)
    return ef.linear_regression(ef.Dataset(x, y), [0]), start


def solve(question, **options):
    return ef.optimal_schedule(*question, s=S, T=T, **options)


def test_a_spent_budget_is_spent_exactly_and_its_multiplier_is_a_price(question):
    free = solve(question)
    tight, tighter = (solve(question, budget=share * free.effort) for share in (0.97, 0.96))
    assert tight.effort == pytest.approx(0.97 * free.effort, rel=1e-12)
    # The envelope theorem: d cost/dB = −ρ. A chord lies within |ρ' − ρ| of either end's slope.
    slope = (tighter.cost - tight.cost) / (tight.effort - tighter.effort)
    assert tight.multiplier * (1.0 - 1e-6) <= slope <= tighter.multiplier * (1.0 + 1e-6)
    assert tight.pmp_gap <= 1e-9 * tight.cost
    assert tight.scope is ef.Scope.LOCAL
    # What holds without a budget holds with one.
    assert tight.lower_bound <= free.cost * (1.0 + 1e-9)
    # At its own multiplier as a price, the same schedule comes out.
    priced = solve(question, price=tight.multiplier)
    assert priced.effort == pytest.approx(tight.effort, rel=1e-5)
    assert priced.objective == pytest.approx(tight.cost + tight.multiplier * tight.effort, rel=1e-9)


def test_half_a_budget_has_a_singular_arc(question):
    """S ≡ −ρ on an interval: levels between 0 and 1 on a mesh beat the best 13 arcs, whose gap no polish closes."""
    budget, gaps = 0.5, []
    linear = linear_of(make_task(*question, s=S, T=T, budget=budget))
    bangs = polish_linear(linear, np.array([S, 0.7, T]), np.array([1.0, 0.0]))
    for intervals in (25, 100):
        found = solve(question, budget=budget, intervals=intervals, method="exponential")
        assert found.effort == pytest.approx(budget, rel=1e-9)
        assert (found.status, found.scope) == (ef.Status.BANG_SINGULAR, ef.Scope.LOCAL)
        gaps.append(found.pmp_gap)
    assert found.cost < bangs.cost * (1.0 - 5e-5)
    # Second order in the mesh: a quarter of the length leaves a sixteenth.
    assert gaps[1] <= 0.1 * gaps[0]
    assert gaps[1] <= 0.01 * bangs.extremal.pmp_gap
    (singular,) = (arc for arc in found.arcs if arc.end - arc.start > 0.5)
    inside = np.linspace(singular.start, singular.end, 20)[2:-2]
    # The mean of S + ρ vanishes on every interval; inside it the level is held, an error of the mesh squared, 2e-4.
    np.testing.assert_allclose(found.switching(inside), -found.multiplier, atol=1e-4)


@pytest.mark.slow
def test_a_small_budget_beats_every_single_pulse_of_its_size(question):
    budget = 0.2
    found = solve(question, budget=budget)
    assert found.effort <= budget * (1.0 + 1e-9)
    system = reference.split_system(question[0].data.x, question[0].data.y, [0])
    pulses = []
    for begin in np.linspace(S, T - budget, 25):
        knots = np.unique([S, begin, begin + budget, T])
        levels = [1.0 if begin <= t < begin + budget else 0.0 for t in 0.5 * (knots[1:] + knots[:-1])]
        end = reference.propagate(system, np.asarray(found.task.theta_s), knots, levels)[-1]
        pulses.append(reference.cost(end, system.target))
    assert found.cost < min(pulses)
    assert found.status is ef.Status.BANG_SINGULAR
    assert found.pmp_gap <= 1e-5 * found.cost


def test_without_any_budget_nothing_is_left_to_choose(question):
    found = solve(question, budget=0.0)
    assert [arc.level for arc in found.arcs] == [0.0]
    assert found.effort == 0.0
    # The first unit would be worth −dcost/dB = max(−S), here at s.
    assert found.multiplier == pytest.approx(float(np.max(-found.switching(np.linspace(S, T, 2001)))), rel=1e-3)
    assert found.pmp_gap <= 1e-9 * found.cost


def test_a_budget_that_is_not_needed_changes_nothing(question):
    free, loose = solve(question), solve(question, budget=10.0)
    assert loose.cost == pytest.approx(free.cost, rel=1e-13)
    assert loose.multiplier == 0.0
    assert loose.scope is ef.Scope.GLOBAL  # the bound without a budget meets it


def test_gradient_ascent_is_certified_and_a_price_makes_it_pause(question):
    """ε < 0 is allowed: the optimum ends on ascent; with a price, ε = 0 lies between the two bounds."""
    ascent = solve(question, bounds=(-1.0, 1.0))
    assert [arc.level for arc in ascent.arcs] == [1.0, -1.0]
    assert (ascent.status, ascent.scope) == (ef.Status.BANG_BANG, ef.Scope.GLOBAL)
    assert ascent.cost < solve(question).cost
    system = reference.split_system(question[0].data.x, question[0].data.y, [0])
    brute = reference.bang_bang_optimum(system, question[1], S, T, max_switches=1, grid=8, starts=1, bounds=(-1.0, 1.0))
    assert ascent.cost == pytest.approx(brute.cost, rel=1e-9)
    paused = solve(question, bounds=(-1.0, 1.0), price=0.1)
    assert [arc.level for arc in paused.arcs] == [1.0, 0.0, -1.0]
    assert paused.status is ef.Status.BANG_BANG
    assert paused.pmp_gap <= 1e-12
    # S = −ρ where ε falls from 1 to 0, S = +ρ where it falls on to −1.
    switches = np.array([arc.end for arc in paused.arcs[:-1]])
    np.testing.assert_allclose(paused.switching(switches), [-0.1, 0.1], atol=1e-10)


def test_certify_knows_budgets(question):
    problem, start = question
    window = {"s": S, "T": T}
    found = solve(question, budget=1.2)
    again = ef.certify(problem, found.schedule, start, **window, budget=1.2)
    assert again.cost == pytest.approx(found.cost, rel=1e-12)
    assert again.multiplier == pytest.approx(found.multiplier, rel=1e-6)
    with pytest.raises(ef.InputError, match=r"spends ∫\|ε\| dt = 1.2 between s and T, beyond the budget 0.5"):
        ef.certify(problem, found.schedule, start, **window, budget=0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": 0.1, "bounds": (0.5, 1.0)}, r"no schedule meets the budget .* ≤ 0.1: .* is at least 0.65"),
        ({"budget": -1.0}, "no schedule meets the budget"),
        ({"budget": np.nan}, "budget is nan"),
        ({"price": -1.0}, "price is -1"),
        ({"price": 1.0, "method": "qp"}, "knows no price and no budget"),
    ],
)
def test_budgets_that_make_no_sense_are_refused(question, options, message):
    with pytest.raises(ef.InputError, match=message):
        solve(question, **options)
