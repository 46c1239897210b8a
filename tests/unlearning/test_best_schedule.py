"""The schedule that needs the least noise, beside D2D, R2D and the best step; and one schedule for all points."""

import itertools

import numpy as np
import pytest

import epsflow as ef
from epsflow.unlearning import (
    RewindToDelete,
    UnlearningComparison,
    compare_unlearning,
    minimax_schedule,
    steps_to_unlearn,
)

TARGET = {"epsilon_dp": 1.0, "delta_dp": 1e-5}


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((12, 3))
    return ef.linear_regression(ef.Dataset(x, x @ [1.0, -2.0, 0.5] + rng.standard_normal(12)), [4], l2=0.5)


@pytest.fixture(scope="module")
def table(problem):
    return compare_unlearning(problem, np.ones(3), steps=12, unlearning_steps=6, bounds=(-1.0, 1.0), **TARGET)


def test_the_optimum_needs_the_least_noise_and_its_bound_says_so(table):
    distances = {each.algorithm: each.distance for each in table.algorithms}
    assert distances["optimum"] < distances["best step"] <= distances["R2D"] * (1.0 + 1e-12)
    best = table["optimum"]
    assert "global" in best.claim
    # What is certified is the cost, half the square, to a millionth.
    assert best.bound == pytest.approx(best.distance, rel=1e-6)


def test_noise_is_the_distance_over_r(table):
    for each in table.algorithms:
        assert each.sigma == pytest.approx(each.distance / float(ef.gaussian_r(1.0, 1e-5)), rel=1e-14)
        assert each.gradients == 6


def test_rows_are_the_algorithms_own_runs(problem, table):
    eta = table.step_size
    rewound = ef.rewind_to_delete(problem, np.ones(3), steps=12, K=6, step_size=eta)
    assert table["R2D"].distance == pytest.approx(float(rewound.distance[0]), rel=1e-12)
    trained = ef.gradient_descent(problem, 1.0, np.ones(3), steps=12, step_size=eta).end
    retrained = ef.gradient_descent(problem, 0.0, np.ones(3), steps=18, step_size=eta).end
    descended = ef.descend_to_delete(problem, trained, steps=6, step_size=eta, target=retrained)
    assert table["D2D"].distance == pytest.approx(float(descended.distance[0]), rel=1e-12)


def test_what_noise_costs_is_its_expectation(problem, table):
    x, y = np.asarray(problem.data.x), np.asarray(problem.data.y)
    kept = np.arange(12) != 4
    spread = float(np.square(y[kept] - y[kept].mean()).sum())
    # E Σ(x_iᵀσξ)² = σ² Σ‖x_i‖², and the cross term has mean zero; four standard errors of 200 draws.
    for each in table.algorithms:
        lost = each.sigma**2 * float(np.square(x[kept]).sum()) / spread
        assert each.score - each.noisy_score == pytest.approx(lost, abs=4.0 * each.noisy_error + 1e-15)


def test_the_table_survives_json_and_shows_itself(table):
    again = UnlearningComparison.from_json(table.to_json())
    assert repr(again) == repr(table)
    assert "\n" not in repr(table)
    assert str(again.summary()) == str(table.summary())
    assert [row["algorithm"] for row in table.rows()] == ["D2D", "R2D", "best step", "optimum"]
    with pytest.raises(KeyError):
        table["nothing"]


def test_classifiers_are_compared_by_accuracy():
    rng = np.random.default_rng(8)
    x = rng.standard_normal((20, 2))
    data = ef.Dataset(x, (x[:, 0] + 0.3 * rng.standard_normal(20) > 0.0).astype(float))
    problem = ef.Problem(ef.LinearModel(2), ef.LogisticLoss(), data, [0, 3], l2=0.2)
    table = compare_unlearning(problem, steps=8, unlearning_steps=4, test=data, **TARGET)
    assert table.score == "accuracy"
    assert table["optimum"].distance <= table["R2D"].distance * (1.0 + 1e-9)
    theta = RewindToDelete(steps=8, unlearning_steps=4, step_size=table.step_size).run(problem, np.zeros(2)).theta
    assert table["R2D"].score == np.mean((x @ theta > 0.0) == (np.asarray(data.y) > 0.5))


def test_answers_scale_with_the_units(problem, table):
    # x' = ax and y' = by: θ' = bθ/a, λ' = a²λ, and distances with θ. Rounding of some hundred operations.
    a, b = 1e-3, 1e8
    data = ef.Dataset(a * np.asarray(problem.data.x), b * np.asarray(problem.data.y))
    scaled = ef.linear_regression(data, [4], l2=a**2 * 0.5)
    start, window = np.ones(3) * b / a, {"steps": 12, "unlearning_steps": 6, "bounds": (-1.0, 1.0)}
    again = compare_unlearning(scaled, start, **window, **TARGET)
    for first, second in zip(table.algorithms, again.algorithms, strict=True):
        assert second.distance * a / b == pytest.approx(first.distance, rel=1e-11)
        assert second.noisy_score == pytest.approx(first.noisy_score, rel=1e-11)
    one, other = (minimax_schedule(p, t, **window) for p, t in ((problem, np.ones(3)), (scaled, start)))
    assert other.distance * a / b == pytest.approx(one.distance, rel=1e-9)  # where SLSQP ends
    assert other.lower_bound * a / b == pytest.approx(one.lower_bound, rel=1e-9)


