"""What a figure cannot show, or cannot be drawn on, is refused by one clear InputError."""

import dataclasses
import inspect

import jaxtyping
import matplotlib.pyplot as plt
import pytest

from epsflow import InputError, plots
from epsflow.control import Comparison
from epsflow.schedules import LinearDecay


@pytest.fixture(autouse=True)
def untyped(monkeypatch):
    """As a user runs it: the suite checks every annotation, and would be the first to refuse."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.mark.parametrize("ax", [5, "x", [1, 2], []])
def test_what_is_no_axes_is_refused(comparison: Comparison, ax):
    with pytest.raises(InputError, match=r"this figure has 2 panel\(s\), but ax is"):
        plots.schedule(comparison, ax=ax)


def test_a_single_axes_stands_for_one_panel_and_no_other_number(comparison: Comparison):
    own = plt.figure().subplots()
    assert plots.schedule(dataclasses.replace(comparison, optimum=None), ax=own) == (own,)
    with pytest.raises(InputError, match=r"2 panel\(s\), but ax is 1 Axes"):
        plots.schedule(comparison, ax=own)


DRAWN = [
    "animate", "attributions", "audit", "decomposition", "distance", "distributions", "endpoints", "exact_starts",
    "grouped_intervals", "guarantees", "homotopy", "influence", "intervals", "losses", "phase_portrait",
    "plateau_slopes", "plateaus", "point_values", "removal", "response", "rewind", "schedule", "soft_weights",
    "stagewise", "unlearning_curve",
]  # fmt: skip


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("wrong", ["strange", None, 3.5, LinearDecay])
def test_what_a_figure_does_not_show_is_refused(name, wrong):
    function = getattr(plots, name)
    needed = [p.name for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    with pytest.raises(InputError, match="is needed"):
        function(wrong, **dict.fromkeys(needed[1:], "strange"))


def test_bands_and_portraits_name_what_they_need(problem):
    with pytest.raises(InputError, match="quartiles by the name of their group are needed"):
        plots.bands([1.0], "strange", "x", "y")
    with pytest.raises(InputError, match="flows by name are needed"):
        plots.phase_portrait(problem, "strange")


@pytest.mark.parametrize("wrong", ["strange", None, 3.5, [], [1]])
def test_only_figures_are_saved(wrong, tmp_path):
    with pytest.raises(InputError, match="a Matplotlib figure or its Axes are needed"):
        plots.save(wrong, tmp_path / "figure.png")
