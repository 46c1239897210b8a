import jax.numpy as jnp
import numpy as np
import pytest

import reference
from epsflow.problem import Dataset, Problem, linear_regression


@pytest.fixture(scope="session")
def row_one() -> Problem:
    """H_{-j} = [[1, .3], [.3, .4]], b_{-j} = (1, −.5), x_j = (1, −.8), y_j = 1.5: 𝓔* is known to 17 digits."""
    x, y = reference.rows_of(np.array([[1.0, 0.3], [0.3, 0.4]]), np.array([1.0, -0.5]))
    return linear_regression(Dataset(np.vstack([x, [1.0, -0.8]]), np.append(y, 1.5)), delete=[2])


@pytest.fixture(scope="session")
def two_rows() -> Problem:
    """X = (1, 1)ᵀ, y = (2, 1), the first point deleted: exact unlearning at ½ ln 3."""
    return linear_regression(Dataset(np.ones((2, 1)), np.array([2.0, 1.0])), delete=[0])


@pytest.fixture(scope="session")
def zero() -> jnp.ndarray:
    return jnp.zeros(2)
