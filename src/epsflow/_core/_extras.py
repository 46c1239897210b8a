"""Libraries that come with an extra, loaded when they are asked for."""

import importlib
from pathlib import Path
from types import ModuleType

from ._errors import InputError


def install_command(extra: str) -> str:
    """What installs an extra here: from the checkout that this code lies in, if it lies in one."""
    checkout = Path(__file__).parents[3]
    if (checkout / "pyproject.toml").is_file():
        return f"pip install -e '{checkout}[{extra}]'"
    return f"pip install 'epsflow[{extra}]'"


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
        words = f"{what} needs {name}, which is an extra: {install_command('studies')}."
        raise InputError(f"{words} {instead}".rstrip()) from error
