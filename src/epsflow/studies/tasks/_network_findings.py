"""What the rows of the task "networks" say: where schedules end, in pairs with rewind-to-delete, and which they are."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from .._rows import Stored
from .._statistics import Interval, PValue, Share, holm, paired_ratio, student
from ._chosen_schedules import ASCENT, DECAY, OPTIMUM, STEP
from ._findings import Cell, Drawing, Findings, Groups, Table, column, everything
from ._judged_trainings import D2D, R2D, RETRAINED, SCRATCH, TRAINED

WAYS = (RETRAINED, TRAINED, SCRATCH, D2D, R2D, STEP, DECAY, OPTIMUM, ASCENT)
"""In the order of the tables."""

RIVALS = (RETRAINED, SCRATCH, D2D, STEP, DECAY, OPTIMUM, ASCENT)
"""Those that are held against R2D, run by run."""

COMPARED = {"distance": "distance to the retrained models", "gap_forget": "prediction gap on the deleted points"}
"""By which measures."""

PARTS, SIGNIFICANT = 5, 0.05
"""Parts of the window for which a table gives the mean of ε, and the level below which a p is called significant."""

ENDS_NOTE = (
    "Brackets: Student's 95 % intervals of the mean over runs that differ by their seeds. Distance: of θ to the mean "
    "of models retrained from the same start with other batches; gap: total variation between predicted probabilities "
    "and those models' mean ones (of regressions the mean |f − f̄|). Membership: AUC of an attack by the loss, deleted "
    "points against unseen ones with the same labels. Gradients: of single points after the request, in per cent of "
    "retraining's."
)
PAIRS_NOTE = (
    "Geometric means of the ratio to rewind-to-delete (R2D) of the same run, with Student's 95 % intervals of the "
    "mean logarithm. p: of the paired t-test, Holm's over all problems and schedules of the measure; a dash where all "
    "pairs are equal. 'all' speaks of these problems, not of others."
)
CHOICE_NOTE = (
    "Mean ε in each fifth of the steps from s to T; the cost on the seeds on which schedules are chosen, over that of "
    "the best step; and the seconds that choosing took."
)


class Pair(NamedTuple):
    """A schedule against R2D.

    Attributes:
        ratio: geometric mean, with its interval.
        p_value: Holm's.
    """

    ratio: Interval
    p_value: PValue


Pairs = dict[tuple[str, str], Pair]
"""By group and schedule."""


def column_of(measure: str, way: str) -> str:
    """The name of a column of the study's table."""
    return f"{measure}_{way.replace(' ', '_')}"


def network_findings(groups: Groups) -> Findings:
    """Tables, drawings and sentences."""
    problems = {name: rows for name, rows in groups.items() if name != "all"}
    found = {measure: _pairs(groups, measure) for measure in COMPARED}
    answer, drawings = [], []
    for measure, words in COMPARED.items():
        answer.append(_sentence(words, problems, everything(groups), found[measure], measure))
        shown = {way: {name: tuple(found[measure][name, way].ratio) for name in problems} for way in RIVALS}
        drawings.append(
            Drawing(
                name=f"networks-{measure.replace('_', '-')}",
                kind="grouped_intervals",
                caption=f"The {words}, over that of R2D in the same run: geometric means and 95 % intervals.",
                arguments={"values": shown, "label": f"{words}, over R2D's"},
            )
        )
    return Findings(
        answer=tuple(answer),
        tables=(_ends(problems), _against(groups, found), _choices(problems)),
        drawings=tuple(drawings),
    )


