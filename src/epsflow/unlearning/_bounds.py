"""Worst-case bounds of the algorithms, from constants of the risk: proved for the runs as they are made here.

R_0 is R without the deleted points' terms, at the same scale c. So the gradients of R_ε and R_0 differ by
c∑ε_j∇ℓ_j, at most |ε|cmG, and with q the Lipschitz constant of a step on R_0 (a projection never adds to it)

    ‖θ_{k+1} − θ'_{k+1}‖ ≤ q‖θ_k − θ'_k‖ + η|ε_k|cmG,   so   ‖θ_N − θ'_N‖ ≤ ηcmG ∑_k |ε_k| q^{N−1−k}

for any weights: descend- and rewind-to-delete, ascent and every schedule are choices of ε_k.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from .._core import InputError
from ..analysis import Walker
from ..problem import LinearModel, Problem, SquaredLoss
from ._clipped_noise import clipped_sigma
from ._constants import RiskConstants, risk_constants, sampled_constants
from ._langevin_noise import langevin_sigma, noisy_sgd_sigma
from ._random_batches import DistanceLaw, batch_law
from .algorithms._base import AbstractDescent, Plan
from .algorithms._descents import Retrain
from .algorithms._newton import NewtonRemoval
from .algorithms._noisy import ClippedFinetuning, NoisySGD

SAMPLES = 6
"""Parameters of each trajectory at which constants are sampled."""


@dataclass(frozen=True)
class Bound:
    """What the constants prove.

    Attributes:
        size: bound on what has to be hidden.
        sigma: the noise that a theorem of its own gives, else None: σ then follows from the size.
        law: bound on the law of the distance, under random batches.
    """

    size: float
    sigma: float | None = None
    law: DistanceLaw | None = None


def constants_for(
    problem: Problem, algorithm: Any, start: Float[np.ndarray, " d"], given: RiskConstants | None
) -> RiskConstants | None:
    """The constants that are given, proved, or (of models that are not linear) sampled; None where none are needed.

    Raises:
        InputError: a non-convex risk for a certificate that needs a convex one; a gradient without a bound.
    """
    if isinstance(algorithm, ClippedFinetuning | Retrain):
        return None
    if algorithm.convex_only and not (problem.convex if given is None else given.convex):
        raise InputError(
            f"the worst-case certificate of {algorithm.name} needs a convex risk, and this one "
            f"({type(problem.model).__name__} with {type(problem.loss).__name__}) is not. Take RewindToDelete, "
            "scope='per instance', or ClippedFinetuning, which assumes nothing."
        )
    if given is not None:
        return given
    if isinstance(problem.model, LinearModel):
        return risk_constants(problem, _radius(problem, algorithm))
    return _sampled(problem, algorithm, start)


def worst_case(
    problem: Problem, algorithm: Any, eta: float, plan: Plan | None, constants: RiskConstants | None, *, target: Any
) -> Bound:
    """The bound of one algorithm; `target` is (ε_dp, δ_dp)."""
    if isinstance(algorithm, ClippedFinetuning):
        return _clipped(problem, algorithm, eta, target)
    if constants is None:
        return Bound(0.0)
    pull = problem.scale * max(problem.delete.size, 1) * constants.lipschitz
    if plan is None:
        return _newton(problem, algorithm, pull, constants)
    if algorithm.noise != "output":
        return _noisy(problem, algorithm, eta, plan, constants, pull, target)
    if algorithm.batch_size:
        return Bound(math.nan, law=_law(problem, algorithm, eta, plan, constants))
    return Bound(descent_bound(plan, eta, pull, constants.contraction(eta)))


def descent_bound(plan: Plan, eta: float, pull: float, contraction: float) -> float:
    """ηcmG ∑_k |ε_k| q^{N−1−k}; infinite where it overflows."""
    sizes = np.abs(plan.weights).reshape(len(plan.weights), -1).max(axis=1)
    with np.errstate(over="ignore"):
        powers = contraction ** np.arange(len(sizes) - 1, -1, -1, dtype=np.float64)
        return float(eta * pull * (sizes[sizes > 0.0] @ powers[sizes > 0.0]))


def _law(problem: Problem, algorithm: AbstractDescent, eta: float, plan: Plan, constants: RiskConstants) -> DistanceLaw:
    """Under shared batches of all n points a deleted point counts ε_k, or nothing: κ = 1 hit of ηc(n/b)G each."""
    if not np.isin(plan.weights, (0.0, 1.0)).all() or plan.weights.ndim > 1:
        raise InputError("with mini-batches a worst-case certificate is for weights that are 0 or 1 for all points.")
    lower = np.flatnonzero(plan.weights == 0.0)
    back = len(plan.weights) - (int(lower[0]) if lower.size else len(plan.weights))
    if plan.weights[len(plan.weights) - back :].any():
        raise InputError("with mini-batches a worst-case certificate is for weights that stay 0 once they are.")
    # `batch_law` counts two points for one that is replaced; here it is left out.
    return batch_law(
        n=problem.data.n,
        deleted=max(problem.delete.size, 1),
        batch=algorithm.batch_size or 1,
        steps=len(plan.weights),
        lipschitz=0.5 * problem.scale * problem.data.n * constants.lipschitz,
        step_size=eta,
        contraction=constants.contraction(eta, batches=True),
        unlearning_steps=back,
    )


def _noisy(
    problem: Problem, algorithm: Any, eta: float, plan: Plan, constants: RiskConstants, pull: float, target: Any
) -> Bound:
    """Langevin and noisy SGD, in the units of the mean risk: R = a·mean with a = nc."""
    unit = problem.data.n * problem.scale
    epsilon, delta = target
    if constants.strong_convexity <= 0.0:
        raise InputError(
            f"the certificate of {algorithm.name} needs a strongly convex risk: with l2 = {problem.l2:g} nothing "
            "forgets the start. Make the problem with l2 > 0."
        )
    common = {
        "n": problem.data.n,
        "strong_convexity": constants.strong_convexity / unit,
        "epsilon": epsilon,
        "delta": delta,
    }
    if isinstance(algorithm, NoisySGD):
        b = algorithm.batch_size or 1
        if problem.data.n % b or plan.steps % (problem.data.n // b) or not plan.steps:
            raise InputError(
                f"the certificate of noisy SGD is for whole epochs: batch_size = {b} has to divide n = "
                f"{problem.data.n}, and n/batch_size unlearning_steps = {plan.steps}."
            )
        sigma = noisy_sgd_sigma(
            batch=b,
            smoothness=constants.point_smoothness / unit,
            lipschitz=constants.lipschitz * max(problem.delete.size, 1),
            step_size=eta * unit,
            epochs=plan.steps // (problem.data.n // b),
            **common,
        )
        q = constants.contraction(eta, batches=True)
        hits = problem.data.n // b
        worst = eta * problem.data.n / b * pull * q**plan.steps / max(1.0 - q**hits, 1e-300)
        return Bound(worst, sigma * math.sqrt(unit))
    limit = 1.0 / constants.smoothness
    if eta > limit * (1.0 + 1e-12):
        raise InputError(
            f"step_size is {eta:g}, above its limit 1/smoothness = {limit:g}, beyond which Langevin unlearning is not "
            f"proved. Take a step of at most {limit:g}."
        )
    sigma = langevin_sigma(
        smoothness=max(1.0 / (eta * unit), constants.strong_convexity / unit),
        lipschitz=constants.lipschitz,
        steps=plan.steps,
        replaced=max(problem.delete.size, 1),
        **common,
    )
    return Bound(descent_bound(plan, eta, pull, constants.contraction(eta)), sigma * math.sqrt(unit))


def _clipped(problem: Problem, algorithm: ClippedFinetuning, eta: float, target: Any) -> Bound:
    """No constants at all."""
    epsilon, delta = target
    steps, start, radius = algorithm.unlearning_steps, algorithm.initial_radius, algorithm.bound
    by_gradient = algorithm.clipping == "gradient"
    sigma = clipped_sigma(
        clipping=algorithm.clipping,
        initial_radius=start,
        radius=radius,
        steps=steps,
        epsilon=epsilon,
        delta=delta,
        step_size=eta if by_gradient else None,
        weight_decay=problem.l2 if by_gradient else 0.0,
    )
    shrink = (1.0 - eta * problem.l2) ** np.arange(steps + 1, dtype=np.float64)
    size = 2.0 * start * shrink[-1] + 2.0 * eta * radius * shrink[:-1].sum() if by_gradient else 2.0 * radius
    return Bound(float(size), sigma)


def _newton(problem: Problem, algorithm: Any, pull: float, constants: RiskConstants) -> Bound:
    """The error of one Newton step: (ρ/2μ)‖θ(1) − θ(0)‖² for the distance, (ρ/2c)‖step‖² for the gradient left.

    ‖θ(1) − θ(0)‖ and the step are at most cmG/μ, since ∇R_0(θ(1)) = −∑g_j; damping shortens the step by at most the
    share λ_d/(μ + λ_d).
    """
    mu, rho = constants.strong_convexity, constants.hessian_lipschitz
    if mu <= 0.0:
        raise InputError(
            f"the worst-case certificate of {algorithm.name} needs a strongly convex risk; make the problem with "
            "l2 > 0, or take scope='per data set'."
        )
    moved = pull / mu
    if not isinstance(algorithm, NewtonRemoval):
        return Bound(0.5 * rho * moved**2 / problem.scale)
    return Bound(0.5 * rho / mu * moved**2 + algorithm.damping / (mu + algorithm.damping) * moved)


def _radius(problem: Problem, algorithm: Any) -> float | None:
    """Of the projection; for exact minimisers of a penalised squared loss, of the ball that they cannot leave."""
    if isinstance(algorithm, AbstractDescent):
        return algorithm.radius
    if type(problem.loss) is SquaredLoss and problem.l2 > 0.0:
        # (λ/2)‖θ‖² ≤ R(θ) ≤ R(0) ≤ (c/2)∑‖y‖².
        return math.sqrt(problem.scale * float(np.square(problem.data.y).sum()) / problem.l2)
    return None


def _sampled(problem: Problem, algorithm: Any, start: Float[np.ndarray, " d"]) -> RiskConstants:
    """Along training with all points and without the deleted ones."""
    if not isinstance(algorithm, AbstractDescent):
        raise InputError(
            f"the constants of {type(problem.model).__name__} can only be sampled along steps, which {algorithm.name} "
            "does not take. Pass constants=RiskConstants(...), or take scope='per instance'."
        )
    eta = algorithm.eta(problem, start)
    plan = algorithm.plan(eta)
    marks = np.unique(np.linspace(0, len(plan.weights), SAMPLES).astype(int))
    walker = Walker(problem, eta, algorithm.rule(0.0, eta) if not algorithm.batch_size else None)
    paths = [walker.walk(start, weights, marks=marks)[0] for weights in (plan.weights, np.zeros_like(plan.weights))]
    return sampled_constants(problem, list(np.concatenate(paths)), algorithm.radius)
