"""Linear regression as its sufficient statistics: everything the flow needs, whatever n was."""

from collections.abc import Iterator
from typing import NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from .._core import Array, Eigen, eigen, namespace, require_x64
from ._dataset import CHUNK_ROWS, Dataset, check_finite
from ._design import UNIT, Design, Rows, WideDesign, factor_rows, spectrum
from ._penalty import Penalty
from ._risk import AbstractRisk, Weights


class Quadratic(AbstractRisk):
    """R_ε(θ) = ½θᵀH_εθ − b_εᵀθ + const, with H_ε = H_{-D} + c Σ ε_j x_j x_jᵀ and b_ε = b_{-D} + c Σ ε_j x_j y_j.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> line.risk.system(1.0)
        (array([[6.]]), array([9.]))

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
        """The eigendecomposition of H_ε, and b_ε; in NumPy from that of H_{-D}.

        There Λ + c Σ ε_j x_j x_jᵀ = MᵀM with few rows in M, so that small eigenvalues stay exact for ε ≥ 0.
        """
        h, b = self.system(eps)
        if namespace(h, eps) is not np or np.min(eps, initial=0.0) < 0.0:
            return eigen(h), b
        weights = np.broadcast_to(eps, self.y_deleted.shape)
        counted = weights > 0.0
        if not counted.any():
            return self.retained, b
        roots = np.sqrt(self.scale * weights[counted])[:, None]
        rows = self.retained.to_basis(roots * self.x_deleted[counted])
        values, turn = spectrum(np.vstack([np.diag(np.sqrt(self.retained.values)), rows]))
        if self.retained.kernel.any():  # what the rows leave free still, they miss by rounding only, squared here
            values = np.where(values <= (4.0 * self.dim * UNIT) ** 2 * values[-1], 0.0, values)
        return Eigen(values, self.retained.vectors @ turn), b

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


class Gathered(NamedTuple):
    """What is computed of a problem when it is made.

    Attributes:
        risk: R_ε.
        design: for linear regression the factor of the retained rows, with √c inside; else None.
    """

    risk: AbstractRisk
    design: Design | WideDesign | None


def retained_rows(
    x: Float[np.ndarray, "n d"], y: Float[np.ndarray, " n"], delete: Int[np.ndarray, " m"], scale: float, name: str = ""
) -> Iterator[Rows]:
    """√c times the rows that are not deleted, and their targets, a chunk at a time.

    Raises:
        InputError: rows of a memory map that are not finite.
    """
    for start in range(0, len(x), CHUNK_ROWS):
        rows, targets = np.asarray(x[start : start + CHUNK_ROWS]), np.asarray(y[start : start + CHUNK_ROWS])
        check_finite(rows, targets, name, start)
        here = delete[(delete >= start) & (delete < start + len(rows))] - start
        if here.size:
            rows, targets = np.delete(rows, here, axis=0), np.delete(targets, here)
        yield np.sqrt(scale) * rows, np.sqrt(scale) * targets


def gather(data: Dataset, delete: Int[np.ndarray, " m"], l2: Penalty, scale: float) -> Gathered:
    """One pass over chunks of rows; deleted rows are left out, not subtracted.

    Subtracting them afterwards would lose the digits that a dominating outlier has pushed out of the sums.
    """
    require_x64()
    squares: list[float] = []

    def counted() -> Iterator[Rows]:
        for x, y in retained_rows(data.x, data.y, delete, scale, data.name):
            squares.append(float(y @ y))
            yield x, y

    design = factor_rows(counted(), data.x.shape[1], l2)
    risk = Quadratic(
        h_retained=design.hessian(),
        b_retained=design.moments(),
        constant=np.asarray(0.5 * sum(squares)),
        x_deleted=np.asarray(data.x[delete]),
        y_deleted=np.asarray(data.y[delete]),
        scale=np.asarray(scale),
        retained=design.eigen(),
    )
    return Gathered(risk, design)


@eqx.filter_jit
def _compiled(risk: AbstractRisk, method: str, *arguments: Array) -> Array:
    # The risk is an argument, so another problem of the same shape costs nothing.
    return getattr(risk, method)(*arguments)


def ask(risk: AbstractRisk, method: str, *arguments: Array) -> Array:
    """A method of the risk: in NumPy for linear regression, for others compiled once per shape."""
    return getattr(risk, method)(*arguments) if isinstance(risk, Quadratic) else _compiled(risk, method, *arguments)
