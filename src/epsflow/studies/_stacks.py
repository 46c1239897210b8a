"""The vectorised runner: rows of one size as a stack of problems, in one pass of the batched solvers of `control`."""

import time
from collections.abc import Sequence
from itertools import groupby

import numpy as np

from .._core import EpsflowError, InputError
from ..control import (
    BatchBest,
    LinearBatch,
    baseline_costs,
    best_linear_decays,
    best_steps,
    certified_optima,
    linear_batch,
    rewound,
)
from ._problems import Question, Row, question
from ._specification import DataProblems, Specification
from ._tasks import Outcome, Value, failed, optimum_columns, rewind_columns, run_one

SEARCHES = {"Step": (best_steps, "tau"), "LinearDecay": (best_linear_decays, "t1")}
"""Families that are searched for a stack at a time, and what their number is called."""


def stackable(specification: Specification) -> bool:
    """Whether this study's rows can be computed as stacks; those of other studies are run one by one."""
    linear = all(not isinstance(source, DataProblems) or source.model == "linear" for source in specification.problems)
    if specification.task == "schedules":
        return (
            linear and specification.bounds == (0.0, 1.0) and all(name in SEARCHES for name in specification.families)
        )
    return linear and specification.task == "rewind"


def run_stack(specification: Specification, rows: Sequence[Row]) -> list[Outcome]:
    """Rows of any sizes: stacked by size where the study allows, one by one elsewhere. Outcomes in the rows' order.

    What cannot be made into a problem fails alone. A row's numbers do not depend on which others it is stacked with.
    """
    if not stackable(specification):
        return [run_one(specification, row) for row in rows]
    outcomes: dict[int, Outcome] = {}
    asked: list[tuple[Row, Question]] = []
    begin = time.perf_counter()
    for row in rows:
        try:
            asked.append((row, question(specification, row)))
        except EpsflowError as error:
            outcomes[row.place] = failed(row, error, 0.0, "stack")
    share = (time.perf_counter() - begin) / max(len(rows), 1)
    asked.sort(key=lambda pair: (*_size(pair[1]), pair[0].place))
    for _, members in groupby(asked, key=lambda pair: _size(pair[1])):
        for outcome in _stack(specification, list(members), share):
            outcomes[outcome.row.place] = outcome
    return [outcomes[row.place] for row in rows]


def _size(asked: Question) -> tuple[int, int]:
    return asked.x.shape[1], len(asked.delete)


def _stack(specification: Specification, members: list[tuple[Row, Question]], share: float) -> list[Outcome]:
    begin = time.perf_counter()
    outcomes: list[Outcome] = []
    statistics, kept = [], []
    for row, asked in members:
        try:
            statistics.append(_statistics(specification, asked))
            kept.append(row)
        except InputError as error:
            outcomes.append(failed(row, error, share, "stack"))
    if not kept:
        return outcomes
    s, T = (np.array([float(row.inputs[name]) for row in kept]) for name in ("s", "T"))
    hessians, moments, deleted, targets, starts = (np.stack(part) for part in zip(*statistics, strict=True))
    batch = linear_batch(hessians, moments, deleted, targets, starts, s, T)
    usable = np.flatnonzero(batch.determined)
    reason = InputError("the leave-out optimum is not unique: the retained points leave a direction free; give l2 > 0.")
    outcomes += [
        failed(row, reason, share, "stack") for row, good in zip(kept, batch.determined, strict=True) if not good
    ]
    rows, answer = [kept[k] for k in usable], _rewind if specification.task == "rewind" else _schedules
    if rows:
        try:
            found = answer(specification, rows, batch.take(usable))
        except EpsflowError:
            # One of them cannot be certified: alone, each says what became of it, and by which route.
            found = [run_one(specification, row) for row in rows]
        seconds = share + (time.perf_counter() - begin) / len(members)
        outcomes += [outcome if outcome.status == "failed" else _timed(outcome, seconds) for outcome in found]
    return outcomes


def _timed(outcome: Outcome, seconds: float) -> Outcome:
    whole = outcome.seconds if outcome.method == "one by one" else 0.0
    return Outcome(outcome.row, outcome.status, outcome.outputs, outcome.arrays, "", seconds + whole, outcome.method)


def _statistics(specification: Specification, asked: Question) -> tuple[np.ndarray, ...]:
    """H_{-D}, b_{-D}, √c x_j, √c y_j and θ(0) of one problem."""
    n, d = asked.x.shape
    delete = asked.delete
    if delete.min() < 0 or delete.max() >= n or len(np.unique(delete)) < len(delete) or len(delete) == n:
        raise InputError(
            f"deleted points {delete.tolist()} of {n} points numbered 0 to {n - 1}: outside, twice, or all."
        )
    scale = 1.0 if specification.reduction == "sum" else 1.0 / n
    x, y = np.delete(asked.x, delete, axis=0), np.delete(asked.y, delete)
    hessian, moment = scale * (x.T @ x) + specification.l2 * np.eye(d), scale * (x.T @ y)
    hessian = 0.5 * (hessian + hessian.T)
    rows, targets = np.sqrt(scale) * asked.x[delete], np.sqrt(scale) * asked.y[delete]
    theta0 = asked.theta0
    if theta0 is None:
        whole = hessian + rows.T @ rows
        if np.linalg.matrix_rank(whole, hermitian=True) < d:
            raise InputError("the trained optimum is not unique; give l2 > 0, or another theta0.")
        theta0 = np.linalg.solve(whole, moment + rows.T @ targets)
    return hessian, moment, rows, targets, theta0


def _schedules(specification: Specification, rows: list[Row], batch: LinearBatch) -> list[Outcome]:
    baseline = baseline_costs(batch)
    found = {name: SEARCHES[name][0](batch) for name in specification.families}
    optimum = None
    if specification.optimum:
        optimum = certified_optima(batch, nodes=specification.branching, steps=found.get("Step"))
    outcomes = []
    for k, row in enumerate(rows):
        if not all(bool(best.resolved[k]) for best in found.values()):
            outcomes.append(run_one(specification, row))
            continue
        outputs: dict[str, Value] = {"cost_baseline": float(baseline[k])}
        for name, best in found.items():
            outputs |= _family(best, k, name)
        if optimum is not None:
            outputs |= optimum_columns(
                float(optimum.costs[k]),
                float(optimum.errors[k]),
                float(optimum.lower_bounds[k]),
                int(optimum.switches[k]),
                optimum.statuses[k],
                optimum.scopes[k],
                optimum.methods[k],
            )
        outcomes.append(Outcome(row, "done", outputs, method="stack"))
    return outcomes


def _family(best: BatchBest, k: int, name: str) -> dict[str, Value]:
    return {
        f"cost_{name}": float(best.costs[k]),
        f"error_{name}": float(best.errors[k]),
        f"{SEARCHES[name][1]}_{name}": float(best.times[k]),
    }


def _rewind(specification: Specification, rows: list[Row], batch: LinearBatch) -> list[Outcome]:
    depths = np.array(specification.depths)
    outcomes = []
    for row, *curves in zip(rows, *rewound(batch, depths), strict=True):
        outputs, arrays = rewind_columns(depths, *curves)
        outcomes.append(Outcome(row, "done", outputs, arrays, method="stack"))
    return outcomes
