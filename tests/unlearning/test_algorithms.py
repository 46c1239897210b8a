"""Unlearning algorithms: each against the loop that its docstring writes down."""

import jax
import numpy as np
import pytest

import epsflow as ef

ETA, T, K = 0.2, 30, 8
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 3))
    return ef.Dataset(x, x @ [1.0, -0.5, 0.2] + rng.normal(size=12), name="small")


@pytest.fixture(scope="module")
def linear(data):
    return ef.linear_regression(data, [2, 5], l2=0.05, reduction="mean")


@pytest.fixture(scope="module")
def logistic(data):
    labels = ef.Dataset(data.x, (data.y > 0).astype(float), name="labels")
    return ef.Problem(ef.LinearModel(3), ef.LogisticLoss(), labels, [2, 5], 0.05, "mean")


def loop(problem, weights, start):
    """Gradient descent, written down."""
    theta = start
    for eps in weights:
        theta = theta - ETA * np.asarray(problem.gradient(theta, eps))
    return theta


ALGORITHMS = {
    "D2D": (ef.DescendToDelete(steps=T, unlearning_steps=K, step_size=ETA), [1.0] * T + [0.0] * K),
    "R2D": (ef.RewindToDelete(steps=T, unlearning_steps=K, step_size=ETA), [1.0] * (T - K) + [0.0] * K),
    "ascent": (
        ef.GradientAscent(steps=T, unlearning_steps=K, step_size=ETA, weight=0.5),
        [1.0] * T + [-0.5] * K,
    ),
    "retrain": (ef.Retrain(steps=T, step_size=ETA), [0.0] * T),
    "schedule": (
        ef.ScheduledUnlearning(ef.LinearDecay(10 * ETA, 20 * ETA), steps=T, step_size=ETA),
        [1.0] * 10 + [1.0 - (k + 0.5) / 10 for k in range(10)] + [0.0] * 10,
    ),
    "weights": (ef.ScheduledUnlearning(np.linspace(1.0, 0.0, T), step_size=ETA), list(np.linspace(1.0, 0.0, T))),
}


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("kind", ["linear", "logistic"])
def test_a_descent_is_its_loop(name, kind, request):
    problem, (algorithm, weights) = request.getfixturevalue(kind), ALGORITHMS[name]
    start = np.array([0.3, -0.2, 0.1])
    run = algorithm.run(problem, start)
    # Some forty affine steps, each with a few roundings.
    np.testing.assert_allclose(run.theta, loop(problem, weights, start), rtol=0, atol=1e-14)
    np.testing.assert_allclose(run.retrained, loop(problem, [0.0] * len(weights), start), rtol=0, atol=1e-14)
    assert run.gradients == sum(1 for k in range(len(weights)) if any(w != 1.0 for w in weights[: k + 1]))


def test_long_runs_are_powers_of_the_map(linear):
    """The decomposition takes over after 16 + 4d steps; 500 steps of either agree to their roundings."""
    algorithm = ef.RewindToDelete(steps=600, unlearning_steps=500, step_size=ETA)
    start = np.array([5.0, -3.0, 2.0])
    weights = [1.0] * 100 + [0.0] * 500
    np.testing.assert_allclose(algorithm.run(linear, start).theta, loop(linear, weights, start), rtol=0, atol=1e-13)


