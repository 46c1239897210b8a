"""The mean-field flow of a two-layer network on a single-index target: degrees are learned one after another.

In Hermite coefficients φ_k of the target and σ_k of the activation, with moments M_k = (1/m)Σ_j a_j s_j^k and residuals
r_k = σ_k(φ_k − σ_kM_k), the flow of second-layer weights a_i and overlaps s_i is

    ε ȧ_i = Σ_k r_k s_i^k,   ṡ_i = a_i(1 − s_i²) Σ_k k r_k s_i^{k−1},   R = ½Σ_k(φ_k − σ_kM_k)².
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.integrate import solve_ivp
from scipy.optimize import brentq
from scipy.special import ndtri

from ..._core import COMMON, Axed, ConvergenceError, InputError, Labelled, Tabular, as_array, as_count, as_scalar

HALF = 0.5
"""The share of φ_k that counts as learned."""


@dataclass(frozen=True, eq=False, repr=False)
class PlateauFlow(Tabular, Labelled):
    """What a two-layer network has learned, degree by degree.

    Example:
        >>> flow = ef.plateau_flow([0.0, 1.0], time_scale=0.1, neurons=8, grid=50)
        >>> flow.learned.shape
        (50, 2)

    Attributes:
        time_scale: ε, the time scale of the second layer in units of the first layer's.
        ts: times, shape (k,).
        learned: σ_lM_l/φ_l, the share of each degree's coefficient, shape (k, degrees); NaN where φ_l = 0.
        risk: R(t), shape (k,).
        times: when half of each degree was first learned, shape (degrees,); NaN where it was not, or φ_l = 0.
        time_errors: the change of these times under a hundred times looser tolerance.
        weights, overlaps: a_i and s_i at the end, shape (m,).
    """

    time_scale: float
    ts: Float[np.ndarray, " k"]
    learned: Float[np.ndarray, "k degrees"]
    risk: Float[np.ndarray, " k"]
    times: Float[np.ndarray, " degrees"]
    time_errors: Float[np.ndarray, " degrees"]
    weights: Float[np.ndarray, " m"]
    overlaps: Float[np.ndarray, " m"]

    def _arrays(self) -> dict[str, Axed]:
        return {
            "t": ("t", self.ts),
            "learned": ("t degree", self.learned),
            "risk": ("t", self.risk),
            "time": ("degree", self.times),
            "time_error": ("degree", self.time_errors),
            "weight": ("neuron", self.weights),
            "overlap": ("neuron", self.overlaps),
        }

    def _facts(self) -> dict[str, object]:
        return {"time_scale": self.time_scale, "times": self.times, "risk": self.risk[-1]}

    def _rows(self) -> list[dict[str, object]]:
        rows = zip(self.times, self.time_errors, self.learned[-1], strict=True)
        return [{"degree": k, "time": t, "error": off, "learned": c} for k, (t, off, c) in enumerate(rows)]


@dataclass(frozen=True, eq=False, repr=False)
class PlateauSlopes(Tabular, Labelled):
    """How the learning times of a two-layer network scale with ε.

    Example:
        >>> scales = [1e-1, 1e-2, 1e-3, 1e-4]
        >>> ef.attribution.plateau_slopes([0.0, 1.0], time_scales=scales, neurons=8).times.shape
        (4, 2)

    Attributes:
        time_scales: ε, descending, shape (e,).
        times: when half of each degree was learned, shape (e, degrees).
        time_errors: of the times.
        slopes: d log t_l/d log ε, by least squares over the smaller half of ε, shape (degrees,); 1/(2l) as ε → 0.
        slope_errors: standard error of the slopes: how far the times are from a power law there, not how far it is
            from the limit.
        local: the slope between neighbouring ε, shape (e − 1, degrees): whether it still moves.
    """

    time_scales: Float[np.ndarray, " e"]
    times: Float[np.ndarray, "e degrees"]
    time_errors: Float[np.ndarray, "e degrees"]
    slopes: Float[np.ndarray, " degrees"]
    slope_errors: Float[np.ndarray, " degrees"]
    local: Float[np.ndarray, "e-1 degrees"]

    def _arrays(self) -> dict[str, Axed]:
        return {
            "time_scale": ("time_scale", self.time_scales),
            "time": ("time_scale degree", self.times),
            "time_error": ("time_scale degree", self.time_errors),
            "slope": ("degree", self.slopes),
            "slope_error": ("degree", self.slope_errors),
            "local": ("interval degree", self.local),
        }

    def _facts(self) -> dict[str, object]:
        return {"slopes": self.slopes, "slope_errors": self.slope_errors}

    def _rows(self) -> list[dict[str, object]]:
        rows = zip(self.slopes, self.slope_errors, self.local[-1], strict=True)
        return [
            {"degree": k, "slope": slope, "error": off, "last": last, "limit": 1.0 / (2.0 * k) if k else 1.0}
            for k, (slope, off, last) in enumerate(rows)
        ]


def plateau_flow(
    target: Sequence[float] | Float[np.ndarray, " degrees"],
    *,
    time_scale: float,
    activation: Sequence[float] | Float[np.ndarray, " degrees"] | None = None,
    T: float | None = None,
    neurons: int = 64,
    grid: int = 400,
    rtol: float = 1e-8,
) -> PlateauFlow:
    """The mean-field flow of a two-layer network on a single-index target, from overlaps 0.

    Example:
        >>> bool(ef.plateau_flow([0.0, 1.0], time_scale=0.1, neurons=8).risk[-1] < 1e-12)
        True

    ε ȧ_i = V(s_i) − (1/m)Σ_j a_jU(s_is_j),  ṡ_i = a_i(1 − s_i²)[V′(s_i) − (1/m)Σ_j a_js_jU′(s_is_j)],
    V(s) = Σφ_kσ_ks^k, U(s) = Σσ_k²s^k. For small ε the coefficient of degree l is learned at a time ∝ ε^{1/(2l)}, of
    degree 0 ∝ ε: between these times the risk rests on plateaus. Second-layer weights start at the normal quantiles
    of (i − ½)/m, so that nothing is random; the flow is stiff, and integrated implicitly with its exact Jacobian.

    Args:
        target: φ_0, φ_1, …, Hermite coefficients of the target.
        time_scale: ε > 0, the second layer's time scale in units of the first layer's.
        activation: σ_0, σ_1, …, as many. Default: all 1.
        T: when to stop. Default: 30 ε^{1/(2L)}, L the highest degree with φ_L ≠ 0.
        neurons: m.
        grid: times that are kept, from ε/100 on in geometric progression.
        rtol: relative tolerance of the integrator.

    Raises:
        InputError: coefficients of different lengths or not finite, no target, ε ≤ 0 or T ≤ 0.
        ConvergenceError: the integrator gave up.

    Source: Berthier, Montanari and Zhou, "Learning time-scales in two-layers neural networks" (2023).
    """
    COMMON["rtol"](rtol, "rtol")
    phi = _numbers(target, "target")
    sigma = np.ones_like(phi) if activation is None else _numbers(activation, "activation")
    epsilon, m, count = as_scalar(time_scale, "time_scale"), as_count(neurons, "neurons"), as_count(grid, "grid", 2)
    if phi.ndim != 1 or phi.shape != sigma.shape or not (np.isfinite(phi).all() and np.isfinite(sigma).all()):
        raise InputError("target and activation list as many finite coefficients, from degree 0 on.")
    degrees = np.flatnonzero(phi * sigma)
    if not degrees.size:
        raise InputError("no degree has a coefficient in both target and activation: there is nothing to learn.")
    if epsilon <= 0.0:
        raise InputError(f"time_scale is {epsilon:g}; the second layer needs a positive one.")
    end = 30.0 * _limit(epsilon, int(degrees[-1])) if T is None else as_scalar(T, "T")
    first = min(0.01 * epsilon, 0.01 * end)
    if end <= 0.0:
        raise InputError(f"T is {end:g}; a positive time is needed.")
    flow, ts = _Flow(phi, sigma, epsilon, m), np.append(0.0, np.geomspace(first, end, count - 1))
    fine, rough = flow.solve(end, rtol), flow.solve(end, 100.0 * rtol)
    states = np.array([fine.sol(t) for t in ts])
    moments = flow.moments(states)
    with np.errstate(divide="ignore", invalid="ignore"):
        learned = np.where(phi == 0.0, np.nan, sigma * moments / phi)
    times = flow.crossings(fine, degrees)
    return PlateauFlow(
        time_scale=epsilon,
        ts=ts,
        learned=learned,
        risk=0.5 * np.square(phi - sigma * moments).sum(axis=1),
        times=times,
        time_errors=np.abs(times - flow.crossings(rough, degrees)),
        weights=states[-1, :m],
        overlaps=states[-1, m:],
    )


def plateau_slopes(
    target: Sequence[float] | Float[np.ndarray, " degrees"],
    *,
    time_scales: Sequence[float] | Float[np.ndarray, " e"] | None = None,
    activation: Sequence[float] | Float[np.ndarray, " degrees"] | None = None,
    neurons: int = 64,
    rtol: float = 1e-8,
) -> PlateauSlopes:
    """Learning times for several ε, and their slopes d log t_l/d log ε.

    Example:
        >>> scales = [1e-1, 1e-2, 1e-3, 1e-4]
        >>> ef.attribution.plateau_slopes([0.0, 1.0], time_scales=scales, neurons=8).slopes.round(1)  # → ½ as ε → 0
        array([nan, 0.4])

    Args:
        target, activation, neurons, rtol: as in `plateau_flow`.
        time_scales: descending ε, four at least. Default: 1e-2, 1e-3, …, 1e-8.

    Raises:
        InputError: fewer than four ε, not descending; and as `plateau_flow`.
        ConvergenceError: as `plateau_flow`.
    """
    scales = 10.0 ** -np.arange(2.0, 9.0) if time_scales is None else _numbers(time_scales, "time_scales")
    if scales.ndim != 1 or len(scales) < 4 or not (scales > 0.0).all() or (np.diff(scales) >= 0.0).any():
        raise InputError("time_scales must be four or more positive numbers, descending: a slope needs neighbours.")
    flows = [
        plateau_flow(target, time_scale=e, activation=activation, neurons=neurons, grid=2, rtol=rtol) for e in scales
    ]
    times = np.stack([flow.times for flow in flows])
    logs, half = np.log(scales), len(scales) // 2
    centred = logs[half - 1 :] - logs[half - 1 :].mean()
    late = np.log(times[half - 1 :])
    slopes = centred @ late / (centred @ centred)
    left = late - late.mean(axis=0) - centred[:, None] * slopes
    spread = np.sqrt(np.square(left).sum(axis=0) / max(1, len(centred) - 2) / (centred @ centred))
    return PlateauSlopes(
        time_scales=scales,
        times=times,
        time_errors=np.stack([flow.time_errors for flow in flows]),
        slopes=slopes,
        slope_errors=spread,
        local=np.diff(np.log(times), axis=0) / np.diff(logs)[:, None],
    )


def _numbers(value: object, name: str) -> Float[np.ndarray, "..."]:
    """In double precision, whatever JAX works in: nothing here is JAX's."""
    array = as_array(value, name)
    if array.dtype.kind not in "fiu":
        raise InputError(f"{name} holds {array.dtype} values; numbers are needed.")
    return array.astype(np.float64)


