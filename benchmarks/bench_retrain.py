"""569 exact logistic leave-one-outs of breast_cancer (λ = 1): ours beside scikit-learn and a batched NumPy Newton.

    python benchmarks/bench_retrain.py [--plot growth.png]

Every contender must reach ‖∇R_0‖ ≤ 1e-10, recomputed here by the same NumPy code, before its time is compared.
scikit-learn is fitted to a sample of the points (every tenth), at its strictest, and scaled to all.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from measure import arguments, best, growth
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LogisticRegression

from epsflow.analysis import retrain_all
from epsflow.problem import Dataset, LinearModel, LogisticLoss, Problem, load_dataset

jax.config.update("jax_enable_x64", True)

L2 = 1.0
ACCURACY = 1e-10


def sigmoid(a: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.tanh(0.5 * a))


def slopes(x: np.ndarray, y: np.ndarray, thetas: np.ndarray, points: np.ndarray) -> np.ndarray:
    """∇R_0 of each leave-one-out, shape (k, d)."""
    pulls = sigmoid(thetas @ x.T) - y
    pulls[np.arange(len(points)), points] = 0.0
    return pulls @ x + L2 * thetas


def numpy_newton(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """One full fit, then Newton's method on all n leave-one-outs together; every Hessian by one matrix product."""
    n, d = x.shape
    theta, points = np.zeros(d), np.arange(n)
    for _ in range(30):
        p = sigmoid(x @ theta)
        slope = x.T @ (p - y) + L2 * theta
        if np.linalg.norm(slope) <= ACCURACY:
            break
        theta = theta - np.linalg.solve((x.T * (p * (1.0 - p))) @ x + L2 * np.eye(d), slope)
    thetas, active = np.repeat(theta[None], n, axis=0), points
    products = (x[:, :, None] * x[:, None, :]).reshape(n, d * d)
    while active.size:
        slope = slopes(x, y, thetas[active], active)
        moving = np.linalg.norm(slope, axis=1) > ACCURACY
        active, slope = active[moving], slope[moving]
        p = sigmoid(thetas[active] @ x.T)
        weights = p * (1.0 - p)
        weights[np.arange(active.size), active] = 0.0
        hessians = (weights @ products).reshape(-1, d, d) + L2 * np.eye(d)
        thetas[active] -= np.linalg.solve(hessians, slope[..., None])[..., 0]
    return thetas


def scikit_learn(x: np.ndarray, y: np.ndarray, points: np.ndarray) -> np.ndarray:
    thetas = []
    for point in points:
        keep = np.arange(len(y)) != point
        model = LogisticRegression(C=1.0 / L2, solver="newton-cholesky", fit_intercept=False, tol=1e-12, max_iter=100)
        thetas.append(model.fit(x[keep], y[keep]).coef_[0])
    return np.array(thetas)


def peers(console: Console) -> None:
    data = load_dataset("breast_cancer")
    x, y, n = data.x, data.y, data.n
    everyone, sample = np.arange(n), np.arange(0, n, 10)
    problem = Problem(LinearModel(x.shape[1]), LogisticLoss(), data, l2=L2)
    contenders = (
        ("epsflow, retrain_all", lambda: np.asarray(retrain_all(problem, tol=1e-11).thetas), everyone, 5),
        ("NumPy, batched Newton", lambda: numpy_newton(x, y), everyone, 5),
        ("scikit-learn, newton-cholesky", lambda: scikit_learn(x, y, sample), sample, 2),
    )
    table = Table("569 leave-one-outs, d = 30", "s", "time / ours", "largest ‖∇R_0‖")
    mine = 0.0
    for name, work, points, repeat in contenders:
        seconds, thetas = best(work, repeat)
        seconds *= n / len(points)
        mine = mine or seconds
        norm = float(np.linalg.norm(slopes(x, y, thetas, points), axis=1).max())
        table.add_row(name, f"{seconds:.3f}", f"{seconds / mine:.3g}", f"{norm:.1e}")
        if norm > ACCURACY:
            console.print(
                f"{name} stops at ‖∇R_0‖ = {norm:.1e} > {ACCURACY:g}: its time is for a looser answer", style="red"
            )
    console.print(table)


def synthetic(n: int, d: int) -> Dataset:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, d))
    return Dataset(x, rng.random(n) < sigmoid(x @ rng.normal(size=d)), f"{n}×{d}")


def make(n: int, d: int) -> tuple[Callable[[], Any], int]:
    problem = Problem(LinearModel(d), LogisticLoss(), synthetic(n, d), l2=L2)
    return lambda: retrain_all(problem), d


def main() -> None:
    options = arguments(__doc__)
    console = Console()
    peers(console)
    if not options.no_growth:
        # n gradients of n terms a step.
        cost = "n²·d", lambda n, d: n * n * d
        by_n, by_d = [(n, 10) for n in (250, 500, 1_000, 2_000)], [(1_000, d) for d in (5, 10, 20, 40)]
        growth(console, "All logistic leave-one-outs", make, cost, by_n, by_d, options.plot)


if __name__ == "__main__":
    main()
