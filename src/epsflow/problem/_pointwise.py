"""Losses in NumPy: value, slope and curvature of ℓ(f, y) in the output f, for all points at once.

Closed forms of the losses that ship; any other is differentiated by JAX, in one compiled function. `_losses.py` has the
same losses in JAX, point by point, for what needs differentiation; each is the other's test.
"""

from collections.abc import Callable
from functools import update_wrapper
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.special import expit

from .._core import Array, spelled
from ._losses import (
    AbstractLoss,
    LogisticLoss,
    PseudoHuberLoss,
    SoftmaxCrossEntropy,
    SquaredLoss,
    WeightedLoss,
    formula_of,
)


class Pointwise(NamedTuple):
    """ℓ and its derivatives in f at every point; an output of shape () has no output axes.

    Example:
        >>> found = ef.problem.pointwise(ef.SquaredLoss(), np.array([1.0, 2.0]), np.array([1.0, 0.0]))
        >>> found.values, found.slopes
        (array([0., 2.]), array([0., 2.]))

    Attributes:
        values: ℓ(f_i, y_i), shape (n,).
        slopes: ∇_fℓ, shape (n, *k).
        curvatures: ∇²_fℓ, shape (n, *k, *k).
    """

    values: Float[np.ndarray, " n"]
    slopes: Float[np.ndarray, "n *k"]
    curvatures: Float[np.ndarray, "n ..."]

    __repr__ = spelled


