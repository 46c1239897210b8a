"""Claims of the section "Gradient Descent case": the flow, its homotopy, the response path, and rewinding."""

from typing import Any

import numpy as np

from ...analysis import ResponsePath, response_path, retrain
from ...flow import equilibrium, gradient_flow, homotopy
from ...problem import Dataset, Problem, Quadratic, linear_regression
from ...schedules import Constant, Step
from .._claim import Evidence, Kind, Sample, claim, worst
from .._tools import UNIT, hessian, relative, rounding
from .._trial import Trial

SECTION = "Gradient Descent case"


@claim(
    id="flow-regularity",
    section=SECTION,
    source="after (GF)",
    statement="The flow is C² in t and Lipschitz in ε.",
    as_written="ℓ ∈ C² ⇒ ξ ∈ C²_t × C⁰_ε, Lipschitz in ε",
    corrected="More is true: ∇R_ε(θ) is C¹ in θ and linear in ε, so the flow is C¹ in ε.",
    expected=Kind.HOLDS,
)
def flow_regularity(trial: Trial) -> Evidence:
    """Difference quotients of the flow in ε and in t: they converge linearly in the step, so a derivative exists."""
    samples, step = [], 0.005
    grid = 0.5 + step * np.array([0.0, 1.0, 2.0, 4.0])
    for name, problem, start in [*trial.regressions(), *trial.logistic(quick=1)]:
        rate = float(np.linalg.eigvalsh(hessian(problem, 1.0, start))[-1])
        ts = np.array([0.0, 0.5, 0.5 + 0.5 * step, 0.5 + step, 2.0]) / rate
        surface = homotopy(problem, eps=grid, ts=ts, theta0=start, **tight(problem))
        thetas, error = np.asarray(surface.thetas), float(surface.error)
        first, second, third = ((thetas[k] - thetas[0]) / (grid[k] - grid[0]) for k in (1, 2, 3))
        near, far = float(np.abs(second - first).max()), float(np.abs(third - second).max())
        # If θ is C² in ε, the quotients differ in proportion to the step; at a kink they would differ by as much.
        samples.append(Sample(abs(far / near - 2.0), 20.0 * step + 8.0 * error / step / near, f"{name}: in ε"))
        h, (before, middle, after) = ts[2] - ts[1], thetas[0, 1:4]
        velocity = -problem.gradient(middle, 0.5)
        acceleration = -problem.hvp(middle, velocity, 0.5)
        size = float(np.linalg.norm(acceleration))
        difference = (after - 2.0 * middle + before) / h**2
        samples.append(
            Sample(relative(difference, acceleration), 2.0 * step + 4.0 * error / h**2 / size, f"{name}: in t")
        )
    reason = (
        "difference quotients in ε that shrink with the step; relative error of second differences in t. Bounds: O(h)"
    )
    return Evidence(written=worst(samples, reason, factor=1.0))


def tight(problem: Problem) -> dict[str, Any]:
    """Tolerances for flows that are differentiated afterwards, where they are integrated numerically."""
    return {} if isinstance(problem.risk, Quadratic) else {"rtol": 1e-12, "atol": 1e-13}


