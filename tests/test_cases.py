"""Small inputs that other tools, or an early version of this one, answered wrongly and called right.

The values come from NIST's certificates, closed forms, refits, or exact rational arithmetic.
"""

from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import expit

import epsflow as ef
from epsflow import (
    ConvergenceError,
    Dataset,
    FunctionModel,
    InputError,
    LinearModel,
    LogisticLoss,
    Problem,
    SoftmaxCrossEntropy,
    SquaredLoss,
)
from problem.nist import NIST

CONDITIONED = 1e-9
"""The designs of Longley and Wampler have, scaled, a condition of some 1e5: times rounding and a few operations."""


def logistic(x, y, **options):
    x = np.asarray(x, float)
    return Problem(LinearModel(x.shape[1]), LogisticLoss(), Dataset(x, np.asarray(y, float)), **options)


def exact(x, y):
    """Least squares by Gaussian elimination of rational numbers."""
    rows, targets, d = [[Fraction(v) for v in row] for row in x.tolist()], [Fraction(v) for v in y.tolist()], x.shape[1]
    system = [
        [sum(r[i] * r[j] for r in rows) for j in range(d)] + [sum(r[i] * t for r, t in zip(rows, targets, strict=True))]
        for i in range(d)
    ]
    for i in range(d):
        system[i] = [value / system[i][i] for value in system[i]]
        for k in range(d):
            if k != i:
                system[k] = [a - system[k][i] * b for a, b in zip(system[k], system[i], strict=True)]
    return np.array([float(row[-1]) for row in system])


# ---- 1: rank is judged after scaling ---------------------------------------------------------------------------


def longley(delete=None):
    """Raw units, the intercept last."""
    known = NIST["Longley"]
    return ef.linear_regression(Dataset(np.roll(known.x, -1, axis=1), known.y), delete)


@pytest.mark.parametrize("solve", [ef.train, ef.equilibrium])
def test_1a_longley_in_raw_units(solve):
    theta = solve(longley()).theta
    assert theta[-1] == pytest.approx(-3482258.63459582, rel=1e-14)
    residuals = longley().data.y - longley().data.x @ theta
    assert residuals @ residuals == pytest.approx(836424.055505915, rel=1e-12)


def leave_out_by(route, problem, everything, theta):
    """θ without the problem's point, by one of the library's routes."""
    point = int(problem.delete[0])
    return {
        "retrain": lambda: ef.retrain(problem).theta,
        "newton_step": lambda: ef.newton_step(problem, theta).predicted,
        "newton_step_all": lambda: ef.newton_step_all(everything, points=[point]).predicted[0],
        "retrain_all": lambda: ef.retrain_all(everything, points=[point]).thetas[0],
        "pbrf": lambda: ef.pbrf(problem, theta, damping=0.0).theta,
        "response_path": lambda: ef.response_path(problem, eps=np.array([1.0, 0.0])).thetas[-1],
        "leverage": lambda: theta + ef.leverage(everything).change[point],
        "influence": lambda: theta + ef.influence(problem).change / (1.0 - ef.leverage(everything).leverages[point]),
    }[route]()


ROUTES = [
    "retrain", "newton_step", "newton_step_all", "retrain_all", "pbrf", "response_path", "leverage", "influence",
]  # fmt: skip


@pytest.mark.parametrize("route", ROUTES)
def test_1b_longley_without_its_last_row_is_unique_by_every_route(route):
    problem, known = longley([15]), exact(longley().data.x[:15], longley().data.y[:15])
    found = leave_out_by(route, problem, longley(), ef.train(longley()).theta)
    np.testing.assert_allclose(found, known, rtol=CONDITIONED)


def unequal_columns():
    x = np.array([(1, 1), (1, -1), (-1, 1), (-1, -1), (2, 0), (0, 2)], float) * [1e8, 1.0]
    return ef.linear_regression(Dataset(x, x @ [3e-8, 5.0]))


def test_1c_a_column_in_other_units_hides_no_other():
    np.testing.assert_allclose(ef.train(unequal_columns()).theta, [3e-8, 5.0], rtol=1e-14)
    end = ef.gradient_flow(unequal_columns(), ef.Constant(1.0), np.zeros(2), ts=np.array([1.0])).end
    # XᵀX is diagonal, 8 for the second column.
    np.testing.assert_allclose(end, [3e-8, -5.0 * np.expm1(-8.0)], rtol=1e-13)


