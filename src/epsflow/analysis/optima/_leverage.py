"""Leverage and leave-one-out diagnostics of least squares, without refitting: one factor, two passes over the rows."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.linalg import get_lapack_funcs

from ..._core import InputError, Tabular
from ...flow import checked
from ...problem import Design, Problem, WideDesign, factor_rows

UNIT = float(np.finfo(np.float64).eps)

(trtri,) = get_lapack_funcs(("trtri",), dtype=np.float64)

CHUNK_NUMBERS = 2_000_000
"""Entries of X in memory at once beside the results (16 MB)."""

DOMINANT = 0.999
"""Share of ‖ê‖² from which subtracting a point's part would lose more than three digits of what is left."""


@dataclass(frozen=True, eq=False, repr=False)
class Leverage(Tabular):
    """Deletion diagnostics of every point of a least-squares fit, exact.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> round(float(ef.leverage(problem).leverages.sum()), 6)
        10.0

    With A = XᵀX + (λ/c)I, ê = y − Xθ and P = X A⁻¹ Xᵀ. A point with P_ii = 1 alone determines a direction: without it
    the optimum is not unique, `determined` is False there, and what speaks of its deletion is NaN.

    Attributes:
        theta: θ(1), the fit with all points, shape (d,).
        leverages: P_ii, shape (n,).
        residuals: ê_i = y_i − x_iᵀθ, shape (n,).
        change: θ(0) − θ(1) for each point removed alone, −A⁻¹x_i ê_i/(1 − P_ii), shape (n, d).
        joint_change: θ(0) − θ(1) for the problem's own deleted points together, −A⁻¹X_Dᵀ(I − P_DD)⁻¹ê_D, shape (d,).
        degrees_of_freedom: p = tr P, shape ().
        variance: s² = ‖ê‖²/(n − p), shape ().
        variances: s²_(i), the same quantity of the fit without point i, shape (n,).
        studentised_residuals: internally, ê_i/(s√(1 − P_ii)), shape (n,).
        external_residuals: externally studentised, ê_i/(s_(i)√(1 − P_ii)), shape (n,).
        cooks_distance: ‖X(θ(0) − θ(1))‖²/(p s²), shape (n,).
        dffits: x_iᵀ(θ(1) − θ(0))/(s_(i)√P_ii), shape (n,).
        dfbetas: (θ(1) − θ(0))_k/(s_(i)√(A⁻¹)_kk), shape (n, d).
        determined: whether the other points determine θ without point i, shape (n,).
        caution: what makes the answer worth less than it looks, as `Problem.caution` says; mostly empty.
    """

    theta: Float[np.ndarray, " d"]
    leverages: Float[np.ndarray, " n"]
    residuals: Float[np.ndarray, " n"]
    change: Float[np.ndarray, "n d"]
    joint_change: Float[np.ndarray, " d"]
    degrees_of_freedom: float
    variance: float
    variances: Float[np.ndarray, " n"]
    studentised_residuals: Float[np.ndarray, " n"]
    external_residuals: Float[np.ndarray, " n"]
    cooks_distance: Float[np.ndarray, " n"]
    dffits: Float[np.ndarray, " n"]
    dfbetas: Float[np.ndarray, "n d"]
    determined: Bool[np.ndarray, " n"]
    caution: str = ""

    def _facts(self) -> dict[str, object]:
        return {
            "points": len(self.leverages),
            "degrees_of_freedom": self.degrees_of_freedom,
            "variance": self.variance,
            "largest_leverage": self.leverages.max(),
            "largest_cooks_distance": np.nanmax(self.cooks_distance, initial=0.0),
            **({"caution": self.caution} if self.caution else {}),
        }

    def _rows(self) -> list[dict[str, Any]]:
        columns = ("leverages", "residuals", "external_residuals", "cooks_distance", "dffits")
        return [{"point": k, **{name: getattr(self, name)[k] for name in columns}} for k in range(len(self.leverages))]


