"""What a study found: tables with confidence intervals, what its figures show, and the answer in words."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .._core import InputError
from ._specification import Specification
from ._statistics import Interval, bootstrap, compare, percent, tied
from ._store import Stored

SAME = ("draw", "deletion")
"""Inputs that number the runs of a group, rather than tell groups apart."""


class Table(NamedTuple):
    """A title, column names, rows of words, and a note that says what the numbers are."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


class Drawing(NamedTuple):
    """What a figure shows.

    Attributes:
        name: of its file.
        kind: a function of `epsflow.plots`: "distributions", "intervals" or "bands".
        caption: in words.
        arguments: of that function.
    """

    name: str
    kind: str
    caption: str
    arguments: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Summary:
    """What a study found so far.

    Attributes:
        done, failed: rows.
        answer: sentences.
        tables: with 95 % bootstrap intervals.
        drawings: what the figures show.
    """

    done: int
    failed: int
    answer: tuple[str, ...]
    tables: tuple[Table, ...]
    drawings: tuple[Drawing, ...]


Groups = dict[str, list[Stored]]
Parts = tuple[tuple[str, ...], tuple[Table, ...], tuple[Drawing, ...]]


def summarise(specification: Specification, rows: Sequence[Stored]) -> Summary:
    """Tables, drawings and sentences from the rows that are done.

    Raises:
        InputError: none is.
    """
    done = [row for row in rows if row.status == "done"]
    failed = [row for row in rows if row.status == "failed"]
    if not done:
        raise InputError("no row of the study is done yet; run it first.")
    answer, tables, drawings = _SUMMARIES[specification.task](specification, _groups(done))
    if failed:
        kinds: dict[str, int] = {}
        for row in failed:
            kinds[row.error] = kinds.get(row.error, 0) + 1
        listed = sorted(kinds.items(), key=lambda item: -item[1])[:10]
        tables += (Table("Failed rows", ("error", "rows"), tuple((text, str(count)) for text, count in listed)),)
    return Summary(len(done), len(failed), answer, tables, drawings)


def _groups(rows: Sequence[Stored]) -> Groups:
    """Rows by the inputs that tell them apart, in words; and all of them, if there is more than one group."""
    found: Groups = {}
    for row in rows:
        found.setdefault(str(row.inputs["problem"]), []).append(row)
    split: Groups = {}
    for problem, members in found.items():
        names = [name for name in {name: None for row in members for name in row.inputs} if name not in SAME]
        varying = [name for name in names if len({row.inputs.get(name) for row in members}) > 1]
        for row in members:
            parts = [f"{name} = {_short(row.inputs[name])}" for name in varying if name in row.inputs]
            split.setdefault(", ".join([problem, *parts]), []).append(row)
    return {**split, "all": list(rows)} if len(split) > 1 else split


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _column(rows: Sequence[Stored], name: str) -> np.ndarray:
    return np.array([float(row.outputs.get(name, np.nan)) for row in rows])


def _units(rows: Sequence[Stored]) -> list[object]:
    """Rows of one draw are not independent, whatever else differs between them."""
    return [(row.inputs["problem"], row.inputs["draw"], row.inputs["deletion"]) for row in rows]


def _share(rows: Sequence[Stored], mask: np.ndarray) -> Interval:
    return bootstrap(np.asarray(mask, dtype=np.float64), np.nanmean, _units(rows))


NOTE = "Brackets: 95 % bootstrap intervals over problems (1000 resamples, percentiles). Equal: within 1e-9 relative."


def _schedules(specification: Specification, groups: Groups) -> Parts:
    labels = [name.rpartition(":")[2] for name in specification.families]
    tables, drawings = [], []
    for other in labels[1:]:
        table, drawing = _pair(groups, labels[0], other)
        tables.append(table)
        drawings.append(drawing)
    tables.append(_savings(groups, [*labels, *(["optimum"] if specification.optimum else [])]))
    everything = groups.get("all") or next(iter(groups.values()))
    sentences = [_pair_sentence(everything, labels[0], other) for other in labels[1:]]
    if specification.optimum:
        tables.append(_against_optimum(groups, labels[0]))
        drawings.append(_optimal_shares(groups))
        sentences.append(_optimum_sentence(everything, labels[0]))
    return tuple(sentences), tuple(tables), tuple(drawings)


def _pair(groups: Groups, first: str, other: str) -> tuple[Table, Drawing]:
    body, ratios = [], {}
    for name, rows in groups.items():
        a, b = _column(rows, f"cost_{first}"), _column(rows, f"cost_{other}")
        found = compare(a, b, _column(rows, f"error_{first}") + _column(rows, f"error_{other}"), _units(rows))
        shares = map(percent, (found.better, found.equal, found.worse))
        p = "–" if np.isnan(found.p_value) else f"{found.p_value:.2g}" if found.p_value > 0.0 else "< 1e-300"
        body.append((name, str(found.runs), *shares, str(found.ratio), p))
        ratios[name] = np.divide(b, a, out=np.full(len(a), np.inf), where=a > 0.0)
    columns = ("problems", "runs", f"{first} cheaper", "equal", f"{other} cheaper", "median cost ratio", "sign test p")
    table = Table(f"Best {first} against best {other}", columns, tuple(body), NOTE)
    caption = (
        f"How much more the best {other} costs than the best {first}: the share of runs up to each ratio. Left of 1, "
        f"{other} is cheaper."
    )
    drawn = {name: values[np.isfinite(values)] for name, values in ratios.items()}
    axis = f"cost of best {other} / cost of best {first}"
    return table, Drawing(f"{first}-{other}", "distributions", caption, {"values": drawn, "label": axis})