def test_one_weight_for_each_deleted_point(linear):
    weights = np.column_stack([np.linspace(1.0, 0.0, T), np.linspace(1.0, 0.5, T)])
    run = ef.ScheduledUnlearning(weights, step_size=ETA).run(linear)
    np.testing.assert_allclose(run.theta, loop(linear, weights, np.zeros(3)), rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", ["linear", pytest.param("logistic", marks=pytest.mark.slow)])  # Newton's, compiled
def test_rewinding_without_a_checkpoint_finds_it_again(kind, request):
    problem = request.getfixturevalue(kind)
    kept, lost = (
        ef.RewindToDelete(steps=T, unlearning_steps=K, step_size=ETA, checkpoint=kept).run(problem)
        for kept in (True, False)
    )
    # Eight steps back magnify a rounding by at most (1 − ηL)^−8 < 1e3.
    np.testing.assert_allclose(lost.theta, kept.theta, rtol=0, atol=1e-12)


def test_what_cannot_be_reconstructed_says_so(linear):
    with pytest.raises(ef.ConvergenceError, match="magnifies rounding"):
        ef.RewindToDelete(steps=800, unlearning_steps=700, step_size=ETA, checkpoint=False).run(linear)
    with pytest.raises(ef.InputError, match="below 1"):
        ef.RewindToDelete(steps=20, unlearning_steps=5, step_size=1.45, checkpoint=False).run(linear)
    with pytest.raises(ef.InputError, match="mini-batch"):
        ef.RewindToDelete(checkpoint=False, batch_size=3)


def test_the_function_of_the_room_below_ends_at_the_same_point(linear):
    run = ef.RewindToDelete(steps=T, unlearning_steps=K, step_size=ETA).run(linear)
    other = ef.rewind_to_delete(linear, np.zeros(3), steps=T, K=K, step_size=ETA)
    np.testing.assert_allclose(run.theta, np.asarray(other.theta), rtol=0, atol=1e-14)
    assert run.distance == pytest.approx(float(other.distance[-1]), abs=1e-14)


@pytest.mark.parametrize("kind", ["linear", "logistic"])
def test_a_newton_step_is_exact_for_least_squares_and_quadratic_for_others(kind, request):
    problem = request.getfixturevalue(kind)
    run = ef.NewtonRemoval().run(problem)
    moved = np.linalg.norm(run.trained - run.retrained)
    assert run.distance <= (1e-14 if kind == "linear" else moved**2)
    assert run.gradients == 1
    assert run.products == problem.dim


def test_certified_removal_hides_its_residual_in_the_objective(logistic):
    run = ef.CertifiedRemoval().run(logistic, sigma=0.5, key=KEY, seeds=3)
    rng = np.random.default_rng([2, *np.asarray(jax.random.key_data(KEY)).ravel().tolist()])
    tilts = 0.5 * rng.standard_normal((3, 3)) / 12
    for k, tilt in enumerate(tilts):
        for theta, eps in ((run.trained[k], 1.0), (run.retrained[k], 0.0)):
            # Newton's method stops a square below 1e-9.
            assert np.linalg.norm(np.asarray(logistic.gradient(theta, eps)) + tilt) < 1e-12


def test_noisy_steps_have_the_variance_they_say(linear):
    """One step from one state: 2ησ² per coordinate, to four standard errors of 4,000 × 3 draws."""
    sigma, algorithm = 0.7, ef.LangevinUnlearning(steps=0, unlearning_steps=1, step_size=ETA)
    run = algorithm.run(linear, sigma=sigma, key=KEY, seeds=4_000)
    noise = run.theta - algorithm.run(linear).theta
    assert noise.var() == pytest.approx(2 * ETA * sigma**2, rel=4 * np.sqrt(2 / noise.size))


def test_a_projection_keeps_the_ball(linear):
    run = ef.LangevinUnlearning(steps=20, unlearning_steps=5, step_size=ETA, radius=0.1).run(
        linear, sigma=1.0, key=KEY, seeds=20
    )
    assert np.linalg.norm(run.theta, axis=1).max() <= 0.1 * (1 + 1e-15)


def test_batches_that_hold_every_point_are_plain_descent(logistic):
    plain, batches = (
        ef.DescendToDelete(steps=T, unlearning_steps=K, step_size=ETA, batch_size=b).run(logistic, key=KEY)
        for b in (None, 12)
    )
    np.testing.assert_allclose(batches.theta, plain.theta, rtol=0, atol=1e-14)
    assert batches.gradients == plain.gradients == K


def test_an_epoch_of_noisy_sgd_sees_every_point_once(linear):
    """With tiny steps an epoch of n/b batches moves by the full gradient times n/b, up to O(η²)."""
    algorithm = ef.NoisySGD(steps=4, unlearning_steps=0, step_size=1e-6, batch_size=3)
    moved = algorithm.run(linear, key=KEY).trained[0] / -1e-6
    np.testing.assert_allclose(moved, 4 * np.asarray(linear.gradient(np.zeros(3), 1.0)), rtol=1e-4)


def test_clipped_gradients_move_no_further_than_they_may(linear):
    algorithm = ef.ClippedFinetuning(
        steps=T, unlearning_steps=1, step_size=ETA, initial_radius=0.05, radius=0.01, clipping="gradient"
    )
    run = algorithm.run(linear)
    assert np.linalg.norm(run.theta) <= (1 - ETA * 0.05) * 0.05 + ETA * 0.01 + 1e-15
    model = ef.ClippedFinetuning(steps=T, unlearning_steps=3, radius=0.02, clipping="model").run(linear)
    assert np.linalg.norm(model.theta) <= 0.02 * (1 + 1e-15)


def test_compiled_and_numpy_steps_agree(logistic):
    """The same linear model as a function, which has no NumPy path."""
    model = ef.FunctionModel(lambda theta, x: x @ theta, np.zeros(3))
    compiled = ef.Problem(model, ef.LogisticLoss(), logistic.data, [2, 5], 0.05, "mean")
    for algorithm in (
        ef.DescendToDelete(steps=T, unlearning_steps=K, step_size=ETA, radius=0.3),
        ef.ScheduledUnlearning(np.linspace(1.0, 0.0, T), step_size=ETA),
        ef.ClippedFinetuning(steps=T, unlearning_steps=K, step_size=ETA, radius=0.01),
    ):
        ends = [algorithm.run(problem, np.zeros(3)).theta for problem in (logistic, compiled)]
        np.testing.assert_allclose(*ends, rtol=0, atol=1e-14)
    run = ef.NoisySGD(steps=T, unlearning_steps=K, step_size=ETA, batch_size=3, radius=0.4).run(
        compiled, np.zeros(3), sigma=0.5, key=KEY, seeds=4
    )
    assert run.theta.shape == (4, 3)
    assert np.linalg.norm(run.theta, axis=1).max() <= 0.4 * (1 + 1e-15)


def test_runs_with_one_key_share_their_draws(linear):
    algorithm = ef.LangevinUnlearning(steps=T, unlearning_steps=K, step_size=ETA)
    first, second = (algorithm.run(linear, sigma=0.3, key=KEY, seeds=2) for _ in range(2))
    np.testing.assert_array_equal(first.theta, second.theta)
    assert np.linalg.norm(first.theta[0] - first.theta[1]) > 0.01


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ef.RewindToDelete(steps=10, unlearning_steps=11), "T = 10"),
        (lambda: ef.DescendToDelete(step_size=0.0), "step_size is 0"),
        (lambda: ef.DescendToDelete(radius=-1.0), "radius is -1"),
        (lambda: ef.GradientAscent(weight=0.0), "weight is 0"),
        (lambda: ef.ScheduledUnlearning(np.zeros((2, 2, 2))), r"\(T, m\)"),
        (lambda: ef.ScheduledUnlearning(np.ones(5), steps=6), "leave one of them out"),
        (lambda: ef.ScheduledUnlearning(ef.Step(1.0), clock="hours"), "clock"),
        (lambda: ef.ClippedFinetuning(clipping="both"), "clipping"),
        (lambda: ef.LangevinUnlearning(batch_size=2), "NoisySGD"),
    ],
)
def test_bad_values_are_refused_where_they_are_made(make, words):
    with pytest.raises(ef.InputError, match=words):
        make()


def test_bad_runs_are_refused(linear, data):
    nothing = ef.linear_regression(data)
    with pytest.raises(ef.InputError, match="deletes no point"):
        ef.DescendToDelete().run(nothing)
    with pytest.raises(ef.InputError, match="key=jax"):
        ef.DescendToDelete().run(linear, sigma=1.0)
    with pytest.raises(ef.InputError, match="12 points"):
        ef.DescendToDelete(batch_size=13).run(linear, key=KEY)
    with pytest.raises(ef.InputError, match=r"above its limit 2/smoothness = 1\.49268"):
        ef.DescendToDelete(step_size=1.5).run(linear)
    with pytest.raises(ef.ConvergenceError, match="smaller step_size"):
        ef.DescendToDelete(step_size=1e3, batch_size=3).run(linear, key=KEY)
