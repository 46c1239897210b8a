"""The data: n points, as NumPy arrays, possibly mapped from a file larger than memory."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from .._core import InputError, Shown, as_array, as_count, as_flag, brief
from ._columns import WORDS, column_of, columns_of, is_series, is_sparse, is_table, numbers, sparse_words
from ._labels import are_words, encode
from ._moments import Moments

INTERCEPT = "intercept"
"""The name of a column of ones."""

CHUNK_ROWS = 65_536
"""Rows read at a time from arrays that may not fit in memory."""

STANDARDISED = 2**22
"""Numbers standardised at a time: 32 MB in float64."""


@dataclass(frozen=True, eq=False, repr=False, init=False)
class Dataset(Shown):
    """n points (x_i, y_i).

    Example:
        >>> ef.Dataset([[1.0], [2.0], [3.0]], ["no", "yes", "yes"]).y
        array([0., 1., 1.])

    Attributes:
        x: features, shape (n, p), a copy in float64, or in float32 where they are given so; a `numpy.memmap` stays on
            disk.
        y: targets, likewise, shape (n,), or (n, k) for several outputs; class labels are stored as the numbers 0, 1, ….
        name: what tables and figures call it.
        features: one name per column of x.
        target: the target's name, with its unit where known.
        classes: what the labels 0, 1, … stand for, where y holds labels; else empty.

    x may be a pandas or polars DataFrame or an Arrow Table of numbers, whose names are kept, and y a column of one.
    Labels that are strings or booleans are numbered from 0 in sorted order; `encode_labels` does so for numbers, such
    as −1 and 1.

    Arrays in float32, in memory or mapped, are never widened here and count as the numbers they are, also when what is
    made of them is: `standardise` sums in float64 and returns float32. A network is trained on them in any precision; a
    problem in float64 widens them, which changes no number. A linear model refuses them: its answers resolve the effect
    of a single point, and what rounding did to the data before they came here, 6e-8 of each number, may be larger.

    Raises:
        InputError: shapes that do not match, floats of 16 bits, no rows, masked entries, a feature named twice, a
            sparse matrix, a column of dates or words, or NaN/inf (memory maps are checked when they are read).
    """

    x: Float[np.ndarray, "n p"]
    y: np.ndarray
    name: str = "data"
    features: tuple[str, ...] = ()
    target: str = "y"
    classes: tuple[Any, ...] = ()

    def __init__(
        self,
        x: object,
        y: object,
        name: str = "data",
        features: Iterable[str] = (),
        target: str = "y",
        classes: tuple[Any, ...] = (),
    ):
        """Read tables, check, and copy."""
        given = {"x": x, "y": y, "name": name, "features": features, "target": target, "classes": classes}
        for field_name, value in {**given, **_read(x, y, str(name), features, target)}.items():
            object.__setattr__(self, field_name, value)
        for field_name in ("name", "target"):
            if not isinstance(getattr(self, field_name), str):
                raise InputError(f"{field_name} is {brief(getattr(self, field_name))}; a string is needed.")
        object.__setattr__(self, "x", _as_data(self.x, f"{self.name}: x"))
        object.__setattr__(self, "y", _as_data(self.y, f"{self.name}: y"))
        if self.x.ndim != 2 or 0 in self.x.shape:
            raise InputError(
                f"{self.name}: x has shape {self.x.shape}; a non-empty matrix (points, features) is needed."
            )
        if self.y.ndim == 2 and self.y.shape[1] == 1:
            object.__setattr__(self, "y", self.y[:, 0])
        if self.y.ndim not in (1, 2) or len(self.y) != len(self.x):
            raise InputError(
                f"{self.name}: y has shape {self.y.shape}, but x has {len(self.x)} points; "
                f"y must be ({len(self.x)},) or ({len(self.x)}, outputs)."
            )
        object.__setattr__(self, "features", as_names(self.features, self.x.shape[1], self.name))
        if not isinstance(self.x, np.memmap):
            check_finite(self.x, self.y, self.name)

    def _facts(self) -> dict[str, object]:
        return {"name": self.name, "n": self.n, "features": self.x.shape[1], "target": self.target}

    @property
    def n(self) -> int:
        """Number of points."""
        return self.x.shape[0]

    def standardise(self, *, target: bool = True) -> "Dataset":
        """Centre every feature and scale it to unit variance (divisor n); the target too, unless `target=False`.

        Sums are in float64 and results in the type of the data, so that columns in float32 are rounded to it once.
        A constant column has no scale: it becomes zero, and a linear model on it is then rank deficient.
        """
        y = _standardised(self.y) if as_flag(target, "target") else self.y
        return replace(self, x=_standardised(self.x), y=y)

    def encode_labels(self) -> "Dataset":
        """The targets as labels 0, 1, …, k−1, in the order of their values, which `classes` keeps.

        For labels that are numbers, such as −1 and 1 or 1, 2, 3; strings and booleans are encoded when a data set is
        made.

        Raises:
            InputError: targets that are no whole numbers, or of which more than half are different.
        """
        y, classes = encode(self.y.tolist(), f"{self.name}: y")
        return replace(self, y=y, classes=self.classes or classes)

    def add_intercept(self) -> "Dataset":
        """Append a column of ones, named `intercept`, as the last feature."""
        ones = np.ones((self.n, 1), self.x.dtype)
        return replace(self, x=np.hstack([self.x, ones]), features=(*self.features, INTERCEPT))

    def subsample(self, n: int, *, seed: int) -> "Dataset":
        """n points drawn without replacement by NumPy's default generator with this seed, in their original order."""
        as_count(seed, "seed", least=0)
        if not 1 <= as_count(n, "n", least=0) <= self.n:
            raise InputError(f"cannot draw {n} points without replacement from {self.name}, which has {self.n}.")
        rows = np.sort(np.random.default_rng(seed).choice(self.n, size=n, replace=False))
        return replace(self, x=self.x[rows], y=self.y[rows])