def test_1d_an_intercept_that_a_huge_column_leaves_unpenalised(rng):
    x, y, huge = rng.standard_normal((20, 2)), 3.0 + rng.standard_normal(20), 1e7
    data = Dataset(np.column_stack([x, np.full(20, huge)]), y)
    found = ef.retrain(ef.linear_regression(data, [4], l2=1.0)).theta
    kept = np.arange(20) != 4
    centred = x[kept] - x[kept].mean(axis=0)
    slopes = np.linalg.solve(centred.T @ centred + np.eye(2), centred.T @ (y[kept] - y[kept].mean()))
    # The penalty of the intercept is 1e-14 of what the data say of it.
    np.testing.assert_allclose(found[:2], slopes, rtol=1e-12)
    assert found[2] * huge == pytest.approx(y[kept].mean() - x[kept].mean(axis=0) @ slopes, rel=1e-12)


# ---- 2: closed forms are held to their certificates ------------------------------------------------------------


def wampler(delete=None):
    known = NIST["Wampler3"]
    return ef.linear_regression(Dataset(known.x, known.y), delete)


def test_2_wampler_3():
    np.testing.assert_allclose(ef.train(wampler()).theta, np.ones(6), rtol=1e-12)


@pytest.mark.parametrize("route", ROUTES)
def test_2_wampler_3_without_row_4(route):
    known = [
        335.354866755259, -804.610681805755, 201.088489345414, -17.6403646831131, 1.74974532644992, 0.989046363577165,
    ]  # fmt: skip
    found = leave_out_by(route, wampler([4]), wampler(), ef.train(wampler()).theta)
    np.testing.assert_allclose(found, known, rtol=CONDITIONED)


# ---- 3, 4, 5: minima of logistic regression in any unit --------------------------------------------------------

APART = np.array([-4, -3, -2, -1.2, 1, 2.2, 3, 4])[:, None]
INCOMES = np.array([-27, -23, -18, -14, -9, 7, 13, 19, 26, 45.0])[:, None]


def positive(x):
    return (x[:, 0] > 0.0).astype(float)


@pytest.mark.parametrize("unit", [1e-8, 1.0, 1e5, 1e8])
@pytest.mark.parametrize(
    "question",
    [
        ef.train,
        ef.equilibrium,
        ef.retrain,
        ef.newton_step,
        ef.influence,
        ef.self_influence,
        ef.response_path,
        ef.retrain_all,
        lambda problem: ef.optimal_schedule(problem, [0.0], s=1.0, T=2.0),
        lambda problem: ef.best_in_family(problem, ef.Step, [0.0], s=1.0, T=2.0),
        lambda problem: ef.compare_schedules(problem, [0.0], s=1.0, T=2.0),
    ],
)
@pytest.mark.parametrize("x", [APART, INCOMES])
def test_3_and_4_classes_that_separate_have_no_minimum_in_any_unit(x, question, unit):
    with pytest.raises(ConvergenceError, match="separable classes"):
        question(logistic(unit * x, positive(x), delete=[3]))


def test_3b_a_penalty_is_not_scaled():
    x, y = 1e6 * APART[:, 0], positive(APART)

    def slope(theta):
        return x @ (expit(x * theta) - y) + theta

    found = ef.train(logistic(1e6 * APART, y, l2=1.0)).theta[0]
    assert found == pytest.approx(brentq(slope, 1e-6, 1e-4, xtol=1e-22, rtol=1e-14), rel=1e-12)
    assert found == pytest.approx(2.4443647346748e-05, rel=1e-12)


def incomes_and_ages(delete=None):
    rng = np.random.default_rng(3)
    x = np.column_stack([rng.lognormal(10.5, 0.6, 400), rng.uniform(18, 80, 400), np.ones(400)])
    y = (rng.uniform(size=400) < expit(x @ [3e-5, 0.02, -2.0])).astype(float)
    return logistic(x, y, reduction="mean", delete=delete)


def test_5_raw_incomes_and_ages_have_a_minimum_by_every_route():
    units = np.array([1e4, 10.0, 1.0])
    x, y = incomes_and_ages().data.x / units, incomes_and_ages().data.y
    keep = np.arange(400) != 7

    def newton(x, y):
        theta = np.zeros(3)
        for _ in range(30):
            p = expit(x @ theta)
            theta = theta - np.linalg.solve((x.T * (p * (1.0 - p))) @ x, x.T @ (p - y))
        return theta / units

    problem = incomes_and_ages([7])
    np.testing.assert_allclose(ef.train(problem).theta, newton(x, y), rtol=1e-12)
    without = newton(x[keep], y[keep])
    for found in (
        ef.retrain(problem).theta,
        ef.retrain_all(problem, points=[7]).thetas[0],
        ef.pbrf(problem, ef.train(problem).theta, damping=0.0).theta,
        ef.response_path(problem, eps=np.array([1.0, 0.5, 0.0])).thetas[-1],
    ):
        # Tolerances of 1e-9 and 1e-10 of the pull of one point, which moves θ by a few thousandths.
        np.testing.assert_allclose(found, without, rtol=1e-9)
    # One Newton step leaves the square of the change.
    np.testing.assert_allclose(ef.newton_step(problem).predicted, without, rtol=1e-4)


