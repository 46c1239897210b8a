"""A table that comes some rows at a time as a data set on memory maps: read once to be checked, again to be written."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._core import InputError
from ._columns import Column, absent, check_kind, not_finite
from ._dataset import Dataset, as_names
from ._labels import classes_of, no_labels, unlabelled
from ._moments import Moments
from ._tables import chosen_levels, wanted_levels, without_features, without_level

FILES = ("x.npy", "y.npy")
"""What a folder of memory maps holds: features and targets."""

PART = ".part"
"""What the folder is called that they are written to first, or how its name ends."""

MOST_CLASSES = 2**16
"""Different labels beyond which a column is taken for something else before its end."""


class Reading(NamedTuple):
    """How a table is read.

    Attributes:
        name: of the data set.
        target: the number of the target's column.
        one_hot, labels, standardise: as in `read_parquet`.
        dtype: of the files.
    """

    name: str
    target: int
    one_hot: Sequence[str] | bool
    labels: bool
    standardise: bool
    dtype: np.dtype


class _Gaps:
    """Points that lack a value: the first, and how many."""

    def __init__(self) -> None:
        self.first, self.count = 0, 0

    def add(self, where: np.ndarray, start: int) -> None:
        found = int(np.count_nonzero(where))
        if found and not self.count:
            self.first = start + int(np.argmax(where))
        self.count += found


class _Numbers:
    """A column of numbers."""

    def __init__(self, column: str, role: str, reading: Reading) -> None:
        self.column, self.role, self.reading = column, role, reading
        self.names, self.gaps = [column], _Gaps()
        self.scaled = reading.standardise
        self.moments: Moments | None = None

    def see(self, column: Column, start: int) -> None:
        """Check some rows and gather what all have to say."""
        check_kind(column, self.reading.name, self.role, narrow=self.reading.dtype == np.float32)
        values = column.values.astype(np.float64, copy=False)
        self.gaps.add(~np.isfinite(values), start)
        if self.scaled and not self.gaps.count:
            seen = Moments.of(values)
            self.moments = seen if self.moments is None else self.moments.joined(seen)

    def settle(self, count: int) -> None:
        """Refuse the column if something lacks; `count` is how many points there are."""
        if self.gaps.count:
            raise not_finite(self.column, self.reading.name, self.role, self.gaps.first, self.gaps.count)

    def made(self, column: Column) -> list[np.ndarray]:
        """Some rows as they are stored, one array for each of `names`."""
        values = column.values.astype(np.float64, copy=False)
        return [values if self.moments is None else self.moments.standardise(values)]


class _Levels:
    """A column that becomes zeros and ones."""

    def __init__(self, column: str, reading: Reading) -> None:
        self.column, self.reading = column, reading
        self.names, self.gaps = list[str](), _Gaps()
        self.counts, self.chosen, self.moments = Counter[Any](), list[Any](), list[Moments]()

    def see(self, column: Column, start: int) -> None:
        """Check some rows and gather what all have to say."""
        lacks = absent(column.values)
        self.gaps.add(lacks, start)
        self.counts.update(column.values[~lacks].tolist())
        chosen_levels(self.counts, self.column, self.reading.name, start + len(lacks))

    def settle(self, count: int) -> None:
        """Refuse the column if something lacks; else its levels are known."""
        if self.gaps.count:
            raise without_level(self.column, self.reading.name, self.gaps.first, self.gaps.count)
        self.chosen = chosen_levels(self.counts, self.column, self.reading.name, count)
        self.names = [f"{self.column}={level}" for level in self.chosen]
        if self.reading.standardise:
            self.moments = [Moments.of_indicator(self.counts[level], count) for level in self.chosen]

    def made(self, column: Column) -> list[np.ndarray]:
        """Some rows as they are stored, one array for each of `names`."""
        values = column.values.tolist()
        made = [np.array([value == level for value in values], float) for level in self.chosen]
        if not self.moments:
            return made
        return [moments.standardise(part) for moments, part in zip(self.moments, made, strict=True)]


class _Labels:
    """The target where it is a class label."""

    def __init__(self, column: str, reading: Reading) -> None:
        self.column, self.where = column, f"{reading.name}: target {column!r}"
        self.gaps, self.different, self.classes = _Gaps(), set[Any](), tuple[Any, ...]()

    def see(self, column: Column, start: int) -> None:
        """Check some rows and gather what all have to say."""
        lacks = absent(column.values)
        self.gaps.add(lacks, start)
        self.different |= set(column.values[~lacks].tolist())
        if len(self.different) > MOST_CLASSES:
            raise no_labels(self.where, len(self.different), start + len(lacks))

    def settle(self, count: int) -> None:
        """Refuse the column if something lacks; else its classes are known."""
        if self.gaps.count:
            raise unlabelled(self.where, self.gaps.first, self.gaps.count)
        self.classes = classes_of(list(self.different), self.where, count)

    def made(self, column: Column) -> list[np.ndarray]:
        """The numbers of some labels."""
        number = {label: index for index, label in enumerate(self.classes)}
        return [np.array([number[label] for label in column.values.tolist()], float)]


def convert(
    batches: Callable[[], Iterator[list[Column]]], reading: Reading, folder: Path, *, overwrite: bool
) -> Dataset:
    """The data set on files in a folder, which is there when both are whole and not before.

    Args:
        batches: goes through the table, some rows at a time; it is called twice.
        reading: how they are read.
        folder: where the files go.
        overwrite: whether it may hold such files already.

    Raises:
        InputError: what `from_table` refuses of the table, or a folder that is there or cannot be written to.
    """
    _check_folder(folder, overwrite=overwrite)
    try:
        with _replacing(folder) as temporary:
            parts, count = _looked_through(batches(), reading)
            features = as_names(parts.names, len(parts.names), reading.name)
            _write(batches(), parts, count, temporary)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror or error}.") from error
    x, y = (np.load(folder / file, mmap_mode="r") for file in FILES)
    classes = parts.target.classes if isinstance(parts.target, _Labels) else ()
    return Dataset(x, y, reading.name, features, parts.target.column, classes)


class _Parts:
    """What becomes of the columns of a table."""

    def __init__(self, columns: list[Column], reading: Reading) -> None:
        self.reading, aim = reading, columns[reading.target].name
        if len(columns) == 1:
            raise without_features(aim, reading.name)
        wanted = wanted_levels(columns, reading.target, reading.one_hot, reading.name)
        self.features: dict[int, _Numbers | _Levels] = {
            k: _Levels(column.name, reading) if k in wanted else _Numbers(column.name, "feature", reading)
            for k, column in enumerate(columns)
            if k != reading.target
        }
        self.target = _Labels(aim, reading) if reading.labels else _Numbers(aim, "target", reading)
        self.of_columns = {**self.features, reading.target: self.target}

    @property
    def names(self) -> list[str]:
        """Of the features."""
        return [name for part in self.features.values() for name in part.names]

    def made(self, columns: list[Column]) -> np.ndarray:
        """Some rows as they are stored: the features and, last, the target."""
        parts = [*self.features.items(), (self.reading.target, self.target)]
        rows = np.column_stack([values for k, part in parts for values in part.made(columns[k])])
        with np.errstate(over="ignore"):
            stored = rows.astype(self.reading.dtype, copy=False)
        beyond = np.flatnonzero(~np.isfinite(stored).all(axis=0))
        if beyond.size:
            names = [*(f"feature {name!r}" for name in self.names), f"target {self.target.column!r}"]
            raise InputError(
                f"{self.reading.name}: {names[beyond[0]]} is beyond the numbers of {self.reading.dtype}; standardise, "
                'or store it with dtype="float64".'
            )
        return stored


def _looked_through(batches: Iterator[list[Column]], reading: Reading) -> tuple[_Parts, int]:
    """What becomes of the columns, once all rows have been seen, and how many there are."""
    parts, start = None, 0
    for columns in batches:
        parts = parts or _Parts(columns, reading)
        for k, part in parts.of_columns.items():
            part.see(columns[k], start)
        start += len(columns[0].values)
    if parts is None or not start:
        raise InputError(f"{reading.name} has no rows; at least one is needed.")
    for k in sorted(parts.features):
        parts.features[k].settle(start)
    parts.target.settle(start)
    return parts, start


def _write(batches: Iterator[list[Column]], parts: _Parts, count: int, folder: Path) -> None:
    """The two files, written and not mapped: a full disk is an error then, and not the end of the process."""
    with open(folder / FILES[0], "wb") as x, open(folder / FILES[1], "wb") as y:
        for file, shape in ((x, (count, len(parts.names))), (y, (count,))):
            described = np.lib.format.dtype_to_descr(parts.reading.dtype)
            header = {"descr": described, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
        for columns in batches:
            rows = parts.made(columns)
            np.ascontiguousarray(rows[:, :-1]).tofile(x)
            np.ascontiguousarray(rows[:, -1]).tofile(y)


def _check_folder(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that is there, unless it is empty or holds nothing but what may be overwritten."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{folder} is a file; a folder is needed, for {' and '.join(FILES)}.")
    held = {path.name for path in folder.iterdir()} - {PART}
    if held - set(FILES):
        raise InputError(f"{folder} holds other files, such as {min(held - set(FILES))}; name another folder.")
    if held and not overwrite:
        raise InputError(f"{folder} exists; name another folder, or overwrite it with overwrite=True.")


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """A folder for what this one is to hold: where an error ends the writing it is gone, and this one as it was."""
    place = folder.absolute()
    there = place.exists()
    # Within a folder that is there, which may be a disk of its own.
    temporary = place / PART if there else place.with_name(f".{place.name}{PART}")
    try:
        temporary.mkdir(exist_ok=True)
        yield temporary
        if not there:
            temporary.rename(place)
            return
        (place / FILES[1]).unlink(missing_ok=True)  # new features never lie beside old targets
        for file in FILES:
            (temporary / file).replace(place / file)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
