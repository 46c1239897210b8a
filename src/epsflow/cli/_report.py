"""What is said about a result: the rows of a table, and one sentence."""

import math

from .._core import printable
from ..control import Arc, Comparison, FamilyResult, ScheduleSolution, Scope, Status
from ._console import Column, Row, Table
from ._deletion import FEW
from ._schedule_question import Posed

NAMED_ARCS = 4
"""So many arcs are described one by one in the sentence; of more, only their number is given."""


def table(posed: Posed, comparison: Comparison) -> Table:
    """Family, parameter, 𝓔, what is spent where that matters, ratio to the baseline 1_[0,s], status."""
    priced = comparison.task.priced
    effort = [Column("∫|ε| dt", number=True)] if priced else []
    columns = Column("family"), Column("parameter"), Column("cost 𝓔", number=True), *effort
    title = "\n".join(filter(None, (posed.deletion.title, posed.story)))
    drawn = Table(title, [*columns, Column("ratio", number=True), Column("status")])
    for row, ratio in zip(comparison.rows(), comparison.ratios_in_words(), strict=True):
        cells = (
            row["family"],
            ", ".join(f"{name} = {value:.6g}" for name, value in row["parameters"].items()),
            f"{row['cost']:.6e}",
            *([f"{row['effort']:.6g}"] if priced else []),
            ratio,
            row["status"],
        )
        drawn.rows.append(Row(cells, style="bold" if row["family"] == "optimum" else ""))
    return drawn


def intention(command: str, posed: Posed) -> str:
    """What is about to be searched, and why, in one sentence."""
    deletion = posed.deletion
    problem = deletion.problem
    named = ", ".join(map(str, problem.delete[:FEW])) + (", …" if problem.delete.size > FEW else "")
    points = f"point{'s' if problem.delete.size > 1 else ''} {named} of {printable(problem.data.name)}"
    chosen = "" if deletion.chosen_by == "named" else f" (no point was named; this one has {deletion.chosen_by})"
    what = "the schedule ε(t)" if command == "optimise" else "the best step and decay ε(t)"
    trained = f", in {posed.story}" if posed.story else ""
    return (
        f"Searching {what} for {points}{chosen}{trained}: its weight in training is 1 until the request to forget "
        f"arrives at s = {posed.s:g}, and 0 from T = {posed.T:g} on; what ε does in between decides how near θ(T) "
        "comes to the model that never saw it."
    )


def finding(comparison: Comparison) -> str:
    """One sentence that says what was found, and claims no more than the result does."""
    optimum, best = comparison.optimum, min(comparison.admissible, key=comparison.objective, default=None)
    base = comparison.objective(comparison.baseline)
    baseline = f"dropping the points at once, 1_[0,s] ({_symbol(comparison)} = {base:.4g})"
    least = math.inf if best is None else comparison.objective(best)
    if comparison.task.unseen and comparison.baseline in comparison.admissible:
        return f"Nothing does better than {baseline}: {comparison.task.unseen}."
    if optimum is None:
        if best is None:
            return f"No family keeps to these bounds; {baseline} does not, either."
        if not comparison.gains(best):
            return f"None of these families does better than {baseline}."
        return f"Of these families {_family(best)} {_ends(comparison)}: {_gain(comparison, least)}."
    if optimum.scope is Scope.NONE:
        return (
            f"No schedule was verified as optimal: the best candidate has {_symbol(comparison)} = "
            f"{optimum.objective:.4g}, and Pontryagin's conditions miss by {optimum.pmp_gap:.2g} (status: "
            f"{optimum.status.value}); {optimum.doubt}."
        )
    found = f"{_arcs(optimum)}: {_gain(comparison, optimum.objective)}"
    if optimum.status is Status.EXACT:
        return f"The leave-out optimum is reached in finite time by {found}."
    claim = {
        Scope.GLOBAL: f"certified as the best of all schedules (none costs less than {optimum.lower_bound:.4g})",
        Scope.WITHIN_ERROR: (
            f"no schedule costs less by more than the error of this cost, ±{optimum.cost_error:.1g}, too large "
            "beside it for more"
        ),
        Scope.LOCAL: "a local optimum: first-order conditions hold, a global bound was not proved",
    }[optimum.scope]
    if comparison.baseline in comparison.admissible and not comparison.gains(optimum):
        return f"Nothing does better than {baseline}: {claim}."
    if best is not None and least < optimum.objective - optimum.cost_error - best.cost_error:
        excess = 100.0 * (optimum.objective / least - 1.0) if least > 0.0 else math.inf
        return (
            f"The best schedule found is {_family(best)}: {_gain(comparison, least)}; the optimum on the mesh "
            f"comes within {excess:.2g} % of it (more --intervals bring it closer)."
        )
    return f"The best schedule has {found}; {claim}."


def _symbol(comparison: Comparison) -> str:
    """What is minimised."""
    return "𝓔" if comparison.task.price == 0.0 else "𝓔 + price·∫|ε| dt"


def _ends(comparison: Comparison) -> str:
    goal = "the retrained model" if comparison.task.trainings is not None else "the leave-out optimum"
    return f"ends nearest to {goal}" if comparison.task.price == 0.0 else "is the best at this price"


def _gain(comparison: Comparison, objective: float) -> str:
    base, what = comparison.objective(comparison.baseline), _symbol(comparison)
    if base == 0.0:
        return f"{what} = {objective:.4g}; dropping the points at once already gives 0"
    if comparison.baseline not in comparison.admissible:
        beside = f"dropping the points at once, which these bounds exclude, has {base:.4g}"
        return f"{what} = {objective:.4g} at T = {comparison.task.T:g}; {beside}"
    less = f"{100.0 * (1.0 - objective / base):.3g} % less than dropping the points at once ({base:.4g})"
    return f"{what} = {objective:.4g} at T = {comparison.task.T:g}, {less}"


def _family(result: FamilyResult) -> str:
    return f"{result.family} with " + ", ".join(f"{key} = {value:.6g}" for key, value in result.parameters.items())


def _arcs(optimum: ScheduleSolution) -> str:
    """ε = 1 until t = 1.5, then ε = 0."""
    arcs = optimum.arcs
    shared = all(arc.point is None for arc in arcs) or optimum.task.problem.delete.size == 1
    if not shared:
        return f"{len(arcs)} arcs over {optimum.task.problem.delete.size} points"
    if len(arcs) > NAMED_ARCS:
        return f"{len(arcs)} arcs"
    words = [f"{_level(arc)} until t = {arc.end:.6g}" for arc in arcs[:-1]]
    return ", then ".join([*words, _level(arcs[-1])])


def _level(arc: Arc) -> str:
    return f"ε = {arc.level:.3g}" if arc.kind != "interior" else f"ε between its bounds (mean {arc.level:.3g})"
