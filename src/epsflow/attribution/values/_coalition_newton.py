"""Optima of a convex risk on many subsets of its points at once: Newton's method for a stack of subsets, in NumPy."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from ..._core import RESULTS, decide
from ...problem import Pointwise, Problem, pointwise
from .._evaluate import outputs_at

NUMBERS = 4_000_000
"""Outputs, or entries of Hessians, worked on at the same time (32 MB for each array of them)."""

MAX_STEPS = 100

HALVINGS = 60

SHORT = 1e-13
"""A Newton step that promises less than this share of the risk is the last one: what it leaves is its square."""

ARMIJO = 1e-4


class CoalitionOptima(NamedTuple):
    """argmin of the risk on each coalition.

    Attributes:
        thetas: shape (k, d).
        gradients: gradients of single points that were evaluated, of all coalitions together.
        result: how each ended, shape (k,).
    """

    thetas: Float[np.ndarray, "k d"]
    gradients: int
    result: RESULTS


class CoalitionRisk:
    """R_S(θ) = c Σ_{i∈S} ℓ_i(θ) + (λ/2)‖θ‖² of a linear model, for a stack of coalitions S.

    Gradients and Hessians of all coalitions are one matrix product each: Σ_i w_i C_i x_i x_iᵀ = (wC) · (x_i ⊗ x_i).
    """

    def __init__(self, problem: Problem):
        # Which points the problem deletes plays no part: every coalition has weights of its own.
        self.linear, self.model = problem.model, replace(problem.generalised(), delete=np.zeros(0, np.int64))
        model = self.model
        n, p = model.x.shape
        small = n * p * p <= NUMBERS
        self.squares = (model.x[:, :, None] * model.x[:, None, :]).reshape(n, p * p) if small else None

    def optima(self, members: Bool[np.ndarray, "k n"]) -> CoalitionOptima:
        """The minimum of each coalition's risk, from θ = 0; λ > 0 makes it the only one."""
        dim, (n, p) = self.model.dim, self.model.x.shape
        chunk = max(1, NUMBERS // max(n * (self.model.outputs or 1) ** 2, dim * dim, p))
        parts = [self._solve(members[start : start + chunk]) for start in range(0, len(members), chunk)]
        arrived = np.concatenate([part[1] for part in parts]) if parts else np.zeros(0, bool)
        return CoalitionOptima(
            thetas=np.concatenate([part[0] for part in parts]) if parts else np.zeros((0, dim)),
            gradients=sum(part[2] for part in parts),
            result=decide((~arrived, RESULTS.not_stationary)),
        )

    def _solve(self, members: Bool[np.ndarray, "k n"]) -> tuple[np.ndarray, np.ndarray, int]:
        """θ of each, which of them arrived, and gradients of points evaluated."""
        count, gradients = len(members), 0
        weights = self.model.scale * members
        ends, arrived = np.zeros((count, self.model.dim)), np.zeros(count, bool)
        rows = np.arange(count)  # those that are still going
        base, value, move, slope = ends.copy(), np.full(count, np.inf), np.zeros_like(ends), np.zeros(count)
        length, halved = np.ones(count), np.zeros(count, int)
        for _ in range(MAX_STEPS):
            trial = base + length[:, None] * move
            points = self._points(trial)
            risks = np.einsum("kn,kn->k", weights[rows], points.values) + 0.5 * self.model.l2 * np.einsum(
                "kd,kd->k", trial, trial
            )
            gradients += int(members[rows].sum())
            better = risks <= value + ARMIJO * length * slope + 1e-14 * np.abs(risks)
            # A refused step is halved; the others have a new place, and from it a new direction.
            length, halved = np.where(better, 1.0, 0.5 * length), np.where(better, 0, halved + 1)
            base = np.where(better[:, None], trial, base)
            value = np.where(better, risks, value)
            new = np.flatnonzero(better)
            if new.size:
                steps, slopes = self._directions(weights[rows[new]], base[new], _rows(points, new))
                move[new], slope[new] = steps, slopes
            done = better & (0.5 * np.abs(slope) <= SHORT * (np.abs(value) + np.finfo(float).tiny))
            ends[rows[done]], arrived[rows[done]] = base[done] + move[done], True
            stay = ~done & (halved < HALVINGS)
            ends[rows[~stay & ~done]] = base[~stay & ~done]
            if not stay.any():
                return ends, arrived, gradients
            rows, base, value, move = rows[stay], base[stay], value[stay], move[stay]
            slope, length, halved = slope[stay], length[stay], halved[stay]
        ends[rows] = base
        return ends, arrived, gradients

    def _points(self, thetas: Float[np.ndarray, "k d"]) -> Pointwise:
        """Losses of all points for each θ, with their derivatives."""
        model, count = self.model, len(thetas)
        outputs = outputs_at(self.linear, thetas, model.x)
        flat = outputs.reshape(-1, *outputs.shape[2:])
        found = pointwise(model.loss, flat, np.tile(model.y, (count, *[1] * (model.y.ndim - 1))))
        shaped = (part.reshape(count, -1, *part.shape[1:]) for part in found)
        return Pointwise(*shaped)

    def _directions(
        self, weights: Float[np.ndarray, "k n"], thetas: Float[np.ndarray, "k d"], points: Pointwise
    ) -> tuple[Float[np.ndarray, "k d"], Float[np.ndarray, " k"]]:
        """Newton's step of each, and the slope of its risk along it."""
        model = self.model
        weighted = weights.reshape(*weights.shape, *[1] * (points.slopes.ndim - 2)) * points.slopes
        if model.outputs is None:
            gradient = weighted @ model.x + model.l2 * thetas
        else:
            pulled = np.matmul(model.x.T, weighted)
            gradient = pulled.reshape(len(thetas), -1) + model.l2 * thetas
        hessian = self._hessians(weights, points.curvatures)
        diagonal = np.arange(model.dim)
        hessian[:, diagonal, diagonal] += model.l2
        steps = -np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        return steps, np.einsum("kd,kd->k", gradient, steps)

    def _hessians(
        self, weights: Float[np.ndarray, "k n"], curvatures: Float[np.ndarray, "k n ..."]
    ) -> Float[np.ndarray, "k d d"]:
        """Σ w_i C_i ⊗ x_i x_iᵀ of each."""
        model, count, p = self.model, len(weights), self.model.x.shape[1]
        if self.squares is None:
            each = zip(weights, curvatures, strict=True)
            return np.stack([model.gram(row, curvature) for row, curvature in each])
        if model.outputs is None:
            return ((weights * curvatures) @ self.squares).reshape(count, p, p)
        k = model.outputs
        blocks = np.moveaxis(weights[:, :, None, None] * curvatures, 1, -1)  # (count, k, k, n)
        whole = (blocks.reshape(count * k * k, -1) @ self.squares).reshape(count, k, k, p, p)
        return whole.transpose(0, 3, 1, 4, 2).reshape(count, p * k, p * k)


def _rows(points: Pointwise, index: np.ndarray) -> Pointwise:
    return Pointwise(*(part[index] for part in points))
