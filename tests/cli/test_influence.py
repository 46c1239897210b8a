"""`epsflow influence`: the endpoints of a deletion, printed and written."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import epsflow as ef
import reference_models


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


def test_another_solver_is_one_more_row(small, command):
    ran = command("influence", *small, "--solver", "cg", "--json")
    rows = {row["method"]: row for row in ran.json["methods"]}
    exact, found = (rows[f"damped GGN influence{by}, λ_d = 0.001"] for by in ("", " by cg"))
    np.testing.assert_allclose(found["theta"], exact["theta"], rtol=1e-9)  # a residual of 1e-10, twelve points
    ran = command("influence", *small, "--solver", "ekfac")
    assert ran.status == 0
    assert "by ekfac, λ_d = 0.001: no answer: EK-FAC factors a network layer by layer, and a LinearModel" in ran.out


def test_a_budget_of_memory_does_nothing_to_regressions_and_the_help_says_so(small, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    told = "No effect on linear, logistic and softmax regression."
    assert told in " ".join(command("influence", "--help").out.split())
    plain, budgeted = (command("influence", *small, *more, "--json").json for more in ((), ("--max-bytes", "1")))
    assert budgeted["methods"] == plain["methods"]


@pytest.fixture(scope="module")
def classes_csv(tmp_path_factory) -> Path:
    """Twelve points with two features, and a label that a line does not separate."""
    rng = np.random.default_rng(8)
    x = rng.normal(size=(12, 2))
    table = np.column_stack([x, x[:, 0] + rng.normal(size=12) > 0.0])
    path = tmp_path_factory.mktemp("data") / "classes.csv"
    np.savetxt(path, table, delimiter=",", header="a,b,label", comments="")
    return path


def standardised(path: Path, *, labels: bool) -> tuple[np.ndarray, np.ndarray]:
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    x, y = table[:, :-1], table[:, -1]
    return (x - x.mean(axis=0)) / x.std(axis=0), y if labels else (y - y.mean()) / y.std()


def test_logistic_regression_deletes_the_point_of_largest_self_influence(command, classes_csv: Path):
    """θ(1) and θ(0) by Newton's method in NumPy, λ = 1 of the summed risk."""
    ran = command(
        "influence", "--csv", classes_csv, "--model", "logistic", "--steps", "50", "--extra-steps", "10", "--json"
    )
    assert (ran.status, ran.err) == (0, "")
    x, y = standardised(classes_csv, labels=True)
    theta = reference_models.logistic_optimum(x, y, np.ones(12), 1.0)
    chance = 1.0 / (1.0 + np.exp(-x @ theta))
    gradients = x * (chance - y)[:, None]
    hessian = (x.T * (chance * (1.0 - chance))) @ x + np.eye(2)
    own = np.sum(gradients * np.linalg.solve(hessian, gradients.T).T, axis=1)
    problem = ran.json["problem"]
    assert (problem["deleted"], problem["deleted_chosen_by"]) == ([int(np.argmax(own))], "the largest self-influence")
    assert (problem["loss"], problem["l2"]) == ("LogisticLoss", pytest.approx(1.0 / 12.0))
    np.testing.assert_allclose(ran.json["theta_trained"], theta, atol=1e-8)
    without = np.where(np.arange(12) == np.argmax(own), 0.0, 1.0)
    retrained = reference_models.logistic_optimum(x, y, without, 1.0)
    np.testing.assert_allclose(ran.json["methods"][0]["theta"], retrained, atol=1e-8)
    estimates = [row for row in ran.json["methods"] if not row["method"].startswith("retraining")]
    nearest = min(estimates, key=lambda row: row["relative error"])
    assert f"{nearest['method']} is nearest" in ran.json["finding"]


