"""One CasADi rule per JAX primitive.

A value of the interpreted jaxpr is either a number (a NumPy or JAX array: it does not depend on the inputs) or a
`Symbolic`: a dense SX column holding the entries in C order, with its shape. The flat column lets CasADi do the
elementwise work and the matrix products in compiled code; every primitive that only moves entries is carried out once
on the array of positions 0, 1, 2, ..., and the result indexes the column.

Start at `RULES`, the registry at the bottom. Additions and products with exact zeros and ones are never built: SX
drops them when the expression is made.
"""

import functools
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.extend.core import JaxprEqn

from ..._core import InputError
from ._casadi import ca

Number = np.ndarray | np.generic | jax.Array


class UntranslatableError(InputError):
    """A JAX function uses an operation that has no CasADi counterpart here.

    Example:
        >>> issubclass(ef.control.UntranslatableError, ef.InputError)
        True

    The direct transcription of the optimal control problem needs the dynamics as CasADi symbols; the matrix-free
    adjoint route (`method="adjoint"`) does not.
    """


@dataclass(frozen=True)
class Symbolic:
    """An array of CasADi expressions.

    Attributes:
        flat: dense SX column of the entries, in C order.
        shape: the shape of the array.
    """

    flat: ca.SX
    shape: tuple[int, ...]


Value = Symbolic | Number
Rule = Callable[[JaxprEqn, Sequence[Value]], list[Value]]
Operation = Callable[..., Any]  # on numbers and SX columns alike


def untranslatable(primitive: str, reason: str) -> UntranslatableError:
    """The one message of every refusal: which primitive, why it matters, what to try."""
    return UntranslatableError(
        f"cannot translate the JAX primitive '{primitive}' to CasADi: {reason}. The direct transcription needs the "
        "model as CasADi symbols. Rewrite the model with other operations, or use the matrix-free adjoint route, "
        'method="adjoint".'
    )


def column(value: Value) -> ca.SX:
    """The entries of `value` in C order, as an SX column."""
    if isinstance(value, Symbolic):
        return value.flat
    return ca.SX(ca.DM(np.asarray(value, dtype=np.float64).ravel()))


def spread(value: Value, shape: tuple[int, ...]) -> ca.SX:
    """The entries of `value` broadcast to `shape`; a single entry is left to CasADi's own broadcasting."""
    if value.shape == shape or math.prod(value.shape) == 1:
        return column(value)
    return take(column(value), np.broadcast_to(_positions([value])[0], shape)).flat


def out_aval(eqn: JaxprEqn, k: int = 0) -> Any:
    """Shape and dtype of the k-th result. `Any`: abstract values carry both but their base class declares neither."""
    return eqn.outvars[k].aval


def in_dtype(eqn: JaxprEqn, k: int = 0) -> np.dtype:
    """The dtype of the k-th operand."""
    aval: Any = eqn.invars[k].aval
    return np.dtype(aval.dtype)


def choose(conditions: Sequence[ca.SX], cases: Sequence[Value], shape: tuple[int, ...]) -> Symbolic:
    """`cases[k]` for the last k whose condition `conditions[k - 1]` holds, else `cases[0]`, entry by entry."""
    result = spread(cases[0], shape)
    for condition, case in zip(conditions, cases[1:], strict=True):
        result = ca.if_else(condition, spread(case, shape), result)
    return Symbolic(result, shape)


def logaddexp(a: ca.SX, b: ca.SX) -> ca.SX:
    """log(eᵃ + eᵇ) without overflow, and with the right derivatives of every order where a = b.

    `fmax(a, b) + log1p(exp(-fabs(a - b)))`, which is what JAX traces, has a kink in each term at a = b; CasADi
    differentiates the terms separately and gets the second derivative wrong there. A model at θ = 0 is exactly there.
    One shared comparison makes both terms take the same side, on which the sum is the analytic function itself.
    """
    first = a >= b
    side = 2 * first - 1
    return ca.if_else(first, a, b) + ca.log1p(ca.exp(-side * (a - b)))


