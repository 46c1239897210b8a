"""Membership of E_s: the schedules among which an optimum is sought."""

from collections.abc import Sequence

import numpy as np

from .._core import InputError, as_instance, brief
from ._base import AbstractSchedule
from ._window import check_window

_SAMPLES = 33
"""Points per smooth piece at which a schedule's bounds are checked; monotone pieces need only the two outermost."""


def as_schedule(value: object, name: str = "schedule") -> AbstractSchedule:
    """One schedule.

    Example:
        >>> ef.schedules.as_schedule("step")
        Traceback (most recent call last):
            ...
        epsflow.InputError: schedule is 'step', where a Schedule is needed: write Step(2.0), …

    Raises:
        InputError: a class, a function of t, an array, or anything else: what to write instead.
    """
    advice = "write Step(2.0), PiecewiseConstant(knots, values), …"
    if callable(value) and not isinstance(value, type | AbstractSchedule):
        advice = "derive a class from epsflow.AbstractSchedule whose `inner(t)` is that function, and pass one of it"
    elif not isinstance(value, str | type):
        advice += "; the order is f(problem, schedule, theta0, s=…, T=…)"
    return as_instance(value, name, AbstractSchedule, advice)


def as_schedules(values: object, name: str) -> tuple[AbstractSchedule, ...]:
    """Several schedules, in a list or tuple.

    Example:
        >>> ef.schedules.as_schedules([ef.Step(1.0), 0.5], "starts")
        Traceback (most recent call last):
            ...
        epsflow.InputError: starts[1] is 0.5, where a Schedule is needed: write Step(2.0), …

    Raises:
        InputError: something else.
    """
    if isinstance(values, AbstractSchedule) or not isinstance(values, Sequence) or isinstance(values, str):
        raise InputError(f"{name} is {brief(values)}; a list of schedules is needed, for instance {name}=[Step(2.0)].")
    return tuple(as_schedule(value, f"{name}[{k}]") for k, value in enumerate(values))


def check_admissible(schedule: AbstractSchedule, s: float, T: float, bounds: tuple[float, float] = (0.0, 1.0)) -> None:
    """Check that a schedule lies in E_s: ε = 1 on [0, s], bounds on (s, T), 0 from T on (almost everywhere in t).

    Example:
        >>> ef.check_admissible(ef.Step(2.0), s=1.0, T=3.0)

    Each smooth piece is sampled at 33 points that crowd towards its ends; a violation between samples can escape for
    a schedule of your own that oscillates.

    Raises:
        InputError: with the first time at which it fails, and the value there.
    """
    as_schedule(schedule)
    s, T, (low, high) = check_window(s, T, bounds)
    marks = np.concatenate([[0.0, s, T, 2.0 * T], np.asarray(schedule.jump_ts)])
    marks = np.unique(marks[(marks >= 0.0) & (marks <= 2.0 * T)])
    # Chebyshev points lie strictly inside each piece and close to both of its ends.
    inside = 0.5 - 0.5 * np.cos(np.pi * (np.arange(_SAMPLES) + 0.5) / _SAMPLES)
    times = (marks[:-1, None] + np.diff(marks)[:, None] * inside).ravel()
    values = np.asarray(schedule(times)).reshape(len(times), -1)
    rules = (
        (times <= s, 1.0, 1.0, f"on [0, s] = [0, {s:g}] it must be 1: training up to the request is fixed"),
        ((times > s) & (times < T), low, high, f"on (s, T) = ({s:g}, {T:g}) it must lie in [{low:g}, {high:g}]"),
        (times >= T, 0.0, 0.0, f"from T = {T:g} on it must be 0: by then the point is deleted"),
    )
    for where, least, most, rule in rules:
        # Rounding of a schedule's own arithmetic (a handful of operations on numbers near 1).
        wrong = where[:, None] & ~((values >= least - 1e-12) & (values <= most + 1e-12))
        if wrong.any():
            i, j = np.argwhere(wrong)[0]
            raise InputError(
                f"{type(schedule).__name__} is not in E_s: ε({times[i]:g}) = {values[i, j]:g}, but {rule}."
            )
