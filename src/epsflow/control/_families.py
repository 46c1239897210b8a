"""The best member of a family, and families side by side."""

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._core import (
    RESULTS,
    SUCCESS,
    Array,
    InputError,
    Shown,
    Stored,
    as_count,
    brief,
    read_fields,
    succeeded,
    with_error,
)
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
from ._simulate import effort_of, efforts_of, seed_costs, simulate
from ._task import ControlTask, descent_of, known_schedules, make_task, training_of
from ._trainings import recipes_of
from .linear._families import least_member
from .linear._search import least_in_box
from .systems._ensemble import PricedSteps
from .systems._trained_family import least_trained, points_of
from .terms._cost import AbstractCost
from .terms._deadline import UNLIMITED, Deadline
from .terms._levels import step_weights_of
from .terms._runs import Least
from .terms._seeds import SeedCosts

FAMILIES: tuple[type[AbstractSchedule], ...] = (Step, LinearDecay, PolynomialDecay, ExponentialDecay)
"""The families of the notes, which `compare_schedules` searches unless told otherwise."""

SCAN_POINTS = {1: 201, 2: 21}
"""Grid points per number, for families of one and two numbers."""


class FamilyStatus(enum.Enum):
    """Where in its family's range the best member lies.

    Example:
        >>> [status.value for status in ef.FamilyStatus][:2]
        ['inside its range', 'at the bound of its range']
    """

    INSIDE = "inside its range"
    AT_BOUND = "at the bound of its range"
    NO_MEMBER = "no member within the budget"
    BASELINE = "baseline"
    OUTSIDE = "baseline, which the bounds exclude"


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class FamilyResult(Shown, Stored):
    """The best schedule of one family.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.best_in_family(problem, ef.Step, np.zeros(10), s=2.0, T=20.0).parameters
        {'τ': 2.0}

    Attributes:
        family: its name.
        schedule: the best member found.
        parameters: the numbers that pick it.
        cost: of θ(T), simulated again by the flow room.
        cost_error: bound or estimate of the error in `cost`, that of the target included.
        status: where it lies; at a bound of its range a wider family might do better. Without a member within the
            budget the cost is infinite.
        at_bound: which numbers are at a bound of their range.
        evaluations: schedules simulated in the search.
        effort: ∫|ε| dt over (s, T).
        seeds: with an optimiser, the cost of every seed and of those held out; else None.
        result: whether the search ended, or time ran out on its refinement.
    """

    family: str
    schedule: AbstractSchedule
    parameters: dict[str, float]
    cost: float
    cost_error: float
    status: FamilyStatus
    at_bound: tuple[str, ...] = ()
    evaluations: int
    effort: float
    seeds: SeedCosts | None = None
    result: RESULTS = field(default_factory=lambda: SUCCESS)

    @property
    def words(self) -> str:
        """Its status in words, and what kept the search from its end."""
        where = f"at the bound of {', '.join(self.at_bound)}" if self.at_bound else self.status.value
        return where if bool(succeeded(self.result)) else f"{where}; the time limit was reached"

    @classmethod
    def from_json(cls, text: str) -> "FamilyResult":
        """What `to_json` wrote.

        Raises:
            InputError: another document, or a schedule class that is not known here.
        """
        return cls(**read_fields(cls, text, [FamilyStatus, SeedCosts, *known_schedules()]))

    def _facts(self) -> dict[str, object]:
        return {"family": self.family, **self.parameters, "cost": self.cost, "status": self.words}

    def _title(self) -> str:
        return f"The best of {self.family}"

    def _figures(self) -> dict[str, object]:
        return {
            **self.parameters,
            "cost": with_error(self.cost, self.cost_error),
            **({} if self.seeds is None else self.seeds.figures),
            "∫|ε| dt": self.effort,
            "status": self.words,
            "evaluations": self.evaluations,
        }


def as_families(families: object) -> tuple[type[AbstractSchedule], ...]:
    """Schedule classes that can be searched.

    Raises:
        InputError: no sequence of classes.
    """
    given = tuple(families) if isinstance(families, Sequence) and not isinstance(families, str) else (families,)
    return tuple(_as_family(family) for family in given)


def check_family(task: ControlTask, family: type[AbstractSchedule]) -> None:
    """Refuse a family whose members do not keep to the bounds.

    Raises:
        InputError: that of the member in the middle of its range.
    """
    space = family.search_space(task.s, task.T)
    middle = space.unscaled(0.5 * (space.scaled(space.lower) + space.scaled(space.upper)))
    try:
        check_admissible(space.build(middle), task.s, task.T, task.bounds)
    except InputError as error:
        raise InputError(f"{error} Leave this family out: families=[…] names the others, and may be empty.") from error


