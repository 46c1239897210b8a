"""Claims of the section "Epsilon dynamic", up to the cost of 1_[0,s] and the question of a closed form."""

import numpy as np
from scipy.linalg import expm

from ...flow import equilibrium, gradient_flow
from ...problem import Dataset, Problem, linear_regression
from ...schedules import AbstractSchedule, BangBang, Constant, LinearDecay, Step
from .._claim import Evidence, Kind, Sample, claim, worst
from .._tools import INTEGRATED, TWO, UNIT, System, integrate, relative, rounding, system_of, two_points
from .._trial import Trial

SECTION = "Epsilon dynamic"
EXPONENTIALS = "relative; bound: the flow's rounding d·u·(1 + λ_max t), and d·u·κ(H_0) of the solves"


def end(problem: Problem, schedule: AbstractSchedule, start: np.ndarray, T: float) -> tuple[np.ndarray, float]:
    """θ(T), to rounding, and the bound on its relative error."""
    path = gradient_flow(problem, schedule, start, ts=np.array([T]))
    theta = np.asarray(path.end)
    return theta, float(path.error) * np.sqrt(problem.dim) / float(np.linalg.norm(theta))


@claim(
    id="lrgf-closed-form",
    section=SECTION,
    source="(0.10)",
    statement="The flow of linear regression where H is invertible.",
    as_written="θ(t, 1) = e^{−Ht}θ0 + (I − e^{−Ht})H⁻¹Xᵀy",
    expected=Kind.HOLDS,
)
def lrgf_closed_form(trial: Trial) -> Evidence:
    """(0.10), with SciPy's matrix exponential, against the flow."""
    samples = []
    for name, problem, start in trial.regressions():
        h, b = system_of(problem).weighted(1.0)
        for t in (0.1, 1.0):
            decay = expm(-t * h)
            formula = decay @ start + (np.eye(problem.dim) - decay) @ np.linalg.solve(h, b)
            found, error = end(problem, Constant(1.0), start, t)
            samples.append(Sample(relative(formula, found), error + rounding(problem), f"{name}, t = {t:g}"))
    return Evidence(written=worst(samples, EXPONENTIALS))


@claim(
    id="lemma-0.0.1",
    section=SECTION,
    source="Lemma 0.0.1",
    statement="(LRGF) has a unique asymptotically stable equilibrium, given by a formula that contains θ0.",
    as_written="θ* = (XᵀX)†Xᵀy + (I − Xᵀ(XXᵀ)†X)θ0, unique and asymptotically stable",
    corrected=(
        "The formula gives the limit in all cases. Uniqueness and asymptotic stability need full column rank; "
        "otherwise the equilibria are an affine space, each stable and none asymptotically, and θ0 picks one."
    ),
    expected=Kind.CONDITIONAL,
)
def lemma_0_0_1(trial: Trial) -> Evidence:
    """The limit formula, full rank and not; and limits from two starts, which one stable equilibrium would share."""
    condition, corrected, written = [], [], []
    for name, problem, start in [*trial.regressions(), *trial.deficient()]:
        x = problem.data.x
        y, root = problem.data.y, np.sqrt(problem.scale)
        gram = np.linalg.pinv(x @ x.T, hermitian=True, rcond=1e-10)
        projection = np.eye(problem.dim) - x.T @ gram @ x
        formula = np.linalg.pinv(root * x, rcond=1e-10) @ (root * y) + projection @ start
        values = np.linalg.eigvalsh(system_of(problem).weighted(1.0)[0])
        full = bool(values[0] > 1e-10 * values[-1])
        least = float(values[values > 1e-10 * values[-1]][0])
        bound = problem.dim * UNIT * (values[-1] / least) * 40.0 + float(np.exp(-40.0))
        found = end(problem, Constant(1.0), start, 40.0 / least)[0]
        corrected.append(Sample(relative(found, formula), bound, name))
        other = end(problem, Constant(1.0), start + 1.0, 40.0 / least)[0]
        (condition if full else written).append(Sample(relative(other, found), bound, f"{name}: two starts"))
    example = {
        "X": [[1, 0]],
        "y": [1],
        "equilibria": "{(1, a)}: every a",
        "limit from (0, 0)": [1, 0],
        "limit from (0, 5)": [1, 5],
    }
    remark = "The limit formula itself holds in all cases, of full rank or not."
    return Evidence(
        written=worst(written, EXPONENTIALS),
        corrected=worst(corrected, EXPONENTIALS),
        condition=worst(condition, EXPONENTIALS),
        counterexample=example,
        remarks=(remark,),
    )


@claim(
    id="eps-scaling",
    section=SECTION,
    source="(0.11)",
    statement="A weight ε is the same as row and target of the point times ε.",
    as_written="X_ε^j = (x_1, …, εx_j, …)ᵀ, y_ε^j = (y_1, …, εy_j, …), H_ε^j = (X_ε^j)ᵀX_ε^j",
    corrected="The factor is √ε; the factor ε gives the weight ε².",
    expected=Kind.REFUTED,
)
def eps_scaling(trial: Trial) -> Evidence:
    """The flow with weight ε against the one whose row and target are scaled by ε, and by √ε."""
    written, corrected, eps = [], [], 0.5
    for name, problem, start in trial.regressions():
        found, error = end(problem, Constant(eps), start, 1.0)
        for factor, samples in ((eps, written), (np.sqrt(eps), corrected)):
            scaled = end(_scale_point(problem, factor), Constant(1.0), start, 1.0)[0]
            samples.append(Sample(relative(scaled, found), error + rounding(problem), name))
    two = two_points()
    example = {
        **TWO,
        "ε": eps,
        "limit with row and target times ε, as written": float(equilibrium(_scale_point(two, eps)).theta[0]),
        "limit with weight ε": float(equilibrium(two, eps=eps).theta[0]),
    }
    return Evidence(
        written=worst(written, EXPONENTIALS), corrected=worst(corrected, EXPONENTIALS), counterexample=example
    )


