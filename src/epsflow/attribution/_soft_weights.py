"""`soft_weights`: how much less each point should count, to lower an objective without raising others."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._core import (
    RESULTS,
    Array,
    ConvergenceError,
    InputError,
    Tabular,
    as_scalar,
    decide,
    message,
    succeeded,
)
from ..analysis import influence
from ..flow import Equilibrium, checked, stationary_point, trained_optimum
from ..problem import Problem
from ._evaluate import functional_at
from ._weight_program import WeightProgram, Weights, minimise_weights

EXACT = 1e-9
"""Violation of the program's conditions, of the sizes of their terms, up to which it counts as solved."""

MAX_STEPS = 5_000


class Stages(NamedTuple):
    """A functional before, as predicted to first order, and after exact retraining, shape (*q) each."""

    before: Float[np.ndarray, "*q"]
    predicted: Float[np.ndarray, "*q"]
    after: Float[np.ndarray, "*q"]


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class SoftWeights(Tabular):
    """Weights that the quadratic program of influences chose, and what retraining with them really did.

    Example:
        >>> data = ef.Dataset(np.array([[1.0], [1.0], [2.0]]), np.array([1.0, 2.0, 3.0]))
        >>> line = ef.linear_regression(data, [0], l2=1.0)
        >>> ef.soft_weights(line, objective=lambda theta: (theta[0] - 2.0) ** 2).w
        array([-1.,  0.,  0.])

    Attributes:
        w: change of each point's weight, in [−1, 0], shape (n,).
        objective: its values before, predicted and after.
        constraint: those of what must not rise, shape (q,) each; empty where nothing was given.
        floor_dual: multiplier of the floor: by how much a unit more of room would lower the program's minimum.
        constraint_dual: multipliers of the constraints, shape (q,).
        box_dual: multipliers of −1 ≤ w_i and of w_i ≤ 0, shape (n, 2).
        penalty: μ of μ‖w‖².
        violation: how far the program's optimality conditions miss, of the sizes of their terms.
        theta: before, shape (d,).
        retrained: the optimum with weights 1 + w, with its certificate.
        result: how the program and the retraining ended.
    """

    w: Float[np.ndarray, " n"]
    objective: Stages
    constraint: Stages
    floor_dual: float
    constraint_dual: Float[np.ndarray, " q"]
    box_dual: Float[np.ndarray, "n 2"]
    penalty: float
    violation: float
    theta: Float[np.ndarray, " d"]
    retrained: Equilibrium = field(repr=False)
    result: RESULTS

    @property
    def eps(self) -> Float[np.ndarray, " n"]:
        """ε = 1 + w, the weight that each point is trained with."""
        return 1.0 + self.w

    def _facts(self) -> dict[str, object]:
        return {
            "down-weighted": int((self.w < 0.0).sum()),
            "removed": int((self.w <= -1.0).sum()),
            "objective": self.objective.before,
            "predicted": self.objective.predicted,
            "after": self.objective.after,
            "result": self.result,
        }

    def _figures(self) -> dict[str, object]:
        return {
            "points down-weighted": int((self.w < 0.0).sum()),
            "points removed": int((self.w <= -1.0).sum()),
            "weight taken": float(-self.w.sum()),
            "penalty μ": self.penalty,
            "dual of the floor": self.floor_dual,
            "duals of the constraints": self.constraint_dual,
            "violation": self.violation,
            "gradient norm after retraining": self.retrained.gradient_norm,
            "result": self.result,
        }

    def _rows(self) -> list[dict[str, Any]]:
        rows = [{"quantity": "objective", **{k: float(v) for k, v in self.objective._asdict().items()}}]
        for k in range(len(self.constraint_dual)):
            values = {name: float(np.ravel(part)[k]) for name, part in self.constraint._asdict().items()}
            rows.append({"quantity": f"constraint {k}", **values})
        return rows


