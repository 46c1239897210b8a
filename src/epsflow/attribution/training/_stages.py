"""Stages of training: when a point's influence changes sign, and when influence as a whole peaks and ebbs."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.signal import find_peaks

from ..._core import InputError, Tabular, as_scalar, brief
from ._checkpoints import CheckpointInfluence
from ._density import InfluenceDensity
from ._windows import AbstractWindows

ITERATIONS = 40
"""Most times that the bracket of a sign change shrinks; the Illinois rule needs some ten."""


@dataclass(frozen=True, eq=False, repr=False)
class Stages(Tabular):
    """When influence changes.

    Example:
        >>> problem = ef.linear_regression(ef.Dataset(np.array([[1.0], [0.0]]), np.array([1.0, 0.0])), [1])
        >>> early = {"ts": np.linspace(0.1, 3.0, 30), "functional": lambda theta: theta[0]}
        >>> ef.stages(ef.checkpoint_influence(problem, ef.Constant(1.0), np.zeros(1), **early)).edges.size
        0

    Attributes:
        points: whose influence changes sign, shape (c,), in the order of time.
        functionals: on which value of φ, shape (c,); 0 for a scalar.
        times: when, shape (c,).
        errors: by how much that may be off: the error of the influence over its slope, or the gap between two times
            where nothing is known between them. Shape (c,).
        rising: whether from minus to plus, shape (c,).
        ts, sizes: root of the mean square over points and values of φ, shape (k,) each.
        peaks, peak_errors: when the size is largest: the transitions. Shape (p,) each.
        edges, edge_errors: when it is least between two peaks: where one stage ends and the next begins. Shape (e,).
    """

    points: Int[np.ndarray, " c"]
    functionals: Int[np.ndarray, " c"]
    times: Float[np.ndarray, " c"]
    errors: Float[np.ndarray, " c"]
    rising: Bool[np.ndarray, " c"]
    ts: Float[np.ndarray, " k"]
    sizes: Float[np.ndarray, " k"]
    peaks: Float[np.ndarray, " p"]
    peak_errors: Float[np.ndarray, " p"]
    edges: Float[np.ndarray, " e"]
    edge_errors: Float[np.ndarray, " e"]

    def _facts(self) -> dict[str, object]:
        return {"sign_changes": len(self.times), "peaks": self.peaks, "edges": self.edges}

    def _rows(self) -> list[dict[str, object]]:
        changes = zip(self.points, self.functionals, self.times, self.errors, self.rising, strict=True)
        return [
            {"point": j, "functional": q, "time": t, "error": off, "to": "plus" if up else "minus"}
            for j, q, t, off, up in changes
        ]


def stages(influence: InfluenceDensity | CheckpointInfluence, *, prominence: float = 0.1) -> Stages:
    """When the influence of single points changes sign, and when influence as a whole peaks and ebbs.

    Example:
        >>> problem = ef.linear_regression(ef.Dataset(np.array([[1.0], [0.0]]), np.array([1.0, 0.0])), [1])
        >>> early = {"ts": np.linspace(0.1, 3.0, 30), "functional": lambda theta: theta[0]}
        >>> influence = ef.checkpoint_influence(problem, ef.Constant(1.0), np.zeros(1), **early)
        >>> ef.stages(influence).peaks.round(3)  # θ = 1 − e^(−wt), so ∂θ/∂w = te^(−t)
        array([1.003])

    A sign counts where the influence exceeds its error. Two changes between consecutive `ts` are not seen: ask for as
    many times as the answer needs. Sign changes of a density are refined between its times (not of discrete training);
    peaks and edges are vertices of parabolas through three neighbours, whose distance is their error.

    Args:
        influence: from `influence_density` or `checkpoint_influence`, at three times or more.
        prominence: by what share of the largest size a peak must stand out, and an edge ebb.

    Raises:
        InputError: fewer than three times, another object.

    Source: for stages of influence, Lee et al., "Influence dynamics and stagewise data attribution" (2025).
    """
    if not isinstance(influence, InfluenceDensity | CheckpointInfluence):
        raise InputError(f"influence is {brief(influence)}; pass an InfluenceDensity or a CheckpointInfluence.")
    share = as_scalar(prominence, "prominence")
    ts = influence.ts
    if len(ts) < 3:
        raise InputError(f"the influence is known at {len(ts)} times; changes need at least three.")
    values = influence.values.reshape(*influence.values.shape[:2], -1)
    noise = 0.0 if np.isnan(influence.error) else influence.error
    found = _sign_changes(values, noise)
    windows = influence.windows if isinstance(influence, InfluenceDensity) else None
    times, errors = _refined(ts, values, found, noise, windows)
    order = np.argsort(times, kind="stable")
    sizes = np.sqrt(np.square(values).mean(axis=(1, 2)))
    peaks, peak_errors = _vertices(ts, sizes, share * sizes.max())
    edges, edge_errors = _vertices(ts, -sizes, share * sizes.max())
    between = (edges > peaks.min(initial=np.inf)) & (edges < peaks.max(initial=-np.inf))
    return Stages(
        points=found.points[order],
        functionals=found.functionals[order],
        times=times[order],
        errors=errors[order],
        rising=found.rising[order],
        ts=ts,
        sizes=sizes,
        peaks=peaks,
        peak_errors=peak_errors,
        edges=edges[between],
        edge_errors=edge_errors[between],
    )


@dataclass(frozen=True, eq=False)
class _Changes:
    """Sign changes between two of the times, whose indices are `before` and `after`."""

    points: Int[np.ndarray, " c"]
    functionals: Int[np.ndarray, " c"]
    before: Int[np.ndarray, " c"]
    after: Int[np.ndarray, " c"]
    rising: Bool[np.ndarray, " c"]


def _sign_changes(values: Float[np.ndarray, "k n q"], noise: float) -> _Changes:
    signs = np.where(np.abs(values) > noise, np.sign(values), 0.0).astype(int)
    last, since, rows = signs[0], np.zeros(signs.shape[1:], int), []
    for index in range(1, len(signs)):
        here = signs[index]
        for point, q in np.argwhere(last * here < 0):
            rows.append((point, q, since[point, q], index, here[point, q] > 0))
        since = np.where(here != 0, index, since)
        last = np.where(here != 0, here, last)
    columns = np.array(rows, int).reshape(-1, 5).T
    points, functionals, before, after, rising = columns
    return _Changes(points, functionals, before, after, rising.astype(bool))


def _refined(
    ts: np.ndarray, values: np.ndarray, found: _Changes, noise: float, windows: AbstractWindows | None
) -> tuple[Float[np.ndarray, " c"], Float[np.ndarray, " c"]]:
    """Zeros by regula falsi with the Illinois rule, all side by side; and their errors."""
    pick = found.points, found.functionals
    left, right = ts[found.before], ts[found.after]
    low, high = values[found.before, *pick], values[found.after, *pick]
    slope = np.abs((high - low) / np.where(right > left, right - left, 1.0)) if len(left) else left
    zero = left - low * (right - left) / np.where(high == low, 1.0, high - low)
    if windows is None or not len(left) or windows.at(ts[:1]) is None:
        return zero, np.maximum(zero - left, right - zero)
    kept = np.zeros(len(left), int)
    for _ in range(ITERATIONS):
        here = _evaluated(windows, zero, pick)
        slope = np.abs((high - low) / (right - left))
        done = (np.abs(here) <= noise) | (right - left <= 4e-16 * np.abs(right))
        if done.all():
            break
        same = np.sign(here) == np.sign(low)
        # Illinois: an end that stays twice counts half, so that both come nearer.
        high = np.where(same & (kept == 1), 0.5 * high, high)
        low = np.where(~same & (kept == -1), 0.5 * low, low)
        left, low = np.where(same & ~done, zero, left), np.where(same & ~done, here, low)
        right, high = np.where(~same & ~done, zero, right), np.where(~same & ~done, here, high)
        kept = np.where(same, 1, -1)
        zero = np.where(done, zero, left - low * (right - left) / (high - low))
    residual = np.maximum(np.abs(_evaluated(windows, zero, pick)), noise)
    return zero, np.minimum(2.0 * residual / slope, ts[found.after] - ts[found.before])


def _evaluated(windows: AbstractWindows, times: np.ndarray, pick: Any) -> Float[np.ndarray, " c"]:
    """K of one point each, at one time each."""
    order = np.argsort(times, kind="stable")
    values = windows.at(times[order])
    assert values is not None  # the caller's business
    found = np.empty(len(times))
    found[order] = values[np.arange(len(times)), pick[0][order], pick[1][order]]
    return found


def _vertices(
    ts: Float[np.ndarray, " k"], sizes: Float[np.ndarray, " k"], prominence: float
) -> tuple[Float[np.ndarray, " p"], Float[np.ndarray, " p"]]:
    """Where the sizes peak inside, by parabolas, and how far the neighbours are."""
    at, _ = find_peaks(sizes, prominence=max(prominence, np.finfo(np.float64).tiny))
    before, after = ts[at] - ts[at - 1], ts[at + 1] - ts[at]
    rise, fall = (sizes[at] - sizes[at - 1]) / before, (sizes[at] - sizes[at + 1]) / after
    shift = 0.5 * (rise * after - fall * before) / np.maximum(rise + fall, np.finfo(np.float64).tiny)
    return ts[at] + shift, np.maximum(before, after)
