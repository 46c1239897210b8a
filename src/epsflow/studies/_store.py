"""The store: one SQLite file per study, one transaction per group of rows, one writer at a time.

Nothing is pickled: inputs and outputs are JSON, arrays compressed `.npz`. A reader needs no lock, and no right to
write. Whether a file is ours is read from its first hundred bytes, so that a foreign or damaged one is refused without
being opened by SQLite, which might change it. While a process writes there is a write-ahead log beside the file, and a
lock; afterwards the file stands alone.
"""

import contextlib
import io
import json
import os
import sqlite3
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._core import InputError, provenance
from ._errors import StoreError
from ._json import from_text, to_text
from ._lock import claimed
from ._plan import FORMAT, content_hash
from ._rows import Failure, Outcome, Row, Stored
from ._specification import Specification
from ._specify import specify

APPLICATION_ID, SCHEMA = 0x65707366, 2
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


class Store:
    """A study's file, open for reading; `writing` makes it writable for one process.

    Example:
        >>> study = ef.Study("tiny", problems=[{"kind": "random", "draws": 3}], s=[1.0], T=[6.0])
        >>> done = study.run()
        >>> with ef.studies.open_store("tiny.sqlite") as store:
        ...     print(store.specification.name, len(list(store.rows())))
        tiny 3
    """

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
        columns = ("place", "key", "inputs", "status", "outputs", "arrays", "error", "seconds", "method", "attempts")
        for values in self._all(f"SELECT {', '.join(columns)} FROM runs ORDER BY place"):
            entries = dict(zip(columns, values, strict=True))
            entries["inputs"] = json.loads(entries["inputs"])
            entries["outputs"] = from_text(entries["outputs"])
            entries["arrays"] = _unpack(entries["arrays"])
            yield Stored(**entries)

    def failures(self) -> list[Failure]:
        """Why rows failed: every reason once, the most frequent first."""
        query = (
            "SELECT error, count(*), min(place), inputs FROM runs WHERE status = 'failed' GROUP BY error "
            "ORDER BY count(*) DESC, min(place)"
        )  # with min(), SQLite takes the other columns from the row that has it
        return [
            Failure(error=error, rows=rows, place=place, inputs=json.loads(inputs))
            for error, rows, place, inputs in self._all(query)
        ]

    def varying(self) -> set[str]:
        """Names of the inputs in which its rows differ."""
        query = (
            "SELECT each.key FROM runs, json_each(inputs) AS each GROUP BY each.key "
            "HAVING count(DISTINCT each.value) > 1"
        )
        return {name for (name,) in self._all(query)}

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
    def writable(self) -> Iterator[None]:
        """Lets rows be added, until the block ends; who calls it holds the lock.

        Raises:
            StoreError: the file system refuses.
        """
        with self._refusals():
            self._connection.execute("PRAGMA query_only = OFF")
            self._connection.execute("PRAGMA journal_mode = WAL")  # readers read on while rows are added
            self._connection.execute("PRAGMA synchronous = NORMAL")
        try:
            yield
            with self._refusals():
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            # Somebody who reads just now keeps the log alive; the next one who writes removes it.
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("PRAGMA journal_mode = DELETE")

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            self._provenance = None
            words = str(error)
            raise StoreError(
                f"cannot write to {self.path}: {words}. The rows kept so far are intact. {_advice(words)}"
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


def _advice(words: str) -> str:
    if "full" in words:
        return "Free some space and run it again: it resumes."
    if "readonly" in words:
        return "The file is read-only: copy it, and resume the copy."
    return "Is the disk still there?"


def open_store(path: str | Path) -> Store:
    """A store for reading; it need not be writable, nor its folder.

    Example:
        >>> study = ef.Study("tiny", problems=[{"kind": "random", "draws": 3}], s=[1.0], T=[6.0])
        >>> done = study.run()
        >>> with ef.studies.open_store("tiny.sqlite") as store:
        ...     sorted(store.finished().values())
        ['done', 'done', 'done']

    Raises:
        InputError: no such file; a foreign, damaged or newer one, which is left untouched.
    """
    path = Path(path)
    _check_header(path)
    try:
        return _verified(path, _connect(path))
    except sqlite3.OperationalError as error:
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size:
            raise InputError(
                f"{path} cannot be read here ({error}): the last rows are still in {log.name}, which has to be worked "
                "in. Copy both to a folder that can be written to."
            ) from error
    # A file that names a write-ahead log and has none, where nothing can be written: as it stands, it is complete.
    return _verified(path, _connect(path, "?immutable=1"))


def _verified(path: Path, connection: sqlite3.Connection) -> Store:
    """A store whose pages and tables are whole.

    Raises:
        InputError: they are not.
        OperationalError: it cannot be opened in this place, which says nothing of the file.
    """
    try:
        connection.execute("PRAGMA query_only = ON")
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        kept = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.OperationalError:
        connection.close()
        raise
    except sqlite3.DatabaseError as error:
        connection.close()
        raise InputError(f"{path} is damaged ({error}); it is left as it is. Restore it from a copy.") from error
    if verdict != "ok" or not {"study", "runs", "provenance"} <= kept:
        connection.close()
        raise InputError(f"{path} is damaged ({verdict}); it is left as it is. Restore it from a copy.")
    return Store(path, connection)


def _connect(path: Path, options: str = "?mode=rw") -> sqlite3.Connection:
    return sqlite3.connect(path.absolute().as_uri() + options, uri=True, timeout=10.0, check_same_thread=False)


def _check_header(path: Path) -> None:
    """Refuse what is not ours from its first hundred bytes: SQLite itself might repair, extend or create a file."""
    try:
        with path.open("rb") as file:
            header = file.read(100)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}.") from error
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

    Raises:
        StoreError: another process has it, or the file system refuses.
        InputError: the file is not a store, or that of another study or another version (both sides are shown).
    """
    with claimed(path):
        if not path.exists():
            _create(path, specification)
        with open_store(path) as store:
            check_same(store, specification)
            with store.writable():
                yield store


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
        temporary.replace(path)
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"cannot make {path}: {error}.") from error
    finally:
        temporary.unlink(missing_ok=True)


# ---- values -----------------------------------------------------------------------------------------------------


def _record(outcome: Outcome) -> tuple[Any, ...]:
    row: Row = outcome.row
    inputs = json.dumps(row.inputs, ensure_ascii=False)
    values = (outcome.status, to_text(outcome.outputs), _pack(outcome.arrays), outcome.error)
    return (row.place, row.key, inputs, *values, outcome.seconds, outcome.method)


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
