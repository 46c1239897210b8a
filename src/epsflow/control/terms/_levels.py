"""Levels of ε: those that an optimum can have, the arcs of a schedule, and ∫|ε| dt."""

import numpy as np
from jaxtyping import Float

from ...schedules import AbstractPiecewiseConstant, AbstractSchedule, Members


def levels_of(bounds: tuple[float, float], price: float) -> tuple[float, ...]:
    """The levels that an optimal ε can have where S decides: the bounds, and 0 between them where it saves a price."""
    low, high = bounds
    return (low, 0.0, high) if price > 0.0 and low < 0.0 < high else (low, high)


def thresholds(bounds: tuple[float, float], price: float) -> tuple[float, ...]:
    """The values of S at which the least S v + ρ|v| passes from one level to the next."""
    low, high = bounds
    if price == 0.0:
        return (0.0,)
    return (-price,) * (high > 0.0) + (price,) * (low < 0.0)


def best_level(
    switching: Float[np.ndarray, " k"], options: Float[np.ndarray, " levels"], price: float
) -> Float[np.ndarray, " k"]:
    """The v among the options with the least S v + ρ|v|."""
    return options[np.argmin(switching[:, None] * options + price * np.abs(options), axis=1)]


def arcs_of(
    schedule: AbstractPiecewiseConstant, s: float, T: float
) -> tuple[Float[np.ndarray, " knots"], Float[np.ndarray, "arcs *m"]]:
    """The knots of a schedule in [s, T], and its level on each of the intervals between them; none is empty."""
    jumps, levels = np.asarray(schedule.jump_ts), np.asarray(schedule.levels())
    edges = np.clip(np.concatenate([[s], jumps, [T]]), s, T)
    kept = np.diff(edges) > 0.0
    return np.append(edges[:-1][kept], T), levels[kept]


def graded_grid(length: float, rate: float) -> Float[np.ndarray, " n"]:
    """A grid on [0, length] that resolves e^{−rate·t} from both ends, and every slower exponential in between.

    Each half is sinh(κx)/sinh(κ), κ = log(1 + rate·length): geometric down to 1/rate.
    """
    kappa = np.log1p(abs(rate) * length)
    x = np.linspace(0.0, 1.0, 9 + int(np.ceil(3.0 * kappa)))
    half = 0.5 * (np.sinh(kappa * x) / np.sinh(kappa) if kappa > 1e-3 else x)
    return length * np.concatenate([half, 1.0 - half[-2::-1]])


PANELS = 2_000
"""Intervals at whose middle a smooth schedule is read, unless others are asked for."""


def effort_between(knots: Float[np.ndarray, " knots"], levels: Float[np.ndarray, "arcs *m"]) -> float:
    """∫|ε| dt over all arcs, summed over the components of ε."""
    return float(np.diff(knots) @ np.abs(levels).reshape(len(levels), -1).sum(axis=1))


def in_numbers(
    schedule: AbstractSchedule, s: float, T: float, panels: int = PANELS
) -> tuple[Float[np.ndarray, " knots"], Float[np.ndarray, "arcs *m"]]:
    """Knots in [s, T] and ε between them; a smooth schedule is read at the middle of so many intervals."""
    if isinstance(schedule, AbstractPiecewiseConstant):
        return arcs_of(schedule, s, T)
    jumps = np.clip(np.asarray(schedule.jump_ts), s, T)
    knots = np.unique(np.concatenate([np.linspace(s, T, panels + 1), jumps]))
    return knots, np.asarray(schedule(0.5 * (knots[:-1] + knots[1:])))


GAUSS, UNIFORM, HALVINGS = 8, 64, 40
"""For ∫|ε| dt between two jumps: nodes per panel, panels of one length, and how often the outermost are halved."""


