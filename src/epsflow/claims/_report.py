"""A ledger as a page for people: one self-contained HTML file, and the same in Markdown."""

import html
import math
import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from .. import plots
from .._core import InputError, as_instance, brief, page
from ._claim import Kind, Verdict
from ._figures import FIGURES
from ._ledger import Ledger, plain

HTML, MARKDOWN, TITLE = "ledger.html", "ledger.md", "epsflow: the claims ledger"

MARKS = {Kind.HOLDS: "✓", Kind.CONDITIONAL: "◐", Kind.REFUTED: "✗", Kind.INCONCLUSIVE: "?"}
"""A sign for each kind, so that no verdict is told by colour alone."""

INTRODUCTION = (
    "Every statement was measured on random instances and on data through the library's public functions. "
    "“Holds” is numerical support, not a proof. “Refuted” comes with a counterexample in plain numbers, "
    "and the corrected statement, where there is one, has passed its own check."
)

STYLE = """
body { max-width: 60rem; }
table { width: 100%; }
th, td { text-align: left; padding: 0.3rem 0.8rem 0.3rem 0; }
td.number { white-space: nowrap; }
article { border-top: 2px solid var(--line); margin-top: 2.5rem; padding-top: 0.5rem; }
.formula { font-family: "STIX Two Math", "Cambria Math", "DejaVu Serif", serif; background: var(--soft);
  padding: 0.5rem 0.8rem; overflow-x: auto; }
.verdict { font-weight: 600; white-space: nowrap; }
.surprise { outline: 3px solid #D55E00; }
code { font-size: 0.9em; overflow-wrap: anywhere; }
"""


def foreign_page(folder: Path) -> Path | None:
    """A `ledger.html` in the folder that `write_report` did not write, but would replace; None where there is none.

    Example:
        >>> from pathlib import Path
        >>> ef.claims.foreign_page(Path("."))
        >>> written = Path("ledger.html").write_text("my own page")
        >>> ef.claims.foreign_page(Path(".")).name
        'ledger.html'
    """
    place = folder / HTML
    ours = not place.exists() or f"<title>{TITLE}</title>" in place.read_text(encoding="utf-8", errors="replace")
    return None if ours else place