def _scale_point(problem: Problem, factor: float) -> Problem:
    x, y, j = problem.data.x.copy(), problem.data.y.copy(), problem.delete[0]
    x[j], y[j] = factor * x[j], factor * y[j]
    return linear_regression(Dataset(x, y), problem.delete, l2=problem.l2, reduction=problem.reduction)


@claim(
    id="step-cost",
    section=SECTION,
    source="after (0.12)",
    statement="The cost of dropping the point at s.",
    as_written="𝓔(1_[0,s]) = ½‖e^{−H_{-j}(T−s)}(e^{−Hs}θ0 + (I − e^{−Hs})θ* − θ*_{-j})‖²",
    expected=Kind.HOLDS,
)
def step_cost(trial: Trial) -> Evidence:
    """The formula for 𝓔(1_[0,s]) against the flow, with full rank and without."""
    samples, s, T = [], 0.3, 1.1
    for name, problem, start in [*trial.regressions(), *trial.deficient()]:
        system = system_of(problem)
        h, trained = system.weighted(1.0)[0], system.optimum(1.0)
        early = expm(-s * h)
        at_s = early @ start + (np.eye(problem.dim) - early) @ trained - system.target
        formula = expm(-(T - s) * system.h) @ at_s
        found, error = end(problem, Step(s), start, T)
        miss = found - system.target
        size = float(np.linalg.norm(found)) / float(np.linalg.norm(miss))
        positive = np.linalg.eigvalsh(h)
        solve = problem.dim * UNIT * positive[-1] / positive[positive > 1e-10 * positive[-1]][0]
        samples.append(Sample(relative(0.5 * formula @ formula, 0.5 * miss @ miss), 2.0 * size * (error + solve), name))
    remark = "It holds for every choice of θ* and θ*_{-j} among several minimisers: neither matrix need be invertible."
    return Evidence(written=worst(samples, EXPONENTIALS), remarks=(remark,))


@claim(
    id="no-closed-form",
    section=SECTION,
    source="(0.13) and footnote 3",
    statement="With ε(t) there is no closed form any more; variation of constants requires ε ∈ C¹.",
    as_written="θ̇ = −Σ_{i≠j} x_i(x_iᵀθ − y_i) − ε(t)x_j(x_jᵀθ − y_j): ε ∈ C¹ required, no closed form",
    corrected=(
        "Any measurable bounded ε has a solution (Carathéodory). Closed forms exist for piecewise-constant ε, where "
        "x_j is an eigenvector of H_{-j} (X = I), and in one dimension (by quadrature)."
    ),
    expected=Kind.REFUTED,
)
def no_closed_form(trial: Trial) -> Evidence:
    """Exact solutions for an ε that jumps, and for a linear decay with X = I, against SciPy's integrator."""
    samples, T, switches = [], 1.0, np.array([0.2, 0.45, 0.7])
    for name, problem, start in trial.regressions():
        system = system_of(problem)

        def velocity(t: float, theta: np.ndarray, system: System = system) -> np.ndarray:
            eps = float(np.searchsorted([0.1, *switches], t) % 2 == 0)  # 1, 0, 1, 0, 1 between the jumps
            h, b = system.weighted(eps)
            return b - h @ theta

        found, error = end(problem, BangBang(0.1, switches, T, first="low"), start, T)
        reference = integrate(velocity, start, [0.0, 0.1, *switches, T])
        samples.append(Sample(relative(found, reference), error + INTEGRATED, f"{name}: ε jumps four times"))
    y, start = np.arange(1.0, 11.0), np.linspace(-1.0, 1.0, 10)
    identity = linear_regression(Dataset(np.eye(10), y), [9])
    for t1 in (0.4, 0.9):
        found, error = end(identity, LinearDecay(0.1, t1), start, T)
        # ∫ε = s + (t₁ − s)/2; the coordinates do not mix.
        closed = y + (start - y) * np.exp(-np.append(np.full(9, T), 0.1 + 0.5 * (t1 - 0.1)))
        samples.append(Sample(relative(found, closed), error + 10 * UNIT, f"X = I, linear decay to t₁ = {t1:g}"))
    two = two_points()
    path = end(two, BangBang(0.0, np.array([0.25]), 0.5, first="low"), np.zeros(1), 0.5)[0]
    example = {
        **TWO,
        "ε": "0 on (0, ¼], 1 on (¼, ½], 0 after: no C¹ function",
        "θ(½) in closed form": "3/2·(1 − e^{−1/2}) + e^{−1/2}(1 − e^{−1/4})",
        "its value": float(1.5 * -np.expm1(-0.5) - np.exp(-0.5) * np.expm1(-0.25)),
        "θ(½) of the flow": float(path[0]),
    }
    remark = "What is left of the statement: for a general ε(t) and x_j that is no eigenvector none is known."
    corrected = worst(samples, "relative; bound: 1e-10 of SciPy's integrator, or rounding")
    return Evidence(written=None, corrected=corrected, counterexample=example, remarks=(remark,))
