"""The task "influence": estimates of θ(0) − θ(1) against retraining."""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from ..._core import Array
from ...analysis import influence, newton_step, pbrf, retrain
from ...flow import equilibrium
from ...problem import Problem
from .._rows import Row, Value
from .._specification import Axis, Model, Specification
from .._statistics import bootstrap
from ._findings import NOTE, Drawing, Findings, Groups, Table, column, everything, picked, share_of, units
from ._task import AbstractTask, Answer

Estimator = Literal["influence", "second order", "newton", "pbrf"]


class InfluenceSpecification(Specification):
    """A study of estimators.

    Attributes:
        estimators: which.
        damping: λ_d of the PBRF, in the metric of the GGN's diagonal: a pure number, whatever the units of the data.
    """

    task: str = "influence"
    estimators: Axis[Estimator] = ("influence", "second order", "newton", "pbrf")
    damping: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 1e-3


class Influence(AbstractTask[InfluenceSpecification]):
    """How far influence functions, Newton steps and proximal Bregman responses are from retraining."""

    specification: ClassVar[type[Specification]] = InfluenceSpecification
    models: ClassVar[tuple[Model, ...]] = ("linear", "logistic")

    def one(
        self, specification: InfluenceSpecification, row: Row, problem: Problem, theta0: Float[Array, " d"]
    ) -> Answer:
        """As `AbstractTask`."""
        trained = equilibrium(problem, eps=1.0, theta0=theta0).theta
        change = np.asarray(retrain(problem, theta0=trained).theta - trained)
        size = float(np.linalg.norm(change))
        outputs: dict[str, Value] = {"change": size}
        for name in specification.estimators:
            estimate = np.asarray(ESTIMATORS[name](problem, trained, specification.damping))
            both = float(np.linalg.norm(estimate)) * size
            label = _label(name)
            outputs[f"error_{label}"] = float(np.linalg.norm(estimate - change)) / size if size > 0.0 else float("nan")
            outputs[f"cosine_{label}"] = float(estimate @ change) / both if both > 0.0 else float("nan")
        return Answer(outputs)

    def summarise(self, specification: InfluenceSpecification, groups: Groups) -> Findings:
        """As `AbstractTask`: relative errors and directions, and which estimate is nearest."""
        names = [_label(name) for name in specification.estimators]
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
        columns = ("problems", "runs", "estimator", "median relative error", "median cosine", "nearest")
        caption = "Median relative error of each estimate (95 % intervals); 1 is as good as doing nothing."
        arguments = {"values": values, "label": "median relative error", "log": True}
        title = "Estimates of θ(0) − θ(1) against retraining"
        return Findings(
            answer=(_sentence(everything(groups), names),),
            tables=(Table(title=title, columns=columns, rows=tuple(body), note=NOTE),),
            drawings=(Drawing(name="influence-error", kind="intervals", caption=caption, arguments=arguments),),
        )


def _pbrf_change(problem: Problem, theta: Any, damping: float) -> Any:
    return pbrf(problem, theta, damping=damping, metric="ggn").theta - theta


ESTIMATORS: dict[str, Callable[[Problem, Any, float], Any]] = {
    "influence": lambda problem, theta, _: influence(problem, theta=theta).change,
    "second order": lambda problem, theta, _: influence(problem, theta=theta, order=2).change,
    "newton": lambda problem, theta, _: newton_step(problem, theta).change,
    "pbrf": _pbrf_change,
}


def _label(estimator: str) -> str:
    return estimator.replace(" ", "_")


def _sentence(rows: list, names: list[str]) -> str:
    medians = {name: float(np.nanmedian(column(rows, f"error_{name}"))) for name in names}
    best = min(medians, key=medians.__getitem__)
    listed = ", ".join(f"{name} {value:.2g}" for name, value in medians.items())
    return f"Median relative errors over {len(rows)} runs: {listed}; {best} is nearest to retraining."
