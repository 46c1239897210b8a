"""Lower bounds where residuals of the deleted points can change their signs (linear regression, one weight per point).

Branch and bound on when each e_j changes its sign, and how often. A node says, for each point, in which windows the
first few changes lie, and either that no other follows or that anything may. Between the windows the sign is known; in
them e vanishes somewhere, so that |e| ≤ η; where anything may happen, e keeps within bounds that hold for all controls
of the node. `_relaxed` turns that into a lower bound in continuous time. See `docs/theory-control.md`.
"""

import heapq
import itertools
import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

from ._dual import certify_control
from ._propagators import LinearControl
from ._relaxed import Window, least, looseness, relaxed_dual
from ._task import ControlTask, control_of

FIRST_WINDOWS, TAIL_WINDOWS, MAX_STEPS, MAX_ITERATIONS = 8, 4, 150, 60
SHORTEST = 1e-4
MULTIPLIERS = (1.0, 0.5, 2.0, 4.0, 16.0, 64.0, 0.0)


class Pattern(NamedTuple):
    """When one residual changes its sign.

    Attributes:
        changes: a window (start, end) for each of the first changes, ascending; between them it keeps its sign.
        open_from: from then on anything may happen; T where no further change follows.
    """

    changes: tuple[tuple[float, float], ...]
    open_from: float


class Node(NamedTuple):
    """A set of controls.

    Attributes:
        patterns: one for each point.
        mu: the best μ known for it.
    """

    patterns: tuple[Pattern, ...]
    mu: Float[np.ndarray, " k"]


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


def mixed_bound(
    task: ControlTask,
    cost: float,
    miss: np.ndarray,
    *,
    tolerance: float = 1e-6,
    max_nodes: int = 400,
    max_seconds: float = 30.0,
) -> MixedBound:
    """Prove that no schedule costs less than (1 − tolerance)·cost, or as much of it as the budget allows.

    Args:
        task: the question; linear regression, whatever its residuals do. Each point may have a weight of its own; the
            bound then holds for a shared one, too.
        cost: of the best schedule known; only what could be cheaper is examined.
        miss: θ(T) − target of that schedule, shape (d,).
        tolerance: relative gap at which to stop.
        max_nodes, max_seconds: the budget; what is proved when it is spent remains a bound.

    Raises:
        InputError: not linear regression.
    """
    control = control_of(task)
    mu = control.form.image(np.asarray(miss) @ control.basis)
    return branch(control, cost, mu, tolerance, (max_nodes, max_seconds))


def branch(
    control: LinearControl, cost: float, mu: np.ndarray, tolerance: float, budget: tuple[int, float]
) -> MixedBound:
    """`mixed_bound` in the eigenbasis: best-first search."""
    goal, order, nodes = (1.0 - tolerance) * cost, itertools.count(), 0
    signs, search = certify_control(control), _Search.of(control)
    if not np.isfinite(search.speed):  # ε < 0 for so long that no bound on the flow can be computed
        return MixedBound(0.0, False, 0)
    first = Pattern((), control.T if signs.settled else signs.until)
    todo = [Node((first,) * control.points, mu)]
    queue: list[tuple[float, int, Node]] = []
    parent_bound, deadline = 0.0, time.monotonic() + budget[1]
    while True:
        for node in todo:
            late = time.monotonic() > deadline
            bound, best = (parent_bound, node) if late else search.bound(node, goal)
            nodes += not late
            if bound < np.inf:
                heapq.heappush(queue, (max(bound, parent_bound), next(order), best))
        if not queue:  # every set of controls was found empty or too dear
            return MixedBound(goal, True, nodes)
        parent_bound, _, node = heapq.heappop(queue)
        spent = nodes >= budget[0] or time.monotonic() > deadline
        todo = [] if parent_bound >= goal or spent else search.split(node)
        if not todo:
            return MixedBound(min(parent_bound, cost), parent_bound >= goal, nodes)


# ---- one node ---------------------------------------------------------------------------------------------------


