"""Certificates: exact distances against loops, bounds above every run, and what cannot be certified refused."""

import itertools

import jax
import jaxtyping
import numpy as np
import pytest

import epsflow as ef
from epsflow.unlearning._bounds import descent_bound
from epsflow.unlearning.algorithms._base import Plan

TARGET = {"epsilon_dp": 1.0, "delta_dp": 1e-5}
KEY = jax.random.key(3)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(9, 3))
    return ef.Dataset(x, x @ [1.0, -0.5, 0.2] + rng.normal(size=9), name="small")


@pytest.fixture(scope="module")
def linear(data):
    return ef.linear_regression(data, [4], l2=0.1, reduction="mean")


@pytest.fixture(scope="module")
def labels(data):
    return ef.Dataset(data.x, (data.y > 0).astype(float), name="labels")


@pytest.fixture(scope="module")
def logistic(labels):
    return ef.Problem(ef.LinearModel(3), ef.LogisticLoss(), labels, [4], 0.1, "mean")


@pytest.fixture
def untyped():
    """Annotations are checked by the other tests; many runs would spend their time on them."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize("kind", ["linear", "logistic"])
@pytest.mark.parametrize(
    "algorithm", [ef.DescendToDelete(steps=20, unlearning_steps=5), ef.RewindToDelete(steps=20, unlearning_steps=5)]
)
def test_per_instance_is_the_distance_by_the_exact_curve(kind, algorithm, request):
    problem = request.getfixturevalue(kind)
    found = ef.certify_unlearning(problem, algorithm, **TARGET)
    assert found.kind == "certified"
    assert found.distance == found.bound == algorithm.run(problem).distance
    assert ef.gaussian_delta(1.0, found.distance / found.sigma) == pytest.approx(1e-5, rel=1e-9)
    assert found.delta_at(1.0) == pytest.approx(1e-5, rel=1e-9)
    assert found.trade_off(0.1) > 0.5  # noise for (1, 1e-5) hides well


@pytest.mark.parametrize("kind", ["linear", "logistic"])
@pytest.mark.parametrize(
    "algorithm",
    [
        ef.DescendToDelete(steps=40, unlearning_steps=5),
        ef.RewindToDelete(steps=20, unlearning_steps=5, radius=0.4),
        ef.ScheduledUnlearning(np.linspace(1.0, 0.0, 15)),
        ef.NewtonRemoval(),
        ef.CertifiedRemoval(),
    ],
    ids=lambda algorithm: algorithm.name,
)
@pytest.mark.usefixtures("untyped")
@pytest.mark.parametrize("size", [1, 2])
def test_per_data_set_is_every_instance(kind, algorithm, size, request):
    problem = request.getfixturevalue(kind)
    remade = ef.Problem(problem.model, problem.loss, problem.data, list(range(size)), problem.l2, "mean")
    found = ef.certify_unlearning(remade, algorithm, scope="per data set", **TARGET)
    each = []
    for points in itertools.combinations(range(9), size):
        one = ef.Problem(problem.model, problem.loss, problem.data, list(points), problem.l2, "mean")
        each.append(ef.certify_unlearning(one, algorithm, **TARGET).distance)
    # Roundings of decompositions and of Newton's method, in parameters of size one and gradients of size n.
    np.testing.assert_allclose(found.distances, each, rtol=1e-7, atol=2e-9)
    assert found.bound == max(found.distances)
    assert found.distance == found.distances[0]
    rows = found.summary().rows
    assert rows[0]["distance"] == found.bound


def test_a_network_is_certified_per_instance_and_per_data_set(labels):
    model = ef.FunctionModel(lambda theta, x: theta[:3] @ x + theta[3] * theta[0] * x[1], np.zeros(4))
    problem = ef.Problem(model, ef.LogisticLoss(), labels, [4], 0.1, "mean")
    start = np.array([0.1, -0.2, 0.3, 0.5])
    algorithm = ef.RewindToDelete(steps=12, unlearning_steps=4, step_size=0.2)
    one = ef.certify_unlearning(problem, algorithm, start, **TARGET)
    every = ef.certify_unlearning(problem, algorithm, start, scope="per data set", **TARGET)
    assert every.distances[4] == pytest.approx(one.distance, rel=1e-12)
    worst = ef.certify_unlearning(problem, algorithm, start, scope="worst case", **TARGET)
    assert worst.kind == "estimated"
    assert one.distance < worst.bound
    with pytest.raises(ef.InputError, match="needs a convex risk"):
        ef.certify_unlearning(problem, ef.DescendToDelete(), start, scope="worst case", **TARGET)
    near = ef.certify_unlearning(problem, ef.NewtonRemoval(damping=0.1), start, **TARGET)
    assert near.kind == "heuristic"


def test_the_bound_of_rewinding_is_its_geometric_series():
    """ηcmG ∑_{j=K}^{T−1} q^j."""
    plan = Plan(np.concatenate([np.ones(7), np.zeros(3)]), 7, 10)
    by_hand = 0.1 * 2.0 * sum(0.9**j for j in range(3, 10))
    assert descent_bound(plan, 0.1, 2.0, 0.9) == pytest.approx(by_hand, rel=1e-14)


def test_the_bound_is_attained():
    """One coordinate, slope G throughout: pseudo-Huber far from its target, where its curvature vanishes."""
    data = ef.Dataset(np.ones((4, 1)), np.array([1e6, 1e6, 1e6, -1e6]))
    problem = ef.Problem(ef.LinearModel(1), ef.PseudoHuberLoss(1.0), data, [3], 0.1, "mean")
    found = ef.certify_unlearning(
        problem, ef.RewindToDelete(steps=30, unlearning_steps=5, step_size=0.5), scope="worst case", **TARGET
    )
    assert found.tightness == pytest.approx(1.0, rel=1e-9)


def random_run(rng):
    """A random problem, algorithm and start."""
    n, d = int(rng.integers(4, 12)), int(rng.integers(1, 4))
    x, m = rng.normal(size=(n, d)) * rng.choice([0.3, 1.0, 3.0]), int(rng.integers(1, 3))
    l2, radius = float(rng.choice([0.0, 0.01, 0.3])), float(rng.choice([0.1, 1.0, 5.0]))
    loss = (ef.SquaredLoss(), ef.LogisticLoss(), ef.PseudoHuberLoss(0.5))[rng.integers(3)]
    y = (rng.random(n) < 0.5).astype(float) if isinstance(loss, ef.LogisticLoss) else rng.normal(size=n) * 3
    reduction = str(rng.choice(["sum", "mean"]))
    problem = ef.Problem(ef.LinearModel(d), loss, ef.Dataset(x, y), list(range(m)), l2, reduction)
    limit = 2.0 / ef.risk_constants(problem, 1.0).smoothness
    steps, back = int(rng.integers(1, 40)), int(rng.integers(0, 30))
    common = {"step_size": limit * rng.uniform(0.01, 1.0), "radius": radius}
    kind = rng.integers(5)
    if kind == 0:
        algorithm = ef.DescendToDelete(steps=steps, unlearning_steps=back, **common)
    elif kind == 1:
        algorithm = ef.RewindToDelete(steps=steps, unlearning_steps=min(back, steps), **common)
    elif kind == 2:
        algorithm = ef.GradientAscent(steps=steps, unlearning_steps=back, weight=rng.uniform(0.1, 3.0), **common)
    elif kind == 3:
        algorithm = ef.ScheduledUnlearning(rng.uniform(-1.0, 2.0, size=steps), **common)
    else:
        l2 = max(l2, 0.01)
        problem = ef.Problem(ef.LinearModel(d), loss, problem.data, list(range(m)), l2, reduction)
        algorithm = ef.NewtonRemoval()
    start = rng.normal(size=d)
    return problem, algorithm, start * min(1.0, radius / np.linalg.norm(start))


def worst_of(count, seed):
    """The largest tightness of random runs; a distance above a certified bound raises.

    Bounds of the size of a rounding, of Newton steps that are exact or of tiny steps, are not compared.
    """
    rng, largest = np.random.default_rng(seed), 0.0
    for _ in range(count):
        found = ef.certify_unlearning(*random_run(rng), scope="worst case", **TARGET)
        assert found.kind == "certified"
        if found.bound > 1e-6:
            largest = max(largest, found.tightness)
    return largest


@pytest.mark.usefixtures("untyped")
def test_no_distance_is_above_a_bound_called_certified():
    assert 0.5 < worst_of(120, 0) <= 1.0 + 1e-9


@pytest.mark.slow
@pytest.mark.usefixtures("untyped")
def test_no_distance_is_above_a_bound_called_certified_in_ten_thousand_runs():
    assert 0.9 < worst_of(10_000, 1) <= 1.0 + 1e-9


def test_theorems_stand_beside_what_is_proved_here(logistic):
    constants = ef.risk_constants(logistic)
    mu, smooth, radius = 0.1, constants.smoothness, 2.0
    algorithm = ef.DescendToDelete(steps=200, unlearning_steps=5, step_size=2 / (smooth + mu), radius=radius)
    found = ef.certify_unlearning(logistic, algorithm, scope="worst case", **TARGET)
    theirs = ef.d2d_sigma(
        n=9,
        strong_convexity=mu,
        smoothness=smooth,
        lipschitz=constants.lipschitz + mu * radius,
        steps=5,
        epsilon=1.0,
        delta=1e-5,
    )
    assert found.theorem_sigma == theirs > found.sigma
    rewound = ef.RewindToDelete(steps=30, unlearning_steps=10, step_size=0.4 / smooth, radius=radius)
    found = ef.certify_unlearning(logistic, rewound, scope="worst case", **TARGET)
    assert found.theorem_sigma > found.sigma
    assert "Theorem 3.1" in found.theorem
    newton = ef.certify_unlearning(logistic, ef.NewtonRemoval(), scope="worst case", **TARGET)
    assert newton.theorem_sigma > newton.sigma
    default = ef.certify_unlearning(logistic, ef.DescendToDelete(), scope="worst case", **TARGET)
    assert np.isnan(default.theorem_sigma)
    assert "2/(smoothness + strong_convexity)" in default.theorem


def test_constants_bound_what_they_say(labels, rng):
    """Gradients, Hessians and their differences at random parameters on the ball."""
    for loss, y in (
        (ef.LogisticLoss(), labels.y),
        (ef.SquaredLoss(), labels.y * 3),
        (ef.PseudoHuberLoss(0.7), labels.y),
    ):
        problem = ef.Problem(ef.LinearModel(3), loss, ef.Dataset(labels.x, y), [4], 0.1, "mean")
        constants = ef.risk_constants(problem, 1.5)
        for _ in range(30):
            theta, other = (v / np.linalg.norm(v) * 1.5 for v in rng.normal(size=(2, 3)))
            each = np.asarray(problem.point_gradients(theta, np.arange(9))) * 9
            assert np.linalg.norm(each, axis=1).max() <= constants.lipschitz
            hessian, another = np.asarray(problem.hessian(theta, 1.0)), np.asarray(problem.hessian(other, 1.0))
            values = np.linalg.eigvalsh(hessian)
            assert constants.strong_convexity <= values[0] + 1e-12
            assert values[-1] <= constants.smoothness
            change = np.abs(np.linalg.eigvalsh(hessian - another)).max()
            assert change <= constants.hessian_lipschitz * np.linalg.norm(theta - other) + 1e-14


def test_noisy_algorithms_take_the_standing_formulas(linear):
    constants = ef.risk_constants(linear, 1.0)
    langevin = ef.certify_unlearning(
        linear, ef.LangevinUnlearning(unlearning_steps=7, radius=1.0), scope="worst case", **TARGET
    )
    common = {"n": 9, "strong_convexity": 0.1, "lipschitz": constants.lipschitz}
    assert langevin.sigma == pytest.approx(
        ef.langevin_sigma(smoothness=constants.smoothness, steps=7, epsilon=1.0, delta=1e-5, **common), rel=1e-12
    )
    sgd = ef.certify_unlearning(
        linear, ef.NoisySGD(unlearning_steps=6, batch_size=3, radius=1.0), scope="worst case", **TARGET
    )
    back = ef.noisy_sgd_epsilon(
        batch=3,
        smoothness=constants.point_smoothness,
        step_size=sgd.step_size,
        epochs=2,
        sigma=sgd.sigma,
        delta=1e-5,
        **common,
    )
    assert back == pytest.approx(1.0, rel=1e-9)
    clipped = ef.certify_unlearning(
        linear, ef.ClippedFinetuning(unlearning_steps=6, step_size=0.1), scope="worst case", **TARGET
    )
    assert clipped.constants is None
    assert clipped.kind == "certified"
    assert clipped.distance < clipped.bound


def test_the_units_of_the_risk_do_not_matter(data):
    """sum = n·mean: with λ and 1/η n times as large every certificate is the same."""
    for make in (
        lambda eta: ef.DescendToDelete(steps=30, unlearning_steps=5, radius=1.0, step_size=eta),
        lambda eta: ef.LangevinUnlearning(steps=30, unlearning_steps=5, radius=1.0, step_size=eta),
        lambda eta: ef.NoisySGD(steps=30, unlearning_steps=6, radius=1.0, batch_size=3, step_size=eta),
    ):
        found = [
            ef.certify_unlearning(
                ef.linear_regression(data, [4], l2=l2, reduction=reduction), make(eta), scope="worst case", **TARGET
            )
            for reduction, l2, eta in (("mean", 0.1, 0.05), ("sum", 0.9, 0.05 / 9))
        ]
        scale = 1.0 if found[0].noise == "output" else 3.0  # √(2ησ²): the noise of a step is the same
        assert found[1].sigma == pytest.approx(scale * found[0].sigma, rel=1e-9)
        assert found[1].bound == pytest.approx(found[0].bound, rel=1e-9)


def test_random_batches_are_certified_by_their_law(linear):
    algorithm = ef.RewindToDelete(steps=40, unlearning_steps=15, batch_size=3, radius=1.0)
    sampled = ef.certify_unlearning(linear, algorithm, key=KEY, seeds=50, **TARGET)
    assert sampled.kind == "estimated"
    proved = ef.certify_unlearning(linear, algorithm, scope="worst case", key=KEY, seeds=50, **TARGET)
    assert proved.kind == "certified"
    assert 0.0 < sampled.sigma < proved.sigma


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"delta_dp": 0.0}, r"delta_dp is 0"),
        ({"delta_dp": 1.0}, r"inside \(0, 1\)"),
        ({"epsilon_dp": 0.0}, r"epsilon_dp is 0"),
        ({"scope": "always"}, "per data set"),
        ({"algorithm": ef.DescendToDelete(), "scope": "worst case"}, "give the algorithm radius"),
        (
            {"algorithm": ef.DescendToDelete(step_size=50.0, steps=2, radius=1.0), "scope": "worst case"},
            "limit 2/smoothness",
        ),
        ({"algorithm": ef.RewindToDelete(step_size=50.0)}, "limit 2/smoothness"),
        ({"algorithm": ef.LangevinUnlearning(step_size=0.9, radius=1.0), "scope": "worst case"}, "limit 1/smoothness"),
        ({"algorithm": ef.LangevinUnlearning()}, "laws of two noisy paths"),
        ({"algorithm": ef.NoisySGD(batch_size=2, radius=1.0), "scope": "worst case"}, "whole epochs"),
        ({"algorithm": ef.DescendToDelete(batch_size=2), "scope": "per data set"}, "every draw"),
        ({"algorithm": ef.RewindToDelete(checkpoint=False), "scope": "per data set"}, "checkpoint=True"),
    ],
)
def test_what_cannot_be_certified_is_refused(linear, change, words):
    arguments = {"algorithm": ef.RewindToDelete(radius=1.0), **TARGET, "scope": "per instance", "key": KEY, **change}
    with pytest.raises(ef.InputError, match=words):
        ef.certify_unlearning(linear, arguments.pop("algorithm"), **arguments)


def test_scopes_that_cannot_be_computed_say_what_they_would_take(rng, monkeypatch):
    data = ef.Dataset(rng.normal(size=(60, 2)), rng.normal(size=60))
    with pytest.raises(ef.InputError, match=r"all 5.46e\+06 sets of 5 of the 60 points"):
        ef.certify_unlearning(
            ef.linear_regression(data, [0, 1, 2, 3, 4], l2=0.1), ef.DescendToDelete(), scope="per data set", **TARGET
        )
    monkeypatch.setattr("epsflow.unlearning._distances.MOST_WORK", 1e6)
    labels = ef.Dataset(data.x, (data.y > 0).astype(float))
    problem = ef.Problem(ef.LinearModel(2), ef.LogisticLoss(), labels, [0], 0.1, "mean")
    with pytest.raises(ef.InputError, match="multiplications"):
        ef.certify_unlearning(problem, ef.DescendToDelete(), scope="per data set", **TARGET)
    with pytest.raises(ef.InputError, match="l2 > 0"):
        ef.certify_unlearning(
            ef.linear_regression(data, [0]), ef.LangevinUnlearning(radius=1.0), scope="worst case", **TARGET
        )
