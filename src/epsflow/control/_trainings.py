"""Discrete training as part of a question: optimiser, batches and seeds, and the trainings up to s that they give."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Key

from .._core import Array, ConvergenceError, InputError, as_count, brief, random_key
from ..flow import Course, course_of, diverged, optimiser_digest, words_of
from ..problem import Problem
from .systems._ensemble import Ensemble, Seed
from .terms._cost import AbstractCost

INTERVALS = 100
"""Of the mesh, where nobody says how many."""

Keys = tuple[Key[Array, ""], ...]
Start = Float[np.ndarray, " d"]


@dataclass(frozen=True, kw_only=True)
class Recipes:
    """How θ is trained: the arguments of `train_with`, as a question has them.

    Attributes:
        optimiser: an optax transformation.
        batch: b; None for all points.
        key: a seed, or several over whose trainings the cost is averaged; None without batches.
        held_out: further seeds, for which the schedule is not chosen.
        dtype: of the training; None for the problem's.
        intervals: N, of the mesh on which ε is judged.
    """

    optimiser: Any
    batch: int | None = None
    key: Any = None
    held_out: Any = None
    dtype: str | None = None
    intervals: int = INTERVALS


def recipes_of(
    optimiser: object, batch: int | None, key: object, held_out: object, dtype: str | None, intervals: int = INTERVALS
) -> Recipes | None:
    """The arguments of a door; None for the flow, and for plain gradient descent.

    Raises:
        InputError: batches, seeds or a precision without an optimiser.
    """
    if optimiser is not None:
        many = {"key": key, "held_out": held_out, "intervals": intervals}
        return Recipes(optimiser=optimiser, batch=batch, dtype=dtype, **many)
    given = {"batch": batch, "key": key, "held_out": held_out, "dtype": dtype}
    for name, value in given.items():
        if value is not None:
            raise InputError(f"{name} = {brief(value)} belongs to training with an optimiser: pass one of optax, too.")
    return None


@dataclass(frozen=True, eq=False, kw_only=True)
class Trainings:
    """Trainings with an optimiser, from s on.

    Attributes:
        recipes: how they were asked for.
        starts: θ(0), of all seeds (1, d) or of each (k, d); the held-out ones last.
        retrained: whether the targets are retrained θs; otherwise one was given.
        knots: of the mesh, whole numbers of steps from s to T.
        seeds: the trainings on which ε is chosen.
        held_out: those on which it is not; None without any.
        exact: the former in double precision, where they are in single precision; else None.
    """

    recipes: Recipes
    starts: Float[np.ndarray, "k d"]
    retrained: bool
    knots: Float[np.ndarray, " knots"]
    seeds: Ensemble
    held_out: Ensemble | None
    exact: Ensemble | None

    @property
    def theta_s(self) -> Start:
        """θ(s) of the first seed."""
        return np.asarray(self.seeds.seeds[0].course.carry.theta, np.float64)

    @property
    def target(self) -> Start:
        """The target of the first seed."""
        return self.seeds.seeds[0].target

    @cached_property
    def unseen(self) -> str:
        """Why no ε changes anything, and what to try: no batch holds a deleted point. Empty where one does."""
        s, T = int(self.knots[0]), int(self.knots[-1])
        if self._draw_deleted(range(s, T)):
            return ""
        when = f"from s = {s} to T = {T}" if self._draw_deleted(range(s)) else f"until T = {T}"
        return (
            f"no batch contains the deleted points {when}, so ε changes nothing: take more steps, or all points in "
            "every batch"
        )

    def _draw_deleted(self, steps: range) -> bool:
        """Whether a batch of these steps contains a deleted point, in any of the seeds."""
        sources = [seed.course.source for seed in self.seeds.seeds]
        return any(source.draws_deleted(steps) for source in sources)

    @property
    def facts(self) -> dict[str, object]:
        """What a summary says of them."""
        held_out = 0 if self.held_out is None else len(self.held_out.seeds)
        return {
            "batch": "all" if self.recipes.batch is None else self.recipes.batch,
            "seeds": len(self.seeds.seeds),
            **({"held out": held_out} if held_out else {}),
            "dtype": self.recipes.dtype,
        }


def as_trainings(
    problem: Problem,
    theta0: object,
    recipes: Recipes,
    *,
    s: float,
    T: float,
    target: Float[Array, " d"] | None,
    cost: AbstractCost,
) -> Trainings:
    """Check, train every seed up to s, and retrain it without the deleted points.

    Args:
        problem: what is trained, and which points are deleted.
        theta0: θ(0), or a function of a key that draws one for each seed.
        recipes: how.
        s, T: the window, in steps.
        target: where θ(T) should be. Default: for each seed, what it gives with ε = 0 from the beginning.
        cost: of θ(T).

    Raises:
        InputError: what makes no sense.
        ConvergenceError: a training left the finite numbers.
    """
    for name, value in (("s", s), ("T", T)):
        if value != round(value):
            raise InputError(f"with an optimiser, s and T count steps: {name} = {value:g} is no whole number.")
    recipes = replace(recipes, dtype=recipes.dtype or problem.dtype)
    keys, others = _keys(recipes.key, "key"), _keys(recipes.held_out, "held_out")
    _check_seeds(recipes, theta0, keys, others)
    every = (*keys, *others) or (None,)
    starts = [_start(problem, theta0, key) for key in every[: len(every) if callable(theta0) else 1]]
    seeds = list(zip(every, np.broadcast_to(starts, (len(every), problem.dim)), strict=True))
    chosen = len(every) - len(others)
    fixed = round(s), round(T), None if target is None else np.asarray(target), cost
    all_seeds = _ensemble(problem, recipes, seeds, *fixed)
    exact = None
    if recipes.dtype != "float64":
        with jax.enable_x64(True):
            wide = problem if problem.dtype == "float64" else problem.with_dtype("float64")
            exact = _ensemble(wide, replace(recipes, dtype="float64"), seeds[:chosen], *fixed)
    marks = np.linspace(s, T, min(as_count(recipes.intervals, "intervals"), round(T - s)) + 1)
    return Trainings(
        recipes=recipes,
        starts=np.stack(starts),
        retrained=target is None,
        knots=np.round(marks),
        seeds=replace(all_seeds, seeds=all_seeds.seeds[:chosen]),
        held_out=replace(all_seeds, seeds=all_seeds.seeds[chosen:]) if others else None,
        exact=exact,
    )


def _ensemble(
    problem: Problem,
    recipes: Recipes,
    seeds: Sequence[tuple[Any, Start]],
    s: int,
    T: int,
    target: Start | None,
    cost: AbstractCost,
) -> Ensemble:
    """The trainings of some seeds, from s on."""
    key, start = seeds[0]
    asked = {"optimiser": recipes.optimiser, "batch": recipes.batch, "dtype": recipes.dtype or problem.dtype}
    course = course_of(problem, start, key=key, steps=T - s, **asked)
    made = tuple(_seed(course.again(theta0, each), s, T, target) for each, theta0 in seeds)
    return Ensemble(problem.risk, cost, made)


def _seed(course: Course, s: int, T: int, target: Start | None) -> Seed:
    goal = _reached(course, np.zeros((T, 1)), "retraining without the deleted points")[0] if target is None else target
    return Seed(_reached(course, np.ones((s, 1)), "training up to s")[1], goal)


def _reached(course: Course, weights: Float[np.ndarray, "N 1"], what: str) -> tuple[Start, Course]:
    if not len(weights):
        return np.asarray(course.carry.theta, np.float64), course
    reached = course.end(weights)
    if reached.bad is not None:
        raise ConvergenceError(f"{what}: {diverged(reached.bad, course.recipe.optimiser)}")
    return reached.theta, reached.course


def _start(problem: Problem, theta0: object, key: Any) -> Start:
    value = theta0(key) if callable(theta0) else theta0
    return np.asarray(problem.parameters(value, "theta0"))


def _keys(value: object, name: str) -> Keys:
    """Seeds: none, one, or an array or a list of them."""
    if value is None:
        return ()
    several = isinstance(value, Sequence) or getattr(value, "ndim", 0) == 1
    keys: list[Any] = list(value) if several else [value]  # pyright: ignore[reportArgumentType]
    for each in keys:
        random_key(each, name)
    return tuple(keys)


def _check_seeds(recipes: Recipes, theta0: object | Callable[..., object], keys: Keys, others: Keys) -> None:
    """Refuse seeds that change nothing, and seeds that are named twice."""
    if callable(theta0) and not keys:
        raise InputError("theta0 is a function of a key: pass key=jax.random.key(0), or several keys.")
    if recipes.batch is None and not callable(theta0) and (len(keys) > 1 or others):
        raise InputError(
            f"{len(keys)} seeds and {len(others)} held out train alike: with all points in every step and one θ0, "
            "nothing is random. Pass batch=, or theta0=problem.model.init."
        )
    words = [words_of(key) for key in (*keys, *others)]
    twice = [word for i, word in enumerate(words) if word in words[:i]]
    if twice:
        raise InputError(
            f"the seed {brief(twice[0])} is named twice among key and held_out; make distinct ones by "
            "jax.random.split(jax.random.key(0), 10)."
        )


class StoredRecipes(NamedTuple):
    """`Recipes` as a document holds them: keys by their words, an optimiser by what it makes of three gradients.

    Attributes:
        optimiser: its digest.
        batch, dtype, intervals: as they were.
        key, held_out: words of the seeds.
        kind: of random numbers.
        starts: θ(0), see `Trainings`.
        retrained: see there.
    """

    optimiser: str
    batch: int | None
    dtype: str | None
    intervals: int
    key: tuple[tuple[int, ...], ...]
    held_out: tuple[tuple[int, ...], ...]
    kind: str
    starts: Float[np.ndarray, "k d"]
    retrained: bool

    def of(self, problem: Problem, optimiser: Any, **question: Any) -> Trainings:
        """The trainings, made again.

        Raises:
            InputError: no optimiser, or another one.
        """
        if optimiser is None:
            raise InputError("this was found for trainings with an optimiser, which is not stored: pass optimiser=.")
        keys = {words: _key(words, self.kind) for words in (*self.key, *self.held_out)}
        drawn = dict(zip(keys, self.starts, strict=False))
        recipes = Recipes(
            optimiser=optimiser,
            batch=self.batch,
            key=[keys[words] for words in self.key] or None,
            held_out=[keys[words] for words in self.held_out] or None,
            dtype=self.dtype,
            intervals=self.intervals,
        )
        if self.retrained:
            question["target"] = None
        start = (lambda key: drawn[words_of(key)]) if len(self.starts) > 1 else self.starts[0]
        made = as_trainings(problem, start, recipes, **question)
        if _digest(made) != self.optimiser:
            raise InputError("this was found for another optimiser: pass the one that it was found for.")
        return made


def stored(trainings: Trainings) -> StoredRecipes:
    """What a document holds of them."""
    recipes = trainings.recipes
    keys, others = _keys(recipes.key, "key"), _keys(recipes.held_out, "held_out")
    return StoredRecipes(
        optimiser=_digest(trainings),
        batch=recipes.batch,
        dtype=recipes.dtype,
        intervals=recipes.intervals,
        key=tuple(map(words_of, keys)),
        held_out=tuple(map(words_of, others)),
        kind=str(jax.random.key_impl(keys[0])) if keys else "",
        starts=trainings.starts,
        retrained=trainings.retrained,
    )


def _digest(trainings: Trainings) -> str:
    return optimiser_digest(trainings.recipes.optimiser, trainings.seeds.seeds[0].course.carry.theta)


def _key(words: tuple[int, ...], kind: str) -> Any:
    return jax.random.wrap_key_data(jnp.asarray(words, jnp.uint32), impl=kind)
