"""Leverage, Cook's distance, DFBETAS and leave-one-outs of all points: ours beside statsmodels and bare NumPy.

    python benchmarks/bench_leverage.py [--plot growth.png]

Same data, same process; the ratio is what carries over to another machine.
"""

import argparse
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from epsflow.analysis import leverage
from epsflow.problem import Dataset, linear_regression, load_dataset

jax.config.update("jax_enable_x64", True)

try:
    import statsmodels.api as sm
except ImportError as error:
    raise SystemExit("this benchmark compares with statsmodels: pip install 'epsflow[bench]'") from error

QUANTITIES = (
    "leverages",
    "studentised_residuals",
    "external_residuals",
    "cooks_distance",
    "dffits",
    "dfbetas",
    "deltas",
)


def best(work: Callable[[], Any], repeat: int) -> tuple[float, Any]:
    """The shortest of `repeat` runs, after one that warms up."""
    result, times = work(), []
    for _ in range(repeat):
        start = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start)
    return min(times), result


def ours(problem: Any) -> dict[str, np.ndarray]:
    found = leverage(problem)
    return {name: getattr(found, name) for name in QUANTITIES}


def statsmodels(x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    found = sm.OLS(y, x).fit().get_influence()
    return {
        "leverages": found.hat_matrix_diag,
        "studentised_residuals": found.resid_studentized_internal,
        "external_residuals": found.resid_studentized_external,
        "cooks_distance": found.cooks_distance[0],
        "dffits": found.dffits[0],
        "dfbetas": found.dfbetas,
        "deltas": -found.dfbeta,
    }


def closed_form(x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """The textbook, by the normal equations and without any check."""
    n, d = x.shape
    inverse = np.linalg.inv(x.T @ x)
    solved = x @ inverse
    h, e = (solved * x).sum(axis=1), y - solved @ (x.T @ y)
    e = y - x @ (inverse @ (x.T @ y))
    left = e / (1.0 - h)
    s2 = e @ e / (n - d)
    without = (e @ e - e * left) / (n - d - 1)
    external = e / np.sqrt(without * (1.0 - h))
    deltas = -solved * left[:, None]
    return {
        "leverages": h,
        "studentised_residuals": e / np.sqrt(s2 * (1.0 - h)),
        "external_residuals": external,
        "cooks_distance": left**2 * h / (d * s2),
        "dffits": external * np.sqrt(h / (1.0 - h)),
        "dfbetas": -deltas / np.sqrt(without)[:, None] / np.sqrt(np.diagonal(inverse)),
        "deltas": deltas,
    }


def disagreement(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> float:
    """Largest difference, relative to the quantity's largest entry."""
    return max(float(np.abs(a[name] - b[name]).max() / np.abs(b[name]).max()) for name in QUANTITIES)


def synthetic(n: int, d: int) -> Dataset:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, d))
    return Dataset(x, x @ rng.normal(size=d) + rng.normal(size=n), f"{n}×{d}")


def peers(console: Console) -> None:
    data = load_dataset("diabetes")
    problem = linear_regression(data)
    mine, found = best(lambda: ours(problem), 50)
    table = Table("diabetes 442×10, all seven quantities", "ms", "time / ours", "difference from ours")
    table.add_row("epsflow", f"{1e3 * mine:.3f}", "1", "")
    for name, work, repeat in (("statsmodels", statsmodels, 5), ("NumPy, closed form", closed_form, 50)):
        seconds, theirs = best(lambda work=work: work(data.x, data.y), repeat)
        table.add_row(name, f"{1e3 * seconds:.3f}", f"{seconds / mine:.3g}", f"{disagreement(found, theirs):.1e}")
        if disagreement(found, theirs) > 1e-10:
            raise SystemExit(
                f"{name} disagrees with epsflow by {disagreement(found, theirs):.1e}; the times mean nothing"
            )
    console.print(table)


def growth(console: Console, plot: str | None) -> None:
    table = Table("n×d", "ms", "ns per n·d²", "peak memory beside the data, MB", "results, MB")
    rows = [(n, 50) for n in (1_250, 5_000, 20_000, 80_000)] + [(20_000, d) for d in (12, 25, 100)]
    measured = []
    for n, d in rows:
        problem = linear_regression(synthetic(n, d))
        seconds, found = best(lambda problem=problem: leverage(problem), 3)
        tracemalloc.start()
        leverage(problem)
        peak = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
        size = sum(part.nbytes for part in vars(found).values() if isinstance(part, np.ndarray)) / 1e6
        table.add_row(
            f"{n}×{d}", f"{1e3 * seconds:.1f}", f"{1e9 * seconds / (n * d * d):.3f}", f"{peak:.1f}", f"{size:.1f}"
        )
        measured.append((n, d, seconds, peak))
    console.print(table)
    if plot:
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots(1, 2, figsize=(8, 3.5), layout="constrained")
        for axis, column, label in zip(axes, (2, 3), ("time, s", "peak memory, MB"), strict=True):
            by_n = [row for row in measured if row[1] == 50]
            axis.loglog([row[0] for row in by_n], [row[column] for row in by_n], "o-", label="d = 50")
            axis.set(xlabel="points n", ylabel=label)
            axis.legend()
        figure.savefig(plot)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plot", help="write a log–log plot of time and memory against n")
    arguments = parser.parse_args()
    console = Console()
    peers(console)
    growth(console, arguments.plot)


if __name__ == "__main__":
    main()
