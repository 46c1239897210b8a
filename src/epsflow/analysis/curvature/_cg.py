"""(C + λ_d I)h = v by conjugate gradients: a loop around one function, the product with the matrix."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from ..._core import RESULTS, InputError
from ._base import AbstractCurvatureSolver, AnyCurvature, CurvatureSolve, judge, products, relative_residuals

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
        rtol: ‖(C + λ_d I)h − v‖ ≤ rtol·‖v‖.
        max_steps: iterations per right-hand side; None for 10·d.
    """

    rtol: float = 1e-10
    max_steps: int | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.rtol < 1.0:
            raise InputError(f"CG: rtol is {self.rtol}; it must lie between 0 and 1.")
        if self.max_steps is not None and self.max_steps < 1:
            raise InputError(f"CG: max_steps is {self.max_steps}; at least one step is needed.")

    def init(self, curvature: AnyCurvature) -> AnyCurvature:
        """Nothing is prepared."""
        return curvature

    def compute(self, state: Any, rhs: Float[np.ndarray, "q d"]) -> CurvatureSolve:
        """Solve; `InputError` if a solution shows that the matrix is indefinite."""
        limit = 10 * state.dim if self.max_steps is None else self.max_steps
        solution, steps = self._iterate(state, rhs, limit)
        residual = relative_residuals(products(state, solution), rhs)
        energy, norms = np.einsum("qd,qd->q", solution, rhs), np.einsum("qd,qd->q", solution, solution)
        down = np.flatnonzero((energy < 0.0) & (residual <= self.rtol))
        if down.size:
            worst = float((energy[down] / norms[down]).min())
            raise InputError(
                f"the {state.kind} matrix is indefinite: along a solution its curvature is {worst:.3g}, so θ is "
                f"not a minimum. Damping must exceed {-worst:.3g}, possibly by much (Cholesky tells the least "
                'eigenvalue); or use curvature="ggn".'
            )
        return CurvatureSolve(
            solution=solution,
            residual=residual,
            result=judge(residual, self.rtol, RESULTS.max_steps_reached),
            steps=steps,
            solver="cg",
            note=f"at most {limit} steps per right-hand side; more steps, more damping or a looser rtol help",
        )

    def _iterate(
        self, curvature: AnyCurvature, rhs: Float[np.ndarray, "q d"], limit: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Solutions and steps. All columns take part in every product, so that its shape, and its code, stays."""
        point, residual = np.zeros_like(rhs), rhs.copy()
        direction, steps = residual.copy(), np.zeros(len(rhs), np.int64)
        squares = np.einsum("qd,qd->q", residual, residual)
        goals = (0.5 * self.rtol) ** 2 * squares
        for count in range(limit):
            going = squares > goals
            if not going.any():
                break
            image = products(curvature, direction)
            bend = np.einsum("qd,qd->q", direction, image)
            length = np.where(going & (bend != 0.0), squares / np.where(bend == 0.0, 1.0, bend), 0.0)
            point, steps = point + length[:, None] * direction, steps + going
            residual = residual - length[:, None] * image
            if count % RENEWAL == RENEWAL - 1:
                residual = np.where(going[:, None], rhs - products(curvature, point), residual)
            new = np.einsum("qd,qd->q", residual, residual)
            ratio = np.where(going, new / np.where(squares == 0.0, 1.0, squares), 0.0)
            direction = np.where(going[:, None], residual + ratio[:, None] * direction, direction)
            squares = np.where(going, new, squares)
        return point, steps
