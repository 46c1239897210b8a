"""E_s: which schedules belong to it, and that a family's search space holds nothing else."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

from epsflow._core import InputError
from epsflow.schedules import (
    AbstractSchedule,
    BangBang,
    Constant,
    ExponentialDecay,
    LinearDecay,
    PiecewiseConstant,
    PolynomialDecay,
    Step,
    check_admissible,
    check_window,
)

S, T = 2.0, 5.0
FAMILIES = (Step, LinearDecay, PolynomialDecay, ExponentialDecay)
each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)


class Wave(AbstractSchedule):
    """A user's schedule: 1/2 + height·sin, which leaves [0, 1] where height > 1/2."""

    height: jax.Array

    @property
    def start(self):
        return jnp.asarray(S)

    @property
    def end(self):
        return jnp.asarray(T)

    def inner(self, t):
        return 0.5 + self.height * jnp.sin(2.0 * jnp.pi * (t - S) / (T - S))

    @property
    def jump_ts(self):
        return jnp.array([S, T])


@pytest.mark.parametrize(
    "schedule",
    [
        Step(S),
        Step(4.0),
        Step(T),
        LinearDecay(S, 3.0),
        PolynomialDecay(S, T, 0.1),
        ExponentialDecay(S, 3.0, T),
        PiecewiseConstant([S, 3.0, T], [0.0, 1.0]),
        PiecewiseConstant([S, 3.0, T], [[0.0, 0.3], [1.0, 0.2]]),
        BangBang(S, [3.0], T, first="low"),
        BangBang(S, [S, T], T),
        LinearDecay(3.0, 4.0),
        Wave(jnp.asarray(0.4)),
    ],
)
def test_members(schedule):
    check_admissible(schedule, S, T)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (Constant(1.0), r"Constant is not in E_s: ε\(5\.\d+\) = 1, but from T = 5 on it must be 0"),
        (Constant(0.0), r"ε\(0\.\d+\) = 0, but on \[0, s\] = \[0, 2\] it must be 1"),
        (Step(1.0), r"Step is not in E_s: ε\(1\.\d+\) = 0, but on \[0, s\]"),
        (Step(6.0), r"ε\(5\.\d+\) = 1, but from T = 5 on it must be 0: by then the point is deleted"),
        (LinearDecay(1.0, 3.0), r"LinearDecay is not in E_s: ε\(1\.\d+\) = 0\.99\d*, but on \[0, s\]"),
        (LinearDecay(S, 5.5), "from T = 5 on it must be 0"),
        (BangBang(S, [3.0], T, low=-0.5), r"= -0\.5, but on \(s, T\) = \(2, 5\) it must lie in \[0, 1\]"),
        (PiecewiseConstant([S, 3.0, T], [[0.0, 0.3], [1.0, 1.2]]), r"ε\(3\.\d+\) = 1\.2, but on \(s, T\)"),
        (Wave(jnp.asarray(0.6)), r"Wave is not in E_s: ε\(2\.\d+\) = 1\.\d+, but on \(s, T\)"),
        (Wave(jnp.asarray(jnp.nan)), r"= nan, but on \(s, T\)"),
    ],
)
def test_others(schedule, message):
    with pytest.raises(InputError, match=message):
        check_admissible(schedule, S, T)


def test_wider_bounds_admit_more():
    check_admissible(BangBang(S, [3.0], T, low=-0.5, high=1.5), S, T, (-0.5, 1.5))


def test_a_short_violation_between_jumps_is_seen():
    """Each piece between declared jumps is sampled, however short it is."""
    with pytest.raises(InputError, match="= 2, but"):
        check_admissible(PiecewiseConstant([S, 3.0, 3.0 + 1e-9, T], [0.5, 2.0, 0.5]), S, T)


@pytest.mark.parametrize(
    ("s", "T", "bounds", "message"),
    [
        (-1.0, 5.0, (0.0, 1.0), "s is -1; the deletion request cannot arrive before training starts"),
        (5.0, 5.0, (0.0, 1.0), "T = 5 must come after s = 5"),
        (6.0, 5.0, (0.0, 1.0), "T = 5 must come after s = 6"),
        (np.nan, 5.0, (0.0, 1.0), "s is nan; a finite number"),
        (2.0, np.inf, (0.0, 1.0), "T is inf; a finite number"),
        (2.0, 5.0, (1.0, 0.0), r"the bounds of ε are \[1, 0\]; the lower one must lie below"),
        (2.0, 5.0, (0.0, np.inf), "the upper bound of ε is inf"),
    ],
)
def test_windows_that_are_none(s, T, bounds, message):
    with pytest.raises(InputError, match=message):
        check_window(s, T, bounds)
    with pytest.raises(InputError, match=message):
        check_admissible(Step(2.0), s, T, bounds)


# --- search spaces ---


@each_family
def test_every_corner_is_a_member(family):
    space = family.search_space(S, T)
    assert len(space.names) == len(space.lower) == len(space.upper) == len(space.log)
    for corner in itertools.product(*zip(space.lower, space.upper, strict=True)):
        schedule = space.build(jnp.array(corner))
        assert type(schedule) is family
        check_admissible(schedule, S, T)


@each_family
@given(s=st.floats(0.0, 50.0), length=st.floats(0.01, 100.0), data=st.data())
def test_every_point_inside_is_a_member(family, s, length, data):
    T = s + length
    space = family.search_space(s, T)
    numbers = [data.draw(st.floats(low, high)) for low, high in zip(space.lower, space.upper, strict=True)]
    check_admissible(space.build(jnp.array(numbers)), s, T)


@each_family
def test_the_box_is_not_too_small(family):
    """From the baseline 1_[0, s] (up to the fastest decay) to keeping the point for at least half the time."""
    space = family.search_space(S, T)
    times = np.linspace(0.0, 6.0, 60001)
    corners = [space.build(jnp.array(c)) for c in itertools.product(*zip(space.lower, space.upper, strict=True))]
    kept = [float(np.mean(corner(times))) * 6.0 for corner in corners]  # ∫ε dt
    assert min(kept) == pytest.approx(S, abs=5e-3)
    assert max(kept) >= 0.5 * (S + T) - 5e-3


@each_family
def test_another_window_is_the_same_function(family):
    """Else a search with other s or T would compile again."""
    first, second = family.search_space(S, T).build, family.search_space(1.0, 9.0).build
    assert jax.tree.structure(first) == jax.tree.structure(second)
    assert jax.jit(lambda build, z: build(z)(jnp.asarray(1.5)))(first, jnp.array([3.0, 2.0])) == 1.0


def test_a_class_without_a_family_says_so():
    with pytest.raises(InputError, match=r"Wave does not say over which numbers.*search_space\(cls, s, T\)"):
        Wave.search_space(S, T)
