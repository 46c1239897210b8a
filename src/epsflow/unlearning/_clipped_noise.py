"""Noise of fine-tuning on what is left when parameters or gradients are clipped: nothing is assumed of the risk."""

import math

import numpy as np

from .._core import InputError
from ._gaussian import log_gaussian_delta
from ._parameters import as_count, as_nonnegative, as_positive, as_privacy
from ._renyi import line_slope


def clipped_sigma(
    *,
    clipping: str,
    initial_radius: float,
    radius: float,
    steps: int,
    epsilon: float,
    delta: float,
    step_size: float | None = None,
    weight_decay: float = 0.0,
) -> float:
    """The noise per step of clipped fine-tuning on the retained data (setting of arXiv 2506.06985; derived here).

    Example:
        >>> ball = {"clipping": "gradient", "initial_radius": 1.0, "radius": 1.0, "step_size": 0.1}
        >>> one, four = (ef.clipped_sigma(**ball, steps=steps, epsilon=1.0, delta=1e-5) for steps in (1, 4))
        >>> round(four / one, 6)  # (2.8/√4)/2.2
        0.636364

    The start is clipped to the ball of radius C₀, so that any two are at most 2C₀ apart, and T noisy steps on the same
    retained data follow. No convexity, smoothness or bound on gradients is assumed.

    clipping="gradient": w ← (1 − ηλ)w − η clip(g, C₁) + N(0, σ²I). Coupled runs part by at most 2ηC₁ a step and
    contract by γ = 1 − ηλ. Shifts a_t that take this up, ∑γ^{T−t}a_t = D = 2C₀γ^T + 2ηC₁∑_{j<T}γ^j, cost α∑a_t²/(2σ²)
    of Rényi divergence, at the least (a_t ∝ γ^{T−t}, which leaves every distance on the way non-negative)

        ε(α) = α D² / (2σ² ∑_{j<T}γ^{2j}),     so σ² = D²/(2e ∑γ^{2j})

    with e the largest slope whose line ε(α) = αe gives (ε, δ) by the tight conversion of `rdp_to_dp`. A public code has
    4e in place of 2e for λ = 0: √2 too little noise.

    clipping="model": w ← clip(w', C) + N(0, σ²I) with any w' computed from w and the retained data; the start is
    clip(w, C₀) + N(0, σ²I). With δ_G of `gaussian_delta`, advanced joint convexity (Balle, Barthe and Gaboardi, 2018)
    gives

        δ_0 = δ_G(ε; 2C₀/σ),   δ_{t+1} = δ_t δ_G(ε̃_t; 2C/σ),   ε̃_t = log(1 + (e^ε − 1)/δ_t)

    and σ is the least with δ_T ≤ δ, to a rounding.

    Args:
        clipping: "gradient" or "model".
        initial_radius: C₀ ≥ 0 of the start.
        radius: C₁ of the gradients, or C of the parameters.
        steps: T ≥ 1.
        epsilon: ε_dp > 0.
        delta: δ_dp in (0, 1).
        step_size: η, for gradients.
        weight_decay: λ ≥ 0 with ηλ < 1, for gradients.

    Raises:
        InputError: a constant outside its range, a step size too many or too few, or another kind of clipping.
    """
    start, bound = as_nonnegative(initial_radius, "initial_radius"), as_positive(radius, "radius")
    steps = as_count(steps, "steps")
    epsilon, delta = as_privacy(epsilon, delta)
    if clipping == "gradient":
        if step_size is None:
            raise InputError("clipping='gradient' needs step_size: a clipped gradient moves w by step_size·radius.")
        return _gradient_sigma(start, bound, steps, line_slope(epsilon, delta), step_size, weight_decay)
    if clipping != "model":
        raise InputError(f"clipping is {clipping!r}; the choices are 'gradient' and 'model'.")
    if step_size is not None or weight_decay:
        raise InputError("clipping='model' bounds every step by its radius; it takes no step_size and no weight_decay.")
    return _model_sigma(start, bound, steps, epsilon, delta)


def _gradient_sigma(start: float, bound: float, steps: int, slope: float, step_size: float, decay: float) -> float:
    eta, rate = as_positive(step_size, "step_size"), as_nonnegative(decay, "weight_decay")
    if eta * rate >= 1:
        raise InputError(
            f"step_size·weight_decay is {eta * rate:g}; it must be below 1, or a step overshoots 0. "
            f"Take a step below 1/weight_decay = {1 / rate:g}."
        )
    log_gamma = math.log1p(-eta * rate)
    once, twice = _geometric(log_gamma, steps), _geometric(2 * log_gamma, steps)
    distance = 2 * start * math.exp(steps * log_gamma) + 2 * eta * bound * once
    return distance / math.sqrt(2 * slope * twice)


def _geometric(log_ratio: float, terms: int) -> float:
    """∑_{j<T} q^j, from log q ≤ 0."""
    return math.expm1(terms * log_ratio) / math.expm1(log_ratio) if log_ratio else float(terms)


def _model_sigma(start: float, bound: float, steps: int, epsilon: float, delta: float) -> float:
    from scipy.optimize import root_scalar  # not spent by `import epsflow`

    target = math.log(delta)

    def excess(log_sigma: float) -> float:
        """Log δ_T − log δ, cut below so that bisection sees no infinity."""
        sigma = math.exp(log_sigma)
        return max(_log_model_delta(start / sigma, bound / sigma, steps, epsilon) - target, -1e3)

    # Infinite noise hides everything and none nothing, and δ_T falls between them.
    high = math.log(bound)
    while excess(high) > 0:
        high += 1
    low = high - 1
    while excess(low) <= 0:
        low -= 1
    return math.exp(root_scalar(excess, bracket=(low, high), method="brentq", xtol=1e-14, rtol=1e-15).root)


def _log_model_delta(start: float, bound: float, steps: int, epsilon: float) -> float:
    """Log δ_T, radii in units of σ."""
    log_delta = float(log_gaussian_delta(np.asarray(epsilon), np.asarray(2 * start)))
    log_odds = epsilon + math.log(-math.expm1(-epsilon))  # log(e^ε − 1)
    for _ in range(steps):
        if log_delta == -math.inf:
            break
        raised = np.asarray(np.logaddexp(0, log_odds - log_delta))
        log_delta += float(log_gaussian_delta(raised, np.asarray(2 * bound)))
    return log_delta
