"""Noise from constants alone: check values to their printed digits, other ways to the same number, and simulations."""

import math

import numpy as np
import pytest

import epsflow as ef
from epsflow import InputError
from epsflow.unlearning._parameters import as_count

# Logistic regression with ridge 1e-6·n per mean loss: L_s = 1/4 + μ.
LOGISTIC = {"n": 11_982, "strong_convexity": 0.011982, "smoothness": 0.261982, "lipschitz": 1.0, "delta": 1 / 11_982}
EPSILONS = (0.05, 0.1, 0.5, 1.0, 2.0, 5.0)
D2D = {
    1: ("50.4538", "25.2603", "5.10488", "2.58471", "1.32350", "0.563805"),
    2: ("24.0731", "12.0525", "2.43570", "1.23325", "0.631485", "0.269009"),
    5: ("8.33267", "4.17185", "0.843094", "0.426877", "0.218582", "0.093115"),
}
LANGEVIN = {
    1: ("0.187157", "0.093697", "0.018926", "0.009578", "0.004899", "0.002082"),
    2: ("0.187146", "0.093685", "0.018915", "0.009567", "0.004889", "0.002073"),
    5: ("0.187112", "0.093652", "0.018882", "0.009534", "0.004858", "0.002046"),
}
REWIND = {
    "n": 94_449,
    "deleted": 945,
    "smoothness": 0.2065,
    "lipschitz": 0.5946,
    "step_size": 0.01,
    "steps": 3666,
    "unlearning_steps": 366,
}
SGD = {
    **{"n": 60, "batch": 10, "strong_convexity": 0.2, "smoothness": 1.0, "lipschitz": 0.7, "step_size": 0.5},
    **{"epochs": 2, "sigma": 0.3, "delta": 1e-5},
}
CERTIFIED = {"n": 101, "l2": 0.1, "lipschitz": 2.0, "curvature_lipschitz": 0.25, "epsilon": 0.5, "delta": 1e-4}
NEWTON = {
    **{"n": 100, "deleted": 3, "strong_convexity": 0.5, "lipschitz": 2.0, "hessian_lipschitz": 0.25},
    **{"epsilon": 0.5, "delta": 1e-4},
}
GRADIENT = {
    **{"clipping": "gradient", "initial_radius": 1.0, "radius": 0.5, "steps": 40, "step_size": 0.1},
    **{"weight_decay": 0.3, "epsilon": 1.0, "delta": 1e-5},
}
MODEL = {"clipping": "model", "initial_radius": 2.0, "radius": 1.0, "steps": 3, "epsilon": 0.7, "delta": 0.2}


def printed(value: float, digits: str) -> str:
    return f"{value:.{len(digits.split('.')[1])}f}"


@pytest.mark.parametrize("steps", D2D)
def test_descend_to_delete_has_the_published_noise(steps: int):
    found = [ef.d2d_sigma(**LOGISTIC, steps=steps, epsilon=epsilon) for epsilon in EPSILONS]
    assert [printed(*pair) for pair in zip(found, D2D[steps], strict=True)] == list(D2D[steps])


@pytest.mark.parametrize("steps", LANGEVIN)
def test_langevin_unlearning_has_the_published_noise(steps: int):
    found = [ef.langevin_sigma(**LOGISTIC, steps=steps, epsilon=epsilon) for epsilon in EPSILONS]
    assert [printed(*pair) for pair in zip(found, LANGEVIN[steps], strict=True)] == list(LANGEVIN[steps])


def test_rewind_to_delete_has_the_published_sensitivity():
    unit = 2 * 945 * 0.5946 / (0.2065 * 94_449)
    wide, tight = (ef.r2d_sensitivity(**REWIND, tight=tight) for tight in (False, True))
    assert printed(wide, "118.66") == "118.66"
    assert (printed(wide / unit, "2059.42"), printed(tight / unit, "1922.49")) == ("2059.42", "1922.49")
    epochs = ef.r2d_sensitivity(**{**REWIND, "steps": 78, "unlearning_steps": 7})
    assert printed(epochs, ".0093208") == "0.0093208"


