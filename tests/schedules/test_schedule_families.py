"""The contract that every schedule keeps, whatever its family."""

import math
from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from epsflow._core import InputError
from epsflow.schedules import (
    AbstractPiecewiseConstant,
    AbstractSchedule,
    BangBang,
    Constant,
    ExponentialDecay,
    LinearDecay,
    PiecewiseConstant,
    PolynomialDecay,
    SearchSpace,
    Step,
    build_members,
)

S, T = 2.0, 5.0
EXAMPLES = {
    "constant": Constant(0.3),
    "constant, two points": Constant([0.2, 0.7]),
    "step": Step(S),
    "piecewise": PiecewiseConstant([S, 3.0, T], [0.4, 0.9]),
    "piecewise, two points": PiecewiseConstant([S, 3.0, T], [[0.4, 0.1], [0.9, 0.0]]),
    "bang-bang": BangBang(S, [3.0, 3.5], T),
    "bang-bang from low": BangBang(S, [3.0, 3.5], T, first="low", low=-0.5, high=1.5),
    "no switch": BangBang(S, np.zeros(0), T),
    "linear": LinearDecay(S, T),
    "square root": PolynomialDecay(S, T, 0.5),
    "cubic": PolynomialDecay(S, T, 3.0),
    "exponential": ExponentialDecay(S, 0.7, T),
}
PIECEWISE = [name for name, schedule in EXAMPLES.items() if isinstance(schedule, AbstractPiecewiseConstant)]
FINITE = [name for name in EXAMPLES if not name.startswith("constant")]

GRID = np.linspace(0.0, 7.0, 57).reshape(3, 19)  # holds S, 3, 3.5 and T exactly


def at(schedule, times):
    """ε at a few times, one by one: another number of times would compile again."""
    return np.array([schedule(float(t)) for t in times])


def each(names):
    return pytest.mark.parametrize("schedule", [pytest.param(EXAMPLES[name], id=name) for name in names])


@each(EXAMPLES)
def test_values_at_an_array_of_times_are_the_values_at_each(schedule):
    values = schedule(GRID)
    points = schedule.value.shape if isinstance(schedule, Constant) else schedule(0.0).shape
    assert values.shape == GRID.shape + points
    assert values.dtype == jnp.float64
    np.testing.assert_array_equal(values[1, 3], schedule(float(GRID[1, 3])))
    assert np.isfinite(values).all()


@each(EXAMPLES)
def test_numbers_are_answered_in_numpy_and_traced_ones_in_jax(schedule):
    parts = [schedule(GRID), schedule(3.2), schedule.start, schedule.end, schedule.jump_ts, schedule.inner(GRID)]
    parts += [schedule.levels()] if isinstance(schedule, AbstractPiecewiseConstant) else []
    assert not any(isinstance(part, jax.Array) for part in (*parts, *jax.tree.leaves(schedule)))
    traced = schedule(jnp.asarray(GRID))
    assert isinstance(traced, jax.Array)
    # XLA multiplies by the rounded reciprocal of a width, and has an exponential of its own: a few roundings.
    np.testing.assert_allclose(traced, schedule(GRID), rtol=1e-15)


@each(FINITE)
def test_one_until_start_and_zero_from_end_on(schedule):
    start, end = float(schedule.start), float(schedule.end)
    np.testing.assert_array_equal(at(schedule, [-1e300, 0.0, np.nextafter(start, 0.0), start]), 1.0)
    np.testing.assert_array_equal(at(schedule, [np.nextafter(end, 1e9), 2 * end, 1e300]), 0.0)
    assert start == S
    assert end == (S if isinstance(schedule, Step) else T)


@each([name for name in FINITE if name != "step"])
def test_end_itself_belongs_to_zero(schedule):
    """The law is zero from T on; a step's own end is its start, where the point still counts."""
    np.testing.assert_array_equal(schedule(T), 0.0)


@each(EXAMPLES)
def test_jumps_ascend_and_enclose_everything_that_is_not_smooth(schedule):
    jumps = np.asarray(schedule.jump_ts)
    assert (np.diff(jumps) >= 0.0).all()
    edges = np.concatenate([[0.0], jumps, [8.0]])
    # Inside a piece the second difference of a smooth function is h²ε'', and ε'' ≤ 10 away from the ends.
    for left, right in pairwise(edges):
        inside = left + (right - left) * np.linspace(0.05, 0.9, 19)
        h = 1e-3 * (right - left)
        bends = np.array([1.0, -2.0, 1.0]) @ np.moveaxis(schedule(np.stack([inside - h, inside, inside + h])), 0, -2)
        assert np.abs(bends).max() <= 2e-5


