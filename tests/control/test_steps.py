"""Optimal schedules of gradient descent: known optima, all bang-bang weights, the flow as the step vanishes."""

import itertools

import numpy as np
import pytest

import epsflow as ef
import reference
from epsflow.control._descent import restarted
from epsflow.control._task import descent_of, make_task
from epsflow.control.steps._optimum import step_optimum, weights_cost
from epsflow.control.systems._steps import GradientSteps, HeavyBall

FLOW = 1.06312561447804595
"""The optimum of the flow for T = 2, to 17 digits."""

KNOWN = {20: (1.011205, 0.800), 200: (1.058079, 0.810), 2000: (1.062622, 0.814)}
"""Optimum and switch in units of time, by an independent script; to the digits printed."""


@pytest.mark.parametrize("count", [20, 200, pytest.param(2000, marks=pytest.mark.slow)])
def test_known_optima_are_found_and_certified(row_one, zero, count):
    best = ef.optimal_schedule(row_one, zero, s=0, T=count, step_size=2.0 / count)
    cost, switch = KNOWN[count]
    assert best.cost == pytest.approx(cost, abs=5e-7)
    assert best.arcs[0].end * 2.0 / count == pytest.approx(switch, abs=5e-4)
    assert best.scope is ef.Scope.GLOBAL
    assert best.status is ef.Status.BANG_BANG


def test_the_flow_is_the_limit_of_small_steps(row_one, zero):
    lacks = [
        FLOW - ef.optimal_schedule(row_one, zero, s=0, T=count, step_size=2.0 / count).cost for count in (50, 100, 200)
    ]
    # O(η): halving η halves what is lacking, up to the next order, which is some η = 4% of it at first.
    assert np.divide(lacks[:-1], lacks[1:]) == pytest.approx([2.0, 2.0], abs=0.08)


