"""The rows of a table of endpoints: each method's answer to one deletion, what it cost, and what it says of itself."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .._core import InputError, message, succeeded
from ..flow import stationary_point
from ..problem import LinearModel, Problem, Quadratic
from ._approximate_responses import approximate_responses
from ._hessian_products import by_products
from ._influence import influence
from ._pbrf import pbrf
from ._point_gradients import point_gradients
from .algorithms._walk import Walker
from .curvature import AbstractCurvatureSolver, curvature_at
from .optima._anchor import Anchor, anchor_at
from .optima._derivatives import derivatives
from .optima._newton import newton_step
from .optima._retrain import retrain
from .optima._tilted import leave_out
from .optima._trust_region import minimise


@dataclass(frozen=True, eq=False)
class Row:
    """One method's answer; the columns of `Endpoints`."""

    theta: np.ndarray
    gradients: float
    products: float
    converged: bool
    note: str


@dataclass(frozen=True)
class Search:
    """How minima are searched for; see `pbrf`."""

    tol: float
    max_steps: int
    matrix: bool
    max_bytes: int | None
    precision: str
    solver: str | AbstractCurvatureSolver | None

    def anchor(self, problem: Problem, theta: np.ndarray) -> Anchor:
        """The model at θ."""
        return anchor_at(problem, theta, matrix=self.matrix, max_bytes=self.max_bytes, precision=self.precision)


def retrained(problem: Problem, start: np.ndarray, trained: np.ndarray, search: Search) -> Row:
    """A minimum of R_0 reached from `start`."""
    if isinstance(problem.risk, Quadratic):
        end = retrain(problem, start)
        note = f"closed form, ‖∇R_0‖ = {end.gradient_norm:.1e}"
        return Row(end.theta, 0.0, float(problem.dim), bool(succeeded(end.result)), note)
    anchor = search.anchor(problem, trained)
    basis = anchor.basis if start is trained else search.anchor(problem, start).basis
    objective = leave_out(anchor, problem.delete, 0.0)
    # The units of the steps, not the objective: a trace of damping keeps a singular GGN invertible.
    rho = max(objective.rho, 1e-6 * float(basis.values.max(initial=0.0))) or 1.0
    end = minimise(objective, basis, rho, start - trained, tol=search.tol, max_steps=search.max_steps)
    theta, good, note = trained + end.shift, bool(succeeded(end.result)), f"‖∇R_0‖ = {end.gradient_norm:.1e}"
    if not good:
        note += f": {message(end.result)}"
    elif problem.convex and search.matrix and (left := _left(problem, theta, search)) > FAR * np.linalg.norm(theta):
        note += f", but a Newton step of {left:.1e} is left: the minimum is far away, or at infinity without l2"
        good = False
    return Row(theta, end.steps + 1.0, float(end.products) + basis.values.size, good, note)


FAR = 1e-3
"""A Newton step of more than this fraction of ‖θ‖ is no rest: of separable classes the gradient vanishes far out."""


def _left(problem: Problem, theta: np.ndarray, search: Search) -> float:
    """‖H_0⁻¹∇R_0‖ of a convex risk."""
    return stationary_point(problem, 0.0, theta, tol=search.tol, max_steps=0).distance


def local_answers(problem: Problem, trained: np.ndarray, damping: float, search: Search) -> dict[str, Row]:
    """The answers from derivatives at θ_s."""
    d = float(problem.dim)
    if not search.matrix:
        rows = by_products(problem, trained, search.tol, search.max_steps, search.max_bytes, search.precision)
        known = {name: Row(trained + a.change, 0.0, a.products, a.good, a.note) for name, a in rows.items()}
        return {
            **known,
            **_bregman(problem, trained, damping, search),
            **_approximated(problem, trained, damping, search),
        }
    # All of it is computed lazily: a method that refuses (an indefinite Hessian) leaves the others alone.
    return {
        "influence": _attempt(trained, d, lambda: _influenced(influence(problem, theta=trained, throw=False))),
        "second order": _attempt(
            trained, 2.0 * d, lambda: _influenced(influence(problem, theta=trained, order=2, throw=False))
        ),
        "Newton step": _attempt(trained, d, lambda: _newton(newton_step(problem, trained))),
        **_bregman(problem, trained, damping, search),
        **_approximated(problem, trained, damping, search),
    }