def write_report(ledger: Ledger, folder: str | Path, *, figures: bool = True) -> tuple[Path, ...]:
    """Write `ledger.html`, which needs no other file and no network, and `ledger.md` into a folder.

    Example:
        >>> ledger = ef.verify("projection")
        >>> import tempfile
        >>> [path.name for path in ef.write_report(ledger, tempfile.mkdtemp(), figures=False)]
        ['ledger.html', 'ledger.md']

    Args:
        ledger: of `verify`.
        folder: made if it does not exist.
        figures: whether to draw; takes some seconds. The Markdown file refers to SVG files beside it.

    Returns:
        The files written, the page first.

    Raises:
        InputError: a folder that cannot be written to, in the file system's words.
    """
    as_instance(ledger, "ledger", Ledger, "write epsflow.verify()")
    if not isinstance(folder, str | Path):
        raise InputError(f"folder is {brief(folder)}; the name of a folder is needed.")
    place, drawn = Path(folder), _draw(ledger) if figures else {}
    texts = {HTML: _page(ledger, drawn), MARKDOWN: _markdown(ledger, drawn)}
    texts.update({f"{name}.svg": svg for name, svg in drawn.items()})
    try:
        place.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (place / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write to {place}: {error.strerror or error}. Name another folder.") from error
    return tuple(place / name for name in texts)


def _draw(ledger: Ledger) -> dict[str, str]:
    """The SVG of every claim that has a figure."""
    names = [verdict.claim.id for verdict in ledger.verdicts if verdict.claim.id in FIGURES]
    return {name: plots.to_svg(FIGURES[name].draw()) for name in names}


def number(value: float) -> str:
    """Three digits; a dash where there is no number."""
    return "–" if math.isnan(value) else f"{value:.3g}"


def _sections(ledger: Ledger) -> Iterator[tuple[str, list[Verdict]]]:
    for heading, group in groupby(ledger.verdicts, key=lambda verdict: verdict.claim.section):
        yield heading, list(group)


def _about(ledger: Ledger) -> str:
    form = "thorough" if ledger.thorough else "quick"
    versions = ", ".join(f"{name} {version}" for name, version in ledger.versions.items())
    return f"Seed {ledger.seed}, {form} form, {ledger.seconds:.0f} s. {versions}."


# ---- HTML -----------------------------------------------------------------------------------------------------------


def _page(ledger: Ledger, drawn: dict[str, str]) -> str:
    say = html.escape
    body = [
        f"<h1>The claims ledger</h1><p>{say(ledger.sentence())}</p>",
        f"<p>{say(INTRODUCTION)}</p><p><small>{say(_about(ledger))}</small></p>",
    ]
    for heading, verdicts in _sections(ledger):
        rows = "".join(
            f'<tr><td><a href="#{say(v.claim.id)}">{say(v.claim.id)}</a></td><td>{_marked(v.claim.statement)}</td>'
            f'<td>{_badge(v)}</td><td class="number">{number(v.residual)}</td>'
            f'<td class="number">{v.seconds:.1f} s</td></tr>'
            for v in verdicts
        )
        head = "<tr><th>id</th><th>statement</th><th>verdict</th><th>residual</th><th>time</th></tr>"
        body.append(f"<h2>{say(heading)}</h2><table><thead>{head}</thead><tbody>{rows}</tbody></table>")
    body.extend(_article(verdict, drawn.get(verdict.claim.id)) for verdict in ledger.verdicts)
    return page(TITLE, "".join(body), style=STYLE)


def _marked(text: str) -> str:
    """Text with its indices and powers raised and lowered: x_j, ε_A, e^{−τ}, 1_[0,s], θ*_{-j}."""
    text = html.escape(text)
    for sign, tag in (("_", "sub"), ("\\^", "sup")):
        text = re.sub(sign + r"\{([^{}]*)\}", rf"<{tag}>\1</{tag}>", text)
        text = re.sub(sign + r"(\[[^\]]*\])", rf"<{tag}>\1</{tag}>", text)
        text = re.sub(sign + r"(lin|damp|Nt|D2D|∞|\w)", rf"<{tag}>\1</{tag}>", text)  # x_ix_i: one letter each
    return text


def _badge(verdict: Verdict) -> str:
    surprise = "" if verdict.as_expected else " surprise"
    told = "" if verdict.as_expected else f" (expected: {verdict.claim.expected.value})"
    return f'<span class="verdict{surprise}">{MARKS[verdict.kind]} {html.escape(verdict.kind.value + told)}</span>'


def _article(verdict: Verdict, svg: str | None) -> str:
    say, claim = html.escape, verdict.claim
    parts = [
        f'<article id="{say(claim.id)}"><h3>{say(claim.id)} {_badge(verdict)}</h3>',
        f"<p>{_marked(claim.statement)} <small>{say(claim.source)}</small></p>",
        f"<blockquote>“{_marked(claim.quotation)}”</blockquote>" if claim.quotation else "",
        f'<p>As written:</p><p class="formula">{_marked(claim.as_written)}</p>',
    ]
    if claim.corrected:
        parts.append(f'<p>What is right:</p><p class="formula">{_marked(claim.corrected)}</p>')
    rows = "".join(
        f'<tr><td>{name}</td><td class="number">{number(part.residual)}</td>'
        f'<td class="number">{number(part.tolerance)}</td><td class="number">{part.instances}</td>'
        f"<td>{say(part.where)}</td><td>{say(part.reason)}</td></tr>"
        for name, part in verdict.evidence.parts()
    )
    if rows:
        head = "<tr><th></th><th>residual</th><th>allowed</th><th>instances</th><th>worst at</th><th>what</th></tr>"
        parts.append(f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>")
    if verdict.evidence.counterexample:
        rows = "".join(
            f"<tr><td>{_marked(str(key))}</td><td><code>{say(_plain_text(value))}</code></td></tr>"
            for key, value in verdict.evidence.counterexample.items()
        )
        parts.append(f"<p>Counterexample:</p><table><tbody>{rows}</tbody></table>")
    if verdict.evidence.remarks:
        parts.append(f"<ul>{''.join(f'<li>{_marked(remark)}</li>' for remark in verdict.evidence.remarks)}</ul>")
    if svg is not None:
        caption = say(FIGURES[claim.id].caption)
        parts.append(f"<figure>{_inline(svg, claim.id)}<figcaption>{caption}</figcaption></figure>")
    return "".join([*parts, "</article>"])


def _inline(svg: str, name: str) -> str:
    """The SVG, its ids made unique in a page of several figures."""
    element = re.sub(r'\bid="', f'id="{name}-', svg)
    element = re.sub(r'href="#', f'href="#{name}-', element)
    return re.sub(r"url\(#", f"url(#{name}-", element)


def _plain_text(value: Any) -> str:
    value = plain(value)
    return f"{value:.12g}" if isinstance(value, float) else str(value)


# ---- Markdown -------------------------------------------------------------------------------------------------------


def _markdown(ledger: Ledger, drawn: dict[str, str]) -> str:
    lines = ["# The claims ledger", "", ledger.sentence(), "", INTRODUCTION, "", _about(ledger), ""]
    for heading, verdicts in _sections(ledger):
        lines += [f"## {heading}", "", "| id | statement | verdict | residual | time |", "|---|---|---|---|---|"]
        lines += [
            _row(v.claim.id, v.claim.statement, _told(v), number(v.residual), f"{v.seconds:.1f} s") for v in verdicts
        ]
        lines.append("")
        for verdict in verdicts:
            lines += _entry(verdict, verdict.claim.id in drawn)
    return "\n".join(lines)


def _told(verdict: Verdict) -> str:
    expected = "" if verdict.as_expected else f" (expected: {verdict.claim.expected.value})"
    return f"{MARKS[verdict.kind]} {verdict.kind.value}{expected}"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _entry(verdict: Verdict, figure: bool) -> list[str]:
    claim = verdict.claim
    lines = [f"### {claim.id}: {_told(verdict)}", "", f"{claim.statement} ({claim.source})", ""]
    if claim.quotation:
        lines += [f"> {claim.quotation}", ""]
    lines += ["As written:", "", f"    {claim.as_written}", ""]
    if claim.corrected:
        lines += ["What is right:", "", f"    {claim.corrected}", ""]
    for name, part in verdict.evidence.parts():
        measured = f"residual {number(part.residual)}, allowed {number(part.tolerance)}, {part.instances} instances"
        lines.append(f"- {name}: {measured}, worst at {part.where}. ({part.reason})")
    lines += [f"- {remark}" for remark in verdict.evidence.remarks]
    if verdict.evidence.counterexample:
        lines += ["", "Counterexample:", ""]
        lines += [f"    {key} = {_plain_text(value)}" for key, value in verdict.evidence.counterexample.items()]
    if figure:
        lines += ["", f"![{FIGURES[claim.id].caption}]({claim.id}.svg)"]
    return [*lines, ""]
