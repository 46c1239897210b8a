"""Columns that are nearly collinear: what is determined, but so badly that it means little."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from ._dataset import Dataset
from ._design import Design, WideDesign, factor_rows
from ._models import LinearModel
from ._penalty import Penalty
from ._quadratic import retained_rows

COLLINEAR = 1e5
"""Condition, columns scaled, from which on columns are called nearly collinear: its square, which is that of a Hessian,
leaves six digits or fewer."""

FACTORED = 2**32
"""(n + d) d² up to which the rows of other problems than linear regression are factored to be judged: half a second."""

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


def features_of(
    model: LinearModel, data: Dataset, delete: Int[np.ndarray, " m"], penalty: Penalty, scale: float
) -> Design | WideDesign | None:
    """The factor of the retained rows for another loss than the squared one, whose Hessian weighs them, too.

    None for data in a memory map, and for those whose factor would take seconds: they are not judged.
    """
    count, features = data.x.shape
    if isinstance(data.x, np.memmap) or (count + features) * features**2 > FACTORED:
        return None
    by_feature = np.broadcast_to(penalty, model.dim).reshape(features, -1).min(axis=1)
    rows = retained_rows(data.x, np.zeros(count), delete, scale)
    return factor_rows(rows, features, by_feature)


def caution_of(design: Design | WideDesign | None, names: Sequence[str]) -> str:
    """The direction that the retained rows of a linear model hardly determine, with their condition; else nothing.

    Args:
        design: the factor of these rows; None for other problems, which are not judged.
        names: of the features.
    """
    if not isinstance(design, Design) or design.rank < design.dim or design.condition < COLLINEAR:
        return ""
    weakest = design.weakest / np.linalg.norm(design.weakest)
    direction = largest_entries(weakest, np.abs(weakest * design.scales), names)
    return f"nearly collinear along {direction} (condition {design.condition:.1e})"


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
