"""The weighted risk R_ε(θ): what it must answer, and the version that sums over data."""

import abc
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from .._core import Array, InputError, Spelled, brief
from ._losses import AbstractLoss
from ._models import AbstractModel

Weights = Float[Array, ""] | Float[Array, " m"] | float
"""ε of the deleted points: one number for all of them, or one each."""


class AbstractRisk(Spelled, eqx.Module):
    """R_ε(θ) = c·[Σ_{i∉D} ℓ_i(θ) + Σ_{j∈D} ε_j ℓ_j(θ)] + (λ/2)‖θ‖².

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> line.risk.gradient(np.array([1.5]), 0.0)
        array([-0.5])

    A pytree: it travels through `jit`, `vmap` and diffrax's `args`. Every method takes θ of shape (d,) and ε as one
    number or as shape (m,); none checks its input, `Problem` does.
    """

    @property
    @abc.abstractmethod
    def dim(self) -> int:
        """Number of parameters d."""

    @property
    @abc.abstractmethod
    def num_deleted(self) -> int:
        """Number of deleted points m."""

    @abc.abstractmethod
    def value(self, theta: Float[Array, " d"], eps: Weights) -> Float[Array, ""]:
        """R_ε(θ)."""

    @abc.abstractmethod
    def gradient(self, theta: Float[Array, " d"], eps: Weights) -> Float[Array, " d"]:
        """∇R_ε(θ)."""

    @abc.abstractmethod
    def hvp(self, theta: Float[Array, " d"], vector: Float[Array, " d"], eps: Weights) -> Float[Array, " d"]:
        """∇²R_ε(θ) v."""

    @abc.abstractmethod
    def hessian(self, theta: Float[Array, " d"], eps: Weights) -> Float[Array, "d d"]:
        """∇²R_ε(θ), dense."""

    @abc.abstractmethod
    def deleted_gradients(self, theta: Float[Array, " d"]) -> Float[Array, "m d"]:
        """g_j = c∇ℓ_j(θ) for each deleted point, unweighted."""


def loss_gradients(model: AbstractModel, loss: AbstractLoss, theta: Array, x: Array, y: Array) -> Float[Array, "q d"]:
    """∇ℓ_i(θ), unscaled, for each of the q rows given."""
    gradient = jax.grad(lambda t, point, target: loss(model(t, point), target))
    return jax.vmap(gradient, in_axes=(None, 0, 0))(theta, x, y)


AXIS = "rows"
"""The axis of a mesh of devices along which points are spread."""


def mesh_of(devices: Sequence[Any], count: int, what: str) -> jax.sharding.Mesh:
    """A mesh over which `count` rows are spread in equal parts.

    Example:
        >>> import jax
        >>> ef.problem.mesh_of(jax.devices()[:1], 442, "points").size
        1

    Raises:
        InputError: what is no device, or one of them twice; devices that do not divide the rows.
    """
    several = [devices] if isinstance(devices, str | jax.Device) else list(devices)
    if not all(isinstance(device, jax.Device) for device in several) or len(set(several)) < len(several):
        raise InputError(f"devices is {brief(devices)}; devices of JAX are needed, each once: jax.devices(), or some.")
    if not several or count % len(several):
        raise InputError(
            f"{count} {what} cannot be spread over {len(several)} devices in equal parts; choose a number of devices "
            "that divides them."
        )
    return jax.sharding.Mesh(np.asarray(several), (AXIS,))


def by_rows(array: Any, mesh: jax.sharding.Mesh) -> jax.Array:
    """An array on several devices, its first axis in equal parts.

    Example:
        >>> import jax
        >>> mesh = ef.problem.mesh_of(jax.devices()[:1], 4, "rows")
        >>> ef.problem.by_rows(np.ones((4, 2)), mesh).shape
        (4, 2)
    """
    return jax.device_put(array, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(AXIS)))


