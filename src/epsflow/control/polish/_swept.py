"""Arcs of any system, by the sweeps of `systems._rollout`.

One sweep gives the exact gradient of the computed cost by all switch times and free levels; by a switch time it is the
jump of the Hamiltonian. The Hessian is that of central differences of the gradient.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from ..._core import Array
from ..systems._rollout import roll_out, sweep
from ..systems._system import AbstractSystem
from ..terms._arcs import Arcs, Joint
from ..terms._deadline import Deadline
from ..terms._levels import best_level
from ..terms._pieces import Pieces, cut, share_out
from ..terms._window import MeshWindow
from ._engine import AbstractEngine, Derivatives, Survey, Violation

SHORTEST = 1e-7
"""Length of an arc, relative to T − s, below which it is deleted: SLSQP's own accuracy in the switch times."""

SETTLED = 1e-9
"""What a further arc must promise, in units of the cost."""

TRIED = 3
"""Violations for which one more arc is tried, each at many rollouts."""

INSERTIONS = 12
"""Times that arcs may be inserted."""

DIFFERENCE = 1e-4
"""Step of the central differences, relative to T − s or to the bounds' distance: their error is its square, 1e-8 of
the third derivative."""


@dataclass(frozen=True, eq=False)
class SweptEngine(AbstractEngine):
    """Costs and gradients of arcs of one system.

    Attributes:
        system: f and φ.
        start: x(s).
        window, deadline: see `AbstractEngine`.
        most: pieces of about one length that the window is cut into.
        steps: Runge–Kutta steps per piece.
    """

    system: AbstractSystem
    start: Float[Array, " d"]
    window: MeshWindow
    most: int
    steps: int
    deadline: Deadline
    least = SHORTEST
    exact = False
    rounding = 1e-10

    def at_price(self, price: float) -> "SweptEngine":
        """See `AbstractEngine`."""
        return replace(self, window=self.window._replace(price=price, budget=np.inf))

    def cost(self, arcs: Arcs) -> float:
        """See `AbstractEngine`."""
        joint = arcs.joint
        value = roll_out(self.system, self._steps(joint), self.start, joint.durations, joint.levels)
        value += self.window.price * arcs.effort
        return value if np.isfinite(value) else np.inf

    def slope_near(self, arcs: Arcs) -> Callable[[np.ndarray], tuple[float, Float[np.ndarray, " n"]]]:
        """See `AbstractEngine`. As many steps in each interval as here, however long it becomes."""
        steps = self._steps(arcs.joint)
        return lambda unknowns: self._slope(arcs.at(unknowns), steps)

    def derivatives(self, arcs: Arcs) -> Derivatives:
        """See `AbstractEngine`."""
        here, steps, rows = arcs.unknowns, self._steps(arcs.joint), []
        for step in np.diag(DIFFERENCE * arcs.scale):
            # An interval may become less than empty: the flow then runs back over it, as smoothly as forward.
            up, down = (
                self._slope(at, steps, at.overlay(arcs.joint.order))
                for at in (arcs.at(here + step), arcs.at(here - step))
            )
            rows.append((up[1] - down[1]) / (2.0 * step.sum()))
        hessian = np.reshape(rows, (here.size, here.size))
        return Derivatives(*self._slope(arcs, steps), 0.5 * (hessian + hessian.T))

    def survey(self, arcs: Arcs) -> Survey:
        """See `AbstractEngine`; the worst three of the violations."""
        pieces = cut(arcs.joint.knots, arcs.joint.levels, self.most)
        found = sweep(self.system, self.steps, self.start, pieces.durations, pieces.levels)
        cost, violations = found.cost + self.window.price * arcs.effort, []
        for component, row in enumerate(arcs.components):
            for arc in range(len(row.parts)):
                violations += _on_arc(arcs, pieces, found.levels[:, component], component, arc, self.window.price)
        worth = [violation for violation in violations if violation.gain > SETTLED * abs(cost)]
        return Survey(cost, sorted(worth, reverse=True)[:TRIED])

    def _steps(self, joint: Joint) -> Int[np.ndarray, " K"]:
        """Runge–Kutta steps in each interval: `steps` for every piece that it holds."""
        return self.steps * share_out(joint.knots, self.most)

    def _slope(self, arcs: Arcs, steps: Int[np.ndarray, " K"], joint: Joint | None = None) -> tuple[float, np.ndarray]:
        joint = arcs.joint if joint is None else joint
        found = sweep(self.system, steps, self.start, joint.durations, joint.levels)
        gradient = arcs.chain(found.durations, found.levels, joint) + self.window.price * arcs.spending
        return found.cost + self.window.price * arcs.effort, gradient


def _on_arc(
    arcs: Arcs, pieces: Pieces, slopes: Float[np.ndarray, " K"], component: int, arc: int, price: float
) -> list[Violation]:
    """Runs of pieces of one arc on which one level other than u's is the best. `slopes`: ∂φ/∂u of every piece.

    On a singular arc S + ρ sign u is zero on the average over each part only, and there the first and the last run
    count alone: they may hide a bang that was too short for the mesh.
    """
    row = arcs.components[component]
    on = row.arc_of_part[arcs.joint.part[pieces.interval, component]] == arc
    here = np.flatnonzero(on & (pieces.durations > 0.0))
    if here.size == 0:
        return []
    durations, level = pieces.durations[here], pieces.levels[here, component]
    slope = slopes[here] / durations
    wanted = best_level(slope, np.array(arcs.options), price)
    rate = slope * (level - wanted) + price * (np.abs(level) - np.abs(wanted))
    starts, ends = pieces.knots[here], pieces.knots[here + 1]
    breaks = np.concatenate([[0], np.flatnonzero(np.diff(wanted)) + 1, [len(here)]])
    runs, singular, result = list(itertools.pairwise(breaks)), bool(row.free[arc]), []
    for a, b in dict.fromkeys((runs[0], runs[-1])) if singular else runs:
        gain, steepest = float(durations[a:b] @ rate[a:b]), a + int(np.argmax(rate[a:b]))
        edge = starts[a] if a == 0 else ends[b - 1]
        pivot = edge if singular else 0.5 * (starts[steepest] + ends[steepest])
        span = float(starts[a]), float(ends[b - 1]), float(pivot)
        result.append(Violation(gain, component, float(wanted[a]), *span))
    return result
