"""Algorithms side by side: what each takes, how far it ends from retraining, its noise, and what the noise costs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int, Key

from .._core import Array, Axed, EpsflowError, InputError, Labelled, Tabular, as_array, as_choice, as_instance, brief
from ..flow import checked
from ..problem import Dataset, Problem
from ._certificate import PER_DATA_SET, SCOPES, WORST_CASE, UnlearningCertificate
from ._certify import certify_unlearning, target_of
from ._constants import RiskConstants
from ._distances import Start
from ._metrics import as_points
from ._parameters import as_count
from ._scores import Points, retained, score_name, scores
from .algorithms._base import EVERY_STEP, AbstractAlgorithm, as_run


@dataclass(frozen=True, eq=False, repr=False)
class GuaranteeTable(Tabular):
    """Algorithms on one problem and one target.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> target = {"epsilon_dp": 1.0, "delta_dp": 1e-5}
        >>> ef.guarantees(problem, [ef.Retrain(steps=100)], scope="per instance", **target).certificates[0].sigma
        0.0

    Attributes:
        problem: data set and deleted points, in words.
        certificates: one for each algorithm that has one.
        quality_name: "accuracy" or "R²".
        quality: of what each releases, on the retained points (or the test set), without noise, shape (a,).
        noisy_quality: the same with its noise, the mean over draws, shape (a,).
        retrained_quality: of retraining by the same plan, without noise, shape (a,).
        refused: the other algorithms, with the reason.
    """

    problem: str
    certificates: tuple[UnlearningCertificate, ...]
    quality_name: str
    quality: Float[np.ndarray, " a"]
    noisy_quality: Float[np.ndarray, " a"]
    retrained_quality: Float[np.ndarray, " a"]
    refused: dict[str, str]

    def _title(self) -> str:
        return f"Unlearning algorithms on {self.problem}"

    def _facts(self) -> dict[str, object]:
        least = min(self.certificates, key=lambda found: found.sigma, default=None)
        return {
            "problem": self.problem,
            "algorithms": len(self.certificates),
            "least sigma": "none" if least is None else f"{least.sigma:.4g} ({least.algorithm})",
        }

    def _figures(self) -> dict[str, object]:
        first = self.certificates[0] if self.certificates else None
        target = {} if first is None else {"(ε_dp, δ_dp)": f"({first.epsilon:g}, {first.delta:g})"}
        return {**target, **{f"{name}: no certificate": why for name, why in self.refused.items()}}

    def _rows(self) -> list[dict[str, Any]]:
        return [
            {
                "algorithm": found.algorithm,
                "steps": found.steps,
                "gradients": found.gradients,
                "distance": found.distance,
                "bound": found.bound,
                "tightness": found.tightness,
                "σ": found.sigma,
                "noise": found.noise,
                self.quality_name: self.quality[k],
                f"{self.quality_name} with noise": self.noisy_quality[k],
                "scope": found.scope,
                "kind": found.kind,
            }
            for k, found in enumerate(self.certificates)
        ]


@checked
def guarantees(
    problem: Problem,
    algorithms: Sequence[AbstractAlgorithm],
    theta0: Start = None,
    *,
    epsilon_dp: float,
    delta_dp: float,
    scope: str = PER_DATA_SET,
    constants: RiskConstants | None = None,
    test: Dataset | None = None,
    key: Key[Array, ""] | None = None,
    draws: int = 20,
) -> GuaranteeTable:
    """Certify each algorithm and measure what its noise costs.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> target = {"epsilon_dp": 1.0, "delta_dp": 1e-5}
        >>> algorithms = [ef.Retrain(steps=100), ef.DescendToDelete(steps=100)]
        >>> ef.guarantees(problem, algorithms, scope="per instance", **target)
        GuaranteeTable(problem=diabetes without 17, algorithms=2, least sigma=0 (retrain))

    Algorithms whose noise enters in each step are certified in the worst case, whatever the scope; each row names its
    scope. One that cannot be certified is listed with the reason.

    Args:
        problem: what is trained, and which points are deleted.
        algorithms: values such as `DescendToDelete()`.
        theta0: where training starts, shape (d,). Default: zero, for convex risks.
        epsilon_dp, delta_dp, scope, constants: see `certify_unlearning`.
        test: points on which quality is measured. Default: the retained points.
        key: of noise and batches. Default: jax.random.key(0).
        draws: noisy models per algorithm.

    Raises:
        InputError: ε_dp, δ_dp or scope outside its range; no algorithm; none that can be certified.
    """
    start, key = as_run(problem, theta0), jax.random.key(0) if key is None else key
    if isinstance(algorithms, str) or not isinstance(algorithms, Sequence) or not algorithms:
        raise InputError(
            f"algorithms is {brief(algorithms)}; a list is needed, for instance [DescendToDelete(), RewindToDelete()]."
        )
    for k, algorithm in enumerate(algorithms):
        as_instance(algorithm, f"algorithms[{k}]", AbstractAlgorithm, "write RewindToDelete(), …")
    draws, (epsilon_dp, delta_dp) = as_count(draws, "draws"), target_of(epsilon_dp, delta_dp)
    as_choice(scope, "scope", SCOPES)
    points = retained(problem) if test is None else as_points(problem, test)
    found, refused = [], {}
    for algorithm in algorithms:
        wanted = WORST_CASE if algorithm.noise == EVERY_STEP else scope
        try:
            certificate = certify_unlearning(
                problem,
                algorithm,
                start,
                epsilon_dp=epsilon_dp,
                delta_dp=delta_dp,
                scope=wanted,
                constants=constants,
                key=key,
            )
            found.append((certificate, *_qualities(problem, algorithm, start, certificate, points, key, draws)))
        except EpsflowError as refusal:
            refused[algorithm.name] = str(refusal)
    if not found:
        raise InputError(f"no algorithm can be certified: {next(iter(refused.values()))}")
    certificates, quiet, noisy, again = zip(*found, strict=True)
    named = ", ".join(map(str, problem.delete[:4])) + (", …" if problem.delete.size > 4 else "")
    return GuaranteeTable(
        problem=f"{problem.data.name} without {named}",
        certificates=certificates,
        quality_name=score_name(problem),
        quality=np.array(quiet),
        noisy_quality=np.array(noisy),
        retrained_quality=np.array(again),
        refused=refused,
    )


def _qualities(
    problem: Problem,
    algorithm: AbstractAlgorithm,
    start: Float[np.ndarray, " d"],
    certificate: UnlearningCertificate,
    points: Points,
    key: Any,
    draws: int,
) -> tuple[float, float, float]:
    """Without noise, with it, and of retraining."""
    quiet = algorithm.run(problem, start, key=key)
    ends = scores(problem, np.concatenate([quiet.theta, quiet.retrained]), points)
    if not np.isfinite(certificate.sigma):
        return float(ends[0]), float("nan"), float(ends[1])
    noisy = algorithm.run(problem, start, sigma=certificate.sigma, key=key, seeds=draws).theta
    return float(ends[0]), float(scores(problem, noisy, points).mean()), float(ends[1])


@dataclass(frozen=True, eq=False, repr=False)
class UnlearningCurve(Tabular, Labelled):
    """Distance and bound of one algorithm against K.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> target = {"epsilon_dp": 1.0, "delta_dp": 1e-5}
        >>> ef.unlearning_curve(problem, ef.RewindToDelete(steps=100), amounts=[10, 50, 100], **target)
        UnlearningCurve(algorithm=R2D, amounts=[10, 50, 100], scope=per instance, kind=certified)

    Attributes:
        algorithm: its name.
        amounts: K, steps of unlearning, shape (k,).
        distances, bounds, sigmas: of the certificate at each, shape (k,).
        scope, kind: of them all (the weakest kind).
    """

    algorithm: str
    amounts: Int[np.ndarray, " k"]
    distances: Float[np.ndarray, " k"]
    bounds: Float[np.ndarray, " k"]
    sigmas: Float[np.ndarray, " k"]
    scope: str
    kind: str

    def _arrays(self) -> dict[str, Axed]:
        return {
            "amount": ("amount", self.amounts),
            "distance": ("amount", self.distances),
            "bound": ("amount", self.bounds),
            "sigma": ("amount", self.sigmas),
        }

    def _facts(self) -> dict[str, object]:
        return {"algorithm": self.algorithm, "amounts": self.amounts, "scope": self.scope, "kind": self.kind}

    def _rows(self) -> list[dict[str, Any]]:
        columns = zip(self.amounts, self.distances, self.bounds, self.sigmas, strict=True)
        return [dict(zip(("K", "distance", "bound", "σ"), row, strict=True)) for row in columns]


@checked
def unlearning_curve(
    problem: Problem,
    algorithm: AbstractAlgorithm,
    theta0: Start = None,
    *,
    amounts: Sequence[int] | Int[np.ndarray, " k"],
    epsilon_dp: float,
    delta_dp: float,
    **options: Any,
) -> UnlearningCurve:
    """`certify_unlearning` for several numbers of unlearning steps.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> target = {"epsilon_dp": 1.0, "delta_dp": 1e-5}
        >>> curve = ef.unlearning_curve(problem, ef.RewindToDelete(steps=100), amounts=[10, 50, 100], **target)
        >>> curve.distances.round(4)
        array([0.003, 0.001, 0.   ])

    Args:
        problem, theta0, epsilon_dp, delta_dp: see `certify_unlearning`.
        algorithm: one that has `unlearning_steps`, which `amounts` replaces.
        amounts: K, shape (k,).
        **options: of `certify_unlearning`.

    Raises:
        InputError: an algorithm without unlearning steps; as `certify_unlearning`.
    """
    as_instance(algorithm, "algorithm", AbstractAlgorithm, "write RewindToDelete(), …")
    counts = np.atleast_1d(as_array(amounts, "amounts"))
    if counts.ndim != 1 or not counts.size or counts.dtype.kind not in "iu":
        raise InputError(f"amounts is {brief(amounts)}; whole numbers of steps are needed, such as [0, 10, 100].")
    if not hasattr(algorithm, "unlearning_steps"):
        raise InputError(f"{algorithm.name} takes no number of unlearning steps; a curve over K needs one.")
    changed: Any = algorithm
    found = [
        certify_unlearning(
            problem,
            replace(changed, unlearning_steps=int(amount)),
            theta0,
            epsilon_dp=epsilon_dp,
            delta_dp=delta_dp,
            **options,
        )
        for amount in counts
    ]
    kinds = {one.kind for one in found}
    weakest = next(kind for kind in ("heuristic", "estimated", "certified") if kind in kinds)
    return UnlearningCurve(
        algorithm=algorithm.name,
        amounts=counts.astype(np.int64),
        distances=np.array([one.distance for one in found]),
        bounds=np.array([one.bound for one in found]),
        sigmas=np.array([one.sigma for one in found]),
        scope=found[0].scope,
        kind=weakest,
    )
