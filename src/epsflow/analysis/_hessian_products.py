"""The answers to one deletion from Hessians at θ_s, by conjugate gradients: for parameters too many for a matrix."""

from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float

from .._core import InputError, succeeded
from ..problem import Problem
from ._point_gradients import point_gradients
from .curvature import CG, AnyCurvature, Curvature, CurvatureSolve, curvature_at, refined, solve


@dataclass(frozen=True, eq=False)
class HessianAnswer:
    """A predicted change upon removal.

    Attributes:
        change: shape (d,); NaN where there is no answer.
        products: with a Hessian that it took.
        good: whether its solves converged.
        note: their residual, or why there is no answer.
    """

    change: Float[np.ndarray, " d"]
    products: float
    good: bool
    note: str


def by_products(
    problem: Problem,
    theta: Float[np.ndarray, " d"],
    tol: float,
    max_steps: int,
    max_bytes: int | None,
    precision: str,
) -> dict[str, HessianAnswer]:
    """Influence, its second order and the Newton step for the problem's deletion.

    As `influence` and `newton_step` define them, H_1⁻¹Σ_D g_j, with ½θ̈(1) added, and H_0⁻¹Σ_D g_j. A Hessian that a
    direction of the search shows to be indefinite ends it: then there is no answer.

    Args:
        problem: what is trained, in float64.
        theta: θ_s, shape (d,).
        tol: residual of each solve.
        max_steps: products of each solve.
        max_bytes: memory for intermediate arrays.
        precision: of products, "float64" or "float32"; residuals are in float64.
    """
    matrices = [_Hessian(problem, theta, eps, max_bytes, precision) for eps in (1.0, 0.0)]
    gradients = point_gradients(problem, matrices[0].matrix, None)
    pull = gradients.sums()
    first = matrices[0].solved(pull, tol, max_steps)
    second = first if isinstance(first, str) else matrices[0].solved(-gradients.bends(-first.solution), tol, max_steps)
    return {
        "influence": _answer(theta, [(1.0, first)]),
        "second order": _answer(theta, [(1.0, first), (0.5, second)]),
        "Newton step": _answer(theta, [(1.0, matrices[1].solved(pull, tol, max_steps))]),
    }


class _Hessian:
    """∇²R_ε(θ) in float64; and in another precision, where products are."""

    def __init__(
        self, problem: Problem, theta: Float[np.ndarray, " d"], eps: float, max_bytes: int | None, precision: str
    ):
        self.matrix: AnyCurvature = curvature_at(problem, theta, "hessian", eps=eps, max_bytes=max_bytes)
        self.narrow: Curvature | None = None
        if precision != "float64":
            with jax.enable_x64(False):
                same = curvature_at(problem.with_dtype(precision), theta, "hessian", eps=eps, max_bytes=max_bytes)
            self.narrow = same if isinstance(same, Curvature) else None

    def solved(self, rhs: Float[np.ndarray, "1 d"], tol: float, max_steps: int) -> CurvatureSolve | str:
        """The solve, or why there is none."""
        try:
            if self.narrow is None:
                return solve(self.matrix, rhs, CG(rtol=tol, max_steps=max_steps), throw=False)
            return refined(self.matrix, self.narrow, rhs, rtol=tol, max_steps=max_steps)
        except InputError as refusal:
            return str(refusal)


def _answer(theta: np.ndarray, parts: list[tuple[float, CurvatureSolve | str]]) -> HessianAnswer:
    """A weighted sum of solves; the largest residual."""
    solves = [(weight, part) for weight, part in parts if not isinstance(part, str)]
    if len(solves) < len(parts):
        refusal = next(part for _, part in parts if isinstance(part, str))
        return HessianAnswer(np.full_like(theta, np.nan), 0.0, False, f"no answer: {refusal}")
    return HessianAnswer(
        change=np.sum([weight * part.solution[0] for weight, part in solves], axis=0),
        products=float(sum(int(part.steps[0]) + 1 for _, part in solves)),  # the last one finds the residual
        good=all(bool(succeeded(part.result).all()) for _, part in solves),
        note=f"residual {max(float(part.residual[0]) for _, part in solves):.1e}",
    )
