"""What separates retraining from an influence estimate? The five gaps for small networks on up to three data sets.

    python examples/decomposition.py [FOLDER]

FOLDER holds concrete.csv and energy.csv (UCI Machine Learning Repository, the target in the last column, no header);
without it, only diabetes is done. Prints tables and writes decomposition.png into the current folder. A minute or two
per data set.
"""

import sys
from pathlib import Path

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

import epsflow as ef

jax.config.update("jax_enable_x64", True)

DAMPING = 1e-2
POINTS = 20


def early_stopped(data: ef.Dataset) -> tuple[ef.Problem, jax.Array]:
    """A network of 8 hidden neurons, and where the flow from a random start is after 50 units of time."""
    problem = ef.Problem(ef.MLP((data.x.shape[1], 8, 1)), ef.SquaredLoss(), data, l2=1e-2, reduction="mean")
    start = problem.model.init(jax.random.key(0))
    path = ef.gradient_flow(problem, ef.Constant(1.0), start, ts=np.array([50.0]), rtol=1e-8, atol=1e-10)
    return problem, path.end


def show(console: Console, found: ef.Decomposition) -> None:
    table = Table(title=f"{found.name}, {len(found.points)} deletions, damping {float(found.damping):g}")
    for column in ("gap", "outputs", "losses", "parameters", "own loss (signed)", "converged"):
        table.add_column(column, justify="left" if column == "gap" else "right")
    for row in found.rows():
        sizes = (f"{row[space]:.2e}" for space in ("outputs", "losses", "parameters"))
        table.add_row(row["gap"], *sizes, f"{row['functional']:+.2e}", row["converged"])
    console.print(table)
    sizes = found.sizes("outputs").mean(axis=1)
    console.print(
        f"sum of the gaps against the whole difference: {found.closure('outputs'):.1e} relative; the last two gaps are "
        f"{sizes[3:].sum() / sizes[:3].sum():.2g} of the first three, in outputs"
    )
    # What an influence function predicts: the change of each point's own loss, over the deletions.
    own = np.asarray(found.functional)
    for stage, name in ((3, "PBRF"), (1, "warm retraining"), (0, "cold retraining")):
        agreement = np.corrcoef(own[4], own[stage])[0, 1]
        console.print(f"correlation of the damped influence estimate with {name}: {agreement:.3f}")


def main() -> None:
    console = Console(width=110)
    everything = {"diabetes": ef.load_dataset("diabetes")}
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    for name in ("concrete", "energy"):
        if folder is None:
            console.print(f"{name} is left out: no folder was named.")
        else:
            everything[name] = ef.read_csv(folder / f"{name}.csv")
    results = {}
    for name, data in everything.items():
        problem, theta_s = early_stopped(data)
        points = np.random.default_rng(0).choice(data.n, POINTS, replace=False)
        options = {"solver": ef.EKFAC(), "key": jax.random.key(1), "seeds": 3, "points": points}
        # A stage that does not converge is marked in the table and the figure.
        results[name] = ef.decompose(problem, theta_s, damping=DAMPING, throw=False, **options)
        show(console, results[name])
    figure = ef.plots.decomposition(results, kind="shares" if len(results) > 1 else "sizes")
    console.print(f"written: {ef.plots.save(figure, 'decomposition.png')[0]}")


if __name__ == "__main__":
    main()
