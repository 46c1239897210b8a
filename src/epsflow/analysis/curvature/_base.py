"""What every curvature solver is: `init` factors once, `compute` solves as often as asked; and the outcome."""

import abc
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from ..._core import RESULTS, Array, InputError, Shown, Spelled, decide, succeeded
from ._curvature import Curvature
from ._linear import FACTOR_NUMBERS, LinearCurvature

AnyCurvature = Curvature | LinearCurvature
"""C + λ_d I of any model, or of a linear one (in NumPy)."""


@dataclass(frozen=True, eq=False, repr=False)
class CurvatureSolve(Shown):
    """Solutions of (C + λ_d I)h = v, one per row.

    Attributes:
        solution: h, shape (q, d).
        residual: ‖(C + λ_d I)h − v‖/‖v‖, shape (q,), recomputed with the true matrix after the solver had finished.
            For an approximation (Nyström, EK-FAC) it is the distance from the exact solve, which the approximation does
            not try to close; 0 where v = 0.
        result: how each solve ended, by the solver's own criterion, shape (q,).
        steps: iterations of each solve, shape (q,); 0 for direct methods.
        solver: which solver.
        note: what the solver has to say about itself (an estimate, the reason of a failure).
    """

    solution: Float[np.ndarray, "q d"]
    residual: Float[np.ndarray, " q"]
    result: RESULTS
    steps: Int[np.ndarray, " q"]
    solver: str
    note: str = ""

    @property
    def converged(self) -> bool:
        """Whether every right-hand side met the solver's criterion."""
        return bool(succeeded(self.result).all())

    def _facts(self) -> dict[str, object]:
        return {
            "solution": self.solution,
            "solver": self.solver,
            "residual": self.residual.max(),
            "result": self.result,
        }


class AbstractCurvatureSolver(Spelled, abc.ABC):
    """A way of solving (C + λ_d I)h = v for several v at once."""

    @abc.abstractmethod
    def init(self, curvature: AnyCurvature) -> Any:
        """What does not depend on right-hand sides, done once; `InputError` for a matrix that it cannot use."""

    @abc.abstractmethod
    def compute(self, state: Any, rhs: Float[np.ndarray, "q d"]) -> CurvatureSolve:
        """One solution per row of `rhs`; never raises for want of convergence, only for input it cannot use."""


def products(curvature: AnyCurvature, vectors: Float[np.ndarray, "q d"]) -> Float[np.ndarray, "q d"]:
    """(C + λ_d I) applied to each row, without the matrix."""
    return (
        curvature.mm(vectors) if isinstance(curvature, LinearCurvature) else np.asarray(_products(curvature, vectors))
    )


def dense(curvature: AnyCurvature) -> Float[np.ndarray, "d d"]:
    """C + λ_d I as a matrix.

    Of a factor B it is BᵀB, by BLAS, which XLA's product of a matrix with its own transpose does not reach.
    """
    if isinstance(curvature, LinearCurvature):
        return curvature.matrix()
    rows = curvature.factor_rows
    if rows is None or rows * curvature.dim > FACTOR_NUMBERS:
        return np.asarray(_matrix(curvature))
    matrix = factor(curvature)
    gram = matrix.T @ matrix
    gram[np.diag_indices(len(gram))] += np.asarray(curvature.ridge)
    return gram


def factor(curvature: AnyCurvature) -> Float[np.ndarray, "rows d"]:
    """B with C + λ_d I = BᵀB + ridge·I."""
    return curvature.factor() if isinstance(curvature, LinearCurvature) else np.asarray(_factor(curvature))


@eqx.filter_jit
def _products(curvature: Curvature, vectors: Array) -> Float[Array, "q d"]:
    return curvature.mm(vectors)


@eqx.filter_jit
def _matrix(curvature: Curvature) -> Float[Array, "d d"]:
    return curvature.matrix()


@eqx.filter_jit
def _factor(curvature: Curvature) -> Float[Array, "rows d"]:
    return curvature.factor()


def fits(curvature: AnyCurvature, numbers: int) -> bool:
    """Whether an array of so many numbers is within the budget of a curvature that has one."""
    if isinstance(curvature, LinearCurvature) or curvature.chunks is None:
        return True
    return numbers * curvature.theta.dtype.itemsize <= curvature.chunks.max_bytes


def require_fits(curvature: AnyCurvature, rows: int, what: str) -> None:
    """Refuse an array of shape (rows, d) beyond the budget.

    Raises:
        InputError: with its size, and what to use instead.
    """
    if fits(curvature, rows * curvature.dim) or isinstance(curvature, LinearCurvature) or curvature.chunks is None:
        return
    size = rows * curvature.dim * curvature.theta.dtype.itemsize
    raise InputError(
        f"max_bytes is {curvature.chunks.max_bytes:,}, which {what} does not meet: {rows:,} × {curvature.dim:,} "
        f"numbers in {curvature.theta.dtype} need {size:,} bytes. Give as many, or use "
        'solver="cg", which needs only products.'
    )


def relative_residuals(image: Float[np.ndarray, "q d"], rhs: Float[np.ndarray, "q d"]) -> Float[np.ndarray, " q"]:
    """‖image − v‖/‖v‖ row by row; 0 where both vanish."""
    gap = image - rhs
    sizes = np.sqrt(np.einsum("qd,qd->q", rhs, rhs))
    gaps = np.sqrt(np.einsum("qd,qd->q", gap, gap))
    return gaps / np.where(sizes == 0.0, 1.0, sizes)


def rtol_of(curvature: AnyCurvature, wide: float) -> float:
    """The residual to which a solve by products is brought where nobody says: `wide` in float64, what rounding admits.

    A product is off by some u‖C‖‖h‖, which is u times the condition beside v: in float32 (u = 2⁻²³) and with rounded
    operands (2⁻⁷) that leaves 1e-4 and 5 % for conditions of about a thousand and ten.
    """
    return wide if curvature.unit < 1e-10 else 1e-4 if curvature.unit < 1e-4 else 0.05


def held_by(curvature: AnyCurvature, residual: Float[np.ndarray, " q"], rtol: float) -> str:
    """What to do about a residual that rounding may hold up; nothing in float64, whose rounding is far below it."""
    if curvature.unit < 1e-10 or (residual <= rtol).all():
        return ""
    precision = "float32" if curvature.unit < 1e-4 else "bfloat16"
    return (
        f"{precision} rounds products to {curvature.unit:.1g} of the largest eigenvalue, which may hold residuals at "
        f"{residual.max():.1g}: a looser rtol, more damping, or problem.with_dtype('float64') help then; "
    )


def judge(residual: Float[np.ndarray, " q"], rtol: float, otherwise: Any) -> RESULTS:
    """Successful where the residual is at most `rtol`, which NaN is not; shape (q,)."""
    return decide((~(residual <= rtol), otherwise))


def one_ridge(curvature: AnyCurvature, solver: str) -> float:
    """The ridge, for a solver that needs the same one for all parameters.

    Raises:
        InputError: parameters with penalties of their own.
    """
    if np.ndim(curvature.ridge):
        raise InputError(
            f"{solver} needs one penalty for all parameters, and this problem penalises them differently; choose "
            'solver="cholesky" or CG.'
        )
    return float(curvature.ridge)
