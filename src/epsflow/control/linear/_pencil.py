"""H_u = Λ + Σ u_j x_j x_jᵀ: its spectrum at each weight, and the linear flow on an arc of constant u.

In the eigenbasis of H_{-D}, with c absorbed (x_j ← √c Qᵀx_j, y_j ← √c y_j), δ = Qᵀ(θ − target) moves by

    δ̇ = −Λδ + f − Σ_j u_j x_j e_j,   e_j = x_jᵀδ − r_j,   r_j = y_j − x_jᵀtarget,   f = Qᵀ(b_{-D} − H_{-D} target),

f = 0 where the target is the leave-out optimum. While u is constant, H_u = V diag(μ) Vᵀ, and both δ (forward) and the
costate ṗ = H_u p (backward) are sums of exponentials. NumPy throughout: structures of any number of arcs follow each
other here, and none may cost a compilation.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ...flow import propagate
from ...problem import spectrum
from ._secular import update

UNIT = np.finfo(np.float64).eps

SECULAR = 64
"""Parameters from which H_u is diagonalised by rank-one updates of H_{-D}: below, LAPACK's own call is as fast."""


GRADED = 1e-3
"""Least of the largest rate from which LAPACK's eigensolver, which errs by rounding of the largest, loses little of the
least: below, it is found from a factor, which takes somewhat longer."""


class Spectrum(NamedTuple):
    """H_u for one constant weight, or for each of a stack of problems.

    Attributes:
        rates: μ, shape (*b, d); below rounding they are exactly zero.
        vectors: V, shape (*b, d, d), from the eigenbasis of H_{-D} to that of H_u; None where they are one (u = 0).
        rows: x_jᵀV, shape (*b, m, d).
        drift: Vᵀ(f + Σ u_j x_j r_j), shape (*b, d).
    """

    rates: Float[np.ndarray, "*b d"]
    vectors: Float[np.ndarray, "*b d d"] | None
    rows: Float[np.ndarray, "*b m d"]
    drift: Float[np.ndarray, "*b d"]

    def to_basis(self, vector: Float[np.ndarray, "*shape d"]) -> Float[np.ndarray, "*shape d"]:
        """Vᵀv: of one v, or of several, of shape (*b, k, d)."""
        return vector if self.vectors is None else _turned(vector, self.vectors)

    def from_basis(self, coordinates: Float[np.ndarray, "*shape d"]) -> Float[np.ndarray, "*shape d"]:
        """Vz, likewise."""
        return coordinates if self.vectors is None else _turned(coordinates, np.swapaxes(self.vectors, -1, -2))

    def take(self, which: np.ndarray) -> "Spectrum":
        """Those of some problems of a stack."""
        vectors = None if self.vectors is None else self.vectors[which]
        return Spectrum(self.rates[which], vectors, self.rows[which], self.drift[which])


def _turned(
    rows: Float[np.ndarray, "*shape d"], matrices: Float[np.ndarray, "*b d d"]
) -> Float[np.ndarray, "*shape d"]:
    """Row vectors times matrices. Of a stack each is a product of its own, so that none depends on its company."""
    if matrices.ndim > 2 and rows.ndim < matrices.ndim:
        return (rows[..., None, :] @ matrices)[..., 0, :]
    return rows @ matrices