# ---- 6 to 10 ---------------------------------------------------------------------------------------------------


def two_points(model):
    return Problem(model, SquaredLoss(), Dataset(np.ones((2, 1)), np.array([0.0, 1.0])), [1])


@pytest.mark.slow
@pytest.mark.parametrize("T", [0.7, 2.5, 3.3])
def test_6_switches_end_on_the_last_moment(T):
    """θ̇ = −θ + ε(1 − θ) from 0 reaches 0.3 within 1.3 units of time."""
    model = FunctionModel(lambda theta, x: (theta * x).sum(), np.zeros(1))
    general = ef.optimal_schedule(two_points(model), [0.0], s=0.0, T=T, target=[0.3])
    linear = ef.optimal_schedule(two_points(LinearModel(1)), [0.0], s=0.0, T=T, target=[0.3])
    assert linear.cost < 1e-25
    assert general.cost < 1e-16  # half the square of what diffrax's tolerance of 1e-10 leaves, a hundredfold


def test_6_two_integrations_that_agree_to_the_last_digit_prove_no_cost_to_the_last_digit():
    """The cost of the piecewise-constant schedule that was found, by closed forms in 50 digits."""
    model = FunctionModel(lambda theta, x: (theta * x).sum(), np.zeros(1))
    found = ef.optimal_schedule(two_points(model), [0.0], s=0.0, T=2.5, target=[0.3])
    with localcontext(prec=50):
        theta, knots = Decimal(0), [Decimal(float(knot)) for knot in found.schedule.knots]
        for start, end, eps in zip(knots[:-1], knots[1:], found.schedule.values, strict=True):
            weight = Decimal(float(eps))
            rest = weight / (1 + weight)
            theta = rest + (theta - rest) * (-(1 + weight) * (end - start)).exp()
        known = float((theta - Decimal(float(found.task.target[0]))) ** 2 / 2)
    assert abs(found.cost - known) <= found.cost_error


