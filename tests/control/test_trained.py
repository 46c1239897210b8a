"""Schedules for training with an optimiser: exact gradients of the discrete training, seeds, switches, families."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.optimize import minimize

import epsflow as ef
from epsflow.control._task import make_task
from epsflow.control._trainings import Recipes
from epsflow.control.systems._steps import GradientSteps, HeavyBall

KEYS = jax.random.split(jax.random.key(11), 4)
ADAM, SGD = optax.adam(2e-2), optax.sgd(0.1)
RECIPES = Recipes(optimiser=ADAM, batch=5, key=KEYS[0])
CLIPPED = optax.chain(optax.clip_by_global_norm(0.3), optax.sgd(0.1, momentum=0.8))


def seeds_of(problem, theta0, s, T, *, cost=None, target=None, **recipes):
    task = make_task(problem, theta0, s=s, T=T, cost=cost, target=target, recipes=Recipes(**recipes))
    return task.trainings.seeds


def unrolled(problem, optimiser, theta0, batches, s, target):
    """½‖θ(T) − target‖² as a function of ε of the steps from s on, written out step by step."""
    x, y = jnp.asarray(problem.data.x), jnp.asarray(problem.data.y)

    def cost(weights):
        theta, state = jnp.asarray(theta0), optimiser.init(jnp.asarray(theta0))
        for k, points in enumerate(batches):
            eps = jnp.ones(weights.shape[1]) if k < s else weights[k - s]
            w = jnp.ones(len(x)).at[problem.delete].set(jnp.broadcast_to(eps, problem.delete.shape))[points]

            def value(t, points=points, w=w):
                outputs = jax.vmap(problem.model, in_axes=(None, 0))(t, x[points])
                return w @ (0.5 * (outputs - y[points]) ** 2) / len(points) + 0.5 * problem.l2 * t @ t

            moves, state = optimiser.update(jax.grad(value)(theta), state, theta)
            theta = theta + moves
        return 0.5 * jnp.sum((theta - target) ** 2)

    return cost


@pytest.mark.parametrize(
    ("optimiser", "columns"),
    [(ADAM, 2), pytest.param(CLIPPED, 1, marks=pytest.mark.slow)],
    ids=["adam, per point", "clipped momentum, shared"],
)
def test_the_gradient_is_that_of_the_unrolled_training(network, theta0, optimiser, columns):
    rng, s, T = np.random.default_rng(0), 1, 5
    words = [int(word) for word in np.asarray(jax.random.key_data(KEYS[0]))]
    epochs = [np.random.default_rng([*words, e]).permutation(23)[:20].reshape(4, 5) for e in range(2)]
    batches = np.concatenate(epochs)[:T]
    weights, target = rng.uniform(size=(T - s, columns)), rng.standard_normal(network.dim)
    cost = unrolled(network, optimiser, theta0, batches, s, target)
    seeds = seeds_of(network, theta0, s, T, target=target, optimiser=optimiser, batch=5, key=KEYS[0])
    found = seeds.slopes(weights)
    # Another order of the same sums: a hundred roundings, relative to the largest entry.
    value, expected = map(np.asarray, jax.jit(jax.value_and_grad(cost))(weights))
    assert found.cost == pytest.approx(float(value), rel=1e-12)
    np.testing.assert_allclose(found.weights, expected, rtol=0.0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize(
    "cost",
    [ef.Distance(), ef.RetainedLoss(), ef.PredictionGap(np.array([[0.3, -1.0]]))],
    ids=lambda c: type(c).__name__,
)
def test_central_differences_agree_for_every_cost(network, theta0, cost):
    seeds = seeds_of(network, theta0, 2, 9, cost=cost, optimiser=ADAM, batch=5, key=KEYS[:2])
    weights = np.random.default_rng(1).uniform(size=(7, 2))
    exact = seeds.slopes(weights).weights
    moved = [
        (seeds.costs(weights + 1e-5 * unit).mean() - seeds.costs(weights - 1e-5 * unit).mean()) / 2e-5
        for unit in np.eye(14).reshape(14, 7, 2)
    ]
    # Truncation is of the square of the width, 1e-10; rounding 1e-16/1e-5.
    np.testing.assert_allclose(exact.ravel(), moved, rtol=1e-6, atol=1e-9 * np.abs(exact).max() + 1e-11)


def test_plain_gradient_descent_is_that_of_a_step_size(network, theta0):
    eta, weights = 0.2, np.random.default_rng(2).uniform(size=(30, 1))
    seeds = seeds_of(network, theta0, 0, 30, target=np.zeros(network.dim), optimiser=optax.sgd(eta))
    found, zero = seeds.slopes(weights), np.zeros(network.dim)
    ball = HeavyBall(network.risk, np.asarray(theta0), zero, eta, 0.0)
    other = GradientSteps(ball, ef.Distance(), zero).path(weights[:, 0])
    assert found.cost == pytest.approx(other.value, rel=1e-12)
    np.testing.assert_allclose(found.weights[:, 0], other.weights, rtol=1e-10, atol=1e-14)


def test_a_scan_makes_shared_steps_once_and_the_same_costs(network, theta0):
    rows = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0.5], [0, 1, 0, 0], [1, 1, 0, 0]])[:, :, None]
    seeds = seeds_of(network, theta0, 2, 6, optimiser=ADAM, batch=5, key=KEYS[:2])
    found = dict(seeds.scan(rows))
    assert [found[row] for row in range(5)] == [seeds.costs(weights).mean() for weights in rows]


def test_two_seeds_cost_the_mean_of_the_two(network, theta0):
    weights = np.random.default_rng(4).uniform(size=(20, 1))
    both, first, second = (
        seeds_of(network, theta0, 5, 25, optimiser=ADAM, batch=5, key=key).slopes(weights)
        for key in (KEYS[:2], KEYS[0], KEYS[1])
    )
    np.testing.assert_array_equal(both.costs, [first.cost, second.cost])
    np.testing.assert_allclose(both.weights, 0.5 * (first.weights + second.weights), rtol=1e-14)


def test_the_solution_costs_what_train_with_makes_of_it(network, theta0):
    question = {"optimiser": ADAM, "batch": 5, "key": KEYS[0]}
    best = ef.optimal_schedule(network, theta0, s=10, T=40, method="adjoint", intervals=6, **question)
    ends = [
        ef.train_with(network, schedule, theta0, steps=40, **question).theta
        for schedule in (best.schedule, ef.Constant(0.0))
    ]
    np.testing.assert_array_equal(np.asarray(best.task.target), ends[1])
    assert best.cost == pytest.approx(0.5 * ((ends[0] - ends[1]) ** 2).sum(), rel=1e-12)
    assert best.scope is ef.Scope.LOCAL
    assert best.pmp_gap <= 1e-4 * best.cost
    np.testing.assert_array_equal(np.asarray(best.extremal.theta(40.0)), ends[0])
    np.testing.assert_allclose(np.asarray(best.extremal.costate(40.0)), ends[0] - ends[1], rtol=1e-14)


def test_no_weights_on_a_coarse_lattice_cost_less(network, theta0):
    question = {"optimiser": ADAM, "batch": 5, "key": KEYS[:2], "intervals": 4}
    best = ef.optimal_schedule(network, theta0, s=10, T=30, **question)
    seeds = best.task.trainings.seeds
    lattice = itertools.product(np.linspace(0.0, 1.0, 4), repeat=4)
    least = min(seeds.costs(np.repeat(row, 5)[:, None]).mean() for row in lattice)
    assert best.cost <= least * (1.0 + 1e-9)


@pytest.mark.parametrize(
    "asked",
    [
        {"price": 4e-4},
        {"budget": 9.0},
        {"price": 4e-4, "budget": 4.0, "bounds": (-1.0, 1.0)},
        {"budget": 0.0},
    ],
    ids=str,
)
def test_within_a_budget_and_at_a_price_no_weights_on_a_lattice_are_worth_more(network, theta0, asked):
    target = network.model.init(jax.random.key(1))
    question = {"s": 10, "T": 31, "target": target, "optimiser": ADAM, "batch": 5, "key": KEYS[0]}
    best = ef.optimal_schedule(network, theta0, intervals=3, **question, **asked)
    price, budget, (low, high) = asked.get("price", 0.0), asked.get("budget", np.inf), asked.get("bounds", (0.0, 1.0))
    seeds, levels = best.task.trainings.seeds, np.linspace(low, high, 5)
    lattice = np.array([np.repeat(row, 7)[:, None] for row in itertools.product(levels, repeat=3)])
    spent = np.abs(lattice).sum(axis=(1, 2))
    least = min(
        seeds.costs(weights).mean() + price * effort
        for weights, effort in zip(lattice, spent, strict=True)
        if effort <= budget
    )
    assert best.objective <= least * (1.0 + 1e-9)
    assert best.effort <= budget * (1.0 + 1e-9)
    assert best.scope is ef.Scope.LOCAL
    assert best.multiplier >= price


def test_the_worth_of_a_budget_is_what_a_little_more_of_it_gains(network, theta0):
    target = network.model.init(jax.random.key(1))
    question = {"s": 10, "T": 31, "target": target, "optimiser": ADAM, "batch": 5, "key": KEYS[0], "intervals": 3}
    less, mean, more = (ef.optimal_schedule(network, theta0, budget=budget, **question) for budget in (8.4, 8.5, 8.6))
    # The cost is smooth while the same step switches: central differences of width 0.1 leave 0.01 of its curvature.
    assert (less.cost - more.cost) / 0.2 == pytest.approx(mean.multiplier, rel=1e-3)
    again = ef.certify(network, mean.schedule, theta0, budget=8.5, **question)
    assert again.multiplier == pytest.approx(mean.multiplier, rel=1e-9)


@pytest.mark.parametrize("asked", [{"price": 4e-4}, {"budget": 9.5}], ids=str)
def test_a_price_and_a_budget_bind_the_families_of_trainings(network, theta0, asked):
    target = network.model.init(jax.random.key(1))
    question = {"s": 10, "T": 31, "target": target, "optimiser": ADAM, "batch": 5, "key": KEYS[0]}
    step = ef.best_in_family(network, ef.Step, theta0, **question, **asked)
    task = make_task(network, theta0, **{name: question[name] for name in ("s", "T", "target")}, recipes=RECIPES)
    price, budget, tried = asked.get("price", 0.0), asked.get("budget", 21.0), np.arange(0.0, 21.25, 0.25)
    costs = [
        task.trainings.seeds.costs(np.clip(tau - np.arange(21), 0.0, 1.0)[:, None]).mean() + price * tau
        for tau in tried[tried <= budget]
    ]
    assert step.cost + price * step.effort <= min(costs) * (1.0 + 1e-9)
    assert step.effort <= budget * (1.0 + 1e-9)


def test_the_best_two_switches_beat_all_whole_steps_within_a_budget(network, theta0):
    question = {"s": 10, "T": 24, "target": network.model.init(jax.random.key(1))}
    training = {"optimiser": ADAM, "batch": 5, "key": KEYS[0]}
    found = ef.best_in_family(network, ef.BangBang.switching(2), theta0, budget=6.0, **question, **training)
    seeds, steps = make_task(network, theta0, **question, recipes=RECIPES).trainings.seeds, np.arange(14)
    least = min(
        seeds.costs(((steps < first) | (steps >= last)).astype(float)[:, None]).mean()
        for first, last in itertools.combinations_with_replacement(range(15), 2)
        if first + 14 - last <= 6
    )
    assert found.cost <= least * (1.0 + 1e-6)  # what a descent in the last digits of two numbers leaves
    assert found.effort <= 6.0 * (1.0 + 1e-9)
    np.testing.assert_allclose(found.schedule.switch_ts[0], found.parameters["τ₁"])
    assert found.family == "BangBang, 2 switches, high first"


@pytest.mark.slow
def test_along_a_spent_budget_the_best_decay_is_far_from_the_best_of_a_scan():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((20, 2))
    line = ef.Problem(ef.LinearModel(2), ef.SquaredLoss(), ef.Dataset(x, x[:, 0] + (np.arange(20) < 2)), delete=[0, 1])
    sgd = optax.sgd(0.1 / 20)
    whole = ef.train_with(line, ef.Constant(1.0), np.zeros(2), optimiser=sgd, steps=16).theta
    question = {"s": 4, "T": 16, "target": whole, "optimiser": sgd}
    best = ef.best_in_family(line, ef.PolynomialDecay, np.zeros(2), budget=3.0, **question)
    # (1 − (t − 4)/(t₁ − 4))ᵖ spends (t₁ − 4)/(p + 1).
    spent = [ef.PolynomialDecay(4.0, t1, (t1 - 4.0) / 3.0 - 1.0) for t1 in (10.0, 12.0, 14.0, 16.0)]
    assert best.cost <= min(ef.extremal(line, one, np.zeros(2), **question).cost for one in spent) * (1.0 + 1e-6)


@pytest.mark.slow
def test_a_cost_far_below_its_unit_is_sought_to_its_own_digits():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((20, 2))
    y = np.tanh(x @ np.array([1.0, -0.5])) + 0.2 * rng.standard_normal(20)
    y[[2, 7]] += 2.0
    line = ef.Problem(ef.LinearModel(2), ef.SquaredLoss(), ef.Dataset(x, y), delete=[2, 7], reduction="mean")
    training = {"optimiser": optax.sgd(0.1)}
    seeds = seeds_of(line, np.zeros(2), 4, 16, **training)
    unit = 0.01 * seeds.costs(np.zeros((12, 1))).mean()
    price = 0.2 * unit

    def priced(z):
        found = seeds.slopes((z[:12] - z[12:])[:, None])
        slope = np.asarray(found.weights, float).ravel()
        return (float(found.cost) + price * z.sum()) / unit, (np.concatenate([slope, -slope]) + price) / unit

    limits = {"ftol": 0.0, "gtol": 1e-10, "maxiter": 1_000, "maxfun": 5_000}
    least = minimize(priced, np.zeros(24), jac=True, bounds=[(0.0, 1.0)] * 24, method="L-BFGS-B", options=limits).fun
    question = {"s": 4, "T": 16, "bounds": (-1.0, 1.0), "intervals": 12, "price": price}
    best = ef.optimal_schedule(line, np.zeros(2), **question, **training)
    # Along a valley as flat as this each iteration gains little: the search ends a thousandth above its floor.
    assert best.objective <= least * unit * (1.0 + 1e-3)


LEVELS = np.array([0.3, 0.6, 0.2, 0.7])


@pytest.fixture(scope="module")
def reachable(network, theta0):
    """A question whose target one admissible schedule reaches, so that costs are as small as one likes."""
    training = {"optimiser": SGD, "batch": 5, "key": KEYS[0]}
    schedule = ef.PiecewiseConstant(np.linspace(5.0, 29.0, 5), LEVELS)
    target = ef.train_with(network, schedule, theta0, steps=29, **training).theta
    return {"s": 5, "T": 29, "target": target, "intervals": 4, **training}


def test_beside_a_cost_that_can_be_zero_no_gap_is_little(network, theta0, reachable):
    """Off by h in ε the cost is of the order h² and the gap of the order h: local is said of neither such schedule."""
    for off in (1e-3, 1e-6):
        beside = ef.PiecewiseConstant(np.linspace(5.0, 29.0, 5), LEVELS + off)
        found = ef.certify(network, beside, theta0, **reachable)
        assert found.pmp_gap > found.objective > found.cost_error
        assert found.scope is ef.Scope.NONE


class Bent(ef.AbstractCost):
    """0.01 + |θ₀ − target₀|, with a kink where the first parameter is that of the target."""

    def value(self, risk, theta, target):
        return 0.01 + jnp.abs(theta[0] - target[0])

    def form(self, rates, basis):
        raise NotImplementedError


def test_a_kink_is_told_from_a_slope_that_was_not_followed(network, theta0, reachable):
    """At a kink more intervals do not help, and are not advised; beside a smooth minimum they are."""
    bent = ef.optimal_schedule(network, theta0, cost=Bent(), throw=False, **reachable)
    assert bent.cost == pytest.approx(0.01, abs=1e-6)
    assert bent.scope is ef.Scope.NONE
    assert f"a kink or a jump at its ε between {bent.kink[0]:g} and {bent.kink[1]:g}" in bent.doubt
    assert "smooth activation" in str(bent.summary())
    beside = ef.PiecewiseConstant(np.linspace(5.0, 29.0, 5), LEVELS + 1e-3)
    smooth = ef.certify(network, beside, theta0, **reachable)
    assert smooth.kink is None
    assert smooth.doubt.endswith("more intervals may help")


@pytest.mark.parametrize("budget", [None, 12.0], ids=["L-BFGS-B", "SLSQP"])
def test_the_search_follows_a_cost_down_to_its_error(network, theta0, reachable, budget):
    best = ef.optimal_schedule(network, theta0, budget=budget, **reachable)
    assert best.scope is ef.Scope.WITHIN_ERROR
    np.testing.assert_allclose(best.schedule.values, LEVELS, atol=1e-12)  # rounding of 24 steps, by their slopes


def test_a_summary_says_where_no_batch_holds_a_deleted_point(network, theta0):
    words = [int(word) for word in np.asarray(jax.random.key_data(KEYS[0]))]
    order = np.random.default_rng([*words, 0]).permutation(23)  # of which four steps take 5 each
    first, last = (
        ef.Problem(network.model, network.loss, network.data, delete=part, l2=0.05, reduction="mean")
        for part in (order[:2], order[15:17])
    )
    question = {"optimiser": SGD, "batch": 5, "key": KEYS[0], "s": 1}
    for problem, T, told in ((first, 3, "from s = 1 to T = 3"), (last, 3, "until T = 3"), (last, 4, "")):
        task = make_task(problem, theta0, s=1, T=T, recipes=Recipes(optimiser=SGD, batch=5, key=KEYS[0]))
        assert told in task.unseen
        assert bool(told) == bool(task.unseen)
    never = ef.certify(last, ef.Step(1.0), theta0, T=3, **question)
    assert never.cost == 0.0
    assert "no batch contains the deleted points until T = 3, so ε changes nothing" in str(never.summary())


def test_the_best_step_beats_every_whole_step(network, theta0):
    question = {"s": 10, "T": 40, "optimiser": ADAM, "batch": 5, "key": KEYS[:2]}
    step = ef.best_in_family(network, ef.Step, theta0, **question)
    seeds = make_task(
        network, theta0, s=10, T=40, recipes=Recipes(optimiser=ADAM, batch=5, key=KEYS[:2])
    ).trainings.seeds
    costs = [seeds.costs((np.arange(30) < k).astype(float)[:, None]).mean() for k in range(31)]
    assert step.cost <= min(costs) * (1.0 + 1e-12)


@pytest.mark.parametrize("start", [0, 1], ids=["high first", "low first"])
def test_a_switch_leaves_the_mesh_for_the_best_step(network, theta0, start):
    target = network.model.init(jax.random.key(start))
    question = {"s": 5, "T": 29, "target": target, "optimiser": SGD, "batch": 5, "key": KEYS[:2]}
    best = ef.optimal_schedule(network, theta0, intervals=4, **question)
    seeds, count = best.task.trainings.seeds, np.arange(24)
    steps = [np.where(count < k, *levels) for k in range(25) for levels in ((1.0, 0.0), (0.0, 1.0))]
    least = min(seeds.costs(weights[:, None]).mean() for weights in steps)
    assert best.polished
    assert best.status is ef.Status.BANG_BANG
    assert best.scope is ef.Scope.LOCAL
    # The best switch may be inside a step.
    assert best.cost <= least * (1.0 + 1e-9)
    end = ef.train_with(network, best.schedule, theta0, optimiser=SGD, batch=5, key=KEYS[0], steps=29).theta
    assert best.seeds.chosen[0] == pytest.approx(0.5 * float(((end - target) ** 2).sum()), rel=1e-12)


def test_held_out_seeds_have_no_part_in_the_choice(network):
    question = {"s": 10, "T": 40, "optimiser": ADAM, "batch": 5, "intervals": 4}
    alone = ef.optimal_schedule(network, network.model.init, key=KEYS[:2], **question)
    best = ef.optimal_schedule(network, network.model.init, key=KEYS[:2], held_out=KEYS[2:], **question)
    np.testing.assert_array_equal(best.schedule.values, alone.schedule.values)
    for key, cost in zip(KEYS[2:], best.seeds.held_out, strict=True):
        arguments = {"optimiser": ADAM, "batch": 5, "key": key, "steps": 40}
        start = network.model.init(key)
        ends = [ef.train_with(network, e, start, **arguments).theta for e in (best.schedule, ef.Constant(0.0))]
        assert cost == pytest.approx(0.5 * ((ends[0] - ends[1]) ** 2).sum(), rel=1e-12)
    assert "held-out cost" in str(best.summary())


@pytest.mark.parametrize(("dtype", "most"), [("float32", 1e-3), pytest.param("bfloat16", 0.2, marks=pytest.mark.slow)])
def test_a_narrow_precision_says_how_far_it_is_from_double_and_needs_no_global_flag(network, theta0, dtype, most):
    question = {"s": 10, "T": 60, "optimiser": ADAM, "batch": 5, "key": KEYS[:2], "intervals": 10}
    exact = ef.certify(network, ef.Step(25.0), theta0, **question)
    with jax.enable_x64(False):
        narrow = ef.certify(network.with_dtype(dtype), ef.Step(25.0), np.asarray(theta0), **question)
    # A cost is a square of what two trainings differ by, which operands in bfloat16 move by per cent.
    assert 0.0 < abs(narrow.cost - exact.cost) <= narrow.cost_error <= most * exact.cost
    assert exact.cost_error <= 1e-12 * exact.cost
    assert len(exact.extremal.path.knots) == 1 + 10
    assert dtype in repr(narrow.task)


def test_a_comparison_answers_step_against_decay_and_survives_json(network, theta0):
    question = {"optimiser": ADAM, "batch": 5, "key": KEYS[:2], "held_out": KEYS[2:]}
    table = ef.compare_schedules(
        network, theta0, s=10, T=40, intervals=5, families=(ef.Step, ef.LinearDecay), **question
    )
    assert [row["family"] for row in table.rows()] == ["1_[0,s]", "Step", "LinearDecay", "optimum"]
    assert all(row["held_out"] > 0.0 for row in table.rows())
    again = type(table).from_json(table.to_json(), network, ADAM)
    assert again.rows() == table.rows()
    np.testing.assert_array_equal(again.optimum.switching(25.0), table.optimum.switching(25.0))
    with pytest.raises(ef.InputError, match="another optimiser"):
        type(table).from_json(table.to_json(), network, optax.adam(0.1))


def test_training_that_leaves_the_finite_numbers_says_where(network, theta0):
    with pytest.raises(ef.ConvergenceError, match=r"retraining.*at step \d+, with a learning rate of 1e\+03 "):
        ef.optimal_schedule(network, theta0, s=2, T=300, optimiser=optax.sgd(1e3))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"optimiser": "adam"}, "one of optax is needed"),
        ({"batch": 24}, "batch is 24, but the data has 23 points"),
        ({"batch": 5}, "pass key="),
        ({"batch": 5, "key": 3}, "write key=jax.random.key"),
        ({"key": KEYS}, "train alike"),
        ({"batch": 5, "key": KEYS[:2], "held_out": KEYS[1:]}, "named twice"),
        ({"s": 1.5}, "s = 1.5 is no whole number"),
        ({"step_size": 0.1}, "an optimiser has a learning rate"),
        ({"budget": -1.0}, "no schedule meets the budget"),
        ({"method": "shooting"}, "is for the flow"),
        ({"dtype": "float16"}, "choose 'float64', 'float32' or 'bfloat16'"),
        ({"optimiser": None, "batch": 5}, "belongs to training with an optimiser"),
        ({"intervals": 0}, "intervals is 0"),
    ],
)
def test_what_makes_no_sense_with_an_optimiser_is_refused(network, theta0, wrong, words):
    with pytest.raises(ef.InputError, match=words):
        ef.optimal_schedule(network, theta0, **{"s": 2, "T": 6, "optimiser": ADAM} | wrong)


def test_other_weights_and_other_seeds_compile_nothing(network, theta0, compiled):
    first, second = (seeds_of(network, theta0, 5, 25, optimiser=ADAM, batch=5, key=key) for key in KEYS[:2])
    first.slopes(np.full((20, 1), 0.5))
    compiled.clear()
    second.slopes(np.full((20, 1), 0.2))
    assert compiled == []


@pytest.mark.slow
def test_data_on_disk_have_the_same_gradient(network, theta0, tmp_path):
    np.save(tmp_path / "x.npy", network.data.x)
    mapped = ef.Dataset(np.load(tmp_path / "x.npy", mmap_mode="r"), network.data.y)
    other = ef.Problem(network.model, network.loss, mapped, delete=[4, 11], l2=0.05, reduction="mean")
    weights = np.random.default_rng(5).uniform(size=(20, 2))
    here, there = (
        seeds_of(problem, theta0, 5, 25, optimiser=ADAM, batch=5, key=KEYS[0]).slopes(weights)
        for problem in (network, other)
    )
    # The rows are the same, and so are the sums; another program may order them differently.
    np.testing.assert_allclose(there.weights, here.weights, rtol=0.0, atol=1e-13 * np.abs(here.weights).max())


@pytest.mark.slow
def test_the_optimum_of_plain_descent_is_that_of_a_step_size(network, theta0):
    question = {"s": 4, "T": 16, "target": np.zeros(network.dim)}
    plain = ef.optimal_schedule(network, theta0, step_size=0.1, **question)
    trained = ef.optimal_schedule(network, theta0, optimiser=SGD, **question)
    assert trained.cost == pytest.approx(plain.cost, rel=1e-8)
    np.testing.assert_allclose(trained.switching(10.5), plain.switching(10.5), rtol=1e-6)


def test_a_time_limit_leaves_what_there_is(network, theta0):
    question = {"s": 5, "T": 25, "optimiser": ADAM, "batch": 5, "key": KEYS[0], "intervals": 4, "time_limit": 1e-9}
    with pytest.raises(ef.ConvergenceError, match="the time limit was reached"):
        ef.optimal_schedule(network, theta0, **question)
    left = ef.optimal_schedule(network, theta0, throw=False, **question)
    assert left.scope is ef.Scope.NONE
    assert np.isfinite(left.cost)


def test_schedules_know_no_units_of_features_or_targets(rng):
    """θ = 1e6 θ' for targets in a smaller unit, and η with the curvature's unit for features in one."""
    x, unit = rng.standard_normal((30, 3)), 1e6
    y = x @ [1.0, -2.0, 0.5] + 0.1 * rng.standard_normal(30)

    def best(features: float, targets: float) -> ef.ScheduleSolution:
        line = ef.linear_regression(ef.Dataset(features * x, targets * y), [0, 3], reduction="mean")
        moves = {"optimiser": optax.sgd(0.05 / features**2), "batch": 10, "key": KEYS[0]}
        return ef.optimal_schedule(line, np.zeros(3), s=10, T=40, intervals=6, method="adjoint", **moves)

    plain = best(1.0, 1.0)
    for found, scale in ((best(1.0, unit), unit), (best(unit, 1.0), 1.0 / unit)):
        assert found.cost / scale**2 == pytest.approx(plain.cost, rel=1e-11)  # the rounding of 40 steps
        np.testing.assert_allclose(found.schedule.values, plain.schedule.values, atol=1e-9)
        assert (found.scope, found.status) == (plain.scope, plain.status)
