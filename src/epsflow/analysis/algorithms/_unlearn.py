"""D2D and R2D: unlearning algorithms as endpoints of the flow, and as gradient descent in steps of η."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, Key

from ..._core import (
    RESULTS,
    Array,
    Axed,
    ConvergenceError,
    InputError,
    Labelled,
    Shown,
    as_float64,
    as_scalar,
    pick,
    succeeded,
)
from ...flow import checked, gradient_flow, rewind_surface
from ...problem import Problem
from ...schedules import Constant
from .._deletions import require_deletion
from ..optima._retrain import retrain
from ._descent import as_batches, as_step_size, as_steps, finite, reconstruct, throw_diverged
from ._steps import descend
from ._walk import descend_plainly


class Unlearning(Shown, Labelled, eqx.Module):
    """Where unlearning ends, and how far that is from retraining. With mini-batches a leading axis of seeds (r).

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> found = ef.descend_to_delete(line, np.array([1.5]), steps=[0, 1, 2], step_size=0.1)
        >>> found.distance
        array([0.1  , 0.05 , 0.025])

    Attributes:
        amounts: how much unlearning was done: K, in time (flow) or in steps (descent), shape (k,).
        thetas: the parameters it ends with, shape (*r, k, d).
        distance: ‖θ − target‖₂, shape (*r, k); NaN without a target.
        target: what is meant by retraining, shape (d,), or (r, d) where retraining used the same batches.
        reference: the target in words.
        gradients: gradients of the risk that the unlearning (not the training) took, in units of one pass over all n
            points, shape (k,); NaN for a flow, which is no algorithm.
        error: estimate of the flow's integration error, in units of θ; NaN for gradient descent, which is O(η) away
            from the flow.
        step_size: η; NaN for a flow.
        method: "flow", "gradient descent" or "stochastic gradient descent".
        result: how the computation ended (one per seed with mini-batches).
    """

    amounts: Float[np.ndarray, " k"]
    thetas: Float[Array, "*r k d"]
    distance: Float[Array, "*r k"]
    target: Float[Array, "*q d"]
    reference: str = eqx.field(static=True)
    gradients: Float[np.ndarray, " k"]
    error: Float[Array, ""]
    step_size: Float[Array, ""]
    method: str = eqx.field(static=True)
    result: RESULTS

    def _arrays(self) -> dict[str, Axed]:
        return {
            "amount": ("amount", self.amounts),
            "theta": ("seed? amount parameter", self.thetas),
            "distance": ("seed? amount", self.distance),
            "target": ("seed? parameter", self.target),
            "gradients": ("amount", self.gradients),
        }

    def _facts(self) -> dict[str, object]:
        return {
            "amounts": self.amounts,
            "distance": self.distance,
            "reference": self.reference,
            "method": self.method,
            "result": self.result,
        }

    @property
    def theta(self) -> Float[Array, "*r d"]:
        """The parameters after the largest amount of unlearning."""
        return self.thetas[..., -1, :]


@checked
def descend_to_delete(
    problem: Problem,
    theta: Float[Array, " d"],
    *,
    time: float | int | Sequence[float] | np.ndarray | None = None,
    steps: int | Sequence[int] | np.ndarray | None = None,
    step_size: float | None = None,
    batch_size: int | None = None,
    key: Key[Array, ""] | None = None,
    seeds: int = 1,
    target: Float[Array, " d"] | np.ndarray | None = None,
    throw: bool = True,
    **options: Any,
) -> Unlearning:
    """Descent-to-delete (D2D): go on training from θ_T without the deleted points, θ̇ = −∇R_0(θ) or steps of it.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.descend_to_delete(problem, ef.train(problem).theta, time=100.0).amounts
        array([100.])

    Args:
        problem: what was trained, and which points are deleted.
        theta: θ_T, the trained parameters, shape (d,).
        time: how long the flow runs: one time, or ascending ones (k,).
        steps: or how many steps of gradient descent: one number, or ascending ones (k,).
        step_size: η, see `gradient_descent`.
        batch_size, key, seeds: mini-batches, see `gradient_descent`.
        target: what distances are measured to, shape (d,). Default: θ(0), the exact leave-out optimum, for convex
            risks; none for others, where it depends on what retraining means (see `retrain`).
        throw: raise if the computation fails.
        **options: of `gradient_flow`, with `time`.

    Raises:
        InputError: not exactly one of `time` and `steps`; no deleted points; as `gradient_descent`.
        ConvergenceError: the flow or the descent failed; `.result` holds what there is.

    Source: Neel, Roth, Sharifi-Malvajerdi, "Descent-to-delete", 2020 (their noise is added to this endpoint).
    """
    require_deletion(problem)
    if (time is None) == (steps is None):
        raise InputError("give `time` (the continuous flow) or `steps` (gradient descent), one of the two.")
    start = problem.parameters(theta)
    goal, reference = _optimum(problem, start, target)
    if time is not None:
        amounts = _times(time, "time")
        path = gradient_flow(problem, Constant(0.0), start, ts=amounts, throw=throw, **options)
        return _flowed(amounts, path.thetas, goal, reference, path.error, path.result)
    marks, eta = as_steps(steps), as_step_size(problem, start, step_size)
    batch, keys = as_batches(problem, batch_size, key, seeds)
    legs = _Legs(problem, eta, batch, keys)
    return _descended(legs, marks, legs.walk(0.0, start, 0, marks), goal, reference, throw)


@checked
def rewind_to_delete(
    problem: Problem,
    theta0: Float[Array, " d"] | np.ndarray,
    *,
    T: float | None = None,
    steps: int | None = None,
    K: float | int | Sequence[float] | Sequence[int] | np.ndarray,
    step_size: float | None = None,
    batch_size: int | None = None,
    key: Key[Array, ""] | None = None,
    seeds: int = 1,
    target: Float[Array, " d"] | np.ndarray | None = None,
    checkpoints: Literal["kept", "reconstructed"] = "kept",
    throw: bool = True,
    **options: Any,
) -> Unlearning:
    """Rewind-to-delete (R2D): train to T, go back to the checkpoint at T − K, and train on for K without the points.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.rewind_to_delete(problem, np.zeros(10), T=20.0, K=5.0).amounts
        array([5.])

    The endpoint is θ(T, s = T − K) of `rewind_surface`: K = T is retraining, K = 0 no unlearning. With `T`, training is
    the flow, and T and K are times; with `steps`, it is gradient descent, and K counts steps too.

    Args:
        problem: what is trained, and which points are deleted.
        theta0: where training starts, shape (d,).
        T: time that the flow trains,
        steps: or steps of gradient descent.
        K: how far to rewind: one number between 0 and T (or `steps`), or ascending ones (k,).
        step_size: η of gradient descent, see `gradient_descent`.
        batch_size, key, seeds: mini-batches, see `gradient_descent`. Retraining then uses the same batches.
        target: what distances are measured to. Default: retraining from θ0 without the points, for T as well.
        checkpoints: "kept", or "reconstructed": the iterate at T − K is recovered from θ_T alone (see `reconstruct`;
            full batches only).
        throw: raise if the computation fails.
        **options: of `rewind_surface`, for the flow.

    Raises:
        InputError: not exactly one of `T` and `steps`; K beyond it; steps that are not whole; mini-batches with `T`, or
            reconstructed.
        ConvergenceError: the computation failed, or the reconstruction broke down before T − K (`.result` says where).

    Source: Mu and Klabjan, "Rewind-to-delete", arXiv 2409.09778 (their noise is added to this endpoint).
    """
    require_deletion(problem)
    start = problem.parameters(theta0, "theta0")
    if checkpoints not in ("kept", "reconstructed"):
        raise InputError(f"checkpoints is {checkpoints!r}; choose 'kept' or 'reconstructed'.")
    if (T is None) == (steps is None):
        raise InputError("give `T` (the continuous flow) or `steps` (gradient descent), one of the two.")
    length, name = (T, "T") if steps is None else (steps, "steps")
    final, amounts = as_scalar(length, name), _times(K, "K")
    if amounts[-1] > final:
        raise InputError(
            f"K = {amounts[-1]:g} exceeds {name} = {final:g}: one cannot rewind beyond the start of training."
        )
    given = None if target is None else problem.parameters(target, "target")
    if steps is not None:
        batch, keys = as_batches(problem, batch_size, key, seeds)
        eta, lengths = as_step_size(problem, start, step_size), as_steps(_whole([*amounts, final]))
        return _rewind_steps(_Legs(problem, eta, batch, keys), start, lengths, given, checkpoints, throw)
    if batch_size is not None or checkpoints != "kept" or step_size is not None:
        raise InputError("step sizes, mini-batches and reconstruction belong to gradient descent: pass steps, not T.")
    drops = np.concatenate([[0.0], final - amounts[::-1]])
    surface = rewind_surface(problem, s=drops, T=final, theta0=start, throw=throw, **options)
    thetas, reference = surface.thetas[:, 0], RETRAINED if given is None else "given"
    goal = thetas[0] if given is None else given
    return _flowed(amounts, thetas[:0:-1], goal, reference, surface.error, _worst(surface.result))


RETRAINED = "retraining from θ0 for T, without the points"
OPTIMUM = "θ(0), the exact leave-out optimum"
NO_TARGET = "none: pass target"


def _rewind_steps(
    legs: "_Legs", start: Array, lengths: np.ndarray, given: Array | None, checkpoints: str, throw: bool
) -> Unlearning:
    *rewinds, final = (int(length) for length in lengths)
    end = np.asarray([final])
    # Checkpoints in the order of time; the smallest rewind is the latest.
    marks = final - np.asarray(rewinds)[::-1]
    if checkpoints == "kept":
        kept = legs.walk(1.0, start, 0, marks)
    else:
        if legs.batch:
            raise InputError("mini-batches cannot be undone: keep checkpoints, or use full batches.")
        trained = legs.walk(1.0, start, 0, end)[0, -1]
        kept = _recover(legs, trained, final - marks, throw)[None]
    thetas = legs.resume(0.0, kept, marks, end)[:, ::-1]
    goal, reference = given, "given"
    if goal is None:
        goal = legs.walk(0.0, start, 0, end)[:, -1]
        goal, reference = (goal if legs.batch else goal[0]), RETRAINED
    return _descended(legs, np.asarray(rewinds), thetas, goal, reference, throw)


def _recover(
    legs: "_Legs", trained: Float[np.ndarray, " d"], back: np.ndarray, throw: bool
) -> Float[np.ndarray, "k d"]:
    furthest = int(back.max())
    if furthest == 0:
        return trained[None]
    found = reconstruct(legs.problem, trained, steps=furthest, step_size=float(legs.eta))
    if throw and 0 < found.breakdown <= furthest:
        raise ConvergenceError(
            f"the iterates before θ_T are lost {found.breakdown} steps back, of {furthest} needed: rounding has grown "
            f"to {float(found.uncertainty[found.breakdown]):.2e}. Keep checkpoints, rewind less, or train with smaller "
            "steps; throw=False goes on with what was reconstructed.",
            found,
        )
    return np.asarray(found.thetas)[back]


class _Legs(NamedTuple):
    """Gradient descent of one problem at one weight and step size; with mini-batches, one run for each key."""

    problem: Problem
    eta: Array
    batch: int
    keys: Any

    def walk(
        self, eps: float, start: Float[Array, "*r d"], first: int, marks: Int[np.ndarray, " k"]
    ) -> Float[np.ndarray, "r k d"]:
        """θ at steps `marks`, from step `first` on."""
        if not self.batch:
            return descend_plainly(self.problem, Constant(eps), start, marks, float(self.eta), first)[None]
        legs = jnp.asarray(first), jnp.asarray(marks), jnp.asarray(self.eta)
        return np.asarray(descend(self.problem.empirical(), Constant(eps), start, *legs, self.keys, self.batch))

    def resume(
        self, eps: float, kept: Float[np.ndarray, "r k d"], firsts: Int[np.ndarray, " k"], end: Int[np.ndarray, " 1"]
    ) -> Float[np.ndarray, "r k d"]:
        """From the k checkpoints of every run on to step `end`."""
        starts = np.swapaxes(kept, 0, 1) if self.batch else kept[0]
        legs = [self.walk(eps, start, int(first), end)[:, -1] for start, first in zip(starts, firsts, strict=True)]
        return np.stack(legs, axis=1)


def _optimum(problem: Problem, start: Array, target: Any) -> tuple[Float[Array, " d"], str]:
    if target is not None:
        return problem.parameters(target, "target"), "given"
    if not problem.convex:
        return np.full(problem.dim, np.nan), NO_TARGET
    return np.asarray(retrain(problem, start).theta), OPTIMUM


def _flowed(
    amounts: np.ndarray, thetas: Array, goal: Array, reference: str, error: Array, result: RESULTS
) -> Unlearning:
    nothing, cost = np.asarray(np.nan), np.full(len(amounts), np.nan)
    distance = np.linalg.norm(np.asarray(thetas) - np.asarray(goal), axis=-1)
    return Unlearning(amounts, thetas, distance, goal, reference, cost, error, nothing, "flow", result)


def _descended(
    legs: _Legs, amounts: np.ndarray, thetas: Float[np.ndarray, "r k d"], goal: Array, reference: str, throw: bool
) -> Unlearning:
    thetas, goal, steps = thetas if legs.batch else thetas[0], np.asarray(goal), amounts.astype(np.float64)
    found = Unlearning(
        amounts=steps,
        thetas=thetas,
        distance=np.linalg.norm(thetas - (goal[:, None] if goal.ndim == 2 else goal), axis=-1),
        target=goal,
        reference=reference,
        gradients=steps * (legs.batch / legs.problem.data.n if legs.batch else 1.0),
        error=np.asarray(np.nan),
        step_size=legs.eta,
        method="stochastic gradient descent" if legs.batch else "gradient descent",
        result=finite(thetas),
    )
    if throw:
        throw_diverged(found.result, found, legs.eta)
    return found


def _times(values: Any, name: str) -> Float[np.ndarray, " k"]:
    times = np.atleast_1d(as_float64(values, name))
    if times.ndim != 1 or not times.size or not np.isfinite(times).all():
        raise InputError(f"{name} must be a finite number, or a vector of them; got {values!r}.")
    if times[0] < 0.0 or (np.diff(times) < 0.0).any():
        raise InputError(f"{name} must be ≥ 0 and ascend; it runs from {times[0]:g} to {times[-1]:g}.")
    return times


def _whole(values: list[float]) -> np.ndarray:
    numbers = np.asarray(values)
    if (numbers != np.round(numbers)).any():
        raise InputError(f"K counts steps, as `steps` does, and must be whole numbers; got {numbers.tolist()}.")
    return numbers.astype(np.int64)


def _worst(results: RESULTS) -> RESULTS:
    """The first failure of several, if one failed."""
    failed = np.flatnonzero(~succeeded(results))
    if np.ndim(succeeded(results)) == 0:  # the exact flow has one result for all rows
        return results
    return pick(results, (int(failed[0]) if failed.size else 0,))
