"""What is computed for a row: one at a time through the library's public functions, or for a stack of problems."""

import importlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np

from .. import schedules
from .._core import ConvergenceError, EpsflowError, InputError
from ..analysis import descend_to_delete, influence, newton_step, pbrf, retrain, rewind_to_delete
from ..control import best_in_family, exact_unlearning_time, optimal_schedule
from ..flow import equilibrium, gradient_flow
from ..problem import Problem
from ..schedules import AbstractSchedule, Constant, Step
from ._problems import Question, Row, problem_of, question
from ._specification import Specification

Value = float | int | str | bool


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of one row.

    Attributes:
        row: which.
        status: "done" or "failed".
        outputs: numbers and words, by column; empty where it failed.
        arrays: further numbers.
        error: what was raised, in words; empty where it is done.
        seconds: spent on it; of a stack, its share.
        method: "one by one" or "stack".
    """

    row: Row
    status: str
    outputs: dict[str, Value]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    error: str = ""
    seconds: float = 0.0
    method: str = "one by one"


Answer = tuple[dict[str, Value], dict[str, np.ndarray]]


def failed(row: Row, error: Exception, seconds: float, method: str) -> Outcome:
    """A row that raised."""
    return Outcome(row, "failed", {}, {}, f"{type(error).__name__}: {error}", seconds, method)


def run_one(specification: Specification, row: Row) -> Outcome:
    """One row, by the public functions; whatever it raises is its outcome."""
    begin = time.perf_counter()
    try:
        outputs, arrays = _TASKS[specification.task](specification, row, question(specification, row))
    # A row may fail in the library, in LAPACK (ValueError), in XLA (RuntimeError), or in a schedule class of the
    # user's (any of these): the others go on.
    except (EpsflowError, ArithmeticError, ValueError, RuntimeError, TypeError, LookupError) as error:
        return failed(row, error, time.perf_counter() - begin, "one by one")
    return Outcome(row, "done", outputs, arrays, "", time.perf_counter() - begin)


def run_rows(specification: Specification, rows: Sequence[Row]) -> list[Outcome]:
    """Several rows, one after another."""
    return [run_one(specification, row) for row in rows]


# ---- tasks ------------------------------------------------------------------------------------------------------


def _schedules(specification: Specification, row: Row, asked: Question) -> Answer:
    problem, start = problem_of(specification, row, asked)
    window: dict[str, Any] = {"s": row.inputs["s"], "T": row.inputs["T"], "bounds": specification.bounds}
    outputs: dict[str, Value] = {"cost_baseline": _baseline(problem, start, row)}
    for name in specification.families:
        found = best_in_family(family_of(name), problem, start, **window)
        label = name.rpartition(":")[2]
        outputs |= {f"cost_{label}": found.cost, f"error_{label}": found.cost_error}
        outputs |= {f"{_ascii(number)}_{label}": value for number, value in found.parameters.items()}
    if specification.optimum:
        best = optimal_schedule(problem, start, **window, throw=False)
        levels = [arc.level for arc in best.arcs]
        outputs |= optimum_columns(
            best.cost, best.cost_error, best.lower_bound, len(levels) - 1, best.status, best.scope, best.method
        )
    return outputs, {}


def _baseline(problem: Problem, start: Any, row: Row) -> float:
    """𝓔 of 1_[0,s]."""
    s, T = float(row.inputs["s"]), float(row.inputs["T"])
    end = gradient_flow(problem, Step(s), start, ts=np.array([T])).end
    return 0.5 * float(jnp.sum((end - equilibrium(problem, eps=0.0, theta0=start).theta) ** 2))


def optimum_columns(
    cost: float, error: float, lower: float, switches: int, status: Any, scope: Any, method: str
) -> dict[str, Value]:
    """The columns that describe an optimum."""
    return {
        "cost_optimum": cost,
        "error_optimum": error,
        "lower_bound": lower,
        "switches": switches,
        "kind": status.value,
        "scope": scope.value,
        "found_by": method,
    }


def family_of(name: str) -> type[AbstractSchedule]:
    """A schedule class by its name in the library, or by "module:Class".

    Raises:
        InputError: no such module, or no such schedule class in it.
    """
    module, _, label = name.rpartition(":")
    try:
        owner = importlib.import_module(module) if module else schedules
    except ImportError as error:
        raise InputError(f"families: cannot import {module!r} ({error}). Is it on the path of every worker?") from error
    found = getattr(owner, label, None)
    if not (isinstance(found, type) and issubclass(found, AbstractSchedule)):
        raise InputError(f"families: {name!r} is not a schedule class.")
    return found


def _ascii(parameter: str) -> str:
    return {"τ": "tau", "t₁": "t1"}.get(parameter, parameter)


def _rewind(specification: Specification, row: Row, asked: Question) -> Answer:
    problem, start = problem_of(specification, row, asked)
    final, depths = float(row.inputs["T"]), np.array(specification.depths)
    target = equilibrium(problem, eps=0.0, theta0=start).theta
    trained = gradient_flow(problem, Constant(1.0), start, ts=np.array([final])).end
    rewound = rewind_to_delete(problem, start, T=final, K=depths, target=target)
    descended = descend_to_delete(problem, trained, time=depths, target=target)
    return rewind_columns(depths, np.asarray(rewound.distance), np.asarray(descended.distance))


def rewind_columns(depths: np.ndarray, rewound: np.ndarray, descended: np.ndarray) -> Answer:
    """The curves, and the least depth from which on rewinding ends nearer than descending."""
    behind = np.flatnonzero(rewound >= descended)
    first = int(behind[-1]) + 1 if behind.size else 0
    outputs: dict[str, Value] = {
        "distance_trained": float(descended[0]) if depths[0] == 0.0 else float("nan"),
        "distance_rewound": float(rewound[-1]),
        "distance_descended": float(descended[-1]),
        "depth_rewind_wins": float(depths[first]) if first < len(depths) else float("inf"),
    }
    return outputs, {"depth": depths, "rewound": rewound, "descended": descended}


def _influence(specification: Specification, row: Row, asked: Question) -> Answer:
    problem, start = problem_of(specification, row, asked)
    trained = equilibrium(problem, eps=1.0, theta0=start).theta
    change = np.asarray(retrain(problem, theta0=trained).theta - trained)
    size = float(np.linalg.norm(change))
    outputs: dict[str, Value] = {"change": size}
    for name in specification.estimators:
        estimate = np.asarray(_ESTIMATORS[name](problem, trained, specification.damping))
        both = float(np.linalg.norm(estimate)) * size
        label = name.replace(" ", "_")
        outputs[f"error_{label}"] = float(np.linalg.norm(estimate - change)) / size if size > 0.0 else float("nan")
        outputs[f"cosine_{label}"] = float(estimate @ change) / both if both > 0.0 else float("nan")
    return outputs, {}


def _pbrf_change(problem: Problem, theta: Any, damping: float) -> Any:
    return pbrf(problem, theta, damping=damping).theta - theta


_ESTIMATORS: dict[str, Callable[[Problem, Any, float], Any]] = {
    "influence": lambda problem, theta, _: influence(problem, theta=theta).change,
    "second order": lambda problem, theta, _: influence(problem, theta=theta, order=2).change,
    "newton": lambda problem, theta, _: newton_step(problem, theta).delta,
    "pbrf": _pbrf_change,
}


def _exact(specification: Specification, row: Row, asked: Question) -> Answer:
    problem, start = problem_of(specification, row, asked)
    s, T = float(row.inputs["s"]), float(row.inputs["T"])
    found = exact_unlearning_time(problem, start, s=s, bounds=specification.bounds, horizon=T)
    if np.isnan(found.time):
        raise ConvergenceError(found.reason, found)
    outputs: dict[str, Value] = {
        "time": float(found.time),
        "not_before": float(found.not_before),
        "reached": bool(np.isfinite(found.time)),
        "certified": bool(found.certified),
        "distance": float(found.distance),
        "distance_at_s": float(jnp.linalg.norm(_at(problem, start, s) - equilibrium(problem, eps=0.0).theta)),
    }
    return outputs, {}


def _at(problem: Problem, start: Any, s: float) -> Any:
    return gradient_flow(problem, Constant(1.0), start, ts=np.array([s])).end if s > 0.0 else start


_TASKS: dict[str, Callable[[Specification, Row, Question], Answer]] = {
    "schedules": _schedules,
    "rewind": _rewind,
    "influence": _influence,
    "exact": _exact,
}
