"""How a computation ended: diffrax's enumeration (itself optimistix's and lineax's), and what epsflow adds to it."""

from typing import Any

import diffrax
import jax
import numpy as np


class RESULTS(diffrax.RESULTS):  # pyright: ignore[reportGeneralTypeIssues]
    """Outcome of a solve. `RESULTS.successful` is the only one that carries a result to be relied on."""

    not_stationary = (
        "The gradient norm did not reach its tolerance. Try more steps, a looser `tol`, or another starting point."
    )
    not_a_minimum = (
        "The point found is stationary but its Hessian has a negative eigenvalue: a saddle, not a minimum. "
        "Try another starting point."
    )
    left_the_basin = (
        "The polishing step moved further than the flow's own end justifies, so the point may belong to another "
        "basin. Try a larger `max_time`."
    )


SUCCESS = RESULTS.promote(diffrax.RESULTS.successful)
"""The successful outcome, as a value that a result can hold."""


def message(result: RESULTS) -> str:
    """The words of a (scalar) result; 'successful' when it is."""
    return "successful" if bool(result == RESULTS.successful) else RESULTS[result]


def decide(*cases: tuple[Any, Any], otherwise: Any = None) -> RESULTS:
    """The outcome of the first case whose condition holds, in NumPy: for one computation, or row by row.

    Args:
        cases: pairs (condition, outcome), conditions of one shape.
        otherwise: the outcome where none holds. Default: successful.
    """
    default = RESULTS.successful if otherwise is None else otherwise
    conditions = np.broadcast_arrays(*(np.asarray(condition) for condition, _ in cases))
    codes = np.select(conditions, [_code(outcome) for _, outcome in cases], _code(default))
    return _item(codes.astype(np.int32))


def pick(result: RESULTS, index: Any) -> RESULTS:
    """One, or some, of several outcomes."""
    return _item(np.asarray(_code(result)[index]))  # 0-d, which equinox can name; a NumPy scalar it cannot


def stack(results: Any) -> RESULTS:
    """Several outcomes as one with a leading axis."""
    return _item(np.stack([_code(result) for result in results]))


def succeeded(result: RESULTS) -> Any:
    """Which of them are successful, as a NumPy array of the same shape."""
    return _code(result) == _code(RESULTS.successful)


def _code(result: Any) -> np.ndarray:
    (code,) = jax.tree.leaves(result)
    return np.asarray(code)


def _item(codes: np.ndarray) -> RESULTS:
    return jax.tree.unflatten(jax.tree.structure(RESULTS.successful), [codes])
