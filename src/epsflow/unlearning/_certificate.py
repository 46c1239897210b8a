"""What a certificate says: noise, scope, kind, the exact distance beside the bound, and every convention."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from .._core import Tabular
from ._constants import CERTIFIED, RiskConstants
from ._gaussian import gaussian_delta, trade_off
from ._parameters import Numbers
from .algorithms._base import OUTPUT

PER_INSTANCE, PER_DATA_SET, WORST_CASE = "per instance", "per data set", "worst case"
SCOPES = (PER_INSTANCE, PER_DATA_SET, WORST_CASE)

ROUNDING = 1e-9
"""By how much of itself, and of the parameters' size times 1e-3, a distance may exceed its bound as computed."""


@dataclass(frozen=True, eq=False, repr=False)
class UnlearningCertificate(Tabular):
    """(ε_dp, δ_dp)-unlearning by noise σ: what is promised, of which deletions, and on what it rests.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> promise = ef.certify_unlearning(problem, ef.DescendToDelete(steps=100), epsilon_dp=1.0, delta_dp=1e-5)
        >>> promise.kind, promise.scope, bool(np.isclose(promise.distance / promise.sigma, ef.gaussian_r(1.0, 1e-5)))
        ('certified', 'per instance', True)

    Attributes:
        algorithm: its name.
        scope: "per instance" (this data set, this deletion), "per data set" (this data set, every deletion of as many
            points) or "worst case" (the constants of the risk alone).
        kind: "certified" (every constant proved, distances exact to rounding), "estimated" (constants or random batches
            sampled) or "heuristic" (retraining is not unique, or an estimate was found too small).
        epsilon, delta: (ε_dp, δ_dp).
        sigma: the least noise of its kind that gives them, per coordinate.
        noise: where σ enters: "output", "each step" (of variance 2ησ² for Langevin and noisy SGD, σ² for clipped
            fine-tuning), or "objective".
        distance: what has to be hidden of the problem's own deletion, computed exactly: ‖θ − θ_retrained‖ without
            noise (its mean, under random batches); for noise in the objective, the gradient that is left over.
        bound: the bound on it from which σ is computed. With noise in each step it bounds the runs without noise, and σ
            follows from the theorem instead; under random batches it is the fixed distance that σ would hide as well.
        steps: optimiser steps that unlearning took.
        gradients, training_gradients: gradients that unlearning and training took, in passes over all points.
        step_size: η; NaN where there is none.
        theorem: the published theorem for the same algorithm, or why it does not apply.
        theorem_sigma: σ by that theorem; NaN where it does not apply.
        conventions: what the numbers rest on, in words.
        constants: of the risk; None where none were needed.
        sets: the deletions of a data set, shape (k, m), else None.
        distances: their distances, shape (k,), else None.
        changes: θ − θ_retrained of each, shape (k, d), for `optimal_noise`; else None.
    """

    algorithm: str
    scope: str
    kind: str
    epsilon: float
    delta: float
    sigma: float
    noise: str
    distance: float
    bound: float
    steps: int
    gradients: float
    training_gradients: float
    step_size: float
    theorem: str
    theorem_sigma: float
    conventions: tuple[str, ...]
    constants: RiskConstants | None = None
    sets: Int[np.ndarray, "k m"] | None = None
    distances: Float[np.ndarray, " k"] | None = None
    changes: Float[np.ndarray, "k d"] | None = None

    @property
    def tightness(self) -> float:
        """Distance/bound, at most 1 but for rounding (of distances that are nothing else); NaN where the bound is 0."""
        return self.distance / self.bound if self.bound > 0.0 else float("nan")

    @property
    def r(self) -> float:
        """Bound/σ for noise in the output: μ of Gaussian differential privacy. NaN for other noise."""
        if self.noise != OUTPUT:
            return float("nan")
        return self.bound / self.sigma if self.sigma > 0.0 else 0.0

    @property
    def certified(self) -> bool:
        """Whether everything it rests on is proved."""
        return self.kind == CERTIFIED

    def delta_at(self, epsilon: Numbers) -> Float[np.ndarray, "..."] | float:
        """The δ_dp that the same noise proves at another ε_dp; NaN for noise that is not in the output."""
        return gaussian_delta(epsilon, self.r) if self.noise == OUTPUT else np.full(np.shape(epsilon), np.nan)[()]

    def trade_off(self, type_one: Numbers) -> Float[np.ndarray, "..."] | float:
        """The least error of the second kind of any test of level `type_one`, for noise in the output."""
        return trade_off(type_one, self.r)

    def _title(self) -> str:
        return f"Certificate of {self.algorithm}, {self.scope}, {self.kind}"

    def _facts(self) -> dict[str, object]:
        return {
            "algorithm": self.algorithm,
            "scope": self.scope,
            "kind": self.kind,
            "sigma": self.sigma,
            "distance": self.distance,
            "bound": self.bound,
        }

    def _figures(self) -> dict[str, object]:
        theorem = "" if np.isnan(self.theorem_sigma) else f", σ = {self.theorem_sigma:.4g}"
        return {
            "(ε_dp, δ_dp)": f"({self.epsilon:g}, {self.delta:g})",
            "σ": f"{self.sigma:.6g}, {self.noise}",
            "distance to retraining": self.distance,
            "bound": self.bound,
            "tightness": self.tightness,
            "gradients": f"{self.gradients:g} in {self.steps} steps, after {self.training_gradients:g} of training",
            "theorem": self.theorem + theorem,
            **{f"convention {k + 1}": words for k, words in enumerate(self.conventions)},
        }

    def _rows(self) -> list[dict[str, Any]]:
        if self.sets is None or self.distances is None:
            return []
        order = np.argsort(-self.distances, kind="stable")
        return [{"points": " ".join(map(str, self.sets[k])), "distance": float(self.distances[k])} for k in order]
