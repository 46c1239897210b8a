"""`epsflow study`: run a study, look at it, take it elsewhere."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .. import _core, studies
from . import _words as words
from ._console import NOT_CONVERGED, Column, Row, Table, draw, show
from ._interrupt import INTERRUPTED, working
from ._progress import rows, say
from ._words import about

if TYPE_CHECKING:
    from ..studies import Specification, Store, Study, Table as Found

study = typer.Typer(
    no_args_is_help=False,
    **about(*words.STUDY),
    epilog="Exit status: 0; 1 if rows failed or the store cannot be written; 2 for input that cannot be used.",
)

What = Annotated[str, typer.Argument(metavar="STUDY", help="A ready-made study's name, or a TOML file.")]
Kept = Annotated[Path, typer.Argument(metavar="STORE", help="The study's SQLite file.")]
StoreFile = Annotated[
    Path | None, typer.Option("--store", metavar="FILE", help="The SQLite file. Default: the study's name, .sqlite.")
]
RunnerName = Annotated[
    str, typer.Option("--runner", help="here, processes, dask (a local cluster), or dask:tcp://HOST:PORT.")
]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Workers of a pool or a local cluster.")]
OneByOne = Annotated[
    bool, typer.Option("--one-by-one", help="No stacks of problems: every row by the library's public functions.")
]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Try again the rows that failed.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Compute at most so many rows now.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that are there already.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]


@study.command("list", **about(*words.STUDY_LIST))
def list_studies(as_json: AsJson = False) -> None:
    """Names and questions."""
    if as_json:
        _print_json({name: question for name, (question, _) in studies.READY.items()})
        return
    table = Table("Studies that ship with epsflow", [Column("study"), Column("question"), Column("rows", number=True)])
    for name, (question, _) in studies.READY.items():
        table.rows.append(Row((name, question, f"{len(studies.Study(name).plan()):,}")))
    draw(table)


@study.command("show", **about(*words.STUDY_SHOW))
def show_study(what: What, as_json: AsJson = False) -> None:
    """A specification, or a store's state."""
    if Path(what).suffix == ".toml" or what in studies.READY:
        _print_json(json.loads(_specification(what).to_json()))
        return
    opened = _open(what)
    status = opened.status()
    if as_json:
        content = {"specification": json.loads(opened.specification.to_json()), "rows": status}
        if status["done"]:
            content["answer"] = list(opened.summary().answer)
        if status["failed"]:
            with studies.open_store(opened.store) as store:
                content["failures"] = [vars(failure) for failure in store.failures()]
        _print_json(content)
        return
    with studies.open_store(opened.store) as store:
        _print_state(opened, status, store)
    if status["done"]:
        _print_summary(opened)
    elif status["failed"]:
        show(_drawn(opened.failures()), "", [], quiet=False)


@study.command(**about(*words.STUDY_RUN))
def run(
    what: What,
    store: StoreFile = None,
    runner: RunnerName = "here",
    workers: Workers = None,
    one_by_one: OneByOne = False,
    retry_failed: RetryFailed = False,
    limit: Limit = None,
    force_new: Annotated[
        bool, typer.Option("--force-new", help="If the store holds something else, start another one beside it.")
    ] = False,
    quiet: Quiet = False,
) -> int:
    """Rows into a store."""
    specification = _specification(what)
    found = studies.Study(specification, store=_default_store(what, store))
    return _run(found, runner, workers, one_by_one, retry_failed, limit, quiet, force_new)


@study.command(**about(*words.STUDY_RESUME))
def resume(
    store: Kept,
    runner: RunnerName = "here",
    workers: Workers = None,
    one_by_one: OneByOne = False,
    retry_failed: RetryFailed = False,
    limit: Limit = None,
    quiet: Quiet = False,
) -> int:
    """The rest of the rows."""
    return _run(_open(store), runner, workers, one_by_one, retry_failed, limit, quiet, False)


@study.command(**about(*words.STUDY_EXPORT))
def export(
    store: Kept,
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="One file or several.")],
    overwrite: Overwrite = False,
) -> None:
    """Tables."""
    for path in _open(store).export(*files, overwrite=overwrite):
        print(f"Written: {_core.printable(str(path))}")


@study.command(**about(*words.STUDY_REPORT))
def report(
    store: Kept,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder. Default: the store's name, -report.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """The page."""
    folder = store.with_name(f"{store.stem}-report") if out is None else out
    for path in _open(store).report(folder, overwrite=overwrite):
        print(f"Written: {_core.printable(str(path))}")


def _open(store: str | Path) -> "Study":
    _core.check_file(store)
    return studies.Study.open(store)


def _specification(what: str) -> "Specification":
    if Path(what).suffix == ".toml":
        _core.check_file(what)
        return studies.read_specification(what)
    if what in studies.READY:
        return studies.ready_made(what)
    raise _core.InputError(f"{what!r} is neither a TOML file nor one of the studies {', '.join(studies.READY)}.")


def _default_store(what: str, store: Path | None) -> Path:
    if store is not None:
        return store
    return Path(what).with_suffix(".sqlite") if Path(what).suffix == ".toml" else Path(f"{what}.sqlite")


def _run(
    found: "Study",
    runner: str,
    workers: int | None,
    one_by_one: bool,
    retry_failed: bool,
    limit: int | None,
    quiet: bool,
    force_new: bool,
) -> int:
    """Run with a progress bar; the state at the end in one line."""
    method: Literal["stack", "one by one"] = "one by one" if one_by_one else "stack"

    def kept() -> str:
        status = found.status()
        return (
            f"{status['done'] + status['failed']} of {status['total']} rows are kept in {found.store}, and the same "
            "command goes on from there"
        )

    try:
        with working(kept, tidy=True), rows(quiet=quiet) as progress:
            options = {"runner": runner, "workers": workers, "retry_failed": retry_failed, "limit": limit}
            state = found.run(**options, method=method, force_new=force_new, progress=progress)
    except KeyboardInterrupt:
        say(f"interrupted; {kept()}.")
        return INTERRUPTED
    speed = f", {state.throughput:.1f} per second" if state.done + state.failed else ""
    print(
        f"{state.done} rows done and {state.failed} failed in {state.seconds:.1f} s{speed}; {state.kept} were there, "
        f"{state.left} are left. {found.store}"
    )
    failed = found.status()["failed"]
    if failed:
        print(
            f"epsflow: {failed} rows have failed; epsflow study show {found.store} says why, --retry-failed tries them "
            "again.",
            file=sys.stderr,
        )
    return NOT_CONVERGED if failed else 0


def _print_json(content: Any) -> None:
    print(json.dumps(content, indent=2, ensure_ascii=False))


def _print_state(opened: "Study", status: dict[str, int], store: "Store") -> None:
    print(
        f"{opened.specification.name}: {status['done']} of {status['total']} rows done, {status['failed']} failed, "
        f"{status['pending']} pending; {store.seconds():.1f} s of computing. Specification "
        f"{opened.specification.digest[:12]}."
    )


def _print_summary(opened: "Study") -> None:
    summary = opened.summary()
    for table in map(_drawn, summary.tables):
        show(table, "", [], quiet=False)
    typer.echo("\n".join(summary.answer))


def _drawn(found: "Found") -> Table:
    columns = [Column(name, number=number > 0) for number, name in enumerate(found.columns)]
    return Table(found.title, columns, [Row(row) for row in found.words()])
