"""Exact distances to retraining: of one deletion, of random batches, and of every deletion that a data set allows."""

import itertools
import math
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float, Int, Key

from .._core import Array, InputError
from ..analysis import newton_step_all, retrain_all
from ..flow import require_start
from ..problem import LinearModel, Problem, Quadratic
from .algorithms._base import AbstractAlgorithm, AbstractDescent, UnlearningRun
from .algorithms._descents import RewindToDelete
from .algorithms._newton import CertifiedRemoval, NewtonRemoval, require_linear, trained_at

MOST_SETS = 100_000
"""Deletions of one data set that are tried one by one."""

MOST_WORK = 2e11
"""Multiplications that a stack of runs may take: a few minutes of one core."""

Start = Float[np.ndarray, " d"] | Float[Array, " d"] | None


@dataclass(frozen=True, eq=False)
class Family:
    """What has to be hidden of every deletion of a data set.

    Attributes:
        sets: the deletions, shape (k, m).
        sizes: distances to retraining, or residual gradients for noise in the objective, shape (k,).
        changes: θ − θ_retrained, shape (k, d); None for residuals.
        gradients, training_gradients: of each, in passes over all points.
        step_size: η; NaN where there is none.
    """

    sets: Int[np.ndarray, "k m"]
    sizes: Float[np.ndarray, " k"]
    changes: Float[np.ndarray, "k d"] | None
    gradients: float
    training_gradients: float
    step_size: float


def of_instance(
    problem: Problem, algorithm: AbstractAlgorithm, theta0: Start, key: Key[Array, ""] | None, seeds: int
) -> tuple[UnlearningRun, Float[np.ndarray, " r"]]:
    """A run without noise, and what it leaves to be hidden: one number, or one per draw of the batches."""
    random = isinstance(algorithm, AbstractDescent) and bool(algorithm.batch_size)
    drawn = jax.random.key(0) if key is None else key
    run = algorithm.run(problem, theta0, key=drawn if random else None, seeds=seeds if random else 1)
    if isinstance(algorithm, CertifiedRemoval):
        return run, np.atleast_1d(residual_left(problem, run.theta))
    return run, np.atleast_1d(run.distance)


def residual_left(problem: Problem, theta: Float[np.ndarray, " d"]) -> float:
    """‖∇R_0(θ)‖/c, the gradient of the summed loss that a removal leaves over."""
    return float(np.linalg.norm(np.asarray(problem.gradient(theta, 0.0)))) / problem.scale


def of_data_set(problem: Problem, algorithm: AbstractAlgorithm, theta0: Start) -> Family:
    """What every deletion of as many points as the problem's (one, if it deletes none) leaves to be hidden.

    Raises:
        InputError: more deletions, or more work, than can be done; random batches.
    """
    sets = every_set(problem.data.n, max(problem.delete.size, 1))
    if isinstance(algorithm, AbstractDescent):
        return _descents(problem, algorithm, theta0, sets)
    start = require_start(problem, theta0, "theta0, where training starts")
    trained = trained_at(problem, start)
    _refuse_work(len(sets) * problem.dim**3 * (1.0 if problem.convex else 1e3), "runs of Newton's method")
    if isinstance(algorithm, CertifiedRemoval):
        require_linear(problem)
        ends = newton_step_all(problem, trained, points=sets).predicted
        return Family(sets, _residuals(problem, ends, sets), None, 1.0, float("nan"), float("nan"))
    damping = algorithm.damping if isinstance(algorithm, NewtonRemoval) else 0.0
    ends = newton_step_all(problem, trained, points=sets, damping=damping).predicted
    changes = ends - retrain_all(problem, trained, points=sets).thetas
    return Family(sets, np.linalg.norm(changes, axis=1), changes, 1.0, float("nan"), float("nan"))


def every_set(n: int, m: int) -> Int[np.ndarray, "k m"]:
    """All sets of m of n points.

    Raises:
        InputError: more than 100,000.
    """
    count = math.comb(n, m)
    if count > MOST_SETS:
        raise InputError(
            f"scope='per data set' would take all {count:.3g} sets of {m} of the {n} points; {MOST_SETS:,} are tried "
            "at most. Delete fewer points, or take scope='per instance' or 'worst case'."
        )
    if m == 1:
        return np.arange(n)[:, None]
    return np.fromiter(itertools.chain.from_iterable(itertools.combinations(range(n), m)), int, count * m).reshape(
        -1, m
    )


def _descents(problem: Problem, algorithm: AbstractDescent, theta0: Start, sets: Int[np.ndarray, "k m"]) -> Family:
    if algorithm.batch_size:
        raise InputError(
            "scope='per data set' with mini-batches would take every draw of the batches for every deletion; take "
            "scope='per instance' (sampled), or 'worst case' (proved by the law of the batches)."
        )
    if isinstance(algorithm, RewindToDelete) and not algorithm.checkpoint:
        raise InputError(
            "scope='per data set' rewinds one training run for all deletions, from a checkpoint: set checkpoint=True."
        )
    start = require_start(problem, theta0, "theta0, where training starts")
    eta = algorithm.eta(problem, start)
    plan = algorithm.plan(eta)
    exact = isinstance(problem.risk, Quadratic) and algorithm.radius is None
    if not exact:
        steps = len(sets) * (len(plan.weights) + plan.steps)
        per_step = problem.dim**2 if isinstance(problem.risk, Quadratic) else 2 * problem.data.n * problem.dim
        slow = 1.0 if isinstance(problem.model, LinearModel) else 10.0
        _refuse_work(float(steps) * per_step * slow, f"{steps:,} steps of gradient descent")
    ends = algorithm.descend(problem, start, sets=sets)
    changes = ends.theta - ends.retrained
    sizes = np.linalg.norm(changes, axis=1)
    return Family(sets, sizes, changes, float(plan.steps), float(plan.trained), eta)


def _refuse_work(work: float, what: str) -> None:
    if work > MOST_WORK:
        raise InputError(
            f"scope='per data set' would take {what}, some {work:.1g} multiplications, and {MOST_WORK:.0g} are the "
            "limit. Take fewer steps, scope='per instance', or 'worst case'."
        )


def _residuals(
    problem: Problem, ends: Float[np.ndarray, "k d"], sets: Int[np.ndarray, "k m"]
) -> Float[np.ndarray, " k"]:
    """`residual_left` of every set."""
    model = problem.generalised()
    left = np.empty(len(sets))
    for k, (theta, points) in enumerate(zip(ends, sets, strict=True)):
        weights = np.full(problem.data.n, problem.scale)
        weights[points] = 0.0
        left[k] = np.linalg.norm(model.gradient(model.at(theta), weights))
    return left / problem.scale
