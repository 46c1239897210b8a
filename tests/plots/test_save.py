"""Files: three formats, whole or not at all, the same figure the same bytes."""

from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from matplotlib.axes import Axes

from epsflow import plots

BEGINNINGS = {"pdf": b"%PDF", "svg": b"<?xml", "png": b"\x89PNG"}


@pytest.fixture
def ax() -> Axes:
    (drawn,) = plots.panels()
    drawn.plot([0.0, 1.0], [0.0, 1.0])
    return drawn


def test_the_ending_chooses_the_format(ax: Axes, tmp_path: Path):
    paths = [tmp_path / f"line.{kind}" for kind in BEGINNINGS]
    assert plots.save(ax, *paths) == tuple(paths)
    for path, beginning in zip(paths, BEGINNINGS.values(), strict=True):
        assert path.read_bytes().startswith(beginning)
    assert sorted(tmp_path.iterdir()) == sorted(paths)  # no temporary file stays


@pytest.mark.parametrize("kind", BEGINNINGS)
def test_the_same_figure_is_the_same_file(ax: Axes, tmp_path: Path, kind: str):
    first, second = plots.save(ax.figure, tmp_path / f"a.{kind}", str(tmp_path / f"b.{kind}"))
    assert first.read_bytes() == second.read_bytes()


def test_an_existing_file_survives_a_failure(ax: Axes, tmp_path: Path):
    path = tmp_path / "line.png"
    path.write_bytes(b"old")
    ax.set_title("$\\undefined{$")  # cannot be drawn
    with pytest.raises(ValueError, match="undefined"):
        plots.save(ax, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_refusals(ax: Axes, tmp_path: Path):
    with pytest.raises(ValueError, match=r"must end in \.pdf, \.svg"):
        plots.save(ax, tmp_path / "line.gif")
    with pytest.raises(ValueError, match="at least one file name"):
        plots.save(ax)
    with pytest.raises(ValueError, match=r"No such file or directory\. Name a folder that exists"):
        plots.save(ax, tmp_path / "nowhere" / "line.pdf")
    assert list(tmp_path.iterdir()) == []


def test_a_figure_for_a_file_opens_no_window(ax: Axes):
    assert plt.get_fignums() == []
    with pytest.raises(ValueError, match="one, two or four panels"):
        plots.panels(3)


def test_axes_of_a_subfigure_are_saved_with_the_whole(tmp_path: Path):
    figure = plt.figure()
    part = figure.subfigures(1, 2)[0].subplots()
    (path,) = plots.save(part, tmp_path / "part.png")
    assert path.read_bytes()[:4] == BEGINNINGS["png"]


def test_removed_axes_are_refused(ax: Axes, tmp_path: Path):
    ax.remove()
    with pytest.raises(ValueError, match="removed from their figure"):
        plots.save(ax, tmp_path / "line.pdf")
