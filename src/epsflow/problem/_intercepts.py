"""Which parameters are intercepts: those that a penalty may leave alone."""

import numpy as np
from jaxtyping import Bool

from .._core import InputError
from ._cnn import CNN
from ._dataset import INTERCEPT, Dataset
from ._models import MLP, AbstractModel, LinearModel


def intercepts(model: AbstractModel, data: Dataset) -> Bool[np.ndarray, " d"]:
    """A mask of the parameters that multiply no feature: a network's biases, a linear model's column of ones.

    Raises:
        InputError: a model whose parameters have no names, or a linear model without such a column.
    """
    if isinstance(model, MLP | CNN):
        # The layers of the numbers 0, 1, …: which of them are biases.
        parts = model.layers(np.arange(model.dim, dtype=np.float64))
        mask = np.zeros(model.dim, bool)
        for _, bias in parts:
            mask[np.asarray(bias, dtype=np.int64)] = True
        return mask
    if not isinstance(model, LinearModel):
        raise InputError(
            f"penalise_intercept=False is for a LinearModel and an MLP (or CNN); which parameters of "
            f"{type(model).__name__} are intercepts is not known: give l2 as one number for each parameter."
        )
    column = np.array([name == INTERCEPT for name in data.features])
    if not column.any():
        raise InputError(
            "penalise_intercept=False, but the data have no column 'intercept'; data.add_intercept() makes one."
        )
    return np.repeat(column, model.outputs or 1)