@claim(
    id="flow-limit",
    section=SECTION,
    source="definition of the homotopy, Figure 2",
    statement="The learning trajectories end at the minimiser.",
    as_written="θ(+∞, ε) = θ(ε)",
    corrected="Where R_ε has one minimiser. In rank-deficient least squares the limit is H_ε†b_ε + (I − H_ε†H_ε)θ0.",
    expected=Kind.CONDITIONAL,
)
def flow_limit(trial: Trial) -> Evidence:
    """θ(t, ε) for long times against the minimiser θ(ε), and for rank-deficient problems from two starts."""
    condition, corrected, written, example = [], [], [], {}
    for name, problem, start in trial.regressions():
        for eps in (1.0, 0.3, 0.0):
            least = float(np.linalg.eigvalsh(hessian(problem, eps))[0])
            end = gradient_flow(problem, Constant(eps), start, ts=np.array([40.0 / least]))
            goal = equilibrium(problem, eps=eps).theta
            # e^{−40} of the way is left, and the rounding of a long exact flow.
            bound = np.exp(-40.0) * relative(start, goal) + float(end.error) / float(np.linalg.norm(goal))
            condition.append(Sample(relative(end.end, goal), bound + rounding(problem), f"{name}, ε = {eps:g}"))
    for name, problem, start in trial.deficient():
        values = np.linalg.eigvalsh(hessian(problem, 0.3))
        least = float(values[values > 1e-10 * values[-1]][0])
        ends = [
            gradient_flow(problem, Constant(0.3), theta, ts=np.array([40.0 / least])).end
            for theta in (start, start + 1.0)
        ]
        if values[0] <= 1e-10 * values[-1]:
            written.append(Sample(relative(ends[1], ends[0]), 10 * UNIT * values[-1] / least, f"{name}: two starts"))
        goal = equilibrium(problem, eps=0.3, theta0=start).theta
        lost = 10 * UNIT * 40.0 * values[-1] / least
        corrected.append(Sample(relative(ends[0], goal), lost, name))
    single = linear_regression(Dataset(np.eye(2), np.ones(2)), [1])
    example = {
        "X": [[1, 0], [0, 1]],
        "y": [1, 1],
        "deleted": 1,
        "ε": 0,
        "θ(∞) from θ0 = (0, 0)": np.asarray(equilibrium(single, eps=0.0, theta0=np.zeros(2)).theta).tolist(),
        "θ(∞) from θ0 = (0, 5)": np.asarray(equilibrium(single, eps=0.0, theta0=np.array([0.0, 5.0])).theta).tolist(),
    }
    reason = "relative; bound: e^{−40} of the way, and the flow's rounding d·u·λ_max·t"
    return Evidence(
        written=worst(written, reason),
        corrected=worst(corrected, reason),
        condition=worst(condition, reason),
        counterexample=example,
    )


@claim(
    id="second-derivative-bound",
    section=SECTION,
    source="Question on θ̇(1) and θ̇(0)",
    statement="The change of the slope is bounded by the second derivative.",
    as_written="‖θ̇(1) − θ̇(0)‖ ≤ ‖θ̈‖_∞,[0,1]",
    corrected=(
        "θ̈ = −H_ε⁻¹(D³R_ε[θ̇, θ̇] + 2∇²ℓ_j θ̇), by automatic differentiation: no third derivative is ever written down."
    ),
    expected=Kind.HOLDS,
)
def second_derivative_bound(trial: Trial) -> Evidence:
    """‖θ̇(1) − θ̇(0)‖ against max‖θ̈‖ over ε, by automatic differentiation along the path."""
    samples, ratios = [], []
    for name, problem, _ in [*trial.regressions(), *trial.logistic()]:
        path = response_path(problem)
        change, bound = float(path.slope_change), float(path.bound)
        samples.append(Sample(change, bound * (1.0 + 1e-6), name))
        ratios.append(change / bound)
    remark = f"The bound was missed by a factor of {1.0 / max(ratios):.3g} to {1.0 / min(ratios):.3g}."
    return Evidence(written=worst(samples, "‖θ̇(1) − θ̇(0)‖ against max‖θ̈‖ over 21 nodes", factor=1.0), remarks=(remark,))


def bending(path: ResponsePath, parameters: slice = slice(None)) -> float:
    """The largest distance of θ(ε) from its chord, in units of the chord: 0 for a straight path."""
    thetas = np.asarray(path.thetas)[:, parameters]
    chord = thetas[-1] - thetas[0]
    along = (thetas - thetas[0]) @ chord / (chord @ chord)
    away = thetas - thetas[0] - along[:, None] * chord
    return float(np.linalg.norm(away, axis=1).max() / np.linalg.norm(chord))


