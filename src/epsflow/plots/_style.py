"""One look for every figure, applied only while a figure is drawn or written: global settings are left alone."""

import contextlib
import io
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from .._core import InputError, as_scalar, brief, printable

# Okabe & Ito, "Color Universal Design" (2008): told apart by every common kind of colour vision.
BLACK, GREY = "#000000", "#7F7F7F"
BLUE, ORANGE, GREEN, PURPLE, VERMILLION, SKY = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9"

SHEET: Any = mpl.rc_params_from_file(Path(__file__).with_name("epsflow.mplstyle"), use_default_template=False)
"""The style sheet, for figures of one's own."""

SETTINGS: Any = {**SHEET, "axes.prop_cycle": mpl.rcParamsDefault["axes.prop_cycle"]}
"""Matplotlib settings of every figure of the library, which names the look of each of its lines."""

WIDTH = 6.3
"""Width of a figure in inches: the text width of an A4 page."""

_width: ContextVar[float] = ContextVar("width", default=WIDTH)
"""Width of new figures, unless a function asks for less."""

FORMATS = ("pdf", "svg", "png")


class Look(NamedTuple):
    """How one line looks; colour and dashes both differ, so that it also reads in black-and-white print."""

    color: str
    dashes: Any
    width: float = 1.5

    def line(self) -> dict[str, Any]:
        """Keyword arguments of `Axes.plot`."""
        return {"color": self.color, "linestyle": self.dashes, "linewidth": self.width}


OPTIMUM = Look(BLACK, "-", 2.8)
BASELINE = Look(GREY, (0, (1.0, 1.2)), 1.8)
CHECK = Look(GREY, "-", 1.0)
LOOKS = (
    Look(VERMILLION, (0, (5.0, 1.6))),
    Look(BLUE, (0, (6.0, 1.5, 1.2, 1.5))),
    Look(GREEN, (0, (2.6, 1.2))),
    Look(PURPLE, (0, (6.0, 1.5, 1.2, 1.5, 1.2, 1.5))),
    Look(ORANGE, (0, (9.0, 2.0))),
    Look(SKY, (0, (3.5, 1.2, 1.2, 1.2))),
)
"""Looks of the families, in the order of their appearance; they repeat after six."""


MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
"""Markers in the order of the looks: as dashes do, they tell points apart in black-and-white print."""


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """The house settings, for as long as the block lasts."""
    with mpl.rc_context(SETTINGS):
        yield


@contextlib.contextmanager
def style(*, width: float | None = None) -> Iterator[None]:
    """The look of this library for figures of your own, and the width of its figures, for as long as a block lasts.

    Example:
        >>> with ef.plots.style(width=3.3):  # a column of a journal
        ...     ax = ef.plots.distributions({"all": np.array([0.5, 1.0, 2.0])}, "step over linear decay")
        >>> float(ax.figure.get_figwidth())
        3.3

    The settings are those of `epsflow.mplstyle`, which `plt.style.use("epsflow.plots.epsflow")` takes for good: colours
    that everyone can tell apart, each with dashes of its own.

    Args:
        width: of new figures in inches. Default: as it was, 6.3 at first.

    Raises:
        InputError: a width that is no positive number.
    """
    chosen = _width.get() if width is None else as_scalar(width, "width")
    if chosen <= 0.0:
        raise InputError(f"width is {brief(width)}; a positive number of inches is needed.")
    token = _width.set(chosen)
    try:
        with mpl.rc_context({**SHEET, "figure.figsize": (chosen, max(0.6 * chosen, 2.4))}):
            yield
    finally:
        _width.reset(token)


HEIGHTS = {1: 3.2, 2: 4.6, 4: 8.0}
"""Height of a figure in inches, by its number of panels."""


def panels(count: int = 1) -> tuple[Axes, ...]:
    """New Axes, one below the other over one time axis, in a figure without a window: for programs that write files.

    Example:
        >>> weights, distances = ef.plots.panels(2)
        >>> weights.figure.get_size_inches()
        array([6.3, 4.6])

    `save` writes the figure; nothing needs closing. For a figure on screen, leave `ax` of the drawing functions alone.

    Args:
        count: 1 or 2 panels; of two, the upper one is the larger.

    Raises:
        InputError: another number.
    """
    if count not in HEIGHTS:
        raise InputError(f"count is {count}; a figure of this library has one, two or four panels.")
    with styled():
        return stack(unshown_figure(HEIGHTS[count]), count)


def stack(figure: Figure, count: int) -> tuple[Axes, ...]:
    """Panels one below the other that share the horizontal axis."""
    heights = [1.4, 1.0, 1.0, 1.0][:count]
    grid = figure.subplots(count, 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights})
    return tuple(grid[:, 0])


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """A figure of Matplotlib's current backend, which shows it: in a window, or in a notebook."""
    import matplotlib.pyplot as plt  # which chooses a backend: programs that only write files do without

    return plt.figure(figsize=(min(width, _width.get()), height))


def unshown_figure(height: float) -> Figure:
    """A figure without a window, for what is only written to files."""
    return Figure(figsize=(_width.get(), height))


def panel(ax: Axes | None, *, height: float = HEIGHTS[1], width: float = WIDTH) -> Axes:
    """The caller's Axes, or a new one."""
    return stack(new_figure(height, width), 1)[0] if ax is None else given_panels(ax, 1)[0]


