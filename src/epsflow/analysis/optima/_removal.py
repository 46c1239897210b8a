"""Removing points from a Hessian: H_0 = H_1 − BᵀB, one factor of H_1 for every set of points.

B has one row √c ℓ''^½ x_j per deleted point of a linear model (one per output). By Woodbury's identity a leave-out
solve costs a product with R⁻¹ and a system of the size of the set.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.linalg import get_lapack_funcs

from ..._core import InputError
from ...problem import Design, GeneralisedLinear, Local, Problem, Quadratic, factor_rows, statistics
from ._leverage import factorise

UNIT = np.finfo(np.float64).eps

potrf, trtri = get_lapack_funcs(("potrf", "trtri"), dtype=np.float64)

DIGITS = 1e-11
"""Rounding up to which the Cholesky factor of a Hessian serves: its square root is lost, at most, to squaring rows."""


@dataclass(frozen=True, eq=False)
class Removal:
    """(H_1 + λ_d I − BᵀB)⁻¹ for k sets.

    Attributes:
        hessian: H_1, undamped, shape (d, d).
        inverse: R⁻¹ with R⁻¹R⁻ᵀ = (H_1 + λ_d I)⁻¹, shape (d, d).
        rows: B of every set, shape (k, r, d).
        pulls: Σ_D g_j of every set, shape (k, d).
        whitened: BR⁻¹, shape (k, r, d).
        kept: I − BR⁻¹R⁻ᵀBᵀ, shape (k, r, r); NaN where it is not positive definite.
        gradient_norm: ‖∇R_1(θ)‖.
        definite: whether what is left is positive definite beyond rounding, shape (k,).
        rounding: below this, an eigenvalue of `kept` carries no digit.
    """

    hessian: Float[np.ndarray, "d d"]
    inverse: Float[np.ndarray, "d d"]
    rows: Float[np.ndarray, "k r d"]
    pulls: Float[np.ndarray, "k d"]
    gradient_norm: float
    whitened: Float[np.ndarray, "k r d"]
    kept: Float[np.ndarray, "k r r"]
    definite: Bool[np.ndarray, " k"]
    rounding: float = 0.0

    def twice(self) -> "Removal":
        """The same without another BᵀB: H_1 + λ_d I − 2BᵀB."""
        root = np.sqrt(2.0)
        return _assemble(
            self.hessian, self.inverse, root * self.rows, self.pulls, rounding=self.rounding, norm=self.gradient_norm
        )

    def solve(
        self, vectors: Float[np.ndarray, "k d"], which: Int[np.ndarray, " j"] | slice = slice(None)
    ) -> np.ndarray:
        """(H_0 + λ_d I)⁻¹v, one vector for each of the sets named; NaN where it is not definite."""
        whitened, kept = self.whitened[which], self.kept[which]
        turned = vectors @ self.inverse
        if whitened.shape[1] == 1:
            row = whitened[:, 0]
            turned = turned + row * (np.einsum("kd,kd->k", row, turned) / kept[:, 0, 0])[:, None]
        else:
            weights = np.linalg.solve(kept, np.einsum("krd,kd->kr", whitened, turned)[..., None])[..., 0]
            turned = turned + np.einsum("kr,krd->kd", weights, whitened)
        return turned @ self.inverse.T

    def residuals(self, solutions: Float[np.ndarray, "k d"], damping: float) -> Float[np.ndarray, " k"]:
        """‖(H_0 + λ_d I)Δ − Σg_j‖/‖Σg_j‖ of solutions for the sets' own pulls; 0 where nothing pulls."""
        image = solutions @ self.hessian
        image += damping * solutions
        image -= self.pulls
        if self.rows.shape[1] == 1:
            row = self.rows[:, 0]
            image = image - row * np.einsum("kd,kd->k", row, solutions)[:, None]
        else:
            image = image - np.einsum("krd,kr->kd", self.rows, np.einsum("krd,kd->kr", self.rows, solutions))
        sizes = np.sqrt(np.einsum("kd,kd->k", self.pulls, self.pulls))
        return np.sqrt(np.einsum("kd,kd->k", image, image)) / np.where(sizes > 0.0, sizes, 1.0)


def remove(problem: Problem, theta: Float[np.ndarray, " d"], sets: Int[np.ndarray, "k q"], damping: float) -> Removal:
    """The leave-out Hessians of a linear model at θ.

    Raises:
        InputError: H_1 + λ_d I is not positive definite.
    """
    if isinstance(problem.risk, Quadratic):
        return _of_linear(problem, theta, sets, damping)
    model = problem.generalised()
    local = model.at(theta)
    everyone = np.full(len(model.x), model.scale)
    hessian = model.hessian(local, everyone)
    inverse, rounding = _inverse(model, local, hessian, damping)
    slopes, rows = _rows(model, local, sets)
    norm = float(np.linalg.norm(model.gradient(local, everyone)))
    return _assemble(hessian, inverse, rows, slopes.sum(axis=1), rounding=rounding, norm=norm)


