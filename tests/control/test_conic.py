"""The convex program against the polish: two ways to one optimum that share no step but the eigenbasis."""

import numpy as np
import pytest

import epsflow as ef
from control_tools import certify_signs
from epsflow.control import make_task
from epsflow.control._task import linear_of
from epsflow.control.bounds._dual import settled_signs
from epsflow.control.linear._pencil import advance
from epsflow.control.programs._conic import condense, solve_conic


def question(seed, d, m):
    """Outliers, so that their residuals keep their signs."""
    rng = np.random.default_rng(seed)
    y = 3.0 * rng.standard_normal(d + 4)
    y[:m] += 30.0
    data = ef.Dataset(rng.standard_normal((d + 4, d)), y)
    return ef.linear_regression(data, list(range(m))), 3.0 * rng.standard_normal(d)


@pytest.mark.parametrize(
    ("seed", "d", "m", "bounds", "T"),
    [(5, 10, 1, (-0.5, 1.0), 0.6), (2, 3, 2, (-0.2, 1.0), 1.0)],
    ids=["one point, two switches", "two points"],
)
def test_program_and_polish_agree(seed, d, m, bounds, T):
    problem, start = question(seed, d, m)
    best = ef.optimal_schedule(problem, start, s=0.2, T=T, bounds=bounds, per_point=m > 1)
    assert best.scope is ef.Scope.GLOBAL
    linear = linear_of(best.task)
    signs = settled_signs(linear, "the program")
    coarse, fine = (solve_conic(linear, signs, n) for n in (40, 80))
    assert coarse.candidate.success
    # Constant forces on intervals of length h: what a switch inside one costs is of second order.
    errors = [run.value / best.cost - 1.0 for run in (coarse, fine)]
    assert 0.0 < errors[1] < 0.45 * errors[0] < 1e-3
    # ε itself: the integral of each component's weight, to an interval.
    levels = np.array([arc.level for arc in best.arcs if arc.point in (None, 0)])
    lengths = np.array([arc.end - arc.start for arc in best.arcs if arc.point in (None, 0)])
    first = fine.candidate.values.reshape(80, -1)[:, 0]
    assert first.mean() * (T - 0.2) == pytest.approx(levels @ lengths, abs=(T - 0.2) / 80)


def test_schedule_from_the_program_is_polished_and_certified():
    problem, start = question(5, 10, 1)
    window = {"s": 0.2, "T": 0.6, "bounds": (-0.5, 1.0)}
    found = ef.optimal_schedule(problem, start, **window, method="qp", intervals=40)
    assert (found.method, found.polished) == (ef.SearchMethod.QP, True)
    assert found.scope is ef.Scope.GLOBAL
    assert found.cost == pytest.approx(ef.optimal_schedule(problem, start, **window).cost, rel=1e-12)


def test_a_program_on_which_an_active_set_can_cycle():
    """A strong outlier and a small penalty: HiGHS does not return from this one."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((30, 10)) / np.sqrt(10)
    y = x @ rng.standard_normal(10) + 0.3 * rng.standard_normal(30)
    y[0] += 20.0
    problem, window = ef.linear_regression(ef.Dataset(x, y), [0], l2=0.05), {"s": 0.5, "T": 3.0}
    best = ef.optimal_schedule(problem, np.zeros(10), **window)
    linear = linear_of(best.task)
    run = solve_conic(linear, settled_signs(linear, "the program"), 50)
    assert run.candidate.success
    assert 0.0 < run.value / best.cost - 1.0 < 1e-3  # the switch lies inside an interval: second order in 1/50


def test_the_condensed_map_is_the_flow(rng):
    """A force that is constant on an interval, pushed through the program's matrices and through the flow."""
    problem, start = question(2, 3, 2)
    task = make_task(problem, start, s=0.2, T=1.0, bounds=(0.0, 1.0))
    linear, signs = linear_of(task), certify_signs(task).signs
    w = rng.standard_normal((6, 2))
    program = condense(linear, signs, 6)
    delta, free = linear.start, linear.spectrum(0.0)
    for force in w:
        pushed = free._replace(drift=linear.drift - force @ linear.rows)
        middle = advance(pushed, delta, np.array([linear.length / 12]))[0]
        residual = signs * linear.residual(middle)
        delta = advance(pushed, delta, np.array([linear.length / 6]))[0]
    np.testing.assert_allclose(program.offset - program.map @ w.ravel(), delta, rtol=1e-12)
    # The last two rows of each half: σ(w − a e) with a = 0, and σ(b e − w) with b = 1.
    slack = (program.rows @ w.ravel() - program.lower).reshape(2, 6, 2)[:, -1]
    np.testing.assert_allclose(slack[0], signs * w[-1], rtol=1e-12)
    np.testing.assert_allclose(slack.sum(axis=0), residual, rtol=1e-12)


@pytest.mark.parametrize(
    ("solver", "options"),
    [
        ("highs", {"highs": {"output_flag": False}}),
        ("proxqp", {"proxqp": {"verbose": False, "eps_abs": 1e-9, "max_iter": 100_000}}),
    ],
)
def test_other_solvers_find_the_same_value(solver, options):
    problem, start = question(5, 10, 1)
    linear = linear_of(make_task(problem, start, s=0.2, T=0.6, bounds=(-0.5, 1.0)))
    signs = settled_signs(linear, "the program")
    chosen, other = (solve_conic(linear, signs, 40, **given) for given in ({}, {"solver": solver, "options": options}))
    assert other.value == pytest.approx(chosen.value, rel=1e-5)


def test_programs_that_are_not_convex_are_refused(row_one, zero):
    with pytest.raises(ef.InputError, match=r"keep their signs .* only until t = 0.81"):
        ef.optimal_schedule(row_one, zero, s=0.0, T=2.0, method="qp")
    problem, start = question(2, 3, 2)
    with pytest.raises(ef.InputError, match="per_point=True"):
        ef.optimal_schedule(problem, start, s=0.2, T=1.0, method="qp")
