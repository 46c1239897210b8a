"""Derivatives of R_ε along a path of weights: NumPy for linear models, one compiled function for any other."""

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..._core import Array, InputError
from ...problem import DENSE_LIMIT, AbstractRisk, LinearModel, Problem, Quadratic, factor_rows, statistics

Vector = Float[np.ndarray, " d"]
Matrix = Float[np.ndarray, "d d"]
UNIT = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Inverse:
    """H_ε⁻¹ at one place.

    Attributes:
        solve: v ↦ H_ε⁻¹v.
        regular: whether H_ε is positive definite, judged with its diagonal scaled to one.
        least: its least eigenvalue.
        scaled: the least eigenvalue with the diagonal scaled to one; negative where that cannot be done.
    """

    solve: Callable[[Vector], Vector]
    regular: bool
    least: float
    scaled: float


def inverse_of(hessian: Matrix) -> Inverse:
    """The inverse of a symmetric matrix, by the eigendecomposition in units in which its diagonal is one."""
    diagonal = np.diagonal(hessian)
    widths = np.sqrt(np.where(diagonal == 0.0, 1.0, np.abs(diagonal)))
    values, vectors = np.linalg.eigh(hessian / widths / widths[:, None])
    regular = bool((diagonal > 0.0).all() and values[0] > len(values) * UNIT * np.abs(values).max())
    safe = np.where(values == 0.0, 1.0, values)
    return Inverse(
        solve=lambda vector: vectors @ ((vector / widths) @ vectors / safe) / widths,
        regular=regular,
        least=float(np.linalg.eigvalsh(hessian)[0]),
        scaled=float(values[0]) if (diagonal > 0.0).all() else -1.0,
    )


WELL_CONDITIONED = 1e-4
"""Least eigenvalue of a scaled matrix from which its own decomposition keeps twelve digits of a solution."""


class Derivatives(abc.ABC):
    """What a response path asks of a risk; `eps` is one weight or one per deleted point."""

    @abc.abstractmethod
    def gradient(self, theta: Vector, eps: Any) -> Vector:
        """∇R_ε."""

    @abc.abstractmethod
    def hessian(self, theta: Vector, eps: Any) -> Matrix:
        """∇²R_ε."""

    @abc.abstractmethod
    def sizes(self, theta: Vector, eps: Any) -> Vector:
        """For each component of ∇R_ε about the size of the terms that it is summed of, which decides its rounding."""

    def inverse(self, theta: Vector, eps: Any) -> Inverse:
        """H_ε⁻¹."""
        return inverse_of(self.hessian(theta, eps))

    @abc.abstractmethod
    def pulls(self, theta: Vector) -> Float[np.ndarray, "m d"]:
        """g_j = c∇ℓ_j of every deleted point."""

    @abc.abstractmethod
    def bend(self, theta: Vector, eps: Any, dot: Vector) -> Vector:
        """D³R_ε[θ̇, θ̇] + 2∇²(Σ cℓ_j)θ̇; θ̈ is −H_ε⁻¹ of it."""


def require_dense(problem: Problem) -> None:
    """Refuse a problem whose dense Hessian is too large."""
    if problem.dim > DENSE_LIMIT:
        raise InputError(f"a dense Hessian for d = {problem.dim} takes {8e-9 * problem.dim**2:.1f} GB: too many here.")


def derivatives(problem: Problem) -> Derivatives:
    """Those of a problem's risk."""
    if isinstance(problem.risk, Quadratic):
        return _OfLeastSquares(problem)
    return _OfLinearModel(problem) if isinstance(problem.model, LinearModel) else _OfAnyModel(problem)


