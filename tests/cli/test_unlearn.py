"""`epsflow unlearn`: the table, the document, the figure, and what is refused."""

import json
from pathlib import Path

import pytest

import epsflow as ef


@pytest.fixture(scope="module")
def small(table_csv: Path) -> tuple[str, ...]:
    return ("--csv", str(table_csv), "--delete", "5", "--l2", "0.1", "--steps", "30", "-K", "6", "--draws", "3")


def test_table_and_files(small, command, tmp_path: Path):
    folder = tmp_path / "out"
    ran = command("unlearn", *small, "--out", folder)
    assert (ran.status, ran.err) == (0, "")
    assert sorted(path.name for path in folder.iterdir()) == ["result.json", "unlearning.pdf", "unlearning.png"]
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert result["finding"].split(";")[0] in ran.out
    assert [row["algorithm"] for row in result["algorithms"]] == [
        "retrain",
        "D2D",
        "R2D",
        "ascent",
        "Newton",
        "certified removal",
        "Langevin",
        "noisy SGD",
        "clipped",
    ]
    assert [curve["algorithm"] for curve in result["curves"]] == ["D2D", "R2D"]
    for row in result["algorithms"]:
        assert row["algorithm"] in ran.out
        assert row["distance"] <= row["bound"] * (1 + 1e-9) + 1e-12


def test_the_document_holds_what_the_library_certifies(small, command, table_csv: Path):
    ran = command("unlearn", *small, "--scope", "per instance", "--json")
    row = next(row for row in ran.json["algorithms"] if row["algorithm"] == "R2D")
    data = ef.read_csv(table_csv).standardise()
    problem = ef.linear_regression(data, [5], l2=0.1, reduction="mean")
    alone = ef.certify_unlearning(
        problem, ef.RewindToDelete(steps=30, unlearning_steps=6), epsilon_dp=1.0, delta_dp=1e-5
    )
    assert row["sigma"] == pytest.approx(alone.sigma, rel=1e-12)
    assert row["conventions"] == list(alone.conventions)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--epsilon-dp", "0"), "epsilon_dp is 0"),
        (("--delta-dp", "1"), "delta_dp is 1"),
        (("--steps", "5", "-K", "6"), "K > T"),
        (("--step-size", "-1"), "step_size is -1"),
        (("--step-size", "50"), "above its limit 2/smoothness = "),
        (("--radius", "0"), "radius is 0"),
        (("--scope", "always"), "Invalid value for '--scope'"),
    ],
)
def test_bad_options_are_one_line(small, command, arguments, words):
    ran = command("unlearn", *small, *arguments)
    assert ran.status == 2
    assert ran.out == ""
    assert ran.err.count("\n") == 1
    assert words in ran.err
