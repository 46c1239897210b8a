"""A store and its summary as a page: one HTML file that needs nothing else, and its figures alone."""

import html
import json
import shlex
from pathlib import Path
from typing import Any

from .. import plots
from .._core import InputError, page as whole
from ._specification import Specification
from ._store import Store
from ._summary import Summary
from .tasks import Drawing

PAGE = "report.html"

STYLE = """
th, td { white-space: nowrap; } th { border-bottom-width: 2px; vertical-align: bottom; white-space: normal; }
tr.all td { font-weight: 600; }
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
        raise InputError(f"cannot make the folder {folder}: {error.strerror or error}.") from error
    written, pictures = [], []
    for drawing, paths in zip(summary.drawings, figures, strict=True):
        axes = _draw(drawing)
        pictures.append((plots.to_svg(axes), drawing.caption))
        written += plots.save(axes, *paths)
    temporary = folder / f".{PAGE}.part"
    try:
        temporary.write_text(_page(store, summary, pictures), encoding="utf-8")
        temporary.replace(page)
    except OSError as error:
        raise InputError(f"cannot write {page}: {error.strerror or error}.") from error
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
    body = (
        f'<h1>{name}</h1><p class="note">{state}.</p><div class="answer">{answer}</div>'
        f"<h2>Figures</h2>{figures}<h2>Tables</h2>{''.join(table._repr_html_() for table in summary.tables)}"
        f"<h2>Specification</h2><pre>{html.escape(_listed(specification))}</pre>"
        f"<h2>How to reproduce</h2><pre>{html.escape(_commands(store))}</pre>"
        f'<h2>Provenance</h2><p class="note">{html.escape(versions)}. Begun {html.escape(made["time"])}, '
        f"{len(added)} session(s) on {html.escape('; '.join(machines))}; {store.seconds():.0f} s of computing. "
        f"Specification SHA-256 {specification.digest}.</p>"
    )
    return whole(specification.name, body, style=STYLE, head=_generator(specification))


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
