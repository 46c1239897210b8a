"""What the published theorem says of the same algorithm and constants, or why it does not apply."""

import math
from typing import Any

import numpy as np

from .._core import InputError
from ..problem import Problem
from ._constants import RiskConstants
from ._descent_noise import d2d_sigma, r2d_sigma
from ._newton_noise import certified_removal_sigma, newton_removal_sigma
from .algorithms._base import EVERY_STEP, Plan
from .algorithms._descents import DescendToDelete, RewindToDelete
from .algorithms._newton import CertifiedRemoval, NewtonRemoval

NOTHING = math.nan


def theorem_of(
    problem: Problem, algorithm: Any, eta: float, plan: Plan | None, constants: RiskConstants | None, target: Any
) -> tuple[str, float]:
    """The theorem in words, and its σ; NaN and the reason where it does not apply."""
    if algorithm.noise == EVERY_STEP:
        return "the same as here", NOTHING
    if constants is None:
        return "none is needed", NOTHING
    if getattr(algorithm, "batch_size", None):
        return "none: the theorems for full batches do not hold with mini-batches", NOTHING
    try:
        if isinstance(algorithm, DescendToDelete) and plan is not None:
            return _d2d(problem, algorithm, eta, constants, target)
        if isinstance(algorithm, RewindToDelete) and plan is not None:
            return _r2d(problem, algorithm, eta, constants, target)
        if isinstance(algorithm, NewtonRemoval):
            return _sekhari(problem, constants, target)
        if isinstance(algorithm, CertifiedRemoval):
            return _guo(problem, constants, target)
    except InputError as refusal:
        return f"none: {refusal}", NOTHING
    return "none is known", NOTHING


def _mean_units(problem: Problem, constants: RiskConstants, radius: float | None) -> tuple[float, float]:
    """L_s and G of a point's loss with its share of the penalty, the risk being their mean."""
    unit = problem.data.n * problem.scale
    if constants.strong_convexity > 0.0 and radius is None:
        raise InputError("the gradient of the penalty is bounded on a ball alone: give radius=….")
    gradient = constants.lipschitz + problem.l2 / unit * (radius or 0.0)
    return constants.smoothness / unit, gradient


def _d2d(
    problem: Problem, algorithm: DescendToDelete, eta: float, constants: RiskConstants, target: Any
) -> tuple[str, float]:
    name = "Neel, Roth and Sharifi-Malvajerdi (2020), secret state"
    mu, smooth = constants.strong_convexity, constants.smoothness
    if problem.delete.size > 1 or mu <= 0.0 or not constants.convex:
        raise InputError(f"{name}, is for one point and a strongly convex risk.")
    needed = 2.0 / (smooth + mu)
    if not math.isclose(eta, needed, rel_tol=1e-6):
        raise InputError(f"{name}, is for step_size = 2/(smoothness + strong_convexity) = {needed:.6g}.")
    mean_smooth, gradient = _mean_units(problem, constants, algorithm.radius)
    mean_mu = mu / (problem.data.n * problem.scale)
    sigma = d2d_sigma(
        n=problem.data.n,
        strong_convexity=mean_mu,
        steps=algorithm.unlearning_steps,
        epsilon=target[0],
        delta=target[1],
        smoothness=mean_smooth,
        lipschitz=gradient,
    )
    log_gamma = math.log1p(-2.0 * mu / (smooth + mu)) if mu < smooth else -math.inf
    wide = 2.0 * (algorithm.radius or 0.0) * mean_mu * problem.data.n / (2.0 * gradient)
    least = algorithm.unlearning_steps + max(math.log(max(wide, 1e-300)) / -log_gamma, 0.0)
    if algorithm.steps < least:
        raise InputError(f"{name}, needs at least T = {math.ceil(least)} steps of training.")
    return name, sigma


def _r2d(
    problem: Problem, algorithm: RewindToDelete, eta: float, constants: RiskConstants, target: Any
) -> tuple[str, float]:
    mean_smooth, gradient = _mean_units(problem, constants, algorithm.radius)
    sigma = r2d_sigma(
        n=problem.data.n,
        deleted=max(problem.delete.size, 1),
        step_size=eta * problem.data.n * problem.scale,
        steps=algorithm.steps,
        unlearning_steps=algorithm.unlearning_steps,
        epsilon=target[0],
        delta=target[1],
        smoothness=mean_smooth,
        lipschitz=gradient,
    )
    return "Mu and Klabjan (2024), Theorem 3.1", sigma


def _sekhari(problem: Problem, constants: RiskConstants, target: Any) -> tuple[str, float]:
    """At a minimiser the penalty's gradient is no larger than the data's, so G doubles at most."""
    unit = problem.data.n * problem.scale
    sigma = newton_removal_sigma(
        n=problem.data.n,
        deleted=max(problem.delete.size, 1),
        strong_convexity=constants.strong_convexity / unit,
        lipschitz=2.0 * constants.lipschitz,
        hessian_lipschitz=constants.hessian_lipschitz / unit,
        epsilon=target[0],
        delta=target[1],
    )
    return "Sekhari, Acharya, Kamath and Suresh (2021)", sigma


def _guo(problem: Problem, constants: RiskConstants, target: Any) -> tuple[str, float]:
    name = "Guo, Goldstein, Hannun and van der Maaten (2020)"
    longest = float(np.sqrt(np.square(problem.data.x).sum(axis=1).max()))
    if longest > 1.0 or problem.delete.size > 1:
        raise InputError(f"{name}, is for one point and rows of length at most 1; the longest has {longest:.4g}.")
    unit = problem.data.n * problem.scale
    sigma = certified_removal_sigma(
        n=problem.data.n,
        l2=problem.l2 / unit,
        lipschitz=constants.lipschitz,
        curvature_lipschitz=constants.hessian_lipschitz / (unit * longest**3),
        epsilon=target[0],
        delta=target[1],
    )
    return name, sigma
