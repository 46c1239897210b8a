"""What a task is: what it asks for, how it computes a row or a stack of rows, and what it makes of all of them."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Generic, TypeVar

import numpy as np
from jaxtyping import Float

from ..._core import Array, Spelled
from ...control import LinearBatch
from ...problem import Problem
from .._rows import Row, Value
from .._specification import Model, Specification
from ._findings import Findings, Groups

Asked = TypeVar("Asked", bound=Specification)
"""The specification of a task: the common fields and its own."""


@dataclass(frozen=True, eq=False, repr=False)
class Answer(Spelled):
    """What a task has to say about one row.

    Example:
        >>> ef.studies.Answer({"norm": 2.0}).outputs
        {'norm': 2.0}

    Attributes:
        outputs: numbers and words, by the table's columns.
        arrays: curves and other numbers that do not fit into columns.
    """

    outputs: dict[str, Value]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


class AbstractTask(abc.ABC, Generic[Asked]):
    """A question that a study asks of every row.

    Example:
        >>> class Norms(ef.studies.AbstractTask):
        ...     def one(self, specification, row, problem, theta0):
        ...         return ef.studies.Answer({"norm": float(np.linalg.norm(ef.train(problem).theta))})
        ...     def summarise(self, specification, groups):
        ...         norms = ef.studies.column(ef.studies.everything(groups), "norm")
        ...         return ef.studies.Findings(answer=(f"The median length is {np.median(norms):.3g}.",), tables=())
        >>> Norms().models
        ('linear',)

    A task of your own is a concrete class without constructor arguments, in a module that every worker can import; a
    study names it as `task = "module:Class"`.
    """

    specification: ClassVar[type[Specification]] = Specification
    """The fields of a study with this task: `Specification`, or a subclass with further ones."""
    models: ClassVar[tuple[Model, ...]] = ("linear",)
    """Models that it can be asked about."""

    def together(self, specification: Asked) -> int | None:
        """How many rows that are computed one by one are kept at once, and go to one worker; None for the usual 8."""
        return None

    def check(self, specification: Asked) -> None:
        """Refuse fields that contradict each other.

        Raises:
            InputError: they do; the message names them.
        """

    @abc.abstractmethod
    def one(self, specification: Asked, row: Row, problem: Problem, theta0: Float[Array, " d"]) -> Answer:
        """One row, through the library's public functions.

        Args:
            specification: of the study.
            row: with its window and all else that varies.
            problem: with its deleted points.
            theta0: θ(0).

        Raises:
            EpsflowError: it has no answer; the row fails alone, with these words.
        """

    @abc.abstractmethod
    def summarise(self, specification: Asked, groups: Groups) -> Findings:
        """Tables, drawings and sentences.

        Args:
            specification: of the study.
            groups: the rows that are done, by what tells them apart; with more than one group, "all" is the last.
        """


class AbstractStackedTask(AbstractTask[Asked]):
    """A task that can be computed for a stack of linear regressions at once.

    Example:
        >>> rewind = ef.studies.TASKS["rewind"]
        >>> isinstance(rewind, ef.studies.AbstractStackedTask), rewind.models
        (True, ('linear',))
    """

    def stackable(self, specification: Asked) -> bool:
        """Whether a study's fields allow it; the rows of others are computed one by one."""
        return True

    @abc.abstractmethod
    def stack(self, specification: Asked, rows: Sequence[Row], batch: LinearBatch) -> list[Answer | None]:
        """Rows of one size; a row's numbers must not depend on which others it is stacked with.

        Args:
            specification: of the study.
            rows: b of them.
            batch: their problems, in the same order.

        Returns:
            An answer per row; None for a row that has to be computed alone.

        Raises:
            EpsflowError: the stack has no answer; its rows are then computed one by one.
        """
