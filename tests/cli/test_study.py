"""`epsflow study`: run, show, export, report; exit statuses."""

import json
from pathlib import Path

import pytest

TOML = """
s = 1.0
T = 6.0
branching = 10
[[problems]]
kind = "random"
n = 12
d = 2
draws = 5
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(TOML)
    return tmp_path


def test_a_study_from_run_to_report(command, here: Path):
    first = command("study", "run", "mine.toml", "--limit", "2")
    assert (first.status, first.err) == (0, "")
    assert first.out.startswith("2 rows done and 0 failed")
    assert "3 are left. mine.sqlite" in first.out
    assert command("study", "resume", "mine.sqlite").out.startswith("3 rows done and 0 failed")
    shown = command("study", "show", "mine.sqlite")
    assert "mine: 5 of 5 rows done, 0 failed, 0 pending" in shown.out
    assert "Over 5 runs the best Step is cheaper" in shown.out
    state = command("study", "show", "mine.sqlite", "--json").json
    assert state["rows"] == {"total": 5, "done": 5, "failed": 0, "pending": 0}
    assert len(state["answer"]) == 2
    assert command("study", "export", "mine.sqlite", "mine.csv").out == "Written: mine.csv\n"
    assert len((here / "mine.csv").read_text().splitlines()) == 6
    again = command("study", "export", "mine.sqlite", "mine.csv")
    assert (again.status, again.out) == (2, "")
    assert "mine.csv exists" in again.err
    assert command("study", "export", "mine.sqlite", "mine.csv", "--overwrite").status == 0
    reported = command("study", "report", "mine.sqlite")
    assert reported.out.startswith("Written: mine-report/report.html\n")
    assert all(Path(line.removeprefix("Written: ")).is_file() for line in reported.out.splitlines())


def test_failed_rows_are_exit_status_one(command, here: Path):
    (here / "mine.toml").write_text(TOML.replace("n = 12", "n = 2"))
    ran = command("study", "run", "mine.toml")
    assert ran.status == 1
    assert ran.out.startswith("0 rows done and 5 failed")
    assert "5 rows have failed; epsflow study show mine.sqlite says why, --retry-failed tries them again" in ran.err
    shown = " ".join(command("study", "show", "mine.sqlite").out.split())
    assert "0 of 5 rows done, 5 failed" in shown
    assert "the leave-out optimum is not unique" in shown
    (failure,) = command("study", "show", "mine.sqlite", "--json").json["failures"]
    assert (failure["rows"], failure["place"], failure["inputs"]["n"]) == (5, 0, 2)
    assert "the leave-out optimum is not unique" in failure["error"]


def test_another_study_in_the_store(command, here: Path):
    command("study", "run", "mine.toml", "--limit", "1")
    (here / "mine.toml").write_text("seed = 8\n" + TOML)
    ran = command("study", "run", "mine.toml")
    assert (ran.status, ran.out) == (2, "")
    assert "seed: 0 in the store, 8 now" in ran.err
    assert ran.err.count("\n") == 1
    assert command("study", "run", "mine.toml", "--limit", "1", "--force-new").out.endswith("mine-2.sqlite\n")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("run", "nothing"), "'nothing' is neither a TOML file nor one of the studies step-vs-linear"),
        (("run", "absent.toml"), "cannot read absent.toml: No such file or directory"),
        (("run", "mine.toml", "--runner", "cloud"), "unknown runner 'cloud'"),
        (("show", "mine.toml.sqlite"), "cannot read mine.toml.sqlite"),
        (("resume", "mine.toml"), "mine.toml is not a study's store"),
        (("export", "mine.toml", "a.csv"), "mine.toml is not a study's store"),
        (("frobnicate",), "No such command"),
    ],
)
def test_bad_input(arguments: tuple[str, ...], reason: str, command, here: Path):
    ran = command("study", *arguments)
    assert (ran.status, ran.out) == (2, "")
    assert reason in ran.err
    assert ran.err.count("\n") == 1
    assert {path.name for path in here.iterdir()} == {"mine.toml"}


def test_list_and_show(command):
    listed = command("study", "list", "--json").json
    assert next(iter(listed)) == "step-vs-linear"
    assert "10,120" in command("study", "list").out
    shown = json.loads(command("study", "show", "exact-unlearning").out)
    assert shown["task"] == "exact"
