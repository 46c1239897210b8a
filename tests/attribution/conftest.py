import jax
import numpy as np
import pytest

import epsflow as ef


@pytest.fixture(scope="module")
def regression() -> ef.Problem:
    """Twelve points, three parameters, two points deleted."""
    rng = np.random.default_rng(1)
    data = ef.Dataset(rng.standard_normal((12, 3)), rng.standard_normal(12))
    return ef.linear_regression(data, delete=[2, 5], l2=0.05, reduction="mean")


@pytest.fixture(scope="module")
def network() -> ef.Problem:
    """A network of three neurons on twenty points."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20, 2))
    y = np.tanh(x @ [1.0, -2.0]) + 0.1 * rng.standard_normal(20)
    return ef.Problem(ef.MLP((2, 3, 1)), ef.SquaredLoss(), ef.Dataset(x, y), delete=[3], l2=1e-3, reduction="mean")


@pytest.fixture(scope="module")
def network_start(network) -> np.ndarray:
    return np.asarray(network.model.init(jax.random.key(0)))
