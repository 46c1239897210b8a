"""Analysis of linear models against bare NumPy on the same task, one thread, warm and cold.

    OMP_NUM_THREADS=1 python benchmarks/bench_linear_models.py

The peers are the textbook's formulas without a check, a certificate or a result object; ours are whole calls. Every row
prints the largest difference from the peer, relative to its largest entry.
"""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import jax
import numpy as np
from bench_leverage import closed_form
from bench_retrain import numpy_newton, sigmoid, slopes
from measure import best
from rich.console import Console
from rich.table import Table

import epsflow as ef

jax.config.update("jax_enable_x64", True)

TESTS, L2 = 50, 1.0
GROUPS = np.arange(200).reshape(20, 10)


def logistic() -> tuple[ef.Problem, np.ndarray]:
    data = ef.load_dataset("breast_cancer")
    problem = ef.Problem(ef.LinearModel(30), ef.LogisticLoss(), data, l2=L2)
    return problem, np.asarray(ef.train(problem).theta)


def influences(x: np.ndarray, y: np.ndarray, theta: np.ndarray) -> np.ndarray:
    p = sigmoid(x @ theta)
    gradients = x * (p - y)[:, None]
    hessian = (x.T * (p * (1.0 - p))) @ x + L2 * np.eye(x.shape[1])
    return gradients @ np.linalg.solve(hessian, gradients[:TESTS].T)


def newton_steps(x: np.ndarray, y: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """The Hessian without a point is the whole one less a row: Sherman and Morrison."""
    p = sigmoid(x @ theta)
    weights = p * (1.0 - p)
    inverse = np.linalg.inv((x.T * weights) @ x + L2 * np.eye(x.shape[1]))
    solved = x @ inverse
    return solved * ((p - y) / (1.0 - weights * (solved * x).sum(axis=1)))[:, None]


def group_steps(x: np.ndarray, y: np.ndarray, theta: np.ndarray) -> np.ndarray:
    p = sigmoid(x @ theta)
    weights, identity = p * (1.0 - p), np.eye(x.shape[1])
    hessian = (x.T * weights) @ x + L2 * identity
    pulls = (x[GROUPS] * (p - y)[GROUPS][..., None]).sum(axis=1)
    removed = np.swapaxes(x[GROUPS], 1, 2) @ (x[GROUPS] * weights[GROUPS][..., None])
    return np.linalg.solve(hessian - removed, pulls[..., None])[..., 0]


def group_refits(x: np.ndarray, y: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Newton from θ(1) on every group's risk, to 1e-10."""
    found = []
    for group in GROUPS:
        keep = np.delete(np.arange(len(y)), group)
        rows, labels, point = x[keep], y[keep], theta
        while True:
            p = sigmoid(rows @ point)
            slope = rows.T @ (p - labels) + L2 * point
            if np.linalg.norm(slope) <= 1e-10:
                break
            hessian = (rows.T * (p * (1.0 - p))) @ rows + L2 * np.eye(x.shape[1])
            point = point - np.linalg.solve(hessian, slope)
        found.append(point)
    return np.array(found)


Work = Callable[[], Any]


def tasks() -> dict[str, tuple[Work, Work, float, int]]:
    """Name: ours, the peer's, the ratio asked for, repetitions."""
    diabetes = ef.load_dataset("diabetes")
    least, xd, yd = ef.linear_regression(diabetes), diabetes.x, diabetes.y
    problem, theta = logistic()
    x, y = problem.data.x, problem.data.y
    tests = ef.Losses(problem.model, problem.loss, x[:TESTS], y[:TESTS])
    return {
        "leverage, diabetes": (
            lambda: ef.leverage(least).change,
            lambda: closed_form(xd, yd)["change"],
            1.0,
            200,
        ),
        "569 × 50 influences, breast_cancer": (
            lambda: ef.influence(problem, theta, points="all", functional=tests).change,
            lambda: influences(x, y, theta),
            1.5,
            200,
        ),
        "Newton steps of 569 points": (
            lambda: ef.newton_step_all(problem, theta).change,
            lambda: newton_steps(x, y, theta),
            3.0,
            200,
        ),
        "569 leave-one-outs": (
            lambda: ef.retrain_all(problem, tol=1e-11).thetas,
            lambda: numpy_newton(x, y),
            0.6,
            5,
        ),
        "20 groups of 10 by Newton": (
            lambda: ef.newton_step_all(problem, theta, points=GROUPS).change,
            lambda: group_steps(x, y, theta),
            2.0,
            100,
        ),
        "20 groups of 10 by refit": (
            lambda: ef.retrain_all(problem, theta, points=GROUPS).thetas,
            lambda: group_refits(x, y, theta),
            1.2,
            20,
        ),
    }


def first_call(name: str) -> None:
    """CPU seconds of the first call in this process, imports done, as JSON."""
    import scipy.linalg
    import scipy.optimize  # noqa: F401

    ours = tasks()[name][0] if name in tasks() else OTHERS[name]()
    seconds: list[float] = []

    def listen(event: str, duration: float, **_: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            seconds.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    before = resource.getrusage(resource.RUSAGE_SELF)
    ours()
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"cpu": cpu, "compilations": len(seconds), "compiling": sum(seconds)}))


