"""The page of figures leaves out no function, and its figures can be printed in a column.

That it leaves out no result is a test of `test_examples.py`, which loads every room anyhow.
"""

import inspect
import re
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

import epsflow as ef

EXTENSIONS = Path(__file__).parents[2] / "docs" / "_ext"
NOT_FIGURES = {"animate", "panels", "save", "style", "to_svg"}
"""What writes files, or makes room for figures."""


@pytest.fixture(scope="module")
def page():
    sys.path.insert(0, str(EXTENSIONS))
    import figures_page

    sys.path.remove(str(EXTENSIONS))
    return figures_page


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    yield
    plt.close("all")


def test_every_function_is_drawn_and_takes_axes(page):
    functions = set(ef.plots.__all__) - NOT_FIGURES
    source = "".join(inspect.getsource(function) for function in page.FIGURES.values())
    assert set(re.findall(r"ef\.plots\.(\w+)\(", source)) == functions
    for name in functions:
        assert "ax" in inspect.signature(getattr(ef.plots, name)).parameters


@pytest.mark.parametrize("name", ["schedule", "intervals", "decomposition"])
def test_a_column_is_wide_enough(page, name):
    assert page.checked_figure(name)[1] == []


@pytest.mark.slow
def test_a_column_is_wide_enough_for_all(page, tmp_path):
    page.draw_all(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2 * len(page.FIGURES)


def test_what_cannot_be_printed_is_found(page):
    figure, ax = plt.subplots(figsize=(1.0, 1.0))
    ax.plot([0, 1], [0, 1], color="#D55E00", label="one")
    ax.plot([0, 1], [1, 0], color="#009E73", label="other")  # as grey as the first
    ax.text(0.5, 0.5, "a text")
    ax.text(0.5, 0.5, "another")
    ax.set_xlabel("far too long for an inch of paper, whatever the letters")
    found = page.cut_off_or_overlapping(figure)
    assert any("is cut off" in words for words in found)
    assert "'a text' overlaps 'another'" in found
    assert page.only_colour(ax) == ["only colour tells 'one' from 'other'"]
    ax.lines[1].set_linestyle("--")
    assert page.only_colour(ax) == []


def test_the_style_is_one_for_the_library_and_for_figures_of_ones_own():
    before = dict(plt.rcParams)
    with ef.plots.style(width=3.3):
        figure, ax = plt.subplots()
        first, second = ax.plot(np.eye(2), np.eye(2))
        assert figure.get_figwidth() == 3.3
        assert first.get_color() != second.get_color()
        assert first._dash_pattern != second._dash_pattern
        assert ef.plots.panels(1)[0].figure.get_figwidth() == 3.3
    assert dict(plt.rcParams) == before
    assert ef.plots.panels(1)[0].figure.get_figwidth() == 6.3
    with plt.style.context("epsflow.plots.epsflow"):
        assert plt.rcParams["axes.prop_cycle"].by_key()["color"][0] == first.get_color()
    with pytest.raises(ef.InputError, match="a positive number of inches"), ef.plots.style(width=0.0):
        pass
