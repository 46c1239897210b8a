"""Guarantees: the Gaussian curve, certificates of a whole data set, worst-case tables and noise of the right shape.

    python benchmarks/bench_unlearning.py

Beside each a peer in the same process: `scipy.stats.norm.cdf` for the inverse of the Gaussian curve, leverage plus one
stacked flow for a certificate of all points, a semidefinite program by clarabel (through cvxpy) for the noise, and
dp-accounting for one δ_dp. The last two come with `pip install 'epsflow[bench]'`. Times are of the processor; run it
with OMP_NUM_THREADS=1, or threads that wait for each other count as well.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import norm

import epsflow as ef

jax.config.update("jax_enable_x64", True)

TARGET = {"epsilon": 1.0, "delta": 1e-5}


def best(work: Callable[[], Any], repeat: int) -> tuple[float, Any]:
    """The least processor time of `repeat` runs, after one that warms up."""
    result, times = work(), []
    for _ in range(repeat):
        begin = time.process_time()
        result = work()
        times.append(time.process_time() - begin)
    return min(times), result


def curve(table: Table) -> None:
    """`gaussian_r` for 1e5 pairs (ε, δ)."""
    rng = np.random.default_rng(0)
    epsilon, delta = rng.uniform(0.01, 10.0, 100_000), 10.0 ** rng.uniform(-30, -2, 100_000)
    ours, _ = best(lambda: ef.gaussian_r(epsilon, delta), 7)
    peer, _ = best(lambda: norm.cdf(epsilon), 7)
    table.add_row("gaussian_r, 1e5 values", f"{1e3 * ours:.1f} ms", "norm.cdf of that size", f"{ours / peer:.1f}", "20")


def stacked_flow(problem: ef.Problem) -> np.ndarray:
    """θ(T) of all leave-one-out flows by one stacked decomposition."""
    x, y, n = problem.data.x, problem.data.y, problem.data.n
    h = x.T @ x / n - np.einsum("ni,nj->nij", x, x) / n
    b = x.T @ y / n - x * y[:, None] / n
    values, vectors = np.linalg.eigh(h)
    z = (b[:, None] @ vectors)[:, 0]
    return (vectors @ ((1.0 - np.exp(-200.0 * values)) / values * z)[..., None])[..., 0]


def data_set(table: Table) -> None:
    """All 442 deletions of one point of diabetes."""
    problem = ef.linear_regression(ef.load_dataset("diabetes"), [0], reduction="mean")
    # Interleaved, so that a busy machine slows both.
    peer = min(best(lambda: ef.leverage(problem), 3)[0] + best(lambda: stacked_flow(problem), 3)[0] for _ in range(5))
    for algorithm in (ef.DescendToDelete(), ef.RewindToDelete(), ef.NewtonRemoval()):
        certify = _certifier(problem, algorithm)
        ours = min(best(certify, 3)[0] for _ in range(5))
        name = f"{algorithm.name} on all 442 points of diabetes"
        table.add_row(name, f"{1e3 * ours:.1f} ms", "leverage + one stacked flow", f"{ours / peer:.2f}", "3")


def _certifier(problem: ef.Problem, algorithm: Any) -> Callable[[], Any]:
    return lambda: ef.certify_unlearning(problem, algorithm, epsilon_dp=1.0, delta_dp=1e-5, scope="per data set")


def worst_case(table: Table) -> None:
    """24 noise levels of Langevin unlearning, from the constants of MNIST 3 against 8."""
    constants: Any = {
        "n": 11982,
        "strong_convexity": 1e-6,
        "smoothness": 0.261982,
        "lipschitz": 1.0,
        "delta": 1 / 11982,
    }

    def all_levels() -> list[float]:
        levels = (0.05, 0.1, 0.5, 1.0, 2.0, 5.0)
        return [ef.langevin_sigma(steps=steps, epsilon=e, **constants) for steps in (1, 2, 5, 10) for e in levels]

    ours, _ = best(all_levels, 5)
    table.add_row("24 Langevin noise levels", f"{1e3 * ours:.1f} ms", "0.1 s", f"{ours / 0.1:.3f}", "1")


def noise(table: Table, console: Console) -> None:
    """The covariance of least risk for all leave-one-outs of breast_cancer, and the same by a semidefinite program."""
    data = ef.load_dataset("breast_cancer").standardise(target=False)
    problem = ef.linear_regression(data, [0], reduction="mean", l2=1e-6)
    retrained = ef.retrain_all(problem)
    hessian = np.asarray(problem.hessian(np.zeros(problem.dim), 1.0))
    ours, found = best(lambda: ef.optimal_noise(retrained.change, hessian, **TARGET), 3)
    table.add_row(
        f"optimal_noise, breast_cancer, gap {found.gap:.0e}", f"{ours:.2f} s", "2 s", f"{ours / 2.0:.2f}", "1"
    )
    try:
        import cvxpy
    except ImportError:
        table.add_row("the same as a semidefinite program", "not installed", "clarabel", "–", "–")
        return
    # With all points, or with 30 parameters, the program takes minutes and gigabytes.
    problem = ef.linear_regression(ef.load_dataset("diabetes"), [0], reduction="mean")
    changes, hessian = ef.retrain_all(problem).change, np.asarray(problem.hessian(np.zeros(problem.dim), 1.0))
    ours, found = best(lambda: ef.optimal_noise(changes, hessian, **TARGET), 3)
    rows = found.weights > 1e-9 * found.weights.max()
    begin = time.process_time()
    value = _semidefinite(cvxpy, changes[rows], hessian)
    taken = time.process_time() - begin
    name = f"optimal_noise, diabetes; clarabel on its {rows.sum()} active points only"
    table.add_row(name, f"{1e3 * ours:.0f} ms", "clarabel by cvxpy", f"{ours / taken:.3f}", "–")
    console.print(f"cost {found.cost:.10g}, clarabel's {value:.10g}: {abs(value / found.cost - 1.0):.0e} apart")


def _semidefinite(cvxpy: Any, changes: np.ndarray, hessian: np.ndarray) -> float:
    """In the units z_i = H^{1/2}Δ_i/ρ, where the program is well scaled."""
    values, vectors = np.linalg.eigh(hessian)
    root = vectors * np.sqrt(values) @ vectors.T
    z = changes @ root / ef.gaussian_r(1.0, 1e-5)
    scale = np.abs(z).max()
    covariance = cvxpy.Variable(hessian.shape, symmetric=True)
    blocks = [cvxpy.bmat([[covariance, row[:, None]], [row[None], np.ones((1, 1))]]) >> 0 for row in z / scale]
    program = cvxpy.Problem(cvxpy.Minimize(cvxpy.trace(covariance)), blocks)
    return float(program.solve(solver=cvxpy.CLARABEL)) * scale**2


def peer_of_the_curve(table: Table) -> None:
    """One δ_dp."""
    try:
        from dp_accounting.pld.privacy_loss_mechanism import GaussianPrivacyLoss
    except ImportError:
        table.add_row("gaussian_delta, one value", "not installed", "dp-accounting", "–", "–")
        return
    ours, value = best(lambda: ef.gaussian_delta(1.0, 0.25), 50)
    peer, theirs = best(lambda: GaussianPrivacyLoss(4.0).get_delta_for_epsilon(1.0), 50)
    apart = abs(float(value) / theirs - 1.0)
    name = f"gaussian_delta, one value ({apart:.0e} apart)"
    table.add_row(name, f"{1e6 * ours:.0f} µs", "dp-accounting", f"{ours / peer:.2f}", "–")


def main() -> None:
    """Print the table."""
    console = Console(width=140)
    table = Table("work", "ours", "peer or limit", "ours / peer", "asked for", title="Unlearning")
    curve(table)
    data_set(table)
    worst_case(table)
    noise(table, console)
    peer_of_the_curve(table)
    console.print(table)


if __name__ == "__main__":
    main()
