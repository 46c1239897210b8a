"""λ of the penalty (λ/2)‖θ‖², or (1/2) Σ λ_k θ_k²: checked before anything heavy is loaded."""

import numpy as np
from jaxtyping import Float

from .._core import InputError, as_array, as_scalar, as_vector

Penalty = float | Float[np.ndarray, " d"]
"""One λ for all parameters, or one for each."""


def as_penalty(value: object) -> float:
    """λ as a finite float ≥ 0, or an `InputError` that says why not.

    Example:
        >>> ef.problem.as_penalty(2)
        2.0
        >>> ef.problem.as_penalty(-1.0)
        Traceback (most recent call last):
            ...
        epsflow.InputError: l2 is -1; a negative penalty makes the risk unbounded below.
    """
    penalty = as_scalar(value, "l2")
    if penalty < 0.0:
        raise InputError(f"l2 is {penalty:g}; a negative penalty makes the risk unbounded below.")
    return penalty


def as_penalties(value: object, d: int) -> Penalty:
    """λ as a finite float ≥ 0, or as d of them, or an `InputError` that says why not."""
    if as_array(value, "l2").ndim == 0:
        return as_penalty(value)
    each = as_vector(value, "l2", d)
    if each.min(initial=0.0) < 0.0:
        least = int(each.argmin())
        raise InputError(f"l2[{least}] is {each[least]:g}; a negative penalty makes the risk unbounded below.")
    return each
