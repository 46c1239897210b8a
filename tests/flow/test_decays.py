"""Linear regression under decays: the panels against quadrature, closed forms and solve_ivp; the bound against both."""

import itertools

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from epsflow.flow._decays import PROOF, SCAN, LinearSystem, Precision, integrate
from epsflow.flow._panels import moments

GAUSS = np.polynomial.legendre.leggauss(40)


def quadrature(function, edges):
    """∫ of a function that is smooth between the edges."""
    middle, half = 0.5 * (edges[1:] + edges[:-1])[:, None], 0.5 * np.diff(edges)[:, None]
    return float(np.sum(half * GAUSS[1] * function(middle + half * GAUSS[0])))


def power(end, exponent, begin=0.0):
    """((end − t)/(end − begin))^exponent for one member, one column."""
    return lambda t: (np.clip((end - t) / (end - begin), 0.0, 1.0) ** exponent)[..., None, :, None]


# --- moments of exponentials ---


@pytest.mark.parametrize("z", [0.0, 1e-8, 1e-3, 1.0, 10.0, 47.0, 49.0, 200.0, 1e4, 1e8])
def test_moments_are_their_integrals(z):
    """On both sides of z = 4q, where the recurrence changes its direction."""
    points, order = np.array([1e-3, 0.2, 0.93, 1.0]), 12
    found = moments(np.array(z), points, order)
    for c, row in zip(points, found, strict=True):
        # In the distance u = c − σ, on panels that shrink towards the peak of e^{−zu}.
        edges = np.concatenate([[0.0], c * 2.0 ** -np.arange(45.0, -1.0, -1.0)])
        for degree in range(order):
            legendre = np.polynomial.legendre.Legendre.basis(degree)
            expected = quadrature(lambda u, c=c, legendre=legendre: np.exp(-z * u) * legendre(2 * (c - u) - 1), edges)
            # J ≤ 1/z; the recurrences add up 4q roundings at most, in units of that.
            assert row[degree] == pytest.approx(expected, abs=50 * np.finfo(float).eps / max(1.0, z))


# --- closed forms ---


def one_coordinate(rate, x, r, f, start, length, exponent):
    """δ(length) of δ̇ = −λδ + f − εx(xδ − r), ε = (1 − t/length)^p, by quadrature in v = (1 − t/length)^{1/8}.

    ∫ from t to the end of λ + εx² is λw v⁸ + x²w v^{8(p+1)}/(p+1), w the length.
    """

    def left(v):
        return rate * length * v**8 + x**2 * length / (exponent + 1.0) * v ** (8.0 * (exponent + 1.0))

    def integrand(v):
        return np.exp(-left(v)) * (x * r * v ** (8.0 * exponent) + f) * 8.0 * length * v**7

    return start * np.exp(-left(1.0)) + quadrature(integrand, np.concatenate([[0.0], np.geomspace(1e-3, 1.0, 200)]))


@pytest.mark.parametrize("exponent", [0.125, 0.5, 1.0, 2.7, 8.0])
@pytest.mark.parametrize("rate", [0.0, 1e-6, 1.0, 1e3, 1e6])
@pytest.mark.parametrize("x", [1e-3, 1.0, 30.0, 1e3])
def test_one_coordinate(rate, x, exponent):
    """From hardly any change, 1e-6, to rates of 1e6, of the retained points and of the deleted one."""
    for r, f, start in ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (1.0, max(rate, 1.0), 1.0)):
        system = LinearSystem(np.array([rate]), np.array([[x]]), np.array([r]), np.array([f]))
        flow = integrate(system, np.array([[start]]), np.array([0.0, 1.0]), power(1.0, exponent))
        expected = one_coordinate(rate, x, r, f, start, 1.0, exponent)
        # The quadrature's own rounding, of 200 intervals.
        reference = 1e-14 * max(abs(start), abs(expected))
        assert abs(flow.states[0, 0] - expected) <= flow.errors[0] + reference
        assert flow.errors[0] <= 1e-10 * max(flow.size[0], min(f, f / max(rate, 1e-300)))


def test_a_point_along_an_axis_leaves_the_others_alone():
    """x_j an eigenvector: its coordinate has the closed form, the others fade and drift."""
    rates, f, start, p = np.array([0.3, 2.0, 50.0]), np.array([0.0, 1.0, 3.0]), np.array([1.0, -1.0, 2.0]), 0.4
    system = LinearSystem(rates, np.array([[0.0, 1.5, 0.0]]), np.array([0.7]), f)
    flow = integrate(system, start[None], np.array([0.0, 2.0, 3.0]), power(2.0, p))
    free = np.exp(-3.0 * rates) * start + f * -np.expm1(-3.0 * rates) / rates
    middle = one_coordinate(2.0, 1.5, 0.7, 1.0, -1.0, 2.0, p)
    free[1] = middle * np.exp(-2.0) + 1.0 * -np.expm1(-2.0) / 2.0
    np.testing.assert_allclose(flow.states[0], free, rtol=1e-13)


