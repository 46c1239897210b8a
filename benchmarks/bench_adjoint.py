"""Optimal schedules of models without propagators: a 3-neuron MLP, logistic regression, and an MLP with 11,260 weights.

    python benchmarks/bench_adjoint.py [mlp3 | breast_cancer | ascent | digits | training]

What is found, against 1_[0,s] and the best single switch, all simulated by the flow room; how far Pontryagin's
conditions fail; how many gradients the mesh took; and what one gradient by all N levels and N lengths costs in units of
one cost: by differences it would be 2N + 1, and the limit is N. The target of the large network is what retraining from
the same start gives at T. Peak memory is that of the process so far: rows ascend in size.

`training`: with an optimiser and batches, the gradient of the cost of discrete training by ε of every step, in units of
that training by `train_with` (limit 6, in CPU seconds of the whole process), its peak memory against the number of
steps, and a first answer from the shell's prompt on.
"""

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from measure import peak_memory
from rich.console import Console
from rich.table import Table

import epsflow as ef
from epsflow.control import make_task
from epsflow.control._mesh import system_of
from epsflow.control.polish._polish import descend
from epsflow.control.polish._swept import SweptEngine
from epsflow.control.systems._rollout import choose_steps, roll_out, sweep
from epsflow.control.terms._deadline import UNLIMITED
from epsflow.control.terms._reading import read_arcs
from epsflow.control.terms._window import MeshWindow
from epsflow.flow import Course, EndSlope, course_of

jax.config.update("jax_enable_x64", True)

VERIFIED = 1e-6  # of the cost: the PMP gap that a polished schedule leaves


class Case(NamedTuple):
    problem: ef.Problem
    theta0: jax.Array
    s: float
    T: float
    intervals: int
    target: jax.Array | None
    bounds: tuple[float, float] = (0.0, 1.0)


def mlp3() -> Case:
    """20 points on a line, three hidden neurons, two points deleted."""
    rng, model = np.random.default_rng(3), ef.MLP((1, 3, 1))
    x = rng.standard_normal((20, 1))
    y = np.tanh(2.0 * x[:, 0]) + 0.1 * rng.standard_normal(20)
    problem = ef.Problem(model, ef.SquaredLoss(), ef.Dataset(x, y), [3, 7], l2=0.05)
    return Case(problem, model.init(jax.random.key(1)), 0.1, 2.6, 20, None)


def breast_cancer() -> Case:
    """All 569 points and 30 features; one point deleted."""
    data = ef.load_dataset("breast_cancer")
    problem = ef.Problem(ef.LinearModel(30), ef.LogisticLoss(), data, [38], l2=0.01, reduction="mean")
    return Case(problem, jnp.zeros(30), 5.0, 25.0, 40, None)


def digits() -> Case:
    """All 1797 images; the first ten threes deleted. Dropping them at once turns out best."""
    return network(ef.load_dataset("digits"), s=2.0, T=6.0, intervals=16, bounds=(0.0, 1.0))


def ascent() -> Case:
    """300 of the images, and ε may be negative: first away from the deleted points, then back."""
    return network(ef.load_dataset("digits").subsample(300, seed=0), s=1.0, T=3.0, intervals=8, bounds=(-1.0, 1.0))


def network(data: ef.Dataset, s: float, T: float, intervals: int, bounds: tuple[float, float]) -> Case:
    model = ef.MLP((64, 150, 10))
    threes = np.flatnonzero(data.y == 3.0)[:10]
    problem = ef.Problem(model, ef.SoftmaxCrossEntropy(), data, threes, l2=1e-3, reduction="mean")
    theta0 = model.init(jax.random.key(0))
    retrained = ef.gradient_flow(problem, ef.Constant(0.0), theta0, ts=np.array([T]), estimate_error=False).end
    return Case(problem, theta0, s, T, intervals, retrained, bounds)


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - start


