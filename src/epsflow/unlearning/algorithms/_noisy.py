"""Algorithms whose every step is noisy: Langevin unlearning, projected noisy SGD, clipped fine-tuning."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from ..._core import InputError
from ...analysis import StepRule
from .._parameters import as_count, as_nonnegative, as_positive
from ._base import EVERY_STEP, AbstractDescent, Plan, as_steps


@dataclass(frozen=True, repr=False, kw_only=True)
class LangevinUnlearning(AbstractDescent):
    """Langevin unlearning: noisy projected gradient descent, first on all points, then K steps without the deleted.

    Example:
        >>> data = ef.Dataset(np.array([[1.0], [1.0], [2.0]]), np.array([1.0, 2.0, 3.0]))
        >>> line = ef.linear_regression(data, [0], l2=1.0)
        >>> target = {"epsilon_dp": 1.0, "delta_dp": 1e-5}
        >>> ef.certify_unlearning(line, ef.LangevinUnlearning(radius=2.0), scope="worst case", **target).noise
        'each step'

        θ_{k+1} = Π(θ_k − η∇R_{ε_k}(θ_k) + √(2ησ²) ξ_k),   ε_k = 1 for k < T, 0 for T ≤ k < T + K

    Compared with the same noisy retraining for T + K steps. State kept: θ_T, noisy, which may be published. Assumptions
    of its certificate: strongly convex, smooth, gradients bounded on the ball, η = 1/L, training run to stationarity.

    Attributes:
        steps: T.
        unlearning_steps: K.
        step_size, radius: see `AbstractDescent`; batches are `NoisySGD`'s.

    Source: Chien, Wang, Chen and Li, "Langevin unlearning", arXiv 2401.10371.
    """

    name: ClassVar[str] = "Langevin"
    noise: ClassVar[str] = EVERY_STEP
    steps: int = 1_000
    unlearning_steps: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        as_steps(self.steps, self.unlearning_steps, within=False)
        if self.batch_size is not None:
            raise InputError("Langevin unlearning takes all points in every step; with batches use NoisySGD.")

    def plan(self, eta: float) -> Plan:
        """Ones, then zeros."""
        return _ones_then_zeros(self.steps, self.unlearning_steps)

    def rule(self, sigma: float, eta: float) -> StepRule:
        """Noise of variance 2ησ² per coordinate, then the projection."""
        return StepRule(radius=np.inf if self.radius is None else self.radius, noise=math.sqrt(2.0 * eta) * sigma)

    @property
    def reference(self) -> str:
        """Noisy retraining."""
        return f"noisy retraining from θ0 for T + K = {self.steps + self.unlearning_steps} steps"


@dataclass(frozen=True, repr=False, kw_only=True)
class NoisySGD(AbstractDescent):
    """Projected noisy SGD with batches in a fixed order: first on all points, then K steps without the deleted.

    Example:
        >>> data = ef.Dataset(np.array([[1.0], [1.0], [2.0]]), np.array([1.0, 2.0, 3.0]))
        >>> line = ef.linear_regression(data, [0], l2=1.0)
        >>> target = {"epsilon_dp": 1.0, "delta_dp": 1e-5}
        >>> algorithm = ef.NoisySGD(radius=2.0, steps=300, unlearning_steps=30)
        >>> ef.certify_unlearning(line, algorithm, scope="worst case", **target).noise
        'each step'

        θ_{k+1} = Π(θ_k − η∇R_{ε_k, B_k}(θ_k) + √(2ησ²) ξ_k),   B_k the (k mod n/b)-th piece of one permutation

    Compared with the same noisy retraining, in the same order, for T + K steps. State kept: θ_T, noisy, and the order.
    Assumptions of its certificate: strongly convex and smooth points, gradients bounded on the ball, η ≤ 1/L_s, whole
    epochs.

    Attributes:
        steps: T; n/b of them are an epoch.
        unlearning_steps: K.
        batch_size: b, which should divide n: of n mod b points an order makes no batch.
        step_size, radius: see `AbstractDescent`.

    Source: Chien, Wang, Chen and Li, "Certified machine unlearning via noisy stochastic gradient descent", arXiv
        2403.17105.
    """

    name: ClassVar[str] = "noisy SGD"
    noise: ClassVar[str] = EVERY_STEP
    steps: int = 1_000
    unlearning_steps: int = 100
    batch_size: int | None = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        as_steps(self.steps, self.unlearning_steps, within=False)
        as_count(self.batch_size or 0, "batch_size")

    def plan(self, eta: float) -> Plan:
        """Ones, then zeros."""
        return _ones_then_zeros(self.steps, self.unlearning_steps)

    def rule(self, sigma: float, eta: float) -> StepRule:
        """Batches in a fixed order, noise of variance 2ησ² per coordinate, then the projection."""
        radius = np.inf if self.radius is None else self.radius
        return StepRule(
            radius=radius, noise=math.sqrt(2.0 * eta) * sigma, batch=as_count(self.batch_size or 0, "b"), cyclic=True
        )

    @property
    def reference(self) -> str:
        """Noisy retraining in the same order."""
        return f"noisy retraining from θ0 for T + K = {self.steps + self.unlearning_steps} steps, same order"


@dataclass(frozen=True, repr=False, kw_only=True)
class ClippedFinetuning(AbstractDescent):
    """Clipped noisy fine-tuning on what is left: nothing is assumed of the risk.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> target = {"epsilon_dp": 1.0, "delta_dp": 1e-5}
        >>> ef.certify_unlearning(problem, ef.ClippedFinetuning(steps=100), scope="worst case", **target)
        UnlearningCertificate(algorithm=clipped, scope=worst case, kind=certified, sigma=20.91, distance=0.0006666,
        bound=51.7)

    After T plain steps on all points the parameters are clipped to the ball of radius C₀, and K steps follow on the
    retained points:

        clipping="gradient": θ ← (1 − ηλ)θ − η clip(g, C) + σξ,   g the gradient of the data's part of R_0
        clipping="model":    θ ← clip(θ − η∇R_0(θ), C) + σξ, and the start is clip(θ, C₀) + σξ

    Compared with the same K steps from retrained parameters. State kept: θ_T. Assumptions of its certificate: none.

    Attributes:
        steps: T.
        unlearning_steps: K ≥ 1.
        clipping: "gradient" or "model".
        initial_radius: C₀.
        radius: C, of the gradients or of the parameters.
        step_size, batch_size: see `AbstractDescent`; batches are drawn in training and in unlearning.

    Source: setting of arXiv 2506.06985.
    """

    name: ClassVar[str] = "clipped"
    noise: ClassVar[str] = EVERY_STEP
    convex_only: ClassVar[bool] = False
    steps: int = 1_000
    unlearning_steps: int = 100
    clipping: str = "gradient"
    initial_radius: float = 1.0
    radius: float | None = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        as_steps(self.steps, self.unlearning_steps, within=False)
        as_count(self.unlearning_steps, "unlearning_steps")
        as_nonnegative(self.initial_radius, "initial_radius")
        if self.radius is None:
            raise InputError("radius is None; clipping needs a radius: without one nothing is bounded.")
        if self.clipping not in ("gradient", "model"):
            raise InputError(f"clipping is {self.clipping!r}; the choices are 'gradient' and 'model'.")

    @property
    def bound(self) -> float:
        """C."""
        return as_positive(self.radius or 0.0, "radius")

    def plan(self, eta: float) -> Plan:
        """Ones, then zeros."""
        return _ones_then_zeros(self.steps, self.unlearning_steps)

    def rule(self, sigma: float, eta: float) -> StepRule:
        """Clipped steps with noise."""
        if self.clipping == "gradient":
            return StepRule(clip=self.bound, noise=sigma, batch=self.batch_size or 0)
        return StepRule(radius=self.bound, noise=sigma, noise_last=True, batch=self.batch_size or 0)

    def training_rule(self, sigma: float, eta: float) -> StepRule:
        """Plain steps."""
        return StepRule(batch=self.batch_size or 0)

    def resume(self, theta: Float[np.ndarray, "r d"], sigma: float, rng: np.random.Generator) -> np.ndarray:
        """Clip to C₀; with clipped parameters, noise too."""
        sizes = np.linalg.norm(theta, axis=1, keepdims=True)
        clipped = theta * np.minimum(1.0, self.initial_radius / np.maximum(sizes, np.finfo(np.float64).tiny))
        if self.clipping == "gradient" or not sigma:
            return clipped
        return clipped + sigma * rng.standard_normal(theta.shape)

    @property
    def reference(self) -> str:
        """The same steps from retrained parameters."""
        return f"the same {self.unlearning_steps} clipped steps after retraining for T = {self.steps}"


def _ones_then_zeros(steps: int, unlearning_steps: int) -> Plan:
    return Plan(np.concatenate([np.ones(steps), np.zeros(unlearning_steps)]), steps, steps)
