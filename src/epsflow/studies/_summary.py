"""What a study found: its rows in groups, the task's findings on them, and why rows failed."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .._core import InputError
from ._json import from_text, to_text
from ._rows import Stored
from ._store import Store
from .tasks import Drawing, Groups, Table, task_of

SAME = ("draw", "deletion")
"""Inputs that number the runs of a group, rather than tell groups apart."""
MOST_REASONS = 10
"""Reasons why rows failed that a table lists."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Summary:
    """What a study found so far; prints itself, and is HTML in a notebook.

    Example:
        >>> study = ef.Study("tiny", problems=[{"kind": "random", "draws": 3}], s=[1.0], T=[6.0])
        >>> done = study.run()
        >>> study.summary().done, [table.title for table in study.summary().tables]
        (3, ['Best Step against best LinearDecay', 'Saved against 1_[0,s]', 'Against the certified optimum'])

    Attributes:
        done, failed: rows.
        answer: sentences.
        tables: with 95 % intervals; the last one says why rows failed, if some did.
        drawings: what the figures show.
    """

    done: int
    failed: int
    answer: tuple[str, ...]
    tables: tuple[Table, ...]
    drawings: tuple[Drawing, ...]

    def __str__(self) -> str:
        return "\n\n".join(["\n".join(self.answer), *map(str, self.tables)])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        answer = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in self.answer)
        return answer + "".join(table._repr_html_() for table in self.tables)

    def to_json(self) -> str:
        """Everything as JSON, every number to the last bit."""
        parts = {name: [vars(part) for part in getattr(self, name)] for name in ("tables", "drawings")}
        return to_text({"done": self.done, "failed": self.failed, "answer": self.answer, **parts}, indent=1)

    @staticmethod
    def from_json(text: str) -> "Summary":
        """What `to_json` wrote.

        Raises:
            InputError: it is something else.
        """
        try:
            content = from_text(text)
            tables = (
                Table(
                    title=part["title"],
                    columns=tuple(part["columns"]),
                    rows=tuple(map(tuple, part["rows"])),
                    note=part["note"],
                )
                for part in content["tables"]
            )
            return Summary(
                done=content["done"],
                failed=content["failed"],
                answer=tuple(content["answer"]),
                tables=tuple(tables),
                drawings=tuple(Drawing(**part) for part in content["drawings"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"this is not the JSON of a study's summary ({error!r}).") from error


def summarise(store: Store) -> Summary:
    """Tables, drawings and sentences from the rows that are done.

    Raises:
        InputError: none is; with the most frequent reason, where rows failed.
    """
    specification, failures = store.specification, store.failures()
    done = [row for row in store.rows() if row.status == "done"]
    if not done:
        reason = f" {failures[0].rows} rows failed with: {failures[0].error}" if failures else ""
        raise InputError(f"no row of the study is done yet; run it first.{reason}")
    findings = task_of(specification.task).summarise(specification, _groups(done))
    return Summary(
        done=len(done),
        failed=sum(failure.rows for failure in failures),
        answer=findings.answer,
        tables=findings.tables + ((failure_table(store),) if failures else ()),
        drawings=findings.drawings,
    )


def failure_table(store: Store) -> Table:
    """Why rows failed, and for every reason the first row that did, by the inputs in which rows differ."""
    failures, varying = store.failures(), store.varying()
    body = []
    for failure in failures[:MOST_REASONS]:
        inputs = [f"{name} = {_short(value)}" for name, value in failure.inputs.items() if name in varying]
        body.append((failure.error, failure.rows, failure.place, ", ".join(inputs)))
    more = len(failures) - len(body)
    return Table(
        title="Failed rows",
        columns=("error", "rows", "first row", "its inputs"),
        rows=tuple(body),
        note=f"And {more} further reasons." if more else "",
    )


def _groups(rows: Sequence[Stored]) -> Groups:
    """Rows by the inputs that tell them apart, in words; and all of them, if there is more than one group."""
    by_problem: Groups = {}
    for row in rows:
        by_problem.setdefault(str(row.inputs["problem"]), []).append(row)
    split: Groups = {}
    for problem, members in by_problem.items():
        names = [name for name in {name: None for row in members for name in row.inputs} if name not in SAME]
        varying = [name for name in names if len({row.inputs.get(name) for row in members}) > 1]
        for row in members:
            parts = [f"{name} = {_short(row.inputs[name])}" for name in varying if name in row.inputs]
            split.setdefault(", ".join([problem, *parts]), []).append(row)
    return {**split, "all": list(rows)} if len(split) > 1 else split


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
