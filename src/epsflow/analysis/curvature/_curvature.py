"""The four matrices called curvature, each under its own name: products, dense assembly, and their factors."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from ..._core import Array, InputError
from ...problem import DENSE_LIMIT, AbstractRisk, EmpiricalRisk, Quadratic
from ._labels import output_factor
from ._memory import Chunks

KINDS = ("hessian", "ggn", "fisher", "empirical_fisher")
"""What `Curvature` can be."""

_CHUNK_NUMBERS = 2**24
"""Numbers (128 MB) that the factor rows of one chunk of points may take."""


class Curvature(eqx.Module):
    """C + λ_d I at θ, for one of four matrices C.

    With w_i = c, or c·ε_j for the deleted points, f_i = f(θ; x_i) and J_i = ∂f_i/∂θ:

    * "hessian": ∇²R_ε(θ) = Σ w_i ∇²ℓ_i + λI;
    * "ggn": Σ w_i J_iᵀ ∇²_fℓ_i J_i + λI, the generalised Gauss–Newton matrix;
    * "fisher": Σ w_i E_{y ~ p(y|f_i)}[∇ℓ ∇ℓᵀ] + λI, labels drawn from the model; equal to "ggn" for the squared,
      logistic and softmax losses, and *not* for pseudo-Huber, whose information in f is constant;
    * "empirical_fisher": Σ w_i ∇ℓ_i ∇ℓ_iᵀ + λI at the observed labels: neither of the others.

    A pytree: it is an argument of jitted functions. Build it with `curvature_at`.

    Attributes:
        risk: R_ε.
        theta: where, shape (d,).
        eps: weights of the deleted points.
        penalty: λ as the risk itself contains it.
        ridge: what is added to the sum over data: λ + λ_d (λ_d alone where the penalty is left out).
        kind: which matrix.
        unit: roundoff of the products that it is made of, see `unit_of`.
        chunks: how much is worked on at once; None for everything, but for the risk's own chunks of points.
    """

    risk: AbstractRisk
    theta: Float[Array, " d"]
    eps: Float[Array, "*m"]
    penalty: Float[Array, "*each"]
    ridge: Float[Array, "*each"]
    kind: str = eqx.field(static=True)
    unit: float = eqx.field(static=True, default=2.0**-52)
    chunks: Chunks | None = eqx.field(static=True, default=None)

    @property
    def dim(self) -> int:
        """d."""
        return self.theta.shape[0]

    @property
    def num_points(self) -> int:
        """n."""
        return self._data_risk.x.shape[0]

    @property
    def factor_rows(self) -> int | None:
        """Number of rows of the factor B, n·(outputs); None for a curvature that has no factor."""
        if self.kind == "hessian" or not isinstance(self.risk, EmpiricalRisk):
            return None
        if self.kind == "empirical_fisher":
            return self.num_points
        point = jax.ShapeDtypeStruct(self.risk.x.shape[1:], self.risk.x.dtype)
        return self.num_points * math.prod(jax.eval_shape(self.risk.model, self.theta, point).shape)

    def mv(self, vector: Float[Array, " d"]) -> Float[Array, " d"]:
        """(C + λ_d I)v without a matrix, in chunks of points."""
        if self.kind == "hessian" or isinstance(self.risk, Quadratic):
            return self.risk.hvp(self.theta, vector, self.eps) + (self.ridge - self.penalty) * vector
        return self.sum_points(lambda _, *chunk: self.data_product(vector, *chunk)) + self.ridge * vector

    def mm(self, vectors: Float[Array, "q d"]) -> Float[Array, "q d"]:
        """(C + λ_d I) applied to each row."""
        if self.chunks is None or len(vectors) <= self.chunks.vectors:
            return jax.vmap(self.mv)(vectors)
        return jax.lax.map(self.mv, vectors, batch_size=self.chunks.vectors)

    def matrix(self) -> Float[Array, "d d"]:
        """C + λ_d I, dense; check with `require_dense` first."""
        if self.kind == "hessian" or isinstance(self.risk, Quadratic):
            dense = self.risk.hessian(self.theta, self.eps)
            return 0.5 * (dense + dense.T) + (self.ridge - self.penalty) * jnp.eye(self.dim, dtype=self.theta.dtype)

        def gram(_: Array, *chunk: Array) -> Array:
            rows = self.rows(*chunk)
            # Without the barrier XLA folds the transposition into the product, which is three times slower.
            return jax.lax.optimization_barrier(rows.T) @ rows

        return self.sum_points(gram, self._factor_chunk) + self.ridge * jnp.eye(self.dim, dtype=self.theta.dtype)

    def factor(self) -> Float[Array, "rows d"]:
        """B with C + λ_d I = BᵀB + ridge·I: the rows √w_i L_iᵀJ_i of every point."""
        return self.rows(self._data_risk.x, self._data_risk.y, self._data_risk.weights(self.eps))

    def sampled_mv(self, vector: Float[Array, " d"], points: Int[Array, " b"]) -> Float[Array, " d"]:
        """An unbiased estimate of (C + λ_d I)v from b points drawn uniformly, with replacement."""
        risk = self._data_risk
        weights = risk.weights(self.eps)[points] * (self.num_points / points.shape[0])
        return self.data_product(vector, risk.x[points], risk.y[points], weights) + self.ridge * vector

    def data_product(
        self, vector: Float[Array, " d"], x: Float[Array, "b p"], y: Float[Array, "b *t"], weights: Float[Array, " b"]
    ) -> Float[Array, " d"]:
        """The given points' share of Cv, without λ."""
        risk = self._data_risk
        if self.kind == "hessian":
            slope = jax.grad(lambda t: weights @ jax.vmap(risk.loss)(self._outputs(t, x), y))
            return jax.jvp(slope, (self.theta,), (vector,))[1]
        outputs, tangents = jax.jvp(lambda t: self._outputs(t, x), (self.theta,), (vector,))
        factors, flat = self._output_factors(outputs, y), tangents.reshape(len(outputs), -1)
        curved = jnp.einsum("b,bkr,blr,bl->bk", weights, factors, factors, flat)
        return jax.vjp(lambda t: self._outputs(t, x), self.theta)[1](curved.reshape(outputs.shape))[0]

    def sum_points(self, term: Callable[..., Any], size: int | None = None) -> Any:
        """Σ over chunks of points of term(indices, x, y, weights), an array or a pytree of arrays.

        `size` points are taken at a time; default: as many as the risk does.
        """
        return self._data_risk.sum_points(term, self.eps, size)

    @property
    def _data_risk(self) -> EmpiricalRisk:
        if not isinstance(self.risk, EmpiricalRisk):
            raise InputError(
                "the sufficient statistics of a linear regression do not hold its points; build the curvature with "
                "curvature_at(..., data=True)."
            )
        return self.risk

    @property
    def _factor_chunk(self) -> int:
        per_point = self.dim * max(1, (self.factor_rows or 1) // self.num_points)
        return min(self._data_risk.chunk_rows, max(1, _CHUNK_NUMBERS // per_point))

    def _outputs(self, theta: Array, x: Array) -> Array:
        return jax.vmap(self._data_risk.model, (None, 0))(theta, x)

    def _output_factors(self, outputs: Array, y: Array) -> Array:
        return jax.vmap(lambda f, t: output_factor(self.kind, self._data_risk.loss, f, t))(outputs, y)

    def rows(
        self, x: Float[Array, "b p"], y: Float[Array, "b *t"], weights: Float[Array, " b"]
    ) -> Float[Array, "rows d"]:
        """The given points' rows of B, √w_i L_iᵀJ_i."""
        jacobians = jax.vmap(jax.jacrev(self._data_risk.model), (None, 0))(self.theta, x).reshape(len(x), -1, self.dim)
        factors = self._output_factors(self._outputs(self.theta, x), y) * jnp.sqrt(weights)[:, None, None]
        return jnp.einsum("bkr,bkd->brd", factors, jacobians).reshape(-1, self.dim)


def require_dense(side: int, what: str, alternative: str) -> None:
    """Refuse a dense square matrix that would not fit.

    Raises:
        InputError: with its size and what to use instead.
    """
    if side > DENSE_LIMIT:
        raise InputError(
            f"{what} would be {side:,} × {side:,}, {8e-9 * side**2:.1f} GB in float64, above the limit of "
            f"{8e-9 * DENSE_LIMIT**2:.2f} GB. {alternative}"
        )
