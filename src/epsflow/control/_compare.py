"""Families and the optimum in one table."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .._core import InputError, Stored, Summary, Tabular, as_flag, read_fields
from ..problem import Problem
from ..schedules import AbstractSchedule
from ._families import (
    FamilyResult,
    FamilyStatus,
    as_families,
    baseline,
    check_family,
    fitting_families,
    search_family,
)
from ._optimal import Options, solve_task
from ._second_opinion import SecondOpinion, second_opinion
from ._solution import ScheduleSolution, known_classes
from ._task import ControlTask, make_task
from ._trainings import recipes_of
from .terms._cost import AbstractCost
from .terms._deadline import Deadline
from .terms._seeds import SeedCosts

ROUNDING = 1e-9
"""A relative gain below this is rounding."""

FEW_SWITCHES = 8
"""Arcs up to which a row lists the optimum's switch times."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Comparison(Tabular, Stored):
    """Schedules for one task, side by side.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> [row["family"] for row in ef.compare_schedules(problem, np.zeros(10), s=2.0, T=20.0).rows()][:3]
        ['1_[0,s]', 'Step', 'LinearDecay']

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

        ratio: of cost + price·effort to that of the baseline; NaN where the baseline's is below its own error. With
        seeds held out, also held_out, their mean cost, and held_out_error, its standard error.
        """
        rows = [self._row(each.family, each.parameters, each, each.words) for each in (self.baseline, *self.families)]
        best, check = self.optimum, self.check
        if best is not None:
            few = len(best.arcs) <= FEW_SWITCHES
            switches = {f"switch {i}": arc.end for i, arc in enumerate(best.arcs[:-1], 1)} if few else {}
            rows.append(self._row("optimum", switches, best, f"{best.status.value}, {best.scope.value}"))
        if check is not None:
            words = check.words(self.objective(check))
            rows.append(self._row("CasADi, IPOPT", {"intervals": check.intervals}, check, words))
        return rows

    def _row(
        self,
        family: str,
        parameters: dict[str, Any],
        result: FamilyResult | ScheduleSolution | SecondOpinion,
        status: str,
    ) -> dict[str, Any]:
        base = self.objective(self.baseline)
        return {
            "family": family,
            "parameters": parameters,
            "cost": result.cost,
            "cost_error": result.cost_error,
            "effort": result.effort,
            "ratio": math.nan if base <= self.baseline.cost_error else self.objective(result) / base,
            "status": status,
            **_held_out(None if isinstance(result, SecondOpinion) else result.seeds),
        }

    def objective(self, result: FamilyResult | ScheduleSolution | SecondOpinion) -> float:
        """What is compared: the cost, plus the price (if one was given) times the effort."""
        return result.cost + self.task.price * result.effort

    @classmethod
    def from_json(cls, text: str, problem: Problem, optimiser: Any = None) -> "Comparison":
        """The comparison that `to_json` wrote, for the problem that it was made for; see `ScheduleSolution.from_json`.

        Raises:
            InputError: another document, another problem, or a class of schedule or cost that is not known here.
        """
        known = [*known_classes(), FamilyResult, FamilyStatus, SecondOpinion]
        return cls(**read_fields(cls, text, known, problem=problem, optimiser=optimiser))

    @property
    def admissible(self) -> tuple[FamilyResult, ...]:
        """The baseline, unless the bounds exclude it, and the families."""
        outside = self.baseline.status is FamilyStatus.OUTSIDE
        return self.families if outside else (self.baseline, *self.families)

    def gains(self, result: FamilyResult | ScheduleSolution) -> bool:
        """Whether it does better than the baseline by more than the errors of both and their rounding."""
        base, found = self.objective(self.baseline), self.objective(result)
        return bool(base - found > max(result.cost_error + self.baseline.cost_error, ROUNDING * base))

    def ratios_in_words(self) -> list[str]:
        """The ratios of `rows`; "within error" where the costs are too small beside their errors to have one."""
        return [self._ratio_in_words(row) for row in self.rows()]

    def summary(self) -> Summary:
        """The table, with ratios in words where a number would only say what rounding is."""
        rows = [{**row, "ratio": said} for row, said in zip(self._rows(), self.ratios_in_words(), strict=True)]
        return Summary(self._title(), self._figures(), rows)

    def _ratio_in_words(self, row: dict[str, Any]) -> str:
        if math.isnan(row["ratio"]):
            return "within error"
        zero = row["cost"] + self.task.price * row["effort"] <= row["cost_error"]
        return "0 within error" if zero else f"{row['ratio']:.4g}"

    def _facts(self) -> dict[str, object]:
        best, optimum = min(self.admissible, key=self.objective, default=None), self.optimum
        facts: dict[str, object] = {"schedules": 1 + len(self.families) + (optimum is not None)}
        if best is None:
            return facts if optimum is None else facts | {"best": "optimum", "cost": optimum.cost}
        facts |= {"best": best.family, "cost": best.cost}
        # A family may contain the optimum: then rounding decides which of them costs less.
        if optimum is not None and optimum.objective <= self.objective(best) + optimum.cost_error + best.cost_error:
            return facts | {"best": "optimum", "cost": optimum.cost}
        return facts

    def _figures(self) -> dict[str, object]:
        return self._facts() | ({"batches": self.task.unseen} if self.task.unseen else {})

    def _title(self) -> str:
        return f"Schedules for {self.task.title}"

    def _rows(self) -> list[dict[str, Any]]:
        return [
            {
                "family": row["family"],
                "parameters": ", ".join(f"{name} = {value:.6g}" for name, value in row["parameters"].items()),
                "cost": row["cost"],
                "cost_error": row["cost_error"],
                **({"effort": row["effort"]} if self.task.priced else {}),
                "ratio": row["ratio"],
                **({"held_out": row["held_out"]} if "held_out" in row else {}),
                "status": row["status"],
            }
            for row in self.rows()
        ]