@each(PIECEWISE)
def test_levels_are_the_values_between_jumps(schedule):
    jumps = np.asarray(schedule.jump_ts)
    edges = np.concatenate([[jumps[0] - 1.0 if len(jumps) else 0.0], jumps, [jumps[-1] + 1.0 if len(jumps) else 1.0]])
    middles = 0.5 * (edges[:-1] + edges[1:])
    levels = schedule.levels()
    assert len(levels) == len(jumps) + 1
    np.testing.assert_array_equal(levels, at(schedule, middles))


@each(["piecewise", "piecewise, two points", "bang-bang", "bang-bang from low"])
def test_a_jump_belongs_to_the_arc_that_it_closes(schedule):
    levels, jumps = schedule.levels(), np.asarray(schedule.jump_ts)[1:-1]
    np.testing.assert_array_equal(at(schedule, jumps), levels[1:-2])
    np.testing.assert_array_equal(at(schedule, np.nextafter(jumps, 9.0)), levels[2:-1])


@pytest.mark.parametrize(
    ("schedule", "right_of_start", "left_of_end"),
    [
        (LinearDecay(S, T), 1.0, 0.0),
        (PolynomialDecay(S, T, 0.5), 1.0, 0.0),
        (ExponentialDecay(S, 0.7, T), 1.0, math.exp(-0.7 * 3.0)),
        (BangBang(S, [3.0], T, first="low"), 0.0, 1.0),
        (PiecewiseConstant([S, T], [0.4]), 0.4, 0.4),
    ],
)
def test_one_sided_limits(schedule, right_of_start, left_of_end):
    # One rounding of t, 4e-16, under a square root: 2e-8.
    assert float(schedule(np.nextafter(S, T))) == pytest.approx(right_of_start, abs=1e-15)
    assert float(schedule(np.nextafter(T, S))) == pytest.approx(left_of_end, abs=2e-8)


@each(EXAMPLES)
def test_a_schedule_survives_the_round_trip_through_jit(schedule):
    returned = eqx.filter_jit(lambda s: s)(schedule)
    assert eqx.tree_equal(returned, schedule)
    assert type(returned) is type(schedule)
    np.testing.assert_allclose(eqx.filter_jit(lambda s, t: s(t))(schedule, GRID), schedule(GRID), rtol=1e-15)


@each(EXAMPLES)
def test_one_flow_serves_a_family(schedule):
    """Every number of a schedule is a leaf: other numbers make the same tree."""
    other = jax.tree.map(lambda leaf: leaf + 0.1, schedule)
    assert jax.tree.structure(other) == jax.tree.structure(schedule)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), schedule, other)
    values = jax.vmap(lambda member: member(jnp.asarray(GRID)))(stacked)
    np.testing.assert_allclose(values, jnp.stack([schedule(GRID), other(GRID)]), rtol=1e-15)


def test_schedules_can_be_made_inside_a_transformation():
    made = jax.jit(lambda end: LinearDecay(S, end)(jnp.asarray(3.0)))(4.0)
    assert float(made) == 0.5
    assert float(jax.grad(lambda tau: PolynomialDecay(S, tau, 1.0)(jnp.asarray(3.0)))(4.0)) == pytest.approx(0.25)


# --- the same function, said in two ways ---


def test_special_members_agree_across_families():
    t = GRID
    np.testing.assert_array_equal(LinearDecay(S, T)(t), PolynomialDecay(S, T, 1.0)(t))
    np.testing.assert_array_equal(BangBang(S, [3.0, 3.5], T)(t), PiecewiseConstant([S, 3, 3.5, T], [1, 0, 1])(t))
    for degenerate in (LinearDecay(S, S), PolynomialDecay(S, S, 0.5), BangBang(S, [S], T), ExponentialDecay(S, 1.0, S)):
        np.testing.assert_array_equal(degenerate(t), Step(S)(t))


def test_closed_values():
    assert float(LinearDecay(2, 5)(3.5)) == 0.5
    assert float(PolynomialDecay(2, 6, 2.0)(3.0)) == 0.75**2
    assert float(ExponentialDecay(2, 0.7, 5)(3.0)) == pytest.approx(math.exp(-0.7), rel=1e-15)
    assert BangBang(2, [3], 5, low=-1.0, high=2.0)(4.0) == -1.0


# --- many members at once ---


