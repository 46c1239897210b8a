"""Linear regression: the exact flow and collocation against expm, solve_ivp and closed forms."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

import reference as ref
from epsflow._core import RESULTS, ConvergenceError, InputError, succeeded
from epsflow.flow import Trajectory, gradient_flow, homotopy
from epsflow.problem import Dataset, LinearModel, LogisticLoss, Problem, linear_regression
from epsflow.schedules import (
    AbstractSchedule,
    BangBang,
    Constant,
    ExponentialDecay,
    LinearDecay,
    PiecewiseConstant,
    PolynomialDecay,
    Step,
)

DELETE = (1, 4)
THETA0 = np.array([0.5, -1.0, 2.0])
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((8, 3)), RNG.standard_normal(8)
TS = jnp.array([0.0, 0.3, 0.5, 1.0, 1.7, 2.0, 3.0])  # always seven times and two deleted points: one compilation


def always(t: float) -> jnp.ndarray:
    return jnp.full(TS.shape, t)


def orthonormal(y: np.ndarray) -> Problem:
    """X = I; deleted are the last coordinate's point and one that says nothing."""
    return linear_regression(Dataset(np.eye(4, 3), np.append(y, 0.0)), [2, 3])


def thin(x: np.ndarray) -> np.ndarray:
    """Rank two, with the deleted rows or without them."""
    return x @ np.array([[1.0, 0.0, 1.0], [0.0, 1.0, -1.0], [1.0, 1.0, 0.0]])


PROBLEMS = {
    "full rank": (X, {}),
    "mean and ridge": (X, {"l2": 0.3, "reduction": "mean"}),
    "rank deficient": (thin(X), {}),
    # Without rows 1 and 4 nothing determines the last coordinate.
    "rank deficient without the points": (X * [[1, 1, float(i in DELETE)] for i in range(8)], {}),
}


@pytest.fixture(scope="module", params=PROBLEMS)
def pair(request) -> tuple[Problem, ref.System]:
    x, options = PROBLEMS[request.param]
    return linear_regression(Dataset(x, Y), DELETE, **options), ref.split_system(x, Y, DELETE, **options)


def by_expm(system: ref.System, jumps: list[float], levels: list, t0: float = 0.0) -> np.ndarray:
    """θ at TS, ε = levels[k] on [jumps[k−1], jumps[k]]."""
    stops = np.unique(np.concatenate([[t0], TS, jumps]))
    stops = stops[stops >= t0]
    middles = 0.5 * (stops[:-1] + stops[1:])
    path = ref.propagate(system, THETA0, stops, [levels[int(np.searchsorted(jumps, t))] for t in middles])
    return path[np.searchsorted(stops, TS[t0 <= TS])]


PIECEWISE = [
    (Constant(0.3), [], [0.3]),
    (Constant([0.3, 0.8]), [], [np.array([0.3, 0.8])]),
    (Step(1.0), [1.0], [1.0, 0.0]),
    (PiecewiseConstant([0.5, 1.2, 2.0], [0.4, 0.9]), [0.5, 1.2, 2.0], [1.0, 0.4, 0.9, 0.0]),
    (
        PiecewiseConstant([0.5, 1.2, 2.0], [[0.4, 1.0], [0.9, 0.0]]),
        [0.5, 1.2, 2.0],
        [1.0, np.array([0.4, 1.0]), np.array([0.9, 0.0]), 0.0],
    ),
    (BangBang(0.5, [0.5, 1.1], 2.5, first="low"), [0.5, 1.1, 2.5], [1.0, 1.0, 0.0, 0.0]),
]


@pytest.mark.parametrize(("schedule", "jumps", "levels"), PIECEWISE)
def test_exact_flow_is_expm(pair, schedule, jumps, levels):
    problem, system = pair
    path = gradient_flow(problem, schedule, THETA0, ts=TS)
    assert path.method == "exact"
    assert path.result == RESULTS.successful
    # Both carry about d·u·‖H‖t·‖θ‖ = 3 · 2e-16 · 60 · 3.
    np.testing.assert_allclose(path.thetas, by_expm(system, jumps, levels), rtol=0, atol=2e-13)
    np.testing.assert_array_equal(path.thetas[0], path(0.0))
    np.testing.assert_array_equal(path.eps, schedule(TS))
    assert path.end.shape == (3,)


