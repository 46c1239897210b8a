"""Symmetric eigendecompositions with a stated rank, and the one scalar function that linear flows need."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


class Eigen(eqx.Module):
    """H = Q diag(values) Qᵀ with eigenvalues below rounding set to exactly zero.

    Attributes:
        values: eigenvalues, ascending, shape (d,).
        vectors: Q, orthonormal columns, shape (d, d).
    """

    values: Float[Array, " d"]
    vectors: Float[Array, "d d"]

    @property
    def kernel(self) -> Bool[Array, " d"]:
        """Which eigen-directions belong to ker H, shape (d,)."""
        return self.values == 0.0

    def to_basis(self, vector: Float[Array, "*batch d"]) -> Float[Array, "*batch d"]:
        """Coordinates Qᵀv."""
        return vector @ self.vectors

    def from_basis(self, coordinates: Float[Array, "*batch d"]) -> Float[Array, "*batch d"]:
        """The vector Qz."""
        return coordinates @ self.vectors.T

    def pinv(self, vector: Float[Array, " d"]) -> Float[Array, " d"]:
        """H†v: the least-norm solution on ran H."""
        inverse = jnp.where(self.kernel, 0.0, 1.0 / jnp.where(self.kernel, 1.0, self.values))
        return self.from_basis(inverse * self.to_basis(vector))

    def kernel_projection(self, vector: Float[Array, " d"]) -> Float[Array, " d"]:
        """(I − H†H)v: the part that a flow with Hessian H never moves."""
        return self.from_basis(jnp.where(self.kernel, self.to_basis(vector), 0.0))


def eigen(matrix: Float[Array, "d d"]) -> Eigen:
    """Eigendecomposition of a symmetric matrix; |λ| ≤ d·u·max|λ| counts as zero.

    The threshold (u = 2.2e-16) is the backward error of a symmetric eigensolver, as in `numpy.linalg.matrix_rank`:
    an eigenvalue below it carries no digit.
    """
    values, vectors = jnp.linalg.eigh(matrix)
    rounding = matrix.shape[0] * jnp.finfo(values.dtype).eps * jnp.max(jnp.abs(values))
    return Eigen(jnp.where(jnp.abs(values) <= rounding, 0.0, values), vectors)


def decay_integral(rate: Float[Array, "*#shape"], t: Float[Array, "*#shape"]) -> Float[Array, "*shape"]:
    """∫₀ᵗ e^{−rate·τ} dτ = (1 − e^{−rate·t})/rate, and t where rate = 0. Broadcasts; any sign of the rate."""
    safe = jnp.where(rate == 0.0, 1.0, rate)
    return jnp.where(rate == 0.0, t, -jnp.expm1(-safe * t) / safe)
