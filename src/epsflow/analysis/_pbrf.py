"""`pbrf`: the proximal Bregman response to a deletion, minimised to a certified gradient norm."""

from collections.abc import Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jaxtyping import Float, Int

from .._core import RESULTS, SUCCESS, Array, ConvergenceError, InputError, as_scalar, eigen, message
from ..problem import EmpiricalRisk, Problem, Quadratic
from ._deletions import deletion_sets
from .curvature._curvature import Curvature, curvature_at, require_dense
from .optima._tilted import GaussNewton, bregman_response, gauss_newton
from .optima._trust_region import minimise, pick

FACTOR_NUMBERS = 2**27
"""Numbers (1 GB) that the Jacobian of all outputs may take."""

SINGULAR = RESULTS.singular

SOLVED = 1e-8
"""Residual above which the exact linear solve is not one: the matrix is too ill-conditioned."""

NEGATIVE = (
    "damping is {:g}; λ_d must be ≥ 0: a negative proximal term pushes θ away from θ_s, and the objective is unbounded "
    "below in every direction that the data leave free."
)


class PBRF(eqx.Module):
    """Proximal Bregman responses. Leading axes, where they were asked for: dampings (k), then deletions (q).

    Attributes:
        theta: the minimisers, shape (*k, *q, d).
        change: θ − θ_s, the predicted change upon removal, same shape.
        gradient_norm: ‖∇Q(θ)‖₂ of the PBRF's objective Q, computed at θ, shape (*k, *q).
        tolerance: the norm that was asked for, same shape.
        value: Q(θ) − Q(θ_s), same shape; not above 0 at a minimum.
        iterations: Newton steps (one gradient each); 0 for a closed form. Same shape.
        products: Hessian–vector products, same shape.
        linearised: θ_s + (G + (λ + λ_d)I)⁻¹ Σ_j g_j, exact, shape (*k, *q, d).
        linearised_residual: ‖(G + (λ + λ_d)I)x − Σg_j‖/‖Σg_j‖ of that solve, shape (*k, *q).
        result: how each minimisation ended, shape (*k, *q).
        deletions: the points that each response removes, shape (q, m).
        damping: λ_d, shape (*k).
        method: "closed form" (linear regression) or "newton".
    """

    theta: Float[Array, "*shape d"]
    change: Float[Array, "*shape d"]
    gradient_norm: Float[Array, "*shape"]
    tolerance: Float[Array, "*shape"]
    value: Float[Array, "*shape"]
    iterations: Int[Array, "*shape"]
    products: Int[Array, "*shape"]
    linearised: Float[Array, "*shape d"]
    linearised_residual: Float[Array, "*shape"]
    result: RESULTS
    deletions: Int[np.ndarray, "q m"]
    damping: Float[Array, "*k"]
    method: str = eqx.field(static=True)


