"""Values from all 2ⁿ coalitions."""

import math
import time

import numpy as np
from jaxtyping import Float

from ..._core import InputError
from ._utility import AbstractUtility, Valued

MOST_POINTS = 20
"""2²⁰ coalitions are a million."""

PROBE = 16
"""Coalitions that are evaluated to tell how long all of them would take."""

BATCH = 2**14


def require_few(utility: AbstractUtility, instead: str) -> None:
    """Refuse more points than can be enumerated.

    Raises:
        InputError: how long it would take, measured on a few coalitions, and what to use instead.
    """
    n = utility.n
    if n <= MOST_POINTS:
        return
    members = np.random.default_rng(0).random((PROBE, n)) < 0.5
    start = time.perf_counter()
    utility.evaluate(members)
    each = (time.perf_counter() - start) / PROBE
    raise InputError(
        f"method='exact' enumerates all 2^{n} coalitions, up to n = {MOST_POINTS}; at {each:.1g} s each, as "
        f"measured on {PROBE} of them, {n} points would take {_duration(n, each)}. "
        f"Use {instead}, which comes with an error."
    )


def enumerate_coalitions(utility: AbstractUtility) -> Valued:
    """V of every coalition; that of number b has the points whose bits are set in b, shape (2ⁿ,)."""
    n = utility.n
    values, gradients = np.empty(2**n), 0
    for start in range(0, 2**n, BATCH):
        numbers = np.arange(start, min(start + BATCH, 2**n))
        found = utility.evaluate((numbers[:, None] >> np.arange(n)) & 1 == 1)
        values[numbers], gradients = found.values, gradients + found.gradients
    return Valued(values, gradients)


def semivalues(values: Float[np.ndarray, " k"], weights: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """φ_i = Σ_{S∌i} w(|S|)·[V(S∪i) − V(S)] from the values of all coalitions.

    Args:
        values: of coalition b, by its number, shape (2ⁿ,).
        weights: w of each size from 0 to n−1; they and the numbers of coalitions of each size sum to one.
    """
    n = len(weights)
    sizes = np.zeros(1, np.int64)
    for _ in range(n - 1):
        sizes = np.concatenate([sizes, sizes + 1])
    found = np.empty(n)
    for i in range(n):
        pairs = values.reshape(-1, 2, 2**i)
        found[i] = weights[sizes] @ (pairs[:, 1] - pairs[:, 0]).ravel()
    return found


def shapley_weights(n: int) -> Float[np.ndarray, " n"]:
    """1/(n·C(n−1, s)) for each size s."""
    return np.array([1.0 / (n * math.comb(n - 1, s)) for s in range(n)])


def banzhaf_weights(n: int) -> Float[np.ndarray, " n"]:
    """2^{1−n} for each size."""
    return np.full(n, 2.0 ** (1 - n))


def _duration(n: int, each: float) -> str:
    """2ⁿ times so many seconds, in words; by logarithms, for n of thousands."""
    exponent = n * math.log10(2.0) + math.log10(max(each, 1e-12))
    for name, seconds in (("years", 3.156e7), ("days", 86_400.0), ("hours", 3_600.0), ("minutes", 60.0)):
        if exponent >= math.log10(seconds):
            size = exponent - math.log10(seconds)
            return f"10^{size:.0f} {name}" if size > 6 else f"{10**size:.2g} {name}"
    return f"{10**exponent:.2g} seconds"