def main(names: list[str]) -> None:
    table = Table(title="optimal_schedule by the adjoint route")
    columns = ("problem", "d", "arcs", "cost / 1_[0,s]", "cost / best switch", "PMP gap / cost", "least curvature")
    for column in (*columns, "iterations", "gradients", "gradient / cost", "peak GB", "claim", "verdict"):
        table.add_column(column, justify="left" if column in ("problem", "arcs", "claim", "verdict") else "right")
    for name in names:
        table.add_row(name, *row(CASES[name]()))
    Console(width=200).print(table)


def row(case: Case) -> tuple[str, ...]:
    window = {"s": case.s, "T": case.T, "target": case.target, "bounds": case.bounds}
    found = ef.optimal_schedule(
        case.problem, case.theta0, **window, intervals=case.intervals, method="adjoint", throw=False
    )
    task = make_task(case.problem, case.theta0, **window)
    baseline = cost(case, task.target, ef.Step(case.s))
    low, high = case.bounds
    system = system_of(task, shared=True)
    levels = np.where(np.arange(case.intervals) < case.intervals // 2, high, low)[:, None]
    durations = np.full(case.intervals, (case.T - case.s) / case.intervals)
    steps = choose_steps(system, task.theta_s, durations, [levels], baseline)
    mesh = MeshWindow(case.T - case.s, case.bounds, baseline)
    engine = SweptEngine(system, task.theta_s, mesh, most=case.intervals, steps=steps, deadline=UNLIMITED)
    knots = np.linspace(case.s, case.T, case.intervals + 1)
    halves = read_arcs(case.bounds, knots, levels)
    switch = cost(case, task.target, descend(engine, halves).schedule())
    numbers = system, steps, task.theta_s, durations, levels
    sweep(*numbers)
    ratio = seconds(lambda: sweep(*numbers)) / seconds(lambda: roll_out(*numbers))
    gap = found.pmp_gap / found.cost
    best = found.cost <= switch * (1.0 + 1e-9)
    met = found.scope is ef.Scope.LOCAL and gap <= VERIFIED and ratio <= case.intervals and best
    return (
        str(case.problem.dim),
        ", ".join(f"{arc.kind} to {arc.end:.4f}" for arc in found.arcs),
        f"{found.cost / baseline:.6f}",
        f"{found.cost / switch:.6f}",
        f"{gap:.1e}",
        f"{found.second_order.least_curvature:.2e}" if found.second_order else "-",
        str(sum(run.iterations for run in found.candidates)),
        str(sum(run.sweeps for run in found.candidates)),
        f"{ratio:.1f}",
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f}",
        f"{found.status.value}, {found.scope.value}",
        "met" if met else "missed",
    )


def cost(case: Case, target: jax.Array, schedule: ef.AbstractSchedule) -> float:
    end = ef.gradient_flow(case.problem, schedule, case.theta0, ts=np.array([case.T]), estimate_error=False).end
    return 0.5 * float(jnp.sum((end - target) ** 2))


GRADIENT_LIMIT = 6.0  # trainings that a gradient by ε may take

FIRST_ANSWER = """
import jax; jax.config.update("jax_enable_x64", True)
import optax, epsflow as ef
network = ef.MLP((64, 16, 10)), ef.SoftmaxCrossEntropy()
problem = ef.Problem(*network, ef.load_dataset("digits"), list(range(18)), l2=1e-3, reduction="mean")
question = dict(optimiser=optax.adam(1e-3), batch=32, key=jax.random.split(jax.random.key(0), 2), intervals=5)
print(ef.optimal_schedule(problem, problem.model.init, s=100, T=200, throw=False, **question))
"""


class Trained(NamedTuple):
    """A training of a network on digits, its optimiser with it."""

    widths: tuple[int, ...]
    batch: int | None
    steps: int
    optimiser: str
    dtype: str = "float64"


