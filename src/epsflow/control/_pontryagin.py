"""Pontryagin's conditions along any schedule: costate, switching function, Hamiltonian, and how far they fail.

ṗ = ∇²R_u(θ) p, p(T) = θ(T) − target;  S_j = ∂𝓔/∂u_j(t) = −pᵀg_j(θ);  𝓗 = pᵀθ̇. An optimal u_j is ε_max where S_j < 0 and
ε_min where S_j > 0, and 𝓗 is constant. One sign throughout the room: S < 0 means that a larger ε lowers the cost.
Linear regression under a piecewise-constant schedule is exact (`_propagators`); the rest is two diffrax solves.
"""

import abc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._core import RESULTS, ConvergenceError, message
from ..flow._diffrax import choose_solver, largest_curvature, solve_diffrax
from ..problem import AbstractRisk, Problem, Quadratic
from ..schedules import AbstractPiecewiseConstant, AbstractSchedule
from ._propagators import LinearControl, Spectrum, arcs_of, coordinates, graded_grid, linear_control, retreat

NODES, WEIGHTS = np.polynomial.legendre.leggauss(8)
TOLERANCES = (1e-10, 1e-12)
CHUNK = 256
"""Times at which interpolants are evaluated at once."""
DENSE_NUMBERS = 2**26
"""Numbers that the interpolants of a diffrax solve may hold (0.5 GB each)."""


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


@dataclass(frozen=True, eq=False)
class Extremal:
    """A schedule with its costate, and how well it meets Pontryagin's conditions.

    Attributes:
        s, T: the window.
        cost: 𝓔 = ½‖θ(T) − target‖².
        cost_error: bound (exact) or estimate (diffrax) of the error in `cost`.
        pmp_gap: ∫_s^T Σ_j [S_j u_j − min_{low ≤ v ≤ high} S_j v] dt ≥ 0; zero for an extremal. In units of the cost.
        hamiltonian_drift: max 𝓗 − min 𝓗 over [s, T]; zero for an extremal.
        zeros: where S_j changes sign inside (s, T), ascending; one array per component of S.
        method: "exact" or "diffrax".
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
    path: AbstractPath = field(repr=False)

    @property
    def relative_pmp_gap(self) -> float:
        """`pmp_gap` in units of the cost; 0 where both vanish."""
        return self.pmp_gap / self.cost if self.cost > 0.0 else 0.0

    def theta(self, t: object) -> Float[Array, "*shape d"]:
        """θ(t), at any times in [s, T]."""
        return self._shaped(t, self.path.at(_flat(t)).theta)

    def costate(self, t: object) -> Float[Array, "*shape d"]:
        """p(t)."""
        return self._shaped(t, self.path.at(_flat(t)).costate)

    def switching(self, t: object) -> Float[Array, "*values"]:
        """S(t) = ∂𝓔/∂ε(t), shape (*t.shape,), or (*t.shape, m) for a schedule with one weight per point."""
        return self._shaped(t, self.path.signals(_flat(t)).switching)

    def hamiltonian(self, t: object) -> Float[Array, "*shape"]:
        """𝓗(t) = pᵀθ̇."""
        return self._shaped(t, self.path.signals(_flat(t)).hamiltonian)

    def _shaped(self, t: object, values: np.ndarray | Array) -> Array:
        return jnp.reshape(jnp.asarray(values), np.shape(t) + values.shape[1:])


def extremal(
    problem: Problem,
    schedule: AbstractSchedule,
    theta0: Float[Array, " d"],
    *,
    s: float,
    T: float,
    bounds: tuple[float, float],
    target: Float[Array, " d"],
) -> Extremal:
    """The costate of a schedule and the figures that Pontryagin's principle asks for.

    Args:
        problem: what is trained.
        schedule: ε(t), in E_s.
        theta0: θ(0), shape (d,).
        s, T: the window in which ε is free.
        bounds: least and largest ε there.
        target: θ*_{-D}, shape (d,).

    Raises:
        ConvergenceError: diffrax failed, forward or backward.
    """
    if isinstance(problem.risk, Quadratic) and isinstance(schedule, AbstractPiecewiseConstant):
        control = linear_control(problem.risk, theta0, s=s, T=T, bounds=bounds, target=target)
        return linear_extremal(control, *arcs_of(schedule, s, T))
    return _general_extremal(problem.risk, schedule, theta0, s, T, bounds, target)


# ---- linear regression, exact -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class LinearPath(AbstractPath):
    """Exact θ and p: one sum of exponentials per arc.

    Attributes:
        control: the problem in the eigenbasis.
        knots: K+1 times from s to T; levels: ε between them, shape (K,) or (K, m).
        spectra: H_u of each arc.
        deltas, costates: δ and p at every knot, shape (K+1, d).
        starts: Vᵀδ where each arc begins, shape (K, d).
        ends: Vᵀp where each arc ends, shape (K, d).
    """

    control: LinearControl
    knots: Float[np.ndarray, " knots"]
    levels: Float[np.ndarray, "arcs *m"]
    spectra: tuple[Spectrum, ...]
    deltas: Float[np.ndarray, "knots d"]
    costates: Float[np.ndarray, "knots d"]
    starts: Float[np.ndarray, "arcs d"]
    ends: Float[np.ndarray, "arcs d"]

    def at(self, ts: Float[np.ndarray, " k"]) -> Point:
        """See `AbstractPath`."""
        deltas, costates = np.empty((2, len(ts), len(self.control.rates)))
        for arc, here in self._by_arc(ts):
            state, costate = self._pair(arc, ts[here])
            deltas[here], costates[here] = state @ self.spectra[arc].vectors.T, costate @ self.spectra[arc].vectors.T
        return Point(self.control.theta(deltas), costates @ self.control.basis.T)

    def signals(self, ts: Float[np.ndarray, " k"]) -> Signals:
        """See `AbstractPath`."""
        switching, hamiltonian = np.empty((len(ts), self.control.points)), np.empty(len(ts))
        for arc, here in self._by_arc(ts):
            spectrum = self.spectra[arc]
            state, costate = self._pair(arc, ts[here])
            residual = state @ spectrum.rows.T - self.control.residuals
            switching[here] = -(costate @ spectrum.rows.T) * residual
            hamiltonian[here] = np.sum(costate * (spectrum.drift - spectrum.rates * state), axis=1)
        # One weight for all points: what counts is the sum.
        switching = switching.sum(axis=1) if self.levels.ndim == 1 else switching
        return Signals(switching, hamiltonian, self.levels[self._arcs(ts)])

    def _arcs(self, ts: np.ndarray) -> np.ndarray:
        return np.clip(np.searchsorted(self.knots, ts, side="left") - 1, 0, len(self.levels) - 1)

    def _by_arc(self, ts: np.ndarray) -> list[tuple[int, np.ndarray]]:
        arcs = self._arcs(ts)
        return [(int(arc), np.flatnonzero(arcs == arc)) for arc in np.unique(arcs)]

    def _pair(self, arc: int, ts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Vᵀδ and Vᵀp at times of one arc."""
        spectrum = self.spectra[arc]
        state = coordinates(spectrum, self.starts[arc], ts - self.knots[arc])
        return state, np.exp(-spectrum.rates * (self.knots[arc + 1] - ts)[:, None]) * self.ends[arc]


