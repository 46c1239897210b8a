"""The exact flow of `_exact.py` in JAX, for the search of families, which maps it over their members."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Float

from .._core import Array, Eigen, decay_integral, eigen
from ..problem import Quadratic
from ..schedules import AbstractPiecewiseConstant


class ExactFlow(eqx.Module):
    """θ(t) for all t ≥ t0, arc by arc.

    Attributes:
        arc_starts: when each arc begins, shape (arcs,); the first is t0, the last arc never ends.
        bases: eigendecomposition of H_ε on each arc.
        drifts: Qᵀb_ε, shape (arcs, d).
        coordinates: Qᵀθ at the start of each arc, shape (arcs, d).
    """

    arc_starts: Float[Array, " arcs"]
    bases: Eigen
    drifts: Float[Array, "arcs d"]
    coordinates: Float[Array, "arcs d"]

    def __call__(self, t: Float[Array, ""]) -> Float[Array, " d"]:
        """θ(t)."""
        return self.at(t[None])[0]

    def at(self, ts: Float[Array, " k"]) -> Float[Array, "k d"]:
        """θ at each of the times."""
        arc = jnp.searchsorted(self.arc_starts, ts, side="right") - 1
        elapsed = jnp.where(ts >= self.arc_starts[0], ts - self.arc_starts[arc], jnp.nan)[:, None]  # no flow before t0
        z = propagate(self.bases.values[arc], self.drifts[arc], self.coordinates[arc], elapsed)
        if len(self.arc_starts) == 1:  # one basis for all times: a matrix product instead of a gather of matrices
            return z @ self.bases.vectors[0].T
        return jnp.einsum("kdi,ki->kd", self.bases.vectors[arc], z)


def propagate(rates: Array, drift: Array, start: Array, elapsed: Array) -> Array:
    """z(t) of ż = drift − rates·z, elementwise."""
    return jnp.exp(-rates * elapsed) * start + decay_integral(rates, elapsed) * drift


def exact_flow(
    risk: Quadratic, schedule: AbstractPiecewiseConstant, theta0: Float[Array, " d"], t0: Float[Array, ""]
) -> ExactFlow:
    """The exact flow from θ(t0) = θ0. Traceable; arcs that end before t0 have length zero."""
    levels, jumps = schedule.levels(), jnp.maximum(schedule.jump_ts, t0)
    arc_starts = jnp.concatenate([t0[None], jumps])
    # The last arc is open; its duration is never used.
    durations = jnp.diff(jnp.concatenate([arc_starts, arc_starts[-1:]]))
    hessians, bs = jax.vmap(risk.system)(levels)
    bases = jax.vmap(eigen)(hessians)
    drifts = jax.vmap(Eigen.to_basis)(bases, bs)

    def arc(theta: Array, leg: tuple[Eigen, Array, Array]) -> tuple[Array, Array]:
        basis, drift, duration = leg
        z = basis.to_basis(theta)
        return basis.from_basis(propagate(basis.values, drift, z, duration)), z

    _, coordinates = jax.lax.scan(arc, theta0, (bases, drifts, durations))
    return ExactFlow(arc_starts, bases, drifts, coordinates)
