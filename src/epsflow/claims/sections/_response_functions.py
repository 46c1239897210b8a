"""Claims of the section "Response functions": Taylor expansion, damping, Bregman divergences, PBRF and its gaps."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..._core import Array
from ...analysis import (
    PBRF,
    Cholesky,
    Decomposition,
    decompose,
    gradient_descent,
    influence,
    pbrf,
    response_path,
    retrain,
)
from ...flow import equilibrium
from ...problem import (
    MLP,
    AbstractLoss,
    Dataset,
    FunctionModel,
    LogisticLoss,
    Problem,
    PseudoHuberLoss,
    SquaredLoss,
    linear_regression,
)
from ...schedules import Constant
from .._claim import Evidence, Kind, Sample, claim, worst
from .._tools import PARABOLA, SOLVES, TWO, UNIT, hessian, parabola, relative, rounding
from .._trial import Case, Trial

SECTION = "Response functions"


class WeightedSquaredLoss(AbstractLoss):
    """w·½(f − y)² for a target (y, w): a point whose weight is data, so that one compiled PBRF serves all weights."""

    convex: ClassVar[bool] = True

    def __call__(self, output: Float[Array, "*k"], target: Float[Array, "*t"]) -> Float[Array, ""]:
        return 0.5 * target[1] * (output - target[0]) ** 2

    def check(self, output_shape: tuple[int, ...], y: np.ndarray) -> None:
        """One output; targets are pairs."""


class CauchyLoss(AbstractLoss):
    """log(1 + (f − y)²): not convex where |f − y| > 1."""

    convex: ClassVar[bool] = False

    def __call__(self, output: Float[Array, "*k"], target: Float[Array, "*t"]) -> Float[Array, ""]:
        return np.sum(jnp.log1p((output - target) ** 2))


@claim(
    id="response-taylor",
    section=SECTION,
    source="r̂_lin(1/n)",
    statement="The response at ε_A = 1/n is θ̂ + H⁻¹∇ℓ/n to first order.",
    as_written="r̂_z(1/n) = θ̂ + (1/n) H_θ̂⁻¹ ∇ℓ + O(1/n²)",
    expected=Kind.HOLDS,
)
def response_taylor(trial: Trial) -> Evidence:
    """The remainder against ½ max‖θ̈‖, and its order in n: the same ten points tiled, and one point more."""
    samples = []
    for name, problem, _ in [*trial.regressions(), *trial.logistic()]:
        path = response_path(problem)
        thetas = np.asarray(path.thetas)
        remainder = thetas[-1] - thetas[0] - np.asarray(influence(problem).change)
        size = float(path.bound)
        noise = float(np.linalg.norm(thetas[0])) * (rounding(problem, thetas[0]) + 1e-10)
        samples.append(Sample(float(np.linalg.norm(remainder)), 0.5 * size * (1.0 + 1e-6) + noise, name))
    rng = trial.rng()
    x, y = rng.standard_normal((10, 2)), rng.standard_normal(10)
    sizes = np.array([641, 1281])
    errors = []
    for n in sizes:
        tiled = Dataset(np.vstack([[1.0, 1.0], np.tile(x, (n // 10, 1))]), np.append(3.0, np.tile(y, n // 10)))
        problem = linear_regression(tiled, [0], reduction="mean")
        change = np.asarray(retrain(problem).theta) - np.asarray(equilibrium(problem).theta)
        errors.append(float(np.linalg.norm(change - np.asarray(influence(problem).change))))
    order = float(np.log(errors[0] / errors[1]) / np.log(sizes[1] / sizes[0]))
    samples.append(Sample(abs(order - 2.0), 10.0 / sizes[0], f"order of the error in 1/n: {order:.4f}"))
    reason = "remainder against ½ max‖θ̈(ε)‖ (Taylor); for the order, the next term is O(1/n)"
    return Evidence(written=worst(samples, reason, factor=1.0), remarks=(f"The error falls like n^−{order:.3f}.",))


def _curvatures(problem: Problem, theta: np.ndarray, damping: float) -> tuple[float, float]:
    """Least eigenvalues of the Hessian and of the damped Gauss–Newton matrix."""
    at = theta
    rows = np.stack([np.asarray(problem.ggn_product(at, row)) for row in np.eye(problem.dim)])
    damped = 0.5 * (rows + rows.T) + damping * np.eye(problem.dim)
    return float(np.linalg.eigvalsh(hessian(problem, 1.0, theta))[0]), float(np.linalg.eigvalsh(damped)[0])


def _bent_line() -> tuple[Problem, np.ndarray]:
    """f = xθ + 3/2 θ² at x = ±1, y = −2, Cauchy loss: stationary at θ = 0, with curvature of both signs."""
    model = FunctionModel(lambda params, point: point[0] * params + 1.5 * params**2, jnp.zeros(()))
    data = Dataset(np.array([[1.0], [-1.0]]), np.array([-2.0, -2.0]))
    return Problem(model, CauchyLoss(), data, [0]), np.zeros(1)


@claim(
    id="ggn-pd",
    section=SECTION,
    source="after the definition of I†",
    statement="The damped Gauss–Newton Hessian is positive definite as long as the Hessian is.",
    as_written="H_θ̂ ≻ 0 ⇒ Jᵀ H_ℓ J + λI ≻ 0",
    corrected="It is if λ > 0 and ℓ is convex in its first argument, whether or not H is definite.",
    expected=Kind.CONDITIONAL,
)
def ggn_pd(trial: Trial) -> Evidence:
    """Least eigenvalues of the damped Gauss–Newton matrix, with a convex loss and without one."""
    damping, condition, indefinite = 0.1, [], 0
    rng = trial.rng()
    x, model = np.linspace(-2.0, 2.0, 20)[:, None], MLP((1, 2, 1))
    for i in range(trial.count(6, 60)):
        theta = 2.0 * rng.standard_normal(7)
        problem = Problem(model, SquaredLoss(), Dataset(x, rng.standard_normal(20)), [0])
        least, damped = _curvatures(problem, theta, damping)
        indefinite += least < 0.0
        # Least eigenvalue ≥ λ, up to the rounding of the matrix.
        scale = float(np.linalg.norm(hessian(problem, 1.0, theta), 2)) + 1.0
        condition.append(Sample(max(0.0, damping - damped), 7 * UNIT * scale, f"network, number {i}"))
    problem, theta = _bent_line()
    least, damped = _curvatures(problem, theta, damping)
    written = worst([Sample(max(0.0, -damped), UNIT, "f = xθ + 3/2 θ²")], "how far below 0 the least eigenvalue is")
    example = {
        "f(θ; x)": "xθ + 3/2 θ²",
        "ℓ(f, y)": "log(1 + (f − y)²)",
        "x": [1, -1],
        "y": [-2, -2],
        "θ̂": 0,
        "H": least,
        "λ": damping,
        "GNH + λ": damped,
    }
    reason = "how far the least eigenvalue lies below λ; bound: d·u·‖matrix‖"
    remark = f"Of {len(condition)} networks {indefinite} had an indefinite Hessian, and a positive definite damped GNH."
    return Evidence(written=written, condition=worst(condition, reason), counterexample=example, remarks=(remark,))


def _proximal(problem: Problem, theta: np.ndarray, damping: float) -> Problem:
    """The same risk as a function of z = θ − θ̂, plus (λ/2)‖z‖²."""
    anchor, model = jnp.asarray(theta), problem.model
    shifted = FunctionModel(lambda z, point: model(anchor + z, point), jnp.zeros(problem.dim))
    return Problem(shifted, problem.loss, problem.data, problem.delete, damping, problem.reduction)


@claim(
    id="damped-linearisation",
    section=SECTION,
    source="r̂_damp,lin(1/n)",
    statement="The damped response has θ̂ + I†/n as its linearisation, with the Gauss–Newton matrix in I†.",
    as_written="r̂_damp,lin(1/n) = θ̂ + (1/n)(Jᵀ H_ℓ J + λI)⁻¹ ∇ℓ",
    corrected=(
        "The linearisation is θ̂ + (1/n)(H_θ̂ + λI)⁻¹∇ℓ. The two agree where H is the Gauss–Newton matrix: for models "
        "linear in θ, or where all residuals vanish."
    ),
    expected=Kind.CONDITIONAL,
)
def damped_linearisation(trial: Trial) -> Evidence:
    """The derivative of the damped response at ε_A = 0, against damped influence with the GNH and with the Hessian."""
    damping, step = 0.1, 1e-3
    written, condition, corrected = [], [], []
    cases = [Case("f = xθ + θ² at its optimum", *parabola())]
    for name, problem, theta in [*cases, *(trial.network(number=i) for i in range(trial.count(0, 5)))]:
        # θ̂ is stationary at ε = 1, so z = 0 is the damped optimum there.
        grid = np.array([1.0, 1.0 - step / 2.0, 1.0 - step])
        path = response_path(_proximal(problem, theta, damping), np.zeros(problem.dim), eps=grid)
        half, full = (path.thetas[1] - path.thetas[0]) * 2.0 / step, (path.thetas[2] - path.thetas[0]) / step
        change = 2.0 * half - full
        error = float(np.linalg.norm(half - full) / np.linalg.norm(change))
        ggn, full_hessian = _damped_influences(problem, theta, damping)
        written.append(Sample(relative(ggn, change), error, name))
        corrected.append(Sample(relative(full_hessian, change), error, name))
    for name, problem, _ in trial.logistic(quick=1):
        theta = np.asarray(equilibrium(problem).theta)
        condition.append(Sample(relative(*_damped_influences(problem, theta, damping)), rounding(problem, theta), name))
    problem, theta = parabola()
    ggn, full_hessian = _damped_influences(problem, theta, 1.0)
    example = {
        **PARABOLA,
        "λ (n times)": 1,
        "∇ℓ/(GNH + λ), as written": float(ggn[0]),
        "derivative of the damped response, ∇ℓ/(H + λ)": float(full_hessian[0]),
    }
    reason = "relative; bound: distance of the one-sided differences with steps h and h/2"
    return Evidence(
        written=worst(written, reason),
        corrected=worst(corrected, reason),
        condition=worst(condition, SOLVES),
        counterexample=example,
    )


def _damped_influences(problem: Problem, theta: np.ndarray, damping: float) -> list[np.ndarray]:
    """I†/n with the Gauss–Newton matrix, and with the Hessian."""
    kinds = ("ggn", "hessian")
    return [np.asarray(influence(problem, theta=theta, curvature=kind, damping=damping).change) for kind in kinds]


@claim(
    id="bregman-nonneg",
    section=SECTION,
    source="Observation",
    statement="The Bregman difference is not negative if ℓ is convex; for the squared loss it is ½‖y − y'‖².",
    as_written="D(y, y') = ℓ(y) − ℓ(y') − ⟨∇ℓ(y'), y − y'⟩ ≥ 0;  ℓ = ½‖·‖² ⇒ D = ½‖y − y'‖²",
    expected=Kind.HOLDS,
)
def bregman_nonneg(trial: Trial) -> Evidence:
    """D(a, b) over random arguments: four convex losses, the closed form of the squared one, and a loss that is not."""
    rng, count = trial.rng(), trial.count(200, 20_000)
    a, b = (jnp.asarray(3.0 * rng.standard_normal(count)) for _ in range(2))
    samples, least = [], {}
    losses = {"squared": SquaredLoss(), "logistic": LogisticLoss(), "pseudo-Huber": PseudoHuberLoss(0.5)}
    for name, loss in {**losses, "Cauchy, not convex": CauchyLoss()}.items():
        y = jnp.asarray((rng.random(count) < 0.5).astype(float))
        values = np.asarray(_divergences(loss, a, b, y))
        scale = UNIT * np.asarray(jnp.abs(a) + jnp.abs(b) + 1.0) ** 2
        least[name] = float(values.min())
        if loss.convex:
            worst_at = int(np.argmax(-values / scale))
            samples.append(Sample(max(0.0, -values[worst_at]), float(scale[worst_at]), f"{name} loss"))
        if name == "squared":
            gap = np.abs(values - 0.5 * np.asarray(a - b) ** 2)
            at = int(np.argmax(gap / scale))
            samples.append(Sample(float(gap[at]), float(scale[at]), "squared loss: D = ½(a − b)²"))
    reason = "how negative D is, or its distance from ½‖a − b‖²; bound: rounding of the three terms"
    remark = f"{count} pairs per loss. Without convexity D can be negative: {least['Cauchy, not convex']:.3g} was met."
    return Evidence(written=worst(samples, reason), remarks=(remark,))


@jax.jit
def _divergences(loss: AbstractLoss, a: Array, b: Array, y: Array) -> Array:
    """D(a, b) = ℓ(a, y) − ℓ(b, y) − ∇ℓ(b, y)(a − b), the definition."""
    return jax.vmap(lambda f, g, t: loss(f, t) - loss(g, t) - jax.grad(loss)(g, t) * (f - g))(a, b, y)


@claim(
    id="pbrf-linearisation",
    section=SECTION,
    source="after the definition of the PBRF",
    statement="The linearised PBRF is θ_s + I†(θ_s)/n, for any θ_s.",
    as_written="r^b_lin(1/n) = θ_s + (1/n)(Jᵀ H_ℓ J + λI)⁻¹ ∇ℓ at θ_s",
    expected=Kind.HOLDS,
)
def pbrf_linearisation(trial: Trial) -> Evidence:
    """The derivative of the PBRF at ε_A = 0 and at any θ_s, against damped Gauss–Newton influence."""
    damping, step, samples = 0.1, 1e-2, []
    rng, model, x = trial.rng(), MLP((1, 2, 1)), np.linspace(-2.0, 2.0, 20)[:, None]
    for i in range(trial.count(2, 20)):
        theta, y, j = rng.standard_normal(7), rng.standard_normal(20), int(rng.integers(20))
        problem = Problem(model, SquaredLoss(), Dataset(x, y), [j])
        change = influence(problem, theta=theta, curvature="ggn", damping=damping).change
        half, full = (_partial_response(problem, theta, damping, w).change / w for w in (step / 2.0, step))
        error = float(np.linalg.norm(half - full) / np.linalg.norm(change))
        samples.append(Sample(relative(2.0 * half - full, change), error, f"network at a random θ_s, number {i}"))
    for name, problem, theta in trial.regressions(quick=1):
        response = pbrf(problem, theta, damping=damping)
        formula = influence(problem, theta=theta, curvature="ggn", damping=damping).change
        # θ_s + change − θ_s loses digits of the change.
        lost = UNIT * float(np.linalg.norm(theta) / np.linalg.norm(formula))
        samples.append(Sample(relative(response.linearised - theta, formula), rounding(problem) + lost, name))
    reason = "relative; bound: distance of one-sided differences with steps h and h/2 (networks), d·u·κ (regressions)"
    return Evidence(written=worst(samples, reason))


def _partial_response(problem: Problem, theta: np.ndarray, damping: float, weight: float) -> PBRF:
    """argmin 𝓛(θ; θ_s) − w·ℓ_j(θ) + (λ_d/2)‖θ − θ_s‖², w = nε_A: a copy of point j that weighs w is deleted.

    The copy's own Bregman divergence is left out, so that 𝓛 is that of the original points.
    """
    x, y, j = problem.data.x, problem.data.y, problem.delete
    targets = np.column_stack([np.append(y, y[j]), np.append(np.ones(len(y)), weight)])
    weighted = Problem(problem.model, WeightedSquaredLoss(), Dataset(np.vstack([x, x[j]]), targets), [len(y)])
    return pbrf(weighted, theta, damping=damping, delete_bregman=False)


def _shares(found: Decomposition) -> tuple[float, float]:
    """Summed sizes, in outputs, of the first three gaps and of the last two."""
    sizes = found.sizes().mean(axis=1)
    return float(sizes[:3].sum()), float(sizes[3:].sum())


def _decompositions(trial: Trial) -> dict[str, Decomposition]:
    """Early-stopped networks, decomposed."""
    found, rng = {}, trial.rng()
    x, model = np.linspace(-2.0, 2.0, 20)[:, None], MLP((1, 2, 1))
    for i in range(trial.count(2, 10)):
        y = np.sin(2.0 * x[:, 0]) + 0.3 * rng.standard_normal(20)
        problem = Problem(model, SquaredLoss(), Dataset(x, y), [int(rng.integers(20))], 1e-3, "mean")
        starts = rng.standard_normal((2, 7))
        stopped = gradient_descent(problem, Constant(1.0), starts[0], steps=50, step_size=0.1).end
        found[f"network stopped after 50 steps, number {i}"] = decompose(
            problem, stopped, damping=0.01, solver=Cholesky(), theta0=starts[1]
        )
    return found


@claim(
    id="pbrf-removes-gaps",
    section=SECTION,
    source="Error decomposition, remark",
    statement="Measured against the PBRF, the first three of the five gaps of an influence estimate are gone.",
    as_written="PBRF − estimate = linearisation gap + solver gap",
    expected=Kind.HOLDS,
)
def pbrf_removes_gaps(trial: Trial) -> Evidence:
    """From the PBRF to the influence estimate only the last two of the five gaps are left, and they sum to it."""
    samples, remarks = [], []
    for name, found in _decompositions(trial).items():
        stages, gaps = np.asarray(found.stages("outputs")), np.asarray(found.gaps("outputs"))
        left = float(np.linalg.norm(stages[3] - stages[5] - gaps[3:].sum(axis=0)))
        size = float(np.linalg.norm(stages[3])) + float(np.linalg.norm(stages[5]))
        samples.append(Sample(left, UNIT * size, name))
        first, last = _shares(found)
        remarks.append(f"{name}: the first three gaps are {100.0 * first / (first + last):.1f} % of the sum.")
    return Evidence(
        written=worst(samples, "what is left of PBRF − estimate; bound: u·‖stages‖"), remarks=tuple(remarks)
    )


@claim(
    id="fig1-largest",
    section=SECTION,
    source="Figure 1, caption",
    statement="Warm-start, proximity and non-convergence gaps are the largest components.",
    as_written="gap₁ + gap₂ + gap₃ > gap₄ + gap₅",
    corrected=(
        "So it is in the early-stopped networks tried here, on the mean risk. In least squares at its optimum "
        "the first and the third vanish, the second does with the damping, and the linearisation error is everything."
    ),
    expected=Kind.CONDITIONAL,
)
def fig1_largest(trial: Trial) -> Evidence:
    """The share of the first three gaps: in early-stopped networks, and in least squares at its optimum."""
    condition, written, example = [], [], {}
    for name, found in _decompositions(trial).items():
        first, last = _shares(found)
        condition.append(Sample(last / (first + last), 0.5, name))
    x, y = np.array([[1.0], [1.0]]), np.array([2.0, 1.0])
    problem = linear_regression(Dataset(x, y), [0], reduction="mean")
    found = decompose(problem, equilibrium(problem).theta, damping=1e-6, solver=Cholesky(), theta0=np.zeros(1))
    first, last = _shares(found)
    written.append(Sample(last / (first + last), 0.5, "X = (1, 1)ᵀ, y = (2, 1) at θ̂"))
    example = {**TWO, "θ_s": 1.5, "damping": 1e-6, "gaps (outputs)": np.round(found.sizes()[:, 0], 8).tolist()}
    reason = "share of the last two gaps in the sum of all five; the first three are larger below one half"
    return Evidence(
        written=worst(written, reason, factor=1.0),
        condition=worst(condition, reason, factor=1.0),
        counterexample=example,
    )
