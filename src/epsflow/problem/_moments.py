"""Mean and variance of columns, also of rows that come a few at a time."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

Reals = np.ndarray | np.floating
"""An array, or the scalar that NumPy makes of one column."""


@dataclass(frozen=True)
class Moments:
    """Of each column of some rows, divided by a power of two, which rounds nothing, so that no square overflows.

    Attributes:
        count: how many rows.
        peak: the largest size in each column, in its own unit; the power of two is the next above it.
        mean, variance: of the columns so divided; the variance with divisor n.
    """

    count: int
    peak: Float[Reals, "*columns"]
    mean: Float[Reals, "*columns"]
    variance: Float[Reals, "*columns"]

    @classmethod
    def of(cls, rows: Float[np.ndarray, "n *columns"]) -> "Moments":
        """Those of some rows, one at least."""
        peak = np.abs(rows).max(axis=0)
        reduced = np.ldexp(rows, -_exponent(peak))
        mean = reduced.mean(axis=0)
        return cls(len(rows), peak, mean, (reduced - mean).var(axis=0))

    @classmethod
    def of_indicator(cls, ones: int, count: int) -> "Moments":
        """Those of a column of zeros and some ones."""
        mean = np.asarray(ones / count)
        return cls(count, np.asarray(1.0 if ones else 0.0), mean / 2.0, mean * (1.0 - mean) / 4.0)

    def joined(self, other: "Moments") -> "Moments":
        """Those of both together.

        Source: Chan, Golub, LeVeque (1983), Algorithms for computing the sample variance, The American Statistician 37.
        """
        peak = np.maximum(self.peak, other.peak)
        here, there = (_exponent(part.peak) - _exponent(peak) for part in (self, other))
        count = self.count + other.count
        share = other.count / count
        mean = np.ldexp(self.mean, here)
        apart = np.ldexp(other.mean, there) - mean
        within = (1.0 - share) * np.ldexp(self.variance, 2 * here) + share * np.ldexp(other.variance, 2 * there)
        return Moments(count, peak, mean + share * apart, within + share * (1.0 - share) * apart**2)

    def standardise(self, rows: Float[np.ndarray, "k *columns"]) -> Float[np.ndarray, "k *columns"]:
        """Any of the rows, in units in which all have mean 0 and variance 1; a constant column becomes zero."""
        exponent, scale = _exponent(self.peak), np.sqrt(self.variance)
        centred = np.ldexp(rows, -exponent) - self.mean
        # A constant column's computed deviation is rounding of its mean, not a scale.
        constant = scale <= 1e-14 * np.ldexp(self.peak, -exponent)
        return np.where(constant, 0.0, centred) / np.where(constant, 1.0, scale)


def _exponent(peak: Float[Reals, "*columns"]) -> Any:
    return np.frexp(peak)[1]
