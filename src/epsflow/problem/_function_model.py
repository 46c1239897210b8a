"""A model of one's own: any JAX function of parameters and a point, or a module of Equinox or Flax."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Key

from .._core import Array, InputError, as_flag, brief
from ._models import AbstractModel, as_sizes
from ._modules import take_apart


class FunctionModel(AbstractModel):
    """Any JAX function `apply(params, x)` with a pytree of parameters, or a module of Equinox or Flax.

    Example:
        >>> ef.FunctionModel(lambda params, x: x @ params, np.zeros(3)).dim
        3
        >>> import equinox, jax
        >>> ef.FunctionModel(equinox.nn.MLP(3, "scalar", 4, 1, key=jax.random.key(0))).dim
        21

    What is trained is: of a function, the parameters given, any pytree of arrays (or an Equinox module); of a module of
    Equinox, its inexact arrays; of one of `flax.nnx`, its `Param`s; of one of `flax.linen` (or its `apply`), the
    collection "params" of the variables given with it. θ concatenates the flattened leaves; an output of shape (1,) is
    taken as a number.

    Attributes:
        apply: from what `unflatten` gives and one point x to the output.
        whole: from the pytree of parameters to what `unflatten` gives: the module, or the pytree itself.
        structure, shapes: the pytree's structure and its leaves' shapes.
        input_shape: x's shape as `apply` reads it; () for the features as they are.
        batched: whether `apply` reads a batch, which is then one of one point.
        start: the flattened parameters given; `init` returns them, whatever the key.
    """

    apply: Callable[[Any, Array], Any] = eqx.field(static=True)
    whole: Callable[[Any], Any] = eqx.field(static=True, repr=False)
    structure: Any = eqx.field(static=True, repr=False)
    shapes: tuple[tuple[int, ...], ...] = eqx.field(static=True)
    input_shape: tuple[int, ...] = eqx.field(static=True, repr=False)
    batched: bool = eqx.field(static=True, repr=False)
    start: Float[Array, " d"]

    def __init__(
        self,
        apply: Any,
        params: Any = None,
        *,
        input_shape: tuple[int, ...] = (),
        batched: bool = False,
        freeze: bool = False,
        widen: bool = False,
    ):
        """Take it apart and check it.

        Args:
            apply: the function, or the module.
            params: the function's parameters, or the variables of a `flax.linen` module, or the state of an Equinox
                module that keeps one.
            input_shape: of one point as `apply` reads it, such as (1, 8, 8) or (8, 8, 1) for an image.
            batched: whether `apply` reads a batch of points.
            freeze: whether batch statistics and other buffers are held as they are, and dropout is off, as in
                inference. They are refused otherwise, since a point's loss would no longer be its own.
            widen: whether parameters in float32 become float64, which changes no number; Flax makes float32 unless told
                otherwise. As they are, they go with `Problem(..., dtype="float32")`.

        Raises:
            InputError: no function and no module; no parameters, or of several dtypes, or neither float64 nor
                float32; buffers or dropout that are not frozen. `Problem` refuses functions that are not pure.
        """
        if isinstance(apply, AbstractModel):
            raise InputError(f"FunctionModel: {apply} is a model already; pass it to Problem as it is.")
        self.input_shape = as_sizes(input_shape, "input_shape", "the sizes of one point's axes", 0)
        self.batched = as_flag(batched, "batched")
        parts = take_apart(apply, params, as_flag(freeze, "freeze"))
        leaves, self.structure = jax.tree.flatten(parts.params)
        arrays = _as_parameters(leaves, parts.params, as_flag(widen, "widen"))
        self.apply, self.whole = parts.apply, parts.whole
        self.shapes = tuple(array.shape for array in arrays)
        self.start = np.concatenate([array.ravel() for array in arrays])
        try:
            hash((self.structure, self.apply, self.whole))
        except TypeError as error:
            raise InputError(
                f"FunctionModel: what is no array in the model must be hashable: by it, JAX knows what it has compiled "
                f"({error})."
            ) from error

    @property
    def dim(self) -> int:
        """Number of parameters."""
        return sum(math.prod(shape) for shape in self.shapes)

    def unflatten(self, theta: Float[Array, " d"]) -> Any:
        """What the model was made with, holding θ: the parameters, the module, or the variables of a linen module."""
        leaves, start = [], 0
        for shape in self.shapes:
            leaves.append(theta[start : start + math.prod(shape)].reshape(shape))
            start += math.prod(shape)
        return self.whole(jax.tree.unflatten(self.structure, leaves))

    def __call__(self, theta: Float[Array, " d"], x: Float[Array, " p"]) -> Float[Array, "*k"]:
        if self.input_shape:
            if math.prod(self.input_shape) != x.size:
                raise InputError(f"input_shape {self.input_shape} does not hold {x.size} features.")
            x = x.reshape(self.input_shape)
        output = self.apply(self.unflatten(theta), x[None] if self.batched else x)
        if not isinstance(output, jax.Array | np.ndarray):
            return output  # which `Problem` refuses by name
        if self.batched:
            output = output.reshape(output.shape[1:]) if output.shape[:1] == (1,) else output
        return output.reshape(()) if output.shape == (1,) else output

    def init(self, key: Key[Array, ""]) -> Float[Array, " d"]:
        """The parameters that the model was made with."""
        return jnp.asarray(self.start)


def _as_parameters(leaves: list[Any], params: Any, widen: bool) -> list[np.ndarray]:
    """The leaves as arrays of one dtype.

    Raises:
        InputError: none, no arrays of numbers, of several dtypes, or of another dtype than float64 and float32.
    """
    if not leaves:
        raise InputError("FunctionModel: `params` has no arrays; nothing could be trained.")
    try:
        arrays = [np.asarray(leaf) for leaf in leaves]
    except (TypeError, ValueError) as error:
        raise InputError(f"FunctionModel: `params` holds {brief(params)}; arrays of numbers are needed.") from error
    kinds = sorted({str(array.dtype) for array in arrays})
    if kinds not in (["float64"], ["float32"]):
        raise InputError(
            f"FunctionModel: parameters have dtype {', '.join(kinds)}; all of them float64, or all float32, are "
            "needed. Convert with `jax.tree.map(lambda a: a.astype('float64'), params)`."
        )
    return [array.astype(np.float64) for array in arrays] if widen else arrays
