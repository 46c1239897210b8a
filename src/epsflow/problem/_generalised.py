"""Generalised linear models in NumPy: the weighted risk of a linear model under any loss, with its derivatives.

Everything is a matrix product with the data and a few numbers per point: ∇R = XᵀWs + λθ, ∇²R = XᵀWCX + λI, s and C the
slope and curvature of the loss in the output. Nothing compiles. `EmpiricalRisk` is the same risk in JAX.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from .._core import Spelled, spelled
from ._losses import AbstractLoss
from ._penalty import Penalty
from ._pointwise import Pointwise, pointwise, slope_bends, slopes

CHUNK_NUMBERS = 2_000_000
"""Entries of X that are weighted at a time (16 MB)."""


class Local(NamedTuple):
    """The points at one θ, from which value, gradient and Hessian for any weights ε are matrix products.

    Example:
        >>> data = ef.Dataset([[1.0], [1.0], [2.0]], [0.0, 1.0, 1.0])
        >>> risk = ef.Problem(ef.LinearModel(1), ef.LogisticLoss(), data, delete=[0]).generalised()
        >>> risk.at(np.array([0.5])).outputs
        array([0.5, 0.5, 1. ])

    Attributes:
        theta: θ, shape (d,).
        outputs: f_i, shape (n, *k).
        points: ℓ_i with its derivatives in f.
    """

    theta: Float[np.ndarray, " d"]
    outputs: Float[np.ndarray, "n *k"]
    points: Pointwise

    __repr__ = spelled


@dataclass(frozen=True, eq=False, repr=False)
class GeneralisedLinear(Spelled):
    """R_ε(θ) = c·[Σ_{i∉D} ℓ(f_i, y_i) + Σ_{j∈D} ε_j ℓ(f_j, y_j)] + (λ/2)‖θ‖², f_i = x_iᵀθ or Θᵀx_i.

    Example:
        >>> data = ef.Dataset([[1.0], [1.0], [2.0]], [0.0, 1.0, 1.0])
        >>> risk = ef.Problem(ef.LinearModel(1), ef.LogisticLoss(), data, delete=[0]).generalised()
        >>> risk.gradient(risk.at(np.zeros(1)), risk.weights(0.0))
        array([-1.5])

    Attributes:
        loss: ℓ.
        x, y: features (n, p) and targets (n, ...).
        delete: indices of the deleted points D, shape (m,).
        l2: λ, or one for each parameter.
        scale: c.
        outputs: number of outputs k; None for one without an axis.
    """

    loss: AbstractLoss
    x: Float[np.ndarray, "n p"]
    y: np.ndarray
    delete: Int[np.ndarray, " m"]
    l2: Penalty
    scale: float
    outputs: int | None = None

    @property
    def dim(self) -> int:
        """d = p·k."""
        return self.x.shape[1] * (self.outputs or 1)

    def weights(self, eps: object) -> Float[np.ndarray, " n"]:
        """c·(1 for retained points, ε_j for deleted ones)."""
        weights = np.full(len(self.x), self.scale)
        weights[self.delete] *= np.asarray(eps)
        return weights

    def predict(self, theta: Float[np.ndarray, " d"]) -> Float[np.ndarray, "n *k"]:
        """f_i of every point."""
        return self.x @ self.coefficients(theta)

    def coefficients(self, theta: Float[np.ndarray, "*q d"]) -> Float[np.ndarray, "..."]:
        """θ as it multiplies a row of x: itself, or the matrix Θ of shape (p, k)."""
        return theta if self.outputs is None else theta.reshape(*theta.shape[:-1], -1, self.outputs)

    def at(self, theta: Float[np.ndarray, " d"]) -> Local:
        """The points at θ."""
        outputs = self.predict(theta)
        return Local(theta, outputs, pointwise(self.loss, outputs, self.y))

    def value(self, local: Local, weights: Float[np.ndarray, " n"]) -> float:
        """R_ε."""
        return float(weights @ local.points.values + 0.5 * self.l2 * local.theta @ local.theta)

    def gradient(self, local: Local, weights: Float[np.ndarray, " n"]) -> Float[np.ndarray, " d"]:
        """∇R_ε."""
        return self.pull(weights, local.points.slopes) + self.l2 * local.theta

    def hessian(self, local: Local, weights: Float[np.ndarray, " n"]) -> Float[np.ndarray, "d d"]:
        """∇²R_ε."""
        matrix = self.gram(weights, local.points.curvatures)
        matrix.flat[:: len(matrix) + 1] += self.l2
        return matrix

    def pull(self, weights: Float[np.ndarray, " n"], slopes: Float[np.ndarray, "n *k"]) -> Float[np.ndarray, " d"]:
        """Σ w_i x_i s_iᵀ, as θ is stored."""
        weighted = weights * slopes if slopes.ndim == 1 else weights[:, None] * slopes
        return (self.x.T @ weighted).ravel()

    def gram(
        self, weights: Float[np.ndarray, " n"], curvatures: Float[np.ndarray, "n ..."]
    ) -> Float[np.ndarray, "d d"]:
        """Σ w_i C_i ⊗ x_i x_iᵀ, in the order of θ; a chunk of rows at a time."""
        p, k = self.x.shape[1], self.outputs or 1
        if self.outputs is None and not (each := weights * curvatures).min(initial=0.0) < 0.0:
            roots, total = np.sqrt(each)[:, None], np.zeros((p, p))
            for rows in self.chunks():
                rooted = self.x[rows] * roots[rows]
                total += rooted.T @ rooted  # BLAS knows that this is symmetric
            return total
        total = np.zeros((p, k, p, k))
        blocks = (weights * curvatures)[:, None, None] if self.outputs is None else weights[:, None, None] * curvatures
        for rows in self.chunks():
            x, block = self.x[rows], blocks[rows]
            for a in range(k):
                for b in range(a + 1):
                    total[:, a, :, b] += (x * block[:, a, b, None]).T @ x
        for a in range(k):
            for b in range(a):
                total[:, b, :, a] = total[:, a, :, b].T
        return total.reshape(self.dim, self.dim)

    def many_slopes(self, outputs: Float[np.ndarray, "s n *k"]) -> Float[np.ndarray, "s n *k"]:
        """∇_fℓ for several sets of outputs of all points."""
        targets = np.tile(self.y, (len(outputs), *[1] * (self.y.ndim - 1)))
        return slopes(self.loss, outputs.reshape(-1, *outputs.shape[2:]), targets).reshape(outputs.shape)

    def point_gradients(self, local: Local) -> Float[np.ndarray, "n d"]:
        """g_i = c∇ℓ_i of every point."""
        return self.outer(self.scale * local.points.slopes)

    def outer(self, slopes: Float[np.ndarray, "n *k"]) -> Float[np.ndarray, "n d"]:
        """x_i s_iᵀ of every point, as θ is stored."""
        if slopes.ndim == 1:
            return self.x * slopes[:, None]
        return (self.x[:, :, None] * slopes[:, None, :]).reshape(len(self.x), -1)

    def hessian_product(
        self, local: Local, weights: Float[np.ndarray, " n"], vector: Float[np.ndarray, " d"]
    ) -> Float[np.ndarray, " d"]:
        """∇²R_ε v, without the matrix."""
        return self.pull(weights, self.curved(local.points.curvatures, self.predict(vector))) + self.l2 * vector

    @staticmethod
    def curved(
        curvatures: Float[np.ndarray, "n ..."], tangents: Float[np.ndarray, "n *k"]
    ) -> Float[np.ndarray, "n *k"]:
        """C_i a_i for every point."""
        return curvatures * tangents if tangents.ndim == 1 else np.einsum("nab,nb->na", curvatures, tangents)

    def bends(self, local: Local, vector: Float[np.ndarray, " d"]) -> Float[np.ndarray, "n *k"]:
        """The slopes' second derivatives along v: D³R_ε[v, v] is their `pull`."""
        return slope_bends(self.loss, local.outputs, self.y, self.predict(vector))

    def rows(self, index: Int[np.ndarray, " q"]) -> "GeneralisedLinear":
        """The named points alone, none deleted and without penalty."""
        return replace(self, x=self.x[index], y=self.y[index], delete=np.zeros(0, np.int64), l2=0.0)

    def chunks(self) -> Iterator[slice]:
        """Slices of rows that are weighted together."""
        n, step = len(self.x), max(1, CHUNK_NUMBERS // self.x.shape[1])
        return (slice(start, min(start + step, n)) for start in range(0, n, step))
