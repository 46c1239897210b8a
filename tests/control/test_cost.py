"""Costs of θ(T) other than the distance: certified against every schedule, and each equal to what it says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import epsflow as ef
import reference
from control_tools import dual_bound, maximise_dual
from epsflow.control import make_task
from epsflow.control.programs._transcription import take_apart, translated_terminal
from epsflow.control.systems._system import RiskSystem
from epsflow.control.terms._cost import cost_and_gradient

S, T = 0.2, 2.0
COSTS = {
    "W": ef.QuadraticForm([[2.0, 0.5, 0.0], [0.5, 1.0, -0.3], [0.0, -0.3, 0.4]]),
    "factor": ef.QuadraticForm(factor=[[1.0, 2.0, 0.0], [0.0, 1.0, -1.0]]),
    "predictions": ef.PredictionGap(np.array([[1.0, 0.0, 2.0], [0.5, 1.0, 0.0], [0.0, 3.0, 1.0], [1.0, 1.0, 1.0]])),
    "retained": ef.RetainedLoss(),
}
each_cost = pytest.mark.parametrize("cost", COSTS.values(), ids=COSTS)


@pytest.fixture(scope="module")
def problem():
    """The deleted point is an outlier, so that its residual keeps its sign."""
    rng = np.random.default_rng(4)
    y = np.append(30.0, 3.0 * rng.standard_normal(6))
    return ef.linear_regression(ef.Dataset(rng.standard_normal((7, 3)), y), [0])


START = np.array([1.0, -2.0, 0.5])


def weight_of(cost, problem):
    """W of each cost, written out."""
    x = np.asarray(problem.data.x)
    if isinstance(cost, ef.PredictionGap):
        return np.asarray(cost.x).T @ np.asarray(cost.x) / len(cost.x)
    if isinstance(cost, ef.RetainedLoss):
        return x[1:].T @ x[1:]
    return np.asarray(cost.factor).T @ np.asarray(cost.factor)


@each_cost
def test_optimum_is_certified_and_nothing_tried_is_cheaper(problem, cost, rng):
    found = ef.optimal_schedule(problem, START, s=S, T=T, cost=cost)
    assert found.scope is ef.Scope.GLOBAL
    assert 0.0 <= found.gap <= 1e-9 * found.cost
    assert found.pmp_gap <= 1e-10 * found.cost
    system, w = reference.split_system(problem.data.x, problem.data.y, [0]), weight_of(cost, problem)
    theta_s = np.asarray(found.task.theta_s)
    for _ in range(60):
        knots = np.sort(np.r_[S, rng.uniform(S, T, 2), T])
        delta = reference.propagate(system, theta_s, knots, rng.choice([0.0, 1.0], 3))[-1] - system.target
        assert 0.5 * delta @ w @ delta >= found.lower_bound * (1.0 - 1e-9)
    # The reported cost is δᵀWδ/2 of an independent flow.
    switches = [arc.end for arc in found.arcs[:-1]]
    levels = [arc.level for arc in found.arcs]
    delta = reference.propagate(system, theta_s, [S, *switches, T], levels)[-1] - system.target
    assert found.cost == pytest.approx(0.5 * delta @ w @ delta, rel=1e-9)


@each_cost
def test_dual_gradient_and_its_maximum(problem, cost, rng):
    task = make_task(problem, START, s=S, T=T, cost=cost)
    z, direction, h = rng.standard_normal(3), rng.standard_normal(3), 1e-5
    up, down = (dual_bound(task, z + sign * h * direction).value for sign in (1, -1))
    assert (up - down) / (2 * h) == pytest.approx(float(dual_bound(task, z).gradient @ direction), rel=1e-6)
    best = ef.optimal_schedule(problem, START, s=S, T=T, cost=cost).cost
    assert maximise_dual(task, z).value == pytest.approx(best, rel=1e-6)


def test_identity_is_the_distance(problem):
    plain, same = (ef.optimal_schedule(problem, START, s=S, T=T, cost=c) for c in (None, ef.QuadraticForm(np.eye(3))))
    assert same.cost == pytest.approx(plain.cost, rel=1e-12)
    np.testing.assert_allclose(same.arcs[0].end, plain.arcs[0].end, atol=1e-10)


@each_cost
def test_costate_ends_with_the_gradient_of_the_cost(problem, cost):
    task = make_task(problem, START, s=S, T=T, cost=cost)
    window = {"s": S, "T": T, "bounds": (0.0, 1.0), "target": task.target}
    # Linear regression is propagated exactly; the decay takes the general route. Both end on ∇cost.
    for schedule in (ef.Step(0.7), ef.LinearDecay(S, 1.1)):
        path = ef.extremal(problem, schedule, jnp.asarray(START), **window, cost=cost)
        end = path.theta(T)
        value, slope = cost_and_gradient(cost, problem.risk, end, task.target)
        np.testing.assert_allclose(path.costate(T), slope, rtol=1e-8)
        np.testing.assert_allclose(slope, weight_of(cost, problem) @ (end - task.target), rtol=1e-10)
        assert path.cost == pytest.approx(float(value), rel=1e-12)


def test_families_and_comparison_minimise_the_same_cost(problem):
    table = ef.compare_schedules(
        problem, START, s=S, T=T, families=(ef.Step, ef.LinearDecay), cost=COSTS["predictions"]
    )
    w = weight_of(COSTS["predictions"], problem)
    system = reference.split_system(problem.data.x, problem.data.y, [0])

    def of_step(tau):
        delta = reference.propagate(system, START, [0.0, tau, T], [1.0, 0.0])[-1] - system.target
        return 0.5 * delta @ w @ delta

    step = table.families[0]
    assert step.cost == pytest.approx(of_step(step.parameters["τ"]), rel=1e-9)
    assert step.cost <= min(of_step(tau) for tau in np.linspace(S, T, 60)) * (1.0 + 1e-9)
    assert table.optimum.cost <= min(step.cost, table.families[1].cost) * (1.0 + 1e-9)


def test_retained_loss_needs_no_unique_optimum(rng):
    """With two equal columns θ*_{-D} is a line, on which the retained loss is the same."""
    x = rng.standard_normal((6, 2))
    data = ef.Dataset(np.hstack([x, x[:, :1]]), 3.0 * rng.standard_normal(6))
    problem = ef.linear_regression(data, [0])
    found = ef.optimal_schedule(problem, np.ones(3), s=0.0, T=1.0, cost=ef.RetainedLoss())
    retained = ef.linear_regression(ef.Dataset(data.x[1:], data.y[1:]))
    end = ef.gradient_flow(problem, found.schedule, np.ones(3), ts=np.array([1.0])).end
    least = float(retained.value(ef.equilibrium(retained).theta))
    assert found.cost == pytest.approx(float(retained.value(end)) - least, rel=1e-9)


@pytest.mark.slow
def test_other_models_take_the_same_costs():
    """Logistic regression by shooting: the reported retained loss is that of a flow, and beats every step."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((12, 2))
    data = ef.Dataset(x, (x[:, 0] + rng.standard_normal(12) > 0).astype(float))
    problem = ef.Problem(ef.LinearModel(2), ef.LogisticLoss(), data, [3], l2=0.1)
    window = {"s": 0.1, "T": 0.8, "cost": ef.RetainedLoss()}
    found = ef.optimal_schedule(problem, np.ones(2), **window, intervals=8, method="shooting")
    end = ef.gradient_flow(problem, found.schedule, np.ones(2), ts=np.array([0.8])).end
    expected = problem.value(end, 0.0) - problem.value(found.task.target, 0.0)
    assert found.cost == pytest.approx(float(expected), rel=1e-6)
    assert found.cost <= ef.best_in_family(problem, ef.Step, np.ones(2), **window).cost * (1.0 + 1e-6)


