"""Influence functions: what removing points would do to θ, or to a functional of θ, from derivatives at one θ."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._core import RESULTS, Array, InputError
from ..flow import trained_optimum
from ..problem import Problem
from ._deletions import as_deletions, deletion_gradients, deletion_products, second_order_rhs
from ._functionals import Functional, functional_curvatures, functional_jacobian
from .curvature._curvature import Curvature, curvature_at
from .curvature._solve import AbstractCurvatureSolver, Dual, LiSSA, solve


class Influence(eqx.Module):
    """The predicted effect of removing points, and the derivative it rests on.

    Attributes:
        change: predicted change upon removal, θ(0) − θ(1) in units of θ, or φ(θ(0)) − φ(θ(1)) in units of φ. Shape
            (points, d) or (points, q); no first axis for the problem's deleted points (one group) or a single point, no
            last axis for a scalar functional.
        theta_dot: dθ/dε (or dφ(θ(ε))/dε) at the ε where it was evaluated: the derivative with the points' weight,
            *minus* the first-order change. Same shape.
        theta: where, shape (d,).
        gradient_norm: ‖∇R_ε(θ)‖ there. The formulas are those of an optimum; at any other θ they are still what the
            symbols say, but no derivative of θ(ε).
        residuals: ‖(C + λ_d I)h − v‖/‖v‖ of each linear solve (the larger of the two for order 2), one per point, or
            per value of the functional, as `solved_for` says.
        result: how each solve ended.
        at: "trained" (ε = 1) or "removed" (ε = 0).
        curvature: which matrix C was.
        damping: λ_d.
        solver: which solver was used.
        solved_for: "points" or "functional": whose gradients were the right-hand sides.
        order: 1 or 2, in ε.
    """

    change: Float[Array, "..."]
    theta_dot: Float[Array, "..."]
    theta: Float[Array, " d"]
    gradient_norm: Float[Array, ""]
    residuals: Float[Array, " solves"]
    result: RESULTS
    at: str = eqx.field(static=True)
    curvature: str = eqx.field(static=True)
    damping: float = eqx.field(static=True)
    solver: str = eqx.field(static=True)
    solved_for: str = eqx.field(static=True)
    order: int = eqx.field(static=True)


class SelfInfluence(eqx.Module):
    """Predicted change of a point's own loss upon its removal.

    Attributes:
        values: c∇ℓᵀ(C + λ_d I)⁻¹∇ℓ, in units of the loss, shape (points,); () for one point or group.
        theta: where, shape (d,).
        residuals: of the linear solves, one per point.
        result: how each solve ended.
        curvature: which matrix C was.
        damping: λ_d.
        solver: which solver was used.
    """

    values: Float[Array, "*points"]
    theta: Float[Array, " d"]
    residuals: Float[Array, " solves"]
    result: RESULTS
    curvature: str = eqx.field(static=True)
    damping: float = eqx.field(static=True)
    solver: str = eqx.field(static=True)


def influence(
    problem: Problem,
    *,
    at: str = "trained",
    theta: Float[Array, " d"] | np.ndarray | None = None,
    points: Sequence[Any] | np.ndarray | int | str | None = None,
    functional: Functional | None = None,
    curvature: str = "hessian",
    damping: float = 0.0,
    solver: str | AbstractCurvatureSolver = "auto",
    order: int = 1,
    throw: bool = True,
) -> Influence:
    """Predicted change upon removal by the influence function.

    At "trained", Δ = (C + λ_d I)⁻¹ Σ_j g_j at θ(1), g_j = c∇ℓ_j; at "removed" the same formula with the curvature of
    R_0 at θ(0): what θ̇(0) says about the way back.

    θ̇(ε) = −H_ε⁻¹ Σ_j g_j, and for order 2 θ̈ = −H_ε⁻¹(D³R_ε[θ̇, θ̇] + 2∇²(Σ_j cℓ_j)θ̇): Δ₂ = −θ̇(1) + ½θ̈(1), or
    −θ̇(0) − ½θ̈(0). A functional changes by ∇φᵀΔ, for order 2 by ∇φᵀΔ₂ ± ½θ̇ᵀ∇²φ θ̇ (+ at "trained"). If it has fewer
    values than there are points, only its gradients are solved for, and no matrix of the points' gradients is kept.

    Source: implicit differentiation of ∇R_ε(θ(ε)) = 0, the notes' (0.2)–(0.6), where ε = 1 − nε_A in their first part.

    Args:
        problem: what is trained.
        at: "trained": at ε = 1; "removed": at ε = 0 (only for the problem's own deleted points).
        theta: where, shape (d,), optimal or not. Default: the optimum, for convex problems.
        points: None for the problem's deleted points as one group; "all", a number, or a list of numbers for each point
            separately; a list of lists for groups.
        functional: φ, a function of θ with a scalar or vector value, `Losses` or `Predictions`. Default: θ itself.
        curvature: C: "hessian", "ggn", "fisher" or "empirical_fisher"; see `Curvature`. All contain λI.
        damping: λ_d ≥ 0.
        solver: as in `solve`.
        order: 1, or 2 for the second order in ε (undamped Hessian only).
        throw: raise if a linear solve did not converge.

    Raises:
        InputError: a singular or indefinite curvature, negative damping, a point outside the data, a functional that
            does not return a scalar or vector, θ of the wrong shape or with NaN, no θ for a non-convex problem.
        ConvergenceError: a solve that missed its tolerance; `.result` holds the solve.
    """
    _check_choices(at, points, curvature, damping, order)
    matrix = _matrix(problem, theta, at, curvature, damping, solver)
    deletions = as_deletions(problem, points)
    jacobian = None if functional is None else functional_jacobian(functional, matrix.theta)
    scalar = jacobian is not None and jacobian.ndim == 1
    settings = at, curvature, float(damping)
    if jacobian is not None and order == 1 and jacobian.size < deletions.count * matrix.dim:
        answer = solve(matrix, jacobian[None] if scalar else jacobian, solver, throw=throw)
        change, theta_dot, norm = deletion_products(matrix, deletions, answer.solution)
        outcome = answer.residuals, answer.result, *settings, answer.solver, "functional", order
    else:
        gradients, norm = deletion_gradients(matrix, deletions)
        answer = solve(matrix, gradients, solver, throw=throw)
        change, theta_dot, residuals, result = answer.solution, -answer.solution, answer.residuals, answer.result
        half = 0.5 if at == "trained" else -0.5
        if order == 2:
            again = solve(matrix, second_order_rhs(matrix, deletions, theta_dot), solver, throw=throw)
            change = change + half * again.solution
            residuals, result = _worse(answer, again)
        if functional is not None and jacobian is not None:
            curved = functional_curvatures(functional, matrix.theta, theta_dot) if order == 2 else 0.0
            change, theta_dot = _apply(jnp.atleast_2d(jacobian), change, theta_dot, half * curved)
        outcome = residuals, result, *settings, answer.solver, "points", order
    change, theta_dot = (_shaped(array, deletions.single, scalar) for array in (change, theta_dot))
    return Influence(change, theta_dot, matrix.theta, norm, *outcome)


def self_influence(
    problem: Problem,
    *,
    theta: Float[Array, " d"] | np.ndarray | None = None,
    points: Sequence[Any] | np.ndarray | int | str | None = "all",
    curvature: str = "hessian",
    damping: float = 0.0,
    solver: str | AbstractCurvatureSolver = "auto",
    throw: bool = True,
) -> SelfInfluence:
    """c∇ℓᵀ(C + λ_d I)⁻¹∇ℓ at ε = 1: the predicted rise of a point's (a group's summed) own loss upon its removal.

    For OLS it is ê_j²P_jj, so not the leverage P_jj.

    Args:
        problem: what is trained.
        theta: where, shape (d,). Default: the optimum, for convex problems.
        points: as in `influence`; default: every point.
        curvature, damping, solver, throw: as in `influence`.

    Raises:
        InputError, ConvergenceError: as `influence`.
    """
    matrix = _matrix(problem, theta, "trained", curvature, damping, solver)
    deletions = as_deletions(problem, points)
    gradients, _ = deletion_gradients(matrix, deletions)
    answer = solve(matrix, gradients, solver, throw=throw)
    values = _own(gradients, answer.solution, deletions.rows.scale)
    values = values[0] if deletions.single else values
    return SelfInfluence(
        values, matrix.theta, answer.residuals, answer.result, curvature, float(damping), answer.solver
    )


def _check_choices(at: str, points: Any, curvature: str, damping: Any, order: int) -> None:
    if at not in ("trained", "removed"):
        raise InputError(f"at is {at!r}; choose 'trained' (ε = 1) or 'removed' (ε = 0).")
    if order not in (1, 2):
        raise InputError(f"order is {order!r}; 1 and 2 are available.")
    if order == 2 and (curvature != "hessian" or damping != 0.0):
        raise InputError(
            "the second order in ε is the second derivative of θ(ε), which needs the undamped Hessian; use order=1 "
            f"with curvature={curvature!r} and damping={damping}."
        )
    if at == "removed" and points is not None:
        raise InputError(
            "at='removed' looks back from the optimum without the problem's deleted points; other points have other "
            "such optima. Make a Problem that deletes them, or use at='trained'."
        )


def _matrix(problem: Problem, theta: Any, at: str, curvature: Any, damping: Any, solver: Any) -> Curvature:
    eps = 1.0 if at == "trained" else 0.0
    theta = jnp.asarray(trained_optimum(problem, theta, eps=eps))
    data = solver == "dual" or isinstance(solver, Dual) or (isinstance(solver, LiSSA) and solver.batch is not None)
    return curvature_at(problem, theta, curvature, damping=damping, eps=eps, data=data)


@jax.jit
def _own(gradients: Array, solutions: Array, scale: Array) -> Array:
    return jnp.sum(gradients * solutions, axis=1) / scale


def _worse(first: Any, second: Any) -> tuple[Array, RESULTS]:
    """The larger residual of two solves, and the result of the one that failed, if one did."""
    residuals = jnp.maximum(first.residuals, second.residuals)
    return residuals, _first_failure(first.result, second.result)


@eqx.filter_jit
def _first_failure(first: RESULTS, second: RESULTS) -> RESULTS:
    return jax.vmap(lambda a, b: RESULTS.where(a == RESULTS.successful, b, a))(first, second)


@jax.jit
def _apply(jacobian: Array, change: Array, theta_dot: Array, curved: Array | float) -> tuple[Array, Array]:
    """From θ to φ: ∇φᵀΔ, plus what the curvature of φ adds, and ∇φᵀθ̇; shapes (deletions, q)."""
    first = change @ jacobian.T
    return first + jnp.reshape(curved, (-1, 1) if jnp.ndim(curved) < 2 else first.shape), theta_dot @ jacobian.T


def _shaped(array: Array, single: bool, scalar: bool) -> Array:
    array = array[:, 0] if scalar else array
    return array[0] if single else array
