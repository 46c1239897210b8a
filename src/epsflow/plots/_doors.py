"""The doors of this room: what cannot be drawn is refused before a figure is opened; labels are made to fit it."""

import functools
import inspect
from collections.abc import Callable
from types import UnionType
from typing import ParamSpec, TypeVar, get_args, get_origin

from matplotlib.axes import Axes

from .._core import InputError, article, brief
from ._layout import fit_labels, make_room
from ._style import styled

Given = ParamSpec("Given")
Answer = TypeVar("Answer")


def drawn(function: Callable[Given, Answer]) -> Callable[Given, Answer]:
    """A function of this room that takes nothing but the kinds its first argument is annotated with.

    On the Axes that it returns no label is longer than the panel is wide, and a new figure has room for its legends.
    """
    signature = inspect.signature(function)
    name, parameter = next(iter(signature.parameters.items()))
    written = get_args(parameter.annotation) if isinstance(parameter.annotation, UnionType) else (parameter.annotation,)
    kinds = tuple(get_origin(kind) or kind for kind in written)
    wanted = " or ".join(article(kind.__name__) for kind in kinds)

    @functools.wraps(function)
    def checked(*args: Given.args, **kwargs: Given.kwargs) -> Answer:
        try:
            value = signature.bind(*args, **kwargs).arguments[name]
        except TypeError:  # an argument is missing or unknown: the function says so itself
            return function(*args, **kwargs)
        if isinstance(value, str) or not isinstance(value, kinds):  # a string is a sequence, too
            raise InputError(f"{name} is {brief(value)}, where {wanted} is needed.")
        answer = function(*args, **kwargs)
        with styled():
            for ax in (answer,) if isinstance(answer, Axes) else answer if isinstance(answer, tuple) else ():
                fit_labels(ax)
                if kwargs.get("ax") is None:
                    make_room(ax)
        return answer

    return checked
