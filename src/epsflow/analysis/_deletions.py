"""Which deletions are asked about: the points behind an argument `points`, and their gradients, kept in groups."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from .._core import Array, InputError, as_index_array
from ..problem import EmpiricalRisk, Problem
from .curvature._curvature import Curvature

Points = Sequence[Any] | Int[np.ndarray, "..."] | int | str | None
"""None for the problem's deleted points as one group; "all", a number or numbers for each alone; a list of groups."""

_CHOICES = "pass 'all', a number, a list of numbers, or a list of groups"

_CHUNK_NUMBERS = 2**24
"""Numbers (128 MB) that one chunk of per-point gradients may take."""

_GRADIENT_NUMBERS = 2**27
"""Numbers (1 GB) that the gradients of all asked points may take where they are needed at once."""


class Deletions(eqx.Module):
    """Several deletions: of one point each, or of groups.

    Attributes:
        rows: the points asked about, as the data of a risk (whose own weights and penalty do not count).
        group: the deletion that each point belongs to, shape (points,); None for one point each.
        count: number of deletions.
        single: whether one deletion was asked for, so that results have no axis for deletions.
        chunk: points whose gradients are taken at a time where they need not be kept.
    """

    rows: EmpiricalRisk
    group: Int[Array, " points"] | None
    count: int = eqx.field(static=True)
    single: bool = eqx.field(static=True)
    chunk: int = eqx.field(static=True)

    @property
    def num_points(self) -> int:
        """Number of points in all deletions together."""
        return self.rows.x.shape[0]

    def sums(self, values: Float[Array, "points k"]) -> Float[Array, "count k"]:
        """Values per point, summed over each deletion."""
        return values if self.group is None else jax.ops.segment_sum(values, self.group, self.count)


