"""Derivatives of R_ε along a path of weights: NumPy for linear models, one compiled function for any other."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..._core import Array
from ...problem import AbstractRisk, LinearModel, Problem, Quadratic, statistics

Vector = Float[np.ndarray, " d"]
Matrix = Float[np.ndarray, "d d"]


class Derivatives(abc.ABC):
    """What a response path asks of a risk; `eps` is one weight or one per deleted point."""

    @abc.abstractmethod
    def gradient(self, theta: Vector, eps: Any) -> Vector:
        """∇R_ε."""

    @abc.abstractmethod
    def hessian(self, theta: Vector, eps: Any) -> Matrix:
        """∇²R_ε."""

    @abc.abstractmethod
    def pulls(self, theta: Vector) -> Float[np.ndarray, "m d"]:
        """g_j = c∇ℓ_j of every deleted point."""

    @abc.abstractmethod
    def bend(self, theta: Vector, eps: Any, dot: Vector) -> Vector:
        """D³R_ε[θ̇, θ̇] + 2∇²(Σ cℓ_j)θ̇; θ̈ is −H_ε⁻¹ of it."""


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
        hessian, moments = self._system(eps)
        return hessian @ theta - moments

    def hessian(self, theta: Vector, eps: Any) -> Matrix:
        return self._system(eps)[0]

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
        return np.asarray(_local(self.risk, theta, np.asarray(eps, float))[0])

    def hessian(self, theta: Vector, eps: Any) -> Matrix:
        return np.asarray(_local(self.risk, theta, np.asarray(eps, float))[1])

    def pulls(self, theta: Vector) -> Float[np.ndarray, "m d"]:
        return np.asarray(_pulls(self.risk, theta))

    def bend(self, theta: Vector, eps: Any, dot: Vector) -> Vector:
        return np.asarray(_bend(self.risk, theta, np.asarray(eps, float), dot))


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
