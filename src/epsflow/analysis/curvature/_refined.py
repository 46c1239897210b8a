"""(C + λ_d I)h = v by conjugate gradients in float32, with residuals in float64: iterative refinement."""

import jax
import numpy as np
from jaxtyping import Float

from ..._core import RESULTS
from ._base import AnyCurvature, CurvatureSolve, judge, products
from ._cg import CG
from ._curvature import Curvature

ROUNDS = 10
"""Solves for what is left, at most: each takes off some four digits where the condition is below a thousand."""


def refined(
    curvature: AnyCurvature, narrow: Curvature, rhs: Float[np.ndarray, "q d"], *, rtol: float, max_steps: int | None
) -> CurvatureSolve:
    """Solve for v, then for what a product in float64 leaves of it, until ‖(C + λ_d I)h − v‖ ≤ rtol·‖v‖ or no longer.

    Args:
        curvature: the matrix in float64, while JAX is in its 64-bit mode.
        narrow: the same in float32.
        rhs: v, shape (q, d).
        rtol: see above.
        max_steps: products in float32 of each solve; None for 10·d.

    Raises:
        InputError: a matrix that a direction of the search shows to be indefinite.
    """
    inner, sizes = CG(max_steps=max_steps), np.linalg.norm(rhs, axis=1)
    solution, left, norms = np.zeros_like(rhs), rhs, sizes
    steps = np.zeros(len(rhs), np.int64)
    for _ in range(ROUNDS):
        going = norms > rtol * sizes
        if not going.any():
            break
        # Of length one, so that nothing underflows; a column that has arrived asks for nothing.
        unit = np.where(going[:, None], left / np.where(norms > 0.0, norms, 1.0)[:, None], 0.0)
        with jax.enable_x64(False):
            found = inner.compute(narrow, unit.astype(np.float32))
        tried = solution + np.where(going, norms, 0.0)[:, None] * found.solution
        beyond = rhs - products(curvature, tried)
        new, steps = np.linalg.norm(beyond, axis=1), steps + found.steps + going
        better = new < norms
        solution = np.where(better[:, None], tried, solution)
        left = np.where(better[:, None], beyond, left)
        held, norms = ~(new < 0.5 * norms), np.where(better, new, norms)
        if (held | ~going).all():
            break
    residual = norms / np.where(sizes > 0.0, sizes, 1.0)
    return CurvatureSolve(
        solution=solution,
        residual=residual,
        result=judge(residual, rtol, RESULTS.max_steps_reached),
        steps=steps,
        solver="cg",
        note="solves in float32 for what a product in float64 leaves no longer halve it: more damping, or "
        "problem.with_dtype('float64'), helps",
    )
