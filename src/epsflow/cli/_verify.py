"""`epsflow verify`: the claims of the notes, checked, printed and written."""

from pathlib import Path
from typing import TYPE_CHECKING

from .. import _core, claims
from . import _options as options
from ._console import NOT_CONVERGED, Column, Row, Table, show
from ._interrupt import INTERRUPTED, WATCH, working
from ._output import FORMAT, PROGRAM, require_writable
from ._progress import say, stages

if TYPE_CHECKING:
    from ..claims import Ledger

STYLES = {"HOLDS": "green", "CONDITIONAL": "cyan", "REFUTED": "magenta", "INCONCLUSIVE": "bold red"}
"""By the names of `claims.Kind`."""


def verify(
    only: options.Only = None,
    section: options.Section = None,
    thorough: options.Thorough = False,
    seed: options.InstanceSeed = 0,
    report: options.ReportFolder = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> int:
    """The ledger; files only where asked.

    Returns:
        The exit status: 0; 1 if a verdict differs from the expected one; 130 if the run was interrupted.

    Raises:
        InputError: unknown ids, or a folder that cannot be written to; nothing has been computed.
    """
    count = claims.check_names(only or None, section)
    if report is not None:
        _check_report(report)
    files: list[Path] = []
    with stages(count + 1, quiet=quiet, timed=True) as begin:
        with working(WATCH.kept, tidy=True):
            ledger = claims.verify(
                only or None,
                section=section,
                thorough=thorough,
                seed=seed,
                progress=lambda claim, index, total: begin(f"checking {claim.id}, {index + 1} of {total}"),
            )
        if report is not None:
            begin("writing the report")
            files = list(claims.write_report(ledger, report))
    if as_json:
        from ._document import to_json

        print(to_json(_document(ledger)))
    else:
        show(_table(ledger), ledger.sentence(), files, quiet=quiet)
    if ledger.interrupted:
        say(f"interrupted; what had been found is kept ({len(ledger.verdicts)} of {count} verdicts, printed above).")
        return INTERRUPTED
    return NOT_CONVERGED if ledger.surprises else 0


def _check_report(folder: Path) -> None:
    require_writable(folder, "--report")
    foreign = claims.foreign_page(folder)
    if foreign is not None:
        raise _core.InputError(
            f"--report {folder} already has a file {foreign.name} that epsflow did not write; name another folder."
        )


def _table(ledger: "Ledger") -> Table:
    numbers = (Column(name, number=True) for name in ("residual", "allowed", "instances", "seconds"))
    drawn = Table("The claims ledger", [Column("claim"), Column("verdict"), *numbers])
    heading = None
    for verdict in ledger.verdicts:
        if verdict.claim.section != heading:
            heading = verdict.claim.section
            drawn.rows.append(Row((heading,), style="bold", section=True))
        expected = "" if verdict.as_expected else f" (expected: {verdict.claim.expected.value})"
        written = verdict.evidence.written
        measured = ("–", "–") if written is None else (f"{written.residual:.2g}", f"{written.tolerance:.2g}")
        cells = f"  {verdict.claim.id}", f"{verdict.kind.value}{expected}", *measured, str(verdict.instances)
        drawn.rows.append(Row((*cells, f"{verdict.seconds:.1f}"), marks={1: STYLES[verdict.kind.name]}))
    return drawn


def _document(ledger: "Ledger") -> dict[str, object]:
    return {
        "program": PROGRAM,
        "format": FORMAT,
        "command": "verify",
        "finding": ledger.sentence(),
        "seed": ledger.seed,
        "thorough": ledger.thorough,
        "unfinished": list(ledger.unfinished),
        "claims": ledger.rows(),
    }
