"""The figure of ε(t) and S(t) shows the library's numbers, and says what they are."""

import dataclasses

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes

from epsflow import InputError, plots
from epsflow.control import Arc, Comparison, optimal_schedule
from epsflow.problem import Problem, linear_regression
from epsflow.schedules import LinearDecay

SWITCH = 0.8147809854393819  # the derivation, section 6


def labels(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def integral(ax: Axes, line: int) -> float:
    """∫ ε dt of a drawn line, by the trapezoidal rule: exact for lines drawn through the points of a polygon."""
    t, eps = ax.lines[line].get_data()
    return float(np.trapezoid(eps, t))


def test_the_optimum_is_drawn_with_its_switch_upright(comparison: Comparison):
    upper, _ = plots.schedule(comparison)
    t, eps = upper.lines[0].get_data()
    np.testing.assert_array_equal(eps, np.asarray(comparison.optimum.schedule(t)))
    # One on [0, switch], zero afterwards: both sides of the jump are drawn, one rounding apart.
    assert integral(upper, 0) == pytest.approx(SWITCH, abs=1e-9)
    assert np.diff(t)[np.flatnonzero(np.diff(eps))].max() < 1e-12


def test_families_are_drawn_from_s_on(comparison: Comparison):
    upper, _ = plots.schedule(comparison)
    baseline, step, linear = upper.lines[1:4]
    assert baseline.get_xdata()[0] == step.get_xdata()[0] == linear.get_xdata()[0] == comparison.task.s
    assert integral(upper, 1) == pytest.approx(0.0, abs=1e-12)  # dropped at s: upright there
    end = comparison.families[1].parameters["t₁"]
    # A triangle of height 1; its apex lies between two of 800 points.
    assert integral(upper, 3) == pytest.approx(0.5 * (end - 0.2), abs=1e-4)


def test_the_switching_function_is_the_solutions_own(comparison: Comparison):
    _, lower = plots.schedule(comparison)
    zero, curve = lower.lines[:2]
    assert list(zero.get_ydata()) == [0.0, 0.0]
    t, values = curve.get_data()
    assert (t[0], t[-1]) == (0.2, 2.0)
    np.testing.assert_array_equal(values, np.asarray(comparison.optimum.switching(t)))
    (named,) = [text.get_text() for text in lower.texts]
    assert named == "$t=0.8148$"


def test_the_conditions_are_those_of_the_extremal(comparison: Comparison):
    _, _, costate, hamiltonian = plots.schedule(comparison, conditions=True)
    extremal = comparison.optimum.extremal
    for index, line in enumerate(costate.lines[1:3]):
        t, values = line.get_data()
        np.testing.assert_array_equal(values, np.asarray(extremal.costate(t))[:, index])
    assert labels(costate) == ["$p_0$", "$p_1$"]
    t, values = hamiltonian.lines[0].get_data()
    assert np.ptp(values) <= 1e-14  # constant along an extremal, at −0.587
    low, high = hamiltonian.get_ylim()
    assert high - low > 0.05  # and drawn as a constant
    with pytest.raises(InputError, match="needs an optimum"):
        plots.schedule(dataclasses.replace(comparison, optimum=None), conditions=True)


def test_with_a_price_switches_are_where_the_switching_function_crosses_it(problem: Problem):
    paused = optimal_schedule(problem, np.zeros(2), s=0.2, T=2.0, bounds=(-1.0, 1.0), price=0.05)
    _, lower, _, hamiltonian = plots.schedule(paused, conditions=True)
    dashed = [tuple(line.get_ydata()) for line in lower.lines if line.get_linestyle() == "--"]
    assert {(-0.05, -0.05), (0.05, 0.05)} <= set(dashed)  # the others are upright, at s and T
    times, levels = np.array([line.get_data() for line in lower.lines if line.get_marker() == "o"])[:, :, 0].T
    # Between two of 800 points S is taken as straight: the square of 1.8/800.
    np.testing.assert_allclose(times, [arc.end for arc in paused.arcs[:-1]], atol=1e-5)
    np.testing.assert_allclose(levels, paused.switching(times), atol=1e-5)
    # 𝓗 alone jumps at every switch; with the price it is constant.
    assert np.ptp(hamiltonian.lines[0].get_ydata()) <= 1e-13


def test_every_schedule_is_named_with_its_cost(comparison: Comparison):
    upper, _ = plots.schedule(comparison, others={"mine": LinearDecay(0.2, 1.0)})
    names = labels(upper)
    assert [name.split(", $")[0] for name in names] == [
        "optimum",
        "baseline $1_{[0,s]}$",
        "step",
        "linear decay",
        "mine",
        "optimum at its upper bound",
    ]
    assert f"{comparison.optimum.cost:.3g}" in names[0]


def test_axes_say_what_they_show(comparison: Comparison):
    upper, lower = plots.schedule(comparison)
    assert "\\varepsilon(t)" in upper.get_ylabel()
    assert "units of $\\theta^2$ / time" in lower.get_ylabel()
    assert lower.get_xlabel() == "flow time $t$"
    assert {text.get_text() for text in upper.texts} == {"$s$", "$T$"}
    assert upper.get_xlim() == lower.get_xlim() == (0.0, pytest.approx(2.06))


def test_the_arc_at_the_upper_bound_is_shaded(comparison: Comparison):
    for panel in plots.schedule(comparison):
        (shade,) = panel.patches
        assert (shade.get_x(), shade.get_x() + shade.get_width()) == pytest.approx((0.2, SWITCH), abs=1e-9)


def test_arcs_of_single_points_are_not_shaded(comparison: Comparison):
    """With a weight for each of two points the background cannot say whose arc it is."""
    problem = linear_regression(comparison.task.problem.data, delete=[1, 2])
    task = dataclasses.replace(comparison.task, problem=problem)
    optimum = dataclasses.replace(comparison.optimum, task=task, arcs=(Arc(0.2, 2.0, "high", 1.0, point=0),))
    for panel in plots.schedule(optimum):
        assert len(panel.patches) == 0


def test_lines_differ_in_dashes_as_well_as_in_colour(comparison: Comparison):
    """Black-and-white print keeps the dashes only."""
    upper, _ = plots.schedule(comparison)
    lines = upper.lines[:4]
    assert len({line.get_color() for line in lines}) == len({str(line._dash_pattern) for line in lines}) == 4


def test_without_an_optimum_there_is_one_panel(comparison: Comparison):
    panels = plots.schedule(dataclasses.replace(comparison, optimum=None))
    assert len(panels) == 1
    assert panels[0].get_xlabel() == "flow time $t$"


def test_it_draws_on_axes_of_the_caller(comparison: Comparison):
    own = plt.figure().subplots(2, 1)
    assert plots.schedule(comparison.optimum, ax=own) == tuple(own)
    with pytest.raises(ValueError, match=r"this figure has 2 panel\(s\), but ax is 1 Axes"):
        plots.schedule(comparison, ax=own[:1])


def test_global_settings_are_left_alone(comparison: Comparison, tmp_path):
    before = dict(mpl.rcParams)
    plots.save(plots.schedule(comparison), tmp_path / "schedule.pdf")
    plots.distance(comparison)
    assert dict(mpl.rcParams) == before


def test_the_legend_covers_no_data(comparison: Comparison):
    upper, _ = plots.schedule(comparison)
    figure = upper.figure
    figure.canvas.draw()
    assert upper.get_legend().get_window_extent().y0 > upper.get_window_extent().y1
    assert figure.bbox.containsx(upper.get_legend().get_window_extent().x1)


def test_problem_of_the_fixture_is_the_reference(problem: Problem, comparison: Comparison):
    # 𝓔* of the derivation, section 6 (s = 0 there; here s lies before the switch, so the optimum is the same).
    assert comparison.optimum.cost == pytest.approx(1.06312561447804595, rel=1e-6)


def test_steps_are_drawn_as_steps(problem: Problem):
    best = optimal_schedule(problem, np.zeros(2), s=2, T=20, step_size=0.1)
    weights, switching, costate = plots.schedule(best, conditions=True)
    assert costate.get_xlabel() == "step of gradient descent $k$"
    k, values = switching.lines[1].get_data()
    np.testing.assert_array_equal(k, np.arange(2, 20) + 0.5)
    np.testing.assert_array_equal(values, np.asarray(best.switching(k)))
    t, eps = weights.lines[0].get_data()
    np.testing.assert_array_equal(eps, np.asarray(best.schedule(t)))
