"""The instances on which claims are checked: random problems of several sizes, rank-deficient ones, and real data."""

import functools
import zlib
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.linalg import null_space

from .._core import ConvergenceError
from ..analysis import Predictions
from ..problem import (
    MLP,
    Dataset,
    LinearModel,
    LogisticLoss,
    Problem,
    SquaredLoss,
    linear_regression,
    load_dataset,
)

SIZES = ((20, 10), (40, 10), (100, 10))
"""Points and parameters of the random problems: as many parameters as the diabetes data, so that all of them share
compiled code."""

MORE_SIZES = ((4, 2), (6, 3), (30, 5))
"""What a thorough run tries as well."""


class Case(NamedTuple):
    """One instance.

    Attributes:
        name: in words.
        problem: with its deleted points.
        theta0: a start, shape (d,).
    """

    name: str
    problem: Problem
    theta0: Float[np.ndarray, " d"]


@dataclass(frozen=True)
class Trial:
    """How thoroughly a claim is checked, and with which random numbers.

    Attributes:
        name: id of the claim; every claim has a stream of random numbers of its own.
        seed: of all streams.
        thorough: many instances instead of few.
    """

    name: str
    seed: int = 0
    thorough: bool = False

    def rng(self) -> np.random.Generator:
        """The claim's own stream, from its beginning."""
        return np.random.default_rng([self.seed, zlib.crc32(self.name.encode())])

    def count(self, quick: int, thorough: int) -> int:
        """One of two numbers."""
        return thorough if self.thorough else quick

    def regressions(self, *, quick: int = 1, l2: float = 0.0, reduction: str = "sum", data: bool = True) -> list[Case]:
        """Random linear regressions of each size, and the diabetes data (mean risk) without its most influential point.

        Args:
            quick: how many of each size; twenty times as many in a thorough run.
            l2: λ.
            reduction: of the random problems.
            data: whether the diabetes data are among them.
        """
        rng, cases = self.rng(), []
        for i in range(self.count(quick, 20 * quick)):
            for n, d in (*SIZES, *MORE_SIZES) if self.thorough else SIZES:
                # Eigenvalues of XᵀX near 4: times near 1 are neither short nor long.
                x = 2.0 * rng.standard_normal((n, d)) / np.sqrt(n)
                y, start = 2.0 * rng.standard_normal(n), rng.standard_normal(d)
                j = int(rng.integers(n))
                problem = linear_regression(Dataset(x, y), [j], l2=l2, reduction=reduction)
                cases.append(Case(f"random {n}×{d}, number {i}, point {j}", problem, start))
        if data:
            points = [382, *rng.integers(442, size=self.count(1, 20)).tolist()]
            for j in sorted({int(point) for point in points}):
                problem = linear_regression(diabetes(), [j], l2=l2, reduction="mean")
                cases.append(Case(f"diabetes, point {j}", problem, 0.1 * rng.standard_normal(10)))
        return cases

    def deficient(self, *, quick: int = 3) -> list[Case]:
        """Problems of rank seven in ten parameters; in every other one the deleted point alone adds a direction."""
        rng, cases = self.rng(), []
        for i in range(self.count(quick, 20 * quick)):
            frame = np.linalg.qr(rng.standard_normal((10, 10)))[0]
            x = 0.5 * rng.standard_normal((20, 7)) @ frame[:7]
            y, start = rng.standard_normal(20), rng.standard_normal(10)
            if i % 2:
                x[0] = rng.standard_normal(10)
            words = "rank 7 without the point" if i % 2 else "rank 7"
            cases.append(Case(f"{words} of 10, number {i}", linear_regression(Dataset(x, y), [0]), start))
        return cases

    def logistic(self, *, quick: int = 2, l2: float = 0.5, reduction: str = "sum") -> list[Case]:
        """Random logistic regressions on 20 points with 3 parameters."""
        rng, cases = self.rng(), []
        for i in range(self.count(quick, 10 * quick)):
            x = rng.standard_normal((20, 3))
            y = (rng.random(20) < 1.0 / (1.0 + np.exp(-2.0 * x[:, 0]))).astype(float)
            problem = Problem(LinearModel(3), LogisticLoss(), Dataset(x, y), [i], l2, reduction)
            cases.append(Case(f"logistic 20×3, number {i}", problem, rng.standard_normal(3)))
        return cases

    def network(self, *, scale: float = 0.3, trained_with: bool = True, number: int = 0) -> Case:
        """A network with one tanh neuron on 20 points, and parameters at which its squared loss is stationary.

        No training is needed: the residuals are drawn from the null space of Jᵀ, J_i = ∂f(θ; x_i)/∂θ.

        Args:
            scale: root mean square of the residuals; halved until the Hessian is positive definite.
            trained_with: θ is stationary with the deleted point (ε = 1), or without it (ε = 0).
            number: which of several.
        """
        rng = np.random.default_rng([self.seed, zlib.crc32(self.name.encode()), number])
        model, x = MLP((1, 1, 1)), np.linspace(-2.0, 2.0, 20)[:, None]
        theta = np.array([1.5, 0.5, 1.0, 0.2]) + 0.1 * rng.standard_normal(4)
        outputs = np.asarray(Predictions(model, x)(jnp.asarray(theta)))
        jacobian = np.asarray(Predictions(model, x).jacobian(jnp.asarray(theta)))
        j = int(rng.integers(4, 16))
        kept = np.arange(20) if trained_with else np.delete(np.arange(20), j)
        free = null_space(jacobian[kept].T)
        direction = np.zeros(20)
        direction[kept] = free @ rng.standard_normal(free.shape[1])
        direction *= np.sqrt(len(kept)) / np.linalg.norm(direction)
        eps = 1.0 if trained_with else 0.0
        for _ in range(40):
            problem = Problem(model, SquaredLoss(), Dataset(x, outputs - scale * direction), [j])
            if np.linalg.eigvalsh(problem.hessian(theta, eps))[0] > 1e-4:
                return Case(f"network with one neuron on 20 points, number {number}, point {j}", problem, theta)
            scale *= 0.5
        raise ConvergenceError(f"no residuals make {model} strictly convex at the parameters drawn; try another seed.")


@functools.cache
def diabetes() -> Dataset:
    """The diabetes data, standardised."""
    return load_dataset("diabetes")