def test_exact_flow_from_a_later_start(pair):
    """Arcs that end before t0 do not count, and at a jump on t0 the arc that begins counts."""
    problem, system = pair
    schedule = PiecewiseConstant([0.5, 1.0, 2.0], [0.4, 0.9])
    path = gradient_flow(problem, schedule, THETA0, ts=TS[3:], t0=1.0)
    expected = by_expm(system, [0.5, 1.0, 2.0], [1.0, 0.4, 0.9, 0.0], t0=1.0)
    np.testing.assert_allclose(path.thetas, expected, rtol=0, atol=2e-13)  # as above


def test_an_exact_trajectory_can_be_called_anywhere(pair):
    problem, _ = pair
    path = gradient_flow(problem, Step(1.0), THETA0, ts=TS + 0.5, t0=0.5)
    times = TS[1:].reshape(2, 3)
    assert path(times + 0.5).shape == (2, 3, 3)
    np.testing.assert_allclose(path(times + 0.5).reshape(-1, 3), path.thetas[1:], rtol=1e-13, atol=1e-15)  # one formula
    assert np.isfinite(path(90.0)).all()
    assert np.isnan(path(0.4)).all()  # before it began


def test_the_kernel_never_moves():
    """X of rank two: whatever ε does, the part of θ0 that no point sees stays."""
    problem = linear_regression(Dataset(thin(X), Y), DELETE)
    path = gradient_flow(problem, BangBang(0.5, [1.0], 2.0), THETA0, ts=TS)
    unseen = np.array([1.0, -1.0, -1.0]) / math.sqrt(3.0)
    np.testing.assert_allclose(thin(X) @ unseen, 0.0, rtol=0, atol=1e-15 * 8)
    np.testing.assert_allclose(path.thetas @ unseen, THETA0 @ unseen, rtol=1e-14)


# --- worked examples ---

HALF_LOG_THREE = 0.5493061443340548


def test_exact_unlearning_in_finite_time():
    """X = (1, 1)ᵀ, y = (2, 1): with the first point until ½ ln 3, the second one's optimum 1 is reached for good."""
    problem = linear_regression(Dataset(np.ones((2, 1)), np.array([2.0, 1.0])), 0)
    path = gradient_flow(problem, Step(HALF_LOG_THREE), np.zeros(1), ts=TS)
    after = np.asarray(TS) > HALF_LOG_THREE
    np.testing.assert_allclose(path.thetas[after, 0], 1.0, rtol=1e-15)
    before = [ref.exact_two_row_example(t) for t in np.asarray(TS)[~after]]
    np.testing.assert_allclose(path.thetas[~after, 0], before, rtol=1e-14)
    assert (path.thetas[~after, 0] < 0.96).all()


@pytest.mark.parametrize("tau", [0.0, 0.4, 2.0])
def test_cost_of_a_step_for_orthonormal_points(tau):
    end = gradient_flow(orthonormal(np.ones(3)), Step(tau), np.zeros(3), ts=always(2.0)).end
    cost = 0.5 * float(jnp.sum((end - jnp.array([1.0, 1.0, 0.0])) ** 2))
    assert cost == pytest.approx(ref.identity_step_cost(3, tau, 2.0), rel=1e-14)


@pytest.mark.parametrize(
    ("schedule", "integral", "method"),
    [
        (LinearDecay(0.5, 2.0), 0.5 + 1.5 / 2.0, "collocation"),
        (PolynomialDecay(0.5, 2.0, 0.5), 0.5 + 1.5 / 1.5, "collocation"),
        (PolynomialDecay(0.5, 2.0, 8.0), 0.5 + 1.5 / 9.0, "collocation"),
        (ExponentialDecay(0.5, 2.0, 2.0), 0.5 + (1.0 - math.exp(-3.0)) / 2.0, "collocation"),
        (ExponentialDecay(0.5, 50.0, 2.0), 0.5 + (1.0 - math.exp(-75.0)) / 50.0, "collocation"),
        (LinearDecay(0.5, 2.0), 0.5 + 1.5 / 2.0, "diffrax"),
        (PolynomialDecay(0.5, 2.0, 0.5), 0.5 + 1.5 / 1.5, "diffrax"),
    ],
)
def test_decays_for_orthonormal_points(schedule, integral, method):
    """X = I: θ_j(T) = y_j + (θ0_j − y_j) e^{−∫ε}, the others e^{−T}: a closed form for every schedule."""
    y = np.array([1.0, -2.0, 0.5])
    path = gradient_flow(orthonormal(y), schedule, THETA0, ts=TS, method=method)
    expected = y + (THETA0 - y) * np.exp(-np.array([3.0, 3.0, integral]))
    # Collocation: a few dozen panels of rounding. Diffrax: local tolerance 1e-10, summed over the steps.
    np.testing.assert_allclose(path.end, expected, rtol=0, atol={"collocation": 1e-14, "diffrax": 1e-9}[method])


