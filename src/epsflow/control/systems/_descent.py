"""Optimal levels on a mesh by exact gradients, of whatever kind, and L-BFGS-B; SLSQP within a budget."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import LinearConstraint, linprog, minimize

from ..._core import Array
from ..terms._deadline import Deadline
from ..terms._levels import as_column
from ..terms._runs import AbstractTranscription, Candidate
from ..terms._window import Effort, MeshWindow

MESH_GAP = 1e-9
"""Σ_k |projected gradient| (b − a), relative to the unit of the cost, at which L-BFGS-B stops: no control on the mesh
is better by more, to first order."""

SMALL = 1e-3
"""A cost below this part of its unit is measured by the unit: a cost may be zero, or below."""


PATIENCE = 5
"""How many times longer a descent goes on that follows a small cost to its own digits."""


class Rule(NamedTuple):
    """When a descent ends, and when that is a success. A gap is what the best admissible numbers gain, to first order.

    Attributes:
        iterations, evaluations: the most of either. Without a floor, `PATIENCE` times as many iterations where it has
            not succeeded by then.
        fall: relative fall of the cost in an iteration.
        settled, near: the gap, in units of the cost, at which it ends, and up to which it has succeeded.
        floor: part of its unit below which a cost is measured by that part, for all three; 0 where a cost counts for
            what it is, however small.
    """

    iterations: int = 500
    evaluations: int = 15_000
    fall: float = 0.0
    settled: float = 0.0
    near: float = 1e-6
    floor: float = SMALL

    def measure(self, cost: float) -> float:
        """What falls and gaps are compared with, at a cost in its unit."""
        return max(abs(cost), self.floor)


FLOW = Rule()
"""For costs as smooth as those of a flow."""


class Lowest(NamedTuple):
    """Where a descent came to.

    Attributes:
        z: the numbers with the least cost that were tried.
        cost: that cost, in its unit.
        gap: what the best admissible numbers gain there, to first order; NaN where no cost was finite.
        run: what SciPy says.
    """

    z: Float[np.ndarray, " z"]
    cost: float
    gap: float
    run: Any


Slope = tuple[float, np.ndarray]
"""A cost, and its derivatives by the numbers that it is of, in their shape."""


def descend_in_box(
    objective: Callable[[np.ndarray], Slope],
    start: Float[np.ndarray, " z"],
    bounds: list[tuple[float, float]],
    rule: Rule,
    deadline: Deadline,
) -> Lowest:
    """L-BFGS-B in a box, from one start; where the cost is not finite the line search comes back.

    Args:
        objective: the cost and its slope.
        start: where to begin.
        bounds: of every number.
        rule: when to end.
        deadline: the same, by the clock.
    """
    low, high = np.array(bounds).T
    best, worst, last, done = Lowest(start, np.inf, np.nan, None), 1.0, np.inf, 0

    def cost(z: np.ndarray) -> Slope:
        nonlocal best, worst
        value, slope = objective(z)
        if not np.isfinite(value):
            return 10.0 * worst, np.zeros(z.size)
        worst = max(worst, value)
        if value < best.cost:
            gap = float(np.sum(np.maximum(slope * (z - low), slope * (z - high))))
            best = Lowest(z.copy(), value, gap, None)
        return value, slope

    def stop(intermediate_result: Any) -> None:
        nonlocal last, done
        fallen, last, done = last - intermediate_result.fun, intermediate_result.fun, done + 1
        # SciPy's own rule takes a cost below 1 for 1.
        slow = fallen < rule.fall * rule.measure(last)
        enough = rule.near if done >= rule.iterations else rule.settled
        if deadline.passed or slow or best.gap < enough * rule.measure(best.cost):
            raise StopIteration

    # L-BFGS-B bounds the largest projected component; their sum is at most as many times that as there are numbers.
    # Where a cost counts for what it is, only `stop` knows when that is little.
    gtol = MESH_GAP / (float(np.max(high - low)) * start.size) if rule.floor > 0.0 else 0.0
    most = rule.iterations * (1 if rule.floor > 0.0 else PATIENCE)
    limits = {"maxiter": most, "maxfun": rule.evaluations, "maxcor": 20, "ftol": 0.0, "gtol": gtol}
    settings: dict[str, Any] = {"jac": True, "bounds": bounds, "callback": stop, "options": limits}
    run = minimize(cost, start, method="L-BFGS-B", **settings)
    return best._replace(run=run)


class Unknowns(NamedTuple):
    """The numbers z in which ∫|u| dt is linear.

    The levels u themselves where they have one sign. Otherwise u = z₁ − z₂ with z₁, z₂ ≥ 0, of which at most one is
    above zero at an optimum that pays for both.

    Attributes:
        window: what u is a control on.
        shape: of u, (N, controls).
    """

    window: MeshWindow
    shape: tuple[int, ...]

    @property
    def split(self) -> bool:
        """Whether u = z₁ − z₂."""
        return self.window.effort is Effort.BOTH_SIGNS

    @property
    def bounds(self) -> list[tuple[float, float]]:
        """Of every number."""
        (low, high), count = self.window.bounds, int(np.prod(self.shape))
        return [(0.0, high)] * count + [(0.0, -low)] * count if self.split else [(low, high)] * count

    @property
    def effort(self) -> Float[np.ndarray, " z"]:
        """∂(∫|u| dt)/∂z."""
        window, (count, controls) = self.window, self.shape
        lengths = np.full(count, window.length / count) if window.durations is None else window.durations
        each = window.sign * np.repeat(lengths, controls)
        return np.concatenate([each, each]) if self.split else each

    def of(self, levels: Float[np.ndarray, "N controls"]) -> Float[np.ndarray, " z"]:
        """The z of levels."""
        flat = levels.ravel()
        return np.concatenate([np.maximum(flat, 0.0), np.maximum(-flat, 0.0)]) if self.split else flat

    def levels(self, z: Float[np.ndarray, " z"]) -> Float[np.ndarray, "N controls"]:
        """u."""
        flat = z[: len(z) // 2] - z[len(z) // 2 :] if self.split else z
        return flat.reshape(self.shape)

    def pull(self, slope: Float[np.ndarray, "N controls"]) -> Float[np.ndarray, " z"]:
        """A gradient by u, as one by z."""
        flat = slope.ravel()
        return np.concatenate([flat, -flat]) if self.split else flat


@dataclass(frozen=True, eq=False)
class Descent(AbstractTranscription):
    """L-BFGS-B, or SLSQP within a budget, on the levels of a mesh.

    Attributes:
        slopes: the cost of levels, without the price, and its derivatives; of a system see `swept` in `_rollout`.
        window, deadline: see `AbstractTranscription`.
        rule: when to end.
    """

    slopes: Callable[[Float[np.ndarray, "N controls"]], Slope]
    window: MeshWindow
    deadline: Deadline
    rule: Rule = FLOW

    def solve(self, name: str, guess: Float[np.ndarray, "N controls"]) -> Candidate:
        """See `AbstractTranscription`."""
        window, unknowns = self.window, Unknowns(self.window, guess.shape)
        effort, start = unknowns.effort, unknowns.of(guess)

        def cost(z: np.ndarray) -> Slope:
            value, slope = self.slopes(unknowns.levels(z))
            priced = float(value + window.price * (effort @ z))
            return priced / window.unit, (unknowns.pull(slope) + window.price * effort) / window.unit

        if window.budget < np.inf:
            end = self._within_budget(cost, start, unknowns)
        else:
            end = descend_in_box(cost, start, unknowns.bounds, self.rule, self.deadline)
        levels = window.onto_options(unknowns.levels(end.z), 1e-12)
        # The line search gives up where rounding hides a descent; the gap says whether that is far from the minimum.
        near = end.gap <= self.rule.near * self.rule.measure(end.cost)
        success = near or (window.budget < np.inf and bool(end.run.success))
        return Candidate(name, as_column(levels), str(end.run.message), success, int(end.run.nit), int(end.run.nfev))

    def _within_budget(self, cost: Callable[[np.ndarray], Slope], start: np.ndarray, unknowns: Unknowns) -> Lowest:
        """SLSQP; the gap is that of a linear program."""
        row, limit, bounds = unknowns.effort[None], self.window.budget, unknowns.bounds
        fall = max(MESH_GAP * MESH_GAP, 0.1 * self.rule.fall)
        held = [LinearConstraint(row, -np.inf, limit)]
        settings: dict[str, Any] = {"jac": True, "bounds": bounds, "callback": self.deadline.stop, "constraints": held}

        def end_of(start: np.ndarray, fall: float) -> Lowest:
            limits = {"maxiter": self.rule.iterations, "ftol": fall}
            run = minimize(cost, start, method="SLSQP", options=limits, **settings)
            slope = run.jac[: start.size]
            least = linprog(slope, row, [limit], bounds=bounds).fun
            return Lowest(run.x, float(run.fun), float(slope @ run.x - least), run)

        end = end_of(start, fall)
        measure = self.rule.measure(end.cost)
        if measure >= SMALL or end.gap <= self.rule.near * measure or self.deadline.passed:
            return end
        # SciPy's rule is a fall in units of the cost, not of what little is left of it.
        further = end_of(end.z, fall * measure)
        return further if further.cost <= end.cost else end


def best_switch(
    cost: Callable[[Float[np.ndarray, "N controls"]], float | Array],
    window: MeshWindow,
    shape: tuple[int, int],
    knots: Float[np.ndarray, " k"],
    deadline: Deadline,
) -> Float[np.ndarray, "N controls"]:
    """The cheapest affordable control that is high first and low from one of a few knots on.

    Where ∫|u| dt matters, "low" is the level with the least |u|.

    Args:
        cost: of levels, without the price.
        window, shape: what the levels are chosen on.
        knots: numbers of intervals after which it may switch.
        deadline: after which no other knot is tried.
    """
    low, high = window.cheapest if window.priced else window.bounds[0], window.bounds[1]
    controls, costs = [], []
    for knot in np.unique(knots.astype(int)):
        if costs and deadline.passed:
            break
        row = np.where(np.arange(shape[0]) < knot, high, low)
        controls.append(window.affordable(np.tile(row[:, None], (1, shape[1]))))
        costs.append(float(cost(controls[-1])) + window.price * window.spent(controls[-1]))
    return controls[int(np.nanargmin(costs))]
