"""What a forward and a backward solve give, whoever solved."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..._core import RESULTS, InputError
from ...analysis import Functional, Losses, Predictions, functional_jacobian
from ._windows import AbstractWindows


@dataclass(frozen=True, eq=False)
class Sweep:
    """K_j at some times, and the paths it stands on; functionals always have an axis here.

    Attributes:
        ts: times, shape (k,).
        thetas: θ there, shape (k, d).
        costates: a there, shape (k, q, d).
        values: K_j there, shape (k, n, q).
        error: of the values, in units of φ per time.
        windows: the integrals of K.
        scalar: whether φ is one number, so that results have no axis for its values.
        method: which solver it was.
        result: how it ended.
    """

    ts: Float[np.ndarray, " k"]
    thetas: Float[np.ndarray, "k d"]
    costates: Float[np.ndarray, "k q d"]
    values: Float[np.ndarray, "k n q"]
    error: float
    windows: AbstractWindows
    scalar: bool
    method: str
    result: RESULTS


@dataclass(frozen=True, eq=False)
class EndGradients:
    """Where costates begin.

    Attributes:
        rows: ∇φ(θ(T)), one row per value of φ, shape (q, d).
        scalar: whether φ is one number, so that results have no axis for its values.
    """

    rows: Float[np.ndarray, "q d"]
    scalar: bool


def end_gradients(functional: Functional, theta: Float[np.ndarray, " d"]) -> EndGradients:
    """∇φ at one θ.

    Raises:
        InputError: a value or gradient that is not finite, or no numbers at all.
    """
    jacobian = functional_jacobian(functional, theta)
    # Of a logarithm that leaves its domain the gradient is a number all the same.
    own = not isinstance(functional, Losses | Predictions)
    for what, numbers in (("value", functional(jnp.asarray(theta)) if own else 0.0), ("gradient", jacobian)):
        if not np.isfinite(np.asarray(numbers)).all():
            raise InputError(
                f"the functional's {what} at θ(ts[-1]) is not finite. Evaluate it at that θ: a logarithm or a quotient "
                "that leaves its domain is the usual reason."
            )
    return EndGradients(np.atleast_2d(jacobian), jacobian.ndim == 1)
