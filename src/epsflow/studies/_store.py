"""The store: one SQLite file per study, one transaction per group of rows, one writer at a time.

Nothing is pickled: inputs and outputs are JSON, arrays compressed `.npz`. A reader needs no lock. Whether a file is
ours is read from its first hundred bytes, so that a foreign or damaged one is refused without being opened by SQLite,
which might change it.
"""

import contextlib
import io
import json
import os
import socket
import sqlite3
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._core import EpsflowError, InputError, provenance
from ._plan import FORMAT, content_hash
from ._problems import Row
from ._specification import Specification, specify
from ._tasks import Outcome, Value

APPLICATION_ID, SCHEMA = 0x65707366, 1
"""'epsf' in the file's header, and the version of its tables."""
HEADER = b"SQLite format 3\x00"
VERSIONS = ("epsflow", "numpy", "scipy", "jax", "diffrax")
"""Libraries whose versions must agree between a store and those who add to it."""

TABLES = """
CREATE TABLE study (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE provenance (id INTEGER PRIMARY KEY, content TEXT NOT NULL) STRICT;
CREATE TABLE runs (
    place INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    inputs TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('done', 'failed')),
    outputs TEXT NOT NULL,
    arrays BLOB,
    error TEXT NOT NULL,
    seconds REAL NOT NULL,
    method TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    provenance INTEGER NOT NULL REFERENCES provenance (id)
) STRICT;
"""
INSERT = """
INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?)
ON CONFLICT (place) DO UPDATE SET status = excluded.status, outputs = excluded.outputs, arrays = excluded.arrays,
    error = excluded.error, seconds = excluded.seconds, method = excluded.method, attempts = runs.attempts + 1,
    provenance = excluded.provenance
"""


class StoreError(EpsflowError):
    """The store cannot be used now: another process writes to it, or the file system refuses. It is intact."""


class Stored(NamedTuple):
    """One row of the table `runs`.

    Attributes:
        place, key, inputs: which row, its content hash, and what varied.
        status, outputs, arrays, error: what came of it.
        seconds, method, attempts: how, and how often it was tried.
    """

    place: int
    key: str
    inputs: dict[str, Any]
    status: str
    outputs: dict[str, Any]
    arrays: dict[str, np.ndarray]
    error: str
    seconds: float
    method: str
    attempts: int


class Store:
    """A study's file, open for reading; `writing` makes it writable for one process."""

    def __init__(self, path: Path, connection: sqlite3.Connection):
        self.path = path
        self._connection = connection
        self._provenance: int | None = None

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    @property
    def specification(self) -> Specification:
        """What the study asks."""
        return specify(json.loads(self._value("specification")), str(self.path))

    @property
    def created(self) -> dict[str, str]:
        """Versions, machine and time of its making."""
        return json.loads(self._value("provenance"))

    @property
    def contents(self) -> dict[str, str]:
        """SHA-256 of the data files, by source."""
        return json.loads(self._value("contents"))

    def finished(self) -> dict[str, str]:
        """Key → status of every row it has."""
        return dict(self._all("SELECT key, status FROM runs"))

    def counts(self) -> dict[str, int]:
        """How many rows are done, and how many failed."""
        return {"done": 0, "failed": 0, **dict(self._all("SELECT status, count(*) FROM runs GROUP BY status"))}

    def seconds(self) -> float:
        """Time spent on the rows it has, all processes together."""
        return float(self._all("SELECT coalesce(sum(seconds), 0) FROM runs")[0][0])

    def rows(self) -> Iterator[Stored]:
        """Every row, in the plan's order."""
        query = "SELECT place, key, inputs, status, outputs, arrays, error, seconds, method, attempts FROM runs"
        for place, key, inputs, status, outputs, arrays, *rest in self._all(query + " ORDER BY place"):
            parts = json.loads(inputs), status, _decode(outputs), _unpack(arrays)
            yield Stored(place, key, *parts, *rest)

    def provenances(self) -> list[dict[str, str]]:
        """Versions and machines that added rows, in the order in which they came."""
        return [json.loads(content) for (content,) in self._all("SELECT content FROM provenance ORDER BY id")]

    def add(self, outcomes: Sequence[Outcome]) -> None:
        """Keep rows, all of them or none: on its return they survive the end of the process.

        Raises:
            StoreError: the disk is full, or the file system refuses; rows kept before are intact.
        """
        with self._refusals(), self._connection:
            if self._provenance is None:
                content = json.dumps(provenance())
                made = self._connection.execute("INSERT INTO provenance (content) VALUES (?)", (content,))
                self._provenance = made.lastrowid
            self._connection.executemany(INSERT, [(*_record(outcome), self._provenance) for outcome in outcomes])

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            self._provenance = None
            words = str(error)
            full = "full" in words
            advice = "Free some space and run it again: it resumes." if full else "Is the disk still there?"
            raise StoreError(
                f"cannot write to {self.path}: {words}. The rows kept so far are intact. {advice}"
            ) from error

    def _value(self, key: str) -> str:
        return self._all("SELECT value FROM study WHERE key = ?", key)[0][0]

    def _all(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(query, values).fetchall()
        except (sqlite3.Error, IndexError) as error:
            raise InputError(
                f"{self.path} is damaged ({error}); it is left as it is. Restore it from a copy."
            ) from error


def open_store(path: str | Path) -> Store:
    """A store for reading.

    Raises:
        InputError: no such file; a foreign, damaged or newer one, which is left untouched.
    """
    path = Path(path)
    _check_header(path)
    connection = _connect(path)
    store = Store(path, connection)
    try:
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        kept = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.DatabaseError as error:
        connection.close()
        raise InputError(f"{path} is damaged ({error}); it is left as it is. Restore it from a copy.") from error
    if verdict != "ok" or not {"study", "runs", "provenance"} <= kept:
        connection.close()
        raise InputError(f"{path} is damaged ({verdict}); it is left as it is. Restore it from a copy.")
    return store


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=10.0, check_same_thread=False)


