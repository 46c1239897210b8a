"""The doors of the rooms that work on a problem: what is wrong is refused before anything is computed."""

from .._core import COMMON, Check, Door, InputError, as_instance, as_numbers, door
from ..problem import Problem
from ..schedules import as_schedule


def as_problem(value: object, name: str = "problem") -> Problem:
    """A problem.

    Example:
        >>> ef.flow.as_problem("diabetes")
        Traceback (most recent call last):
            ...
        epsflow.InputError: problem is 'diabetes', where a Problem is needed: write …

    Raises:
        InputError: anything else, or one in single precision: what came, and what to write.
    """
    problem = as_any_problem(value, name)
    if problem.dtype != "float64":
        raise InputError(
            f"{name} computes in {problem.dtype}, and this answer needs float64. Run "
            '`jax.config.update("jax_enable_x64", True)` before any array is made, and write '
            f"{name}.with_dtype('float64')."
        )
    return problem


def as_any_problem(value: object, name: str = "problem") -> Problem:
    """A problem of any precision.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> ef.flow.as_any_problem(line) is line
        True
    """
    advice = "write epsflow.linear_regression(data, delete=[17]), or Problem(model, loss, data, delete=[17])"
    return as_instance(value, name, Problem, advice)


CHECKS: dict[str, Check] = {**COMMON, "problem": as_problem}

checked: Door = door(CHECKS)
"""For functions of a problem."""

checked_flow: Door = door({**CHECKS, "schedule": as_schedule})
"""For functions of a problem and a schedule."""

NETWORKS: dict[str, Check] = {
    **CHECKS,
    "problem": as_any_problem,
    **dict.fromkeys(("damping", "theta", "theta0"), as_numbers),
}

checked_any: Door = door(NETWORKS)
"""For functions of a problem that work in single precision, too."""

checked_training: Door = door({**NETWORKS, "schedule": as_schedule})
"""The same with a schedule."""
