"""Models without propagators: the adjoint route and the polish against known optima and each other; limits of time."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import epsflow as ef
from control_tools import polish
from epsflow.control import _mesh, _pontryagin, make_task
from epsflow.control._mesh import system_of
from epsflow.control.programs import _program, _transcription
from epsflow.control.programs._program import MAX_ITERATIONS
from epsflow.control.programs._transcription import take_apart, translated_field
from epsflow.control.terms._deadline import Deadline
from epsflow.control.terms._window import MeshWindow

OPTIMUM, SWITCH, T = 1.06312561447804595, 0.8147809854393819, 2.0  # a known extremal of this problem, to 17 digits
N = 20


class SquaredInDisguise(ef.LogisticLoss):
    """½(f − y)², but not recognised as linear regression."""

    def __call__(self, output, target):
        return 0.5 * (output - target) ** 2

    def check(self, shape, targets):
        pass


@pytest.fixture(scope="module")
def disguised(row_one):
    return ef.Problem(ef.LinearModel(2), SquaredInDisguise(), row_one.data, delete=[2])


@pytest.fixture(scope="module")
def found(disguised):
    return ef.optimal_schedule(disguised, jnp.zeros(2), s=0.0, T=T, intervals=N, method="adjoint")


def test_known_optimum_by_the_adjoint_route(found):
    # Switch times from steps that change the cost by 1e-9 at most; the cost is stationary, and simulated anew at 1e-10.
    assert found.cost == pytest.approx(OPTIMUM, rel=1e-9)
    assert found.arcs[0].end == pytest.approx(SWITCH, abs=1e-7)
    assert [arc.kind for arc in found.arcs] == ["high", "low"]
    assert (found.status, found.scope) == (ef.Status.BANG_BANG, ef.Scope.LOCAL)
    assert found.pmp_gap <= 1e-12 * found.cost
    assert (found.method, found.polished) == (ef.SearchMethod.ADJOINT, True)
    assert all(run.success and run.sweeps > 0 for run in found.candidates)


def test_second_order_condition_is_the_exact_one(found, row_one, zero):
    exact = polish(make_task(row_one, zero, s=0.0, T=T), ef.Step(SWITCH))
    second = found.second_order
    np.testing.assert_allclose(second.gradient, 0.0, atol=1e-12)
    # Central differences over 2e-4: their square times third derivatives of order one.
    np.testing.assert_allclose(second.hessian, exact.second_order.hessian, rtol=1e-6)
    assert second.least_curvature == pytest.approx(exact.second_order.least_curvature, rel=1e-6)


@pytest.mark.slow  # two paths through diffrax and one by steps
def test_a_smooth_schedule_of_a_large_model_is_read_at_middles(disguised, zero, monkeypatch):
    schedule = ef.LinearDecay(0.0, T)
    window = {"s": 0.0, "T": T, "bounds": (0.0, 1.0), "target": make_task(disguised, zero, s=0.0, T=T).target}
    smooth = ef.extremal(disguised, schedule, zero, **window)
    monkeypatch.setattr(_pontryagin, "DENSE_DIM", 1)
    sampled = ef.extremal(disguised, schedule, zero, **window)
    assert (smooth.method, sampled.method) == ("diffrax", "adjoint")
    ts = np.linspace(0.0, T, 9)
    # A slope read at the middles of intervals of h = 1/64 leaves h²/12 = 2e-5 of derivatives that are of order one.
    for one, other in ((sampled.theta, smooth.theta), (sampled.costate, smooth.costate)):
        np.testing.assert_allclose(one(ts), other(ts), atol=4e-5)
    np.testing.assert_allclose(sampled.switching(ts), smooth.switching(ts), atol=4e-5)
    np.testing.assert_allclose(sampled.zeros[0], smooth.zeros[0], atol=1e-4)
    assert sampled.cost == pytest.approx(smooth.cost, rel=1e-4)


def test_an_untranslatable_model_is_told_of_the_adjoint_route(sorting):
    with pytest.raises(ef.InputError, match=r"'sort'.*method=\"adjoint\""):
        ef.optimal_schedule(*sorting, s=0.0, T=1.0, intervals=4, target=jnp.zeros(2), method="shooting")


@pytest.mark.slow
def test_auto_takes_the_adjoint_route_for_an_untranslatable_model(sorting):
    found = ef.optimal_schedule(*sorting, s=0.0, T=1.0, intervals=4, target=jnp.zeros(2))
    assert (found.method, found.scope) == (ef.SearchMethod.ADJOINT, ef.Scope.LOCAL)


@pytest.fixture
def sorting(rng):
    """A model that CasADi has no words for, and where it starts."""

    def apply(params, x):
        return jnp.sort(params)[0] * x[0]

    data = ef.Dataset(rng.standard_normal((5, 1)), rng.standard_normal(5))
    problem = ef.Problem(ef.FunctionModel(apply, jnp.ones(2)), ef.SquaredLoss(), data, [0], l2=1.0)
    return problem, jnp.array([1.0, 2.0])


def test_auto_leaves_large_models_to_the_adjoint_route(disguised, zero, monkeypatch):
    task = make_task(disguised, zero, s=0.0, T=T)
    setting = _setting(task)
    assert _mesh.choose_method(setting, N) is ef.SearchMethod.SHOOTING
    monkeypatch.setattr(_mesh, "QUICK_LIMIT", 100)
    assert _mesh.choose_method(setting, N) is ef.SearchMethod.ADJOINT
    assert _mesh.choose_program(setting, N) is ef.SearchMethod.SHOOTING
    monkeypatch.setattr(_mesh, "PROGRAM_LIMIT", 100)
    assert _mesh.choose_program(setting, N) is None


def test_auto_leaves_stiff_models_to_collocation(disguised, zero, monkeypatch):
    setting = _setting(make_task(disguised, zero, s=0.0, T=T))
    monkeypatch.setattr(_mesh, "QUICK_LIMIT", 100)
    monkeypatch.setattr(_mesh, "SUBSTEP_LIMIT", 0)
    assert _mesh.choose_method(setting, N) is ef.SearchMethod.COLLOCATION


def test_counted_operations_are_those_of_the_translation(disguised, zero):
    system = system_of(make_task(disguised, zero, s=0.0, T=T), shared=True)
    held = translated_field(take_apart(system)[0]).n_instructions()
    assert 0.5 * held <= _mesh.operations(system) <= 2.0 * held


def _setting(task):
    window = MeshWindow(task.T - task.s, task.bounds, 1.0)
    return _mesh.Setting(system_of(task, shared=True), task.theta_s, task.s, window, Deadline(None))


# ---- limits -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [pytest.param("collocation", marks=pytest.mark.slow), "adjoint"])
def test_time_limit_keeps_the_best_and_does_not_call_it_verified(method, disguised, zero, found):
    options = {"s": 0.0, "T": T, "intervals": N, "method": method, "time_limit": 1e-6}
    with pytest.raises(ef.ConvergenceError, match=r"limit was reached after 1 of the starts.*`\.result`") as caught:
        ef.optimal_schedule(disguised, zero, **options)
    kept = caught.value.result
    assert (kept.status, kept.scope) == (ef.Status.UNVERIFIED, ef.Scope.NONE)
    assert len(kept.candidates) == 1
    assert found.cost < kept.cost <= ef.certify(disguised, ef.Step(0.0), zero, s=0.0, T=T).cost * (1.0 + 1e-9)
    assert ef.optimal_schedule(disguised, zero, **options, throw=False).cost == pytest.approx(kept.cost, rel=1e-9)


def test_a_certificate_stands_though_time_is_up(rng):
    """Linear regression is polished all the same, in a moment; where signs are settled its bound takes no search."""
    x, y = rng.standard_normal((8, 3)), 3.0 * rng.standard_normal(8)
    y[0] += 30.0  # an outlier's residual keeps its sign
    problem, options = ef.linear_regression(ef.Dataset(x, y), [0]), {"method": "exponential", "time_limit": 1e-6}
    solved = ef.optimal_schedule(problem, np.zeros(3), s=0.0, T=1.0, intervals=N, **options)
    assert (solved.status, solved.scope) == (ef.Status.BANG_BANG, ef.Scope.GLOBAL)


def test_ipopt_stops_between_two_iterations(disguised, zero):
    """Its own word for it, after one iteration instead of the dozen that it needs."""
    task = make_task(disguised, zero, s=0.0, T=T)
    setting = _setting(task)
    guess = {"half way": np.full((N, 1), 0.5)}
    (free,) = _mesh.search_by_program(setting, guess, ef.SearchMethod.COLLOCATION)
    late = setting._replace(deadline=_passed())
    (cut,) = _mesh.search_by_program(late, guess, ef.SearchMethod.COLLOCATION)
    assert (free.status, free.success) == ("Solve_Succeeded", True)
    assert (cut.status, cut.success) == ("User_Requested_Stop", False)
    assert cut.iterations < free.iterations < MAX_ITERATIONS


def _passed():
    deadline = Deadline(1e-9)
    while not deadline.passed:
        time.sleep(1e-6)
    return deadline


@pytest.mark.slow  # the rest of the route: a program, a costate
def test_a_program_that_fails_says_so_and_keeps_its_best(disguised, zero, monkeypatch):
    monkeypatch.setattr(_program, "MAX_ITERATIONS", 1)
    _transcription.collocation_program.cache_clear()
    options = {"s": 0.0, "T": T, "intervals": 9, "method": "collocation"}
    try:
        with pytest.raises(ef.ConvergenceError, match=r"IPOPT failed .* \(Maximum_Iterations_Exceeded\)") as caught:
            ef.optimal_schedule(disguised, zero, **options)
    finally:
        _transcription.collocation_program.cache_clear()
    kept = caught.value.result
    assert (kept.status, kept.scope) == (ef.Status.UNVERIFIED, ef.Scope.NONE)
    assert kept.trouble.startswith("IPOPT failed from all")
    # The best of what there is: polished, it is the optimum all the same, which no solver vouches for.
    assert kept.cost <= ef.certify(disguised, ef.Step(0.0), zero, s=0.0, T=T).cost


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan")])
def test_a_time_limit_is_a_positive_number(row_one, zero, limit):
    with pytest.raises(ef.InputError, match="time_limit"):
        ef.optimal_schedule(row_one, zero, s=0.0, T=T, time_limit=limit)


def test_a_window_too_short_for_its_intervals_is_refused(row_one, zero):
    with pytest.raises(ef.InputError, match="cannot hold 100 intervals"):
        ef.optimal_schedule(row_one, zero, s=1.0, T=1.0 + 1e-13)


def test_a_short_window_that_holds_them_is_solved(row_one, zero):
    short = ef.optimal_schedule(row_one, zero, s=1.0, T=1.0 + 1e-6, method="exponential", intervals=10)
    assert short.cost <= ef.certify(row_one, ef.Step(1.0), zero, s=1.0, T=1.0 + 1e-6).cost * (1.0 + 1e-12)


def test_a_network_too_large_for_its_optimum_needs_a_target(rng):
    data = ef.Dataset(rng.standard_normal((4, 64)), np.arange(4.0))
    problem = ef.Problem(ef.MLP((64, 150, 10)), ef.SoftmaxCrossEntropy(), data, [0], l2=0.1)
    with pytest.raises(ef.InputError, match=r"11260 parameters is out of reach.*Give a target"):
        ef.optimal_schedule(problem, jnp.zeros(11260), s=0.0, T=1.0)


@pytest.mark.slow
@pytest.mark.parametrize(("s", "T"), [(0.0, 2.5), (0.0, 0.7), (0.3, 2.5)])
def test_windows_to_which_the_durations_of_pieces_do_not_add_up(s, T):
    """x = (1, 1), y = (0, 1), the second point deleted: ε can hold θ anywhere below ½, so the target is reached.

    Nothing certifies so of a model in general: the schedule is not called exact.
    """
    model = ef.FunctionModel(lambda params, x: params[0] * x[0], jnp.zeros(1))
    data = ef.Dataset(np.ones((2, 1)), np.array([0.0, 1.0]))
    problem = ef.Problem(model, ef.SquaredLoss(), data, [1])
    solved = ef.optimal_schedule(problem, jnp.zeros(1), s=s, T=T, target=jnp.array([0.3]))
    assert solved.cost <= 1e-12 * 0.5 * 0.3**2
    assert solved.status is not ef.Status.EXACT


# ---- the models of the notes, and real data ---------------------------------------------------------------------


@pytest.mark.slow
def test_three_neurons():
    """The notes' network with two deleted points, one ε each: four switches, and all routes agree on them."""
    rng, model = np.random.default_rng(3), ef.MLP((1, 3, 1))
    x = rng.standard_normal((20, 1))
    y = np.tanh(2.0 * x[:, 0]) + 0.1 * rng.standard_normal(20)
    problem = ef.Problem(model, ef.SquaredLoss(), ef.Dataset(x, y), [3, 7], l2=0.05)
    start = model.init(jax.random.key(1))
    runs = [
        ef.optimal_schedule(problem, start, s=0.1, T=2.6, intervals=N, method=method, per_point=True)
        for method in ("shooting", "adjoint")
    ]
    for run in runs:
        assert run.scope is ef.Scope.LOCAL
        # Two components that switched together on the mesh, at 2.515, switch apart.
        first = [arc.end for arc in run.arcs if arc.point == 0]
        assert first == pytest.approx([0.34279, 0.56433, 2.51861, 2.6], abs=1e-5)
        assert run.second_order.least_curvature > 0.0
        assert run.pmp_gap <= 1e-12 * run.cost
    assert runs[0].cost == pytest.approx(runs[1].cost, rel=1e-10)
    assert runs[0].cost < ef.best_in_family(problem, ef.Step, start, s=0.1, T=2.6).cost


