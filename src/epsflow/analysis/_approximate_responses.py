"""The damped GGN influence by a solver whose error is of interest, as many deletions at a time as the budget holds."""

from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from .._core import join
from ..problem import Problem
from .curvature import AnyCurvature, Curvature, CurvatureSolve, Prepared, curvature_at, products, relative_residuals


def approximate_responses(
    problem: Problem,
    theta: Float[np.ndarray, " d"],
    forces: Float[np.ndarray, "q d"],
    solver: Any,
    *,
    damping: float,
    max_bytes: int | None,
    precision: str,
) -> CurvatureSolve:
    """(G + (λ + λ_d)I)⁻¹v for every row v, as the solver finds it in a precision.

    Args:
        problem: what is trained, in float64.
        theta: θ_s, shape (d,).
        forces: v.
        solver: a name, or a solver object with its options.
        damping: λ_d.
        max_bytes: memory for intermediate arrays.
        precision: "float64" or "float32", in which the solver works; residuals are of products in float64.
    """
    options: Any = {"damping": damping, "max_bytes": max_bytes}
    ggn = curvature_at(problem, theta, "ggn", **options)
    if precision == "float64":
        return _by_parts(ggn, forces, solver)
    with jax.enable_x64(False):
        narrow = curvature_at(problem.with_dtype(precision), theta, "ggn", **options)
        found = _by_parts(narrow, forces.astype(np.float32), solver)
    solution = np.asarray(found.solution, np.float64)
    return replace(found, solution=solution, residual=relative_residuals(products(ggn, solution), forces))


def _by_parts(ggn: AnyCurvature, forces: Float[np.ndarray, "q d"], solver: Any) -> CurvatureSolve:
    """As many right-hand sides at a time as the budget holds."""
    prepared = Prepared(ggn, solver)
    most = ggn.chunks.solves if isinstance(ggn, Curvature) and ggn.chunks is not None else len(forces)
    parts = [prepared.solve(forces[k : k + most], throw=False) for k in range(0, len(forces), most)]
    return replace(
        parts[0],
        solution=np.concatenate([part.solution for part in parts]),
        residual=np.concatenate([part.residual for part in parts]),
        result=join([part.result for part in parts]),
        steps=np.concatenate([part.steps for part in parts]),
    )
