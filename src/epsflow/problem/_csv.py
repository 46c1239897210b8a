"""Text files of numbers: separated by commas, semicolons or tabs, compressed or not, with or without a header."""

import csv
import gzip
import io
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .._core import STDIN, InputError, as_flag, brief
from ._columns import Column
from ._dataset import Dataset
from ._tables import assemble

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t"}
"""What may stand between two cells, by name."""
GZIP = b"\x1f\x8b"


class Line(NamedTuple):
    """One line that is not blank: its number, as a text editor shows it, and its cells."""

    number: int
    cells: list[str]


class Reading(NamedTuple):
    """How a file is read.

    Attributes:
        path: its name, for messages.
        decimal: what stands between whole and fraction.
        words: names of columns whose cells need not be numbers.
    """

    path: str
    decimal: str
    words: set[str]


def read_csv(
    path: str | Path,
    *,
    target: str | int | None = None,
    standardise: bool = True,
    header: bool | None = None,
    separator: str | None = None,
    one_hot: Sequence[str] | bool = (),
    labels: bool = False,
) -> Dataset:
    """Read a text file of numbers, with or without a header line; .gz is unpacked, "-" is what is piped in.

    Example:
        >>> ef.read_csv("nowhere.csv")
        Traceback (most recent call last):
        epsflow.InputError: cannot read nowhere.csv: No such file or directory.

    Args:
        path: the file.
        target: the target column, by its name in the header or its number (from 0; negative counts from the end).
            Default: the last column.
        standardise: zero mean and unit variance for the features, and for a target that is no label.
        header: whether the first line holds names. Default: it does if none of its cells is a number.
        separator: between cells: ",", ";" or a tab, by itself or by name ("comma", "semicolon", "tab"), or another
            character. Default: the one that gives the first two lines the same number of cells, at least two. Beside
            semicolons a comma is the decimal sign.
        one_hot: columns of words that become one column of zeros and ones per level, as in `from_table`.
        labels: whether the target is a class label, as in `from_table`.

    Raises:
        InputError: missing or empty file, fewer than two columns or rows, rows of different lengths, a column without a
            name, a name used for two columns, a first line of years that may be names or numbers, an entry that is not
            a finite number, or an unknown target. The message names the line.
    """
    if not isinstance(path, str | Path):
        raise InputError(f"path is {brief(path)}; the name of a file is needed.")
    as_flag(standardise, "standardise")
    as_flag(labels, "labels")
    said = "stdin" if str(path) == STDIN else str(path)
    text = _text(path, said)
    mark = _separator(separator, text)
    decimal = "," if mark == ";" else "."
    lines = _lines(text, mark, said)
    if not lines:
        raise InputError(f"{said} is empty: it needs a header or numbers, one point per line.")
    first = [line.cells for line in lines[:2]]
    has_header = _has_header(first, said, decimal) if header is None else as_flag(header, "header")
    names = [cell.strip() for cell in first[0]] if has_header else [f"x{i}" for i in range(len(first[0]))]
    _check_names(names, said)
    column = _target_column(target, names, has_header, said)
    words = set(names) if one_hot is True else {one_hot} if isinstance(one_hot, str) else set(one_hot or ())
    words = (words - {names[column]}) | ({names[column]} if labels else set())
    columns = _columns(lines[1:] if has_header else lines, names, Reading(said, decimal, words))
    name = Path(said).name.removesuffix(".gz").rsplit(".", 1)[0]
    data = assemble(columns, column, name=name, one_hot=one_hot, labels=labels)
    return data.standardise(target=not labels) if standardise else data


def _text(path: str | Path, said: str) -> str:
    """The whole text, unpacked."""
    try:
        content = sys.stdin.buffer.read() if str(path) == STDIN else Path(path).read_bytes()
        if content.startswith(GZIP):
            content = gzip.decompress(content)
        return content.decode("utf-8-sig")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{said} is a damaged gzip file ({error}).") from error
    except OSError as error:
        raise InputError(f"cannot read {said}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{said} is not a text file of separated values ({error}).") from error


def _separator(given: str | None, text: str) -> str:
    if given is not None:
        mark = SEPARATORS.get(given, given) if isinstance(given, str) else ""
        if len(mark) != 1 or mark in '"\r\n':
            raise InputError(f"separator is {brief(given)}; one character is needed, or comma, semicolon or tab.")
        return mark
    beginning = io.StringIO(text[:100_000], newline="")
    first = [line for line in beginning if line.strip()][:2]
    for mark in SEPARATORS.values():
        counts = {len(cells) for cells in csv.reader(first, delimiter=mark)}
        if len(counts) == 1 and min(counts) > 1:
            return mark
    return ","


