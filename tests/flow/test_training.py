"""Training by an optimiser: the flow as its limit, plain loops over optax, checkpoints, single precision, devices."""

import os
import subprocess
import sys
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import epsflow as ef
from epsflow.flow import _minibatches as minibatches

KEY, RATE = jax.random.key(7), 1e-2
ADAM = optax.adam(RATE)


def plain_loop(problem, optimiser, theta, batches, weights):
    """As one writes it with optax alone: batches of points, and a weight for every point at every step."""
    x, y = jnp.asarray(problem.data.x), jnp.asarray(problem.data.y)

    @jax.jit
    def slope(theta, points, w):
        def value(t):
            outputs = jax.vmap(problem.model, in_axes=(None, 0))(t, x[points])
            # R_ε is Σ/n; a batch of b stands for n/b times as many.
            return (w[points] @ (0.5 * (outputs - y[points]) ** 2)) / len(points) + 0.5 * problem.l2 * t @ t

        return jax.grad(value)(theta)

    state = optimiser.init(theta)
    for points, w in zip(batches, weights, strict=True):
        moves, state = optimiser.update(slope(theta, jnp.asarray(points), jnp.asarray(w)), state, theta)
        theta = optax.apply_updates(theta, moves)
    return np.asarray(theta)


def weights_of(problem, schedule, count, step_size):
    weights = np.ones((count, problem.data.n))
    weights[:, problem.delete] = np.asarray(schedule((np.arange(count) + 0.5) * step_size)).reshape(count, -1)
    return weights


def test_gradient_descent_tends_to_the_flow():
    problem = ef.linear_regression(ef.load_dataset("diabetes"), delete=[382], reduction="mean")
    flow = ef.gradient_flow(problem, ef.LinearDecay(2.0, 8.0), np.zeros(10), ts=np.array([10.0])).thetas[-1]

    def miss(eta):
        run = ef.train_with(
            problem,
            ef.LinearDecay(2.0, 8.0),
            np.zeros(10),
            optimiser=optax.sgd(eta),
            steps=round(10 / eta),
            step_size=eta,
        )
        return np.abs(run.theta - flow).max()

    # O(η): half the step, half the error, to a relative η λ_max.
    assert miss(0.05) / miss(0.025) == pytest.approx(2.0, rel=0.1)


def test_all_points_at_once_are_a_plain_loop(network, theta0):
    schedule = ef.LinearDecay(10.0, 30.0)
    run = ef.train_with(network, schedule, theta0, optimiser=ADAM, steps=40)
    expected = plain_loop(network, ADAM, theta0, [np.arange(23)] * 40, weights_of(network, schedule, 40, 1.0))
    # The sums are ordered differently: some roundings a step, and Adam divides by √v.
    np.testing.assert_allclose(run.theta, expected, rtol=1e-11, atol=1e-12)
    assert run.gradients == 40 * 23


def test_batches_are_shuffled_epochs_of_the_documented_order(network, theta0):
    schedule = ef.Step(0.6)
    run = ef.train_with(network, schedule, theta0, optimiser=ADAM, steps=[3, 600], batch=5, key=KEY, step_size=0.002)
    words = [int(word) for word in np.asarray(jax.random.key_data(KEY))]
    epochs = [np.random.default_rng([*words, e]).permutation(23)[:20].reshape(4, 5) for e in range(150)]
    batches = np.concatenate(epochs)
    weights = weights_of(network, schedule, 600, 0.002)
    np.testing.assert_allclose(run.thetas[0], plain_loop(network, ADAM, theta0, batches[:3], weights[:3]), rtol=1e-12)
    # 600 steps of a nonlinear map let roundings grow by its Lipschitz constants, some hundredfold here.
    np.testing.assert_allclose(run.theta, plain_loop(network, ADAM, theta0, batches, weights), rtol=1e-9, atol=1e-10)
    assert run.losses.shape == (600,)


def by_numpy(data, dtype, folder):
    for name in ("x", "y"):
        np.save(folder / f"{name}.npy", getattr(data, name).astype(dtype))
    return [np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("x", "y")]


def by_row_groups(data, dtype, folder):
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet files need pyarrow, an extra")
    table = pytest.importorskip("pyarrow").table(dict(zip("aby", [*data.x.T, data.y], strict=True)))
    parquet.write_table(table, folder / "trips.parquet", row_group_size=7)
    maps = ef.read_parquet(folder / "trips.parquet", standardise=False, memory_map=folder / "trips", dtype=dtype)
    return [maps.x, maps.y]


@pytest.mark.parametrize(("dtype", "on_disk"), [("float64", by_numpy), ("float32", by_row_groups)])
def test_data_on_disk_are_trained_on_as_those_in_memory(network, theta0, tmp_path, dtype, on_disk):
    arguments = {"optimiser": ADAM, "steps": 30, "batch": 4, "key": KEY}
    files = on_disk(network.data, dtype, tmp_path)
    options = {"delete": [4, 11], "l2": 0.05, "reduction": "mean", "dtype": dtype}
    problems = [
        ef.Problem(network.model, network.loss, ef.Dataset(*data), **options)
        for data in (files, [np.asarray(file, np.float64) for file in files])
    ]
    there, here = (ef.train_with(p, ef.Step(9.0), theta0, **arguments).theta for p in problems)
    np.testing.assert_array_equal(here, there)
    assert "risk" not in vars(problems[0])  # which would hold all rows


