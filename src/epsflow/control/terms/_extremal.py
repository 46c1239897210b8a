"""A schedule with its costate, and the figures by which it meets or fails Pontryagin's conditions."""

import abc
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Float

from ..._core import Array, InputError, Shown, Stored, read_fields, with_error
from ._levels import best_level, graded_grid, levels_of, thresholds

NODES, WEIGHTS = np.polynomial.legendre.leggauss(8)
SPREAD = 4.0 ** -np.arange(1.0, 27.0)
EVEN, AROUND = np.linspace(0.0, 1.0, 13)[1:-1], np.concatenate([-SPREAD, [0.0], SPREAD])
"""Where a bracket of a zero is cut, in units of its length: evenly, and ever finer around the secant's zero."""

ROUNDS = 40


class Point(NamedTuple):
    """State and costate at several times.

    Attributes:
        theta, costate: θ(t) and p(t), shape (k, d).
    """

    theta: Float[Array, "k d"] | Float[np.ndarray, "k d"]
    costate: Float[Array, "k d"] | Float[np.ndarray, "k d"]


class AbstractPath(abc.ABC):
    """θ and p along one schedule."""

    @abc.abstractmethod
    def at(self, ts: Float[np.ndarray, " k"]) -> Point:
        """θ and p."""

    @abc.abstractmethod
    def signals(self, ts: Float[np.ndarray, " k"]) -> "Signals":
        """S, 𝓗 and ε; at a jump of ε, those of the arc that the jump closes (at s, of the arc that s opens)."""


class Signals(NamedTuple):
    """What Pontryagin's conditions are about, at several times.

    Attributes:
        switching: S, shape (k,) or (k, m).
        hamiltonian: 𝓗, shape (k,).
        eps: ε, shape (k,) or (k, m).
    """

    switching: Float[np.ndarray, "k *m"]
    hamiltonian: Float[np.ndarray, " k"]
    eps: Float[np.ndarray, "k *m"]


class ForgottenPath(AbstractPath):
    """In place of a path that was not stored."""

    def at(self, ts: Float[np.ndarray, " k"]) -> Point:
        """Refused."""
        raise InputError(FORGOTTEN)

    def signals(self, ts: Float[np.ndarray, " k"]) -> Signals:
        """Refused."""
        raise InputError(FORGOTTEN)


