"""`optimal_schedule` against the same problems in rockit (multiple shooting, Runge–Kutta, IPOPT) at equal accuracy.

    pip install 'epsflow[bench]'
    python benchmarks/bench_rockit.py

Equal accuracy: a schedule's cost, simulated by the same exact flow, exceeds the certified optimum by at most 1e-6 of
it. rockit's mesh is doubled until it gets there (or up to 800 intervals, with what it has then). Its problem is built
once per shape, with the data as parameters: *cold* is building it and solving the first problem, *warm* the median over
the others. Its control starts at the middle of the bounds, its states along the flow under that control. Our *cold* is
the first call of that shape in this process, compilation included.
"""

import itertools
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table
from rockit import MultipleShooting, Ocp

import epsflow as ef

jax.config.update("jax_enable_x64", True)

GAP, FIRST_MESH, LAST_MESH = 1e-6, 100, 800
WARM_RATIO, COLD_RATIO = 20.0, 3.0


class Case(NamedTuple):
    """One question: linear regression without one point, from θ0 = 0."""

    problem: ef.Problem
    s: float
    T: float

    @property
    def theta0(self) -> jax.Array:
        return jnp.zeros(self.problem.dim)


class Peer(NamedTuple):
    """A problem in rockit: its symbols, and the function that solves it from numbers."""

    ocp: Ocp
    theta: object
    eps: object
    parameters: list[object]
    function: Callable[..., object]


def random_case(seed: int, n: int, d: int) -> Case:
    """Gaussian data with an outlier; training has not converged when the request arrives."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    y = x @ rng.normal(size=d) + 0.3 * rng.normal(size=n)
    y[0] += 3.0
    return Case(ef.linear_regression(ef.Dataset(x, y), delete=[0], reduction="mean"), 0.5, 4.0)


def diabetes_case(point: int) -> Case:
    problem = ef.linear_regression(ef.load_dataset("diabetes"), delete=[point], reduction="mean")
    return Case(problem, 50.0, 200.0)


def build(d: int, intervals: int, substeps: int, s: float, T: float) -> Peer:
    """θ̇ = b + ε x y − (H + ε x xᵀ)θ, min ½‖θ(T) − target‖²; everything but shapes is a parameter."""
    ocp = Ocp(t0=s, T=T - s)
    theta, eps = ocp.state(d), ocp.control()
    shapes = ((d, d), (d, 1), (d, 1), (1, 1), (d, 1), (d, 1), (1, 1))
    hessian, b, x, y, start, target, unit = parameters = [ocp.parameter(*shape) for shape in shapes]
    for parameter, shape in zip(parameters, shapes, strict=True):
        ocp.set_value(parameter, np.zeros(shape))  # rockit wants a number before it transcribes
    ocp.set_der(theta, b - hessian @ theta + eps * x * (y - x.T @ theta))
    ocp.subject_to(ocp.at_t0(theta) == start)
    ocp.subject_to(eps >= 0)
    ocp.subject_to(eps <= 1)
    miss = ocp.at_tf(theta) - target
    ocp.add_objective(0.5 * (miss.T @ miss) / unit)
    quiet = {"print_time": False, "ipopt.print_level": 0, "ipopt.sb": "yes"}
    ocp.solver("ipopt", {"expand": True, "ipopt.tol": 1e-13, **quiet})
    ocp.method(MultipleShooting(N=intervals, M=substeps, intg="rk"))
    states, controls = (ocp.sample(signal, grid=grid)[1] for signal, grid in ((theta, "control"), (eps, "control-")))
    function = ocp.to_function("solve", [*parameters, states, controls], [controls])
    return Peer(ocp, theta, eps, parameters, function)


def as_numbers(case: Case, intervals: int) -> tuple[np.ndarray, ...]:
    """The parameters of `build`, by plain NumPy, and first guesses for θ and ε."""
    x, y, j = np.asarray(case.problem.data.x), np.asarray(case.problem.data.y), case.problem.delete[0]
    n, kept = len(x), np.arange(len(x)) != j
    hessian, b = x[kept].T @ x[kept] / n, x[kept].T @ y[kept] / n
    row, value = x[j] / np.sqrt(n), y[j] / np.sqrt(n)
    start = np.asarray(ef.gradient_flow(case.problem, ef.Constant(1.0), case.theta0, ts=np.array([case.s])).end)
    target = np.linalg.solve(hessian, b)
    knots = np.linspace(case.s, case.T, intervals + 1)
    half = ef.PiecewiseConstant(knots, np.full(intervals, 0.5))
    path = ef.gradient_flow(case.problem, half, start, t0=case.s, ts=knots[1:])
    unit = 0.5 * np.sum(np.square(start - target))
    return hessian, b, row, value, start, target, unit, np.vstack([start, path.thetas]).T, np.full((1, intervals), 0.5)


def solve_by_function(peer: Peer, numbers: tuple[np.ndarray, ...]) -> np.ndarray:
    """rockit's fastest way to solve again: one CasADi function."""
    return np.asarray(peer.function(*numbers)).ravel()


