"""Columns that are nearly collinear: what is determined, but so badly that it means little."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from ._design import Design, WideDesign

COLLINEAR = 1e5
"""Condition, columns scaled, from which on columns are called nearly collinear: its square, which is that of a Hessian,
leaves six digits or fewer."""


def caution_of(design: Design | WideDesign | None, in_words: Callable[[Float[np.ndarray, " d"]], str]) -> str:
    """The direction that the retained rows of linear regression hardly determine, with their condition; else nothing.

    Args:
        design: the factor of these rows; None for other problems, which are not judged.
        in_words: a direction of parameters by the names of its features.
    """
    if not isinstance(design, Design) or design.rank < design.dim or design.condition < COLLINEAR:
        return ""
    weakest = design.weakest / np.linalg.norm(design.weakest)
    return f"nearly collinear along {in_words(weakest)} (condition {design.condition:.1e})"


def caution_in_full(caution: str, remedy: str = "give l2 > 0") -> str:
    """The sentence that explains a `Problem.caution`.

    Example:
        >>> ef.problem.caution_in_full("nearly collinear along +1·age -1·years (condition 1e+06)")[:56]
        'columns are nearly collinear along +1·age -1·years (cond'
    """
    return (
        f"columns are {caution}: the data hardly determine θ in that direction. Changes of θ along it are large and "
        f"mean little: leave a column out, or {remedy}"
    )
