"""A certified `optimal_schedule` as the number of parameters grows: linear regression, one outlier deleted.

    python benchmarks/bench_dimension.py [d ...]

Default: 2, 10, 100, 1000 parameters with 20 points more than that, and 2000 parameters with 200 points. "problem" is
the eigendecomposition of H, "solve" a warm call for another T. "ratio" is solve in units of problem: what the control
adds to the one eigendecomposition that there is.
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
        moving = found.extremal.path.control.rates.size
        cells = d, n, moving, f"{built:.2f}", f"{solved:.2f}", f"{solved / built:.2f}", f"{found.gap / found.cost:.0e}"
        table.add_row(*map(str, cells), found.scope.value)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