class Factor(NamedTuple):
    """Least squares as the inverse of its triangular factor.

    Attributes:
        inverse: R⁻¹, upper triangular, RᵀR = A = XᵀX + κI, shape (d, d).
        theta: the fit, shape (d,).
        ridge: κ = λ/c.
        rounding: below this, 1 − P_ii carries no digit.
        size: of ‖|X||θ|‖ at most: the lengths of the columns times |θ|.
    """

    inverse: Float[np.ndarray, "d d"]
    theta: Float[np.ndarray, " d"]
    ridge: float
    rounding: float
    size: float


@checked
def leverage(problem: Problem) -> Leverage:
    """Leverages, studentised residuals, Cook's distances, DFFITS, DFBETAS and exact leave-outs; O(nd²) time.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> int(np.argmax(ef.leverage(problem).cooks_distance))
        382

    For OLS these are the definitions of statsmodels and R. The same definitions, read as *what refitting without the
    point would give*, extend to ridge (λ > 0), with p = tr P effective degrees of freedom (p_(i) likewise without
    point i), ‖X·‖ in Cook's distance without the penalty, and A with it in P and DFBETAS; c stays 1 or 1/n in the
    refits. n may be any size: x is read twice in chunks, and the results
    take about 2(d + 4)n numbers.

    Source: Cook and Weisberg, Residuals and Influence in Regression (1982), sections 2.1, 3.4 and 3.5.

    Args:
        problem: linear regression; its deleted points, if any, are also removed together (`joint_change`).

    Raises:
        InputError: not linear regression, rank deficient (with the direction in words), fewer than p + 2 points, or
            deleted points without which θ is not determined.
    """
    factor = factorise(problem)
    x, y, n, d = problem.data.x, problem.data.y, problem.data.n, problem.dim
    # A row of `solved` for each parameter: what is done to all points is done along rows, several times as fast.
    leverages, residuals, solved = np.empty(n), np.empty(n), np.empty((d, n))
    for rows in _chunks(n, d):
        block = np.asarray(x[rows])
        whitened = factor.inverse.T @ block.T
        np.einsum("di,di->i", whitened, whitened, out=leverages[rows])
        np.subtract(y[rows], block @ factor.theta, out=residuals[rows])
        np.matmul(factor.inverse, whitened, out=solved[:, rows])
    if _is_perfect(problem, factor, residuals):
        residuals[:] = 0.0
    variances = np.einsum("kd,kd->k", factor.inverse, factor.inverse)  # diagonal of A⁻¹
    dof = d - factor.ridge * float(variances.sum())
    if n - 1 - dof <= 0.0:
        raise InputError(
            f"{problem.data.name}: {n} points leave no degree of freedom for a residual variance without one of them "
            f"({dof:.3g} are used by the fit). Use more points, fewer features, or a larger l2."
        )
    joint = _joint_change(problem, factor)
    return _diagnose(problem, factor, leverages, residuals, solved.T, joint, dof, np.sqrt(variances))


