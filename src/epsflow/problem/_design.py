"""The one factor of linear regression: a QR factorisation of the design, made in one pass over its rows.

With A = √c X of the rows that count, b = √c y and a penalty λ, the risk is ½‖Aθ − b‖² + (λ/2)‖θ‖², and

    [A b; √λI 0] = Q [R z; 0 ρ]

says all that it knows of the data: H = RᵀR, the minimum solves Rθ = z, and its value is ½ρ². The normal equations
AᵀAθ = Aᵀb are never formed for an answer: they would square the condition. Householder's QR errs in every column by
rounding of that column (N. Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., SIAM 2002, theorem 19.4),
so that units of features and targets do not matter. What is judged (rank, condition) is judged of B = R/s, whose
columns have norm one. Far fewer rows than columns are factored by their span instead (`WideDesign`).
"""

import abc
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.linalg import get_lapack_funcs, qr, solve_triangular

from .._core import ConvergenceError, Eigen, Spelled
from ._penalty import Penalty

JACOBI = 512
"""Parameters up to which singular values are found to full relative accuracy each, by Jacobi rotations. Beyond, where
that takes seconds, LAPACK's eigensolver finds them to rounding of the largest."""
REFINEMENTS = 6
"""Corrections of a solution with residuals in extended precision; each gains as many digits as the condition leaves."""
FEW_ROWS = 2
"""Parameters per row from which a design is wide."""

UNIT = float(np.finfo(np.float64).eps)

Rows = tuple[Float[np.ndarray, "_ d"], Float[np.ndarray, " _"]]


