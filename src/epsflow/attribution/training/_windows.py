"""Integrals of the influence density over windows of training: ∫K_j dt, exact where the flow is."""

import abc
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..._core import ConvergenceError, InputError, decay_integral
from ...flow import ExactCostate
from ...problem import Problem
from ._pointwise import densities_of

ORDER = 10
"""Nodes of Gauss's rule per panel; its defect is seen by halving the panel."""
LOOKS = 65
"""Times in each stretch at which two tolerances are compared."""
HALVINGS = 14
"""Most times that a panel is halved."""
RELATIVE = 1e-11
"""Change of a panel upon halving, in units of the largest integral, at which it is kept."""
SERIES = 20
"""Terms of e^x's divided differences that |x| ≤ 1 needs: the next is 21/22! = 2e-20."""


@dataclass(frozen=True, eq=False)
class Integral:
    """∫K_j dt of every point.

    Attributes:
        values: shape (n, q), in units of φ.
        error: bound or estimate of what they are off by, in units of φ.
    """

    values: Float[np.ndarray, "n q"]
    error: float


class AbstractWindows(abc.ABC):
    """What knows the density between the times that were asked for."""

    @abc.abstractmethod
    def integral(self, start: float, stop: float) -> Integral:
        """∫K_j dt from `start` to `stop`."""

    @abc.abstractmethod
    def at(self, ts: Float[np.ndarray, " k"]) -> Float[np.ndarray, "k n q"] | None:
        """K at other ascending times; None where it is known at no others."""


@dataclass(frozen=True, eq=False)
class SampledWindows(AbstractWindows):
    """By Gauss's rule on panels that are halved until nothing changes.

    Attributes:
        sample: K at given ascending times, shape (k, n, q).
        knots: ascending times between which the density is smooth.
        error: of the sampled values, in units of φ per time.
        rough: the same by looser tolerances, whose distance is the error where there is no bound.
    """

    sample: Callable[[Float[np.ndarray, " k"]], Float[np.ndarray, "k n q"]]
    knots: Float[np.ndarray, " knots"]
    error: float
    rough: Callable[[Float[np.ndarray, " k"]], Float[np.ndarray, "k n q"]] | None = None

    def integral(self, start: float, stop: float) -> Integral:
        """See `AbstractWindows`."""
        inside = self.knots[(self.knots > start) & (self.knots < stop)]
        edges = np.array([start, *inside, stop])
        left, right = edges[:-1], edges[1:]
        each = self._error(edges)
        coarse, total, error = self._panels(left, right), 0.0, each * (stop - start)
        gaps = np.zeros(len(left))
        for halving in range(HALVINGS):
            middle = 0.5 * (left + right)
            halves = self._panels(*np.stack([[left, middle], [middle, right]]).transpose(0, 2, 1).reshape(2, -1))
            fine = halves[0::2] + halves[1::2]
            gaps = np.abs(fine - coarse).max(axis=(1, 2), initial=0.0)
            allowed = max(RELATIVE * np.abs(fine.sum(axis=0) + total).max(initial=0.0), each * (stop - start))
            done = (gaps <= allowed / len(edges)) | (gaps == 0.0)
            total, error = total + fine[done].sum(axis=0), error + float(gaps[done].sum())
            if done.all():
                return Integral(np.asarray(total), error)
            if halving + 1 < HALVINGS:
                again = np.repeat(~done, 2)
                left, right = np.stack([left, middle], 1).ravel()[again], np.stack([middle, right], 1).ravel()[again]
                coarse = halves[again]
        raise ConvergenceError(
            f"the density is not smooth near t = {float(left[0]):g}: its integral there still changes by "
            f"{float(gaps.max()):.1e} after {HALVINGS} halvings. Declare the schedule's jumps in jump_ts."
        )

    def at(self, ts: Float[np.ndarray, " k"]) -> Float[np.ndarray, "k n q"]:
        """See `AbstractWindows`."""
        return self.sample(ts)

    def _error(self, edges: Float[np.ndarray, " e"]) -> float:
        """Of the values between the edges, interpolants included."""
        if self.rough is None:
            return self.error
        shares = np.linspace(0.0, 1.0, LOOKS)
        ts = np.unique(edges[:-1, None] + np.diff(edges)[:, None] * shares)
        return max(self.error, float(np.abs(self.sample(ts) - self.rough(ts)).max()))

    def _panels(self, left: np.ndarray, right: np.ndarray) -> Float[np.ndarray, "panels n q"]:
        """The integral over each panel."""
        nodes, weights = np.polynomial.legendre.leggauss(ORDER)
        halves = 0.5 * (right - left)
        ts = (0.5 * (left + right))[:, None] + halves[:, None] * nodes
        order = np.argsort(ts.ravel(), kind="stable")
        values = self.sample(ts.ravel()[order])
        unsorted = np.empty_like(values)
        unsorted[order] = values
        return np.einsum("p,g,pgnq->pnq", halves, weights, unsorted.reshape(*ts.shape, *values.shape[1:]))


