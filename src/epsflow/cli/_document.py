"""A result as files for other programs: a JSON document, and the optimal schedule as CSV."""

import csv
import dataclasses
import io
import json
import math
from typing import Any

import numpy as np

from .._core import provenance
from ..control import Comparison, ScheduleSolution, SecondOpinion, step_weights
from ..flow import gradient_flow
from ..schedules import AbstractSchedule, PiecewiseConstant
from ._deletion import Deletion, warnings
from ._inputs import Question, Source
from ._output import FORMAT, PROGRAM
from ._report import finding
from ._schedule_question import Posed

CSV_POINTS = 401


def heading(command: str, source: Source, deletion: Deletion) -> dict[str, Any]:
    """What every document begins with: which program, which command, which problem."""
    problem = deletion.problem
    return {
        "program": PROGRAM,
        "format": FORMAT,
        "command": command,
        "problem": {
            "data": problem.data.name,
            "csv": None if source.csv is None else str(source.csv),
            "points": problem.data.n,
            "features": problem.data.features,
            "target": problem.data.target,
            "classes": problem.data.classes,
            "model": type(problem.model).__name__,
            "loss": type(problem.loss).__name__,
            "parameters": problem.dim,
            "reduction": problem.reduction,
            "l2": problem.l2,
            "deleted": problem.delete,
            "deleted_chosen_by": deletion.chosen_by,
        },
        "warnings": warnings(problem),
    }


def answers(question: Question, posed: Posed, comparison: Comparison) -> dict[str, Any]:
    """What `optimise` and `compare` asked and found."""
    task, optimum = comparison.task, comparison.optimum
    return {
        "finding": finding(comparison),
        "task": {
            "s": task.s,
            "T": task.T,
            "bounds": task.bounds,
            "budget": task.budget,
            "price": task.price,
            "start": posed.start,
            "seed": question.seed if posed.start == "random" or posed.batch is not None else None,
            "motion": posed.motion,
            "step_size": posed.step_size,
            "batch": posed.batch,
            "theta0": task.theta0,
            "target": task.target,
        },
        "schedules": [
            {**row, "schedule": _fields(schedule)}
            for row, schedule in zip(comparison.rows(), _schedules(comparison), strict=True)
        ],
        "optimum": None if optimum is None else _optimum(optimum, posed.intervals),
        "check": None if comparison.check is None else _check(comparison.check),
    }


def _schedules(comparison: Comparison) -> list[AbstractSchedule]:
    found = [comparison.baseline.schedule, *(family.schedule for family in comparison.families)]
    others = comparison.optimum, comparison.check
    return [*found, *(other.schedule for other in others if other is not None)]


def _optimum(optimum: ScheduleSolution, intervals: int) -> dict[str, Any]:
    return {
        "cost": optimum.cost,
        "cost_error": optimum.cost_error,
        "effort": optimum.effort,
        "multiplier": optimum.multiplier,
        "objective": optimum.objective,
        "lower_bound": optimum.lower_bound,
        "gap": optimum.gap,
        "status": optimum.status.value,
        "scope": optimum.scope.value,
        "trouble": optimum.trouble,
        "arcs": [arc._asdict() for arc in optimum.arcs],
        "pmp_gap": optimum.pmp_gap,
        "hamiltonian_drift": optimum.hamiltonian_drift,
        "method": optimum.how,
        "intervals": intervals,
        "candidates": [
            {"start": run.start, "status": run.status, "success": run.success, "iterations": run.iterations}
            for run in optimum.candidates
        ],
    }


def _check(check: SecondOpinion) -> dict[str, Any]:
    return {
        "solver": "IPOPT, by CasADi",
        "cost": check.cost,
        "cost_error": check.cost_error,
        "effort": check.effort,
        "lower_bound": check.lower_bound,
        "status": check.status,
        "success": check.success,
        "iterations": check.iterations,
        "intervals": check.intervals,
        "seconds": check.seconds,
    }


def _fields(schedule: AbstractSchedule) -> dict[str, Any]:
    values = {field.name: getattr(schedule, field.name) for field in dataclasses.fields(schedule)}
    return {"type": type(schedule).__name__, **values}


def _plain(value: Any) -> Any:
    """JSON's own types, all the way down."""
    match value:
        case dict():
            return {key: _plain(entry) for key, entry in value.items()}
        case None | str() | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else None
        case list() | tuple():
            return [_plain(entry) for entry in value]
        case _:  # arrays of NumPy or JAX, of any shape
            return _plain(np.asarray(value).tolist())


def to_json(content: dict[str, Any]) -> str:
    """The document as text, with the versions that made it; NaN and infinity become null."""
    return json.dumps(_plain({**content, "provenance": provenance()}), indent=2, ensure_ascii=False, allow_nan=False)


def schedule_csv(optimum: ScheduleSolution, posed: Posed) -> str:
    """t, ε, S and ‖θ(t) − target‖ as comma-separated values, with a header.

    ε in a row is its value on the interval that *ends* at t: Σ ε_k (t_k − t_{k−1}) is the integral of a schedule that
    is constant between rows, since every jump is a row. S is defined on [s, T]; before s its field is empty. Of an
    optimiser t counts steps, one row each, and ε and S are those of the step that ends there. Numbers have all their
    digits.
    """
    task, steps = optimum.task, posed.motion != "flow"
    if steps:
        from ..flow import train_with  # which linear regression spares

        ts = np.arange(1.0, task.T + 1.0)
        seen, late = ts - 0.5, ts > task.s
        eps = step_weights(optimum.schedule, 0.0, task.T)
        taken = PiecewiseConstant(np.append(0.0, ts), eps if eps.shape[1] > 1 else eps[:, 0])
        thetas = train_with(task.problem, taken, task.theta0, steps=ts.astype(int), **posed.training).thetas
    else:
        jumps = np.asarray(optimum.schedule.jump_ts)
        grid = [np.linspace(0.0, task.T, CSV_POINTS), [task.s], jumps[(jumps > 0.0) & (jumps < task.T)]]
        seen = ts = np.unique(np.concatenate(grid))
        late = ts >= task.s
        eps = np.asarray(optimum.schedule(np.nextafter(ts, -np.inf))).reshape(len(ts), -1)
        thetas = gradient_flow(task.problem, optimum.schedule, task.theta0, ts=ts, estimate_error=False).thetas
    switching = np.full((len(ts), eps.shape[1]), np.nan)
    switching[late] = np.asarray(optimum.switching(seen[late])).reshape(int(late.sum()), -1)
    distance = np.linalg.norm(np.asarray(thetas) - np.asarray(task.target), axis=1)
    tails = [""] if eps.shape[1] == 1 else [f"_{point}" for point in task.problem.delete]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["t", *(f"eps{tail}" for tail in tails), *(f"switching{tail}" for tail in tails), "distance"])
    for row in np.column_stack([ts, eps, switching, distance]).tolist():
        writer.writerow(["" if math.isnan(value) else repr(value) for value in row])
    return text.getvalue()
