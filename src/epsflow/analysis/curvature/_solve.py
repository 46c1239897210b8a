"""`solve`: (C + λ_d I)h = v by the solver of that name, with its residual, or an error."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..._core import RESULTS, Array, ConvergenceError, InputError, message
from ._curvature import DENSE_LIMIT, Curvature
from ._ekfac import EKFAC as EKFAC
from ._exact_solvers import (
    CG as CG,
    AbstractCurvatureSolver as AbstractCurvatureSolver,
    Cholesky as Cholesky,
    CurvatureSolve as CurvatureSolve,
    Dual as Dual,
)
from ._lissa import LiSSA as LiSSA
from ._nystrom import Nystrom as Nystrom

_NAMED: dict[str, type[AbstractCurvatureSolver]] = {
    "cholesky": Cholesky,
    "cg": CG,
    "dual": Dual,
    "lissa": LiSSA,
    "nystrom": Nystrom,
    "ekfac": EKFAC,
}


def solve(
    curvature: Curvature,
    rhs: Float[Array, "q d"],
    solver: str | AbstractCurvatureSolver = "auto",
    *,
    throw: bool = True,
) -> CurvatureSolve:
    """(C + λ_d I)h = v for every row v of `rhs`, which may outnumber the parameters.

    Args:
        curvature: the matrix, from `curvature_at`.
        rhs: right-hand sides, shape (q, d).
        solver: "cholesky", "cg", "dual", "lissa", "nystrom", "ekfac", one of their classes with its options, or "auto":
            the dual where the matrix has a factor with fewer rows than d and a ridge, else Cholesky where the dense
            matrix fits, else CG. The result names the one that was used.
        throw: raise if a right-hand side did not converge.

    Raises:
        InputError: an unknown solver, a matrix that the solver cannot use (indefinite, singular, too large), NaN in
            `rhs`.
        ConvergenceError: a right-hand side that did not meet the solver's criterion; `.result` holds the solve.
    """
    answer = as_solver(solver, curvature)(curvature, rhs)
    failed = np.flatnonzero(np.asarray(answer.result != RESULTS.successful))
    if not failed.size:
        return answer
    finite = np.isfinite(np.asarray(rhs)).all(axis=1)
    if not finite.all():
        raise InputError(f"right-hand side {int(np.argmin(finite))} of the solve contains NaN or inf.")
    if throw:
        reason = answer.note or message(jax.tree.map(lambda leaf: leaf[failed[0]], answer.result))
        worst = float(jnp.max(answer.residuals[failed]))
        raise ConvergenceError(
            f"{answer.solver}: {failed.size} of {len(rhs)} right-hand sides did not converge (largest residual "
            f"‖(C + λ_d I)h − v‖/‖v‖ = {worst:.2g}): {reason}. "
            "throw=False returns what was reached.",
            answer,
        )
    return answer


def as_solver(solver: str | AbstractCurvatureSolver, curvature: Curvature) -> AbstractCurvatureSolver:
    """The solver meant by a name; "auto" decides by the sizes of the matrix.

    Raises:
        InputError: not a solver.
    """
    if isinstance(solver, AbstractCurvatureSolver):
        return solver
    if solver == "auto":
        rows = curvature.factor_rows
        if rows is not None and rows < curvature.dim and rows <= DENSE_LIMIT and float(curvature.ridge) > 0.0:
            return Dual()
        return Cholesky() if curvature.dim <= DENSE_LIMIT else CG()
    if solver not in _NAMED:
        raise InputError(f"unknown solver {solver!r}: choose auto, {', '.join(_NAMED)}, or pass a solver object.")
    return _NAMED[solver]()
