"""The map of exact starts: each of them arrives, there are no others, and none arrives sooner."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import reference
from epsflow.control import ExactStarts, exact_starts, exact_unlearning_time
from epsflow.problem import Dataset, Problem, linear_regression


@pytest.fixture(scope="module")
def signed() -> tuple[Problem, ExactStarts]:
    """ε in [−½, 1], where quick ways to the target cross the line e = 0."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(8, 2))
    y = x @ rng.normal(size=2) + 0.3 * rng.normal(size=8)
    y[0] += 1.0
    problem = linear_regression(Dataset(x, y), delete=[0], reduction="mean")
    return problem, exact_starts(problem, longest=4.0, bounds=(-0.5, 1.0), grid=41)


def test_every_start_arrives(row_one: Problem):
    found = exact_starts(row_one, longest=1.5, grid=5)
    assert found.levels.tolist() == [1.0]
    system = reference.split_system(row_one.data.x, row_one.data.y, [2])
    for i, last in enumerate(found.last_times):
        for j, first in enumerate(found.first_times):
            path = reference.propagate(system, found.starts[0, i, j], [0.0, first, first + last], [0.0, 1.0])
            np.testing.assert_allclose(path[-1], found.target, atol=1e-13)
            assert found.times[i, j] == first + last


def test_starts_beyond_the_line_arrive(signed: tuple[Problem, ExactStarts]):
    problem, found = signed
    x, y = np.asarray(problem.data.x), np.asarray(problem.data.y)
    residual = found.starts @ x[0] - y[0]
    home = np.sign(found.target @ x[0] - y[0])
    assert found.levels.tolist() == [1.0, -0.5]
    beyond = np.argwhere(home * residual < 0.0)
    assert len(beyond)
    retained, target = x[1:].T @ x[1:] / 8, x[1:].T @ y[1:] / 8
    for sheet, i, j in beyond[:: len(beyond) // 3][:3]:
        first, last = found.first_times[j], found.last_times[i]
        levels = found.levels[[sheet, 1 - sheet]]

        def field(t: float, theta: np.ndarray, first: float, levels: np.ndarray) -> np.ndarray:
            e = theta @ x[0] - y[0]
            eps = levels[int((home * e < 0.0) != (t < first))]
            return target - retained @ theta - eps * e * x[0] / 8

        # The field jumps at `first` and on the line: steps of 1e-3 lose 1e-3 of one jump there.
        window, steps = (0.0, first + last), {"rtol": 1e-8, "atol": 1e-10, "max_step": 1e-3}
        end = solve_ivp(field, window, found.starts[sheet, i, j], args=(first, levels), **steps)
        np.testing.assert_allclose(end.y[:, -1], found.target, atol=1e-3)


def test_no_other_start_and_none_sooner(signed: tuple[Problem, ExactStarts]):
    """Random bang-bang ways back from the target, with up to four switches, end on the map, and were not quicker."""
    problem, found = signed
    system = reference.split_system(problem.data.x, problem.data.y, [0], reduction="mean")
    systems = [system.at(level) for level in (1.0, -0.5)]
    rng = np.random.default_rng(0)
    for _ in range(60):
        arcs = int(rng.integers(2, 6))
        durations, theta = rng.dirichlet(np.ones(arcs)) * rng.uniform(0.5, 4.0), found.target
        which = int(rng.integers(2))
        for duration in durations:
            theta, which = reference.linear_flow(*systems[which], theta, -duration), 1 - which
        assert _least_time(found, theta) <= durations.sum() + 1e-9


def _least_time(found: ExactStarts, theta: np.ndarray) -> float:
    """The quickest corner of all cells of the map that contain θ; ∞ if none does."""
    least = np.inf
    for sheet in found.starts:
        a, b, c, d = sheet[:-1, :-1], sheet[1:, :-1], sheet[:-1, 1:], sheet[1:, 1:]
        for corners in ((a, b, c), (d, b, c)):
            matrix = np.stack([corners[1] - corners[0], corners[2] - corners[0]], axis=-1)
            flat = np.abs(np.linalg.det(matrix)) < 1e-14
            matrix[flat] = np.eye(2)
            weights = np.linalg.solve(matrix, (theta - corners[0])[..., None])[..., 0]
            # Cells are curved, triangles are not: a tenth of a cell closes the gaps between them.
            inside = (weights.min(axis=-1) > -0.1) & (weights.sum(axis=-1) < 1.1) & ~flat
            least = min(least, found.times[:-1, :-1][inside].min(initial=np.inf))
    return least


def test_map_and_least_time_agree(row_one: Problem):
    found = exact_starts(row_one, longest=1.0, grid=4)
    for i, j in ((1, 2), (3, 1)):
        time = exact_unlearning_time(row_one, found.starts[0, i, j], s=0.0)
        assert time.time == pytest.approx(found.times[i, j], abs=1e-9)


def test_refusals(row_one: Problem):
    with pytest.raises(ValueError, match="two parameters"):
        exact_starts(linear_regression(Dataset(np.eye(3), np.ones(3)), delete=[0], l2=1.0), longest=1.0)
    with pytest.raises(ValueError, match="0 within the bounds"):
        exact_starts(row_one, longest=1.0, bounds=(0.2, 1.0))
    fitted = Dataset(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), np.array([1.0, 2.0, 3.0]))
    with pytest.raises(ValueError, match="fits the deleted point exactly"):
        exact_starts(linear_regression(fitted, delete=[2]), longest=1.0)
