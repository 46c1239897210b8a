"""`data_shapley`, `data_banzhaf`, `loo_values`: what each point is worth to a utility."""

from typing import Any

import numpy as np
from jaxtyping import Float, Key
from scipy.special import stdtrit

from ..._core import (
    COMMON,
    RESULTS,
    SUCCESS,
    Array,
    ConvergenceError,
    InputError,
    as_choice,
    as_count,
    as_scalar,
    as_share,
    door,
    message,
    succeeded,
)
from .._keys import generator
from ._enumeration import banzhaf_weights, enumerate_coalitions, require_few, semivalues, shapley_weights
from ._permutations import Contributions, Truncation, contributions, draw_orders, rotated
from ._result import DataValues
from ._utility import AbstractUtility, as_utility

ROUNDING = 1e-9
"""How far, of the sizes of utilities that are added, the sum of Shapley values may miss V(D) − V(∅)."""

ROWS = 2_048
"""Coalitions that are valued together, about."""

FIRST = 32
"""Rounds before the first look at the intervals. Later looks are after half as many again: the fewer looks, the less
the choice of the moment to stop narrows the intervals that it stops at."""

SHARE = 0.01
"""Default tolerance, as a share of |V(D) − V(∅)|."""

STRATA = 16
"""Most strata of places in a permutation."""

_checked = door(COMMON)


@_checked
def data_shapley(
    utility: Any,
    n: int,
    *,
    method: str = "permutations",
    tolerance: float | None = None,
    key: Key[Array, ""] | None = None,
    truncation: float = 0.0,
    confidence: float = 0.95,
    max_permutations: int = 100_000,
    throw: bool = True,
) -> DataValues:
    """Shapley values φ_i = (1/n) Σ_{S∌i} [V(S∪i) − V(S)]/C(n−1, |S|) of n points.

    Example:
        >>> ef.data_shapley(lambda points: float(0 in points and len(points) > 1), 3, method="exact").values.round(4)
        array([0.6667, 0.1667, 0.1667])

    "exact" enumerates all 2ⁿ coalitions (n ≤ 20). "permutations" averages marginal contributions along random
    permutations until every confidence interval is narrower than the tolerance to each side. "stratified" takes each
    permutation with its rotations, so that every point stands once in each of up to 16 strata of places: no variance
    between strata is left. Σφ_i = V(D) − V(∅) is asserted, which all three meet exactly.

    Intervals are Student's, over independent permutations (or groups of rotations). One further observation of the
    pooled variance goes into each, so that a point whose contributions have all been equal so far is not taken for
    certain.

    Source: Ghorbani & Zou (arXiv:1904.02868); Castro et al. (2009) for permutations.

    Args:
        utility: V: a `ModelUtility`, a `CoalitionFunction`, or a function of one coalition (the list of its points);
            higher is better.
        n: number of points.
        method: as above.
        tolerance: half the width of every interval at most, in units of V. Default: 1 % of |V(D) − V(∅)|.
        key: of the permutations. Default: jax.random.key(0).
        truncation: a permutation stops where |V(D) − V(S)| is at most this share of |V(D) − V(∅)|; its points left get
            equal shares of the rest, and a quarter of the permutations goes on and corrects the bias of that
            (`truncation_bias` says how large it would be). 0: never.
        confidence: level of the intervals.
        max_permutations: how many at most.
        throw: raise if the tolerance was not met by then.

    Raises:
        InputError: n > 20 for "exact" (with the time it would take), a utility that is not finite, bad options.
        ConvergenceError: intervals wider than the tolerance after `max_permutations`; `.result` holds them.
    """
    game = as_utility(utility, n)
    as_choice(method, "method", ("exact", "permutations", "stratified"))
    level = as_share(confidence, "confidence")
    if method == "exact":
        require_few(game, "method='permutations' or 'stratified'")
        return _enumerated(game, shapley_weights(n), "shapley", level)
    empty, full = _ends(game)
    cut = as_scalar(truncation, "truncation")
    if not 0.0 <= cut < 1.0:
        raise InputError(f"truncation is {cut:g}; it is a share of |V(D) − V(∅)|, from 0 (never) to below 1.")
    stop = Truncation(empty, full, cut * abs(full - empty) if cut > 0.0 else -1.0)
    strata = min(n, STRATA) if method == "stratified" else 1
    goal = _tolerance(tolerance, full - empty)
    found = _sampled(game, stop, strata, generator(key), goal, level, as_count(max_permutations, "max_permutations"))
    _assert_efficiency(found)
    if throw and not succeeded(found.result):
        raise ConvergenceError(
            f"after {found.samples * strata} permutations the widest interval is ±{found.half_width:.3g}, and "
            f"tolerance={goal:.3g}: {message(found.result)} Allow more max_permutations, or a larger tolerance; "
            "throw=False returns these values.",
            found,
        )
    return found


