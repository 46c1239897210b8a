"""Discrete training differentiated by the weights of its steps: backward through checkpoints.

With the optimiser's state z and G_k the gradient of step k's batch, a step is (θ, z) ← U(θ, z, G_k(θ)). Its adjoint
pulls λ = ∂φ/∂(θ, z) back through U; what arrives at G_k is γ, and

    ∂φ/∂w_i = γᵀ ∂G_k/∂w_i = (n/b) c γᵀ∇ℓ_i(θ_k),    λ_θ ← (∂U/∂θ)ᵀλ + (∂G_k/∂θ)γ.

One derivative along γ, of the losses and of their gradient, gives both. Only the states at which the legs of a training
begin are kept; those inside a leg are made again when it is its turn. Legs of √N steps keep 2√N states of N.
A training that is not differentiated runs in the legs of `train_with`, by the same program.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Key

from .._core import Array, Shown, spelled
from ..problem import Problem
from ..schedules import Constant
from ._minibatches import Batch, Rows, Source
from ._training import check_optimiser, run_leg, source_of, words_of
from ._training_step import Carry, Recipe, recipe_of

KEPT = 2**22
"""Numbers (32 MB) up to which the states of a leg are kept, however few √N are."""

LEAST = 32
"""Steps of a leg at least, where their states fit."""

Weights = Float[np.ndarray, "N columns"]
"""ε of every step: one for all deleted points, or one for each."""


class Reached(NamedTuple):
    """Where a stretch of training ends.

    Example:
        >>> import optax
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0], l2=1.0)
        >>> arguments = {"optimiser": optax.sgd(0.1), "batch": None, "key": None, "dtype": "float64", "steps": 2}
        >>> course = ef.flow.course_of(line, np.zeros(1), **arguments)
        >>> reached = course.end(np.ones((2, 1)))
        >>> reached.theta, reached.course, reached.bad
        (array([1.17]), Course(parameters=1, first=2, batch=all), None)

    Attributes:
        theta: shape (d,), float64; NaN or infinity in it if training left the finite numbers.
        course: the training from there on.
        bad: the step at which it left them; None if it did not.
    """

    theta: Float[np.ndarray, " d"]
    course: "Course"
    bad: int | None
    __repr__ = spelled  # pyright: ignore[reportAssignmentType]


class EndSlope(NamedTuple):
    """A function of the last θ.

    Example:
        >>> ef.flow.EndSlope(0.5, np.ones(1))
        EndSlope(value=0.5, gradient=[1])

    Attributes:
        value: φ.
        gradient: ∇φ, shape (d,).
    """

    value: float
    gradient: Float[np.ndarray, " d"]
    __repr__ = spelled  # pyright: ignore[reportAssignmentType]


class StepSlopes(NamedTuple):
    """A function φ of the last θ, and what the steps make of it.

    Example:
        >>> import optax
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0], l2=1.0)
        >>> arguments = {"optimiser": optax.sgd(0.1), "batch": None, "key": None, "dtype": "float64", "steps": 2}
        >>> course = ef.flow.course_of(line, np.zeros(1), **arguments)
        >>> course.slopes(np.ones((2, 1)), lambda theta: ef.flow.EndSlope(theta[0], np.ones(1))).weights
        array([[0.03],
               [0.01]])

    Attributes:
        value: φ; ∞ if training left the finite numbers.
        weights: ∂φ/∂ε of every step, in the shape of the weights; 0 then.
        rounding: u Σ_k |p_k|ᵀ|θ_k|: what a rounding of every number of every step does to φ, to first order. What
            rounded operands do besides shows in a comparison with float64 only.
        thetas, costates: θ_k and p_k = ∂φ/∂θ_k of the steps that were asked for, shape (q, d).
        bad: the step at which training left the finite numbers; None if it did not.
    """

    value: float
    weights: Weights
    rounding: float
    thetas: Float[np.ndarray, "q d"]
    costates: Float[np.ndarray, "q d"]
    bad: int | None = None
    __repr__ = spelled  # pyright: ignore[reportAssignmentType]


@dataclass(frozen=True, eq=False, repr=False)
class Course(Shown):
    """A training from a known state on; the weights of its steps are still to be chosen.

    Example:
        >>> import optax
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0], l2=1.0)
        >>> arguments = {"optimiser": optax.sgd(0.1), "batch": None, "key": None, "dtype": "float64", "steps": 2}
        >>> course = ef.flow.course_of(line, np.zeros(1), **arguments)
        >>> course.end(np.ones((2, 1))).theta
        array([1.17])

    Attributes:
        source: where its rows come from.
        recipe: what a step does.
        carry: θ and the optimiser's state before the first step.
        length: steps of a leg whose states are kept at once.
        first: the number of the first step.
    """

    source: Source
    recipe: Recipe
    carry: Carry
    length: int
    first: int = 0

    def _facts(self) -> dict[str, object]:
        return {"parameters": self.carry.theta.size, "first": self.first, "batch": self.source.batch or "all"}

    def again(self, theta0: Float[np.ndarray, " d"], key: Key[Array, ""] | None) -> "Course":
        """The same training from its first step on, with another start and another seed."""
        source = self.source if key is None else self.source.reseeded(words_of(key))
        start = jnp.asarray(np.asarray(theta0), source.dtype)
        return replace(self, source=source, carry=Carry(start, self.recipe.optimiser.init(start)), first=0)

    def end(self, weights: Weights) -> Reached:
        """The state after as many steps as there are weights."""
        legs = _Legs(self, weights)
        carry, bad = self.carry, None
        for leg in legs.every(self.source.leg):
            carry, losses = run_leg(self.recipe, carry, leg.rows, jnp.asarray(leg.steps))
            bad = _first_bad(leg, losses, carry)
            if bad is not None:
                break
        course = replace(self, carry=carry, first=self.first + len(weights))
        return Reached(np.asarray(carry.theta, np.float64), course, bad)

    def slopes(
        self,
        weights: Weights,
        function: Callable[[Float[np.ndarray, " d"]], EndSlope],
        asked: tuple[int, ...] = (),
    ) -> StepSlopes:
        """A function of the last θ, and its derivatives by every weight.

        Args:
            weights: ε.
            function: φ and ∇φ at the last θ.
            asked: positions of steps, from 0, whose θ and costate are wanted too.
        """
        legs, carry, begun = _Legs(self, weights), self.carry, []
        for leg in legs.every(self.length):
            begun.append((leg.first, leg.steps, carry))
            carry, losses = run_leg(self.recipe, carry, leg.rows, jnp.asarray(leg.steps))
            bad = _first_bad(leg, losses, carry)
            if bad is not None:
                return StepSlopes(np.inf, np.zeros_like(weights), np.inf, *2 * [np.empty((0, 0))], bad=bad)
        end = function(np.asarray(carry.theta, np.float64))
        smooth = eqx.filter(carry.state, eqx.is_inexact_array)
        costate = Carry(jnp.asarray(end.gradient, carry.theta.dtype), jax.tree.map(jnp.zeros_like, smooth))
        by_weight, rounding, seen = [], 0.0, {}
        if len(weights) in asked:
            seen[len(weights)] = np.asarray(carry.theta, np.float64), np.asarray(costate.theta, np.float64)
        for first, count, before in reversed(begun):
            leg, how = legs.leg(first, count), (self.length, bool(asked))
            found = _back(self.recipe, before, leg.rows, jnp.asarray(count), costate, *how)
            costate = found.costate
            by_weight.append(np.asarray(found.weights, np.float64)[:count, :-1])
            rounding += float(found.rounding)
            for step in (step for step in asked if 0 <= step + self.first - first < count):
                row = step + self.first - first
                seen[step] = tuple(np.asarray(part[row], np.float64) for part in (found.thetas, found.costates))
        each = np.concatenate(by_weight[::-1])
        unit = float(jnp.finfo(carry.theta.dtype).eps)
        paths = [np.stack([seen[step][part] for step in asked]) if asked else np.empty((0, 0)) for part in (0, 1)]
        columns = weights.shape[1]
        return StepSlopes(
            value=end.value,
            weights=each if columns == each.shape[1] else each.sum(axis=1, keepdims=True),
            rounding=unit * rounding,
            thetas=paths[0],
            costates=paths[1],
        )


def course_of(
    problem: Problem,
    theta0: Float[np.ndarray, " d"],
    *,
    optimiser: Any,
    batch: int | None,
    key: Key[Array, ""] | None,
    dtype: str,
    steps: int,
) -> Course:
    """The training that `train_with` makes of the same arguments, from its first step on.

    Example:
        >>> import optax
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0], l2=1.0)
        >>> arguments = {"optimiser": optax.sgd(0.1), "batch": None, "key": None, "dtype": "float64", "steps": 2}
        >>> course = ef.flow.course_of(line, np.zeros(1), **arguments)
        >>> course.end(np.zeros((1, 1))).theta
        array([0.8])

    Args:
        problem, optimiser, batch, key, dtype: as there.
        theta0: where it begins, shape (d,).
        steps: N, how many are differentiated at once.

    Raises:
        InputError: as there.
    """
    source = source_of(problem, Constant(1.0), batch, key, 1.0, dtype)
    check_optimiser(optimiser)
    start = jnp.asarray(np.asarray(theta0), source.dtype)
    carry = Carry(start, optimiser.init(start))
    size = sum(leaf.size for leaf in jax.tree.leaves(carry)) + start.size
    # A power of two, so that windows of like lengths are one program; but √N where that is more than may be kept.
    kept = 1 << (max(LEAST, min(steps, KEPT // size)) - 1).bit_length()
    root = math.isqrt(max(steps - 1, 0)) + 1
    length = min(max(root, kept if kept * size <= 2 * KEPT else 1), source.leg)
    # Rows that are read from a file are read for no more steps than are taken.
    source = replace(source, most=length) if source.streamed else source
    return Course(source, recipe_of(source, optimiser), carry, length)


class _Leg(NamedTuple):
    """Steps of one compiled call: the number of the first, how many, and what their gradients sum over."""

    first: int
    steps: int
    rows: Rows


class _Legs:
    """The legs of a stretch of training; rows are read when a leg is asked for."""

    def __init__(self, course: Course, weights: Weights):
        self.source, self.weights = course.source, weights
        self.first, self.last = course.first, course.first + len(weights)

    def every(self, length: int) -> Iterator[_Leg]:
        """In order, of so many steps."""
        return (self.leg(first, min(length, self.last - first)) for first in range(self.first, self.last, length))

    def leg(self, first: int, count: int) -> _Leg:
        """One of them."""
        rows = self.source.rows(first, count)
        eps = np.ones(rows.eps.shape, rows.eps.dtype)
        start = first - self.first
        eps[:count, :-1] = self.weights[start : start + count]
        return _Leg(first, count, eqx.tree_at(lambda held: held.eps, rows, jnp.asarray(eps)))


def _first_bad(leg: _Leg, losses: Array, carry: Carry) -> int | None:
    """The step after which something is not finite."""
    finite = np.isfinite(np.asarray(losses)[: leg.steps])
    if not finite.all():
        return leg.first + int(np.argmin(finite))
    return None if np.isfinite(np.asarray(carry.theta)).all() else leg.first + leg.steps - 1


class _Pulled(NamedTuple):
    """What a leg makes of a costate: that before it, the derivatives by its weights, Σ|p|ᵀ|θ|, and paths if asked."""

    costate: Carry
    weights: Float[Array, "leg entries"]
    rounding: Float[Array, ""]
    thetas: Float[Array, "recorded d"]
    costates: Float[Array, "recorded d"]


@eqx.filter_jit
def _back(
    recipe: Recipe, before: Carry, rows: Rows, count: Array, costate: Carry, length: int, record: bool
) -> _Pulled:
    """Through `count` steps, of at most `length`: how many states there is room for."""

    def again(k: Array, held: Any) -> Any:
        carry, path = held
        slope = jax.grad(recipe.value)(carry.theta, rows.of(k))
        path = jax.tree.map(lambda all_steps, here: all_steps.at[k].set(here), path, (carry, slope))
        return recipe.moved(carry, slope), path

    empty = jax.tree.map(lambda leaf: jnp.zeros((length, *leaf.shape), leaf.dtype), (before, before.theta))
    _, path = jax.lax.fori_loop(0, count, again, (before, empty))

    def back(j: Array, held: Any) -> Any:
        k = count - 1 - j
        costate, by_eps, rounding, costates = held
        carry, slope = jax.tree.map(lambda leaf: leaf[k], path)
        rounding = rounding + jnp.abs(costate.theta) @ jnp.abs(carry.theta)
        costate, by_weight = pulled(recipe, carry, slope, rows.of(k), costate)
        costates = costates.at[k].set(costate.theta) if record else costates
        return costate, by_eps.at[k].set(rows.by_eps(k, by_weight)), rounding, costates

    # Not in the place of the gradients, which are of no use any more: XLA would copy them all in every step.
    room = jnp.zeros((length if record else 0, before.theta.size), before.theta.dtype)
    blank = jnp.zeros((length, rows.eps.shape[1]), rows.eps.dtype), jnp.zeros((), before.theta.dtype), room
    found, by_eps, rounding, costates = jax.lax.fori_loop(0, count, back, (costate, *blank))
    return _Pulled(found, by_eps, rounding, path[0].theta if record else room, costates)


def pulled(
    recipe: Recipe, carry: Carry, slope: Array, batch: Batch, costate: Carry
) -> tuple[Carry, Float[Array, " b"]]:
    """λ before a step, and the derivatives by the weights of its rows.

    Example:
        >>> import jax, jax.numpy as jnp, optax
        >>> recipe = ef.flow.Recipe(ef.LinearModel(1), ef.SquaredLoss(), jnp.array(1.0), jnp.array(1.0), optax.sgd(0.1))
        >>> before = ef.flow.Carry(jnp.zeros(1), recipe.optimiser.init(jnp.zeros(1)))
        >>> batch = ef.flow.Batch(jnp.array([[1.0], [2.0]]), jnp.array([1.0, 3.0]), jnp.ones(2))
        >>> after = ef.flow.Carry(jnp.ones(1), before.state)
        >>> ahead, by_weight = ef.flow.pulled(recipe, before, jax.grad(recipe.value)(before.theta, batch), batch, after)
        >>> ahead.theta.round(12), by_weight.round(12)  # 1 − η(1 + 4 + λ), and −η∇ℓ_i
        (Array([0.4], dtype=float64), Array([0.1, 0.6], dtype=float64))

    Args:
        recipe: what a step does.
        carry: θ_k and the optimiser's state before it.
        slope: G_k(θ_k).
        batch: its rows.
        costate: λ after it; of the state only what can be differentiated. One, or many by `jax.vmap`.
    """
    smooth, fixed = eqx.partition(carry.state, eqx.is_inexact_array)

    def update(theta: Array, smooth: Any, slope: Array) -> Carry:
        after = recipe.moved(Carry(theta, eqx.combine(smooth, fixed)), slope)
        return Carry(after.theta, eqx.filter(after.state, eqx.is_inexact_array))

    _, pull = jax.vjp(update, carry.theta, jax.tree.map(_off_zero, smooth), _off_zero(slope))
    direct, state, push = pull(costate)

    def gradient(theta: Array) -> tuple[Array, Array]:
        def value(at: Array) -> tuple[Array, Array]:
            losses = recipe.losses(at, batch)
            return recipe.weighed(losses, at, batch), losses

        return jax.grad(value, has_aux=True)(theta)

    curved, along = jax.jvp(gradient, (carry.theta,), (push,))[1]
    return Carry(direct + curved, state), recipe.share * along


def _off_zero(leaf: Array) -> Array:
    """Exact zeros moved off by a number without consequence: √v of Adam has no derivative at v = 0."""
    return jnp.where(leaf == 0.0, jnp.finfo(leaf.dtype).tiny ** 0.8, leaf)