@dataclass(frozen=True, eq=False)
class Pencil:
    """The matrices H_u of all weights u, and what drives δ under them.

    The spectra that were asked for are kept with the value. They belong to it alone: `dataclasses.replace` makes a
    pencil that begins without any.

    Attributes:
        rates: Λ, shape (d,).
        rows: x_j, shape (m, d).
        residuals: r_j, shape (m,).
        drift: f, shape (d,).
    """

    rates: Float[np.ndarray, " d"]
    rows: Float[np.ndarray, "m d"]
    residuals: Float[np.ndarray, " m"]
    drift: Float[np.ndarray, " d"]
    _spectra: dict[bytes, Spectrum] = field(default_factory=dict, init=False, repr=False)

    def spectrum(self, level: float | np.ndarray) -> Spectrum:
        """H_u at one weight for all deleted points, or one each; computed once per weight."""
        key = self._key(level)
        if key not in self._spectra:
            self._spectra[key] = self._diagonalise(np.frombuffer(key))
        return self._spectra[key]

    def knowing(self, level: float, spectrum: Spectrum) -> "Pencil":
        """The same pencil with a spectrum that was computed elsewhere."""
        self._spectra[self._key(level)] = spectrum
        return self

    def residual(self, delta: Float[np.ndarray, "*k d"]) -> Float[np.ndarray, "*k m"]:
        """e_j = x_jᵀδ − r_j."""
        return delta @ self.rows.T - self.residuals

    def _key(self, level: float | np.ndarray) -> bytes:
        weights = np.asarray(level, dtype=np.float64) + 0.0  # −0 is 0
        return weights.tobytes() * (len(self.residuals) if weights.ndim == 0 else 1)

    def _diagonalise(self, weights: Float[np.ndarray, " m"]) -> Spectrum:
        drift = self.drift + (weights * self.residuals) @ self.rows
        if not weights.any():
            return Spectrum(self.rates, None, self.rows, drift)
        if len(self.rates) < SECULAR and weights.min() >= 0.0 and 0.0 <= self.rates[0] < GRADED * self.rates[-1]:
            # From a factor, whose small singular values keep their digits; what it leaves free is rounding, squared.
            counted = weights > 0.0
            factor = np.vstack([np.diag(np.sqrt(self.rates)), np.sqrt(weights[counted])[:, None] * self.rows[counted]])
            rates, vectors = spectrum(factor)
            free = (rates <= (4.0 * len(rates) * UNIT) ** 2 * rates[-1]) if self.rates[0] == 0.0 else False
            return self._spectrum(np.where(free, 0.0, rates), vectors, drift)
        if len(self.rates) < SECULAR:
            rates, vectors = np.linalg.eigh(np.diag(self.rates) + (self.rows.T * weights) @ self.rows)
        else:
            rates, vectors = self._updated(weights)
        rounding = len(rates) * UNIT * np.abs(rates).max()
        return self._spectrum(np.where(np.abs(rates) <= rounding, 0.0, rates), vectors, drift)

    def _spectrum(self, rates: np.ndarray, vectors: np.ndarray, drift: np.ndarray) -> Spectrum:
        return Spectrum(rates, vectors, self.rows @ vectors, drift @ vectors)

    def _updated(self, weights: Float[np.ndarray, " m"]) -> tuple[np.ndarray, np.ndarray]:
        """One rank-one update per point that counts; from the second on, one matrix product each."""
        rates, vectors = self.rates, None
        for weight, row in zip(weights, self.rows, strict=True):
            if weight != 0.0:
                rates, turn = update(rates, row if vectors is None else row @ vectors, float(weight))
                vectors = turn if vectors is None else vectors @ turn
        assert vectors is not None  # not all weights are zero
        return rates, vectors


def advance(
    spectrum: Spectrum, delta: Float[np.ndarray, "*shape d"], elapsed: Float[np.ndarray, "*times"] | float
) -> Float[np.ndarray, "*times d"]:
    """δ after some time: one for each problem, or several, from one δ or from as many; see `coordinates`."""
    return spectrum.from_basis(coordinates(spectrum, spectrum.to_basis(delta), elapsed))


def advance_through(
    spectra: Iterable[Spectrum], delta: Float[np.ndarray, "*shape d"], durations: Iterable[np.ndarray | float]
) -> Float[np.ndarray, "*times d"]:
    """δ after several arcs, one after the other; see `advance`."""
    for one, elapsed in zip(spectra, durations, strict=True):
        delta = advance(one, delta, elapsed)
    return delta


def coordinates(
    spectrum: Spectrum, start: Float[np.ndarray, "*shape d"], elapsed: Float[np.ndarray, "*times"] | float
) -> Float[np.ndarray, "*times d"]:
    """Vᵀδ after some time, from Vᵀδ at 0.

    Args:
        spectrum: of one problem (b = ()), or of a stack of them.
        start: Vᵀδ, shape (*b, d); or (*b, k, d), one for each of k times.
        elapsed: the time, shape b; or k times, shape (*b, k).
    """
    rates, drift, times = spectrum.rates, spectrum.drift, np.asarray(elapsed)[..., None]
    if times.ndim > rates.ndim:
        start = start[..., None, :] if start.ndim == rates.ndim else start
        rates, drift = rates[..., None, :], drift[..., None, :]
    return propagate(rates, drift, start, times)


def retreat(
    spectrum: Spectrum, costate: Float[np.ndarray, "*b d"], elapsed: Float[np.ndarray, "*b"] | float
) -> Float[np.ndarray, "*b d"]:
    """p(t − elapsed) from p(t): e^{−H_u elapsed} p, which decays where H_u is positive."""
    return spectrum.from_basis(np.exp(-spectrum.rates * np.asarray(elapsed)[..., None]) * spectrum.to_basis(costate))
