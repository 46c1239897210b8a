"""`pbrf`: the proximal Bregman response to a deletion, minimised to a certified gradient norm."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from .._core import (
    RESULTS,
    Array,
    ConvergenceError,
    InputError,
    Tabular,
    as_float64,
    as_scalar,
    as_vector,
    message,
    pick,
    stack,
    succeeded,
)
from ..flow import checked
from ..problem import LinearModel, Problem, Quadratic
from ._deletions import Points, deletion_sets
from .curvature import require_dense
from .optima._anchor import UNIT, Anchor, anchor_at
from .optima._removal import Removal, remove
from .optima._tilted import bregman_response
from .optima._trust_region import minimise

NEGATIVE = (
    "damping is {:g}; λ_d must be ≥ 0: a negative proximal term pushes θ away from θ_s, and the objective is unbounded "
    "below in every direction that the data leave free."
)


@dataclass(frozen=True, eq=False, repr=False)
class PBRF(Tabular):
    """Proximal Bregman responses. Leading axes, where they were asked for: dampings (k), then deletions (q).

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.pbrf(problem, ef.train(problem).theta, damping=1e-3).theta.shape
        (10,)

    Attributes:
        theta: the minimisers, shape (*k, *q, d).
        change: θ − θ_s, the predicted change upon removal, same shape.
        gradient_norm: ‖∇Q(θ)‖₂ of the PBRF's objective Q, computed at θ, shape (*k, *q).
        tolerance: the norm that was asked for, same shape.
        value: Q(θ) − Q(θ_s), same shape; not above 0 at a minimum.
        steps: Newton steps (one gradient each); 0 for a closed form. Same shape.
        products: Hessian–vector products, same shape.
        linearised: θ_s + (G + (λ + λ_d)I)⁻¹ Σ_j g_j, exact, shape (*k, *q, d).
        linearised_residual: ‖(G + (λ + λ_d)I)x − Σg_j‖/‖Σg_j‖ of that solve, shape (*k, *q).
        result: how each minimisation ended, shape (*k, *q).
        points: the points that each response removes, shape (q, m).
        damping: λ_d, shape (*k).
        method: "closed form" (linear regression) or "newton".
    """

    theta: Float[np.ndarray, "*shape d"]
    change: Float[np.ndarray, "*shape d"]
    gradient_norm: Float[np.ndarray, "*shape"]
    tolerance: Float[np.ndarray, "*shape"]
    value: Float[np.ndarray, "*shape"]
    steps: Int[np.ndarray, "*shape"]
    products: Int[np.ndarray, "*shape"]
    linearised: Float[np.ndarray, "*shape d"]
    linearised_residual: Float[np.ndarray, "*shape"]
    result: RESULTS
    points: Int[np.ndarray, "q m"]
    damping: Float[np.ndarray, "*k"]
    method: str

    def _facts(self) -> dict[str, object]:
        return {
            "change": self.change,
            "gradient_norm": self.gradient_norm.max(),
            "damping": self.damping,
            "method": self.method,
            "result": self.result,
        }

    def _rows(self) -> list[dict[str, Any]]:
        whole = np.broadcast_to(self.damping.reshape(-1, 1), (max(1, self.damping.size), len(self.points)))
        shape = whole.shape
        return [
            {
                "damping": whole[at],
                "points": " ".join(map(str, self.points[at[1]])),
                "‖change‖": np.linalg.norm(self.change.reshape(*shape, -1)[at]),
                "gradient_norm": self.gradient_norm.reshape(shape)[at],
                "steps": int(self.steps.reshape(shape)[at]),
                "products": int(self.products.reshape(shape)[at]),
            }
            for at in np.ndindex(*shape)
        ]


@dataclass(frozen=True, eq=False)
class _Response:
    """One of them; the fields of `PBRF`."""

    theta: np.ndarray
    change: np.ndarray
    gradient_norm: float
    tolerance: float
    value: float
    steps: int
    products: int
    linearised: np.ndarray
    linearised_residual: float
    result: RESULTS


@checked
def pbrf(
    problem: Problem,
    theta: Float[Array, " d"],
    *,
    damping: float | int | Sequence[float] | Float[Array, " k"],
    delete_bregman: bool = True,
    points: Points = None,
    tol: float = 1e-9,
    max_steps: int = 300,
    matrix: bool = True,
    throw: bool = True,
) -> PBRF:
    """argmin 𝓛(θ; θ_s) − Σ_{j∈D} c ℓ_j(θ) + ((λ + λ_d)/2)‖θ − θ_s‖², 𝓛 = c Σ_i D_i(f(θ; x_i), f(θ_s; x_i)).

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.pbrf(problem, ef.train(problem).theta, damping=1e-3)
        PBRF(change=array(10,), gradient_norm=..., damping=0.001, method=closed form, result=successful)

    D_i(a, b) = ℓ(a, y_i) − ℓ(b, y_i) − ⟨∇ℓ(b, y_i), a − b⟩. θ_s need not be an optimum. The penalty of the problem
    enters as the data do, by its Bregman divergence, (λ/2)‖θ − θ_s‖²: λ adds to λ_d, as it does in the damped GGN
    influence, which is therefore the exact linearisation, and PBRF(λ_d = 0) of ridge regression at its optimum is its
    leave-out optimum.

    Linear regression is solved in closed form. Otherwise trust-region Newton with exact Hessian products,
    preconditioned by the GGN at θ_s, until ‖∇Q(θ)‖ ≤ tol·‖Σg_j(θ_s)‖, or rounding of the gradient if that is more;
    where λ + λ_d = 0, in units in which every feature has a mean square of about one.

    Args:
        problem: what is trained, and which points are deleted.
        theta: θ_s, converged or not, shape (d,).
        damping: λ_d ≥ 0, or several (k,). λ + λ_d must be positive unless the model is linear and its GGN regular.
        delete_bregman: False leaves the deleted points' own D_j out of 𝓛 (and their share out of G in `linearised`).
            The objective then contains −ℓ_j as it is, which is concave, so that it may be unbounded below.
        points: None for the problem's deleted points as one group; "all" for every point alone, the points to be
            removed one at a time, or groups of equal size (the problem's own deletion then plays no part).
        tol: gradient norm, see above.
        max_steps: Newton steps of each minimisation.
        matrix: False forms no d×d or n×n matrix: no preconditioner, and `linearised` by conjugate gradients.
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
    place, dampings = as_vector(theta, "theta", problem.dim), _dampings(damping)
    sets = deletion_sets(problem, points)
    if isinstance(problem.risk, Quadratic):
        table = _quadratic(problem, place, sets, dampings, delete_bregman=delete_bregman)
    else:
        free = problem.l2 + float(dampings.min()) == 0.0 and isinstance(problem.model, LinearModel)
        units = _units(problem) if free else np.ones(problem.dim)
        anchor = anchor_at(_in_units(problem, units) if free else problem, units * place, matrix=matrix)
        check_objective(anchor, float(dampings.min()))
        # Without a proximal term nothing ties the features' units together; with one they are as they are.
        damped = anchor_at(problem, place, matrix=matrix) if free and dampings.max() > 0.0 else anchor
        limits = {"tol": tol, "max_steps": max_steps, "delete_bregman": delete_bregman}
        table = [
            [
                _minimise(damped, deleted, float(lam), **limits)
                if lam > 0.0
                else _in_own_units(_minimise(anchor, deleted, 0.0, **limits), units)
                for deleted in sets
            ]
            for lam in dampings
        ]
    method = "closed form" if isinstance(problem.risk, Quadratic) else "newton"
    # Axes that were not asked for are dropped: one damping, one group.
    kept = (0 if np.ndim(damping) == 0 else slice(None), 0 if points is None else slice(None))
    columns: dict[str, Any] = {
        field.name: np.array([[getattr(one, field.name) for one in row] for row in table])[kept]
        for field in fields(_Response)
        if field.name != "result"
    }
    result = stack([stack([one.result for one in row]) for row in table])
    response = PBRF(
        **{name: np.asarray(column) for name, column in columns.items()},
        result=pick(result, kept),
        points=sets,
        damping=np.asarray(damping, dtype=np.float64),
        method=method,
    )
    if throw:
        _throw(response)
    return response


def _units(problem: Problem) -> Float[np.ndarray, " d"]:
    """For each parameter the length of its feature's column, to a power of two, which rounds nothing."""
    x = np.asarray(problem.data.x)
    peaks = np.abs(x).max(axis=0)
    peaks = np.where(peaks > 0.0, peaks, 1.0)
    lengths = peaks * np.sqrt(np.mean((x / peaks) ** 2, axis=0))
    return np.repeat(np.exp2(np.round(np.log2(np.where(lengths > 0.0, lengths, 1.0)))), problem.dim // x.shape[1])


def _in_units(problem: Problem, units: Float[np.ndarray, " d"]) -> Problem:
    """The same problem with every feature divided by its unit, in which parameters are multiplied by it."""
    columns = units[:: problem.dim // problem.data.x.shape[1]]
    data = replace(problem.data, x=np.asarray(problem.data.x) / columns)
    return Problem(
        problem.model, problem.loss, data, problem.delete if problem.delete.size else None, 0.0, problem.reduction
    )


def _in_own_units(response: _Response, units: Float[np.ndarray, " d"]) -> _Response:
    """θ as it was asked for; norms of gradients stay in the units in which they were judged."""
    return replace(
        response,
        theta=response.theta / units,
        change=response.change / units,
        linearised=response.linearised / units,
    )


def _dampings(damping: object) -> Float[np.ndarray, " k"]:
    values = np.atleast_1d(as_float64(damping, "damping"))
    if values.ndim != 1 or not values.size or not np.isfinite(values).all():
        raise InputError(f"damping must be a finite number or a vector of them; got {damping!r}.")
    require_damping(float(values.min()))
    return values


def require_damping(damping: float) -> None:
    """Refuse a negative λ_d."""
    if damping < 0.0:
        raise InputError(NEGATIVE.format(damping))


def _throw(response: PBRF) -> None:
    failed = np.flatnonzero(~succeeded(response.result))
    if not failed.size:
        return
    at = tuple(int(i) for i in np.unravel_index(failed[0], response.gradient_norm.shape))
    where = f" (index {list(at)})" if at else ""
    raise ConvergenceError(
        f"{failed.size} of {response.gradient_norm.size} PBRF minimisations failed; the first{where}: "
        f"{message(pick(response.result, at))} (‖∇Q‖ = {float(response.gradient_norm[at]):.2e}, "
        f"asked for {float(response.tolerance[at]):.2e}; moved by {np.linalg.norm(response.change[at]):.3g}). "
        "More damping makes the objective better conditioned; throw=False keeps what was reached.",
        response,
    )


def _quadratic(
    problem: Problem, anchor: np.ndarray, sets: np.ndarray, dampings: np.ndarray, *, delete_bregman: bool
) -> list[list[_Response]]:
    """Linear regression: Q is quadratic with Hessian H_1 − share·c X_DᵀX_D + λ_d I and −∇Q(θ_s) = Σ g_j."""
    require_dense(problem.dim, "the Hessian", "Use fewer features; a matrix-free version exists for other models only.")
    table = []
    for lam in dampings:
        try:
            once = remove(problem, anchor, sets, float(lam))
            whole = once if delete_bregman else once.twice()
        except InputError as error:
            raise InputError(f"the PBRF objective has no unique minimum at damping {lam:g}: {error}") from error
        if not whole.definite.all():
            _refuse(whole, sets, float(lam))
        table.append(_solved(anchor, once, whole, float(lam), delete_bregman=delete_bregman))
    return table


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
) -> list[_Response]:
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
            _Response(
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
                result=RESULTS.successful,
            )
        )
    return responses


def check_objective(anchor: Anchor, damping: object) -> float:
    """λ_d, if (λ + λ_d)I + G(θ_s) is positive definite, and λ + λ_d > 0 where the model is not linear.

    Raises:
        InputError: with the least eigenvalue.
    """
    lam, problem, least = as_scalar(damping, "damping"), anchor.problem, anchor.basis.smallest
    require_damping(lam)
    if problem.l2 + lam + least <= 0.0 or (problem.l2 + lam == 0.0 and not problem.convex):
        linear = "" if problem.convex else "; and far from θ_s the outputs of a nonlinear model bound nothing"
        raise InputError(
            f"with damping {lam:g} and l2 = {problem.l2:g} the PBRF objective is singular at θ_s: the least "
            f"eigenvalue of the Gauss–Newton matrix is {least:.3g}{linear}. Give a damping > 0, for instance 1e-3."
        )
    return lam


def _minimise(
    anchor: Anchor, deleted: np.ndarray, damping: float, *, tol: float, max_steps: int, delete_bregman: bool
) -> _Response:
    objective = bregman_response(anchor, deleted, damping, delete_bregman=delete_bregman)
    start = np.zeros_like(anchor.theta)
    end = minimise(objective, anchor.basis, objective.rho, start, tol=tol, max_steps=max_steps)
    missing = None if delete_bregman else deleted
    line, residual = anchor.respond(objective.rho, anchor.pull(deleted), missing)
    return _Response(
        theta=anchor.theta + end.shift,
        change=end.shift,
        gradient_norm=end.gradient_norm,
        tolerance=end.tolerance,
        value=end.value,
        steps=end.steps,
        products=end.products,
        linearised=anchor.theta + line,
        linearised_residual=residual,
        result=end.result,
    )