def test_a_member_that_ends_at_once_is_the_step():
    """t₁ = s: nothing but e^{−Λ(T−s)}."""
    system = LinearSystem(np.array([0.5, 3.0]), np.ones((1, 2)), np.ones(1), np.zeros(2))
    flow = integrate(system, np.ones((1, 2)), np.array([2.0, 2.0, 5.0]), lambda t: np.zeros((1, len(t), 1)))
    np.testing.assert_allclose(flow.states[0], np.exp([-1.5, -9.0]), rtol=1e-15)


# --- an independent integrator ---


def random_case(seed):
    """Up to 5 coordinates, 8 points; one weight for all or one each, of either sign in every other case."""
    rng = np.random.default_rng(seed)
    d, m = rng.integers(1, 6), rng.integers(1, 9)
    columns = int(rng.choice([1, m]))
    rates, rows = 10.0 ** rng.uniform(-2.0, 1.5, d), rng.standard_normal((m, d)) * 10.0 ** rng.uniform(-1.0, 0.5)
    system = LinearSystem(rates, rows, rng.standard_normal(m), rng.standard_normal(d) * rng.choice([0.0, 1.0]))
    exponents = rng.uniform(0.2, 3.0, columns)
    heights = rng.uniform(-0.2, 1.0, columns) if seed % 2 else np.ones(columns)
    return (
        system,
        rng.standard_normal(d),
        lambda t: (heights * np.clip(1.0 - t[..., None], 0.0, 1.0) ** exponents)[None],
    )


def by_solve_ivp(system, start, weights, ts):
    def field(t, delta):
        residual = system.rows @ delta - system.residuals
        return -system.rates * delta + system.drift - system.rows.T @ (weights(np.array([t]))[0, 0] * residual)

    states = [start]
    for left, right in itertools.pairwise(ts):
        states.append(solve_ivp(field, (left, right), states[-1], method="DOP853", rtol=1e-12, atol=1e-14).y[:, -1])
    return np.array(states)


@pytest.mark.parametrize("seed", range(12))
def test_random_problems_are_solve_ivp(seed):
    system, start, weights = random_case(seed)
    ts = np.array([0.0, 0.3, 1.0, 1.2, 1.5])
    flow = integrate(system, start[None], np.array([0.0, 1.0, 1.5]), weights, ts=ts)
    expected = by_solve_ivp(system, start, weights, ts)
    # solve_ivp: rtol 1e-12 a step, some 100 steps, growth by negative weights included.
    np.testing.assert_allclose(flow.passed, expected, rtol=0, atol=1e-10 * flow.size[0])
    assert flow.worst[0] <= 1e-11 * flow.size[0]
    np.testing.assert_array_equal(flow.passed[-1], flow.states[0])


COARSE = Precision(order=4, growth=8.0, depth=4.0, singular=1e-3, smooth=1.0, tolerance=1e300)
"""So few nodes that the defect is far above rounding, and no refinement."""


@pytest.mark.parametrize("seed", range(24))
def test_the_bound_holds_where_the_defect_is_large(seed):
    system, start, weights = random_case(seed)
    knots = np.array([0.0, 1.0])
    rough = integrate(system, start[None], knots, weights, precision=COARSE)
    exact = integrate(system, start[None], knots, weights)
    error = np.linalg.norm(rough.states - exact.states)
    assert error <= rough.errors[0]
    assert rough.errors[0] > 1e3 * exact.errors[0]


def test_panels_are_halved_until_the_bound_is_met():
    """A weight that oscillates a hundred times: nothing says so in advance."""

    def wave(t):
        return 0.5 + 0.5 * np.sin(628.0 * t)[None, :, None]

    system = LinearSystem(np.array([0.1, 2.0]), np.array([[1.0, 1.0]]), np.ones(1), np.zeros(2))
    flow = integrate(system, np.ones((1, 2)), np.array([0.0, 1.0]), wave)
    assert flow.panels > 40
    assert flow.errors[0] <= 1e-12
    expected = by_solve_ivp(system, np.ones(2), wave, [0.0, 1.0])
    np.testing.assert_allclose(flow.states[0], expected[-1], rtol=1e-9)  # solve_ivp: 1e-12 over a thousand steps


# --- stacks, sharing, scales ---


def family(begin, ends, exponents):
    """Members with ends (g,) and exponents (k,): ε of shape (g, k, n, 1)."""

    def weights(t):
        line = np.clip((ends[:, None] - t) / (ends - begin)[:, None], 0.0, 1.0)
        return (line[:, None, :] ** exponents[:, None])[..., None]

    return weights


def test_a_stack_is_its_members_one_by_one():
    system, start, _ = random_case(5)
    ends, exponents = np.array([0.2, 0.7, 1.5]), np.array([0.3, 1.0, 4.0])
    knots = np.stack([np.zeros(3), ends, np.full(3, 2.0)], axis=-1)
    together = integrate(system, start[None, None], knots, family(0.0, ends, exponents))
    for g, end in enumerate(ends):
        for k, exponent in enumerate(exponents):
            alone = integrate(system, start[None], knots[g], power(end, exponent))
            gap = np.linalg.norm(together.states[g, k] - alone.states[0])
            assert gap <= together.errors[g, k] + alone.errors[0]


