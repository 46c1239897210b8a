"""Ctrl-C at any moment: exit status 130, one line that says what was kept, nothing half written, no crash."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from epsflow.cli import _interrupt, _progress
from epsflow.cli._output import write_folder


def interrupted(arguments: tuple[str, ...], after: float, folder: Path) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, which gets SIGINT after some seconds."""
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    # The module itself, as an installed `epsflow` does: only what is ours may be running when the signal comes.
    code = "import sys; from epsflow.cli import main; print('ready', flush=True); sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env={**os.environ, **paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def check(ran: subprocess.CompletedProcess[str], kept: str = "") -> None:
    assert (ran.returncode, ran.stdout) == (130, "")
    last = [line for line in ran.stderr.splitlines() if not line.endswith("s so far)")]
    assert len(last) == 1, ran.stderr
    assert last[0].startswith("epsflow: interrupted; ")
    assert kept in last[0]


def test_during_a_compilation(tmp_path: Path):
    """The first second of an MLP's training is compiling; nothing is unwound through XLA's frames."""
    check(interrupted(("influence", "--model", "mlp"), 2.0, tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("command", [("optimise", "--intervals", "999"), ("influence", "--model", "mlp")])
@pytest.mark.parametrize("after", [0.05, 0.15, 0.3, 0.6, 1.0, 1.5, 2.0])
def test_at_many_moments(command: tuple[str, ...], after: float, tmp_path: Path):
    check(interrupted(command, after, tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("after", [3.0, 5.0])
def test_a_study_tells_its_rows_and_goes_on(after: float, tmp_path: Path):
    ran = interrupted(("study", "run", "step-vs-linear", "--one-by-one", "--quiet"), after, tmp_path)
    check(ran, "of 10120 rows are kept in step-vs-linear.sqlite, and the same command goes on from there")
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".lock"]


@pytest.mark.slow
def test_the_ledger_prints_what_it_has(tmp_path: Path):
    ran = interrupted(("verify", "--quiet"), 6.0, tmp_path)
    assert ran.returncode == 130
    assert "Interrupted: " in ran.stdout
    assert "what had been found is kept" in ran.stderr


def frame_of(module: str):
    """A frame that stands in a module."""
    caught = []
    exec("caught.append(__import__('sys')._getframe())", {"__name__": module, "caught": caught})
    return caught[0]


def test_an_exception_does_not_pass_through_foreign_frames(monkeypatch: pytest.MonkeyPatch):
    again = []
    monkeypatch.setattr(signal, "setitimer", lambda which, seconds: again.append(seconds))
    with _interrupt.working(lambda: "", tidy=True):
        _interrupt._interrupt(signal.SIGINT, frame_of("jax._src.compiler"))
        assert again == [_interrupt.AGAIN]
        with pytest.raises(KeyboardInterrupt):
            _interrupt._interrupt(signal.SIGINT, frame_of("epsflow.claims"))
        assert not _interrupt.WATCH.tidy  # what tidies up is not interrupted
    _interrupt.WATCH.raised.clear()
    _interrupt._interrupt(signal.SIGINT, frame_of("epsflow.claims"))  # nothing to tidy: the thread ends the process


def ended(monkeypatch: pytest.MonkeyPatch) -> str:
    """What the end of the process says, which is not ended here."""
    said, statuses = io.StringIO(), []
    monkeypatch.setattr(sys, "stderr", said)
    monkeypatch.setattr(os, "_exit", statuses.append)
    _interrupt._end()
    _interrupt.WATCH.moving.release()
    assert statuses == [130]
    return said.getvalue()


def test_half_a_result_is_removed_and_its_text_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    kept = tmp_path / "temporary"
    kept.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(kept))
    words = []

    def draw(place: Path) -> None:
        (place / "schedule.pdf").write_bytes(b"half a figure")
        words.append(ended(monkeypatch))
        assert not place.exists()
        place.mkdir()  # the process would be gone; here the work goes on
        (place / "result.json").write_text("{}")

    write_folder(tmp_path / "out", {"result.json": "{}"}, draw)
    (place,) = kept.iterdir()
    assert words == [f"epsflow: interrupted; the figures were not finished. Kept in {place}: result.json.\n"]
    assert (place / "result.json").read_text() == "{}"


def test_after_the_files_are_written_the_line_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with _progress.stages(1, quiet=True) as begin:
        begin("searching", " (advice)")
        assert "nothing was kept after 0 s of work, while searching (advice)." in ended(monkeypatch)
        write_folder(tmp_path / "out", {"result.json": "{}"}, lambda place: None)
        assert f"interrupted; the whole result is in {tmp_path / 'out'}." in ended(monkeypatch)
    assert f"the whole result is in {tmp_path / 'out'}" in ended(monkeypatch)


def test_long_work_tells_its_stage_where_stderr_is_no_terminal(monkeypatch: pytest.MonkeyPatch):
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    monkeypatch.setattr(_progress, "SILENT", 0.01)
    monkeypatch.setattr(_progress, "OFTEN", 0.01)
    with _progress.stages(2, quiet=False) as begin:
        begin("searching the schedules")
        end = time.monotonic() + 10.0
        while said.getvalue().count("searching the schedules (0 s so far)\n") < 2 and time.monotonic() < end:
            time.sleep(0.01)
        assert said.getvalue().count("epsflow: searching the schedules (0 s so far)\n") >= 2
        begin("searching the schedules", "", 10.0)  # --time-limit 10
        while "at most" not in said.getvalue() and time.monotonic() < end:
            time.sleep(0.01)
    assert "searching the schedules (0 s so far, at most 10 s more)\n" in said.getvalue()


def test_short_work_and_quiet_work_say_nothing(monkeypatch: pytest.MonkeyPatch):
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    with _progress.stages(1, quiet=False) as begin:
        begin("reading")
    monkeypatch.setattr(_progress, "SILENT", 0.0)
    with _progress.stages(1, quiet=True) as begin:
        begin("reading")
        time.sleep(0.05)
    assert said.getvalue() == ""
