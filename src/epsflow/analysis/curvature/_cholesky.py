"""(C + λ_d I)h = v by a dense factor, C + λ_d I = LLᵀ: one factorisation for all right-hand sides."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from jaxtyping import Float

from ..._core import RESULTS, InputError
from ._base import AbstractCurvatureSolver, AnyCurvature, CurvatureSolve, dense, judge, relative_residuals
from ._curvature import require_dense

SOLVED = 1e-6
"""Residual above which a direct solve says nothing: the matrix is singular to working precision."""

UNIT = np.finfo(np.float64).eps


@dataclass(frozen=True, eq=False)
class Factored:
    """A matrix, and the lower triangle of its Cholesky factor."""

    matrix: Float[np.ndarray, "d d"]
    triangle: Float[np.ndarray, "d d"]


@dataclass(frozen=True)
class Cholesky(AbstractCurvatureSolver):
    """Dense C + λ_d I = LLᵀ: O(d³) once.

    Refuses a matrix that is not positive definite with its least eigenvalue and the damping that would make it so.
    """

    def init(self, curvature: AnyCurvature) -> Factored:
        """Factor; `InputError` if the matrix is singular, indefinite, or too large to be formed."""
        require_dense(
            curvature.dim,
            f"the dense {curvature.kind} matrix",
            'Use solver="cg", which needs only products, or for a Gauss–Newton or Fisher matrix of fewer points than '
            'parameters solver="dual".',
        )
        matrix = dense(curvature)
        triangle, failed = scipy.linalg.lapack.dpotrf(matrix, lower=1, clean=0)
        diagonal = np.diagonal(matrix)
        # A pivot below the rounding of the largest diagonal entry carries no digit.
        if failed or not np.diagonal(triangle).min() ** 2 > len(matrix) * UNIT * diagonal.max():
            raise InputError(_not_definite(curvature.kind, matrix))
        return Factored(matrix, triangle)

    def compute(self, state: Any, rhs: Float[np.ndarray, "q d"]) -> CurvatureSolve:
        """Two triangular solves for each right-hand side."""
        # Fortran's order on both sides: LAPACK solves in place of the copy, without a transposition.
        solution = scipy.linalg.lapack.dpotrs(state.triangle, rhs.T, lower=1)[0].T
        residual = relative_residuals(solution @ state.matrix, rhs)
        return CurvatureSolve(
            solution=solution,
            residual=residual,
            result=judge(residual, SOLVED, RESULTS.singular),
            steps=np.zeros(len(rhs), np.int64),
            solver="cholesky",
        )


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
