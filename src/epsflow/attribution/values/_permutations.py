"""Shapley values from random permutations: marginal contributions along each, with truncation that stays unbiased.

Point π(k) contributes m = V(S_k ∪ π(k)) − V(S_k), S_k the k points before it. Along one permutation the contributions
add up to V(D) − V(∅), so their mean is efficient exactly.

Truncation stops where V(D) − V(S_k) is small, and gives each of the n − k points left an equal share of it. That is
still efficient, but biased; so a random share q of the permutations goes on to the end, and what it finds beyond the
equal shares counts 1/q times: the mean is unbiased again, and says how large the bias of stopping would be.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ._utility import AbstractUtility

FLAGS = 4_000_000
"""Entries of the flags of coalitions that are held at once."""

AUDITED = 0.25
"""Share q of truncated permutations that go on to the end."""

BLOCKS = 8
"""Parts in which a permutation is valued where it may be truncated."""


class Truncation(NamedTuple):
    """When a permutation stops.

    Attributes:
        empty: V(∅).
        full: V(D).
        width: |V(D) − V(S)| at which it does; negative for never.
    """

    empty: float
    full: float
    width: float


class Contributions(NamedTuple):
    """What each point contributes along each permutation.

    Attributes:
        values: unbiased, shape (permutations, n).
        dropped: the part of them that stopping without any share would leave out, unbiased too, same shape.
        coalitions: how many were valued.
        gradients: of single points.
    """

    values: Float[np.ndarray, "b n"]
    dropped: Float[np.ndarray, "b n"]
    coalitions: int
    gradients: int


def contributions(
    utility: AbstractUtility, orders: Int[np.ndarray, "b n"], stop: Truncation, rng: np.random.Generator
) -> Contributions:
    """Marginal contributions along several permutations.

    Args:
        utility: V.
        orders: π, one permutation a row.
        stop: when to truncate.
        rng: chooses which of the truncated permutations go on.
    """
    count, n = orders.shape
    ranks = np.argsort(orders, axis=1)
    worth = np.full((count, n + 1), stop.full)
    worth[:, 0] = stop.empty
    ends = np.full(count, n)  # how many points of each permutation were valued before it stopped
    audited = rng.random(count) < AUDITED
    going, coalitions, gradients = np.arange(count), 0, 0
    for sizes in _blocks(n, truncated=stop.width >= 0.0):
        if not going.size:
            break
        found = _prefix_values(utility, ranks[going], sizes)
        worth[np.ix_(going, sizes)] = found.values
        coalitions, gradients = coalitions + found.values.size, gradients + found.gradients
        if stop.width >= 0.0:
            close = np.abs(stop.full - found.values) <= stop.width
            first = np.where(close.any(axis=1), sizes[np.argmax(close, axis=1)], n)
            ends[going] = np.minimum(ends[going], first)
            going = going[(ends[going] == n) | audited[going]]
    along = np.diff(worth, axis=1)
    dropped = np.zeros_like(along)
    for b in np.flatnonzero(ends < n):
        tail = slice(ends[b], n)
        share = (stop.full - worth[b, ends[b]]) / (n - ends[b])
        beyond = (along[b, tail] - share) / AUDITED if audited[b] else 0.0
        along[b, tail] = share + beyond
        dropped[b, tail] = along[b, tail]
    rows = np.arange(count)[:, None]
    return Contributions(along[rows, ranks], dropped[rows, ranks], coalitions, gradients)


def draw_orders(rng: np.random.Generator, count: int, n: int) -> Int[np.ndarray, "count n"]:
    """Uniform permutations."""
    return rng.random((count, n)).argsort(axis=1)


def rotated(orders: Int[np.ndarray, "b n"], strata: int) -> Int[np.ndarray, "b strata n"]:
    """Rotations of each permutation by equal parts of n: every point then stands once in each stratum of places."""
    n = orders.shape[1]
    shifts = n * np.arange(strata) // strata
    places = (np.arange(n) + shifts[:, None]) % n
    return orders[:, places]


class _Prefixes(NamedTuple):
    values: Float[np.ndarray, "b s"]
    gradients: int


def _prefix_values(utility: AbstractUtility, ranks: Int[np.ndarray, "b n"], sizes: Int[np.ndarray, " s"]) -> _Prefixes:
    """V of the first points of each permutation, for each of several sizes."""
    count, n = ranks.shape
    values, gradients = np.empty((count, len(sizes))), 0
    chunk = max(1, FLAGS // (len(sizes) * n))
    for start in range(0, count, chunk):
        members = ranks[start : start + chunk, None, :] < sizes[:, None]
        found = utility.evaluate(members.reshape(-1, n))
        values[start : start + chunk] = found.values.reshape(-1, len(sizes))
        gradients += found.gradients
    return _Prefixes(values, gradients)


def _blocks(n: int, *, truncated: bool) -> list[Int[np.ndarray, " s"]]:
    """Sizes 1 to n−1, in the parts that are valued together."""
    sizes = np.arange(1, n)
    if not sizes.size:
        return []
    return np.array_split(sizes, min(BLOCKS, len(sizes))) if truncated else [sizes]
