"""`retrain`: the leave-out optimum θ(0) itself, the ground truth of every estimate of it; and `train`, θ(1)."""

from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from ..._core import Array, ConvergenceError, InputError, succeeded
from ...flow import METHODS, Equilibrium, Method, checked, require_start, shortfall, stationary_point, undetermined
from ...problem import Problem, Quadratic
from .._deletions import require_deletion


@checked
def retrain(
    problem: Problem,
    theta0: Float[Array, " d"] | Float[np.ndarray, " d"] | None = None,
    *,
    start: Literal["cold", "warm"] = "cold",
    method: Method = "auto",
    tol: float = 1e-10,
    max_steps: int = 5_000,
    throw: bool = True,
) -> Equilibrium:
    """θ(0) = argmin R_0, trained without the deleted points, with a certificate: `equilibrium` at ε = 0, by any method.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.retrain(problem)
        Equilibrium(theta=array(10,), eps=0, gradient_norm=..., distance=..., smallest_curvature=0...

    Linear regression has a closed form. Other convex risks: damped Newton. Non-convex risks: BFGS, then Newton, to *a*
    minimum, which depends on the start; or the limit of the flow.

    Args:
        problem: what is trained, and which points are deleted.
        theta0: where training starts, shape (d,). Needed for non-convex risks. Where the optimum of a convex risk is
            not unique, it picks one. Default: zero.
        start: "cold": R_0 is minimised from θ0. "warm": R_1 is, from θ0, and then R_0 from θ(1). Convex risks with
            one minimum end at the same point.
        method: "closed form", "newton", "minimisation", "flow" (what `equilibrium` does: for non-convex risks, follow
            θ̇ = −∇R_0 to rest), or "auto".
        tol: relative size of the gradient, as in `equilibrium`.
        max_steps: steps of BFGS. Newton's method, which doubles its digits, takes at most 256.
        throw: raise if the result is not certified.

    Returns:
        An `Equilibrium`; its `distance` says how far θ is from the minimum.

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
        warm = stationary_point(problem, 1.0, first, **options)
        if throw and not succeeded(warm.result):
            raise ConvergenceError(f"the warm start θ(1) was not reached: {shortfall(warm)}", warm)
        first = warm.theta
    end = stationary_point(problem, 0.0, first, **options)
    if problem.convex and theta0 is None and not end.unique and succeeded(end.result):
        raise InputError(
            f"the leave-out optimum is not unique{undetermined(problem)} (least eigenvalue of H_0: "
            f"{end.smallest_curvature:.2e}). Delete fewer points, add l2 > 0, or pass theta0 to pick one."
        )
    if throw and not succeeded(end.result):
        raise ConvergenceError(f"retraining failed: {shortfall(end)} throw=False returns the point reached.", end)
    return end


@checked
def train(
    problem: Problem,
    theta0: Float[Array, " d"] | Float[np.ndarray, " d"] | None = None,
    *,
    method: Method = "auto",
    tol: float = 1e-10,
    max_steps: int = 5_000,
    throw: bool = True,
) -> Equilibrium:
    """θ(1), a minimum of R_1, trained with all points: `retrain` at ε = 1, with the same arguments and certificate.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.train(problem)
        Equilibrium(theta=array(10,), eps=1, gradient_norm=..., distance=..., smallest_curvature=0...

    Raises:
        InputError: a non-convex risk without θ0, an unknown method.
        ConvergenceError: gradient above the tolerance, a saddle, or a minimum at infinity; `.result` holds the point.
    """
    first = _first(problem, theta0, method)
    end = stationary_point(problem, 1.0, first, tol=tol, max_steps=max_steps, method=method)
    if throw and not succeeded(end.result):
        raise ConvergenceError(f"training failed: {shortfall(end)} throw=False returns the point reached.", end)
    return end


def _first(problem: Problem, theta0: Any, method: str) -> Float[np.ndarray, " d"]:
    """The start, once the method and the need for a start are checked."""
    if method not in METHODS:
        raise InputError(f"unknown method {method!r}: choose one of {', '.join(METHODS)}.")
    if method == "closed form" and not isinstance(problem.risk, Quadratic):
        raise InputError('method="closed form" is for linear regression; use method="auto" for this model and loss.')
    return require_start(problem, theta0, "theta0, where training starts")