@pytest.mark.parametrize(("bad", "what"), [((9, 1), "feature 'load'"), ((9, 2), "target 'effect'")])
def test_a_row_on_disk_that_is_not_finite_is_named(network, theta0, tmp_path, bad, what):
    rows = np.memmap(tmp_path / "rows.bin", np.float64, "w+", shape=(23, 3))
    rows[:] = 1.0
    rows[bad] = rows[17, 2] = np.nan
    data = ef.Dataset(rows[:, :2], rows[:, 2], "trips", ("speed", "load"), "effect")
    problem = ef.Problem(network.model, network.loss, data)
    message = rf"trips: {what} is NaN or infinity at point 9 \(2 such points in the batches read after step 0\)"
    for batch in (5, None):
        with pytest.raises(ef.InputError, match=message):
            ef.train_with(problem, ef.Step(9.0), theta0, optimiser=ADAM, steps=20, batch=batch, key=KEY)


def test_training_on_a_file_copies_no_more_than_the_rows_of_its_steps(tmp_path, monkeypatch):
    monkeypatch.setattr(minibatches, "NUMBERS", 2**16)
    x = np.memmap(tmp_path / "x.bin", np.float32, "w+", shape=(2**18, 32))  # 32 MB
    x[::2] = 1.0
    problem = ef.Problem(
        ef.MLP((32, 1)), ef.SquaredLoss(), ef.Dataset(x, np.zeros(len(x))), reduction="mean", dtype="float32"
    )
    tracemalloc.start()
    run = ef.train_with(problem, ef.Step(9.0), np.zeros(33), optimiser=ADAM, steps=10, batch=32, key=KEY)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.isfinite(run.theta).all()
    # A permutation of n points, and where each is among the deleted ones, of 8 and 4 bytes; rows of 2**16 numbers.
    assert peak < 2 * 12 * len(x) + 16 * 2**16 < x.nbytes / 4


@pytest.mark.parametrize(("dtype", "least", "most"), [("float32", 1e-9, 1e-4), ("bfloat16", 1e-5, 0.1)])
def test_a_narrow_precision_says_so_and_how_far_off_it_is(network, theta0, dtype, least, most):
    arguments = {"optimiser": ADAM, "steps": 100, "batch": 5, "key": KEY}
    narrow = ef.train_with(network, ef.Step(9.0), theta0, dtype=dtype, estimate_error=True, **arguments)
    exact = ef.train_with(network, ef.Step(9.0), theta0, **arguments)
    assert narrow.dtype == dtype
    assert np.abs(narrow.theta - exact.theta).max() <= narrow.error
    # 100 steps of a hundredth; each rounded to 6e-8, or with gradients to some 2⁻⁹ of themselves.
    assert least < narrow.error < most


def test_single_precision_needs_no_global_flag(network, theta0):
    with jax.enable_x64(False):
        narrow = network.with_dtype("float32")
        start = narrow.model.init(jax.random.key(0))
        assert start.dtype == np.float32
        run = ef.train_with(narrow, ef.Step(9.0), start, optimiser=ADAM, steps=30, estimate_error=True)
        assert narrow.gradient(run.theta).dtype == np.float32
        with pytest.raises(
            ef.InputError, match=r"needs float64. Run `jax.config.* write problem.with_dtype\('float64'\)"
        ):
            ef.gradient_flow(narrow, ef.Step(9.0), run.theta, ts=np.ones(1))
    exact = ef.train_with(network, ef.Step(9.0), np.asarray(start, float), optimiser=ADAM, steps=30).theta
    assert run.dtype == "float32"
    # The error was found by the same training in float64.
    assert np.abs(run.theta - exact).max() == run.error > 0.0


def test_what_was_computed_before_a_bad_row_is_kept(network, theta0, tmp_path):
    x = np.array(network.data.x)
    x[19] = np.nan
    np.save(tmp_path / "x.npy", x)
    mapped = ef.Dataset(np.load(tmp_path / "x.npy", mmap_mode="r"), network.data.y)
    problem = ef.Problem(network.model, network.loss, mapped, delete=[4], reduction="mean")
    words = tuple(int(word) for word in np.asarray(jax.random.key_data(KEY)))
    first = int(np.flatnonzero((ef.flow.epoch_batches(words, 23, 1, range(23)) == 19).ravel())[0])
    done = []
    with pytest.raises(ef.InputError, match="NaN or infinity"):
        ef.train_with(
            problem,
            ef.Constant(1.0),
            theta0,
            optimiser=ADAM,
            steps=23,
            batch=1,
            key=KEY,
            every=1,
            progress=lambda step, _: done.append(step),
            checkpoint=tmp_path / "kept.eqx",
        )
    assert done == list(range(1, first + 1)) != []
    assert (tmp_path / "kept.eqx").exists()


