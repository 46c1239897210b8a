"""Columns that are nearly collinear: what is determined, but so badly that it means little."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from ._design import Design, WideDesign

COLLINEAR = 1e5
"""Condition, columns scaled, from which on columns are called nearly collinear: its square, which is that of a Hessian,
leaves six digits or fewer."""


SEEN = 1e-10
"""The part of a row, of its length, that determines a direction and is no rounding."""


def free_directions(free: Float[np.ndarray, "d f"], rows: Float[np.ndarray, "k d"]) -> Float[np.ndarray, "d g"]:
    """What is left free of a subspace when rows are added, by an orthonormal basis of either."""
    if not (free.size and rows.size):
        return free
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    _, sizes, turned = np.linalg.svd(rows / np.where(lengths > 0.0, lengths, 1.0) @ free)
    return free @ turned[np.count_nonzero(sizes > SEEN) :].T


def largest_entries(direction: Float[np.ndarray, " d"], weights: Float[np.ndarray, " d"], names: Sequence[str]) -> str:
    """Its four entries of largest weight, the first of which is made positive, by the names of the features."""
    weights = np.round(weights / weights.max(), 6)  # so that equals stay in the order of the features
    counted = np.flatnonzero(weights > 0.0)
    order = counted[np.argsort(-weights[counted], kind="stable")]
    direction = direction * np.sign(direction[order[0]])
    terms = [f"{direction[i]:+.3g}·{names[i]}" for i in order[:4]]
    return " ".join(terms) + (" …" if len(order) > len(terms) else "")


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
