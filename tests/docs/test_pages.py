"""Every block of Python on the site runs, page by page, in the order in which a reader meets them."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
WRITTEN = {"_build", "_gallery", "gallery"}
"""Folders that building the site writes."""
PAGES = [
    page
    for page in sorted(DOCS.rglob("*.md"))
    if not WRITTEN & set(page.relative_to(DOCS).parts) and BLOCK.search(page.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).with_suffix("").as_posix())
def test_its_python_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    names = {"__name__": "page"}
    for block in BLOCK.finditer(text):
        before = text.count("\n", 0, block.start()) + 1  # so that a traceback names the line of the page
        exec(compile("\n" * before + block.group(1), str(page), "exec"), names)
    plt.close("all")
    assert len(names) > 2  # beside __name__ and __builtins__: what the blocks made
