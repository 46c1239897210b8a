"""The tables that come with scikit-learn, read from its files: importing it would take longer than most questions."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from .._core import InputError, brief

_CELL = (
    *("radius", "texture", "perimeter", "area", "smoothness"),
    *("compactness", "concavity", "concave points", "symmetry", "fractal dimension"),
)
_MEASURES = (("mean ", ""), ("", " error"), ("worst ", ""))


class Bundled(NamedTuple):
    """A table of scikit-learn's.

    Attributes:
        features: the names that scikit-learn gives its columns.
        target: what the target is.
        read: from the folder of scikit-learn's data files to the table, the target in the last column.
    """

    features: tuple[str, ...]
    target: str
    read: Callable[[Path], Float[np.ndarray, "n columns"]]


def _diabetes(folder: Path) -> Float[np.ndarray, "n columns"]:
    x, y = (np.loadtxt(folder / f"diabetes_{part}.csv.gz") for part in ("data_raw", "target"))
    return np.column_stack([x, y])


BUNDLED = {
    "diabetes": Bundled(
        ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"),
        "disease progression after one year",
        _diabetes,
    ),
    "breast_cancer": Bundled(
        tuple(f"{before}{name}{after}" for before, after in _MEASURES for name in _CELL),
        "benign (1) or malignant (0)",
        lambda folder: np.loadtxt(folder / "breast_cancer.csv", delimiter=",", skiprows=1),
    ),
    "digits": Bundled(
        tuple(f"pixel_{row}_{column}" for row in range(8) for column in range(8)),
        "digit (0-9)",
        lambda folder: np.loadtxt(folder / "digits.csv.gz", delimiter=","),
    ),
    "wine": Bundled(
        (
            *("alcohol", "malic_acid", "ash", "alcalinity_of_ash", "magnesium", "total_phenols", "flavanoids"),
            *("nonflavanoid_phenols", "proanthocyanins", "color_intensity", "hue", "od280/od315_of_diluted_wines"),
            "proline",
        ),
        "cultivar (0-2)",
        lambda folder: np.loadtxt(folder / "wine_data.csv", delimiter=",", skiprows=1),
    ),
    "iris": Bundled(
        ("sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"),
        "species (0-2)",
        lambda folder: np.loadtxt(folder / "iris.csv", delimiter=",", skiprows=1),
    ),
}
"""By the name of scikit-learn's loader, without `load_`."""


def check_bundled(name: object) -> None:
    """Refuse a name that is none of scikit-learn's tables.

    Example:
        >>> ef.problem.check_bundled("mnist")
        Traceback (most recent call last):
            ...
        epsflow.InputError: unknown data set 'mnist': choose one of diabetes, breast_cancer, digits, wine, …

    Raises:
        InputError: with those that are.
    """
    if not isinstance(name, str) or name not in BUNDLED:
        raise InputError(f"unknown data set {brief(name)}: choose one of {', '.join(BUNDLED)}, or read a CSV file.")


def read_bundled(name: str) -> Float[np.ndarray, "n columns"]:
    """A table's numbers, the target in the last column.

    Raises:
        InputError: scikit-learn is not installed, or keeps its files elsewhere.
    """
    spec = importlib.util.find_spec("sklearn")  # which does not import it
    if spec is None or spec.origin is None:
        raise InputError(
            f"the data set {name!r} comes with scikit-learn, which is missing: `pip install scikit-learn`."
        )
    try:
        return BUNDLED[name].read(Path(spec.origin).parent / "datasets" / "data")
    except OSError as error:
        raise InputError(
            f"scikit-learn is installed without its data set {name!r} ({error}). Read it with scikit-learn's own "
            f"loader, and pass the arrays: Dataset(*sklearn.datasets.load_{name}(return_X_y=True))."
        ) from error
