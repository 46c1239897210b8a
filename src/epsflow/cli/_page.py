"""An answer as a page for people: one HTML file that needs nothing else."""

import html
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from .._core import InputError, page, provenance
from ._console import Table
from ._output import Written, require_writable

PAGE = "report.html"
STYLE = "td:last-child, th:last-child { text-align: left; }"


def _generator(command: str) -> str:
    """What tells our page from other files."""
    return f'<meta name="generator" content="epsflow {command}"/>'


def check_page(folder: Path, command: str) -> None:
    """Refuse, before any work, a folder that cannot be written to, or a page in it that is not ours.

    Raises:
        InputError: with the file or folder that stands in the way.
    """
    require_writable(folder, "--report")
    place = folder / PAGE
    if place.exists() and _generator(command) not in place.read_text(encoding="utf-8", errors="replace"):
        raise InputError(
            f"--report {folder} already has a file {PAGE} that epsflow {command} did not write; it is left alone. Name "
            "another folder."
        )


def answer_page(
    command: str, table: Table, sentence: str, *, notes: Sequence[str], svg: str, caption: str, words: Sequence[str]
) -> str:
    """The page: finding, figure, table, how to get it again, and what its words mean.

    Args:
        command: which one.
        table: as on the terminal.
        sentence: what was found.
        notes: what is said below the table, warnings included.
        svg, caption: the figure.
        words: the glossary of the command.
    """
    say = html.escape
    title, *more = table.title.split("\n")
    told = "".join(f"<li>{say(note)}</li>" for note in notes)
    again = shlex.join(["epsflow", *sys.argv[1:]]) if sys.argv[1:2] == [command] else f"epsflow {command}"
    versions = ", ".join(f"{name} {version}" for name, version in provenance().items())
    body = (
        f"<h1>{say(title)}</h1>{''.join(f'<p>{say(line)}</p>' for line in more)}"
        f'<div class="answer"><p>{say(sentence)}</p></div>'
        f"<figure>{svg}<figcaption>{say(caption)}</figcaption></figure>"
        f'<div class="wide">{_html(table)}</div>'
        f"{f'<ul>{told}</ul>' if told else ''}"
        f"<h2>Words</h2><ul>{''.join(f'<li>{say(line)}</li>' for line in words)}</ul>"
        f'<h2>How to get it again</h2><pre>{say(again)}</pre><p class="note">{say(versions)}.</p>'
    )
    return page(f"epsflow {command}: {title}", body, head=_generator(command), style=STYLE)


def write_page(folder: Path | None, text: str) -> Written:
    """Write the page, or say why not; nothing where no folder was asked for."""
    if folder is None:
        return Written([], None)
    place = folder / PAGE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    except OSError as error:
        return Written([], InputError(f"cannot write {place}: {error.strerror or error}."))
    return Written([place], None)


def _html(table: Table) -> str:
    head = "".join(f"<th>{html.escape(column.name)}</th>" for column in table.columns)
    rows = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row.cells)}</tr>" for row in table.rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
