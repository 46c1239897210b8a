import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

import reference
from epsflow.cli import main

WINDOW = ("--s", "0.05", "--horizon", "0.5", "--reduction", "sum")


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.out)


def run(*arguments: str | Path) -> Ran:
    """The command line, in this process: a new one would compile everything again.

    It does not say that it is still at work, which would depend on how busy the machine is.
    """
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch("epsflow.cli._progress.SILENT", 600.0),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        status = main([str(argument) for argument in arguments])
    return Ran(status, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def command() -> Callable[..., Ran]:
    return run


@pytest.fixture(scope="session")
def table_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six points with two features; without point 4 the optimum switches once."""
    x, y = reference.rows_of(np.array([[1.0, 0.3], [0.3, 0.4]]), np.array([1.0, -0.5]))
    rows = np.column_stack([np.vstack([x, -x, [1.0, -0.8], [0.1, 0.2]]), [*y, *(0.4 - y), 1.5, -2.0]])
    path = tmp_path_factory.mktemp("data") / "six.csv"
    lines = ["width,height,weight", *(",".join(map(repr, row)) for row in rows.tolist())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def question(table_csv: Path) -> tuple[str, ...]:
    """A small problem: d = 2, point 4 deleted, s = 0.05, T = 0.5."""
    return ("--csv", str(table_csv), "--target", "weight", "--delete", "4", *WINDOW)


@pytest.fixture(scope="session")
def solved(question: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> tuple[Ran, Path]:
    """`epsflow optimise` on it, once, and its folder."""
    folder = tmp_path_factory.mktemp("run") / "out"
    return run("optimise", *question, "--intervals", "20", "--out", folder), folder