def test_a_secret_state_by_the_formula_as_it_is_written():
    n, mu, smooth, g, steps, epsilon, delta = 50, 0.3, 1.7, 2.0, 4, 0.8, 1e-3
    gamma = (smooth - mu) / (smooth + mu)
    roots = math.sqrt(math.log(1 / delta) + epsilon) - math.sqrt(math.log(1 / delta))
    constants = {"n": n, "strong_convexity": mu, "smoothness": smooth, "lipschitz": g, "epsilon": epsilon}
    sigma = ef.d2d_sigma(**constants, delta=delta, steps=steps)
    expected = 4 * math.sqrt(2) * g * gamma**steps / (mu * n * (1 - gamma**steps) * roots)
    assert sigma == pytest.approx(expected, rel=1e-13)  # the difference of roots cancels one digit
    level = 2 * math.log(2 / delta)
    gap = math.sqrt(level + 3 * epsilon) - math.sqrt(level + 2 * epsilon)
    published = ef.d2d_sigma(**constants, delta=delta, steps=15, state="published", dim=5)
    assert published == pytest.approx(8 * g * gamma**15 / (mu * n * (1 - gamma**15) * gap), rel=1e-13)


def test_equal_curvatures_forget_in_a_step():
    constants = {**LOGISTIC, "strong_convexity": 1.0, "smoothness": 1.0, "epsilon": 1.0}
    assert ef.d2d_sigma(**constants, steps=1) == 0
    assert ef.d2d_sigma(**constants, steps=1, state="published", dim=1000) == 0


def test_a_flat_risk_keeps_its_digits():
    """Where 1 − γ is below a rounding of 1: γ^I/(1 − γ^I) = (L_s + μ)/(2μI)."""
    flat = {**LOGISTIC, "strong_convexity": 1e-20, "epsilon": 1.0}
    assert ef.d2d_sigma(**flat, steps=1) == pytest.approx(4 * ef.d2d_sigma(**flat, steps=4), rel=1e-14)


def test_langevins_noise_and_epsilon_are_inverse_and_no_grid_of_orders_is_better():
    alpha = 1 + np.geomspace(1e-3, 1e6, 20_001)
    for steps in (0, 5, 300):
        for epsilon in EPSILONS:
            sigma = ef.langevin_sigma(**LOGISTIC, steps=steps, epsilon=epsilon, replaced=3)
            assert ef.langevin_epsilon(**LOGISTIC, steps=steps, sigma=sigma, replaced=3) == pytest.approx(
                epsilon, rel=1e-12
            )
            start = 4 * alpha * (3 / 11_982 / sigma) ** 2 / 0.011982
            grid = start * np.exp(-steps * 0.011982 / 0.261982 / alpha)
            best = ef.rdp_to_dp(alpha, grid, delta=1 / 11_982, conversion="classical")
            # The grid's neighbours differ by a thousandth, and the minimum is flat: its square.
            assert best == pytest.approx(epsilon, rel=2e-6)
            assert best >= epsilon * (1 - 1e-12)


