r"""From a distance to (ε_dp, δ_dp), exactly: two Gaussians whose means lie r standard deviations apart.

    δ_G(ε; r) = Φ(a) − e^ε Φ(b),   a = r/2 − ε/r,  b = −r/2 − ε/r          (Balle and Wang, 2018, Theorem 8)

Written like this it loses every digit where it matters. Since e^ε φ(b) = φ(a), with Mills' ratio M(x) = Φ(−x)/φ(x),

    δ_G = φ(a) [M(u − r/2) − M(u + r/2)] = φ(a) ∫_{u−r/2}^{u+r/2} G(x) dx,   u = ε/r,  G = −M' = 1 − xM(x),

a product of positive terms, whose logarithm is at hand. From it follow ∂δ_G/∂r = φ(a) and ∂δ_G/∂ε = −φ(a)M(u + r/2).
M is completely monotone, so G is decreasing and convex; then log δ_G is concave in log r (its slope is one over the
mean of G, which grows with r), and concave in ε (a tail of a log-concave law, convolved with an exponential): Newton's
iteration from the side where δ_G is too small never overshoots.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from .._core import InputError
from ._parameters import Numbers, as_deltas, as_epsilons, as_numbers, as_separations

Rule = tuple[Sequence[float] | np.ndarray, Sequence[float] | np.ndarray]
"""Nodes in [−1, 1] and their weights."""

HALF_LOG_TAU = 0.5 * np.log(2 * np.pi)
MIDPOINT, GAUSS = ([0.0], [2.0]), np.polynomial.legendre.leggauss(4)
NARROW = 0.05  # r/(1+u) up to which four Gauss nodes integrate G to 1e-14: the error is 2e-4·(r/(1+u))⁸ relative
FAR = 16.0  # from here on (a little less at the first node) twelve terms of the series of G are exact to rounding
SERIES = np.cumprod(np.concatenate([[1.0], -np.arange(3.0, 25.0, 2.0)]))  # (−1)^k (2k+1)!!
MAX_ITERATIONS = 60
ARRIVED = 1e-4
BLOCK = 4096  # numbers solved at once: their temporaries fit a cache
TOLERANCE = 4 * np.finfo(float).eps


def gaussian_delta(epsilon: Numbers, r: Numbers) -> Float[np.ndarray, "..."] | float:
    """The smallest δ_dp for ε_dp of two Gaussians whose means lie r standard deviations apart.

    Example:
        >>> round(float(ef.gaussian_delta(0.0, 1.0)), 6)  # the total variation, 2Φ(½) − 1
        0.382925

        δ_G(ε; r) = Φ(r/2 − ε/r) − e^ε Φ(−r/2 − ε/r)

    If two outputs differ by at most Δ and each gets noise N(0, σ²I), they are (ε, δ_G(ε; ‖Δ‖/σ))-indistinguishable, and
    no smaller δ_dp is true. Relative error: some roundings (150 at the worst, near r/(1 + ε/r) = 0.05), times
    1 + a² + (1 + |a|)(r/2 + ε/r), a = r/2 − ε/r, which is how much a rounding of ε or r alone changes it.

    Args:
        epsilon: ε_dp ≥ 0, any shape.
        r: distance over noise, ≥ 0, a shape that broadcasts with it.

    Returns:
        δ_dp; 0 where it is below 1e-323.

    Raises:
        InputError: a negative number, NaN, or an infinite ε_dp.
    """
    return np.exp(log_gaussian_delta(as_epsilons(epsilon), as_separations(r)))[()]


def gaussian_r(epsilon: Numbers, delta: Numbers) -> Float[np.ndarray, "..."] | float:
    """The largest distance over noise that (ε_dp, δ_dp) allows: the r with δ_G(ε; r) = δ.

    Example:
        >>> r = ef.gaussian_r(1.0, 1e-5)
        >>> round(float(r), 4), round(float(ef.gaussian_delta(1.0, r)), 12)
        (0.2681, 1e-05)

    Noise of standard deviation ‖Δ‖/r is exactly enough. Householder's iteration of order four for log δ_G in
    log r, from the lower bound max(z + √(z² + 2ε), 2√2 erf⁻¹(δ)), z = Φ⁻¹(δ).

    Args:
        epsilon: ε_dp ≥ 0, any shape.
        delta: δ_dp in (0, 1), a shape that broadcasts with it.

    Raises:
        InputError: ε_dp negative, or δ_dp outside (0, 1).
    """
    epsilons, deltas = np.broadcast_arrays(as_epsilons(epsilon), as_deltas(delta))
    eps, probability = epsilons.ravel(), deltas.ravel()
    r = np.empty(eps.shape)
    for start in range(0, r.size, BLOCK):
        block = slice(start, start + BLOCK)
        r[block] = _solve_r(eps[block], probability[block])
    return r.reshape(epsilons.shape)[()]


def gaussian_epsilon(delta: Numbers, r: Numbers) -> Float[np.ndarray, "..."] | float:
    """The smallest ε_dp ≥ 0 at δ_dp of two Gaussians whose means lie r standard deviations apart.

    Example:
        >>> round(float(ef.gaussian_epsilon(1e-5, ef.gaussian_r(1.0, 1e-5))), 12)
        1.0

    0 where the total variation erf(r/√8) is at most δ_dp; else the ε with δ_G(ε; r) = δ, by Newton's iteration for
    log δ_G in ε, monotone from the upper bound r(r/2 − Φ⁻¹(δ)).

    Args:
        delta: δ_dp in (0, 1), any shape.
        r: distance over noise, ≥ 0, a shape that broadcasts with it; infinite where there is no noise.

    Raises:
        InputError: δ_dp outside (0, 1), or r negative.
    """
    from scipy.special import erf, ndtri

    deltas, separations = np.broadcast_arrays(as_deltas(delta), as_separations(r))
    shape, target, seps = deltas.shape, np.log(deltas.ravel()), separations.ravel()
    epsilon = np.zeros(seps.shape)
    epsilon[np.isinf(seps)] = np.inf
    active = np.flatnonzero((erf(seps / np.sqrt(8)) > deltas.ravel()) & np.isfinite(seps))
    epsilon[active] = np.maximum(seps[active] * (seps[active] / 2 - ndtri(deltas.ravel()[active])), 0)
    for _ in range(MAX_ITERATIONS):
        here, sep = epsilon[active], seps[active]
        value, slope = _curve(here, sep)
        step = (target[active] - value) / (mills(here / sep + sep / 2) * slope)
        epsilon[active] = np.maximum(here - step, 0)
        active = active[step > TOLERANCE * here]
        if not active.size:
            break
    return epsilon.reshape(shape)[()]


def trade_off(type_one: Numbers, r: Numbers) -> Float[np.ndarray, "..."] | float:
    """The whole trade-off curve at once: the least error of the second kind of a test of level `type_one`.

    Example:
        >>> ef.trade_off([0.0, 0.05, 0.5], 1.0).round(3)
        array([1.   , 0.74 , 0.159])

        f(α) = Φ(Φ⁻¹(1 − α) − r)

    Any test that tells two Gaussians r standard deviations apart and is wrong with probability α on the first is wrong
    with at least f(α) on the second (Dong, Roth and Su, 2022: r-GDP). δ_G(ε; ·) is its Legendre transform.

    Args:
        type_one: α in [0, 1], any shape.
        r: distance over noise, ≥ 0.

    Raises:
        InputError: α outside [0, 1], or r negative.
    """
    from scipy.special import ndtr, ndtri

    alpha = as_numbers(type_one, "type_one")
    if ((alpha < 0) | (alpha > 1)).any():
        raise InputError("type_one holds a number outside [0, 1]; it is the probability of an error of the first kind.")
    level, sep = np.broadcast_arrays(-ndtri(alpha), as_separations(r))
    # At α = 0 the threshold is infinite, and the error of the second kind 1 whatever r is.
    shifted = np.subtract(level, sep, out=level.copy(), where=np.isfinite(level))
    return ndtr(shifted)[()]


def log_gaussian_delta(epsilon: Float[np.ndarray, "..."], r: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Log δ_G(ε; r) of checked input; −∞ at r = 0, 0 at r = ∞."""
    eps, sep = np.broadcast_arrays(epsilon, r)
    out = np.where(np.isinf(sep), 0.0, -np.inf)
    inside = np.isfinite(sep) & (sep > 0)
    out[inside] = _curve(eps[inside], sep[inside])[0]
    return out


