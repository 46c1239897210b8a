"""Optimal levels on a mesh for systems of any size: exact gradients by sweeps, and L-BFGS-B."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import minimize

from ._deadline import Deadline
from ._program import Candidate, on_bounds
from ._rollout import roll_out, sweep
from ._system import AbstractSystem
from ._transcription import Window

MAX_ITERATIONS = 500

MESH_GAP = 1e-9
"""Σ_k |projected gradient| (b − a), relative to the unit of the cost, at which L-BFGS-B stops: no control on the mesh
is better by more, to first order."""


def descend(
    system: AbstractSystem,
    start: Float[Array, " d"],
    guesses: dict[str, Float[np.ndarray, "N controls"]],
    window: Window,
    deadline: Deadline,
    *,
    steps: int,
) -> list[Candidate]:
    """One run of L-BFGS-B from every guess, as long as there is time.

    Every evaluation is one sweep, forward and backward (`_rollout`); nothing of size d × d is formed.

    Args:
        system: f and φ.
        start: x(s).
        guesses: controls to start from, by name; all on the same mesh.
        window: what they are controls on.
        deadline: when to stop.
        steps: Runge–Kutta steps per interval.
    """
    runs: list[Candidate] = []
    for name, values in guesses.items():
        if runs and deadline.passed:
            break
        runs.append(_descend_from(system, start, name, values, window, deadline, steps))
    return runs


def _descend_from(
    system: AbstractSystem,
    start: Array,
    name: str,
    values: Float[np.ndarray, "N controls"],
    window: Window,
    deadline: Deadline,
    steps: int,
) -> Candidate:
    durations = jnp.full(len(values), window.length / len(values))
    per_piece = jnp.asarray(float(steps))

    def cost(flat: np.ndarray) -> tuple[float, np.ndarray]:
        found = sweep(system, per_piece, start, durations, jnp.asarray(flat.reshape(values.shape)))
        return float(found.cost) / window.unit, np.asarray(found.levels).ravel() / window.unit

    def check_time(intermediate_result: Any) -> None:
        del intermediate_result
        if deadline.passed:
            raise StopIteration

    low, high = window.bounds
    # L-BFGS-B bounds the largest projected component; their sum is at most N times that.
    limits = {"maxiter": MAX_ITERATIONS, "maxcor": 20, "ftol": 0.0, "gtol": MESH_GAP / ((high - low) * values.size)}
    options: dict[str, Any] = {"method": "L-BFGS-B", "jac": True, "bounds": [window.bounds] * values.size}
    run = minimize(cost, values.ravel(), callback=check_time, options=limits, **options)
    gap = float(np.sum(np.maximum(run.jac * (run.x - low), run.jac * (run.x - high))))
    best = on_bounds(run.x, window.bounds, 1e-12).reshape(values.shape)
    best = best[:, 0] if system.controls == 1 else best
    # The line search gives up where rounding hides a descent; the gap says whether that is far from the minimum.
    success = bool(run.success) or gap <= 1e-6 * abs(run.fun)
    return Candidate(name, best, str(run.message), success, int(run.nit), int(run.nfev))


def best_switch(
    system: AbstractSystem,
    start: Float[Array, " d"],
    window: Window,
    intervals: int,
    *,
    steps: int,
    points: int = 17,
) -> Float[np.ndarray, "N controls"]:
    """The cheapest control that is high first and low from one of a few knots on, at one rollout a knot."""
    low, high = window.bounds
    durations, per_piece = jnp.full(intervals, window.length / intervals), jnp.asarray(float(steps))
    knots = np.unique(np.linspace(0, intervals, min(points, intervals + 1)).astype(int))
    rows = [np.where(np.arange(intervals) < knot, high, low) for knot in knots]
    controls = [np.tile(row[:, None], (1, system.controls)) for row in rows]
    costs = [float(roll_out(system, per_piece, start, durations, jnp.asarray(u))[0]) for u in controls]
    return controls[int(np.nanargmin(costs))]
