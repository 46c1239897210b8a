"""Symmetric eigendecompositions with a stated rank, and the one scalar function that linear flows need.

Both answer in NumPy (LAPACK) for numbers and in JAX for tracers.
"""

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float

from ._arrays import Array, namespace
from ._display import Spelled


class Eigen(Spelled, eqx.Module):
    """H = Q diag(values) Qᵀ with eigenvalues below rounding set to exactly zero.

    Attributes:
        values: eigenvalues, ascending, shape (d,).
        vectors: Q, orthonormal columns, shape (d, d).
    """

    values: Float[Array, "*stack d"]
    vectors: Float[Array, "*stack d d"]

    @property
    def kernel(self) -> Bool[Array, "*stack d"]:
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
        xp = namespace(self.values, vector)
        inverse = xp.where(self.kernel, 0.0, 1.0 / xp.where(self.kernel, 1.0, self.values))
        return self.from_basis(inverse * self.to_basis(vector))

    def kernel_projection(self, vector: Float[Array, " d"]) -> Float[Array, " d"]:
        """(I − H†H)v: the part that a flow with Hessian H never moves."""
        coordinates = self.to_basis(vector)
        return self.from_basis(namespace(coordinates).where(self.kernel, coordinates, 0.0))


def eigen(matrix: Float[Array, "*stack d d"]) -> Eigen:
    """Eigendecomposition of a symmetric matrix, or of each in a stack; |λ| ≤ d·u·max|λ| counts as zero.

    The threshold (u = 2.2e-16) is the backward error of a symmetric eigensolver, as in `numpy.linalg.matrix_rank`:
    an eigenvalue below it carries no digit.
    """
    xp = namespace(matrix)
    values, vectors = xp.linalg.eigh(matrix)
    sizes = xp.abs(values)
    rounding = matrix.shape[-1] * np.finfo(values.dtype).eps * sizes.max(axis=-1, keepdims=True)
    return Eigen(xp.where(sizes <= rounding, 0.0, values), vectors)


def decay_integral(rate: Float[Array, "*#shape"], t: Float[Array, "*#shape"]) -> Float[Array, "*shape"]:
    """∫₀ᵗ e^{−rate·τ} dτ = (1 − e^{−rate·t})/rate, and t where rate = 0. Broadcasts; any sign of the rate."""
    xp = namespace(rate, t)
    if xp is np and np.all(np.abs(rate) >= 1e-200):
        return -np.expm1(-rate * t) / rate
    still = abs(rate) < 1e-200  # the quotient of numbers near 1e-308 has no digits, and XLA takes them for zero
    safe = xp.where(still, 1.0, rate)
    return xp.where(still, t, -xp.expm1(-safe * t) / safe)
