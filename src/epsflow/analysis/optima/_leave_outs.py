"""Leave-out optima of a linear model under a convex loss, all sets side by side, in NumPy.

From θ(1) every set takes its Newton step, whose Hessian is that of all points less a few rows, and then quasi-Newton
steps with the same inverse, improved by what the gradients show (L-BFGS, two loops over a few pairs). An iteration is
two matrix products for all sets together; the sets that have arrived drop out.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ..._core import RESULTS, decide
from ...flow import NEWTON_STEPS, minimise
from ...problem import GeneralisedLinear, Problem
from ._removal import Removal, remove

NUMBERS = 1_000_000
"""Outputs worked on at the same time (8 MB for each array of them)."""

SECANT_STEPS = 30

PAIRS = 4
"""Pairs of moves and gradient changes that are remembered."""

CONTRACTION = 0.5
"""Steps that shrink the gradient by less than this factor are slower than Newton's method."""

Inverse = Callable[[np.ndarray], np.ndarray]

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
    chunk = max(1, NUMBERS // model.x.shape[0])
    # By how far a set pulls, so that a chunk holds sets of the same difficulty.
    order = np.argsort(np.einsum("kd,kd->k", removal.pulls, np.nan_to_num(removal.solve(removal.pulls))))
    for start in range(0, len(sets), chunk):
        rows = order[start : start + chunk]
        search = _Search(model, removal, sets, rows, widths)
        thetas[rows], slopes[rows], steps[rows] = search.run(theta, targets[rows])
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


class _Search:
    """Quasi-Newton iterations of some of the sets together."""

    def __init__(
        self, model: GeneralisedLinear, removal: Removal, sets: np.ndarray, rows: np.ndarray, widths: np.ndarray
    ):
        self.model, self.removal, self.rows, self.widths = model, removal, rows, widths
        self.sets = sets[rows]

    def run(
        self, theta: Float[np.ndarray, " d"], targets: Float[np.ndarray, " j"]
    ) -> tuple[Float[np.ndarray, "j d"], Float[np.ndarray, "j d"], Int[np.ndarray, " j"]]:
        """θ, ∇R_0 and steps of every set; the best point of a set that does not contract."""
        count = len(self.rows)
        ends, slopes = np.repeat(theta[None], count, axis=0), -self.removal.pulls[self.rows]
        steps, norms = np.zeros(count, np.int64), np.linalg.norm(slopes / self.widths, axis=1)
        going = np.flatnonzero((norms > 0.0) & self.removal.definite[self.rows])
        point, slope, memory = ends[going], slopes[going], _Memory()
        for _ in range(SECANT_STEPS):
            if not going.size:
                break
            move = -memory.apply(slope, lambda v, w=going: self.removal.solve(v, self.rows[w]))
            point = point + move
            new_slope = self._slopes(point, self.sets[going])
            memory.add(move, new_slope - slope)
            norm, slope = np.linalg.norm(new_slope / self.widths, axis=1), new_slope
            steps[going] += 1
            better = norm < norms[going]
            contracts = norm < CONTRACTION * norms[going]
            kept = going[better]
            ends[kept], slopes[kept], norms[kept] = point[better], slope[better], norm[better]
            stay = (norm > targets[going]) & (contracts | (steps[going] < 2))
            point, slope, going = point[stay], slope[stay], going[stay]
            memory.keep(stay)
        return ends, slopes, steps

    def _slopes(self, points: Float[np.ndarray, "j d"], sets: Int[np.ndarray, "j q"]) -> Float[np.ndarray, "j d"]:
        """∇R_0 of every set at its own θ."""
        model, count = self.model, len(sets)
        if model.outputs is None:
            slopes = model.many_slopes(points @ model.x.T)
            slopes[np.arange(count)[:, None], sets] = 0.0
            return model.scale * (slopes @ model.x) + model.l2 * points
        outputs = np.einsum("np,jpk->jnk", model.x, model.coefficients(points), optimize=True)
        slopes = model.many_slopes(outputs)
        slopes[np.arange(count)[:, None], sets] = 0.0
        pulled = np.einsum("np,jnk->jpk", model.x, slopes, optimize=True)
        return model.scale * pulled.reshape(count, -1) + model.l2 * points


class _Memory:
    """The last moves and changes of the gradient, and the inverse Hessian that they improve (Nocedal's two loops)."""

    def __init__(self) -> None:
        self.pairs: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(self, move: Float[np.ndarray, "j d"], change: Float[np.ndarray, "j d"]) -> None:
        along = np.einsum("jd,jd->j", move, change)
        positive = along > 0.0
        # A pair without positive curvature is forgotten: its factor is zero.
        self.pairs.append((move, change, np.where(positive, 1.0 / np.where(positive, along, 1.0), 0.0)))
        self.pairs = self.pairs[-PAIRS:]

    def keep(self, stay: np.ndarray) -> None:
        """Drop the rows of sets that have arrived."""
        self.pairs = [(move[stay], change[stay], factor[stay]) for move, change, factor in self.pairs]

    def apply(self, vectors: Float[np.ndarray, "j d"], base: Inverse) -> Float[np.ndarray, "j d"]:
        """The improved inverse times each vector."""
        parts = []
        for move, change, factor in reversed(self.pairs):
            part = factor * np.einsum("jd,jd->j", move, vectors)
            vectors = vectors - part[:, None] * change
            parts.append(part)
        vectors = base(vectors)
        for (move, change, factor), part in zip(self.pairs, reversed(parts), strict=True):
            other = factor * np.einsum("jd,jd->j", change, vectors)
            vectors = vectors + (part - other)[:, None] * move
        return vectors
