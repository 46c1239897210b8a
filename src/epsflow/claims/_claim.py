"""A claim of the notes, what a check of it brings to light, and the verdict that follows."""

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .._core import Shown, Spelled
from ._quotations import QUOTATIONS
from ._trial import Trial


class Kind(enum.Enum):
    """What the numbers say of a statement. Support by numbers is no proof; one counterexample is a refutation.

    Example:
        >>> ef.claims.Kind("refuted")
        <Kind.REFUTED: 'refuted'>
    """

    HOLDS = "holds"
    CONDITIONAL = "holds under a condition"
    REFUTED = "refuted"
    INCONCLUSIVE = "inconclusive"


class Sample(NamedTuple):
    """One comparison on one instance.

    Attributes:
        residual: by how much the statement misses there; relative unless the measurement's reason says otherwise.
        bound: the part of it that rounding, integration or truncation explains, to first order.
        where: the instance, in words.
    """

    residual: float
    bound: float
    where: str


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The worst of many comparisons: the one with the largest residual in units of its tolerance.

    Example:
        >>> found = {"reason": "rounding", "where": "n = 3", "instances": 1}
        >>> ef.claims.Measurement(residual=1e-16, bound=1e-16, tolerance=1e-14, **found).met
        True

    Attributes:
        residual: there.
        bound: the error bound there.
        tolerance: the residual that is allowed there, a multiple of the bound.
        reason: why so much, and what the residual is.
        where: the instance, in words.
        instances: how many were compared.
    """

    residual: float
    bound: float
    tolerance: float
    reason: str
    where: str
    instances: int

    @property
    def met(self) -> bool:
        """Whether every instance stayed within its tolerance; a NaN does not."""
        return self.residual <= self.tolerance


FACTOR = 10.0
"""Residuals may be ten times a first-order bound, which leaves out constants and the growth of sums."""


def worst(samples: Iterable[Sample], reason: str, *, factor: float = FACTOR) -> Measurement:
    """The measurement that several samples make.

    Args:
        samples: at least one.
        reason: where the bounds come from, and what the residual is.
        factor: tolerance = factor × bound.
    """
    kept = list(samples)

    def excess(sample: Sample) -> float:
        if not sample.residual <= factor * sample.bound and sample.bound == 0.0:
            return float("inf")
        ratio = sample.residual / sample.bound if sample.bound > 0.0 else 0.0
        return ratio if ratio == ratio else float("inf")  # NaN counts as the worst

    found = max(kept, key=excess)
    residual, bound = float(found.residual), float(found.bound)
    return Measurement(
        residual=residual,
        bound=bound,
        tolerance=factor * bound,
        reason=reason,
        where=found.where,
        instances=len(kept),
    )


@dataclass(frozen=True, kw_only=True, repr=False)
class Evidence(Spelled):
    """What a check found.

    Example:
        >>> found = {"reason": "rounding", "where": "n = 3", "instances": 1}
        >>> miss = ef.claims.Measurement(residual=1e-16, bound=1e-16, tolerance=1e-14, **found)
        >>> [name for name, _ in ef.claims.Evidence(written=miss).parts()]
        ['as written']

    Attributes:
        written: how far the statement as written misses; None where it says that something does not exist, so that
            the counterexample alone decides.
        corrected: how far the corrected statement misses; None where nothing is to be corrected.
        condition: how far the statement as written misses where its condition is met; None if it has no such condition.
        counterexample: an instance on which the statement as written fails, as plain numbers.
        remarks: what else was measured.
    """

    written: Measurement | None
    corrected: Measurement | None = None
    condition: Measurement | None = None
    counterexample: dict[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def parts(self) -> list[tuple[str, Measurement]]:
        """The measurements there are, with what they are of."""
        named = (
            ("as written", self.written),
            ("under its condition", self.condition),
            ("corrected", self.corrected),
        )
        return [(name, part) for name, part in named if part is not None]


@dataclass(frozen=True, kw_only=True, repr=False)
class Claim(Shown):
    """A statement of the notes.

    Example:
        >>> ef.claims.choose(["ggn-pd"])[0].expected.value
        'holds under a condition'

    Attributes:
        id: its short name.
        section: the heading of the notes under which it stands.
        source: where exactly.
        statement: what it says, in words.
        as_written: its formula, in plain text.
        corrected: what is right; empty where the statement is.
        expected: the verdict that is expected of its check.
        check: measures it on random instances and on data.
        quotation: the notes' own words; empty for what is said elsewhere.
    """

    id: str
    section: str
    source: str
    statement: str
    as_written: str
    corrected: str
    expected: Kind
    check: Callable[[Trial], Evidence]
    quotation: str = ""

    def _title(self) -> str:
        return f"{self.id}: {self.statement}"

    def _facts(self) -> dict[str, object]:
        quoted = {"the notes": f"“{self.quotation}”"} if self.quotation else {}
        return {"id": self.id, "source": f"{self.section}, {self.source}", **quoted, "expected": self.expected}

    def _rows(self) -> list[dict[str, Any]]:
        said = {"as written": self.as_written, "corrected": self.corrected}
        return [{"": name, "formula": formula} for name, formula in said.items() if formula]


def claim(
    *, id: str, section: str, source: str, statement: str, as_written: str, expected: Kind, corrected: str = ""
) -> Callable[[Callable[[Trial], Evidence]], Claim]:
    """Make a claim of the check that it stands above: the name of the function is then the `Claim`.

    Example:
        >>> said = {"section": "Mine", "source": "p. 1", "statement": "ε ≤ 1", "as_written": "ε ≤ 1"}
        >>> @ef.claims.claim(id="least", expected=ef.claims.Kind.HOLDS, **said)
        ... def least(trial):
        ...     return ef.claims.Evidence(written=None)
        >>> least.id
        'least'

    Args:
        id, section, source, statement, as_written, corrected, expected: as in `Claim`.
    """

    def decorate(check: Callable[[Trial], Evidence]) -> Claim:
        return Claim(
            id=id,
            section=section,
            source=source,
            statement=statement,
            as_written=as_written,
            corrected=corrected,
            expected=expected,
            check=check,
            quotation=QUOTATIONS.get(id, ""),
        )

    return decorate


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Verdict(Shown):
    """The outcome of one check, with its evidence.

    Example:
        >>> ef.verify("projection")["projection"].as_expected
        True

    Attributes:
        claim: the statement.
        kind: the verdict.
        evidence: what it rests on.
        seed: of the random instances.
        thorough: whether the long form of the check was run.
        seconds: wall-clock time of the check, compilation included.
        versions: of the libraries behind the numbers.
    """

    claim: Claim
    kind: Kind
    evidence: Evidence
    seed: int
    thorough: bool
    seconds: float
    versions: dict[str, str]

    def _title(self) -> str:
        return f"{self.claim.id}: {self.claim.statement}"

    def _facts(self) -> dict[str, object]:
        measured = {"residual": self.residual, "allowed": self.tolerance, "instances": self.instances}
        return {"claim": self.claim.id, "verdict": self.kind, **measured}

    def _rows(self) -> list[dict[str, Any]]:
        return [
            {
                "measured": name,
                "residual": part.residual,
                "allowed": part.tolerance,
                "instances": part.instances,
                "worst at": part.where,
            }
            for name, part in self.evidence.parts()
        ]

    @property
    def as_expected(self) -> bool:
        """Whether the verdict is the one that the claim expects."""
        return self.kind is self.claim.expected

    @property
    def instances(self) -> int:
        """The largest number of instances in one of its measurements."""
        return max((part.instances for _, part in self.evidence.parts()), default=0)

    @property
    def residual(self) -> float:
        """By how much the statement as written misses at worst; NaN where a counterexample alone decides."""
        return float("nan") if self.evidence.written is None else self.evidence.written.residual

    @property
    def tolerance(self) -> float:
        """What was allowed there; NaN likewise."""
        return float("nan") if self.evidence.written is None else self.evidence.written.tolerance


def decide(evidence: Evidence) -> Kind:
    """The verdict that evidence supports.

    A statement holds if it stayed within its tolerance on all instances. It is refuted by a counterexample, or holds
    under its condition where it stayed within its tolerance there. A corrected statement that fails its own check, or a
    failure without a counterexample, leaves the matter inconclusive.
    """
    written, condition = evidence.written, evidence.condition
    if written is None and evidence.corrected is None:
        return Kind.INCONCLUSIVE
    if evidence.corrected is not None and not evidence.corrected.met:
        return Kind.INCONCLUSIVE
    if written is not None and written.met:
        return Kind.HOLDS
    if not evidence.counterexample:
        return Kind.INCONCLUSIVE
    if condition is None:
        return Kind.REFUTED
    return Kind.CONDITIONAL if condition.met else Kind.REFUTED
