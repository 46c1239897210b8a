"""What every unlearning algorithm answers, and the run of those that are gradient descent with a weight per step."""

import abc
from dataclasses import dataclass, fields
from typing import ClassVar

import jax
import numpy as np
from jaxtyping import Float, Int, Key

from ..._core import COMMON, Array, InputError, Shown, as_flag
from ...analysis import StepRule, Walker, as_step_size
from ...flow import as_problem, require_start
from ...problem import LinearModel, Problem, Quadratic
from .._constants import risk_constants
from .._parameters import as_count, as_nonnegative, as_positive

OUTPUT, EVERY_STEP, OBJECTIVE = "output", "each step", "objective"
"""Where an algorithm's noise enters."""


@dataclass(frozen=True, eq=False, repr=False)
class UnlearningRun(Shown):
    """One run of an unlearning algorithm beside retraining; with a key, a leading axis of seeds (r).

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> run = ef.DescendToDelete(steps=100, unlearning_steps=20).run(problem)
        >>> run.gradients, run.training_gradients, run.reference
        (20.0, 100.0, 'retraining from θ0 for T + K = 120 steps')

    Attributes:
        algorithm: its name.
        trained: θ before the request, shape (*r, d).
        theta: what is released after it, noise included, shape (*r, d).
        retrained: what retraining releases, with the same draws, shape (*r, d).
        reference: what retraining means here.
        sigma: σ of the noise; 0 for none.
        gradients: gradients that unlearning took, in passes over all n points.
        products: products with a Hessian that it took, likewise.
        training_gradients, retraining_gradients: the same of training, and of retraining.
    """

    algorithm: str
    trained: Float[np.ndarray, "*r d"]
    theta: Float[np.ndarray, "*r d"]
    retrained: Float[np.ndarray, "*r d"]
    reference: str
    sigma: float
    gradients: float
    products: float
    training_gradients: float
    retraining_gradients: float

    @property
    def distance(self) -> Float[np.ndarray, "*r"] | float:
        """‖θ − θ_retrained‖ under the same draws; noise in the output cancels."""
        return np.linalg.norm(self.theta - self.retrained, axis=-1)[()]

    def _facts(self) -> dict[str, object]:
        return {
            "algorithm": self.algorithm,
            "distance": self.distance,
            "gradients": self.gradients,
            "reference": self.reference,
            "sigma": self.sigma,
        }


@dataclass(frozen=True)
class Plan:
    """Gradient descent as one weight ε_k of the deleted points per step.

    Attributes:
        weights: ε_k of all steps, shape (N,) or (N, m); retraining takes the same N steps with weight 0.
        kept: θ after so many of them is the state that is kept; unlearning takes the others.
        trained: steps of training with all points, for what was released before the request.
    """

    weights: Float[np.ndarray, "steps *m"]
    kept: int
    trained: int

    @property
    def steps(self) -> int:
        """Steps that unlearning takes."""
        return len(self.weights) - self.kept


@dataclass(frozen=True, repr=False)
class AbstractAlgorithm(Shown, abc.ABC):
    """An unlearning algorithm: a value that runs on any problem and counts its gradients.

    Example:
        >>> isinstance(ef.Retrain(steps=10), ef.unlearning.AbstractAlgorithm), ef.Retrain.noise
        (True, 'output')

    Attributes:
        name: what tables call it.
        noise: where its noise enters: "output", "each step" or "objective".
        convex_only: whether its worst-case certificate needs a convex risk.
    """

    name: ClassVar[str]
    noise: ClassVar[str] = OUTPUT
    convex_only: ClassVar[bool] = True

    @abc.abstractmethod
    def run(
        self,
        problem: Problem,
        theta0: Float[np.ndarray, " d"] | Float[Array, " d"] | None = None,
        *,
        sigma: float = 0.0,
        key: Key[Array, ""] | None = None,
        seeds: int = 1,
    ) -> UnlearningRun:
        """Train, unlearn the problem's deleted points, and retrain without them.

        Args:
            problem: what is trained, and which points are deleted.
            theta0: where training starts, shape (d,). Default: zero, for convex risks.
            sigma: σ of the algorithm's noise; 0 for none.
            key: of all draws; needed with mini-batches and with noise.
            seeds: number of runs.

        Raises:
            InputError: no deleted points, no key where one is needed, a non-convex risk without a start.
            ConvergenceError: θ does not stay finite, or an optimum was not found.
        """

    def _facts(self) -> dict[str, object]:
        return {field.name: getattr(self, field.name) for field in fields(self) if field.repr}


