"""The end of the flow of linear regression in closed form, from the rows where the sufficient statistics will not do.

The Gram matrix squares the condition of the data, so it is used only while that leaves twelve digits; otherwise the
rows are read again, a block at a time, and triangularised by Householder's method in units in which every column has
length one. Raw units, intercepts and powers of one variable are then as good as standardised columns.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
from jaxtyping import Float

from ..problem import Problem

WELL_CONDITIONED = 1e-4
"""Reciprocal condition of the scaled Gram matrix above which the statistics are solved as they are."""

ROWS_AT_ONCE = 2_000_000
"""Entries of X in a block (16 MB)."""

SHORT = 1e-3
"""A remaining step of more than this share of θ means that rounding has taken the answer."""

UNIT = np.finfo(np.float64).eps


class LeastSquares(NamedTuple):
    """θ(∞) of the linear flow.

    Attributes:
        theta: H†b, plus the part of θ0 that no row sees, shape (d,).
        gradient: ∇R_ε there, shape (d,).
        left: the Newton step that is left, on the directions that the rows see, shape (d,).
        full: whether the rows (and the penalty) see every direction.
        definite: whether no direction has negative curvature.
        arrived: whether the step that is left is short beside θ, in units in which the columns have length one.
    """

    theta: Float[np.ndarray, " d"]
    gradient: Float[np.ndarray, " d"]
    left: Float[np.ndarray, " d"]
    full: bool
    definite: bool
    arrived: bool


class Triangle(NamedTuple):
    """UΣVᵀ of the scaled rows, and the right-hand side.

    Attributes:
        values, axes: Σ, descending, shape (r,), and Vᵀ, shape (r, d).
        widths: lengths of the columns, shape (d,).
        moments: UᵀW^½y, shape (r,).
        full: whether r = d.
    """

    values: Float[np.ndarray, " r"]
    axes: Float[np.ndarray, "r d"]
    widths: Float[np.ndarray, " d"]
    moments: Float[np.ndarray, " r"]
    full: bool

    def solve(self, moments: Float[np.ndarray, " r"]) -> Float[np.ndarray, " d"]:
        """The θ that the rows ask for, in their span or up to their kernel."""
        return (moments / self.values @ self.axes) / self.widths

    def curved(self, gradient: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
        """H†g."""
        return self.solve((self.axes @ (gradient / self.widths)) / self.values)


def least_squares(problem: Problem, weights: Float[np.ndarray, "*m"], theta0: Float[np.ndarray, " d"]) -> LeastSquares:
    """argmin R_ε of linear regression; where it is not unique, the one that the flow from θ0 reaches."""
    each = np.broadcast_to(np.asarray(weights), problem.delete.shape)
    if (each < 0.0).any():
        return _indefinite(*statistics(problem, each), theta0)
    if problem.data.n - np.count_nonzero(each == 0.0) >= problem.dim or problem.l2 > 0.0:
        found = _by_statistics(*statistics(problem, each))
        if found is not None:
            return found
    triangle = triangularise(problem, each)
    theta = triangle.solve(triangle.moments)
    theta = theta - triangle.curved(_gradient(problem, each, theta))  # one refinement
    theta = theta + _unseen(triangle, theta0 - theta)
    gradient = _gradient(problem, each, theta)
    left = -triangle.curved(gradient)
    return LeastSquares(theta, gradient, left, triangle.full, True, _short(triangle.widths, left, theta))


def statistics(
    problem: Problem, weights: Float[np.ndarray, " m"]
) -> tuple[Float[np.ndarray, "d d"], Float[np.ndarray, " d"]]:
    """(H_ε, b_ε) from the sufficient statistics."""
    risk: Any = problem.risk  # a Quadratic: the callers asked
    x, y = np.asarray(risk.x_deleted), np.asarray(risk.y_deleted)
    weighted = (problem.scale * weights)[:, None] * x
    return np.asarray(risk.h_retained) + weighted.T @ x, np.asarray(risk.b_retained) + weighted.T @ y


def _by_statistics(hessian: Float[np.ndarray, "d d"], pull: Float[np.ndarray, " d"]) -> LeastSquares | None:
    """H⁻¹b by a Cholesky factor in units that give H a unit diagonal; None where that loses too many digits."""
    diagonal = np.diagonal(hessian)
    if not (diagonal > 0.0).all():
        return None
    widths = np.sqrt(diagonal)
    scaled = hessian / widths / widths[:, None]
    factor, failed = scipy.linalg.lapack.dpotrf(scaled, lower=1)
    if failed:
        return None
    reciprocal, _ = scipy.linalg.lapack.dpocon(factor, np.abs(scaled).sum(axis=0).max(), uplo="L")
    if not reciprocal > WELL_CONDITIONED:
        return None

    def solve(vector: np.ndarray) -> np.ndarray:
        return scipy.linalg.cho_solve((factor, True), vector / widths, check_finite=False) / widths

    theta = solve(pull)
    theta = theta + solve(pull - hessian @ theta)
    gradient = hessian @ theta - pull
    left = -solve(gradient)
    return LeastSquares(theta, gradient, left, True, True, _short(widths, left, theta))


def triangularise(problem: Problem, weights: Float[np.ndarray, " m"]) -> Triangle:
    """Singular values and axes of the weighted rows, the penalty's among them, from blocks of rows."""
    d = problem.dim
    widths = _lengths(problem, weights)
    together = np.zeros((0, d + 1))
    for x, y, w in _blocks(problem, weights):
        root = np.sqrt(problem.scale * w)[:, None]
        block = np.hstack([x / widths * root, y[:, None] * root])
        together = scipy.linalg.qr(np.vstack([together, block]), mode="r", check_finite=False)[0][: d + 1]
    if problem.l2 > 0.0:
        penalty = np.hstack([np.diag(np.sqrt(problem.l2) / widths), np.zeros((d, 1))])
        together = scipy.linalg.qr(np.vstack([together, penalty]), mode="r", check_finite=False)[0][: d + 1]
    left, values, axes = np.linalg.svd(together[:, :d], full_matrices=False)
    # Rows of zeros have no singular value at all.
    largest = values[0] if values.size else 0.0
    rank = int((values > max(problem.data.n, d) * UNIT * largest).sum())
    moments = left.T @ together[:, d]
    return Triangle(values[:rank], axes[:rank], widths, moments[:rank], rank == d)


