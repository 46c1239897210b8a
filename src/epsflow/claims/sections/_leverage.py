"""Claims of the section "Influence functions vs leverage", least squares included."""

import numpy as np

from ...analysis import influence, leverage, pbrf, retrain, self_influence
from ...flow import equilibrium
from .._claim import Evidence, Kind, Sample, claim, worst
from .._tools import (
    DIFFERENCES,
    PARABOLA,
    SOLVES,
    TWO,
    UNIT,
    hessian,
    parabola,
    relative,
    rounding,
    slope,
    two_points,
)
from .._trial import Trial

SECTION = "Influence functions vs leverage"


@claim(
    id="projection",
    section=SECTION,
    source="setting of ordinary least squares, Definition 3",
    statement="P = X(XᵀX)⁻¹Xᵀ is the orthogonal projection onto ran X; its diagonal are the leverages.",
    as_written="P = X(XᵀX)⁻¹Xᵀ = P² = Pᵀ",
    expected=Kind.HOLDS,
)
def projection(trial: Trial) -> Evidence:
    """Leverages against the diagonal of an orthogonal projection onto ran X: between 0 and 1, with sum rank X."""
    samples = []
    for name, problem, _ in trial.regressions():
        found = leverage(problem).leverages
        frame = np.linalg.svd(problem.data.x, full_matrices=False)[0]
        bound = rounding(problem)
        samples.append(Sample(float(np.abs(found - np.sum(frame**2, axis=1)).max()), bound, name))
        samples.append(Sample(abs(float(found.sum()) - problem.dim), problem.dim * bound, f"{name}: tr P = d"))
    return Evidence(written=worst(samples, "absolute; bound: d·u·κ(H_0)"))


@claim(
    id="leverage-vs-Q",
    section=SECTION,
    source="after Definition 3",
    statement="With X = JF(θ) the influence loss difference is approximately the leverage.",
    as_written="Q(z_i; θ̂) ≈ P_ii",
    corrected="Q = ê_i² P_ii: the leverage times the squared residual.",
    expected=Kind.REFUTED,
)
def leverage_vs_q(trial: Trial) -> Evidence:
    """Self-influence against the leverage, and against ê²P."""
    written, corrected = [], []
    for name, problem, _ in trial.regressions():
        found, q = leverage(problem), self_influence(problem).values
        written.append(Sample(relative(q, found.leverages), rounding(problem), name))
        corrected.append(Sample(relative(q, found.residuals**2 * found.leverages), rounding(problem), name))
    example = {**TWO, "leverage P_00": 0.5, "Q = ê²P": float(self_influence(two_points(), points=0).values)}
    return Evidence(written=worst(written, SOLVES), corrected=worst(corrected, SOLVES), counterexample=example)


@claim(
    id="gauss-newton-footnote",
    section=SECTION,
    source="Footnote 1",
    statement="The term that the Gauss–Newton matrix omits vanishes for optimal parameters.",
    as_written="∇L(θ̂) = 0 ⇒ Σ_i (f_i − y_i)∇²f_i = 0",
    corrected=(
        "It vanishes where all residuals do, or where the model is linear in θ. An optimum says Σ (f_i − y_i)∇f_i = 0."
    ),
    expected=Kind.CONDITIONAL,
)
def gauss_newton_footnote(trial: Trial) -> Evidence:
    """The distance of Hessian and Gauss–Newton matrix at a stationary point, with residuals and without."""
    written, condition = [], []
    for i in range(trial.count(2, 20)):
        for scale, samples in ((0.3, written), (0.0, condition)):
            name, problem, theta = trial.network(scale=scale, number=i)
            at = theta
            ggn = np.stack([problem.ggn_product(at, row) for row in np.eye(problem.dim)])
            samples.append(Sample(relative(ggn, hessian(problem, 1.0, theta)), problem.dim * UNIT, name))
    problem, theta = parabola()
    ggn = float(problem.ggn_product(theta, np.ones(1))[0])
    example = {**PARABOLA, "JᵀJ": ggn, "Hessian": float(hessian(problem, 1.0, theta)[0, 0])}
    reason = "‖H − JᵀJ‖/‖H‖ at a stationary point; bound: d·u"
    return Evidence(written=worst(written, reason), condition=worst(condition, reason), counterexample=example)


