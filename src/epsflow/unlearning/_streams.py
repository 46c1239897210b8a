"""Streams of requests: one deletion after another, everything that is released compared with retraining at once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from .._core import ConvergenceError, InputError, Tabular, as_choice, as_index_array, as_instance
from ..analysis import Walker
from ..flow import checked, require_start
from ..problem import Problem
from ._bounds import constants_for, descent_bound
from ._certificate import PER_INSTANCE, ROUNDING, WORST_CASE
from ._certify import conventions, target_of
from ._constants import CERTIFIED, RiskConstants
from ._distances import Start
from ._gaussian import gaussian_r
from ._langevin_noise import langevin_stream_sigma
from .algorithms._base import AbstractAlgorithm, AbstractDescent, Plan
from .algorithms._descents import DescendToDelete, RewindToDelete
from .algorithms._noisy import LangevinUnlearning


@dataclass(frozen=True, eq=False, repr=False)
class StreamCertificate(Tabular):
    """(ε_dp, δ_dp) for a stream of requests.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> target = {"epsilon_dp": 1.0, "delta_dp": 1e-5}
        >>> ef.certify_stream(problem, ef.DescendToDelete(steps=100), requests=[17, [3, 4]], **target).kind
        'certified'

    Attributes:
        algorithm, scope, kind: see `UnlearningCertificate`.
        epsilon, delta: (ε_dp, δ_dp). With noise in the output they hold for *all* releases together; for Langevin
            unlearning for each of them.
        sigma: the noise of every release.
        noise: where it enters.
        requests: the points of each request, in words.
        distances: ‖θ − θ_retrained‖ after each request, without noise, shape (s,).
        bounds: on them, shape (s,); the distances themselves per instance.
        alone: σ that each request would need if it were the only one, shape (s,).
        gradients: gradients of all unlearning, in passes over all points.
        conventions: what the numbers rest on.
    """

    algorithm: str
    scope: str
    kind: str
    epsilon: float
    delta: float
    sigma: float
    noise: str
    requests: tuple[str, ...]
    distances: Float[np.ndarray, " s"]
    bounds: Float[np.ndarray, " s"]
    alone: Float[np.ndarray, " s"]
    gradients: float
    conventions: tuple[str, ...]

    def _title(self) -> str:
        return f"Certificate of {len(self.requests)} requests to {self.algorithm}, {self.scope}, {self.kind}"

    def _facts(self) -> dict[str, object]:
        return {
            "algorithm": self.algorithm,
            "requests": len(self.requests),
            "scope": self.scope,
            "kind": self.kind,
            "sigma": self.sigma,
        }

    def _figures(self) -> dict[str, object]:
        return {
            "(ε_dp, δ_dp)": f"({self.epsilon:g}, {self.delta:g})",
            "σ": f"{self.sigma:.6g}, {self.noise}",
            **{f"convention {k + 1}": words for k, words in enumerate(self.conventions)},
        }

    def _rows(self) -> list[dict[str, Any]]:
        columns = zip(self.requests, self.distances, self.bounds, self.alone, strict=True)
        return [dict(zip(("request", "distance", "bound", "σ alone"), row, strict=True)) for row in columns]


@checked
def certify_stream(
    problem: Problem,
    algorithm: AbstractAlgorithm,
    theta0: Start = None,
    *,
    requests: Sequence[Any],
    epsilon_dp: float,
    delta_dp: float,
    scope: str = PER_INSTANCE,
    constants: RiskConstants | None = None,
) -> StreamCertificate:
    """The noise for a stream of requests, fixed in advance.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> target = {"epsilon_dp": 1.0, "delta_dp": 1e-5}
        >>> promise = ef.certify_stream(problem, ef.DescendToDelete(steps=100), requests=[17, [3, 4]], **target)
        >>> promise
        StreamCertificate(algorithm=D2D, requests=2, scope=per instance, kind=certified, sigma=0.01095)

    Descend-to-delete goes on from the noiseless parameters, K more steps per request, and is compared with retraining
    for as many steps; rewind-to-delete goes back to its one checkpoint for each request. Every release adds fresh noise
    N(0, σ²I). All releases together are two Gaussians at distance (∑‖Δ_i‖²)^{1/2}/σ, so σ = (∑‖Δ_i‖²)^{1/2}/r is
    exactly enough: Gaussian mechanisms compose as the lengths of their distances (Dong, Roth and Su, 2022).

    In the worst case ‖Δ_i‖ is bounded by the series of `certify_unlearning` with the points of all requests so far:
    with w_k the number of points that request k deletes, a step of request i moves them apart by at most ηcG times the
    number of points that still count then and will not in the end.

    Langevin unlearning goes on from its noisy, published parameters, and each release satisfies (ε, δ) by the recursion
    of `langevin_stream_epsilon`.

    Args:
        problem: what is trained; its own `delete` plays no part here.
        algorithm: `DescendToDelete`, `RewindToDelete` or `LangevinUnlearning`, with full batches.
        theta0: where training starts, shape (d,). Default: zero, for convex risks.
        requests: for each request the points it deletes, a number or a list.
        epsilon_dp, delta_dp: the target.
        scope: "per instance" or "worst case".
        constants: of the risk.

    Raises:
        InputError: no request, a point that is deleted twice; another algorithm; another scope; as
            `certify_unlearning`.
        ConvergenceError: a run diverged, or a distance above a certified bound.
    """
    as_instance(algorithm, "algorithm", AbstractAlgorithm, "write DescendToDelete(steps=1000), …")
    target = target_of(epsilon_dp, delta_dp)
    as_choice(scope, "scope", (PER_INSTANCE, WORST_CASE))
    groups = _as_requests(problem, requests)
    whole = Problem(problem.model, problem.loss, problem.data, np.concatenate(groups), problem.l2, problem.reduction)
    start = require_start(whole, theta0, "theta0, where training starts")
    if not isinstance(algorithm, DescendToDelete | RewindToDelete | LangevinUnlearning) or algorithm.batch_size:
        raise InputError(
            f"a stream is certified for DescendToDelete, RewindToDelete and LangevinUnlearning with full batches; this "
            f"is {algorithm.name}" + (" with mini-batches." if getattr(algorithm, "batch_size", None) else ".")
        )
    if isinstance(algorithm, LangevinUnlearning) and scope == PER_INSTANCE:
        raise InputError("scope='per instance' of Langevin would take the laws of noisy paths; take 'worst case'.")
    eta = algorithm.eta(whole, start)
    plans = _plans(algorithm, [len(group) for group in groups])
    distances = _distances(whole, algorithm, eta, start, plans)
    found = constants_for(whole, algorithm, start, constants) if scope == WORST_CASE else None
    bounds, kind = distances, CERTIFIED
    if found is not None:
        pull, q = whole.scale * found.lipschitz, found.contraction(eta)
        kind, bounds = found.kind, np.array([_bound(plan, eta, pull, q) for plan in plans])
        if found.kind == CERTIFIED and constants is None and (distances > bounds * (1.0 + ROUNDING) + 1e-12).any():
            raise ConvergenceError(
                "a distance exceeds its certified bound; please report it with this problem.", distances
            )
    radius = float(gaussian_r(*target))
    sigma, alone = math.sqrt(float(bounds @ bounds)) / radius, bounds / radius
    if found is not None and isinstance(algorithm, LangevinUnlearning):
        sigma, alone = _langevin(whole, algorithm, eta, found, groups, target)
    return StreamCertificate(
        algorithm=algorithm.name,
        scope=scope,
        kind=kind,
        epsilon=target[0],
        delta=target[1],
        sigma=sigma,
        noise=algorithm.noise,
        requests=tuple(" ".join(map(str, group)) for group in groups),
        distances=distances,
        bounds=bounds,
        alone=alone,
        gradients=float(len(groups) * algorithm.unlearning_steps),
        conventions=(
            *conventions(whole, algorithm),
            "requests are fixed in advance; after request i retraining takes as many steps without the points so far",
        ),
    )


@dataclass(frozen=True)
class _StreamPlan:
    """One request: the weights of all points that are ever deleted, and those of its retraining.

    Attributes:
        plan: the run, weights (N, m).
        retrained: weights of retraining, shape (m,).
    """

    plan: Plan
    retrained: Float[np.ndarray, " m"]


def _as_requests(problem: Problem, requests: Sequence[Any]) -> list[Int[np.ndarray, " q"]]:
    if isinstance(requests, str) or not isinstance(requests, Sequence | np.ndarray) or not len(requests):
        raise InputError("requests is empty; name the points of each, such as requests=[[3], [17, 20]].")
    groups = [as_index_array(group, f"requests[{k}]", problem.data.n) for k, group in enumerate(requests)]
    as_index_array(np.concatenate(groups), "requests", problem.data.n)  # each point once, and one is left
    return groups


def _plans(algorithm: DescendToDelete | RewindToDelete | LangevinUnlearning, sizes: Sequence[int]) -> list[_StreamPlan]:
    total, steps, back = sum(sizes), algorithm.steps, algorithm.unlearning_steps
    gone = [np.arange(total) < sum(sizes[: k + 1]) for k in range(len(sizes))]
    plans, rows = [], np.ones((steps, total))
    for deleted in gone:
        left = np.where(deleted, 0.0, 1.0)
        last = np.tile(left, (back, 1))
        if isinstance(algorithm, RewindToDelete):
            weights = np.concatenate([np.ones((steps - back, total)), last])
        else:
            rows = np.concatenate([rows, last])
            weights = rows
        plans.append(_StreamPlan(Plan(weights, len(weights) - back, len(weights)), left))
    return plans


def _distances(
    problem: Problem, algorithm: AbstractDescent, eta: float, start: np.ndarray, plans: Sequence[_StreamPlan]
) -> Float[np.ndarray, " s"]:
    walker = Walker(problem, eta, algorithm.rule(0.0, eta))
    ends = []
    for each in plans:
        weights = each.plan.weights
        theta, other = (
            walker.walk(start, path)[0, 0] for path in (weights, np.tile(each.retrained, (len(weights), 1)))
        )
        ends.append(float(np.linalg.norm(theta - other)))
    return np.array(ends)


def _bound(each: _StreamPlan, eta: float, pull: float, contraction: float) -> float:
    """Both runs descend the risk of what is left then; the first also feels the points that still count."""
    extra = np.abs(each.plan.weights - each.retrained).sum(axis=1)
    return descent_bound(Plan(extra, 0, 0), eta, pull, contraction)


def _langevin(
    problem: Problem,
    algorithm: LangevinUnlearning,
    eta: float,
    constants: RiskConstants,
    groups: Sequence[np.ndarray],
    target: tuple[float, float],
) -> tuple[float, Float[np.ndarray, " s"]]:
    unit = problem.data.n * problem.scale
    if constants.strong_convexity <= 0.0:
        raise InputError("the certificate of Langevin needs a strongly convex risk: make the problem with l2 > 0.")
    common: dict[str, Any] = {
        "n": problem.data.n,
        "strong_convexity": constants.strong_convexity / unit,
        "smoothness": max(1.0 / (eta * unit), constants.strong_convexity / unit),
        "lipschitz": constants.lipschitz,
        "epsilon": target[0],
        "delta": target[1],
        "replaced": max(len(group) for group in groups),
    }
    back = algorithm.unlearning_steps
    scale = math.sqrt(unit)
    alone = scale * langevin_stream_sigma(steps=[back], **common)
    return scale * langevin_stream_sigma(steps=[back] * len(groups), **common), np.full(len(groups), alone)
