"""What several checks need: the example of two points, slopes of θ(ε), and error bounds."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.integrate import solve_ivp

from .._core import Array
from ..analysis import Losses
from ..flow import equilibrium
from ..problem import Dataset, FunctionModel, Problem, SquaredLoss, linear_regression

UNIT = float(np.finfo(np.float64).eps)
"""Relative spacing of double-precision numbers."""

TWO: dict[str, Any] = {"X": [[1], [1]], "y": [2, 1], "deleted": 0}
"""The smallest problem on which most refutations can be seen by hand: θ(ε) = (2ε + 1)/(ε + 1)."""

PARABOLA: dict[str, Any] = {"f(θ; x)": "xθ + θ²", "x": [1, 2], "y": [-2, 1], "deleted": 0, "θ̂": 0}
"""A network in miniature: residuals (2, −1), H = 5 + 2, and only 5 in the Gauss–Newton matrix."""

SOLVES = "relative; bound: d·u·κ(H_0), the rounding of a linear solve"
DIFFERENCES = "relative; bound: distance of the central differences of θ(ε) with steps h and h/2, plus their rounding"


def two_points(reduction: str = "sum") -> Problem:
    """X = (1, 1)ᵀ, y = (2, 1), the first point deleted."""
    return linear_regression(Dataset(np.ones((2, 1)), np.array([2.0, 1.0])), [0], reduction=reduction)


def parabola() -> tuple[Problem, Float[np.ndarray, "1"]]:
    """f = xθ + θ² on two points, and its optimum θ̂ = 0."""
    model = FunctionModel(_parabola, jnp.zeros(()))
    data = Dataset(np.array([[1.0], [2.0]]), np.array([-2.0, 1.0]))
    return Problem(model, SquaredLoss(), data, [0]), np.zeros(1)


def _parabola(theta: Array, point: Array) -> Array:
    return point[0] * theta + theta**2


def own_loss(problem: Problem) -> Losses:
    """ℓ_j(θ) of the deleted points."""
    x, y = problem.data.x[problem.delete], problem.data.y[problem.delete]
    return Losses(problem.model, problem.loss, jnp.asarray(x), jnp.asarray(y))


def hessian(problem: Problem, eps: float, theta: np.ndarray | None = None) -> Float[np.ndarray, "d d"]:
    """∇²R_ε(θ); for linear regression θ does not matter."""
    at = np.zeros(problem.dim) if theta is None else theta
    return np.asarray(problem.hessian(at, eps))


def rounding(problem: Problem, theta: np.ndarray | None = None) -> float:
    """d·u·κ(H_0): the relative error that rounding leaves in a solve with the leave-out Hessian, to first order."""
    return problem.dim * UNIT * float(np.linalg.cond(hessian(problem, 0.0, theta)))


def relative(found: object, expected: object) -> float:
    """‖found − expected‖/‖expected‖; the difference itself where the expected vector is zero."""
    a, b = np.asarray(found, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    size = float(np.linalg.norm(b))
    return float(np.linalg.norm(a - b)) / (size if size > 0.0 else 1.0)


def slope(problem: Problem, eps: float, step: float = 1e-3) -> tuple[Float[Array, " d"], float]:
    """dθ/dε by Richardson's extrapolation of central differences of optima, and a relative error bound."""
    points = [eps + k * step for k in (-1.0, -0.5, 0.5, 1.0)]
    ends = [np.asarray(equilibrium(problem, eps=point, tol=1e-13).theta) for point in points]
    wide, narrow = (ends[3] - ends[0]) / (2.0 * step), (ends[2] - ends[1]) / step
    size = float(np.linalg.norm(narrow))
    noise = float(np.linalg.norm(ends[0])) * (rounding(problem, ends[0]) + 1e-13) / step
    return (4.0 * narrow - wide) / 3.0, (float(np.linalg.norm(narrow - wide)) + noise) / size


class System(NamedTuple):
    """Linear regression as θ̇ = b − Hθ − ε x(xᵀθ − y), c and λ absorbed, for formulas that are written out.

    Attributes:
        h, b: without the deleted point, shapes (d, d) and (d,).
        x, y: the deleted point, √c x_j and √c y_j.
        target: a minimiser of R_0, shape (d,); of least norm where there are several.
    """

    h: Float[np.ndarray, "d d"]
    b: Float[np.ndarray, " d"]
    x: Float[np.ndarray, " d"]
    y: float
    target: Float[np.ndarray, " d"]

    def weighted(self, eps: float) -> tuple[Float[np.ndarray, "d d"], Float[np.ndarray, " d"]]:
        """(H_ε, b_ε)."""
        return self.h + eps * np.outer(self.x, self.x), self.b + eps * self.y * self.x

    def optimum(self, eps: float) -> Float[np.ndarray, " d"]:
        """θ(ε), of least norm where it is not unique."""
        h, b = self.weighted(eps)
        return np.linalg.pinv(h, hermitian=True) @ b


def system_of(problem: Problem) -> System:
    """The matrices of linear regression with one deleted point, read off its Hessian, gradient and data."""
    zero, root, j = np.zeros(problem.dim), np.sqrt(problem.scale), problem.delete[0]
    h, b = hessian(problem, 0.0), -np.asarray(problem.gradient(zero, 0.0))
    target = np.linalg.pinv(h, hermitian=True) @ b
    return System(h, b, root * problem.data.x[j], float(root * problem.data.y[j]), target)


def integrate(velocity: Callable[..., np.ndarray], start: np.ndarray, knots: Sequence[float]) -> np.ndarray:
    """θ at the last knot by SciPy's DOP853 at rtol 1e-12, begun afresh at every knot: independent of the library."""
    theta = np.asarray(start, dtype=np.float64)
    for a, b in itertools.pairwise(knots):
        # A jump of ε sits on the knot: the field is read strictly inside the piece.
        inside = np.nextafter(a, b), np.nextafter(b, a)
        found = solve_ivp(
            lambda t, z, inside=inside: velocity(float(np.clip(t, *inside)), z),
            (a, b),
            theta,
            method="DOP853",
            rtol=1e-12,
            atol=1e-13,
        )
        theta = found.y[:, -1]
    return theta


INTEGRATED = 1e-10
"""Relative error of `integrate`: some hundred steps at rtol 1e-12."""