FORGOTTEN = (
    "θ(t), the costate and S(t) are not stored with an extremal, only its figures: ask "
    "epsflow.extremal(problem, schedule, theta0, s=…, T=…) again."
)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Extremal(Shown, Stored):
    """A schedule with its costate, and how well it meets Pontryagin's conditions.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.extremal(problem, ef.Step(2.0), np.zeros(10), s=2.0, T=20.0).pmp_gap >= 0.0
        True

    Attributes:
        s, T: the window.
        cost: of θ(T), without the price of ∫|ε| dt; 𝓔 = ½‖θ(T) − target‖² unless another was asked for.
        cost_error: bound (exact) or estimate (diffrax) of the error in `cost`.
        pmp_gap: ∫_s^T Σ_j [S_j u_j + ρ|u_j| − min_{low ≤ v ≤ high} (S_j v + ρ|v|)] dt ≥ 0; zero for an extremal. In
            units of the cost; ρ is the price of ∫|ε| dt, mostly 0.
        hamiltonian_drift: max 𝓗 − min 𝓗 over [s, T] (with a price: of 𝓗 + ρ|ε|); zero for an extremal.
        zeros: where the best ε_j changes inside (s, T), ascending: S_j changes sign (with a price: crosses ±ρ); one
            array per component of S.
        method: "exact", "collocation", "diffrax", "adjoint" (Runge–Kutta steps, and their exact adjoint) or "steps" (of
            gradient descent, or of an optimiser).
        path: where θ, p, S and 𝓗 come from.
    """

    s: float
    T: float
    cost: float
    cost_error: float
    pmp_gap: float
    hamiltonian_drift: float
    zeros: tuple[Float[np.ndarray, " _"], ...]
    method: str
    path: AbstractPath

    @property
    def relative_pmp_gap(self) -> float:
        """`pmp_gap` in units of the cost; 0 where both vanish."""
        return self.pmp_gap / self.cost if self.cost > 0.0 else 0.0

    def theta(self, t: ArrayLike) -> Float[Array, "*shape d"]:
        """θ(t), at any times in [s, T]."""
        return self._shaped(t, self.path.at(self._times(t)).theta)

    def costate(self, t: ArrayLike) -> Float[Array, "*shape d"]:
        """p(t)."""
        return self._shaped(t, self.path.at(self._times(t)).costate)

    def switching(self, t: ArrayLike) -> Float[Array, "*values"]:
        """S(t) = ∂𝓔/∂ε(t), shape (*t.shape,), or (*t.shape, m) for a schedule with one weight per point."""
        return self._shaped(t, self.path.signals(self._times(t)).switching)

    def hamiltonian(self, t: ArrayLike) -> Float[Array, "*shape"]:
        """𝓗(t) = pᵀθ̇."""
        return self._shaped(t, self.path.signals(self._times(t)).hamiltonian)

    def along(self, path: AbstractPath) -> "Extremal":
        """The same figures, with another source of θ, p, S and 𝓗."""
        return replace(self, path=path)

    @classmethod
    def from_json(cls, text: str) -> "Extremal":
        """The figures that `to_json` wrote; the path is not among them, and asking for it is refused.

        Raises:
            InputError: another document.
        """
        return cls._revived({}, **read_fields(cls, text, ()))

    @classmethod
    def _revived(cls, given: dict[str, Any], **figures: Any) -> "Extremal":
        del given
        return cls(**figures, path=ForgottenPath())

    def _stored(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name != "path"}

    def _facts(self) -> dict[str, object]:
        return {
            "cost": self.cost,
            "pmp_gap": self.pmp_gap,
            "hamiltonian_drift": self.hamiltonian_drift,
            "zeros": sum(len(zeros) for zeros in self.zeros),
        }

    def _title(self) -> str:
        return f"Pontryagin's conditions on [{self.s:g}, {self.T:g}]"

    def _figures(self) -> dict[str, object]:
        return {
            "cost": with_error(self.cost, self.cost_error),
            "PMP gap": f"{self.pmp_gap:.3g} ({self.relative_pmp_gap:.2g} of the cost)",
            "Hamiltonian drift": self.hamiltonian_drift,
            "method": self.method,
        }

    def _rows(self) -> list[dict[str, Any]]:
        several = len(self.zeros) > 1
        return [
            {"S changes at": float(t)} | ({"component": j} if several else {})
            for j, zeros in enumerate(self.zeros)
            for t in zeros
        ]

    def _times(self, t: ArrayLike) -> Float[np.ndarray, " k"]:
        """Times in [s, T], but for rounding; there is no costate outside."""
        ts = np.atleast_1d(np.asarray(t, dtype=np.float64)).ravel()
        slack = 1e-12 * max(abs(self.s), abs(self.T))
        outside = ts[~((ts >= self.s - slack) & (ts <= self.T + slack))]
        if len(outside):
            raise InputError(f"t = {outside[0]:g} lies outside [s, T] = [{self.s:g}, {self.T:g}], where ε is free.")
        return np.clip(ts, self.s, self.T)

    def _shaped(self, t: ArrayLike, values: np.ndarray | Array) -> Array:
        return np.reshape(values, np.shape(t) + values.shape[1:])


