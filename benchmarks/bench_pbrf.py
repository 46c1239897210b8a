"""PBRF of 20 points, and of all 442, of an MLP 10-32-1 on diabetes: ours beside a NumPy Newton with a dense Hessian.

    python benchmarks/bench_pbrf.py

Same data, same θ_s (early-stopped), same objective, both to ‖∇Q‖ ≤ 1e-9, float64. The peer forms the exact Hessian by
hand (one hidden tanh layer), factorises it, and halves its step until the objective falls; no library has a PBRF.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from measure import arguments, best, growth
from rich.console import Console
from rich.table import Table

import epsflow as ef

jax.config.update("jax_enable_x64", True)

WIDTH = 32
TOL = 1e-9


class NumpyPBRF:
    """The objective of one deletion, its gradient and its Hessian, written out for one hidden tanh layer."""

    def __init__(self, x: np.ndarray, y: np.ndarray, theta_s: np.ndarray, damping: float):
        self.x = np.hstack([x, np.ones((len(x), 1))])
        self.theta_s, self.damping, self.scale = theta_s, damping, 1.0 / len(x)
        self.f_s = self.forward(theta_s)[0]
        self.tilt = self.f_s - y

    def forward(self, theta: np.ndarray) -> tuple[np.ndarray, ...]:
        features = self.x.shape[1] - 1
        cut = WIDTH * features
        first = np.hstack([theta[:cut].reshape(WIDTH, features), theta[cut : cut + WIDTH, None]])
        second = theta[cut + WIDTH : -1]
        hidden = np.tanh(self.x @ first.T)
        return hidden @ second + theta[-1], hidden, second

    def value(self, theta: np.ndarray, j: int) -> float:
        f = self.forward(theta)[0]
        bregman = 0.5 * (f - self.f_s) ** 2
        data = bregman.sum() - bregman[j] - self.tilt[j] * (f[j] - self.f_s[j])
        return self.scale * data + 0.5 * self.damping * ((theta - self.theta_s) ** 2).sum()

    def derivatives(self, theta: np.ndarray, j: int) -> tuple[np.ndarray, np.ndarray]:
        f, hidden, second = self.forward(theta)
        slope = 1.0 - hidden**2
        pull, weight = f - self.f_s, np.ones(len(f))
        pull[j], weight[j] = -self.tilt[j], 0.0
        n, features, d = len(f), self.x.shape[1] - 1, len(theta)
        inner = slope * second
        outer = (inner[:, :, None] * self.x[:, None, :-1]).reshape(n, -1)
        jacobian = np.hstack([outer, inner, hidden, np.ones((n, 1))])
        gradient = self.scale * jacobian.T @ pull + self.damping * (theta - self.theta_s)
        hessian = self.scale * (jacobian.T * weight) @ jacobian
        bend = -2.0 * hidden * slope * second
        for k in range(WIDTH):
            rows = np.r_[k * features : (k + 1) * features, WIDTH * features + k]
            hessian[np.ix_(rows, rows)] += self.scale * (self.x.T * (pull * bend[:, k])) @ self.x
            cross = self.scale * self.x.T @ (pull * slope[:, k])
            output = WIDTH * (features + 1) + k
            hessian[rows, output] += cross
            hessian[output, rows] += cross
        hessian[np.diag_indices(d)] += self.damping
        return gradient, hessian

    def minimise(self, j: int) -> tuple[np.ndarray, float, int]:
        theta, shift = self.theta_s.copy(), 0.0
        for iteration in range(200):
            gradient, hessian = self.derivatives(theta, j)
            norm = float(np.linalg.norm(gradient))
            if norm <= TOL:
                return theta, norm, iteration
            while True:
                try:
                    factor = np.linalg.cholesky(hessian + shift * np.eye(len(theta)))
                    break
                except np.linalg.LinAlgError:
                    shift = max(4.0 * shift, 1e-4)
            step = np.linalg.solve(factor.T, np.linalg.solve(factor, gradient))
            size, value = 1.0, self.value(theta, j)
            while self.value(theta - size * step, j) > value + 1e-14 and size > 1e-10:
                size /= 2.0
            theta, shift = theta - size * step, 0.25 * shift
        return theta, norm, 200


def peers(console: Console) -> None:
    data = ef.load_dataset("diabetes")
    problem = ef.Problem(ef.MLP((10, WIDTH, 1)), ef.SquaredLoss(), data, reduction="mean")
    start = problem.model.init(jax.random.key(0))
    path = ef.gradient_flow(problem, ef.Constant(1.0), start, ts=np.array([1000.0]), rtol=1e-6, atol=1e-8)
    theta_s = path.end
    table = Table(title=f"PBRF, MLP 10-{WIDTH}-1 on diabetes (442 points, d = {problem.dim}), ‖∇Q‖ ≤ {TOL:g}")
    for column in ("damping", "points", "way", "s", "time / NumPy", "largest ‖∇Q‖", "distance", "iterations"):
        table.add_column(column, justify="right")
    for damping in (1e-2, 1e-3):
        peer = NumpyPBRF(data.x, data.y, np.asarray(theta_s), damping)
        reference, answers = best(lambda peer=peer: [peer.minimise(j) for j in range(20)], 1)
        worst, steps = max(norm for _, norm, _ in answers), sum(count for *_, count in answers)
        table.add_row(f"{damping:g}", "20", "NumPy Newton", f"{reference:.3f}", "1", f"{worst:.1e}", "-", str(steps))
        for points, repeat in ((range(20), 3), ("all", 1)):
            seconds, found = best(
                lambda p=points, d=damping: ef.pbrf(problem, theta_s, damping=d, points=p, throw=False),
                repeat,
            )
            count = len(found.theta)
            gap = max(float(np.linalg.norm(found.theta[j] - answers[j][0])) for j in range(20))
            failed = int((np.asarray(found.gradient_norm) > TOL).sum())
            table.add_row(
                f"{damping:g}",
                str(count),
                "epsflow" + (f" ({failed} unconverged)" if failed else ""),
                f"{seconds:.3f}",
                f"{seconds / reference * 20 / count:.3f}" + ("" if count == 20 else " per point"),
                f"{float(found.gradient_norm.max()):.1e}",
                f"{gap:.1e}",
                str(int(found.steps.sum())),
            )
    console.print(table)


def make(n: int, width: int) -> tuple[Callable[[], Any], int]:
    """PBRFs of 20 points of a network that has descended for 200 steps."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 10))
    problem = ef.Problem(
        ef.MLP((10, width, 1)), ef.SquaredLoss(), ef.Dataset(x, np.sin(x.sum(axis=1))), reduction="mean"
    )
    start = problem.model.init(jax.random.key(0))
    theta_s = ef.gradient_descent(problem, 1.0, start, steps=200, step_size=0.05).end
    return lambda: ef.pbrf(problem, theta_s, damping=1e-2, points=range(20)), problem.dim


def main() -> None:
    options = arguments(__doc__)
    console = Console(width=120)
    peers(console)
    if not options.no_growth:
        # A product costs n·d, the preconditioner n·d·min(n, d) and, once, min(n, d)³.
        cost = "n·d·min(n, d)", lambda n, d: n * d * min(n, d)
        by_n, by_d = [(n, 16) for n in (500, 1_000, 4_000, 16_000)], [(500, w) for w in (8, 16, 32, 64, 128)]
        growth(console, "PBRF of 20 points of an MLP", make, cost, by_n, by_d, options.plot)


if __name__ == "__main__":
    main()
