"""A warm `optimal_schedule` against its own first call in this process: diabetes, d = 10, 100 intervals.

    python benchmarks/bench_control.py

The first call compiles JAX functions and builds the nonlinear program; the same shapes never do so again. Warm figures
are medians over problems that differ in the deleted point and the window, so that nothing but shapes can be reused.
"""

import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
from rich.console import Console
from rich.table import Table

import epsflow as ef

jax.config.update("jax_enable_x64", True)

WARM_LIMIT = 0.2  # seconds: what a script that sweeps over problems can wait for
LEAST_RATIO = 10.0


def solve(point: int, T: float, method: str) -> ef.ScheduleSolution:
    problem = ef.linear_regression(ef.load_dataset("diabetes"), [point], reduction="mean")
    return ef.optimal_schedule(problem, jnp.zeros(10), s=50.0, T=T, intervals=100, method=method)


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    table = Table(title="optimal_schedule, diabetes (d = 10), 100 intervals")
    for column in ("method", "first call / s", "warm / s", "first / warm", "cost", "scope", "verdict"):
        table.add_column(column, justify="left" if column in ("method", "scope", "verdict") else "right")
    # Shooting and collocation see no structure; they are the general route, here for comparison.
    for method in ("auto", "exponential", "shooting", "collocation"):
        first = seconds(lambda method=method: solve(382, 200.0, method))
        cases = [(382, 190.0), (123, 200.0), (17, 210.0), (256, 180.0), (382, 205.0)]
        warm = statistics.median(seconds(lambda m=method, p=p, t=t: solve(p, t, m)) for p, t in cases)
        found = solve(382, 200.0, method)
        fast = warm <= WARM_LIMIT and first >= LEAST_RATIO * warm
        verdict = ("met" if fast else "missed") if method in ("auto", "exponential") else "-"
        cells = (f"{first:.2f}", f"{warm:.3f}", f"{first / warm:.0f}", f"{found.cost:.12g}", found.scope.value, verdict)
        table.add_row(method, *cells)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