@_checked
def data_banzhaf(
    utility: Any,
    n: int,
    *,
    method: str = "sampled",
    tolerance: float | None = None,
    key: Key[Array, ""] | None = None,
    confidence: float = 0.95,
    max_coalitions: int = 1_000_000,
    throw: bool = True,
) -> DataValues:
    """Banzhaf values φ_i = 2^{1−n} Σ_{S∌i} [V(S∪i) − V(S)]: the mean of V with i less that without, all S alike.

    Example:
        >>> ef.data_banzhaf(lambda points: float(0 in points and len(points) > 1), 3, method="exact").values
        array([0.75, 0.25, 0.25])

    "sampled": every coalition drawn tells about every point, φ̂_i = mean of V(S∋i) − mean of V(S∌i). They do not add up
    to V(D) − V(∅). Source: Wang & Jia (arXiv:2205.15466), maximum sample reuse.

    Args:
        utility, n, key, confidence, throw: as in `data_shapley`.
        method: "exact" (n ≤ 20) or "sampled".
        tolerance: half the width of every interval at most, in units of V. Default: 1 % of |V(D) − V(∅)|.
        max_coalitions: how many at most.

    Raises:
        InputError, ConvergenceError: as in `data_shapley`.
    """
    game = as_utility(utility, n)
    as_choice(method, "method", ("exact", "sampled"))
    level = as_share(confidence, "confidence")
    if method == "exact":
        require_few(game, "method='sampled'")
        return _enumerated(game, banzhaf_weights(n), "banzhaf", level)
    empty, full = _ends(game)
    goal = _tolerance(tolerance, full - empty)
    found = _reused(game, (empty, full), generator(key), goal, level, as_count(max_coalitions, "max_coalitions"))
    if throw and not succeeded(found.result):
        raise ConvergenceError(
            f"after {found.samples} coalitions the widest interval is ±{found.half_width:.3g}, and "
            f"tolerance={goal:.3g}. Allow more max_coalitions, or a larger tolerance; throw=False keeps them.",
            found,
        )
    return found


def loo_values(utility: Any, n: int) -> DataValues:
    """V(D) − V(D∖i) of every point, exactly.

    Example:
        >>> ef.loo_values(lambda points: float(0 in points and len(points) > 1), 3).values
        array([1., 0., 0.])

    Args:
        utility, n: as in `data_shapley`.

    Raises:
        InputError: a utility that is not finite.
    """
    game = as_utility(utility, n)
    empty, full = _ends(game)
    found = game.evaluate(~np.eye(n, dtype=bool))
    return _exact(full - found.values, (empty, full), "leave-one-out", 0.95, n + 2, found.gradients)


def _enumerated(game: AbstractUtility, weights: np.ndarray, name: str, level: float) -> DataValues:
    found = enumerate_coalitions(game)
    values = semivalues(found.values, weights)
    ends = float(found.values[0]), float(found.values[-1])
    answer = _exact(values, ends, name, level, len(found.values), found.gradients)
    if name == "shapley":
        _assert_efficiency(answer)
    return answer


def _exact(
    values: np.ndarray, ends: tuple[float, float], name: str, level: float, coalitions: int, gradients: int
) -> DataValues:
    zero = np.zeros(len(values))
    return DataValues(
        values=values,
        error=zero,
        interval=np.stack([values, values], axis=1),
        confidence=level,
        truncation_bias=zero,
        empty=ends[0],
        full=ends[1],
        semivalue=name,
        method="exact",
        samples=0,
        coalitions=coalitions,
        gradients=gradients,
        result=SUCCESS,
    )


