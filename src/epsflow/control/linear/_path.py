"""State, costate and Pontryagin's figures of linear regression along piecewise-constant weights, exactly."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..terms._extremal import AbstractPath, Extremal, Point, Signals, extremal_along
from ._pencil import Spectrum, coordinates, retreat
from ._task import LinearTask


@dataclass(frozen=True, eq=False)
class LinearPath(AbstractPath):
    """Exact θ and p: one sum of exponentials per arc.

    Attributes:
        task: the problem in the eigenbasis.
        knots: K+1 times from s to T; levels: ε between them, shape (K,) or (K, m).
        spectra: H_u of each arc.
        deltas, costates: δ and p at every knot, shape (K+1, d).
        starts: Vᵀδ where each arc begins, shape (K, d).
        ends: Vᵀp where each arc ends, shape (K, d).
    """

    task: LinearTask
    knots: Float[np.ndarray, " knots"]
    levels: Float[np.ndarray, "arcs *m"]
    spectra: tuple[Spectrum, ...]
    deltas: Float[np.ndarray, "knots d"]
    costates: Float[np.ndarray, "knots d"]
    starts: Float[np.ndarray, "arcs d"]
    ends: Float[np.ndarray, "arcs d"]

    def at(self, ts: Float[np.ndarray, " k"]) -> Point:
        """See `AbstractPath`."""
        deltas, costates = np.empty((2, len(ts), len(self.task.rates)))
        for arc, here in _by_arc(self._arcs(ts)):
            state, costate = self._pair(arc, ts[here])
            deltas[here], costates[here] = (self.spectra[arc].from_basis(each) for each in (state, costate))
        return Point(self.task.theta(deltas), costates @ self.task.basis.T)

    def signals(self, ts: Float[np.ndarray, " k"]) -> Signals:
        """See `AbstractPath`."""
        switching, hamiltonian = np.empty((len(ts), self.task.points)), np.empty(len(ts))
        arcs = self._arcs(ts)
        for arc, here in _by_arc(arcs):
            spectrum = self.spectra[arc]
            state, costate = self._pair(arc, ts[here])
            residual = state @ spectrum.rows.T - self.task.residuals
            switching[here] = -(costate @ spectrum.rows.T) * residual
            hamiltonian[here] = np.sum(costate * (spectrum.drift - spectrum.rates * state), axis=1)
        # One weight for all points: what counts is the sum.
        switching = switching.sum(axis=1) if self.levels.ndim == 1 else switching
        return Signals(switching, hamiltonian, self.levels[arcs])

    def _arcs(self, ts: np.ndarray) -> np.ndarray:
        return np.clip(np.searchsorted(self.knots, ts, side="left") - 1, 0, len(self.levels) - 1)

    def _pair(self, arc: int, ts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Vᵀδ and Vᵀp at times of one arc."""
        spectrum = self.spectra[arc]
        state = coordinates(spectrum, self.starts[arc], ts - self.knots[arc])
        return state, np.exp(-spectrum.rates * (self.knots[arc + 1] - ts)[:, None]) * self.ends[arc]


def _by_arc(arcs: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Every arc that occurs, and where."""
    return [(int(arc), np.flatnonzero(arcs == arc)) for arc in np.flatnonzero(np.bincount(arcs))]


def linear_path(task: LinearTask, knots: np.ndarray, levels: np.ndarray) -> LinearPath:
    """Forward through the arcs, and backward from p(T) = LᵀLδ(T)."""
    spectra = tuple(task.spectrum(level) for level in levels)
    deltas, starts, ends = [task.start], [], []
    for spectrum, duration in zip(spectra, np.diff(knots), strict=True):
        starts.append(spectrum.to_basis(deltas[-1]))
        deltas.append(spectrum.from_basis(coordinates(spectrum, starts[-1], np.asarray([duration]))[0]))
    costates = [task.form.gradient(deltas[-1])]
    for spectrum, duration in zip(reversed(spectra), np.diff(knots)[::-1], strict=True):
        ends.append(spectrum.to_basis(costates[-1]))
        costates.append(retreat(spectrum, costates[-1], duration))
    arrays = (np.array(rows) for rows in (deltas, costates[::-1], starts, ends[::-1]))
    return LinearPath(task, knots, levels, spectra, *arrays)


def linear_extremal(task: LinearTask, knots: np.ndarray, levels: np.ndarray) -> Extremal:
    """The extremal of a piecewise-constant schedule, given by its knots from s to T and its levels between them."""
    path = linear_path(task, knots, levels)
    rates = [np.abs(spectrum.rates).max() for spectrum in path.spectra]
    miss = path.deltas[-1]
    # First order: eigenvalues carry an error of d·u·μ_max, which acts for T.
    rounding = len(miss) * np.finfo(np.float64).eps * (1.0 + max(rates) * task.T) * np.abs(path.deltas).max()
    error = np.linalg.norm(path.costates[-1]) * rounding + 0.5 * (task.form.norm * rounding) ** 2
    cost = task.form.value(miss)
    return extremal_along(path, knots, rates, task.bounds, task.price, cost=cost, error=error, method="exact")