def pbrf(
    problem: Problem,
    theta_s: Float[Array, " d"] | np.ndarray,
    *,
    damping: float | int | Sequence[float] | Float[Array, " k"] | np.ndarray,
    delete_bregman: bool = True,
    points: Literal["all"] | Sequence[int] | Int[np.ndarray, " q"] | None = None,
    tol: float = 1e-9,
    max_steps: int = 300,
    matrix: bool = True,
    lanes: int = 1,
    throw: bool = True,
) -> PBRF:
    """argmin 𝓛(θ; θ_s) − Σ_{j∈D} c ℓ_j(θ) + ((λ + λ_d)/2)‖θ − θ_s‖², 𝓛 = c Σ_i D_i(f(θ; x_i), f(θ_s; x_i)).

    D_i(a, b) = ℓ(a, y_i) − ℓ(b, y_i) − ⟨∇ℓ(b, y_i), a − b⟩. θ_s need not be an optimum. The penalty of the problem
    enters as the data do, by its Bregman divergence, (λ/2)‖θ − θ_s‖²: λ adds to λ_d, as it does in the damped GGN
    influence, which is therefore the exact linearisation, and PBRF(λ_d = 0) of ridge regression at its optimum is its
    leave-out optimum.

    Linear regression is solved in closed form. Otherwise trust-region Newton with exact Hessian products,
    preconditioned by the GGN at θ_s, until ‖∇Q(θ)‖ ≤ tol·min(1, ‖Σg_j(θ_s)‖), or rounding of the gradient if that is
    more.

    Args:
        problem: what is trained, and which points are deleted.
        theta_s: parameters, converged or not, shape (d,).
        damping: λ_d ≥ 0, or several (k,). λ + λ_d must be positive unless the model is linear and its GGN regular.
        delete_bregman: False leaves the deleted points' own D_j out of 𝓛 (and their share out of G in `linearised`).
            The objective then contains −ℓ_j as it is, which is concave, so that it may be unbounded below.
        points: None for the problem's deleted points as one group; "all" for every point alone, or the points to be
            removed one at a time (the problem's own deletion then plays no part).
        tol: gradient norm, see above.
        max_steps: Newton steps of each minimisation.
        matrix: False forms no d×d or n×n matrix: no preconditioner, and `linearised` by conjugate gradients.
        lanes: minimisations that run side by side (vmapped). All of them wait for the slowest, so on a CPU one at a
            time is fastest.
        throw: raise if a minimisation did not converge.

    Returns:
        A `PBRF`.

    Raises:
        InputError: θ_s of the wrong shape or with NaN, a point outside the data, no deletion, negative damping, an
            objective that is singular (with its least eigenvalue), a loss not convex in the output, a GGN that would
            not fit.
        ConvergenceError: how many did not converge, and the first; `.result` holds all.

    Source: Bae, Ng, Lo, Ghassemi, Grosse, "If influence functions are the answer, then what is the question?", 2022.
    """
    anchor, dampings = problem.parameters(theta_s, "theta_s"), _dampings(damping)
    sets = deletion_sets(problem, points)
    if isinstance(problem.risk, Quadratic):
        fields, method = _quadratic(problem, anchor, sets, dampings, delete_bregman), "closed form"
    else:
        options = _Options(jnp.asarray(tol), jnp.asarray(max_steps), delete_bregman, matrix, lanes)
        fields, method = _nonlinear(problem, anchor, sets, dampings, options), "newton"
    # Axes that were not asked for are dropped: one damping, one group.
    pick = (0 if np.ndim(damping) == 0 else slice(None), 0 if points is None else slice(None))
    fields = jax.tree.map(lambda leaf: leaf[pick], fields)
    response = PBRF(**fields, deletions=sets, damping=jnp.asarray(damping, dtype=jnp.float64), method=method)
    if throw:
        _throw(response)
    return response


class _Options(eqx.Module):
    tol: Array
    max_steps: Array
    delete_bregman: bool = eqx.field(static=True)
    matrix: bool = eqx.field(static=True)
    lanes: int = eqx.field(static=True)


def _dampings(damping: object) -> Float[np.ndarray, " k"]:
    values = np.atleast_1d(np.asarray(damping, dtype=np.float64))
    if values.ndim != 1 or not values.size or not np.isfinite(values).all():
        raise InputError(f"damping must be a finite number or a vector of them; got {damping!r}.")
    if values.min() < 0.0:
        raise InputError(NEGATIVE.format(values.min()))
    return values


def _throw(response: PBRF) -> None:
    failed = np.flatnonzero(np.asarray(response.result != RESULTS.successful))
    if not failed.size:
        return
    at = tuple(int(i) for i in np.unravel_index(failed[0], response.gradient_norm.shape))
    where = f" (index {list(at)})" if at else ""
    raise ConvergenceError(
        f"{failed.size} of {response.gradient_norm.size} PBRF minimisations failed; the first{where}: "
        f"{message(pick(response.result, at))} (‖∇Q‖ = {float(response.gradient_norm[at]):.2e}, "
        f"asked for {float(response.tolerance[at]):.2e}; moved by {float(jnp.linalg.norm(response.change[at])):.3g}). "
        "More damping makes the objective better conditioned; throw=False keeps what was reached.",
        response,
    )


# --- linear regression: one linear solve per deletion ---


