"""`pbrf`: the proximal Bregman response to a deletion, minimised to a certified gradient norm."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from .._core import (
    RESULTS,
    Array,
    ConvergenceError,
    InputError,
    Tabular,
    as_choice,
    as_numbers,
    as_scalar,
    as_vector,
    message,
    pick,
    stack,
    succeeded,
)
from ..flow import checked_any
from ..problem import LinearModel, Problem, Quadratic
from ._deletions import Points, deletion_sets
from .curvature import Chunks, chunks_for, said
from .optima._anchor import Anchor, anchor_at
from .optima._bregman_answers import Response, quadratic_responses, responses_side_by_side, searched_response
from .optima._two_precisions import in_float64
from .optima._units import feature_units, ggn_diagonal, in_units

METRICS = ("identity", "ggn")

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
        steps: Newton and quasi-Newton steps (one gradient each); 0 for a closed form. Same shape.
        products: Hessian–vector products, same shape; 0 where the matrix itself was used.
        linearised: θ_s + (G + (λ + λ_d)I)⁻¹ Σ_j g_j, exact, shape (*k, *q, d).
        linearised_residual: ‖(G + (λ + λ_d)I)x − Σg_j‖/‖Σg_j‖ of that solve, shape (*k, *q).
        linearised_products: products with G that it took; 0 where the matrix itself was used. Same shape.
        result: how each minimisation ended, shape (*k, *q).
        points: the points that each response removes, shape (q, m).
        damping: λ_d, shape (*k).
        metric: of the proximal term.
        method: "closed form" (linear regression) or "newton".
        chunks: how much was worked on at once, of a model that is not linear.
        dtype: of Hessian products. Gradients, values, residuals and θ are in float64 whatever it is.
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
    linearised_products: Int[np.ndarray, "*shape"]
    result: RESULTS
    points: Int[np.ndarray, "q m"]
    damping: Float[np.ndarray, "*k"]
    metric: str
    method: str
    chunks: Chunks | None = None
    dtype: str = "float64"

    def _figures(self) -> dict[str, object]:
        return self._facts() | said(self.chunks)

    def _facts(self) -> dict[str, object]:
        return {
            "change": self.change,
            "gradient_norm": self.gradient_norm.max(),
            "damping": self.damping,
            "method": self.method,
            "result": self.result,
            **({} if self.dtype == "float64" else {"dtype": self.dtype}),
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


@checked_any
def pbrf(
    problem: Problem,
    theta: Float[Array, " d"],
    *,
    damping: float | int | Sequence[float] | Float[Array, " k"],
    metric: Literal["identity", "ggn"] = "identity",
    delete_bregman: bool = True,
    points: Points = None,
    tol: float = 1e-9,
    max_steps: int = 300,
    matrix: bool = True,
    max_bytes: int | None = None,
    devices: Sequence[Any] = (),
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

    λ_d is a curvature and carries the units of the parameters: with a feature in other units it is another damping.
    metric="ggn" measures θ − θ_s by the diagonal of G at θ_s instead, (λ_d/2) Σ_k G_kk (θ_k − θ_s,k)², in which λ_d is
    a pure number: rescaled features, targets, risks (sum or mean) and parameters leave the response as it is
    (Marquardt's scaling). For linear models G_kk is the mean over the outputs of a feature; for a parameter that moves
    no output, the mean over the parameters.

    Linear regression is solved in closed form. Other convex risks of linear models: quasi-Newton steps of all deletions
    side by side, and where these do not suffice, as for networks, trust-region Newton with exact Hessian products,
    preconditioned by the GGN at θ_s; until ‖∇Q(θ)‖ ≤ tol·‖Σg_j(θ_s)‖, or rounding of the gradient if that is more, in
    units in which the proximal term is Euclidean; where λ + λ_d = 0, every feature has a mean square of about one.

    A problem in float32 has its Hessian products in float32, whatever JAX's mode. Gradients, values and residuals, of
    which there are few, are in float64, and so are the answer, its tolerance and its certificate; features are held in
    both. With `matrix`, products are in float64 too where float32 cannot tell a step: λ + λ_d below 1.2e-4 of the
    largest eigenvalue of G.

    Args:
        problem: what is trained, and which points are deleted.
        theta: θ_s, converged or not, shape (d,).
        damping: λ_d ≥ 0, or several (k,). λ + λ_d must be positive unless the model is linear and its GGN regular.
        metric: "identity", the proximal term of the equation above, or "ggn", see above.
        delete_bregman: False leaves the deleted points' own D_j out of 𝓛 (and their share out of G in `linearised`).
            The objective then contains −ℓ_j as it is, which is concave, so that it may be unbounded below.
        points: None for the problem's deleted points as one group; "all" for every point alone, the points to be
            removed one at a time, or groups of equal size (the problem's own deletion then plays no part).
        tol: gradient norm, see above.
        max_steps: Newton steps of each minimisation.
        matrix: False forms no d×d, n×n or n×d matrix: no preconditioner, and `linearised` by conjugate gradients.
        max_bytes: memory for what products with the data leave in between, of a model that is not linear; default:
            1 GiB. The matrix is not counted.
        devices: JAX devices over which the points are spread in equal parts, of a model that is not linear; sums over
            them are taken in another order, and nothing else changes.
        throw: raise if a minimisation did not converge.

    Returns:
        A `PBRF`.

    Raises:
        InputError: θ_s of the wrong shape or with NaN, a point outside the data, no deletion, negative damping, an
            objective that is singular (with its least eigenvalue), a loss not convex in the output, a GGN that would
            not fit, a budget of memory that no chunk meets (with the least that one does).
        ConvergenceError: how many did not converge, and the first; `.result` holds all.

    Source: Bae, Ng, Lo, Ghassemi, Grosse, "If influence functions are the answer, then what is the question?", 2022.
    """
    place = as_vector(theta, "theta", problem.dim, narrow=problem.dtype != "float64")
    dampings, sets = _dampings(damping), deletion_sets(problem, points)
    held = {"matrix": matrix, "max_bytes": max_bytes}
    limits = {"tol": tol, "max_steps": max_steps, "delete_bregman": delete_bregman}
    where = {"max_bytes": max_bytes, "devices": devices, "precision": problem.dtype}
    with in_float64(problem) as wide:
        chunks = chunks_for(wide, max_bytes)
        views = [_viewed(wide, place, float(lam), as_choice(metric, "metric", METRICS), held) for lam in dampings]
        rows = _table(views, sets, matrix=matrix, place=where, **limits)
    table = [[_in_own_units(one, view.units) for one in row] for row, view in zip(rows, views, strict=True)]
    method = "closed form" if problem.design is not None else "newton"
    # Axes that were not asked for are dropped: one damping, one group.
    kept = (0 if np.ndim(damping) == 0 else slice(None), 0 if points is None else slice(None))
    columns: dict[str, Any] = {
        field.name: np.array([[getattr(one, field.name) for one in row] for row in table])[kept]
        for field in fields(Response)
        if field.name != "result"
    }
    result = stack([stack([one.result for one in row]) for row in table])
    response = PBRF(
        **{name: np.asarray(column) for name, column in columns.items()},
        result=pick(result, kept),
        points=sets,
        damping=np.asarray(damping, dtype=np.float64),
        metric=metric,
        method=method,
        chunks=chunks,
        dtype=problem.dtype,
    )
    if throw:
        _throw(response)
    return response


