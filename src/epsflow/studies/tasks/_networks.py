"""The task "networks": schedules for training with an optimiser, where no theorem says which is best."""

from typing import ClassVar

from jaxtyping import Float

from ..._core import Array, InputError
from ...problem import Problem
from ...unlearning import score_name
from .._rows import Row, Value
from .._specification import Model, Specification
from ._chosen_schedules import NetworksSpecification, chosen_schedules
from ._findings import Findings, Groups
from ._judged_trainings import judged
from ._network_findings import column_of, network_findings
from ._task import AbstractTask, Answer


class Networks(AbstractTask[NetworksSpecification]):
    """How near schedules end to retrained models when a network is trained with an optimiser."""

    specification: ClassVar[type[Specification]] = NetworksSpecification
    models: ClassVar[tuple[Model, ...]] = ("linear", "logistic", "mlp")

    def together(self, specification: NetworksSpecification) -> int:
        """As `AbstractTask`: the draws of a problem, for which schedules are chosen once."""
        return max(source.draws for source in specification.problems)

    def check(self, specification: NetworksSpecification) -> None:
        """As `AbstractTask`."""
        if any(value != round(value) for value in (*specification.s, *specification.T)):
            raise InputError("s and T count steps of the optimiser: whole numbers are needed.")
        if specification.theta0 != ("random",):
            raise InputError('each row is a training from a start of its own: theta0 = "random" is needed.')

    def one(
        self, specification: NetworksSpecification, row: Row, problem: Problem, theta0: Float[Array, " d"]
    ) -> Answer:
        """As `AbstractTask`; but for retraining, unlearning takes K = T − s steps of the optimiser."""
        chosen = chosen_schedules(specification, row)
        outputs: dict[str, Value] = {"score": score_name(problem)}
        for way, judgement in judged(specification, row, problem, theta0, chosen).items():
            outputs |= {column_of(measure, way): value for measure, value in judgement._asdict().items()}
        for way, each in chosen.items():
            outputs |= {
                column_of("cost", way): each.cost,
                column_of("choosing", way): each.seconds,
                column_of("claim", way): each.claim,
            }
        return Answer(outputs, {column_of("weights", way): each.weights.ravel() for way, each in chosen.items()})

    def summarise(self, specification: NetworksSpecification, groups: Groups) -> Findings:
        """As `AbstractTask`: where each schedule ends, in pairs with rewind-to-delete, and what was chosen."""
        return network_findings(groups)