def made(seed: int, *, points: int, momentum: float, share: float):
    """A random problem in 12 weights, `share` of the largest stable step, and its linear task."""
    rng = np.random.default_rng(seed)
    d = int(rng.integers(1, 5))
    x = rng.standard_normal((d + points + 3, d))
    y = x @ rng.standard_normal(d) + rng.standard_normal(len(x))
    problem = ef.linear_regression(ef.Dataset(x, y), delete=list(range(points)))
    low, s = float(rng.choice([-0.5, 0.0])), int(rng.integers(0, 4))
    size = share * 2.0 / np.linalg.eigvalsh(x.T @ x)[-1]
    theta0 = 2.0 * rng.standard_normal(d)
    question = {"s": s, "T": s + 12 // points, "bounds": (low, 1.0)}
    task = make_task(problem, theta0, **question, step_size=size, momentum=momentum)
    return problem, theta0, question | {"step_size": size, "momentum": momentum}, task


def least_of_all(problem: ef.Problem, theta0: np.ndarray, question: dict, target: np.ndarray) -> float:
    """The least cost of all weights on the bounds, by gradient descent written out."""
    x, y, points = np.asarray(problem.data.x), np.asarray(problem.data.y), problem.delete.size
    s, count = question["s"], question["T"] - question["s"]
    rows = np.array(list(itertools.product(question["bounds"], repeat=count * points))).reshape(-1, count, points)
    theta, velocity = np.tile(theta0, (len(rows), 1)), np.zeros((len(rows), len(theta0)))
    for k in range(s + count):
        weights = np.ones((len(rows), len(x)))
        weights[:, :points] = 1.0 if k < s else rows[:, k - s]
        velocity = question["momentum"] * velocity - question["step_size"] * (weights * (theta @ x.T - y)) @ x
        theta = theta + velocity
    return float(0.5 * np.square(theta - target).sum(axis=1).min())


@pytest.mark.parametrize("share", [0.05, 0.3, 0.95])
@pytest.mark.parametrize("momentum", [0.0, 0.7])
@pytest.mark.parametrize("points", [1, 2])
@pytest.mark.parametrize("seeds", [range(2), pytest.param(range(2, 40), marks=pytest.mark.slow)], ids=["few", "many"])
def test_no_bang_bang_weights_are_below_the_bound(points, momentum, share, seeds):
    closed = 0
    for seed in seeds:
        problem, theta0, question, task = made(seed, points=points, momentum=momentum, share=share)
        best = ef.optimal_schedule(problem, theta0, **question, per_point=True)
        least = least_of_all(problem, theta0, question, np.asarray(task.target))
        # Both are sums of a dozen terms of the size of the start.
        rounding = best.cost_error + 1e-13 * task.initial
        assert best.lower_bound <= least + rounding
        assert best.lower_bound <= best.cost
        assert best.cost <= least * (1.0 + 1e-9) + rounding
        closed += best.scope in (ef.Scope.GLOBAL, ef.Scope.WITHIN_ERROR)
    # What is left open are sets in which a residual is held at zero, which large steps and momentum favour.
    assert closed >= (0.95 if share < 0.9 and momentum == 0.0 else 0.5) * len(seeds)


@pytest.mark.parametrize("points", [1, 2])
def test_an_optimum_has_fewer_weights_between_the_bounds_than_parameters(points):
    # Each of them answers for one direction in which δ_N could move, and at 𝓔 > 0 one direction is the costate's.
    seen = 0
    for seed in range(40):
        problem, theta0, question, task = made(seed, points=points, momentum=0.0, share=0.3)
        best = ef.optimal_schedule(problem, theta0, **question, per_point=True)
        if best.cost <= best.cost_error or best.scope is not ef.Scope.GLOBAL:
            continue
        weights, (low, high) = np.asarray(best.schedule.values), task.bounds
        inside = (weights > low) & (weights < high)
        assert inside.sum() <= max(1, len(task.linear.rates) - 1)
        seen += inside.any()
    assert seen >= 3  # or nothing was tested


def test_the_cost_is_that_of_gradient_descent(row_one, zero):
    eta, s, T = 0.1, 2, 12
    best = ef.optimal_schedule(row_one, zero, s=s, T=T, step_size=eta)
    in_time = ef.PiecewiseConstant(eta * best.schedule.knots, best.schedule.values)
    end = ef.gradient_descent(row_one, in_time, zero, steps=T, step_size=eta).end
    assert best.cost == pytest.approx(0.5 * float(((end - best.task.target) ** 2).sum()), rel=1e-12)
    assert np.asarray(best.extremal.theta(float(T))) == pytest.approx(np.asarray(end), rel=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.7])
def test_the_switching_function_is_the_derivative_by_each_weight(row_one, zero, momentum):
    question = {"s": 1, "T": 6, "step_size": 0.2, "momentum": momentum}
    knots, weights = np.arange(1.0, 7.0), np.array([0.9, 0.1, 0.4, 0.7, 0.3])

    def cost(values):
        return ef.certify(row_one, ef.PiecewiseConstant(knots, values), zero, **question).cost

    found = ef.extremal(row_one, ef.PiecewiseConstant(knots, weights), zero, **question)
    # The cost is a quadratic of each weight: central differences are exact to rounding over their width.
    differences = [(cost(weights + 1e-3 * unit) - cost(weights - 1e-3 * unit)) / 2e-3 for unit in np.eye(5)]
    assert np.asarray(found.switching(knots[:-1] + 0.5)) == pytest.approx(differences, rel=1e-8, abs=1e-11)


