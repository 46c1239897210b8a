"""How many points, vectors and right-hand sides are worked on at once within a budget of memory."""

from dataclasses import dataclass

import jax
import numpy as np

from ..._core import InputError, jaxpr_of
from ...problem import LinearModel, Problem

MAX_BYTES = 2**30
"""What intermediate arrays may take unless another budget is given."""

VECTOR_COPIES, POINT_COPIES, SOLVE_COPIES = 4, 4, 6
"""Arrays as large as θ that a product holds, passes forward and back per point, and arrays per right-hand side."""


@dataclass(frozen=True)
class Chunks:
    """How much is worked on at once.

    Example:
        >>> problem = ef.Problem(ef.MLP((10, 1)), ef.SquaredLoss(), ef.load_dataset("diabetes"))
        >>> ef.analysis.chunks_of(problem).points
        442

    Attributes:
        points: of the data, in one pass.
        vectors: that are multiplied with a matrix at once.
        solves: right-hand sides that are solved for at once.
        max_bytes: the budget of intermediate arrays.
    """

    points: int
    vectors: int
    solves: int
    max_bytes: int

    def __str__(self) -> str:
        return (
            f"{self.points:,} points, {self.vectors:,} vectors and {self.solves:,} right-hand sides at a time within "
            f"{1e-9 * self.max_bytes:.3g} GB"
        )


def chunks_of(problem: Problem, max_bytes: int | None = None) -> Chunks:
    """Chunks that meet a budget: half of it for right-hand sides, half for products with the data.

    Example:
        >>> problem = ef.Problem(ef.MLP((10, 1)), ef.SquaredLoss(), ef.load_dataset("diabetes"))
        >>> ef.analysis.chunks_of(problem, 2_000).points < 10
        True

    Args:
        problem: what is trained.
        max_bytes: the budget; data, θ and results are not counted.

    Raises:
        InputError: a budget that no chunk meets, with the least that one does.
    """
    budget = MAX_BYTES if max_bytes is None else max_bytes
    size, n = np.dtype(problem.array_dtype).itemsize, problem.data.n
    half = budget // (2 * size)
    vector, solve = VECTOR_COPIES * problem.dim, SOLVE_COPIES * problem.dim
    point = POINT_COPIES * numbers_per_point(problem)
    least = max(vector + point, solve)
    if half < least:
        raise InputError(
            f"max_bytes is {budget:,}, which no chunk meets: one right-hand side, and one product with one point, of "
            f"{problem.dim:,} parameters in {problem.dtype} need {2 * size * least:,} bytes."
        )
    points = min(n, problem.chunk_rows, (half - vector) // point)
    vectors = max(1, half // (vector + points * point))
    return Chunks(int(points), int(vectors), int(half // solve), int(budget))


def chunks_for(problem: Problem, max_bytes: int | None = None) -> Chunks | None:
    """`chunks_of` a problem whose model is not linear; a linear one's products need no budget.

    Raises:
        InputError: a budget that no chunk meets, with the least that one does.
    """
    return None if isinstance(problem.model, LinearModel) else chunks_of(problem, max_bytes)


def said(chunks: Chunks | None) -> dict[str, object]:
    """The line of a summary that says what was worked on at once; none for a linear model."""
    return {} if chunks is None else {"chunks": str(chunks)}


def numbers_per_point(problem: Problem) -> int:
    """Numbers that depend on a point and not on θ alone, in one pass of the model: x and what is computed from it."""
    point = problem.data.x.shape[1:]
    theta, x = (jax.ShapeDtypeStruct(shape, np.dtype(problem.array_dtype)) for shape in ((problem.dim,), point))
    jaxpr = jaxpr_of(problem.model, theta, x).jaxpr
    known, total = {jaxpr.invars[-1]}, int(np.prod(point))
    for equation in jaxpr.eqns:
        if any(not hasattr(variable, "val") and variable in known for variable in equation.invars):
            known.update(equation.outvars)
            total += sum(variable.aval.size for variable in equation.outvars)
    return total
