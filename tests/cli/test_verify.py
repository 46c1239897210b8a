"""`epsflow verify`: the table, the report, the exit status."""

from collections.abc import Callable
from pathlib import Path

import pytest

from epsflow import claims as room
from epsflow.claims import Claim, Evidence, Kind, Measurement, _ledger
from epsflow.claims._trial import Trial


def stop(trial):
    raise KeyboardInterrupt


@pytest.fixture
def claims(monkeypatch: pytest.MonkeyPatch):
    """Makes the command run on made-up claims."""

    def use(*chosen: Claim) -> None:
        for module in (_ledger, room):
            monkeypatch.setattr(module, "choose", lambda only, section: chosen)

    return use


def made(name: str, kind: Kind, residual: float = 0.0, check: Callable[[Trial], Evidence] | None = None) -> Claim:
    measured = Measurement(
        residual=residual, bound=1e-11, tolerance=1e-10, reason="made up", where="nowhere", instances=1
    )
    evidence = Evidence(written=measured, counterexample={"x": 1})
    return Claim(
        id=name,
        section="A section",
        source="somewhere",
        statement="One is one.",
        as_written="1 = 1",
        corrected="",
        expected=kind,
        check=check or (lambda trial: evidence),
    )


def test_one_real_claim(command, tmp_path: Path):
    ran = command("verify", "--only", "projection", "--report", tmp_path / "report")
    assert ran.status == 0, ran.err
    assert "projection" in ran.out
    assert "1 claims of the notes: 1 hold." in ran.out
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == ["ledger.html", "ledger.md"]


def test_json(command, claims):
    claims(made("a", Kind.HOLDS))
    ran = command("verify", "--json")
    assert ran.json["claims"][0]["verdict"] == "holds"
    assert ran.json["command"] == "verify"
    assert ran.json["provenance"]["jax"]


def test_another_verdict_than_expected_is_status_1(command, claims):
    claims(made("a", Kind.HOLDS), made("b", Kind.HOLDS, residual=1.0))
    ran = command("verify")
    assert ran.status == 1
    assert "refuted (expected: holds)" in ran.out
    assert "Not as expected: b." in ran.out


def test_an_interruption_keeps_the_table(command, claims, tmp_path: Path):
    claims(made("a", Kind.HOLDS), made("b", Kind.HOLDS, check=stop))
    ran = command("verify", "--report", tmp_path)
    assert ran.status == 130
    assert "Interrupted: 1 claims were not checked, from b on." in ran.out
    assert "Interrupted" in (tmp_path / "ledger.md").read_text(encoding="utf-8")


def test_unknown_ids_suggest_the_nearest(command):
    ran = command("verify", "--only", "bang-bag")
    assert ran.status == 2
    assert "the nearest is 'bang-bang'" in ran.err


def test_a_report_folder_is_checked_before_any_work(command, claims, tmp_path: Path):
    claims(made("a", Kind.HOLDS, check=stop))  # would end with status 130
    (tmp_path / "taken").write_text("mine", encoding="utf-8")
    ran = command("verify", "--report", tmp_path / "taken")
    assert ran.status == 2
    assert "is a file" in ran.err
    (tmp_path / "ledger.html").write_text("<title>of someone else</title>", encoding="utf-8")
    ran = command("verify", "--report", tmp_path)
    assert ran.status == 2
    assert "did not write" in ran.err