@dataclass(frozen=True, eq=False)
class _View:
    """The problem in units in which the proximal term is (damping/2)‖θ' − θ'_s‖².

    Attributes:
        problem: in these units.
        theta: θ_s in them.
        damping: what is left of λ_d.
        units: θ' = units∘θ.
    """

    problem: Problem
    theta: Float[np.ndarray, " d"]
    damping: float
    units: Float[np.ndarray, " d"]


def _viewed(problem: Problem, theta: Float[np.ndarray, " d"], lam: float, metric: str, held: dict[str, Any]) -> _View:
    linear, quadratic = isinstance(problem.model, LinearModel), isinstance(problem.risk, Quadratic)
    if metric == "ggn" and lam > 0.0:
        units, rest = np.sqrt(problem.l2 + lam * ggn_diagonal(problem, theta, **held)), 1.0
    elif linear and not quadratic and problem.l2 + lam == 0.0:
        # Without a proximal term nothing ties the features' units together; with one they are as they are.
        units, rest = feature_units(problem), 0.0
    else:
        return _View(problem, theta, lam, np.ones(problem.dim))
    return _View(in_units(problem, units), units * theta, rest, units)


def _table(
    views: list[_View],
    sets: Int[np.ndarray, "q m"],
    *,
    matrix: bool,
    place: dict[str, Any],
    delete_bregman: bool,
    tol: float,
    max_steps: int,
) -> list[list[Response]]:
    """The responses at every damping, in the units of its view."""
    anchors: dict[int, Anchor] = {}
    limits: Any = {"tol": tol, "max_steps": max_steps, "delete_bregman": delete_bregman}

    def searched(view: _View, deleted: np.ndarray) -> Response:
        if id(view.problem) not in anchors:
            anchors[id(view.problem)] = anchor_at(view.problem, view.theta, matrix=matrix, **place)
            check_objective(anchors[id(view.problem)], min(v.damping for v in views if v.problem is view.problem))
        return searched_response(anchors[id(view.problem)], deleted, view.damping, **limits)

    table = []
    for view in views:
        if isinstance(view.problem.risk, Quadratic):
            row = quadratic_responses(view.problem, view.theta, sets, view.damping, delete_bregman=delete_bregman)
        elif view.problem.convex and matrix and delete_bregman:
            row = [
                searched(view, sets[k]) if found is None or found.steps > max_steps else found
                for k, found in enumerate(_side_by_side(view, sets, tol))
            ]
        else:
            row = [searched(view, deleted) for deleted in sets]
        table.append(row)
    return table


def _side_by_side(view: _View, sets: np.ndarray, tol: float) -> list[Response | None]:
    try:
        return responses_side_by_side(view.problem, view.theta, sets, view.damping, tol=tol)
    except InputError:  # a singular matrix, which `check_objective` puts into words
        return [None] * len(sets)


def _in_own_units(response: Response, units: Float[np.ndarray, " d"]) -> Response:
    """θ as it was asked for; norms of gradients stay in the units in which they were judged."""
    return replace(
        response,
        theta=response.theta / units,
        change=response.change / units,
        linearised=response.linearised / units,
    )


def _dampings(damping: object) -> Float[np.ndarray, " k"]:
    values = np.atleast_1d(as_numbers(damping, "damping"))
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
