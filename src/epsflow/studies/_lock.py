"""The right to write to a file: a lock beside it, which the operating system takes back when its owner ends."""

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from .._core import InputError
from ._errors import StoreError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

FAR = 2**30
"""On Windows a locked byte cannot be read: the one that is locked lies behind the words."""


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[None]:
    """The right to write to a file, until the block ends; the lock file is then gone.

    However the owner ends, the right is free again, and the next one takes the lock file over: there are no stale
    locks. What the block itself raises passes through as it is.

    Raises:
        InputError: there is no such folder.
        StoreError: another process has the right, or nothing can be written beside the file.
    """
    if not path.parent.is_dir():
        raise InputError(f"cannot write {path}: the folder {path.parent} does not exist.")
    lock = path.with_name(path.name + ".lock")
    descriptor = _acquire(path, lock)
    try:
        yield
    finally:
        _release(descriptor, lock)


def _acquire(path: Path, lock: Path) -> int:
    """An open lock file that is locked here, with its owner's name in it."""
    while True:
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise StoreError(f"cannot write beside {path}: {error.strerror or error}.") from error
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, descriptor)
            if not _lock(descriptor):
                who = os.read(descriptor, 1000).decode() or "another process"
                raise StoreError(f"{who} is writing to {path}; one process writes at a time. Wait for it, or stop it.")
            # Where the owner before ended after the file was opened here, it took the file with it: try again.
            if _is(descriptor, lock):
                _sign(descriptor, path)
                stack.pop_all()
                return descriptor


def _sign(descriptor: int, path: Path) -> None:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    words = f"process {os.getpid()} on {socket.gethostname()}, since {since},"
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, words.encode())
    except OSError as error:
        raise StoreError(f"cannot write beside {path}: {error.strerror or error}.") from error


def _release(descriptor: int, lock: Path) -> None:
    """Take the file away while it is still locked, so that nobody can have locked it in between."""
    # Windows does not remove an open file: there the order is the other one, and who has opened it since removes it.
    parts = [lambda: lock.unlink(missing_ok=True), lambda: os.close(descriptor)]
    for part in reversed(parts) if sys.platform == "win32" else parts:
        with contextlib.suppress(OSError):
            part()


def _lock(descriptor: int) -> bool:
    """Whether the lock was free, and is ours now."""
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, FAR, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _is(descriptor: int, lock: Path) -> bool:
    """Whether an open file is the one that its name now stands for."""
    try:
        return os.path.samestat(os.fstat(descriptor), lock.stat())
    except FileNotFoundError:
        return False
