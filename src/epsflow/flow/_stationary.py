"""Where ∇R_ε = 0: the one solver behind `equilibrium`, `train` and `retrain`, and the certificate they share."""

from typing import Any, Literal

import equinox as eqx
import numpy as np
from jaxtyping import Float

from .._core import RESULTS, ConvergenceError, InputError, Shown, as_vector, brief, decide, message, succeeded
from ..problem import DENSE_LIMIT, Problem, Quadratic, minimum
from ._newton import minimise

Method = Literal["auto", "closed form", "newton", "minimisation", "flow"]

METHODS = ("auto", "closed form", "newton", "minimisation", "flow")

NEWTON_STEPS = 256
"""Newton's method doubles its digits: more steps than this mean that there is no minimum."""

UNIT = np.finfo(np.float64).eps


class Equilibrium(Shown, eqx.Module):
    """A stationary point of R_ε and what certifies it.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> float(ef.equilibrium(problem).gradient_norm) < 1e-12
        True

    Attributes:
        theta: the point, shape (d,).
        eps: the weight(s) of the deleted points.
        gradient_norm: ‖∇R_ε(θ)‖₂, computed afresh.
        distance: ‖H_ε⁻¹∇R_ε‖₂, the Newton step that is left: an estimate of the distance to the minimum, in θ's units.
        error: of θ, ‖·‖₂. Closed form: to first order, what the factor of the rows resolves, and up to a million
            numbers the rows themselves, looked at again; streamed data keep the factor's. Else `distance`.
        smallest_curvature: least eigenvalue of H_ε; zero where the minimum is not isolated.
        unique: whether it is the only minimiser: R_ε is convex and H_ε positive definite, judged in units in which the
            columns of the data have length one.
        steps: accepted steps of the minimiser; 0 for a closed form, and for a flow, which counts none.
        result: how the computation ended.
        method: "closed form", "newton" (convex R_ε), "minimisation" or "flow" (others).
        caution: what makes the answer worth less than it looks, as `Problem.caution` says; mostly empty.
    """

    theta: Float[np.ndarray, " d"]
    eps: Float[np.ndarray, "*m"]
    gradient_norm: float
    distance: float
    error: float
    smallest_curvature: float
    unique: bool = eqx.field(static=True)
    steps: int
    result: RESULTS
    method: str = eqx.field(static=True)
    caution: str = eqx.field(static=True, default="")

    def _facts(self) -> dict[str, object]:
        return {
            "theta": self.theta,
            "eps": self.eps,
            "gradient_norm": self.gradient_norm,
            "distance": self.distance,
            "error": self.error,
            "smallest_curvature": self.smallest_curvature,
            "unique": self.unique,
            "steps": self.steps,
            "method": self.method,
            "result": self.result,
            **({"caution": self.caution} if self.caution else {}),
        }


def stationary_point(
    problem: Problem,
    eps: Any,
    start: Any,
    *,
    tol: float,
    max_steps: int,
    method: str = "auto",
    max_time: float | None = None,
) -> Equilibrium:
    """A stationary point of R_ε, certified. Never raises for want of convergence.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> ef.flow.stationary_point(line, 1.0, np.zeros(1), tol=1e-10, max_steps=50).theta
        array([1.5])

    Linear regression: closed form. Other convex risks: damped Newton in scaled coordinates, until every component of
    the scaled gradient is at most `tol` of the sum of its terms at the start, or its rounding. Others: "minimisation"
    (BFGS, then Newton) or "flow" (the flow is followed until it rests, then Newton), until ‖∇R_ε‖ is at most `tol` of
    what it, or ‖∇²R_ε‖‖θ‖, was at the start, or what rounding of θ makes of it.
    """
    weights, first = problem.checked_weights(eps), np.asarray(start, dtype=np.float64)
    if isinstance(problem.risk, Quadratic):
        return _closed_form(problem, weights, first)
    if problem.dim > DENSE_LIMIT:
        raise InputError(
            f"the Hessian that certifies a minimum takes {8e-9 * problem.dim**2:.1f} GB for d = {problem.dim}; train "
            "such a model with `gradient_descent`, and pass theta."
        )
    if problem.convex and method != "minimisation":
        return _convex(problem, weights, first, tol, min(max_steps, NEWTON_STEPS))
    return _local(problem, weights, first, (tol, max_steps, max_time), flow=method == "flow")


