"""`solve`: (C + λ_d I)h = v by the solver of that name, with its residual, or an error."""

import functools
from typing import Any

import numpy as np
from jaxtyping import Float

from ..._core import Array, ConvergenceError, InputError, brief, message, pick, succeeded
from ...problem import DENSE_LIMIT
from ._base import FACTOR_NUMBERS, AbstractCurvatureSolver, AnyCurvature, CurvatureSolve, fits
from ._cg import CG
from ._cholesky import Cholesky
from ._dual import Dual
from ._ekfac import EKFAC
from ._lissa import LiSSA
from ._nystrom import Nystrom

_NAMED: dict[str, type[AbstractCurvatureSolver]] = {
    "cholesky": Cholesky,
    "cg": CG,
    "dual": Dual,
    "lissa": LiSSA,
    "nystrom": Nystrom,
    "ekfac": EKFAC,
}


class Prepared:
    """A curvature ready to be solved with: what is factored once is not factored again for other right-hand sides."""

    def __init__(self, curvature: AnyCurvature, solver: str | AbstractCurvatureSolver = "auto"):
        self.solver: AbstractCurvatureSolver = as_solver(solver, curvature)
        self.state: Any = self.solver.init(curvature)

    def solve(self, rhs: Float[Array, "q d"], *, throw: bool = True) -> CurvatureSolve:
        """(C + λ_d I)h = v for every row v of `rhs`.

        Raises:
            InputError, ConvergenceError: as `solve`.
        """
        vectors = np.asarray(rhs)
        answer = self.solver.compute(self.state, vectors)
        if answer.converged:
            return answer
        failed = np.flatnonzero(~succeeded(answer.result))
        finite = np.isfinite(vectors).all(axis=1)
        if not finite.all():
            raise InputError(f"right-hand side {int(np.argmin(finite))} of the solve contains NaN or inf.")
        if throw:
            reason = answer.note or message(pick(answer.result, failed[0]))
            raise ConvergenceError(
                f"{answer.solver}: {failed.size} of {len(vectors)} right-hand sides did not converge (largest residual "
                f"‖(C + λ_d I)h − v‖/‖v‖ = {answer.residual[failed].max():.2g}): {reason}. "
                "throw=False returns what was reached.",
                answer,
            )
        return answer


def solve(
    curvature: AnyCurvature,
    rhs: Float[Array, "q d"],
    solver: str | AbstractCurvatureSolver = "auto",
    *,
    throw: bool = True,
) -> CurvatureSolve:
    """(C + λ_d I)h = v for every row v of `rhs`, which may outnumber the parameters; `Prepared` for several calls.

    Args:
        curvature: the matrix, from `curvature_at`.
        rhs: right-hand sides, shape (q, d).
        solver: "cholesky", "cg", "dual", "lissa", "nystrom", "ekfac", one of their classes with its options, or "auto":
            the dual where the matrix has a ridge and a factor with fewer rows than d that fits into memory, else
            Cholesky where the dense matrix does, else CG. The result names the one that was used.
        throw: raise if a right-hand side did not converge.

    Raises:
        InputError: an unknown solver, a matrix that the solver cannot use (indefinite, singular, too large), NaN in
            `rhs`.
        ConvergenceError: a right-hand side that did not meet the solver's criterion; `.result` holds the solve.
    """
    return Prepared(curvature, solver).solve(rhs, throw=throw)


def as_solver(solver: str | AbstractCurvatureSolver, curvature: AnyCurvature) -> AbstractCurvatureSolver:
    """The solver meant by a name; "auto" decides by the sizes of the matrix.

    Raises:
        InputError: not a solver.
    """
    if isinstance(solver, AbstractCurvatureSolver):
        return solver
    if not isinstance(solver, str):
        raise InputError(f"solver is {brief(solver)}: choose auto, {', '.join(_NAMED)}, or pass a solver object.")
    if solver == "auto":
        rows, d = curvature.factor_rows, curvature.dim
        if rows is not None and rows < d and rows <= DENSE_LIMIT and _ridged(curvature) and _held(curvature, rows):
            return _default("dual")
        return _default("cholesky" if d <= DENSE_LIMIT and fits(curvature, d * d) else "cg")
    if solver not in _NAMED:
        raise InputError(f"unknown solver {solver!r}: choose auto, {', '.join(_NAMED)}, or pass a solver object.")
    return _default(solver)


@functools.cache
def _default(name: str) -> AbstractCurvatureSolver:
    """The solver of that name with its defaults; made once, since a module takes longer to make than a small solve."""
    return _NAMED[name]()


def _held(curvature: AnyCurvature, rows: int) -> bool:
    """Whether a factor with so many rows may be in memory."""
    return rows * curvature.dim <= FACTOR_NUMBERS and fits(curvature, rows * curvature.dim)


def _ridged(curvature: AnyCurvature) -> bool:
    """Whether the same positive number is added for every parameter."""
    return np.ndim(curvature.ridge) == 0 and float(curvature.ridge) > 0.0
