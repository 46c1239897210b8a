"""Influence functions: what removing points would do to θ, or to a functional of θ, from derivatives at one θ."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from .._core import RESULTS, Array, InputError, Shown, decide, succeeded
from ..flow import checked_any, trained_optimum
from ..problem import Problem
from ._chunked import for_functional, for_points
from ._deletions import Points
from ._functionals import Functional, functional_curvatures, functional_jacobian, value_shape
from ._point_gradients import PointGradients, point_gradients
from .curvature import (
    AbstractCurvatureSolver,
    AnyCurvature,
    Chunks,
    Curvature,
    CurvatureSolve,
    LinearCurvature,
    Prepared,
    curvature_at,
    said,
)


@dataclass(frozen=True, eq=False, repr=False)
class Influence(Shown):
    """The predicted effect of removing points, and the derivative it rests on.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.influence(problem, points="all").change.shape
        (442, 10)

    Attributes:
        change: predicted change upon removal, θ(0) − θ(1) in units of θ, or φ(θ(0)) − φ(θ(1)) in units of φ. Shape
            (points, d) or (points, q); no first axis for the problem's deleted points (one group) or a single point, no
            last axis for a scalar functional.
        theta_dot: dθ/dε (or dφ(θ(ε))/dε) at the ε where it was evaluated: the derivative with the points' weight,
            *minus* the first-order change. Same shape.
        theta: where, shape (d,).
        gradient_norm: ‖∇R_ε(θ)‖ there. The formulas are those of an optimum; at any other θ they are still what the
            symbols say, but no derivative of θ(ε).
        residual: ‖(C + λ_d I)h − v‖/‖v‖ of each linear solve (the larger of the two for order 2), one per point, or
            per value of the functional, as `solved_for` says.
        result: how each solve ended.
        at: "trained" (ε = 1) or "removed" (ε = 0).
        curvature: which matrix C was.
        damping: λ_d.
        solver: which solver was used.
        solved_for: "points" or "functional": whose gradients were the right-hand sides.
        order: 1 or 2, in ε.
        caution: what makes the answer worth less than it looks, as `Problem.caution` says; mostly empty.
        dtype: in which it was computed.
        error: largest entry of the difference of `change` to the same computed in float64; NaN unless it was asked for.
        chunks: how much was worked on at once, of a model that is not linear.
    """

    change: Float[np.ndarray, "..."] | float
    theta_dot: Float[np.ndarray, "..."] | float
    theta: Float[np.ndarray, " d"]
    gradient_norm: float
    residual: Float[np.ndarray, " solves"]
    result: RESULTS
    at: str
    curvature: str
    damping: float
    solver: str
    solved_for: str
    order: int
    caution: str = ""
    dtype: str = "float64"
    error: float = np.nan
    chunks: Chunks | None = None

    def _figures(self) -> dict[str, object]:
        return self._facts() | said(self.chunks)

    def _facts(self) -> dict[str, object]:
        return {
            "change": self.change,
            "gradient_norm": self.gradient_norm,
            "residual": self.residual.max(),
            "at": self.at,
            "curvature": self.curvature,
            "damping": self.damping,
            "solver": self.solver,
            "order": self.order,
            "result": self.result,
            **({"caution": self.caution} if self.caution else {}),
            **({} if self.dtype == "float64" else {"dtype": self.dtype, "error": self.error}),
        }


@checked_any
def influence(
    problem: Problem,
    theta: Float[Array, " d"] | None = None,
    *,
    at: str = "trained",
    points: Points = None,
    functional: Functional | None = None,
    curvature: str = "hessian",
    damping: float = 0.0,
    solver: str | AbstractCurvatureSolver = "auto",
    order: int = 1,
    max_bytes: int | None = None,
    devices: Sequence[Any] = (),
    estimate_error: bool = False,
    throw: bool = True,
) -> Influence:
    """Predicted change upon removal by the influence function.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.influence(problem).change.shape
        (10,)

    At "trained", Δ = (C + λ_d I)⁻¹ Σ_j g_j at θ(1), g_j = c∇ℓ_j; at "removed" the same formula with the curvature of
    R_0 at θ(0): what θ̇(0) says about the way back.

    θ̇(ε) = −H_ε⁻¹ Σ_j g_j, and for order 2 θ̈ = −H_ε⁻¹(D³R_ε[θ̇, θ̇] + 2∇²(Σ_j cℓ_j)θ̇): Δ₂ = −θ̇(1) + ½θ̈(1), or
    −θ̇(0) − ½θ̈(0). A functional changes by ∇φᵀΔ, for order 2 by ∇φᵀΔ₂ ± ½θ̇ᵀ∇²φ θ̇ (+ at "trained"). If it has fewer
    values than there are points, only its gradients are solved for, and no matrix of the points' gradients is kept.

    Source: implicit differentiation of ∇R_ε(θ(ε)) = 0, the notes' (0.2)–(0.6), where ε = 1 − nε_A in their first part.

    Args:
        problem: what is trained.
        theta: where, shape (d,), optimal or not. Default: the optimum, for convex problems.
        at: "trained": at ε = 1; "removed": at ε = 0 (only for the problem's own deleted points).
        points: None for the problem's deleted points as one group; "all", a number, or a list of numbers for each point
            separately; a list of lists for groups.
        functional: φ, a function of θ with a scalar or vector value, `Losses` or `Predictions`. Default: θ itself.
        curvature: C: "hessian", "ggn", "fisher" or "empirical_fisher"; see `Curvature`. All contain λI.
        damping: λ_d ≥ 0.
        solver: as in `solve`.
        order: 1, or 2 for the second order in ε (undamped Hessian only).
        max_bytes: memory for intermediate arrays (data, θ and the result are not counted) with a model that is not
            linear; default: 1 GiB. Points of the data and right-hand sides are taken in chunks that meet it.
        devices: JAX devices over which the points of the data are spread in equal parts, of a model that is not
            linear; sums over them are taken in another order, and nothing else changes.
        estimate_error: of a problem in float32 or bfloat16: compute a second time in float64, whatever JAX's mode, and
            report the largest difference. Nothing less would hold: a residual is as large as the tolerance that was
            asked for, and what it makes of the answer depends on the condition, which no solver by products knows.
        throw: raise if a linear solve did not converge.

    Raises:
        InputError: a singular or indefinite curvature, negative damping, a point outside the data, a functional that
            does not return a scalar or vector, θ of the wrong shape or with NaN, no θ for a non-convex problem,
            a budget of memory that no chunk meets (with the least that one does).
        ConvergenceError: a solve that missed its tolerance; `.result` holds the solve.
    """
    _check_choices(at, points, curvature, damping, order)
    matrix = matrix_at(problem, theta, at, curvature, damping, max_bytes, devices)
    gradients, prepared = point_gradients(problem, matrix, points), Prepared(matrix, solver)
    found = None
    if not isinstance(matrix, LinearCurvature):
        shape = None if functional is None else value_shape(functional, matrix.theta)
        several = max(gradients.count, math.prod(shape or ()))
        if order == 1 and matrix.chunks is not None and several > matrix.chunks.solves:
            found = _in_chunks(problem, matrix, prepared, gradients, functional, shape, throw=throw)
    if found is None:
        found = _at_once(matrix, prepared, gradients, functional, order, 0.5 if at == "trained" else -0.5, throw=throw)
    error = np.nan
    if estimate_error and problem.dtype != "float64":
        given = {"at": at, "points": points, "functional": functional, "curvature": curvature, "damping": damping}
        with jax.enable_x64(True):
            place = np.asarray(matrix.theta, np.float64)
            more = {"solver": solver, "order": order, "max_bytes": max_bytes, "throw": throw}
            exact = influence(problem.with_dtype("float64"), place, **given, **more)
        error = float(np.abs(exact.change - _shaped(found.change, gradients.single, found.scalar)).max())
    return Influence(
        change=_shaped(found.change, gradients.single, found.scalar),
        theta_dot=_shaped(found.theta_dot, gradients.single, found.scalar),
        theta=np.asarray(matrix.theta),
        gradient_norm=gradients.gradient_norm(),
        residual=found.residual,
        result=found.result,
        at=at,
        curvature=curvature,
        damping=float(damping),
        solver=found.solver,
        solved_for=found.solved_for,
        order=order,
        caution=problem.caution,
        dtype=problem.dtype,
        error=error,
        chunks=None if isinstance(matrix, LinearCurvature) else matrix.chunks,
    )


@dataclass(frozen=True, eq=False)
class _First:
    """A change, the derivative behind it, and how its solves ended; whether φ is one number."""

    change: np.ndarray
    theta_dot: np.ndarray
    residual: np.ndarray
    result: RESULTS
    solver: str
    solved_for: str
    scalar: bool = False


def _at_once(
    matrix: AnyCurvature,
    prepared: Prepared,
    gradients: PointGradients,
    functional: Functional | None,
    order: int,
    half: float,
    *,
    throw: bool,
) -> _First:
    """All right-hand sides together, with the Jacobian of φ."""
    where = np.asarray(matrix.theta)
    jacobian = None if functional is None else functional_jacobian(functional, where)
    scalar = jacobian is not None and jacobian.ndim == 1
    if jacobian is not None and order == 1 and jacobian.size < gradients.count * matrix.dim:
        answer = prepared.solve(np.atleast_2d(jacobian), throw=throw)
        change = gradients.products(answer.solution)
        return _First(change, -change, answer.residual, answer.result, answer.solver, "functional", scalar)
    answer = prepared.solve(gradients.sums(), throw=throw)
    found = _First(answer.solution, -answer.solution, answer.residual, answer.result, answer.solver, "points", scalar)
    if order == 2:
        found = _second(found, prepared, gradients, half, throw=throw)
    if functional is None or jacobian is None:
        return found
    curved = functional_curvatures(functional, where, found.theta_dot) if order == 2 else 0.0
    return _of_functional(found, np.atleast_2d(jacobian), half * curved)


def _in_chunks(
    problem: Problem,
    matrix: Curvature,
    prepared: Prepared,
    gradients: PointGradients,
    functional: Functional | None,
    shape: tuple[int, ...] | None,
    *,
    throw: bool,
) -> _First:
    """Right-hand sides a few at a time, those of the points or of φ, whichever are fewer."""
    count = math.prod(shape or ())
    if functional is not None and count < gradients.count:
        found = for_functional(matrix, prepared, gradients, functional, count, throw=throw)
    else:
        found = for_points(problem, matrix, prepared, gradients, functional, throw=throw)
    ends = found.residual, found.result, found.solver, found.solved_for
    return _First(found.change, -found.change, *ends, scalar=shape == ())


def _second(first: _First, prepared: Prepared, gradients: PointGradients, half: float, *, throw: bool) -> _First:
    """Half of θ̈ more, with the same factor; the larger residual, and the failure if there is one."""
    again: CurvatureSolve = prepared.solve(-gradients.bends(first.theta_dot), throw=throw)
    failed = ~succeeded(first.result)
    return replace(
        first,
        change=first.change + half * again.solution,
        residual=np.maximum(first.residual, again.residual),
        result=decide((failed, first.result), otherwise=again.result),
    )


def _of_functional(first: _First, jacobian: np.ndarray, curved: np.ndarray | float) -> _First:
    """From θ to φ: ∇φᵀΔ, plus what the curvature of φ adds, and ∇φᵀθ̇; shapes (deletions, q)."""
    change = first.change @ jacobian.T
    added = np.reshape(curved, (-1, 1)) if np.ndim(curved) < 2 else np.reshape(curved, change.shape)
    return replace(first, change=change + added, theta_dot=first.theta_dot @ jacobian.T)


def _check_choices(at: str, points: Any, curvature: str, damping: Any, order: int) -> None:
    """Refuse choices that do not go together."""
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


def matrix_at(
    problem: Problem,
    theta: Any,
    at: str,
    curvature: str,
    damping: Any,
    max_bytes: int | None,
    devices: Sequence[Any] = (),
) -> AnyCurvature:
    """C + λ_d I at the optimum that is looked from."""
    eps = 1.0 if at == "trained" else 0.0
    place = trained_optimum(problem, theta, eps=eps) if theta is None else theta
    return curvature_at(problem, place, curvature, damping=damping, eps=eps, max_bytes=max_bytes, devices=devices)


def _shaped(array: np.ndarray, single: bool, scalar: bool) -> Any:
    array = array[:, 0] if scalar else array
    return array[0] if single else array
