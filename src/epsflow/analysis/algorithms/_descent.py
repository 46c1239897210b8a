"""Gradient descent: the flow in steps of η, with all points or with mini-batches; and the same steps backwards."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optimistix as optx
from jaxtyping import Float, Int, Key
from scipy.linalg import cho_factor, cho_solve

from ..._core import (
    RESULTS,
    SUCCESS,
    Array,
    Axed,
    ConvergenceError,
    InputError,
    Labelled,
    Shown,
    as_scalar,
    decide,
    message,
    succeeded,
)
from ...flow import checked
from ...problem import AbstractRisk, Problem, Quadratic
from ...schedules import AbstractSchedule, Constant
from ..curvature import curvature_at, largest_eigenvalue
from ._steps import descend
from ._walk import descend_plainly

PROX_TOLERANCE = 1e-13
"""Relative tolerance of one backward step; the next steps amplify what it leaves."""

DIVERGED = RESULTS.nonlinear_divergence


class Descent(Shown, Labelled, eqx.Module):
    """θ after chosen numbers of steps; with mini-batches a leading axis of seeds (r).

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.gradient_descent(problem, 1.0, np.zeros(10), steps=10).end.shape
        (10,)

    Attributes:
        steps: numbers of steps, shape (k,).
        thetas: θ after them, shape (*r, k, d).
        step_size: η; step k stands for the time ηk of the flow.
        batch_size: points per step; 0 for all.
        result: successful, or nonlinear_divergence (θ is no longer finite), one per seed.
    """

    steps: Int[np.ndarray, " k"]
    thetas: Float[Array, "*r k d"]
    step_size: Float[Array, ""]
    batch_size: int = eqx.field(static=True)
    result: RESULTS

    def _arrays(self) -> dict[str, Axed]:
        return {"step": ("step", self.steps), "theta": ("seed? step parameter", self.thetas)}

    def _facts(self) -> dict[str, object]:
        return {
            "steps": self.steps,
            "thetas": self.thetas,
            "step_size": self.step_size,
            "batch_size": self.batch_size,
            "result": self.result,
        }

    @property
    def end(self) -> Float[Array, "*r d"]:
        """θ after the last step."""
        return self.thetas[..., -1, :]


class Reconstruction(Shown, Labelled, eqx.Module):
    """Earlier iterates of gradient descent, recovered from the last one.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> walked = ef.gradient_descent(line, ef.Constant(1.0), np.ones(1), steps=5, step_size=0.1)
        >>> ef.reconstruct(line, walked.thetas[-1], steps=5, step_size=0.1).thetas[-1].round(9)
        array([1.])

    Attributes:
        steps: how many steps before the last iterate, 0 to the number asked for, shape (k+1,).
        thetas: the iterates so many steps before, shape (k+1, d).
        uncertainty: distance of a second reconstruction that started one unit of rounding away: what rounding of θ_T
            alone has grown to, shape (k+1,).
        step_error: ‖θ̂_t − η∇R(θ̂_t) − θ̂_{t+1}‖, how far one step forward misses, shape (k+1,).
        replay_error: distance from this path of gradient descent run forward again from the earliest iterate that is
            known, shape (k+1,); NaN before that. A contraction hides its start: a small error does *not* say that the
            start was right, only the uncertainty can.
        breakdown: steps before the end at which the path stops being known: the uncertainty, or what one step forward
            misses, exceeds `tol` times the distance from θ_T. −1 where it never does.
        result: successful, or nonlinear_divergence where it broke down.
    """

    steps: Int[np.ndarray, " k"]
    thetas: Float[Array, "k d"]
    uncertainty: Float[Array, " k"]
    step_error: Float[Array, " k"]
    replay_error: Float[Array, " k"]
    breakdown: int = eqx.field(static=True)
    result: RESULTS

    def _arrays(self) -> dict[str, Axed]:
        return {
            "back": ("back", self.steps),
            "theta": ("back parameter", self.thetas),
            "uncertainty": ("back", self.uncertainty),
            "step_error": ("back", self.step_error),
            "replay_error": ("back", self.replay_error),
        }

    def _facts(self) -> dict[str, object]:
        return {"steps": len(self.steps) - 1, "breakdown": self.breakdown, "result": self.result}


@checked
def gradient_descent(
    problem: Problem,
    schedule: AbstractSchedule | float,
    theta0: Float[Array, " d"] | np.ndarray,
    *,
    steps: int | Int[np.ndarray, " k"],
    step_size: float | None = None,
    batch_size: int | None = None,
    key: Key[Array, ""] | None = None,
    seeds: int = 1,
    throw: bool = True,
) -> Descent:
    """θ_{k+1} = θ_k − η ∇R_{ε(η(k+½))}(θ_k): explicit Euler for the flow, so θ_k = θ(ηk) + O(η).

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.gradient_descent(problem, 1.0, np.zeros(10), steps=10)
        Descent(steps=[10], thetas=array(1, 10), step_size=0.2485, batch_size=0, result=successful)

    With mini-batches, ∇R is replaced by its unbiased estimate (n/b) c Σ_{i∈B_k} w_i∇ℓ_i + λθ, B_k drawn from *all* n
    points without replacement, independently of the other steps' batches. B_k depends on the seed and on k alone, so
    that runs with different schedules share their batches (deleted points in them have weight ε).

    `train_with` goes through shuffled epochs instead: for one key the batches are others. Here they stay independent
    because the certificates with mini-batches count on it: in `batch_law` the number of deleted points in a batch is
    hypergeometric and independent of the other steps'. An epoch holds each of them once for certain (if b divides n),
    and that law would bound nothing.

    Args:
        problem: what is trained.
        schedule: ε(t), or one constant weight.
        theta0: start, shape (d,).
        steps: a number of steps, or ascending numbers at which θ is wanted (checkpoints), shape (k,).
        step_size: η. Default: 1/λ_max(∇²R_1(θ0)), estimated; for a convex quadratic, 2/λ_max is the limit of
            stability.
        batch_size: points per step; None for all of them.
        key: seed of the batches; needed with `batch_size`.
        seeds: number of runs with different batches.
        throw: raise if θ does not stay finite.

    Raises:
        InputError: steps that do not ascend, a non-positive step size, a batch larger than the data, no key.
        ConvergenceError: divergence; `.result` holds the run.
    """
    start = problem.parameters(theta0, "theta0")
    marks, eta = as_steps(steps), as_step_size(problem, start, step_size)
    eps = schedule if isinstance(schedule, AbstractSchedule) else Constant(problem.weights(schedule))
    batch, keys = as_batches(problem, batch_size, key, seeds)
    if batch:
        legs = jnp.asarray(0), jnp.asarray(marks), jnp.asarray(eta)
        thetas = np.asarray(descend(problem.empirical(), eps, start, *legs, keys, batch))
    else:
        thetas = descend_plainly(problem, eps, start, marks, float(eta))
    found = Descent(marks, thetas, eta, batch, finite(thetas))
    if throw:
        throw_diverged(found.result, found, eta)
    return found


@checked
def reconstruct(
    problem: Problem,
    theta: Float[Array, " d"],
    *,
    steps: int,
    step_size: float,
    eps: float = 1.0,
    tol: float = 1e-2,
) -> Reconstruction:
    """The iterates before θ_T by the proximal map, θ_t = prox_{−R,η}(θ_{t+1}): the root of θ_t − η∇R_ε(θ_t) = θ_{t+1}.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> end = ef.gradient_descent(problem, 1.0, np.zeros(10), steps=10, step_size=0.1).end
        >>> ef.reconstruct(problem, end, steps=10, step_size=0.1).breakdown  # the path is known to its beginning
        -1

    Needs ηλ_max < 1, or the root is not unique (at ηλ = 1 a step forgets that direction altogether). Each step back
    multiplies an error along an eigenvector by 1/(1 − ηλ): rounding of θ_T grows until the path is lost, and the result
    says where.

    Args:
        problem: what was trained.
        theta: θ_T, the last iterate of full-batch gradient descent, shape (d,).
        steps: how many steps to go back.
        step_size: η of the training.
        eps: weight that the deleted points had.
        tol: relative uncertainty at which the path counts as lost.

    Raises:
        InputError: ηλ_max ≥ 1 at θ_T, or bad shapes.

    Source: Mu and Klabjan, "Rewind-to-delete", arXiv 2409.09778.
    """
    end = problem.parameters(theta)
    marks, eta = as_steps(steps), as_step_size(problem, end, step_size)
    if marks.size != 1 or marks[0] < 1:
        raise InputError(f"steps is {steps!r}; one number of steps to go back is needed, at least 1.")
    largest = largest_eigenvalue(curvature_at(problem, end, "hessian", eps=eps))
    if float(eta) * largest >= 1.0:
        raise InputError(
            f"η·λ_max = {float(eta) * largest:.3g} at theta; below 1 a step of gradient descent can be undone, at "
            f"1 it forgets a direction. Keep checkpoints, or train with a step size below {1.0 / largest:.3g}."
        )
    weights = problem.weights(eps)
    # In NumPy from here on: outside a compiled function JAX would compile each of these operations by itself.
    if isinstance(problem.risk, Quadratic):
        paths, errors = _linear_backwards(problem.risk, np.asarray(weights), np.asarray(end), float(eta), int(marks[0]))
    else:
        found = _backwards(problem.risk, weights, end, jnp.asarray(eta), int(marks[0]))
        paths, errors = (np.asarray(part) for part in found)
    path, uncertainty = paths[:, 0], np.linalg.norm(paths[:, 0] - paths[:, 1], axis=1)
    allowed = tol * np.linalg.norm(path - np.asarray(end), axis=1)
    lost = np.flatnonzero(~(np.maximum(uncertainty, errors)[1:] <= allowed[1:]))
    breakdown = int(lost[0]) + 1 if lost.size else -1
    known = int(lost[0]) if lost.size else len(path) - 1
    replay = descend_plainly(problem, Constant(weights), path[known], np.arange(len(path)), float(eta))
    replay_error = np.full(len(path), np.nan)
    replay_error[: known + 1] = np.linalg.norm(replay[known::-1] - path[: known + 1], axis=1)
    return Reconstruction(
        steps=np.arange(len(path)),
        thetas=path,
        uncertainty=uncertainty,
        step_error=errors,
        replay_error=replay_error,
        breakdown=breakdown,
        result=DIVERGED if breakdown > 0 else SUCCESS,
    )


def as_steps(steps: Any) -> Int[np.ndarray, " k"]:
    """Ascending numbers of steps, as a vector."""
    marks = np.atleast_1d(np.asarray(steps))
    if marks.ndim != 1 or marks.dtype.kind not in "iu" or not marks.size or marks[0] < 0 or (np.diff(marks) < 0).any():
        raise InputError(f"steps must be a whole number ≥ 0, or ascending ones; got {steps!r}.")
    return marks.astype(np.int64)


def as_step_size(problem: Problem, theta: Array, step_size: Any, max_bytes: int | None = None) -> Float[Array, ""]:
    """η > 0; 1/λ_max(∇²R_1(θ)) if none was given, by `POWER_STEPS` products within the budget of memory.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> float(ef.analysis.as_step_size(line, np.zeros(1), 0.1))
        0.1
        >>> ef.analysis.as_step_size(line, np.zeros(1), -0.1)
        Traceback (most recent call last):
            ...
        epsflow.InputError: step_size is -0.1; a positive number is needed, below 2/λ_max(∇²R) for …
    """
    if step_size is None:
        return np.asarray(1.0 / largest_eigenvalue(curvature_at(problem, theta, "hessian", max_bytes=max_bytes)))
    eta = as_scalar(step_size, "step_size")
    if eta <= 0.0:
        raise InputError(f"step_size is {eta:g}; a positive number is needed, below 2/λ_max(∇²R) for stability.")
    return np.asarray(eta)


def as_batches(problem: Problem, batch_size: Any, key: Any, seeds: int) -> tuple[int, Any]:
    """The batch size (0 for all points) and one key per run; None for all points, which draw nothing."""
    if batch_size is None:
        return 0, None
    if not 1 <= batch_size <= problem.data.n:
        raise InputError(
            f"batch_size is {batch_size}; it must lie between 1 and the number of points, {problem.data.n}."
        )
    if key is None:
        raise InputError("mini-batches are drawn at random: pass key=jax.random.key(0), or another seed.")
    if seeds < 1:
        raise InputError(f"seeds is {seeds}; at least one run is needed.")
    return int(batch_size), jax.random.split(key, seeds)


def _forward_miss(theta: Array, args: tuple[AbstractRisk, Array, Array, Array]) -> Array:
    risk, eps, eta, target = args
    return theta - eta * risk.gradient(theta, eps) - target


def _linear_backwards(
    risk: Quadratic, eps: Float[np.ndarray, "*m"], end: Float[np.ndarray, " d"], eta: float, steps: int
) -> tuple[Float[np.ndarray, "k 2 d"], Float[np.ndarray, " k"]]:
    """`_backwards` for linear regression: (I − ηH_ε)θ_t = θ_{t+1} − ηb_ε, refined once to rounding."""
    h, b = (eta * np.asarray(part) for part in risk.system(eps))
    factor, signs = cho_factor(np.eye(len(b)) - h), np.where(np.arange(len(end)) % 2 == 0, 1.0, -1.0)
    path, misses = [np.stack([end, end + np.finfo(np.float64).eps * np.abs(end) * signs])], [0.0]
    for _ in range(steps):
        targets = path[-1]
        found = cho_solve(factor, (targets - b).T).T
        found = found + cho_solve(factor, (targets - found + (found @ h - b)).T).T
        path.append(found)
        misses.append(float(np.linalg.norm(found[0] - (found[0] @ h - b) - targets[0])))
    return np.stack(path), np.array(misses)


@eqx.filter_jit
def _backwards(
    risk: AbstractRisk, eps: Array, end: Array, eta: Array, steps: int
) -> tuple[Float[Array, "k 2 d"], Float[Array, " k"]]:
    """Two reconstructions from ends one rounding apart, and how far one step forward misses on the first."""
    # I − ηH is positive definite while ηλ_max < 1.
    inner = lx.CG(rtol=PROX_TOLERANCE, atol=1e-300, norm=lx.internal.two_norm, max_steps=4 * end.shape[0] + 20)
    newton = optx.Newton(rtol=PROX_TOLERANCE, atol=PROX_TOLERANCE, norm=optx.two_norm, linear_solver=inner)
    positive = frozenset({lx.positive_semidefinite_tag})

    def back(target: Array) -> tuple[Array, Array]:
        args = risk, eps, eta, target
        guess = target + eta * risk.gradient(target, eps)
        root = optx.root_find(_forward_miss, newton, guess, args, tags=positive, max_steps=50, throw=False).value
        return root, jnp.linalg.norm(_forward_miss(root, args))

    def step(targets: Array, _: None) -> tuple[Array, tuple[Array, Array]]:
        found, misses = jax.vmap(back)(targets)
        return found, (found, misses[0])

    signs = jnp.where(jnp.arange(end.shape[0]) % 2 == 0, 1.0, -1.0)
    pair = jnp.stack([end, end + jnp.finfo(end.dtype).eps * jnp.abs(end) * signs])
    _, (path, misses) = jax.lax.scan(step, pair, None, length=steps)
    return jnp.concatenate([pair[None], path]), jnp.concatenate([jnp.zeros(1), misses])


def finite(thetas: Float[np.ndarray, "*shape k d"]) -> RESULTS:
    """Per run: successful, or nonlinear_divergence."""
    return decide((~np.isfinite(thetas).all(axis=(-2, -1)), DIVERGED))


def throw_diverged(result: RESULTS, whole: Any, eta: Array) -> None:
    """Raise if a run did not stay finite."""
    failed = np.flatnonzero(~succeeded(result))
    if failed.size:
        words = message(DIVERGED)
        raise ConvergenceError(
            f"gradient descent left the finite numbers in {failed.size} run(s) with η = {float(eta):g}: {words} Try a "
            "smaller step_size (below 2/λ_max(∇²R)); throw=False returns the run.",
            whole,
        )
