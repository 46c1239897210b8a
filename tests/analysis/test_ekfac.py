"""EK-FAC against the matrix that it approximates, put together from per-sample gradients in NumPy."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from epsflow import _core
from epsflow.analysis.curvature import Curvature, curvature_at, solve
from epsflow.analysis.curvature._ekfac import EKFAC, kronecker_layers
from epsflow.problem import (
    CNN,
    MLP,
    Dataset,
    FunctionModel,
    LinearModel,
    LogisticLoss,
    Problem,
    SoftmaxCrossEntropy,
    SquaredLoss,
)

layers_of = eqx.filter_jit(kronecker_layers)
dense = eqx.filter_jit(lambda curvature: curvature.matrix())
LOSSES = {"squared": SquaredLoss(), "logistic": LogisticLoss(), "softmax": SoftmaxCrossEntropy()}


def make(name: str, **options) -> Problem:
    """Seven points, layers of 3 → 4 → (1 or 2): every layer has another number of inputs than of outputs."""
    rng = np.random.default_rng(5)
    labels = rng.normal(size=(7, 2)) if name == "squared" else rng.integers(0, 2, size=7).astype(float)
    model = MLP((3, 4, 1 if name == "logistic" else 2))
    return Problem(model, LOSSES[name], Dataset(rng.normal(size=(7, 3)), labels), [2], reduction="mean", **options)


def at(problem: Problem, kind: str = "fisher", **options) -> Curvature:
    theta = 0.8 * np.random.default_rng(6).normal(size=problem.dim)
    return curvature_at(problem, theta, kind, damping=0.1, **options)


def expected_label_gradients(problem: Problem, output: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """(probability, ∇_fℓ) of every label; for the Gaussian, two points per axis with the same second moments."""
    if isinstance(problem.loss, SquaredLoss):
        return [(0.25, sign * np.sqrt(2.0) * axis) for axis in np.eye(2) for sign in (1.0, -1.0)]
    if isinstance(problem.loss, LogisticLoss):
        p = 1.0 / (1.0 + np.exp(-output[0]))
        return [(p, np.array([p - 1.0])), (1.0 - p, np.array([p]))]
    p = np.exp(output) / np.exp(output).sum()
    return [(p[label], p - np.eye(2)[label]) for label in range(2)]


def layer_gradients(problem: Problem, theta: np.ndarray, eps: float) -> tuple[np.ndarray, list[np.ndarray]]:
    """Weights (samples,) and, per layer, the gradient (samples, out, in+1) of every point under every label."""
    model = problem.model
    jacobian = jax.jit(jax.vmap(jax.jacrev(lambda t, x: jnp.atleast_1d(model(t, x))), (None, 0)))(theta, problem.data.x)
    outputs = np.stack([np.atleast_1d(model(jnp.asarray(theta), x)) for x in jnp.asarray(problem.data.x)])
    weights, gradients = [], []
    for i, (rows, output) in enumerate(zip(np.asarray(jacobian), outputs, strict=True)):
        for probability, slope in expected_label_gradients(problem, output):
            weights.append(probability * problem.scale * (eps if i in problem.delete else 1.0))
            gradients.append(slope @ rows)
    return np.array(weights), split(model, np.array(gradients))


def split(model: MLP, flat: np.ndarray) -> list[np.ndarray]:
    """Vectors like θ, shape (q, d), as one matrix (W | b) per layer, shape (q, out, in+1)."""
    layers, start = [], 0
    for inputs, outputs in zip(model.widths, model.widths[1:], strict=False):
        middle, end = start + inputs * outputs, start + (inputs + 1) * outputs
        weight = flat[:, start:middle].reshape(-1, outputs, inputs)
        layers.append(np.concatenate([weight, flat[:, middle:end, None]], axis=2))
        start = end
    return layers


@pytest.mark.parametrize("name", LOSSES)
def test_ekfac_is_the_diagonal_of_each_block_in_its_kronecker_eigenbasis(name):
    problem = make(name)
    curvature = at(problem, eps=0.5)
    weights, gradients = layer_gradients(problem, np.asarray(curvature.theta), eps=0.5)
    vectors = np.random.default_rng(7).normal(size=(3, problem.dim))
    found = solve(curvature, jnp.asarray(vectors), "ekfac")
    pieces = zip(
        layers_of(curvature),
        gradients,
        split(problem.model, vectors),
        split(problem.model, found.solution),
        strict=True,
    )
    for layer, g, v, h in pieces:
        flat, basis = g.reshape(len(g), -1), np.kron(layer.outputs, layer.inputs)
        block = np.einsum("s,sa,sb->ab", weights, flat, flat)
        # The bases are orthonormal and belong to the factors: S = Σw δδᵀ, δ being the gradient of the bias.
        s_factor = np.einsum("s,so,sp->op", weights, g[:, :, -1], g[:, :, -1])
        rotated = np.asarray(layer.outputs.T @ s_factor @ layer.outputs)
        np.testing.assert_allclose(rotated, np.diag(np.diag(rotated)), atol=1e-14)
        np.testing.assert_allclose(basis.T @ basis, np.eye(len(basis)), atol=1e-14)
        # Λ is the diagonal of the true block there: sums of a dozen products, rounding only.
        np.testing.assert_allclose(layer.eigenvalues.ravel(), np.diag(basis.T @ block @ basis), atol=1e-14)
        approximate = basis @ np.diag(layer.eigenvalues.ravel()) @ basis.T + 0.1 * np.eye(len(basis))
        answer = np.linalg.solve(approximate, v.reshape(3, -1).T).T
        np.testing.assert_allclose(h.reshape(3, -1), answer, atol=1e-12)  # condition number ≈ 50
    assert float(found.residual.max()) > 1e-3  # an approximation, and it says so


def test_inputs_of_the_second_layer_are_the_activations():
    problem = make("squared")
    theta = at(problem).theta
    (weight, bias), _ = problem.model.layers(theta)
    hidden = np.tanh(problem.data.x @ np.asarray(weight).T + np.asarray(bias))
    homogeneous = np.hstack([hidden, np.ones((7, 1))])
    basis = np.asarray(layers_of(at(problem))[1].inputs)
    rotated = basis.T @ (homogeneous.T @ homogeneous / 7) @ basis
    np.testing.assert_allclose(rotated, np.diag(np.diag(rotated)), atol=1e-14)


def test_ekfac_is_exact_for_one_layer_under_the_squared_loss():
    # There the Fisher matrix is I ⊗ Σ w āāᵀ, a Kronecker product.
    rng = np.random.default_rng(8)
    problem = Problem(MLP((3, 2)), SquaredLoss(), Dataset(rng.normal(size=(9, 3)), rng.normal(size=(9, 2))), l2=0.2)
    curvature = curvature_at(problem, rng.normal(size=8), "ggn")
    assert float(solve(curvature, jnp.eye(8), "ekfac").residual.max()) < 1e-13


def test_chunks_do_not_matter_even_to_the_labels_that_are_drawn():
    vectors, sampled = jnp.asarray(np.random.default_rng(9).normal(size=(2, 26))), EKFAC(3, jax.random.key(1))
    whole, chunked = (solve(at(make("softmax", chunk_rows=rows)), vectors, sampled) for rows in (7, 3))
    np.testing.assert_allclose(chunked.solution, whole.solution, atol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_sampled_labels_approach_the_exact_expectation(name):
    curvature = at(make(name))
    exact, drawn = layers_of(curvature), layers_of(curvature, jax.random.key(2), 4000)
    for one, other in zip(exact, drawn, strict=True):
        # A trace is a mean of 4,000 draws of relative variance at most 2 (a squared Gaussian): four sigma.
        assert float(other.eigenvalues.sum() / one.eigenvalues.sum()) == pytest.approx(1.0, abs=4 * np.sqrt(2 / 4000))


def test_empirical_fisher_uses_the_observed_labels():
    problem = make("logistic")
    curvature = at(problem, "empirical_fisher")
    trace = sum(float(layer.eigenvalues.sum()) for layer in layers_of(curvature))
    # The trace does not depend on the basis: that of the whole matrix without its ridge.
    assert trace == pytest.approx(float(jnp.trace(dense(curvature))) - 0.1 * problem.dim, rel=1e-12)


def test_ekfac_refuses_what_it_cannot_approximate():
    problem = make("logistic")
    vector = jnp.ones((1, problem.dim))
    theta = np.ones(problem.dim)
    linear = Problem(LinearModel(3), LogisticLoss(), problem.data, l2=1.0)
    own = Problem(FunctionModel(lambda w, x: jnp.tanh(w @ x), jnp.zeros(3)), LogisticLoss(), problem.data)
    for curvature, solver, words in (
        (curvature_at(problem, theta, "hessian", damping=1.0), "ekfac", "not a Hessian"),
        (curvature_at(problem, theta, "ggn"), "ekfac", "needs λ \\+ λ_d > 0"),
        (
            curvature_at(linear, np.ones(3), "ggn"),
            "ekfac",
            "a LinearModel is one function of θ whose layers it does not know",
        ),
        (curvature_at(own, np.ones(3), "ggn", damping=1.0), "ekfac", "a FunctionModel is one function .* use solver="),
        (curvature_at(problem, theta, "ggn", damping=1.0), EKFAC(2, jax.random.key(0)), "labels are sampled for"),
    ):
        with pytest.raises(_core.InputError, match=words):
            solve(curvature, vector[:, : curvature.dim], solver)


# --- convolutions ---


@pytest.fixture(scope="module")
def convolutional():
    """Five images of 4 × 4 pixels in two channels, 3 × 3 kernels to three channels, and 12 → 2."""
    rng = np.random.default_rng(11)
    labels = rng.integers(0, 2, size=5).astype(float)
    model = CNN((2, 4, 4), channels=(3,), widths=(2,))
    problem = Problem(model, SoftmaxCrossEntropy(), Dataset(rng.normal(size=(5, 32)), labels), [2], reduction="mean")
    theta = 0.5 * rng.normal(size=problem.dim)
    curvature = curvature_at(problem, theta, "ggn", damping=0.1)
    return problem, theta, curvature, layers_of(curvature)


def test_the_eigenvalues_of_a_convolution_are_the_diagonal_of_the_exact_matrix_in_its_basis(convolutional):
    _, _, curvature, layers = convolutional
    exact, start = np.asarray(dense(curvature)), 0
    for layer in layers:
        outputs, inputs = layer.eigenvalues.shape
        size = outputs * inputs
        # θ holds W by rows, then b; a block is that of (W | b).
        order = np.concatenate(
            [np.arange(outputs * (inputs - 1)).reshape(outputs, -1), [[k] for k in range(outputs)]], 1
        )
        order[:, -1] += outputs * (inputs - 1)
        block = exact[start : start + size, start : start + size][np.ix_(order.ravel(), order.ravel())]
        basis = np.kron(layer.outputs, layer.inputs)
        np.testing.assert_allclose(basis.T @ basis, np.eye(size), atol=1e-14)
        diagonal = np.diag(basis.T @ block @ basis) - 0.1
        np.testing.assert_allclose(layer.eigenvalues.ravel(), diagonal, atol=1e-14)  # sums of products of order one
        start += size
    assert start == curvature.dim


def test_the_basis_of_a_convolution_belongs_to_sums_over_its_pixels(convolutional):
    """A and S with JAX's own convolution, and what is added to its output as the place where δ is taken."""
    problem, theta, _, layers = convolutional
    kernels, bias, rest = theta[:54].reshape(3, 2, 3, 3), theta[54:57], theta[57:]
    weight, last = rest[:24].reshape(2, 12), rest[24:]

    def output(shift, image):
        seen = jax.lax.conv(image[None], kernels, (1, 1), "SAME")[0] + bias[:, None, None] + shift
        return weight @ jnp.tanh(seen).reshape(3, 2, 2, 2, 2).mean(axis=(2, 4)).ravel() + last

    a, s = np.zeros((19, 19)), np.zeros((3, 3))
    for image in problem.data.x.reshape(5, 2, 4, 4):
        padded = np.pad(image, ((0, 0), (1, 1), (1, 1)))
        seen = [[*padded[:, i : i + 3, j : j + 3].ravel(), 1.0] for i in range(4) for j in range(4)]
        a += np.transpose(seen) @ seen / 5
        jacobian = np.asarray(jax.jacrev(output)(jnp.zeros((3, 4, 4)), image)).reshape(2, 3, 16)
        p = np.asarray(jax.nn.softmax(output(0.0, image)))
        s += np.einsum("kop,kl,lqp->oq", jacobian, np.diag(p) - np.outer(p, p), jacobian) / 5
    for basis, factor in ((layers[0].inputs, a), (layers[0].outputs, s)):
        rotated = np.asarray(basis).T @ factor @ np.asarray(basis)
        np.testing.assert_allclose(rotated, np.diag(np.diag(rotated)), atol=1e-13 * np.abs(factor).max())


@pytest.mark.slow
def test_where_all_pixels_are_alike_a_convolution_of_one_pixel_is_a_layer(convolutional):
    """Kernels of 1 × 1 on images of one colour, whose mean is that of any pixel: the same function of the same θ."""
    rng = np.random.default_rng(12)
    colours, labels = rng.normal(size=(6, 3)), rng.integers(0, 2, size=6).astype(float)
    models = {
        CNN((3, 2, 2), channels=(4,), widths=(2,), kernel=1): np.repeat(colours, 4, axis=1),
        MLP((3, 4, 2)): colours,
    }
    theta, vectors = rng.normal(size=26), jnp.asarray(rng.normal(size=(3, 26)))
    found = [
        solve(
            curvature_at(Problem(model, SoftmaxCrossEntropy(), Dataset(x, labels)), theta, "ggn", damping=0.3),
            vectors,
            "ekfac",
        )
        for model, x in models.items()
    ]
    # Sums in another order, and eigenvectors of a factor that is four times as large.
    np.testing.assert_allclose(found[0].solution, found[1].solution, atol=1e-12)
    np.testing.assert_allclose(found[0].residual, found[1].residual, atol=1e-12)
