"""Rows of a study as stacks of problems, beside the same rows one by one: runs per second, and how far they agree.

    python benchmarks/bench_studies.py [--rows 2000] [--single 20]

Same rows, same process, in seconds of processor time, so that other work on the machine does not count. The ratio is
what carries over to another machine.
"""

import argparse
import time

import jax
from rich.console import Console
from rich.table import Table

from epsflow.studies import Specification, ready_made
from epsflow.studies._compute import run_rows, run_stack
from epsflow.studies._plan import plan

jax.config.update("jax_enable_x64", True)

COSTS = ("cost_baseline", "cost_Step", "cost_LinearDecay", "cost_optimum")


def specification(d: int, optimum: bool, rows: int) -> Specification:
    problems = [{"kind": "random", "d": d, "n": 40, "outlier": [0.0, 3.0], "draws": rows // 2}]
    return ready_made("step-vs-linear", problems=problems, optimum=optimum)


def disagreement(first: dict, second: dict) -> float:
    """Largest relative difference of a cost; of the optimum only where both certified it."""
    names = [name for name in COSTS if name in first and (name != "cost_optimum" or first["scope"] == second["scope"])]
    return max(abs(first[name] - second[name]) / (abs(second[name]) + 1e-18) for name in names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2000, help="rows computed as stacks")
    parser.add_argument("--single", type=int, default=20, help="of them, rows computed one by one")
    arguments = parser.parse_args()
    columns = (
        "one by one, runs per CPU s",
        "stacks, runs per CPU s",
        "ratio",
        "by the stack alone",
        "largest difference",
    )
    table = Table("rows", *columns)
    for d in (2, 10):
        for optimum in (False, True):
            asked = specification(d, optimum, arguments.rows)
            rows = plan(asked)
            spread = rows[:: len(rows) // arguments.single][: arguments.single]
            run_rows(asked, spread)  # compiles
            run_stack(asked, rows[:2])
            begin = time.process_time()
            single = run_rows(asked, spread)
            alone = len(spread) / (time.process_time() - begin)
            begin = time.process_time()
            stacked = [outcome for k in range(0, len(rows), 250) for outcome in run_stack(asked, rows[k : k + 250])]
            together = len(rows) / (time.process_time() - begin)
            by_place = {outcome.row.place: outcome.outputs for outcome in stacked}
            worst = max(disagreement(by_place[one.row.place], one.outputs) for one in single)
            share = sum(outcome.outputs.get("found_by", "stack") == "stack" for outcome in stacked) / len(stacked)
            name = f"step and linear decay{', certified optimum' if optimum else ''}, d = {d}"
            ratio = f"{together / alone:.0f}"
            table.add_row(name, f"{alone:.1f}", f"{together:.0f}", ratio, f"{share:.0%}", f"{worst:.1e}")
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
