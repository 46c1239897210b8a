"""A study as a page: one HTML file that needs nothing else, and its figures alone."""

import html
import json
import shlex
import tempfile
from pathlib import Path
from typing import Any

from .. import plots
from .._core import InputError
from ._specification import Specification
from ._store import open_store
from ._study import Study
from ._summary import Drawing, Summary, Table

PAGE = "report.html"

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: 74rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; } h2 { font-size: 1.25rem; margin-top: 2.2rem; }
h3 { font-size: 1.02rem; }
.answer { border-left: 4px solid #0072B2; padding: .2rem 1rem; background: #f4f8fb; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .55rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
th { border-bottom: 2px solid #1a1a1a; vertical-align: bottom; white-space: normal; }
tr.all td { font-weight: 600; }
figure { margin: 1rem 0; } figure svg { max-width: 100%; height: auto; }
figcaption, .note { font-size: .85rem; color: #444; }
pre { background: #f6f6f6; padding: .8rem; overflow-x: auto; font-size: .8rem; }
@media print { body { margin: 0; max-width: none; } h2 { break-after: avoid; } figure { break-inside: avoid; } }
"""


def write_report(study: Study, folder: Path) -> tuple[Path, ...]:
    """`Study.report`."""
    summary = study.summary()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {folder}: {error.strerror}.") from error
    written, pictures = [], []
    for drawing in summary.drawings:
        axes = _draw(drawing)
        pictures.append((_svg(axes), drawing.caption))
        written += plots.save(axes, folder / f"{drawing.name}.pdf", folder / f"{drawing.name}.png")
    page = folder / PAGE
    temporary = folder / f".{PAGE}.part"
    try:
        temporary.write_text(_page(study, summary, pictures), encoding="utf-8")
        temporary.replace(page)
    except OSError as error:
        raise InputError(f"cannot write {page}: {error.strerror}.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return (page, *written)


def _draw(drawing: Drawing) -> Any:
    return getattr(plots, drawing.kind)(**drawing.arguments)


def _svg(axes: Any) -> str:
    """The picture as markup, without the declaration that only a file of its own needs."""
    with tempfile.TemporaryDirectory() as folder:
        (path,) = plots.save(axes, Path(folder) / "figure.svg")
        text = path.read_text(encoding="utf-8")
    return text[text.index("<svg") :]


def _page(study: Study, summary: Summary, pictures: list[tuple[str, str]]) -> str:
    name = html.escape(study.specification.name)
    status = study.status()
    with open_store(study.store) as store:
        made, added, seconds = store.created, store.provenances(), store.seconds()
    counts = f"{status['done']} of {status['total']} runs done, {status['failed']} failed, {status['pending']} pending"
    figures = "".join(
        f"<figure>{svg}<figcaption>Figure {k}. {html.escape(caption)}</figcaption></figure>"
        for k, (svg, caption) in enumerate(pictures, 1)
    )
    answer = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in summary.answer)
    versions = ", ".join(f"{key} {value}" for key, value in made.items() if key not in ("platform", "time", "results"))
    machines = sorted({entry["platform"] for entry in added})
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{name}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head><body>'
        f'<h1>{name}</h1><p class="note">{counts}.</p><div class="answer">{answer}</div>'
        f"<h2>Figures</h2>{figures}<h2>Tables</h2>{''.join(map(_table, summary.tables))}"
        f"<h2>Specification</h2><pre>{html.escape(_listed(study.specification))}</pre>"
        f"<h2>How to reproduce</h2><pre>{html.escape(_commands(study))}</pre>"
        f'<h2>Provenance</h2><p class="note">{html.escape(versions)}. Begun {html.escape(made["time"])}, '
        f"{len(added)} session(s) on {html.escape('; '.join(machines))}; {seconds:.0f} s of computing. Specification "
        f"SHA-256 {study.specification.digest}.</p></body></html>\n"
    )


def _table(table: Table) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in table.columns)
    body = "".join(
        f"<tr{' class=all' if row[0] == 'all' else ''}>"
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row)
        + "</tr>"
        for row in table.rows
    )
    note = f'<p class="note">{html.escape(table.note)}</p>' if table.note else ""
    return (
        f"<h3>{html.escape(table.title)}</h3>"
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{note}'
    )


def _listed(specification: Specification) -> str:
    """One field to a line."""
    return "\n".join(
        f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in specification.fields().items()
    )


def _commands(study: Study) -> str:
    """The specification as Python, so that nothing but this page is needed."""
    fields = json.dumps(json.loads(study.specification.to_json()), ensure_ascii=False)
    store = shlex.quote(study.store.name)
    return (
        "# in Python\nimport json\nimport epsflow as ef\n"
        f"study = ef.Study(**json.loads({fields!r}), store={study.store.name!r})\n"
        f"study.run()\n\n# or go on from the store\nepsflow study resume {store}\nepsflow study report {store}\n"
    )
