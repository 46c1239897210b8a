"""A lower bound by a quadratic function of the state: linear regression, one ε for all deleted points.

With G = Σ x_j x_jᵀ and h = Σ r_j x_j the flow is δ̇ = −(Λ + uG)δ + f + uh: bilinear in one control u, and no convex
problem. Let u*, δ*, p be a piecewise-constant control, its flow and its costate, y = δ − δ*, v = Gδ* − h, S = −pᵀv, and

    V(t, y) = c(t) + p(t)ᵀy + ½ yᵀP(t)y,    P(T) = LᵀL,  c(T) = the cost of u*,
    Ṗ = PH_{u*} + H_{u*}P + N,   ċ = r − ρ|u*|,   N ≽ 0,  r ≥ 0.

Along any control u, with Δ = u − u* and q = Gp + Pv,

    dV/dt + ρ|u| = r + ΔS + ρ(|u| − |u*|) − Δ qᵀy + ½ yᵀ(N − Δ(PG + GP))y.

If that is never negative, then V(s, 0) = c(s) = (what u* costs) − ∫r dt is a bound on what any control costs: u* is
optimal up to ∫r. It is piecewise linear in u, so that u ∈ {a, b}, and 0 where effort has a price, decide. Since no
control brings y farther than some Y(t), it is enough that for some m ≥ 0

    [ 2(r + ΔS + ρ(|u| − |u*|)) − mY²        −Δqᵀ          ]
    [ −Δq                             N − Δ(PG + GP) + mI  ]  ≽  0    for each of these u at every t.

N is constant between the times of a mesh and as small as it may be there. The matrix is at least the chord between two
of these times less (h²/8) max‖second derivative‖, which sums of exponentials bound; so it is looked at on the mesh
only. See `docs/theory-control.md`.
"""

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..._core import decay_integral
from ..linear._path import LinearPath
from ..terms._deadline import UNLIMITED, Deadline
from ..terms._levels import levels_of
from ._inequality import Interval, Place, Rival, Weight, lead

MARGINS = (1e-4, 1e-3, 1e-2, 3e-2, 1e-1, 3e-1), (1e-5, 1e-6)
"""Margins r of the largest |S|, tried until one holds; and, where one holds, smaller ones. What is lost is ∫max(0,
r − |ΔS|), of second order in r."""

ENOUGH = 2e-7
"""Loss, relative to the cost, at which no smaller margin is tried."""

MOST_STEPS, LARGEST = 3_000, 1e8
"""At which there is no bound: times of the mesh in all, and |P| in units of what the flow alone makes of LᵀL."""

LEAST_STEP, OF_MARGIN = 1e-6, 1e-3
"""Likewise: length of a step relative to T − s, and that in units of a small margin. Beside a switch S is of the order
of a margin for a time of that order, and a tenth of it is one step; P leaves all bounds by ever shorter ones."""

MOST_PARAMETERS = 128
"""Parameters beyond which some hundred eigendecompositions take seconds."""

SAMPLES = 64
"""Times on each arc at which Y and the weights of N are kept."""

EVEN = 0.05
"""Weight of all directions beside those that a change of u displaces δ in."""

FLOOR = 1e-2
"""What a change of u costs at least, in these weights, in units of the largest |ΔS|."""

SHORTER, LONGER = 0.6, 1.4
"""Of the next step, where one was too long, and where it was not."""


class QuadraticBound(NamedTuple):
    """What no control with one ε for all deleted points undercuts.

    Attributes:
        value: of the cost and ρ∫|u| dt; −∞ where no V was found.
        loss: what u* costs more.
        steps: times of the mesh.
    """

    value: float
    loss: float
    steps: int


