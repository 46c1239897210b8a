"""Claims of the section "Other interesting things we might want to explore": which points are informative, and when."""

from typing import NamedTuple

import jax
import numpy as np

from ...analysis import Predictions, influence
from ...attribution import (
    AttributionComparison,
    checkpoint_influence,
    compare_attributions,
    windowed_removal,
)
from ...problem import Dataset, LinearModel, LogisticLoss, Problem, load_dataset
from ...schedules import Constant
from .._claim import Evidence, Kind, Sample, claim, worst
from .._tools import hessian
from .._trial import Case, Trial

SECTION = "Other interesting things we might want to explore"

POINTS, PERMUTATIONS = 80, 100

FRACTIONS = (0.1, 0.2, 0.3, 0.4, 0.5)
"""Shares of the points that are removed, as far as the paper goes."""


class Split(NamedTuple):
    """A comparison on one random split of breast_cancer, and what it is called."""

    name: str
    found: AttributionComparison


def splits(trial: Trial) -> list[Split]:
    """Logistic regression on 80 points of breast_cancer, judged at the others; a tenth of the labels wrong or none."""
    data, rng = load_dataset("breast_cancer"), trial.rng()
    found = []
    for number in range(trial.count(2, 10)):
        for noise in (0.0, 0.1):
            order = rng.permutation(data.n)
            train, test = order[:POINTS], order[POINTS:]
            labels = data.y[train].copy()
            wrong = rng.choice(POINTS, size=round(noise * POINTS), replace=False)
            labels[wrong] = 1.0 - labels[wrong]
            problem = Problem(LinearModel(data.x.shape[1]), LogisticLoss(), Dataset(data.x[train], labels), l2=1.0)
            compared = compare_attributions(
                problem,
                ("influence", "shapley"),
                test=Dataset(data.x[test], data.y[test]),
                groups=2,
                fractions=FRACTIONS,
                mislabelled=wrong if wrong.size else None,
                options={"shapley": {"max_permutations": PERMUTATIONS, "throw": False}},
                key=jax.random.key(int(rng.integers(2**31))),
            )
            found.append(Split(f"split {number}, {noise:.0%} of the labels wrong", compared))
    return found


def _detected(found: AttributionComparison) -> str:
    """How well both find the wrong labels, where there are any."""
    if not found.detection:
        return ""
    influence, shapley = found.detection["influence"].value, found.detection["shapley"].value
    return f" Wrong labels are found with areas under the curve of {influence:.3f} and {shapley:.3f}."


@claim(
    id="shapley-vs-influence",
    section=SECTION,
    source="first item, on Data Shapley",
    statement="Shapley values find the informative points better than influence functions.",
    as_written="without the points of largest Shapley value accuracy falls further than without those of largest IF",
    corrected=(
        "Which of the two orders hurts more depends on the problem. What the removal of a point does is told by its "
        "influence, whose rank correlation with leave-one-out is the higher; Shapley values average over coalitions."
    ),
    expected=Kind.REFUTED,
)
def shapley_vs_influence(trial: Trial) -> Evidence:
    """Accuracy left without the most valued points, averaged over shares; and rank correlation with leave-one-out."""
    written, corrected, remarks = [], [], []
    for name, found in splits(trial):
        assert found.curves is not None
        gain = found.curves.advantage("influence", "shapley")
        # What the choice of test points explains is not held against the statement.
        written.append(Sample(max(gain.value, 0.0), gain.value - gain.low, name))
        shapley, influence = found.single["shapley"].spearman, found.single["influence"].spearman
        corrected.append(Sample(max(shapley, 0.0), influence, name))
        remarks.append(
            f"{name}: influence's order costs {gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}] more accuracy than "
            f"Shapley's; rank correlations with leave-one-out {influence:.3f} and {shapley:.3f}." + _detected(found)
        )
    worse = max(range(len(written)), key=lambda k: written[k].residual - written[k].bound)
    example = {
        "data": "breast_cancer, standardised; logistic regression, l2 = 1, on 80 points",
        "instance": written[worse].where,
        "accuracy lost more by influence's order": float(written[worse].residual),
        "half width of its 95 % interval": float(written[worse].bound),
    }
    reason = "accuracy lost less than by influence's order, over 10 % to 50 % removed; bound: its 95 % interval"
    refuted = written[worse].residual > written[worse].bound
    return Evidence(
        written=worst(written, reason, factor=1.0),
        corrected=worst(corrected, "rank correlation of Shapley values against that of influence", factor=1.0),
        counterexample=example if refuted else {},
        remarks=tuple(remarks),
    )


