"""Whole processes, from the shell's prompt to the next, as ratios to bare imports in the same run."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

PEERS = {
    "jax": "import jax, diffrax, equinox",
    "all": "import numpy, scipy, jax, diffrax, casadi, matplotlib, sklearn",
}
"""What every program that uses these libraries pays before its first line."""


class Work(NamedTuple):
    """One thing that a user does.

    Attributes:
        name: in words.
        arguments: of the Python interpreter.
        peer: what it is measured by; None where only the wall time counts.
        limit: of the ratio of CPU seconds, or of wall seconds where there is no peer.
        status: the exit status that it must have.
    """

    name: str
    arguments: Sequence[str]
    peer: str | None
    limit: float
    status: int = 0


LOGISTIC = """
import jax, numpy, epsflow as ef
jax.config.update("jax_enable_x64", True)
data = ef.load_dataset("breast_cancer").subsample(100, seed=0)
problem = ef.Problem(ef.LinearModel(30), ef.LogisticLoss(), data, [17], l2=0.1)
ef.optimal_schedule(problem, numpy.zeros(30), s=0.1, T=1.0)
"""

NETWORK = """
import jax, numpy, epsflow as ef
jax.config.update("jax_enable_x64", True)
rng, model = numpy.random.default_rng(3), ef.MLP((1, 3, 1))
x = rng.standard_normal((20, 1))
y = numpy.tanh(2.0 * x[:, 0]) + 0.1 * rng.standard_normal(20)
problem = ef.Problem(model, ef.SquaredLoss(), ef.Dataset(x, y), [3], l2=0.05)
ef.optimal_schedule(problem, model.init(jax.random.key(1)), s=0.1, T=2.6)
"""


def command(*arguments: str) -> list[str]:
    """The command line, as `epsflow` starts it."""
    return ["-m", "epsflow", *arguments]


WORKS = (
    Work("import epsflow", ["-c", "import epsflow"], "jax", 1.15),
    Work("epsflow --help", command("--help"), None, 0.5),
    Work("epsflow optimise --help", command("optimise", "--help"), None, 0.5),
    Work("a wrong option", command("optimise", "--frobnicate"), None, 0.5, 2),
    Work("--budget -1", command("optimise", "--budget", "-1"), None, 0.5, 2),
    Work("T before s", command("optimise", "--s", "3", "-T", "2"), None, 0.5, 2),
    Work("a missing file", command("optimise", "--csv", "nowhere.csv"), None, 0.5, 2),
    Work("an unknown data set", command("optimise", "--data", "iris"), None, 0.5, 2),
    Work("epsflow optimise --quiet", command("optimise", "--quiet"), "all", 2.0),
    Work("the same with --no-check", command("optimise", "--quiet", "--no-check"), "all", 2.0),
    Work("epsflow influence --quiet", command("influence", "--quiet"), "all", 2.0),
    Work("the same, logistic, breast_cancer", command("influence", "--quiet", "--data", "breast_cancer"), "all", 3.0),
    Work("the same, MLP", command("influence", "--quiet", "--model", "mlp"), "all", 4.0),
    Work("optimal_schedule, logistic, 100 × 30", ["-c", LOGISTIC], "all", 5.0),
    Work("optimal_schedule, MLP 1-3-1, 20 points", ["-c", NETWORK], "all", 6.0),
)


class Cost(NamedTuple):
    """What a process took: CPU seconds of it and of its threads, and wall seconds."""

    cpu: float
    wall: float


def run(arguments: Sequence[str], folder: str, status: int = 0) -> Cost:
    """One fresh process."""
    begun, before = time.perf_counter(), os.times()
    ran = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - begun, os.times()
    if ran.returncode != status:
        raise SystemExit(f"{' '.join(arguments)} ended with {ran.returncode}: {ran.stderr}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Cost(cpu, wall)


def least(arguments: Sequence[str], repeat: int, folder: str, status: int = 0) -> Cost:
    """The least of several runs, after one that brings the files into memory."""
    run(arguments, folder, status)
    costs = [run(arguments, folder, status) for _ in range(repeat)]
    return Cost(min(cost.cpu for cost in costs), min(cost.wall for cost in costs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5, help="runs of each process, of which the least counts")
    parser.add_argument("--only", default="", metavar="WORDS", help="only what has these words in its name")
    chosen = parser.parse_args()
    table = Table("process", "CPU, s", "wall, s", "ratio", "limit", title="Start-up, fresh processes")
    with tempfile.TemporaryDirectory() as folder:
        bare = {name: least(["-c", code], chosen.repeat, folder) for name, code in PEERS.items()}
        for name, cost in bare.items():
            table.add_row(PEERS[name], f"{cost.cpu:.2f}", f"{cost.wall:.2f}", "1", "")
        table.add_section()
        for work in WORKS:
            if chosen.only not in work.name:
                continue
            cost = least(work.arguments, chosen.repeat, folder, work.status)
            ratio = "–" if work.peer is None else f"{cost.cpu / bare[work.peer].cpu:.2f}"
            limit = f"{work.limit:g} s wall" if work.peer is None else f"{work.limit:g} × {PEERS[work.peer]}"
            table.add_row(work.name, f"{cost.cpu:.2f}", f"{cost.wall:.2f}", ratio, limit)
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
