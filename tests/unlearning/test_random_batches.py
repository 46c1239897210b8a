"""Random distances: against enumeration of all batches, against sums by hand, and against each other."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.stats import hypergeom

import epsflow as ef
from epsflow import DistanceLaw, InputError, batch_law, mean_delta, mixture_delta, second_moment_delta
from epsflow.unlearning._random_batches import _tangent_point

SMALL = {"n": 6, "deleted": 1, "batch": 2, "steps": 4, "lipschitz": 1.0, "step_size": 0.3}
LONG = {"n": 1000, "deleted": 1, "batch": 32, "steps": 2000, "lipschitz": 1.0, "step_size": 1.0}


def ends(points: np.ndarray, batches: list[list[tuple[int, ...]]], eta: float) -> np.ndarray:
    """θ after SGD on ½(θ − a)² from 0, for every sequence of batches."""
    theta = np.zeros(1)
    for choices in batches:
        means = np.array([points[list(batch)].mean() for batch in choices])
        theta = ((1 - eta) * theta[:, None] + eta * means).ravel()
    return theta


def hockey_stick(first: np.ndarray, second: np.ndarray, epsilon: float, sigma: float) -> float:
    """∫ (p − e^ε q)₊ of two mixtures of N(θ, σ²), by quadrature."""
    x = np.linspace(min(first.min(), second.min()) - 8 * sigma, max(first.max(), second.max()) + 8 * sigma, 401)

    def density(means: np.ndarray) -> np.ndarray:
        values, counts = np.unique(means.round(12), return_counts=True)
        kernel = np.exp(-((x[:, None] - values) ** 2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi))
        return kernel @ counts / counts.sum()

    return float(np.trapezoid(np.maximum(density(first) - math.exp(epsilon) * density(second), 0), x))


@pytest.mark.parametrize("back", [0, 1, 2])
def test_all_batches_of_a_tiny_problem_stay_below_the_certificates(back: int):
    """n = 6, b = 2, 4 steps, the last `back` of them without point 0; gradients at most 1, since a lies in [0, 1]."""
    points, eta = np.array([1.0, 0.0, 0.1, 0.2, 0.0, 0.1]), 0.3
    whole = list(itertools.combinations(range(6), 2))
    kept = list(itertools.combinations(range(1, 6), 2))
    unlearned = ends(points, [whole] * (4 - back) + [kept] * back, eta)
    retrained = ends(points, [kept] * 4, eta)
    law = batch_law(**SMALL, contraction=1 - eta, unlearning_steps=back)
    for sigma in (0.1, 0.3):
        for epsilon in (0.1, 0.5):
            exact = max(
                hockey_stick(unlearned, retrained, epsilon, sigma), hockey_stick(retrained, unlearned, epsilon, sigma)
            )
            mixture = mixture_delta(law, epsilon, sigma)
            assert 0 < exact <= mixture
            assert mixture <= mean_delta(law.mean, epsilon, sigma)
            assert mixture <= second_moment_delta(law.second_moment, epsilon, sigma)
            # Of the right size: the bound takes gradients as opposite, which costs a factor of 2 in the distance.
            worst = mixture_delta(
                batch_law(**{**SMALL, "lipschitz": 0.2}, contraction=0.7, unlearning_steps=back), epsilon, sigma
            )
            assert worst < exact


@pytest.mark.parametrize(("contraction", "back"), [(0.7, 0), (0.7, 2), (1.0, 0), (1.2, 1)])
def test_the_law_of_a_few_steps_is_that_of_all_outcomes_rounded_up(contraction: float, back: int):
    counts = range(3)
    pmf = hypergeom(9, 2, 3).pmf(counts)
    constants = {"n": 9, "deleted": 2, "batch": 3, "steps": 5, "lipschitz": 2.0, "step_size": 0.1}
    law = batch_law(**constants, contraction=contraction, unlearning_steps=back)
    outcomes = list(itertools.product(counts, repeat=5 - back))
    weights = contraction ** np.arange(4, back - 1, -1)
    distances = 2 * 0.1 * 2.0 / 3 * np.array(outcomes) @ weights
    probabilities = np.prod(pmf[np.array(outcomes)], axis=1)
    for x in np.linspace(0.01, distances.max(), 50):
        below = probabilities[distances < x - 1e-12].sum()
        assert law.probabilities[law.distances < x - 1e-12].sum() <= below + 1e-12
    # Three doublings round up by at most one of 8192 bins each, a few per mille of the largest distance.
    assert distances @ probabilities <= law.mean + 1e-12
    assert law.mean <= distances @ probabilities + 5e-4 * distances.max()
    assert law.distances.max() == pytest.approx(distances.max(), rel=1e-12)


def test_the_published_sizes_of_the_certificates():
    law = batch_law(**LONG)
    assert law.mean == pytest.approx(2 * 64 / 32, rel=1e-12)  # 64 hits of 2ηG/b
    assert mixture_delta(law, 1.0, 4.085 * law.mean) < 1e-5 < mixture_delta(law, 1.0, 4.075 * law.mean)
    assert mean_delta(1.0, 1.0, 26_729.5) < 1e-5 < mean_delta(1.0, 1.0, 26_728.5)
    assert [round(_tangent_point(epsilon, 1), 2) for epsilon in (0.5, 1.0, 2.0)] == [2.01, 2.57, 3.30]


def test_a_long_contracting_law_has_the_mean_of_the_geometric_series():
    law = batch_law(**{**LONG, "deleted": 30}, contraction=0.999)
    mean = 2 / 32 * 0.96 * (1 - 0.999**2000) / 0.001
    # Eleven doublings round up by half a bin, of which the reach holds 8192, a few times the mean: about 1 %.
    assert mean <= law.mean <= 1.02 * mean
    finer = batch_law(**{**LONG, "deleted": 30}, contraction=0.999, bins=1024)
    assert law.mean < finer.mean  # fewer bins, a looser bound
    assert law.probabilities.sum() == pytest.approx(1, abs=1e-10)


def test_poisson_batches_leave_points_out_and_one_step_is_binomial():
    law = batch_law(**{**SMALL, "deleted": 2, "steps": 1}, sampling="poisson")
    np.testing.assert_allclose(law.probabilities[:3], [4 / 9, 4 / 9, 1 / 9], rtol=1e-13)
    np.testing.assert_allclose(law.distances[:3], [0, 0.15, 0.3], rtol=1e-13)


def test_shuffled_epochs_have_the_worst_of_all_orders():
    constants = {"n": 6, "deleted": 3, "batch": 2, "steps": 7, "lipschitz": 1.0, "step_size": 1.0}
    for contraction, back in ((0.8, 0), (0.8, 1), (1.3, 0), (1.0, 3)):
        weights = contraction ** np.arange(6.0, back - 1, -1)
        epochs = [weights[start : start + 3] for start in range(0, len(weights), 3)]
        hits = {
            tuple(np.bincount([i // 2 for i in slots], minlength=3)) for slots in itertools.combinations(range(6), 3)
        }
        worst = sum(max(np.dot(epoch, hit[: len(epoch)]) for hit in hits) for epoch in epochs)
        law = batch_law(**constants, contraction=contraction, unlearning_steps=back, sampling="shuffled")
        assert law.distances.tolist() == pytest.approx([worst], rel=1e-13)


def test_the_law_of_independent_batches_does_not_hold_for_shuffled_epochs():
    """Losses ±θ, + for the deleted point alone: an epoch ends 2ηG/b away for certain; its exact δ is δ_G(ε; 2ηG/bσ).

    Independent batches miss the point a quarter of the time; their law, of the same mean, promises less.
    """
    constants = {"n": 10, "deleted": 1, "batch": 5, "steps": 2, "lipschitz": 1.0, "step_size": 0.5}
    independent = batch_law(**constants)
    epoch = DistanceLaw(np.array([2 * 0.5 * 1.0 / 5]), np.ones(1))
    assert independent.mean == pytest.approx(epoch.mean, rel=1e-12)
    for epsilon, sigma in itertools.product((0.0, 1.0), (0.05, 0.1)):
        assert mixture_delta(independent, epsilon, sigma) < 0.96 * mixture_delta(epoch, epsilon, sigma)


@given(st.floats(0, 5), st.floats(0.01, 10), st.floats(0.01, 10), st.floats(0, 1))
def test_envelopes_are_concave_and_above_every_mixture(epsilon: float, near: float, far: float, share: float):
    law = DistanceLaw(np.array([near, far]), np.array([1 - share, share]))
    mixture = mixture_delta(law, epsilon, 1.0)
    # Rounding of a few units of probabilities and curves, and the tangent point to 1e-13.
    assert mixture <= mean_delta(law.mean, epsilon, 1.0) * (1 + 1e-11)
    assert mixture <= second_moment_delta(law.second_moment, epsilon, 1.0) * (1 + 1e-11)


def test_the_mean_bound_is_attained_by_two_atoms():
    touch = _tangent_point(1.0, 1)
    law = DistanceLaw(np.array([0.0, touch]), np.array([0.75, 0.25]))
    assert mixture_delta(law, 1.0, 1.0) == pytest.approx(mean_delta(law.mean, 1.0, 1.0), rel=1e-14)
    assert mean_delta(5.0, 1.0, 1.0) == pytest.approx(ef.gaussian_delta(1.0, 5.0), rel=1e-14)
    assert mean_delta(0.3, 0.0, 1.0) == pytest.approx(ef.gaussian_delta(0.0, 0.3), rel=1e-14)


def test_no_step_that_hits_means_no_distance():
    law = batch_law(**SMALL, unlearning_steps=4)
    assert (law.mean, law.second_moment, mixture_delta(law, 0.5, 1.0)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"unlearning_steps": 5}, "at most 4 is possible: the run takes"),
        ({"batch": 6}, "5 points are left to draw a batch from"),
        ({"deleted": 6}, "one of the n = 6 points"),
        ({"sampling": "cyclic"}, "sampling is 'cyclic'"),
        ({"contraction": -0.1}, "contraction is -0.1"),
        ({"contraction": 1e300}, "is not a float"),
        ({"sampling": "shuffled", "n": 7}, "does not divide n = 7"),
        ({"step_size": 0.0}, "step_size is 0"),
    ],
)
def test_batches_that_cannot_be_are_refused(change: dict, words: str):
    with pytest.raises(InputError, match=words):
        batch_law(**{**SMALL, **change})


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: DistanceLaw(np.ones(0), np.ones(0)), "two vectors of one length"),
        (lambda: DistanceLaw(-np.ones(1), np.ones(1)), "negative"),
        (lambda: DistanceLaw(np.ones(1), np.full(1, 0.9)), "must sum to 1"),
        (lambda: mean_delta(-1.0, 1.0, 1.0), "mean holds a negative"),
        (lambda: mixture_delta(DistanceLaw(np.ones(1), np.ones(1)), 1.0, 0.0), "sigma is 0"),
    ],
)
def test_what_is_no_law_is_refused(call, words: str):
    with pytest.raises(InputError, match=words):
        call()
