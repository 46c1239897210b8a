"""The parts of the family search of linear regression: where members end, polynomials through them, boxes, efforts."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from jax.tree_util import Partial

import epsflow as ef
from epsflow.control._families import search_family
from epsflow.control._task import make_task
from epsflow.control.linear._decays import member_ends
from epsflow.control.linear._families import box_of, least_member
from epsflow.control.linear._interpolant import interpolate, nodes
from epsflow.control.linear._search import lattice, least_in_box
from epsflow.control.terms._levels import efforts
from epsflow.flow._decays import PROOF, SCAN
from epsflow.schedules import Members, build_members

S, T = 0.2, 2.0


@pytest.fixture(scope="module")
def task():
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((8, 3)), 2.0 * rng.standard_normal(8)
    return make_task(ef.linear_regression(ef.Dataset(x, y), [0, 3]), rng.standard_normal(3), s=S, T=T)


MEMBERS = {
    "step": [ef.Step(S), ef.Step(0.9), ef.Step(T)],
    "linear": [ef.LinearDecay(S, S), ef.LinearDecay(S, S + 1e-6), ef.LinearDecay(S, T)],
    "polynomial": [ef.PolynomialDecay(S, t1, power) for t1 in (S, 0.7, T) for power in (0.125, 1.3, 8.0)],
    "exponential": [ef.ExponentialDecay(S, rate / (T - S), T) for rate in (0.01, 3.0, 1000.0)],
}


@pytest.mark.parametrize("name", MEMBERS)
def test_members_end_where_diffrax_ends(task, name):
    """The ends of every family's range among them."""
    ends = member_ends(task.linear, Members.of(MEMBERS[name]))
    for schedule, delta, error in zip(MEMBERS[name], ends.states, ends.errors, strict=True):
        ts, rtol = np.array([T]), 1e-12
        path = ef.gradient_flow(
            task.problem, schedule, task.theta_s, t0=S, ts=ts, method="diffrax", rtol=rtol, estimate_error=False
        )
        # diffrax: 1e-12 a step, some hundred steps.
        np.testing.assert_allclose(task.linear.theta(delta), path.end, rtol=0, atol=1e-9 * ends.sizes.max())
        assert error <= 1e-12 * ends.sizes.max()


def test_stacked_members_end_where_single_ones_do(task):
    space = ef.PolynomialDecay.search_space(S, T)
    numbers = box_of(task.linear, space).numbers(lattice(5, 2))
    together = member_ends(task.linear, build_members(space, numbers))
    for row, delta, error in zip(numbers, together.states, together.errors, strict=True):
        alone = member_ends(task.linear, Members.of([space.build(row)]))
        assert np.linalg.norm(delta - alone.states[0]) <= error + alone.errors[0]


@pytest.mark.parametrize("family", [ef.Step, ef.LinearDecay, ef.PolynomialDecay, ef.ExponentialDecay])
@pytest.mark.parametrize(("price", "budget"), [(0.0, np.inf), (0.05, np.inf), (0.0, 0.4)])
def test_no_member_of_a_fine_grid_is_better(task, family, price, budget):
    linear, space = replace(task.linear, price=price, budget=budget), family.search_space(S, T)
    found = least_member(linear, space)
    points = lattice({1: 801, 2: 31}[len(space.names)], len(space.names))
    members = build_members(space, box_of(linear, space).numbers(points))
    spent = efforts(members, S, T)
    ends = member_ends(linear, members, SCAN)
    costs = 0.5 * np.square(ends.states).sum(axis=1) + price * spent
    # SCAN is good to 1e-7 of the largest δ.
    slack = 1e-7 * ends.sizes.max() * np.sqrt(2.0 * costs.min())
    assert found.cost <= costs[spent <= budget].min() + slack
    best = build_members(space, found.numbers[None])
    delta = member_ends(linear, best, PROOF).states[0]
    assert found.cost == pytest.approx(0.5 * delta @ delta + price * efforts(best, S, T)[0], rel=1e-7)
    assert efforts(best, S, T)[0] <= budget * (1.0 + 1e-10)


