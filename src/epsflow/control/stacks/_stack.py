"""Many small linear regressions as one value: `LinearBatch`, with the problem as the first axis, and its arcs."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from ..._core import InputError, Spelled
from ..linear._pencil import Pencil, Spectrum, advance
from ..linear._task import LinearTask
from ..terms._cost import EndForm
from ..terms._window import Window

Many = Float[np.ndarray, " b"]


@dataclass(frozen=True, eq=False, repr=False)
class LinearBatch(Spelled):
    """b control problems of linear regression with bounds [0, 1], each in the eigenbasis of its own H_{-D}.

    Example:
        >>> hessians, moments = np.array([[[5.0]]]), np.array([[8.0]])
        >>> rows, targets = np.array([[[1.0]]]), np.array([[1.0]])
        >>> start, s, T = np.zeros((1, 1)), np.array([0.1]), np.array([1.0])
        >>> batch = ef.control.linear_batch(hessians, moments, rows, targets, start, s, T)
        >>> batch.target, batch.determined
        (array([[1.6]]), array([ True]))

    Attributes:
        low, high: H_0 = Λ and H_1 there, with √c Qᵀx_j and √c(y_j − x_jᵀθ*_{-D}) for x_j and r_j.
        residuals: r_j, shape (b, m).
        origin, start: δ(0) and δ(s), shape (b, d).
        s, T: the windows, shape (b,).
        basis: Q, shape (b, d, d).
        target: θ*_{-D} in the original coordinates, shape (b, d).
        determined: whether H_{-D} has full rank, so that θ*_{-D} is unique; shape (b,). The numbers of the others mean
            nothing.
    """

    low: Spectrum
    high: Spectrum
    residuals: Float[np.ndarray, "b m"]
    origin: Float[np.ndarray, "b d"]
    start: Float[np.ndarray, "b d"]
    s: Many
    T: Many
    basis: Float[np.ndarray, "b d d"]
    target: Float[np.ndarray, "b d"]
    determined: Bool[np.ndarray, " b"]

    @property
    def rates(self) -> Float[np.ndarray, "b d"]:
        """Λ."""
        return self.low.rates

    @property
    def rows(self) -> Float[np.ndarray, "b m d"]:
        """x_j."""
        return self.low.rows

    @property
    def length(self) -> Many:
        """T − s."""
        return self.T - self.s

    @property
    def stiffness(self) -> Many:
        """A bound on ‖H_1‖(T − s), which says how many steps and nodes a decay takes."""
        return (self.rates.max(axis=1) + np.square(self.rows).sum(axis=(1, 2))) * self.length

    def take(self, which: np.ndarray) -> "LinearBatch":
        """Some of the problems, by index or mask."""
        parts = {name: value for name, value in vars(self).items() if name not in ("low", "high")}
        some = {name: value[which] for name, value in parts.items()}
        return LinearBatch(low=self.low.take(which), high=self.high.take(which), **some)

    def task(self, k: int) -> LinearTask:
        """One of the problems, for the routes that take them one by one."""
        pencil = Pencil(self.rates[k], self.rows[k], self.residuals[k], np.zeros_like(self.rates[k]))
        return LinearTask(
            pencil=pencil.knowing(1.0, self.high.take(np.asarray(k))),
            start=self.start[k],
            window=Window(float(self.s[k]), float(self.T[k]), 0.0, 1.0),
            form=EndForm(np.ones(self.rates.shape[1])),
            basis=self.basis[k],
            target=self.target[k],
            origin=self.origin[k],
        )


def linear_batch(
    hessians: Float[np.ndarray, "b d d"],
    moments: Float[np.ndarray, "b d"],
    rows: Float[np.ndarray, "b m d"],
    targets: Float[np.ndarray, "b m"],
    theta0: Float[np.ndarray, "b d"],
    s: Many,
    T: Many,
) -> LinearBatch:
    """Diagonalise, find the leave-out optima, and train up to s with ε = 1.

    Example:
        >>> hessians, moments = np.array([[[5.0]]]), np.array([[8.0]])
        >>> rows, targets = np.array([[[1.0]]]), np.array([[1.0]])
        >>> start, s, T = np.zeros((1, 1)), np.array([0.1]), np.array([1.0])
        >>> ef.control.linear_batch(hessians, moments, rows, targets, start, s, T).target
        array([[1.6]])

    Args:
        hessians: H_{-D} = c Σ_{i∉D} x_i x_iᵀ + λI.
        moments: b_{-D} = c Σ_{i∉D} x_i y_i.
        rows, targets: √c x_j and √c y_j of the deleted points.
        theta0: θ(0).
        s, T: the windows, 0 ≤ s < T.

    Raises:
        InputError: a window that is none, or numbers that are not finite.
    """
    given = (hessians, moments, rows, targets, theta0, s, T)
    if not all(np.isfinite(part).all() for part in given):
        raise InputError("the stack of problems contains NaN or infinity; every statistic must be finite.")
    if not ((s >= 0.0) & (s < T)).all():
        raise InputError("every window needs 0 ≤ s < T: between them ε is free.")
    rates, basis = np.linalg.eigh(hessians)
    d = rates.shape[1]
    determined = rates[:, 0] > d * np.finfo(np.float64).eps * np.abs(rates).max(axis=1)
    safe = np.where(determined[:, None], rates, 1.0)
    goal = to_basis(basis, moments) / safe
    turned = rows @ basis
    residuals = targets - (turned @ goal[:, :, None])[:, :, 0]
    high = turned.transpose(0, 2, 1) @ turned
    high[:, np.arange(d), np.arange(d)] += safe
    high_rates, vectors = np.linalg.eigh(high)
    still = Spectrum(safe, None, turned, np.zeros_like(safe))
    steady = Spectrum(high_rates, vectors, turned @ vectors, ((residuals[:, None, :] @ turned) @ vectors)[:, 0])
    origin = to_basis(basis, theta0) - goal
    return LinearBatch(
        low=still,
        high=steady,
        residuals=residuals,
        origin=origin,
        start=advance(steady, origin, s),
        s=s,
        T=T,
        basis=basis,
        target=(basis @ goal[:, :, None])[:, :, 0],
        determined=determined,
    )


def to_basis(vectors: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Vᵀx for every problem."""
    return (x[:, None, :] @ vectors)[:, 0]


def cost_of_ends(ends: Float[np.ndarray, "*k d"]) -> Float[np.ndarray, "*k"]:
    return 0.5 * np.square(ends).sum(axis=-1)


def rounding(batch: LinearBatch, ends: Float[np.ndarray, "b d"], arcs: int) -> Many:
    """Rounding of the largest δ in every arc, and of the rates over T; ½‖δ‖² then errs by ‖δ‖ times that."""
    size = np.linalg.norm(batch.origin, axis=1) + np.linalg.norm(batch.target, axis=1)
    growth = arcs + ends.shape[1] * (1.0 + batch.high.rates[:, -1] * batch.T)
    error = np.finfo(np.float64).eps * growth * size
    return np.linalg.norm(ends, axis=1) * error + 0.5 * error**2
