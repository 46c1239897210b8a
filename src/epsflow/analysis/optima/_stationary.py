"""Optima of R_ε to a stated gradient norm: optimistix's Newton, stopped by the gradient itself.

The last digits of a minimiser are in its gradient, not in its value, so the merit function is ½‖∇R_ε‖²: along the
Newton direction it descends wherever the Hessian is regular, and rounding of R_ε never stops it.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import optimistix as optx
from jaxtyping import Array, Float, Int

from ..._core import RESULTS, ConvergenceError, InputError, message
from ...flow import equilibrium
from ...problem import AbstractRisk, Problem, Quadratic

STALLED = 30
"""Rejected trial steps in a row (each half the one before) after which a search has nothing left to find."""

NEWTON_STEPS = 256
"""Trial steps of Newton's method, each with a dense Hessian."""


class GradientNewton(optx.AbstractGaussNewton):
    """Newton's method on ∇R_ε = 0 that stops where ‖∇R_ε‖₂ ≤ `atol`, or where no shorter step helps.

    Attributes:
        atol: the gradient norm asked for.
        descent, search: optimistix's; see `newton` for the two pairs in use.
    """

    rtol: float
    atol: Float[Array, ""]
    norm: Callable[[Any], Any]
    descent: optx.AbstractDescent
    search: optx.AbstractSearch
    verbose: Callable[..., None]

    def terminate(self, fn: Any, y: Any, args: Any, options: Any, state: Any, tags: Any) -> tuple[Array, optx.RESULTS]:
        """Whether the gradient at the last accepted point is small enough, or the search is stuck."""
        reached = ~state.first_step & (self.norm(state.f_info.residual) <= self.atol)
        return reached | (state.num_steps_since_acceptance >= STALLED), state.result


class Retraining(eqx.Module):
    """A minimum of R_ε and what certifies it.

    Attributes:
        theta: the point, shape (d,).
        gradient_norm: ‖∇R_ε(θ)‖₂, computed afresh.
        distance: ‖H_ε⁻¹∇R_ε‖₂, the Newton step that is left: an estimate of the distance to the optimum.
        smallest_curvature: least eigenvalue of H_ε.
        unique: whether it is the only minimum: R_ε is convex and H_ε positive definite.
        iterations: accepted steps of the minimiser; 0 for a closed form, and for a flow, which counts none.
        result: how the computation ended.
        method: "closed form", "newton", "minimisation" or "flow".
    """

    theta: Float[Array, " d"]
    gradient_norm: Float[Array, ""]
    distance: Float[Array, ""]
    smallest_curvature: Float[Array, ""]
    unique: bool = eqx.field(static=True)
    iterations: Int[Array, ""]
    result: RESULTS
    method: str = eqx.field(static=True)


def optimum(
    problem: Problem, eps: Any, start: Array, *, tol: float, max_steps: int, method: str = "auto"
) -> Retraining:
    """Minimise R_ε from `start` until ‖∇R_ε‖ ≤ tol·max(c, ‖∇R_ε(start)‖). Never raises for want of convergence."""
    if method == "auto":
        linear = isinstance(problem.risk, Quadratic)
        method = "closed form" if linear else "newton" if problem.convex else "minimisation"
    weights, steps = problem.weights(eps), jnp.asarray(0)
    target = tol * max(problem.scale, float(jnp.linalg.norm(problem.gradient(start, weights))))
    match method:
        case "closed form" | "flow":
            level = weights if weights.ndim else float(weights)
            end = equilibrium(problem, eps=level, theta0=start, tol=tol, throw=False)
            theta, result, method = end.theta, end.result, end.method  # what `equilibrium` chose to do
        case "newton":
            # Where the Hessian may be singular somewhere, Levenberg–Marquardt.
            cautious = not (problem.convex and problem.l2 > 0.0)
            arguments = problem.risk, weights, start, jnp.asarray(target), NEWTON_STEPS
            theta, steps = _newton(*arguments, cautious=cautious)
            result = RESULTS.successful
        case _:
            theta, steps = _descend(problem.risk, weights, start, jnp.asarray(target), max_steps)
            result = RESULTS.successful
    return _certify(problem, theta, weights, target, steps, result, method)


def trained_optimum(problem: Problem, theta: Any, *, eps: Any = 1.0, tol: float = 1e-10) -> Float[Array, " d"]:
    """θ(ε): as given, or minimised where the problem says which minimum is meant.

    Raises:
        InputError: none given for a non-convex problem, or one of the wrong shape or with NaN.
        ConvergenceError: the minimisation failed.
    """
    if theta is not None:
        return problem.parameters(theta)
    if not problem.convex:
        raise InputError("a non-convex risk has many optima; pass theta, the trained parameters.")
    found = optimum(problem, eps, jnp.zeros(problem.dim), tol=tol, max_steps=NEWTON_STEPS)
    if not found.unique:
        raise InputError(f"θ({eps}) is not unique{undetermined(problem)}. Add l2 > 0, or pass theta.")
    if not bool(found.result == RESULTS.successful):
        raise ConvergenceError(f"training at ε = {eps} failed: {shortfall(found)}", found)
    return found.theta


