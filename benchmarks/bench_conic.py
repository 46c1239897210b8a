"""CasADi's conic solvers on the condensed program of linear regression, and the polish, which has no mesh, beside them.

    python benchmarks/bench_conic.py

One problem per size: an outlier is deleted, ε in [−½, 1], so that the optimum switches inside the window. "error" is
the value on the mesh relative to the best of all solvers at that size: what the solver itself leaves. "to optimum" is
relative to the certified optimum: what the mesh leaves. Times are medians of three calls, setup included, in units of
the polish's.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

import epsflow as ef
from epsflow.control._task import linear_of
from epsflow.control.bounds._dual import settled_signs
from epsflow.control.programs._conic import OPTIONS, SOLVER, solve_conic

jax.config.update("jax_enable_x64", True)

SOLVERS: dict[str, dict[str, Any]] = {
    "daqp": {"daqp": {"eps_prox": 1e-7}},
    "highs": {"highs": {"output_flag": False}},
    "hpipm": {},
    SOLVER: OPTIONS,
    "proxqp": {"proxqp": {"verbose": False, "eps_abs": 1e-9, "max_iter": 100_000}},
    "qpoases": {"printLevel": "none", "nWSR": 100_000, "sparse": False},
}
"""Plugins, with the options that let each reach 1e-9 in silence."""


def problem(d: int) -> tuple[ef.Problem, np.ndarray]:
    rng = np.random.default_rng(5)
    y = 3.0 * rng.standard_normal(d + 4)
    y[0] += 30.0
    return ef.linear_regression(ef.Dataset(rng.standard_normal((d + 4, d)), y), [0]), 3.0 * rng.standard_normal(d)


def timed(call: Callable[[], Any], repeats: int = 3) -> tuple[Any, float]:
    seconds, result = [], None
    for _ in range(repeats):
        start = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - start)
    return result, statistics.median(seconds)


def main() -> None:
    table = Table(title=f"condensed QP, conic plugins of CasADi (chosen: {SOLVER})")
    for column in ("d", "intervals", "solver", "error", "to optimum", "time / polish", "status"):
        table.add_column(column, justify="right" if column not in ("solver", "status") else "left")
    for d, intervals in ((10, 50), (10, 100), (10, 200), (100, 100)):
        question, start = problem(d)
        window = {"s": 0.2, "T": 0.2 + 4.0 / d, "bounds": (-0.5, 1.0)}
        ef.optimal_schedule(question, start, **window)  # compiles
        best, polish = timed(lambda q=question, a=start, w=window: ef.optimal_schedule(q, a, **w))
        linear, runs = linear_of(best.task), {}
        for solver in SOLVERS:
            try:
                signs = settled_signs(linear, "the program")
                given = {"solver": solver, "options": SOLVERS[solver]}
                runs[solver] = timed(partial(solve_conic, linear, signs, intervals, **given))
            except RuntimeError as error:
                table.add_row(
                    str(d), str(intervals), solver, "-", "-", "-", f"refused: {str(error).splitlines()[-1][:40]}"
                )
        least = min(run.value for run, _ in runs.values() if run.candidate.success)
        for solver, (run, seconds) in sorted(runs.items(), key=lambda item: item[1][1]):
            status = run.candidate.status if run.candidate.success else f"failed ({run.candidate.status})"
            numbers = f"{run.value / least - 1.0:.0e}", f"{run.value / best.cost - 1.0:.1e}", f"{seconds / polish:.2f}"
            table.add_row(str(d), str(intervals), solver, *numbers, status)
        table.add_section()
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
