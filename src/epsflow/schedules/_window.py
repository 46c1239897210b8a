"""The window [s, T], the bounds of ε on it, and what ∫|ε| dt may be: checked before anything heavy is loaded."""

import math
from collections.abc import Sequence

import numpy as np

from .._core import InputError, as_scalar, brief


def check_window(s: object, T: object, bounds: tuple[float, float]) -> tuple[float, float, tuple[float, float]]:
    """s, T and the bounds of ε as finite floats with 0 ≤ s < T and ε_min < ε_max.

    Example:
        >>> ef.schedules.check_window(1, 5, (0, 1))
        (1.0, 5.0, (0.0, 1.0))

    Raises:
        InputError: naming the one that is wrong.
    """
    start, end = as_scalar(s, "s"), as_scalar(T, "T")
    if not isinstance(bounds, Sequence | np.ndarray) or isinstance(bounds, str) or len(bounds) != 2:
        raise InputError(f"bounds is {brief(bounds)}; the least and the largest ε are needed: bounds=(0.0, 1.0).")
    low, high = as_scalar(bounds[0], "the lower bound of ε"), as_scalar(bounds[1], "the upper bound of ε")
    if start < 0.0:
        raise InputError(f"s is {start:g}; the deletion request cannot arrive before training starts at 0.")
    if end <= start:
        raise InputError(f"T = {end:g} must come after s = {start:g}: between them ε is free.")
    if low >= high:
        raise InputError(f"the bounds of ε are [{low:g}, {high:g}]; the lower one must lie below the upper one.")
    return start, end, (low, high)


def least_effort(length: float, bounds: tuple[float, float]) -> float:
    """The least ∫|ε| dt that the bounds allow on a window, for one weight.

    Example:
        >>> ef.schedules.least_effort(10.0, (0.5, 1.0))
        5.0
    """
    low, high = bounds
    return length * max(low, -high, 0.0)


def check_effort(budget: object, price: object, length: float, bounds: tuple[float, float]) -> float:
    """The most that ∫|ε| dt may be on a window of this length: the budget, or ∞ where it is None.

    Example:
        >>> ef.schedules.check_effort(budget=3.0, price=0.0, length=10.0, bounds=(0.0, 1.0))
        3.0

    Raises:
        InputError: a negative price, or a budget that no ε within the bounds meets.
    """
    if as_scalar(price, "price") < 0.0:
        raise InputError(f"price is {price}; a negative price of ∫|ε| dt would pay for training on the deleted points.")
    if budget is None:
        return math.inf
    limit, least = as_scalar(budget, "budget"), least_effort(length, bounds)
    if limit < least or limit < 0.0:
        low, high = bounds
        raise InputError(
            f"no schedule meets the budget ∫|ε| dt ≤ {limit:g}: with ε in [{low:g}, {high:g}] for T − s = {length:g} "
            f"it is at least {least:g}. Raise the budget, or let the bounds contain 0."
        )
    return limit