def _logistic(x: ca.SX) -> ca.SX:
    # exp only ever sees -|x|, so neither the value nor a derivative overflows, and the tail keeps its relative
    # accuracy, which 0.5 (1 + tanh(x / 2)) loses. At 0 both sides are the same analytic function (see logaddexp).
    positive = x >= 0
    decay = ca.exp((1 - 2 * positive) * x)
    return ca.if_else(positive, 1, decay) / (1 + decay)


def _elementwise(op: Operation, eqn: JaxprEqn, args: Sequence[Value]) -> list[Value]:
    shape = out_aval(eqn).shape
    return [Symbolic(op(*(spread(arg, shape) for arg in args)), shape)]


def _div(eqn: JaxprEqn, args: Sequence[Value]) -> list[Value]:
    if not np.issubdtype(out_aval(eqn).dtype, np.floating):
        raise untranslatable("div", "integers that depend on the inputs have no truncating division in CasADi")
    return _elementwise(operator.truediv, eqn, args)


def _logical(op: Operation, eqn: JaxprEqn, args: Sequence[Value]) -> list[Value]:
    if in_dtype(eqn) != np.bool_:
        raise untranslatable(eqn.primitive.name, "it works on the bits of integers that depend on the inputs")
    return _elementwise(op, eqn, args)


def _compare(op: Operation, eqn: JaxprEqn, args: Sequence[Value]) -> list[Value]:
    # Symbols stand for finite numbers, so a comparison with ±inf is decided now. JAX guards its log-sum-exp
    # derivatives with `x == inf`; left symbolic, the guards would only slow the expression down. The NaN guards
    # `x != x` need no care: SX itself folds a comparison of an expression with itself.
    if any(not isinstance(arg, Symbolic) and np.all(np.isinf(np.asarray(arg))) for arg in args):
        a, b = (np.float64(0.0) if isinstance(arg, Symbolic) else np.asarray(arg) for arg in args)
        return [np.broadcast_to(op(a, b), out_aval(eqn).shape)]
    return _elementwise(op, eqn, args)


def _extreme(op: Operation, neutral: float, eqn: JaxprEqn, args: Sequence[Value]) -> list[Value]:
    # max(-inf, x), which logsumexp makes, is x itself: CasADi's derivative of the max would carry the -inf along.
    shape = out_aval(eqn).shape
    for constant, other in (args, args[::-1]):
        if not isinstance(constant, Symbolic) and other.shape == shape and np.all(np.asarray(constant) == neutral):
            return [other]
    return _elementwise(op, eqn, args)


def _select_n(eqn: JaxprEqn, args: Sequence[Value]) -> list[Value]:
    which, *cases = args
    shape = out_aval(eqn).shape
    if isinstance(which, Symbolic):
        whole = in_dtype(eqn) == np.bool_
        conditions = [which.flat if whole else which.flat >= k for k in range(1, len(cases))]
        return [choose(conditions, cases, shape)]
    indices = np.asarray(which).astype(int)
    return _moved(cases, lambda *positions: np.choose(np.broadcast_to(indices, shape), positions))


def _convert(eqn: JaxprEqn, args: Sequence[Value]) -> list[Value]:
    new, old = np.dtype(out_aval(eqn).dtype), in_dtype(eqn)
    if new == old or new == np.float64 or (np.issubdtype(new, np.integer) and not np.issubdtype(old, np.floating)):
        return list(args)
    if new == np.bool_:
        return _elementwise(lambda x: x != 0, eqn, args)
    raise untranslatable("convert_element_type", f"rounding {old} to {new} cannot be expressed in float64 symbols")


def _positions(args: Sequence[Value]) -> list[np.ndarray]:
    """Number the entries of all operands consecutively, each array keeping its shape."""
    sizes = [math.prod(arg.shape) for arg in args]
    starts = np.cumsum([0, *sizes])
    return [
        np.arange(start, start + size).reshape(arg.shape) for start, size, arg in zip(starts, sizes, args, strict=False)
    ]


