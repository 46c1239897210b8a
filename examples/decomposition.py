"""What separates retraining from an influence estimate? The five gaps for a small network on the diabetes data.

Prints a table and writes decomposition.png into the current folder. About a minute on two cores.
"""

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

import epsflow as ef

jax.config.update("jax_enable_x64", True)

DAMPING = 1e-2
POINTS = range(8)


def main() -> None:
    data = ef.load_dataset("diabetes")
    problem = ef.Problem(ef.MLP((10, 8, 1)), ef.SquaredLoss(), data, l2=1e-2, reduction="mean")

    # An early-stopped network: the flow from a random start, for 50 units of time.
    start = problem.model.init(jax.random.key(0))
    path = ef.gradient_flow(problem, ef.Constant(1.0), start, ts=np.array([50.0]), rtol=1e-8, atol=1e-10)
    found = ef.decompose(
        problem, path.end, damping=DAMPING, solver=ef.EKFAC(), key=jax.random.key(1), seeds=3, points=POINTS
    )

    table = Table(title=f"{found.name}, {len(POINTS)} deletions, damping {DAMPING:g}")
    for column in ("gap", "outputs", "losses", "parameters", "own loss (signed)", "converged"):
        table.add_column(column, justify="left" if column == "gap" else "right")
    for row in found.rows():
        sizes = (f"{row[space]:.2e}" for space in ("outputs", "losses", "parameters"))
        table.add_row(row["gap"], *sizes, f"{row['functional']:+.2e}", row["converged"])
    console = Console()
    console.print(table)
    console.print(f"sum of the gaps against the whole difference: {found.closure('outputs'):.1e} relative")

    # What an influence function predicts: the change of each point's own loss, over the deletions.
    own = np.asarray(found.functional)
    for stage, name in ((0, "cold retraining"), (1, "warm retraining"), (3, "PBRF")):
        agreement = np.corrcoef(own[4], own[stage])[0, 1]
        console.print(f"correlation of the damped influence estimate with {name}: {agreement:.3f}")
    console.print(f"written: {ef.plots.save(ef.plots.decomposition(found), 'decomposition.png')[0]}")


if __name__ == "__main__":
    main()
