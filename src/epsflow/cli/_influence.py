"""The work of `influence`: every answer to a deletion beside retraining."""

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.table import Table

from .._core import InputError
from ..analysis import Endpoints, endpoints
from ..plots import endpoints as draw_endpoints, panels
from ..problem import MLP
from ._console import show, stages
from ._document import heading, to_json
from ._inputs import Source
from ._models import Trained, Training, train_model
from ._output import ENDPOINTS_FIGURE, RESULT, check_folder, write_folder
from ._report import new_table

NOTE_WIDTH = 80
"""Letters of a note in the table; --json has all of it."""


@dataclass(frozen=True)
class Request:
    """The options of `influence`, as they were given.

    Attributes:
        source: the data, and what is deleted.
        training: the model, and how it is trained; its damping is λ_d of the damped influence and the PBRF too.
        extra_steps: of gradient descent, for unlearning.
    """

    source: Source
    training: Training
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
    training = request.training
    if request.extra_steps > training.steps:  # cheap, so before anything is trained
        raise InputError(f"--extra-steps {request.extra_steps} are the last of --steps {training.steps}: give fewer.")
    with stages(3, quiet=quiet) as begin:
        begin("training")
        trained = train_model(request.source, training)
        begin("retraining, and estimating it")
        result = endpoints(
            trained.deletion.problem,
            theta_s=trained.theta_s,
            theta0=trained.theta0,
            damping=training.damping,
            T=training.steps,
            K=request.extra_steps,
            step_size=trained.step_size,
        )
        begin("writing")
        document = to_json(
            {**heading("influence", request.source, trained.deletion), **_answers(request, trained, result)}
        )
        files = []
        if folder is not None:
            axes = panels()
            draw_endpoints(result, ax=axes[0])
            files = write_folder(folder, {RESULT: document + "\n"}, axes, ENDPOINTS_FIGURE)
    if as_json:
        typer.echo(document)
    else:
        show(_table(trained, result), finding(result), files, quiet=quiet)


def finding(result: Endpoints) -> str:
    """How far retraining goes, and which estimate of it ends nearest. Retraining by steps is no estimate."""
    moved = float(np.linalg.norm(np.asarray(result.change[0])))
    errors = {
        method: float(error)
        for method, error, done in zip(result.methods, result.relative_error, result.converged, strict=True)
        if done and np.isfinite(error) and not method.startswith("retraining")
    }
    if not errors:
        return f"Retraining moves θ by {moved:.4g}; no other method has an answer."
    best = min(errors, key=errors.__getitem__)
    influence = errors.get("influence")
    said = "" if influence is None else f"the influence function misses {100.0 * influence:.3g} % of that; "
    return f"Retraining moves θ by {moved:.4g}; {said}{best} is nearest, at {100.0 * errors[best]:.3g} %."


def _table(trained: Trained, result: Endpoints) -> Table:
    model = type(trained.deletion.problem.model).__name__
    drawn = new_table(f"{trained.deletion.title}\n{model}, θ_s: {trained.story}")
    drawn.add_column("method", no_wrap=True)
    for name in ("‖change of θ‖", "rel. error", "change of loss", "gradients", "Hv"):
        drawn.add_column(name, justify="right", no_wrap=True)
    drawn.add_column("note", overflow="fold")
    for row in result.rows():
        numbers = f"{row['change']:.4e}", f"{row['relative error']:.3g}", f"{row['functional']:+.4g}"
        costs = f"{row['gradients']:,.0f}", f"{row['Hessian products']:,.0f}"
        note = row["note"] if row["converged"] or row["note"].startswith("no") else f"not converged: {row['note']}"
        drawn.add_row(row["method"], *numbers, *costs, textwrap.shorten(note, NOTE_WIDTH, placeholder=" …"))
    return drawn


def _answers(request: Request, trained: Trained, result: Endpoints) -> dict[str, Any]:
    rows = [{**row, "theta": theta} for row, theta in zip(result.rows(), np.asarray(result.thetas), strict=True)]
    training, problem = request.training, trained.deletion.problem
    network = {"widths": problem.model.widths, "seed": training.seed} if isinstance(problem.model, MLP) else {}
    options = {
        "damping": training.damping,
        "steps": training.steps,
        "extra_steps": request.extra_steps,
        "step_size": trained.step_size,
        **network,
    }
    return {
        "finding": finding(result),
        "options": options,
        "training": trained.story,
        "theta_trained": result.theta_s,
        "methods": rows,
    }