def _diagnose(
    problem: Problem,
    factor: Factor,
    leverages: np.ndarray,
    residuals: np.ndarray,
    solved: np.ndarray,
    joint: np.ndarray,
    dof: float,
    scales: np.ndarray,
) -> Leverage:
    """All diagnostics from P_ii, ê_i and A⁻¹x_i; what is 0/0 (a perfect fit, an undetermined deletion) is NaN."""
    n, ridge, theta = len(leverages), factor.ridge, factor.theta
    kept = 1.0 - leverages
    determined = kept > factor.rounding
    kept[~determined] = np.nan
    rss = float(residuals @ residuals)
    left_out = residuals / kept  # y_i − x_iᵀθ_(i)
    change = solved * -left_out[:, None]  # θ(0) − θ(1)
    # RSS_(i) from Xᵀê = κθ and AΔ = x_i ê_i/(1 − P_ii): no second look at the data.
    part = left_out * residuals
    rss_without, dof_without = rss - part, dof
    moved = leverages * left_out**2  # ‖X(θ(1) − θ(0))‖²
    if ridge > 0.0:
        lengths = np.einsum("id,id->i", change, change)
        moved -= ridge * lengths
        rss_without += ridge * (-2.0 * change @ theta - lengths)
        dof_without = dof - ridge * np.einsum("id,id->i", solved, solved) / kept
    # A point that holds nearly all of ‖ê‖² leaves a difference of large numbers: the fit is made again without it.
    for i in np.flatnonzero(part > DOMINANT * rss).tolist():
        rss_without[i] = _squares_without(problem, i)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = rss / (n - dof)
        variances = np.maximum(rss_without, 0.0) / (n - 1 - dof_without)
        s_without, root = np.sqrt(variances), np.sqrt(kept)
        external = residuals / (s_without * root)
        dfbetas = solved * (left_out / s_without)[:, None]
        dfbetas *= 1.0 / scales
        return Leverage(
            theta=theta,
            leverages=leverages,
            residuals=residuals,
            change=change,
            joint_change=joint,
            degrees_of_freedom=dof,
            variance=variance,
            variances=variances,
            studentised_residuals=residuals / (math.sqrt(variance) * root),
            external_residuals=external,
            cooks_distance=moved / (dof * variance),
            dffits=external * (np.sqrt(leverages) / root),
            dfbetas=dfbetas,
            determined=determined,
            caution=problem.caution,
        )


def _joint_change(problem: Problem, factor: Factor) -> Float[np.ndarray, " d"]:
    """θ(0) − θ(1) for the problem's own deleted points.

    Raises:
        InputError: deleted points without which θ is not determined.
    """
    if not problem.delete.size:
        return np.zeros(problem.dim)
    x, y = np.asarray(problem.data.x[problem.delete]), np.asarray(problem.data.y[problem.delete])
    joint, determined = leave_out(factor, x[None], y[None])
    if not determined[0]:
        direction = problem.undetermined_direction()
        raise InputError(
            f"{problem.data.name}: without the deleted points the optimum is not unique"
            f"{f' (along {direction})' if direction else ''}. Delete fewer points, or add l2 > 0."
        )
    return joint[0]


def _is_perfect(problem: Problem, factor: Factor, residuals: Float[np.ndarray, " n"]) -> bool:
    """Whether ‖ê‖ is rounding: a small share of ‖|X||θ| + |y|‖, for which the rows are read only where it might be."""
    x, y, n, d = problem.data.x, problem.data.y, problem.data.n, problem.dim
    size, noise = math.sqrt(residuals @ residuals), _noise(n, d)
    if size > 2.0 * noise * (factor.size + math.sqrt(y @ y)):
        return False
    sizes = (np.abs(x[rows]) @ np.abs(factor.theta) + np.abs(y[rows]) for rows in _chunks(n, d))
    return bool(size <= noise * np.linalg.norm([np.linalg.norm(part) for part in sizes]))


def _squares_without(problem: Problem, point: int) -> float:
    """‖ê_(i)‖² of the fit without a point, made afresh; 0 where it is rounding."""
    x, y, n, d = problem.data.x, problem.data.y, problem.data.n, problem.dim

    def others() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for rows in _chunks(n, d):
            kept = np.arange(n)[rows] != point
            yield np.asarray(x[rows])[kept], np.asarray(y[rows])[kept]

    theta = factor_rows(others(), d, problem.l2 / problem.scale).minimum()
    squares, sizes = 0.0, 0.0
    for block, targets in others():
        squares += float(np.sum((targets - block @ theta) ** 2))
        sizes += float(np.sum((np.abs(block) @ np.abs(theta) + np.abs(targets)) ** 2))
    return squares if squares > _noise(n, d) ** 2 * sizes else 0.0


def _noise(n: int, d: int) -> float:
    """‖ê‖ below this share of ‖|X||θ| + |y|‖ is rounding: Householder's QR is backward stable."""
    return 2.0 * UNIT * max(d, math.sqrt(n))


