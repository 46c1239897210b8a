"""`newton_step`: the change upon removal as one Newton step on the leave-out risk, for one deletion or for many."""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from ..._core import Array, InputError, Shown, as_scalar
from ...flow import checked, trained_optimum, undetermined
from ...problem import DENSE_LIMIT, EmpiricalRisk, LinearModel, Problem
from .._deletions import Points, deletion_sets, require_deletion
from ._removal import remove

UNIT = np.finfo(np.float64).eps


@dataclass(frozen=True, eq=False, repr=False)
class NewtonStep(Shown):
    """Predicted change upon removal, Δ = (H_0 + λ_d I)⁻¹ Σ_D g_j; with a leading axis k for many deletion sets.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.newton_step(problem).change.shape
        (10,)

    Attributes:
        change: Δ, predicting θ(0) − θ(1), shape (d,) or (k, d).
        theta: where H_0 and g_j were taken, θ(1), shape (d,).
        damping: λ_d.
        residual: ‖(H_0 + λ_d I)Δ − Σ g_j‖/‖Σ g_j‖, with H_0 and not its factor, shape () or (k,).
        gradient_norm: ‖∇R_1(θ)‖: how far θ is from trained. Δ is the Newton step on R_0 where this is zero.
        hessian: H_1 of a linear model, shape (d, d); H_0 of each set for others, shape (*k, d, d).
        removed: B of every set with H_0 = hessian − BᵀB, shape (*k, r, d); r = 0 for other models.
        caution: what makes the answer worth less than it looks, as `Problem.caution` says; mostly empty.
    """

    change: Float[np.ndarray, "*k d"]
    theta: Float[np.ndarray, " d"]
    damping: float
    residual: Float[np.ndarray, "*k"] | float
    gradient_norm: float
    hessian: Float[np.ndarray, "... d d"]
    removed: Float[np.ndarray, "*k r d"]
    caution: str = ""

    @property
    def predicted(self) -> Float[np.ndarray, "*k d"]:
        """θ(1) + Δ, predicting θ(0)."""
        return self.theta + self.change

    @property
    def smallest_curvature(self) -> Float[np.ndarray, "*k"] | float:
        """Least eigenvalue of H_0 (without damping), shape () or (k,); d³ operations for each set, when asked for."""
        gram = np.swapaxes(self.removed, -1, -2) @ self.removed
        return np.linalg.eigvalsh(self.hessian - gram)[..., 0]

    def _facts(self) -> dict[str, object]:
        return {
            "change": self.change,
            "damping": self.damping,
            "residual": np.max(self.residual),
            "gradient_norm": self.gradient_norm,
            **({"caution": self.caution} if self.caution else {}),
        }


@checked
def newton_step(
    problem: Problem, theta: Float[Array, " d"] | Float[np.ndarray, " d"] | None = None, *, damping: float = 0.0
) -> NewtonStep:
    """Δ_Nt = H_0(θ(1))⁻¹ Σ_D g_j(θ(1)), g_j = c∇ℓ_j: one Newton step on R_0 from the trained optimum.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> np.allclose(ef.newton_step(problem).change, ef.retrain(problem).theta - ef.train(problem).theta)
        True

    Exact for linear regression. Unlike the influence function, whose Hessian is H_1, it keeps the factor 1/(1 − P_jj).
    Source: notes, Definition 6, with the sign of a removal and (λ/2)‖θ‖² as regulariser.

    Args:
        problem: what is trained, and which points are deleted.
        theta: θ(1), shape (d,). Default: computed (convex risks).
        damping: λ_d ≥ 0, added to every eigenvalue of H_0.

    Raises:
        InputError: no deleted points, θ of the wrong shape, a non-convex risk without θ, negative damping, or a
            singular or indefinite H_0 (its least eigenvalue, and what damping would do).
        ConvergenceError: θ(1) could not be computed.
    """
    require_deletion(problem)
    many = _steps(problem, theta, problem.delete[None], damping)
    hessian = many.hessian if many.hessian.ndim == 2 else many.hessian[0]
    return NewtonStep(
        change=many.change[0],
        theta=many.theta,
        damping=many.damping,
        residual=float(np.ravel(many.residual)[0]),
        gradient_norm=many.gradient_norm,
        hessian=hessian,
        removed=many.removed[0],
        caution=many.caution,
    )


@checked
def newton_step_all(
    problem: Problem,
    theta: Float[Array, " d"] | Float[np.ndarray, " d"] | None = None,
    *,
    points: Points = "all",
    damping: float = 0.0,
) -> NewtonStep:
    """`newton_step` for many deletion sets at once; H_0 of each is H_1 minus the Hessian of its points.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.newton_step_all(problem).change.shape
        (442, 10)

    For linear models all of them share one factor of H_1.

    Args:
        problem: what is trained; its own `delete` plays no part here.
        theta: θ(1), shape (d,). Default: computed (convex risks).
        points: "all" for every point alone, a list of points, or sets of equal size, shape (k, q).
        damping: λ_d ≥ 0.

    Raises:
        InputError: as `newton_step`, naming the first set with a singular H_0.
        ConvergenceError: θ(1) could not be computed.
    """
    return _steps(problem, theta, deletion_sets(problem, points), damping, single=False)


