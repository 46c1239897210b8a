"""1,000 random problems with two parameters: what does the optimal schedule look like, and is that proved?

    python benchmarks/bench_sweep.py [count]

Each problem: n = 10 Gaussian points in two dimensions of scales 1 and e^N(0,1), a linear law with noise, the deleted
point moved by an error of scale 3; θ0 Gaussian, request at s in [0, 1], deadline after another [½, 4] of flow time on
the mean loss. *Closed*: the lower bound meets the simulated cost to 1e-6 of it, or the target is reached.
"""

import sys
import time
from collections import Counter

import jax
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import epsflow as ef

jax.config.update("jax_enable_x64", True)

CLOSED = 1e-6


def random_problem(rng: np.random.Generator) -> tuple[ef.Problem, np.ndarray, float, float]:
    """A problem without its first point, θ0, s and T."""
    x = rng.normal(size=(10, 2)) * [1.0, np.exp(rng.normal())]
    y = x @ rng.normal(size=2) + 0.3 * rng.normal(size=10)
    y[0] += 3.0 * rng.normal()
    s = rng.uniform(0.0, 1.0)
    problem = ef.linear_regression(ef.Dataset(x, y), delete=[0], reduction="mean")
    return problem, rng.normal(size=2), s, s + rng.uniform(0.5, 4.0)


def structure(best: ef.ScheduleSolution) -> str:
    """The arcs between s and T in digits, high = 1 and low = 0, or that the target is reached, or nothing is left."""
    if best.status is ef.Status.EXACT:
        return "exact unlearning"
    if best.scope is ef.Scope.WITHIN_ERROR:
        return "within its error of zero"
    digits = {"high": "1", "low": "0", "interior": "singular"}
    found = [digits[arc.kind] for arc in best.arcs]
    return "0 throughout (1_[0,s])" if found == ["0"] else " → ".join([*found, *(["0"] if found[-1] != "0" else [])])


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    rng = np.random.default_rng(0)
    kinds, closed, gaps, gains, seconds = Counter(), Counter(), [], [], []
    for _ in track(range(count), console=Console(stderr=True), description="solving"):
        problem, theta0, s, T = random_problem(rng)
        start = time.perf_counter()
        best = ef.optimal_schedule(problem, theta0, s=s, T=T, throw=False)
        seconds.append(time.perf_counter() - start)
        kind, baseline = structure(best), ef.certify(problem, ef.Step(s), theta0, s=s, T=T).cost
        certain = best.status is ef.Status.EXACT or best.scope is ef.Scope.WITHIN_ERROR
        proved = certain or best.gap <= CLOSED * best.cost
        kinds[kind] += 1
        closed[kind] += proved
        gaps.append(0.0 if proved else best.gap / best.cost)
        gains.append(1.0 - best.cost / baseline)
    table = Table(title=f"optimal schedules of {count} random problems, d = 2")
    for column in ("structure on (s, T), then 0", "share", "closed to 1e-6"):
        table.add_column(column, justify="left" if column.startswith("s") else "right")
    for kind, number in kinds.most_common():
        table.add_row(kind, f"{100 * number / count:.1f} %", f"{closed[kind]} of {number}")
    table.add_row("all", "", f"{closed.total()} of {count}")
    console = Console(width=100)
    console.print(table)
    console.print(
        f"largest gap left {max(gaps):.1e}; the optimum saves {100 * np.median(gains):.0f} % of the baseline's cost in "
        f"the median; {count / sum(seconds):.0f} problems per second (median {1e3 * np.median(seconds):.0f} ms)."
    )


if __name__ == "__main__":
    main()
