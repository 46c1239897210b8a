"""(C + λ_d I)h = v by methods that are exact up to a tolerance: dense Cholesky, conjugate gradients, and the dual."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jaxtyping import Float, Int

from ..._core import RESULTS, Array, InputError
from ._curvature import Curvature, require_dense

_SOLVED = 1e-6
"""Residual above which a direct solve says nothing: the matrix is singular to working precision."""

_FACTOR_NUMBERS = 2**27
"""Numbers (1 GB) that a factor B may take."""


class CurvatureSolve(eqx.Module):
    """Solutions of (C + λ_d I)h = v, one per row.

    Attributes:
        solution: h, shape (q, d).
        residuals: ‖(C + λ_d I)h − v‖/‖v‖, shape (q,), recomputed with the true matrix after the solver had finished.
            For an approximation (Nyström, EK-FAC) it is the distance from the exact solve, which the approximation does
            not try to close; 0 where v = 0.
        result: how each solve ended, by the solver's own criterion, shape (q,).
        steps: iterations of each solve, shape (q,); 0 for direct methods.
        solver: which solver.
        note: what the solver has to say about itself (an estimate, the reason of a failure).
    """

    solution: Float[Array, "q d"]
    residuals: Float[Array, " q"]
    result: RESULTS
    steps: Int[Array, " q"]
    solver: str = eqx.field(static=True)
    note: str = eqx.field(static=True, default="")

    @property
    def converged(self) -> bool:
        """Whether every right-hand side met the solver's criterion."""
        return bool(jnp.all(self.result == RESULTS.successful))


class AbstractCurvatureSolver(eqx.Module):
    """A way of solving (C + λ_d I)h = v for several v at once."""

    @abc.abstractmethod
    def __call__(self, curvature: Curvature, rhs: Float[Array, "q d"]) -> CurvatureSolve:
        """One solution per row of `rhs`; never raises for want of convergence, only for input it cannot use."""


def relative_residuals(image: Float[Array, "q d"], rhs: Float[Array, "q d"]) -> Float[Array, " q"]:
    """‖image − v‖/‖v‖ row by row; 0 where both vanish."""
    size = jnp.linalg.norm(rhs, axis=1)
    gap = jnp.linalg.norm(image - rhs, axis=1)
    return jnp.where(gap == 0.0, 0.0, gap / jnp.where(size == 0.0, 1.0, size))


@eqx.filter_jit
def judge(residuals: Float[Array, " q"], rtol: Any, otherwise: Any) -> RESULTS:
    """Successful where the residual is at most `rtol`, which NaN is not; shape (q,)."""
    return jax.vmap(_verdict, (0, None, None))(residuals, rtol, otherwise)


def _verdict(residual: Array, rtol: Any, otherwise: Any) -> RESULTS:
    met: Any = RESULTS.successful
    return RESULTS.where(residual <= rtol, met, otherwise)


class Cholesky(AbstractCurvatureSolver):
    """Dense C + λ_d I = LLᵀ, one factorisation for all right-hand sides: O(d³).

    Refuses a matrix that is not positive definite with its least eigenvalue and the damping that would make it so.
    """

    def __call__(self, curvature: Curvature, rhs: Float[Array, "q d"]) -> CurvatureSolve:
        """Solve; `InputError` if the matrix is singular, indefinite, or too large to be formed."""
        require_dense(
            curvature.dim,
            f"the dense {curvature.kind} matrix",
            'Use solver="cg", which needs only products, or for a Gauss–Newton or Fisher matrix of fewer points than '
            'parameters solver="dual".',
        )
        solution, residuals, result, definite = _cholesky(curvature, rhs)
        if not bool(definite):
            raise InputError(_not_definite(curvature))
        return CurvatureSolve(solution, residuals, result, jnp.zeros(len(rhs), int), "cholesky")


