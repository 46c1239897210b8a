"""The gradients of the points to be removed, summed over each deletion: NumPy for linear models, JAX for others."""

import abc
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._core import Array, InputError
from ..problem import EmpiricalRisk, GeneralisedLinear, Local, Problem
from ._deletions import Deletions, Points, as_deletions
from .curvature import AnyCurvature, Curvature, LinearCurvature

CHUNK_NUMBERS = 2**24
"""Numbers (128 MB) that one chunk of per-point gradients may take."""

GRADIENT_NUMBERS = 2**27
"""Numbers (1 GB) that the gradients of all asked points may take where they are needed at once."""


class PointGradients(abc.ABC):
    """Σ g_j of every deletion at a curvature's θ, and what the curvature's risk adds."""

    matrix: AnyCurvature
    deletions: Deletions

    @property
    def count(self) -> int:
        """Number of deletions."""
        return self.deletions.count

    @property
    def single(self) -> bool:
        """Whether one deletion was asked for."""
        return self.deletions.single

    def part(self, problem: Problem, start: int, stop: int) -> "PointGradients":
        """Those of some of the deletions."""
        return _gradients_of(problem, self.matrix, self.deletions.part(start, stop))

    def check_size(self) -> None:
        """Refuse an array of the size deletions × parameters that would not fit.

        Raises:
            InputError: with its size.
        """
        count, dim = self.count, self.matrix.dim
        if count > 1 and count * dim > GRADIENT_NUMBERS:
            raise InputError(
                f"the gradients of {count:,} points for d = {dim:,} take "
                f"{1e-9 * count * dim * self.matrix.theta.dtype.itemsize:.1f} GB. "
                "Ask for fewer points at a time, or for a functional with few values, which needs no such matrix."
            )

    @abc.abstractmethod
    def sums(self) -> Float[np.ndarray, "count d"]:
        """Σ g_j over each deletion; `InputError` if the points' gradients together would not fit."""

    @abc.abstractmethod
    def products(self, solutions: Float[np.ndarray, "q d"]) -> Float[np.ndarray, "count q"]:
        """Σ g_jᵀu over each deletion for every u, from a chunk of gradients at a time."""

    @abc.abstractmethod
    def bends(self, theta_dot: Float[np.ndarray, "count d"]) -> Float[np.ndarray, "count d"]:
        """D³R_ε[θ̇, θ̇] + 2∇²(Σ_j cℓ_j)θ̇ for each deletion's θ̇: minus the right-hand side of H_ε θ̈."""

    @abc.abstractmethod
    def gradient_norm(self) -> float:
        """‖∇R_ε(θ)‖."""


def point_gradients(problem: Problem, matrix: AnyCurvature, points: Points) -> PointGradients:
    """Those of the deletions meant by `points`, at the θ of a curvature."""
    return _gradients_of(problem, matrix, as_deletions(problem, points), whole=isinstance(points, str))


