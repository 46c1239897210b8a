"""Three ways to a proximal Bregman response: in closed form, many side by side, one by a trust-region search."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ..._core import RESULTS, InputError
from ...problem import Problem
from ..curvature import require_dense
from ._anchor import UNIT, Anchor
from ._bregman import bregman_responses
from ._removal import Removal, remove
from ._tilted import bregman_response
from ._trust_region import minimise


@dataclass(frozen=True, eq=False)
class Response:
    """One deletion; the fields of `PBRF`."""

    theta: np.ndarray
    change: np.ndarray
    gradient_norm: float
    tolerance: float
    value: float
    steps: int
    products: int
    linearised: np.ndarray
    linearised_residual: float
    linearised_products: int
    result: RESULTS


def quadratic_responses(
    problem: Problem, anchor: Float[np.ndarray, " d"], sets: Int[np.ndarray, "q m"], lam: float, *, delete_bregman: bool
) -> list[Response]:
    """Linear regression: Q is quadratic with Hessian H_1 − share·c X_DᵀX_D + λ_d I and −∇Q(θ_s) = Σ g_j.

    Raises:
        InputError: that matrix is not positive definite.
    """
    require_dense(problem.dim, "the Hessian", "Use fewer features; a matrix-free version exists for other models only.")
    try:
        once = remove(problem, anchor, sets, lam)
        whole = once if delete_bregman else once.twice()
    except InputError as error:
        raise InputError(f"the PBRF objective has no unique minimum at damping {lam:g}: {error}") from error
    if not whole.definite.all():
        _refuse(whole, sets, lam)
    return _solved(anchor, once, whole, lam, delete_bregman=delete_bregman)


def _refuse(whole: Removal, sets: np.ndarray, damping: float) -> None:
    first = int(np.argmin(whole.definite))
    matrix = whole.hessian - whole.rows[first].T @ whole.rows[first] + damping * np.eye(len(whole.hessian))
    least = float(np.linalg.eigvalsh(matrix)[0])
    raise InputError(
        f"the PBRF objective without points {sets[first].tolist()} has no unique minimum at damping "
        f"{damping:g}: the least eigenvalue of its Hessian is {least:.3g}. Damping above "
        f"{damping + max(-least, 0.0):.3g} makes it positive definite."
    )


def _solved(
    anchor: np.ndarray, once: Removal, whole: Removal, damping: float, *, delete_bregman: bool
) -> list[Response]:
    """One Newton step with what is left of H_1 + λ_d I, from the factor that all linear regression shares."""
    forces, d = once.pulls, anchor.size
    changes = whole.solve(forces)
    lines = forces @ once.inverse @ once.inverse.T if delete_bregman else once.solve(forces)
    diagonal = np.diag_indices(d)
    responses = []
    for k, force in enumerate(forces):
        matrix = whole.hessian - whole.rows[k].T @ whole.rows[k]
        linear = whole.hessian.copy() if delete_bregman else whole.hessian - once.rows[k].T @ once.rows[k]
        matrix[diagonal] += damping
        linear[diagonal] += damping
        size, length = float(np.linalg.norm(force)), float(np.linalg.norm(changes[k]))
        left = float(np.linalg.norm(linear @ lines[k] - force))
        responses.append(
            Response(
                theta=anchor + changes[k],
                change=changes[k],
                gradient_norm=float(np.linalg.norm(matrix @ changes[k] - force)),
                # The rounding of a product with the matrix: no solve can be certified below it.
                tolerance=d * UNIT * (float(np.linalg.norm(matrix)) * length + size),
                value=-0.5 * float(force @ changes[k]),
                steps=0,
                products=0,
                linearised=anchor + lines[k],
                linearised_residual=left / size if size > 0.0 else 0.0,
                linearised_products=0,
                result=RESULTS.successful,
            )
        )
    return responses


def responses_side_by_side(
    problem: Problem, theta: Float[np.ndarray, " d"], sets: Int[np.ndarray, "q m"], damping: float, *, tol: float
) -> list[Response | None]:
    """Of a linear model under a convex loss; None for those that did not arrive.

    Raises:
        InputError: G + (λ + λ_d)I is not positive definite.
    """
    found = bregman_responses(problem, theta, sets, damping, tol)
    return [
        Response(
            theta=theta + found.change[k],
            change=found.change[k],
            gradient_norm=float(found.gradient_norm[k]),
            tolerance=float(found.tolerance[k]),
            value=float(found.value[k]),
            steps=int(found.steps[k]),
            products=0,
            linearised=theta + found.line[k],
            linearised_residual=float(found.residual[k]),
            linearised_products=0,
            result=RESULTS.successful,
        )
        if found.arrived[k]
        else None
        for k in range(len(sets))
    ]


def searched_response(
    anchor: Anchor, deleted: Int[np.ndarray, " m"], damping: float, *, tol: float, max_steps: int, delete_bregman: bool
) -> Response:
    """By a trust-region search."""
    objective = bregman_response(anchor, deleted, damping, delete_bregman=delete_bregman)
    start = np.zeros_like(anchor.theta)
    end = minimise(objective, anchor.basis, objective.rho, start, tol=tol, max_steps=max_steps)
    missing = None if delete_bregman else deleted
    line = anchor.respond(objective.rho, anchor.pull(deleted), missing)
    return Response(
        theta=anchor.theta + end.shift,
        change=end.shift,
        gradient_norm=end.gradient_norm,
        tolerance=end.tolerance,
        value=end.value,
        steps=end.steps,
        products=end.products,
        linearised=anchor.theta + line.solution,
        linearised_residual=line.residual,
        linearised_products=line.products if not anchor.basis.values.size else 0,
        result=end.result,
    )
