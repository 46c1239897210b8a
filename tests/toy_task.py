"""A task from outside the library, all of it in this one file: the norm of θ(T), in units of its own."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

import epsflow as ef
from epsflow.control import LinearBatch
from epsflow.studies import (
    AbstractStackedTask,
    Answer,
    Drawing,
    Findings,
    Groups,
    Row,
    Specification,
    Table,
    column,
    everything,
)


class NormSpecification(Specification):
    """Attributes: scale: what the norm is multiplied with."""

    task: str = "toy_task:Norm"
    scale: Annotated[float, Field(gt=0.0)] = 1.0


class Norm(AbstractStackedTask[NormSpecification]):
    """How long is θ(T) under ε = 1?"""

    specification: ClassVar[type[Specification]] = NormSpecification

    def check(self, specification: NormSpecification) -> None:
        if specification.scale > 100.0:
            raise ef.InputError(f"scale is {specification.scale}; it is at most 100.")

    def one(self, specification: NormSpecification, row: Row, problem: ef.Problem, theta0: Any) -> Answer:
        end = ef.gradient_flow(problem, ef.Constant(1.0), theta0, ts=np.array([float(row.inputs["T"])])).end
        return self._answer(specification, np.asarray(end))

    def stackable(self, specification: NormSpecification) -> bool:
        return specification.theta0 == ("zero",)

    def stack(self, specification: NormSpecification, rows: Sequence[Row], batch: LinearBatch) -> list[Answer | None]:
        answers: list[Answer | None] = []
        for k, row in enumerate(rows):
            # ε = 1 up to T is ε = 1 up to s, which the batch has, and on; the first row is left to be done alone.
            if row.place == 0:
                answers.append(None)
                continue
            high = batch.high.vectors[k]
            modes = high.T @ batch.start[k]
            rates, drift = batch.high.rates[k], batch.high.drift[k]
            decay = np.exp(-rates * (batch.T[k] - batch.s[k]))
            ends = decay * modes + (1.0 - decay) / rates * drift
            answers.append(self._answer(specification, batch.target[k] + batch.basis[k] @ (high @ ends)))
        return answers

    def summarise(self, specification: NormSpecification, groups: Groups) -> Findings:
        norms = column(everything(groups), "norm")
        drawn = {name: column(rows, "norm") for name, rows in groups.items()}
        rows = tuple((name, float(values.mean())) for name, values in drawn.items())
        arguments = {"values": drawn, "label": "‖θ‖"}
        return Findings(
            answer=(f"The mean norm of {len(norms)} runs is {norms.mean():.4g}.",),
            tables=(Table(title="Norms", columns=("problems", "mean"), rows=rows),),
            drawings=(Drawing(name="norms", kind="distributions", caption="Norms.", arguments=arguments),),
        )

    @staticmethod
    def _answer(specification: NormSpecification, theta: np.ndarray) -> Answer:
        return Answer({"norm": specification.scale * float(np.linalg.norm(theta))}, {"theta": theta})