def _gradients_of(
    problem: Problem, matrix: AnyCurvature, deletions: Deletions, *, whole: bool = False
) -> PointGradients:
    """Those of deletions that are known; `whole`: every point alone, in the order of the data."""
    if isinstance(matrix, LinearCurvature):
        rows = matrix.model if whole else matrix.model.rows(deletions.index)
        return OfLinearModel(matrix, deletions, rows, matrix.local if whole else rows.at(matrix.theta))
    rows = EmpiricalRisk(
        model=problem.computed,
        loss=problem.loss,
        x=jnp.asarray(problem.data.x[deletions.index], problem.array_dtype),
        y=jnp.asarray(problem.data.y[deletions.index], problem.array_dtype),
        delete=jnp.zeros(0, int),
        l2=jnp.zeros((), problem.array_dtype),
        scale=jnp.asarray(problem.scale, problem.array_dtype),
        chunk_rows=matrix.risk.chunk_rows if isinstance(matrix.risk, EmpiricalRisk) else problem.chunk_rows,
    )
    held = problem.chunk_rows if matrix.chunks is None else matrix.chunks.solves
    return OfAnyModel(matrix, deletions, rows, min(problem.chunk_rows, held, max(1, CHUNK_NUMBERS // problem.dim)))


@dataclass(frozen=True, eq=False)
class OfLinearModel(PointGradients):
    """Of a linear model: residual × x."""

    matrix: LinearCurvature
    deletions: Deletions
    rows: GeneralisedLinear
    local: Local

    def sums(self) -> Float[np.ndarray, "count d"]:
        """Σ g_j over each deletion."""
        self.check_size()
        return self.deletions.sums(self.rows.point_gradients(self.local))

    def products(self, solutions: Float[np.ndarray, "q d"]) -> Float[np.ndarray, "count q"]:
        """Σ g_jᵀu: the change of an output along u times the slope of the loss."""
        slopes = self.rows.scale * self.local.points.slopes
        if slopes.ndim == 1:
            return self.deletions.sums((self.rows.x * slopes[:, None]) @ solutions.T)
        tangents = np.einsum("np,qpk->nqk", self.rows.x, self.rows.coefficients(solutions), optimize=True)
        return self.deletions.sums(np.einsum("nqk,nk->nq", tangents, slopes))

    def bends(self, theta_dot: Float[np.ndarray, "count d"]) -> Float[np.ndarray, "count d"]:
        """One deletion after the other."""
        whole, rows, matrix = self.matrix.model, self.rows, self.matrix
        found, member = np.empty_like(theta_dot), self.deletions.member()
        for k, dot in enumerate(theta_dot):
            own = np.where(member == k, rows.scale, 0.0)
            third = whole.pull(matrix.weights, whole.bends(matrix.local, dot))
            found[k] = third + 2.0 * rows.hessian_product(self.local, own, dot)
        return found

    def gradient_norm(self) -> float:
        """‖∇R_ε(θ)‖."""
        return float(np.linalg.norm(self.matrix.model.gradient(self.matrix.local, self.matrix.weights)))


@dataclass(frozen=True, eq=False)
class OfAnyModel(PointGradients):
    """By reverse mode, point by point; `chunk` of them at a time where they need not be kept."""

    matrix: Curvature
    deletions: Deletions
    rows: EmpiricalRisk
    chunk: int

    def sums(self) -> Float[np.ndarray, "count d"]:
        """Σ g_j over each deletion."""
        self.check_size()
        if self.count == 1:
            return np.asarray(_sum(self.rows, self.matrix.theta))[None]
        if self.deletions.starts is not None and self.deletions.index.size > max(self.chunk, self.count):
            return np.asarray(_group_sums(self.rows, self.matrix.theta, *self.deletions.padded()))
        return self.deletions.sums(np.asarray(_gradients(self.rows, self.matrix.theta)))

    def products(self, solutions: Float[np.ndarray, "q d"]) -> Float[np.ndarray, "count q"]:
        """Σ g_jᵀu."""
        if self.deletions.index.size <= self.chunk:
            return self.deletions.sums(np.asarray(_gradients(self.rows, self.matrix.theta)) @ solutions.T)
        return self.deletions.sums(np.asarray(_products(self.rows, self.matrix.theta, solutions)))

    def bends(self, theta_dot: Float[np.ndarray, "count d"]) -> Float[np.ndarray, "count d"]:
        """One compiled function, called for every deletion."""
        third = [np.asarray(_third(self.matrix, dot)) for dot in theta_dot]
        if self.count == 1:
            own = np.asarray(_sum_product(self.rows, self.matrix.theta, theta_dot[0]))[None]
        elif self.deletions.index.size > max(self.chunk, self.count):
            own = np.asarray(_group_products(self.rows, self.matrix.theta, theta_dot, *self.deletions.padded()))
        else:
            directions = theta_dot[self.deletions.member()]
            own = self.deletions.sums(np.asarray(_own(self.rows, self.matrix.theta, directions)))
        return np.stack(third) + 2.0 * own

    def gradient_norm(self) -> float:
        """‖∇R_ε(θ)‖."""
        return float(np.linalg.norm(np.asarray(_gradient(self.matrix))))


@eqx.filter_jit
def _sum(rows: EmpiricalRisk, theta: Array) -> Float[Array, " d"]:
    return rows.gradient(theta, jnp.ones(()))


@eqx.filter_jit
def _sum_product(rows: EmpiricalRisk, theta: Array, vector: Array) -> Float[Array, " d"]:
    return rows.hvp(theta, vector, jnp.ones(()))


@eqx.filter_jit
def _gradients(rows: EmpiricalRisk, theta: Array) -> Float[Array, "points d"]:
    return rows.point_gradients(theta, jnp.arange(rows.x.shape[0]))


@eqx.filter_jit
def _products(rows: EmpiricalRisk, theta: Array, solutions: Array) -> Float[Array, "points q"]:
    """g_iᵀu is the derivative of cℓ_i along u: no gradient is formed."""

    def along(vector: Array) -> Array:
        def one(point: tuple[Array, Array]) -> Array:
            return jax.jvp(lambda t: rows.loss(rows.model(t, point[0]), point[1]), (theta,), (vector,))[1]

        return jax.lax.map(one, (rows.x, rows.y), batch_size=min(rows.chunk_rows, len(rows.x)))

    return rows.scale * jax.lax.map(along, solutions).T


@eqx.filter_jit
def _group_sums(rows: EmpiricalRisk, theta: Array, index: Array, counted: Array) -> Float[Array, "count d"]:
    """One group after the other, each by one pass back: no gradient of a single point is formed."""
    return jax.lax.map(lambda group: _group_gradient(rows, theta, *group), (index, counted.astype(theta.dtype)))


@eqx.filter_jit
def _group_products(
    rows: EmpiricalRisk, theta: Array, directions: Float[Array, "count d"], index: Array, counted: Array
) -> Float[Array, "count d"]:
    """∇²(Σ_j cℓ_j)u of each group along its own u."""

    def one(group: tuple[Array, Array, Array]) -> Array:
        return jax.jvp(lambda t: _group_gradient(rows, t, *group[1:]), (theta,), (group[0],))[1]

    return jax.lax.map(one, (directions, index, counted.astype(theta.dtype)))


def _group_gradient(rows: EmpiricalRisk, theta: Array, index: Array, counted: Array) -> Float[Array, " d"]:
    def value(t: Array) -> Array:
        x, y = rows.x[index], rows.y[index]
        return rows.scale * (counted @ jax.vmap(lambda a, b: rows.loss(rows.model(t, a), b))(x, y))

    return jax.grad(value)(theta)


@eqx.filter_jit
def _third(matrix: Curvature, dot: Array) -> Float[Array, " d"]:
    return jax.jvp(lambda t: matrix.risk.hvp(t, dot, matrix.eps), (matrix.theta,), (dot,))[1]


@eqx.filter_jit
def _own(rows: EmpiricalRisk, theta: Array, directions: Float[Array, "points d"]) -> Float[Array, "points d"]:
    def one(point: Array, vector: Array) -> Array:
        return jax.jvp(lambda t: rows.point_gradients(t, point[None])[0], (theta,), (vector,))[1]

    return jax.vmap(one)(jnp.arange(rows.x.shape[0]), directions)


@eqx.filter_jit
def _gradient(matrix: Curvature) -> Float[Array, " d"]:
    return matrix.risk.gradient(matrix.theta, matrix.eps)