def _gradient(
    problem: Problem, weights: Float[np.ndarray, " m"], theta: Float[np.ndarray, " d"]
) -> Float[np.ndarray, " d"]:
    """∇R_ε from the residuals of the rows, which keep the digits that Hθ − b loses."""
    total = problem.l2 * theta
    for x, y, w in _blocks(problem, weights):
        total = total + x.T @ (problem.scale * w * (x @ theta - y))
    return total


def _lengths(problem: Problem, weights: Float[np.ndarray, " m"]) -> Float[np.ndarray, " d"]:
    """Lengths of the weighted columns (with the penalty's entry), without overflow; 1 for a column of zeros."""
    peaks = np.zeros(problem.dim)
    for x, _, w in _blocks(problem, weights):
        peaks = np.maximum(peaks, np.abs(x[w > 0.0]).max(axis=0, initial=0.0))
    peaks = np.where(peaks > 0.0, peaks, 1.0)
    squares = problem.l2 / peaks**2
    for x, _, w in _blocks(problem, weights):
        squares = squares + problem.scale * np.einsum("i,ij->j", w, (x / peaks) ** 2)
    return peaks * np.sqrt(np.where(squares > 0.0, squares, 1.0))


def _blocks(
    problem: Problem, weights: Float[np.ndarray, " m"]
) -> Iterator[tuple[Float[np.ndarray, "b d"], Float[np.ndarray, " b"], Float[np.ndarray, " b"]]]:
    """Rows, targets and weights (without c), a block at a time."""
    n, step = problem.data.n, max(1, ROWS_AT_ONCE // problem.dim)
    each = np.ones(n)
    each[problem.delete] = weights
    for start in range(0, n, step):
        rows = slice(start, start + step)
        yield np.asarray(problem.data.x[rows]), np.asarray(problem.data.y[rows]), each[rows]


def _unseen(triangle: Triangle, vector: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
    """The part of a vector that is orthogonal to every row."""
    if triangle.full:
        return np.zeros_like(vector)
    span = np.linalg.qr((triangle.axes * triangle.widths).T)[0]
    return vector - span @ (span.T @ vector)


def _indefinite(
    hessian: Float[np.ndarray, "d d"], pull: Float[np.ndarray, " d"], theta0: Float[np.ndarray, " d"]
) -> LeastSquares:
    """With a negative weight the rows have no triangle: by the eigenvectors of H_ε."""
    values, axes = np.linalg.eigh(hessian)
    rounding = len(values) * UNIT * np.abs(values).max()
    seen = np.abs(values) > rounding
    inverse = np.where(seen, 1.0 / np.where(seen, values, 1.0), 0.0)
    theta = axes @ (inverse * (axes.T @ pull) + np.where(seen, 0.0, axes.T @ theta0))
    gradient = hessian @ theta - pull
    left = -axes @ (inverse * (axes.T @ gradient))
    arrived = _short(np.ones_like(theta), left, theta)
    return LeastSquares(theta, gradient, left, bool(seen.all()), bool(values[0] >= -rounding), arrived)


def _short(widths: Float[np.ndarray, " d"], left: Float[np.ndarray, " d"], theta: Float[np.ndarray, " d"]) -> bool:
    return bool(np.linalg.norm(widths * left) <= SHORT * np.linalg.norm(widths * theta))
