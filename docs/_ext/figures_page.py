"""The page of figures: every function of `epsflow.plots` in a column of 3.3 inches, and the figures of every result.

The page shows the source of each figure. The build fails on one with text that is cut off or overlaps, or with lines
that only their colour tells apart.
"""

import inspect
import itertools
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np
from figures import DRAWN, FIGURES, NUMBERS
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox

import epsflow as ef

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DOCS = Path(__file__).parents[1]
PAGE, PICTURES = DOCS / "figures.md", DOCS / "_static" / "figures"
COLUMN = 3.3
"""Width of a journal's column in inches."""
SHADES = 0.15
"""Luminance by which two colours must differ to be two greys."""
SLACK = 1.5
"""Pixels by which the boxes of two texts may touch: they hold a margin around the letters."""


@contextmanager
def drawn_texts() -> Iterator[list[tuple[Text, Bbox]]]:
    """Collects every text with its box as a renderer draws it."""
    found: list[tuple[Text, Bbox]] = []
    draw = Text.draw

    def recording(self: Text, renderer: Any) -> None:
        if self.get_visible() and self.get_text().strip():
            found.append((self, self.get_window_extent(renderer)))
        draw(self, renderer)

    with patch.object(Text, "draw", recording):
        yield found


def cut_off_or_overlapping(figure: Figure) -> list[str]:
    """Texts that leave the figure, and pairs that cover each other; of slanted ones the box says too little."""
    figure.canvas.draw()
    with drawn_texts() as found:
        figure.canvas.draw()
    low, high = figure.bbox.padded(SLACK).get_points()
    said = [f"{text.get_text()!r} is cut off" for text, box in found if (box.min < low).any() or (box.max > high).any()]
    upright = [(text, box) for text, box in found if text.get_rotation() % 90.0 == 0.0]
    for (one, first), (other, second) in itertools.combinations(upright, 2):
        shared = np.minimum(first.max, second.max) - np.maximum(first.min, second.min)
        if shared.min() > SLACK:
            said.append(f"{one.get_text()!r} overlaps {other.get_text()!r}")
    return said


def luminance(color: Any) -> float:
    """Of a colour, as a black-and-white printer sees it."""
    return float(np.dot(to_rgb(color), (0.2126, 0.7152, 0.0722)))


def only_colour(ax: Axes) -> list[str]:
    """Pairs of labelled series that nothing but their colour tells apart."""
    series: list[tuple[str, Any, float]] = []
    for line in ax.lines:
        if not line.get_label().startswith("_"):
            series.append((line.get_label(), look_of(line), luminance(line.get_color())))
    for container in ax.containers:
        if isinstance(container, ErrorbarContainer) and not str(container.get_label()).startswith("_"):
            line = container.lines[0]
            series.append((str(container.get_label()), look_of(line), luminance(line.get_color())))
    said = []
    for (one, first, light), (other, second, dark) in itertools.combinations(series, 2):
        if first == second and abs(light - dark) < SHADES:
            said.append(f"only colour tells {one!r} from {other!r}")
    return said


def look_of(line: Line2D) -> tuple[str, str, float]:
    """Dashes, marker and width of a line."""
    return str(line._dash_pattern), str(line.get_marker()), round(line.get_linewidth(), 1)


def squeezed(figure: Figure) -> list[str]:
    """Panels that their labels leave less than two fifths of the width."""
    return [
        f"a panel takes {ax.get_position().width:.0%} of the width"
        for ax in figure.axes
        if ax.get_label() != "<colorbar>" and ax.get_position().width < 0.4
    ]


def figure_of(result: Any) -> Figure:
    """The figure that a function of `epsflow.plots` has drawn."""
    ax = result[0] if isinstance(result, tuple) else result
    return ax.figure