# --- smooth decays ---


@pytest.mark.parametrize("method", ["collocation", "diffrax"])
def test_linear_decay_is_the_autonomous_system(pair, method):
    """the derivation, section 3: (θ, r) with r = t, integrated by solve_ivp at rtol 1e-12."""
    problem, system = pair
    s, t1, T = 0.5, 1.7, 3.0
    theta_s = ref.linear_flow(*system.at(1.0), THETA0, s)
    theta_1 = ref.linear_decay_flow(system, theta_s, s, t1)
    expected = [theta_1, ref.linear_flow(system.H, system.b, theta_1, T - t1)]
    path = gradient_flow(problem, LinearDecay(s, t1), THETA0, ts=TS, method=method)
    assert path.method == method
    assert TS[4] == t1
    # The reference's own error is near 1e-12 per unit; diffrax adds its tolerance of 1e-10 over the steps.
    atol = {"collocation": 1e-11, "diffrax": 1e-9}[method]
    np.testing.assert_allclose(path.thetas[jnp.array([4, 6])], expected, rtol=0, atol=atol)


@pytest.mark.parametrize(
    "schedule",
    [PolynomialDecay(0.5, 2.0, 0.5), PolynomialDecay(0.5, 2.0, 2.5), ExponentialDecay(0.5, 1.5, 2.0)],
    ids=["square root", "fractional power", "exponential"],
)
def test_collocation_is_solve_ivp(pair, schedule):
    problem, system = pair

    def eps(t):
        if t <= 0.5 or t >= 2.0:
            return float(t <= 0.5)
        if isinstance(schedule, ExponentialDecay):
            return math.exp(-1.5 * (t - 0.5))
        return ((2.0 - t) / 1.5) ** float(schedule.power)

    expected = ref.ivp_flow(ref.linear_gradient(system), eps, THETA0, np.asarray(TS), jumps=[0.5, 2.0])
    path = gradient_flow(problem, schedule, THETA0, ts=TS, method="collocation")
    np.testing.assert_allclose(path.thetas, expected, rtol=0, atol=2e-11)  # solve_ivp at rtol 1e-12 over some 50 steps


@pytest.mark.parametrize(
    ("s", "t1"), [(0.0, 1e-3), (2.0, 2.001), (50.0, 51.0), (2.0, 2.0), (2.0, np.nextafter(2.0, 3))]
)
@pytest.mark.parametrize("power", [0.5, 3.0])
def test_short_and_late_decays(s, t1, power):
    """A power's series has no radius at t₁; the steps towards it must end where t itself is no longer resolved."""
    y = np.array([1.0, -2.0, 0.5])
    ts = always(60.0).at[0].set(t1)
    path = gradient_flow(orthonormal(y), PolynomialDecay(s, t1, power), THETA0, ts=ts, method="collocation")
    expected = y[2] + (THETA0[2] - y[2]) * math.exp(-(s + (t1 - s) / (power + 1.0)))
    np.testing.assert_allclose(path.thetas[:, 2], expected, rtol=1e-13)  # a few hundred steps, 60·u of t
    assert float(path.error) < 1e-12


def test_collocation_before_inside_and_after(pair):
    """Starting anywhere gives the rest of the same path."""
    problem, _ = pair
    schedule = ExponentialDecay(0.5, 1.5, 2.0)
    whole = gradient_flow(problem, schedule, THETA0, ts=TS, method="collocation")
    for k in range(1, 6):
        rest = gradient_flow(problem, schedule, whole.thetas[k], ts=always(3.0), t0=float(TS[k]), method="collocation")
        np.testing.assert_allclose(rest.end, whole.end, rtol=0, atol=1e-13)  # rounding of some hundred steps


# --- the reported error bounds the actual one ---


def largest_error(path: Trajectory, expected: np.ndarray) -> float:
    return float(np.abs(np.asarray(path.thetas) - expected).max())


