"""The quadratic program of soft weights, by its dual: a few multipliers, whatever the number of points."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

STEPS = 200

SHORT = 1e-12
"""Violation of a constraint, of the sizes of its terms, that rounding may leave."""


class WeightProgram(NamedTuple):
    """min −a·w + μ‖w‖² subject to Cw ≤ d and −1 ≤ w ≤ 0.

    Attributes:
        gain: a, shape (n,).
        rows: C, shape (m, n).
        limits: d ≥ 0, so that w = 0 is admissible, shape (m,).
        penalty: μ > 0.
    """

    gain: Float[np.ndarray, " n"]
    rows: Float[np.ndarray, "m n"]
    limits: Float[np.ndarray, " m"]
    penalty: float


class Weights(NamedTuple):
    """The minimum and its multipliers.

    Attributes:
        w: shape (n,).
        duals: of Cw ≤ d, ≥ 0, shape (m,).
        below, above: of −1 ≤ w and w ≤ 0, ≥ 0, shape (n,).
        violation: the largest violation of a constraint or of complementarity, of the sizes of the terms.
    """

    w: Float[np.ndarray, " n"]
    duals: Float[np.ndarray, " m"]
    below: Float[np.ndarray, " n"]
    above: Float[np.ndarray, " n"]
    violation: float


def minimise_weights(program: WeightProgram) -> Weights:
    """Projected Newton ascent of the dual, which is concave and piecewise quadratic: it ends after finitely many steps.

    For multipliers β the minimum over the box is w(β) = clip((a − Cᵀβ)/2μ, −1, 0), the dual's gradient Cw − d, and its
    curvature −C_F C_Fᵀ/2μ over the weights F strictly inside the box.
    """
    sizes = np.abs(program.rows).max(axis=1, initial=0.0)
    sizes = np.where(sizes > 0.0, sizes, 1.0)
    scale = max(float(np.abs(program.gain).max(initial=0.0)), 2.0 * program.penalty)
    # Every constraint in units of its largest entry, the objective in those of its own.
    scaled = WeightProgram(
        program.gain / scale, program.rows / sizes[:, None], program.limits / sizes, program.penalty / scale
    )
    beta = np.zeros(len(sizes))
    for _ in range(STEPS):
        w = _inside(scaled, beta)
        slope = scaled.rows @ w - scaled.limits
        if _violation(scaled, beta, w) <= SHORT:
            break
        beta = _ascend(scaled, beta, w, slope)
    w = _inside(scaled, beta)
    pull = scale * (scaled.gain - scaled.rows.T @ beta) - 2.0 * program.penalty * w  # = above − below
    return Weights(
        w=w,
        duals=beta * scale / sizes,
        below=np.where(w <= -1.0, np.maximum(-pull, 0.0), 0.0),
        above=np.where(w >= 0.0, np.maximum(pull, 0.0), 0.0),
        violation=_violation(scaled, beta, w),
    )


def _inside(program: WeightProgram, beta: Float[np.ndarray, " m"]) -> Float[np.ndarray, " n"]:
    return np.clip((program.gain - program.rows.T @ beta) / (2.0 * program.penalty), -1.0, 0.0)


def _dual(program: WeightProgram, beta: Float[np.ndarray, " m"]) -> float:
    w = _inside(program, beta)
    return float(-program.gain @ w + program.penalty * w @ w + beta @ (program.rows @ w - program.limits))


def _violation(program: WeightProgram, beta: Float[np.ndarray, " m"], w: Float[np.ndarray, " n"]) -> float:
    """max(Cw − d, 0), and |Cw − d| where the multiplier is positive, of the terms' sizes."""
    slope = program.rows @ w - program.limits
    sizes = np.abs(program.rows) @ np.abs(w) + program.limits
    excess = np.where(beta > 0.0, np.abs(slope), np.maximum(slope, 0.0))
    return float((excess / np.where(sizes > 0.0, sizes, 1.0)).max(initial=0.0))


def _ascend(
    program: WeightProgram, beta: Float[np.ndarray, " m"], w: Float[np.ndarray, " n"], slope: Float[np.ndarray, " m"]
) -> Float[np.ndarray, " m"]:
    """One step along the face of multipliers that are positive, or want to be."""
    moving = (beta > 0.0) | (slope > 0.0)
    free = program.rows[np.ix_(moving, (w > -1.0) & (w < 0.0))]
    curvature = free @ free.T / (2.0 * program.penalty)
    # Where no weight is free the dual is linear: the curvature that weights at the box would have sets the length.
    whole = (program.rows[moving] ** 2).sum(axis=1) / (2.0 * program.penalty)
    curvature[np.diag_indices(len(curvature))] += 1e-12 * np.where(whole > 0.0, whole, 1.0)
    step = np.zeros_like(beta)
    step[moving] = np.linalg.solve(curvature, slope[moving])
    here, length = _dual(program, beta), 1.0
    for _ in range(100):
        trial = np.maximum(beta + length * step, 0.0)
        if _dual(program, trial) >= here + 1e-4 * slope @ (trial - beta):
            return trial
        length *= 0.5
    return beta
