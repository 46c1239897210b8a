"""Linear regression under a piecewise-constant schedule: a product of exact maps, one per arc.

On an arc with constant ε, H_ε = QΛQᵀ and z = Qᵀθ:

    z_i(t) = e^{−λ_i t} z_i(0) + (Qᵀb_ε)_i (1 − e^{−λ_i t})/λ_i,

with t in place of the quotient where λ_i = 0: (0.10) and (0.11) of the notes, whose row j must be scaled by √ε instead
of ε. A singular H needs nothing special. Arcs of one level share one eigenbasis, and many schedules are followed side
by side.
"""

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from .._core import Array, Eigen, Spelled, decay_integral
from ..problem import Quadratic
from ..schedules import AbstractPiecewiseConstant


class ExactFlow(Spelled, eqx.Module):
    """θ(t) for all t ≥ t0, arc by arc, under one schedule, or under q of them.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> flow = ef.flow.exact_flow(line.risk, ef.Step(0.1), np.zeros(1), 0.0)
        >>> flow(10.0)
        array([1.6])

    Attributes:
        arc_starts: when each arc begins, shape (arcs,) or (q, arcs); the first is t0, the last arc never ends.
        level: which of the distinct levels each arc has, of the same shape.
        bases: eigendecomposition of H_ε at each distinct level.
        drifts: Qᵀb_ε at each distinct level, shape (levels, d).
        coordinates: Qᵀθ at the start of each arc, shape (arcs, d) or (q, arcs, d).
    """

    arc_starts: Float[np.ndarray, "*q arcs"]
    level: Int[np.ndarray, "*q arcs"]
    bases: Eigen
    drifts: Float[np.ndarray, "levels d"]
    coordinates: Float[np.ndarray, "*q arcs d"]

    def __call__(self, t: Float[Array, "*shape"] | float) -> Float[np.ndarray, "*shape d"]:
        """θ at any times, under one schedule."""
        times = np.asarray(t, dtype=np.float64)
        return self.at(times.ravel()).reshape(*times.shape, -1)

    def at(self, ts: Float[np.ndarray, " k"]) -> Float[np.ndarray, "*q k d"]:
        """θ at each of the times; NaN before t0."""
        first = self.arc_starts[..., :1]
        starts = self.arc_starts.reshape(-1, self.arc_starts.shape[-1])
        arc = np.stack([np.searchsorted(row, ts, side="right") - 1 for row in starts]).reshape(*first.shape[:-1], -1)
        elapsed = np.where(ts >= first, ts - np.take_along_axis(self.arc_starts, arc, -1), np.nan)
        level = np.take_along_axis(self.level, arc, -1)
        z = np.take_along_axis(self.coordinates, arc[..., None], -2)
        z = propagate(self.bases.values[level], self.drifts[level], z, elapsed[..., None])
        return _turn(np.swapaxes(self.bases.vectors, -1, -2), level, z)

    def rounding(
        self, ts: Float[np.ndarray, " k"], thetas: Float[np.ndarray, "*q k d"]
    ) -> Float[np.ndarray | np.floating, "*q"]:
        """First-order bound on the rounding error.

        Eigenvalues carry an error of d·u·λ_max, which acts for a time t. Each arc turns θ to and fro by vectors that
        are orthogonal to 2d·u, in two products of d·u/2 and more, and its exponentials are off by some u.
        """
        d = thetas.shape[-1]
        largest = np.abs(self.bases.values).max(axis=-1)[self.level].max(axis=-1)
        stiffness = largest * (ts[-1] - self.arc_starts[..., 0])
        # A large start leaves its rounding in the slow directions, however small θ has become since.
        size = np.maximum(np.abs(thetas).max(axis=(-1, -2)), np.abs(self.coordinates).max(axis=(-1, -2)))
        return np.finfo(thetas.dtype).eps * (4.0 * (d + 1.0) * self.level.shape[-1] + d * stiffness) * size


