"""Claims that are made up, for the tests of the ledger and its report."""

from collections.abc import Callable

from epsflow.claims import Claim, Evidence, Kind, Measurement
from epsflow.claims._trial import Trial


def measured(residual: float, tolerance: float = 1e-10) -> Measurement:
    return Measurement(
        residual=residual,
        bound=tolerance / 10.0,
        tolerance=tolerance,
        reason="made up",
        where="nowhere",
        instances=3,
    )


def make_claim(name: str, check: Callable[[Trial], Evidence], expected: Kind = Kind.HOLDS) -> Claim:
    return Claim(
        id=name,
        section="A section",
        source="Lemma 7",
        statement="One is one.",
        as_written="x_j = e^{−1}",
        corrected="It is.",
        expected=expected,
        check=check,
    )
