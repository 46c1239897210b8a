"""`optimal_schedule` and `certify` where θ is trained with an optimiser: ε on a mesh of whole steps."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

from .._core import RESULTS, SUCCESS
from ..schedules import AbstractSchedule, PiecewiseConstant
from ._pontryagin import cells_of, extremal_of
from ._simulate import seed_costs
from ._solution import Found, ScheduleSolution, verdict
from ._task import ControlTask
from ._trainings import Trainings
from .systems._ensemble import MeanSlopes
from .systems._step_path import mesh_gap
from .systems._trained_family import least_trained, nearest_trained, points_of
from .terms._arcs import Arcs
from .terms._cost import RetainedLoss
from .terms._deadline import UNLIMITED, Deadline
from .terms._kinds import VERIFIED_GAP, SearchMethod, describe_arcs
from .terms._levels import as_column, effort_between, interval_means, interval_sums, step_weights
from .terms._reading import read_arcs
from .terms._runs import Candidate
from .terms._window import on_bounds

MAX_ITERATIONS, FALL, SETTLED = 200, 1e-10, 1e-6
"""Of L-BFGS-B from one start; the relative fall of the cost, and the gap that an interval may still gain, in units of
the cost, at which it ends."""

ON_BOUND = 1e-3
"""Distance from a bound, in units of their distance, at which a level that L-BFGS-B found is tried on the bound."""

ROUND = 1e-9
"""What a switch at the end of a step may cost more than one beside it, relative to the cost."""

SWITCHES = 9
"""Knots at which a single switch is tried, for a start."""

MOST_ARCS, SCANNED = 24, 2
"""Switches beyond which a mesh is not left, and numbers up to which a box around them is scanned: the cost of batches
is rough in the switch times, and a descent alone stays where it is."""

SMALL = 1e-3
"""A cost below this part of what ε = 1 throughout costs is measured by it: a cost may be zero, or below."""


def search_trained(
    task: ControlTask, starts: tuple[AbstractSchedule, ...], columns: int, deadline: Deadline = UNLIMITED
) -> Found:
    """The best levels on the mesh of a task with an optimiser, by L-BFGS-B from several starts.

    Args:
        task: with an optimiser.
        starts: schedules to start from, too.
        columns: one weight for all deleted points, or one for each.
        deadline: when to stop.
    """
    assert task.trainings is not None  # whose task it is
    search = _Search(task, task.trainings, columns, deadline)
    runs = search.runs(starts)
    proposals = [option for run in runs for option in search.options(run)]
    costs = [search.cost(levels) for levels in proposals]
    best, knots = int(np.argmin(costs)), task.trainings.knots
    freed = search.freed(proposals[best], costs[best])
    failed = not any(run.success for run in runs)
    trouble = RESULTS.no_start_succeeded if failed else SUCCESS
    return Found(
        schedule=PiecewiseConstant(knots, as_column(proposals[best])) if freed is None else freed,
        method=SearchMethod.ADJOINT,
        polished=freed is not None,
        mesh=1.0,  # a weight between the bounds for longer than a step is no switch
        candidates=tuple(runs),
        result=RESULTS.time_limit_reached if deadline.passed else trouble,
    )


@dataclass(frozen=True, eq=False)
class _Search:
    """L-BFGS-B on the levels of a mesh.

    Attributes:
        task: the question.
        trainings: its trainings.
        columns: components of ε.
        deadline: when to stop.
    """

    task: ControlTask
    trainings: Trainings
    columns: int
    deadline: Deadline

    @property
    def lengths(self) -> np.ndarray:
        """Steps of every interval."""
        return np.diff(self.trainings.knots).astype(int)

    def slopes(self, levels: Float[np.ndarray, "N columns"]) -> MeanSlopes:
        """Cost and derivatives by the levels."""
        found = self.trainings.seeds.slopes(np.repeat(levels, self.lengths, axis=0))
        return found._replace(weights=interval_sums(found.weights, self.trainings.knots))

    def cost(self, levels: Float[np.ndarray, "N columns"]) -> float:
        """The mean cost."""
        return float(self.trainings.seeds.costs(np.repeat(levels, self.lengths, axis=0)).mean())

    def runs(self, starts: tuple[AbstractSchedule, ...]) -> list[Candidate]:
        """L-BFGS-B from every start while there is time; from the first in any case."""
        unit, runs = scale_of(self.task), []
        for name, guess in self._guesses(starts).items():
            if runs and self.deadline.passed:
                break
            runs.append(self._run(name, guess, unit))
        return runs

    def options(self, run: Candidate) -> list[np.ndarray]:
        """What a run found, and the same with what is near a bound moved onto it."""
        free = run.values.reshape(-1, self.columns)
        moved = on_bounds(free, self.task.bounds, ON_BOUND)
        return [free] if np.array_equal(free, moved) else [free, moved]

    def freed(self, levels: Float[np.ndarray, "N columns"], cost: float) -> PiecewiseConstant | None:
        """The arcs of levels on the mesh with switches at any step; None where that gains nothing that holds there.

        The step in which ε switches has a weight between the two levels, so that the cost is a continuous function of
        the switch time.
        """
        knots, bounds, seeds = self.trainings.knots, self.task.bounds, self.trainings.seeds
        arcs = read_arcs(bounds, knots, levels)
        coarse = (self.lengths > 1).any()
        if self.deadline.passed or not coarse or not 0 < len(arcs.times) <= MOST_ARCS:
            return None
        low, high = _near(arcs, float(self.lengths.max()))

        def weights_of(rows: Float[np.ndarray, "k n"]) -> Float[np.ndarray, "k N columns"]:
            schedules = (arcs.at(row).ordered().schedule() for row in rows)
            return np.stack([step_weights(schedule, self.task.s, self.task.T) for schedule in schedules])

        start = arcs.unknowns
        if len(start) <= SCANNED:
            count = points_of(len(start), float((high - low).max()))
            least = least_trained(seeds, weights_of, low, high, count, self.deadline)
        else:
            least = nearest_trained(seeds, weights_of, start, low, high, self.deadline)
        weights = weights_of(least.point[None])[0]
        # Most minima lie where a step ends, and the cost has a kink: to the last digits of the search.
        whole = on_bounds(weights, bounds, ON_BOUND)
        if seeds.costs(whole).mean() <= least.cost * (1.0 + ROUND):
            weights = whole
        schedule = in_whole_steps(weights, self.task.s, knots)
        cells = cells_of(self.task, self.trainings, schedule)
        small = mesh_gap(seeds.slopes(weights).weights, weights, cells, bounds) <= VERIFIED_GAP * abs(least.cost)
        return schedule if small and least.cost < cost else None

    def _guesses(self, starts: tuple[AbstractSchedule, ...]) -> dict[str, np.ndarray]:
        (low, high), shape = self.task.bounds, (len(self.lengths), self.columns)
        guesses = {
            name: np.full(shape, level)
            for name, level in (("high", high), ("low", low), ("half way", 0.5 * (low + high)))
        }
        for i, schedule in enumerate(starts, 1):
            means = interval_means(step_weights(schedule, self.task.s, self.task.T), self.trainings.knots)
            guesses[f"given {i}: {type(schedule).__name__}"] = np.broadcast_to(np.clip(means, low, high), shape)
        return guesses | self._switch()

    def _switch(self) -> dict[str, np.ndarray]:
        """The best of a few controls that are high first and low from a knot on."""
        (low, high), count = self.task.bounds, len(self.lengths)
        switches = np.unique(np.linspace(0, count, SWITCHES).round().astype(int))[1:-1]
        tried, costs = [], []
        for switch in switches:
            if self.deadline.passed:
                break
            tried.append(np.where(np.arange(count)[:, None] < switch, high, low * np.ones((1, self.columns))))
            costs.append(self.cost(tried[-1]))
        return {"best switch": tried[int(np.argmin(costs))]} if tried else {}

    def _run(self, name: str, guess: np.ndarray, unit: float) -> Candidate:
        low, high = self.task.bounds
        least = {"cost": np.inf, "levels": guess.ravel()}
        worst = unit

        def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
            nonlocal worst
            found = self.slopes(flat.reshape(guess.shape))
            if not np.isfinite(found.cost):  # a line search that went too far comes back
                return 10.0 * worst / unit, np.zeros(flat.size)
            worst = max(worst, found.cost)
            if found.cost < least["cost"]:
                least.update(cost=found.cost, levels=flat.copy(), slope=found.weights.ravel())
            return found.cost / unit, found.weights.ravel() / unit

        def stop(intermediate_result: Any) -> None:
            del intermediate_result
            if self.deadline.passed or gap() <= SETTLED * max(abs(least["cost"]), SMALL * unit):
                raise StopIteration

        def gap() -> float:
            if "slope" not in least:
                return np.inf
            slope, flat = least["slope"], least["levels"]
            return float(np.maximum(slope * (flat - low), slope * (flat - high)).sum())

        limits = {"maxiter": MAX_ITERATIONS, "maxcor": 20, "ftol": FALL, "gtol": 0.0}
        bounds = [(low, high)] * guess.size
        settings: dict[str, Any] = {"jac": True, "method": "L-BFGS-B", "bounds": bounds, "callback": stop}
        run = minimize(objective, guess.ravel(), options=limits, **settings)
        best = np.clip(least["levels"], low, high).reshape(guess.shape)
        near = gap() <= VERIFIED_GAP * max(abs(least["cost"]), SMALL * unit)
        return Candidate(name, as_column(best), str(run.message), near, int(run.nit), int(run.nfev))


def _near(arcs: Arcs, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Where the unknowns of arcs may go: switch times not past half way to the next, nor farther than `reach`."""
    low, high = arcs.ranges.T.copy()
    n = 0
    for row in arcs.components:
        times = row.edges[1:-1]
        here, half = slice(n, n + len(times)), 0.5 * (times[:-1] + times[1:])
        # From one whole step to another: there the cost has its kinks.
        low[here] = np.floor(np.maximum(times - reach, np.concatenate([row.edges[:1], half])))
        high[here] = np.ceil(np.minimum(times + reach, np.concatenate([half, row.edges[-1:]])))
        n += len(times)
    return low, high


