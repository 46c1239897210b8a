"""Files: all of a result, or none of it."""

import json
import secrets
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .._core import InputError
from ..plots import save
from ._document import PROGRAM

RESULT, CSV = "result.json", "schedule.csv"
SCHEDULE_FIGURE, ENDPOINTS_FIGURE = ("schedule.pdf", "schedule.png"), ("endpoints.pdf", "endpoints.png")
NAMES = (CSV, *SCHEDULE_FIGURE, *ENDPOINTS_FIGURE, RESULT)
"""Everything a command may write; the document comes last, so that it is there only when the rest is."""


def check_folder(folder: Path) -> None:
    """Refuse, before any work, a folder that cannot be written to or whose files of our names are not ours.

    Raises:
        InputError: with the file or folder that stands in the way.
    """
    require_writable(folder, "--out")
    foreign = [name for name in NAMES if (folder / name).exists()]
    if foreign and not _is_ours(folder / RESULT):
        raise InputError(
            f"--out {folder} already has a file {foreign[0]} that epsflow did not write; it is left alone. Name "
            "another folder."
        )


def require_writable(folder: Path, option: str) -> None:
    """Refuse a file, or a folder that cannot be made or written to; the message names the option.

    Raises:
        InputError: with the file or folder that stands in the way.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{option} {folder} is a file; name a folder.")
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    try:
        with tempfile.TemporaryDirectory(dir=existing):  # permissions alone do not say it for every file system
            pass
    except OSError as error:
        raise InputError(f"{option} {folder}: {existing} cannot be written to ({error.strerror}).") from error


def _is_ours(result: Path) -> bool:
    try:
        content = json.loads(result.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("program") == PROGRAM


def write_folder(folder: Path, texts: Mapping[str, str], axes: Sequence[Any], figures: Sequence[str]) -> list[Path]:
    """Make every file in a hidden folder beside the final one, then move them there.

    A folder that did not exist appears at once, complete. In one that did, each file is replaced whole, and our files
    of an earlier run that this one does not make are removed.

    Args:
        folder: checked before by `check_folder`.
        texts: contents of text files, by name.
        axes: the figure's Axes, as `epsflow.plots` returns them.
        figures: names of the figure's files.

    Raises:
        InputError: if the file system refuses, in its own words; nothing of the new result is then left.
    """
    temporary = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
    try:
        temporary.mkdir(parents=True)
        for name, text in texts.items():
            (temporary / name).write_text(text, encoding="utf-8")
        save(axes, *(temporary / name for name in figures))
        made = [name for name in NAMES if (temporary / name).exists()]
        if folder.exists():
            for name in NAMES:
                if name in made:
                    (temporary / name).replace(folder / name)
                else:
                    (folder / name).unlink(missing_ok=True)
        else:
            temporary.rename(folder)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return [folder / name for name in made]
