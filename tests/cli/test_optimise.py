"""`epsflow optimise` and `compare`: what they print and write is the library's answer, whole or not at all."""

import csv
import dataclasses
import functools
import gzip
import json
import shutil
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import reference
from epsflow import ConvergenceError, Scope, Status, control, plots
from epsflow.cli._deletion import choose_points, starting_point
from epsflow.cli._inputs import Architecture, Source, read_material
from epsflow.control.programs import _exponential, _program

FILES = ["result.json", "schedule.csv", "schedule.pdf", "schedule.png"]


@pytest.fixture(scope="module")
def system(table_csv: Path) -> reference.System:
    """The problem in plain NumPy: every column standardised, point 4 deleted."""
    table = np.loadtxt(table_csv, delimiter=",", skiprows=1)
    table = (table - table.mean(axis=0)) / table.std(axis=0)
    return reference.split_system(table[:, :2], table[:, 2], [4])


@pytest.fixture(scope="module")
def result(solved) -> dict:
    return json.loads((solved[1] / "result.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def rows(solved) -> dict[str, np.ndarray]:
    """schedule.csv by column; an empty field is NaN."""
    with (solved[1] / "schedule.csv").open(encoding="utf-8", newline="") as file:
        header, *lines = csv.reader(file)
    return dict(zip(header, np.array([[float(cell or "nan") for cell in line] for line in lines]).T, strict=True))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_says_what_it_found_and_where_it_is(solved, result):
    ran, folder = solved
    assert (ran.status, ran.err) == (0, "")
    for name in ("six (6×2), deleting 4 (named)", "1_[0,s]", "Step", "LinearDecay", "ExponentialDecay", "optimum"):
        assert name in ran.out
    assert result["finding"] in ran.out
    assert f"Written to {folder}: " in ran.out
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert sorted(path.name for path in folder.parent.iterdir()) == ["out"]  # no temporary folder stays


@pytest.mark.parametrize(
    ("command_name", "said"), [("optimise", "which these bounds exclude"), ("compare", "No family keeps")]
)
def test_bounds_that_exclude_the_baseline(command, command_name: str, said: str):
    quick = ["--no-check"] if command_name == "optimise" else []
    ran = command(command_name, "--eps-min", "0.5", "--quiet", "--json", *quick)
    assert ran.status == 0
    assert said in ran.json["finding"]


def test_costs_are_those_of_an_independent_simulation(result, system):
    """Products of matrix exponentials; 1e-9 leaves room for the condition of standardising twice."""
    costs = {row["family"]: row for row in result["schedules"]}
    for family in ("1_[0,s]", "Step"):
        tau = costs[family]["parameters"]["τ"]
        assert costs[family]["cost"] == pytest.approx(reference.step_cost(system, np.zeros(2), tau, 0.5), rel=1e-9)
    end = costs["LinearDecay"]["parameters"]["t₁"]
    expected = reference.linear_decay_cost(system, np.zeros(2), 0.05, end, 0.5)
    assert costs["LinearDecay"]["cost"] == pytest.approx(expected, rel=1e-7)
    assert costs["optimum"]["ratio"] == pytest.approx(costs["optimum"]["cost"] / costs["1_[0,s]"]["cost"])


def test_the_optimum_is_that_of_brute_force(result, system):
    best = reference.bang_bang_optimum(system, np.zeros(2), 0.05, 0.5, max_switches=1)
    # Both polish their switch times to rounding, at which the cost is stationary.
    assert result["optimum"]["cost"] == pytest.approx(best.cost, rel=1e-10)


def test_the_document_names_the_problem_and_its_versions(result):
    assert result["program"] == "epsflow"
    assert result["problem"]["deleted"] == [4]
    assert result["problem"]["features"] == ["width", "height"]
    assert result["problem"]["target"] == "weight"
    assert result["task"]["bounds"] == [0.0, 1.0]
    assert {"epsflow", "jax", "casadi", "time"} <= result["provenance"].keys()


def test_the_csv_integrates_to_the_schedule(rows, result):
    """ε in a row is its value on the interval that ends there, and every jump is a row."""
    total = float(np.sum(rows["eps"][1:] * np.diff(rows["t"])))
    arcs = sum(arc["level"] * (arc["end"] - arc["start"]) for arc in result["optimum"]["arcs"])
    assert total == pytest.approx(0.05 + arcs, abs=1e-12)
    assert result["optimum"]["arcs"][0]["end"] == pytest.approx(0.17505026, abs=1e-8)  # by brute force
    assert (rows["t"][0], rows["t"][-1], rows["eps"][-1]) == (0.0, 0.5, 0.0)


def test_the_csv_ends_at_the_cost(rows, result, system):
    assert 0.5 * rows["distance"][-1] ** 2 == pytest.approx(result["optimum"]["cost"], rel=1e-9)
    start = float(np.linalg.norm(result["task"]["target"]))
    assert rows["distance"][0] == pytest.approx(start, rel=1e-12)


def test_the_csv_shows_why(rows):
    """Where S < 0 the optimum is on, where S > 0 it is off; before s there is no S."""
    early = rows["t"] < 0.05
    assert np.isnan(rows["switching"][early]).all()
    assert not np.isnan(rows["switching"][~early]).any()
    clear = np.abs(rows["switching"]) > 1e-6
    np.testing.assert_array_equal(rows["eps"][clear & ~early] == 1.0, rows["switching"][clear & ~early] < 0.0)


def test_casadi_is_asked_unless_told_not_to(solved, result, question, command, here: Path):
    ran, _ = solved
    check, row = result["check"], result["schedules"][-1]
    assert row["family"] == "CasADi, IPOPT"
    assert row["status"] in ran.out
    assert (check["status"], check["intervals"], check["cost"]) == ("Solve_Succeeded", 20, row["cost"])
    assert result["optimum"]["lower_bound"] <= check["cost"] * (1.0 + 1e-9)
    without = command("optimise", *question, "--intervals", "20", "--no-check", "--json").json
    assert without["check"] is None
    assert without["schedules"][-1]["family"] == "optimum"


def test_a_second_run_replaces_its_own_files(solved, question, command, tmp_path: Path):
    folder = tmp_path / "out"
    shutil.copytree(solved[1], folder)
    (folder / "notes.txt").write_text("mine")
    assert command("compare", *question, "--out", folder).status == 0
    # `compare` makes no schedule.csv, so the old one, which is not part of this result, goes; notes are not ours.
    assert sorted(path.name for path in folder.iterdir()) == [
        "notes.txt",
        "result.json",
        "schedule.pdf",
        "schedule.png",
    ]
    assert json.loads((folder / "result.json").read_text(encoding="utf-8"))["command"] == "compare"


def test_files_of_others_are_left_alone(question, command, tmp_path: Path):
    (tmp_path / "schedule.csv").write_text("theirs")
    ran = command("optimise", *question, "--out", tmp_path)
    assert ran.status == 2
    assert "already has a file schedule.csv that epsflow did not write" in ran.err
    assert [path.read_text() for path in tmp_path.iterdir()] == ["theirs"]


def test_compare_prints_families_and_writes_nothing(question, command, here: Path):
    ran = command("compare", *question)
    assert (ran.status, ran.err) == (0, "")
    assert "LinearDecay" in ran.out
    assert "optimum " not in ran.out
    assert list(here.iterdir()) == []


def test_json_is_all_that_is_printed(question, command, here: Path):
    ran = command("compare", *question, "--json")
    assert (ran.status, ran.err) == (0, "")
    assert [row["family"] for row in ran.json["schedules"]] == [
        "1_[0,s]",
        "Step",
        "LinearDecay",
        "PolynomialDecay",
        "ExponentialDecay",
    ]
    assert ran.json["optimum"] is None
    assert list(here.iterdir()) == []


def test_quiet_prints_one_sentence(question, command, here: Path):
    ran = command("compare", *question, "--quiet")
    (line,) = ran.out.splitlines()
    assert line.startswith(("Of these families", "None of these families"))


def test_starts(question, table_csv: Path):
    """Zero, the trained optimum, or a draw that its seed repeats."""
    source = Source(csv=table_csv, target="weight", delete=["4"], reduction="sum")
    problem = choose_points(source, read_material(source, Architecture()).data).problem

    def start(kind: str, seed: int = 0) -> np.ndarray:
        return np.asarray(starting_point(kind, seed, problem))

    np.testing.assert_array_equal(start("zero"), np.zeros(2))
    np.testing.assert_array_equal(start("random", 3), start("random", 3))
    assert (start("random", 3) != start("random", 4)).all()
    np.testing.assert_allclose(
        problem.gradient(jnp.asarray(start("trained")), 1.0), 0.0, atol=1e-13
    )  # rounding of H θ − b


def test_without_convergence_nothing_is_written(question, command, here: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_, **__):
        raise ConvergenceError("IPOPT failed from all 4 starts (Maximum_Iterations_Exceeded).")

    monkeypatch.setattr(control, "compare_schedules", fail)
    ran = command("optimise", *question)
    assert (ran.status, ran.out) == (1, "")
    assert ran.err == "epsflow: error: IPOPT failed from all 4 starts (Maximum_Iterations_Exceeded).\n"
    assert list(here.iterdir()) == []


def test_a_failure_while_writing_leaves_nothing_there_and_loses_nothing(
    question, command, here: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory
):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    elsewhere = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(plots, "save", full)
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    ran = command("compare", *question, "--out", "here")
    (kept,) = elsewhere.iterdir()
    assert ran.status == 2
    assert ran.err == (f"epsflow: error: cannot write to here: No space left on device. Kept in {kept}: result.json.\n")
    assert list(here.iterdir()) == []
    finding = json.loads((kept / "result.json").read_text(encoding="utf-8"))["finding"]
    assert finding in ran.out


def test_what_is_not_verified_is_not_called_optimal(question, command, here: Path, monkeypatch: pytest.MonkeyPatch):
    solve = control.compare_schedules

    def doubtful(problem, theta0, **options):
        found = solve(problem, theta0, **options)
        optimum = dataclasses.replace(found.optimum, status=Status.UNVERIFIED, scope=Scope.NONE)
        return dataclasses.replace(found, optimum=optimum)

    monkeypatch.setattr(control, "compare_schedules", doubtful)
    ran = command("optimise", *question, "--intervals", "20", "--out", here / "out")
    assert ran.status == 1
    assert "No schedule was verified as optimal" in ran.out
    assert ran.err == "epsflow: error: the schedule found is not verified as optimal, and is reported as such.\n"
    assert json.loads((here / "out" / "result.json").read_text(encoding="utf-8"))["optimum"]["scope"] == "none"


def test_a_budget_binds_the_families_as_well(question, system, command, tmp_path: Path):
    budget = 0.05
    ran = command("optimise", *question, "--budget", budget, "--intervals", "20", "--json", "--out", tmp_path / "out")
    assert (ran.status, ran.err) == (0, "")
    rows = {row["family"]: row for row in ran.json["schedules"]}
    assert all(row["effort"] <= budget * (1.0 + 1e-9) for row in rows.values())
    # Without a budget the best step lasts until 0.175; with it, from 0.05 until 0.1.
    assert rows["Step"]["parameters"]["τ"] == pytest.approx(0.1, abs=1e-7)
    assert rows["Step"]["cost"] == pytest.approx(reference.step_cost(system, np.zeros(2), 0.1, 0.5), rel=1e-6)
    assert ran.json["optimum"]["cost"] <= rows["Step"]["cost"] * (1.0 + 1e-9)
    assert ran.json["optimum"]["multiplier"] > 0.0
    assert ran.json["task"]["budget"] == budget


def test_a_price_is_part_of_what_is_compared(question, command, here: Path):
    ran = command("compare", *question, "--price", "0.1")
    assert (ran.status, ran.err) == (0, "")
    assert "∫|ε| dt" in ran.out
    assert list(here.iterdir()) == []


@pytest.fixture
def uncertified(question, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """A question that goes to IPOPT, and where no certificate could stand in for it, because effort has a price."""
    solve = functools.partial(control.compare_schedules, method="exponential")
    monkeypatch.setattr(control, "compare_schedules", solve)
    return (*question, "--price", "0.01", "--intervals", "20", "--json")


def test_time_is_up(uncertified, command, tmp_path: Path):
    ran = command("optimise", *uncertified, "--time-limit", "1e-6", "--out", tmp_path / "out")
    assert ran.status == 1
    assert "not verified as optimal: the time limit was reached after 1 of the starts" in ran.err
    document = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))["optimum"]
    assert (document["status"], document["scope"]) == ("unverified", "none")
    assert len(document["candidates"]) == 1


def test_ipopt_fails_in_its_own_words(uncertified, command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(_program, "MAX_ITERATIONS", 1)
    _exponential.exponential_program.cache_clear()
    try:
        ran = command("optimise", *uncertified, "--out", tmp_path / "out")
    finally:
        _exponential.exponential_program.cache_clear()
    assert ran.status == 1
    assert "IPOPT failed from all 4 starts (Maximum_Iterations_Exceeded)" in ran.err
    assert ran.json["optimum"]["scope"] == "none"
    # What is reported is no worse than dropping the point at once.
    costs = {row["family"]: row["cost"] for row in ran.json["schedules"]}
    assert ran.json["optimum"]["cost"] <= costs["1_[0,s]"]


@pytest.mark.slow
def test_one_weight_for_each_point(table_csv: Path, command, tmp_path: Path):
    points = ("--delete", "4", "--delete", "5", "--per-point", "--s", "0.2", "-T", "2", "--intervals", "20")
    ran = command("optimise", "--csv", table_csv, *points, "--reduction", "sum", "--out", tmp_path / "out")
    assert ran.status in (0, 1)  # two points have no certificate in general
    header = (tmp_path / "out" / "schedule.csv").read_text(encoding="utf-8").splitlines()[0]
    assert header == "t,eps_4,eps_5,switching_4,switching_5,distance"


@pytest.mark.slow
def test_the_default_question(command, tmp_path: Path):
    """Diabetes, point 382; values from an independent NumPy/SciPy solution with a dual bound (gap below 1e-9)."""
    ran = command("optimise", "--json", "--out", tmp_path / "out")
    assert ran.status == 0
    assert ran.json["problem"]["deleted"] == [382]
    costs = {row["family"]: row["cost"] for row in ran.json["schedules"]}
    assert costs["1_[0,s]"] == pytest.approx(0.00445287653, rel=1e-8)
    assert costs["LinearDecay"] == pytest.approx(0.00208130858, rel=1e-8)
    assert costs["optimum"] == pytest.approx(0.000334361512968, rel=1e-9)
    assert ran.json["optimum"]["scope"] == "global (certified)"
    assert ran.json["optimum"]["arcs"][0]["end"] == pytest.approx(197.66012616, abs=1e-6)


def test_ranges_of_points_and_an_intercept(table_csv: Path, command):
    asked = "compare", "--csv", table_csv, "--s", "0.05", "-T", "0.5", "--reduction", "sum", "--json"
    found = command(*asked, "--delete", "1:3", "--delete", "-1", "--intercept").json
    assert found["problem"]["deleted"] == [1, 2, 5]
    assert found["problem"]["features"] == ["width", "height", "intercept"]
    assert command(*asked, "--delete", "4:").json["problem"]["deleted"] == [4, 5]


def test_a_compressed_table_of_semicolons(table_csv: Path, command, tmp_path: Path):
    """The same numbers, and so the same answer, to the last digit."""
    path = tmp_path / "six.csv.gz"
    path.write_bytes(gzip.compress(table_csv.read_bytes().replace(b",", b";").replace(b".", b",")))
    asked = "--delete", "4", "--s", "0.05", "-T", "0.5", "--reduction", "sum", "--json"
    other = command("compare", "--csv", path, *asked).json
    assert other["schedules"] == command("compare", "--csv", table_csv, *asked).json["schedules"]