class CG(AbstractCurvatureSolver):
    """Conjugate gradients (lineax), one independent iteration per right-hand side: each stops on its own residual.

    A converged column is frozen while the others go on. Only products are needed. An indefinite matrix is refused when
    a solution shows it (hᵀv ≤ 0); unlike Cholesky, CG cannot see every negative eigenvalue.

    Attributes:
        rtol: ‖(C + λ_d I)h − v‖ ≤ rtol·‖v‖.
        max_steps: iterations per right-hand side; None for 10·d.
    """

    rtol: float = eqx.field(static=True, default=1e-10)
    max_steps: int | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        if not 0.0 < self.rtol < 1.0:
            raise InputError(f"CG: rtol is {self.rtol}; it must lie between 0 and 1.")
        if self.max_steps is not None and self.max_steps < 1:
            raise InputError(f"CG: max_steps is {self.max_steps}; at least one step is needed.")

    def __call__(self, curvature: Curvature, rhs: Float[Array, "q d"]) -> CurvatureSolve:
        """Solve; `InputError` if a solution shows that the matrix is indefinite."""
        limit = 10 * curvature.dim if self.max_steps is None else self.max_steps
        solution, residuals, steps = _cg(curvature, rhs, self.rtol, limit)
        energy, norms = np.asarray(_energies(solution, rhs))
        down = np.flatnonzero((energy < 0.0) & np.asarray(residuals <= self.rtol))
        if down.size:
            worst = float((energy[down] / norms[down]).min())
            raise InputError(
                f"the {curvature.kind} matrix is indefinite: along a solution its curvature is {worst:.3g}, so θ is "
                f"not a minimum. Damping must exceed {-worst:.3g}, possibly by much (Cholesky tells the least "
                'eigenvalue); or use curvature="ggn".'
            )
        result = judge(residuals, self.rtol, RESULTS.max_steps_reached)
        note = f"at most {limit} steps per right-hand side; more steps, more damping or a looser rtol help"
        return CurvatureSolve(solution, residuals, result, steps, "cg", note)


class Dual(AbstractCurvatureSolver):
    """The exact solve in the space of outputs, (BᵀB + μI)⁻¹v = (v − Bᵀ(BBᵀ + μI)⁻¹Bv)/μ (Woodbury), refined once.

    B stacks the n·outputs rows √w_i L_iᵀJ_i of a Gauss–Newton, Fisher or empirical Fisher matrix and μ = λ + λ_d > 0.
    Cheaper than Cholesky when n·outputs < d: O((n·outputs)²d).
    """

    def __call__(self, curvature: Curvature, rhs: Float[Array, "q d"]) -> CurvatureSolve:
        """Solve; `InputError` for a Hessian, for μ = 0, or if the factor would not fit."""
        rows = curvature.factor_rows
        if rows is None:
            raise InputError(
                'the dual needs a factor C = BᵀB + μI, which a Hessian does not have. Use curvature="ggn" (the same '
                "matrix for a linear model with a convex loss)."
            )
        if float(curvature.ridge) <= 0.0:
            raise InputError(
                "the dual divides by λ + λ_d, which is 0 here: with fewer outputs than parameters the matrix is "
                "singular. Give a damping > 0."
            )
        require_dense(rows, "the dual's Gram matrix (points × outputs)", 'Use solver="cg".')
        if rows * curvature.dim > _FACTOR_NUMBERS:
            raise InputError(
                f"the dual's factor would be {rows:,} × {curvature.dim:,}, {8e-9 * rows * curvature.dim:.1f} GB. "
                'Use solver="cg", which needs only products.'
            )
        solution, residuals, result = _dual(curvature, rhs)
        return CurvatureSolve(solution, residuals, result, jnp.zeros(len(rhs), int), "dual")