def solve_by_stages(peer: Peer, numbers: tuple[np.ndarray, ...]) -> np.ndarray:
    """The way of rockit's examples: set values, set guesses, solve, sample."""
    *values, states, controls = numbers
    for parameter, value in zip(peer.parameters, values, strict=True):
        peer.ocp.set_value(parameter, value)
    peer.ocp.set_initial(peer.theta, states)
    peer.ocp.set_initial(peer.eps, controls)
    return np.asarray(peer.ocp.solve().sample(peer.eps, grid="control")[1]).ravel()[:-1]


def substeps_for(case: Case, intervals: int) -> int:
    """Runge–Kutta 4 steps with λ_max h ≤ 0.5: their error is then far below the mesh's."""
    fastest = float(np.linalg.eigvalsh(np.asarray(case.problem.risk.hessian(case.theta0, jnp.ones(1)))).max())
    return max(1, int(np.ceil(2.0 * fastest * (case.T - case.s) / intervals)))


def gap(case: Case, schedule: ef.AbstractSchedule) -> float:
    """Relative distance to the lower bound of our certified optimum."""
    best = ef.optimal_schedule(case.problem, case.theta0, s=case.s, T=case.T)
    cost = ef.certify(case.problem, case.theta0, schedule, s=case.s, T=case.T).cost
    return (cost - best.lower_bound) / best.lower_bound


def seconds(call: Callable[[], object]) -> tuple[float, object]:
    start = time.perf_counter()
    outcome = call()
    return time.perf_counter() - start, outcome


class Timing(NamedTuple):
    """Cold and warm seconds, and the worst relative gap of the schedules."""

    cold: float
    warm: float
    gap: float


def measure_rockit(cases: list[Case]) -> tuple[Timing, float, int]:
    """At the coarsest mesh that is accurate enough; also the warm seconds by stages, and the number of intervals."""
    first, intervals = cases[0], FIRST_MESH
    while True:
        steps = max(substeps_for(case, intervals) for case in cases)
        numbers = [as_numbers(case, intervals) for case in cases]
        built, peer = seconds(lambda n=intervals, m=steps: build(first.problem.dim, n, m, first.s, first.T))
        runs = [seconds(lambda data=data, to=peer: solve_by_function(to, data)) for data in numbers]
        knots = np.linspace(first.s, first.T, intervals + 1)
        found = [ef.PiecewiseConstant(knots, np.clip(eps, 0.0, 1.0)) for _, eps in runs]
        worst = max(gap(case, schedule) for case, schedule in zip(cases, found, strict=True))
        if worst <= GAP or intervals >= LAST_MESH:
            by_stages, _ = seconds(lambda to=peer, data=numbers[1]: solve_by_stages(to, data))
            return Timing(built + runs[0][0], statistics.median(t for t, _ in runs[1:]), worst), by_stages, intervals
        intervals *= 2


def optimum(case: Case) -> ef.ScheduleSolution:
    return ef.optimal_schedule(case.problem, case.theta0, s=case.s, T=case.T)


def worth_solving(cases: list[Case], count: int) -> list[Case]:
    """The first few whose certified optimum switches and does not reach the target: what an interior point can find."""
    found = ((case, optimum(case)) for case in cases)
    kept = (c for c, best in found if best.scope is ef.Scope.GLOBAL and best.lower_bound > 0.0 and len(best.arcs) > 1)
    return list(itertools.islice(kept, count))


def main() -> None:
    groups = {
        "random, n = 20, d = 2": [random_case(seed, 20, 2) for seed in range(60)],
        "random, n = 50, d = 5": [random_case(seed, 50, 5) for seed in range(60)],
        "diabetes, d = 10": [diabetes_case(point) for point in (382, 123, 256, 17, 60, 78, 102, 152, 201)],
    }
    table = Table(title="optimal_schedule against rockit, relative gap to the certified optimum at most 1e-6")
    words, figures = ("problems", "tool", "verdict"), ("intervals", "cold / s", "warm / s", "worst gap", "cold ratio")
    for column in (*words[:2], *figures, "warm ratio", words[2]):
        table.add_column(column, justify="left" if column in words else "right")
    for name, cases in groups.items():
        cold, _ = seconds(lambda fresh=cases[0]: optimum(fresh))
        chosen = worth_solving(cases, 4)
        runs = [seconds(lambda case=case: optimum(case)) for case in chosen]
        warm = statistics.median(t for t, _ in runs)
        worst = max(gap(case, best.schedule) for case, (_, best) in zip(chosen, runs, strict=True))
        table.add_row(name, "epsflow", "-", f"{cold:.3g}", f"{warm:.3g}", f"{worst:.1e}", "", "", "")
        peer, by_stages, intervals = measure_rockit(chosen)
        for label, seconds_warm in (("rockit, one function", peer.warm), ("rockit, by stages", by_stages)):
            ratios = peer.cold / cold, seconds_warm / warm
            met = ratios[0] >= COLD_RATIO and ratios[1] >= WARM_RATIO and worst <= GAP
            cells = str(intervals), f"{peer.cold:.3g}", f"{seconds_warm:.3g}", f"{peer.gap:.1e}"
            table.add_row("", label, *cells, f"{ratios[0]:.1f}", f"{ratios[1]:.0f}", "met" if met else "missed")
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