def test_other_models_have_exact_gradients_and_a_local_claim():
    rng = np.random.default_rng(5)
    data = ef.Dataset(rng.standard_normal((12, 3)), (rng.random(12) > 0.5).astype(float))
    problem = ef.Problem(ef.LinearModel(3), ef.LogisticLoss(), data, [0, 1], l2=0.5)
    start, target = np.array([1.0, -1.0, 0.5]), np.zeros(3)
    weights = np.array([[0.2, 0.9], [0.5, 0.1], [0.0, 1.0]])

    def slopes(values):
        ball = HeavyBall(problem.risk, start, np.zeros(3), 0.3, 0.6)
        return GradientSteps(ball, ef.Distance(), target).path(values)

    exact = slopes(weights)
    moved = [
        slopes(weights + 1e-5 * unit).value - slopes(weights - 1e-5 * unit).value for unit in np.eye(6).reshape(6, 3, 2)
    ]
    # Truncation is of the square of the width, 1e-10; rounding 1e-16/1e-5.
    assert exact.weights.ravel() == pytest.approx(np.array(moved) / 2e-5, rel=1e-7, abs=1e-10)
    best = ef.optimal_schedule(problem, start, s=2, T=8, step_size=0.2)
    assert best.scope is ef.Scope.LOCAL
    step = ef.best_in_family(problem, ef.Step, start, s=2, T=8, step_size=0.2)
    assert best.cost <= step.cost * (1.0 + 1e-9)


def test_a_time_limit_ends_the_search_of_other_models():
    rng = np.random.default_rng(5)
    data = ef.Dataset(rng.standard_normal((12, 3)), (rng.random(12) > 0.5).astype(float))
    problem = ef.Problem(ef.LinearModel(3), ef.LogisticLoss(), data, [0, 1], l2=0.5)
    question = {"s": 2, "T": 8, "step_size": 0.2, "time_limit": 1e-9}
    with pytest.raises(ef.ConvergenceError, match="the time limit was reached"):
        ef.optimal_schedule(problem, np.ones(3), **question)
    left = ef.optimal_schedule(problem, np.ones(3), **question, throw=False)
    assert left.scope is ef.Scope.NONE
    assert np.isfinite(left.cost)


def test_exact_unlearning_takes_the_fewest_steps(two_rows):
    # θ_{k+1} = θ_k + η(1 − θ_k) + ηε(2 − θ_k) from 0: with ε = 1 it is 1.5(1 − 0.8^k) for η = 0.1, above 1 from k = 5.
    best = ef.optimal_schedule(two_rows, np.zeros(1), s=0, T=40, step_size=0.1)
    assert best.status is ef.Status.EXACT
    assert best.scope is ef.Scope.GLOBAL
    assert best.cost <= best.cost_error
    weights = np.asarray(best.schedule.values)
    assert (weights[:5] == 1.0).sum() == 4
    assert (weights[:5] > 0.0).all()
    assert (weights[5:] == 0.0).all()
    assert np.asarray(best.extremal.theta(5.0)) == pytest.approx([1.0], abs=1e-14)


def test_a_table_of_families_is_evaluated_step_by_step(row_one, zero):
    table = ef.compare_schedules(
        row_one, zero, s=5, T=40, step_size=0.05, families=(ef.Step, ef.LinearDecay), optimum=True
    )
    step, decay = table.families
    taus = np.arange(5, 41)
    costs = [ef.certify(row_one, ef.Step(float(tau)), zero, s=5, T=40, step_size=0.05).cost for tau in taus[::5]]
    assert step.cost <= min(costs)
    # The mean of a line over a step is its middle, which is what `gradient_descent` reads.
    t1 = decay.parameters["t₁"]
    in_time = ef.LinearDecay(0.25, 0.05 * float(np.ceil(t1)))
    end = ef.gradient_descent(row_one, in_time, zero, steps=40, step_size=0.05).end
    whole = ef.certify(row_one, ef.LinearDecay(5.0, float(np.ceil(t1))), zero, s=5, T=40, step_size=0.05)
    assert whole.cost == pytest.approx(0.5 * float(((end - table.task.target) ** 2).sum()), rel=1e-12)
    assert table.optimum.cost <= min(step.cost, decay.cost, whole.cost)


