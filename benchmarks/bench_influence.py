"""Influence of every point on 50 losses, with the exact Hessian and a damped Gauss–Newton matrix: ours beside NumPy.

    python benchmarks/bench_influence.py [--plot growth.png]

Same data, same process, float64; the ratio carries over to another machine. Ours is a whole call of `influence`:
checks of the input, the matrix, its factorisation, the solves, their residuals and ‖∇R‖; the peer is the bare formula.
"""

import argparse
import resource
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from epsflow.analysis._functionals import Losses
from epsflow.analysis._influence import Influence, influence
from epsflow.analysis._solvers import CG, EKFAC, Nystrom
from epsflow.flow import equilibrium
from epsflow.problem import MLP, Dataset, LinearModel, LogisticLoss, Problem, SquaredLoss, load_dataset

jax.config.update("jax_enable_x64", True)

TESTS = 50
DAMPING = 1.0


def best(work: Callable[[], Any], repeat: int) -> tuple[float, Any]:
    """The shortest of `repeat` runs, after one that warms up (and compiles)."""
    result, times = work(), []
    for _ in range(repeat):
        start = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start)
    return min(times), result


def ours(problem: Problem, theta: Any, **options: Any) -> Influence:
    tests = Losses(problem.model, problem.loss, problem.data.x[:TESTS], problem.data.y[:TESTS])
    return jax.block_until_ready(influence(problem, theta=theta, points="all", functional=tests, **options))


def numpy_logistic(x: np.ndarray, y: np.ndarray, theta: np.ndarray) -> np.ndarray:
    p = 0.5 * (1.0 + np.tanh(0.5 * (x @ theta)))
    gradients = x * (p - y)[:, None]
    hessian = (x.T * (p * (1.0 - p))) @ x + np.eye(x.shape[1])
    return gradients @ np.linalg.solve(hessian, gradients[:TESTS].T)


def numpy_network(x: np.ndarray, y: np.ndarray, theta: np.ndarray, width: int) -> np.ndarray:
    """One hidden tanh layer by hand: per-point Jacobians, JᵀJ + λ_d I, one solve."""
    cut = width * x.shape[1]
    w1, b1, w2, b2 = theta[:cut].reshape(width, -1), theta[cut : cut + width], theta[cut + width : -1], theta[-1]
    hidden = np.tanh(x @ w1.T + b1)
    slopes = (1.0 - hidden**2) * w2
    outer = (slopes[:, :, None] * x[:, None, :]).reshape(len(x), -1)
    jacobian = np.hstack([outer, slopes, hidden, np.ones((len(x), 1))])
    gradients = jacobian * (hidden @ w2 + b2 - y)[:, None]
    matrix = jacobian.T @ jacobian
    matrix[np.diag_indices(len(theta))] += DAMPING
    return gradients @ np.linalg.solve(matrix, gradients[:TESTS].T)


def add(table: Table, name: str, seconds: float, reference: float, gap: float, residual: float | None) -> None:
    shown = "-" if residual is None else f"{residual:.1e}"
    table.add_row(name, f"{1e3 * seconds:.2f}", f"{seconds / reference:.2f}", f"{gap:.1e}", shown)


def peers(console: Console, repeat: int) -> None:
    columns = ("ms", "time / NumPy", "distance from NumPy", "largest residual")
    data = load_dataset("breast_cancer")
    problem = Problem(LinearModel(30), LogisticLoss(), data, l2=1.0)
    theta = equilibrium(problem).theta
    table = Table("569 points, logistic", *columns, title="Influence on 50 losses: exact Hessian, d = 30")
    reference, truth = best(lambda: numpy_logistic(data.x, data.y, np.asarray(theta)), repeat)
    add(table, "NumPy, the bare formula", reference, reference, 0.0, None)
    for name, options in (("epsflow", {}), ("epsflow, cg", {"solver": CG()})):
        seconds, found = best(lambda options=options: ours(problem, theta, **options), repeat)
        add(table, name, seconds, reference, distance(found, truth), float(found.residuals.max()))
    console.print(table)
    data = load_dataset("diabetes")
    problem = Problem(MLP((10, 32, 1)), SquaredLoss(), data)
    theta = problem.model.init(jax.random.key(0))
    table = Table("442 points, MLP 10-32-1", *columns, title="Influence on 50 losses: damped Gauss–Newton, d = 385")
    reference, truth = best(lambda: numpy_network(data.x, data.y, np.asarray(theta), 32), repeat)
    add(table, "NumPy, the bare formula", reference, reference, 0.0, None)
    for solver in ("cholesky", CG(), Nystrom(rank=100), EKFAC()):
        options = {"curvature": "ggn", "damping": DAMPING, "solver": solver}
        seconds, found = best(lambda options=options: ours(problem, theta, **options), repeat)
        add(table, f"epsflow, {found.solver}", seconds, reference, distance(found, truth), float(found.residuals.max()))
    console.print(table)


def distance(found: Influence, truth: np.ndarray) -> float:
    return float(np.abs(np.asarray(found.change) - truth).max() / np.abs(truth).max())


def growth(console: Console, plot: str | None) -> None:
    """Dense: nd² for the matrix and d³ for its factor, both linear in n for fixed d. The dual: n²d, linear in d."""
    table = Table("n×d", "solver", "ms", "ns per n·d·min(n,d)", "largest residual", "peak memory of the process, MB")
    measured = []
    rng = np.random.default_rng(0)
    for n, features, width in [
        (1_000, 10, 16), (4_000, 10, 16), (16_000, 10, 16), (64_000, 10, 16),
        (400, 10, 64), (400, 10, 256), (400, 10, 1_024), (400, 10, 4_096),
    ]:  # fmt: skip
        problem = Problem(
            MLP((features, width, 1)), SquaredLoss(), Dataset(rng.normal(size=(n, features)), rng.normal(size=n))
        )
        theta = problem.model.init(jax.random.key(0))
        seconds, found = best(lambda p=problem, t=theta: ours(p, t, curvature="ggn", damping=DAMPING), 3)
        d = problem.dim
        measured.append((n, d, seconds))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        unit = 1e9 * seconds / (n * d * min(n, d))
        residual = float(found.residuals.max())
        table.add_row(
            f"{n:,}×{d:,}", found.solver, f"{1e3 * seconds:.1f}", f"{unit:.3f}", f"{residual:.1e}", f"{peak:.0f}"
        )
    console.print(table)
    if plot:
        draw(measured, plot)


def draw(measured: list[tuple[int, int, float]], path: str) -> None:
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.5), sharey=True, layout="constrained")
    by_n, by_d = measured[:4], measured[4:]
    left.loglog([n for n, _, _ in by_n], [s for _, _, s in by_n], "o-", label=f"d = {by_n[0][1]}")
    right.loglog([d for _, d, _ in by_d], [s for _, _, s in by_d], "o-", label=f"n = {by_d[0][0]}")
    left.set(xlabel="points n", ylabel="time, s")
    right.set(xlabel="parameters d")
    for axis in (left, right):
        axis.legend()
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plot", help="write a log–log plot of time against n and d")
    parser.add_argument("--repeat", type=int, default=30, help="runs of which the shortest counts")
    arguments = parser.parse_args()
    console = Console(width=120)
    peers(console, arguments.repeat)
    growth(console, arguments.plot)


if __name__ == "__main__":
    main()