def test_rewinding_never_ends_further_than_the_tight_bound():
    """Random losses G·cos(aᵀθ + b)/|a|, not convex: gradients of length G at most, smoothness G·max|a|."""
    rng = np.random.default_rng(0)
    closest = 0.0
    for _ in range(200):
        n, m, steps = 6, 2, 12
        back = int(rng.integers(0, steps + 1))
        a, b = rng.normal(size=(n, 2)), rng.uniform(0, 7, n)
        length = np.linalg.norm(a, axis=1)
        smooth = length.max()
        eta = rng.uniform(0.1, 1) * min(1, n / (2 * (n - m))) / smooth

        def descend(theta: np.ndarray, kept: slice, count: int, a=a, b=b, length=length, eta=eta) -> np.ndarray:
            for _ in range(count):
                waves = np.sin(a[kept] @ theta + b[kept]) / length[kept]
                theta = theta + eta * (waves @ a[kept]) / len(waves)
            return theta

        kept, start = slice(m, n), rng.normal(size=2)
        rewound = descend(descend(start, slice(0, n), steps - back), kept, back)
        distance = np.linalg.norm(rewound - descend(start, kept, steps))
        constants = {"n": n, "deleted": m, "smoothness": smooth, "lipschitz": 1.0, "step_size": eta}
        counts = {"steps": steps, "unlearning_steps": back}
        tight = ef.r2d_sensitivity(**constants, **counts, tight=True)
        assert distance <= tight <= ef.r2d_sensitivity(**constants, **counts) * (1 + 1e-14)
        closest = max(closest, distance / tight if tight else 0.0)
    assert closest > 0.2  # the bound is of the right size, so that a factor of five would be seen


def test_rewinding_all_the_way_is_retraining_and_growth_beyond_floats_is_infinite():
    assert ef.r2d_sensitivity(**{**REWIND, "unlearning_steps": 3666}) == 0
    long = {**REWIND, "steps": 10**6}
    assert ef.r2d_sensitivity(**long) == math.inf
    assert ef.r2d_sigma(**long, epsilon=1.0, delta=1e-5) == math.inf


def test_rewinding_converts_classically_up_to_one_and_exactly_above():
    sensitivity = ef.r2d_sensitivity(**REWIND, tight=True)
    classical = ef.r2d_sigma(**REWIND, epsilon=0.5, delta=1e-5, tight=True)
    assert classical == pytest.approx(sensitivity * math.sqrt(2 * math.log(1.25e5)) / 0.5, rel=1e-14)
    exact = ef.r2d_sigma(**REWIND, epsilon=3.0, delta=1e-5, tight=True)
    assert ef.gaussian_delta(3.0, sensitivity / exact) == pytest.approx(1e-5, rel=1e-12)


def test_noisy_sgd_is_exact_for_affine_steps():
    """θ ← cθ + noise from two starts Z apart: Gaussians, whose distance over noise is summed step by step."""
    c = 1 - 0.5 * 0.2
    start = sum(2 * 0.5 * 0.7 / 10 * c ** (6 * epoch) for epoch in range(400))  # the hit in the last step of each epoch
    variance = sum(2 * 0.5 * 0.3**2 * c ** (2 * step) for step in range(12))
    r = start * c**12 / math.sqrt(variance)
    orders = 1 + np.geomspace(1e-3, 1e5, 200_001)
    expected = ef.rdp_to_dp(orders, orders * r * r / 2, delta=1e-5)
    assert ef.noisy_sgd_epsilon(**SGD) == pytest.approx(expected, rel=1e-8)  # the grid's step squared
    assert ef.noisy_sgd_epsilon(**SGD) > ef.gaussian_epsilon(1e-5, r)
    assert ef.noisy_sgd_epsilon(**{**SGD, "strong_convexity": 1.0, "step_size": 1.0}) == 0


def test_certified_and_newton_removal_by_hand():
    # 4·¼·4/(0.01·100) = 4 and 2·¼·36/(⅛·10⁴) = 0.0144.
    assert ef.certified_removal_sigma(**CERTIFIED) == pytest.approx(8 * math.sqrt(2 * math.log(1.5e4)), rel=1e-14)
    assert ef.newton_removal_sigma(**NEWTON) == pytest.approx(0.0288 * math.sqrt(2 * math.log(1.25e4)), rel=1e-14)
    exact = ef.newton_removal_sigma(**{**NEWTON, "epsilon": 4.0})
    assert exact == pytest.approx(0.0144 / ef.gaussian_r(4.0, 1e-4), rel=1e-14)
    assert ef.certified_removal_sigma(**{**CERTIFIED, "curvature_lipschitz": 0.0}) == 0


