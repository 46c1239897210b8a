"""The minimum of linear regression at any weights, from the factor of its design, with an error that holds."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from .._core import eigen, spelled
from ._dataset import Dataset
from ._design import UNIT, AbstractDesign, Design, factor_rows, refine
from ._quadratic import Quadratic

REFINED = 1_000_000
"""Numbers in a design up to which its rows are looked at a second time, for the last digits."""
EXACT = 1e-13
"""Relative error at which a minimum is refined no further."""
SHORT = 1e-3
"""A step left, or an error, of more than this share of θ means that rounding has taken the answer."""


class Minimum(NamedTuple):
    """argmin R_ε.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> line.leave_out.theta, line.leave_out.full
        (array([1.6]), True)

    Attributes:
        theta: of all stationary points the one nearest to the given point, shape (d,).
        error: a first-order bound on the error of each entry, shape (d,).
        gradient: ∇R_ε there, shape (d,).
        left: −H⁺∇R_ε, the Newton step that is left, shape (d,).
        scales: the norm of each column of the weighted design, in whose units sizes are compared, shape (d,).
        full: whether the rows (and the penalty) determine every direction.
        definite: whether no direction has negative curvature.
        condition: of the weighted design, its columns scaled to norm one.
    """

    theta: Float[np.ndarray, " d"]
    error: Float[np.ndarray, " d"]
    gradient: Float[np.ndarray, " d"]
    left: Float[np.ndarray, " d"]
    scales: Float[np.ndarray, " d"]
    full: bool
    definite: bool
    condition: float

    __repr__ = spelled

    @property
    def arrived(self) -> bool:
        """Whether what is left, and what is uncertain, is short beside θ."""
        size = SHORT * np.linalg.norm(self.scales * self.theta)
        return bool(max(np.linalg.norm(self.scales * part) for part in (self.left, self.error)) <= size)


class Points(NamedTuple):
    """The data of a linear regression, and how they count.

    Attributes:
        data: all points.
        delete: indices of the deleted ones.
        scale: c.
    """

    data: Dataset
    delete: Int[np.ndarray, " m"]
    scale: float


def by_factor(
    points: Points, design: AbstractDesign, each: Float[np.ndarray, " m"], nearest: Float[np.ndarray, " d"]
) -> Minimum:
    """The minimum for weights ε ≥ 0 of the deleted points, from the factor of the retained rows.

    Args:
        points: the data.
        design: the factor of what is not deleted.
        each: ε, shape (m,).
        nearest: of several minima the one nearest to it is returned, shape (d,).
    """
    data, delete, scale = points
    counted = delete[each > 0.0]
    roots = np.sqrt(scale * each[each > 0.0])
    if counted.size:
        more = roots[:, None] * data.x[counted], roots * data.y[counted]
        design = factor_rows([design.rows, more], design.dim, design.penalty)
    theta, full = design.minimum(nearest), design.rank == design.dim
    error = design.error(theta)
    inexact = (error > EXACT * np.abs(theta)).any()
    if isinstance(design, Design) and full and inexact and data.x.size <= REFINED:
        # Of R_ε/c: rows that are multiplied by √c are no longer those that were given, in their last digit.
        w = np.ones(data.n)
        w[delete] = each
        root, kept = np.sqrt(w[w > 0.0]), w > 0.0
        x, y = np.asarray(data.x)[kept], np.asarray(data.y)[kept]
        theta, error = refine(theta, root[:, None] * x, root * y, design.penalty / scale)
    gradient = design.gradient(theta)
    return Minimum(
        theta=theta,
        error=error,
        gradient=gradient,
        left=-design.solve_normal(gradient),
        scales=design.scales,
        full=full,
        definite=True,
        condition=design.condition,
    )


def stationary(risk: Quadratic, weights: Float[np.ndarray, " m"], nearest: Float[np.ndarray, " d"]) -> Minimum:
    """Where ∇R_ε vanishes for weights of any sign, by the eigendecomposition of H_ε in scaled coordinates."""
    h, b = (np.asarray(part) for part in risk.system(weights))
    scales = np.sqrt(np.diag(np.asarray(risk.h_retained)))
    scales = np.where(scales > 0.0, scales, 1.0)
    basis = eigen(h / np.outer(scales, scales))
    theta = np.asarray(basis.pinv(b / scales)) / scales
    if basis.kernel.any():
        theta = theta + np.asarray(eigen(h).kernel_projection(nearest - theta))
    sizes, gradient = np.abs(basis.values[basis.values != 0.0]), h @ theta - b
    condition = float(sizes.max() / sizes.min()) if sizes.size else 1.0
    return Minimum(
        theta=theta,
        error=UNIT * risk.dim * condition * np.linalg.norm(scales * theta) / scales,
        gradient=gradient,
        left=-np.asarray(basis.pinv(gradient / scales)) / scales,
        scales=scales,
        full=not basis.kernel.any(),
        definite=bool(basis.values[0] >= 0.0),
        condition=condition,
    )
