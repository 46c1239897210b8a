"""The programs themselves: feasible points, agreement with the flow, reuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import epsflow as ef
from epsflow.control import make_task
from epsflow.control._mesh import system_of
from epsflow.control._task import linear_of
from epsflow.control.programs import _exponential, _program
from epsflow.control.programs._transcription import (
    collocation_program,
    shooting_program,
    take_apart,
    translated_field,
)
from epsflow.control.systems._system import RiskSystem
from epsflow.control.terms import _window


def random_task(rng, *, points=(0, 3), d=3, T=1.5):
    data = ef.Dataset(rng.standard_normal((9, d)), 2.0 * rng.standard_normal(9))
    return make_task(ef.linear_regression(data, list(points), l2=0.2), rng.standard_normal(d), s=0.0, T=T)


@pytest.mark.parametrize(("method", "order"), [("exponential", 6), ("shooting", 4), ("collocation", 5)])
def test_feasible_points_converge_to_the_flow_at_their_order(rng, method, order):
    """What a program believes about θ(T) is wrong by O(h^order), its quadrature's order."""
    task = random_task(rng)
    errors = [roll_out_error(task, method, count) for count in (12, 24)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.5)


def roll_out_error(task, method, count):
    """ε = 0.7 for the first point and 0.2 for the second, throughout."""
    values, h = np.tile([0.7, 0.2], (count, 1)), task.T / count
    schedule = ef.PiecewiseConstant([0.0, task.T], [[0.7, 0.2]])
    exact = ef.gradient_flow(task.problem, schedule, task.theta0, ts=np.array([task.T])).end
    if method == "exponential":
        linear = linear_of(task)
        last = _exponential.Interval(linear, h).roll_out(linear.start, values, 2)[-1, -3:]
        return np.abs(linear.theta(last) - np.asarray(exact)).max()
    structure, numbers = take_apart(system_of(task, shared=False))
    program = shooting_program(structure, count, 1) if method == "shooting" else collocation_program(structure, count)
    point = program.feasible(np.asarray(task.theta0), values, [np.array([h]), *numbers])
    return np.abs(point[-1, -3:] - np.asarray(exact)).max()


def test_a_program_is_built_once_for_all_problems_of_a_shape(rng):
    for _ in range(3):
        task = random_task(rng, points=(1,))
        ef.optimal_schedule(task.problem, task.theta0, s=0.1, T=1.0, intervals=9, method="exponential")
    info = _exponential.exponential_program.cache_info()
    before = info.misses
    task = random_task(rng, points=(2,))
    ef.optimal_schedule(task.problem, task.theta0, s=0.2, T=1.3, intervals=9, method="exponential")
    assert _exponential.exponential_program.cache_info().misses == before


def test_equal_structures_share_a_translation(rng):
    structures = [take_apart(system_of(random_task(rng), shared=True))[0] for _ in range(2)]
    assert structures[0] == structures[1]
    assert translated_field(structures[0]) is translated_field(structures[1])


def test_the_translated_field_is_the_one_that_diffrax_integrates(rng):
    model = ef.MLP((2, 3, 1))
    data = ef.Dataset(rng.standard_normal((20, 2)), rng.standard_normal(20))
    problem = ef.Problem(model, ef.PseudoHuberLoss(0.5), data, [1, 7], l2=0.1, reduction="mean")
    structure, numbers = take_apart(RiskSystem(problem.risk, jnp.zeros(problem.dim), shared=False))
    theta, eps = model.init(jax.random.key(0)), jnp.array([0.3, 0.8])
    casadi = np.asarray(translated_field(structure)(theta, eps, *[number.ravel() for number in numbers])).ravel()
    # The same few hundred operations in another order.
    np.testing.assert_allclose(casadi, -problem.gradient(theta, eps), rtol=1e-12, atol=1e-13)


def test_an_untranslatable_model_names_its_primitive(rng):
    def apply(params, x):
        return jnp.sort(params)[0] * x[0]

    data = ef.Dataset(rng.standard_normal((5, 1)), rng.standard_normal(5))
    problem = ef.Problem(ef.FunctionModel(apply, jnp.ones(2)), ef.SquaredLoss(), data, [0], l2=1.0)
    structure, _ = take_apart(RiskSystem(problem.risk, jnp.zeros(2), shared=True))
    with pytest.raises(ValueError, match="sort"):
        translated_field(structure)


def test_a_program_that_would_run_for_hours_is_refused(rng, monkeypatch):
    monkeypatch.setattr(_program, "SIZE_LIMIT", 10_000)
    task = random_task(rng, points=(1,), d=5)
    with pytest.raises(ef.InputError, match="Use fewer intervals, a subsample of the data"):
        ef.optimal_schedule(task.problem, task.theta0, s=0.1, T=1.0, intervals=61, method="shooting")


def test_what_is_near_a_bound_is_moved_onto_it():
    values = np.array([-0.2, 1e-4, 0.01, 0.5, 0.9995, 1.0])
    assert _window.on_bounds(values, (0.0, 1.0), 1e-3).tolist() == [0.0, 0.0, 0.01, 0.5, 1.0, 1.0]
