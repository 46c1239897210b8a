"""Claims of the paragraph "Step functions": when should 1_[0,τ] drop the point?"""

import numpy as np

from ...control import best_in_family, certify, extremal
from ...flow import rewind_surface
from ...problem import Dataset, Problem, linear_regression
from ...schedules import BangBang, LinearDecay, Step
from .._claim import Evidence, Kind, Sample, claim, worst
from .._tools import UNIT, relative, rounding, system_of
from .._trial import Trial, diabetes
from ._epsilon_dynamic import end

SECTION = "Epsilon dynamic: step functions"


def identity(y: np.ndarray) -> tuple[Problem, np.ndarray]:
    """X = I, the last point deleted, and the notes' θ*_{-j}: y with a zero in place of its last entry.

    A row of zeros is added where that point is the only one; it changes no gradient.
    """
    x, target = np.eye(len(y)), np.append(y[:-1], 0.0)
    rows, values = (np.vstack([x, np.zeros((1, 1))]), np.append(y, 0.0)) if len(y) == 1 else (x, y)
    return linear_regression(Dataset(rows, values), [len(y) - 1]), target


def step_costs(problem: Problem, start: np.ndarray, taus: np.ndarray, T: float, target: np.ndarray) -> np.ndarray:
    """𝓔(1_[0,τ]) for many τ at once."""
    thetas = np.asarray(rewind_surface(problem, s=taus, T=T, theta0=start).thetas)[:, 0]
    return 0.5 * np.sum((thetas - target) ** 2, axis=1)


def bracket(q: float, y: np.ndarray, start: np.ndarray, target: np.ndarray) -> tuple[float, float]:
    """The two sides of the lemma's equation at e^{−τ} = q: ‖v‖² and −⟨θ0 − θ*, v⟩."""
    v = q * start + (1.0 - q) * y - target
    return float(v @ v), -float((start - y) @ v)


@claim(
    id="lemma-0.0.2",
    section=SECTION,
    source="Lemma 0.0.2",
    statement="The best switch is s, or solves an equation.",
    as_written="τ = s, or ‖v‖² = −⟨θ0 − θ*, v⟩ with v = e^{−τ}θ0 + (1 − e^{−τ})θ* − θ*_{-j}",
    corrected=(
        "d𝓔/dτ = −(p(τ)ᵀx_j)(x_jᵀθ(τ) − y_j) with ṗ = H_u p, p(T) = θ(T) − θ*_{-j}: the best switch is s or T, or a "
        "zero of it. For X = I: e^{−τ}θ0_j + (1 − e^{−τ})θ*_j = (θ*_{-j})_j, in the j-th coordinate only."
    ),
    expected=Kind.REFUTED,
)
def lemma_0_0_2(trial: Trial) -> Evidence:
    """The lemma's equation at the best switch for X = I; d𝓔/dτ = −(pᵀx)(xᵀθ − y) against differences everywhere."""
    written, corrected, rng, T = [], [], trial.rng(), 2.0
    for i in range(trial.count(4, 60)):
        y, start = rng.standard_normal(10), rng.standard_normal(10)
        y[9], start[9] = abs(y[9]), -abs(start[9])  # so that the best switch lies inside
        if y[9] / (y[9] - start[9]) < np.exp(-0.9 * T):
            y[9] = 1.0 - start[9]
        problem, target = identity(y)
        tau = best_in_family(problem, Step, start, s=0.0, T=T, target=target).parameters["τ"]
        left, right = bracket(np.exp(-tau), y, start, target)
        # The scan finds τ to 1e-7 of its range.
        written.append(Sample(abs(left - right) / (left + abs(right)), 1e-6, f"X = I, number {i}: τ = {tau:.4f}"))
        closed = y[9] / (y[9] - start[9])
        corrected.append(Sample(abs(np.exp(-tau) - closed), 1e-7 * T, f"X = I, number {i}: e^−τ in closed form"))
    for name, problem, start in trial.regressions():
        length, h = 1.0, 1e-3
        tau, goal = 0.4 * length, system_of(problem).target
        steps = tau + h * length * np.array([-1.0, -0.5, 0.5, 1.0])
        costs = step_costs(problem, start, steps, length, goal)
        wide, narrow = (costs[3] - costs[0]) / (2.0 * h * length), (costs[2] - costs[1]) / (h * length)
        window = {"s": 0.1 * tau, "T": length, "bounds": (0.0, 1.0), "target": goal}
        found = float(extremal(problem, Step(tau), start, **window).switching(tau))
        error = abs(narrow - wide) + 8.0 * rounding(problem) * costs.max() / (h * length)
        corrected.append(Sample(abs(found - (4.0 * narrow - wide) / 3.0), float(error), f"{name}: −(pᵀx)(xᵀθ − y)"))
    example = _lemma_example()
    reason = "|left − right| of the lemma's equation in units of both; bound: the scan's resolution of τ"
    other = "absolute; bounds: the scan's resolution, and the distance of differences with steps h and h/2"
    return Evidence(written=worst(written, reason), corrected=worst(corrected, other), counterexample=example)


