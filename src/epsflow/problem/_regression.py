"""What a `Problem` that is linear regression knows without an iteration: its minimum at any weights, and (H_ε, b_ε)."""

import numpy as np
from jaxtyping import Float

from ._minimum import Minimum, by_factor, stationary
from ._problem import Problem
from ._quadratic import Quadratic


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
