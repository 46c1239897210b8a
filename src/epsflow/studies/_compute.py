"""Rows computed: one at a time through the library's public functions, or as stacks of problems of one size."""

import json
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Float

from .._core import EpsflowError, EpsflowWarning, InputError
from ..control import linear_batch
from ._problems import Question, problem_of, question
from ._rows import Outcome, Row
from ._specification import DataProblems, Specification
from ._specify import specify
from .tasks import AbstractStackedTask, Answer, task_of

Method = Literal["stack", "one by one"]

STACK_BYTES = 2**28
"""Working memory of a stack; larger ones are computed in parts, which changes no number."""
UNDETERMINED = InputError(
    "the leave-out optimum is not unique: the retained points leave a direction free; give l2 > 0."
)
RAISED = (EpsflowError, ArithmeticError, ValueError, RuntimeError, TypeError, LookupError)
"""A row may fail in the library, in LAPACK (ValueError), in XLA (RuntimeError), or in a schedule or a task of the
user's (any of these): the others go on."""


def compute(text: str, rows: Sequence[Row], method: Method) -> list[Outcome]:
    """What a worker does: the specification comes as JSON, so that nothing but plain values travels.

    Double precision is switched on for the duration of the call, so that workers need no global flag.
    """
    specification = specify(json.loads(text))
    with jax.enable_x64(True), warnings.catch_warnings():
        warnings.simplefilter("ignore", EpsflowWarning)  # a row has the error of its cost; a worker has no reader
        return run_stack(specification, rows) if method == "stack" else run_rows(specification, rows)


def run_one(specification: Specification, row: Row) -> Outcome:
    """One row, by the public functions; whatever it raises is its outcome."""
    begin = time.perf_counter()
    try:
        problem, theta0 = problem_of(specification, row, question(specification, row))
        answer = task_of(specification.task).one(specification, row, problem, theta0)
    except RAISED as error:
        return _failed(row, error, time.perf_counter() - begin, "one by one")
    return _done(row, answer, time.perf_counter() - begin, "one by one")


def run_rows(specification: Specification, rows: Sequence[Row]) -> list[Outcome]:
    """Several rows, one after another."""
    return [run_one(specification, row) for row in rows]


@dataclass(frozen=True, kw_only=True, eq=False)
class Statistics:
    """All that a stack needs to know of one problem.

    Attributes:
        row: which.
        hessian, moment: H_{-D} and b_{-D}, shapes (d, d) and (d,).
        rows, targets: √c x_j and √c y_j of the deleted points, shapes (m, d) and (m,).
        theta0: θ(0), shape (d,).
        seconds: spent so far.
    """

    row: Row
    hessian: Float[np.ndarray, "d d"]
    moment: Float[np.ndarray, " d"]
    rows: Float[np.ndarray, "m d"]
    targets: Float[np.ndarray, " m"]
    theta0: Float[np.ndarray, " d"]
    seconds: float

    @property
    def size(self) -> tuple[int, int]:
        """d and m: problems that agree in both can be stacked."""
        return self.rows.shape[1], self.rows.shape[0]


def stackable(specification: Specification) -> bool:
    """Whether a study's rows can be computed as stacks."""
    task = task_of(specification.task)
    linear = all(not isinstance(source, DataProblems) or source.model == "linear" for source in specification.problems)
    return linear and isinstance(task, AbstractStackedTask) and task.stackable(specification)


def run_stack(specification: Specification, rows: Sequence[Row]) -> list[Outcome]:
    """Rows of any sizes: stacked by size where the study allows, one by one elsewhere. Outcomes in the rows' order.

    What cannot be made into a problem fails alone. A row's numbers do not depend on which others it is stacked with.
    """
    task = task_of(specification.task)
    if not (stackable(specification) and isinstance(task, AbstractStackedTask)):
        return run_rows(specification, rows)
    outcomes: dict[int, Outcome] = {}
    waiting: dict[tuple[int, int], list[Statistics]] = {}

    def solve(members: list[Statistics]) -> None:
        outcomes.update((outcome.row.place, outcome) for outcome in _stack(task, specification, members))

    for row in rows:
        begin = time.perf_counter()
        try:
            one = statistics(specification, row, question(specification, row))
        except EpsflowError as error:
            outcomes[row.place] = _failed(row, error, time.perf_counter() - begin, "stack")
            continue
        members = waiting.setdefault(one.size, [])
        members.append(replace(one, seconds=time.perf_counter() - begin))
        if len(members) * 80 * sum(one.size) ** 2 >= STACK_BYTES:
            solve(waiting.pop(one.size))
    for members in waiting.values():
        solve(members)
    return [outcomes[row.place] for row in rows]


