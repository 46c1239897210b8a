"""`audit`: an ensemble of unlearned models against one of retrained models, and what tells them apart."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Key

from .._core import Array, ConvergenceError, InputError, Tabular, as_instance, as_share, share_bounds
from ..flow import checked
from ..problem import Dataset, Problem
from ._certificate import PER_INSTANCE, WORST_CASE, UnlearningCertificate
from ._certify import certify_unlearning
from ._distances import Start
from ._metrics import Interval, mean_gap, mean_interval, size_of
from ._model_scores import score_models
from ._parameters import as_count, as_nonnegative
from .algorithms._base import EVERY_STEP, OUTPUT, AbstractAlgorithm, as_run

THRESHOLDS = 50
"""Tests that the first half of the models is asked to choose from, in each direction."""


@dataclass(frozen=True, eq=False, repr=False)
class UnlearningAudit(Tabular):
    """What an ensemble says of unlearning; every number with its interval.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> found = ef.audit(problem, ef.DescendToDelete(steps=50, unlearning_steps=5), models=20)
        >>> found.models, found.confidence, sorted(found.gaps)
        (20, 0.95, ['forget loss', 'retain R²', 'retain loss'])

    Attributes:
        algorithm: its name.
        certificate: what was promised.
        sigma: noise that the models were released with.
        models: number of unlearned models, and of retrained ones.
        confidence: of every interval, and of ε_audit.
        distance: mean distance of an unlearned model to the retrained models' mean.
        spread: the same of retrained models, what their own noise makes.
        gaps: by name ("forget loss", "retain accuracy", …) the mean over unlearned models minus that over retrained.
        unlearned, retrained: those means.
        membership: |AUC on unlearned models − AUC on retrained ones| of an attack by the loss; 0 is perfect unlearning.
            The AUC of unlearned models alone says nothing: deleted points may be easy, or hard, for every model.
        epsilon_audit: a lower bound on every ε_dp that is true at δ_dp, with probability `confidence`: from a test
            chosen on one half of the models and counted on the other, by Clopper and Pearson. 0 where it finds nothing.
    """

    algorithm: str
    certificate: UnlearningCertificate
    sigma: float
    models: int
    confidence: float
    distance: Interval
    spread: Interval
    gaps: dict[str, Interval]
    unlearned: dict[str, Interval]
    retrained: dict[str, Interval]
    membership: Interval
    epsilon_audit: float

    @property
    def holds(self) -> bool:
        """Whether the audit leaves the certificate standing."""
        return self.epsilon_audit <= self.certificate.epsilon

    def _facts(self) -> dict[str, object]:
        return {
            "algorithm": self.algorithm,
            "epsilon_audit": self.epsilon_audit,
            "epsilon": self.certificate.epsilon,
            "sigma": self.sigma,
            "models": self.models,
        }

    def _figures(self) -> dict[str, object]:
        return {
            "ε_audit ≤ ε_dp": f"{self.epsilon_audit:.4g} ≤ {self.certificate.epsilon:g} at δ_dp = "
            f"{self.certificate.delta:g}: {'holds' if self.holds else 'REFUTED'}",
            "certificate": f"{self.certificate.scope}, {self.certificate.kind}",
            "σ": f"{self.sigma:.6g}, {self.certificate.noise}",
            "models": f"{self.models} unlearned, {self.models} retrained",
            "distance to the retrained mean": str(self.distance),
            "the same of retrained models": str(self.spread),
            "membership |AUC − retrained AUC|": str(self.membership),
            "confidence": self.confidence,
        }

    def _rows(self) -> list[dict[str, Any]]:
        return [
            {
                "metric": name,
                "unlearned": str(self.unlearned[name]),
                "retrained": str(self.retrained[name]),
                "gap": str(gap),
            }
            for name, gap in self.gaps.items()
        ]


@checked
def audit(
    problem: Problem,
    algorithm: AbstractAlgorithm,
    theta0: Start = None,
    *,
    certificate: UnlearningCertificate | None = None,
    epsilon_dp: float = 1.0,
    delta_dp: float = 1e-5,
    sigma: float | None = None,
    test: Dataset | None = None,
    key: Key[Array, ""] | None = None,
    models: int = 1_000,
    confidence: float = 0.95,
    throw: bool = True,
) -> UnlearningAudit:
    """Release many unlearned and many retrained models, independently, and try to tell them apart.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> found = ef.audit(problem, ef.DescendToDelete(steps=50, unlearning_steps=5), models=20)
        >>> found.epsilon_audit <= found.certificate.epsilon
        True

    If unlearning is (ε, δ)-indistinguishable from retraining, then for every set S of parameters
    P(unlearned ∈ S) ≤ e^ε P(retrained ∈ S) + δ, and the other way round. S is a half-space: across the difference of
    the noiseless models where there is one, else of the first halves' means. Its threshold is chosen on the first
    halves; on the second ones hits are counted, and with Clopper and Pearson's bounds, each at a quarter of what the
    confidence leaves,

        ε_audit = max(0, log((P_low(S) − δ)/P'_high(S)))

    Args:
        problem: what is trained, and which points are deleted.
        algorithm: what unlearns.
        theta0: where training starts, shape (d,). Default: zero, for convex risks.
        certificate: what is put to the test. Default: `certify_unlearning` per instance, or in the worst case where
            noise enters in each step.
        epsilon_dp, delta_dp: of that certificate.
        sigma: noise to release the models with, instead of the certificate's.
        test: points that no model has seen, for test metrics and as the others of the membership attack. Default: the
            attack compares with retained points.
        key: of all draws. Default: jax.random.key(0).
        models: how many models of each kind; an ε_audit near ε_dp takes many.
        confidence: of intervals and of ε_audit.
        throw: raise if ε_audit exceeds the certificate's ε_dp.

    Raises:
        InputError: as `certify_unlearning`; fewer than four models, a confidence outside (0, 1).
        ConvergenceError: the certificate is refuted; `.result` holds the audit.
    """
    as_instance(algorithm, "algorithm", AbstractAlgorithm, "write RewindToDelete(steps=1000, unlearning_steps=100), …")
    start, count = as_run(problem, theta0), as_count(models, "models", least=4)
    as_share(confidence, "confidence")
    if certificate is not None:
        as_instance(certificate, "certificate", UnlearningCertificate, "pass one of `certify_unlearning`")
    else:
        scope = WORST_CASE if algorithm.noise == EVERY_STEP else PER_INSTANCE
        certificate = certify_unlearning(
            problem, algorithm, start, epsilon_dp=epsilon_dp, delta_dp=delta_dp, scope=scope
        )
    noise = as_nonnegative(certificate.sigma if sigma is None else sigma, "sigma")
    if not math.isfinite(noise):
        raise InputError("the certificate's σ is infinite; nothing that is released with it can be audited.")
    keys = jax.random.split(jax.random.key(0) if key is None else key)
    unlearned = algorithm.run(problem, start, sigma=noise, key=keys[0], seeds=count).theta
    retrained = algorithm.run(problem, start, sigma=noise, key=keys[1], seeds=count).retrained
    direction = None
    if algorithm.noise == OUTPUT and not getattr(algorithm, "batch_size", None):
        quiet = algorithm.run(problem, start)
        direction = quiet.theta - quiet.retrained
    found = _audited(
        problem,
        certificate,
        unlearned,
        retrained,
        direction=direction,
        sigma=noise,
        test=test,
        confidence=confidence,
    )
    if throw and not found.holds:
        raise ConvergenceError(
            f"{algorithm.name}: ε_audit = {found.epsilon_audit:.4g} at confidence {confidence:g}, above the "
            f"certificate's ε_dp = {certificate.epsilon:g} ({certificate.scope}, {certificate.kind}): it is refuted. "
            "throw=False returns the audit.",
            found,
        )
    return found


def _audited(
    problem: Problem,
    certificate: UnlearningCertificate,
    unlearned: Float[np.ndarray, "r d"],
    retrained: Float[np.ndarray, "r d"],
    *,
    direction: Float[np.ndarray, " d"] | None,
    sigma: float,
    test: Dataset | None,
    confidence: float,
) -> UnlearningAudit:
    centre = retrained.mean(axis=0)
    first, second = (score_models(problem, thetas, test=test) for thetas in (unlearned, retrained))
    metrics = {name: (values, second.metrics[name]) for name, values in first.metrics.items()}
    return UnlearningAudit(
        algorithm=certificate.algorithm,
        certificate=certificate,
        sigma=sigma,
        models=len(unlearned),
        confidence=confidence,
        distance=mean_interval(np.linalg.norm(unlearned - centre, axis=1), confidence),
        spread=mean_interval(np.linalg.norm(retrained - centre, axis=1), confidence),
        gaps={name: mean_gap(*pair, confidence, within_one="accuracy" in name) for name, pair in metrics.items()},
        unlearned={
            name: mean_interval(pair[0], confidence, within_one="accuracy" in name) for name, pair in metrics.items()
        },
        retrained={
            name: mean_interval(pair[1], confidence, within_one="accuracy" in name) for name, pair in metrics.items()
        },
        membership=size_of(mean_gap(first.membership, second.membership, confidence, within_one=True)),
        epsilon_audit=epsilon_from_samples(unlearned, retrained, certificate.delta, confidence, direction),
    )


def epsilon_from_samples(
    first: Float[np.ndarray, "r d"],
    second: Float[np.ndarray, "r d"],
    delta: float,
    confidence: float,
    direction: Float[np.ndarray, " d"] | None = None,
) -> float:
    """A lower bound on the ε_dp at δ_dp of two laws, from independent samples; see `audit`.

    Args:
        first, second: samples, shape (r, d).
        delta: δ_dp.
        confidence: probability that the bound is true.
        direction: across which half-spaces to look, chosen without these samples. Default: from their first halves.
    """
    half = len(first) // 2
    across = first[:half].mean(axis=0) - second[:half].mean(axis=0) if direction is None else direction
    if not np.linalg.norm(across) > 0.0:
        return 0.0
    places = first @ across, second @ across
    alpha, best, chosen = 0.25 * (1.0 - confidence), 0.0, None
    levels = np.quantile(np.concatenate([place[:half] for place in places]), np.linspace(0.01, 0.99, THRESHOLDS))
    for level in levels:
        for above in (True, False):
            value = _counted(places, slice(None, half), float(level), delta, alpha, above=above)
            if value > best:
                best, chosen = value, (float(level), above)
    if chosen is None:
        return 0.0
    level, above = chosen
    return max(_counted(places, slice(half, None), level, delta, alpha, above=above), 0.0)


def _counted(
    places: tuple[np.ndarray, np.ndarray], part: slice, level: float, delta: float, alpha: float, *, above: bool
) -> float:
    """log((P_low − δ)/P'_high) of S = {above the level} for the first law, or {below} for the second."""
    left, right = (place[part] > level for place in places)
    likely, rare = (left, right) if above else (~right, ~left)
    low = float(share_bounds(int(likely.sum()), likely.size, alpha)[0])
    high = float(share_bounds(int(rare.sum()), rare.size, alpha)[1])
    return math.log((low - delta) / high) if low > delta else -math.inf
