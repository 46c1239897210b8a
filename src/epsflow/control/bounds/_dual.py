"""Lower bounds on 𝓔 over all admissible schedules, in continuous time and without a mesh (linear regression).

With w_j = u_j e_j the dynamics δ̇ = −Λδ + f − Σ w_j x_j are linear, and where the sign σ_j of e_j is the same for every
admissible control, the constraint is linear too. For any π let p run backward from p(T) = π,

    ṗ = Λp + Σ_j α_j x_j (x_jᵀp),    α_j = ε_max where σ_j x_jᵀp > 0, else ε_min.

Then d(pᵀδ)/dt = pᵀf + Σ_j α_j r_j x_jᵀp + Σ_j (x_jᵀp)(α_j − u_j) e_j with a last sum ≥ 0. A cost ½‖Lδ‖² is at least
μᵀLδ − ½‖μ‖², so with π = Lᵀμ it is

    ≥ D(μ) = −½‖μ‖² + p(s)ᵀδ(s) + ∫_s^T (pᵀf + Σ_j α_j r_j x_jᵀp) dt,

with equality at μ = Lδ*(T). D is concave, and ∇D = −μ + Lδ_α(T). The same backward path from σ_j x_j gives the least
value of σ_j e_j at every time at once, because it does not depend on where it ends: that certifies the signs.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize

from ..._core import InputError
from ..linear._exponentials import ExponentialSum, bracketed_zero, resolving_grid
from ..linear._pencil import Spectrum, advance, decay_integral, retreat
from ..linear._task import LinearTask

MAX_ARCS = 2_000


class SweepArc(NamedTuple):
    """One arc of a backward path, in time elapsed since its start.

    Attributes:
        start, duration: elapsed time from the path's beginning, and the arc's own length.
        level: α, shape (m,).
        spectrum: H_α.
        costate: Vᵀp where the arc begins, shape (d,).
        collected: ∫ (pᵀf + Σ α_j r_j x_jᵀp) over the arcs before.
    """

    start: float
    duration: float
    level: Float[np.ndarray, " m"]
    spectrum: Spectrum
    costate: Float[np.ndarray, " d"]
    collected: float


@dataclass(frozen=True, eq=False)
class SignCertificate:
    """Whether each e_j = x_jᵀθ − y_j keeps its sign on [s, T] under every admissible schedule.

    Attributes:
        signs: the sign of e_j(s), shape (m,).
        margins: the least σ_j e_j over all times and schedules, while all signs hold, in units of √c·y; shape (m,).
        settled: all margins are positive.
        until: up to when the signs are certain; T where `settled`.
    """

    signs: Int[np.ndarray, " m"]
    margins: Float[np.ndarray, " m"]
    settled: bool
    until: float


@dataclass(frozen=True, eq=False)
class DualBound:
    """D(Lz): no admissible schedule has a smaller cost ½‖Lδ(T)‖². For the distance, L = I.

    Attributes:
        value: D.
        rounding: first-order bound on the rounding error of `value`.
        pi: π = LᵀLz in the coordinates of θ, shape (d,).
        gradient: the derivative by z, LᵀL(δ_α(T) − z), shape (d,); zero at the best z.
        knots, levels: the schedule α that attains the bound's linear part, from s to T; per-point levels (K, m).
    """

    value: float
    rounding: float
    pi: Float[np.ndarray, " d"]
    gradient: Float[np.ndarray, " d"]
    knots: Float[np.ndarray, " knots"]
    levels: Float[np.ndarray, "arcs m"]


def settled_signs(task: LinearTask, wanted: str) -> Int[np.ndarray, " m"]:
    """σ_j, or a refusal where an e_j can change its sign.

    Raises:
        InputError: the problem is then not the convex one that `wanted` needs.
    """
    signs = certify_signs(task)
    if not signs.settled:
        raise InputError(
            f"{wanted} needs residuals e_j = x_jᵀθ − y_j of the deleted points that keep their signs under every "
            f"admissible schedule; here that is certain only until t = {signs.until:g} (margins {signs.margins}). "
            'Use method="auto", which branches on the sign.'
        )
    return signs.signs


def evaluate_dual(task: LinearTask, mu: np.ndarray, signs: np.ndarray) -> DualBound:
    """D(μ) in the eigenbasis; the signs are the caller's responsibility."""
    return _evaluate(task, mu, signs)[0]


def _evaluate(task: LinearTask, mu: np.ndarray, signs: np.ndarray) -> tuple[DualBound, np.ndarray]:
    """D(μ), and its gradient by μ."""
    pi = task.form.pull(mu)
    arcs = sweep(task, pi, signs)
    last = arcs[-1]
    end = retreat(last.spectrum, last.spectrum.from_basis(last.costate), last.duration)
    linear = float(end @ task.start) + last.collected + _collect(last.spectrum, last.costate, last.duration)
    delta, largest = task.start, float(np.abs(task.start).max())
    for arc in reversed(arcs):
        delta = advance(arc.spectrum, delta, np.array([arc.duration]))[0]
        largest = max(largest, float(np.abs(delta).max()))
    rate = max(float(np.abs(arc.spectrum.rates).max()) for arc in arcs)
    noise = len(pi) * np.finfo(np.float64).eps * (1.0 + rate * task.T) * float(np.linalg.norm(pi)) * largest
    knots = task.T - np.array([arc.start for arc in arcs] + [last.start + last.duration])
    knots[-1] = task.s
    levels = np.array([arc.level for arc in arcs])
    gradient, q = task.form.image(delta) - mu, task.basis
    bound = linear - 0.5 * float(mu @ mu), noise, q @ pi, q @ task.form.pull(gradient), knots[::-1], levels[::-1]
    return DualBound(*bound), gradient


