"""Many parameters: rank-one spectra, and eigenspaces of which only a part can move."""

import jax.numpy as jnp
import numpy as np
import pytest

import epsflow as ef
from epsflow.control import make_task
from epsflow.control._simulate import simulate
from epsflow.control._task import linear_of
from epsflow.control.linear._pencil import SECULAR
from epsflow.control.linear._secular import update
from epsflow.control.linear._task import linear_task
from epsflow.control.terms._window import Window


@pytest.mark.parametrize("weight", [1.0, -0.7])
@pytest.mark.parametrize("d", [1, 2, 5, 80])
def test_rank_one_update_is_an_eigendecomposition(d, weight, rng):
    """With a zero, an equal pair and an uncoupled direction, which the secular equation itself cannot have."""
    rates, row = np.sort(rng.exponential(size=d)), rng.standard_normal(d)
    if d >= 5:
        rates[0], rates[1], row[3] = 0.0, rates[2], 0.0
    matrix = np.diag(rates) + weight * np.outer(row, row)
    values, vectors = update(rates, row, weight)
    scale = np.abs(values).max()
    # Backward error of LAPACK's own solver: d roundings.
    np.testing.assert_allclose(values, np.linalg.eigvalsh(matrix), atol=d * 2.3e-16 * scale)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(d), atol=4 * d * 2.3e-16)
    np.testing.assert_allclose(matrix @ vectors, vectors * values, atol=4 * d * 2.3e-16 * scale)


def question(d, n, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)) / np.sqrt(d)
    y = x @ rng.standard_normal(d) + 0.3 * rng.standard_normal(n)
    y[:2] += 20.0
    return ef.linear_regression(ef.Dataset(x, y), [0, 1], l2=0.05), rng.standard_normal(d)


def test_two_updates_follow_each_other():
    d = SECULAR + 6
    problem, start = question(d, d + 20)
    linear = linear_of(make_task(problem, start, s=0.5, T=3.0))
    spectrum = linear.spectrum(np.array([1.0, -0.3]))
    matrix = np.diag(linear.rates) + (linear.rows.T * [1.0, -0.3]) @ linear.rows
    rebuilt = spectrum.vectors * spectrum.rates @ spectrum.vectors.T
    np.testing.assert_allclose(rebuilt, matrix, rtol=0.0, atol=1e-12 * np.abs(matrix).max())


def test_what_cannot_move_is_left_out():
    """60 parameters, 12 points: of the 50 dimensions that the retained rows leave, only those of x_j, δ and f stay."""
    problem, start = question(60, 12)
    task = make_task(problem, start, s=0.5, T=3.0)
    linear = linear_of(task)
    assert len(linear.rates) == 10 + 3  # f = 0, so that three vectors span what is kept of the eigenspace of l2
    np.testing.assert_allclose(linear.basis.T @ linear.basis, np.eye(13), atol=1e-13)
    # The flow room does not leave anything out.
    schedule = ef.PiecewiseConstant([0.5, 1.1, 2.0, 3.0], [[1.0, 0.2], [0.0, 1.0], [1.0, 0.0]])
    end = ef.gradient_flow(problem, schedule, task.theta_s, t0=0.5, ts=np.array([3.0])).end
    expected = 0.5 * float(np.sum((np.asarray(end) - np.asarray(task.target)) ** 2))
    assert ef.certify(problem, schedule, start, s=0.5, T=3.0).extremal.cost == pytest.approx(expected, rel=1e-12)


def test_large_problems_are_simulated_as_by_the_flow_room():
    problem, start = question(SECULAR + 6, 40)
    task = make_task(problem, start, s=0.5, T=3.0)
    schedule = ef.Step(1.2)
    cost, error = simulate(task, schedule)
    trained = ef.gradient_flow(problem, ef.Constant(1.0), start, ts=np.array([0.5])).end
    np.testing.assert_allclose(task.theta_s, trained, atol=1e-12)
    end = ef.gradient_flow(problem, schedule, trained, t0=0.5, ts=np.array([3.0])).end
    expected = 0.5 * float(np.sum((np.asarray(end) - np.asarray(task.target)) ** 2))
    assert cost == pytest.approx(expected, rel=1e-12)
    assert abs(cost - expected) <= error


def test_few_rows_have_the_same_eigendecomposition():
    """More than two parameters per point: by way of the rows; the flow sees no difference."""
    problem, start = question(30, 12)
    basis = problem.risk.retained
    rebuilt = np.asarray(basis.vectors) * np.asarray(basis.values) @ np.asarray(basis.vectors).T
    np.testing.assert_allclose(rebuilt, problem.risk.h_retained, atol=1e-14)
    assert (np.diff(basis.values) >= 0.0).all()
    free = ef.linear_regression(ef.Dataset(problem.data.x, problem.data.y), [0, 1])
    assert int(free.risk.retained.kernel.sum()) == 20  # without l2 the rest is exactly zero
    assert (
        len(
            linear_task(problem.risk, jnp.asarray(start), window=Window(0.5, 1.0, 0.0, 1.0), target=jnp.zeros(30)).rates
        )
        < 30
    )
