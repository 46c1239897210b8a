"""Models f(θ; x): a flat parameter vector and one point's features in, one output out."""

import abc
import math
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Key

from .._core import Array, InputError, Spelled, as_count, brief

_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "softplus": jax.nn.softplus,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "identity": lambda values: values,
}


def widest() -> Any:
    """float64, or float32 while JAX is in 32-bit mode."""
    return jax.dtypes.canonicalize_dtype(np.float64)


class AbstractModel(Spelled, eqx.Module):
    """f(θ; x). Everything that defines it is static, so equal models share compiled code.

    Example:
        >>> import jax.numpy as jnp
        >>> class Growth(ef.AbstractModel):
        ...     dim = 2
        ...     def __call__(self, theta, x):
        ...         return theta[0] * jnp.exp(theta[1] * x[0])
        ...     def init(self, key):
        ...         return jnp.array([1.0, 0.1])
        >>> ef.Problem(Growth(), ef.SquaredLoss(), ef.Dataset([[0.0], [1.0]], [1.0, 2.0])).convex
        False
    """

    @property
    @abc.abstractmethod
    def dim(self) -> int:
        """Number of parameters d."""

    @abc.abstractmethod
    def __call__(self, theta: Float[Array, " d"], x: Float[Array, " p"]) -> Float[Array, "*k"]:
        """The output for one point: shape () or (k,)."""

    @abc.abstractmethod
    def init(self, key: Key[Array, ""]) -> Float[Array, " d"]:
        """Random starting parameters."""


class LinearModel(AbstractModel):
    """f = xᵀθ, or with `outputs` = k the vector x ↦ Θᵀx, θ = vec Θ (row-major, Θ of shape (features, k)).

    Example:
        >>> ef.LinearModel(10).dim
        10

    There is no hidden intercept: `Dataset.add_intercept` makes one that is seen.
    """

    features: int = eqx.field(static=True)
    outputs: int | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        as_count(self.features, "features")
        if self.outputs is not None:
            as_count(self.outputs, "outputs")

    @property
    def dim(self) -> int:
        """features × outputs."""
        return self.features * (self.outputs or 1)

    def __call__(self, theta: Float[Array, " d"], x: Float[Array, " p"]) -> Float[Array, "*k"]:
        return x @ theta if self.outputs is None else x @ theta.reshape(self.features, self.outputs)

    def init(self, key: Key[Array, ""]) -> Float[Array, " d"]:
        """Standard normal entries divided by √features."""
        return jax.random.normal(key, (self.dim,), dtype=widest()) / math.sqrt(self.features)


def as_sizes(value: object, what: str, parts: str, least: int) -> tuple[int, ...]:
    """At least so many whole, positive numbers.

    Args:
        value: as it was given.
        what, parts: for the message: what it is, and what it is made of.
        least: how many, at least.

    Raises:
        InputError: anything else.
    """
    listed: Any = value if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str | bytes) else ()
    sizes = tuple(listed)
    if len(sizes) < least or any(isinstance(size, bool) or not isinstance(size, int | np.integer) for size in sizes):
        raise InputError(f"{what} {brief(value)}: give {parts}, all positive, whole.")
    if min(sizes, default=1) < 1:
        raise InputError(f"{what} {sizes}: give {parts}, all positive.")
    return tuple(int(size) for size in sizes)


def _as_widths(value: object) -> tuple[int, ...]:
    """(features, hidden…, outputs), whole and positive."""
    return as_sizes(value, "MLP widths", "(features, hidden…, outputs)", 2)


def as_activation(value: object) -> str:
    """The name of one of the activations.

    Raises:
        InputError: another, with those that there are.
    """
    if not isinstance(value, str) or value not in _ACTIVATIONS:
        raise InputError(f"unknown activation {brief(value)}: choose one of {', '.join(_ACTIVATIONS)}.")
    return value


def activate(name: str, values: Float[Array, "*k"]) -> Float[Array, "*k"]:
    """σ, entry by entry."""
    return _ACTIVATIONS[name](values)