@claim(
    id="fig3-linearity",
    section=SECTION,
    source="Figure 3 and the remark on it",
    statement="The distance of a point from the target function does not affect how straight its path θ(ε) is.",
    as_written="bending of {θ(ε)} independent of |y_j − f_*(x_j)|",
    corrected=(
        "At a fixed x_j the path becomes straight as the point nears the curve: bending ∝ residual. Between points at "
        "different x_j the factor of proportion differs, which can hide it. For linear models all paths are straight."
    ),
    expected=Kind.REFUTED,
)
def fig3_linearity(trial: Trial) -> Evidence:
    """How much θ(ε) bends as the deleted point is moved away from the curve, everything else fixed."""
    sizes, written, corrected, remarks, example = (0.1, 0.2, 0.4, 0.8), [], [], [], {}
    for i in range(trial.count(1, 10)):
        # θ is the optimum without the point, which therefore may be put anywhere.
        name, problem, theta = trial.network(scale=0.1, trained_with=False, number=i)
        j = int(problem.delete[0])
        bends = []
        for distance in sizes:
            y = problem.data.y.copy()
            y[j] += distance
            moved = Problem(problem.model, problem.loss, Dataset(problem.data.x, y), [j])
            bends.append(bending(response_path(moved, theta, eps=np.linspace(0.0, 1.0, 6)), slice(0, 2)))
        written.append(Sample(bends[-1] / bends[0] - 1.0, 0.1, name))
        corrected.append(Sample(abs(bends[1] / bends[0] / 2.0 - 1.0), 0.2, f"{name}: twice as far, twice as bent"))
        values = ", ".join(f"{bend:.2g}" for bend in bends)
        remarks.append(f"{name}: moved up by {', '.join(map(str, sizes))}, the path bends by {values} of its chord.")
        example = {
            "model": "one tanh neuron and a linear output, 20 points on [−2, 2]",
            "deleted": j,
            "moved up by": list(sizes),
            "bending of the neuron's path": np.round(bends, 5).tolist(),
        }
    straight = [
        Sample(bending(response_path(problem)), 1e3 * rounding(problem), name)
        for name, problem, _ in trial.regressions()
    ]
    measured = worst(written, "relative growth of the bending from the nearest to the farthest; none is claimed")
    reason = "bending in proportion to a small distance (networks); straight paths (regressions)"
    return Evidence(
        written=measured,
        corrected=worst([*corrected, *straight], reason, factor=1.0),
        counterexample=example,
        remarks=tuple(remarks),
    )


@claim(
    id="rewind-limit",
    section=SECTION,
    source="after (0.9)",
    statement="Dropped at any finite time, a point is forgotten in the limit.",
    as_written="θ(∞, s) = θ*_{-j} for every s < ∞",
    corrected="Where R_j has one minimiser. With X = I the coordinate of the point keeps (1 − e^{−s})y_j for ever.",
    expected=Kind.CONDITIONAL,
)
def rewind_limit(trial: Trial) -> Evidence:
    """θ(∞, s) against the leave-out optimum, for full rank and for X = I."""
    condition, written, corrected = [], [], []
    for name, problem, start in trial.regressions():
        least = float(np.linalg.eigvalsh(hessian(problem, 0.0))[0])
        for s in (0.0, 1.0):
            path = gradient_flow(problem, Step(s), start, ts=np.array([s + 40.0 / least]))
            goal = retrain(problem).theta
            bound = np.exp(-40.0) * relative(start, goal) + float(path.error) / float(np.linalg.norm(goal))
            condition.append(Sample(relative(path.end, goal), bound + rounding(problem), f"{name}, s = {s:g}"))
    identity = linear_regression(Dataset(np.eye(10), np.ones(10)), [9])
    kept = {}
    for s in (0.5, 1.0, 2.0):
        end = np.asarray(gradient_flow(identity, Step(s), np.zeros(10), ts=np.array([60.0])).end)
        written.append(Sample(abs(float(end[9])), 60.0 * UNIT, f"X = I, s = {s:g}: coordinate of the deleted point"))
        corrected.append(Sample(abs(float(end[9]) + np.expm1(-s)), 60.0 * UNIT, f"X = I, s = {s:g}: 1 − e^−s"))
        kept[f"θ_9(∞, s = {s:g})"] = float(end[9])
    reason = "relative; bound: e^{−40} of the way, and the flow's rounding d·u·λ_max·t"
    example = {"X": "identity, 10×10", "y": "(1, …, 1)", "deleted": 9, "θ0": 0, "θ_9 without the point": 0, **kept}
    return Evidence(
        written=worst(written, reason),
        corrected=worst(corrected, reason),
        condition=worst(condition, reason),
        counterexample=example,
    )
