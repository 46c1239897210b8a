"""Quasi-Newton steps of many nearby objectives of a linear model side by side, in NumPy.

From θ every set of points takes its Newton step, whose Hessian is that of all points less a few rows, and then
quasi-Newton steps with the same inverse, improved by what the gradients show (L-BFGS, two loops over a few pairs). An
iteration is two matrix products for all sets together; the sets that have arrived drop out.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ...problem import GeneralisedLinear
from ._removal import Removal

NUMBERS = 1_000_000
"""Outputs worked on at the same time (8 MB for each array of them)."""

CACHED = 2**16
"""Outputs of several classes whose slopes are computed together (512 KB)."""

SECANT_STEPS = 30

PAIRS = 4
"""Pairs of moves and gradient changes that are remembered."""

CONTRACTION = 0.5
"""Steps that shrink the gradient by less than this factor are slower than Newton's method."""

Inverse = Callable[[np.ndarray], np.ndarray]

Slopes = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Gradients at points (j, d) of the sets named, (j,)."""


class Ends(NamedTuple):
    """θ, the gradient there and the steps of every set; the best point of a set that does not contract."""

    thetas: Float[np.ndarray, "j d"]
    slopes: Float[np.ndarray, "j d"]
    steps: Int[np.ndarray, " j"]


def secants(
    removal: Removal,
    rows: Int[np.ndarray, " j"],
    theta: Float[np.ndarray, " d"],
    slopes_at: Slopes,
    *,
    widths: Float[np.ndarray, " d"],
    targets: Float[np.ndarray, " k"],
) -> Ends:
    """Iterations of some of the sets together, from θ, where their gradients are −Σ_D g_j.

    Args:
        removal: Hessians and pulls of all k sets at θ.
        rows: which of them.
        theta: where to begin.
        slopes_at: the gradients.
        widths: what components of the gradient are divided by in its norm.
        targets: norms to be reached.
    """
    count = len(rows)
    ends, slopes = np.repeat(theta[None], count, axis=0), -removal.pulls[rows]
    steps, norms = np.zeros(count, np.int64), np.linalg.norm(slopes / widths, axis=1)
    going = np.flatnonzero((norms > 0.0) & removal.definite[rows])
    point, slope, memory = ends[going], slopes[going], _Memory()
    for _ in range(SECANT_STEPS):
        if not going.size:
            break
        move = -memory.apply(slope, lambda v, w=going: removal.solve(v, rows[w]))
        point = point + move
        new_slope = slopes_at(point, rows[going])
        memory.add(move, new_slope - slope)
        norm, slope = np.linalg.norm(new_slope / widths, axis=1), new_slope
        steps[going] += 1
        better = norm < norms[going]
        contracts = norm < CONTRACTION * norms[going]
        kept = going[better]
        ends[kept], slopes[kept], norms[kept] = point[better], slope[better], norm[better]
        stay = (norm > targets[rows[going]]) & (contracts | (steps[going] < 2))
        point, slope, going = point[stay], slope[stay], going[stay]
        memory.keep(stay)
    return Ends(ends, slopes, steps)


def chunks_of(removal: Removal, n: int) -> Iterator[Int[np.ndarray, " j"]]:
    """Sets that are worked on together: in the order of how far they pull, so that they are equally difficult."""
    chunk = max(1, NUMBERS // n)
    order = np.argsort(np.einsum("kd,kd->k", removal.pulls, np.nan_to_num(removal.solve(removal.pulls))))
    return (order[start : start + chunk] for start in range(0, len(order), chunk))


def leave_out_slopes(
    model: GeneralisedLinear, points: Float[np.ndarray, "j d"], sets: Int[np.ndarray, "j q"]
) -> Float[np.ndarray, "j d"]:
    """∇R_0 of every set at its own θ."""
    count, pulled = len(points), np.empty_like(points)
    if model.outputs is None:
        slopes = model.many_slopes(points @ model.x.T)
        slopes[np.arange(count)[:, None], sets] = 0.0
        return model.scale * (slopes @ model.x) + model.l2 * points
    step = max(1, CACHED // (len(model.x) * model.outputs))
    for part in (slice(start, start + step) for start in range(0, count, step)):
        slopes = model.many_slopes(model.x @ model.coefficients(points[part]))
        slopes[np.arange(len(slopes))[:, None], sets[part]] = 0.0
        pulled[part] = (model.x.T @ slopes).reshape(len(slopes), -1)
    return model.scale * pulled + model.l2 * points


class _Memory:
    """The last moves and changes of the gradient, and the inverse Hessian that they improve (Nocedal's two loops)."""

    def __init__(self) -> None:
        self.pairs: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(self, move: Float[np.ndarray, "j d"], change: Float[np.ndarray, "j d"]) -> None:
        along = np.einsum("jd,jd->j", move, change)
        positive = along > 0.0
        # A pair without positive curvature is forgotten: its factor is zero.
        self.pairs.append((move, change, np.where(positive, 1.0 / np.where(positive, along, 1.0), 0.0)))
        self.pairs = self.pairs[-PAIRS:]

    def keep(self, stay: np.ndarray) -> None:
        """Drop the rows of sets that have arrived."""
        self.pairs = [(move[stay], change[stay], factor[stay]) for move, change, factor in self.pairs]

    def apply(self, vectors: Float[np.ndarray, "j d"], base: Inverse) -> Float[np.ndarray, "j d"]:
        """The improved inverse times each vector."""
        parts = []
        for move, change, factor in reversed(self.pairs):
            part = factor * np.einsum("jd,jd->j", move, vectors)
            vectors = vectors - part[:, None] * change
            parts.append(part)
        vectors = base(vectors)
        for (move, change, factor), part in zip(self.pairs, reversed(parts), strict=True):
            other = factor * np.einsum("jd,jd->j", change, vectors)
            vectors = vectors + (part - other)[:, None] * move
        return vectors
