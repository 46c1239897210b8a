"""From options to a question: which data, which points, which start. Refusals come before work."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._core import InputError
from ..analysis import leverage
from ..flow import equilibrium
from ..problem import Dataset, Problem, linear_regression, load_dataset, read_csv

Start = Literal["zero", "random", "trained"]
Reduction = Literal["sum", "mean"]

DEFAULT_DATA = "diabetes"
CLASSIFICATION = ("breast_cancer", "digits", "wine")


@dataclass(frozen=True)
class Source:
    """The options that say what is trained, as they were given.

    Attributes:
        data, csv, target: a bundled data set, or a file and its target column.
        delete: the points to forget; empty for one that the command chooses.
        reduction, l2: the risk's scale and penalty; None for the penalty that is usual for the model.
    """

    data: str | None
    csv: Path | None
    target: str | None
    delete: tuple[int, ...]
    reduction: Reduction
    l2: float | None


@dataclass(frozen=True)
class Request:
    """The options of `optimise` and `compare`, as they were given.

    Attributes:
        source: what is trained.
        s, T: when the request arrives, and by when ε must be 0.
        bounds: least and largest ε in between.
        start, seed: where training starts.
        intervals, per_point: of the optimum's schedule.
        budget, price: for ∫|ε| dt between s and T; None for no budget.
        time_limit: seconds for the search of the optimum; None for none.
    """

    source: Source
    s: float
    T: float
    bounds: tuple[float, float]
    start: Start
    seed: int
    intervals: int = 100
    per_point: bool = False
    budget: float | None = None
    price: float = 0.0
    time_limit: float | None = None


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
        data, points = self.problem.data, ", ".join(map(str, self.problem.delete))
        return f"{data.name} ({data.n}×{data.x.shape[1]}), deleting {points} ({self.chosen_by})"


def name_source(source: Source) -> str | Path:
    """The bundled data set, or the file, that the options name.

    Raises:
        InputError: both, or a target without a file.
    """
    if source.csv is not None:
        if source.data is not None:
            raise InputError("--data and --csv exclude each other: name one source of data.")
        return source.csv
    if source.target is not None:
        raise InputError("--target names a column of a CSV file: add --csv FILE. Bundled data have their own target.")
    return DEFAULT_DATA if source.data is None else source.data


def read_data(source: Source) -> Dataset:
    """The data set or file that the options name, standardised, for linear regression.

    Raises:
        InputError: no data of numbers by that name, or whatever the file has wrong.
    """
    name = name_source(source)
    if isinstance(name, Path):
        return read_csv(name, target=source.target)
    if name in CLASSIFICATION:
        raise InputError(
            f"{name} has class labels, and this command is for linear regression only: use diabetes or --csv FILE. "
            "In Python, epsflow.Problem takes LogisticLoss and SoftmaxCrossEntropy."
        )
    if name != DEFAULT_DATA:
        raise InputError(f"unknown data set {name!r}: this command knows diabetes, or reads a file with --csv FILE.")
    return load_dataset(name)


def choose_points(source: Source, data: Dataset) -> Deletion:
    """The problem without the named points, or without the one that has the largest Cook's distance.

    Raises:
        InputError: indices outside the data or listed twice, a penalty below 0, or (where no point is named) features
            that do not determine the fit.
    """
    delete, chosen_by = list(source.delete), "named"
    penalty = 0.0 if source.l2 is None else source.l2
    if not delete:
        everything = linear_regression(data, l2=penalty, reduction=source.reduction)
        distances = leverage(everything).cooks_distance
        if np.isnan(distances).all():
            raise InputError(f"{data.name}: no point has a Cook's distance (a perfect fit); name one with --delete.")
        # Points without which the optimum is not unique have no Cook's distance, and cannot be the question here.
        delete, chosen_by = [int(np.nanargmax(distances))], "the largest Cook's distance"
    return Deletion(linear_regression(data, delete, l2=penalty, reduction=source.reduction), chosen_by)


def starting_point(request: Request, problem: Problem) -> Float[Array, " d"]:
    """θ(0): zero, random with a seed, or the optimum with all points.

    Raises:
        ConvergenceError: the trained start was not found.
    """
    match request.start:
        case "zero":
            return jnp.zeros(problem.dim)
        case "random":
            return problem.model.init(jax.random.key(request.seed))
        case "trained":
            return jnp.asarray(equilibrium(problem, eps=1.0).theta)