def _held_out(seeds: SeedCosts | None) -> dict[str, float]:
    """What the seeds say that no schedule was chosen on; nothing where there are none."""
    if seeds is None or not len(seeds.held_out):
        return {}
    return {"held_out": seeds.mean, "held_out_error": seeds.standard_error}


def compare_schedules(
    problem: Problem,
    theta0: object,
    *,
    s: float | int,
    T: float | int,
    bounds: tuple[float, float] = (0.0, 1.0),
    families: Sequence[type[AbstractSchedule]] | None = None,
    optimum: bool = True,
    target: object | None = None,
    cost: AbstractCost | None = None,
    budget: float | None = None,
    price: float = 0.0,
    step_size: float | None = None,
    momentum: float = 0.0,
    optimiser: object | None = None,
    batch: int | None = None,
    key: object | None = None,
    held_out: object | None = None,
    dtype: str | None = None,
    check: bool = False,
    intervals: int = 100,
    per_point: bool = False,
    method: str = "auto",
    starts: Sequence[AbstractSchedule] = (),
    time_limit: float | None = None,
    throw: bool = True,
) -> Comparison:
    """The baseline 1_[0,s], the best member of each family, and the optimal schedule, for one problem.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.compare_schedules(problem, np.zeros(10), s=2.0, T=20.0)
        Comparison(schedules=6, best=optimum, cost=0.1579)

    Args:
        problem: what is trained, and which points are deleted.
        theta0: θ(0), shape (d,).
        s, T: the window.
        bounds: bounds of ε on (s, T).
        families: schedule classes with a `search_space`. Default: Step and the decays, those that keep to the bounds.
        optimum: whether to solve for the optimum as well.
        target: where θ(T) should be. Default: the leave-out optimum, or with an optimiser the retrained θ(T).
        cost: of θ(T): `Distance` (default), `QuadraticForm`, `PredictionGap`, `RetainedLoss`.
        budget, price: for ∫|ε| dt over (s, T), as in `optimal_schedule`; they bind the families, too.
        step_size, momentum: of gradient descent in place of the flow, as in `optimal_schedule`.
        optimiser, batch, key, held_out, dtype: of training with an optimiser in place of the flow, as in
            `optimal_schedule`.
        check: whether to ask CasADi as well: direct transcription from ε half way between its bounds, solved by IPOPT
            and simulated by the flow room (`SecondOpinion`).
        intervals, per_point, method, starts: for the optimum, as in `optimal_schedule`.
        time_limit: seconds for all of it. A family's search then ends with what its scans have found, and says so.
        throw: raise if the search for the optimum fails or time runs out; otherwise it is returned as UNVERIFIED.

    Raises:
        InputError: as `optimal_schedule` and `best_in_family`.
        ConvergenceError: as there.
    """
    question = {"s": s, "T": T, "bounds": bounds, "target": target, "cost": cost, "budget": budget, "price": price}
    recipes = recipes_of(optimiser, batch, key, held_out, dtype, intervals)
    task = make_task(problem, theta0, **question, step_size=step_size, momentum=momentum, recipes=recipes)
    options = Options(intervals=intervals, per_point=per_point, method=method, starts=starts, throw=throw).checked(task)
    deadline, classes = Deadline(time_limit), fitting_families(task) if families is None else as_families(families)
    for family in classes:  # before anything takes time
        check_family(task, family)
    best = solve_task(task, options, deadline) if as_flag(optimum, "optimum") else None
    other = None
    if as_flag(check, "check"):
        if task.in_steps:
            raise InputError("check=True asks CasADi about the flow; with a step_size or an optimiser leave it out.")
        bound = float("nan") if best is None else best.lower_bound
        other = second_opinion(task, bound, intervals=options.intervals, per_point=options.per_point, deadline=deadline)
    return Comparison(
        task=task,
        baseline=baseline(task),
        families=tuple(search_family(task, family, deadline=deadline) for family in classes),
        optimum=best,
        check=other,
    )
