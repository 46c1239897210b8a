"""The task "schedules": the cost of 1_[0,s], of the best member of each family, and of the certified optimum."""

import importlib
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float
from pydantic import Field

from ... import schedules
from ..._core import Array, InputError
from ...control import (
    LinearBatch,
    ScheduleSolution,
    baseline_costs,
    best_in_family,
    best_linear_decays,
    best_steps,
    certified_optima,
    optimal_schedule,
)
from ...flow import equilibrium, gradient_flow
from ...problem import Problem
from ...schedules import AbstractSchedule, Step
from .._rows import Row, Stored, Value
from .._specification import Axis, Specification
from .._statistics import Interval, Share, bootstrap, compare, tied
from ._findings import NOTE, Drawing, Findings, Groups, Table, column, everything, picked, share_of, units
from ._task import AbstractStackedTask, Answer

FAMILIES = ("Step", "LinearDecay", "PolynomialDecay", "ExponentialDecay")
SEARCHES = {"Step": (best_steps, "tau"), "LinearDecay": (best_linear_decays, "t1")}
"""Families that are searched for a stack at a time, and what their number is called."""
ASCII = {"τ": "tau", "t₁": "t1"}
"""What the numbers of families are called in a table's columns."""


class SchedulesSpecification(Specification):
    """A study of schedules.

    Attributes:
        families: names of `epsflow` classes, or "module:Class" of yours.
        optimum: whether to seek the certified optimum.
        branching: nodes spent on a lower bound where the residual's sign is mixed; 0 for none.
    """

    task: str = "schedules"
    families: Axis[str] = ("Step", "LinearDecay")
    optimum: bool = True
    branching: Annotated[int, Field(ge=0)] = 400


class Schedules(AbstractStackedTask[SchedulesSpecification]):
    """Which schedule forgets a point best."""

    specification: ClassVar[type[Specification]] = SchedulesSpecification

    def check(self, specification: SchedulesSpecification) -> None:
        """As `AbstractTask`."""
        for family in specification.families:
            if family not in FAMILIES and ":" not in family:
                raise InputError(f"families: {family!r} is none of {', '.join(FAMILIES)}; yours is 'module:Class'.")

    def one(
        self, specification: SchedulesSpecification, row: Row, problem: Problem, theta0: Float[Array, " d"]
    ) -> Answer:
        """As `AbstractTask`."""
        window: dict[str, Any] = {"s": row.inputs["s"], "T": row.inputs["T"], "bounds": specification.bounds}
        outputs: dict[str, Value] = {"cost_baseline": _baseline(problem, theta0, row)}
        for name in specification.families:
            best = best_in_family(problem, family_of(name), theta0, **window)
            label = _label(name)
            outputs |= {f"cost_{label}": best.cost, f"error_{label}": best.cost_error}
            outputs |= {f"{ASCII.get(number, number)}_{label}": value for number, value in best.parameters.items()}
        if specification.optimum:
            best = optimal_schedule(problem, theta0, **window, throw=False)
            outputs |= _optimum_columns(best)
        return Answer(outputs)

    def stackable(self, specification: SchedulesSpecification) -> bool:
        """As `AbstractStackedTask`: the batched searches know steps and linear decays between 0 and 1."""
        return specification.bounds == (0.0, 1.0) and all(name in SEARCHES for name in specification.families)

    def stack(
        self, specification: SchedulesSpecification, rows: Sequence[Row], batch: LinearBatch
    ) -> list[Answer | None]:
        """As `AbstractStackedTask`."""
        baseline = baseline_costs(batch)
        bests = {name: SEARCHES[name][0](batch) for name in specification.families}
        optima = None
        if specification.optimum:
            optima = certified_optima(batch, nodes=specification.branching, steps=bests.get("Step"))
        answers: list[Answer | None] = []
        for k in range(len(rows)):
            if not all(bool(best.resolved[k]) for best in bests.values()):
                answers.append(None)
                continue
            outputs: dict[str, Value] = {"cost_baseline": float(baseline[k])}
            for name, best in bests.items():
                outputs[f"cost_{name}"] = float(best.costs[k])
                outputs[f"error_{name}"] = float(best.errors[k])
                outputs[f"{SEARCHES[name][1]}_{name}"] = float(best.times[k])
            if optima is not None:
                outputs |= {
                    "cost_optimum": float(optima.costs[k]),
                    "error_optimum": float(optima.errors[k]),
                    "lower_bound": float(optima.lower_bounds[k]),
                    "switches": int(optima.switches[k]),
                    "kind": optima.statuses[k].value,
                    "scope": optima.scopes[k].value,
                    "found_by": optima.methods[k],
                }
            answers.append(Answer(outputs))
        return answers

    def summarise(self, specification: SchedulesSpecification, groups: Groups) -> Findings:
        """As `AbstractTask`: the first family against every other, what they save, and the certified optimum."""
        first, *others = map(_label, specification.families)
        optimum = ["optimum"] if specification.optimum else []
        rows = everything(groups)
        tables, drawings = [], []
        for other in others:
            table, drawing = _pair(groups, first, other)
            tables.append(table)
            drawings.append(drawing)
        tables.append(_savings(groups, [first, *others, *optimum]))
        sentences = [_pair_sentence(rows, first, other) for other in others]
        if specification.optimum:
            tables.append(_against_optimum(groups, first))
            drawings.append(_optimal_shares(groups))
            sentences.append(_optimum_sentence(rows, first))
        return Findings(answer=tuple(sentences), tables=tuple(tables), drawings=tuple(drawings))


