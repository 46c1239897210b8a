"""The tilted risk: leave-out training, its proximal version and the PBRF are three choices of the same arrays.

    Q(θ) = c Σ_i [w_i ℓ_i(θ) − ⟨a_i, f(θ; x_i)⟩] + ⟨q, θ − θ_s⟩ + (ρ/2)‖θ − θ_s‖² − the same at θ_s

| objective                                | w_i (i∉D, j∈D) | a_i (i∉D, j∈D) | q     | ρ       |
|------------------------------------------|----------------|----------------|-------|---------|
| R_0, leave-out training                  | 1, 0           | 0, 0           | λθ_s  | λ       |
| R_0 + (λ_d/2)‖θ − θ_s‖²                  | 1, 0           | 0, 0           | λθ_s  | λ + λ_d |
| PBRF                                     | 1, 0           | ∇ℓ_i, ∇ℓ_j     | 0     | λ + λ_d |
| PBRF without the deleted Bregman terms   | 1, −1          | ∇ℓ_i, 0        | 0     | λ + λ_d |

∇ℓ_i is taken in the output, at f(θ_s; x_i): D_i(f, f_s) = ℓ_i(f) − ⟨∇ℓ_i(f_s), f⟩ + const is a tilted loss, and
D_j − ℓ_j = −⟨∇ℓ_j(f_s), f⟩ + const has no curvature in f left. The penalty (λ/2)‖θ‖² is one more convex term of the
training risk, so the PBRF holds its Bregman divergence too, which is (λ/2)‖θ − θ_s‖².
"""

import functools
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from ..._core import Array
from ...problem import EmpiricalRisk, GeneralisedLinear, LinearModel, Local
from ._anchor import UNIT, Anchor, GaussNewton

INEXACT = 1e-3
"""To which share of a gradient a step is solved in float32, at best; the next gradient is in float64."""


