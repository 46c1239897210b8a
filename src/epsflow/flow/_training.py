"""Training by an optimiser, with ε(t) as the weight of the deleted points in every batch."""

from collections.abc import Callable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, Key

from .._core import (
    RESULTS,
    SUCCESS,
    Array,
    Axed,
    ConvergenceError,
    InputError,
    Labelled,
    Shown,
    as_count,
    as_scalar,
    brief,
    install_command,
)
from ..problem import Problem, as_dtype, mesh_of
from ..schedules import AbstractSchedule
from ._divergence import diverged
from ._doors import checked_training
from ._minibatches import Rows, Source
from ._saved_training import SavedTraining, fingerprint
from ._training_step import Carry, Recipe, recipe_of

if TYPE_CHECKING:
    import optax

Progress = Callable[[int, int], None]
"""Told the steps done and the steps in all."""


class Training(Shown, Labelled, eqx.Module):
    """A trained θ, how it was reached, and how exactly.

    Example:
        >>> data = ef.Dataset(np.array([[1.0], [1.0], [2.0]]), np.array([1.0, 2.0, 3.0]))
        >>> line = ef.linear_regression(data, [0], l2=1.0)
        >>> import optax
        >>> training = ef.train_with(line, ef.Constant(1.0), np.zeros(1), optimiser=optax.sgd(0.1), steps=2)
        >>> training.gradients, training.losses  # R before each step
        (6, array([7.   , 1.735]))

    Attributes:
        theta: after the last step, shape (d,), float64; computed in `dtype`.
        steps: the counts of steps that were asked for and reached, shape (k,).
        thetas: θ after each of them, shape (k, d).
        losses: R_ε of each step's batch, before the step, shape (steps,).
        gradients: gradients of single points that were computed.
        dtype: "float64", "float32" or "bfloat16".
        error: largest entry of the difference to the same training in float64; NaN unless it was asked for.
        resumed_at: the step of the checkpoint from which training was taken up; 0 if from the beginning.
        result: how it ended.
    """

    theta: Float[np.ndarray, " d"]
    steps: Int[np.ndarray, " k"]
    thetas: Float[np.ndarray, "k d"]
    losses: Float[np.ndarray, " steps"]
    gradients: int
    dtype: str
    error: float
    resumed_at: int
    result: RESULTS

    def _arrays(self) -> dict[str, Axed]:
        return {
            "step": ("step", self.steps),
            "theta": ("step parameter", self.thetas),
            "loss": ("each_step", self.losses),
        }

    def _facts(self) -> dict[str, object]:
        return {
            "steps": len(self.losses),
            "loss": float(self.losses[-1]) if len(self.losses) else np.nan,
            "dtype": self.dtype,
            "error": self.error,
            "gradients": self.gradients,
            "resumed_at": self.resumed_at,
            "result": self.result,
        }

    def _title(self) -> str:
        return f"Training of {self.theta.size} parameters"


@eqx.filter_jit
def run_leg(recipe: Recipe, carry: Carry, rows: Rows, count: Array) -> tuple[Carry, Float[Array, " leg"]]:
    """`count` steps; the number is traced, so that a leg of any length is one program."""

    def body(k: Array, held: tuple[Carry, jax.Array]) -> tuple[Carry, jax.Array]:
        carry, losses = held
        carry, loss = recipe.step(carry, rows.of(k))
        return carry, losses.at[k].set(loss)

    empty = jnp.full(rows.eps.shape[0], jnp.nan, carry.theta.dtype)
    return jax.lax.fori_loop(0, count, body, (carry, empty))