def test_the_newton_step_stays_within_its_bound(rng: np.random.Generator):
    """Logistic regression with ridge on the unit ball: G = 1 + μ‖θ‖, ρ = 1/(6√3)."""
    n, m, mu = 40, 3, 0.2
    x = rng.normal(size=(n, 3))
    x *= np.sign(rng.normal(size=(n, 1))) / np.linalg.norm(x, axis=1, keepdims=True)

    def derivatives(theta: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p = 1 / (1 + np.exp(rows @ theta))
        return mu * theta - rows.T @ p / len(rows), mu * np.eye(3) + (rows.T * (p * (1 - p))) @ rows / len(rows)

    def minimise(rows: np.ndarray) -> np.ndarray:
        theta = np.zeros(3)
        for _ in range(30):
            gradient, hessian = derivatives(theta, rows)
            theta = theta - np.linalg.solve(hessian, gradient)
        return theta

    whole, kept = minimise(x), minimise(x[m:])
    gradient, hessian = derivatives(whole, x[m:])
    error = np.linalg.norm(whole - np.linalg.solve(hessian, gradient) - kept)
    lipschitz = 1 + mu * max(np.linalg.norm(whole), np.linalg.norm(kept))
    constants = {**NEWTON, "n": n, "deleted": m, "strong_convexity": mu, "lipschitz": lipschitz}
    sigma = ef.newton_removal_sigma(**{**constants, "hessian_lipschitz": 1 / (6 * math.sqrt(3)), "epsilon": 2.0})
    assert 0 < error <= sigma * ef.gaussian_r(2.0, 1e-4)


def test_clipped_gradients_by_the_formula_as_it_is_written():
    sigma, gamma = ef.clipped_sigma(**GRADIENT), 1 - 0.1 * 0.3
    distance = 2 * gamma**40 + 2 * 0.5 / 0.3 * (1 - gamma**40)
    slope = distance**2 * 0.03 * (2 - 0.03) / (2 * sigma**2 * (1 - gamma**80))
    orders = 1 + np.geomspace(1e-2, 1e4, 100_001)
    assert ef.rdp_to_dp(orders, slope * orders, delta=1e-5) == pytest.approx(1.0, rel=1e-7)  # the grid's step squared
    still = ef.clipped_sigma(**{**GRADIENT, "weight_decay": 0.0})
    slope = (2 + 2 * 0.1 * 0.5 * 40) ** 2 / (2 * still**2 * 40)
    assert ef.rdp_to_dp(orders, slope * orders, delta=1e-5) == pytest.approx(1.0, rel=1e-7)
    faint = ef.clipped_sigma(**{**GRADIENT, "weight_decay": 1e-9})
    assert faint == pytest.approx(still, rel=1e-7)  # continuous in λ: 40 steps of 1e-10


def test_clipped_models_hide_what_their_bound_says():
    """w' = C·sign(w), the map that forgets least: the exact δ of three steps lies below the target."""
    from scipy.special import ndtr

    sigma = ef.clipped_sigma(**MODEL)
    plus = ndtr(2.0 / sigma)  # a start at +C₀ is at +C after the first step
    right = np.array([plus, 1 - plus])
    for _ in range(2):
        right = right * ndtr(1 / sigma) + (1 - right) * ndtr(-1 / sigma)
    x = np.linspace(-1 - 12 * sigma, 1 + 12 * sigma, 20_001)
    up, down = (np.exp(-((x - c) ** 2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi)) for c in (1, -1))
    laws = right[:, None] * up + (1 - right[:, None]) * down
    exact = np.trapezoid(np.maximum(laws[0] - math.exp(0.7) * laws[1], 0), x)
    assert 0.15 < exact <= 0.2
    one = ef.clipped_sigma(**{**MODEL, "steps": 1})
    first = ef.gaussian_delta(0.7, 4.0 / one)
    raised = math.log(1 + (math.exp(0.7) - 1) / first)
    assert first * ef.gaussian_delta(raised, 2.0 / one) == pytest.approx(0.2, rel=1e-11)


def test_counts_are_whole():
    with pytest.raises(InputError, match="it counts, so it must be a whole number"):
        as_count(1.5, "steps")


REFUSALS = [
    (ef.d2d_sigma, {**LOGISTIC, "steps": 1, "epsilon": 0.0}, "epsilon is 0; it must be above 0"),
    (ef.d2d_sigma, {**LOGISTIC, "steps": 1, "epsilon": 1.0, "delta": 1.0}, "delta is 1, but"),
    (ef.d2d_sigma, {**LOGISTIC, "steps": 0, "epsilon": 1.0}, "steps is 0; at least 1"),
    (ef.d2d_sigma, {**LOGISTIC, "steps": 1, "epsilon": 1.0, "smoothness": 0.001}, "Have they changed places"),
    (ef.d2d_sigma, {**LOGISTIC, "steps": 1, "epsilon": 1.0, "state": "open"}, "state is 'open'"),
    (ef.d2d_sigma, {**LOGISTIC, "steps": 1, "epsilon": 1.0, "state": "published"}, "needs dim"),
    (ef.d2d_sigma, {**LOGISTIC, "steps": 1, "epsilon": 1.0, "state": "published", "dim": 9}, "at least 67: log"),
    (ef.r2d_sigma, {**REWIND, "unlearning_steps": 4000, "epsilon": 1.0, "delta": 0.1}, "at most 3666 is possible: tr"),
    (ef.r2d_sigma, {**REWIND, "deleted": 94_449, "epsilon": 1.0, "delta": 0.1}, "one of the n = 94449 points"),
    (ef.r2d_sigma, {**REWIND, "step_size": 3.0, "epsilon": 1.0, "delta": 0.1}, "above its limit min.1/smoothness, n/"),
    (ef.langevin_sigma, {**LOGISTIC, "steps": -1, "epsilon": 1.0}, "steps is -1; at least 0"),
    (ef.langevin_epsilon, {**LOGISTIC, "steps": 1, "sigma": 0.0}, "sigma is 0"),
    (ef.langevin_epsilon, {**LOGISTIC, "steps": 1, "sigma": 1.0, "replaced": 20_000}, "there are n = 11982 points"),
    (ef.noisy_sgd_epsilon, {**SGD, "batch": 7}, "batch is 7, which does not divide n = 60"),
    (ef.noisy_sgd_epsilon, {**SGD, "step_size": 1.1}, "step_size is 1.1, above its limit 1/smoothness = 1"),
    (ef.certified_removal_sigma, {**CERTIFIED, "l2": 0.0}, "l2 is 0"),
    (ef.certified_removal_sigma, {**CERTIFIED, "curvature_lipschitz": -1.0}, "curvature_lipschitz is -1"),
    (ef.newton_removal_sigma, {**NEWTON, "deleted": 100}, "one of the n = 100 points"),
    (ef.clipped_sigma, {**GRADIENT, "step_size": None}, "needs step_size"),
    (ef.clipped_sigma, {**GRADIENT, "weight_decay": 20.0}, "Take a step below 1/weight_decay = 0.05"),
    (ef.clipped_sigma, {**MODEL, "step_size": 0.1}, "takes no step_size"),
    (ef.clipped_sigma, {**MODEL, "clipping": "both"}, "clipping is 'both'"),
    (ef.clipped_sigma, {**MODEL, "radius": math.nan}, "radius is nan"),
]


@pytest.mark.parametrize(("formula", "constants", "words"), REFUSALS, ids=[row[2] for row in REFUSALS])
def test_constants_outside_their_range_are_refused(formula, constants: dict, words: str):
    with pytest.raises(InputError, match=words):
        formula(**constants)