def fitting_families(task: ControlTask) -> tuple[type[AbstractSchedule], ...]:
    """Those of the notes' families that keep to the bounds: all of them where these are (0, 1), or wider."""

    def fits(family: type[AbstractSchedule]) -> bool:
        try:
            check_family(task, family)
        except InputError:
            return False
        return True

    return tuple(filter(fits, FAMILIES))


def _as_family(family: object) -> type[AbstractSchedule]:
    if isinstance(family, type) and issubclass(family, AbstractSchedule):
        return family
    known = ", ".join(each.__name__ for each in FAMILIES)
    advice = f"pass the class itself, without quotes: {known}, or a class of your own with `search_space`"
    if isinstance(family, AbstractSchedule):
        advice = f"pass its class {type(family).__name__}; certify() takes one schedule"
    raise InputError(f"a family is a schedule class; got {brief(family)}: {advice}.")


def best_in_family(
    problem: Problem,
    family: type[AbstractSchedule],
    theta0: object,
    *,
    s: float | int,
    T: float | int,
    bounds: tuple[float, float] = (0.0, 1.0),
    target: object | None = None,
    cost: AbstractCost | None = None,
    budget: float | None = None,
    price: float = 0.0,
    step_size: float | None = None,
    momentum: float = 0.0,
    optimiser: object | None = None,
    batch: int | None = None,
    key: object | None = None,
    held_out: object | None = None,
    dtype: str | None = None,
    grid: int | None = None,
    time_limit: float | None = None,
) -> FamilyResult:
    """The least cost in one family: a scan of its whole range, then scans of ever smaller boxes around the best point.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.best_in_family(problem, ef.Step, np.zeros(10), s=2.0, T=20.0)
        FamilyResult(family=Step, τ=2, cost=0.1579, status=at the bound of τ)

    The scan is global on its grid; a minimum narrower than a grid cell can be missed. Refinement stops when the box has
    shrunk to 1e-7 of the range, where the cost no longer changes by a relative 1e-12. For linear regression the scans
    read a polynomial through θ(T) of some hundred members (`linear._families`), and nothing is compiled; other models
    are integrated by diffrax.

    Args:
        problem: what is trained, and which points are deleted.
        family: Step, LinearDecay, PolynomialDecay, ExponentialDecay, several switches (`BangBang.switching(3)`), or a
            schedule class with `search_space`.
        theta0: θ(0), shape (d,).
        s, T: the window.
        bounds: bounds of ε; the family must respect them.
        target: where θ(T) should be; default: the leave-out optimum, or with an optimiser the retrained θ(T).
        cost: of θ(T); default: the distance 𝓔.
        budget, price: for ∫|ε| dt over (s, T), as in `optimal_schedule`; the least cost + ρ∫|ε| dt among the
            members within the budget.
        step_size, momentum: of gradient descent in place of the flow, as in `optimal_schedule`; a step has the mean of
            ε(t) over it.
        optimiser, batch, key, held_out, dtype: of training with an optimiser in place of the flow, as in
            `optimal_schedule`.
        grid: points per number of the first scan, at least 5; default 201 for one number and, for linear regression, 49
            for two (21 for other models). With an optimiser 33 for one and 7 for two, no closer than whole steps:
            slopes lead on from there.
        time_limit: seconds after which no further box is scanned; what was found by then is returned, and says so.

    Raises:
        InputError: a family without a search space, or whose members are outside E_s.
        ConvergenceError: the flow of the best member failed.
    """
    question = {"s": s, "T": T, "bounds": bounds, "target": target, "cost": cost, "budget": budget, "price": price}
    recipes = recipes_of(optimiser, batch, key, held_out, dtype)
    task = make_task(problem, theta0, **question, step_size=step_size, momentum=momentum, recipes=recipes)
    return search_family(task, _as_family(family), grid, Deadline(time_limit))


def search_family(
    task: ControlTask, family: type[AbstractSchedule], grid: int | None = None, deadline: Deadline = UNLIMITED
) -> FamilyResult:
    """`best_in_family` for a task that has been checked."""
    space = family.search_space(task.s, task.T)
    check_family(task, family)
    points = None if grid is None else as_count(grid, "grid", 5)
    if task.linear is not None and task.step_size is None:
        best = least_member(task.linear, space, points, deadline)
    else:
        search = _scanned if task.trainings is None else _least_trained
        best = search(task, space, points, deadline)
        best = best._replace(numbers=space.unscaled(best.numbers))
    exists, at_bound = best.cost < np.inf, space.at_bound(space.scaled(best.numbers))
    inside = FamilyStatus.AT_BOUND if at_bound else FamilyStatus.INSIDE
    return _simulated(
        task,
        space.build(best.numbers),
        exists=exists,
        family=family.__name__,
        parameters=dict(zip(space.names, map(float, best.numbers), strict=True)),
        status=inside if exists else FamilyStatus.NO_MEMBER,
        at_bound=at_bound if exists else (),
        evaluations=best.evaluations,
        result=SUCCESS if best.finished else RESULTS.time_limit_reached,
    )


