"""`curvature_at`: the matrix of that name at a θ, of any model."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from ..._core import InputError, as_scalar
from ...flow import trained_optimum
from ...problem import LinearModel, Problem, unit_of
from ._base import AnyCurvature
from ._curvature import KINDS, Curvature
from ._labels import label_factor
from ._linear import linear_curvature
from ._memory import chunks_of


def curvature_at(
    problem: Problem,
    theta: object,
    kind: str = "hessian",
    *,
    damping: object = 0.0,
    eps: object = 1.0,
    penalty: bool = True,
    max_bytes: int | None = None,
    devices: Sequence[Any] = (),
) -> AnyCurvature:
    """C + λ_d I of a problem at θ; see `Curvature` for which C. Of a linear model it is NumPy's.

    Args:
        problem: what is trained.
        theta: where, shape (d,); need not be an optimum.
        kind: "hessian", "ggn", "fisher" or "empirical_fisher".
        damping: λ_d ≥ 0.
        eps: weight of the deleted points.
        penalty: whether C contains λI, the curvature of the problem's own penalty.
        max_bytes: memory for intermediate arrays, of a model that is not linear; default: 1 GiB.

        devices: over which the points of a model that is not linear are spread in equal parts.

    Raises:
        InputError: an unknown kind, negative damping, θ of the wrong shape or with NaN, a GGN of a loss that is not
            convex in the output, a Fisher matrix of a loss without a known label distribution, a budget that no chunk
            meets.
    """
    if kind not in KINDS:
        raise InputError(f"unknown curvature {kind!r}: choose one of {', '.join(KINDS)}.")
    added = as_scalar(damping, "damping")
    if added < 0.0:
        raise InputError(
            f"damping is {added:g}; λ_d must be ≥ 0: a negative one makes the curvature less definite, not more."
        )
    if kind == "ggn" and not problem.loss.convex:
        raise InputError(
            f"{type(problem.loss).__name__} is not convex in the model's output, so its Gauss–Newton matrix is not "
            'positive semidefinite. Use curvature="hessian" with enough damping.'
        )
    place = trained_optimum(problem, theta)  # as given, checked
    weights = problem.checked_weights(eps)
    ridge = (problem.penalty if penalty else 0.0) + added
    if isinstance(problem.model, LinearModel):
        return linear_curvature(problem, place, kind, eps=weights, ridge=ridge)
    if kind == "fisher":
        jax.eval_shape(lambda f: label_factor(problem.loss, f), jax.ShapeDtypeStruct((1,), place.dtype))
    chunks = chunks_of(problem, max_bytes)
    risk = replace(problem.empirical(), chunk_rows=chunks.points)
    return Curvature(
        risk=risk.on(devices) if len(devices) else risk,
        theta=jnp.asarray(place, problem.array_dtype),
        eps=jnp.asarray(weights, problem.array_dtype),
        penalty=jnp.asarray(problem.penalty, problem.array_dtype),
        ridge=jnp.asarray(ridge, problem.array_dtype),
        kind=kind,
        unit=unit_of(problem.dtype),
        chunks=chunks,
    )
