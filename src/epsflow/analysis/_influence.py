"""Influence functions: what removing points would do to θ, or to a functional of θ, from derivatives at one θ."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from .._core import RESULTS, Array, InputError, Shown, decide, succeeded
from ..flow import checked, trained_optimum
from ..problem import Problem
from ._deletions import Points
from ._functionals import Functional, functional_curvatures, functional_jacobian
from ._point_gradients import PointGradients, point_gradients
from .curvature import AbstractCurvatureSolver, AnyCurvature, CurvatureSolve, Prepared, curvature_at


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
        }


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
    """

    values: Float[np.ndarray, "*points"] | float
    theta: Float[np.ndarray, " d"]
    residual: Float[np.ndarray, " solves"]
    result: RESULTS
    curvature: str
    damping: float
    solver: str

    def _facts(self) -> dict[str, object]:
        return {
            "values": self.values,
            "residual": self.residual.max(),
            "curvature": self.curvature,
            "damping": self.damping,
            "solver": self.solver,
            "result": self.result,
        }


@checked
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
        throw: raise if a linear solve did not converge.

    Raises:
        InputError: a singular or indefinite curvature, negative damping, a point outside the data, a functional that
            does not return a scalar or vector, θ of the wrong shape or with NaN, no θ for a non-convex problem.
        ConvergenceError: a solve that missed its tolerance; `.result` holds the solve.
    """
    _check_choices(at, points, curvature, damping, order)
    matrix = _matrix(problem, theta, at, curvature, damping)
    gradients, where = point_gradients(problem, matrix, points), np.asarray(matrix.theta)
    jacobian = None if functional is None else functional_jacobian(functional, where)
    scalar = jacobian is not None and jacobian.ndim == 1
    prepared = Prepared(matrix, solver)
    if jacobian is not None and order == 1 and jacobian.size < gradients.count * matrix.dim:
        answer = prepared.solve(np.atleast_2d(jacobian), throw=throw)
        change, solved_for = gradients.products(answer.solution), "functional"
        found = _First(change, -change, answer.residual, answer.result)
    else:
        solved_for, answer = "points", prepared.solve(gradients.sums(), throw=throw)
        found = _First(answer.solution, -answer.solution, answer.residual, answer.result)
        half = 0.5 if at == "trained" else -0.5
        if order == 2:
            found = _second(found, prepared, gradients, half, throw=throw)
        if functional is not None and jacobian is not None:
            curved = functional_curvatures(functional, where, found.theta_dot) if order == 2 else 0.0
            found = _of_functional(found, np.atleast_2d(jacobian), half * curved)
    return Influence(
        change=_shaped(found.change, gradients.single, scalar),
        theta_dot=_shaped(found.theta_dot, gradients.single, scalar),
        theta=np.asarray(matrix.theta),
        gradient_norm=gradients.gradient_norm(),
        residual=found.residual,
        result=found.result,
        at=at,
        curvature=curvature,
        damping=float(damping),
        solver=answer.solver,
        solved_for=solved_for,
        order=order,
        caution=problem.caution,
    )


@dataclass(frozen=True, eq=False)
class _First:
    """A change, the derivative behind it, and how its solves ended."""

    change: np.ndarray
    theta_dot: np.ndarray
    residual: np.ndarray
    result: RESULTS


def _second(first: _First, prepared: Prepared, gradients: PointGradients, half: float, *, throw: bool) -> _First:
    """Half of θ̈ more, with the same factor; the larger residual, and the failure if there is one."""
    again: CurvatureSolve = prepared.solve(-gradients.bends(first.theta_dot), throw=throw)
    failed = ~succeeded(first.result)
    return _First(
        change=first.change + half * again.solution,
        theta_dot=first.theta_dot,
        residual=np.maximum(first.residual, again.residual),
        result=decide((failed, first.result), otherwise=again.result),
    )


def _of_functional(first: _First, jacobian: np.ndarray, curved: np.ndarray | float) -> _First:
    """From θ to φ: ∇φᵀΔ, plus what the curvature of φ adds, and ∇φᵀθ̇; shapes (deletions, q)."""
    change = first.change @ jacobian.T
    added = np.reshape(curved, (-1, 1)) if np.ndim(curved) < 2 else np.reshape(curved, change.shape)
    return _First(change + added, first.theta_dot @ jacobian.T, first.residual, first.result)


@checked
def self_influence(
    problem: Problem,
    theta: Float[Array, " d"] | None = None,
    *,
    points: Points = "all",
    curvature: str = "hessian",
    damping: float = 0.0,
    solver: str | AbstractCurvatureSolver = "auto",
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
        curvature, damping, solver, throw: as in `influence`.

    Raises:
        InputError, ConvergenceError: as `influence`.
    """
    matrix = _matrix(problem, theta, "trained", curvature, damping)
    gradients = point_gradients(problem, matrix, points)
    sums = gradients.sums()
    answer = Prepared(matrix, solver).solve(sums, throw=throw)
    values = np.einsum("qd,qd->q", sums, answer.solution) / problem.scale
    return SelfInfluence(
        values=values[0] if gradients.single else values,
        theta=np.asarray(matrix.theta),
        residual=answer.residual,
        result=answer.result,
        curvature=curvature,
        damping=float(damping),
        solver=answer.solver,
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


def _matrix(problem: Problem, theta: Any, at: str, curvature: str, damping: Any) -> AnyCurvature:
    eps = 1.0 if at == "trained" else 0.0
    return curvature_at(problem, trained_optimum(problem, theta, eps=eps), curvature, damping=damping, eps=eps)


def _shaped(array: np.ndarray, single: bool, scalar: bool) -> Any:
    array = array[:, 0] if scalar else array
    return array[0] if single else array
