"""How far the work is, on stderr: a bar on a terminal, now and then a line where stderr is a file or a pipe."""

import contextlib
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._core import printable
from ._interrupt import WATCH, working

if TYPE_CHECKING:
    from ..studies import Progress

SILENT = 5.0
"""Seconds of work of which nothing is said where stderr is not a terminal."""
OFTEN = 10.0
"""Seconds between two lines of work that takes longer."""


@dataclass
class Stage:
    """What is being done.

    Attributes:
        name: in words, as it follows "while".
        begun: when the work as a whole began, by `time.monotonic`.
        advice: what Ctrl-C adds: how more could have been kept.
        end: when it will have ended at the latest, by the same clock; infinite where nobody knows.
    """

    name: str
    begun: float
    advice: str = ""
    end: float = math.inf

    @property
    def seconds(self) -> float:
        """Since the work began."""
        return time.monotonic() - self.begun

    @property
    def left(self) -> str:
        """How much longer it may take, where there is a limit."""
        return "" if self.end == math.inf else f"at most {max(0.0, self.end - time.monotonic()):.0f} s more"


@contextlib.contextmanager
def stages(total: int, *, quiet: bool, timed: bool = False) -> Iterator[Callable[..., None]]:
    """Tell how far the work is, and what Ctrl-C interrupts.

    What is yielded names the stage that begins, may advise how more can be kept of it, and says after how many seconds
    it will have ended at the latest, where that is known: begin(name, advice, limit).

    Args:
        total: how many stages there are.
        quiet: say nothing.
        timed: whether stages are alike, so that the time left can be told from those done.
    """
    stage, WATCH.result = Stage("starting", time.monotonic()), ""

    def kept() -> str:
        return WATCH.result or f"nothing was kept after {stage.seconds:.0f} s of work, while {stage.name}{stage.advice}"

    with contextlib.ExitStack() as stack:
        stack.enter_context(working(kept))
        shown = _nothing() if quiet else _bar(stage, total, timed) if sys.stderr.isatty() else _lines(stage)
        tell = stack.enter_context(shown)

        def begin(name: str, advice: str = "", limit: float | None = None) -> None:
            stage.name, stage.advice = name, advice
            stage.end = math.inf if limit is None else time.monotonic() + limit
            tell()

        yield begin
    WATCH.kept = lambda: WATCH.result or "the answer had been found, and was being printed"


@contextlib.contextmanager
def _nothing() -> Iterator[Callable[[], object]]:
    yield lambda: None


@contextlib.contextmanager
def _bar(stage: Stage, total: int, timed: bool) -> Iterator[Callable[[], object]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        ProgressColumn,
        SpinnerColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Left(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(stage.left)

    words = TextColumn("{task.description}", markup=False)
    clocks = [TimeElapsedColumn(), *([TextColumn("left:"), TimeRemainingColumn()] if timed else [Left()])]
    with Progress(SpinnerColumn(), words, BarColumn(), *clocks, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total, completed=-1)
        yield lambda: bar.update(task, advance=1, description=stage.name)


@contextlib.contextmanager
def _lines(stage: Stage) -> Iterator[Callable[[], object]]:
    """A line when the work has taken some seconds, and then every few."""
    done = threading.Event()

    def tell() -> None:
        wait = SILENT
        while not done.wait(wait):
            left = f", {stage.left}" if stage.left else ""
            say(f"{stage.name} ({stage.seconds:.0f} s so far{left})")
            wait = OFTEN

    thread = threading.Thread(target=tell, name="epsflow-progress", daemon=True)
    thread.start()
    try:
        yield lambda: None
    finally:
        done.set()
        thread.join()


def say(words: str) -> None:
    """One line on stderr."""
    with contextlib.suppress(OSError, ValueError):  # a reader that has gone away ends no work
        print(f"epsflow: {printable(words)}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def rows(*, quiet: bool) -> "Iterator[Callable[[Progress], None] | None]":
    """The same for a study; what is yielded takes a state."""
    if quiet:
        yield None
    elif not sys.stderr.isatty():
        yield _told_now_and_then()
    else:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress as Bar, TextColumn

        columns = BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}", markup=False)
        with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("starting", total=None)

            def update(state: "Progress") -> None:
                done = state.total - state.left
                bar.update(task, total=state.total, completed=done, description=_speed(state))

            yield update


def _told_now_and_then() -> "Callable[[Progress], None]":
    said = [time.monotonic() + SILENT - OFTEN]

    def update(state: "Progress") -> None:
        if time.monotonic() - said[0] >= OFTEN:
            said[0] = time.monotonic()
            say(f"{state.total - state.left:,} of {state.total:,} rows, {_speed(state)}")

    return update


def _speed(state: "Progress") -> str:
    left = state.seconds_left
    rest = f"{int(left) // 60}:{int(left) % 60:02d} left" if left < float("inf") else "–"
    return f"{state.throughput:.1f} rows/s, {rest}" + (f", {state.failed} failed" if state.failed else "")
