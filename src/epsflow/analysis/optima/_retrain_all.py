"""`retrain_all`: exact leave-outs of many deletion sets in one call.

Risks that differ by one point differ little in their Hessians, so every leave-out starts at θ(1) with its own Hessian
there, the common one minus the deleted points', and improves it by BFGS updates with full steps (optimistix's BFGS has
no initial Hessian). One step costs a gradient. The few for which that contracts slowly are finished by Newton's method.
"""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..._core import RESULTS, ConvergenceError, message
from ...problem import EmpiricalRisk, Problem, Quadratic
from .._deletions import deletion_sets
from ._leverage import factorise, leave_out
from ._stationary import NEWTON_STEPS, descend, judge, newton, rounding_of, spectrum, trained_optimum

CHUNK_NUMBERS = 32_000_000
"""Numbers (256 MB) that the leave-outs worked on at the same time may occupy."""
ROWS = 64
"""Leave-outs worked on at the same time; all of them run until the slowest has finished."""
SECANT_STEPS = 30
DESCENT_STEPS = 5_000
CONTRACTION = 0.5
"""Steps that shrink the gradient by less than this factor are slower than Newton's method."""


class RetrainingAll(eqx.Module):
    """Leave-out optima of k deletion sets.

    Attributes:
        deletions: the points each set deletes, shape (k, q).
        thetas: θ(0) of each, shape (k, d).
        theta: θ(1), trained with all points, shape (d,).
        gradient_norms: ‖∇R_0(θ(0))‖₂ of each, computed afresh, shape (k,).
        distances: estimated distance to the optimum, shape (k,): the Newton step left, or for a convex risk with
            λ > 0 its bound ‖∇R_0‖/λ.
        iterations: quasi-Newton and Newton steps of each; 0 for a closed form. Shape (k,).
        result: how each ended, shape (k,).
        method: "closed form" or "newton".
    """

    deletions: Int[np.ndarray, "k q"]
    thetas: Float[Array, "k d"]
    theta: Float[Array, " d"]
    gradient_norms: Float[Array, " k"]
    distances: Float[Array, " k"]
    iterations: Int[Array, " k"]
    result: RESULTS
    method: str = eqx.field(static=True)

    @property
    def deltas(self) -> Float[Array, "k d"]:
        """θ(0) − θ(1), the change upon removal, of each set."""
        return self.thetas - self.theta


def retrain_all(
    problem: Problem,
    deletions: np.ndarray | Sequence[Any] | None = None,
    *,
    theta: Float[Array, " d"] | np.ndarray | None = None,
    tol: float = 1e-10,
    throw: bool = True,
) -> RetrainingAll:
    """θ(0) of every deletion set, each certified; warm-started at θ(1).

    Linear regression: θ(1) − A⁻¹X_Dᵀ(I − P_DD)⁻¹ê_D for all sets. Convex risks: quasi-Newton steps from the exact
    Hessian, then Newton's, until ‖∇R_0‖ ≤ tol·max(c, ‖Σ_D g_j(θ(1))‖). Non-convex risks: BFGS from θ(1), then
    Levenberg–Marquardt, where the first of these fails, and the Hessian of each minimum is checked. The answer does not
    depend on how many sets fit in memory.

    Args:
        problem: what is trained; its own `delete` plays no part here.
        deletions: sets of equal size, shape (k, q), or (k,) for single points. Default: every point alone.
        theta: θ(1), shape (d,). Needed for non-convex risks. Default: computed.
        tol: relative gradient norm.
        throw: raise if any set is not certified.

    Raises:
        InputError: sets that are empty, ragged, outside the data or name a point twice; a non-convex risk without θ.
        ConvergenceError: how many sets failed, and the first; `.result` holds all.
    """
    sets = deletion_sets(problem, deletions)
    if isinstance(problem.risk, Quadratic):
        everything = _closed_form(problem, problem.risk, sets)
    else:
        everything = _iterate(problem, sets, trained_optimum(problem, theta, tol=tol), tol)
    failed = np.flatnonzero(np.asarray(everything.result != RESULTS.successful))
    if throw and failed.size:
        first = int(failed[0])
        failure = jax.tree.map(lambda leaf: leaf[first], everything.result)
        linear = everything.method == "closed form"
        why = "the other points do not determine θ, add l2 > 0" if linear else message(failure)
        raise ConvergenceError(
            f"{failed.size} of {len(sets)} leave-outs failed; the first deletes {sets[first].tolist()}: "
            f"{why} (‖∇R_0‖ = {float(everything.gradient_norms[first]):.2e}). "
            "throw=False keeps the others.",
            everything,
        )
    return everything


