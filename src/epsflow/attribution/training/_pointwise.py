"""−g_jᵀa of every point at many θ: K_j where a is the costate. NumPy for linear models, JAX for others."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..._core import Array, InputError
from ...problem import GeneralisedLinear, LinearModel, Problem, Quadratic

VALUE_NUMBERS = 2**28
"""Numbers (2 GB) that the values at all times, of all points and functionals, may take."""
CHUNK_NUMBERS = 2**15
"""Numbers (256 kB) in the values of one chunk of points: little enough for a processor's second cache."""


def check_size(times: int, points: int, functionals: int) -> None:
    """Refuse more values than memory should hold."""
    numbers = times * points * functionals
    if numbers > VALUE_NUMBERS:
        raise InputError(
            f"{times:,} times × {points:,} points × {functionals:,} functionals take {8e-9 * numbers:.1f} GB. Ask at "
            "fewer times, or for fewer functionals at once; integrals over windows need few times."
        )


def densities_of(
    problem: Problem, thetas: Float[Array, "k d"], costates: Float[Array, "k q d"]
) -> Float[np.ndarray, "k n q"]:
    """−c∇ℓ_i(θ_t)ᵀa_t for every point i and every costate a_t at its own θ_t: K_i(t)."""
    if isinstance(problem.model, LinearModel):
        return _of_linear_model(problem, np.asarray(thetas), np.asarray(costates))
    return np.asarray(_of_network(problem.empirical(), jnp.asarray(thetas), jnp.asarray(costates)))


def _of_linear_model(problem: Problem, thetas: np.ndarray, costates: np.ndarray) -> np.ndarray:
    """−c (∇_fℓ_i)ᵀ(∂f_i/∂θ a), a chunk of points at a time."""
    model, n = problem.generalised(), problem.data.n
    times, count = costates.shape[:2]
    scaled = -model.scale * costates
    values = np.empty((times, n, count))
    step = max(1, CHUNK_NUMBERS // (times * count * (model.outputs or 1)))
    for first in range(0, n, step):
        part = slice(first, first + step)
        rows = dataclasses.replace(model, x=np.asarray(model.x[part]), y=np.asarray(model.y[part]))
        outputs = _outputs(rows, thetas)
        # Residuals are their own slopes: no need to lay the targets out once for every time.
        slopes = outputs - rows.y if isinstance(problem.risk, Quadratic) else rows.many_slopes(outputs)
        for q in range(count):
            tangents = _outputs(rows, scaled[:, q])
            if model.outputs is None:
                np.multiply(slopes, tangents, out=values[:, part, q])
            else:
                np.einsum("knc,knc->kn", slopes, tangents, out=values[:, part, q])
    return values


def _outputs(rows: GeneralisedLinear, thetas: Float[np.ndarray, "k d"]) -> Float[np.ndarray, "k n *c"]:
    """f_i at several θ."""
    return thetas @ rows.x.T if rows.outputs is None else rows.x @ rows.coefficients(thetas)


@eqx.filter_jit
def _of_network(risk: Any, thetas: Float[Array, "k d"], costates: Float[Array, "k q d"]) -> Float[Array, "k n q"]:
    """The same by forward mode, one time after the other, a chunk of points at a time."""

    def at_time(pair: tuple[Array, Array]) -> Array:
        theta, vectors = pair

        def point(row: tuple[Array, Array]) -> Array:
            _, push = jax.linearize(lambda t: risk.loss(risk.model(t, row[0]), row[1]), theta)
            return jax.vmap(push)(vectors)

        size = max(1, min(risk.chunk_rows, risk.x.shape[0]))
        return -risk.scale * jax.lax.map(point, (risk.x, risk.y), batch_size=size)

    return jax.lax.map(at_time, (thetas, costates))
