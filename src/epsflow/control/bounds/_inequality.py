"""The matrix inequality of `_quadratic` on one interval of time, along an arc of constant u*.

All is in the eigenbasis of H_{u*}, where δ*, p and P are exponentials of time, entry by entry, and in units in which
the cost of u* is one.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..._core import decay_integral

SHARE, MOST_SHARE = 0.1, 0.1
"""What is kept for the second derivative, of the first entry of the matrix; and the most of it, over T − s."""

OVER = 1.5
"""N is made for so much more than is kept, because it changes P, and so what it is made for, a little."""

ROUNDS = 4
"""How often N is raised for that."""

RADII = (0.0, 0.5, 0.8)
"""m that are tried, in units of what the first entry leaves for mY²."""

UNIT = np.finfo(np.float64).eps


class Place(NamedTuple):
    """A time on the way of u*.

    Attributes:
        time: t.
        pull: v = Gδ* − h, shape (d,).
        costate: p, shape (d,).
        speed: |dδ*/dt|, entry by entry.
    """

    time: float
    pull: Float[np.ndarray, " d"]
    costate: Float[np.ndarray, " d"]
    speed: Float[np.ndarray, " d"]

    def measured(self, unit: float) -> "Place":
        """The same with δ in another unit; a cost keeps its own."""
        return Place(self.time, self.pull / unit, self.costate * unit, self.speed / unit)


class Rival(NamedTuple):
    """A level that u might have in place of u*.

    Attributes:
        change: Δ.
        effort: ρ(|u| − |u*|).
    """

    change: float
    effort: float


class Weight(NamedTuple):
    """What a matrix is made small for: tr(NY), Y positive definite.

    Attributes:
        root, inverse: Y^{1/2} and its inverse.
    """

    root: Float[np.ndarray, "d d"]
    inverse: Float[np.ndarray, "d d"]

    @staticmethod
    def of(matrix: Float[np.ndarray, "d d"]) -> "Weight":
        """For a given Y."""
        values, vectors = np.linalg.eigh(matrix)
        roots = np.sqrt(values)
        return Weight((vectors * roots) @ vectors.T, (vectors / roots) @ vectors.T)

    def above(self, n: Float[np.ndarray, "d d"], k: Float[np.ndarray, "d d"]) -> Float[np.ndarray, "d d"]:
        """The matrix with the least tr(NY) that is neither below N nor below K: N + Y^{−½}(Y^½(K − N)Y^½)₊Y^{−½}."""
        values, vectors = np.linalg.eigh(self.root @ (k - n) @ self.root)
        if values[-1] <= 0.0:
            return n
        half = self.inverse @ (vectors * np.sqrt(np.maximum(values, 0.0)))
        return n + half @ half.T

    def excess(self, k: Float[np.ndarray, "d d"]) -> float:
        """tr of the positive part of Y^½KY^½."""
        return float(np.maximum(np.linalg.eigvalsh(self.root @ k @ self.root), 0.0).sum())


@dataclass(frozen=True, eq=False)
class Interval:
    """Two times of one arc, and what V has to satisfy between them.

    Attributes:
        rates: μ, of H_{u*}, shape (d,).
        gram: G, shape (d, d).
        before, after: its ends.
        rivals: the levels that u might have.
        margin: what r + ΔS + ρ(|u| − |u*|) is raised to.
        radius: Y, how far y may be anywhere in it.
        window: T − s.
    """

    rates: Float[np.ndarray, " d"]
    gram: Float[np.ndarray, "d d"]
    before: Place
    after: Place
    rivals: tuple[Rival, ...]
    margin: float
    radius: float
    window: float

    @property
    def length(self) -> float:
        """Its duration."""
        return self.after.time - self.before.time

    @cached_property
    def leads(self) -> Float[np.ndarray, "rivals 2"]:
        """ΔS + ρ(|u| − |u*|) at both ends."""
        return np.array([[lead(rival, place) for place in (self.before, self.after)] for rival in self.rivals])

    @cached_property
    def loss(self) -> float:
        """r."""
        return max(0.0, self.margin - float(self.leads.min()))

    @cached_property
    def reserve(self) -> float:
        """What is kept of the least eigenvalue for the second derivative."""
        return SHARE * min(2.0 * (float(self.leads.min()) + self.loss), MOST_SHARE / self.window)

    @cached_property
    def _decay(self) -> Float[np.ndarray, "d d"]:
        return np.exp(-self._sums * self.length)

    @cached_property
    def _integral(self) -> Float[np.ndarray, "d d"]:
        return np.asarray(decay_integral(self._sums, np.asarray(self.length)))

    @cached_property
    def _sums(self) -> Float[np.ndarray, "d d"]:
        return self.rates[:, None] + self.rates

    def retreat(self, p: Float[np.ndarray, "d d"], n: Float[np.ndarray, "d d"]) -> Float[np.ndarray, "d d"]:
        """P at the beginning, from P at the end."""
        return self._decay * p - self._integral * n

    def solve(self, p: Float[np.ndarray, "d d"], weight: Weight) -> Float[np.ndarray, "d d"] | None:
        """N for which the inequality holds throughout, from P at the end; None where the interval is too long."""
        radii = self._radii(p, weight)
        n = np.zeros_like(p)
        for attempt in range(ROUNDS):
            for place, matrix in ((self.after, p), (self.before, self.retreat(p, n))):
                for rival, m in zip(self.rivals, radii, strict=True):
                    n = weight.above(n, self._demand(rival, place, matrix, m))
            if attempt and self._holds_at_its_ends(p, n, radii):
                return n if self._bend(p, n) * self.length**2 / 8.0 <= self.reserve else None
        return None

    # ---- the matrix ---------------------------------------------------------------------------------------------

    def _parts(
        self, rival: Rival, place: Place, p: Float[np.ndarray, "d d"], m: float
    ) -> tuple[float, Float[np.ndarray, " d"], Float[np.ndarray, "d d"]]:
        """Its first entry, the rest of its first column, and what N has to exceed without that."""
        first = 2.0 * (lead(rival, place) + self.loss) - m * self.radius**2
        column = -rival.change * (self.gram @ place.costate + p @ place.pull)
        product = p @ self.gram
        return first, column, rival.change * (product + product.T) - m * np.eye(len(p))

    def _demand(self, rival: Rival, place: Place, p: Float[np.ndarray, "d d"], m: float) -> Float[np.ndarray, "d d"]:
        """By Schur's complement, with what is kept."""
        first, column, block = self._parts(rival, place, p, m)
        kept = OVER * self.reserve
        return block + kept * np.eye(len(p)) + np.outer(column, column) / (first - kept)

    def _radii(self, p: Float[np.ndarray, "d d"], weight: Weight) -> list[float]:
        """m of each rival: that which asks for the least N at the end."""
        found = []
        for rival, leads in zip(self.rivals, self.leads, strict=True):
            free = 2.0 * (float(leads.min()) + self.loss - self.reserve) / max(self.radius**2, 1e-300)
            tried = [share * free for share in RADII]
            asked = [weight.excess(self._demand(rival, self.after, p, m)) for m in tried]
            found.append(tried[int(np.argmin(asked))])
        return found

    def _holds_at_its_ends(self, p: Float[np.ndarray, "d d"], n: Float[np.ndarray, "d d"], radii: list[float]) -> bool:
        ends, d = ((self.after, p), (self.before, self.retreat(p, n))), len(p)
        cases = [(rival, m, *end) for rival, m in zip(self.rivals, radii, strict=True) for end in ends]
        matrices = np.empty((len(cases), d + 1, d + 1))
        for matrix, (rival, m, place, quadratic) in zip(matrices, cases, strict=True):
            matrix[0, 0], column, block = self._parts(rival, place, quadratic, m)
            matrix[0, 1:] = matrix[1:, 0] = column
            matrix[1:, 1:] = n - block
        rounding = 8.0 * (d + 1) * UNIT * np.linalg.norm(matrices, axis=(1, 2))
        return bool((np.linalg.eigvalsh(matrices)[:, 0] >= self.reserve + rounding).all())

    def _bend(self, p: Float[np.ndarray, "d d"], n: Float[np.ndarray, "d d"]) -> float:
        """A bound on the second derivative of the matrices in the interval: entries are largest at one of its ends."""
        earlier, rates, gram = self.retreat(p, n), np.abs(self.rates), np.abs(self.gram)
        costate = np.maximum(np.abs(self.before.costate), np.abs(self.after.costate))
        speed = np.maximum(self.before.speed, self.after.speed)
        pull_speed, pull_bend = gram @ speed, gram @ (rates * speed)
        pull = np.abs(self.after.pull) + self.length * pull_speed
        slope = np.maximum(np.abs(self._sums * p + n), np.abs(self._sums * earlier + n))
        bend, size = np.abs(self._sums) * slope, np.maximum(np.abs(p), np.abs(earlier))
        turn = (rates**2 * costate) @ pull + 2.0 * (rates * costate) @ pull_speed + costate @ pull_bend
        column = gram @ (rates**2 * costate) + bend @ pull + 2.0 * slope @ pull_speed + size @ pull_bend
        whole = np.sqrt((2.0 * turn) ** 2 + 2.0 * float(column @ column) + (2.0 * np.linalg.norm(bend @ gram)) ** 2)
        return max(abs(rival.change) for rival in self.rivals) * float(whole)


def lead(rival: Rival, place: Place) -> float:
    """ΔS + ρ(|u| − |u*|): what a rival costs more, to first order."""
    return rival.effort - rival.change * float(place.costate @ place.pull)
