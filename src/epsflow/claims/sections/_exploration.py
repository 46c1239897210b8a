"""Claims of the section "Other interesting things we might want to explore": which points are informative."""

from typing import NamedTuple

import jax

from ...attribution import AttributionComparison, compare_attributions
from ...problem import Dataset, LinearModel, LogisticLoss, Problem, load_dataset
from .._claim import Evidence, Kind, Sample, claim, worst
from .._trial import Trial

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
