"""`optimal_schedule` as parameters and mesh intervals grow: linear regression, one outlier deleted.

    python benchmarks/bench_scaling.py [d ...]

Default: 2, 10, 100, 1000 parameters with 20 points more than that, and 2000 parameters with 200 points. "problem" is
the eigendecomposition of H, "solve" a warm call for another T. "ratio" is solve in units of problem: what the control
adds to the one eigendecomposition that there is. The second table forces a mesh, which the default route does without:
what remains over the certified optimum before the polish frees the schedule of it.
"""

import sys
import time

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

import epsflow as ef

jax.config.update("jax_enable_x64", True)


def question(d: int, n: int) -> tuple[ef.Problem, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, d)) / np.sqrt(d)
    y = x @ rng.standard_normal(d) + 0.3 * rng.standard_normal(n)
    y[0] += 20.0
    return ef.linear_regression(ef.Dataset(x, y), [0], l2=0.05), rng.standard_normal(d)


def by_intervals() -> Table:
    """Warm runs of the structured program and of the QP, d = 10, until a mesh takes five seconds."""
    problem, theta0 = question(10, 30)
    theta0, window = np.zeros(10), {"s": 0.5, "T": 3.0}  # from here the optimum has a switch inside an interval
    best = ef.optimal_schedule(problem, theta0, **window)
    table = Table(title="routes on a mesh, by number of intervals, d = 10")
    for column in ("intervals", "exponential / s", "cost over optimum", "qp / s", "cost over optimum"):
        table.add_column(column, justify="right")
    slow = set()
    for intervals in (50, 100, 200, 500, 1000, 2000):
        cells = [str(intervals)]
        for method in ("exponential", "qp"):
            if method in slow:
                cells += ["-", "-"]
                continue
            for T in (3.1, 3.0):  # the first builds the program
                start = time.perf_counter()
                found = ef.optimal_schedule(problem, theta0, s=0.5, T=T, intervals=intervals, method=method)
                seconds = time.perf_counter() - start
            knots = np.linspace(0.5, 3.0, intervals + 1)
            costs = [
                ef.certify(problem, ef.PiecewiseConstant(knots, run.values), theta0, **window).cost
                for run in found.candidates
            ]
            cells += [f"{seconds:.2f}", f"{min(costs) / best.cost - 1.0:.1e}"]
            if seconds > 5.0:
                slow.add(method)
        table.add_row(*cells)
    return table


def main() -> None:
    sizes = [(int(d), int(d) + 20) for d in sys.argv[1:]] or [(2, 22), (10, 30), (100, 120), (1000, 1020), (2000, 200)]
    table = Table(title="optimal_schedule by number of parameters")
    for column in ("d", "n", "moving", "problem / s", "solve / s", "ratio", "relative gap", "scope"):
        table.add_column(column, justify="right" if column != "scope" else "left")
    for d, n in sizes:
        start = time.perf_counter()
        problem, theta0 = question(d, n)
        jax.block_until_ready(problem.risk.retained.vectors)
        built = time.perf_counter() - start
        ef.optimal_schedule(problem, theta0, s=0.5, T=3.0)
        start = time.perf_counter()
        found = ef.optimal_schedule(problem, theta0, s=0.5, T=3.1)
        solved = time.perf_counter() - start
        moving = found.extremal.path.task.rates.size
        cells = d, n, moving, f"{built:.2f}", f"{solved:.2f}", f"{solved / built:.2f}", f"{found.gap / found.cost:.0e}"
        table.add_row(*map(str, cells), found.scope.value)
    Console(width=120).print(table)
    if not sys.argv[1:]:
        Console(width=120).print(by_intervals())


if __name__ == "__main__":
    main()
