"""Influence of the first order, a few right-hand sides at a time: nothing of the size points × parameters is held.

Either side of ∇φᵀ(C + λ_d I)⁻¹g is solved for, the one with fewer rows; the other one is only multiplied with, by
forward differentiation along a solution.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .._core import RESULTS, join
from ..problem import Problem
from ._functionals import Functional, functional_rows, functional_slopes
from ._point_gradients import PointGradients
from .curvature import Curvature, Prepared


@dataclass(frozen=True, eq=False)
class Solved:
    """What the solves gave.

    Attributes:
        change: ∇φᵀΔ, shape (count, q), or Δ, shape (count, d).
        residual: of each solve.
        result: how each ended.
        solver: which one.
        solved_for: "points" or "functional".
    """

    change: Float[np.ndarray, "count k"]
    residual: Float[np.ndarray, " solves"]
    result: RESULTS
    solver: str
    solved_for: str


def for_functional(
    matrix: Curvature, prepared: Prepared, gradients: PointGradients, functional: Functional, count: int, *, throw: bool
) -> Solved:
    """A few values of φ at a time, `count` in all; their solutions against the gradients of the points."""
    most = 1 if matrix.chunks is None else matrix.chunks.solves
    change, answers = np.empty((gradients.count, count), matrix.theta.dtype), []
    for start, rows in functional_rows(functional, matrix.theta, count, most):
        answer = prepared.solve(rows, throw=throw)
        change[:, start : start + len(rows)] = gradients.products(answer.solution)
        answers.append((answer.residual, answer.result, answer.solver))
    return _solved(change, answers, "functional")


def for_points(
    problem: Problem,
    matrix: Curvature,
    prepared: Prepared,
    gradients: PointGradients,
    functional: Functional | None,
    *,
    throw: bool,
) -> Solved:
    """A few deletions at a time; their changes of θ, or of φ along them."""
    most = 1 if matrix.chunks is None else matrix.chunks.solves
    changes, answers = [], []
    if functional is None:
        gradients.check_size()
    for start in range(0, gradients.count, most):
        answer = prepared.solve(gradients.part(problem, start, start + most).sums(), throw=throw)
        change = answer.solution
        changes.append(change if functional is None else functional_slopes(functional, matrix.theta, change))
        answers.append((answer.residual, answer.result, answer.solver))
    return _solved(np.concatenate(changes), answers, "points")


def _solved(change: np.ndarray, answers: list[tuple[np.ndarray, RESULTS, str]], solved_for: str) -> Solved:
    return Solved(
        change=change,
        residual=np.concatenate([residual for residual, _, _ in answers]),
        result=join([result for _, result, _ in answers]),
        solver=answers[0][2],
        solved_for=solved_for,
    )
