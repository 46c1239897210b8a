"""Optimal schedules against known optima, brute force, and each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import epsflow as ef
import reference
from epsflow.control import _mesh, make_task
from epsflow.control._mesh import Setting, system_of
from epsflow.control.programs import _exponential, _program
from epsflow.control.terms._deadline import Deadline
from epsflow.control.terms._window import MeshWindow

OPTIMUM, SWITCH, T = 1.06312561447804595, 0.8147809854393819, 2.0  # a known extremal of this problem, to 17 digits


@pytest.mark.parametrize("method", ["exponential", "shooting", "collocation", "adjoint"])
def test_every_transcription_finds_the_known_optimum(row_one, zero, method):
    task = make_task(row_one, zero, s=0.0, T=T)
    knots = np.linspace(0.0, T, 101)
    never = Deadline(None)
    setting = Setting(system_of(task, shared=True), task.theta_s, 0.0, MeshWindow(T, (0.0, 1.0), 1.0), never)
    runs = _mesh._run(
        task, setting, ef.SearchMethod(method), _mesh.guesses_of(task, knots, (), columns=1, step_until=never)
    )
    assert all(run.success for run in runs)
    best = min((ef.PiecewiseConstant(knots, run.values) for run in runs), key=lambda u: cost_of(row_one, u, zero))
    # The switch may lie anywhere in an interval of 0.02; smearing it over that interval costs the square of its width.
    assert cost_of(row_one, best, zero) == pytest.approx(OPTIMUM, rel=2e-5)
    assert float(jnp.sum(best.values) * T / 100) == pytest.approx(SWITCH, abs=0.02)


def test_refined_mesh_reaches_the_known_optimum_to_a_millionth(row_one, zero):
    found = ef.optimal_schedule(row_one, zero, s=0.0, T=T, intervals=400, method="exponential")
    knots = np.linspace(0.0, T, 401)
    on_mesh = min(cost_of(row_one, ef.PiecewiseConstant(knots, run.values), zero) for run in found.candidates)
    assert on_mesh == pytest.approx(OPTIMUM, rel=1e-6)
    assert found.cost <= on_mesh


def test_polished_optimum_is_exact(row_one, zero):
    found = ef.optimal_schedule(row_one, zero, s=0.0, T=T)
    assert found.cost == pytest.approx(OPTIMUM, rel=1e-13)  # a dozen roundings
    assert [arc.kind for arc in found.arcs] == ["high", "low"]
    assert found.arcs[0].end == pytest.approx(SWITCH, abs=1e-9)
    # e changes sign under some schedules, so the bound comes from branching on when it does.
    assert (found.status, found.scope) == (ef.Status.BANG_BANG, ef.Scope.GLOBAL)
    assert 0.0 <= found.gap <= 1e-6 * found.cost
    assert found.pmp_gap <= 1e-12


def test_exact_unlearning_is_its_own_status(two_rows):
    found = ef.optimal_schedule(two_rows, jnp.zeros(1), s=0.25, T=1.0)
    assert (found.status, found.scope) == (ef.Status.EXACT, ef.Scope.GLOBAL)
    assert found.cost < 1e-20
    at_half_log_three = ef.certify(two_rows, ef.Step(0.5 * np.log(3.0)), jnp.zeros(1), s=0.25, T=1.0)
    assert at_half_log_three.status is ef.Status.EXACT


def test_diabetes_is_certified_globally():
    data = ef.load_dataset("diabetes")
    found = ef.optimal_schedule(ef.linear_regression(data, [382], reduction="mean"), jnp.zeros(10), s=50.0, T=200.0)
    # Two independent codes agree on these digits (brute force over up to three switches, and a dual bound).
    assert found.cost == pytest.approx(0.000334361512967, rel=1e-10)
    assert found.arcs[0].end == pytest.approx(197.66012616, abs=1e-6)
    assert found.scope is ef.Scope.GLOBAL
    assert 0.0 <= found.gap <= 1e-9 * found.cost


def test_nothing_beats_dropping_the_point_once_training_has_converged(rng):
    data = ef.Dataset(rng.standard_normal((12, 3)), rng.standard_normal(12))
    problem = ef.linear_regression(data, [4])
    found = ef.optimal_schedule(problem, ef.equilibrium(problem).theta, s=0.0, T=0.5)
    assert [arc.kind for arc in found.arcs] == ["low"]
    assert found.scope is ef.Scope.GLOBAL


@pytest.mark.parametrize("seed", range(2))
def test_never_worse_than_brute_force(seed):
    rng = np.random.default_rng(seed)
    x, y, start = rng.standard_normal((6, 2)), 2.0 * rng.standard_normal(6), rng.standard_normal(2)
    found = ef.optimal_schedule(ef.linear_regression(ef.Dataset(x, y), [0]), start, s=0.1, T=1.1)
    system = reference.split_system(x, y, [0])
    brute = reference.bang_bang_optimum(system, start, 0.1, 1.1, max_switches=2)
    assert found.cost <= brute.cost * (1.0 + 1e-9) + found.cost_error


def test_per_point_weights_do_at_least_as_well_as_a_shared_one(rng):
    data = ef.Dataset(rng.standard_normal((8, 3)), 2.0 * rng.standard_normal(8))
    problem, start = ef.linear_regression(data, [0, 5]), rng.standard_normal(3)
    shared = ef.optimal_schedule(problem, start, s=0.0, T=0.6, method="exponential")
    each = ef.optimal_schedule(problem, start, s=0.0, T=0.6, method="exponential", per_point=True)
    assert each.cost <= shared.cost * (1.0 + 1e-9)
    assert {arc.point for arc in each.arcs} == {0, 1}
    assert {arc.point for arc in shared.arcs} == {None}


def test_bounds_and_admissibility(row_one, zero):
    found = ef.optimal_schedule(row_one, zero, s=0.3, T=T, bounds=(-0.5, 1.0))
    ef.check_admissible(found.schedule, 0.3, T, (-0.5, 1.0))
    assert found.cost <= ef.optimal_schedule(row_one, zero, s=0.3, T=T).cost
    assert found.switching(np.linspace(0.3, T, 5)).shape == (5,)


def test_rank_deficient_problem_needs_a_target(rng):
    x = rng.standard_normal((6, 2))
    problem = ef.linear_regression(ef.Dataset(np.hstack([x, x[:, :1]]), rng.standard_normal(6)), [0])
    with pytest.raises(ef.InputError, match=r"not unique: the retained points leave the direction .*x0.*x2"):
        ef.optimal_schedule(problem, jnp.zeros(3), s=0.0, T=1.0)
    target = ef.equilibrium(problem, eps=0.0, theta0=jnp.zeros(3)).theta
    found = ef.optimal_schedule(problem, jnp.zeros(3), s=0.0, T=1.0, target=target)
    baseline = ef.certify(problem, ef.Step(0.0), jnp.zeros(3), s=0.0, T=1.0, target=target)
    assert found.cost <= baseline.cost + baseline.cost_error


def test_mlp_is_solved_and_simulated():
    rng = np.random.default_rng(3)
    model, x = ef.MLP((1, 3, 1)), rng.standard_normal((8, 1))
    y = np.tanh(2.0 * x[:, 0]) + 0.1 * rng.standard_normal(8)
    problem = ef.Problem(model, ef.SquaredLoss(), ef.Dataset(x, y), [3], l2=0.05)
    start = model.init(jax.random.key(1))
    found = ef.optimal_schedule(problem, start, s=0.1, T=0.6, intervals=10, method="shooting")
    end = ef.gradient_flow(problem, found.schedule, start, ts=np.array([0.6])).end
    target = ef.equilibrium(problem, eps=0.0, theta0=start).theta
    # The reported cost is that of a flow from 0, whatever the program believed; diffrax's own error is below 1e-9.
    assert found.cost == pytest.approx(0.5 * float(jnp.sum((end - target) ** 2)), rel=1e-7)
    assert found.cost <= ef.best_in_family(problem, ef.Step, start, s=0.1, T=0.6).cost * (1.0 + 1e-6)
    assert found.scope is ef.Scope.LOCAL


def test_a_solver_that_fails_is_an_error_that_keeps_the_proposal(rng, monkeypatch):
    """Within a budget, which no certificate knows: none could stand in for the solver."""
    data = ef.Dataset(rng.standard_normal((8, 3)), 2.0 * rng.standard_normal(8))
    problem = ef.linear_regression(data, [0, 5])
    monkeypatch.setattr(_program, "MAX_ITERATIONS", 1)
    _exponential.exponential_program.cache_clear()
    try:
        with pytest.raises(ef.ConvergenceError, match=r"IPOPT failed from all 4 starts .*Maximum_Iterations") as raised:
            ef.optimal_schedule(problem, jnp.ones(3), s=0.0, T=0.6, intervals=7, method="exponential", budget=0.1)
        assert raised.value.result.status is ef.Status.UNVERIFIED
        assert raised.value.result.scope is ef.Scope.NONE
    finally:
        _exponential.exponential_program.cache_clear()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"s": -1.0}, "s is -1"),
        ({"T": 0.0}, "T = 0 must come after s = 0"),
        ({"T": np.inf}, "T is inf"),
        ({"bounds": (1.0, 0.0)}, "lower one must lie below"),
        ({"intervals": 0}, "intervals is 0"),
        ({"method": "magic"}, "unknown method 'magic'"),
        ({"target": np.zeros(3)}, "target has shape"),
    ],
)
def test_bad_questions_are_refused(row_one, zero, change, message):
    with pytest.raises(ef.InputError, match=message):
        ef.optimal_schedule(row_one, zero, **{"s": 0.0, "T": T, **change})


def test_a_problem_without_deletion_is_refused(zero):
    problem = ef.linear_regression(ef.Dataset(np.eye(2), np.ones(2)))
    with pytest.raises(ef.InputError, match="deletes no point"):
        ef.optimal_schedule(problem, zero, s=0.0, T=1.0)


def cost_of(problem, schedule, theta0):
    task = make_task(problem, theta0, s=0.0, T=T)
    end = ef.gradient_flow(problem, schedule, theta0, ts=np.array([T])).end
    return 0.5 * float(jnp.sum((end - task.target) ** 2))