def _check_header(path: Path) -> None:
    """Refuse what is not ours from its first hundred bytes: SQLite itself might repair, extend or create a file."""
    try:
        with path.open("rb") as file:
            header = file.read(100)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}.") from error
    if len(header) < 100 or header[:16] != HEADER:
        raise InputError(f"{path} is not a study's store (no SQLite file); it is left as it is. Name another file.")
    schema, application = struct.unpack(">I4xI", header[60:72])
    if application != APPLICATION_ID:
        raise InputError(f"{path} is a database of another program; it is left as it is. Name another file.")
    if schema != SCHEMA:
        raise InputError(
            f"{path} has tables of version {schema}; this epsflow reads version {SCHEMA}. Use the epsflow that made it "
            "for it, or start another study."
        )
    page = struct.unpack(">H", header[16:18])[0]
    size, pages = 65536 if page == 1 else page, struct.unpack(">I", header[28:32])[0]
    if path.stat().st_size < size * pages and not path.with_name(path.name + "-wal").exists():
        raise InputError(f"{path} is cut off ({path.stat().st_size} of {size * pages} bytes); it is left as it is.")


@contextlib.contextmanager
def writing(path: Path, specification: Specification) -> Iterator[Store]:
    """The store of a study, made if there is none, with the right to write until the block ends.

    The right is a lock on a file beside the store, which the operating system takes back when its owner ends, however
    it ends: there are no stale locks.

    Raises:
        StoreError: another process has it, or the file system refuses.
        InputError: the file is not a store, or that of another study or another version (both sides are shown).
    """
    with _claim(path):
        if not path.exists():
            _create(path, specification)
        with open_store(path) as store:
            check_same(store, specification)
            store._connection.execute("PRAGMA synchronous = NORMAL")
            yield store
            with store._refusals():
                store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def check_same(store: Store, specification: Specification) -> None:
    """Refuse a store whose study, data or library versions differ, showing both sides.

    Raises:
        InputError: with every difference.
    """
    differences = store.specification.differences(specification)
    made, now = store.created, _versions()
    differences += [
        f"version of {name}: {made.get(name)} in the store, {now[name]} now"
        for name in now
        if made.get(name) != now[name]
    ]
    if not differences:
        current = _contents(specification)
        differences = [
            f"contents of the file of problems.{number}: {digest[:12]} in the store, {current[number][:12]} now"
            for number, digest in store.contents.items()
            if current[number] != digest
        ]
    if differences:
        raise InputError(
            f"{store.path} holds another study, and rows of two studies must not mix: {'; '.join(differences)}. Go "
            "back to what it was, name another store, or start a new one beside it with --force-new (force_new=True)."
        )


