"""What the control room answers with, and what it claims about it."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from .._core import RESULTS, SUCCESS, Array, Shown, Stored, ended_as, read_fields, with_error
from ..problem import Problem
from ..schedules import AbstractSchedule
from ._pontryagin import extremal_of
from ._task import ControlTask, descendants, known_schedules
from ._trainings import StoredRecipes
from .terms._cost import AbstractCost
from .terms._extremal import Extremal
from .terms._kinds import Arc, Scope, SearchMethod, Status
from .terms._levels import thresholds
from .terms._runs import Candidate, SecondOrder
from .terms._seeds import SeedCosts


@dataclass(frozen=True, eq=False, kw_only=True)
class Found:
    """What a search came up with, before it is judged.

    Attributes:
        schedule: in E_s and within the budget.
        method: how it was found.
        polished: whether its switch times were freed of the mesh.
        mesh: length of an interval, if it lives on a mesh that its optimum need not fit; else 0.
        candidates: the solver's runs.
        second_order: the derivatives by its switch times, if they were free.
        lower_bound: no schedule has a smaller cost of θ(T), or of one ε for several points, a smaller cost and price of
            what ∫|ε| dt exceeds the least by; None where that is still to be computed.
        extremal: at the task's price, if it is known already.
        arrived: whether it is known to reach the target in finite time; None where that is still to be asked.
        result: how the search ended.
    """

    schedule: AbstractSchedule
    method: SearchMethod
    polished: bool = False
    mesh: float = 0.0
    candidates: tuple[Candidate, ...] = ()
    second_order: SecondOrder | None = None
    lower_bound: float | None = None
    extremal: Extremal | None = None
    arrived: bool | None = None
    result: RESULTS = field(default_factory=lambda: SUCCESS)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class ScheduleSolution(Shown, Stored):
    """A schedule, what it costs, and how sure that is.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> best = ef.optimal_schedule(problem, np.zeros(10), s=2.0, T=20.0)
        >>> best.status.value, best.scope.value
        ('bang-bang', 'global (certified)')

    Attributes:
        task: the question.
        schedule: the answer, in E_s.
        cost: of θ(T), 𝓔 = ½‖θ(T) − target‖² unless another was asked for, simulated again with this very schedule.
        cost_error: bound or estimate of the error in `cost`, that of the target included.
        effort: ∫|ε| dt over (s, T), summed over the components of ε.
        multiplier: ρ, what a unit of effort is worth: the price that was given, or the multiplier of a spent budget;
            else 0.
        lower_bound: no admissible schedule has a smaller objective; 0 where nothing better was proved. With a budget it
            is the bound without it, which remains one; of one ε for several points, that within the budget.
        status: what kind of schedule it is; UNVERIFIED where Pontryagin's conditions fail visibly.
        scope: GLOBAL (the lower bound meets the cost), WITHIN_ERROR (it does up to `cost_error`), LOCAL (first-order
            conditions hold: they miss by at most 2 % of the objective), NONE.
        arcs: the schedule in words, ascending in time.
        extremal: costate, switching function and Hamiltonian along it.
        candidates: every run of a solver that was made; empty for a schedule of other origin.
        method: how the schedule was found.
        polished: whether its switch times were then freed of the mesh.
        second_order: gradient and Hessian of 𝓔 by the switch times, where they were free; None on a mesh.
        seeds: with an optimiser, the cost of every seed and of those held out; else None.
        kink: with an optimiser, an interval at whose ε the cost has a kink, or a jump, which leaves the schedule
            unverified: both ways cost more, and no slope vanishes. None where none was found.
        result: how the search ended: the limit of time, or a solver that failed from every start, leave it unverified.
    """

    task: ControlTask
    schedule: AbstractSchedule
    cost: float
    cost_error: float
    effort: float
    multiplier: float
    lower_bound: float
    status: Status
    scope: Scope
    arcs: tuple[Arc, ...]
    extremal: Extremal
    candidates: tuple[Candidate, ...]
    method: SearchMethod
    polished: bool
    second_order: SecondOrder | None = None
    seeds: SeedCosts | None = None
    kink: tuple[float, float] | None = None
    result: RESULTS = field(default_factory=lambda: SUCCESS)

    @property
    def objective(self) -> float:
        """What is minimised: the cost, plus the price (if one was given) times the effort."""
        return self.cost + self.task.price * self.effort

    @property
    def gap(self) -> float:
        """objective − lower_bound ≥ 0: how far from the global optimum the schedule can be."""
        return self.objective - self.lower_bound

    @property
    def pmp_gap(self) -> float:
        """∫ [S u − min_v S v] dt over [s, T] ≥ 0: what Pontryagin's principle still misses, to first order.

        With a multiplier ρ, S v + ρ|v| stands for S v.
        """
        return self.extremal.pmp_gap

    @property
    def hamiltonian_drift(self) -> float:
        """max 𝓗 − min 𝓗 over [s, T]: zero for an extremal of the flow; NaN for steps, of which 𝓗 is no invariant."""
        return self.extremal.hamiltonian_drift

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The values of S at which the best ε changes: 0, or ±ρ where a unit of effort is worth ρ."""
        return thresholds(self.task.bounds, self.multiplier)

    @property
    def how(self) -> str:
        """How it was found, in words."""
        return self.method.value + (" + polish" if self.polished and self.method is not SearchMethod.POLISH else "")

    @property
    def trouble(self) -> str:
        """Why the search did not end well (the limit of time, the solver's own words); empty if it did."""
        count = len(self.candidates)
        if bool(ended_as(self.result, RESULTS.time_limit_reached)):
            return f"the time limit was reached after {count} of the starts" if count else "the time limit was reached"
        if bool(ended_as(self.result, RESULTS.no_start_succeeded)):
            words = ", ".join(sorted({candidate.status for candidate in self.candidates}))
            descent = "L-BFGS-B" if self.task.budget == np.inf else "SLSQP"
            solvers = {SearchMethod.ADJOINT: descent, SearchMethod.STEPS: descent, SearchMethod.QP: "the QP solver"}
            solver = solvers.get(self.method, "IPOPT")
            return f"{solver} failed from all {count} starts ({words})"
        return ""

    @property
    def doubt(self) -> str:
        """Why it is not verified, and what to try; empty where something is claimed."""
        if self.scope is not Scope.NONE:
            return ""
        if self.kink is None:
            return self.trouble or "other starts or more intervals may help"
        kink = (
            "the cost has a kink or a jump at its ε between {:g} and {:g}, where both ways cost more and no slope "
            "vanishes; a smaller learning rate, a smooth activation or other seeds may help, more intervals do not"
        ).format(*self.kink)
        return f"{self.trouble}; {kink}" if self.trouble else kink

    def switching(self, t: Float[np.ndarray, "*shape"] | Array | float) -> Float[Array, "*values"]:
        """S(t) = ∂𝓔/∂ε(t) at any times in [s, T]: negative where a larger ε would lower the cost."""
        return self.extremal.switching(t)

    @classmethod
    def from_json(cls, text: str, problem: Problem, optimiser: Any = None) -> "ScheduleSolution":
        """The solution that `to_json` wrote, for the problem that it was found for.

        Every figure is the stored one; θ(t), the costate and S(t) are computed again from the problem.

        Args:
            text: the document.
            problem: as it was; it is not stored.
            optimiser: as it was, if there was one; it is not stored either, and θ(s) and the targets are trained again.

        Raises:
            InputError: another document, another problem or optimiser, or a class of schedule or cost that is not known
                here.
        """
        given = {"problem": problem, "optimiser": optimiser}
        return cls._revived(given, **read_fields(cls, text, known_classes(), **given))

    @classmethod
    def _revived(cls, given: dict[str, Any], **values: Any) -> "ScheduleSolution":
        del given  # its task has it
        again = extremal_of(values["task"], values["schedule"], values["multiplier"])
        return cls(**values | {"extremal": values["extremal"].along(again.path)})

    def _facts(self) -> dict[str, object]:
        return {
            "cost": self.cost,
            "gap": self.gap,
            "status": self.status,
            "scope": self.scope,
            "arcs": len(self.arcs),
            **({} if self.seeds is None else self.seeds.facts),
            **({"result": self.result} if self.trouble else {}),
        }

    def _title(self) -> str:
        return f"Schedule for {self.task.title}"

    def _figures(self) -> dict[str, object]:
        relative = self.gap / self.objective if self.objective > 0.0 else 0.0
        within = 0.0 < self.gap <= self.cost_error
        beside = "within the error of the cost" if within else f"{relative:.2g} of what it costs"
        return {
            "cost": with_error(self.cost, self.cost_error),
            **({} if self.seeds is None else self.seeds.figures),
            **self.task.worth(self.effort, self.multiplier),
            "lower bound": f"{self.lower_bound:.10g}",
            "gap": f"{self.gap:.3g} ({beside})",
            "status": self.status,
            "scope": self.scope,
            "method": self.how,
            **({"trouble": self.doubt or self.trouble} if self.trouble or self.kink else {}),
            **({"batches": self.task.unseen} if self.task.unseen else {}),
            **({"caution": self.task.problem.caution} if self.task.problem.caution else {}),
            "PMP gap": self.pmp_gap,
            **({"Hamiltonian drift": self.hamiltonian_drift} if not self.task.in_steps else {}),
        }

    def _rows(self) -> list[dict[str, Any]]:
        return [
            {"arc": k, **({} if arc.point is None else {"point": int(self.task.problem.delete[arc.point])}), **words}
            for k, arc in enumerate(self.arcs, 1)
            for words in [{"from": arc.start, "to": arc.end, "ε": arc.level, "on": arc.kind}]
        ]


def known_classes() -> list[type]:
    """What a document of the control room may hold: its own values, and every schedule and cost that is imported."""
    values = [ControlTask, ScheduleSolution, Extremal, Arc, Candidate, SecondOrder, SearchMethod, Status, Scope]
    values += [SeedCosts, StoredRecipes]
    return [*values, *known_schedules(), *descendants(AbstractCost)]
