"""From one row of a plan to a regression: the data, the deleted points and the start, from the row's own seeds."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, Key

from .._core import Array, InputError
from ..analysis import leverage
from ..flow import equilibrium
from ..problem import (
    MLP,
    AbstractLoss,
    AbstractModel,
    Dataset,
    LinearModel,
    LogisticLoss,
    Problem,
    SoftmaxCrossEntropy,
    linear_regression,
    load_dataset,
    read_csv,
)
from ._labelled import read_labelled, training_part, unseen_part
from ._rows import Row
from ._specification import DataProblems, Deletion, Model, RandomProblems, Specification

START = 2
"""Which of a row's streams of random numbers draws θ(0)."""


@dataclass(frozen=True, eq=False)
class Question:
    """A row's numbers.

    Attributes:
        x, y: the data, shapes (n, d) and (n,).
        delete: indices of the deleted points.
        theta0: θ(0), shape (d,); None for the optimum with all points.
    """

    x: Float[np.ndarray, "n d"]
    y: Float[np.ndarray, " n"]
    delete: Int[np.ndarray, " m"]
    theta0: Float[np.ndarray, " d"] | None


def _seeds(specification: Specification, row: Row, *what: int) -> np.random.Generator:
    """A stream of random numbers that depends on the study's seed and the row's place, never on the order of work.

    Rows that differ in their window or start only share the problem, so that they can be compared in pairs.
    """
    return np.random.default_rng(np.random.SeedSequence(specification.seed, spawn_key=(row.source, row.draw, *what)))


def training_key(specification: Specification, row: Row, *what: int) -> Key[Array, ""]:
    """A key for JAX from a stream of random numbers of the row; `what` tells its uses apart, and is at least 2."""
    return jax.random.key(int(_seeds(specification, row, *what).integers(2**63)))


def question(specification: Specification, row: Row) -> Question:
    """The data, the deleted points and θ(0) of a row.

    Raises:
        InputError: an index outside the data, more points than there are, data that cannot be read.
    """
    source = specification.problems[row.source]
    if isinstance(source, DataProblems):
        data = read_source(source)
        x, y = data.x, data.y
    else:
        x, y = _draw(row, _seeds(specification, row, 0))
    delete = _deleted(specification, row, source.delete, x, y)
    match row.inputs["theta0"]:
        case "random":
            theta0 = _seeds(specification, row, START).standard_normal(x.shape[1]) / np.sqrt(x.shape[1])
        case "zero":
            theta0 = np.zeros(x.shape[1])
        case _:
            theta0 = None
    return Question(x, y, delete, theta0)