def _savings(groups: Groups, labels: Sequence[str]) -> Table:
    """What the best of each family saves of the cost of 1_[0,s]: the median, and what a tenth of the runs exceeds."""
    body = []
    for name, rows in groups.items():
        baseline, cells = _column(rows, "cost_baseline"), []
        for label in labels:
            cost = _column(rows, f"cost_{label}")
            saved = 1.0 - np.divide(cost, baseline, out=np.ones(len(rows)), where=baseline > 0.0)
            median = percent(bootstrap(saved, np.nanmedian, _units(rows)))
            cells += [median, f"{100.0 * np.nanquantile(saved, 0.9):.1f} %"]
        body.append((name, *cells))
    columns = [words for label in labels for words in (f"{label}: median saved", "a tenth saves more than")]
    return Table("Saved against 1_[0,s]", ("problems", *columns), tuple(body), NOTE)


def _pair_sentence(rows: Sequence[Stored], first: str, other: str) -> str:
    a, b = _column(rows, f"cost_{first}"), _column(rows, f"cost_{other}")
    found = compare(a, b, _column(rows, f"error_{first}") + _column(rows, f"error_{other}"), _units(rows))
    return (
        f"Over {found.runs} runs the best {first} is cheaper than the best {other} in {percent(found.better)}, equal "
        f"in {percent(found.equal)} and dearer in {percent(found.worse)}."
    )


def _optimality(rows: Sequence[Stored], name: str) -> np.ndarray:
    """Where a schedule costs as much as the certified optimum."""
    cost, best = _column(rows, name), _column(rows, "cost_optimum")
    label = name.removeprefix("cost_")
    errors = _column(rows, "error_optimum") + np.nan_to_num(_column(rows, f"error_{label}"))
    # The gap of the certificate is allowed for: within it, cost cannot be told from least cost.
    return _certified(rows) & tied(cost, best, errors + (best - _column(rows, "lower_bound")))


def _certified(rows: Sequence[Stored]) -> np.ndarray:
    return np.array([str(row.outputs.get("scope", "")).startswith("global") for row in rows])


def _against_optimum(groups: Groups, first: str) -> Table:
    body = []
    for name, rows in groups.items():
        best, cost = _column(rows, "cost_optimum"), _column(rows, f"cost_{first}")
        certified = _certified(rows)
        exact = np.array([row.outputs.get("kind") == "exact unlearning" for row in rows])
        usable = certified & ~exact & (best > 0.0)
        some = [row for row, good in zip(rows, usable, strict=True) if good]
        gain = bootstrap((cost / np.where(best > 0.0, best, 1.0))[usable], np.nanmedian, _units(some))
        largest = float((cost[usable] / best[usable]).max()) if usable.any() else float("nan")
        shares = [_share(rows, part) for part in (certified, _optimality(rows, "cost_baseline"))]
        best_step = percent(_share(rows, _optimality(rows, f"cost_{first}")))
        body.append((name, *map(percent, shares), best_step, percent(_share(rows, exact)), str(gain), f"{largest:.4g}"))
    columns = (
        "problems", "certified", "1_[0,s] optimal", f"best {first} optimal", "exact unlearning",
        f"median cost {first} / optimum", "largest",
    )  # fmt: skip
    note = (
        "Certified: a lower bound for every schedule meets the cost to 1e-6. Optimal: certified, and the cost is that "
        f"of the optimum. The ratios leave out exact unlearning, where the optimum is 0. {NOTE}"
    )
    return Table("Against the certified optimum", columns, tuple(body), note)


def _optimal_shares(groups: Groups) -> Drawing:
    shares = {name: tuple(_share(rows, _optimality(rows, "cost_baseline"))) for name, rows in groups.items()}
    caption = "Share of runs in which dropping the point at once, 1_[0,s], is the certified optimum (95 % intervals)."
    return Drawing(
        "drop-at-once", "intervals", caption, {"values": shares, "label": "share of runs where $1_{[0,s]}$ is optimal"}
    )


def _optimum_sentence(rows: Sequence[Stored], first: str) -> str:
    certified = _share(rows, _certified(rows))
    at_once, step = (_share(rows, _optimality(rows, f"cost_{name}")) for name in ("baseline", first))
    return (
        f"The optimum is certified in {percent(certified)} of the runs; it is 1_[0,s] in {percent(at_once)} and a "
        f"{first} in {percent(step)}."
    )


