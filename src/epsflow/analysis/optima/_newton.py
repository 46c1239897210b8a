"""`newton_step`: the change upon removal as one Newton step on the leave-out risk, for one deletion or for many."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._core import InputError, as_scalar
from ...problem import EmpiricalRisk, Problem
from .._deletions import deletion_sets, require_deletion
from ._retrain_all import CHUNK_NUMBERS, deleted_hessian, empirical, without
from ._stationary import rounding_of, trained_optimum, undetermined


class NewtonStep(eqx.Module):
    """Predicted change upon removal, Δ = (H_0 + λ_d I)⁻¹ Σ_D g_j; with a leading axis k for many deletion sets.

    Attributes:
        delta: Δ, predicting θ(0) − θ(1), shape (d,) or (k, d).
        theta: where H_0 and g_j were taken, θ(1), shape (d,).
        damping: λ_d.
        residual: ‖(H_0 + λ_d I)Δ − Σ g_j‖/‖Σ g_j‖ with Hessian products of the risk itself, shape () or (k,).
        smallest_curvature: least eigenvalue of H_0 (without damping), shape () or (k,).
        gradient_norm: ‖∇R_1(θ)‖: how far θ is from trained. Δ is the Newton step on R_0 where this is zero.
    """

    delta: Float[Array, "*k d"]
    theta: Float[Array, " d"]
    damping: Float[Array, ""]
    residual: Float[Array, "*k"]
    smallest_curvature: Float[Array, "*k"]
    gradient_norm: Float[Array, ""]

    @property
    def predicted(self) -> Float[Array, "*k d"]:
        """θ(1) + Δ, predicting θ(0)."""
        return self.theta + self.delta


def newton_step(
    problem: Problem, theta: Float[Array, " d"] | np.ndarray | None = None, *, damping: float = 0.0
) -> NewtonStep:
    """Δ_Nt = H_0(θ(1))⁻¹ Σ_D g_j(θ(1)), g_j = c∇ℓ_j: one Newton step on R_0 from the trained optimum.

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
    ridge = _damping(damping)
    trained = trained_optimum(problem, theta)
    problem.hessian(trained, 0.0)  # refuses a matrix that does not fit
    delta, residual, least, rounding = _solve(problem.risk, trained, ridge)
    if not float(least + ridge) > float(rounding):
        raise InputError(_not_positive(float(least), float(rounding), undetermined(problem)))
    return NewtonStep(delta, trained, ridge, residual, least, jnp.linalg.norm(problem.gradient(trained)))


def newton_step_all(
    problem: Problem,
    deletions: np.ndarray | Sequence[Any] | None = None,
    theta: Float[Array, " d"] | np.ndarray | None = None,
    *,
    damping: float = 0.0,
) -> NewtonStep:
    """`newton_step` for many deletion sets at once; H_0 of each is H_1 minus the Hessian of its points.

    Args:
        problem: what is trained; its own `delete` plays no part here.
        deletions: sets of equal size, shape (k, q), or (k,) for single points. Default: every point alone.
        theta: θ(1), shape (d,). Default: computed (convex risks).
        damping: λ_d ≥ 0.

    Raises:
        InputError: as `newton_step`, naming the first set with a singular H_0.
        ConvergenceError: θ(1) could not be computed.
    """
    sets, ridge = deletion_sets(problem, deletions), _damping(damping)
    trained = trained_optimum(problem, theta)
    problem.hessian(trained)
    batch = max(1, min(len(sets), CHUNK_NUMBERS // (4 * problem.data.n + 4 * problem.dim**2)))
    delta, residual, least, rounding = _solve_all(empirical(problem), jnp.asarray(sets), trained, ridge, batch=batch)
    bad = np.flatnonzero(~np.asarray(least + ridge > rounding))
    if bad.size:
        first = int(bad[0])
        words = _not_positive(float(least[first]), float(rounding[first]), "")
        raise InputError(f"{bad.size} of {len(sets)} deletion sets, first {sets[first].tolist()}: {words}")
    return NewtonStep(delta, trained, ridge, residual, least, jnp.linalg.norm(problem.gradient(trained)))


def _damping(value: Any) -> Float[Array, ""]:
    ridge = as_scalar(value, "damping")
    if ridge < 0.0:
        raise InputError(f"damping is {ridge:g}; a negative one moves H_0 towards singularity. Use damping ≥ 0.")
    return jnp.asarray(ridge)


def _not_positive(least: float, rounding: float, direction: str) -> str:
    kind = "singular" if abs(least) <= rounding else "indefinite" if least < 0.0 else "nearly singular"
    enough = max(-least, rounding)
    return (
        f"H_0 is {kind}, with least eigenvalue {least:.3e} (rounding {rounding:.0e}){direction}, and the leave-out "
        f"optimum has no unique Newton step. damping > {enough:.1e} would make H_0 + damping·I positive definite and "
        "bound the step by ‖Σg_j‖/(least eigenvalue + damping), at the price of a shorter one; l2 > 0 would change "
        "the problem."
    )


@eqx.filter_jit
def _solve(risk: Any, theta: Array, ridge: Array) -> tuple[Array, Array, Array, Array]:
    pull = jnp.sum(risk.deleted_gradients(theta), axis=0)
    return _solution(risk, risk.hessian(theta, 0.0), pull, theta, ridge)


@eqx.filter_jit
def _solve_all(
    risk: EmpiricalRisk, sets: Array, theta: Array, ridge: Array, *, batch: int
) -> tuple[Array, Array, Array, Array]:
    hessian = risk.hessian(theta, 1.0)

    def row(points: Array) -> tuple[Array, Array, Array, Array]:
        left = without(risk, points)
        pull = jnp.sum(left.deleted_gradients(theta), axis=0)
        return _solution(left, hessian - deleted_hessian(left, theta), pull, theta, ridge)

    return jax.lax.map(row, sets, batch_size=batch)


def _solution(risk: Any, hessian: Array, pull: Array, theta: Array, ridge: Array) -> tuple[Array, Array, Array, Array]:
    """Δ, its relative residual, the least eigenvalue of H_0 and the rounding of the damped spectrum."""
    values, vectors = jnp.linalg.eigh(hessian)
    delta = vectors @ ((pull @ vectors) / (values + ridge))
    left = risk.hvp(theta, delta, jnp.zeros(())) + ridge * delta - pull
    size = jnp.linalg.norm(pull)
    residual = jnp.where(size > 0.0, jnp.linalg.norm(left) / jnp.where(size > 0.0, size, 1.0), 0.0)
    return delta, residual, values[0], rounding_of(values + ridge)
