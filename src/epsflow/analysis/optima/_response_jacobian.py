"""The response of the optimum to the weight of each deleted point: the Jacobian of θ(ε)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..._core import Array, Axed, InputError, Labelled, Shown
from ...flow import checked, trained_optimum
from ...problem import Problem
from .._deletions import require_deletion
from ._derivatives import derivatives, require_dense


@dataclass(frozen=True, eq=False, repr=False)
class ResponseJacobian(Shown, Labelled):
    """Jθ, how the optimum responds to each deleted point's own weight.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> ef.response_jacobian(line).jacobian
        array([[-0.08333333]])

    Attributes:
        jacobian: column j is ∂θ/∂ε_j = −H_ε⁻¹ g_j, shape (d, m).
        theta: where, θ(ε), shape (d,).
        eps: ε, shape (m,).
        residual: ‖H_ε ∂θ/∂ε_j + g_j‖/‖g_j‖, shape (m,).
        gradient_norm: ‖∇R_ε(θ)‖₂: the columns are derivatives of the optimum where this is zero.
        smallest_curvature: least eigenvalue of H_ε.
    """

    jacobian: Float[np.ndarray, "d m"]
    theta: Float[np.ndarray, " d"]
    eps: Float[np.ndarray, " m"]
    residual: Float[np.ndarray, " m"]
    gradient_norm: float
    smallest_curvature: float

    def _arrays(self) -> dict[str, Axed]:
        return {
            "jacobian": ("parameter deleted", self.jacobian),
            "theta": ("parameter", self.theta),
            "eps": ("deleted", self.eps),
            "residual": ("deleted", self.residual),
        }

    def _facts(self) -> dict[str, object]:
        return {
            "jacobian": self.jacobian,
            "residual": self.residual.max(),
            "gradient_norm": self.gradient_norm,
            "smallest_curvature": self.smallest_curvature,
        }


@checked
def response_jacobian(
    problem: Problem,
    theta: Float[Array, " d"] | Float[np.ndarray, " d"] | None = None,
    *,
    eps: Float[Array, " m"] | np.ndarray | float = 1.0,
) -> ResponseJacobian:
    """Jθ(ε), one column −H_ε⁻¹ g_j for each deleted point; their sum, for equal weights, is θ̇(ε).

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.response_jacobian(problem).jacobian.shape
        (10, 1)

    Args:
        problem: what is trained, and which points are deleted.
        theta: θ(ε), shape (d,). Default: computed (convex risks).
        eps: weights, one or m.

    Raises:
        InputError: no deleted points, weights of the wrong shape, a non-convex risk without θ, or H_ε not positive
            definite (its least eigenvalue).
        ConvergenceError: θ(ε) could not be computed.
    """
    require_deletion(problem)
    weights = np.broadcast_to(problem.checked_weights(eps), problem.delete.shape).copy()
    at = trained_optimum(problem, theta, eps=weights)
    require_dense(problem)
    risk = derivatives(problem)
    hessian, pulls = risk.hessian(at, weights), risk.pulls(at)
    inverse = risk.inverse(at, weights)
    if not inverse.regular:
        raise InputError(
            f"H_ε is not positive definite: its least eigenvalue is {inverse.least:.3e}, or rounding, so θ(ε) "
            "has no derivative. Add l2 > 0, or pass a θ that is a minimum."
        )
    columns = -np.stack([inverse.solve(pull) for pull in pulls], axis=1)
    sizes = np.linalg.norm(pulls, axis=1)
    return ResponseJacobian(
        jacobian=columns,
        theta=at,
        eps=weights,
        residual=np.linalg.norm(columns.T @ hessian + pulls, axis=1) / np.where(sizes > 0.0, sizes, 1.0),
        gradient_norm=float(np.linalg.norm(risk.gradient(at, weights))),
        smallest_curvature=inverse.least,
    )