@claim(
    id="leverage-loo",
    section=SECTION,
    source="formula with 1 − P_ii (cf. Hayashi)",
    statement="Removing a point moves the least-squares fit by (XᵀX)⁻¹xê/(1 − P_ii).",
    as_written="θ̂ − θ̂_{1/n,−z} = (XᵀX)⁻¹ x_i ê_i/(1 − P_ii)",
    expected=Kind.HOLDS,
)
def leverage_loo(trial: Trial) -> Evidence:
    """The formula against retraining, for the deleted point of each problem."""
    samples = []
    for name, problem, _ in trial.regressions(quick=3):
        found, j = leverage(problem), int(problem.delete[0])
        expected = np.asarray(found.theta) - np.asarray(retrain(problem).theta)
        bound = rounding(problem) * float(np.linalg.norm(found.theta))
        samples.append(Sample(float(np.linalg.norm(-found.change[j] - expected)), bound, name))
    return Evidence(written=worst(samples, "in units of θ; bound: d·u·κ(H_0)·‖θ̂‖"))


@claim(
    id="ols-if-sign",
    section=SECTION,
    source="Example: IFs for OLS, influence function",
    statement="The influence function of Definition 2 is (XᵀX)⁻¹x(y − xᵀθ̂) for least squares.",
    as_written="I(z_i; θ̂) = (XᵀX)⁻¹ x_i (y_i − x_iᵀθ̂)",
    corrected=(
        "That is θ̇(1) of the second convention. Definition 2 takes weight away and has the opposite sign, "
        "−n(XᵀX)⁻¹x(y − xᵀθ̂) at ε_A = 0."
    ),
    expected=Kind.REFUTED,
)
def ols_if_sign(trial: Trial) -> Evidence:
    """(XᵀX)⁻¹x ê against the derivative of Definition 2, and against θ̇(1) of the second convention."""
    written, corrected = [], []
    for name, problem, _ in trial.regressions():
        formula = influence(problem).theta_dot
        derivative, error = slope(problem, 1.0)
        # Definition 2 counts the weight that is taken away: n dε_A = −dε, here per unit of nε_A.
        written.append(Sample(relative(formula, -derivative), error, name))
        corrected.append(Sample(relative(formula, derivative), error, name))
    two = two_points()
    example = {
        **TWO,
        "(XᵀX)⁻¹x(y − xᵀθ̂), as written": float(np.ravel(influence(two).theta_dot)[0]),
        "dθ̂/d(nε_A) at 0": float(np.ravel(influence(two).change)[0]),
    }
    remark = "Beside its sign the formula lacks the factor n of H_L⁻¹ = n(XᵀX)⁻¹: it counts nε_A, not ε_A."
    return Evidence(
        written=worst(written, DIFFERENCES),
        corrected=worst(corrected, DIFFERENCES),
        counterexample=example,
        remarks=(remark,),
    )


@claim(
    id="ols-pbrf",
    section=SECTION,
    source="Example: IFs for OLS, PBRF",
    statement="The PBRF objective of least squares.",
    as_written="arg min ½[(1/n)Σ(x_iᵀ(θ − θ̂))² − (1/n)(y − xᵀθ)² + λ‖θ − θ̂‖²]",
    expected=Kind.HOLDS,
)
def ols_pbrf(trial: Trial) -> Evidence:
    """The minimiser of the objective against its closed form, and without damping against retraining."""
    samples = []
    for name, problem, _ in trial.regressions(reduction="mean"):
        theta, j = equilibrium(problem).theta, problem.delete[0]
        x, y, n = problem.data.x, problem.data.y, problem.data.n
        for damping in (0.1, 0.0):
            matrix = x.T @ x - np.outer(x[j], x[j]) + n * damping * np.eye(problem.dim)
            closed = np.asarray(theta) - np.linalg.solve(matrix, x[j] * (y[j] - x[j] @ np.asarray(theta)))
            found = pbrf(problem, theta, damping=damping).theta
            samples.append(Sample(relative(found, closed), rounding(problem), f"{name}, λ = {damping:g}"))
        samples.append(Sample(relative(found, retrain(problem).theta), rounding(problem), f"{name}: retraining"))
    remark = "The ½ in front of arg min belongs inside it."
    return Evidence(written=worst(samples, SOLVES), remarks=(remark,))
