"""Bad input: one clear line on stderr, exit status 2, nothing on stdout, nothing written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from epsflow.cli._words import in_options

GOOD = "a,b,y\n1,2,3\n2,1,0\n0,1,1\n1,1,2\n3,0,1\n"
NEVER_READ = ("--csv", "good.csv")

CSV = {
    "missing": (None, "cannot read bad.csv: No such file or directory"),
    "empty": ("", "bad.csv is empty"),
    "ragged": ("a,b,y\n1,2,3\n4,5\n", "bad.csv, line 3: 2 fields where the first line has 3"),
    "words": ("a,b,y\n1,2,3\n4,five,6\n", "line 3, column 'b': 'five' is not a number"),
    "nan": ("a,b,y\n1,2,3\n4,nan,6\n", "line 3, column 'b': NaN or infinity"),
    "inf": ("a,b,y\n1,2,3\n4,5,inf\n", "line 3, column 'y': NaN or infinity"),
    "one column": ("y\n1\n2\n", "bad.csv has one column"),
    "one line": ("a,y\n1,2\n", "at least two points are needed"),
    "not text": (b"\xff\xfe\x00\x01", "bad.csv is not a text file"),
}

OPTIONS = {
    "unknown target": (
        ("--csv", "good.csv", "--target", "z"),
        "unknown target 'z' in good.csv: its columns are a, b, y",
    ),
    "target without file": (("--target", "y"), "--target names a column of a CSV file"),
    "two sources": (("--csv", "good.csv", "--data", "diabetes"), "--data and --csv exclude each other"),
    "unknown data": (("--data", "mnist"), "unknown data set 'mnist': choose one of diabetes, breast_cancer, digits"),
    "class labels": (("--data", "digits", "--model", "linear"), "digits has class labels"),
    "index outside": (("--csv", "good.csv", "--delete", "5"), "5, but the data has 5 points, numbered 0 to 4"),
    "before the first": (
        ("--csv", "good.csv", "--delete", "-6"),
        "contains -6, but the data has 5 points",
    ),
    "no range": (("--csv", "good.csv", "--delete", "3:1"), "--delete 3:1 names no point"),
    "no index": (("--csv", "good.csv", "--delete", "last"), "--delete last is no index"),
    "twice": (("--csv", "good.csv", "--delete", "1", "--delete", "1"), "lists point 1 twice"),
    "all": (("--csv", "good.csv", *(f"--delete={i}" for i in range(5))), "lists all 5 points"),
    "s negative": ((*NEVER_READ, "--s", "-1"), "s is -1; the deletion request cannot arrive before"),
    "T before s": ((*NEVER_READ, "--s", "3", "-T", "2"), "T = 2 must come after s = 3"),
    "T equals s": ((*NEVER_READ, "--s", "3", "--horizon", "3"), "T = 3 must come after s = 3"),
    "s not finite": ((*NEVER_READ, "--s", "nan"), "s is nan; a finite number is needed"),
    "T not finite": ((*NEVER_READ, "--horizon", "inf"), "T is inf; a finite number is needed"),
    "bounds reversed": ((*NEVER_READ, "--eps-min", "1", "--eps-max", "0"), "the bounds of ε are [1, 0]"),
    "bound not finite": ((*NEVER_READ, "--eps-max", "nan"), "the upper bound of ε is nan"),
    "negative penalty": (("--csv", "good.csv", "--l2", "-1"), "l2 is -1; a negative penalty"),
    "penalty not finite": (("--csv", "good.csv", "--l2", "inf"), "l2 is inf"),
    "unknown start": ((*NEVER_READ, "--start", "warm"), "Invalid value for '--start'"),
    "unknown reduction": ((*NEVER_READ, "--reduction", "max"), "Invalid value for '--reduction'"),
    "not a number": ((*NEVER_READ, "--s", "soon"), "Invalid value for '--s'"),
    "negative price": (("--csv", "good.csv", "--delete", "0", "--price", "-1"), "price is -1"),
    "no such budget": (
        ("--csv", "good.csv", "--delete", "0", "--budget", "1", "--eps-min", "0.5"),
        "no schedule meets the budget",
    ),
    "no intervals": ((*NEVER_READ, "--intervals", "0"), "Invalid value for '--intervals'"),
    "negative seed": ((*NEVER_READ, "--seed", "-1"), "Invalid value for '--seed'"),
    "unknown option": (("--frobnicate",), "No such option"),
    "folder is a file": ((*NEVER_READ, "--out", "good.csv"), "--out good.csv is a file; name a folder"),
    "folder in a file": ((*NEVER_READ, "--out", "good.csv/out"), "cannot be written to"),
}


INFLUENCE = {
    "unknown data": (
        ("--data", "mnist"),
        "choose one of diabetes, breast_cancer, digits, wine, iris, or read a CSV file",
    ),
    "labels for linear": (("--data", "wine", "--model", "linear"), "wine has class labels: use --model logistic"),
    "numbers for logistic": (("--model", "logistic"), "diabetes has a number as its target"),
    "damping": (("--damping", "-1"), "Invalid value for '--damping': Input should be greater than or equal to 0"),
    "fractions as labels": (("--csv", "half.csv", "--model", "logistic"), "'y' contains 0.5, which is no class label"),
    "hidden layers of none": (("--hidden", "3"), "--hidden describes a network's layers"),
    "a stop of none": (("--stop", "early"), "--stop describes the training of a network"),
    "an empty layer": (("--model", "mlp", "--hidden", "0"), "Invalid value for '--hidden'"),
    "unknown model": (("--model", "tree"), "Invalid value for '--model'"),
    "unknown stop": (("--model", "mlp", "--stop", "late"), "Invalid value for '--stop'"),
    "more steps than training": (("--steps", "5", "--extra-steps", "6"), "are the last of --steps 5"),
    "no step": (("--csv", "good.csv", "--model", "mlp", "--step-size", "0"), "step_size is 0"),
    "index outside": (("--csv", "good.csv", "--model", "mlp", "--delete", "5"), "5, but the data has 5 points"),
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.csv").write_text(GOOD)
    return tmp_path


def check_refusal(ran, reason: str, here: Path, files: set[str]) -> None:
    assert (ran.status, ran.out) == (2, "")
    # On a busy machine loading JAX takes longer than progress keeps silent.
    (line,) = [line for line in ran.err.splitlines() if not line.endswith("s so far)")]
    assert line.startswith("epsflow: error: ")
    assert reason in ran.err
    assert {path.name for path in here.iterdir()} == files


@pytest.mark.parametrize("case", CSV)
def test_csv(case: str, command, here: Path):
    content, reason = CSV[case]
    files = {"good.csv"}
    if content is not None:
        (here / "bad.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
        files.add("bad.csv")
    check_refusal(command("optimise", "--csv", "bad.csv"), reason, here, files)


@pytest.mark.parametrize("case", OPTIONS)
def test_options(case: str, command, here: Path):
    options, reason = OPTIONS[case]
    check_refusal(command("optimise", *options), reason, here, {"good.csv"})


@pytest.mark.parametrize("case", INFLUENCE)
def test_options_of_influence(case: str, command, here: Path):
    options, reason = INFLUENCE[case]
    (here / "half.csv").write_text("a,y\n1,0\n2,0.5\n3,1\n")
    check_refusal(command("influence", *options), reason, here, {"good.csv", "half.csv"})


def test_rank_deficient_features(command, here: Path):
    """The message names the direction, and what resolves it."""
    (here / "thin.csv").write_text("a,twice,y\n1,2,3\n2,4,0\n0,0,1\n4,8,2\n")
    ran = command("optimise", "--csv", "thin.csv", "--delete", "0")
    check_refusal(ran, "undetermined", here, {"good.csv", "thin.csv"})
    assert "·a" in ran.err
    assert "·twice" in ran.err
    assert ran.err.endswith("Leave a column out, or add --l2.\n")
    assert "RetainedLoss" not in ran.err


def test_rank_deficient_features_have_no_cooks_distance(command, here: Path):
    (here / "thin.csv").write_text("a,twice,y\n1,2,3\n2,4,0\n0,0,1\n4,8,2\n")
    check_refusal(command("optimise", "--csv", "thin.csv"), "l2", here, {"good.csv", "thin.csv"})


def test_a_perfect_fit_has_no_cooks_distance(command, here: Path):
    (here / "line.csv").write_text("a,y\n" + "".join(f"{k},0\n" for k in range(5)))
    check_refusal(command("optimise", "--csv", "line.csv"), "name one with --delete", here, {"good.csv", "line.csv"})


@pytest.mark.parametrize(
    ("advice", "said"),
    [
        ("θ(1) is not unique. Add l2 > 0; or pass the theta that you mean, and damping > 0 where", "--l2."),
        ("Delete fewer points, add l2 > 0, or pass theta0 to pick one.", "Delete fewer points, or add --l2."),
        ("is at infinity). throw=False returns the point reached.", "is at infinity)."),
        ("combine them, or give l2 > 0.", "combine them, or give --l2."),
    ],
)
def test_advice_is_in_options(advice: str, said: str):
    """Whoever types commands can pass neither theta nor throw."""
    assert in_options(advice).endswith(said)
    assert not {"theta", "theta0", "throw"} & set(in_options(advice).replace("=", " ").split())


@pytest.mark.parametrize("arguments", [(), ("optimize",), ("compare", "extra")])
def test_usage(arguments: tuple[str, ...], command, here: Path):
    check_refusal(command(*arguments), "See epsflow --help.", here, {"good.csv"})


def test_a_process_of_its_own(tmp_path: Path):
    """Once through the operating system: exit status, stderr, and float64 switched on by the command line itself."""
    arguments = [sys.executable, "-m", "epsflow", "optimise", "--csv", "nowhere.csv"]
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}  # where this process finds epsflow
    streams = {"capture_output": True, "text": True, "encoding": "utf-8"}
    ran = subprocess.run(arguments, cwd=tmp_path, env={**os.environ, **paths}, check=False, **streams)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "epsflow: error: cannot read nowhere.csv: No such file or directory.\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [("--help",), ("optimise", "--help"), ("influence", "--help"), ("--version",)])
def test_help_and_version(arguments: tuple[str, ...], command):
    ran = command(*arguments)
    assert (ran.status, ran.err) == (0, "")
    assert "epsflow" in ran.out
