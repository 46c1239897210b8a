"""Libraries that come with an extra, loaded when they are asked for."""

import importlib
from types import ModuleType

from ._errors import InputError


def extra_library(name: str, what: str, *, instead: str = "") -> ModuleType:
    """A library that the extra `studies` brings.

    Args:
        name: of the module.
        what: needs it, for the message.
        instead: what does without, as a sentence.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        words = f"{what} needs {name}, which is an extra: pip install 'epsflow[studies]'."
        raise InputError(f"{words} {instead}".rstrip()) from error