def linear_path(control: LinearControl, knots: np.ndarray, levels: np.ndarray) -> LinearPath:
    """Forward through the arcs, and backward from p(T) = δ(T)."""
    spectra = tuple(control.spectrum(level) for level in levels)
    deltas, starts, ends = [control.start], [], []
    for spectrum, duration in zip(spectra, np.diff(knots), strict=True):
        starts.append(deltas[-1] @ spectrum.vectors)
        deltas.append(coordinates(spectrum, starts[-1], np.asarray([duration]))[0] @ spectrum.vectors.T)
    costates = [deltas[-1]]
    for spectrum, duration in zip(reversed(spectra), np.diff(knots)[::-1], strict=True):
        ends.append(costates[-1] @ spectrum.vectors)
        costates.append(retreat(spectrum, costates[-1], duration))
    arrays = (np.array(rows) for rows in (deltas, costates[::-1], starts, ends[::-1]))
    return LinearPath(control, knots, levels, spectra, *arrays)


def linear_extremal(control: LinearControl, knots: np.ndarray, levels: np.ndarray) -> Extremal:
    """The extremal of a piecewise-constant schedule, given by its knots from s to T and its levels between them."""
    path = linear_path(control, knots, levels)
    rates = [np.abs(spectrum.rates).max() for spectrum in path.spectra]
    gap, drift, zeros = _conditions(path, knots, rates, control.bounds)
    miss = path.deltas[-1]
    # First order: eigenvalues carry an error of d·u·μ_max, which acts for T.
    rounding = len(miss) * np.finfo(np.float64).eps * (1.0 + max(rates) * control.T) * np.abs(path.deltas).max()
    error = np.linalg.norm(miss) * rounding + 0.5 * rounding**2
    return Extremal(control.s, control.T, 0.5 * float(miss @ miss), float(error), gap, drift, zeros, "exact", path)