def quadratic_bound(path: LinearPath, deadline: Deadline = UNLIMITED) -> QuadraticBound:
    """The best bound from V around a control, at the margins of `MARGINS`.

    Args:
        path: flow and costate of a piecewise-constant control with one weight for all points, at the price of its task.
        deadline: when to stop.
    """
    task = path.task
    spent = float(np.diff(path.knots) @ np.abs(path.levels))
    cost = task.form.value(path.deltas[-1]) + task.price * spent
    best = QuadraticBound(-np.inf, np.inf, 0)
    if not (cost > 0.0 and np.isfinite(cost)) or len(task.rates) > MOST_PARAMETERS:
        return best
    around = _Around.of(path, cost)
    larger, smaller, left = *MARGINS, MOST_STEPS
    for margin in larger:
        best = around.bound(margin, left, deadline)
        left -= best.steps
        if best.loss < np.inf or deadline.passed:
            break
    for margin in smaller:
        if not ENOUGH * cost < best.loss < np.inf or margin > larger[0] or deadline.passed:
            break
        found = around.bound(margin, left, deadline)
        left -= found.steps
        best = found if found.loss < best.loss else best
    return best


class _Way(NamedTuple):
    """What is kept of the way of u*, in the order of time.

    Attributes:
        times: from s to T, shape (n,).
        radii: Y, no control brings y farther until then.
        spreads: ∫ Φ v vᵀ Φᵀ/|ΔS| until then, in the eigenbasis of H_{-D}: in which directions a change of u displaces
            δ, and how cheap that is; shape (n, d, d).
    """

    times: Float[np.ndarray, " n"]
    radii: Float[np.ndarray, " n"]
    spreads: Float[np.ndarray, "n d d"]


@dataclass(frozen=True, eq=False)
class _Arc:
    """An arc of u*, in the eigenbasis of its H and in units in which the cost of u* is one.

    Attributes:
        vectors: V, from that eigenbasis to the one of H_{-D}.
        rates, drift: μ, and what drives δ.
        gram, kick: G and h.
        begin, end: when.
        start: δ* at the beginning.
        last: p at the end.
        rivals: the levels that u might have in place of u*.
    """

    vectors: Float[np.ndarray, "d d"]
    rates: Float[np.ndarray, " d"]
    drift: Float[np.ndarray, " d"]
    gram: Float[np.ndarray, "d d"]
    kick: Float[np.ndarray, " d"]
    begin: float
    end: float
    start: Float[np.ndarray, " d"]
    last: Float[np.ndarray, " d"]
    rivals: tuple[Rival, ...]

    def place(self, time: float) -> Place:
        """Where u* is then."""
        decay = np.exp(-self.rates * (time - self.begin))
        state = decay * self.start + decay_integral(self.rates, np.asarray(time - self.begin)) * self.drift
        costate = np.exp(-self.rates * (self.end - time)) * self.last
        return Place(time, self.gram @ state - self.kick, costate, np.abs(self.drift - self.rates * state))