def _rewind(specification: Specification, groups: Groups) -> Parts:
    depths = np.array(specification.depths)
    body, bands = [], {}
    for name, rows in groups.items():
        rewound, descended = (np.stack([row.arrays[key] for row in rows]) for key in ("rewound", "descended"))
        for k, depth in enumerate(depths):
            medians = [f"{np.median(part[:, k]):.3e}" for part in (rewound, descended)]
            nearer = percent(_share(rows, rewound[:, k] < descended[:, k] * (1.0 - 1e-9)))
            body.append((name, str(len(rows)), f"{depth:g}", *medians, nearer))
        if name != "all":
            for word, part in (("R2D", rewound), ("D2D", descended)):
                bands[f"{word}: {name}"] = np.quantile(part, (0.25, 0.5, 0.75), axis=0)
    columns = ("problems", "runs", "K", "median distance, R2D", "median distance, D2D", "R2D nearer")
    table = Table("Distance to retraining after rewinding or descending for K", columns, tuple(body), NOTE)
    everything = groups.get("all") or next(iter(groups.values()))
    wins = _column(everything, "depth_rewind_wins")
    never = int(np.isinf(wins).sum())
    finite = wins[np.isfinite(wins)]
    middle = f"the median least such K is {np.median(finite):g}" if len(finite) else "there is no such K"
    sentence = (
        f"In {len(everything) - never} of {len(everything)} runs rewinding by some K in the study, and by all larger "
        f"ones, ends nearer to the leave-out optimum than descending for K; {middle}."
    )
    caption = "Distance to the leave-out optimum against K: medians, with quartiles shaded."
    arguments = {"x": depths, "values": bands, "xlabel": "K", "ylabel": "distance to the leave-out optimum"}
    return (sentence,), (table,), (Drawing("rewind-depth", "bands", caption, arguments),)


def _influence(specification: Specification, groups: Groups) -> Parts:
    names = [name.replace(" ", "_") for name in specification.estimators]
    body, values = [], {}
    for group, rows in groups.items():
        errors = np.stack([_column(rows, f"error_{name}") for name in names])
        nearest = np.argmin(np.where(np.isnan(errors), np.inf, errors), axis=0)
        for k, name in enumerate(names):
            good = np.isfinite(errors[k])
            some = [row for row, fine in zip(rows, good, strict=True) if fine]
            error = bootstrap(errors[k][good], np.nanmedian, _units(some))
            cosine = bootstrap(_column(some, f"cosine_{name}"), np.nanmedian, _units(some))
            body.append((group, str(len(rows)), name, str(error), str(cosine), percent(_share(rows, nearest == k))))
            values[f"{group}: {name}"] = tuple(error)
    columns = ("problems", "runs", "estimator", "median relative error", "median cosine", "nearest")
    table = Table("Estimates of θ(0) − θ(1) against retraining", columns, tuple(body), NOTE)
    everything = groups.get("all") or next(iter(groups.values()))
    medians = {name: float(np.nanmedian(_column(everything, f"error_{name}"))) for name in names}
    best = min(medians, key=medians.__getitem__)
    listed = ", ".join(f"{name} {value:.2g}" for name, value in medians.items())
    sentence = f"Median relative errors over {len(everything)} runs: {listed}; {best} is nearest to retraining."
    caption = "Median relative error of each estimate (95 % intervals); 1 is as good as doing nothing."
    drawing = {"values": values, "label": "median relative error", "log": True}
    return (sentence,), (table,), (Drawing("influence-error", "intervals", caption, drawing),)


def _exact(specification: Specification, groups: Groups) -> Parts:
    body, shares = [], {}
    for name, rows in groups.items():
        reached = _column(rows, "reached") > 0.5
        share = _share(rows, reached)
        some = [row for row, good in zip(rows, reached, strict=True) if good]
        time = bootstrap(_column(some, "time") - np.array([float(row.inputs["s"]) for row in some]), np.nanmedian)
        certified = percent(_share(rows, _column(rows, "certified") > 0.5))
        body.append((name, str(len(rows)), percent(share), certified, str(time)))
        shares[name] = tuple(share)
    columns = ("problems", "runs", "reached exactly", "certified", "median time after s")
    table = Table("Exact unlearning", columns, tuple(body), NOTE)
    everything = groups.get("all") or next(iter(groups.values()))
    share = _share(everything, _column(everything, "reached") > 0.5)
    sentence = (
        f"The leave-out optimum is reached exactly, in finite time, in {percent(share)} of {len(everything)} runs."
    )
    caption = "Share of runs in which the leave-out optimum can be reached exactly within T (95 % intervals)."
    drawing = Drawing("exact", "intervals", caption, {"values": shares, "label": "share of runs that reach it exactly"})
    return (sentence,), (table,), (drawing,)


_SUMMARIES: dict[str, Callable[[Specification, Groups], Parts]] = {
    "schedules": _schedules,
    "rewind": _rewind,
    "influence": _influence,
    "exact": _exact,
}
