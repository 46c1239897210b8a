"""Where the flow ends: θ(∞, ε)."""

from typing import Any

import diffrax
import equinox as eqx
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from jaxtyping import Array, Float

from .._core import RESULTS, SUCCESS, ConvergenceError, InputError, eigen, message
from ..problem import AbstractRisk, Problem, Quadratic, Weights
from ..schedules import Constant
from ._diffrax import vector_field


class Equilibrium(eqx.Module):
    """A stationary point of R_ε.

    Attributes:
        theta: the point, shape (d,).
        eps: the weight(s) of the deleted points.
        gradient_norm: ‖∇R_ε(θ)‖₂ there, computed afresh.
        smallest_curvature: least eigenvalue of ∇²R_ε(θ); zero where the minimum is not isolated.
        unique: whether it is the only minimiser: R_ε is convex and its Hessian there positive definite.
        result: how the computation ended.
        method: "closed form", "minimisation" (convex R_ε) or "flow" (others: the flow's own limit, polished by Newton).
    """

    theta: Float[Array, " d"]
    eps: Float[Array, "*m"]
    gradient_norm: Float[Array, ""]
    smallest_curvature: Float[Array, ""]
    unique: bool = eqx.field(static=True)
    result: RESULTS
    method: str = eqx.field(static=True)


def equilibrium(
    problem: Problem,
    *,
    eps: Weights = 1.0,
    theta0: Float[Array, " d"] | np.ndarray | None = None,
    tol: float = 1e-10,
    max_time: float = 1e9,
    max_steps: int = 20_000,
    throw: bool = True,
) -> Equilibrium:
    """lim_{t→∞} θ(t, ε): ε = 1 gives the trained optimum θ*, ε = 0 the leave-out optimum θ*_{-D}.

    Linear regression: H_ε†b_ε + (I − H_ε†H_ε)θ0 (Lemma 0.0.1 of the notes; for rank-deficient H_ε an affine set of
    equilibria, of which θ0 picks one). Other convex risks: minimisation. Non-convex risks: the flow itself is followed
    until it rests, then polished by Newton's method, which must stay in the neighbourhood where the flow came to rest.

    Args:
        problem: what is trained.
        eps: weight of the deleted points, one number or one each.
        theta0: where the flow starts; needed unless the minimiser is unique. Default: zero (convex risks only).
        tol: ‖∇R_ε(θ)‖ ≤ tol·max(c, ‖∇R_ε(θ0)‖).
        max_time: how long a non-convex flow is followed.
        max_steps: iterations or integration steps.
        throw: raise if the tolerance is not met.

    Raises:
        InputError: a non-convex problem without θ0, or bad shapes.
        ConvergenceError: not stationary to `tol`, or a saddle; `.result` holds the point.
    """
    weights = problem.weights(eps)
    if theta0 is None and not problem.convex:
        raise InputError("a non-convex risk has many equilibria; pass theta0, where the flow starts.")
    start = jnp.zeros(problem.dim) if theta0 is None else problem.parameters(theta0, "theta0")
    if isinstance(problem.risk, Quadratic):
        end = _linear(problem.risk, weights, start)
    else:
        if problem.convex:
            method = "minimisation"
            theta, result = _minimise(problem.risk, start, weights, jnp.asarray(tol), max_steps)
        else:
            method, patience = "flow", jnp.asarray(max_time)
            theta, result = _follow(problem.risk, start, weights, jnp.asarray(tol), patience, max_steps)
        end = _certify(problem, theta, start, weights, tol, result, method)
    if throw and not bool(end.result == RESULTS.successful):
        raise ConvergenceError(
            f"no equilibrium: {message(end.result)} (‖∇R‖ = {float(end.gradient_norm):.2e}, least curvature "
            f"{float(end.smallest_curvature):.2e}). throw=False returns the point reached.",
            end,
        )
    return end


def _linear(risk: Quadratic, weights: Array, theta0: Array) -> Equilibrium:
    theta, norm, least = _closed_form(risk, weights, theta0)
    result = RESULTS.where(least < 0.0, RESULTS.not_a_minimum, SUCCESS)  # only with a negative weight
    return Equilibrium(theta, weights, norm, least, bool(least > 0.0), result, "closed form")


