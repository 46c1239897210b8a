"""The controlled linear flow, exact on every arc.

In the eigenbasis of H_{-D}, with c absorbed (x_j ← √c Qᵀx_j, y_j ← √c y_j), δ = Qᵀ(θ − target) moves by

    δ̇ = −Λδ + f − Σ_j u_j x_j e_j,   e_j = x_jᵀδ − r_j,   r_j = y_j − x_jᵀtarget,   f = Qᵀ(b_{-D} − H_{-D} target),

f = 0 where the target is the leave-out optimum. While u is constant, H_u = Λ + Σ u_j x_j x_jᵀ = V diag(μ) Vᵀ, and both
δ (forward) and the costate ṗ = H_u p (backward) are sums of exponentials. NumPy throughout: structures of any number of
arcs follow each other here, and none may cost a compilation.
"""

import itertools
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import scipy.sparse
from jaxtyping import Array, Float

from ...problem import Quadratic
from ..terms._cost import AbstractCost, Distance, EndForm
from ._secular import update

Vector = Float[np.ndarray, " d"]
SECULAR = 64
"""Parameters from which H_u is diagonalised by rank-one updates of H_{-D}: below, LAPACK's own call is as fast."""


class Spectrum(NamedTuple):
    """H_u for one constant weight.

    Attributes:
        rates: μ, shape (d,); below rounding they are exactly zero.
        vectors: V, shape (d, d), from the eigenbasis of H_{-D} to that of H_u; None where they are the same (u = 0).
        rows: x_jᵀV, shape (m, d).
        drift: Vᵀ(f + Σ u_j x_j r_j), shape (d,).
    """

    rates: Float[np.ndarray, " d"]
    vectors: Float[np.ndarray, "d d"] | None
    rows: Float[np.ndarray, "m d"]
    drift: Float[np.ndarray, " d"]

    def to_basis(self, vector: Float[np.ndarray, "*k d"]) -> Float[np.ndarray, "*k d"]:
        """Vᵀv, for each row v."""
        return vector if self.vectors is None else vector @ self.vectors

    def from_basis(self, coordinates: Float[np.ndarray, "*k d"]) -> Float[np.ndarray, "*k d"]:
        """Vz."""
        return coordinates if self.vectors is None else coordinates @ self.vectors.T


@dataclass(frozen=True, eq=False)
class LinearControl:
    """The control problem of linear regression on [s, T], in the eigenbasis of H_{-D}.

    Of an eigenspace with many dimensions only those to which x_j, δ(0) or f couple are kept, m + 2 at most: with fewer
    points than parameters, the rest of θ does not move. So d here is at most the number of parameters D.

    Attributes:
        rates: Λ, shape (d,).
        rows: x_j, shape (m, d).
        residuals: r_j, shape (m,).
        drift: f, shape (d,).
        start: δ(s), shape (d,).
        s, T: the window.
        bounds: least and largest ε.
        basis: Q, shape (D, d).
        target: in the original coordinates, shape (D,).
        origin: δ(0), shape (d,); training up to s has ε = 1.
        form: the cost of δ(T).
        price: ρ ≥ 0, what a unit of ∫|u| dt costs, per point.
    """

    rates: Float[np.ndarray, " d"]
    rows: Float[np.ndarray, "m d"]
    residuals: Float[np.ndarray, " m"]
    drift: Float[np.ndarray, " d"]
    start: Float[np.ndarray, " d"]
    s: float
    T: float
    bounds: tuple[float, float]
    basis: Float[np.ndarray, "D d"]
    target: Float[np.ndarray, " D"]
    origin: Float[np.ndarray, " d"]
    form: EndForm
    price: float = 0.0
    _spectra: dict[bytes, Spectrum] = field(default_factory=dict, repr=False)

    @property
    def points(self) -> int:
        """Number of deleted points m."""
        return len(self.residuals)

    @property
    def length(self) -> float:
        """T − s."""
        return self.T - self.s

    def spectrum(self, level: float | np.ndarray) -> Spectrum:
        """H_u at one weight for all deleted points, or one each; computed once per weight."""
        weights = np.asarray(level, dtype=np.float64) + 0.0  # −0 is 0
        key = weights.tobytes() * (self.points if weights.ndim == 0 else 1)
        if key not in self._spectra:
            self._spectra[key] = self._diagonalise(np.frombuffer(key))
        return self._spectra[key]

    def priced(self, price: float) -> "LinearControl":
        """The same problem at another price of ∫|u| dt."""
        return self if price == self.price else replace(self, price=price)

    def theta(self, delta: Float[np.ndarray, "*k d"]) -> Float[np.ndarray, "*k D"]:
        """Back to θ."""
        return self.target + delta @ self.basis.T

    def residual(self, delta: Float[np.ndarray, "*k d"]) -> Float[np.ndarray, "*k m"]:
        """e_j = x_jᵀδ − r_j."""
        return delta @ self.rows.T - self.residuals

    def _diagonalise(self, weights: Float[np.ndarray, " m"]) -> Spectrum:
        drift = self.drift + (weights * self.residuals) @ self.rows
        if not weights.any():
            return Spectrum(self.rates, None, self.rows, drift)
        if len(self.rates) < SECULAR:
            rates, vectors = np.linalg.eigh(np.diag(self.rates) + (self.rows.T * weights) @ self.rows)
        else:
            rates, vectors = self._updated(weights)
        rounding = len(rates) * np.finfo(np.float64).eps * np.abs(rates).max()
        rates = np.where(np.abs(rates) <= rounding, 0.0, rates)
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


