"""`epsflow influence`: every answer to a deletion beside retraining."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core, analysis, plots, problem
from . import _options as options
from ._console import Column, Row, Table, show
from ._inputs import Source, Training, read_material
from ._output import ENDPOINTS_FIGURE, RESULT, check_folder, write_folder
from ._page import answer_page, check_page, write_page
from ._progress import stages
from ._words import INFLUENCE_WORDS

if TYPE_CHECKING:
    from ..analysis import Endpoints
    from ._models import Trained

ROUNDING = 1e-12
"""A relative change of θ below this is none."""


@dataclass(frozen=True)
class Solving:
    """How the linear systems are solved, as it was given.

    Attributes:
        solver: of one more row, the damped influence by it; None for none.
        matrix: whether matrices of the parameters may be formed.
        max_bytes: memory for intermediate arrays of a model that is not linear; without effect on one that is.
    """

    solver: options.InfluenceSolver = None
    matrix: options.Matrix = True
    max_bytes: options.MaxBytes = None


def influence(
    source: Source,
    training: Training,
    solving: Solving,
    out: options.InfluenceFolder = None,
    report: options.PageFolder = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """The endpoints and the table; files only where asked."""
    run(source, training, solving, folder=out, report=report, as_json=as_json, quiet=quiet)


def run(
    source: Source,
    training: Training,
    solving: Solving,
    *,
    folder: Path | None,
    report: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Check, compute, write, print.

    Args:
        source, training, solving: the options.
        folder, report: where to write the files, and the page; None for nowhere.
        as_json: print the document instead of the table.
        quiet: print the finding only.

    Raises:
        InputError: options that cannot be used; nothing has been computed. Or the files could not be written, after
            what was found has been printed.
        ConvergenceError: training failed, and nothing is printed; or retraining did, with which everything is compared,
            and the estimates are written and printed without a comparison.
    """
    training.refuse()
    if folder is not None:
        check_folder(folder)
    if report is not None:
        check_page(report, "influence")
    with stages(4, quiet=quiet) as begin:
        begin("reading the data")
        material = read_material(source, training, training.stop)
        begin("training")
        from ._deletion import warnings  # from here on JAX is needed
        from ._document import heading, to_json
        from ._models import train_model

        trained = train_model(source, training, material)
        begin("retraining, and estimating it")
        result = analysis.endpoints(
            trained.deletion.problem,
            theta=trained.theta_s,
            theta0=trained.theta0,
            damping=training.damping,
            steps=training.steps,
            K=training.extra_steps,
            step_size=trained.step_size,
            matrix=solving.matrix,
            max_bytes=solving.max_bytes,
            solver=solving.solver,
            throw=False,
        )
        begin("writing")
        document = to_json({**heading("influence", source, trained.deletion), **_answers(training, trained, result)})
        written = write_folder(folder, {RESULT: document + "\n"}, lambda place: _draw(result, place))
        drawn, found = _table(trained, result), _finding(trained, result)
        notes, told = _notes(result), warnings(trained.deletion.problem)
        paged = write_page(report, "" if report is None else _page(result, drawn, found, [*notes, *told]))
    if as_json:
        print(document)
    else:
        files = [*written.files, *paged.files]
        show(drawn, found, files, quiet=quiet, notes=notes, warnings=told, words=INFLUENCE_WORDS)
    for trouble in (written.trouble, paged.trouble):
        if trouble is not None:
            raise trouble
    if not result.converged[0]:
        reached = result.notes[0].partition(":")[0]
        raise _core.ConvergenceError(
            f"retraining did not converge ({reached}), and nothing is compared with it. A larger --l2 may help.", result
        )


def _axes(result: "Endpoints") -> Any:
    axes = plots.panels()
    plots.endpoints(result, ax=axes[0])
    return axes


def _page(result: "Endpoints", drawn: Table, found: str, notes: list[str]) -> str:
    figure = {"svg": "", "caption": "No figure: retraining, with which answers are compared, did not converge."}
    if result.converged[0]:
        figure = {"svg": plots.to_svg(_axes(result)), "caption": "How far each answer ends from retraining."}
    return answer_page("influence", drawn, found, notes=notes, words=INFLUENCE_WORDS, **figure)


