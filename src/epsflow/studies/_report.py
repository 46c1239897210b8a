"""A store and its summary as a page: one HTML file that needs nothing else, and its figures alone."""

import html
import json
import shlex
import tempfile
from pathlib import Path
from typing import Any

from .. import plots
from .._core import InputError
from ._specification import Specification
from ._store import Store
from ._summary import Summary
from .tasks import Drawing

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


def write_report(store: Store, summary: Summary, folder: Path, *, overwrite: bool) -> tuple[Path, ...]:
    """The page and its figures.

    Args:
        store: whose.
        summary: of it.
        folder: where to; made if there is none.
        overwrite: whether files may be replaced that are not of an earlier report on the same study.

    Returns:
        The files written, the page first.

    Raises:
        InputError: the folder cannot be written to, or has such files.
    """
    page = folder / PAGE
    figures = [(folder / f"{d.name}.pdf", folder / f"{d.name}.png") for d in summary.drawings]
    if not (overwrite or _is_ours(page, store.specification)):
        taken = [str(path) for path in (page, *sum(figures, ())) if path.exists()]
        if taken:
            raise InputError(
                f"{', '.join(taken)} exist(s), and not from an earlier report on this study; name another folder, or "
                "overwrite with --overwrite (overwrite=True)."
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {folder}: {error.strerror}.") from error
    written, pictures = [], []
    for drawing, paths in zip(summary.drawings, figures, strict=True):
        axes = _draw(drawing)
        pictures.append((_svg(axes), drawing.caption))
        written += plots.save(axes, *paths)
    temporary = folder / f".{PAGE}.part"
    try:
        temporary.write_text(_page(store, summary, pictures), encoding="utf-8")
        temporary.replace(page)
    except OSError as error:
        raise InputError(f"cannot write {page}: {error.strerror}.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return (page, *written)


def _generator(specification: Specification) -> str:
    """What tells a report on one study from other files, and from reports on others."""
    return f'<meta name="generator" content="epsflow study {specification.digest}">'


def _is_ours(page: Path, specification: Specification) -> bool:
    try:
        return _generator(specification) in page.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def _draw(drawing: Drawing) -> Any:
    return getattr(plots, drawing.kind)(**drawing.arguments)


def _svg(axes: Any) -> str:
    """The picture as markup, without the declaration that only a file of its own needs."""
    with tempfile.TemporaryDirectory() as folder:
        (path,) = plots.save(axes, Path(folder) / "figure.svg")
        text = path.read_text(encoding="utf-8")
    return text[text.index("<svg") :]


def _page(store: Store, summary: Summary, pictures: list[tuple[str, str]]) -> str:
    specification, counts = store.specification, store.counts()
    name, total = html.escape(specification.name), specification.rows
    made, added = store.created, store.provenances()
    pending = total - counts["done"] - counts["failed"]
    state = f"{counts['done']} of {total} runs done, {counts['failed']} failed, {pending} pending"
    figures = "".join(
        f"<figure>{svg}<figcaption>Figure {k}. {html.escape(caption)}</figcaption></figure>"
        for k, (svg, caption) in enumerate(pictures, 1)
    )
    answer = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in summary.answer)
    versions = ", ".join(f"{key} {value}" for key, value in made.items() if key not in ("platform", "time", "results"))
    machines = sorted({entry["platform"] for entry in added})
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{name}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">{_generator(specification)}'
        f"<style>{STYLE}</style></head><body>"
        f'<h1>{name}</h1><p class="note">{state}.</p><div class="answer">{answer}</div>'
        f"<h2>Figures</h2>{figures}<h2>Tables</h2>{''.join(table._repr_html_() for table in summary.tables)}"
        f"<h2>Specification</h2><pre>{html.escape(_listed(specification))}</pre>"
        f"<h2>How to reproduce</h2><pre>{html.escape(_commands(store))}</pre>"
        f'<h2>Provenance</h2><p class="note">{html.escape(versions)}. Begun {html.escape(made["time"])}, '
        f"{len(added)} session(s) on {html.escape('; '.join(machines))}; {store.seconds():.0f} s of computing. "
        f"Specification SHA-256 {specification.digest}.</p></body></html>\n"
    )


def _listed(specification: Specification) -> str:
    """One field to a line."""
    return "\n".join(
        f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in specification.fields().items()
    )


def _commands(store: Store) -> str:
    """The specification as Python, so that nothing but this page is needed."""
    fields, name = json.dumps(json.loads(store.specification.to_json()), ensure_ascii=False), store.path.name
    quoted = shlex.quote(name)
    return (
        "# in Python\nimport json\nimport epsflow as ef\n"
        f"study = ef.Study(**json.loads({fields!r}), store={name!r})\n"
        f"study.run()\n\n# or go on from the store\nepsflow study resume {quoted}\nepsflow study report {quoted}\n"
    )
