"""Values as JSON and back, to the last bit: JSON itself has no NaN, no infinity, no arrays and no intervals."""

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ._statistics import Interval, PValue, Share

KINDS: dict[str, Callable[[Any], Any]] = {
    "float": float,
    "p": PValue,
    "interval": lambda parts: Interval(*parts),
    "share": lambda parts: Share(*parts),
    "array": np.array,
}
"""What JSON lacks is written as {"is": kind, "of": parts}."""


def to_text(value: Any, *, indent: int | None = None) -> str:
    """A value made of dictionaries, sequences, numbers, words, arrays and intervals. Sequences come back as lists."""
    return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False, indent=indent)


def from_text(text: str) -> Any:
    """What `to_text` wrote.

    Raises:
        ValueError: it is no JSON.
    """
    return json.loads(text, object_hook=_revived)


def _plain(value: Any) -> Any:
    match value:
        case Share() | Interval():
            kind = "share" if isinstance(value, Share) else "interval"
            return {"is": kind, "of": [_plain(float(entry)) for entry in value]}
        case PValue():
            return {"is": "p", "of": _plain(float(value))}
        case float():  # NumPy's are among them
            return float(value) if math.isfinite(value) else {"is": "float", "of": repr(float(value))}
        case np.ndarray():
            return {"is": "array", "of": _plain(value.tolist())}
        case np.generic():
            return _plain(value.item())
        case dict():
            return {str(key): _plain(entry) for key, entry in value.items()}
        case list() | tuple():
            return [_plain(entry) for entry in value]
        case _:
            return value


def _revived(entry: dict[str, Any]) -> Any:
    kind = KINDS.get(entry["is"]) if entry.keys() == {"is", "of"} else None
    return entry if kind is None else kind(entry["of"])
