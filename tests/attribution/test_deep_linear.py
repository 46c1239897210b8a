"""The deep linear network's closed form."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import epsflow as ef
from epsflow.attribution import checkpoint_influence, mode_strengths, stages, tree_network


def test_modes_solve_their_equation():
    s, start, tau, ts = np.array([3.0, 1.5, 0.5]), np.array([1e-3, 1e-2, 1e-3]), 0.7, np.linspace(0.0, 6.0, 13)
    found = solve_ivp(
        lambda _, g: 2.0 * g * (s - g) / tau, (0.0, 6.0), start, method="DOP853", t_eval=ts, rtol=1e-12, atol=1e-15
    )
    # DOP853's global error at rtol 1e-12, grown through the rise of the modes.
    np.testing.assert_allclose(mode_strengths(s, ts, initial=start, tau=tau), found.y.T, rtol=1e-9)


def test_late_times_do_not_overflow():
    assert mode_strengths(np.array([2.0]), np.array([1e6]), initial=1e-9) == 2.0


@pytest.mark.parametrize("arguments", [{"initial": 0.0}, {"initial": 1e-3, "tau": -1.0}])
def test_a_start_that_is_never_left_is_refused(arguments: dict):
    with pytest.raises(ef.InputError, match="positive"):
        mode_strengths(np.array([1.0]), np.array([1.0]), **arguments)


@pytest.fixture(scope="module")
def tree():
    return tree_network(2)


@pytest.fixture(scope="module")
def learned(tree):
    path = ef.gradient_flow(tree.problem, ef.Constant(1.0), tree.theta0, ts=TIMES, estimate_error=False)
    return np.array([[tree.mode(k)(theta) for k in range(4)] for theta in np.asarray(path.thetas)])


TIMES = np.array([0.0, 1.0, 2.0, 3.0])


@pytest.mark.slow
def test_a_tree_is_learned_from_the_broad_to_the_fine(tree, learned):
    assert tree.strengths == pytest.approx([2.0, 1.4, 0.98 / 2**0.5, 0.98 / 2**0.5])  # 2; 2·0.7; √2·0.7²
    # The flow's tolerance of 1e-10 a step, grown through the rise of the modes.
    np.testing.assert_allclose(learned, mode_strengths(tree.strengths, TIMES, initial=1e-3), rtol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("k", [0, 1, 3])
def test_density_of_a_mode_in_closed_form(tree, k):
    ask = {"ts": np.array([0.0, 0.5, 2.0]), "functional": tree.mode(k)}
    found = ef.influence_density(tree.problem, ef.Constant(1.0), tree.theta0, **ask)
    expected = np.tile(tree.density(k, 2.0, 1e-3), (3, 1))
    np.testing.assert_allclose(found.values, expected, rtol=1e-8, atol=1e-12)


@pytest.mark.slow
def test_influence_on_a_mode_peaks_while_it_is_learned(tree):
    ts = np.linspace(0.1, 5.0, 50)
    found = checkpoint_influence(tree.problem, ef.Constant(1.0), tree.theta0, ts=ts, functional=tree.mode(0))
    expected = -ts[:, None] * np.array([tree.density(0, t, 1e-3) for t in ts])
    assert np.abs(found.values - expected).max() <= found.error < 1e-6
    seen = stages(found)
    # t·𝒢̇ is largest just after the mode's rise at ln(s/𝒢(0))/2s.
    assert seen.peaks == pytest.approx([ts[np.argmax(-expected[:, 0])]], abs=float(seen.peak_errors[0]))
    assert 0.0 < seen.peaks[0] - np.log(2.0 / 1e-3) / 4.0 < 0.3


def test_strange_trees_are_refused():
    with pytest.raises(ef.InputError, match="depth is 1 to 10"):
        tree_network(11)