@checked_training
def train_with(
    problem: Problem,
    schedule: AbstractSchedule,
    theta0: Float[Array, " d"] | Float[np.ndarray, " d"],
    *,
    optimiser: "optax.GradientTransformation",
    steps: int | Int[np.ndarray, " k"] | Sequence[int],
    batch: int | None = None,
    key: Key[Array, ""] | None = None,
    step_size: float = 1.0,
    dtype: str | None = None,
    estimate_error: bool = False,
    checkpoint: str | Path | None = None,
    every: int = 1_000,
    devices: Sequence[Any] = (),
    progress: Progress | None = None,
    throw: bool = True,
) -> Training:
    """Train by an optimiser of optax, with ε(t) as the weight of the deleted points in every batch.

    Example:
        >>> data = ef.Dataset(np.array([[1.0], [1.0], [2.0]]), np.array([1.0, 2.0, 3.0]))
        >>> line = ef.linear_regression(data, [0], l2=1.0)
        >>> import optax
        >>> ef.train_with(line, ef.Constant(1.0), np.zeros(1), optimiser=optax.sgd(0.1), steps=1).theta
        array([0.9])

    Step k has the gradient (n/b)·c·Σ_{i in its batch} w_i ∇ℓ_i(θ) + λθ, w_i = 1 for retained points and ε_i(t_k) for
    deleted ones, t_k = (k + ½)·step_size. Its mean over batches is ∇R_{ε(t_k)}(θ). With `optax.sgd(η)` and
    step_size=η it is explicit Euler for the flow, and θ after k steps is θ(ηk) + O(η).

    Batches are shuffled epochs: epoch e goes through the points in the order of
    `numpy.random.default_rng([*key_data(key), e]).permutation(n)`; its last n mod b points rest. Data in a
    `numpy.memmap` stay on disk: rows are read a few steps at a time, while the steps before them run.
    `gradient_descent` and the unlearning algorithms draw every batch by itself instead, as their certificates need, so
    that one key gives other batches there; without batches all agree.

    Args:
        problem: what is trained, and which points are deleted.
        schedule: ε(t).
        theta0: θ(0), shape (d,); `problem.model.init(key)` draws one.
        optimiser: `optax.adam(1e-3)`, say; learning-rate schedules, momentum, weight decay and clipping are optax's.
            The same object again compiles nothing; another one compiles its step.
        steps: how many, or ascending counts after which θ is wanted.
        batch: b, points per step. Default: all.
        key: seed of the batches; needed with `batch`.
        step_size: time per step, in the units of the schedule. With 1, the default, ε is a function of the step.
        dtype: "float64", "float32" or "bfloat16", in which everything is computed; see `Problem` for what each rounds.
            Default: the problem's. Only "float64" needs a global flag; `estimate_error` does not.
        estimate_error: train a second time in float64, and report the largest difference. Gradients compared in both
            precisions would be cheaper and say little: steps magnify what rounding does to the steps before them.
        checkpoint: a file that holds the state every `every` steps; if it is there, training is taken up from it, and
            ends at the same bits as if it had never stopped.
        every: steps between two writings of the checkpoint.
        devices: JAX devices over which each batch is spread in equal parts.
        progress: called with (steps done, steps in all).
        throw: raise if training leaves the finite numbers; otherwise what there is until then is returned.

    Raises:
        InputError: an optimiser that is none, a batch beyond n, no key, a checkpoint of another training (both sides
            are shown), devices that do not divide the batch.
        ConvergenceError: NaN or infinity, with the step at which it appeared; `.result` holds θ at the last leg.
    """
    marks = _marks(steps)
    precision = problem.dtype if dtype is None else dtype
    source = source_of(problem, schedule, batch, key, step_size, precision, devices)
    start = jnp.asarray(np.asarray(problem.parameters(theta0, "theta0")), source.dtype)
    check_optimiser(optimiser)
    carry = Carry(start, optimiser.init(start))
    store = None if checkpoint is None else SavedTraining(Path(checkpoint), fingerprint(source, start, optimiser))
    run = _run(source, recipe_of(source, optimiser), carry, marks, store, as_count(every, "every"), progress)
    error = np.nan
    if estimate_error and precision != "float64" and bool(run.result == SUCCESS):
        given = {"optimiser": optimiser, "steps": marks, "batch": batch, "key": key, "step_size": step_size}
        with jax.enable_x64(True):
            exact = train_with(problem.with_dtype("float64"), schedule, np.asarray(theta0, np.float64), **given)
        error = float(np.abs(exact.thetas - run.thetas).max())
    found = Training(**run._asdict(), steps=marks[: len(run.thetas)], dtype=precision, error=error)
    if throw and not bool(run.result == SUCCESS):
        bad = int(np.argmin(np.isfinite(run.losses)))
        raise ConvergenceError(diverged(bad, optimiser), found)
    return found


class _Run(NamedTuple):
    """The part of a `Training` that the steps themselves give."""

    theta: np.ndarray
    thetas: np.ndarray
    losses: np.ndarray
    gradients: int
    resumed_at: int
    result: RESULTS


