"""Worst-case guarantees of noisy gradient steps: Langevin unlearning, and noisy SGD with fixed batches."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._core import InputError
from ._parameters import as_count, as_curvatures, as_positive, as_privacy, as_step
from ._renyi import curve_epsilon, line_epsilon, line_slope


def langevin_epsilon(
    *,
    n: int,
    strong_convexity: float,
    smoothness: float,
    lipschitz: float,
    steps: int,
    sigma: float,
    delta: float,
    replaced: int = 1,
) -> float:
    """The ε_dp of Langevin unlearning after K steps, for the first request (Chien, Wang, Chen and Li, 2024).

    Example:
        >>> risk = {"n": 1000, "strong_convexity": 0.1, "smoothness": 1.0, "lipschitz": 1.0}
        >>> [round(ef.langevin_epsilon(**risk, steps=steps, sigma=0.1, delta=1e-5), 3) for steps in (0, 100)]
        [0.433, 0.397]

    Steps w ← Π(w − η∇f(w) + √(2ησ²) ξ) with η = 1/L_s, first on all n points until stationary, then K on the changed
    data. The Rényi bound is

        ε(α) = 4αS²G²/(μσ²n²) · e^{−Kημ/α},        ε_dp = min_{α>1} ε(α) + log(1/δ)/(α − 1)

    by the classical conversion, as in their results. The minimum is exact: e^{−κ/α}(1 + κ/α) grows and (α − 1)⁻² falls,
    so the derivative vanishes once.

    Assumed: each point's loss is μ-strongly convex, L_s-smooth and G-Lipschitz on the convex set of the projection Π;
    the risk is their mean; full batches; training was run to stationarity; at most S points are *replaced*. The noisy
    parameters may be published. For a sequence of requests this is the first only.

    Args:
        n: number of points.
        strong_convexity: μ > 0.
        smoothness: L_s ≥ μ.
        lipschitz: G, a bound on each point's gradient.
        steps: K ≥ 0.
        sigma: σ > 0; a step's noise has variance 2ησ² per coordinate.
        delta: δ_dp in (0, 1).
        replaced: S, how many points the request replaces.

    Raises:
        InputError: a constant outside its range.
    """
    scale, kappa = _langevin(n, strong_convexity, smoothness, lipschitz, steps, replaced)
    amount = scale / as_positive(sigma, "sigma") ** 2
    _, delta = as_privacy(1.0, delta)
    log_inverse = -math.log(delta)

    def slope(log_order: float) -> float:
        """Sign of the derivative at α = 1 + e^x, as a difference of logarithms."""
        alpha = 1 + math.exp(log_order)
        return math.log(amount) - kappa / alpha + math.log1p(kappa / alpha) - math.log(log_inverse) + 2 * log_order

    from scipy.optimize import root_scalar  # not spent by `import epsflow`

    # −t + log(1 + t) is at most 0, and at least log 2 − 1 where t = κ/α ≤ 1: the interval holds the root.
    low = 0.5 * math.log(log_inverse / amount)
    bracket = (low - 1e-9, max(low + 1, math.log1p(kappa)))
    alpha = 1 + math.exp(root_scalar(slope, bracket=bracket, method="brentq", xtol=1e-12).root)
    return amount * alpha * math.exp(-kappa / alpha) + log_inverse / (alpha - 1)


def langevin_sigma(
    *,
    n: int,
    strong_convexity: float,
    smoothness: float,
    lipschitz: float,
    steps: int,
    epsilon: float,
    delta: float,
    replaced: int = 1,
) -> float:
    """The least σ of Langevin unlearning for (ε_dp, δ_dp): `langevin_epsilon` solved for the noise.

    Example:
        >>> risk = {"n": 1000, "strong_convexity": 0.1, "smoothness": 1.0, "lipschitz": 1.0}
        >>> sigma = ef.langevin_sigma(**risk, steps=100, epsilon=1.0, delta=1e-5)
        >>> round(sigma, 4), round(ef.langevin_epsilon(**risk, steps=100, sigma=sigma, delta=1e-5), 10)
        (0.0351, 1.0)

    For every α > 1 + log(1/δ)/ε the guarantee holds with σ² = cαe^{−κ/α}/(ε − log(1/δ)/(α − 1)), where
    c = 4S²G²/(μn²) and κ = Kμ/L_s. At the least of them x = α − 1 is the one positive root (Descartes' rule of signs)
    of

        εx³ + (ε(1 + κ) − 2ℓ)x² − (3 + κ)ℓx − ℓ = 0,   ℓ = log(1/δ)

    Args: as `langevin_epsilon`; ε_dp > 0.

    Raises:
        InputError: a constant outside its range.
    """
    scale, kappa = _langevin(n, strong_convexity, smoothness, lipschitz, steps, replaced)
    epsilon, delta = as_privacy(epsilon, delta)
    log_inverse = -math.log(delta)
    # In units of ℓ/ε the coefficients are of one size.
    unit = log_inverse / epsilon
    cubic = [unit, (1 + kappa) - 2 * unit, -(3 + kappa), -1 / unit]
    roots = np.roots(cubic)
    x = unit * float(roots[np.isreal(roots)].real.max())
    alpha = 1 + x
    return math.sqrt(scale * alpha * math.exp(-kappa / alpha) / (epsilon - log_inverse / x))


def noisy_sgd_epsilon(
    *,
    n: int,
    batch: int,
    strong_convexity: float,
    smoothness: float,
    lipschitz: float,
    step_size: float,
    epochs: int,
    sigma: float,
    delta: float,
) -> float:
    """The ε_dp of K epochs of projected noisy SGD on the changed data, batches in a fixed order.

    Example:
        >>> risk = {"n": 1000, "batch": 10, "strong_convexity": 0.1, "smoothness": 1.0, "lipschitz": 1.0}
        >>> run = {"step_size": 0.5, "epochs": 1}
        >>> round(ef.noisy_sgd_epsilon(**risk, **run, sigma=0.01, delta=1e-5), 4)
        0.0607

    Setting of Chien, Wang, Chen and Li (2024, "Certified machine unlearning via noisy stochastic gradient descent");
    the bound is derived here. Steps w ← Π(w − η∇f_B(w) + √(2ησ²) ξ), c = 1 − ημ, N = Kn/b. One replaced point moves one
    step of each epoch by at most 2ηG/b, so however long training took, coupled runs are at most
    Z = (2ηG/b)/(1 − c^{n/b}) apart. Then N noisy c-contractions may take up the distance in shifts a_t, at a Rényi cost
    of α∑a_t²/(4ησ²), if ∑c^{N−t}a_t = c^N Z (Feldman, Mironov, Talwar and Thakurta, 2018); by Cauchy and Schwarz the
    least is

        ε(α) = α Z² (1 − c²) c^{2N} / (4ησ² (1 − c^{2N}))

    which is attained by affine contractions. A public code has twice this number. The conversion is the tight one of
    `rdp_to_dp`.

    Assumed: each point's loss is μ-strongly convex, L_s-smooth and G-Lipschitz on the convex set of the projection;
    batches of b, the same before and after, in the same order; one point is replaced. Compared are K epochs on the
    changed data after training on the old data, and after training on the changed data.

    Args:
        n: number of points, a multiple of `batch`.
        batch: b.
        strong_convexity: μ > 0.
        smoothness: L_s ≥ μ.
        lipschitz: G, a bound on each point's gradient.
        step_size: η ≤ 1/L_s.
        epochs: K ≥ 1 of unlearning.
        sigma: σ > 0; a step's noise has variance 2ησ² per coordinate.
        delta: δ_dp in (0, 1).

    Raises:
        InputError: a constant outside its range, or a batch that does not divide n.
    """
    noise = as_positive(sigma, "sigma")
    _, delta = as_privacy(1.0, delta)
    unit = _noisy_sgd_slope(n, batch, strong_convexity, smoothness, lipschitz, step_size, epochs)
    return line_epsilon(unit / noise**2, delta)


def noisy_sgd_sigma(
    *,
    n: int,
    batch: int,
    strong_convexity: float,
    smoothness: float,
    lipschitz: float,
    step_size: float,
    epochs: int,
    epsilon: float,
    delta: float,
) -> float:
    """The least σ of projected noisy SGD for (ε_dp, δ_dp): `noisy_sgd_epsilon` solved for the noise.

    Example:
        >>> risk = {"n": 1000, "batch": 10, "strong_convexity": 0.1, "smoothness": 1.0, "lipschitz": 1.0}
        >>> run = {"step_size": 0.5, "epochs": 1}
        >>> sigma = ef.noisy_sgd_sigma(**risk, **run, epsilon=1.0, delta=1e-5)
        >>> round(ef.noisy_sgd_epsilon(**risk, **run, sigma=sigma, delta=1e-5), 10)
        1.0

    ε(α) is α times a number over σ²; σ² is that number over the largest slope whose line gives (ε, δ).

    Args: as `noisy_sgd_epsilon`; ε_dp > 0.

    Raises:
        InputError: a constant outside its range, or a batch that does not divide n.
    """
    epsilon, delta = as_privacy(epsilon, delta)
    unit = _noisy_sgd_slope(n, batch, strong_convexity, smoothness, lipschitz, step_size, epochs)
    return math.sqrt(unit / line_slope(epsilon, delta))


def _noisy_sgd_slope(
    n: int,
    batch: int,
    strong_convexity: float,
    smoothness: float,
    lipschitz: float,
    step_size: float,
    epochs: int,
) -> float:
    """ε(α)σ²/α of `noisy_sgd_epsilon`."""
    n = as_count(n, "n")
    b = as_count(batch, "batch", most=n, why=f"there are n = {n} points")
    if n % b:
        raise InputError(f"batch is {b}, which does not divide n = {n}; the bound counts n/batch whole steps an epoch.")
    mu, smooth = as_curvatures(strong_convexity, smoothness)
    eta = as_step(step_size, 1 / smooth, "1/smoothness")
    gradient = as_positive(lipschitz, "lipschitz")
    steps = as_count(epochs, "epochs") * (n // b)
    if eta * mu >= 1:  # one step forgets the start
        return 0.0
    log_c = math.log1p(-eta * mu)
    distance = 2 * eta * gradient / b / -math.expm1(n // b * log_c)
    shrink = -math.expm1(2 * log_c) * math.exp(2 * steps * log_c) / -math.expm1(2 * steps * log_c)
    return distance**2 * shrink / (4 * eta)


def _langevin(
    n: int, strong_convexity: float, smoothness: float, lipschitz: float, steps: int, replaced: int
) -> tuple[float, float]:
    """4S²G²/(μn²) and κ = Kμ/L_s of checked constants."""
    n = as_count(n, "n")
    mu, smooth = as_curvatures(strong_convexity, smoothness)
    gradient = as_positive(lipschitz, "lipschitz")
    size = as_count(replaced, "replaced", most=n, why=f"there are n = {n} points")
    return 4 * (size * gradient / n) ** 2 / mu, as_count(steps, "steps", least=0) * mu / smooth


def langevin_stream_epsilon(
    *,
    n: int,
    strong_convexity: float,
    smoothness: float,
    lipschitz: float,
    steps: Sequence[int],
    sigma: float,
    delta: float,
    replaced: int = 1,
) -> float:
    """The ε_dp of Langevin unlearning after the last of several requests (Chien, Wang, Chen and Li, 2024).

    Example:
        >>> risk = {"n": 1000, "strong_convexity": 0.1, "smoothness": 1.0, "lipschitz": 1.0}
        >>> noise = {"sigma": 0.1, "delta": 1e-5}
        >>> [round(ef.langevin_stream_epsilon(**risk, **noise, steps=steps), 3) for steps in ([100], [100, 100])]
        [0.397, 0.719]

    With ε_0(α) = 4αS²G²/(μσ²n²), η = 1/L_s and K_s steps for request s,

        ε_1(α) = e^{−K₁ημ/α} ε_0(α)
        ε_s(α) = e^{−K_sημ/α} (α − ½)/(α − 1) [ε_0(2α) + ε_{s−1}(2α)]

    by the weak triangle inequality of the Rényi divergence, and (ε_dp, δ_dp) by the classical conversion, as in their
    results. The guarantee is for what is released after each request, compared with retraining on what is left then;
    assumptions as in `langevin_epsilon`.

    Args:
        n, strong_convexity, smoothness, lipschitz, sigma, delta, replaced: see `langevin_epsilon`; each request
            replaces at most `replaced` points.
        steps: K of every request, in their order.

    Raises:
        InputError: a constant outside its range, or no request.
    """
    if not len(steps):
        raise InputError("steps is empty; name the steps of every request, such as steps=[100, 100].")
    scale, _ = _langevin(n, strong_convexity, smoothness, lipschitz, 0, replaced)
    kappas = [as_count(step, "steps", least=0) * strong_convexity / smoothness for step in steps]
    amount = scale / as_positive(sigma, "sigma") ** 2
    _, delta = as_privacy(1.0, delta)

    def rdp(alpha: np.ndarray, request: int) -> np.ndarray:
        forgotten = np.exp(-kappas[request] / alpha)
        if request == 0:
            return forgotten * amount * alpha
        return forgotten * (alpha - 0.5) / (alpha - 1) * (2 * amount * alpha + rdp(2 * alpha, request - 1))

    return curve_epsilon(lambda alpha: rdp(alpha, len(kappas) - 1), delta, "classical")


def langevin_stream_sigma(
    *,
    n: int,
    strong_convexity: float,
    smoothness: float,
    lipschitz: float,
    steps: Sequence[int],
    epsilon: float,
    delta: float,
    replaced: int = 1,
) -> float:
    """The least σ with which *every* request of a stream of Langevin unlearning is (ε_dp, δ_dp).

    Example:
        >>> risk = {"n": 1000, "strong_convexity": 0.1, "smoothness": 1.0, "lipschitz": 1.0}
        >>> sigma = ef.langevin_stream_sigma(**risk, steps=[100, 100], epsilon=1.0, delta=1e-5)
        >>> round(ef.langevin_stream_epsilon(**risk, steps=[100, 100], sigma=sigma, delta=1e-5), 10)
        1.0

    `langevin_stream_epsilon` of each beginning of the stream, solved for the noise, to a rounding.

    Args: as `langevin_stream_epsilon`; ε_dp > 0.

    Raises:
        InputError: a constant outside its range, or no request.
    """
    from scipy.optimize import root_scalar  # not spent by `import epsflow`

    epsilon, delta = as_privacy(epsilon, delta)
    common: dict[str, Any] = {
        "n": n,
        "strong_convexity": strong_convexity,
        "smoothness": smoothness,
        "lipschitz": lipschitz,
        "delta": delta,
        "replaced": replaced,
    }
    starts = [list(steps[: k + 1]) for k in range(len(steps))] or [[]]

    def excess(log_sigma: float) -> float:
        sigma = math.exp(log_sigma)
        worst = max(langevin_stream_epsilon(steps=start, sigma=sigma, **common) for start in starts)
        return math.log(worst) - math.log(epsilon)

    # One request needs least; ε falls as σ grows.
    first = {name: value for name, value in common.items() if name != "delta"}
    low = math.log(langevin_sigma(steps=starts[0][0] if starts[0] else 0, epsilon=epsilon, delta=delta, **first)) - 1.0
    high = low + 2.0
    while excess(high) > 0:
        high += 1.0
    return math.exp(root_scalar(excess, bracket=(low, high), method="brentq", xtol=1e-12, rtol=1e-13).root)