def family_of(name: str) -> type[AbstractSchedule]:
    """A schedule class by its name in the library, or by "module:Class".

    Raises:
        InputError: no such module, or no such schedule class in it.
    """
    module, _, label = name.rpartition(":")
    try:
        owner = importlib.import_module(module) if module else schedules
    except ImportError as error:
        raise InputError(f"families: cannot import {module!r} ({error}). Is it on the path of every worker?") from error
    family = getattr(owner, label, None)
    if not (isinstance(family, type) and issubclass(family, AbstractSchedule)):
        raise InputError(f"families: {name!r} is not a schedule class.")
    return family


def _label(family: str) -> str:
    return family.rpartition(":")[2]


def _baseline(problem: Problem, theta0: Float[Array, " d"], row: Row) -> float:
    """𝓔 of 1_[0,s]."""
    s, T = float(row.inputs["s"]), float(row.inputs["T"])
    end = gradient_flow(problem, Step(s), theta0, ts=np.array([T])).end
    return 0.5 * float(jnp.sum((end - equilibrium(problem, eps=0.0, theta0=theta0).theta) ** 2))


def _optimum_columns(best: ScheduleSolution) -> dict[str, Value]:
    return {
        "cost_optimum": best.cost,
        "error_optimum": best.cost_error,
        "lower_bound": best.lower_bound,
        "switches": len(best.arcs) - 1,
        "kind": best.status.value,
        "scope": best.scope.value,
        "found_by": best.how,
    }


# ---- summary ----------------------------------------------------------------------------------------------------


def _costs(rows: Sequence[Stored], *names: str) -> list[np.ndarray]:
    return [column(rows, f"cost_{name}") for name in names]


def _pair(groups: Groups, first: str, other: str) -> tuple[Table, Drawing]:
    body, ratios = [], {}
    for name, rows in groups.items():
        a, b = _costs(rows, first, other)
        pairs = compare(a, b, column(rows, f"error_{first}") + column(rows, f"error_{other}"), units(rows))
        body.append((name, pairs.runs, pairs.better, pairs.equal, pairs.worse, pairs.ratio, pairs.p_value))
        ratio = np.divide(b, a, out=np.full(len(a), np.inf), where=a > 0.0)
        ratios[name] = ratio[np.isfinite(ratio)]
    columns = ("problems", "runs", f"{first} cheaper", "equal", f"{other} cheaper", "median cost ratio", "sign test p")
    table = Table(title=f"Best {first} against best {other}", columns=columns, rows=tuple(body), note=NOTE)
    caption = (
        f"How much more the best {other} costs than the best {first}: the share of runs up to each ratio. Left of 1, "
        f"{other} is cheaper."
    )
    axis = f"cost of best {other} / cost of best {first}"
    arguments = {"values": ratios, "label": axis}
    return table, Drawing(name=f"{first}-{other}", kind="distributions", caption=caption, arguments=arguments)


