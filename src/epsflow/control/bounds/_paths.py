"""Lower bounds over all controls under which the residuals keep within given bounds, stretch by stretch of time.

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

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from ..._core import InputError, decay_integral
from ..linear._exponentials import LARGE, NOISE, Table, products, resolving_grid, sign_changes
from ..linear._pencil import Spectrum
from ..linear._task import LinearTask

MAX_ARCS = 2_000
EIGHTHS = 8
AT_ONCE = 4_000_000
"""Numbers in the largest array of a pass: paths beyond that wait for the next one."""


class Stretch(NamedTuple):
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
    """Backward paths of one problem, through the same stretches of time.

    Attributes:
        problem: its number among those that are followed together.
        ends: p at the end, one path each, shape (k, d).
        stretches: in the order of time, from s on.
        forward: whether the δ are wanted, too.
    """

    problem: int
    ends: Float[np.ndarray, "k d"]
    stretches: Sequence[Stretch]
    forward: bool = False


class Answer(NamedTuple):
    """What the paths give.

    Attributes:
        least: lower bounds on pᵀδ at the end, over all controls that respect them; shape (k,).
        deltas: where asked for, the δ there that attains them in the relaxation, the gradient of each; shape (k, d).
    """

    least: Float[np.ndarray, " k"]
    deltas: Float[np.ndarray, "k d"]


class PathArc(NamedTuple):
    """One arc of a backward path, in time elapsed since its start.

    Attributes:
        start, duration: elapsed time from the path's beginning, and the arc's own length.
        level: α, shape (m,).
        spectrum: H_α.
        costate: Vᵀp where the arc begins, shape (d,).
        collected: ∫ (pᵀf + Σ α_j r_j x_jᵀp − κ_j|x_jᵀp|) over the arcs before.
    """

    start: float
    duration: float
    level: Float[np.ndarray, " m"]
    spectrum: Spectrum
    costate: Float[np.ndarray, " d"]
    collected: float


class Trace(NamedTuple):
    """One path in full.

    Attributes:
        least: the lower bound on pᵀδ at the end.
        delta: the δ there that attains it in the relaxation, shape (d,).
        largest: of |δ_k| along it.
        arcs: of the path, in its own order: backward in time.
    """

    least: float
    delta: Float[np.ndarray, " d"]
    largest: float
    arcs: tuple[PathArc, ...]


class _Leg(NamedTuple):
    """One arc of each of several paths: `PathArc` with a first axis, for the paths `members`.

    `decay` and `gathered` carry Vᵀδ through it, which is decay·Vᵀδ + gathered at its end.
    """

    members: Int[np.ndarray, " k"]
    key: Int[np.ndarray, " k"]
    start: Float[np.ndarray, " k"]
    duration: Float[np.ndarray, " k"]
    costate: Float[np.ndarray, "k d"]
    collected: Float[np.ndarray, " k"]
    decay: Float[np.ndarray, "k d"]
    gathered: Float[np.ndarray, "k d"]

    def take(self, which: Bool[np.ndarray, " k"]) -> "_Leg":
        return self if which.all() else _Leg(*(part[which] for part in self))


def one_sign(task: LinearTask, signs: Int[np.ndarray, " m"]) -> Stretch:
    """The whole window with one sign for each residual."""
    hulls = tuple(EIGHTHS if sign > 0 else 0 for sign in signs.tolist())
    low, high = (tuple(np.where(signs > 0, *pair).tolist()) for pair in ((0.0, -np.inf), (np.inf, 0.0)))
    return Stretch(task.s, task.T, low, high, hulls, (0.0,) * len(hulls))


def stretch(start: float, end: float, low: Sequence[float], high: Sequence[float]) -> Stretch:
    """A stretch of time with the best hull of each bow tie."""
    hulls = [_hull(below, above) for below, above in zip(low, high, strict=True)]
    eighths, losses = tuple(hull[0] for hull in hulls), tuple(hull[1] for hull in hulls)
    return Stretch(start, end, tuple(low), tuple(high), eighths, losses)


def looseness(given: Stretch, j: int) -> float:
    """κ_j/(b − a) at the best φ: hi|lo|/(hi + |lo|), and 0 where e_j has one sign."""
    low, high = given.low[j], given.high[j]
    return -low * high / (high - low) if low < 0.0 < high else 0.0


def _hull(low: float, high: float) -> tuple[int, float]:
    if low >= 0.0:
        return EIGHTHS, 0.0
    if high <= 0.0:
        return 0, 0.0
    phi = math.ceil(EIGHTHS * high / (high - low) - 0.5)  # the nearest
    return phi, max(high * (1.0 - phi / EIGHTHS), -low * phi / EIGHTHS)


class Paths:
    """Backward paths of several problems with as many parameters and deleted points each."""

    def __init__(self, tasks: Sequence[LinearTask]):
        self.tasks = tasks
        self._spectra = _Spectra(tasks)
        self.starts = np.stack([task.start for task in tasks])
        self.rates, self.rows = (np.stack([getattr(task, name) for task in tasks]) for name in ("rates", "rows"))
        self.spans = np.array([task.bounds[1] - task.bounds[0] for task in tasks])

    def __call__(self, requests: Sequence[Request]) -> list[Answer]:
        """Follow all paths of all requests.

        Raises:
            InputError: a path with too many arcs.
        """
        asked = self._packed(requests)
        each = self.rows.shape[2] * max(self._spectra.grids.shape[1], self.rows.shape[2])
        share = max(1, AT_ONCE // each)
        parts = []
        for k in range(0, len(asked[0]), share):
            owners, *given = (part[k : k + share] for part in asked)
            least, legs = self._backward(owners, *given)
            parts.append((least, self._forward(owners, legs)[0]))
        least, deltas = (np.concatenate(column) for column in zip(*parts, strict=True))
        edges = np.cumsum([len(request.ends) for request in requests])[:-1]
        return [Answer(*pair) for pair in zip(np.split(least, edges), np.split(deltas, edges), strict=True)]

    def trace(self, request: Request) -> tuple[Trace, ...]:
        """Each of its paths in full.

        Raises:
            InputError: a path with too many arcs.
        """
        owners, *given = self._packed([request._replace(forward=True)])
        least, legs = self._backward(owners, *given)
        deltas, largest = self._forward(owners, legs)
        arcs: list[list[PathArc]] = [[] for _ in owners]
        for leg in legs:
            for member, key, start, duration, costate, collected in zip(*leg[:6], strict=True):
                level, spectrum = self._spectra.at(int(key))
                arcs[member].append(PathArc(float(start), float(duration), level, spectrum, costate, float(collected)))
        return tuple(Trace(float(least[k]), deltas[k], float(largest[k]), tuple(row)) for k, row in enumerate(arcs))

    def _packed(self, requests: Sequence[Request]) -> tuple[np.ndarray, ...]:
        """The arguments of `_backward`, path by path."""
        most, points = max(1, *(len(request.stretches) for request in requests), 1), self.rows.shape[1]
        counts = np.array([len(request.stretches) for request in requests])
        lengths, losses = np.zeros((len(requests), most)), np.zeros((len(requests), most, points))
        eighths = np.zeros((len(requests), most, points), dtype=np.int64)
        for k, request in enumerate(requests):
            if request.stretches:
                starts, ends, _, _, phi, kappa = zip(*request.stretches, strict=True)
                lengths[k, : counts[k]] = np.subtract(ends, starts)
                eighths[k, : counts[k]], losses[k, : counts[k]] = phi, kappa
        owners = np.array([request.problem for request in requests])
        losses *= self.spans[owners][:, None, None]
        kept = np.array([request.forward for request in requests])
        paths = [len(request.ends) for request in requests]
        owners, *rest = (np.repeat(part, paths, axis=0) for part in (owners, lengths, eighths, losses, counts, kept))
        return owners, np.concatenate([request.ends for request in requests]), *rest

    def _backward(
        self,
        owners: Int[np.ndarray, " n"],
        ends: Float[np.ndarray, "n d"],
        lengths: Float[np.ndarray, "n w"],
        eighths: Int[np.ndarray, "n w m"],
        losses: Float[np.ndarray, "n w m"],
        counts: Int[np.ndarray, " n"],
        kept: Bool[np.ndarray, " n"],
    ) -> tuple[Float[np.ndarray, " n"], list[_Leg]]:
        """Backward through all stretches, cut where some x_jᵀp changes its sign; with the arcs of the `kept` paths."""
        spectra, p, total, elapsed = self._spectra, ends.copy(), np.zeros(len(ends)), np.zeros(len(ends))
        sides = self._sides(owners, ends)
        at, rest, legs, passed = counts - 1, lengths[np.arange(len(ends)), counts - 1], [], 0
        active = np.flatnonzero(counts > 0)
        while active.size:
            share, side = eighths[active, at[active]], sides[active]
            key = spectra.find(owners[active], np.where(side > 0, share, EIGHTHS - share))
            rates, rows = spectra.rates[key], spectra.rows[key]
            costate = spectra.to_basis(key, p[active])
            table = Table(rates, spectra.grids[key], spectra.decays, rest[active], key)
            zeros = sign_changes(table, rows * costate[:, None, :], side, first=True).first
            crossing = zeros.argmin(axis=1)
            zero = zeros[np.arange(len(zeros)), crossing]
            duration = np.minimum(zero, rest[active])
            decay, integral = np.exp(-rates * duration[:, None]), decay_integral(rates, duration[:, None])
            force = spectra.drift[key] - ((losses[active, at[active]] * side)[:, :, None] * rows).sum(axis=1)
            gathered = integral * force
            leg = _Leg(active, key, elapsed[active], duration, costate, total[active], decay, gathered)
            if kept[active].any():
                legs.append(leg.take(kept[active]))
            total[active] += (costate * gathered).sum(axis=1)
            p[active] = spectra.from_basis(key, decay * costate)
            elapsed[active] += duration
            crossed = zero < rest[active]
            rest[active] -= duration
            crossed &= rest[active] > 0.0
            sides[active[crossed], crossing[crossed]] *= -1
            done = active[~crossed]
            at[done] -= 1
            rest[done] = lengths[done, at[done]]
            active, passed = active[at[active] >= 0], passed + 1
            if passed > MAX_ARCS:
                raise InputError(
                    f"xᵀp changed its sign {MAX_ARCS} times in one window; no bound can be computed. "
                    "Is the problem scaled so that eigenvalues × time is moderate?"
                )
        return total + (p * self.starts[owners]).sum(axis=1), legs

    def _sides(self, owners: Int[np.ndarray, " n"], ends: Float[np.ndarray, "n d"]) -> Int[np.ndarray, "n m"]:
        """The sign of each x_jᵀp at once before the end: where it is zero there, that of −x_jᵀΛp."""
        terms = self.rows[owners] * ends[:, None, :]
        value = terms.sum(axis=2)
        still = np.abs(value) <= NOISE * np.abs(terms).sum(axis=2)
        if still.any():
            value = np.where(still, -(terms * self.rates[owners][:, None, :]).sum(axis=2), value)
        return np.where(value < 0.0, -1, 1)

    def _forward(
        self, owners: Int[np.ndarray, " n"], legs: list[_Leg]
    ) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, " n"]]:
        """δ after the legs, and the largest |δ_k| at their ends."""
        deltas = self.starts[owners]
        largest = np.abs(deltas).max(axis=1)
        for leg in reversed(legs):
            moved = leg.decay * self._spectra.to_basis(leg.key, deltas[leg.members]) + leg.gathered
            deltas[leg.members] = self._spectra.from_basis(leg.key, moved)
            largest[leg.members] = np.maximum(largest[leg.members], np.abs(deltas[leg.members]).max(axis=1))
        return deltas, largest


class _Spectra:
    """H_α of all problems, for those α that have been asked for, as stacks.

    Attributes:
        rates, rows, drift: as in `Spectrum`, one row for each pair of a problem and an α.
        grids: times that resolve all sums of exponentials, from 0 to T − s, shape (k, n).
        decays: e^{−μt} there, shape (k, d, n).
    """

    def __init__(self, tasks: Sequence[LinearTask]):
        self._tasks = tasks
        self._numbers: dict[tuple[int, ...], int] = {}
        self._found: list[Spectrum] = []
        self._grids: list[np.ndarray] = []
        d = len(tasks[0].rates)
        self._vectors: Sequence[np.ndarray] | np.ndarray = []
        self._transposed: Sequence[np.ndarray] | np.ndarray = []
        self.rates, self.drift, self.rows = np.empty((0, d)), np.empty((0, d)), np.empty((0, tasks[0].points, d))
        self.grids, self.decays = np.empty((0, 1)), np.empty((0, d, 1))

    def find(self, owners: Int[np.ndarray, " n"], eighths: Int[np.ndarray, "n m"]) -> Int[np.ndarray, " n"]:
        """Row numbers in the stacks of α = a + φ(b − a); what is new is computed."""
        pairs = zip(owners.tolist(), *eighths.T.tolist(), strict=True)
        numbers = np.array([self._numbers.setdefault(pair, len(self._numbers)) for pair in pairs])
        new = list(self._numbers)[len(self._found) :]
        for problem, *phi in new:
            task = self._tasks[problem]
            spectrum = task.spectrum(_level(task, phi))
            self._found.append(spectrum)
            self._grids.append(resolving_grid(spectrum.rates, task.length))
        if new:
            self._stack()
        return numbers

    def at(self, key: int) -> tuple[Float[np.ndarray, " m"], Spectrum]:
        """α of a row of the stacks, and H_α."""
        problem, *phi = list(self._numbers)[key]
        return _level(self._tasks[problem], phi), self._found[key]

    def _stack(self) -> None:
        found, d = self._found, self.rates.shape[1]
        self.rates, self.drift = (np.stack([getattr(one, name) for one in found]) for name in ("rates", "drift"))
        self.rows = np.stack([one.rows for one in found])
        self._vectors = [np.eye(d) if one.vectors is None else one.vectors for one in found]
        if d < LARGE:
            self._vectors = np.stack(self._vectors)
            self._transposed = np.swapaxes(self._vectors, 1, 2)
        else:
            self._transposed = [each.T for each in self._vectors]
        # The last time is repeated: cells without length contain nothing.
        most = max(len(grid) for grid in self._grids)
        self.grids = np.stack([np.pad(grid, (0, most - len(grid)), mode="edge") for grid in self._grids])
        self.decays = np.exp(-self.rates[:, :, None] * self.grids[:, None, :])

    def to_basis(self, key: Int[np.ndarray, " n"], vectors: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """Vᵀv, each with its own V."""
        return products(vectors[:, None], self._vectors, key)[:, 0]

    def from_basis(self, key: Int[np.ndarray, " n"], coordinates: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """Vz, each with its own V."""
        return products(coordinates[:, None], self._transposed, key)[:, 0]


def _level(task: LinearTask, eighths: Sequence[int]) -> Float[np.ndarray, " m"]:
    """α = a + φ(b − a); the bounds themselves without rounding."""
    (low, high), share = task.bounds, np.array(eighths) / EIGHTHS
    return np.where(share == 1.0, high, low + share * (high - low))
