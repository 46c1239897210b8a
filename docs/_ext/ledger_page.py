"""The ledger's page: every registered claim by section of the notes, written from the registry itself."""

import re
from pathlib import Path

from sphinx.application import Sphinx

PAGE = Path(__file__).parents[1] / "ledger.md"

INTRODUCTION = """# The ledger

{count} statements that numbers can test, each with the formula as written, the verdict that its check must reach (the
tests hold every check to it), and what is right where the statement is not. `epsflow verify` measures all of them
again, `epsflow verify --only ID` one of them; `epsflow verify --report DIR` writes a page with the evidence. Where a
derivation goes wrong, and a counterexample by hand, is in the [errata](errata.md).
"""


def text() -> str:
    """The page as Markdown."""
    from epsflow.claims import CLAIMS, SECTIONS

    parts = [INTRODUCTION.format(count=len(CLAIMS))]
    for section in SECTIONS:
        parts.append(f"\n## {section}\n")
        for claim in (claim for claim in CLAIMS if claim.section == section):
            parts.append(f"**`{claim.id}`** — *{claim.expected.value}* ({claim.source})\n: {plain(claim.statement)}\n")
            if claim.quotation:
                parts.append(f"  The notes: “{plain(claim.quotation)}”\n")
            parts.append(f"  As written: `{claim.as_written}`\n")
            if claim.corrected:
                parts.append(f"  Right: `{claim.corrected}`\n")
    return "\n".join(parts)


def plain(words: str) -> str:
    """Words without Markdown: 1_[0,s](t) is no link."""
    return re.sub(r"([\\`*_\[\]<>])", r"\\\1", words)


def write_page(app: Sphinx) -> None:
    """Writes the page if it differs from what is there."""
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text():
        PAGE.write_text(text(), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Joins the build."""
    app.connect("builder-inited", write_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