def in_whole_steps(
    weights: Float[np.ndarray, "N columns"], s: float, knots: Float[np.ndarray, " knots"]
) -> PiecewiseConstant:
    """The schedule with a weight for every step, of which `train_with` makes the same training.

    It has a knot wherever the weights change.
    """
    changes = np.flatnonzero((weights[1:] != weights[:-1]).any(axis=1)) + 1
    first = np.concatenate([[0], changes])
    return PiecewiseConstant(np.append(s + first, knots[-1]), as_column(weights[first]))


def scale_of(task: ControlTask) -> float:
    """What going on with ε = 1 costs, or dropping the points at s if that costs more: the unit of the cost."""
    assert task.trainings is not None
    count = round(task.T - task.s)
    costs = [task.trainings.seeds.costs(np.full((count, 1), level)).mean() for level in (0.0, 1.0)]
    finite = [abs(float(cost)) for cost in costs if np.isfinite(cost)]
    return max([*finite, np.finfo(np.float64).tiny])


def judge_trained(task: ControlTask, found: Found) -> ScheduleSolution:
    """`judge` for a task with an optimiser: stationary where no ε on the mesh gains more than 2 % to first order."""
    assert task.trainings is not None
    extremal = extremal_of(task, found.schedule, 0.0)
    weights, knots = step_weights(found.schedule, task.s, task.T), cells_of(task, task.trainings, found.schedule)
    cost, gap = extremal.cost, extremal.pmp_gap
    return verdict(
        task,
        found,
        extremal,
        describe_arcs(knots, as_column(interval_means(weights, knots)), task.bounds),
        cost=cost,
        error=extremal.cost_error,
        effort=effort_between(np.arange(task.s, task.T + 1.0), weights),
        multiplier=0.0,
        # What retrained models lose on the retained points is no minimum of that loss.
        lower_bound=-np.inf if isinstance(task.cost, RetainedLoss) else 0.0,
        exact=False,
        stationary=bool(gap <= VERIFIED_GAP * max(abs(cost), SMALL * scale_of(task))),
        mesh=1.0,
        seeds=seed_costs(task.trainings, weights),
    )