def as_deletions(problem: Problem, points: Any) -> Deletions:
    """The deletions meant by `points`.

    Args:
        problem: whose points.
        points: None for the problem's deleted points as one group; "all", a number, or a list of numbers for each point
            separately; a list of lists for groups.

    Raises:
        InputError: a point outside the data, an empty list or group, a group with a point twice, something else.
    """
    chunk = min(problem.chunk_rows, max(1, _CHUNK_NUMBERS // problem.dim))
    if isinstance(points, str):
        if points != "all":
            raise InputError(f"points is {points!r}; {_CHOICES}.")
        every = problem.risk if isinstance(problem.risk, EmpiricalRisk) else problem.empirical()
        return Deletions(every, None, problem.data.n, False, chunk)
    if points is None:
        if problem.delete.size == 0:
            raise InputError("the problem deletes no points; name some with `points`, or in Problem(..., delete=...).")
        return _grouped(problem, [problem.delete], True, chunk)
    if not _is_list(points):
        return Deletions(_rows(problem, _separate(problem, points)), None, 1, True, chunk)
    if len(points) and all(_is_list(group) for group in points):
        groups = [as_index_array(group, f"points[{k}]", problem.data.n) for k, group in enumerate(points)]
        return _grouped(problem, groups, False, chunk)
    index = _separate(problem, points)
    return Deletions(_rows(problem, index), None, index.size, False, chunk)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) or np.ndim(value) > 0


def _separate(problem: Problem, points: Any) -> Int[np.ndarray, " points"]:
    n, index = problem.data.n, np.atleast_1d(np.asarray(points))
    if index.dtype.kind not in "iu" or index.ndim != 1 or not index.size:
        raise InputError(f"points is {points!r}; {_CHOICES}.")
    outside = index[(index < 0) | (index >= n)]
    if outside.size:
        raise InputError(f"points contains {outside[0]}, but the data has {n} points, numbered 0 to {n - 1}.")
    return index


def _grouped(problem: Problem, groups: list[np.ndarray], single: bool, chunk: int) -> Deletions:
    member = np.repeat(np.arange(len(groups)), [group.size for group in groups])
    return Deletions(_rows(problem, np.concatenate(groups)), jnp.asarray(member), len(groups), single, chunk)


def _rows(problem: Problem, index: np.ndarray) -> EmpiricalRisk:
    return EmpiricalRisk(
        model=problem.model,
        loss=problem.loss,
        x=jnp.asarray(problem.data.x[index]),
        y=jnp.asarray(problem.data.y[index]),
        delete=jnp.zeros(0, int),
        l2=jnp.zeros(()),
        scale=jnp.asarray(problem.scale),
        chunk_rows=problem.chunk_rows,
    )


def require_deletion(problem: Problem) -> None:
    """Refuse a problem without deleted points."""
    if not np.size(problem.delete):
        raise InputError("the problem deletes no point, so nothing changes: make it with delete=[…].")


def deletion_sets(problem: Problem, points: Points = "all") -> Int[np.ndarray, "k q"]:
    """Sets of equal size, shape (k, q): "all" for every point alone, a list of points to be removed alone, or of sets.

    None means the problem's own deleted points, as one set.

    Raises:
        InputError: no points, sets that are empty or ragged, a point outside the data, or twice in one set.
    """
    if points is None:
        require_deletion(problem)
        return problem.delete[None]
    if isinstance(points, str):
        if points != "all":
            raise InputError(f"points is {points!r}; {_CHOICES}.")
        return np.arange(problem.data.n)[:, None]
    try:
        sets = np.atleast_1d(np.asarray(points))
    except ValueError as error:
        raise InputError("points must be sets of equal size here; call once for each size.") from error
    sets = sets[:, None] if sets.ndim == 1 else sets
    if sets.ndim != 2 or not sets.size:
        raise InputError(f"points has shape {sets.shape}; sets of points, shape (sets, points), are needed.")
    suspects = [0]
    if sets.dtype.kind in "iu":
        repeats = (np.diff(np.sort(sets, axis=1), axis=1) == 0).any(axis=1)
        suspects = [int(np.argmin(sets.min(axis=1))), int(np.argmax(sets.max(axis=1))), int(np.argmax(repeats))]
    for k in suspects:
        as_index_array(sets[k], f"points[{k}]", problem.data.n)
    return sets.astype(np.int64)


def deletion_gradients(matrix: Curvature, deletions: Deletions) -> tuple[Float[Array, "count d"], Float[Array, ""]]:
    """Σ g_j over each deletion at the curvature's θ, and ‖∇R_ε‖ there.

    Raises:
        InputError: if the points' gradients together would not fit.
    """
    numbers = deletions.num_points * matrix.dim
    if deletions.count > 1 and numbers > _GRADIENT_NUMBERS:
        raise InputError(
            f"the gradients of {deletions.num_points:,} points for d = {matrix.dim:,} take {8e-9 * numbers:.1f} GB. "
            "Ask for fewer points at a time, or for a functional with few values, which needs no such matrix."
        )
    return _deletion_gradients(matrix, deletions)


@eqx.filter_jit
def _deletion_gradients(matrix: Curvature, deletions: Deletions) -> tuple[Array, Array]:
    norm = jnp.linalg.norm(matrix.risk.gradient(matrix.theta, matrix.eps))
    if deletions.count == 1:
        return deletions.rows.gradient(matrix.theta, 1.0)[None], norm
    return deletions.sums(deletions.rows.point_gradients(matrix.theta, jnp.arange(deletions.num_points))), norm


@eqx.filter_jit
def deletion_products(
    matrix: Curvature, deletions: Deletions, solutions: Float[Array, "q d"]
) -> tuple[Float[Array, "count q"], Float[Array, "count q"], Float[Array, ""]]:
    """Σ g_jᵀu over each deletion for every u, and its negative, from one chunk of gradients at a time; and ‖∇R_ε‖."""

    def one(point: Array) -> Array:
        return solutions @ deletions.rows.point_gradients(matrix.theta, point[None])[0]

    points = jnp.arange(deletions.num_points)
    few = deletions.num_points <= deletions.chunk
    each = jax.vmap(one)(points) if few else jax.lax.map(one, points, batch_size=deletions.chunk)
    products = deletions.sums(each)
    return products, -products, jnp.linalg.norm(matrix.risk.gradient(matrix.theta, matrix.eps))


@eqx.filter_jit
def second_order_rhs(
    matrix: Curvature, deletions: Deletions, theta_dot: Float[Array, "count d"]
) -> Float[Array, "count d"]:
    """−(D³R_ε[θ̇, θ̇] + 2∇²(Σ_j cℓ_j)θ̇) for each deletion's θ̇: the right-hand side of H_ε θ̈."""
    risk, rows, theta = matrix.risk, deletions.rows, matrix.theta

    def third(vector: Array) -> Array:
        return jax.jvp(lambda t: risk.hvp(t, vector, matrix.eps), (theta,), (vector,))[1]

    def own(point: Array, vector: Array) -> Array:
        return jax.jvp(lambda t: rows.point_gradients(t, point[None])[0], (theta,), (vector,))[1]

    if deletions.count == 1:
        curved = rows.hvp(theta, theta_dot[0], 1.0)[None]
    else:
        directions = theta_dot if deletions.group is None else theta_dot[deletions.group]
        curved = deletions.sums(jax.vmap(own)(jnp.arange(deletions.num_points), directions))
    # 64 deletions at a time: each holds the intermediate values of a whole chunk of data.
    return -(jax.lax.map(third, theta_dot, batch_size=64) + 2.0 * curved)
