"""Translate a JAX function into a CasADi function.

Models are written once, in JAX. `to_casadi` traces the function to a jaxpr and interprets it with CasADi symbols;
`max_disagreement` measures the translation against the original. What does not depend on the inputs stays a number
throughout, so data arrays, indices and loop counters cost no symbols. Rules of the single primitives: `_primitives`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var

from ._casadi import ca
from ._primitives import (
    COMPARISONS,
    MOVES,
    RULES,
    Number,
    Rule,
    Symbolic,
    Value,
    choose,
    column,
    logaddexp,
    out_aval,
    spread,
    untranslatable,
)

_FOLDS: dict[str, Callable[..., np.ndarray]] = {
    **COMPARISONS,
    "add": np.add,
    "and": np.bitwise_and,
    "convert_element_type": np.asarray,
    "copy": np.asarray,
    "exp": np.exp,
    "log": np.log,
    "max": np.maximum,
    "min": np.minimum,
    "mul": np.multiply,
    "neg": np.negative,
    "not": np.invert,
    "or": np.bitwise_or,
    "select_n": lambda which, *cases: np.choose(which.astype(int), cases),
    "sub": np.subtract,
}
"""Constant arithmetic in NumPy. JAX would do it as well, but compiles (up to 0.1 s) for every new shape."""

_LOGADDEXP = ("max", "sub", "ne", "add", "abs", "neg", "exp", "log1p", "add", "select_n")
"""The primitives of `jnp.logaddexp` (and so of softplus) for real arguments, in the order in which JAX traces them."""


def to_casadi(fn: Callable[..., Any], *examples: Any, name: str = "f") -> ca.Function:
    """Translate a JAX function of float64 arrays to an SX function.

    Arrays that `fn` closes over become numbers. Each argument and each result is one column vector that holds the
    entries of the array in C order. Symbols stand for finite numbers: NaN and infinity guards are decided at
    translation. `stop_gradient` and custom derivative rules do not survive: CasADi differentiates the values.

    Args:
        fn: takes float64 arrays of fixed shape and returns an array or a tuple of arrays.
        *examples: one array or `jax.ShapeDtypeStruct` per argument; only shape and dtype are read.
        name: the name of the CasADi function (letters, digits and single underscores).

    Returns:
        The CasADi function, one input per argument and one output per returned array.

    Raises:
        UntranslatableError: a primitive, or its use with an index or a loop condition that depends on the inputs, has
            no CasADi counterpart.
        ValueError: an argument is not a float64 array.
    """
    closed = jax.make_jaxpr(fn)(*examples)
    symbols: list[ca.SX] = []
    inputs: list[Value] = []
    if len(closed.in_avals) != len(examples):
        raise ValueError(
            f"each example must be one array, but {len(examples)} examples hold {len(closed.in_avals)} arrays: every "
            "argument becomes one CasADi column. Flatten the structure first (jax.flatten_util.ravel_pytree)."
        )
    for k, aval in enumerate(closed.in_avals):
        shape, dtype = _shape_and_dtype(aval)
        if dtype != np.float64:
            raise ValueError(
                f"argument {k} has dtype {dtype}, not float64: CasADi computes in double precision and the two "
                "languages must agree to 1e-12. Enable x64 (jax.config.update('jax_enable_x64', True)) and pass "
                "float64 examples."
            )
        symbols.append(ca.SX.sym(f"x{k}", math.prod(shape)))
        inputs.append(_settle(Symbolic(symbols[-1], shape), dtype))
    outputs = _interpret(closed.jaxpr, closed.consts, inputs)
    return ca.Function(name, symbols, [ca.densify(column(value)) for value in outputs])


def max_disagreement(
    fn: Callable[..., Any],
    function: ca.Function,
    examples: Sequence[Any],
    *,
    seed: int = 0,
    points: int = 8,
    scale: float = 1.0,
) -> float:
    """The largest |JAX − CasADi| / (1 + |JAX|) over the results at random points.

    Args:
        fn: the JAX function.
        function: its translation, from `to_casadi`.
        examples: the examples of the translation.
        seed: seed of the NumPy generator of the points.
        points: number of points.
        scale: standard deviation of the normally distributed arguments.

    Returns:
        The disagreement. Infinite if one side is finite where the other is not, or if they are differently infinite;
        entries where both sides are NaN or equally infinite (outside the domain of `fn`) do not count.

    Raises:
        ValueError: no result was finite at any point, so that nothing was compared.
    """
    generator = np.random.default_rng(seed)
    reference = jax.jit(fn)
    worst, compared = 0.0, 0
    for _ in range(points):
        args = [scale * generator.standard_normal(np.shape(example)) for example in examples]
        expected = [np.asarray(leaf).ravel() for leaf in jax.tree.leaves(reference(*args))]
        actual = function.call([ca.DM(arg.ravel()) for arg in args])
        for ours, theirs in zip(expected, actual, strict=True):
            found = np.asarray(theirs.full()).ravel()
            finite = np.isfinite(ours) & np.isfinite(found)
            if not np.array_equal(ours[~finite], found[~finite], equal_nan=True):
                return math.inf
            error = np.abs(ours - found, where=finite, out=np.zeros_like(found)) / (1 + np.abs(ours))
            worst = max(worst, float(np.max(error[finite], initial=0.0)))
            compared += int(finite.sum())
    if compared == 0:
        raise ValueError(
            f"no result was finite at {points} random points of scale {scale}: nothing was compared. "
            "Choose a scale inside the domain of the function."
        )
    return worst


def _shape_and_dtype(aval: Any) -> tuple[tuple[int, ...], np.dtype]:
    return tuple(aval.shape), np.dtype(aval.dtype)


def _settle(value: Value, dtype: np.dtype) -> Value:
    """Turn a symbolic array that holds only constants (or nothing) into numbers."""
    if not isinstance(value, Symbolic) or not value.flat.is_constant():
        return value
    entries = np.asarray(ca.evalf(value.flat).full()) if math.prod(value.shape) else np.zeros(0)
    return entries.reshape(value.shape).astype(dtype)


def _live(jaxpr: Jaxpr) -> list[JaxprEqn]:
    """The equations that the results depend on: what jax.grad leaves unused need not be translatable."""
    needed = {v for v in jaxpr.outvars if isinstance(v, Var)}
    kept: list[JaxprEqn] = []
    for eqn in reversed(jaxpr.eqns):
        if needed.intersection(eqn.outvars):
            kept.append(eqn)
            needed.update(v for v in eqn.invars if isinstance(v, Var))
    return kept[::-1]


def _interpret(jaxpr: Jaxpr, consts: Sequence[Value], args: Sequence[Value]) -> list[Value]:
    """Evaluate a jaxpr on numbers and symbols."""
    known: dict[Var, Value] = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))

    def read(atom: Var | Literal) -> Value:
        if isinstance(atom, Literal):
            return np.asarray(atom.val, dtype=_shape_and_dtype(atom.aval)[1])
        return known[atom]

    for eqn in _live(jaxpr):
        results = _apply(eqn, [read(v) for v in eqn.invars])
        known.update(zip(eqn.outvars, results, strict=True))
    return [read(v) for v in jaxpr.outvars]


def _apply(eqn: JaxprEqn, args: Sequence[Value]) -> list[Value]:
    name = eqn.primitive.name
    numbers = [arg for arg in args if not isinstance(arg, Symbolic)]
    if name in _CALLS:
        return _inline(eqn, args)
    if len(numbers) == len(args):
        return _constant(eqn, numbers)
    rule = _CONTROL.get(name) or RULES.get(name)
    if rule is None:
        raise untranslatable(name, "it has no rule")
    results = rule(eqn, args)
    return [r if isinstance(r, Number) else _settle(r, out_aval(eqn, k).dtype) for k, r in enumerate(results)]


def _constant(eqn: JaxprEqn, args: Sequence[Number]) -> list[Value]:
    """Evaluate an equation without symbols."""
    name = eqn.primitive.name
    if name in MOVES:
        moved = MOVES[name](eqn.params, *map(np.asarray, args))
        return list(moved) if isinstance(moved, list) else [moved]
    if name in _FOLDS:
        with np.errstate(all="ignore"):  # 1/0 and the like are JAX's to define, and NumPy's result is the same
            return [_FOLDS[name](*map(np.asarray, args)).astype(out_aval(eqn).dtype)]
    results = eqn.primitive.bind(*args, **eqn.params)
    return list(results) if eqn.primitive.multiple_results else [results]


def _run(jaxpr: Jaxpr | ClosedJaxpr, args: Sequence[Value]) -> list[Value]:
    if isinstance(jaxpr, ClosedJaxpr):
        return _interpret(jaxpr.jaxpr, jaxpr.consts, args)
    return _interpret(jaxpr, (), args)


def _inline(eqn: JaxprEqn, args: Sequence[Value]) -> list[Value]:
    inner: Any = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
    body = inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner
    if tuple(e.primitive.name for e in body.eqns) == _LOGADDEXP and any(isinstance(a, Symbolic) for a in args):
        shape, dtype = _shape_and_dtype(out_aval(eqn))
        return [_settle(Symbolic(logaddexp(*(spread(arg, shape) for arg in args)), shape), dtype)]
    return _run(inner, args)


def _slice_of(value: Value, k: int) -> Value:
    """`value[k]` along the leading axis."""
    if not isinstance(value, Symbolic):
        return np.asarray(value)[k]
    size = math.prod(value.shape[1:])
    return Symbolic(value.flat[k * size : (k + 1) * size], value.shape[1:])


def _scan(eqn: JaxprEqn, args: Sequence[Value]) -> list[Value]:
    consts, carry = eqn.params["num_consts"], eqn.params["num_carry"]
    fixed, state, rows = args[:consts], list(args[consts : consts + carry]), args[consts + carry :]
    steps = range(eqn.params["length"])
    collected: dict[int, list[Value]] = {}
    for k in reversed(steps) if eqn.params["reverse"] else steps:
        results = _run(eqn.params["jaxpr"], [*fixed, *state, *(_slice_of(row, k) for row in rows)])
        state, collected[k] = results[:carry], results[carry:]
    stacks = [[collected[k][j] for k in steps] for j in range(len(eqn.outvars) - carry)]
    stacked: list[Value] = []
    for j, stack in enumerate(stacks):
        shape, _ = _shape_and_dtype(out_aval(eqn, carry + j))
        stacked.append(Symbolic(ca.vertcat(ca.SX(0, 1), *(column(value) for value in stack)), shape))
    return [*state, *stacked]


def _while(eqn: JaxprEqn, args: Sequence[Value]) -> list[Value]:
    of_test, of_body = eqn.params["cond_nconsts"], eqn.params["body_nconsts"]
    fixed_test, fixed_body = args[:of_test], args[of_test : of_test + of_body]
    state = list(args[of_test + of_body :])
    while True:
        (again,) = _run(eqn.params["cond_jaxpr"], [*fixed_test, *state])
        if isinstance(again, Symbolic):
            raise untranslatable("while", "its condition depends on the inputs, so the number of turns is not known")
        if not np.asarray(again).item():
            return state
        state = _run(eqn.params["body_jaxpr"], [*fixed_body, *state])


def _cond(eqn: JaxprEqn, args: Sequence[Value]) -> list[Value]:
    which, *operands = args
    branches = eqn.params["branches"]
    if not isinstance(which, Symbolic):
        return _run(branches[int(np.clip(np.asarray(which), 0, len(branches) - 1))], operands)
    results = [_run(branch, operands) for branch in branches]
    conditions = [which.flat >= k for k in range(1, len(branches))]
    return [
        choose(conditions, cases, _shape_and_dtype(out_aval(eqn, k))[0])
        for k, cases in enumerate(zip(*results, strict=True))
    ]


_CALLS = frozenset(
    ("checkpoint", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "jit", "pjit", "remat", "remat2")
)
_CONTROL: dict[str, Rule] = {"cond": _cond, "scan": _scan, "while": _while}
