"""Real data: scikit-learn's bundled sets, offline."""

import numpy as np

from .._core import as_flag
from ._bundled import BUNDLED, check_bundled, read_bundled
from ._dataset import Dataset


def load_dataset(name: str, *, standardise: bool = True) -> Dataset:
    """One of scikit-learn's bundled data sets.

    Example:
        >>> ef.load_dataset("diabetes").x.shape
        (442, 10)

    diabetes (442×10), breast_cancer (569×30), digits (1797×64), wine (178×13) or iris (150×4).

    Args:
        name: which one.
        standardise: zero mean and unit variance for every feature, and for diabetes' target; labels stay as they are.

    Raises:
        InputError: an unknown name.
    """
    check_bundled(name)
    as_flag(standardise, "standardise")
    table, known = read_bundled(name), BUNDLED[name]
    x, y = np.ascontiguousarray(table[:, :-1]), np.ascontiguousarray(table[:, -1])
    data = Dataset(x, y, name, known.features, known.target)
    return data.standardise(target=name == "diabetes") if standardise else data
