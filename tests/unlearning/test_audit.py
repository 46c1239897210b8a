"""Audits: they find what is there, never more; intervals cover; comparisons and curves hold what certificates say."""

import jax
import numpy as np
import pytest
from scipy import stats

import epsflow as ef
from epsflow._core import share_bounds
from epsflow.unlearning._audit import epsilon_from_samples
from epsflow.unlearning._metrics import attack, mean_gap, mean_interval, size_of

TARGET = {"epsilon_dp": 1.0, "delta_dp": 1e-5}
KEY = jax.random.key(5)


@pytest.fixture(scope="module")
def labels():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(30, 3))
    return ef.Dataset(x, (x[:, 0] + rng.normal(size=30) > 0).astype(float), name="labels")


@pytest.fixture(scope="module")
def logistic(labels):
    return ef.Problem(ef.LinearModel(3), ef.LogisticLoss(), labels, [2, 7], 0.05, "mean")


REWIND = ef.RewindToDelete(steps=40, unlearning_steps=5)


def test_clopper_and_pearson_are_scipys():
    for hits, trials in ((0, 10), (3, 10), (10, 10), (40, 1000)):
        exact = stats.binomtest(hits, trials).proportion_ci(confidence_level=0.98, method="exact")
        low, high = share_bounds(hits, trials, 0.01)
        assert (float(low), float(high)) == pytest.approx((exact.low, exact.high), rel=1e-12)


def test_a_gap_has_welchs_interval(rng):
    first, second = rng.normal(size=40), rng.normal(1.0, 3.0, size=25)
    exact = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.9)
    found = mean_gap(first, second, 0.9)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), rel=1e-10)
    both = size_of(found)
    assert both.estimate == abs(found.estimate)
    assert size_of(mean_gap(first, first, 0.9)).low == 0.0


def test_accuracies_that_all_came_out_equal_are_not_known_exactly(rng):
    """10 of 10 models with accuracy 1 say P ≥ α^{1/10}: a coin that shows this value so rarely is rejected at α."""
    found = mean_interval(np.ones(10), 0.95, within_one=True)
    assert (found.estimate, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.05**0.1)
    assert found.low == pytest.approx(float(share_bounds(10, 10, 0.05)[0]))
    gap = mean_gap(np.full(10, 0.75), np.full(20, 0.75), 0.95, within_one=True)
    assert -0.5 < gap.low < gap.estimate == 0.0 < gap.high < 0.5
    # A law on [0, 1] that shows one value most of the time: its mean is inside at least as often as stated.
    draws = np.where(rng.random((4000, 8)) < 0.6, 1.0, 0.0)
    equal = draws[np.ptp(draws, axis=1) == 0.0]
    missed = sum(not mean_interval(row, 0.95, within_one=True).low <= 0.6 for row in equal)
    assert missed <= 0.05 * len(draws) + 3.0 * np.sqrt(0.05 * len(draws))
    assert mean_gap(np.ones(5), np.ones(5), 0.95).high == 0.0  # of losses: nothing is random there


def test_the_attack_is_an_area_under_the_curve(rng):
    deleted, others = rng.normal(size=(2, 6)), rng.normal(0.5, 1.0, size=(2, 9))
    for k in range(2):
        # Mann and Whitney's statistic counts the pairs in which the first is larger.
        statistic = stats.mannwhitneyu(others[k], deleted[k]).statistic
        assert attack(deleted, others)[k] == pytest.approx(statistic / 54)


def test_the_audit_never_claims_more_than_two_gaussians_have(rng):
    """Samples of N(0,1) and N(r,1): ε_audit ≤ ε(δ; r) in all but (1 − confidence) of the trials."""
    for r in (0.3, 1.0, 3.0):
        truth = ef.gaussian_epsilon(1e-3, r)
        claims = [
            epsilon_from_samples(rng.normal(r, 1.0, size=(800, 1)), rng.normal(size=(800, 1)), 1e-3, 0.95)
            for _ in range(60)
        ]
        # 60 trials at 5 %: more than 9 failures have probability below 1e-3.
        assert sum(claim > truth for claim in claims) <= 9
        assert max(claims) <= 1.5 * truth
    assert min(claims) > 1.0  # at r = 3 there is a lot to be found