def propagate(rates: Array, drift: Array, start: Array, elapsed: Array) -> np.ndarray:
    """z(t) of ż = drift − rates·z, elementwise; infinite or NaN where a growing direction overflows.

    Example:
        >>> ef.flow.propagate(np.array([2.0]), np.array([4.0]), np.array([0.0]), np.array([1.0]))
        array([1.72932943])
    """
    with np.errstate(over="ignore", invalid="ignore"):
        decayed = np.exp(-rates * elapsed) * start
        return np.asarray(decayed + decay_integral(rates, elapsed) * drift if np.any(drift) else decayed)


def distinct_levels(levels: Float[np.ndarray, "*shape"]) -> tuple[Float[np.ndarray, "u c"], Int[np.ndarray, " n"]]:
    """The different rows among levels of shape (n,) or (n, m), and which of them each is."""
    rows = levels.reshape(len(levels), -1)
    distinct, which = np.unique(rows, axis=0, return_inverse=True)
    return distinct, which.ravel()


def exact_flow(
    risk: Quadratic,
    schedule: AbstractPiecewiseConstant,
    theta0: Float[np.ndarray, " d"],
    t0: Float[np.ndarray, ""] | float,
) -> ExactFlow:
    """The exact flow from θ(t0) = θ0. Arcs that end before t0 have length zero.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> ef.flow.exact_flow(line.risk, ef.Step(0.1), np.zeros(1), 0.0).at(np.array([0.0, 0.1, 10.0]))
        array([[0.        ],
               [0.67678255],
               [1.6       ]])
    """
    return exact_flows(risk, np.asarray(schedule.jump_ts), np.asarray(schedule.levels()), theta0, t0)


def exact_flows(
    risk: Quadratic,
    jumps: Float[np.ndarray, "*q jumps"],
    levels: Float[np.ndarray, "*shape"],
    theta0: Float[np.ndarray, " d"],
    t0: Float[np.ndarray, ""] | float,
) -> ExactFlow:
    """The exact flows from θ(t0) = θ0 under one schedule, or under q side by side.

    Args:
        risk: R_ε.
        jumps: when ε changes, ascending, shape (arcs − 1,) or (q, arcs − 1).
        levels: ε on each arc, shape (arcs,), (q, arcs), or with one more axis for one weight per deleted point.
        theta0: θ0.
        t0: where the flows start.
    """
    shape = (*jumps.shape[:-1], jumps.shape[-1] + 1)
    distinct, level = distinct_levels(levels.reshape(np.prod(shape, dtype=int), -1))
    level = level.reshape(shape)
    pairs = [risk.diagonal(row[0] if len(row) == 1 else row) for row in distinct]
    bases = Eigen(np.stack([basis.values for basis, _ in pairs]), np.stack([basis.vectors for basis, _ in pairs]))
    drifts = np.stack([basis.to_basis(b) for basis, b in pairs])
    starts = np.concatenate([np.full((*shape[:-1], 1), t0), np.maximum(jumps, t0)], axis=-1)
    coordinates, theta = [], np.broadcast_to(theta0, (*shape[:-1], len(theta0)))
    for arc in range(shape[-1]):
        here = level[..., arc]
        coordinates.append(_turn(np.asarray(bases.vectors), here, theta))
        if arc + 1 < shape[-1]:
            duration = (starts[..., arc + 1] - starts[..., arc])[..., None]
            end = propagate(bases.values[here], drifts[here], coordinates[-1], duration)
            theta = _turn(np.swapaxes(bases.vectors, -1, -2), here, end)
    return ExactFlow(starts, level, bases, drifts, np.stack(coordinates, axis=-2))


def _turn(
    matrices: Float[np.ndarray, "levels d d"], level: Int[np.ndarray, "*shape"], vectors: Float[np.ndarray, "*shape d"]
) -> Float[np.ndarray, "*shape d"]:
    """Each row vector times the matrix of its level; one at a time, so that a row does not depend on its company."""
    rows, which = vectors.reshape(-1, 1, vectors.shape[-1]), np.ravel(level)
    turned = np.empty_like(rows)
    for index in np.unique(which):
        mine = which == index
        turned[mine] = rows[mine] @ matrices[index]
    return turned.reshape(vectors.shape)
