"""`optimal_noise`: feasible, with a bound that is proved again here, and in closed form where there is one."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import epsflow as ef
from epsflow import InputError, OptimalNoise, optimal_noise

TARGET = {"epsilon": 1.0, "delta": 1e-5}


def leave_one_outs(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Every point's change of the least-squares fit to centred answers, and the Hessian of the mean risk."""
    data = ef.load_dataset(name)
    x, y = np.asarray(data.x), np.asarray(data.y)
    inverse = np.linalg.inv(x.T @ x)
    residual = y - y.mean() - x @ (inverse @ x.T @ (y - y.mean()))
    leverage = np.einsum("ij,jk,ik->i", x, inverse, x)
    return x @ inverse * (residual / (1 - leverage))[:, None], x.T @ x / len(x)


def proved(noise: OptimalNoise, changes: np.ndarray, hessian: np.ndarray) -> float:
    """What `weights` prove no covariance to cost less than, by an eigenvalue problem of its own: tr (LᵀΔᵀμΔL)^{1/2}."""
    moment = (changes.T * noise.weights) @ changes
    eigenvalues = np.linalg.eigvals(hessian @ moment).real
    return np.sqrt(np.maximum(eigenvalues, 0)).sum() ** 2 / noise.weights.sum() / noise.r**2


@pytest.mark.parametrize(
    ("name", "costs"),
    [("diabetes", ("0.16979", "0.0028726", "0.0017082")), ("breast_cancer", ("8.5896", "0.016436", "0.0019882"))],
)
def test_leave_one_outs_have_the_published_costs(name: str, costs: tuple[str, ...]):
    changes, hessian = leave_one_outs(name)
    noise = optimal_noise(changes, hessian, **TARGET)
    found = np.array([noise.isotropic_cost, noise.risk_isotropic_cost, noise.cost]) * noise.r**2
    assert tuple(f"{cost:.{len(text) - 2}f}" for cost, text in zip(found, costs, strict=True)) == costs
    assert noise.gap < 1e-9
    # The eigenvalues of a product are exact to the condition number of H, 1e4, in roundings, and their roots to √
    # of the smallest: the sum of all to 1e-9.
    assert proved(noise, changes, hessian) == pytest.approx(noise.bound, rel=1e-9)
    assert np.trace(hessian @ noise.covariance) == pytest.approx(noise.cost, rel=1e-11)
    hidden = np.einsum("ij,ji->i", changes, np.linalg.solve(noise.covariance, changes.T))
    assert hidden.max() == pytest.approx(noise.r**2, rel=1e-9)
    assert ef.gaussian_delta(1.0, np.sqrt(hidden.max())) == pytest.approx(1e-5, rel=1e-7)


def test_one_change_needs_noise_along_itself_only():
    change, hessian = np.array([[3.0, 4.0]]), np.diag([2.0, 1.0])
    noise = optimal_noise(change, hessian, **TARGET)
    np.testing.assert_allclose(noise.covariance * noise.r**2, change.T @ change, rtol=1e-11)
    assert noise.cost * noise.r**2 == pytest.approx(34, rel=1e-11)
    assert noise.isotropic_cost * noise.r**2 == pytest.approx(75, rel=1e-14)
    assert noise.risk_isotropic_cost * noise.r**2 == pytest.approx(68, rel=1e-14)


def test_orthogonal_changes_are_hidden_one_by_one():
    noise = optimal_noise(np.diag([1.0, 1e-3, 10.0]), np.eye(3), **TARGET)
    # Hadamard's inequality: Σ' = diag(z²) is the best, and every weight is z² too.
    np.testing.assert_allclose(np.diag(noise.covariance) * noise.r**2, [1, 1e-6, 100], rtol=1e-8)
    np.testing.assert_allclose(noise.weights * noise.r**2, [1, 1e-6, 100], rtol=1e-6)


def test_no_feasible_covariance_nearby_is_cheaper(rng: np.random.Generator):
    changes, root = rng.normal(size=(12, 3)), rng.normal(size=(3, 3))
    hessian = root @ root.T + np.eye(3)
    noise = optimal_noise(changes, hessian, **TARGET)
    for size in (1e-1, 1e-2, 1e-3):
        for _ in range(50):
            turn = np.eye(3) + size * rng.normal(size=(3, 3))
            other = turn @ noise.covariance @ turn.T
            worst = np.einsum("ij,ji->i", changes, np.linalg.solve(other, changes.T)).max() / noise.r**2
            assert np.trace(hessian @ other) * worst >= noise.cost * (1 - 1e-9)


@settings(max_examples=40)
@given(st.integers(1, 40), st.integers(1, 6), st.integers(0, 1000), st.floats(-8, 8), st.booleans())
def test_every_family_has_a_certificate_in_any_unit(k: int, d: int, seed: int, exponent: float, heavy: bool):
    rng = np.random.default_rng(seed)
    changes, root = rng.normal(size=(k, d)), rng.normal(size=(d, d))
    if heavy:
        changes = changes**3
    hessian = root @ root.T + 0.1 * np.eye(d)
    noise = optimal_noise(changes, hessian, **TARGET)
    assert noise.gap < 1e-9
    assert noise.bound <= noise.cost <= noise.risk_isotropic_cost * (1 + 1e-9)
    unit = 10.0 ** np.append(exponent, np.zeros(d - 1))
    other = optimal_noise(changes * unit, hessian / np.outer(unit, unit), **TARGET)
    assert other.cost == pytest.approx(noise.cost, rel=2e-9)  # each is within 1e-9 of the same optimum


def test_thousands_of_changes_are_solved_for_a_few_at_a_time(rng: np.random.Generator):
    changes = rng.normal(size=(3000, 4))
    noise = optimal_noise(changes, np.eye(4), **TARGET)
    assert noise.gap < 1e-9
    assert (noise.weights > 1e-6 * noise.weights.max()).sum() <= 10  # Carathéodory: d(d + 1)/2


def test_nothing_to_hide_needs_no_noise():
    noise = optimal_noise(np.zeros((4, 2)), np.eye(2), **TARGET)
    assert (noise.cost, noise.gap, noise.isotropic_cost, noise.risk_isotropic_cost) == (0, 0, 0, 0)
    assert not noise.covariance.any()


def test_it_shows_itself_in_a_line():
    text = repr(optimal_noise(np.eye(2), np.eye(2), **TARGET))
    assert text.startswith("OptimalNoise(cost=27.84, gap=")
    assert text.endswith("r=0.2681, active=2)")


@pytest.mark.parametrize(
    ("changes", "hessian", "words"),
    [
        (np.ones(3), np.eye(3), "changes has shape .3,."),
        (np.ones((2, 3)), np.eye(2), "needed are"),
        (np.ones((1, 2)), np.diag([1.0, 0.0]), "not positive definite: noise along a flat direction"),
        (np.ones((1, 2)), np.ones((2, 2)), "not positive definite"),
        (np.ones((1, 2)), np.array([[1.0, 0.5], [0.0, 1.0]]), "not symmetric"),
        (np.array([[np.inf, 1.0]]), np.eye(2), "must be finite"),
    ],
)
def test_what_has_no_best_covariance_is_refused(changes: np.ndarray, hessian: np.ndarray, words: str):
    with pytest.raises(InputError, match=words):
        optimal_noise(changes, hessian, **TARGET)


def test_an_impossible_target_is_refused():
    with pytest.raises(InputError, match="delta is 0"):
        optimal_noise(np.eye(2), np.eye(2), epsilon=1.0, delta=0.0)
