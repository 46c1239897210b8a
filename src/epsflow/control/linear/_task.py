"""The problem that the wings of linear regression solve, in the eigenbasis of H_{-D}."""

import itertools
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.sparse
from jaxtyping import Float

from ..._core import Array
from ...problem import JACOBI, Quadratic
from ..terms._cost import AbstractCost, Distance, EndForm
from ..terms._levels import levels_of
from ..terms._window import Window
from ._pencil import Pencil, Spectrum, advance


@dataclass(frozen=True, eq=False)
class LinearTask:
    """The control problem of linear regression on [s, T], in the eigenbasis of H_{-D}.

    Of an eigenspace with many dimensions only those to which x_j, δ(0) or f couple are kept, m + 2 at most: with fewer
    points than parameters, the rest of θ does not move. So d here is at most the number of parameters D.

    Attributes:
        pencil: H_u and what drives δ.
        start: δ(s), shape (d,).
        window: s, T and the bounds of ε.
        form: the cost of δ(T).
        basis: Q, shape (D, d).
        target: in the original coordinates, shape (D,).
        origin: δ(0), shape (d,); training up to s has ε = 1.
        price: ρ ≥ 0, what a unit of ∫|u| dt costs, per point.
        budget: B, the most that ∫|u| dt may be, summed over the components of u; ∞ for none.
    """

    pencil: Pencil
    start: Float[np.ndarray, " d"]
    window: Window
    form: EndForm
    basis: Float[np.ndarray, "D d"]
    target: Float[np.ndarray, " D"]
    origin: Float[np.ndarray, " d"]
    price: float = 0.0
    budget: float = np.inf

    @property
    def rates(self) -> Float[np.ndarray, " d"]:
        """Λ."""
        return self.pencil.rates

    @property
    def rows(self) -> Float[np.ndarray, "m d"]:
        """x_j."""
        return self.pencil.rows

    @property
    def residuals(self) -> Float[np.ndarray, " m"]:
        """r_j."""
        return self.pencil.residuals

    @property
    def drift(self) -> Float[np.ndarray, " d"]:
        """f."""
        return self.pencil.drift

    @property
    def s(self) -> float:
        """When the window begins."""
        return self.window.s

    @property
    def T(self) -> float:
        """When it ends."""
        return self.window.T

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and largest ε."""
        return self.window.bounds

    @property
    def length(self) -> float:
        """T − s."""
        return self.window.length

    @property
    def points(self) -> int:
        """Number of deleted points m."""
        return len(self.residuals)

    def spectrum(self, level: float | np.ndarray) -> Spectrum:
        """See `Pencil.spectrum`."""
        return self.pencil.spectrum(level)

    def residual(self, delta: Float[np.ndarray, "*k d"]) -> Float[np.ndarray, "*k m"]:
        """See `Pencil.residual`."""
        return self.pencil.residual(delta)

    @property
    def priced(self) -> bool:
        """Whether ∫|u| dt matters."""
        return self.price > 0.0 or self.budget < np.inf

    @property
    def at_rest(self) -> bool:
        """Whether the target stays where it is under an admissible ε: f = 0, and ε = 0 is within the bounds."""
        return not self.drift.any() and self.window.low <= 0.0 <= self.window.high

    @property
    def options(self) -> tuple[float, ...]:
        """The levels that u may have where S decides: the bounds, and 0 between them where ∫|u| dt matters."""
        return levels_of(self.bounds, float(self.priced))

    def at_price(self, price: float) -> "LinearTask":
        """The same problem at another price of ∫|u| dt, and without a budget."""
        return self if (price, np.inf) == (self.price, self.budget) else replace(self, price=price, budget=np.inf)

    @cached_property
    def grouped(self) -> "LinearTask":
        """The same problem for one ε for all points, by d rows at most.

        With X = QR, Σ x_j e_j = Xᵀ(Xδ − r) = Rᵀ(Rδ − Qᵀr): the rows of R and Qᵀr take the place of X and r.
        """
        if self.points <= len(self.rates):
            return self
        turn, rows = np.linalg.qr(self.rows)
        pencil = Pencil(self.rates, rows=rows, residuals=self.residuals @ turn, drift=self.drift)
        return replace(self, pencil=pencil)

    def until(self, T: float) -> "LinearTask":
        """The same problem with another end."""
        return replace(self, window=self.window._replace(T=T))

    def theta(self, delta: Float[np.ndarray, "*k d"]) -> Float[np.ndarray, "*k D"]:
        """Back to θ."""
        return self.target + delta @ self.basis.T


def linear_task(
    risk: Quadratic,
    theta0: Float[Array, " d"],
    *,
    window: Window,
    target: Float[Array, " d"],
    cost: AbstractCost | None = None,
    price: float = 0.0,
    budget: float = np.inf,
) -> LinearTask:
    """The control problem in the eigenbasis: θ(0) = θ0, ε = 1 until s, free within bounds until T.

    Args:
        risk: R_ε of linear regression.
        theta0: θ(0), shape (d,).
        window: s, T and the bounds of ε.
        target: where θ(T) should be, shape (d,).
        cost: of θ(T); default: the distance.
        price, budget: of ∫|ε| dt.
    """
    basis, goal = np.asarray(risk.retained.vectors), np.asarray(target)
    h, b = np.asarray(risk.h_retained), np.asarray(risk.b_retained)
    root = np.sqrt(float(risk.scale))
    x, y = np.asarray(risk.x_deleted), np.asarray(risk.y_deleted)
    force = b - h @ goal
    # What is left of H·target − b at the leave-out optimum is rounding: of the eigensolver (d·u) and of the product.
    scale = np.linalg.norm(b) + np.linalg.norm(h) * np.linalg.norm(goal)
    if np.linalg.norm(force) <= 8.0 * len(b) * np.finfo(np.float64).eps * scale:
        force = np.zeros_like(b)
    coupled = np.vstack([root * x, np.asarray(theta0) - goal, force]) @ basis
    rates, kept = _coupled(np.asarray(risk.retained.values), coupled)
    if kept is not None:
        basis, coupled = basis @ kept, coupled @ kept
    pencil = Pencil(rates, rows=coupled[:-2], residuals=root * (y - x @ goal), drift=coupled[-1])
    return LinearTask(
        pencil=pencil,
        start=advance(pencil.spectrum(1.0), coupled[-2], window.s),
        window=window,
        form=(cost or Distance()).form(rates, basis),
        basis=basis,
        target=goal,
        origin=coupled[-2],
        price=price,
        budget=budget,
    )


def _coupled(
    rates: Float[np.ndarray, " d"], vectors: Float[np.ndarray, "k d"]
) -> tuple[Float[np.ndarray, " r"], scipy.sparse.csr_array | None]:
    """Of every eigenspace with more than k dimensions, the at most k that the given vectors span; None: keep all.

    Eigenvalues that agree to the rounding of their solver count as one: d·u of themselves, or of the largest where
    there are more than `JACOBI`. The dropped coordinates of all given vectors are zero, and H_u keeps them apart, so
    they stay zero.
    """
    largest = rates if len(rates) <= JACOBI else np.full_like(rates, rates[-1])
    close = len(rates) * np.finfo(np.float64).eps * np.abs(largest)
    starts, blocks, means = [0], [], []
    for i in range(1, len(rates)):
        if rates[i] - rates[starts[-1]] > close[i]:
            starts.append(i)
    edges = [*starts, len(rates)]
    if max(np.diff(edges)) <= len(vectors):
        return rates, None
    for first, last in itertools.pairwise(edges):
        if last - first <= len(vectors):
            blocks.append(np.eye(last - first))
            means.append(rates[first:last])
            continue
        lengths = np.linalg.norm(vectors[:, first:last], axis=1)
        # The vectors may be of very different size, and each counts.
        part, sizes, _ = np.linalg.svd(
            (vectors[:, first:last] / np.where(lengths > 0.0, lengths, 1.0)[:, None]).T, full_matrices=False
        )
        rank = max(1, int(np.count_nonzero(sizes > (last - first) * np.finfo(np.float64).eps * sizes[0])))
        blocks.append(part[:, :rank])
        means.append(np.full(rank, rates[first:last].mean()))
    return np.concatenate(means), scipy.sparse.csr_array(scipy.sparse.block_diag(blocks))
