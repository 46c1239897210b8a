"""The search finds what is there, makes it small and round, and says so when there is nothing."""

import numpy as np
import pytest

from epsflow.claims import Candidate, search
from epsflow.claims.sections._experiments import SMALLEST, certified_gain, linear_gain, step_lower_bound
from epsflow.claims.sections._general_case import later_step_gain


def hill(candidate: Candidate) -> float:
    """Above 0 near √T x = (3, 2), √T y = (1, 4): it does not tell longer times from larger rows, like any cost."""
    numbers = np.sqrt(candidate.T) * np.concatenate([candidate.x.ravel(), candidate.y])
    away = numbers - [3.0, 2.0, 1.0, 4.0]
    return 3.0 - float(np.linalg.norm(away))


def test_search_climbs_and_rounds(rng):
    found = search(hill, rng, points=2, parameters=1, tries=200, refinements=600)
    assert found.refined > found.largest > 0.0
    assert found.refined > 2.0  # the top is 3
    assert found.found is not None
    assert found.violation == hill(found.found) > 0.0
    numbers = np.concatenate([found.found.x.ravel(), found.found.y, [found.found.T]])
    np.testing.assert_array_equal(numbers, np.round(8.0 * numbers) / 8.0)


def test_search_that_finds_nothing_says_so(rng):
    found = search(lambda candidate: -1.0, rng, points=2, parameters=1, tries=5, refinements=20)
    assert found.found is None
    assert found.violating == 0
    assert "0 of 5 random problems violate it" in found.words()
    assert "no rounded counterexample" in found.words()
    line = "Search(tried=5, violating=0, largest=0, refined=0, violation=0, evaluations="
    assert repr(found).startswith(line)
    assert "counterexample" not in found.summary().facts


def test_later_steps_win_with_one_parameter(rng):
    """X = (1, 1), y = (1, 1): the point only speeds training up, so it is best kept to the end."""
    both = Candidate(np.ones((2, 1)), np.ones(2), 1.0)
    assert later_step_gain(both) == pytest.approx(1.0 - np.exp(-2.0), rel=1e-9)
    found = search(later_step_gain, rng, points=2, parameters=1, tries=8, refinements=10)
    assert found.violation > 0.01


def test_linear_decay_beats_every_step_certified():
    """The bound on all steps rests on a Lipschitz constant, not on the scan that `best_in_family` makes."""
    gain, certified = linear_gain(SMALLEST), certified_gain(SMALLEST)
    assert 0.1 < certified < gain
    taus = np.linspace(0.0, SMALLEST.T, 101)
    x, y = SMALLEST.x, SMALLEST.y
    target = np.linalg.solve(x[1:], y[1:])
    costs = []
    for tau in taus:  # plain NumPy: two matrix exponentials by eigenvectors
        theta = np.zeros(2)
        for rows, targets, time in ((x, y, tau), (x[1:], y[1:], SMALLEST.T - tau)):
            rates, frame = np.linalg.eigh(rows.T @ rows)
            goal = np.linalg.pinv(rows) @ targets
            theta = goal + frame @ (np.exp(-rates * time) * (frame.T @ (theta - goal)))
        costs.append(0.5 * np.sum((theta - target) ** 2))
    assert min(costs) >= step_lower_bound(SMALLEST)
    # A scan with 101 points misses the minimum by little; the bound gives away Kh/2 in ‖δ‖, after eight divisions.
    assert step_lower_bound(SMALLEST) == pytest.approx(min(costs), rel=1e-3)
