"""Products in bfloat16: operands rounded, sums in float32, in every derivative and in everyone's models."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import epsflow as ef
from epsflow.problem import RoundedProducts, unit_of, with_rounded_products

RNG = np.random.default_rng(0)
A, B, C = (RNG.standard_normal(shape).astype(np.float32) for shape in ((6, 40), (40, 5), (6, 5)))
KEY = jax.random.key(0)


def rounded(array):
    return np.asarray(jnp.asarray(array).astype(jnp.bfloat16), np.float64)


def product(a, b):
    return a @ b


def test_products_forward_and_back_are_of_rounded_operands_with_sums_in_float32():
    value, pull = jax.jit(lambda a, b: jax.vjp(with_rounded_products(product), a, b))(A, B)
    by_a, by_b = pull(C)
    along = jax.jvp(with_rounded_products(product), (A, B), (C @ B.T, A.T @ C))[1]
    found = value, by_a, by_b, along
    a, b, c, da, db = map(rounded, (A, B, C, C @ B.T, A.T @ C))
    exact = a @ b, c @ b.T, a.T @ c, da @ b + a @ db
    for got, expected in zip(found, exact, strict=True):
        assert got.dtype == np.float32
        # Sums of at most 80 products, each within 2⁻²⁴; rounding the sum to bfloat16 would leave 2⁻⁹.
        np.testing.assert_allclose(got, expected, rtol=0, atol=80 * 2.0**-24 * np.abs(expected).max())
    assert np.abs(value - A.astype(float) @ B).max() > 1e-3  # which is what rounding the operands does


def with_loops(params, x):
    """A scan, a checkpoint and a branch, with a product in each."""
    x = jax.lax.scan(lambda h, w: (jnp.tanh(w @ h), None), x, params["w"])[0]
    x = jax.checkpoint(lambda h: h @ params["v"])(x)
    return jax.lax.cond(x[0] > 0.0, lambda h: h @ jnp.ones((2, 2), h.dtype), lambda h: 2.0 * h, x)


def equinox_model():
    shapes = eqx.filter_eval_shape(eqx.nn.MLP, 16, 2, 3, 1, dtype=np.float32, key=KEY)
    return ef.FunctionModel(jax.tree.map(lambda a: np.ones(a.shape, a.dtype) if hasattr(a, "shape") else a, shapes))


def flax_model():
    linen = pytest.importorskip("flax.linen", reason="flax is not installed (pip install 'epsflow[flax]')")
    layer = {"kernel": np.ones((16, 2), np.float32), "bias": np.ones(2, np.float32)}
    return ef.FunctionModel(linen.Dense(2), {"params": layer})


MODELS = {
    "MLP": lambda: ef.MLP((16, 3, 2)),
    "CNN": lambda: ef.CNN((4, 4), channels=(2,), widths=(2,)),
    "Equinox": equinox_model,
    "Flax": flax_model,
    "loops": lambda: ef.FunctionModel(
        with_loops, {"w": np.ones((2, 16, 16), np.float32), "v": np.ones((16, 2), np.float32)}
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_no_product_of_a_model_or_of_its_derivatives_is_left_out(name):
    model = MODELS[name]()

    def curved(model):
        slope = jax.grad(lambda t: jnp.sum(jnp.sin(jax.vmap(model, (None, 0))(t, jnp.ones((3, 16), np.float32)))))
        return lambda t: jax.jvp(slope, (t,), (t,))[1]

    theta = jax.ShapeDtypeStruct((model.dim,), np.float32)
    plain, ours = (str(jax.make_jaxpr(curved(one))(theta)) for one in (model, RoundedProducts(model)))
    kinds = [" = dot_general[", " = conv_general_dilated["]
    assert sum(plain.count(kind) for kind in kinds) > 0
    assert not any(kind in ours for kind in kinds)


def test_a_solve_is_no_product_but_its_derivative_has_some():
    matrix, side = A[:5, :5] + 4.0 * np.eye(5, dtype=np.float32), B[:5, 0]
    slopes = []
    for solve in (jnp.linalg.solve, with_rounded_products(jnp.linalg.solve)):
        np.testing.assert_array_equal(solve(matrix, side), jnp.linalg.solve(matrix, side))
        slopes.append(jax.grad(lambda a, s=solve: s(a, side).sum())(matrix))
    # Two rounded operands, each to 2⁻⁹.
    np.testing.assert_allclose(slopes[1], slopes[0], rtol=0, atol=2.0**-8 * np.abs(slopes[0]).max())


def test_what_cannot_be_rounded_is_refused():
    own = jax.custom_jvp(lambda w, x: w @ x)
    own.defjvps(lambda t, _, w, x: t @ x, lambda t, _, w, x: w @ t)
    data = ef.Dataset(np.ones((3, 4)), np.arange(3.0))
    model = ef.FunctionModel(lambda p, x: own(p, x), np.ones(4, np.float32))
    assert ef.Problem(model, ef.SquaredLoss(), data, dtype="float32").dtype == "float32"
    with pytest.raises(ef.InputError, match=r"derivative of its own .* cannot be rounded. .* dtype=.float32"):
        ef.Problem(model, ef.SquaredLoss(), data, dtype="bfloat16")
    with pytest.raises(ef.InputError, match="linear models are computed by NumPy in float64"):
        ef.Problem(ef.LinearModel(4), ef.SquaredLoss(), data, dtype="bfloat16")


def test_a_problem_holds_float32_and_takes_another_precision_and_back():
    data = ef.Dataset(RNG.standard_normal((9, 4)), RNG.standard_normal(9))
    wide = ef.Problem(ef.MLP((4, 3, 1)), ef.SquaredLoss(), data, delete=[2], l2=0.1, reduction="mean")
    narrow, theta = wide.with_dtype("bfloat16"), np.asarray(wide.model.init(KEY))
    assert (narrow.dtype, narrow.array_dtype, "dtype=bfloat16" in repr(narrow)) == ("bfloat16", "float32", True)
    exact, found = wide.gradient(theta), narrow.gradient(theta)
    assert found.dtype == np.float32
    # Two layers forward and back, each factor within 2⁻⁸ of itself.
    miss = np.abs(found - exact).max() / np.abs(exact).max()
    assert 1e-5 < miss < 4 * unit_of("bfloat16")
    np.testing.assert_array_equal(narrow.with_dtype("float64").gradient(theta), exact)
