"""Files: all of a result, or none of it."""

import contextlib
import json
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from .._core import InputError
from ._interrupt import WATCH, undone_by, working

PROGRAM = "epsflow"
FORMAT = 1
"""Version of the JSON documents; raised when a key changes its meaning or goes."""

RESULT, CSV = "result.json", "schedule.csv"
SCHEDULE_FIGURE, ENDPOINTS_FIGURE = ("schedule.pdf", "schedule.png"), ("endpoints.pdf", "endpoints.png")
UNLEARNING_FIGURE = ("unlearning.pdf", "unlearning.png")
ATTRIBUTION_FIGURE = ("attribution.pdf", "attribution.png")
NAMES = (CSV, *SCHEDULE_FIGURE, *ENDPOINTS_FIGURE, *UNLEARNING_FIGURE, *ATTRIBUTION_FIGURE, RESULT)
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
    try:
        taken = folder.exists() and not folder.is_dir()
        existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
        if not taken:
            with tempfile.TemporaryDirectory(dir=existing):  # permissions alone do not say it for every file system
                pass
    except OSError as error:
        raise InputError(f"{option} {folder} cannot be written to ({_reason(error)}).") from error
    if taken:
        raise InputError(f"{option} {folder} is a file; name a folder.")


def _is_ours(result: Path) -> bool:
    try:
        content = json.loads(result.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("program") == PROGRAM


class Written(NamedTuple):
    """What came of writing.

    Attributes:
        files: the files, all of them or none.
        trouble: why there are none, to be raised when the answer has been printed; or None.
    """

    files: list[Path]
    trouble: InputError | None


def write_folder(folder: Path | None, texts: Mapping[str, str], draw: Callable[[Path], None]) -> Written:
    """Make every file beside its place, then move them there.

    A folder that did not exist appears at once, complete. In one that did, each file is replaced whole, and our files
    of an earlier run that this one does not make are removed.

    If the file system refuses, nothing of the new result is in the folder, and the text files are kept in the system's
    folder for temporary files instead.

    Args:
        folder: checked before by `check_folder`; None for no files.
        texts: contents of text files, by name.
        draw: writes the figures into the folder that it is given.
    """
    if folder is None:
        return Written([], None)
    try:
        with _staged(folder) as staged:
            for name, text in texts.items():
                (staged / name).write_text(text, encoding="utf-8")
            with working(lambda: f"the figures were not finished. {_rescue(texts)[:-1]}"):
                draw(staged)
            return Written(_move(staged, folder), None)
    except (OSError, InputError) as error:  # a figure that cannot be written is refused by `plots`, for the same reason
        cause = error if isinstance(error, OSError) else error.__cause__
        why = _reason(cause) if isinstance(cause, OSError) else str(error).rstrip(".")
        return Written([], InputError(f"cannot write to {folder}: {why}. {_rescue(texts)}"))


@contextlib.contextmanager
def _staged(folder: Path) -> Iterator[Path]:
    """A hidden folder on the same file system: in the folder if that exists (its parent may be closed), else beside."""
    target = folder.absolute()
    home = target if target.exists() else target.parent
    missing = [parent for parent in (home, *home.parents) if not parent.exists()]
    staged = home / f".{PROGRAM}-{secrets.token_hex(4)}"

    def clear() -> None:
        shutil.rmtree(staged, ignore_errors=True)
        if not target.exists():
            for parent in missing:
                with contextlib.suppress(OSError):
                    parent.rmdir()

    with undone_by(clear):
        try:
            staged.mkdir(parents=True)
            yield staged
        finally:
            clear()


def _move(staged: Path, folder: Path) -> list[Path]:
    """Every file to its place, which Ctrl-C waits for, and then tells of."""
    with WATCH.moving:
        files = _moved(staged, folder)
        WATCH.result = f"the whole result is in {folder}"
        return files


def _moved(staged: Path, folder: Path) -> list[Path]:
    made = [name for name in NAMES if (staged / name).exists()]
    if not folder.exists():
        staged.rename(folder.absolute())
        return [folder / name for name in made]
    for name in NAMES:
        if name in made:
            (staged / name).replace(folder / name)
        else:
            (folder / name).unlink(missing_ok=True)
    return [folder / name for name in made]


def _rescue(texts: Mapping[str, str]) -> str:
    """Keep the text files somewhere, and say where."""
    try:
        kept = Path(tempfile.mkdtemp(prefix=f"{PROGRAM}-"))
        for name, text in texts.items():
            (kept / name).write_text(text, encoding="utf-8")
    except OSError as error:
        return f"Nothing could be kept elsewhere either ({_reason(error)}); --json prints the whole result."
    return f"Kept in {kept}: {', '.join(texts)}."


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
