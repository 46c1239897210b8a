"""`optimal_schedule` where θ moves in whole steps, of gradient descent or of an optimiser: ε on a mesh of them.

Linear regression under gradient descent is certified (`steps._optimum`); all else is L-BFGS-B by exact gradients.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from .._core import RESULTS, SUCCESS
from ..schedules import AbstractSchedule, PiecewiseConstant
from ._pontryagin import cells_of
from ._solution import Found
from ._task import ControlTask, mesh_of, steps_of, training_of
from .steps._optimum import step_optimum
from .systems._descent import Descent, Rule, Slope, best_switch
from .systems._ensemble import AbstractSteps, PricedSteps
from .systems._step_path import mesh_gap, worth_of_a_unit
from .systems._trained_family import least_trained, nearest_trained, points_of
from .terms._arcs import Arcs
from .terms._deadline import UNLIMITED, Deadline
from .terms._kinds import SPENT, VERIFIED_GAP, SearchMethod
from .terms._levels import as_column, interval_means, interval_sums, step_weights
from .terms._reading import read_arcs
from .terms._runs import ON_BOUND, named_guesses, outcome, proposals
from .terms._window import MeshWindow, on_bounds

DESCENT = Rule(fall=1e-14, near=VERIFIED_GAP)
OPTIMISER = Rule(iterations=200, fall=1e-10, settled=1e-6, near=VERIFIED_GAP, floor=0.0)
"""When L-BFGS-B ends: with an optimiser a gradient is dear, and the cost of batches is rough."""

ROUND = 1e-9
"""What a switch at the end of a step may cost more than one beside it, relative to the cost."""

SWITCHES = 9
"""Knots of the mesh at which a single switch is tried with an optimiser, for a start; the outer ones are no switch."""

MOST_ARCS, SCANNED = 24, 2
"""Switches beyond which a mesh is not left, and numbers up to which a box around them is scanned: the cost of batches
is rough in the switch times, and a descent alone stays where it is."""


def search_steps(
    task: ControlTask, starts: Sequence[AbstractSchedule], columns: int, deadline: Deadline = UNLIMITED
) -> Found:
    """The best weights: for linear regression with a lower bound on those of all others, else by L-BFGS-B.

    Args:
        task: in steps.
        starts: schedules to start from, too.
        columns: one weight for all deleted points, or one for each.
        deadline: when to stop.
    """
    if task.linear is None or task.priced:
        return _Search(task, training_of(task), columns, deadline).best(starts)
    knots = mesh_of(task)
    given = [np.broadcast_to(step_weights(each, task.s, task.T), (len(knots) - 1, columns)) for each in starts]
    found = step_optimum(steps_of(task), given, shared=columns == 1, deadline=deadline)
    return Found(
        schedule=PiecewiseConstant(knots, found.weights),
        method=SearchMethod.STEPS,
        lower_bound=found.lower_bound,
        arrived=found.arrives,
        result=RESULTS.time_limit_reached if deadline.passed else SUCCESS,
    )


def scale_of(task: ControlTask, columns: int = 1) -> float:
    """What going on with ε = 1 costs, or dropping the points at s if that costs more: the unit of the cost."""
    training, count = training_of(task), round(task.T - task.s)
    costs = [training.costs(np.full((count, columns), level)).mean() for level in (0.0, 1.0)]
    finite = [abs(float(cost)) for cost in costs if np.isfinite(cost)]
    return max([*finite, np.finfo(np.float64).tiny])


@dataclass(frozen=True, eq=False)
class _Search:
    """The best levels on a mesh, from several starts, and then with switches at any step.

    Attributes:
        task: the question.
        training: from s on.
        columns: components of ε.
        deadline: when to stop.
    """

    task: ControlTask
    training: AbstractSteps
    columns: int
    deadline: Deadline

    @property
    def knots(self) -> np.ndarray:
        """The mesh."""
        return mesh_of(self.task)

    @property
    def lengths(self) -> np.ndarray:
        """Steps of every interval."""
        return np.diff(self.knots).astype(int)

    def best(self, starts: Sequence[AbstractSchedule]) -> Found:
        """The best levels that any start leads to, freed of the mesh where that gains something."""
        optimiser = self.task.trainings is not None
        window = self.window
        descent = Descent(self.slopes, window, self.deadline, OPTIMISER if optimiser else DESCENT)
        shape = len(self.lengths), self.columns
        guesses = named_guesses(self.task.bounds, shape, starts, self._means)
        guesses = {name: window.affordable(values) for name, values in guesses.items()}
        inside = np.unique(np.linspace(0, shape[0], SWITCHES).round())[1:-1]
        if optimiser and shape[0] > 1 and not self.deadline.passed:
            guesses["best switch"] = best_switch(self.cost, window, shape, inside, self.deadline)
        runs = descent.solve_from(guesses)
        tried = [levels.reshape(shape) for levels in proposals(window, runs)]
        costs = [self.cost(levels) + self.task.price * window.spent(levels) for levels in tried]
        best = int(np.argmin(costs))
        freed = self.freed(tried[best], costs[best])
        return Found(
            schedule=PiecewiseConstant(self.knots, as_column(tried[best])) if freed is None else freed,
            method=SearchMethod.ADJOINT if optimiser else SearchMethod.STEPS,
            polished=freed is not None,
            candidates=tuple(runs),
            result=outcome(runs, self.deadline),
        )

    @cached_property
    def window(self) -> MeshWindow:
        """What the levels are chosen on."""
        task, unit = self.task, scale_of(self.task, self.columns)
        return MeshWindow(task.T - task.s, task.bounds, unit, task.price, task.budget, np.diff(self.knots))

    def slopes(self, levels: Float[np.ndarray, "N columns"]) -> Slope:
        """Mean cost, and its derivatives by the levels."""
        found = self.training.slopes(np.repeat(levels, self.lengths, axis=0))
        return found.cost, interval_sums(found.weights, self.knots)

    def cost(self, levels: Float[np.ndarray, "N columns"]) -> float:
        """The mean cost."""
        return float(self.training.costs(np.repeat(levels, self.lengths, axis=0)).mean())

    def freed(self, levels: Float[np.ndarray, "N columns"], cost: float) -> PiecewiseConstant | None:
        """The arcs of levels on the mesh with switches at any step; None where that gains nothing that holds there.

        The step in which ε switches has a weight between the two levels, so that the cost is a continuous function of
        the switch time.
        """
        options, arcs = self.window.options, read_arcs(self.window.options, self.knots, levels)
        coarse = (self.lengths > 1).any()
        if self.deadline.passed or not coarse or not 0 < len(arcs.times) <= MOST_ARCS:
            return None
        low, high = _near(arcs, float(self.lengths.max()))

        def weights_of(rows: Float[np.ndarray, "k n"]) -> Float[np.ndarray, "k N columns"]:
            return np.stack([self._weights(arcs.at(row).ordered().schedule()) for row in rows])

        start, training = arcs.unknowns, PricedSteps(self.training, self.task.price, self.task.budget)
        if len(start) <= SCANNED and self.task.budget == np.inf:
            count = points_of(len(start), float((high - low).max()))
            least = least_trained(training, weights_of, low, high, count, self.deadline)
        else:  # within a budget few numbers of a box are admissible, and the start is
            least = nearest_trained(training, weights_of, start, low, high, self.deadline)
        weights = weights_of(least.numbers[None])[0]
        # Most minima lie where a step ends, and the cost has a kink: to the last digits of the search.
        whole = on_bounds(weights, options, ON_BOUND)
        if training.costs(whole).mean() <= least.cost * (1.0 + ROUND):
            weights = whole
        schedule = in_whole_steps(weights, self.task.s, self.knots)
        gap = self._gap(weights, schedule)
        return schedule if gap <= VERIFIED_GAP * abs(least.cost) and least.cost < cost else None

    def _gap(self, weights: Float[np.ndarray, "N columns"], schedule: PiecewiseConstant) -> float:
        """What ε gains to first order that is constant where the mesh, and the schedule's jumps, let it be."""
        task, cells, slopes = self.task, cells_of(self.task, schedule), self.training.slopes(weights).weights
        rho = task.price
        if PricedSteps.effort(weights) >= (1.0 - SPENT) * task.budget:
            means = interval_means(slopes, cells), interval_means(weights, cells)
            rho = max(rho, worth_of_a_unit(np.diff(cells), *means, task.bounds))
        return mesh_gap(slopes, weights, cells, task.bounds, rho)

    def _weights(self, schedule: AbstractSchedule) -> np.ndarray:
        return step_weights(schedule, self.task.s, self.task.T)

    def _means(self, schedule: AbstractSchedule) -> np.ndarray:
        return interval_means(self._weights(schedule), self.knots)


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