class AbstractDesign(abc.ABC):
    """What a factor of ½‖Aθ − b‖² + (λ/2)‖θ‖² can say."""

    rows: Rows
    """[R z], which stands for all rows without the penalty."""
    penalty: Penalty
    """λ ≥ 0, or one for each column."""
    count: int
    """How many rows went in; the rounding of R grows with its root."""

    @property
    def dim(self) -> int:
        """Number of columns d."""
        return self.rows[0].shape[1]

    @property
    @abc.abstractmethod
    def scales(self) -> Float[np.ndarray, " d"]:
        """s: the norm of each column of [A; √λI], 1 where it is zero; shape (d,)."""

    @property
    @abc.abstractmethod
    def rank(self) -> int:
        """How many directions are determined: singular values of B above the rounding of the factorisation."""

    @property
    @abc.abstractmethod
    def condition(self) -> float:
        """σ_max/σ_min of B in the directions that are determined."""

    @abc.abstractmethod
    def minimum(self, nearest: Float[np.ndarray, " d"] | None = None) -> Float[np.ndarray, " d"]:
        """The minimum; of several, the one nearest to a given point (default: to zero)."""

    @abc.abstractmethod
    def solve_normal(self, moments: Float[np.ndarray, "d *k"]) -> Float[np.ndarray, "d *k"]:
        """H⁻¹v; H†v where H is singular and v in its range."""

    @abc.abstractmethod
    def error(self, theta: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
        """A first-order bound on the error of each entry of a minimum, shape (d,)."""

    @abc.abstractmethod
    def eigen(self) -> Eigen:
        """H = Q diag(values) Qᵀ, ascending; exactly 0 where nothing is determined."""

    def gradient(self, theta: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
        """Aᵀ(Aθ − b) + λθ, without the cancellation of Hθ − Aᵀb."""
        triangle, target = self.rows
        return (triangle @ theta - target) @ triangle + self.penalty * theta

    def hessian(self) -> Float[np.ndarray, "d d"]:
        """H = AᵀA + λI."""
        h = self.rows[0].T @ self.rows[0]
        h[np.diag_indices(self.dim)] += self.penalty
        return h

    def moments(self) -> Float[np.ndarray, " d"]:
        """Aᵀb."""
        return self.rows[1] @ self.rows[0]


@dataclass(frozen=True, eq=False, repr=False)
class Design(Spelled, AbstractDesign):
    """The factor R, with the penalty inside.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> line.design.rank, line.design.minimum()
        (1, array([1.6]))

    Attributes:
        rows, penalty, count: as in `AbstractDesign`.
        triangle: R, upper triangular, shape (d, d).
        projected: z, shape (d,).
        rest: ρ ≥ 0.
    """

    rows: Rows
    penalty: Penalty
    count: int
    triangle: Float[np.ndarray, "d d"]
    projected: Float[np.ndarray, " d"]
    rest: float

    @property
    def scales(self) -> Float[np.ndarray, " d"]:
        """See `AbstractDesign`."""
        norms = np.linalg.norm(self.triangle, axis=0)
        return np.where(norms > 0.0, norms, 1.0)

    @cached_property
    def scaled(self) -> Float[np.ndarray, "d d"]:
        """B = R/s."""
        return self.triangle / self.scales

    @cached_property
    def sizes(self) -> Float[np.ndarray, " d"]:
        """The singular values of B, descending."""
        return np.linalg.svd(self.scaled, compute_uv=False)

    @property
    def rank(self) -> int:
        """See `AbstractDesign`."""
        rounding = UNIT * max(self.dim, 4.0 * np.sqrt(self.count)) * self.sizes[0]
        return int(np.count_nonzero(self.sizes > rounding))

    @property
    def condition(self) -> float:
        """See `AbstractDesign`."""
        return float(self.sizes[0] / self.sizes[self.rank - 1]) if self.rank else 1.0

    @cached_property
    def kernel(self) -> Float[np.ndarray, "d k"]:
        """An orthonormal basis of the directions that nothing determines, shape (d, d − rank)."""
        d, r = self.dim, self.rank
        if r == d:
            return np.zeros((d, 0))
        factored: Any = qr(self.scaled, mode="r", pivoting=True)
        triangle, order = factored
        free = np.zeros((d, d - r))
        free[order[:r]] = -solve_triangular(triangle[:r, :r], triangle[:r, r:])
        free[order[r:]] = np.eye(d - r)
        free /= self.scales[:, None]
        # Divided by their triangle: Q itself would have lost the small entries of a direction in unequal units.
        return solve_triangular(_triangle(free), free.T, trans=1).T

    @property
    def weakest(self) -> Float[np.ndarray, " d"]:
        """The direction that the rows determine least: B's last singular vector in units of θ, shape (d,)."""
        return np.linalg.svd(self.scaled)[2][-1] / self.scales

    def minimum(self, nearest: Float[np.ndarray, " d"] | None = None) -> Float[np.ndarray, " d"]:
        """See `AbstractDesign`."""
        theta = self.solve(self.projected)
        return theta if nearest is None else theta + self.kernel @ (self.kernel.T @ nearest)

    def solve(self, projected: Float[np.ndarray, "d *k"]) -> Float[np.ndarray, "d *k"]:
        """θ with Rθ = z; of all least-squares solutions the one of least norm."""
        if self.rank == self.dim:
            return self._unscaled(solve_triangular(self.scaled, projected))
        left, right = self._determined
        theta = self._unscaled(right.T @ ((left.T @ projected).T / self.sizes[: self.rank]).T)
        return theta - self.kernel @ (self.kernel.T @ theta)

    def solve_normal(self, moments: Float[np.ndarray, "d *k"]) -> Float[np.ndarray, "d *k"]:
        """See `AbstractDesign`."""
        scaled = self._unscaled(moments)
        if self.rank == self.dim:
            return self.solve(solve_triangular(self.scaled, scaled, trans=1))
        left, right = self._determined
        return self.solve(left @ ((right @ scaled).T / self.sizes[: self.rank]).T)

    def error(self, theta: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
        """See `AbstractDesign`.

        R is that of a design whose columns are off by rounding, η of their norms each, and b by η of its own. So sθ
        errs by ηκ(√d‖sθ‖ + ‖b‖ + √d κρ) in all, κ = 1/σ_min(B).
        """
        unit, root = UNIT * max(self.dim, np.sqrt(self.count)), np.sqrt(self.dim)
        kappa = 1.0 / float(self.sizes[self.rank - 1]) if self.rank else 0.0
        target = float(np.hypot(np.linalg.norm(self.projected), self.rest))
        size = root * float(np.linalg.norm(self.scales * theta)) + target
        return unit * kappa * (size + root * kappa * self.rest) / self.scales

    def eigen(self) -> Eigen:
        """See `AbstractDesign`; each value to full relative accuracy for d ≤ 512.

        The squares of R's singular values, by one-sided Jacobi rotations, which no scaling of columns can spoil
        (Z. Drmač and K. Veselić, SIAM J. Matrix Anal. Appl. 29, 1322, 2008).
        """
        if self.rank == self.dim:
            return Eigen(*spectrum(self.triangle))
        outside = self.kernel.shape[1]
        inside = np.linalg.qr(self.kernel, mode="complete")[0][:, outside:]
        values, vectors = spectrum(self.triangle @ inside) if self.rank else (np.zeros(0), np.zeros((0, 0)))
        return Eigen(np.append(np.zeros(outside), values), np.hstack([self.kernel, inside @ vectors]))

    @cached_property
    def _determined(self) -> tuple[Float[np.ndarray, "d r"], Float[np.ndarray, "r d"]]:
        """Left and right singular vectors of B that belong to its rank."""
        left, _, right = np.linalg.svd(self.scaled)
        return left[:, : self.rank], right[: self.rank]

    def _unscaled(self, coordinates: Float[np.ndarray, "d *k"]) -> Float[np.ndarray, "d *k"]:
        return (coordinates.T / self.scales).T


@dataclass(frozen=True, eq=False, repr=False)
class WideDesign(Spelled, AbstractDesign):
    """The rows themselves, so few that all happens in their span and d×d work would be wasted.

    Example:
        >>> wide = ef.problem.factor_rows([(np.array([[3.0, 4.0]]), np.array([25.0]))], d=2, penalty=0.0)
        >>> wide.rank, wide.minimum()
        (1, array([3., 4.]))

    Attributes:
        rows, penalty, count: as in `AbstractDesign`.
    """

    rows: Rows
    penalty: float
    count: int

    @cached_property
    def _parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The thin singular value decomposition of A, without what is rounding."""
        left, sizes, right = np.linalg.svd(self.rows[0], full_matrices=False)
        kept = sizes > UNIT * self.dim * sizes[0]
        return left[:, kept], sizes[kept], right[kept]

    @property
    def scales(self) -> Float[np.ndarray, " d"]:
        """See `AbstractDesign`."""
        norms = np.hypot(np.linalg.norm(self.rows[0], axis=0), np.sqrt(self.penalty))
        return np.where(norms > 0.0, norms, 1.0)

    @property
    def rank(self) -> int:
        """See `AbstractDesign`."""
        return self.dim if self.penalty > 0.0 else len(self._parts[1])

    @property
    def condition(self) -> float:
        """See `AbstractDesign`."""
        sizes = self._parts[1]
        least = np.sqrt(self.penalty) if self.penalty > 0.0 else sizes[-1]
        return float(np.hypot(sizes[0], np.sqrt(self.penalty)) / least)

    def minimum(self, nearest: Float[np.ndarray, " d"] | None = None) -> Float[np.ndarray, " d"]:
        """See `AbstractDesign`."""
        left, sizes, right = self._parts
        theta = right.T @ (sizes / (sizes**2 + self.penalty) * (left.T @ self.rows[1]))
        return theta if nearest is None or self.penalty > 0.0 else theta + nearest - right.T @ (right @ nearest)

    def solve_normal(self, moments: Float[np.ndarray, "d *k"]) -> Float[np.ndarray, "d *k"]:
        """See `AbstractDesign`."""
        _, sizes, right = self._parts
        inside = right @ moments
        seen = right.T @ (inside.T / (sizes**2 + self.penalty)).T
        return seen if self.penalty == 0.0 else seen + (moments - right.T @ inside) / self.penalty

    def error(self, theta: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
        """See `AbstractDesign`. Wedin's bound in the span of the rows, in which the fit leaves no residual."""
        sizes = self._parts[1]
        bound = UNIT * self.dim * (self.condition * np.linalg.norm(theta) + np.linalg.norm(self.rows[1]) / sizes[-1])
        return np.full(self.dim, bound)

    def eigen(self) -> Eigen:
        """See `AbstractDesign`; 4kd² operations instead of some 9d³.

        Aᵀ = QR and R = UΣWᵀ give the eigenvectors QU for σ² + λ, and the rest of Q for λ.
        """
        rows, d = self.rows[0], self.dim
        k = len(rows)
        basis, triangle = np.linalg.qr(rows.T, mode="complete")
        turn, sizes, _ = np.linalg.svd(triangle[:k])
        basis[:, :k] = (basis[:, :k] @ turn)[:, ::-1]
        values = np.append(np.full(d - k, self.penalty), sizes[::-1] ** 2 + self.penalty)
        vectors = np.hstack([basis[:, k:], basis[:, :k]])
        return Eigen(np.where(values <= d * UNIT * values[-1], 0.0, values), vectors)


def factor_rows(chunks: Iterable[Rows], d: int, penalty: Penalty) -> Design | WideDesign:
    """One pass over chunks of rows (A, b): what is held is one chunk and a triangle.

    Example:
        >>> rows = np.array([[1.0], [2.0]]), np.array([2.0, 3.0])
        >>> ef.problem.factor_rows([rows], d=1, penalty=0.0).minimum()
        array([1.6])

    Args:
        chunks: rows and targets, with √c inside.
        d: number of columns.
        penalty: λ ≥ 0, or one for each column.
    """
    known, count = np.zeros((0, d + 1)), 0
    for x, y in chunks:
        count += len(x)
        known = np.vstack([known, np.column_stack([x, y])])
        if len(known) > d + 1:
            known = _triangle(known)
    if isinstance(penalty, float) and FEW_ROWS * len(known) <= d:
        return WideDesign((known[:, :d], known[:, d]), penalty, count)
    root = np.column_stack([penalty_rows(penalty, d), np.zeros(np.count_nonzero(np.broadcast_to(penalty, d)))])
    full = np.zeros((d + 1, d + 1))
    whole = _triangle(np.vstack([known, root]))
    full[: len(whole)] = whole
    return Design((known[:, :d], known[:, d]), penalty, count, full[:d, :d], full[:d, d], abs(float(full[d, d])))


def penalty_rows(penalty: Penalty, d: int) -> Float[np.ndarray, "k d"]:
    """√λ_k e_kᵀ for every parameter that is penalised: rows with target 0 that make the penalty."""
    each = np.broadcast_to(penalty, d)
    return np.diag(np.sqrt(each))[each > 0.0]


def _triangle(rows: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "k d"]:
    """R of a QR factorisation."""
    return np.asarray(np.linalg.qr(rows, mode="r"))


def spectrum(matrix: Float[np.ndarray, "k r"]) -> tuple[Float[np.ndarray, " r"], Float[np.ndarray, "r r"]]:
    """The eigenvalues of MᵀM for k ≥ r, ascending, and its eigenvectors as columns, from M itself.

    Example:
        >>> ef.problem.spectrum(np.array([[2.0, 0.0], [0.0, 1e-9]]))[0]
        array([1.e-18, 4.e+00])
    """
    if matrix.shape[1] > JACOBI:
        values, vectors = np.linalg.eigh(matrix.T @ matrix)
        return np.maximum(values, 0.0), vectors
    # joba=0: relative accuracy whatever the scale of the columns; jobu=3: no left vectors; jobr=0: drop no value.
    (gejsv,) = get_lapack_funcs(("gejsv",), (matrix,))
    sizes, _, vectors, work, _, info = gejsv(matrix, joba=0, jobu=3, jobv=0, jobr=0)
    if info != 0:
        raise ConvergenceError(f"LAPACK's dgejsv found no singular values of a design (info {info}).")
    return np.square((sizes * (work[0] / work[1]))[::-1]), vectors[:, ::-1]


def refine(
    theta: Float[np.ndarray, " d"], x: Float[np.ndarray, "n d"], y: Float[np.ndarray, " n"], penalty: Penalty
) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"]]:
    """A minimum to the last digits, from rows in memory: and how far it can still be off, entry by entry.

    θ and the residual r solve r + Aθ = b, Aᵀr = 0 together; what is left of both equations is summed in extended
    precision (where NumPy has it) and solved for again, until the correction no longer falls (Å. Björck, BIT 7, 257,
    1967). The last two corrections are the error, and what rounding in those sums can hide: of b − r − Aθ, whose terms
    |A||θ| + |b| + |r| cancel, through the rows of R⁻¹.

    Args:
        theta: a minimum that is known roughly, unique.
        x, y: rows and targets, with √c inside, shapes (n, d) and (n,).
        penalty: λ ≥ 0.
    """
    rows = np.vstack([x, penalty_rows(penalty, len(theta))])
    scales = np.exp2(np.round(np.log2(np.linalg.norm(rows, axis=0))))  # powers of two round nothing
    rows = rows / scales
    basis, triangle = np.linalg.qr(rows)
    wide, b = rows.astype(np.longdouble), np.zeros(len(rows), np.longdouble)
    b[: len(y)] = y
    z = (scales * theta).astype(np.longdouble)
    r, before, moved = b - wide @ z, np.inf, np.inf
    for _ in range(REFINEMENTS):
        left, slope = b - r - wide @ z, -(r @ wide)
        inside = basis.T @ left.astype(np.float64)
        outside = solve_triangular(triangle, slope.astype(np.float64), trans=1)
        step = solve_triangular(triangle, inside - outside)
        before, moved = moved, float(np.linalg.norm(step))
        if not moved < 0.5 * before:
            break
        z, r = z + step, r + (left - basis @ (inside - outside))
    answer, last = z.astype(np.float64), moved if before == np.inf else before + moved
    terms = np.linalg.norm(np.abs(rows) @ np.abs(answer) + np.abs(b) + np.abs(r)).astype(np.float64)
    through = np.linalg.norm(solve_triangular(triangle, np.eye(len(z))), axis=1)
    hidden = 0.5 * float(np.finfo(np.longdouble).eps) * terms * through
    return answer / scales, np.maximum(last + hidden, UNIT * np.abs(answer)) / scales
