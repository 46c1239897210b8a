"""Bayesian influence: the Gaussian covariance, the bias of Langevin steps, mixing, and what is refused."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import epsflow as ef
from epsflow.attribution import bayesian_influence
from epsflow.attribution.bayes._chains import Plan, _stochastic
from epsflow.attribution.bayes._discretisation import variance_excess
from epsflow.attribution.bayes._moments import within_chains
from epsflow.attribution.bayes._posterior import posterior_of
from epsflow.problem import Dataset, LinearModel, LogisticLoss, Problem, linear_regression


@pytest.fixture(scope="module")
def regression():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 3))
    return linear_regression(Dataset(x, x @ np.array([1.0, -1.0, 0.5]) + 0.5 * rng.normal(size=12)), l2=0.1)


@pytest.fixture(scope="module")
def losses(regression):
    return ef.Losses(regression.model, regression.loss, regression.data.x[:4], regression.data.y[:4])


@pytest.fixture(scope="module")
def sampled(regression, losses):
    """10⁵ draws in four chains."""
    return bayesian_influence(regression, functional=losses, sampler="mala", draws=25_000, key=jax.random.key(1))


def test_the_closed_form_is_the_covariance_of_gaussian_losses(regression, losses):
    # MATH: Cov(ℓ_i, ℓ_j) = r_i r_j G_ij + ½ G_ij², G = XVXᵀ, r = Xμ − y.
    x, y, theta = regression.data.x, regression.data.y, np.array([0.3, 0.0, 1.0])
    found = bayesian_influence(regression, theta, functional=losses, sampler="exact", beta=2.0, gamma=0.7)
    v = np.linalg.inv(2.0 * x.T @ x + 2.0 * 0.1 * np.eye(3) + 0.7 * np.eye(3))
    mu = v @ (2.0 * x.T @ y + 0.7 * theta)
    r, g = x @ mu - y, x @ v @ x.T
    expected = (np.outer(r, r) * g + 0.5 * g**2)[:, :4]
    np.testing.assert_allclose(found.change, -expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(found.removal, 2.0 * expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(found.error, 0.0)


def test_the_closed_form_is_the_derivative_of_the_posterior_mean(regression):
    # E[w] = V b with weights β_i: differentiated by central differences of the weight of one point.
    x, y = regression.data.x, regression.data.y
    found = bayesian_influence(regression, sampler="exact")

    def mean(weight):
        w = np.ones(12)
        w[5] = weight
        return np.linalg.solve((x.T * w) @ x + 0.1 * np.eye(3), (x.T * w) @ y)

    slope = (mean(1.0 + 1e-5) - mean(1.0 - 1e-5)) / 2e-5
    np.testing.assert_allclose(found.change[5], slope, rtol=1e-8)


def test_draws_agree_with_the_closed_form_within_their_errors(regression, losses, sampled):
    exact = bayesian_influence(regression, functional=losses, sampler="exact")
    scores = (sampled.change - exact.change) / sampled.error
    assert np.abs(scores).max() <= 3.0
    assert 0.5 <= np.sqrt(np.mean(scores**2)) <= 1.3  # the errors are neither too small nor empty
    np.testing.assert_allclose(sampled.mean, exact.mean, atol=4.0 * sampled.mean_error.max())
    assert sampled.rhat <= 1.01
    assert sampled.ess > 10_000
    assert np.abs(sampled.acceptance - 0.574).max() < 0.1


def test_a_cold_posterior_tends_to_the_influence_function(regression):
    found = bayesian_influence(regression, sampler="exact", beta=1e6)
    np.testing.assert_allclose(found.removal, ef.influence(regression, points="all").change, rtol=1e-5, atol=1e-9)


def test_langevin_steps_have_the_stationary_covariance_of_their_step():
    # MATH: (A − εA²/4)⁻¹, A = diag(1, 10, 100), ε = 0.01, is kept by a step; the sample has it exactly at the start.
    curvature, step, count = np.array([1.0, 10.0, 100.0]), 0.01, 400_000
    expected = np.array([1.002506, 0.1025641, 0.0133333])
    x = np.diag(np.sqrt(curvature))
    problem = linear_regression(Dataset(x, np.zeros(3)))
    draws = np.random.default_rng(0).standard_normal((count, 3))
    draws -= draws.mean(axis=0)
    draws = draws @ np.linalg.inv(np.linalg.cholesky(draws.T @ draws / count)).T * np.sqrt(expected)
    keys = jax.random.split(jax.random.key(0), count)
    options, posterior = ("sgld", 0, 1, None, 1), posterior_of(problem, np.zeros(3), 1.0, 0.0)
    scales = jnp.asarray(step), jnp.asarray(1.0)
    move = jax.vmap(lambda key, place: _stochastic(posterior, options, key, place, scales))
    after = np.asarray(move(keys, jnp.asarray(draws)))
    # The error is that of a covariance of old place and noise, 2√(ε/N) at most: 3.2e-4 for the first.
    np.testing.assert_allclose(after[:, 0].var(axis=0), expected, rtol=0.0, atol=1e-3)
    plan = Plan("sgld", 0, 1, step, None, 1, 1.0)
    assert variance_excess(curvature, plan) == pytest.approx(100.0 * 0.0133333 - 1.0, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["nuts", "sgld", "sghmc"])
def test_every_sampler_agrees_with_the_closed_form(regression, losses, sampler):
    exact = bayesian_influence(regression, functional=losses, sampler="exact")
    found = bayesian_influence(regression, functional=losses, sampler=sampler, draws=50_000, key=jax.random.key(2))
    # The bias of the step, which no error bar contains, is a share of each covariance, at most twice a variance's.
    allowed = 4.0 * found.error + 2.5 * found.discretisation * np.abs(exact.change).max()
    assert (np.abs(found.change - exact.change) <= allowed).all()


@pytest.mark.slow
def test_stochastic_gradients_agree_where_batches_are_large(regression, losses):
    exact = bayesian_influence(regression, functional=losses, sampler="exact")
    found = bayesian_influence(
        regression, functional=losses, sampler="sgld", batch=12, step=0.002, draws=100_000, key=jax.random.key(3)
    )
    # With replacement a batch of n still has noise, ε/4 of its variance more: below a tenth of the posterior's here.
    assert np.abs(found.change - exact.change).max() <= 0.1 * np.abs(exact.change).max() + 4.0 * found.error.max()


@pytest.mark.slow
def test_a_logistic_posterior_by_two_samplers_on_breast_cancer():
    data = ef.load_dataset("breast_cancer")
    problem = Problem(LinearModel(30), LogisticLoss(), data, l2=1.0)
    held = ef.Losses(problem.model, problem.loss, data.x[:5], data.y[:5])
    options = {"functional": held, "points": list(range(0, 569, 10)), "throw": False}
    nuts = bayesian_influence(problem, sampler="nuts", draws=2_000, key=jax.random.key(0), **options)
    assert nuts.divergences == 0
    assert nuts.rhat <= 1.01
    mala = bayesian_influence(problem, sampler="mala", draws=40_000, key=jax.random.key(1), **options)
    scores = (nuts.change - mala.change) / np.hypot(nuts.error, mala.error)
    # 290 scores of some thirty independent directions: 1 ± 0.13.
    assert np.sqrt(np.mean(scores**2)) <= 1.4
    assert np.abs(scores).max() <= 5.0


@pytest.mark.slow
def test_batch_means_and_autocorrelations_agree_on_effective_draws():
    from blackjax.diagnostics import effective_sample_size, potential_scale_reduction

    rng, noise = np.random.default_rng(0), 0.9
    chains = np.zeros((4, 20_000, 1))
    for t in range(1, 20_000):
        chains[:, t] = noise * chains[:, t - 1] + rng.standard_normal((4, 1))
    moments = within_chains(chains, lambda draws: (draws, draws))
    # 200 batches: their variance is known to 10 %.
    assert moments.ess[0] == pytest.approx(float(effective_sample_size(chains)), rel=0.3)
    halves = chains.reshape(8, 10_000, 1)
    assert moments.rhat[0] == pytest.approx(float(potential_scale_reduction(halves)), abs=1e-4)


def test_a_second_call_compiles_nothing(regression, losses, sampled, compiled):
    again = bayesian_influence(regression, functional=losses, sampler="mala", draws=25_000, key=jax.random.key(5))
    assert again.ess > 10_000
    assert not compiled


def test_chains_that_have_not_mixed_are_no_result(regression, losses):
    options = {"functional": losses, "sampler": "sgld", "draws": 200, "warmup": 0, "step": 1e-6}
    with pytest.raises(ef.ConvergenceError, match="no sample of the posterior: The chains have not mixed") as caught:
        bayesian_influence(regression, **options)
    assert caught.value.result.rhat > 1.5
    assert caught.value.result.result == ef.RESULTS.not_mixed


def test_chains_that_diverge_are_no_result(regression, losses):
    options = {"functional": losses, "sampler": "sgld", "draws": 200, "warmup": 0, "step": 10.0}
    with pytest.raises(ef.ConvergenceError, match="NaN or infinity") as caught:
        bayesian_influence(regression, **options)
    assert caught.value.result.discretisation == np.inf


def test_the_result_shows_itself(sampled):
    assert repr(sampled).startswith("BayesianInfluence(change=array(12, 4)")
    text = str(sampled.summary())
    for words in ("rhat", "ess", "acceptance", "inverse temperature β", "localisation γ"):
        assert words in text
    assert list(sampled.to_pandas().columns) == ["point", "‖change‖", "largest error"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": "gibbs"}, "unknown sampler 'gibbs'"),
        ({"beta": 0.0}, "beta is 0"),
        ({"draws": 10}, "draws is 10; it must be at least 100"),
        ({"functional": lambda theta: jnp.log(-jnp.abs(theta[0]))}, "the functional is not finite"),
        ({"sampler": "nuts", "batch": 3}, "batches of at most n = 12 points are for sgld and sghmc"),
        ({"sampler": "exact", "functional": lambda theta: theta[0] ** 4}, "sampler='exact' knows"),
        ({"draws": 10**9}, "GB; take fewer"),
    ],
)
def test_bad_input_is_refused(regression, options, message):
    with pytest.raises(ef.InputError, match=re.escape(message)):
        bayesian_influence(regression, **options)


def test_an_improper_posterior_is_refused():
    flat = linear_regression(Dataset(np.ones((4, 2)), np.arange(4.0)))
    for sampler in ("exact", "mala"):
        with pytest.raises(ef.InputError, match="not proper"):
            bayesian_influence(flat, np.zeros(2), sampler=sampler)
