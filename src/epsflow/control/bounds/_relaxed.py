"""Lower bounds over all controls under which the residuals keep within given bounds, window by window.

Where lo ≤ e_j ≤ hi, the force w_j = u_j e_j, a ≤ u_j ≤ b, lies in the convex hull of a bow tie. From above, it is met
by w ≤ αe + κ with α = a + φ(b − a) for every φ in [0, 1] and

    κ = (b − a) max(hi(1 − φ), |lo| φ),     least, hi|lo|(b − a)/(hi + |lo|), at φ = hi/(hi + |lo|);

from below by w ≥ αe − κ with 1 − φ for φ. One sign (lo = 0 or hi = 0) is exact: κ = 0 at φ = 1 or 0. So with

    ṗ = Λp + Σ_j α_j x_j (x_jᵀp),

α_j from above where x_jᵀp > 0 and from below elsewhere, pᵀδ changes by at least pᵀf + Σ_j (α_j r_j x_jᵀp − κ_j|x_jᵀp|):
a lower bound on every linear functional of δ(T), and by duality (`_dual`) on the cost. φ is taken from a grid of
eighths, so that few spectra H_α are ever needed.

A bound takes many such paths, of many problems: they are followed side by side, each independent of the others.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from ..._core import InputError
from ..linear._exponentials import NOISE, resolving_grid
from ..linear._pencil import SECULAR, Spectrum, decay_integral
from ..linear._task import LinearTask
from ._dual import MAX_ARCS

EIGHTHS, HALVINGS = 8, 80
ENOUGH = 1e-9
"""Relative step at which a zero is known: Newton's next would be its square, and bounds are of second order in it."""

AT_ONCE = 4_000_000
"""Numbers in the largest array of a pass: paths beyond that wait for the next one."""


class Window(NamedTuple):
    """What is assumed about the residuals between two times.

    Attributes:
        start, end: the times.
        low, high: bounds on each e_j, m of each. Infinite ones are allowed on the side of a known sign: [0, ∞].
        eighths: 8φ for each j.
        losses: κ_j/(b − a).
    """

    start: float
    end: float
    low: tuple[float, ...]
    high: tuple[float, ...]
    eighths: tuple[int, ...]
    losses: tuple[float, ...]


class Request(NamedTuple):
    """Backward paths of one problem, through the same windows.

    Attributes:
        problem: its number among those that are followed together.
        ends: p at the end of the windows, one path each, shape (k, d).
        windows: in the order of time, from s on.
        forward: whether the δ are wanted, too.
    """

    problem: int
    ends: Float[np.ndarray, "k d"]
    windows: Sequence[Window]
    forward: bool = False


class Answer(NamedTuple):
    """What the paths give.

    Attributes:
        least: lower bounds on pᵀδ at the end of the windows, over all controls that respect them; shape (k,).
        deltas: where asked for, the δ there that attains them in the relaxation, the gradient of each; shape (k, d).
    """

    least: Float[np.ndarray, " k"]
    deltas: Float[np.ndarray, "k d"]


def window(start: float, end: float, low: Sequence[float], high: Sequence[float]) -> Window:
    """A window with the best hull of each bow tie."""
    hulls = [_hull(below, above) for below, above in zip(low, high, strict=True)]
    eighths, losses = tuple(hull[0] for hull in hulls), tuple(hull[1] for hull in hulls)
    return Window(start, end, tuple(low), tuple(high), eighths, losses)


def looseness(given: Window, j: int) -> float:
    """κ_j/(b − a) at the best φ: hi|lo|/(hi + |lo|), and 0 where e_j has one sign."""
    low, high = given.low[j], given.high[j]
    return -low * high / (high - low) if low < 0.0 < high else 0.0


def _hull(low: float, high: float) -> tuple[int, float]:
    if low >= 0.0:
        return EIGHTHS, 0.0
    if high <= 0.0:
        return 0, 0.0
    phi = min(range(EIGHTHS + 1), key=lambda k: abs(high / (high - low) - k / EIGHTHS))
    return phi, max(high * (1.0 - phi / EIGHTHS), -low * phi / EIGHTHS)