def _read(x: Any, y: Any, name: str, features: Iterable[str], target: str) -> dict[str, Any]:
    """What is given in another form than arrays of numbers: tables and columns with their names, labels in words."""
    given: dict[str, Any] = {}
    if is_table(x):
        columns = columns_of(x)
        given["x"] = np.column_stack([numbers(column, name, "feature") for column in columns])
        given["features"] = features or tuple(column.name for column in columns)
    elif is_sparse(x):
        raise InputError(sparse_words(x, f"{name}: x"))
    if is_table(y):
        y = given["y"] = np.column_stack([numbers(column, name, "target") for column in columns_of(y)])
    elif is_series(y):
        aim = column_of(y, target)
        y = given["y"] = aim.values if aim.kind in WORDS else numbers(aim, name, "target")
        given["target"] = aim.name if target == "y" else target
    if isinstance(y, np.ndarray | list | tuple) and are_words(y):
        given["y"], given["classes"] = encode(np.ravel(np.asarray(y, dtype=object)), f"{name}: y")
    return given


def _as_data(array: object, name: str) -> np.ndarray:
    array = array if isinstance(array, np.memmap) else as_array(array, name)
    if isinstance(array, np.memmap) and array.dtype in (np.float64, np.float32):
        return array
    if array.dtype.kind == "f" and array.dtype.itemsize < 4:
        raise InputError(
            f"{name} has dtype {array.dtype}, but float64 is needed to resolve the effect of a single point, or "
            "float32 for networks. Convert it, with `.astype('float64')` for instance, if you accept its rounding."
        )
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name} holds {array.dtype} values; numbers are needed.")
    own = array.astype(np.float32 if array.dtype == np.float32 else np.float64)
    own.setflags(write=False)  # what was computed from it would no longer be about it
    return own


def as_names(names: object, columns: int, data: str) -> tuple[str, ...]:
    """One name per column, each a string of its own; x0, x1, … where none are given."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise InputError(f"{data}: features is {brief(names)}; a list of names is needed, one for each column of x.")
    listed = tuple(names) or tuple(f"x{i}" for i in range(columns))
    strange = [name for name in listed if not isinstance(name, str)]
    if strange:
        raise InputError(f"{data}: a feature is named {brief(strange[0])}; a string is needed.")
    if len(listed) != columns:
        raise InputError(f"{data}: {len(listed)} feature names for {columns} columns of x.")
    twice = sorted({name for name in listed if listed.count(name) > 1})
    if twice:
        raise InputError(f"{data}: two features are called {twice[0]!r}; give every feature a name of its own.")
    return listed


def _standardised(array: np.ndarray) -> np.ndarray:
    """Some columns at a time, so that no copy in float64 of all of them is made."""
    columns = array.reshape(len(array), -1)
    found = np.empty(columns.shape, array.dtype)
    step = max(1, STANDARDISED // len(array))
    for first in range(0, columns.shape[1], step):
        some = np.asarray(columns[:, first : first + step], np.float64)
        found[:, first : first + step] = Moments.of(some).standardise(some)
    return found.reshape(array.shape)


LARGEST = 1e75
"""Largest size of a number in the data, and one over the least size of a column: so that the squares of second
derivatives, of gradients and of parameters stay finite."""


def check_range(data: Dataset) -> None:
    """Refuse columns in units in which squares overflow or vanish; memory maps are read for that when they are used."""
    if isinstance(data.x, np.memmap):
        return
    names = [f"feature {name!r}" for name in data.features]
    targets = data.y.reshape(data.n, -1)
    names += [f"target {data.target!r}"] * targets.shape[1]
    sizes = [np.maximum(part.max(axis=0), -part.min(axis=0)) for part in (data.x, targets)]
    peaks = np.concatenate(sizes).astype(np.float64)  # of which `LARGEST` is one, and not of narrower types
    wrong = np.flatnonzero((peaks > LARGEST) | ((peaks > 0.0) & (peaks < 1.0 / LARGEST)))
    if wrong.size:
        raise InputError(
            f"{data.name}: {names[wrong[0]]} is about {peaks[wrong[0]]:.1g} in size: squares overflow or vanish. "
            "Measure the targets and features in other units, for instance by `data.standardise()`."
        )


def check_finite(x: np.ndarray, y: np.ndarray, name: str, first_row: int = 0) -> None:
    """Refuse NaN and infinities, naming the first row that has one."""
    bad = ~(np.isfinite(x).all(axis=1) & np.isfinite(y.reshape(len(x), -1)).all(axis=1))
    if bad.any():
        raise InputError(
            f"{name}: point {first_row + int(np.argmax(bad))} contains NaN or infinity ({int(bad.sum())} such points). "
            "Remove or impute them first; no row is dropped in silence."
        )
