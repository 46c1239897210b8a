"""Lower bounds where residuals of the deleted points can change their signs (linear regression, one weight per point).

Branch and bound on when each e_j changes its sign, and how often. A node says, for each point, in which windows the
first few changes lie, and either that no other follows or that anything may. Between the windows the sign is known; in
them e vanishes somewhere, so that |e| ≤ η; where anything may happen, e keeps within bounds that hold for all controls
of the node. `_relaxed` turns that into a lower bound in continuous time. See `docs/theory-control.md`.

The nodes of all problems that are asked for are examined side by side; what is proved for one does not depend on the
others.
"""

import heapq
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..linear._task import LinearTask
from ..terms._deadline import UNLIMITED, Deadline
from ._dual import certify_signs
from ._relaxed import Paths, Request, Window, looseness, window
from ._sets import Node, Pattern, Reach
from ._together import Search, run, together

GAP, NODES = 1e-6, 400
"""Relative gap and nodes at which branching ends."""

FIRST_WINDOWS, PARTS, AT_ONCE, MAX_ITERATIONS = 4, 4, 8, 60
HOPELESS = 0.1
"""What the maximum of a dual may still gain, as a fraction of what it lacks, at which it is not sought further."""


@dataclass(frozen=True, eq=False)
class MixedBound:
    """A lower bound on the cost over all admissible schedules, by branching on when residuals change their signs.

    Attributes:
        value: no admissible schedule costs less.
        closed: it meets the given cost to the given tolerance.
        nodes: how many sets of controls were bounded.
    """

    value: float
    closed: bool
    nodes: int


def branch(
    task: LinearTask,
    cost: float,
    mu: np.ndarray,
    *,
    tolerance: float = GAP,
    max_nodes: int = NODES,
    deadline: Deadline = UNLIMITED,
) -> MixedBound:
    """Prove that no schedule costs less than (1 − tolerance)·cost, or as much of it as the nodes allow.

    Args:
        task: the problem, whatever its residuals do. Each point may have a weight of its own; the bound then holds
            for a shared one, too.
        cost: of the best schedule known; only what could be cheaper is examined.
        mu: Lδ(T) of that schedule, shape (k,).
        tolerance: relative gap at which to stop.
        max_nodes: the budget; what is proved when it is spent remains a bound, the same on every machine.
        deadline: when to stop all the same.
    """
    return run(branching(Reach.of(0, task), cost, mu, tolerance, max_nodes, deadline), Paths([task]))


def maximising(reach: Reach, mu: np.ndarray, tolerance: float) -> Search[Float[np.ndarray, " k"]]:
    """Where D(μ) is largest, if the residuals keep their signs; from the given μ.

    It is approached until ½‖∇D‖² ≤ tolerance · D. That is at once the gap to the cost of the schedule that attains the
    linear part: at L δ(T) = μ + ∇D.
    """
    task = reach.task
    low, high = np.where(reach.signs > 0, 0.0, -np.inf), np.where(reach.signs > 0, np.inf, 0.0)
    whole = [window(task.s, task.T, low.tolist(), high.tolist())]
    _, mu = yield from _maximise(reach, mu, whole, lambda value, lack: lack <= tolerance * value)
    return mu


def branching(
    reach: Reach, cost: float, mu: np.ndarray, tolerance: float, max_nodes: int, deadline: Deadline = UNLIMITED
) -> Search[MixedBound]:
    """`branch` as one of several searches: best-first, several nodes at a time."""
    if not np.isfinite(reach.speeds).all():  # ε < 0 for so long that no bound on the flow can be computed
        return MixedBound(0.0, False, 0)
    goal = (1.0 - tolerance) * cost
    task, order, nodes = reach.task, itertools.count(), 0
    signs = certify_signs(task)
    first = Pattern((), task.T if signs.settled else signs.until)
    todo: list[tuple[float, Node]] = [(0.0, Node((first,) * task.points, mu))]
    queue: list[tuple[float, int, Node]] = []
    floor = np.inf  # the least bound of a node that cannot be split any further
    while True:
        bounds = yield from together([_bound(reach, node, goal) for _, node in todo])
        nodes += len(todo)
        for (before, _), (bound, node) in zip(todo, bounds, strict=True):
            if node is not None:
                heapq.heappush(queue, (max(bound, before), next(order), node))
        least, todo, chosen = min(floor, queue[0][0] if queue else np.inf), [], 0
        if least == np.inf:  # every set of controls was found empty
            return MixedBound(float(goal), True, nodes)
        if least >= goal or least == floor or nodes >= max_nodes or deadline.passed:
            return MixedBound(float(min(least, cost)), bool(least >= goal), nodes)
        while queue and queue[0][0] < min(goal, floor) and chosen < AT_ONCE and nodes + len(todo) < max_nodes:
            bound, _, node = heapq.heappop(queue)
            children, chosen = _split(reach, node), chosen + 1
            todo += [(bound, child) for child in children]
            floor = floor if children else min(floor, bound)


