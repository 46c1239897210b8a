"""The store: what is kept survives, what is not ours is left alone, and one process writes at a time."""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import epsflow as ef
from epsflow.studies import StoreError, Study, _lock as lock_module, _store as store_module, open_store
from epsflow.studies._problems import question
from epsflow.studies._rows import Outcome
from epsflow.studies._store import writing
from study_tables import table

CHILD = """
import json, sys, time
from epsflow.studies import Here, Study
import epsflow.studies._study as study_module

class Slow(Here):
    def __call__(self, *arguments):
        for outcomes in super().__call__(*arguments):
            yield outcomes
            print("kept", flush=True)
            time.sleep(30.0 if sys.argv[3] == "wait" else 0.0)

study_module.SINGLE = study_module.STACK = 4
Study(**json.loads(sys.argv[1]), store=sys.argv[2]).run(runner=Slow())
"""


def child(study: Study, then: str) -> subprocess.Popen[str]:
    """Another process that runs the study in groups of four rows, and waits after each, or does not."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", CHILD, study.specification.to_json(), str(study.store), then]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def test_kill_9_and_another_writer(make, finished: Study):
    """Killed between two groups while it holds the lock; resumed, the table is that of an undisturbed run."""
    study = make()
    running = child(study, "wait")
    assert running.stdout is not None
    assert running.stdout.readline() == "kept\n"
    with pytest.raises(StoreError, match=rf"process {running.pid} on .* is writing to .*study\.sqlite"):
        study.run()
    assert study.status() == {"total": 24, "done": 4, "failed": 0, "pending": 20}  # reading needs no lock
    running.send_signal(signal.SIGKILL)
    running.wait()
    running.stdout.close()
    state = study.run()
    assert (state.kept, state.done, state.failed) == (4, 20, 0)
    assert table(study) == table(finished)


def test_a_second_run_has_nothing_to_do(finished: Study):
    before = table(finished)
    state = finished.run()
    assert (state.total, state.kept, state.done, state.left) == (24, 24, 0, 0)
    assert table(finished) == before


def test_a_limit_stops_early(make, finished: Study):
    study = make()
    assert study.run(limit=5).left == 19
    assert study.run().kept == 5
    assert table(study) == table(finished)


def test_another_specification_is_refused_with_both_sides(make):
    study = make()
    study.run(limit=1)
    before = study.store.read_bytes()
    with pytest.raises(ef.InputError, match=r"seed: 0 in the store, 7 now; theta0: .*'zero'.* in the store"):
        make(seed=7, theta0="random").run()
    assert study.store.read_bytes() == before


def test_another_version_is_refused_with_both_sides(make):
    study = make()
    study.run(limit=1)
    with sqlite3.connect(study.store) as connection:
        made = json.loads(connection.execute("SELECT value FROM study WHERE key = 'provenance'").fetchone()[0])
        changed = json.dumps({**made, "epsflow": "0.0.1"})
        connection.execute("UPDATE study SET value = ? WHERE key = 'provenance'", (changed,))
    connection.close()
    with pytest.raises(ef.InputError, match=rf"version of epsflow: 0\.0\.1 in the store, {made['epsflow']} now"):
        study.run()


def test_another_data_file_is_refused(tmp_path: Path):
    path = tmp_path / "six.csv"
    rows = "6,1,0\n5,2,1\n4,3,0.1\n3,4,9\n2,5,0.2\n1,6.5,1.2\n"
    path.write_text(rows)
    study = Study(problems=[{"kind": "data", "csv": str(path)}], optimum=False, store=tmp_path / "a.sqlite")
    study.run()
    path.write_text(rows.replace("9", "8"))
    with pytest.raises(ef.InputError, match=r"contents of the file of problems\.0"):
        study.run()


def test_force_new_starts_another_beside_it(make):
    first, second = make(), make(seed=7)
    first.run(limit=1)
    second.run(limit=2, force_new=True)
    assert second.store.name == "study-2.sqlite"
    assert (first.status()["done"], second.status()["done"]) == (1, 2)


FOREIGN = {
    "text": b"a,b,y\n1,2,3\n" * 20,
    "empty": b"",
    "half a header": b"SQLite format 3\x00" + b"\x00" * 20,
    "noise": bytes(range(256)) * 40,
}


@pytest.mark.parametrize("case", FOREIGN)
def test_a_foreign_file_is_left_alone(case: str, make):
    study = make()
    study.store.write_bytes(FOREIGN[case])
    with pytest.raises(ef.InputError, match="is not a study's store"):
        study.run()
    with pytest.raises(ef.InputError, match="is not a study's store"):
        Study.open(study.store)
    assert study.store.read_bytes() == FOREIGN[case]


def test_a_database_of_another_program_is_left_alone(make):
    study = make()
    with sqlite3.connect(study.store) as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    before = study.store.read_bytes()
    with pytest.raises(ef.InputError, match="a database of another program"):
        study.run()
    assert study.store.read_bytes() == before


def test_a_newer_store_is_left_alone(make, monkeypatch: pytest.MonkeyPatch):
    study = make()
    study.run(limit=1)
    monkeypatch.setattr(store_module, "SCHEMA", 0)
    with pytest.raises(ef.InputError, match="tables of version 2; this epsflow reads version 0"):
        study.to_pandas()


def test_a_damaged_store_is_left_alone(make):
    study = make()
    study.run(limit=12)
    whole = study.store.read_bytes()
    overwritten = whole[:4096] + b"\xff" * (len(whole) - 4096)
    for damaged, reason in ((whole[:-4096], "is cut off"), (overwritten, "is damaged")):
        study.store.write_bytes(damaged)
        with pytest.raises(ef.InputError, match=reason):
            study.run()
        assert study.store.read_bytes() == damaged


def test_a_full_disk_ends_the_run_and_keeps_what_was_there(make, monkeypatch: pytest.MonkeyPatch):
    """SQLite's own limit on pages gives the error that a full disk gives."""
    study = make()
    study.run(limit=4)
    before, connect = table(study), store_module._connect

    def small_disk(path: Path) -> sqlite3.Connection:
        connection = connect(path)
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "_connect", small_disk)
        with pytest.raises(StoreError, match=r"disk is full.*The rows kept so far are intact.*it resumes"):
            study.run()
    assert table(study) == before
    assert study.run().left == 0


