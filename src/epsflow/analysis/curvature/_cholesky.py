"""(C + λ_d I)h = v by a dense factor, C + λ_d I = LLᵀ: one factorisation for all right-hand sides."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.linalg import get_lapack_funcs

from ..._core import RESULTS, InputError
from ._base import (
    AbstractCurvatureSolver,
    AnyCurvature,
    CurvatureSolve,
    dense,
    judge,
    relative_residuals,
    require_fits,
)
from ._curvature import require_dense
from ._linear import LinearCurvature

WELL_CONDITIONED = 1e-4
"""Least pivot of the scaled matrix from which it may be factored as it is; below, its rows are."""

SOLVED = 1e-6
"""Residual above which a direct solve says nothing: the matrix is singular to working precision."""

UNIT = np.finfo(np.float64).eps


def solved(dtype: Any) -> float:
    """The same for another precision."""
    return max(SOLVED, 1e4 * float(np.finfo(dtype).eps))


@functools.cache
def _lapack(name: str, dtype: Any) -> Any:
    """LAPACK's routine of that name for a type; looked up once, which takes as long as a small solve."""
    return get_lapack_funcs((name,), dtype=dtype)[0]


@dataclass(frozen=True, eq=False)
class Factored:
    """A matrix, and its triangular factor in units in which its diagonal is one.

    Attributes:
        matrix: C + λ_d I.
        widths: the roots of its diagonal, shape (d,).
        triangle: L with C + λ_d I = (widths·L)(widths·L)ᵀ.
    """

    matrix: Float[np.ndarray, "d d"]
    widths: Float[np.ndarray, " d"]
    triangle: Float[np.ndarray, "d d"]


@dataclass(frozen=True, repr=False)
class Cholesky(AbstractCurvatureSolver):
    """Dense C + λ_d I = LLᵀ: O(d³) once; of an ill-conditioned linear model by QR of its rows B, C + λ_d I = BᵀB.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.influence(problem, solver=ef.Cholesky()).change.shape
        (10,)

    What is singular is judged with the diagonal scaled to one, whatever the units of the features. Refuses a matrix
    that is not positive definite with its least eigenvalue and the damping that would make it so.
    """

    def init(self, curvature: AnyCurvature) -> Factored:
        """Factor; `InputError` if the matrix is singular, indefinite, or too large to be formed."""
        require_dense(
            curvature.dim,
            f"the dense {curvature.kind} matrix",
            'Use solver="cg", which needs only products, or for a Gauss–Newton or Fisher matrix of fewer points than '
            'parameters solver="dual".',
        )
        require_fits(curvature, curvature.dim, f"the dense {curvature.kind} matrix")
        matrix = dense(curvature)
        diagonal, d = np.diagonal(matrix), len(matrix)
        if not (diagonal > 0.0).all():
            raise InputError(_not_definite(curvature.kind, matrix))
        widths = np.sqrt(diagonal)
        triangle, failed = _lapack("potrf", matrix.dtype)(matrix / widths / widths[:, None], lower=1, clean=0)
        least = 0.0 if failed else float(np.diagonal(triangle).min()) ** 2
        if least < WELL_CONDITIONED and isinstance(curvature, LinearCurvature) and curvature.factored:
            triangle = np.asfortranarray(_by_rows(curvature, widths).T)
            # A pivot below the rounding of a column of length one carries no digit.
            rounding = UNIT * max(d, 4.0 * np.sqrt(len(curvature.model.x)))
            definite = bool(np.abs(np.diagonal(triangle)).min() > rounding)
        else:
            definite = least > d * np.finfo(matrix.dtype).eps
        if not definite:
            raise InputError(_not_definite(curvature.kind, matrix))
        return Factored(matrix, widths, triangle)

    def compute(self, state: Any, rhs: Float[np.ndarray, "q d"]) -> CurvatureSolve:
        """Two triangular solves for each right-hand side."""
        # Fortran's order on both sides: LAPACK solves in place of the copy, without a transposition.
        scaled = (rhs / state.widths).T
        solution = _lapack("potrs", state.triangle.dtype)(state.triangle, scaled, lower=1)[0].T / state.widths
        residual = relative_residuals(solution @ state.matrix / state.widths, scaled.T)
        return CurvatureSolve(
            solution=solution,
            residual=residual,
            result=judge(residual, solved(residual.dtype), RESULTS.singular),
            steps=np.zeros(len(rhs), np.int64),
            solver="cholesky",
        )


def _by_rows(curvature: LinearCurvature, widths: Float[np.ndarray, " d"]) -> Float[np.ndarray, "d d"]:
    """R of the rows in units of the widths, the ridge among them; no condition is squared."""
    root = np.sqrt(np.broadcast_to(curvature.ridge, len(widths)))
    ridge = np.diag(root / widths)[root > 0.0]
    rows = np.vstack([curvature.factor() / widths, ridge])
    missing = max(0, len(widths) - len(rows))
    return np.asarray(np.linalg.qr(np.vstack([rows, np.zeros((missing, len(widths)))]), mode="r"))


def _not_definite(kind: str, matrix: Float[np.ndarray, "d d"]) -> str:
    values = np.linalg.eigvalsh(matrix)
    least, most = float(values[0]), float(np.abs(values).max())
    if least < -len(values) * UNIT * most:
        return (
            f"the {kind} matrix is indefinite: its least eigenvalue is {least:.3g}, so θ is not a minimum "
            f"and its response to a weight is not defined. Damping above {-least:.3g} makes it positive definite, for "
            f'instance damping={-1.1 * least:.2g}; curvature="ggn" is positive semidefinite by construction.'
        )
    return (
        f"the {kind} matrix is singular: its least eigenvalue is {least:.3g} beside a largest of {most:.3g}, "
        f"so some direction of θ is not determined by the data. damping=δ > 0 raises every eigenvalue by δ and leaves "
        f"that direction where it is; for instance damping={1e-6 * most:.1g} limits the condition number to 1e6."
    )