@dataclass(frozen=True, eq=False)
class TiltedRisk:
    """Q(θ) of the module's docstring, as a difference from Q(θ_s) so that its last digits are those of the change.

    Attributes:
        anchor: the model at θ_s.
        weights: w, shape (n,).
        tilts: a, shape (n, *k).
        slope: q, shape (d,).
        rho: ρ.
    """

    anchor: Anchor
    weights: Float[np.ndarray, " n"]
    tilts: Float[np.ndarray, "n *k"]
    slope: Float[np.ndarray, " d"]
    rho: float

    def value_and_gradient(self, shift: Float[np.ndarray, " d"]) -> tuple[float, Float[np.ndarray, " d"]]:
        """Q(θ_s + shift) and ∇Q there."""
        value, gradient = self._data.value_and_gradient(self.anchor.theta + shift)
        value = value + float(self.slope @ shift + 0.5 * self.rho * shift @ shift)
        return value, gradient + self.slope + self.rho * shift

    def product(self, shift: Float[np.ndarray, " d"], vector: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
        """∇²Q(θ_s + shift) v."""
        return self._data.product(self.anchor.theta + shift, vector) + self.rho * vector

    def compiled_step(
        self,
        shift: Float[np.ndarray, " d"],
        basis: GaussNewton,
        rho: float,
        gradient: Float[np.ndarray, " d"],
        radius: float,
        accuracy: float,
    ) -> tuple[Float[np.ndarray, " d"], float, int, bool] | None:
        """The whole truncated iteration in one call for a network, whose products are shorter than a call; or None."""
        data = self._data
        if isinstance(data, _LinearData):
            return None
        theta, size = self.anchor.theta + shift, 1.0
        if self.anchor.narrow is not None:  # of length one, so that nothing underflows
            size = float(np.linalg.norm(gradient))
            gradient, radius, accuracy = gradient / size, radius / size, max(accuracy / size, INEXACT)
        with data.products:
            numbers = (np.asarray(number) for number in (self.rho, rho, radius, accuracy))
            move, promised, count, negative = _truncated_cg(
                *data.narrow, *data.cast(theta), *data.basis(basis), *data.cast(*numbers, gradient)
            )
        return size * np.asarray(move, np.float64), size**2 * float(promised), int(count), bool(negative)

    def resolved(self, basis: GaussNewton, rho: float) -> "TiltedRisk":
        """Q with products in float64 where those in float32 cannot tell a step.

        In the coordinates (G + ρI)^½ the rounding u‖G‖ of a product is u‖G‖/ρ, and a step is solved no better.
        """
        lost = float(np.finfo(np.float32).eps) * float(basis.values.max(initial=0.0)) > INEXACT * rho
        return replace(self, anchor=replace(self.anchor, narrow=None)) if lost and self.anchor.narrow else self

    def rounding(self) -> tuple[float, float]:
        """What rounding alone may change in Q and in ‖∇Q‖, near θ_s: 8u times the sum of the terms' sizes."""
        losses, outputs = self.anchor.points.values, self.anchor.outputs
        terms = np.abs(self.weights) @ np.abs(losses) + np.abs(self.tilts * outputs).sum()
        return 8.0 * UNIT * self.anchor.problem.scale * float(terms), 8.0 * UNIT * self.anchor.slopes

    @functools.cached_property
    def _data(self) -> "_LinearData | _NetworkData":
        linear = isinstance(self.anchor.problem.model, LinearModel)
        return _LinearData(self) if linear else _NetworkData(self)


class _LinearData:
    """The sum over data of a linear model, in NumPy."""

    def __init__(self, risk: TiltedRisk):
        self.model: GeneralisedLinear = risk.anchor.problem.generalised()
        self.risk, self.each = risk, risk.anchor.problem.scale * risk.weights
        self.place: tuple[np.ndarray, Local] | None = None

    def _at(self, theta: Float[np.ndarray, " d"]) -> Local:
        # Products at one θ follow each other.
        if self.place is None or not np.array_equal(self.place[0], theta):
            self.place = theta, self.model.at(theta)
        return self.place[1]

    def value_and_gradient(self, theta: Float[np.ndarray, " d"]) -> tuple[float, Float[np.ndarray, " d"]]:
        local, anchor, scale = self._at(theta), self.risk.anchor, self.risk.anchor.problem.scale
        change = self.each @ (local.points.values - anchor.points.values)
        moved = (self.risk.tilts * (local.outputs - anchor.outputs)).sum()
        pulled = self.model.pull(self.each, local.points.slopes)
        return float(change - scale * moved), pulled - scale * (self.model.x.T @ self.risk.tilts).ravel()

    def product(self, theta: Float[np.ndarray, " d"], vector: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
        curvatures = self._at(theta).points.curvatures
        return self.model.pull(self.each, self.model.curved(curvatures, self.model.predict(vector)))


class _NetworkData:
    """The sum over data of any model: two compiled functions.

    Attributes:
        arguments: of values and gradients, in float64.
        narrow: of products: the same, or in float32.
    """

    def __init__(self, risk: TiltedRisk):
        anchor = risk.anchor
        self.arguments = (
            anchor.risk,
            risk.weights,
            risk.tilts,
            anchor.points.values,
            np.asarray((risk.tilts * anchor.outputs).sum()),
        )
        # On the device once: a search calls with them again and again.
        self.arguments = self.narrow = jax.device_put(self.arguments)
        self.dtype: Any = np.dtype(np.float64)
        if anchor.narrow is not None:
            self.dtype = np.dtype(np.float32)
            with self.products:
                self.narrow = jax.device_put((anchor.narrow.risk, *self.cast(*self.arguments[1:])))
        self._basis: tuple[GaussNewton, Array, Array] | None = None

    @property
    def products(self) -> Any:
        """The mode of JAX in which products are computed."""
        return nullcontext() if self.dtype == np.float64 else jax.enable_x64(False)

    def cast(self, *numbers: Any) -> tuple[np.ndarray, ...]:
        """In the type of products."""
        return tuple(np.asarray(number, self.dtype) for number in numbers)

    def basis(self, basis: GaussNewton) -> tuple[Array, Array]:
        """Eigenvalues and vectors on the device, for products."""
        if self._basis is None or self._basis[0] is not basis:
            self._basis = basis, *jax.device_put(self.cast(basis.values, basis.vectors))
        return self._basis[1], self._basis[2]

    def value_and_gradient(self, theta: Float[np.ndarray, " d"]) -> tuple[float, Float[np.ndarray, " d"]]:
        value, gradient = _value_and_gradient(*self.arguments, theta)
        return float(value), np.asarray(gradient)

    def product(self, theta: Float[np.ndarray, " d"], vector: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
        with self.products:
            return np.asarray(_product(*self.narrow, *self.cast(theta, vector)), np.float64)


def _value(data: Any, theta: Array) -> tuple[Float[Array, ""], Float[Array, " d"]]:
    """Σ_i w_i(ℓ_i − ℓ_i(θ_s)) − ⟨a_i, f_i⟩ and its gradient, a chunk of points at a time."""
    risk: EmpiricalRisk = data[0]

    def of(rows: Any) -> tuple[Array, Array]:
        def part(t: Array) -> Array:
            x, y, weights, tilts, before = rows
            outputs = jax.vmap(risk.model, in_axes=(None, 0))(t, x)
            return weights @ (jax.vmap(risk.loss)(outputs, y) - before) - jnp.sum(tilts * outputs)

        return jax.value_and_grad(part)(theta)

    return risk.sum_rows(of, (risk.x, risk.y, *data[1:]))


def _gradient(data: Any, theta: Array) -> Float[Array, " d"]:
    return data[0].scale * _value(data, theta)[1]


@jax.jit
def _value_and_gradient(*arguments: Any) -> tuple[Float[Array, ""], Float[Array, " d"]]:
    *data, tilt, theta = arguments
    value, gradient = _value(data, theta)
    return data[0].scale * (value + tilt), data[0].scale * gradient


@jax.jit
def _product(*arguments: Any) -> Float[Array, " d"]:
    *data, _, theta, vector = arguments
    return jax.jvp(lambda t: _gradient(data, t), (theta,), (vector,))[1]


@jax.jit
def _truncated_cg(*arguments: Any) -> tuple[Array, Array, Array, Array]:
    """As `_trust_region._truncated_cg`, products inside: p, the decrease promised, products, negative curvature."""
    *data, _, theta, values, vectors, own, rho, radius, accuracy, gradient = arguments
    risk: EmpiricalRisk = data[0]

    def hessian(vector: Array) -> Array:
        return jax.jvp(lambda t: _gradient(data, t), (theta,), (vector,))[1]

    if risk.mesh is None and risk.x.shape[0] <= risk.chunk_rows:  # what all points leave in between fits
        hessian = jax.linearize(lambda t: _gradient(data, t), theta)[1]
    inside, outside = 1.0 / jnp.sqrt(jnp.maximum(values, 0.0) + rho), 1.0 / jnp.sqrt(rho)
    spanned = vectors.shape[0] == vectors.shape[1]

    def half(vector: Array) -> Array:  # `GaussNewton.power`
        if spanned:
            return vectors @ (inside * (vector @ vectors))
        return outside * vector + vectors @ ((inside - outside) * (vector @ vectors))

    def going(carry: tuple[Array, ...]) -> Array:
        _, _, _, done, _, count = carry
        return ~done & (count < 2 * gradient.shape[0])

    def advance(carry: tuple[Array, ...]) -> tuple[Array, ...]:
        point, residual, direction, _, _, count = carry
        plain = half(direction)
        image = half(hessian(plain) + own * plain)
        square, bend = residual @ residual, direction @ image
        ahead = point + square / bend * direction
        leaves = (bend <= 0.0) | (ahead @ ahead >= radius**2)
        a, b, c = direction @ direction, point @ direction, point @ point - radius**2
        border = (-b + jnp.sqrt(jnp.maximum(b**2 - a * c, 0.0))) / a
        length = jnp.where(leaves, border, square / bend)
        residual = residual + length * image
        new_square = residual @ residual
        done = leaves | (jnp.sqrt(new_square) <= accuracy)
        ahead = point + length * direction
        return ahead, residual, -residual + new_square / square * direction, done, bend <= 0.0, count + 1

    start = (jnp.zeros_like(gradient), gradient, -gradient, jnp.asarray(False), jnp.asarray(False), jnp.asarray(0))
    point, residual, _, _, negative, count = jax.lax.while_loop(going, advance, start)
    return point, -0.5 * point @ (gradient + residual), count, negative


def leave_out(anchor: Anchor, deleted: Int[np.ndarray, " m"], damping: float) -> TiltedRisk:
    """R_0(θ) + (damping/2)‖θ − θ_s‖², the points `deleted` having weight 0."""
    penalty = anchor.problem.l2
    return TiltedRisk(
        anchor=anchor,
        weights=_weights(anchor, deleted, 0.0),
        tilts=np.zeros_like(anchor.outputs),
        slope=penalty * anchor.theta,
        rho=penalty + damping,
    )


def bregman_response(
    anchor: Anchor, deleted: Int[np.ndarray, " m"], damping: float, *, delete_bregman: bool
) -> TiltedRisk:
    """The PBRF's objective; without the deleted points' own Bregman terms if `delete_bregman` is False."""
    tilts = anchor.points.slopes.copy()
    if not delete_bregman:
        tilts[deleted] = 0.0
    return TiltedRisk(
        anchor=anchor,
        weights=_weights(anchor, deleted, 0.0 if delete_bregman else -1.0),
        tilts=tilts,
        slope=np.zeros_like(anchor.theta),
        rho=anchor.problem.l2 + damping,
    )


def _weights(anchor: Anchor, deleted: Int[np.ndarray, " m"], weight: float) -> Float[np.ndarray, " n"]:
    weights = np.ones(anchor.problem.data.n)
    weights[deleted] = weight
    return weights
