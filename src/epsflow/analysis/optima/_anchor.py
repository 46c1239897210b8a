"""A model at θ_s: outputs, losses and their slopes, and the Gauss–Newton matrix in its eigenbasis.

Of a model that is not linear one function is compiled, the outputs with their Jacobians; the rest is algebra.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse.linalg
from jaxtyping import Float, Int

from ..._core import Array, InputError
from ...problem import AbstractModel, EmpiricalRisk, LinearModel, Pointwise, Problem, pointwise
from ..curvature import AnyCurvature, Curvature, curvature_at, products, refined, require_dense

FACTOR_NUMBERS = 2**27
"""Numbers (1 GB) that the Jacobian of all outputs may take."""

CHUNK_NUMBERS = 2**24
"""Numbers (128 MB) of the Jacobians formed at a time."""

UNIT = np.finfo(np.float64).eps

SAMPLED = 32
"""Points whose gradients tell how large those of all are, where no Jacobian is formed."""

REFINED = 1e-12
"""Residual to which a solve in two precisions is brought."""

SOLVED = 1e-8
"""Residual above which the exact linear solve is not one: the matrix is too ill-conditioned."""


@dataclass(frozen=True, eq=False)
class GaussNewton:
    """G(θ_s) = c Σ_i J_iᵀ ∇²_fℓ_i J_i = U diag(values) Uᵀ over all points, without the penalty.

    U has d columns, or only n·k where the dual Gram matrix is the smaller one, or none where no matrix was wanted.

    Attributes:
        values: eigenvalues, shape (r,).
        vectors: U, shape (d, r).
    """

    values: Float[np.ndarray, " r"]
    vectors: Float[np.ndarray, "d r"]

    @property
    def smallest(self) -> float:
        """The least eigenvalue of G: 0 if U does not span the space; below rounding counts as 0."""
        d, r = self.vectors.shape
        if r < d:
            return 0.0
        rounding = d * UNIT * float(np.abs(self.values).max())
        return 0.0 if abs(self.values[0]) <= rounding else float(self.values[0])

    def power(self, vector: Float[np.ndarray, " d"], rho: float, exponent: float) -> Float[np.ndarray, " d"]:
        """(G + ρI)^exponent v."""
        inside = (np.maximum(self.values, 0.0) + rho) ** exponent
        if self.vectors.shape[0] == self.vectors.shape[1]:
            return self.vectors @ (inside * (vector @ self.vectors))
        outside = rho**exponent
        return outside * vector + self.vectors @ ((inside - outside) * (vector @ self.vectors))


@dataclass(frozen=True, eq=False)
class Line:
    """(G + ρI)⁻¹v.

    Attributes:
        solution: of the solve, shape (d,).
        residual: its relative residual.
        products: with G that it took.
    """

    solution: Float[np.ndarray, " d"]
    residual: float
    products: int


@dataclass(frozen=True, eq=False)
class Anchor:
    """Everything at θ_s that the objectives near it share.

    Attributes:
        problem: what is trained.
        theta: θ_s, shape (d,).
        outputs: f(θ_s; x_i), shape (n, *k).
        points: the losses there, with their derivatives in f.
        slopes: Σ_i ‖c∇ℓ_i‖, the size of the terms of a gradient.
        rows: B with G = BᵀB, shape (rows, d); None where it would not fit or was not wanted.
        curvature: G as an operator, without penalty or damping.
        basis: G in its eigenbasis.
        risk: the sum over data in JAX, for a model that is not linear.
        narrow: G in float32, where products are; else None.
    """

    problem: Problem
    theta: Float[np.ndarray, " d"]
    outputs: Float[np.ndarray, "n *k"]
    points: Pointwise
    slopes: float
    rows: Float[np.ndarray, "rows d"] | None
    curvature: AnyCurvature
    basis: GaussNewton
    risk: EmpiricalRisk | None
    narrow: Curvature | None = None

    def pull(self, deleted: Int[np.ndarray, " m"]) -> Float[np.ndarray, " d"]:
        """Σ_j g_j = c Σ_j ∇ℓ_j(θ_s) over the points named."""
        problem = self.problem
        if self.rows is None and not isinstance(problem.model, LinearModel):
            x, slopes = np.asarray(problem.data.x[deleted]), self.points.slopes[deleted]
            return problem.scale * np.asarray(_pulled(problem.model, self.theta, x, slopes))
        jacobian = jacobians(problem.model, self.theta, problem.data.x[deleted])
        slopes = self.points.slopes[deleted].reshape(len(deleted), -1)
        return problem.scale * np.einsum("qk,qkd->d", slopes, jacobian)

    def respond(self, rho: float, force: Float[np.ndarray, " d"], missing: Int[np.ndarray, " m"] | None = None) -> Line:
        """(G + ρI)⁻¹v, without the points `missing` in G.

        The eigendecomposition solves it, and one step of refinement, with a product that does not use it, restores the
        last digits. With points missing, or without eigenvectors, conjugate gradients solve it in the coordinates
        (G + ρI)^½, where the matrix is the identity up to what is missing.
        """
        size, count = float(np.linalg.norm(force)), 0
        if size == 0.0:
            return Line(np.zeros_like(force), 0.0, 0)
        if self.narrow is not None and not self.basis.values.size and isinstance(self.curvature, Curvature):
            whole, narrow = (_shifted(matrix, rho, missing) for matrix in (self.curvature, self.narrow))
            found = refined(whole, narrow, force[None], rtol=REFINED, max_steps=None)
            return Line(found.solution[0], float(found.residual[0]), int(found.steps[0]))
        removed = None if missing is None else self._product_of(missing)

        def product(vector: np.ndarray) -> np.ndarray:
            nonlocal count
            count += 1
            whole = self._product(vector) + rho * vector
            return whole if removed is None else whole - removed(vector)

        def approximate(vector: np.ndarray) -> np.ndarray:
            if removed is None and self.basis.values.size:
                return self.basis.power(vector, rho, -1.0)
            half = self.basis.power(vector, rho, -0.5)
            side = force.size
            operator: Any = scipy.sparse.linalg.LinearOperator  # its stub is that of its private base class
            whitened = operator(
                (side, side),
                matvec=lambda v: self.basis.power(product(self.basis.power(v, rho, -0.5)), rho, -0.5),
                dtype=np.float64,
            )
            solved, _ = scipy.sparse.linalg.cg(whitened, half, rtol=1e-10, atol=0.0, maxiter=10 * side)
            return self.basis.power(solved, rho, -0.5)

        unit = force / size
        solution = approximate(unit)
        solution = solution + approximate(unit - product(solution))
        residual = float(np.linalg.norm(product(solution) - unit))
        return Line(size * solution, residual, count)

    def _product(self, vector: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
        if self.rows is not None:
            return self.rows.T @ (self.rows @ vector)
        return products(self.curvature, vector[None])[0]

    def _product_of(self, points: Int[np.ndarray, " m"]) -> Callable[[np.ndarray], np.ndarray]:
        """v ↦ the share of some points in Gv; where no matrix was wanted their Jacobian is not formed either."""
        problem, risk = self.problem, self.risk
        if self.rows is None and risk is not None and isinstance(self.curvature, Curvature):
            kept = {"x": risk.x[points], "y": risk.y[points], "delete": risk.delete[:0]}
            own = replace(self.curvature, risk=replace(risk, **kept, mesh=None), eps=np.ones(0), ridge=np.zeros(()))
            return lambda vector: products(own, vector[None])[0]
        jacobian = jacobians(problem.model, self.theta, problem.data.x[points])
        rows = factor_rows(jacobian, self.points.curvatures[points], problem.scale)
        return lambda vector: rows.T @ (rows @ vector)


def _shifted(matrix: Curvature, rho: float, missing: Int[np.ndarray, " m"] | None) -> Curvature:
    """G + ρI, without the points `missing`."""
    dtype, risk = matrix.theta.dtype, matrix.risk
    ridge, nothing = jnp.asarray(rho, dtype), jnp.zeros((), dtype)
    if missing is None or not isinstance(risk, EmpiricalRisk):
        return replace(matrix, ridge=ridge)
    return replace(matrix, risk=replace(risk, delete=jnp.asarray(missing, risk.delete.dtype)), eps=nothing, ridge=ridge)


def anchor_at(
    problem: Problem,
    theta: Float[np.ndarray, " d"],
    *,
    matrix: bool = True,
    max_bytes: int | None = None,
    devices: Sequence[Any] = (),
    precision: str = "float64",
) -> Anchor:
    """The model at θ, and G if `matrix`.

    Args:
        problem: what is trained.
        theta: θ_s.
        matrix: whether G is formed, or its dual.
        max_bytes: memory for what products with the data leave in between; default: 1 GiB.
        devices: over which the points are spread in equal parts, of a model that is not linear.
        precision: of products with G and with Hessians near θ, "float64" or "float32"; all else is in float64.

    Raises:
        InputError: a loss that is not convex in the output, a matrix that would not fit (with its size), a budget of
            memory that no chunk meets, devices that do not divide the points.
    """
    asked: Any = {"penalty": False, "max_bytes": max_bytes, "devices": devices}
    curvature, narrow = curvature_at(problem, theta, "ggn", **asked), None
    if precision != "float64":
        with jax.enable_x64(False):
            narrow = curvature_at(problem.with_dtype(precision), theta, "ggn", **asked)
    anchor = _wide_anchor(problem, theta, curvature, matrix=matrix)
    return replace(anchor, narrow=narrow if isinstance(narrow, Curvature) else None)


def _wide_anchor(problem: Problem, theta: Float[np.ndarray, " d"], curvature: AnyCurvature, *, matrix: bool) -> Anchor:
    """All that is in float64."""
    rows, d = curvature.factor_rows or 0, problem.dim
    if not matrix and isinstance(curvature, Curvature):
        return _without_matrix(problem, theta, curvature)
    if matrix:
        remedy = "matrix=False needs none."
        require_dense(min(d, rows), "the Gauss–Newton matrix (or its dual)", remedy)
        if rows < d and rows * d > FACTOR_NUMBERS:
            raise InputError(
                f"the Jacobian of all outputs would be {rows:,} × {d:,}, {8e-9 * rows * d:.1f} GB; {remedy}"
            )
    keep = matrix and rows * d <= FACTOR_NUMBERS
    outputs, slopes, parts, gram = [], 0.0, [], np.zeros((d, d) if matrix and not keep else (0, 0))
    for chunk in _chunks(problem, rows):
        x, y = np.asarray(problem.data.x[chunk]), np.asarray(problem.data.y[chunk])
        output, jacobian = linearised(problem.model, theta, x)
        points = pointwise(problem.loss, output, y)
        gradients = np.einsum("qk,qkd->qd", points.slopes.reshape(len(x), -1), jacobian)
        slopes += problem.scale * float(np.linalg.norm(gradients, axis=1).sum())
        outputs.append(output)
        if matrix:
            part = factor_rows(jacobian, points.curvatures, problem.scale)
            parts += [part] if keep else []
            gram += 0.0 if keep else part.T @ part
    whole = np.concatenate(outputs)
    factor = np.concatenate(parts) if keep else None
    return Anchor(
        problem=problem,
        theta=theta,
        outputs=whole,
        points=pointwise(problem.loss, whole, np.asarray(problem.data.y)),
        slopes=slopes,
        rows=factor,
        curvature=curvature,
        basis=_decompose(factor, gram, d) if matrix else GaussNewton(np.zeros(0), np.zeros((d, 0))),
        risk=curvature.risk if isinstance(curvature, Curvature) and isinstance(curvature.risk, EmpiricalRisk) else None,
    )


def _without_matrix(problem: Problem, theta: Float[np.ndarray, " d"], curvature: Curvature) -> Anchor:
    """From outputs alone; the sizes of gradients, which only rounding is judged by, from `SAMPLED` points."""
    x, y = np.asarray(problem.data.x), np.asarray(problem.data.y)
    outputs = outputs_of(problem.model, theta, x, None if curvature.chunks is None else curvature.chunks.points)
    points = pointwise(problem.loss, outputs, y)
    some = np.unique(np.linspace(0, len(x) - 1, min(SAMPLED, len(x))).astype(np.int64))
    norms = [np.linalg.norm(np.asarray(_pulled(problem.model, theta, x[[k]], points.slopes[[k]]))) for k in some]
    return Anchor(
        problem=problem,
        theta=theta,
        outputs=outputs,
        points=points,
        slopes=problem.scale * len(x) * float(np.mean(norms)),
        rows=None,
        curvature=curvature,
        basis=GaussNewton(np.zeros(0), np.zeros((problem.dim, 0))),
        risk=curvature.risk if isinstance(curvature.risk, EmpiricalRisk) else None,
    )


def outputs_of(
    model: AbstractModel, theta: Float[np.ndarray, " d"], x: Float[np.ndarray, "n p"], step: int | None = None
) -> Float[np.ndarray, "n *k"]:
    """f(θ; x_i) of every point, of a model that is not linear `step` at a time.

    Example:
        >>> ef.analysis.outputs_of(ef.LinearModel(1), np.array([2.0]), np.array([[1.0], [3.0]]))
        array([2., 6.])
    """
    if isinstance(model, LinearModel):
        return x @ (theta if model.outputs is None else theta.reshape(-1, model.outputs))
    if step is None or step >= len(x):
        return np.asarray(_outputs(model, theta, x))
    return np.concatenate([np.asarray(_outputs(model, theta, x[k : k + step])) for k in range(0, len(x), step)])


@eqx.filter_jit
def _outputs(model: AbstractModel, theta: Array, x: Array) -> Float[Array, "q *k"]:
    return jax.vmap(model, in_axes=(None, 0))(theta, jnp.asarray(x, theta.dtype))


@eqx.filter_jit
def _pulled(model: AbstractModel, theta: Array, x: Array, slopes: Array) -> Float[Array, " d"]:
    """Σ_i J_iᵀs_i by one pass back, no Jacobian formed."""
    x = jnp.asarray(x, theta.dtype)
    return jax.vjp(lambda t: jax.vmap(model, in_axes=(None, 0))(t, x), theta)[1](slopes)[0]


def _decompose(factor: Float[np.ndarray, "rows d"] | None, gram: np.ndarray, d: int) -> GaussNewton:
    """By the d×d matrix or its dual, whichever is smaller."""
    if factor is None or len(factor) >= d:
        return GaussNewton(*np.linalg.eigh(gram if factor is None else factor.T @ factor))
    values, left = np.linalg.eigh(factor @ factor.T)
    # Directions below rounding carry no curvature; a zero column leaves them to the part outside U.
    kept = values > len(values) * UNIT * values[-1]
    values = np.where(kept, values, 0.0)
    return GaussNewton(values, factor.T @ np.where(kept, left / np.sqrt(np.where(kept, values, 1.0)), 0.0))


def _chunks(problem: Problem, rows: int) -> Iterator[slice]:
    n = problem.data.n
    per_point = problem.dim * max(1, rows // n)
    step = min(problem.chunk_rows, max(1, CHUNK_NUMBERS // per_point))
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


def factor_rows(
    jacobian: Float[np.ndarray, "q k d"], curvatures: Float[np.ndarray, "q ..."], scale: float
) -> Float[np.ndarray, "rows d"]:
    """√c L_iᵀJ_i of every point, LLᵀ the curvature of its loss in the output."""
    if curvatures.ndim == 1:
        return jacobian[:, 0] * np.sqrt(scale * np.maximum(curvatures, 0.0))[:, None]
    values, axes = np.linalg.eigh(curvatures)
    roots = axes * np.sqrt(scale * np.maximum(values, 0.0))[:, None, :]
    return np.einsum("qkr,qkd->qrd", roots, jacobian).reshape(-1, jacobian.shape[2])


def jacobians(
    model: AbstractModel, theta: Float[np.ndarray, " d"], x: Float[np.ndarray, "q p"]
) -> Float[np.ndarray, "q k d"]:
    """∂f(θ; x_i)/∂θ."""
    return linearised(model, theta, x)[1]


def linearised(
    model: AbstractModel, theta: Float[np.ndarray, " d"], x: Float[np.ndarray, "q p"]
) -> tuple[Float[np.ndarray, "q *k"], Float[np.ndarray, "q k d"]]:
    """Outputs and Jacobians; the output axis of the latter is there for scalar outputs too."""
    if isinstance(model, LinearModel):
        if model.outputs is None:
            return x @ theta, x[:, None, :]
        jacobian = np.einsum("qp,kl->qkpl", x, np.eye(model.outputs)).reshape(len(x), model.outputs, -1)
        return x @ theta.reshape(-1, model.outputs), jacobian
    outputs, jacobian = (np.asarray(part) for part in _linearised(model, theta, x))
    return outputs, jacobian.reshape(len(x), -1, theta.size)


@eqx.filter_jit
def _linearised(model: AbstractModel, theta: Array, x: Array) -> tuple[Float[Array, "q *k"], Float[Array, "q ..."]]:
    def one(t: Array, point: Array) -> tuple[Array, Array]:
        output = model(t, point)
        return output, output

    jacobian, outputs = jax.vmap(jax.jacrev(one, has_aux=True), in_axes=(None, 0))(theta, jnp.asarray(x, theta.dtype))
    return outputs, jacobian