def _sum_chunks(term: Callable[[Any], Any], rows: Any, size: int) -> Any:
    """Σ over chunks of `size` rows of term(chunk); slices are taken inside the loop, so that nothing is copied."""
    n = jax.tree.leaves(rows)[0].shape[0]
    if n <= size:
        return term(rows)

    def slices(index: Array) -> Any:
        return jax.tree.map(lambda part: jax.lax.dynamic_slice_in_dim(part, index * size, size), rows)

    def add(total: Any, index: Array) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, term(slices(index))), None

    shapes = jax.eval_shape(term, jax.tree.map(lambda part: part[:size], rows))
    zero = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    total, _ = jax.lax.scan(add, zero, jnp.arange(n // size))
    rest = n // size * size
    left = jax.tree.map(lambda part: part[rest:], rows)
    return jax.tree.map(jnp.add, total, term(left)) if rest < n else total


class EmpiricalRisk(AbstractRisk):
    """R_ε as a sum over the data held in memory, evaluated in chunks of rows.

    Example:
        >>> data = ef.Dataset([[1.0], [1.0], [2.0]], [0.0, 1.0, 1.0])
        >>> risk = ef.Problem(ef.LinearModel(1), ef.LogisticLoss(), data, delete=[0]).risk
        >>> type(risk).__name__, risk.dim, risk.num_deleted
        ('EmpiricalRisk', 1, 1)

    Attributes:
        x, y: features (n, p) and targets (n, ...).
        delete: indices of the deleted points, shape (m,). A leaf, so many deletions can be vmapped.
        l2: λ ≥ 0, or one for each parameter.
        scale: c, 1 for `reduction="sum"`, 1/n for `"mean"`.
        chunk_rows: points whose intermediate values are in memory at once, on each device.
        mesh: of the devices that hold the points in equal parts; None for one device.
    """

    model: AbstractModel
    loss: AbstractLoss
    x: Float[Array, "n p"]
    y: Float[Array, "n *t"]
    delete: Int[Array, " m"]
    l2: Float[Array, "*each"]
    scale: Float[Array, ""]
    chunk_rows: int = eqx.field(static=True)
    mesh: jax.sharding.Mesh | None = eqx.field(static=True, default=None)

    @property
    def dim(self) -> int:
        """Number of parameters d."""
        return self.model.dim

    @property
    def num_deleted(self) -> int:
        """Number of deleted points m."""
        return self.delete.shape[-1]

    def weights(self, eps: Weights) -> Float[Array, " n"]:
        """c·(1 for retained points, ε_j for deleted ones)."""
        ones = jnp.ones(self.x.shape[0], self.x.dtype)
        return self.scale * ones.at[self.delete].set(jnp.asarray(eps, ones.dtype))

    def value(self, theta: Float[Array, " d"], eps: Weights) -> Float[Array, ""]:
        """R_ε(θ)."""
        return self.sum_points(lambda _, *chunk: self._chunk_value(theta, *chunk), eps) + 0.5 * self.l2 * theta @ theta

    def gradient(self, theta: Float[Array, " d"], eps: Weights) -> Float[Array, " d"]:
        """∇R_ε(θ), by reverse mode within each chunk."""
        return self.sum_points(lambda _, *chunk: jax.grad(self._chunk_value)(theta, *chunk), eps) + self.l2 * theta

    def hvp(self, theta: Float[Array, " d"], vector: Float[Array, " d"], eps: Weights) -> Float[Array, " d"]:
        """∇²R_ε(θ) v, forward over reverse."""
        return jax.jvp(lambda t: self.gradient(t, eps), (theta,), (vector,))[1]

    def hessian(self, theta: Float[Array, " d"], eps: Weights) -> Float[Array, "d d"]:
        """∇²R_ε(θ), dense: d Hessian–vector products."""
        return jax.jacfwd(lambda t: self.gradient(t, eps))(theta)

    def ggn_product(self, theta: Float[Array, " d"], vector: Float[Array, " d"], eps: Weights) -> Float[Array, " d"]:
        """(c Σ w_i J_iᵀ ∇²_fℓ_i J_i + λI) v, the generalised Gauss–Newton matrix of R_ε; J_i = ∂f(θ; x_i)/∂θ.

        Equals ∇²R_ε for a linear model, and the true Fisher matrix (plus λI) for the logistic and softmax losses.
        """

        def chunk_product(_: Array, x: Array, y: Array, weights: Array) -> Array:
            outputs, tangents = jax.jvp(lambda t: self._outputs(t, x), (theta,), (vector,))
            loss_gradient = jax.vmap(jax.grad(self.loss))
            curved = jax.jvp(lambda f: loss_gradient(f, y), (outputs,), (tangents,))[1]
            weighted = curved * weights.reshape((-1,) + (1,) * (curved.ndim - 1))
            return jax.vjp(lambda t: self._outputs(t, x), theta)[1](weighted)[0]

        return self.sum_points(chunk_product, eps) + self.l2 * vector

    def sum_points(self, term: Callable[..., Any], eps: Weights, size: int | None = None) -> Any:
        """Σ over chunks of points of term(indices, x, y, weights), an array or a pytree of arrays.

        `size` points are taken at a time (default: `chunk_rows`).
        """
        arrays = jnp.arange(self.x.shape[0]), self.x, self.y, self.weights(eps)
        return self.sum_rows(lambda rows: term(*rows), arrays, size)

    def sum_rows(self, term: Callable[[Any], Any], rows: Any, size: int | None = None) -> Any:
        """The same of any arrays with a row for each point, in a pytree: Σ over chunks of term(chunk)."""
        step = size or self.chunk_rows
        if self.mesh is None:
            return _sum_chunks(term, rows, step)

        def own(part: Any) -> Any:
            return jax.tree.map(lambda total: jax.lax.psum(total, AXIS), _sum_chunks(term, part, step))

        by_row, everywhere = jax.sharding.PartitionSpec(AXIS), jax.sharding.PartitionSpec()
        # θ is held by every device, which the check of what varies over devices cannot see.
        spread = jax.shard_map(own, mesh=self.mesh, in_specs=(by_row,), out_specs=everywhere, check_vma=False)
        return spread(rows)

    def on(self, devices: Sequence[Any]) -> "EmpiricalRisk":
        """The same risk with its points in equal parts on several devices, each of which sums over its own.

        Raises:
            InputError: devices that do not divide the points.
        """
        mesh = mesh_of(devices, self.x.shape[0], "points")
        x, y = (by_rows(part, mesh) for part in (self.x, self.y))
        return replace(self, x=x, y=y, mesh=mesh)

    def point_gradients(self, theta: Float[Array, " d"], points: Int[Array, " q"]) -> Float[Array, "q d"]:
        """c∇ℓ_i(θ) for the named points."""
        return self.scale * loss_gradients(self.model, self.loss, theta, self.x[points], self.y[points])

    def deleted_gradients(self, theta: Float[Array, " d"]) -> Float[Array, "m d"]:
        """g_j = c∇ℓ_j(θ) for each deleted point."""
        return self.point_gradients(theta, self.delete)

    def _outputs(self, theta: Array, x: Array) -> Array:
        return jax.vmap(self.model, in_axes=(None, 0))(theta, x)

    def _chunk_value(self, theta: Array, x: Array, y: Array, weights: Array) -> Array:
        return weights @ jax.vmap(self.loss)(self._outputs(theta, x), y)
