"""Tables of other libraries as columns: pandas, polars and Arrow, none of which is imported here.

A column says what it holds, so that words, dates and objects can be refused by its name.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .._core import InputError

SINGLE = "numbers in single precision"
"""The kind of a column of 32 bits."""
WORDS = ("strings", "categories")
"""Kinds of columns that one-hot columns or labels can be made of."""


class Column(NamedTuple):
    """One column.

    Attributes:
        name: its name.
        values: float64 where they are numbers; else the objects as they are, None where one is missing.
        kind: what its values are, in words; "numbers" where they are.
    """

    name: str
    values: np.ndarray
    kind: str = "numbers"


def is_table(value: object) -> bool:
    """Whether it is a frame or table with named columns."""
    return _library(value) in _READERS and _kind(value) in ("DataFrame", "Table")


def is_series(value: object) -> bool:
    """Whether it is one named column."""
    return _library(value) in _READERS and _kind(value) in ("Series", "ChunkedArray")


def is_sparse(value: object) -> bool:
    """Whether it is a sparse matrix or array of SciPy's."""
    return _library(value) == "scipy" and hasattr(value, "toarray")


def sparse_words(value: Any, name: str) -> str:
    """Why a sparse matrix is refused, and what it would take."""
    rows, columns = value.shape
    filled, memory = 100.0 * value.nnz / max(1, rows * columns), 8e-6 * rows * columns
    return (
        f"{name} is a sparse matrix ({rows}×{columns}, {filled:.2g} % nonzero). What is computed of it (factors, "
        f"Hessians, flows) is dense; if {memory:.3g} MB are acceptable, pass .toarray()."
    )


def columns_of(table: Any) -> list[Column]:
    """The columns of a pandas or polars DataFrame or an Arrow Table, in their order."""
    return _READERS[_library(table)](table)


def column_of(series: Any, name: str) -> Column:
    """One column; its own name where it has one."""
    own = getattr(series, "name", None)
    return _column(name if own is None else str(own), series, str(getattr(series, "dtype", "")))


def numbers(column: Column, name: str, role: str) -> np.ndarray:
    """A column's values as float64.

    Args:
        column: any.
        name: of the data set.
        role: "feature" or "target".

    Raises:
        InputError: another kind of column, by its name, with what to do.
    """
    check_kind(column, name, role)
    bad = np.flatnonzero(~np.isfinite(column.values))
    if bad.size:
        raise not_finite(column.name, name, role, int(bad[0]), bad.size)
    return column.values


def not_finite(column: str, name: str, role: str, first: int, count: int) -> InputError:
    """What is said of a column of numbers that are missing or infinite: the first point where, and how many."""
    return InputError(
        f"{name}: {role} {column!r} is missing or infinite at point {first} ({count} such points). "
        "Remove or impute them first; no row is dropped in silence."
    )


def check_kind(column: Column, name: str, role: str, *, narrow: bool = False) -> None:
    """Refuse a column of anything but numbers, by its name, with what to do.

    Args:
        column: any.
        name: of the data set.
        role: "feature" or "target".
        narrow: whether numbers in single precision will do.
    """
    if column.kind == "numbers" or (narrow and column.kind == SINGLE):
        return
    advice = "make numbers of it first, or leave it out"
    if column.kind == "dates":
        advice = "make numbers of it first, such as days since the first"
    elif column.kind == SINGLE:
        advice = "convert it to float64 if its rounding, about 1e-7, may stand for the effect of a point"
    elif column.kind in WORDS:
        advice = "one_hot=[…] makes columns of zeros and ones of it" if role == "feature" else "labels=True numbers it"
    raise InputError(f"{name}: {role} {column.name!r} holds {column.kind}, where float64 is needed; {advice}.")


def absent(values: np.ndarray) -> np.ndarray:
    """Where a value is missing, shape (n,): None among objects, NaN among numbers."""
    if values.dtype.kind == "f":
        return np.isnan(values)
    return np.array([value is None or value != value for value in values], dtype=bool)


def _library(value: object) -> str:
    return type(value).__module__.partition(".")[0]


def _kind(value: object) -> str:
    return type(value).__name__


def _column(name: str, series: Any, kind: str) -> Column:
    """A series of any library, by what it says of its type and what NumPy makes of it."""
    said = kind.lower()
    if any(word in said for word in ("date", "time", "duration", "period")):
        return Column(name, np.asarray(series, dtype=object), "dates")
    if any(word in said for word in ("category", "categorical", "enum", "dictionary")):
        return Column(name, _objects(series), "categories")
    if any(word in said for word in ("str", "utf8")):
        return Column(name, _objects(series), "strings")
    if said in ("float32", "float16", "float", "halffloat"):  # "float" is Arrow's word for 32 bits
        return Column(name, np.asarray(series), SINGLE)
    values = np.asarray(series)
    return (
        Column(name, values.astype(np.float64)) if values.dtype.kind in "fiub" else _of_objects(name, _objects(series))
    )


def _of_objects(name: str, objects: np.ndarray) -> Column:
    """A column whose library does not say what it holds: by its values."""
    held = [value for value in objects if value is not None and value == value]
    if all(isinstance(value, bool | int | float | np.number | np.bool_) for value in held):
        return Column(name, np.array([np.nan if value is None else value for value in objects], dtype=np.float64))
    if all(isinstance(value, str) for value in held):
        return Column(name, objects, "strings")
    kind = type(held[0]).__name__ if held else "nothing"
    return Column(name, objects, "dates" if "date" in kind or "time" in kind.lower() else f"objects ({kind})")


def _objects(series: Any) -> np.ndarray:
    """The values, None where one is missing."""
    listed = (
        series.to_pylist() if hasattr(series, "to_pylist") else series.tolist() if hasattr(series, "tolist") else None
    )
    values = listed if listed is not None else series.to_list()
    plain = [None if _missing(value) else value for value in values]
    array = np.asarray(plain)
    return array if array.dtype.kind in "fiub" else np.array(plain, dtype=object)


def _missing(value: object) -> bool:
    """None and pandas' NA; NaN stays what it is, a number that is none."""
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def _read_pandas(table: Any) -> list[Column]:
    names = [str(name) for name in table.columns]
    return [_column(name, table.iloc[:, k], str(table.dtypes.iloc[k])) for k, name in enumerate(names)]


def _read_polars(table: Any) -> list[Column]:
    return [_column(series.name, series, str(series.dtype)) for series in table.get_columns()]


def _read_arrow(table: Any) -> list[Column]:
    named = zip(table.column_names, table.columns, table.schema.types, strict=True)
    return [_column(name, series, str(kind)) for name, series, kind in named]


_READERS: dict[str, Callable[[Any], list[Column]]] = {
    "pandas": _read_pandas,
    "polars": _read_polars,
    "pyarrow": _read_arrow,
}