@dataclass(frozen=True, eq=False)
class _Around:
    """All that does not depend on the margin.

    Attributes:
        arcs: of u*.
        cost: what u* costs.
        form: P(T).
        top: the largest |ΔS + ρ(|u| − |u*|)|.
        way: see `_Way`.
        window: s and T.
    """

    arcs: tuple[_Arc, ...]
    cost: float
    form: Float[np.ndarray, "d d"]
    top: float
    way: _Way
    window: tuple[float, float]

    @staticmethod
    def of(path: LinearPath, cost: float) -> "_Around":
        """Around a control that costs `cost`."""
        task = path.task
        size = np.sqrt(2.0 * cost) / task.form.norm
        arcs = tuple(_arc(path, k, size, cost) for k in range(len(path.levels)))
        places = [(arc, [arc.place(t) for t in np.linspace(arc.begin, arc.end, SAMPLES + 1)]) for arc in arcs]
        top = max(abs(lead(rival, place)) for arc, row in places for place in row for rival in arc.rivals)
        form = np.stack([task.form.gradient(row) for row in np.eye(len(task.rates))]) * (size**2 / cost)
        slowest = np.min([task.spectrum(level).rates.min() for level in task.bounds], keepdims=True)
        return _Around(arcs, cost, form, top, _way(places, slowest, top), (task.s, task.T))

    def bound(self, margin: float, most: int, deadline: Deadline) -> QuadraticBound:
        """V backward from T in `most` steps, at a margin in units of `top`; no bound where P leaves all bounds."""
        p, free, loss, steps = self.form, self.form, 0.0, 0
        shortest = self._length * min(LEAST_STEP, OF_MARGIN * margin)
        for arc in reversed(self.arcs):
            p, free = (arc.vectors.T @ matrix @ arc.vectors for matrix in (p, free))
            after, step = arc.place(arc.end), (arc.end - arc.begin) / 8.0
            while after.time > arc.begin:
                steps += 1
                unit = 1.0 / np.sqrt(np.linalg.norm(free, 2))
                before = arc.place(arc.begin if after.time - step <= arc.begin else after.time - step)
                interval = self._interval(arc, before, after, margin, unit)
                n = interval.solve(p * unit**2, self._weight(arc, after.time))
                if steps >= most or step < shortest or deadline.passed:
                    return QuadraticBound(-np.inf, np.inf, steps)
                if n is None:
                    step = SHORTER * interval.length
                    continue
                p, free = interval.retreat(p, n / unit**2), interval.retreat(free, 0.0 * n)
                loss, after, step = loss + interval.loss * interval.length, before, LONGER * interval.length
                if not np.abs(p).max() <= LARGEST * np.abs(free).max():
                    return QuadraticBound(-np.inf, np.inf, steps)
            p, free = (arc.vectors @ matrix @ arc.vectors.T for matrix in (p, free))
        return QuadraticBound(self.cost * (1.0 - loss), self.cost * loss, steps)

    @property
    def _length(self) -> float:
        return self.window[1] - self.window[0]

    def _interval(self, arc: _Arc, before: Place, after: Place, margin: float, unit: float) -> Interval:
        radius = float(self.way.radii[np.searchsorted(self.way.times, after.time)]) / unit
        given = arc.rates, arc.gram, before.measured(unit), after.measured(unit), arc.rivals
        return Interval(*given, margin=margin * self.top, radius=radius, window=self._length)

    def _weight(self, arc: _Arc, time: float) -> Weight:
        spread = arc.vectors.T @ self.way.spreads[np.searchsorted(self.way.times, time)] @ arc.vectors
        size, even = float(np.trace(spread)), np.eye(len(spread))
        return Weight.of(spread / size + EVEN / len(even) * even if size > 0.0 else even)


def _arc(path: LinearPath, k: int, size: float, cost: float) -> _Arc:
    task, spectrum, level = path.task, path.spectra[k], float(path.levels[k])
    vectors = np.eye(len(task.rates)) if spectrum.vectors is None else spectrum.vectors
    options = (option for option in levels_of(task.bounds, task.price) if option != level)
    return _Arc(
        vectors=vectors,
        rates=spectrum.rates,
        drift=spectrum.drift / size,
        gram=spectrum.rows.T @ spectrum.rows,
        kick=spectrum.rows.T @ task.residuals / size,
        begin=float(path.knots[k]),
        end=float(path.knots[k + 1]),
        start=path.starts[k] / size,
        last=path.ends[k] * (size / cost),
        rivals=tuple(Rival(option - level, task.price * (abs(option) - abs(level)) / cost) for option in options),
    )


def _way(places: list[tuple[_Arc, list[Place]]], slowest: Float[np.ndarray, " 1"], top: float) -> _Way:
    """Forward along u*: y begins at zero and is pushed by −Δv, and H_u contracts by `slowest` at least."""
    d = len(places[0][0].rates)
    times, radii, spreads = [places[0][0].begin], [0.0], [np.zeros((d, d))]
    for arc, row in places:
        turn, change = arc.vectors, max(abs(rival.change) for rival in arc.rivals)
        for before, after in itertools.pairwise(row):
            h = after.time - before.time
            speed = np.linalg.norm(np.abs(arc.gram) @ np.maximum(before.speed, after.speed))
            fastest = max(np.linalg.norm(before.pull), np.linalg.norm(after.pull)) + 0.5 * h * speed
            pushed = np.exp(-slowest * h) * radii[-1] + change * fastest * decay_integral(slowest, np.asarray(h))
            radii.append(max(radii[-1], float(pushed[0])))
            carry = (turn * np.exp(-arc.rates * h)) @ turn.T
            v, price = turn @ (0.5 * (before.pull + after.pull)), FLOOR * top + abs(lead(arc.rivals[0], after))
            spreads.append(carry @ (spreads[-1] + h / price * np.outer(v, v)) @ carry)
            times.append(after.time)
    return _Way(np.array(times), np.array(radii), np.array(spreads))
