"""Results as JSON and back, to the last bit; nothing is pickled.

A frozen dataclass that derives from `Stored` is written as an object with one entry per field. JSON has no NaN, no
infinity, no arrays, no tuples and no enumerations: these are written as {"is": kind, "of": parts}. A class of the
library is written by its name, and read back only if the reader lists it; nothing else is ever made from a document.
"""

import dataclasses
import enum
import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ._display import is_outcome
from ._errors import InputError
from ._provenance import provenance
from ._results import RESULTS, ended_as

FORMAT = 1
"""Version of the document; raised when an entry changes its meaning."""


class Stored:
    """A frozen dataclass that saves to JSON and loads from it."""

    def to_json(self) -> str:
        """The result as a JSON document, with the versions that made it."""
        document = {"epsflow": type(self).__name__, "format": FORMAT, "provenance": provenance()}
        fields = {name: _plain(value) for name, value in self._stored().items()}
        return json.dumps(document | {"fields": fields}, indent=1, ensure_ascii=False, allow_nan=False)

    def _stored(self) -> dict[str, Any]:
        """What is written: every field, unless a class says otherwise."""
        return {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}  # pyright: ignore


def read_fields(cls: type, text: str, known: Iterable[type], **given: Any) -> dict[str, Any]:
    """The fields of a document of a class, not yet put together.

    Args:
        cls: what `to_json` was called on.
        text: what it wrote.
        known: the classes that may occur in it. A class may say how it is made of what was written, in
            `_revived(given, **fields)`.
        given: what is not stored, and such a class needs.

    Raises:
        InputError: another document, or a class that is not known.
    """
    name = cls.__name__
    try:
        document = json.loads(text)
        kind, version, fields = document["epsflow"], document["format"], document["fields"]
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(
            f"this is no document that {name}.to_json() wrote ({type(error).__name__}: {error})."
        ) from None
    if kind != name or version != FORMAT:
        raise InputError(f"this document holds a {kind} (format {version}); a {name} (format {FORMAT}) is needed.")
    classes = {name_of(each): each for each in known}
    return {key: _revive(entry, classes, given) for key, entry in fields.items()}


def name_of(cls: type) -> str:
    """What a class is called in a document: its name, with its module's where it is not the library's own."""
    own = cls.__module__.partition(".")[0] == __name__.partition(".")[0]
    return cls.__name__ if own else f"{cls.__module__}:{cls.__qualname__}"


def _plain(value: Any) -> Any:
    """JSON's own types, all the way down."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if is_outcome(value):
        (name,) = (name for name, item in RESULTS._name_to_item.items() if bool(ended_as(value, item)))
        return {"is": "outcome", "of": name}
    if isinstance(value, enum.Enum):
        return {"is": name_of(type(value)), "of": value.name}
    if isinstance(value, float):  # NumPy's are among them
        return float(value) if math.isfinite(value) else {"is": "float", "of": repr(float(value))}
    if isinstance(value, Mapping):
        return {"is": "dict", "of": {str(key): _plain(entry) for key, entry in value.items()}}
    fields = _fields(value)
    if fields is not None:
        return {"is": name_of(type(value)), "of": {key: _plain(entry) for key, entry in fields.items()}}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    array = np.asarray(value)
    if array.ndim == 0:
        return _plain(array.item())
    return {"is": "array", "of": [list(array.shape), _plain(array.ravel().tolist())]}


def _fields(value: Any) -> dict[str, Any] | None:
    """Of a named tuple or a dataclass; None of anything else."""
    if isinstance(value, Stored):
        return value._stored()
    as_dictionary = getattr(value, "_asdict", None)
    if isinstance(value, tuple) and as_dictionary is not None:
        return as_dictionary()
    if dataclasses.is_dataclass(value):
        return {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    return None


def _array(parts: list[Any]) -> np.ndarray:
    shape, entries = parts
    return np.array(entries).reshape(shape)


OWN: dict[str, Callable[[Any], Any]] = {
    "float": float,
    "array": _array,
    "dict": dict,
    "outcome": lambda name: getattr(RESULTS, name),
}


def _revive(entry: Any, classes: Mapping[str, type], given: Mapping[str, Any]) -> Any:
    """What `_plain` wrote; sequences come back as tuples."""
    if isinstance(entry, list):
        return tuple(_revive(each, classes, given) for each in entry)
    if not isinstance(entry, dict):
        return entry
    kind: str = entry["is"]
    parts: Any = entry["of"]
    if isinstance(parts, dict):
        parts = {key: _revive(each, classes, given) for key, each in parts.items()}
    elif isinstance(parts, list):
        parts = [_revive(each, classes, given) for each in parts]
    if kind in OWN:
        return OWN[kind](parts)
    if kind not in classes:
        raise InputError(
            f"this document holds {kind}, which is not known here: import (or define) that class before loading it."
        )
    cls = classes[kind]
    if issubclass(cls, enum.Enum):
        return cls[parts]
    revived = getattr(cls, "_revived", None)
    return cls(**parts) if revived is None else revived(given, **parts)
