"""Real data: scikit-learn's bundled sets (offline) and CSV files."""

import csv
from pathlib import Path

import numpy as np

from .._core import InputError, as_flag, brief
from ._bundled import BUNDLED, check_bundled, read_bundled
from ._dataset import Dataset


def load_dataset(name: str, *, standardise: bool = True) -> Dataset:
    """One of scikit-learn's bundled data sets.

    diabetes (442×10), breast_cancer (569×30), digits (1797×64) or wine (178×13).

    Args:
        name: which one.
        standardise: zero mean and unit variance for every feature, and for diabetes' target; labels stay as they are.

    Raises:
        InputError: an unknown name.
    """
    check_bundled(name)
    as_flag(standardise, "standardise")
    table, known = read_bundled(name), BUNDLED[name]
    x, y = np.ascontiguousarray(table[:, :-1]), np.ascontiguousarray(table[:, -1])
    data = Dataset(x, y, name, known.features, known.target)
    return data.standardise(target=name == "diabetes") if standardise else data


def read_csv(
    path: str | Path, *, target: str | int | None = None, standardise: bool = True, header: bool | None = None
) -> Dataset:
    """Read a comma-separated file of numbers, with or without a header line.

    Args:
        path: the file.
        target: the target column, by its name in the header or its number (from 0; negative counts from the end).
            Default: the last column.
        standardise: zero mean and unit variance for features and target. Switch it off for class labels.
        header: whether the first line holds names. Default: it does if none of its cells is a number.

    Raises:
        InputError: missing or empty file, fewer than two columns or rows, rows of different lengths, a column without a
            name, a name used for two columns, a first line of years that may be names or numbers, an entry that is not
            a finite number, or an unknown target. The message names the line.
    """
    if not isinstance(path, str | Path):
        raise InputError(f"path is {brief(path)}; the name of a file is needed.")
    as_flag(standardise, "standardise")
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            # Pairs of line number and fields: a message must name the line that a text editor shows.
            reader = csv.reader(file)
            rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not a text file of comma-separated values ({error}).") from error
    if not rows:
        raise InputError(f"{path} is empty: it needs a header or numbers, one point per line.")
    has_header = _has_header([row for _, row in rows[:2]], path) if header is None else as_flag(header, "header")
    names = [cell.strip() for cell in rows[0][1]] if has_header else [f"x{i}" for i in range(len(rows[0][1]))]
    if "" in names:
        raise InputError(
            f"{path}: column {names.index('') + 1} has no name. Name it, or remove it if it only numbers the rows "
            "(R leaves them out with write.csv(..., row.names = FALSE))."
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{path}: two columns are called {twice[0]!r}; give every column a name of its own.")
    table = _parse(rows[1:] if has_header else rows, names, path)
    column = _target_column(target, names, has_header, path)
    features = np.delete(np.arange(len(names)), column)
    data = Dataset(table[:, features], table[:, column], path.stem, tuple(names[i] for i in features), names[column])
    return data.standardise() if standardise else data


def _has_header(first: list[list[str]], path: Path) -> bool:
    """Whether the first line holds names; a line of years may be either."""
    if not any(_is_number(cell) for cell in first[0]):
        return True
    if _are_years(first[0]) and not all(map(_are_years, first)):
        raise InputError(
            f"{path}: the first line ({', '.join(first[0])}) may be a header of years or a row of numbers. Say which, "
            "by header=True or header=False, or put a letter before each year."
        )
    return False


def _are_years(cells: list[str]) -> bool:
    """Whether cells are whole numbers from 1500 to 2199, one greater than the other."""
    if not all(cell.strip().isdecimal() for cell in cells):
        return False
    years = [int(cell) for cell in cells]
    return all(1500 <= year < 2200 for year in years) and bool((np.diff(years) > 0).all())


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _parse(rows: list[tuple[int, list[str]]], names: list[str], path: Path) -> np.ndarray:
    if len(names) < 2:
        raise InputError(f"{path} has one column; a target and at least one feature are needed (separated by commas).")
    if len(rows) < 2:
        raise InputError(f"{path} has {len(rows)} line(s) of numbers; at least two points are needed.")
    table = np.empty((len(rows), len(names)))
    for i, (line, row) in enumerate(rows):
        if len(row) != len(names):
            raise InputError(f"{path}, line {line}: {len(row)} fields where the first line has {len(names)}.")
        for j, cell in enumerate(row):
            if not _is_number(cell):
                raise InputError(f"{path}, line {line}, column {names[j]!r}: {cell.strip()!r} is not a number.")
            table[i, j] = float(cell)
        if not np.isfinite(table[i]).all():
            column = names[int(np.argmin(np.isfinite(table[i])))]
            raise InputError(
                f"{path}, line {line}, column {column!r}: NaN or infinity. Remove or impute it; no row is dropped."
            )
    return table


def _target_column(target: str | int | None, names: list[str], has_header: bool, path: Path) -> int:
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