def _versions() -> dict[str, str]:
    known = provenance()
    return {**{name: known[name] for name in VERSIONS}, "results": str(FORMAT)}


def _contents(specification: Specification) -> dict[str, str]:
    return {str(number): content_hash(source) for number, source in enumerate(specification.problems)}


def _create(path: Path, specification: Specification) -> None:
    """A complete, empty store under another name, then moved to its place: a half-made one is never seen."""
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    values = {
        "specification": specification.to_json(),
        "provenance": json.dumps({**provenance(), "results": str(FORMAT)}),
        "contents": json.dumps(_contents(specification)),
    }
    try:
        with contextlib.closing(sqlite3.connect(temporary)) as connection:
            connection.executescript(
                f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA}; {TABLES}"
            )
            with connection:
                connection.executemany("INSERT INTO study VALUES (?, ?)", values.items())
            connection.execute("PRAGMA journal_mode = WAL")
        temporary.replace(path)
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"cannot make {path}: {error}.") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _claim(path: Path) -> Iterator[None]:
    """An exclusive SQLite transaction on a file beside the store: the same lock on every operating system."""
    lock = path.with_name(path.name + ".lock")
    if not path.parent.is_dir():
        raise InputError(f"cannot write {path}: the folder {path.parent} does not exist.")
    try:
        connection = sqlite3.connect(lock, timeout=0.0, isolation_level=None)
    except sqlite3.Error as error:
        raise StoreError(f"cannot write beside {path}: {error}.") from error
    owner = path.with_name(path.name + ".owner")
    with contextlib.closing(connection):
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise StoreError(f"cannot write beside {path}: {error}.") from error
            who = owner.read_text(encoding="utf-8") if owner.exists() else "another process"
            raise StoreError(
                f"{who} is writing to {path}; one process writes at a time. Wait for it, or stop it."
            ) from error
        try:
            since = datetime.now(UTC).isoformat(timespec="seconds")
            owner.write_text(f"process {os.getpid()} on {socket.gethostname()}, since {since},", encoding="utf-8")
            yield
        except OSError as error:
            raise StoreError(f"cannot write beside {path}: {error.strerror}.") from error
        finally:
            owner.unlink(missing_ok=True)


# ---- values -----------------------------------------------------------------------------------------------------


def _record(outcome: Outcome) -> tuple[Any, ...]:
    row: Row = outcome.row
    inputs = json.dumps(row.inputs, ensure_ascii=False)
    values = (outcome.status, _encode(outcome.outputs), _pack(outcome.arrays), outcome.error)
    return (row.place, row.key, inputs, *values, outcome.seconds, outcome.method)


def _encode(outputs: dict[str, Value]) -> str:
    """JSON has no NaN and no infinity: they are written as an object that no number is."""
    plain = {
        key: {"float": repr(value)} if isinstance(value, float) and not np.isfinite(value) else value
        for key, value in outputs.items()
    }
    return json.dumps(plain, ensure_ascii=False, allow_nan=False)


def _decode(text: str) -> dict[str, Any]:
    return json.loads(text, object_hook=lambda entry: float(entry["float"]) if entry.keys() == {"float"} else entry)


def _pack(arrays: dict[str, np.ndarray]) -> bytes | None:
    if not arrays:
        return None
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # pyright: ignore[reportArgumentType]  # numpy's stub mistakes the names for allow_pickle
    return zlib.compress(buffer.getvalue())


def _unpack(blob: bytes | None) -> dict[str, np.ndarray]:
    if blob is None:
        return {}
    with np.load(io.BytesIO(zlib.decompress(blob)), allow_pickle=False) as content:
        return {name: content[name] for name in content.files}


def chunks(rows: Sequence[Row], size: int) -> Iterable[Sequence[Row]]:
    """Consecutive rows, `size` at a time."""
    return (rows[k : k + size] for k in range(0, len(rows), size))
