"""Leave-out minima of any model, one set after the other: a NumPy loop around two compiled functions."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from ..._core import RESULTS, Array, decide
from ...flow import LocalMinimum, descend, hessian_of
from ...problem import EmpiricalRisk, Problem
from ._leave_outs import LeaveOuts
from ._secants import CONTRACTION, SECANT_STEPS

UNIT = np.finfo(np.float64).eps

DESCENT_STEPS = 5_000


def refits(problem: Problem, sets: Int[np.ndarray, "k q"], theta: Float[np.ndarray, " d"], tol: float) -> LeaveOuts:
    """A minimum of R_0 near θ for every set: ‖∇R_0‖ ≤ tol·max(‖Σ_D g_j(θ)‖, ‖∇²R_1‖‖θ‖), and its Hessian checked."""
    risk = problem.empirical()
    zero = np.zeros(())
    hessian = np.asarray(hessian_of(risk, theta, np.ones(())))
    scale = float(np.linalg.norm(hessian)) * float(np.linalg.norm(theta))
    ends, targets = [], []
    for points in sets:
        left = without(risk, points)
        slope = np.asarray(slope_of(left, theta, zero))
        targets.append(tol * max(scale, float(np.linalg.norm(slope))))
        ends.append(_refit(left, theta, slope, hessian, targets[-1]))
    slopes = np.stack([end.gradient for end in ends])
    values, axes = np.linalg.eigh(np.stack([end.hessian for end in ends]))
    rounding = values.shape[1] * UNIT * np.abs(values).max(axis=1)
    regular = np.abs(values) > rounding[:, None]
    left = np.where(regular, np.einsum("kij,ki->kj", axes, slopes) / np.where(regular, values, 1.0), 0.0)
    norms, distances = np.linalg.norm(slopes, axis=1), np.linalg.norm(left, axis=1)
    thetas = np.stack([end.theta for end in ends])
    far = (distances > 1e-3 * np.linalg.norm(thetas, axis=1)) & (norms > 1e-4 * np.array(targets))
    return LeaveOuts(
        thetas=thetas,
        gradient_norm=norms,
        distance=distances,
        steps=np.array([end.steps for end in ends]),
        result=decide(
            (far | ~(norms <= np.array(targets)), RESULTS.not_stationary),
            (values[:, 0] < -rounding, RESULTS.not_a_minimum),
        ),
    )


def _refit(
    risk: EmpiricalRisk, theta: np.ndarray, slope: np.ndarray, hessian: np.ndarray, target: float
) -> LocalMinimum:
    """Quasi-Newton from θ while it contracts, else a search that does not depend on a good start."""
    zero = np.zeros(())
    values, axes = np.linalg.eigh(hessian)
    if values[0] > len(values) * UNIT * np.abs(values).max():
        point, inverse, norm = theta, (axes / values) @ axes.T, np.linalg.norm(slope)
        for step in range(SECANT_STEPS):
            if norm <= target:
                return LocalMinimum(point, step, slope, np.asarray(hessian_of(risk, point, zero)))
            move = -inverse @ slope
            new_slope = np.asarray(slope_of(risk, point + move, zero))
            new_norm = np.linalg.norm(new_slope)
            if not new_norm < (CONTRACTION if step else 2.0) * norm:
                break
            inverse = secant_update(inverse, move, new_slope - slope)
            point, slope, norm = point + move, new_slope, new_norm
    return descend(risk, zero, theta, target, DESCENT_STEPS)


def without(risk: EmpiricalRisk, points: Int[np.ndarray, " q"]) -> EmpiricalRisk:
    """The same risk with another deletion set."""
    return eqx.tree_at(lambda r: r.delete, risk, jnp.asarray(points))


def secant_update(
    inverse: Float[np.ndarray, "d d"], move: Float[np.ndarray, " d"], change: Float[np.ndarray, " d"]
) -> Float[np.ndarray, "d d"]:
    """The BFGS update of an inverse Hessian: it maps the gradient's change y to the move s. Itself where yᵀs ≤ 0."""
    image, along = inverse @ change, change @ move
    if not along > 0.0:
        return inverse
    mixed = np.outer(move, image)
    return inverse - (mixed + mixed.T) / along + (1.0 + change @ image / along) / along * np.outer(move, move)


@eqx.filter_jit
def slope_of(risk: EmpiricalRisk, theta: Array, eps: Array) -> Float[Array, " d"]:
    """∇R_ε."""
    return jax.grad(risk.value)(theta, eps)