def test_costs_are_translated_with_the_model(rng):
    """What the transcriptions minimise is what JAX says, here for a logistic model."""
    data = ef.Dataset(rng.standard_normal((6, 2)), np.array([0.0, 1.0, 1.0, 0.0, 1.0, 0.0]))
    risk = ef.Problem(ef.LinearModel(2), ef.LogisticLoss(), data, [3], l2=0.1).risk
    theta, target = rng.standard_normal((2, 2))
    for cost in (ef.RetainedLoss(), ef.PredictionGap(data.x), ef.QuadraticForm(np.diag([1.0, 3.0]))):
        structure, numbers = take_apart(RiskSystem(risk, jnp.asarray(target), True, cost))
        translated = translated_terminal(structure)(theta, 0.1, *(np.ravel(number) for number in numbers))
        expected = cost.value(risk, jnp.asarray(theta), jnp.asarray(target))
        assert float(translated) == pytest.approx(float(expected), rel=1e-12)


def test_prediction_gap_of_a_network_is_a_mean_over_points():
    model = ef.MLP((1, 3, 1))
    x = np.linspace(-1.0, 1.0, 5)[:, None]
    problem = ef.Problem(model, ef.SquaredLoss(), ef.Dataset(x, x[:, 0]), [0], l2=0.1)
    theta, target = model.init(jax.random.key(0)), model.init(jax.random.key(1))
    value, _ = cost_and_gradient(ef.PredictionGap(x), problem.risk, theta, target)
    gaps = [float(jnp.sum((model(theta, row) - model(target, row)) ** 2)) for row in jnp.asarray(x)]
    assert float(value) == pytest.approx(0.5 * np.mean(gaps), rel=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ef.QuadraticForm(), "either the matrix W, or a factor"),
        (lambda: ef.QuadraticForm([[1.0, 2.0], [0.0, 1.0]]), r"W must be symmetric; \|W − Wᵀ\| is up to 2"),
        (lambda: ef.QuadraticForm([[1.0, 2.0, 3.0]]), "its shape is"),
        (lambda: ef.QuadraticForm([[1.0, 0.0], [0.0, -1.0]]), "eigenvalue -1"),
        (lambda: ef.QuadraticForm(np.zeros((2, 2))), "W is zero"),
        (lambda: ef.QuadraticForm([[np.nan]]), "finite"),
        (lambda: ef.PredictionGap(np.zeros(3)), "finite matrix"),
    ],
)
def test_costs_that_make_no_sense_are_refused(make, message):
    with pytest.raises(ef.InputError, match=message):
        make()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cost": ef.QuadraticForm(np.eye(2))}, "for 2 parameters; this problem has 3"),
        ({"cost": ef.PredictionGap(np.ones((4, 2)))}, "x has 2 features; the data of this problem 3"),
        ({"cost": ef.RetainedLoss(), "target": np.full(3, 9.0)}, "measured from its own minimum"),
    ],
)
def test_costs_that_do_not_fit_are_refused(problem, options, message):
    with pytest.raises(ef.InputError, match=message):
        ef.optimal_schedule(problem, START, s=S, T=T, **options)
