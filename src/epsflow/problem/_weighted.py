"""Weights of points: what they make of a loss and its data."""

from dataclasses import replace

import numpy as np

from .._core import InputError, as_vector
from ._dataset import Dataset
from ._losses import AbstractLoss, SquaredLoss, WeightedLoss, formula_of
from ._models import AbstractModel, LinearModel


def weighted(
    model: AbstractModel, loss: AbstractLoss, data: Dataset, sample_weight: object
) -> tuple[AbstractLoss, Dataset]:
    """The loss and the data of Σ v_i ℓ_i.

    For linear regression v_i (x_iᵀθ − y_i)² is the loss of the row √v_i x_i with target √v_i y_i. For other problems
    the weight travels with the target, and the loss multiplies by it.

    Raises:
        InputError: a weight that is negative or not finite, another number of them, or none above 0.
    """
    v = as_vector(sample_weight, "sample_weight", data.n)
    if v.min() < 0.0 or not v.max() > 0.0:
        raise InputError(
            f"sample_weight goes from {v.min():g} to {v.max():g}; weights are not negative, and one is above 0."
        )
    if isinstance(model, LinearModel) and model.outputs is None and formula_of(loss) is SquaredLoss:
        root = np.sqrt(v)
        return loss, replace(data, x=root[:, None] * np.asarray(data.x), y=root * np.asarray(data.y))
    return WeightedLoss(loss), replace(data, y=np.column_stack([data.y, v]))