@pytest.mark.parametrize("m", [1, 2])
def test_a_stack_of_problems_is_its_problems_one_by_one(m):
    rng = np.random.default_rng(0)
    rates, rows = rng.uniform(0.1, 5.0, (4, 3)), rng.standard_normal((4, m, 3))
    system = LinearSystem(rates, rows, rng.standard_normal((4, m)), np.zeros((4, 3)))
    start, ends = rng.standard_normal((4, 1, 3)), rng.uniform(0.5, 1.0, 4)
    knots = np.stack([np.zeros(4), ends, np.full(4, 2.0)], axis=-1)
    together = integrate(system, start, knots, family(0.0, ends, np.ones(1)))
    for b in range(4):
        one = LinearSystem(*(part[b] for part in system))
        alone = integrate(one, start[b], knots[b], power(ends[b], 1.0))
        np.testing.assert_allclose(together.states[b], alone.states, rtol=0, atol=1e-14)
        assert together.errors[b] <= 1e-12


def test_problems_and_ends_may_both_be_stacked():
    """Two leading axes: 3 problems, 2 ends each; the bound holds beside the members one by one."""
    rng = np.random.default_rng(1)
    rates, rows, start = rng.uniform(0.1, 5.0, (3, 2)), rng.standard_normal((3, 1, 2)), rng.standard_normal((3, 2))
    residuals, ends = rng.standard_normal((3, 1)), np.array([[0.2, 1.0]])
    system = LinearSystem(rates[:, None], rows[:, None], residuals[:, None], np.zeros((3, 1, 2)))
    knots = np.stack(np.broadcast_arrays(0.0, ends + np.zeros((3, 1)), 1.5), axis=-1)

    def lines(t):
        return np.clip(1.0 - t / ends[..., None], 0.0, 1.0)[:, :, None, :, None]

    together = integrate(system, start[:, None, None], knots, lines)
    for b in range(3):
        one = LinearSystem(rates[b], rows[b], residuals[b], np.zeros(2))
        for i, end in enumerate(ends[0]):
            alone = integrate(one, start[b][None], knots[b, i], power(end, 1.0))
            gap = np.linalg.norm(together.states[b, i, 0] - alone.states[0])
            assert gap <= together.errors[b, i, 0] + alone.errors[0]


def test_the_scan_is_close_to_the_proof():
    system, start, _ = random_case(8)
    ends, exponents = np.array([0.01, 0.3, 2.0]), np.geomspace(0.125, 8.0, 5)
    knots = np.stack([np.zeros(3), ends, np.full(3, 2.0)], axis=-1)
    rough, fine = (
        integrate(system, start[None, None], knots, family(0.0, ends, exponents), precision=precision)
        for precision in (SCAN, PROOF)
    )
    # What a search needs: far below a cell of its grid, far above rounding.
    np.testing.assert_allclose(rough.states, fine.states, rtol=0, atol=1e-7 * fine.size.max())


@pytest.mark.parametrize("time", [1e-6, 1e6])
@pytest.mark.parametrize("size", [1e-8, 1e8])
@pytest.mark.parametrize("feature", [1e-5, 1e5])
def test_units_do_not_matter(time, size, feature):
    """t → t·time, θ → θ·size, x → x·feature, with targets and rates to match: the same numbers in other units."""
    system, start, _ = random_case(3)
    knots = np.array([0.0, 1.0, 1.5])
    plain = integrate(system, start[None], knots, power(1.0, 0.5))
    # Time by feature² for x, as the rates are x²; θ by size.
    clock = time / feature**2
    scaled = LinearSystem(
        system.rates / clock,
        system.rows / np.sqrt(clock),
        system.residuals * size / np.sqrt(clock),
        system.drift * size / clock,
    )
    other = integrate(scaled, size * start[None], clock * knots, power(clock, 0.5))
    np.testing.assert_allclose(other.states / size, plain.states, rtol=1e-12)
    assert other.errors[0] / size == pytest.approx(plain.errors[0], rel=0.5)


@pytest.mark.parametrize(("d", "m"), [(3, 60), (60, 60)])
def test_many_points_are_solve_ivp(d, m):
    """More points than coordinates count as d of them; 60 of either have fewer nodes per panel, and more panels."""
    rng = np.random.default_rng(2)
    rows = rng.standard_normal((m, d)) / np.sqrt(m)
    system = LinearSystem(10.0 ** rng.uniform(-2.0, 1.0, d), rows, rng.standard_normal(m), np.zeros(d))
    start, weights = rng.standard_normal(d), power(1.0, 0.5)
    flow = integrate(system, start[None], np.array([0.0, 1.0]), weights)
    expected = by_solve_ivp(system, start, weights, [0.0, 1.0])
    # solve_ivp: the square root costs it some digits at the end, where its steps are short.
    np.testing.assert_allclose(flow.states[0], expected[-1], rtol=0, atol=1e-9 * flow.size[0])
    assert flow.errors[0] <= 1e-12 * flow.size[0]
