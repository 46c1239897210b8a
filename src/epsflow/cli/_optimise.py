"""`epsflow optimise` and `epsflow compare`: which ε(t) unlearns the points best?"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import _core, control, plots
from . import _options as options
from ._console import Table, show
from ._inputs import WINDOWS, Architecture, Moves, Question, Search, Source, read_material
from ._output import CSV, RESULT, SCHEDULE_FIGURE, check_folder, write_folder
from ._page import answer_page, check_page, write_page
from ._progress import stages
from ._words import SCHEDULE_WORDS

if TYPE_CHECKING:
    from ..control import Comparison
    from ._schedule_question import Posed

DEFAULT_FOLDER = Path("epsflow-optimise")
ADVICE = " (--time-limit SECONDS ends the search with the best so far)"


def optimise(
    source: Source,
    asked: Architecture,
    moves: Moves,
    question: Question,
    search: Search,
    out: options.OptimiseFolder = None,
    report: options.PageFolder = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """The optimum, the families, the table and the files."""
    folder = DEFAULT_FOLDER if out is None and not as_json else out
    options_given = Options(source, asked, moves, question, search)
    run("optimise", options_given, folder, report, as_json=as_json, quiet=quiet)


def compare(
    source: Source,
    asked: Architecture,
    moves: Moves,
    question: Question,
    out: options.CompareFolder = None,
    report: options.PageFolder = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """The families and the table; files only where asked."""
    run("compare", Options(source, asked, moves, question, Search()), out, report, as_json=as_json, quiet=quiet)


@dataclass(frozen=True)
class Options:
    """What was typed.

    Attributes:
        source, asked, moves: the data, the model, and how it is trained.
        question, search: of the schedules.
    """

    source: Source
    asked: Architecture
    moves: Moves
    question: Question
    search: Search

    def refuse(self) -> None:
        """Refuse, before anything is read, what no problem could have.

        Raises:
            InputError: naming it.
        """
        steps = self.moves.optimiser not in (None, "flow")
        self.question.window(WINDOWS["steps" if steps else "linear"])
        self.search.refuse()


def run(command: str, given: Options, folder: Path | None, report: Path | None, *, as_json: bool, quiet: bool) -> None:
    """Check, solve, write, print.

    Args:
        command: "optimise", or "compare" for the families alone.
        given: the options.
        folder, report: where to write the files, and the page; None for nowhere.
        as_json: print the document instead of the table.
        quiet: print the finding only.

    Raises:
        InputError: options that cannot be used; nothing has been computed. Or the files could not be written, after
            what was found has been printed.
        ConvergenceError: nothing was found (and nothing written), or what was found is not verified (and is written
            and printed as such).
    """
    given.refuse()
    if folder is not None:
        check_folder(folder)
    if report is not None:
        check_page(report, command)
    with stages(4, quiet=quiet) as begin:
        begin("reading the data")
        material = read_material(given.source, given.asked)
        begin("choosing the points and the start")
        from . import _document, _report  # from here on JAX is needed
        from ._deletion import warnings
        from ._schedule_question import pose

        posed = pose(given.source, given.asked, given.question, given.moves, given.search, material)
        intention = _report.intention(command, posed)
        if sys.stderr.isatty() and not (quiet or as_json):
            print(f"\n{intention}", file=sys.stderr)  # stdout is for answers, and there may be none
            intention = ""
        advice = ADVICE if command == "optimise" else ""
        begin("searching the schedules", advice, given.search.time_limit)
        comparison = _compared(command, given, posed)
        begin("writing")
        heading = _document.heading(command, given.source, posed.deletion)
        document = _document.to_json({**heading, **_document.answers(given.question, posed, comparison)})
        texts = {RESULT: document + "\n"}
        if comparison.optimum is not None and folder is not None:
            texts[CSV] = _document.schedule_csv(comparison.optimum, posed)
        written = write_folder(folder, texts, lambda place: _draw(comparison, place))
        drawn, found = _report.table(posed, comparison), _report.finding(comparison)
        told = warnings(posed.deletion.problem)
        paged = write_page(report, "" if report is None else _page(command, comparison, drawn, found, told))
    if as_json:
        print(document)
    else:
        files = [*written.files, *paged.files]
        show(drawn, found, files, quiet=quiet, intention=intention, warnings=told, words=SCHEDULE_WORDS)
    for trouble in (written.trouble, paged.trouble):
        if trouble is not None:
            raise trouble
    optimum = comparison.optimum
    if optimum is not None and optimum.scope is control.Scope.NONE:
        why = f": {optimum.trouble}" if optimum.trouble else ", and is reported as such."
        raise _core.ConvergenceError(f"the schedule found is not verified as optimal{why}", comparison)


def _compared(command: str, given: Options, posed: "Posed") -> "Comparison":
    question, search = given.question, given.search
    asked = {"s": posed.s, "T": posed.T, "bounds": question.bounds, **posed.training}
    worth = {"budget": question.budget, "price": question.price}
    # What did not succeed is reported as such, with the best that there is.
    chosen = {"intervals": posed.intervals, "per_point": search.per_point, "time_limit": search.time_limit}
    wanted: dict[str, Any] = (
        {**chosen, "check": posed.check, "throw": False} if command == "optimise" else {"optimum": False}
    )
    return control.compare_schedules(posed.deletion.problem, posed.theta0, **asked, **worth, **wanted)


def _axes(comparison: "Comparison") -> Any:
    return plots.schedule(comparison, ax=plots.panels(1 if comparison.optimum is None else 2))


def _draw(comparison: "Comparison", place: Path) -> None:
    plots.save(_axes(comparison), *(place / name for name in SCHEDULE_FIGURE))


def _page(command: str, comparison: "Comparison", drawn: Table, found: str, told: list[str]) -> str:
    caption = "The weight ε(t) of the deleted points by the best of each family"
    if comparison.optimum is not None:
        caption += ", and of all schedules; below, the switching function, whose sign says where ε is least and largest"
    figure = {"svg": plots.to_svg(_axes(comparison)), "caption": f"{caption}."}
    return answer_page(command, drawn, found, notes=told, words=SCHEDULE_WORDS, **figure)
