"""The influence density beside what it follows: ratios of processor time within one run.

    python benchmarks/bench_attribution.py

Of linear regression on diabetes, all points at 200 times beside one flow at these times (at most 3 ×). Of an MLP
10-32-1 on the same data, 2,000 steps with all points and with batches, beside the same training by a bare optax
loop (at most 6 ×). And the memory of checkpoints against the number of steps.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from measure import peak_memory
from rich.console import Console
from rich.table import Table

import epsflow as ef
from epsflow.flow import epoch_batches

jax.config.update("jax_enable_x64", True)

STEPS, TIMES, REPEATS = 2_000, 200, 5


def seconds(work: Callable[[], Any], repeat: int = REPEATS) -> float:
    """The least processor time of some runs, after one that warms up (and compiles)."""
    work()
    found = []
    for _ in range(repeat):
        start = time.process_time()
        jax.block_until_ready(work())
        found.append(time.process_time() - start)
    return min(found)


def many(work: Callable[[], Any], count: int = 50) -> Callable[[], None]:
    """So short a call is measured many times over."""

    def run() -> None:
        for _ in range(count):
            work()

    return run


def linear(table: Table) -> None:
    data = ef.load_dataset("diabetes")
    problem = ef.linear_regression(data, [17], reduction="mean", l2=1e-3)
    ts, start = np.linspace(0.0, 20.0, TIMES), np.zeros(problem.dim)
    loss = ef.Losses(problem.model, problem.loss, data.x[:1], data.y[:1])
    for name, schedule in (("step", ef.Step(5.0)), ("linear decay", ef.LinearDecay(2.0, 9.0))):
        flow = seconds(many(lambda s=schedule: ef.gradient_flow(problem, s, start, ts=ts))) / 50
        ask = {"ts": ts, "functional": loss}
        density = seconds(many(lambda s=schedule, a=ask: ef.influence_density(problem, s, start, **a))) / 50
        table.add_row(f"diabetes, {name}", f"{1e3 * flow:.2f}", f"{1e3 * density:.2f}", f"{density / flow:.2f}", "3")


def bare(problem: ef.Problem, rule: optax.GradientTransformation, batch: int | None) -> Callable[..., Any]:
    """The training by itself."""
    x, y = jnp.asarray(problem.data.x), jnp.asarray(problem.data.y)
    words = tuple(int(word) for word in np.asarray(jax.random.key_data(jax.random.key(0))))
    points = epoch_batches(words, len(x), batch or len(x), range(STEPS))  # drawn beforehand, as the density's are

    @jax.jit
    def train(theta: jax.Array, state: Any) -> Any:
        def step(carry: Any, drawn: jax.Array) -> tuple[Any, None]:
            theta, state = carry
            rows = (x, y)
            if batch:
                rows = x[drawn], y[drawn]

            def risk(t: jax.Array) -> jax.Array:
                losses = jax.vmap(lambda a, b: problem.loss(problem.model(t, a), b))(*rows)
                return jnp.mean(losses) + 0.5 * problem.l2 * t @ t

            moves, state = rule.update(jax.grad(risk)(theta), state, theta)
            return (optax.apply_updates(theta, moves), state), None

        return jax.lax.scan(step, (theta, state), jnp.asarray(points))[0]

    return train


def network(table: Table) -> None:
    data = ef.load_dataset("diabetes")
    model = ef.MLP((10, 32, 1))
    problem = ef.Problem(model, ef.SquaredLoss(), data, delete=[17], l2=1e-3, reduction="mean")
    start = np.asarray(model.init(jax.random.key(0)))
    loss = ef.Losses(model, problem.loss, data.x[:1], data.y[:1])
    ts = np.linspace(0.0, STEPS, TIMES + 1).round()
    rules = (("descent", optax.sgd(0.1), None), ("Adam", optax.adam(1e-2), None), ("Adam", optax.adam(1e-2), 32))
    for name, rule, batch in rules:
        train, state = bare(problem, rule, batch), rule.init(jnp.asarray(start))
        alone = seconds(lambda f=train, s=state: f(jnp.asarray(start), s))
        drawn = {} if batch is None else {"batch": batch, "key": jax.random.key(0)}
        ask = {"ts": ts, "functional": loss, "optimiser": rule, **drawn}
        density = seconds(lambda a=ask: ef.influence_density(problem, ef.Step(1e3), start, **a).values)
        what = f"MLP 10-32-1, {name}" + (f", batches of {batch}" if batch else "")
        table.add_row(what, f"{1e3 * alone:.1f}", f"{1e3 * density:.1f}", f"{density / alone:.2f}", "6")


def memory(console: Console) -> None:
    """Peak memory of the backward pass against the number of steps: at most ∝ √steps."""
    data = ef.load_dataset("diabetes")
    model = ef.MLP((10, 2_000, 1))
    problem = ef.Problem(model, ef.SquaredLoss(), ef.Dataset(data.x[:20], data.y[:20]), delete=[1], reduction="mean")
    start, rule = np.asarray(model.init(jax.random.key(0))), optax.adam(1e-4)
    first = lambda theta: theta[0]  # noqa: E731
    table = Table("steps", "peak MB", title=f"d = {model.dim:,}")
    for steps in (100, 400, 1_600):
        ask = {"ts": np.array([0.0, steps]), "functional": first, "optimiser": rule}
        run = lambda a=ask: ef.influence_density(problem, ef.Constant(1.0), start, **a)  # noqa: E731
        run()
        table.add_row(f"{steps:,}", f"{peak_memory(run):.0f}")
    console.print(table)


def main() -> None:
    console = Console()
    table = Table("what", "alone, ms", "density, ms", "ratio", "at most", title=f"all points at {TIMES} times")
    linear(table)
    network(table)
    console.print(table)
    memory(console)


if __name__ == "__main__":
    main()
