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

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from ..._core import Array
from ...problem import EmpiricalRisk
from ..curvature._curvature import Curvature


class TiltedRisk(eqx.Module):
    """Q(θ) of the module's docstring, as a difference from Q(θ_s) so that its last digits are those of the change.

    Attributes:
        risk: model, loss and data.
        weights: w, shape (n,).
        tilts: a, shape (n, *k).
        losses: ℓ_i(θ_s), shape (n,).
        anchor: θ_s, shape (d,).
        slope: q, shape (d,).
        rho: ρ.
    """

    risk: EmpiricalRisk
    weights: Float[Array, " n"]
    tilts: Float[Array, "n *k"]
    losses: Float[Array, " n"]
    anchor: Float[Array, " d"]
    slope: Float[Array, " d"]
    rho: Float[Array, ""]

    def value(self, shift: Float[Array, " d"]) -> Float[Array, ""]:
        """Q(θ_s + shift)."""
        outputs = model_outputs(self.risk, self.anchor + shift)
        change = jax.vmap(self.risk.loss)(outputs, self.risk.y) - self.losses
        data = self.risk.scale * (self.weights @ change - jnp.sum(self.tilts * outputs) + self._tilt_at_anchor())
        return data + self.slope @ shift + 0.5 * self.rho * shift @ shift

    def gradient(self, shift: Float[Array, " d"]) -> Float[Array, " d"]:
        """∇Q(θ_s + shift)."""
        return jax.grad(self.value)(shift)

    def rounding(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """What rounding alone may change in Q and in ‖∇Q‖, near θ_s: 8u times the sum of the terms' sizes."""
        unit = 8.0 * jnp.finfo(self.anchor.dtype).eps
        outputs = model_outputs(self.risk, self.anchor)
        terms = jnp.abs(self.weights) @ jnp.abs(self.losses) + jnp.sum(jnp.abs(self.tilts * outputs))
        slopes = jnp.linalg.norm(self.risk.point_gradients(self.anchor, jnp.arange(self.weights.shape[0])), axis=1)
        return unit * self.risk.scale * terms, unit * jnp.sum(slopes)

    def _tilt_at_anchor(self) -> Float[Array, ""]:
        return jnp.sum(self.tilts * model_outputs(self.risk, self.anchor))


def model_outputs(risk: EmpiricalRisk, theta: Float[Array, " d"]) -> Float[Array, "n *k"]:
    """f(θ; x_i) for every point."""
    return jax.vmap(risk.model, in_axes=(None, 0))(theta, risk.x)


def leave_out(risk: EmpiricalRisk, theta_s: Array, deleted: Int[Array, " m"], damping: Array | float) -> TiltedRisk:
    """R_0(θ) + (damping/2)‖θ − θ_s‖², the points `deleted` having weight 0."""
    outputs = model_outputs(risk, theta_s)
    weights = jnp.ones(risk.x.shape[0]).at[deleted].set(0.0)
    losses, slope = jax.vmap(risk.loss)(outputs, risk.y), risk.l2 * theta_s
    return TiltedRisk(risk, weights, jnp.zeros_like(outputs), losses, theta_s, slope, risk.l2 + damping)


def bregman_response(
    risk: EmpiricalRisk, theta_s: Array, deleted: Int[Array, " m"], damping: Array | float, delete_bregman: bool
) -> TiltedRisk:
    """The PBRF's objective; without the deleted points' own Bregman terms if `delete_bregman` is False."""
    outputs = model_outputs(risk, theta_s)
    losses, tilts = jax.vmap(risk.loss)(outputs, risk.y), jax.vmap(jax.grad(risk.loss))(outputs, risk.y)
    weights = jnp.ones(risk.x.shape[0]).at[deleted].set(0.0 if delete_bregman else -1.0)
    tilts = tilts if delete_bregman else tilts.at[deleted].set(0.0)
    return TiltedRisk(risk, weights, tilts, losses, theta_s, jnp.zeros_like(theta_s), risk.l2 + damping)


class GaussNewton(eqx.Module):
    """G(θ_s) = c Σ_i J_iᵀ ∇²_fℓ_i J_i = U diag(values) Uᵀ over all points, without the penalty.

    U has d columns, or only n·k where the dual Gram matrix is the smaller one, or none where no matrix was wanted.

    Attributes:
        values: eigenvalues, shape (r,).
        vectors: U, shape (d, r).
    """

    values: Float[Array, " r"]
    vectors: Float[Array, "d r"]

    @property
    def smallest(self) -> Float[Array, ""]:
        """The least eigenvalue of G: 0 if U does not span the space; below rounding counts as 0."""
        d, r = self.vectors.shape
        if r < d:
            return jnp.asarray(0.0)
        rounding = d * jnp.finfo(self.values.dtype).eps * jnp.max(jnp.abs(self.values))
        return jnp.where(jnp.abs(self.values[0]) <= rounding, 0.0, self.values[0])

    def power(self, vector: Float[Array, " d"], rho: Array | float, exponent: float) -> Float[Array, " d"]:
        """(G + ρI)^exponent v."""
        outside = rho**exponent
        inside = (jnp.maximum(self.values, 0.0) + rho) ** exponent
        if self.vectors.shape[0] == self.vectors.shape[1]:
            return self.vectors @ (inside * (vector @ self.vectors))
        return outside * vector + self.vectors @ ((inside - outside) * (vector @ self.vectors))


@eqx.filter_jit
def gauss_newton(curvature: Curvature, matrix: bool = True) -> GaussNewton:
    """Eigendecomposition of the data's GGN, by the d×d matrix or its dual, whichever is smaller.

    Args:
        curvature: the GGN, made with `damping=0`, `penalty=False` and `data=True`.
        matrix: whether to form anything; otherwise U is empty.
    """
    d, rows = curvature.dim, curvature.factor_rows or 0
    if not matrix:
        return GaussNewton(jnp.zeros(0), jnp.zeros((d, 0)))
    if rows >= d:
        return GaussNewton(*jnp.linalg.eigh(curvature.matrix()))
    factor = curvature.factor()
    values, left = jnp.linalg.eigh(factor @ factor.T)
    # Directions below rounding carry no curvature; a zero column leaves them to the part outside U.
    kept = values > rows * jnp.finfo(values.dtype).eps * values[-1]
    values = jnp.where(kept, values, 0.0)
    return GaussNewton(values, factor.T @ jnp.where(kept, left / jnp.sqrt(jnp.where(kept, values, 1.0)), 0.0))
