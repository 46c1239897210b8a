"""What the user sees: stages of work on stderr, results on stdout; and what an exit status means."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

NOT_CONVERGED, BAD_INPUT, INTERRUPTED = 1, 2, 130
"""Exit statuses: a computation did not converge (or a claim changed its verdict), input that cannot be used, Ctrl-C."""

PIPED_WIDTH = 132
"""Columns of a table that is not printed on a terminal, so that its lines are the same everywhere."""


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: its heading.
        number: whether it is aligned to the right, and the last to be narrowed where a terminal is too narrow.
    """

    name: str
    number: bool = False


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        cells: plain text; fewer than there are columns leave the rest empty.
        style: of all cells, by rich's names.
        marks: styles of single cells, by their number.
        section: whether a line is drawn above.
    """

    cells: Sequence[str]
    style: str = ""
    marks: Mapping[int, str] = field(default_factory=dict)
    section: bool = False


@dataclass(frozen=True)
class Table:
    """A table in the house style. Cells are text: nothing in them is markup, and nothing of them is ever cut off.

    Attributes:
        title: above it.
        columns, rows: what it holds.
    """

    title: str
    columns: Sequence[Column]
    rows: list[Row] = field(default_factory=list)

    def drawn(self) -> "RenderableType":
        """As rich draws it."""
        from rich import box
        from rich.table import Table as Drawn
        from rich.text import Text

        drawn = Drawn(box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
        drawn.title = Text(printable(self.title, lines=True))
        for number, column in enumerate(self.columns):
            cells = [row.cells[number] for row in self.rows if number < len(row.cells)]
            drawn.add_column(
                column.name,
                justify="right" if column.number else "left",
                overflow="fold",
                # A number is one word: it is broken only where the terminal is narrower than the numbers.
                min_width=max((len(word) for cell in cells for word in cell.split()), default=0)
                if column.number
                else None,
            )
        for row in self.rows:
            if row.section:
                drawn.add_section()
            cells = (Text(printable(cell), row.marks.get(number, "")) for number, cell in enumerate(row.cells))
            drawn.add_row(*cells, style=row.style or None)
        return drawn


def printable(text: str, *, lines: bool = False) -> str:
    r"""The text with its control characters spelled out (\x1b, \n), so that a name cannot move the cursor.

    Args:
        text: anything; names come from files.
        lines: keep line breaks.
    """
    kept = "\n" if lines else ""
    return "".join(
        letter if letter.isprintable() or letter in kept else ascii(letter)[1:-1]  # the escape that Python writes
        for letter in text
    )


@contextlib.contextmanager
def stages(total: int, *, quiet: bool) -> Iterator[Callable[[str], None]]:
    """A progress bar on stderr, where stderr is a terminal; the function yielded names the stage that begins."""
    if quiet or not sys.stderr.isatty():
        yield lambda description: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total, completed=-1)

        def begin(description: str) -> None:
            bar.update(task, advance=1, description=description)

        yield begin


def show(table: Table, sentence: str, files: Sequence[Path], *, quiet: bool, notes: Sequence[str] = ()) -> None:
    """The table, its notes, what was found, and where the files are; the sentence alone if quiet."""
    if not quiet:
        print()
        draw(table)
        for note in notes:
            print(printable(note))
        if notes:
            print()
    print(printable(sentence, lines=True))
    if files and not quiet:
        names = ", ".join(path.name for path in files)
        print(f"\nWritten to {printable(str(files[0].parent))}: {names}")


def draw(table: Table) -> None:
    """A table on stdout, as wide as the terminal."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    console.print(table.drawn())
