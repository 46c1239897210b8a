"""What a search hands over: the runs of a solver, and the derivatives by the switch times."""

import abc
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import null_space

from ..._core import RESULTS, SUCCESS, spelled
from ...schedules import AbstractSchedule
from ._deadline import Deadline
from ._window import MeshWindow


class SecondOrder(NamedTuple):
    """Derivatives of the cost by the switch times, at a schedule that has been freed of its mesh.

    Example:
        >>> ef.control.SecondOrder(np.array([0.5]), np.zeros(1), np.array([[2.0]])).least_curvature
        2.0

    Attributes:
        switch_ts: the switch times τ, ascending, shape (k,).
        gradient: ∂𝓔/∂τ, shape (k,): the jump of the Hamiltonian, zero to rounding where converged. With a price or a
            multiplier ρ, the derivative of 𝓔 + ρ∫|ε| dt.
        hessian: ∂²𝓔/∂τ∂τ with all levels held, shape (k, k), by central differences of the gradient.
        spending: ∂(∫|ε| dt)/∂τ, shape (k,), where that is held fixed by a budget; else None.
    """

    switch_ts: Float[np.ndarray, " k"]
    gradient: Float[np.ndarray, " k"]
    hessian: Float[np.ndarray, "k k"]
    spending: Float[np.ndarray, " k"] | None = None

    __repr__ = spelled

    @property
    def least_curvature(self) -> float:
        """Least eigenvalue of the Hessian, within a budget among the moves that keep to it; +∞ where nothing can move.

        Positive at a strict local minimum among schedules with these arcs.
        """
        return least_curvature(self.hessian, self.spending)


def least_curvature(hessian: Float[np.ndarray, "k k"], held: Float[np.ndarray, " k"] | None) -> float:
    """The least eigenvalue on the plane of the moves that do not change what is held; +∞ if there are none."""
    if held is not None:
        plane = null_space(held[None])
        hessian = plane.T @ hessian @ plane
    return float(np.linalg.eigvalsh(hessian)[0]) if len(hessian) else np.inf


class Candidate(NamedTuple):
    """One run of a solver. Its numbers are a proposal until the schedule is simulated by the flow room.

    Example:
        >>> ef.control.Candidate("all low", np.zeros(3), "Solve_Succeeded", True, iterations=7).success
        True

    Attributes:
        start: what ε the run began with.
        values: ε on the intervals, within the bounds, shape (N,) or (N, m).
        status: the return status of IPOPT, or of L-BFGS-B or SLSQP (`method="adjoint"`), in its own words.
        success: whether the solver itself calls it a success.
        iterations: the solver's iterations.
        sweeps: gradients of the cost that were computed (`method="adjoint"`); 0 where nobody counts.
    """

    start: str
    values: Float[np.ndarray, "N *m"]
    status: str
    success: bool
    iterations: int
    sweeps: int = 0

    __repr__ = spelled


def named_guesses(
    bounds: tuple[float, float],
    shape: tuple[int, int],
    starts: Iterable[AbstractSchedule],
    read: Callable[[AbstractSchedule], Float[np.ndarray, "N columns"]],
) -> dict[str, Float[np.ndarray, "N controls"]]:
    """Levels on a mesh to start from: the corners, the middle, and given schedules.

    Args:
        bounds: of ε.
        shape: intervals and components of ε.
        starts: the schedules.
        read: the levels of one of them.
    """
    low, high = bounds
    corners = {"high": high, "low": low, "half way": 0.5 * (low + high)}
    guesses = {name: np.full(shape, level) for name, level in corners.items()}
    given = {f"given {i}: {type(start).__name__}": read(start) for i, start in enumerate(starts, 1)}
    return guesses | {name: np.broadcast_to(np.clip(levels, low, high), shape) for name, levels in given.items()}


class Least(NamedTuple):
    """The best of a few numbers that pick a schedule.

    Attributes:
        numbers: they, shape (p,).
        cost: of that schedule, with the price of its effort; infinite where none is finite and within the budget.
        evaluations: schedules whose cost was computed.
        finished: whether the search ended before its deadline.
    """

    numbers: Float[np.ndarray, " p"]
    cost: float
    evaluations: int
    finished: bool


ON_BOUND = 1e-3
"""Distance from a bound, in units of their distance, at which a level that a solver found is tried on the bound."""


def proposals(
    window: MeshWindow, runs: Iterable[Candidate], others: Iterable[Float[np.ndarray, "N *m"]] = ()
) -> list[Float[np.ndarray, "N *m"]]:
    """What is worth simulating: every run, also with what is near a bound moved onto it, and others; each once.

    An interior-point method stops short of the bounds, and L-BFGS-B of those that cost nothing to go to.
    """
    options = [levels for run in runs for levels in (run.values, window.onto_options(run.values, ON_BOUND))]
    options += others
    return [u for i, u in enumerate(options) if not any(np.array_equal(u, earlier) for earlier in options[:i])]


def outcome(runs: Sequence[Candidate], deadline: Deadline) -> RESULTS:
    """How a search ended that made these runs."""
    if deadline.passed:
        return RESULTS.time_limit_reached
    return RESULTS.no_start_succeeded if runs and not any(run.success for run in runs) else SUCCESS


class AbstractTranscription(abc.ABC):
    """A control problem on a mesh, ready to be solved from any guess.

    Attributes:
        window: what the controls are chosen on.
        deadline: when to stop.
    """

    window: MeshWindow
    deadline: Deadline

    @abc.abstractmethod
    def solve(self, name: str, guess: Float[np.ndarray, "N controls"]) -> Candidate:
        """One run of the solver from a named control."""

    def solve_from(self, guesses: dict[str, Float[np.ndarray, "N controls"]]) -> list[Candidate]:
        """One run from every guess, as long as there is time; the first in any case."""
        runs: list[Candidate] = []
        for name, guess in guesses.items():
            if runs and self.deadline.passed:
                break
            runs.append(self.solve(name, guess))
        return runs
