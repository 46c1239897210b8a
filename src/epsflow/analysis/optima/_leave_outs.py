"""Leave-out optima of a linear model under a convex loss, all sets side by side, in NumPy."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ..._core import RESULTS, decide
from ...flow import NEWTON_STEPS, minimise
from ...problem import Problem
from ._removal import remove
from ._secants import chunks_of, leave_out_slopes, secants

UNIT = np.finfo(np.float64).eps


class LeaveOuts(NamedTuple):
    """θ(0) of every set and what certifies it."""

    thetas: Float[np.ndarray, "k d"]
    gradient_norm: Float[np.ndarray, " k"]
    distance: Float[np.ndarray, " k"]
    steps: Int[np.ndarray, " k"]
    result: RESULTS


def leave_outs(problem: Problem, sets: Int[np.ndarray, "k q"], theta: Float[np.ndarray, " d"], tol: float) -> LeaveOuts:
    """The optimum without each set: ‖∇R_0‖ ≤ tol·‖Σ_D g_j‖ in units of the curvature, or rounding of the sum."""
    model, removal = problem.generalised(), remove(problem, theta, sets, 0.0)
    widths = np.sqrt(np.diagonal(removal.hessian))
    local = model.at(theta)
    sizes = (np.abs(model.x).T @ np.abs(model.scale * local.points.slopes)).ravel() + model.l2 * np.abs(theta)
    floor = UNIT * (8.0 + np.sqrt(len(model.x))) * float(np.linalg.norm(sizes / widths))
    targets = np.maximum(tol * np.linalg.norm(removal.pulls / widths, axis=1), floor)
    thetas, slopes = np.repeat(theta[None], len(sets), axis=0), -removal.pulls
    steps, norms = np.zeros(len(sets), np.int64), np.linalg.norm(removal.pulls / widths, axis=1)
    for rows in chunks_of(removal, len(model.x)):
        ends = secants(
            removal,
            rows,
            theta,
            lambda points, which: leave_out_slopes(model, points, sets[which]),
            widths=widths,
            targets=targets,
        )
        thetas[rows], slopes[rows], steps[rows] = ends
    norms = np.linalg.norm(slopes / widths, axis=1)
    left = np.linalg.norm(removal.solve(slopes), axis=1)
    arrived = (norms <= targets) & removal.definite
    for k in np.flatnonzero(~arrived):
        weights = np.full(len(model.x), model.scale)
        weights[sets[k]] = 0.0
        end = minimise(model, weights, theta, tol=tol, max_steps=NEWTON_STEPS)
        thetas[k], steps[k], left[k] = end.theta, steps[k] + end.steps, np.linalg.norm(end.left)
        slopes[k] = model.gradient(model.at(end.theta), weights)
        arrived[k] = end.stationary and end.arrived and end.isolated
    norms = np.linalg.norm(slopes, axis=1)
    return LeaveOuts(
        thetas=thetas,
        gradient_norm=norms,
        distance=norms / np.min(model.l2) if np.min(model.l2) > 0.0 else left,
        steps=steps,
        result=decide((~arrived, RESULTS.not_stationary)),
    )
