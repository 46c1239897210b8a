"""A row of a study: as planned, as computed, and as the store keeps it."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

Value = float | int | str | bool
"""What a column of the table may hold."""


class Row(NamedTuple):
    """One run of a study.

    Example:
        >>> study = ef.Study("tiny", problems=[{"kind": "random", "draws": 3}], s=[1.0], T=[6.0])
        >>> row = study.plan()[2]
        >>> row.place, row.draw, row.inputs["T"]
        (2, 2, 6.0)

    Attributes:
        place: its number in the plan.
        source: which entry of `problems`.
        draw: which draw of it; 0 for data.
        deletion: which of the sets of deleted points.
        inputs: everything that varies, by the names of the table's columns.
        key: SHA-256 of all that the row's outputs depend on.
    """

    place: int
    source: int
    draw: int
    deletion: int
    inputs: dict[str, str | int | float]
    key: str


@dataclass(frozen=True, kw_only=True, eq=False)
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
    outputs: dict[str, Value] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    error: str = ""
    seconds: float = 0.0
    method: str = "one by one"


@dataclass(frozen=True, kw_only=True, eq=False)
class Stored:
    """One row of the store's table `runs`.

    Attributes:
        place, key, inputs: which row, its content hash, and what varied.
        status, outputs, arrays, error: what came of it.
        seconds, method, attempts: how, and how often it was tried.
    """

    place: int
    key: str
    inputs: dict[str, Any]
    status: str
    outputs: dict[str, Any]
    arrays: dict[str, np.ndarray]
    error: str
    seconds: float
    method: str
    attempts: int


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why some rows have no outputs.

    Example:
        >>> ef.studies.Failure(error="out of reach", rows=2, place=7, inputs={"T": 6.0}).rows
        2

    Attributes:
        error: what was raised, in words.
        rows: how many rows say so.
        place, inputs: the first of them.
    """

    error: str
    rows: int
    place: int
    inputs: dict[str, Any]
