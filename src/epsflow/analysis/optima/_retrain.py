"""`retrain`: the leave-out optimum θ(0) itself, the ground truth of every estimate of it; and `train`, θ(1)."""

from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._core import RESULTS, ConvergenceError, InputError
from ...problem import Problem, Quadratic
from .._deletions import require_deletion
from ._stationary import Retraining, optimum, shortfall, undetermined

Method = Literal["auto", "closed form", "newton", "minimisation", "flow"]

_METHODS = ("auto", "closed form", "newton", "minimisation", "flow")


def retrain(
    problem: Problem,
    *,
    theta0: Float[Array, " d"] | np.ndarray | None = None,
    start: Literal["cold", "warm"] = "cold",
    method: Method = "auto",
    tol: float = 1e-10,
    max_steps: int = 5_000,
    throw: bool = True,
) -> Retraining:
    """θ(0) = argmin R_0, trained without the deleted points, with a certificate.

    Linear regression has a closed form. Other convex risks: damped Newton. Non-convex risks: BFGS, then
    Levenberg–Marquardt on the gradient, to *a* minimum, which depends on the start; or the limit of the flow.

    Args:
        problem: what is trained, and which points are deleted.
        theta0: where training starts, shape (d,). Needed for non-convex risks. Where the optimum of a convex risk is
            not unique, it picks one. Default: zero.
        start: "cold": R_0 is minimised from θ0. "warm": R_1 is, from θ0, and then R_0 from θ(1). Convex risks with
            one minimum end at the same point.
        method: "closed form", "newton", "minimisation", "flow" (what `equilibrium` does: for non-convex risks, follow
            θ̇ = −∇R_0 to rest), or "auto".
        tol: ‖∇R_0(θ)‖ ≤ tol·max(c, ‖∇R_0‖ at the start).
        max_steps: steps of BFGS. Newton's method, which doubles its digits, takes at most 256 trial steps.
        throw: raise if the result is not certified.

    Returns:
        A `Retraining`; its `distance` says how far θ is from the minimum.

    Raises:
        InputError: no deleted points, a non-convex risk without θ0, or an optimum that is not unique (the undetermined
            direction in words) without θ0.
        ConvergenceError: gradient above the tolerance, a saddle, or a minimum at infinity; `.result` holds the point.
    """
    require_deletion(problem)
    if start not in ("cold", "warm"):
        raise InputError(f"start is {start!r}; choose 'cold' (from theta0) or 'warm' (from the optimum of R_1).")
    first = _first(problem, theta0, method)
    options: Any = {"tol": tol, "max_steps": max_steps, "method": method}
    if start == "warm":
        warm = optimum(problem, 1.0, first, **options)
        if throw and not bool(warm.result == RESULTS.successful):
            raise ConvergenceError(f"the warm start θ(1) was not reached: {shortfall(warm)}", warm)
        first = warm.theta
    end = optimum(problem, 0.0, first, **options)
    if problem.convex and theta0 is None and not end.unique:
        raise InputError(
            f"the leave-out optimum is not unique{undetermined(problem)} (least eigenvalue of H_0: "
            f"{float(end.smallest_curvature):.2e}). Delete fewer points, add l2 > 0, or pass theta0 to pick one."
        )
    if throw and not bool(end.result == RESULTS.successful):
        raise ConvergenceError(f"retraining failed: {shortfall(end)} throw=False returns the point reached.", end)
    return end


def train(
    problem: Problem,
    *,
    theta0: Float[Array, " d"] | np.ndarray | None = None,
    method: Method = "auto",
    tol: float = 1e-10,
    max_steps: int = 5_000,
    throw: bool = True,
) -> Retraining:
    """θ(1), a minimum of R_1, trained with all points: `retrain` at ε = 1, with the same arguments and certificate.

    Raises:
        InputError: a non-convex risk without θ0, an unknown method.
        ConvergenceError: gradient above the tolerance, a saddle, or a minimum at infinity; `.result` holds the point.
    """
    first = _first(problem, theta0, method)
    end = optimum(problem, 1.0, first, tol=tol, max_steps=max_steps, method=method)
    if throw and not bool(end.result == RESULTS.successful):
        raise ConvergenceError(f"training failed: {shortfall(end)} throw=False returns the point reached.", end)
    return end


def _first(problem: Problem, theta0: Any, method: str) -> Float[Array, " d"]:
    """The start, once the method and the need for a start are checked."""
    if method not in _METHODS:
        raise InputError(f"unknown method {method!r}: choose one of {', '.join(_METHODS)}.")
    if method == "closed form" and not isinstance(problem.risk, Quadratic):
        raise InputError('method="closed form" is for linear regression; use method="auto" for this model and loss.')
    if theta0 is None and not problem.convex:
        raise InputError("a non-convex risk has many optima; pass theta0, where training starts.")
    return jnp.zeros(problem.dim) if theta0 is None else problem.parameters(theta0, "theta0")
