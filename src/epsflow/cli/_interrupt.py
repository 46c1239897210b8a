"""Ctrl-C, wherever it comes: one line that says what was kept, and exit status 130.

Python's own answer is an exception in whatever the main thread is doing. Raised while XLA compiles, through frames of
C++ that expect none, it ends in a crash of the process. So a thread of its own, woken by the signal itself, ends the
process instead; nothing is raised at all. A command that has something to save (`study`, `verify`) asks for the
exception: it is then raised as soon as no foreign frame is left on the stack, and the thread only waits.
"""

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType

INTERRUPTED = 130
"""The exit status after Ctrl-C."""
PATIENCE = 10.0
"""Seconds for which a command that ends itself may stay in foreign code; a second Ctrl-C does not wait."""
AGAIN = 0.02
"""Seconds after which the stack is looked at again."""
FOREIGN = {"jax", "jaxlib", "equinox", "diffrax", "lineax", "optimistix", "casadi", "importlib", "_frozen_importlib"}
"""Packages that an exception from outside must not pass through."""


@dataclass
class Watch:
    """What Ctrl-C finds.

    Attributes:
        kept: says what was kept, as the end of a sentence.
        tidy: whether the command ends itself, by a `KeyboardInterrupt`.
        result: where a whole result is, in words; empty before there is one.
        leftovers: what is called before the process ends.
        moving: held while the files of a result are moved to their place, all of them or none.
        raised: set when the exception has been raised.
    """

    kept: Callable[[], str] = lambda: "nothing had been computed"
    tidy: bool = False
    result: str = ""
    leftovers: list[Callable[[], object]] = field(default_factory=list)
    moving: threading.Lock = field(default_factory=threading.Lock)
    raised: threading.Event = field(default_factory=threading.Event)


WATCH = Watch()
"""Of this process: there is one Ctrl-C."""


@contextlib.contextmanager
def working(kept: Callable[[], str], *, tidy: bool = False) -> Iterator[None]:
    """While the block runs, Ctrl-C says this; with `tidy` it raises `KeyboardInterrupt` in the block."""
    before = WATCH.kept, WATCH.tidy
    WATCH.kept, WATCH.tidy = kept, tidy
    try:
        yield
    finally:
        WATCH.kept, WATCH.tidy = before


@contextlib.contextmanager
def undone_by(undo: Callable[[], object]) -> Iterator[None]:
    """While the block runs, Ctrl-C also undoes what it has begun."""
    WATCH.leftovers.append(undo)
    try:
        yield
    finally:
        WATCH.leftovers.remove(undo)


def arm() -> None:
    """Take Ctrl-C over, in a process that is the command line's own."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.signal(signal.SIGINT, _interrupt)
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, _interrupt)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader,), name="epsflow-interrupt", daemon=True).start()


def _interrupt(signum: int, frame: FrameType | None) -> None:
    """In the main thread, between two instructions of Python: raise where that is wanted and safe."""
    if not WATCH.tidy:
        return
    if not _foreign(frame):
        WATCH.tidy = False  # once: what tidies up is not interrupted
        WATCH.raised.set()
        raise KeyboardInterrupt
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, AGAIN)


def _foreign(frame: FrameType | None) -> bool:
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] in FOREIGN:
            return True
        frame = frame.f_back
    return False


def _watch(reader: int) -> None:
    """In a thread: whatever the main thread is busy with, the first Ctrl-C (or, for the tidy, the second) ends it."""
    while True:
        if signal.SIGINT in os.read(reader, 64) and not _ends_itself(reader):  # other signals, such as our alarm, pass
            _end()


def _ends_itself(reader: int) -> bool:
    """Whether the main thread takes the interruption upon itself before patience ends, or a second one comes."""
    end = time.monotonic() + PATIENCE
    while WATCH.tidy and time.monotonic() < end:
        ready, _, _ = select.select([reader], [], [], AGAIN)
        if ready and signal.SIGINT in os.read(reader, 64):
            return False
    taken = WATCH.raised.is_set()
    WATCH.raised.clear()
    return taken


def _end() -> None:
    """Say what was kept, and be gone: no frame is unwound, and nothing is awaited."""
    WATCH.moving.acquire(timeout=PATIENCE)
    for undo in WATCH.leftovers:
        with contextlib.suppress(Exception):
            undo()
    try:
        kept = WATCH.kept()
    except Exception:  # what would tell is what was interrupted
        kept = "what had been kept is kept"
    with contextlib.suppress(OSError, ValueError):
        # A bar has hidden the cursor.
        clean = "\r\x1b[2K\x1b[?25h" if sys.stderr.isatty() else ""
        print(f"{clean}epsflow: interrupted; {kept}.", file=sys.stderr, flush=True)
    os._exit(INTERRUPTED)
