"""Figures of flows: distances, phase portraits, homotopies, rewinding."""

import dataclasses

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

from epsflow import plots
from epsflow.control import Comparison
from epsflow.flow import HomotopySurface, RewindSurface, equilibrium, gradient_flow, homotopy, rewind_surface
from epsflow.problem import Dataset, Problem, linear_regression
from epsflow.schedules import Step


@pytest.fixture(scope="module")
def surface(problem: Problem) -> HomotopySurface:
    return homotopy(problem, eps=np.linspace(0.0, 1.0, 5), ts=np.linspace(0.0, 4.0, 7), theta0=np.array([1.0, -1.0]))


@pytest.fixture(scope="module")
def rewound(problem: Problem) -> RewindSurface:
    return rewind_surface(problem, s=np.array([0.0, 1.0, 2.0]), T=np.array([1.0, 2.0]), theta0=np.zeros(2))


@pytest.fixture(scope="module")
def one_parameter() -> Problem:
    return linear_regression(Dataset(np.ones((3, 1)), np.arange(3.0)), delete=[0])


def test_distance_ends_at_the_cost(comparison: Comparison):
    drawn = plots.distance(comparison)
    costs = [comparison.optimum.cost, comparison.baseline.cost, *(family.cost for family in comparison.families)]
    # 𝓔 = ½‖θ(T) − θ*_{-D}‖²; costs start from θ(s), the figure from θ(0), a difference of rounding.
    ends = [line.get_ydata()[-1] for line in drawn.lines[:4]]
    np.testing.assert_allclose(0.5 * np.square(ends), costs, rtol=1e-9)
    assert drawn.get_yscale() == "log"
    assert drawn.get_ylabel().endswith("(units of $\\theta$)")


def test_distance_of_trajectories_needs_a_target(problem: Problem):
    path = gradient_flow(problem, Step(0.5), np.zeros(2), ts=np.linspace(0.0, 2.0, 5))
    with pytest.raises(ValueError, match="trajectories do not know their target"):
        plots.distance({"step": path})
    drawn = plots.distance({"step": path}, target=np.array([0.25, -0.5]))
    np.testing.assert_array_equal(
        drawn.lines[0].get_ydata(), np.linalg.norm(np.asarray(path.thetas) - [0.25, -0.5], axis=1)
    )


def test_distance_refuses_what_it_cannot_draw(one_parameter: Problem):
    with pytest.raises(ValueError, match="no trajectory to draw"):
        plots.distance({}, target=np.zeros(2))
    path = gradient_flow(one_parameter, Step(0.5), np.zeros(1), ts=np.linspace(0.0, 1.0, 3))
    with pytest.raises(ValueError, match="'short' has 1 parameters, but 2 are needed"):
        plots.distance({"short": path}, target=np.zeros(2))


def test_a_distance_of_zero_has_no_logarithm(problem: Problem):
    path = gradient_flow(problem, Step(0.5), np.zeros(2), ts=np.zeros(1))
    with pytest.raises(ValueError, match="every distance is exactly zero"):
        plots.distance({"still": path}, target=np.zeros(2))


def test_phase_portrait_marks_start_and_equilibria(problem: Problem, comparison: Comparison):
    drawn = plots.phase_portrait(problem, comparison)
    marks = {line.get_label(): np.ravel(line.get_xydata()) for line in drawn.lines[4:]}
    assert list(marks) == ["start $\\theta(0)$", "$\\theta^*$ (with the points)", "$\\theta^*_{-D}$ (without)"]
    trained, leave_out = (np.asarray(equilibrium(problem, eps=eps).theta) for eps in (1.0, 0.0))
    np.testing.assert_allclose(list(marks.values()), [np.zeros(2), trained, leave_out], atol=1e-14)
    # The curve of the optimum ends where the cost says: ½ of its squared distance to the star.
    end = drawn.lines[0].get_xydata()[-1]
    assert 0.5 * np.sum((end - leave_out) ** 2) == pytest.approx(comparison.optimum.cost, rel=1e-9)
    assert drawn.get_xlabel().startswith("$\\theta_{0}$  (coefficient of x0")


def test_phase_portrait_arrows_point_down_the_gradient(problem: Problem, comparison: Comparison):
    drawn = plots.phase_portrait(problem, comparison)
    (x0, x1), (y0, y1) = drawn.get_xlim(), drawn.get_ylim()
    for arrows, eps in zip(drawn.collections, (1.0, 0.0), strict=True):
        where = np.array([arrows.X[7], arrows.Y[7]])
        slope = -np.asarray(problem.gradient(jnp.asarray(where), eps)) / [x1 - x0, y1 - y0]
        np.testing.assert_allclose([arrows.U[7], arrows.V[7]], slope / np.linalg.norm(slope), rtol=1e-12)


