"""What is trained: which model fits the data, where its training ends, and which point is the question."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from .._core import Array, ConvergenceError, InputError
from ..analysis import gradient_descent, self_influence, train
from ..problem import (
    CNN,
    MLP,
    AbstractLoss,
    AbstractModel,
    Dataset,
    LinearModel,
    LogisticLoss,
    Problem,
    SoftmaxCrossEntropy,
    SquaredLoss,
)
from ._deletion import Deletion, choose_points
from ._inputs import NETWORKS, Architecture, Material, Source, Training
from ._own_model import own_model

HIDDEN = (8,)
CHANNELS = (4,)
STEP_SIZE = 0.1
"""η of a network on the mean risk of standardised data, where λ_max is between 2 and 10 at its start."""
NETWORK_PENALTY = 3e-2
"""λ of a network's mean risk: large enough that minima without a point are the one with it, moved."""


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


def train_model(source: Source, training: Training, material: Material) -> Trained:
    """Train the model on all of the data, and choose the point to delete where none is named.

    The default point is the one with the largest Cook's distance (linear regression) or self-influence, g_jᵀC⁻¹g_j with
    the Gauss–Newton matrix (plus the damping for a network): the largest predicted rise of a point's own loss.

    Raises:
        InputError: options that do not fit the data.
        ConvergenceError: training failed.
    """
    if material.kind == "linear":
        deletion = choose_points(source, material.data)
        return Trained(deletion, None, None, training.step_size, "the optimum θ(1), in closed form")
    named = source.points(material.data.n)
    problem = problem_of(source, training, material, named)
    if material.kind not in NETWORKS:
        found = train(problem)
        story = f"the optimum θ(1), ‖∇R_1‖ = {float(found.gradient_norm):.1e}"
        theta0, theta_s, step_size = None, found.theta, training.step_size
    else:
        theta0, theta_s, step_size, story = train_network(problem, training)
    deletion = Deletion(problem, "named") if named else most_influential(problem, theta_s, training.damping)
    return Trained(deletion, theta0, theta_s, step_size, story)


def most_influential(problem: Problem, theta: Any, damping: float) -> Deletion:
    """The problem without the point that has the largest self-influence at θ; a network's curvature is damped."""
    damping = 0.0 if problem.convex else damping
    own = self_influence(problem, theta=theta, curvature="ggn", damping=damping).values
    return Deletion(problem.with_delete(int(np.argmax(np.asarray(own)))), "the largest self-influence")


def problem_of(source: Source, asked: Architecture, material: Material, delete: list[int]) -> Problem:
    """The model that fits the data, with the loss and the penalty that are usual for it.

    Raises:
        InputError: an image that the features are not, or a model of the user's that cannot be made.
    """
    data, network = material.data, material.kind in NETWORKS
    if material.kind == "own":
        assert asked.model is not None  # or it would be another kind
        model, loss = own_model(asked.model, data, material.classes)
    else:
        model, loss = _known_model(asked, material)
    # What is usual for logistic regression is λ = 1 of the summed risk.
    usual = NETWORK_PENALTY * data.n if network else 1.0 if material.labelled else 0.0
    scale = 1.0 if source.reduction == "sum" else 1.0 / data.n
    penalty = usual * scale if source.l2 is None else source.l2
    return Problem(model, loss, data, delete or None, penalty, source.reduction)


def _known_model(asked: Architecture, material: Material) -> tuple[AbstractModel, AbstractLoss]:
    kind, features = material.kind, material.data.x.shape[1]
    # Two classes share one logit, unless softmax is asked for.
    several = material.classes > 2 or kind == "softmax"
    outputs = material.classes if several else 1
    loss = SquaredLoss() if not material.labelled else SoftmaxCrossEntropy() if several else LogisticLoss()
    if kind == "mlp":
        return MLP((features, *(asked.hidden or HIDDEN), outputs)), loss
    if kind == "cnn":
        image = _image(asked, material.data)
        return CNN(image, tuple(asked.channels or CHANNELS), (*(asked.hidden or ()), outputs)), loss
    return LinearModel(features, outputs if several else None), loss


def _image(asked: Architecture, data: Dataset) -> tuple[int, ...]:
    """What the features are, as an image; a square unless the options say otherwise.

    Raises:
        InputError: they are none.
    """
    features, given = data.x.shape[1], asked.image
    side = math.isqrt(features)
    if given is None and side * side != features:
        raise InputError(f"{data.name}: {features} features are no square image; say which by --image HxW.")
    sizes = (side, side) if given is None else tuple(map(int, given.split("x")))
    if math.prod(sizes) != features:
        raise InputError(f"--image {given} has {math.prod(sizes)} pixels, but {data.name} has {features} features.")
    return sizes


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
