"""How a result shows itself: in one line, as the table a paper would print, as HTML, as a pandas table.

A result derives from `Shown` and says two things about itself:

    class Retraining(Shown, eqx.Module):              # or @dataclass(frozen=True, eq=False, repr=False)
        def _facts(self) -> dict[str, object]:        # a few scalars, in the order of interest: its line
            return {"gradient_norm": self.gradient_norm, "result": self.result}

        def _rows(self) -> list[dict[str, object]]:   # where it is a table: one dictionary of scalars per row
            return [{"point": 3, "change": 0.02}, …]

`repr` is then `Retraining(gradient_norm=1.2e-14, result=successful)`; `summary()` and the HTML put the facts above the
table; a result whose rows are worth computing with derives from `Tabular`, and has `to_pandas()` too. Arrays are never
written out: a fact that is one appears as its shape, an outcome per row as how many succeeded.

A value that somebody makes (a schedule, a model, a loss, a cost) derives from `Spelled`, and shows what it was made of:
`Step(tau=2)`. A `NamedTuple`, which has no bases, says `__repr__ = spelled`.
"""

import dataclasses
import html
import math
import sys
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

from ._extras import extra_library

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 20
"""Rows of a table that `summary` writes; of more, the first and the last."""

FEW = 4
"""Entries of an array, or of a tuple, that are written one by one."""


@dataclasses.dataclass(frozen=True)
class Summary:
    """A titled table, which prints itself.

    Attributes:
        title: what it is about.
        facts: names and values above the table.
        rows: the table, one dictionary per row with the same keys; may be empty.
    """

    title: str
    facts: Mapping[str, object]
    rows: Sequence[Mapping[str, object]] = ()

    def __str__(self) -> str:
        width = max((len(name) for name in self.facts), default=0)
        lines = [f"{name:<{width}}  {shown(value)}" for name, value in self.facts.items()]
        table = _align(self._cells())
        line = "─" * max(len(row) for row in [self.title, *lines, *table])
        parts = [[self.title], lines, table[:1], table[1:]]
        return "\n".join(text for part in parts if part for text in [*part, line])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        facts = "".join(f"<tr><th>{_safe(name)}</th><td>{_safe(v)}</td></tr>" for name, v in self.facts.items())
        body = "".join(
            "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row) + "</tr>"
            for tag, row in zip(["th", *["td"] * len(self.rows)], self._cells(), strict=False)
        )
        table = f"<table>{body}</table>" if body else ""
        return f"<p><strong>{html.escape(self.title)}</strong></p><table>{facts}</table>{table}"

    def _cells(self) -> list[list[str]]:
        """The heading and the rows in words; long tables are cut in the middle."""
        if not self.rows:
            return []
        rows = [[shown(value) for value in row.values()] for row in self.rows]
        if len(rows) > MOST_ROWS:
            half = MOST_ROWS // 2
            left_out = [f"… {len(rows) - 2 * half} more", *[""] * (len(rows[0]) - 1)]
            rows = [*rows[:half], left_out, *rows[-half:]]
        return [list(self.rows[0]), *rows]