def extremal_along(
    path: AbstractPath,
    knots: Float[np.ndarray, " knots"],
    rates: float | list[float],
    bounds: tuple[float, float],
    price: float,
    *,
    cost: float,
    error: float,
    method: str,
) -> Extremal:
    """PMP gap, Hamiltonian drift and zeros of S, by 8-point Gauss–Legendre between the zeros, on graded panels.

    Args:
        path: θ, p, S and 𝓗.
        knots: s, where S may have a kink, and T.
        rates: how fast S may change between them: the largest curvature, of all or of each.
        bounds, price: what the best level is chosen from, and what it costs.
        cost, error, method: see `Extremal`.
    """
    each = np.broadcast_to(rates, len(knots) - 1)
    panels = [a + graded_grid(b - a, rate) for a, b, rate in zip(knots[:-1], knots[1:], each, strict=True)]
    edges = np.unique(np.concatenate(panels))
    nodes = _nodes(edges)[0]
    signals = path.signals(nodes)
    gap, zeros, options = 0.0, [], np.array(levels_of(bounds, price))
    for j, column in enumerate(np.atleast_2d(signals.switching.T)):

        def component(ts: np.ndarray, j: int = j) -> np.ndarray:
            return np.atleast_2d(path.signals(ts).switching.T)[j]

        found = [
            _sign_changes(lambda ts, at=at: component(ts) - at, nodes, column - at) for at in thresholds(bounds, price)
        ]
        zeros.append(np.unique(np.concatenate(found)))
        ts, quadrature = _nodes(np.union1d(edges, zeros[-1]))
        values, eps = (np.atleast_2d(array.T)[j] for array in path.signals(ts)[::2])
        best = best_level(values, options, price)
        excess = (eps - best) * values + price * (np.abs(eps) - np.abs(best))
        # A weight at its bound (to rounding) where S has the right sign contributes exactly nothing.
        gap += float(quadrature @ np.where(np.isclose(eps, best, 0.0, 1e-14), 0.0, excess))
    energy = signals.hamiltonian + price * np.abs(signals.eps).reshape(len(nodes), -1).sum(axis=1)
    return Extremal(
        s=float(knots[0]),
        T=float(knots[-1]),
        cost=float(cost),
        cost_error=float(error),
        pmp_gap=gap,
        hamiltonian_drift=float(np.ptp(energy)),
        zeros=tuple(zeros),
        method=method,
        path=path,
    )


def _nodes(edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    centres, halves = 0.5 * (edges[1:] + edges[:-1]), 0.5 * np.diff(edges)
    return (centres[:, None] + halves[:, None] * NODES).ravel(), (halves[:, None] * WEIGHTS).ravel()


def _sign_changes(function: Callable[[np.ndarray], np.ndarray], ts: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Zeros between neighbours of opposite sign, to rounding, all at once.

    Every bracket is cut in 64 places, because 64 values at once take hardly longer than one. Most lie ever closer to
    the zero of the secant, so that a new bracket is about as long as the secant was wrong, which falls quadratically;
    some lie evenly, so that it is at most a twelfth of the old one whatever the function does.
    """
    change = np.flatnonzero(np.sign(values[:-1]) * np.sign(values[1:]) < 0.0)
    low, high, at_low, at_high = ts[change], ts[change + 1], values[change], values[change + 1]
    sign, rows = np.sign(at_low)[:, None], np.arange(len(change))
    for _ in range(ROUNDS):
        if (high - low <= 2.0 * np.spacing(np.maximum(np.abs(low), np.abs(high)))).all():
            break
        secant = (at_low / (at_low - at_high))[:, None]
        near = np.clip(secant + AROUND, 0.0, 1.0)
        parts = np.sort(np.hstack([near, np.broadcast_to(EVEN, (len(rows), len(EVEN)))]), axis=1)
        inner = low[:, None] + (high - low)[:, None] * parts
        cuts = np.hstack([low[:, None], inner, high[:, None]])
        found = np.hstack([at_low[:, None], function(inner.ravel()).reshape(inner.shape), at_high[:, None]])
        first = np.argmin(np.sign(found[:, 1:]) == sign, axis=1)  # the first part at whose end the sign has changed
        before, after = (rows, first), (rows, first + 1)
        low, high, at_low, at_high = cuts[before], cuts[after], found[before], found[after]
    return 0.5 * (low + high)
