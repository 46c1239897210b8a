"""The CasADi translation agrees with JAX: values, and CasADi's Jacobians of the translation.

Tolerance: both languages evaluate the same formula in double precision, in a different order of summation. With at most
a few hundred operations on numbers of order one the difference is below 1e3 · 2.2e-16 ≈ 2e-13 relative to 1 + |value|;
1e-12 is the bound to which the room trusts a translation.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from epsflow.control.programs._casadi import ca
from epsflow.control.programs._primitives import UntranslatableError
from epsflow.control.programs._translate import max_disagreement, to_casadi

TOLERANCE = 1e-12
V = jnp.array([0.3, -1.2, 0.7])
M = jnp.array([[0.4, -0.6, 1.1], [0.2, 0.9, -0.5]])
T = jnp.linspace(-1.0, 1.3, 12).reshape(2, 3, 2)
S = jnp.array(0.6)
INDEX = jnp.array([2, 0, 2])
MASK = jnp.array([True, False, True])


@jax.custom_vjp
def squared(x):
    return x * x


squared.defvjp(lambda x: (squared(x), x), lambda x, g: (2.0 * x * g,))


def _scan(x):
    return jax.lax.scan(lambda carry, row: (jnp.tanh(carry + row), carry * row), x[0], x)


def _scan_reversed(x):
    return jax.lax.scan(lambda carry, row: (carry + row**2, carry), x[0], x, reverse=True)[1]


def _while(x):
    return jax.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * jnp.sin(x) + c[0]), (0, x))[1]


def _branch(x):
    return jax.lax.cond(x[0] > 0.0, lambda y: jnp.sum(y**2), lambda y: jnp.prod(y), x)


def _switch(x):
    branches = [lambda y: y, jnp.sin, jnp.exp]
    return jax.lax.switch((x[0] > 0).astype(int) + (x[1] > 0).astype(int), branches, x)


def _positive(f: Callable[..., Any]) -> Callable[..., Any]:
    """Keep the random points inside the domain: arguments from 0.1 up."""
    return lambda x: f(0.1 + x**2)


def _inside(f: Callable[..., Any]) -> Callable[..., Any]:
    """Keep the random points inside the domain: arguments in (-0.9, 0.9)."""
    return lambda x: f(0.9 * jnp.sin(x))


NN = jax.nn
SMOOTH = {
    "softplus": lambda x: jnp.sum(NN.softplus(x)),
    "logsumexp": NN.logsumexp,
    "log_softmax": lambda x: NN.log_softmax(x)[1],
    "log_softmax rows": lambda x: jnp.sum(NN.log_softmax(jnp.outer(x, x), axis=1)[0]),
    "softmax": lambda x: NN.softmax(x)[0],
    "logaddexp": lambda x: jnp.logaddexp(x[0], x[1] * x[2]),
    "sigmoid": lambda x: jnp.sum(NN.sigmoid(x)),
    "log_sigmoid": lambda x: jnp.sum(NN.log_sigmoid(x)),
    "silu": lambda x: jnp.sum(NN.silu(x)),
    "gelu": lambda x: jnp.sum(NN.gelu(x)),
    "gelu exact": lambda x: jnp.sum(NN.gelu(x, approximate=False)),
    "tanh": lambda x: jnp.sum(jnp.tanh(x)),
    "relu": lambda x: jnp.sum(NN.relu(x) ** 2),
    "elu": lambda x: jnp.sum(NN.elu(x)),
    "index": lambda x: jnp.sum(x[INDEX] ** 2 * jnp.arange(3.0)),
    "norm": jnp.linalg.norm,
    "custom vjp": lambda x: jnp.sum(squared(x)),
    "remat": jax.checkpoint(lambda x: jnp.sum(jnp.sin(x) ** 2)),
    "max": lambda x: jnp.max(x) * jnp.sum(x),
    "entropy": lambda x: -jnp.sum(jax.scipy.special.xlogy(NN.softmax(x), NN.softmax(x))),
}
CASES: list[tuple[str, Callable[..., Any], tuple[jax.Array, ...]]] = [
    *((name, f, (V,)) for name, f in SMOOTH.items()),
    *((f"grad {name}", jax.grad(f), (V,)) for name, f in SMOOTH.items()),
    *((f.__name__, f, (V,)) for f in (jnp.exp, jnp.exp2, jnp.expm1, jnp.sin, jnp.cos, jnp.sinh, jnp.cosh, jnp.abs)),
    *((f.__name__, f, (V,)) for f in (jnp.sign, jnp.arctan, jnp.square, jnp.cbrt, jnp.arcsinh, jnp.floor, jnp.ceil)),
    *((f.__name__, _positive(f), (V,)) for f in (jnp.log, jnp.log1p, jnp.sqrt, jax.lax.rsqrt, jnp.log2)),
    *((f.__name__, _inside(f), (V,)) for f in (jnp.arcsin, jnp.arccos, jnp.arctanh, jnp.tan)),
    ("erf", jax.lax.erf, (V,)),
    ("arithmetic", lambda x, y: (x + y - 2.0) * -x / (2.0 + jnp.cos(y)), (V, S)),
    ("several results", lambda x, m: (m @ x, jnp.float64(3.0), m), (V, M)),
    ("powers", lambda x: x**3 + x**-2 + (1.0 + x**2) ** 0.7 + (1.0 + x**2) ** x, (V,)),
    ("atan2", jnp.arctan2, (V, S)),
    ("min max clip", lambda x: jnp.minimum(x, 0.5) + jnp.maximum(0.1, x) + jnp.clip(x, -0.4, 0.4), (V,)),
    ("clamp", lambda x: jax.lax.clamp(-0.5, x, 0.5), (V,)),
    (
        "where",
        lambda x: jnp.where((x > 0) & ~(x >= 1) | (x < -1) ^ (x <= -2), x**2, jnp.where(x == x[0], 1.0, x)),
        (V,),
    ),
    ("where constant", lambda x, m: jnp.where(MASK, m, x), (V, M)),
    ("booleans", lambda x: jnp.all(x > 0) + jnp.any(x > 1) + jnp.sum(x != 0.0) * x[0], (V,)),
    ("to bool", lambda x: jnp.where(jnp.round(2.0).astype(bool) & (x > 0).astype(int).astype(bool), x, 0.0), (V,)),
    ("finite", lambda x: jnp.where(jnp.isfinite(x) & ~jnp.isnan(x) & ~jnp.isinf(x), x, 0.0), (V,)),
    ("products", lambda m, x: (m @ x, x @ m.T, m @ m.T, jnp.outer(x, x)), (M, V)),
    ("batched product", lambda t, m: jnp.einsum("bij,bi->jb", t, m), (T, M)),
    ("batched matrices", lambda t: jnp.einsum("bij,bkj->bik", t, t), (T,)),
    ("constant product", lambda x: M.T @ (M @ x), (V,)),
    ("sums", lambda t: (t.sum(), t.sum(1), t.sum((0, 2)), jnp.prod(t, 1), jnp.max(t, 2), jnp.min(t, (0, 1))), (T,)),
    ("cumulative", lambda t: (jnp.cumsum(t, 1), jnp.cumprod(t, 0), jax.lax.cumsum(t, 1, reverse=True)), (T,)),
    ("cumulative extremes", lambda t: (jax.lax.cummax(t, 1), jax.lax.cummin(t, 2)), (T,)),
    ("shapes", lambda t: (t.T, t.reshape(4, 3), t[:, None], jnp.moveaxis(t, 0, 1), t[::-1, :, ::-1]), (T,)),
    (
        "joins",
        lambda t, m: (jnp.concatenate([t, m[:, :, None]], 2), jnp.stack([m, 0 * m], 1), jnp.tile(m, 2), jnp.unstack(m)),
        (T, M),
    ),
    ("slices", lambda t: (t[1], t[:, 1:], t[:, ::2, 1], jnp.split(t, [1], axis=1)[1], jnp.array_split(t, 3, 1)), (T,)),
    (
        "indices",
        lambda m: (m[:, INDEX], m[-1, INDEX], m[jnp.array([0, 1]), jnp.array([2, 1])], jnp.diag(m[:, :2])),
        (M,),
    ),
    ("boolean index", lambda m: m[:, np.array([True, False, True])], (M,)),
    ("dynamic slice", lambda m: jax.lax.dynamic_slice(m, (jnp.array(1), jnp.array(0)), (1, 2)), (M,)),
    (
        "updates",
        lambda m, x: (m.at[0].set(x), m.at[:, INDEX].add(x), m.at[1, INDEX].subtract(x), m.at[0, INDEX].add(1)),
        (M, V),
    ),
    ("dynamic update", lambda m: jax.lax.dynamic_update_slice(m, m[:1, :2] ** 2, (1, 1)), (M,)),
    ("dropped update", lambda x: x.at[jnp.array([1, 7])].add(x[0], mode="drop"), (V,)),
    (
        "pad",
        lambda m: (jnp.pad(m, ((1, 0), (0, 2)), constant_values=2.0), jax.lax.pad(m, S, ((0, 1, 1), (-1, 0, 0)))),
        (M,),
    ),
    ("triangle", lambda m: jnp.tril(m[:, :2]) + jnp.eye(2), (M,)),
    ("scan", _scan, (M,)),
    ("scan reversed", _scan_reversed, (M,)),
    ("grad scan", jax.grad(lambda x: _scan(x)[0].sum()), (M,)),
    ("for loop", lambda m: jax.lax.fori_loop(0, 2, lambda i, c: c * 2 + m[i], m[0]), (M,)),
    ("cond", _branch, (V,)),
    ("switch", _switch, (V,)),
    ("cond constant", lambda x: jax.lax.cond(jnp.array(1) > 0, jnp.sin, jnp.cos, x), (V,)),
    ("vmap", jax.vmap(lambda row: jnp.tanh(row @ row)), (M,)),
    ("argmax of constants", lambda x: x[jnp.argmax(jnp.array([1.0, 5.0, 2.0]))], (V,)),
    ("random constants", lambda x: x * jax.random.normal(jax.random.key(0), (3,)), (V,)),
    ("empty", lambda x: jnp.sum(jnp.zeros((0, 3)) @ x) + jnp.sum(x[:0]) + x, (V,)),
    ("Jacobian", jax.jacfwd(lambda x: jnp.sin(x) * x[0]), (V,)),
    ("unused part", lambda x: (x, jnp.sort(x))[0], (V,)),
]


def casadi_jacobians(function: ca.Function, args: tuple[np.ndarray, ...]) -> list[list[np.ndarray]]:
    """CasADi's Jacobian of every output by every input, at one point."""
    symbols = [ca.SX.sym(f"x{k}", arg.size) for k, arg in enumerate(args)]
    outputs = function.call(symbols)
    blocks = [ca.densify(ca.jacobian(out, symbol)) for out in outputs for symbol in symbols]
    values = [
        block.full() for block in ca.Function("jacobians", symbols, blocks).call([ca.DM(a.ravel()) for a in args])
    ]
    return [values[k : k + len(args)] for k in range(0, len(values), len(args))]