@checked
def soft_weights(
    problem: Problem,
    theta: Float[Array, " d"] | Float[np.ndarray, " d"] | None = None,
    *,
    objective: Any,
    constraint: Any = None,
    floor: float | None = 0.0,
    penalty: float | None = None,
    curvature: str = "hessian",
    damping: float = 0.0,
    throw: bool = True,
) -> SoftWeights:
    """Weights ε = 1 + w, w ∈ [−1, 0]ⁿ, that lower an objective f without raising constraints u, and what they do.

    Example:
        >>> data = ef.Dataset(np.array([[1.0], [1.0], [2.0]]), np.array([1.0, 2.0, 3.0]))
        >>> line = ef.linear_regression(data, [0], l2=1.0)
        >>> ef.soft_weights(line, objective=lambda theta: (theta[0] - 2.0) ** 2)
        SoftWeights(down-weighted=1, removed=1, objective=0.5102, predicted=0.4519, after=0.4444, result=successful)

    To first order f falls by w·I^f, I^f_i being the predicted change of f upon removal of point i. The weights solve

        min −w·I^f + μ‖w‖²  subject to  w·I^f ≤ f(θ) − floor,  w·I^u ≥ 0,  −1 ≤ w ≤ 0.

    Where the box is idle w = I^f/2μ, ((1−β₂)I^f + β₁I^u)/2μ with the multipliers that are active. The problem is then
    trained again with these weights, exactly, and f and u are evaluated there: a prediction is never the answer.

    Source: Qiao et al. (arXiv:2505.18783), whose program has no box.

    Args:
        problem: what is trained; its own `delete` plays no part.
        theta: θ(1), shape (d,). Default: the optimum, for convex problems.
        objective: f, a function of θ with one value: a measure of unfairness, a loss under attack.
        constraint: u, of one value or several, none of which may rise. Default: none.
        floor: f is not predicted to fall below this, as no loss falls below 0; None for no floor.
        penalty: μ > 0. Default: ½ max(−I^f), the least at which only the most harmful point is removed entirely.
        curvature, damping: of `influence`.
        throw: raise if the program was not solved or the retraining failed.

    Raises:
        InputError: an objective that is not one finite number, or below its floor; a penalty that is not positive; no
            point whose removal is predicted to lower the objective.
        ConvergenceError: the program or the retraining did not converge; `.result` holds what was reached.
    """
    trained = trained_optimum(problem, theta)
    options: Any = {"points": "all", "curvature": curvature, "damping": damping}
    before = functional_at(objective, trained[None])[0]
    if np.size(before) != 1 or not np.isfinite(before).all():
        raise InputError(f"the objective is {before} at theta; it must be one finite number.")
    gain = np.asarray(influence(problem, trained, functional=_scalar(objective), **options).change)
    others = np.zeros((len(gain), 0))
    held = np.zeros(0)
    if constraint is not None:
        held = np.atleast_1d(functional_at(constraint, trained[None])[0])
        if not np.isfinite(held).all():
            raise InputError("the constraint is not finite at theta; nothing can be said of its change.")
        others = np.asarray(influence(problem, trained, functional=constraint, **options).change)
        others = others.reshape(len(gain), -1)
    weight = _penalty(penalty, gain)
    start = float(np.ravel(before)[0])
    room = np.inf if floor is None else start - as_scalar(floor, "floor")
    if room < 0.0:
        raise InputError(f"the objective is {start:.4g} at theta, below its floor; pass a lower floor, or floor=None.")
    found = minimise_weights(_program(gain, others, room, weight))
    end = _retrain(problem, trained, found.w)
    answer = _assembled(found, (gain, others), (objective, constraint), (start, held), trained, end, weight)
    if throw and not succeeded(answer.result):
        raise ConvergenceError(
            f"soft weights: {message(answer.result)} (the program misses its conditions by {found.violation:.1e}; "
            f"‖∇R‖ after retraining is {end.gradient_norm:.1e}.) throw=False returns what was reached.",
            answer,
        )
    return answer


def _program(gain: np.ndarray, others: np.ndarray, room: float, weight: float) -> WeightProgram:
    """The floor's row first, if there is one."""
    rows, limits = -others.T, np.zeros(others.shape[1])
    if np.isfinite(room):
        rows, limits = np.vstack([gain, rows]), np.concatenate([[room], limits])
    return WeightProgram(gain, rows, limits, weight)


def _assembled(
    found: Weights,
    effects: tuple[np.ndarray, np.ndarray],
    functionals: tuple[Any, Any],
    before: tuple[float, np.ndarray],
    theta: np.ndarray,
    end: Equilibrium,
    weight: float,
) -> SoftWeights:
    (gain, others), (objective, constraint), (start, held) = effects, functionals, before
    floored = len(found.duals) > others.shape[1]
    there = np.asarray(end.theta)[None]
    after = held if constraint is None else np.atleast_1d(functional_at(constraint, there)[0])
    solved = found.violation <= EXACT
    return SoftWeights(
        w=found.w,
        objective=Stages(
            np.asarray(start), np.asarray(start - found.w @ gain), functional_at(objective, there).reshape(())
        ),
        constraint=Stages(held, held - found.w @ others, after),
        floor_dual=float(found.duals[0]) if floored else 0.0,
        constraint_dual=found.duals[1:] if floored else found.duals,
        box_dual=np.stack([found.below, found.above], axis=1),
        penalty=weight,
        violation=found.violation,
        theta=theta,
        retrained=end,
        result=decide((not solved, RESULTS.stagnation), otherwise=end.result),
    )


def _penalty(penalty: object, gain: np.ndarray) -> float:
    worst = float(-gain.min(initial=0.0))
    if not worst > 0.0:
        raise InputError("no point's removal is predicted to lower the objective: every weight stays 1.")
    if penalty is None:
        return 0.5 * worst
    value = as_scalar(penalty, "penalty")
    if not value > 0.0:
        raise InputError(f"penalty is {value:g}; it must be positive. The default is {0.5 * worst:.3g} here.")
    return value


def _scalar(objective: Any) -> Any:
    """The same function with a value of shape ()."""
    return lambda theta: jnp.reshape(objective(theta), ())


def _retrain(problem: Problem, theta: Float[np.ndarray, " d"], w: Float[np.ndarray, " n"]) -> Equilibrium:
    """The optimum with weights 1 + w, from θ."""
    eps, changed = 1.0 + w, np.flatnonzero(w < 0.0)
    scale = 1.0
    if changed.size == len(w):
        # A problem keeps one point at least: the heaviest one, whose weight divides the whole risk.
        heaviest = int(np.argmax(eps))
        scale = float(eps[heaviest])
        if not scale > 0.0:
            raise InputError("every point would be removed: raise the penalty.")
        changed = np.delete(changed, heaviest)
    weighted = Problem(
        problem.model,
        problem.loss,
        problem.data,
        changed if changed.size else None,
        problem.penalty / scale,
        problem.reduction,
        problem.chunk_rows,
    )
    return stationary_point(weighted, eps[changed] / scale, theta, tol=1e-10, max_steps=MAX_STEPS)
