"""How models do on deleted, retained and unseen points, and what a membership attack sees, model by model."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from .._core import spelled
from ..problem import Dataset, Problem
from ._metrics import as_points, attack, losses
from ._scores import ACCURACY, Points, retained, score_name, scores


class ModelScores(NamedTuple):
    """Of each of r models.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> list(ef.unlearning.score_models(problem, np.zeros((2, 10))).metrics)
        ['forget loss', 'retain loss', 'retain R²']

    Attributes:
        metrics: "forget loss", "retain accuracy", "test R²" and so on, each of shape (r,).
        membership: AUC of the attack that takes points of small loss for members, deleted points against others, (r,).
    """

    metrics: dict[str, Float[np.ndarray, " r"]]
    membership: Float[np.ndarray, " r"]

    __repr__ = spelled  # pyright: ignore[reportAssignmentType]


def score_models(
    problem: Problem,
    thetas: Float[np.ndarray, "r d"],
    *,
    test: Dataset | None = None,
    others: Dataset | None = None,
) -> ModelScores:
    """Loss and accuracy (classifiers) or R² on the deleted, the retained and the test points, and the attack's AUC.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.unlearning.score_models(problem, np.zeros((2, 10))).membership
        array([0.94671202, 0.94671202])

    The AUC is P(ℓ(deleted) < ℓ(other)) + ½ P(equal). R² of a single deleted point is not defined, and left out.

    Args:
        problem: the data, and which points are deleted.
        thetas: parameters of r models, shape (r, d).
        test: points that no model has seen.
        others: unseen points like the deleted ones, for the attack: where a class is deleted, points of that class.
            Default: the test points; without any, the retained ones.

    Raises:
        InputError: features that the model does not read.
    """
    data, deleted = problem.data, problem.delete
    parts = {"forget": Points(np.asarray(data.x)[deleted], np.asarray(data.y)[deleted]), "retain": retained(problem)}
    if test is not None:
        parts["test"] = as_points(problem, test)
    each = {name: losses(problem, thetas, part) for name, part in parts.items()}
    quality, metrics = score_name(problem), {}
    for name, values in each.items():
        metrics[f"{name} loss"] = values.mean(axis=1)
        if name != "forget" or quality == ACCURACY or deleted.size > 1:
            metrics[f"{name} {quality}"] = scores(problem, thetas, parts[name])
    unseen = each["retain" if test is None else "test"]
    if others is not None:
        unseen = losses(problem, thetas, as_points(problem, others))
    return ModelScores(metrics, attack(each["forget"], unseen))
