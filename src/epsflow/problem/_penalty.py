"""λ of the penalty (λ/2)‖θ‖²: checked before anything heavy is loaded."""

from .._core import InputError, as_scalar


def as_penalty(value: object) -> float:
    """λ as a finite float ≥ 0, or an `InputError` that says why not."""
    penalty = as_scalar(value, "l2")
    if penalty < 0.0:
        raise InputError(f"l2 is {penalty:g}; a negative penalty makes the risk unbounded below.")
    return penalty