@dataclass(frozen=True, eq=False)
class StepWindows(AbstractWindows):
    """Of discrete training: sums over the steps between two of the times that were asked for.

    Attributes:
        ts: those times, shape (k,).
        sums: Σ over the steps from ts[i] to ts[i+1], shape (k − 1, n, q).
    """

    ts: Float[np.ndarray, " k"]
    sums: Float[np.ndarray, "k-1 n q"]

    def integral(self, start: float, stop: float) -> Integral:
        """See `AbstractWindows`."""
        ends = np.searchsorted(self.ts, [start, stop])
        for end, time in zip(ends, (start, stop), strict=True):
            if end == len(self.ts) or self.ts[end] != time:
                raise InputError(
                    f"a window of discrete training begins and ends at times in ts; {time:g} is none of them. Add it "
                    "to ts."
                )
        part = self.sums[ends[0] : ends[1]]
        size = np.abs(part).sum(axis=0).max(initial=0.0)
        return Integral(part.sum(axis=0), float(np.finfo(np.float64).eps * len(self.ts) * size))

    def at(self, ts: Float[np.ndarray, " k"]) -> None:
        """None: steps between the times have been summed."""


@dataclass(frozen=True, eq=False)
class ExactWindows(AbstractWindows):
    """Of linear regression under a piecewise-constant schedule: sums of exponentials, integrated in closed form.

    On an arc ∫K_j dt = −c(x_jᵀMx_j − y_j mᵀx_j) with M = ∫a θᵀ dt and m = ∫a dt in the arc's eigenbasis.
    """

    problem: Problem
    costate: ExactCostate
    error: float

    def integral(self, start: float, stop: float) -> Integral:
        """See `AbstractWindows`."""
        path, flow = self.costate, self.costate.flow
        x, y = np.asarray(self.problem.data.x), np.asarray(self.problem.data.y)
        values = np.zeros((len(x), path.ends.shape[1]))
        for k, (left, right) in enumerate(zip(path.edges[:-1], path.edges[1:], strict=True)):
            first, last = max(left, start), min(right, stop)
            if first >= last:
                continue
            level = flow.level[path.arcs[k]]
            rates, vectors = np.asarray(flow.bases.values[level]), np.asarray(flow.bases.vectors[level])
            rows = x @ vectors
            late = np.exp(-rates * (right - last)) * path.ends[k]
            early = flow.at(np.array([first]))[0] @ vectors
            single = decay_integral(rates, np.full(rates.shape, last - first))
            kernels = _convolutions(rates, last - first)
            for q, costate in enumerate(late):
                moved = costate[:, None] * (kernels.double * early + kernels.triple * flow.drifts[level])
                values[:, q] -= ((rows @ moved) * rows).sum(axis=1) - y * (rows @ (costate * single))
        return Integral(self.problem.scale * values, self.error * (stop - start))

    def at(self, ts: Float[np.ndarray, " k"]) -> Float[np.ndarray, "k n q"]:
        """See `AbstractWindows`."""
        return densities_of(self.problem, self.costate.flow.at(ts), self.costate.at(ts))


@dataclass(frozen=True, eq=False)
class _Convolutions:
    """∫₀ʰ e^{−p(h−s)} e^{−rs} ds and ∫₀ʰ e^{−p(h−s)} (∫₀ˢ e^{−ru} du) ds for all pairs of rates, shape (d, d)."""

    double: Float[np.ndarray, "d d"]
    triple: Float[np.ndarray, "d d"]


def _convolutions(rates: Float[np.ndarray, " d"], h: float) -> _Convolutions:
    """Both to rounding: as quotients where a rate is fast, by the series of divided differences where none is."""
    low = np.minimum(rates[:, None], rates)
    double = np.exp(-low * h) * decay_integral(np.abs(rates[:, None] - rates), np.full(low.shape, h))
    # 1 ∗ e^{−p} ∗ e^{−r} is symmetric: divide by the larger rate.
    swap = np.abs(rates)[:, None] > np.abs(rates)
    big, small = np.where(swap, rates[:, None], rates), np.where(swap, rates, rates[:, None])
    slow = np.abs(big) * h < 1.0
    quotient = (decay_integral(small, np.full(low.shape, h)) - double) / np.where(slow, 1.0, big)
    powers, symmetric, term, series = np.ones_like(low), np.ones_like(low), 0.5 * h * h, np.zeros_like(low)
    a, b = np.where(slow, -big * h, 0.0), np.where(slow, -small * h, 0.0)
    for degree in range(SERIES):
        series += term * symmetric
        powers = powers * a
        symmetric = powers + b * symmetric  # complete homogeneous polynomials of (a, b)
        term /= degree + 3.0
    return _Convolutions(double, np.where(slow, series, quotient))