def network() -> tuple[ef.Problem, Any]:
    data = ef.load_dataset("diabetes")
    problem = ef.Problem(ef.MLP((10, 8, 1)), ef.SquaredLoss(), data, [3], l2=3e-2, reduction="mean")
    return problem, problem.model.init(jax.random.key(0))


def _first(work: Callable[[ef.Problem, Any], Any]) -> Callable[[], Work]:
    def make() -> Work:
        problem, theta = network()
        return lambda: work(problem, theta)

    return make


OTHERS: dict[str, Callable[[], Work]] = {
    "MLP: influence": _first(lambda p, t: ef.influence(p, t, curvature="ggn", damping=1e-3)),
    "MLP: retrain": _first(lambda p, t: ef.retrain(p, t)),
    "MLP: pbrf": _first(lambda p, t: ef.pbrf(p, t, damping=1e-2)),
    "MLP: decompose": _first(lambda p, t: ef.decompose(p, t, damping=1e-2, theta0=t, throw=False)),
}


def main() -> None:
    console = Console(width=130)
    table = Table("task", "ours, ms", "NumPy, ms", "ours / NumPy", "asked for", "difference", title="Warm, one thread")
    for name, (ours, theirs, asked, repeat) in tasks().items():
        mine, found = best(ours, repeat)
        peer, truth = best(theirs, repeat)
        gap = np.abs(np.asarray(found) - truth).max() / np.abs(truth).max()
        cells = f"{1e3 * mine:.3f}", f"{1e3 * peer:.3f}", f"{mine / peer:.2f}", f"{asked:g}", f"{gap:.1e}"
        table.add_row(name, *cells)
    console.print(table)
    cold = Table("first call in a process", "CPU s", "compilations", "compiling, s", title="Cold, imports excluded")
    for name in (*tasks(), *OTHERS):
        ran = subprocess.run([sys.executable, __file__, name], capture_output=True, text=True, check=True)
        told = json.loads(ran.stdout.splitlines()[-1])
        cold.add_row(name, f"{told['cpu']:.2f}", str(told["compilations"]), f"{told['compiling']:.2f}")
    console.print(cold)
    problem, _ = logistic()
    worst = np.linalg.norm(
        slopes(problem.data.x, problem.data.y, ef.retrain_all(problem, tol=1e-11).thetas, np.arange(569)), axis=1
    ).max()
    console.print(f"largest ‖∇R_0‖ of the 569 leave-one-outs, recomputed: {worst:.1e}")


if __name__ == "__main__":
    first_call(sys.argv[1]) if len(sys.argv) > 1 else main()
