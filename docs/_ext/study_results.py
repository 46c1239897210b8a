"""Results of studies on the site: tables, sentences and figures from the summaries that are kept in `docs/results`.

A summary is kept by `Path("docs/results/networks-distance.json").write_text(study.summary().to_json())`. Each gives a
page of its own name for `{include}`, and its figures; both are written anew by every build.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

RESULTS = Path(__file__).parents[1] / "results"


def text(kept: Path, figures: list[str]) -> str:
    """What one summary says, as Markdown."""
    from epsflow.studies import Summary

    summary = Summary.from_json(kept.read_text(encoding="utf-8"))
    pictures = zip(summary.drawings, figures, strict=True)
    return "\n\n".join(
        [
            *(f"> {sentence}" for sentence in summary.answer),
            *(f"![{drawing.caption}]({name})\n\n*{drawing.caption}*" for drawing, name in pictures),
            *(table._repr_html_() for table in summary.tables),
            "",
        ]
    )


def draw(kept: Path) -> list[str]:
    """The figures of one summary, beside it; their names."""
    from epsflow import plots
    from epsflow.studies import Summary

    names = []
    for k, drawing in enumerate(Summary.from_json(kept.read_text(encoding="utf-8")).drawings, 1):
        names.append(f"{kept.stem}-{k}.png")
        plots.save(getattr(plots, drawing.kind)(**drawing.arguments), kept.with_name(names[-1]))
    return names


def write_pages(app: "Sphinx") -> None:
    """Writes what differs from what is there."""
    for kept in sorted(RESULTS.glob("*.json")):
        page = kept.with_suffix(".md")
        words = text(kept, draw(kept))
        if not page.exists() or page.read_text(encoding="utf-8") != words:
            page.write_text(words, encoding="utf-8")


def setup(app: "Sphinx") -> dict[str, bool]:
    """Joins the build."""
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
