"""The doors of the rooms that work on a problem: what is wrong is refused before anything is computed."""

from .._core import COMMON, Check, Door, as_instance, door
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
        InputError: anything else: what came, and what to write.
    """
    advice = "write epsflow.linear_regression(data, delete=[17]), or Problem(model, loss, data, delete=[17])"
    return as_instance(value, name, Problem, advice)


CHECKS: dict[str, Check] = {**COMMON, "problem": as_problem}

checked: Door = door(CHECKS)
"""For functions of a problem."""

checked_flow: Door = door({**CHECKS, "schedule": as_schedule})
"""For functions of a problem and a schedule."""
