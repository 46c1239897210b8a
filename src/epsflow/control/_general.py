"""The search for a system without propagators of its own: solve on a mesh, then leave the mesh."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..flow._diffrax import largest_curvature
from ..problem import AbstractRisk
from ._arc_polish import PolishedArcs, Roller, polish_arcs
from ._arcs import read_arcs
from ._deadline import Deadline
from ._matrix_free import best_switch, descend
from ._program import Candidate
from ._rollout import FINE_AGREEMENT, choose_steps
from ._system import AbstractSystem, RiskSystem
from ._transcription import DEGREE, transcribe
from ._window import Window

SUBSTEP_LIMIT = 4
"""Runge–Kutta steps per interval beyond which collocation, which has no stability limit, is the cheaper program."""

PROGRAM_LIMIT = 50_000_000
"""Operations times states beyond which the adjoint route is the quicker one: at 4e8 IPOPT already takes minutes."""

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
    window: Window
    deadline: Deadline

    @property
    def risk(self) -> AbstractRisk:
        """R_ε."""
        return self.system.risk


def choose_method(setting: Setting, intervals: int) -> str:
    """Shooting; collocation where stability would need more than four steps an interval; adjoint for large systems."""
    substeps = stable_substeps(setting, intervals)
    evaluations = 4 * substeps if substeps <= SUBSTEP_LIMIT else DEGREE
    if operations(setting.system) * evaluations * intervals * setting.system.dim > PROGRAM_LIMIT:
        return "adjoint"
    return "shooting" if substeps <= SUBSTEP_LIMIT else "collocation"


def operations(system: AbstractSystem) -> float:
    """Scalar operations of f, as XLA counts them before it optimises: within a tenth of what CasADi would hold."""
    x, u = jnp.zeros(system.dim), jnp.zeros(system.controls)
    counted: Any = jax.jit(_field).lower(system, x, u).cost_analysis()
    return float(counted["flops"]) + float(counted.get("transcendentals", 0.0))


def _field(system: AbstractSystem, x: Array, u: Array) -> Array:
    return system.field(x, u)


def stable_substeps(setting: Setting, intervals: int) -> int:
    """Runge–Kutta steps with λ_max h ≤ 1: well inside stability (2.8), and a relative error of 1/120 per step."""
    rate = float(largest_curvature(setting.risk, setting.start))
    return max(1, math.ceil(rate * setting.window.length / intervals))


def search_by_program(
    setting: Setting, guesses: dict[str, Float[np.ndarray, "N controls"]], method: str
) -> list[Candidate]:
    """IPOPT from every guess, by "shooting" or "collocation"."""
    intervals = len(next(iter(guesses.values())))
    substeps = stable_substeps(setting, intervals) if method == "shooting" else None
    start = np.asarray(setting.start)
    return transcribe(setting.system, start, guesses, setting.window, setting.deadline, substeps=substeps)


def search_by_adjoint(setting: Setting, guesses: dict[str, Float[np.ndarray, "N controls"]]) -> list[Candidate]:
    """L-BFGS-B (SLSQP within a budget) from every guess and from the best single switch.

    Raises:
        InputError: the system is too stiff for explicit steps.
    """
    system, window = setting.system, setting.window
    intervals = len(next(iter(guesses.values())))
    durations = jnp.full(intervals, window.length / intervals)
    steps = choose_steps(system, setting.start, durations, list(guesses.values()), window.unit)
    switch = {"best switch": best_switch(system, setting.start, window, intervals, steps=steps)}
    return descend(system, setting.start, {**guesses, **switch}, window, setting.deadline, steps=steps)


def polish_mesh(setting: Setting, values: Float[np.ndarray, "N controls"]) -> PolishedArcs | None:
    """The stationary arcs next to values on a mesh, with switch times as unknowns; None where there are too many arcs.

    Args:
        setting: what is solved.
        values: levels on equal intervals.
    """
    window, intervals = setting.window, len(values)
    end = setting.s + window.length
    arcs = read_arcs(setting.s, end, window.options, np.linspace(setting.s, end, intervals + 1), values)
    if len(arcs.parts) > MOST_ARCS:
        return None
    # At least two pieces per part, and the pieces of the mesh itself where they suffice: that sweep is compiled.
    count = max(intervals, 2 ** math.ceil(math.log2(2 * int(arcs.parts.sum()))))
    pieces = arcs.pieces(count, arcs.share_out(count))
    durations = jnp.asarray(pieces.durations)
    steps = choose_steps(setting.system, setting.start, durations, [pieces.levels], window.unit, FINE_AGREEMENT)
    given = setting.system, setting.start, window.unit, count, steps, setting.deadline
    return polish_arcs(Roller(*given, window.price, window.budget), arcs)
