"""`certify_unlearning`: the noise an algorithm needs on a problem, with the scope and the kind of what that proves."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float, Key

from .._core import Array, ConvergenceError, InputError, as_choice, as_instance, as_scalar
from ..flow import checked
from ..problem import Problem
from ._bounds import Bound, constants_for, worst_case
from ._certificate import PER_DATA_SET, PER_INSTANCE, ROUNDING, SCOPES, UnlearningCertificate
from ._constants import CERTIFIED, ESTIMATED, HEURISTIC, RiskConstants
from ._distances import Start, of_data_set, of_instance
from ._gaussian import gaussian_r
from ._parameters import as_deltas, as_positive
from ._random_batches import DistanceLaw, mixture_sigma
from ._theorems import theorem_of
from .algorithms._base import EVERY_STEP, OBJECTIVE, OUTPUT, AbstractAlgorithm, AbstractDescent, UnlearningRun, as_run


@checked
def certify_unlearning(
    problem: Problem,
    algorithm: AbstractAlgorithm,
    theta0: Start = None,
    *,
    epsilon_dp: float,
    delta_dp: float,
    scope: str = PER_INSTANCE,
    constants: RiskConstants | None = None,
    key: Key[Array, ""] | None = None,
    seeds: int = 100,
) -> UnlearningCertificate:
    """The least noise with which an algorithm's answer is (ε_dp, δ_dp)-indistinguishable from retraining's.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> algorithm = ef.RewindToDelete(steps=100, unlearning_steps=20)
        >>> ef.certify_unlearning(problem, algorithm, epsilon_dp=1.0, delta_dp=1e-5)
        UnlearningCertificate(algorithm=R2D, scope=per instance, kind=certified, sigma=0.008794, distance=0.002357,
        bound=0.002357)

    * "per instance": this data set and this deletion. σ = ‖θ − θ_retrained‖/`gaussian_r`(ε, δ) with the exact distance;
      under random batches σ solves E δ_G(ε; ‖Δ‖/σ) = δ over the draws (an estimate).
    * "per data set": the largest such σ over all deletions of as many points as the problem's.
    * "worst case": from the constants of the risk alone, proved from the data and the projection's radius for linear
      models, sampled along the trajectories for others. The exact distance is laid beside the bound.

    Noise in each step (Langevin, noisy SGD, clipped fine-tuning) has worst-case certificates alone: what it hides per
    instance are the laws of noisy paths.

    Args:
        problem: what is trained, and which points are deleted (none: one point, for "per data set").
        algorithm: such as `RewindToDelete(steps=1000, unlearning_steps=100)`.
        theta0: where training starts, shape (d,). Default: zero, for convex risks.
        epsilon_dp: ε_dp > 0.
        delta_dp: δ_dp in (0, 1).
        scope: "per instance", "per data set" or "worst case".
        constants: of the risk, if they are known better than from the data.
        key, seeds: of random batches. Default: jax.random.key(0).

    Raises:
        InputError: ε_dp or δ_dp outside its range, a step above its limit, a non-convex risk for a convex certificate,
            a gradient without a bound, a scope that cannot be computed.
        ConvergenceError: a run diverged; or a distance above a certified bound, which would be an error of this
            library: `.result` holds the certificate.
    """
    as_instance(algorithm, "algorithm", AbstractAlgorithm, "write RewindToDelete(steps=1000, unlearning_steps=100), …")
    target = target_of(epsilon_dp, delta_dp)
    as_choice(scope, "scope", SCOPES)
    if algorithm.noise == EVERY_STEP and scope != SCOPES[2]:
        raise InputError(
            f"scope={scope!r} of {algorithm.name} would take the laws of two noisy paths, not a distance; take "
            "scope='worst case', and `audit` for a bound from below."
        )
    if scope == PER_DATA_SET:
        return _per_data_set(problem, algorithm, theta0, target)
    start = as_run(problem, theta0)
    run, sizes = of_instance(problem, algorithm, start, key, seeds)
    if scope == PER_INSTANCE:
        return _per_instance(problem, algorithm, start, target, run, sizes)
    return _worst_case(problem, algorithm, start, target, run, sizes, constants)


def _per_instance(
    problem: Problem,
    algorithm: AbstractAlgorithm,
    start: Float[np.ndarray, " d"],
    target: tuple[float, float],
    run: UnlearningRun,
    sizes: Float[np.ndarray, " r"],
) -> UnlearningCertificate:
    kind, words = _kind(problem, algorithm, exact=sizes.size == 1)
    distance = float(sizes.mean())
    if sizes.size > 1:
        sigma = mixture_sigma(DistanceLaw(sizes, np.full(sizes.size, 1.0 / sizes.size)), *target)
        bound = sigma * float(gaussian_r(*target))
        words = (*words, f"the law of the distance is that of {sizes.size} draws of the batches")
    else:
        sigma, bound = noise_for(distance, algorithm.noise, target), distance
    return _certificate(
        problem,
        algorithm,
        start,
        target,
        run=run,
        scope=PER_INSTANCE,
        kind=kind,
        sigma=sigma,
        distance=distance,
        bound=bound,
        words=words,
    )


def _per_data_set(
    problem: Problem, algorithm: AbstractAlgorithm, theta0: Start, target: tuple[float, float]
) -> UnlearningCertificate:
    family = of_data_set(problem, algorithm, theta0)
    kind, words = _kind(problem, algorithm, exact=True)
    bound = float(family.sizes.max())
    own = np.flatnonzero((family.sets == np.sort(problem.delete)).all(axis=1)) if problem.delete.size else np.zeros(0)
    return UnlearningCertificate(
        algorithm=algorithm.name,
        scope=PER_DATA_SET,
        kind=kind,
        epsilon=target[0],
        delta=target[1],
        sigma=noise_for(bound, algorithm.noise, target),
        noise=algorithm.noise,
        distance=float(family.sizes[int(own[0])]) if own.size else bound,
        bound=bound,
        steps=round(family.gradients),  # of full batches
        gradients=family.gradients,
        training_gradients=family.training_gradients,
        step_size=family.step_size,
        theorem="none: this is exact for the data set",
        theorem_sigma=math.nan,
        conventions=(*conventions(problem, algorithm), *words),
        sets=family.sets,
        distances=family.sizes,
        changes=family.changes,
    )


def _worst_case(
    problem: Problem,
    algorithm: AbstractAlgorithm,
    start: Float[np.ndarray, " d"],
    target: tuple[float, float],
    run: UnlearningRun,
    sizes: Float[np.ndarray, " r"],
    given: RiskConstants | None,
) -> UnlearningCertificate:
    constants = constants_for(problem, algorithm, start, given)
    eta, plan = math.nan, None
    if isinstance(algorithm, AbstractDescent):
        eta = algorithm.eta(problem, start)
        plan = algorithm.plan(eta)
    found = worst_case(problem, algorithm, eta, plan, constants, target=target)
    sigma, bound, largest = _from_bound(found, algorithm, target)
    theorem, theorem_sigma = theorem_of(problem, algorithm, eta, plan, constants, target)
    kind = CERTIFIED if constants is None else constants.kind
    violated = float(sizes.max()) > largest * (1.0 + ROUNDING) + 1e-3 * ROUNDING * float(np.abs(run.retrained).max())
    certificate = _certificate(
        problem,
        algorithm,
        start,
        target,
        run=run,
        scope=SCOPES[2],
        kind=HEURISTIC if violated else kind,
        sigma=sigma,
        distance=float(sizes.mean()),
        bound=bound,
        words=_worst_words(algorithm, constants),
        theorem=theorem,
        theorem_sigma=theorem_sigma,
        constants=constants,
    )
    if violated and kind == CERTIFIED and given is None:
        raise ConvergenceError(
            f"{algorithm.name} ends {sizes.max():.6g} from retraining, above its bound {largest:.6g}: the certificate "
            "is wrong. Please report it with this problem; .result holds the certificate.",
            certificate,
        )
    return certificate


def _from_bound(found: Bound, algorithm: AbstractAlgorithm, target: tuple[float, float]) -> tuple[float, float, float]:
    """σ, the bound it stands for, and the largest distance that is possible."""
    if found.law is not None:
        sigma = mixture_sigma(found.law, *target)
        return sigma, sigma * float(gaussian_r(*target)), float(found.law.distances.max())
    if found.sigma is not None:
        return found.sigma, found.size, found.size
    return noise_for(found.size, algorithm.noise, target), found.size, found.size


def noise_for(size: float, noise: str, target: tuple[float, float]) -> float:
    """σ for a distance by the exact curve; for a residual gradient by Theorem 3 of Guo and others (2020)."""
    epsilon, delta = target
    if noise == OBJECTIVE:
        return size * math.sqrt(2.0 * math.log(1.5 / delta)) / epsilon
    return size / float(gaussian_r(epsilon, delta))


def conventions(problem: Problem, algorithm: AbstractAlgorithm) -> tuple[str, ...]:
    """What every number of an algorithm on a problem rests on."""
    scale = "c = 1/n, also after the deletion" if problem.reduction == "mean" else "c = 1"
    descent = isinstance(algorithm, AbstractDescent)
    shared = "the same start" + (" and the same batches" if getattr(algorithm, "batch_size", None) else "")
    return (
        f"risk: {problem.reduction} over the points, {scale}; the penalty is not scaled",
        f"compared with {algorithm.reference if descent else 'θ(0), the minimum without the points'}"
        + (f", from {shared}" if descent else ""),
        "state: the noise is published, the parameters without it are secret"
        if algorithm.noise == OUTPUT
        else "state: noisy, and may be published",
        *(("counts are of optimiser steps, not of epochs",) if descent else ()),
    )


def _kind(problem: Problem, algorithm: AbstractAlgorithm, *, exact: bool) -> tuple[str, tuple[str, ...]]:
    if not isinstance(algorithm, AbstractDescent) and not problem.convex:
        return HEURISTIC, ("the risk is not convex: retraining is the minimum next to θ(1), one of several",)
    if algorithm.noise == OBJECTIVE:
        return ESTIMATED, ("the residual is that without noise in the objective",)
    return (CERTIFIED, ()) if exact else (ESTIMATED, ())


def _worst_words(algorithm: AbstractAlgorithm, constants: RiskConstants | None) -> tuple[str, ...]:
    words = (
        ("constants: none are needed",) if constants is None else (f"constants: {constants.kind}, {constants.source}",)
    )
    if algorithm.name == "Langevin":
        words = (*words, "assumed: training ran to stationarity", "bound: of the runs without noise")
    elif algorithm.noise == EVERY_STEP:
        words = (*words, "bound: of the runs without noise")
    return words


def _certificate(
    problem: Problem,
    algorithm: AbstractAlgorithm,
    start: Float[np.ndarray, " d"],
    target: tuple[float, float],
    *,
    run: UnlearningRun,
    words: tuple[str, ...],
    **figures: Any,
) -> UnlearningCertificate:
    """The common fields; `figures` are the others."""
    eta, steps = math.nan, 1
    if isinstance(algorithm, AbstractDescent):
        eta = algorithm.eta(problem, start)
        steps = algorithm.plan(eta).steps
    given = {"theorem": "none: this is exact for the instance", "theorem_sigma": math.nan, **figures}
    return UnlearningCertificate(
        algorithm=algorithm.name,
        epsilon=target[0],
        delta=target[1],
        noise=algorithm.noise,
        steps=steps,
        gradients=run.gradients,
        training_gradients=run.training_gradients,
        step_size=eta,
        conventions=(*conventions(problem, algorithm), *words),
        **given,
    )


def target_of(epsilon_dp: float, delta_dp: float) -> tuple[float, float]:
    """(ε_dp, δ_dp), checked under these names."""
    epsilon = as_positive(epsilon_dp, "epsilon_dp")
    try:
        return epsilon, float(as_deltas(as_scalar(delta_dp, "delta")))
    except InputError as refusal:
        raise InputError(str(refusal).replace("delta", "delta_dp", 1)) from refusal