class Shown:
    """A result with a one-line `repr`, a `summary()` and an HTML view; see the module's docstring."""

    def _facts(self) -> dict[str, object]:
        """Names and values of the line, most important first."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its line shows.")

    def _figures(self) -> dict[str, object]:
        """What the summary says above its table, where that is more than the line."""
        return self._facts()

    def _rows(self) -> list[dict[str, Any]]:
        """The table under the facts; none unless a class says so."""
        return []

    def _title(self) -> str:
        """The first line of the summary."""
        return type(self).__name__

    def __repr__(self) -> str:
        facts = ", ".join(f"{name}={shown(value)}" for name, value in self._facts().items())
        return f"{type(self).__name__}({facts})"

    def summary(self) -> Summary:
        """The table that a paper would print: `print(result.summary())`; a notebook shows it as HTML."""
        return Summary(self._title(), self._figures(), self._rows())

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()


class Tabular(Shown):
    """A result that is a table."""

    def to_pandas(self) -> "pd.DataFrame":
        """The rows of the summary, at full precision.

        Raises:
            InputError: pandas is not installed.
        """
        return to_frame(self._rows())


class Spelled:
    """A value with a one-line `repr` that says what it is made of."""

    def __repr__(self) -> str:
        return spelled(self)


def spelled(self: object) -> str:
    """A class and its fields, as they are written: `BangBang(s=1, switch_ts=[2, 3], T=5, first='high', low=0, high=1)`.

    Numbers have six digits; a long array appears as its shape, a function by its name.
    """
    if dataclasses.is_dataclass(self):
        names = [field.name for field in dataclasses.fields(self) if field.repr]
    else:
        names = getattr(type(self), "_fields", vars(self) if hasattr(self, "__dict__") else ())
    parts = [f"{name}={_written(getattr(self, name))}" for name in names if not name.startswith("_")]
    return f"{type(self).__name__}({', '.join(parts)})"


def _written(value: Any) -> str:
    if isinstance(value, str):
        return repr(value)
    if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        few = len(value) <= FEW
        return f"({', '.join(map(_written, value))})" if few else f"{len(value)} of {type(value[0]).__name__}"
    if isinstance(value, tuple) and type(value).__repr__.__module__ != __name__:
        return spelled(value)  # another library's record, of functions, say
    if isinstance(value, Mapping):
        return f"{len(value)} entries"
    if callable(value) and hasattr(value, "__name__"):
        return value.__name__
    if "jax" in sys.modules:
        import jax
        from jax.core import Tracer

        if isinstance(value, jax.Array) and jax.numpy.issubdtype(value.dtype, jax.dtypes.prng_key):
            return "a key"
        if isinstance(value, Tracer):
            return f"traced{jax.typeof(value).shape}"
    return shown(value, digits=6) if type(value).__repr__ is not object.__repr__ else type(value).__name__


def to_frame(rows: Sequence[Mapping[str, object]]) -> "pd.DataFrame":
    """Rows of scalars as a pandas table.

    Raises:
        InputError: pandas is not installed.
    """
    library = extra_library("pandas", "to_pandas()", instead="summary() needs nothing.")
    return library.DataFrame([{name: _plain(value) for name, value in row.items()} for row in rows])


def shown(value: object, digits: int = 4) -> str:
    """A value in a few letters: numbers to four digits, an array as its shape, an outcome in a word."""
    if is_outcome(value):
        return _outcome(value)
    if isinstance(value, Enum):
        return str(value.value)
    if value is None or isinstance(value, str | bool):
        return str(value)
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        return str(value)
    if array.ndim:
        few = array.ndim == 1 and array.size <= FEW
        return f"[{', '.join(shown(entry, digits) for entry in array)}]" if few else f"array{array.shape}"
    number = array[()]
    return f"{number:.{digits}g}" if array.dtype.kind == "f" else str(number)


def with_error(value: float, error: float) -> str:
    """A number with all the digits that its error leaves: "0.0123456(± 2e-07)" is written 0.0123456 ± 2e-07."""
    if not (math.isfinite(value) and math.isfinite(error) and error > 0.0):
        return f"{value:.10g} ± {error:.1g}"
    digits = 2 + math.floor(math.log10(max(abs(value), error))) - math.floor(math.log10(error))
    return f"{value:.{min(17, max(1, digits))}g} ± {error:.1g}"


def is_outcome(value: object) -> bool:
    """Whether it is an item of `RESULTS`: none exists before its module, and JAX with it, is loaded."""
    if f"{__package__}._results" not in sys.modules:
        return False
    from ._results import RESULTS

    return isinstance(value, type(RESULTS.successful))


def _outcome(result: Any) -> str:
    """'successful', the first words of what went wrong, or for several how many succeeded."""
    from ._results import RESULTS

    done = np.asarray(result == RESULTS.successful)
    if done.ndim:
        return f"{int(done.sum())} of {done.size} successful"
    return "successful" if done else RESULTS[result].split(". ")[0].split(": ")[0].rstrip(".")


def _plain(value: Any) -> Any:
    """A JAX or NumPy scalar as a Python one."""
    if is_outcome(value):
        return _outcome(value)
    return value.item() if getattr(value, "shape", None) == () else value


def _safe(value: object) -> str:
    return html.escape(shown(value))


def _align(cells: list[list[str]]) -> list[str]:
    """Columns of equal width: the first to the left, the others to the right."""
    widths = [max(len(row[k]) for row in cells) for k in range(len(cells[0]))] if cells else []
    return [
        "  ".join(_pad(cell, width, k == 0) for k, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in cells
    ]


def _pad(cell: str, width: int, left: bool) -> str:
    return cell.ljust(width) if left else cell.rjust(width)
