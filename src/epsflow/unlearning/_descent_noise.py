"""Worst-case noise of gradient descent on what is left: descend-to-delete and rewind-to-delete, from constants."""

import math

from .._core import InputError
from ._gaussian import gaussian_r
from ._parameters import as_count, as_curvatures, as_positive, as_privacy, as_step


def d2d_sigma(
    *,
    n: int,
    strong_convexity: float,
    smoothness: float,
    lipschitz: float,
    steps: int,
    epsilon: float,
    delta: float,
    state: str = "secret",
    dim: int | None = None,
) -> float:
    """The noise of descend-to-delete, σ per coordinate (Neel, Roth and Sharifi-Malvajerdi, 2020).

    Example:
        >>> risk = {"n": 1000, "strong_convexity": 0.1, "smoothness": 1.0, "lipschitz": 1.0}
        >>> [round(ef.d2d_sigma(**risk, steps=steps, epsilon=1.0, delta=1e-5), 4) for steps in (1, 10)]
        [1.7642, 0.0609]

    With γ = (L_s − μ)/(L_s + μ) and I steps,

        secret:     σ = 4√2 G γ^I / (μn (1 − γ^I) (√(log(1/δ) + ε) − √log(1/δ)))
        published:  σ = 8 G γ^I / (μn (1 − γ^I) (√(2 log(2/δ) + 3ε) − √(2 log(2/δ) + 2ε)))

    Assumed: each point's loss is μ-strongly convex, L_s-smooth and G-Lipschitz on the ball to which every step is
    projected; the risk is their mean; full batches with step 2/(L_s + μ); one point is added or deleted per request;
    training took T ≥ I + log(Δ_Θ μn/2G)/log(1/γ) steps, Δ_Θ the ball's diameter. A convex loss is made strongly convex
    by (μ/2)‖θ‖²: then pass L_s + μ for `smoothness` and G + μΔ_Θ for `lipschitz`. The guarantee holds for every request
    of a sequence. Theirs is the theorem, and the conversion from distance to (ε, δ) is theirs too, which is looser than
    `gaussian_r`.

    Args:
        n: number of points, after the deletion of one of which the guarantee is stated.
        strong_convexity: μ > 0.
        smoothness: L_s ≥ μ.
        lipschitz: G, a bound on each point's gradient.
        steps: I. With a secret state every request takes I steps from the noiseless parameters; with a published one
            request i starts from the noisy parameters and takes I + log(log(4di/δ))/log(1/γ) steps.
        epsilon: ε_dp > 0.
        delta: δ_dp in (0, 1).
        state: whether the noiseless parameters are kept ("secret") or forgotten ("published").
        dim: d, the number of parameters; needed for the least I of a published state.

    Raises:
        InputError: a constant outside its range, or a published state with fewer steps than the theorem asks for.
    """
    n = as_count(n, "n", least=2)
    mu, smooth = as_curvatures(strong_convexity, smoothness)
    gradient = as_positive(lipschitz, "lipschitz")
    steps = as_count(steps, "steps")
    epsilon, delta = as_privacy(epsilon, delta)
    # γ is 1 − 2μ/(L_s + μ), which rounds to 1 for small μ; its logarithm does not. γ = 0 where μ = L_s.
    log_gamma = math.log1p(-2 * mu / (smooth + mu)) if mu < smooth else -math.inf
    contraction = math.exp(steps * log_gamma) / -math.expm1(steps * log_gamma)
    if state == "secret":
        gap = _root_gap(-math.log(delta), epsilon)
        return 4 * math.sqrt(2) * gradient * contraction / (mu * n * gap)
    if state != "published":
        raise InputError(f"state is {state!r}; the choices are 'secret' and 'published'.")
    if dim is None:
        raise InputError(
            "A published state needs dim, the number of parameters: the least number of steps depends on it."
        )
    dim = as_count(dim, "dim")
    level = 2 * math.log(2 / delta)
    least = math.log(math.sqrt(2 * dim) * (smooth + mu) / (2 * mu) / _root_gap(level, epsilon)) / -log_gamma
    if steps < least:
        raise InputError(
            f"steps is {steps}, but with a published state the theorem needs at least {math.ceil(least)}: "
            "log(√(2d)/((1 − γ)(√(2log(2/δ) + ε) − √(2log(2/δ)))))/log(1/γ)."
        )
    return 8 * gradient * contraction / (mu * n * _root_gap(level + 2 * epsilon, epsilon))


