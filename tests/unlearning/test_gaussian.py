"""δ_G(ε; r) and its inverses: against 200 digits, in both directions, in order."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from epsflow import InputError, gaussian_delta, gaussian_epsilon, gaussian_r, rdp_to_dp, trade_off
from epsflow.unlearning._renyi import line_epsilon, line_slope

# ε, r, and Φ(r/2 − ε/r) − e^ε Φ(−r/2 − ε/r) computed with 200 digits.
REFERENCE = [
    (0.0, 1e-12, 3.9894228040143267e-13),
    (0.0, 0.3, 0.11923538474048503),
    (1e-12, 1e-12, 8.3315470587727954e-14),
    (3e-11, 1e-12, 1.6319567341158607e-211),
    (0.001, 0.0001, 7.4782984600195642e-29),
    (0.001, 0.002, 0.00039579085989490051),
    (0.05, 0.01, 5.4814402007468726e-10),
    (0.5, 0.1, 6.8565824558387371e-9),
    (1.0, 0.0281, 1.4368782483614109e-280),
    (1.0, 0.25, 2.9242721048564073e-6),
    (1.0, 1.0, 0.12693673750664395),
    (1.0, 4.0, 0.92671128125548039),
    (2.0, 3.3, 0.76282768470093493),
    (5.0, 0.14, 5.6427097647954593e-281),
    (5.0, 1.0, 5.7937216919194941e-7),
    (10.0, 0.5, 9.8551206108501659e-89),
    (20.0, 0.7, 3.8539849879915729e-177),
    (100.0, 3.0, 9.625213469476304e-224),
    (100.0, 14.0, 0.41541738769778858),
    (100.0, 20.0, 0.99999961466855645),
    (1000.0, 30.0, 1.3899153375663527e-75),
    (50000000.0, 10000.0, 0.4999601057723588),
    (50300000.0, 10000.0, 4.8920215430980364e-198),
]
ROUNDING = np.finfo(float).eps


def conditioning(epsilon: float, r: float) -> float:
    """How many roundings of δ_G one of ε or r makes: of a, magnified at most 1 + |a| times, and of φ(a)."""
    a = r / 2 - epsilon / r
    return 1 + a * a + (1 + abs(a)) * (r / 2 + epsilon / r)


@pytest.mark.parametrize(("epsilon", "r", "delta"), REFERENCE)
def test_delta_has_the_digits_that_rounding_leaves(epsilon: float, r: float, delta: float):
    # Two Mills' ratios of two roundings each; where they are subtracted they differ by a twentieth of them or more.
    tolerance = 80 * ROUNDING * conditioning(epsilon, r)
    assert gaussian_delta(epsilon, r) == pytest.approx(delta, rel=tolerance, abs=0)


@pytest.mark.parametrize(("epsilon", "r", "delta"), [row for row in REFERENCE if row[2] < 0.99])
def test_both_inverses_find_the_argument(epsilon: float, r: float, delta: float):
    # δ to 17 digits fixes log r and ε to a rounding times d log r/d log δ, at most of order one in these rows.
    assert gaussian_r(epsilon, delta) == pytest.approx(r, rel=10 * ROUNDING, abs=0)
    assert gaussian_epsilon(delta, r) == pytest.approx(epsilon, rel=20 * ROUNDING, abs=0)


def test_near_certainty_the_inverses_are_as_exact_as_their_input():
    # 1 − δ = 3.9e-7 is known to one rounding of δ: 3e-10 relative, and r changes 1e-2 as much.
    assert gaussian_r(100.0, 0.99999961466855645) == pytest.approx(20.0, rel=3e-12)
    assert gaussian_epsilon(0.99999961466855645, 20.0) == pytest.approx(100.0, rel=1e-11)


def test_noise_for_one_and_a_hundred_thousandth():
    assert 1 / gaussian_r(1.0, 1e-5) == pytest.approx(3.731, abs=5e-4)


exponents = st.floats(-6, 2)
log_delta = st.floats(-690, -1e-2)


@given(exponents, log_delta)
def test_r_comes_back_from_the_smallest_delta(exponent: float, logarithm: float):
    epsilon, delta = 10.0**exponent, np.exp(logarithm)
    r = gaussian_r(epsilon, delta)
    # The roundings of δ_G as above, twice: in the search, and in what it is compared with.
    assert gaussian_delta(epsilon, r) == pytest.approx(delta, rel=160 * ROUNDING * conditioning(epsilon, r), abs=0)
    # d log ε/d log r is at most 2 + r²/ε.
    assert gaussian_epsilon(delta, r) == pytest.approx(epsilon, rel=1e3 * ROUNDING * (2 + r * r / epsilon), abs=0)


@given(st.floats(-12, 4), st.floats(0, 38), st.floats(1e-6, 1.0))
def test_delta_grows_with_r_and_falls_with_epsilon(exponent: float, u: float, change: float):
    r = 10.0**exponent
    epsilon = r * u
    slack = 160 * ROUNDING * conditioning(epsilon, r)
    here = gaussian_delta(epsilon, r)
    assert gaussian_delta(epsilon, r * (1 + change)) >= here * (1 - slack)
    assert gaussian_delta(epsilon * (1 + change), r) <= here * (1 + slack)


@given(st.floats(-6, 3), st.floats(-680, -1), st.floats(1e-3, 1))
def test_r_grows_with_epsilon_and_delta(exponent: float, logarithm: float, change: float):
    epsilon, delta = 10.0**exponent, np.exp(logarithm)
    assert gaussian_r(epsilon * (1 + change), delta) > gaussian_r(epsilon, delta)
    assert gaussian_r(epsilon, delta * np.exp(change)) > gaussian_r(epsilon, delta)


def test_the_ends_of_the_curve():
    np.testing.assert_array_equal(gaussian_delta(1.0, [0.0, np.inf]), [0, 1])
    np.testing.assert_array_equal(gaussian_epsilon(1e-5, [0.0, 1e-12, np.inf]), [0, 0, np.inf])
    assert gaussian_r([[1.0], [2.0]], [0.1, 0.2, 0.3]).shape == (2, 3)
    assert gaussian_r(np.empty(0), 0.1).shape == (0,)


def test_a_long_vector_is_its_blocks():
    epsilon = np.geomspace(1e-3, 10, 10_001)
    r = gaussian_r(epsilon, 1e-6)
    assert (np.diff(r) > 0).all()
    assert r[[0, 5000, -1]].tolist() == [gaussian_r(e, 1e-6) for e in epsilon[[0, 5000, -1]]]


def test_the_trade_off_curve_has_delta_as_its_legendre_transform():
    r, epsilon = 1.3, 0.8
    alpha = np.linspace(0, 1, 200_001)
    # δ(ε) = max_α 1 − e^ε α − f(α) (Dong, Roth, Su, Prop. 2.12, for the symmetric curve); the grid errs by its square.
    best = (1 - np.exp(epsilon) * alpha - trade_off(alpha, r)).max()
    assert best == pytest.approx(gaussian_delta(epsilon, r), abs=1e-9)
    np.testing.assert_array_equal(trade_off([0.0, 1.0], [5.0, 5.0]), [1, 0])
    np.testing.assert_allclose(trade_off(alpha[1:-1], 0.0), 1 - alpha[1:-1], rtol=1e-10)
    assert trade_off(trade_off(0.3, r), r) == pytest.approx(0.3, rel=1e-14)  # it is its own inverse


def test_renyi_to_dp_by_both_conversions():
    # ε(α) = α/2 at α = 2, δ = 1/100, by hand: 1 + log 100 classically, and log(1/2) − log 2 less.
    classical = rdp_to_dp(2.0, [1.0], delta=0.01, conversion="classical")
    assert classical == pytest.approx(1 + np.log(100), rel=1e-15)
    assert rdp_to_dp([2.0], [1.0], delta=0.01) == pytest.approx(1 + np.log(100) - 2 * np.log(2), rel=1e-15)
    assert rdp_to_dp([2.0, 3.0], [[1.0, np.inf], [np.inf, 1.0]], delta=0.5).shape == (2,)
    assert rdp_to_dp([2.0], [0.0], delta=0.9) == 0


@given(st.floats(-3, 1), st.floats(-20, -2))
def test_a_gaussians_renyi_bound_is_above_its_curve_and_below_the_classical_line(exponent: float, logarithm: float):
    r, delta = 10.0**exponent, np.exp(logarithm)
    slope = r * r / 2
    tight = line_epsilon(slope, delta)
    # min_α slope·α + log(1/δ)/(α − 1) = slope + 2√(slope·log(1/δ)).
    classical = slope + 2 * np.sqrt(-slope * logarithm)
    assert gaussian_epsilon(delta, r) <= tight <= classical * (1 + 1e-9)
    if tight > 1e-6:
        # The grid ends 1e-9 from the best order, where the value differs by the square.
        assert line_slope(tight, delta) == pytest.approx(slope, rel=1e-9)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: gaussian_delta(-1.0, 1.0), "epsilon is -1"),
        (lambda: gaussian_delta(1.0, -2.0), "r is -2"),
        (lambda: gaussian_delta(1.0, np.nan), "r holds NaN"),
        (lambda: gaussian_delta(1.0, "near"), "r is not an array of numbers"),
        (lambda: gaussian_r(1.0, [0.1, 0.0]), "delta is 0, but δ_dp is a probability inside"),
        (lambda: gaussian_r(np.inf, 0.1), "epsilon is inf"),
        (lambda: gaussian_epsilon(1.0, 1.0), "delta is 1, but"),
        (lambda: trade_off(1.5, 1.0), "type_one holds a number outside"),
        (lambda: rdp_to_dp([1.0], [1.0], delta=0.1), "orders holds 1; a Rényi order"),
        (lambda: rdp_to_dp([2.0], [-1.0], delta=0.1), "negative number"),
        (lambda: rdp_to_dp([2.0, 3.0], [1.0], delta=0.1), "one bound ε.α. for each order"),
        (lambda: rdp_to_dp([2.0], [1.0], delta=2.0), "delta is 2"),
        (lambda: rdp_to_dp([2.0], [1.0], delta=0.1, conversion="loose"), "the choices are"),
    ],
)
def test_what_is_no_guarantee_is_refused(call, words: str):
    with pytest.raises(InputError, match=words):
        call()
