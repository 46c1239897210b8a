"""What `influence` trains: which model fits the data, where its training ends, and which point is the question."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from .._core import Array, ConvergenceError
from ..analysis import gradient_descent, self_influence, train
from ..problem import (
    MLP,
    LinearModel,
    LogisticLoss,
    Problem,
    SoftmaxCrossEntropy,
    SquaredLoss,
)
from ._deletion import Deletion, choose_points
from ._inputs import AnySource, Material, Training

HIDDEN = (8,)
STEP_SIZE = 0.1
"""η of an MLP on the mean risk of standardised data, where λ_max is between 2 and 10 at its start."""
MLP_PENALTY = 3e-2
"""λ of an MLP's mean risk: large enough that minima without a point are the one with it, moved."""


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained model, and the deletion that is asked about.

    Attributes:
        deletion: the problem with its deleted points.
        theta0, theta_s: start and end of training; None for the defaults of `endpoints` (zero, the optimum).
        step_size: η of gradient descent; None for the default of `endpoints`.
        story: how θ_s was found, in words.
    """

    deletion: Deletion
    theta0: Float[Array, " d"] | None
    theta_s: Float[Array, " d"] | None
    step_size: float | None
    story: str


def train_model(source: AnySource, training: Training, material: Material) -> Trained:
    """Train the model on all of the data, and choose the point to delete where none is named.

    The default point is the one with the largest Cook's distance (linear regression) or self-influence, g_jᵀC⁻¹g_j with
    the Gauss–Newton matrix (plus the damping for an MLP): the largest predicted rise of a point's own loss.

    Raises:
        InputError: options that do not fit the data.
        ConvergenceError: training failed.
    """
    if material.kind == "linear":
        deletion = choose_points(source, material.data)
        return Trained(deletion, None, None, training.step_size, "the optimum θ(1), in closed form")
    named = source.points(material.data.n)
    problem = problem_of(source, training, material, named)
    if material.kind == "logistic":
        found = train(problem)
        story = f"the optimum θ(1), ‖∇R_1‖ = {float(found.gradient_norm):.1e}"
        theta0, theta_s, step_size = None, found.theta, training.step_size
    else:
        theta0, theta_s, step_size, story = train_network(problem, training)
    if named:
        return Trained(Deletion(problem, "named"), theta0, theta_s, step_size, story)
    damping = 0.0 if problem.convex else training.damping
    own = self_influence(problem, theta=theta_s, curvature="ggn", damping=damping).values
    problem = problem.with_delete(int(np.argmax(np.asarray(own))))
    return Trained(Deletion(problem, "the largest self-influence"), theta0, theta_s, step_size, story)


def problem_of(source: AnySource, training: Training, material: Material, delete: list[int]) -> Problem:
    """The model that fits the data, with the loss and the penalty that are usual for it."""
    kind, labelled, data = material.kind, material.labelled, material.data
    features = data.x.shape[1]
    # Two classes share one logit.
    classes = len(data.classes) or int(data.y.max()) + 1 if labelled else 2
    outputs = classes if classes > 2 else 1
    loss = SquaredLoss() if not labelled else SoftmaxCrossEntropy() if classes > 2 else LogisticLoss()
    if kind == "mlp":
        model = MLP((features, *(training.hidden or HIDDEN), outputs))
    else:
        model = LinearModel(features, outputs if outputs > 1 else None)
    # What is usual for logistic regression is λ = 1 of the summed risk.
    usual = MLP_PENALTY * data.n if kind == "mlp" else 1.0
    scale = 1.0 if source.reduction == "sum" else 1.0 / data.n
    penalty = usual * scale if source.l2 is None else source.l2
    return Problem(model, loss, data, delete or None, penalty, source.reduction)


def train_network(problem: Problem, training: Training) -> tuple[Array, Array, float, str]:
    """θ0, θ_s, η and how θ_s was found."""
    theta0 = problem.model.init(jax.random.key(training.seed))
    # η multiplies c Σ: what is usual for the mean is divided by n for the sum.
    step_size = STEP_SIZE / (problem.scale * problem.data.n) if training.step_size is None else training.step_size
    run: Any = gradient_descent(problem, 1.0, theta0, steps=training.steps, step_size=step_size, throw=False)
    before, after = float(problem.value(theta0)), float("nan")
    if np.isfinite(np.asarray(run.end)).all():
        after = float(problem.value(run.end))
    if not after <= before:
        raise ConvergenceError(
            f"training diverged: {training.steps} steps of gradient descent with η = {step_size:.3g} took the risk "
            f"from {before:.3g} to {after:.3g}. Try a smaller --step-size.",
            run,
        )
    story = f"{training.steps} steps of gradient descent with η = {step_size:.3g} from seed {training.seed}"
    if training.stop == "early":
        size = float(np.linalg.norm(problem.gradient(run.end)))
        return theta0, run.end, step_size, f"{story}, ‖∇R_1‖ = {size:.1e}"
    found = train(problem, theta0=run.end)
    return theta0, found.theta, step_size, f"{story}, then a minimum, ‖∇R_1‖ = {float(found.gradient_norm):.1e}"
