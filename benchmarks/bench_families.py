"""`compare_schedules` on diabetes against a loop of `scipy.integrate.solve_ivp` over members of the families.

A scan of every family and scans of ever smaller boxes around its best point, as one writes them around an integrator,
take `SCANNED` members: that is what this comparison computed one by one before it had polynomials to read. The loop's
time is that of a sample of members, times their number. All times are CPU seconds.
"""

import itertools
import time
from collections.abc import Callable

import jax
import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.integrate import solve_ivp

import epsflow as ef
from epsflow.schedules import build_members

jax.config.update("jax_enable_x64", True)

DELETED, S, T = 382, 50.0, 200.0
FAMILIES = (ef.Step, ef.LinearDecay, ef.PolynomialDecay, ef.ExponentialDecay)
SCANNED = 8_067
SAMPLE = 24


def cpu(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def members(rng: np.random.Generator) -> list[ef.AbstractSchedule]:
    """As many of each family, anywhere in its range."""
    chosen = []
    for family in FAMILIES:
        space = family.search_space(S, T)
        lower, upper = np.array(space.lower), np.array(space.upper)
        fractions = rng.random((SAMPLE // len(FAMILIES), len(lower)))
        numbers = np.where(space.log, lower * (upper / lower) ** fractions, lower + (upper - lower) * fractions)
        stack = build_members(space, numbers)
        chosen += [stack.member(i) for i in range(stack.size)]
    return chosen


def by_solve_ivp(problem: ef.Problem, start: np.ndarray, schedule: ef.AbstractSchedule) -> np.ndarray:
    """θ(T), from jump to jump."""
    risk, theta = problem.risk, start
    x, y, c = risk.x_deleted[0], float(risk.y_deleted[0]), float(risk.scale)
    # Plain floats: what a call of the schedule costs is not the integrator's.
    numbers = {name: float(value) for name, value in vars(schedule).items()}

    def eps(t: float) -> float:
        match type(schedule):
            case ef.Step:
                return float(t <= numbers["tau"])
            case ef.ExponentialDecay:
                return np.exp(-numbers["rate"] * (t - S)) if t < T else 0.0
            case _:
                left = (numbers["t1"] - t) / (numbers["t1"] - S)
                return left ** numbers.get("power", 1.0) if left > 0.0 else 0.0

    def field(t: float, z: np.ndarray) -> np.ndarray:
        return risk.b_retained - risk.h_retained @ z - c * eps(t) * x * (x @ z - y)

    knots = np.unique(np.clip(np.concatenate([[S, T], schedule.jump_ts]), S, T))
    for left, right in itertools.pairwise(knots):
        theta = solve_ivp(field, (left, right), theta, method="LSODA", rtol=1e-9, atol=1e-12).y[:, -1]
    return theta


def main() -> None:
    """Print the table."""
    problem = ef.linear_regression(ef.load_dataset("diabetes"), [DELETED], reduction="mean")
    start = np.zeros(problem.dim)

    def compare() -> ef.Comparison:
        return ef.compare_schedules(problem, start, s=S, T=T)

    first = cpu(compare)
    warm = min(cpu(compare) for _ in range(5))
    found = compare()
    computed = sum(result.evaluations for result in found.families)
    theta_s = np.asarray(found.task.theta_s)
    sample = members(np.random.default_rng(0))
    single = min(cpu(lambda: [by_solve_ivp(problem, theta_s, each) for each in sample]) for _ in range(3)) / len(sample)
    errors = [
        np.abs(by_solve_ivp(problem, theta_s, each) - ef.gradient_flow(problem, each, theta_s, t0=S, ts=[T]).end).max()
        for each in sample
    ]
    table = Table(title="compare_schedules, diabetes, four families and the optimum")
    for column in ("", "CPU ms", "in solve_ivp's members"):
        table.add_column(column, justify="right" if column else "left")
    table.add_row("one member by solve_ivp (LSODA, rtol 1e-9)", f"{1e3 * single:.2f}", "1")
    table.add_row("first call in this process", f"{1e3 * first:.0f}", f"{first / single:.0f}")
    table.add_row("warm call", f"{1e3 * warm:.0f}", f"{warm / single:.1f}")
    table.add_row(f"{SCANNED:,} members by solve_ivp", f"{1e3 * single * SCANNED:,.0f}", f"{SCANNED:,}")
    console = Console()
    console.print(table)
    console.print(
        f"A warm call is {SCANNED * single / warm:.0f} times faster than a loop over the {SCANNED:,} members of scans, "
        f"and {computed * single / warm:.0f} times than one over the {computed} that it computed itself. "
        f"Largest difference of θ(T) between the two in a sample of {len(sample)}: {max(errors):.1e}; largest "
        f"bound on an error in the cost of a family's best: {max(result.cost_error for result in found.families):.1e}."
    )


if __name__ == "__main__":
    main()
