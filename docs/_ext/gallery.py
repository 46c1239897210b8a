"""The gallery: the scripts of `examples/`, each run as a user would run it, with what it prints and draws.

sphinx-gallery wants a title in each script's docstring and collects open figures; our scripts begin with a sentence and
write files. So the scripts are copied with a title made of that sentence, and a picture is what a script has written.
"""

import ast
import shutil
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx_gallery.scrapers import figure_rst

DOCS = Path(__file__).parents[1]
EXAMPLES, COPIES, PAGES = DOCS.parent / "examples", DOCS / "_gallery", DOCS / "gallery"

INTRODUCTION = """Gallery
=======

The scripts of ``examples/``, with what they print and draw. Each can be run as it stands.
"""


def titled(script: Path) -> str:
    """The script with a docstring that begins with a title: its first sentence up to a colon or full stop."""
    source = script.read_text(encoding="utf-8")
    said = ast.get_docstring(ast.parse(source)) or f"{script.stem.replace('_', ' ').capitalize()}: README's ten lines."
    code = source if ast.get_docstring(ast.parse(source)) is None else source.split('"""', 2)[2]
    first = said.split("\n")[0]
    cut = min((first.index(mark) for mark in (": ", ". ", "? ", ".") if mark in first), default=len(first))
    title = first[: cut + 1].rstrip(":.")
    return f'r"""{title}\n{"=" * len(title)}\n\n{said}\n"""\n\n{code.lstrip()}'


def copy_examples(app: Sphinx, config: Any) -> None:
    """Writes the copies that the gallery is made of; only what differs is touched, so that a rebuild is quick."""
    COPIES.mkdir(exist_ok=True)
    wanted = {script.name: titled(script) for script in sorted(EXAMPLES.glob("*.py"))} | {
        "GALLERY_HEADER.rst": INTRODUCTION
    }
    for old in COPIES.iterdir():
        if old.suffix in {".py", ".rst"} and old.name not in wanted:
            old.unlink()
    for name, text in wanted.items():
        copy = COPIES / name
        if not copy.exists() or copy.read_text(encoding="utf-8") != text:
            copy.write_text(text, encoding="utf-8")


def written_pictures(block: Any, variables: Any, settings: Any) -> str:
    """Moves the PNG files that a script has written to where the gallery keeps its pictures."""
    pictures = []
    for found in sorted(COPIES.glob("*.png")):
        place = Path(next(variables["image_path_iterator"]))
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(found, place)
        pictures.append(str(place))
    return figure_rst(pictures, settings["src_dir"])


def fresh(settings: Any, name: str) -> None:
    """What one script must not leave to the next: open figures and the files it wrote beside itself."""
    import matplotlib.pyplot as plt

    plt.close("all")
    for left in COPIES.iterdir():
        if left.is_dir() and left.name != "__pycache__":
            shutil.rmtree(left)
        elif left.suffix not in {".py", ".rst", ".md5"}:
            left.unlink(missing_ok=True)


def setup(app: Sphinx) -> dict[str, bool]:
    """Joins the build."""
    app.connect("config-inited", copy_examples, priority=10)  # before sphinx-gallery looks for scripts
    app.config.sphinx_gallery_conf = {
        "examples_dirs": str(COPIES),
        "gallery_dirs": "gallery",
        "filename_pattern": r"\.py$",
        "image_scrapers": ("gallery.written_pictures",),
        "reset_modules": ("gallery.fresh",),
        "reset_modules_order": "both",
        "abort_on_example_error": True,
        "default_thumb_file": str(DOCS / "schedule.png"),  # of scripts that only print
        "remove_config_comments": True,
        "download_all_examples": False,
        "show_memory": False,
        "show_signature": False,
        "min_reported_time": 0,
        "within_subsection_order": "FileNameSortKey",
        "doc_module": ("epsflow",),
        "backreferences_dir": None,
    }
    return {"parallel_read_safe": True, "parallel_write_safe": True}