def brute_force(problem: ef.Problem, levels: tuple[float, ...], eta: float, steps: int, budget: int) -> float:
    """The least largest distance over all points, among weights on a grid; by gradient descent written out."""
    x, y, l2 = np.asarray(problem.data.x), np.asarray(problem.data.y), problem.l2
    grid = np.array(list(itertools.product(levels, repeat=budget)))

    def end(weights: np.ndarray, point: int) -> np.ndarray:
        theta = np.zeros((len(weights), x.shape[1]))
        for k in range(weights.shape[1]):
            every = np.ones((len(weights), len(x)))
            every[:, point] = weights[:, k]
            theta = theta - eta * ((every * (theta @ x.T - y)) @ x + l2 * theta)
        return theta

    before = np.ones((len(grid), steps - budget))
    miss = [
        np.linalg.norm(end(np.hstack([before, grid]), i) - end(np.zeros((1, steps)), i), axis=1) for i in range(len(x))
    ]
    return float(np.max(miss, axis=0).min())


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 1.0)])
def test_one_schedule_for_all_points_is_no_worse_than_a_grid_and_no_better_than_its_bound(problem, bounds):
    found = minimax_schedule(problem, steps=10, unlearning_steps=5, bounds=bounds)
    levels = tuple(np.linspace(*bounds, 6))
    least = brute_force(problem, levels, found.step_size, 10, 5)
    assert found.lower_bound <= found.distance <= least * (1.0 + 1e-12)
    assert found.lower_bound <= least
    assert found.distance <= found.rewound.max() * (1.0 + 1e-12)
    again = type(found).from_json(found.to_json())
    assert (again.distance, again.worst, again.lower_bound) == (found.distance, found.worst, found.lower_bound)


def test_its_distances_are_those_of_each_deletion(problem):
    found = minimax_schedule(problem, steps=10, unlearning_steps=5, bounds=(-1.0, 1.0), points=[2, 4, 7])
    for k, point in enumerate([2, 4, 7]):
        alone = ef.linear_regression(problem.data, [point], l2=0.5)
        end = ef.gradient_descent(alone, 0.0, np.zeros(3), steps=10, step_size=found.step_size).end
        told = ef.certify(
            alone, found.schedule, np.zeros(3), s=5, T=10, bounds=(-1.0, 1.0), step_size=found.step_size, target=end
        )
        assert np.sqrt(2.0 * told.cost) == pytest.approx(found.distances[k], rel=1e-10)
    assert found.sigma(1.0, 1e-5) == pytest.approx(found.distance / float(ef.gaussian_r(1.0, 1e-5)), rel=1e-14)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 1.0)])
def test_step_counts_are_the_first_that_hide_the_distance(problem, bounds):
    sigma, theta0 = 0.02, np.ones(3)
    found = steps_to_unlearn(problem, theta0, steps=14, sigma=sigma, bounds=bounds, **TARGET)
    hidden = sigma * float(ef.gaussian_r(1.0, 1e-5))
    assert found.distance == pytest.approx(hidden, rel=1e-14)
    tables = {
        k: compare_unlearning(problem, theta0, steps=14, unlearning_steps=k, bounds=bounds, **TARGET)
        for k in range(1, 15)
    }
    for name in ("D2D", "R2D", "optimum"):
        least = next((k for k, table in tables.items() if table[name].distance <= hidden), None)
        row = found[name]
        assert row.steps == least
        assert row.proved
        if least is not None:
            assert row.distance == pytest.approx(tables[least][name].distance, rel=1e-9, abs=1e-13)
            assert row.distance <= hidden < row.before
    assert found["optimum"].steps < 14  # or nothing was tested
    again = type(found).from_json(found.to_json())
    assert again.rows() == found.rows()


def test_what_makes_no_sense_is_refused(problem):
    with pytest.raises(ef.InputError, match="beyond the 4 steps of training"):
        compare_unlearning(problem, steps=4, unlearning_steps=5, **TARGET)
    with pytest.raises(ef.InputError, match="beyond the 4 steps of training"):
        minimax_schedule(problem, steps=4, unlearning_steps=5)
    with pytest.raises(ef.InputError, match="δ_dp is a probability"):
        compare_unlearning(problem, steps=4, unlearning_steps=2, epsilon_dp=1.0, delta_dp=2.0)
    labels = ef.Dataset(np.eye(3), np.array([0.0, 1.0, 1.0]))
    logistic = ef.Problem(ef.LinearModel(3), ef.LogisticLoss(), labels, [0], l2=0.1)
    with pytest.raises(ef.InputError, match="for linear regression, where all deletions descend side by side"):
        minimax_schedule(logistic, steps=4, unlearning_steps=2)
