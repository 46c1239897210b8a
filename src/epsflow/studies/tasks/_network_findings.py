"""What the rows of the task "networks" say: where schedules end, in pairs with rewind-to-delete, and which they are."""

from typing import NamedTuple

import numpy as np

from .._rows import Stored
from .._statistics import Interval, PValue, Share, holm, paired_ratio, student
from ._chosen_schedules import ASCENT, CONSTANT, DECAY, OPTIMUM, STEP
from ._findings import Cell, Drawing, Findings, Groups, Table, column, everything
from ._judged_trainings import D2D, R2D, RETRAINED, SCRATCH, TRAINED

WAYS = (RETRAINED, TRAINED, SCRATCH, D2D, R2D, STEP, DECAY, OPTIMUM, CONSTANT, ASCENT)
"""In the order of the tables."""

RIVALS = (RETRAINED, SCRATCH, D2D, STEP, DECAY, OPTIMUM, CONSTANT, ASCENT)
"""Those that are held against R2D, run by run."""

DRAWN = tuple(way for way in RIVALS if way != SCRATCH)
"""Those of figures: a new network may be so far off that nothing else could be told apart."""

COMPARED = {"distance": "distance to the retrained models", "gap_forget": "prediction gap on the deleted points"}
"""By which measures."""

SCORES = ("forget", "retain", "test")

PARTS, SIGNIFICANT = 5, 0.05
"""Parts of the window for which a table gives the mean of ε, and the level below which a p is called significant."""

