"""Families and the optimum in one table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..problem import Problem
from ..schedules import AbstractSchedule
from ._families import FAMILIES, FamilyResult, baseline, search_families
from ._optimal import solve_task
from ._second_opinion import SecondOpinion, second_opinion
from ._solution import ScheduleSolution
from ._task import ControlTask, make_task
from .terms._cost import AbstractCost


@dataclass(frozen=True, eq=False)
class Comparison:
    """Schedules for one task, side by side.

    Attributes:
        task: the question.
        baseline: 1_[0,s].
        families: the best member of each family.
        optimum: the best schedule of all, or None if it was not asked for.
        check: what CasADi's IPOPT makes of the same question, or None if it was not asked for.
    """

    task: ControlTask
    baseline: FamilyResult
    families: tuple[FamilyResult, ...]
    optimum: ScheduleSolution | None
    check: SecondOpinion | None = None

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary per schedule: family, parameters, cost, cost_error, effort, ratio, status.

        ratio: of cost + price·effort to that of the baseline.
        """
        rows = [
            {
                "family": result.family,
                "parameters": result.parameters,
                "cost": result.cost,
                "cost_error": result.cost_error,
                "effort": result.effort,
                "ratio": self._ratio(self.objective(result)),
                "status": result.status,
            }
            for result in (self.baseline, *self.families)
        ]
        if self.optimum is not None:
            best = self.optimum
            switches = (
                {f"switch {i}": arc.end for i, arc in enumerate(best.arcs[:-1], 1)} if len(best.arcs) <= 8 else {}
            )
            rows.append(
                {
                    "family": "optimum",
                    "parameters": switches,
                    "cost": best.cost,
                    "cost_error": best.cost_error,
                    "effort": best.effort,
                    "ratio": self._ratio(self.objective(best)),
                    "status": f"{best.status.value}, {best.scope.value}",
                }
            )
        if self.check is not None:
            check = self.check
            rows.append(
                {
                    "family": "CasADi, IPOPT",
                    "parameters": {"intervals": check.intervals},
                    "cost": check.cost,
                    "cost_error": check.cost_error,
                    "effort": check.effort,
                    "ratio": self._ratio(self.objective(check)),
                    "status": check.words(self.objective(check)),
                }
            )
        return rows

    def objective(self, result: FamilyResult | ScheduleSolution | SecondOpinion) -> float:
        """What is compared: the cost, plus the price (if one was given) times the effort."""
        return result.cost + self.task.price * result.effort

    def _ratio(self, cost: float) -> float:
        if self.baseline.cost == 0.0:
            return 1.0 if cost == 0.0 else float("inf")
        return cost / self.baseline.cost


def compare_schedules(
    problem: Problem,
    theta0: object,
    *,
    s: float,
    T: float,
    bounds: tuple[float, float] = (0.0, 1.0),
    families: Sequence[type[AbstractSchedule]] = FAMILIES,
    optimum: bool = True,
    target: object | None = None,
    cost: AbstractCost | None = None,
    budget: float | None = None,
    price: float = 0.0,
    check: bool = False,
    **options: Any,
) -> Comparison:
    """The baseline 1_[0,s], the best member of each family, and the optimal schedule, for one problem.

    Args:
        problem: what is trained, and which points are deleted.
        theta0: θ(0), shape (d,).
        s, T: the window.
        bounds: bounds of ε on (s, T).
        families: schedule classes with a `search_space`.
        optimum: whether to solve for the optimum as well.
        target: where θ(T) should be. Default: the leave-out optimum.
        cost: of θ(T): `Distance` (default), `QuadraticForm`, `PredictionGap`, `RetainedLoss`.
        budget, price: for ∫|ε| dt over (s, T), as in `optimal_schedule`; they bind the families, too.
        check: whether to ask CasADi as well: direct transcription from ε half way between its bounds, solved by IPOPT
            and simulated by the flow room (`SecondOpinion`).
        **options: for the optimum: `intervals`, `per_point`, `method`, `starts`, `time_limit`, `throw` as in
            `optimal_schedule`.

    Raises:
        InputError: as `optimal_schedule` and `best_in_family`.
        ConvergenceError: as there.
    """
    task = make_task(problem, theta0, s=s, T=T, bounds=bounds, target=target, cost=cost, budget=budget, price=price)
    best = solve_task(task, **options) if optimum else None
    other = None
    if check:
        bound = float("nan") if best is None else best.lower_bound
        asked = {name: options[name] for name in ("intervals", "per_point", "time_limit") if name in options}
        other = second_opinion(task, bound, **asked)
    return Comparison(task, baseline(task), search_families(task, families), best, other)
