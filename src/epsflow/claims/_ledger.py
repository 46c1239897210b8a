"""`verify`: run the checks, one after the other, and keep their verdicts."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._core import EpsflowError, InputError, Tabular, as_count, as_flag, brief, provenance, require_x64
from ._claim import Claim, Evidence, Kind, Measurement, Verdict, decide
from ._registry import choose
from ._trial import Trial

Progress = Callable[[Claim, int, int], None]
"""Called before each check with the claim, its number from 0, and how many there are."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Ledger(Tabular):
    """Verdicts on claims, in the order of the notes. `summary()` and `to_pandas()` have one row per claim.

    Example:
        >>> ef.verify("projection").surprises
        ()

    Attributes:
        verdicts: one per claim that was finished.
        unfinished: ids of the claims that an interruption left; empty for a complete run.
        seed: of the random instances.
        thorough: whether the checks were run in their long form.
        versions: of the libraries, with machine and time.
    """

    verdicts: tuple[Verdict, ...]
    unfinished: tuple[str, ...]
    seed: int
    thorough: bool
    versions: dict[str, str]

    @property
    def surprises(self) -> tuple[Verdict, ...]:
        """Verdicts that differ from the expected ones."""
        return tuple(verdict for verdict in self.verdicts if not verdict.as_expected)

    @property
    def interrupted(self) -> bool:
        """Whether some claims were left."""
        return bool(self.unfinished)

    @property
    def seconds(self) -> float:
        """Wall-clock time of all checks."""
        return sum(verdict.seconds for verdict in self.verdicts)

    def __getitem__(self, name: str) -> Verdict:
        """The verdict on one claim, by its id."""
        for verdict in self.verdicts:
            if verdict.claim.id == name:
                return verdict
        raise KeyError(f"no verdict on {name!r} in this ledger")

    def sentence(self) -> str:
        """One sentence: how many verdicts of each kind, and whether any is a surprise."""
        counted = Counter(verdict.kind for verdict in self.verdicts)
        kinds = ", ".join(f"{counted[kind]} {_WORDS[kind]}" for kind in Kind if counted[kind])
        said = f"{len(self.verdicts)} claims of the notes: {kinds or 'none checked'}."
        if self.surprises:
            names = ", ".join(verdict.claim.id for verdict in self.surprises)
            said += f" Not as expected: {names}."
        if self.interrupted:
            said += f" Interrupted: {len(self.unfinished)} claims were not checked, from {self.unfinished[0]} on."
        return said

    def _title(self) -> str:
        return "The claims ledger"

    def _facts(self) -> dict[str, object]:
        counted = Counter(verdict.kind for verdict in self.verdicts)
        kinds: dict[str, object] = {kind.value: counted[kind] for kind in Kind if counted[kind]}
        surprises = ", ".join(verdict.claim.id for verdict in self.surprises)
        left = {"not checked": len(self.unfinished)} if self.unfinished else {}
        return {"claims": len(self.verdicts), **kinds, "not as expected": surprises or "none", **left}

    def _rows(self) -> list[dict[str, Any]]:
        return [
            {
                "claim": verdict.claim.id,
                "verdict": verdict.kind.value,
                "as expected": verdict.as_expected,
                "residual": verdict.residual,
                "allowed": verdict.tolerance,
                "instances": verdict.instances,
                "seconds": verdict.seconds,
            }
            for verdict in self.verdicts
        ]

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary of plain numbers and words per verdict, for tables and JSON."""
        return [
            {
                "id": verdict.claim.id,
                "section": verdict.claim.section,
                "source": verdict.claim.source,
                "statement": verdict.claim.statement,
                "the notes": verdict.claim.quotation,
                "as written": verdict.claim.as_written,
                "corrected": verdict.claim.corrected,
                "verdict": verdict.kind.value,
                "expected": verdict.claim.expected.value,
                "instances": verdict.instances,
                "measured": {name: _measured(part) for name, part in verdict.evidence.parts()},
                "counterexample": plain(verdict.evidence.counterexample),
                "remarks": list(verdict.evidence.remarks),
                "seed": verdict.seed,
                "thorough": verdict.thorough,
                "seconds": verdict.seconds,
            }
            for verdict in self.verdicts
        ]


_WORDS = {
    Kind.HOLDS: "hold",
    Kind.CONDITIONAL: "hold under a condition",
    Kind.REFUTED: "refuted",
    Kind.INCONCLUSIVE: "inconclusive",
}


def verify(
    only: Sequence[str] | str | None = None,
    *,
    section: str | None = None,
    thorough: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> Ledger:
    """Put the statements of the notes to the test, on random instances and on data.

    Example:
        >>> ef.verify("projection")["projection"].kind.value
        'holds'

    Every check goes through the library's public functions. A verdict "holds" is numerical support, not a proof;
    "refuted" comes with a counterexample in plain numbers, and the corrected statement, where there is one, has passed
    a check of its own. An interruption (Ctrl-C) ends the run; the ledger then holds what was finished and names the
    rest.

    Args:
        only: ids of claims; default: all.
        section: part of the heading of a section of the notes.
        thorough: many more instances, and longer searches for counterexamples.
        seed: of the random instances; the same seed gives the same numbers.
        progress: called before each check with the claim, its number and how many there are.

    Returns:
        A `Ledger`; its `surprises` are the verdicts that differ from the expected ones.

    Raises:
        InputError: an unknown id (the nearest is suggested) or section, a negative seed, or JAX in 32-bit mode.
    """
    require_x64()
    as_count(seed, "seed", least=0)
    as_flag(thorough, "thorough")
    names = [only] if isinstance(only, str) else only
    listed = isinstance(names, Sequence) and all(isinstance(name, str) for name in names)
    if not (names is None or listed) or not (section is None or isinstance(section, str)):
        raise InputError(
            f"only is {brief(only)} and section {brief(section)}; ids of claims and words of a heading are needed, for "
            'instance only=["projection"] or section="leverage".'
        )
    claims = choose(names, section)
    versions, verdicts = provenance(), []
    with contextlib.suppress(KeyboardInterrupt):  # what was finished is kept, and the ledger says what was not
        for index, claim in enumerate(claims):
            if progress is not None:
                progress(claim, index, len(claims))
            verdicts.append(_check(claim, Trial(claim.id, seed, thorough), versions))
    unfinished = tuple(claim.id for claim in claims[len(verdicts) :])
    return Ledger(verdicts=tuple(verdicts), unfinished=unfinished, seed=seed, thorough=thorough, versions=versions)


def _check(claim: Claim, trial: Trial, versions: dict[str, str]) -> Verdict:
    """One verdict. A computation that refuses or does not converge leaves its claim inconclusive, and says why."""
    begun = time.perf_counter()
    try:
        evidence = claim.check(trial)
    except EpsflowError as error:
        evidence = Evidence(written=None, remarks=(f"The check broke off: {error}",))
    seconds = time.perf_counter() - begun
    return Verdict(
        claim=claim,
        kind=decide(evidence),
        evidence=evidence,
        seed=trial.seed,
        thorough=trial.thorough,
        seconds=seconds,
        versions=versions,
    )


def _measured(part: Measurement) -> dict[str, Any]:
    return {
        "met": part.met,
        "residual": float(part.residual),
        "bound": float(part.bound),
        "tolerance": float(part.tolerance),
        "reason": part.reason,
        "worst at": part.where,
        "instances": part.instances,
    }


def plain(value: Any) -> Any:
    """Python's own numbers, strings and lists, all the way down."""
    match value:
        case dict():
            return {key: plain(entry) for key, entry in value.items()}
        case list() | tuple():
            return [plain(entry) for entry in value]
        case None | str() | bool() | int():
            return value
        case _:
            return np.asarray(value).tolist()
