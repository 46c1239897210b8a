"""`Study`: a specification and its store, and what one does with them."""

import html
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._core import InputError
from ._compute import Method, stackable
from ._plan import plan
from ._ready import READY
from ._rows import Row
from ._runners import Here, Runner, runner_of
from ._specification import Specification
from ._specify import read_specification, ready_made, specify
from ._store import Store, chunks, open_store, writing
from ._summary import Summary, failure_table, summarise
from ._tables import check_files, to_pandas, to_xarray, write_table
from .tasks import Table, task_of

if TYPE_CHECKING:
    import pandas
    import xarray

STACK, SINGLE = 250, 8
"""Rows of a group, as a stack and one by one: what is lost at most when the process is killed."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is.

    Example:
        >>> study = ef.Study("tiny", problems=[{"kind": "random", "draws": 3}], s=[1.0], T=[6.0])
        >>> progress = study.run(limit=1)
        >>> progress.total, progress.done, progress.left
        (3, 1, 2)

    Attributes:
        total: rows of the study.
        kept: rows that the store had before.
        done, failed: rows of this run.
        seconds: since it began.
    """

    total: int
    kept: int
    done: int
    failed: int
    seconds: float

    @property
    def left(self) -> int:
        """Rows still to come."""
        return self.total - self.kept - self.done - self.failed

    @property
    def throughput(self) -> float:
        """Rows per second of this run."""
        return (self.done + self.failed) / self.seconds if self.seconds > 0.0 else 0.0

    @property
    def seconds_left(self) -> float:
        """At this throughput; ∞ before the first row."""
        return self.left / self.throughput if self.throughput > 0.0 else math.inf


