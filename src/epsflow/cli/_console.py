"""What the user sees: stages of work on stderr, results on stdout."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

PIPED_WIDTH = 132
"""Columns of a table that is not printed on a terminal, so that its lines are the same everywhere."""


@contextlib.contextmanager
def stages(total: int, *, quiet: bool) -> Iterator[Callable[[str], None]]:
    """A progress bar on stderr, where stderr is a terminal; the function yielded names the stage that begins."""
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("", total=total, completed=-1)

        def begin(description: str) -> None:
            bar.update(task, advance=1, description=description)

        yield begin


def show(table: Table, sentence: str, files: list[Path], *, quiet: bool) -> None:
    """The table, the sentence that says what was found, and where the files are; the sentence alone if quiet."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    if not quiet:
        console.print()
        console.print(table)
    console.print(sentence, soft_wrap=True, markup=False)
    if files and not quiet:
        names = ", ".join(path.name for path in files)
        console.print(f"\nWritten to {files[0].parent}: {names}", soft_wrap=True, markup=False)
