"""One Newton step away from the deleted points, with noise in the output or in the objective."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Key

from ..._core import Array, ConvergenceError, InputError
from ...analysis import newton_step, retrain, train
from ...flow import trained_optimum
from ...problem import LinearModel, Problem, Quadratic, statistics
from .._parameters import as_nonnegative
from ._base import OBJECTIVE, AbstractAlgorithm, UnlearningRun, as_rng, as_run

NEWTON_STEPS, SHORTEST = 100, 1e-15


@dataclass(frozen=True, repr=False, kw_only=True)
class NewtonRemoval(AbstractAlgorithm):
    """One Newton step on what is left, from the trained optimum; then noise.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> run = ef.NewtonRemoval().run(problem)
        >>> np.allclose(run.theta, run.retrained)  # exact for a quadratic risk
        True

        θ = θ(1) + (H_0 + λ_d I)⁻¹ ∑_D g_j,   H_0 = ∇²R_0(θ(1)), g_j = c∇ℓ_j(θ(1))

    Compared with θ(0), the minimum without the points; for a non-convex risk with the minimum next to θ(1). State kept:
    θ(1) and ∇²R_1. Assumptions of a worst-case certificate: strongly convex, a Lipschitz Hessian, exact minimisation.

    Attributes:
        damping: λ_d ≥ 0.

    Source: Sekhari, Acharya, Kamath and Suresh, "Remember what you want to forget", 2021.
    """

    name: ClassVar[str] = "Newton"
    damping: float = 0.0

    def __post_init__(self) -> None:
        as_nonnegative(self.damping, "damping")

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
        sigma, rng = as_nonnegative(sigma, "sigma"), as_rng(key, seeds, random=bool(sigma))
        trained = trained_at(problem, start)
        theta = newton_step(problem, trained, damping=self.damping).predicted
        retrained = retrain(problem, trained).theta
        shape = (seeds, problem.dim) if key is not None else (problem.dim,)
        draw = sigma * rng.standard_normal(shape)
        ends = (np.broadcast_to(end, shape) + part for end, part in ((trained, 0.0), (theta, draw), (retrained, draw)))
        return _newton_run(self.name, problem, sigma, *ends)


@dataclass(frozen=True, repr=False, kw_only=True)
class CertifiedRemoval(AbstractAlgorithm):
    """Certified removal: the objective is noisy, R_1(θ) + c bᵀθ with b ~ N(0, σ²I), and a request is one Newton step.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> run = ef.CertifiedRemoval().run(problem)
        >>> np.allclose(run.theta, run.retrained)  # exact for a quadratic risk
        True

        θ_b = argmin R_1(θ) + c bᵀθ,   θ = θ_b + H_0(θ_b)⁻¹ ∑_D g_j(θ_b)

    What the noise has to hide is not a distance but the gradient ‖∇R_0(θ) + cb‖/c that the step leaves over. Compared
    with the minimum without the points under the same b. State kept: θ_b, b and the budget of residuals that is left.
    Assumptions of its certificate: a linear model, convex, with a Lipschitz ℓ''.

    Source: Guo, Goldstein, Hannun and van der Maaten, "Certified data removal", 2020.
    """

    name: ClassVar[str] = "certified removal"
    noise: ClassVar[str] = OBJECTIVE

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
        as_run(problem, theta0)
        require_linear(problem)
        sigma, rng = as_nonnegative(sigma, "sigma"), as_rng(key, seeds, random=bool(sigma))
        tilts = problem.scale * sigma * rng.standard_normal((seeds, problem.dim))
        ends = [self.removed(problem, tilt) for tilt in tilts]
        rows = (np.stack(rows) for rows in zip(*ends, strict=True))
        keep = slice(None) if key is not None else 0
        return _newton_run(self.name, problem, sigma, *(each[keep] for each in rows))

    def removed(self, problem: Problem, tilt: Float[np.ndarray, " d"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """θ_b, the Newton step from it, and the minimum without the points."""
        trained = tilted_minimum(problem, 1.0, tilt, np.zeros(problem.dim))
        theta = newton_step(problem, trained).predicted
        return trained, theta, tilted_minimum(problem, 0.0, tilt, theta)


def trained_at(problem: Problem, start: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
    """θ(1): the optimum, or for a non-convex risk the minimum that training from the start finds."""
    return trained_optimum(problem, None) if problem.convex else np.asarray(train(problem, start).theta)


def require_linear(problem: Problem) -> None:
    """Refuse what certified removal is not defined for."""
    if not (isinstance(problem.model, LinearModel) and problem.convex):
        raise InputError(
            f"certified removal is for linear models under a convex loss; this one is {type(problem.model).__name__} "
            f"with {type(problem.loss).__name__}. NewtonRemoval runs on any model."
        )


def tilted_minimum(
    problem: Problem, eps: float, tilt: Float[np.ndarray, " d"], start: Float[np.ndarray, " d"]
) -> Float[np.ndarray, " d"]:
    """argmin R_ε(θ) + ⟨tilt, θ⟩ of a convex linear model, by Newton's method with halved steps.

    Raises:
        ConvergenceError: a singular Hessian, or no minimum.
    """
    if isinstance(problem.risk, Quadratic):
        h, b = statistics(problem, np.full(problem.delete.shape, eps))
        return np.linalg.solve(h, b - tilt)
    model, theta = problem.generalised(), start
    weights = model.weights(eps)

    def at(place: np.ndarray) -> tuple[Any, float, np.ndarray]:
        local = model.at(place)
        return local, model.value(local, weights) + float(tilt @ place), model.gradient(local, weights) + tilt

    local, value, gradient = at(theta)
    for _ in range(NEWTON_STEPS):
        move = -np.linalg.solve(model.hessian(local, weights), gradient)
        promised, length = float(gradient @ move), 1.0
        trial = at(theta + move)
        # Values agree to rounding near the minimum, where the whole step is the right one.
        while trial[1] > value + 0.25 * length * promised + 1e-14 * (abs(value) + abs(trial[1])) and length > SHORTEST:
            length *= 0.5
            trial = at(theta + length * move)
        theta, (local, value, gradient) = theta + length * move, trial
        if np.linalg.norm(move) <= 1e-9 * (1e-300 + np.linalg.norm(theta)):
            return theta  # the step just taken squared what was left
    raise ConvergenceError("the perturbed objective has no minimum that Newton's method finds. Add l2 > 0.", theta)


def _newton_run(
    name: str, problem: Problem, sigma: float, trained: np.ndarray, theta: np.ndarray, retrained: np.ndarray
) -> UnlearningRun:
    nothing = float("nan")  # optima are not counted in gradients
    return UnlearningRun(
        algorithm=name,
        trained=trained,
        theta=theta,
        retrained=retrained,
        reference="θ(0), the minimum without the points",
        sigma=sigma,
        gradients=1.0,
        products=float(problem.dim),
        training_gradients=nothing,
        retraining_gradients=nothing,
    )
