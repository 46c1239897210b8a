"""`self_influence`: what removing a point would do to its own loss."""

from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float

from .._core import RESULTS, Array, Shown, join
from ..flow import checked_any
from ..problem import Problem
from ._deletions import Points
from ._influence import matrix_at
from ._point_gradients import point_gradients
from .curvature import AbstractCurvatureSolver, Chunks, Curvature, Prepared, said


@dataclass(frozen=True, eq=False, repr=False)
class SelfInfluence(Shown):
    """Predicted change of a point's own loss upon its removal.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]))
        >>> ef.self_influence(line, points="all").values[:2]
        array([0.04166667, 0.04166667])

    Attributes:
        values: c∇ℓᵀ(C + λ_d I)⁻¹∇ℓ, in units of the loss, shape (points,); () for one point or group.
        theta: where, shape (d,).
        residual: of the linear solves, one per point.
        result: how each solve ended.
        curvature: which matrix C was.
        damping: λ_d.
        solver: which solver was used.
        dtype: in which it was computed.
        error: largest difference of a value to the same computed in float64; NaN unless it was asked for.
        chunks: how much was worked on at once, of a model that is not linear.
    """

    values: Float[np.ndarray, "*points"] | float
    theta: Float[np.ndarray, " d"]
    residual: Float[np.ndarray, " solves"]
    result: RESULTS
    curvature: str
    damping: float
    solver: str
    dtype: str = "float64"
    error: float = np.nan
    chunks: Chunks | None = None

    def _figures(self) -> dict[str, object]:
        return self._facts() | said(self.chunks)

    def _facts(self) -> dict[str, object]:
        return {
            "values": self.values,
            "residual": self.residual.max(),
            "curvature": self.curvature,
            "damping": self.damping,
            "solver": self.solver,
            "result": self.result,
            **({} if self.dtype == "float64" else {"dtype": self.dtype, "error": self.error}),
        }


@checked_any
def self_influence(
    problem: Problem,
    theta: Float[Array, " d"] | None = None,
    *,
    points: Points = "all",
    curvature: str = "hessian",
    damping: float = 0.0,
    solver: str | AbstractCurvatureSolver = "auto",
    max_bytes: int | None = None,
    estimate_error: bool = False,
    throw: bool = True,
) -> SelfInfluence:
    """c∇ℓᵀ(C + λ_d I)⁻¹∇ℓ at ε = 1: the predicted rise of a point's (a group's summed) own loss upon its removal.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> int(ef.self_influence(problem).values.argmax())
        382

    For OLS it is ê_j²P_jj, so not the leverage P_jj.

    Args:
        problem: what is trained.
        theta: where, shape (d,). Default: the optimum, for convex problems.
        points: as in `influence`; default: every point.
        curvature, damping, solver, max_bytes, estimate_error, throw: as in `influence`.

    Raises:
        InputError, ConvergenceError: as `influence`.
    """
    matrix = matrix_at(problem, theta, "trained", curvature, damping, max_bytes)
    gradients, prepared = point_gradients(problem, matrix, points), Prepared(matrix, solver)
    most = matrix.chunks.solves if isinstance(matrix, Curvature) and matrix.chunks is not None else gradients.count
    values, ends = [], []
    for start in range(0, gradients.count, most):
        some = gradients if most >= gradients.count else gradients.part(problem, start, start + most)
        sums = some.sums()
        answer = prepared.solve(sums, throw=throw)
        values.append(np.einsum("qd,qd->q", sums, answer.solution) / problem.scale)
        ends.append((answer.residual, answer.result, answer.solver))
    whole, error = values[0][0] if gradients.single else np.concatenate(values), np.nan
    if estimate_error and problem.dtype != "float64":
        given = {"points": points, "curvature": curvature, "damping": damping, "solver": solver}
        with jax.enable_x64(True):
            place = np.asarray(matrix.theta, np.float64)
            exact = self_influence(problem.with_dtype("float64"), place, **given, max_bytes=max_bytes, throw=throw)
        error = float(np.abs(exact.values - whole).max())
    return SelfInfluence(
        values=whole,
        theta=np.asarray(matrix.theta),
        residual=np.concatenate([residual for residual, _, _ in ends]),
        result=join([result for _, result, _ in ends]),
        curvature=curvature,
        damping=float(damping),
        solver=ends[0][2],
        dtype=problem.dtype,
        error=error,
        chunks=matrix.chunks if isinstance(matrix, Curvature) else None,
    )
