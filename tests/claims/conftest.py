import numpy as np
import pytest

from epsflow.claims import Claim, Evidence, Kind, Measurement


def measured(residual: float, tolerance: float = 1e-10) -> Measurement:
    return Measurement(residual, tolerance / 10.0, tolerance, "made up", "nowhere", 3)


def make_claim(name: str, evidence: Evidence, expected: Kind = Kind.HOLDS) -> Claim:
    return Claim(
        name, "A section", "Lemma 7", "One is one.", "x_j = e^{−1}", "It is.", expected, lambda trial: evidence
    )


@pytest.fixture(scope="session")
def good() -> Claim:
    """A claim that holds."""
    return make_claim("one-is-one", Evidence(measured(1e-12)))


@pytest.fixture(scope="session")
def bad() -> Claim:
    """A claim that was expected to hold, and is refuted."""
    numbers = {"X": np.eye(2), "a < b & c": "<script>", "cost": np.float64(0.25)}
    evidence = Evidence(measured(1.0), measured(1e-13), counterexample=numbers, remarks=("seen | twice",))
    return make_claim("one-is-two", evidence)