class Study:
    """Thousands of problems, one table: a specification, run into a store that survives interruptions.

    Example:
        >>> ef.Study("rewind-depth").specification.rows
        1120

        study = ef.Study("step-vs-linear", store="step-vs-linear.sqlite")
        study.run()
        study.to_pandas()

    Attributes:
        specification: what is asked.
        store: the SQLite file.
    """

    specification: Specification
    store: Path

    def __init__(
        self, specification: Specification | str | None = None, /, *, store: str | Path | None = None, **fields: Any
    ):
        """A ready-made study by name, a `Specification`, or the fields of one.

        Args:
            specification: a name such as "step-vs-linear", one of your own beside `problems` and other fields, or a
                specification; None where `fields` say everything.
            store: the file; default: the study's name, with `.sqlite`, in the current folder.
            **fields: of `Specification`; with a name, those that differ.

        Raises:
            InputError: a field that is wrong, by its name.
        """
        if isinstance(specification, Specification):
            if fields:
                raise InputError(f"a whole specification and fields ({', '.join(fields)}) exclude each other.")
            self.specification = specify(specification.model_dump())
        elif isinstance(specification, str) and (specification in READY or "problems" not in fields):
            self.specification = ready_made(specification, **fields)
        else:
            named = {} if specification is None else {"name": specification}
            self.specification = specify({**named, **fields})
        self.store = Path(f"{self.specification.name}.sqlite" if store is None else store)

    def __repr__(self) -> str:
        state = "not begun"
        if self.store.exists():
            try:
                status = self.status()
                state = f"{status['done']} done, {status['failed']} failed"
            except InputError:  # a line about a study is no place to end a session
                state = "its store cannot be read"
        return f"Study({self.specification.name!r}, {self.specification.rows} rows: {state}, store={str(self.store)!r})"

    def _repr_html_(self) -> str:
        line = f"<p><code>{html.escape(repr(self))}</code></p>"
        return line + (self.summary()._repr_html_() if self.store.exists() and self.status()["done"] else "")

    @classmethod
    def from_toml(cls, path: str | Path, *, store: str | Path | None = None) -> "Study":
        """The study of a TOML file; its store is beside it unless named.

        Raises:
            InputError: as `read_specification`.
        """
        path = Path(path)
        return cls(read_specification(path), store=path.with_suffix(".sqlite") if store is None else store)

    @classmethod
    def open(cls, store: str | Path) -> "Study":
        """The study that a store holds.

        Raises:
            InputError: no store, or a foreign or damaged one, which is left untouched.
        """
        with open_store(store) as opened:
            return cls(opened.specification, store=store)

    def plan(self) -> tuple[Row, ...]:
        """All rows, in order, each with its inputs and content hash."""
        return plan(self.specification)

    def run(
        self,
        *,
        runner: Runner | str | None = None,
        method: str = "stack",
        workers: int | None = None,
        retry_failed: bool = False,
        force_new: bool = False,
        limit: int | None = None,
        progress: Callable[[Progress], object] | None = None,
    ) -> Progress:
        """Compute every row that the store does not have. Interrupted, it goes on where it was.

        Args:
            runner: "here", "processes", "dask", "dask:ADDRESS", or a `Runner`.
            method: "stack" (batched solvers where the study allows), or "one by one" through the public functions.
            workers: of a runner given by name.
            retry_failed: whether rows that failed are tried again.
            force_new: where the store holds something else, start another one beside it, and let `store` name it.
            limit: compute at most so many rows now, one at least.
            progress: called after every group of rows.

        Raises:
            InputError: the store holds another study (both sides are shown), or is none; an argument that is wrong.
            StoreError: another process writes to it, the disk is full, or all workers died.
        """
        if method != "stack" and method != "one by one":  # two comparisons, which narrow the type
            raise InputError(f"method is {method!r}; choose 'stack' or 'one by one'.")
        if limit is not None and limit < 1:
            raise InputError(f"limit is {limit}; at least one row is needed, or None for all.")
        if force_new:
            self._step_aside()
        chosen = runner_of(runner, workers) if isinstance(runner, str) else runner or Here()
        rows = self.plan()
        with writing(self.store, self.specification) as store:
            known = store.finished()
            todo = [row for row in rows if known.get(row.key) is None or (retry_failed and known[row.key] == "failed")]
            kept = len(rows) - len(todo)
            todo = todo if limit is None else todo[:limit]
            return _drive(store, self.specification, todo, (len(rows), kept), chosen, method, progress)

    def _step_aside(self) -> None:
        """The first name beside the store's that is free: study-2.sqlite, study-3.sqlite and so on."""
        first, number = self.store, 2
        while self.store.exists():
            self.store = first.with_name(f"{first.stem}-{number}{first.suffix}")
            number += 1

    def status(self) -> dict[str, int]:
        """How many rows there are in all ("total"), "done", "failed", and still "pending"."""
        total, counts = self.specification.rows, {"done": 0, "failed": 0}
        if self.store.exists():
            with open_store(self.store) as store:
                counts = store.counts()
        return {"total": total, **counts, "pending": total - sum(counts.values())}

    def failures(self) -> Table:
        """Why rows failed: every reason, how many rows say so, and the first of them.

        Raises:
            InputError: no store yet.
        """
        with open_store(self.store) as store:
            return failure_table(store)

    def to_pandas(self) -> "pandas.DataFrame":
        """One row per run: inputs, outputs, status, error, seconds, method, content hash.

        Raises:
            InputError: no store yet, or pandas is not installed.
        """
        with open_store(self.store) as store:
            return to_pandas(store)

    def to_xarray(self) -> "xarray.Dataset":
        """The same, and the arrays, labelled by run; specification and versions as attributes.

        Raises:
            InputError: no store yet, or xarray is not installed.
        """
        with open_store(self.store) as store:
            return to_xarray(store)

    def export(self, *paths: str | Path, overwrite: bool = False) -> tuple[Path, ...]:
        """Write the table as .csv, .parquet or .nc, by the names' endings.

        Args:
            *paths: the files.
            overwrite: whether they may be there already.

        Raises:
            InputError: another ending, a file that exists, or one that cannot be written.
        """
        files = tuple(map(Path, paths))
        check_files(files, overwrite=overwrite)
        with open_store(self.store) as store:
            return tuple(write_table(store, path) for path in files)

    def summary(self) -> Summary:
        """Win rates, paired comparisons and confidence intervals, and the answer in words.

        Raises:
            InputError: no row is done yet.
        """
        with open_store(self.store) as store:
            return summarise(store)

    def report(self, folder: str | Path, *, overwrite: bool = False) -> tuple[Path, ...]:
        """A page of HTML that needs nothing else, and its figures alone as PDF and PNG.

        Args:
            folder: where to; made if there is none.
            overwrite: whether files may be replaced that are not of an earlier report on this study.

        Raises:
            InputError: no row is done yet, the folder cannot be written to, or has such files.
        """
        from ._report import write_report  # draws, which nothing else here does

        with open_store(self.store) as store:
            return write_report(store, summarise(store), Path(folder), overwrite=overwrite)


def _group(specification: Specification, method: Method, count: int) -> int:
    """How many rows are computed and kept at once."""
    single = task_of(specification.task).together(specification) or SINGLE
    return STACK if method == "stack" and count > single and stackable(specification) else single


def _drive(
    store: Store,
    specification: Specification,
    todo: Sequence[Row],
    known: tuple[int, int],
    runner: Runner,
    method: Method,
    progress: Callable[[Progress], object] | None,
) -> Progress:
    """Group after group, from the runner into the store."""
    begin, done, failed = time.perf_counter(), 0, 0
    total, kept = known
    state = Progress(total=total, kept=kept, done=0, failed=0, seconds=0.0)
    if not todo:
        return state
    groups = list(chunks(todo, _group(specification, method, len(todo))))
    for outcomes in runner(specification, groups, method):
        store.add(outcomes)
        good = sum(outcome.status == "done" for outcome in outcomes)
        done, failed = done + good, failed + len(outcomes) - good
        seconds = time.perf_counter() - begin
        state = Progress(total=total, kept=kept, done=done, failed=failed, seconds=seconds)
        if progress is not None:
            progress(state)
    return state
