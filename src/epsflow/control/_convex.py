"""Lower bounds where the residual of the deleted point can change its sign (linear regression, one point).

Time is cut into windows on which e keeps one sign, or is small: |e| ≤ η. On the latter, w = ue is only required to meet
|w − me| ≤ κ, with m = (a + b)/2 and κ = (b − a)η/2. Both kinds keep the problem convex, and its dual in continuous time
is that of `_dual` with α = m and a loss κ∫|xᵀp| on the small windows. Branch and bound on the time at which e first
changes its sign: see `docs/theory-control.md`.
"""

import heapq
import itertools
import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

from .._core import InputError
from ._dual import MAX_ARCS, ExponentialSum, certify_control, resolving_grid
from ._propagators import LinearControl, Spectrum, advance, decay_integral, retreat
from ._task import ControlTask, control_of

FIRST_WINDOWS, MAX_STEPS, MAX_ITERATIONS = 8, 150, 60
SHORTEST = 1e-4
MULTIPLIERS = (1.0, 0.5, 2.0, 4.0, 16.0, 64.0, 0.0)


class Window(NamedTuple):
    """What is assumed about e between two times.

    Attributes:
        start, end: the times.
        sign: σ with σe ≥ 0, or 0 where only |e| ≤ slack is assumed.
        slack: η.
    """

    start: float
    end: float
    sign: int
    slack: float = 0.0


class Leg(NamedTuple):
    """One arc of a backward path.

    Attributes:
        spectrum: H_α.
        costate: Vᵀp at its later end, shape (d,).
        duration: its length.
        drift: what pairs with p: Vᵀ(f + αrx), less κ sign(xᵀp) Vᵀx on small windows, shape (d,).
    """

    spectrum: Spectrum
    costate: Float[np.ndarray, " d"]
    duration: float
    drift: Float[np.ndarray, " d"]


class Node(NamedTuple):
    """The controls under which e first changes its sign between two times, or never (left = right = T).

    Attributes:
        left, right: the times.
        returns: whether e might change its sign once more.
        pi: the best π known for them.
    """

    left: float
    right: float
    returns: bool
    pi: Float[np.ndarray, " d"]


