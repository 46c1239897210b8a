"""State, costate and Pontryagin's figures along steps of training, on intervals of one step or of several."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..terms._extremal import AbstractPath, Extremal, Point, Signals
from ..terms._levels import best_level, interval_means, interval_sums, levels_of, thresholds


@dataclass(frozen=True, eq=False)
class StepPath(AbstractPath):
    """S and ε on intervals of whole steps.

    Attributes:
        knots: where the intervals begin and end, shape (K+1,).
        switching: ∂cost/∂ε of each, per step, shape (K,) or (K, m).
        eps: the mean of ε in each, in the same shape.
        before: θ and the costate before given steps, counted from the first; perhaps trained again for the asking.
    """

    knots: Float[np.ndarray, " knots"]
    switching: Float[np.ndarray, "K *m"]
    eps: Float[np.ndarray, "K *m"]
    before: Callable[[tuple[int, ...]], Point]

    def at(self, ts: Float[np.ndarray, " k"]) -> Point:
        """See `AbstractPath`; between two steps, the straight line from one to the other.

        Raises:
            InputError: of an ensemble, which has no one θ.
        """
        count = round(self.knots[-1] - self.knots[0])
        since = np.clip(ts - self.knots[0], 0.0, count)
        low = np.minimum(np.floor(since).astype(int), count - 1)
        steps = np.unique(np.concatenate([low, low + 1]))
        found = self.before(tuple(steps.tolist()))
        part, here = (since - low)[:, None], np.searchsorted(steps, low)
        theta, costate = ((1.0 - part) * values[here] + part * values[here + 1] for values in found)
        return Point(theta, costate)

    def signals(self, ts: Float[np.ndarray, " k"]) -> Signals:
        """See `AbstractPath`; 𝓗 is no invariant of steps, and NaN."""
        cell = np.clip(np.searchsorted(self.knots, ts, side="left") - 1, 0, len(self.eps) - 1)
        return Signals(self.switching[cell], np.full(len(ts), np.nan), self.eps[cell])


def step_extremal(
    slopes: Float[np.ndarray, "N columns"],
    weights: Float[np.ndarray, "N columns"],
    knots: Float[np.ndarray, " knots"],
    bounds: tuple[float, float],
    before: Callable[[tuple[int, ...]], Point],
    *,
    cost: float,
    error: float,
    price: float = 0.0,
) -> Extremal:
    """The figures of weights that are free on each interval of whole steps.

    Args:
        slopes: S_k = ∂cost/∂ε_k.
        weights: ε_k.
        knots: of the intervals, whole numbers from s to T.
        bounds: of ε.
        before: θ and costate, see `StepPath`.
        cost, error: of θ_N.
        price: ρ.
    """
    switching, eps = interval_means(slopes, knots), interval_means(weights, knots)
    turns = [[np.diff(column > at) for at in thresholds(bounds, price)] for column in switching.T]
    shape = (len(eps),) if eps.shape[1] == 1 else eps.shape
    return Extremal(
        s=float(knots[0]),
        T=float(knots[-1]),
        cost=cost,
        cost_error=error,
        pmp_gap=mesh_gap(slopes, weights, knots, bounds, price),
        hamiltonian_drift=float("nan"),
        zeros=tuple(knots[1:-1][np.any(column, axis=0)] for column in turns),
        method="steps",
        path=StepPath(knots, switching.reshape(shape), eps.reshape(shape), before),
    )


def worth_of_a_unit(
    lengths: Float[np.ndarray, " K"],
    slopes: Float[np.ndarray, "K *m"],
    eps: Float[np.ndarray, "K *m"],
    bounds: tuple[float, float],
) -> float:
    """The ρ ≥ 0 at which weights come nearest to the Karush–Kuhn–Tucker conditions; the least of several.

    Their gap is a convex, piecewise linear function of ρ, which bends where an interval's best level changes: at |S|.

    Args:
        lengths: steps of the intervals.
        slopes, eps: S and ε in each.
        bounds: of ε.
    """
    slopes, eps = (part.reshape(len(lengths), -1) for part in (slopes, eps))

    def gap(rho: float) -> float:
        options = np.array(levels_of(bounds, rho))
        best = np.stack([best_level(column, options, rho) for column in slopes.T], axis=1)
        return float(lengths @ (slopes * (eps - best) + rho * (np.abs(eps) - np.abs(best))).sum(axis=1))

    prices = np.unique(np.append(np.abs(slopes), 0.0))
    gaps, rounding = np.array([gap(rho) for rho in prices]), 1e-12 * float((lengths @ np.abs(slopes)).sum())
    return float(prices[np.argmax(gaps <= gaps.min() + rounding)])


def mesh_gap(
    slopes: Float[np.ndarray, "N columns"],
    weights: Float[np.ndarray, "N columns"],
    knots: Float[np.ndarray, " knots"],
    bounds: tuple[float, float],
    price: float = 0.0,
) -> float:
    """Σ_I [Σ_{k∈I} (S_k ε_k + ρ|ε_k|) − min_v Σ_{k∈I} (S_k v + ρ|v|)] over the intervals I between knots, or 0.

    To first order, what the best ε that is constant on each interval gains: zero where the Karush–Kuhn–Tucker
    conditions hold on the mesh; with an interval for each step, where no single weight can be improved.
    """
    by_cell, options = interval_sums(slopes, knots), np.array(levels_of(bounds, price))
    lengths = np.diff(knots)[:, None]
    best = np.stack([best_level(column, options, price) for column in (by_cell / lengths).T], axis=1)
    spent = interval_sums(slopes * weights + price * np.abs(weights), knots)
    return max(float((spent - by_cell * best - price * lengths * np.abs(best)).sum()), 0.0)