def given_panels(ax: object, count: int) -> tuple[Axes, ...]:
    """The caller's Axes, as many as a figure has panels; a single one may stand for itself.

    Raises:
        InputError: another number of them, or something else.
    """
    found = (ax,) if isinstance(ax, Axes) else tuple(ax) if isinstance(ax, Sequence | np.ndarray) else ()
    if len(found) != count or not all(isinstance(each, Axes) for each in found):
        came = f"{len(found)} Axes" if found and all(isinstance(each, Axes) for each in found) else brief(ax)
        raise InputError(
            f"this figure has {count} panel(s), but ax is {came}. Leave ax out for a new figure, or pass {count} Axes: "
            f"ax=epsflow.plots.panels({count})."
        )
    return tuple(each for each in found if isinstance(each, Axes))


def figure_of(ax: Axes) -> Figure | SubFigure:
    """The figure that an Axes belongs to."""
    figure = ax.get_figure()
    if figure is None:
        raise InputError("these Axes have been removed from their figure; draw on Axes that belong to one.")
    return figure


def mark_times(axes: Iterable[Axes], marks: dict[str, float]) -> None:
    """Thin vertical lines at named times, with the names above the first panel."""
    for index, ax in enumerate(axes):
        for name, time in marks.items():
            ax.axvline(time, color=GREY, linewidth=0.8, linestyle=(0, (4.0, 2.0)), zorder=1.0)
            if index == 0:
                where = {"xy": (time, 1.0), "xycoords": ax.get_xaxis_transform(), "xytext": (0.0, 2.0)}
                ax.annotate(f"${name}$", **where, textcoords="offset points", ha="center", va="bottom", color="#555555")


def show_distance(ax: Axes, values: np.ndarray) -> None:
    """A logarithmic axis of distances. Zero (reached exactly) has no logarithm: the line is cut off there.

    Raises:
        InputError: if every distance is zero, so that nothing can be drawn.
    """
    positive = values[values > 0.0]
    if positive.size == 0:
        raise InputError("every distance is exactly zero: there is nothing to draw on a logarithmic axis.")
    ax.set_yscale("log", nonpositive="mask")
    ax.set_ylim(0.7 * positive.min(), 1.4 * positive.max())


def number(value: float, digits: int = 4) -> str:
    """A number in mathtext, without the dollar signs, for instance 3.34 × 10⁻⁴."""
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    power = int(exponent)
    return f"{value:.{digits}g}" if -3 < power < 4 else f"{mantissa}\\times 10^{{{power}}}"


def verbatim(name: str) -> str:
    """A name from a file as the text of a figure: on one line, and no mathtext whatever it holds."""
    return printable(name).replace("$", r"\$")


def handle(look: Look, label: str) -> Line2D:
    """A legend entry."""
    return Line2D([], [], label=label, **look.line())


def save(figure: Figure | SubFigure | Axes | Sequence[Axes] | np.ndarray, *paths: str | Path) -> tuple[Path, ...]:
    """Write a figure as PDF or SVG (vector) or PNG, by the names' endings; whole or not at all.

    Example:
        >>> ax = ef.plots.distributions({"all": np.array([0.5, 1.0, 2.0])}, "step over linear decay")
        >>> [path.name for path in ef.plots.save(ax, "shares.pdf", "shares.png")]
        ['shares.pdf', 'shares.png']

    Each file is written beside its place under another name and then moved there. The same figure gives the same
    bytes: no date is stored.

    Args:
        figure: a Matplotlib figure, or Axes of it, as the functions of this room return them.
        *paths: one file name or several, in existing folders; existing files are replaced.

    Returns:
        The paths written.

    Raises:
        InputError: no path, an ending other than pdf, svg or png, or a folder that cannot be written to.
    """
    whole = _whole_figure(figure)
    targets = tuple(Path(path) for path in paths)
    if not targets:
        raise InputError('save needs at least one file name, for instance save(figure, "schedule.pdf").')
    for path in targets:
        if path.suffix[1:].lower() not in FORMATS:
            raise InputError(f"cannot write {path}: the name must end in .pdf, .svg (vector graphics) or .png.")
    with styled():
        for path in targets:
            _write(whole, path)
    return targets


def _whole_figure(figure: Figure | SubFigure | Axes | Sequence[Axes] | np.ndarray) -> Figure:
    part: Any = figure if isinstance(figure, Figure | SubFigure | Axes) else None
    if part is None and isinstance(figure, Sequence | np.ndarray) and len(figure):
        part = figure[0]
    if not isinstance(part, Figure | SubFigure | Axes):
        raise InputError(f"figure is {brief(figure)}; a Matplotlib figure or its Axes are needed.")
    owner = figure_of(part) if isinstance(part, Axes) else part
    return owner if isinstance(owner, Figure) else owner.figure.figure


def _write(figure: Figure, path: Path) -> None:
    kind = path.suffix[1:].lower()
    undated: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}
    temporary = path.with_name(f".{path.stem}-{secrets.token_hex(4)}{path.suffix}")
    drawn = io.BytesIO()  # in memory first: a full disk would break Matplotlib's writers with errors of their own
    figure.savefig(drawn, format=kind, metadata=undated[kind])
    try:
        temporary.write_bytes(drawn.getvalue())
        temporary.replace(path)
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror or error}. Name a folder that exists and can be written to."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def to_svg(axes: Any) -> str:
    """The figure of some axes as markup, to stand in a page.

    Example:
        >>> ax = ef.plots.distributions({"all": np.array([0.5, 1.0, 2.0])}, "step over linear decay")
        >>> ef.plots.to_svg(ax)[:4]
        '<svg'
    """
    drawn = io.StringIO()
    with styled():
        _whole_figure(axes).savefig(drawn, format="svg", metadata={"Date": None})
    text = drawn.getvalue()
    # Without the declaration, which only a file of its own needs.
    return re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
