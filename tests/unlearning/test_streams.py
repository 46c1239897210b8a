"""Streams: composition of Gaussian releases, distances of every request, Langevin's recursion."""

import math

import numpy as np
import pytest

import epsflow as ef

TARGET = {"epsilon_dp": 1.0, "delta_dp": 1e-5}
ETA = 0.2
CONSTANTS = {"n": 11982, "strong_convexity": 1e-6, "smoothness": 0.261982, "lipschitz": 1.0, "delta": 1 / 11982}


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(15, 3))
    labels = (x[:, 0] + rng.normal(size=15) > 0).astype(float)
    return ef.Problem(ef.LinearModel(3), ef.LogisticLoss(), ef.Dataset(x, labels), None, 0.1, "mean")


def loop(problem, weights):
    theta = np.zeros(3)
    for row in weights:
        theta = theta - ETA * np.asarray(problem.gradient(theta, row))
    return theta


@pytest.mark.parametrize("kind", [ef.DescendToDelete, ef.RewindToDelete])
def test_every_request_is_its_loop_and_the_releases_compose(problem, kind):
    requests, steps, back = [[3], [8, 9], [1]], 20, 4
    found = ef.certify_stream(
        problem, kind(steps=steps, unlearning_steps=back, step_size=ETA), requests=requests, **TARGET
    )
    whole = ef.Problem(problem.model, problem.loss, problem.data, [3, 8, 9, 1], 0.1, "mean")
    path, distances = [np.ones(4)] * steps, []
    for count in (1, 3, 4):
        left = (np.arange(4) >= count).astype(float)
        path = [*path, *[left] * back] if kind is ef.DescendToDelete else [np.ones(4)] * 16 + [left] * 4
        distances.append(np.linalg.norm(loop(whole, path) - loop(whole, [left] * len(path))))
    np.testing.assert_allclose(found.distances, distances, rtol=0, atol=1e-14)
    together = math.sqrt(sum(distance**2 for distance in distances)) / found.sigma
    assert ef.gaussian_delta(1.0, together) == pytest.approx(1e-5, rel=1e-9)
    worst = ef.certify_stream(
        problem,
        kind(steps=steps, unlearning_steps=back, step_size=ETA),
        requests=requests,
        scope="worst case",
        **TARGET,
    )
    assert (worst.bounds >= worst.distances).all()
    assert worst.sigma > found.sigma


def test_one_request_is_the_certificate(problem):
    algorithm = ef.DescendToDelete(steps=20, unlearning_steps=4, step_size=ETA)
    one = ef.Problem(problem.model, problem.loss, problem.data, [3, 4], 0.1, "mean")
    for scope in ("per instance", "worst case"):
        alone = ef.certify_unlearning(one, algorithm, scope=scope, **TARGET)
        stream = ef.certify_stream(problem, algorithm, requests=[[3, 4]], scope=scope, **TARGET)
        assert (stream.sigma, stream.bounds[0]) == pytest.approx((alone.sigma, alone.bound), rel=1e-12)
    noisy = ef.LangevinUnlearning(steps=20, unlearning_steps=4, radius=1.0)
    alone = ef.certify_unlearning(one, noisy, scope="worst case", **TARGET)
    stream = ef.certify_stream(problem, noisy, requests=[[3, 4]], scope="worst case", **TARGET)
    # A grid of orders, refined, against an exact minimum.
    assert stream.sigma == pytest.approx(alone.sigma, rel=1e-6)


def test_langevins_recursion_by_hand():
    """Three requests at one order, then the best of many orders."""
    mean, sigma = 4.0 / (1e-6 * 0.02**2 * 11982**2), 0.02
    rate = 1e-6 / 0.261982

    def rdp(alpha, steps):
        *before, last = steps
        shrink = math.exp(-last * rate / alpha)
        if not before:
            return shrink * mean * alpha
        return shrink * (alpha - 0.5) / (alpha - 1) * (2 * mean * alpha + rdp(2 * alpha, before))

    steps = [5, 50, 500]
    orders = 1 + np.geomspace(1e-3, 1e5, 20_000)
    by_hand = min(rdp(alpha, steps) + math.log(11982) / (alpha - 1) for alpha in orders)
    found = ef.langevin_stream_epsilon(steps=steps, sigma=sigma, **CONSTANTS)
    assert found == pytest.approx(by_hand, rel=1e-6)
    assert found <= by_hand
    first = ef.langevin_stream_epsilon(steps=[5], sigma=sigma, **CONSTANTS)
    assert first == pytest.approx(ef.langevin_epsilon(steps=5, sigma=sigma, **CONSTANTS), rel=1e-7)


def test_langevins_noise_serves_every_request():
    steps = [100, 1, 100]
    sigma = ef.langevin_stream_sigma(steps=steps, epsilon=1.0, **CONSTANTS)
    each = [ef.langevin_stream_epsilon(steps=steps[:k], sigma=sigma, **CONSTANTS) for k in (1, 2, 3)]
    assert max(each) == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"requests": []}, "requests is empty"),
        ({"requests": [[1], [1]]}, "lists point 1 twice"),
        ({"requests": [[15]]}, "contains 15"),
        ({"scope": "per data set"}, "unknown scope"),
        ({"algorithm": ef.NewtonRemoval()}, "this is Newton"),
        ({"algorithm": ef.DescendToDelete(batch_size=3)}, "with mini-batches"),
        ({"algorithm": ef.LangevinUnlearning()}, "take 'worst case'"),
        ({"delta_dp": 2.0}, "delta_dp is 2"),
    ],
)
def test_bad_streams_are_refused(problem, change, words):
    arguments = {"algorithm": ef.DescendToDelete(), "requests": [[1]], **TARGET, **change}
    with pytest.raises(ef.InputError, match=words):
        ef.certify_stream(problem, arguments.pop("algorithm"), **arguments)
