"""Leverage, Cook's distance, DFBETAS and leave-one-outs of all points: ours beside statsmodels and bare NumPy.

    python benchmarks/bench_leverage.py [--plot growth.png]

Same data, same process; the ratio is what carries over to another machine.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from measure import arguments, best, growth
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
    "change",
)


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
        "change": -found.dfbeta,
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
        "change": deltas,
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


def make(n: int, d: int) -> tuple[Callable[[], Any], int]:
    problem = linear_regression(synthetic(n, d))
    return lambda: ours(problem), d


def main() -> None:
    options = arguments(__doc__)
    console = Console()
    peers(console)
    if not options.no_growth:
        by_n, by_d = [(n, 50) for n in (1_250, 5_000, 20_000, 80_000)], [(20_000, d) for d in (12, 25, 50, 100)]
        cost = "n·d²", lambda n, d: n * d * d
        growth(console, "Leverage and six diagnostics of every point", make, cost, by_n, by_d, options.plot)


if __name__ == "__main__":
    main()
