"""Claims of the section "Influence functions". Its ε_A, the weight taken away from a point, is (1 − ε)/n."""

import numpy as np

from ...analysis import influence, newton_step, retrain, self_influence
from ...flow import equilibrium
from .._claim import Evidence, Kind, Sample, claim, worst
from .._tools import DIFFERENCES, SOLVES, TWO, hessian, own_loss, relative, rounding, slope, two_points
from .._trial import Trial

SECTION = "Influence functions"


@claim(
    id="if-closed-form",
    section=SECTION,
    source="Definition 2 and the closed forms after it",
    statement="The influence function, the derivative of the optimum at ε_A = 1/n, is H⁻¹∇ℓ at the trained optimum.",
    as_written="I(z; θ̂) = lim (θ̂_{ε+1/n} − θ̂_{1/n})/ε = H_θ̂⁻¹ ∇ℓ(f(θ̂; x), y)",
    corrected=(
        "H_θ̂⁻¹∇ℓ(θ̂) is the derivative at ε_A = 0. At ε_A = 1/n it is (H_L − ∇²ℓ/n)⁻¹∇ℓ, at the leave-out optimum."
    ),
    expected=Kind.REFUTED,
)
def if_closed_form(trial: Trial) -> Evidence:
    """The derivative of θ̂_{ε_A} at ε_A = 1/n, against H⁻¹∇ℓ at the trained and at the leave-out optimum."""
    written, corrected = [], []
    for name, problem, _ in [*trial.regressions(reduction="mean"), *trial.logistic(reduction="mean", l2=0.02)]:
        n = problem.data.n
        derivative, error = slope(problem, 0.0)
        written.append(Sample(relative(n * np.asarray(influence(problem).change), -n * derivative), error, name))
        at_removal = n * np.asarray(influence(problem, at="removed").change)
        corrected.append(Sample(relative(at_removal, -n * derivative), error, name))
    two = two_points("mean")
    example = {
        **TWO,
        "θ̂(ε_A)": "(3/2 − 2ε_A)/(1 − ε_A)",
        "H⁻¹∇ℓ at θ̂, as written": 2.0 * float(np.ravel(influence(two).change)[0]),
        "derivative at ε_A = 1/2": -2.0 * float(np.ravel(influence(two, at="removed").theta_dot)[0]),
    }
    remark = "For least squares the two differ by the factor (1 − P_jj)²; in the example P_jj = 1/2."
    return Evidence(
        written=worst(written, DIFFERENCES),
        corrected=worst(corrected, DIFFERENCES),
        counterexample=example,
        remarks=(remark,),
    )


@claim(
    id="loss-closed-form",
    section=SECTION,
    source="Definition 1 and the closed forms after it",
    statement="The influence loss difference, a derivative at ε_A = 1/n, is ∇ℓᵀH⁻¹∇ℓ at the trained optimum.",
    as_written="Q(z; θ̂) = d/dε ℓ(θ̂_ε) at ε = 1/n = ∇ℓᵀ H_θ̂⁻¹ ∇ℓ",
    corrected="It is the derivative at ε_A = 0. At ε_A = 1/n it is ∇ℓᵀ(H_L − ∇²ℓ/n)⁻¹∇ℓ, at the leave-out optimum.",
    expected=Kind.REFUTED,
)
def loss_closed_form(trial: Trial) -> Evidence:
    """The derivative of the point's own loss at ε_A = 1/n, against ∇ℓᵀH⁻¹∇ℓ at both optima."""
    written, corrected = [], []
    for name, problem, _ in trial.regressions(reduction="mean"):
        n, j = problem.data.n, int(problem.delete[0])
        derivative, error = slope(problem, 0.0)
        gradient = own_loss(problem).jacobian(retrain(problem).theta)[0]
        truth = -n * float(gradient @ derivative)
        formula = n * float(self_influence(problem, points=j).values)
        at_removal = n * float(gradient @ influence(problem, at="removed").change)
        written.append(Sample(relative(formula, truth), error, name))
        corrected.append(Sample(relative(at_removal, truth), error, name))
    example = {
        **TWO,
        "ℓ(ε_A) = ½(θ̂(ε_A) − 2)²": "1/8 · (1/(1 − ε_A))²",
        "∇ℓᵀH⁻¹∇ℓ at θ̂, as written": 2.0 * float(self_influence(two_points("mean"), points=0).values),
        "derivative at ε_A = 1/2": 2.0,
    }
    return Evidence(
        written=worst(written, DIFFERENCES), corrected=worst(corrected, DIFFERENCES), counterexample=example
    )


@claim(
    id="if-is-newton",
    section=SECTION,
    source="Remark after Definition 2",
    statement=(
        "The influence function estimator is the parameter after one Newton step from θ̂ towards the leave-out optimum."
    ),
    as_written="θ̂ + I/n = θ̂ − (HL_i(θ̂))⁻¹ JL_i(θ̂)",
    corrected=(
        "The Newton step has the Hessian without the point, the influence function the one with it. For least squares "
        "the Newton step is exact, and the influence function is (1 − P_jj) times it."
    ),
    expected=Kind.REFUTED,
)
def if_is_newton(trial: Trial) -> Evidence:
    """The influence function beside one Newton step on the leave-out risk, and beside retraining."""
    written, corrected = [], []
    for name, problem, _ in trial.regressions():
        step, change = (np.asarray(found(problem).change) for found in (newton_step, influence))
        retrained = np.asarray(retrain(problem).theta)
        row = np.sqrt(problem.scale) * problem.data.x[problem.delete[0]]
        kept = 1.0 - float(row @ np.linalg.solve(hessian(problem, 1.0), row))
        # θ(0) − θ(1) loses digits where the point hardly matters.
        bound = rounding(problem) * (1.0 + float(np.linalg.norm(retrained) / np.linalg.norm(step)))
        written.append(Sample(relative(change, step), bound, name))
        moved = retrained - np.asarray(equilibrium(problem).theta)
        corrected.append(Sample(relative(step, moved), bound, f"{name}: Newton = retraining"))
        corrected.append(Sample(relative(change, kept * step), bound, f"{name}: influence = (1 − P_jj)·Newton"))
    two = two_points()
    example = {
        **TWO,
        "influence": float(np.ravel(influence(two).change)[0]),
        "Newton step": float(newton_step(two).change[0]),
        "retraining": -0.5,
    }
    return Evidence(written=worst(written, SOLVES), corrected=worst(corrected, SOLVES), counterexample=example)
