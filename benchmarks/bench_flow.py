"""Exact linear flows against general integrators, at equal accuracy, on the diabetes data (442 points, 10 features)."""

import time
from collections.abc import Callable
from typing import NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.integrate import solve_ivp
from scipy.linalg import expm

import epsflow as ef

DELETED, T = 17, 20.0
EPS, TS = np.linspace(0.0, 1.0, 101), np.linspace(0.0, T, 201)
TARGET = 1e-8
SCIPY = {"DOP853": 1e-12, "Radau": 1e-8, "LSODA": 1e-9}  # method: rtol that brings its error below TARGET


class Timed(NamedTuple):
    """A way to compute something: its fastest warm run, and the largest error of the result."""

    name: str
    seconds: float
    error: float


def measure(name: str, compute: Callable[[], np.ndarray], expected: np.ndarray, repeats: int) -> Timed:
    """One run to compile (and to be checked), then the fastest of `repeats`."""
    error = float(np.abs(compute() - expected).max())
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        compute()
        seconds.append(time.perf_counter() - start)
    return Timed(name, min(seconds), error)


def by_expm(hessian: np.ndarray, b: np.ndarray, theta: np.ndarray, ts: np.ndarray) -> np.ndarray:
    """θ at evenly spaced ts, by repeated application of one exponential of [[-H, b], [0, 0]]Δt."""
    d = len(b)
    generator = np.zeros((d + 1, d + 1))
    generator[:d, :d], generator[:d, d] = -hessian, b
    step = expm(generator * (ts[1] - ts[0]))
    states = [np.append(theta, 1.0)]
    for _ in ts[1:]:
        states.append(step @ states[-1])
    return np.array(states)[:, :d]


def by_scipy(hessian: np.ndarray, b: np.ndarray, theta: np.ndarray, method: str) -> np.ndarray:
    """θ at TS by solve_ivp; implicit methods are told the Jacobian."""
    jacobian = {"Radau": {"jac": -hessian}, "LSODA": {"jac": lambda _t, _z: -hessian}}.get(method, {})
    tolerances = {"rtol": SCIPY[method], "atol": 1e-2 * SCIPY[method]}
    span = (0.0, T)
    solution = solve_ivp(lambda _, z: b - hessian @ z, span, theta, method=method, t_eval=TS, **tolerances, **jacobian)
    return solution.y.T


def homotopies(problem: ef.Problem, theta0: np.ndarray) -> list[Timed]:
    """θ(t, ε) on the whole grid: one vmapped exact solve against a loop of solve_ivp."""
    systems = [tuple(map(np.asarray, problem.risk.system(jnp.asarray(eps)))) for eps in EPS]
    expected = np.stack([by_expm(*system, theta0, TS) for system in systems])

    def exact() -> np.ndarray:
        return np.asarray(ef.homotopy(problem, eps=EPS, ts=TS, theta0=theta0).thetas)

    def loop(method: str) -> Callable[[], np.ndarray]:
        return lambda: np.stack([by_scipy(*system, theta0, method) for system in systems])

    return [
        *(measure(f"loop of solve_ivp, {m}, rtol {r:g}", loop(m), expected, repeats=1) for m, r in SCIPY.items()),
        measure("epsflow.homotopy", exact, expected, repeats=10),
    ]


def single_flows(problem: ef.Problem, theta0: np.ndarray) -> list[Timed]:
    """θ(t) under 1_[0, 2] at 201 times: exact against diffrax."""
    before, after = (tuple(map(np.asarray, problem.risk.system(jnp.asarray(eps)))) for eps in (1.0, 0.0))
    first = by_expm(*before, theta0, TS[:21])
    expected = np.concatenate([first, by_expm(*after, first[-1], TS[20:])[1:]])

    def flow(**options: object) -> Callable[[], np.ndarray]:
        return lambda: np.asarray(
            ef.gradient_flow(problem, ef.Step(2.0), theta0, ts=TS, estimate_error=False, **options).thetas
        )

    runs = [("Tsit5", diffrax.Tsit5(), 1e-8), ("Dopri8", diffrax.Dopri8(), 1e-8), ("chosen by epsflow", None, 1e-10)]
    timed = [
        measure(
            f"diffrax, {name}, rtol {rtol:g}",
            flow(method="diffrax", solver=solver, rtol=rtol, atol=1e-2 * rtol),
            expected,
            repeats=10,
        )
        for name, solver, rtol in runs
    ]
    return [*timed, measure("exact flow", flow(method="exact"), expected, repeats=30)]


def show(console: Console, title: str, rows: list[Timed]) -> None:
    """The last row is ours; the others are compared with it."""
    table = Table("how", "ms", "times as long", "error", title=title)
    for row in rows:
        error = f"{row.error:.1e}" + ("" if row.error <= TARGET else " (!)")
        table.add_row(row.name, f"{1e3 * row.seconds:.2f}", f"{row.seconds / rows[-1].seconds:.1f}", error)
    console.print(table)


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    console = Console()
    problem = ef.linear_regression(ef.load_dataset("diabetes"), DELETED)
    theta0 = np.zeros(problem.dim)
    show(console, f"θ(t, ε), {len(EPS)} weights × {len(TS)} times", homotopies(problem, theta0))
    show(console, f"θ(t) under 1_[0, 2], {len(TS)} times", single_flows(problem, theta0))
    console.print(f"Largest error against expm; every row is meant to stay below {TARGET:g}.")


if __name__ == "__main__":
    main()
