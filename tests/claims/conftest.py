import numpy as np
import pytest

from epsflow.claims import Claim, Evidence
from made_claims import make_claim, measured


@pytest.fixture(scope="session")
def good() -> Claim:
    """A claim that holds."""
    return make_claim("one-is-one", lambda trial: Evidence(written=measured(1e-12)))


@pytest.fixture(scope="session")
def bad() -> Claim:
    """A claim that was expected to hold, and is refuted."""
    numbers = {"X": np.eye(2), "a < b & c": "<script>", "cost": np.float64(0.25)}
    evidence = Evidence(
        written=measured(1.0), corrected=measured(1e-13), counterexample=numbers, remarks=("seen | twice",)
    )
    return make_claim("one-is-two", lambda trial: evidence)
