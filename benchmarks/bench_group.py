"""One ε for many deleted points: the certified optimum, beside a semidefinite relaxation by Clarabel and other bounds.

    python benchmarks/bench_group.py

Ten parameters, m deleted points. "lacks" is what a lower bound leaves of the cost: of the quadratic function of the
state (`optimal_schedule`), of the relaxation that gives each row a weight of its own, and of the moments on a mesh.
The last is the dual of the first, for controls that are constant on 30 intervals, which may cost a little more: its
bound may exceed the cost of the optimum, which has no mesh. Seconds of CPU time, the first call in a process but for
imports.
"""

import time
from collections.abc import Callable
from typing import Any

import cvxpy
import jax
import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.linalg import block_diag, expm

import epsflow as ef
from epsflow.control._task import linear_of, make_task
from epsflow.control.bounds._branching import prove
from epsflow.control.bounds._dual import certify_signs
from epsflow.control.bounds._paths import Paths
from epsflow.control.linear._task import LinearTask

jax.config.update("jax_enable_x64", True)

S, T, INTERVALS = 2.0, 4.0, 30


def problem(n: int, m: int) -> ef.Problem:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((n, 10)), rng.standard_normal(10)
    return ef.linear_regression(ef.Dataset(x, x @ w + rng.standard_normal(n)), list(range(m)), reduction="mean")


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    return call(), time.process_time() - start


def moments(task: LinearTask) -> float:
    """min ½ tr(W X(T)) over second moments X of (δ, 1), each split at each interval among the two levels of ε."""
    gram, kick = task.rows.T @ task.rows, task.rows.T @ task.residuals
    d, unit, h = len(task.rates), np.abs(task.start).max(), task.length / INTERVALS
    units = np.append(np.full(d, unit), 1.0)

    def carries(level: float) -> np.ndarray:
        force = (task.drift + level * kick)[:, None]
        field = np.block([[-np.diag(task.rates) - level * gram, force], [np.zeros((1, d + 1))]])
        return expm(h * field) * units / units[:, None]

    begin, flows = np.append(task.start, 1.0) / units, [carries(level) for level in task.bounds]
    here, constraints = cvxpy.Constant(np.outer(begin, begin)), []
    for _ in range(INTERVALS):
        parts = [cvxpy.Variable((d + 1, d + 1), PSD=True) for _ in flows]
        then = cvxpy.Variable((d + 1, d + 1), symmetric=True)
        constraints += [sum(parts) == here]
        constraints += [then == sum(flow @ part @ flow.T for flow, part in zip(flows, parts, strict=True))]
        here = then
    weight = block_diag(np.stack([task.form.gradient(row) for row in np.eye(d)]), 0.0)
    program = cvxpy.Problem(cvxpy.Minimize(0.5 * cvxpy.trace(weight @ here)), constraints)
    program.solve(solver=cvxpy.CLARABEL)
    return float(program.value) * unit**2


def main() -> None:
    table = Table(title=f"one ε for m points, d = 10, s = {S:g}, T = {T:g}")
    for column in ("n", "m", "cost", "scope", "lacks", "seconds", "own weights lack", "seconds", "moments", "seconds"):
        table.add_column(column, justify="left" if column == "scope" else "right")
    for n, m in ((200, 10), (200, 50), (2000, 500), (20000, 5000)):
        question, start = problem(n, m), np.zeros(10)
        best, seconds = timed(lambda p=question, a=start: ef.optimal_schedule(p, a, s=S, T=T, throw=False))
        linear = linear_of(make_task(question, start, s=S, T=T)).grouped
        mu = linear.form.image(np.asarray(best.extremal.theta(T) - best.task.target) @ linear.basis)

        def own(task: LinearTask = linear, cost: float = best.cost, mu: np.ndarray = mu) -> float:
            paths = Paths([task])
            return prove(paths, certify_signs(paths), cost, mu, max_nodes=10).certain

        rows, longer = timed(own)
        relaxed, longest = timed(lambda task=linear: moments(task))
        lacks = (f"{1.0 - bound / best.cost:.1e}" for bound in (best.lower_bound, rows, relaxed))
        first, second, third = lacks
        table.add_row(
            *(str(n), str(m), f"{best.cost:.6g}", best.scope.value, first, f"{seconds:.2f}"),
            *(second, f"{longer:.2f}", third, f"{longest:.2f}"),
        )
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