def _lemma_example() -> dict[str, object]:
    y, start, T = np.array([1.0, 1.0]), np.array([0.0, -1.0]), 2.0
    problem, target = identity(y)
    best = best_in_family(problem, Step, start, s=0.0, T=T, target=target)
    q = (np.sqrt(21.0) - 1.0) / 10.0
    left, right = bracket(0.5, y, start, target)
    return {
        "X": [[1, 0], [0, 1]],
        "y": [1, 1],
        "deleted": 1,
        "θ0": [0, -1],
        "θ*_{-j}": [1, 0],
        "s, T": [0, 2],
        "best τ": best.parameters["τ"],
        "ln 2": float(np.log(2.0)),
        "sides of the equation there": [left, right],
        "its own solution τ, from 5q² + q − 1 = 0": float(-np.log(q)),
        "𝓔 at the best τ": best.cost,
        "𝓔 at the equation's τ": float(step_costs(problem, start, np.array([-np.log(q)]), T, target)[0]),
    }


@claim(
    id="trained-start",
    section=SECTION,
    source="proof of Lemma 0.0.2, θ0 = θ*",
    statement="If θ0 = θ* there is no solution, and the minimum is achieved with 1_[0,s].",
    as_written="θ0 = θ* ⇒ arg min 𝓔 = 1_[0,s]",
    corrected="Among all schedules in E_s, not only steps; for ε ≥ 0 and s such that θ(s) = θ*.",
    expected=Kind.HOLDS,
)
def trained_start(trial: Trial) -> Evidence:
    """1_[0,s] from the fully trained point: gap to a certified lower bound over all schedules."""
    samples, rng = [], trial.rng()
    cases = [(name, problem) for name, problem, _ in trial.regressions(quick=2, data=False)]
    data = linear_regression(diabetes(), [int(rng.integers(442))], reduction="mean")
    for name, problem in [*cases, ("diabetes", data)]:
        trained = system_of(problem).optimum(1.0)
        T = 1.0
        found = certify(problem, Step(0.1 * T), trained, s=0.1 * T, T=T)
        # The dual bound meets the cost at an optimum; what separates them is its rounding and the cost's.
        noise = 1e-9 + found.cost_error / found.cost
        samples.append(Sample(found.gap / found.cost, noise, f"{name}: {found.scope.value}"))
    remark = "A proof is in the theory page on control: xᵀp and x_jᵀθ − y_j keep opposite signs throughout."
    return Evidence(
        written=worst(samples, "gap to the dual bound in units of the cost; bound: 1e-9"), remarks=(remark,)
    )


@claim(
    id="example-identity",
    section=SECTION,
    source="Example X = I, y = 1",
    statement="Stationary switches solve e^{−τ} = 2/d − 1, which has no solution for d > 1; so τ = s is best.",
    as_written="𝓔'(τ) = 0 ⇔ de^{−2τ} − 2e^{−τ} = −de^{−τ} ⇔ e^{−τ} = 2/d − 1",
    corrected=(
        "𝓔(τ) = ½[(d − 1)e^{−2T} + (1 − e^{−τ})²] and 𝓔' = (1 − e^{−τ})e^{−τ} > 0 for τ > 0: τ = s is best for every d."
    ),
    expected=Kind.REFUTED,
)
def example_identity(trial: Trial) -> Evidence:
    """X = I, y = 1, θ0 = 0: the sign of the lemma's bracket against d𝓔/dτ, the closed form, and the conclusion."""
    written, corrected, T = [], [], 2.0
    taus = np.array([0.1, np.log(2.0), 1.0, 1.5])
    for d in (1, 2, 3, 5, 10) if trial.thorough else (1, 2, 10):
        y, start = np.ones(d), np.zeros(d)
        problem, target = identity(y)
        costs = step_costs(problem, start, taus, T, target)
        closed = 0.5 * ((d - 1) * np.exp(-2.0 * T) + np.expm1(-taus) ** 2)
        corrected.append(Sample(relative(costs, closed), 10 * d * UNIT, f"d = {d}: cost in closed form"))
        best = best_in_family(problem, Step, start, s=0.5, T=T, target=target)
        corrected.append(Sample(abs(best.parameters["τ"] - 0.5), 1e-12, f"d = {d}: best τ = s"))
        for tau in taus:
            left, right = bracket(np.exp(-tau), y, start, target)
            slope = -np.expm1(-tau) * np.exp(-tau)
            # The lemma says that 𝓔' has the sign of left − right; it rises, so a negative bracket is a miss.
            written.append(Sample(max(0.0, right - left) / slope, 10 * d * UNIT, f"d = {d}, τ = {tau:.3f}"))
    example = {
        "X": [[1]],
        "y": [1],
        "θ0": [0],
        "τ": "ln 2",
        "‖v‖² + ⟨θ0 − θ*, v⟩, as written the sign of 𝓔'": -0.25,
        "𝓔' = (1 − e^{−τ})e^{−τ}": 0.25,
    }
    remark = "The example's conclusion, that τ = s is best, holds for every d: it is d𝓔/dτ > 0 that shows it."
    reason = "how far the bracket is negative where 𝓔 rises, in units of 𝓔'"
    return Evidence(
        written=worst(written, reason),
        corrected=worst(corrected, "relative cost, and best τ − s; bound: rounding"),
        counterexample=example,
        remarks=(remark,),
    )


