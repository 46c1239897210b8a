"""What the control room answers with, and what it claims about it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .._core import Array
from ..schedules import AbstractSchedule
from ._task import ControlTask
from .terms._extremal import Extremal
from .terms._kinds import Arc, Scope, Status
from .terms._runs import Candidate, SecondOrder


@dataclass(frozen=True, eq=False)
class ScheduleSolution:
    """A schedule, what it costs, and how sure that is.

    Attributes:
        task: the question.
        schedule: the answer, in E_s.
        cost: of θ(T), 𝓔 = ½‖θ(T) − target‖² unless another was asked for, simulated again with this very schedule.
        cost_error: bound or estimate of the error in `cost`.
        effort: ∫|ε| dt over (s, T), summed over the components of ε.
        multiplier: ρ, what a unit of effort is worth: the price that was given, or the multiplier of a spent budget;
            else 0.
        lower_bound: no admissible schedule has a smaller objective; 0 where nothing better was proved. With a budget it
            is the bound without it, which remains one.
        status: what kind of schedule it is; UNVERIFIED where Pontryagin's conditions fail visibly.
        scope: GLOBAL (the lower bound meets the cost), LOCAL (first-order conditions hold), NONE.
        arcs: the schedule in words, ascending in time.
        extremal: costate, switching function and Hamiltonian along it.
        candidates: every run of a solver that was made; empty for a schedule of other origin.
        method: how the schedule was found.
        second_order: gradient and Hessian of 𝓔 by the switch times, where they were free; None on a mesh.
        trouble: why the search did not end well (the limit of time, the solver's own words); empty if it did.
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
    method: str
    second_order: SecondOrder | None = None
    trouble: str = ""

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
        """max 𝓗 − min 𝓗 over [s, T]: zero for an extremal."""
        return self.extremal.hamiltonian_drift

    def switching(self, t: Float[np.ndarray, "*shape"] | Array | float) -> Float[Array, "*values"]:
        """S(t) = ∂𝓔/∂ε(t) at any times in [s, T]: negative where a larger ε would lower the cost."""
        return self.extremal.switching(t)
