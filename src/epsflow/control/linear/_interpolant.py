"""Chebyshev interpolation on a box: a function of a few numbers, from its values at some hundred points."""

from functools import lru_cache, reduce
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.polynomial.chebyshev import chebder


class Interpolant(NamedTuple):
    """A polynomial on the unit box.

    Attributes:
        coefficients: of products of Chebyshev polynomials T_i(2x − 1), shape (n_1, …, n_p, c) for c functions.
        tail: the last two coefficients along any number, in units of the largest: what is not resolved.
    """

    coefficients: Float[np.ndarray, "*sizes c"]
    tail: float

    def __call__(self, points: Float[np.ndarray, "*k p"]) -> Float[np.ndarray, "*k c"]:
        """The values at points of the box."""
        flat = points.reshape(-1, points.shape[-1])
        bases = [polynomials(column, size) for column, size in zip(flat.T, self.coefficients.shape, strict=False)]
        values = np.tensordot(bases[0], self.coefficients, axes=1)
        for basis in bases[1:]:
            values = np.einsum("ki,ki...->k...", basis, values)
        return values.reshape(*points.shape[:-1], -1)

    def with_slopes(self, point: Float[np.ndarray, " p"]) -> tuple[Float[np.ndarray, " c"], Float[np.ndarray, "p c"]]:
        """The values at one point, and their derivatives by each of its numbers."""
        bases = [polynomials(x, size)[0] for x, size in zip(point[:, None], self.coefficients.shape, strict=False)]
        bent = [2.0 * basis @ _slopes(len(basis)) for basis in bases]
        rows = [bases, *([*bases[:k], bent[k], *bases[k + 1 :]] for k in range(len(bases)))]
        values, *slopes = (
            reduce(lambda rest, basis: np.tensordot(basis, rest, 1), row, self.coefficients) for row in rows
        )
        return values, np.stack(slopes)


@lru_cache(maxsize=64)
def nodes(size: int) -> Float[np.ndarray, " n"]:
    """Where values are needed along one number: Chebyshev points of [0, 1], both ends among them."""
    return 0.5 - 0.5 * np.cos(np.pi * np.arange(size) / (size - 1))


def interpolate(values: Float[np.ndarray, "*sizes c"]) -> Interpolant:
    """From values at the products of `nodes`."""
    coefficients, tail = values, 0.0
    for axis, size in enumerate(values.shape[:-1]):
        coefficients = np.moveaxis(np.tensordot(transform(size), coefficients, axes=(1, axis)), 0, axis)
    largest = np.abs(coefficients).max()
    for axis in range(values.ndim - 1):
        last = np.abs(np.take(coefficients, [-2, -1], axis=axis)).max()
        tail = max(tail, float(last / largest) if largest > 0.0 else 0.0)
    return Interpolant(coefficients, tail)


@lru_cache(maxsize=64)
def transform(size: int) -> Float[np.ndarray, "n n"]:
    """From values at the nodes to coefficients: a discrete cosine transform."""
    weights = np.full(size, 2.0 / (size - 1))
    weights[[0, -1]] *= 0.5
    orders = np.arange(size)
    matrix = weights * np.cos(np.pi * np.outer(orders, orders) / (size - 1)) * (-1.0) ** orders[:, None]
    matrix[[0, -1]] *= 0.5
    return matrix


@lru_cache(maxsize=64)
def _slopes(size: int) -> Float[np.ndarray, "n n"]:
    """The Chebyshev coefficients of dT_i/dx, one column each."""
    return np.vstack([chebder(np.eye(size)), np.zeros((1, size))])


def polynomials(x: Float[np.ndarray, "*k"], size: int) -> Float[np.ndarray, "*k n"]:
    """T_i(2x − 1) for i < size, at points of [0, 1]."""
    angles = np.arccos(np.clip(2.0 * x - 1.0, -1.0, 1.0))
    return np.cos(angles[..., None] * np.arange(size))
