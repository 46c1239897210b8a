"""The spectrum of diag(λ) + w x xᵀ from that of diag(λ): O(d²) work instead of the O(d³) of a new eigendecomposition.

Its eigenvalues μ_i interlace the λ_i and are the roots of the secular equation 1 + w Σ_j x_j²/(λ_j − μ) = 0, which
LAPACK's `dlasd4` finds together with the differences λ_j − μ_i to full relative accuracy. Eigenvectors are
v_i ∝ ẑ_j/(λ_j − μ_i), with the ẑ for which the computed μ are exact (Löwner's formula), so that they are orthogonal to
rounding (M. Gu and S. Eisenstat, SIAM J. Matrix Anal. Appl. 15, 1266, 1994).
"""

import numpy as np
from jaxtyping import Float
from scipy.linalg import get_lapack_funcs

from ..._core import ConvergenceError

DEFLATION = 8.0
"""Roundings of the largest eigenvalue below which a coupling or a gap counts as zero (as in LAPACK's `dlasd2`)."""


def update(
    rates: Float[np.ndarray, " d"], row: Float[np.ndarray, " d"], weight: float
) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, "d d"]]:
    """Eigenvalues, ascending, and eigenvectors (columns) of diag(rates) + weight·row rowᵀ.

    Args:
        rates: λ, ascending, shape (d,).
        row: x, shape (d,).
        weight: w, of either sign.

    Raises:
        ConvergenceError: LAPACK did not find a root.
    """
    if weight < 0.0:  # −(diag(−λ) + |w| x xᵀ), in ascending order
        values, vectors = update(-rates[::-1], row[::-1], -weight)
        return -values[::-1], vectors[::-1, ::-1]
    shift = min(float(rates[0]), 0.0)
    values = rates - shift  # ≥ 0, so that LAPACK can work with their roots
    size = float(np.linalg.norm(row))
    z = row / size if size > 0.0 else row
    rho = weight * size**2
    smallest = DEFLATION * np.finfo(np.float64).eps * max(float(values[-1]), rho)
    z, values, rotations = _rotate_equal(values, z.copy(), smallest)
    active = np.flatnonzero(rho * np.abs(z) > smallest)
    vectors, moved = np.eye(len(rates)), values.copy()
    if active.size:
        moved[active], inner = _solve(values[active], z[active], rho)
        vectors[np.ix_(active, active)] = inner
    for i, j, c, s in reversed(rotations):
        first, second = vectors[i].copy(), vectors[j]
        vectors[i], vectors[j] = c * first + s * second, c * second - s * first
    order = np.argsort(moved, kind="stable")
    return moved[order] + shift, vectors if (order == np.arange(len(order))).all() else vectors[:, order]


def _rotate_equal(
    values: Float[np.ndarray, " d"], z: Float[np.ndarray, " d"], smallest: float
) -> tuple[np.ndarray, np.ndarray, list[tuple[int, int, float, float]]]:
    """Where two eigenvalues agree to rounding, turn their plane so that x couples to one of them only."""
    rotations: list[tuple[int, int, float, float]] = []
    values, before = values.copy(), -1
    for i in range(len(values)):
        if z[i] == 0.0:
            continue
        if before >= 0 and values[i] - values[before] <= smallest:
            length = float(np.hypot(z[before], z[i]))
            c, s = float(z[i]) / length, float(z[before]) / length
            rotations.append((before, i, c, s))
            z[before], z[i] = 0.0, length
        before = i
    return z, values, rotations


def _solve(
    values: Float[np.ndarray, " n"], z: Float[np.ndarray, " n"], rho: float
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n n"]]:
    """All roots for distinct eigenvalues that all couple, and the eigenvectors."""
    n, roots = len(values), np.sqrt(values)
    unit = z / np.linalg.norm(z)
    rho = rho * float(z @ z)
    if n == 1:
        return values + rho, np.ones((1, 1))
    (lasd4,) = get_lapack_funcs(("lasd4",), (roots,))
    gaps = np.empty((n, n))  # λ_j − μ_i in row i
    moved = np.empty(n)
    for i in range(n):
        delta, sigma, work, info = lasd4(i, roots, unit, rho=rho)
        if info != 0:
            raise ConvergenceError(f"LAPACK's dlasd4 found no root {i} of a secular equation (info {info}).")
        gaps[i], moved[i] = delta * work, sigma**2
    # ẑ_j² = (μ_n − λ_j) Π_{i<j} (μ_i − λ_j)/(λ_i − λ_j) Π_{j≤i<n} (μ_i − λ_j)/(λ_{i+1} − λ_j): each ratio is positive.
    squares = -gaps[-1]
    for i in range(n - 1):
        other = np.where(np.arange(n) > i, roots[i], roots[i + 1])
        squares = squares * (-gaps[i] / ((other - roots) * (other + roots)))  # as LAPACK sees the λ: by their roots
    weights = np.copysign(np.sqrt(np.maximum(squares, 0.0)), z)
    vectors = np.divide(weights, gaps, out=gaps)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return moved, vectors.T
