"""The problem that is asked about, its points and its start: the first module of a command that loads JAX."""

from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float

from .._core import Array, InputError, printable
from ..analysis import leverage
from ..flow import equilibrium
from ..problem import Dataset, Problem, caution_in_full, linear_regression
from ._inputs import Source

FEW = 6
"""Points that a heading names one by one."""


@dataclass(frozen=True, eq=False)
class Deletion:
    """A problem with its deleted points.

    Attributes:
        problem: the model, the data, and which points are deleted.
        chosen_by: how they were chosen, in words.
    """

    problem: Problem
    chosen_by: str

    @property
    def title(self) -> str:
        """Data set and points, as the heading of a table."""
        data, delete = self.problem.data, self.problem.delete
        points = ", ".join(map(str, delete[:FEW]))
        if delete.size > FEW:
            points = f"{delete.size} points, {points}, …"
        return f"{printable(data.name)} ({data.n}×{data.x.shape[1]}), deleting {points} ({self.chosen_by})"


def warnings(problem: Problem) -> list[str]:
    """What makes the answers worth less than they look."""
    return [f"warning: {caution_in_full(problem.caution, 'add --l2')}."] if problem.caution else []


def choose_points(source: Source, data: Dataset) -> Deletion:
    """The problem without the named points, or without the one that has the largest Cook's distance.

    Raises:
        InputError: indices outside the data or listed twice, a penalty below 0, or (where no point is named) features
            that do not determine the fit.
    """
    delete, chosen_by = source.points(data.n), "named"
    penalty = 0.0 if source.l2 is None else source.l2
    if not delete:
        everything = linear_regression(data, l2=penalty, reduction=source.reduction)
        distances = leverage(everything).cooks_distance
        if np.isnan(distances).all():
            raise InputError(f"{data.name}: no point has a Cook's distance (a perfect fit); name one with --delete.")
        # Points without which the optimum is not unique have no Cook's distance, and cannot be the question here.
        delete, chosen_by = [int(np.nanargmax(distances))], "the largest Cook's distance"
    return Deletion(linear_regression(data, delete, l2=penalty, reduction=source.reduction), chosen_by)


def starting_point(start: str, seed: int, problem: Problem) -> Float[Array, " d"] | Float[np.ndarray, " d"]:
    """θ(0): zero, random with a seed (of a model of the user's, what it starts from), or the optimum with all points.

    Raises:
        ConvergenceError: the trained start was not found.
    """
    match start:
        case "zero":
            return np.zeros(problem.dim)
        case "random":
            return problem.model.init(jax.random.key(seed))
        case _:
            return np.asarray(equilibrium(problem, eps=1.0).theta)
