"""The work of `optimise` and `compare`."""

from pathlib import Path
from typing import Any

import typer

from .._core import ConvergenceError
from ..control import Scope, compare_schedules
from ..plots import panels, schedule
from ..schedules import check_window
from ._console import show, stages
from ._document import answers, heading, schedule_csv, to_json
from ._inputs import Request, choose_points, read_data, starting_point
from ._output import CSV, RESULT, SCHEDULE_FIGURE, check_folder, write_folder
from ._report import finding, table


def run(command: str, request: Request, folder: Path | None, *, as_json: bool, quiet: bool) -> None:
    """Solve, write, print.

    Args:
        command: "optimise", or "compare" for the families alone.
        request: the options.
        folder: where to write; None for nowhere.
        as_json: print the document instead of the table.
        quiet: print the finding only.

    Raises:
        InputError: options that cannot be used; nothing has been written.
        ConvergenceError: nothing was found (and nothing written), or what was found is not verified (and is written
            and printed as such).
    """
    check_window(request.s, request.T, request.bounds)  # cheap, so before anything is read
    if folder is not None:
        check_folder(folder)
    with stages(4, quiet=quiet) as begin:
        begin("reading the data")
        data = read_data(request.source)
        begin("choosing the points and the start")
        deletion = choose_points(request.source, data)
        theta0 = starting_point(request, deletion.problem)
        begin("searching the schedules")
        window = {"s": request.s, "T": request.T, "bounds": request.bounds}
        worth = {"budget": request.budget, "price": request.price}
        # What did not succeed is reported as such, with the best that there is.
        search = {"intervals": request.intervals, "per_point": request.per_point, "time_limit": request.time_limit}
        options: dict[str, Any] = {**search, "throw": False} if command == "optimise" else {"optimum": False}
        comparison = compare_schedules(deletion.problem, theta0, **window, **worth, **options)
        begin("writing")
        result = to_json({**heading(command, request.source, deletion), **answers(request, comparison)})
        files = []
        if folder is not None:
            texts = {RESULT: result + "\n"}
            if comparison.optimum is not None:
                texts[CSV] = schedule_csv(comparison.optimum)
            axes = schedule(comparison, ax=panels(1 if comparison.optimum is None else 2))
            files = write_folder(folder, texts, axes, SCHEDULE_FIGURE)
    if as_json:
        typer.echo(result)
    else:
        show(table(deletion, comparison), finding(comparison), files, quiet=quiet)
    optimum = comparison.optimum
    if optimum is not None and optimum.scope is Scope.NONE:
        why = f": {optimum.trouble}" if optimum.trouble else ", and is reported as such."
        raise ConvergenceError(f"the schedule found is not verified as optimal{why}", comparison)