Tap = Callable[[Array, Array], Array]
"""Sees what enters and leaves an affine layer, a and W a + b, and returns what goes on instead of W a + b."""


def untapped(inputs: Array, outputs: Array) -> Array:
    """W a + b as it is."""
    return outputs


class LayeredModel(AbstractModel):
    """A network of affine layers, of each of which θ holds W by rows, then b.

    Example:
        >>> ef.CNN((8, 8), channels=(4,), widths=(10,)).places, ef.MLP((10, 8, 1)).places
        ((64, None), (None, None))
    """

    @property
    @abc.abstractmethod
    def places(self) -> tuple[int | None, ...]:
        """How many pixels share the weights of each layer; None for a fully connected one."""

    @abc.abstractmethod
    def layers(self, theta: Float[Array, " d"]) -> list[tuple[Float[Array, "out ..."], Float[Array, " out"]]]:
        """The weights and biases of each layer."""

    @abc.abstractmethod
    def tapped(self, theta: Float[Array, " d"], x: Float[Array, " p"], tap: Tap) -> Float[Array, "*k"]:
        """The output for one point, with a `tap` at every layer.

        What enters a layer has shape (in,) and what leaves it (out,), or (in, places) and (out, places).
        """


class MLP(LayeredModel):
    """Fully connected network with biases.

    Example:
        >>> ef.MLP((10, 8, 1)).dim
        97

    a₀ = x, a_{l+1} = σ(W_l a_l + b_l), and no activation after the last layer. θ stacks W₀, b₀, W₁, b₁, …, each W_l of
    shape (widths[l+1], widths[l]) row-major. A last width of 1 gives a scalar output.

    Attributes:
        widths: (features, hidden…, outputs).
        activation: tanh, relu, sigmoid, softplus, gelu, silu or identity.
    """

    widths: tuple[int, ...] = eqx.field(static=True, converter=_as_widths)
    activation: str = eqx.field(static=True, default="tanh", converter=as_activation)

    @property
    def dim(self) -> int:
        """Number of weights and biases."""
        return sum((fan_in + 1) * fan_out for fan_in, fan_out in zip(self.widths, self.widths[1:], strict=False))

    def layers(self, theta: Float[Array, " d"]) -> list[tuple[Float[Array, "out in"], Float[Array, " out"]]]:
        """The weights and biases (W_l, b_l) of each layer."""
        layers, start = [], 0
        for fan_in, fan_out in zip(self.widths, self.widths[1:], strict=False):
            middle, end = start + fan_in * fan_out, start + (fan_in + 1) * fan_out
            layers.append((theta[start:middle].reshape(fan_out, fan_in), theta[middle:end]))
            start = end
        return layers

    def activate(self, values: Float[Array, " k"]) -> Float[Array, " k"]:
        """σ, entry by entry."""
        return activate(self.activation, values)

    @property
    def places(self) -> tuple[int | None, ...]:
        """No layer is shared."""
        return (None,) * (len(self.widths) - 1)

    def __call__(self, theta: Float[Array, " d"], x: Float[Array, " p"]) -> Float[Array, "*k"]:
        return self.tapped(theta, x, untapped)

    def tapped(self, theta: Float[Array, " d"], x: Float[Array, " p"], tap: Tap) -> Float[Array, "*k"]:
        """The output for one point, with a `tap` at every layer."""
        for level, (weight, bias) in enumerate(self.layers(theta)):
            x = self.activate(x) if level else x
            x = tap(x, weight @ x + bias)
        return x[0] if self.widths[-1] == 1 else x

    def init(self, key: Key[Array, ""]) -> Float[Array, " d"]:
        """Weights normal with variance 1/fan_in, biases zero."""
        parts = []
        for fan_in, fan_out in zip(self.widths, self.widths[1:], strict=False):
            key, subkey = jax.random.split(key)
            parts += [
                jax.random.normal(subkey, (fan_out * fan_in,), dtype=widest()) / math.sqrt(fan_in),
                jnp.zeros(fan_out, widest()),
            ]
        return jnp.concatenate(parts)