TRAININGS = (
    Trained((64, 16, 10), 32, 60, "adam"),
    Trained((64, 32, 10), 32, 400, "sgd"),
    Trained((64, 32, 10), 32, 400, "adam"),
    Trained((64, 150, 10), 64, 200, "adam"),
    Trained((64, 150, 10), 64, 200, "adam", "float32"),
    Trained((64, 32, 10), None, 60, "adam"),
)
OPTIMISERS = {"sgd": optax.sgd(0.05), "adam": optax.adam(1e-3)}
DEEP = (64, 300, 100, 10)


def training() -> None:
    console = Console(width=160)
    table = Table(title="gradient of the cost of a training by ε of every step")
    for column in ("widths", "d", "batch", "steps", "optimiser", "dtype"):
        table.add_column(column)
    for column in ("training, CPU s", "gradient / training", "verdict"):
        table.add_column(column, justify="right")
    for case in TRAININGS:
        table.add_row(*gradient_row(case))
    console.print(table)
    table = Table(title=f"peak memory of that gradient, MLP{DEEP}, Adam, batches of 4")
    for column in ("steps", "peak, MB", "peak / √steps"):
        table.add_column(column, justify="right")
    for steps in (64, 256, 1_024, 4_096):
        course, weights = course_for(Trained(DEEP, 4, steps, "adam"))
        course.slopes(weights, to_zero)
        peak = peak_memory(lambda course=course, weights=weights: course.slopes(weights, to_zero))
        table.add_row(f"{steps:,}", f"{peak:.0f}", f"{peak / steps**0.5:.1f}")
    console.print(table)
    start, before = time.perf_counter(), children_seconds()
    done = subprocess.run([sys.executable, "-c", FIRST_ANSWER], capture_output=True, text=True, check=True)
    wall, cpu = time.perf_counter() - start, children_seconds() - before
    console.print(f"first answer, 2 seeds, {wall:.1f} s ({cpu:.1f} CPU s): {done.stdout.strip()}")


def children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def course_for(case: Trained) -> tuple[Course, np.ndarray]:
    problem, theta0 = digits_problem(case)
    arguments = {"optimiser": OPTIMISERS[case.optimiser], "batch": case.batch, "key": jax.random.key(1)}
    course = course_of(problem, theta0, **arguments, dtype=case.dtype, steps=case.steps)
    return course, np.full((case.steps, 1), 0.5)


def digits_problem(case: Trained) -> tuple[ef.Problem, np.ndarray]:
    model = ef.MLP(case.widths)
    problem = ef.Problem(
        model, ef.SoftmaxCrossEntropy(), ef.load_dataset("digits"), np.arange(18), l2=1e-3, reduction="mean"
    )
    return problem, np.asarray(model.init(jax.random.key(0)))


def gradient_row(case: Trained) -> tuple[str, ...]:
    problem, theta0 = digits_problem(case)
    course, weights = course_for(case)
    arguments = {"optimiser": OPTIMISERS[case.optimiser], "batch": case.batch, "key": jax.random.key(1)}
    train = cpu_seconds(
        lambda: ef.train_with(problem, ef.Constant(0.5), theta0, steps=case.steps, dtype=case.dtype, **arguments)
    )
    ratio = cpu_seconds(lambda: course.slopes(weights, to_zero)) / train
    facts = case.widths, problem.dim, case.batch or "all", case.steps, case.optimiser, case.dtype
    return (*map(str, facts), f"{train:.3f}", f"{ratio:.2f}", "met" if ratio <= GRADIENT_LIMIT else "missed")


def to_zero(theta: np.ndarray) -> EndSlope:
    return EndSlope(0.5 * float(theta @ theta), theta)


def cpu_seconds(work: Callable[[], object]) -> float:
    """The least of five runs, after one that compiles."""
    work()
    times = []
    for _ in range(5):
        before = time.process_time()
        work()
        times.append(time.process_time() - before)
    return min(times)


CASES = {"mlp3": mlp3, "breast_cancer": breast_cancer, "ascent": ascent, "digits": digits}

if __name__ == "__main__":
    asked = sys.argv[1:] or [*CASES, "training"]
    if flows := [name for name in asked if name != "training"]:
        main(flows)
    if "training" in asked:
        training()