@dataclass(frozen=True, eq=False)
class MixedBound:
    """A lower bound on 𝓔 over all admissible schedules, by branching on when e changes its sign.

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
    pi: np.ndarray,
    *,
    tolerance: float = 1e-6,
    max_nodes: int = 400,
    max_seconds: float = 30.0,
) -> MixedBound:
    """Prove that no schedule costs less than (1 − tolerance)·cost, or as much of it as the budget allows.

    Args:
        task: the question; linear regression with one deleted point, whatever its residual does.
        cost: 𝓔 of the best schedule known; only what could be cheaper is examined.
        pi: θ(T) − target of that schedule, shape (d,).
        tolerance: relative gap at which to stop.
        max_nodes, max_seconds: the budget; what is proved when it is spent remains a bound.

    Raises:
        InputError: not linear regression, or several deleted points.
    """
    control = control_of(task)
    if control.points != 1:
        raise InputError(
            f"branching on the sign of a residual is for one deleted point; this problem deletes {control.points}. "
            "With settled signs, `dual_bound` serves any number."
        )
    return branch(
        control, cost, control.form.image(np.asarray(pi) @ control.basis), tolerance, (max_nodes, max_seconds)
    )


def branch(
    control: LinearControl, cost: float, pi: np.ndarray, tolerance: float, budget: tuple[int, float]
) -> MixedBound:
    """`mixed_bound` in the eigenbasis: best-first search."""
    goal, order, nodes = (1.0 - tolerance) * cost, itertools.count(), 0
    signs, problem = certify_control(control), _Crossing.of(control)
    edges = np.linspace(signs.until, control.T, FIRST_WINDOWS + 1 if not signs.settled else 1)
    pairs = [(control.T, control.T), *itertools.pairwise(edges.tolist())]
    todo = [Node(left, right, True, pi) for left, right in pairs]
    queue: list[tuple[float, int, Node]] = []
    parent_bound, deadline = 0.0, time.monotonic() + budget[1]
    while True:
        for node in todo:
            bound, best = problem.bound(node, goal)
            heapq.heappush(queue, (max(bound, parent_bound), next(order), best))
            nodes += 1
        parent_bound, _, node = heapq.heappop(queue)
        spent = nodes >= budget[0] or time.monotonic() > deadline
        if parent_bound >= goal or spent or node.right - node.left <= 1e-12 * control.length:
            return MixedBound(min(parent_bound, cost), parent_bound >= goal, nodes)
        middle = 0.5 * (node.left + node.right)
        todo = [node._replace(right=middle), node._replace(left=middle)]


# ---- one node ---------------------------------------------------------------------------------------------------


class _Crossing(NamedTuple):
    """The control problem with what holds for every admissible control.

    Attributes:
        control: the problem.
        sign: σ of e(s).
        residual, speed: |e| ≤ residual and ‖dδ/dt‖ ≤ speed on [s, T].
    """

    control: LinearControl
    sign: int
    residual: float
    speed: float

    @staticmethod
    def of(control: LinearControl) -> "_Crossing":
        low, high = control.bounds
        most, length = max(abs(low), abs(high)), control.length
        x, r, f, start = (
            float(np.linalg.norm(v)) for v in (control.rows[0], control.residuals, control.drift, control.start)
        )
        if low >= 0.0:  # d½‖δ‖²/dt ≤ ‖f‖‖δ‖ − u(e² + re) ≤ ‖f‖‖δ‖ + u r²/4
            radius = np.sqrt(start**2 + 0.5 * high * r**2 * length) + f * length
        else:  # Gronwall's inequality
            radius = (start + length * (f + most * x * r)) * np.exp(most * x**2 * length)
        residual = float(x * radius + r)
        speed = float(control.rates[-1] * radius + f + most * x * residual)
        return _Crossing(control, -1 if control.residual(control.start)[0] < 0.0 else 1, residual, speed)

    def bound(self, node: Node, goal: float) -> tuple[float, Node]:
        """A lower bound on the cost of the node's controls, and the node with what was learnt."""
        if node.returns and node.left < self.control.T:
            node = node._replace(returns=not self.crosses_once(node))
            if node.returns:  # nothing is known of e after its first change: halve the window first
                return 0.0, node
        windows, control = self.windows(node), self.control
        scale = max(goal, np.finfo(np.float64).tiny)
        best, best_pi = 0.0, node.pi

        def negative(pi: np.ndarray) -> tuple[float, np.ndarray]:
            nonlocal best, best_pi
            value, gradient = relaxed_dual(control, pi, windows)
            if value > best:
                best, best_pi = value, pi.copy()
            return -value / scale, -gradient / scale

        def stop(_: np.ndarray) -> None:
            if best >= goal:
                raise StopIteration

        if -negative(node.pi)[0] * scale < goal:
            options = {"maxiter": MAX_ITERATIONS, "ftol": 1e-12, "gtol": 1e-12}
            minimize(negative, node.pi, jac=True, method="L-BFGS-B", callback=stop, options=options)
        return best, node._replace(pi=best_pi)

    def windows(self, node: Node, until: float = np.inf) -> list[Window]:
        """What is assumed of e, up to a time."""
        s, end = self.control.s, min(until, self.control.T)
        parts = [
            Window(s, min(node.left, end), self.sign),
            Window(node.left, min(node.right, end), 0, self.slack(node)),
            Window(node.right, end, -self.sign),
        ]
        return [part for part in parts if part.end > part.start]

    def slack(self, node: Node) -> float:
        """η: e vanishes somewhere in a window of length h, so |e| ≤ h max|xᵀ(f − Λδ)| e^{‖x‖² max|u| h} there."""
        control, length = self.control, node.right - node.left
        if length == 0.0:
            return 0.0
        pull, before = control.rates * control.rows[0], [Window(control.s, node.left, self.sign)]
        before = before if node.left > control.s else []
        push = float(control.rows[0] @ control.drift)
        steepest = max(push - least(control, pull, before), -push - least(control, -pull, before))
        steepest += length * float(np.linalg.norm(pull)) * self.speed
        growth = np.exp(float(control.rows[0] @ control.rows[0]) * max(map(abs, control.bounds)) * length)
        return min(length * steepest * float(growth), self.residual)

    def crosses_once(self, node: Node) -> bool:
        """Can e change its sign back? Not where de/dt has one sign whenever e = 0, at every time from `left` to T.

        At e = 0, −σ de/dt = σxᵀΛδ − σxᵀf whatever u is. Adding −νσe, which vanishes there, is free. Each evaluation
        holds for as long as the functional cannot have moved to zero.
        """
        control, t, best = self.control, node.left, MULTIPLIERS[0]
        rates, x = control.rates, control.rows[0]
        typical = float(x @ (rates * x) / (x @ x))
        for _ in range(MAX_STEPS):
            windows = self.windows(node, t)
            margin, functional = -np.inf, x
            for multiple in (best, *MULTIPLIERS):
                nu = multiple * typical
                c = self.sign * (rates - nu) * x
                offset = self.sign * (nu * float(control.residuals[0]) - float(x @ control.drift))
                relative = (least(control, c, windows) + offset) / max(float(np.linalg.norm(c)), 1e-300)
                if relative > margin:
                    margin, functional, best = relative, c / max(float(np.linalg.norm(c)), 1e-300), multiple
                if margin > 0.05 * self.speed * control.length:
                    break
            step = self.holds_for(functional, margin, windows) if margin > 0.0 else 0.0
            if step <= SHORTEST * control.length:
                return False
            t += step
            if t >= control.T:
                return True
        return False

    def holds_for(self, c: Float[np.ndarray, " d"], margin: float, windows: list[Window]) -> float:
        """How long cᵀδ + offset = margin stays positive: margin − A h − ½K h², A ≥ −d(cᵀδ)/dt now, K ≥ its change."""
        control, most = self.control, max(map(abs, self.control.bounds))
        rates, x, r = control.rates, control.rows[0], float(control.residuals[0])
        largest = min(self.residual, max(abs(least(control, x, windows) - r), abs(least(control, -x, windows) + r)))
        force = most * abs(float(c @ x)) * largest
        fall = max(0.0, -least(control, -rates * c, windows) - float(c @ control.drift) + force)
        bend = (float(np.linalg.norm(rates * c)) + most * abs(float(c @ x)) * float(np.linalg.norm(x))) * self.speed
        return float(2.0 * margin / (fall + np.sqrt(fall**2 + 2.0 * bend * margin)))