def _closed_form(problem: Problem, weights: np.ndarray, start: np.ndarray) -> Equilibrium:
    end = minimum(problem, weights, start)
    result = decide((not end.definite, RESULTS.not_a_minimum), (not end.arrived, RESULTS.not_stationary))
    return Equilibrium(
        theta=end.theta,
        eps=weights,
        gradient_norm=float(np.linalg.norm(end.gradient)),
        distance=float(np.linalg.norm(end.left)),
        error=float(np.linalg.norm(end.error)),
        smallest_curvature=_least_of_linear(problem, weights, end.full),
        unique=end.full and end.definite,
        steps=0,
        result=result,
        method="closed form",
        caution=problem.caution,
    )


def _least_of_linear(problem: Problem, weights: np.ndarray, full: bool) -> float:
    each = np.broadcast_to(weights, problem.delete.shape)
    if not full and not (each < 0.0).any():
        return 0.0
    if problem.data.n < problem.dim and not (each < 0.0).any() and np.ndim(problem.penalty) == 0:
        return problem.l2  # directions that no row sees have the penalty's curvature, the least there is
    values = np.linalg.eigvalsh(np.asarray(problem.hessian(np.zeros(problem.dim), each)))
    return 0.0 if abs(values[0]) <= len(values) * UNIT * np.abs(values).max() and not full else float(values[0])


def _convex(problem: Problem, weights: np.ndarray, start: np.ndarray, tol: float, max_steps: int) -> Equilibrium:
    model = problem.generalised()
    each = model.weights(weights)
    end = minimise(model, each, start, tol=tol, max_steps=max_steps)
    local = model.at(end.theta)
    least = float(np.linalg.eigvalsh(model.hessian(local, each))[0])
    distance = float(np.linalg.norm(end.left))
    negative = bool((np.broadcast_to(weights, problem.delete.shape) < 0.0).any())
    saddle = negative and not end.arrived and least < 0.0
    return Equilibrium(
        theta=end.theta,
        eps=weights,
        gradient_norm=float(np.linalg.norm(model.gradient(local, each))),
        distance=distance,
        error=distance,
        smallest_curvature=least,
        unique=end.isolated and end.arrived,
        steps=end.steps,
        result=decide(
            (saddle and end.stationary, RESULTS.not_a_minimum),
            (not (end.stationary and end.arrived), RESULTS.not_stationary),
        ),
        method="newton",
    )


def _local(
    problem: Problem, weights: np.ndarray, start: np.ndarray, limits: tuple[float, int, float | None], *, flow: bool
) -> Equilibrium:
    from ._descent import descend, gradient_scale  # SciPy's optimisers

    tol, max_steps, max_time = limits
    target, left_basin = tol * gradient_scale(problem.risk, start, weights), False
    if flow:
        from ._rest import follow  # diffrax

        end, left_basin = follow(problem.risk, weights, start, target, max_time=max_time, max_steps=max_steps)
    else:
        end = descend(problem.risk, weights, start, target, max_steps)
    values, axes = np.linalg.eigh(end.hessian)
    rounding = len(values) * UNIT * np.abs(values).max()
    regular = np.abs(values) > rounding
    step = np.where(regular, (end.gradient @ axes) / np.where(regular, values, 1.0), 0.0)
    norm, distance = float(np.linalg.norm(end.gradient)), float(np.linalg.norm(step))
    # Far out on a plateau the gradient is small and no minimum near: Newton's step there would still be long.
    far = distance > 1e-3 * max(np.linalg.norm(end.theta), np.linalg.norm(start)) and norm > 1e-4 * target
    return Equilibrium(
        theta=end.theta,
        eps=weights,
        gradient_norm=norm,
        distance=distance,
        error=distance,
        smallest_curvature=float(values[0]),
        unique=problem.convex and bool(values[0] > rounding),
        steps=end.steps,
        result=decide(
            (left_basin, RESULTS.left_the_basin),
            (far or not norm <= max(target, rounding * float(np.linalg.norm(end.theta))), RESULTS.not_stationary),
            (values[0] < -rounding, RESULTS.not_a_minimum),
        ),
        method="flow" if flow else "minimisation",
    )