# ---- the figures ------------------------------------------------------------------------------------------------


def _conditions(
    path: AbstractPath,
    knots: np.ndarray,
    rates: list[float],
    bounds: tuple[float, float],
) -> tuple[float, float, tuple[np.ndarray, ...]]:
    """PMP gap, Hamiltonian drift and zeros of S, by 8-point Gauss–Legendre between the zeros, on graded panels."""
    panels = [a + graded_grid(b - a, rate) for a, b, rate in zip(knots[:-1], knots[1:], rates, strict=True)]
    edges = np.unique(np.concatenate(panels))
    nodes = _nodes(edges)[0]
    signals = path.signals(nodes)
    gap, zeros, (low, high) = 0.0, [], bounds
    for j, column in enumerate(np.atleast_2d(signals.switching.T)):

        def component(ts: np.ndarray, j: int = j) -> np.ndarray:
            return np.atleast_2d(path.signals(ts).switching.T)[j]

        zeros.append(_sign_changes(component, nodes, column))
        ts, quadrature = _nodes(np.union1d(edges, zeros[-1]))
        values, eps = (np.atleast_2d(array.T)[j] for array in path.signals(ts)[::2])
        # A weight at its bound (to rounding) where S has the right sign contributes exactly nothing.
        excess = np.where(values > 0.0, (eps - low) * values, (eps - high) * values)
        gap += float(quadrature @ np.where(np.isclose(eps, np.where(values > 0.0, low, high), 0.0, 1e-14), 0.0, excess))
    return gap, float(np.ptp(signals.hamiltonian)), tuple(zeros)


