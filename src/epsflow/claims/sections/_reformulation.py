"""Claims of the section "Reformulation of influence functions", in the second convention (ε = 1: trained with)."""

import numpy as np

from ...analysis import influence, newton_step, response_jacobian, response_path
from ...flow import equilibrium
from ...problem import Problem
from .._claim import Evidence, Kind, Sample, claim, worst
from .._tools import DIFFERENCES, TWO, own_loss, relative, rounding, slope, two_points
from .._trial import Trial

SECTION = "Reformulation of influence functions"
DERIVATIVES = "relative; bound: error of the differences that are compared with"


@claim(
    id="implicit-derivative",
    section=SECTION,
    source="(0.2) to (0.6), Proposition 0.0.1, and the remark on θ̇(1)",
    statement="The derivative of the optimum with the weight of a point.",
    as_written="θ̇(ε) = −(∇²R_j + ε∇²ℓ_j)⁻¹ ∇ℓ_j at θ(ε);  I(j) = θ̇(0)",
    expected=Kind.HOLDS,
)
def implicit_derivative(trial: Trial) -> Evidence:
    """θ̇(0), θ̇(½) and θ̇(1) along the response path against differences of optima."""
    samples = []
    for name, problem, _ in [*trial.regressions(), *trial.logistic()]:
        path = response_path(problem, eps=np.array([1.0, 0.5, 0.0]))
        for eps, found in zip((1.0, 0.5, 0.0), path.theta_dot, strict=True):
            derivative, error = slope(problem, eps)
            samples.append(Sample(relative(found, derivative), error, f"{name}, ε = {eps:g}"))
    return Evidence(written=worst(samples, DIFFERENCES))


@claim(
    id="q-derivatives",
    section=SECTION,
    source="(0.7), (0.8), Corollary 0.0.1 (first)",
    statement="Derivatives of the least risk, and of the point's own loss, with its weight.",
    as_written="d/dε min R_ε = ℓ_j(θ*_{-j});  d/dε ℓ_j(θ(ε)) = −∇ℓ_jᵀ H_{R_j}⁻¹ ∇ℓ_j at ε = 0",
    expected=Kind.HOLDS,
)
def q_derivatives(trial: Trial) -> Evidence:
    """d/dε of the least risk and of the point's own loss at ε = 0, against both formulas."""
    samples, step = [], 1e-3
    for name, problem, _ in [*trial.regressions(), *trial.logistic()]:
        loss, c = own_loss(problem), problem.scale
        grid = (-step, -step / 2.0, 0.0, step / 2.0, step)
        thetas = [np.asarray(equilibrium(problem, eps=eps, tol=1e-13).theta) for eps in grid]
        risks = np.array([float(problem.value(theta, eps)) for theta, eps in zip(thetas, grid, strict=True)])
        losses = np.array([float(loss(theta)[0]) for theta in thetas])
        gradient = loss.jacobian(thetas[2])[0]
        formulas = c * losses[2], float(gradient @ influence(problem, at="removed").theta_dot)
        for values, formula, words in zip((risks, losses), formulas, ("(0.7)", "(0.8)"), strict=True):
            wide, narrow = (values[4] - values[0]) / (2.0 * step), (values[3] - values[1]) / step
            noise = 10.0 * np.abs(values).max() * (rounding(problem, np.asarray(thetas[2])) + 1e-13) / step
            error = float(abs(narrow - wide) + noise)
            samples.append(Sample(abs((4.0 * narrow - wide) / 3.0 - formula), error, f"{name}, {words}"))
    return Evidence(
        written=worst(samples, "absolute; bound: distance of the differences with steps h and h/2, plus rounding")
    )


