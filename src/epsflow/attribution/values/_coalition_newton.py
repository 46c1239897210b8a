"""Optima of a convex risk on many subsets of its points at once: Newton's method for a stack of subsets, in NumPy."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from ..._core import RESULTS, decide
from ...problem import Problem, derivatives, losses
from .._evaluate import outputs_at

NUMBERS = 4_000_000
"""Outputs, or entries of Hessians, worked on at the same time (32 MB for each array of them)."""

MAX_STEPS = 100

HALVINGS = 60

SHORT = 1e-10
"""A Newton step that promises less than this share of the risk at θ = 0 is the last one: what it leaves of the error is
its square."""


def count_true(flags: Bool[np.ndarray, "k n"]) -> Int[np.ndarray, " k"]:
    """How many of each row are; `np.count_nonzero` makes a long integer of every flag and takes five times as long."""
    return np.add.reduce(flags.view(np.uint8), axis=1, dtype=np.int32)


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
        self.whole = np.zeros(model.dim)
        self.whole = self._solve(np.ones((1, n), bool))[0][0]  # θ(D), from which other searches start

    def optima(self, members: Bool[np.ndarray, "k n"]) -> CoalitionOptima:
        """The minimum of each coalition's risk; λ > 0 makes it the only one, wherever the search starts."""
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
        """θ of each, which of them arrived, and gradients of points evaluated.

        A convex risk can only rise along a step where its slope has turned: a step is halved where the slope at its end
        is more than half as steep as at its beginning. Where a row ends is judged by its Newton decrement alone.
        """
        count, points = len(members), count_true(members)
        gradients = int(points.sum())
        ends, arrived = np.zeros((count, self.model.dim)), np.zeros(count, bool)
        weights = self.model.scale * members
        rows, base, length, halved = np.arange(count), ends.copy(), np.ones(count), np.zeros(count, int)
        sizes = weights @ losses(self.model.loss, self.rest, self.model.y)  # R_S(0)
        # With few points the penalty keeps θ(S) near 0, with many it is near θ(D).
        base = np.sqrt(points / members.shape[1])[:, None] * self.whole
        slopes, curvatures = self._derivatives(base)
        move, slope = self._newton(weights, self._pull(weights, slopes, base), curvatures)
        for _ in range(MAX_STEPS):
            done = 0.5 * np.abs(slope) <= SHORT * sizes
            if done.any():
                ends[rows[done]], arrived[rows[done]] = (base + move)[done], True
            stay = ~done & (halved < HALVINGS)
            if not stay.all():
                ends[rows[~stay & ~done]] = base[~stay & ~done]
                rows, base, move, slope = rows[stay], base[stay], move[stay], slope[stay]
                weights, sizes, length, halved = weights[stay], sizes[stay], length[stay], halved[stay]
            if not rows.size:
                return ends, arrived, gradients
            trial = base + length[:, None] * move
            slopes, curvatures = self._derivatives(trial)
            gradients += int(points[rows].sum())
            gradient = self._pull(weights, slopes, trial)
            good = np.einsum("kd,kd->k", gradient, move) <= 0.5 * np.abs(slope)
            if good.all():
                base = trial
                move, slope = self._newton(weights, gradient, curvatures)
                length, halved = np.ones(len(rows)), np.zeros(len(rows), int)
                continue
            base = np.where(good[:, None], trial, base)
            length, halved = np.where(good, 1.0, 0.5 * length), np.where(good, 0, halved + 1)
            if good.any():
                move[good], slope[good] = self._newton(weights[good], gradient[good], curvatures[good])
        ends[rows] = base
        return ends, arrived, gradients

    @property
    def rest(self) -> np.ndarray:
        """The outputs of all points at θ = 0."""
        return np.zeros((len(self.model.x), *([self.model.outputs] if self.model.outputs else [])))

    def _derivatives(self, thetas: Float[np.ndarray, "k d"]) -> tuple[np.ndarray, np.ndarray]:
        """Slopes and curvatures of all points for each θ."""
        model, count = self.model, len(thetas)
        outputs = outputs_at(self.linear, thetas, model.x)
        targets = np.broadcast_to(model.y, (count, *model.y.shape)).reshape(-1, *model.y.shape[1:])
        found = derivatives(model.loss, outputs.reshape(-1, *outputs.shape[2:]), targets)
        slopes, curvatures = (part.reshape(count, -1, *part.shape[1:]) for part in found)
        return slopes, curvatures

    def _pull(
        self, weights: Float[np.ndarray, "k n"], slopes: np.ndarray, thetas: Float[np.ndarray, "k d"]
    ) -> Float[np.ndarray, "k d"]:
        """The gradient of each risk."""
        model = self.model
        if model.outputs is None:
            return (weights * slopes) @ model.x + model.l2 * thetas
        return np.matmul(model.x.T, weights[:, :, None] * slopes).reshape(len(thetas), -1) + model.l2 * thetas

    def _newton(
        self, weights: Float[np.ndarray, "k n"], gradient: Float[np.ndarray, "k d"], curvatures: np.ndarray
    ) -> tuple[Float[np.ndarray, "k d"], Float[np.ndarray, " k"]]:
        """Newton's step of each, and the slope of its risk along it."""
        hessian = self._hessians(weights, curvatures)
        diagonal = np.arange(self.model.dim)
        hessian[:, diagonal, diagonal] += self.model.l2
        steps = -np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        return steps, np.einsum("kd,kd->k", gradient, steps)

    def _hessians(self, weights: Float[np.ndarray, "k n"], curvatures: np.ndarray) -> Float[np.ndarray, "k d d"]:
        """Σ w_i C_i ⊗ x_i x_iᵀ of each."""
        model, count, p = self.model, len(weights), self.model.x.shape[1]
        if self.squares is None:
            whole = np.broadcast_to(curvatures, (count, *curvatures.shape[1:]))
            return np.stack([model.gram(row, own) for row, own in zip(weights, whole, strict=True)])
        if model.outputs is None:
            return ((weights * curvatures) @ self.squares).reshape(count, p, p)
        k = model.outputs
        blocks = np.moveaxis(weights[:, :, None, None] * curvatures, 1, -1)  # (count, k, k, n)
        whole = (blocks.reshape(count * k * k, -1) @ self.squares).reshape(count, k, k, p, p)
        return whole.transpose(0, 3, 1, 4, 2).reshape(count, p * k, p * k)