@pytest.mark.parametrize("stop", [100, 130])
def test_an_interrupted_training_ends_at_the_same_bits(network, theta0, tmp_path, stop):
    arguments = {"optimiser": ADAM, "batch": 5, "key": KEY, "every": 50}
    whole = ef.train_with(network, ef.Step(90.0), theta0, steps=[20, 200], **arguments)

    def stopped(done, total):
        if done >= stop:
            raise KeyboardInterrupt

    kept = tmp_path / "training.eqx"
    with pytest.raises(KeyboardInterrupt):
        ef.train_with(network, ef.Step(90.0), theta0, steps=[20, 200], checkpoint=kept, progress=stopped, **arguments)
    again = ef.train_with(network, ef.Step(90.0), theta0, steps=[20, 200], checkpoint=kept, **arguments)
    assert again.resumed_at in (100, 150)
    np.testing.assert_array_equal(again.thetas, whole.thetas)
    np.testing.assert_array_equal(again.losses, whole.losses)


def test_a_checkpoint_of_another_training_is_refused(network, theta0, tmp_path):
    arguments = {"steps": 10, "checkpoint": tmp_path / "training.eqx"}
    ef.train_with(network, ef.Step(9.0), theta0, optimiser=ADAM, **arguments)
    with pytest.raises(ef.InputError, match=r"another training \(optimiser: .* there, .* here\)"):
        ef.train_with(network, ef.Step(9.0), theta0, optimiser=optax.adam(2 * RATE), **arguments)
    with pytest.raises(ef.InputError, match=r"^[^(]* another training \(schedule: Step"):
        ef.train_with(network, ef.Step(8.0), theta0, optimiser=ADAM, **arguments)
    smooth = ef.Problem(
        ef.MLP(network.model.widths, "softplus"), network.loss, network.data, delete=network.delete, reduction="mean"
    )
    with pytest.raises(ef.InputError, match=r"\(model: MLP, \d+ parameters, f = .* here\)"):
        ef.train_with(smooth, ef.Step(9.0), theta0, optimiser=ADAM, **arguments)
    (tmp_path / "training.eqx").write_bytes(b"something else")
    with pytest.raises(ef.InputError, match="is no checkpoint"):
        ef.train_with(network, ef.Step(9.0), theta0, optimiser=ADAM, **arguments)


def test_the_step_at_which_training_breaks_is_named(network, theta0):
    steep = optax.sgd(1e3)
    with pytest.raises(ef.ConvergenceError, match=r"at step \d+, with a learning rate of 1e\+03 "):
        ef.train_with(network, ef.Step(9.0), theta0, optimiser=steep, steps=500)
    kept = ef.train_with(network, ef.Step(9.0), theta0, optimiser=steep, steps=500, throw=False)
    assert not bool(kept.result == ef.RESULTS.successful)
    assert np.isfinite(kept.losses[0])


DEVICES = """
import jax; jax.config.update("jax_enable_x64", True)
import numpy as np, optax, epsflow as ef
x = np.random.default_rng(0).normal(size=(24, 2))
problem = ef.Problem(ef.MLP((2, 3, 1)), ef.SquaredLoss(), ef.Dataset(x, x[:, 0] * x[:, 1]), delete=[3], l2=0.1)
theta0, adam = problem.model.init(jax.random.key(0)), optax.adam(1e-2)
for batch in (8, None):
    arguments = dict(optimiser=adam, steps=50, batch=batch, key=jax.random.key(1))
    runs = (ef.train_with(problem, ef.Step(9.0), theta0, devices=d, **arguments) for d in ((), jax.devices()))
    one, eight = (run.theta for run in runs)
    assert len(jax.devices()) == 8
    np.testing.assert_allclose(one, eight, rtol=1e-10, atol=1e-12)  # sums in another order, for 50 steps
try:
    ef.train_with(problem, ef.Step(9.0), theta0, devices=jax.devices(), **(arguments | {"batch": 6}))
except ef.InputError as error:
    print(error)
"""


def test_eight_devices_give_the_numbers_of_one():
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    done = subprocess.run([sys.executable, "-c", DEVICES], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "6 rows per step cannot be spread over 8 devices" in done.stdout


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"optimiser": optax.adam}, "optimiser is"),
        ({"optimiser": "adam"}, "one of optax is needed"),
        ({"batch": 24}, "batch is 24, but the data has 23 points"),
        ({"batch": 5}, "pass key="),
        ({"steps": -1}, "steps is -1"),
        ({"steps": [3, 3]}, "must ascend"),
        ({"step_size": 0.0}, "step_size"),
        ({"dtype": "float16"}, "choose 'float64', 'float32' or 'bfloat16'"),
        ({"every": 0}, "every is 0"),
        ({"devices": ["cpu"]}, "devices of JAX are needed, each once"),
    ],
)
def test_what_cannot_be_is_refused(network, theta0, change, words):
    with pytest.raises(ef.InputError, match=words):
        ef.train_with(network, ef.Step(9.0), theta0, **({"optimiser": ADAM, "steps": 10} | change))