def _ends(problems: Groups) -> Table:
    """Means of every measure."""
    measures = ("distance", "gap_forget", "gap", "forget", "retain", "test", "membership")
    body: list[tuple[Cell, ...]] = []
    for name, rows in problems.items():
        whole = column(rows, column_of("gradients", RETRAINED))
        for way in WAYS:
            cells = [student(column(rows, column_of(measure, way))) for measure in measures]
            gradients = float(np.mean(column(rows, column_of("gradients", way)) / whole))
            seconds = float(np.mean(column(rows, column_of("seconds", way))))
            accuracies = [Share(*cell) for cell in cells[3:6]]
            spent = (Share(gradients, np.nan, np.nan), seconds)
            body.append((name, len(rows), way, *cells[:3], *accuracies, cells[6], *spent))
    titles = ("problems", "runs", "schedule", "distance", "gap, deleted", "gap, unseen")
    titles += ("accuracy, deleted", "accuracy, retained", "accuracy, unseen", "membership", "gradients", "seconds")
    return Table(title="Where each schedule ends", columns=titles, rows=tuple(body), note=ENDS_NOTE)


def _pairs(groups: Groups, measure: str) -> Pairs:
    """Every rival against R2D; Holm's correction is over the problems, of which "all" repeats the runs."""
    keys = [(name, way) for name in groups for way in RIVALS]
    raw = {
        (name, way): paired_ratio(*(column(groups[name], column_of(measure, each)) for each in (way, R2D)))
        for name, way in keys
    }
    tests = [key for key in keys if key[0] != "all" or len(groups) == 1]
    adjusted = dict(zip(tests, holm(np.array([raw[key].p_value for key in tests])), strict=True))
    return {key: Pair(each.ratio, PValue(adjusted.get(key, each.p_value))) for key, each in raw.items()}


def _against(groups: Groups, found: dict[str, Pairs]) -> Table:
    body: list[tuple[Cell, ...]] = []
    for name, rows in groups.items():
        for way in RIVALS:
            cells = [cell for measure in COMPARED for cell in found[measure][name, way]]
            body.append((name, len(rows), way, *cells))
    titles = ("problems", "runs", "schedule", "distance over R2D's", "p", "gap over R2D's, deleted", "p of the gap")
    return Table(title="Against rewind-to-delete, run by run", columns=titles, rows=tuple(body), note=PAIRS_NOTE)


def _choices(problems: Groups) -> Table:
    body: list[tuple[Cell, ...]] = []
    for name, rows in problems.items():
        for way in (STEP, DECAY, OPTIMUM, ASCENT):
            weights = rows[0].arrays[column_of("weights", way)]
            parts = np.array_split(weights, min(PARTS, len(weights)))
            levels = ", ".join(f"{round(float(part.mean()), 2) + 0.0:g}" for part in parts)
            cost, least = (float(rows[0].outputs[column_of("cost", each)]) for each in (way, STEP))
            claim, seconds = (rows[0].outputs[column_of(part, way)] for part in ("claim", "choosing"))
            body.append((name, len(rows), way, levels, cost / least if least > 0.0 else np.nan, claim, float(seconds)))
    titles = ("problems", "runs", "schedule", "ε in fifths", "cost over the best step's", "claim", "seconds to choose")
    return Table(title="What was chosen", columns=titles, rows=tuple(body), note=CHOICE_NOTE)


def _sentence(words: str, problems: Groups, rows: list[Stored], found: Pairs, measure: str) -> str:
    """Whether the optimum is nearer than R2D, and on how many problems that is more than chance."""
    parts = []
    for way in (STEP, DECAY, OPTIMUM, ASCENT):
        pairs = [found[name, way] for name in problems]
        nearer, farther = (
            sum(bool(pair.p_value < SIGNIFICANT and sign * np.log(pair.ratio.estimate) < 0.0) for pair in pairs)
            for sign in (1.0, -1.0)
        )
        equal = float(np.mean(_same(rows, measure, way)))
        ratio = found["all" if len(problems) > 1 else next(iter(problems)), way].ratio
        parts.append(
            f"{way} {ratio} (equal to R2D in {equal:.0%} of the runs; significantly nearer on {nearer} and farther on "
            f"{farther} of {len(problems)} problems)"
        )
    return f"The {words}, over R2D's at the same number of gradients: {'; '.join(parts)}."


def _same(rows: list[Stored], measure: str, way: str) -> Float[np.ndarray, " n"]:
    """1 where a schedule ends where R2D does, else 0."""
    first, second = (column(rows, column_of(measure, each)) for each in (way, R2D))
    return (first == second).astype(np.float64)
