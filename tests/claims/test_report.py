"""The report: well-formed, self-contained, with everything escaped."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

import epsflow as ef
from epsflow.claims import _ledger, _report
from epsflow.claims._figures import FIGURES, Figure


@pytest.fixture
def report(good, bad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A report on two made-up claims, one of them with a figure; two figures would share their ids."""

    def draw():
        axes = ef.plots.panels()
        axes[0].plot([0.0, 1.0], [0.0, 1.0], label="a line")
        axes[0].legend()
        return axes

    monkeypatch.setattr(_ledger, "choose", lambda only, section: (good, bad))
    for name in (good.id, bad.id):
        monkeypatch.setitem(FIGURES, name, Figure("A line.", draw))
    ledger = ef.verify()
    files = ef.write_report(ledger, tmp_path / "new" / "report")
    assert [path.name for path in files] == ["ledger.html", "ledger.md", "one-is-one.svg", "one-is-two.svg"]
    return tmp_path / "new" / "report"


def page(report: Path) -> ElementTree.Element:
    text = (report / "ledger.html").read_text(encoding="utf-8")
    return ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>\n"))


def test_page_is_well_formed_and_says_everything(report: Path):
    words = " ".join(page(report).itertext())
    for said in (
        "One is one.",
        "✗ refuted (expected: holds)",
        "✓ holds",
        "<script>",
        "a < b & c",
        "seen | twice",
        "0.25",
    ):
        assert said in words
    superscripts = [element.text for element in page(report).iter("sup")]
    assert "−1" in superscripts


def test_page_needs_no_other_file(report: Path):
    svg = "{http://www.w3.org/2000/svg}"
    root = page(report)
    assert len(list(root.iter(f"{svg}svg"))) == 2
    assert [element.tag for element in root.iter() if element.tag in ("script", "link", "img", "iframe")] == []
    links = [value for element in root.iter() for key, value in element.attrib.items() if key.endswith(("href", "src"))]
    assert links
    assert all(link.startswith("#") for link in links)
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert {link.removeprefix("#") for link in links} <= set(ids)
    assert not re.search(r"url\((?!#)", (report / "ledger.html").read_text(encoding="utf-8"))


def test_figures_do_not_share_ids(report: Path):
    ids = [element.get("id") for element in page(report).iter() if element.get("id")]
    assert len(ids) == len(set(ids))


def test_markdown(report: Path):
    text = (report / "ledger.md").read_text(encoding="utf-8")
    assert "| one-is-two | One is one. | ✗ refuted (expected: holds) | 1 |" in text
    assert "    X = [[1.0, 0.0], [0.0, 1.0]]" in text
    assert "![A line.](one-is-one.svg)" in text


def test_a_folder_that_is_a_file_is_refused(good, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_ledger, "choose", lambda only, section: (good,))
    (tmp_path / "taken").write_text("mine", encoding="utf-8")
    with pytest.raises(ef.InputError, match=r"cannot write to .*taken"):
        ef.write_report(ef.verify(), tmp_path / "taken", figures=False)


def test_indices_and_powers():
    assert _report._marked("x_jy_j, θ*_{-j}, e^{−τ}, 1_[0,s], a<b") == (
        "x<sub>j</sub>y<sub>j</sub>, θ*<sub>-j</sub>, e<sup>−τ</sup>, 1<sub>[0,s]</sub>, a&lt;b"
    )