def take(flat: ca.SX, where: np.ndarray) -> Symbolic:
    """The array whose entry at each place is the entry of `flat` at the position written there."""
    order = where.ravel()
    same = order.size == flat.numel() and np.array_equal(order, np.arange(order.size))
    # The explicit column index keeps the result a column: one index list into a 1 x 1 matrix would make a row.
    return Symbolic(flat if same else flat[order.tolist(), 0], where.shape)


def _moved(args: Sequence[Value], move: Callable[..., np.ndarray | list[np.ndarray]]) -> list[Value]:
    """Carry out `move` on the positions of the entries, then move the entries themselves."""
    pool = column(args[0]) if len(args) == 1 else ca.vertcat(*(column(arg) for arg in args))
    where = move(*_positions(args))
    return [take(pool, np.asarray(w)) for w in (where if isinstance(where, list) else [where])]


def _broadcast_in_dim(params: dict[str, Any], x: np.ndarray) -> np.ndarray:
    lined_up = [1] * len(params["shape"])
    for axis, size in zip(params["broadcast_dimensions"], x.shape, strict=True):
        lined_up[axis] = size
    return np.broadcast_to(x.reshape(lined_up), params["shape"])


def _slice(params: dict[str, Any], x: np.ndarray) -> np.ndarray:
    strides = params["strides"] or (1,) * x.ndim
    return x[tuple(map(slice, params["start_indices"], params["limit_indices"], strides))]


def _split(params: dict[str, Any], x: np.ndarray) -> list[np.ndarray]:
    return list(np.split(x, np.cumsum(params["sizes"])[:-1], axis=params["axis"]))


MOVES: dict[str, Callable[..., np.ndarray | list[np.ndarray]]] = {
    "broadcast_in_dim": _broadcast_in_dim,
    "concatenate": lambda params, *xs: np.concatenate(xs, axis=params["dimension"]),
    "expand_dims": lambda params, x: np.expand_dims(x, params["dimensions"]),
    "iota": lambda params: np.indices(params["shape"])[params["dimension"]].astype(params["dtype"]),
    "reshape": lambda params, x: x.reshape(params["new_sizes"]),
    "rev": lambda params, x: np.flip(x, params["dimensions"]),
    "slice": _slice,
    "split": _split,
    "squeeze": lambda params, x: np.squeeze(x, params["dimensions"]),
    "stack": lambda params, *xs: np.stack(xs, axis=params["axis"]),
    "tile": lambda params, x: np.tile(x, params["reps"]),
    "transpose": lambda params, x: np.transpose(x, params["permutation"]),
    "unstack": lambda params, x: list(np.moveaxis(x, params["axis"], 0)),
}
"""Primitives that move entries (iota numbers them), in NumPy; they serve numbers and positions alike."""

_INDEXED: dict[str, tuple[int, ...]] = {
    "dynamic_slice": (0,),
    "dynamic_update_slice": (0, 1),
    "gather": (0,),
    "pad": (0, 1),
    "scatter": (0, 2),
}
"""Primitives that move entries by JAX's own indexing rules: which operands hold entries (the others hold indices)."""


def _indices_must_be_numbers(eqn: JaxprEqn, args: Sequence[Value], data: Sequence[int]) -> None:
    if any(isinstance(arg, Symbolic) for k, arg in enumerate(args) if k not in data):
        raise untranslatable(eqn.primitive.name, "an index depends on the inputs")


def _indexed(data: tuple[int, ...], eqn: JaxprEqn, args: Sequence[Value]) -> list[Value]:
    _indices_must_be_numbers(eqn, args, data)

    def move(*positions: np.ndarray) -> np.ndarray:
        operands: list[Any] = list(args)
        for k, position in zip(data, positions, strict=True):
            operands[k] = position.astype(np.float64)
        where = np.asarray(eqn.primitive.bind(*operands, **eqn.params))
        if np.isnan(where).any():
            raise untranslatable(eqn.primitive.name, "it reads outside its array, which JAX fills with NaN")
        return where.astype(int)

    return _moved([args[k] for k in data], move)