def _limit(epsilon: float, degree: int) -> float:
    """The time scale on which a degree is learned."""
    return epsilon ** (1.0 / (2.0 * degree)) if degree else epsilon


@dataclass(frozen=True, eq=False)
class _Flow:
    """The flow of (a, s), its state one vector of length 2m."""

    phi: Float[np.ndarray, " degrees"]
    sigma: Float[np.ndarray, " degrees"]
    epsilon: float
    m: int

    def moments(self, states: Float[np.ndarray, "*k states"]) -> Float[np.ndarray, "*k degrees"]:
        """M_k."""
        a, s = states[..., : self.m], states[..., self.m :]
        return (a[..., None] * s[..., None] ** np.arange(len(self.phi))).mean(axis=-2)

    def field(self, _: float, state: Float[np.ndarray, " states"]) -> Float[np.ndarray, " states"]:
        """(ȧ, ṡ)."""
        a, s = state[: self.m], state[self.m :]
        degrees = np.arange(len(self.phi))
        residuals = self.sigma * (self.phi - self.sigma * self.moments(state))
        pull = (degrees[1:] * residuals[1:]) @ s ** (degrees[1:, None] - 1)
        return np.concatenate([(residuals @ s ** degrees[:, None]) / self.epsilon, a * (1.0 - s * s) * pull])

    def jacobian(self, _: float, state: Float[np.ndarray, " states"]) -> Float[np.ndarray, "states states"]:
        """∂(ȧ, ṡ)/∂(a, s): what each neuron does to itself, and to all through the moments."""
        a, s, m = state[: self.m], state[self.m :], self.m
        degrees = np.arange(len(self.phi))
        residuals = self.sigma * (self.phi - self.sigma * self.moments(state))
        powers, slopes = s ** degrees[:, None], np.zeros((len(degrees), m))
        slopes[1:] = degrees[1:, None] * s ** (degrees[1:, None] - 1)
        bends = np.zeros_like(slopes)
        bends[2:] = (degrees[2:] * (degrees[2:] - 1))[:, None] * s ** (degrees[2:, None] - 2)
        pull, reach = residuals @ slopes, 1.0 - s * s
        moments = np.hstack([powers, a * slopes]) / m
        through = -np.square(self.sigma)[:, None] * moments
        matrix = np.vstack([powers.T / self.epsilon, (a * reach)[:, None] * slopes.T]) @ through
        index = np.arange(m)
        matrix[index, m + index] += pull / self.epsilon
        matrix[m + index, index] += reach * pull
        matrix[m + index, m + index] += a * (reach * (residuals @ bends) - 2.0 * s * pull)
        return matrix

    def solve(self, T: float, rtol: float) -> Any:
        """(a, s) as an interpolant until T."""
        start = np.concatenate([ndtri((np.arange(self.m) + 0.5) / self.m), np.zeros(self.m)])
        options = {"jac": self.jacobian, "dense_output": True, "rtol": rtol, "atol": 1e-2 * rtol}
        found = solve_ivp(self.field, (0.0, T), start, method="Radau", **options)
        if not found.success:
            raise ConvergenceError(f"the flow stopped at t = {found.t[-1]:g}: {found.message}", found)
        return found

    def crossings(self, found: Any, degrees: np.ndarray) -> Float[np.ndarray, " degrees"]:
        """When half of each degree was first learned."""
        times, shares = np.full(len(self.phi), math.nan), self.sigma * self.moments(found.y.T)
        for degree in degrees:
            over = np.flatnonzero(shares[:, degree] / self.phi[degree] >= HALF)
            if over.size and over[0] > 0:

                def short(t: float, degree: int = degree) -> float:
                    return self.sigma[degree] * self.moments(found.sol(t))[degree] / self.phi[degree] - HALF

                times[degree] = brentq(short, found.t[over[0] - 1], found.t[over[0]], xtol=1e-300)
        return times
