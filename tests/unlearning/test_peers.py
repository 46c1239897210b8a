"""What well-kept libraries say of the same numbers: dp-accounting of the Gaussian curve, clarabel of the noise."""

import numpy as np
import pytest

import epsflow as ef

cvxpy = pytest.importorskip("cvxpy")
common = pytest.importorskip("dp_accounting.pld.common")
pld = pytest.importorskip("dp_accounting.pld.privacy_loss_mechanism")

pytestmark = pytest.mark.slow  # their imports alone take seconds


@pytest.mark.parametrize("sigma", [0.3, 1.0, 3.730631634816, 20.0])
@pytest.mark.parametrize("epsilon", [0.1, 1.0, 3.0])
def test_the_gaussian_curve_is_dp_accountings(sigma, epsilon):
    """Theirs is Φ(a) − e^ε Φ(b) as it is written, which cancels: compared to the digits that this leaves."""
    theirs = pld.GaussianPrivacyLoss(sigma).get_delta_for_epsilon(epsilon)
    ours = ef.gaussian_delta(epsilon, 1.0 / sigma)
    assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("delta", [1e-3, 1e-5, 1e-9])
def test_the_noise_is_dp_accountings_calibration(delta):
    target = common.DifferentialPrivacyParameters(1.0, delta)
    theirs = pld.GaussianPrivacyLoss.from_privacy_guarantee(target).standard_deviation
    # Theirs bisects to 1e-7 or so of σ.
    assert 1.0 / ef.gaussian_r(1.0, delta) == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize("shape", [(6, 2), (20, 4)])
def test_the_noise_of_least_risk_is_a_semidefinite_program(shape, rng):
    """min tr(HΣ) with [[Σ, Δ_i], [Δ_iᵀ, ρ²]] ⪰ 0, by clarabel through cvxpy."""
    changes, root = rng.normal(size=shape), rng.normal(size=(shape[1], shape[1]))
    hessian = root @ root.T + 0.1 * np.eye(shape[1])
    ours = ef.optimal_noise(changes, hessian, epsilon=1.0, delta=1e-5)
    rho = ef.gaussian_r(1.0, 1e-5)
    covariance = cvxpy.Variable((shape[1], shape[1]), symmetric=True)
    blocks = [
        cvxpy.bmat([[covariance, change[:, None]], [change[None], np.array([[rho**2]])]]) >> 0 for change in changes
    ]
    program = cvxpy.Problem(cvxpy.Minimize(cvxpy.trace(hessian @ covariance)), blocks)
    value = program.solve(solver=cvxpy.CLARABEL)
    # Clarabel stops at gaps of 1e-8.
    assert ours.cost == pytest.approx(value, rel=1e-6)
    np.testing.assert_allclose(ours.covariance, covariance.value, rtol=0, atol=1e-3 * np.abs(ours.covariance).max())
