"""`epsflow attribute`: the table, the document, the figure, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

import epsflow as ef


@pytest.fixture(scope="module")
def small(table_csv: Path) -> tuple[str, ...]:
    return ("--csv", str(table_csv), "--l2", "0.1", "--steps", "40", "--groups", "8")


def test_table_and_files(small, command, tmp_path: Path):
    folder = tmp_path / "out"
    ran = command("attribute", *small, "--method", "newton", "--method", "density", "--out", folder)
    assert ran.status == 0
    assert sorted(path.name for path in folder.iterdir()) == ["attribution.pdf", "attribution.png", "result.json"]
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert result["finding"].split(";")[0] in ran.out
    assert [row["method"] for row in result["methods"]] == ["newton", "density"]
    assert [row["gradients"] for row in result["methods"]] == [len(result["points"]), None]
    assert "null for methods along training" in result["gradients"]
    assert len(result["points"]) == len(result["exact"]) == len(result["scores"]["density"])


def test_scores_are_those_of_the_library(small, command, table_csv: Path):
    ran = command("attribute", *small, "--method", "density", "--method", "influence", "--json")
    data, rows = ef.read_csv(table_csv).standardise(), ran.json["points"]
    held = np.setdiff1d(np.arange(data.n), rows)
    problem = ef.linear_regression(ef.Dataset(data.x[rows], data.y[rows]), l2=0.1, reduction="mean")
    losses = ef.Losses(problem.model, problem.loss, data.x[held], data.y[held])
    T = 40 / np.linalg.eigvalsh(problem.hessian(np.zeros(problem.dim), 1.0))[-1]
    ask = {"ts": np.array([0.0, T]), "functional": losses}
    density = ef.influence_density(problem, ef.Constant(1.0), np.zeros(problem.dim), **ask)
    expected = density.removal().change.mean(axis=1)
    np.testing.assert_allclose(ran.json["scores"]["density"], expected, rtol=1e-9, atol=1e-15)
    influence = ef.influence(problem, points="all", functional=losses).change.mean(axis=1)
    np.testing.assert_allclose(ran.json["scores"]["influence"], influence, rtol=1e-9, atol=1e-15)


@pytest.mark.slow
def test_a_network_and_classes(command):
    methods = "--method", "density", "--method", "tracin"
    ran = command("attribute", "--data", "wine", "--model", "mlp", "--hidden", "2", *methods, "--steps", "50", "--json")
    assert ran.status == 0
    assert [row["method"] for row in ran.json["methods"]] == ["density", "tracin"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--method", "guess"), "unknown method 'guess'"),
        (("--held-out", "0"), "--held-out 0 is no share"),
        (("--held-out", "0.999"), "points to train on"),
        (("--steps", "0"), "--steps is 0"),
        (("--delete", "1"), "leave it out"),
        (("--groups", "1"), "Invalid value for '--groups'"),
        (("--data", "wine", "--csv", "x.csv"), "exclude each other"),
    ],
)
def test_refusals(command, arguments, words):
    ran = command("attribute", *arguments)
    assert ran.status == 2
    assert words in ran.err
    assert ran.out == ""
