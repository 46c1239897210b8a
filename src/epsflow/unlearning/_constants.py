"""The constants that worst-case guarantees are stated in: proved from the data and a radius, or sampled on the way."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .._core import InputError, Shown
from ..analysis import as_step_size
from ..flow import checked
from ..problem import (
    AbstractLoss,
    LinearModel,
    LogisticLoss,
    Problem,
    PseudoHuberLoss,
    SoftmaxCrossEntropy,
    SquaredLoss,
)
from ._parameters import as_nonnegative, as_positive

CERTIFIED, ESTIMATED, HEURISTIC = "certified", "estimated", "heuristic"
"""What a number rests on: proof; constants or distances that were sampled; neither."""


@dataclass(frozen=True, eq=False, repr=False)
class RiskConstants(Shown):
    """Constants of R_ε, in the scale c of the problem ("sum" or "mean"), for every ε ∈ [0, 1] of every deleted set.

    Example:
        >>> ef.RiskConstants(1.0, 2.0, 2.0, 0.1, 0.0, convex=True)
        RiskConstants(lipschitz=1, smoothness=2, strong_convexity=0.1, kind=certified, source=given)

    Attributes:
        lipschitz: G, a bound on ‖∇ℓ_i(θ)‖ of every point, the penalty not included.
        smoothness: L, a bound on the eigenvalues of ∇²R_ε.
        point_smoothness: a bound on those of nc∇²ℓ_i + λI of every point, and so of every batch.
        strong_convexity: μ, a lower bound of them: λ for a convex loss, whatever the data is; 0 otherwise.
        hessian_lipschitz: a Lipschitz constant of ∇²R_ε; NaN where none is known.
        convex: whether R_ε is convex.
        kind: "certified" (proved) or "estimated" (sampled).
        source: from what, in words.
    """

    lipschitz: float
    smoothness: float
    point_smoothness: float
    strong_convexity: float
    hessian_lipschitz: float
    convex: bool
    kind: str = CERTIFIED
    source: str = "given"

    def __post_init__(self) -> None:
        as_positive(self.smoothness, "smoothness")
        for name in ("lipschitz", "point_smoothness", "strong_convexity"):
            as_nonnegative(getattr(self, name), name)
        if self.strong_convexity > self.smoothness * (1.0 + 1e-12):
            raise InputError(
                f"strong_convexity is {self.strong_convexity:g}, above smoothness {self.smoothness:g}; every "
                "eigenvalue of the Hessian lies between them. Have they changed places?"
            )

    def _facts(self) -> dict[str, object]:
        return {
            "lipschitz": self.lipschitz,
            "smoothness": self.smoothness,
            "strong_convexity": self.strong_convexity,
            "kind": self.kind,
            "source": self.source,
        }

    def contraction(self, step_size: float, *, batches: bool = False) -> float:
        """The least c proved for which a step on R_0, or on a batch of it, is c-Lipschitz.

        max(|1 − ημ|, |1 − ηL|) for a convex risk and η ≤ 2/L; 1 + ηL for others.

        Raises:
            InputError: a convex risk and η > 2/L.
        """
        smooth = self.point_smoothness if batches else self.smoothness
        if not self.convex:
            return 1.0 + step_size * smooth
        name = "2/point_smoothness" if batches else "2/smoothness"
        if step_size > 2.0 / smooth * (1.0 + 4.0 * np.finfo(float).eps):
            raise InputError(
                f"step_size is {step_size:g}, above its limit {name} = {2.0 / smooth:g}, beyond which a step expands "
                f"distances. Take a step of at most {2.0 / smooth:g}."
            )
        return max(abs(1.0 - step_size * self.strong_convexity), abs(1.0 - step_size * smooth))


@checked
def risk_constants(problem: Problem, radius: float | None = None) -> RiskConstants:
    """The constants of a linear model, proved from its data and the radius of the projection.

    Example:
        >>> data = ef.Dataset(np.array([[1.0], [1.0], [2.0]]), np.array([1.0, 2.0, 3.0]))
        >>> line = ef.linear_regression(data, [0], l2=1.0)
        >>> ef.risk_constants(line, radius=1.0)
        RiskConstants(lipschitz=10, smoothness=7, strong_convexity=1, kind=certified, source=the data and the ball
        of radius 1)

    With X = max‖x_i‖ and a loss of slope at most s, curvature at most κ and third derivative at most γ in the output,

        G = sX,   L = cκλ_max(XᵀX) + λ,   μ = λ,   Lip(∇²R) = cγX³n,   nc∇²ℓ_i + λI ≤ ncκX² + λ

    s = 1 for the logistic loss, √2 for softmax, δ for each output of pseudo-Huber; for the squared loss s = X·radius +
    max|y_i| on the ball ‖θ‖ ≤ radius. κ = 1, ¼ (logistic), ½ (softmax); γ = 0 (squared), 1/(6√3) (logistic), 1/√2
    (softmax: a variance of at most ½ times a range of at most √2), 48/(25√5 δ) (pseudo-Huber).

    Args:
        problem: a linear model under a loss that ships.
        radius: of the ball to which parameters are projected; needed where gradients are not bounded without it.

    Raises:
        InputError: another model or loss; the squared loss without a radius.
    """
    radius = None if radius is None else as_positive(radius, "radius")
    if not isinstance(problem.model, LinearModel):
        raise InputError(
            f"constants are proved for linear models; those of {type(problem.model).__name__} can only be sampled on "
            "its trajectories, or given by constants=RiskConstants(...)."
        )
    x = np.asarray(problem.data.x)
    longest = math.sqrt(float((x * x).sum(axis=1).max()))
    bounds = _bounds(problem.loss, problem, longest, radius)
    largest = float(np.linalg.eigvalsh(x.T @ x if x.shape[0] >= x.shape[1] else x @ x.T)[-1])
    n, c = problem.data.n, problem.scale
    return RiskConstants(
        lipschitz=bounds.slope * longest,
        # One rounding of an eigenvalue above what LAPACK says.
        smoothness=c * bounds.curvature * largest * (1.0 + 1e-13) + problem.l2,
        point_smoothness=n * c * bounds.curvature * longest**2 + problem.l2,
        strong_convexity=problem.l2 if problem.loss.convex else 0.0,
        hessian_lipschitz=n * c * bounds.third * longest**3,
        convex=problem.loss.convex,
        source="the data" if radius is None else f"the data and the ball of radius {radius:g}",
    )


def sampled_constants(
    problem: Problem, paths: Sequence[Float[np.ndarray, " d"]], radius: float | None = None
) -> RiskConstants:
    """Constants of any model, as large as they were at parameters that trajectories visited: estimates, not bounds.

    Args:
        problem: what is trained.
        paths: parameters.
        radius: only for the words.
    """
    gradients = 0.0
    smooth = 0.0
    everyone = np.arange(problem.data.n)
    for theta in paths:
        rows = np.asarray(problem.point_gradients(theta, everyone)) / problem.scale
        gradients = max(gradients, float(np.linalg.norm(rows, axis=1).max()))
        smooth = max(smooth, 1.0 / float(as_step_size(problem, np.asarray(theta), None)))
    return RiskConstants(
        lipschitz=gradients,
        smoothness=smooth,
        # What one point bends is not sampled; a batch is taken to bend as the whole does.
        point_smoothness=smooth,
        strong_convexity=0.0,
        hessian_lipschitz=math.nan,
        convex=False,
        kind=ESTIMATED,
        source=f"the largest at {len(paths)} parameters of the trajectories",
    )


@dataclass(frozen=True)
class _LossBounds:
    slope: float
    curvature: float
    third: float


def _bounds(loss: AbstractLoss, problem: Problem, longest: float, radius: float | None) -> _LossBounds:
    """Bounds on ‖∇_fℓ‖, ‖∇²_fℓ‖ and its Lipschitz constant."""
    outputs = int(np.prod(problem.data.y.shape[1:], dtype=int)) or 1
    if type(loss) is SquaredLoss:
        if radius is None:
            raise InputError(
                "the gradient of the squared loss is not bounded: give the algorithm radius=…, to whose ball every "
                "step is projected, or take scope='per data set', which needs no constants."
            )
        targets = np.asarray(problem.data.y).reshape(problem.data.n, -1)
        return _LossBounds(longest * radius + math.sqrt(float((targets * targets).sum(axis=1).max())), 1.0, 0.0)
    if type(loss) is LogisticLoss:
        return _LossBounds(math.sqrt(outputs), 0.25, 1.0 / (6.0 * math.sqrt(3.0)))
    if type(loss) is SoftmaxCrossEntropy:
        return _LossBounds(math.sqrt(2.0), 0.5, math.sqrt(0.5))
    if type(loss) is PseudoHuberLoss:
        return _LossBounds(loss.delta * math.sqrt(outputs), 1.0, 48.0 / (25.0 * math.sqrt(5.0)) / loss.delta)
    raise InputError(
        f"no bound on the derivatives of {type(loss).__name__} is known: pass constants=RiskConstants(...), or take "
        "scope='per instance'."
    )
