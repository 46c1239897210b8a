"""Sums of exponentials Σ c_i e^{−μ_i t}: their zeros, and the grids that resolve them."""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import root_scalar

NOISE = 1e-13
"""A sum of exponentials below this fraction of its terms' moduli has no sign: two rotations made its coefficients."""


class ExponentialSum(NamedTuple):
    """F(t) = Σ_i c_i e^{−μ_i t}.

    Attributes:
        coefficients: c, shape (d,).
        rates: μ, shape (d,).
    """

    coefficients: Float[np.ndarray, " d"]
    rates: Float[np.ndarray, " d"]

    def __call__(self, t: float) -> float:
        """F(t)."""
        return float(np.exp(-self.rates * t) @ self.coefficients)

    def slope(self, t: float) -> float:
        """F'(t)."""
        return float(np.exp(-self.rates * t) @ (-self.rates * self.coefficients))

    def sign_changes(self, grid: Float[np.ndarray, " k"], side: int = 0) -> Float[np.ndarray, " zeros"]:
        """Where F changes sign on the grid's range, ascending.

        Brackets come from the grid; an extremum between two grid points that reaches across zero is found from F'. A
        value below the rounding of its own terms has no sign and takes that of its neighbour.

        Args:
            grid: ascending times from 0.
            side: the sign of F just after 0, where F(0) may itself be a zero; 0 to read it off.
        """
        terms = np.exp(-self.rates * grid[:, None]) * self.coefficients
        values, noise = terms.sum(axis=1), NOISE * np.abs(terms).sum(axis=1)
        signs = np.where(np.abs(values) > noise, np.sign(values), 0.0)
        signs[0] = side or signs[0]
        known = np.flatnonzero(signs)
        if known.size < 2:
            return np.zeros(0)
        slopes = terms @ -self.rates
        changes: list[float] = []
        for a, b in itertools.pairwise(known.tolist()):
            if signs[a] != signs[b]:
                changes.append(self._between(grid[a], grid[b], int(signs[a])))
            elif signs[a] * slopes[a] < 0.0 < signs[b] * slopes[b]:
                turn = bracketed_zero(self.slope, grid[a], grid[b])
                if signs[a] * self(turn) < 0.0:
                    changes += [
                        self._between(grid[a], turn, int(signs[a])),
                        self._between(turn, grid[b], -int(signs[a])),
                    ]
        return np.array(changes)

    def _between(self, left: float, right: float, side: int) -> float:
        if self(left) * self(right) < 0.0:
            return bracketed_zero(self, left, right)
        # F starts at a zero, and its first value is noise; further on, if not too far, it shows the side it is on.
        for halvings in range(1, 48):
            inner = left + (right - left) * 0.5**halvings
            if self(inner) * side > 0.0:
                return bracketed_zero(self, inner, right)
        return left


def bracketed_zero(function: Callable[[float], float], left: float, right: float) -> float:
    """The zero between two times of opposite sign, to rounding (Brent)."""
    found = root_scalar(function, bracket=(float(left), float(right)), method="brentq", xtol=1e-300, rtol=1e-15)
    return float(found.root)


def resolving_grid(rates: Float[np.ndarray, " d"], length: float) -> Float[np.ndarray, " n"]:
    """A grid on [0, length] that resolves every e^{−μt}: geometric from 1/μ_max on, at both ends if some μ < 0."""
    kappa = np.log1p(float(np.abs(rates).max()) * length)
    x = np.linspace(0.0, 1.0, 17 + 8 * int(np.ceil(kappa)))
    grid = length * (np.expm1(kappa * x) / np.expm1(kappa) if kappa > 1e-3 else x)
    return grid if rates[0] >= 0.0 else np.union1d(grid, length - grid)