def baseline(task: ControlTask) -> FamilyResult:
    """The notes' 1_[0,s]: the points are dropped when the request arrives."""
    status = FamilyStatus.BASELINE if task.bounds[0] <= 0.0 <= task.bounds[1] else FamilyStatus.OUTSIDE
    return _simulated(task, Step(task.s), family="1_[0,s]", parameters={"τ": task.s}, status=status, evaluations=1)


def _simulated(task: ControlTask, schedule: AbstractSchedule, exists: bool = True, **found: Any) -> FamilyResult:
    """What a member really costs; infinitely much where there is none."""
    cost, error = simulate(task, schedule) if exists else (np.inf, 0.0)
    effort, seeds = effort_of(task, schedule), seed_costs(task, schedule)
    return FamilyResult(schedule=schedule, cost=cost, cost_error=error, effort=effort, seeds=seeds, **found)


def _least_trained(task: ControlTask, space: SearchSpace, grid: int | None, deadline: Deadline) -> Least:
    """The best member for training with an optimiser."""
    training = PricedSteps(training_of(task), task.price, task.budget)

    def weights(points: Float[np.ndarray, "k p"]) -> Float[np.ndarray, "k N columns"]:
        return step_weights_of(build_members(space, space.unscaled(points)), task.s, task.T)

    count = grid or points_of(len(space.names), task.T - task.s)
    box = space.scaled(space.lower), space.scaled(space.upper)
    return least_trained(training, weights, *box, count, deadline)


def _scanned(task: ControlTask, space: SearchSpace, grid: int | None, deadline: Deadline) -> Least:
    """The best member of a flow that has to be integrated, or of gradient descent."""
    low, count, costs_of = space.scaled(space.lower), len(space.names), _member_costs(task, space)
    width = space.scaled(space.upper) - low

    def costs(x: Float[np.ndarray, "1 k p"]) -> Float[np.ndarray, "1 k"]:
        numbers = space.unscaled(low + width * x[0])
        found = costs_of(numbers)
        if task.priced:
            spent = efforts_of(task, build_members(space, numbers))
            # Members that spend the budget to rounding are within it.
            found = np.where(spent <= task.budget * (1.0 + 1e-10), found + task.price * spent, np.inf)
        return found[None]

    points = grid or SCAN_POINTS.get(count, 9)
    found = least_in_box(costs, 1, count, grid=points, refine=points, deadline=deadline)
    return Least(low + width * found.points[0], float(found.costs[0]), found.evaluations, found.finished)


def _member_costs(
    task: ControlTask, space: SearchSpace
) -> Callable[[Float[np.ndarray, "k p"]], Float[np.ndarray, " k"]]:
    """The cost of θ(T), without the price, of the members that rows of numbers pick."""
    if task.step_size is not None:
        descent = descent_of(task)
        return lambda numbers: descent.many(step_weights_of(build_members(space, numbers), task.s, task.T))
    from ..flow._diffrax import choose_solver, sizes_of  # diffrax

    risk, window = task.problem.risk, jnp.asarray([task.s, task.T])
    sizes = sizes_of(risk, task.theta_s)
    given = task.theta_s, window, task.target, task.cost, choose_solver(sizes, task.T - task.s), sizes.length
    return lambda numbers: np.asarray(_family_costs(risk, space.build, jnp.asarray(numbers), *given))


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
    length: Array,
) -> Float[Array, " k"]:
    """Costs of all members of a grid; infinite where the integration fails, so that such a member is never chosen."""
    from ..flow._diffrax import solve_diffrax  # diffrax

    s, T = window

    def cost_of(parameters: Array) -> Array:
        tolerances = jnp.asarray(1e-8), 1e-10 * length
        ends = solve_diffrax(risk, build(parameters), theta_s, T[None], s, tolerances, solver, 100_000, False).ys
        value = cost.value(risk, jnp.asarray(ends)[-1], target)
        return jnp.where(jnp.isfinite(value), value, jnp.inf)

    return jax.vmap(cost_of)(numbers)
