"""The results of studies on the site are those of whole runs, and the page says all of them."""

import html
import sys
from pathlib import Path

import pytest

from epsflow.studies import Summary, ready_made

DOCS = Path(__file__).parents[2] / "docs"
KEPT = sorted((DOCS / "results").glob("*.json"))
WHOLE = ready_made("networks").rows
RUNS = {"networks-adam": WHOLE // 2, "networks-distance": WHOLE, "networks-predictions": WHOLE}
"""Rows of the runs that the page speaks of; that of Adam has digits alone."""


@pytest.fixture(scope="module")
def page():
    sys.path.insert(0, str(DOCS / "_ext"))
    import study_results

    sys.path.remove(str(DOCS / "_ext"))
    return study_results


@pytest.mark.parametrize("kept", KEPT, ids=lambda path: path.stem)
def test_the_site_shows_what_was_kept(page, kept: Path):
    summary = Summary.from_json(kept.read_text(encoding="utf-8"))
    assert (summary.done, summary.failed) == (RUNS[kept.stem], 0)
    text = page.text(kept, [f"{k}.png" for k, _ in enumerate(summary.drawings)])
    for table in summary.tables:
        for row in table.words():
            assert "".join(f"<td>{html.escape(cell)}</td>" for cell in row) in text
    assert all(sentence in text for sentence in summary.answer)
    included = (DOCS / "networks.md").read_text(encoding="utf-8")
    assert f"results/{kept.stem}.md" in included


def test_all_runs_are_kept():
    assert [path.stem for path in KEPT] == list(RUNS)