def _steps(
    problem: Problem, theta: Any, sets: Int[np.ndarray, "k q"], damping: Any, *, single: bool = True
) -> NewtonStep:
    ridge = as_scalar(damping, "damping")
    if ridge < 0.0:
        raise InputError(f"damping is {ridge:g}; a negative one moves H_0 towards singularity. Use damping ≥ 0.")
    trained = trained_optimum(problem, theta)
    if isinstance(problem.model, LinearModel) and problem.loss.convex:
        return _linear(problem, trained, sets, ridge, single=single)
    return _general(problem, trained, sets, ridge, single=single)


def _linear(problem: Problem, theta: np.ndarray, sets: np.ndarray, ridge: float, *, single: bool) -> NewtonStep:
    removal = remove(problem, theta, sets, ridge)
    if not removal.definite.all():
        hessians = removal.hessian - np.swapaxes(removal.rows, 1, 2) @ removal.rows
        _refuse(problem, hessians, ~removal.definite, sets, ridge, single=single)
    change = removal.solve(removal.pulls)
    return NewtonStep(
        change=change,
        theta=theta,
        damping=ridge,
        residual=removal.residuals(change, ridge),
        gradient_norm=removal.gradient_norm,
        hessian=removal.hessian,
        removed=removal.rows,
        caution=problem.caution,
    )


def _general(problem: Problem, theta: np.ndarray, sets: np.ndarray, ridge: float, *, single: bool) -> NewtonStep:
    """Any model: H_0 of every set, decomposed."""
    if problem.dim > DENSE_LIMIT:
        raise InputError(
            f"a dense Hessian for d = {problem.dim} takes {8e-9 * problem.dim**2:.1f} GB; use "
            '`influence(..., solver="cg")`, which needs products only.'
        )
    risk = problem.empirical()
    slope, whole = (np.asarray(part) for part in gradient_and_hessian(risk, theta))
    parts = [_deleted(risk, theta, points) for points in sets]
    hessians = np.stack([whole - np.asarray(hessian) for _, hessian in parts])
    pulls = np.stack([np.asarray(pull) for pull, _ in parts])
    values, axes = np.linalg.eigh(hessians)
    damped = values + ridge
    rounding = damped.shape[1] * UNIT * np.abs(damped).max(axis=1)
    if not (damped[:, 0] > rounding).all():
        _refuse(problem, hessians, ~(damped[:, 0] > rounding), sets, ridge, single=single)
    change = np.einsum("kij,kj->ki", axes, np.einsum("kij,ki->kj", axes, pulls) / damped)
    image = np.einsum("kij,kj->ki", hessians, change) + ridge * change - pulls
    sizes = np.linalg.norm(pulls, axis=1)
    return NewtonStep(
        change=change,
        theta=theta,
        damping=ridge,
        residual=np.linalg.norm(image, axis=1) / np.where(sizes > 0.0, sizes, 1.0),
        gradient_norm=float(np.linalg.norm(slope)),
        hessian=hessians,
        removed=np.zeros((len(sets), 0, problem.dim)),
    )


def _refuse(
    problem: Problem, hessians: np.ndarray, bad: np.ndarray, sets: np.ndarray, ridge: float, *, single: bool
) -> None:
    """Raise for the first set whose H_0 + λ_d I is not positive definite."""
    first = int(np.argmax(bad))
    values = np.linalg.eigvalsh(hessians[first])
    least, rounding = float(values[0]), len(values) * UNIT * float(np.abs(values + ridge).max())
    words = _not_positive(least, rounding, undetermined(problem) if single else "")
    where = "" if single else f"{int(bad.sum())} of {len(sets)} deletion sets, first {sets[first].tolist()}: "
    raise InputError(where + words)


def _not_positive(least: float, rounding: float, direction: str) -> str:
    kind = "singular" if abs(least) <= 10.0 * rounding else "indefinite" if least < 0.0 else "nearly singular"
    enough = max(-least, rounding)
    return (
        f"H_0 is {kind}, with least eigenvalue {least:.3e} (rounding {rounding:.0e}){direction}, and the leave-out "
        f"optimum has no unique Newton step. damping > {enough:.1e} would make H_0 + damping·I positive definite and "
        "bound the step by ‖Σg_j‖/(least eigenvalue + damping), at the price of a shorter one; l2 > 0 would change "
        "the problem."
    )


@eqx.filter_jit
def gradient_and_hessian(risk: EmpiricalRisk, theta: Array) -> tuple[Float[Array, " d"], Float[Array, "d d"]]:
    """∇R_1 and ∇²R_1."""
    one = jnp.ones(())
    return risk.gradient(theta, one), risk.hessian(theta, one)


@eqx.filter_jit
def _deleted(risk: EmpiricalRisk, theta: Array, points: Array) -> tuple[Float[Array, " d"], Float[Array, "d d"]]:
    """Σ_D g_j and its derivative."""

    def pull(t: Array) -> Array:
        return jnp.sum(risk.point_gradients(t, points), axis=0)

    return pull(theta), jax.jacfwd(pull)(theta)
