"""The influence density of discrete training, against reverse mode through all steps at once."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import epsflow as ef

STEPS, TS = 23, np.array([0.0, 5.0, 6.0, 20.0, 23.0])
SCHEDULE = ef.Step(10.0)
RULES = {"descent": optax.sgd(0.3), "momentum": optax.sgd(0.1, momentum=0.9), "adam": optax.adam(0.03)}


@pytest.fixture(scope="module")
def batches():
    rng = np.random.default_rng(2)
    return np.stack([rng.choice(20, 6, replace=False) for _ in range(STEPS)])


def by_reverse_mode(problem, start, functional, rule, batches):
    """∂φ/∂w for the weight of every point in every step, shape (steps, n, q)."""
    x, y, n = jnp.asarray(problem.data.x), jnp.asarray(problem.data.y), problem.data.n
    rows = jnp.asarray(np.tile(np.arange(n), (STEPS, 1)) if batches is None else batches)
    kept = jnp.ones((STEPS, n)).at[:, 3].set(np.arange(STEPS) + 0.5 <= 10.0)

    def run(changes):
        def step(carry, given):
            (theta, state), (index, weights) = carry, given

            def risk(t):
                losses = jax.vmap(lambda a, b: problem.loss(problem.model(t, a), b))(x[index], y[index])
                return jnp.mean(weights[index] * losses) + 0.5 * problem.l2 * t @ t

            moves, state = rule.update(jax.grad(risk)(theta), state, theta)
            return (theta + moves, state), None

        begin = jnp.asarray(start), rule.init(jnp.asarray(start))
        return functional(jax.lax.scan(step, begin, (rows, kept + changes))[0][0])

    return np.moveaxis(np.asarray(jax.jit(jax.jacrev(run))(jnp.zeros((STEPS, n)))), 0, -1)


CASES = [("adam", True)]
MORE = [pytest.param(name, drawn, marks=pytest.mark.slow) for name in RULES for drawn in (False, True)]


@pytest.mark.parametrize(("name", "drawn"), [*CASES, *(case for case in MORE if case.values not in CASES)])
def test_checkpoints_give_the_exact_derivative(network, network_start, batches, name, drawn):
    losses = ef.Losses(network.model, network.loss, network.data.x[:2] + 0.1, network.data.y[:2])
    rows = batches if drawn else None
    ask = {"ts": TS, "functional": losses, "optimiser": RULES[name], "batch": rows}
    found = ef.influence_density(network, SCHEDULE, network_start, **ask)
    expected = by_reverse_mode(network, network_start, losses, RULES[name], rows)
    near = {"rtol": 1e-10, "atol": 1e-15}  # sums of 23 steps in another order
    np.testing.assert_allclose(found.values, expected[[0, 5, 6, 20, 22]], **near)
    np.testing.assert_allclose(-found.removal(5.0, 20.0).change, expected[5:20].sum(axis=0), **near)
    np.testing.assert_allclose(-found.removal().change, expected.sum(axis=0), **near)


@pytest.fixture(scope="module")
def ask(network, network_start):
    def asked(**more):
        settings = {"ts": TS, "functional": lambda t: t[0], "optimiser": RULES["descent"], **more}
        return ef.influence_density(network, SCHEDULE, network_start, **settings)

    return asked


def test_the_run_is_that_of_train_with(network, network_start, ask):
    key = jax.random.key(4)
    found = ask(optimiser=RULES["adam"], batch=6, key=key)
    setting = {"optimiser": RULES["adam"], "batch": 6, "key": key, "steps": TS[1:].astype(int)}
    path = ef.train_with(network, SCHEDULE, network_start, **setting)
    np.testing.assert_allclose(found.thetas[1:], path.thetas, rtol=1e-10, atol=1e-13)  # sums in another order
    assert np.count_nonzero(found.values[0]) == 6


@pytest.mark.slow
def test_a_column_of_zeros_changes_nothing():
    """Its gradient is 0 in every step, where √v of Adam has no derivative."""
    x = np.random.default_rng(5).normal(size=(8, 2))

    def values(columns):
        problem = ef.linear_regression(ef.Dataset(columns, x[:, 0] - 0.5), [1])
        setting = {"ts": np.array([0.0, 3.0, 7.0]), "functional": lambda t: t[:2], "optimiser": RULES["adam"]}
        return ef.influence_density(problem, ef.Step(4.0), np.zeros(columns.shape[1]), **setting).values

    expected = values(x)
    assert np.abs(expected).max() > 1e-6
    np.testing.assert_allclose(values(np.column_stack([x, np.zeros(8)])), expected, rtol=1e-10, atol=1e-15)


@pytest.mark.slow
def test_descent_tends_to_the_flow(regression):
    start, functional = np.array([1.0, -0.5, 2.0]), lambda t: t
    flow = ef.influence_density(regression, ef.Step(2.0), start, ts=np.array([0.0, 1.0, 4.0]), functional=functional)

    def error(eta):
        steps = ef.influence_density(
            regression, ef.Step(2.0), start, ts=flow.ts, functional=functional, optimiser=optax.sgd(eta), step_size=eta
        )
        return np.abs(steps.removal().change - flow.removal().change).max()

    assert error(0.005) == pytest.approx(0.5 * error(0.01), rel=0.05)  # O(η), and O(η²) of that is lost here


def test_a_second_run_compiles_nothing(network, network_start, ask, compiled):
    functional = lambda t: t[0]  # noqa: E731
    ask(functional=functional)
    compiled.clear()
    ef.influence_density(
        network, ef.Step(8.0), network_start + 0.1, ts=TS, functional=functional, optimiser=RULES["descent"]
    )
    assert not compiled


def test_refusals(ask, batches, monkeypatch):
    with pytest.raises(ef.InputError, match="state is unknown"):
        ask(optimiser="adam")
    with pytest.raises(ef.InputError, match="whole multiples"):
        ask(ts=np.array([0.0, 1.5]))
    with pytest.raises(ef.InputError, match="seed"):
        ask(batch=5)
    with pytest.raises(ef.InputError, match="points of each"):
        ask(batch=batches[:3])
    with pytest.raises(ef.InputError, match="one step twice"):
        ask(ts=np.array([0.0, 1.0, 1.0, 2.0]))
    with pytest.raises(ef.InputError, match="no step"):
        ask(ts=np.array([0.0]))
    with pytest.raises(ef.InputError, match=r"1600\.\d GB"):  # before anything of that length is made
        ask(ts=np.array([0.0, 1e11]), batch=None)
    monkeypatch.setattr("epsflow.attribution.training._density_steps.CHECKPOINT_NUMBERS", 10)
    with pytest.raises(ef.InputError, match="GB"):
        ask()


def test_an_optimiser_that_forgets_its_state_is_refused(ask):
    odd = optax.GradientTransformation(lambda _: (), lambda g, s, _=None: (g, (g,)))
    with pytest.raises(ef.InputError, match="keeps its shape"):
        ask(optimiser=odd)


def test_divergence_says_so(ask):
    with pytest.raises(ef.ConvergenceError, match="learning rate"):
        ask(optimiser=optax.sgd(1e200))


def test_windows_begin_and_end_at_known_steps(ask):
    with pytest.raises(ef.InputError, match="Add it to ts"):
        ask().removal(5.0, 7.0)