@claim(
    id="theta0-or-y",
    section=SECTION,
    source="before the Corollary on the switch time",
    statement="It is equivalent to study the problem fixing θ0 or y.",
    as_written="(θ0, y) ~ (0, y − Xθ0)",
    corrected=(
        "Fixing θ0 = 0 loses nothing. Fixing y does: θ0 moves y along ran X only, and never the residuals of the fit."
    ),
    expected=Kind.CONDITIONAL,
)
def theta0_or_y(trial: Trial) -> Evidence:
    """Costs for (θ0, y) and for (0, y − Xθ0); and what no θ0 can change."""
    condition = []
    schedules = Step(0.3), LinearDecay(0.1, 0.8), BangBang(0.1, np.array([0.3, 0.6]), 1.0, first="low")
    for name, problem, start in trial.regressions():
        moved = Dataset(problem.data.x, problem.data.y - problem.data.x @ start)
        shifted = linear_regression(moved, problem.delete, reduction=problem.reduction)
        for schedule in schedules:
            there, error = end(problem, schedule, start, 1.0)
            here = end(shifted, schedule, np.zeros(problem.dim), 1.0)[0]
            gap = relative(here - system_of(shifted).target, there - system_of(problem).target)
            size = float(np.linalg.norm(there) / np.linalg.norm(there - system_of(problem).target))
            bound = size * (error + rounding(problem))
            condition.append(Sample(gap, bound, f"{name}, {type(schedule).__name__}"))
    x, first, second = np.ones((2, 1)), np.array([2.0, 1.0]), np.array([1.0, 1.0])
    shift = np.linalg.lstsq(x, first - second, rcond=None)[0]
    left = float(np.linalg.norm(first - x @ shift - second))
    written = worst([Sample(left, UNIT, "X = (1, 1)ᵀ")], "distance of y = (2, 1) from every y' − Xθ0 with y' = (1, 1)")
    example = {
        "X": [[1], [1]],
        "y": [2, 1],
        "y'": [1, 1],
        "least ‖y − Xθ0 − y'‖ over θ0": left,
        "θ(0) − θ(1) with y": -0.5,
        "with y', from every start": 0,
    }
    reason = "relative difference of θ(T) − θ*_{-j}; bound: rounding of both flows"
    return Evidence(written=written, condition=worst(condition, reason), counterexample=example)


@claim(
    id="corollary-switch",
    section=SECTION,
    source="Corollary on the switch time",
    statement="With θ0 = 0 and X = I the best switch is later than s for some y.",
    as_written="τ* > s ⇔ 1 < ‖y‖² < 2/(1 + e^{−τ})",
    corrected="𝓔(τ) = ½[‖y_{-j}‖²e^{−2T} + y_j²(1 − e^{−τ})²] rises with τ: τ* = s for every y.",
    expected=Kind.REFUTED,
)
def corollary_switch(trial: Trial) -> Evidence:
    """The best switch for θ0 = 0, X = I and random y, inside the corollary's range of ‖y‖² and outside it."""
    written, corrected, rng, T = [], [], trial.rng(), 2.0
    for i in range(trial.count(8, 200)):
        y = rng.standard_normal(10)
        square = 1.5 if i % 2 else float(rng.uniform(0.1, 4.0))
        y *= np.sqrt(square) / np.linalg.norm(y)
        problem, target = identity(y)
        tau = best_in_family(problem, Step, np.zeros(10), s=0.1, T=T, target=target).parameters["τ"]
        corrected.append(Sample(tau - 0.1, 1e-7 * T, f"‖y‖² = {square:.3f}, number {i}"))
        if 1.0 < square < 2.0:
            predicted = -np.log(2.0 / square - 1.0)
            written.append(Sample(abs(tau - max(predicted, 0.1)) / T, 1e-7, f"‖y‖² = {square:.3f}, number {i}"))
    example = {
        "X": [[1, 0], [0, 1]],
        "y": [1, 0.5],
        "deleted": 1,
        "θ0": [0, 0],
        "‖y‖²": 1.25,
        "τ as written, −ln(2/‖y‖² − 1)": float(-np.log(0.6)),
        "𝓔(τ)": "½e^{−2T} + ⅛(1 − e^{−τ})²: rises, best τ = s",
    }
    remark = (
        "At the corollary's own τ the upper bound 2/(1 + e^{−τ}) equals ‖y‖², so that its condition is met by no y. "
        "Its proof takes y − ê_j for θ*_{-j}, which is y − y_jê_j."
    )
    reason = "|τ* − τ as written|/T; bound: the scan's resolution"
    return Evidence(
        written=worst(written, reason),
        corrected=worst(corrected, "best τ − s; bound: the scan's resolution"),
        counterexample=example,
        remarks=(remark,),
    )
