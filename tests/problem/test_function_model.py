"""Models of one's own: modules of Equinox and Flax as they are, and what is no function of parameters and a point."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import epsflow as ef

X = np.random.default_rng(0).standard_normal((9, 3))
DATA = ef.Dataset(X, np.sin(X[:, 0]))
HAND = ef.MLP((3, 4, 1))
KEY = jax.random.key(0)


def problem(model):
    return ef.Problem(model, ef.SquaredLoss(), DATA, [2], 0.1)


@pytest.fixture(scope="module")
def by_hand():
    """The influence of a point on a network whose layers and parameters are ours."""
    theta = np.asarray(HAND.init(KEY))
    return theta, np.asarray(ef.influence(problem(HAND), theta, curvature="ggn").change)


def same(model, theta, order, by_hand):
    """θ of a module in the order of ours, and its influence, are ours: sums of a few terms in another order."""
    np.testing.assert_allclose(theta[order], by_hand[0], rtol=0, atol=0)
    change = np.asarray(ef.influence(problem(model), theta, curvature="ggn").change)
    np.testing.assert_allclose(change[order], by_hand[1], rtol=1e-9, atol=1e-13)


def test_an_equinox_module_has_the_influence_of_the_same_network_by_hand(by_hand):
    module = eqx.nn.MLP(3, "scalar", 4, 1, activation=jnp.tanh, key=KEY)
    (w0, b0), (w1, b1) = HAND.layers(by_hand[0])
    module = eqx.tree_at(
        lambda m: [m.layers[0].weight, m.layers[0].bias, m.layers[1].weight, m.layers[1].bias], module, [w0, b0, w1, b1]
    )
    model = ef.FunctionModel(module)
    assert model.dim == HAND.dim
    same(model, np.asarray(model.start), np.arange(model.dim), by_hand)
    found = model.unflatten(2.0 * model.start)
    assert isinstance(found, eqx.nn.MLP)
    np.testing.assert_array_equal(found.layers[0].weight, 2.0 * module.layers[0].weight)


@pytest.fixture(scope="module")
def flax():
    return pytest.importorskip("flax", reason="flax is not installed (pip install 'epsflow[flax]')")


ORDER = np.concatenate([4 + np.arange(12).reshape(3, 4).T.ravel(), np.arange(4), 17 + np.arange(4), [16]])
"""Where ours (W₀ by rows, b₀, W₁, b₁) is in Flax's θ: b₀, W₀ᵀ by rows, b₁, W₁ᵀ."""


def flax_params(theta):
    (w0, b0), (w1, b1) = HAND.layers(theta)
    return {"kernel": w0.T, "bias": b0}, {"kernel": w1.T, "bias": b1}


def test_an_nnx_module_has_the_influence_of_the_same_network_by_hand(flax, by_hand):
    from flax import nnx

    class Network(nnx.Module):
        def __init__(self, rngs):
            self.first, self.second = nnx.Linear(3, 4, rngs=rngs), nnx.Linear(4, 1, rngs=rngs)

        def __call__(self, x):
            return self.second(jnp.tanh(self.first(x)))

    module = Network(nnx.Rngs(0))
    for layer, values in zip((module.first, module.second), flax_params(by_hand[0]), strict=True):
        layer.kernel[...], layer.bias[...] = (values[name].astype("float32") for name in ("kernel", "bias"))
    model = ef.FunctionModel(module, widen=True)
    wide = np.empty(model.dim)
    wide[ORDER] = by_hand[0]  # in the module they are in float32
    np.testing.assert_array_equal(model.start, wide.astype(np.float32))
    same(model, wide, ORDER, by_hand)
    assert isinstance(model.unflatten(model.start), Network)
    other = ef.FunctionModel(Network(nnx.Rngs(1)), widen=True)
    assert (other.whole, hash(other.whole)) == (model.whole, hash(model.whole))