def _nodes(edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    centres, halves = 0.5 * (edges[1:] + edges[:-1]), 0.5 * np.diff(edges)
    return (centres[:, None] + halves[:, None] * NODES).ravel(), (halves[:, None] * WEIGHTS).ravel()


def _sign_changes(function: Callable[[np.ndarray], np.ndarray], ts: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Zeros between neighbours of opposite sign, by bisection to rounding, all at once."""
    change = np.flatnonzero(np.sign(values[:-1]) * np.sign(values[1:]) < 0.0)
    if change.size == 0:
        return np.zeros(0)
    low, high, sign = ts[change], ts[change + 1], np.sign(values[change])
    for _ in range(52):
        middle = 0.5 * (low + high)
        below = np.sign(function(middle)) == sign
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return 0.5 * (low + high)


def _flat(t: object) -> Float[np.ndarray, " k"]:
    return np.atleast_1d(np.asarray(t, dtype=np.float64)).ravel()


# ---- any problem, by diffrax ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class DiffraxPath(AbstractPath):
    """θ and p from the interpolants of a forward and a backward solve."""

    risk: AbstractRisk
    schedule: AbstractSchedule
    forward: diffrax.Solution
    backward: diffrax.Solution
    window: tuple[float, float]

    def at(self, ts: Float[np.ndarray, " k"]) -> Point:
        """See `AbstractPath`."""
        return _interpolate(self.forward, self.backward, jnp.asarray(ts))

    def signals(self, ts: Float[np.ndarray, " k"]) -> Signals:
        """See `AbstractPath`."""
        # At s itself ε is still 1, at T it is 0; the arcs between them are the ones that count.
        start, end = self.window
        inside = np.clip(ts, start + 1e-14 * (end - start), end - 1e-14 * (end - start))
        # One length only, so that the search for zeros compiles once.
        chunks = np.append(inside, np.full(-len(ts) % CHUNK, end)).reshape(-1, CHUNK)
        parts = [_signals(self.risk, self.schedule, self.forward, self.backward, jnp.asarray(c)) for c in chunks]
        return Signals(*(np.concatenate(part)[: len(ts)] for part in zip(*parts, strict=True)))


def _general_extremal(
    risk: AbstractRisk,
    schedule: AbstractSchedule,
    theta0: Array,
    s: float,
    T: float,
    bounds: tuple[float, float],
    target: Array,
) -> Extremal:
    solver = choose_solver(risk, theta0, T)
    steps = int(np.clip(DENSE_NUMBERS // (16 * risk.dim), 512, 8192))
    tight, loose = (tuple(jnp.asarray(factor * tolerance) for tolerance in TOLERANCES) for factor in (1.0, 10.0))
    span, end = jnp.zeros(()), jnp.asarray([T])
    forward = solve_diffrax(risk, schedule, theta0, end, span, tight, solver, steps, True)
    rough = solve_diffrax(risk, schedule, theta0, end, span, loose, solver, steps, True)
    _throw(forward, "θ forward", steps)
    theta = forward.ys[-1]
    window = jnp.asarray(s), jnp.asarray(T)
    backward = _solve_costate(risk, schedule, forward, theta - target, window, tight, solver, steps)
    _throw(backward, "the costate backward", steps)
    path = DiffraxPath(risk, schedule, forward, backward, (s, T))
    jumps = np.asarray(schedule.jump_ts)
    knots = np.unique(np.concatenate([[s, T], jumps[(jumps > s) & (jumps < T)]]))
    rate = float(largest_curvature(risk, theta))
    gap, drift, zeros = _conditions(path, knots, [rate] * (len(knots) - 1), bounds)
    cost, other = (0.5 * float(jnp.sum((run.ys[-1] - target) ** 2)) for run in (forward, rough))
    return Extremal(s, T, cost, abs(cost - other), gap, drift, zeros, "diffrax", path)


def _throw(solution: diffrax.Solution, what: str, steps: int) -> None:
    result = RESULTS.promote(solution.result)
    if not bool(result == RESULTS.successful):
        raise ConvergenceError(
            f"Pontryagin's conditions could not be computed: integrating {what} failed within {steps} steps "
            f"({message(result)}).",
            solution,
        )


def _adjoint(t: Array, p: Array, args: tuple[AbstractRisk, AbstractSchedule, diffrax.Solution, Array]) -> Array:
    """∇²R_u(θ) p; at T the left limit of ε counts."""
    risk, schedule, forward, last = args
    return risk.hvp(forward.evaluate(t), p, schedule(jnp.minimum(t, last)))


@eqx.filter_jit
def _solve_costate(
    risk: AbstractRisk,
    schedule: AbstractSchedule,
    forward: diffrax.Solution,
    end: Float[Array, " d"],
    window: tuple[Array, Array],
    tolerances: tuple[Array, Array],
    solver: diffrax.AbstractSolver,
    max_steps: int,
) -> diffrax.Solution:
    """ṗ = ∇²R_u(θ) p from T down to s; relative to the size of p(T), because the equation is linear in p."""
    (s, T), (rtol, atol) = window, tolerances
    size = jnp.maximum(jnp.linalg.norm(end), jnp.finfo(end.dtype).tiny)
    controller = diffrax.PIDController(rtol=rtol, atol=atol * size)
    if schedule.jump_ts.size:
        controller = diffrax.ClipStepSizeController(controller, jump_ts=schedule.jump_ts)
    return diffrax.diffeqsolve(
        diffrax.ODETerm(_adjoint),
        solver,
        t0=T,
        t1=s,
        dt0=None,
        y0=end,
        args=(risk, schedule, forward, T - 1e-14 * (T - s)),
        saveat=diffrax.SaveAt(t1=True, dense=True),
        stepsize_controller=controller,
        max_steps=max_steps,
        throw=False,
    )


@eqx.filter_jit
def _interpolate(forward: diffrax.Solution, backward: diffrax.Solution, ts: Float[Array, " k"]) -> Point:
    return Point(jax.vmap(forward.evaluate)(ts), jax.vmap(backward.evaluate)(ts))


@eqx.filter_jit
def _signals(
    risk: AbstractRisk,
    schedule: AbstractSchedule,
    forward: diffrax.Solution,
    backward: diffrax.Solution,
    ts: Float[Array, " k"],
) -> tuple[Array, Array, Array]:
    def one(t: Array) -> tuple[Array, Array, Array]:
        theta, p, eps = forward.evaluate(t), backward.evaluate(t), schedule(t)
        switching = -risk.deleted_gradients(theta) @ p
        return switching if eps.ndim else jnp.sum(switching), -p @ risk.gradient(theta, eps), eps

    return jax.vmap(one)(ts)
