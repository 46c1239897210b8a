"""The optimum in steps: the nearest attainable point where signs are settled, else branching on when they change."""

import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..terms._deadline import UNLIMITED, Deadline
from ..terms._levels import as_column
from ._attainable import NearestPoint, nearest_point, one_sign
from ._signs import ControlSet, everything, parts, settled_signs, tightened
from ._task import StepTask, ends, pulls, run
from ._vertex import fewest_between

GAP, NODES, BRIEF, WINDOWS = 5e-7, 400, 40, 4
"""Relative gap and number of sets at which branching ends (briefly where one weight for several points cannot attain
the bound anyway), and into how many windows a first change is cut."""

TRIED, SWEEPS, FALL = 33, 100, 1e-13
"""Switches that are tried at once; rounds of coordinate descent, and the relative fall of the cost that ends them."""

PATTERNS, SEARCHED = 10, 40
"""How often the signs of weights that were found are taken for granted, and sets of controls that propose weights."""


@dataclass(frozen=True, eq=False)
class StepOptimum:
    """The best weights found, and what is proved about them.

    Attributes:
        weights: ε_k, shape (N,) where the points share it, else (N, m).
        lower_bound: no admissible weights (with one for each point) cost less.
        arrives: whether zero is attained by a mixture of controls that are far from it: exact unlearning.
        settled: whether the residuals keep their signs, which makes the problem convex.
        sets: how many sets of controls were bounded; 1 where the signs are settled.
    """

    weights: Float[np.ndarray, "N *m"]
    lower_bound: float
    arrives: bool
    settled: bool
    sets: int


@dataclass(frozen=True, eq=False)
class _Best:
    """Weights, shape (N, columns), and their cost."""

    weights: np.ndarray
    cost: float


def step_optimum(
    task: StepTask,
    starts: Sequence[Float[np.ndarray, "N columns"]] = (),
    *,
    shared: bool = True,
    deadline: Deadline = UNLIMITED,
    max_sets: int = NODES,
) -> StepOptimum:
    """The least cost over all admissible weights, and a lower bound on it.

    Args:
        task: the problem.
        starts: weights to start from besides the best single switches.
        shared: one weight for all deleted points, or one each; only for the latter does the bound meet the optimum.
        deadline: when to stop searching and proving.
        max_sets: how many sets of controls may be bounded where residuals can change their signs.
    """
    columns = 1 if shared or task.points == 1 else task.points
    signs, until = settled_signs(task)
    own = columns == task.points
    best = min((_improved(task, start) for start in [*_switches(task, columns), *starts]), key=lambda each: each.cost)
    if until > task.count:
        near = nearest_point(task, one_sign(task, signs), _image(task, best.weights), deadline=deadline)
        if own and near.inside:
            weights = _soonest(task, near.weights, signs)
            best = _Best(weights, weights_cost(task, weights))
        elif own and weights_cost(task, near.weights) <= best.cost:
            weights = fewest_between(task, near.weights)
            best = _Best(weights, weights_cost(task, weights))
        return StepOptimum(as_column(best.weights), near.bound, near.inside and own, True, 1)
    search = _Branching(task, best, own, deadline)
    bound = search.run(tightened(task, everything(task, signs, until)), max_sets if own else min(max_sets, BRIEF))
    weights = fewest_between(task, search.best.weights) if own else search.best.weights
    return StepOptimum(as_column(weights), bound, False, False, search.sets)


def weights_cost(task: StepTask, weights: Float[np.ndarray, "N columns"]) -> float:
    """½‖Lδ_N‖²."""
    return task.linear.form.value(run(task, _each(task, weights)).deltas[-1])


def _image(task: StepTask, weights: np.ndarray) -> np.ndarray:
    return task.linear.form.image(run(task, _each(task, weights)).deltas[-1])


def _each(task: StepTask, weights: np.ndarray) -> np.ndarray:
    return np.broadcast_to(weights, (len(weights), task.points))