def test_linear_regression_compiles_nothing(task):
    compiled = []

    def listen(event: str, duration: float, **_: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    for family in (ef.Step, ef.LinearDecay, ef.PolynomialDecay, ef.ExponentialDecay):
        search_family(task, family)
    jax.monitoring.unregister_event_duration_listener(listen)
    assert compiled == []


class Ramp(ef.AbstractSchedule):
    """A family of three numbers: ε falls from `high` to `low` on a line, until t₁."""

    s: np.ndarray
    t1: np.ndarray
    high: np.ndarray
    low: np.ndarray
    elementwise = True

    @property
    def start(self):
        return self.s

    @property
    def end(self):
        return self.t1

    @property
    def jump_ts(self):
        return np.stack(np.broadcast_arrays(self.s, self.t1), axis=-1)

    def inner(self, t):
        line = (self.t1 - t) / np.where(self.t1 > self.s, self.t1 - self.s, 1.0)
        return self.low + (self.high - self.low) * line

    @classmethod
    def search_space(cls, s, T):
        build = Partial(cls._member, np.asarray(s))
        return ef.SearchSpace(("t₁", "high", "low"), (s, 0.0, 0.0), (T, 1.0, 1.0), (False,) * 3, build)

    @classmethod
    def _member(cls, s, numbers):
        return cls(s, numbers[..., 0], numbers[..., 1], numbers[..., 2])


def test_three_numbers(task):
    """The line from 1 to 0 is one of its members."""
    found = least_member(task.linear, Ramp.search_space(S, T))
    line = least_member(task.linear, ef.LinearDecay.search_space(S, T))
    assert found.cost <= line.cost * (1.0 + 1e-6)


def test_polynomials_are_reproduced():
    """x³ − y of a square, from 5 × 3 values; a box without a tail."""
    points = np.stack(np.meshgrid(nodes(6), nodes(4), indexing="ij"), axis=-1)
    fit = interpolate(points[..., :1] ** 3 - points[..., 1:])
    x = np.random.default_rng(0).uniform(size=(7, 2))
    np.testing.assert_allclose(fit(x)[:, 0], x[:, 0] ** 3 - x[:, 1], atol=1e-14)
    assert fit.tail <= 1e-15


def test_slopes_of_polynomials():
    """x³ and 2 − y + xy on three by four numbers of a box, by hand."""
    points = np.stack(np.meshgrid(nodes(4), nodes(3), indexing="ij"), axis=-1)
    x, y = points[..., :1], points[..., 1:]
    values, slopes = interpolate(np.concatenate([x**3, 2.0 - y + x * y], axis=-1)).with_slopes(np.array([0.3, 0.6]))
    np.testing.assert_allclose(values, [0.027, 1.58], rtol=1e-14)
    np.testing.assert_allclose(slopes, [[0.27, 0.6], [0.0, -0.7]], rtol=1e-13, atol=1e-14)


def test_boxes_shrink_around_each_minimum():
    """Parabolas with minima inside, at a corner, and at an edge; each found as if alone."""
    centres = np.array([[0.3, 0.7], [0.0, 1.0], [0.5, -0.4]])
    found = least_in_box(lambda x: np.square(x - centres[:, None]).sum(-1), 3, 2, grid=9, refine=7)
    np.testing.assert_allclose(found.points, np.clip(centres, 0.0, 1.0), atol=1e-7)
    np.testing.assert_allclose(found.costs, [0.0, 0.0, 0.16], atol=1e-13)


def test_efforts_are_closed_forms():
    """∫ of a power is w/(p + 1), of an exponential (1 − e^{−rate·w})/rate; of weights of either sign, of |ε|."""
    decays = [ef.PolynomialDecay(S, 1.1, power) for power in (0.125, 1.0, 2.5, 8.0)]
    np.testing.assert_allclose(
        efforts(Members.of(decays), S, T), 0.9 / (np.array([0.125, 1.0, 2.5, 8.0]) + 1.0), rtol=1e-13
    )
    fast = [ef.ExponentialDecay(S, rate, T) for rate in (0.01, 5.0, 500.0)]
    rates = np.array([0.01, 5.0, 500.0])
    np.testing.assert_allclose(efforts(Members.of(fast), S, T), -np.expm1(-1.8 * rates) / rates, rtol=1e-12)
    signs = Members.of([ef.PiecewiseConstant([S, 0.5, T], [[1.0, -0.5], [-1.0, 0.0]])])
    np.testing.assert_allclose(efforts(signs, S, T), 0.3 * 1.5 + 1.5, rtol=1e-14)
