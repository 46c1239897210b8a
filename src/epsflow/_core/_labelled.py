"""Results whose arrays have named axes, as xarray's data sets.

A result derives from `Labelled` and says what its arrays are:

    def _arrays(self) -> dict[str, Axed]:
        return {"t": ("t", self.ts), "theta": ("t parameter", self.thetas), "eps": ("t deleted?", self.eps)}

The words are the axes, in order; one with a question mark may be missing. An array that is named as its only axis is
the coordinate of that axis.
"""

from typing import TYPE_CHECKING

import numpy as np

from ._display import Shown, shown
from ._extras import extra_library
from ._provenance import provenance

if TYPE_CHECKING:
    import xarray

Axed = tuple[str, object]
"""The names of an array's axes, and the array."""


class Labelled:
    """A result that is a grid of numbers; see the module's docstring."""

    def _arrays(self) -> dict[str, Axed]:
        """The arrays by name, each with its axes."""
        raise NotImplementedError(f"{type(self).__name__} does not say what the axes of its arrays are.")

    def to_xarray(self) -> "xarray.Dataset":
        """The arrays with the names of their axes; the facts of the result's line, and the version, as attributes.

        Raises:
            InputError: xarray is not installed.
        """
        library = extra_library("xarray", "to_xarray()")
        arrays = {name: (_axes(words, values), np.asarray(values)) for name, (words, values) in self._arrays().items()}
        coordinates = {name: each for name, each in arrays.items() if each[0] == (name,)}
        variables = {name: each for name, each in arrays.items() if name not in coordinates}
        facts = self._facts() if isinstance(self, Shown) else {}
        attributes = {name: _attribute(value) for name, value in facts.items() if np.asarray(value).ndim == 0}
        title = {"title": type(self).__name__, "source": f"epsflow {provenance()['epsflow']}"}
        return library.Dataset(variables, coordinates, {**title, **attributes})


def _axes(words: str, values: object) -> tuple[str, ...]:
    """The axes that an array has: those that may be missing are left out, the last first, until the number is right."""
    named, missing = words.split(), len(words.split()) - np.asarray(values).ndim
    for word in [word for word in reversed(named) if word.endswith("?")][: max(missing, 0)]:
        named.remove(word)
    return tuple(word.rstrip("?") for word in named)


def _attribute(value: object) -> str | int | float:
    """What a file can hold: a number, or else words."""
    number = np.asarray(value)
    return number.item() if number.dtype.kind in "iuf" else shown(value)