def _sampled(
    game: AbstractUtility,
    stop: Truncation,
    strata: int,
    rng: np.random.Generator,
    goal: float,
    level: float,
    most: int,
) -> DataValues:
    """Rounds of permutations until the intervals are narrow enough."""
    n, sums, squares, dropped = game.n, np.zeros(game.n), np.zeros(game.n), np.zeros(game.n)
    together = max(1, ROWS // (strata * n))
    rounds, coalitions, gradients, look = 0, 2, 0, FIRST
    most = max(2, most // strata)
    while True:
        count = min(together, look - rounds, most - rounds)
        orders = rotated(draw_orders(rng, count, n), strata)
        found: Contributions = contributions(game, orders.reshape(-1, n), stop, rng)
        each = found.values.reshape(count, strata, n).mean(axis=1)
        sums, squares = sums + each.sum(axis=0), squares + (each**2).sum(axis=0)
        dropped += found.dropped.reshape(count, strata, n).mean(axis=1).sum(axis=0)
        rounds, coalitions = rounds + count, coalitions + found.coalitions
        gradients += found.gradients
        if rounds < look and rounds < most:
            continue
        error = _standard_error(sums, squares, rounds)
        reach = float(stdtrit(rounds - 1, 0.5 + 0.5 * level))
        met = bool((reach * error <= goal).all())
        if met or rounds >= most:
            break
        look += look // 2
    values = sums / rounds
    return DataValues(
        values=values,
        error=error,
        interval=np.stack([values - reach * error, values + reach * error], axis=1),
        confidence=level,
        truncation_bias=dropped / rounds,
        empty=stop.empty,
        full=stop.full,
        semivalue="shapley",
        method="permutations" if strata == 1 else "stratified",
        samples=rounds,
        coalitions=coalitions,
        gradients=gradients,
        result=SUCCESS if met else RESULTS.max_steps_reached,
    )


def _standard_error(sums: np.ndarray, squares: np.ndarray, rounds: int) -> Float[np.ndarray, " n"]:
    """Of each mean, one observation of the pooled variance being added to the variance of each point."""
    scatter = np.maximum(squares - sums**2 / rounds, 0.0)
    pooled = scatter.mean() / (rounds - 1)
    return np.sqrt((scatter + pooled) / (rounds - 1) / rounds)


def _reused(
    game: AbstractUtility,
    ends: tuple[float, float],
    rng: np.random.Generator,
    goal: float,
    level: float,
    most: int,
) -> DataValues:
    """Coalitions with independent fair coins until the intervals are narrow enough."""
    n, middle = game.n, 0.5 * sum(ends)  # a constant that changes nothing but rounding
    counts, sums, squares = np.zeros((2, n)), np.zeros((2, n)), np.zeros((2, n))
    drawn, gradients, look = 0, 0, max(FIRST, 2 * n)
    while True:
        count = min(ROWS, look - drawn, most - drawn)
        members = rng.random((count, n)) < 0.5
        found = game.evaluate(members)
        values, gradients = found.values - middle, gradients + found.gradients
        for side, flags in enumerate((~members, members)):
            counts[side] += flags.sum(axis=0)
            sums[side] += values @ flags
            squares[side] += values**2 @ flags
        drawn += count
        if drawn < look and drawn < most:
            continue
        if counts.min() >= 2:
            means = sums / counts
            variances = np.maximum(squares / counts - means**2, 0.0) / (counts - 1.0)
            error = np.sqrt(variances.sum(axis=0))
            reach = float(stdtrit(counts.min() - 1, 0.5 + 0.5 * level))
            met = bool((reach * error <= goal).all())
            if met or drawn >= most:
                break
        elif drawn >= most:
            raise InputError(f"max_coalitions is {most}; too few to see every point both inside and outside.")
        look += look // 2
    estimate = means[1] - means[0]
    return DataValues(
        values=estimate,
        error=error,
        interval=np.stack([estimate - reach * error, estimate + reach * error], axis=1),
        confidence=level,
        truncation_bias=np.zeros(n),
        empty=ends[0],
        full=ends[1],
        semivalue="banzhaf",
        method="sampled",
        samples=drawn,
        coalitions=drawn + 2,
        gradients=gradients,
        result=SUCCESS if met else RESULTS.max_steps_reached,
    )


def _ends(game: AbstractUtility) -> tuple[float, float]:
    """V(∅) and V(D)."""
    members = np.zeros((2, game.n), bool)
    members[1] = True
    empty, full = game.evaluate(members).values
    return float(empty), float(full)


def _assert_efficiency(found: DataValues) -> None:
    """Shapley values add up to V(D) − V(∅), or something is wrong with the utility: it is no function of the set."""
    size = abs(found.full) + abs(found.empty) + np.abs(found.values).sum()
    if not abs(found.efficiency_gap) <= ROUNDING * size:
        raise ConvergenceError(
            f"the values add up to V(D) − V(∅) only within {found.efficiency_gap:.3g}: the utility gives different "
            "answers for the same coalition. Make it deterministic.",
            found,
        )


def _tolerance(tolerance: object, width: float) -> float:
    if tolerance is None:
        if width == 0.0:
            raise InputError("V(D) = V(∅), which sets no scale: pass tolerance, in units of V.")
        return SHARE * abs(width)
    goal = as_scalar(tolerance, "tolerance")
    if not goal > 0.0:
        raise InputError(f"tolerance is {goal:g}; half the width of an interval is positive.")
    return goal