@pytest.mark.slow
def test_breast_cancer():
    """All 569 points, too many for a program: auto takes the adjoint route. The best single switch is the optimum."""
    data = ef.load_dataset("breast_cancer")
    problem = ef.Problem(ef.LinearModel(30), ef.LogisticLoss(), data, [38], l2=0.01, reduction="mean")
    solved = ef.optimal_schedule(problem, jnp.zeros(30), s=5.0, T=25.0, intervals=40)
    step = ef.best_in_family(problem, ef.Step, jnp.zeros(30), s=5.0, T=25.0, grid=21)
    assert (solved.method, solved.polished) == (ef.SearchMethod.ADJOINT, True)
    assert solved.scope is ef.Scope.LOCAL
    # A scan sees the cost alone, and so half the digits of τ.
    assert solved.arcs[0].end == pytest.approx(step.parameters["τ"], abs=1e-3)
    assert solved.cost <= step.cost * (1.0 + 1e-9)
    assert solved.pmp_gap <= 1e-9 * solved.cost


@pytest.mark.slow
def test_eleven_thousand_parameters():
    """Digits, 60 of them, a network of 11,260 weights: S is sampled, nothing of size d² is formed."""
    data, model = ef.load_dataset("digits").subsample(60, seed=0), ef.MLP((64, 150, 10))
    problem = ef.Problem(model, ef.SoftmaxCrossEntropy(), data, [3, 17], l2=1e-3, reduction="mean")
    start = model.init(jax.random.key(0))
    retrained = ef.gradient_flow(problem, ef.Constant(0.0), start, ts=np.array([1.5])).end
    solved = ef.optimal_schedule(problem, start, s=0.5, T=1.5, intervals=8, target=retrained)
    assert solved.method is ef.SearchMethod.ADJOINT
    assert solved.extremal.method == "adjoint"
    assert solved.scope is ef.Scope.LOCAL
    end = ef.gradient_flow(problem, solved.schedule, start, ts=np.array([1.5])).end
    assert solved.cost == pytest.approx(0.5 * float(jnp.sum((end - retrained) ** 2)), rel=1e-6)
