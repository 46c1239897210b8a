"""The best member of a family, and families side by side."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._core import Array, InputError
from ..flow._diffrax import choose_solver, solve_diffrax
from ..problem import AbstractRisk, Problem
from ..schedules import (
    AbstractSchedule,
    ExponentialDecay,
    LinearDecay,
    PolynomialDecay,
    SearchSpace,
    Step,
    build_members,
    check_admissible,
)
from ._task import ControlTask, effort_of, make_task, simulate
from .linear._families import least_member
from .linear._task import LinearTask
from .terms._cost import AbstractCost
from .terms._levels import efforts

FAMILIES: tuple[type[AbstractSchedule], ...] = (Step, LinearDecay, PolynomialDecay, ExponentialDecay)
"""The families of the notes, which `compare_schedules` searches unless told otherwise."""

SCAN_POINTS = {1: 201, 2: 21}
"""Grid points per number, for families of one and two numbers."""


@dataclass(frozen=True, eq=False)
class FamilyResult:
    """The best schedule of one family.

    Attributes:
        family: its name.
        schedule: the best member found.
        parameters: the numbers that pick it.
        cost: of θ(T), simulated again by the flow room.
        cost_error: bound or estimate of the error in `cost`.
        status: "inside its range", or "at the bound of …": then a wider family might do better. With a budget also "no
            member within the budget"; the cost is then infinite.
        evaluations: schedules simulated in the search.
        effort: ∫|ε| dt over (s, T).
    """

    family: str
    schedule: AbstractSchedule
    parameters: dict[str, float]
    cost: float
    cost_error: float
    status: str
    evaluations: int
    effort: float


def best_in_family(
    problem: Problem,
    family: type[AbstractSchedule],
    theta0: object,
    *,
    s: float,
    T: float,
    bounds: tuple[float, float] = (0.0, 1.0),
    target: object | None = None,
    cost: AbstractCost | None = None,
    budget: float | None = None,
    price: float = 0.0,
    grid: int | None = None,
) -> FamilyResult:
    """The least cost in one family: a scan of its whole range, then scans of ever smaller boxes around the best point.

    The scan is global on its grid; a minimum narrower than a grid cell can be missed. Refinement stops when the box has
    shrunk to 1e-7 of the range, where the cost no longer changes by a relative 1e-12. For linear regression the scans
    read a polynomial through θ(T) of some hundred members (`linear._families`), and nothing is compiled; other models
    are integrated by diffrax.

    Args:
        problem: what is trained, and which points are deleted.
        family: Step, LinearDecay, PolynomialDecay, ExponentialDecay, or a schedule class with `search_space`.
        theta0: θ(0), shape (d,).
        s, T: the window.
        bounds: bounds of ε; the family must respect them.
        target: where θ(T) should be; default: the leave-out optimum.
        cost: of θ(T); default: the distance 𝓔.
        budget, price: for ∫|ε| dt over (s, T), as in `optimal_schedule`; the least cost + ρ∫|ε| dt among the
            members within the budget.
        grid: points per number of the first scan; default 201 for one number and, for linear regression, 49 for two
            (21 for other models).

    Raises:
        InputError: a family without a search space, or whose members are outside E_s.
        ConvergenceError: the flow of the best member failed.
    """
    task = make_task(problem, theta0, s=s, T=T, bounds=bounds, target=target, cost=cost, budget=budget, price=price)
    return search_family(task, family, grid)


def search_family(task: ControlTask, family: type[AbstractSchedule], grid: int | None = None) -> FamilyResult:
    """`best_in_family` for a task that has been checked."""
    space = family.search_space(task.s, task.T)
    lower, upper = _to_scale(space, np.array(space.lower)), _to_scale(space, np.array(space.upper))
    corner = space.build(_from_scale(space, 0.5 * (lower + upper)))
    check_admissible(corner, task.s, task.T, task.bounds)
    per_axis = grid or SCAN_POINTS.get(len(space.names), 9)
    if per_axis < 5:
        raise InputError(f"grid is {per_axis}; at least 5 per number are needed to bracket a minimum.")
    if task.linear is not None:
        return _search_linear(task, task.linear, family, grid)
    solver = choose_solver(task.problem.risk, task.theta_s, task.T - task.s)
    unit, evaluations = np.linspace(0.0, 1.0, per_axis), 0
    low, high, best, best_cost = lower, upper, 0.5 * (lower + upper), np.inf
    while True:
        axes = [a + (b - a) * unit for a, b in zip(low, high, strict=True)]
        members = np.array(list(itertools.product(*axes)))
        costs = np.asarray(_costs(task, space, members, solver))
        evaluations += len(members)
        index = int(np.argmin(costs))
        if costs[index] < best_cost:
            best, best_cost = members[index], costs[index]
        if ((high - low) <= 1e-7 * (upper - lower)).all():
            break
        # Two cells to each side: a valley that runs across the axes may leave the nearest cell.
        reach = 2.0 * (high - low) / (per_axis - 1)
        low, high = np.maximum(lower, best - reach), np.minimum(upper, best + reach)
    at_bound = _at_bound(space, best, lower, upper)
    return _found(task, family, _from_scale(space, best), float(best_cost), at_bound, evaluations)


def _search_linear(
    task: ControlTask, linear: LinearTask, family: type[AbstractSchedule], grid: int | None
) -> FamilyResult:
    """`search_family` for linear regression: no compilation, and hundreds of members together."""
    best = least_member(linear, family.search_space(task.s, task.T), task.budget, grid)
    return _found(task, family, best.numbers, best.cost, best.at_bound, best.evaluations)


def _found(
    task: ControlTask,
    family: type[AbstractSchedule],
    numbers: Float[np.ndarray, " p"],
    least: float,
    at_bound: tuple[str, ...],
    evaluations: int,
) -> FamilyResult:
    """The member that a search has found, simulated again; `least` is infinite where there is none."""
    space = family.search_space(task.s, task.T)
    schedule = space.build(numbers)
    cost, error = simulate(task, schedule) if least < np.inf else (np.inf, 0.0)
    inside = f"at the bound of {', '.join(at_bound)}" if at_bound else "inside its range"
    return FamilyResult(
        family=family.__name__,
        schedule=schedule,
        parameters=dict(zip(space.names, map(float, numbers), strict=True)),
        cost=cost,
        cost_error=error,
        status=inside if least < np.inf else "no member within the budget",
        evaluations=evaluations,
        effort=effort_of(task, schedule),
    )


def _costs(
    task: ControlTask, space: SearchSpace, grid: Float[np.ndarray, "k p"], solver: diffrax.AbstractSolver
) -> Float[np.ndarray, " k"]:
    numbers = _from_scale(space, grid)
    window = jnp.asarray([task.s, task.T])
    arguments = jnp.asarray(numbers), task.theta_s, window, task.target, task.cost, solver
    costs = np.asarray(_family_costs(task.problem.risk, space.build, *arguments))
    if not task.priced:
        return costs
    spent = efforts(build_members(space, numbers), task.s, task.T)
    # Members that spend the budget to rounding are within it.
    return np.where(spent <= task.budget * (1.0 + 1e-10), costs + task.price * spent, np.inf)


@eqx.filter_jit
def _family_costs(
    risk: AbstractRisk,
    build: Any,
    numbers: Array,
    theta_s: Array,
    window: Array,
    target: Array,
    cost: AbstractCost,
    solver: Any,
) -> Float[Array, " k"]:
    """Costs of all members of a grid; infinite where the integration fails, so that such a member is never chosen."""
    s, T = window

    def cost_of(parameters: Array) -> Array:
        tolerances = jnp.asarray(1e-8), jnp.asarray(1e-10)
        ends = solve_diffrax(risk, build(parameters), theta_s, T[None], s, tolerances, solver, 100_000, False).ys
        value = cost.value(risk, jnp.asarray(ends)[-1], target)
        return jnp.where(jnp.isfinite(value), value, jnp.inf)

    return jax.vmap(cost_of)(numbers)


def _to_scale(space: SearchSpace, numbers: np.ndarray) -> np.ndarray:
    return np.where(space.log, np.log(np.where(space.log, numbers, 1.0)), numbers)


def _from_scale(space: SearchSpace, scaled: np.ndarray) -> np.ndarray:
    return np.where(space.log, np.exp(np.where(space.log, scaled, 0.0)), scaled)


def _at_bound(space: SearchSpace, best: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> tuple[str, ...]:
    near = 1e-7 * (upper - lower)
    on = (best <= lower + near) | (best >= upper - near)
    return tuple(name for name, at in zip(space.names, on, strict=True) if at)


def baseline(task: ControlTask) -> FamilyResult:
    """The notes' 1_[0,s]: the points are dropped when the request arrives."""
    schedule = Step(task.s)
    cost, error = simulate(task, schedule)
    return FamilyResult("1_[0,s]", schedule, {"τ": task.s}, cost, error, "baseline", 1, 0.0)


def search_families(task: ControlTask, families: Sequence[type[AbstractSchedule]]) -> tuple[FamilyResult, ...]:
    """The best member of each family."""
    return tuple(search_family(task, family) for family in families)
