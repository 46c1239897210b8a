"""Linear regression: the `Problem`, and what it knows without an iteration, its minimum and (H_ε, b_ε)."""

import numpy as np
from jaxtyping import Float

from .._core import as_instance
from ._dataset import Dataset
from ._losses import SquaredLoss
from ._minimum import Minimum, by_factor, stationary
from ._models import LinearModel
from ._penalty import Penalty
from ._problem import Problem, Which
from ._quadratic import Quadratic
from ._shapes import DATASET


def linear_regression(
    data: Dataset,
    delete: Which = None,
    *,
    l2: Penalty = 0.0,
    reduction: str = "sum",
    penalise_intercept: bool = True,
    sample_weight: object = None,
) -> Problem:
    """R_ε(θ) = (c/2) Σ w_i (x_iᵀθ − y_i)² + (λ/2)‖θ‖², w_i = 1, or ε_j for the deleted points.

    Example:
        >>> data = ef.load_dataset("diabetes").add_intercept()
        >>> ef.linear_regression(data, l2=0.1, penalise_intercept=False).penalty[-2:]
        array([0.1, 0. ])

    Args:
        data: n points with one target; a memory-mapped x is read once, in chunks.
        delete: the points to be forgotten: indices from 0 (−1 is the last point), or a mask of n booleans.
        l2: λ ≥ 0, or one for each parameter.
        reduction: "sum" (c = 1, the notes' R) or "mean" (c = 1/n).
        penalise_intercept: whether λ also holds for the column that `Dataset.add_intercept` made.
        sample_weight: v_i ≥ 0 that multiplies the loss of each point, shape (n,): rows and targets are multiplied by
            √v_i, and the problem's data are these.
    """
    as_instance(data, "data", Dataset, DATASET)
    more = {"penalise_intercept": penalise_intercept, "sample_weight": sample_weight}
    return Problem(LinearModel(data.x.shape[1]), SquaredLoss(), data, delete, l2, reduction, **more)


def minimum(problem: Problem, weights: Float[np.ndarray, "*m"], nearest: Float[np.ndarray, " d"]) -> Minimum:
    """The minimum of R_ε for linear regression; of several, the one nearest to a point.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> ef.problem.minimum(line, np.array(1.0), np.zeros(1)).theta
        array([1.5])

    Args:
        problem: linear regression.
        weights: ε, one number or one per deleted point. With a negative one there need be no minimum, and what is
            returned is the stationary point.
        nearest: shape (d,).
    """
    assert isinstance(problem.risk, Quadratic)  # the caller's business
    assert problem.design is not None
    each = np.broadcast_to(weights, problem.delete.shape)
    if np.min(each, initial=0.0) < 0.0:
        return stationary(problem.risk, each, nearest)
    if not each.any() and problem.design.rank == problem.dim:  # the same whatever is near
        return problem.leave_out
    return by_factor(problem.points, problem.design, each, nearest)


def statistics(
    problem: Problem, weights: Float[np.ndarray, " m"]
) -> tuple[Float[np.ndarray, "d d"], Float[np.ndarray, " d"]]:
    """(H_ε, b_ε) of linear regression.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> ef.problem.statistics(line, np.array([1.0]))
        (array([[6.]]), array([9.]))
    """
    assert isinstance(problem.risk, Quadratic)  # the caller's business
    h, b = problem.risk.system(weights)
    return np.asarray(h), np.asarray(b)
