"""Which verdict follows from which evidence, and what a measurement keeps of its samples."""

import math

import pytest

from epsflow.claims import Evidence, Kind
from epsflow.claims._claim import Sample, decide, worst
from made_claims import measured

MET = measured(1e-12)
MISSED = measured(1.0)
EXAMPLE = {"x": 1}


@pytest.mark.parametrize(
    ("evidence", "kind"),
    [
        (Evidence(written=MET), Kind.HOLDS),
        (Evidence(written=MET, corrected=MET), Kind.HOLDS),
        (Evidence(written=MISSED, counterexample=EXAMPLE), Kind.REFUTED),
        (Evidence(written=MISSED, corrected=MET, counterexample=EXAMPLE), Kind.REFUTED),
        (Evidence(written=None, corrected=MET, counterexample=EXAMPLE), Kind.REFUTED),
        (Evidence(written=MISSED, condition=MET, counterexample=EXAMPLE), Kind.CONDITIONAL),
        (Evidence(written=MISSED, condition=MISSED, counterexample=EXAMPLE), Kind.REFUTED),
        (Evidence(written=MISSED), Kind.INCONCLUSIVE),  # a failure that no counterexample explains
        (Evidence(written=MET, corrected=MISSED), Kind.INCONCLUSIVE),  # what is said to be right is not
        (Evidence(written=MISSED, corrected=MISSED, counterexample=EXAMPLE), Kind.INCONCLUSIVE),
        (Evidence(written=None), Kind.INCONCLUSIVE),
        (Evidence(written=None, counterexample=EXAMPLE), Kind.INCONCLUSIVE),
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
