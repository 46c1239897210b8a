"""(C + λ_d I)h = v by conjugate gradients: a loop around one function, the product with the matrix."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from ..._core import RESULTS, InputError
from ._base import (
    AbstractCurvatureSolver,
    AnyCurvature,
    CurvatureSolve,
    held_by,
    judge,
    products,
    relative_residuals,
    rtol_of,
)

RENEWAL = 50
"""Steps after which the residual is computed afresh: rounding separates the recurrence from the truth."""


@dataclass(frozen=True, repr=False)
class CG(AbstractCurvatureSolver):
    """Conjugate gradients, one independent iteration per right-hand side: each stops on its own residual.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.influence(problem, solver=ef.CG()).change.shape
        (10,)

    A converged column is frozen while the others go on. Only products are needed. An indefinite matrix is refused when
    a direction or a solution shows it; unlike Cholesky, CG cannot see every negative eigenvalue.

    Attributes:
        rtol: ‖(C + λ_d I)h − v‖ ≤ rtol·‖v‖. Default: 1e-10, in float32 1e-4, in bfloat16 0.05. In these two a solve
            also ends where rounding keeps the residual from falling, and is then judged by what it reached.
        max_steps: iterations per right-hand side; None for 10·d.
    """

    rtol: float | None = None
    max_steps: int | None = None

    def __post_init__(self) -> None:
        if self.rtol is not None and not 0.0 < self.rtol < 1.0:
            raise InputError(f"CG: rtol is {self.rtol}; it must lie between 0 and 1.")
        if self.max_steps is not None and self.max_steps < 1:
            raise InputError(f"CG: max_steps is {self.max_steps}; at least one step is needed.")

    def init(self, curvature: AnyCurvature) -> AnyCurvature:
        """Nothing is prepared."""
        return curvature

    def compute(self, state: Any, rhs: Float[np.ndarray, "q d"]) -> CurvatureSolve:
        """Solve; `InputError` if a solution shows that the matrix is indefinite."""
        limit = 10 * state.dim if self.max_steps is None else self.max_steps
        rtol = rtol_of(state, 1e-10) if self.rtol is None else self.rtol
        solution, steps = _iterate(state, rhs, rtol, limit)
        residual = relative_residuals(products(state, solution), rhs)
        energy, norms = np.einsum("qd,qd->q", solution, rhs), np.einsum("qd,qd->q", solution, solution)
        down = np.flatnonzero((energy < 0.0) & (residual <= rtol))
        if down.size:
            raise _indefinite(state, "a solution", float((energy[down] / norms[down]).min()))
        return CurvatureSolve(
            solution=solution,
            residual=residual,
            result=judge(residual, rtol, RESULTS.max_steps_reached),
            steps=steps,
            solver="cg",
            note=held_by(state, residual, rtol)
            + f"at most {limit} steps per right-hand side; more steps, more damping or a looser rtol help",
        )


def _iterate(
    curvature: AnyCurvature, rhs: Float[np.ndarray, "q d"], rtol: float, limit: int
) -> tuple[np.ndarray, np.ndarray]:
    """Solutions and steps. All columns take part in every product, so that its shape, and its code, stays."""
    point, residual = np.zeros_like(rhs), rhs.copy()
    direction, steps = residual.copy(), np.zeros(len(rhs), np.int64)
    squares = np.einsum("qd,qd->q", residual, residual)
    goals = (0.5 * rtol) ** 2 * squares
    best, narrow = np.full(len(rhs), np.inf), curvature.unit > 1e-10
    kept, least = point, squares  # of the true residuals that were seen
    # Below this share of the largest curvature met, a negative one may be rounding.
    largest, share = 0.0, float(np.sqrt(curvature.unit))
    for count in range(limit):
        going = (squares > goals) & (best >= 0.0)
        if not going.any():
            break
        image = products(curvature, direction)
        bend, norms = np.einsum("qd,qd->q", direction, image), np.einsum("qd,qd->q", direction, direction)
        curvatures = bend[going] / norms[going]
        largest = max(largest, float(np.abs(curvatures).max()))
        if curvatures.min() < -share * largest:
            raise _indefinite(curvature, "a direction of the search", float(curvatures.min()))
        length = np.where(going & (bend != 0.0), squares / np.where(bend == 0.0, 1.0, bend), 0.0)
        point, steps = point + length[:, None] * direction, steps + going
        residual = residual - length[:, None] * image
        new = np.einsum("qd,qd->q", residual, residual)
        # Where rounding is large, an arrival is believed only of the true residual.
        renewed = count % RENEWAL == RENEWAL - 1 or (narrow and bool((going & (new <= goals)).any()))
        if renewed:
            residual = np.where(going[:, None], rhs - products(curvature, point), residual)
            new = np.einsum("qd,qd->q", residual, residual)
        if renewed and narrow:
            kept = np.where((going & (new < least))[:, None], point, kept)
            least = np.where(going, np.minimum(new, least), least)
            # The true residual has not halved since the last time: rounding holds it. Less than 0 ends the column.
            best = np.where(new > 0.25 * best, -1.0, np.where(best < 0.0, best, new))
        ratio = np.where(going, new / np.where(squares == 0.0, 1.0, squares), 0.0)
        direction = np.where(going[:, None], residual + ratio[:, None] * direction, direction)
        squares = np.where(going, new, squares)
    return np.where((best < 0.0)[:, None], kept, point), steps


def _indefinite(curvature: AnyCurvature, where: str, worst: float) -> InputError:
    return InputError(
        f"the {curvature.kind} matrix is indefinite: along {where} its curvature is {worst:.3g}, so θ is not a "
        f"minimum. Damping must exceed {-worst:.3g}, possibly by much (Cholesky tells the least eigenvalue); or use "
        'curvature="ggn".'
    )
