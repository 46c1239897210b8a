"""Lower bounds over all controls under which the residuals keep within given bounds, window by window.

Where lo ≤ e_j ≤ hi, the force w_j = u_j e_j, a ≤ u_j ≤ b, lies in the convex hull of a bow tie. From above, it is met
by w ≤ αe + κ with α = a + φ(b − a) for every φ in [0, 1] and

    κ = (b − a) max(hi(1 − φ), |lo| φ),     least, hi|lo|(b − a)/(hi + |lo|), at φ = hi/(hi + |lo|);

from below by w ≥ αe − κ with 1 − φ for φ. One sign (lo = 0 or hi = 0) is exact: κ = 0 at φ = 1 or 0. So with

    ṗ = Λp + Σ_j α_j x_j (x_jᵀp),

α_j from above where x_jᵀp > 0 and from below elsewhere, pᵀδ changes by at least pᵀf + Σ_j (α_j r_j x_jᵀp − κ_j|x_jᵀp|):
a lower bound on every linear functional of δ(T), and by duality (`_dual`) on the cost. φ is taken from a grid of
eighths, so that few spectra H_α are ever needed.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from .._core import InputError
from ._dual import MAX_ARCS, ExponentialSum, resolving_grid
from ._propagators import LinearControl, Spectrum, advance, decay_integral, retreat

EIGHTHS = np.linspace(0.0, 1.0, 9)


class Window(NamedTuple):
    """What is assumed about the residuals between two times.

    Attributes:
        start, end: the times.
        low, high: bounds on each e_j, shape (m,). Infinite ones are allowed on the side of a known sign: [0, ∞].
    """

    start: float
    end: float
    low: Float[np.ndarray, " m"]
    high: Float[np.ndarray, " m"]


class Leg(NamedTuple):
    """One arc of a backward path.

    Attributes:
        spectrum: H_α.
        costate: Vᵀp at its later end, shape (d,).
        duration: its length.
        drift: what pairs with p: Vᵀ(f + Σ_j (α_j r_j − κ_j sign(x_jᵀp)) x_j), shape (d,).
    """

    spectrum: Spectrum
    costate: Float[np.ndarray, " d"]
    duration: float
    drift: Float[np.ndarray, " d"]


def relaxed_dual(
    control: LinearControl, mu: np.ndarray, windows: list[Window]
) -> tuple[float, Float[np.ndarray, " k"]]:
    """D(μ) over all controls that respect the windows, and its gradient."""
    pi = control.form.pull(mu)
    delta = control.start
    for leg in reversed(_path(control, pi, windows)):
        delta = advance(leg.spectrum._replace(drift=leg.drift), delta, np.array([leg.duration]))[0]
    return float(pi @ delta) - 0.5 * float(mu @ mu), control.form.image(delta) - mu


def least(control: LinearControl, functional: np.ndarray, windows: list[Window]) -> float:
    """A lower bound on cᵀδ at the end of the windows, over all controls that respect them."""
    total, p = 0.0, functional
    for leg in _path(control, functional, windows):
        total += float(leg.costate @ (leg.drift * decay_integral(leg.spectrum.rates, np.array(leg.duration))))
        p = retreat(leg.spectrum, p, leg.duration)
    return total + float(p @ control.start)


def looseness(window: Window) -> Float[np.ndarray, " m"]:
    """κ_j/(b − a) at the best φ: hi|lo|/(hi + |lo|), and 0 where e_j has one sign."""
    inside = (window.low < 0.0) & (window.high > 0.0)
    low, high = np.where(inside, -window.low, 1.0), np.where(inside, window.high, 1.0)
    return np.where(inside, low * high / (low + high), 0.0)


def _hull(
    control: LinearControl, window: Window, sides: np.ndarray
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """α and κ of each point, given the signs of x_jᵀp."""
    low_level, high_level = control.bounds
    one_sign = (window.low >= 0.0) | (window.high <= 0.0)
    below, above = np.where(one_sign, 0.0, -window.low), np.where(one_sign, 1.0, window.high)
    best = np.where(window.low >= 0.0, 1.0, np.where(window.high <= 0.0, 0.0, above / (above + below)))
    phi = EIGHTHS[np.argmin(np.abs(best[:, None] - EIGHTHS), axis=1)]
    loss = np.where(one_sign, 0.0, np.maximum(above * (1.0 - phi), below * phi))
    share = np.where(sides > 0, phi, 1.0 - phi)
    return low_level + share * (high_level - low_level), loss * (high_level - low_level)


def _path(control: LinearControl, end: np.ndarray, windows: list[Window]) -> list[Leg]:
    """The backward path from p = `end`, through the windows, cut where some x_jᵀp changes sign."""
    legs: list[Leg] = []
    p, sides = end, np.where(control.rows @ end < 0.0, -1, 1)
    for window in reversed(windows):
        left = window.end - window.start
        while left > 0.0:
            level, loss = _hull(control, window, sides)
            spectrum = control.spectrum(level)
            costate, grid = spectrum.to_basis(p), resolving_grid(spectrum.rates, left)
            duration, crossing = left, None
            for j, row in enumerate(spectrum.rows):
                zeros = ExponentialSum(row * costate, spectrum.rates).sign_changes(grid, int(sides[j]))
                if zeros.size and zeros[0] < duration:
                    duration, crossing = float(zeros[0]), j
            legs.append(Leg(spectrum, costate, duration, spectrum.drift - (loss * sides) @ spectrum.rows))
            p, left = retreat(spectrum, p, duration), left - duration
            if crossing is None:
                break
            sides[crossing] = -sides[crossing]
            if len(legs) > MAX_ARCS:
                raise InputError(f"xᵀp changed its sign {MAX_ARCS} times; is the problem scaled sensibly?")
    return legs
