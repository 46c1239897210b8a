"""Class labels of any kind as the numbers 0, 1, …, k−1."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._core import InputError


def encode(values: Sequence[object] | np.ndarray, name: str) -> tuple[np.ndarray, tuple[Any, ...]]:
    """Labels as the numbers 0, 1, …, k−1 of the classes in their sorted order, and the classes.

    Args:
        values: strings, booleans or whole numbers, one per point.
        name: of the column, for messages.

    Raises:
        InputError: a missing label, numbers that are not whole, one class only, or more classes than half the points.
    """
    listed = [value.item() if isinstance(value, np.generic) else value for value in values]
    missing = [row for row, value in enumerate(listed) if value is None or value != value]
    if missing:
        raise unlabelled(name, missing[0], len(missing))
    classes = classes_of(listed, name, len(listed))
    number = {label: index for index, label in enumerate(classes)}
    return np.array([number[label] for label in listed], dtype=np.float64), classes


def unlabelled(name: str, first: int, count: int) -> InputError:
    """What is said of points without a label."""
    return InputError(f"{name}: point {first} has no label ({count} such points).")


def classes_of(listed: Sequence[Any], name: str, count: int) -> tuple[Any, ...]:
    """The classes among labels, none of which is missing, in their sorted order.

    Args:
        listed: the labels, or each of the different ones once.
        name: of the column, for messages.
        count: how many points there are.

    Raises:
        InputError: as `encode`, but for a missing label.
    """
    if any(isinstance(value, float) and not value.is_integer() for value in listed):
        odd = next(value for value in listed if isinstance(value, float) and not value.is_integer())
        raise InputError(f"{name} contains {odd:g}, which is no class label: whole numbers, strings or booleans are.")
    listed = [int(value) if isinstance(value, float) else value for value in listed]
    kinds = {type(value) for value in listed}
    if len(kinds) > 1 or not kinds <= {int, bool, str}:
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise InputError(f"{name} holds values of {names}: labels are all strings, all whole numbers or all booleans.")
    if kinds == {bool}:
        return (False, True)
    classes: tuple[Any, ...] = tuple(sorted(set(listed)))
    if len(classes) < 2:
        raise InputError(f"{name}: every point has the label {listed[0]!r}; two classes are needed.")
    if len(classes) == count > 2 or (kinds == {int} and len(classes) > max(2, count // 2)):
        raise no_labels(name, len(classes), count)
    return classes


def no_labels(name: str, different: int, count: int) -> InputError:
    """What is said of a column of too many different values."""
    return InputError(
        f"{name} has {different} different values among {count} points: a number to predict, it seems, "
        "and no class label."
    )


def are_words(values: object) -> bool:
    """Whether they are strings or booleans, which can only be labels."""
    array = np.asarray(values, dtype=object) if isinstance(values, list | tuple) else np.asarray(values)
    if array.dtype.kind in "USb":
        return True
    first = array.ravel()[0] if array.dtype == object and array.size else None
    return isinstance(first, str | bool | np.bool_)
