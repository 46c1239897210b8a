"""What a task finds in the rows of a study: tables, drawings and sentences; and what all tasks need to make them."""

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float

from ..._core import to_frame
from .._rows import Stored
from .._statistics import RESAMPLES, Interval, Share, share

if TYPE_CHECKING:
    import pandas as pd

Groups = dict[str, list[Stored]]
"""Rows by what tells them apart, in words."""

Cell = str | int | float | Interval
"""An entry of a table; `Interval`, `Share` and `PValue` say themselves how they are written."""

NOTE = (
    "Brackets: 95 % intervals over problems; of a share Clopper–Pearson, of a median by the bootstrap "
    f"({RESAMPLES} resamples, percentiles). Equal: within 1e-9 relative."
)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of a study's summary.

    Example:
        >>> print(ef.studies.Table(title="Costs", columns=("group", "median"), rows=(("all", 0.5),)))
        Costs
        ─────────────
        group  median
        ─────────────
        all       0.5
        ─────────────

    Attributes:
        title: what it is about.
        columns: names; the first column says which group of rows.
        rows: numbers, intervals and words.
        note: what the numbers are.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def words(self) -> tuple[tuple[str, ...], ...]:
        """The rows as they are written."""
        return tuple(tuple(map(written, row)) for row in self.rows)

    def __str__(self) -> str:
        cells = [self.columns, *self.words()]
        widths = [max(len(row[k]) for row in cells) for k in range(len(self.columns))]
        lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in cells]
        rule = "─" * max(map(len, [self.title, *lines]))
        return "\n".join([self.title, rule, lines[0], rule, *lines[1:], rule, *([self.note] if self.note else [])])

    def _repr_html_(self) -> str:
        """What a notebook and the report show."""
        head = "".join(f"<th>{html.escape(column)}</th>" for column in self.columns)
        body = "".join(
            f"<tr{' class=all' if row[0] == 'all' else ''}>"
            + "".join(f"<td>{html.escape(cell)}</td>" for cell in row)
            + "</tr>"
            for row in self.words()
        )
        note = f'<p class="note">{html.escape(self.note)}</p>' if self.note else ""
        return (
            f"<h3>{html.escape(self.title)}</h3>"
            f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{note}'
        )

    def to_pandas(self) -> "pd.DataFrame":
        """Numbers at full precision; an interval takes three columns, "x", "x, low" and "x, high".

        Raises:
            InputError: pandas is not installed.
        """
        rows = []
        for row in self.rows:
            entries: dict[str, object] = {}
            for column, cell in zip(self.columns, row, strict=True):
                if isinstance(cell, Interval):
                    entries |= {column: cell.estimate, f"{column}, low": cell.low, f"{column}, high": cell.high}
                else:
                    entries[column] = float(cell) if isinstance(cell, float) else cell
            rows.append(entries)
        return to_frame(rows)


def written(cell: Cell) -> str:
    """A cell in words: four digits of a plain number, a dash for none."""
    if type(cell) is not float:
        return str(cell)
    return "–" if np.isnan(cell) else f"{cell:.4g}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawing:
    """What a figure shows.

    Example:
        >>> study = ef.Study("tiny", problems=[{"kind": "random", "draws": 3}], s=[1.0], T=[6.0])
        >>> done = study.run()
        >>> [drawing.kind for drawing in study.summary().drawings]
        ['distributions', 'intervals']

    Attributes:
        name: of its file.
        kind: a function of `epsflow.plots`: "distributions", "intervals" or "bands".
        caption: in words.
        arguments: of that function.
    """

    name: str
    kind: str
    caption: str
    arguments: dict[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """What a task makes of the rows that are done.

    Example:
        >>> ef.studies.Findings(answer=("Half of them.",), tables=()).answer
        ('Half of them.',)

    Attributes:
        answer: sentences.
        tables: with intervals.
        drawings: what figures show.
    """

    answer: tuple[str, ...]
    tables: tuple[Table, ...]
    drawings: tuple[Drawing, ...] = field(default=())


def everything(groups: Groups) -> list[Stored]:
    """All rows: of the group "all", or of the only one.

    Example:
        >>> ef.studies.everything({"d = 2": [], "all": []})
        []
    """
    return groups.get("all") or next(iter(groups.values()))


def column(rows: Sequence[Stored], name: str) -> Float[np.ndarray, " n"]:
    """A column of numbers; NaN where a row does not have it.

    Example:
        >>> study = ef.Study("tiny", problems=[{"kind": "random", "draws": 3}], s=[1.0], T=[6.0])
        >>> done = study.run()
        >>> with ef.studies.open_store("tiny.sqlite") as store:
        ...     ef.studies.column(list(store.rows()), "cost_optimum").shape
        (3,)
    """
    return np.array([float(row.outputs.get(name, np.nan)) for row in rows])


def units(rows: Sequence[Stored]) -> list[object]:
    """The problem of every row: rows of one draw are not independent, whatever else differs between them.

    Example:
        >>> study = ef.Study("tiny", problems=[{"kind": "random", "draws": 3}], s=[1.0], T=[6.0])
        >>> done = study.run()
        >>> with ef.studies.open_store("tiny.sqlite") as store:
        ...     len(set(ef.studies.units(list(store.rows()))))
        3
    """
    return [(row.inputs["problem"], row.inputs["draw"], row.inputs["deletion"]) for row in rows]


def share_of(rows: Sequence[Stored], mask: Bool[np.ndarray, " n"]) -> Share:
    """In which share of the rows something holds.

    Example:
        >>> study = ef.Study("tiny", problems=[{"kind": "random", "draws": 3}], s=[1.0], T=[6.0])
        >>> done = study.run()
        >>> with ef.studies.open_store("tiny.sqlite") as store:
        ...     rows = list(store.rows())
        >>> print(ef.studies.share_of(rows, np.array([True, True, False])))
        66.7 [9.4, 99.2] %
    """
    return share(mask, units(rows))


def picked(rows: Sequence[Stored], mask: Bool[np.ndarray, " n"]) -> list[Stored]:
    """The rows in which something holds."""
    return [row for row, good in zip(rows, mask, strict=True) if good]
