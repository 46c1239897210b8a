"""What the user reads: tables and sentences on stdout; and what an exit status means."""

import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from .._core import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

NOT_CONVERGED, BAD_INPUT = 1, 2
"""Exit statuses: a computation did not converge (or a claim changed its verdict), input that cannot be used."""

PIPED_WIDTH = 132
"""Columns of a table that is not printed on a terminal, so that its lines are the same everywhere."""

GAP = 3
"""Columns between two columns of a table."""


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: its heading.
        number: whether it is aligned to the right, and never broken to make room.
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

    def widths(self) -> list[int]:
        """The longest word of each column: a number is one word, which nobody wants to see broken."""
        cells = (
            [column.name, *(row.cells[k] for row in self.rows if k < len(row.cells))]
            for k, column in enumerate(self.columns)
        )
        return [max((len(word) for cell in column for word in cell.split()), default=1) for column in cells]

    def headed(self, width: int) -> list[int]:
        """Columns of numbers as wide as their headings and cells in one line, where there is room for that."""
        words, whole, least = self.widths(), [], 0
        for number, (own, column) in enumerate(zip(words, self.columns, strict=True)):
            cells = [len(row.cells[number]) for row in self.rows if number < len(row.cells)]
            whole.append(max(own, len(column.name), *cells) if column.number else own)
            least += GAP + max(whole[-1], 0 if column.number else max(cells, default=0))
        return whole if least <= width else words

    def drawn(self, width: int) -> "RenderableType":
        """As rich draws it on so many columns: as a table, or one line per cell where a table would be too narrow."""
        from rich.console import Group
        from rich.text import Text

        title = Text(printable(self.title, lines=True), style="bold")
        widths = self.widths()
        fits = sum(widths) + GAP * len(widths) <= width
        return Group(title, self._as_table(self.headed(width)) if fits else self._as_lines())

    def _as_table(self, widths: Sequence[int]) -> "RenderableType":
        from rich import box
        from rich.table import Table as Drawn
        from rich.text import Text

        drawn = Drawn(box=box.SIMPLE_HEAD, pad_edge=False)
        for column, own in zip(self.columns, widths, strict=True):
            # Numbers have a width of their own; words are at least as wide as the longest of them.
            size = {"justify": "right", "width": own} if column.number else {"justify": "left", "min_width": own}
            drawn.add_column(column.name, overflow="fold", **size)
        for row in self.rows:
            if row.section:
                drawn.add_section()
            cells = (Text(printable(cell), row.marks.get(number, "")) for number, cell in enumerate(row.cells))
            drawn.add_row(*cells, style=row.style or None)
        return drawn

    def _as_lines(self) -> "RenderableType":
        from rich.text import Text

        lines = Text(overflow="fold")
        for row in self.rows:
            for number, (column, cell) in enumerate(zip(self.columns, row.cells, strict=False)):
                name = "\n" if number == 0 else f"  {column.name}: "
                lines.append(f"{name}{printable(cell)}\n", style=row.marks.get(number, row.style))
        return lines


def show(
    table: Table,
    sentence: str,
    files: Sequence[Path],
    *,
    quiet: bool,
    intention: str = "",
    notes: Sequence[str] = (),
    warnings: Sequence[str] = (),
    words: Sequence[str] = (),
) -> None:
    """The table, its notes, what was found, and where the files are; the sentence (and warnings) alone if quiet.

    Args:
        table, sentence, files, notes, warnings: what is shown.
        quiet: the sentence alone on stdout.
        intention: what was asked, where the terminal has not been told before the work.
        words: what the words of the table mean, for who reads them for the first time.
    """
    if not quiet:
        if intention:
            say(f"\n{intention}")
        print()
        draw(table)
        for note in [*notes, *warnings]:
            say(note)
        if notes or warnings:
            print()
    say(sentence)
    for warning in warnings if quiet else ():
        print(f"epsflow: {printable(warning)}", file=sys.stderr)
    if files and not quiet:
        print()
        for folder, group in groupby(files, key=lambda path: path.parent):
            say(f"Written to {folder}: {', '.join(path.name for path in group)}")
    if words and not quiet:
        say("\n" + "\n".join(words))


def say(text: str) -> None:
    """Text on stdout: on a terminal broken between words, elsewhere in lines as they are."""
    for line in printable(text, lines=True).split("\n"):
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
        print(textwrap.fill(line, width) if len(line) > width > 0 else line)


def draw(table: Table) -> None:
    """A table on stdout, as wide as the terminal."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    console.print(table.drawn(console.width))
