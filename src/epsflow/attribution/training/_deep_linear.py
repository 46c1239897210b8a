"""Stages of learning in closed form: the deep linear network, whose modes are learned one after another."""

import numpy as np
from jaxtyping import Float

from ..._core import InputError, as_float64


def mode_strengths(
    strengths: Float[np.ndarray, " modes"],
    ts: Float[np.ndarray, " k"],
    *,
    initial: Float[np.ndarray, " modes"] | float,
    tau: float = 1.0,
) -> Float[np.ndarray, "k modes"]:
    """How far a two-layer linear network has learned each mode, 𝒢_k(t).

    𝒢_k(t) = s_k e^{2s_kt/τ}/(e^{2s_kt/τ} − 1 + s_k/𝒢_k(0)) solves τ𝒢̇ = 2𝒢(s − 𝒢): the gradient flow of
    ½‖W₂W₁ − Σ‖² on whitened inputs, both layers balanced and aligned with the singular vectors of the input–output
    correlation Σ. Mode k rises at t ≈ (τ/2s_k) ln(s_k/𝒢_k(0)).

    Source: Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear
    neural networks" (2014).

    Args:
        strengths: the singular values s_k > 0, shape (modes,).
        ts: times ≥ 0, shape (k,).
        initial: 𝒢_k(0) > 0, one number or one per mode.
        tau: τ > 0.

    Raises:
        InputError: a strength, a start or τ that is not positive; a negative time.
    """
    s, times, start = as_float64(strengths, "strengths"), as_float64(ts, "ts"), as_float64(initial, "initial")
    rate = as_float64(tau, "tau")
    for name, value in (("strengths", s), ("initial", start), ("tau", rate)):
        if not (np.isfinite(value).all() and (value > 0.0).all()):
            raise InputError(f"{name} is {value}; positive, finite numbers are needed: a mode at 0 is never learned.")
    if not (np.isfinite(times).all() and (times >= 0.0).all()):
        raise InputError("ts holds a time that is negative or not finite; the network starts at 0.")
    # Divided by the growing exponential, so that nothing overflows however late t is.
    return s / (1.0 + (s / start - 1.0) * np.exp(-2.0 * s * times[:, None] / rate))
