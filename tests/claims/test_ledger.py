"""`verify`: which claims are chosen, what is kept when one is interrupted or breaks off, what is reproducible."""

import re
from collections import Counter
from pathlib import Path

import jaxtyping
import pytest

import epsflow as ef
from epsflow.claims import CLAIMS, SECTIONS, Claim, Evidence, Kind, _ledger, choose, claim as claimed
from epsflow.claims._names import CONTENTS
from epsflow.claims._quotations import QUOTATIONS
from epsflow.claims._trial import Trial
from made_claims import make_claim


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch):
    """`verify` on made-up claims."""

    def verify(*claims: Claim, **options) -> ef.Ledger:
        monkeypatch.setattr(_ledger, "choose", lambda only, section: claims)
        return ef.verify(**options)

    return verify


def interrupted(trial):
    raise KeyboardInterrupt


def broken(trial):
    raise ef.ConvergenceError("the flow stopped.")


def test_verdicts_in_the_order_of_the_claims(run, good, bad):
    begun = []
    ledger = run(good, bad, progress=lambda claim, index, count: begun.append((claim.id, index, count)))
    assert [verdict.claim.id for verdict in ledger.verdicts] == ["one-is-one", "one-is-two"]
    assert begun == [("one-is-one", 0, 2), ("one-is-two", 1, 2)]
    assert ledger["one-is-two"].kind is Kind.REFUTED
    assert [verdict.claim.id for verdict in ledger.surprises] == ["one-is-two"]
    assert ledger.sentence() == "2 claims of the notes: 1 hold, 1 refuted. Not as expected: one-is-two."
    with pytest.raises(KeyError, match="no verdict on 'else'"):
        ledger["else"]


def test_results_show_themselves(run, good, bad):
    ledger = run(good, bad)
    assert repr(ledger) == "Ledger(claims=2, holds=1, refuted=1, not as expected=one-is-two)"
    printed = str(ledger.summary())
    assert printed.startswith("The claims ledger\n")
    assert "one-is-two  refuted        False         1    1e-10          3" in printed
    assert "<td>one-is-two</td>" in ledger._repr_html_()
    assert ledger.to_pandas()["residual"].tolist() == [1e-12, 1.0]
    verdict = ledger["one-is-two"]
    assert repr(verdict) == "Verdict(claim=one-is-two, verdict=refuted, residual=1, allowed=1e-10, instances=3)"
    assert "corrected      1e-13    1e-10          3   nowhere" in str(verdict.summary())
    assert repr(verdict.claim) == "Claim(id=one-is-two, source=A section, Lemma 7, expected=holds)"
    assert "x_j = e^{−1}" in str(verdict.claim.summary())


def test_rows_are_plain(run, bad):
    (row,) = run(bad).rows()
    assert row["counterexample"] == {"X": [[1.0, 0.0], [0.0, 1.0]], "a < b & c": "<script>", "cost": 0.25}
    assert type(row["counterexample"]["cost"]) is float
    assert (row["verdict"], row["expected"]) == ("refuted", "holds")
    assert row["measured"]["as written"]["met"] is False


def test_an_interruption_keeps_what_was_finished(run, good, bad):
    stop = make_claim("stop", interrupted)
    ledger = run(good, stop, bad)
    assert [verdict.claim.id for verdict in ledger.verdicts] == ["one-is-one"]
    assert ledger.interrupted
    assert ledger.unfinished == ("stop", "one-is-two")
    assert "Interrupted: 2 claims were not checked, from stop on." in ledger.sentence()


def test_a_check_that_breaks_off_is_inconclusive_and_the_others_go_on(run, good):
    ledger = run(make_claim("broken", broken), good)
    assert [verdict.kind for verdict in ledger.verdicts] == [Kind.INCONCLUSIVE, Kind.HOLDS]
    assert ledger["broken"].evidence.remarks == ("The check broke off: the flow stopped.",)
    assert ledger["broken"].instances == 0


