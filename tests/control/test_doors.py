"""What is refused at the doors of `control`, in one sentence each, and a time limit that reaches every route."""

import time

import jaxtyping
import numpy as np
import pytest

import epsflow as ef
from epsflow import InputError

WINDOW = {"s": 0.2, "T": 2.0}


@pytest.fixture(autouse=True)
def untyped():
    """As a user runs it: the suite checks every annotation, and would be the first to refuse."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def a_function(t):
    return 0.5


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"bounds": 1}, r"bounds is 1; the least and the largest ε are needed: bounds=\(0\.0, 1\.0\)"),
        ({"bounds": (0.0, 1.0, 2.0)}, r"bounds is \(0\.0, 1\.0, 2\.0\)"),
        ({"bounds": "01"}, "bounds is '01'"),
        ({"bounds": (0.0, np.nan)}, "the upper bound of ε is nan"),
        ({"s": np.nan}, "s is nan; a finite number is needed"),
        ({"T": "2"}, "T holds <U1 values; numbers are needed"),
        ({"target": 1.5}, r"target has shape \(\); this problem needs a vector of length 2"),
        ({"target": [np.nan, 0.0]}, r"target\[0\] is nan"),
        ({"cost": ef.Distance}, r"cost is the class Distance itself; an object of it is needed"),
        ({"cost": 3}, r"cost is 3, where a Cost is needed: write Distance\(\)"),
        ({"budget": -1.0}, "no schedule meets the budget"),
        ({"price": -1.0}, "a negative price"),
        ({"time_limit": 0.0}, "a search needs a positive time"),
        ({"time_limit": "soon"}, "time_limit holds <U4 values"),
    ],
)
def test_every_door_checks_the_question_alike(row_one, zero, wrong, words):
    question = WINDOW | wrong
    doors = [
        lambda: ef.optimal_schedule(row_one, zero, **question),
        lambda: ef.compare_schedules(row_one, zero, **question),
        lambda: ef.certify(row_one, ef.Step(0.5), zero, **question),
        lambda: ef.best_in_family(row_one, ef.Step, zero, **question),
    ]
    if wrong.keys() <= {"bounds", "s", "T", "target", "cost", "price"}:
        doors.append(lambda: ef.extremal(row_one, ef.Step(0.5), zero, **question))
    for door in doors:
        with pytest.raises(InputError, match=words):
            door()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"intervals": "10"}, "intervals is '10'; a whole number is needed, for instance intervals=10"),
        ({"intervals": True}, "intervals is True; a whole number"),
        ({"intervals": 1.5}, r"intervals is 1\.5; a whole number"),
        ({"intervals": 0}, "intervals is 0; it must be at least 1"),
        ({"per_point": "yes"}, "per_point is 'yes'; it is either on or off: write per_point=True or per_point=False"),
        ({"throw": 1}, "throw is 1; it is either on or off"),
        ({"method": 3}, "method is 3; a word is needed, one of 'auto'"),
        ({"method": "best"}, "unknown method 'best': choose auto, "),
        ({"starts": 3}, r"starts is 3; a list of schedules is needed, for instance starts=\[Step\(2\.0\)\]"),
        ({"starts": ["x"]}, r"starts\[0\] is 'x', where a Schedule is needed"),
        ({"starts": ef.Step(1.0)}, "a list of schedules is needed"),
        ({"starts": [ef.Step(1.0)], "method": "qp"}, "begins nowhere: leave starts out"),
    ],
)
def test_options_of_the_search_are_checked_where_they_are_not_needed(row_one, zero, wrong, words):
    """Linear regression needs no mesh and no start; a wrong one is refused all the same."""
    for door in (ef.optimal_schedule, ef.compare_schedules):
        with pytest.raises(InputError, match=words):
            door(row_one, zero, **WINDOW, **wrong)


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (
            a_function,
            "the function a_function, where a Schedule is needed: derive a class from epsflow.AbstractSchedule",
        ),
        (ef.Step, "schedule is the class Step itself; an object of it is needed"),
        ("Step", "schedule is 'Step', where a Schedule is needed: write Step"),
        (np.zeros(2), r"an array of shape \(2,\).* the order is f\(problem, schedule, theta0"),
        (None, "schedule is None"),
    ],
)
def test_a_schedule_is_a_schedule(row_one, zero, schedule, words):
    for door in (ef.certify, ef.extremal):
        with pytest.raises(InputError, match=words):
            door(row_one, schedule, zero, **WINDOW)


@pytest.mark.parametrize(
    ("family", "words"),
    [
        ("Step", "a family is a schedule class; got 'Step': pass the class itself, without quotes: Step, LinearDecay"),
        (ef.Step(1.0), r"got .*: pass its class Step; certify\(\) takes one schedule"),
        (a_function, "got the function a_function"),
        (ef.Distance, "got the class Distance"),
        (ef.PiecewiseConstant, "does not say over which numbers it can be searched"),
    ],
)
def test_a_family_is_a_class(row_one, zero, family, words):
    with pytest.raises(InputError, match=words):
        ef.best_in_family(row_one, family, zero, **WINDOW)
    with pytest.raises(InputError, match=words):
        ef.compare_schedules(row_one, zero, **WINDOW, families=(family,), optimum=False)


@pytest.mark.parametrize("problem", [None, "diabetes", ef.linear_regression, ef.Dataset(np.ones((3, 1)), np.ones(3))])
def test_a_problem_is_a_problem(problem):
    with pytest.raises(InputError, match=r"problem is .*, where a Problem is needed: write epsflow\.linear_regression"):
        ef.optimal_schedule(problem, [0.0], **WINDOW)
    with pytest.raises(InputError, match="where a Problem is needed"):
        ef.exact_starts(problem, longest=1.0)


@pytest.mark.parametrize(("grid", "words"), [(4, "at least 5"), (7.5, "whole number"), ("9", "whole number")])
def test_a_grid_is_a_count(row_one, zero, grid, words):
    with pytest.raises(InputError, match=words):
        ef.best_in_family(row_one, ef.Step, zero, **WINDOW, grid=grid)


def test_exact_starts_checks_its_numbers(row_one):
    with pytest.raises(InputError, match="longest is nan"):
        ef.exact_starts(row_one, longest=np.nan)
    with pytest.raises(InputError, match="grid is 1; it must be at least 2"):
        ef.exact_starts(row_one, longest=1.0, grid=1)


# ---- time limits -----------------------------------------------------------------------------------------------

NO_TIME = 1e-9


def mixed_signs():
    """Three points whose residuals change their signs: no certificate without branching."""
    rng = np.random.default_rng(5)
    data = ef.Dataset(rng.standard_normal((9, 3)), rng.standard_normal(9))
    return ef.linear_regression(data, [0, 1, 2]), 3.0 * rng.standard_normal(3)


def test_the_exact_route_stops_in_time_and_says_so(row_one, zero):
    """Its residual may change its sign, so that a certificate takes branching."""
    problem, start = row_one, zero
    with pytest.raises(ef.ConvergenceError, match="the time limit was reached; the best proposal, cost") as raised:
        ef.optimal_schedule(problem, start, s=0.0, T=2.0, time_limit=NO_TIME)
    kept = raised.value.result
    assert bool(kept.result == ef.RESULTS.time_limit_reached)
    assert (kept.status, kept.scope) == (ef.Status.UNVERIFIED, ef.Scope.NONE)
    assert kept.trouble == "the time limit was reached"
    assert "time limit" in str(kept.summary())
    quiet = ef.optimal_schedule(problem, start, s=0.0, T=2.0, time_limit=NO_TIME, throw=False)
    assert quiet.cost == kept.cost


def test_a_certificate_stands_whatever_the_clock_says():
    """Its residual keeps its sign, so that the first start is proved the best as soon as it is polished."""
    problem = ef.linear_regression(ef.load_dataset("diabetes"), [382], reduction="mean")
    found = ef.optimal_schedule(problem, np.zeros(10), s=50.0, T=200.0, time_limit=NO_TIME)
    assert found.scope is ef.Scope.GLOBAL
    assert bool(found.result == ef.RESULTS.successful)


def test_branching_of_a_given_schedule_stops_in_time():
    problem, start = mixed_signs()
    begin = time.process_time()
    short = ef.certify(problem, ef.Step(0.0), start, s=0.0, T=2.0, time_limit=NO_TIME)
    assert time.process_time() - begin < 5.0  # its 400 nodes take longer than the first few
    assert 0.0 <= short.lower_bound <= short.cost


def test_families_stop_after_the_best_place_of_their_scan(row_one, zero):
    found = ef.best_in_family(row_one, ef.Step, zero, **WINDOW, time_limit=NO_TIME)
    whole = ef.best_in_family(row_one, ef.Step, zero, **WINDOW)
    assert found.evaluations <= whole.evaluations
    assert bool(found.result == ef.RESULTS.time_limit_reached)
    assert found.words.endswith("the time limit was reached")
    assert whole.cost <= found.cost <= 1.001 * whole.cost
    table = ef.compare_schedules(row_one, zero, **WINDOW, families=(ef.Step,), time_limit=NO_TIME, throw=False)
    assert bool(table.families[0].result == ef.RESULTS.time_limit_reached)
    assert table.optimum is not None


def test_exact_unlearning_is_left_undecided_in_time(two_rows):
    found = ef.exact_unlearning_time(two_rows, [0.0], s=0.0, time_limit=NO_TIME)
    assert found.arrival is ef.Arrival.TIME_LIMIT
    assert np.isnan(found.time)
    assert "the time limit was reached; certain is only" in found.reason


def test_starts_are_used_where_no_mesh_is_needed():
    """A start that is better than every single switch is polished like them."""
    problem, start = mixed_signs()
    window = {"s": 0.0, "T": 2.0, "per_point": True, "throw": False}
    plain = ef.optimal_schedule(problem, start, **window)
    again = ef.optimal_schedule(problem, start, **window, starts=[plain.schedule])
    assert again.cost <= plain.cost * (1.0 + 1e-12)


class Lying(ef.AbstractCost):
    """‖δ‖² by its value, nine halves of it by its form."""

    def value(self, risk, theta, target):
        return ((theta - target) ** 2).sum()

    def form(self, rates, basis):
        return ef.EndForm(np.full(len(rates), 3.0))


def test_a_form_that_is_not_the_value_is_refused():
    rng = np.random.default_rng(0)
    problem = ef.linear_regression(ef.Dataset(rng.standard_normal((12, 2)), rng.standard_normal(12)), [1])
    with pytest.raises(InputError, match="they must be the same function"):
        ef.optimal_schedule(problem, np.zeros(2), s=0.1, T=1.0, cost=Lying())
