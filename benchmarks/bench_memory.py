"""Peak memory of a linear regression on a million points read from a memory map, measured in a fresh process."""

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

N, D = 1_000_000, 50
CHUNK = 50_000
LIMIT = 1e9


def write_data(folder: Path) -> int:
    """Random features and targets, chunk by chunk; returns their size in bytes."""
    rng = np.random.default_rng(0)
    theta = rng.standard_normal(D)
    with (folder / "x.bin").open("wb") as x_file, (folder / "y.bin").open("wb") as y_file:
        for _ in range(N // CHUNK):
            x = rng.standard_normal((CHUNK, D))
            x.tofile(x_file)
            (x @ theta + rng.standard_normal(CHUNK)).tofile(y_file)
    return (folder / "x.bin").stat().st_size + (folder / "y.bin").stat().st_size


def peak_bytes() -> int:
    """High-water mark of this process's resident memory."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def work(folder: Path) -> dict[str, float]:
    """What a user does: the problem, a flow, the two optima."""
    import jax

    jax.config.update("jax_enable_x64", True)
    import epsflow as ef

    imported = peak_bytes()
    x = np.memmap(folder / "x.bin", dtype=np.float64, mode="r", shape=(N, D))
    y = np.fromfile(folder / "y.bin")
    problem = ef.linear_regression(ef.Dataset(x, y, "a million points"), [17, N - 1], reduction="mean")
    path = ef.gradient_flow(problem, ef.Step(2.0), np.zeros(D), ts=np.linspace(0.0, 20.0, 201))
    trained, retained = (ef.equilibrium(problem, eps=eps).theta for eps in (1.0, 0.0))
    effect = float(np.linalg.norm(retained - trained))
    return {"imported": imported, "peak": peak_bytes(), "effect": effect, "error": float(path.error)}


def main() -> None:
    if len(sys.argv) == 2:
        print(json.dumps(work(Path(sys.argv[1]))))
        return
    console = Console()
    with tempfile.TemporaryDirectory() as name:
        size = write_data(Path(name))
        done = subprocess.run([sys.executable, __file__, name], capture_output=True, text=True, check=False)
    if done.returncode:
        console.print(done.stderr)
        sys.exit(done.returncode)
    found = json.loads(done.stdout)
    table = Table("what", "MB", title=f"{N:,} points × {D} features from a memory map")
    table.add_row("the data on disk", f"{size / 1e6:.0f}")
    table.add_row("the process after its imports", f"{found['imported'] / 1e6:.0f}")
    table.add_row("its peak, after problem, flow and both optima", f"{found['peak'] / 1e6:.0f}")
    console.print(table)
    console.print(
        f"Removing two points moves the optimum by {found['effect']:.2e} (rounding of the flow {found['error']:.0e})."
    )
    within = found["peak"] < LIMIT
    console.print(f"Peak {'below' if within else 'above'} {LIMIT / 1e9:.0f} GB.")
    sys.exit(0 if within else 1)


if __name__ == "__main__":
    main()
