"""From a Rényi bound ε(α), one or a line in α, to (ε_dp, δ_dp)."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from .._core import InputError
from ._parameters import Numbers, as_deltas, as_numbers


def rdp_to_dp(
    orders: Numbers, rdp: Numbers, *, delta: float, conversion: str = "tight"
) -> Float[np.ndarray, "..."] | float:
    """The smallest ε_dp that a Rényi bound proves at δ_dp, over the orders given.

    Example:
        >>> orders = np.arange(2.0, 65.0)
        >>> round(float(ef.rdp_to_dp(orders, orders / 32, delta=1e-5)), 4)  # two Gaussians with r = ¼
        1.0126

        tight:      ε = min_α ε(α) − (log δ + log α)/(α − 1) + log((α − 1)/α)  (Canonne, Kamath, Steinke 2020, Prop. 12)
        classical:  ε = min_α ε(α) + log(1/δ)/(α − 1)                          (Mironov 2017, Prop. 3)

    Every order proves its own ε_dp, so a coarse grid gives a larger number, never a wrong one.

    Args:
        orders: α > 1, shape (k,).
        rdp: ε(α) ≥ 0, shape (..., k); infinite where an order proves nothing.
        delta: δ_dp in (0, 1).
        conversion: "tight", or the "classical" one in which many papers state their results.

    Returns:
        ε_dp, shape (...); never below 0.

    Raises:
        InputError: an order of at most 1, a negative ε(α), shapes that do not match, or δ_dp outside (0, 1).
    """
    alpha, bound = np.atleast_1d(as_numbers(orders, "orders")), as_numbers(rdp, "rdp")
    log_delta = float(np.log(as_deltas(delta)))
    if alpha.ndim != 1 or not alpha.size or bound.shape[-1:] != alpha.shape:
        raise InputError(
            f"orders has shape {alpha.shape} and rdp {bound.shape}; one bound ε(α) for each order is needed, along the "
            "last axis of rdp."
        )
    if (alpha <= 1).any() or np.isinf(alpha).any():
        raise InputError(
            f"orders holds {alpha[(alpha <= 1) | np.isinf(alpha)][0]:g}; a Rényi order is finite, above 1."
        )
    if (bound < 0).any():
        raise InputError("rdp holds a negative number; a Rényi divergence is not negative.")
    return np.maximum((bound + _toll(alpha, log_delta, conversion)).min(-1), 0)[()]


def line_epsilon(slope: float, delta: float) -> float:
    """The ε_dp of ε(α) = α·slope by the tight conversion; slope = r²/2 for a Gaussian."""
    if slope == 0:
        return 0.0
    log_delta = float(np.log(delta))
    return max(_least(lambda alpha: slope * alpha + _toll(alpha, log_delta, "tight")), 0.0)


def curve_epsilon(rdp: Callable[[np.ndarray], np.ndarray], delta: float, conversion: str) -> float:
    """The least ε_dp at δ_dp that a Rényi bound proves, as a function of α > 1."""
    log_delta = float(np.log(delta))
    return max(_least(lambda alpha: rdp(alpha) + _toll(alpha, log_delta, conversion)), 0.0)


def line_slope(epsilon: float, delta: float) -> float:
    """The largest slope with `line_epsilon(slope, delta)` ≤ ε: max_α (ε − toll(α))/α."""
    log_delta = float(np.log(delta))
    return -_least(lambda alpha: (_toll(alpha, log_delta, "tight") - epsilon) / alpha)


def _toll(alpha: np.ndarray, log_delta: float, conversion: str) -> np.ndarray:
    """What an order adds to ε(α)."""
    if conversion == "classical":
        return -log_delta / (alpha - 1)
    if conversion == "tight":
        return np.log1p(-1 / alpha) - (log_delta + np.log(alpha)) / (alpha - 1)
    raise InputError(f"conversion is {conversion!r}; the choices are 'tight' and 'classical'.")


def _least(of_order: Callable[[np.ndarray], np.ndarray]) -> float:
    """The least value over α > 1: a grid in log(α − 1), refined around its best node, each of whose values is valid."""
    low, high, value = np.log(1e-6), np.log(1e9), np.inf
    for _ in range(6):
        nodes = np.linspace(low, high, 201)
        values = of_order(1 + np.exp(nodes))
        best = int(values.argmin())
        low, high, value = nodes[max(best - 1, 0)], nodes[min(best + 1, 200)], float(values[best])
    return value