def elasticity(epsilon: Float[np.ndarray, " n"], r: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """∂ log δ_G/∂ log r = rφ(a)/δ_G of checked vectors with r > 0, which falls with r."""
    return r * _curve(epsilon, r)[1]


def mills(x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Mills' ratio Φ(−x)/φ(x); infinite below about −38."""
    from scipy.special import erfcx

    return np.sqrt(np.pi / 2) * erfcx(x / np.sqrt(2))


def _curve(
    eps: Float[np.ndarray, " n"], r: Float[np.ndarray, " n"], rule: Rule = GAUSS
) -> tuple[np.ndarray, np.ndarray]:
    """Log δ_G and its derivative φ(a)/δ_G with respect to r, of vectors with r > 0; `rule` integrates G."""
    with np.errstate(over="ignore"):  # u = ε/r may be infinite, where δ_G is 0
        u = eps / r
        a = r / 2 - u
        log_density = -0.5 * a * a - HALF_LOG_TAU
    narrow = r <= NARROW * (1 + u)
    right = ~narrow & (a >= 0)
    left = ~narrow & ~right
    difference = np.empty(r.shape)  # δ_G/φ(a)
    value = np.empty(r.shape)
    difference[narrow] = _integral(u[narrow], r[narrow], rule)
    difference[left] = mills(-a[left]) - mills(u[left] + r[left] / 2)
    with np.errstate(divide="ignore"):
        value[~right] = log_density[~right] + np.log(difference[~right])
    slope = np.empty(r.shape)
    with np.errstate(divide="ignore"):
        slope[~right] = 1 / difference[~right]
    value[right], slope[right] = _near_one(a[right], u[right] + r[right] / 2, log_density[right])
    return value, slope


def _solve_r(eps: Float[np.ndarray, " n"], delta: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The r of `gaussian_r`, for a vector that stays in the processor's cache."""
    from scipy.special import erfinv, ndtri  # scipy.special: 50 ms, not spent by `import epsflow`

    z, target = ndtri(delta), np.log(delta)
    root = np.sqrt(z * z + 2 * eps)
    below = np.where(z < 0, 2 * eps / (root + np.abs(z)), z + root)
    r = np.maximum(below, 2 * np.sqrt(2) * erfinv(delta))
    r *= np.exp(_householder(eps, r, target, MIDPOINT))  # a start need not be exact
    active = np.arange(r.size)
    for _ in range(MAX_ITERATIONS):
        here = r[active]
        step = _householder(eps[active], here, target[active], GAUSS)
        r[active] = here * np.exp(step)
        # The error after a step is of its fourth power, in units of the curve's own scale 1/(1 + r).
        active = active[np.abs(step) * (1 + here) > ARRIVED]
        if not active.size:
            break
    return r


def _householder(eps: np.ndarray, r: np.ndarray, target: np.ndarray, rule: Rule) -> np.ndarray:
    """A step of order four in y = log r towards log δ_G = target.

    With x₁,₂ = u ∓ r/2, dx₁/dy = −x₂ and dx₂/dy = −x₁, so that D = δ_G/φ(a) has D_y = r − x₁x₂D, and every derivative
    of log δ_G follows from p = r/D, q = x₁x₂ and w = u² + r²/4: p, then p(1 − p + q) = pA, then p(A² − pA − 2w).
    """
    value, slope = _curve(eps, r, rule)
    p = r * slope
    u2, quarter = (eps / r) ** 2, r * r / 4
    second = 1 - p + u2 - quarter
    third = second * (second - p) - 2 * (u2 + quarter)
    newton = (target - value) / p
    bend = second * newton
    below = 1 + bend + third * newton * newton / 6
    # Far from the root the series may not even have the right sign; Newton's step, which never overshoots, does.
    quotient = (1 + bend / 2) / np.where(below > 0, below, 1)
    return newton * np.where((below > 0) & (quotient > 0) & (quotient < 4), quotient, 1)


def _near_one(a: np.ndarray, minus_b: np.ndarray, log_density: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same where a ≥ 0, from the complement 1 − δ_G = Φ(−a) + φ(a)M(−b), which does not overflow."""
    from scipy.special import ndtr

    density = np.exp(log_density)
    value = np.log1p(-(ndtr(-a) + density * mills(minus_b)))
    return value, density * np.exp(-value)


def _integral(u: Float[np.ndarray, " n"], r: Float[np.ndarray, " n"], rule: Rule) -> Float[np.ndarray, " n"]:
    """∫ G over [u − r/2, u + r/2]."""
    out = np.empty(u.shape)
    far = u > FAR
    for part, function in ((far, _far_decay), (~far, _near_decay)):
        here, half = u[part], r[part] / 2
        out[part] = sum(weight * function(here + node * half) for node, weight in zip(*rule, strict=True))
    return out * r / 2


def _near_decay(x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """G(x) = 1 − xM(x)."""
    return 1 - x * mills(x)


def _far_decay(x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The same by its asymptotic series ∑ (−1)^k (2k+1)!!/x^{2k+2}, where the difference would cancel."""
    with np.errstate(over="ignore"):
        inverse = 1 / (x * x)
    total = np.full(x.shape, SERIES[-1])
    for coefficient in SERIES[-2::-1]:
        total *= inverse
        total += coefficient
    return total * inverse