def _run(
    source: Source,
    recipe: Recipe,
    carry: Carry,
    marks: Int[np.ndarray, " k"],
    store: SavedTraining | None,
    every: int,
    progress: Progress | None,
) -> _Run:
    """All steps, in legs that end where θ is wanted or kept."""
    total, done, kept = int(marks[-1]), 0, np.empty((0, len(carry.theta)))
    losses = np.empty(0)
    if store is not None and store.path.exists():
        saved = store.load(carry, marks)
        carry, done, kept, losses = Carry(saved.theta, saved.state), saved.step, saved.thetas, saved.losses
    first, parts, thetas, result = done, [losses], [kept], SUCCESS
    if len(marks) and marks[0] == 0 and not done:
        thetas.append(np.asarray(carry.theta, np.float64)[None])
    legs = _legs(done, marks, source.leg, every if store is not None else None)
    rows = [_read(source, leg) for leg in legs[:1]]
    for leg, following in zip_longest(legs, legs[1:]):
        given = rows.pop()
        if isinstance(given, InputError):
            raise given
        carry, found = run_leg(recipe, carry, given, jnp.asarray(leg.steps))
        rows = [_read(source, following)] if following else []  # nothing has waited for the leg yet
        parts.append(np.asarray(found, np.float64)[: leg.steps])
        done = leg.first + leg.steps
        theta = np.asarray(carry.theta, np.float64)
        if not (np.isfinite(parts[-1]).all() and np.isfinite(theta).all()):
            result = RESULTS.nonlinear_divergence
            break
        if done in marks:
            thetas.append(theta[None])
        if store is not None and (done % every == 0 or done == total):
            store.save(carry.theta, carry.state, done, np.concatenate(thetas), np.concatenate(parts))
        if progress is not None:
            progress(done, total)
    size = source.batch or source.problem.data.n
    return _Run(
        theta=np.asarray(carry.theta, np.float64),
        thetas=np.concatenate(thetas),
        losses=np.concatenate(parts),
        gradients=size * (done - first),
        resumed_at=first,
        result=result,
    )


class _Leg(NamedTuple):
    """Steps of one compiled call, and the number of the first."""

    first: int
    steps: int


def _legs(done: int, marks: Int[np.ndarray, " k"], most: int, every: int | None) -> list[_Leg]:
    """What is to be done, cut where θ is wanted or kept, and after `most` steps."""
    kept = range(0, int(marks[-1]), every) if every is not None else ()
    legs = []
    for stop in sorted({*marks.tolist(), *kept}):
        legs += [_Leg(first, min(most, stop - first)) for first in range(done, stop, most)]
        done = max(done, stop)
    return legs


def _read(source: Source, leg: _Leg) -> Rows | InputError:
    """A leg's rows, or what is wrong with them: what was computed before is kept before that is said."""
    try:
        return source.rows(*leg)
    except InputError as error:
        return error


def _marks(steps: object) -> Int[np.ndarray, " k"]:
    """Ascending counts of steps."""
    if np.ndim(steps) == 0:  # pyright: ignore[reportArgumentType]
        return np.asarray([as_count(steps, "steps", least=0)])
    marks = np.asarray(steps)
    if marks.ndim != 1 or not len(marks) or not np.issubdtype(marks.dtype, np.integer) or marks[0] < 0:
        raise InputError(f"steps is {brief(steps)}; a whole number, or ascending whole numbers, are needed.")
    if (np.diff(marks) <= 0).any():
        raise InputError(f"steps is {brief(steps)}; the counts must ascend.")
    return marks.astype(np.int64)


def source_of(
    problem: Problem, schedule: AbstractSchedule, batch: Any, key: Any, step_size: Any, dtype: Any, devices: Any = ()
) -> Source:
    """Where rows come from, checked."""
    precision = as_dtype(dtype)
    time, words = as_scalar(step_size, "step_size"), ()
    if time <= 0.0:
        raise InputError(f"step_size is {time:g}; a positive time per step is needed.")
    size = None if batch is None else as_count(batch, "batch")
    if size is not None:
        if size > problem.data.n:
            raise InputError(f"batch is {size}, but the data has {problem.data.n} points.")
        if key is None:
            raise InputError("batches are drawn at random: pass key=jax.random.key(0), or another seed.")
        words = words_of(key)
    mesh = mesh_of(devices, size or problem.data.n, "rows per step") if len(devices) else None
    return Source(problem, schedule, time, size, words, precision, mesh)


def words_of(key: Key[Array, ""]) -> tuple[int, ...]:
    """The numbers that a key is made of.

    Example:
        >>> import jax
        >>> ef.flow.words_of(jax.random.key(5))
        (0, 5)
    """
    return tuple(int(word) for word in np.asarray(jax.random.key_data(key)).ravel())


def check_optimiser(optimiser: object) -> None:
    """Refuse what optax did not make."""
    if isinstance(optimiser, type) or not (hasattr(optimiser, "init") and hasattr(optimiser, "update")):
        raise InputError(
            f"optimiser is {brief(optimiser)}; one of optax is needed, for instance optax.adam(1e-3) "
            f"({install_command('train')})."
        )
