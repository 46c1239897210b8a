"""The influence density of discrete training, exactly: the update rule differentiated backward through checkpoints.

The adjoint of one step is that of `flow/_training_adjoint.py`, for all outputs at once. States are kept at √N
checkpoints, and those between two of them are made again.
"""

import itertools
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, Key

from ..._core import (
    RESULTS,
    SUCCESS,
    Array,
    ConvergenceError,
    InputError,
    as_scalar,
    message,
)
from ...analysis import Functional
from ...flow import Carry, as_times, pulled
from ...problem import Problem
from ...schedules import AbstractSchedule
from ._pointwise import check_size
from ._sweep import Sweep, end_gradients
from ._update_rule import Repeated, batches_of, repeated, state_of
from ._windows import StepWindows

if TYPE_CHECKING:
    import optax

CHECKPOINT_NUMBERS = 2**28
"""Numbers (2 GB) that the checkpoints, and the steps between two of them, may take."""


class _Grid(NamedTuple):
    """Where the times that were asked for lie among the steps.

    Attributes:
        steps: step that begins at each time, the last one for the end, shape (k,).
        slot: which time begins with each step, −1 for none, shape (segments·length,).
        place: the row of sums that each step adds to; −1 before the first time and after the end, same shape. Times i
            and i + 1 have two rows, 2i for the step that begins at the former and 2i + 1 for those after it; step N − 1
            has the row 2(k − 1), unless it begins at a time.
        length: steps per checkpoint.
        total: N.
    """

    steps: Int[np.ndarray, " k"]
    slot: Int[np.ndarray, " padded"]
    place: Int[np.ndarray, " padded"]
    length: int
    total: int


def step_density(
    problem: Problem,
    schedule: AbstractSchedule,
    theta0: Float[Array, " d"],
    *,
    ts: Float[Array, " k"],
    functional: Functional,
    optimiser: "optax.GradientTransformation",
    step_size: float,
    batch: int | Int[np.ndarray, "steps b"] | None,
    key: Key[Array, ""] | None,
    throw: bool,
) -> Sweep:
    """K of discrete training; the arguments are those of `influence_density`."""
    run = _prepared(problem, schedule, theta0, ts=ts, optimiser=optimiser, step_size=step_size, batch=batch, key=key)
    training, grid, times = run.training, run.grid, run.times
    kept = _checkpoints(training, run.start, grid)
    end = _finite(kept.end, grid.total)
    final = end_gradients(functional, end)
    check_size(2 * len(times), problem.data.n, len(final.rows))
    found = _backward(training, kept, jnp.asarray(final.rows), grid)
    values, sums, thetas, costates = found.values / step_size, found.sums, found.thetas, found.costates
    thetas[-1], costates[-1] = end, final.rows
    error = float(np.finfo(np.float64).eps * grid.total * np.abs(values).max())
    return Sweep(times, thetas, costates, values, error, StepWindows(times, sums), final.scalar, "steps", SUCCESS)


class _Run(NamedTuple):
    """A training, its start (θ0 and the optimiser's state), and where the times that were asked for lie."""

    training: Repeated
    start: Carry
    grid: _Grid
    times: Float[np.ndarray, " k"]


def _prepared(
    problem: Problem,
    schedule: AbstractSchedule,
    theta0: Any,
    ts: Any,
    optimiser: Any,
    step_size: Any,
    batch: Any,
    key: Any,
) -> _Run:
    """What is refused is refused here."""
    times, _ = as_times(ts, 0.0)
    start, eta = jnp.asarray(problem.parameters(theta0, "theta0")), as_scalar(step_size, "step_size")
    state = state_of(optimiser, start)
    grid = _grid(times, eta, 2 * start.size + sum(leaf.size for leaf in jax.tree.leaves(state)))
    batches = batches_of(problem, batch, key, grid.total)
    training = repeated(problem, schedule, optimiser, eta, batches)
    return _Run(training, Carry(start, state), grid, times)


