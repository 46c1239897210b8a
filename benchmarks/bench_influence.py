"""Influence of every point on 50 losses, with the exact Hessian and a damped Gauss–Newton matrix: ours beside NumPy.

    python benchmarks/bench_influence.py [--plot growth.png]

Same data, same process, float64; the ratio carries over to another machine. Ours is a whole call of `influence`:
checks of the input, the matrix, its factorisation, the solves, their residuals and ‖∇R‖; the peer is the bare formula.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch_peers
from measure import arguments, best, growth
from rich.console import Console
from rich.table import Table

from epsflow.analysis import CG, EKFAC, Nystrom
from epsflow.analysis._functionals import Losses
from epsflow.analysis._influence import Influence, influence
from epsflow.flow import equilibrium
from epsflow.problem import MLP, Dataset, LinearModel, LogisticLoss, Problem, SquaredLoss, load_dataset

jax.config.update("jax_enable_x64", True)

TESTS = 50
DAMPING = 1.0


def ours(problem: Problem, theta: Any, **options: Any) -> Influence:
    tests = Losses(problem.model, problem.loss, problem.data.x[:TESTS], problem.data.y[:TESTS])
    return influence(problem, theta, points="all", functional=tests, **options)


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


def compare(
    table: Table, adapters: dict[str, Any], task: Callable[[], torch_peers.Task], reference: float, truth: np.ndarray
) -> None:
    """One row for each torch library, or a word that it is not installed."""
    for name, adapter in adapters.items():
        if not torch_peers.installed(adapter):
            table.add_row(name, "not installed", "-", "-", "-")
            continue
        with torch_peers.silence():
            seconds, found = best(adapter(task()), 5)
        gap = float(np.abs(found - truth).max() / np.abs(truth).max())
        add(table, name, seconds, reference, gap, None)


def peers(console: Console, repeat: int = 30) -> None:
    columns = ("ms", "time / NumPy", "distance from NumPy", "largest residual")
    data = load_dataset("breast_cancer")
    problem = Problem(LinearModel(30), LogisticLoss(), data, l2=1.0)
    theta = equilibrium(problem).theta
    table = Table("569 points, logistic", *columns, title="Influence on 50 losses: exact Hessian, d = 30")
    reference, truth = best(lambda: numpy_logistic(data.x, data.y, np.asarray(theta)), repeat)
    add(table, "NumPy, the bare formula", reference, reference, 0.0, None)
    for name, options in (("epsflow", {}), ("epsflow, cg", {"solver": CG()})):
        seconds, found = best(lambda options=options: ours(problem, theta, **options), repeat)
        add(table, name, seconds, reference, distance(found, truth), float(found.residual.max()))
    task = data.x, data.y, np.asarray(theta), 0, TESTS, 1.0
    compare(table, torch_peers.LOGISTIC, lambda: torch_peers.Task(*task), reference, truth)
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
        add(table, f"epsflow, {found.solver}", seconds, reference, distance(found, truth), float(found.residual.max()))
    task = data.x, data.y, np.asarray(theta), 32, TESTS, DAMPING
    compare(table, torch_peers.NETWORK, lambda: torch_peers.Task(*task), reference, truth)
    console.print(table)


def distance(found: Influence, truth: np.ndarray) -> float:
    return float(np.abs(np.asarray(found.change) - truth).max() / np.abs(truth).max())


def make_logistic(n: int, d: int) -> tuple[Callable[[], Any], int]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, d))
    problem = Problem(LinearModel(d), LogisticLoss(), Dataset(x, x[:, 0] + rng.normal(size=n) > 0.0), l2=1.0)
    theta = equilibrium(problem).theta
    return lambda: ours(problem, theta), d


def make_network(n: int, width: int) -> tuple[Callable[[], Any], int]:
    rng = np.random.default_rng(0)
    data = Dataset(rng.normal(size=(n, 10)), rng.normal(size=n))
    problem = Problem(MLP((10, width, 1)), SquaredLoss(), data)
    theta = problem.model.init(jax.random.key(0))
    return lambda: ours(problem, theta, curvature="ggn", damping=DAMPING), problem.dim


def main() -> None:
    options = arguments(__doc__)
    console = Console(width=120)
    peers(console)
    if options.no_growth:
        return
    cost = "n·d·min(n, d)", lambda n, d: n * d * min(n, d)
    by_n, by_d = [(n, 30) for n in (1_000, 4_000, 16_000, 64_000)], [(4_000, d) for d in (10, 30, 100, 300)]
    plots = [None, None]
    if options.plot is not None:
        plots = [
            str(Path(options.plot).with_stem(f"{Path(options.plot).stem}-{model}")) for model in ("logistic", "mlp")
        ]
    growth(console, "Exact Hessian, logistic: every point on 50 losses", make_logistic, cost, by_n, by_d, plots[0])
    # Beyond n the dual takes over: linear in d.
    by_n, by_d = [(n, 16) for n in (1_000, 4_000, 16_000, 64_000)], [(400, w) for w in (16, 64, 256, 1_024)]
    growth(console, "Damped Gauss–Newton, MLP: every point on 50 losses", make_network, cost, by_n, by_d, plots[1])


if __name__ == "__main__":
    main()
