"""The convolutional network: beside loops and SciPy's correlation, its derivatives beside differences of those."""

import jax
import numpy as np
import optax
import pytest
from scipy.signal import correlate

import epsflow as ef

SMALL = ef.CNN((2, 4, 4), channels=(2,), widths=(3,))
DEEP = ef.CNN((8, 8), channels=(3, 2), widths=(5, 4), activation="softplus")
STEP = 6e-6  # (machine epsilon)^(1/3): truncation and rounding of a central difference are about 1e-10 here
DIFFERENCES = 1e-8


def by_hand(model, theta, x):
    """The docstring's formula in NumPy: SciPy correlates, sums over squares are written out, and θ is cut by hand."""
    sigma = {"tanh": np.tanh, "softplus": lambda z: np.logaddexp(z, 0.0)}[model.activation]
    theta = list(theta)

    def take(*shape):
        values = [theta.pop(0) for _ in range(int(np.prod(shape)))]
        return np.array(values).reshape(shape)

    image = np.asarray(x).reshape(model.image)
    for channels in model.channels:
        kernels, bias = take(channels, len(image), model.kernel, model.kernel), take(channels)
        seen = np.array(
            [
                bias[o]
                + sum(correlate(image[c], kernels[o, c], mode="same", method="direct") for c in range(len(image)))
                for o in range(channels)
            ]
        )
        seen = sigma(seen)
        image = 0.25 * (seen[:, ::2, ::2] + seen[:, 1::2, ::2] + seen[:, ::2, 1::2] + seen[:, 1::2, 1::2])
    values = image.ravel()
    for number, width in enumerate(model.widths, 1):
        weight, bias = take(width, len(values)), take(width)
        values = weight @ values + bias
        values = sigma(values) if number < len(model.widths) else values
    assert not theta
    return values if len(values) > 1 else values[0]


@pytest.mark.parametrize("model", [SMALL, DEEP, ef.CNN((2, 6), (1,), (1,), kernel=5)], ids=["small", "deep", "scalar"])
def test_its_output_is_the_formula(model, rng):
    theta, x = rng.standard_normal(model.dim), rng.standard_normal(int(np.prod(model.image)))
    # Sums of less than a hundred terms of order one.
    np.testing.assert_allclose(model(theta, x), by_hand(model, theta, x), rtol=0, atol=1e-12)


def test_a_first_pixel_that_moves_is_seen_where_it_is():
    kernels = np.zeros(9)
    kernels[4] = 1.0  # the middle: the image itself
    model = ef.CNN((4, 4), (1,), (4,), activation="identity")
    theta = np.concatenate([kernels, [0.0], np.eye(4).ravel(), np.zeros(4)])
    np.testing.assert_array_equal(model(theta, np.arange(16.0)), [2.5, 4.5, 10.5, 12.5])


def test_the_start_is_the_key_s(key):
    model = ef.CNN((2, 2), (100,), (1,))
    theta = np.asarray(model.init(key))
    np.testing.assert_array_equal(theta, model.init(jax.random.key(0)))
    assert (theta != np.asarray(model.init(jax.random.key(1)))).sum() == 100 * 9 + 100  # all but the biases
    # Variance 1/fan_in: of 100 kernels of 9 entries, five deviations of the estimate's own spread.
    assert abs(9.0 * theta[:900].var() - 1.0) < 5.0 * np.sqrt(2.0 / 900)


@pytest.fixture(scope="module")
def digits():
    data = ef.load_dataset("digits").subsample(12, seed=0)
    model = ef.CNN((8, 8), channels=(1,), widths=(10,))
    return ef.Problem(model, ef.SoftmaxCrossEntropy(), data, [3, 5], 0.1, "mean")


@pytest.fixture(scope="module")
def theta(digits):
    return np.asarray(digits.model.init(jax.random.key(0)))


def cross_entropy(problem, theta, i):
    logits = by_hand(problem.model, theta, problem.data.x[i])
    return np.log(np.exp(logits).sum()) - logits[int(problem.data.y[i])]


