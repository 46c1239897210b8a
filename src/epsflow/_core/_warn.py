"""Warnings, said where the caller's own code called."""

import sys
import warnings

from ._errors import EpsflowWarning

PASSED = ("epsflow", "equinox", "jaxtyping", "beartype", "jax")
"""Packages whose frames lie between a call and what warns of it."""


def warn(text: str) -> None:
    """An `EpsflowWarning` at the first line outside the library, which Python shows once for each such line."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in PASSED:
        level, frame = level + 1, frame.f_back
    warnings.warn(text, EpsflowWarning, stacklevel=level)
