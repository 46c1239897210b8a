"""How well parameters predict: accuracy of classifiers, R² of everything else; of one vector or of many."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._core import Array
from ..problem import AbstractModel, LinearModel, LogisticLoss, Problem, SoftmaxCrossEntropy

ACCURACY, R_SQUARED = "accuracy", "R²"


class Points(NamedTuple):
    """Points to predict.

    Attributes:
        x, y: features (q, p) and targets (q, …).
    """

    x: Float[np.ndarray, "q p"]
    y: Float[np.ndarray, "q *t"]


def score_name(problem: Problem) -> str:
    """What is scored: "accuracy" for the logistic and the softmax loss, "R²" for others.

    Example:
        >>> ef.unlearning.score_name(ef.linear_regression(ef.load_dataset("diabetes"), [17]))
        'R²'
    """
    return ACCURACY if isinstance(problem.loss, LogisticLoss | SoftmaxCrossEntropy) else R_SQUARED


def retained(problem: Problem) -> Points:
    """The points that are not deleted."""
    kept = np.setdiff1d(np.arange(problem.data.n), problem.delete)
    return Points(np.asarray(problem.data.x)[kept], np.asarray(problem.data.y)[kept])


def scores(problem: Problem, thetas: Float[np.ndarray, "r d"], points: Points) -> Float[np.ndarray, " r"]:
    """The share of points classified correctly, or 1 − Σ(f − y)²/Σ(y − ȳ)²; of each θ."""
    outputs = _outputs(problem.model, thetas, points.x)
    if isinstance(problem.loss, LogisticLoss):
        labels = points.y.reshape(len(points.y), -1)
        return np.mean((outputs.reshape(len(thetas), *labels.shape) > 0.0) == (labels > 0.5), axis=(1, 2))
    if isinstance(problem.loss, SoftmaxCrossEntropy):
        return np.mean(outputs.argmax(axis=2) == points.y, axis=1)
    y = points.y.astype(np.float64)
    spread = float(np.square(y - y.mean(axis=0)).sum())
    errors = np.square(outputs.reshape(len(thetas), *y.shape) - y).reshape(len(thetas), -1).sum(axis=1)
    return 1.0 - errors / spread if spread > 0.0 else np.full(len(thetas), np.nan)


def _outputs(
    model: AbstractModel, thetas: Float[np.ndarray, "r d"], x: Float[np.ndarray, "q p"]
) -> Float[np.ndarray, "r q *k"]:
    if isinstance(model, LinearModel):
        if model.outputs is None:
            return thetas @ x.T
        return x @ thetas.reshape(len(thetas), -1, model.outputs)
    return np.asarray(_mapped(model, jnp.asarray(thetas), jnp.asarray(x, thetas.dtype)))


@eqx.filter_jit
def _mapped(model: AbstractModel, thetas: Array, x: Array) -> Float[Array, "r q *k"]:
    return jax.lax.map(lambda theta: jax.vmap(model, in_axes=(None, 0))(theta, x), thetas)
