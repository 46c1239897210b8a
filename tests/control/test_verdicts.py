"""What is claimed of a schedule, where it is easily claimed wrongly."""

import warnings
from fractions import Fraction

import numpy as np
import pytest

import epsflow as ef
from epsflow.control._target import Target, warn_of
from epsflow.control.terms._kinds import scope_of

GLOBAL, WITHIN_ERROR, LOCAL, NONE = ef.Scope.GLOBAL, ef.Scope.WITHIN_ERROR, ef.Scope.LOCAL, ef.Scope.NONE


def test_a_long_decay_is_not_exact_unlearning():
    """Dropping the point at once and waiting: δ becomes rounding, but the target cannot be reached at all."""
    problem, zero = ef.linear_regression(ef.load_dataset("diabetes"), [0], reduction="mean"), np.zeros(10)
    found = ef.certify(problem, ef.Step(1000.0), zero, s=50.0, T=4000.0)
    assert ef.exact_unlearning_time(problem, zero, s=50.0).arrival is ef.Arrival.NEVER
    assert found.cost <= found.cost_error
    # Nothing can be gained beyond the error of the cost, and no more is said.
    assert (found.status, found.scope) == (ef.Status.BANG_BANG, WITHIN_ERROR)


def test_a_positive_bound_forbids_exact_unlearning(rng):
    """After a shorter wait the cost is still resolved: 1e-13 of its start, and bounded to a hundredth."""
    problem = ef.linear_regression(ef.Dataset(rng.standard_normal((8, 3)), rng.standard_normal(8)), [2])
    trained = np.linalg.lstsq(problem.data.x, problem.data.y, rcond=None)[0]
    slowest = float(problem.risk.retained.values[0])
    found = ef.certify(problem, ef.Step(0.0), trained, s=0.0, T=15.0 / slowest)
    assert found.cost < 1e-12 * found.task.initial
    assert found.lower_bound > 0.99 * found.cost
    assert found.status is ef.Status.BANG_BANG
    assert found.scope in (GLOBAL, WITHIN_ERROR)


def test_arrival_is_exact_whoever_found_the_schedule(two_rows):
    """θ = 2 − 2e^{−2t}·… meets its target at ½ ln 3; a little later it has passed it, and decays back."""
    arriving = ef.certify(two_rows, ef.Step(0.5 * np.log(3.0)), [0.0], s=0.25, T=1.0)
    assert (arriving.status, arriving.scope) == (ef.Status.EXACT, GLOBAL)
    late = ef.certify(two_rows, ef.Step(0.5 * np.log(3.0) + 1e-6), [0.0], s=0.25, T=40.0)
    assert late.status is not ef.Status.EXACT


def test_decay_is_not_an_arrival_where_another_schedule_would_arrive(two_rows):
    """At T = 40 the rest is e^{−40}; an exact schedule exists, but this is none."""
    found = ef.certify(two_rows, ef.Step(0.25), [0.0], s=0.25, T=40.0)
    assert ef.exact_unlearning_time(two_rows, [0.0], s=0.25).time < 1.0
    assert found.cost <= found.cost_error
    assert (found.status, found.scope) == (ef.Status.BANG_BANG, WITHIN_ERROR)


def test_who_starts_at_the_target_has_arrived(rng):
    problem = ef.linear_regression(ef.Dataset(rng.standard_normal((9, 3)), rng.standard_normal(9)), [4])
    target = ef.equilibrium(problem, eps=0.0).theta
    for found in (
        ef.certify(problem, ef.Step(0.0), target, s=0.0, T=1.0),
        ef.optimal_schedule(problem, target, s=0.0, T=1.0),
    ):
        assert (found.status, found.scope) == (ef.Status.EXACT, GLOBAL)
    assert ef.exact_unlearning_time(problem, target, s=0.0).arrival is ef.Arrival.AT_START
    leaving = ef.certify(problem, ef.Step(1.0), target, s=0.0, T=1.0)
    assert leaving.cost > 1e-6
    assert leaving.status is not ef.Status.EXACT


@pytest.mark.parametrize(
    ("objective", "error", "bound", "scope"),
    [
        (1.0, 1e-9, 1.0 - 1e-8, GLOBAL),
        (1.0, 1e-5, 1.0 - 1e-8, WITHIN_ERROR),  # an error larger than the gap that is asked for
        (1.0, 1e-9, 0.9, NONE),
        (1e-30, 1e-28, 0.0, WITHIN_ERROR),
        (1e-30, 1e-31, 0.0, NONE),
        (np.inf, 0.0, 1.0, NONE),
        (np.inf, np.inf, np.inf, NONE),
        (np.nan, 0.0, 0.0, NONE),
        (1.0, np.nan, 1.0, NONE),
        (1.0, np.inf, 0.0, NONE),
    ],
)
def test_a_claim_needs_a_gap_below_the_error_and_finite_numbers(objective, error, bound, scope):
    assert scope_of(objective, error, bound, exact=False) is scope


def test_exact_does_not_excuse_numbers_that_are_not_finite():
    assert scope_of(np.inf, 0.0, 0.0, exact=True) is NONE