class Paths:
    """Backward paths of several problems with as many parameters and deleted points each."""

    def __init__(self, tasks: Sequence[LinearTask]):
        self.tasks = tasks
        self._spectra = _Spectra(tasks)
        self.starts = np.stack([task.start for task in tasks])
        self.rows = np.stack([task.rows for task in tasks])
        self.spans = np.array([task.bounds[1] - task.bounds[0] for task in tasks])

    def __call__(self, requests: Sequence[Request]) -> list[Answer]:
        """Follow all paths of all requests.

        Raises:
            InputError: a path with too many arcs.
        """
        counts = [len(request.ends) for request in requests]
        owners = np.repeat([request.problem for request in requests], counts)
        ends = np.concatenate([request.ends for request in requests])
        given = [np.repeat(part, counts, axis=0) for part in self._packed(requests)]
        each = self.rows.shape[2] * max(self._spectra.grids.shape[1], self.rows.shape[2])
        share = max(1, AT_ONCE // each)
        parts = [
            self._follow(owners[k : k + share], ends[k : k + share], *(part[k : k + share] for part in given))
            for k in range(0, len(ends), share)
        ]
        least, deltas = (np.concatenate(column) for column in zip(*parts, strict=True))
        edges = np.cumsum(counts)[:-1]
        return [Answer(*pair) for pair in zip(np.split(least, edges), np.split(deltas, edges), strict=True)]

    def _packed(self, requests: Sequence[Request]) -> tuple[np.ndarray, ...]:
        """Lengths, 8φ, κ of all windows, shapes (n, w), (n, w, m), (n, w, m), how many, and `forward`, shape (n,)."""
        most, points = max(1, *(len(request.windows) for request in requests)), self.rows.shape[1]
        counts = np.array([len(request.windows) for request in requests])
        lengths = np.zeros((len(requests), most))
        eighths, losses = (
            np.zeros((len(requests), most, points), dtype=np.int64),
            np.zeros((len(requests), most, points)),
        )
        for k, request in enumerate(requests):
            if request.windows:
                starts, ends, _, _, phi, kappa = zip(*request.windows, strict=True)
                lengths[k, : counts[k]] = np.subtract(ends, starts)
                eighths[k, : counts[k]], losses[k, : counts[k]] = phi, kappa
        owners, forward = [request.problem for request in requests], np.array([one.forward for one in requests])
        return lengths, eighths, losses * self.spans[owners][:, None, None], counts, forward

    def _follow(
        self,
        owners: Int[np.ndarray, " n"],
        ends: Float[np.ndarray, "n d"],
        lengths: Float[np.ndarray, "n w"],
        eighths: Int[np.ndarray, "n w m"],
        losses: Float[np.ndarray, "n w m"],
        counts: Int[np.ndarray, " n"],
        forward: Bool[np.ndarray, " n"],
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n d"]]:
        """Backward through all windows, cut where some x_jᵀp changes its sign; forward again for the δ."""
        spectra, p, total = self._spectra, ends.copy(), np.zeros(len(ends))
        sides = np.where((self.rows[owners] @ p[:, :, None])[:, :, 0] < 0.0, -1, 1)
        at, left, legs = counts - 1, lengths[np.arange(len(ends)), counts - 1], []
        active = np.flatnonzero(counts > 0)
        while active.size:
            if len(legs) > MAX_ARCS:
                raise InputError(f"xᵀp changed its sign {MAX_ARCS} times; is the problem scaled sensibly?")
            share, side = eighths[active, at[active]], sides[active]
            key = spectra.find(owners[active], np.where(side > 0, share, EIGHTHS - share))
            rates, rows = spectra.rates[key], spectra.rows[key]
            costate = spectra.to_basis(key, p[active])
            duration, crossing = _first_crossing(spectra, key, rows * costate[:, None, :], side, left[active])
            decay, integral = np.exp(-rates * duration[:, None]), decay_integral(rates, duration[:, None])
            force = spectra.drift[key] - ((losses[active, at[active]] * side)[:, :, None] * rows).sum(axis=1)
            gathered = integral * force
            total[active] += (costate * gathered).sum(axis=1)
            p[active] = spectra.from_basis(key, decay * costate)
            both = forward[active]
            legs.append((active[both], key[both], decay[both], gathered[both]))
            left[active] -= duration
            crossed = (crossing >= 0) & (left[active] > 0.0)
            sides[active[crossed], crossing[crossed]] *= -1
            done = active[~crossed]
            at[done] -= 1
            left[done] = lengths[done, at[done]]
            active = active[at[active] >= 0]
        deltas = self.starts[owners]
        total += (p * deltas).sum(axis=1)
        for members, key, decay, gathered in reversed(legs) if forward.any() else ():
            moved = decay * spectra.to_basis(key, deltas[members]) + gathered
            deltas[members] = spectra.from_basis(key, moved)
        return total, deltas


class _Spectra:
    """H_α of all problems, for those α that have been asked for, as stacks.

    Attributes:
        rates, rows, drift: as in `Spectrum`, one row for each pair of a problem and an α.
        grids: times that resolve all sums of exponentials, from 0 to T − s, shape (k, n).
        decays: e^{−μt} there, shape (k, d, n).
    """

    def __init__(self, tasks: Sequence[LinearTask]):
        self._controls = tasks
        self._numbers: dict[tuple[int, ...], int] = {}
        self._found: list[Spectrum] = []
        self._grids: list[np.ndarray] = []
        d = len(tasks[0].rates)
        self._stacked = d < SECULAR
        """Larger matrices are multiplied one by one, without a copy."""
        self._vectors: Sequence[np.ndarray] | np.ndarray = []
        self.rates, self.drift, self.rows = np.empty((0, d)), np.empty((0, d)), np.empty((0, tasks[0].points, d))
        self.grids, self.decays = np.empty((0, 1)), np.empty((0, d, 1))

    def find(self, owners: Int[np.ndarray, " n"], eighths: Int[np.ndarray, "n m"]) -> Int[np.ndarray, " n"]:
        """Row numbers in the stacks of α = a + φ(b − a); what is new is computed."""
        pairs = zip(owners.tolist(), *eighths.T.tolist(), strict=True)
        numbers = np.array([self._numbers.setdefault(pair, len(self._numbers)) for pair in pairs])
        new = list(self._numbers)[len(self._found) :]
        for problem, *phi in new:
            task = self._controls[problem]
            low, high = task.bounds
            spectrum = task.spectrum(low + np.array(phi) / EIGHTHS * (high - low))
            self._found.append(spectrum)
            self._grids.append(resolving_grid(spectrum.rates, task.length))
        if new:
            self._stack()
        return numbers

    def _stack(self) -> None:
        found, d = self._found, self.rates.shape[1]
        self.rates, self.drift = (np.stack([getattr(one, name) for one in found]) for name in ("rates", "drift"))
        self.rows = np.stack([one.rows for one in found])
        self._vectors = [np.eye(d) if one.vectors is None else one.vectors for one in found]
        if self._stacked:
            self._vectors = np.stack(self._vectors)
        # The last time is repeated: cells without length contain nothing.
        most = max(len(grid) for grid in self._grids)
        self.grids = np.stack([np.pad(grid, (0, most - len(grid)), mode="edge") for grid in self._grids])
        self.decays = np.exp(-self.rates[:, :, None] * self.grids[:, None, :])

    def to_basis(self, key: Int[np.ndarray, " n"], vectors: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """Vᵀv, each with its own V."""
        if isinstance(self._vectors, np.ndarray):
            return (vectors[:, None, :] @ self._vectors[key])[:, 0]
        return self._each(key, vectors, np.transpose)

    def from_basis(self, key: Int[np.ndarray, " n"], coordinates: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """Vz, each with its own V."""
        if isinstance(self._vectors, np.ndarray):
            return (self._vectors[key] @ coordinates[:, :, None])[:, :, 0]
        return self._each(key, coordinates, np.asarray)

    def _each(
        self, key: Int[np.ndarray, " n"], vectors: Float[np.ndarray, "n d"], form: Callable[[np.ndarray], np.ndarray]
    ) -> Float[np.ndarray, "n d"]:
        """One product after another, so that the last digit does not depend on the company here either."""
        products = np.empty_like(vectors)
        for place, k in enumerate(key.tolist()):
            products[place] = form(self._vectors[k]) @ vectors[place]
        return products


def _first_crossing(
    spectra: _Spectra,
    key: Int[np.ndarray, " n"],
    coefficients: Float[np.ndarray, "n m d"],
    sides: Int[np.ndarray, "n m"],
    left: Float[np.ndarray, " n"],
) -> tuple[Float[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """When the first Σ_i c_i e^{−μ_i t} leaves its side, and which j; (left, −1) if none does.

    As `ExponentialSum.sign_changes`: a change between two points of the grid is bracketed, and so is an extremum
    between two points that reaches across zero. What is below the rounding of its own terms has no sign.
    """
    rates, grid, m = spectra.rates[key], spectra.grids[key], sides.shape[1]
    parts = np.concatenate([coefficients, -rates[:, None, :] * coefficients, np.abs(coefficients)], axis=1)
    table = parts @ spectra.decays[key]
    last = (parts * np.exp(-rates * left[:, None])[:, None, :]).sum(axis=2)
    # From the end of the window on, the end itself.
    table = np.where((grid < left[:, None])[:, None, :], table, last[:, :, None])
    times, side = np.minimum(grid, left[:, None]), sides[:, :, None]
    values, slopes, noise = side * table[:, :m], side * table[:, m : 2 * m], NOISE * table[:, 2 * m :]
    crossed = values < -noise
    crossed[:, :, 0] = False  # it may begin at a zero, on the side that is given
    cells = np.arange(1, grid.shape[1])
    first = np.where(crossed.any(axis=2), crossed.argmax(axis=2), grid.shape[1])
    zeros = np.full(sides.shape, np.inf)

    def refine(which: np.ndarray, j: np.ndarray, begin: np.ndarray, end: np.ndarray) -> None:
        """From the last of several to the first, so that this one stays."""
        c = coefficients[which, j]
        zeros[which, j] = _zero(c, rates[which], sides[which, j], begin, end)

    which, j = np.nonzero(first < grid.shape[1])
    cell = first[which, j]
    refine(which, j, times[which, cell - 1], times[which, cell])
    dips = (slopes[:, :, :-1] < 0.0) & (slopes[:, :, 1:] > 0.0) & (cells < first[:, :, None])
    # Where the two tangents meet well above zero, so does the curve over them.
    run = np.diff(times)[:, None, :]
    fall, rise = np.minimum(slopes[:, :, :-1], 0.0) * run, np.maximum(slopes[:, :, 1:], 0.0) * run
    lower = np.minimum(values[:, :, :-1] + fall, values[:, :, 1:] - rise)
    which, j, cell = (part[::-1] for part in np.nonzero(dips & (lower < 0.0)))
    if which.size:
        begin, end, c = times[which, cell], times[which, cell + 1], coefficients[which, j]
        turn = _zero(rates[which] * c, rates[which], sides[which, j], begin, end)
        reached = np.exp(-rates[which] * turn[:, None]) * c
        through = sides[which, j] * reached.sum(axis=1) < -NOISE * np.abs(reached).sum(axis=1)
        refine(which[through], j[through], begin[through], turn[through])
    crossing = zeros.argmin(axis=1)
    duration = zeros[np.arange(len(zeros)), crossing]
    found = duration < left
    return np.where(found, duration, left), np.where(found, crossing, -1)


def _zero(
    coefficients: Float[np.ndarray, "n d"],
    rates: Float[np.ndarray, "n d"],
    side: Int[np.ndarray, " n"],
    left: Float[np.ndarray, " n"],
    right: Float[np.ndarray, " n"],
) -> Float[np.ndarray, " n"]:
    """Where Σ c_i e^{−μ_i t} leaves its side between two times: Newton's method, kept in the bracket by halving."""
    low, high, t = left, right, 0.5 * (left + right)
    moving = np.full(len(t), True)
    for _ in range(HALVINGS):
        if not moving.any():
            break
        terms = np.exp(-rates * t[:, None]) * coefficients
        value = side * terms.sum(axis=1)
        slope = -side * (rates * terms).sum(axis=1)
        low, high = np.where(value > 0.0, t, low), np.where(value > 0.0, high, t)
        newton = t - value / np.where(slope == 0.0, np.nan, slope)
        then = np.where((low <= newton) & (newton <= high), newton, 0.5 * (low + high))
        # What has converged stays, however long the others take.
        t, moving = np.where(moving, then, t), moving & (np.abs(then - t) > ENOUGH * t)
    return t