@eqx.filter_jit
def _closed_form(risk: Quadratic, weights: Array, theta0: Array) -> tuple[Array, Array, Array]:
    h, b = risk.system(weights)
    basis = eigen(h)
    theta = basis.pinv(b) + basis.kernel_projection(theta0)
    return theta, jnp.linalg.norm(h @ theta - b), basis.values[0]


def _gradient(theta: Array, args: tuple[AbstractRisk, Array]) -> Array:
    return args[0].gradient(theta, args[1])


def _value(theta: Array, args: tuple[AbstractRisk, Array]) -> Array:
    return args[0].value(theta, args[1])


@eqx.filter_jit
def _minimise(risk: AbstractRisk, start: Array, weights: Array, tol: Any, max_steps: int) -> tuple[Array, RESULTS]:
    args = risk, weights
    rough = optx.minimise(_value, optx.BFGS(rtol=1e-6, atol=1e-6), start, args, max_steps=max_steps, throw=False)
    return _polish(rough.value, args, tol)


def _polish(start: Array, args: tuple[AbstractRisk, Array], tol: Any) -> tuple[Array, RESULTS]:
    """Damped Newton on ∇R = 0. The last digits of a minimiser are in its gradient, not in its value."""
    newton = optx.LevenbergMarquardt(rtol=1e-3 * tol, atol=1e-3 * tol)
    solution = optx.root_find(_gradient, newton, start, args, max_steps=256, throw=False)
    stuck = jnp.linalg.norm(_gradient(solution.value, args)) > jnp.linalg.norm(_gradient(start, args))
    return jnp.where(stuck, start, solution.value), SUCCESS


@eqx.filter_jit
def _follow(
    risk: AbstractRisk, start: Array, weights: Array, tol: Any, max_time: Any, max_steps: int
) -> tuple[Array, RESULTS]:
    """The flow until its speed falls to 1e-8 of its first, then Newton from there."""
    args = risk, weights
    rest = 1e-8 * jnp.maximum(jnp.linalg.norm(_gradient(start, args)), 1e-300)

    def at_rest(t: Any, y: Array, args: Any, **_: Any) -> Array:
        return jnp.linalg.norm(vector_field(t, y, args)) < rest

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(vector_field),
        diffrax.Kvaerno5(),
        t0=0.0,
        t1=max_time,
        dt0=None,
        y0=start,
        args=(risk, Constant(weights), jnp.zeros(())),
        stepsize_controller=diffrax.PIDController(rtol=1e-9, atol=1e-12),
        event=diffrax.Event(at_rest),
        max_steps=max_steps,
        throw=False,
    )
    end = jnp.asarray(solution.ys)[-1]
    theta, result = _polish(end, args, tol)
    # A resting flow is within ‖∇R‖/λ of its limit; a jump beyond a hundredth of the way travelled is another basin.
    travelled = jnp.linalg.norm(end - start)
    left = jnp.linalg.norm(theta - end) > 0.01 * travelled + 1e-6
    return theta, RESULTS.where(left, RESULTS.left_the_basin, result)


def _certify(
    problem: Problem, theta: Array, start: Array, weights: Array, tol: float, result: RESULTS, method: str
) -> Equilibrium:
    scale = max(problem.scale, float(jnp.linalg.norm(problem.gradient(start, weights))))
    norm = jnp.linalg.norm(problem.gradient(theta, weights))
    curvatures, axes = jnp.linalg.eigh(problem.hessian(theta, weights))
    rounding = problem.dim * 2.2e-16 * float(jnp.max(jnp.abs(curvatures)))
    if bool(result == RESULTS.successful):
        # Far out on a plateau the gradient is small and no minimum near: Newton's step there would still be long.
        newton = (axes.T @ problem.gradient(theta, weights)) / jnp.where(curvatures > rounding, curvatures, jnp.inf)
        far = jnp.linalg.norm(newton) > 1e-3 * (1.0 + jnp.linalg.norm(theta))
        if bool(far) or not bool(norm <= tol * scale):
            result = RESULTS.not_stationary
        elif bool(curvatures[0] < -rounding):
            result = RESULTS.not_a_minimum
    unique = problem.convex and bool(curvatures[0] > rounding)
    return Equilibrium(theta, weights, norm, curvatures[0], unique, result, method)
