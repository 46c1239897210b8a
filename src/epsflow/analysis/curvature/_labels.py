"""Curvature of a loss in the model's output: as it is, as expected over labels drawn from the model, or as observed."""

from functools import singledispatch

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Key

from ..._core import Array, InputError
from ...problem import AbstractLoss, LogisticLoss, PseudoHuberLoss, SoftmaxCrossEntropy, SquaredLoss

_CANONICAL = (SquaredLoss, LogisticLoss, SoftmaxCrossEntropy)
"""Losses −log p(y|f) whose ∇²_f does not depend on y: the Gauss–Newton matrix is the Fisher matrix."""


@singledispatch
def label_factor(loss: AbstractLoss, output: Float[Array, "*k"]) -> Float[Array, "outputs r"]:
    """L with LLᵀ = E_{y ~ p(y|f)}[∇_fℓ ∇_fℓᵀ], p(y|f) ∝ e^{−ℓ(f,y)}: the exact expectation, no sampling.

    Squared loss: y ~ N(f, I), so I. Logistic: p(1−p). Softmax: diag(p) − ppᵀ. Pseudo-Huber: y − f has the hyperbolic
    density ∝ e^{−ℓ}, whose information in f is one constant per δ.

    Raises:
        InputError: a loss that is not known to be a log-likelihood.
    """
    raise InputError(
        f"the Fisher matrix averages over labels drawn from the model, and {type(loss).__name__} does not say from "
        'which distribution. Use curvature="ggn", which needs only the loss.'
    )


@label_factor.register
def _(loss: SquaredLoss, output: Float[Array, "*k"]) -> Float[Array, "outputs r"]:
    return jnp.eye(output.size, dtype=output.dtype)


@label_factor.register
def _(loss: LogisticLoss, output: Float[Array, "*k"]) -> Float[Array, "outputs r"]:
    # e^{−|f|/2}/(1 + e^{−|f|}) is √(p(1−p)) without the cancellation in 1 − p.
    half = jnp.exp(-0.5 * jnp.abs(output)).ravel()
    return jnp.diag(half / (1.0 + half**2))


@label_factor.register
def _(loss: SoftmaxCrossEntropy, output: Float[Array, "*k"]) -> Float[Array, "outputs r"]:
    p = jax.nn.softmax(output)
    root = jnp.sqrt(p)
    return jnp.diag(root) - p[:, None] * root  # times its transpose: diag(p) − 2ppᵀ + ppᵀ, since Σp = 1


@label_factor.register
def _(loss: PseudoHuberLoss, output: Float[Array, "*k"]) -> Float[Array, "outputs r"]:
    return jnp.sqrt(hyperbolic_information(loss.delta)) * jnp.eye(output.size, dtype=output.dtype)


def hyperbolic_information(delta: float) -> float:
    """E[ρ''(r)] under the density ∝ e^{−ρ(r)}, ρ(r) = δ²(√(1+r²/δ²) − 1).

    With r = δ sinh t it is ∫cosh⁻²t e^{−δ²(cosh t−1)}dt / ∫cosh t e^{−δ²(cosh t−1)}dt; the trapezoidal rule converges
    faster than any power for integrands that decay doubly exponentially.
    """
    width = np.arccosh(1.0 + 750.0 / delta**2)  # e^{−750} underflows
    t = np.linspace(-width, width, 4001)
    cosh = np.cosh(t)
    decay = np.exp(-(delta**2) * (cosh - 1.0))
    return float((decay / cosh**2).sum() / (decay * cosh).sum())


@singledispatch
def sample_labels(
    loss: AbstractLoss, output: Float[Array, "*k"], key: Key[Array, ""], samples: int
) -> Float[Array, "samples *t"]:
    """Labels drawn from p(y|f), each of the shape that the loss expects for an output of shape (k,)."""
    raise InputError(
        f"labels of {type(loss).__name__} cannot be drawn; leave `samples` at None for the exact expectation."
    )


@sample_labels.register
def _(loss: SquaredLoss, output: Float[Array, "*k"], key: Key[Array, ""], samples: int) -> Float[Array, "samples *t"]:
    return output + jax.random.normal(key, (samples, *output.shape), dtype=output.dtype)


@sample_labels.register
def _(loss: LogisticLoss, output: Float[Array, "*k"], key: Key[Array, ""], samples: int) -> Float[Array, "samples *t"]:
    shape = (samples, *output.shape)
    return jax.random.bernoulli(key, jax.nn.sigmoid(output), shape).astype(output.dtype)


@sample_labels.register
def _(
    loss: SoftmaxCrossEntropy, output: Float[Array, "*k"], key: Key[Array, ""], samples: int
) -> Float[Array, "samples *t"]:
    return jax.random.categorical(key, output, shape=(samples,)).astype(output.dtype)


def output_factor(
    kind: str, loss: AbstractLoss, output: Float[Array, "*k"], target: Float[Array, "*t"]
) -> Float[Array, "outputs r"]:
    """L with LLᵀ = the curvature of one point's loss in its output, for the curvatures that have such a factor.

    "ggn": ∇²_fℓ; "fisher": E_y[∇_fℓ ∇_fℓᵀ]; "empirical_fisher": ∇_fℓ ∇_fℓᵀ at the point's own label.
    """
    if kind == "fisher" or (kind == "ggn" and isinstance(loss, _CANONICAL)):
        return label_factor(loss, output)
    if kind == "empirical_fisher":
        return jax.grad(loss)(output, target).reshape(-1, 1)
    curvature = jax.hessian(loss)(output, target).reshape(output.size, output.size)
    if output.size == 1:
        return jnp.sqrt(jnp.maximum(curvature, 0.0))
    values, vectors = jnp.linalg.eigh(curvature)
    return vectors * jnp.sqrt(jnp.maximum(values, 0.0))
