from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pytest

import reference
from epsflow.control import Comparison, compare_schedules
from epsflow.problem import Dataset, Problem, linear_regression
from epsflow.schedules import LinearDecay, Step


@pytest.fixture(autouse=True)
def no_figure_stays_open() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture(scope="session")
def problem() -> Problem:
    """A problem whose optimum is known: d = 2, one deleted point, the optimum switches once, at 0.8148."""
    x, y = reference.rows_of(np.array([[1.0, 0.3], [0.3, 0.4]]), np.array([1.0, -0.5]))
    return linear_regression(Dataset(np.vstack([x, [1.0, -0.8]]), np.append(y, 1.5)), delete=[2])


@pytest.fixture(scope="session")
def comparison(problem: Problem) -> Comparison:
    """Its optimum beside two families, from s = 0.2 on."""
    return compare_schedules(problem, np.zeros(2), s=0.2, T=2.0, families=(Step, LinearDecay), intervals=20)