def _quadratic(problem: Problem, anchor: Array, sets: np.ndarray, dampings: np.ndarray, delete_bregman: bool) -> dict:
    require_dense(problem.dim, "the Hessian", "Use fewer features; a matrix-free version exists for other models only.")
    x, y = jnp.asarray(problem.data.x[sets]), jnp.asarray(problem.data.y[sets])
    rows = anchor, x, y, jnp.asarray(dampings)
    risk: Any = problem.risk  # a Quadratic: the caller asked
    fields, least, rounding = _quadratic_rows(risk, *rows, 1.0 if delete_bregman else 2.0)
    worst = np.unravel_index(int(np.argmin(np.asarray(least - rounding))), least.shape)
    if float(least[worst]) <= float(rounding[worst]):
        found = float(least[worst])
        raise InputError(
            f"the PBRF objective without points {sets[worst[1]].tolist()} has no unique minimum at damping "
            f"{dampings[worst[0]]:g}: the least eigenvalue of its Hessian is {found:.3g}. Damping above "
            f"{dampings[worst[0]] + max(-found, 0.0):.3g} makes it positive definite."
        )
    return fields


@eqx.filter_jit
def _quadratic_rows(
    risk: Quadratic, anchor: Array, x: Array, y: Array, dampings: Array, share: float
) -> tuple[dict, Array, Array]:
    """Every damping and deletion: Q is quadratic with Hessian H_1 − share·c X_DᵀX_D + λ_d I and −∇Q(θ_s) = Σ g_j."""
    full = risk.hessian(anchor, 1.0)

    def row(damping: Array, points: Array, targets: Array) -> tuple[dict, Array, Array]:
        removed, identity = risk.scale * points.T @ points, damping * jnp.eye(risk.dim)
        force = risk.scale * points.T @ (points @ anchor - targets)
        matrix = full - share * removed + identity
        change, slope = _solve_refined(matrix, force)
        line, left = _solve_refined(full - (share - 1.0) * removed + identity, force)
        values, zero = eigen(matrix).values, jnp.asarray(0)
        size = jnp.linalg.norm(force)
        fields = {
            "theta": anchor + change,
            "change": change,
            "gradient_norm": jnp.linalg.norm(slope),
            # The rounding of a product with the matrix: no solve can be certified below it.
            "tolerance": risk.dim * jnp.finfo(values.dtype).eps * (values[-1] * jnp.linalg.norm(change) + size),
            "value": -0.5 * force @ change,
            "iterations": zero,
            "products": zero,
            "linearised": anchor + line,
            "linearised_residual": jnp.where(size > 0.0, jnp.linalg.norm(left) / jnp.where(size > 0.0, size, 1.0), 0.0),
            "result": SUCCESS,
        }
        return fields, values[0], risk.dim * jnp.finfo(values.dtype).eps * values[-1]

    over_points = eqx.filter_vmap(row, in_axes=(None, 0, 0))
    return jax.lax.map(lambda damping: over_points(damping, x, y), dampings)


def _solve_refined(matrix: Array, rhs: Array) -> tuple[Array, Array]:
    """matrix⁻¹ rhs with one step of refinement, and its residual."""
    solution = jnp.linalg.solve(matrix, rhs)
    solution = solution + jnp.linalg.solve(matrix, rhs - matrix @ solution)
    return solution, matrix @ solution - rhs


# --- every other model ---


def _nonlinear(problem: Problem, anchor: Array, sets: np.ndarray, dampings: np.ndarray, options: _Options) -> dict:
    curvature, basis = preconditioner(problem, anchor, matrix=options.matrix)
    check_objective(problem, basis, float(dampings.min()))
    chosen = jnp.asarray(sets)
    return _nonlinear_rows(problem.empirical(), curvature, basis, anchor, chosen, jnp.asarray(dampings), options)


def check_objective(problem: Problem, basis: GaussNewton, damping: object) -> float:
    """λ_d, if (λ + λ_d)I + G(θ_s) is positive definite, and λ + λ_d > 0 where the model is not linear.

    Raises:
        InputError: with the least eigenvalue.
    """
    lam = as_scalar(damping, "damping")
    if lam < 0.0:
        raise InputError(NEGATIVE.format(lam))
    least = float(basis.smallest)
    if problem.l2 + lam + least <= 0.0 or (problem.l2 + lam == 0.0 and not problem.convex):
        linear = "" if problem.convex else "; and far from θ_s the outputs of a nonlinear model bound nothing"
        raise InputError(
            f"with damping {lam:g} and l2 = {problem.l2:g} the PBRF objective is singular at θ_s: the least "
            f"eigenvalue of the Gauss–Newton matrix is {least:.3g}{linear}. Give a damping > 0, for instance 1e-3."
        )
    return lam