def efforts(members: Members, s: float, T: float) -> Float[np.ndarray, " k"]:
    """∫|ε| dt over (s, T) of each member, summed over the components of ε.

    Exact where ε is constant between its jumps. Else Gauss's rule, on panels that shrink towards the jumps: to rounding
    for fractional powers; where ε changes its sign, to 1e-5 of the window.
    """
    outer = np.full((members.size, 1), s), np.full((members.size, 1), T)
    knots = np.concatenate([outer[0], np.clip(members.jump_ts, s, T), outer[1]], axis=1)
    if members.piecewise_constant:
        levels = np.abs(members.levels()).reshape(members.size, knots.shape[1] - 1, -1)
        return (np.diff(knots, axis=1) * levels.sum(axis=-1)).sum(axis=1)
    nodes, weights = np.polynomial.legendre.leggauss(GAUSS)
    first = 2.0 ** -np.arange(HALVINGS, 0.0, -1.0) / UNIFORM
    edges = np.concatenate([[0.0], first, np.linspace(0.0, 1.0, UNIFORM + 1)[1:-1], 1.0 - first[::-1], [1.0]])
    half = 0.5 * np.diff(edges)[:, None]
    fractions, weights = (edges[:-1, None] + half * (1.0 + nodes)).ravel(), (half * weights).ravel()
    total = np.zeros(members.size)
    for left, right in zip(knots[:, :-1].T, knots[:, 1:].T, strict=True):
        if (right > left).any():
            length = (right - left)[:, None]
            values = np.abs(members(left[:, None] + length * fractions)).reshape(members.size, len(fractions), -1)
            total += length[:, 0] * (weights @ values.sum(axis=-1).T)
    return total


def as_column(values: Float[np.ndarray, "N controls"]) -> Float[np.ndarray, "N *m"]:
    """A single column as a vector."""
    return values[:, 0] if values.shape[1] == 1 else values


def sampled(
    schedule: AbstractSchedule, knots: Float[np.ndarray, " knots"], columns: int
) -> Float[np.ndarray, "N controls"]:
    """Averages over each interval, so that a switch inside one leaves its mark."""
    inside = knots[:-1, None] + np.diff(knots)[:, None] * (np.arange(16) + 0.5) / 16
    values = np.asarray(schedule(inside)).reshape(*inside.shape, -1).mean(axis=1)
    return np.broadcast_to(values, (len(values), columns)).copy()


def interval_sums(
    weights: Float[np.ndarray, "N columns"], knots: Float[np.ndarray, " knots"]
) -> Float[np.ndarray, "intervals columns"]:
    """Sums over the steps of each interval between knots that are whole numbers, ascending."""
    return np.add.reduceat(weights, (knots[:-1] - knots[0]).astype(int))


def interval_means(
    weights: Float[np.ndarray, "N columns"], knots: Float[np.ndarray, " knots"]
) -> Float[np.ndarray, "intervals columns"]:
    """Means over the steps of each interval."""
    return interval_sums(weights, knots) / np.diff(knots)[:, None]


def step_weights(schedule: AbstractSchedule, s: float, T: float) -> Float[np.ndarray, "N columns"]:
    """ε of each step of gradient descent from s to T: the mean of ε(t) over (k, k + 1).

    Example:
        >>> ef.control.step_weights(ef.Step(2.5), s=1, T=5).ravel()
        array([1. , 0.5, 0. , 0. ])

    Exact where ε is constant, or a polynomial of degree 15, between its jumps.
    """
    return step_weights_of(Members.of([schedule]), s, T)[0]


def step_weights_of(members: Members, s: float, T: float) -> Float[np.ndarray, "k N columns"]:
    """`step_weights` of each member."""
    count = round(T - s)
    # A constant is read once, and keeps its last digit.
    nodes, weights = np.polynomial.legendre.leggauss(1 if members.piecewise_constant else GAUSS)
    whole = np.broadcast_to(np.arange(count + 1) + s, (members.size, count + 1))
    jumps = np.clip(members.jump_ts, s, T)
    edges = np.sort(np.concatenate([whole, jumps], axis=1), axis=1)
    half = 0.5 * np.diff(edges, axis=1)
    middle = 0.5 * (edges[:, 1:] + edges[:, :-1])
    times = middle[:, :, None] + half[:, :, None] * nodes
    values = members(times.reshape(members.size, -1)).reshape(*times.shape, -1)
    parts = half[:, :, None] * np.einsum("kpgc,g->kpc", values, weights)
    step = np.clip(np.floor(middle - s).astype(int), 0, count - 1)
    found = np.zeros((members.size, count, values.shape[-1]))
    np.add.at(found, (np.arange(members.size)[:, None], step), parts)
    return found