def _closed_form(problem: Problem, risk: Quadratic, sets: Int[np.ndarray, "k q"]) -> RetrainingAll:
    factor = factorise(problem)
    x, y = problem.data.x[sets], problem.data.y[sets]
    deltas, determined = leave_out(factor, x, y)
    thetas = factor.theta + deltas
    h, b = (np.asarray(part) for part in risk.system(1.0))
    missing = np.einsum("kqd,kq->kd", x, np.einsum("kqd,kd->kq", x, thetas) - y)
    slopes = thetas @ h - b - problem.scale * missing
    inverse = factor.inverse / np.sqrt(problem.scale)
    # (H_1 − c X_DᵀX_D)⁻¹ is H_1⁻¹ up to the factor (I − P_DD)⁻¹, which the estimate leaves out.
    distances = np.linalg.norm(slopes @ inverse @ inverse.T, axis=1)
    return RetrainingAll(
        deletions=sets,
        thetas=jnp.asarray(thetas),
        theta=jnp.asarray(factor.theta),
        gradient_norms=jnp.asarray(np.linalg.norm(slopes, axis=1)),
        distances=jnp.asarray(distances),
        iterations=jnp.zeros(len(sets), int),
        result=_determined(jnp.asarray(determined)),
        method="closed form",
    )