@dataclass(frozen=True, repr=False, kw_only=True)
class AbstractDescent(AbstractAlgorithm):
    """An algorithm that is gradient descent with a weight per step.

    Attributes:
        step_size: η. Default: 1/L of the risk, or of every batch's risk; proved for linear models, estimated at the
            start for others.
        radius: every step is projected to the ball ‖θ‖ ≤ radius. Default: no projection.
        batch_size: points per step, drawn from all n without replacement, independently in every step (which
            `batch_law` needs; `train_with` shuffles epochs); a deleted one in a batch has its weight, 0 for retraining
            too. Default: all points.
    """

    step_size: float | None = None
    radius: float | None = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        for name in ("step_size", "radius"):
            if getattr(self, name) is not None:
                as_positive(getattr(self, name), name)
        if self.batch_size is not None:
            as_count(self.batch_size, "batch_size")

    @abc.abstractmethod
    def plan(self, eta: float) -> Plan:
        """The weights of all steps of size η."""

    @property
    @abc.abstractmethod
    def reference(self) -> str:
        """What retraining means, in words."""

    def eta(self, problem: Problem, theta0: Float[np.ndarray, " d"]) -> float:
        """The step size that is taken.

        Raises:
            InputError: linear regression that no projection holds, in full batches, and η > 2/L: it diverges.
        """
        if self.step_size is not None:
            if isinstance(problem.risk, Quadratic) and self.radius is None and self.batch_size is None:
                risk_constants(problem, 1.0).contraction(self.step_size)  # refuses
            return self.step_size
        if not isinstance(problem.model, LinearModel):
            return float(as_step_size(problem, theta0, None))
        try:
            constants = risk_constants(problem, 1.0)  # curvature does not depend on the radius
        except InputError:  # a loss of one's own
            return float(as_step_size(problem, theta0, None))
        return 1.0 / (constants.point_smoothness if self.batch_size else constants.smoothness)

    def rule(self, sigma: float, eta: float) -> StepRule:
        """What the steps do beside descending."""
        return StepRule(radius=np.inf if self.radius is None else self.radius, batch=self.batch_size or 0)

    def training_rule(self, sigma: float, eta: float) -> StepRule:
        """The same of training."""
        return self.rule(sigma, eta)

    def resume(self, theta: Float[np.ndarray, "r d"], sigma: float, rng: np.random.Generator) -> np.ndarray:
        """What unlearning does to the state that was kept before its first step."""
        return theta

    def recovered(
        self, walker: Walker, problem: Problem, kept: Float[np.ndarray, "r d"], plan: Plan
    ) -> Float[np.ndarray, "r d"]:
        """The state that unlearning starts from; as it was kept, unless an algorithm has to reconstruct it."""
        return kept

    def run(
        self,
        problem: Problem,
        theta0: Float[np.ndarray, " d"] | Float[Array, " d"] | None = None,
        *,
        sigma: float = 0.0,
        key: Key[Array, ""] | None = None,
        seeds: int = 1,
    ) -> UnlearningRun:
        """See `AbstractAlgorithm.run`."""
        start = as_run(problem, theta0)
        sigma, rng = as_nonnegative(sigma, "sigma"), as_rng(key, seeds, random=bool(sigma or self.batch_size))
        check_batch(problem, self.batch_size)
        ends = self.descend(problem, start, sigma=sigma, key=key, seeds=seeds, rng=rng)
        shape = (seeds, problem.dim)
        draw = sigma * rng.standard_normal(shape) if sigma and self.noise == OUTPUT else 0.0
        keep = slice(None) if key is not None else 0
        share = (self.batch_size or problem.data.n) / problem.data.n
        return UnlearningRun(
            algorithm=self.name,
            trained=np.broadcast_to(ends.trained, shape)[keep],
            theta=(np.broadcast_to(ends.theta, shape) + draw)[keep],
            retrained=(np.broadcast_to(ends.retrained, shape) + draw)[keep],
            reference=self.reference,
            sigma=sigma,
            gradients=ends.plan.steps * share,
            products=0.0,
            training_gradients=ends.plan.trained * share,
            retraining_gradients=len(ends.plan.weights) * share,
        )

    def descend(
        self,
        problem: Problem,
        start: Float[np.ndarray, " d"],
        *,
        sigma: float = 0.0,
        key: Key[Array, ""] | None = None,
        seeds: int = 1,
        rng: np.random.Generator | None = None,
        sets: Int[np.ndarray, "q m"] | None = None,
    ) -> "Ends":
        """All legs of the run, without noise in the output; of the problem's deletion, or of each set of `sets`."""
        eta = self.eta(problem, start)
        plan, rng = self.plan(eta), rng or np.random.default_rng(0)
        check_weights(plan, problem if sets is None else None)
        rules = self.training_rule(sigma, eta), self.rule(sigma, eta)
        # Runs that draw nothing are one run.
        runs = seeds if rules[0].random or rules[1].random else 1
        training = Walker(problem, eta, rules[0], key, runs, sets)
        same = type(self).training_rule is AbstractDescent.training_rule
        walker = training if same else Walker(problem, eta, rules[1], key, runs, sets)
        before = plan.weights[: plan.kept]
        # With one weight for all, training does not depend on what will be deleted.
        once = sets is not None and bool((before == 1.0).all())
        trainer = Walker(problem, eta, rules[0], key, runs) if once else training
        kept = trainer.walk(start, before)[:, 0]
        trained = kept
        if plan.trained > plan.kept:
            trained = trainer.walk(kept, np.ones(plan.trained), first=plan.kept)[:, 0]
        state = rng.bit_generator.state
        resumed = self.resume(self.recovered(trainer, problem, kept, plan), sigma, rng)
        theta = walker.walk(resumed, plan.weights, first=plan.kept)[:, 0]
        nothing = np.zeros_like(plan.weights)
        if same and type(self).resume is AbstractDescent.resume:
            retrained = walker.walk(start, nothing)[:, 0]
        else:
            rng.bit_generator.state = state  # the same draws
            middle = self.resume(training.walk(start, nothing[: plan.kept])[:, 0], sigma, rng)
            retrained = walker.walk(middle, nothing, first=plan.kept)[:, 0]
        return Ends(plan, eta, trained, kept, theta, retrained)


