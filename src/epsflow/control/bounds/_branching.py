"""Lower bounds where residuals of the deleted points can change their signs (linear regression, one weight per point).

Branch and bound on when each e_j changes its sign, and how often. A node says, for each point, in which windows the
first few changes lie, and either that no other follows or that anything may. Between the windows the sign is known; in
them e vanishes somewhere, so that |e| ≤ η; where anything may happen, e keeps within bounds that hold for all controls
of the node. `_paths` turns that into a lower bound in continuous time. See `docs/theory-control.md`.

The nodes of all problems that are asked for are examined side by side; what is proved for one does not depend on the
others.
"""

import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..terms._deadline import UNLIMITED, Deadline
from ._ascent import maximise, maximise_dual
from ._dual import DualBound, SignCertificate, evaluate_dual
from ._paths import Paths, looseness
from ._sets import Node, Pattern, Reach
from ._together import Search, run, together

GAP, NODES = 1e-6, 1000
"""Relative gap and nodes at which branching ends."""

FIRST_WINDOWS, PARTS, AT_ONCE = 4, 4, 8
SHARES = tuple(4.0**-k for k in range(1, 6))
"""Distances from a likely change at which a window is cut, in units of T − s."""

Changes = Sequence[Sequence[float]]
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

    @property
    def certain(self) -> float:
        """`value`, which its rounding has been taken off."""
        return self.value


SETTLED_GAP = 1e-9
"""Gap at which the bound that a schedule's own costate gives is not maximised further."""


def prove(
    paths: Paths,
    signs: SignCertificate,
    cost: float,
    mu: np.ndarray,
    *,
    max_nodes: int = NODES,
    deadline: Deadline = UNLIMITED,
) -> DualBound | MixedBound:
    """What no schedule costs less than: the dual's maximum where signs are settled, else by `branching`; see there."""
    if not signs.settled:
        search = branching(Reach.of(0, paths.tasks[0]), signs, cost, mu, max_nodes=max_nodes, deadline=deadline)
        return run(search, paths)
    dual = evaluate_dual(paths, mu, signs.signs)
    return dual if cost - dual.value <= SETTLED_GAP * cost else maximise_dual(paths, mu, signs.signs)


def branching(
    reach: Reach,
    signs: SignCertificate,
    cost: float,
    mu: np.ndarray,
    tolerance: float = GAP,
    max_nodes: int = NODES,
    deadline: Deadline = UNLIMITED,
    *,
    changes: Changes = (),
) -> Search[MixedBound]:
    """Prove that no schedule costs less than (1 − tolerance)·cost, or as much of it as the nodes allow.

    One of several searches: best-first, several nodes at a time.

    Args:
        reach: the problem, whatever its residuals do. Each point may have a weight of its own; the bound then holds for
            a shared one, too.
        signs: up to when its residuals keep their signs.
        cost: of the best schedule known; only what could be cheaper is examined.
        mu: Lδ(T) of that schedule, shape (k,).
        tolerance: relative gap at which to stop.
        max_nodes: the budget; what is proved when it is spent remains a bound, the same on every machine.
        deadline: when to stop all the same.
        changes: when each e_j changes its sign under that schedule, or nothing. Windows are cut finely near these
            times, which are no assumption.
    """
    if not np.isfinite(reach.speeds).all():  # ε < 0 for so long that no bound on the flow can be computed
        return MixedBound(0.0, False, 0)
    goal = (1.0 - tolerance) * cost
    task, order, nodes = reach.task, itertools.count(), 0
    first = Pattern((), task.T if signs.settled else signs.until)
    # What contains everything is hardly ever closed; with one point there is but one way to split it.
    begin = [first] if signs.settled or task.points > 1 else _next(first, task.T)
    todo: list[tuple[float, Node]] = [(0.0, Node((pattern,) * task.points, mu)) for pattern in begin]
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
            children, chosen = _split(reach, node, changes), chosen + 1
            todo += [(bound, child) for child in children]
            floor = floor if children else min(floor, bound)


def _bound(reach: Reach, node: Node, goal: float) -> Search[tuple[float, Node | None]]:
    """A lower bound on the cost of the node's controls, and the node with what was learnt; None: there are none."""
    known = yield from reach.assume(node)
    if known is None:
        return np.inf, None
    value, mu = yield from maximise(
        reach, known.mu, known.stretches, lambda value, _, lack: value >= goal or lack <= HOPELESS * (goal - value)
    )
    # Where the maximum is at μ = 0, the way there says nothing about smaller sets.
    return max(value, 0.0), known._replace(mu=mu) if value > 0.0 else known


def _split(reach: Reach, node: Node, known: Changes) -> list[Node]:
    """The same controls in smaller sets: by the next change of the loosest residual, or a part of its window."""
    task = reach.task
    sizes, worst, where = np.linalg.norm(task.rows, axis=1), 0.0, None
    for j, pattern in enumerate(node.patterns):
        spans = [*pattern.changes, (pattern.open_from, task.T)]
        for k, (left, right) in enumerate(spans):
            inside = (each for each in node.stretches if left <= each.start and each.end <= right)
            loss = sum((each.end - each.start) * looseness(each, j) for each in inside) * float(sizes[j])
            if loss > worst and right - left > 1e-12 * task.length:
                worst, where = loss, (j, k)
    if where is None:
        return []
    j, k = where
    parts = list(node.patterns)
    if k == len(parts[j].changes):
        options = _next(parts[j], task.T)
    else:
        likely = known and len(known[j]) == len(parts[j].changes) and parts[j].open_from == task.T
        options = _parted(parts[j], k, _edges(*parts[j].changes[k], known[j][k] if likely else np.inf, task.length))
    return [node._replace(patterns=(*parts[:j], option, *parts[j + 1 :])) for option in options]


def _next(pattern: Pattern, T: float) -> list[Pattern]:
    """No further change, or the next one in each of several windows."""
    edges = np.linspace(pattern.open_from, T, FIRST_WINDOWS + 1).tolist()
    changed = [Pattern((*pattern.changes, pair), pair[1]) for pair in itertools.pairwise(edges)]
    return [pattern._replace(open_from=T), *changed]


def _edges(left: float, right: float, likely: float, length: float) -> list[float]:
    """Parts of a window: equal ones, or the finer the nearer they are to when a change is likely.

    A change away from its best time costs the square of the distance, and a window loses the square of its length: sets
    whose length is a share of their distance are closed together.
    """
    graded = (likely + side * share * length for share in SHARES for side in (-1.0, 1.0))
    inside = sorted({left, right, *(edge for edge in graded if left < edge < right)})
    return inside if len(inside) > PARTS else np.linspace(left, right, PARTS + 1).tolist()


def _parted(pattern: Pattern, k: int, edges: list[float]) -> list[Pattern]:
    """The k-th change in each part of its window."""
    right = pattern.changes[k][1]
    # After the last change anything may happen at once, where it is open.
    last = k == len(pattern.changes) - 1 and pattern.open_from == right
    return [
        Pattern((*pattern.changes[:k], pair, *pattern.changes[k + 1 :]), pair[1] if last else pattern.open_from)
        for pair in itertools.pairwise(edges)
    ]
