"""The weighted risk R_ε(θ): what it must answer, and the version that sums over data."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ._losses import AbstractLoss
from ._models import AbstractModel

Weights = Float[Array, ""] | Float[Array, " m"] | Float[np.ndarray, " m"] | float
"""ε of the deleted points: one number for all of them, or one each."""


class AbstractRisk(eqx.Module):
    """R_ε(θ) = c·[Σ_{i∉D} ℓ_i(θ) + Σ_{j∈D} ε_j ℓ_j(θ)] + (λ/2)‖θ‖².

    A pytree: it travels through `jit`, `vmap` and diffrax's `args`. Every method takes θ of shape (d,) and ε as one
    number or as shape (m,); none checks its input, `Problem` does.
    """

    @property
    @abc.abstractmethod
    def dim(self) -> int:
        """Number of parameters d."""

    @property
    @abc.abstractmethod
    def num_deleted(self) -> int:
        """Number of deleted points m."""

    @abc.abstractmethod
    def value(self, theta: Float[Array, " d"], eps: Weights) -> Float[Array, ""]:
        """R_ε(θ)."""

    @abc.abstractmethod
    def gradient(self, theta: Float[Array, " d"], eps: Weights) -> Float[Array, " d"]:
        """∇R_ε(θ)."""

    @abc.abstractmethod
    def hvp(self, theta: Float[Array, " d"], vector: Float[Array, " d"], eps: Weights) -> Float[Array, " d"]:
        """∇²R_ε(θ) v."""

    @abc.abstractmethod
    def hessian(self, theta: Float[Array, " d"], eps: Weights) -> Float[Array, "d d"]:
        """∇²R_ε(θ), dense."""

    @abc.abstractmethod
    def deleted_gradients(self, theta: Float[Array, " d"]) -> Float[Array, "m d"]:
        """g_j = c∇ℓ_j(θ) for each deleted point, unweighted."""


def loss_gradients(model: AbstractModel, loss: AbstractLoss, theta: Array, x: Array, y: Array) -> Float[Array, "q d"]:
    """∇ℓ_i(θ), unscaled, for each of the q rows given."""
    gradient = jax.grad(lambda t, point, target: loss(model(t, point), target))
    return jax.vmap(gradient, in_axes=(None, 0, 0))(theta, x, y)


class EmpiricalRisk(AbstractRisk):
    """R_ε as a sum over the data held in memory, evaluated in chunks of rows.

    Attributes:
        x, y: features (n, p) and targets (n, ...).
        delete: indices of the deleted points, shape (m,). A leaf, so many deletions can be vmapped.
        l2: λ ≥ 0.
        scale: c, 1 for `reduction="sum"`, 1/n for `"mean"`.
        chunk_rows: points whose intermediate values are in memory at once.
    """

    model: AbstractModel
    loss: AbstractLoss
    x: Float[Array, "n p"]
    y: Float[Array, "n *t"]
    delete: Int[Array, " m"]
    l2: Float[Array, ""]
    scale: Float[Array, ""]
    chunk_rows: int = eqx.field(static=True)

    @property
    def dim(self) -> int:
        """Number of parameters d."""
        return self.model.dim

    @property
    def num_deleted(self) -> int:
        """Number of deleted points m."""
        return self.delete.shape[-1]

    def weights(self, eps: Weights) -> Float[Array, " n"]:
        """c·(1 for retained points, ε_j for deleted ones)."""
        return self.scale * jnp.ones(self.x.shape[0]).at[self.delete].set(eps)

    def value(self, theta: Float[Array, " d"], eps: Weights) -> Float[Array, ""]:
        """R_ε(θ)."""
        return self._sum(lambda *chunk: self._chunk_value(theta, *chunk), eps) + 0.5 * self.l2 * theta @ theta

    def gradient(self, theta: Float[Array, " d"], eps: Weights) -> Float[Array, " d"]:
        """∇R_ε(θ), by reverse mode within each chunk."""
        return self._sum(lambda *chunk: jax.grad(self._chunk_value)(theta, *chunk), eps) + self.l2 * theta

    def hvp(self, theta: Float[Array, " d"], vector: Float[Array, " d"], eps: Weights) -> Float[Array, " d"]:
        """∇²R_ε(θ) v, forward over reverse."""
        return jax.jvp(lambda t: self.gradient(t, eps), (theta,), (vector,))[1]

    def hessian(self, theta: Float[Array, " d"], eps: Weights) -> Float[Array, "d d"]:
        """∇²R_ε(θ), dense: d Hessian–vector products."""
        return jax.jacfwd(lambda t: self.gradient(t, eps))(theta)

    def ggn_product(self, theta: Float[Array, " d"], vector: Float[Array, " d"], eps: Weights) -> Float[Array, " d"]:
        """(c Σ w_i J_iᵀ ∇²_fℓ_i J_i + λI) v, the generalised Gauss–Newton matrix of R_ε; J_i = ∂f(θ; x_i)/∂θ.

        Equals ∇²R_ε for a linear model, and the true Fisher matrix (plus λI) for the logistic and softmax losses.
        """

        def chunk_product(x: Array, y: Array, weights: Array) -> Array:
            outputs, tangents = jax.jvp(lambda t: self._outputs(t, x), (theta,), (vector,))
            loss_gradient = jax.vmap(jax.grad(self.loss))
            curved = jax.jvp(lambda f: loss_gradient(f, y), (outputs,), (tangents,))[1]
            weighted = curved * weights.reshape((-1,) + (1,) * (curved.ndim - 1))
            return jax.vjp(lambda t: self._outputs(t, x), theta)[1](weighted)[0]

        return self._sum(chunk_product, eps) + self.l2 * vector

    def point_gradients(self, theta: Float[Array, " d"], points: Int[Array, " q"]) -> Float[Array, "q d"]:
        """c∇ℓ_i(θ) for the named points."""
        return self.scale * loss_gradients(self.model, self.loss, theta, self.x[points], self.y[points])

    def deleted_gradients(self, theta: Float[Array, " d"]) -> Float[Array, "m d"]:
        """g_j = c∇ℓ_j(θ) for each deleted point."""
        return self.point_gradients(theta, self.delete)

    def _outputs(self, theta: Array, x: Array) -> Array:
        return jax.vmap(self.model, in_axes=(None, 0))(theta, x)

    def _chunk_value(self, theta: Array, x: Array, y: Array, weights: Array) -> Array:
        return weights @ jax.vmap(self.loss)(self._outputs(theta, x), y)

    def _sum(self, term, eps: Weights) -> Array:
        """Σ over chunks of term(x, y, weights). Slices are taken inside the loop, so that the data is never copied."""
        weights, size = self.weights(eps), self.chunk_rows
        whole = self.x.shape[0] // size
        if whole <= 1 and self.x.shape[0] <= size:
            return term(self.x, self.y, weights)

        def add_chunk(total: Array, index: Array) -> tuple[Array, None]:
            rows = [jax.lax.dynamic_slice_in_dim(a, index * size, size) for a in (self.x, self.y, weights)]
            return total + term(*rows), None

        zero = jnp.zeros_like(jax.eval_shape(term, self.x[:size], self.y[:size], weights[:size]))
        total, _ = jax.lax.scan(add_chunk, zero, jnp.arange(whole))
        rest = whole * size
        return total + term(self.x[rest:], self.y[rest:], weights[rest:]) if rest < self.x.shape[0] else total