def _iterate(problem: Problem, sets: Int[np.ndarray, "k q"], theta: Array, tol: float) -> RetrainingAll:
    risk, d = empirical(problem), problem.dim
    scale, strongly = jnp.asarray(problem.scale), problem.convex and problem.l2 > 0.0
    per_gradient = 4 * problem.data.n + 4 * d * d
    per_hessian = 2 * d * problem.data.x.size // problem.data.x.shape[1] + 8 * d * d
    batch = _batch(len(sets), per_gradient)
    # By self-influence, so that a batch holds leave-outs of the same difficulty; padded to whole batches.
    pulls = np.asarray(_self_influences(risk, jnp.asarray(sets), theta))
    order = np.resize(np.argsort(pulls), -(-len(sets) // batch) * batch)
    back = np.argsort(order[: len(sets)])
    found = _secants(risk, jnp.asarray(sets[order]), theta, jnp.asarray(tol), scale, batch=batch)
    # NumPy's indexing: JAX's costs more, per call, than all of the sorting.
    thetas, targets, iterations = (jnp.asarray(np.asarray(part)[back]) for part in found)
    norms = _gradient_norms(risk, jnp.asarray(sets), thetas, batch=batch)
    slow = np.flatnonzero(~(np.asarray(norms) <= np.asarray(targets)))
    if slow.size:
        # Padded to a power of two, so that another number of slow sets seldom compiles again.
        rows = np.resize(slow, 1 << (slow.size - 1).bit_length())
        found, steps, refound = _newtons(
            risk, jnp.asarray(sets[rows]), thetas[rows], targets[rows],
            batch=_batch(len(rows), per_hessian), strongly=strongly, convex=problem.convex,
        )  # fmt: skip
        thetas = thetas.at[slow].set(found[: slow.size])
        iterations = iterations.at[slow].add(steps[: slow.size])
        norms = norms.at[slow].set(refound[: slow.size])
    if strongly:
        distances, least, rounding = norms / problem.l2, jnp.full(len(sets), problem.l2), jnp.zeros(len(sets))
    else:
        distances, least, rounding = _spectra(risk, jnp.asarray(sets), thetas, batch=_batch(len(sets), per_hessian))
    result = _judge_all(norms, distances, least, rounding, jnp.linalg.norm(thetas, axis=1), targets)
    return RetrainingAll(sets, thetas, theta, norms, distances, iterations, result, "newton")


@eqx.filter_jit
@eqx.filter_vmap
def _determined(regular: Array) -> RESULTS:
    return RESULTS.where(regular, RESULTS.successful, RESULTS.singular)


_judge_all = eqx.filter_jit(eqx.filter_vmap(judge))


def empirical(problem: Problem) -> EmpiricalRisk:
    """R_ε as a sum over data, whose deletion set can be exchanged."""
    return problem.risk if isinstance(problem.risk, EmpiricalRisk) else problem.empirical()


def _batch(rows: int, numbers: int) -> int:
    return max(1, min(rows, ROWS, CHUNK_NUMBERS // numbers))


def without(risk: EmpiricalRisk, points: Int[Array, " q"]) -> EmpiricalRisk:
    """The same risk with another deletion set."""
    return eqx.tree_at(lambda r: r.delete, risk, points)


def deleted_hessian(risk: EmpiricalRisk, theta: Float[Array, " d"]) -> Float[Array, "d d"]:
    """c Σ_D ∇²ℓ_j(θ)."""
    return jax.jacfwd(lambda t: jnp.sum(risk.deleted_gradients(t), axis=0))(theta)


@eqx.filter_jit
def _self_influences(risk: EmpiricalRisk, sets: Array, theta: Array) -> Float[Array, " k"]:
    """(Σ_D g_j)ᵀ H_1⁻¹ (Σ_D g_j), how far a removal moves the optimum in the metric of the risk."""
    each = risk.point_gradients(theta, sets.ravel()).reshape(*sets.shape, -1)
    pulls = jnp.sum(each, axis=1)
    return jnp.sum(pulls * jnp.linalg.solve(risk.hessian(theta, 1.0), pulls.T).T, axis=1)


@eqx.filter_jit
def _secants(
    risk: EmpiricalRisk, sets: Array, theta: Array, tol: Array, scale: Array, *, batch: int
) -> tuple[Array, Array, Array]:
    """Quasi-Newton iterations of every set: θ, the gradient norm asked for, and steps."""
    hessian = risk.hessian(theta, 1.0)

    def secant(points: Array) -> tuple[Array, Array, Array]:
        left = without(risk, points)
        inverse = jnp.linalg.inv(hessian - deleted_hessian(left, theta))
        slope = left.gradient(theta, 0.0)
        norm = jnp.linalg.norm(slope)
        target = tol * jnp.maximum(scale, norm)

        def unfinished(state: tuple[Array, ...]) -> Array:
            _, _, _, now, before, step = state
            contracts = (now < CONTRACTION * before) | (step < 2)
            return (now > target) & contracts & (step < SECANT_STEPS)

        def advance(state: tuple[Array, ...]) -> tuple[Array, ...]:
            point, slope, inverse, now, _, step = state
            move = -inverse @ slope
            new_slope = left.gradient(point + move, 0.0)
            inverse = secant_update(inverse, move, new_slope - slope)
            return point + move, new_slope, inverse, jnp.linalg.norm(new_slope), now, step + 1

        first = theta, slope, inverse, norm, norm, jnp.asarray(0)
        point, _, _, now, _, step = jax.lax.while_loop(unfinished, advance, first)
        return jnp.where(now < norm, point, theta), target, step

    return jax.lax.map(secant, sets, batch_size=batch)


def secant_update(inverse: Float[Array, "d d"], move: Array, change: Array) -> Float[Array, "d d"]:
    """The BFGS update of an inverse Hessian: it maps the gradient's change y to the move s. Itself where yᵀs ≤ 0."""
    image, along = inverse @ change, change @ move
    rho = jnp.where(along > 0.0, 1.0 / jnp.where(along > 0.0, along, 1.0), 0.0)
    mixed = jnp.outer(move, image)
    return inverse - rho * (mixed + mixed.T) + rho * (1.0 + rho * (change @ image)) * jnp.outer(move, move)


@eqx.filter_jit
def _newtons(
    risk: EmpiricalRisk, sets: Array, starts: Array, targets: Array, *, batch: int, strongly: bool, convex: bool
) -> tuple[Array, Array, Array]:
    """The optimum of every set by a method that does not depend on a good start: θ, steps and gradient norm."""

    def row(arguments: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        points, start, target = arguments
        left, zero = without(risk, points), jnp.zeros(())
        if convex:
            theta, steps = newton(left, zero, start, target, NEWTON_STEPS, cautious=not strongly)
        else:
            theta, steps = descend(left, zero, start, target, DESCENT_STEPS)
        return theta, steps, jnp.linalg.norm(left.gradient(theta, zero))

    return jax.lax.map(row, (sets, starts, targets), batch_size=batch)


@eqx.filter_jit
def _gradient_norms(risk: EmpiricalRisk, sets: Array, thetas: Array, *, batch: int) -> Array:
    def row(arguments: tuple[Array, Array]) -> Array:
        points, theta = arguments
        return jnp.linalg.norm(without(risk, points).gradient(theta, 0.0))

    return jax.lax.map(row, (sets, thetas), batch_size=batch)


@eqx.filter_jit
def _spectra(risk: EmpiricalRisk, sets: Array, thetas: Array, *, batch: int) -> tuple[Array, Array, Array]:
    """The Newton step left, the least eigenvalue of H_0 and its rounding, of every set."""

    def row(arguments: tuple[Array, Array]) -> tuple[Array, Array, Array]:
        points, theta = arguments
        left = without(risk, points)
        values, distance = spectrum(left.hessian(theta, 0.0), left.gradient(theta, 0.0))
        return distance, values[0], rounding_of(values)

    return jax.lax.map(row, (sets, thetas), batch_size=batch)