@pytest.mark.parametrize("copies", [1, 10_000])
def test_2_the_error_of_a_closed_form_says_what_its_rows_resolve(copies):
    """The same optimum from 120 numbers, refined, and from 1.2 million, streamed."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(-9, 10, (40, 3)).astype(float), rng.integers(-9, 10, 40).astype(float)
    x[:, 2] = x[:, 0] + 2.0**-14 * x[:, 2]
    found = ef.train(ef.linear_regression(Dataset(np.tile(x, (copies, 1)), np.tile(y, copies))))
    off, size = np.linalg.norm(found.theta - exact(x, y)), np.linalg.norm(found.theta)
    assert off <= found.error
    # Refinement stops at 1e-13; κ = 4e4 loses twice as many digits of what 400,000 rows leave, 1e-13.
    assert found.error <= (1e-13 if copies == 1 else 1e-4) * size


@pytest.mark.parametrize("copies", [200, pytest.param(1745, marks=pytest.mark.slow)])
def test_7_sums_over_hundreds_of_thousands_of_rows_meet_what_rounding_allows(copies):
    """Counts of two factors with three levels each, one row per observation: 70,600 and 615,985 of them."""
    counts = np.array([[31, 7, 120], [9, 66, 21], [80, 14, 5]]) * copies
    ones = np.array([[12, 3, 70], [4, 33, 6], [51, 6, 1]]) * copies
    cells = [(1.0, a == 1, a == 2, b == 1, b == 2) for a in range(3) for b in range(3)]
    x = np.repeat(np.array(cells, float), counts.ravel(), axis=0)
    y = np.concatenate([np.arange(n) < k for n, k in zip(counts.ravel(), ones.ravel(), strict=True)]).astype(float)
    points = [0, 35 * copies, 150 * copies, 300 * copies]
    found = ef.retrain_all(logistic(x, y), points=points)
    for point, theta in zip(points, found.thetas, strict=True):
        keep = np.arange(len(y)) != point
        again = ef.train(logistic(x[keep], y[keep])).theta
        np.testing.assert_allclose(theta, again, rtol=1e-10 * copies / 200)  # rounding of the sums grows with them


def test_8_a_variance_without_a_dominant_point_is_that_of_a_refit():
    x = np.column_stack([np.arange(1.0, 13.0), np.ones(12)])
    y = 2.0 * x[:, 0] + 3.0 + 0.01 * np.random.default_rng(0).standard_normal(12)
    y[5] = 999999.0
    found, keep = ef.leverage(ef.linear_regression(Dataset(x, y))), np.arange(12) != 5
    theta = exact(x[keep], y[keep])
    residuals = y[keep] - x[keep] @ theta
    gram = np.linalg.inv(x[keep].T @ x[keep])
    variance = residuals @ residuals / 9.0
    predicted = (y[5] - x[5] @ theta) / np.sqrt(variance * (1.0 + x[5] @ gram @ x[5]))
    assert found.variances[5] == pytest.approx(variance, rel=1e-12)
    assert found.external_residuals[5] == pytest.approx(predicted, rel=1e-12)
    scales = np.sqrt(variance * np.diag(np.linalg.inv(x.T @ x)))
    np.testing.assert_allclose(found.dfbetas[5], (found.theta - theta) / scales, rtol=1e-9)


@pytest.mark.parametrize("unit", [1e-70, 1.0, 1e70])
def test_9_a_perfect_fit_has_no_cooks_distance(unit):
    x = np.column_stack([np.arange(1.0, 11.0), np.ones(10)])
    found = ef.leverage(ef.linear_regression(Dataset(x, unit * (2.0 * x[:, 0] + 3.0))))
    assert np.isnan(found.cooks_distance).all()
    assert (found.residuals == 0.0).all()


@pytest.mark.slow
def test_10_a_softmax_is_scheduled_by_default(rng):
    data = Dataset(rng.standard_normal((30, 3)), rng.integers(0, 3, 30).astype(float))
    problem = Problem(LinearModel(3, 3), SoftmaxCrossEntropy(), data, [0], l2=0.1)
    window = {"s": 1.0, "T": 3.0, "intervals": 10}
    default = ef.optimal_schedule(problem, np.zeros(9), **window)
    adjoint = ef.optimal_schedule(problem, np.zeros(9), method="adjoint", **window)
    assert default.cost == pytest.approx(adjoint.cost, rel=1e-6)


# ---- 11: names and headers of CSV files ------------------------------------------------------------------------


def test_11_row_names_of_r_are_not_a_feature(tmp_path):
    (tmp_path / "r.csv").write_text('"","dose","y"\n"1",10,2\n"2",20,3\n"3",30,5\n')
    with pytest.raises(InputError, match="no name"):
        ef.read_csv(tmp_path / "r.csv")


def test_11_a_header_of_years_is_not_a_point(tmp_path):
    (tmp_path / "years.csv").write_text("2019,2020,2021\n10,2,1\n20,3,2\n30,5,4\n")
    with pytest.raises(InputError, match="header"):
        ef.read_csv(tmp_path / "years.csv")


# ---- numbers whose squares overflow ----------------------------------------------------------------------------


@pytest.mark.parametrize(("x_unit", "y_unit"), [(1.0, 1e160), (1e100, 1.0), (1e160, 1.0), (1e-170, 1.0), (1.0, 1e-170)])
def test_units_whose_squares_leave_the_range_of_numbers_are_refused(rng, x_unit, y_unit):
    data = Dataset(x_unit * rng.standard_normal((9, 2)), y_unit * rng.standard_normal(9))
    for loss in (SquaredLoss(), ef.PseudoHuberLoss()):
        with pytest.raises(InputError, match="squares overflow or vanish"):
            Problem(LinearModel(2), loss, data, [0])


@pytest.mark.parametrize(
    "question",
    [
        lambda p, start: ef.gradient_flow(p, ef.LinearDecay(1.0, 2.0), start, ts=np.array([3.0])),
        lambda p, start: ef.gradient_descent(p, 1.0, start, steps=3),
        lambda p, start: ef.optimal_schedule(p, start, s=1.0, T=2.0),
        lambda p, start: ef.rewind_surface(p, s=np.array([1.0]), T=np.array([2.0]), theta0=start),
    ],
)
def test_a_start_whose_squares_overflow_is_refused(rng, question):
    problem = ef.linear_regression(Dataset(rng.standard_normal((9, 2)), rng.standard_normal(9)), [0])
    with pytest.raises(InputError, match=r"theta0 is about 2e\+200 in size; .* squares overflow"):
        question(problem, np.full(2, 2e200))


def test_a_very_long_flow_ends_in_equilibrium(rng):
    problem = ef.linear_regression(Dataset(rng.standard_normal((9, 2)), rng.standard_normal(9)), [0])
    for schedule in (ef.Step(1.0), ef.LinearDecay(1.0, 2.0)):
        end = ef.gradient_flow(problem, schedule, np.zeros(2), ts=np.array([1e300])).end
        np.testing.assert_allclose(end, ef.retrain(problem).theta, rtol=1e-13)
    with pytest.raises(InputError, match="overflow"):
        ef.optimal_schedule(problem, np.zeros(2), s=1.0, T=1e300)