def test_a_linen_module_has_the_influence_of_the_same_network_by_hand(flax, by_hand):
    from flax import linen as nn

    module = nn.Sequential([nn.Dense(4), jnp.tanh, nn.Dense(1)])
    first, second = flax_params(by_hand[0])
    variables = {"params": {"layers_0": first, "layers_2": second}}
    model = ef.FunctionModel(module, variables)
    same(model, np.asarray(model.start), ORDER, by_hand)
    for other in (module.apply, partial(module.apply, mutable=False)):
        np.testing.assert_array_equal(ef.FunctionModel(other, variables)(model.start, X[0]), model(model.start, X[0]))
    np.testing.assert_array_equal(model.unflatten(model.start)["params"]["layers_0"]["kernel"], first["kernel"])


def test_a_module_for_images_in_batches_gets_one_of_one_image(flax):
    from flax import linen as nn

    def flat(x):
        return x.reshape(len(x), -1)

    module = nn.Sequential([nn.Conv(2, (3, 3), param_dtype=jnp.float64), flat, nn.Dense(5, param_dtype=jnp.float64)])
    images = np.random.default_rng(1).standard_normal((3, 4, 4, 1))
    variables = module.init(KEY, images)
    model = ef.FunctionModel(module, variables, input_shape=(4, 4, 1), batched=True)
    rows = [model(model.start, image.ravel()) for image in images]
    np.testing.assert_allclose(rows, module.apply(variables, images), rtol=1e-13)
    with pytest.raises(ef.InputError, match=r"input_shape \(4, 4, 1\) does not hold 3 features"):
        problem(model)


class Normed(eqx.Module):
    """A network with a batch norm, and with dropout."""

    linear: eqx.nn.Linear
    norm: eqx.nn.BatchNorm
    dropout: eqx.nn.Dropout

    def __init__(self, key):
        self.linear = eqx.nn.Linear(3, "scalar", key=key)
        self.norm = eqx.nn.BatchNorm(3, axis_name="batch", mode="batch")
        self.dropout = eqx.nn.Dropout(0.5)

    def __call__(self, x, state):
        x, state = self.norm(x, state)
        return self.linear(self.dropout(x)), state


def test_batch_norm_and_dropout_of_equinox_are_refused_or_frozen():
    module, state = eqx.nn.make_with_state(Normed)(KEY)
    with pytest.raises(ef.InputError, match="keeps a state, such as BatchNorm's statistics"):
        ef.FunctionModel(module, state)
    with pytest.raises(ef.InputError, match=r"with both parts of equinox\.nn\.make_with_state"):
        ef.FunctionModel(module, freeze=True)
    with pytest.raises(ef.InputError, match=r"has dropout.*or freeze=True"):
        ef.FunctionModel(eqx.nn.Sequential([eqx.nn.Linear(3, 1, key=KEY), eqx.nn.Dropout(0.5)]))
    model = ef.FunctionModel(module, state, freeze=True)
    # Means 0 and variances 1, as they were made: x/√(1 + 1e-5), then the linear layer.
    weight, bias = module.linear.weight[0], module.linear.bias[0]
    np.testing.assert_allclose(model(model.start, X[0]), weight @ X[0] / np.sqrt(1 + 1e-5) + bias, rtol=1e-12)
    assert model.dim == 4 + 6
    problem(model)