def trained(
    problem: Problem,
    schedule: AbstractSchedule,
    theta0: Float[Array, " d"],
    *,
    ts: Float[Array, " k"],
    optimiser: "optax.GradientTransformation",
    step_size: float,
    batch: int | Int[np.ndarray, "steps b"] | None,
    key: Key[Array, ""] | None,
) -> Float[np.ndarray, " d"]:
    """θ at the end of discrete training; the arguments are those of `influence_density`."""
    run = _prepared(problem, schedule, theta0, ts=ts, optimiser=optimiser, step_size=step_size, batch=batch, key=key)
    return _finite(_checkpoints(run.training, run.start, run.grid).end, run.grid.total)


def _finite(end: Array, steps: int) -> Float[np.ndarray, " d"]:
    if not np.isfinite(end).all():
        raise ConvergenceError(
            f"training left the finite numbers within {steps:,} steps: {message(RESULTS.nonlinear_divergence)} "
            "Lower the optimiser's learning rate.",
            end,
        )
    return np.asarray(end)


def _grid(times: Float[np.ndarray, " k"], eta: float, size: int) -> _Grid:
    """Times as steps; `size` numbers are kept of a step."""
    if eta <= 0.0:
        raise InputError(f"step_size is {eta:g}; a positive time per step is needed.")
    exact = times / eta
    marks = np.rint(exact).astype(np.int64)
    off = np.flatnonzero(np.abs(exact - marks) > 1e-9 * np.maximum(1.0, exact))
    if off.size:
        raise InputError(
            f"ts[{off[0]}] = {times[off[0]]:g} is {exact[off[0]]:.6g} steps of {eta:g}; with an optimiser times are "
            "whole multiples of step_size (1 unless given, so that they count steps)."
        )
    count = int(marks[-1])
    if count < 1:
        raise InputError("ts ends at 0: there is no step of training whose influence could be asked for.")
    if (np.diff(marks) == 0).any():
        raise InputError("ts names one step twice; each time must be another step of discrete training.")
    length = _segment(count)
    padded = -(-count // length) * length
    _check_memory(size, count, padded, length)
    slot, place = np.full(padded, -1), np.full(padded, -1)
    slot[marks[:-1]] = np.arange(len(marks) - 1)
    for i, (first, last) in enumerate(itertools.pairwise(marks)):
        place[first:last] = 2 * i + 1
    place[marks[:-1]] = 2 * slot[marks[:-1]]
    if slot[count - 1] < 0:
        place[count - 1] = 2 * (len(marks) - 1)
    return _Grid(marks, slot, place, length, count)


def _segment(count: int) -> int:
    """Steps per checkpoint: near √N, and a divisor of N if there is one near, so that no step is run in vain."""
    root = math.isqrt(count)
    near = [length for length in range(root // 2 + 1, 2 * root) if count % length == 0]
    return min(near, key=lambda length: abs(length - root)) if near else max(1, root)


def _check_memory(size: int, count: int, padded: int, length: int) -> None:
    # Of every step it is also known which time it begins and between which two it lies.
    numbers = size * (padded // length + length) + 2 * padded
    if numbers > CHECKPOINT_NUMBERS:
        raise InputError(
            f"the checkpoints of {count:,} steps of {size:,} numbers (∝ √steps), and two numbers of each step, take "
            f"{8e-9 * numbers:.1f} GB. Ask about a window of fewer steps, from a θ0 that you have kept."
        )


class _Checkpoints(NamedTuple):
    """The states where each segment begins, and θ after the last step."""

    begun: Carry
    end: Float[Array, " d"]


class _Found(NamedTuple):
    """∂φ/∂w_j per step at the asked times, its sums between them, and the paths."""

    values: Float[np.ndarray, "k n q"]
    sums: Float[np.ndarray, "k-1 n q"]
    thetas: Float[np.ndarray, "k d"]
    costates: Float[np.ndarray, "k q d"]


def _checkpoints(training: Repeated, start: Carry, grid: _Grid) -> _Checkpoints:
    segments = len(grid.slot) // grid.length
    return _forward(training, start, jnp.asarray(grid.total), segments, grid.length)


@eqx.filter_jit
def _forward(training: Repeated, start: Carry, count: Array, segments: int, length: int) -> _Checkpoints:
    def segment(carry: Carry, first: Array) -> tuple[Carry, Carry]:
        last = jnp.minimum(first + length, count)
        # A bound method would be hashed, and the arrays in it cannot be.
        return jax.lax.fori_loop(first, last, lambda k, held: training.step(k, held), carry), carry

    end, begun = jax.lax.scan(segment, start, length * jnp.arange(segments))
    return _Checkpoints(begun, end.theta)


def _backward(training: Repeated, kept: _Checkpoints, ends: Array, grid: _Grid) -> _Found:
    slot, place = (jnp.asarray(a.reshape(-1, grid.length)) for a in (grid.slot, grid.place))
    shapes = len(grid.steps), training.risk.x.shape[0], len(grid.slot) == grid.total
    parts, thetas, costates = _sweep_back(training, kept, ends, slot, place, jnp.asarray(grid.total), shapes)
    pieces, last = np.asarray(parts)[:-1], np.asarray(parts)[-1]
    values, sums = np.empty((len(grid.steps), *last.shape)), pieces[0::2] + pieces[1::2]
    values[:-1] = pieces[0::2]
    values[-1] = last if grid.slot[grid.total - 1] < 0 else values[-2]
    sums[-1:] += last
    return _Found(values, sums, np.array(thetas), np.array(costates))


@eqx.filter_jit
def _sweep_back(
    training: Repeated, kept: _Checkpoints, ends: Array, slot: Array, place: Array, count: Array, shapes: Any
) -> Any:
    (times, n, whole), (q, d), length = shapes, ends.shape, slot.shape[1]
    blank = jnp.zeros((2 * times - 1, n, q)), jnp.zeros((times, d)), jnp.zeros((times, q, d))
    smooth = eqx.filter(kept.begun.state, eqx.is_inexact_array)
    first = Carry(ends, jax.tree.map(lambda leaf: jnp.zeros((q, *leaf.shape[1:]), leaf.dtype), smooth))

    def segment(carry: Any, given: Any) -> tuple[Any, None]:
        begun, base, slots, places = given
        ks = base + jnp.arange(length)

        def again(before: Carry, k: Array) -> tuple[Carry, Any]:
            gradient = training.gradient(k, before.theta)
            moved = training.recipe.moved(before, gradient)
            return _kept(whole, k < count, moved, before), (before, gradient)

        _, path = jax.lax.scan(again, begun, ks)

        def back(carry: Any, step: Any) -> tuple[Any, None]:
            return _one_back(training, carry, step, count, whole), None

        return jax.lax.scan(back, carry, (ks, path, slots, places), reverse=True)[0], None

    bases = length * jnp.arange(slot.shape[0])
    carry, _ = jax.lax.scan(segment, (first, blank), (kept.begun, bases, slot, place), reverse=True)
    return carry[1]


def _kept(whole: bool, real: Array, new: Any, old: Any) -> Any:
    """What a step makes, or what was before it where it lies beyond the last; the question costs time."""
    return new if whole else jax.tree.map(lambda a, b: jnp.where(real, a, b), new, old)


def _one_back(training: Repeated, carry: Any, step: Any, count: Array, whole: bool) -> Any:
    """λ before step k, and what the step adds to the answers."""
    (adjoint, values), (k, (before, gradient), slot, place) = carry, step
    batch, points = training.batch(k), training.points(k)
    moved, slopes = jax.vmap(lambda ahead: pulled(training.recipe, before, gradient, batch, ahead))(adjoint)
    real = k < count
    adjoint = _kept(whole, real, moved, adjoint)
    each = _kept(whole, real, slopes.T, jnp.zeros_like(slopes.T))
    sums, thetas, costates = values
    rows_of = slice(None) if points is None else points
    here = jnp.where(slot >= 0, slot, thetas.shape[0])  # out of bounds: dropped
    # A batch may name a point twice.
    sums = sums.at[jnp.where(place >= 0, place, sums.shape[0]), rows_of].add(each, mode="drop")
    thetas = thetas.at[here].set(before.theta, mode="drop")
    return adjoint, (sums, thetas, costates.at[here].set(adjoint.theta, mode="drop"))