class Halving(AbstractSchedule):
    """A user's family, written for one member: ε = 2^{−(t − s)/half} until T."""

    inside: ExponentialDecay

    @property
    def start(self):
        return self.inside.start

    @property
    def end(self):
        return self.inside.end

    @property
    def jump_ts(self):
        return self.inside.jump_ts

    def inner(self, t):
        return self.inside.inner(t)

    @classmethod
    def search_space(cls, s, T):
        return SearchSpace(("half",), (0.1,), (10.0,), (True,), Partial(cls._member, s, T))

    @classmethod
    def _member(cls, s, T, numbers):
        return cls(ExponentialDecay(s, math.log(2.0) / numbers[0], T))


class FirstRow(Halving):
    """Says that it broadcasts, and reads the first member's numbers for all of them."""

    elementwise = True


@pytest.mark.parametrize("family", [Step, LinearDecay, PolynomialDecay, ExponentialDecay, Halving])
def test_a_stack_says_what_its_members_say(family, rng):
    space = family.search_space(S, T)
    numbers = space.lower + rng.random((5, len(space.names))) * np.subtract(space.upper, space.lower)
    alone = [space.build(row) for row in numbers]
    stack, order = build_members(space, numbers), [3, 0, 4]
    for members, singles in ((stack, alone), (stack.take(np.array(order)), [alone[i] for i in order])):
        t = np.linspace(S, T, 5)[: members.size]
        many = S + rng.random((members.size, 7)) * (T - S)
        for property_of in (lambda one: one.start, lambda one: one.end, lambda one: one.jump_ts):
            np.testing.assert_array_equal(property_of(members), [property_of(one) for one in singles])
        np.testing.assert_array_equal(members(t), [one(at) for one, at in zip(singles, t, strict=True)])
        np.testing.assert_array_equal(members(many), [one(at) for one, at in zip(singles, many, strict=True)])
        if members.piecewise_constant:
            np.testing.assert_array_equal(members.levels(), [one.levels() for one in singles])
    assert eqx.tree_equal(stack.member(2), alone[2])


def test_a_stack_that_is_not_its_members_is_refused():
    with pytest.raises(InputError, match=r"FirstRow is declared elementwise, but .* `numbers\[..., 0\]`"):
        build_members(FirstRow.search_space(S, T), np.array([[1.0], [2.0]]))


# --- refusals ---


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Step(np.nan), "Step: every time must be finite"),
        (lambda: Step("soon"), "soon"),
        (lambda: Step([1.0, 2.0]), r"one number .* shape \(2,\) was given; .* jax.vmap"),
        (lambda: Constant(np.inf), "Constant: the weight must be finite"),
        (lambda: LinearDecay(3.0, 2.0), r"LinearDecay: times must not decrease; got \[3.0, 2.0\]"),
        (lambda: PolynomialDecay(2.0, 1.0), "PolynomialDecay: times must not decrease"),
        (lambda: PolynomialDecay(1.0, 2.0, 0.0), "PolynomialDecay: power is 0; a positive finite number"),
        (lambda: ExponentialDecay(1.0, -1.0, 2.0), "ExponentialDecay: rate is -1; a positive finite number"),
        (lambda: ExponentialDecay(1.0, np.inf, 2.0), "ExponentialDecay: rate is inf"),
        (lambda: ExponentialDecay(1.0, 1.0, np.inf), "ExponentialDecay: every time must be finite"),
        (lambda: PiecewiseConstant([0.0, 1.0], [1.0, 0.0]), r"PiecewiseConstant: .*\(2,\).*\(2,\).*; K\+1 knots"),
        (lambda: PiecewiseConstant([1.0, 0.0], [1.0]), "PiecewiseConstant: times must not decrease"),
        (lambda: PiecewiseConstant([0.0, 1.0], [np.nan]), "PiecewiseConstant: every value must be finite"),
        (lambda: BangBang(0.0, 1.0, 2.0), r"switch_ts has shape \(\); a vector of times"),
        (lambda: BangBang(0.0, [1.0, 0.5], 2.0), "BangBang: times must not decrease"),
        (lambda: BangBang(0.0, [3.0], 2.0), "BangBang: times must not decrease"),
        (lambda: BangBang(0.0, [1.0], 2.0, first="up"), "first is 'up'; choose 'high' or 'low'"),
        (lambda: BangBang(0.0, [1.0], 2.0, low=1.0, high=1.0), "low = 1 must lie below high = 1"),
    ],
)
def test_bad_values_are_refused_where_they_are_made(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_numbers_that_jax_would_round_are_refused_and_others_keep_their_digits():
    with jax.enable_x64(False):
        assert Step(0.1)(0.1 + 1e-12) == 0.0  # in single precision both times are the same, and ε is 1
        with pytest.raises(InputError, match="32-bit mode"):
            jax.vmap(lambda tau: Step(tau)(0.5))(np.array([1.0]))
