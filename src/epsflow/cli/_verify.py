"""The work of `verify`: the claims of the notes, checked, printed and written."""

from dataclasses import dataclass
from pathlib import Path

import typer
from rich.table import Table

from .._core import InputError
from ..claims import Kind, Ledger, choose, verify, write_report
from ._console import show, stages
from ._document import FORMAT, PROGRAM, to_json
from ._output import require_writable
from ._report import new_table

PAGE, TITLE = "ledger.html", "<title>epsflow: the claims ledger</title>"
STYLES = {Kind.HOLDS: "green", Kind.CONDITIONAL: "cyan", Kind.REFUTED: "magenta", Kind.INCONCLUSIVE: "bold red"}
SURPRISE = 1
INTERRUPTED = 130


@dataclass(frozen=True)
class Request:
    """The options of `verify`, as they were given.

    Attributes:
        only: ids of claims; empty for all.
        section: part of a heading of the notes.
        thorough, seed: as in `epsflow.verify`.
        report: folder of the report.
    """

    only: tuple[str, ...]
    section: str | None
    thorough: bool
    seed: int
    report: Path | None


def run(request: Request, *, as_json: bool, quiet: bool) -> int:
    """Check, write, print.

    Args:
        request: the options.
        as_json: print the document instead of the table.
        quiet: print the finding only.

    Returns:
        The exit status: 0; 1 if a verdict differs from the expected one; 130 if the run was interrupted.

    Raises:
        InputError: unknown ids, or a folder that cannot be written to; nothing has been computed.
    """
    only = request.only or None
    count = len(choose(only, request.section))
    if request.report is not None:
        _check_report(request.report)
    files: list[Path] = []
    with stages(count + 1, quiet=quiet) as begin:
        ledger = verify(
            only,
            section=request.section,
            thorough=request.thorough,
            seed=request.seed,
            progress=lambda claim, index, total: begin(f"{index + 1}/{total} {claim.id}"),
        )
        if request.report is not None:
            begin("writing the report")
            files = list(write_report(ledger, request.report))
    if as_json:
        typer.echo(to_json(_document(ledger)))
    else:
        show(_table(ledger), ledger.summary(), files, quiet=quiet)
    if ledger.interrupted:
        return INTERRUPTED
    return SURPRISE if ledger.surprises else 0


def _check_report(folder: Path) -> None:
    require_writable(folder, "--report")
    page = folder / PAGE
    if page.exists() and TITLE not in page.read_text(encoding="utf-8", errors="replace"):
        raise InputError(
            f"--report {folder} already has a file {PAGE} that epsflow did not write; name another folder."
        )


def _table(ledger: Ledger) -> Table:
    drawn = new_table("The claims ledger")
    drawn.add_column("claim", no_wrap=True)
    drawn.add_column("verdict", no_wrap=True)
    for name in ("residual", "allowed", "instances", "seconds"):
        drawn.add_column(name, justify="right", no_wrap=True)
    heading = None
    for verdict in ledger.verdicts:
        if verdict.claim.section != heading:
            heading = verdict.claim.section
            drawn.add_section()
            drawn.add_row(heading, style="bold")
        expected = "" if verdict.as_expected else f" (expected: {verdict.claim.expected.value})"
        told = f"{verdict.kind.value}{expected}"
        written = verdict.evidence.written
        numbers = ("–", "–") if written is None else (f"{written.residual:.2g}", f"{written.tolerance:.2g}")
        cells = *numbers, str(verdict.instances), f"{verdict.seconds:.1f}"
        drawn.add_row(f"  {verdict.claim.id}", f"[{STYLES[verdict.kind]}]{told}[/]", *cells)
    return drawn


def _document(ledger: Ledger) -> dict[str, object]:
    return {
        "program": PROGRAM,
        "format": FORMAT,
        "command": "verify",
        "finding": ledger.summary(),
        "seed": ledger.seed,
        "thorough": ledger.thorough,
        "unfinished": list(ledger.unfinished),
        "claims": ledger.rows(),
    }