def _inverse(
    model: GeneralisedLinear, local: Local, hessian: Float[np.ndarray, "d d"], damping: float
) -> tuple[Float[np.ndarray, "d d"], float]:
    """R⁻¹ with R⁻¹R⁻ᵀ = (H_1 + λ_d I)⁻¹, and what rounding makes of 1: by Cholesky, or by QR where H has lost digits.

    Raises:
        InputError: H_1 + λ_d I is not positive definite.
    """
    d = len(hessian)
    matrix = hessian.copy()
    matrix.flat[:: d + 1] += damping
    widths = np.sqrt(np.maximum(np.diagonal(matrix), np.finfo(np.float64).tiny))
    triangle, failed = potrf(matrix / widths / widths[:, None])
    if not failed:
        inverse, _ = trtri(triangle)
        rounding = UNIT * d * float(np.einsum("ij,ij->", inverse, inverse))
        if rounding <= DIGITS:
            return inverse / widths[:, None], rounding
    everyone = np.arange(len(model.x))
    weighted = (_rows(model, local, everyone[rows, None])[1].reshape(-1, d) for rows in model.chunks())
    design = factor_rows(((rows, np.zeros(len(rows))) for rows in weighted), d, model.l2 + damping)
    if not isinstance(design, Design) or design.rank < d:
        raise InputError(
            f"H_1 is singular at this θ even with all points (least eigenvalue {np.linalg.eigvalsh(hessian)[0]:.3e}), "
            "so leaving points out has no unique answer. Add l2 > 0, a damping > 0, or pass a θ that is a minimum."
        )
    return design.solve(np.eye(d)), UNIT * d * design.condition


def _of_linear(problem: Problem, theta: np.ndarray, sets: np.ndarray, damping: float) -> Removal:
    """From the orthogonal factor of `leverage`, whose errors are those of the rows, not of their Gram matrix."""
    try:
        factor = factorise(problem, damping)
    except InputError as error:
        raise InputError(f"H_1 is singular: {error}") from error
    hessian, moments = statistics(problem, np.ones(problem.delete.shape))
    x, y = np.asarray(problem.data.x[sets]), np.asarray(problem.data.y[sets])
    pulls = problem.scale * np.einsum("kqd,kq->kd", x, x @ theta - y)
    root = np.sqrt(problem.scale)
    norm = float(np.linalg.norm(hessian @ theta - moments))
    return _assemble(hessian, factor.inverse / root, root * x, pulls, rounding=factor.rounding, norm=norm)


def _assemble(
    hessian: np.ndarray, inverse: np.ndarray, rows: np.ndarray, pulls: np.ndarray, *, rounding: float, norm: float
) -> Removal:
    whitened = (rows.reshape(-1, rows.shape[2]) @ inverse).reshape(rows.shape)  # one product instead of k
    if rows.shape[1] == 1:
        kept = 1.0 - np.einsum("krd,krd->k", whitened, whitened)
        definite = kept > rounding
        kept = np.where(definite, kept, np.nan)[:, None, None]
    else:
        kept = np.eye(rows.shape[1]) - whitened @ np.swapaxes(whitened, 1, 2)
        definite = np.linalg.eigvalsh(kept)[:, 0] > rounding
        kept = np.where(definite[:, None, None], kept, np.nan)
    return Removal(
        hessian=hessian,
        inverse=inverse,
        rows=rows,
        pulls=pulls,
        gradient_norm=norm,
        whitened=whitened,
        kept=kept,
        definite=definite,
        rounding=rounding,
    )


def _rows(
    model: GeneralisedLinear, local: Local, sets: Int[np.ndarray, "k q"]
) -> tuple[Float[np.ndarray, "k q d"], Float[np.ndarray, "k r d"]]:
    """g_j of each point of the sets, and the rows of B."""
    x, points = model.x[sets], local.points
    if model.outputs is None:
        gradients = x * (model.scale * points.slopes[sets])[..., None]
        return gradients, x * np.sqrt(model.scale * points.curvatures[sets])[..., None]
    k, q, _ = x.shape
    gradients = model.scale * x[..., None] * points.slopes[sets][:, :, None, :]
    values, axes = np.linalg.eigh(points.curvatures[sets])
    roots = axes * np.sqrt(model.scale * np.maximum(values, 0.0))[..., None, :]
    rows = np.einsum("kqp,kqor->kqrpo", x, roots)
    return gradients.reshape(k, q, -1), rows.reshape(k, q * model.outputs, -1)