def test_eigen_planes_keep_distances(problem: Problem, comparison: Comparison):
    """For d = 2 the eigenvectors are a rotation: distances in the picture are distances in parameter space."""
    slow, fast = (plots.phase_portrait(problem, comparison, plane=plane) for plane in ("slowest", "leading"))
    for drawn in (slow, fast):
        start, _, star = (np.ravel(line.get_xydata()) for line in drawn.lines[4:])
        truth = np.linalg.norm(np.asarray(comparison.task.target))
        assert np.linalg.norm(star - start) == pytest.approx(truth, rel=1e-12)
    assert "v_{1}" in slow.get_xlabel()
    assert "v_{2}" in fast.get_xlabel()


@pytest.mark.parametrize("plane", [(0, 0), (0, 2), (-1, 0)])
def test_phase_portrait_refuses_a_plane_that_is_none(problem: Problem, comparison: Comparison, plane):
    with pytest.raises(ValueError, match="two different parameter numbers below 2"):
        plots.phase_portrait(problem, comparison, plane=plane)


def test_phase_portrait_needs_two_parameters(one_parameter: Problem):
    path = gradient_flow(one_parameter, Step(0.5), np.zeros(1), ts=np.linspace(0.0, 1.0, 3))
    with pytest.raises(ValueError, match="at least two parameters"):
        plots.phase_portrait(one_parameter, {"step": path})


def test_homotopy_draws_the_parameter_that_moves_most(surface: HomotopySurface):
    thetas = np.asarray(surface.thetas)
    most = int(np.argmax(np.ptp(thetas[:, -1], axis=0)))
    drawn = plots.homotopy(surface)
    np.testing.assert_array_equal(np.ravel(drawn.collections[0].get_array()), np.ravel(thetas[..., most]))
    bar = drawn.figure.axes[-1]
    assert f"\\theta_{{{most}}}" in bar.get_ylabel()
    assert (drawn.get_xlabel(), drawn.get_ylabel()) == (
        "flow time $t$",
        "weight of the deleted points $\\varepsilon$",
    )


def test_homotopy_draws_the_distance_to_a_target(surface: HomotopySurface, comparison: Comparison):
    drawn = plots.homotopy(surface, target=comparison.task.target)
    lengths = np.linalg.norm(np.asarray(surface.thetas) - np.asarray(comparison.task.target), axis=-1)
    np.testing.assert_allclose(np.ravel(drawn.collections[0].get_array()), lengths.ravel(), rtol=1e-15)
    contours = drawn.collections[1].levels
    assert lengths.min() < contours.min() <= contours.max() < lengths.max()


def test_homotopy_as_a_surface(surface: HomotopySurface, comparison: Comparison):
    drawn = plots.homotopy(surface, target=comparison.task.target, kind="surface")
    assert drawn.get_zlabel().startswith("$\\log_{10}$")
    with pytest.raises(ValueError, match="three-dimensional Axes"):
        plots.homotopy(surface, kind="surface", ax=plt.figure().subplots())


def test_homotopy_refuses_what_it_cannot_draw(problem: Problem, surface: HomotopySurface):
    with pytest.raises(ValueError, match="not both"):
        plots.homotopy(surface, target=np.zeros(2), parameter=0)
    with pytest.raises(ValueError, match="parameter 2 is outside"):
        plots.homotopy(surface, parameter=2)
    with pytest.raises(ValueError, match=r"target has shape \(3,\)"):
        plots.homotopy(surface, target=np.zeros(3))
    two = linear_regression(problem.data, delete=[1, 2])
    pairs = homotopy(two, eps=np.eye(2), ts=np.linspace(0.0, 1.0, 3), theta0=np.zeros(2))
    with pytest.raises(ValueError, match="2 weights per row"):
        plots.homotopy(pairs)


def test_rewind_draws_one_line_per_final_time(rewound: RewindSurface):
    target = np.array([1.0, -2.0])
    lengths = np.linalg.norm(np.asarray(rewound.thetas) - target, axis=-1)
    mixed = dataclasses.replace(rewound, s=rewound.s[::-1], thetas=rewound.thetas[::-1])  # the order is no matter
    drawn = plots.rewind(mixed, target)
    early, early_best, late, late_best = drawn.lines
    np.testing.assert_array_equal(early.get_xdata(), [0.0, 1.0])  # s > T means nothing
    np.testing.assert_array_equal(late.get_xdata(), [0.0, 1.0, 2.0])
    np.testing.assert_array_equal(late.get_ydata(), lengths[:, 1])
    assert late_best.get_ydata()[0] == lengths[:, 1].min()
    assert early_best.get_ydata()[0] == lengths[:2, 0].min()
    assert [text.get_text() for text in drawn.get_legend().get_texts()] == ["$T=1$", "$T=2$"]
