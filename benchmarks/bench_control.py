"""`optimal_schedule`: certified optima of linear regression, first and warm; structured routes against plain programs.

    OMP_NUM_THREADS=1 python benchmarks/bench_control.py

The first table is CPU time on one thread. "First" is the first call of a fresh process whose imports are done; "another
shape" solves problems of seven shapes in turn, "same shape" one of them as often. Peer: CasADi with IPOPT on the same
problem, by direct transcription on 100 intervals, whose cost is simulated exactly.

The second table shows what the general routes take that see no structure.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

import epsflow as ef

jax.config.update("jax_enable_x64", True)

REPEATS = 15
FIRST_LIMIT, SHAPES_LIMIT = 0.1, 4.0


class Case(NamedTuple):
    name: str
    problem: ef.Problem
    theta0: np.ndarray
    question: dict[str, object]
    limit: float  # seconds, warm


def outlier(seed: int, d: int, bounds: tuple[float, float], limit: float, name: str) -> Case:
    """An outlier is deleted, whose residual keeps its sign."""
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((d + 4, d)), 3.0 * rng.standard_normal(d + 4)
    y[0] += 30.0
    problem, theta0 = ef.linear_regression(ef.Dataset(x, y), [0]), 3.0 * rng.standard_normal(d)
    return Case(name, problem, theta0, {"s": 0.2, "T": 0.6, "bounds": bounds}, limit)


def noise(seed: int, n: int, d: int, limit: float, name: str) -> Case:
    """Any point is deleted, from θ0 = 0."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d))
    y = x @ rng.standard_normal(d) + rng.standard_normal(n)
    problem = ef.linear_regression(ef.Dataset(x, y), [0], reduction="mean")
    return Case(name, problem, np.zeros(d), {"s": 1.0, "T": 5.0}, limit)


def diabetes() -> Case:
    problem = ef.linear_regression(ef.load_dataset("diabetes"), [382], reduction="mean")
    return Case("diabetes", problem, np.zeros(10), {"s": 50.0, "T": 200.0}, 0.005)


CASES: dict[str, Callable[[], Case]] = {
    "diabetes": diabetes,
    "d = 10": lambda: noise(0, 60, 10, 0.005, "d = 10"),
    "d = 30, two switches": lambda: outlier(1, 30, (-0.5, 1.0), 0.015, "d = 30, two switches"),
    "d = 30, residual changes sign": lambda: noise(0, 60, 30, 0.015, "d = 30, residual changes sign"),
    "the same, other numbers": lambda: noise(1, 60, 30, 0.015, "the same, other numbers"),
    "d = 200": lambda: noise(0, 400, 200, 0.03, "d = 200"),
}


def solve(case: Case, **options: object) -> ef.ScheduleSolution:
    return ef.optimal_schedule(case.problem, case.theta0, throw=False, **case.question, **options)


def cpu(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def warm(work: Callable[[], object], repeats: int = REPEATS) -> float:
    work()
    return statistics.median(cpu(work) for _ in range(repeats))


def first(name: str) -> float:
    """CPU seconds of the first call in a fresh process, imports done."""
    code = (
        f"import bench_control as b; c = b.CASES[{name!r}](); b.ef.optimal_schedule; print(b.cpu(lambda: b.solve(c)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=sys.path[0])
    return json.loads(ran.stdout)


def certified() -> Table:
    table = Table(title="Certified optima of linear regression, CPU time")
    for column in (
        "problem",
        "first / ms",
        "warm / ms",
        "limit / ms",
        "gap",
        "arcs",
        "CasADi / ms",
        "its gap",
        "verdict",
    ):
        table.add_column(column, justify="left" if column in ("problem", "verdict") else "right")
    for name, make in CASES.items():
        case = make()
        found = solve(case)
        took, begin = warm(lambda c=case: solve(c)), first(name)
        other = ef.compare_schedules(case.problem, case.theta0, families=(ef.Step,), check=True, **case.question).check
        assert other is not None
        met = took <= case.limit and (case.problem.dim > 30 or begin <= FIRST_LIMIT)
        table.add_row(
            name,
            f"{1e3 * begin:.0f}",
            f"{1e3 * took:.1f}",
            f"{1e3 * case.limit:.0f}",
            f"{found.gap / found.cost:.0e}",
            str(len(found.arcs)),
            f"{1e3 * other.seconds:.0f}",
            f"{(other.cost - found.lower_bound) / found.cost:.0e}",
            "met" if met else "missed",
        )
    return table


def shapes() -> str:
    cases = [noise(d, 3 * d, d, 0.0, "") for d in range(5, 12)]
    other = statistics.median(cpu(lambda c=case: solve(c)) for case in cases)
    same = statistics.median(cpu(lambda: solve(cases[-1])) for _ in cases)
    verdict = "met" if other <= SHAPES_LIMIT * same else "missed"
    return f"another shape each time: {other / same:.1f} times the same shape again (limit {SHAPES_LIMIT:g}): {verdict}"


def routes() -> Table:
    table = Table(title="Routes on a mesh of 100 intervals, diabetes, wall time")
    for column in ("method", "first call / s", "warm / s", "cost", "scope"):
        table.add_column(column, justify="left" if column in ("method", "scope") else "right")
    for method in ("auto", "exponential", "shooting", "collocation"):
        times = []
        for _ in range(3):
            start = time.perf_counter()
            found = solve(diabetes(), method=method, intervals=100)
            times.append(time.perf_counter() - start)
        table.add_row(method, f"{times[0]:.2f}", f"{min(times[1:]):.3f}", f"{found.cost:.12g}", found.scope.value)
    return table


def main() -> None:
    console = Console(width=130)
    console.print(certified())
    console.print(shapes())
    console.print(routes())


if __name__ == "__main__":
    main()