def disagreement(expected: Any, found: np.ndarray) -> float:
    """The largest difference, relative to 1 + |expected|."""
    expected = np.asarray(expected).reshape(found.shape)
    return float(np.max(np.abs(expected - found) / (1 + np.abs(expected)), initial=0.0))


@pytest.mark.parametrize(("fn", "examples"), [pytest.param(f, e, id=name) for name, f, e in CASES])
def test_values_and_jacobians(fn, examples, rng):
    def leaves(*args):
        return [leaf.astype(float) for leaf in jax.tree.leaves(fn(*args))]

    def with_jacobians(*args):
        return leaves(*args), jax.jacobian(leaves, range(len(args)))(*args)

    function, reference = to_casadi(fn, *examples), jax.jit(with_jacobians)
    for _ in range(2):
        args = tuple(rng.standard_normal(example.shape) for example in examples)
        values, jacobians = reference(*args)
        for ours, theirs in zip(function.call([ca.DM(a.ravel()) for a in args]), values, strict=True):
            assert disagreement(theirs, ours.full()) <= TOLERANCE
        for row, expected in zip(casadi_jacobians(function, args), jacobians, strict=True):
            for ours, theirs in zip(row, expected, strict=True):
                assert disagreement(theirs, ours) <= TOLERANCE