def test_gradients_of_points_are_differences_of_the_loss_by_hand(digits, theta, rng):
    every = np.asarray(digits.point_gradients(theta, np.arange(12)))
    for i, v in enumerate(rng.standard_normal((12, theta.size))):
        ends = [cross_entropy(digits, theta + sign * STEP * v, i) for sign in (1, -1)]
        np.testing.assert_allclose(every[i] @ v, (ends[0] - ends[1]) / (2 * STEP * 12), atol=DIFFERENCES)
    weights = np.ones(12)
    weights[[3, 5]] = 0.3
    np.testing.assert_allclose(digits.gradient(theta, 0.3), weights @ every + 0.1 * theta, rtol=1e-12, atol=1e-14)


def test_the_gauss_newton_product_is_that_of_differences_of_the_output_by_hand(digits, theta, rng):
    v, u = rng.standard_normal((2, theta.size))
    total = 0.1 * (u @ v)
    for i, x in enumerate(digits.data.x):
        along = [
            (by_hand(digits.model, theta + STEP * d, x) - by_hand(digits.model, theta - STEP * d, x)) / (2 * STEP)
            for d in (u, v)
        ]
        p = np.exp(by_hand(digits.model, theta, x))
        p /= p.sum()
        weight = 0.3 if i in (3, 5) else 1.0
        total += weight / 12 * (along[0] @ (p * along[1]) - (p @ along[0]) * (p @ along[1]))
    np.testing.assert_allclose(u @ np.asarray(digits.ggn_product(theta, v, 0.3)), total, atol=1e2 * DIFFERENCES)


def test_it_is_trained(digits, theta):
    run = ef.train_with(digits, ef.Constant(0.0), theta, optimiser=optax.sgd(0.2), steps=3)
    by_steps = theta
    for _ in range(3):
        by_steps = by_steps - 0.2 * np.asarray(digits.gradient(by_steps, 0.0))
    np.testing.assert_allclose(run.theta, by_steps, rtol=1e-12, atol=1e-14)


def test_its_biases_may_go_unpenalised():
    data = ef.Dataset(np.eye(3, 32), np.arange(3))
    problem = ef.Problem(SMALL, ef.SoftmaxCrossEntropy(), data, l2=2.0, penalise_intercept=False)
    # 2·2·3·3 entries of kernels, 2 biases; 8 pixels to 3 classes, 3 biases.
    np.testing.assert_array_equal(problem.penalty, np.repeat([2.0, 0.0, 2.0, 0.0], [36, 2, 24, 3]))


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: ef.CNN((7, 8), (4,), (10,)), "convolution 1 of 1 sees 7×8 pixels"),
        (lambda: ef.CNN((4, 4), (1, 1, 1), (10,)), "convolution 3 of 3 sees 1×1 pixels"),
        (lambda: ef.CNN((8, 8), (4,), (10,), kernel=2), "an odd number"),
        (lambda: ef.CNN((8,), (4,), (10,)), r"give \(height, width\)"),
        (lambda: ef.CNN((8, 8, 8, 8), (4,), (10,)), r"\(channels, height, width\)"),
        (lambda: ef.CNN((8, 8), (), (10,)), "channels of each convolution"),
        (lambda: ef.CNN((8, 8), (0,), (10,)), "all positive"),
        (lambda: ef.CNN((8, 8), (4,), 10), r"CNN widths 10: give \(hidden…, outputs\)"),
        (lambda: ef.CNN((8, 8), (4,), (10,), activation="step"), "unknown activation"),
        (
            lambda: ef.Problem(SMALL, ef.SoftmaxCrossEntropy(), ef.Dataset(np.ones((3, 31)), np.arange(3))),
            r"images of 2×4×4 cannot read a point of shape \(31,\)",
        ),
    ],
)
def test_what_is_no_network_is_refused(made, words):
    with pytest.raises(ef.InputError, match=words):
        made()