def _savings(groups: Groups, labels: Sequence[str]) -> Table:
    """What the best of each family saves of the cost of 1_[0,s]: the median, and what a tenth of the runs exceeds."""
    body = []
    for name, rows in groups.items():
        baseline, cells = column(rows, "cost_baseline"), []
        for label in labels:
            (cost,) = _costs(rows, label)
            saved = 1.0 - np.divide(cost, baseline, out=np.ones(len(rows)), where=baseline > 0.0)
            tenth = Share(float(np.nanquantile(saved, 0.9)), np.nan, np.nan)
            cells += [Share(*bootstrap(saved, np.nanmedian, units(rows))), tenth]
        body.append((name, *cells))
    # A column's name is its own in a table of numbers.
    columns = [words for label in labels for words in (f"{label}: median saved", f"{label}: a tenth saves more than")]
    return Table(title="Saved against 1_[0,s]", columns=("problems", *columns), rows=tuple(body), note=NOTE)


def _pair_sentence(rows: Sequence[Stored], first: str, other: str) -> str:
    a, b = _costs(rows, first, other)
    pairs = compare(a, b, column(rows, f"error_{first}") + column(rows, f"error_{other}"), units(rows))
    return (
        f"Over {pairs.runs} runs the best {first} is cheaper than the best {other} in {pairs.better}, equal "
        f"in {pairs.equal} and dearer in {pairs.worse}."
    )


def _optimality(rows: Sequence[Stored], label: str) -> Bool[np.ndarray, " n"]:
    """Where a schedule costs as much as the certified optimum."""
    cost, best = _costs(rows, label, "optimum")
    errors = column(rows, "error_optimum") + np.nan_to_num(column(rows, f"error_{label}"))
    # The gap of the certificate is allowed for: within it, cost cannot be told from least cost.
    return _certified(rows) & tied(cost, best, errors + (best - column(rows, "lower_bound")))


def _certified(rows: Sequence[Stored]) -> Bool[np.ndarray, " n"]:
    return np.array([str(row.outputs.get("scope", "")).startswith("global") for row in rows])


def _against_optimum(groups: Groups, first: str) -> Table:
    body = []
    for name, rows in groups.items():
        cost, best = _costs(rows, first, "optimum")
        certified = _certified(rows)
        exact = np.array([row.outputs.get("kind") == "exact unlearning" for row in rows])
        usable = certified & ~exact & (best > 0.0)
        ratios = cost[usable] / best[usable]
        gain: Interval = bootstrap(ratios, np.nanmedian, units(picked(rows, usable)))
        shares = [
            share_of(rows, mask) for mask in (certified, _optimality(rows, "baseline"), _optimality(rows, first), exact)
        ]
        body.append((name, *shares, gain, float(ratios.max()) if ratios.size else float("nan")))
    columns = (
        "problems", "certified", "1_[0,s] optimal", f"best {first} optimal", "exact unlearning",
        f"median cost {first} / optimum", "largest",
    )  # fmt: skip
    note = (
        "Certified: a lower bound for every schedule meets the cost to 1e-6. Optimal: certified, and the cost is that "
        f"of the optimum. The ratios leave out exact unlearning, where the optimum is 0. {NOTE}"
    )
    return Table(title="Against the certified optimum", columns=columns, rows=tuple(body), note=note)


def _optimal_shares(groups: Groups) -> Drawing:
    shares = {name: tuple(share_of(rows, _optimality(rows, "baseline"))) for name, rows in groups.items()}
    caption = "Share of runs in which dropping the point at once, 1_[0,s], is the certified optimum (95 % intervals)."
    arguments = {"values": shares, "label": "share of runs where $1_{[0,s]}$ is optimal"}
    return Drawing(name="drop-at-once", kind="intervals", caption=caption, arguments=arguments)


def _optimum_sentence(rows: Sequence[Stored], first: str) -> str:
    certified = share_of(rows, _certified(rows))
    at_once, step = (share_of(rows, _optimality(rows, name)) for name in ("baseline", first))
    return f"The optimum is certified in {certified} of the runs; it is 1_[0,s] in {at_once} and a {first} in {step}."