def test_failed_rows_are_kept_with_their_error_and_can_be_retried(make, monkeypatch: pytest.MonkeyPatch):
    """Two points in three dimensions leave directions free: such rows fail, the others do not."""
    mixed = [{"kind": "random", "d": d, "n": n, "draws": 2} for d, n in ((3, 3), (2, 12))]
    study = make(problems=mixed)
    state = study.run()
    assert (state.done, state.failed) == (2, 2)
    with open_store(study.store) as store:
        bad = [row for row in store.rows() if row.status == "failed"]
    assert [(row.place, row.outputs, row.attempts) for row in bad] == [(0, {}, 1), (1, {}, 1)]
    assert all("the leave-out optimum is not unique" in row.error for row in bad)
    assert study.run().kept == 4  # not tried again unless asked
    study.run(retry_failed=True)
    with open_store(study.store) as store:
        assert [row.attempts for row in store.rows()] == [2, 2, 1, 1]


def test_values_come_back_as_they_went(make):
    """NaN, infinities, integers, words and arrays; and a row is replaced by its retry."""
    study = make()
    row = study.plan()[3]
    outputs = {"a": float("inf"), "b": float("nan"), "c": 0.1 + 0.2, "d": 3, "e": True, "f": "θ", "g": -float("inf")}
    arrays = {"x": np.array([1.0, np.nan]), "n": np.arange(3)}
    with writing(study.store, study.specification) as store:
        store.add([Outcome(row=row, status="failed", error="first")])
        store.add([Outcome(row=row, status="done", outputs=outputs, arrays=arrays)])
    with open_store(study.store) as store:
        (kept,) = store.rows()
        assert store.counts() == {"done": 1, "failed": 0}
    assert repr(kept.outputs) == repr(outputs)
    assert (kept.place, kept.key, kept.inputs, kept.error, kept.attempts) == (3, row.key, row.inputs, "", 2)
    assert all(np.array_equal(kept.arrays[name], arrays[name], equal_nan=True) for name in arrays)


def test_a_group_is_kept_whole_or_not_at_all(make):
    study = make()
    good = Outcome(row=study.plan()[0], status="done", outputs={"a": 1.0})
    with writing(study.store, study.specification) as store:
        with pytest.raises(StoreError, match="intact"):
            store.add([good, Outcome(row=study.plan()[1], status="unheard-of")])
        assert store.counts() == {"done": 0, "failed": 0}


def test_no_folder_no_store(tmp_path: Path, small):
    with pytest.raises(ef.InputError, match="does not exist"):
        Study(small, store=tmp_path / "nowhere" / "a.sqlite").run()
    with pytest.raises(ef.InputError, match="cannot read"):
        Study.open(tmp_path / "absent.sqlite")


def test_what_the_block_raises_is_not_the_locks_business(make):
    """A broken pipe of somebody who prints while rows come is no failure to write beside the store."""
    study = make()

    def printing(state: object) -> None:
        raise BrokenPipeError("Broken pipe")

    with pytest.raises(BrokenPipeError):
        study.run(limit=1, progress=printing)
    assert study.status()["done"] == 1


def test_the_store_is_one_file_after_every_end(make, monkeypatch: pytest.MonkeyPatch):
    """Finished, refused, interrupted, and only read: no lock, no log and no half-made file stays."""
    study = make()
    study.run(limit=1)
    with pytest.raises(ef.InputError):
        make(seed=7).run()
    with pytest.raises(KeyboardInterrupt):
        study.run(limit=1, progress=lambda state: (_ for _ in ()).throw(KeyboardInterrupt))
    study.summary()
    assert [path.name for path in study.store.parent.iterdir()] == ["study.sqlite"]