@pytest.mark.parametrize("change", [{"y": 1e160}, {"theta0": 1e200}, {"x": 1e100}, {"T": 1e300}])
def test_squares_that_overflow_are_refused_in_one_sentence(rng, change):
    x, y = rng.standard_normal((6, 2)) * change.get("x", 1.0), rng.standard_normal(6) * change.get("y", 1.0)

    def ask():
        problem = ef.linear_regression(ef.Dataset(x, y), [1])
        return ef.optimal_schedule(problem, np.full(2, change.get("theta0", 0.0)), s=0.0, T=change.get("T", 1.0))

    with pytest.raises(ef.InputError, match=r"squares overflow.*Measure the targets"):
        ask()


def collinear(rng, gap):
    """Two features that differ by `gap`, and a third one."""
    x = rng.standard_normal((20, 3))
    x[:, 1] = x[:, 0] + gap * x[:, 1]
    return ef.Dataset(x, rng.standard_normal(20), features=("a", "b", "c"))


def exact_optimum(x, y):
    """The normal equations in rational numbers: no rounding at all, whatever the condition."""
    rows = [[Fraction(float(entry)) for entry in row] for row in x]
    d, right = len(rows[0]), [Fraction(float(entry)) for entry in y]
    system = [
        [sum(row[i] * row[j] for row in rows) for j in range(d)]
        + [sum(row[i] * each for row, each in zip(rows, right, strict=True))]
        for i in range(d)
    ]
    for i in range(d):
        system[i] = [entry / system[i][i] for entry in system[i]]
        for k in set(range(d)) - {i}:
            system[k] = [a - system[k][i] * b for a, b in zip(system[k], system[i], strict=True)]
    return np.array([float(row[-1]) for row in system])


@pytest.mark.filterwarnings("ignore:.*nearly collinear:epsflow.EpsflowWarning")
@pytest.mark.parametrize("gap", [1e-1, 1e-6, 1e-11])
def test_the_error_of_the_target_is_part_of_the_costs_error(rng, gap):
    """θ(T) does not depend on the target, so 𝓔 from the exact one is known by how far they are apart."""
    data = collinear(rng, gap)
    problem = ef.linear_regression(data, [7], reduction="mean")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the last one
        found = ef.optimal_schedule(problem, np.zeros(3), s=0.1, T=1.0)
    target = exact_optimum(np.delete(data.x, 7, axis=0), np.delete(data.y, 7))
    off = np.linalg.norm(np.asarray(found.task.target) - target)
    rounded = 1e-16 * np.linalg.norm(target)  # of the rational numbers, when they become floats
    assert off <= found.task.target_error + rounded
    exact = 0.5 * np.sum((np.asarray(found.extremal.theta(1.0)) - target) ** 2)
    assert abs(found.cost - exact) <= found.cost_error + 4e-16 * exact


@pytest.mark.filterwarnings("ignore:.*nearly collinear:epsflow.EpsflowWarning")
def test_a_noticeable_error_of_the_target_is_warned_of_by_its_direction(rng):
    problem = ef.linear_regression(collinear(rng, 1e-7), [7], reduction="mean")
    with pytest.warns(
        UserWarning, match=r"known to ±0\.01 only.*hardly determine the direction \(\+0\.707·[ab] -0\.707"
    ):
        warn_of(problem, Target(np.ones(3), 0.01), 5.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of(problem, Target(np.ones(3), 1e-9), 5.0)
        warn_of(problem, Target(np.ones(3), 1e-11), 0.0)  # θ(s) is the target, to rounding


def test_ordinary_data_are_not_warned_of(rng):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = ef.optimal_schedule(ef.linear_regression(collinear(rng, 1e-1), [7]), np.zeros(3), s=0.1, T=1.0)
    assert 0.0 < found.task.target_error < 1e-10
    assert found.scope is GLOBAL


def test_a_given_target_has_no_error(row_one, zero):
    assert ef.certify(row_one, ef.Step(0.5), zero, s=0.5, T=2.0, target=[0.3, 0.1]).task.target_error == 0.0


@pytest.mark.parametrize("seed", range(12))
def test_exact_is_only_said_where_the_target_can_be_reached(seed):
    """Random small problems, optimal and arbitrary schedules, against the exact-unlearning time."""
    rng = np.random.default_rng(seed)
    d = 1 + seed % 2
    data = ef.Dataset(rng.standard_normal((d + 3, d)), 3.0 * rng.standard_normal(d + 3))
    problem, start = ef.linear_regression(data, [0], l2=0.3), 2.0 * rng.standard_normal(d)
    s, T = 0.1, 0.1 + 10.0 ** rng.uniform(-0.5, 1.7)
    time = ef.exact_unlearning_time(problem, start, s=s).time
    best = ef.optimal_schedule(problem, start, s=s, T=T, throw=False)
    assert (best.status is ef.Status.EXACT) == (time <= T)
    for tau in (s, 0.5 * (s + T)):
        other = ef.certify(problem, ef.Step(tau), start, s=s, T=T)
        assert other.status is not ef.Status.EXACT
        assert other.lower_bound <= best.cost + best.cost_error
