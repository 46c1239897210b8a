"""How a computation ended: one enumeration for every solver, diffrax's, optimistix's and lineax's outcomes included.

It stands on equinox's enumerations alone, so that the three libraries load only where they are used.
"""

import functools
from typing import Any

import equinox.internal as eqxi
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer


class RESULTS(eqxi.Enumeration):  # pyright: ignore[reportGeneralTypeIssues]
    """Outcome of a solve. `RESULTS.successful` is the only one that carries a result to be relied on.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> str(ef.train(problem).result == ef.RESULTS.successful)
        'True'

    Beside epsflow's own names it has those of `diffrax.RESULTS`, `optimistix.RESULTS` and `lineax.RESULTS`, with the
    same meaning: `RESULTS.promote` translates.
    """

    successful = ""
    max_steps_reached = "The maximum number of solver steps was reached. Try a larger `max_steps`."
    singular = "A linear system is singular to working precision. Try a larger damping or penalty."
    breakdown = "A linear solve broke down before it reached its tolerance. Try another solver, or a larger damping."
    stagnation = "A linear solve came no further. Try another solver, or a larger damping."
    conlim = "The condition of a linear system exceeds the solver's limit. Try a larger damping or penalty."
    nonfinite_input = "A linear system contains NaN or infinity."
    nonlinear_max_steps_reached = (
        "The maximum number of steps of a nonlinear solve was reached. Try a larger `max_steps`, or another starting "
        "point; there may be no solution."
    )
    nonlinear_divergence = "A nonlinear iteration diverged. Try a smaller step, or another starting point."
    nonfinite = "NaN or infinity appeared during a solve."
    dt_min_reached = "The integrator's step became as small as its least step."
    event_occurred = "The integration ended early, at an event."
    max_steps_rejected = "The integrator rejected as many steps as it can remember."
    internal_error = "An internal error of diffrax. Please report it to its developers, with a small example."
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
    not_mixed = (
        "The chains have not mixed: split-R̂ or the effective sample size misses its threshold. Try more draws, a "
        "longer warm-up, or another sampler or step."
    )
    time_limit_reached = "The time limit was reached. Try a larger `time_limit`."
    no_start_succeeded = "The solver failed from every start. Try another method, or a start of your own."
    unknown = "A solver failed for a reason that this version of epsflow has no words for."


SUCCESS = RESULTS.successful
"""The successful outcome, as a value that a result can hold."""


@functools.cache
def _translation(foreign: Any) -> np.ndarray:
    """RESULTS' number of each of another enumeration's outcomes, by name."""
    numbers = np.empty(len(foreign), np.int32)
    for name, item in foreign._name_to_item.items():
        numbers[_code(item)] = _code(getattr(RESULTS, name, RESULTS.unknown))
    return numbers


def _promote(cls: Any, item: Any) -> RESULTS:
    """An outcome of diffrax, optimistix or lineax (or several, or traced) as one of `RESULTS`."""
    if item._enumeration is cls:
        return item
    (code,) = jax.tree.leaves(item)
    numbers = _translation(item._enumeration)
    traced = isinstance(code, Tracer)
    return _item(jnp.asarray(numbers)[code] if traced else np.asarray(numbers[np.asarray(code)]))


# Equinox reserves the name inside the class and promotes from base classes only.
RESULTS.promote = classmethod(_promote)  # pyright: ignore[reportAttributeAccessIssue]


def message(result: RESULTS) -> str:
    """The words of a (scalar) result; 'successful' when it is."""
    return "successful" if succeeded(result) else RESULTS[_item(_code(result))]


def decide(*cases: tuple[Any, Any], otherwise: Any = None) -> RESULTS:
    """The outcome of the first case whose condition holds, in NumPy: for one computation, or row by row.

    Args:
        cases: pairs (condition, outcome), conditions of one shape.
        otherwise: the outcome where none holds. Default: successful.
    """
    default = RESULTS.successful if otherwise is None else otherwise
    conditions = [np.asarray(condition) for condition, _ in cases]
    conditions = np.broadcast_arrays(*conditions) if len(conditions) > 1 else conditions
    if otherwise is None and not any(condition.any() for condition in conditions):
        return _item(np.zeros(conditions[0].shape, np.int32))
    codes = np.select(conditions, [_code(outcome) for _, outcome in cases], _code(default))
    return _item(codes.astype(np.int32))


def pick(result: RESULTS, index: Any) -> RESULTS:
    """One, or some, of several outcomes."""
    return _item(np.asarray(_code(result)[index]))  # 0-d, which equinox can name; a NumPy scalar it cannot


def stack(results: Any) -> RESULTS:
    """Several outcomes as one with a leading axis."""
    return _item(np.stack([_code(result) for result in results]))


def join(results: Any) -> RESULTS:
    """Several outcomes of several computations each, one after the other."""
    return _item(np.concatenate([_code(result) for result in results]))


def succeeded(result: RESULTS) -> Any:
    """Which of them are successful, as a NumPy array of the same shape."""
    return ended_as(result, RESULTS.successful)


def ended_as(result: RESULTS, outcome: Any) -> Any:
    """Which of them have one outcome, in NumPy: equinox's own comparison would compile."""
    return _code(result) == _code(outcome)


def _code(result: Any) -> np.ndarray:
    (code,) = jax.tree.leaves(result)
    return np.asarray(code)


_STRUCTURE = jax.tree.structure(SUCCESS)


def _item(codes: Any) -> RESULTS:
    return jax.tree.unflatten(_STRUCTURE, [codes])
