"""The localised, tempered posterior of a problem's parameters, in JAX."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from ..._core import Array
from ...problem import EmpiricalRisk, Problem


class Posterior(eqx.Module):
    """p(w) ∝ exp(−(β/c) R_1(w) − (γ/2)‖w − θ‖²) = exp(−β Σℓ_i(w) − (βλ/2c)‖w‖² − (γ/2)‖w − θ‖²).

    Attributes:
        risk: R_1, its data held in memory.
        center: θ, shape (d,).
        beta: β > 0, the inverse temperature.
        gamma: γ ≥ 0, how strongly w is held near θ.
    """

    risk: EmpiricalRisk
    center: Float[Array, " d"]
    beta: Float[Array, ""]
    gamma: Float[Array, ""]

    def logdensity(self, w: Float[Array, " d"]) -> Float[Array, ""]:
        """log p(w), up to a constant."""
        away = w - self.center
        return -self.beta / self.risk.scale * self.risk.value(w, jnp.ones(())) - 0.5 * self.gamma * away @ away

    def batch_slope(self, w: Float[Array, " d"], rows: Int[Array, " b"]) -> Float[Array, " d"]:
        """∇log p(w), the sum over the points estimated from b of them."""
        x, y = self.risk.x[rows], self.risk.y[rows]

        def total(theta: Array) -> Array:
            each = jax.vmap(lambda point, target: self.risk.loss(self.risk.model(theta, point), target))(x, y)
            return self.risk.x.shape[0] / rows.shape[0] * jnp.sum(each)

        own = self.beta * self.risk.l2 / self.risk.scale * w
        return -self.beta * jax.grad(total)(w) - own - self.gamma * (w - self.center)


class Whitened(eqx.Module):
    """The same posterior in coordinates u, w = θ + Bu, in which its Laplace approximation is standard normal."""

    posterior: Posterior
    basis: Float[Array, "d d"]

    def logdensity(self, u: Float[Array, " d"]) -> Float[Array, ""]:
        """log p, up to a constant."""
        return self.posterior.logdensity(self.place(u))

    def place(self, u: Float[Array, " d"]) -> Float[Array, " d"]:
        """w at u."""
        return self.posterior.center + self.basis @ u


def posterior_of(problem: Problem, theta: Float[np.ndarray, " d"], beta: float, gamma: float) -> Posterior:
    """The posterior around θ; which points the problem deletes plays no part."""
    risk = eqx.tree_at(lambda r: r.delete, problem.empirical(), jnp.zeros(0, int))
    return Posterior(risk, jnp.asarray(theta), jnp.asarray(beta), jnp.asarray(gamma))


def precision(
    problem: Problem, theta: Float[np.ndarray, " d"], beta: float, gamma: float
) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, "d d"]]:
    """Eigenvalues and eigenvectors of −∇² log p at θ."""
    hessian = np.asarray(problem.hessian(theta, 1.0)) * (beta / problem.scale)
    hessian[np.diag_indices(len(hessian))] += gamma
    return np.linalg.eigh(hessian)
