"""Where the flow ends: θ(∞, ε)."""

import numpy as np
from jaxtyping import Float

from .._core import Array, ConvergenceError, succeeded
from ..problem import Problem, Weights
from ._doors import checked
from ._stationary import Equilibrium, require_start, shortfall, stationary_point


@checked
def equilibrium(
    problem: Problem,
    theta0: Float[Array, " d"] | Float[np.ndarray, " d"] | None = None,
    *,
    eps: Weights = 1.0,
    tol: float = 1e-10,
    max_time: float | None = None,
    max_steps: int = 20_000,
    throw: bool = True,
) -> Equilibrium:
    """lim_{t→∞} θ(t, ε): ε = 1 gives the trained optimum θ*, ε = 0 the leave-out optimum θ*_{-D}.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.equilibrium(problem, eps=0.0).unique
        True

    Linear regression: H_ε†b_ε + (I − H_ε†H_ε)θ0 (Lemma 0.0.1 of the notes; for rank-deficient H_ε an affine set of
    equilibria, of which θ0 picks one). Other convex risks: damped Newton, and the same kernel. Non-convex risks: the
    flow itself is followed until it rests, then polished by Newton's method, which must stay in the neighbourhood where
    the flow came to rest.

    Args:
        problem: what is trained.
        theta0: where the flow starts; needed unless the minimiser is unique. Default: zero (convex risks only).
        eps: weight of the deleted points, one number or one each.
        tol: relative size of the gradient: of a convex risk, of every scaled component to the terms that make it up at
            θ0; of others, ‖∇R_ε(θ)‖ to the larger of ‖∇R_ε‖ and ‖∇²R_ε‖‖θ‖ there.
        max_time: how long a non-convex flow is followed. Default: 1e9/‖∇²R_ε(θ0)‖.
        max_steps: iterations or integration steps.
        throw: raise if the tolerance is not met.

    Raises:
        InputError: a non-convex problem without θ0, or bad shapes.
        ConvergenceError: not stationary to `tol`, a saddle, or a minimum at infinity; `.result` holds the point.
    """
    start = require_start(problem, theta0, "theta0, where the flow starts")
    method = "auto" if problem.convex else "flow"
    end = stationary_point(problem, eps, start, tol=tol, max_steps=max_steps, method=method, max_time=max_time)
    if throw and not succeeded(end.result):
        raise ConvergenceError(f"no equilibrium: {shortfall(end)} throw=False returns the point reached.", end)
    return end
