"""Optimal levels on a mesh for systems of any size: exact gradients by sweeps, and L-BFGS-B; SLSQP within a budget."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import LinearConstraint, linprog, minimize

from ..._core import Array
from ..terms._deadline import Deadline
from ..terms._levels import as_column
from ..terms._runs import AbstractTranscription, Candidate
from ..terms._window import Effort, MeshWindow
from ._rollout import roll_out, sweep
from ._system import AbstractSystem

MAX_ITERATIONS = 500
MESH_GAP = 1e-9
"""Σ_k |projected gradient| (b − a), relative to the unit of the cost, at which L-BFGS-B stops: no control on the mesh
is better by more, to first order."""


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
        return np.full(len(self.bounds), self.window.sign * self.window.length / self.shape[0])

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


class Descent(AbstractTranscription):
    """L-BFGS-B, or SLSQP within a budget, on the levels of a mesh.

    Every evaluation is one sweep, forward and backward (`_rollout`); nothing of size d × d is formed.

    Attributes:
        system: f and φ.
        start: x(s).
        steps: Runge–Kutta steps per interval.
    """

    def __init__(
        self, system: AbstractSystem, start: Float[Array, " d"], window: MeshWindow, deadline: Deadline, *, steps: int
    ):
        """Fix the problem and the steps."""
        self.system, self.start, self.window, self.deadline, self.steps = system, start, window, deadline, steps

    def solve(self, name: str, guess: Float[np.ndarray, "N controls"]) -> Candidate:
        """See `AbstractTranscription`."""
        window, unknowns = self.window, Unknowns(self.window, guess.shape)
        durations, effort = np.full(len(guess), window.length / len(guess)), unknowns.effort

        def cost(z: np.ndarray) -> tuple[float, np.ndarray]:
            found = sweep(self.system, self.steps, self.start, durations, unknowns.levels(z))
            value = float(found.cost + window.price * (effort @ z))
            return value / window.unit, (unknowns.pull(found.levels) + window.price * effort) / window.unit

        def check_time(intermediate_result: Any) -> None:
            del intermediate_result
            if self.deadline.passed:
                raise StopIteration

        options: dict[str, Any] = {"jac": True, "bounds": unknowns.bounds, "callback": check_time}
        if window.budget < np.inf:
            limit = LinearConstraint(effort[None], -np.inf, window.budget)
            limits = {"maxiter": MAX_ITERATIONS, "ftol": MESH_GAP * MESH_GAP}
            run = minimize(cost, unknowns.of(guess), method="SLSQP", constraints=[limit], options=limits, **options)
        else:
            # L-BFGS-B bounds the largest projected component; their sum is at most N times that.
            gtol = MESH_GAP / ((window.bounds[1] - window.bounds[0]) * guess.size)
            limits = {"maxiter": MAX_ITERATIONS, "maxcor": 20, "ftol": 0.0, "gtol": gtol}
            run = minimize(cost, unknowns.of(guess), method="L-BFGS-B", options=limits, **options)
        best = as_column(window.onto_options(unknowns.levels(run.x), 1e-12))
        # The line search gives up where rounding hides a descent; the gap says whether that is far from the minimum.
        success = bool(run.success) or _gap(run.jac[: len(effort)], run.x, unknowns) <= 1e-6 * abs(run.fun)
        return Candidate(name, best, str(run.message), success, int(run.nit), int(run.nfev))


def _gap(slope: np.ndarray, z: np.ndarray, unknowns: Unknowns) -> float:
    """What the best admissible z gains, to first order: a linear program within a budget."""
    if unknowns.window.budget < np.inf:
        row, limit = unknowns.effort[None], [unknowns.window.budget]
        return float(slope @ z - linprog(slope, row, limit, bounds=unknowns.bounds).fun)
    low, high = np.array(unknowns.bounds).T
    return float(np.sum(np.maximum(slope * (z - low), slope * (z - high))))


def best_switch(
    system: AbstractSystem,
    start: Float[Array, " d"],
    window: MeshWindow,
    intervals: int,
    *,
    steps: int,
    points: int = 17,
) -> Float[np.ndarray, "N controls"]:
    """The cheapest affordable control that is high first and low from one of a few knots on, at one rollout a knot.

    Where ∫|u| dt matters, "low" is the level with the least |u|.
    """
    durations = np.full(intervals, window.length / intervals)
    knots = np.unique(np.linspace(0, intervals, min(points, intervals + 1)).astype(int))
    low, high = window.cheapest if window.priced else window.bounds[0], window.bounds[1]
    rows = [np.where(np.arange(intervals) < knot, high, low) for knot in knots]
    controls = [window.affordable(np.tile(row[:, None], (1, system.controls))) for row in rows]
    costs = [roll_out(system, steps, start, durations, u).cost for u in controls]
    prices = [window.price * window.spent(u) for u in controls]
    return controls[int(np.nanargmin(np.add(costs, prices)))]