def shortfall(found: Retraining) -> str:
    """What an optimum lacks, in words."""
    return (
        f"{message(found.result)} (‖∇R‖ = {float(found.gradient_norm):.2e}, least curvature "
        f"{float(found.smallest_curvature):.2e}, Newton step left {float(found.distance):.2e} beside ‖θ‖ = "
        f"{float(jnp.linalg.norm(found.theta)):.2e}; a step of more than a thousandth of ‖θ‖ means that the minimum is "
        "far away or, for separable classes without l2, at infinity)."
    )


def undetermined(problem: Problem) -> str:
    """': the data leave … free' where linear regression can say which direction, else nothing."""
    direction = problem.undetermined_direction()
    return f": the retained points leave {direction} free" if direction else ""


def gradient(theta: Array, args: tuple[AbstractRisk, Array]) -> Array:
    """∇R_ε(θ), in optimistix's order of arguments."""
    risk, weights = args
    return risk.gradient(theta, weights)


def value(theta: Array, args: tuple[AbstractRisk, Array]) -> Array:
    """R_ε(θ), in optimistix's order of arguments."""
    risk, weights = args
    return risk.value(theta, weights)


def newton(
    risk: AbstractRisk, weights: Array, start: Array, target: Array, max_steps: int, *, cautious: bool
) -> tuple[Float[Array, " d"], Int[Array, ""]]:
    """Damped Newton from `start` to ‖∇R_ε‖ ≤ target; traceable. Returns θ and the number of accepted steps.

    `cautious=False`: full steps with backtracking, for Hessians that stay regular (convex with λ > 0, or near an
    optimum). `cautious=True`: Levenberg–Marquardt, which also works where they do not, but more slowly.
    """
    descent = optx.DampedNewtonDescent() if cautious else optx.NewtonDescent()
    search = optx.ClassicalTrustRegion() if cautious else optx.BacktrackingArmijo()
    solver = GradientNewton(0.0, target, optx.two_norm, descent, search, _silent)
    solution = optx.least_squares(gradient, solver, start, (risk, weights), max_steps=max_steps, throw=False)
    first, last = gradient(start, (risk, weights)), gradient(solution.value, (risk, weights))
    # A singular Hessian leaves NaN behind: then the start is the better point.
    better = jnp.linalg.norm(last) <= jnp.linalg.norm(first)
    return jnp.where(better, solution.value, start), solution.state.num_accepted_steps


def descend(
    risk: AbstractRisk, weights: Array, start: Array, target: Array, max_steps: int
) -> tuple[Float[Array, " d"], Int[Array, ""]]:
    """BFGS on R_ε towards a minimum, then Levenberg–Marquardt on its gradient for the last digits; traceable."""
    args = risk, weights
    rough = optx.minimise(value, optx.BFGS(rtol=1e-8, atol=1e-8), start, args, max_steps=max_steps, throw=False)
    theta, steps = newton(risk, weights, rough.value, target, NEWTON_STEPS, cautious=True)
    return theta, rough.stats["num_steps"] + steps


_newton, _descend = eqx.filter_jit(newton), eqx.filter_jit(descend)


def _silent(**_: Any) -> None:
    """Optimistix reports each step to this."""


def _certify(
    problem: Problem, theta: Array, weights: Array, target: float, steps: Array, result: RESULTS, method: str
) -> Retraining:
    slope = problem.gradient(theta, weights)
    values, distance = spectrum(problem.hessian(theta, weights), slope)
    norm, rounding = jnp.linalg.norm(slope), rounding_of(values)
    if method != "closed form" and bool(result == RESULTS.successful):
        result = judge(norm, distance, values[0], rounding, jnp.linalg.norm(theta), jnp.asarray(target))
    unique = problem.convex and bool(values[0] > rounding)
    return Retraining(theta, norm, distance, values[0], unique, steps, result, method)


@eqx.filter_jit
def spectrum(hessian: Float[Array, "d d"], slope: Float[Array, " d"]) -> tuple[Float[Array, " d"], Float[Array, ""]]:
    """Eigenvalues of H, ascending, and ‖H⁻¹∇R‖; directions whose eigenvalue is rounding are left out of the step."""
    values, vectors = jnp.linalg.eigh(hessian)
    regular = jnp.abs(values) > rounding_of(values)
    step = jnp.where(regular, (slope @ vectors) / jnp.where(regular, values, 1.0), 0.0)
    return values, jnp.linalg.norm(step)


@eqx.filter_jit
def judge(norm: Array, distance: Array, least: Array, rounding: Array, size: Array, target: Array) -> RESULTS:
    """How a minimisation ended, from its certificate.

    The gradient of separable classes without penalty vanishes at infinity: there the Newton step left is always about
    ‖θ‖/log(1/tol), so one of more than ‖θ‖/1000 is not taken for convergence.
    """
    far = distance > 1e-3 * size + target
    result = RESULTS.where(least < -rounding, RESULTS.not_a_minimum, RESULTS.successful)
    return RESULTS.where(far | ~(norm <= target), RESULTS.not_stationary, result)


def rounding_of(eigenvalues: Float[Array, "*k d"]) -> Float[Array, "*k"]:
    """d·u·max|λ|: an eigenvalue below it carries no digit (as in `eigen`)."""
    return eigenvalues.shape[-1] * jnp.finfo(eigenvalues.dtype).eps * jnp.max(jnp.abs(eigenvalues), axis=-1)
