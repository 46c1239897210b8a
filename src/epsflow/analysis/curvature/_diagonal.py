"""The diagonal of a Gauss–Newton or Fisher matrix, without the matrix."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..._core import Array
from ._curvature import Curvature
from ._ekfac import is_layered, layer_squares


def diagonal(curvature: Curvature) -> Float[np.ndarray, " d"]:
    """C_kk − ridge of a matrix with a factor.

    Of a network whose layers are known from what enters them and what is sent back; of another model from the Jacobians
    of as many points at a time as half of the budget holds three times, one at least.
    """
    return np.asarray(_of_layers(curvature) if is_layered(curvature) else _of_jacobians(curvature))


@eqx.filter_jit
def _of_layers(curvature: Curvature) -> Float[Array, " d"]:
    pieces: list[Array] = []
    for squares in layer_squares(curvature):  # of (W | b), and θ holds W by rows, then b
        pieces += [squares[:, :-1].ravel(), squares[:, -1]]
    return jnp.concatenate(pieces)


@eqx.filter_jit
def _of_jacobians(curvature: Curvature) -> Float[Array, " d"]:
    each = 3 * curvature.dim * max(1, (curvature.factor_rows or 1) // curvature.num_points)
    size = None
    if curvature.chunks is not None:
        half = curvature.chunks.max_bytes // (2 * curvature.theta.dtype.itemsize)
        size = max(1, min(curvature.chunks.points, half // each))
    return curvature.sum_points(lambda _, *chunk: (curvature.rows(*chunk) ** 2).sum(axis=0), size)
