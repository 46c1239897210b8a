"""What the figures draw: sampled schedules, and the flows under them."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from .._core import InputError
from ..analysis import Descent, Unlearning
from ..control import Comparison, ScheduleSolution
from ..flow import Training, Trajectory, gradient_flow
from ..schedules import AbstractSchedule
from ._style import BASELINE, CHECK, LOOKS, OPTIMUM, Look, number

Result = Comparison | ScheduleSolution
"""What `epsflow.compare_schedules` or `epsflow.optimal_schedule` returned."""


Path = Trajectory | Training | Descent | Unlearning
"""θ along a flow, along training in steps, or against the amount of unlearning."""


class Entry(NamedTuple):
    """One schedule of a result, and how it is drawn.

    Attributes:
        name: what the legend calls it.
        schedule: ε(t).
        cost: 𝓔.
        look: its line.
    """

    name: str
    schedule: AbstractSchedule
    cost: float
    look: Look

    @property
    def label(self) -> str:
        """A legend entry: the name, and its cost 𝓔."""
        return f"{self.name}, $\\mathcal{{E}}={number(self.cost)}$"


def entries(result: Result) -> list[Entry]:
    """Every schedule of a result: the optimum first, then the baseline, the families, and CasADi's."""
    if isinstance(result, ScheduleSolution):
        return [Entry("optimum", result.schedule, result.cost, OPTIMUM)]
    found = [] if result.optimum is None else entries(result.optimum)
    found.append(Entry("baseline $1_{[0,s]}$", result.baseline.schedule, result.baseline.cost, BASELINE))
    for index, family in enumerate(result.families):
        found.append(Entry(_words(family.family), family.schedule, family.cost, LOOKS[index % len(LOOKS)]))
    if result.check is not None:
        found.append(Entry("CasADi, IPOPT", result.check.schedule, result.check.cost, CHECK))
    return found


def _words(family: str) -> str:
    """A class name as words: LinearDecay → linear decay."""
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in family).strip()


def sample(schedule: AbstractSchedule, start: float, end: float, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Times in [start, end] and ε there; both sides of every jump are among them, so that jumps are drawn upright.

    The number of times is `points` whatever the jumps are (as long as they are fewer): nothing is compiled anew.
    """
    jumps = _jumps(schedule, start, end)
    sides = np.concatenate([np.nextafter(jumps, -np.inf), jumps, np.nextafter(jumps, np.inf)])
    times = np.sort(np.concatenate([np.linspace(start, end, max(points - sides.size, 2)), np.clip(sides, start, end)]))
    return times, np.asarray(schedule(times))


def _jumps(schedule: AbstractSchedule, start: float, end: float) -> np.ndarray:
    jumps = np.unique(np.asarray(schedule.jump_ts))
    return jumps[(jumps >= start) & (jumps < end)]


def flows(result: Result, points: int) -> dict[str, Trajectory]:
    """The flow from 0 to T under every schedule of a result, at times that crowd towards 0, where θ moves fastest."""
    task = result.task
    paths = {}
    for entry in entries(result):
        jumps = _jumps(entry.schedule, 0.0, task.T)
        ts = np.sort(np.concatenate([task.T * np.linspace(0.0, 1.0, max(points - jumps.size, 2)) ** 2, jumps]))
        paths[entry.name] = gradient_flow(task.problem, entry.schedule, task.theta0, ts=ts, estimate_error=False)
    return paths


def looks(result: Result | Mapping[str, Path]) -> dict[str, Look]:
    """The look of each line."""
    if isinstance(result, Mapping):
        return {name: LOOKS[index % len(LOOKS)] for index, name in enumerate(result)}
    return {entry.name: entry.look for entry in entries(result)}


def check_trajectories(paths: Mapping[str, Path], dim: int) -> None:
    """Refuse an empty collection, and flows of another number of parameters."""
    if not paths:
        raise InputError('no trajectory to draw: pass a mapping such as {"step": gradient_flow(...)}.')
    for name, path in paths.items():
        if path.thetas.shape[-1] != dim:
            raise InputError(f"trajectory {name!r} has {path.thetas.shape[-1]} parameters, but {dim} are needed.")


def times_of(path: Path) -> Float[np.ndarray, " k"]:
    """Where θ is known: times, steps, or amounts."""
    if isinstance(path, Trajectory):
        return np.asarray(path.ts)
    return np.asarray(path.amounts if isinstance(path, Unlearning) else path.steps, dtype=np.float64)


def drawn_from(result: Result | Mapping[str, Path], order: int) -> float:
    """Where a line begins: all schedules of a result agree up to s, so only the first is drawn there."""
    return -np.inf if isinstance(result, Mapping) or order == 0 else result.task.s


def distances(thetas: Float[np.ndarray, "*k d"], target: Float[np.ndarray, " d"]) -> Float[np.ndarray, "*k"]:
    """‖θ − target‖₂."""
    return np.linalg.norm(thetas - target, axis=-1)