def maximise_control(task: LinearTask, mu: np.ndarray, signs: np.ndarray, max_iterations: int = 200) -> DualBound:
    """`maximise_dual` in the eigenbasis: L-BFGS on −D, in units of ‖μ‖²."""
    scale = max(float(mu @ mu), np.finfo(np.float64).tiny)

    def negative(z: np.ndarray) -> tuple[float, np.ndarray]:
        bound, gradient = _evaluate(task, z, signs)
        return -bound.value / scale, -gradient / scale

    options = {"maxiter": max_iterations, "maxcor": 30, "ftol": 0.0, "gtol": 1e-12}
    found = minimize(negative, mu, jac=True, method="L-BFGS-B", options=options)
    return max((evaluate_dual(task, z, signs) for z in (found.x, mu)), key=lambda bound: bound.value)


def certify_signs(task: LinearTask) -> SignCertificate:
    """`certify_signs` in the eigenbasis."""
    residual = task.residual(task.start)
    signs = np.where(residual < 0.0, -1, 1)
    margins, exits = np.empty(task.points), np.full(task.points, task.length)
    for j, sign in enumerate(signs):
        margins[j], exits[j] = _least_residual(task, j, int(sign), signs)
    settled = bool((margins > 0.0).all())
    return SignCertificate(signs, margins, settled, task.T if settled else task.s + float(exits.min()))


def _least_residual(task: LinearTask, j: int, sign: int, signs: np.ndarray) -> tuple[float, float]:
    """min over time of the least σ_j e_j, and the elapsed time at which it first reaches zero."""
    least, offset = np.inf, float(sign * task.residuals[j])
    for arc in sweep(task, sign * task.rows[j], signs):
        spectrum, costate = arc.spectrum, arc.costate
        start = spectrum.to_basis(task.start)

        def value(t: float | np.ndarray, arc: SweepArc = arc, start: np.ndarray = start) -> np.ndarray:
            elapsed = np.atleast_1d(t)[:, None]
            decay = np.exp(-arc.spectrum.rates * elapsed) * start
            moved = decay + decay_integral(arc.spectrum.rates, elapsed) * arc.spectrum.drift
            return moved @ arc.costate + arc.collected - offset

        slope = ExponentialSum(costate * (spectrum.drift - spectrum.rates * start), spectrum.rates)
        grid = resolving_grid(spectrum.rates, arc.duration)
        turning = slope.sign_changes(grid)
        ts = np.union1d(grid, turning)
        values = value(ts)
        least = min(least, float(values.min()))
        below = np.flatnonzero(values <= 0.0)
        if below.size:
            k = int(below[0])
            if k == 0:
                return least, arc.start
            return least, arc.start + bracketed_zero(lambda t: float(value(t)[0]), ts[k - 1], ts[k])
    return least, task.length


def sweep(task: LinearTask, end: np.ndarray, signs: np.ndarray) -> list[SweepArc]:
    """The backward path of length T − s from p = `end`, cut where some x_jᵀp changes sign."""
    low, high = task.bounds
    elapsed, p, collected = 0.0, end, 0.0
    sides = np.where(task.rows @ p < 0.0, -1, 1)
    arcs: list[SweepArc] = []
    while len(arcs) < MAX_ARCS:
        level = np.where(signs * sides > 0, high, low)
        spectrum = task.spectrum(level)
        costate, left = spectrum.to_basis(p), task.length - elapsed
        duration, crossing = _first_crossing(spectrum, costate, sides, left)
        arcs.append(SweepArc(elapsed, duration, level, spectrum, costate, collected))
        if crossing is None:
            return arcs
        collected += _collect(spectrum, costate, duration)
        elapsed, p = elapsed + duration, retreat(spectrum, p, duration)
        sides[crossing] = -sides[crossing]
    raise InputError(
        f"xᵀp changed its sign {MAX_ARCS} times on a window of length {task.length:g}; no bound can be computed. "
        "Is the problem scaled so that eigenvalues × time is moderate?"
    )


def _collect(spectrum: Spectrum, costate: np.ndarray, duration: float) -> float:
    """∫ (pᵀf + Σ α_j r_j x_jᵀp) over one arc."""
    return float(costate @ (spectrum.drift * decay_integral(spectrum.rates, np.array(duration))))


def _first_crossing(
    spectrum: Spectrum, costate: np.ndarray, sides: np.ndarray, left: float
) -> tuple[float, int | None]:
    """When the first x_jᵀp leaves its side within `left`, and which j; (left, None) if none does."""
    grid = resolving_grid(spectrum.rates, left)
    first, which = left, None
    for j, row in enumerate(spectrum.rows):
        crossings = ExponentialSum(row * costate, spectrum.rates).sign_changes(grid, int(sides[j]))
        if crossings.size and crossings[0] < first:
            first, which = float(crossings[0]), j
    return first, which
