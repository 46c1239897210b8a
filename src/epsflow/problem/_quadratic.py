"""Linear regression as its sufficient statistics: everything the flow needs, whatever n was."""

import numpy as np
from jaxtyping import Float, Int

from .._core import Array, Eigen, eigen, namespace, require_x64
from ._dataset import CHUNK_ROWS, Dataset, check_finite
from ._risk import AbstractRisk, Weights

FEW_ROWS = 2
"""Parameters per retained point from which H_{-D} is diagonalised through its rows."""


class Quadratic(AbstractRisk):
    """R_ε(θ) = ½θᵀH_εθ − b_εᵀθ + const, with H_ε = H_{-D} + c Σ ε_j x_j x_jᵀ and b_ε = b_{-D} + c Σ ε_j x_j y_j.

    Holds NumPy arrays, and answers in NumPy what is asked with numbers; inside a transformation it answers in JAX.

    Attributes:
        h_retained: H_{-D} = c Σ_{i∉D} x_i x_iᵀ + λI, shape (d, d).
        b_retained: b_{-D} = c Σ_{i∉D} x_i y_i, shape (d,).
        constant: (c/2) Σ_{i∉D} y_i².
        x_deleted, y_deleted: the deleted rows X_D (m, d) and targets y_D (m,).
        scale: c.
        retained: eigendecomposition of H_{-D}.
    """

    h_retained: Float[Array, "d d"]
    b_retained: Float[Array, " d"]
    constant: Float[Array, ""]
    x_deleted: Float[Array, "m d"]
    y_deleted: Float[Array, " m"]
    scale: Float[Array, ""]
    retained: Eigen

    @property
    def dim(self) -> int:
        """Number of parameters d."""
        return self.b_retained.shape[-1]

    @property
    def num_deleted(self) -> int:
        """Number of deleted points m."""
        return self.y_deleted.shape[-1]

    def system(self, eps: Weights) -> tuple[Float[Array, "d d"], Float[Array, " d"]]:
        """(H_ε, b_ε): the flow is θ̇ = b_ε − H_ε θ."""
        weighted = self._weighted_rows(eps)
        return self.h_retained + weighted.T @ self.x_deleted, self.b_retained + weighted.T @ self.y_deleted

    def diagonal(self, eps: Weights) -> tuple[Eigen, Float[Array, " d"]]:
        """The eigendecomposition of H_ε, and b_ε; where ε is known to be zero, that of H_{-D} is not computed again."""
        h, b = self.system(eps)
        return (self.retained if namespace(h, eps) is np and not np.any(eps) else eigen(h)), b

    def value(self, theta: Float[Array, " d"], eps: Weights) -> Float[Array, ""]:
        """R_ε(θ)."""
        h, b = self.system(eps)
        targets = 0.5 * self.scale * (eps * self.y_deleted**2).sum()
        return 0.5 * theta @ h @ theta - b @ theta + self.constant + targets

    def gradient(self, theta: Float[Array, " d"], eps: Weights) -> Float[Array, " d"]:
        """∇R_ε(θ) = H_{-D}θ − b_{-D} + c Σ ε_j x_j e_j."""
        residuals = self.x_deleted @ theta - self.y_deleted
        return self.h_retained @ theta - self.b_retained + self._weighted_rows(eps).T @ residuals

    def hvp(self, theta: Float[Array, " d"], vector: Float[Array, " d"], eps: Weights) -> Float[Array, " d"]:
        """H_ε v; θ does not matter."""
        return self.h_retained @ vector + self._weighted_rows(eps).T @ (self.x_deleted @ vector)

    def hessian(self, theta: Float[Array, " d"], eps: Weights) -> Float[Array, "d d"]:
        """H_ε; θ does not matter."""
        return self.system(eps)[0]

    def deleted_gradients(self, theta: Float[Array, " d"]) -> Float[Array, "m d"]:
        """g_j = c x_j e_j, e_j = x_jᵀθ − y_j."""
        return self.scale * self.x_deleted * (self.x_deleted @ theta - self.y_deleted)[:, None]

    def _weighted_rows(self, eps: Weights) -> Float[Array, "m d"]:
        weights = namespace(eps, self.y_deleted).broadcast_to(eps, self.y_deleted.shape)
        return self.scale * weights[:, None] * self.x_deleted


def gather(data: Dataset, delete: Int[np.ndarray, " m"], l2: float, scale: float) -> Quadratic:
    """Sufficient statistics in one pass over chunks of rows; deleted rows are left out of the sums, not subtracted.

    Subtracting them afterwards would lose the digits that a dominating outlier has pushed out of the sum.
    """
    require_x64()
    d = data.x.shape[1]
    h, b, constant = l2 * np.eye(d), np.zeros(d), 0.0
    for start in range(0, data.n, CHUNK_ROWS):
        x, y = np.asarray(data.x[start : start + CHUNK_ROWS]), np.asarray(data.y[start : start + CHUNK_ROWS])
        check_finite(x, y, data.name, start)
        here = delete[(delete >= start) & (delete < start + len(x))] - start
        if here.size:
            x, y = np.delete(x, here, axis=0), np.delete(y, here)
        h += scale * (x.T @ x)
        b += scale * (x.T @ y)
        constant += 0.5 * scale * float(y @ y)
    h_retained = 0.5 * (h + h.T)
    few = d >= FEW_ROWS * (data.n - len(delete)) and data.n <= CHUNK_ROWS
    rows = np.sqrt(scale) * np.delete(np.asarray(data.x), delete, axis=0) if few else None
    return Quadratic(
        h_retained=h_retained,
        b_retained=b,
        constant=np.asarray(constant),
        x_deleted=np.asarray(data.x[delete]),
        y_deleted=np.asarray(data.y[delete]),
        scale=np.asarray(scale),
        retained=eigen(h_retained) if rows is None else _eigen_of_rows(rows, l2),
    )


def _eigen_of_rows(rows: Float[np.ndarray, "q d"], l2: float) -> Eigen:
    """Eigendecomposition of XᵀX + λI from a QR factorisation of Xᵀ, 4qd² operations instead of some 9d³.

    Xᵀ = QR and R = UΣWᵀ give the eigenvectors QU for σ² + λ, and the rest of Q for λ.
    """
    q, d = rows.shape
    basis, triangle = np.linalg.qr(rows.T, mode="complete")
    turn, sizes, _ = np.linalg.svd(triangle[:q])
    basis[:, :q] = (basis[:, :q] @ turn)[:, ::-1]
    values = np.concatenate([np.full(d - q, l2), sizes[::-1] ** 2 + l2])
    rounding = d * np.finfo(np.float64).eps * values[-1]
    vectors = np.concatenate([basis[:, q:], basis[:, :q]], axis=1)
    return Eigen(np.where(values <= rounding, 0.0, values), vectors)