def _scatter_add(eqn: JaxprEqn, args: Sequence[Value]) -> list[Value]:
    operand, indices, updates = args
    _indices_must_be_numbers(eqn, args, (0, 2))
    rows, cols = (math.prod(x.shape) for x in (operand, updates))

    def scatter(u: jax.Array) -> jax.Array:
        return eqn.primitive.bind(np.zeros(operand.shape), indices, u, **eqn.params)

    # The transpose of a scatter tells every update where it lands: positions from 1, 0 for one that is dropped, and
    # with a minus sign for one that is subtracted.
    pull = jax.vjp(scatter, np.zeros(updates.shape))[1]
    landing = np.asarray(pull(1.0 + np.arange(rows).reshape(operand.shape))[0]).ravel()
    kept = np.flatnonzero(landing)
    rows_of_kept = np.abs(landing[kept]).astype(int) - 1
    spreader = ca.DM.triplet(rows_of_kept.tolist(), kept.tolist(), ca.DM(np.sign(landing[kept])), rows, cols)
    return [Symbolic(column(operand) + ca.mtimes(spreader, column(updates)), out_aval(eqn).shape)]


def _rows(value: Value, axes: Sequence[int]) -> ca.SX:
    """An SX matrix with one row per entry along `axes`, one column per entry along the other axes."""
    shape = value.shape
    others = [axis for axis in range(len(shape)) if axis not in axes]
    ordered = take(column(value), _positions([value])[0].transpose([*others, *axes]))
    return ca.reshape(ordered.flat, math.prod(shape[a] for a in axes), math.prod(shape[a] for a in others))


def _reduce(op: Operation, eqn: JaxprEqn, args: Sequence[Value]) -> list[Value]:
    rows = _rows(args[0], [int(axis) for axis in eqn.params["axes"]])
    total = functools.reduce(op, (rows[i, :] for i in range(rows.size1())))
    return [Symbolic(total.T, out_aval(eqn).shape)]


def _reduce_sum(eqn: JaxprEqn, args: Sequence[Value]) -> list[Value]:
    return [Symbolic(ca.sum1(_rows(args[0], [int(axis) for axis in eqn.params["axes"]])).T, out_aval(eqn).shape)]


def _cumulative(op: Operation, eqn: JaxprEqn, args: Sequence[Value]) -> list[Value]:
    axis, (x,) = eqn.params["axis"], args
    order = np.moveaxis(_positions(args)[0], axis, 0)
    order = order[::-1] if eqn.params["reverse"] else order
    sums = [take(column(x), order[0]).flat]
    for where in order[1:]:
        sums.append(op(sums[-1], take(column(x), where).flat))
    back = np.argsort(order.ravel()).reshape(x.shape)
    return [take(ca.vertcat(*sums), back)]


def _dot_general(eqn: JaxprEqn, args: Sequence[Value]) -> list[Value]:
    (contracted, batch) = eqn.params["dimension_numbers"]
    factors: list[list[ca.SX]] = []
    for x, inner, outer in zip(args, contracted, batch, strict=True):
        shape = x.shape
        free = [a for a in range(len(shape)) if a not in inner and a not in outer]
        ordered = _positions([x])[0].transpose([*outer, *free, *inner])
        size = [math.prod(shape[a] for a in axes) for axes in (outer, inner, free)]
        stacked = ordered.reshape(size[0], -1) if ordered.size else np.zeros((size[0], 0), int)
        # CasADi matrices are column-major: (free, inner) in C order is a matrix of shape (inner, free).
        factors.append([ca.reshape(take(column(x), s).flat, size[1], size[2]) for s in stacked])
    # Each product is (free of b) x (free of a), column-major: read flat, it is (free of a, free of b) in C order.
    products = [ca.vec(ca.mtimes(b.T, a)) for a, b in zip(*factors, strict=True)]
    return [Symbolic(ca.vertcat(*products), out_aval(eqn).shape)]


