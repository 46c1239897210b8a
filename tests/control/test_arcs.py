"""From values on a mesh to arcs, and from arcs to pieces and back."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

import epsflow as ef
from epsflow.control.terms._arcs import bangs
from epsflow.control.terms._pieces import cut
from epsflow.control.terms._reading import read_arcs

MESH = np.linspace(0.0, 10.0, 11)


def read(*columns):
    return read_arcs((0.0, 1.0), MESH, np.array(columns, dtype=float).T)


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
    np.testing.assert_allclose(arcs.times, switches, atol=1e-14)
    (row,) = arcs.components
    assert row.levels.tolist() == levels
    assert not row.free.any()


def test_a_longer_stretch_between_the_bounds_is_singular():
    arcs = read([1, 1, 0.4, 0.5, 0.6, 0.5, 0, 0, 0, 0])
    (row,) = arcs.components
    assert arcs.times.tolist() == [2.0, 6.0]
    assert row.free.tolist() == [False, True, False]
    assert row.levels.tolist() == [1.0, 0.4, 0.5, 0.6, 0.5, 0.0]
    assert row.knots.tolist() == [0.0, 2.0, 3.0, 4.0, 5.0, 6.0, 10.0]
    assert isinstance(arcs.schedule(), ef.PiecewiseConstant)


def test_two_components_switch_where_each_of_them_does():
    arcs = read([1, 1, 0.5, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0.5, 1, 1, 1])
    assert arcs.times.tolist() == [2.5, 6.5]
    assert arcs.knots_and_levels[1].tolist() == [[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]
    schedule = arcs.schedule()
    assert np.asarray(schedule(2.4)).tolist() == [1.0, 0.0]


def test_pieces_cover_the_window_and_every_part():
    arcs = read([1, 1, 0.4, 0.5, 0.6, 0.5, 0, 0, 0, 0])
    pieces = cut(arcs.joint.knots, arcs.joint.levels, 20)
    assert 6 < len(pieces.durations) <= 20
    assert pieces.durations.sum() == pytest.approx(10.0, rel=1e-14)
    assert set(pieces.interval) == set(range(6))
    schedule, middles = arcs.schedule(), np.cumsum(pieces.durations) - 0.5 * pieces.durations
    here = pieces.durations > 0.0
    np.testing.assert_array_equal(np.asarray(schedule(middles[here])), pieces.levels[here, 0])


def test_chain_rule_against_differences(rng):
    """Any smooth function of durations and levels, here a quadratic one: differences leave rounding over h, 1e-10."""
    arcs = read([1, 1, 0.4, 0.5, 0.6, 0.5, 0, 0, 0, 0])
    count = len(arcs.joint.levels)
    a, b = rng.standard_normal(count), rng.standard_normal(count)

    def value(moved):
        joint = moved.joint
        return (a @ joint.durations) ** 2 + (b @ joint.levels[:, 0]) * (a @ joint.durations)

    lengths, sums = a @ arcs.joint.durations, b @ arcs.joint.levels[:, 0]
    slopes, here, h = arcs.chain(a * (2.0 * lengths + sums), (b * lengths)[:, None]), arcs.unknowns, 1e-6
    assert len(here) == 2 + 4
    for i, step in enumerate(h * np.eye(6)):
        slope = (value(arcs.at(here + step)) - value(arcs.at(here - step))) / (2 * h)
        assert slope == pytest.approx(slopes[i], abs=1e-7)


def test_empty_arcs_go_and_equal_neighbours_join():
    arcs = read([1, 1, 1, 0.5, 0, 0, 0, 0, 0, 0]).with_bang(0, 1.0, 6.0, 6.0 + 1e-9)
    assert arcs.times.tolist() == pytest.approx([3.5, 6.0, 6.0])
    tidy = arcs.tidied(1e-6)
    assert tidy.times.tolist() == [3.5]
    assert isinstance(tidy.schedule(), ef.BangBang)


def test_a_singular_level_on_a_bound_becomes_a_bang():
    arcs = read([1, 1, 0.4, 0.5, 0.6, 0.5, 0, 0, 0, 0])
    tidy = arcs.at(np.concatenate([arcs.times, [1.0, 0.5, 0.6, 0.0]])).tidied(1e-6)
    np.testing.assert_allclose(tidy.times, [3.0, 5.0])
    assert tidy.components[0].levels.tolist() == [1.0, 0.5, 0.6, 0.0]


LEVELS = st.lists(st.sampled_from([0.0, 0.3, 1.0]), min_size=1, max_size=12)


@given(
    s=st.floats(0.0, 50.0),
    length=st.floats(1e-3, 50.0),
    columns=st.lists(LEVELS, min_size=1, max_size=3),
    data=st.data(),
)
def test_whatever_the_window_pieces_end_on_it_and_every_time_of_a_piece_has_a_part(s, length, columns, data):
    """Durations that are summed up end an ulp off T; an arc that is inserted there must find its part all the same."""
    T, count = s + length, max(map(len, columns))
    values = np.array([np.resize(column, count) for column in columns]).T
    arcs = read_arcs((0.0, 1.0), np.linspace(s, T, count + 1), values)
    pieces = cut(arcs.joint.knots, arcs.joint.levels, 2 * len(arcs.joint.part))
    size = len(pieces.durations)
    assert (pieces.knots[0], pieces.knots[-1]) == (s, T)
    assert (pieces.durations >= 0.0).all()
    first = data.draw(st.integers(0, size - 1))
    last = data.draw(st.integers(first, size - 1))
    begin, end = pieces.knots[first], pieces.knots[last + 1]
    for late in (end, np.nextafter(end, np.inf), s + pieces.durations[: last + 1].sum()):
        added = arcs.with_bang(0, 1.0, begin, late)
        for row in added.components:
            assert (row.edges[0], row.edges[-1]) == (s, T)
            assert (np.diff(row.knots) >= 0.0).all()
        assert added.effort >= arcs.effort - 1e-12 * T
        again = added.tidied(1e-9 * length)
        assert again.effort == pytest.approx(added.effort, abs=1e-6 * length)
        np.testing.assert_array_equal(again.at(again.unknowns).knots_and_levels[0], again.knots_and_levels[0])


def test_components_that_switch_together_keep_the_schedule_free_of_empty_arcs():
    arcs = bangs((0.0, 1.0), np.array([0.0, 1.0, 2.0]), np.array([[1.0, 0.0], [0.0, 1.0]]))
    assert arcs.joint.knots.tolist() == [0.0, 1.0, 1.0, 2.0]
    schedule = arcs.schedule()
    assert np.asarray(schedule.knots).tolist() == [0.0, 1.0, 2.0]
    assert np.asarray(schedule.values).tolist() == [[1.0, 0.0], [0.0, 1.0]]
