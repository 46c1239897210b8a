"""Matrix products and convolutions of a model with operands in bfloat16 and sums in float32.

The product of two float32 arrays becomes one primitive, Σ_k r(a_k)·r(b_k): r rounds to bfloat16 (8 significant bits,
2⁻⁹ of a number), the product of two such numbers is exact in float32, and sums are rounded as those of float32 are.
The primitive is bilinear, and its derivatives forward and backward, of any order, are products of the same kind:
tangents and cotangents are rounded before they are multiplied, and no sum is ever rounded to bfloat16, as it would be
by differentiating through a conversion.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import ShapedArray
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Primitive, jaxpr_as_fun
from jax.extend.core.primitives import conv_general_dilated_p, dot_general_p
from jax.interpreters import ad, batching, mlir
from jaxtyping import Float, Key

from .._core import Array, InputError
from ._models import AbstractModel

PRODUCTS = (dot_general_p, conv_general_dilated_p)
"""What is computed with rounded operands."""

OWN_DERIVATIVES = ("custom_jvp_call", "custom_vjp_call")
"""Functions whose derivatives are written by hand: they are called outside of what can be rewritten."""

OPAQUE = ("ragged_dot_general", "scaled_dot", "scaled_matmul_wrapper", "pallas_call", "ffi_call")
"""Products that are not made of these, whose operands cannot be rounded from outside."""

ADVICE = 'Write that product with jax.numpy, or compute in another precision: dtype="float32".'

product_p = Primitive("bfloat16_product")


class RoundedProducts(AbstractModel):
    """A model whose products have operands in bfloat16; parameters, features, sums and everything else in float32.

    Example:
        >>> import jax.numpy as jnp
        >>> model = ef.problem.RoundedProducts(ef.MLP((1, 1)))
        >>> float(model(jnp.array([1 / 3, 0.0], "float32"), jnp.ones(1, "float32")))
        0.333984375

    Attributes:
        model: the model.
    """

    model: AbstractModel

    @property
    def dim(self) -> int:
        """Number of parameters."""
        return self.model.dim

    def __call__(self, theta: Float[Array, " d"], x: Float[Array, " p"]) -> Float[Array, "*k"]:
        return with_rounded_products(self.model)(theta, x)

    def init(self, key: Key[Array, ""]) -> Float[Array, " d"]:
        """As the model draws them."""
        return self.model.init(key)


def with_rounded_products(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of arrays with every product of float32 arrays in it replaced, those in loops and branches too.

    Example:
        >>> import jax.numpy as jnp
        >>> row, column = jnp.full((1, 2), 1 / 3, "float32"), jnp.ones(2, "float32")
        >>> ef.problem.with_rounded_products(lambda a, b: a @ b)(row, column)
        Array([0.66796875], dtype=float32)

    Raises:
        InputError: where it is called: a product inside a function with a derivative of its own, or one that is opaque.
    """

    def rounded(*arguments: Any) -> Any:
        closed, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
        values = jaxpr_as_fun(ClosedJaxpr(_rewritten(closed.jaxpr), closed.consts))(*jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(shape), values)

    return rounded


def _rewritten(jaxpr: Jaxpr) -> Jaxpr:
    return jaxpr.replace(eqns=[_replaced(equation) for equation in jaxpr.eqns])


def _replaced(equation: JaxprEqn) -> JaxprEqn:
    """The equation with products rounded, its own or those within it."""
    name, avals = equation.primitive.name, [var.aval for var in equation.invars]
    if equation.primitive in PRODUCTS and all(getattr(aval, "dtype", None) == np.float32 for aval in avals):
        return equation.replace(primitive=product_p, params={"operation": equation.primitive, **equation.params})
    if name in OPAQUE:
        raise InputError(f"the model computes a product by {name}, whose operands cannot be rounded. {ADVICE}")
    params = {key: _inner(value) for key, value in equation.params.items()}
    if all(params[key] is value for key, value in equation.params.items()):
        return equation
    if name in OWN_DERIVATIVES:
        raise InputError(
            f"the model computes a product inside a function with a derivative of its own ({name}), which cannot be "
            f"rounded. {ADVICE}"
        )
    return equation.replace(params=params)


def _inner(value: Any) -> Any:
    """A parameter of an equation, with bodies of loops, branches and calls; the very same where nothing changes."""
    if isinstance(value, tuple) and any(isinstance(part, Jaxpr | ClosedJaxpr) for part in value):
        parts = list(map(_inner, value))
        if all(new is old for new, old in zip(parts, value, strict=True)):
            return value
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)  # those of a solve have names
    if isinstance(value, ClosedJaxpr):
        jaxpr = _inner(value.jaxpr)
        return value if jaxpr is value.jaxpr else ClosedJaxpr(jaxpr, value.consts)
    if not isinstance(value, Jaxpr):
        return value
    jaxpr = _rewritten(value)
    return value if all(new is old for new, old in zip(jaxpr.eqns, value.eqns, strict=True)) else jaxpr


def _exact(a: Array, b: Array, *, operation: Primitive, **params: Any) -> Array:
    return operation.bind(a, b, **params)


def _rounded(a: Array, b: Array, *, kind: Any, operation: Primitive, **params: Any) -> Array:
    # XLA may leave out a conversion there and back, but never `reduce_precision`.
    a, b = (jax.lax.reduce_precision(part, 8, 7).astype(kind) for part in (a, b))
    return operation.bind(a, b, **{**params, "preferred_element_type": np.dtype(np.float32)})


_narrow = functools.partial(_rounded, kind=jnp.bfloat16)
_wide = functools.partial(_rounded, kind=jnp.float32)
"""The same numbers, for processors without products of bfloat16."""


def _shape(a: Any, b: Any, **params: Any) -> Any:
    shape = jax.eval_shape(functools.partial(_exact, **params), *map(_struct, (a, b))).shape
    return ShapedArray(shape, np.dtype(np.float32))


def _struct(part: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(part.shape, part.dtype)


def _by_left(cotangent: Array, a: Any, b: Array, **params: Any) -> Array:
    """The cotangent of a: products of the same kind, with b."""
    pull = jax.linear_transpose(lambda left: _exact(left, b, **params), _struct(a.aval))
    return with_rounded_products(lambda given: pull(given)[0])(cotangent)


def _by_right(cotangent: Array, a: Array, b: Any, **params: Any) -> Array:
    pull = jax.linear_transpose(lambda right: _exact(a, right, **params), _struct(b.aval))
    return with_rounded_products(lambda given: pull(given)[0])(cotangent)


def _batched(operands: Any, axes: Any, **params: Any) -> tuple[Array, int]:
    """One product of all: what `vmap` makes of it."""
    return with_rounded_products(jax.vmap(functools.partial(_exact, **params), in_axes=tuple(axes)))(*operands), 0


product_p.def_impl(_wide)
product_p.def_abstract_eval(_shape)
mlir.register_lowering(product_p, mlir.lower_fun(_narrow, multiple_results=False))
mlir.register_lowering(product_p, mlir.lower_fun(_wide, multiple_results=False), platform="cpu")
ad.defbilinear(product_p, _by_left, _by_right)
batching.primitive_batchers[product_p] = _batched
