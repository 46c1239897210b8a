"""Checks of what every guarantee is stated in: ε_dp, δ_dp, constants of the risk, counts. One message each."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from .._core import InputError, as_scalar

Numbers = float | int | Sequence[Any] | np.ndarray
"""What becomes an array of numbers."""


def as_numbers(value: Numbers, name: str) -> Float[np.ndarray, "..."]:
    """Numbers of any shape in float64; NaN is refused.

    Raises:
        InputError: no numbers, or one of them is NaN.
    """
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} is not an array of numbers ({error}). Pass a float or an array of floats.") from error
    if np.isnan(array).any():
        raise InputError(f"{name} holds NaN; every entry must be a number.")
    return array


def as_epsilons(value: Numbers) -> Float[np.ndarray, "..."]:
    """ε_dp of a curve: numbers that are not negative, 0 included (δ_dp is then the total variation)."""
    array = as_numbers(value, "epsilon")
    _refuse(array, (array < 0) | np.isinf(array), "epsilon", "ε_dp is a finite number that is not negative")
    return array


def as_deltas(value: Numbers) -> Float[np.ndarray, "..."]:
    """δ_dp inside (0, 1)."""
    array = as_numbers(value, "delta")
    _refuse(array, (array <= 0) | (array >= 1), "delta", "δ_dp is a probability inside (0, 1), usually below 1/n")
    return array


def as_separations(value: Numbers) -> Float[np.ndarray, "..."]:
    """Distance over noise, r = ‖Δ‖/σ: numbers that are not negative; infinity is no noise at all."""
    array = as_numbers(value, "r")
    _refuse(array, array < 0, "r", "it is a distance divided by the noise's standard deviation")
    return array


def as_privacy(epsilon: float, delta: float) -> tuple[float, float]:
    """One target (ε_dp, δ_dp): ε_dp > 0 and δ_dp inside (0, 1).

    Raises:
        InputError: either outside its range.
    """
    return as_positive(epsilon, "epsilon"), float(as_deltas(as_scalar(delta, "delta")))


def as_positive(value: float, name: str) -> float:
    """A finite number above 0."""
    number = as_scalar(value, name)
    if number <= 0:
        raise InputError(f"{name} is {number:g}; it must be above 0.")
    return number


def as_nonnegative(value: float, name: str) -> float:
    """A finite number that is not negative."""
    number = as_scalar(value, name)
    if number < 0:
        raise InputError(f"{name} is {number:g}; it must not be negative.")
    return number


def as_count(value: float | int, name: str, least: int = 1, most: int | None = None, why: str = "") -> int:
    """A whole number from `least` to `most`.

    Raises:
        InputError: not whole, or outside; `why` says where `most` comes from.
    """
    number = as_scalar(value, name)
    if number != int(number):
        raise InputError(f"{name} is {number:g}; it counts, so it must be a whole number.")
    if number < least:
        raise InputError(f"{name} is {int(number)}; at least {least} is needed.")
    if most is not None and number > most:
        raise InputError(f"{name} is {int(number)}; at most {most} is possible{': ' + why if why else ''}.")
    return int(number)


def as_step(value: float, limit: float, limit_is: str) -> float:
    """A step size η in (0, limit].

    Raises:
        InputError: outside; `limit_is` is the formula of the limit, such as "1/smoothness".
    """
    step = as_positive(value, "step_size")
    # A step computed as the limit itself may exceed it by rounding.
    if step > limit * (1 + 4 * np.finfo(float).eps):
        raise InputError(
            f"step_size is {step:g}, above its limit {limit_is} = {limit:g}, beyond which the bound is not proved. "
            f"Take a step of at most {limit:g}."
        )
    return step


def as_curvatures(strong_convexity: float, smoothness: float) -> tuple[float, float]:
    """Strong convexity μ and smoothness L_s with 0 < μ ≤ L_s.

    Raises:
        InputError: either not above 0, or μ > L_s.
    """
    mu = as_positive(strong_convexity, "strong_convexity")
    smooth = as_positive(smoothness, "smoothness")
    if mu > smooth:
        raise InputError(
            f"strong_convexity is {mu:g}, above smoothness {smooth:g}; every eigenvalue of the Hessian lies between "
            "them. Have they changed places?"
        )
    return mu, smooth


def _refuse(array: np.ndarray, bad: np.ndarray | np.bool, name: str, rule: str) -> None:
    if np.any(bad):
        raise InputError(f"{name} is {array[bad].flat[0]:g}, but {rule}.")
