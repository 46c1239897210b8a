"""Figures of the report: what some claims look like."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import plots
from ..control import best_in_family, compare_schedules
from ..flow import equilibrium, gradient_flow, homotopy, rewind_surface
from ..schedules import AbstractSchedule, LinearDecay, Step
from .sections._experiments import SMALLEST, WINDOW, portrait
from .sections._step_functions import identity


class Figure(NamedTuple):
    """A figure of the report.

    Attributes:
        caption: what is seen.
        draw: makes it; returns its Axes.
    """

    caption: str
    draw: Callable[[], Any]


def _homotopy() -> Any:
    problem, start = portrait(120.0)
    grid, ts = np.linspace(0.0, 1.0, 41), np.linspace(0.0, WINDOW["T"], 61)
    surface = homotopy(problem, eps=grid, ts=ts, theta0=start)
    axes = plots.panels()
    return plots.homotopy(surface, target=equilibrium(problem, eps=0.0).theta, ax=axes[0])


def _rewind() -> Any:
    problem, target = identity(np.ones(2))
    surface = rewind_surface(problem, s=np.linspace(0.0, 3.0, 61), T=np.array([1.0, 2.0, 3.0]), theta0=np.zeros(2))
    return plots.rewind(surface, target, ax=plots.panels()[0])


def _late() -> Any:
    problem, start = portrait(30.0)
    best = best_in_family(problem, Step, start, **WINDOW)
    late = Step(0.8 * WINDOW["T"])
    return _portrait(30.0, {"step at 0.8 T": late, f"best step, τ = {best.parameters['τ']:.3g}": best.schedule})


def _faster() -> Any:
    problem, start = portrait(120.0)
    best = best_in_family(problem, Step, start, **WINDOW)
    return _portrait(
        120.0, {"$1_{[0,s]}$": Step(WINDOW["s"]), f"best step, τ = {best.parameters['τ']:.3g}": best.schedule}
    )


def _zero() -> Any:
    return _portrait(240.0, {"$1_{[0,s]}$": Step(WINDOW["s"]), "step at T/2": Step(0.5 * WINDOW["T"])})


def _portrait(angle: float, schedules: dict[str, AbstractSchedule]) -> Any:
    problem, start = portrait(angle)
    ts = WINDOW["T"] * np.linspace(0.0, 1.0, 200) ** 2
    paths = {name: gradient_flow(problem, schedule, start, ts=ts) for name, schedule in schedules.items()}
    return plots.phase_portrait(problem, paths, ax=plots.panels()[0])


def _linear() -> Any:
    families = (Step, LinearDecay)
    found = compare_schedules(SMALLEST.problem, np.zeros(2), s=0.0, T=SMALLEST.T, families=families)
    return plots.schedule(found, ax=plots.panels(2))


FIGURES: dict[str, Figure] = {
    "flow-limit": Figure("Distance to θ*_{-j} along every flow θ(t, ε): the homotopy of Figure 2.", _homotopy),
    "rewind-limit": Figure(
        "X = I: dropped at s, the point leaves a trace that no later time T removes (all T give one line).", _rewind
    ),
    "fig4-late": Figure("Figure 4a: dropped late, the flow ends far from θ*_{-j}.", _late),
    "fig4-faster": Figure("Figure 4b: kept until the right moment, the point speeds the flow up.", _faster),
    "fig4-zero": Figure("Figure 4c: from another start every ε > 0 is a detour.", _zero),
    "fig4-linear": Figure(
        "The known counterexample to Figure 4d: the optimum is 0 first and 1 later; the decay comes nearer to it.",
        _linear,
    ),
}
"""By id of the claim."""