def trained_optimum(problem: Problem, theta: Any, *, eps: Any = 1.0, tol: float = 1e-10) -> Float[np.ndarray, " d"]:
    """θ(ε): as given, or minimised where the problem says which minimum is meant.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> ef.flow.trained_optimum(line, None)
        array([1.5])

    Raises:
        InputError: none given for a non-convex problem, or one of the wrong shape or with NaN; θ(ε) not unique.
        ConvergenceError: the minimisation failed.
    """
    if theta is not None:
        return as_vector(theta, "theta", problem.dim, narrow=problem.dtype != "float64")
    require_start(problem, None, "theta, the trained parameters")
    found = stationary_point(problem, eps, np.zeros(problem.dim), tol=tol, max_steps=NEWTON_STEPS)
    if succeeded(found.result) and not found.unique:
        raise InputError(
            f"θ({brief(eps)}) is not unique{undetermined(problem, eps)}. Add l2 > 0; or pass the theta that you mean, "
            "and damping > 0 where the answer divides by the curvature."
        )
    if not succeeded(found.result):
        raise ConvergenceError(f"training at ε = {eps} failed: {shortfall(found)}", found)
    return found.theta


def require_start(problem: Problem, theta0: Any, what: str, *, name: str = "theta0") -> Float[np.ndarray, " d"]:
    """The start given, or zero for a convex risk.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> ef.flow.require_start(line, None, "theta0")
        array([0.])
        >>> network = ef.Problem(ef.MLP((1, 2, 1)), ef.SquaredLoss(), line.data)
        >>> ef.flow.require_start(network, None, "theta0, where training begins")
        Traceback (most recent call last):
            ...
        epsflow.InputError: a non-convex risk has many optima; pass theta0, where training begins.

    Raises:
        InputError: a non-convex risk without one; the wrong shape, or NaN.
    """
    if theta0 is not None:
        return as_vector(theta0, name, problem.dim)
    if not problem.convex:
        raise InputError(f"a non-convex risk has many optima; pass {what}.")
    return np.zeros(problem.dim)


def shortfall(found: Equilibrium) -> str:
    """What a stationary point lacks, in words.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> ef.flow.shortfall(ef.equilibrium(line, eps=-9.0, throw=False)).split(": ")[0]
        'The point found is stationary but its Hessian has a negative eigenvalue'
    """
    return (
        f"{message(found.result)} (‖∇R‖ = {found.gradient_norm:.2e}, least curvature {found.smallest_curvature:.2e}, "
        f"Newton step left {found.distance:.2e} beside ‖θ‖ = {np.linalg.norm(found.theta):.2e}; a step of more than a "
        "thousandth of ‖θ‖ means that the minimum is far away or, for separable classes without l2, at infinity)."
    )


def undetermined(problem: Problem, eps: Any = 0.0) -> str:
    """': the data leave … free' where linear regression can say which direction, else nothing.

    Example:
        >>> flat = ef.linear_regression(ef.Dataset([[1.0, 1.0], [2.0, 2.0]], [1.0, 2.0], features=("age", "years")))
        >>> ef.flow.undetermined(flat)
        ': the retained points leave +0.707·age -0.707·years free'
    """
    direction = problem.undetermined_direction(eps)
    which = "the points" if np.any(eps) else "the retained points"
    return f": {which} leave {direction} free" if direction else ""