@eqx.filter_jit
def _cholesky(curvature: Curvature, rhs: Array) -> tuple[Array, Array, RESULTS, Array]:
    matrix = curvature.matrix()
    factor = jnp.linalg.cholesky(matrix, symmetrize_input=False)
    # A pivot below the rounding of the largest diagonal entry carries no digit; NaN, from a negative one, fails too.
    pivots = jnp.diagonal(factor) ** 2
    definite = jnp.min(pivots) > curvature.dim * jnp.finfo(matrix.dtype).eps * jnp.max(jnp.diagonal(matrix))
    solution = jax.scipy.linalg.cho_solve((factor, True), rhs.T).T
    residuals = relative_residuals(solution @ matrix, rhs)
    return solution, residuals, judge(residuals, _SOLVED, RESULTS.singular), definite


_matrix = eqx.filter_jit(lambda curvature: curvature.matrix())


def _not_definite(curvature: Curvature) -> str:
    values = np.linalg.eigvalsh(np.asarray(_matrix(curvature)))
    least, most = float(values[0]), float(np.abs(values).max())
    rounding = curvature.dim * 2.2e-16 * most
    if least < -rounding:
        return (
            f"the {curvature.kind} matrix is indefinite: its least eigenvalue is {least:.3g}, so θ is not a minimum "
            f"and its response to a weight is not defined. Damping above {-least:.3g} makes it positive definite, for "
            f'instance damping={-1.1 * least:.2g}; curvature="ggn" is positive semidefinite by construction.'
        )
    return (
        f"the {curvature.kind} matrix is singular: its least eigenvalue is {least:.3g} beside a largest of {most:.3g}, "
        f"so some direction of θ is not determined by the data. damping=δ > 0 raises every eigenvalue by δ and leaves "
        f"that direction where it is; for instance damping={1e-6 * most:.1g} limits the condition number to 1e6."
    )


@eqx.filter_jit
def _cg(curvature: Curvature, rhs: Array, rtol: float, limit: int) -> tuple[Array, Array, Array]:
    # In units where the matrix and the right-hand side are of order one: lineax compares with absolute thresholds.
    probe = jnp.cos(jnp.arange(curvature.dim) + 1.0)
    unit = jnp.linalg.norm(curvature.mv(probe)) / jnp.linalg.norm(probe)
    unit = jnp.where(unit > 0.0, unit, 1.0)
    operator = lx.TaggedLinearOperator(curvature.operator() / unit, lx.positive_semidefinite_tag)
    # lineax's elementwise scale rtol·(1 + |v|) is at most 2·rtol for ‖v‖ = 1.
    solver = lx.CG(rtol=0.25 * rtol, atol=0.25 * rtol, norm=lx.internal.two_norm, max_steps=limit)

    def one(vector: Array) -> tuple[Array, Array]:
        size = jnp.linalg.norm(vector)
        size = jnp.where(size > 0.0, size, 1.0)
        solution = lx.linear_solve(operator, vector / size, solver, throw=False)
        return solution.value * (size / unit), solution.stats["num_steps"]

    solution, steps = jax.vmap(one)(rhs)
    return solution, relative_residuals(curvature.mm(solution), rhs), steps


@jax.jit
def _energies(solution: Array, rhs: Array) -> Array:
    return jnp.stack([jnp.sum(solution * rhs, axis=1), jnp.sum(solution**2, axis=1)])


@eqx.filter_jit
def _dual(curvature: Curvature, rhs: Array) -> tuple[Array, Array, RESULTS]:
    factor, ridge = curvature.factor(), curvature.ridge
    gram = jax.scipy.linalg.cho_factor(factor @ factor.T + ridge * jnp.eye(len(factor)), lower=True)

    def solve(vectors: Array) -> Array:
        return (vectors - jax.scipy.linalg.cho_solve(gram, factor @ vectors.T).T @ factor) / ridge

    def product(vectors: Array) -> Array:
        return (vectors @ factor.T) @ factor + ridge * vectors

    # v − Bᵀ(…) cancels when μ ≪ ‖C‖; one step of refinement restores the digits.
    solution = solve(rhs)
    solution = solution + solve(rhs - product(solution))
    residuals = relative_residuals(product(solution), rhs)
    return solution, residuals, judge(residuals, _SOLVED, RESULTS.singular)
