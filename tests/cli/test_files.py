"""Where files go: folders that are open, closed or not there yet; and a stdout that is full."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from epsflow import InputError, plots
from epsflow.cli._output import check_folder, write_folder


def draw(place: Path) -> None:
    (place / "schedule.pdf").write_bytes(b"pdf")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


TEXTS = {"result.json": '{"program": "epsflow"}\n'}


def test_a_new_folder_appears_complete(tmp_path: Path):
    folder = tmp_path / "deep" / "er" / "out"
    written = write_folder(folder, TEXTS, draw)
    assert (written.files, written.trouble) == ([folder / "schedule.pdf", folder / "result.json"], None)
    assert names(folder) == ["result.json", "schedule.pdf"]
    assert names(folder.parent) == ["out"]


def test_the_folder_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    check_folder(Path())
    assert write_folder(Path(), TEXTS, draw).files == [Path("schedule.pdf"), Path("result.json")]
    assert names(tmp_path) == ["result.json", "schedule.pdf"]


def test_a_folder_whose_parent_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As a mount point, or a folder of one's own in a system folder: nothing may be made or moved beside it."""
    folder = tmp_path / "mine"
    folder.mkdir()
    make, rename = Path.mkdir, Path.rename

    def closed(path: Path, *arguments, **options):
        if path.parent == tmp_path:
            raise PermissionError(errno.EACCES, "Permission denied")
        return make(path, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", closed)
    monkeypatch.setattr(Path, "rename", lambda path, target: pytest.fail(f"{path} was moved") and rename(path, target))
    check_folder(folder)
    assert write_folder(folder, TEXTS, draw).trouble is None
    assert names(folder) == ["result.json", "schedule.pdf"]


def test_a_folder_that_cannot_be_made_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def closed(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryDirectory", closed)
    with pytest.raises(InputError, match=r"--out .*new cannot be written to \(Permission denied\)"):
        check_folder(tmp_path / "new")


def test_a_name_that_no_folder_can_have(tmp_path: Path):
    with pytest.raises(InputError, match=r"cannot be written to \(File name too long\)"):
        check_folder(tmp_path / ("x" * 300))


def test_what_fails_half_way_leaves_the_old_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder, kept = tmp_path / "out", tmp_path / "temporary"
    kept.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(kept))
    write_folder(folder, {"result.json": "old"}, draw)

    def full(place: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    written = write_folder(folder, {"result.json": "new"}, full)
    assert "No space left on device. Kept in" in str(written.trouble)
    assert (folder / "result.json").read_text() == "old"
    assert names(folder) == ["result.json", "schedule.pdf"]
    (rescue,) = kept.iterdir()
    assert (rescue / "result.json").read_text() == "new"


def test_a_disk_that_fills_up_while_a_figure_is_written_loses_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """By the real writer of figures, which refuses in its own words; no writer of Matplotlib's sees the disk."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    ax = plots.distributions({"all": np.array([0.5, 1.0])}, "ratio")
    written = write_folder(tmp_path / "out", TEXTS, lambda place: plots.save(ax, place / "schedule.pdf"))
    assert str(written.trouble).startswith(f"cannot write to {tmp_path / 'out'}: No space left on device. Kept in")
    (rescue,) = (tmp_path / "temporary").iterdir()
    assert (rescue / "result.json").read_text() == TEXTS["result.json"]
    assert not (tmp_path / "out").exists()


def test_folders_made_for_nothing_go_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tempfile.mkdtemp", lambda **_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))

    def fail(place: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    written = write_folder(tmp_path / "a" / "b", TEXTS, fail)
    assert "Nothing could be kept elsewhere either (full)" in str(written.trouble)
    assert names(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("study", "--help")])
def test_a_full_stdout_is_one_line(arguments: tuple[str, ...]):
    command = [sys.executable, "-m", "epsflow", *arguments]
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with Path("/dev/full").open("w") as full:
        environment = {**os.environ, **paths}
        ran = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment, check=False)
    assert ran.returncode == 1
    assert ran.stderr == "epsflow: error: cannot write to stdout: No space left on device.\n"


def test_completion_installs_and_completes(tmp_path: Path):
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "HOME": str(tmp_path)}
    # Which shell is meant is said here, since a test may have none above it.
    paths["_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"] = "1"
    asked = {"_EPSFLOW_COMPLETE": "complete_bash", "COMP_WORDS": "epsflow opt", "COMP_CWORD": "1"}

    def run(*arguments: str, **environment: str) -> str:
        command = [sys.executable, "-m", "epsflow", *arguments]
        streams = {"capture_output": True, "text": True, "check": False, "env": {**os.environ, **paths, **environment}}
        return subprocess.run(command, **streams).stdout

    assert "bash completion installed" in run("--install-completion", "bash")
    assert list(tmp_path.rglob("epsflow.sh"))
    assert "_EPSFLOW_COMPLETE" in run("--show-completion", "bash")
    assert run(**asked).split() == ["optimise"]
