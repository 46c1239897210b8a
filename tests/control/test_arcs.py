"""From values on a mesh to arcs, and from arcs to pieces and back."""

import numpy as np
import pytest

import epsflow as ef
from epsflow.control.terms._arcs import read_arcs

MESH = np.linspace(0.0, 10.0, 11)


def read(*columns):
    return read_arcs(0.0, 10.0, (0.0, 1.0), MESH, np.array(columns, dtype=float).T)


@pytest.mark.parametrize(
    ("values", "switches", "levels"),
    [
        ([1, 1, 1, 0.25, 0, 0, 0, 0, 0, 0], [3.25], [1, 0]),  # the integral of ε is kept
        ([0, 0, 0, 0.25, 1, 1, 1, 1, 1, 1], [3.75], [0, 1]),
        ([1, 1, 0.5, 0.1, 0, 0, 0, 0, 0, 0], [2.6], [1, 0]),  # smeared over two intervals
        ([0.4, 0, 0, 0, 0, 0, 0, 0, 0, 0], [0.4], [1, 0]),
        ([1, 1, 1, 1, 0.3, 1, 1, 1, 1, 1], [4.3, 5.0], [1, 0, 1]),  # a dip
        ([0.999] * 10, [], [1]),
    ],
)
def test_a_switch_inside_an_interval(values, switches, levels):
    arcs = read(values)
    np.testing.assert_allclose(arcs.switch_ts, switches, atol=1e-14)
    assert arcs.levels[:, 0].tolist() == levels
    assert not arcs.free.any()


def test_a_longer_stretch_between_the_bounds_is_singular():
    arcs = read([1, 1, 0.4, 0.5, 0.6, 0.5, 0, 0, 0, 0])
    assert arcs.switch_ts.tolist() == [2.0, 6.0]
    assert arcs.free[:, 0].tolist() == [False, True, False]
    assert arcs.levels[:, 0].tolist() == [1.0, 0.4, 0.5, 0.6, 0.5, 0.0]
    assert arcs.knots.tolist() == [0.0, 2.0, 3.0, 4.0, 5.0, 6.0, 10.0]
    assert isinstance(arcs.schedule(shared=True), ef.PiecewiseConstant)


def test_two_components_switch_where_each_of_them_does():
    arcs = read([1, 1, 0.5, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0.5, 1, 1, 1])
    assert arcs.switch_ts.tolist() == [2.5, 6.5]
    assert arcs.levels.tolist() == [[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]
    schedule = arcs.schedule(shared=False)
    assert np.asarray(schedule(2.4)).tolist() == [1.0, 0.0]


def test_pieces_cover_the_window_and_every_part():
    arcs = read([1, 1, 0.4, 0.5, 0.6, 0.5, 0, 0, 0, 0])
    pieces = arcs.pieces(20, arcs.share_out(20))
    assert len(pieces.durations) == 20
    assert pieces.durations.sum() == pytest.approx(10.0, rel=1e-14)
    assert set(pieces.part[pieces.arc >= 0]) == set(range(6))
    schedule, middles = arcs.schedule(shared=True), np.cumsum(pieces.durations) - 0.5 * pieces.durations
    here = pieces.durations > 0.0
    np.testing.assert_array_equal(np.asarray(schedule(middles[here])), pieces.levels[here, 0])


def test_chain_rule_against_differences(rng):
    """Any smooth function of durations and levels, here a quadratic one: differences leave rounding over h, 1e-10."""
    arcs = read([1, 1, 0.4, 0.5, 0.6, 0.5, 0, 0, 0, 0])
    each, a, b = arcs.share_out(20), rng.standard_normal(20), rng.standard_normal(20)

    def value(moved):
        pieces = moved.pieces(20, each)
        return (a @ pieces.durations) ** 2 + (b @ pieces.levels[:, 0]) * (a @ pieces.durations)

    pieces = arcs.pieces(20, each)
    lengths, sums = a @ pieces.durations, b @ pieces.levels[:, 0]
    by_time, by_level = arcs.chain(pieces, a * (2.0 * lengths + sums), (b * lengths)[:, None])
    times, free, h = arcs.switch_ts, arcs.levels[arcs.free_levels], 1e-6
    for i, step in enumerate(h * np.eye(2)):
        slope = (value(arcs.moved(times + step, free)) - value(arcs.moved(times - step, free))) / (2 * h)
        assert slope == pytest.approx(by_time[i], abs=1e-7)
    for i, step in enumerate(h * np.eye(4)):
        slope = (value(arcs.moved(times, free + step)) - value(arcs.moved(times, free - step))) / (2 * h)
        assert slope == pytest.approx(by_level[i], abs=1e-7)


def test_empty_arcs_go_and_equal_neighbours_join():
    arcs = read([1, 1, 1, 0.5, 0, 0, 0, 0, 0, 0]).with_bang(0, 1.0, 6.0, 6.0 + 1e-9)
    assert arcs.switch_ts.tolist() == pytest.approx([3.5, 6.0, 6.0])
    tidy = arcs.tidied(1e-6)
    assert tidy.switch_ts.tolist() == [3.5]
    assert isinstance(tidy.schedule(shared=True), ef.BangBang)


def test_a_singular_level_on_a_bound_becomes_a_bang():
    arcs = read([1, 1, 0.4, 0.5, 0.6, 0.5, 0, 0, 0, 0])
    tidy = arcs.moved(arcs.switch_ts, np.array([1.0, 0.5, 0.6, 0.0])).tidied(1e-6)
    np.testing.assert_allclose(tidy.switch_ts, [3.0, 5.0])
    assert tidy.levels[:, 0].tolist() == [1.0, 0.5, 0.6, 0.0]
