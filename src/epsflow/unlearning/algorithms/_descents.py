"""Descend-to-delete, rewind-to-delete, any schedule, ascent, retraining: gradient descent with noise at the end."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from ..._core import ConvergenceError, InputError, as_choice, as_float64
from ...analysis import Walker, reconstruct
from ...problem import Problem, Quadratic
from ...schedules import AbstractSchedule, as_schedule
from .._parameters import as_count, as_positive
from ._base import AbstractDescent, Plan, as_bool, as_steps

LOST = 1e-2
"""Share of what was rewound that rounding may have grown to."""

UNIT = np.finfo(np.float64).eps


@dataclass(frozen=True, repr=False, kw_only=True)
class DescendToDelete(AbstractDescent):
    """Descend-to-delete: after T steps with all points, K more without the deleted ones; then noise.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.DescendToDelete(steps=100, unlearning_steps=20).run(problem)
        UnlearningRun(algorithm=D2D, distance=0.002573, gradients=20, reference=retraining from θ0 for T + K = 120
        steps, sigma=0)

        θ_{k+1} = Π(θ_k − η∇R_{ε_k}(θ_k)),   ε_k = 1 for k < T, 0 for T ≤ k < T + K

    Compared with retraining from θ_0 for T + K steps without the points. State kept: θ_T, without its noise ("secret
    state"). Assumptions of a worst-case certificate: convex; strongly convex for a distance that shrinks with K.

    Attributes:
        steps: T.
        unlearning_steps: K.
        step_size, radius, batch_size: see `AbstractDescent`.

    Source: Neel, Roth and Sharifi-Malvajerdi, "Descent-to-delete", 2020.
    """

    name: ClassVar[str] = "D2D"
    steps: int = 1_000
    unlearning_steps: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        as_steps(self.steps, self.unlearning_steps, within=False)

    def plan(self, eta: float) -> Plan:
        """Ones, then zeros."""
        return Plan(_runs((1.0, self.steps), (0.0, self.unlearning_steps)), self.steps, self.steps)

    @property
    def reference(self) -> str:
        """Retraining for T + K steps."""
        return f"retraining from θ0 for T + K = {self.steps + self.unlearning_steps} steps"


@dataclass(frozen=True, repr=False, kw_only=True)
class RewindToDelete(AbstractDescent):
    """Rewind-to-delete: back to the iterate K steps ago, then K steps without the deleted points; then noise.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> runs = [ef.RewindToDelete(steps=100, unlearning_steps=steps).run(problem) for steps in (10, 50, 100)]
        >>> [round(float(run.distance), 4) for run in runs]
        [0.003, 0.001, 0.0]

        θ_{k+1} = Π(θ_k − η∇R_{ε_k}(θ_k)),   ε_k = 1 for k < T − K, 0 for T − K ≤ k < T

    Compared with retraining from θ_0 for T steps; K = T is retraining. State kept: θ_{T−K}; without a checkpoint θ_T
    alone, and θ_{T−K} is recovered by the proximal map θ_k = prox_{−R,η}(θ_{k+1}), which needs ηL < 1, full batches and
    no projection, and loses digits with every step. Assumptions of a worst-case certificate: smooth; convexity is not
    needed.

    Attributes:
        steps: T.
        unlearning_steps: K ≤ T.
        checkpoint: whether θ_{T−K} was kept.
        step_size, radius, batch_size: see `AbstractDescent`.

    Source: Mu and Klabjan, "Rewind-to-delete", arXiv 2409.09778.
    """

    name: ClassVar[str] = "R2D"
    convex_only: ClassVar[bool] = False
    steps: int = 1_000
    unlearning_steps: int = 100
    checkpoint: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        as_steps(self.steps, self.unlearning_steps, within=True)
        if not as_bool(self.checkpoint, "checkpoint") and (self.batch_size or self.radius):
            raise InputError(
                "without a checkpoint steps are undone one by one, and neither a mini-batch nor a projection can be: "
                "set checkpoint=True, or leave batch_size and radius out."
            )

    def plan(self, eta: float) -> Plan:
        """Ones up to T − K, then zeros."""
        kept = self.steps - self.unlearning_steps
        return Plan(_runs((1.0, kept), (0.0, self.unlearning_steps)), kept, self.steps)

    @property
    def reference(self) -> str:
        """Retraining for T steps."""
        return f"retraining from θ0 for T = {self.steps} steps"

    def recovered(
        self, walker: Walker, problem: Problem, kept: Float[np.ndarray, "r d"], plan: Plan
    ) -> Float[np.ndarray, "r d"]:
        """The checkpoint, or what the proximal map makes of θ_T."""
        if self.checkpoint or not plan.steps:
            return kept
        trained = walker.walk(kept, np.ones(plan.trained), first=plan.kept)[:, 0]
        if walker.linear is not None and isinstance(problem.risk, Quadratic):
            return _undone(walker, problem, trained, plan.steps)
        found = reconstruct(problem, trained[0], steps=plan.steps, step_size=walker.eta)
        if found.breakdown > 0:
            raise _lost(found.breakdown, plan.steps, found)
        return np.asarray(found.thetas[-1:])


@dataclass(frozen=True, repr=False)
class ScheduledUnlearning(AbstractDescent):
    """Any schedule ε(t) as an algorithm: step k has the weight ε(η(k + ½)); then noise.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> run = ef.ScheduledUnlearning(np.repeat([1.0, 0.0], [80, 20])).run(problem)
        >>> bool(run.distance == ef.RewindToDelete(steps=100, unlearning_steps=20).run(problem).distance)
        True

        θ_{k+1} = Π(θ_k − η∇R_{ε_k}(θ_k)),   0 ≤ k < T

    Compared with retraining from θ_0 for T steps. State kept: θ at the first step whose weight is not 1. With
    1_[0, η(T−K)] it is rewind-to-delete; the schedule of `optimal_schedule` is the best. Assumptions of a worst-case
    certificate: smooth; with w = ε the distance is at most ηcmG ∑_k |ε_k| q^{T−1−k}.

    Attributes:
        schedule: ε(t) in the flow's time t = ηk; or an array with one weight per step, shape (T,) or (T, m).
        steps: T. Default: 1,000, or the length of the array.
        clock: "time", or "steps" if the schedule's times count steps.
        step_size, radius, batch_size: see `AbstractDescent`.
    """

    name: ClassVar[str] = "schedule"
    convex_only: ClassVar[bool] = False
    schedule: AbstractSchedule | Float[np.ndarray, "steps *m"]
    steps: int | None = None
    clock: str = "time"

    def __post_init__(self) -> None:
        super().__post_init__()
        as_choice(self.clock, "clock", ("time", "steps"))
        if not isinstance(self.schedule, np.ndarray | list | tuple):
            as_schedule(self.schedule)
            as_count(1_000 if self.steps is None else self.steps, "steps")
            return
        weights = as_float64(self.schedule, "schedule")
        if weights.ndim not in (1, 2) or not weights.size or not np.isfinite(weights).all():
            raise InputError(
                f"schedule has shape {weights.shape}; finite weights are needed, one per step, (T,) or (T, m)."
            )
        if self.steps not in (None, len(weights)):
            raise InputError(f"steps is {self.steps}, and schedule has {len(weights)} weights; leave one of them out.")
        object.__setattr__(self, "schedule", weights)

    def plan(self, eta: float) -> Plan:
        """The schedule's weights."""
        weights: Any = self.schedule
        if isinstance(weights, AbstractSchedule):
            times = np.arange(1_000 if self.steps is None else self.steps) + 0.5
            weights = np.asarray(weights(times * eta if self.clock == "time" else times))
        lower = np.flatnonzero((weights != 1.0).reshape(len(weights), -1).any(axis=1))
        kept = int(lower[0]) if lower.size else len(weights)
        return Plan(np.asarray(weights), kept, len(weights))

    @property
    def reference(self) -> str:
        """Retraining for T steps."""
        return "retraining from θ0 for T steps"


@dataclass(frozen=True, repr=False, kw_only=True)
class GradientAscent(AbstractDescent):
    """Gradient ascent on the deleted points beside descent on the others: ε = −weight for K steps; then noise.

    Example:
        >>> data = ef.Dataset(np.array([[1.0], [1.0], [2.0]]), np.array([1.0, 2.0, 3.0]))
        >>> line = ef.linear_regression(data, [0], l2=1.0)
        >>> runs = [ef.GradientAscent(steps=100, unlearning_steps=steps).run(line) for steps in (1, 10, 100)]
        >>> [round(float(run.distance), 4) for run in runs]  # → 7/5 − 8/6
        [0.034, 0.0667, 0.0667]

        θ_{k+1} = Π(θ_k − η∇R_{ε_k}(θ_k)),   ε_k = 1 for k < T, −weight for T ≤ k < T + K

    Compared with retraining from θ_0 for T + K steps. State kept: θ_T. It moves past the retrained optimum: R_{−weight}
    has another minimum, if it has one. Assumptions of a worst-case certificate: as descend-to-delete; the distance does
    not vanish with K.

    Attributes:
        steps: T.
        unlearning_steps: K.
        weight: > 0; how often the deleted points' gradients are ascended.
        step_size, radius, batch_size: see `AbstractDescent`.

    Source: "NegGrad" of Golatkar, Achille and Soatto, "Eternal sunshine of the spotless net", 2020, which ascends.
    """

    name: ClassVar[str] = "ascent"
    steps: int = 1_000
    unlearning_steps: int = 10
    weight: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        as_steps(self.steps, self.unlearning_steps, within=False)
        as_positive(self.weight, "weight")

    def plan(self, eta: float) -> Plan:
        """Ones, then −weight."""
        return Plan(_runs((1.0, self.steps), (-self.weight, self.unlearning_steps)), self.steps, self.steps)

    @property
    def reference(self) -> str:
        """Retraining for T + K steps."""
        return f"retraining from θ0 for T + K = {self.steps + self.unlearning_steps} steps"


@dataclass(frozen=True, repr=False, kw_only=True)
class Retrain(AbstractDescent):
    """Retraining from θ_0 for T steps without the deleted points: what the others are compared with.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> float(ef.Retrain(steps=100).run(problem).distance)
        0.0

    State kept: θ_0 and the data. No assumptions, no noise, T gradients.

    Attributes:
        steps: T.
        step_size, radius, batch_size: see `AbstractDescent`.
    """

    name: ClassVar[str] = "retrain"
    convex_only: ClassVar[bool] = False
    steps: int = 1_000

    def __post_init__(self) -> None:
        super().__post_init__()
        as_count(self.steps, "steps")

    def plan(self, eta: float) -> Plan:
        """Zeros."""
        return Plan(np.zeros(self.steps), 0, self.steps)

    @property
    def reference(self) -> str:
        """Itself."""
        return f"retraining from θ0 for T = {self.steps} steps"


def _runs(*runs: tuple[float, int]) -> Float[np.ndarray, " steps"]:
    return np.concatenate([np.full(count, value) for value, count in runs])


def _undone(
    walker: Walker, problem: Problem, trained: Float[np.ndarray, "r d"], count: int
) -> Float[np.ndarray, "r d"]:
    """Linear regression, exactly: the inverse of the map of a step, `count` times."""
    assert walker.linear is not None  # the caller's business
    rates = walker.eta * float(np.linalg.eigvalsh(np.asarray(problem.hessian(trained[0], 1.0)))[-1])
    if rates >= 1.0:
        raise InputError(
            f"η·λ_max = {rates:.3g}; below 1 a step of gradient descent can be undone, at 1 it forgets a direction. "
            "Set checkpoint=True, or train with a smaller step_size."
        )
    with np.errstate(over="ignore", invalid="ignore"):
        found = walker.linear.power(trained, np.asarray(1.0), -count)
        grown = UNIT * np.linalg.norm(trained, axis=1) * np.exp(-count * np.log1p(-rates))
    if not (grown <= LOST * np.linalg.norm(found - trained, axis=1)).all():
        raise _lost(int(np.log(LOST / UNIT) / -np.log1p(-rates)), count, found)
    return found


def _lost(breakdown: int, count: int, found: object) -> ConvergenceError:
    return ConvergenceError(
        f"the iterates before θ_T are lost about {breakdown} steps back, of {count} needed: each step back magnifies "
        "rounding. Set checkpoint=True, rewind less, or train with a smaller step_size.",
        found,
    )
