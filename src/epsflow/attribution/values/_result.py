"""`DataValues`: what every point is worth, how exactly, and what it took."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from ..._core import RESULTS, Tabular


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class DataValues(Tabular):
    """Values of n points in units of a utility V: positive where the point helps.

    Example:
        >>> found = ef.data_shapley(lambda points: len(points) / 2, 3, method="exact")
        >>> found.full, found.values
        (1.5, array([0.5, 0.5, 0.5]))

    Attributes:
        values: φ_i, shape (n,).
        error: standard error of each; 0 where they are exact. Shape (n,).
        interval: confidence interval of each, shape (n, 2).
        confidence: its level.
        truncation_bias: what stopping permutations early, without any correction, would leave out of each; 0 without
            truncation. Estimated, and part of `values`. Shape (n,).
        empty: V(∅).
        full: V(D).
        semivalue: "shapley", "banzhaf" or "leave-one-out".
        method: how they were found.
        samples: independent rounds behind each value (permutations, groups of rotated permutations, coalitions); 0
            where all coalitions were enumerated.
        coalitions: how many were valued.
        gradients: gradients of single points that training them took; 0 where the utility counts none.
        result: how the computation ended.
    """

    values: Float[np.ndarray, " n"]
    error: Float[np.ndarray, " n"]
    interval: Float[np.ndarray, "n 2"]
    confidence: float
    truncation_bias: Float[np.ndarray, " n"]
    empty: float
    full: float
    semivalue: str
    method: str
    samples: int
    coalitions: int
    gradients: int
    result: RESULTS

    @property
    def change(self) -> Float[np.ndarray, " n"]:
        """−φ_i: the change of V upon removal of the point that the value stands for."""
        return -self.values

    @property
    def efficiency_gap(self) -> float:
        """Σφ_i − (V(D) − V(∅)): zero to rounding for Shapley values, and for no other semivalue."""
        return float(self.values.sum() - (self.full - self.empty))

    @property
    def half_width(self) -> float:
        """Half the width of the widest interval."""
        return float(0.5 * np.ptp(self.interval, axis=1).max(initial=0.0))

    def _title(self) -> str:
        return "Values of points"

    def _facts(self) -> dict[str, object]:
        return {
            "semivalue": self.semivalue,
            "values": self.values,
            "half_width": self.half_width,
            "method": self.method,
            "result": self.result,
        }

    def _figures(self) -> dict[str, object]:
        return {
            "semivalue": self.semivalue,
            "method": self.method,
            "V(D)": self.full,
            "V(∅)": self.empty,
            "Σφ − (V(D) − V(∅))": self.efficiency_gap,
            "confidence": self.confidence,
            "largest half width": self.half_width,
            "largest truncation bias": float(np.abs(self.truncation_bias).max(initial=0.0)),
            "samples": self.samples,
            "coalitions valued": self.coalitions,
            "gradients of points": self.gradients,
            "result": self.result,
        }

    def _rows(self) -> list[dict[str, Any]]:
        return [
            {
                "point": i,
                "value": self.values[i],
                "error": self.error[i],
                "low": self.interval[i, 0],
                "high": self.interval[i, 1],
                "truncation bias": self.truncation_bias[i],
            }
            for i in range(len(self.values))
        ]
