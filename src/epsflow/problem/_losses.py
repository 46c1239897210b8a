"""Losses ℓ(f, y) of one point: f is the model's output for it, y its target."""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._core import Array, InputError, Spelled, as_scalar


class AbstractLoss(Spelled, eqx.Module):
    """ℓ(f, y) ≥ 0, twice differentiable in f. `convex` says whether it is convex in f.

    Example:
        >>> class Quartic(ef.AbstractLoss):
        ...     convex = True
        ...     def __call__(self, output, target):
        ...         return (output - target) ** 4 / 4.0
        >>> Quartic()(3.0, 1.0)
        4.0
    """

    convex: eqx.AbstractClassVar[bool]

    @abc.abstractmethod
    def __call__(self, output: Float[Array, "*k"], target: Float[Array, "*t"]) -> Float[Array, ""]:
        """The loss of one point."""

    def check(self, output_shape: tuple[int, ...], y: np.ndarray) -> None:
        """Refuse targets that this loss cannot read.

        Args:
            output_shape: shape of the model's output for one point.
            y: all targets, shape (n, ...).
        """
        if output_shape != y.shape[1:]:
            raise InputError(
                f"the model returns shape {output_shape} for a point, but its target has shape {y.shape[1:]}; "
                f"{type(self).__name__} compares them entry by entry."
            )


def formula_of(loss: AbstractLoss) -> type:
    """The class that defines the loss's formula: a subclass with a `__call__` of its own is not its parent."""
    return next(kind for kind in type(loss).__mro__ if "__call__" in vars(kind))


class SquaredLoss(AbstractLoss):
    """½‖f − y‖².

    Example:
        >>> float(ef.SquaredLoss()(3.0, 1.0))
        2.0
    """

    convex: ClassVar[bool] = True

    def __call__(self, output: Float[Array, "*k"], target: Float[Array, "*t"]) -> Float[Array, ""]:
        return 0.5 * jnp.sum((output - target) ** 2)


class LogisticLoss(AbstractLoss):
    """log(1 + eᶠ) − y·f for a logit f and a label y ∈ {0, 1}: minus the log-likelihood of a Bernoulli variable.

    Example:
        >>> round(float(ef.LogisticLoss()(0.0, 1.0)), 6)
        0.693147
    """

    convex: ClassVar[bool] = True

    def __call__(self, output: Float[Array, "*k"], target: Float[Array, "*t"]) -> Float[Array, ""]:
        return jnp.sum(_softplus(output) - target * output)

    def check(self, output_shape: tuple[int, ...], y: np.ndarray) -> None:
        """Labels must be 0 or 1."""
        super().check(output_shape, y)
        strange = np.setdiff1d(y, [0.0, 1.0])
        if strange.size:
            raise InputError(
                f"LogisticLoss needs labels 0 and 1; the targets also contain {strange[0]:g}. "
                "data.encode_labels() numbers labels such as -1 and 1."
            )


class SoftmaxCrossEntropy(AbstractLoss):
    """log Σ_c e^{f_c} − f_y for k logits and a class y ∈ {0, …, k−1}.

    Example:
        >>> round(float(ef.SoftmaxCrossEntropy()(np.zeros(3), 1.0)), 6)
        1.098612
    """

    convex: ClassVar[bool] = True

    def __call__(self, output: Float[Array, "*k"], target: Float[Array, "*t"]) -> Float[Array, ""]:
        # Labels are compared as the numbers that they are stored as, which CasADi can, too.
        known = jnp.arange(output.shape[0], dtype=output.dtype) == target
        return jax.nn.logsumexp(output) - jnp.sum(jnp.where(known, output, 0.0))

    def check(self, output_shape: tuple[int, ...], y: np.ndarray) -> None:
        """Labels must be whole numbers below the number of logits."""
        if len(output_shape) != 1 or y.ndim != 1:
            raise InputError(
                f"SoftmaxCrossEntropy needs one logit per class and one label per point; the model returns shape "
                f"{output_shape} and a target has shape {y.shape[1:]}."
            )
        strange = np.setdiff1d(y, np.arange(output_shape[0]))
        if strange.size:
            raise InputError(
                f"SoftmaxCrossEntropy with {output_shape[0]} logits needs labels 0 to {output_shape[0] - 1}; "
                f"the targets contain {strange[0]:g}. data.encode_labels() numbers them."
            )


class PseudoHuberLoss(AbstractLoss):
    """δ²(√(1 + ((f−y)/δ)²) − 1), summed over outputs: quadratic near zero, linear with slope δ far away.

    Example:
        >>> round(float(ef.PseudoHuberLoss(0.5)(3.0, 1.0)), 4)
        0.7808
    """

    delta: float = eqx.field(converter=lambda value: as_scalar(value, "delta"), default=1.0, static=True)
    convex: ClassVar[bool] = True

    def __check_init__(self) -> None:
        if self.delta <= 0.0:
            raise InputError(f"PseudoHuberLoss: delta is {self.delta:g}; the width must be positive.")

    def __call__(self, output: Float[Array, "*k"], target: Float[Array, "*t"]) -> Float[Array, ""]:
        # √(1+r²) − 1 = r²/(√(1+r²) + 1): the second form keeps the digits of a small residual.
        square = ((output - target) / self.delta) ** 2
        return self.delta**2 * jnp.sum(square / (jnp.sqrt(1.0 + square) + 1.0))


class WeightedLoss(AbstractLoss):
    """v·ℓ(f, y) for a target (y, v): what `Problem(..., sample_weight=v)` makes of a loss.

    Example:
        >>> float(ef.problem.WeightedLoss(ef.SquaredLoss())(3.0, np.array([1.0, 0.5])))
        1.0

    Attributes:
        loss: ℓ.
    """

    loss: AbstractLoss

    def __init__(self, loss: AbstractLoss):
        self.loss = loss

    @property
    def convex(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether ℓ is: weights are not negative."""
        return self.loss.convex

    @staticmethod
    def split(targets: Any) -> tuple[Any, Any]:
        """The targets y, and the weights v, along the last axis."""
        y, v = targets[..., :-1], targets[..., -1]
        return (y[..., 0] if y.shape[-1] == 1 else y), v

    def __call__(self, output: Float[Array, "*k"], target: Float[Array, " t"]) -> Float[Array, ""]:
        y, v = self.split(jnp.asarray(target))
        return v * self.loss(output, y)

    def check(self, output_shape: tuple[int, ...], y: np.ndarray) -> None:
        """As the loss itself, without the weights."""
        self.loss.check(output_shape, self.split(y)[0])


@jax.custom_jvp
def _softplus(logit: Array) -> Array:
    """log(1 + eᶠ), differentiated as the sigmoid: JAX goes through max and log1p, and takes three times as long."""
    return jax.nn.softplus(logit)


_softplus.defjvps(lambda tangent, _, logit: tangent * jax.nn.sigmoid(logit))