def test_while_with_a_constant_number_of_turns():
    # JAX has no reverse derivative of `while`; its forward one is the reference.
    function = to_casadi(_while, V)
    assert max_disagreement(_while, function, (V,)) <= TOLERANCE
    assert disagreement(jax.jacfwd(_while)(V), casadi_jacobians(function, (np.asarray(V),))[0][0]) <= TOLERANCE


def mlp_risk(x: jax.Array, y: jax.Array) -> Callable[[jax.Array], jax.Array]:
    """Mean squared error of a 3-neuron tanh network of two inputs, θ ∈ R¹³."""

    def risk(theta: jax.Array) -> jax.Array:
        w, b, a, c = theta[:6].reshape(2, 3), theta[6:9], theta[9:12], theta[12]
        return jnp.mean((jnp.tanh(x @ w + b) @ a + c - y) ** 2)

    return risk


def sample(n: int, d: int) -> tuple[jax.Array, jax.Array]:
    rng = np.random.default_rng(3)
    return jnp.asarray(rng.standard_normal((n, d))), jnp.asarray(rng.integers(0, 2, n).astype(float))


def test_mlp_risk_gradient_and_hessian_product():
    risk = mlp_risk(*sample(20, 2))
    theta = jax.ShapeDtypeStruct((13,), jnp.float64)

    def product(theta, v):
        return jax.jvp(jax.grad(risk), (theta,), (v,))[1]

    for fn, examples in ((risk, (theta,)), (jax.grad(risk), (theta,)), (product, (theta, theta))):
        assert max_disagreement(fn, to_casadi(fn, *examples), examples) <= TOLERANCE
    point = np.random.default_rng(5).standard_normal(13)
    hessian = casadi_jacobians(to_casadi(jax.grad(risk), theta), (point,))[0][0]
    assert disagreement(jax.jit(jax.hessian(risk))(point), hessian) <= TOLERANCE


