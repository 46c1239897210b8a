"""`optimal_schedule` against the same problems in rockit (multiple shooting, Runge–Kutta, IPOPT) at equal accuracy.

    pip install 'epsflow[bench]'
    python benchmarks/bench_rockit.py

Equal accuracy: a schedule's cost, simulated by the same exact flow, exceeds the certified optimum by at most 1e-6 of
it. rockit has two grids. With *equal intervals* their number is doubled, from 400, until every problem of a group is
that accurate, or building or solving takes a minute. With *free intervals* their lengths are unknowns, too, so that a
few of them can hit the switches; how many a problem needs is not known beforehand, and with more than it needs IPOPT
often fails. Their number is doubled from 4 to 32. Where no mesh is accurate enough, the most accurate one is shown.

rockit's problem is built once per mesh, with the data as parameters: *cold* is building it and solving the first
problem, *warm* the median over the others. Its control starts at the middle of the bounds, its states along the flow
under that control. IPOPT is not allowed to end on its "acceptable" level, which can be 1e-4 off. Our *cold* is the
first call of that shape in this process, compilation included. rockit gives no bound: that its schedule is within 1e-6
is known from ours.
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
from rockit import FreeGrid, MultipleShooting, Ocp, UniformGrid

import epsflow as ef

jax.config.update("jax_enable_x64", True)

GAP, PATIENCE = 1e-6, 60.0
WARM_RATIO, COLD_RATIO = 20.0, 3.0


class Case(NamedTuple):
    """One question: linear regression without one point, from θ0 = 0."""

    problem: ef.Problem
    s: float
    T: float

    @property
    def theta0(self) -> jax.Array:
        return jnp.zeros(self.problem.dim)


class Grid(NamedTuple):
    """A way of rockit's to lay its intervals."""

    label: str
    free: bool
    counts: tuple[int, ...]
    substeps: int
    ipopt: dict[str, object]


MESHES = (400, 800, 1600, 3200, 6400)
EQUAL = Grid("equal intervals", False, MESHES, 1, {"ipopt.tol": 1e-15})
FREE = Grid("free intervals", True, (4, 8, 16, 32), 4, {"ipopt.tol": 1e-10})
"""On equal intervals IPOPT's own error counts from 1600 on, and is least at 1e-15; on free ones it does not get there.
A free interval may become several times as long as an equal one, and takes four times as many Runge–Kutta steps."""


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


def build(d: int, grid: Grid, intervals: int, substeps: int, s: float, T: float) -> Callable[..., object]:
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
    quiet = {"error_on_fail": False, "print_time": False, "ipopt.print_level": 0, "ipopt.sb": "yes"}
    ocp.solver("ipopt", {"expand": True, "ipopt.acceptable_iter": 0, **grid.ipopt, **quiet})
    # No free interval may vanish: it would divide by its length.
    layout = FreeGrid(min=1e-6 * (T - s), max=T - s) if grid.free else UniformGrid()
    ocp.method(MultipleShooting(N=intervals, M=substeps, intg="rk", grid=layout))
    knots, states = ocp.sample(theta, grid="control")
    controls = ocp.sample(eps, grid="control-")[1]
    return ocp.to_function("solve", [*parameters, states, controls], [knots, controls])


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


def solve(function: Callable[..., object], numbers: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
    """rockit's fastest way to solve again, one CasADi function: knots and values."""
    knots, controls = function(*numbers)
    return np.asarray(knots).ravel(), np.asarray(controls).ravel()


def as_schedule(case: Case, knots: np.ndarray, values: np.ndarray) -> ef.PiecewiseConstant:
    """The same schedule for us: within the bounds, and from s to T exactly."""
    inner = np.clip(knots[1:-1], case.s, case.T)
    return ef.PiecewiseConstant(np.array([case.s, *inner, case.T]), np.clip(values, 0.0, 1.0))


def substeps_for(case: Case, intervals: int) -> int:
    """Runge–Kutta 4 steps with λ_max h ≤ 0.5: their error is then far below the mesh's."""
    fastest = float(np.linalg.eigvalsh(np.asarray(case.problem.risk.hessian(case.theta0, jnp.ones(1)))).max())
    return max(1, int(np.ceil(2.0 * fastest * (case.T - case.s) / intervals)))


def excess(case: Case, schedule: ef.AbstractSchedule) -> float:
    """Simulated cost beyond that of our certified optimum, relative to it; negative if the schedule is better."""
    best = optimum(case)
    return ef.certify(case.problem, schedule, case.theta0, s=case.s, T=case.T).cost / best.cost - 1.0


def seconds(call: Callable[[], object]) -> tuple[float, object]:
    start = time.perf_counter()
    outcome = call()
    return time.perf_counter() - start, outcome


class Timing(NamedTuple):
    """Cold and warm seconds, and the worst relative gap of the schedules."""

    cold: float
    warm: float
    gap: float


def measure_rockit(cases: list[Case], grid: Grid) -> tuple[Timing, int]:
    """At the coarsest mesh that is accurate enough, else at the most accurate one; also the number of intervals."""
    first, found = cases[0], []
    for intervals in grid.counts:
        steps = grid.substeps * max(substeps_for(case, intervals) for case in cases)
        numbers = [as_numbers(case, intervals) for case in cases]
        built, peer = seconds(lambda n=intervals, m=steps: build(first.problem.dim, grid, n, m, first.s, first.T))
        runs = [seconds(lambda data=data, to=peer: solve(to, data)) for data in numbers]
        worst = max(excess(case, as_schedule(case, *outcome)) for case, (_, outcome) in zip(cases, runs, strict=True))
        times = [time for time, _ in runs]
        found.append((Timing(built + times[0], statistics.median(times[1:]), worst), intervals))
        print(
            f"  {grid.label}, {intervals}: cold {built:.3g} + {times[0]:.3g} s, warm {times[1:]}, worst gap {worst:.1e}"
        )
        if worst <= GAP or max(built, *times) > PATIENCE:
            break
    accurate = [each for each in found if each[0].gap <= GAP]
    return accurate[0] if accurate else min(found, key=lambda each: each[0].gap)


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
        chosen = worth_solving(cases, 7)
        runs = [seconds(lambda case=case: optimum(case)) for case in chosen * 5]
        warm = statistics.median(t for t, _ in runs)
        # What is certified is the distance to a lower bound, which may be 1e-6 where branching proves it.
        worst = max(best.gap / best.cost for _, best in runs)
        print(f"{name}\n  epsflow: cold {cold:.3g}, warm {warm:.3g} s, worst gap {worst:.1e}")
        table.add_row(name, "epsflow", "-", f"{cold:.3g}", f"{warm:.3g}", f"{worst:.1e}", "", "", "")
        for grid in (EQUAL, FREE):
            peer, intervals = measure_rockit(chosen, grid)
            ratios = peer.cold / cold, peer.warm / warm
            met = ratios[0] >= COLD_RATIO and ratios[1] >= WARM_RATIO and worst <= GAP and peer.gap >= 0.0
            cells = str(intervals), f"{peer.cold:.3g}", f"{peer.warm:.3g}", f"{peer.gap:.1e}"
            verdict = "met" if met else "missed"
            table.add_row("", f"rockit, {grid.label}", *cells, f"{ratios[0]:.2g}", f"{ratios[1]:.3g}", verdict)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
