"""Influence at checkpoints: what the removal of a point from training so far would have done to φ(θ(t))."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..._core import RESULTS, Array, Axed, InputError, Labelled, Shown, stack
from ...analysis import Functional
from ...flow import as_times, checked_flow
from ...problem import Problem
from ...schedules import AbstractSchedule
from ._density import influence_density


@dataclass(frozen=True, eq=False, repr=False)
class CheckpointInfluence(Shown, Labelled):
    """The predicted change of φ(θ(t)) upon removal of each point from training until t, along training.

    Example:
        >>> data = ef.Dataset(np.array([[1.0], [1.0], [2.0]]), np.array([1.0, 2.0, 3.0]))
        >>> line = ef.linear_regression(data, [0], l2=1.0)
        >>> early = {"ts": np.array([0.1, 5.0]), "functional": lambda theta: theta[0]}
        >>> ef.checkpoint_influence(line, ef.Constant(1.0), np.zeros(1), **early).values.shape
        (2, 3)

    Attributes:
        ts: the checkpoints, shape (k,).
        values: −∫₀ᵗK_j ds with φ at θ(t), in units of φ, shape (k, n), or (k, n, q) for a vector functional.
        error: of the values.
        result: how each checkpoint's solves ended, shape (k,).
    """

    ts: Float[np.ndarray, " k"]
    values: Float[np.ndarray, "k n *q"]
    error: float
    result: RESULTS

    def _arrays(self) -> dict[str, Axed]:
        return {"t": ("t", self.ts), "change": ("t point functional?", self.values)}

    def _facts(self) -> dict[str, object]:
        return {"values": self.values, "largest": np.abs(self.values).max(), "error": self.error, "result": self.result}


@checked_flow
def checkpoint_influence(
    problem: Problem,
    schedule: AbstractSchedule,
    theta0: Float[Array, " d"],
    *,
    ts: Float[Array, " k"],
    functional: Functional,
    t0: float = 0.0,
) -> CheckpointInfluence:
    """−∫K_j ds from t0 to each of the times t, where φ is of θ(t): the influence function as training goes on.

    Example:
        >>> data = ef.Dataset(np.array([[1.0], [1.0], [2.0]]), np.array([1.0, 2.0, 3.0]))
        >>> line = ef.linear_regression(data, [0], l2=1.0)
        >>> early = {"ts": np.array([0.1, 5.0]), "functional": lambda theta: theta[0]}
        >>> ef.checkpoint_influence(line, ef.Constant(1.0), np.zeros(1), **early).values.round(4)
        array([[-0.0433, -0.1152, -0.317 ],
               [ 0.0408, -0.102 , -0.1224]])

    One density per checkpoint, each with its own backward solve. As t → ∞ it becomes the influence function at the
    optimum; before, it need be neither monotone nor of one sign.

    Args:
        problem, schedule, theta0, functional, t0: as in `influence_density`.
        ts: the checkpoints, ascending, after t0.

    Raises:
        InputError, ConvergenceError: as `influence_density`; a checkpoint at t0, before which nothing was trained.
    """
    times, first = as_times(ts, t0)
    if times[0] <= first:
        raise InputError(f"ts begins at {times[0]:g}, where training begins: leave out that time.")
    rows = [
        influence_density(
            problem, schedule, theta0, ts=np.array([float(first), t]), functional=functional, t0=float(first)
        ).removal()
        for t in times
    ]
    return CheckpointInfluence(
        ts=times,
        values=np.stack([row.change for row in rows]),
        error=max(row.error for row in rows),
        result=stack([row.result for row in rows]),
    )
