"""`retrain_all`: leave-out optima of many deletion sets, each certified."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ..._core import RESULTS, Array, Axed, ConvergenceError, Labelled, Tabular, decide, message, pick, succeeded
from ...flow import checked, trained_optimum
from ...problem import Problem, Quadratic, statistics
from .._deletions import Points, deletion_sets
from ._leave_outs import leave_outs
from ._leverage import factorise, leave_out


@dataclass(frozen=True, eq=False, repr=False)
class RetrainingAll(Tabular, Labelled):
    """Leave-out optima of k deletion sets.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]))
        >>> ef.retrain_all(line).thetas.round(9)
        array([[1.6],
               [1.4],
               [1.5]])

    Attributes:
        points: the points each set deletes, shape (k, q).
        thetas: θ(0) of each, shape (k, d).
        theta: θ(1), trained with all points, shape (d,).
        gradient_norm: ‖∇R_0(θ(0))‖₂ of each, shape (k,).
        distance: estimated distance to the optimum, shape (k,): the Newton step left, or for a convex risk with λ > 0
            its bound ‖∇R_0‖/λ.
        steps: quasi-Newton and Newton steps of each; 0 for a closed form. Shape (k,).
        result: how each ended, shape (k,).
        method: "closed form", "newton" (convex risks) or "minimisation".
    """

    points: Int[np.ndarray, "k q"]
    thetas: Float[np.ndarray, "k d"]
    theta: Float[np.ndarray, " d"]
    gradient_norm: Float[np.ndarray, " k"]
    distance: Float[np.ndarray, " k"]
    steps: Int[np.ndarray, " k"]
    result: RESULTS
    method: str

    @property
    def change(self) -> Float[np.ndarray, "k d"]:
        """θ(0) − θ(1), the change upon removal, of each set."""
        return self.thetas - self.theta

    def _arrays(self) -> dict[str, Axed]:
        return {
            "points": ("deletion point", self.points),
            "theta": ("deletion parameter", self.thetas),
            "change": ("deletion parameter", self.change),
            "gradient_norm": ("deletion", self.gradient_norm),
            "distance": ("deletion", self.distance),
        }

    def _facts(self) -> dict[str, object]:
        return {"sets": len(self.points), "method": self.method, "result": self.result}

    def _rows(self) -> list[dict[str, Any]]:
        sizes = np.linalg.norm(self.change, axis=1)
        return [
            {
                "points": " ".join(map(str, self.points[k])),
                "‖change‖": sizes[k],
                "gradient_norm": self.gradient_norm[k],
                "distance": self.distance[k],
                "steps": int(self.steps[k]),
                "result": message(pick(self.result, k)),
            }
            for k in range(len(self.points))
        ]


@checked
def retrain_all(
    problem: Problem,
    theta: Float[Array, " d"] | Float[np.ndarray, " d"] | None = None,
    *,
    points: Points = "all",
    tol: float = 1e-10,
    throw: bool = True,
) -> RetrainingAll:
    """θ(0) of every deletion set, each certified; warm-started at θ(1).

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.retrain_all(problem, points=[0, 17]).thetas.shape
        (2, 10)

    Linear regression: θ(1) − A⁻¹X_Dᵀ(I − P_DD)⁻¹ê_D for all sets. Convex risks: quasi-Newton steps from the exact
    Hessian, then Newton's where these do not suffice, until ‖∇R_0‖ ≤ tol·‖Σ_D g_j(θ(1))‖ in units of the curvature, or
    rounding of its terms. Non-convex risks: quasi-Newton steps, then BFGS and Newton, and the Hessian of each minimum
    is checked.

    Args:
        problem: what is trained; its own `delete` plays no part here.
        theta: θ(1), shape (d,). Needed for non-convex risks. Default: computed.
        points: "all" for every point alone, a list of points, or sets of equal size, shape (k, q).
        tol: relative gradient norm.
        throw: raise if any set is not certified.

    Raises:
        InputError: sets that are empty, ragged, outside the data or name a point twice; a non-convex risk without θ.
        ConvergenceError: how many sets failed, and the first; `.result` holds all.
    """
    sets = deletion_sets(problem, points)
    if isinstance(problem.risk, Quadratic):
        everything = _closed_form(problem, sets)
    else:
        trained = trained_optimum(problem, theta, tol=tol)
        everything = _searched(problem, sets, trained, tol)
    failed = np.flatnonzero(~succeeded(everything.result))
    if throw and failed.size:
        first = int(failed[0])
        linear = everything.method == "closed form"
        why = "the other points do not determine θ, add l2 > 0" if linear else message(pick(everything.result, first))
        raise ConvergenceError(
            f"{failed.size} of {len(sets)} leave-outs failed; the first deletes {sets[first].tolist()}: "
            f"{why} (‖∇R_0‖ = {everything.gradient_norm[first]:.2e}). throw=False keeps the others.",
            everything,
        )
    return everything


def _searched(problem: Problem, sets: np.ndarray, theta: np.ndarray, tol: float) -> RetrainingAll:
    if problem.convex:
        found, method = leave_outs(problem, sets, theta, tol), "newton"
    else:
        from ._refits import refits  # compiles

        found, method = refits(problem, sets, theta, tol), "minimisation"
    return RetrainingAll(
        points=sets,
        thetas=found.thetas,
        theta=theta,
        gradient_norm=found.gradient_norm,
        distance=found.distance,
        steps=found.steps,
        result=found.result,
        method=method,
    )


def _closed_form(problem: Problem, sets: Int[np.ndarray, "k q"]) -> RetrainingAll:
    factor = factorise(problem)
    x, y = np.asarray(problem.data.x[sets]), np.asarray(problem.data.y[sets])
    change, determined = leave_out(factor, x, y)
    thetas = factor.theta + change
    h, b = statistics(problem, np.ones(problem.delete.shape))
    missing = np.einsum("kqd,kq->kd", x, np.einsum("kqd,kd->kq", x, thetas) - y)
    slopes = thetas @ h - b - problem.scale * missing
    inverse = factor.inverse / np.sqrt(problem.scale)
    return RetrainingAll(
        points=sets,
        thetas=thetas,
        theta=factor.theta,
        gradient_norm=np.linalg.norm(slopes, axis=1),
        # (H_1 − c X_DᵀX_D)⁻¹ is H_1⁻¹ up to the factor (I − P_DD)⁻¹, which the estimate leaves out.
        distance=np.linalg.norm(slopes @ inverse @ inverse.T, axis=1),
        steps=np.zeros(len(sets), np.int64),
        result=decide((~determined, RESULTS.singular)),
        method="closed form",
    )
