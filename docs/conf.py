"""The site: `python -m sphinx -W --keep-going -b html docs docs/_build/html`, without a network."""

import importlib.util
import sys
from datetime import date
from importlib.metadata import version as installed
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext")]

project = "epsflow"
author = "The epsflow developers"
release = version = installed("epsflow")
project_copyright = f"{date.today().year}, {author}"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "api_pages",
    "figures_page",
    "gallery",
    "inventories",
    "ledger_page",
    "messages_page",
    "study_results",
]
exclude_patterns = ["_build", "_gallery", "gallery/**.py", "results/*.md"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}

# Markdown
myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4

# Docstrings: one back-tick names an object where there is one, and is code otherwise.
default_role = "py:obj"
suppress_warnings = ["ref.python"]  # a name that several classes have stays code
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
autosummary_generate = False  # a room is one page, not one page a name

# Mathematics is set by the MathJax that a package brings along, so that no page loads anything from elsewhere.
_mathjax = importlib.util.find_spec("sphinx-mathjax-offline")
if _mathjax is None or _mathjax.origin is None:
    raise RuntimeError("the site needs `pip install 'epsflow[docs]'`, for its local copy of MathJax")
mathjax_path = "mathjax/tex-chtml.js"
html_static_path = ["_static", str(Path(_mathjax.origin).parent / "static")]

# Appearance
html_theme = "pydata_sphinx_theme"
html_title = f"epsflow {release}"
html_css_files = ["epsflow.css"]
html_copy_source = False
html_show_sourcelink = False
# Pages without pages below them have nothing to list at the side.
html_sidebars = {
    page.stem: []
    for page in HERE.glob("*.md")
    if not page.stem.startswith(("theory-", "studies", "networks", "unlearning", "attribution"))
} | {page: [] for page in ("figures", "ledger", "messages")}  # which the build writes
html_theme_options = {
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "header_links_before_dropdown": 6,
    "logo": {"text": "epsflow"},
}