# ---- the relaxed problem ----------------------------------------------------------------------------------------


def relaxed_dual(
    control: LinearControl, mu: np.ndarray, windows: list[Window]
) -> tuple[float, Float[np.ndarray, " k"]]:
    """D(μ) over all controls that respect the windows, and its gradient."""
    pi = control.form.pull(mu)
    legs = _path(control, pi, windows)
    delta = control.start
    for leg in reversed(legs):
        shifted = leg.spectrum._replace(drift=leg.drift)
        delta = advance(shifted, delta, np.array([leg.duration]))[0]
    return float(pi @ delta) - 0.5 * float(mu @ mu), control.form.image(delta) - mu


def least(control: LinearControl, functional: np.ndarray, windows: list[Window]) -> float:
    """A lower bound on cᵀδ at the end of the windows, over all controls that respect them."""
    legs, total, p = _path(control, functional, windows), 0.0, functional
    for leg in legs:
        total += float(leg.costate @ (leg.drift * decay_integral(leg.spectrum.rates, np.array(leg.duration))))
        p = retreat(leg.spectrum, p, leg.duration)
    return total + float(p @ control.start)


def _path(control: LinearControl, end: np.ndarray, windows: list[Window]) -> list[Leg]:
    """The backward path from p = `end`, through the windows, cut where xᵀp changes sign."""
    low, high = control.bounds
    legs: list[Leg] = []
    p, side = end, -1 if control.rows[0] @ end < 0.0 else 1
    for window in reversed(windows):
        left = window.end - window.start
        while left > 0.0:
            level = (high if window.sign * side > 0 else low) if window.sign else 0.5 * (low + high)
            spectrum = control.spectrum(level)
            costate = spectrum.to_basis(p)
            crossings = ExponentialSum(spectrum.rows[0] * costate, spectrum.rates).sign_changes(
                resolving_grid(spectrum.rates, left), side
            )
            duration = float(crossings[0]) if crossings.size else left
            loss = 0.5 * (high - low) * window.slack * side
            legs.append(Leg(spectrum, costate, duration, spectrum.drift - loss * spectrum.rows[0]))
            p, left = retreat(spectrum, p, duration), left - duration
            if not crossings.size:
                break
            side = -side
            if len(legs) > MAX_ARCS:
                raise InputError(f"xᵀp changed its sign {MAX_ARCS} times; is the problem scaled sensibly?")
    return legs