def _lines(text: str, mark: str, said: str) -> list[Line]:
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
        return [Line(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise InputError(f"{said} is not a text file of separated values ({error}).") from error


def _check_names(names: list[str], said: str) -> None:
    if "" in names:
        raise InputError(
            f"{said}: column {names.index('') + 1} has no name. Name it, or remove it if it only numbers the rows "
            "(R leaves them out with write.csv(..., row.names = FALSE))."
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{said}: two columns are called {twice[0]!r}; give every column a name of its own.")


def _has_header(first: list[list[str]], path: str, decimal: str) -> bool:
    """Whether the first line holds names; a line of years may be either."""
    if not any(_is_number(cell, decimal) for cell in first[0]):
        return True
    if _are_years(first[0]) and not all(map(_are_years, first)):
        raise InputError(
            f"{path}: the first line ({', '.join(first[0])}) may be a header of years or a row of numbers. Say which, "
            "by header=True or header=False (--header or --no-header), or put a letter before each year."
        )
    return False


def _are_years(cells: list[str]) -> bool:
    """Whether cells are whole numbers from 1500 to 2199, one greater than the other."""
    if not all(cell.strip().isdecimal() for cell in cells):
        return False
    years = [int(cell) for cell in cells]
    return all(1500 <= year < 2200 for year in years) and bool((np.diff(years) > 0).all())


def _as_number(cell: str, decimal: str) -> float:
    return float(cell.replace(decimal, ".") if decimal != "." and "." not in cell else cell)


def _is_number(cell: str, decimal: str = ".") -> bool:
    try:
        _as_number(cell, decimal)
    except ValueError:
        return False
    return True


def _columns(lines: list[Line], names: list[str], read: Reading) -> list[Column]:
    """The columns: numbers, or the words of those that may be words; every cell of others must be a number."""
    if len(names) < 2:
        raise InputError(
            f"{read.path} has one column; a target and at least one feature are needed (separated by commas, "
            "semicolons or tabs, or by separator=…)."
        )
    if len(lines) < 2:
        raise InputError(f"{read.path} has {len(lines)} line(s) of numbers; at least two points are needed.")
    for line in lines:
        if len(line.cells) != len(names):
            raise InputError(
                f"{read.path}, line {line.number}: {len(line.cells)} fields where the first line has {len(names)}."
            )
    columns = []
    for number, name in enumerate(names):
        cells = [line.cells[number] for line in lines]
        if name in read.words and not all(_is_number(cell, read.decimal) for cell in cells):
            columns.append(Column(name, np.array([cell.strip() or None for cell in cells], dtype=object), "strings"))
        else:
            columns.append(Column(name, _floats(cells, [line.number for line in lines], name, read)))
    return columns


def _floats(cells: list[str], lines: list[int], name: str, read: Reading) -> np.ndarray:
    values = np.empty(len(cells))
    for row, (line, cell) in enumerate(zip(lines, cells, strict=True)):
        if not _is_number(cell, read.decimal):
            raise InputError(
                f"{read.path}, line {line}, column {name!r}: {cell.strip()!r} is not a number.{_advice(cell)}"
            )
        values[row] = _as_number(cell, read.decimal)
        if not np.isfinite(values[row]):
            raise InputError(
                f"{read.path}, line {line}, column {name!r}: NaN or infinity. Remove or impute it; no row is dropped."
            )
    return values


def _advice(cell: str) -> str:
    return " Columns of words: one_hot=…, or labels=True for the target." if cell.strip().isalpha() else ""


def _target_column(target: str | int | None, names: list[str], has_header: bool, path: str) -> int:
    if target is None:
        return len(names) - 1
    if not isinstance(target, str | int | np.integer) or isinstance(target, bool):
        raise InputError(f"target is {target!r}; give the column's name, or its number, counted from 0.")
    if isinstance(target, str) and target in names and has_header:
        return names.index(target)
    try:
        number = int(target)
    except ValueError:
        known = (
            f"its columns are {', '.join(names)}" if has_header else "it has no header line, so give a column number"
        )
        raise InputError(f"unknown target {target!r} in {path}: {known}.") from None
    if not -len(names) <= number < len(names):
        raise InputError(f"target column {number} is outside {path}, whose {len(names)} columns are numbered from 0.")
    return number % len(names)
