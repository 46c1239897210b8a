"""The task "certificates": exact distances to retraining beside the bounds and the noise that guarantees take."""

import math
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field

from ..._core import Array, InputError
from ...flow import equilibrium
from ...problem import Problem
from ...unlearning import (
    DescendToDelete,
    GradientAscent,
    LangevinUnlearning,
    NewtonRemoval,
    RewindToDelete,
    certify_unlearning,
)
from .._rows import Row, Value
from .._specification import Axis, Count, Model, Size, Specification
from .._statistics import bootstrap
from ._findings import NOTE, Drawing, Findings, Groups, Table, column, everything, picked, share_of, units
from ._task import AbstractTask, Answer

Algorithm = Literal["D2D", "R2D", "ascent", "Newton", "Langevin"]


class CertificatesSpecification(Specification):
    """A study of guarantees.

    Attributes:
        algorithms: which.
        scope: of their certificates; Langevin's are worst cases always.
        epsilon_dp, delta_dp: the target.
        steps, unlearning_steps: T and K, of gradient descent with step 1/L.
        radius: of the ball that steps are projected to, in lengths of θ(1).
        l2: of the risk; Newton's and Langevin's worst cases need it.
    """

    task: str = "certificates"
    algorithms: Axis[Algorithm] = ("D2D", "R2D", "ascent", "Newton", "Langevin")
    scope: Literal["per instance", "per data set", "worst case"] = "worst case"
    epsilon_dp: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 1.0
    delta_dp: Annotated[float, Field(gt=0.0, lt=1.0)] = 1e-5
    steps: Count = 300
    unlearning_steps: Count = 50
    radius: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 2.0
    l2: Size = 0.01


class Certificates(AbstractTask[CertificatesSpecification]):
    """How far algorithms end from retraining, and how much more their guarantees have to assume."""

    specification: ClassVar[type[Specification]] = CertificatesSpecification
    models: ClassVar[tuple[Model, ...]] = ("linear", "logistic")

    def check(self, specification: CertificatesSpecification) -> None:
        """As `AbstractTask`."""
        if specification.unlearning_steps > specification.steps:
            raise InputError("unlearning_steps must not exceed steps: one cannot rewind past the start.")
        needs = {"Langevin", "Newton"} if specification.scope == "worst case" else {"Langevin"}
        if specification.l2 <= 0.0 and needs & set(specification.algorithms):
            raise InputError(
                "the worst cases of Newton and Langevin need a strongly convex risk: l2 > 0, or fewer algorithms."
            )

    def one(
        self, specification: CertificatesSpecification, row: Row, problem: Problem, theta0: Float[Array, " d"]
    ) -> Answer:
        """As `AbstractTask`."""
        size = float(np.linalg.norm(np.asarray(equilibrium(problem, eps=1.0, theta0=theta0).theta)))
        radius = specification.radius * size if size > 0.0 else 1.0
        outputs: dict[str, Value] = {}
        for name in specification.algorithms:
            scope = "worst case" if name == "Langevin" else specification.scope
            found = certify_unlearning(
                problem,
                _algorithm(name, specification, radius),
                np.asarray(theta0),
                epsilon_dp=specification.epsilon_dp,
                delta_dp=specification.delta_dp,
                scope=scope,
            )
            outputs |= {
                f"distance_{name}": found.distance,
                f"bound_{name}": found.bound,
                f"sigma_{name}": found.sigma,
                f"certified_{name}": found.certified,
            }
        return Answer(outputs)

    def summarise(self, specification: CertificatesSpecification, groups: Groups) -> Findings:
        """As `AbstractTask`: tightness and noise of each algorithm, and which needs least."""
        output = [name for name in specification.algorithms if name != "Langevin"]
        body, values = [], {}
        for group, rows in groups.items():
            least = _least(rows, output)
            for name in specification.algorithms:
                bounds = column(rows, f"bound_{name}")
                good = bounds > 0.0
                some = picked(rows, good)
                tightness = bootstrap(column(some, f"distance_{name}") / bounds[good], np.nanmedian, units(some))
                sigma = bootstrap(column(rows, f"sigma_{name}"), np.nanmedian, units(rows))
                best = share_of(rows, least == output.index(name)) if name in output else "–"
                body.append((group, len(rows), name, tightness, sigma, best))
                values[f"{group}: {name}"] = tuple(sigma)
        columns = ("problems", "runs", "algorithm", "median distance/bound", "median σ", "least noise in the output")
        caption = "Median noise σ of each algorithm (95 % intervals). Langevin's enters in each step."
        arguments = {"values": values, "label": "median noise", "log": True}
        return Findings(
            answer=(_sentence(everything(groups), specification),),
            tables=(Table(title="Guarantees beside exact distances", columns=columns, rows=tuple(body), note=NOTE),),
            drawings=(Drawing(name="certificates", kind="intervals", caption=caption, arguments=arguments),),
        )


def _algorithm(name: str, specification: CertificatesSpecification, radius: float) -> Any:
    steps, back = specification.steps, specification.unlearning_steps
    common: Any = {"steps": steps, "unlearning_steps": back, "radius": radius}
    match name:
        case "D2D":
            return DescendToDelete(**common)
        case "R2D":
            return RewindToDelete(**common)
        case "ascent":
            return GradientAscent(**common)
        case "Langevin":
            return LangevinUnlearning(**common)
        case _:
            return NewtonRemoval()


def _least(rows: list, names: list[str]) -> Int[np.ndarray, " n"]:
    """Which of the algorithms with noise in the output needs least, in each row."""
    if not names:
        return np.full(len(rows), -1)
    return np.argmin(np.stack([column(rows, f"sigma_{name}") for name in names]), axis=0)


def _sentence(rows: list, specification: CertificatesSpecification) -> str:
    parts = []
    for name in specification.algorithms:
        bounds = column(rows, f"bound_{name}")
        good = bounds > 0.0
        share = column(rows, f"distance_{name}")[good] / bounds[good]
        parts.append(f"{name} {np.median(share):.2g}" if share.size else f"{name} –")
    certified = all(bool(np.all(column(rows, f"certified_{name}"))) for name in specification.algorithms)
    kind = "all certified" if certified else "not all certified"
    total = math.prod((len(rows), len(specification.algorithms)))
    return f"{total:,} certificates, {kind}; median distance over bound: {', '.join(parts)}."
