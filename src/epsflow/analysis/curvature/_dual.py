"""(C + λ_d I)h = v in the space of outputs, by Woodbury's identity."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from jaxtyping import Float

from ..._core import RESULTS, InputError
from ._base import (
    FACTOR_NUMBERS,
    AbstractCurvatureSolver,
    AnyCurvature,
    CurvatureSolve,
    factor,
    judge,
    one_ridge,
    relative_residuals,
    require_fits,
)
from ._cholesky import solved
from ._curvature import require_dense


@dataclass(frozen=True, eq=False)
class OutputSpace:
    """B, the Cholesky factor of BBᵀ + μI, and μ."""

    rows: Float[np.ndarray, "rows d"]
    triangle: Float[np.ndarray, "rows rows"]
    ridge: float

    def solve(self, vectors: Float[np.ndarray, "q d"]) -> Float[np.ndarray, "q d"]:
        """(v − Bᵀ(BBᵀ + μI)⁻¹Bv)/μ."""
        inner = scipy.linalg.cho_solve((self.triangle, True), self.rows @ vectors.T, check_finite=False)
        return (vectors - inner.T @ self.rows) / self.ridge

    def product(self, vectors: Float[np.ndarray, "q d"]) -> Float[np.ndarray, "q d"]:
        """(BᵀB + μI)v."""
        return (vectors @ self.rows.T) @ self.rows + self.ridge * vectors


@dataclass(frozen=True, repr=False)
class Dual(AbstractCurvatureSolver):
    """The exact solve in the space of outputs, (BᵀB + μI)⁻¹v = (v − Bᵀ(BBᵀ + μI)⁻¹Bv)/μ (Woodbury), refined once.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.influence(problem, curvature="ggn", damping=0.1, solver=ef.Dual()).change.shape
        (10,)

    B stacks the n·outputs rows √w_i L_iᵀJ_i of a Gauss–Newton, Fisher or empirical Fisher matrix and μ = λ + λ_d > 0.
    Cheaper than Cholesky when n·outputs < d: O((n·outputs)²d). B is held, and refused where it exceeds `max_bytes`.
    """

    def init(self, curvature: AnyCurvature) -> OutputSpace:
        """Factor; `InputError` for a Hessian, for μ = 0, or if the factor would not fit."""
        rows, ridge = curvature.factor_rows, one_ridge(curvature, "Dual")
        if rows is None:
            raise InputError(
                'the dual needs a factor C = BᵀB + μI, which a Hessian does not have. Use curvature="ggn" (the same '
                "matrix for a linear model with a convex loss)."
            )
        if ridge <= 0.0:
            raise InputError(
                "the dual divides by λ + λ_d, which is 0 here: with fewer outputs than parameters the matrix is "
                "singular. Give a damping > 0."
            )
        require_dense(rows, "the dual's Gram matrix (points × outputs)", 'Use solver="cg".')
        if rows * curvature.dim > FACTOR_NUMBERS:
            raise InputError(
                f"the dual's factor would be {rows:,} × {curvature.dim:,}, {8e-9 * rows * curvature.dim:.1f} GB. "
                'Use solver="cg", which needs only products.'
            )
        require_fits(curvature, rows, "the dual's factor")
        matrix = factor(curvature)
        gram = matrix @ matrix.T
        gram[np.diag_indices(len(gram))] += ridge
        return OutputSpace(matrix, np.linalg.cholesky(gram), ridge)

    def compute(self, state: Any, rhs: Float[np.ndarray, "q d"]) -> CurvatureSolve:
        """Solve twice: v − Bᵀ(…) cancels when μ ≪ ‖C‖, and one step of refinement restores the digits."""
        solution = state.solve(rhs)
        solution = solution + state.solve(rhs - state.product(solution))
        residual = relative_residuals(state.product(solution), rhs)
        return CurvatureSolve(
            solution=solution,
            residual=residual,
            result=judge(residual, solved(residual.dtype), RESULTS.singular),
            steps=np.zeros(len(rhs), np.int64),
            solver="dual",
        )