INTRODUCTION = """# Figures

Every function of {py:mod}`epsflow.plots` takes `ax=` (Axes of yours), returns Axes, and is drawn here in a column of
3.3 inches, as

```python
import numpy as np

import epsflow as ef

with ef.plots.style(width=3.3):
    ax = ef.plots.distributions({"all": np.array([0.5, 1.0, 2.0])}, "best step over best linear decay")
ef.plots.save(ax, "figure.pdf")
```

makes it. Colours are those that everyone can tell apart, and dashes, markers and hatches say the same without them:
each picture stands beside its greyscale. The build checks that no text is cut off or overlaps, and that no two lines
differ in colour alone. For figures of your own the look is a style sheet: `plt.style.use("epsflow.plots.epsflow")`, or
the `with` above.

"""


def public_results() -> dict[str, str]:
    """The room of every public class that shows itself in a line and a summary, but for abstract ones."""
    from epsflow._core import Shown

    rooms = [name for name in ef.__all__ if inspect.ismodule(getattr(ef, name))]
    named = {name: (room, getattr(getattr(ef, room), name)) for room in rooms for name in getattr(ef, room).__all__}
    return {
        name: room
        for name, (room, kind) in named.items()
        if inspect.isclass(kind) and issubclass(kind, Shown) and not inspect.isabstract(kind)
    }


def text() -> str:
    """The page as Markdown."""
    rooms = public_results()
    rows = [f"| {{py:class}}`~epsflow.{rooms[name]}.{name}` | {_links(drawn)} |" for name, drawn in DRAWN.items()]
    parts = [INTRODUCTION, "| result | figures |", "|---|---|", *rows, ""]
    for reason, names in NUMBERS.items():
        listed = ", ".join(f"{{py:class}}`~epsflow.{rooms[name]}.{name}`" for name in names.split())
        parts.append(f"No figure, being {reason}: {listed}.\n")
    for name, function in FIGURES.items():
        source = textwrap.dedent("".join(inspect.getsourcelines(function)[0][1:])).strip()
        pictures = [f'![{name} {kind}](_static/figures/{name}{end}.png){{width="48%"}}' for kind, end in KINDS.items()]
        code = [f":::{{dropdown}} How it is drawn\n```{{code-block}} python\n{source}\n```\n:::\n"]
        parts += [f"({name})=\n## `{name}`\n", " ".join(pictures), "", *code]
    return "\n".join(parts) + "\n"


KINDS = {"in colour": "", "in greyscale": "-grey"}
"""The two pictures of a figure, by the ends of their names."""


def _links(names: tuple[str, ...]) -> str:
    return ", ".join(f"[`{name}`](#{name})" for name in names)


def draw_all(folder: Path) -> None:
    """Every figure as two PNG files.

    Raises:
        ValueError: one has text that is cut off or overlaps, or lines that only their colour tells apart.
    """
    import matplotlib.pyplot as plt
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    found: list[str] = []
    for name in FIGURES:
        figure, wrong = checked_figure(name)
        found += [f"{name}: {words}" for words in wrong]
        (colour,) = ef.plots.save(figure, folder / f"{name}.png")
        plt.close(figure)
        with Image.open(colour) as picture:
            picture.convert("L").save(folder / f"{name}-grey.png")
    if found:
        raise ValueError("figures in a column: " + "; ".join(found))


def checked_figure(name: str) -> tuple[Figure, list[str]]:
    """A figure in a column, and what is wrong with it."""
    with ef.plots.style(width=COLUMN):
        figure = figure_of(FIGURES[name]())
        found = cut_off_or_overlapping(figure) + squeezed(figure)
    return figure, found + [words for ax in figure.axes for words in only_colour(ax)]


def write_page(app: "Sphinx") -> None:
    """Writes the page and the pictures if the page differs from what is there."""
    import jax

    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text():
        jax.config.update("jax_enable_x64", True)  # as every script of the gallery does for itself
        draw_all(PICTURES)
        PAGE.write_text(text(), encoding="utf-8")


def setup(app: "Sphinx") -> dict[str, bool]:
    """Joins the build."""
    app.connect("builder-inited", write_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