def softmax_risk(x: jax.Array, y: jax.Array) -> Callable[[jax.Array], jax.Array]:
    labels = y.astype(int)

    def risk(theta: jax.Array) -> jax.Array:
        scores = jax.nn.log_softmax(x @ theta.reshape(x.shape[1], 2), axis=1)
        return -jnp.mean(jnp.take_along_axis(scores, labels[:, None], axis=1))

    return risk


def logistic_risk(x: jax.Array, y: jax.Array) -> Callable[[jax.Array], jax.Array]:
    return lambda theta: jnp.mean(jax.nn.softplus(x @ theta) - y * (x @ theta))


@pytest.mark.parametrize("make", [logistic_risk, softmax_risk])
@pytest.mark.parametrize("scale", [0.0, 1.0, 300.0], ids=["at zero", "ordinary", "saturated"])
def test_classification_risks(make, scale):
    x, y = sample(12, 3)
    risk = make(x, y)
    theta = jax.ShapeDtypeStruct((3 if make is logistic_risk else 6,), jnp.float64)
    gradient = to_casadi(jax.grad(risk), theta)
    assert max_disagreement(risk, to_casadi(risk, theta), (theta,), scale=scale) <= TOLERANCE
    assert max_disagreement(jax.grad(risk), gradient, (theta,), scale=scale) <= TOLERANCE
    # θ = 0 puts every logit on the kink of max(a, b) and |a - b|; the derivatives there must be the analytic ones.
    point = scale * np.random.default_rng(2).standard_normal(theta.shape)
    assert disagreement(jax.jit(jax.hessian(risk))(point), casadi_jacobians(gradient, (point,))[0][0]) <= TOLERANCE