@pytest.mark.parametrize("size", [1.0, 1e4, 1e8])
@pytest.mark.parametrize("method", ["exact", "collocation"])
def test_error_bound_from_a_large_start(size, method):
    """A start far away leaves its rounding in the directions that forget slowly.

    Eigenvectors of H from the reflection I − 2vvᵀ/9, v = (1, 2, 2), scaled to whole numbers; eigenvalues 81, 0, 324.
    The start decays to nothing, e^{−324}, so whatever is left at t = 1 is error.
    """
    q = np.array([[7.0, -4, -4], [-4, 1, -8], [-4, -8, 1]])
    data = Dataset(np.stack([q[0], 2.0 * q[2], np.zeros(3), np.zeros(3)]), np.zeros(4))
    schedule = Constant(1.0) if method == "exact" else LinearDecay(0.2, 0.4)
    path = gradient_flow(linear_regression(data, [2, 3]), schedule, size * q[2], ts=always(1.0), method=method)
    assert largest_error(path, np.zeros(3)) <= float(path.error)
    assert float(path.error) <= 1e-9 * size  # and it is no empty promise


@pytest.mark.parametrize("method", ["exact", "diffrax"])
def test_error_bound_on_random_problems(pair, method):
    problem, system = pair
    path = gradient_flow(problem, Step(1.0), THETA0, ts=TS, method=method)
    expected = by_expm(system, [1.0], [1.0, 0.0])
    # expm's own rounding, as in the first test; diffrax's estimate is the error of a run ten times looser.
    assert largest_error(path, expected) <= float(path.error) + 2e-13
    assert float(path.error) <= {"exact": 1e-12, "diffrax": 1e-7}[method]


def test_no_error_unless_asked(pair):
    path = gradient_flow(pair[0], Step(1.0), THETA0, ts=TS, method="diffrax", estimate_error=False)
    assert np.isnan(path.error)


# --- refusals ---

ROWS = Dataset(X, Y)
LINEAR = linear_regression(ROWS, DELETE)
LOGISTIC = Problem(LinearModel(3), LogisticLoss(), Dataset(X, 1.0 * (Y > 0)), DELETE)


class Own(AbstractSchedule):
    """A user's schedule of no known kind."""

    @property
    def start(self):
        return jnp.asarray(1.0)

    @property
    def end(self):
        return jnp.asarray(2.0)

    def inner(self, t):
        return jnp.cos(t)

    @property
    def jump_ts(self):
        return jnp.array([1.0, 2.0])


@pytest.mark.usefixtures("as_a_user")
@pytest.mark.parametrize(
    ("problem", "schedule", "options", "message"),
    [
        (
            LINEAR,
            Step(1.0),
            {"theta0": np.zeros(2)},
            r"theta0 has shape \(2,\); this problem needs a vector of length 3",
        ),
        (LINEAR, Step(1.0), {"theta0": np.zeros(3, np.float32)}, "theta0 has dtype float32"),
        (LINEAR, Step(1.0), {"ts": np.zeros(0)}, r"ts must be a non-empty vector of finite times; got shape \(0,\)"),
        (LINEAR, Step(1.0), {"ts": [0.0, np.nan]}, "ts must be a non-empty vector of finite times"),
        (LINEAR, Step(1.0), {"ts": [1.0, 0.5]}, "ts must ascend from t0 = 0; it runs from 1 to 0.5"),
        (LINEAR, Step(1.0), {"t0": 1.0}, "ts must ascend from t0 = 1; it runs from 0 to 2"),
        (LINEAR, Step(1.0), {"t0": np.inf}, "t0 is inf"),
        (LINEAR, Step(1.0), {"method": "euler"}, "unknown method 'euler': choose auto, exact, collocation or diffrax"),
        (LINEAR, Own(), {"method": "exact"}, 'method="exact" needs a piecewise-constant schedule, not Own'),
        (LINEAR, LinearDecay(0.5, 1.0), {"method": "collocation", "dense": True}, "gives θ at `ts` only"),
        (LOGISTIC, Step(1.0), {"method": "exact"}, 'method="exact" is for linear regression'),
        (LOGISTIC, LinearDecay(0.5, 1.0), {"method": "collocation"}, 'method="collocation" is for linear regression'),
        (LINEAR, Own(), {"rtol": 0.0}, "rtol is 0.0; a tolerance lies between 0 and 1"),
        (LINEAR, Own(), {"atol": -1.0}, "atol is -1.0; a positive number is needed"),
    ],
)
def test_flows_that_are_none(problem, schedule, options, message):
    with pytest.raises(InputError, match=message):
        gradient_flow(problem, schedule, **{"theta0": THETA0, "ts": [0.0, 2.0], **options})