def factorise(problem: Problem, damping: float = 0.0) -> Factor:
    """R⁻¹ and θ from the problem's own QR factor, of all points and with the damping inside.

    Points that the problem deletes, and a damping, are rows below its triangle: no second look at the data.

    Raises:
        InputError: not linear regression, or X without full column rank and λ = 0.
    """
    design, d = problem.design, problem.dim
    if design is None:
        raise InputError(
            f"leverage is defined for linear regression (LinearModel with one output, SquaredLoss), not for "
            f"{type(problem.model).__name__} with {type(problem.loss).__name__}. `retrain_all` gives leave-one-outs of "
            "any model, `newton_step_all` one Newton step towards them."
        )
    if isinstance(design, Design) and problem.delete.size == 0 and damping == 0.0:
        triangle, target, scaled, sizes = design.triangle, design.projected, design.scaled, design.sizes
    else:
        triangle, target = _extended(problem, design, damping)
        norms = np.linalg.norm(triangle, axis=0)
        scaled = triangle / np.where(norms > 0.0, norms, 1.0)
        sizes = np.linalg.svd(scaled, compute_uv=False)
    if sizes[-1] <= max(d, 4.0 * math.sqrt(problem.data.n)) * UNIT * sizes[0]:
        direction = problem.undetermined_direction(1.0)
        raise InputError(
            f"{problem.data.name}: X has rank below {d} (its scaled columns have singular values {sizes[-1]:.2e} to "
            f"{sizes[0]:.2e}), so θ is not determined{f' along {direction}' if direction else ''}. "
            "Remove a dependent column, or add l2 > 0."
        )
    widths = triangle.diagonal() / scaled.diagonal()
    inverse, _ = trtri(scaled)
    inverse /= widths[:, None]
    theta = inverse @ target
    return Factor(
        inverse=math.sqrt(problem.scale) * inverse,
        theta=theta,
        ridge=(problem.l2 + damping) / problem.scale,
        rounding=d * UNIT * float(sizes[0] / sizes[-1]),
        size=float(widths @ np.abs(theta)) / math.sqrt(problem.scale),
    )


def _extended(
    problem: Problem, design: Design | WideDesign, damping: float
) -> tuple[Float[np.ndarray, "d d"], Float[np.ndarray, " d"]]:
    """The triangle and the projected targets with the deleted points, and the penalty and damping, as rows."""
    d, ridge, root = problem.dim, problem.l2 + damping, np.sqrt(problem.scale)
    x, y = (root * np.asarray(part[problem.delete]) for part in (problem.data.x, problem.data.y))
    penalty = np.sqrt(ridge) * np.eye(d if ridge > 0.0 else 0, d)
    rows, targets = np.vstack([design.rows[0], x, penalty]), np.concatenate([design.rows[1], y, np.zeros(len(penalty))])
    missing = max(0, d - len(rows))
    stacked = np.vstack([np.hstack([rows, targets[:, None]]), np.zeros((missing + 1, d + 1))])
    factor = np.asarray(np.linalg.qr(stacked, mode="r"))
    return factor[:d, :d], factor[:d, d]


def leave_out(
    factor: Factor, x: Float[np.ndarray, "k q d"], y: Float[np.ndarray, "k q"]
) -> tuple[Float[np.ndarray, "k d"], Bool[np.ndarray, " k"]]:
    """θ(0) − θ(1) = −A⁻¹X_Dᵀ(I − P_DD)⁻¹ê_D for k groups of q points, and whether I − P_DD is regular."""
    size = x.shape[1]
    whitened = x @ factor.inverse
    kept = np.eye(size) - whitened @ np.swapaxes(whitened, 1, 2)
    determined = np.linalg.eigvalsh(kept)[:, 0] > factor.rounding
    regular = np.where(determined[:, None, None], kept, np.eye(size))
    weights = np.linalg.solve(regular, (y - x @ factor.theta)[..., None])
    combined = np.einsum("kqd,kqe->kd", whitened, weights)
    return np.where(determined[:, None], -combined @ factor.inverse.T, np.nan), determined


def _chunks(n: int, d: int) -> list[slice]:
    rows = max(1, CHUNK_NUMBERS // d)
    return [slice(start, min(start + rows, n)) for start in range(0, n, rows)]