def r2d_sensitivity(
    *,
    n: int,
    deleted: int,
    smoothness: float,
    lipschitz: float,
    step_size: float,
    steps: int,
    unlearning_steps: int,
    tight: bool = False,
) -> float:
    """How far rewind-to-delete can end from retraining: 2mG h(K)/(L_s n).

    Example:
        >>> risk = {"n": 100, "deleted": 1, "smoothness": 1.0, "lipschitz": 1.0, "step_size": 0.1}
        >>> round(ef.r2d_sensitivity(**risk, steps=10, unlearning_steps=5, tight=True), 4)  # 0.02 (1.1¹⁰ − 1.1⁵)
        0.0197

        h = [(1 + ηL_s n/(n − m))^{T−K} − 1] (1 + ηL_s)^K       (Mu and Klabjan, 2024, Theorem 3.1)
        h = (1 + ηL_s)^T − (1 + ηL_s)^K                         (`tight`)

    The tighter one, in three lines. Both runs descend the mean risk, of n and of n − m points, from one initial point,
    so the difference of their gradients at one θ is (m/n)(∇f_Z − ∇f_{D'}), at most 2Gm/n. A step on f_{D'} is
    (1 + ηL_s)-Lipschitz, so ‖Δ_{t+1}‖ ≤ (1 + ηL_s)‖Δ_t‖ + 2ηGm/n for T − K steps, and without the second term for K
    more. The sum is 2mG/(L_s n) times h. Where it exceeds 1e308 the answer is infinite.

    Assumed: each point's loss is L_s-smooth, not necessarily convex, with gradients bounded by G; full batches; η at
    most min{1/L_s, n/(2(n − m)L_s)}. T and K count optimiser steps, not epochs.

    Raises:
        InputError: a constant outside its range, η above its limit, K > T, or nothing left to train on.
    """
    n = as_count(n, "n", least=2)
    m = as_count(deleted, "deleted", most=n - 1, why=f"one of the n = {n} points has to be left")
    smooth, gradient = as_positive(smoothness, "smoothness"), as_positive(lipschitz, "lipschitz")
    steps = as_count(steps, "steps")
    back = as_count(unlearning_steps, "unlearning_steps", 0, steps, f"training took T = {steps} steps")
    limit = min(1 / smooth, n / (2 * (n - m) * smooth))
    rate = smooth * as_step(step_size, limit, "min{1/smoothness, n/(2(n − deleted) smoothness)}")
    forward = rate if tight else rate * n / (n - m)
    exponent = (steps - back) * math.log1p(forward)
    # log(e^x − 1) without overflow; T = K is retraining, at no distance.
    if exponent == 0:
        return 0.0
    log_h = exponent + math.log(-math.expm1(-exponent)) + back * math.log1p(rate)
    return _exp(math.log(2 * m * gradient / (smooth * n)) + log_h)


def r2d_sigma(
    *,
    n: int,
    deleted: int,
    smoothness: float,
    lipschitz: float,
    step_size: float,
    steps: int,
    unlearning_steps: int,
    epsilon: float,
    delta: float,
    tight: bool = False,
) -> float:
    """The noise of rewind-to-delete, σ per coordinate, added at the end of learning and of unlearning.

    Example:
        >>> risk = {"n": 100, "deleted": 1, "smoothness": 1.0, "lipschitz": 1.0, "step_size": 0.1}
        >>> round(ef.r2d_sigma(**risk, steps=10, unlearning_steps=5, epsilon=1.0, delta=1e-5), 4)
        0.0964

    `r2d_sensitivity` times √(2 log(1.25/δ))/ε for ε ≤ 1 (Mu and Klabjan, 2024, Theorem 3.1), whose conversion holds for
    no larger ε; above, divided by `gaussian_r(epsilon, delta)`, which is exact for every ε, and smaller for ε ≤ 1 too.

    Args:
        n: number of points that were trained on.
        deleted: m, how many of them are removed.
        smoothness: L_s of each point's loss.
        lipschitz: G, a bound on each point's gradient.
        step_size: η ≤ min{1/L_s, n/(2(n − m)L_s)}.
        steps: T, the number of gradient steps of training; not of epochs.
        unlearning_steps: K ≤ T: rewind to θ_{T−K}, then K steps on what is left.
        epsilon: ε_dp > 0.
        delta: δ_dp in (0, 1).
        tight: the smaller sensitivity, proved in `r2d_sensitivity`.

    Raises:
        InputError: as `r2d_sensitivity`; ε or δ outside its range.
    """
    epsilon, delta = as_privacy(epsilon, delta)
    sensitivity = r2d_sensitivity(
        n=n,
        deleted=deleted,
        smoothness=smoothness,
        lipschitz=lipschitz,
        step_size=step_size,
        steps=steps,
        unlearning_steps=unlearning_steps,
        tight=tight,
    )
    return gaussian_noise(sensitivity, epsilon, delta)


def gaussian_noise(sensitivity: float, epsilon: float, delta: float) -> float:
    """The σ for a distance: √(2 log(1.25/δ))/ε times it for ε ≤ 1, else one over `gaussian_r`.

    The first is the classical Gaussian mechanism (Dwork and Roth, 2014, Theorem A.1), which fails for large ε.
    """
    if epsilon <= 1:
        return sensitivity * math.sqrt(2 * math.log(1.25 / delta)) / epsilon
    return sensitivity / float(gaussian_r(epsilon, delta))


def _root_gap(level: float, step: float) -> float:
    """√(level + step) − √level without cancellation."""
    return step / (math.sqrt(level + step) + math.sqrt(level))


def _exp(exponent: float) -> float:
    """e^x, infinite where it overflows."""
    try:
        return math.exp(exponent)
    except OverflowError:
        return math.inf
