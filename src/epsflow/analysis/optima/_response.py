"""The response θ(ε) of the optimum to the weight of the deleted points: its path from ε = 1 to 0, and its Jacobian."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._core import RESULTS, ConvergenceError, InputError, message
from ...problem import AbstractRisk, Problem
from .._deletions import require_deletion
from ._stationary import newton, rounding_of, trained_optimum

CORRECTOR_STEPS = 40
BISECTIONS = 30
JUMP = 10.0
"""A corrector that moves further than this many predictor steps has left the path."""


class ResponsePath(eqx.Module):
    """θ(ε) along a grid of weights.

    Attributes:
        eps: the nodes, shape (k,).
        thetas: θ(ε), shape (k, d); NaN from the breakdown on, like what follows.
        theta_dot: θ̇(ε) = dθ/dε, shape (k, d).
        theta_ddot: θ̈(ε), shape (k, d).
        gradient_norms: ‖∇R_ε(θ(ε))‖₂, computed afresh, shape (k,).
        smallest_curvatures: least eigenvalue of H_ε, shape (k,).
        slope_change: ‖θ̇(first) − θ̇(last)‖ over the nodes reached.
        bound: max ‖θ̈(ε)‖ over these nodes times their span of ε. The notes' inequality says slope_change ≤ the
            maximum over *all* ε between; on a grid that maximum is approached from below.
        breakdown: two weights (ε_a, ε_b): the path was followed to ε_a and not to ε_b. NaN where it never broke.
        result: successful; singular (H_ε ceases to be positive definite); or not_stationary (the corrector failed).
    """

    eps: Float[Array, " k"]
    thetas: Float[Array, "k d"]
    theta_dot: Float[Array, "k d"]
    theta_ddot: Float[Array, "k d"]
    gradient_norms: Float[Array, " k"]
    smallest_curvatures: Float[Array, " k"]
    slope_change: Float[Array, ""]
    bound: Float[Array, ""]
    breakdown: Float[Array, "2"]
    result: RESULTS


class ResponseJacobian(eqx.Module):
    """Jθ, how the optimum responds to each deleted point's own weight.

    Attributes:
        jacobian: column j is ∂θ/∂ε_j = −H_ε⁻¹ g_j, shape (d, m).
        theta: where, θ(ε), shape (d,).
        eps: ε, shape (m,).
        residuals: ‖H_ε ∂θ/∂ε_j + g_j‖/‖g_j‖, shape (m,).
        gradient_norm: ‖∇R_ε(θ)‖₂: the columns are derivatives of the optimum where this is zero.
        smallest_curvature: least eigenvalue of H_ε.
    """

    jacobian: Float[Array, "d m"]
    theta: Float[Array, " d"]
    eps: Float[Array, " m"]
    residuals: Float[Array, " m"]
    gradient_norm: Float[Array, ""]
    smallest_curvature: Float[Array, ""]


class Node(eqx.Module):
    """One point of the path, with its derivatives and what certifies it."""

    eps: Array
    theta: Array
    dot: Array
    ddot: Array
    gradient_norm: Array
    least: Array
    regular: Array
    stationary: Array
    scale: Array


def response_path(
    problem: Problem,
    eps: Float[Array, " k"] | np.ndarray | None = None,
    theta: Float[Array, " d"] | np.ndarray | None = None,
    *,
    tol: float = 1e-10,
    throw: bool = True,
) -> ResponsePath:
    """Follow θ(ε) = argmin R_ε from ε = 1 to θ(0), the leave-out optimum.

    θ̇ = −H_ε⁻¹ Σ g_j,   θ̈ = −H_ε⁻¹(D³R_ε[θ̇, θ̇] + 2 ∇²(Σ cℓ_j) θ̇),   j ∈ D, one weight ε for all of them.

    From each node θ + hθ̇ + ½h²θ̈ predicts the next, and Newton's method corrects it. A node counts as reached if H_ε is
    positive definite there, the gradient is small and the correction short beside the prediction. Where one is not,
    bisection brackets the weight at which the path breaks down. Source: notes (0.2)–(0.6) and the question after.

    Args:
        problem: what is trained, and which points are deleted.
        eps: strictly monotone weights, shape (k,), k ≥ 2. Default: 21 from 1 to 0.
        theta: a start for θ at the first weight, shape (d,). Needed for non-convex risks.
        tol: ‖∇R_ε‖ ≤ tol·max(c, ‖Σ g_j‖ at the first node).
        throw: raise where the path breaks down.

    Raises:
        InputError: no deleted points, weights that are not monotone, or a non-convex risk without θ.
        ConvergenceError: the path breaks down (between which weights, and why); `.result` holds what was reached.
    """
    require_deletion(problem)
    grid = _grid(eps)
    start = trained_optimum(problem, theta, eps=float(grid[0]))
    problem.hessian(start)  # refuses a matrix that does not fit
    nodes = _follow(problem.risk, start, grid, jnp.asarray(problem.scale), jnp.asarray(tol))
    good = np.asarray(nodes.regular & nodes.stationary)
    reached = len(grid) if good.all() else int(np.argmin(good))
    if reached == len(grid):
        return _path(nodes, grid, reached, jnp.full(2, jnp.nan), RESULTS.successful)
    last, bad = (jax.tree.map(lambda leaf, k=k: leaf[k], nodes) for k in (max(reached - 1, 0), reached))
    if reached:
        last, bad = _bracket(problem.risk, last, bad, jnp.asarray(tol))
    # At a fold the corrector fails before an eigenvalue changes its sign; its fall shows what happens.
    singular = not bool(bad.regular) or bool(last.least < 0.01 * nodes.least[0])
    result = RESULTS.singular if singular else RESULTS.not_stationary
    path = _path(nodes, grid, reached, jnp.stack([last.eps, bad.eps]), result)
    if throw:
        raise ConvergenceError(_words(path, bad), path)
    return path


def response_jacobian(
    problem: Problem,
    eps: Float[Array, " m"] | np.ndarray | float = 1.0,
    theta: Float[Array, " d"] | np.ndarray | None = None,
) -> ResponseJacobian:
    """Jθ(ε), one column −H_ε⁻¹ g_j for each deleted point; their sum, for equal weights, is θ̇(ε).

    Args:
        problem: what is trained, and which points are deleted.
        eps: weights, one or m.
        theta: θ(ε), shape (d,). Default: computed (convex risks).

    Raises:
        InputError: no deleted points, weights of the wrong shape, a non-convex risk without θ, or H_ε not positive
            definite (its least eigenvalue).
        ConvergenceError: θ(ε) could not be computed.
    """
    require_deletion(problem)
    weights = jnp.broadcast_to(problem.weights(eps), np.shape(problem.delete))
    at = trained_optimum(problem, theta, eps=weights)
    problem.hessian(at, weights)
    columns, residuals, least, rounding = _columns(problem.risk, at, weights)
    if not float(least) > float(rounding):
        raise InputError(
            f"H_ε is not positive definite: its least eigenvalue is {float(least):.3e} (rounding "
            f"{float(rounding):.0e}), so θ(ε) has no derivative. Add l2 > 0, or pass a θ that is a minimum."
        )
    norm = jnp.linalg.norm(problem.gradient(at, weights))
    return ResponseJacobian(columns, at, weights, residuals, norm, least)


def second_derivative(
    risk: AbstractRisk, theta: Float[Array, " d"], eps: Any, dot: Float[Array, " d"]
) -> Float[Array, " d"]:
    """D³R_ε[θ̇, θ̇] + 2∇²(Σ cℓ_j)θ̇, by forward over reverse; θ̈ is −H_ε⁻¹ of it."""
    third = jax.jvp(lambda t: risk.hvp(t, dot, eps), (theta,), (dot,))[1]
    pull = jax.jvp(lambda t: jnp.sum(risk.deleted_gradients(t), axis=0), (theta,), (dot,))[1]
    return third + 2.0 * pull


def _grid(eps: Any) -> Float[Array, " k"]:
    grid = np.linspace(1.0, 0.0, 21) if eps is None else np.asarray(eps, dtype=np.float64)
    if grid.ndim != 1 or grid.size < 2 or not np.isfinite(grid).all():
        raise InputError(f"eps must be a vector of at least two finite weights; got shape {grid.shape}.")
    if not ((np.diff(grid) < 0.0).all() or (np.diff(grid) > 0.0).all()):
        raise InputError(
            "eps must be strictly monotone, from the weight where θ is known to the one where it is wanted."
        )
    return jnp.asarray(grid)


def _advance(risk: AbstractRisk, last: Node, eps: Array, tol: Array) -> Node:
    """Predict from a node to the weight ε, correct there, and say all that the path needs to know."""
    h, target = eps - last.eps, tol * last.scale
    predicted = last.theta + h * last.dot + 0.5 * h**2 * last.ddot
    theta, _ = newton(risk, eps, predicted, target, CORRECTOR_STEPS, cautious=False)
    values, vectors = jnp.linalg.eigh(risk.hessian(theta, eps))
    safe = jnp.where(values == 0.0, 1.0, values)
    dot = -vectors @ ((jnp.sum(risk.deleted_gradients(theta), axis=0) @ vectors) / safe)
    ddot = -vectors @ ((second_derivative(risk, theta, eps, dot) @ vectors) / safe)
    norm = jnp.linalg.norm(risk.gradient(theta, eps))
    length = jnp.abs(h) * jnp.linalg.norm(last.dot) + 0.5 * h**2 * jnp.linalg.norm(last.ddot)
    near = jnp.linalg.norm(theta - last.theta) <= JUMP * length + 1e-9 * (1.0 + jnp.linalg.norm(last.theta))
    stationary = (norm <= target) & (near | (h == 0.0))
    return Node(eps, theta, dot, ddot, norm, values[0], values[0] > rounding_of(values), stationary, last.scale)


_advance_jit = eqx.filter_jit(_advance)


@eqx.filter_jit
def _follow(risk: AbstractRisk, start: Array, grid: Array, scale: Array, tol: Array) -> Node:
    """All nodes of the grid, each from the one before; the first corrects the start."""

    def step(last: Node, eps: Array) -> tuple[Node, Node]:
        node = _advance(risk, last, eps, tol)
        return node, node

    scale = jnp.maximum(scale, jnp.linalg.norm(jnp.sum(risk.deleted_gradients(start), axis=0)))
    zero, yes = jnp.zeros(()), jnp.asarray(True)
    still = Node(grid[0], start, jnp.zeros_like(start), jnp.zeros_like(start), zero, zero, yes, yes, scale)
    return jax.lax.scan(step, still, grid)[1]


def _bracket(risk: AbstractRisk, last: Node, bad: Node, tol: Array) -> tuple[Node, Node]:
    """Bisect between the last node reached and the first that was not."""
    for _ in range(BISECTIONS):
        middle = _advance_jit(risk, last, 0.5 * (last.eps + bad.eps), tol)
        if bool(middle.regular & middle.stationary):
            last = middle
        else:
            bad = middle
    return last, bad


def _path(nodes: Node, grid: Array, reached: int, breakdown: Array, result: RESULTS) -> ResponsePath:
    kept = jnp.arange(len(grid)) < reached
    column = kept[:, None]
    dot, ddot = jnp.where(column, nodes.dot, jnp.nan), jnp.where(column, nodes.ddot, jnp.nan)
    last = max(reached - 1, 0)
    return ResponsePath(
        eps=grid,
        thetas=jnp.where(column, nodes.theta, jnp.nan),
        theta_dot=dot,
        theta_ddot=ddot,
        gradient_norms=jnp.where(kept, nodes.gradient_norm, jnp.nan),
        smallest_curvatures=jnp.where(kept, nodes.least, jnp.nan),
        slope_change=jnp.linalg.norm(dot[last] - dot[0]),
        bound=jnp.nanmax(jnp.linalg.norm(ddot, axis=1)) * jnp.abs(grid[last] - grid[0]),
        breakdown=breakdown,
        result=result,
    )


def _words(path: ResponsePath, bad: Node) -> str:
    a, b = (float(weight) for weight in path.breakdown)
    why = (
        f"H_ε is singular or indefinite there (least eigenvalue {float(bad.least):.2e}), and the optimum ends"
        if bool(path.result == RESULTS.singular)
        else f"the corrector found no optimum near the prediction (‖∇R_ε‖ = {float(bad.gradient_norm):.2e}): "
        f"{message(path.result)}"
    )
    return (
        f"the response path breaks down between ε = {a:.9g} and ε = {b:.9g}: {why}. Add l2 > 0, or follow it on a grid "
        "that ends before; throw=False returns the nodes reached."
    )


@eqx.filter_jit
def _columns(risk: AbstractRisk, theta: Array, weights: Array) -> tuple[Array, Array, Array, Array]:
    values, vectors = jnp.linalg.eigh(risk.hessian(theta, weights))
    pulls = risk.deleted_gradients(theta)
    columns = -vectors @ ((pulls @ vectors) / values).T
    applied = jax.vmap(lambda column: risk.hvp(theta, column, weights))(columns.T)
    sizes = jnp.linalg.norm(pulls, axis=1)
    residuals = jnp.linalg.norm(applied + pulls, axis=1) / jnp.where(sizes > 0.0, sizes, 1.0)
    return columns, residuals, values[0], rounding_of(values)