def _draw(result: "Endpoints", place: Path) -> None:
    if result.converged[0]:
        plots.save(_axes(result), *(place / name for name in ENDPOINTS_FIGURE))


def _unmoved(trained: "Trained", result: "Endpoints") -> bool:
    """Whether retraining changes no entry of θ by more than rounding does."""
    task, allowed = trained.deletion.problem, ROUNDING * np.abs(np.asarray(result.theta))
    if task.design is not None:
        allowed = allowed + 2.0 * task.leave_out.error
    return bool((np.abs(np.asarray(result.change[0])) <= allowed).all())


def _finding(trained: "Trained", result: "Endpoints") -> str:
    """How far retraining goes, and which estimate of it ends nearest. Retraining by steps is no estimate."""
    if not result.converged[0]:
        return (
            "Retraining did not converge, so that there is nothing to compare the estimates with; the table has what "
            "each of them answers."
        )
    moved = float(np.linalg.norm(np.asarray(result.change[0])))
    if _unmoved(trained, result):
        return (
            f"Retraining does not move θ (by {moved:.1g}, which is rounding): the optimum is the same without these "
            "points, so the right answer is 0, and there is no relative error."
        )
    errors = {
        method: float(error)
        for method, error, done in zip(result.methods, result.relative_error, result.converged, strict=True)
        if done and np.isfinite(error) and not method.startswith("retraining")
    }
    if not errors:
        return f"Retraining moves θ by {moved:.4g}; no other method converged."
    best = min(errors, key=errors.__getitem__)
    influence = errors.get("influence")
    said = "" if influence is None else f"the influence function misses {100.0 * influence:.3g} % of that; "
    return f"Retraining moves θ by {moved:.4g}; {said}{best} is nearest, at {100.0 * errors[best]:.3g} %."


def _table(trained: "Trained", result: "Endpoints") -> Table:
    model = type(trained.deletion.problem.model).__name__
    numbers = ("‖change of θ‖", "rel. error", "change of loss", "gradients", "Hv")
    columns = [Column("method"), *(Column(name, number=True) for name in numbers)]
    classes = trained.deletion.problem.data.classes
    labels = f", classes {', '.join(map(str, classes))}" if classes else ""
    drawn = Table(f"{trained.deletion.title}{labels}\n{model}, θ_s: {trained.story}", columns)
    compared = bool(result.converged[0]) and not _unmoved(trained, result)
    for row in result.rows():
        error = "–" if not compared else f"{row['relative error']:.3g}"
        changes = f"{row['change']:.4e}", error, f"{row['functional']:+.4g}"
        costs = f"{row['gradients']:,.0f}", f"{row['Hessian products']:,.0f}"
        drawn.rows.append(Row((row["method"], *changes, *costs)))
    return drawn


def _notes(result: "Endpoints") -> list[str]:
    """How exact each answer is, or why there is none; and in what pieces they were computed."""
    notes = [] if result.chunks is None else [f"memory: {result.chunks}"]
    for row in result.rows():
        told = row["converged"] or row["note"].startswith("no")
        notes.append(f"{row['method']}: {row['note'] if told else 'not converged: ' + row['note']}")
    return notes


def _answers(training: Training, trained: "Trained", result: "Endpoints") -> dict[str, Any]:
    rows = [{**row, "theta": theta} for row, theta in zip(result.rows(), np.asarray(result.thetas), strict=True)]
    if not result.converged[0]:
        rows = [{**row, "distance": np.nan, "relative error": np.nan} for row in rows]
    model = trained.deletion.problem.model
    network = {"widths": model.widths, "seed": training.seed} if isinstance(model, problem.MLP | problem.CNN) else {}
    asked = {
        "damping": training.damping,
        "steps": training.steps,
        "extra_steps": training.extra_steps,
        "step_size": trained.step_size,
        **network,
    }
    return {
        "finding": _finding(trained, result),
        "options": asked,
        "training": trained.story,
        "theta_trained": result.theta,
        "chunks": None if result.chunks is None else asdict(result.chunks),
        "methods": rows,
    }