def test_one_writes_and_one_reads_in_the_same_process(make):
    study = make()
    with writing(study.store, study.specification) as store:
        with pytest.raises(StoreError, match=rf"process {os.getpid()} on .* is writing to"):
            study.run()
        store.add([Outcome(row=study.plan()[0], status="done", outputs={"a": 1.0})])
        with open_store(study.store) as reader:
            assert reader.counts()["done"] == 1


def test_a_lock_that_its_owner_took_with_it_is_made_anew(tmp_path: Path):
    """Between opening the file and locking it its owner ended: what is locked is a file that no name stands for."""
    path, opened = tmp_path / "a.sqlite", []
    lock = path.with_name("a.sqlite.lock")

    def vanishing(descriptor: int) -> bool:
        opened.append(descriptor)
        if len(opened) == 1:
            lock.unlink()
        return taken(descriptor)

    taken = lock_module._lock
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lock_module, "_lock", vanishing)
        with lock_module.claimed(path):
            assert len(opened) == 2
            assert lock.read_text().startswith(f"process {os.getpid()} on ")
    assert not lock.exists()


@contextlib.contextmanager
def untouchable(folder: Path) -> Iterator[None]:
    """A folder in which nothing can be written, by a user whom that stops."""
    root = os.geteuid() == 0
    inside = [folder, *folder.iterdir()]
    modes = {path: path.stat().st_mode for path in [*inside, *(folder.parents if root else ())]}
    for path in modes:
        # Nobody, who is not the owner, has to get there.
        path.chmod((0o555 if path.is_dir() else 0o444) if path in inside else modes[path] | 0o011)
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        for path, mode in modes.items():
            path.chmod(mode)


@pytest.mark.skipif(os.name == "nt", reason="folders there have no such mode")
@pytest.mark.parametrize("logged", [False, True])
def test_a_store_that_cannot_be_written_is_read(logged: bool, make):
    """At rest; and one whose header speaks of a write-ahead log that was folded in and removed."""
    study = make()
    study.run(limit=4)
    if logged:
        with contextlib.closing(sqlite3.connect(study.store)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
    before = study.store.read_bytes()
    with untouchable(study.store.parent):
        assert Study.open(study.store).status()["done"] == 4
        assert len(study.summary().answer) == 2
        with pytest.raises(StoreError, match=r"cannot write beside .*: Permission denied"):
            study.run()
    assert study.store.read_bytes() == before


@pytest.mark.skipif(os.name == "nt", reason="folders there have no such mode")
def test_rows_in_a_log_that_cannot_be_worked_in_are_not_left_out(make):
    study = make()
    with writing(study.store, study.specification) as store:
        store.add([Outcome(row=study.plan()[0], status="done", outputs={"a": 1.0})])
        log = study.store.with_name("study.sqlite-wal")
        copy = study.store.parent / "copy"
        copy.mkdir()
        for path in (study.store, log):
            shutil.copy(path, copy / path.name)
    with untouchable(copy), pytest.raises(ef.InputError, match=r"the last rows are still in study\.sqlite-wal"):
        Study.open(copy / "study.sqlite")
    assert Study.open(copy / "study.sqlite").status()["done"] == 1


def test_a_read_only_file_is_not_run(make):
    study = make()
    study.run(limit=1)
    study.store.chmod(0o444)
    with contextlib.ExitStack() as stack:
        if os.geteuid() == 0:
            stack.enter_context(pytest.MonkeyPatch.context()).setattr(store_module, "_connect", read_only)
        with pytest.raises(StoreError, match=r"readonly.*intact.*The file is read-only: copy it"):
            study.run()


def read_only(path: Path, options: str = "") -> sqlite3.Connection:
    """What a user without the right to write gets from SQLite."""
    return sqlite3.connect(path.absolute().as_uri() + "?mode=ro", uri=True)


def test_why_rows_failed_is_a_table(make):
    mixed = [{"kind": "random", "d": d, "n": n, "draws": 2} for d, n in ((3, 3), (2, 12))]
    study = make(problems=mixed)
    study.run()
    (row,) = study.failures().rows
    assert (row[1], row[2]) == (2, 0)
    assert "the leave-out optimum is not unique" in row[0]
    assert row[3] == "n = 3, d = 3, draw = 0"  # in what else rows differ, and not in what they agree
    assert study.summary().tables[-1] == study.failures()
    assert study.failures().title in str(study.summary())


def test_a_csv_file_that_is_written_anew_is_read_anew(tmp_path: Path):
    path = tmp_path / "six.csv"
    path.write_text("6,1,0\n5,2,1\n4,3,0.1\n3,4,9\n")
    study = Study(problems=[{"kind": "data", "csv": str(path), "delete": {"by": "index"}}])
    first = question(study.specification, study.plan()[0]).y
    path.write_text("6,1,0\n5,2,1\n4,3,0.1\n3,4,9\n2,2,2\n")
    assert len(question(study.specification, study.plan()[0]).y) == len(first) + 1