def _predictions(trial: Trial, case: Case) -> Predictions:
    """φ: predictions at three fresh points of the size of the data."""
    x = case.problem.data.x
    return Predictions(case.problem.model, x.std() * trial.rng().standard_normal((3, x.shape[1])))


@claim(
    id="importance-over-time",
    section=SECTION,
    source="last item, on influence in certain epochs",
    statement="The importance of a data point may change throughout the training.",
    as_written="the effect on φ(θ(t)) of a point's removal from training until t changes with t, even its sign",
    corrected="",
    expected=Kind.HOLDS,
)
def importance_over_time(trial: Trial) -> Evidence:
    """The point whose influence at checkpoints has the most of both signs, and what training without it does then."""
    samples, remarks = [], []
    for case in trial.regressions():
        name, problem, start = case
        rates = np.linalg.eigvalsh(hessian(problem, 1.0, start))
        ts = np.geomspace(0.05 / rates[-1], 30.0 / rates[0], 16)
        functional = _predictions(trial, case)
        values = checkpoint_influence(problem, Constant(1.0), start, ts=ts, functional=functional).values
        both = np.minimum(values.max(axis=0), -values.min(axis=0))
        j, q = np.unravel_index(int(both.argmax()), both.shape)
        times = ts[values[:, j, q].argmax()], ts[values[:, j, q].argmin()]
        ask = {"functional": functional, "points": [int(j)]}
        ends = [
            windowed_removal(problem, Constant(1.0), start, ts=np.array([0.0, t]), **ask).change[0, q] for t in times
        ]
        rise, fall = map(float, ends)
        where = f"{name}, point {j}: {rise:+.3g} at t = {times[0]:.3g}, {fall:+.3g} at t = {times[1]:.3g}"
        samples.append(Sample(0.0 if rise > 0.0 > fall else 1.0, 0.5, where))
        turned = float(((values.max(axis=0) > 0.0) & (values.min(axis=0) < 0.0)).mean())
        remarks.append(f"{name}: {turned:.0%} of all effects of points on predictions are predicted to change sign.")
    reason = (
        "1 where the effect of a point that is predicted to change sign does not when training is done again, else 0"
    )
    return Evidence(written=worst(samples, reason, factor=1.0), remarks=tuple(remarks))


@claim(
    id="influence-in-epochs",
    section=SECTION,
    source="last item, on influence in certain epochs",
    statement="It can make more sense to consider influence functions in certain epochs than only at the end.",
    as_written="of removal from the first half of training, −∫K_j dt is nearer to the truth than H⁻¹g_j at its end",
    corrected="",
    expected=Kind.HOLDS,
)
def influence_in_epochs(trial: Trial) -> Evidence:
    """Training without a point in its first half: the density's error against that of the influence function."""
    samples, remarks = [], []
    for case in trial.regressions():
        name, problem, start = case
        rates = np.linalg.eigvalsh(hessian(problem, 1.0, start))
        T, functional = 4.0 / float(np.median(rates)), _predictions(trial, case)
        points = trial.rng().choice(problem.data.n, size=4, replace=False).tolist()
        at_end = influence(problem, points=points, functional=functional).change
        errors = {}
        for half, window in (("first", (0.0, 0.5 * T)), ("second", (0.5 * T, T))):
            ask = {"functional": functional, "points": points, "window": window}
            found = windowed_removal(problem, Constant(1.0), start, ts=np.array([0.0, T]), **ask)
            size = float(np.linalg.norm(found.change))
            errors[half] = [float(np.linalg.norm(guess - found.change)) / size for guess in (found.first_order, at_end)]
        mine, other = errors["first"]
        samples.append(Sample(mine, other, f"{name}, until t = {0.5 * T:.3g}"))
        mine, other = errors["second"]
        remarks.append(f"{name}: of the second half the density misses {mine:.2g}, the influence function {other:.2g}.")
    reason = "error of −∫K_j dt, relative to the change by training again; bound: that of the influence function"
    return Evidence(written=worst(samples, reason, factor=1.0), remarks=tuple(remarks))
