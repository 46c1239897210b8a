"""Figures of studies: what is drawn is what was given."""

import numpy as np

from epsflow import plots

FOUND = {
    "optimum": {"digits": (0.8, 0.7, 0.9), "wine": (0.5, 0.4, 0.6)},
    "R2D": {"digits": (1.0, 1.0, 1.0), "wine": (np.nan, np.nan, np.nan)},
}


def test_groups_stand_one_below_the_other_and_series_within_them():
    axes = plots.grouped_intervals(FOUND, "distance")
    assert [text.get_text() for text in axes.get_yticklabels()] == ["digits", "wine"]
    marks = {line.get_label(): line for line in axes.get_lines() if line.get_marker() not in ("None", None)}
    assert list(marks["optimum"].get_xdata()) == [0.8, 0.5]
    assert list(marks["R2D"].get_xdata()) == [1.0]  # what is not known is left out
    first, second = marks["optimum"].get_ydata()
    assert -0.5 < first < 0.5 < second < 1.5
    assert len({line.get_marker() for line in marks.values()}) == 2
    bars = [np.asarray(line.get_xdata()).tolist() for line in axes.get_lines() if len(line.get_xdata()) == 2]
    assert [0.7, 0.9] in bars
    assert [0.4, 0.6] in bars
