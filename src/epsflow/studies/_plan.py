"""From a specification to rows: every combination once, in one order, with a hash of what its outputs depend on."""

import hashlib
import itertools
import json
from pathlib import Path

from .._core import InputError
from ._problems import read_source
from ._rows import Row
from ._specification import DataProblems, RandomProblems, Specification

FORMAT = 1
"""Raised when the same inputs would give other outputs; rows of another format are not taken over."""


def plan(specification: Specification) -> tuple[Row, ...]:
    """All rows of a study.

    Raises:
        InputError: a data file that cannot be read, or that does not have the points that are to be deleted.
    """
    content = json.loads(specification.to_json())
    settings = {key: value for key, value in content.items() if key not in ("name", "problems", "theta0", "s", "T")}
    rows: list[Row] = []
    for number, source in enumerate(specification.problems):
        # What the library knows by name was checked when the specification was made.
        count = read_source(source).n if isinstance(source, DataProblems) and source.points is None else None
        if count is not None and (reason := source.delete.refusal(count)):
            raise InputError(f"problems.{number}: {reason}.")
        shapes = list(_shapes(source))
        common = {"format": FORMAT, "settings": settings, "source": content["problems"][number], "place": number}
        common["content"] = content_hash(source)
        base = json.dumps(common, sort_keys=True)
        for shape, deletion, start, (s, T), draw in itertools.product(
            shapes, range(source.delete.sets), specification.theta0, specification.windows, range(source.draws)
        ):
            inputs = {
                "problem": source.label,
                **shape,
                "draw": draw,
                "delete": source.delete.label,
                "deletion": deletion,
            }
            inputs |= {"theta0": start, "s": s, "T": T}
            key = hashlib.sha256((base + json.dumps(inputs, sort_keys=True)).encode()).hexdigest()
            rows.append(Row(len(rows), number, draw, deletion, inputs, key))
    return tuple(rows)


def _shapes(source: RandomProblems | DataProblems) -> list[dict[str, str | int | float]]:
    if isinstance(source, DataProblems):
        return [{}]
    names = ("n", "d", "noise", "condition", "spectrum", "outlier")
    return [
        dict(zip(names, values, strict=True))
        for values in itertools.product(*(getattr(source, name) for name in names))
    ]


def content_hash(source: RandomProblems | DataProblems) -> str:
    """SHA-256 of a CSV file's bytes; empty for what the library itself provides.

    Raises:
        InputError: a file that cannot be read.
    """
    if isinstance(source, RandomProblems) or source.csv is None:
        return ""
    try:
        return hashlib.sha256(Path(source.csv).read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {source.csv}: {error.strerror or error}.") from error
