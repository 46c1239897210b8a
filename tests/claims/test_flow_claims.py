"""Claims on the flow, schedules, algorithms and values of points give their expected verdicts, in the quick form."""

import pytest

import epsflow as ef
from epsflow.claims import CLAIMS, SECTIONS

SLOW = {"flow-regularity", "fig3-linearity", "zero-is-best", "step-is-best", "fig4-linear", "shapley-vs-influence"}
"""They compile for networks, or search, or sample."""


def cases() -> list:
    names = [claim.id for claim in CLAIMS if claim.section in SECTIONS[4:]]
    return [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in names]


@pytest.mark.parametrize("name", cases())
def test_verdict_is_the_expected_one(name: str):
    verdict = ef.verify(name)[name]
    assert verdict.as_expected, verdict.evidence