def preconditioner(problem: Problem, theta: Array, *, matrix: bool = True) -> tuple[Curvature, GaussNewton]:
    """The data's Gauss–Newton matrix at θ as an operator, and its eigendecomposition.

    Raises:
        InputError: a loss that is not convex in the output, or a matrix that would not fit (with its size).
    """
    curvature = curvature_at(problem, theta, "ggn", penalty=False, data=True)
    rows = curvature.factor_rows or 0
    if matrix:
        remedy = "matrix=False needs none."
        require_dense(min(problem.dim, rows), "the Gauss–Newton matrix (or its dual)", remedy)
        if rows < problem.dim and rows * problem.dim > FACTOR_NUMBERS:
            size = 8e-9 * rows * problem.dim
            raise InputError(
                f"the Jacobian of all outputs would be {rows:,} × {problem.dim:,}, {size:.1f} GB; {remedy}"
            )
    return curvature, gauss_newton(curvature, matrix)


@eqx.filter_jit
def _nonlinear_rows(
    risk: EmpiricalRisk,
    curvature: Curvature,
    basis: GaussNewton,
    anchor: Array,
    sets: Array,
    dampings: Array,
    options: _Options,
) -> dict:
    def row(damping: Array, deleted: Array) -> dict:
        objective = bregman_response(risk, anchor, deleted, damping, options.delete_bregman)
        rho, start = objective.rho, jnp.zeros_like(anchor)
        end = minimise(objective, basis, rho, start, options.tol, options.max_steps)
        force = jnp.sum(risk.point_gradients(anchor, deleted), axis=0)
        missing = None if options.delete_bregman else deleted
        line, residual, _ = linear_response(curvature, basis, rho, force, missing)
        return {
            "theta": anchor + end.shift,
            "change": end.shift,
            "gradient_norm": end.gradient_norm,
            "tolerance": end.tolerance,
            "value": end.value,
            "iterations": end.iterations,
            "products": end.products,
            "linearised": anchor + line,
            "linearised_residual": residual,
            "result": end.result,
        }

    def path(damping: Array) -> dict:
        return jax.lax.map(lambda deleted: row(damping, deleted), sets, batch_size=options.lanes)

    return jax.lax.map(path, dampings)


def linear_response(
    curvature: Curvature, basis: GaussNewton, rho: Array, force: Float[Array, " d"], missing: Array | None = None
) -> tuple[Float[Array, " d"], Float[Array, ""], RESULTS]:
    """(G + ρI)⁻¹v, without the points `missing` in G, its relative residual and its status. Traceable.

    The eigendecomposition solves it, and one step of refinement, with a product that does not use it, restores the
    last digits. With points missing, or without eigenvectors, conjugate gradients solve it in the coordinates
    (G + ρI)^½, where the matrix is the identity up to what is missing.
    """
    size = jnp.linalg.norm(force)
    unit = force / jnp.where(size > 0.0, size, 1.0)
    risk: Any = curvature.risk  # an EmpiricalRisk: `preconditioner` keeps the points

    def product(vector: Array) -> Array:
        whole = curvature.mv(vector) + rho * vector
        if missing is None:
            return whole
        weights = jnp.full(missing.shape, risk.scale)
        return whole - curvature.data_product(vector, risk.x[missing], risk.y[missing], weights)

    def approximate(vector: Array) -> Array:
        if missing is None and basis.values.size:
            return basis.power(vector, rho, -1.0)
        half = basis.power(vector, rho, -0.5)
        operator = lx.FunctionLinearOperator(whitened, jax.eval_shape(lambda: half), lx.positive_semidefinite_tag)
        solver = lx.CG(rtol=1e-10, atol=1e-10, norm=lx.internal.two_norm, max_steps=10 * force.shape[0])
        return basis.power(lx.linear_solve(operator, half, solver, throw=False).value, rho, -0.5)

    def whitened(vector: Array) -> Array:
        return basis.power(product(basis.power(vector, rho, -0.5)), rho, -0.5)

    solution = approximate(unit)
    solution = solution + approximate(unit - product(solution))
    residual = jnp.where(size > 0.0, jnp.linalg.norm(product(solution) - unit), 0.0)
    return size * solution, residual, RESULTS.where(residual <= SOLVED, SUCCESS, SINGULAR)