class _OfLeastSquares(Derivatives):
    def __init__(self, problem: Problem):
        self.problem = problem
        self.x, self.y = (np.asarray(part[problem.delete]) for part in (problem.data.x, problem.data.y))

    def _system(self, eps: Any) -> tuple[Matrix, Vector]:
        return statistics(self.problem, np.broadcast_to(np.asarray(eps), self.y.shape))

    def gradient(self, theta: Vector, eps: Any) -> Vector:
        assert self.problem.design is not None  # linear regression has one
        weights = self.problem.scale * np.broadcast_to(eps, self.y.shape)
        return self.problem.design.gradient(theta) + (weights * (self.x @ theta - self.y)) @ self.x

    def sizes(self, theta: Vector, eps: Any) -> Vector:
        hessian, moments = self._system(eps)
        return np.abs(hessian) @ np.abs(theta) + np.abs(moments)

    def hessian(self, theta: Vector, eps: Any) -> Matrix:
        return self._system(eps)[0]

    def inverse(self, theta: Vector, eps: Any) -> Inverse:
        """From the factor of the weighted design, in which no condition is squared; of H_ε where a weight is < 0."""
        weights, design = self.problem.scale * np.broadcast_to(eps, self.y.shape), self.problem.design
        assert design is not None
        plain = inverse_of(self.hessian(theta, eps))
        if weights.min(initial=0.0) < 0.0 or plain.scaled > WELL_CONDITIONED:
            return plain
        root = np.sqrt(weights)
        rows = [design.rows, (root[:, None] * self.x, root * self.y)]
        whole = factor_rows(rows, self.problem.dim, self.problem.penalty)
        least = float(whole.eigen().values[0])
        return Inverse(whole.solve_normal, whole.rank == whole.dim, least, whole.condition**-2.0)

    def pulls(self, theta: Vector) -> Float[np.ndarray, "m d"]:
        return self.problem.scale * self.x * (self.x @ theta - self.y)[:, None]

    def bend(self, theta: Vector, eps: Any, dot: Vector) -> Vector:
        return 2.0 * self.problem.scale * self.x.T @ (self.x @ dot)


class _OfLinearModel(Derivatives):
    def __init__(self, problem: Problem):
        self.model = problem.generalised()
        self.deleted = self.model.rows(problem.delete)
        self.each = np.full(problem.delete.size, problem.scale)

    def gradient(self, theta: Vector, eps: Any) -> Vector:
        return self.model.gradient(self.model.at(theta), self.model.weights(eps))

    def sizes(self, theta: Vector, eps: Any) -> Vector:
        model, points, each = self.model, self.model.at(theta).points, np.abs(self.model.weights(eps))
        bent = model.curved(np.abs(points.curvatures), np.abs(model.predict(theta)))
        terms = np.abs(points.slopes) + np.abs(bent)
        weighted = each * terms if terms.ndim == 1 else each[:, None] * terms
        return (np.abs(model.x).T @ weighted).ravel() + model.l2 * np.abs(theta)

    def hessian(self, theta: Vector, eps: Any) -> Matrix:
        return self.model.hessian(self.model.at(theta), self.model.weights(eps))

    def pulls(self, theta: Vector) -> Float[np.ndarray, "m d"]:
        return self.deleted.point_gradients(self.deleted.at(theta))

    def bend(self, theta: Vector, eps: Any, dot: Vector) -> Vector:
        model, own = self.model, self.deleted
        third = model.pull(model.weights(eps), model.bends(model.at(theta), dot))
        return third + 2.0 * own.hessian_product(own.at(theta), self.each, dot)


class _OfAnyModel(Derivatives):
    def __init__(self, problem: Problem):
        self.risk = problem.risk

    def gradient(self, theta: Vector, eps: Any) -> Vector:
        if theta.size > DENSE_LIMIT:  # else one compiled function for both
            return np.asarray(_gradient(self.risk, theta, np.asarray(eps, float)))
        return np.asarray(_local(self.risk, theta, np.asarray(eps, float))[0])

    def sizes(self, theta: Vector, eps: Any) -> Vector:
        return np.abs(self.hessian(theta, eps)) @ np.abs(theta) + np.abs(self.pulls(theta)).sum(axis=0)

    def hessian(self, theta: Vector, eps: Any) -> Matrix:
        return np.asarray(_local(self.risk, theta, np.asarray(eps, float))[1])

    def pulls(self, theta: Vector) -> Float[np.ndarray, "m d"]:
        return np.asarray(_pulls(self.risk, theta))

    def bend(self, theta: Vector, eps: Any, dot: Vector) -> Vector:
        return np.asarray(_bend(self.risk, theta, np.asarray(eps, float), dot))


@eqx.filter_jit
def _gradient(risk: AbstractRisk, theta: Array, eps: Array) -> Array:
    return risk.gradient(theta, eps)


@eqx.filter_jit
def _local(risk: AbstractRisk, theta: Array, eps: Array) -> tuple[Array, Array]:
    hessian = risk.hessian(theta, eps)
    return risk.gradient(theta, eps), 0.5 * (hessian + hessian.T)


@eqx.filter_jit
def _pulls(risk: AbstractRisk, theta: Array) -> Array:
    return risk.deleted_gradients(theta)


@eqx.filter_jit
def _bend(risk: AbstractRisk, theta: Array, eps: Array, dot: Array) -> Array:
    third = jax.jvp(lambda t: risk.hvp(t, dot, eps), (theta,), (dot,))[1]
    pull = jax.jvp(lambda t: jnp.sum(risk.deleted_gradients(t), axis=0), (theta,), (dot,))[1]
    return third + 2.0 * pull