@pytest.mark.parametrize("fn", [jax.nn.softplus, jax.nn.sigmoid, jax.nn.log_sigmoid, jax.nn.silu])
@pytest.mark.parametrize("at", [-800.0, -40.0, 0.0, 40.0, 800.0])
def test_three_derivatives_are_finite_and_right_at_the_kink_and_in_the_tails(fn, at):
    x = ca.SX.sym("x")
    (ours,), theirs = to_casadi(fn, S).call([x]), fn
    for _ in range(4):
        found = float(ca.Function("g", [x], [ours])(at))
        assert disagreement(jax.jit(theirs)(at), np.asarray(found)) <= TOLERANCE
        ours, theirs = ca.gradient(ours, x), jax.grad(theirs)


def test_columns_are_in_c_order():
    function = to_casadi(lambda m: m.T, M)
    assert function.size_in(0) == (6, 1)
    assert np.array_equal(function(ca.DM(np.arange(6.0))).full().ravel(), [0, 3, 1, 4, 2, 5])


def test_constants_cost_no_operations():
    data = jnp.zeros((5, 3)).at[2, 1].set(1.0)
    assert to_casadi(lambda x: data.T @ (data @ x) + jnp.cumsum(data, 0)[0], V).n_instructions() <= 6


@pytest.mark.parametrize(
    ("fn", "primitive", "reason"),
    [
        (jnp.sort, "sort", "it has no rule"),
        (lambda x: V[jnp.argmax(x)], "argmax", "it has no rule"),
        (lambda x: jnp.sum(V[(x > 0).astype(int)]), "gather", "an index depends on the inputs"),
        (lambda x: V.at[(x > 0).astype(int)].add(x), "scatter-add", "an index depends on the inputs"),
        (lambda x: jax.lax.while_loop(lambda c: c < x[0], lambda c: c + 1.0, 0.0), "while", "the number of turns"),
        (lambda x: x.astype(jnp.float32), "convert_element_type", "rounding float64 to float32"),
        (lambda x: x.at[jnp.array([1, 7])].get(mode="fill"), "gather", "it reads outside its array"),
        (lambda x: (x > 0).astype(int) // 2, "div", "no truncating division"),
        (lambda x: (x > 0).astype(int) & 2, "and", "the bits of integers"),
    ],
)
def test_refusals_say_what_why_and_what_to_try(fn, primitive, reason):
    with pytest.raises(UntranslatableError, match=rf"JAX primitive '{primitive}' to CasADi: .*{reason}.*adjoint"):
        to_casadi(fn, V)


def test_refuses_what_is_not_one_float64_array():
    with pytest.raises(ValueError, match=r"argument 0 has dtype float32, not float64.*Enable x64"):
        to_casadi(jnp.sin, V.astype(jnp.float32))
    with pytest.raises(ValueError, match=r"1 examples hold 2 arrays.*ravel_pytree"):
        to_casadi(lambda pair: pair[0] + pair[1], (V, V))


def test_disagreement_finds_a_wrong_translation():
    function = to_casadi(lambda x: x + 1e-9, V)
    assert 1e-10 < max_disagreement(lambda x: x, function, (V,)) < 1e-8
    assert max_disagreement(jnp.log, function, (V,)) == np.inf
    with pytest.raises(ValueError, match="no result was finite at 8 random points"):
        max_disagreement(lambda x: jnp.log(-1.0 - x**2), to_casadi(lambda x: jnp.log(-1.0 - x**2), V), (V,))
