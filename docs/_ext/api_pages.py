"""The reference: a page for each room, written from the names that it exports; one for what no room exports."""

import ast
import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer

ORDER = [
    "problem",
    "schedules",
    "flow",
    "analysis",
    "control",
    "unlearning",
    "attribution",
    "plots",
    "claims",
    "studies",
]
PAGES = Path(__file__).parents[1] / "api"


def rooms() -> dict[str, ModuleType]:
    """The rooms of the installed library, in the order in which data moves through them."""
    import epsflow

    return {name: importlib.import_module(f"epsflow.{name}") for name in ORDER if name in epsflow.__all__}


def comments(room: ModuleType) -> dict[str, str]:
    """What the files of a room say below the data that the room exports."""
    stub = Path(str(room.__file__)).with_name("__init__.pyi").read_text(encoding="utf-8")
    found: dict[str, str] = {}
    for line in ast.parse(stub).body:
        if isinstance(line, ast.ImportFrom) and line.module:
            file = ModuleAnalyzer.for_module(f"{room.__name__}.{line.module}")
            written = file.find_attr_docs()  # by (class, name)
            names = [part.name for part in line.names if ("", part.name) in written]
            found |= {name: "\n".join(written["", name]).strip() for name in names}
    return found


def is_function(value: Any) -> bool:
    """Whether a value is a function, compiled or not; an alias such as dict[str, int] can be called, but is none."""
    return inspect.isroutine(value) or hasattr(value, "__wrapped__")


def directive(name: str, value: Any, comment: str) -> list[str]:
    """The lines that document one name; `comment` is what stands below it in its file, if it is data."""
    if inspect.isclass(value):
        return [f".. autoclass:: {name}", "   :members:", "   :show-inheritance:", ""]
    if is_function(value):
        return [f".. autofunction:: {name}", ""]
    return [f".. py:data:: {name}", "", *(f"   {line}" for line in comment.split("\n")), ""]


def page(name: str, room: ModuleType) -> str:
    """The page of one room: its docstring, a table of its names, and each of them in full."""
    said = comments(room)
    kinds: dict[str, list[str]] = {"Functions": [], "Classes": [], "Data": []}
    for member in room.__all__:
        value = getattr(room, member)
        if inspect.ismodule(value):
            continue
        kind = "Classes" if inspect.isclass(value) else "Functions" if is_function(value) else "Data"
        kinds[kind].append(member)
    lines = [f"epsflow.{name}", "=" * (8 + len(name)), "", f".. automodule:: epsflow.{name}", ""]
    lines += [f".. currentmodule:: epsflow.{name}", ""]
    for kind, members in kinds.items():
        if members:
            lines += [kind, "-" * len(kind), ""]
            if kind != "Data":  # a table would show the docstring of `dict`, say
                lines += [".. autosummary::", "   :nosignatures:", "", *(f"   {member}" for member in members), ""]
            for member in members:
                lines += directive(member, getattr(room, member), said.get(member, ""))
    return "\n".join(lines)


def without_room() -> list[str]:
    """Public names that no room exports: errors, warnings and outcomes."""
    import epsflow

    listed = {member for room in rooms().values() for member in room.__all__}
    return [name for name in epsflow.__all__ if name not in listed and not inspect.ismodule(getattr(epsflow, name))]


def page_of_the_rest() -> str:
    """The page of what no room exports."""
    import epsflow

    lines = ["Errors and outcomes", "=" * 19, "", ".. currentmodule:: epsflow", ""]
    for name in without_room():
        value = getattr(epsflow, name)
        if issubclass(value, Exception):
            value.__module__ = "epsflow"
            lines += [f".. autoexception:: {name}", "   :show-inheritance:", ""]
        else:  # an enumeration of equinox, whose members autodoc does not know
            lines += [f".. autoclass:: {name}", ""]
    return "\n".join(lines)


def write_if_changed(file: Path, text: str) -> None:
    """Leaves a page alone that says what it should, so that Sphinx need not read it again."""
    if not file.exists() or file.read_text(encoding="utf-8") != text:
        file.write_text(text, encoding="utf-8")


def write_pages(app: Sphinx) -> None:
    """Writes the pages, and gives each public object the room it is reached by, so that annotations become links."""
    PAGES.mkdir(exist_ok=True)
    for gone in {page.stem for page in PAGES.glob("*.rst")} - {"index", "outcomes", *rooms()}:
        (PAGES / f"{gone}.rst").unlink()
    for name, room in rooms().items():
        for member in room.__all__:
            value = getattr(room, member)
            if (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__.startswith(
                f"epsflow.{name}."
            ):
                value.__module__ = f"epsflow.{name}"
        write_if_changed(PAGES / f"{name}.rst", page(name, room))
    write_if_changed(PAGES / "outcomes.rst", page_of_the_rest())


MARKED = re.compile(r"(`+[^`]*`+|(?<![\w*])\*\w[^*]*\w\*(?![\w*]))")
"""What a docstring marks on purpose: code between back-ticks, words between asterisks."""


BULLET_OR_MARK = re.compile(r"((?:^|\n) *\* )|([|*])")
"""The beginning of an item of a list, or a mark that is none."""


def plain_marks(app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """|ε| is an absolute value and θ* an optimum here, not reStructuredText's substitution and emphasis."""
    parts = MARKED.split("\n".join(lines))
    parts[::2] = [BULLET_OR_MARK.sub(lambda found: found[1] or f"\\{found[2]}", part) for part in parts[::2]]
    text = re.sub(r"(?<=[\w)]`)(?=[\w(])", r"\\ ", "".join(parts))  # `Claim`s: a plural needs a break in the markup
    lines[:] = text.split("\n")


def plain_types(app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """The same for the types that napoleon has added, such as Float[ndarray, '*points d']."""
    lines[:] = [line.replace("*", r"\*") if line.startswith(":vartype") else line for line in lines]


def setup(app: Sphinx) -> dict[str, bool]:
    """Joins the build."""
    app.connect("builder-inited", write_pages)
    app.connect("autodoc-process-docstring", plain_marks, priority=400)  # before napoleon writes markup of its own
    app.connect("autodoc-process-docstring", plain_types, priority=600)  # after it
    return {"parallel_read_safe": True, "parallel_write_safe": True}
