"""`epsflow influence`: the endpoints of a deletion, printed and written."""

import json
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="module")
def small(table_csv: Path) -> tuple[str, ...]:
    return ("--csv", str(table_csv), "--delete", "5", "--steps", "50", "--extra-steps", "10")


def test_table_and_files(small, command, tmp_path: Path):
    folder = tmp_path / "out"
    ran = command("influence", *small, "--out", folder)
    assert (ran.status, ran.err) == (0, "")
    assert sorted(path.name for path in folder.iterdir()) == ["endpoints.pdf", "endpoints.png", "result.json"]
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert result["finding"] in ran.out
    for row in result["methods"]:
        assert row["method"] in ran.out


def test_newton_is_exact_and_influence_is_short_by_the_leverage(small, command, table_csv: Path):
    """For least squares: Newton = retraining, influence = (1 − P_jj) of it (an identity of ordinary least squares)."""
    ran = command("influence", *small, "--json")
    rows = {row["method"]: row for row in ran.json["methods"]}
    table = np.loadtxt(table_csv, delimiter=",", skiprows=1)
    x = (table[:, :2] - table[:, :2].mean(axis=0)) / table[:, :2].std(axis=0)
    leverage = x[5] @ np.linalg.solve(x.T @ x, x[5])
    assert rows["Newton step"]["relative error"] < 1e-10
    assert rows["influence"]["relative error"] == pytest.approx(leverage, rel=1e-9)


def test_bad_input(small, command):
    ran = command("influence", *small, "--extra-steps", "60")
    assert ran.status == 2
    assert "0 ≤ K ≤ T is needed" in ran.err