class _Search(NamedTuple):
    """The control problem with what holds for every admissible control.

    Attributes:
        control: the problem.
        signs: σ_j of e_j(s).
        residuals, speed: |e_j| ≤ residuals_j and ‖dδ/dt‖ ≤ speed on [s, T].
    """

    control: LinearControl
    signs: np.ndarray
    residuals: Float[np.ndarray, " m"]
    speed: float

    @staticmethod
    def of(control: LinearControl) -> "_Search":
        low, high = control.bounds
        most, length, r = max(abs(low), abs(high)), control.length, np.abs(control.residuals)
        f, start = float(np.linalg.norm(control.drift)), float(np.linalg.norm(control.start))
        x = np.linalg.norm(control.rows, axis=1)
        if low >= 0.0:  # d½‖δ‖²/dt ≤ ‖f‖‖δ‖ − Σ u(e² + re) ≤ ‖f‖‖δ‖ + Σ u r²/4
            radius = np.sqrt(start**2 + 0.5 * high * float(r @ r) * length) + f * length
        else:  # Gronwall's inequality
            radius = (start + length * (f + most * float(x @ r))) * np.exp(most * float(x @ x) * length)
        residuals = x * radius + r
        speed = float(control.rates[-1] * radius + f + most * float(x @ residuals))
        signs = np.where(control.residual(control.start) < 0.0, -1, 1)
        return _Search(control, signs, residuals, speed)

    def bound(self, node: Node, goal: float) -> tuple[float, Node]:
        """A lower bound on the cost of the node's controls (∞: there are none), and the node with what was learnt."""
        node = self._close(node)
        windows, control = self.windows(node), self.control
        if windows is None:
            return np.inf, node
        scale = max(goal, np.finfo(np.float64).tiny)
        best, best_mu = 0.0, node.mu

        def negative(mu: np.ndarray) -> tuple[float, np.ndarray]:
            nonlocal best, best_mu
            value, gradient = relaxed_dual(control, mu, windows)
            if value > best:
                best, best_mu = value, mu.copy()
            return -value / scale, -gradient / scale

        def stop(_: np.ndarray) -> None:
            if best >= goal:
                raise StopIteration

        if -negative(node.mu)[0] * scale < goal:
            options = {"maxiter": MAX_ITERATIONS, "ftol": 1e-12, "gtol": 1e-12}
            minimize(negative, node.mu, jac=True, method="L-BFGS-B", callback=stop, options=options)
        return best, node._replace(mu=best_mu)

    # -- what is assumed ------------------------------------------------------------------------------------------

    def windows(self, node: Node, until: float = np.inf) -> list[Window] | None:
        """Bounds on all residuals, up to a time; None where no control agrees with the node."""
        control, found, slack = self.control, [], {}
        end = min(until, control.T)
        for start, stop in itertools.pairwise(self._edges(node, end)):
            spans = [self._span(j, each, start, stop, found, slack) for j, each in enumerate(node.patterns)]
            sides = np.array(spans)
            if (sides[:, 0] > sides[:, 1]).any():
                return None
            found.append(Window(start, stop, sides[:, 0], sides[:, 1]))
        return found

    def _edges(self, node: Node, end: float) -> list[float]:
        s, T = self.control.s, self.control.T
        edges = {s, end}
        for pattern in node.patterns:
            edges.update(itertools.chain.from_iterable(pattern.changes))
            edges.update(np.linspace(pattern.open_from, T, TAIL_WINDOWS + 1).tolist())
        return sorted(edge for edge in edges if s <= edge <= end)

    def _span(
        self, j: int, pattern: Pattern, start: float, stop: float, before: list[Window], slack: dict[object, float]
    ) -> tuple[float, float]:
        """Bounds on e_j between two neighbouring edges; (1, −1) where there are none."""
        sign = int(self.signs[j])
        for left, right in pattern.changes:
            if stop <= left:
                break
            if start < right:
                if (j, left) not in slack:
                    slack[j, left] = self._slack(j, sign, right - left, before)
                eta = slack[j, left]
                return (-eta, eta) if eta >= 0.0 else (1.0, -1.0)
            sign = -sign
        if stop <= pattern.open_from:
            return (0.0, np.inf) if sign > 0 else (-np.inf, 0.0)
        return self._reach(j, stop - start, before)

    def _steepest(self, j: int, length: float, before: list[Window]) -> float:
        """The largest |ė_j + u_j‖x_j‖²e_j| = |x_jᵀ(f − Λδ) − Σ_{i≠j} u_i (x_jᵀx_i) e_i| until `length` beyond them."""
        control = self.control
        x, most = control.rows[j], max(map(abs, control.bounds))
        pull, push = control.rates * x, float(x @ control.drift)
        across = np.abs(control.rows @ x)
        across[j] = 0.0
        steepest = max(push - least(control, pull, before), -push - least(control, -pull, before))
        return steepest + length * float(np.linalg.norm(pull)) * self.speed + most * float(across @ self.residuals)

    def _slack(self, j: int, sign: int, length: float, before: list[Window]) -> float:
        """η: e_j vanishes within `length` after the windows, so |e_j| ≤ η there; negative where it cannot vanish."""
        if length == 0.0:
            return 0.0
        control, steepest = self.control, self._steepest(j, length, before)
        square = float(control.rows[j] @ control.rows[j])
        growth = float(np.exp(square * max(map(abs, control.bounds)) * length))
        away = least(control, sign * control.rows[j], before) - sign * float(control.residuals[j])
        if away > length * steepest * growth:
            return -1.0
        return min(length * steepest * growth, float(self.residuals[j]))

    def _reach(self, j: int, length: float, before: list[Window]) -> tuple[float, float]:
        """Bounds on e_j within `length` after the windows, whatever the controls do."""
        control, most = self.control, float(self.residuals[j])
        x, r = control.rows[j], float(control.residuals[j])
        move = length * self._steepest(j, length, before)
        growth = float(np.exp(float(x @ x) * max(-control.bounds[0], 0.0) * length))
        low = (min(least(control, x, before) - r, 0.0) - move) * growth
        high = (max(-least(control, -x, before) - r, 0.0) + move) * growth
        return max(low, -most), min(high, most)

    # -- branching ------------------------------------------------------------------------------------------------

    def split(self, node: Node) -> list[Node]:
        """The same controls in smaller sets: by the next change of the loosest residual, or a half of its window."""
        windows = self.windows(node) or []
        sizes = np.linalg.norm(self.control.rows, axis=1)
        worst, where = 0.0, None
        for j, pattern in enumerate(node.patterns):
            spans = [*pattern.changes, (pattern.open_from, self.control.T)]
            for k, (left, right) in enumerate(spans):
                inside = (window for window in windows if left <= window.start and window.end <= right)
                loss = sum((w.end - w.start) * float(looseness(w)[j]) for w in inside) * float(sizes[j])
                if loss > worst and right - left > 1e-12 * self.control.length:
                    worst, where = loss, (j, k)
        if where is None:
            return []
        j, k = where
        parts = list(node.patterns)
        options = self._next(parts[j]) if k == len(parts[j].changes) else _halved(parts[j], k)
        return [node._replace(patterns=(*parts[:j], option, *parts[j + 1 :])) for option in options]

    def _next(self, pattern: Pattern) -> list[Pattern]:
        """No further change, or the next one in each of several windows."""
        T = self.control.T
        edges = np.linspace(pattern.open_from, T, FIRST_WINDOWS + 1).tolist()
        changed = [Pattern((*pattern.changes, pair), pair[1]) for pair in itertools.pairwise(edges)]
        return [pattern._replace(open_from=T), *changed]

    # -- can a residual come back? --------------------------------------------------------------------------------

    def _close(self, node: Node) -> Node:
        """For one point: where e cannot change back, nothing is open."""
        pattern = node.patterns[0]
        if self.control.points > 1 or not pattern.changes or pattern.open_from >= self.control.T:
            return node
        closed = node._replace(patterns=(pattern._replace(open_from=self.control.T),))
        return closed if self.stays(closed) else node

    def stays(self, node: Node) -> bool:
        """Can e not change its sign again? Not where de/dt has one sign whenever e = 0, from the last window on.

        At e = 0, −σ de/dt = σxᵀΛδ − σxᵀf whatever u is, σ being the sign before the last change. Adding −νσe, which
        vanishes there, is free. Each evaluation holds for as long as the functional cannot have moved to zero.
        """
        control, changes = self.control, node.patterns[0].changes
        sign = int(self.signs[0]) * (-1) ** (len(changes) - 1)
        left, best = changes[-1][0], MULTIPLIERS[0]
        t = left
        rates, x = control.rates, control.rows[0]
        typical = float(x @ (rates * x) / (x @ x))
        for taken in range(1, MAX_STEPS + 1):
            windows = self.windows(node, t)
            if windows is None:
                return True
            margin, functional = -np.inf, x
            for multiple in (best, *MULTIPLIERS):
                nu = multiple * typical
                c = sign * (rates - nu) * x
                offset = sign * (nu * float(control.residuals[0]) - float(x @ control.drift))
                relative = (least(control, c, windows) + offset) / max(float(np.linalg.norm(c)), 1e-300)
                if relative > margin:
                    margin, functional, best = relative, c / max(float(np.linalg.norm(c)), 1e-300), multiple
                if margin > 0.05 * self.speed * control.length:
                    break
            step = self._holds_for(functional, margin, windows) if margin > 0.0 else 0.0
            if step <= SHORTEST * control.length:
                return False
            t += step
            if t >= control.T:
                return True
            if (t - left) * MAX_STEPS < 0.5 * taken * (control.T - left) and taken > 10:
                return False  # it would take more steps than there are
        return False

    def _holds_for(self, c: Float[np.ndarray, " d"], margin: float, windows: list[Window]) -> float:
        """How long cᵀδ + offset = margin stays positive: margin − A h − ½K h², A ≥ −d(cᵀδ)/dt now, K ≥ its change."""
        control, most = self.control, max(map(abs, self.control.bounds))
        rates, x, r = control.rates, control.rows[0], float(control.residuals[0])
        now = max(abs(least(control, x, windows) - r), abs(least(control, -x, windows) + r))
        force = most * abs(float(c @ x)) * min(float(self.residuals[0]), now)
        fall = max(0.0, -least(control, -rates * c, windows) - float(c @ control.drift) + force)
        bend = (float(np.linalg.norm(rates * c)) + most * abs(float(c @ x)) * float(np.linalg.norm(x))) * self.speed
        slowest = fall + float(np.sqrt(fall**2 + 2.0 * bend * margin))
        return 2.0 * margin / slowest if slowest > 0.0 else np.inf


def _halved(pattern: Pattern, k: int) -> list[Pattern]:
    """The k-th change in the first or in the second half of its window."""
    left, right = pattern.changes[k]
    middle = 0.5 * (left + right)
    earlier, later = (
        (*pattern.changes[:k], half, *pattern.changes[k + 1 :]) for half in ((left, middle), (middle, right))
    )
    # After the last change anything may happen at once, where it is open.
    last = k == len(pattern.changes) - 1 and pattern.open_from == right
    return [Pattern(earlier, middle if last else pattern.open_from), Pattern(later, pattern.open_from)]
