"""`Problem`: a model, a loss, data, and the points to be deleted."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from .._core import (
    Array,
    InputError,
    Shown,
    as_count,
    as_deleted,
    as_flag,
    as_float64,
    as_numbers,
    as_vector,
    brief,
    warn,
)
from ._collinear import caution_in_full, caution_of, features_of, free_directions, largest_entries
from ._dataset import LARGEST, Dataset, check_finite, check_range
from ._design import Design, WideDesign
from ._generalised import GeneralisedLinear
from ._intercepts import intercepts
from ._losses import AbstractLoss, SquaredLoss, formula_of
from ._minimum import Minimum, Points, by_factor
from ._models import AbstractModel, LinearModel
from ._penalty import Penalty, as_penalties
from ._precision import check_dtype, check_width, computed, stored_in
from ._quadratic import Quadratic, ask, gather
from ._risk import AbstractRisk, EmpiricalRisk, Weights, by_rows, loss_gradients, mesh_of
from ._shapes import check_model, check_parts
from ._weighted import weighted

Which = Int[np.ndarray, " m"] | Bool[np.ndarray, " n"] | Sequence[int] | int | None
"""Points to be deleted, as they may be named: see `as_deleted`."""

DENSE_LIMIT = 8_000
"""Largest d for which a dense d×d Hessian (512 MB in float64) is formed."""


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Problem(Shown):
    """What is trained, and which points D are to be forgotten.

    Example:
        >>> ef.Problem(ef.LinearModel(10), ef.SquaredLoss(), ef.load_dataset("diabetes"), delete=[17])
        Problem(data=diabetes (442×10), deleted=[17], model=LinearModel, loss=SquaredLoss, l2=0, reduction=sum)

    R_ε(θ) = c·[Σ_{i∉D} ℓ(f(θ;x_i), y_i) + Σ_{j∈D} ε_j ℓ(f(θ;x_j), y_j)] + (λ/2)‖θ‖²

    ε = 1 trains with the deleted points, ε = 0 without them. Linear regression (`LinearModel` with one output and
    `SquaredLoss`) is recognised: its `risk` is the exact `Quadratic`, for data of any length.

    Attributes:
        model: f(θ; x).
        loss: ℓ(f, y).
        data: the n points.
        delete: indices of the deleted points D, shape (m,); m = 0 where nothing is deleted.
        penalty: λ ≥ 0, not scaled by c, or one for each parameter, shape (d,): then (1/2) Σ λ_k θ_k². `l2` is the one
            for all.
        reduction: "sum" (c = 1) or "mean" (c = 1/n).
        chunk_rows: points whose intermediate values are held in memory at once.
        dtype: "float64"; or, for networks, "float32" or "bfloat16", which need no 64-bit mode of JAX. What needs
            float64 says so. "bfloat16" is "float32" but for the operands of the model's matrix products and
            convolutions, forward and backward, rounded to 8 significant bits (2⁻⁹ of each); their sums, parameters,
            activations, losses and all else stay in float32. It saves time on accelerators only.
        design: for linear regression the factor of the retained rows, to which its answers are exact; else None.
    """

    model: AbstractModel
    loss: AbstractLoss
    data: Dataset
    delete: Int[np.ndarray, " m"]
    penalty: Penalty
    reduction: str
    chunk_rows: int
    dtype: str
    design: Design | WideDesign | None = field(repr=False)

    def __init__(
        self,
        model: AbstractModel,
        loss: AbstractLoss,
        data: Dataset,
        delete: Which = None,
        l2: Penalty = 0.0,
        reduction: str = "sum",
        chunk_rows: int = 16_384,
        penalise_intercept: bool = True,
        sample_weight: object = None,
        dtype: str = "float64",
    ):
        """Check and assemble; `sample_weight` v_i ≥ 0 multiplies the loss of each point (see `WeightedLoss`).

        Raises:
            InputError: an index outside the data (−1 is the last point), twice, or all of them; targets the loss cannot
                read; λ < 0; a model that does not fit the features; float64 while JAX is in 32-bit mode; another dtype
                for a linear model; a product of the model that cannot be rounded.
        """
        check_dtype(dtype, model)
        check_parts(model, loss, data)
        points = np.zeros(0, np.int64) if delete is None else as_deleted(delete, "delete", data.n)
        penalty = as_penalties(l2, model.dim)
        if not as_flag(penalise_intercept, "penalise_intercept"):
            penalty = np.where(intercepts(model, data), 0.0, penalty)
        if not isinstance(reduction, str) or reduction not in ("sum", "mean"):
            raise InputError(f"reduction is {brief(reduction)}; choose 'sum' or 'mean'.")
        if as_count(chunk_rows, "chunk_rows", least=0) < 1:
            raise InputError(f"chunk_rows is {chunk_rows}; at least one row must be read at a time.")
        check_width(data, model)
        if sample_weight is not None:
            loss, data = weighted(model, loss, data, sample_weight)
        check_range(data)
        check_model(model, loss, data, dtype)
        vars(self).update(model=model, loss=loss, data=data, delete=points, penalty=penalty)
        vars(self).update(reduction=reduction, chunk_rows=chunk_rows, dtype=dtype)
        linear = isinstance(model, LinearModel) and model.outputs is None and formula_of(loss) is SquaredLoss
        gathered = gather(data, points, penalty, self.scale) if linear else None
        vars(self).update({"design": None} if gathered is None else gathered._asdict())
        if self.caution:
            warn(f"{data.name}: {caution_in_full(self.caution)}.")

    def _facts(self) -> dict[str, object]:
        return {
            "data": f"{self.data.name} ({self.data.n}×{self.data.x.shape[1]})",
            "deleted": self.delete,
            "model": type(self.model).__name__,
            "loss": type(self.loss).__name__,
            "l2": self.penalty,
            "reduction": self.reduction,
            **({} if self.dtype == "float64" else {"dtype": self.dtype}),
            **({"caution": self.caution} if self.caution else {}),
        }

    @cached_property
    def caution(self) -> str:
        """What makes answers about this problem worth less than they look, in words; empty if nothing is known to."""
        design = self.design
        if design is None and isinstance(self.model, LinearModel):
            design = features_of(self.model, self.data, self.delete, self.penalty, self.scale)
        return caution_of(design, self.data.features)

    @cached_property
    def dim(self) -> int:
        """Number of parameters d."""
        return self.model.dim

    @property
    def computed(self) -> AbstractModel:
        """The model as the risk computes it."""
        return computed(self.model, self.dtype)

    @property
    def array_dtype(self) -> str:
        """The type of arrays."""
        return stored_in(self.dtype)

    @cached_property
    def l2(self) -> float:
        """λ, for what needs one penalty for all parameters.

        Raises:
            InputError: parameters with penalties of their own, such as an intercept that is not penalised.
        """
        each = np.atleast_1d(self.penalty)
        if (each != each[0]).any():
            raise InputError(
                "this needs one penalty for all parameters, and this problem penalises them differently (an intercept "
                "that is not penalised, or l2 as a vector). Retraining, influence functions, Newton steps, flows and "
                "schedules take that; for this answer use one l2."
            )
        return float(each[0])

    @cached_property
    def risk(self) -> AbstractRisk:
        """R_ε as a pytree of arrays, NumPy's for linear regression; of other models made when it is first asked for."""
        return self.empirical()

    @property
    def points(self) -> Points:
        """The data and how they count, for what is computed from rows."""
        return Points(self.data, self.delete, self.scale)

    @cached_property
    def leave_out(self) -> Minimum:
        """argmin R_0 of linear regression, θ(0), found once, with its error.

        Raises:
            InputError: another problem, which has no factor to find it by: use `retrain`.
        """
        if self.design is None:
            raise InputError("only linear regression knows θ(0) by its factor; for other problems use `retrain`.")
        return by_factor(self.points, self.design, np.zeros(self.delete.shape), np.zeros(self.dim))

    @cached_property
    def scale(self) -> float:
        """c: 1 for "sum", 1/n for "mean"."""
        return 1.0 if self.reduction == "sum" else 1.0 / self.data.n

    @cached_property
    def convex(self) -> bool:
        """Whether R_ε is convex for every ε ≥ 0: a linear model under a convex loss."""
        return isinstance(self.model, LinearModel) and self.loss.convex

    @cached_property
    def _reach(self) -> float:
        """How large parameters may be, so that squares of theirs and of H·θ are finite."""
        if isinstance(self.data.x, np.memmap) and self.design is None:
            return LARGEST**2  # not read for this: a training says where it leaves the finite numbers
        if self.design is not None and isinstance(self.risk, Quadratic):
            largest = float(np.diag(np.asarray(self.risk.h_retained)).max(initial=0.0))
        else:
            largest = float(max(self.data.x.max(), -self.data.x.min())) ** 2
        return LARGEST**2 / max(1.0, largest)

    def with_delete(self, delete: Which) -> "Problem":
        """The same problem with other points to be forgotten: indices, a mask, or None for none.

        Example:
            >>> ef.linear_regression(ef.load_dataset("diabetes")).with_delete([-1]).delete
            array([441])
        """
        parts = self.model, self.loss, self.data, delete, self.penalty, self.reduction, self.chunk_rows
        return Problem(*parts, dtype=self.dtype)

    def with_dtype(self, dtype: str) -> "Problem":
        """The same problem, computed in another precision.

        Example:
            >>> problem = ef.Problem(ef.MLP((10, 1)), ef.SquaredLoss(), ef.load_dataset("diabetes"))
            >>> problem.with_dtype("float32").dtype
            'float32'
        """
        check_dtype(dtype, self.model)
        kind = stored_in(dtype)
        model = jax.tree.map(lambda leaf: leaf.astype(kind) if eqx.is_inexact_array(leaf) else leaf, self.model)
        parts = model, self.loss, self.data, self.delete if self.delete.size else None, self.penalty
        return Problem(*parts, self.reduction, self.chunk_rows, dtype=dtype)

    def with_chunk_rows(self, chunk_rows: int) -> "Problem":
        """The same problem, with so many points at most in memory at once.

        Example:
            >>> problem = ef.Problem(ef.MLP((10, 1)), ef.SquaredLoss(), ef.load_dataset("diabetes"))
            >>> problem.with_chunk_rows(100).chunk_rows
            100
        """
        delete = self.delete if self.delete.size else None
        parts = self.model, self.loss, self.data, delete, self.penalty, self.reduction, chunk_rows
        return Problem(*parts, dtype=self.dtype)

    def empirical(self) -> EmpiricalRisk:
        """R_ε as a sum over the data, for what sufficient statistics cannot say (per-point quantities)."""
        if isinstance(self.data.x, np.memmap):
            check_finite(self.data.x, self.data.y, self.data.name)
        return EmpiricalRisk(
            model=self.computed,
            loss=self.loss,
            x=jnp.asarray(self.data.x, self.array_dtype),
            y=jnp.asarray(self.data.y, self.array_dtype),
            delete=jnp.asarray(self.delete),
            l2=jnp.asarray(self.penalty, self.array_dtype),
            scale=jnp.asarray(self.scale, self.array_dtype),
            chunk_rows=self.chunk_rows,
        )

    def generalised(self) -> GeneralisedLinear:
        """R_ε of a linear model in NumPy, by matrix products with the data.

        Raises:
            InputError: another model.
        """
        if not isinstance(self.model, LinearModel):
            raise InputError(f"a generalised linear model needs a LinearModel; this problem's is {self.model}.")
        return GeneralisedLinear(
            loss=self.loss,
            x=self.data.x,
            y=self.data.y,
            delete=self.delete,
            l2=self.penalty,
            scale=self.scale,
            outputs=self.model.outputs,
        )

    def value(self, theta: Array, eps: Weights = 1.0) -> Float[Array, ""]:
        """R_ε(θ)."""
        return ask(self.risk, "value", self.parameters(theta), self.weights(eps))

    def gradient(self, theta: Array, eps: Weights = 1.0) -> Float[Array, " d"]:
        """∇R_ε(θ), shape (d,)."""
        return ask(self.risk, "gradient", self.parameters(theta), self.weights(eps))

    def hvp(self, theta: Array, vector: Array, eps: Weights = 1.0) -> Float[Array, " d"]:
        """∇²R_ε(θ) v, shape (d,)."""
        arguments = self.parameters(theta), self.parameters(vector, "vector"), self.weights(eps)
        return ask(self.risk, "hvp", *arguments)

    def ggn_product(self, theta: Array, vector: Array, eps: Weights = 1.0) -> Float[Array, " d"]:
        """Generalised Gauss–Newton product (c Σ w_i J_iᵀ ∇²_fℓ_i J_i + λI) v, shape (d,)."""
        arguments = self.parameters(theta), self.parameters(vector, "vector"), self.weights(eps)
        # The two matrices coincide for linear regression, whose data may be too long to be in memory.
        return ask(self.risk, "hvp" if isinstance(self.risk, Quadratic) else "ggn_product", *arguments)

    def hessian(self, theta: Array, eps: Weights = 1.0) -> Float[Array, "d d"]:
        """∇²R_ε(θ), dense, shape (d, d).

        Raises:
            InputError: if d exceeds 8,000 (512 MB); use `hvp`.
        """
        if self.dim > DENSE_LIMIT:
            raise InputError(
                f"a dense Hessian for d = {self.dim} takes {8 * self.dim**2 / 1e9:.1f} GB; use `hvp` or `ggn_product`, "
                "which need no matrix."
            )
        return ask(self.risk, "hessian", self.parameters(theta), self.weights(eps))

    def point_gradients(
        self, theta: Array, points: object = None, *, devices: Sequence[Any] = ()
    ) -> Float[Array, "q d"]:
        """c∇ℓ_i(θ) for the named points (default: the deleted ones), shape (q, d); a point may be named twice.

        With JAX devices, each computes and holds its part of the rows.
        """
        theta = self.parameters(theta)
        if points is None and not len(devices):
            return ask(self.risk, "deleted_gradients", theta)
        rows = np.asarray(self.delete if points is None else points)
        if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
            raise InputError(f"points must be whole numbers in a list; got {points!r}.")
        rows = rows.astype(np.int64)
        if rows.size and not (rows.min() >= 0 and rows.max() < self.data.n):
            raise InputError(f"points must lie between 0 and {self.data.n - 1}; got {rows.min()} to {rows.max()}.")
        x, y = (np.asarray(part[rows], self.array_dtype) for part in (self.data.x, self.data.y))
        if self.design is not None:
            return self.scale * x * (x @ theta - y)[:, None]
        if len(devices):
            mesh = mesh_of(devices, len(rows), "points")
            x, y = by_rows(x, mesh), by_rows(y, mesh)
        return self.scale * _loss_gradients(self.computed, self.loss, theta, x, y)

    def parameters(self, theta: object, name: str = "theta") -> Float[Array, " d"]:
        """θ as a finite vector of length d in the problem's type, NumPy's for linear regression.

        Raises:
            InputError: another shape, NaN or infinity, numbers narrower than the problem's.
        """
        vector = as_vector(theta, name, self.dim, narrow=self.dtype != "float64")
        size = np.abs(vector).max(initial=0.0)
        if not size <= self._reach:
            raise InputError(
                f"{name} is about {size:.1g} in size; beyond {self._reach:.1g} its squares overflow. Measure the "
                "targets (or the features) in other units."
            )
        return vector if self.design is not None else jnp.asarray(vector, self.array_dtype)

    def weights(self, eps: object, name: str = "eps") -> Float[Array, "*m"]:
        """ε as one finite float64 number, or as one per deleted point (NumPy's for linear regression)."""
        array = self.checked_weights(eps, name)
        return array if self.design is not None else jnp.asarray(array, self.array_dtype)

    def checked_weights(self, eps: object, name: str = "eps") -> Float[np.ndarray, "*m"]:
        """The same in NumPy for every problem; a copy."""
        array = as_float64(eps, name) if self.dtype == "float64" else as_numbers(eps, name)
        if (array.ndim and array.shape != self.delete.shape) or not np.isfinite(array).all():
            raise InputError(f"{name} must be one finite number or {self.delete.size} of them; got {eps}.")
        return array.copy()

    def undetermined_direction(self, eps: Weights = 0.0) -> str | None:
        """A direction that the points, weighted by ε, leave free, and how many others; None if H_ε has full rank.

        Only linear regression can answer this without a parameter; other problems return None.
        """
        if self.design is None or not isinstance(self.risk, Quadratic):
            return None
        retained = self.risk.retained
        counted = np.asarray(self.risk.x_deleted)[np.broadcast_to(np.asarray(eps) != 0.0, self.delete.shape)]
        free = free_directions(np.asarray(retained.vectors[:, retained.kernel]), counted)
        if not free.size:
            return None
        others = free.shape[1] - 1
        more = f" and {others} more direction{'s' if others > 1 else ''}" if others else ""
        return self.in_words(free[:, 0]) + more

    def in_words(self, direction: Float[np.ndarray, " d"]) -> str:
        """The largest entries of a direction in the parameter space of a linear model, by the names of its features."""
        scales = np.ones(self.dim) if self.design is None else self.design.scales
        return largest_entries(direction, np.abs(direction * scales), self.data.features)


_loss_gradients = eqx.filter_jit(loss_gradients)
