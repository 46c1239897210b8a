"""A small convolutional network."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Float, Key

from .._core import Array, InputError, as_count
from ._models import MLP, LayeredModel, Tap, activate, as_activation, as_sizes, untapped, widest


def _as_image(value: object) -> tuple[int, int, int]:
    """(channels, height, width); a grey image may leave its one channel out."""
    sizes = as_sizes(value, "CNN image", "(height, width) or (channels, height, width)", 2)
    if len(sizes) > 3:
        raise InputError(f"CNN image {sizes}: give (height, width) or (channels, height, width).")
    channels, height, width = (1, *sizes)[-3:]
    return channels, height, width


def _as_channels(value: object) -> tuple[int, ...]:
    return as_sizes(value, "CNN channels", "the channels of each convolution, such as (4, 8)", 1)


def _as_widths(value: object) -> tuple[int, ...]:
    return as_sizes(value, "CNN widths", "(hidden…, outputs)", 1)


class CNN(LayeredModel):
    """Convolutions and mean pooling, then a fully connected network.

    Example:
        >>> ef.CNN((8, 8), channels=(4,), widths=(10,)).dim
        690

    a₀ is x as an image, row by row: pixel (c, i, j) is feature (cH + i)W + j. Each convolution is

        b_o + Σ_c Σ_{u,v} K_{ocuv} a_c[i + u − r, j + v − r],  r = ⌊kernel/2⌋,  a = 0 outside the image,

    for every pixel (i, j), then σ, then the mean of each 2×2 square, which halves height and width. What is left is an
    `MLP` with these widths. θ stacks K₀, b₀, K₁, b₁, …, each K of shape (channels out, channels in, kernel, kernel)
    row-major, then the MLP's. Means rather than maxima are pooled: the risk has second derivatives wherever σ has.

    Attributes:
        image: (channels, height, width) of one point; (height, width) is a grey image.
        channels: of each convolution's output.
        widths: (hidden…, outputs) of the fully connected end; a last width of 1 gives a scalar output.
        kernel: height and width of the convolutions, odd.
        activation: as of `MLP`.
    """

    image: tuple[int, int, int] = eqx.field(static=True, converter=_as_image)
    channels: tuple[int, ...] = eqx.field(static=True, converter=_as_channels)
    widths: tuple[int, ...] = eqx.field(static=True, converter=_as_widths)
    kernel: int = eqx.field(static=True, default=3)
    activation: str = eqx.field(static=True, default="tanh", converter=as_activation)

    def __check_init__(self) -> None:
        if as_count(self.kernel, "kernel") % 2 == 0:
            raise InputError(f"CNN kernel {self.kernel}: an odd number is needed, so that every pixel is in a middle.")
        _, height, width = self.image
        for number in range(len(self.channels)):
            if height % 2 or width % 2:
                raise InputError(
                    f"CNN: convolution {number + 1} of {len(self.channels)} sees {height}×{width} pixels, which 2×2 "
                    "means cannot halve: give fewer channels (one number for each convolution), or crop the image."
                )
            height, width = height // 2, width // 2

    @property
    def end(self) -> MLP:
        """The fully connected end."""
        _, height, width = self.image
        pixels = (height * width) >> (2 * len(self.channels))
        return MLP((self.channels[-1] * pixels, *self.widths), self.activation)

    def _shapes(self) -> list[tuple[int, int, int, int]]:
        """(channels out, channels in, kernel, kernel) of each convolution."""
        before = (self.image[0], *self.channels)
        return [(out, into, self.kernel, self.kernel) for into, out in zip(before, self.channels, strict=False)]

    @property
    def places(self) -> tuple[int | None, ...]:
        """The pixels of each convolution, a quarter of those of the last one; none of the end."""
        _, height, width = self.image
        pixels = tuple((height * width) >> (2 * level) for level in range(len(self.channels)))
        return (*pixels, *self.end.places)

    @property
    def dim(self) -> int:
        """Number of weights and biases."""
        return sum(math.prod(shape) + shape[0] for shape in self._shapes()) + self.end.dim

    def layers(self, theta: Float[Array, " d"]) -> list[tuple[Float[Array, "..."], Float[Array, " out"]]]:
        """The weights and biases of each layer, those of the convolutions first."""
        layers, start = [], 0
        for shape in self._shapes():
            middle = start + math.prod(shape)
            layers.append((theta[start:middle].reshape(shape), theta[middle : middle + shape[0]]))
            start = middle + shape[0]
        return [*layers, *self.end.layers(theta[start:])]

    def __call__(self, theta: Float[Array, " d"], x: Float[Array, " p"]) -> Float[Array, "*k"]:
        if x.shape != (math.prod(self.image),):
            channels, height, width = self.image
            raise InputError(f"a CNN for images of {channels}×{height}×{width} cannot read a point of shape {x.shape}.")
        return self.tapped(theta, x, untapped)

    def tapped(self, theta: Float[Array, " d"], x: Float[Array, " p"], tap: Tap) -> Float[Array, "*k"]:
        """The output for one point, with a `tap` at every layer.

        What enters a convolution is what each pixel's kernel sees, shape (channels in · kernel², pixels).
        """
        # Channels last: no layer moves numbers around.
        image = x.reshape(self.image).transpose(1, 2, 0)
        for weight, bias in self.layers(theta)[: len(self.channels)]:
            seen = _seen(image, self.kernel)
            by_kernel = seen.reshape(len(seen), self.kernel, self.kernel, -1).transpose(3, 2, 1, 0)
            values = seen @ weight.transpose(3, 2, 1, 0).reshape(-1, len(bias)) + bias
            values = tap(by_kernel.reshape(-1, len(seen)), values.T).T
            image = _halved(activate(self.activation, values.reshape(*image.shape[:2], -1)))
        return self.end.tapped(theta[self.dim - self.end.dim :], image.transpose(2, 0, 1).ravel(), tap)

    def init(self, key: Key[Array, ""]) -> Float[Array, " d"]:
        """Weights normal with variance 1/fan_in, biases zero."""
        parts = []
        for shape in self._shapes():
            key, subkey = jax.random.split(key)
            draws = jax.random.normal(subkey, (math.prod(shape),), dtype=widest())
            parts += [draws / math.sqrt(math.prod(shape[1:])), jnp.zeros(shape[0], widest())]
        return jnp.concatenate([*parts, self.end.init(key)])


def _seen(image: Float[Array, "h w c"], size: int) -> Float[Array, "hw kkc"]:
    """What each pixel's kernel sees, a_c[i + u − r, j + v − r] in column (v, u, c): rows are gathered, then columns.

    A convolution is one product with them. With JAX's own convolution a gradient for each point takes hundreds of times
    as long on CPUs: its kernels then differ from point to point. With the channels first, that of the risk takes 1.7
    times as long.
    """
    height, width, _ = image.shape
    edge = (size // 2, size // 2)
    seen = jnp.pad(image, (edge, edge, (0, 0)))
    seen = jnp.concatenate([seen[u : u + height] for u in range(size)], axis=2)
    seen = jnp.concatenate([seen[:, v : v + width] for v in range(size)], axis=2)
    return seen.reshape(height * width, -1)


def _halved(image: Float[Array, "h w c"]) -> Float[Array, "h/2 w/2 c"]:
    """The mean of each 2×2 square."""
    height, width, channels = image.shape
    squares = image.reshape(height // 2, 2, width // 2, 2, channels)
    return 0.25 * (squares[:, 0, :, 0] + squares[:, 0, :, 1] + squares[:, 1, :, 0] + squares[:, 1, :, 1])
