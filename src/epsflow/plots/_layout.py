"""Legends and labels that fit: in a narrow panel they take more lines, and a figure of our own grows with them."""

import re
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.text import Text

from ._style import figure_of

OVERHANG = 1.1
"""How much longer than its axis a label may be; beside the panel there are the numbers of the other axis."""

MARGIN = 0.4
"""Inches that a panel may lose to the labels of its vertical axis when the figure is laid out."""

SMALLEST = 6.5
"""Points of the smallest letters."""

LEGEND = 0.45
"""Height in inches of a legend for which a figure has room as it is."""

MOST_WORDS = 0.45
"""Share of a panel's width that words beside it may take; more are written into it."""


def legend_above(
    ax: Axes, handles: Sequence[Any] | None = None, *, columns: int = 3, gap: float = 1.6, **options: Any
) -> None:
    """A legend above the panel and the names of marked times, where it covers no data.

    Args:
        ax: the panel.
        handles: its entries. Default: all that have a label.
        columns: most of them side by side; fewer where the panel is too narrow.
        gap: to the panel, in lines.
        **options: more of `Axes.legend`.
    """
    shown = ax.get_legend_handles_labels()[0] if handles is None else list(handles)
    if not shown:
        return
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "borderaxespad": gap}
    room = ax.get_window_extent().width - MARGIN * figure_of(ax).figure.dpi
    for count in range(min(columns, len(shown)), 0, -1):
        legend = ax.legend(handles=shown, ncols=count, columnspacing=1.4, **place, **options)
        if legend.get_window_extent().width <= room:
            return
    ax.legend(handles=shown, **place, **{"handlelength": 2.2, "fontsize": 7.0, **options})


def fit_labels(ax: Axes) -> None:
    """Breaks a title, or an axis's label, that is longer than the panel: in a narrow figure it would be cut off."""
    box = ax.get_window_extent()
    titles = [text for text in ax.get_children() if isinstance(text, Text) and text.get_text() == ax.get_title("left")]
    for text, room, upright in (
        (ax.xaxis.label, box.width, False),
        (ax.yaxis.label, box.height, True),
        *((title, box.width, False) for title in titles),
    ):
        extent = text.get_window_extent()
        length = extent.height if upright else extent.width
        if text.get_text() and length > OVERHANG * room:
            lines = text.get_text().count("\n") + 1
            if upright and lines > 1:  # a third line would take more of the width than smaller letters do
                text.set_fontsize(max(SMALLEST, float(text.get_fontsize()) * room / length))
                continue
            most = OVERHANG * room / length * max(map(len, text.get_text().split("\n")))
            text.set_text("\n".join(_wrapped(text.get_text().replace("\n", " "), most, lines + 1)))


def _wrapped(words: str, most: float, least: int) -> list[str]:
    """Lines of at most so many letters, at least so many lines where there are blanks; mathtext stays whole.

    A dollar sign after a backslash is one that is shown, and begins no mathtext.
    """
    parts = re.findall(r"(?:\\\$|\$(?:\\.|[^$\\])*\$|[^\s$])+", words)
    most = min(most, 1.15 * len(words) / least)
    lines = [""]
    for part in parts:
        if lines[-1] and len(lines[-1]) + 1 + len(part) > most:
            lines.append(part)
        else:
            lines[-1] = f"{lines[-1]} {part}".strip()
    return lines


def name_rows(ax: Axes, places: Sequence[float], names: Sequence[str], beside: Sequence[str], what: str) -> None:
    """Names of rows at the left of the panel, and words about them at the right.

    Where both would leave too little of the panel, they are written into it, above the middle of each row, and the
    label of the horizontal axis says what the words are. It has to be there already.

    Args:
        ax: the panel, whose vertical axis is in rows.
        places: of the rows.
        names, beside: at the left and right of each.
        what: the words are, for a heading.
    """
    across = ax.get_yaxis_transform()
    words = [
        ax.text(1.02, y, text, transform=across, va="center", fontsize=8.0)
        for y, text in zip(places, beside, strict=True)
    ]
    ax.set_yticks(places, list(names))
    ax.tick_params(axis="y", length=0)
    outside = [max(text.get_window_extent().width for text in part) for part in (words, ax.get_yticklabels())]
    if sum(outside) <= MOST_WORDS * ax.get_window_extent().width:
        style: dict[str, Any] = {"transform": across, "color": "#555555", "fontsize": 8.0, "va": "bottom"}
        ax.text(1.02, max(places) + 0.65, what, **style)
        return
    ax.set_yticks(places, [""] * len(names))
    for y, name, text in zip(places, names, words, strict=True):
        ax.text(0.0, y + 0.25, name, transform=across, va="bottom", fontsize=7.0)
        text.set(position=(1.0, y + 0.25), ha="right", va="bottom", fontsize=7.0)
    ax.set_xlabel(f"{ax.get_xlabel()}; at the right: {what}")


def make_room(ax: Axes) -> None:
    """Lets a new figure grow by what a legend of more than two lines takes."""
    legend, figure = ax.get_legend(), figure_of(ax).figure
    if legend is not None:
        more = legend.get_window_extent().height / figure.dpi - LEGEND
        if more > 0.0:
            figure.figure.set_figheight(figure.figure.get_figheight() + more)
