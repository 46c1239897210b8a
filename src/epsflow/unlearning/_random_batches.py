"""From a random distance to (ε_dp, δ_dp): the law of the distance under random batches, and three certificates."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .._core import InputError, Shown, as_instance
from ._gaussian import elasticity, gaussian_r, log_gaussian_delta
from ._parameters import Numbers, as_count, as_epsilons, as_nonnegative, as_numbers, as_positive, as_privacy

NEGLIGIBLE = 1e-32
"""A tail of less probability is put at the largest distance that is possible."""


SMALLEST = 1e-290
"""ε below which 1/r, for r of its size, would overflow."""


@dataclass(frozen=True, eq=False, repr=False)
class DistanceLaw(Shown):
    """A law that bounds how far apart two coupled runs end: P(‖Δ‖ ≥ x) is at most that of the law, for every x.

    Example:
        >>> law = ef.DistanceLaw(np.array([0.0, 1.0]), np.array([0.5, 0.5]))
        >>> round(ef.mixture_delta(law, 0.0, 1.0), 6)  # half of gaussian_delta(0, 1)
        0.191462

    Attributes:
        distances: its atoms, not negative, shape (k,).
        probabilities: their probabilities, which sum to 1, shape (k,).

    Raises:
        InputError: shapes that differ, a negative number, or a sum that is not 1 to 1e-9.
    """

    distances: Float[np.ndarray, " k"]
    probabilities: Float[np.ndarray, " k"]

    def __post_init__(self) -> None:
        if self.distances.ndim != 1 or self.distances.shape != self.probabilities.shape or not self.distances.size:
            raise InputError(
                f"distances has shape {self.distances.shape} and probabilities {self.probabilities.shape}; two vectors "
                "of one length are needed."
            )
        if (self.distances < 0).any() or (self.probabilities < 0).any():
            raise InputError("distances or probabilities holds a negative number.")
        if not abs(self.probabilities.sum() - 1) < 1e-9:
            raise InputError(f"probabilities sums to {self.probabilities.sum():.12g}; it must sum to 1.")

    @property
    def mean(self) -> float:
        """E‖Δ‖, or a bound on it."""
        return float(self.distances @ self.probabilities)

    @property
    def second_moment(self) -> float:
        """E‖Δ‖², or a bound on it."""
        return float(self.distances**2 @ self.probabilities)

    def _facts(self) -> dict[str, object]:
        return {"mean": self.mean, "largest": self.distances.max(), "atoms": self.distances.size}


def batch_law(
    *,
    n: int,
    deleted: int,
    batch: int,
    steps: int,
    lipschitz: float,
    step_size: float,
    contraction: float = 1.0,
    unlearning_steps: int = 0,
    sampling: str = "without replacement",
    bins: int = 8192,
) -> DistanceLaw:
    """How far SGD that has seen m points can end from SGD that has not, batches coupled.

    Example:
        >>> law = ef.batch_law(n=10, deleted=1, batch=5, steps=2, lipschitz=1.0, step_size=0.5)
        >>> law.distances, law.probabilities
        (array([0. , 0.2, 0.4, 0.4]), array([0.25, 0.5 , 0.25, 0.  ]))

    A batch on the retained data is that on all data with its B_t deleted members replaced; then

        ‖Δ_{t+1}‖ ≤ c‖Δ_t‖ + κηG B_t/b,   so   ‖Δ_T‖ ≤ (κηG/b) ∑_{t<T−K} c^{T−1−t} B_t

    where the last K steps (unlearning) see no deleted point.

    * "without replacement": b of n points, deleted ones replaced by fresh retained ones, which makes the batch uniform
      on the retained data; κ = 2, B_t hypergeometric (n, m, b), independent.
    * "poisson": each point with probability b/n, gradients summed and divided by b, so that deleted ones are left out;
      κ = 1, B_t binomial (m, b/n).
    * "shuffled": a new order each epoch of n/b steps, deleted points replaced by any retained ones; κ = 2, and one
      atom: the deleted points stand where they count most.

    Distances are on a grid and rounded up, and a tail of probability below 1e-32 is put at the largest distance, so the
    law is a bound whatever `bins` is; up to 4·bins hits with c = 1 are not rounded.

    Args:
        n: number of points.
        deleted: m, with n − m ≥ `batch`.
        batch: b, the size of a batch, or its mean.
        steps: T, including the unlearning steps.
        lipschitz: G, a bound on each point's gradient.
        step_size: η > 0.
        contraction: c ≥ 0, for which θ ↦ θ − η∇f_B(θ) is c-Lipschitz for every batch that can be drawn: 1 − ημ if the
            losses are μ-strongly convex and η ≤ 1/L_s, 1 if convex and η ≤ 2/L_s, else 1 + ηL_s. (A Poisson batch may
            be larger than b, and its gradient as much steeper; an empty one contracts nothing.)
        unlearning_steps: K ≤ T.
        sampling: "without replacement", "poisson" or "shuffled".
        bins: grid points of the distance; more are slower, by their square, and tighter.

    Raises:
        InputError: a constant outside its range, or another kind of sampling.
    """
    n = as_count(n, "n", least=2)
    m = as_count(deleted, "deleted", most=n - 1, why=f"one of the n = {n} points has to be left")
    b = as_count(batch, "batch", most=n - m, why=f"{n - m} points are left to draw a batch from")
    total = as_count(steps, "steps")
    back = as_count(unlearning_steps, "unlearning_steps", 0, total, f"the run takes T = {total} steps")
    c, bins = as_nonnegative(contraction, "contraction"), as_count(bins, "bins", least=16)
    unit = as_positive(step_size, "step_size") * as_positive(lipschitz, "lipschitz") / b
    if total * math.log(max(c, 1.0)) > 700:
        raise InputError(f"contraction^steps = {c:g}^{total} is not a float; no noise hides such a distance.")
    if sampling == "shuffled":
        weights = c ** np.arange(total - 1, back - 1, -1, dtype=float)  # of the first step to the last that hits
        return DistanceLaw(np.array([2 * unit * _worst_order(weights, n, m, b)]), np.ones(1))
    if sampling == "without replacement":
        atoms, scale = _hypergeometric(n, m, b), 2 * unit
    elif sampling == "poisson":
        atoms, scale = _binomial(m, b / n), unit
    else:
        raise InputError(f"sampling is {sampling!r}; the choices are 'without replacement', 'poisson' and 'shuffled'.")
    hits = _geometric_sum(atoms, c, total - back, bins)
    grid = np.minimum(np.append(hits.spacing * np.arange(len(hits.masses)), hits.largest), hits.largest)
    return DistanceLaw(scale * c**back * grid, np.append(hits.masses, hits.beyond))


def mixture_delta(law: DistanceLaw, epsilon: float, sigma: float) -> float:
    """The δ_dp that noise σ per coordinate proves at ε_dp for a random distance: E δ_G(ε; ‖Δ‖/σ).

    Example:
        >>> law = ef.DistanceLaw(np.array([0.0, 1.0]), np.array([0.5, 0.5]))
        >>> round(ef.mixture_delta(law, 0.0, 1.0), 6)  # half of gaussian_delta(0, 1)
        0.191462

    Two runs with coupled batches are mixtures, over the batches, of Gaussians at a distance that the batches bound. The
    hockey-stick divergence is jointly convex, and δ_G grows with r, so the mean of δ_G under any law that bounds the
    distance is a bound. It holds for every coupling, without conditioning on the batches.

    Args:
        law: of the distance, for instance a `batch_law`.
        epsilon: ε_dp ≥ 0.
        sigma: σ > 0.

    Raises:
        InputError: a number outside its range.
    """
    r = _as_law(law).distances / as_positive(sigma, "sigma")
    return float(min(law.probabilities @ np.exp(log_gaussian_delta(as_epsilons(epsilon), r)), 1.0))


def mixture_sigma(law: DistanceLaw, epsilon: float, delta: float) -> float:
    """The least σ with `mixture_delta(law, epsilon, σ)` ≤ δ, to a rounding; 0 for a law of no distance.

    Example:
        >>> law = ef.DistanceLaw(np.array([0.0, 1.0]), np.array([0.5, 0.5]))
        >>> round(ef.mixture_delta(law, 1.0, ef.mixture_sigma(law, 1.0, 1e-5)), 12)
        1e-05

    Args:
        law: of the distance.
        epsilon: ε_dp > 0.
        delta: δ_dp in (0, 1).

    Raises:
        InputError: a number outside its range.
    """
    from scipy.optimize import root_scalar  # not spent by `import epsflow`

    epsilon, delta = as_privacy(epsilon, delta)
    largest = float(_as_law(law).distances[law.probabilities > 0].max())
    if largest == 0.0:
        return 0.0

    def excess(log_sigma: float) -> float:
        """Log δ(σ) − log δ, cut below so that no infinity is met."""
        value = mixture_delta(law, epsilon, math.exp(log_sigma))
        return max(math.log(value) - math.log(delta) if value > 0.0 else -1e3, -1e3)

    # With this σ every atom alone is hidden; the mean of 0 ≤ δ_G ≤ 1 falls as σ grows.
    high = math.log(largest / float(gaussian_r(epsilon, delta))) + 1e-12
    low = high - 1.0
    while excess(low) <= 0.0:
        low, high = low - 1.0, low
        if high < -700.0:
            return 0.0  # distances are there with less probability than δ
    return math.exp(root_scalar(excess, bracket=(low, high), method="brentq", xtol=1e-13, rtol=1e-14).root)


def _as_law(value: object) -> DistanceLaw:
    return as_instance(
        value, "law", DistanceLaw, "write epsflow.batch_law(...), or DistanceLaw(distances, probabilities)"
    )


def mean_delta(mean: Numbers, epsilon: float, sigma: float) -> Float[np.ndarray, "..."] | float:
    """The δ_dp that a bound on E‖Δ‖ alone proves: the concave envelope of δ_G(ε; ·) at mean/σ.

    Example:
        >>> round(float(ef.mean_delta(0.5, 0.0, 1.0)), 6)  # at ε = 0 concave from the start: gaussian_delta(0, ½)
        0.197413

    By Jensen's inequality in `mixture_delta`. δ_G is convex up to r = √(2ε) and concave beyond, so its envelope is the
    tangent from 0 up to r*, where ∂ log δ_G/∂ log r = 1, and δ_G itself beyond. No better bound follows from the mean.

    Args:
        mean: a bound on E‖Δ‖, any shape.
        epsilon: ε_dp ≥ 0.
        sigma: σ > 0.

    Raises:
        InputError: a number outside its range.
    """
    return _envelope(_moment(mean, "mean") / as_positive(sigma, "sigma"), as_nonnegative(epsilon, "epsilon"), 1)


def second_moment_delta(second_moment: Numbers, epsilon: float, sigma: float) -> Float[np.ndarray, "..."] | float:
    """The δ_dp that a bound on E‖Δ‖² alone proves: the concave envelope of δ_G(ε; √·) at second_moment/σ².

    Example:
        >>> round(float(ef.second_moment_delta(1.0, 1.0, 1.0)), 4), round(float(ef.gaussian_delta(1.0, 1.0)), 4)
        (0.1431, 0.1269)

    As `mean_delta`; in v = r² the tangent from 0 touches where ∂ log δ_G/∂ log r = 2.

    Args:
        second_moment: a bound on E‖Δ‖², any shape.
        epsilon: ε_dp ≥ 0.
        sigma: σ > 0.

    Raises:
        InputError: a number outside its range.
    """
    root = np.sqrt(_moment(second_moment, "second_moment"))
    return _envelope(root / as_positive(sigma, "sigma"), as_nonnegative(epsilon, "epsilon"), 2)


def _envelope(r: np.ndarray | np.float64, epsilon: float, power: int) -> Float[np.ndarray, "..."] | float:
    """The concave envelope in r^power."""
    epsilon = epsilon if epsilon > SMALLEST else 0.0  # δ_G falls in ε, so that it remains one
    eps, touch = as_epsilons(epsilon), _tangent_point(epsilon, power)
    # A scalar of NumPy is no array.
    beyond = np.exp(log_gaussian_delta(eps, np.asarray(np.maximum(r, touch))))
    return (beyond * (np.minimum(r / touch, 1) ** power if touch else 1.0))[()]


def _tangent_point(epsilon: float, power: int) -> float:
    """Where ∂ log δ_G/∂ log r falls to `power`; 0 where it is nowhere above."""
    from scipy.optimize import root_scalar  # not spent by `import epsflow`

    if epsilon == 0:  # erf, concave, also in r²
        return 0.0

    def excess(log_r: float) -> float:
        return float(elasticity(np.array([epsilon]), np.array([math.exp(log_r)]))[0]) - power

    # Where u − r/2 = 2 it is at least 1/G(2) > 6; where a = 10 it is r φ(10), almost nothing.
    low, high = 2 * epsilon / (2 + math.sqrt(4 + 2 * epsilon)), 10 + math.sqrt(100 + 2 * epsilon)
    return math.exp(root_scalar(excess, bracket=(math.log(low), math.log(high)), method="brentq", xtol=1e-13).root)


def _moment(value: Numbers, name: str) -> Float[np.ndarray, "..."]:
    array = as_numbers(value, name)
    if (array < 0).any():
        raise InputError(f"{name} holds a negative number; it bounds a moment of a distance.")
    return array


def _hypergeometric(n: int, m: int, b: int) -> Float[np.ndarray, " k"]:
    """P(B = 0), P(B = 1), … of deleted points in a batch without replacement."""
    from scipy.special import gammaln  # not spent by `import epsflow`

    k = np.arange(min(m, b) + 1, dtype=float)
    of_deleted = gammaln(m + 1) - gammaln(k + 1) - gammaln(m - k + 1)
    of_retained = gammaln(n - m + 1) - gammaln(b - k + 1) - gammaln(n - m - b + k + 1)
    logs = of_deleted + of_retained
    masses = np.exp(logs - logs.max())
    return masses / masses.sum()


def _binomial(m: int, chance: float) -> Float[np.ndarray, " k"]:
    """P(B = 0), P(B = 1), … of deleted points in a Poisson batch."""
    from scipy.special import gammaln, xlog1py, xlogy  # not spent by `import epsflow`

    k = np.arange(m + 1, dtype=float)
    log_choose = gammaln(m + 1) - gammaln(k + 1) - gammaln(m - k + 1)
    masses = np.exp(log_choose + xlogy(k, chance) + xlog1py(m - k, -chance))
    return masses / masses.sum()


def _worst_order(weights: Float[np.ndarray, " t"], n: int, m: int, b: int) -> float:
    """∑ of weights, each epoch's m deleted points on its heaviest steps, at most b on one."""
    if n % b:
        raise InputError(f"batch is {b}, which does not divide n = {n}; shuffled epochs are of n/batch whole steps.")
    hits = np.diff(np.minimum(np.arange(n // b + 1) * b, m))  # on the heaviest step, the next, …
    epochs = [np.sort(weights[start : start + n // b])[::-1] for start in range(0, len(weights), n // b)]
    return float(sum(epoch @ hits[: len(epoch)] for epoch in epochs))


@dataclass(frozen=True)
class _Sum:
    """A law above that of a sum of hits: `masses` at 0, spacing, 2·spacing, …, and the rest at the largest value."""

    spacing: float
    masses: Float[np.ndarray, " j"]
    beyond: float
    largest: float

    @property
    def reach(self) -> float:
        return (len(self.masses) - 1) * self.spacing


def _geometric_sum(atoms: Float[np.ndarray, " k"], ratio: float, terms: int, bins: int) -> _Sum:
    """∑_{j<terms} ratio^j B_j, B_j independent with P(B = k) = atoms[k], by doubling.

    A block of 2L terms is one of L plus ratio^L times another, each rounded up to a grid of its own size: of log₂ terms
    roundings, each is a few parts in `bins` of the sum.
    """
    block, total = _trimmed(1.0, atoms, 0.0, float(len(atoms) - 1)), _Sum(1.0, np.ones(1), 0.0, 0.0)
    size, done = 1, 0
    while done < terms:
        if terms & size:
            total = _add(total, block, ratio**done, bins)
            done += size
        if done < terms:
            block = _add(block, block, ratio**size, bins)
            size *= 2
    return total


def _add(first: _Sum, second: _Sum, factor: float, bins: int) -> _Sum:
    """First + factor·second, independent."""
    reach = first.reach + factor * second.reach
    exact = factor * second.spacing == first.spacing and reach <= 4 * bins * first.spacing
    spacing = first.spacing if exact or reach == 0 else reach / bins
    masses = np.convolve(_rounded_up(first, 1.0, spacing), _rounded_up(second, factor, spacing))
    beyond = first.beyond + second.beyond - first.beyond * second.beyond
    return _trimmed(spacing, masses, beyond, first.largest + factor * second.largest)


def _rounded_up(law: _Sum, factor: float, spacing: float) -> Float[np.ndarray, " j"]:
    """The masses of factor·law on another grid."""
    places = np.ceil(np.arange(len(law.masses)) * (factor * law.spacing / spacing)).astype(int)
    return np.bincount(places, weights=law.masses)


def _trimmed(spacing: float, masses: Float[np.ndarray, " j"], beyond: float, largest: float) -> _Sum:
    """What is negligible at the upper end goes to the largest value."""
    tail = np.cumsum(masses[::-1])[::-1]
    kept = max(int((tail > NEGLIGIBLE).sum()), 1)
    return _Sum(spacing, masses[:kept], beyond + (float(tail[kept]) if kept < len(masses) else 0.0), largest)