@claim(
    id="newton-vs-if",
    section=SECTION,
    source="Definition 6 and what follows",
    statement=(
        "I(j) and the Newton estimation are close where the Hessian's least eigenvalue is large; a penalty helps."
    ),
    as_written="I_Nt(j) = −(HR_j(θ(1)))⁻¹∇R_j(θ(1)) ≈ I(j); the closer, the larger λ in λ‖θ‖",
    corrected=(
        "I_Nt ≈ −I(j): one predicts the removal, the other is a derivative with the weight. ‖I_Nt + I‖/‖I‖ decreases "
        "in λ (for ridge regression it is P_jj). The penalty has to be (λ/2)‖θ‖²: the Hessian of ‖θ‖ is singular."
    ),
    expected=Kind.CONDITIONAL,
)
def newton_vs_if(trial: Trial) -> Evidence:
    """I_Nt(j) against I(j) and against −I(j), for growing penalties."""
    written, corrected, gaps = [], [], {}
    for name, problem, _ in trial.regressions():
        relative_gaps = []
        for penalty in (0.0, 1.0, 10.0, 100.0):
            ridge = Problem(problem.model, problem.loss, problem.data, problem.delete, penalty, problem.reduction)
            derivative, newton = influence(ridge, at="removed").theta_dot, newton_step(ridge).change
            written.append(Sample(relative(newton, derivative), rounding(ridge), f"{name}, λ = {penalty:g}"))
            relative_gaps.append(relative(newton, -derivative))
        growth = max(0.0, *np.diff(relative_gaps))
        corrected.append(Sample(float(growth), rounding(problem), name))
        gaps[name] = relative_gaps
    example = {
        **TWO,
        "I(j) = θ̇(0)": float(np.ravel(influence(two_points(), at="removed").theta_dot)[0]),
        "I_Nt(j)": float(newton_step(two_points()).change[0]),
    }
    name, values = next(iter(gaps.items()))
    remark = f"{name}: ‖I_Nt + I‖/‖I‖ = {', '.join(f'{value:.2g}' for value in values)} for λ = 0, 1, 10, 100."
    reason = "largest increase of ‖I_Nt + I‖/‖I‖ as λ grows; bound: d·u·κ(H_0)"
    condition = worst(corrected, reason)
    written_as = worst(written, "‖I_Nt − I‖/‖I‖; bound: d·u·κ(H_0)")
    return Evidence(written=written_as, condition=condition, counterexample=example, remarks=(remark,))


@claim(
    id="jacobian-column",
    section=SECTION,
    source="Question after Definition 6",
    statement="Is there a link between θ̇^j and Jθ?",
    as_written="θ^j(ε) = θ(1, …, ε, …, 1);  θ̇^j ↔ Jθ",
    corrected="θ̇^j is column j of Jθ, −H_ε⁻¹∇ℓ_j; for equal weights the columns sum to θ̇.",
    expected=Kind.HOLDS,
)
def jacobian_column(trial: Trial) -> Evidence:
    """θ̇^j, from moving one of three weights alone, against column j of the Jacobian; and their sum against θ̇."""
    samples, step = [], 1e-3
    for name, problem, _ in trial.regressions():
        several = Problem(problem.model, problem.loss, problem.data, [0, 1, 2], 0.5, problem.reduction)
        found = response_jacobian(several).jacobian
        for column, axis in enumerate(np.eye(3)):
            ends = [np.asarray(equilibrium(several, eps=1.0 + k * step * axis).theta) for k in (-1.0, -0.5, 0.5, 1.0)]
            wide, narrow = (ends[3] - ends[0]) / (2.0 * step), (ends[2] - ends[1]) / step
            size = float(np.linalg.norm(narrow))
            noise = float(np.linalg.norm(ends[0])) * rounding(several) / step
            error = (float(np.linalg.norm(narrow - wide)) + noise) / size
            slope_alone = (4.0 * narrow - wide) / 3.0
            samples.append(Sample(relative(found[:, column], slope_alone), error, f"{name}, point {column}"))
        together = influence(several).theta_dot
        samples.append(Sample(relative(found.sum(axis=1), together), rounding(several), f"{name}: sum of the columns"))
    return Evidence(written=worst(samples, DERIVATIVES))
