"""The task "attribution": scores along training against training again without the deleted points until T."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float

from ..._core import Array, InputError
from ...analysis import Predictions
from ...attribution import (
    converged_influence,
    early_stopped_influence,
    influence_density,
    source_influence,
    tracin,
)
from ...flow import gradient_flow
from ...problem import Problem
from ...schedules import Constant
from .._rows import Row, Value
from .._specification import Axis, Specification, Time
from .._statistics import bootstrap
from ._findings import NOTE, Drawing, Findings, Groups, Table, column, everything, picked, share_of, units
from ._task import AbstractTask, Answer

Score = Literal["density", "tracin", "source", "early stopped", "converged"]

CHECKPOINTS = 17
"""Times that TracIn and SOURCE see."""


class AttributionSpecification(Specification):
    """A study of scores along training.

    Attributes:
        s: 0, and nothing else: points are missing from the whole of training.
        scores: which.
    """

    task: str = "attribution"
    s: Axis[Time] = (0.0,)
    scores: Axis[Score] = ("density", "tracin", "source", "early stopped", "converged")


class Attribution(AbstractTask[AttributionSpecification]):
    """How far the influence density and its limits are from training again, by how long training was."""

    specification: ClassVar[type[Specification]] = AttributionSpecification

    def check(self, specification: AttributionSpecification) -> None:
        """As `AbstractTask`."""
        if list(specification.s) != [0.0]:
            raise InputError("s plays no part here: points are missing from the whole of training; leave s at 0.")

    def one(
        self, specification: AttributionSpecification, row: Row, problem: Problem, theta0: Float[Array, " d"]
    ) -> Answer:
        """As `AbstractTask`; the change is that of θ(T)."""
        ts = np.array([float(row.inputs["T"])])
        ends = [np.asarray(gradient_flow(problem, Constant(eps), theta0, ts=ts).end) for eps in (0.0, 1.0)]
        change = ends[0] - ends[1]
        size = float(np.linalg.norm(change))
        outputs: dict[str, Value] = {"change": size}
        # θ itself, as predictions at the unit vectors: what NumPy knows the gradients of.
        parameters = Predictions(problem.model, np.eye(problem.dim))
        for name in specification.scores:
            grid = np.linspace(0.0, ts[0], CHECKPOINTS if name in ("tracin", "source") else 2)
            each = SCORES[name](problem, Constant(1.0), theta0, ts=grid, functional=parameters)
            estimate = each[problem.delete].sum(axis=0)
            label = name.replace(" ", "_")
            both = float(np.linalg.norm(estimate)) * size
            outputs[f"error_{label}"] = float(np.linalg.norm(estimate - change)) / size if size > 0.0 else float("nan")
            outputs[f"cosine_{label}"] = float(estimate @ change) / both if both > 0.0 else float("nan")
        return Answer(outputs)

    def summarise(self, specification: AttributionSpecification, groups: Groups) -> Findings:
        """As `AbstractTask`: relative errors and directions, and which score is nearest."""
        names = [name.replace(" ", "_") for name in specification.scores]
        body, values = [], {}
        for group, rows in groups.items():
            errors = np.stack([column(rows, f"error_{name}") for name in names])
            nearest = np.argmin(np.where(np.isnan(errors), np.inf, errors), axis=0)
            for k, name in enumerate(names):
                good = np.isfinite(errors[k])
                some = picked(rows, good)
                error = bootstrap(errors[k][good], np.nanmedian, units(some))
                cosine = bootstrap(column(some, f"cosine_{name}"), np.nanmedian, units(some))
                body.append((group, len(rows), name, error, cosine, share_of(rows, nearest == k)))
                values[f"{group}: {name}"] = tuple(error)
        columns = ("problems", "runs", "score", "median relative error", "median cosine", "nearest")
        title = "Scores along training against training again without the points"
        caption = "Median relative error of each score's prediction of θ(T) (95 % intervals); 1 is as good as nothing."
        arguments = {"values": values, "label": "median relative error", "log": True}
        return Findings(
            answer=(_sentence(everything(groups), names),),
            tables=(Table(title=title, columns=columns, rows=tuple(body), note=NOTE),),
            drawings=(Drawing(name="attribution-error", kind="intervals", caption=caption, arguments=arguments),),
        )


def _density(problem: Problem, schedule: Constant, theta0: Any, **ask: Any) -> np.ndarray:
    return influence_density(problem, schedule, theta0, **ask).removal().change


SCORES: dict[str, Callable[..., np.ndarray]] = {
    "density": _density,
    "tracin": lambda *setting, **ask: tracin(*setting, **ask).change,
    "source": lambda *setting, **ask: source_influence(*setting, **ask).change,
    "early stopped": lambda *setting, **ask: early_stopped_influence(*setting, **ask).change,
    "converged": lambda *setting, **ask: converged_influence(*setting, **ask).change,
}


def _sentence(rows: list, names: list[str]) -> str:
    medians = {name: float(np.nanmedian(column(rows, f"error_{name}"))) for name in names}
    best = min(medians, key=medians.__getitem__)
    listed = ", ".join(f"{name} {value:.2g}" for name, value in medians.items())
    return f"Median relative errors over {len(rows)} runs: {listed}; {best} is nearest to training again."