def test_claims_by_id_and_by_section():
    assert [claim.id for claim in choose(["bang-bang", "if-is-newton"])] == ["if-is-newton", "bang-bang"]
    assert {claim.section for claim in choose(section="GENERAL CASE")} == {"Epsilon dynamic: general case"}
    assert choose() == CLAIMS


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(ef.InputError, match=r"unknown claim 'lemma-0\.0\.3'; the nearest is 'lemma-0\.0\.[12]'"):
        ef.verify("lemma-0.0.3")
    with pytest.raises(ef.InputError, match="no section of the notes is called 'preface'"):
        ef.verify(section="preface")
    with pytest.raises(ef.InputError, match="no claim is among bang-bang and in a section called 'leverage'"):
        ef.verify("bang-bang", section="leverage")
    with pytest.raises(ef.InputError, match="seed is -1"):
        ef.verify("bang-bang", seed=-1)


def test_arguments_of_another_kind_are_refused(monkeypatch):
    # As a user runs it: the suite checks every annotation, and would be the first to refuse.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    for wrong in ({"only": 5.5}, {"only": [3]}, {"section": 2}, {"thorough": "yes"}, {"seed": "a"}):
        with pytest.raises(ef.InputError, match=r"needed|on or off"):
            ef.verify(**wrong)
    with pytest.raises(ef.InputError, match=r"write epsflow\.verify\(\)"):
        ef.write_report(5, "folder")


def test_a_claim_stands_on_its_check():
    @claimed(id="a", section="b", source="c", statement="d", as_written="e", expected=Kind.HOLDS)
    def checked(trial):
        """How it is measured."""
        return Evidence(written=None, remarks=(trial.name,))

    assert isinstance(checked, Claim)
    assert (checked.id, checked.source, checked.statement, checked.corrected) == ("a", "c", "d", "")
    assert checked.check(Trial("mine")).remarks == ("mine",)
    assert checked.check.__doc__ == "How it is measured."


def test_as_many_claims_of_each_kind_as_the_ledger_has():
    expected = Counter(claim.expected for claim in CLAIMS)
    assert expected == {Kind.HOLDS: 24, Kind.CONDITIONAL: 11, Kind.REFUTED: 26}


def test_every_claim_says_what_it_is():
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS)
    contents = {section: tuple(claim.id for claim in CLAIMS if claim.section == section) for section in SECTIONS}
    assert contents == CONTENTS  # which refuses wrong ids without loading a claim
    for claim in CLAIMS:
        assert re.fullmatch(r"[a-z0-9.-]+|leverage-vs-Q|theta0-or-y", claim.id)
        assert all((claim.source, claim.statement, claim.as_written)), claim.id
        assert bool(claim.corrected) or claim.expected is Kind.HOLDS, claim.id


def test_every_statement_that_fails_is_among_the_errata():
    errata = (Path(__file__).parents[2] / "docs" / "errata.md").read_text(encoding="utf-8")
    headings = set(re.findall(r"`([^`]+)`", " ".join(re.findall(r"^### .*$", errata, re.MULTILINE))))
    assert headings == {claim.id for claim in CLAIMS if claim.expected is not Kind.HOLDS}


def test_the_same_seed_gives_the_same_numbers():
    first, second, other = (ef.verify("projection", seed=seed)["projection"] for seed in (1, 1, 2))
    assert first.evidence == second.evidence
    assert first.evidence != other.evidence
    assert first.versions["jax"]


def test_evidence_without_measurements_has_no_residual(run):
    ledger = run(make_claim("none", lambda trial: Evidence(written=None)))
    assert str(ledger["none"].residual) == str(ledger["none"].tolerance) == "nan"


def test_statements_of_the_notes_are_quoted():
    """All of them, and nothing else: what is said elsewhere names its source."""
    quoted = [claim.id for claim in CLAIMS if claim.quotation]
    assert set(QUOTATIONS) == set(quoted)
    unquoted = {claim.id for claim in CLAIMS} - set(quoted)
    assert not unquoted & {name for section in list(CONTENTS)[:11] for name in CONTENTS[section]}
    assert "“Note that the damped GNH is always positive definite" in str(next(iter(choose(["ggn-pd"]))).summary())
