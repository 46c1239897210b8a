"""Gradient flow of any model on many coalitions at once, by Euler's method: one compiled function."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from ..._core import Array, ConvergenceError, InputError, as_scalar, brief
from ...problem import EmpiricalRisk, Problem

BATCH = 64
"""Coalitions that flow together; a smaller batch is filled up, so that no size compiles again."""


class CoalitionFlow:
    """θ(T) of θ̇ = −c Σ_{i∈S} ∇ℓ_i(θ) − λθ, θ(0) = θ0, for each coalition S.

    Args:
        problem: c, λ, the model, its loss and its data.
        theta0: where every coalition starts, shape (d,).
        T: for how long.
        steps: of Euler's method, each T/steps long.
    """

    def __init__(self, problem: Problem, theta0: Any, T: Any, steps: int):
        if theta0 is None or T is None:
            raise InputError(
                f"training='flow' needs theta0 and T; got theta0={brief(theta0)}, T={brief(T)}. Pass the trained θ for "
                "a warm start, and the time that every coalition is trained for."
            )
        self.theta0 = np.asarray(problem.parameters(theta0, "theta0"))
        self.time = as_scalar(T, "T")
        if not self.time > 0.0:
            raise InputError(f"T is {self.time:g}; the time that a coalition is trained for must be positive.")
        # Every point has a weight of its own: 1 in the coalition, 0 outside.
        self.risk = eqx.tree_at(lambda risk: risk.delete, problem.empirical(), jnp.arange(problem.data.n))
        self.steps = steps

    def thetas(self, members: Bool[np.ndarray, "k n"]) -> tuple[Float[np.ndarray, "k d"], int]:
        """θ(T) of each coalition, and the gradients of single points it took.

        Raises:
            ConvergenceError: a flow that left the range of numbers.
        """
        found = []
        for start in range(0, len(members), BATCH):
            rows = members[start : start + BATCH]
            filled = np.zeros((BATCH, members.shape[1]))
            filled[: len(rows)] = rows
            found.append(np.asarray(_flow(self.risk, self.theta0, filled, self.time, self.steps))[: len(rows)])
        thetas = np.concatenate(found) if found else np.zeros((0, len(self.theta0)))
        if not np.isfinite(thetas).all():
            raise ConvergenceError(
                f"Euler's method with steps of {self.time / self.steps:.3g} diverged; pass more steps.", thetas
            )
        return thetas, int(members.sum()) * self.steps


@eqx.filter_jit
def _flow(risk: EmpiricalRisk, theta0: Array, members: Float[Array, "k n"], time: float, steps: int) -> Array:
    def one(weights: Array) -> Array:
        step = time / steps
        return jax.lax.fori_loop(0, steps, lambda _, theta: theta - step * jax.grad(risk.value)(theta, weights), theta0)

    return jax.vmap(one)(members)