def _identity(eqn: JaxprEqn, args: Sequence[Value]) -> list[Value]:
    # stop_gradient too: the translation carries values, and the optimiser must differentiate the flow as it is.
    return list(args)


def _finite(eqn: JaxprEqn, args: Sequence[Value]) -> list[Value]:
    # Symbols stand for finite numbers: an optimiser that meets an infinity or a NaN has already failed.
    return [np.ones(out_aval(eqn).shape, dtype=bool)]


_ELEMENTWISE: dict[str, Operation] = {
    # the same name in both languages
    **{name: getattr(ca, name) for name in ("acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "ceil", "cos")},
    **{name: getattr(ca, name) for name in ("cosh", "erf", "exp", "expm1", "floor", "log", "log1p", "sign", "sin")},
    **{name: getattr(ca, name) for name in ("sinh", "sqrt", "tan", "tanh")},
    **{name: getattr(operator, name) for name in ("add", "mul", "neg", "pow", "sub")},
    "abs": ca.fabs,
    "add_any": operator.add,
    "cbrt": lambda x: ca.sign(x) * ca.fabs(x) ** (1 / 3),
    "clamp": lambda low, x, high: ca.fmin(ca.fmax(x, low), high),
    "erfc": lambda x: 1 - ca.erf(x),  # to absolute, not relative, precision in the tail: CasADi has no erfc
    "exp2": lambda x: ca.exp(math.log(2) * x),
    "logistic": _logistic,
    "rsqrt": lambda x: 1 / ca.sqrt(x),
    "square": lambda x: x * x,
}
COMPARISONS = {name: getattr(operator, name) for name in ("eq", "ne", "lt", "le", "gt", "ge")}
_LOGICAL = {"and": ca.logic_and, "not": ca.logic_not, "or": ca.logic_or, "xor": operator.ne}
_REDUCTIONS = {"and": ca.logic_and, "max": ca.fmax, "min": ca.fmin, "or": ca.logic_or, "prod": operator.mul}
_CUMULATIVE = {"max": ca.fmax, "min": ca.fmin, "prod": operator.mul, "sum": operator.add}


def _move_rule(name: str, eqn: JaxprEqn, args: Sequence[Value]) -> list[Value]:
    return _moved(args, functools.partial(MOVES[name], eqn.params))


RULES: dict[str, Rule] = {
    **{name: functools.partial(_elementwise, op) for name, op in _ELEMENTWISE.items()},
    **{name: functools.partial(_compare, op) for name, op in COMPARISONS.items()},
    **{name: functools.partial(_logical, op) for name, op in _LOGICAL.items()},
    **{f"reduce_{name}": functools.partial(_reduce, op) for name, op in _REDUCTIONS.items()},
    **{f"cum{name}": functools.partial(_cumulative, op) for name, op in _CUMULATIVE.items()},
    **{name: functools.partial(_move_rule, name) for name in MOVES},
    **{name: functools.partial(_indexed, data) for name, data in _INDEXED.items()},
    **dict.fromkeys(("copy", "copy_p", "name", "optimization_barrier", "stop_gradient"), _identity),
    "convert_element_type": _convert,
    "div": _div,
    "dot_general": _dot_general,
    "integer_pow": lambda eqn, args: _elementwise(lambda x: x ** eqn.params["y"], eqn, args),
    "is_finite": _finite,
    "max": functools.partial(_extreme, ca.fmax, -math.inf),
    "min": functools.partial(_extreme, ca.fmin, math.inf),
    "reduce_sum": _reduce_sum,
    "scatter-add": _scatter_add,
    "scatter-sub": _scatter_add,
    "select_n": _select_n,
}
"""The rule of every primitive that is not a call (calls, loops and branches: see `_translate`)."""