def test_rounding_of_the_rotations_is_in_the_error():
    """After no time θ is θ0, less what a turn into the eigenbasis and back loses; every arc loses as much."""
    rng, off, claimed = np.random.default_rng(0), [], []
    for _ in range(200):
        x = rng.standard_normal((6, 2)) * [1.0, np.exp(rng.standard_normal())]
        problem = linear_regression(Dataset(x, rng.standard_normal(6)), [0], reduction="mean")
        start = rng.standard_normal(2)
        path = gradient_flow(problem, Step(0.5e-20), start, ts=np.array([1e-20]))
        off.append(np.abs(path.end - start).max())
        claimed.append(float(path.error))
    assert (np.array(off) <= claimed).all()
    assert np.max(claimed) <= 1e-13  # some dozen roundings of θ, not more


def test_an_exact_flow_too_large_for_memory_is_refused():
    many = PiecewiseConstant(np.arange(3001.0), np.linspace(0.0, 1.0, 3000))
    wide = linear_regression(Dataset(np.ones((2, 300)), np.ones(2)), 0)
    with pytest.raises(InputError, match=r'3000 eigenbases of size 300², 2\.2 GB; use method="diffrax"'):
        gradient_flow(wide, many, np.zeros(300), ts=TS)


def test_arcs_of_one_level_share_an_eigenbasis(pair):
    """Thousands of arcs between two levels: the same path as with one arc fewer, and two bases in memory."""
    problem, _ = pair
    knots = np.linspace(0.5, 2.0, 3001)
    path = gradient_flow(problem, PiecewiseConstant(knots, np.arange(3000) % 2 * 1.0), THETA0, ts=TS)
    assert path.interpolant.bases.values.shape == (2, 3)
    half = gradient_flow(problem, Constant(0.5), path.thetas[2], ts=TS[2:6], t0=0.5)
    # Averaging: switching every h = 5e-4 differs from the mean weight by h·‖H‖·‖∇ℓ‖ at most.
    np.testing.assert_allclose(path.thetas[2:6], half.thetas, rtol=0, atol=5e-4 * 20 * 3)


def test_weights_must_be_one_or_one_for_each_point():
    with pytest.raises(InputError, match="the schedule has 3 weights, but 2 points are deleted"):
        gradient_flow(LINEAR, Constant([0.1, 0.2, 0.3]), THETA0, ts=TS)


# --- what "auto" chooses ---


@pytest.mark.parametrize(("schedule", "method"), [(Step(1.0), "exact"), (LinearDecay(0.5, 2.0), "collocation")])
def test_linear_regression_needs_no_integrator(schedule, method):
    assert gradient_flow(LINEAR, schedule, THETA0, ts=TS).method == method
    assert gradient_flow(LOGISTIC, schedule, THETA0, ts=TS).method == "diffrax"


def test_a_schedule_of_no_known_kind_is_followed_too():
    """It only says where it jumps: from 1 to cos 1, and from cos 2 to 0."""
    path = gradient_flow(LINEAR, Own(), THETA0, ts=TS)
    other = gradient_flow(LINEAR, Own(), THETA0, ts=TS, method="diffrax")
    assert path.method == "collocation"
    np.testing.assert_allclose(path.thetas, other.thetas, rtol=0, atol=1e-8)  # diffrax: 1e-10 a step


def test_collocation_of_constants_is_the_exact_flow(pair):
    for schedule in (PiecewiseConstant([0.5, 1.2, 2.0], [[0.4, 1.0], [0.9, -0.2]]), Constant(0.3)):
        exact, other = (gradient_flow(pair[0], schedule, THETA0, ts=TS, method=way) for way in ("exact", "collocation"))
        assert largest_error(other, np.asarray(exact.thetas)) <= float(exact.error) + float(other.error)
        np.testing.assert_allclose(other.thetas, exact.thetas, rtol=0, atol=2e-13)  # as expm above


def test_a_flow_that_overflows_says_so():
    """A negative weight lets a direction grow like e^{40 t}: past 1e308 before t = 1000."""
    with pytest.raises(
        ConvergenceError, match="the flow overflows before t = 1000: NaN or infinity appeared"
    ) as caught:
        gradient_flow(LINEAR, Constant(-10.0), THETA0, ts=np.array([0.0, 1000.0]))
    # There and back in a basis of three.
    np.testing.assert_allclose(caught.value.result.thetas[0], THETA0, rtol=1e-14)
    surface = homotopy(LINEAR, theta0=THETA0, eps=np.array([-10.0, 1.0]), ts=np.array([1000.0]), throw=False)
    assert succeeded(surface.result).tolist() == [False, True]
