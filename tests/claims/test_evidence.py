"""Which verdict follows from which evidence, and what a measurement keeps of its samples."""

import math

import pytest

from epsflow.claims import Evidence, Kind, Measurement
from epsflow.claims._claim import Sample, decide, worst

MET = Measurement(1e-12, 1e-11, 1e-10, "made up", "nowhere", 3)
MISSED = Measurement(1.0, 1e-11, 1e-10, "made up", "nowhere", 3)
EXAMPLE = {"x": 1}


@pytest.mark.parametrize(
    ("evidence", "kind"),
    [
        (Evidence(MET), Kind.HOLDS),
        (Evidence(MET, corrected=MET), Kind.HOLDS),
        (Evidence(MISSED, counterexample=EXAMPLE), Kind.REFUTED),
        (Evidence(MISSED, corrected=MET, counterexample=EXAMPLE), Kind.REFUTED),
        (Evidence(None, corrected=MET, counterexample=EXAMPLE), Kind.REFUTED),
        (Evidence(MISSED, condition=MET, counterexample=EXAMPLE), Kind.CONDITIONAL),
        (Evidence(MISSED, condition=MISSED, counterexample=EXAMPLE), Kind.REFUTED),
        (Evidence(MISSED), Kind.INCONCLUSIVE),  # a failure that no counterexample explains
        (Evidence(MET, corrected=MISSED), Kind.INCONCLUSIVE),  # what is said to be right is not
        (Evidence(MISSED, corrected=MISSED, counterexample=EXAMPLE), Kind.INCONCLUSIVE),
        (Evidence(None), Kind.INCONCLUSIVE),
        (Evidence(None, counterexample=EXAMPLE), Kind.INCONCLUSIVE),
    ],
)
def test_verdict(evidence: Evidence, kind: Kind):
    assert decide(evidence) is kind


def test_the_worst_sample_is_the_one_furthest_beyond_its_own_bound():
    found = worst([Sample(1e-3, 1e-2, "a"), Sample(1e-6, 1e-7, "b"), Sample(0.0, 0.0, "c")], "why")
    assert (found.where, found.residual, found.instances) == ("b", 1e-6, 3)
    assert found.tolerance == pytest.approx(1e-6)
    assert found.met


@pytest.mark.parametrize("residual", [math.nan, math.inf, 2e-6])
def test_a_sample_that_misses_is_kept(residual: float):
    found = worst([Sample(0.0, 1e-7, "good"), Sample(residual, 1e-7, "bad"), Sample(1e-8, 1e-7, "good")], "why")
    assert found.where == "bad"
    assert not found.met


def test_without_a_bound_nothing_but_zero_is_met():
    assert worst([Sample(0.0, 0.0, "exact")], "why").met
    assert not worst([Sample(1e-300, 0.0, "not exact")], "why").met