def linear_control(
    risk: Quadratic,
    theta0: Float[Array, " d"],
    *,
    s: float,
    T: float,
    bounds: tuple[float, float],
    target: Float[Array, " d"],
    cost: AbstractCost | None = None,
    price: float = 0.0,
) -> LinearControl:
    """The control problem in the eigenbasis: θ(0) = θ0, ε = 1 until s, free in `bounds` until T.

    Args:
        risk: R_ε of linear regression.
        theta0: θ(0), shape (d,).
        s, T: the window, 0 ≤ s < T.
        bounds: least and largest ε.
        target: where θ(T) should be, shape (d,).
        cost: of θ(T); default: the distance.
        price: of ∫|ε| dt.
    """
    basis, goal = np.asarray(risk.retained.vectors), np.asarray(target)
    h, b = np.asarray(risk.h_retained), np.asarray(risk.b_retained)
    root = np.sqrt(float(risk.scale))
    x, y = np.asarray(risk.x_deleted), np.asarray(risk.y_deleted)
    force = b - h @ goal
    # What is left of H·target − b at the leave-out optimum is rounding: of the eigensolver (d·u) and of the product.
    scale = np.linalg.norm(b) + np.linalg.norm(h) * np.linalg.norm(goal)
    if np.linalg.norm(force) <= 8.0 * len(b) * np.finfo(np.float64).eps * scale:
        force = np.zeros_like(b)
    coupled = np.vstack([root * x, np.asarray(theta0) - goal, force]) @ basis
    rates, kept = _coupled(np.asarray(risk.retained.values), coupled)
    if kept is not None:
        basis, coupled = basis @ kept, coupled @ kept
    control = LinearControl(
        rates=rates,
        rows=coupled[:-2],
        residuals=root * (y - x @ goal),
        drift=coupled[-1],
        start=coupled[-2],
        s=s,
        T=T,
        bounds=bounds,
        basis=basis,
        target=goal,
        origin=coupled[-2],
        form=(cost or Distance()).form(rates, basis),
        price=price,
    )
    return replace(control, start=advance(control.spectrum(1.0), control.origin, np.asarray([s]))[0])


def _coupled(
    rates: Float[np.ndarray, " d"], vectors: Float[np.ndarray, "k d"]
) -> tuple[Float[np.ndarray, " r"], scipy.sparse.csr_array | None]:
    """Of every eigenspace with more than k dimensions, the at most k that the given vectors span; None: keep all.

    Eigenvalues that agree to the rounding of their solver, d·u·λ_max, count as one. The dropped coordinates of all
    given vectors are zero, and H_u keeps them apart, so they stay zero.
    """
    close = len(rates) * np.finfo(np.float64).eps * np.abs(rates).max()
    starts, blocks, means = [0], [], []
    for i in range(1, len(rates)):
        if rates[i] - rates[starts[-1]] > close:
            starts.append(i)
    edges = [*starts, len(rates)]
    if max(np.diff(edges)) <= len(vectors):
        return rates, None
    for first, last in itertools.pairwise(edges):
        if last - first <= len(vectors):
            blocks.append(np.eye(last - first))
            means.append(rates[first:last])
            continue
        lengths = np.linalg.norm(vectors[:, first:last], axis=1)
        # The vectors may be of very different size, and each counts.
        part, sizes, _ = np.linalg.svd(
            (vectors[:, first:last] / np.where(lengths > 0.0, lengths, 1.0)[:, None]).T, full_matrices=False
        )
        rank = max(1, int(np.count_nonzero(sizes > (last - first) * np.finfo(np.float64).eps * sizes[0])))
        blocks.append(part[:, :rank])
        means.append(np.full(rank, rates[first:last].mean()))
    return np.concatenate(means), scipy.sparse.csr_array(scipy.sparse.block_diag(blocks))


def decay_integral(rates: np.ndarray, elapsed: np.ndarray) -> np.ndarray:
    """∫₀ᵗ e^{−μτ}dτ for all rates (last axis) and times (first axis); t where μ = 0."""
    safe = np.where(rates == 0.0, 1.0, rates)
    return np.where(rates == 0.0, elapsed, -np.expm1(-safe * elapsed) / safe)


def advance(
    spectrum: Spectrum, delta: Float[np.ndarray, "*k d"], elapsed: Float[np.ndarray, " k"]
) -> Float[np.ndarray, "k d"]:
    """δ after each elapsed time, from one δ at 0, or from one for each."""
    return spectrum.from_basis(coordinates(spectrum, spectrum.to_basis(delta), elapsed))


def coordinates(
    spectrum: Spectrum, start: Float[np.ndarray, "*k d"], elapsed: Float[np.ndarray, " k"]
) -> Float[np.ndarray, "k d"]:
    """Vᵀδ after each elapsed time, from Vᵀδ at 0."""
    column = elapsed[:, None]
    return np.exp(-spectrum.rates * column) * start + decay_integral(spectrum.rates, column) * spectrum.drift


def retreat(spectrum: Spectrum, costate: Vector, elapsed: float) -> Vector:
    """p(t − elapsed) from p(t): e^{−H_u elapsed} p, which decays where H_u is positive."""
    return spectrum.from_basis(np.exp(-spectrum.rates * elapsed) * spectrum.to_basis(costate))
