"""Proximal Bregman responses of a linear model to many deletions, side by side: the secants of leave-out training.

For a model that is linear in θ the objective's gradient is ∇Q(θ) = ∇R_0(θ) − ∇R_1(θ_s) + λ_d(θ − θ_s): the tilts
subtract the slopes at θ_s. At an optimum of R_1 the response is therefore the leave-out optimum with a proximal term.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ...problem import GeneralisedLinear, Problem, losses
from ._removal import Removal, remove
from ._secants import CACHED, chunks_of, leave_out_slopes, secants

UNIT = np.finfo(np.float64).eps


@dataclass(frozen=True, eq=False, kw_only=True)
class BregmanResponses:
    """Of k sets; `arrived` says which of them met their tolerance.

    Attributes:
        change: θ − θ_s, shape (k, d).
        value: Q(θ) − Q(θ_s), shape (k,).
        gradient_norm, tolerance: ‖∇Q(θ)‖₂, and the norm that was asked for, shape (k,).
        steps: quasi-Newton steps, shape (k,).
        line: (G + (λ + λ_d)I)⁻¹ Σ_D g_j, shape (k, d).
        residual: the relative residual of that solve, shape (k,).
        arrived: shape (k,).
    """

    change: Float[np.ndarray, "k d"]
    value: Float[np.ndarray, " k"]
    gradient_norm: Float[np.ndarray, " k"]
    tolerance: Float[np.ndarray, " k"]
    steps: Int[np.ndarray, " k"]
    line: Float[np.ndarray, "k d"]
    residual: Float[np.ndarray, " k"]
    arrived: np.ndarray


def bregman_responses(
    problem: Problem, theta: Float[np.ndarray, " d"], sets: Int[np.ndarray, "k q"], damping: float, tol: float
) -> BregmanResponses:
    """‖∇Q‖₂ ≤ max(tol·‖Σ_D g_j‖₂, rounding), from the exact Hessians at θ_s.

    Raises:
        InputError: G + (λ + λ_d)I is not positive definite.
    """
    model, removal = problem.generalised(), remove(problem, theta, sets, damping)
    local = model.at(theta)
    everyone = np.full(len(model.x), model.scale)
    anchored = model.gradient(local, everyone)
    sizes = np.linalg.norm(local.points.slopes.reshape(len(model.x), -1), axis=1) * np.linalg.norm(model.x, axis=1)
    targets = np.maximum(tol * np.linalg.norm(removal.pulls, axis=1), 8.0 * UNIT * model.scale * float(sizes.sum()))
    thetas, slopes = np.repeat(theta[None], len(sets), axis=0), -removal.pulls
    steps = np.zeros(len(sets), np.int64)

    def slopes_at(points: np.ndarray, which: np.ndarray) -> np.ndarray:
        return leave_out_slopes(model, points, sets[which]) - anchored + damping * (points - theta)

    for rows in chunks_of(removal, len(model.x)):
        ends = secants(removal, rows, theta, slopes_at, widths=np.ones(theta.size), targets=targets)
        thetas[rows], slopes[rows], steps[rows] = ends
    change, norms = thetas - theta, np.linalg.norm(slopes, axis=1)
    line, residual = _linearised(removal, damping)
    return BregmanResponses(
        change=change,
        value=_values(model, theta, thetas, sets, damping),
        gradient_norm=norms,
        tolerance=targets,
        steps=steps,
        line=line,
        residual=residual,
        arrived=norms <= targets,
    )


def _linearised(removal: Removal, damping: float) -> tuple[Float[np.ndarray, "k d"], Float[np.ndarray, " k"]]:
    """(G + (λ + λ_d)I)⁻¹ Σ_D g_j, refined once, and its relative residual."""

    def product(vectors: np.ndarray) -> np.ndarray:
        return vectors @ removal.hessian + damping * vectors

    def solve(vectors: np.ndarray) -> np.ndarray:
        return vectors @ removal.inverse @ removal.inverse.T

    line = solve(removal.pulls)
    line = line + solve(removal.pulls - product(line))
    left, sizes = np.linalg.norm(product(line) - removal.pulls, axis=1), np.linalg.norm(removal.pulls, axis=1)
    return line, left / np.where(sizes > 0.0, sizes, 1.0)


def _values(
    model: GeneralisedLinear,
    theta: Float[np.ndarray, " d"],
    thetas: Float[np.ndarray, "k d"],
    sets: Int[np.ndarray, "k q"],
    damping: float,
) -> Float[np.ndarray, " k"]:
    """Q(θ) − Q(θ_s): differences of losses less what the tilts take off, and the proximal term."""
    local, n = model.at(theta), len(model.x)
    found, step = np.empty(len(thetas)), max(1, CACHED // (n * (model.outputs or 1)))
    # The tilts are the slopes at θ_s of all points, so that what they take off is one product with θ − θ_s.
    tilt = model.pull(np.full(n, model.scale), local.points.slopes)
    for start in range(0, len(thetas), step):
        part = slice(start, min(start + step, len(thetas)))
        count = part.stop - start
        coefficients = model.coefficients(thetas[part])
        outputs = coefficients @ model.x.T if model.outputs is None else model.x @ coefficients
        outputs = outputs.reshape(count * n, *local.outputs.shape[1:])
        targets = np.broadcast_to(model.y, (count, *model.y.shape)).reshape(count * n, *model.y.shape[1:])
        moved = losses(model.loss, outputs, targets).reshape(count, n) - local.points.values
        moved[np.arange(count)[:, None], sets[part]] = 0.0
        shift = thetas[part] - theta
        own = 0.5 * np.einsum("kd,kd->k", shift, (model.l2 + damping) * shift)
        found[part] = model.scale * moved.sum(axis=1) - shift @ tilt + own
    return found