def _draw(row: Row, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """y = xᵀθ + noise·ξ, with an outlier at point 0."""
    n, d = int(row.inputs["n"]), int(row.inputs["d"])
    noise, least = float(row.inputs["noise"]), 1.0 / float(row.inputs["condition"])
    spaced = np.geomspace if row.inputs["spectrum"] == "geometric" else np.linspace
    x = rng.standard_normal((n, d)) * np.sqrt(spaced(1.0, least, d))
    theta, xi, sign = rng.standard_normal(d), rng.standard_normal(n), rng.choice([-1.0, 1.0])
    y = x @ theta + noise * xi
    # A clean target's variance over x and ξ, given θ: the unit in which an outlier is one.
    unit = np.sqrt(np.sum(spaced(1.0, least, d) * theta**2) + noise**2)
    y[0] += sign * float(row.inputs["outlier"]) * unit
    return x, y


def read_source(source: DataProblems) -> Dataset:
    """What is trained on: the data set or file; standardised, except that class labels stay as they are."""
    data = _read(source.data, source.csv, _stamp(source.csv), source.target, source.model)
    return training_part(data) if source.model == "mlp" else data


def read_test(source: DataProblems) -> Dataset | None:
    """The points of a network's data set that are not trained on; None for other models."""
    if source.model != "mlp":
        return None
    return unseen_part(_read(source.data, source.csv, _stamp(source.csv), source.target, source.model))


def _stamp(csv: str | None) -> tuple[int, int] | None:
    """A file's time and size, so that one that is written anew is read anew."""
    try:
        return None if csv is None else ((status := Path(csv).stat()).st_mtime_ns, status.st_size)
    except OSError as error:
        raise InputError(f"cannot read {csv}: {error.strerror or error}.") from error


@lru_cache(maxsize=8)
def _read(
    name: str | None, csv: str | None, stamp: tuple[int, int] | None, target: str | int | None, model: Model
) -> Dataset:
    if model == "mlp":
        return read_labelled(name, csv, target)
    logistic = model == "logistic"
    if name is not None:
        data = load_dataset(name)
        # Labels are numbers to a linear regression: like any target, they are centred and scaled.
        return data if logistic else data.standardise()
    data = read_csv(str(csv), target=target, standardise=not logistic)
    return data.standardise(target=False) if logistic else data


def _deleted(
    specification: Specification, row: Row, deletion: Deletion, x: np.ndarray, y: np.ndarray
) -> Int[np.ndarray, " m"]:
    n, number = len(y), row.deletion
    if reason := deletion.refusal(n):
        raise InputError(f"{reason}.")
    if deletion.by == "index":
        return np.atleast_1d(np.asarray(deletion.points[number], dtype=np.int64))
    if deletion.by == "label":
        return _of_class(deletion, number, x, y)
    if deletion.by == "groups":
        return np.array_split(_sorted_by(specification, row, deletion, x, y), deletion.count)[number]
    if deletion.by == "random":
        # Draws of a data set are starts: they share the deleted points.
        drawn = row if isinstance(specification.problems[row.source], RandomProblems) else row._replace(draw=0)
        return np.sort(_seeds(specification, drawn, 1, number).choice(n, size=deletion.size, replace=False))
    order = _by_influence(x.tobytes(), y.tobytes(), x.shape, specification.l2, specification.reduction)
    ranked = order if deletion.by == "most influential" else order[::-1]
    return np.sort(ranked[number * deletion.size : (number + 1) * deletion.size])


def _of_class(deletion: Deletion, number: int, x: np.ndarray, y: np.ndarray) -> Int[np.ndarray, " m"]:
    """The points of a class; of part of it, those whose features have the least sum."""
    label = deletion.points[number]
    members = np.flatnonzero(y == label)
    if not 0 < len(members) < len(y):
        raise InputError(f"label {label} is that of {len(members)} of {len(y)} points; some, and not all, are needed.")
    count = max(1, round(deletion.share * len(members)))
    return np.sort(members[np.argsort(x[members].sum(axis=1), kind="stable")[:count]])


@lru_cache(maxsize=4)
def _by_influence(x: bytes, y: bytes, shape: tuple[int, int], l2: float, reduction: str) -> Int[np.ndarray, " n"]:
    """Points by Cook's distance, largest first; those that have none come last."""
    data = Dataset(np.frombuffer(x).reshape(shape), np.frombuffer(y))
    distances = leverage(linear_regression(data, l2=l2, reduction=reduction)).cooks_distance
    return np.argsort(np.where(np.isnan(distances), np.inf, -distances), kind="stable")


def _sorted_by(
    specification: Specification, row: Row, deletion: Deletion, x: np.ndarray, y: np.ndarray
) -> Int[np.ndarray, " n"]:
    if deletion.column == "target":
        return np.argsort(y, kind="stable")
    source = specification.problems[row.source]
    names = read_source(source).features if isinstance(source, DataProblems) else ()
    column = names.index(deletion.column) if deletion.column in names else deletion.column
    if not (isinstance(column, int) and 0 <= column < x.shape[1]):
        known = ", ".join(names) if names else f"0 to {x.shape[1] - 1}"
        raise InputError(f"delete.column is {deletion.column!r}; choose 'target' or one of {known}.")
    return np.argsort(x[:, column], kind="stable")


def problem_of(specification: Specification, row: Row, asked: Question) -> tuple[Problem, Float[Array, " d"]]:
    """The problem and θ(0), for the routes that take one at a time.

    Raises:
        InputError, ConvergenceError: as `Problem`; a start at an optimum that is not unique or not found.
    """
    source = specification.problems[row.source]
    data, rest = Dataset(asked.x, asked.y, str(row.inputs["problem"])), (specification.l2, specification.reduction)
    if isinstance(source, DataProblems) and source.model != "linear":
        problem = Problem(*_model(source, data), data, asked.delete, *rest)
    else:
        problem = linear_regression(data, asked.delete, l2=specification.l2, reduction=specification.reduction)
    if isinstance(problem.model, MLP):
        return problem, problem.model.init(training_key(specification, row, START))
    zero = jnp.zeros(problem.dim)
    start = (
        jnp.asarray(equilibrium(problem, eps=1.0, theta0=zero).theta)
        if asked.theta0 is None
        else jnp.asarray(asked.theta0)
    )
    return problem, start


def _model(source: DataProblems, data: Dataset) -> tuple[AbstractModel, AbstractLoss]:
    """Logistic regression, or a network with an output for each class."""
    features = data.x.shape[1]
    if source.model == "logistic":
        return LinearModel(features), LogisticLoss()
    classes = max(2, int(np.max(data.y)) + 1)
    return MLP((features, *source.hidden, classes)), SoftmaxCrossEntropy()
