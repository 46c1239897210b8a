"""State, costate and Pontryagin's figures along steps of gradient descent."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..terms._extremal import AbstractPath, Extremal, Point, Signals
from ..terms._levels import best_level, levels_of, thresholds
from ._steps import Slopes


@dataclass(frozen=True, eq=False)
class StepPath(AbstractPath):
    """Iterates and costates; between two of them, the straight line that a step of gradient descent is.

    Attributes:
        s: the number of the first step.
        thetas, costates: θ_k and p_k, shape (N+1, d).
        switching: ∂cost/∂ε_k, shape (N,) or (N, m).
        eps: ε_k, in the same shape.
    """

    s: float
    thetas: Float[np.ndarray, "iterates d"]
    costates: Float[np.ndarray, "iterates d"]
    switching: Float[np.ndarray, "N *m"]
    eps: Float[np.ndarray, "N *m"]

    def at(self, ts: Float[np.ndarray, " k"]) -> Point:
        """See `AbstractPath`."""
        step = self._steps(ts)
        part = (np.clip(ts - self.s, 0.0, len(self.eps)) - step)[:, None]
        theta, costate = (
            (1.0 - part) * values[step] + part * values[step + 1] for values in (self.thetas, self.costates)
        )
        return Point(theta, costate)

    def signals(self, ts: Float[np.ndarray, " k"]) -> Signals:
        """See `AbstractPath`; 𝓗 is no invariant of steps, and NaN."""
        step = self._steps(ts)
        return Signals(self.switching[step], np.full(len(ts), np.nan), self.eps[step])

    def _steps(self, ts: np.ndarray) -> np.ndarray:
        return np.clip(np.ceil(ts - self.s).astype(int) - 1, 0, len(self.eps) - 1)


def step_extremal(
    s: float,
    thetas: Float[np.ndarray, "iterates d"],
    slopes: Slopes,
    weights: Float[np.ndarray, "N *m"],
    bounds: tuple[float, float],
    price: float = 0.0,
) -> Extremal:
    """The figures of weights ε_k: Σ_k [S_k ε_k − min_v S_k v] ≥ 0 is zero where no single one can be improved.

    The cost is affine in δ_N and δ_N in each weight (linear regression), or smooth; as for the flow, S_k = ∂cost/∂ε_k.
    """
    switching, options = slopes.weights, np.array(levels_of(bounds, price))
    columns, eps = switching.reshape(len(weights), -1), weights.reshape(len(weights), -1)
    gap, zeros = 0.0, []
    for values, chosen in zip(columns.T, eps.T, strict=True):
        best = best_level(values, options, price)
        gap += float(((chosen - best) * values + price * (np.abs(chosen) - np.abs(best))).sum())
        changes = [np.flatnonzero(np.diff(values > at)) for at in thresholds(bounds, price)]
        zeros.append(s + 1.0 + np.unique(np.concatenate(changes)))
    return Extremal(
        s=s,
        T=s + len(weights),
        cost=slopes.cost,
        cost_error=float(np.finfo(np.float64).eps * len(weights) * abs(slopes.cost)),
        pmp_gap=max(gap, 0.0),
        hamiltonian_drift=float("nan"),
        zeros=tuple(zeros),
        method="steps",
        path=StepPath(s, thetas, slopes.thetas, switching, weights),
    )
