"""Frames and Arrow tables as data sets: names are kept, words become numbers where that is asked for."""

from collections.abc import Hashable, Iterable, Sequence

import numpy as np

from .._core import InputError, as_count, as_flag, brief
from ._columns import WORDS, Column, absent, columns_of, is_table, numbers
from ._dataset import Dataset
from ._labels import encode

MOST_LEVELS = 50
"""Levels of a categorical column beyond which it is taken for something else."""


def from_table(
    table: object,
    target: str | int,
    *,
    name: str = "data",
    one_hot: Sequence[str] | bool = (),
    labels: bool = False,
) -> Dataset:
    """The data set of a pandas DataFrame, a polars DataFrame or an Arrow Table; its names are kept.

    Example:
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"age": [3, 5, 8], "sex": ["f", "m", "f"], "height": [94.0, 110.0, 128.0]})
        >>> ef.from_table(frame, "height", one_hot=["sex"]).features
        ('age', 'sex=m')

    Args:
        table: one row per point. Its index, if it has one, is not a column.
        target: the target's column, by its name, or its number from 0 (negative from the end).
        name: of the data set.
        one_hot: columns of words that become one column of zeros and ones per level ("colour=red"); True for all of
            them. A column with two levels becomes one. With more, they add up to 1: beside an intercept leave one out,
            or use a penalty.
        labels: whether the target is a class label (strings, booleans, whole numbers): it is numbered from 0, in sorted
            order, and `classes` names it.

    Raises:
        InputError: no table; a column of words, dates or objects (by name), or with missing values; an unknown target.
    """
    if not is_table(table):
        raise InputError(
            f"table is {brief(table)}; a pandas or polars DataFrame or an Arrow Table is needed. Arrays go into "
            "Dataset(x, y)."
        )
    columns = columns_of(table)
    names = [column.name for column in columns]
    number = number_of(target, names, name)
    return assemble(columns, number, name=name, one_hot=one_hot, labels=as_flag(labels, "labels"))


def assemble(
    columns: Sequence[Column],
    target: int,
    *,
    name: str,
    one_hot: Sequence[str] | bool = (),
    labels: bool = False,
) -> Dataset:
    """The data set of a table's columns.

    Args:
        columns: all of them.
        target: the number of the target's.
        name: of the data set.
        one_hot: names of columns that become one column of zeros and ones per level ("colour=red"); True for every
            column of words. Of a column with two levels the second alone, since the first is one less.
        labels: whether the target is a class label, to be numbered.

    Raises:
        InputError: a column that is no number and not asked for, by its name and kind; a missing value; a name in
            `one_hot` that is no column.
    """
    wanted = wanted_levels(columns, target, one_hot, name)
    parts: list[tuple[str, np.ndarray]] = []
    for number, column in enumerate(columns):
        if number == target:
            continue
        parts += _levels(column, name) if number in wanted else [(column.name, numbers(column, name, "feature"))]
    aim = columns[target]
    where = f"{name}: target {aim.name!r}"
    y, classes = encode(aim.values, where) if labels else (numbers(aim, name, "target"), ())
    features = tuple(part for part, _ in parts)
    if not parts:
        raise without_features(aim.name, name)
    return Dataset(np.column_stack([values for _, values in parts]), y, name, features, aim.name, classes)


def without_features(target: str, name: str) -> InputError:
    """What is said of a table with one column."""
    return InputError(f"{name} has no column beside its target {target!r}; at least one feature is needed.")


def wanted_levels(columns: Sequence[Column], target: int, one_hot: Sequence[str] | bool, name: str) -> set[int]:
    """The numbers of the columns that are to become zeros and ones."""
    if isinstance(one_hot, bool | np.bool_):
        words = [k for k, column in enumerate(columns) if column.kind in WORDS]
        return {k for k in words if k != target} if one_hot else set()
    listed = [one_hot] if isinstance(one_hot, str) else one_hot
    if not isinstance(listed, Iterable):
        raise InputError(f"one_hot is {brief(one_hot)}; the names of columns are needed, or True for all of words.")
    known = {column.name: k for k, column in enumerate(columns) if k != target}
    for wanted in listed:
        if not isinstance(wanted, Hashable) or wanted not in known:
            raise InputError(f"one_hot: {wanted!r} is no feature of {name}; they are {', '.join(known)}.")
    return {known[wanted] for wanted in listed}


def _levels(column: Column, name: str) -> list[tuple[str, np.ndarray]]:
    """A column of zeros and ones for each level, in sorted order; of two levels the second alone."""
    values = [value.item() if isinstance(value, np.generic) else value for value in column.values]
    missing = np.flatnonzero(absent(column.values))
    if missing.size:
        raise without_level(column.name, name, int(missing[0]), missing.size)
    chosen = chosen_levels(set(values), column.name, name, len(values))
    return [(f"{column.name}={level}", np.array([value == level for value in values], float)) for level in chosen]


def without_level(column: str, name: str, first: int, count: int) -> InputError:
    """What is said of a column of levels that lacks some."""
    return InputError(f"{name}: point {first} has no {column!r} ({count} such points).")


def chosen_levels(different: Iterable[object], column: str, name: str, count: int) -> list[object]:
    """The levels that get a column each, in sorted order; of two the second alone.

    Args:
        different: the values of the column, each once.
        column: its name.
        name: of the data set.
        count: how many points there are.

    Raises:
        InputError: more than `MOST_LEVELS`.
    """
    levels = sorted(different, key=lambda value: (isinstance(value, str), value))
    if len(levels) > MOST_LEVELS:
        raise InputError(
            f"{name}: column {column!r} has {len(levels)} different values among {count} points; more than "
            f"{MOST_LEVELS} columns of zeros and ones are hardly what is meant. Leave it out, or put its levels "
            "together."
        )
    return levels[1:] if len(levels) == 2 else levels


def number_of(target: object, names: list[str], data: str) -> int:
    if isinstance(target, str):
        if target not in names:
            raise InputError(f"unknown target {target!r} in {data}: its columns are {', '.join(names)}.")
        return names.index(target)
    number = as_count(target, "target", least=-len(names))
    if number >= len(names):
        raise InputError(f"target column {number} is outside {data}, whose {len(names)} columns are numbered from 0.")
    return number % len(names)