def test_a_certificate_stands_and_a_tenth_of_its_noise_is_refuted(logistic):
    certificate = ef.certify_unlearning(logistic, REWIND, **TARGET)
    found = ef.audit(logistic, REWIND, certificate=certificate, key=KEY, models=1_000)
    assert found.holds
    assert found.epsilon_audit <= 1.0
    with pytest.raises(ef.ConvergenceError, match="it is refuted") as caught:
        ef.audit(logistic, REWIND, certificate=certificate, sigma=certificate.sigma / 10, key=KEY, models=1_000)
    refuted = caught.value.result
    # By the exact curve the ε of a tenth of the noise at the same δ.
    assert 1.0 < refuted.epsilon_audit <= ef.gaussian_epsilon(1e-5, certificate.distance / refuted.sigma)


def test_gaps_and_distances_are_those_of_the_models(logistic):
    """Without noise every model is the same, so gaps are differences of two numbers and intervals are points."""
    retrained = REWIND.run(logistic)
    found = ef.audit(logistic, REWIND, sigma=0.0, models=4, throw=False, **TARGET)
    loss = [np.mean(np.asarray(logistic.value(theta, 0.0))) for theta in (retrained.theta, retrained.retrained)]
    penalty = [0.025 * float(theta @ theta) for theta in (retrained.theta, retrained.retrained)]
    by_hand = ((loss[0] - penalty[0]) - (loss[1] - penalty[1])) * 30 / 28
    assert found.gaps["retain loss"].estimate == pytest.approx(by_hand, abs=1e-14)
    assert found.distance.estimate == pytest.approx(float(retrained.distance), rel=1e-12)
    assert found.spread.estimate == pytest.approx(0.0, abs=1e-15)


def test_noisy_steps_batches_and_a_test_set(logistic, labels):
    test = ef.Dataset(labels.x + 0.1, labels.y, name="test")
    algorithm = ef.LangevinUnlearning(steps=20, unlearning_steps=5, radius=2.0)
    found = ef.audit(logistic, algorithm, test=test, models=200, key=KEY, **TARGET)
    assert found.certificate.scope == "worst case"
    assert {"forget loss", "forget accuracy", "retain loss", "test accuracy"} <= set(found.gaps)
    assert 0.0 <= found.membership.low <= found.membership.estimate <= found.membership.high
    batches = ef.audit(logistic, ef.RewindToDelete(steps=20, unlearning_steps=5, batch_size=6), models=100, **TARGET)
    assert batches.certificate.kind == "estimated"
    assert "ε_audit" in str(batches.summary())


def test_a_comparison_has_the_certificates_and_what_noise_costs(logistic):
    algorithms = [ef.Retrain(steps=40), REWIND, ef.NewtonRemoval(), ef.NoisySGD(batch_size=7)]
    found = ef.guarantees(logistic, algorithms, scope="worst case", draws=5, **TARGET)
    assert [one.algorithm for one in found.certificates] == ["retrain", "R2D", "Newton"]
    assert "noisy SGD" in found.refused
    alone = ef.certify_unlearning(logistic, REWIND, scope="worst case", **TARGET)
    assert found.certificates[1].sigma == alone.sigma
    assert found.quality_name == "accuracy"
    assert found.noisy_quality[0] == found.quality[0] == found.retrained_quality[1]
    left = np.setdiff1d(np.arange(30), [2, 7])
    theta = REWIND.run(logistic).theta
    right = (logistic.data.x[left] @ theta > 0) == (logistic.data.y[left] > 0.5)
    assert found.quality[1] == right.mean()


def test_a_curve_is_one_certificate_for_each_number_of_steps(logistic):
    found = ef.unlearning_curve(logistic, REWIND, amounts=[0, 10, 40], scope="worst case", **TARGET)
    for k, amount in enumerate((0, 10, 40)):
        alone = ef.certify_unlearning(
            logistic, ef.RewindToDelete(steps=40, unlearning_steps=amount), scope="worst case", **TARGET
        )
        assert (found.distances[k], found.bounds[k]) == (alone.distance, alone.bound)
    assert found.distances[2] == 0.0
    with pytest.raises(ef.InputError, match="no number of unlearning steps"):
        ef.unlearning_curve(logistic, ef.NewtonRemoval(), amounts=[1], **TARGET)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"models": 3}, "models is 3"), ({"confidence": 1.0}, "confidence is 1"), ({"sigma": -1.0}, "sigma is -1")],
)
def test_bad_audits_are_refused(logistic, change, words):
    with pytest.raises(ef.InputError, match=words):
        ef.audit(logistic, REWIND, **{**TARGET, **change})