ENDS_NOTE = (
    "Brackets: Student's 95 % intervals of the mean over runs that differ by their seeds. Distance: of θ to the mean "
    "of models retrained from the same start with other batches; gap: total variation between predicted probabilities "
    "and those models' mean ones (of regressions the mean |f − f̄|); accuracy: R² of regressions. Membership: AUC of "
    "an attack by the loss, deleted points against unseen ones with the same labels. Gradients: of single points after "
    "the request, in per cent of retraining's."
)
PAIRS_NOTE = (
    "Geometric means of the ratio to rewind-to-delete (R2D) of the same run, with Student's 95 % intervals of the "
    "mean logarithm. p: of the paired t-test, Holm's over all problems and schedules of the measure ('all': without "
    "it); a dash where all pairs are equal. Membership: mean difference of the AUC to that of the model retrained with "
    "the same seed. 'all' speaks of these problems, not of others."
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
    found = {measure: _pairs(groups, measure, RIVALS, R2D) for measure in COMPARED}
    answer, drawings = [], []
    for measure, words in COMPARED.items():
        alone = _pairs(groups, measure, (ASCENT,), CONSTANT)
        ways = [_judged(way, problems, found[measure], _same(groups, measure, way, R2D)) for way in RIVALS[3:]]
        answer.append(f"The {words}, over R2D's at the same number of gradients: {'; '.join(ways)}.")
        answer.append(f"Over the best constant's: {_judged(ASCENT, problems, alone)}.")
        shown = {
            way: {name.replace("delete = ", ""): tuple(found[measure][name, way].ratio) for name in problems}
            for way in DRAWN
        }
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
    body: list[tuple[Cell, ...]] = []
    for name, rows in problems.items():
        whole = column(rows, column_of("gradients", RETRAINED))
        for way in WAYS:
            sizes = [_mean(rows, measure, way, most=np.inf) for measure in ("distance", "gap_forget", "gap")]
            least = 0.0 if all(row.outputs["score"] == "accuracy" for row in rows) else -np.inf
            scores = [Share(*_mean(rows, measure, way, least=least)) for measure in SCORES]
            gradients = float(np.mean(column(rows, column_of("gradients", way)) / whole))
            spent = (Share(gradients, np.nan, np.nan), float(np.mean(column(rows, column_of("seconds", way)))))
            body.append((name, len(rows), way, *sizes, *scores, _mean(rows, "membership", way), *spent))
    titles = ("problems", "runs", "schedule", "distance", "gap, deleted", "gap, unseen")
    titles += ("accuracy, deleted", "accuracy, retained", "accuracy, unseen", "membership", "gradients", "seconds")
    return Table(title="Where each schedule ends", columns=titles, rows=tuple(body), note=ENDS_NOTE)


def _mean(rows: list[Stored], measure: str, way: str, *, least: float = 0.0, most: float = 1.0) -> Interval:
    """Student's interval, less what the measure cannot be."""
    found = student(column(rows, column_of(measure, way)))
    low, high = np.clip([found.low, found.high], least, most)
    return Interval(found.estimate, float(low), float(high))


def _pairs(groups: Groups, measure: str, ways: tuple[str, ...], base: str) -> Pairs:
    """Every way against one of them; Holm's correction is over the problems, of which "all" repeats the runs."""
    keys = [(name, way) for name in groups for way in ways]
    raw = {
        (name, way): paired_ratio(*(column(groups[name], column_of(measure, each)) for each in (way, base)))
        for name, way in keys
    }
    tests = [key for key in keys if key[0] != "all"]
    adjusted = dict(zip(tests, holm(np.array([raw[key].p_value for key in tests])), strict=True))
    return {key: Pair(each.ratio, PValue(adjusted.get(key, each.p_value))) for key, each in raw.items()}


def _against(groups: Groups, found: dict[str, Pairs]) -> Table:
    body: list[tuple[Cell, ...]] = []
    for name, rows in groups.items():
        retrained = column(rows, column_of("membership", RETRAINED))
        for way in RIVALS:
            cells = [cell for measure in COMPARED for cell in found[measure][name, way]]
            more = student(column(rows, column_of("membership", way)) - retrained)
            body.append((name, len(rows), way, *cells, more))
    titles = ("problems", "runs", "schedule", "distance over R2D's", "p", "gap over R2D's, deleted", "p of the gap")
    titles += ("membership less retrained's",)
    return Table(title="Against rewind-to-delete, run by run", columns=titles, rows=tuple(body), note=PAIRS_NOTE)


def _choices(problems: Groups) -> Table:
    body: list[tuple[Cell, ...]] = []
    for name, rows in problems.items():
        for way in (STEP, DECAY, OPTIMUM, CONSTANT, ASCENT):
            weights = rows[0].arrays[column_of("weights", way)]
            parts = np.array_split(weights, min(PARTS, len(weights)))
            levels = ", ".join(f"{round(float(part.mean()), 2) + 0.0:g}" for part in parts)
            cost, least = (float(rows[0].outputs[column_of("cost", each)]) for each in (way, STEP))
            claim, seconds = (rows[0].outputs[column_of(part, way)] for part in ("claim", "choosing"))
            body.append((name, len(rows), way, levels, cost / least if least > 0.0 else np.nan, claim, float(seconds)))
    titles = ("problems", "runs", "schedule", "ε in fifths", "cost over the best step's", "claim", "seconds to choose")
    return Table(title="What was chosen", columns=titles, rows=tuple(body), note=CHOICE_NOTE)


def _judged(way: str, problems: Groups, found: Pairs, equal: float = 0.0) -> str:
    """The ratio over all runs, and on how many problems it is below, or above, 1 by more than chance."""
    told = [pair.ratio.estimate for pair in (found[name, way] for name in problems) if pair.p_value < SIGNIFICANT]
    below, above = sum(ratio < 1.0 for ratio in told), sum(ratio > 1.0 for ratio in told)
    ratio = found["all" if len(problems) > 1 else next(iter(problems)), way].ratio
    same = f"equal in {equal:.0%} of the runs, " if equal else ""
    return f"{way} {ratio} ({same}significantly below on {below} and above on {above} of {len(problems)} problems)"


def _same(groups: Groups, measure: str, way: str, base: str) -> float:
    """The share of the runs in which two schedules end at the same place."""
    first, second = (column(everything(groups), column_of(measure, each)) for each in (way, base))
    return float(np.mean(first == second))
