"""Intervals of different lengths, cut into pieces of about one length."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


class Pieces(NamedTuple):
    """A control on pieces.

    Attributes:
        knots: the ends of all pieces, from s to T, shape (K + 1,).
        levels: u_k, shape (K, components).
        interval: of those that were cut, the one that a piece lies in, shape (K,).
    """

    knots: Float[np.ndarray, " knots"]
    levels: Float[np.ndarray, "K components"]
    interval: Int[np.ndarray, " K"]

    @property
    def durations(self) -> Float[np.ndarray, " K"]:
        """Δ_k."""
        return np.diff(self.knots)


def share_out(knots: Float[np.ndarray, " knots"], count: int) -> Int[np.ndarray, " K"]:
    """Pieces per interval, by its length and at least one, so that there are at most `count` in all."""
    length = np.diff(knots)
    return 1 + np.floor(length / length.sum() * (count - len(length))).astype(int)


def cut(knots: Float[np.ndarray, " knots"], levels: Float[np.ndarray, "K components"], count: int) -> Pieces:
    """At most `count` pieces: of equal length within each interval, and as many there as `share_out` says."""
    each = share_out(knots, count)
    interval = np.repeat(np.arange(len(each)), each)
    return Pieces(subdivided(knots, each), levels[interval], interval)


def shares_begun(parts: Int[np.ndarray, " intervals"]) -> Float[np.ndarray, " K"]:
    """Which fraction of its interval is over when each of its parts begins."""
    return (np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)) / np.repeat(parts, parts)


def subdivided(knots: Float[np.ndarray, " knots"], parts: Int[np.ndarray, " intervals"]) -> Float[np.ndarray, " all"]:
    """The ends of so many parts of equal length in each interval."""
    starts, lengths = np.repeat(knots[:-1], parts), np.repeat(np.diff(knots), parts)
    return np.append(starts + shares_begun(parts) * lengths, knots[-1])