class _ClosedForms:
    """A function of a loss with closed forms for some formulas; a subclass may have another than its parent."""

    def __init__(self, general: Callable[..., Any]):
        self.general: Callable[..., Any] = general
        self.forms: dict[type[AbstractLoss], Callable[..., Any]] = {}
        update_wrapper(self, general)

    def register(self, kind: type[AbstractLoss]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorator of the closed form for one formula."""
        return lambda form: self.forms.setdefault(kind, form)

    def __call__(self, loss: AbstractLoss, *arguments: np.ndarray) -> Any:
        return self.forms.get(formula_of(loss), self.general)(loss, *arguments)


@_ClosedForms
def pointwise(loss: AbstractLoss, outputs: Float[np.ndarray, "n *k"], targets: np.ndarray) -> Pointwise:
    """ℓ, ∇_fℓ and ∇²_fℓ of every point.

    Example:
        >>> ef.problem.pointwise(ef.SquaredLoss(), np.array([1.0, 2.0]), np.array([1.0, 0.0])).values
        array([0., 2.])

    Args:
        loss: ℓ.
        outputs: f_i, shape (n,) or (n, k).
        targets: y_i, shape (n, ...).
    """
    return Pointwise(*(np.asarray(part) for part in _differentiated(loss, outputs, targets)))


@_ClosedForms
def slopes(loss: AbstractLoss, outputs: Float[np.ndarray, "n *k"], targets: np.ndarray) -> Float[np.ndarray, "n *k"]:
    """∇_fℓ of every point alone.

    Example:
        >>> ef.problem.slopes(ef.SquaredLoss(), np.array([1.0, 2.0]), np.array([1.0, 0.0]))
        array([0., 2.])
    """
    return pointwise(loss, outputs, targets).slopes


@_ClosedForms
def derivatives(
    loss: AbstractLoss, outputs: Float[np.ndarray, "n *k"], targets: np.ndarray
) -> tuple[Float[np.ndarray, "n *k"], Float[np.ndarray, "n ..."]]:
    """∇_fℓ and ∇²_fℓ of every point, exact to rounding of the largest: small tails may lose their digits.

    Example:
        >>> ef.problem.derivatives(ef.LogisticLoss(), np.array([0.0]), np.array([1.0]))
        (array([-0.5]), array([0.25]))
    """
    return pointwise(loss, outputs, targets)[1:]


@derivatives.register(LogisticLoss)
def _(loss: LogisticLoss, outputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if outputs.ndim > 1:
        return pointwise(loss, outputs, targets)[1:]
    with np.errstate(over="ignore"):  # e^{−f} = ∞ gives 0, which is right; five times as fast as expit
        likely = 1.0 / (1.0 + np.exp(-outputs))
    return likely - targets, likely * (1.0 - likely)


@_ClosedForms
def losses(loss: AbstractLoss, outputs: Float[np.ndarray, "n *k"], targets: np.ndarray) -> Float[np.ndarray, " n"]:
    """ℓ of every point alone.

    Example:
        >>> ef.problem.losses(ef.SquaredLoss(), np.array([1.0, 2.0]), np.array([1.0, 0.0]))
        array([0., 2.])
    """
    return pointwise(loss, outputs, targets).values


@losses.register(LogisticLoss)
def _(loss: LogisticLoss, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    # log(1 + eᶠ) − yf for a label of 0 or 1 is log(1 + e^{±f}), in whose larger tail the sum keeps its digits.
    signed = _sign(targets) * outputs
    tail = np.abs(outputs)
    np.negative(tail, out=tail)  # in place: new arrays cost as much as the arithmetic
    np.exp(tail, out=tail)
    np.log1p(tail, out=tail)
    np.maximum(signed, 0.0, out=signed)
    signed += tail
    return _over_outputs(signed)


@losses.register(SquaredLoss)
def _(loss: SquaredLoss, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return 0.5 * _over_outputs((outputs - targets) ** 2)


@slopes.register(LogisticLoss)
def _(loss: LogisticLoss, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return expit(outputs) - targets


@slopes.register(SquaredLoss)
def _(loss: SquaredLoss, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return outputs - targets


@slopes.register(PseudoHuberLoss)
def _(loss: PseudoHuberLoss, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    gap = outputs - targets
    return gap / np.sqrt(1.0 + (gap / loss.delta) ** 2)


@_ClosedForms
def slope_bends(
    loss: AbstractLoss, outputs: Float[np.ndarray, "n *k"], targets: np.ndarray, directions: Float[np.ndarray, "n *k"]
) -> Float[np.ndarray, "n *k"]:
    """d²/dh² ∇_fℓ(f_i + h a_i, y_i) at h = 0: the third derivative along a_i twice, for every point."""
    return np.asarray(_bends(loss, outputs, targets, directions))


@pointwise.register(SquaredLoss)
def _(loss: SquaredLoss, outputs: np.ndarray, targets: np.ndarray) -> Pointwise:
    gap = outputs - targets
    return Pointwise(0.5 * _over_outputs(gap**2), gap, _diagonal(np.ones_like(gap)))


def _sign(targets: np.ndarray) -> Float[np.ndarray, "n *k"]:
    """−1 for the label 1, 1 for 0: ℓ = log(1 + e^{±f})."""
    return np.where(targets > 0.5, -1.0, 1.0)


@slope_bends.register(SquaredLoss)
def _(loss: SquaredLoss, outputs: np.ndarray, targets: np.ndarray, directions: np.ndarray) -> np.ndarray:
    return np.zeros_like(outputs)


@pointwise.register(LogisticLoss)
def _(loss: LogisticLoss, outputs: np.ndarray, targets: np.ndarray) -> Pointwise:
    # With e = e^{−|f|} no sum cancels: both tails keep their digits.
    sign = _sign(targets)
    tail, signed = np.exp(-np.abs(outputs)), sign * outputs
    likely = 1.0 / (1.0 + tail)
    unlikely = tail * likely
    slopes = sign * np.where(signed < 0.0, unlikely, likely)
    values = _over_outputs(np.maximum(signed, 0.0) + np.log1p(tail))
    return Pointwise(values, slopes, _diagonal(unlikely * likely))


@slope_bends.register(LogisticLoss)
def _(loss: LogisticLoss, outputs: np.ndarray, targets: np.ndarray, directions: np.ndarray) -> np.ndarray:
    tail = np.exp(-np.abs(outputs))
    return -np.sign(outputs) * tail * (1.0 - tail) / (1.0 + tail) ** 3 * directions**2


@pointwise.register(SoftmaxCrossEntropy)
def _(loss: SoftmaxCrossEntropy, outputs: np.ndarray, targets: np.ndarray) -> Pointwise:
    rows, labels = np.arange(len(outputs)), targets.astype(np.int64)
    p, logs = _softmax(outputs)
    slopes = p.copy()
    # −Σ of the other probabilities: p_y − 1 would lose the digits of a confident prediction.
    p_label = p[rows, labels]
    slopes[rows, labels] = 0.0
    slopes[rows, labels] = -slopes.sum(axis=1)
    curvatures = -p[:, :, None] * p[:, None, :]
    index = np.arange(p.shape[1])
    curvatures[:, index, index] = p * (1.0 - p)
    curvatures[rows, labels, labels] = -p_label * slopes[rows, labels]
    return Pointwise(-logs[rows, labels], slopes, curvatures)


@slopes.register(SoftmaxCrossEntropy)
def _(loss: SoftmaxCrossEntropy, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    p, total, _ = _exponentials(outputs)
    p /= total[:, None]
    rows, labels = np.arange(len(p)), targets.astype(np.int64)
    p[rows, labels] = 0.0
    p[rows, labels] = -(p @ np.ones(p.shape[1]))  # as in `pointwise`
    return p


@losses.register(SoftmaxCrossEntropy)
def _(loss: SoftmaxCrossEntropy, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    _, total, top = _exponentials(outputs)
    return np.log(total) - (outputs[np.arange(len(outputs)), targets.astype(np.int64)] - top)


@slope_bends.register(SoftmaxCrossEntropy)
def _(loss: SoftmaxCrossEntropy, outputs: np.ndarray, targets: np.ndarray, directions: np.ndarray) -> np.ndarray:
    p, _ = _softmax(outputs)
    centred = directions - (p * directions).sum(axis=1, keepdims=True)
    squares = centred**2
    return p * (squares - (p * squares).sum(axis=1, keepdims=True))


@pointwise.register(PseudoHuberLoss)
def _(loss: PseudoHuberLoss, outputs: np.ndarray, targets: np.ndarray) -> Pointwise:
    gap = outputs - targets
    square = (gap / loss.delta) ** 2
    root = np.sqrt(1.0 + square)
    return Pointwise(loss.delta**2 * _over_outputs(square / (root + 1.0)), gap / root, _diagonal(root**-3.0))


@slope_bends.register(PseudoHuberLoss)
def _(loss: PseudoHuberLoss, outputs: np.ndarray, targets: np.ndarray, directions: np.ndarray) -> np.ndarray:
    ratio = (outputs - targets) / loss.delta
    return -3.0 * ratio / loss.delta * (1.0 + ratio**2) ** -2.5 * directions**2


def _times(v: Float[np.ndarray, " n"], each: Float[np.ndarray, "n ..."]) -> Float[np.ndarray, "n ..."]:
    """v_i times the entries of point i."""
    return v.reshape(-1, *[1] * (each.ndim - 1)) * each


@pointwise.register(WeightedLoss)
def _(loss: WeightedLoss, outputs: np.ndarray, targets: np.ndarray) -> Pointwise:
    y, v = loss.split(targets)
    return Pointwise(*(_times(v, part) for part in pointwise(loss.loss, outputs, y)))


@slopes.register(WeightedLoss)
def _(loss: WeightedLoss, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    y, v = loss.split(targets)
    return _times(v, slopes(loss.loss, outputs, y))


@slope_bends.register(WeightedLoss)
def _(loss: WeightedLoss, outputs: np.ndarray, targets: np.ndarray, directions: np.ndarray) -> np.ndarray:
    y, v = loss.split(targets)
    return _times(v, slope_bends(loss.loss, outputs, y, directions))


def _softmax(logits: Float[np.ndarray, "n k"]) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, "n k"]]:
    """Probabilities and their logarithms."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return np.exp(logs), logs


def _exponentials(
    logits: Float[np.ndarray, "n k"],
) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """e^{f − max f}, their sum and the maximum.

    Column by column and by a product: NumPy's reductions of rows of a few classes take three times as long.
    """
    top = logits[:, 0].copy()
    for column in logits.T[1:]:
        np.maximum(top, column, out=top)
    each = np.exp(logits - top[:, None])
    return each, each @ np.ones(logits.shape[1]), top


def _over_outputs(values: Float[np.ndarray, "n *k"]) -> Float[np.ndarray, " n"]:
    return values if values.ndim == 1 else values.reshape(len(values), -1).sum(axis=1)


def _diagonal(entries: Float[np.ndarray, "n *k"]) -> Float[np.ndarray, "n ..."]:
    """Of losses that add over outputs: one number, or a diagonal matrix, per point."""
    return entries if entries.ndim == 1 else entries[:, :, None] * np.eye(entries.shape[1])


@eqx.filter_jit
def _differentiated(loss: AbstractLoss, outputs: Array, targets: Array) -> tuple[Array, Array, Array]:
    targets = _of_type(targets, outputs)
    return (
        jax.vmap(loss)(outputs, targets),
        jax.vmap(jax.grad(loss))(outputs, targets),
        jax.vmap(jax.hessian(loss))(outputs, targets),
    )


@eqx.filter_jit
def _bends(loss: AbstractLoss, outputs: Array, targets: Array, directions: Array) -> Array:
    def one(output: Array, target: Array, along: Array) -> Array:
        def bent(point: Array) -> Array:
            return jax.jvp(lambda f: jax.grad(loss)(f, target), (point,), (along,))[1]

        return jax.jvp(bent, (output,), (along,))[1]

    return jax.vmap(one)(outputs, _of_type(targets, outputs), directions)


def _of_type(targets: Array, outputs: Array) -> Array:
    """Targets in single precision under outputs in double: what a loss makes of the former alone is in double too."""
    return jnp.asarray(targets, outputs.dtype) if jnp.issubdtype(targets.dtype, jnp.floating) else jnp.asarray(targets)