def _bound(reach: Reach, node: Node, goal: float) -> Search[tuple[float, Node | None]]:
    """A lower bound on the cost of the node's controls, and the node with what was learnt; None: there are none."""
    known = yield from reach.assume(node)
    if known is None:
        return np.inf, None
    value, mu = yield from _maximise(
        reach, known.mu, known.windows, lambda value, lack: value >= goal or lack <= HOPELESS * (goal - value)
    )
    return max(value, 0.0), known._replace(mu=mu)


def _maximise(
    reach: Reach, mu: np.ndarray, windows: Sequence[Window], enough: Callable[[float, float], bool]
) -> Search[tuple[float, Float[np.ndarray, " k"]]]:
    """max D(μ), by BFGS with a shortened step, until D and what it lacks at most are `enough`.

    Each step of each search waits for the others', which SciPy's minimisers cannot. D is concave with a curvature of at
    least 1 in every direction: it cannot exceed D(μ) + ½‖∇D(μ)‖².
    """
    value, gradient = yield from _dual(reach, mu, windows)
    inverse = np.eye(len(mu))
    for _ in range(MAX_ITERATIONS):
        if enough(value, 0.5 * float(gradient @ gradient)):
            break
        step, size = inverse @ gradient, 1.0
        rise = float(gradient @ step)
        while True:
            then, slope = yield from _dual(reach, mu + size * step, windows)
            if then >= value + 1e-4 * size * rise or size < 1e-6:
                break
            # Where the slope along the step vanishes, if it falls evenly.
            size *= min(0.7, max(0.1, rise / max(rise - float(slope @ step), 1e-300)))
        moved, bent = size * step, gradient - slope
        along = float(moved @ bent)
        if then <= value or along <= 0.0:  # a step so short that ∇D no longer tells its curvature
            break
        image = inverse @ bent
        inverse += np.outer(moved, moved) * ((along + float(bent @ image)) / along**2)
        inverse -= (np.outer(image, moved) + np.outer(moved, image)) / along
        mu, value, gradient = mu + moved, then, slope
    return value, mu


def _dual(reach: Reach, mu: np.ndarray, windows: Sequence[Window]) -> Search[tuple[float, Float[np.ndarray, " k"]]]:
    """D(μ) less its rounding, and its gradient."""
    form, pi = reach.task.form, reach.task.form.pull(mu)
    (answer,) = yield [Request(reach.problem, pi[None], windows, forward=True)]
    value = float(answer.least[0]) - 0.5 * float(mu @ mu) - reach.rounding * float(np.linalg.norm(pi))
    return value, form.image(answer.deltas[0]) - mu


def _split(reach: Reach, node: Node) -> list[Node]:
    """The same controls in smaller sets: by the next change of the loosest residual, or a part of its window."""
    task = reach.task
    sizes, worst, where = np.linalg.norm(task.rows, axis=1), 0.0, None
    for j, pattern in enumerate(node.patterns):
        spans = [*pattern.changes, (pattern.open_from, task.T)]
        for k, (left, right) in enumerate(spans):
            inside = (each for each in node.windows if left <= each.start and each.end <= right)
            loss = sum((each.end - each.start) * looseness(each, j) for each in inside) * float(sizes[j])
            if loss > worst and right - left > 1e-12 * task.length:
                worst, where = loss, (j, k)
    if where is None:
        return []
    j, k = where
    parts = list(node.patterns)
    options = _next(parts[j], task.T) if k == len(parts[j].changes) else _parted(parts[j], k)
    return [node._replace(patterns=(*parts[:j], option, *parts[j + 1 :])) for option in options]


def _next(pattern: Pattern, T: float) -> list[Pattern]:
    """No further change, or the next one in each of several windows."""
    edges = np.linspace(pattern.open_from, T, FIRST_WINDOWS + 1).tolist()
    changed = [Pattern((*pattern.changes, pair), pair[1]) for pair in itertools.pairwise(edges)]
    return [pattern._replace(open_from=T), *changed]


def _parted(pattern: Pattern, k: int) -> list[Pattern]:
    """The k-th change in each part of its window."""
    left, right = pattern.changes[k]
    # After the last change anything may happen at once, where it is open.
    last = k == len(pattern.changes) - 1 and pattern.open_from == right
    edges = np.linspace(left, right, PARTS + 1).tolist()
    return [
        Pattern((*pattern.changes[:k], pair, *pattern.changes[k + 1 :]), pair[1] if last else pattern.open_from)
        for pair in itertools.pairwise(edges)
    ]