def test_batch_norm_and_dropout_of_flax_are_refused_or_frozen(flax):
    from flax import linen as nn, nnx

    class Both(nn.Module):
        @nn.compact
        def __call__(self, x, train=True):
            x = nn.BatchNorm(use_running_average=not train)(x)
            return nn.Dense(1)(nn.Dropout(0.5, deterministic=not train)(x))

    module = Both()
    variables = module.init({"params": KEY, "dropout": KEY}, X)
    with pytest.raises(ef.InputError, match=r"more than parameters \(batch_stats\)"):
        ef.FunctionModel(module, variables)
    with pytest.raises(ef.InputError, match=r"changes its statistics.*train=False"):
        problem(ef.FunctionModel(module, variables, freeze=True, widen=True))
    with pytest.raises(ef.InputError, match=r"write FunctionModel\(module, module.init\(key, x\)\)"):
        ef.FunctionModel(module)
    model = ef.FunctionModel(partial(module.apply, train=False), variables, freeze=True, widen=True)
    problem(model)

    layers = nnx.Sequential(nnx.BatchNorm(3, rngs=nnx.Rngs(0)), nnx.Dropout(0.5, rngs=nnx.Rngs(1)))
    with pytest.raises(ef.InputError, match=r"more than parameters \(BatchStat, RngCount, RngKey\)"):
        ef.FunctionModel(layers)
    frozen = ef.FunctionModel(layers, freeze=True, widen=True)
    np.testing.assert_allclose(frozen(frozen.start, X[0]), X[0] / np.sqrt(1 + 1e-5), rtol=1e-6)  # a mean in float32
    assert not layers.layers[1].deterministic  # theirs is left alone
    with pytest.raises(ef.InputError, match=r"holds its parameters: write FunctionModel\(module\)"):
        ef.FunctionModel(layers, {})


def line(params, x):
    return x @ params


class Counting:
    """Counts its calls, and multiplies by that."""

    calls = 0

    def __call__(self, params, x):
        self.calls += 1
        return self.calls * (x @ params)


class Keeping:
    """Adds the point that it was called with first."""

    def __init__(self):
        self.kept = []

    def __call__(self, params, x):
        self.kept.append(x)
        return x @ params + self.kept[0].sum()


def noisy(params, x):
    return x @ params + np.random.default_rng().normal()


def reading(params, x):
    from jax.experimental import io_callback

    return x @ params + io_callback(lambda: np.float64(1.0), jax.ShapeDtypeStruct((), jnp.float64))


@pytest.mark.parametrize(
    ("apply", "words"),
    [
        (Counting(), "followed twice, it is two different ones"),
        (noisy, "followed twice, it is two different ones"),
        (Keeping(), "it uses a value that an earlier call kept"),
        (reading, r"it has effects besides its value \(IOEffect\)"),
        (lambda params, x: line(params, x).astype("float32"), "the model returns float32"),
    ],
    ids=["counts", "random", "keeps", "reads", "float32"],
)
def test_what_is_no_pure_function_in_double_precision_is_refused(apply, words):
    with pytest.raises(ef.InputError, match=words):
        problem(ef.FunctionModel(apply, np.zeros(3)))


def test_a_pure_function_may_hold_constants_keys_and_print():
    matrix, key = np.eye(3), jax.random.key(3)

    def apply(params, x):
        jax.debug.print("{}", x[0])
        return jax.nn.relu(matrix @ x) @ params + jax.random.normal(key)

    problem(ef.FunctionModel(apply, np.zeros(3)))


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (
            lambda: ef.FunctionModel(line, {"a": np.ones(2), "b": np.ones(2, np.float32)}),
            "parameters have dtype float32, float64; all of them",
        ),
        (lambda: problem(ef.FunctionModel(line, np.ones(3, np.float32))), r"widen=True\), which changes no number"),
        (lambda: ef.FunctionModel(line, np.ones(2, complex)), "have dtype complex128"),
        (lambda: ef.FunctionModel(line), "`params` is missing"),
        (lambda: ef.FunctionModel(3, np.ones(2)), "a module of Equinox or Flax"),
        (lambda: ef.FunctionModel(HAND), "is a model already"),
        (lambda: ef.FunctionModel(line, np.ones(2), input_shape=(2, 0)), "input_shape"),
    ],
    ids=["dtypes", "float32", "complex", "no parameters", "a number", "a model", "shape"],
)
def test_what_is_no_model_is_refused(made, words):
    with pytest.raises(ef.InputError, match=words):
        made()


def test_parameters_may_be_an_equinox_module_that_a_function_calls():
    module = eqx.nn.Linear(3, 1, key=KEY)
    model = ef.FunctionModel(lambda layer, x: jnp.tanh(layer(x)), module)
    np.testing.assert_array_equal(model(model.start, X[0]), jnp.tanh(module(X[0]))[0])
