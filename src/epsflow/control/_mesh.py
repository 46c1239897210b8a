"""The search for a system without propagators of its own: solve on a mesh, then leave the mesh."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._core import Array
from ..flow._diffrax import sizes_of
from ..problem import AbstractRisk, Quadratic
from ..schedules import AbstractSchedule, PiecewiseConstant, Step
from ._families import search_family
from ._simulate import effort_of, simulate
from ._solution import Found
from ._task import ControlTask, linear_of
from .bounds._dual import settled_signs
from .polish._exact import polish_linear
from .polish._polish import Stationary, polish
from .polish._swept import INSERTIONS, SweptEngine
from .programs._conic import solve_conic
from .programs._exponential import transcribe_exponentially
from .programs._primitives import UntranslatableError
from .programs._transcription import DEGREE, take_apart, transcribe, translated_field
from .systems._descent import Descent, best_switch
from .systems._rollout import FINE_AGREEMENT, choose_steps, roll_out, swept
from .systems._system import AbstractSystem, RiskSystem
from .terms._deadline import Deadline
from .terms._kinds import SearchMethod, describe_arcs, is_singular
from .terms._levels import arcs_of, as_column, sampled
from .terms._pieces import cut
from .terms._reading import read_arcs
from .terms._runs import Candidate, named_guesses, outcome, proposals
from .terms._window import MeshWindow


def system_of(task: ControlTask, shared: bool) -> RiskSystem:
    """The task as a control system that starts from `task.theta_s` at `task.s`."""
    return RiskSystem(task.problem.risk, task.target, shared, task.cost)


SUBSTEP_LIMIT = 4
"""Runge–Kutta steps per interval beyond which collocation, which has no stability limit, is the cheaper program."""

QUICK_LIMIT, PROGRAM_LIMIT = 2_000_000, 50_000_000
"""Operations times states up to which shooting is quicker than the adjoint route (at 8e5 it may take a fifth of its
time, at 5e6 four times as long), and beyond which no program is built: at 4e8 IPOPT takes minutes."""

SWITCHES = 17
"""Knots at which a single switch is tried, for a start."""

MOST_ARCS = 24
"""Arcs on a mesh beyond which its switch times are not freed: what chatters has no structure to polish."""


class Setting(NamedTuple):
    """What every solver on a mesh is given.

    Attributes:
        system: f and φ.
        start: x(s).
        s: when the window begins.
        window: its length, the bounds, and the unit of the cost.
        deadline: when to stop.
    """

    system: RiskSystem
    start: Float[Array, " d"]
    s: float
    window: MeshWindow
    deadline: Deadline

    @property
    def risk(self) -> AbstractRisk:
        """R_ε."""
        return self.system.risk


def choose_method(setting: Setting, intervals: int) -> SearchMethod:
    """A program for systems that are small, stiff, or both; adjoint for others, and for what has no program."""
    substeps = stable_substeps(setting, intervals)
    if substeps <= SUBSTEP_LIMIT and _program_size(setting, intervals, substeps) > QUICK_LIMIT:
        return SearchMethod.ADJOINT
    return choose_program(setting, intervals) or SearchMethod.ADJOINT


def choose_program(setting: Setting, intervals: int) -> SearchMethod | None:
    """Shooting; collocation where stability would need more than four steps an interval.

    None for systems that are too large, or that CasADi has no words for.
    """
    substeps = stable_substeps(setting, intervals)
    if _program_size(setting, intervals, substeps) > PROGRAM_LIMIT:
        return None
    try:
        translated_field(take_apart(setting.system)[0])  # kept for the program
    except UntranslatableError:
        return None
    return SearchMethod.SHOOTING if substeps <= SUBSTEP_LIMIT else SearchMethod.COLLOCATION


def _program_size(setting: Setting, intervals: int, substeps: int) -> float:
    """Operations times states."""
    evaluations = 4 * substeps if substeps <= SUBSTEP_LIMIT else DEGREE
    return operations(setting.system) * evaluations * intervals * setting.system.dim


def operations(system: AbstractSystem) -> float:
    """Scalar operations of f, as XLA counts them before it optimises: within a tenth of what CasADi would hold."""
    x, u = jnp.zeros(system.dim), jnp.zeros(system.controls)
    counted: Any = jax.jit(_field).lower(system, x, u).cost_analysis()
    return float(counted["flops"]) + float(counted.get("transcendentals", 0.0))


def _field(system: AbstractSystem, x: Array, u: Array) -> Array:
    return system.field(x, u)


def stable_substeps(setting: Setting, intervals: int) -> int:
    """Runge–Kutta steps with λ_max h ≤ 1: well inside stability (2.8), and a relative error of 1/120 per step."""
    rate = float(sizes_of(setting.risk, setting.start).curvature)
    return max(1, math.ceil(rate * setting.window.length / intervals))


def search_by_program(
    setting: Setting, guesses: dict[str, Float[np.ndarray, "N controls"]], method: SearchMethod
) -> list[Candidate]:
    """IPOPT from every guess, by shooting or collocation."""
    intervals = len(next(iter(guesses.values())))
    substeps = stable_substeps(setting, intervals) if method is SearchMethod.SHOOTING else None
    given = setting.system, np.asarray(setting.start), setting.window, setting.deadline
    return transcribe(*given, intervals=intervals, substeps=substeps).solve_from(guesses)


def search_by_adjoint(setting: Setting, guesses: dict[str, Float[np.ndarray, "N controls"]]) -> list[Candidate]:
    """L-BFGS-B (SLSQP within a budget) from every guess and from the best single switch.

    Raises:
        InputError: the system is too stiff for explicit steps.
    """
    guesses, steps = _with_switch(setting, guesses)
    slopes = swept(setting.system, setting.start, setting.window.length, steps)
    return Descent(slopes, setting.window, setting.deadline).solve_from(guesses)


def _with_switch(setting: Setting, guesses: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], int]:
    """The guesses with the best single switch, and the Runge–Kutta steps per interval that they take."""
    system, start, window = setting.system, setting.start, setting.window
    intervals = len(next(iter(guesses.values())))
    durations = np.full(intervals, window.length / intervals)
    steps = choose_steps(system, start, durations, list(guesses.values()), window.unit)
    best = best_switch(
        lambda levels: roll_out(system, steps, start, durations, levels),
        window,
        (intervals, system.controls),
        np.linspace(0, intervals, min(SWITCHES, intervals + 1)),
        setting.deadline,
    )
    return guesses | {"best switch": best}, steps


def polish_mesh(setting: Setting, values: Float[np.ndarray, "N controls"]) -> Stationary | None:
    """The stationary arcs next to values on a mesh, with switch times as unknowns; None where there are too many arcs.

    Args:
        setting: what is solved.
        values: levels on equal intervals.
    """
    window, intervals = setting.window, len(values)
    knots = np.linspace(setting.s, setting.s + window.length, intervals + 1)
    arcs = read_arcs(window.options, knots, values)
    if len(arcs.times) >= MOST_ARCS:
        return None
    # At least two pieces per interval, and those of the mesh itself where they suffice.
    count = max(intervals, 2 ** math.ceil(math.log2(2 * len(arcs.joint.part))))
    pieces = cut(arcs.joint.knots, arcs.joint.levels, count)
    steps = choose_steps(setting.system, setting.start, pieces.durations, [pieces.levels], window.unit, FINE_AGREEMENT)
    fixed = {"most": count, "steps": steps, "deadline": setting.deadline}
    engine = SweptEngine(setting.system, setting.start, window, **fixed)
    return polish(engine, arcs, INSERTIONS)


def solve_on_mesh(
    task: ControlTask, setting: Setting, method: SearchMethod, knots: np.ndarray, guesses: dict[str, np.ndarray]
) -> Found:
    """Solve on a mesh from every guess, simulate all proposals, keep the best, and free it of the mesh."""
    candidates = _run(task, setting, method, guesses)
    # The starts of runs that were cut short may be better than what these came to.
    others = map(as_column, guesses.values()) if setting.deadline.passed else ()
    tried = proposals(setting.window, candidates, others)
    schedules = [PiecewiseConstant(knots, levels) for levels in tried]
    costs = [_objective(task, schedule) for schedule in schedules]
    best = int(np.argmin(costs))
    mesh = setting.window.length / (len(knots) - 1)
    found = Found(schedule=schedules[best], method=method, mesh=mesh, candidates=tuple(candidates))
    freed = _freed_of_mesh(task, setting, knots, tried[best])
    if freed is not None and _objective(task, freed.schedule) <= costs[best]:
        found = replace(found, schedule=freed.schedule, polished=True, mesh=0.0, second_order=freed.second_order)
    return replace(found, result=outcome(candidates, setting.deadline))


def _objective(task: ControlTask, schedule: AbstractSchedule) -> float:
    return simulate(task, schedule).cost + task.price * effort_of(task, schedule)


def _freed_of_mesh(task: ControlTask, setting: Setting, knots: np.ndarray, values: np.ndarray) -> Stationary | None:
    """The extremal next to a proposal, off the mesh; None where there is none, or no time."""
    if isinstance(task.problem.risk, Quadratic):
        return _freed_bangs(task, PiecewiseConstant(knots, values))
    return None if setting.deadline.passed else polish_mesh(setting, values.reshape(len(values), -1))


def _freed_bangs(task: ControlTask, schedule: PiecewiseConstant) -> Stationary | None:
    """The bang-bang extremal next to a proposal of linear regression; None where it has a singular arc to keep."""
    knots, levels = arcs_of(schedule, task.s, task.T)
    mesh = (task.T - task.s) / len(levels)
    if task.priced and any(is_singular(arc, mesh, 1.0) for arc in describe_arcs(knots, levels, task.bounds)):
        return None
    linear = linear_of(task)
    return polish_linear(linear.grouped if levels.ndim == 1 else linear, knots, levels)


def method_of(setting: Setting, method: str, intervals: int) -> SearchMethod:
    """The solver that was asked for, or the one that fits."""
    if method != "auto":
        return SearchMethod(method)
    return SearchMethod.EXPONENTIAL if isinstance(setting.risk, Quadratic) else choose_method(setting, intervals)


def guesses_of(
    task: ControlTask,
    knots: Float[np.ndarray, " knots"],
    extra: Sequence[AbstractSchedule],
    columns: int,
    step_until: Deadline | None,
) -> dict[str, Float[np.ndarray, "N controls"]]:
    """Named starting values of ε: the corners, the middle, and what the caller gave.

    For linear regression also the best step, while there is time: `step_until`, or None for not at all. Others add
    the best switch on the mesh, which takes no flows but those that the polish needs as well (`_with_switch`).
    """
    low, high = task.bounds
    guesses = named_guesses(
        task.bounds, (len(knots) - 1, columns), extra, lambda schedule: sampled(schedule, knots, columns)
    )
    linear = isinstance(task.problem.risk, Quadratic)
    if linear and low <= 0.0 and high >= 1.0 and step_until is not None and not step_until.passed:
        best = search_family(task, Step, deadline=step_until).schedule
        guesses["best step"] = sampled(best, knots, columns)
    return guesses


def _run(task: ControlTask, setting: Setting, method: SearchMethod, guesses: dict[str, np.ndarray]) -> list[Candidate]:
    """One run of a solver from every guess; a QP solver needs none."""
    intervals = len(next(iter(guesses.values())))
    if method is SearchMethod.QP:
        linear = linear_of(task)
        return [solve_conic(linear, settled_signs(linear, 'method="qp"'), intervals).candidate]
    if method is SearchMethod.ADJOINT:
        return search_by_adjoint(setting, guesses)
    if method is not SearchMethod.EXPONENTIAL:
        started = guesses if setting.deadline.passed else _with_switch(setting, guesses)[0]
        return search_by_program(setting, started, method)
    linear, controls = linear_of(task), setting.system.controls
    given = linear.grouped if controls == 1 else linear, setting.window, setting.deadline
    return transcribe_exponentially(*given, intervals=intervals, controls=controls).solve_from(guesses)