def _soonest(task: StepTask, weights: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """Weights that arrive in the fewest steps, with ε = 0 from then on: the target is at rest where 0 is admissible."""
    low, high = task.bounds
    if task.linear.drift.any() or not low <= 0.0 <= high or task.momentum > 0.0:
        return fewest_between(task, weights)
    short, long, found = 0, task.count, weights
    while long - short > 1:
        middle = (short + long) // 2
        part = task.first(middle)
        near = nearest_point(part, one_sign(part, signs), part.linear.start)
        if near.inside:
            long, found = middle, near.weights
        else:
            short = middle
    return np.concatenate([fewest_between(task.first(long), found), np.zeros((task.count - long, task.points))])


def _switches(task: StepTask, columns: int) -> list[np.ndarray]:
    """The best weights with one switch between the bounds, in either direction."""
    found = []
    for first, second in itertools.permutations(task.bounds[::-1], 2):
        left, right = 0, task.count
        while True:
            tried = np.unique(np.linspace(left, right, TRIED).round().astype(int))
            weights = np.where(np.arange(task.count) < tried[:, None], first, second)
            every = np.broadcast_to(weights[:, :, None], (*weights.shape, task.points))
            k = int(np.argmin(task.linear.form.values(ends(task, every))))
            if right - left < TRIED:
                break
            left, right = int(tried[max(k - 1, 0)]), int(tried[min(k + 1, len(tried) - 1)])
        found.append(np.tile(weights[k][:, None], (1, columns)))
    return found


def _improved(task: StepTask, weights: np.ndarray) -> _Best:
    """Coordinate descent: δ_N is affine in each weight, so the best value of each is known; from the last to the first.

    A change of w_kj by dw moves Lδ_N by −g dw (`pulls`), under the weights as they are by then.
    """
    form, (low, high) = task.linear.form, task.bounds
    factor = form.pull(np.eye(len(form.factor)))
    weights, cost = np.array(weights, dtype=np.float64), np.inf
    groups = task.points // weights.shape[1]
    for _ in range(SWEEPS):
        path = run(task, _each(task, weights))
        image = form.image(path.deltas[-1])
        before, cost = cost, 0.5 * float(image @ image)
        if before - cost <= FALL * cost:
            break
        for k, pull in pulls(task, factor, lambda k, _: weights[k]):
            pushes = pull * path.residuals[k]
            moves = -pushes if groups == 1 else -pushes.sum(axis=1, keepdims=True)
            for c in range(weights.shape[1]):
                length = float(moves[:, c] @ moves[:, c])
                if length > 0.0:
                    wanted = weights[k, c] - float(image @ moves[:, c]) / length
                    wanted = min(max(wanted, low), high)
                    image = image + (wanted - weights[k, c]) * moves[:, c]
                    weights[k, c] = wanted
    return _Best(weights, weights_cost(task, weights))


class _Branching:
    """Best-first search over sets of controls, with the best weights known."""

    def __init__(self, task: StepTask, best: _Best, own: bool, deadline: Deadline):
        self.task, self.best, self.own, self.deadline, self.sets = task, best, own, deadline, 0

    @property
    def goal(self) -> float:
        """What a set must cost at least to be of no interest."""
        return (1.0 - GAP) * self.best.cost

    def run(self, whole: ControlSet, max_sets: int) -> float:
        """A lower bound over the whole set."""
        order, queue = itertools.count(), []
        self._push(queue, order, 0.0, whole)
        while queue:
            bound, _, given, near = heapq.heappop(queue)
            if bound >= self.goal:
                return min(bound, self.best.cost)
            if self.sets >= max_sets or self.deadline.passed:
                return bound
            pieces = self._split(given, near)
            if not pieces:  # every sign is known: nothing tells these controls apart any further
                return bound
            for part in pieces:
                self._push(queue, order, bound, part)
        return self.goal

    def _push(self, queue: list, order: "itertools.count[int]", before: float, given: ControlSet) -> None:
        given = tightened(self.task, given)
        if given.empty:
            return
        self.sets += 1
        hull = given.hull(self.task)
        if not np.isfinite(hull.losses).all():
            return heapq.heappush(queue, (0.0, next(order), given, None))
        near = nearest_point(
            self.task, hull, _image(self.task, self.best.weights), enough=self.goal, deadline=self.deadline
        )
        self._learn(near.weights)
        heapq.heappush(queue, (max(before, near.bound), next(order), given, near))

    def _learn(self, weights: np.ndarray) -> None:
        """Keep weights that cost less, and what is best among those with the signs that they give."""
        if self.sets <= SEARCHED:
            shared = weights.mean(axis=1, keepdims=True)
            found = _improved(self.task, weights if self.own else shared)
            self.best = min(self.best, found, key=lambda each: each.cost)
            weights = found.weights
        if not self.own:
            return
        for _ in range(PATTERNS):
            path = run(self.task, weights)
            cost = self.task.linear.form.value(path.deltas[-1])
            if cost >= self.best.cost:
                return
            self.best = _Best(weights, cost)
            hull = one_sign(self.task, np.where(path.residuals < 0.0, -1, 1))
            weights = nearest_point(self.task, hull, self.task.linear.form.image(path.deltas[-1])).weights

    def _split(self, given: ControlSet, near: NearestPoint | None) -> list[ControlSet]:
        """By the first change of sign in the block in which not knowing it costs most."""
        loose = given.hull(self.task).losses * (1.0 if near is None else near.pulls)
        loose = np.where(given.signs == 0, loose, -1.0)
        step, point = np.unravel_index(int(np.argmax(loose)), loose.shape)
        if loose[step, point] < 0.0:
            return []
        return parts(self.task, given, int(step), int(point), WINDOWS)