def test_estimates_are_printed_where_retraining_does_not_converge(command, classes_csv, tmp_path, monkeypatch):
    endpoints = ef.analysis.endpoints
    monkeypatch.setattr(ef.analysis, "endpoints", lambda *given, **more: endpoints(*given, **more, max_steps=1))
    asked = ("--csv", classes_csv, "--model", "logistic", "--steps", "50", "--extra-steps", "10", "--delete", "3")
    ran = command("influence", *asked, "--out", tmp_path / "out", "--report", tmp_path / "page")
    assert ran.status == 1
    assert "retraining did not converge (‖∇R_0‖ = " in ran.err
    rows = [line.split() for line in ran.out.splitlines() if line.startswith((" influence ", " Newton step "))]
    assert [row[-4] for row in rows] == ["–", "–"]
    assert "retraining, warm: not converged" in ran.out
    assert "nothing to compare the estimates with" in ran.out
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["result.json"]
    found = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))["methods"]
    assert [(row["relative error"], row["distance"]) for row in found] == [(None, None)] * len(found)
    assert all(np.isfinite(row["theta"]).all() for row in found)
    assert "No figure: retraining" in (tmp_path / "page" / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow  # compiles the training and the endpoints of a network
def test_a_network_is_trained_to_a_minimum_or_stopped_early(command, table_csv: Path, tmp_path: Path):
    options = ("--csv", table_csv, "--model", "mlp", "--hidden", "2", "--seed", "3", "--steps", "40")
    rest = ("--extra-steps", "10", "--l2", "0.2", "--delete", "4")
    x, y = standardised(table_csv, labels=False)
    problem = ef.Problem(ef.MLP((2, 2, 1)), ef.SquaredLoss(), ef.Dataset(x, y), 4, l2=0.2, reduction="mean")
    theta = np.asarray(problem.model.init(jax.random.key(3)))
    for _ in range(40):
        theta = theta - 0.1 * np.asarray(problem.gradient(jnp.asarray(theta)))
    early = command("influence", *options, *rest, "--stop", "early", "--json").json
    np.testing.assert_allclose(early["theta_trained"], theta, atol=1e-12)  # forty additions of order one
    assert early["options"]["widths"] == [2, 2, 1]
    ran = command("influence", *options, *rest, "--out", tmp_path / "out")
    assert (ran.status, ran.err) == (0, "")
    assert "then a minimum" in ran.out
    result = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert np.linalg.norm(problem.gradient(jnp.array(result["theta_trained"]))) < 1e-9


def test_training_that_diverges_is_not_a_result(command, table_csv: Path):
    options = ("--model", "mlp", "--hidden", "2", "--steps", "50", "--extra-steps", "0", "--step-size", "100")
    ran = command("influence", "--csv", table_csv, *options)
    assert (ran.status, ran.out) == (1, "")
    assert "training diverged: 50 steps of gradient descent with η = 100" in ran.err


def test_a_retraining_that_moves_nothing(command, tmp_path: Path):
    """A point on the plane of all others: the answers are 0, and the rounding of a ratio of zeros is no error."""
    path = tmp_path / "fit.csv"
    path.write_text("a,b,y\n1,0,1\n0,1,2\n1,1,3\n2,1,4\n")
    ran = command("influence", "--csv", path, "--delete", "2")
    assert ran.status == 0, ran.err
    assert "Retraining does not move θ" in ran.out
    (row,) = [line.split() for line in ran.out.splitlines() if line.startswith(" influence ")]
    assert row[2] == "–"


def collinear(folder: Path) -> Path:
    """Two columns that differ by 1e-9 of their size."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 3))
    table = np.column_stack([x, x[:, 0] + 1e-9 * rng.normal(size=30), x @ [1.0, 2.0, 3.0] + rng.normal(size=30)])
    path = folder / "near.csv"
    np.savetxt(path, table, delimiter=",", header="a,b,c,twin,y", comments="")
    return path


def test_nearly_collinear_columns_are_named(command, tmp_path: Path):
    named = "warning: columns are nearly collinear along +0.707·a -0.707·twin"
    asked = "--csv", collinear(tmp_path), "--delete", "3"
    assert named in command("influence", *asked).out
    assert f"epsflow: {named}" in command("compare", *asked, "--quiet").err
    (warning,) = command("influence", *asked, "--json").json["warnings"]
    assert "condition 2.5e+09" in warning


@pytest.mark.parametrize(
    ("one", "other"), [("1", "2"), ("-1", "1"), ("0", "5000000"), ("sick", "well"), ("True", "False")]
)
def test_classes_of_any_name_are_numbered(one: str, other: str, command, tmp_path: Path):
    """And named in the heading: which of them is 1 is the order of their values."""
    path = tmp_path / "labels.csv"
    path.write_text("a,y\n" + "".join(f"{x},{one if x in (1, 4) else other}\n" for x in range(6)))
    ran = command("influence", "--csv", path, "--model", "logistic", "--delete", "0", "--json")
    found = ran.json["problem"]
    assert (found["loss"], found["parameters"]) == ("LogisticLoss", 1)
    assert list(map(str, found["classes"])) == sorted([one, other], key=lambda word: (len(word) > 6, word))