@dataclass(frozen=True, eq=False)
class Ends:
    """Where the legs of a run end.

    Attributes:
        plan: the weights.
        eta: η.
        trained, kept: θ of every run, shape (r, d), or once for all deletions.
        theta, retrained: θ of every run, or of every deletion, shape (q, d).
    """

    plan: Plan
    eta: float
    trained: Float[np.ndarray, "r d"]
    kept: Float[np.ndarray, "r d"]
    theta: Float[np.ndarray, "q d"]
    retrained: Float[np.ndarray, "q d"]


def as_run(problem: Problem, theta0: object) -> Float[np.ndarray, " d"]:
    """The start of a run of a problem that deletes something.

    Raises:
        InputError: no problem, no deleted points, a non-convex risk without a start.
    """
    if not as_problem(problem).delete.size:
        raise InputError("the problem deletes no point, so nothing has to be unlearned: make it with delete=[…].")
    return require_start(problem, theta0, "theta0, where training starts")


def as_rng(key: Key[Array, ""] | None, seeds: int, *, random: bool) -> np.random.Generator:
    """NumPy's generator of a key of JAX.

    Raises:
        InputError: no key where something is drawn, or fewer than one seed.
    """
    if as_count(seeds, "seeds") > 1 and key is None:
        raise InputError("several seeds need a key: pass key=jax.random.key(0), or another seed.")
    if key is not None:
        COMMON["key"](key, "key")
    else:
        if random:
            raise InputError("noise and mini-batches are drawn at random: pass key=jax.random.key(0), or another seed.")
        return np.random.default_rng(0)
    return np.random.default_rng([2, *(int(word) for word in np.asarray(jax.random.key_data(key)).ravel())])


def check_batch(problem: Problem, batch_size: int | None) -> None:
    """Refuse a batch that is larger than the data."""
    if batch_size is not None and batch_size > problem.data.n:
        raise InputError(f"batch_size is {batch_size}; the problem has {problem.data.n} points.")


def check_weights(plan: Plan, problem: Problem | None) -> None:
    """Refuse weights per point that are not one for each deleted point."""
    shape = plan.weights.shape[1:]
    if shape and (problem is None or shape != problem.delete.shape):
        what = "every set of a data set" if problem is None else f"{problem.delete.size} deleted points"
        raise InputError(f"the schedule has {shape[0]} weights per step, which do not fit {what}.")


def as_steps(steps: int, unlearning_steps: int, *, within: bool) -> None:
    """Refuse counts of steps that are none, or K beyond T."""
    total = as_count(steps, "steps", least=0)
    most = total if within else None
    as_count(unlearning_steps, "unlearning_steps", 0, most, f"training takes T = {total} steps")


def as_bool(value: object, name: str) -> bool:
    """On or off."""
    return as_flag(value, name)