def _stack(
    task: AbstractStackedTask[Any], specification: Specification, members: Sequence[Statistics]
) -> list[Outcome]:
    """Problems of one size, at once."""
    begin = time.perf_counter()
    answers = _answers(task, specification, members)
    share = (time.perf_counter() - begin) / len(members)
    outcomes = []
    for one, answer in zip(members, answers, strict=True):
        if answer is None:
            outcomes.append(_alone(specification, one, share))
        elif isinstance(answer, Answer):
            outcomes.append(_done(one.row, answer, one.seconds + share, "stack"))
        else:
            outcomes.append(_failed(one.row, answer, one.seconds + share, "stack"))
    return outcomes


def _answers(
    task: AbstractStackedTask[Any], specification: Specification, members: Sequence[Statistics]
) -> list[Answer | InputError | None]:
    """An answer per row, why there is none, or None where the row has to be computed alone."""
    # What a stack raises is about one of its rows: alone, each says what became of it, and by which route.
    try:
        batch = linear_batch(
            hessians=np.stack([one.hessian for one in members]),
            moments=np.stack([one.moment for one in members]),
            rows=np.stack([one.rows for one in members]),
            targets=np.stack([one.targets for one in members]),
            theta0=np.stack([one.theta0 for one in members]),
            s=np.array([float(one.row.inputs["s"]) for one in members]),
            T=np.array([float(one.row.inputs["T"]) for one in members]),
        )
    except EpsflowError:
        return [None] * len(members)
    answers: list[Answer | InputError | None] = [UNDETERMINED] * len(members)
    usable = np.flatnonzero(batch.determined).tolist()
    some: list[Answer | None] = []
    try:
        if usable:
            some = task.stack(specification, [members[k].row for k in usable], batch.take(np.array(usable)))
    except EpsflowError:
        some = [None] * len(usable)
    for k, answer in zip(usable, some, strict=True):
        answers[k] = answer
    return answers


def _alone(specification: Specification, one: Statistics, share: float) -> Outcome:
    """A row that its stack had no answer for; the time lost there counts."""
    outcome = run_one(specification, one.row)
    return replace(outcome, seconds=outcome.seconds + one.seconds + share)


def statistics(specification: Specification, row: Row, asked: Question) -> Statistics:
    """H_{-D}, b_{-D}, √c x_j, √c y_j and θ(0) of one problem.

    Raises:
        InputError: θ(0) is to be an optimum that is not unique.
    """
    n, d = asked.x.shape
    scale = 1.0 if specification.reduction == "sum" else 1.0 / n
    x, y = np.delete(asked.x, asked.delete, axis=0), np.delete(asked.y, asked.delete)
    hessian, moment = scale * (x.T @ x) + specification.l2 * np.eye(d), scale * (x.T @ y)
    hessian = 0.5 * (hessian + hessian.T)
    rows, targets = np.sqrt(scale) * asked.x[asked.delete], np.sqrt(scale) * asked.y[asked.delete]
    theta0 = asked.theta0
    if theta0 is None:
        whole = hessian + rows.T @ rows
        if np.linalg.matrix_rank(whole, hermitian=True) < d:
            raise InputError("the trained optimum is not unique; give l2 > 0, or another theta0.")
        theta0 = np.linalg.solve(whole, moment + rows.T @ targets)
    return Statistics(row=row, hessian=hessian, moment=moment, rows=rows, targets=targets, theta0=theta0, seconds=0.0)


def _failed(row: Row, error: Exception, seconds: float, method: str) -> Outcome:
    words = f"{type(error).__name__}: {error}"
    return Outcome(row=row, status="failed", error=words, seconds=seconds, method=method)


def _done(row: Row, answer: Answer, seconds: float, method: str) -> Outcome:
    return Outcome(row=row, status="done", outputs=answer.outputs, arrays=answer.arrays, seconds=seconds, method=method)
