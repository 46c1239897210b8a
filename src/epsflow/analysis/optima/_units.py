"""A problem with its parameters in other units: θ' = u∘θ, so that ½‖θ' − θ'_s‖² is the proximal term meant."""

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..._core import Array
from ...problem import AbstractModel, LinearModel, Problem, pointwise
from ..curvature import curvature_at, diagonal
from ._anchor import CHUNK_NUMBERS, factor_rows, linearised


class Rescaled(AbstractModel):
    """f(θ'/u; x).

    Attributes:
        model: f.
        units: u, shape (d,).
    """

    model: AbstractModel
    units: Float[Array, " d"]

    @property
    def dim(self) -> int:
        """As the model's."""
        return self.model.dim

    def __call__(self, theta: Float[Array, " d"], x: Float[Array, " p"]) -> Float[Array, "*k"]:
        return self.model(theta / self.units, x)

    def init(self, key: Any) -> Float[Array, " d"]:
        """The model's, in these units."""
        return self.units * self.model.init(key)


def feature_units(problem: Problem) -> Float[np.ndarray, " d"]:
    """For each parameter the length of its feature's column, to a power of two, which rounds nothing."""
    x = np.asarray(problem.data.x)
    peaks = np.abs(x).max(axis=0)
    peaks = np.where(peaks > 0.0, peaks, 1.0)
    lengths = peaks * np.sqrt(np.mean((x / peaks) ** 2, axis=0))
    return np.repeat(np.exp2(np.round(np.log2(np.where(lengths > 0.0, lengths, 1.0)))), problem.dim // x.shape[1])


def ggn_diagonal(
    problem: Problem, theta: Float[np.ndarray, " d"], *, matrix: bool = True, max_bytes: int | None = None
) -> Float[np.ndarray, " d"]:
    """G_kk at θ, without penalty; of a linear model with several outputs their mean, one number for each feature.

    Outputs are added in the loss, and have one unit. Where a parameter moves no output, the mean of the others. From
    Jacobians, which `matrix` uses again; else within `max_bytes`.
    """
    if matrix or isinstance(problem.model, LinearModel):
        total = _from_jacobians(problem, theta)
    else:
        ggn: Any = curvature_at(problem, theta, "ggn", penalty=False, max_bytes=max_bytes)
        total = diagonal(ggn)
    if isinstance(problem.model, LinearModel) and problem.model.outputs is not None:
        each = total.reshape(-1, problem.model.outputs)
        total = np.repeat(each.mean(axis=1), problem.model.outputs)
    moving = total > 0.0
    return np.where(moving, total, total[moving].mean() if moving.any() else 1.0)


def _from_jacobians(problem: Problem, theta: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
    total = np.zeros(problem.dim)
    step = max(1, CHUNK_NUMBERS // problem.dim)
    for start in range(0, problem.data.n, step):
        x, y = (np.asarray(part[start : start + step]) for part in (problem.data.x, problem.data.y))
        outputs, jacobian = linearised(problem.model, theta, x)
        rows = factor_rows(jacobian, pointwise(problem.loss, outputs, y).curvatures, problem.scale)
        total += np.einsum("rd,rd->d", rows, rows)
    return total


def in_units(problem: Problem, units: Float[np.ndarray, " d"]) -> Problem:
    """The same problem with parameters multiplied by their units, and without its penalty."""
    model, data = problem.model, problem.data
    if isinstance(model, LinearModel):
        data = replace(data, x=np.asarray(data.x) / units[:: problem.dim // data.x.shape[1]])
    else:
        model = Rescaled(model, jnp.asarray(units))
    delete = problem.delete if problem.delete.size else None
    return Problem(model, problem.loss, data, delete, 0.0, problem.reduction, problem.chunk_rows)
