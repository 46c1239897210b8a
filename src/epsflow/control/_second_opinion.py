"""The same question to another method: direct transcription, solved by IPOPT through CasADi."""

import time
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .._core import InputError, Shown
from ..problem import Quadratic
from ..schedules import AbstractSchedule, PiecewiseConstant
from ._families import baseline
from ._simulate import effort_of, simulate
from ._task import ControlTask, linear_of
from .terms._deadline import UNLIMITED, Deadline
from .terms._runs import Candidate, proposals
from .terms._window import MeshWindow


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class SecondOpinion(Shown):
    """What IPOPT finds from ε half way between its bounds, on equal intervals; nothing of ours helps it.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> found = ef.compare_schedules(problem, np.zeros(10), s=2.0, T=20.0, check=True)
        >>> found.check.success
        True

    Attributes:
        schedule: what it proposes, the values near a bound also tried on it.
        cost: of θ(T), simulated by the flow room: not the solver's own number.
        cost_error: bound on its error.
        effort: ∫|ε| dt over (s, T).
        lower_bound: what no schedule costs less than, of the optimum beside it; NaN without one.
        status: IPOPT's return status, in its own words.
        success: whether IPOPT calls it a success.
        iterations: of IPOPT.
        intervals: of the mesh.
        seconds: all of it, from building the program to simulating the proposal.
    """

    schedule: AbstractSchedule
    cost: float
    cost_error: float
    effort: float
    lower_bound: float
    status: str
    success: bool
    iterations: int
    intervals: int
    seconds: float

    def words(self, objective: float) -> str:
        """Status, distance of the objective (price included) to the bound, and time, for a table."""
        bound = self.lower_bound
        above = f", {100.0 * (objective - bound) / bound:.2g} % above the bound" if bound > 0.0 else ""
        return f"{self.status}{above}, {self.seconds:.2f} s"

    def _facts(self) -> dict[str, object]:
        return {"cost": self.cost, "status": self.status, "intervals": self.intervals, "seconds": self.seconds}


def second_opinion(
    task: ControlTask,
    lower_bound: float,
    *,
    intervals: int = 100,
    per_point: bool = False,
    deadline: Deadline = UNLIMITED,
) -> SecondOpinion:
    """Solve the task by direct transcription alone.

    Args:
        task: the question.
        lower_bound: of the optimum that it stands beside; NaN without one.
        intervals, per_point: as in `optimal_schedule`.
        deadline: when IPOPT stops.

    Raises:
        InputError: a model too large for a program, or one that cannot be translated.
    """
    begun = time.perf_counter()
    columns = task.problem.delete.size if per_point else 1
    unit = max(baseline(task).cost, np.finfo(np.float64).tiny)
    window = MeshWindow(task.T - task.s, task.bounds, unit, task.price, task.budget)
    guess = {"half way": window.affordable(np.full((intervals, columns), 0.5 * sum(task.bounds)))}
    run = _solve(task, window, guess, shared=not per_point, deadline=deadline)
    knots = np.linspace(task.s, task.T, intervals + 1)
    tried = [PiecewiseConstant(knots, levels) for levels in proposals(window, [run])]
    simulated = [simulate(task, schedule) for schedule in tried]
    efforts = [effort_of(task, schedule) for schedule in tried]
    best = int(np.argmin([end.cost + task.price * effort for end, effort in zip(simulated, efforts, strict=True)]))
    return SecondOpinion(
        schedule=tried[best],
        cost=simulated[best].cost,
        cost_error=simulated[best].error,
        effort=efforts[best],
        lower_bound=lower_bound,
        status=run.status,
        success=run.success,
        iterations=run.iterations,
        intervals=intervals,
        seconds=time.perf_counter() - begun,
    )


def _solve(
    task: ControlTask,
    window: MeshWindow,
    guess: dict[str, Float[np.ndarray, "N controls"]],
    *,
    shared: bool,
    deadline: Deadline,
) -> Candidate:
    if isinstance(task.problem.risk, Quadratic):
        ((name, values),) = guess.items()
        given = {"intervals": len(values), "controls": values.shape[1]}
        from .programs._exponential import transcribe_exponentially  # CasADi

        linear = linear_of(task).grouped if shared else linear_of(task)
        return transcribe_exponentially(linear, window, deadline, **given).solve(name, values)
    from ._mesh import (
        Setting,
        choose_program,
        search_by_program,
        system_of,
    )  # with diffrax, which linear regression spares

    setting = Setting(system_of(task, shared), task.theta_s, task.s, window, deadline)
    method = choose_program(setting, len(guess["half way"]))
    if method is None:
        raise InputError(
            f"check=True: a model of {task.problem.dim} parameters is too large for a program in CasADi, or has "
            "operations that it does not know; leave the check out."
        )
    return search_by_program(setting, guess, method)[0]