def _attempt(trained: np.ndarray, products: float, answer: Callable[[], tuple[np.ndarray, bool, str]]) -> Row:
    try:
        change, good, note = answer()
    except InputError as refusal:
        return Row(np.full_like(trained, np.nan), 0.0, products, False, f"no answer: {refusal}")
    return Row(trained + change, 0.0, products, good, note)


def _influenced(answer: Any) -> tuple[np.ndarray, bool, str]:
    good = bool(succeeded(answer.result).all())
    return answer.change, good, f"residual {answer.residual.max():.1e}"


def _newton(answer: Any) -> tuple[np.ndarray, bool, str]:
    return answer.change, bool(answer.residual < 1e-6), f"residual {float(answer.residual):.1e}"


def _bregman(problem: Problem, trained: np.ndarray, damping: float, search: Search) -> dict[str, Row]:
    names = f"damped GGN influence, λ_d = {damping:g}", f"PBRF, λ_d = {damping:g}"
    nothing = np.full_like(trained, np.nan)
    try:
        options: Any = {"tol": search.tol, "max_steps": search.max_steps, "matrix": search.matrix}
        asked = problem if search.precision == "float64" else problem.with_dtype(search.precision)
        answer = pbrf(asked, trained, damping=damping, max_bytes=search.max_bytes, throw=False, **options)
    except InputError as refusal:
        missing = Row(nothing, 0.0, 0.0, False, f"no answer: {refusal}")
        return dict.fromkeys(names, missing)
    # Forming the GGN, or its dual, takes a product per row.
    formed = float(min(problem.dim, problem.data.y.size)) if search.matrix else 0.0
    residual, solved = float(answer.linearised_residual), float(answer.linearised_products)
    line = Row(answer.linearised, 0.0, formed + solved, residual < 1e-6, f"residual {residual:.1e}")
    good = bool(succeeded(answer.result))
    note = f"‖∇Q‖ = {float(answer.gradient_norm):.1e}" + ("" if good else f": {message(answer.result)}")
    costs = float(answer.steps + 1), float(answer.products) + formed
    return dict(zip(names, (line, Row(answer.theta, *costs, good, note)), strict=True))


def _approximated(problem: Problem, trained: np.ndarray, damping: float, search: Search) -> dict[str, Row]:
    """The damped GGN influence by the solver that was asked for."""
    solver = search.solver
    if solver is None:
        return {}
    ggn = curvature_at(problem, trained, "ggn", max_bytes=search.max_bytes)
    pull = point_gradients(problem, ggn, None).sums()
    asked: Any = {"damping": damping, "max_bytes": search.max_bytes, "precision": search.precision}
    cost = 1.0  # the residual's product

    def answer() -> tuple[np.ndarray, bool, str]:
        nonlocal cost
        found = approximate_responses(problem, trained, pull, solver, **asked)
        cost += float(found.steps[0])
        return found.solution[0], found.converged, f"residual {float(found.residual[0]):.1e}"

    row = _attempt(trained, 0.0, answer)
    name = solver if isinstance(solver, str) else type(solver).__name__
    return {f"damped GGN influence by {name}, λ_d = {damping:g}": replace(row, products=cost)}


def descents(
    problem: Problem, trained: np.ndarray, start: np.ndarray, lengths: np.ndarray, eta: float
) -> dict[str, Row]:
    """D2D, R2D and retraining by gradient descent."""
    back, final = (int(length) for length in lengths)
    walker = Walker(problem, eta)
    kept = walker.walk(start, np.ones(final - back))[0, 0]
    ends = {
        f"D2D, K = {back}": (walker.walk(trained, np.zeros(back))[0, 0], back),
        f"R2D, K = {back} of {final}": (walker.walk(kept, np.zeros(back))[0, 0], back),
        f"retraining, {final} steps": (walker.walk(start, np.zeros(final))[0, 0], final),
    }

    def slope(theta: np.ndarray) -> float:
        if isinstance(problem.model, LinearModel):
            return float(np.linalg.norm(derivatives(problem).gradient(theta, 0.0)))
        return float(np.linalg.norm(np.asarray(problem.gradient(theta, 0.0))))

    return {
        name: Row(
            theta,
            float(cost),
            0.0,
            bool(np.isfinite(theta).all()),
            f"η = {eta:.3g}, ‖∇R_0‖ = {slope(theta):.1e}",
        )
        for name, (theta, cost) in ends.items()
    }