def test_a_solution_in_steps_survives_json(row_one, zero):
    best = ef.optimal_schedule(row_one, zero, s=2, T=20, step_size=0.1, momentum=0.3)
    again = ef.ScheduleSolution.from_json(best.to_json(), row_one)
    assert (again.cost, again.lower_bound, again.scope) == (best.cost, best.lower_bound, best.scope)
    assert np.array_equal(again.schedule.values, best.schedule.values)
    assert np.array_equal(again.switching(5.0), best.switching(5.0))
    task = restarted(again.task.linear, 0.1, 0.3)
    assert weights_cost(task, np.asarray(best.schedule.values)[:, None]) == pytest.approx(best.cost, rel=1e-12)


@pytest.mark.parametrize("asked", [{"price": 0.3}, {"budget": 0.7}, {"price": 0.05, "budget": 0.7}], ids=str)
def test_no_weights_on_a_lattice_are_worth_more_within_a_budget_and_at_a_price(row_one, zero, asked):
    best = ef.optimal_schedule(row_one, zero, s=0, T=4, step_size=0.4, **asked)
    price, budget = asked.get("price", 0.0), asked.get("budget", np.inf)
    rows = np.array(list(itertools.product(np.linspace(0.0, 1.0, 9), repeat=4)))
    rows = rows[rows.sum(axis=1) <= budget]
    costs = descent_of(best.task).many(rows[:, :, None]) + price * rows.sum(axis=1)
    assert best.objective <= costs.min() * (1.0 + 1e-9)
    assert best.effort <= budget * (1.0 + 1e-9)
    assert best.scope is ef.Scope.LOCAL


def test_a_shared_weight_is_held_against_the_bound_of_one_each():
    problem, theta0, question, _ = made(3, points=2, momentum=0.0, share=0.05)
    shared = ef.optimal_schedule(problem, theta0, **question)
    own = ef.optimal_schedule(problem, theta0, **question, per_point=True)
    assert np.asarray(shared.schedule.values).ndim == 1
    assert own.lower_bound <= own.cost * (1.0 + 1e-12) <= shared.cost * (1.0 + 1e-9)
    assert shared.lower_bound == pytest.approx(own.lower_bound, rel=1e-6)


def test_a_deadline_leaves_a_bound(row_one, zero):
    task = make_task(row_one, zero, s=0, T=60, step_size=2.0 / 60)
    steps = restarted(task.linear, task.step_size, 0.0)
    brief = step_optimum(steps, max_sets=0)
    assert 0.0 <= brief.lower_bound <= weights_cost(steps, brief.weights[:, None])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"step_size": 5.0}, r"stable up to 2/λ_max = 0\.9037"),
        ({"step_size": 4.0, "momentum": 0.9}, r"stable up to 2\(1 \+ β\)/λ_max = 1\.717"),
        ({"step_size": 0.1, "s": 0.5}, r"s and T count steps: s = 0\.5 is no whole number"),
        ({"step_size": -1.0}, "a positive number is needed"),
        ({"momentum": 0.5}, "belongs to gradient descent: give its step_size"),
        ({"step_size": 0.1, "momentum": 1.0}, r"must lie in \[0, 1\)"),
        ({"step_size": 0.1, "method": "qp"}, "is for the flow"),
    ],
)
def test_what_makes_no_sense_in_steps_is_refused(row_one, zero, wrong, words):
    with pytest.raises(ef.InputError, match=words):
        ef.optimal_schedule(row_one, zero, **{"s": 0, "T": 4} | wrong)


def test_the_reference_agrees_on_the_flow(row_one):
    system = reference.split_system(np.asarray(row_one.data.x), np.asarray(row_one.data.y), [2])
    assert reference.schedule_cost(system, np.zeros(2), [0.0, 0.8147809854393819, 2.0], [1.0, 0.0])[0] == pytest.approx(
        FLOW, rel=1e-12
    )
