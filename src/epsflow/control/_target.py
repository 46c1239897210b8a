"""Where θ(T) should be: the leave-out optimum, how exactly it is known, and what makes it uncertain."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._core import Array, InputError, warn
from ..flow import equilibrium
from ..problem import Problem, Quadratic, minimum
from ..problem._problem import DENSE_LIMIT
from .terms._cost import AbstractCost

NOTICEABLE, ROUNDING = 1e-6, 1e-10
"""Error of the target, in units of ‖θ(s) − target‖, from which the caller is warned: certificates are asked to 1e-6.
But not where it is below 1e-10 of ‖target‖, or of ‖y‖/‖X‖: then θ(s) is near the target, and the data are good."""


class Target(NamedTuple):
    """The leave-out optimum as it was computed.

    Attributes:
        theta: shape (d,).
        error: estimate of ‖theta − θ*_{-D}‖.
    """

    theta: Float[Array, " d"]
    error: float


def leave_out_optimum(problem: Problem, theta0: Array, cost: AbstractCost) -> Target:
    """θ*_{-D}; of several minima of R_0, where the cost cannot tell them apart, the one nearest to θ0.

    Raises:
        InputError: not unique, or too many parameters to certify it.
        ConvergenceError: it was not found.
    """
    free = problem.undetermined_direction()
    if free is not None and _sees(cost, problem):
        raise InputError(
            "the leave-out optimum is not unique: the retained points leave the direction "
            f"({free}) undetermined, so 'the distance to it' has no meaning. Give l2 > 0, or the target that you want, "
            "or a cost that does not see that direction, such as RetainedLoss()."
        )
    if isinstance(problem.risk, Quadratic):
        with np.errstate(over="ignore", invalid="ignore"):  # an error that is not finite is refused by who asks
            found = minimum(problem, np.zeros(()), np.asarray(theta0))
            return Target(found.theta, float(np.linalg.norm(found.error)))
    if problem.dim > DENSE_LIMIT:
        raise InputError(
            f"the leave-out optimum of {problem.dim} parameters is out of reach: certifying it takes a dense Hessian "
            f"(limit {DENSE_LIMIT}). Give a target, for instance what retraining from the same start gives at T: "
            "gradient_flow(problem, Constant(0.0), theta0, ts=[T]).end."
        )
    end = equilibrium(problem, eps=0.0, theta0=theta0)
    curvature = float(end.smallest_curvature)
    # To first order ∇R_0 = ∇²R_0·error; where the minimum is not isolated, nothing bounds how far along it this one is.
    return Target(jnp.asarray(end.theta), float(end.gradient_norm) / curvature if curvature > 0.0 else 0.0)


def _sees(cost: AbstractCost, problem: Problem) -> bool:
    """Whether the cost changes along ker H_{-D}."""
    risk = problem.risk
    assert isinstance(risk, Quadratic)  # only linear regression knows an undetermined direction
    rates, vectors, kernel = (
        np.asarray(a) for a in (risk.retained.values, risk.retained.vectors, risk.retained.kernel)
    )
    along = cost.form(rates[kernel], vectors[:, kernel]).norm
    return along > 1e-10 * cost.form(rates, vectors).norm


def warn_of(problem: Problem, target: Target, far: float) -> None:
    """Warn where the error of the target is noticeable beside ‖θ(s) − target‖, and name the direction that makes it."""
    size = float(np.linalg.norm(np.asarray(target.theta)))
    if isinstance(problem.risk, Quadratic):  # or as large as data of this size could make it
        steepest = float(np.asarray(problem.risk.retained.values)[-1])
        size = max(size, np.sqrt(2.0 * float(problem.risk.constant) / steepest) if steepest > 0.0 else 0.0)
    if target.error <= max(NOTICEABLE * far, ROUNDING * size):
        return
    why = ""
    if isinstance(problem.risk, Quadratic):
        values, vectors = np.asarray(problem.risk.retained.values), np.asarray(problem.risk.retained.vectors)
        least = int(np.flatnonzero(values > 0.0)[0])
        why = (
            f" The retained points hardly determine the direction ({problem.in_words(vectors[:, least])}): the "
            f"eigenvalues of H_{{-D}} are {values[least]:.1e} to {values[-1]:.1e}. Leave one of these features out, "
            "combine them, or give l2 > 0."
        )
    warn(
        f"the leave-out optimum is known to ±{target.error:.1g} only, at a distance of {far:.3g} from θ(s); costs "
        f"carry that error, and nothing is certified beyond it.{why}"
    )
