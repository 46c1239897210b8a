"""The map of exact starts shows what was computed, with the target, the residual's line and the last arc."""

import numpy as np
import pytest

from epsflow import plots
from epsflow.control import exact_starts
from epsflow.plots._starts import _triangles
from epsflow.problem import Dataset, Problem, linear_regression


def test_the_map_shows_its_numbers(problem: Problem):
    starts = exact_starts(problem, longest=1.5, grid=9)
    ax = plots.exact_starts(problem, starts, theta0=[0.0, 0.0])
    (mesh,) = ax.collections
    np.testing.assert_array_equal(np.asarray(mesh.get_array()).ravel(), starts.times.ravel())
    lines = {line.get_label(): np.column_stack(line.get_data()) for line in ax.lines}
    np.testing.assert_array_equal(lines[r"target $\theta^*_{-D}$"][0], starts.target)
    np.testing.assert_array_equal(lines["your start"], [[0.0, 0.0]])
    np.testing.assert_allclose(lines["$e = 0$: the deleted point is fitted"] @ [1.0, -0.8], 1.5, rtol=1e-12)
    # The last arc ends in the target.
    np.testing.assert_allclose(lines[r"last arc, under $\varepsilon_{\max}$"][0], starts.target, atol=1e-12)
    shown = {text.get_text() for text in ax.get_legend().get_texts()}
    assert shown == set(lines)
    assert "coefficient of x0" in ax.get_xlabel()


def test_a_sheet_for_each_last_level_and_the_quickest_on_top(problem: Problem):
    starts = exact_starts(problem, longest=1.0, bounds=(-0.5, 1.0), grid=5)
    ax = plots.exact_starts(problem, starts)
    shown = {text.get_text() for text in ax.get_legend().get_texts()}
    assert {r"last arc, under $\varepsilon_{\max}$", r"last arc, under $\varepsilon_{\min}$"} <= shown
    times = np.broadcast_to(starts.times, (2, 5, 5)).ravel()
    cells = _triangles(starts).reshape(-1, 6)
    assert len(cells) == 2 * 4 * 4
    assert (np.diff(times[cells].min(axis=1)) <= 0.0).all()


def test_other_dimensions_are_refused(problem: Problem):
    starts = exact_starts(problem, longest=1.0, grid=3)
    other = linear_regression(Dataset(np.eye(3), np.ones(3)), [0], l2=1.0)
    with pytest.raises(ValueError, match="d = 3"):
        plots.exact_starts(other, starts)
