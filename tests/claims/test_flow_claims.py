"""Every claim on the flow, schedules and algorithms gives its expected verdict, in the quick form."""

import pytest

import epsflow as ef
from epsflow.claims import CLAIMS, SECTIONS

HERE = SECTIONS[4:]


@pytest.mark.parametrize("name", [claim.id for claim in CLAIMS if claim.section in HERE])
def test_verdict_is_the_expected_one(name: str):
    verdict = ef.verify(name)[name]
    assert verdict.as_expected, verdict.evidence
