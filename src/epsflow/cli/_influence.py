"""The work of `influence`: every answer to a deletion beside retraining."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.table import Table

from ..analysis import Endpoints, endpoints
from ..plots import endpoints as draw_endpoints, panels
from ._console import show, stages
from ._document import heading, to_json
from ._inputs import Deletion, Source, choose_points, read_data
from ._output import ENDPOINTS_FIGURE, RESULT, check_folder, write_folder
from ._report import new_table


@dataclass(frozen=True)
class Request:
    """The options of `influence`, as they were given.

    Attributes:
        source: what is trained.
        damping: λ_d of the damped influence and the PBRF.
        steps, extra_steps: of gradient descent, in training and for unlearning.
    """

    source: Source
    damping: float
    steps: int
    extra_steps: int


def run(request: Request, folder: Path | None, *, as_json: bool, quiet: bool) -> None:
    """Compute, write, print.

    Args:
        request: the options.
        folder: where to write; None for nowhere.
        as_json: print the document instead of the table.
        quiet: print the finding only.

    Raises:
        InputError: options that cannot be used; nothing has been written.
        ConvergenceError: retraining, which everything is compared with, failed.
    """
    if folder is not None:
        check_folder(folder)
    with stages(3, quiet=quiet) as begin:
        begin("reading the data")
        deletion = choose_points(request.source, read_data(request.source))
        begin("retraining, and estimating it")
        result = endpoints(deletion.problem, damping=request.damping, T=request.steps, K=request.extra_steps)
        begin("writing")
        document = to_json({**heading("influence", request.source, deletion), **_answers(request, result)})
        files = []
        if folder is not None:
            axes = panels()
            draw_endpoints(result, ax=axes[0])
            files = write_folder(folder, {RESULT: document + "\n"}, axes, ENDPOINTS_FIGURE)
    if as_json:
        typer.echo(document)
    else:
        show(_table(deletion, result), finding(result), files, quiet=quiet)


def finding(result: Endpoints) -> str:
    """How far retraining goes, and which estimate of it ends nearest."""
    moved = float(np.linalg.norm(np.asarray(result.change[0])))
    errors = np.where(result.converged, np.asarray(result.relative_error), np.nan)[1:]
    if not np.isfinite(errors).any():
        return f"Retraining moves θ by {moved:.4g}; no other method has an answer."
    best = int(np.nanargmin(errors))
    influence = errors[result.methods.index("influence") - 1]
    said = f"the influence function misses {100.0 * influence:.3g} % of that" if np.isfinite(influence) else ""
    nearest = f"{result.methods[1 + best]} is nearest, at {100.0 * errors[best]:.3g} %"
    return f"Retraining moves θ by {moved:.4g}; {said + '; ' if said else ''}{nearest}."


def _table(deletion: Deletion, result: Endpoints) -> Table:
    drawn = new_table(deletion.title)
    drawn.add_column("method", no_wrap=True)
    for name in ("‖change of θ‖", "relative error", "gradients", "Hv products"):
        drawn.add_column(name, justify="right", no_wrap=True)
    drawn.add_column("note", overflow="fold")
    for row in result.rows():
        numbers = f"{row['change']:.4e}", f"{row['relative error']:.3g}"
        costs = f"{row['gradients']:,.0f}", f"{row['Hessian products']:,.0f}"
        note = row["note"] if row["converged"] else f"not converged: {row['note']}"
        drawn.add_row(row["method"], *numbers, *costs, note)
    return drawn


def _answers(request: Request, result: Endpoints) -> dict[str, Any]:
    rows = [{**row, "theta": theta} for row, theta in zip(result.rows(), np.asarray(result.thetas), strict=True)]
    options = {"damping": request.damping, "steps": request.steps, "extra_steps": request.extra_steps}
    return {"finding": finding(result), "options": options, "theta_trained": result.theta_s, "methods": rows}
